//! Whole worlds of devices in one thread, from one seed.
//!
//! Promise: nothing here asks a clock or draws lots but from the seed; what happens is a function of it, so a failure is
//! told by one number and lived through again. Begin at [`records::World`].

pub mod draw;
pub mod records;
