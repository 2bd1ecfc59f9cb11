//! When watchers of a topic hear what has changed, and how much somebody may ask for.
//!
//! Promise: the first change after a quiet time is told after [`PUSH_PAUSE_MIN`], and while there is more and more to
//! tell the pause doubles up to [`PUSH_PAUSE_MAX`]; so a thousand newcomers, or one that comes and goes, cost a few
//! messages.

use std::time::Duration;

use shoal_classic::Time;

use crate::limits::{PUSH_PAUSE_MAX, PUSH_PAUSE_MIN, PUSH_QUIET};

/// The rhythm of one topic.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// When it is told next, if something changed.
    pub(super) due: Option<Time>,
    told: Option<Time>,
    pause: Duration,
}

impl Pace {
    /// Something changed; when it is to be told, unless that was known.
    pub(super) fn changed(&mut self, now: Time) -> Option<Time> {
        if self.due.is_some() {
            return None;
        }
        self.pause = match self.told {
            Some(told) if now.since(told) < PUSH_QUIET => {
                (self.pause * 2).clamp(PUSH_PAUSE_MIN, PUSH_PAUSE_MAX)
            }
            _ => PUSH_PAUSE_MIN,
        };
        self.due = Some(now + self.pause);
        self.due
    }

    /// It is being told.
    pub(super) fn told(&mut self, now: Time) {
        self.due = None;
        self.told = Some(now);
    }
}

/// So many at once, and then so many a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    left: u32,
    at: Time,
}

impl Bucket {
    pub(super) const fn full(burst: u32, now: Time) -> Self {
        Self { left: burst, at: now }
    }

    /// Whether one more is allowed.
    pub(super) fn take(&mut self, burst: u32, per_second: u32, now: Time) -> bool {
        let earned = now.since(self.at).as_millis() * u128::from(per_second) / 1000;
        if earned > 0 {
            // What is less than one stays to be earned.
            let spent = Duration::from_millis(
                u64::try_from(earned).unwrap_or(u64::MAX).saturating_mul(1000) / u64::from(per_second),
            );
            self.at = if earned >= u128::from(burst) { now } else { self.at + spent };
            self.left = burst.min(self.left.saturating_add(u32::try_from(earned).unwrap_or(burst)));
        }
        let is_allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_there_is_much_to_tell_and_shrink_after() {
        let (mut pace, mut now, mut pauses) = (Pace::default(), Time::START, Vec::new());
        for _ in 0..10 {
            let due = pace.changed(now).unwrap();
            assert_eq!(pace.changed(now), None, "one time for all changes");
            pauses.push(due.since(now));
            now = due;
            pace.told(now);
        }
        assert!(
            pauses.is_sorted() && pauses[0] == PUSH_PAUSE_MIN && pauses[9] == PUSH_PAUSE_MAX,
            "{pauses:?}"
        );
        assert_eq!(pace.changed(now + PUSH_QUIET), Some(now + PUSH_QUIET + PUSH_PAUSE_MIN));
    }

    #[test]
    fn a_bucket_is_filled_again_in_time() {
        let mut bucket = Bucket::full(3, Time::START);
        let mut allowed = |millis| bucket.take(3, 10, Time::START + Duration::from_millis(millis));
        assert_eq!([0; 4].map(&mut allowed), [true, true, true, false]);
        assert_eq!([99, 100, 150, 199, 200].map(&mut allowed), [false, true, false, false, true]);
        assert_eq!([90_000; 4].map(&mut allowed), [true, true, true, false]);
    }
}
