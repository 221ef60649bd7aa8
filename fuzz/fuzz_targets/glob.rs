//! Bytes for `declic_fuzz::glob`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| declic_fuzz::glob(bytes));
