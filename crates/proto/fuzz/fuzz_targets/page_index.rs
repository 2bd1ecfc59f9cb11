//! Fuzzes `shoal_proto::fuzz::page_index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_proto::fuzz::page_index(bytes));
