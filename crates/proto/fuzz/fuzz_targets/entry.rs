//! Fuzzes `shoal_proto::fuzz::entry`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_proto::fuzz::entry(bytes));
