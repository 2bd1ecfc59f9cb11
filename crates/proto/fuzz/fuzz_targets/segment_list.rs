//! Fuzzes `shoal_proto::fuzz::segment_list`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_proto::fuzz::segment_list(bytes));
