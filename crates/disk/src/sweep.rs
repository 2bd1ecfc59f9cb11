//! Looking through a whole tree, page by page, in the order of paths.
//!
//! Promise: paths come in the order in which [`RelPath`] compares, each once, and a page holds no more than was asked for.
//! Nothing is opened but folders, no link is followed, no other file system is entered (I23, E1, E2, E22). What cannot be
//! listed is told with its reason, never passed over: whoever reads a sweep can tell "not there" from "not known" (E3, E20).
//!
//! In the order of bytes a folder's contents do not follow it at once: `a!` comes between `a` and `a/b`. So each folder
//! stands twice among the names of the one above, as `a`, when it is told, and as `a/`, when it is gone into.
//!
//! Of each folder on the way at most [`NAMES_AT_A_TIME`] names are in memory; a larger one is read several times (E15).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;
use shoal_proto::path::{RelPath, RelPathError};

use crate::escape::{Escaped, shown};
use crate::folder::Shared;
use crate::fs::{Fs, FsDir};
use crate::name::STATE_NAME;
use crate::os::Os;
use crate::stat::{Kind, Look};
use crate::tree::Tree;
use crate::walk::{Barred, WalkError, Walker, enter};

/// What part of a tree is looked through. The default is all of it.
#[derive(Clone, Debug, Default)]
pub struct SweepRange {
    /// Only what is below this folder, not the folder itself; `None` for the whole tree.
    pub below: Option<RelPath>,
    /// Only paths after this one, to go on where another sweep ended.
    pub after: Option<RelPath>,
    /// Only what is in the folder itself, without going into those in it: what a hint of a watcher asks for.
    pub shallow: bool,
}

/// What a sweep comes across.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Swept {
    /// A file, a folder or a link.
    Entry(Entry),
    /// A name that is not listed.
    Left(Left),
}

/// One path and what is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Where.
    pub path: RelPath,
    /// What was seen: kind, size, times, permissions, inode number.
    pub seen: Look,
    /// What a symbolic link says; `None` for files and folders.
    pub target: Option<OsString>,
}

/// A path that is not listed, and why. Nothing is known of what is at the path and below it: whoever compares a sweep with
/// what was there before must not take that for gone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Left {
    /// Its bytes, from the root of the tree; they need not be a path of a share.
    pub path: Box<[u8]>,
    /// Why.
    pub why: Unswept,
}

impl Left {
    /// The path for a person to read.
    pub fn shown(&self) -> Escaped<'_> {
        Escaped(&self.path)
    }
}

/// Why a path is left out of a sweep.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unswept {
    /// A pipe, socket or device (E1).
    #[error("it is {0}, not a file, folder or link")]
    Special(Kind),
    /// We may not read it (E3).
    #[error("this user may not read it")]
    Unreadable,
    /// Another file system is mounted there (E22).
    #[error("it is on another file system")]
    OtherFileSystem,
    /// It cannot be a path of a share (E14); also [`STATE_NAME`] anywhere but in the root, in any spelling.
    #[error(transparent)]
    NoPath(RelPathError),
    /// The system failed to say what it is, or what is in it (E20).
    #[error("the system failed to look at it: {0}")]
    Failed(io::ErrorKind),
}

/// Why a sweep could not begin.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// There is no way to the folder.
    #[error(transparent)]
    Barred(#[from] WalkError),
    /// Its names cannot be read.
    #[error("cannot read the folder {}", shown(.path))]
    Read {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A sweep under way. Holds a handle for each folder on the way to where it is.
#[derive(Debug)]
pub struct Sweep<F: Fs = Os> {
    folder: Arc<Shared<F>>,
    /// The folders that we are in, the innermost last.
    levels: Vec<Level<F>>,
    shallow: bool,
    after: Option<RelPath>,
}

#[derive(Debug)]
struct Level<F: Fs> {
    dir: Arc<F::Dir>,
    /// The path of the folder with a slash after it; nothing for the root.
    prefix: Vec<u8>,
    /// What is still to come of the folder, in order: names, and once more with a slash what may be gone into.
    names: BTreeMap<Box<[u8]>, Kind>,
    /// The names were too many: after the last of them the folder is read again from there.
    goes_on_after: Option<Box<[u8]>>,
}

impl<F: Fs> Tree<F> {
    /// Begins to look through the tree, or a part of it. See [`Sweep::page`].
    ///
    /// # Errors
    /// When there is no way to the folder, or it cannot be read at all.
    pub fn sweep(&self, range: &SweepRange) -> Result<Sweep<F>, SweepError> {
        let folder = Arc::clone(&self.folder);
        let (dir, prefix) = match &range.below {
            None => (Arc::clone(&folder.root), Vec::new()),
            Some(below) => {
                let dir = Walker::new(&folder).open_folder(&below.into())?;
                (dir, [below.as_bytes(), b"/"].concat())
            }
        };
        let mut sweep =
            Sweep { folder, levels: Vec::new(), shallow: range.shallow, after: range.after.clone() };
        sweep.enter(dir, prefix).map_err(|source| {
            let below = range.below.as_ref().map_or(&b""[..], RelPath::as_bytes);
            SweepError::Read { path: self.folder.path.join(OsStr::from_bytes(below)), source }
        })?;
        Ok(sweep)
    }
}

impl<F: Fs> Sweep<F> {
    /// The next `limit` paths; fewer only at the end, and none at all after it. A page is read when it is asked for: what
    /// the user does meanwhile later pages show.
    pub fn page(&mut self, limit: usize) -> Vec<Swept> {
        self.page_within(limit, |_| true)
    }

    /// As [`Self::page`], and goes only into those folders that `enters` says yes to. What is in others is not told.
    pub fn page_within(&mut self, limit: usize, enters: impl Fn(&RelPath) -> bool) -> Vec<Swept> {
        let mut page = Vec::new();
        while page.len() < limit {
            let Some(level) = self.levels.last_mut() else { break };
            match level.names.pop_first() {
                Some((key, kind)) => page.extend(self.take(&key, kind, &enters)),
                None => match level.goes_on_after.take() {
                    None => drop(self.levels.pop()),
                    Some(after) => page.extend(self.read_on(&after)),
                },
            }
        }
        page
    }

    /// What is to be told of one name; goes into it if it is a folder's second turn.
    fn take(&mut self, key: &[u8], kind: Kind, enters: &impl Fn(&RelPath) -> bool) -> Option<Swept> {
        let level = self.levels.last()?;
        let path = [&*level.prefix, key].concat();
        match key.strip_suffix(b"/") {
            None => look(&self.folder, &level.dir, &path, key, kind),
            Some(name) => {
                let dir = Arc::clone(&level.dir);
                self.go_into(&dir, OsStr::from_bytes(name), path, enters)
            }
        }
    }

    /// Goes into a folder; tells why if that is not possible, unless that was told on its first turn.
    fn go_into(
        &mut self,
        dir: &F::Dir,
        name: &OsStr,
        prefix: Vec<u8>,
        enters: &impl Fn(&RelPath) -> bool,
    ) -> Option<Swept> {
        let path = &prefix[..prefix.len() - 1];
        let told = |why| Some(Swept::Left(Left { path: path.into(), why }));
        // On its first turn it was told if it is no path, is on another file system, or is gone; and if it has become
        // something else since, whoever changed it is told of that.
        if !RelPath::parse(path).is_ok_and(|path| enters(&path)) {
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
    fn enter(&mut self, dir: Arc<F::Dir>, prefix: Vec<u8>) -> io::Result<()> {
        // Of `after` only what is below this folder counts; where nothing is, all of it comes after, or we were not here.
        let after = self.after.as_ref().map(RelPath::as_bytes).unwrap_or_default();
        let after: Box<[u8]> = match after.strip_prefix(&*prefix) {
            Some(rest) => rest.into(),
            None if after > &*prefix => return Ok(()),
            None => Box::default(),
        };
        let (names, goes_on_after) = read_names(&*dir, &after, self.shallow)?;
        self.levels.push(Level { dir, prefix, names, goes_on_after });
        Ok(())
    }

    /// Reads the next names of a large folder.
    fn read_on(&mut self, after: &[u8]) -> Option<Swept> {
        let shallow = self.shallow;
        let level = self.levels.last_mut()?;
        match read_names(&*level.dir, after, shallow) {
            Ok((names, goes_on_after)) => {
                (level.names, level.goes_on_after) = (names, goes_on_after);
                None
            }
            Err(error) => {
                let path = level.prefix.strip_suffix(b"/").unwrap_or_default().into();
                Some(Swept::Left(Left { path, why: failed(&error) }))
            }
        }
    }
}

/// The first names of a folder after one of them, and that of the last one if there are more.
#[expect(clippy::type_complexity, reason = "the two fields of a level, read in two places")]
fn read_names<D: FsDir>(
    dir: &D,
    after: &[u8],
    shallow: bool,
) -> io::Result<(BTreeMap<Box<[u8]>, Kind>, Option<Box<[u8]>>)> {
    let mut names: BTreeMap<Box<[u8]>, Kind> = BTreeMap::new();
    let mut is_cut = false;
    let mut add = |key: Box<[u8]>, kind| {
        // A folder's second turn comes even if it was passed already, should we have ended in it.
        let ended_in_it = || key.last() == Some(&b'/') && after.len() > key.len() && after.starts_with(&key);
        let is_to_come = *key > *after || ended_in_it();
        if !is_to_come || is_cut && names.last_key_value().is_some_and(|(last, _)| key > *last) {
            return;
        }
        names.insert(key, kind);
        if names.len() > NAMES_AT_A_TIME {
            names.pop_last();
            is_cut = true;
        }
    };
    dir.for_each(|name, kind| {
        let kind = match kind {
            Kind::Unknown => dir.look(name).ok().flatten().map_or(Kind::Unknown, |seen| seen.kind),
            known => known,
        };
        if kind == Kind::Folder && !shallow {
            add([name.as_bytes(), b"/"].concat().into(), kind);
        }
        add(name.as_bytes().into(), kind);
    })?;
    let last = names.last_key_value().map(|(last, _)| last.clone());
    Ok((names, last.filter(|_| is_cut)))
}

/// What is to be told of one name in an open folder; `None`: nothing is there, or only our own state.
fn look<F: Fs>(folder: &Shared<F>, dir: &F::Dir, path: &[u8], name: &[u8], kind: Kind) -> Option<Swept> {
    let parsed = match RelPath::parse(path) {
        Ok(parsed) => parsed,
        // Our own state is not even mentioned.
        Err(_) if path == STATE_NAME.as_bytes() => return None,
        Err(error) => return Some(Swept::Left(Left { path: path.into(), why: Unswept::NoPath(error) })),
    };
    Some(match look_at(folder, dir, name, kind)? {
        Ok((seen, target)) => Swept::Entry(Entry { path: parsed, seen, target }),
        Err(why) => Swept::Left(Left { path: path.into(), why }),
    })
}

/// What one name in an open folder shows: what is there, with what a link says, or why it is not listed.
pub(crate) type Shown = Result<(Look, Option<OsString>), Unswept>;

/// Looks at one name in an open folder that is part of a path; `kind` may be known already. `None`: nothing is there.
pub(crate) fn look_at<F: Fs>(folder: &Shared<F>, dir: &F::Dir, name: &[u8], kind: Kind) -> Option<Shown> {
    if !matches!(kind, Kind::File | Kind::Folder | Kind::Symlink | Kind::Unknown) {
        return Some(Err(Unswept::Special(kind)));
    }
    let name = OsStr::from_bytes(name);
    let seen = match dir.look(name) {
        Ok(Some(seen)) => seen,
        Ok(None) => return None,
        // A name that this file system cannot have is the name of nothing.
        Err(error) if is_impossible_name(&error) => return None,
        Err(error) => return Some(Err(failed(&error))),
    };
    let target = match seen.kind {
        Kind::File if !folder.is_readable(dir, name, &seen) => return Some(Err(Unswept::Unreadable)),
        Kind::Folder if seen.stat.dev != folder.root_seen.stat.dev => {
            return Some(Err(Unswept::OtherFileSystem));
        }
        Kind::File | Kind::Folder => None,
        Kind::Symlink => match dir.read_link(name) {
            Ok(target) => Some(target),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            // It has become something else since; that comes with the next sweep.
            Err(error) => return Some(Err(failed(&error))),
        },
        other => return Some(Err(Unswept::Special(other))),
    };
    Some(Ok((seen, target)))
}

/// Whether the file system says that it can have no such name at all.
pub(crate) fn is_impossible_name(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ILSEQ | Errno::NAMETOOLONG))
}

fn failed(error: &io::Error) -> Unswept {
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS | Errno::PERM) => Unswept::Unreadable,
        _ => Unswept::Failed(error.kind()),
    }
}

/// Of one folder so many names are in memory at a time, some 100 bytes each.
const NAMES_AT_A_TIME: usize = if cfg!(test) { 16 } else { 1 << 16 };

#[cfg(test)]
mod tests;
