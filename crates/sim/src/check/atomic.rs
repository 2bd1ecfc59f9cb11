//! I8, I9: a file at a path of the share holds what a user wrote, whole; never a half, a mixture, or what nobody wrote.
//!
//! Promise: the state of a save that a user's own program made counts as written; what a power cut leaves of such a save
//! too. All else is the work of Shoal.

use crate::check::Broken;
use crate::ledger::{digest, files};
use crate::users::{full, tree};
use crate::world::World;

/// Checks these paths of a disk.
///
/// # Errors
/// The first file that nobody wrote so.
pub fn check_paths(world: &World, device: usize, paths: &[String]) -> Result<(), Broken> {
    let user = world.devices[device].disk.user();
    for path in paths {
        // What is a folder or a link, or lies behind one, has no bytes of a file.
        if let Ok(bytes) = user.read(&full(path))
            && !world.ledger.is_known(&digest(&bytes))
        {
            return Err(broken(world, device, path.as_bytes(), bytes.len()));
        }
    }
    Ok(())
}

/// Checks a whole disk.
///
/// # Errors
/// The first file that nobody wrote so.
pub fn check_disk(world: &World, device: usize) -> Result<(), Broken> {
    if !world.devices[device].is_honest() {
        return Ok(());
    }
    let tree = tree(&world.devices[device].disk);
    for (path, content) in files(&tree) {
        if !world.ledger.is_known(&content) {
            return Err(broken(world, device, path, tree[path].bytes.len()));
        }
    }
    Ok(())
}

fn broken(world: &World, device: usize, path: &[u8], size: usize) -> Broken {
    let name = &world.devices[device].name;
    let path = String::from_utf8_lossy(path);
    Broken::new("I8", format!("{path} at {name} has {size} bytes that nobody wrote"))
}

#[cfg(test)]
mod tests {
    use crate::check::tests::world;
    use crate::users::{Bytes, Step, full};

    #[test]
    fn half_of_what_a_user_wrote_is_nobodys() {
        let mut world = world(&[&[], &[]]);
        let bytes = Bytes { number: 3, size: 20, edit: 0 };
        world.user_acts(0, &Step::Write("a".to_owned(), bytes));
        assert_eq!(super::check_disk(&world, 0), Ok(()));
        world.devices[1].disk.user().write(&full("a"), &bytes.make()[..9]).unwrap();
        assert_eq!(super::check_disk(&world, 1).unwrap_err().invariant, "I8");
        assert!(super::check_paths(&world, 1, &["b".to_owned(), "a".to_owned()]).is_err());
        assert_eq!(super::check_paths(&world, 1, &["b".to_owned()]), Ok(()));
    }
}
