//! The promises, one a file.
//!
//! Promise: a check looks at disks and at the ledger of what users did, and believes no engine; it changes nothing. Which
//! ones are made at every step, after what breaks, or at the end, says [`at_rest`] and where they are called.

pub mod atomic;
pub mod bounded;
pub mod confined;
pub mod converged;
pub mod honest;
pub mod kept_long_enough;
pub mod no_echo;
pub mod no_resurrection;
pub mod nothing_lost;
pub mod one_roster;
pub mod rights;

use core::fmt;
use std::collections::BTreeSet;

use shoal_disk::Kind;
use shoal_index::IndexError;

use crate::ledger::{Digest, digest};
use crate::performers::FOLDER;
use crate::world::World;

/// A promise that was broken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broken {
    /// Its number: "I3".
    pub invariant: &'static str,
    /// How.
    pub what: String,
}

impl Broken {
    /// A promise that was broken in this way.
    #[must_use]
    pub fn new(invariant: &'static str, what: String) -> Self {
        Self { invariant, what }
    }

    /// A world that cannot be made.
    #[must_use]
    pub fn of_world(what: String) -> Self {
        Self::new("world", what)
    }

    /// An index that refuses.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "errors are mapped by it")]
    pub fn of_index(error: IndexError) -> Self {
        Self::new("I18", format!("an index refuses: {error}"))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.invariant, self.what)
    }
}

/// All that must hold of a world at rest.
///
/// # Errors
/// The first promise that is broken.
pub fn at_rest(world: &World) -> Result<(), Broken> {
    converged::check(world)?;
    nothing_lost::check(world)?;
    no_resurrection::check(world)?;
    honest::check(world)?;
    rights::check(world)?;
    one_roster::check(world)?;
    for device in 0..world.devices.len() {
        atomic::check_disk(world, device)?;
        confined::check(world, device)?;
    }
    Ok(())
}

/// The contents of all files on all honest disks, those in history included.
#[must_use]
pub fn contents(world: &World) -> BTreeSet<Digest> {
    let mut all = BTreeSet::new();
    for device in world.devices.iter().filter(|device| device.is_honest()) {
        let tree = device.disk.user().tree(FOLDER).unwrap_or_default();
        let files = tree.values().filter(|seen| seen.kind == Kind::File);
        all.extend(files.map(|seen| digest(&seen.bytes)));
    }
    all
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::options::Options;
    use crate::users::full;
    use crate::world::World;

    /// A world of three devices that are not started, with these files on their disks.
    pub(crate) fn world(files: &[&[(&str, &str)]]) -> World {
        let options = Options { devices: files.len(), ..Options::default() };
        let world = World::new(1, &options, Vec::new()).unwrap();
        for (device, files) in world.devices.iter().zip(files) {
            for (path, bytes) in *files {
                device.disk.user().write(&full(path), bytes).unwrap();
            }
        }
        world
    }
}
