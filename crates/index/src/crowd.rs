//! Which rows may name a hash that many may name: one content can be had by a million paths.
//!
//! Promise: as [`Table`](crate::table::Table), but putting in, taking out and finding the first row take the same time
//! however many rows name the hash, since others choose how many do (I25); some 16 bytes for each.

use std::collections::BTreeSet;

use crate::table::tag_of;

/// A multimap from hashes to row numbers, in order.
#[derive(Debug, Default)]
pub(crate) struct Crowd(BTreeSet<(u32, u32)>);

/// Bytes that an entry takes on average: eight, in nodes that are some two thirds full, and what is above them.
const ENTRY_BYTES: usize = 16;

impl Crowd {
    /// Puts a row in; a second time is the same as once.
    pub(crate) fn insert(&mut self, hash: u64, row: u32) {
        self.0.insert((tag_of(hash), row));
    }

    /// Takes a row out.
    pub(crate) fn remove(&mut self, hash: u64, row: u32) {
        self.0.remove(&(tag_of(hash), row));
    }

    /// The rows that may hold this hash, in order.
    pub(crate) fn rows(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let tag = tag_of(hash);
        self.0.range((tag, 0)..=(tag, u32::MAX)).map(|(_, row)| *row)
    }

    /// Takes in many at once, which is faster.
    pub(crate) fn fill(&mut self, mut entries: Vec<(u64, u32)>) {
        entries.sort_unstable_by_key(|(hash, row)| (tag_of(*hash), *row));
        let fresh: BTreeSet<_> = entries.into_iter().map(|(hash, row)| (tag_of(hash), row)).collect();
        if self.0.is_empty() { self.0 = fresh } else { self.0.extend(fresh) }
    }

    /// Bytes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.0.len() * ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_rows_of_one_hash_are_no_burden() {
        let mut crowd = Crowd::default();
        crowd.fill((1..=1_000_000).map(|row| (7, row)).collect());
        crowd.insert(8, 5);
        crowd.insert(7, 1_000_001);
        crowd.remove(7, 1);
        crowd.remove(9, 1);
        assert_eq!(crowd.rows(7).next(), Some(2));
        assert_eq!(crowd.rows(7).count(), 1_000_000);
        assert_eq!(crowd.rows(8).collect::<Vec<_>>(), [5]);
        crowd.remove(8, 5);
        assert_eq!(crowd.rows(8).count(), 0);
        assert!(crowd.bytes() >= 8_000_000);
    }
}
