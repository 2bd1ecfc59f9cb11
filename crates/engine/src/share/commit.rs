//! Changes on their way to the disk, and what becomes of them.
//!
//! Promise: a change is handed to the disk only if the heads asked for it a moment ago, and only one batch at a time. What is
//! done is noted with what it was planned against; where the user was faster, nothing is noted and the path is looked
//! at again (I3).
//!
//! A batch goes through three hands: the index says whether it is wanted, the disk does it, the index notes it. While the
//! disk has one, the next is asked about and the last is noted; no two are in the same hands.

use std::collections::VecDeque;

use shoal_proto::hash::ContentId;
use shoal_proto::here::{Here, Standing, Triple};
use shoal_proto::id::DeviceId;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Record, Version};

use super::{Share, Waiting, Wake};
use crate::disk::{self, Change, ChangeDeed, Committed, StageId};
use crate::history::{Kept, Why};
use crate::index::{self, Intent, Placed, PlacedOutcome};
use crate::limits::{BATCH_BYTES_MAX, BATCH_CHANGES_MAX, BATCH_FLOW_MIN, BATCH_WAIT_MAX};
use crate::planner::{Deed, Rights, decide};
use crate::status::Cause;
use crate::time::Time;

/// A change, with what it was planned on.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) change: Change,
    /// What the index held at the path.
    pub(super) here: Option<Here>,
    /// The record that asks for it; of a folder that is only implied, and of a removal, the one that is gone.
    pub(super) head: Option<Record>,
    /// Of a move the old path's: what is gone there.
    pub(super) from: Option<(Option<Here>, Option<Record>)>,
    pub(super) purpose: Purpose,
    /// What is there now, once it is done.
    pub(super) now: Option<Option<Here>>,
    pub(super) kept: Option<Kept>,
}

/// Why something is put onto the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// The heads of its path ask for it.
    Shown,
    /// It is to stand there as a conflict copy before the conflict at this path is resolved.
    Copy(RelPath),
}

impl Planned {
    pub(super) fn new(path: RelPath, deed: ChangeDeed, here: Option<Here>, head: Option<Record>) -> Self {
        let change = Change { path, deed, by: None, why: Why::Unknown };
        Self { change, here, head, from: None, purpose: Purpose::Shown, now: None, kept: None }
    }

    /// Where it ends: of a move the new path.
    pub(super) fn target(&self) -> &RelPath {
        match &self.change.deed {
            ChangeDeed::Move { to, .. } => to,
            _ => &self.change.path,
        }
    }

    /// The conflict for which it is to stand there as a copy.
    pub(super) fn conflict(&self) -> Option<&RelPath> {
        match &self.purpose {
            Purpose::Copy(conflict) => Some(conflict),
            Purpose::Shown => None,
        }
    }

    /// What is to be noted of it before the disk is asked.
    fn intent(&self) -> Intent {
        match (&self.purpose, &self.head, &self.change.deed) {
            (Purpose::Copy(_), ..) => Intent::Other,
            (Purpose::Shown, Some(head), _) if !head.version.kind.is_gone() => Intent::Head(head.clone()),
            (Purpose::Shown, _, ChangeDeed::MakeFolder { .. }) => Intent::ImpliedFolder,
            (Purpose::Shown, ..) => Intent::Other,
        }
    }

    pub(super) fn stage(&self) -> Option<StageId> {
        match &self.change.deed {
            ChangeDeed::Place { stage, .. } => *stage,
            _ => None,
        }
    }

    /// The content of what is there once it is done.
    fn content(&self) -> ContentId {
        match &self.change.deed {
            ChangeDeed::Place { version, .. } => version.kind.content(),
            ChangeDeed::Retouch { .. } => {
                self.here.as_ref().map_or(ContentId::NONE, |here| here.version.kind.content())
            }
            ChangeDeed::Move { .. } => {
                let moved = self.from.as_ref().and_then(|(here, _)| here.as_ref());
                moved.map_or(ContentId::NONE, |here| here.version.kind.content())
            }
            ChangeDeed::MakeFolder { .. } | ChangeDeed::Remove(_) => ContentId::NONE,
        }
    }

    /// How many bytes it puts into place.
    fn bytes(&self) -> u64 {
        match &self.change.deed {
            ChangeDeed::Place { version: Version { kind: Kind::File { size, .. }, .. }, .. } => *size,
            _ => 0,
        }
    }

    /// Whether the heads still ask for it.
    pub(super) fn is_wanted(&self, row: &Triple, rights: Rights) -> bool {
        if row.here != self.here {
            return false;
        }
        match (&self.change.deed, decide(row, rights).disk) {
            (ChangeDeed::Place { .. } | ChangeDeed::Move { .. }, Deed::Place(head)) => {
                Some(head) == self.head.as_ref()
            }
            (ChangeDeed::Retouch { .. }, Deed::Retouch(head)) => Some(head) == self.head.as_ref(),
            (ChangeDeed::MakeFolder { .. } | ChangeDeed::Retouch { .. }, Deed::MakeFolder(_))
            | (ChangeDeed::Remove(_), Deed::Remove(_)) => true,
            _ => false,
        }
    }
}

/// Changes that wait for the disk, and where those are that do not wait any more.
#[derive(Debug, Default)]
pub(super) struct Ready {
    pub(super) waiting: VecDeque<Planned>,
    /// How many bytes they put into place.
    bytes: u64,
    /// When the first of them came that the next batch takes.
    since: Option<Time>,
    /// The last batch was large: more such will come, and each sync of the disk is worth waiting a moment for.
    flows: bool,
    /// The index is asked about a batch.
    is_rechecking: bool,
    /// It has answered, and the disk is not free yet.
    rechecked: Option<Rechecked>,
    is_on_disk: bool,
    is_noting: bool,
}

/// A batch, with what the index holds of each path, and who asks for it.
type Rechecked = (Vec<Planned>, Vec<Option<Triple>>, Vec<Option<DeviceId>>);

impl Ready {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.is_committing()
    }

    /// Whether a batch is in anybody's hands.
    pub(super) fn is_committing(&self) -> bool {
        self.is_rechecking || self.rechecked.is_some() || self.is_on_disk || self.is_noting
    }

    /// From when on another batch is to be asked about. A small one waits for the disk, and a moment if many came before it
    /// and `more` are on their way, and may grow meanwhile.
    fn due(&self, more: bool, now: Time) -> Option<Time> {
        let is_full = self.waiting.len() >= BATCH_CHANGES_MAX || self.bytes >= BATCH_BYTES_MAX;
        if self.is_rechecking
            || self.rechecked.is_some()
            || self.waiting.is_empty()
            || self.is_on_disk && !is_full
        {
            return None;
        }
        let gathers = !is_full && self.flows && more;
        Some(if gathers { self.since.unwrap_or(now).after(BATCH_WAIT_MAX) } else { now })
    }

    /// The changes of the next batch.
    fn next(&mut self, now: Time) -> Vec<Planned> {
        let count = self.waiting.len().min(BATCH_CHANGES_MAX);
        let batch: Vec<Planned> = self.waiting.drain(..count).collect();
        self.bytes = self.waiting.iter().map(Planned::bytes).sum();
        self.since = (!self.waiting.is_empty()).then_some(now);
        self.flows = count >= BATCH_FLOW_MIN;
        batch
    }
}

impl Share {
    /// Puts a change on its way.
    pub(super) fn ready(&mut self, planned: Planned) {
        let ready = &mut self.planner.ready;
        ready.bytes += planned.bytes();
        ready.since.get_or_insert(self.now.time);
        ready.waiting.push_back(planned);
    }

    /// Batches go on: one to the disk if it is free, one to be asked about.
    pub(super) fn commit_on(&mut self) {
        let ready = &mut self.planner.ready;
        if !ready.is_on_disk
            && let Some(rechecked) = ready.rechecked.take()
        {
            self.commit(rechecked);
        }
        let ready = &mut self.planner.ready;
        let Some(at) = ready.due(!self.goals.is_empty(), self.now.time) else { return };
        if at > self.now.time {
            return self.timers.set_no_later(Wake::Commit, at);
        }
        let batch = ready.next(self.now.time);
        ready.is_rechecking = true;
        let intents = batch.iter().map(|planned| (planned.target().clone(), planned.intent())).collect();
        self.index(Waiting::Recheck(batch), index::Job::Intend(intents));
    }

    pub(super) fn rechecked(
        &mut self,
        batch: Vec<Planned>,
        rows: Vec<Option<Triple>>,
        authors: Vec<Option<DeviceId>>,
    ) {
        self.planner.ready.is_rechecking = false;
        self.planner.ready.rechecked = Some((batch, rows, authors));
    }

    /// Hands what of a batch is wanted to the disk.
    fn commit(&mut self, (batch, rows, authors): Rechecked) {
        let may_go_on = self.may_plan();
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        for ((mut planned, row), author) in batch.into_iter().zip(rows).zip(authors) {
            planned.change.by = author;
            planned.change.why = row.as_ref().map_or(Why::Unknown, |row| why(row, &planned.change.deed));
            let is_wanted = match planned.purpose {
                Purpose::Shown => row.as_ref().is_some_and(|row| planned.is_wanted(row, self.rights_at(row))),
                Purpose::Copy(_) => row.is_none_or(|row| row.here == planned.here),
            };
            if is_wanted && may_go_on { wanted.push(planned) } else { unwanted.push(planned) }
        }
        if !unwanted.is_empty() {
            self.planner.is_dirty = true;
            // What is dropped is no explanation for what the user does there.
            let dropped = unwanted.iter().map(|planned| planned.target().clone()).collect();
            self.index(Waiting::Nothing, index::Job::ForgetIntents(dropped));
        }
        let conflicts: Vec<RelPath> = unwanted.iter().filter_map(Planned::conflict).cloned().collect();
        self.drop_changes(unwanted);
        conflicts.iter().for_each(|conflict| self.copy_not_placed(conflict));
        if wanted.is_empty() {
            return;
        }
        self.planner.ready.is_on_disk = true;
        let changes = wanted.iter().map(|planned| planned.change.clone()).collect();
        self.disk(Waiting::Commit(wanted), disk::Job::Commit(changes));
    }

    pub(super) fn committed(&mut self, batch: Vec<Planned>, outcomes: Vec<Committed>) {
        self.planner.ready.is_on_disk = false;
        let (mut done, mut undone, mut untouched) = (Vec::new(), Vec::new(), Vec::new());
        for (mut planned, outcome) in batch.into_iter().zip(outcomes) {
            match outcome {
                Committed::Done { now, kept } => {
                    let content = planned.content();
                    planned.now = Some(now.map(|seen| seen.with_content(content)));
                    let Change { by, why, .. } = planned.change;
                    planned.kept = kept.map(|kept| displaced(kept, planned.here.as_ref(), by, why));
                    done.push(planned);
                }
                outcome => {
                    if !matches!(outcome, Committed::Failed(_)) {
                        untouched.push(planned.target().clone());
                    }
                    self.was_not_done(&planned, outcome);
                    undone.push(planned);
                }
            }
        }
        if !untouched.is_empty() {
            self.index(Waiting::Nothing, index::Job::ForgetIntents(untouched));
        }
        self.drop_changes(undone);
        if done.is_empty() {
            return;
        }
        self.planner.ready.is_noting = true;
        let (placed, history) = notes(&done);
        self.index(Waiting::Noted(done), index::Job::Placed(placed, history, self.now.time));
    }

    fn was_not_done(&mut self, planned: &Planned, outcome: Committed) {
        let path = planned.change.path.clone();
        let at = self.now.time;
        match outcome {
            Committed::Done { .. } => {}
            Committed::ChangedHere { kept } => {
                if let Some(kept) = kept {
                    self.was_filed(kept);
                }
                self.scanner.look(planned.target().clone(), at, false);
                self.scanner.look(path, at, false);
                self.planner.is_dirty = true;
            }
            Committed::NotEmpty { .. } => {
                self.scanner.want_below(path.clone());
                self.blocked(path, Cause::NotEmpty);
            }
            Committed::NotStaged => self.blocked(path, Cause::Waiting),
            Committed::Barred(_) if planned.from.is_some() => {
                // One of its two ends is not what it was.
                self.scanner.look(path, at, false);
                self.scanner.look(planned.target().clone(), at, false);
                self.blocked(planned.target().clone(), Cause::Waiting);
            }
            Committed::Barred(why) => {
                // What bars it may stand, or be lacking, anywhere on the way there.
                self.scanner.look(planned.target().clone(), at, false);
                for folder in planned.target().ancestors() {
                    self.scanner.look(folder, at, false);
                }
                self.blocked(planned.target().clone(), Cause::NoWay(why));
            }
            Committed::NoName(why) => self.blocked(planned.target().clone(), Cause::Blocked(why)),
            Committed::NoSpace => self.blocked(planned.target().clone(), Cause::NoSpace),
            Committed::Failed(why) => {
                // It may be done all the same: what is there is looked at.
                self.scanner.look(planned.target().clone(), at, false);
                self.scanner.look(path.clone(), at, false);
                self.blocked(planned.target().clone(), Cause::Blocked(why));
            }
        }
        if let Some(conflict) = planned.conflict() {
            self.copy_not_placed(conflict);
        }
    }

    /// Nothing is known to be done: all of it is looked at again.
    pub(super) fn commit_failed(&mut self, batch: Vec<Planned>, error: &str) {
        self.planner.ready.is_on_disk = false;
        for planned in &batch {
            self.was_not_done(planned, Committed::Failed(error.to_owned()));
        }
        self.drop_changes(batch);
    }

    pub(super) fn noted(&mut self, batch: Vec<Planned>, outcomes: &[PlacedOutcome]) {
        self.planner.ready.is_noting = false;
        self.planner.is_dirty = true;
        self.is_untold = true;
        let mut outcomes = outcomes.iter();
        for mut planned in batch {
            if let Some(kept) = planned.kept.take() {
                self.was_displaced(kept);
            }
            if let Some(stage) = planned.stage() {
                self.fetch.taken(stage);
            }
            if matches!(planned.purpose, Purpose::Copy(_)) {
                self.copy_placed(planned);
                continue;
            }
            let rows = 1 + usize::from(planned.from.is_some());
            let is_changed = outcomes.by_ref().take(rows).any(|outcome| *outcome == PlacedOutcome::Changed);
            if is_changed {
                self.scanner.look(planned.change.path.clone(), self.now.time, false);
                self.scanner.look(planned.target().clone(), self.now.time, false);
            } else {
                self.has_moved(&planned.change.path);
                self.has_moved(planned.target());
                if let Some(here) = planned.now.take().flatten() {
                    self.was_placed(planned.target(), here);
                }
            }
            if let Some(head) =
                planned.head.as_ref().filter(|head| !is_changed && super::peers::has_bytes(head))
            {
                self.has_come(head.hash());
            }
            self.free(&planned);
        }
    }

    /// The index does not say whether these are wanted: they are not on their way any more.
    pub(super) fn recheck_failed(&mut self, batch: Vec<Planned>) {
        self.planner.ready.is_rechecking = false;
        self.drop_changes(batch);
    }

    /// The index does not note these.
    pub(super) fn note_failed(&mut self, batch: Vec<Planned>) {
        self.planner.ready.is_noting = false;
        self.drop_changes(batch);
    }

    fn drop_changes(&mut self, changes: Vec<Planned>) {
        for planned in changes {
            if let Some(stage) = planned.stage() {
                self.forget_stage(stage);
            }
            self.free(&planned);
        }
    }

    /// The paths of a change are not being changed any more.
    pub(super) fn free(&mut self, planned: &Planned) {
        self.is_free(&planned.change.path);
        self.is_free(planned.target());
    }
}

/// What the index is to note of changes that are done: of each that was asked for by heads one placement, of a move two.
fn notes(done: &[Planned]) -> (Vec<Placed>, Vec<Kept>) {
    let (mut placed, mut history) = (Vec::new(), Vec::new());
    for planned in done {
        let Planned { change, here, head, from, .. } = planned;
        if planned.purpose == Purpose::Shown {
            if let Some((here, head)) = from.clone() {
                placed.push(Placed {
                    path: change.path.clone(),
                    planned: here,
                    now: None,
                    head,
                    is_moved: false,
                });
            }
            let now = planned.now.clone().flatten();
            placed.push(Placed {
                path: planned.target().clone(),
                planned: here.clone(),
                now,
                head: head.clone(),
                is_moved: from.is_some(),
            });
        }
        history.extend(planned.kept.clone());
    }
    (placed, history)
}

/// What was displaced, with what only who planned it knows: what it is, unless a program has written to it since (E17).
pub(super) fn displaced(kept: Kept, here: Option<&Here>, by: Option<DeviceId>, why: Why) -> Kept {
    let is_it = |here: &&Here| {
        let is_sized = !matches!(here.version.kind, Kind::File { size, .. } if size != kept.size);
        !kept.is_late && is_sized && here.version.mtime == kept.mtime
    };
    let content = here.filter(is_it).map(|here| here.version.kind.content());
    let content = content.filter(|content| *content != ContentId::NONE);
    let is_late = here.is_some_and(|here| !is_it(&here));
    Kept { content, by, why, is_late, ..kept }
}

/// Why what stands at a path loses its place.
fn why(row: &Triple, deed: &ChangeDeed) -> Why {
    let Some(here) = &row.here else { return Why::Unknown };
    let winner = row.heads.winner();
    let loses = |head: &Record| Some(head) != winner && head.version.kind.is_same(&here.version.kind);
    // Whoever has ended the conflict says whose bytes only lost.
    let origin = row.base.as_ref().map(|base| base.origin);
    let only_lost = |winner: &Record| origin.is_some_and(|origin| winner.displaced.contains(&origin));
    let removes = matches!(deed, ChangeDeed::Remove(_));
    if row.heads.iter().any(loses) || winner.is_some_and(only_lost) {
        Why::Conflict
    } else if row.standing == Standing::Differs && (!removes || row.base.is_some() || row.heads.is_empty()) {
        Why::Difference
    } else if removes {
        Why::Deleted
    } else {
        Why::Replaced
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::dot::{Dot, Seen};
    use shoal_proto::heads::{Base, Below, Heads};
    use shoal_proto::id::Writer;
    use shoal_proto::record::{Mode, Timestamp, Version};

    use super::*;
    use crate::testing::path;

    const WRITER: Writer = Writer::from_bytes([1; 8]);

    fn file(byte: u8) -> Version {
        let kind = Kind::File { size: 5, content: ContentId::from_bytes([byte; 32]) };
        Version::new(kind, Timestamp::new(70, 0).unwrap_or_default(), Mode::ZERO)
    }

    fn here(version: Version) -> Here {
        Here { version, inode: 1, ctime: Timestamp::ZERO }
    }

    fn record(version: Version, counter: u64) -> Record {
        let dot = Dot::new(WRITER, counter);
        let (seen, displaced) = (Seen::default(), Box::default());
        Record { path: path("a"), version, dot, seen, origin: dot, displaced, copy_of: None }
    }

    /// What is known of a path that shows the first of these; the others are its heads.
    fn row(shown: u8, standing: Standing, heads: Vec<Record>) -> Triple {
        let base = Some(Base::from(&record(file(shown), 1)));
        let heads: Heads = heads.into_iter().collect();
        Triple {
            path: path("a"),
            here: Some(here(file(shown))),
            base,
            standing,
            heads,
            below: Below::Nothing,
        }
    }

    fn place() -> ChangeDeed {
        ChangeDeed::Place { version: file(2), stage: None, over: None }
    }

    fn remove() -> ChangeDeed {
        ChangeDeed::Remove(disk::Seen::from(&here(file(1))))
    }

    #[test]
    fn why_something_goes_follows_from_what_is_known() {
        let gone = Version::deleted(&file(1));
        let replaced = || vec![record(file(2), 2)];
        assert_eq!(why(&row(1, Standing::Agrees, replaced()), &place()), Why::Replaced);
        assert_eq!(why(&row(1, Standing::Agrees, vec![record(gone.clone(), 2)]), &remove()), Why::Deleted);
        assert_eq!(why(&row(1, Standing::Differs, replaced()), &place()), Why::Difference);
        let adopted = Triple { base: None, ..row(1, Standing::Differs, vec![record(gone, 2)]) };
        assert_eq!(why(&adopted, &remove()), Why::Deleted, "others had deleted just this");
        let both = vec![record(file(2), 2), record(file(1), 1)];
        assert_eq!(why(&row(1, Standing::Agrees, both), &place()), Why::Conflict);
        let resolved = Record { displaced: [Dot::new(WRITER, 1)].into(), ..record(file(2), 2) };
        assert_eq!(why(&row(1, Standing::Agrees, vec![resolved]), &place()), Why::Conflict);
    }

    /// E17: whether or not the disk has noticed it.
    #[test]
    fn e17_what_was_written_to_after_it_was_displaced_is_not_what_it_was() {
        let now = here(file(1));
        let kept = Kept {
            number: 3,
            path: Some(path("a")),
            content: None,
            size: 5,
            mtime: now.version.mtime,
            when: Timestamp::ZERO,
            by: None,
            why: Why::Unknown,
            is_late: false,
        };
        let of = |kept: &Kept| {
            let kept = displaced(kept.clone(), Some(&now), None, Why::Replaced);
            (kept.content, kept.is_late)
        };
        assert_eq!(of(&kept), (Some(ContentId::from_bytes([1; 32])), false));
        assert_eq!(of(&Kept { size: 6, ..kept.clone() }), (None, true));
        assert_eq!(of(&Kept { mtime: Timestamp::ZERO, ..kept.clone() }), (None, true));
        assert_eq!(of(&Kept { is_late: true, ..kept }), (None, true));
    }
}
