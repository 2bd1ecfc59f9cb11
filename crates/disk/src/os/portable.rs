//! What every Unix system can do, for those that are not Linux.
//!
//! Promise: the same as everywhere in this layer, with fewer means: links are kept out by opening one name after the other
//! without following it, mounts by comparing devices, and every file and directory is made durable by itself. Where a
//! system has no renames with flags it says so (`ENOSYS`), and callers take the ways of file systems that lack them.
//!
//! On Linux this is there to be tested; see [`PortableOs`].

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::{DIRECTORY, OsDir, Rename, Ways, lock, number, set_mode, set_mtime, space, uninterrupted};
use crate::durable::Durability;
use crate::fs::{Fs, FsFile};
use crate::stat::{FileTime, Look, Stat};

/// The calls that every Unix system has.
#[derive(Debug)]
pub enum Portable {}

/// The file system of this machine, used by nothing but what every Unix system has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PortableOs;

/// An open file of [`PortableOs`].
#[derive(Debug)]
pub struct PortableFile(File);

impl Fs for PortableOs {
    type Dir = OsDir<Portable>;
    type File = PortableFile;

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn open_path(&self, path: &Path) -> io::Result<OsDir<Portable>> {
        OsDir::open_path(path)
    }

    fn look_path(&self, path: &Path) -> io::Result<Look> {
        Ok(retry_on_intr(|| Portable::look_path(path))?)
    }

    fn user(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }
}

impl Ways for Portable {
    type File = PortableFile;

    fn open(dir: BorrowedFd<'_>, name: &OsStr, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        rustix::fs::openat(dir, name, flags, mode).map_err(|error| match error {
            // What the BSDs say of a link that is not to be followed.
            Errno::MLINK => Errno::LOOP,
            error => error,
        })
    }

    /// The same file system mounted a second time is not noticed.
    fn enter(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
        let opened = retry_on_intr(|| Self::open(dir, name, DIRECTORY, Mode::empty()))?;
        let (above, below) = (Self::look_through(dir)?, Self::look_through(opened.as_fd())?);
        if above.stat.dev == below.stat.dev { Ok(opened) } else { Err(Errno::XDEV.into()) }
    }

    /// Needs the right to read it: not every system can do without.
    fn parent(dir: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
        rustix::fs::openat(dir, "..", DIRECTORY, Mode::empty())
    }

    fn look(dir: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Look> {
        Ok(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.into())
    }

    fn look_path(path: &Path) -> rustix::io::Result<Look> {
        Ok(rustix::fs::statat(CWD, path, AtFlags::empty())?.into())
    }

    fn look_through(handle: BorrowedFd<'_>) -> rustix::io::Result<Look> {
        Ok(rustix::fs::fstat(handle)?.into())
    }

    #[cfg(not(target_vendor = "apple"))]
    fn rename(
        _from_dir: BorrowedFd<'_>,
        _from: &OsStr,
        _to_dir: BorrowedFd<'_>,
        _to: &OsStr,
        _how: Rename,
    ) -> rustix::io::Result<()> {
        Err(Errno::NOSYS)
    }

    /// A file system that knows no such rename says so in another word than elsewhere.
    #[cfg(target_vendor = "apple")]
    fn rename(
        from_dir: BorrowedFd<'_>,
        from: &OsStr,
        to_dir: BorrowedFd<'_>,
        to: &OsStr,
        how: Rename,
    ) -> rustix::io::Result<()> {
        let renamed = rustix::fs::renameat_with(from_dir, from, to_dir, to, how.flags());
        renamed.map_err(|error| if error == Errno::NOTSUP { Errno::NOSYS } else { error })
    }

    fn for_each(reader: OwnedFd, mut visit: impl FnMut(&[u8], FileType)) -> rustix::io::Result<()> {
        for entry in Dir::new(reader)? {
            let entry = entry?;
            visit(entry.file_name().to_bytes(), entry.file_type());
        }
        Ok(())
    }

    #[cfg(not(target_vendor = "apple"))]
    fn sync(handle: BorrowedFd<'_>) -> rustix::io::Result<()> {
        rustix::fs::fsync(handle)
    }

    /// A plain `fsync` leaves the bytes in the memory of the drive there.
    #[cfg(target_vendor = "apple")]
    fn sync(handle: BorrowedFd<'_>) -> rustix::io::Result<()> {
        match rustix::fs::fcntl_fullfsync(handle) {
            // Not every file system can.
            Err(Errno::NOTSUP | Errno::INVAL | Errno::NOTTY) => rustix::fs::fsync(handle),
            result => result,
        }
    }

    /// Everything that there is, as far as the system waits for it; nothing rests on this alone, see
    /// [`Self::durability`].
    fn sync_file_system(dir: BorrowedFd<'_>) -> rustix::io::Result<()> {
        rustix::fs::sync();
        match Self::sync(dir) {
            Err(Errno::INVAL) => Ok(()),
            result => result,
        }
    }

    fn durability(_dir: BorrowedFd<'_>) -> rustix::io::Result<Durability> {
        Ok(Durability::EachFile)
    }
}

impl From<File> for PortableFile {
    fn from(file: File) -> Self {
        Self(file)
    }
}

impl From<PortableFile> for File {
    fn from(file: PortableFile) -> Self {
        file.0
    }
}

impl Read for PortableFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for PortableFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl FsFile for PortableFile {
    fn look_through(&self) -> io::Result<Look> {
        Ok(retry_on_intr(|| Portable::look_through(self.0.as_fd()))?)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        uninterrupted(|| FileExt::read_at(&self.0, buffer, offset))
    }

    /// Holes are read as the zeros that they stand for.
    fn next_data(&self, _from: u64) -> io::Result<Option<Range<u64>>> {
        Err(Errno::INVAL.into())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        uninterrupted(|| FileExt::write_at(&self.0, bytes, offset))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    /// Only looks whether there is so much room: others may take it.
    fn reserve(&self, length: u64) -> io::Result<()> {
        let free = retry_on_intr(|| space(self.0.as_fd()))?.free;
        if free < length { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    /// None was taken.
    fn release(&self, _range: Range<u64>) {}

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        set_mode(&self.0, mode)
    }

    fn set_mtime(&self, mtime: FileTime) -> io::Result<()> {
        set_mtime(&self.0, mtime)
    }

    fn start_write_out(&self, _offset: u64, _length: u64) {}

    fn sync(&self) -> io::Result<()> {
        Ok(retry_on_intr(|| Portable::sync(self.0.as_fd()))?)
    }

    fn lock(&self) -> io::Result<()> {
        lock(&self.0)
    }
}

impl From<rustix::fs::Stat> for Look {
    fn from(seen: rustix::fs::Stat) -> Self {
        let mode: u32 = number(seen.st_mode);
        Self {
            kind: FileType::from_raw_mode(seen.st_mode).into(),
            uid: number(seen.st_uid),
            stat: Stat {
                dev: number(seen.st_dev),
                ino: number(seen.st_ino),
                size: number(seen.st_size),
                mtime: FileTime { secs: number(seen.st_mtime), nanos: number(seen.st_mtime_nsec) },
                ctime: FileTime { secs: number(seen.st_ctime), nanos: number(seen.st_ctime_nsec) },
                mode: mode & 0o7777,
                nlink: number(seen.st_nlink),
            },
        }
    }
}
