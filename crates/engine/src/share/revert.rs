//! A reader's own changes that a person gives up: what the share has comes to stand there instead.
//!
//! Promise: only what the person has seen is given up. What a path showed then goes to history as soon as the share's version
//! can take its place; what its user does there before that is a change like any other, and stays (I3). Nothing here
//! changes a disk: for the planner such a path is as overtaken as by a newer version, and for the guards its removal is
//! meant.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::here::Triple;
use shoal_proto::path::RelPath;
use shoal_proto::record::Version;

use super::Share;
use crate::limits::REVERTS_MAX;
use crate::planner::Rights;

/// What each path showed when it was given up; nothing, if its user had deleted it.
pub type GivenUp = BTreeMap<RelPath, Option<Version>>;

/// What these paths show is given up.
#[must_use]
pub fn given_up(rows: Vec<Triple>) -> GivenUp {
    rows.into_iter().map(|row| (row.path, row.here.map(|here| here.version))).collect()
}

/// Changes that are given up, and are not over.
#[derive(Debug, Default)]
pub(super) struct Reverter {
    /// Since the last pass began.
    fresh: GivenUp,
    planned: GivenUp,
    /// What the pass under way has come across.
    met: BTreeSet<RelPath>,
}

impl Reverter {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.planned.len()
    }

    /// What was given up is planned with all that diverges.
    pub(super) fn pass_begins(&mut self) {
        self.planned.append(&mut self.fresh);
        self.met.clear();
    }

    /// The pass has come across this path, which is still as it was given up.
    pub(super) fn meets(&mut self, path: &RelPath) {
        self.met.insert(path.clone());
    }

    /// What was not come across does not differ any more, or not as it did: it is over.
    pub(super) fn pass_ends(&mut self) {
        let met = core::mem::take(&mut self.met);
        self.planned.retain(|path, _| met.contains(path));
    }
}

impl Share {
    /// A person gives these changes up. Those that there is no room for, and all while the disk is not to be changed, stay.
    pub(super) fn gives_up(&mut self, changes: &GivenUp) {
        if self.rights() != Rights::Reader || !self.may_plan() {
            return;
        }
        let room = REVERTS_MAX.saturating_sub(self.reverter.len());
        let changes = changes.iter().take(room).map(|(path, shown)| (path.clone(), shown.clone()));
        self.reverter.fresh.extend(changes);
        self.planner.is_dirty = true;
    }

    /// What this device may do at a path.
    pub(super) fn rights_at(&self, row: &Triple) -> Rights {
        let shown = || row.here.as_ref().map(|here| &here.version);
        match (self.rights(), self.reverter.planned.get(&row.path)) {
            (Rights::Reader, Some(given_up)) if given_up.as_ref() == shown() => Rights::Reverting,
            (rights, _) => rights,
        }
    }
}
