//! How many bytes a second go over a connection.
//!
//! Promise: noting bytes costs a lock that nobody holds for long, and nothing runs by itself: whoever asks adds up.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many seconds before the present one are counted.
const SECONDS: u8 = 3;

/// And the present one.
const SLOTS: usize = SECONDS as usize + 1;

/// Bytes that go one way, by the second in which they did.
#[derive(Debug)]
pub(super) struct Meter {
    began: Instant,
    /// A second, and its bytes; each second has its slot.
    seconds: Mutex<[(u64, u64); SLOTS]>,
}

/// Both ways of a connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) inward: Meter,
    pub(super) outward: Meter,
}

impl Default for Meter {
    fn default() -> Self {
        Self { began: Instant::now(), seconds: Mutex::default() }
    }
}

impl Meter {
    /// So many have just gone.
    pub(super) fn add(&self, bytes: usize) {
        self.add_at(self.began.elapsed(), bytes);
    }

    /// How many a second there were over the last seconds.
    pub(super) fn per_second(&self) -> u64 {
        self.per_second_at(self.began.elapsed())
    }

    fn add_at(&self, at: Duration, bytes: usize) {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let second = at.as_secs();
        let slot = usize::try_from(second % SLOTS as u64).unwrap_or(0);
        let (held, sum) = &mut seconds[slot];
        if *held != second {
            (*held, *sum) = (second, 0);
        }
        *sum = sum.saturating_add(bytes as u64);
    }

    fn per_second_at(&self, at: Duration) -> u64 {
        let first = at.as_secs().saturating_sub(SECONDS.into());
        let seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let sum: u64 = seconds.iter().filter(|(second, _)| *second >= first).map(|(_, sum)| sum).sum();
        let counted = at.saturating_sub(Duration::from_secs(first)).max(Duration::from_secs(1));
        let millis = u64::try_from(counted.as_millis()).unwrap_or(u64::MAX);
        sum.saturating_mul(1000) / millis
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_seconds_count_and_nothing_older() {
        let meter = Meter::default();
        let at = Duration::from_millis;
        meter.add_at(at(0), 500);
        assert_eq!(meter.per_second_at(at(10)), 500, "a moment is not taken for a second's tenth");
        meter.add_at(at(900), 500);
        assert_eq!(meter.per_second_at(at(2000)), 500);
        for tenth in 0..40 {
            meter.add_at(at(10_000 + tenth * 100), 100);
        }
        // Those of three seconds, in three seconds.
        assert_eq!(meter.per_second_at(at(14_000)), 1000);
        assert_eq!(meter.per_second_at(at(30_000)), 0);
    }
}
