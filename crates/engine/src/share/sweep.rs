//! Comparing a folder with what the index holds of it, page by page.
//!
//! Promise: the two streams are gone through side by side in the order of paths. A path that the disk did not show is
//! gone only if the disk could say so: below what is unknown or ignored nothing is (I21, E3). Of all that is gone the
//! first paths are remembered; of the others some 20 bytes for each content, so that the guard can weigh the whole (I19).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shoal_proto::hash::ContentId;
use shoal_proto::here::Here;
use shoal_proto::limits::SEGMENT_BYTES_MIN;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Version};

use crate::disk::{self, Look, Seen, Unknown};
use crate::index::{self, Further};
use crate::limits::{GONE_MAX, PAGE_PATHS};
use crate::status::Looked;

/// A path where the disk and the index differ.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Finding {
    pub(super) path: RelPath,
    /// What the index held when the disk was looked at.
    pub(super) compared: Option<Here>,
    /// What the disk shows.
    pub(super) seen: Option<Seen>,
    /// What is in it, if it is known: it was moved here with the folder that it is in.
    pub(super) content: Option<ContentId>,
}

impl Finding {
    /// What was found, unless it is what the index holds.
    pub(super) fn new(path: RelPath, compared: Option<Here>, seen: Option<Seen>) -> Option<Self> {
        let is_same = match (&compared, &seen) {
            (Some(here), Some(seen)) => Seen::from(here) == *seen,
            (None, None) => true,
            _ => false,
        };
        (!is_same).then_some(Self::of(path, compared, seen))
    }

    /// What was found, whether it is what the index holds or not.
    pub(super) fn of(path: RelPath, compared: Option<Here>, seen: Option<Seen>) -> Self {
        Self { path, compared, seen, content: None }
    }

    /// The content whose list of segments is worth asking for: there is and was a file that can have several.
    pub(super) fn listed_before(&self) -> Option<ContentId> {
        match &self.compared.as_ref()?.version.kind {
            Kind::File { size, content } if (*size).min(self.bytes()) > SEGMENT_BYTES_MIN.into() => {
                Some(*content)
            }
            _ => None,
        }
    }

    /// Bytes to be read to name the content.
    pub(super) fn bytes(&self) -> u64 {
        match &self.seen {
            Some(Seen { kind: disk::SeenKind::File { size }, .. }) => *size,
            _ => 0,
        }
    }
}

/// A comparison under way.
#[derive(Debug)]
pub(super) struct Sweep {
    /// The folder below which it goes; `None`: all of the share.
    pub(super) below: Option<RelPath>,
    /// Answers to another one are not taken.
    pub(super) number: u64,
    /// The folder was moved away: what was in it is held until it is found where it went.
    pub(super) is_moved: bool,
    disk: Side<(RelPath, Look)>,
    index: Side<(RelPath, Here)>,
    /// What is not to be taken for gone, with all below it.
    hidden: BTreeSet<RelPath>,
    /// What nobody can say anything about, and why.
    pub(super) unknown: BTreeMap<RelPath, Unknown>,
    /// What the index holds and the disk does not show, and what stands where a folder was.
    pub(super) gone: Vec<Finding>,
    /// How much more is gone than is remembered: another sweep is to follow.
    pub(super) more_gone: u64,
    /// The files among that.
    pub(super) further: Further,
    /// What was looked at so far, and what of it was found changed.
    pub(super) looked: Looked,
    /// How many looks a person had asked for when it began.
    pub(super) answers: u64,
}

/// One of the two streams.
#[derive(Debug)]
struct Side<T> {
    waiting: VecDeque<T>,
    after: Option<RelPath>,
    is_end: bool,
    is_asked: bool,
}

impl<T> Default for Side<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), after: None, is_end: false, is_asked: false }
    }
}

impl<T> Side<T> {
    /// Whether the next page must be asked for: while one is gone through, the next is read.
    fn must_ask(&mut self) -> bool {
        let must = self.waiting.len() <= PAGE_PATHS && !self.is_end && !self.is_asked;
        self.is_asked |= must;
        must
    }

    /// Whether it is known what comes next.
    fn is_ready(&self) -> bool {
        !self.waiting.is_empty() || self.is_end
    }
}

impl Sweep {
    pub(super) fn new(below: Option<RelPath>, number: u64) -> Self {
        Self {
            below,
            number,
            is_moved: false,
            disk: Side::default(),
            index: Side::default(),
            hidden: BTreeSet::new(),
            unknown: BTreeMap::new(),
            gone: Vec::new(),
            more_gone: 0,
            further: Further::default(),
            looked: Looked::default(),
            answers: 0,
        }
    }

    /// The page of the tree that is needed to go on.
    pub(super) fn ask_disk(&mut self) -> Option<disk::Job> {
        let (below, after) = (self.below.clone(), self.disk.after.clone());
        let page = disk::Sweep { below, after, is_shallow: false, at_most: PAGE_PATHS };
        self.disk.must_ask().then_some(disk::Job::Sweep(page))
    }

    /// The page of the index that is needed to go on.
    pub(super) fn ask_index(&mut self) -> Option<index::Job> {
        let (below, after) = (self.below.clone(), self.index.after.clone());
        let page = index::Job::Shown { below, after, at_most: PAGE_PATHS };
        self.index.must_ask().then_some(page)
    }

    /// Takes a page of the tree.
    pub(super) fn swept(&mut self, entries: Vec<(RelPath, Look)>, is_end: bool) {
        self.disk.is_asked = false;
        self.looked.paths += entries.len() as u64;
        self.disk.is_end = is_end || entries.is_empty();
        self.disk.after = entries.last().map(|(path, _)| path.clone()).or_else(|| self.disk.after.take());
        self.disk.waiting.extend(entries);
    }

    /// Takes a page of the index.
    pub(super) fn shown(&mut self, rows: Vec<(RelPath, Here)>) {
        self.index.is_asked = false;
        self.index.is_end = rows.len() < PAGE_PATHS;
        self.index.after = rows.last().map(|(path, _)| path.clone()).or_else(|| self.index.after.take());
        self.index.waiting.extend(rows);
    }

    /// Whether both streams were gone through.
    pub(super) fn is_over(&self) -> bool {
        let is_over = |is_end: bool, is_empty: bool| is_end && is_empty;
        is_over(self.disk.is_end, self.disk.waiting.is_empty())
            && is_over(self.index.is_end, self.index.waiting.is_empty())
    }

    /// The next path with something new on the disk, as far as both streams are known.
    pub(super) fn next(&mut self) -> Option<Finding> {
        while self.disk.is_ready() && self.index.is_ready() {
            let shown = self.disk.waiting.front().map(|(path, _)| path);
            let held = self.index.waiting.front().map(|(path, _)| path);
            let (takes_disk, takes_index) = match (shown, held) {
                (None, None) => return None,
                (Some(_), None) => (true, false),
                (None, Some(_)) => (false, true),
                (Some(shown), Some(held)) => (shown <= held, held <= shown),
            };
            let entry = if takes_disk { self.disk.waiting.pop_front() } else { None };
            let here = if takes_index { self.index.waiting.pop_front() } else { None };
            let found = match (entry, here) {
                (Some((path, look)), held) => self.compare(path, look, held.map(|(_, here)| here)),
                (None, Some((path, here))) => {
                    self.is_gone(path, here);
                    None
                }
                (None, None) => None,
            };
            if found.is_some() {
                self.looked.changed += 1;
                return found;
            }
        }
        None
    }

    fn compare(&mut self, path: RelPath, look: Look, here: Option<Here>) -> Option<Finding> {
        match look {
            // With what was in it, or the one would contradict the other until that is found to be gone (I4).
            Look::Seen(seen) if here.as_ref().is_some_and(|here| replaces_folder(here, &seen)) => {
                self.note_gone(Finding::of(path, here, Some(seen)));
                None
            }
            Look::Seen(seen) => Finding::new(path, here, Some(seen)),
            Look::Nothing => {
                if let Some(here) = here {
                    self.is_gone(path, here);
                }
                None
            }
            Look::Unknown(why) => {
                self.hidden.insert(path.clone());
                self.unknown.insert(path, why);
                None
            }
            Look::Ignored => {
                self.hidden.insert(path);
                None
            }
        }
    }

    fn is_gone(&mut self, path: RelPath, here: Here) {
        if is_within(&path, &self.hidden) {
            return;
        }
        self.note_gone(Finding::of(path, Some(here), None));
    }

    fn note_gone(&mut self, finding: Finding) {
        self.looked.changed += 1;
        if self.gone.len() < GONE_MAX {
            return self.gone.push(finding);
        }
        self.more_gone += 1;
        if let Some(Here { version: Version { kind: Kind::File { content, .. }, .. }, .. }) =
            &finding.compared
        {
            self.further.add(content);
        }
    }
}

/// Whether something else stands where a folder was.
pub(super) fn replaces_folder(here: &Here, seen: &Seen) -> bool {
    here.version.kind == Kind::Directory && seen.kind != disk::SeenKind::Directory
}

/// Whether a path is one of these, or below one.
pub(super) fn is_within(path: &RelPath, folders: &BTreeSet<RelPath>) -> bool {
    !folders.is_empty()
        && (folders.contains(path) || path.ancestors().any(|folder| folders.contains(&folder)))
}

#[cfg(test)]
mod tests {
    use shoal_proto::record::{Mode, Timestamp};

    use super::*;
    use crate::disk::SeenKind;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).unwrap()
    }

    fn seen(size: u64) -> Seen {
        let mode = Mode::from_bits(0o644);
        Seen { kind: SeenKind::File { size }, mtime: Timestamp::ZERO, mode, inode: 1, ctime: Timestamp::ZERO }
    }

    fn row(text: &str, size: u64) -> (RelPath, Here) {
        (path(text), seen(size).with_content(ContentId::NONE))
    }

    /// Goes through both streams, in pages of so many paths.
    fn go(disk: &[(&str, Look)], index: &[(RelPath, Here)], page: usize) -> Sweep {
        let mut sweep = Sweep::new(None, 0);
        let (mut disk, mut index) = (disk.iter(), index.iter());
        while !sweep.is_over() {
            if sweep.ask_disk().is_some() {
                let entries: Vec<_> =
                    disk.by_ref().take(page).map(|(text, look)| (path(text), look.clone())).collect();
                sweep.swept(entries, disk.len() == 0);
            }
            if sweep.ask_index().is_some() {
                sweep.shown(index.by_ref().take(PAGE_PATHS).cloned().collect());
            }
            while let Some(found) = sweep.next() {
                sweep.unknown.insert(found.path, Unknown::Special);
            }
        }
        sweep
    }

    #[test]
    fn what_is_new_changed_and_gone_is_found_whatever_the_pages() {
        let disk = [
            ("a", Look::Seen(seen(1))),
            ("b", Look::Seen(seen(2))),
            ("d", Look::Seen(seen(4))),
            ("e", Look::Nothing),
        ];
        let index = [row("b", 3), row("c", 3), row("d", 4), row("e", 5)];
        for page in 1..5 {
            let sweep = go(&disk, &index, page);
            assert_eq!(sweep.unknown.into_keys().collect::<Vec<_>>(), [path("a"), path("b")]);
            assert_eq!(
                sweep.gone.iter().map(|one| one.path.clone()).collect::<Vec<_>>(),
                [path("c"), path("e")]
            );
        }
    }

    /// I19: what is gone beyond what is remembered is counted, file by file.
    #[test]
    fn i19_what_is_gone_beyond_the_bound_is_counted() {
        let names: Vec<String> = (0..GONE_MAX + 5).map(|number| format!("{number:04}")).collect();
        let mut index: Vec<_> = names.iter().map(|name| row(name, 1)).collect();
        let folder = Seen { kind: SeenKind::Directory, ..seen(0) };
        index[GONE_MAX + 1].1 = folder.with_content(ContentId::NONE);
        let sweep = go(&[], &index, 3);
        assert_eq!((sweep.gone.len(), sweep.more_gone), (GONE_MAX, 5));
        assert_eq!(sweep.further.iter().map(|(_, files)| files).collect::<Vec<_>>(), [4]);
    }

    /// I21, E3: what cannot be seen is not gone, nor is what lies below it, and `a!` lies between `a` and what is in it.
    #[test]
    fn i21_below_what_is_ignored_or_unknown_nothing_is_gone() {
        for look in [Look::Ignored, Look::Unknown(Unknown::Unreadable)] {
            let index = [row("a", 1), row("a!", 1), row("a/x/y", 1), row("b", 1)];
            let sweep = go(&[("a", look)], &index, 2);
            let gone: Vec<_> = sweep.gone.iter().map(|one| one.path.clone()).collect();
            assert_eq!(gone, [path("a!"), path("b")]);
        }
    }
}
