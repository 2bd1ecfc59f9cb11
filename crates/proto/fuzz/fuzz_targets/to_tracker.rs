//! Fuzzes `shoal_proto::fuzz::to_tracker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_proto::fuzz::to_tracker(bytes));
