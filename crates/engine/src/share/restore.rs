//! A version in history that a person wants back: copied into the folder, and published as this device's newest one.
//!
//! Promise: it is an edit of the user's like any other, and so a local difference where this device only reads. The version stays in history, and what it takes the place of goes
//! there; what its user has just done at that path is published first, and what others have done there unseen is not
//! replaced by it (I3). One version at a time; what became of each is told. A crash between the two steps leaves a
//! file that its user might have put there, and that is found as such.
//!
//! ```text
//! wanted ─► which is it, and what is at its path? ─► is that so on the disk? ─► copied, put in place ─► observe ─► publish
//! ```

use std::collections::VecDeque;

use shoal_proto::here::{Here, Triple};
use shoal_proto::path::RelPath;
use shoal_proto::record::Kind;

use super::commit::displaced;
use super::{Share, Stage, Waiting, Wake};
use crate::disk::{self, Committed, Look, Seen};
use crate::history::{self, Kept, Refusal, Restore, Restored, Why};
use crate::index::{self, Guard, Observed, Outcome};
use crate::limits::{RESTORE_PAUSE, RESTORE_TRIES_MAX, RESTORES_MAX, RESTORES_TOLD_MAX};
use crate::time::Time;

/// What was asked of the disk or the index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    /// Which version it is, and what is known of the path.
    One,
    /// What the path shows.
    Look,
    /// To put it there.
    Copy,
    /// To note that it stands there.
    Observe,
}

/// Versions that a person wants back.
#[derive(Debug, Default)]
pub(super) struct Restorer {
    waiting: VecDeque<Wish>,
    under_way: Option<Wish>,
    told: VecDeque<(Restore, Restored)>,
}

#[derive(Debug)]
struct Wish {
    restore: Restore,
    /// Not before this.
    at: Time,
    tries: u32,
    /// Where it is to stand, and what the index held there. The path is being changed from then on.
    target: Option<(RelPath, Option<Here>)>,
}

impl Restorer {
    /// Whether any is on its way.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.is_some() || !self.waiting.is_empty()
    }

    /// What became of each, the last one last.
    pub(super) fn told(&self) -> impl Iterator<Item = &(Restore, Restored)> {
        self.told.iter()
    }

    fn tell(&mut self, restore: Restore, restored: Restored) {
        let is_it =
            |(told, state): &&mut (Restore, Restored)| *told == restore && *state == Restored::Waiting;
        match self.told.iter_mut().find(is_it) {
            Some((_, state)) => *state = restored,
            None => self.told.push_back((restore, restored)),
        }
        let is_over = |(_, state): &(Restore, Restored)| *state != Restored::Waiting;
        if self.told.iter().filter(|told| is_over(told)).count() > RESTORES_TOLD_MAX
            && let Some(oldest) = self.told.iter().position(is_over)
        {
            self.told.remove(oldest);
        }
    }
}

impl Share {
    /// A person wants a version back.
    pub(super) fn wants_back(&mut self, restore: Restore) {
        if self.restorer.waiting.len() >= RESTORES_MAX {
            return self.restorer.tell(restore, Restored::Refused(Refusal::TooMany));
        }
        self.restorer.told.push_back((restore.clone(), Restored::Waiting));
        self.restorer.waiting.push_back(Wish { restore, at: Time::ZERO, tries: 0, target: None });
    }

    pub(super) fn restore_on(&mut self) {
        // Before all was looked at once nobody knows what is at a path.
        let is_too_early = matches!(self.stage, Stage::Starting | Stage::Scanning);
        while self.restorer.under_way.is_none() && !is_too_early {
            let due = self.restorer.waiting.iter().position(|wish| wish.at <= self.now.time);
            let Some(wish) = due.and_then(|due| self.restorer.waiting.remove(due)) else { break };
            self.begin_restore(wish);
        }
        let next = self.restorer.waiting.iter().map(|wish| wish.at).filter(|at| *at > self.now.time).min();
        if let Some(at) = next {
            self.timers.set_no_later(Wake::Restore, at);
        }
    }

    fn begin_restore(&mut self, wish: Wish) {
        let Restore { number, to } = wish.restore.clone();
        self.restorer.under_way = Some(wish);
        if !self.may_plan() {
            return self.restore_is_refused(Refusal::NotLive);
        }
        let job = index::Job::History(history::Job::One(number, to));
        self.index(Waiting::Restore(Asked::One), job);
    }

    pub(super) fn restore_answered(&mut self, asked: Asked, answer: index::Answer) {
        match (asked, answer) {
            (Asked::One, index::Answer::History(history::Answer::One(kept, row))) => {
                self.restore_is_known(kept.map(|kept| *kept), row.map(|row| *row));
            }
            (Asked::Observe, index::Answer::Observed(outcomes, batches)) => {
                let outcome = outcomes.first().copied().unwrap_or(Outcome::Changed);
                self.restore_is_noted(outcome);
                self.publish(&batches);
            }
            // Nothing is lost by it, so no guard asks.
            _ => self.restore_breaks_off(),
        }
    }

    pub(super) fn restore_told(&mut self, asked: &Asked, answer: disk::Answer) {
        match (asked, answer) {
            (Asked::Look, disk::Answer::Looked(looks)) => self.restore_is_seen(looks.into_iter().next()),
            (Asked::Copy, disk::Answer::Restored(restored)) => self.restore_is_made(*restored),
            (_, disk::Answer::Failed(why)) => self.restore_is_refused(Refusal::Disk(why)),
            _ => self.restore_breaks_off(),
        }
    }

    fn restore_is_known(&mut self, kept: Option<Kept>, row: Option<Triple>) {
        let Some(wish) = &mut self.restorer.under_way else { return };
        let Restore { number, to } = &wish.restore;
        let Some(kept) = kept else {
            let missing = Refusal::Missing(*number);
            return self.restore_is_refused(missing);
        };
        let Some(path) = to.clone().or(kept.path) else {
            let nowhere = Refusal::NoPath(*number);
            return self.restore_is_refused(nowhere);
        };
        let here = row.and_then(|row| row.here);
        if here.as_ref().is_some_and(|here| here.version.kind == Kind::Directory) {
            return self.restore_is_refused(Refusal::Folder(path));
        }
        if self.busy.contains(&path) {
            return self.restore_waits(&path);
        }
        wish.target = Some((path.clone(), here));
        self.busy.insert(path.clone());
        self.disk(Waiting::Restore(Asked::Look), disk::Job::Look(vec![path]));
    }

    /// What its user has done there and nobody has published yet, is taken first.
    fn restore_is_seen(&mut self, look: Option<Look>) {
        let Some(Wish { restore, target: Some((path, here)), .. }) = &self.restorer.under_way else { return };
        let (number, path) = (restore.number, path.clone());
        let known = here.as_ref().map(Seen::from);
        let over = match look {
            Some(Look::Seen(seen)) => Some(seen),
            Some(Look::Nothing) => None,
            Some(Look::Ignored) => {
                let text = format!("{path} is ignored here");
                return self.restore_is_refused(Refusal::Disk(text));
            }
            Some(Look::Unknown(why)) => {
                return self.restore_is_refused(Refusal::Disk(format!("cannot look at {path}: {why:?}")));
            }
            None => return self.restore_breaks_off(),
        };
        if over != known {
            return self.restore_waits(&path);
        }
        let by = self.device;
        let job = disk::Job::Restore(Box::new(disk::Restore { number, to: path, over, by }));
        self.disk(Waiting::Restore(Asked::Copy), job);
    }

    fn restore_is_made(&mut self, restored: disk::Restored) {
        let Some(Wish { restore, target: Some((path, compared)), .. }) = &self.restorer.under_way else {
            return;
        };
        let (number, path, compared) = (restore.number, path.clone(), compared.clone());
        match restored {
            disk::Restored::Done { here, list, kept } => {
                if let Some(kept) = kept {
                    let by = Some(self.device);
                    self.was_filed(displaced(kept, compared.as_ref(), by, Why::Replaced));
                }
                let lists = list.map(|list| (here.version.kind.content(), list)).into_iter().collect();
                let observed = vec![Observed { path, compared, found: Some(here) }];
                let guard = Guard { at: self.now.time, ..Guard::default() };
                self.index(Waiting::Restore(Asked::Observe), index::Job::Observe { observed, lists, guard });
            }
            disk::Restored::Missing => self.restore_is_refused(Refusal::Missing(number)),
            disk::Restored::Not(Committed::ChangedHere { kept }) => {
                if let Some(kept) = kept {
                    self.was_filed(kept);
                }
                self.restore_waits(&path);
            }
            disk::Restored::Not(Committed::NotEmpty { .. }) => self.restore_is_refused(Refusal::Folder(path)),
            disk::Restored::Not(outcome) => {
                // It may be done all the same: what is there is looked at.
                self.scanner.look(path.clone(), self.now.time, false);
                self.restore_is_refused(Refusal::Disk(in_words(&path, outcome)));
            }
        }
    }

    fn restore_is_noted(&mut self, outcome: Outcome) {
        let Some(wish) = self.restorer.under_way.take() else { return };
        let Some((path, _)) = wish.target else { return };
        self.heeds(wish.restore.number);
        self.is_free(&path);
        // Folders that were made on the way to it are its user's, like those of any other file.
        for folder in path.ancestors() {
            self.scanner.look(folder, self.now.time, false);
        }
        if outcome == Outcome::Changed {
            self.scanner.look(path.clone(), self.now.time, false);
        }
        self.planner.is_dirty = true;
        self.is_untold = true;
        self.has_moved(&path);
        self.restorer.tell(wish.restore, Restored::Done(path));
    }

    /// Something else is being done at the path: it is tried again in a moment.
    fn restore_waits(&mut self, path: &RelPath) {
        let Some(mut wish) = self.restorer.under_way.take() else { return };
        if let Some((path, _)) = wish.target.take() {
            self.is_free(&path);
            self.scanner.look(path, self.now.time, false);
        }
        wish.tries += 1;
        if wish.tries > RESTORE_TRIES_MAX {
            let refusal = Refusal::Changing(path.clone());
            return self.restorer.tell(wish.restore, Restored::Refused(refusal));
        }
        wish.at = self.now.time.after(RESTORE_PAUSE);
        self.restorer.waiting.push_back(wish);
    }

    fn restore_is_refused(&mut self, why: Refusal) {
        let Some(wish) = self.restorer.under_way.take() else { return };
        if let Some((path, _)) = wish.target {
            self.is_free(&path);
        }
        self.restorer.tell(wish.restore, Restored::Refused(why));
    }

    /// What was asked has come to nothing: what stands there is looked at like everything else.
    pub(super) fn restore_breaks_off(&mut self) {
        if let Some(Wish { target: Some((path, _)), .. }) = &self.restorer.under_way {
            self.scanner.look(path.clone(), self.now.time, false);
        }
        self.restore_is_refused(Refusal::NotLive);
    }
}

fn in_words(path: &RelPath, outcome: Committed) -> String {
    match outcome {
        Committed::Barred(why) | Committed::NoName(why) | Committed::Failed(why) => why,
        Committed::NoSpace => format!("there is no space for {path}"),
        other => format!("{path} could not be put in place: {other:?}"),
    }
}
