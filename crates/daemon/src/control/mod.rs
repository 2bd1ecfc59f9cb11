//! The control API: what a person, a program or the page asks of a running daemon, and what it answers.
//!
//! Promise: whatever serves here answers every request once, with what was asked for or a [`Failure`] that says what is
//! wrong and what to do about it. The commands can do nothing that is not a [`Request`]. Only the user who runs the
//! daemon, and root, are listened to. What waits is bounded: the length of a line, the requests of a connection, the
//! connections, and the events that are kept.
//!
//! ```text
//!   a command ── Client ──► socket ──► server ──► Service (the node)
//!        ▲                               │
//!        └───────── answers, events ◄────┘◄────── Diary
//! ```
//!
//! Begin at [`types`], the contract; [docs/control-api.md](../../../../docs/control-api.md) is the same for readers who do
//! not read Rust. [`Service`] is what a node implements, [`server`] puts it onto a socket, and [`client`] asks it there
//! or in the same process.

pub mod client;
mod diary;
mod event;
mod lines;
mod preview;
pub mod report;
pub mod server;
mod service;
#[cfg(test)]
mod tests;
pub mod text;
pub mod types;
pub mod undo;
mod words;

pub use self::client::{Client, ClientError};
pub use self::diary::{Cursor, Diary, EVENTS_KEPT};
pub use self::preview::{Preview, preview};
pub use self::server::{Server, ServerError};
pub use self::service::{Answering, Daemon, Service};
pub use self::types::{Failure, Request, Response};
