//! What callers send, through our codec and through hyper.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fourmi_tests::differential::fuzz(input, false));
