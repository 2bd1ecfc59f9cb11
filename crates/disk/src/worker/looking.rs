//! Looking: at single paths, and through the tree page by page.
//!
//! Promise: what nobody can say is never told as "nothing" (E3, E20), and what the user ignores is told as that and not
//! gone into (I21). Where a disk takes names of other letters for the same, only what it lists is there.

use std::collections::btree_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use shoal_engine::disk::{self as asked, Answer, Look, SeenKind, Unknown};
use shoal_proto::path::RelPath;

use super::rules::{Of, Rules};
use super::words;
use crate::folder::Shared;
use crate::fs::{Fs, FsDir};
use crate::path::TreePath;
use crate::stat::Kind;
use crate::sweep::{self, Enters, Left, Sweep, SweepError, SweepRange, Unswept};
use crate::tree::Tree;
use crate::walk::Walker;

/// The names in a folder, as they are listed.
type Names = BTreeSet<Box<[u8]>>;

/// Looks at one path after the other; best in order, because it keeps the folders of the last one open.
pub(super) struct Looker<'a, F: Fs> {
    pub(super) walker: Walker<'a, F>,
    pub(super) folder: &'a Shared<F>,
    rules: &'a Rules,
    /// Only where the disk folds case: the names in the folders on the way.
    listed: Option<BTreeMap<Box<[u8]>, Names>>,
}

impl<'a, F: Fs> Looker<'a, F> {
    pub(super) fn new(folder: &'a Shared<F>, rules: &'a Rules, folds_case: bool) -> Self {
        let listed = folds_case.then(BTreeMap::new);
        Self { walker: Walker::new(folder), folder, rules, listed }
    }

    /// One for reading many files in a row; see [`Walker::glancing`].
    pub(super) fn glancing(folder: &'a Shared<F>, rules: &'a Rules, folds_case: bool) -> Self {
        Self { walker: Walker::glancing(folder), ..Self::new(folder, rules, folds_case) }
    }

    /// What is at a path.
    pub(super) fn look(&mut self, path: &RelPath) -> Look {
        self.find(path).0
    }

    /// What is at a path, and the open folder in which it is, if it is in one.
    pub(super) fn find(&mut self, path: &RelPath) -> (Look, Option<Arc<F::Dir>>) {
        let (look, dir) = match self.find_any(path) {
            Ok((look, dir)) => (look, Some(dir)),
            Err(look) => (look, None),
        };
        (if self.rules.ignore(path, of(&look)) { Look::Ignored } else { look }, dir)
    }

    /// The same without asking whether it is ignored; `Err`: there is no way to it.
    fn find_any(&mut self, path: &RelPath) -> Result<(Look, Arc<F::Dir>), Look> {
        let tree_path = TreePath::from(path);
        match self.stranger(path) {
            Ok(None) => {}
            Ok(Some(_)) => return Err(Look::Nothing),
            Err(error) => return Err(Look::Unknown(Unknown::Failed(error.to_string()))),
        }
        let (dir, name) = self.walker.open_parent(&tree_path).map_err(|error| words::beyond(&error))?;
        let shown = sweep::look_at(self.folder, &dir, name.as_bytes(), Kind::Unknown);
        Ok((shown.map_or(Look::Nothing, words::shown), dir))
    }

    /// Where the disk folds case: the first path on the way to this one, itself included, that leads to something which
    /// is listed under another name.
    pub(super) fn stranger(&mut self, path: &RelPath) -> io::Result<Option<TreePath>> {
        let Some(listed) = &mut self.listed else { return Ok(None) };
        let path = TreePath::from(path);
        for depth in 0..path.names().count() {
            let at = path.up_to(depth);
            // What is not there at all, or cannot be, is nobody's; and what bars the way is told by who goes it.
            let Ok((dir, name)) = self.walker.open_parent(&at) else { return Ok(None) };
            match dir.look(name) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(error) if sweep::is_impossible_name(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            let above: Box<[u8]> = at.as_bytes()[..at.as_bytes().len() - name.len()].into();
            let names = match listed.entry(above) {
                Occupied(known) => known.into_mut(),
                Vacant(unknown) => {
                    let mut names = Names::new();
                    dir.for_each(|name, _| names.extend([Box::from(name.as_bytes())]))?;
                    unknown.insert(names)
                }
            };
            if !names.contains(name.as_bytes()) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }
}

/// What the rules are to be asked about.
pub(super) fn of(look: &Look) -> Of {
    match look {
        Look::Seen(seen) if seen.kind == SeenKind::Directory => Of::Folder,
        Look::Seen(_) | Look::Unknown(Unknown::Special) => Of::Other,
        Look::Nothing | Look::Unknown(_) | Look::Ignored => Of::Either,
    }
}

/// The sweeps that may go on: some at a time, because a small one comes in between the pages of a large one.
#[derive(Debug)]
pub(super) struct Sweeps<F: Fs> {
    pub(super) open: Vec<Open<F>>,
    left_out: Vec<Left>,
}

/// A sweep that was told in part.
#[derive(Debug)]
pub(super) struct Open<F: Fs> {
    asked: asked::Sweep,
    /// Where the last page ended; before the first one, where it is to begin.
    last: Option<RelPath>,
    rules: Arc<Rules>,
    sweep: Sweep<F>,
    /// What was read and not told.
    held: VecDeque<(RelPath, Look)>,
}

impl<F: Fs> Default for Sweeps<F> {
    fn default() -> Self {
        Self { open: Vec::new(), left_out: Vec::new() }
    }
}

impl<F: Fs> Sweeps<F> {
    /// The next page of what is asked for; `threads`: how many read, if it must be begun.
    pub(super) fn page(
        &mut self,
        tree: &Tree<F>,
        threads: usize,
        rules: &Arc<Rules>,
        asked: &asked::Sweep,
    ) -> Answer {
        if let Some(below) = &asked.below
            && let Some(ignored) = rules.ignored_at(below, Of::Folder)
        {
            return Answer::Swept { entries: vec![(ignored, Look::Ignored)], is_end: true };
        }
        if asked.below.is_none() && asked.after.is_none() {
            self.left_out.clear();
            // Who looks through everything anew goes on with nothing that was begun before, and each holds folders open.
            self.open.clear();
        }
        let mut open = match self.take_up(rules, asked) {
            Some(open) => open,
            None => match begin(tree, threads, rules, asked) {
                Ok(open) => open,
                Err(answer) => return answer,
            },
        };
        let (entries, is_end) = match open.page(asked.at_most.max(1), &mut self.left_out) {
            Ok(page) => page,
            Err(left) => return Answer::Failed(format!("cannot look through the folder: {}", left.why)),
        };
        if let (false, Some((last, _))) = (is_end, entries.last()) {
            open.last = Some(last.clone());
            if self.open.len() == SWEEPS_MAX {
                self.open.remove(0);
            }
            self.open.push(open);
        }
        Answer::Swept { entries, is_end }
    }

    /// Names that the sweep over everything has met and that no path of a share can say; at most [`LEFT_OUT_MAX`].
    pub(super) fn left_out(&self) -> &[Left] {
        &self.left_out
    }

    /// The open sweep whose next page is asked for.
    fn take_up(&mut self, rules: &Arc<Rules>, asked: &asked::Sweep) -> Option<Open<F>> {
        let after = asked.after.as_ref()?;
        let is_next = |open: &Open<F>| {
            open.last.as_ref() == Some(after)
                && (&open.asked.below, open.asked.is_shallow) == (&asked.below, asked.is_shallow)
                && Arc::ptr_eq(&open.rules, rules)
        };
        let at = self.open.iter().position(is_next)?;
        Some(self.open.remove(at))
    }
}

impl<F: Fs> Open<F> {
    /// At most `at_most` entries, and whether there is nothing after them. `Err`: the tree as a whole cannot be read on.
    ///
    /// A folder whose inside turns out to be unreadable is told a second time, where its inside would come. A page does
    /// not end with such an entry, because nobody could say "after this" of it; for that, and only if a page would have
    /// nothing else in it, it may be longer.
    fn page(
        &mut self,
        at_most: usize,
        left_out: &mut Vec<Left>,
    ) -> Result<(Vec<(RelPath, Look)>, bool), Left> {
        let mut entries: Vec<(RelPath, Look)> = Vec::new();
        // The greatest path so far: what comes after it and is not greater is told for the second time.
        let mut greatest = self.last.clone();
        let mut whole = 0;
        let is_end = loop {
            if entries.len() >= at_most && whole > 0 {
                break false;
            }
            let Some((path, look)) = self.next(left_out)? else { break true };
            let is_second = greatest.as_ref().is_some_and(|greatest| path <= *greatest);
            if !is_second {
                greatest = Some(path.clone());
            }
            entries.push((path, look));
            if !is_second {
                whole = entries.len();
            }
        };
        if !is_end {
            for entry in entries.drain(whole..).rev() {
                self.held.push_front(entry);
            }
        }
        Ok((entries, is_end))
    }

    fn next(&mut self, left_out: &mut Vec<Left>) -> Result<Option<(RelPath, Look)>, Left> {
        if let Some(held) = self.held.pop_front() {
            return Ok(Some(held));
        }
        loop {
            let Some(swept) = self.sweep.next() else { return Ok(None) };
            match words::swept(swept) {
                Ok((path, look)) => {
                    let is_ignored = self.rules.ignore_itself(&path, of(&look));
                    return Ok(Some((path, if is_ignored { Look::Ignored } else { look })));
                }
                Err(Left { path, why: why @ Unswept::NoPath(_) }) => {
                    if left_out.len() < LEFT_OUT_MAX {
                        left_out.push(Left { path, why });
                    }
                }
                // Only the root itself is without a path.
                Err(left) => return Err(left),
            }
        }
    }
}

/// Begins anew; the error is the answer already.
fn begin<F: Fs>(
    tree: &Tree<F>,
    threads: usize,
    rules: &Arc<Rules>,
    asked: &asked::Sweep,
) -> Result<Open<F>, Answer> {
    let range =
        SweepRange { below: asked.below.clone(), after: asked.after.clone(), shallow: asked.is_shallow };
    let ended = |entries| Answer::Swept { entries, is_end: true };
    let unknown = |path: &RelPath, why| ended(vec![(path.clone(), Look::Unknown(why))]);
    let entered_by = Arc::clone(rules);
    let enters = Enters(Arc::new(move |path: &RelPath| !entered_by.ignore_itself(path, Of::Folder)));
    let sweep = tree.sweep_with(&range, threads, enters).map_err(|error| match (&error, &asked.below) {
        (SweepError::Barred(barred), below) => match (words::beyond(barred), barred.at.rel_path(), below) {
            (Look::Unknown(why), Some(at), _) => unknown(&at, why),
            (Look::Unknown(why), None, Some(below)) => unknown(below, why),
            _ => ended(Vec::new()),
        },
        (SweepError::Read { .. }, Some(below)) => unknown(below, Unknown::Failed(words::told(&error))),
        (SweepError::Read { .. }, None) => Answer::Failed(words::told(&error)),
    })?;
    Ok(Open {
        asked: asked.clone(),
        last: asked.after.clone(),
        rules: Arc::clone(rules),
        sweep,
        held: VecDeque::new(),
    })
}

/// So many sweeps are kept open between their pages, each with a handle for every folder on the way.
const SWEEPS_MAX: usize = 4;

/// So many names that are no paths are remembered.
pub const LEFT_OUT_MAX: usize = 1_000;
