//! The way through the folders of a tree, in the order of paths.
//!
//! Promise: what is to be looked at, and what is to be told of folders that cannot be gone into, comes in the order in
//! which a sweep tells it. No name is looked at here but those of folders that are gone into.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use shoal_proto::path::RelPath;

use super::names::Names;
use super::{Left, Swept, Unswept, failed, look};
use crate::folder::Shared;
use crate::fs::{Fs, FsDir};
use crate::stat::Kind;
use crate::walk::{Barred, enter};

/// Whether a folder is gone into.
#[derive(Clone)]
pub(crate) struct Enters(pub(crate) Arc<dyn Fn(&RelPath) -> bool + Send + Sync>);

impl Enters {
    /// Every folder is.
    pub(super) fn all() -> Self {
        Self(Arc::new(|_| true))
    }
}

impl fmt::Debug for Enters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Enters")
    }
}

/// Where a sweep is. Holds a handle for each folder on the way there.
#[derive(Debug)]
pub(super) struct Descent<F: Fs> {
    folder: Arc<Shared<F>>,
    /// The folders that we are in, the innermost last.
    levels: Vec<Level<F>>,
    shallow: bool,
    after: Option<RelPath>,
    enters: Enters,
}

#[derive(Debug)]
struct Level<F: Fs> {
    dir: Arc<F::Dir>,
    names: Arc<Names>,
    /// The next of them.
    next: usize,
    /// The names were too many: after the last of them the folder is read again from there.
    is_cut: bool,
}

/// Some names of one folder that are to be looked at, in order.
#[derive(Debug)]
pub(super) struct Batch<F: Fs> {
    dir: Arc<F::Dir>,
    names: Arc<Names>,
    /// Which of them; all at their first turn.
    range: Range<usize>,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Step<F: Fs> {
    /// These are to be looked at.
    Look(Batch<F>),
    /// This is to be told.
    Tell(Swept),
}

impl<F: Fs> Descent<F> {
    /// Stands nowhere yet; see [`Self::enter`].
    pub(super) fn new(folder: Arc<Shared<F>>, shallow: bool, after: Option<RelPath>, enters: Enters) -> Self {
        Self { folder, levels: Vec::new(), shallow, after, enters }
    }

    /// What comes next, with at most so many names; `None` at the end.
    pub(super) fn next(&mut self, at_most: usize) -> Option<Step<F>> {
        loop {
            let level = self.levels.last_mut()?;
            let (dir, names) = (Arc::clone(&level.dir), Arc::clone(&level.names));
            let begin = level.next;
            let Some(turn) = names.get(begin) else {
                if !level.is_cut {
                    self.levels.pop();
                } else if let Some(told) = self.read_on() {
                    return Some(Step::Tell(told));
                }
                continue;
            };
            let Some(name) = turn.folder() else {
                let is_first = |at: &usize| names.get(*at).is_some_and(|turn| turn.folder().is_none());
                let run = (begin..).take(at_most).take_while(is_first).count();
                level.next += run;
                return Some(Step::Look(Batch { dir, names, range: begin..begin + run }));
            };
            level.next += 1;
            if let Some(told) = self.go_into(&dir, name, [names.prefix(), turn.key].concat()) {
                return Some(Step::Tell(told));
            }
        }
    }

    /// Goes into a folder; tells why if that is not possible, unless that was told on its first turn.
    fn go_into(&mut self, dir: &F::Dir, name: &OsStr, prefix: Vec<u8>) -> Option<Swept> {
        let path = &prefix[..prefix.len() - 1];
        let told = |why| Some(Swept::Left(Left { path: path.into(), why }));
        // On its first turn it was told if it is no path, is on another file system, or is gone; and if it has become
        // something else since, whoever changed it is told of that.
        if !RelPath::parse(path).is_ok_and(|path| (self.enters.0)(&path)) {
            return None;
        }
        let seen = match dir.look(name) {
            Ok(Some(seen))
                if seen.kind == Kind::Folder && seen.stat.dev == self.folder.root_seen.stat.dev =>
            {
                seen
            }
            Ok(_) => return None,
            Err(error) => return told(Unswept::Failed(error.kind())),
        };
        let opened = match enter(dir, name, &seen) {
            Ok(opened) => Arc::new(opened),
            Err(Barred::NotPermitted) => return told(Unswept::Unreadable),
            // The same device, mounted once more.
            Err(Barred::OtherFileSystem) => return told(Unswept::OtherFileSystem),
            Err(Barred::Failed(error)) => return told(Unswept::Failed(error.kind())),
            Err(Barred::Gone | Barred::Link | Barred::NotAFolder(_) | Barred::Reserved) => return None,
        };
        let path: Box<[u8]> = path.into();
        match self.enter(opened, prefix) {
            Ok(()) => None,
            Err(error) => Some(Swept::Left(Left { path, why: failed(&error) })),
        }
    }

    /// Reads the names of a folder and stands in it.
    pub(super) fn enter(&mut self, dir: Arc<F::Dir>, prefix: Vec<u8>) -> io::Result<()> {
        // Of `after` only what is below this folder counts; where nothing is, all of it comes after, or we were not here.
        let after = self.after.as_ref().map(RelPath::as_bytes).unwrap_or_default();
        let after = match after.strip_prefix(&*prefix) {
            Some(rest) => rest,
            None if after > &*prefix => return Ok(()),
            None => &[],
        };
        let (names, is_cut) = Names::read(&*dir, prefix, after, self.shallow)?;
        self.levels.push(Level { dir, names: Arc::new(names), next: 0, is_cut });
        Ok(())
    }

    /// Reads the next names of a large folder.
    fn read_on(&mut self) -> Option<Swept> {
        let level = self.levels.last_mut()?;
        level.is_cut = false;
        let names = &level.names;
        let after =
            names.len().checked_sub(1).and_then(|last| names.get(last)).map_or(&b""[..], |last| last.key);
        match Names::read(&*level.dir, names.prefix().to_vec(), after, self.shallow) {
            Ok((names, is_cut)) => {
                (level.names, level.next, level.is_cut) = (Arc::new(names), 0, is_cut);
                None
            }
            Err(error) => {
                let path = names.prefix().strip_suffix(b"/").unwrap_or_default().into();
                Some(Swept::Left(Left { path, why: failed(&error) }))
            }
        }
    }
}

impl<F: Fs> Batch<F> {
    /// How many names are left to be looked at.
    pub(super) fn len(&self) -> usize {
        self.range.len()
    }

    /// What is to be told of the next name, `Some(None)` if that is nothing; `None`: none is left. `path` is for use here.
    pub(super) fn look_at_next(&mut self, folder: &Shared<F>, path: &mut Vec<u8>) -> Option<Option<Swept>> {
        let turn = self.names.get(self.range.next()?)?;
        path.clear();
        path.extend_from_slice(self.names.prefix());
        path.extend_from_slice(turn.key);
        Some(look(folder, &self.dir, path, turn.key, turn.kind))
    }
}
