//! When a path is looked at after something has happened there.
//!
//! Promise: soon, but not in the middle of it. Who closes a file or moves one here is done: it is looked at after
//! [`LOOK_DELAY`]. While somebody is at it, it is left alone until they pause, though no longer than [`LOOK_WAIT_MAX`]. So
//! what an editor does to save a file is one change. Where something happens all the time it is looked at more and more
//! seldom, at least once in [`WARM_WAIT_MAX`].

use core::time::Duration;
use std::collections::BTreeMap;

use shoal_proto::path::RelPath;

use crate::limits::{
    LOOK_DELAY, LOOK_WAIT_MAX, LOOKS_MAX, WARM_LOOKS, WARM_WAIT_MAX, WARM_WAIT_MIN, WRITTEN_DELAY,
};
use crate::time::Time;

/// Paths to be looked at, from when on.
#[derive(Debug, Default)]
pub(super) struct Looks {
    due: BTreeMap<RelPath, Due>,
    /// None is due before this: so not all are asked each time.
    soonest: Time,
    /// Folders that are to be looked through, from when on.
    below: BTreeMap<RelPath, Time>,
    /// Paths that were looked at because of a hint: when all of that is forgotten. Each look lasts [`WARM_WAIT_MAX`].
    warm: BTreeMap<RelPath, Time>,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    at: Time,
    /// To be taken even if the disk shows what the index holds: it is not published yet.
    is_forced: bool,
    /// Because of a hint, after which others may come.
    window: Option<Window>,
    /// That was not the end of it.
    is_at_it: bool,
}

/// When a path is looked at the earliest and the latest.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: Time,
    to: Time,
}

impl Looks {
    pub(super) fn len(&self) -> usize {
        self.due.len() + self.below.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// When to ask for those that are due.
    pub(super) fn next(&self) -> Option<Time> {
        let soonest = (!self.due.is_empty()).then_some(self.soonest);
        soonest.into_iter().chain(self.below.values().min().copied()).min()
    }

    pub(super) fn has_due(&self, now: Time) -> bool {
        self.soonest <= now && self.due.values().any(|due| due.at <= now)
            || self.below.values().any(|at| *at <= now)
    }

    /// Whether somebody was writing there a moment ago, so that it is left to a look that is to come.
    pub(super) fn is_being_written(&self, path: &RelPath, now: Time) -> bool {
        self.due.get(path).is_some_and(|due| due.is_at_it && due.at > now)
    }

    /// All where somebody was writing a moment ago.
    pub(super) fn being_written(&self, now: Time) -> impl Iterator<Item = &RelPath> {
        self.due.iter().filter(move |(_, due)| due.is_at_it && due.at > now).map(|(path, _)| path)
    }

    /// Whether a path is to be looked at.
    pub(super) fn holds(&self, path: &RelPath) -> bool {
        self.due.contains_key(path)
    }

    /// Those that are due, at most so many, and whether they are forced.
    pub(super) fn take_due(&mut self, now: Time, at_most: usize) -> Vec<(RelPath, bool)> {
        if self.soonest > now {
            return Vec::new();
        }
        let due = self.due.iter().filter(|(_, due)| due.at <= now).take(at_most);
        let paths: Vec<_> = due.map(|(path, due)| (path.clone(), due.is_forced)).collect();
        for (path, _) in &paths {
            self.due.remove(path);
        }
        self.soonest = self.due.values().map(|due| due.at).min().unwrap_or_default();
        paths
    }

    /// Everything is to be looked through instead. A sweep would pass over what must be taken though it looks as it did, so
    /// that stays: as long as it leaves half of the room for what comes.
    pub(super) fn forget_hints(&mut self) {
        let forced = core::mem::take(&mut self.due).into_iter().filter(|(_, due)| due.is_forced);
        self.due = forced.take(LOOKS_MAX / 2).collect();
        self.soonest = self.due.values().map(|due| due.at).min().unwrap_or_default();
        self.below.clear();
        self.warm.clear();
    }

    /// Folders that are due to be looked through.
    pub(super) fn take_due_below(&mut self, now: Time) -> Vec<RelPath> {
        self.below.extract_if(.., |_, at| *at <= now).map(|(folder, _)| folder).collect()
    }

    /// Something happened somewhere below a folder. What it is, and that somebody is still at it, may be told next.
    pub(super) fn hear_below(&mut self, folder: RelPath, now: Time) {
        self.below.entry(folder).or_insert(now.after(LOOK_DELAY));
    }

    /// Asks for a path to be looked at, no later than this.
    pub(super) fn add(&mut self, path: RelPath, at: Time, is_forced: bool) {
        let due = self.due.get(&path).copied();
        let due = due.unwrap_or(Due { at, is_forced, window: None, is_at_it: false });
        let window = due.window.map(|Window { from, to }| Window { from: from.min(at), to: to.min(at) });
        self.set(path, Due { at: due.at.min(at), is_forced: due.is_forced || is_forced, window, ..due });
    }

    fn set(&mut self, path: RelPath, due: Due) {
        self.soonest = if self.due.is_empty() { due.at } else { self.soonest.min(due.at) };
        self.due.insert(path, due);
    }

    /// Something happened at a path; `is_at_it`: somebody goes on with it.
    pub(super) fn hear_of(&mut self, path: RelPath, is_at_it: bool, now: Time) {
        let due = self.due.get(&path).copied();
        let (window, latest) = match due {
            Some(Due { window: Some(window), .. }) => (window, window.to),
            // It was read while it changed, and is left alone for a while. That it goes on is no news; its end is.
            Some(_) if is_at_it => return,
            other => {
                let wait = self.warm_up(&path, now);
                let window = Window { from: now.after(wait), to: now.after(wait.max(LOOK_WAIT_MAX)) };
                (window, other.map_or(window.to, |due| due.at.min(window.to)))
            }
        };
        let delay = if is_at_it { WRITTEN_DELAY } else { LOOK_DELAY };
        let at = now.after(delay).max(window.from).min(latest);
        let is_forced = due.is_some_and(|due| due.is_forced);
        let window = Some(Window { to: latest, ..window });
        self.set(path, Due { at, is_forced, window, is_at_it });
    }

    /// A look has found nothing new: it does not count as one. What we put in place ourselves is told of too (I13).
    pub(super) fn was_for_nothing(&mut self, path: &RelPath) {
        let each = u64::try_from(WARM_WAIT_MAX.as_nanos()).unwrap_or(u64::MAX);
        if let Some(until) = self.warm.get_mut(path) {
            *until = Time(until.0.saturating_sub(each));
        }
    }

    /// How long a path is left alone at least, after it was looked at more and more often.
    fn warm_up(&mut self, path: &RelPath, now: Time) -> Duration {
        if self.warm.len() > LOOKS_MAX {
            self.warm.retain(|_, until| *until > now);
            if self.warm.len() > LOOKS_MAX {
                self.warm.clear();
            }
        }
        let until = self.warm.get(path).copied().unwrap_or_default().max(now);
        self.warm.insert(path.clone(), until.after(WARM_WAIT_MAX));
        let looks = until.since(now).as_nanos() / WARM_WAIT_MAX.as_nanos();
        let looks = u32::try_from(looks).unwrap_or(u32::MAX);
        match looks.checked_sub(WARM_LOOKS) {
            None => Duration::ZERO,
            Some(more) => WARM_WAIT_MIN.saturating_mul(1 << more.min(16)).min(WARM_WAIT_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> RelPath {
        RelPath::parse(b"p").unwrap()
    }

    fn at(millis: u64) -> Time {
        Time::ZERO.after(Duration::from_millis(millis))
    }

    /// When a path is looked at, in milliseconds, if these things happen there: when, and whether it goes on.
    fn looked(happens: impl IntoIterator<Item = (u64, bool)>) -> Vec<u64> {
        let (mut looks, mut looked) = (Looks::default(), Vec::new());
        let mut go_to = |looks: &mut Looks, now: Time| {
            while let Some(next) = looks.next().filter(|next| *next <= now) {
                // It may have been put off since.
                if let [look] = &looks.take_due(next, 9)[..] {
                    assert_eq!(*look, (path(), false));
                    looked.push(u64::try_from(next.since(Time::ZERO).as_millis()).unwrap());
                }
            }
        };
        for (millis, is_at_it) in happens {
            go_to(&mut looks, at(millis));
            looks.hear_of(path(), is_at_it, at(millis));
        }
        go_to(&mut looks, Time(u64::MAX));
        looked
    }

    #[test]
    fn what_is_over_is_looked_at_soon_and_what_goes_on_when_it_pauses() {
        assert_eq!(looked([(100, false)]), [110]);
        assert_eq!(looked([(100, true)]), [150]);
        assert_eq!(looked([(100, true), (120, false)]), [130]);
        assert_eq!(looked([(100, true), (140, true), (170, true)]), [220]);
        // The end of one thing may be the beginning of the next.
        assert_eq!(looked([(100, false), (105, true), (130, true), (131, false)]), [141]);
        assert_eq!(looked([(100, false), (105, false), (110, false)]), [120]);
        // Who never pauses is not waited for.
        assert_eq!(looked((100..=300).step_by(10).map(|millis| (millis, true)))[0], 300);
    }

    /// E4: a file that always changes costs less and less, is never forgotten, and is quick again after a rest.
    #[test]
    fn e4_what_happens_all_the_time_is_looked_at_ever_more_seldom() {
        for is_at_it in [false, true] {
            let times = looked((0..100_000).step_by(5).map(|millis| (millis, is_at_it)));
            let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(pauses.iter().all(|pause| *pause <= 5_020), "{pauses:?}");
            assert!(times.len() < 40, "{times:?}");
            let last = pauses[pauses.len() - 5..].iter().sum::<u64>() / 5;
            assert!(last > 3_000, "{pauses:?}");
        }
        let busy = (0..20_000).step_by(5);
        let times = looked(busy.chain([200_000]).map(|millis| (millis, false)));
        assert_eq!(times.last(), Some(&200_010));
        // Saving every few seconds is no such thing.
        let saves = looked((0..300).map(|save| (save * 5_000, false)));
        assert!((0..300).eq(saves.iter().map(|look| (look - 10) / 5_000)), "{saves:?}");
    }

    /// I13: what we did ourselves does not make us slower to see what the user does next.
    #[test]
    fn i13_looks_that_find_nothing_do_not_count() {
        let mut looks = Looks::default();
        for number in 0..1_000 {
            let now = at(number * 100);
            looks.hear_of(path(), false, now);
            assert_eq!(looks.take_due(now.after(LOOK_DELAY), 9).len(), 1, "{number}");
            looks.was_for_nothing(&path());
        }
    }

    #[test]
    fn what_is_read_again_later_is_so_until_it_rests() {
        let mut looks = Looks::default();
        looks.add(path(), at(5_000), true);
        looks.hear_of(path(), true, at(100));
        assert_eq!(looks.next(), Some(at(5_000)));
        looks.hear_of(path(), false, at(200));
        assert_eq!(looks.next(), Some(at(210)));
        looks.hear_of(path(), true, at(205));
        looks.add(path(), at(220), false);
        looks.hear_of(path(), true, at(215));
        assert_eq!(looks.take_due(at(220), 9), [(path(), true)]);
        assert!(looks.is_empty());
    }

    /// Too many hints are answered by a sweep, which does not see what must be taken though it looks as it did.
    #[test]
    fn what_is_forced_outlives_hints_that_are_too_many() {
        let mut looks = Looks::default();
        let numbered = |number: usize| RelPath::parse(format!("{number:05}").as_bytes()).unwrap();
        looks.add(numbered(7), at(5_000), true);
        for number in 0..100 {
            looks.hear_of(numbered(number), false, at(1));
        }
        looks.hear_below(path(), at(1));
        looks.forget_hints();
        assert_eq!((looks.len(), looks.next()), (1, Some(at(11))));
        assert_eq!(looks.take_due(at(11), 9), [(numbered(7), true)]);
        for number in 0..LOOKS_MAX {
            looks.add(numbered(number), at(5_000), true);
        }
        looks.forget_hints();
        assert_eq!((looks.len(), looks.next()), (LOOKS_MAX / 2, Some(at(5_000))));
    }

    #[test]
    fn folders_are_looked_through_when_it_may_be_known_what_is_being_written_there() {
        let mut looks = Looks::default();
        looks.hear_below(path(), at(100));
        looks.hear_below(path(), at(105));
        looks.hear_of(path(), true, at(104));
        assert_eq!((looks.next(), looks.len()), (Some(at(110)), 2));
        assert!(!looks.has_due(at(109)) && looks.take_due_below(at(109)).is_empty());
        assert!(looks.has_due(at(110)) && looks.is_being_written(&path(), at(110)));
        assert_eq!(looks.take_due_below(at(110)), [path()]);
        assert!(!looks.has_due(at(110)) && !looks.is_being_written(&path(), at(154)));
        looks.hear_of(path(), false, at(120));
        assert!(!looks.is_being_written(&path(), at(120)));
    }

    #[test]
    fn i30_what_is_remembered_of_hints_is_bounded() {
        let mut looks = Looks::default();
        for number in 0..3 * LOOKS_MAX {
            looks.hear_of(RelPath::parse(format!("{number}").as_bytes()).unwrap(), false, at(1));
            looks.take_due(at(11), 9);
        }
        assert!(looks.warm.len() <= LOOKS_MAX + 1);
    }
}
