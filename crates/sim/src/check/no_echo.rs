//! I13: devices at rest say nothing but signs of life, and note nothing.
//!
//! Promise: an hour passes; what was said and written in it is counted.

use core::time::Duration;

use shoal_proto::digest::Sum;
use shoal_proto::reconcile::Records;

use crate::check::Broken;
use crate::world::World;

/// How long nothing may happen.
const WHILE: Duration = Duration::from_secs(3600);

/// How long connections may still be given up and made anew.
const CONNECTIONS: Duration = Duration::from_secs(600);

/// Lets an hour pass in a world at rest.
///
/// # Errors
/// When something happens in it.
pub fn check(world: &mut World) -> Result<(), Broken> {
    if world.devices.iter().any(|device| !device.is_honest()) {
        return Ok(());
    }
    // What a reader's watcher missed is found now, not in that hour.
    world.rescan_all()?;
    // A connection that only one end believed in is found to be silent, and made anew, within that time.
    let until = world.now().after(CONNECTIONS);
    world.run_to(until)?;
    let before = (world.tally.messages, written(world));
    let until = world.now().after(WHILE);
    world.run_to(until)?;
    let after = (world.tally.messages, written(world));
    if before.0 != after.0 {
        let said = after.0 - before.0;
        return Err(Broken::new("I13", format!("{said} messages in an hour in which nothing happened")));
    }
    if before.1 != after.1 {
        return Err(Broken::new(
            "I13",
            "an index was written in an hour in which nothing happened".to_owned(),
        ));
    }
    Ok(())
}

/// What each index has published and knows.
fn written(world: &World) -> Vec<(u64, Sum)> {
    let one = |device: &crate::device::Device| (device.index.life().counter, device.index.digests().root());
    world.devices.iter().map(one).collect()
}
