//! What is to be thought of later.
//!
//! Promise: each wake has one moment at a time; setting it anew moves it. What is due comes in the order of its moments,
//! and of the wakes within one, so that equal runs are equal.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Time;

/// Wakes with their moments.
#[derive(Clone, Debug)]
pub struct Timers<W> {
    by_time: BTreeSet<(Time, W)>,
    by_wake: BTreeMap<W, Time>,
}

impl<W: Clone + Ord> Timers<W> {
    /// Sets a wake to a moment, whatever it was set to before.
    pub fn set(&mut self, wake: W, at: Time) {
        self.clear(&wake);
        self.by_time.insert((at, wake.clone()));
        self.by_wake.insert(wake, at);
    }

    /// Sets a wake unless it is set to an earlier moment.
    pub fn set_no_later(&mut self, wake: W, at: Time) {
        if self.by_wake.get(&wake).is_none_or(|set| at < *set) {
            self.set(wake, at);
        }
    }

    /// Takes a wake back; fine if it is not set.
    pub fn clear(&mut self, wake: &W) {
        if let Some(at) = self.by_wake.remove(wake) {
            self.by_time.remove(&(at, wake.clone()));
        }
    }

    /// The next moment, and what for.
    #[must_use]
    pub fn next(&self) -> Option<(Time, &W)> {
        self.by_time.first().map(|(at, wake)| (*at, wake))
    }

    /// Takes out the next wake that is due.
    pub fn take_due(&mut self, now: Time) -> Option<W> {
        if self.by_time.first()?.0 > now {
            return None;
        }
        let (_, wake) = self.by_time.pop_first()?;
        self.by_wake.remove(&wake);
        Some(wake)
    }
}

impl<W> Default for Timers<W> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_wake: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_has_one_moment_and_what_is_due_comes_in_order() {
        let mut timers = Timers::default();
        timers.set("scan", Time(9));
        timers.set("ping", Time(5));
        timers.set("scan", Time(3));
        timers.set("dial", Time(3));
        timers.set_no_later("ping", Time(8));
        assert_eq!(timers.next(), Some((Time(3), &"dial")));
        assert_eq!(timers.take_due(Time(2)), None);
        assert_eq!(timers.take_due(Time(9)), Some("dial"));
        timers.set_no_later("ping", Time(1));
        assert_eq!(timers.take_due(Time(9)), Some("ping"));
        assert_eq!(timers.take_due(Time(9)), Some("scan"));
        assert_eq!((timers.take_due(Time(9)), timers.next()), (None, None));
        timers.set("scan", Time(4));
        timers.clear(&"scan");
        timers.clear(&"scan");
        assert_eq!(timers.next(), None);
    }
}
