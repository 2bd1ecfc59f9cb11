//! End-to-end tests: the real binary, with itself and with small independent Python programs.
//!
//! One test binary; a file for each theme. They prove that the wiring holds; what each session does in every
//! detail is proved beside its code in `shoal-classic`. All traffic is on loopback, every process that a test
//! starts is ended by it, and every wait has a deadline.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what tests may do, their helpers may do"
)]

mod bad_input;
mod commands;
mod faults;
mod meeting;
mod native;
mod oddities;
mod options;
mod sizes;
#[path = "../../disk/src/testing/skip.rs"]
mod skip;
mod support;
mod swarm;
