//! Transports: how two ends find each other, prove their keys, and pass frames.
//!
//! Promise: what comes out of here is a connection whose other end has proved an Ed25519 key, over TLS 1.3 and nothing
//! less; what either end says on it is read by nobody else, and changed by nobody unnoticed (T1, T2, I27). Whoever has
//! proved nothing costs a bounded time and memory ([`limits`], I30). What is said is not known here, but for its frames.
//!
//! | to change | look into |
//! |---|---|
//! | how the generations are told apart | `sniff.rs` |
//! | how keys are proved, what TLS may do | `tls.rs` |
//! | how frames are read and written | `wire.rs` |
//! | how an address is called | `dial.rs` |
//!
//! Deliberately absent: files, shares, who may do what; threads of our own: everything runs where its caller's runtime is.

pub mod dial;
mod error;
pub mod limits;
pub mod sniff;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod wire;

pub use dial::dial;
pub use error::NetError;
pub use sniff::{Generation, sniff};
pub use tls::{Acceptor, Expected, Identity, Purpose, Secured};
pub use wire::{Incoming, Outgoing, WireError};
