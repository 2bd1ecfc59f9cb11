//! What is to happen, and when.
//!
//! Promise: time begins at zero and moves only by events; what is due at the same moment happens in the order in which it
//! was asked for. So equal worlds are equal to the last event.

use core::time::Duration;
use std::collections::BTreeMap;

use shoal_engine::time::Time;

/// Events in the order of time.
#[derive(Debug)]
pub struct Queue<E> {
    now: Time,
    asked: u64,
    waiting: BTreeMap<(Time, u64), E>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { now: Time::ZERO, asked: 0, waiting: BTreeMap::new() }
    }
}

impl<E> Queue<E> {
    /// The moment of the event that was taken last.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Lets an event happen at this moment; now, if that is over.
    pub fn at(&mut self, when: Time, event: E) {
        self.asked += 1;
        self.waiting.insert((when.max(self.now), self.asked), event);
    }

    /// Lets an event happen after this time.
    pub fn after(&mut self, wait: Duration, event: E) {
        self.at(self.now.after(wait), event);
    }

    /// When the next event is due.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        self.waiting.keys().next().map(|(when, _)| *when)
    }

    /// Takes the next event; it is its moment now.
    pub fn take(&mut self) -> Option<E> {
        let ((when, _), event) = self.waiting.pop_first()?;
        self.now = when;
        Some(event)
    }

    /// Lets time pass up to this moment, at which nothing earlier may be due.
    pub fn pass_to(&mut self, when: Time) {
        if self.due().is_none_or(|due| due >= when) {
            self.now = self.now.max(when);
        }
    }

    /// All that waits.
    pub fn waiting(&self) -> impl Iterator<Item = &E> {
        self.waiting.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_as_they_were_asked_for() {
        let mut queue = Queue::default();
        queue.at(Time(5), 'c');
        queue.at(Time(3), 'a');
        queue.at(Time(5), 'd');
        queue.at(Time(3), 'b');
        let mut seen = Vec::new();
        while let Some(event) = queue.take() {
            seen.push((queue.now().0, event));
            if event == 'a' {
                queue.at(Time::ZERO, 'l');
            }
        }
        assert_eq!(seen, [(3, 'a'), (3, 'b'), (3, 'l'), (5, 'c'), (5, 'd')], "what is late happens now");
        queue.at(Time(9), 'e');
        queue.pass_to(Time(20));
        assert_eq!(queue.now(), Time(5), "nothing is passed over");
    }
}
