//! What decides for a device.
//!
//! Promise: a world asks no more of it than [`Engine`] gives, so that the world itself can be tried with something that is
//! easier to see through.

use core::fmt;

use shoal_engine::Engine;
use shoal_engine::io::{Action, Conn, Input, Now};
use shoal_engine::status::Status;
use shoal_engine::time::Time;
use shoal_proto::id::{DeviceId, ShareId};

/// What an [`Engine`] is to a world.
pub trait Brain: fmt::Debug {
    /// As [`Engine::handle`].
    fn handle(&mut self, input: Input, now: Now);
    /// As [`Engine::poll_action`].
    fn poll_action(&mut self) -> Option<Action>;
    /// As [`Engine::poll_timeout`].
    fn poll_timeout(&self) -> Option<Time>;
    /// As [`Engine::is_reading`].
    fn is_reading(&self, conn: Conn) -> bool;
    /// As [`Engine::status`].
    fn status(&self, share: &ShareId) -> Option<Status>;
}

/// Makes what decides for a device, of a fresh seed.
pub type Make = fn(DeviceId, [u8; 32]) -> Box<dyn Brain>;

impl Brain for Engine {
    fn handle(&mut self, input: Input, now: Now) {
        Engine::handle(self, input, now);
    }

    fn poll_action(&mut self) -> Option<Action> {
        Engine::poll_action(self)
    }

    fn poll_timeout(&self) -> Option<Time> {
        Engine::poll_timeout(self)
    }

    fn is_reading(&self, conn: Conn) -> bool {
        Engine::is_reading(self, conn)
    }

    fn status(&self, share: &ShareId) -> Option<Status> {
        Engine::status(self, share)
    }
}

/// A real engine.
#[must_use]
pub fn engine(device: DeviceId, seed: [u8; 32]) -> Box<dyn Brain> {
    Box::new(Engine::new(device, seed, "shoal-sim"))
}
