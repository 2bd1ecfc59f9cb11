//! Fuzzes `shoal_proto::fuzz::chunk_list`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_proto::fuzz::chunk_list(bytes));
