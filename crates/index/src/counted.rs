//! How many files on this disk have each content: a compact table in memory, by eight bytes of the content's id.
//!
//! Promise: how many contents there are, and of one how many files have it, costs a look into a table; some 15 to 30
//! bytes for each content. Of two contents with the same eight bytes one is counted too little: chance does not make them,
//! and who does hides one of its own files from a guard that counts many.

/// Counts by hash, by open addressing.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    hashes: Vec<u64>, // none, or a power of two
    counts: Vec<u32>, // 0 where the slot is free
    used: usize,
}

/// The least slots of a table that has any.
const SLOTS_MIN: usize = 16;

impl Counted {
    /// How many contents are counted.
    pub(crate) fn contents(&self) -> u64 {
        self.used as u64
    }

    /// How many files have this content.
    pub(crate) fn count(&self, hash: u64) -> u32 {
        if self.counts.is_empty() { 0 } else { self.counts[self.slot_of(hash)] }
    }

    /// One more file has it.
    pub(crate) fn add(&mut self, hash: u64) {
        if (self.used + 1) * 4 > self.counts.len() * 3 {
            self.grow();
        }
        let at = self.slot_of(hash);
        self.used += usize::from(self.counts[at] == 0);
        self.hashes[at] = hash;
        self.counts[at] = self.counts[at].saturating_add(1);
    }

    /// One file less has it.
    pub(crate) fn remove(&mut self, hash: u64) {
        if self.count(hash) == 0 {
            return;
        }
        let at = self.slot_of(hash);
        self.counts[at] -= 1;
        if self.counts[at] == 0 {
            self.used -= 1;
            self.close(at);
        }
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.hashes.capacity() * size_of::<u64>() + self.counts.capacity() * size_of::<u32>()
    }

    /// Where a hash stands, or would stand. There is a free slot always.
    fn slot_of(&self, hash: u64) -> usize {
        let mut at = self.first(hash);
        while self.counts[at] != 0 && self.hashes[at] != hash {
            at = self.next(at);
        }
        at
    }

    /// Fills the gap from what was pushed past it.
    fn close(&mut self, mut gap: usize) {
        let mask = self.counts.len() - 1;
        let mut at = self.next(gap);
        while self.counts[at] != 0 {
            let ideal = self.first(self.hashes[at]);
            // It may go back to the gap if its own place is not behind it.
            if (at.wrapping_sub(ideal) & mask) >= (at.wrapping_sub(gap) & mask) {
                (self.hashes[gap], self.counts[gap]) = (self.hashes[at], self.counts[at]);
                gap = at;
            }
            at = self.next(at);
        }
        self.counts[gap] = 0;
    }

    fn grow(&mut self) {
        let size = (self.counts.len() * 2).max(SLOTS_MIN);
        let hashes = core::mem::replace(&mut self.hashes, vec![0; size]);
        let counts = core::mem::replace(&mut self.counts, vec![0; size]);
        for (hash, count) in hashes.into_iter().zip(counts).filter(|(_, count)| *count != 0) {
            let at = self.slot_of(hash);
            (self.hashes[at], self.counts[at]) = (hash, count);
        }
    }

    fn first(&self, hash: u64) -> usize {
        crate::table::tag_of(hash) as usize & (self.counts.len() - 1)
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.counts.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_counted_is_what_was_added_less_what_was_removed(
            steps in proptest::collection::vec((any::<bool>(), 0..40_u64), 0..300)
        ) {
            let (mut counted, mut model) = (Counted::default(), BTreeMap::<u64, u32>::new());
            for (is_more, hash) in steps {
                // Few hashes that crowd the same slots.
                let hash = hash % 7 * 1_000_003 + hash / 7;
                if is_more {
                    counted.add(hash);
                    *model.entry(hash).or_default() += 1;
                } else {
                    counted.remove(hash);
                    let left = model.remove(&hash).unwrap_or(0).saturating_sub(1);
                    if left > 0 {
                        model.insert(hash, left);
                    }
                }
                prop_assert_eq!(counted.contents(), model.len() as u64);
                for hash in 0..7 {
                    prop_assert_eq!(counted.count(hash), model.get(&hash).copied().unwrap_or(0));
                }
                for (&hash, &count) in &model {
                    prop_assert_eq!(counted.count(hash), count);
                }
            }
        }
    }

    #[test]
    fn an_empty_table_counts_nothing() {
        let mut counted = Counted::default();
        counted.remove(1);
        assert_eq!((counted.count(1), counted.contents(), counted.bytes()), (0, 0, 0));
    }
}
