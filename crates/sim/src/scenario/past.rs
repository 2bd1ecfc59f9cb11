//! More of the language of scenarios: what was displaced, how long it is kept, and how it comes back.
//!
//! Promise: what a device keeps is read from its disk, or from what its index tells a person who asks; a version is
//! called by its text.

use shoal_disk::FileTime;
use shoal_engine::history::{Kept, Listing, Restore, Restored, Retention, Why};
use shoal_engine::io::{Command, given_up};
use shoal_proto::path::RelPath;

use super::{At, Plan};
use crate::check::kept_long_enough::kept_files;
use crate::users::full;

impl Plan {
    /// So much of what is displaced is kept.
    #[must_use]
    pub fn keeps(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }
}

impl At<'_> {
    /// What its user is told of the versions that it keeps of a path and all below it, the newest first.
    #[must_use]
    pub fn past(&self, path: &str) -> Vec<Kept> {
        let at = RelPath::parse(path.as_bytes()).ok();
        let asked = Listing { at, before: None, at_most: usize::MAX };
        self.world.devices[self.device].index.history(&asked).unwrap_or_default()
    }

    /// Why each version of a path went, as its user is told, the newest first; and by whom, if that is known.
    #[must_use]
    pub fn past_of(&self, path: &str) -> Vec<(Why, Option<String>)> {
        let name = |kept: &Kept| {
            let author = self.world.devices.iter().find(|device| Some(device.id()) == kept.by);
            author.map(|device| device.name.clone())
        };
        self.past(path).iter().map(|kept| (kept.why, name(kept))).collect()
    }

    /// Its user wants a version back that says this, at a path or where it was.
    ///
    /// # Panics
    /// When there is none.
    pub fn wants_back(self, text: &str, to: Option<&str>) -> Self {
        let number = self.number_of(text);
        self.wants_back_number(number, to)
    }

    /// Its user wants the version with this number back.
    pub fn wants_back_number(self, number: u64, to: Option<&str>) -> Self {
        let to = to.and_then(|path| RelPath::parse(path.as_bytes()).ok());
        self.command(Command::Restore(Restore { number, to }))
    }

    /// Its user gives up what is known to be changed at a path and below it; `None`: everywhere.
    ///
    /// # Panics
    /// When its index cannot be read.
    pub fn reverts(self, path: Option<&str>) -> Self {
        let at = path.and_then(|path| RelPath::parse(path.as_bytes()).ok());
        let index = &self.world.devices[self.device].index;
        let (changes, _) =
            index.local_differences(at.as_ref(), usize::MAX).expect("an index that can be read");
        self.command(Command::Revert(given_up(changes)))
    }

    /// What became of what its user wanted back, the last one last.
    #[must_use]
    pub fn restored(&self) -> Vec<Restored> {
        let status = self.status().map(|status| status.restores);
        status.unwrap_or_default().into_iter().map(|(_, restored)| restored).collect()
    }

    /// A program that has had a version open since before it was displaced writes this to its end.
    ///
    /// # Panics
    /// When there is no such version.
    pub fn writes_late(self, text: &str, more: &str) -> Self {
        let number = self.number_of(text);
        let one = &self.world.devices[self.device];
        one.set_time(self.world.now());
        let written = one.disk.user().append(&full(&format!(".shoal/history/{number:016x}")), more);
        assert!(written.is_ok(), "{written:?}");
        self
    }

    /// Where the versions were that it lists as written to after they were displaced.
    #[must_use]
    pub fn late_edits(&self) -> Vec<String> {
        let late = self.status().map(|status| status.late_edits).unwrap_or_default();
        late.values().map(|path| path.as_ref().map(RelPath::to_string).unwrap_or_default()).collect()
    }

    /// Its user sets a file's time to this second.
    #[must_use]
    pub fn mtime(&self, path: &str) -> Option<FileTime> {
        self.looks(path).map(|(_, _, mtime)| mtime)
    }

    /// The number of the newest version that says this.
    #[must_use]
    pub fn number_of(&self, text: &str) -> u64 {
        let files = kept_files(&self.world.devices[self.device].disk);
        let found = files.iter().rev().find(|(_, bytes)| *bytes == text.as_bytes());
        let name = &self.world.devices[self.device].name;
        assert!(found.is_some(), "{name} keeps nothing that says {text}");
        found.map_or(0, |(number, _)| *number)
    }
}
