//! The tracker: it tells classic peers who holds the newest version of each file, and native ones who is where.
//!
//! Promise: a peer, friendly or not, costs bounded memory and time ([`limits`]); what one peer sends can
//! change what is listed of its own files and nothing else; no input ends the process (`I30`, `I32`). The
//! tracker never sees the contents of files, and writes nothing to disk.
//!
//! Where to begin: [`Directory`] decides. It is pure code: no sockets, and time is an argument. [`Tracker`] is
//! the shell around it: it listens, gives each connection a
//! [`TrackerSession`](shoal_classic::tracker_session::TrackerSession), and sends what the directory answers. For native
//! peers [`Swarm`] decides, as pure; [`Rendezvous`] is the shell around it, for any port where such connections come in.
//!
//! | to change | look into |
//! |---|---|
//! | who is listed, and when no longer | `directory.rs` |
//! | which of several holders is listed, to whom, at which address | `directory/views.rs` |
//! | what one classic connection does | `connection.rs` |
//! | who is told of whom under a topic | `swarm.rs`, `swarm/` |
//! | what one native connection does | `rendezvous.rs` |
//! | which generation a connection is of | `door.rs` |
//! | who may connect, start and end | `server.rs`, `seats.rs` |
//! | what is counted, and how people see it | `metrics.rs`, `page.rs` |
//!
//! Deliberately absent: files and threads. One thread serves everybody; `docs/classic-protocol.md §5` and
//! `docs/design/meeting.md` tell what they are served.

mod budget;
mod connection;
mod diary;
pub mod directory;
mod door;
pub mod limits;
mod metrics;
mod page;
mod rendezvous;
mod seats;
mod server;
pub mod swarm;

pub use directory::{Directory, PeerId};
pub use limits::Options;
pub use rendezvous::{Rendezvous, ServeError};
pub use server::{BindError, RunError, Tracker};
pub use swarm::Swarm;
