//! Fuzzes `shoal_proto::fuzz::founding`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_proto::fuzz::founding(bytes));
