//! Which entries follow which, asked in one comparison.
//!
//! Promise: an entry follows another one, in one chain and on one branch of it, just if it stands within the other's span.

use std::collections::BTreeMap;

use super::entry::{Entry, EntryHash};
use crate::id::DeviceId;

/// Where an entry stands in a walk through all chains, along each branch in turn, and where the last one
/// stands that follows it.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) first: u32,
    pub(super) last: u32,
}

/// The spans of entries that come chain by chain, each in the order of numbers.
pub(super) fn spans(by_signer: &BTreeMap<DeviceId, Vec<&Entry>>) -> BTreeMap<EntryHash, Span> {
    // How many follow an entry, itself included: counted from the ends.
    let mut sizes: BTreeMap<EntryHash, u32> = BTreeMap::new();
    for entry in by_signer.values().flatten().rev() {
        let size = *sizes.entry(entry.hash()).and_modify(|size| *size += 1).or_insert(1);
        if let Some(before) = entry.previous() {
            *sizes.entry(before.hash).or_insert(0) += size;
        }
    }
    let mut spans: BTreeMap<EntryHash, Span> = BTreeMap::new();
    // Where the next branch after an entry begins; under the hash of none, where the next chain does.
    let mut free: BTreeMap<EntryHash, u32> = BTreeMap::new();
    for entry in by_signer.values().flatten() {
        let before = entry.previous().map_or(EntryHash::NONE, |before| before.hash);
        let size = sizes.get(&entry.hash()).copied().unwrap_or(1);
        let next = free.entry(before).or_insert(0);
        let first = *next;
        *next += size;
        free.insert(entry.hash(), first + 1);
        spans.insert(entry.hash(), Span { first, last: first + size - 1 });
    }
    spans
}
