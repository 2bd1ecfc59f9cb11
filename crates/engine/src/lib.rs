//! The brain of native Shoal: what happens goes in, what to do comes out.
//!
//! Promise: nothing here waits, reads, sends or asks the time; equal inputs give equal actions, so that whole worlds can
//! be lived through from a seed.

pub mod disk;
mod engine;
pub mod fetch;
pub mod greeting;
pub mod history;
pub mod index;
pub mod io;
pub mod limits;
pub mod link;
mod parcel;
pub mod planner;
pub mod serve;
mod share;
pub mod status;
pub mod store;
#[cfg(test)]
mod testing;
pub mod time;
pub mod timers;
pub mod transfer;

pub use engine::Engine;
