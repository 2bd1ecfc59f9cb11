//! The hashes of all records by leaf, and the row of each: what agreeing asks for all the time.
//!
//! Promise: a leaf's hashes stand together, ascending, each once, so that they can be lent; some 40 bytes for each.

use shoal_proto::digest::{LEAVES, Leaf};
use shoal_proto::hash::{RecordHash, prefix};

/// The records of the share by leaf.
#[derive(Debug)]
pub(crate) struct Leaves(Vec<Records>);

#[derive(Clone, Debug, Default)]
struct Records {
    hashes: Vec<RecordHash>,
    rows: Vec<u32>, // in the order of the hashes
}

/// By how many records a full leaf grows: doubling would waste half of what a million files take.
const GROWS_BY: usize = 4;

/// How many records a leaf has that somebody may have crowded: there nothing is even.
const CROWDED: usize = 128;

impl Leaves {
    /// Puts a record in, which is not there.
    pub(crate) fn insert(&mut self, leaf: Leaf, hash: &RecordHash, row: u32) {
        let records = &mut self.0[usize::from(leaf.0)];
        let at = records.place_of(hash);
        records.grow();
        records.hashes.insert(at, *hash);
        records.rows.insert(at, row);
    }

    /// Puts in one of many, in any order; [`Self::sort`] comes after the last of them and before anything is asked.
    pub(crate) fn append(&mut self, leaf: Leaf, hash: &RecordHash, row: u32) {
        let records = &mut self.0[usize::from(leaf.0)];
        records.grow();
        records.hashes.push(*hash);
        records.rows.push(row);
    }

    /// Puts what was appended in order.
    pub(crate) fn sort(&mut self) {
        let mut sorted: Vec<(RecordHash, u32)> = Vec::new();
        for records in &mut self.0 {
            sorted.clear();
            sorted.extend(records.hashes.iter().copied().zip(records.rows.iter().copied()));
            sorted.sort_unstable();
            for (at, (hash, row)) in sorted.iter().enumerate() {
                (records.hashes[at], records.rows[at]) = (*hash, *row);
            }
        }
    }

    /// Room in each leaf for its part of so many records, and some more, since the parts are not even.
    pub(crate) fn reserve(&mut self, records: usize) {
        let part = records / LEAVES;
        // About one deviation more, so that few leaves grow and little is left empty.
        let each = part + part.isqrt();
        for leaf in &mut self.0 {
            leaf.hashes.reserve_exact(each);
            leaf.rows.reserve_exact(each);
        }
    }

    /// Takes a record out.
    pub(crate) fn remove(&mut self, leaf: Leaf, hash: &RecordHash) {
        let records = &mut self.0[usize::from(leaf.0)];
        let at = records.place_of(hash);
        if records.hashes.get(at) == Some(hash) {
            records.hashes.remove(at);
            records.rows.remove(at);
        }
    }

    /// The hashes of a leaf, ascending.
    pub(crate) fn hashes(&self, leaf: Leaf) -> &[RecordHash] {
        &self.0[usize::from(leaf.0)].hashes
    }

    /// The rows of a leaf's records, in the order of their hashes.
    pub(crate) fn rows(&self, leaf: Leaf) -> &[u32] {
        &self.0[usize::from(leaf.0)].rows
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let of = |records: &Records| records.hashes.capacity() * 32 + records.rows.capacity() * 4;
        self.0.capacity() * size_of::<Records>() + self.0.iter().map(of).sum::<usize>()
    }
}

impl Records {
    /// Where a hash stands, or would stand. Hashes are spread evenly, so it is mostly near the part of the way that its
    /// first bytes say; looking there reads less of the leaf, which is what costs, than going by halves.
    fn place_of(&self, hash: &RecordHash) -> usize {
        if self.hashes.len() > CROWDED {
            return self.hashes.partition_point(|other| other < hash);
        }
        let part = prefix(hash.as_bytes()) >> 32;
        let mut at = usize::try_from((part * self.hashes.len() as u64) >> 32).unwrap_or(0);
        while at > 0 && self.hashes[at - 1] >= *hash {
            at -= 1;
        }
        while self.hashes.get(at).is_some_and(|other| other < hash) {
            at += 1;
        }
        at
    }

    /// Makes room for one more.
    fn grow(&mut self) {
        if self.hashes.len() == self.hashes.capacity() {
            let more = GROWS_BY.max(self.hashes.len() / 8);
            self.hashes.reserve_exact(more);
            self.rows.reserve_exact(more);
        }
    }
}

impl Default for Leaves {
    fn default() -> Self {
        Self(vec![Records::default(); LEAVES])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn hash() -> impl Strategy<Value = RecordHash> {
        // Even ones, and such as differ at their very end.
        let crowded = (0..3_u8, any::<u8>()).prop_map(|(first, last)| {
            let mut bytes = [first.wrapping_mul(0x7f); 32];
            bytes[31] = last;
            bytes
        });
        prop_oneof![any::<[u8; 32]>(), crowded].prop_map(RecordHash::from_bytes)
    }

    proptest! {
        #[test]
        fn hashes_are_in_order_with_their_rows_whether_put_in_or_appended(
            hashes in proptest::collection::btree_set(hash(), 0..2 * CROWDED), gone in any::<u64>()
        ) {
            let leaf = Leaf(7);
            let mut given: Vec<_> = hashes.iter().copied().zip(1..).collect();
            // Another order, the same every time.
            given.sort_by_key(|(hash, row)| (row * 7 % 5, *hash));
            let (mut inserted, mut appended) = (Leaves::default(), Leaves::default());
            appended.reserve(usize::from(u16::MAX) * 2);
            for (hash, row) in &given {
                inserted.insert(leaf, hash, *row);
                appended.append(leaf, hash, *row);
            }
            appended.sort();
            let mut left: BTreeSet<_> = given.into_iter().collect();
            for leaves in [&inserted, &appended] {
                prop_assert!(leaves.hashes(leaf).iter().eq(left.iter().map(|(hash, _)| hash)));
                prop_assert!(leaves.rows(leaf).iter().eq(left.iter().map(|(_, row)| row)));
            }
            let some: Vec<_> = left.iter().copied().filter(|(_, row)| gone >> (row % 64) & 1 == 1).collect();
            for one in some {
                inserted.remove(leaf, &one.0);
                inserted.remove(leaf, &one.0);
                left.remove(&one);
            }
            prop_assert!(inserted.hashes(leaf).iter().eq(left.iter().map(|(hash, _)| hash)));
            prop_assert!(inserted.rows(leaf).iter().eq(left.iter().map(|(_, row)| row)));
        }
    }
}
