//! Transports: how two ends find each other, prove their keys, and pass frames.
//!
//! Promise: what comes out of here is a connection whose other end has proved an Ed25519 key, over TLS 1.3 and nothing
//! less; what either end says on it is read by nobody else, and changed by nobody unnoticed (T1, T2, I27). Whoever has
//! proved nothing costs a bounded time and memory ([`limits`], I30). What is said is not known here, but for its frames.
//!
//! | to change | look into |
//! |---|---|
//! | how the generations are told apart | `sniff.rs` |
//! | how keys are proved, what TLS may do | `tls.rs`, `tls/` |
//! | how frames are read and written | `wire.rs` |
//! | which addresses are called, how often, in which order | `reach.rs`, `budget.rs`, `dial.rs` |
//! | who is let in before proving a key | `door.rs` |
//! | how others are found on the local network | `lan.rs` |
//!
//! Deliberately absent: files, shares, who may do what; threads of our own: everything runs where its caller's runtime is.

pub mod budget;
pub mod dial;
pub mod door;
mod error;
pub mod lan;
pub mod limits;
pub mod reach;
pub mod sniff;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod wire;

pub use budget::Budget;
pub use dial::{CallError, Caller, Candidate, dial};
pub use door::{Door, Guest};
pub use error::NetError;
pub use lan::{Heard, Lan};
pub use reach::NamedBy;
pub use sniff::{Generation, sniff};
pub use tls::{Acceptor, Expected, Identity, Purpose, Secured};
pub use wire::{Incoming, Outgoing, Over, WireError};
