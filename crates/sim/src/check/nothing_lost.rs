//! I3: every version that a user finished writing is current somewhere, or was replaced by who saw it, or stands in a
//! conflict copy or in a history.
//!
//! Promise: bytes are looked for, wherever they are; where nothing has them they are lost. A history is no place for what
//! nobody has replaced having seen it: a user would have to know that it is missing. Only where a folder was put back to
//! what it had been, by a user who replaced more than anybody can tell, may it stand there alone, for as long as it is
//! kept there.

use std::collections::BTreeSet;

use shoal_proto::roster::Role;

use crate::check::{Broken, contents};
use crate::ledger::{Digest, Owed, files};
use crate::users::tree;
use crate::world::World;

/// Checks all that is owed.
///
/// # Errors
/// The first version that is nowhere.
pub fn check(world: &World) -> Result<(), Broken> {
    let (held, shown) = (contents(world), shown(world));
    let is_owed_to_folders =
        |owed: &Owed| world.puts_back == 0 && world.devices[owed.device].role != Role::Reader;
    let has_had_its_time = |content: &Digest| world.histories.went.contains(content);
    let is_missing = |content: &Digest, owed: &Owed| match is_owed_to_folders(owed) {
        true => !shown.contains(content),
        false => !held.contains(content) && !has_had_its_time(content),
    };
    match world.ledger.owed().find(|(content, owed)| is_missing(content, owed)) {
        None => Ok(()),
        Some((content, owed)) => {
            let whereabouts = if held.contains(content) { "in no folder" } else { "nowhere" };
            let hash = blake3::Hash::from_bytes(*content).to_hex();
            let what = format!(
                "what the user of {} wrote to {} ({}) is {whereabouts}",
                world.devices[owed.device].name,
                String::from_utf8_lossy(&owed.path),
                &hash[..8]
            );
            Err(Broken::new("I3", what))
        }
    }
}

/// The contents of all files that users see, on all honest disks.
fn shown(world: &World) -> BTreeSet<Digest> {
    let trees = world.devices.iter().filter(|device| device.is_honest()).map(|device| tree(&device.disk));
    trees.flat_map(|tree| files(&tree).into_values().collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use crate::check::tests::world;
    use crate::users::{Bytes, Step, full};

    #[test]
    fn what_is_nowhere_is_lost() {
        let mut world = world(&[&[], &[]]);
        let bytes = Bytes { number: 3, size: 20, edit: 0 };
        world.user_acts(0, &Step::Write("a".to_owned(), bytes));
        assert_eq!(super::check(&world), Ok(()));
        world.devices[0].disk.user().remove(&full("a")).unwrap();
        assert_eq!(super::check(&world).unwrap_err().invariant, "I3");
        world.devices[1].disk.user().write(&full("a (copy)"), bytes.make()).unwrap();
        assert_eq!(super::check(&world), Ok(()), "another disk has it");
    }

    #[test]
    fn what_its_user_deleted_is_not_lost() {
        let mut world = world(&[&[], &[]]);
        world.user_acts(0, &Step::Write("a".to_owned(), Bytes { number: 3, size: 20, edit: 0 }));
        world.user_acts(0, &Step::Remove("a".to_owned()));
        assert_eq!(super::check(&world), Ok(()));
    }
}
