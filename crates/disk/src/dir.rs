//! Directory handles, and through them every system call that names a file.
//!
//! Promise: nothing here follows a symbolic link or takes more than one component of a path, so whatever a name says
//! and whoever swaps things meanwhile, a call acts inside the directory that was opened (I10, I11). Handles are closed
//! on exec; opening never waits, not even for a pipe without a writer.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, RawDir, RenameFlags, StatxFlags};
use rustix::io::Errno;

use crate::stat::{Kind, Look};

/// Room for directory entries in one read: some hundred names a system call.
const ENTRIES_BYTES: usize = 32 << 10;

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

impl Dir {
    /// Opens a directory by an absolute path without links at its end; the only path that this crate ever opens.
    pub(crate) fn open_path(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?))
    }

    /// Opens a directory below this one.
    pub(crate) fn open_dir(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(&self.0, name, DIRECTORY, Mode::empty())?))
    }

    /// The directory above, good for looking at names; needs no right to read it.
    pub(crate) fn parent(&self) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(&self.0, "..", DIRECTORY.union(OFlags::PATH), Mode::empty())?))
    }

    /// Makes a directory for nobody but us.
    pub(crate) fn make_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.0, name, Mode::RWXU)?)
    }

    /// Opens for reading. The caller has looked before and looks again through the handle.
    pub(crate) fn open_file(&self, name: &OsStr) -> io::Result<File> {
        Ok(rustix::fs::openat(&self.0, name, OFlags::RDONLY.union(SAFELY), Mode::empty())?.into())
    }

    /// Opens for reading and writing, and makes it if it is not there.
    pub(crate) fn open_or_create(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR.union(OFlags::CREATE).union(SAFELY);
        Ok(rustix::fs::openat(&self.0, name, flags, PRIVATE)?.into())
    }

    /// Opens for appending, and makes it if it is not there.
    pub(crate) fn open_append(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR.union(OFlags::APPEND).union(OFlags::CREATE).union(SAFELY);
        Ok(rustix::fs::openat(&self.0, name, flags, PRIVATE)?.into())
    }

    /// Makes a new file for nobody but us.
    pub(crate) fn create_new(&self, name: &OsStr) -> io::Result<File> {
        self.create_new_with(name, PRIVATE)
    }

    /// Makes a new file with the permissions `wished`, less what the process masks.
    pub(crate) fn create_new_with(&self, name: &OsStr, wished: Mode) -> io::Result<File> {
        let flags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL).union(SAFELY);
        Ok(rustix::fs::openat(&self.0, name, flags, wished)?.into())
    }

    /// Looks at a name without following it; `None` if there is none.
    pub(crate) fn look(&self, name: &OsStr) -> io::Result<Option<Look>> {
        let flags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT);
        match rustix::fs::statx(&self.0, name, flags, StatxFlags::BASIC_STATS) {
            Ok(seen) => Ok(Some(seen.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether we may read a name that is a file; asks the system, which also knows of access lists.
    pub(crate) fn may_read(&self, name: &OsStr) -> bool {
        match rustix::fs::accessat(&self.0, name, Access::READ_OK, AtFlags::EACCESS) {
            // A system that cannot say is not a reason to leave a file out: opening it will tell.
            Ok(()) | Err(Errno::NOSYS) => true,
            Err(_) => false,
        }
    }

    /// Moves a file to a name that must be free.
    pub(crate) fn move_to_free(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat_with(&self.0, from, &to_dir.0, to, RenameFlags::NOREPLACE)?)
    }

    /// Moves a file over whatever has the name.
    pub(crate) fn move_over(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from, &to_dir.0, to)?)
    }

    /// Exchanges two names in one step; both must exist.
    pub(crate) fn exchange(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat_with(&self.0, from, &to_dir.0, to, RenameFlags::EXCHANGE)?)
    }

    /// Gives a file a second name, which must be free.
    pub(crate) fn link(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::linkat(&self.0, from, &to_dir.0, to, AtFlags::empty())?)
    }

    /// Removes a name that is not a directory; fine if it is gone already.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the names in this directory durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match rustix::fs::fsync(&self.0) {
            // Some network and user-space file systems have no sync of directories: names are durable at once there.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Calls `visit` with every name but `.` and `..`, and with the kind if the file system tells it for nothing.
    ///
    /// One buffer of names is in memory at a time (E15).
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&OsStr, Kind)) -> io::Result<()> {
        // A handle of its own: two readers of one handle would share their place.
        let reader = self.open_dir(OsStr::new("."))?;
        let mut buffer = [MaybeUninit::uninit(); ENTRIES_BYTES];
        let mut entries = RawDir::new(&reader.0, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => visit(OsStr::from_bytes(name), entry.file_type().into()),
            }
        }
        Ok(())
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Looks at what a handle leads to.
pub(crate) fn look_through(handle: impl AsFd) -> io::Result<Look> {
    Ok(rustix::fs::statx(handle, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?.into())
}

const SAFELY: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
