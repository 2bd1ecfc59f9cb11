//! More of the language of scenarios: what there is to be seen at devices.
//!
//! Promise: what is looked at are disks, and of an index only what is said here; what is not as told fails with what was
//! there instead.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;

use shoal_disk::Kind;
use shoal_engine::status::Cause;
use shoal_proto::path::RelPath;

use super::{At, World};
use crate::performers::FOLDER;
use crate::users::full;

impl World {
    /// All disks of honest devices show nothing at a path.
    ///
    /// # Panics
    /// When one does.
    pub fn assert_all_lack(&mut self, path: &str) -> &mut Self {
        self.each(|at| at.assert_lacks(path))
    }

    /// On all disks of honest devices the conflict copies of a path hold these texts, in order, each once.
    ///
    /// # Panics
    /// When they do not.
    pub fn assert_copies(&mut self, path: &str, texts: &[&str]) -> &mut Self {
        self.each(|at| at.assert_copies(path, texts))
    }

    /// Whether a device shows a file at a path.
    #[must_use]
    pub fn shows(&self, name: &str, path: &str) -> bool {
        let device = self.named(name);
        self.devices[device].disk.user().read(&full(path)).is_ok()
    }

    /// No device has asked its user whether to go on.
    ///
    /// # Panics
    /// When one has.
    pub fn assert_nobody_was_asked(&mut self) -> &mut Self {
        let lines = self.trace.lines();
        let asked = lines.iter().find(|line| line.contains("says: go on"));
        assert_eq!(asked, None, "a user was asked\n{}", lines.join("\n"));
        self
    }

    fn each(&mut self, mut look: impl FnMut(At<'_>) -> At<'_>) -> &mut Self {
        for device in 0..self.devices.len() {
            if self.devices[device].counts() {
                look(At { world: self, device });
            }
        }
        self
    }
}

impl At<'_> {
    /// The contents of its history.
    #[must_use]
    pub fn kept_contents(&self) -> BTreeSet<Vec<u8>> {
        let tree = self.world.devices[self.device].disk.user().tree(FOLDER).unwrap_or_default();
        let is_old = |path: &std::path::Path| path.as_os_str().as_bytes().starts_with(b".shoal/history/");
        let old = tree.into_iter().filter(|(path, seen)| is_old(path) && seen.kind == Kind::File);
        old.map(|(_, seen)| seen.bytes).collect()
    }

    /// How many records it has published, in this life of its index.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.world.devices[self.device].index.life().counter
    }

    /// How many versions of a path contradict each other, as its index knows.
    #[must_use]
    pub fn heads(&self, path: &str) -> usize {
        let path = RelPath::parse(path.as_bytes()).ok();
        let row = path.and_then(|path| self.world.devices[self.device].index.triple(&path).ok().flatten());
        row.map_or(0, |row| row.heads.iter().len())
    }

    /// Its user sees nothing at a path.
    ///
    /// # Panics
    /// When there is something.
    pub fn assert_lacks(self, path: &str) -> Self {
        let name = &self.world.devices[self.device].name;
        assert!(!self.paths().iter().any(|shown| shown == path), "{path} is at {name}: {:?}", self.paths());
        self
    }

    /// The conflict copies of a path hold these texts.
    ///
    /// # Panics
    /// When they do not.
    pub fn assert_copies(self, path: &str, texts: &[&str]) -> Self {
        let (mut copies, mut texts) = (self.copies(path), texts.to_vec());
        copies.sort_unstable();
        texts.sort_unstable();
        assert_eq!(copies, texts, "copies of {path} at {}", self.world.devices[self.device].name);
        self
    }

    /// Its history holds this text.
    ///
    /// # Panics
    /// When it does not.
    pub fn assert_kept(self, text: &str) -> Self {
        let name = &self.world.devices[self.device].name;
        assert!(self.kept_contents().contains(text.as_bytes()), "{text} is not in the history of {name}");
        self
    }

    /// It gives this cause for a path, or none.
    ///
    /// # Panics
    /// When it gives another one.
    #[expect(clippy::needless_pass_by_value, reason = "scenarios name the cause in place")]
    pub fn assert_cause(self, path: &str, cause: Option<Cause>) -> Self {
        assert_eq!(self.cause(path), cause, "{path} at {}", self.world.devices[self.device].name);
        self
    }
}
