//! I10: nothing outside the share's folder is created, changed or removed.
//!
//! Promise: everything that a disk has is looked at, whatever its name.

use std::os::unix::ffi::OsStrExt;

use crate::check::Broken;
use crate::device::OUTSIDE;
use crate::performers::FOLDER;
use crate::world::World;

/// Checks a disk.
///
/// # Errors
/// The first thing that is not as it was at the beginning.
pub fn check(world: &World, device: usize) -> Result<(), Broken> {
    let broken = |what: String| Broken::new("I10", format!("{what} at {}", world.devices[device].name));
    let tree = world.devices[device].disk.user().tree("/").unwrap_or_default();
    for (path, bytes) in OUTSIDE {
        let seen = tree.get(std::path::Path::new(path.trim_start_matches('/')));
        if seen.is_none_or(|seen| seen.bytes != bytes.as_bytes()) {
            return Err(broken(format!("{path} is not what it was")));
        }
    }
    let inside = FOLDER.trim_start_matches('/').as_bytes();
    for path in tree.keys() {
        let bytes = path.as_os_str().as_bytes();
        let is_inside = bytes.strip_prefix(inside).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
        let was_there = OUTSIDE.iter().any(|(known, _)| known.trim_start_matches('/').as_bytes() == bytes);
        if !is_inside && !was_there && bytes != b"home" {
            return Err(broken(format!("{} was made", path.display())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::check::tests::world;

    #[test]
    fn what_is_made_or_changed_outside_is_seen() {
        let clean = world(&[&[("a", "1")], &[]]);
        assert_eq!(super::check(&clean, 0), Ok(()));
        clean.devices[0].disk.user().write("/home/shared", "x").unwrap();
        assert!(super::check(&clean, 0).is_err());
        clean.devices[1].disk.user().write("/outside", "changed").unwrap();
        assert_eq!(super::check(&clean, 1).unwrap_err().invariant, "I10");
    }
}
