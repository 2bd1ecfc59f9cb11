//! The seam between what this crate decides and the file system that does it.
//!
//! Promise: everything that this crate asks of a file system is one of the calls here, and each of them takes a handle
//! and at most one component of a path, which it never follows as a link (I10, I11). So the same code runs over this
//! machine's files ([`Os`](crate::Os)) and over a disk in memory that fails, forgets and loses power
//! ([`MemDisk`](crate::mem::MemDisk)), and what is shown of it there holds here.
//!
//! Errors are those of the system: callers look at [`io::Error::kind`] and at the raw number. What is not said below is as
//! POSIX has it: `ENOENT` for what is not there, `EEXIST` for a name that is taken, `ENOTDIR` and `EISDIR` for the wrong
//! kind, `ENAMETOOLONG`, `ENOSPC`. A link where a directory was to be opened is refused with `ELOOP` or `ENOTDIR`, where a
//! file was with `ELOOP`. The conformance suite in `tests/disk` holds every implementation to all of it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::durable::Durability;
use crate::stat::{FileTime, Kind, Look};

/// A file system. Cheap to clone.
///
/// Only these calls take paths, which must be absolute; they are for the folder as a whole, before it is open and to
/// find out whether its path still leads to it.
pub trait Fs: Clone + fmt::Debug + Send + Sync + 'static {
    /// An open directory.
    type Dir: FsDir<File = Self::File>;
    /// An open file.
    type File: FsFile;

    /// The path with all links in it followed, once and for all.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;

    /// Opens a directory by a path that has no link at its end.
    fn open_path(&self, path: &Path) -> io::Result<Self::Dir>;

    /// Looks at what a path leads to, links followed.
    fn look_path(&self, path: &Path) -> io::Result<Look>;

    /// The number of the user as whom files are made and opened.
    fn user(&self) -> u32;
}

/// An open directory: it stays the same one however it is renamed, and is closed when it is dropped.
pub trait FsDir: fmt::Debug + Send + Sync + 'static + Sized {
    /// An open file of the same file system.
    type File: FsFile;

    /// Opens a directory below this one.
    fn open_dir(&self, name: &OsStr) -> io::Result<Self>;

    /// As [`Self::open_dir`], but refuses with `EXDEV` to step into another mounted file system, also the same one mounted
    /// a second time, as far as the system can tell.
    fn enter(&self, name: &OsStr) -> io::Result<Self>;

    /// The directory above, good for looking at names; needs no right to read it.
    fn parent(&self) -> io::Result<Self>;

    /// Makes a directory with the permissions `wished`, less what the process masks.
    fn make_dir_with(&self, name: &OsStr, wished: u32) -> io::Result<()>;

    /// Makes a directory for nobody but us.
    fn make_dir(&self, name: &OsStr) -> io::Result<()> {
        self.make_dir_with(name, PRIVATE_DIR)
    }

    /// Opens for reading. The caller has looked before and looks again through the handle; opening never waits.
    fn open_file(&self, name: &OsStr) -> io::Result<Self::File>;

    /// Opens for reading and writing, and makes it, for nobody but us, if it is not there.
    fn open_or_create(&self, name: &OsStr) -> io::Result<Self::File>;

    /// As [`Self::open_or_create`], but every write goes to the end.
    fn open_append(&self, name: &OsStr) -> io::Result<Self::File>;

    /// Makes a new file with the permissions `wished`, less what the process masks.
    fn create_new_with(&self, name: &OsStr, wished: u32) -> io::Result<Self::File>;

    /// Makes a new file for nobody but us.
    fn create_new(&self, name: &OsStr) -> io::Result<Self::File> {
        self.create_new_with(name, PRIVATE)
    }

    /// Looks at a name; `None` if there is none.
    fn look(&self, name: &OsStr) -> io::Result<Option<Look>>;

    /// Looks at this directory itself.
    fn look_through(&self) -> io::Result<Look>;

    /// Whether we may read a name that is a file; asks the system, which also knows of access lists.
    fn may_read(&self, name: &OsStr) -> bool;

    /// Moves anything to a name that must be free. File systems that cannot exclude that a name is taken in this very
    /// moment refuse with `EINVAL`, `ENOSYS` or `EOPNOTSUPP`, always.
    fn move_to_free(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()>;

    /// Moves anything over what has the name: a file or link over a file or link, a folder over an empty one.
    fn move_over(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()>;

    /// Exchanges two names of anything in one step; both must exist. Refused as [`Self::move_to_free`] where that is not known.
    fn exchange(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()>;

    /// Gives a file a second name, which must be free; `EPERM` or `EOPNOTSUPP` where files have one name only.
    fn link(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()>;

    /// Makes a symbolic link.
    fn symlink(&self, target: &OsStr, name: &OsStr) -> io::Result<()>;

    /// Sets the modification time of a symbolic link itself and leaves its access time as it is.
    fn set_link_mtime(&self, name: &OsStr, mtime: FileTime) -> io::Result<()>;

    /// What a symbolic link says.
    fn read_link(&self, name: &OsStr) -> io::Result<OsString>;

    /// Removes a name that is not a directory, which is refused with `EISDIR`; fine if it is gone already.
    fn remove(&self, name: &OsStr) -> io::Result<()>;

    /// Removes a directory, which must be empty, or it is refused with `ENOTEMPTY`.
    fn remove_dir(&self, name: &OsStr) -> io::Result<()>;

    /// Calls `visit` with every name but `.` and `..`, and with the kind if the file system tells it for nothing. What is
    /// there all the while is told once; what comes or goes meanwhile may be told or not.
    ///
    /// One buffer of names is in memory at a time (E15).
    fn for_each(&self, visit: impl FnMut(&OsStr, Kind)) -> io::Result<()>;

    /// Sets the permissions of this directory, `0o7777` at most.
    fn set_mode(&self, mode: u32) -> io::Result<()>;

    /// Makes the names in this directory durable. File systems on which names are durable at once refuse with `EINVAL`.
    fn sync(&self) -> io::Result<()>;

    /// Writes out the whole file system on which this directory is.
    ///
    /// The directory must have been opened before the writes in question: errors since then are what it reports.
    fn sync_file_system(&self) -> io::Result<()>;

    /// How full the file system is.
    fn space(&self) -> io::Result<Space>;

    /// What this file system needs to make things durable.
    fn durability(&self) -> io::Result<Durability>;
}

/// An open file, read and written from its own place in it; what is written goes to the system at once.
pub trait FsFile: Read + Write + fmt::Debug + Send + Sync + 'static {
    /// Looks at what the handle leads to.
    fn look_through(&self) -> io::Result<Look>;

    /// Reads from `offset` (in bytes) without moving the place; `Ok(0)` at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The next run of bytes from `from` on that is not a hole, cut off at nothing but its own end; `None` if there are
    /// only holes up to the end. Where a hole ends is up to the file system, and one that knows none says that all is
    /// data, or refuses with `EINVAL`. May move the place for [`Read`].
    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>>;

    /// Writes at `offset` (in bytes) without moving the place; may write less than all. A file that was opened for
    /// appending takes it at its end all the same.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts the file, or lengthens it with zeros, to `length` bytes.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Takes room for `length` bytes without lengthening the file, or at least looks whether there is so much; for none it
    /// always goes well. `EOPNOTSUPP` where a file system has no such thing.
    fn reserve(&self, length: u64) -> io::Result<()>;

    /// Gives back the room of a range within the file, which reads as zeros from then on. Only a hint, where it holds zeros
    /// already.
    fn release(&self, range: Range<u64>);

    /// Sets the permissions, `0o7777` at most.
    fn set_mode(&self, mode: u32) -> io::Result<()>;

    /// Sets the modification time and leaves the access time as it is.
    fn set_mtime(&self, mtime: FileTime) -> io::Result<()>;

    /// Starts writing a range of bytes out and does not wait for it. Only a hint.
    fn start_write_out(&self, offset: u64, length: u64);

    /// Makes bytes, size, permissions and time durable, but not the name.
    fn sync(&self) -> io::Result<()>;

    /// Locks the file for this handle alone until it is closed; [`io::ErrorKind::WouldBlock`] if another handle has it.
    fn lock(&self) -> io::Result<()>;
}

/// How full a file system is, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Space {
    /// What this user may still take.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

/// Readable and writable for nobody but us.
pub(crate) const PRIVATE: u32 = 0o600;

/// The same of a directory.
pub(crate) const PRIVATE_DIR: u32 = 0o700;
