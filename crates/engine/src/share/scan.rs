//! What the user does to the folder: noticed, named, made durable, noted, published.
//!
//! Promise: a watcher's word is only a hint, after which we look (I33). What is noted stands durably on the disk. A path
//! that is being changed by us is left to who changes it, and looked at again afterwards. A file that changes while it
//! is read is read again later (I22).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shoal_proto::batch::Batch;
use shoal_proto::here::Here;
use shoal_proto::path::RelPath;
use shoal_proto::segment::SegmentList;

use super::gone::{Gone, Guarding, Meant};
use super::looking::Looking;
use super::looks::Looks;
use super::sweep::{Finding, Sweep};
use super::{Share, Stage, Waiting, Wake};
use crate::disk::{self, Take, Taken, Unknown};
use crate::index::{self, ListPart, Observed, Outcome};
use crate::io::{Hint, Now};
use crate::limits::{LOOK_DELAY, LOOKS_MAX, RETRY_MAX, RETRY_MIN, TAKE_BYTES_MAX, TAKE_PATHS_MAX};
use crate::status::{Looked, Rescans};
use crate::time::Time;

/// How many jobs that name contents may be out.
const TAKES_MAX: usize = 2;

/// What is to be looked at, and what was found.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Folders to be looked through; `None`: all of the share.
    pub(super) wanted: BTreeSet<Option<RelPath>>,
    pub(super) sweep: Option<Sweep>,
    /// Folders that are gone. What was in them is looked for last: it may only have been moved (I19).
    pub(super) gone_folders: BTreeMap<RelPath, Here>,
    /// Those of them that stand elsewhere now: what was in them is looked for first, and is then found there.
    moved_folders: BTreeSet<RelPath>,
    /// The look under way goes before the next sweep: it may find that a folder was moved.
    awaited_look: Option<u64>,
    /// Counts sweeps and looks: an answer to an abandoned one is not taken.
    pub(super) number: u64,
    /// Paths to be looked at, from when on.
    pub(super) looks: Looks,
    pub(super) looking: Option<Looking>,
    /// What is to be taken.
    pub(super) found: VecDeque<Finding>,
    pub(super) taking: usize,
    /// What changes all the time, and how long it is left alone.
    pub(super) in_flux: BTreeMap<RelPath, Duration>,
    pub(super) unknown: BTreeMap<RelPath, Unknown>,
    /// Files that have become empty, and until when that is not believed.
    pub(super) emptied: BTreeMap<RelPath, Time>,
    pub(super) suspicious: BTreeSet<RelPath>,
    /// Changed by us while it was found changed: to be looked at when that is over.
    pub(super) passed_over: BTreeSet<RelPath>,
    /// What we put in place ourselves: a hint will tell of it, and the index needs not be asked what it holds there. If the
    /// disk shows another thing, the index is asked whether it still holds this ([`Finding::compared`]). At most
    /// [`LOOKS_MAX`].
    pub(super) placed: BTreeMap<RelPath, Here>,
    /// What is gone and not noted yet.
    pub(super) gone: Gone,
    pub(super) meant: Meant,
    /// Why all could not be looked through the last time.
    pub(super) trouble: Option<String>,
    /// What a person has asked for.
    pub(super) rescans: Rescans,
    /// What of that a sweep is to answer.
    pub(super) answering: Option<Answering>,
}

/// A sweep that somebody has asked for, and whose findings are still to be noted.
#[derive(Debug)]
pub(super) struct Answering {
    /// How many looks were asked for when it began.
    done: u64,
    last: Looked,
    /// Once the rest is noted: what was being written when it was found. It is looked at once more before it is answered; a
    /// file that was saved just before is among it, as nobody could say yet that this was all.
    awaited: Option<BTreeSet<RelPath>>,
}

impl Answering {
    fn of(sweep: &Sweep) -> Self {
        Self { done: sweep.answers, last: sweep.looked, awaited: None }
    }
}

impl Scanner {
    pub(super) fn want_all(&mut self) {
        self.wanted = BTreeSet::from([None]);
        self.gone_folders.clear();
        self.moved_folders.clear();
    }

    /// Asks for a folder to be looked through.
    pub(super) fn want_below(&mut self, folder: RelPath) {
        if !self.wanted.contains(&None) {
            self.wanted.insert(Some(folder));
        }
        if self.wanted.len() > LOOKS_MAX {
            self.want_all();
        }
    }

    /// Asks for a path to be looked at.
    pub(super) fn look(&mut self, path: RelPath, at: Time, is_forced: bool) {
        self.looks.add(path, at, is_forced);
        self.keep_few_looks();
    }

    /// Somebody says that something happened at a path; `is_at_it`: and goes on.
    fn hear_of(&mut self, path: RelPath, is_at_it: bool, now: Time) {
        self.looks.hear_of(path, is_at_it, now);
        self.keep_few_looks();
    }

    fn keep_few_looks(&mut self) {
        if self.looks.len() > LOOKS_MAX {
            self.looks.forget_hints();
            self.emptied.clear();
            self.want_all();
        }
    }

    pub(super) fn stop(&mut self) {
        if self.sweep.take().is_some() {
            self.wanted.insert(None);
        }
        self.found.clear();
        self.gone = Gone::default();
        self.meant = Meant::No;
        self.stop_looking();
    }

    pub(super) fn stop_looking(&mut self) {
        self.number += 1;
        if let Some(looking) = self.looking.take() {
            for (path, is_forced) in looking.paths {
                self.looks.add(path, Time::ZERO, is_forced);
            }
        }
    }

    /// Whoever has asked for a look at everything is answered once what it found is noted.
    fn answer(&mut self, now: Time) {
        let is_noted = self.taking == 0 && self.found.is_empty() && self.gone.is_empty();
        let Some(answering) = self.answering.as_mut().filter(|_| is_noted) else { return };
        let awaited = answering.awaited.get_or_insert_with(|| {
            let changed = self.in_flux.iter().filter(|(_, wait)| **wait == RETRY_MIN).map(|(path, _)| path);
            changed.chain(self.looks.being_written(now)).cloned().collect()
        });
        let looking = self.looking.as_ref();
        awaited.retain(|path| {
            self.looks.holds(path)
                || looking.is_some_and(|looking| looking.paths.iter().any(|one| one.0 == *path))
        });
        if awaited.is_empty() {
            self.rescans = Rescans { done: answering.done, last: answering.last, ..self.rescans };
            self.answering = None;
        }
    }

    /// A look that was awaited is over.
    pub(super) fn was_looked_at(&mut self, path: &RelPath) {
        if let Some(awaited) = self.answering.as_mut().and_then(|answering| answering.awaited.as_mut()) {
            awaited.remove(path);
        }
    }

    /// Tells the sweep of this number, if it is still under way.
    pub(super) fn with_sweep(&mut self, number: u64, tell: impl FnOnce(&mut Sweep)) {
        if let Some(sweep) = self.sweep.as_mut().filter(|sweep| sweep.number == number) {
            tell(sweep);
        }
    }

    /// Whether anything is being looked at, or to be looked at now.
    pub(super) fn is_busy(&self, now: Time) -> bool {
        !self.gone.is_empty() || !self.has_found_all(now)
    }

    /// Whether nothing is being looked at, or to be looked at now, and what was found is noted.
    pub(super) fn has_found_all(&self, now: Time) -> bool {
        self.sweep.is_none()
            && self.looking.is_none()
            && self.taking == 0
            && self.found.is_empty()
            && self.wanted.is_empty()
            && self.gone_folders.is_empty()
            && !self.looks.has_due(now)
    }

    /// How much the sweep under way has found to be gone.
    pub(super) fn gone_so_far(&self) -> usize {
        self.sweep.as_ref().map_or(0, |sweep| sweep.gone.len())
    }

    /// Of the folders that are gone, those that stand at another path now.
    pub(super) fn folders_were_moved(&mut self, new: &BTreeSet<u64>) {
        if !new.is_empty() {
            let moved = self.gone_folders.iter().filter(|(_, here)| new.contains(&here.inode));
            self.moved_folders.extend(moved.map(|(path, _)| path.clone()));
        }
    }

    /// What is to be looked through next: what is there, and once that is noted, what is not there any more.
    fn next_sweep(&mut self, now: Time) -> Option<Sweep> {
        let number = self.number + 1;
        if self.awaited_look.is_some()
            && self.awaited_look == self.looking.as_ref().map(|looking| looking.number)
        {
            return None;
        }
        if let Some(path) = self.moved_folders.pop_first()
            && let Some(here) = self.gone_folders.remove(&path)
        {
            return Some(gone_folder(path, here, number, true));
        }
        if let Some(below) = self.wanted.pop_first() {
            let mut sweep = Sweep::new(below, number);
            sweep.answers = self.rescans.asked;
            return Some(sweep);
        }
        let is_due = self.looking.is_some() || self.looks.has_due(now);
        if is_due || self.taking > 0 || !self.found.is_empty() {
            return None;
        }
        let (path, here) = self.gone_folders.pop_first()?;
        Some(gone_folder(path, here, number, false))
    }

    /// What is found next is taken in batches; the first of them, if it is full or nothing more is to come.
    fn batch(&mut self, is_end: bool) -> Option<Vec<Finding>> {
        let (mut bytes, mut count) = (0_u64, 0);
        for found in self.found.iter().take(TAKE_PATHS_MAX) {
            bytes = bytes.saturating_add(found.bytes());
            if bytes > TAKE_BYTES_MAX && count > 0 {
                break;
            }
            count += 1;
        }
        let is_full = count < self.found.len() || count == TAKE_PATHS_MAX;
        (count > 0 && (is_full || is_end)).then(|| self.found.drain(..count).collect())
    }
}

impl Share {
    /// Something may have happened to the folder.
    pub(crate) fn hinted(&mut self, hint: Hint, now: Now) {
        self.now = now;
        let at = now.time.after(LOOK_DELAY);
        match hint {
            Hint::At(path) => self.scanner.hear_of(path, false, now.time),
            Hint::Changing(path) => self.scanner.hear_of(path, true, now.time),
            Hint::Below(folder) => {
                self.scanner.look(folder.clone(), at, false);
                self.scanner.looks.hear_below(folder, now.time);
                self.scanner.keep_few_looks();
            }
            Hint::Lost => self.scanner.want_all(),
        }
        self.go_on();
    }

    pub(super) fn scan_on(&mut self) {
        if !self.may_scan() {
            return;
        }
        let is_free = self.scanner.looking.is_none();
        self.look_on();
        if is_free {
            self.heed_below();
        }
        self.sweep_on();
        self.take_on();
        self.gone_on();
        self.scanner.answer(self.now.time);
        let is_seen =
            !self.scanner.is_sweeping() && self.scanner.taking == 0 && self.scanner.trouble.is_none();
        if self.stage == Stage::Scanning && is_seen {
            self.stage = Stage::Running;
            self.planner.is_dirty = true;
            self.state_anew();
        }
        // While paths are looked at, the answer is what goes on from.
        let next = self.scanner.looks.next();
        let next = next.filter(|_| self.scanner.looking.is_none());
        match next.into_iter().chain(self.scanner.gone.wake(self.now.time)).min() {
            Some(at) => self.timers.set(Wake::Looks, at),
            None => self.timers.clear(&Wake::Looks),
        }
    }

    // ── sweeps ──

    /// Folders that are due are looked through after the paths that are due.
    fn heed_below(&mut self) {
        let due = self.scanner.looks.take_due_below(self.now.time);
        // One look, or those who come again and again would keep all others waiting.
        if !due.is_empty() && self.scanner.wanted.is_empty() {
            self.scanner.awaited_look = self.scanner.looking.as_ref().map(|looking| looking.number);
        }
        due.into_iter().for_each(|folder| self.scanner.want_below(folder));
    }

    fn sweep_on(&mut self) {
        if self.scanner.sweep.is_none()
            && let Some(sweep) = self.scanner.next_sweep(self.now.time)
        {
            self.scanner.number = sweep.number;
            self.scanner.sweep = Some(sweep);
        }
        while self.scanner.taking < TAKES_MAX && self.scanner.found.len() < TAKE_PATHS_MAX {
            let Some(sweep) = &mut self.scanner.sweep else { return };
            let Some(found) = sweep.next() else { break };
            self.found_by_sweep(found);
        }
        let Some(sweep) = &mut self.scanner.sweep else { return };
        let (number, on_disk, in_index) = (sweep.number, sweep.ask_disk(), sweep.ask_index());
        let ahead = sweep.ask_ahead();
        let is_over = sweep.is_over();
        if let Some(job) = on_disk {
            self.disk(Waiting::SweepDisk(number), job);
        }
        if let Some(job) = in_index {
            self.index(Waiting::SweepIndex(number), job);
        }
        if let Some(job) = ahead {
            self.index(Waiting::SweepAhead(number), job);
        }
        if is_over {
            self.sweep_ends();
            if self.scanner.sweep.is_none() && self.may_scan() {
                // The next one, which has nothing yet that could end it.
                self.sweep_on();
            }
        }
    }

    /// What is gone is known only now, after all that may have been moved was found.
    fn sweep_ends(&mut self) {
        if self.scanner.taking > 0 || !self.scanner.found.is_empty() {
            return;
        }
        let Some(mut sweep) = self.scanner.sweep.take() else { return };
        if sweep.below.is_none() {
            self.scanner.trouble = None;
            self.scanner.answering = Some(Answering::of(&sweep));
        }
        self.hold_swept(&mut sweep);
        self.found_maybe_moved(sweep.take_maybe_moved());
        if sweep.below.is_none() {
            self.may_heed_other_rules();
        }
        let is_told_of = |path: &RelPath| sweep.below.as_ref().is_none_or(|below| path.is_below(below));
        self.scanner.unknown.retain(|path, _| !is_told_of(path));
        self.scanner.unknown.append(&mut sweep.unknown);
    }

    pub(super) fn sweep_failed(&mut self, number: u64, error: String) {
        if let Some(mut sweep) = self.scanner.sweep.take_if(|sweep| sweep.number == number) {
            // What it found before, and what looks found, is so all the same.
            self.found_maybe_moved(sweep.take_maybe_moved());
            let answering = Answering::of(&sweep);
            match sweep.below {
                Some(below) => drop(self.scanner.unknown.insert(below, Unknown::Failed(error))),
                None => {
                    self.scanner.trouble = Some(error);
                    self.scanner.answering = Some(answering);
                }
            }
            self.timers.set_no_later(Wake::Rescan, self.now.time.after(RETRY_MAX));
        }
    }

    // ── taking ──

    pub(super) fn found(&mut self, found: Finding) {
        if !self.passes_over(&found.path) {
            self.scanner.found.push_back(found);
        }
    }

    /// Whether we change a path ourselves just now: what was found there is looked at when that is over.
    pub(super) fn passes_over(&mut self, path: &RelPath) -> bool {
        let is_busy = self.busy.contains(path);
        if is_busy {
            self.scanner.passed_over.insert(path.clone());
        }
        is_busy
    }

    /// What is being written is looked at when that pauses.
    pub(super) fn found_by_sweep(&mut self, found: Finding) {
        if found.seen.is_none() || !self.scanner.looks.is_being_written(&found.path, self.now.time) {
            self.found(found);
        }
    }

    /// A path is not being changed any more: if something was found there meanwhile, it is looked at.
    pub(super) fn is_free(&mut self, path: &RelPath) {
        self.busy.remove(path);
        if let Some(path) = self.scanner.passed_over.take(path) {
            self.scanner.look(path, self.now.time, false);
        }
    }

    fn take_on(&mut self) {
        while self.scanner.taking < TAKES_MAX {
            let goes_on = self.scanner.sweep.as_ref().is_some_and(|sweep| !sweep.is_over());
            let Some(batch) = self.scanner.batch(!goes_on || !self.scanner.looks.is_empty()) else { return };
            let batch = self.scanner.gone.with_moved(batch);
            let mut guarding = Guarding::default();
            guarding.guard.is_meant = self.scanner.meant != Meant::No;
            self.take(batch, guarding);
        }
    }

    pub(super) fn take(&mut self, findings: Vec<Finding>, guarding: Guarding) {
        if findings.is_empty() {
            return;
        }
        self.scanner.taking += 1;
        self.take_along(Knowing { findings, guarding, lists: Vec::new() });
    }

    /// Asks for the list of the next large file that was large before; if there is none, all are taken.
    fn take_along(&mut self, mut knowing: Knowing) {
        while let Some(found) = knowing.findings.get(knowing.lists.len()) {
            match found.listed_before() {
                Some(content) => {
                    let job = index::Job::List(content, None);
                    return self.index(Waiting::KnownList(knowing), job);
                }
                None => knowing.lists.push(None),
            }
        }
        let Knowing { findings, guarding, lists } = knowing;
        let take = |(found, was): (&Finding, _)| Take {
            was,
            content: found.content,
            ..Take::new(found.path.clone(), found.seen.clone())
        };
        let asked = findings.iter().zip(lists).map(take).collect();
        self.disk(Waiting::Take(findings, guarding), disk::Job::Take(asked));
    }

    /// A list that came, if it is there and in one part; more than that is not worth asking for.
    pub(super) fn is_known(&mut self, mut knowing: Knowing, list: Option<ListPart>) {
        knowing.lists.push(match list {
            Some(ListPart::Segments(list)) => Some(list),
            _ => None,
        });
        self.take_along(knowing);
    }

    pub(super) fn taken(&mut self, findings: Vec<Finding>, mut guarding: Guarding, taken: Vec<Taken>) {
        let (mut observed, mut lists) = (Vec::new(), Vec::new());
        for (Finding { path, compared, seen, .. }, taken) in findings.into_iter().zip(taken) {
            if self.passes_over(&path) {
                continue;
            }
            if taken != Taken::Changed {
                self.scanner.in_flux.remove(&path);
            }
            match taken {
                // What came to be there anew was never anything else.
                Taken::Here { is_suspicious: true, .. } if compared.is_some() => {
                    self.scanner.suspicious.insert(path);
                }
                Taken::Here { here, list, .. } => {
                    self.scanner.suspicious.remove(&path);
                    lists.extend(list.map(|list| (here.version.kind.content(), list)));
                    observed.push(Observed { path, compared, found: Some(here) });
                }
                Taken::Nothing => {
                    self.scanner.suspicious.remove(&path);
                    observed.push(Observed { path, compared, found: None });
                }
                Taken::Changed => {
                    // It may have been moved there, and is noted together with where it was.
                    let moved = seen.and_then(|seen| observed.pop_if(|before| was_at(before, &seen)));
                    if let Some(Observed { path, compared, .. }) = moved {
                        self.hold_gone(Finding::of(path, compared, None));
                    }
                    self.retry_look(path);
                }
                Taken::Unknown(why) => {
                    self.scanner.unknown.insert(path, why);
                }
            }
        }
        if observed.is_empty() {
            self.scanner.taking = self.scanner.taking.saturating_sub(1);
            return self.was_let_go(&guarding);
        }
        let guard = index::Guard { at: self.now.time, ..core::mem::take(&mut guarding.guard) };
        let job = index::Job::Observe { observed: observed.clone(), lists, guard };
        self.index(Waiting::Observe(observed, guarding), job);
    }

    /// The disk could not make durable what was found: nothing of it is noted.
    pub(super) fn take_failed(&mut self, findings: Vec<Finding>, guarding: &Guarding) {
        self.scanner.taking = self.scanner.taking.saturating_sub(1);
        findings.into_iter().for_each(|found| self.retry_look(found.path));
        self.was_let_go(guarding);
    }

    /// It is looked at again later, and later each further time.
    fn retry_look(&mut self, path: RelPath) {
        let wait = self.scanner.in_flux.get(&path).map_or(RETRY_MIN, |wait| (*wait * 2).min(RETRY_MAX));
        self.scanner.in_flux.insert(path.clone(), wait);
        self.scanner.look(path, self.now.time.after(wait), true);
    }

    // ── noting ──

    pub(super) fn observed(
        &mut self,
        observed: Vec<Observed>,
        guarding: &Guarding,
        outcomes: &[Outcome],
        batches: &[Batch],
    ) {
        self.scanner.taking = self.scanner.taking.saturating_sub(1);
        for (Observed { path, found, .. }, outcome) in observed.into_iter().zip(outcomes) {
            if let (false, Some(found)) = (matches!(outcome, Outcome::Changed), found) {
                self.fetch.appeared(&found.version.kind.content());
            }
            match outcome {
                Outcome::Changed => self.scanner.look(path, self.now.time, false),
                // It is not quite as it was, or it would not have been taken: another folder of the same name.
                Outcome::Unchanged => self.has_moved(&path),
                Outcome::Published
                | Outcome::Adopted
                | Outcome::AdoptedDeletion
                | Outcome::LocalDifference
                | Outcome::Silent => {
                    self.planner.is_dirty = true;
                    self.has_moved(&path);
                }
            }
        }
        self.is_untold |= self.planner.is_dirty;
        self.was_let_go(guarding);
        self.publish(batches);
    }
}

/// Findings whose content is to be named, while the lists of what was there before are asked for.
#[derive(Debug)]
pub(super) struct Knowing {
    pub(super) findings: Vec<Finding>,
    guarding: Guarding,
    /// Of the first of them.
    lists: Vec<Option<SegmentList>>,
}

impl Scanner {
    /// Whether a sweep is under way or wanted, or what it found is still to be taken.
    fn is_sweeping(&self) -> bool {
        self.sweep.is_some() || !self.wanted.is_empty() || !self.found.is_empty() || !self.gone.is_empty()
    }
}

/// Whether this is where a file was that is seen elsewhere.
fn was_at(gone: &Observed, seen: &disk::Seen) -> bool {
    gone.found.is_none() && gone.compared.as_ref().is_some_and(|here| here.inode == seen.inode)
}

/// What was in a folder that is gone.
fn gone_folder(path: RelPath, here: Here, number: u64, is_moved: bool) -> Sweep {
    let mut sweep = Sweep::new(Some(path.clone()), number);
    sweep.is_moved = is_moved;
    sweep.gone.push(Finding::of(path, Some(here), None));
    sweep
}

#[cfg(test)]
mod tests;
