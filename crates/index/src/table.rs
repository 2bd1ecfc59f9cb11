//! Which rows may hold a hash: a compact table in memory from eight bytes of the hash to numbers of rows.
//!
//! Promise: a row that was put in under a hash is found under it until it is taken out; some 11 to 22 bytes for each.
//! Others may be found too, since only a part of the hash is kept: who looks verifies.

/// A multimap from hashes to row numbers, by open addressing.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: Vec<Slot>, // none, or a power of two
    used: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    tag: u32,
    row: u32, // 0 where the slot is free
}

/// The least slots of a table that has any.
const SLOTS_MIN: usize = 16;

impl Table {
    /// Puts a row in; rows begin at 1.
    pub(crate) fn insert(&mut self, hash: u64, row: u32) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let mut at = self.first(hash);
        while self.slots[at].row != 0 {
            at = self.next(at);
        }
        self.slots[at] = Slot { tag: tag_of(hash), row };
        self.used += 1;
    }

    /// Takes a row out that was put in once under this hash.
    pub(crate) fn remove(&mut self, hash: u64, row: u32) {
        if self.slots.is_empty() {
            return;
        }
        let mut at = self.first(hash);
        loop {
            let slot = self.slots[at];
            if slot.row == 0 {
                return;
            }
            if slot.row == row && slot.tag == tag_of(hash) {
                break;
            }
            at = self.next(at);
        }
        self.used -= 1;
        self.close(at);
    }

    /// The rows that may hold this hash.
    pub(crate) fn rows(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let mut at = if self.slots.is_empty() { 0 } else { self.first(hash) };
        core::iter::from_fn(move || {
            loop {
                let slot = *self.slots.get(at).filter(|slot| slot.row != 0)?;
                at = self.next(at);
                if slot.tag == tag_of(hash) {
                    return Some(slot.row);
                }
            }
        })
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// Room for so many rows without growing.
    pub(crate) fn reserve(&mut self, rows: usize) {
        while (self.used + rows) * 4 > self.slots.len() * 3 {
            self.grow();
        }
    }

    /// Fills the gap from what was pushed past it.
    fn close(&mut self, mut gap: usize) {
        let mask = self.slots.len() - 1;
        let mut at = self.next(gap);
        while self.slots[at].row != 0 {
            let ideal = self.first_of_tag(self.slots[at].tag);
            // It may go back to the gap if its own place is not behind it.
            if (at.wrapping_sub(ideal) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.slots[gap] = self.slots[at];
                gap = at;
            }
            at = self.next(at);
        }
        self.slots[gap] = Slot::default();
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(SLOTS_MIN);
        let old = core::mem::replace(&mut self.slots, vec![Slot::default(); size]);
        for slot in old.into_iter().filter(|slot| slot.row != 0) {
            let mut at = self.first_of_tag(slot.tag);
            while self.slots[at].row != 0 {
                at = self.next(at);
            }
            self.slots[at] = slot;
        }
    }

    fn first(&self, hash: u64) -> usize {
        self.first_of_tag(tag_of(hash))
    }

    /// The tag alone says where a slot belongs, so that growing needs no hashes.
    fn first_of_tag(&self, tag: u32) -> usize {
        tag as usize & (self.slots.len() - 1)
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len().wrapping_sub(1))
    }
}

/// The upper half of a product into which all bits go: ids that others choose may differ in a few only.
pub(crate) fn tag_of(hash: u64) -> u32 {
    let [a, b, c, d, ..] = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_put_in_is_found_until_it_is_taken_out(
            steps in proptest::collection::vec((any::<bool>(), 0..40_u64, 1..6_u32), 0..300)
        ) {
            let (mut table, mut model) = (Table::default(), BTreeSet::new());
            for (is_in, hash, row) in steps {
                // Few hashes that crowd the same slots.
                let hash = hash % 7 * 1_000_003 + hash / 7;
                if is_in && model.insert((hash, row)) {
                    table.insert(hash, row);
                } else if !is_in && model.remove(&(hash, row)) {
                    table.remove(hash, row);
                }
                for &(hash, row) in &model {
                    prop_assert_eq!(table.rows(hash).filter(|&found| found == row).count(), 1);
                }
            }
            prop_assert_eq!(table.used, model.len());
            let all: Vec<_> = model.iter().copied().collect();
            for (hash, row) in all {
                table.remove(hash, row);
            }
            prop_assert!(table.slots.iter().all(|slot| slot.row == 0));
        }
    }

    #[test]
    fn an_empty_table_has_nothing_and_takes_nothing_out() {
        let mut table = Table::default();
        table.remove(1, 1);
        assert_eq!(table.rows(1).count(), 0);
        assert_eq!(table.bytes(), 0);
    }
}
