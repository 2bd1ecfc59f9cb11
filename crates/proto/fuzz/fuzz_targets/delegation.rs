//! Fuzzes `shoal_proto::fuzz::delegation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_proto::fuzz::delegation(bytes));
