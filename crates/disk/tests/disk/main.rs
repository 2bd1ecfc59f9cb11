//! The crate on real file systems, with real processes: what the tests inside of it, most of them on a disk in memory,
//! take for granted.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests, parts of which stand outside of test functions"
)]
#![expect(clippy::print_stdout, reason = "tests tell what they did")]

mod conformance;
mod kill;
mod mounted;
mod own_mounts;
mod racer;
#[path = "../../src/testing/skip.rs"]
mod skip;
mod states;
mod syscalls;
mod workload;
