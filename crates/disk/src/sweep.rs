//! Looking through a whole tree, page by page, in the order of paths.
//!
//! Promise: paths come in the order in which [`RelPath`] compares, each once, and a page holds no more than was asked for.
//! Nothing is opened but folders, no link is followed, no other file system is entered (I23, E1, E2, E22). What cannot be
//! listed is told with its reason, never passed over: whoever reads a sweep can tell "not there" from "not known" (E3, E20).
//!
//! In the order of bytes a folder's contents do not follow it at once: `a!` comes between `a` and `a/b`. So each folder
//! stands twice among the names of the one above, as `a`, when it is told, and as `a/`, when it is gone into.
//!
//! Of each folder on the way a bounded number of names is in memory; a larger one is read several times (E15).

mod ahead;
mod descent;
mod names;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;
use shoal_proto::path::{RelPath, RelPathError};

use self::ahead::{Ahead, BATCH_NAMES_MAX};
pub(crate) use self::descent::Enters;
use self::descent::{Batch, Descent, Step};
use crate::escape::{Escaped, shown};
use crate::folder::Shared;
use crate::fs::{Fs, FsDir};
use crate::name::STATE_NAME;
use crate::os::Os;
use crate::stat::{Kind, Look};
use crate::tree::Tree;
use crate::walk::{WalkError, Walker};

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

/// A sweep under way: what it tells, in order. Holds a handle for each folder on the way to where it is.
///
/// In one thread nothing is read before it is asked for: what the user does meanwhile shows in what comes later. With more,
/// a long sweep reads some thousand names ahead.
#[derive(Debug)]
pub struct Sweep<F: Fs = Os> {
    folder: Arc<Shared<F>>,
    /// How many threads read, the asker's among them.
    threads: usize,
    /// How many entries were told.
    told: usize,
    /// `None` when others have taken it on.
    descent: Option<Descent<F>>,
    /// The names that are being looked at.
    batch: Option<Batch<F>>,
    /// Where the path of each is put together.
    path: Vec<u8>,
    ahead: Option<Ahead<F>>,
}

impl<F: Fs> Tree<F> {
    /// Begins to look through the tree, or a part of it. See [`Sweep::page`].
    ///
    /// # Errors
    /// When there is no way to the folder, or it cannot be read at all.
    pub fn sweep(&self, range: &SweepRange) -> Result<Sweep<F>, SweepError> {
        self.sweep_with(range, 1, Enters::all())
    }

    /// As [`Self::sweep`], in some threads, and only into those folders that `enters` says yes to. What is in others is
    /// not told.
    ///
    /// # Errors
    /// As for [`Self::sweep`].
    pub(crate) fn sweep_with(
        &self,
        range: &SweepRange,
        threads: usize,
        enters: Enters,
    ) -> Result<Sweep<F>, SweepError> {
        let folder = Arc::clone(&self.folder);
        let (dir, prefix) = match &range.below {
            None => (Arc::clone(&folder.root), Vec::new()),
            Some(below) => {
                let dir = Walker::new(&folder).open_folder(&below.into())?;
                (dir, [below.as_bytes(), b"/"].concat())
            }
        };
        let mut descent = Descent::new(Arc::clone(&folder), range.shallow, range.after.clone(), enters);
        descent.enter(dir, prefix).map_err(|source| {
            let below = range.below.as_ref().map_or(&b""[..], RelPath::as_bytes);
            SweepError::Read { path: self.folder.path.join(OsStr::from_bytes(below)), source }
        })?;
        let descent = Some(descent);
        Ok(Sweep { folder, threads, told: 0, descent, batch: None, path: Vec::new(), ahead: None })
    }
}

impl<F: Fs> Sweep<F> {
    /// The next `limit` of what there is to tell; fewer only at the end, and none at all after it.
    pub fn page(&mut self, limit: usize) -> Vec<Swept> {
        self.take(limit).collect()
    }

    /// Reads the next entry, and nothing else.
    fn read(&mut self) -> Option<Swept> {
        loop {
            if let Some(batch) = &mut self.batch {
                match batch.look_at_next(&self.folder, &mut self.path) {
                    Some(Some(swept)) => return Some(swept),
                    Some(None) => continue,
                    None => self.batch = None,
                }
            }
            match self.descent.as_mut()?.next(BATCH_NAMES_MAX)? {
                Step::Look(batch) => self.batch = Some(batch),
                Step::Tell(told) => return Some(told),
            }
        }
    }
}

impl<F: Fs> Iterator for Sweep<F> {
    type Item = Swept;

    fn next(&mut self) -> Option<Swept> {
        if self.threads > 1
            && self.told >= TOLD_ALONE_MAX
            && let Some(descent) = self.descent.take()
        {
            let folder = Arc::clone(&self.folder);
            self.ahead = Some(Ahead::new(folder, descent, self.batch.take(), self.threads));
        }
        self.told += 1;
        match &mut self.ahead {
            None => self.read(),
            Some(ahead) => ahead.next(),
        }
    }
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

/// A sweep of so few entries is not worth a thread.
const TOLD_ALONE_MAX: usize = if cfg!(test) { 2 } else { 512 };

#[cfg(test)]
mod tests;
