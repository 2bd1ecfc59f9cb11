//! I1: all members show the same paths, kinds, contents, times and modes, but where one of them says why not.
//!
//! Promise: times are compared as finely as the coarsest disk keeps them; a folder's time is nobody's.

use std::collections::BTreeSet;

use shoal_disk::Kind;
use shoal_disk::mem::Seen;
use shoal_proto::path::RelPath;
use shoal_proto::roster::Role;

use crate::check::Broken;
use crate::users::{Tree, tree};
use crate::world::World;

/// Checks all devices that are honest and run, or are yet to start.
///
/// # Errors
/// Where two disks differ.
pub fn check(world: &World) -> Result<(), Broken> {
    let mut shown: Vec<(usize, Tree)> = Vec::new();
    for (at, device) in world.devices.iter().enumerate() {
        if device.counts() {
            shown.push((at, tree(&device.disk)));
        }
    }
    let Some(((first, ours), others)) = shown.split_first() else { return Ok(()) };
    for (other, theirs) in others {
        let paths: BTreeSet<&Vec<u8>> = ours.keys().chain(theirs.keys()).collect();
        for path in paths {
            if are_same(ours.get(path), theirs.get(path)) || is_excused(world, &[*first, *other], path) {
                continue;
            }
            let tell = |seen: Option<&Seen>| seen.map_or_else(|| "nothing".to_owned(), told);
            let what = format!(
                "{} is {} at {} and {} at {}",
                String::from_utf8_lossy(path),
                tell(ours.get(path)),
                world.devices[*first].name,
                tell(theirs.get(path)),
                world.devices[*other].name
            );
            return Err(Broken::new("I1", what));
        }
    }
    Ok(())
}

fn told(seen: &Seen) -> String {
    let hash = blake3::hash(&seen.bytes).to_hex();
    let (kind, size, mode, mtime) = (seen.kind, seen.bytes.len(), seen.mode, seen.mtime);
    format!("{kind} of {size} bytes ({}, {mode:o}, {}.{:09})", &hash[..8], mtime.secs, mtime.nanos)
}

fn are_same(one: Option<&Seen>, other: Option<&Seen>) -> bool {
    let (one, other) = match (one, other) {
        (Some(one), Some(other)) => (one, other),
        (one, other) => return one.is_none() && other.is_none(),
    };
    let is_timed = one.kind != Kind::Folder;
    let has_mode = one.kind != Kind::Symlink;
    one.kind == other.kind
        && (!is_timed || one.bytes == other.bytes)
        && (!is_timed || one.mtime.secs == other.mtime.secs && are_near(one, other))
        && (!has_mode || mode_of(one) == mode_of(other))
}

/// A folder that its owner could not enter is put in place with these rights for the owner added.
fn mode_of(seen: &Seen) -> u32 {
    let added = if seen.kind == Kind::Folder { 0o700 } else { 0 };
    (seen.mode | added) & 0o777
}

/// A disk that keeps whole seconds says so by its zeros.
fn are_near(one: &Seen, other: &Seen) -> bool {
    let (one, other) = (one.mtime.nanos, other.mtime.nanos);
    one == other || one == 0 || other == 0
}

/// Whether one of the devices says itself that this path is not as it should be, and may.
fn is_excused(world: &World, devices: &[usize], path: &[u8]) -> bool {
    let Ok(path) = RelPath::parse(path) else { return false };
    let is_forsaken = |path: &RelPath| world.forsaken.iter().any(|lost| lost == path || lost.is_below(path));
    let says = |at: &usize| {
        let device = &world.devices[*at];
        let status = device.status(&world.share());
        device.role == Role::Reader && status.is_some_and(|status| status.problems.contains_key(&path))
    };
    is_forsaken(&path) || devices.iter().any(says)
}

#[cfg(test)]
mod tests {
    use shoal_disk::FileTime;

    use crate::check::tests::world;
    use crate::users::full;

    #[test]
    fn equal_trees_have_converged_and_no_others() {
        let files: &[(&str, &str)] = &[("a", "1"), ("b", "2")];
        assert_eq!(super::check(&world(&[files, files])), Ok(()));
        for other in [&[("a", "1")][..], &[("a", "1"), ("b", "3")], &[("a", "1"), ("b", "2"), ("c", "")]] {
            let broken = super::check(&world(&[files, other])).unwrap_err();
            assert_eq!(broken.invariant, "I1", "{broken}");
        }
        let timed = world(&[files, files]);
        timed.devices[1].disk.user().touch(&full("a"), FileTime { secs: 7, nanos: 0 }).unwrap();
        assert!(super::check(&timed).is_err());
        let moded = world(&[files, files]);
        moded.devices[1].disk.user().set_mode(&full("a"), 0o600).unwrap();
        assert!(super::check(&moded).is_err());
    }
}
