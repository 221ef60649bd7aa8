//! Bytes for `declic_fuzz::yaml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| declic_fuzz::yaml(bytes));
