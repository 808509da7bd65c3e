//! See scripts/fuzz.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| koofs::koodrive::fuzzed::opening(data));
