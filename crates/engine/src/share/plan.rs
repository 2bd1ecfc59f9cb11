//! From what diverges to what is done about it, page by page.
//!
//! Promise: what is to be done is found anew each time from here, base and heads; nothing of it is kept. A pass goes
//! through all that diverges twice: first it makes, changes and moves, then it removes, so that no content is filed away
//! that something else needs. Removals of most contents wait for a person, once (I19). Paths that cannot be done are
//! listed with their cause, and tried again when something has changed, or later.

mod files;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::guard::looks_unmounted;
use shoal_proto::here::{Here, Triple};
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Mode, Record};

use super::commit::{Planned, Purpose, Ready};
use super::lull::Lull;
use super::{Share, Waiting, Wake};
use crate::disk::{self, BytesAt, ChangeDeed, Seen, SeenKind, StageId};
use crate::index::{self, Placed, Survey};
use crate::limits::{CHANGES_MAX, MOVES_WAIT_MAX, PLAN_PATHS, PROBLEMS_MAX, REMOVALS_MAX};
use crate::planner::{Deed, Rights, decide};
use crate::status::Cause;
use crate::time::Time;

/// The least and the longest wait before what could not be done is tried again.
const REPLAN_MIN: Duration = Duration::from_secs(1);
const REPLAN_MAX: Duration = Duration::from_secs(3600);

/// When what does not become possible by itself is tried again.
const NEVER: Time = Time(u64::MAX);

/// What is being planned, fetched and put in place.
#[derive(Debug, Default)]
pub(super) struct Planner {
    /// Something has changed since the pass began.
    pub(super) is_dirty: bool,
    pass: Option<Pass>,
    pub(super) ready: Ready,
    /// What the last pass could not do, and why.
    pub(super) problems: BTreeMap<RelPath, Cause>,
    pub(super) more_problems: u64,
    /// What could not be done, why, and when it is tried again.
    deferred: BTreeMap<RelPath, Deferred>,
    /// So much would be removed that a person is asked.
    pub(super) held_back: Option<Survey>,
    /// A person has said that what others removed is meant: that is so for the next pass.
    pub(super) accepts_removals: bool,
    /// Records come: removals wait until no more do, so that the guard sees the whole of them (I19).
    lull: Lull,
    are_removals_waiting: bool,
    /// So long files whose bytes stand at another path wait for word that they were moved from there.
    awaits_moves: Option<Time>,
    /// Something is to be planned once all has been said.
    awaits_word: bool,
    /// A path was not planned because its file is gone, which is not noted yet.
    pub(super) has_passed_over: bool,
}

/// A change that could not be made.
#[derive(Clone, Debug)]
struct Deferred {
    cause: Cause,
    at: Time,
    wait: Duration,
}

#[derive(Debug, Default)]
struct Pass {
    /// The second time through: removals.
    removes: bool,
    after: Option<RelPath>,
    is_asked: bool,
    /// Nothing is left in the run.
    is_end: bool,
    has_removals: bool,
    /// Files or links among them, which the guard weighs.
    has_losses: bool,
    /// A person has said that removals are meant.
    is_meant: bool,
    /// Removals have come that it does not know: another pass weighs them.
    is_cut_short: bool,
    /// Removals were surveyed, and so many may be done.
    surveyed: Option<u64>,
    removals: Vec<Planned>,
    /// The page under way, while the disk is asked what of it the user ignores.
    page: Vec<Triple>,
    /// Contents that are to come to these paths, of the page under way.
    placing: Vec<Placing>,
    /// For each of them paths of the folder that show the content.
    movers: Vec<Vec<(RelPath, Seen)>>,
    /// A file waits for word that it was moved.
    awaits_moves: bool,
    /// What waits for its bytes, and is still wanted.
    wanted: BTreeSet<StageId>,
    problems: BTreeMap<RelPath, Cause>,
    more_problems: u64,
}

/// A file that is to be put somewhere.
#[derive(Clone, Debug)]
struct Placing {
    row: Triple,
    head: Record,
    /// Where its bytes are on this disk.
    places: Vec<BytesAt>,
}

impl Pass {
    fn problem(&mut self, path: RelPath, cause: Cause) {
        if self.problems.len() < PROBLEMS_MAX || self.problems.contains_key(&path) {
            self.problems.insert(path, cause);
        } else {
            self.more_problems += 1;
        }
    }
}

impl Planner {
    /// Records have come.
    pub(super) fn hears(&mut self, now: Time) {
        self.is_dirty = true;
        self.lull.more(now);
    }

    /// Stops planning; what is on its way to the disk goes on.
    pub(super) fn stop(&mut self) {
        self.pass = None;
        self.is_dirty = true;
    }

    /// Whether a pass is to begin, whether one is under way, and how many changes wait for the disk.
    pub(super) fn waiting(&self) -> (bool, bool, usize) {
        (self.is_dirty, self.pass.is_some(), self.ready.waiting.len())
    }

    /// Whether something is to be planned when no more records come.
    fn is_waiting(&self) -> bool {
        self.are_removals_waiting || self.awaits_moves.is_some()
    }

    /// Why a path cannot be done, if that does not end by itself.
    fn obstacle(&self, path: &RelPath) -> Option<&Cause> {
        self.deferred.get(path).filter(|deferred| deferred.at == NEVER).map(|deferred| &deferred.cause)
    }

    /// A person wants it done: what stood in the way may not stand there any more.
    pub(super) fn tries_again(&mut self, path: &RelPath) {
        self.deferred.remove(path);
        self.is_dirty = true;
    }

    /// Whether anything is being planned or on its way to the disk.
    pub(super) fn is_busy(&self) -> bool {
        self.is_dirty || self.pass.is_some() || self.is_waiting() || !self.ready.is_empty()
    }
}

impl Share {
    pub(super) fn plan_on(&mut self) {
        if !self.may_plan() {
            return;
        }
        self.heed_awaited_word();
        if self.planner.pass.is_none() && core::mem::take(&mut self.planner.is_dirty) {
            self.resolver.pass_begins();
            self.reverter.pass_begins();
            let is_meant = core::mem::take(&mut self.planner.accepts_removals);
            self.planner.pass = Some(Pass { is_meant, ..Pass::default() });
        }
        let Some(pass) = &self.planner.pass else { return };
        let may_want = !pass.removes && !pass.is_end;
        let is_full = self.planner.ready.waiting.len() >= CHANGES_MAX;
        if pass.is_asked || is_full || may_want && !self.has_room() {
            return;
        }
        let Some(pass) = &mut self.planner.pass else { return };
        if pass.is_end {
            return self.run_ends();
        }
        if pass.removes && pass.surveyed.is_none() {
            pass.is_asked = true;
            let job = index::Job::Survey { at: self.now.time, is_meant: pass.is_meant };
            return self.index(Waiting::Survey, job);
        }
        pass.is_asked = true;
        let after = pass.after.clone();
        self.index(Waiting::Page, index::Job::Diverging { after, at_most: PLAN_PATHS });
    }

    /// The first run is followed by the second, if there is anything to remove; then the pass is over.
    fn run_ends(&mut self) {
        self.first_run_ends();
        let are_waiting = self.do_removals_wait();
        let Some(pass) = &mut self.planner.pass else { return };
        if !pass.removes && pass.has_removals && !are_waiting {
            (pass.removes, pass.after, pass.is_end) = (true, None, false);
            return self.plan_on();
        }
        self.remove_gathered();
        let Some(pass) = self.planner.pass.take() else { return };
        if !pass.has_removals {
            self.planner.held_back = None;
        }
        if !are_waiting && !pass.is_cut_short {
            self.planner.lull.end();
        }
        self.reverter.pass_ends();
        (self.planner.problems, self.planner.more_problems) = (pass.problems, pass.more_problems);
        let later =
            self.planner.deferred.values().map(|deferred| deferred.at).filter(|at| *at > self.now.time);
        if let Some(at) = later.min().filter(|at| *at < NEVER) {
            self.timers.set_no_later(Wake::Plan, at);
        }
        self.plan_on();
    }

    /// Whether more removals may be on their way than this pass has come across; then they are planned later.
    fn do_removals_wait(&mut self) -> bool {
        let may_wait = |pass: &Pass| pass.has_losses && !pass.removes && !pass.is_meant;
        let lull = &self.planner.lull;
        let is_being_told = self.is_being_told();
        let over_at = if is_being_told { lull.over_after(MOVES_WAIT_MAX) } else { lull.over_at() };
        let over_at = over_at.filter(|at| *at > self.now.time);
        let over_at = over_at.filter(|_| self.planner.pass.as_ref().is_some_and(may_wait));
        self.planner.are_removals_waiting = over_at.is_some();
        self.planner.awaits_word |= over_at.is_some() && is_being_told;
        if let Some(at) = over_at {
            self.timers.set_no_later(Wake::Plan, at);
        }
        over_at.is_some()
    }

    /// What the first run did not come across is as it should be: nothing is fetched for it any more.
    fn first_run_ends(&mut self) {
        let Some(pass) = self.planner.pass.as_mut().filter(|pass| !pass.removes) else { return };
        let wanted = core::mem::take(&mut pass.wanted);
        let awaits_moves = pass.awaits_moves;
        self.await_moves(awaits_moves);
        self.give_up_goals(|stage, planned| planned.purpose == Purpose::Shown && !wanted.contains(&stage));
        self.end_conflicts_unseen();
    }

    // ── pages ──

    pub(super) fn planned_page(&mut self, rows: Vec<Triple>) {
        let change = |row| changes_to(row, self.rights_at(row));
        let changes: Vec<(RelPath, bool)> =
            rows.iter().filter_map(|row| Some((row.path.clone(), change(row)?))).collect();
        let Some(pass) = &mut self.planner.pass else { return };
        pass.is_asked = false;
        pass.is_end = rows.len() < PLAN_PATHS;
        pass.after = rows.last().map(|row| row.path.clone()).or_else(|| pass.after.take());
        if changes.is_empty() {
            return self.plan_page(rows, &BTreeSet::new());
        }
        pass.is_asked = true;
        pass.page = rows;
        let paths = changes.iter().map(|(path, _)| path.clone()).collect();
        self.disk(Waiting::Ignores(paths), disk::Job::Ignores(changes));
    }

    /// The disk has said which of these paths the user ignores: nothing is fetched for them, and nothing tried.
    pub(super) fn ignores_known(&mut self, paths: Vec<RelPath>, are_ignored: &[bool]) {
        let Some(pass) = &mut self.planner.pass else { return };
        pass.is_asked = false;
        let rows = core::mem::take(&mut pass.page);
        let ignored = paths.into_iter().zip(are_ignored).filter(|(_, is_ignored)| **is_ignored);
        self.plan_page(rows, &ignored.map(|(path, _)| path).collect());
    }

    fn plan_page(&mut self, rows: Vec<Triple>, ignored: &BTreeSet<RelPath>) {
        let removes = self.planner.pass.as_ref().is_some_and(|pass| pass.removes);
        let mut agreed = Vec::new();
        for row in rows {
            let rights = self.rights_at(&row);
            if ignored.contains(&row.path) {
                self.list_problem(row.path, Cause::Ignored);
            } else if removes {
                self.plan_removal(&row, rights);
            } else {
                self.plan(row, rights, &mut agreed);
            }
        }
        if !agreed.is_empty() {
            self.index(Waiting::Agreed, index::Job::Agreed(agreed));
        }
        let Some(pass) = &mut self.planner.pass else { return };
        if !pass.placing.is_empty() {
            pass.is_asked = true;
            let contents = pass.placing.iter().map(|placing| placing.head.version.kind.content()).collect();
            self.index(Waiting::Places, index::Job::Places(contents));
        }
    }

    fn plan(&mut self, row: Triple, rights: Rights, agreed: &mut Vec<Placed>) {
        if rights == Rights::Reverting {
            self.reverter.meets(&row.path, self.planner.obstacle(&row.path).is_some());
        }
        if self.scanner.gone.holds(&row.path) {
            // What the index holds of it is not so any more, and will be noted in a moment.
            self.planner.has_passed_over = true;
            return self.list_problem(row.path, Cause::Unpublished);
        }
        if self.busy.contains(&row.path) {
            return self.list_problem(row.path, Cause::Waiting);
        }
        if let Some(stage) = self.is_awaited(&row, rights) {
            self.list_problem(row.path, Cause::Fetching);
            if let Some(pass) = &mut self.planner.pass {
                pass.wanted.insert(stage);
            }
            return;
        }
        let decision = decide(&row, rights);
        if decision.resolves {
            self.conflict(&row);
            if let (Deed::Nothing, Some(pass)) = (&decision.disk, &mut self.planner.pass) {
                pass.problem(row.path.clone(), Cause::Conflict);
            }
        }
        let is_change = matches!(decision.disk, Deed::Place(_) | Deed::Retouch(_) | Deed::MakeFolder(_));
        if is_change && self.is_deferred(&row.path) {
            return;
        }
        if let Deed::Place(head) = decision.disk
            && super::peers::has_bytes(head)
        {
            let head = head.clone();
            let Some(pass) = &mut self.planner.pass else { return };
            pass.problem(row.path.clone(), Cause::Fetching);
            pass.placing.push(Placing { row, head, places: Vec::new() });
            return;
        }
        let path = row.path.clone();
        let planned = match decision.disk {
            Deed::Nothing => return,
            Deed::Agree(head) => {
                let head = Some(head.clone());
                self.has_moved(&path);
                agreed.push(Placed {
                    path,
                    planned: row.here.clone(),
                    now: row.here.clone(),
                    head,
                    is_moved: false,
                });
                return;
            }
            Deed::Publish => {
                // Not at once again, if nothing came of it the last time.
                let was_tried = self.planner.problems.get(&path) == Some(&Cause::Unpublished);
                let at = if was_tried { self.now.time.after(REPLAN_MIN) } else { self.now.time };
                self.list_problem(path.clone(), Cause::Unpublished);
                self.scanner.look(path, at, true);
                return;
            }
            Deed::LocalDifference => {
                let cause = self.planner.obstacle(&path).unwrap_or(&Cause::LocalDifference).clone();
                return self.list_problem(path, cause);
            }
            Deed::Remove(_) => {
                if let Some(pass) = &mut self.planner.pass {
                    pass.has_removals = true;
                    pass.has_losses |= is_loss(&row) && is_weighed(&row, rights);
                }
                return;
            }
            deed => change(&row, deed),
        };
        self.start(planned);
    }

    fn plan_removal(&mut self, row: &Triple, rights: Rights) {
        let Deed::Remove(head) = decide(row, rights).disk else { return };
        let Some(here) = &row.here else { return };
        let is_known_gone = self.scanner.gone.holds(&row.path);
        if is_known_gone || self.busy.contains(&row.path) || self.is_deferred(&row.path) {
            return;
        }
        let planned = Planned::new(
            row.path.clone(),
            ChangeDeed::Remove(Seen::from(here)),
            row.here.clone(),
            head.cloned(),
        );
        let Some(pass) = &mut self.planner.pass else { return };
        if is_weighed(row, rights) {
            let was_seen = pass.has_losses || !is_loss(row);
            let left = pass.surveyed.filter(|_| was_seen).and_then(|left| left.checked_sub(1));
            let Some(left) = left else {
                // It has come since the first run, or the survey: another pass weighs it with what comes still.
                (pass.is_end, pass.is_cut_short, self.planner.is_dirty) = (true, true, true);
                return;
            };
            pass.surveyed = Some(left);
        }
        pass.removals.push(planned);
        if pass.removals.len() >= REMOVALS_MAX {
            self.remove_gathered();
        }
    }

    /// Children before their folders.
    fn remove_gathered(&mut self) {
        let Some(pass) = &mut self.planner.pass else { return };
        let mut removals = core::mem::take(&mut pass.removals);
        removals.reverse();
        removals.into_iter().for_each(|planned| self.start(planned));
    }

    pub(super) fn surveyed(&mut self, survey: Survey, removals: u64) {
        let Some(pass) = &mut self.planner.pass else { return };
        pass.is_asked = false;
        pass.surveyed = Some(removals);
        // Where only folders go, nothing is lost; and losses that have come since the first run cut the second one short.
        let asks = pass.has_losses && !pass.is_meant && looks_unmounted(survey.had, survey.lost);
        pass.is_end |= asks;
        self.planner.held_back = asks.then_some(survey);
    }

    // ── doing ──

    pub(super) fn start(&mut self, planned: Planned) {
        self.busy.insert(planned.change.path.clone());
        self.busy.insert(planned.target().clone());
        self.ready(planned);
    }

    /// A file is not wanted now, since nobody has it.
    pub(super) fn is_left_out(&mut self, path: RelPath) {
        self.list_problem(path, Cause::NoSource);
    }

    fn list_problem(&mut self, path: RelPath, cause: Cause) {
        if let Some(pass) = &mut self.planner.pass {
            pass.problem(path, cause);
        }
    }

    /// A change could not be made; it is planned again later, and later each further time.
    pub(super) fn blocked(&mut self, path: RelPath, cause: Cause) {
        let before = self.planner.deferred.get(&path).map(|deferred| deferred.wait);
        let wait = before.map_or(REPLAN_MIN, |wait| (wait * 2).min(REPLAN_MAX));
        // What stands in the way of these does not go by itself.
        let waits = !matches!(cause, Cause::NotEmpty | Cause::NoWay(_));
        let at = if waits { self.now.time.after(wait) } else { NEVER };
        if self.planner.deferred.len() >= PROBLEMS_MAX && !self.planner.deferred.contains_key(&path) {
            // It cannot be told from what was not tried yet: at once, all of it would be tried again and again.
            self.planner.more_problems += 1;
            return self.timers.set_no_later(Wake::Plan, self.now.time.after(REPLAN_MAX));
        }
        // So that it is listed.
        self.planner.is_dirty = true;
        self.planner.deferred.insert(path, Deferred { cause, at, wait });
        if waits {
            self.timers.set_no_later(Wake::Plan, at);
        }
    }

    /// All was looked through, and the user's rules were read anew: what was ignored may not be any more.
    pub(super) fn may_heed_other_rules(&mut self) {
        self.planner.is_dirty |= self.planner.problems.values().any(|cause| *cause == Cause::Ignored);
    }

    /// Whether it is too early to try a path again; it is listed then.
    fn is_deferred(&mut self, path: &RelPath) -> bool {
        let Some(deferred) = self.planner.deferred.get(path) else { return false };
        let (is_early, cause) = (deferred.at > self.now.time, deferred.cause.clone());
        if is_early {
            self.list_problem(path.clone(), cause);
        }
        is_early
    }

    /// Something has changed at a path: what could not be done there, above it or below it may be possible now.
    pub(super) fn has_moved(&mut self, path: &RelPath) {
        let is_touched = |other: &RelPath| other == path || other.is_below(path) || path.is_below(other);
        let before = self.planner.deferred.len();
        self.planner.deferred.retain(|other, _| !is_touched(other));
        self.planner.is_dirty |= self.planner.deferred.len() < before;
    }
}

/// Whether the disk is to be changed at a path, and if so, whether what is to stand there, or to go, is a folder.
fn changes_to(row: &Triple, rights: Rights) -> Option<bool> {
    let is_folder = |here: &Here| here.version.kind == Kind::Directory;
    match decide(row, rights).disk {
        Deed::Place(_) => Some(false),
        Deed::MakeFolder(_) => Some(true),
        Deed::Retouch(_) | Deed::Remove(_) => Some(row.here.as_ref().is_some_and(is_folder)),
        Deed::Nothing | Deed::Agree(_) | Deed::Publish | Deed::LocalDifference => None,
    }
}

/// Whether a guard weighs what goes from a path, as a survey does: not what goes only because its user has given it up.
fn is_weighed(row: &Triple, rights: Rights) -> bool {
    rights != Rights::Reverting || matches!(decide(row, Rights::Reader).disk, Deed::Remove(_))
}

/// Whether more than a folder would go from a path.
fn is_loss(row: &Triple) -> bool {
    row.here.as_ref().is_some_and(|here| here.version.kind != Kind::Directory)
}

/// The change that a deed without bytes asks for.
fn change(row: &Triple, deed: Deed<'_>) -> Planned {
    let over = row.here.as_ref().map(Seen::from);
    let (deed, head) = match deed {
        Deed::Place(head) => {
            (ChangeDeed::Place { version: head.version.clone(), stage: None, over }, Some(head.clone()))
        }
        Deed::Retouch(head) => {
            let mtime = Some(head.version.mtime).filter(|_| head.version.kind.holds_data());
            let deed = match over {
                Some(present) => ChangeDeed::Retouch { present, mtime, mode: head.version.mode },
                None => ChangeDeed::MakeFolder { mode: head.version.mode, over: None },
            };
            (deed, Some(head.clone()))
        }
        Deed::MakeFolder(Some(head)) => {
            (ChangeDeed::MakeFolder { mode: head.version.mode, over }, Some(head.clone()))
        }
        _ => {
            let mode = Mode::IMPLIED_DIRECTORY;
            let deed = match over {
                Some(present) if present.kind == SeenKind::Directory => {
                    ChangeDeed::Retouch { present, mtime: None, mode }
                }
                over => ChangeDeed::MakeFolder { mode, over },
            };
            (deed, row.heads.winner().filter(|winner| winner.version.kind.is_gone()).cloned())
        }
    };
    Planned::new(row.path.clone(), deed, row.here.clone(), head)
}
