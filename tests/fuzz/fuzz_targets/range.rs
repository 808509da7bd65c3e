//! See scripts/fuzz.
#![no_main]

#[allow(dead_code, reason = "the others have binaries of their own")]
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::range(data));
