//! Sums over all records of a share, as a tree, so that two devices can find what differs without a list.
//!
//! Promise: equal sets of records have equal trees, whatever order they came in, and one record more or less
//! changes five sums. The tree covers records, never the disk: what a device ignores or does not select is
//! agreed all the same. Fan-out 16, four levels, 65,536 leaves. A sum alone proves nothing (a writer with
//! enough records can forge one), so `reconcile` confirms what it finds equal.

use crate::hash::{Domain, RecordHash};
use crate::id::ShareId;
use crate::path::RelPath;

/// Children of a node.
pub const FAN_OUT: u16 = 16;

/// Levels below the root; the leaves are on the last.
pub const LEVELS: u8 = 4;

/// Leaves of the tree.
pub const LEAVES: usize = 1 << 16;

/// Where the records of a path are counted: a number from 0 to 65,535.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Leaf(pub u16);

impl Leaf {
    /// The leaf of a path: the first 16 bits of its hash. The share's id is hashed with it, so that paths
    /// that crowd one leaf have to be sought for each share anew.
    #[must_use]
    pub fn of(share: &ShareId, path: &RelPath) -> Self {
        let hash = Domain::LEAF.hash(&[share.as_bytes(), path.as_bytes()]);
        Self(u16::from_be_bytes([hash[0], hash[1]]))
    }

    /// All leaves, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u16::MAX).map(Self)
    }
}

/// A place in the tree: the root is on level 0, the leaves are on level [`LEVELS`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Node {
    level: u8,
    index: u16, // below 16^level
}

impl Node {
    /// The top of the tree.
    pub const ROOT: Self = Self { level: 0, index: 0 };

    /// How far it is below the root.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Its place on its level, from 0.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.index
    }

    /// Its sixteen children, in order; none of a leaf.
    pub fn children(self) -> impl Iterator<Item = Self> {
        let fan_out = if self.level < LEVELS { FAN_OUT } else { 0 };
        (0..fan_out).map(move |child| Self { level: self.level + 1, index: self.index * FAN_OUT + child })
    }

    /// The leaves below it, in order; a leaf itself.
    pub fn leaves(self) -> impl Iterator<Item = Leaf> {
        let below = 4 * u32::from(LEVELS - self.level);
        let first = u32::from(self.index) << below;
        // The index is below 16^level, so that each number fits.
        (first..first + (1 << below)).filter_map(|leaf| u16::try_from(leaf).ok().map(Leaf))
    }

    /// The leaf that it is; `None` further up.
    #[must_use]
    pub fn leaf(self) -> Option<Leaf> {
        (self.level == LEVELS).then_some(Leaf(self.index))
    }
}

impl From<Leaf> for Node {
    fn from(leaf: Leaf) -> Self {
        Self { level: LEVELS, index: leaf.0 }
    }
}

/// A sum of fingerprints modulo 2^256; each is read as a number with the lowest byte first.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct Sum([u64; 4]); // lowest first

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self([0; 4]);

    /// Its bytes, the lowest first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (part, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            part.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    /// The sum with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut limbs = [0; 4];
        for (limb, part) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
            let mut eight = [0; 8];
            eight.copy_from_slice(part);
            *limb = u64::from_le_bytes(eight);
        }
        Self(limbs)
    }

    fn plus(mut self, other: Self) -> Self {
        let mut carry = false;
        for (limb, with) in self.0.iter_mut().zip(other.0) {
            (*limb, carry) = limb.carrying_add(with, carry);
        }
        self
    }

    fn minus(mut self, other: Self) -> Self {
        let mut borrow = false;
        for (limb, with) in self.0.iter_mut().zip(other.0) {
            (*limb, borrow) = limb.borrowing_sub(with, borrow);
        }
        self
    }
}

impl core::fmt::Debug for Sum {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "Sum({:016x}…)", self.0[0])
    }
}

/// The tree of sums over a set of records.
///
/// Some 11 KiB when empty, 2.2 MiB when full: memory comes in blocks of 256 leaves, when the first record of
/// one is added, and goes with the last. Adding and removing commute, also with each other; that a record is
/// added once, and only what was added is removed, is the caller's matter.
#[derive(Clone, Debug)]
pub struct Digests {
    upper: Box<[Sum]>,                 // the root, level 1, level 2
    blocks: Box<[Option<Box<Block>>]>, // below each node of level 2
    records: u64,
    changes: u64,
}

/// What is below one node of level 2.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Block {
    inner: [Sum; 16],
    leaves: [Sum; 256],
    records: u64,
}

/// Where level 1 and level 2 begin in [`Digests::upper`], and its length.
const LEVEL_1: usize = 1;
const LEVEL_2: usize = LEVEL_1 + 16;
const UPPER: usize = LEVEL_2 + 256;

impl Digests {
    /// Counts one record in. Its leaf is that of its path, its fingerprint the hash of the whole record.
    pub fn add(&mut self, leaf: Leaf, fingerprint: &RecordHash) {
        self.change(leaf, fingerprint, Sum::plus, |records| records.wrapping_add(1));
    }

    /// Takes one record out that was added.
    pub fn remove(&mut self, leaf: Leaf, fingerprint: &RecordHash) {
        self.change(leaf, fingerprint, Sum::minus, |records| records.wrapping_sub(1));
    }

    /// The sum over all records.
    #[must_use]
    pub fn root(&self) -> Sum {
        self.upper[0]
    }

    /// The sum over all records at or below a node.
    #[must_use]
    pub fn sum(&self, node: Node) -> Sum {
        let index = usize::from(node.index);
        match node.level {
            0 => self.upper[0],
            1 => self.upper[LEVEL_1 + index],
            2 => self.upper[LEVEL_2 + index],
            3 => self.blocks[index / 16].as_ref().map_or(Sum::ZERO, |block| block.inner[index % 16]),
            _ => self.blocks[index / 256].as_ref().map_or(Sum::ZERO, |block| block.leaves[index % 256]),
        }
    }

    /// How many records are counted.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// How often a record came or went: another number means another set, also where somebody forged equal
    /// sums.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    fn change(
        &mut self,
        leaf: Leaf,
        fingerprint: &RecordHash,
        sum: impl Fn(Sum, Sum) -> Sum,
        count: impl Fn(u64) -> u64,
    ) {
        let by = Sum::from_bytes(fingerprint.as_bytes());
        let index = usize::from(leaf.0);
        for above in [0, LEVEL_1 + index / 4096, LEVEL_2 + index / 256] {
            self.upper[above] = sum(self.upper[above], by);
        }
        self.records = count(self.records);
        self.changes = self.changes.wrapping_add(1);
        let place = &mut self.blocks[index / 256];
        let block = place.get_or_insert_with(Block::empty);
        let (inner, leaf) = (&mut block.inner[index / 16 % 16], &mut block.leaves[index % 256]);
        *inner = sum(*inner, by);
        *leaf = sum(*leaf, by);
        block.records = count(block.records);
        if block.records == 0 {
            *place = None;
        }
    }
}

impl Default for Digests {
    fn default() -> Self {
        Self { upper: vec![Sum::ZERO; UPPER].into(), blocks: vec![None; 256].into(), records: 0, changes: 0 }
    }
}

/// Trees are equal when their sums are, however often they changed.
impl PartialEq for Digests {
    fn eq(&self, other: &Self) -> bool {
        (&self.upper, &self.blocks, self.records) == (&other.upper, &other.blocks, other.records)
    }
}

impl Eq for Digests {}

impl Block {
    fn empty() -> Box<Self> {
        Box::new(Self { inner: [Sum::ZERO; 16], leaves: [Sum::ZERO; 256], records: 0 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fingerprint() -> impl Strategy<Value = RecordHash> {
        // Many carries: bytes are mostly all ones or all zeros.
        proptest::array::uniform32(prop_oneof![Just(0), Just(0xff), any::<u8>()])
            .prop_map(RecordHash::from_bytes)
    }

    fn records() -> impl Strategy<Value = Vec<(Leaf, RecordHash)>> {
        // Few leaves, near and far from each other.
        let leaf = prop_oneof![Just(0), Just(1), Just(15), Just(16), Just(255), Just(256), any::<u16>()];
        proptest::collection::vec((leaf.prop_map(Leaf), fingerprint()), 0..20)
    }

    fn digests(records: &[(Leaf, RecordHash)]) -> Digests {
        let mut digests = Digests::default();
        for (leaf, fingerprint) in records {
            digests.add(*leaf, fingerprint);
        }
        digests
    }

    proptest! {
        #[test]
        fn i15_order_and_what_came_and_went_do_not_matter(
            stay in records(), go in records(), turn in any::<prop::sample::Index>()
        ) {
            let all: Vec<_> = stay.iter().chain(&go).copied().collect();
            let mut turned = all.clone();
            turned.rotate_left(turn.index(all.len() + 1).min(all.len()));
            let mut tree = digests(&turned);
            prop_assert_eq!(&tree, &digests(&all));
            for (leaf, fingerprint) in &go {
                tree.remove(*leaf, fingerprint);
            }
            prop_assert_eq!(&tree, &digests(&stay));
            prop_assert_eq!(tree.records(), stay.len() as u64);
            // A removal that overtakes its addition leaves nothing behind either.
            for (leaf, fingerprint) in &stay {
                tree.remove(*leaf, fingerprint);
            }
            for (leaf, fingerprint) in &go {
                tree.remove(*leaf, fingerprint);
                tree.add(*leaf, fingerprint);
            }
            prop_assert_eq!(tree, Digests::default());
        }

        #[test]
        fn a_node_is_the_sum_of_its_children_and_of_its_records(records in records()) {
            let tree = digests(&records);
            let mut level = vec![Node::ROOT];
            while let Some(&Node { level: at, .. }) = level.first() {
                for &node in &level {
                    let below = node.children().fold(Sum::ZERO, |sum, child| sum.plus(tree.sum(child)));
                    prop_assert!(at == LEVELS || tree.sum(node) == below);
                }
                // Only where there is something, else the test takes seconds.
                level = level.iter().flat_map(|node| node.children()).collect();
                level.retain(|&node| tree.sum(node) != Sum::ZERO);
            }
            for &(leaf, _) in &records {
                let all = records.iter().filter(|(other, _)| *other == leaf);
                let sum = all.fold(Sum::ZERO, |sum, (_, one)| sum.plus(Sum::from_bytes(one.as_bytes())));
                prop_assert_eq!(tree.sum(leaf.into()), sum);
            }
        }
    }

    #[test]
    fn a_different_set_has_a_different_root() {
        let one = RecordHash::from_bytes([1; 32]);
        let two = RecordHash::from_bytes([2; 32]);
        assert_ne!(digests(&[(Leaf(0), one)]).root(), digests(&[(Leaf(0), two)]).root());
        // The same record elsewhere: the root cannot tell, the tree does.
        assert_ne!(digests(&[(Leaf(0), one)]), digests(&[(Leaf(1), one)]));
    }

    #[test]
    fn sums_carry_and_wrap() {
        let ones = Sum::from_bytes(&[0xff; 32]);
        let one = Sum([1, 0, 0, 0]);
        assert_eq!(ones.plus(one), Sum::ZERO);
        assert_eq!(Sum::ZERO.minus(one), ones);
        assert_eq!(Sum([u64::MAX, u64::MAX, 0, 0]).plus(one), Sum([0, 0, 1, 0]));
        assert_eq!(
            Sum::from_bytes(&ones.minus(one).to_bytes()),
            Sum([u64::MAX - 1, u64::MAX, u64::MAX, u64::MAX])
        );
    }

    /// F47: paths that crowd one leaf of a share are spread over those of another.
    #[test]
    fn a_path_has_its_leaf_in_its_share() {
        let (share, path) = (ShareId::from_bytes([7; 32]), RelPath::parse(b"a/b.txt").unwrap());
        // Golden: a device that counts elsewhere never agrees with another.
        assert_eq!(Leaf::of(&share, &path), Leaf(2315));
        assert_ne!(Leaf::of(&share, &path), Leaf::of(&ShareId::from_bytes([8; 32]), &path));
    }

    #[test]
    fn nodes_lead_to_their_leaves() {
        let third = Node::ROOT.children().nth(3).unwrap();
        assert_eq!((third.level(), third.index(), third.leaf()), (1, 3, None));
        assert_eq!(third.leaves().collect::<Vec<_>>(), (3 * 4096..4 * 4096).map(Leaf).collect::<Vec<_>>());
        assert_eq!(Node::ROOT.leaves().count(), LEAVES);
        let leaf = Node::from(Leaf(u16::MAX));
        assert_eq!((leaf.leaves().collect::<Vec<_>>(), leaf.children().count()), (vec![Leaf(u16::MAX)], 0));
        assert_eq!(leaf.leaf(), Some(Leaf(u16::MAX)));
    }

    #[test]
    fn an_almost_empty_share_costs_little() {
        let blocks = |tree: &Digests| tree.blocks.iter().flatten().count();
        let mut tree = digests(&[(Leaf(9), RecordHash::from_bytes([1; 32]))]);
        assert_eq!(blocks(&tree), 1);
        assert!(size_of::<Block>() < 9 * 1024);
        tree.remove(Leaf(9), &RecordHash::from_bytes([1; 32]));
        assert_eq!(blocks(&tree), 0);
    }
}
