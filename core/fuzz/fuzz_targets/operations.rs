#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| donjon_conformance::fuzz::operations(bytes));
