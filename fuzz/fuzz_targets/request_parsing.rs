//! See `chatapi_fuzz::request_parsing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatapi_fuzz::request_parsing::run(bytes));
