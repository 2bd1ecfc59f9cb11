//! The shell: the one loop that meets the world, and its workers.
//!
//! All concurrency of a peer is visible here; what to do is decided by the pure crates. Begin at
//! [`classic::run`], the synchronizer of the course protocol (`shoal sync`), and at [`native::Shell`], a native peer. What
//! is absent: arguments, printing and exit codes, which the binary has.

pub mod classic;
pub mod config;
pub mod control;
pub mod home;
pub mod native;
mod private;
mod random;
pub mod registry;

pub use self::private::PrivateError;
pub use self::random::random;
