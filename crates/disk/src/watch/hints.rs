//! What is to be told, merged until somebody takes it.
//!
//! Promise: at most [`HINTS_MAX`] hints are in memory; if there were more, everything is to be looked at, and that is one
//! hint. What is being written all the time is told of at most once in [`TOLD_AGAIN`]; what was written after it was told
//! is told when that time is over. So a hint, and a look, follows the last write also into a file that is never closed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use shoal_engine::io::Hint;
use shoal_proto::path::RelPath;

/// Hints that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Hints {
    is_lost: bool,
    at: BTreeMap<RelPath, How>,
    below: BTreeSet<RelPath>,
    /// Of what is being written: when that was told last.
    told: BTreeMap<RelPath, Told>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    at: Instant,
    /// It was written to since.
    is_owed: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum How {
    Rests,
    Changes,
}

impl Hints {
    /// Whether everything is to be looked at, whatever else there was.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Something happened there, and it is over.
    pub(super) fn rests(&mut self, path: RelPath) {
        self.told.remove(&path);
        self.add(path, How::Rests);
    }

    /// Its permissions or times were set: it may be still being written.
    pub(super) fn altered(&mut self, path: RelPath) {
        if self.at.get(&path) != Some(&How::Changes) {
            self.rests(path);
        }
    }

    /// Somebody is writing there.
    pub(super) fn changes(&mut self, path: RelPath, now: Instant) {
        match self.told.get_mut(&path).filter(|told| !told.is_past(now)) {
            Some(told) => told.is_owed = true,
            None => self.add(path, How::Changes),
        }
    }

    /// When there is something to be told though nothing has happened.
    pub(super) fn next(&self) -> Option<Instant> {
        self.told.values().filter(|told| told.is_owed).map(|told| told.at + TOLD_AGAIN).min()
    }

    /// All below this folder is to be looked at; `None`: everything.
    pub(super) fn below(&mut self, folder: Option<RelPath>) {
        let Some(folder) = folder else { return self.lost() };
        let is_told = |path: &RelPath| self.below.contains(path);
        if self.is_lost || is_told(&folder) || folder.ancestors().any(|above| is_told(&above)) {
            return;
        }
        let near =
            self.below.range(&folder..).take_while(|path| path.as_bytes().starts_with(folder.as_bytes()));
        let inside: Vec<_> = near.filter(|path| path.is_below(&folder)).cloned().collect();
        for path in inside {
            self.below.remove(&path);
        }
        self.below.insert(folder);
        self.stay_within_bounds();
    }

    /// Nobody knows what has happened.
    pub(super) fn lost(&mut self) {
        (self.is_lost, self.at, self.below) = (true, BTreeMap::new(), BTreeSet::new());
    }

    /// All that is to be told; what belongs together is told together.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Hint> {
        let is_crowded = self.told.len() > HINTS_MAX;
        let past: Vec<_> = self.told.extract_if(.., |_, told| is_crowded || told.is_past(now)).collect();
        for (path, _) in past.into_iter().filter(|(_, told)| told.is_owed) {
            // What happened there last may be that it came to rest for a moment: it was written to before.
            if !self.at.contains_key(&path) {
                self.add(path, How::Changes);
            }
        }
        if core::mem::take(&mut self.is_lost) {
            return vec![Hint::Lost];
        }
        let changing = self.at.iter().filter(|(_, how)| **how == How::Changes);
        self.told.extend(changing.map(|(path, _)| (path.clone(), Told { at: now, is_owed: false })));
        let at = core::mem::take(&mut self.at).into_iter().map(|(path, how)| match how {
            How::Rests => Hint::At(path),
            How::Changes => Hint::Changing(path),
        });
        let below = core::mem::take(&mut self.below).into_iter().map(Hint::Below);
        at.chain(below).collect()
    }

    fn add(&mut self, path: RelPath, how: How) {
        if !self.is_lost {
            self.at.insert(path, how);
            self.stay_within_bounds();
        }
    }

    fn stay_within_bounds(&mut self) {
        if self.at.len() + self.below.len() > HINTS_MAX {
            self.lost();
        }
    }
}

impl Told {
    fn is_past(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= TOLD_AGAIN
    }
}

/// So many hints wait, at most; half of what the engine looks at one by one.
pub(super) const HINTS_MAX: usize = 8192;

/// Of what is being written it is told once in such a time.
pub(super) const TOLD_AGAIN: Duration = Duration::from_millis(20);

const _: () = assert!(HINTS_MAX <= shoal_engine::limits::LOOKS_MAX / 2);
const _: () = assert!(TOLD_AGAIN.as_millis() < shoal_engine::limits::WRITTEN_DELAY.as_millis());

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn hints_are_merged_and_what_happened_last_counts() {
        let (mut hints, now) = (Hints::default(), Instant::now());
        hints.changes(path("a"), now);
        hints.altered(path("a"));
        hints.changes(path("b"), now);
        hints.rests(path("b"));
        hints.rests(path("c"));
        hints.altered(path("d"));
        hints.changes(path("c"), now);
        for folder in ["f/g", "f/g/h", "f!", "fa", "f"] {
            hints.below(Some(path(folder)));
        }
        hints.below(Some(path("f/new")));
        let [a, b, c, d] = ["a", "b", "c", "d"].map(path);
        let told = [Hint::Changing(a), Hint::At(b), Hint::Changing(c), Hint::At(d)];
        let below = ["f", "f!", "fa"].map(|folder| Hint::Below(path(folder)));
        assert_eq!(hints.take(now), [&told[..], &below[..]].concat());
        assert!(hints.take(now).is_empty());
    }

    #[test]
    fn what_is_written_all_the_time_is_told_now_and_then() {
        let (mut hints, begin) = (Hints::default(), Instant::now());
        let mut told = 0;
        for step in 0..1000 {
            let now = begin + Duration::from_millis(step);
            hints.changes(path("log"), now);
            told += hints.take(now).len();
        }
        assert_eq!(told, 50);
        // That it is closed is news.
        hints.rests(path("log"));
        assert_eq!(hints.take(begin), [Hint::At(path("log"))]);
        hints.changes(path("log"), begin);
        assert_eq!(hints.take(begin + TOLD_AGAIN), [Hint::Changing(path("log"))]);
        hints.take(begin + TOLD_AGAIN * 2);
        assert!(hints.told.is_empty());
    }

    /// What was written just after a hint, and then no more, is told all the same.
    #[test]
    fn the_last_write_is_told_after_a_while() {
        let (mut hints, begin) = (Hints::default(), Instant::now());
        let at = |millis| begin + Duration::from_millis(millis);
        let log = Hint::Changing(path("log"));
        hints.changes(path("log"), at(0));
        assert_eq!((hints.take(at(0)), hints.next()), (vec![log.clone()], None));
        hints.changes(path("log"), at(3));
        hints.changes(path("log"), at(19));
        assert_eq!((hints.take(at(19)), hints.next()), (Vec::new(), Some(at(20))));
        assert_eq!((hints.take(at(20)), hints.next()), (vec![log.clone()], None));
        assert!(hints.take(at(60)).is_empty());
        // Unless it was closed meanwhile: that was told.
        hints.changes(path("log"), at(100));
        assert_eq!(hints.take(at(100)), [log]);
        hints.changes(path("log"), at(105));
        hints.rests(path("log"));
        assert_eq!((hints.take(at(106)), hints.next()), (vec![Hint::At(path("log"))], None));
        assert!(hints.take(at(130)).is_empty());
    }

    #[test]
    fn i30_too_many_hints_are_one() {
        let (mut hints, now) = (Hints::default(), Instant::now());
        for number in 0..=HINTS_MAX {
            hints.rests(path(&format!("{number}")));
        }
        hints.below(Some(path("x")));
        hints.rests(path("y"));
        assert_eq!(hints.take(now), [Hint::Lost]);
        assert!(hints.take(now).is_empty());
        hints.rests(path("y"));
        hints.below(None);
        assert_eq!(hints.take(now), [Hint::Lost]);
    }
}
