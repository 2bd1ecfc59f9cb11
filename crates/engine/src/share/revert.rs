//! A reader's own changes that a person gives up: what the share has comes to stand there instead.
//!
//! Promise: only what the person has seen is given up. What a path showed then goes to history as soon as the share's version
//! can take its place; what its user does there before that is a change like any other, and stays (I3). Nothing here
//! changes a disk: for the planner such a path is as overtaken as by a newer version, and for the guards its removal is
//! meant, unless others have deleted it as well. It ends: what something stands in the way of, which does not go by
//! itself, is listed and not given up any more.

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
    planned: BTreeMap<RelPath, Planned>,
}

/// One that is planned with all that diverges.
#[derive(Debug)]
struct Planned {
    /// What the path showed when it was given up.
    given_up: Option<Version>,
    met: Met,
}

/// Whether the pass under way has come across it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Met {
    NotYet,
    Yes,
    /// It has, and something stands in the way.
    Stuck,
}

impl Reverter {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.planned.len()
    }

    /// What was given up is planned with all that diverges.
    pub(super) fn pass_begins(&mut self) {
        self.planned.values_mut().for_each(|planned| planned.met = Met::NotYet);
        let fresh = core::mem::take(&mut self.fresh).into_iter();
        self.planned.extend(fresh.map(|(path, given_up)| (path, Planned { given_up, met: Met::NotYet })));
    }

    /// The pass has come across this path, which is still as it was given up.
    pub(super) fn meets(&mut self, path: &RelPath, is_stuck: bool) {
        if let Some(planned) = self.planned.get_mut(path) {
            planned.met = if is_stuck { Met::Stuck } else { Met::Yes };
        }
    }

    /// What was not come across does not differ any more, or not as it did: it is over. So is what is stuck, unless what
    /// it waits for is being given up above it or below it.
    pub(super) fn pass_ends(&mut self) {
        let (mut met, mut is_above) = (BTreeSet::new(), BTreeSet::new());
        if self.planned.values().any(|planned| planned.met == Met::Stuck) {
            let those = self.planned.iter().filter(|(_, planned)| planned.met == Met::Yes);
            met.extend(those.map(|(path, _)| path.clone()));
            is_above.extend(met.iter().flat_map(RelPath::ancestors));
        }
        let waits =
            |path: &RelPath| is_above.contains(path) || path.ancestors().any(|folder| met.contains(&folder));
        self.planned.retain(|path, planned| match planned.met {
            Met::NotYet => false,
            Met::Yes => true,
            Met::Stuck => waits(path),
        });
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
        for (path, shown) in changes {
            self.planner.tries_again(&path);
            self.reverter.fresh.insert(path, shown);
        }
    }

    /// What this device may do at a path.
    pub(super) fn rights_at(&self, row: &Triple) -> Rights {
        let shown = || row.here.as_ref().map(|here| &here.version);
        match (self.rights(), self.reverter.planned.get(&row.path)) {
            (Rights::Reader, Some(planned)) if planned.given_up.as_ref() == shown() => Rights::Reverting,
            (rights, _) => rights,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::path;

    /// I31: a folder waits for what is given up in it, and a path for the folder above it, but for nothing else.
    #[test]
    fn i31_what_is_stuck_is_over_unless_it_waits_for_what_is_given_up_too() {
        let left = |met: &[(&str, bool)]| {
            let fresh = met.iter().map(|(at, _)| (path(at), None)).collect();
            let mut reverter = Reverter { fresh, ..Reverter::default() };
            reverter.pass_begins();
            met.iter().for_each(|(at, is_stuck)| reverter.meets(&path(at), *is_stuck));
            reverter.pass_ends();
            reverter.planned.into_keys().map(|at| at.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(left(&[("d", true), ("d/e", true), ("d-e", false)]), ["d-e"]);
        assert_eq!(left(&[("d", true), ("d/e", true), ("d/e/f", false)]), ["d", "d/e", "d/e/f"]);
        assert_eq!(left(&[("d", false), ("d/e/f", true), ("e", true)]), ["d", "d/e/f"]);
    }
}
