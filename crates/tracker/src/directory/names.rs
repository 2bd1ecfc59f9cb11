//! All announced files: for each name its versions, newest first, and who holds each.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use shoal_classic::FileName;

use super::PeerId;

#[derive(Debug, Default)]
pub(super) struct Names {
    /// No list is empty.
    names: BTreeMap<FileName, Vec<Holding>>,
    holdings: usize,
    last_order: u64,
}

/// One peer's version of one name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    pub(super) version: Version,
    pub(super) peer: PeerId,
}

/// An announced mtime, and when in the order of all announcements it came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Version {
    pub(super) mtime: i64,
    order: u64,
}

impl Version {
    /// Sorts the newest first, and of equal ones the first to come.
    fn rank(self) -> (Reverse<i64>, u64) {
        (Reverse(self.mtime), self.order)
    }
}

impl Names {
    /// Adds a holding; gives back the name as it is shared by all its holders.
    pub(super) fn add(&mut self, name: FileName, mtime: i64, peer: PeerId) -> (FileName, Version) {
        self.last_order += 1;
        self.holdings += 1;
        let version = Version { mtime, order: self.last_order };
        let holding = Holding { version, peer };
        match self.names.entry(name) {
            Entry::Occupied(mut entry) => {
                let place = entry.get().partition_point(|other| other.version.rank() < version.rank());
                entry.get_mut().insert(place, holding);
                (entry.key().clone(), version)
            }
            Entry::Vacant(entry) => {
                let name = entry.key().clone();
                entry.insert(vec![holding]);
                (name, version)
            }
        }
    }

    /// Removes one holding; versions are unique.
    pub(super) fn remove(&mut self, name: &FileName, version: Version) {
        let Some(holders) = self.names.get_mut(name) else { return };
        if let Ok(place) = holders.binary_search_by_key(&version.rank(), |holding| holding.version.rank()) {
            holders.remove(place);
            self.holdings -= 1;
        }
        if holders.is_empty() {
            self.names.remove(name);
        }
    }

    /// Who holds which version of that name.
    pub(super) fn holders(&self, name: &FileName) -> &[Holding] {
        self.names.get(name).map_or(&[], Vec::as_slice)
    }

    /// All names, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&FileName, &[Holding])> {
        self.names.iter().map(|(name, holders)| (name, holders.as_slice()))
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// How many holdings there are in all.
    pub(super) const fn holdings(&self) -> usize {
        self.holdings
    }
}
