//! Dots name records; what an author's disk had shown is a [`Seen`].
//!
//! The pair is a *dotted version vector* (Almeida et al., "Scalable and Accurate Causality Tracking for Eventually
//! Consistent Stores", 2014): the dot is never in its own seen, so two records can differ and see the same.

use crate::id::Writer;
use crate::limits::{COUNTER_JUMP_MAX, SEEN_ENTRIES_MAX};

/// The name of a record: the writer that minted it, and how many it had minted in this share by then (from 1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Dot {
    /// Who minted the record.
    pub writer: Writer,
    /// The writer's count, +1 for each record of the share, durable before use; no clock anywhere.
    pub counter: u64,
}

impl Dot {
    /// The dot of a writer's record with this number.
    #[must_use]
    pub const fn new(writer: Writer, counter: u64) -> Self {
        Self { writer, counter }
    }

    /// The one that this writer mints next; `None` at the end of all numbers.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Some(Self { counter: self.counter.checked_add(1)?, ..self })
    }
}

impl core::fmt::Display for Dot {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "{}:{}", self.writer, self.counter)
    }
}

/// For each writer the highest counter of its records, of one path, that were seen, with all that they had seen.
///
/// At most [`SEEN_ENTRIES_MAX`] entries.
#[derive(Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Seen(Box<[Dot]>); // sorted by writer, one each, counters from 1

/// Why a list of entries is no [`Seen`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SeenError {
    /// More than [`SEEN_ENTRIES_MAX`] entries.
    #[error("a version that has seen {0} writers; at most {SEEN_ENTRIES_MAX} are allowed")]
    TooMany(usize),
    /// Out of order, or a writer twice.
    #[error("what a version has seen is not in the order of writers, each once")]
    Unordered,
    /// Counters begin at 1.
    #[error("a version that has seen record 0 of a writer; the first is 1")]
    Zero,
}

impl Seen {
    /// What is listed, in the order of writers, each once.
    ///
    /// # Errors
    /// When it is not such a list, or has more than [`SEEN_ENTRIES_MAX`] entries.
    pub fn new(entries: Vec<Dot>) -> Result<Self, SeenError> {
        if entries.len() > SEEN_ENTRIES_MAX {
            return Err(SeenError::TooMany(entries.len()));
        }
        if !entries.is_sorted_by(|one, next| one.writer < next.writer) {
            return Err(SeenError::Unordered);
        }
        if entries.iter().any(|entry| entry.counter == 0) {
            return Err(SeenError::Zero);
        }
        Ok(Self(entries.into()))
    }

    /// Whether the record with this dot was seen.
    #[must_use]
    pub fn includes(&self, dot: Dot) -> bool {
        self.counter_of(dot.writer) >= dot.counter
    }

    /// Whether all that the other one includes was seen.
    #[must_use]
    pub fn includes_all(&self, other: &Self) -> bool {
        other.0.iter().all(|entry| self.includes(*entry))
    }

    /// The same, with nothing of this dot's writer above it.
    #[must_use]
    pub fn up_to(&self, last: Dot) -> Self {
        let lowered = |entry: &Dot| match entry.writer == last.writer {
            true => Dot { counter: entry.counter.min(last.counter), ..*entry },
            false => *entry,
        };
        Self(self.0.iter().map(lowered).filter(|entry| entry.counter > 0).collect())
    }

    /// The highest counter seen of a writer; 0 if none.
    #[must_use]
    pub fn counter_of(&self, writer: Writer) -> u64 {
        match self.0.binary_search_by_key(&writer, |entry| entry.writer) {
            Ok(at) => self.0[at].counter,
            Err(_) => 0,
        }
    }

    /// The entries, in the order of writers.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Dot> + '_ {
        self.0.iter().copied()
    }

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first entry that is more than 2^20 above the highest counter known of its writer: a record with such a
    /// one is parked until its sender shows the publication, else one absurd number would drop all later edits.
    pub fn jump(&self, known: impl Fn(Writer) -> u64) -> Option<Dot> {
        self.entries().find(|entry| entry.counter > known(entry.writer).saturating_add(COUNTER_JUMP_MAX))
    }
}

/// Gathers what several records had seen.
#[derive(Debug, Default)]
pub(crate) struct SeenJoin {
    entries: Vec<Dot>,
    /// Whose entries must stay.
    needed: Vec<Writer>,
}

impl SeenJoin {
    /// The record with this dot was seen.
    pub(crate) fn dot(&mut self, dot: Dot) -> &mut Self {
        self.entries.push(dot);
        self.need(dot)
    }

    /// What is gathered will include this dot, if anything that comes in does.
    pub(crate) fn need(&mut self, dot: Dot) -> &mut Self {
        self.needed.push(dot.writer);
        self
    }

    /// All of this was seen.
    pub(crate) fn seen(&mut self, seen: &Seen) -> &mut Self {
        self.entries.extend_from_slice(&seen.0);
        self
    }

    /// The highest counter of each writer.
    ///
    /// Honest devices never come near the bound; a hostile one can have claimed to have seen thousands of writers. Then
    /// entries that nobody needs are left out: that costs conflicts, never versions.
    pub(crate) fn finish(&mut self) -> Seen {
        let mut entries = core::mem::take(&mut self.entries);
        // The highest counter of a writer comes first and is the one that stays.
        entries.sort_unstable_by(|one, other| {
            one.writer.cmp(&other.writer).then(other.counter.cmp(&one.counter))
        });
        entries.dedup_by_key(|entry| entry.writer);
        if entries.len() > SEEN_ENTRIES_MAX {
            self.needed.sort_unstable();
            let is_needed = |entry: &Dot| self.needed.binary_search(&entry.writer).is_ok();
            let needed = entries.iter().filter(|entry| is_needed(entry)).count();
            let mut room = SEEN_ENTRIES_MAX.saturating_sub(needed);
            entries.retain(|entry| {
                let stays = is_needed(entry) || room > 0;
                room -= usize::from(stays && !is_needed(entry));
                stays
            });
        }
        Seen(entries.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(writer: u8, counter: u64) -> Dot {
        Dot::new(Writer::from_bytes([writer; 8]), counter)
    }

    #[test]
    fn a_join_keeps_the_highest_counter_of_each_writer() {
        let one = Seen::new(vec![dot(1, 5), dot(2, 1)]).unwrap();
        let join = SeenJoin::default().seen(&one).dot(dot(2, 7)).dot(dot(0, 1)).dot(dot(1, 4)).finish();
        assert_eq!(join, Seen::new(vec![dot(0, 1), dot(1, 5), dot(2, 7)]).unwrap());
        assert!(join.includes(dot(2, 7)) && join.includes(dot(2, 6)));
        assert!(!join.includes(dot(2, 8)) && !join.includes(dot(3, 1)));
    }

    #[test]
    fn what_was_seen_of_one_writer_can_be_cut_off() {
        let seen = Seen::new(vec![dot(1, 5), dot(2, 1)]).unwrap();
        assert_eq!(seen.up_to(dot(1, 3)), Seen::new(vec![dot(1, 3), dot(2, 1)]).unwrap());
        assert_eq!(seen.up_to(dot(1, 0)), Seen::new(vec![dot(2, 1)]).unwrap());
        assert_eq!((seen.up_to(dot(1, 9)), seen.up_to(dot(3, 0))), (seen.clone(), seen));
    }

    #[test]
    fn d10_lists_that_are_no_seen_are_refused() {
        assert_eq!(Seen::new(vec![dot(2, 1), dot(1, 1)]), Err(SeenError::Unordered));
        assert_eq!(Seen::new(vec![dot(1, 1), dot(1, 1)]), Err(SeenError::Unordered));
        assert_eq!(Seen::new(vec![dot(1, 0)]), Err(SeenError::Zero));
        let many =
            |count: u64| (0..count).map(|at| Dot::new(Writer::from_bytes(at.to_be_bytes()), 1)).collect();
        assert!(Seen::new(many(SEEN_ENTRIES_MAX as u64)).is_ok());
        assert_eq!(
            Seen::new(many(SEEN_ENTRIES_MAX as u64 + 1)),
            Err(SeenError::TooMany(SEEN_ENTRIES_MAX + 1))
        );
    }

    #[test]
    fn d10_a_counter_far_above_what_is_known_is_told() {
        let seen = Seen::new(vec![dot(1, COUNTER_JUMP_MAX + 5), dot(2, u64::MAX)]).unwrap();
        let known = |of_one| move |writer| if writer == dot(1, 0).writer { of_one } else { u64::MAX };
        assert_eq!(seen.jump(known(5)), None);
        assert_eq!(seen.jump(known(4)), Some(dot(1, COUNTER_JUMP_MAX + 5)));
        assert_eq!(seen.jump(|_| 6), Some(dot(2, u64::MAX)));
        assert_eq!(Dot { counter: u64::MAX, ..dot(1, 1) }.next(), None);
    }
}
