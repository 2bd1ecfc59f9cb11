//! Ending conflicts: when it is this device's turn, and once the bytes of all versions are durable on its disk.
//!
//! Promise: only a writer resolves, only what its disk shows the winner of, and only when each version that loses stands
//! as a copy on the disk or was there before (I5). Many that could resolve wait for each other: who made one of the
//! versions that lose goes first, the others by a rank that differs from path to path (DESIGN 4).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::dot::Dot;
use shoal_proto::hash::{Domain, RecordHash};
use shoal_proto::here::{Here, Triple};
use shoal_proto::id::DeviceId;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Record};
use shoal_proto::roster::Role;

use super::commit::{Planned, Purpose};
use super::{Share, Waiting, Wake};
use crate::disk::ChangeDeed;
use crate::index::{self, Resolved};
use crate::limits::{RESOLUTIONS_MAX, RESOLVE_STEP, RESOLVE_WAIT_MAX, RETRY_MAX};
use crate::planner::{Deed, decide};
use crate::time::Time;

/// The conflicts that are known and not resolved.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    conflicts: BTreeMap<RelPath, Conflict>,
}

#[derive(Debug)]
struct Conflict {
    /// The versions in it.
    versions: BTreeSet<RecordHash>,
    /// Whose turn it is before.
    at: Time,
    step: Step,
    /// The copies that are to stand on the disk.
    copies: Vec<Record>,
    /// Those that are to be put there still.
    missing: BTreeSet<RelPath>,
    /// Those that were put there for it.
    placed: Vec<(RelPath, Here)>,
    /// Seen in the pass that is under way.
    is_seen: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// It is not our turn, or the winner is not on the disk.
    Waiting,
    /// What stands at the paths of the copies is asked, or copies are on their way there.
    Copying,
    /// The index is asked to resolve it.
    Resolving,
}

impl Resolver {
    /// Whether any conflict waits for its turn.
    pub(super) fn is_waiting(&self) -> bool {
        !self.conflicts.is_empty()
    }

    pub(super) fn forget(&mut self, path: &RelPath) {
        if let Some(conflict) = self.conflicts.get_mut(path) {
            conflict.step = Step::Waiting;
        }
    }

    /// A pass begins: what it does not come across is no conflict any more.
    pub(super) fn pass_begins(&mut self) {
        self.conflicts.values_mut().for_each(|conflict| conflict.is_seen = false);
    }

    /// Whether one is being resolved now.
    pub(super) fn is_busy(&self) -> bool {
        self.conflicts.values().any(|conflict| conflict.step != Step::Waiting)
    }
}

impl Share {
    /// A pass has come across a conflict.
    pub(super) fn conflict(&mut self, row: &Triple) {
        let versions: BTreeSet<RecordHash> =
            row.heads.conflict(row.below).into_iter().map(Record::hash).collect();
        if self.resolver.conflicts.get(&row.path).is_some_and(|known| known.versions != versions) {
            self.end_conflict(&row.path);
        }
        if !self.resolver.conflicts.contains_key(&row.path) {
            if self.resolver.conflicts.len() >= RESOLUTIONS_MAX {
                return;
            }
            let at = self.now.time.after(self.turn(row));
            let fresh = Conflict {
                versions,
                at,
                step: Step::Waiting,
                copies: Vec::new(),
                missing: BTreeSet::new(),
                placed: Vec::new(),
                is_seen: true,
            };
            self.resolver.conflicts.insert(row.path.clone(), fresh);
        }
        let is_shown = decide(row, self.rights()).disk == Deed::Nothing;
        let Some(conflict) = self.resolver.conflicts.get_mut(&row.path) else { return };
        conflict.is_seen = true;
        if conflict.step != Step::Waiting || !is_shown {
            return;
        }
        if conflict.at > self.now.time {
            let at = conflict.at;
            self.timers.set_no_later(Wake::Plan, at);
            return;
        }
        self.begin_resolving(row);
    }

    /// How long this device waits before it resolves.
    fn turn(&self, row: &Triple) -> Duration {
        let Some(life) = &self.life else { return RESOLVE_WAIT_MAX };
        let conflict = row.heads.conflict(row.below);
        if conflict.iter().skip(1).any(|loser| loser.dot.writer == life.me.writer) {
            return Duration::ZERO;
        }
        let rank = |device: &DeviceId| Domain::RANK.hash(&[device.as_bytes(), row.path.as_bytes()]);
        let own = rank(&self.device);
        let writers = life.members.iter().filter(|(_, role)| *role >= Role::Writer).map(|(device, _)| device);
        let is_connected = |device: &&DeviceId| self.peers.values().any(|peer| peer.device == **device);
        let before = writers.filter(is_connected).filter(|device| rank(device) < own).count();
        RESOLVE_STEP.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX)).min(RESOLVE_WAIT_MAX)
    }

    // ── copies ──

    fn begin_resolving(&mut self, row: &Triple) {
        // Which copies there will be does not depend on the dot.
        let dot = Dot::new(shoal_proto::id::Writer::default(), u64::MAX);
        let Some(transaction) = row.heads.resolve(row.below, dot) else { return };
        let Some(conflict) = self.resolver.conflicts.get_mut(&row.path) else { return };
        conflict.step = Step::Copying;
        conflict.copies = transaction.copies;
        let paths = conflict.copies.iter().map(|copy| copy.path.clone()).collect();
        self.index(Waiting::CopyRows(row.path.clone()), index::Job::Triples(paths));
    }

    /// What the index holds of the copies' paths: where nothing is, the copy is put.
    pub(super) fn copies_known(&mut self, path: &RelPath, rows: Vec<Option<Triple>>) {
        let Some(conflict) =
            self.resolver.conflicts.get_mut(path).filter(|known| known.step == Step::Copying)
        else {
            return;
        };
        let copies = core::mem::take(&mut conflict.copies);
        conflict.missing.clear();
        let mut wanted = Vec::new();
        for (copy, row) in copies.into_iter().zip(rows) {
            // What stands there stays: the copy's record then is one more version of that path.
            let is_free = row.as_ref().is_none_or(|row| row.here.is_none());
            let is_taken = self.busy.contains(&copy.path) || self.goals.at(&copy.path).is_some();
            if is_free && !is_taken {
                conflict.missing.insert(copy.path.clone());
                wanted.push(copy);
            }
        }
        for copy in wanted {
            // One that cannot be put now ends it, with all of its copies.
            if self.resolver.conflicts.contains_key(path) {
                self.put_copy(copy, path);
            }
        }
        self.resolve_if_ready(path);
    }

    fn put_copy(&mut self, copy: Record, conflict: &RelPath) {
        if super::peers::has_bytes(&copy) {
            // Who has the bytes of any version of the conflict may have these.
            let versions =
                self.resolver.conflicts.get(conflict).map(|known| known.versions.iter().copied().collect());
            if !self.want_copy(&copy, versions.unwrap_or_default(), conflict) {
                self.copy_not_placed(conflict);
            }
            return;
        }
        let deed = match copy.version.kind {
            Kind::Directory => ChangeDeed::MakeFolder { mode: copy.version.mode, over: None },
            _ => ChangeDeed::Place { version: copy.version.clone(), stage: None, over: None },
        };
        let mut planned = Planned::new(copy.path.clone(), deed, None, Some(copy));
        planned.purpose = Purpose::Copy(conflict.clone());
        self.start(planned);
    }

    /// A copy stands on the disk. Its path stays busy until the conflict is resolved: nobody is to take it for an edit.
    pub(super) fn copy_placed(&mut self, planned: Planned) {
        let path = planned.change.path.clone();
        let Purpose::Copy(conflict_path) = &planned.purpose else { return };
        match self.resolver.conflicts.get_mut(conflict_path) {
            Some(conflict) if conflict.step == Step::Copying && conflict.missing.contains(&path) => {
                conflict.missing.remove(&path);
                conflict.placed.extend(planned.now.flatten().map(|here| (path, here)));
                let conflict_path = conflict_path.clone();
                self.resolve_if_ready(&conflict_path);
            }
            _ => self.release(&path),
        }
    }

    /// A copy cannot be put where it belongs now: all of it is tried again later.
    pub(super) fn copy_not_placed(&mut self, conflict: &RelPath) {
        self.end_conflict(conflict);
        self.timers.set_no_later(Wake::Plan, self.now.time.after(RESOLVE_STEP));
    }

    fn resolve_if_ready(&mut self, path: &RelPath) {
        let Some(conflict) = self.resolver.conflicts.get_mut(path) else { return };
        if conflict.step != Step::Copying || !conflict.missing.is_empty() {
            return;
        }
        conflict.step = Step::Resolving;
        let versions = conflict.versions.iter().copied().collect();
        let copies = conflict.placed.clone();
        let job = index::Job::Resolve { path: path.clone(), versions, copies };
        self.index(Waiting::Resolve(path.clone()), job);
    }

    pub(super) fn resolved(&mut self, path: &RelPath, resolved: Resolved) {
        match resolved {
            Resolved::Published(batches) => {
                self.end_conflict(path);
                self.publish(&batches);
            }
            Resolved::NoConflict => {
                self.end_conflict(path);
                self.planner.is_dirty = true;
            }
            Resolved::TooMuchSeen => {
                if let Some(conflict) = self.resolver.conflicts.get_mut(path) {
                    conflict.step = Step::Waiting;
                    conflict.at = self.now.time.after(RETRY_MAX);
                }
            }
        }
    }

    // ── ends ──

    /// Conflicts that the pass did not come across are none any more.
    pub(super) fn end_conflicts_unseen(&mut self) {
        let unseen = self.resolver.conflicts.iter().filter(|(_, known)| !known.is_seen);
        let unseen: Vec<RelPath> = unseen.map(|(path, _)| path.clone()).collect();
        unseen.iter().for_each(|path| self.end_conflict(path));
    }

    /// What was put on the disk for a conflict and is no copy yet, is looked at like everything else.
    fn end_conflict(&mut self, path: &RelPath) {
        let Some(conflict) = self.resolver.conflicts.remove(path) else { return };
        // Whoever ended it may have published these copies, and the pass that found them left their paths alone.
        self.planner.is_dirty |=
            self.give_up_goals(|_, planned| planned.purpose == Purpose::Copy(path.clone()));
        for (copy, _) in conflict.placed {
            self.release(&copy);
        }
    }

    fn release(&mut self, path: &RelPath) {
        self.is_free(path);
        self.scanner.look(path.clone(), self.now.time, false);
    }
}
