//! How long to wait before a tracker is tried again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The first pause, before it is varied.
const FIRST: Duration = Duration::from_secs(1);

/// The longest.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Pauses that double, each between a quarter and five quarters of what it would be, so that all who lost a tracker at
/// the same moment do not come back at the same moment.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    failures: u32,
}

impl Pauses {
    /// The next pause. `draw` is random.
    pub(super) fn next(&mut self, draw: u64) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        varied(whole, draw)
    }

    /// It went well.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Between a quarter and five quarters of that.
pub(super) fn varied(whole: Duration, draw: u64) -> Duration {
    whole / 4 + whole * u32::try_from(draw % 1000).unwrap_or(0) / 1000
}

/// A number that nobody outside can guess.
pub(super) fn draw() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_vary_and_begin_anew() {
        let mut pauses = Pauses::default();
        let all: Vec<Duration> = (0..12).map(|_| pauses.next(750)).collect();
        assert!(all.is_sorted() && all[0] == FIRST && all[11] == LONGEST, "{all:?}");
        pauses.reset();
        assert_eq!((pauses.next(0), pauses.next(999).as_millis()), (FIRST / 4, 2498));
        assert!((0..100).map(|_| draw()).collect::<std::collections::BTreeSet<_>>().len() > 90);
    }
}
