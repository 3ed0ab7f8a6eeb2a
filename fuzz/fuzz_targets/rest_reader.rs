//! See `chatapi_fuzz::rest_reader`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatapi_fuzz::rest_reader::run(bytes));
