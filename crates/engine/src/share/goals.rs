//! What waits for its bytes before it can be put in place.
//!
//! Promise: a path waits in one goal at most, and is not held by it: what its user does there is published, and the goal
//! is given up by the pass that finds it overtaken. There are so many goals at a time (I30); those that nobody who is
//! connected can give never keep others from being planned (I2): if they take all room, most of them are left out
//! until somebody may have them.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::hash::{ContentId, RecordHash};
use shoal_proto::here::Triple;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Record};

use super::commit::{Planned, Purpose};
use super::peers::Held;
use super::{Share, Wake};
use crate::disk::{BytesAt, ChangeDeed, StageId};
use crate::fetch::{Goal, Older, Progress};
use crate::limits::{PLAN_PATHS, ROOM_PAUSE, SOURCELESS_GOALS_MAX};
use crate::planner::Rights;
use crate::status::Cause;
use crate::time::Time;

/// What waits for its bytes.
#[derive(Debug, Default)]
pub(super) struct Goals {
    /// By the staged file.
    planned: BTreeMap<StageId, Planned>,
    /// The staged files by the paths that they are for.
    stages: BTreeMap<RelPath, StageId>,
    made: u32,
    /// How many had ended when there was no room the last time, and since when it is so.
    full: Option<(u64, Time)>,
    /// What nobody has took all room: of that no more is wanted, until somebody may have it.
    is_crowded: bool,
    /// Something was not wanted because of it.
    has_left_out: bool,
}

impl Goals {
    fn add(&mut self, stage: StageId, planned: Planned) {
        self.stages.insert(planned.target().clone(), stage);
        self.planned.insert(stage, planned);
    }

    fn take(&mut self, stage: StageId) -> Option<Planned> {
        let planned = self.planned.remove(&stage)?;
        self.stages.remove(planned.target());
        Some(planned)
    }

    /// The goal for a path.
    pub(super) fn at(&self, path: &RelPath) -> Option<(StageId, &Planned)> {
        let stage = *self.stages.get(path)?;
        Some((stage, self.planned.get(&stage)?))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.planned.is_empty()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&StageId, &Planned)> {
        self.planned.iter()
    }
}

/// A file whose bytes are to come.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) content: ContentId,
    pub(super) size: u64,
    /// Heads that name it.
    pub(super) records: BTreeSet<RecordHash>,
    /// The file here that it is to replace.
    pub(super) older: Option<Older>,
    /// Where it is on this disk, if that was asked.
    pub(super) places: Option<Vec<BytesAt>>,
}

impl Share {
    // ── wanting ──

    /// Wants the bytes of a file, for what is planned with the staged file. `None`: there is no room now.
    pub(super) fn want(&mut self, wish: Wish, planned: impl FnOnce(StageId) -> Planned) -> Option<StageId> {
        let Wish { content, size, records, older, places } = wish;
        self.goals.made = self.goals.made.wrapping_add(1);
        let stage = self.fetch.want(Goal { content, size, rank: self.goals.made, records, older, places })?;
        self.goals.add(stage, planned(stage));
        Some(stage)
    }

    /// Whether a file is to be left out: nobody has it, and such have taken all room before.
    pub(super) fn leaves_out(&mut self, wish: &Wish) -> bool {
        let is_here = wish.places.as_ref().is_some_and(|places| !places.is_empty());
        let leaves_out = self.goals.is_crowded
            && !is_here
            && !self.fetch.may_come(&wish.content, &wish.records, &Held(&self.peers));
        self.goals.has_left_out |= leaves_out;
        leaves_out
    }

    /// A staged file that is to stand at a path as a conflict copy is wanted. `false`: not now.
    pub(super) fn want_copy(&mut self, copy: &Record, losers: Vec<RecordHash>, conflict: &RelPath) -> bool {
        let Kind::File { size, content } = copy.version.kind else { return false };
        let records = losers.into_iter().collect();
        let wish = Wish { content, size, records, older: None, places: None };
        let planned = |stage| {
            let deed = ChangeDeed::Place { version: copy.version.clone(), stage: Some(stage), over: None };
            let mut planned = Planned::new(copy.path.clone(), deed, None, Some(copy.clone()));
            planned.purpose = Purpose::Copy(conflict.clone());
            planned
        };
        self.want(wish, planned).is_some()
    }

    /// What a path waits for; what is not asked for any more is given up.
    pub(super) fn is_awaited(&mut self, row: &Triple, rights: Rights) -> Option<StageId> {
        let (stage, planned) = self.goals.at(&row.path)?;
        if planned.purpose != Purpose::Shown || planned.is_wanted(row, rights) {
            return Some(stage);
        }
        self.give_up_goals(|other, _| other == stage);
        None
    }

    // ── what becomes of it ──

    pub(super) fn fetched(&mut self, stage: StageId) {
        let Some(planned) = self.goals.take(stage) else { return };
        if !self.busy.contains(planned.target()) {
            return self.start(planned);
        }
        // Something else is done there just now: what is wanted after it, the next pass finds.
        self.planner.is_dirty = true;
        self.forget_stage(stage);
        if let Purpose::Copy(conflict) = &planned.purpose {
            self.copy_not_placed(conflict);
        }
    }

    pub(super) fn fetch_failed(&mut self, stage: StageId, why: String) {
        if let Some(planned) = self.goals.take(stage) {
            self.forget_stage(stage);
            self.blocked(planned.change.path.clone(), Cause::Blocked(why));
            if let Purpose::Copy(conflict) = &planned.purpose {
                self.copy_not_placed(conflict);
            }
        }
    }

    /// What waits for its bytes is given up where it is not wanted any more. Whether there was any.
    pub(super) fn give_up_goals(&mut self, is_unwanted: impl Fn(StageId, &Planned) -> bool) -> bool {
        let unwanted = self.goals.iter().filter(|(stage, planned)| is_unwanted(**stage, planned));
        let unwanted: Vec<StageId> = unwanted.map(|(stage, _)| *stage).collect();
        for stage in &unwanted {
            self.goals.take(*stage);
            self.forget_stage(*stage);
        }
        !unwanted.is_empty()
    }

    /// A staged file is of no more use.
    pub(super) fn forget_stage(&mut self, stage: StageId) {
        self.fetch.forget(stage);
    }

    // ── room ──

    /// Whether a page more can be wanted. If nothing wanted comes any more, what nobody has makes room.
    pub(super) fn has_room(&mut self) -> bool {
        if self.fetch.has_room_for(PLAN_PATHS) {
            self.goals.full = None;
            return true;
        }
        let ended = self.fetch.ended();
        let since = match self.goals.full {
            Some((before, since)) if before == ended => since,
            _ => self.now.time,
        };
        self.goals.full = Some((ended, since));
        let at = since.after(ROOM_PAUSE);
        if self.now.time < at {
            self.timers.set_no_later(Wake::Room, at);
            return false;
        }
        self.goals.full = None;
        self.timers.set_no_later(Wake::Room, self.now.time.after(ROOM_PAUSE));
        self.leave_out_sourceless();
        self.fetch.has_room_for(PLAN_PATHS)
    }

    /// Gives up all but the first of what nobody has; it is listed, and wanted again once somebody may have it.
    fn leave_out_sourceless(&mut self) {
        let is_sourceless =
            |stage: StageId| self.fetch.progress(stage, &Held(&self.peers)) == Some(Progress::NoSource);
        let shown = self.goals.iter().filter(|(_, planned)| planned.purpose == Purpose::Shown);
        let sourceless = shown.map(|(stage, _)| *stage).filter(|stage| is_sourceless(*stage));
        let left_out: BTreeSet<StageId> = sourceless.skip(SOURCELESS_GOALS_MAX).collect();
        if left_out.is_empty() {
            return;
        }
        (self.goals.is_crowded, self.goals.has_left_out) = (true, true);
        let paths: Vec<RelPath> = left_out
            .iter()
            .rev()
            .filter_map(|stage| {
                self.forget_stage(*stage);
                self.goals.take(*stage).map(|planned| planned.change.path)
            })
            .collect();
        paths.into_iter().for_each(|path| self.is_left_out(path));
    }

    /// Somebody is connected, or has said what it has: what was left out may come.
    pub(super) fn may_have_source(&mut self) {
        if core::mem::take(&mut self.goals.has_left_out) {
            self.timers.set_no_later(Wake::Source, self.now.time.after(ROOM_PAUSE));
        }
    }

    /// What was left out is wanted again, as far as there is room.
    pub(super) fn want_left_out(&mut self) {
        self.goals.is_crowded = false;
        self.planner.is_dirty = true;
    }
}
