//! Time as the sessions see it: a count that only ever grows, made by whoever drives them.

use core::time::Duration;

/// A moment, as nanoseconds since some start that all values of one run share.
///
/// Monotonic and unrelated to any calendar, so clocks that jump cannot disturb a deadline (`I29`). Covers
/// 584 years; arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub struct Time(u64);

impl Time {
    /// The first moment of a run.
    pub const START: Self = Self(0);

    /// The moment `elapsed` after the start of the run.
    #[must_use]
    pub fn after_start(elapsed: Duration) -> Self {
        Self::START + elapsed
    }

    /// How long after the start of the run this is.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Time {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let end = Time::START + Duration::MAX;
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(Time::START.since(end), Duration::ZERO);
        assert_eq!(Time::after_start(Duration::from_secs(3)).since(Time::START), Duration::from_secs(3));
    }
}
