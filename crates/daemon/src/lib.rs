//! The shell: the one loop that meets the world, and its workers.
//!
//! All concurrency of a peer is visible here; what to do is decided by the pure crates. Begin at
//! [`classic::run`], the synchronizer of the course protocol (`shoal sync`). What is absent: arguments,
//! printing and exit codes, which the binary has.

pub mod classic;
