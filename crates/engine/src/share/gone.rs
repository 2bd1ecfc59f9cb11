//! What is gone from the folder: held until no more of it is found, so that the guard sees the whole of it (I19).
//!
//! Promise: of what is gone nothing is noted while more of it is being found, unless that takes long; then the index adds
//! up. What cannot be remembered is counted. Where the guard says no while something is still being looked at, it is
//! asked once more when that is over: what is gone may only have been moved. A file that was moved is noted at both ends
//! together, so that others move theirs; while it is still to be read where it went, where it was is no loss, nor is the
//! folder that it was in.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::hash::ContentId;
use shoal_proto::here::Here;
use shoal_proto::path::RelPath;
use shoal_proto::record::Kind;

use super::lull::Lull;
use super::scan::Knowing;
use super::sweep::{Finding, Sweep, shown_anew};
use super::{Share, Waiting};
use crate::disk::Seen;
use crate::index::{Further, Guard, Observed, Survey};
use crate::limits::GONE_MAX;
use crate::status::Halt;
use crate::time::Time;

/// What is gone and not noted yet.
#[derive(Debug, Default)]
pub(super) struct Gone {
    held: Held,
    /// More is gone than is held, to be found again by a sweep of all once that is noted.
    has_more: bool,
    /// The files among it.
    further: Further,
    /// The most that was gone since nothing was: a file that comes and goes holds nothing up.
    most: u64,
    lull: Lull,
    /// The guard has said no, or something was moved: what is gone may still be found elsewhere.
    is_doubted: bool,
}

/// Findings by path, and by the inodes that stood there.
#[derive(Debug, Default)]
struct Held {
    findings: BTreeMap<RelPath, Finding>,
    inodes: BTreeMap<u64, BTreeSet<RelPath>>,
    /// How many of them are folders.
    folders: usize,
}

impl Held {
    fn insert(&mut self, finding: Finding) {
        self.remove(&finding.path);
        self.folders += usize::from(is_folder(&finding));
        if let Some(here) = &finding.compared {
            self.inodes.entry(here.inode).or_default().insert(finding.path.clone());
        }
        self.findings.insert(finding.path.clone(), finding);
    }

    fn remove(&mut self, path: &RelPath) -> Option<Finding> {
        let finding = self.findings.remove(path)?;
        self.folders -= usize::from(is_folder(&finding));
        if let Some(here) = &finding.compared
            && let Some(paths) = self.inodes.get_mut(&here.inode)
        {
            paths.remove(path);
            if paths.is_empty() {
                self.inodes.remove(&here.inode);
            }
        }
        Some(finding)
    }

    /// The files that stood where nothing is any more, and may have been moved to where this one is seen.
    fn moved_from<'a>(&'a self, seen: &'a Seen) -> impl Iterator<Item = (&'a RelPath, &'a Here)> {
        let paths = self.inodes.get(&seen.inode).into_iter().flatten();
        let gone = paths.filter_map(|path| self.findings.get(path)).filter(|gone| gone.seen.is_none());
        let before = gone.filter_map(|gone| Some((&gone.path, gone.compared.as_ref()?)));
        before.filter(|(_, before)| {
            let was = Seen::from(*before);
            (&was.kind, was.mtime) == (&seen.kind, seen.mtime)
        })
    }

    /// The file that was moved to where this was found, and what is in it, if that is known: what only was in a folder that
    /// was moved is shown to the last detail, and so with its content.
    fn moved_to(&self, found: &Finding) -> Option<(RelPath, Option<ContentId>)> {
        let seen = shown_anew(found)?;
        let (path, before) = self.moved_from(seen).next()?;
        let is_unread = Seen::from(before) == *seen;
        Some((path.clone(), is_unread.then(|| before.version.kind.content())))
    }

    /// Whether there is nothing among them that could be lost.
    fn is_folders(&self) -> bool {
        self.folders == self.findings.len()
    }
}

fn is_folder(gone: &Finding) -> bool {
    gone.compared.as_ref().is_some_and(|here| here.version.kind == Kind::Directory)
}

/// Whether a person has said that what is gone is meant to be gone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Meant {
    /// Nobody has.
    #[default]
    No,
    /// All that is found until a sweep of all is over.
    UntilSwept,
    /// That sweep is over, and what it found is noted next.
    UntilNoted,
}

/// How findings are guarded on their way into the index.
#[derive(Clone, Debug, Default)]
pub(super) struct Guarding {
    pub(super) guard: Guard,
    /// All that could have been moved was found: a no is the last word.
    is_last_word: bool,
    /// More is gone than is noted with it.
    has_more: bool,
}

impl Gone {
    pub(super) fn is_empty(&self) -> bool {
        self.held.findings.is_empty()
    }

    /// Whether something is known to be gone, and is not noted yet.
    pub(super) fn holds(&self, path: &RelPath) -> bool {
        self.held.findings.contains_key(path)
    }

    /// It is looked at once more: something may stand there again.
    pub(super) fn forget(&mut self, path: &RelPath) {
        if self.held.remove(path).is_some() {
            self.ends_if_empty();
        }
    }

    /// What is gone after the last that was held is another loss.
    fn ends_if_empty(&mut self) {
        if self.is_empty() {
            *self = Self { has_more: self.has_more, ..Self::default() };
        }
    }

    /// `false`: there is no room for it.
    fn hold(&mut self, finding: Finding) -> bool {
        let has_room = self.held.findings.len() < GONE_MAX || self.holds(&finding.path);
        if has_room {
            self.held.insert(finding);
        }
        has_room
    }

    /// Nothing is let go while there are more and more.
    fn grows(&mut self, further: u64, now: Time) {
        let count = self.held.findings.len() as u64 + further;
        if count > self.most {
            self.most = count;
            self.lull.more(now);
        }
    }

    /// When to ask again whether it is to be noted, if nothing else happens.
    pub(super) fn wake(&self, now: Time) -> Option<Time> {
        let is_put_off = self.is_doubted && self.lull.is_over(now);
        let at = if is_put_off { self.lull.over_at_latest() } else { self.lull.over_at() };
        at.filter(|at| !self.is_empty() && *at > now)
    }

    /// These, each after what is gone and was moved there.
    pub(super) fn with_moved(&mut self, found: Vec<Finding>) -> Vec<Finding> {
        if self.is_empty() {
            return found;
        }
        let mut together = Vec::with_capacity(found.len());
        for mut finding in found {
            if let Some((path, content)) = self.held.moved_to(&finding) {
                finding.content = content;
                together.extend(self.held.remove(&path));
                self.most = self.most.saturating_sub(1);
            }
            together.push(finding);
        }
        self.ends_if_empty();
        together
    }

    /// Whether it has been held for long enough. `is_all_found`: nothing is being looked at any more.
    fn is_due(&self, is_all_found: bool, now: Time) -> bool {
        // Folders alone have nothing that the guard would weigh.
        let is_lull_over = self.lull.is_over(now) || is_all_found && self.held.is_folders();
        !self.is_empty() && is_lull_over && (!self.is_doubted || self.is_last_chance(is_all_found, now))
    }

    fn is_last_chance(&self, is_all_found: bool, now: Time) -> bool {
        is_all_found || self.lull.over_at_latest().is_some_and(|at| at <= now)
    }

    /// What is to be noted now: all but these paths, which wait for what is being read. As long as there are such, no is not
    /// the last word; and what was only counted cannot be told from them.
    fn let_go(
        &mut self,
        awaited: &BTreeSet<RelPath>,
        is_all_found: bool,
        now: Time,
    ) -> Option<(Vec<Finding>, Guarding)> {
        if !self.is_due(is_all_found, now) {
            return None;
        }
        let waits = !awaited.is_empty();
        if waits && (self.has_more || awaited.len() == self.held.findings.len()) {
            self.waits_anew(now);
            return None;
        }
        let is_last_word = !waits && self.is_last_chance(is_all_found, now);
        let kept: Vec<_> = awaited.iter().filter_map(|path| self.held.remove(path)).collect();
        let Self { held, has_more, further, .. } = core::mem::take(self);
        if waits {
            kept.into_iter().for_each(|finding| self.held.insert(finding));
            self.waits_anew(now);
        }
        let guard = Guard { further, ..Guard::default() };
        Some((held.findings.into_values().collect(), Guarding { guard, is_last_word, has_more }))
    }

    /// What is left is asked about again in a while, as if it were gone only now.
    fn waits_anew(&mut self, now: Time) {
        self.most = self.held.findings.len() as u64;
        self.lull.end();
        self.lull.more(now);
    }
}

impl Share {
    /// Something is gone: it is noted later, with all the rest.
    pub(super) fn hold_gone(&mut self, finding: Finding) {
        if self.passes_over(&finding.path) {
            return;
        }
        if self.scanner.gone.hold(finding) {
            self.scanner.gone.grows(0, self.now.time);
        } else {
            self.scanner.want_all();
        }
    }

    /// A sweep is over. One of all has seen all that is gone.
    pub(super) fn hold_swept(&mut self, sweep: &mut Sweep) {
        let swept = core::mem::take(&mut sweep.gone);
        if sweep.below.is_some() {
            swept.into_iter().for_each(|finding| self.hold_gone(finding));
            self.scanner.gone.is_doubted |= sweep.is_moved && !self.scanner.gone.is_empty();
            if sweep.more_gone > 0 {
                // As a whole it is counted.
                self.scanner.want_all();
            }
            return;
        }
        let (before, mut has_room) = (core::mem::take(&mut self.scanner.gone.held), true);
        for finding in swept.into_iter().chain(before.findings.into_values()) {
            if !self.passes_over(&finding.path) {
                has_room &= self.scanner.gone.hold(finding);
            }
        }
        let gone = &mut self.scanner.gone;
        gone.has_more = !has_room || sweep.more_gone > 0;
        gone.further = core::mem::take(&mut sweep.further);
        gone.grows(sweep.more_gone, self.now.time);
        gone.ends_if_empty();
        if sweep.more_gone == 0 && self.scanner.meant != Meant::No {
            self.scanner.meant = if self.scanner.gone.is_empty() { Meant::No } else { Meant::UntilNoted };
        }
    }

    /// What a sweep has kept, now that it is held what is gone: what was moved goes first, or that would have to wait for
    /// all that is to be read.
    pub(super) fn found_maybe_moved(&mut self, found: Vec<Finding>) {
        let is_moved = |found: &Finding| self.scanner.gone.held.moved_to(found).is_some();
        let (moved, other): (Vec<_>, Vec<_>) = found.into_iter().partition(is_moved);
        self.scanner.gone.is_doubted |= !moved.is_empty();
        moved.into_iter().chain(other).for_each(|found| self.found_by_sweep(found));
    }

    /// What is gone is taken once no more of it comes.
    pub(super) fn gone_on(&mut self) {
        if self.scanner.gone.is_empty() {
            // What was not planned because of it can be now.
            let is_noted = self.scanner.taking == 0 && self.scanner.found.is_empty();
            if is_noted && core::mem::take(&mut self.scanner.gone.has_more) {
                // All that was held was moved, or came back: what is gone beside it is looked for anew.
                self.scanner.want_all();
            }
            self.planner.is_dirty |= is_noted && core::mem::take(&mut self.planner.has_passed_over);
            if self.scanner.meant == Meant::UntilNoted {
                // It was all found elsewhere, or came back: nothing is left that a person has said it of.
                self.scanner.meant = Meant::No;
            }
            return;
        }
        let (is_all_found, now) = (self.scanner.has_found_all(self.now.time), self.now.time);
        if self.scanner.gone_so_far() > self.scanner.gone.held.findings.len() {
            // The sweep under way brings more.
            return;
        }
        if self.scanner.meant == Meant::UntilSwept && !is_all_found {
            // A person has said it of the whole: so it is told as a whole.
            return;
        }
        if !self.scanner.gone.is_due(is_all_found, now) {
            return;
        }
        let awaited = self.awaited();
        let let_go = self.scanner.gone.let_go(&awaited, is_all_found, now);
        let Some((findings, mut guarding)) = let_go else { return };
        guarding.guard.is_meant = self.scanner.meant != Meant::No;
        if self.scanner.meant == Meant::UntilNoted {
            self.scanner.meant = Meant::No;
        }
        self.take(findings, guarding);
    }

    /// What is gone and was seen elsewhere, where it is still to be read; with the folders that it was in, as they are not
    /// gone before it.
    fn awaited(&self) -> BTreeSet<RelPath> {
        let taken = self.jobs.values().flat_map(|waiting| match waiting {
            Waiting::Take(findings, _) | Waiting::KnownList(Knowing { findings, .. }) => &findings[..],
            _ => &[],
        });
        let found = self.scanner.found.iter().chain(taken.clone()).filter_map(shown_anew);
        let to_be_told = self.scanner.sweep.iter().flat_map(Sweep::to_be_told);
        let held = &self.scanner.gone.held;
        let moved = found.chain(to_be_told).flat_map(|seen| held.moved_from(seen));
        let mut awaited: BTreeSet<_> = moved.map(|(path, _)| path.clone()).collect();
        let folders: BTreeSet<_> = taken
            .filter(|finding| finding.seen.is_none())
            .map(|finding| &finding.path)
            .chain(&awaited)
            .filter(|_| held.folders > 0)
            .flat_map(RelPath::ancestors)
            .collect();
        awaited.extend(folders.into_iter().filter(|folder| held.findings.contains_key(folder)));
        awaited
    }

    /// What was let go is noted, or came to nothing; what could not be held is looked for anew.
    pub(super) fn was_let_go(&mut self, guarding: &Guarding) {
        if guarding.has_more {
            self.scanner.want_all();
        }
    }

    /// So much would be lost that it looks like a disk that is not mounted: nothing was noted.
    pub(super) fn is_guarded(&mut self, observed: Vec<Observed>, guarding: &Guarding, survey: Survey) {
        debug_assert!(observed.iter().any(|one| one.found.is_none()), "only a loss is guarded");
        self.scanner.taking = self.scanner.taking.saturating_sub(1);
        if guarding.is_last_word {
            return self.halt(Halt::Emptied { had: survey.had, lost: survey.lost }, true);
        }
        for Observed { path, compared, found } in observed {
            match found {
                None => self.hold_gone(Finding::of(path, compared, None)),
                Some(_) => self.scanner.look(path, self.now.time, true),
            }
        }
        self.scanner.gone.is_doubted = true;
        self.was_let_go(guarding);
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use shoal_proto::record::{Mode, Timestamp};

    use super::*;
    use crate::disk::SeenKind;
    use crate::limits::{LULL, LULL_WAIT_MAX};
    use crate::testing::path;

    const T: Time = Time(7_000_000_000);

    /// Nothing is being read.
    const NONE: BTreeSet<RelPath> = BTreeSet::new();

    fn gone(name: &str) -> Finding {
        Finding::of(path(name), None, None)
    }

    fn holding(names: &[&str], now: Time) -> Gone {
        let mut held = Gone::default();
        for name in names {
            assert!(held.hold(gone(name)));
            held.grows(0, now);
        }
        held
    }

    fn names(let_go: Option<(Vec<Finding>, Guarding)>) -> Vec<RelPath> {
        let_go.into_iter().flat_map(|(findings, _)| findings).map(|finding| finding.path).collect()
    }

    #[test]
    fn what_is_gone_is_let_go_together_once_no_more_comes() {
        let mut held = holding(&["b"], T);
        let later = T.after(LULL / 2);
        assert!(held.hold(gone("a")));
        held.grows(0, later);
        assert_eq!(
            (names(held.let_go(&NONE, true, T.after(LULL))), held.wake(later)),
            (vec![], Some(later.after(LULL)))
        );
        assert_eq!(names(held.let_go(&NONE, false, later.after(LULL))), [path("a"), path("b")]);
        assert!(held.is_empty() && held.wake(T).is_none());
    }

    /// A program that makes a file and deletes it again and again holds up nothing else.
    #[test]
    fn what_comes_and_goes_holds_nothing_up() {
        let mut held = holding(&["a", "lock"], T);
        for step in 1..4 {
            held.forget(&path("lock"));
            assert!(held.hold(gone("lock")));
            held.grows(0, T.after(LULL / 4 * step));
        }
        assert_eq!(names(held.let_go(&NONE, false, T.after(LULL))).len(), 2);
        let mut held = holding(&["lock"], T);
        held.forget(&path("lock"));
        assert!(held.is_empty() && held.wake(T).is_none());
    }

    #[test]
    fn what_does_not_end_is_let_go_after_a_while() {
        let (mut held, mut now) = (Gone::default(), T);
        for number in 0.. {
            held.forget(&path(&number.to_string()));
            assert!(held.hold(gone("a")));
            held.grows(number, now);
            if now >= T.after(LULL_WAIT_MAX) {
                break;
            }
            assert_eq!(names(held.let_go(&NONE, true, now)), []);
            now = now.after(LULL / 2);
        }
        let (_, guarding) = held.let_go(&NONE, false, now).unwrap();
        assert!(guarding.is_last_word);
    }

    /// A folder was moved with two files, and one of them was written to since.
    #[test]
    fn what_was_moved_as_it_was_is_noted_with_where_it_went() {
        let file = |inode, size| {
            let (mtime, ctime, mode) = (Timestamp::ZERO, Timestamp::ZERO, Mode::from_bits(0o644));
            Seen { kind: SeenKind::File { size }, mtime, mode, inode, ctime }
        };
        let id = ContentId::from_bytes([7; 32]);
        let was = |name, inode| Finding::of(path(name), Some(file(inode, 9).with_content(id)), None);
        let now = |name, inode, size| Finding::of(path(name), None, Some(file(inode, size)));
        let mut held = Gone::default();
        assert!(held.hold(was("old/a", 1)) && held.hold(was("old/b", 2)));
        held.grows(0, T);
        let together = held.with_moved(vec![now("new/a", 1, 9), now("new/b", 2, 8), now("new/c", 3, 9)]);
        let told = together.iter().map(|one| (one.path.clone(), one.content));
        let expected = [("old/a", None), ("new/a", Some(id)), ("new/b", None), ("new/c", None)];
        assert!(told.eq(expected.map(|(name, content)| (path(name), content))));
        assert!(held.holds(&path("old/b")) && !held.holds(&path("old/a")));
    }

    /// What is gone may be moved to where it is only being read.
    #[test]
    fn i19_after_a_no_it_waits_until_all_is_found() {
        let mut held = holding(&["a"], T);
        let (_, guarding) = held.let_go(&NONE, false, T.after(LULL)).unwrap();
        assert!(!guarding.is_last_word);
        let mut held = holding(&["a"], T);
        held.is_doubted = true;
        let later = T.after(Duration::from_secs(9));
        assert_eq!(
            (names(held.let_go(&NONE, false, later)), held.wake(later)),
            (vec![], Some(T.after(LULL_WAIT_MAX)))
        );
        let (_, guarding) = held.let_go(&NONE, true, later).unwrap();
        assert!(guarding.is_last_word && !held.is_doubted);
    }

    /// What was moved and is being read where it went is no loss, so the rest of what is gone may not be one either.
    #[test]
    fn i19_what_is_read_elsewhere_waits_and_no_is_not_the_last_word_meanwhile() {
        let mut held = holding(&["a", "b"], T);
        held.is_doubted = true;
        let read = BTreeSet::from([path("a")]);
        assert!(held.let_go(&read, false, T.after(LULL)).is_none());
        let later = T.after(LULL_WAIT_MAX);
        let (findings, guarding) = held.let_go(&read, false, later).unwrap();
        assert_eq!(findings.iter().map(|one| &one.path).collect::<Vec<_>>(), [&path("b")]);
        assert!(!guarding.is_last_word && held.holds(&path("a")));
        assert!(held.let_go(&read, false, later.after(LULL)).is_none());
        assert_eq!(held.wake(later.after(LULL)), Some(later.after(2 * LULL)));
        assert_eq!(names(held.let_go(&NONE, false, later.after(2 * LULL))), [path("a")]);
        // What was only counted may have been moved as well.
        let mut held = Gone { has_more: true, ..holding(&["a", "b"], T) };
        assert!(held.let_go(&read, false, later).is_none() && held.has_more);
        let (findings, guarding) = held.let_go(&NONE, true, later.after(LULL)).unwrap();
        assert!(findings.len() == 2 && guarding.has_more && guarding.is_last_word);
    }

    #[test]
    fn no_more_is_held_than_there_is_room_for() {
        let mut held = Gone::default();
        for number in 0..GONE_MAX {
            assert!(held.hold(gone(&number.to_string())));
        }
        assert!(!held.hold(gone("more")) && held.hold(gone("0")));
        assert!(held.holds(&path("0")) && !held.holds(&path("more")));
    }
}
