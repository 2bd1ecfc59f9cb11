//! I30: what an engine has asked for and queued is bounded.
//!
//! Promise: each bound here is above the sum of the engine's own, so what passes it is a leak.

use crate::check::Broken;
use crate::world::World;

/// Most jobs of an index, or of a disk, that are under way at a device.
pub const JOBS_MAX: usize = 1024;

/// Most bytes in a send queue: what is served, what a link says before the queue is full, and a step or statement more.
pub const QUEUED_BYTES_MAX: usize = 16 << 20;

/// Checks one device.
///
/// # Errors
/// When a bound is passed.
pub fn check(world: &World, device: usize) -> Result<(), Broken> {
    let name = &world.devices[device].name;
    if let Some(running) = &world.devices[device].running {
        let jobs = (running.index_jobs.len(), running.disk_jobs.len());
        if jobs.0 > JOBS_MAX || jobs.1 > JOBS_MAX {
            return Err(Broken::new("I30", format!("{name} has {jobs:?} jobs of index and disk")));
        }
    }
    for (_, wire) in world.network.wires() {
        let full = |end: &&crate::network::End| end.device == device && end.queued.len() > QUEUED_BYTES_MAX;
        if let Some(end) = wire.ends.iter().find(full) {
            return Err(Broken::new("I30", format!("{name} has queued {} bytes", end.queued.len())));
        }
    }
    Ok(())
}
