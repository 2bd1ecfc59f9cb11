//! Reading what is in a file of the tree: cut and named, or a span of it to be served.
//!
//! Promise: bytes come only from a plain file below the root, opened by handles (I11, I23), and only if it was, before and
//! after they were read, the version that was expected: a file that changes meanwhile gives an answer that says so, never a
//! name for a mixture (I22, E4). Memory for one buffer of [`WRITE_BYTES`]; holes are neither read nor hashed (E11).
//!
//! What no look can tell is a write within the same tick of the file system's clock as the reading (E5): whoever keeps a
//! name beside a change time that is as young as its own clock reads again later.

use std::io;

use rustix::io::Errno;
use shoal_proto::cut::Cutter;
use shoal_proto::hash::SegmentId;
use shoal_proto::limits::SEGMENT_BYTES_MAX;
use shoal_proto::path::RelPath;
use shoal_proto::segment::{ListError, ListHasher, Listed, Segment};

use crate::fs::{Fs, FsFile};
use crate::os::Os;
use crate::path::TreePath;
use crate::scan::{ReadError, open_regular};
use crate::stage::{WRITE_BYTES, read_all_at};
use crate::stat::{Expected, Kind, Stat};
use crate::tree::Tree;
use crate::walk::{WalkError, Walker};

/// A file of the tree, open for reading as one version.
#[derive(Debug)]
pub struct Opened<F: Fs = Os> {
    file: F::File,
    path: TreePath,
    stat: Stat,
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
        match open_regular(&*dir, name, &path) {
            Ok((file, stat)) => Ok((expected.kind == Kind::File && expected.is_met_by_file(&stat))
                .then_some(Opened { file, path, stat })),
            Err(ReadError::Missing { .. } | ReadError::NotRegular { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl<F: Fs> Opened<F> {
    /// For a file of the history, which has no path in the tree any more; `path` is where it was.
    pub(crate) fn of_history(file: F::File, path: TreePath) -> io::Result<Self> {
        let stat = file.look_through()?.stat;
        Ok(Self { file, path, stat })
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
        let size = self.stat.size;
        let mut cut = Cut::new(visit);
        let too_large = |source| ContentError::TooLarge { path: self.path.clone(), source };
        let mut buffer = vec![0; WRITE_BYTES];
        let mut at = 0;
        while at < size {
            let (data, end) = self.next_data(at)?;
            cut.take_zeros(data - at).map_err(too_large)?;
            at = data;
            while at < end {
                let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
                let length = self.fill(&mut buffer[..wanted], at)?;
                if length < wanted {
                    // It was cut short.
                    return Ok(Content::Changed);
                }
                cut.take(&buffer[..length]).map_err(too_large)?;
                at += length as u64;
            }
        }
        let listed = cut.finish().map_err(too_large)?;
        Ok(if self.is_unchanged()? { Content::Whole(listed) } else { Content::Changed })
    }

    /// Where the next data begins and ends, within the size that the file had when it was opened. A file system that does
    /// not know of holes has none.
    fn next_data(&self, at: u64) -> Result<(u64, u64), ContentError> {
        let size = self.stat.size;
        match self.file.next_data(at) {
            Ok(Some(data)) => Ok((data.start.clamp(at, size), data.end.clamp(at, size))),
            Ok(None) => Ok((size, size)),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok((at, size)),
                _ => Err(self.read_error(error)),
            },
        }
    }

    fn fill(&self, buffer: &mut [u8], offset: u64) -> Result<usize, ContentError> {
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

/// Cuts and hashes bytes as they come.
struct Cut<V> {
    visit: V,
    cutter: Cutter,
    hasher: blake3::Hasher,
    /// Bytes of the segment so far.
    length: u64,
    list: ListHasher,
}

impl<V: FnMut(Segment)> Cut<V> {
    fn new(visit: V) -> Self {
        Self {
            visit,
            cutter: Cutter::segments(),
            hasher: blake3::Hasher::new(),
            length: 0,
            list: ListHasher::new(),
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), ListError> {
        while let Some(cut) = self.cutter.next_cut(bytes) {
            let (last, rest) = bytes.split_at(cut);
            self.hash(last);
            self.close()?;
            bytes = rest;
        }
        self.hash(bytes);
        Ok(())
    }

    fn take_zeros(&mut self, mut zeros: u64) -> Result<(), ListError> {
        while zeros > 0 {
            let is_whole = self.length == 0;
            let cut = self.cutter.next_cut_in_zeros(zeros);
            match cut {
                Some(cut) if is_whole && cut == u64::from(SEGMENT_BYTES_MAX) => self.push(Segment::ZEROS)?,
                _ => self.hash_zeros(cut.unwrap_or(zeros)),
            }
            if cut.is_some() && self.length > 0 {
                self.close()?;
            }
            zeros -= cut.unwrap_or(zeros);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Listed, ListError> {
        if self.length > 0 {
            self.close()?;
        }
        Ok(self.list.finish())
    }

    fn hash(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
    }

    fn hash_zeros(&mut self, mut zeros: u64) {
        const ZEROS: [u8; 16 << 10] = [0; 16 << 10];
        while zeros > 0 {
            let length = usize::try_from(zeros).unwrap_or(usize::MAX).min(ZEROS.len());
            self.hash(&ZEROS[..length]);
            zeros -= length as u64;
        }
    }

    fn close(&mut self) -> Result<(), ListError> {
        let id = SegmentId::from_bytes(*self.hasher.finalize().as_bytes());
        // A segment is never longer than the greatest size, which is less than this.
        let length = u32::try_from(self.length).unwrap_or(u32::MAX);
        self.hasher.reset();
        self.length = 0;
        self.push(Segment { id, length })
    }

    fn push(&mut self, segment: Segment) -> Result<(), ListError> {
        self.list.push(segment)?;
        (self.visit)(segment);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
