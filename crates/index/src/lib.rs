//! What was seen of one share: on this disk (*here*), what the disk agreed with (*base*), and what was published
//! (*there*, the heads).
//!
//! Promise: observations only, never work. Each job is one transaction, durable when it is answered, and follows the
//! rules of `proto`; nothing here decides what proto's pure functions decide. No threads, no clock, no randomness, no
//! files but the database, no sockets: times and salts are arguments. A lost index costs time, never a user's data
//! (I18). Why it is so: `docs/design/index.md`.
//!
//! Begin at [`Index`]; then [`Triple`], on which every decision of the engine rests, [`Index::observe`] and
//! [`Index::merge`]. What the tables are, `schema/1.sql` says.

mod agree;
mod counted;
mod crowd;
mod error;
mod folders;
mod history;
mod intents;
mod leaves;
mod lives;
mod lookup;
mod loss;
mod losses;
mod memory;
mod merge;
mod observe;
mod packed;
mod place;
mod port;
mod row;
mod rows;
mod segments;
mod serve;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod work;
mod write;

pub use agree::Everything;
pub use error::IndexError;
pub use lives::RosterAnswer;
pub use memory::{Counts, Usage};
pub use merge::{MergeAnswer, Merged, Verified};
pub use observe::ObserveAnswer;
pub use shoal_engine::disk::BytesAt;
pub use shoal_engine::history::Kept;
pub use shoal_engine::index::{List, ListPart, Observed, Outcome, Placed, PlacedOutcome, Resolved, Survey};
pub use shoal_proto::here::{Here, Standing, Triple};
pub use store::{At, Index, put_aside};
pub use work::Life;
