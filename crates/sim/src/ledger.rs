//! What users wrote, saw and deleted: by this the promises are checked.
//!
//! Promise: the ledger looks at disks alone, before and after each act of a user; nothing that an engine or an index says
//! is believed. It errs towards owing less: what it calls lost is lost.

use std::collections::{BTreeMap, BTreeSet};

use shoal_disk::Kind;

use crate::users::Tree;

/// The hash of a file's bytes.
pub type Digest = [u8; 32];

/// The hash of these bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> Digest {
    *blake3::hash(bytes).as_bytes()
}

/// A content that a user wrote and that is to be found somewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owed {
    /// Whose user wrote it first.
    pub device: usize,
    /// Where.
    pub path: Vec<u8>,
    /// Where users have put it, and nobody who saw it has replaced it.
    places: BTreeSet<Vec<u8>>,
    /// The devices on which it was made durable and named: there a power cut takes nothing from it.
    pub durable_on: BTreeSet<usize>,
}

/// A deletion by a user who saw what was deleted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Deletion {
    /// Whose user.
    pub device: usize,
    /// Where.
    pub path: Vec<u8>,
    /// What.
    pub content: Digest,
    /// A user has put something else there since.
    is_replaced: bool,
}

/// What users did.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    owed: BTreeMap<Digest, Owed>,
    /// All that a user, or a power cut among a user's own files, ever put on a disk.
    known: BTreeSet<Digest>,
    /// How often each content was put at each path.
    puts: BTreeMap<(Vec<u8>, Digest), u32>,
    deletions: Vec<Deletion>,
    /// What devices showed when their indexes were lost.
    stale: BTreeSet<(Vec<u8>, Digest)>,
}

impl Ledger {
    /// A user has changed what a disk shows. `counts`: others are to get it, so that it can be deleted everywhere.
    pub fn acted(&mut self, device: usize, before: &Tree, after: &Tree, counts: bool) {
        let (then, now) = (files(before), files(after));
        for (path, content) in &now {
            if then.get(path) != Some(content) {
                self.put(device, path, *content);
            }
        }
        let left: BTreeSet<Digest> = now.values().copied().collect();
        for (path, content) in &then {
            if now.get(path) == Some(content) {
                continue;
            }
            // Its user saw it and replaced or deleted it: here, and, if it stands nowhere else on this disk, altogether.
            if let Some(owed) = self.owed.get_mut(content) {
                if !owed.places.remove(*path) {
                    // A copy, which stood for wherever the content has lost its place.
                    owed.places.retain(|place| then.get(&**place) == Some(content));
                }
                if owed.places.is_empty() || !left.contains(content) {
                    self.owed.remove(content);
                }
            }
            if counts && !after.contains_key(*path) {
                let (path, content) = (path.to_vec(), *content);
                self.deletions.push(Deletion { device, path, content, is_replaced: false });
            }
        }
    }

    /// A user has had something brought back: to a path where it may have stood before without anybody having put it
    /// there, as a conflict copy does.
    pub fn came_back(&mut self, device: usize, before: &Tree, after: &Tree) {
        self.acted(device, before, after, true);
        let then = files(before);
        for (path, content) in files(after) {
            if then.get(path) != Some(&content) {
                self.put_again(path, content);
            }
        }
    }

    fn put(&mut self, device: usize, path: &[u8], content: Digest) {
        *self.puts.entry((path.to_vec(), content)).or_default() += 1;
        self.deletions.iter_mut().filter(|deletion| deletion.path == path).for_each(|deletion| {
            deletion.is_replaced = true;
        });
        if content == digest(b"") {
            self.known.insert(content);
            return;
        }
        // What somebody has replaced stays replaced, though another one makes the same bytes.
        if self.known.insert(content) {
            let owed =
                Owed { device, path: path.to_vec(), places: BTreeSet::new(), durable_on: BTreeSet::new() };
            self.owed.insert(content, owed);
        }
        if let Some(owed) = self.owed.get_mut(&content) {
            owed.places.insert(path.to_vec());
        }
    }

    /// A disk was asked to make this durable, and said that it is.
    pub fn became_durable(&mut self, device: usize, content: &Digest) {
        if let Some(owed) = self.owed.get_mut(content) {
            owed.durable_on.insert(device);
        }
    }

    /// The power of a device was cut. `shows` is what its disk shows since; `elsewhere` is all that can be found on any
    /// disk. What its own users wrote and nobody made durable may be gone, and what they deleted may be back.
    pub fn power_cut(&mut self, device: usize, shows: &Tree, elsewhere: &BTreeSet<Digest>) {
        self.owed.retain(|content, owed| elsewhere.contains(content) || !owed.durable_on.is_empty());
        let shown = files(shows);
        self.deletions.retain(|deletion| {
            deletion.device != device || shown.get(&*deletion.path) != Some(&deletion.content)
        });
    }

    /// A device was put back to what it was, by its user: what was only there is gone. `is_edit`: its index was not, so
    /// that it publishes what its disk shows.
    pub fn put_back(&mut self, shows: &Tree, elsewhere: &BTreeSet<Digest>, is_edit: bool) {
        self.owed.retain(|content, _| elsewhere.contains(content));
        if is_edit {
            files(shows).into_iter().for_each(|(path, content)| self.put_again(path, content));
        }
    }

    /// A device was copied, or its index put back, by its user. `untold`: what the disk shows and the index knows nothing
    /// of: it is published as an edit, whoever has published it before.
    pub fn is_untold(&mut self, untold: &Tree) {
        files(untold).into_iter().for_each(|(path, content)| self.put_again(path, content));
    }

    /// A user has brought to a path what was there before: conflict copies too, which nobody had put there.
    fn put_again(&mut self, path: &[u8], content: Digest) {
        let puts = self.puts.entry((path.to_vec(), content)).or_default();
        *puts = (*puts).max(1) + 1;
    }

    /// Deletions that nobody can know of, since whoever was told has forgotten, or that somebody takes up again who does
    /// not know of them any more.
    pub fn forget_deletions(&mut self, is_forgotten: impl Fn(&Deletion) -> bool) {
        self.deletions.retain(|deletion| !is_forgotten(deletion));
    }

    /// What a user has put where nobody can tell it from what was known to stand there.
    pub fn forget_puts(&mut self, before: &Tree, after: &Tree, is_same: impl Fn(&[u8]) -> bool) {
        let then = files(before);
        for (path, content) in files(after) {
            if then.get(path) != Some(&content) && is_same(path) {
                self.no_more_at(path, &content);
            }
        }
    }

    fn no_more_at(&mut self, path: &[u8], content: &Digest) {
        if let Some(owed) = self.owed.get_mut(content) {
            owed.places.remove(path);
            if owed.places.is_empty() {
                self.owed.remove(content);
            }
        }
    }

    /// The index of a device is gone that shows this: where a user has put something else, the two are in conflict, and
    /// either may win (I6 asks for no more).
    pub fn is_stale(&mut self, shows: &Tree) {
        self.stale.extend(files(shows).into_iter().map(|(path, content)| (path.to_vec(), content)));
    }

    /// A content that came to be without a user: what a power cut left of a user's own file.
    pub fn left_over(&mut self, content: Digest) {
        self.known.insert(content);
    }

    /// Whether a user, or a power cut among a user's own files, ever made this.
    #[must_use]
    pub fn is_known(&self, content: &Digest) -> bool {
        self.known.contains(content)
    }

    /// What must be somewhere.
    pub fn owed(&self) -> impl Iterator<Item = (&Digest, &Owed)> {
        self.owed.iter()
    }

    /// Deletions of what was put at its path once only, so that nobody can have meant to bring it back.
    pub fn deletions(&self) -> impl Iterator<Item = &Deletion> {
        self.deletions.iter().filter(|deletion| {
            let put = (deletion.path.clone(), deletion.content);
            let is_in_conflict = deletion.is_replaced && self.stale.contains(&put);
            deletion.content != digest(b"") && self.puts.get(&put) == Some(&1) && !is_in_conflict
        })
    }
}

/// The contents of all files of a tree.
#[must_use]
pub fn files(tree: &Tree) -> BTreeMap<&[u8], Digest> {
    let files = tree.iter().filter(|(_, seen)| seen.kind == Kind::File);
    files.map(|(path, seen)| (path.as_slice(), digest(&seen.bytes))).collect()
}

#[cfg(test)]
mod tests {
    use shoal_disk::FileTime;
    use shoal_disk::mem::Seen;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let seen = |bytes: &str| Seen {
            kind: Kind::File,
            bytes: bytes.as_bytes().to_vec(),
            mode: 0o644,
            mtime: FileTime::default(),
        };
        files.iter().map(|(path, bytes)| (path.as_bytes().to_vec(), seen(bytes))).collect()
    }

    fn owed(ledger: &Ledger) -> BTreeSet<Digest> {
        ledger.owed().map(|(content, _)| *content).collect()
    }

    #[test]
    fn what_was_seen_and_replaced_is_owed_no_more() {
        let mut ledger = Ledger::default();
        ledger.acted(0, &tree(&[]), &tree(&[("a", "1"), ("b", "2")]), true);
        assert_eq!(owed(&ledger), [digest(b"1"), digest(b"2")].into());
        ledger.acted(0, &tree(&[("a", "1"), ("b", "2")]), &tree(&[("a", "3"), ("c", "2")]), true);
        assert_eq!(owed(&ledger), [digest(b"2"), digest(b"3")].into(), "a rename loses nothing");
        ledger.acted(1, &tree(&[]), &tree(&[("z", "1")]), true);
        assert!(!owed(&ledger).contains(&digest(b"1")), "it stays replaced");
        let both = tree(&[("c", "2"), ("d", "2")]);
        ledger.acted(0, &tree(&[("c", "2")]), &both, true);
        ledger.acted(1, &both, &tree(&[("c", "2")]), true);
        assert!(owed(&ledger).contains(&digest(b"2")), "one place is left");
        let mut copied = ledger.clone();
        copied.acted(
            2,
            &tree(&[("d", "4"), ("d copy", "2"), ("e", "2")]),
            &tree(&[("d", "4"), ("e", "2")]),
            true,
        );
        assert!(!owed(&copied).contains(&digest(b"2")), "what was deleted is the copy of what has lost");
        ledger.acted(2, &both, &tree(&[("d", "2")]), true);
        assert!(!owed(&ledger).contains(&digest(b"2")), "two users have each replaced it in one place");
    }

    #[test]
    fn a_deletion_counts_while_nobody_puts_the_content_back() {
        let mut ledger = Ledger::default();
        ledger.acted(0, &tree(&[]), &tree(&[("a", "1")]), true);
        ledger.acted(1, &tree(&[("a", "1")]), &tree(&[]), true);
        assert_eq!(ledger.deletions().count(), 1);
        let mut forgetful = ledger.clone();
        forgetful.forget_deletions(|deletion| deletion.device == 0);
        assert_eq!(forgetful.deletions().count(), 1, "another's");
        forgetful.forget_deletions(|deletion| deletion.path == b"a");
        assert_eq!(forgetful.deletions().count(), 0);
        let mut stale = ledger.clone();
        stale.is_stale(&tree(&[("a", "1")]));
        assert_eq!(stale.deletions().count(), 1, "nobody has put anything else there");
        stale.acted(1, &tree(&[]), &tree(&[("a", "2")]), true);
        assert_eq!(stale.deletions().count(), 0);
        let mut copied = ledger.clone();
        copied.is_untold(&tree(&[("a", "1")]));
        assert_eq!(copied.deletions().count(), 0, "the copy can say it again");
        ledger.acted(2, &tree(&[]), &tree(&[("a", "1")]), true);
        assert_eq!(ledger.deletions().count(), 0);
    }

    #[test]
    fn a_power_cut_takes_what_nobody_made_durable() {
        let mut ledger = Ledger::default();
        ledger.acted(0, &tree(&[]), &tree(&[("a", "1"), ("b", "2")]), true);
        ledger.became_durable(0, &digest(b"2"));
        ledger.power_cut(0, &tree(&[]), &BTreeSet::new());
        assert_eq!(owed(&ledger), [digest(b"2")].into());
    }
}
