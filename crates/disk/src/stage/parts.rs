//! A staged file whose bytes come in any order.
//!
//! Promise: which bytes were written is known exactly, and nothing else of the file is ever given out; it can be finished
//! only once all of it was written. What is never written because it is zeros stays a hole. Its handle may be closed
//! between two writes, and the file is then opened again only as the very one that it was.

use std::io;
use std::ops::Range;

use rustix::io::Errno;

use super::{FinishedFile, Slot, StageError, StagedFile, Staging, WRITE_OUT_BYTES};
use crate::durable::Durability;
use crate::fs::{Fs, FsDir, FsFile};
use crate::path::TreePath;
use crate::stat::{FileTime, Kind, Stat};

/// A file being written in parts.
#[derive(Debug)]
pub(crate) struct PartFile<F: Fs> {
    slot: Slot<F>,
    size: u64,
    written: Spans,
    /// What of that are zeros that were never written.
    holes: Spans,
    /// Closed while there are too many.
    file: Option<F::File>,
    /// By what it is known again.
    number: u64,
}

impl<F: Fs> Staging<F> {
    /// Begins a file of `size` bytes. There must be space for all of it. `path` is what it is called should that fail.
    pub(crate) fn create_in_parts(&self, path: &TreePath, size: u64) -> Result<PartFile<F>, StageError> {
        let StagedFile { slot, file, .. } = self.begin(path, Some(size))?;
        let seen = file.look_through().map_err(|source| self.write_error(path, size, source))?;
        let (written, holes) = <(Spans, Spans)>::default();
        Ok(PartFile { slot, size, written, holes, file: Some(file), number: seen.stat.ino })
    }
}

impl<F: Fs> PartFile<F> {
    /// How many bytes the whole file is to have.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether all bytes were written.
    pub(crate) fn is_whole(&self) -> bool {
        self.written.holds(&(0..self.size))
    }

    /// Whether all of these bytes were written.
    pub(crate) fn holds(&self, span: &Range<u64>) -> bool {
        self.written.holds(span)
    }

    /// Writes bytes, one piece after the other, at their place, which must be within the size.
    pub(crate) fn write_at(&mut self, pieces: &[impl AsRef<[u8]>], offset: u64) -> Result<(), StageError> {
        let length = pieces.iter().map(|piece| piece.as_ref().len() as u64).sum();
        let span = self.span(offset, length)?;
        let size = self.size;
        let written = self.open().and_then(|file| {
            let mut at = offset;
            for piece in pieces {
                write_all_at(file, piece.as_ref(), at)?;
                at += piece.as_ref().len() as u64;
            }
            if size >= WRITE_OUT_BYTES {
                file.start_write_out(offset, length);
            }
            Ok(())
        });
        written.map_err(|source| self.error(length, source))?;
        self.holes.0.retain(|hole| hole.end <= span.start || span.end <= hole.start);
        self.written.add(span);
        Ok(())
    }

    /// Takes so many zeros as written; where nothing was written yet they stay a hole.
    pub(crate) fn write_zeros_at(&mut self, length: u64, offset: u64) -> Result<(), StageError> {
        let span = self.span(offset, length)?;
        if self.written.touches(&span) {
            const ZEROS: [u8; 16 << 10] = [0; 16 << 10];
            let mut at = span.start;
            while at < span.end {
                let length = usize::try_from(span.end - at).unwrap_or(usize::MAX).min(ZEROS.len());
                self.write_at(&[&ZEROS[..length]], at)?;
                at += length as u64;
            }
        } else {
            self.holes.add(span.clone());
        }
        self.written.add(span);
        Ok(())
    }

    /// Reads bytes that were written; `None` if some of them were not.
    pub(crate) fn read_at(&mut self, length: usize, offset: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(end) = offset.checked_add(length as u64) else { return Ok(None) };
        if !self.holds(&(offset..end)) {
            return Ok(None);
        }
        // What is past the end of the file is a hole that was taken as written.
        let mut bytes = vec![0; length];
        read_all_at(self.open()?, &mut bytes, offset)?;
        Ok(Some(bytes))
    }

    /// Whether it has a handle.
    pub(crate) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Gives the handle back to the system, until it is needed again.
    pub(crate) fn close(&mut self) {
        self.file = None;
    }

    /// Completes the file, all of which must have been written; see [`StagedFile::finish_as`].
    pub(crate) fn finish_as(mut self, mtime: FileTime, mode: u32) -> Result<FinishedFile<F>, StageError> {
        let size = self.size;
        if !self.is_whole() {
            let (name, written) = (self.slot.path.clone(), self.written.bytes());
            return Err(StageError::WrongLength { name, announced: size, written });
        }
        let syncs = self.slot.folder.durability == Durability::EachFile;
        let holes = std::mem::take(&mut self.holes);
        let sealed = self.open().and_then(|file| {
            if size >= WRITE_OUT_BYTES {
                give_back(file, size, &holes)?;
            }
            seal(file, size, mtime, mode & 0o777, syncs)
        });
        match sealed {
            Ok(stat) => Ok(FinishedFile { slot: self.slot, kind: Kind::File, stat }),
            Err(source) => Err(self.error(0, source)),
        }
    }

    fn span(&self, offset: u64, length: u64) -> Result<Range<u64>, StageError> {
        match offset.checked_add(length).filter(|end| *end <= self.size) {
            Some(end) => Ok(offset..end),
            None => Err(StageError::WrongLength {
                name: self.slot.path.clone(),
                announced: self.size,
                written: offset.saturating_add(length),
            }),
        }
    }

    fn open(&mut self) -> io::Result<&F::File> {
        if self.file.is_none() {
            let (staging, name) = (&self.slot.folder.staging, self.slot.number.file_name());
            // Looked at first, or a file that is gone would be made anew, empty.
            let is_ours = |seen: &crate::stat::Look| seen.kind == Kind::File && seen.stat.ino == self.number;
            staging.look(name.as_ref())?.filter(is_ours).ok_or(Errno::NOENT)?;
            let file = staging.open_or_create(name.as_ref())?;
            if !is_ours(&file.look_through()?) {
                return Err(Errno::NOENT.into());
            }
            self.file = Some(file);
        }
        self.file.as_ref().ok_or_else(|| Errno::BADF.into())
    }

    fn error(&self, needed: u64, source: io::Error) -> StageError {
        Staging::new(std::sync::Arc::clone(&self.slot.folder)).write_error(&self.slot.path, needed, source)
    }
}

/// Room was taken for all of a large file: what is a hole needs none.
fn give_back(file: &impl FsFile, size: u64, holes: &Spans) -> io::Result<()> {
    if !holes.0.is_empty() {
        // Behind the end of a file there is nothing to give back.
        file.set_len(size)?;
        holes.0.iter().for_each(|hole| file.release(hole.clone()));
    }
    Ok(())
}

fn seal(file: &impl FsFile, size: u64, mtime: FileTime, mode: u32, syncs: bool) -> io::Result<Stat> {
    if file.look_through()?.stat.size != size {
        // It ends in a hole.
        file.set_len(size)?;
    }
    file.set_mode(mode)?;
    file.set_mtime(mtime)?;
    if syncs {
        file.sync()?;
    }
    Ok(file.look_through()?.stat)
}

fn write_all_at(file: &impl FsFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads up to the end of the file; tells how much.
pub(crate) fn read_all_at(file: &impl FsFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], offset.saturating_add(length as u64)) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Bytes of a file, as ranges: in order, apart from each other, none empty.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Spans(Vec<Range<u64>>);

impl Spans {
    fn add(&mut self, span: Range<u64>) {
        if span.is_empty() {
            return;
        }
        // Neighbours become one.
        let first = self.0.partition_point(|known| known.end < span.start);
        let after = self.0.partition_point(|known| known.start <= span.end);
        let met = &self.0[first..after];
        let start = met.first().map_or(span.start, |known| known.start.min(span.start));
        let end = met.last().map_or(span.end, |known| known.end.max(span.end));
        self.0.splice(first..after, std::iter::once(start..end));
    }

    fn holds(&self, span: &Range<u64>) -> bool {
        let at = self.0.partition_point(|known| known.end < span.end);
        span.is_empty() || self.0.get(at).is_some_and(|known| known.start <= span.start)
    }

    fn touches(&self, span: &Range<u64>) -> bool {
        let at = self.0.partition_point(|known| known.end <= span.start);
        self.0.get(at).is_some_and(|known| known.start < span.end)
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|known| known.end - known.start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_hold_what_was_added_and_nothing_else() {
        // Every byte of a small file beside a plain table, for a row of spans without a pattern.
        let mut seed = 7_u64;
        for _ in 0..200 {
            let (mut spans, mut table) = (Spans::default(), [false; 32]);
            for _ in 0..12 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (start, length) = ((seed >> 33) % 30, (seed >> 50) % 6);
                let span = start..(start + length).min(32);
                table[usize::try_from(span.start).unwrap()..usize::try_from(span.end).unwrap()].fill(true);
                spans.add(span);
                for start in 0..32_usize {
                    for end in start + 1..=32 {
                        let range = start as u64..end as u64;
                        assert_eq!(
                            spans.holds(&range),
                            table[start..end].iter().all(|held| *held),
                            "{spans:?}"
                        );
                        assert_eq!(
                            spans.touches(&range),
                            table[start..end].iter().any(|held| *held),
                            "{spans:?}"
                        );
                    }
                }
                assert_eq!(spans.bytes(), table.iter().filter(|held| **held).count() as u64);
                assert!(spans.0.windows(2).all(|pair| pair[0].end < pair[1].start), "{spans:?}");
            }
        }
    }
}
