//! Waiting until no more of something comes.
//!
//! Promise: it is over a moment after the last of it, and a while after the first at the latest.

use core::time::Duration;

use crate::limits::{LULL, LULL_WAIT_MAX};
use crate::time::Time;

/// When something came first, and last; `None`: nothing is waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lull(Option<(Time, Time)>);

impl Lull {
    /// More of it came.
    pub(super) fn more(&mut self, now: Time) {
        let first = self.0.map_or(now, |(first, _)| first);
        self.0 = Some((first, now));
    }

    /// What comes from now on is something else.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    /// When it is over, if no more comes.
    pub(super) fn over_at(&self) -> Option<Time> {
        self.0.map(|(first, last)| last.after(LULL).min(first.after(LULL_WAIT_MAX)))
    }

    /// When it is over, whatever comes.
    pub(super) fn over_at_latest(&self) -> Option<Time> {
        self.0.map(|(first, _)| first.after(LULL_WAIT_MAX))
    }

    /// When it is over, if it is to last so long at least.
    pub(super) fn over_after(&self, wait: Duration) -> Option<Time> {
        self.0.map(|(first, _)| first.after(wait)).max(self.over_at())
    }

    /// Whether it is over, or nothing came.
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.over_at().is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_when_no_more_comes_or_after_a_while() {
        let mut lull = Lull::default();
        assert!(lull.is_over(Time::ZERO));
        let begin = Time(1_000_000_000);
        let mut now = begin;
        while now < begin.after(LULL_WAIT_MAX) {
            lull.more(now);
            assert!(!lull.is_over(now));
            now = now.after(LULL / 2);
        }
        assert!(lull.is_over(now), "it goes on for too long");
        lull.end();
        assert_eq!(lull.over_after(LULL), None);
        lull.more(now);
        assert_eq!(lull.over_after(LULL / 2), Some(now.after(LULL)));
        assert_eq!(lull.over_after(2 * LULL), Some(now.after(2 * LULL)));
        assert_eq!(lull.over_at(), Some(now.after(LULL)));
        assert!(lull.is_over(now.after(LULL)));
    }
}
