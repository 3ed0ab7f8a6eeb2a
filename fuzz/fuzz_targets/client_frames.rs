//! See `chatapi_fuzz::client_frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatapi_fuzz::client_frames::run(bytes));
