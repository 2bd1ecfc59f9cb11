//! I31: who says to be in sync has nothing left to do, and shows what the others show.
//!
//! Promise: what a status says is compared with the index and the disks, not with another status. Only what it lists as
//! the user's own wish, to keep a path out of the share, may be undone.

use shoal_engine::status::Cause;
use shoal_proto::here::Triple;

use crate::check::{Broken, converged};
use crate::world::World;

/// Checks all honest devices of a world at rest.
///
/// # Errors
/// The first one that says what is not so.
pub fn check(world: &World) -> Result<(), Broken> {
    for device in world.devices.iter().filter(|device| device.is_honest()) {
        let Some(status) = device.status(&world.share()) else { continue };
        if !status.is_in_sync() {
            continue;
        }
        let diverging = device.index.diverging(None, usize::MAX).map_err(Broken::of_index)?;
        let is_kept_out = |row: &&Triple| status.problems.get(&row.path) == Some(&Cause::Ignored);
        let lie = |why: String| Broken::new("I31", format!("{} says to be in sync, but {why}", device.name));
        if let Some(triple) = diverging.iter().find(|row| !is_kept_out(row)) {
            return Err(lie(format!("{} is not done with", triple.path)));
        }
        if let Err(broken) = converged::check(world) {
            return Err(lie(broken.what));
        }
    }
    Ok(())
}
