//! The hashes of all records by leaf, and the row of each: what agreeing asks for all the time.
//!
//! Promise: a leaf's hashes stand together, ascending, each once, so that they can be lent; some 40 bytes for each.

use shoal_proto::digest::{LEAVES, Leaf};
use shoal_proto::hash::RecordHash;

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

impl Leaves {
    /// Puts a record in, which is not there.
    pub(crate) fn insert(&mut self, leaf: Leaf, hash: &RecordHash, row: u32) {
        let records = &mut self.0[usize::from(leaf.0)];
        let at = records.hashes.partition_point(|other| other < hash);
        if records.hashes.len() == records.hashes.capacity() {
            let more = GROWS_BY.max(records.hashes.len() / 8);
            records.hashes.reserve_exact(more);
            records.rows.reserve_exact(more);
        }
        records.hashes.insert(at, *hash);
        records.rows.insert(at, row);
    }

    /// Takes a record out.
    pub(crate) fn remove(&mut self, leaf: Leaf, hash: &RecordHash) {
        let records = &mut self.0[usize::from(leaf.0)];
        if let Ok(at) = records.hashes.binary_search(hash) {
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

impl Default for Leaves {
    fn default() -> Self {
        Self(vec![Records::default(); LEAVES])
    }
}
