//! Fuzzes `shoal_proto::fuzz::from_tracker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_proto::fuzz::from_tracker(bytes));
