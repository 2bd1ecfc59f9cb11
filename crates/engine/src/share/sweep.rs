//! Comparing a folder with what the index holds of it, page by page.
//!
//! Promise: the two streams are gone through side by side in the order of paths. A path that the disk did not show is
//! gone only if the disk could say so: below what is unknown or ignored nothing is (I21, E3). Of all that is gone the
//! first paths are remembered; of the others some 20 bytes for each content, so that the guard can weigh the whole (I19).
//! A file that may have been moved from elsewhere is told of at the end, when it is known what is gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shoal_proto::hash::ContentId;
use shoal_proto::here::Here;
use shoal_proto::limits::SEGMENT_BYTES_MIN;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Version};

use crate::disk::{self, Look, Seen, Unknown};
use crate::index::{self, Further};
use crate::limits::{GONE_MAX, INODES_MAX, PAGE_PATHS};
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
    anew: Anew,
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

/// Files that stand where none or another one stood, until it is known whether they were moved there: whether the index
/// holds their inodes elsewhere. Only for their sake it is read ahead of the disk.
#[derive(Debug, Default)]
struct Anew {
    /// Those for which it is not known yet, at most [`GONE_MAX`] with those that may have been moved.
    found: VecDeque<Finding>,
    maybe_moved: Vec<Finding>,
    /// The inodes of what is gone, and of what the index holds where the disk has yet to be looked at, as far as it was read
    /// ahead: when there are [`INODES_MAX`], no further. What is left to be asked for is known when the sweep has come
    /// through.
    inodes: BTreeSet<u64>,
    /// How far the index was read ahead; `None`: nobody needed that.
    ahead: Option<Pages>,
}

impl Anew {
    fn has_room(&self) -> bool {
        self.found.len() + self.maybe_moved.len() < GONE_MAX
    }
}

/// One of the two streams.
#[derive(Debug)]
struct Side<T> {
    /// What has come and was not gone through.
    waiting: VecDeque<T>,
    pages: Pages,
}

/// How far a stream was read, page by page.
#[derive(Clone, Debug, Default)]
struct Pages {
    /// The last path that has come.
    after: Option<RelPath>,
    next: Next,
}

/// The page that is to come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Next {
    #[default]
    Unasked,
    Asked,
    /// There is none.
    End,
}

impl<T> Default for Side<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), pages: Pages::default() }
    }
}

impl<T> Side<T> {
    /// Has the next page asked for if it must be: while one is gone through, the next is read.
    fn must_ask(&mut self) -> bool {
        self.waiting.len() <= PAGE_PATHS && self.pages.must_ask()
    }

    /// Whether it is known what comes next.
    fn is_ready(&self) -> bool {
        !self.waiting.is_empty() || self.pages.next == Next::End
    }

    /// Whether all of it was gone through.
    fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.pages.next == Next::End
    }
}

impl Pages {
    fn must_ask(&mut self) -> bool {
        let must = self.next == Next::Unasked;
        if must {
            self.next = Next::Asked;
        }
        must
    }

    /// Who goes on from here has not asked for anything.
    fn ask_anew(&mut self) {
        if self.next == Next::Asked {
            self.next = Next::Unasked;
        }
    }

    /// A page has come, up to this path if there is anything in it.
    fn has_come(&mut self, last: Option<&RelPath>, is_end: bool) {
        self.next = if is_end { Next::End } else { Next::Unasked };
        if last.is_some() {
            self.after = last.cloned();
        }
    }

    /// The same of a page of the index.
    fn has_come_of_index(&mut self, rows: &[(RelPath, Here)]) {
        self.has_come(rows.last().map(|(path, _)| path), rows.len() < PAGE_PATHS);
    }
}

/// A page of what the index holds.
fn page_of(below: Option<&RelPath>, after: Option<&RelPath>) -> index::Job {
    index::Job::Shown { below: below.cloned(), after: after.cloned(), at_most: PAGE_PATHS }
}

impl Sweep {
    pub(super) fn new(below: Option<RelPath>, number: u64) -> Self {
        Self {
            below,
            number,
            is_moved: false,
            disk: Side::default(),
            index: Side::default(),
            anew: Anew::default(),
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
        let (below, after) = (self.below.clone(), self.disk.pages.after.clone());
        let page = disk::Sweep { below, after, is_shallow: false, at_most: PAGE_PATHS };
        self.disk.must_ask().then_some(disk::Job::Sweep(page))
    }

    /// The page of the index that is needed to go on.
    pub(super) fn ask_index(&mut self) -> Option<index::Job> {
        self.index.must_ask().then(|| page_of(self.below.as_ref(), self.index.pages.after.as_ref()))
    }

    /// The page of the index that is needed to know what may have been moved.
    pub(super) fn ask_ahead(&mut self) -> Option<index::Job> {
        let has_room = self.anew.inodes.len() < INODES_MAX;
        let is_needed = has_room && !self.anew.found.is_empty() && !self.knows_what_is_ahead();
        let ahead = self.anew.ahead.as_mut().filter(|_| is_needed)?;
        ahead.must_ask().then(|| page_of(self.below.as_ref(), ahead.after.as_ref()))
    }

    /// Takes a page of the tree.
    pub(super) fn swept(&mut self, entries: Vec<(RelPath, Look)>, is_end: bool) {
        self.looked.paths += entries.len() as u64;
        let last = entries.last().map(|(path, _)| path);
        self.disk.pages.has_come(last, is_end || last.is_none());
        self.disk.waiting.extend(entries);
    }

    /// Takes a page of the index.
    pub(super) fn shown(&mut self, rows: Vec<(RelPath, Here)>) {
        self.index.pages.has_come_of_index(&rows);
        self.index.waiting.extend(rows);
    }

    /// Takes a page of the index that was read ahead.
    pub(super) fn shown_ahead(&mut self, rows: &[(RelPath, Here)]) {
        if let Some(ahead) = &mut self.anew.ahead {
            ahead.has_come_of_index(rows);
            self.anew.inodes.extend(rows.iter().map(|(_, here)| here.inode));
        }
    }

    /// Whether both streams were gone through, and all was told that cannot have been moved.
    pub(super) fn is_over(&self) -> bool {
        self.disk.is_over() && self.index.is_over() && self.anew.found.is_empty()
    }

    /// The next path with something new on the disk, as far as both streams are known. What may have been moved there is
    /// not among it.
    pub(super) fn next(&mut self) -> Option<Finding> {
        loop {
            if let Some(found) = self.next_that_is_new() {
                return Some(found);
            }
            let found = self.next_difference()?;
            self.looked.changed += 1;
            if shown_anew(&found).is_none() || !self.anew.has_room() {
                return Some(found);
            }
            if self.anew.ahead.is_none() {
                let mut ahead = self.index.pages.clone();
                ahead.ask_anew();
                self.anew.ahead = Some(ahead);
                self.anew.inodes.extend(self.index.waiting.iter().map(|(_, here)| here.inode));
            }
            self.anew.found.push_back(found);
        }
    }

    /// What may have been moved to where it was found.
    pub(super) fn take_maybe_moved(&mut self) -> Vec<Finding> {
        let mut found = core::mem::take(&mut self.anew.maybe_moved);
        found.extend(self.anew.found.drain(..));
        found
    }

    /// The files that the disk has shown so far, and that were not told of yet.
    pub(super) fn to_be_told(&self) -> impl Iterator<Item = &Seen> {
        let waiting = self.disk.waiting.iter().filter_map(|(_, look)| match look {
            Look::Seen(seen) => Some(seen),
            _ => None,
        });
        let kept = self.anew.found.iter().chain(&self.anew.maybe_moved);
        waiting.filter(|seen| is_file(seen)).chain(kept.filter_map(shown_anew))
    }

    /// The next of those that were kept and cannot have been moved.
    fn next_that_is_new(&mut self) -> Option<Finding> {
        while self.knows_what_is_ahead()
            && let Some(found) = self.anew.found.pop_front()
        {
            if !shown_anew(&found).is_some_and(|seen| self.anew.inodes.contains(&seen.inode)) {
                return Some(found);
            }
            self.anew.maybe_moved.push(found);
        }
        None
    }

    /// Whether all inodes are known that something may have been moved from.
    fn knows_what_is_ahead(&self) -> bool {
        self.index.is_over() || self.anew.ahead.as_ref().is_some_and(|ahead| ahead.next == Next::End)
    }

    fn next_difference(&mut self) -> Option<Finding> {
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
            self.anew.inodes.extend(finding.compared.as_ref().map(|here| here.inode));
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

/// A file that was found where another one was, or nothing: it may have been moved there.
pub(super) fn shown_anew(finding: &Finding) -> Option<&Seen> {
    let seen = finding.seen.as_ref().filter(|seen| is_file(seen))?;
    let is_other = finding.compared.as_ref().is_none_or(|here| here.inode != seen.inode);
    is_other.then_some(seen)
}

fn is_file(seen: &Seen) -> bool {
    matches!(seen.kind, disk::SeenKind::File { .. })
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

    /// Goes through both streams, the disk in pages of so many paths.
    fn go(disk: &[(&str, Look)], index: &[(RelPath, Here)], page: usize) -> Sweep {
        let mut sweep = Sweep::new(None, 0);
        let (mut disk, rows) = (disk.iter(), index);
        let mut index = index.iter();
        while !sweep.is_over() {
            if let Some(index::Job::Shown { after, .. }) = sweep.ask_ahead() {
                let rows = rows.iter().filter(|(path, _)| Some(path) > after.as_ref());
                sweep.shown_ahead(&rows.take(PAGE_PATHS).cloned().collect::<Vec<_>>());
            }
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
            ("a", Look::Seen(Seen { inode: 2, ..seen(1) })),
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

    /// What may have been moved is kept, wherever it was; what is new is told as soon as the index was asked, and where that
    /// holds nothing at once.
    #[test]
    fn what_may_have_been_moved_is_kept_and_what_is_new_is_not() {
        let files = 0..2 * PAGE_PATHS as u64 + 9;
        let numbered = |number: u64| (format!("m/{number:05}"), Seen { inode: number, ..seen(1) });
        let all: Vec<_> = files.clone().map(numbered).collect();
        let index: Vec<_> =
            all.iter().map(|(name, seen)| (path(name), seen.clone().with_content(ContentId::NONE))).collect();
        let last = files.end - 1;
        let anew = [("a", 0), ("linked", 7), ("new", last + 1), ("z", last), ("z-new", last + 2)];
        let is_gone = |number: u64| number == 0 || number == last;
        let there = files.filter(|number| !is_gone(*number)).map(numbered);
        let new = anew.map(|(name, inode)| (name.to_owned(), Seen { inode, ..seen(1) }));
        let mut shown: Vec<_> = new.into_iter().chain(there).collect();
        shown.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let disk: Vec<_> = shown.iter().map(|(name, seen)| (&**name, Look::Seen(seen.clone()))).collect();
        let mut sweep = go(&disk, &index, PAGE_PATHS);
        let paths = |found: &[Finding]| found.iter().map(|one| one.path.to_string()).collect::<Vec<_>>();
        assert_eq!(paths(&sweep.gone), [numbered(0).0, numbered(last).0]);
        assert_eq!(sweep.unknown.keys().map(ToString::to_string).collect::<Vec<_>>(), ["new", "z-new"]);
        assert_eq!(paths(&sweep.take_maybe_moved()), ["a", "linked", "z"]);
        let mut sweep = Sweep::new(None, 0);
        sweep.swept(disk.iter().map(|(name, look)| (path(name), look.clone())).collect(), false);
        sweep.shown(Vec::new());
        assert!(sweep.next().is_some() && sweep.anew.found.is_empty() && sweep.ask_ahead().is_none());
    }

    /// I30: so much is kept and no more; the rest is told of at once.
    #[test]
    fn i30_what_may_have_been_moved_is_kept_up_to_a_bound() {
        let names: Vec<String> = (0..GONE_MAX + 5).map(|number| format!("new/{number:04}")).collect();
        let disk: Vec<_> = names.iter().map(|name| (&**name, Look::Seen(seen(1)))).collect();
        let mut sweep = go(&disk, &[row("z", 1)], 3);
        assert_eq!((sweep.unknown.len(), sweep.take_maybe_moved().len()), (5, GONE_MAX));
    }

    /// I30: no more is read ahead than there is room for; what is not known by then is known at the end.
    #[test]
    fn i30_no_more_than_so_many_inodes_are_read_ahead() {
        let numbered = |number: usize| (format!("m/{number:05}"), Seen { inode: number as u64, ..seen(1) });
        let there: Vec<_> = (1..INODES_MAX + 3 * PAGE_PATHS).map(numbered).collect();
        let index: Vec<_> = there
            .iter()
            .map(|(name, seen)| (path(name), seen.clone().with_content(ContentId::NONE)))
            .collect();
        let (last, rest) = there.split_last().unwrap();
        let news = [("a".to_owned(), Seen { inode: 0, ..seen(1) }), ("b".to_owned(), last.1.clone())];
        let shown = news.iter().chain(rest);
        let disk: Vec<_> = shown.map(|(name, seen)| (&**name, Look::Seen(seen.clone()))).collect();
        let mut sweep = go(&disk, &index, PAGE_PATHS);
        assert!((INODES_MAX..=INODES_MAX + PAGE_PATHS).contains(&sweep.anew.inodes.len()));
        assert_eq!(sweep.unknown.into_keys().collect::<Vec<_>>(), [path("a")]);
        let moved: Vec<_> = core::mem::take(&mut sweep.anew.maybe_moved);
        assert_eq!(moved.iter().map(|one| &one.path).collect::<Vec<_>>(), [&path("b")]);
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
