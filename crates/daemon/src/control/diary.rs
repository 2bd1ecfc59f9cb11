//! What has happened lately, numbered, for whoever wants to follow.
//!
//! Promise: noting never waits, whoever reads; the last [`EVENTS_KEPT`] events are kept, and each reader sees each of them
//! once, in order, or is told how many it missed. A reader is nothing but a number, so a slow one costs nothing.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shoal_proto::id::ShareId;
use tokio::sync::watch;

use super::report::{Event, Happening, Position};
use super::text::{Id, Moment};
use super::types::Watching;

/// So many events are kept: some minutes of a busy share, in about a megabyte.
pub const EVENTS_KEPT: usize = 4096;

/// So many are given to a reader at once.
const EVENTS_AT_ONCE: usize = 64;

/// The events of one run of a daemon.
#[derive(Debug)]
pub struct Diary {
    run: u64,
    kept: Mutex<VecDeque<Event>>,
    /// The number of the last event; wakes readers.
    last: watch::Sender<u64>,
}

/// How far somebody has read.
#[derive(Debug)]
pub struct Cursor {
    read: u64,
    last: watch::Receiver<u64>,
}

impl Diary {
    /// An empty one. `run` is random, so that a reader of an earlier run is recognised.
    #[must_use]
    pub fn new(run: u64) -> Self {
        // Numbers in JSON are exact below 2^53 for every reader.
        Self { run: run >> 16, kept: Mutex::default(), last: watch::Sender::new(0) }
    }

    /// Notes that something happened.
    pub fn note(&self, share: Option<ShareId>, happening: Happening) {
        let mut kept = self.kept();
        let sequence = *self.last.borrow() + 1;
        let position = Position { run: self.run, sequence };
        if kept.len() == EVENTS_KEPT {
            kept.pop_front();
        }
        kept.push_back(Event { position, when: Moment::now(), share: share.map(Id), happening });
        self.last.send_replace(sequence);
    }

    /// The last event.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { run: self.run, sequence: *self.last.borrow() }
    }

    /// Begins to read after that event, or with the next that happens.
    #[must_use]
    pub fn follow(&self, after: Option<Position>) -> (Watching, Cursor) {
        let kept = self.kept();
        let now = self.position();
        let oldest = now.sequence - kept.len() as u64;
        let (after, missed) = match after {
            None => (now, false),
            Some(after) if after.run == self.run && (oldest..=now.sequence).contains(&after.sequence) => {
                (after, false)
            }
            Some(_) => (now, true),
        };
        (Watching { after, missed }, Cursor { read: after.sequence, last: self.last.subscribe() })
    }

    /// The next events, when there are some; never none.
    pub async fn next(&self, cursor: &mut Cursor) -> Vec<Event> {
        loop {
            // Marked as seen before it is looked, so that what comes meanwhile wakes again.
            cursor.last.borrow_and_update();
            let events = self.after(&mut cursor.read);
            if !events.is_empty() {
                return events;
            }
            if cursor.last.changed().await.is_err() {
                // The sender is a part of this diary, which is borrowed.
                std::future::pending::<()>().await;
            }
        }
    }

    fn after(&self, read: &mut u64) -> Vec<Event> {
        let kept = self.kept();
        let last = *self.last.borrow();
        let oldest = last - kept.len() as u64;
        let mut events = Vec::new();
        if *read < oldest {
            let position = Position { run: self.run, sequence: oldest };
            let happening = Happening::Missed { events: oldest - *read };
            events.push(Event { position, when: Moment::now(), share: None, happening });
            *read = oldest;
        }
        let skipped = usize::try_from(*read - oldest).unwrap_or(usize::MAX);
        events.extend(kept.iter().skip(skipped).take(EVENTS_AT_ONCE).cloned());
        *read = events.last().map_or(*read, |event| event.position.sequence);
        events
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Event>> {
        // Nothing is left half done by who panics with it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(number: u64) -> Happening {
        Happening::Warning { message: number.to_string() }
    }

    fn told(events: &[Event]) -> Vec<(u64, String)> {
        let text = |event: &Event| match &event.happening {
            Happening::Warning { message } => message.clone(),
            Happening::Missed { events } => format!("missed {events}"),
            other => panic!("{other:?}"),
        };
        events.iter().map(|event| (event.position.sequence, text(event))).collect()
    }

    #[tokio::test]
    async fn a_reader_sees_every_event_once_and_in_order() {
        let diary = Diary::new(7 << 16);
        diary.note(None, warning(1));
        let (watching, mut cursor) = diary.follow(None);
        assert_eq!(watching, Watching { after: Position { run: 7, sequence: 1 }, missed: false });
        for number in 2..=100 {
            diary.note(None, warning(number));
        }
        let mut seen = Vec::new();
        while seen.len() < 99 {
            seen.extend(told(&diary.next(&mut cursor).await));
        }
        assert_eq!(seen, (2..=100).map(|number| (number, number.to_string())).collect::<Vec<_>>());

        let again = diary.follow(Some(Position { run: 7, sequence: 99 }));
        assert!(!again.0.missed);
        let mut cursor = again.1;
        assert_eq!(told(&diary.next(&mut cursor).await), [(100, "100".to_owned())]);
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let diary = std::sync::Arc::new(Diary::new(0));
        let (_, mut cursor) = diary.follow(None);
        let writer = std::sync::Arc::clone(&diary);
        let task = tokio::spawn(async move { told(&diary.next(&mut cursor).await) });
        tokio::task::yield_now().await;
        writer.note(None, warning(1));
        assert_eq!(task.await.unwrap(), [(1, "1".to_owned())]);
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told_how_much_is_missing() {
        let diary = Diary::new(0);
        let (_, mut slow) = diary.follow(None);
        let more = 10;
        for number in 1..=(EVENTS_KEPT as u64 + more) {
            diary.note(None, warning(number));
        }
        let first = told(&diary.next(&mut slow).await);
        assert_eq!(first[0], (more, format!("missed {more}")));
        assert_eq!(first[1], (more + 1, (more + 1).to_string()));
        assert_eq!(diary.kept().len(), EVENTS_KEPT);
    }

    #[test]
    fn a_position_that_is_not_kept_any_more_is_said_to_be_missed() {
        let diary = Diary::new(3 << 16);
        diary.note(None, warning(1));
        let run = diary.position().run;
        for position in [Position { run: run + 1, sequence: 1 }, Position { run, sequence: 2 }] {
            let (watching, _) = diary.follow(Some(position));
            assert_eq!(watching, Watching { after: diary.position(), missed: true });
        }
        for number in 0..EVENTS_KEPT as u64 {
            diary.note(None, warning(number));
        }
        assert!(!diary.follow(Some(Position { run, sequence: 1 })).0.missed);
        assert!(diary.follow(Some(Position { run, sequence: 0 })).0.missed);
    }
}
