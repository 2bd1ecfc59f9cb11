//! I26: nothing that a reader publishes is a head at any honest member.
//!
//! Promise: the records of all paths are looked at, as the indexes hold them.

use std::collections::BTreeSet;

use shoal_proto::id::Writer;
use shoal_proto::roster::Role;

use crate::check::Broken;
use crate::world::World;

/// Checks all honest devices.
///
/// # Errors
/// The first record of who may not publish.
pub fn check(world: &World) -> Result<(), Broken> {
    let mut readers: BTreeSet<Writer> = BTreeSet::new();
    for device in &world.devices {
        if device.role == Role::Reader {
            readers.insert(device.index.life().writer);
        }
        let hostile = device.hostile.as_ref();
        readers.extend(hostile.and_then(|hostile| hostile.writer(&world.members.founding)));
    }
    if readers.is_empty() {
        return Ok(());
    }
    for device in world.devices.iter().filter(|device| device.is_honest()) {
        for triple in device.index.paths_below(None, None, usize::MAX).map_err(Broken::of_index)? {
            let live = triple.heads.live();
            if live.iter().any(|record| readers.contains(&record.dot.writer)) {
                let what = format!("{} has a reader's version of {}", device.name, triple.path);
                return Err(Broken::new("I26", what));
            }
        }
    }
    Ok(())
}
