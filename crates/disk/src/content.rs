//! Reading what is in a file of the tree: cut and named, or a span of it to be served.
//!
//! Promise: bytes come only from a plain file below the root, opened by handles (I11, I23), and only if it was, before and
//! after they were read, the version that was expected: a file that changes meanwhile gives an answer that says so, never a
//! name for a mixture (I22, E4). Memory for one buffer of 256 KiB a thread; holes are neither read nor hashed (E11).
//!
//! What no look can tell is a write within the same tick of the file system's clock as the reading (E5): whoever keeps a
//! name beside a change time makes sure first that this tick was over.

mod cutting;
mod regions;

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use shoal_proto::hash::SegmentId;
use shoal_proto::limits::SEGMENT_BYTES_MIN;
use shoal_proto::path::RelPath;
use shoal_proto::segment::{ListError, ListHasher, Listed, Segment};

pub(crate) use self::cutting::Known;
use self::cutting::{BUFFER_BYTES, Cutting, Interrupted};
use crate::fs::{Fs, FsFile};
use crate::os::Os;
use crate::path::TreePath;
use crate::scan::{ReadError, open_regular, open_seen};
use crate::stage::read_all_at;
use crate::stat::{Expected, Kind, Stat};
use crate::tree::Tree;
use crate::walk::{WalkError, Walker};

/// A file of the tree, open for reading as one version.
#[derive(Debug)]
pub struct Opened<F: Fs = Os> {
    file: F::File,
    path: TreePath,
    stat: Stat,
    /// Set when nobody wants the bytes any more: the next reading fails.
    ends: Ends,
    /// The run of data that was found last, from where it was asked for: some file systems go through all of it to say
    /// where it ends.
    data: Mutex<Range<u64>>,
}

/// Whether whoever reads is to break off; never unset.
pub(crate) type Ends = Arc<AtomicBool>;

/// What cutting needs, kept from one file to the next.
#[derive(Debug)]
pub(crate) struct Tools {
    buffer: Vec<u8>,
    /// How many threads work on a large file, the caller's among them.
    threads: usize,
}

impl Tools {
    pub(crate) fn new(threads: usize) -> Self {
        Self { buffer: vec![0; BUFFER_BYTES], threads }
    }
}

/// What became of reading a whole file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    /// What it is; all of it was of one version.
    Whole(Listed),
    /// It changed while it was read. To be tried again when it is quiet.
    Changed,
}

/// What became of reading a span.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Span {
    /// So many bytes were read; fewer than asked for only where the file ends.
    Read(usize),
    /// The file is no longer the version that was opened: what is in the buffer is worth nothing.
    Changed,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// There is no way to it.
    #[error(transparent)]
    Barred(#[from] WalkError),
    /// It cannot be opened or read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is larger than any file of a share.
    #[error("cannot take {path} into the share")]
    TooLarge {
        /// Its path.
        path: TreePath,
        /// What its list of segments would break.
        source: ListError,
    },
}

impl<F: Fs> Tree<F> {
    /// Opens a file for reading; `None` if there is something else than what was expected.
    ///
    /// # Errors
    /// When there is no way to the file, or this user may not read it, or the disk cannot.
    pub fn open(&self, path: &RelPath, expected: &Expected) -> Result<Option<Opened<F>>, ContentError> {
        let path = TreePath::from(path);
        let (dir, name) = Walker::new(&self.folder).open_parent(&path)?;
        let opened = Opened::expected(open_regular(&*dir, name, &path), path, expected)?;
        Ok(opened.map(|opened| opened.until(&self.folder.ends)))
    }
}

impl<F: Fs> Opened<F> {
    /// As [`Tree::open`], in an open folder, for who has just looked at the name and saw what is expected.
    pub(crate) fn open_seen(
        dir: &F::Dir,
        path: TreePath,
        name: &OsStr,
        expected: &Expected,
    ) -> Result<Option<Self>, ContentError> {
        Self::expected(open_seen(dir, name, &path), path, expected)
    }

    fn new(file: F::File, path: TreePath, stat: Stat) -> Self {
        Self { file, path, stat, ends: Ends::default(), data: Mutex::default() }
    }

    /// The same, and reading fails from the moment on in which this is set: a large file takes minutes.
    pub(crate) fn until(self, ends: &Ends) -> Self {
        Self { ends: Arc::clone(ends), ..self }
    }

    fn expected(
        opened: Result<(F::File, Stat), ReadError>,
        path: TreePath,
        expected: &Expected,
    ) -> Result<Option<Self>, ContentError> {
        match opened {
            Ok((file, stat)) => Ok((expected.kind == Kind::File && expected.is_met_by_file(&stat))
                .then(|| Self::new(file, path, stat))),
            Err(ReadError::Missing { .. } | ReadError::NotRegular { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// For a file of the history, which has no path in the tree any more; `path` is where it was.
    pub(crate) fn of_history(file: F::File, path: TreePath) -> io::Result<Self> {
        let stat = file.look_through()?.stat;
        Ok(Self::new(file, path, stat))
    }

    /// Makes bytes, size, permissions and time durable, but not the name.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// What it was seen as when it was opened.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Reads into all of `buffer` from `offset` (in bytes) on, or up to the end of the file.
    ///
    /// # Errors
    /// When the disk cannot.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<Span, ContentError> {
        let length = self.fill(buffer, offset)?;
        Ok(if self.is_unchanged()? { Span::Read(length) } else { Span::Changed })
    }

    /// Cuts the file into its segments and shows each to `visit`, in order; then names the content. If the answer is
    /// [`Content::Changed`], what was shown is worth nothing.
    ///
    /// # Errors
    /// When the disk cannot read it, or it is larger than any file of a share.
    pub fn cut(&self, visit: impl FnMut(Segment)) -> Result<Content, ContentError> {
        self.cut_with(&mut Tools::new(1), &Known::default(), visit)
    }

    /// As [`Self::cut`], with what was used for the file before, and along the list of what it was. A part that is as the
    /// list says is told as the list says, even if it was cut by other rules.
    pub(crate) fn cut_with(
        &self,
        tools: &mut Tools,
        known: &Known,
        mut visit: impl FnMut(Segment),
    ) -> Result<Content, ContentError> {
        let mut list = ListHasher::new();
        let too_large = |source| ContentError::TooLarge { path: self.path.clone(), source };
        let each = |segment| {
            list.push(segment).map_err(too_large)?;
            visit(segment);
            Ok(())
        };
        match self.each_segment(tools, known, each) {
            Ok(()) if self.is_unchanged()? => Ok(Content::Whole(list.finish())),
            Ok(()) | Err(Interrupted::Changed) => Ok(Content::Changed),
            Err(Interrupted::Failed(error)) => Err(error),
        }
    }

    fn each_segment(
        &self,
        tools: &mut Tools,
        known: &Known,
        mut visit: impl FnMut(Segment) -> Result<(), Interrupted>,
    ) -> Result<(), Interrupted> {
        let Tools { buffer, threads } = tools;
        self.outwait_write()?;
        match self.stat.size {
            0 => Ok(()),
            // One segment, whatever is in it.
            size if size <= SEGMENT_BYTES_MIN.into() => {
                let buffer = &mut buffer[..usize::try_from(size).unwrap_or(usize::MAX)];
                if self.fill(buffer, 0)? < buffer.len() {
                    return Err(Interrupted::Changed);
                }
                let id = SegmentId::from_bytes(*blake3::hash(buffer).as_bytes());
                visit(Segment { id, length: u32::try_from(size).unwrap_or(u32::MAX) })
            }
            size if *threads > 1 && size >= regions::WORTH_BYTES => {
                regions::cut(self, known, buffer, *threads, visit)
            }
            _ => {
                let mut cutting = Cutting::new(self, known, buffer, 0);
                while let Some(segment) = cutting.next()? {
                    visit(segment)?;
                }
                Ok(())
            }
        }
    }

    /// Waits for a write that is under way, as far as the file system lets us.
    ///
    /// A write gives the file its change time when it begins, and its bytes page by page after that: who looks in between sees
    /// the new time both before and after reading, and half of the bytes. To ask where data is takes the same lock as a
    /// write does on ext4 and tmpfs; others do not show a write in pieces.
    fn outwait_write(&self) -> Result<(), ContentError> {
        if self.stat.size > 0 { self.next_data(0).map(drop) } else { Ok(()) }
    }

    /// Where the next data begins and ends, within the size that the file had when it was opened. A file system that does
    /// not know of holes has none.
    fn next_data(&self, at: u64) -> Result<Range<u64>, ContentError> {
        let size = self.stat.size;
        // Held while the system looks: others would ask it for the same.
        let mut known = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&at) {
            return Ok(at..known.end);
        }
        let data = match self.file.next_data(at) {
            Ok(Some(data)) => data.start.clamp(at, size)..data.end.clamp(at, size),
            Ok(None) => size..size,
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => at..size,
                _ => return Err(self.read_error(error)),
            },
        };
        *known = data.clone();
        Ok(data)
    }

    fn fill(&self, buffer: &mut [u8], offset: u64) -> Result<usize, ContentError> {
        if self.ends.load(Ordering::Relaxed) {
            return Err(self.read_error(io::Error::other("reading was broken off")));
        }
        read_all_at(&self.file, buffer, offset).map_err(|error| self.read_error(error))
    }

    fn is_unchanged(&self) -> Result<bool, ContentError> {
        let now = self.file.look_through().map_err(|error| self.read_error(error))?;
        Ok(now.stat.same_version(&self.stat))
    }

    fn read_error(&self, source: io::Error) -> ContentError {
        ReadError::Io { name: self.path.clone(), source }.into()
    }
}

#[cfg(test)]
mod tests;
