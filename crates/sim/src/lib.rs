//! Whole worlds of devices in one thread, from one seed.
//!
//! Promise: nothing here asks a clock or draws lots but from the seed; what happens is a function of it, so a failure is
//! told by one number and lived through again.
//!
//! Begin at [`run::run`], or at [`scenario`] for a world that is told step by step. [`records::World`] is a smaller one, of
//! indexes and links alone.

pub mod act;
pub mod brain;
pub mod check;
pub mod device;
pub mod draw;
pub mod faults;
pub mod hostile;
pub mod ledger;
pub mod network;
pub mod options;
pub mod performers;
pub mod queue;
pub mod records;
pub mod run;
pub mod scenario;
#[cfg(test)]
mod scenarios;
pub mod trace;
pub mod users;
pub mod world;
