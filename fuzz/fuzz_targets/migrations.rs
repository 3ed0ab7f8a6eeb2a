//! See `chatapi_fuzz::migrations`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatapi_fuzz::migrations::run(bytes));
