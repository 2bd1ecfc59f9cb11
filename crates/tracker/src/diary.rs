//! Log lines, rationed: a flood of bad input cannot fill a disk.

use std::cell::Cell;

use shoal_classic::Time;

use crate::limits::{LOG_LINES_MAX, LOG_WINDOW};

/// Lets so many lines through per window, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Ration {
    window: Cell<Time>,
    lines: Cell<u32>,
    left_out: Cell<u64>,
}

impl Ration {
    /// Whether a line may be written now; and then, how many were not since the last one.
    pub(crate) fn admit(&self, now: Time) -> Option<u64> {
        if now.since(self.window.get()) >= LOG_WINDOW {
            self.window.set(now);
            self.lines.set(0);
        }
        if self.lines.get() == LOG_LINES_MAX {
            self.left_out.set(self.left_out.get() + 1);
            return None;
        }
        self.lines.set(self.lines.get() + 1);
        Some(self.left_out.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i30_a_flood_is_told_in_a_bounded_number_of_lines() {
        let ration = Ration::default();
        let told = (0..1_000).filter(|_| ration.admit(Time::START).is_some()).count();
        assert_eq!(told, LOG_LINES_MAX as usize);
        assert_eq!(ration.admit(Time::START + LOG_WINDOW), Some(1_000 - u64::from(LOG_LINES_MAX)));
        assert_eq!(ration.admit(Time::START + LOG_WINDOW), Some(0));
    }
}
