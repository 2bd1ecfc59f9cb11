//! Fuzzes `shoal_proto::fuzz::run`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_proto::fuzz::run(bytes));
