//! The hashes of all records by leaf: what agreeing asks for all the time.
//!
//! Promise: a leaf's hashes stand together, ascending, each once, so that they can be lent; some 40 bytes for each.

use shoal_proto::digest::{LEAVES, Leaf};
use shoal_proto::hash::{RecordHash, prefix};

/// The records of the share by leaf.
#[derive(Debug)]
pub(crate) struct Leaves(Vec<Vec<RecordHash>>);

/// A full leaf grows by this part of itself: doubling would waste half of what a million files take.
const GROWS_BY: usize = 8;

/// How many records a leaf has that somebody may have crowded: there nothing is even.
const CROWDED: usize = 128;

impl Leaves {
    /// Puts a record in, which is not there.
    pub(crate) fn insert(&mut self, leaf: Leaf, hash: &RecordHash) {
        let hashes = &mut self.0[usize::from(leaf.0)];
        let at = place_of(hash, hashes);
        grow(hashes);
        hashes.insert(at, *hash);
    }

    /// Puts in one of many, in any order; [`Self::sort`] comes after the last of them and before anything is asked.
    pub(crate) fn append(&mut self, leaf: Leaf, hash: &RecordHash) {
        let hashes = &mut self.0[usize::from(leaf.0)];
        grow(hashes);
        hashes.push(*hash);
    }

    /// Puts what was appended in order.
    pub(crate) fn sort(&mut self) {
        for hashes in &mut self.0 {
            hashes.sort_unstable();
        }
    }

    /// Room in each leaf for its part of so many records, and some more, since the parts are not even.
    pub(crate) fn reserve(&mut self, records: usize) {
        let part = records / LEAVES;
        // About one deviation more, so that few leaves grow and little is left empty.
        let each = part + part.isqrt();
        for hashes in &mut self.0 {
            hashes.reserve_exact(each);
        }
    }

    /// Takes a record out.
    pub(crate) fn remove(&mut self, leaf: Leaf, hash: &RecordHash) {
        let hashes = &mut self.0[usize::from(leaf.0)];
        let at = place_of(hash, hashes);
        if hashes.get(at) == Some(hash) {
            hashes.remove(at);
        }
    }

    /// The hashes of a leaf, ascending.
    pub(crate) fn hashes(&self, leaf: Leaf) -> &[RecordHash] {
        &self.0[usize::from(leaf.0)]
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let held: usize = self.0.iter().map(Vec::capacity).sum();
        self.0.capacity() * size_of::<Vec<RecordHash>>() + held * size_of::<RecordHash>()
    }
}

/// Where a hash stands, or would stand. Hashes are spread evenly, so it is mostly near the part of the way that its
/// first bytes say; looking there reads less of the leaf, which is what costs, than going by halves.
fn place_of(hash: &RecordHash, hashes: &[RecordHash]) -> usize {
    if hashes.len() > CROWDED {
        return hashes.partition_point(|other| other < hash);
    }
    let part = prefix(hash.as_bytes()) >> 32;
    let mut at = usize::try_from((part * hashes.len() as u64) >> 32).unwrap_or(0);
    while at > 0 && hashes[at - 1] >= *hash {
        at -= 1;
    }
    while hashes.get(at).is_some_and(|other| other < hash) {
        at += 1;
    }
    at
}

/// Makes room for one more.
fn grow(hashes: &mut Vec<RecordHash>) {
    if hashes.len() == hashes.capacity() {
        hashes.reserve_exact((hashes.len() / GROWS_BY).max(1));
    }
}

impl Default for Leaves {
    fn default() -> Self {
        Self(vec![Vec::new(); LEAVES])
    }
}

#[cfg(test)]
mod tests {
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
        fn hashes_are_in_order_whether_put_in_or_appended(
            hashes in proptest::collection::btree_set(hash(), 0..2 * CROWDED), gone in any::<u64>()
        ) {
            let leaf = Leaf(7);
            // Another order, the same every time.
            let mut given: Vec<_> = hashes.iter().copied().enumerate().collect();
            given.sort_by_key(|(number, hash)| (number * 7 % 5, *hash));
            let (mut inserted, mut appended) = (Leaves::default(), Leaves::default());
            appended.reserve(usize::from(u16::MAX) * 2);
            for (_, hash) in &given {
                inserted.insert(leaf, hash);
                appended.append(leaf, hash);
            }
            appended.sort();
            for leaves in [&inserted, &appended] {
                prop_assert!(leaves.hashes(leaf).iter().eq(&hashes));
            }
            let is_left = |number: usize| gone >> (number % 64) & 1 == 0;
            for (_, hash) in given.iter().filter(|(number, _)| !is_left(*number)) {
                inserted.remove(leaf, hash);
                inserted.remove(leaf, hash);
            }
            let left = hashes.iter().enumerate().filter(|(number, _)| is_left(*number)).map(|(_, hash)| hash);
            prop_assert!(inserted.hashes(leaf).iter().eq(left));
        }
    }
}
