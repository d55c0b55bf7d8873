//! What ZeroMQ peers send.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fourmi_tests::zmtp::fuzz(input));
