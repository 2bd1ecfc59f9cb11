//! The course protocol, as pure code: bytes and times in, values and decisions out.
//!
//! Promise: nothing here opens a socket or a file, reads a clock, or waits. Every session is a state
//! machine that is told what happened and when, and answers with what to do and when to be woken, so a
//! test (or a simulator) can play any conversation in any cutting.
//!
//! Where to begin: [`message`] has the words on the wire, [`framing`] finds them in a stream, and then
//! there is one session for each end of each conversation:
//!
//! | conversation | this end | that end |
//! |---|---|---|
//! | peer ↔ tracker | [`link::TrackerLink`] | [`tracker_session::TrackerSession`] |
//! | file request ↔ file response | [`fetch::Fetch`] | [`serve::Serve`] |
//!
//! [`synchronizer::Synchronizer`] is the whole peer: it owns the link, decides what to fetch ([`plan`])
//! and from whom it is worth trying ([`sources`]). The protocol itself is told in
//! `docs/classic-protocol.md`; every bound is in [`limits`].

pub mod dialect;
pub mod directory;
pub mod fetch;
pub mod framing;
mod json;
pub mod limits;
pub mod link;
pub mod message;
pub mod name;
pub mod plan;
pub mod serve;
pub mod sources;
pub mod synchronizer;
pub mod time;
pub mod tracker_session;

pub use dialect::Dialect;
pub use directory::{Directory, Listed};
pub use name::FileName;
pub use time::Time;
