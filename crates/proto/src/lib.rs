//! The words that all native peers share: bytes in, values out.
//!
//! Promise: everything here is a pure function or a state machine. No files, sockets, clocks, threads or
//! randomness (`clippy.toml` sees to it); what differs from device to device comes in as an argument. Nothing that
//! others send makes it panic, and nothing costs more than `limits` allows.
//!
//! Begin at [`record`] (one version of one path) and [`heads`] (how versions merge, and what a path shows); then
//! [`roster`] and [`publication`] (who may say what), [`reconcile`] (how two devices find what differs), [`message`]
//! (how all of it looks on the wire).

pub mod announce;
#[cfg(any(test, feature = "arb"))]
pub mod arb;
pub mod batch;
pub mod body;
pub mod chain;
pub mod chunk;
pub mod conflict;
pub mod cut;
pub mod digest;
pub mod dot;
pub mod frame;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod guard;
pub mod hash;
pub mod heads;
pub mod here;
pub mod holding;
pub mod id;
pub mod invite;
pub mod key;
pub mod limits;
pub mod merkle;
pub mod message;
pub mod moves;
pub mod path;
#[cfg(test)]
mod proof;
pub mod publication;
pub mod reconcile;
pub mod record;
pub mod roster;
pub mod run;
pub mod secret;
pub mod segment;
mod signed;
