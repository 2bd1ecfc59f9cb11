//! Writing a fetched file where nobody sees it yet.
//!
//! Promise: a staged file is private to us (0600, numbered, in `.shoal/staging/`) until it is complete; its length is
//! what was announced or it is refused (I9); the file system is never filled to its last bytes (I20); and a file that
//! is not finished, or finished and not committed, is removed when it is dropped.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::sync::Arc;

use rustix::io::Errno;
use shoal_proto::path::RelPath;

use crate::durable::Durability;
use crate::fault;
use crate::folder::Shared;
use crate::fs::{Fs, FsDir, FsFile};
use crate::name::Name;
use crate::number::Number;
use crate::os::Os;
use crate::path::TreePath;
use crate::scan::{ReadError, open_regular};
use crate::stat::{FileTime, Kind, Look, Stat};
use crate::walk::Walker;

pub(crate) use self::parts::{PartFile, read_all_at};

/// How much to read or write at a time; both much less and much more were measured to be slower.
pub const WRITE_BYTES: usize = 256 << 10;

/// This much, or a hundredth of the file system if that is more, is left free for everybody else (I20).
pub const SPACE_KEPT_FREE: u64 = 64 << 20;

/// Writes files under numbers. Cheap to clone; any number of threads may stage at once.
#[derive(Clone, Debug)]
pub struct Staging<F: Fs = Os> {
    folder: Arc<Shared<F>>,
}

/// A file being written.
#[derive(Debug)]
pub struct StagedFile<F: Fs = Os> {
    slot: Slot<F>,
    file: F::File,
    announced: Option<u64>,
    written: u64,
    /// Up to here the kernel was told to write out.
    started: u64,
}

/// A file that is complete, with its mode and time, and waits to be committed.
#[derive(Debug)]
pub struct FinishedFile<F: Fs = Os> {
    pub(crate) slot: Slot<F>,
    /// A file or a symbolic link.
    pub(crate) kind: Kind,
    pub(crate) stat: Stat,
}

/// Why a file could not be staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The disk or the quota is full, or the file is larger than a file may be here.
    #[error(
        "not enough space for {name}: {needed} bytes to write, {free} free beyond the reserve; free some space"
    )]
    NoSpace {
        /// The file being staged.
        name: TreePath,
        /// Bytes still to be written.
        needed: u64,
        /// Bytes that we would still use.
        free: u64,
    },
    /// The sender sent more or less than it had announced.
    #[error("{name} has {written} bytes, {announced} were announced; not kept")]
    WrongLength {
        /// The file being staged.
        name: TreePath,
        /// What was announced.
        announced: u64,
        /// What came, or would have.
        written: u64,
    },
    /// The name belongs to our own state.
    #[error("{name} is a reserved name; not fetched")]
    Reserved {
        /// The name.
        name: TreePath,
    },
    /// Any other refusal of the system.
    #[error("cannot write {name}")]
    Write {
        /// The file being staged.
        name: TreePath,
        /// What the system said.
        source: io::Error,
    },
    /// The present file could not be read to be compared.
    #[error(transparent)]
    Compare(#[from] ReadError),
}

impl StageError {
    /// Whether it would go well with more space: a reason to pause, not to give up (I20).
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}

impl<F: Fs> Staging<F> {
    pub(crate) fn new(folder: Arc<Shared<F>>) -> Self {
        Self { folder }
    }

    /// Begins a file that will be committed as `name`. If its length was announced, there must be space for all of it.
    pub fn create(&self, name: &Name, announced: Option<u64>) -> Result<StagedFile<F>, StageError> {
        if name.is_reserved() {
            return Err(StageError::Reserved { name: name.into() });
        }
        self.begin(&name.into(), announced)
    }

    /// As [`Self::create`], for a file anywhere in a share.
    pub fn create_at(&self, path: &RelPath, announced: Option<u64>) -> Result<StagedFile<F>, StageError> {
        self.begin(&path.into(), announced)
    }

    /// Stages a symbolic link that says `target`, with a time. It is never followed, whatever it says.
    pub fn symlink_at(
        &self,
        path: &RelPath,
        target: &OsStr,
        mtime: FileTime,
    ) -> Result<FinishedFile<F>, StageError> {
        let path = TreePath::from(path);
        self.require_space(&path, 0)?;
        let slot = self.slot(path.clone());
        let name = slot.number.file_name();
        let make = || {
            self.folder.staging.symlink(target, name.as_ref())?;
            self.folder.staging.set_link_mtime(name.as_ref(), mtime)?;
            self.folder.staging.look(name.as_ref())?.ok_or_else(|| Errno::NOENT.into())
        };
        match make() {
            Ok(Look { kind: Kind::Symlink, stat, .. }) => {
                Ok(FinishedFile { slot, kind: Kind::Symlink, stat })
            }
            Ok(_) => Err(self.write_error(&path, 0, Errno::IO.into())),
            Err(error) => Err(self.write_error(&path, 0, error)),
        }
    }

    fn begin(&self, name: &TreePath, announced: Option<u64>) -> Result<StagedFile<F>, StageError> {
        self.require_space(name, announced.unwrap_or(0))?;
        let slot = self.slot(name.clone());
        let file = self
            .folder
            .staging
            .create_new(slot.number.file_name().as_ref())
            .map_err(|source| self.write_error(name, announced.unwrap_or(0), source))?;
        if let Some(length) = announced.filter(|length| *length >= WRITE_OUT_BYTES) {
            self.reserve(&file, name, length)?;
        }
        Ok(StagedFile { slot, file, announced, written: 0, started: 0 })
    }

    /// A place of our own; whatever comes to be in it is removed when it is dropped.
    fn slot(&self, path: TreePath) -> Slot<F> {
        let folder = Arc::clone(&self.folder);
        let failed_syncs = folder.failed_syncs();
        Slot { number: folder.numbers.draw(), folder, path, failed_syncs, kept: false }
    }

    /// Compares a finished file with the present one of its name.
    ///
    /// Returns what the present one was seen as if the bytes are equal and nobody touched it meanwhile.
    pub fn same_content(&self, finished: &FinishedFile<F>) -> Result<Option<Stat>, StageError> {
        let name = &finished.slot.path;
        let Ok((dir, last)) = Walker::new(&self.folder).open_parent(name) else { return Ok(None) };
        let (mut present, before) = match open_regular(&*dir, last, name) {
            Ok(opened) => opened,
            Err(ReadError::Missing { .. } | ReadError::NotRegular { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if before.size != finished.stat.size {
            return Ok(None);
        }
        let staged = finished.slot.open().map_err(|source| self.write_error(name, 0, source))?;
        let read_error = |source| StageError::Compare(ReadError::Io { name: name.clone(), source });
        if !same_bytes(staged, &mut present).map_err(read_error)? {
            return Ok(None);
        }
        let after = present.look_through().map_err(read_error)?;
        Ok(after.file().filter(|after| after.same_version(&before)).copied())
    }

    /// Takes blocks for a large file at once, so that a full disk shows now and not after an hour.
    fn reserve(&self, file: &F::File, name: &TreePath, length: u64) -> Result<(), StageError> {
        match file.reserve(length) {
            Ok(()) => Ok(()),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
                _ => Err(self.write_error(name, length, error)),
            },
        }
    }

    fn require_space(&self, name: &TreePath, needed: u64) -> Result<(), StageError> {
        let source = |source| StageError::Write { name: name.clone(), source };
        let free = self.folder.usable_space().map_err(source)?;
        match free {
            Some(free) if needed <= free => Ok(()),
            free => Err(StageError::NoSpace { name: name.clone(), needed, free: free.unwrap_or(0) }),
        }
    }

    fn write_error(&self, name: &TreePath, needed: u64, source: io::Error) -> StageError {
        if !is_out_of_space(&source) {
            return StageError::Write { name: name.clone(), source };
        }
        let free = self.folder.usable_space().ok().flatten().unwrap_or(0);
        StageError::NoSpace { name: name.clone(), needed, free }
    }
}

impl<F: Fs> StagedFile<F> {
    /// Where it will be, from the root of the folder; in a flat one that is its name.
    pub fn name(&self) -> &TreePath {
        &self.slot.path
    }

    /// How many bytes it has so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Appends bytes; best [`WRITE_BYTES`] at a time.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), StageError> {
        let after = self.written.saturating_add(bytes.len() as u64);
        if let Some(announced) = self.announced.filter(|announced| after > *announced) {
            return Err(self.wrong_length(announced, after));
        }
        if let Err(source) = self.file.write_all(bytes) {
            return Err(self.staging().write_error(&self.slot.path, bytes.len() as u64, source));
        }
        self.written = after;
        if self.written - self.started >= WRITE_OUT_BYTES {
            self.write_out()?;
        }
        Ok(())
    }

    /// Completes the file: its length is checked, its permissions and its time are set, and what they became is read
    /// back (a file system may round or clamp a time, E10).
    ///
    /// It gets the permissions of the file it is meant to replace, else those of a new file; never set-user-id,
    /// set-group-id or sticky (I12).
    pub fn finish(self, mtime: FileTime, replacing: Option<&Stat>) -> Result<FinishedFile<F>, StageError> {
        let mode = replacing.map_or(self.slot.folder.new_file_mode, |replaced| replaced.mode);
        self.finish_as(mtime, mode)
    }

    /// As [`Self::finish`], with these permissions; of them the lowest nine bits.
    pub fn finish_as(self, mtime: FileTime, mode: u32) -> Result<FinishedFile<F>, StageError> {
        if let Some(announced) = self.announced.filter(|announced| *announced != self.written) {
            return Err(self.wrong_length(announced, self.written));
        }
        let stat = self.seal(mtime, mode & 0o777);
        stat.map_err(|source| self.staging().write_error(&self.slot.path, 0, source))
            .map(|stat| FinishedFile { slot: self.slot, kind: Kind::File, stat })
    }

    fn seal(&self, mtime: FileTime, mode: u32) -> io::Result<Stat> {
        self.file.set_mode(mode)?;
        self.file.set_mtime(mtime)?;
        if self.slot.folder.durability == Durability::EachFile {
            // Here, and not in the committer: the threads that fetch wait side by side, and an error finds its file.
            self.file.sync()?;
        }
        Ok(self.file.look_through()?.stat)
    }

    /// Keeps the disk busy behind a large file, so that making it durable at the end is short; and keeps an eye on
    /// the space, for what was not announced.
    fn write_out(&mut self) -> Result<(), StageError> {
        self.file.start_write_out(self.started, self.written - self.started);
        self.started = self.written;
        match self.announced {
            Some(_) => Ok(()),
            None => self.staging().require_space(&self.slot.path, WRITE_OUT_BYTES),
        }
    }

    fn wrong_length(&self, announced: u64, written: u64) -> StageError {
        StageError::WrongLength { name: self.slot.path.clone(), announced, written }
    }

    fn staging(&self) -> Staging<F> {
        Staging::new(Arc::clone(&self.slot.folder))
    }
}

impl<F: Fs> FinishedFile<F> {
    /// Where it will be, from the root of the folder; in a flat one that is its name.
    pub fn name(&self) -> &TreePath {
        &self.slot.path
    }

    /// What it is: the time is what the file system made of the one asked for.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Shows `visit` the bytes of the file, piece by piece.
    pub fn read_each(&self, mut visit: impl FnMut(&[u8])) -> Result<(), StageError> {
        let name = || self.slot.path.clone();
        let mut read = || {
            let mut file = self.slot.open()?;
            let mut buffer = vec![0; WRITE_BYTES];
            loop {
                match file.read(&mut buffer)? {
                    0 => return io::Result::Ok(()),
                    length => visit(&buffer[..length]),
                }
            }
        };
        read().map_err(|source| StageError::Compare(ReadError::Io { name: name(), source }))
    }
}

/// A numbered place in staging. The handle on it is closed between finishing and committing, or a batch of a thousand
/// files would need a thousand handles.
#[derive(Debug)]
pub(crate) struct Slot<F: Fs> {
    folder: Arc<Shared<F>>,
    pub(crate) number: Number,
    pub(crate) path: TreePath,
    /// How many syncs of the file system had failed when it was begun.
    pub(crate) failed_syncs: u64,
    kept: bool,
}

impl<F: Fs> Slot<F> {
    /// Opens what is in the slot for reading.
    pub(crate) fn open(&self) -> io::Result<F::File> {
        self.folder.staging.open_file(self.number.file_name().as_ref())
    }

    /// From here on somebody else answers for what is in the slot.
    pub(crate) fn hand_over(mut self) -> Number {
        self.kept = true;
        self.number
    }
}

impl<F: Fs> Drop for Slot<F> {
    fn drop(&mut self) {
        if !self.kept && !fault::is_dead() {
            // What cannot be removed now is removed at the next start, like after a crash.
            let _ = self.folder.staging.remove(self.number.file_name().as_ref());
        }
    }
}

impl<F: Fs> Shared<F> {
    /// What may still be written; `None` if not even the reserve is free.
    fn usable_space(&self) -> io::Result<Option<u64>> {
        let space = self.root.space()?;
        Ok(space.free.checked_sub(SPACE_KEPT_FREE.max(space.total / 100)))
    }
}

/// Whether the system ran out of room: disk, quota, or the largest size of a file (I20).
pub(crate) fn is_out_of_space(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG))
}

fn same_bytes(mut one: impl Read, mut other: impl Read) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; WRITE_BYTES], vec![0; WRITE_BYTES]);
    loop {
        let length = one.read(&mut left)?;
        if length == 0 {
            return Ok(other.read(&mut right)? == 0);
        }
        match other.read_exact(&mut right[..length]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            result => result?,
        }
        if left[..length] != right[..length] {
            return Ok(false);
        }
    }
}

/// So much of a file is written before the kernel is told to begin with it; smaller files go with their batch.
const WRITE_OUT_BYTES: u64 = 8 << 20;

mod parts;
#[cfg(test)]
mod tests;
