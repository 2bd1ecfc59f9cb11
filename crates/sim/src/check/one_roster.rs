//! I26: all members hold the same roster, so they agree on who may do what, and know the same secrets.
//!
//! Promise: entries are compared by their hash; what they come to is a function of them.

use crate::check::Broken;
use crate::world::World;

/// Checks all devices that are honest and not switched off for good.
///
/// # Errors
/// Where two rosters differ.
pub fn check(world: &World) -> Result<(), Broken> {
    let mut devices = world.devices.iter().filter(|device| device.counts());
    let Some(first) = devices.next() else { return Ok(()) };
    let ours = first.index.entries();
    for other in devices {
        let theirs = other.index.entries();
        if ours.hash() != theirs.hash() {
            let (one, other) = (&first.name, &other.name);
            let what = format!("{one} holds {} entries, and {other} other {}", ours.len(), theirs.len());
            return Err(Broken::new("I26", what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use shoal_proto::roster::Role;

    use crate::check::tests::world;

    #[test]
    fn who_was_let_in_by_one_alone_is_noticed() {
        let mut world = world(&[&[], &[]]);
        let known = world.devices[1].index.entries().iter().cloned().collect();
        assert!(super::check(&world).is_err(), "only the second knows what lets it in");
        world.devices[0].index.add_entries(known).unwrap();
        assert_eq!(super::check(&world), Ok(()));
        let later = world.members.joined(3, Role::Writer, "x").unwrap();
        world.devices[1].index.add_entries(vec![later]).unwrap();
        assert_eq!(super::check(&world).unwrap_err().invariant, "I26");
    }
}
