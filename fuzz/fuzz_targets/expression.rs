//! Bytes for `declic_fuzz::expression`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| declic_fuzz::expression(bytes));
