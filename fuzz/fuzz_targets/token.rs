//! Bytes for `declic_fuzz::token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| declic_fuzz::token(bytes));
