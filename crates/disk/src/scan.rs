//! The read side: what is in the folder, and its files opened for reading.
//!
//! Promise: only plain files are ever opened (I23); links are not followed, pipes and devices are not touched; one name
//! that cannot be used is reported and the others go on. A folder of a million names needs memory for one buffer of
//! them (E15).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::escape::{Escaped, shown};
use crate::folder::{Folder, Shared};
use crate::fs::{Fs, FsDir, FsFile};
use crate::name::Name;
use crate::path::TreePath;
use crate::stat::{Kind, Look, Stat};

/// What a scan comes across.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// A plain file that we may read.
    File(Name, Stat),
    /// A name that is not listed, and why.
    Problem(Problem),
}

/// A name in the folder that cannot be synced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The name, escaped for showing.
    pub name: String,
    /// Why it is left out.
    pub why: Unlisted,
}

/// Why a name is left out of a scan.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unlisted {
    /// A link, pipe, socket or device (E1, E2).
    #[error("it is {0}, not a plain file")]
    NotRegular(Kind),
    /// We may not read it (E3).
    #[error("this user may not read it")]
    Unreadable,
    /// The system failed to say what it is (E20).
    #[error("the system failed to look at it: {0}")]
    Failed(io::ErrorKind),
    /// Its name is longer than any name we can use.
    #[error("its name is too long")]
    TooLong,
}

/// All of a folder at once.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// The plain files, in no order.
    pub files: Vec<(Name, Stat)>,
    /// What was left out; subfolders and our own state are not even mentioned.
    pub problems: Vec<Problem>,
}

/// The folder could not be read to its end; what was found before is not the whole.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the folder {}", shown(.path))]
pub struct ScanError {
    /// The folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Why one file cannot be looked at or opened.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such name.
    #[error("{name} does not exist")]
    Missing {
        /// The name asked for.
        name: TreePath,
    },
    /// The name is something that is never opened (I23).
    #[error("{name} is {kind}, not a plain file")]
    NotRegular {
        /// The name asked for.
        name: TreePath,
        /// What it is.
        kind: Kind,
    },
    /// The system refuses.
    #[error("cannot read {name}")]
    Io {
        /// The name asked for.
        name: TreePath,
        /// What the system said.
        source: io::Error,
    },
}

impl<F: Fs> Folder<F> {
    /// Shows `visit` every plain file and every problem, in the order of the disk, as it reads them.
    pub fn scan_each(&self, mut visit: impl FnMut(Found)) -> Result<(), ScanError> {
        let shared = &*self.shared;
        let each = |name: &OsStr, kind| {
            if let Some(found) = shared.found(name, kind) {
                visit(found);
            }
        };
        shared.root.for_each(each).map_err(|source| ScanError { path: shared.path.clone(), source })
    }

    /// Collects what [`Self::scan_each`] shows.
    pub fn scan(&self) -> Result<Scan, ScanError> {
        let mut scan = Scan::default();
        self.scan_each(|found| match found {
            Found::File(name, stat) => scan.files.push((name, stat)),
            Found::Problem(problem) => scan.problems.push(problem),
        })?;
        Ok(scan)
    }

    /// What is known of one file; `None` if there is no such name.
    pub fn stat(&self, name: &Name) -> Result<Option<Stat>, ReadError> {
        match self.shared.look_at(name)? {
            None => Ok(None),
            Some(seen) => seen.require_file(&name.into()).map(Some),
        }
    }

    /// Opens a plain file for reading, and what is known of the opened one.
    pub fn open_regular(&self, name: &Name) -> Result<(F::File, Stat), ReadError> {
        if name.is_reserved() {
            return Err(ReadError::Missing { name: name.into() });
        }
        open_regular(&*self.shared.root, name.as_os_str(), &name.into())
    }
}

/// Opens a plain file in an open folder for reading, and what is known of the opened one. `path` is what it is called
/// should that fail.
pub(crate) fn open_regular<D: FsDir>(
    dir: &D,
    name: &OsStr,
    path: &TreePath,
) -> Result<(D::File, Stat), ReadError> {
    let io_error = |source| ReadError::Io { name: path.clone(), source };
    // Looked at before it is opened, because opening is a deed already: it wakes the writer of a pipe and rewinds
    // a tape. And after, through the handle, because the name can have become something else in between.
    let Some(seen) = dir.look(name).map_err(io_error)? else {
        return Err(ReadError::Missing { name: path.clone() });
    };
    seen.require_file(path)?;
    open_seen(dir, name, path)
}

/// As [`open_regular`], for who has just seen a plain file under the name.
pub(crate) fn open_seen<D: FsDir>(
    dir: &D,
    name: &OsStr,
    path: &TreePath,
) -> Result<(D::File, Stat), ReadError> {
    let io_error = |source| ReadError::Io { name: path.clone(), source };
    let file = dir.open_file(name).map_err(|error| open_error(path, error))?;
    let stat = file.look_through().map_err(io_error)?.require_file(path)?;
    Ok((file, stat))
}

/// Sorts out what became of a name between looking and opening.
fn open_error(path: &TreePath, error: io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::NotFound => ReadError::Missing { name: path.clone() },
        _ if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
            ReadError::NotRegular { name: path.clone(), kind: Kind::Symlink }
        }
        _ => ReadError::Io { name: path.clone(), source: error },
    }
}

impl<F: Fs> Shared<F> {
    fn look_at(&self, name: &Name) -> Result<Option<Look>, ReadError> {
        if name.is_reserved() {
            // Never served, never compared, whatever it is (I11).
            return Ok(None);
        }
        self.root.look(name.as_os_str()).map_err(|source| ReadError::Io { name: name.into(), source })
    }

    /// What a scan says about one directory entry; `None` for what does not concern us.
    fn found(&self, name: &OsStr, kind: Kind) -> Option<Found> {
        let problem = |why| Some(Found::Problem(Problem { name: Escaped(name.as_bytes()).to_string(), why }));
        let Ok(parsed) = Name::parse(name.as_bytes()) else { return problem(Unlisted::TooLong) };
        match kind {
            _ if parsed.is_reserved() => return None,
            Kind::Folder => return None,
            Kind::File | Kind::Unknown => {}
            other => return problem(Unlisted::NotRegular(other)),
        }
        let seen = match self.root.look(name) {
            Ok(Some(seen)) => seen,
            Ok(None) => return None,
            Err(error) => return problem(Unlisted::Failed(error.kind())),
        };
        match seen.kind {
            Kind::File if self.is_readable(&self.root, name, &seen) => Some(Found::File(parsed, seen.stat)),
            Kind::File => problem(Unlisted::Unreadable),
            Kind::Folder => None,
            other => problem(Unlisted::NotRegular(other)),
        }
    }

    /// The permissions answer for nearly every file; only where they leave a doubt is the system asked.
    pub(crate) fn is_readable(&self, dir: &F::Dir, name: &OsStr, seen: &Look) -> bool {
        let all_may = seen.stat.mode & 0o444 == 0o444;
        let owner_may = seen.stat.mode & 0o400 != 0 && seen.uid == self.fs.user();
        all_may || owner_may || dir.may_read(name)
    }
}

impl Look {
    fn require_file(&self, name: &TreePath) -> Result<Stat, ReadError> {
        match self.file() {
            Some(stat) => Ok(*stat),
            None => Err(ReadError::NotRegular { name: name.clone(), kind: self.kind }),
        }
    }
}

#[cfg(test)]
mod tests;
