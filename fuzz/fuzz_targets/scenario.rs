//! See `chatapi_fuzz::scenario`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatapi_fuzz::scenario::run(bytes));
