//! One source: how fast it is, what it owes us, what it did wrong.
//!
//! Promise: the faster a source, the more it may owe, between two bounds; a slow one never sits on much.

use crate::limits::{RATE_INTERVAL, WINDOW, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN};
use crate::time::Time;

/// Somebody to fetch from: a connection, in the words of whoever owns it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct SourceId(pub u64);

#[derive(Debug, Default)]
pub(super) struct Source {
    /// Bytes that were asked for and have not come.
    pub(super) owes: u64,
    /// False pieces so far.
    pub(super) strikes: u8,
    /// When something last came, or was asked for when nothing was owed.
    pub(super) heard: Time,
    /// Bytes a second, lately; 0 before it is known.
    rate: u64,
    /// What came since then.
    counted: u64,
    since: Option<Time>,
    /// Nothing was found to ask for after this much news; worth another try from then on.
    idle: Option<(u64, Time)>,
}

impl Source {
    /// Whether more may be asked of it.
    pub(super) fn has_room(&self) -> bool {
        self.owes < self.window()
    }

    /// Whether nothing can have come up for it since it was last looked at.
    pub(super) fn is_idle(&self, news: u64, now: Time) -> bool {
        self.idle.is_some_and(|(seen, again)| seen == news && now < again)
    }

    pub(super) fn found_nothing(&mut self, news: u64, again: Time) {
        self.idle = Some((news, again));
    }

    /// Counts bytes that are asked for.
    pub(super) fn is_asked(&mut self, bytes: u64, now: Time) {
        if self.owes == 0 {
            self.heard = now;
        }
        self.owes += bytes;
    }

    /// Counts bytes that came. None at all are no sign of life.
    pub(super) fn came(&mut self, bytes: u64, now: Time) {
        if bytes == 0 {
            return;
        }
        self.heard = now;
        let Some(since) = self.since else {
            // The first bytes only start the clock: when they were sent is not known.
            self.since = Some(now);
            return;
        };
        self.counted += bytes;
        let took = now.since(since);
        if took < RATE_INTERVAL {
            return;
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let rate =
            u64::try_from(u128::from(self.counted) * 1_000_000_000 / u128::from(nanos)).unwrap_or(u64::MAX);
        self.rate = if self.rate == 0 { rate } else { self.rate - self.rate / 4 + rate / 4 };
        (self.counted, self.since) = (0, Some(now));
    }

    fn window(&self) -> u64 {
        let millis = u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX);
        (self.rate / 1000).saturating_mul(millis).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX)
    }
}
