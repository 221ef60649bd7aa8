//! Bytes for `declic_fuzz::template`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| declic_fuzz::template(bytes));
