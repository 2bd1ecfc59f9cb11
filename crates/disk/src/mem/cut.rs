//! What the power leaves of a disk when it goes.
//!
//! Promise: what was durable stays. Of the rest each part is drawn for itself, from the seed alone.

use std::collections::BTreeSet;

use super::image::{Content, Image, Node, ROOT, copy_block};
use crate::stat::Kind;

impl Image {
    /// Forgets what did not reach the disk. There are no handles any more.
    pub(super) fn power_cut(&mut self, seed: u64) {
        let mut lots = Lots(seed);
        let odds = Odds { names: lots.odds(), bytes: lots.odds(), sizes: lots.odds(), modes: lots.odds() };
        self.cut_names(&mut lots, odds.names);
        for node in self.nodes.values_mut() {
            node.cut(&mut lots, &odds);
        }
        self.forget_unreachable();
    }

    /// Keeps some of the changes, none without those that it rests on.
    fn cut_names(&mut self, lots: &mut Lots, odds: u64) {
        let mut lost_names = BTreeSet::new();
        let mut lost = BTreeSet::new();
        for change in std::mem::take(&mut self.pending) {
            let names = || change.sets.iter().map(|(dir, key, _)| (*dir, key.clone()));
            let rests_on_lost = names().any(|name| lost_names.contains(&name))
                || change.needs.iter().any(|needed| lost.contains(needed));
            if !rests_on_lost && lots.draw(odds) {
                self.make_durable(&change);
            } else {
                lost_names.extend(names());
                lost.insert(change.id);
            }
        }
    }

    /// Counts links anew and drops what no name leads to, as a check of the file system would.
    fn forget_unreachable(&mut self) {
        let mut reached = BTreeSet::new();
        let mut next = vec![ROOT];
        self.nodes.values_mut().for_each(|node| node.links = 0);
        while let Some(id) = next.pop() {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            node.links += 1;
            if reached.insert(id) {
                next.extend(node.names.values().map(|entry| entry.node));
            }
        }
        self.nodes.retain(|id, _| reached.contains(id));
        // Who knows which numbers such a disk gives next: none that is in use.
        self.free_numbers.clear();
    }
}

impl Node {
    fn cut(&mut self, lots: &mut Lots, odds: &Odds) {
        self.names.clone_from(&self.durable_names);
        if self.kind == Kind::File {
            let size = match lots.draw(odds.sizes) {
                false => self.durable.bytes.len(),
                // Cut and written anew is on its way in two steps.
                true if lots.one_in(4) => self.shortest,
                true => self.live.bytes.len(),
            };
            let mut bytes = self.durable.bytes.clone();
            bytes.resize(size, 0);
            for block in std::mem::take(&mut self.dirty) {
                if lots.draw(odds.bytes) {
                    copy_block(&self.live.bytes, &mut bytes, block);
                }
            }
            let with = if lots.draw(odds.modes) { &self.live } else { &self.durable };
            self.durable = Content { bytes, mode: with.mode, mtime: with.mtime };
            self.shortest = size;
            self.live.clone_from(&self.durable);
        }
        self.dirty.clear();
    }
}

/// How likely something unsynced is to be there, in hundredths.
struct Odds {
    names: u64,
    bytes: u64,
    sizes: u64,
    modes: u64,
}

/// A row of lots that follows from its seed (SplitMix64).
struct Lots(u64);

impl Lots {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }

    /// Whether this one of something with these odds is there.
    fn draw(&mut self, odds: u64) -> bool {
        self.next() % 100 < odds
    }

    /// All, none or half: extremes are where bugs are.
    fn odds(&mut self) -> u64 {
        match self.next() % 4 {
            0 => 0,
            1 => 100,
            _ => 50,
        }
    }
}
