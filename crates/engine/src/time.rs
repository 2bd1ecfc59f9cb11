//! Time as the engine is told it.
//!
//! Promise: nothing here asks for the time. A [`Time`] counts from a start that only whoever drives the engine knows, so
//! a simulator can make it; it never runs backwards there, whatever wall clocks do (I29).

use core::time::Duration;

/// A moment: nanoseconds since some start, good for 584 years.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The start.
    pub const ZERO: Self = Self(0);

    /// The moment so much later; the last moment there is, if it would be beyond.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it is yet to come.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_ends_instead_of_beginning_anew() {
        let second = Duration::from_secs(1);
        assert_eq!(Time::ZERO.after(second).since(Time::ZERO), second);
        assert_eq!(Time(5).after(Duration::MAX), Time(u64::MAX));
        assert_eq!(Time::ZERO.since(Time(5)), Duration::ZERO);
    }
}
