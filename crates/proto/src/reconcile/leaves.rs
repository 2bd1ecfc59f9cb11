//! A set of leaves: 8 KiB, whatever is in it.

use crate::digest::{LEAVES, Leaf, Node};

/// A set of leaves, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct LeafSet {
    words: Box<[u64]>,
    first: usize, // no word before this one has a leaf
}

impl LeafSet {
    pub(super) fn empty() -> Self {
        Self { words: vec![0; LEAVES / 64].into(), first: LEAVES / 64 }
    }

    /// Adds the leaves at or below a node.
    pub(super) fn insert(&mut self, node: Node) {
        for Leaf(leaf) in node.leaves() {
            let word = usize::from(leaf / 64);
            self.words[word] |= 1 << (leaf % 64);
            self.first = self.first.min(word);
        }
    }

    pub(super) fn contains(&self, Leaf(leaf): Leaf) -> bool {
        self.words[usize::from(leaf / 64)] & 1 << (leaf % 64) != 0
    }

    /// Takes the lowest leaf out.
    pub(super) fn take_first(&mut self) -> Option<Leaf> {
        while let Some(word) = self.words.get_mut(self.first) {
            if *word != 0 {
                let bit = word.trailing_zeros();
                *word &= *word - 1;
                // Both parts together are below 65,536.
                return u16::try_from(self.first * 64)
                    .ok()
                    .zip(u16::try_from(bit).ok())
                    .map(|(a, b)| Leaf(a + b));
            }
            self.first += 1;
        }
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.get(self.first..).unwrap_or_default().iter().all(|&word| word == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_come_out_in_order_and_once() {
        let mut set = LeafSet::empty();
        assert!(set.is_empty());
        let inner = Node::ROOT.children().nth(15).and_then(|node| node.children().last()).unwrap();
        set.insert(inner);
        set.insert(Leaf(3).into());
        set.insert(Leaf(64).into());
        set.insert(Leaf(3).into());
        assert!(set.contains(Leaf(3)) && set.contains(Leaf(u16::MAX)) && !set.contains(Leaf(4)));
        let leaves: Vec<_> = core::iter::from_fn(|| set.take_first()).collect();
        let expected: Vec<_> = [3, 64].into_iter().chain(65_536 - 256..65_536).collect();
        assert_eq!(leaves.iter().map(|leaf| u32::from(leaf.0)).collect::<Vec<_>>(), expected);
        assert!(set.is_empty());
        set.insert(Leaf(1).into());
        assert_eq!((set.is_empty(), set.take_first()), (false, Some(Leaf(1))));
    }
}
