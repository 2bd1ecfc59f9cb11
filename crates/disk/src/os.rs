//! This machine's files: directory handles, and through them every system call that names a file.
//!
//! Promise: nothing here follows a symbolic link or takes more than one component of a path, so whatever a name says
//! and whoever swaps things meanwhile, a call acts inside the directory that was opened (I10, I11). Handles are closed
//! on exec; opening never waits, not even for a pipe without a writer. What a signal interrupts is asked again where
//! asking twice is the same as asking once; a call that changes names is not.
//!
//! What all Unix systems have stands here; what they do each in their way is a [`Ways`]: [`linux`] and [`portable`]. The
//! latter serves every other system, and is built and tested on Linux too, as [`PortableOs`].

#[cfg(target_os = "linux")]
mod linux;
mod portable;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    Access, AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT,
};
use rustix::io::{Errno, retry_on_intr};

#[cfg(target_os = "linux")]
use self::linux::Linux as Native;
#[cfg(not(target_os = "linux"))]
use self::portable::Portable as Native;
pub use self::portable::{Portable, PortableFile, PortableOs};
use crate::durable::Durability;
use crate::fs::{Fs, FsDir, FsFile, PRIVATE, Space};
use crate::stat::{FileTime, Kind, Look};

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Os;

/// An open directory of this machine; `W` says by which calls it is used.
pub struct OsDir<W = Native> {
    handle: OwnedFd,
    ways: PhantomData<fn() -> W>,
}

/// A rename that replaces nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rename {
    /// To a name that must be free.
    ToFree,
    /// Two names change places.
    Exchange,
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
impl Rename {
    fn flags(self) -> rustix::fs::RenameFlags {
        match self {
            Self::ToFree => rustix::fs::RenameFlags::NOREPLACE,
            Self::Exchange => rustix::fs::RenameFlags::EXCHANGE,
        }
    }
}

/// What systems do each in their own way. Names are one component. Nobody outside of this module can name it.
pub trait Ways: 'static {
    /// An open file that is used by the same calls.
    type File: FsFile + From<File>;

    /// Opens a name below a directory.
    fn open(dir: BorrowedFd<'_>, name: &OsStr, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd>;

    /// Opens a directory below another one on the same file system; `EXDEV` if it is on another.
    fn enter(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd>;

    /// Opens the directory above, for looking at names.
    fn parent(dir: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd>;

    /// Looks at a name, of a link at itself.
    fn look(dir: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Look>;

    /// Looks at a path, links followed.
    fn look_path(path: &Path) -> rustix::io::Result<Look>;

    /// Looks through a handle.
    fn look_through(handle: BorrowedFd<'_>) -> rustix::io::Result<Look>;

    /// Renames in a way that replaces nothing.
    fn rename(
        from_dir: BorrowedFd<'_>,
        from: &OsStr,
        to_dir: BorrowedFd<'_>,
        to: &OsStr,
        how: Rename,
    ) -> rustix::io::Result<()>;

    /// Calls `visit` with every name that the reader has not given yet, also with `.` and `..`.
    fn for_each(reader: OwnedFd, visit: impl FnMut(&[u8], FileType)) -> rustix::io::Result<()>;

    /// Makes what is open durable.
    fn sync(handle: BorrowedFd<'_>) -> rustix::io::Result<()>;

    /// Writes out the whole file system.
    fn sync_file_system(dir: BorrowedFd<'_>) -> rustix::io::Result<()>;

    /// What the file system needs to make things durable.
    fn durability(dir: BorrowedFd<'_>) -> rustix::io::Result<Durability>;
}

impl Fs for Os {
    type Dir = OsDir;
    type File = <Native as Ways>::File;

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn open_path(&self, path: &Path) -> io::Result<OsDir> {
        OsDir::open_path(path)
    }

    fn look_path(&self, path: &Path) -> io::Result<Look> {
        Ok(retry_on_intr(|| Native::look_path(path))?)
    }

    fn user(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }
}

impl<W> OsDir<W> {
    fn fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl<W> AsFd for OsDir<W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

impl<W> From<OwnedFd> for OsDir<W> {
    fn from(handle: OwnedFd) -> Self {
        Self { handle, ways: PhantomData }
    }
}

impl<W> fmt::Debug for OsDir<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OsDir").field(&self.handle).finish()
    }
}

impl<W: Ways> OsDir<W> {
    /// Opens a directory by a path that has no link at its end.
    fn open_path(path: &Path) -> io::Result<Self> {
        Ok(retry_on_intr(|| rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()))?.into())
    }

    fn open(&self, name: &OsStr, flags: OFlags, mode: u32) -> io::Result<W::File> {
        let (flags, mode) = (flags.union(SAFELY), permissions(mode));
        let handle = retry_on_intr(|| W::open(self.fd(), name, flags, mode))?;
        Ok(File::from(handle).into())
    }
}

impl<W: Ways> FsDir for OsDir<W> {
    type File = W::File;

    fn open_dir(&self, name: &OsStr) -> io::Result<Self> {
        Ok(retry_on_intr(|| W::open(self.fd(), name, DIRECTORY, Mode::empty()))?.into())
    }

    fn enter(&self, name: &OsStr) -> io::Result<Self> {
        Ok(W::enter(self.fd(), name)?.into())
    }

    fn parent(&self) -> io::Result<Self> {
        Ok(retry_on_intr(|| W::parent(self.fd()))?.into())
    }

    fn make_dir_with(&self, name: &OsStr, wished: u32) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.handle, name, permissions(wished))?)
    }

    fn open_file(&self, name: &OsStr) -> io::Result<W::File> {
        self.open(name, OFlags::RDONLY, 0)
    }

    fn open_or_create(&self, name: &OsStr) -> io::Result<W::File> {
        self.open(name, OFlags::RDWR.union(OFlags::CREATE), PRIVATE)
    }

    fn open_append(&self, name: &OsStr) -> io::Result<W::File> {
        self.open(name, OFlags::RDWR.union(OFlags::APPEND).union(OFlags::CREATE), PRIVATE)
    }

    fn create_new_with(&self, name: &OsStr, wished: u32) -> io::Result<W::File> {
        self.open(name, OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL), wished)
    }

    fn look(&self, name: &OsStr) -> io::Result<Option<Look>> {
        match retry_on_intr(|| W::look(self.fd(), name)) {
            Ok(seen) => Ok(Some(seen)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn look_through(&self) -> io::Result<Look> {
        Ok(retry_on_intr(|| W::look_through(self.fd()))?)
    }

    fn may_read(&self, name: &OsStr) -> bool {
        match rustix::fs::accessat(&self.handle, name, Access::READ_OK, AtFlags::EACCESS) {
            // A system that cannot say is not a reason to leave a file out: opening it will tell.
            Ok(()) | Err(Errno::NOSYS | Errno::INTR) => true,
            Err(_) => false,
        }
    }

    fn move_to_free(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()> {
        Ok(W::rename(self.fd(), from, to_dir.fd(), to, Rename::ToFree)?)
    }

    fn move_over(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.handle, from, &to_dir.handle, to)?)
    }

    fn exchange(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()> {
        Ok(W::rename(self.fd(), from, to_dir.fd(), to, Rename::Exchange)?)
    }

    fn link(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::linkat(&self.handle, from, &to_dir.handle, to, AtFlags::empty())?)
    }

    fn symlink(&self, target: &OsStr, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.handle, name)?)
    }

    fn set_link_mtime(&self, name: &OsStr, mtime: FileTime) -> io::Result<()> {
        let times = only_mtime(mtime);
        let set = || rustix::fs::utimensat(&self.handle, name, &times, AtFlags::SYMLINK_NOFOLLOW);
        Ok(retry_on_intr(set)?)
    }

    fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        let target = retry_on_intr(|| rustix::fs::readlinkat(&self.handle, name, Vec::new()))?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // POSIX, and with it some systems, say this of a directory.
            Err(Errno::PERM) if self.look(name)?.is_some_and(|seen| seen.kind == Kind::Folder) => {
                Err(Errno::ISDIR.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR) {
            // Either is allowed to say that there is something in it.
            Err(Errno::EXIST) => Err(Errno::NOTEMPTY.into()),
            result => Ok(result?),
        }
    }

    fn for_each(&self, mut visit: impl FnMut(&OsStr, Kind)) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        // A handle of its own: two readers of one handle would share their place.
        let reader = self.open_dir(OsStr::new("."))?.handle;
        Ok(W::for_each(reader, |name, kind| match name {
            b"." | b".." => {}
            name => visit(OsStr::from_bytes(name), kind.into()),
        })?)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::fchmod(&self.handle, permissions(mode)))?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(retry_on_intr(|| W::sync(self.fd()))?)
    }

    fn sync_file_system(&self) -> io::Result<()> {
        Ok(retry_on_intr(|| W::sync_file_system(self.fd()))?)
    }

    fn space(&self) -> io::Result<Space> {
        Ok(retry_on_intr(|| space(self.fd()))?)
    }

    fn durability(&self) -> io::Result<Durability> {
        Ok(retry_on_intr(|| W::durability(self.fd()))?)
    }
}

fn space(handle: BorrowedFd<'_>) -> rustix::io::Result<Space> {
    let seen = rustix::fs::fstatvfs(handle)?;
    Ok(Space {
        free: seen.f_bavail.saturating_mul(seen.f_frsize),
        total: seen.f_blocks.saturating_mul(seen.f_frsize),
    })
}

fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    Ok(retry_on_intr(|| rustix::fs::fchmod(file, permissions(mode)))?)
}

fn set_mtime(file: &File, mtime: FileTime) -> io::Result<()> {
    let times = only_mtime(mtime);
    Ok(retry_on_intr(|| rustix::fs::futimens(file, &times))?)
}

fn lock(file: &File) -> io::Result<()> {
    Ok(retry_on_intr(|| rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive))?)
}

/// A new modification time and the access time as it is.
fn only_mtime(mtime: FileTime) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() },
    }
}

fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(number(mode & 0o7777))
}

/// The numbers of systems have all widths, signed or not; what they mean fits ours, and ours theirs.
fn number<T: Default>(one: impl TryInto<T>) -> T {
    one.try_into().unwrap_or_default()
}

/// Asks again as long as a signal interrupts, for calls of the standard library.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl From<FileType> for Kind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice | FileType::BlockDevice => Self::Device,
            FileType::Unknown => Self::Unknown,
        }
    }
}

const SAFELY: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests;
