//! I6: what a user deleted, having seen it, does not come back to its path.
//!
//! Promise: only contents that were put at their path once, ever, are judged, so that no user's act can have brought them
//! back.

use crate::check::Broken;
use crate::ledger::files;
use crate::users::tree;
use crate::world::World;

/// Checks all deletions, at all honest devices.
///
/// # Errors
/// The first content that is back.
pub fn check(world: &World) -> Result<(), Broken> {
    // Two that know nothing may take each other for the share, and say what their disks show as new.
    if world.lost_indexes > 1 {
        return Ok(());
    }
    for device in world.devices.iter().filter(|device| device.counts()) {
        let tree = tree(&device.disk);
        let shown = files(&tree);
        // Where an edit won whose bytes are nowhere, what it replaced stays.
        let is_forsaken = |path: &[u8]| world.forsaken.iter().any(|lost| lost.as_bytes() == path);
        for deletion in world.ledger.deletions().filter(|deletion| !is_forsaken(&deletion.path)) {
            if shown.get(&*deletion.path) == Some(&deletion.content) {
                let what = format!(
                    "{}, which the user of {} deleted, is back at {}",
                    String::from_utf8_lossy(&deletion.path),
                    world.devices[deletion.device].name,
                    device.name
                );
                return Err(Broken::new("I6", what));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::check::tests::world;
    use crate::users::{Bytes, Step, full};

    #[test]
    fn what_was_deleted_stays_away_until_a_user_brings_it_back() {
        let mut world = world(&[&[], &[]]);
        let bytes = Bytes { number: 3, size: 20, edit: 0 };
        world.user_acts(0, &Step::Write("a".to_owned(), bytes));
        world.user_acts(0, &Step::Remove("a".to_owned()));
        assert_eq!(super::check(&world), Ok(()));
        world.devices[1].disk.user().write(&full("a"), bytes.make()).unwrap();
        assert_eq!(super::check(&world).unwrap_err().invariant, "I6");
        world.devices[1].disk.user().remove(&full("a")).unwrap();
        world.user_acts(1, &Step::Write("a".to_owned(), bytes));
        assert_eq!(super::check(&world), Ok(()));
    }
}
