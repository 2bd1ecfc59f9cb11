//! Below which paths something live lies.
//!
//! Promise: an answer costs one look into a table, however many tombstones a folder has. A path counts for the folder
//! that it is in, if its version is live, and again if something below it is: so a change goes up only as far as the
//! answer of a folder changes. Folders are kept by half a hash (16 bytes), which nobody can aim at.

use std::collections::BTreeMap;

use shoal_proto::hash::Domain;
use shoal_proto::heads::Below;
use shoal_proto::id::ShareId;
use shoal_proto::path::RelPath;

/// For each folder with something live below it how much counts for it.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    counts: BTreeMap<u128, u32>,
    /// The folder of the last change: in path order the next is mostly in the same.
    last: Option<(RelPath, u128)>,
}

impl Folders {
    /// Whether something live lies below.
    pub(crate) fn below(&self, share: &ShareId, path: &RelPath) -> Below {
        self.below_key(key(share, path))
    }

    /// The same, by what a path is known by here.
    pub(crate) fn below_key(&self, key: u128) -> Below {
        if self.counts.contains_key(&key) { Below::Live } else { Below::Nothing }
    }

    /// A path has become live, or is not any more. Adds the folders whose answer changed.
    pub(crate) fn change(
        &mut self,
        share: &ShareId,
        path: &RelPath,
        is_live: bool,
        changed: &mut Vec<RelPath>,
    ) {
        if self.change_in_last(path.as_bytes(), is_live) {
            return;
        }
        for folder in path.ancestors() {
            let key = self.key_of(share, &folder);
            let count = self.counts.entry(key).or_default();
            let before = *count;
            *count = if is_live { before.saturating_add(1) } else { before.saturating_sub(1) };
            let after = *count;
            if after == 0 {
                self.counts.remove(&key);
            }
            if (before == 0) == (after == 0) {
                return;
            }
            changed.push(folder);
        }
    }

    /// As [`Self::change`], for a path in the folder of the last change whose answer stays what it is, as is mostly so.
    /// `false`: it is not so, and nothing is done.
    pub(crate) fn change_in_last(&mut self, path: &[u8], is_live: bool) -> bool {
        let Some((folder, key)) = &self.last else { return false };
        let is_in = path
            .strip_prefix(folder.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"/"))
            .is_some_and(|name| !name.contains(&b'/'));
        match self.counts.get_mut(key).filter(|_| is_in) {
            Some(count) if is_live => *count = count.saturating_add(1),
            Some(count) if *count > 1 => *count -= 1,
            _ => return false,
        }
        true
    }

    /// Bytes of memory, nearly.
    pub(crate) fn bytes(&self) -> usize {
        self.counts.len() * 32
    }

    fn key_of(&mut self, share: &ShareId, folder: &RelPath) -> u128 {
        match &self.last {
            Some((last, key)) if last == folder => *key,
            _ => {
                let key = key(share, folder);
                self.last = Some((folder.clone(), key));
                key
            }
        }
    }
}

fn key(share: &ShareId, path: &RelPath) -> u128 {
    half(&Domain::LEAF.hash(&[share.as_bytes(), path.as_bytes()]))
}

/// The second half of the hash that gives a path its leaf.
pub(crate) fn half(hash: &[u8; 32]) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[16..]);
    u128::from_be_bytes(half)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use shoal_proto::arb;

    use super::*;

    const SHARE: ShareId = ShareId::from_bytes([3; 32]);

    proptest! {
        #[test]
        fn the_answers_are_those_of_a_look_at_all_paths(
            steps in proptest::collection::vec((arb::rel_path(), any::<bool>()), 0..60)
        ) {
            let (mut folders, mut live) = (Folders::default(), BTreeSet::new());
            let paths: BTreeSet<_> = steps.iter().map(|(path, _)| path.clone()).collect();
            let asked: BTreeSet<_> = paths.iter().flat_map(|path| [Some(path.clone()), path.parent()]).flatten().collect();
            for (path, is_live) in steps {
                let is_news = if is_live { live.insert(path.clone()) } else { live.remove(&path) };
                if !is_news {
                    continue;
                }
                let answers: Vec<_> = asked.iter().map(|path| folders.below(&SHARE, path)).collect();
                let mut changed = Vec::new();
                folders.change(&SHARE, &path, is_live, &mut changed);
                for (path, before) in asked.iter().zip(answers) {
                    let is_below = live.iter().any(|below| below.is_below(path));
                    let expected = if is_below { Below::Live } else { Below::Nothing };
                    prop_assert_eq!(folders.below(&SHARE, path), expected);
                    prop_assert_eq!(changed.contains(path), before != expected);
                }
            }
        }
    }
}
