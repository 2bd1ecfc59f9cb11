//! Cutting a file in order, from any place in it on.
//!
//! Promise: from a place where a segment begins, [`Cutting::next`] gives the segments that the file has from there on,
//! whatever was before. Memory for the one buffer that it was given; holes are neither read nor hashed (E11).
//!
//! A file that was cut before is compared with its list first ([`Known`]): what is in it unchanged is hashed and not cut,
//! which is half the work, and has the name that it had.

use std::ops::Range;

use shoal_proto::cut::Cutter;
use shoal_proto::hash::SegmentId;
use shoal_proto::limits::SEGMENT_BYTES_MAX;
use shoal_proto::segment::{Segment, SegmentList};

use super::{ContentError, Opened};
use crate::fs::Fs;

/// How much is read at a time, and hashed in one piece wherever a segment is that long.
///
/// Pieces that begin a whole number of them after the segment are what BLAKE3 is fastest with, and this much stays in
/// the cache of one core between being read, cut and hashed.
const BLOCK_BYTES: usize = 256 << 10;

/// What systems keep files in.
const PAGE_BYTES: usize = 4 << 10;

/// Room for a block that begins and ends somewhere in a page.
pub(super) const BUFFER_BYTES: usize = BLOCK_BYTES + 2 * PAGE_BYTES;

/// A file, cut from some place on.
pub(super) struct Cutting<'a, F: Fs> {
    opened: &'a Opened<F>,
    /// [`BUFFER_BYTES`].
    buffer: &'a mut [u8],
    /// What of the buffer was read and not taken.
    held: Range<usize>,
    /// Where in the file the first byte is that was not taken.
    at: u64,
    /// Where the data is that comes next; empty and before `at` until that was asked for.
    data: Range<u64>,
    known: &'a Known,
    cutter: Cutter,
    hasher: blake3::Hasher,
    /// Bytes of the segment so far.
    length: u64,
}

/// The segments that the content of a file had when it was cut before; nothing, if that is not known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    segments: Vec<Segment>,
    /// Where each of them begins.
    begins: Vec<u64>,
}

impl Known {
    pub(crate) fn new(list: &SegmentList) -> Self {
        let mut end = 0;
        let begin = |segment: &Segment| {
            let begin = end;
            end += u64::from(segment.length);
            begin
        };
        Self { segments: list.segments().to_vec(), begins: list.segments().iter().map(begin).collect() }
    }

    /// The segment that began at this byte, and whether it was the last.
    fn at(&self, byte: u64) -> Option<(Segment, bool)> {
        let at = self.begins.binary_search(&byte).ok()?;
        Some((self.segments[at], at + 1 == self.segments.len()))
    }

    /// The first place from this byte on where one began, if that is not far.
    pub(super) fn begin_from(&self, byte: u64) -> Option<u64> {
        let begin = *self.begins.get(self.begins.partition_point(|begin| *begin < byte))?;
        (begin - byte < u64::from(SEGMENT_BYTES_MAX)).then_some(begin)
    }
}

/// Why a file was not cut to its end.
#[derive(Debug)]
pub(super) enum Interrupted {
    /// It is shorter than it was when it was opened.
    Changed,
    /// It cannot be read.
    Failed(ContentError),
}

impl From<ContentError> for Interrupted {
    fn from(error: ContentError) -> Self {
        Self::Failed(error)
    }
}

impl<'a, F: Fs> Cutting<'a, F> {
    /// From a place where a segment begins.
    pub(super) fn new(opened: &'a Opened<F>, known: &'a Known, buffer: &'a mut [u8], from: u64) -> Self {
        Self {
            opened,
            known,
            buffer,
            held: 0..0,
            at: from,
            data: 0..0,
            cutter: Cutter::segments(),
            hasher: blake3::Hasher::new(),
            length: 0,
        }
    }

    /// The next segment; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Segment>, Interrupted> {
        if let Some(segment) = self.next_known()? {
            return Ok(Some(segment));
        }
        while self.at < self.opened.stat.size {
            self.find_data()?;
            let closed = match self.at < self.data.start {
                true => self.take_zeros(self.data.start - self.at),
                false => self.take_data()?,
            };
            if closed.is_some() {
                return Ok(closed);
            }
        }
        Ok((self.length > 0).then(|| self.close()))
    }

    /// The segment that begins here in the known list, if it is still here.
    ///
    /// Where a segment ends depends on its own bytes alone: so the same bytes end at the same place, and nothing needs to be
    /// looked for in them. That is not so of the last one, which ended with the content.
    fn next_known(&mut self) -> Result<Option<Segment>, Interrupted> {
        let Some((segment, is_last)) = self.known.at(self.at) else { return Ok(None) };
        let (begin, size) = (self.at, self.opened.stat.size);
        let end = begin + u64::from(segment.length);
        if end > size || is_last && end < size {
            return Ok(None);
        }
        self.find_data()?;
        if !(self.data.start <= begin && end <= self.data.end) {
            // Holes are told by their length faster than by their hash.
            return Ok(None);
        }
        while self.at < end {
            let left = usize::try_from(end - self.at).unwrap_or(usize::MAX);
            let wanted = left.min(BLOCK_BYTES);
            self.hold(wanted)?;
            self.hasher.update(&self.buffer[self.held.start..self.held.start + wanted]);
            self.held.start += wanted;
            self.pass(wanted as u64);
        }
        let found = self.close();
        if found == segment {
            return Ok(Some(segment));
        }
        // It is another one, and may end anywhere.
        (self.at, self.held) = (begin, 0..0);
        Ok(None)
    }

    fn find_data(&mut self) -> Result<(), Interrupted> {
        if self.at >= self.data.end {
            self.data = self.opened.next_data(self.at)?;
        }
        Ok(())
    }

    /// Takes data up to a cut or to a whole number of blocks from where the segment began; the segment, if one ends there.
    fn take_data(&mut self) -> Result<Option<Segment>, Interrupted> {
        let into_block = usize::try_from(self.length % BLOCK_BYTES as u64).unwrap_or(0);
        let data = usize::try_from(self.data.end - self.at).unwrap_or(usize::MAX);
        let wanted = data.min(BLOCK_BYTES - into_block);
        self.hold(wanted)?;
        let next = &self.buffer[self.held.start..self.held.start + wanted];
        let cut = self.cutter.next_cut(next);
        let taken = cut.unwrap_or(wanted);
        self.hasher.update(&next[..taken]);
        self.held.start += taken;
        self.pass(taken as u64);
        Ok(cut.map(|_| self.close()))
    }

    /// Reads on until so much is held, at most [`BLOCK_BYTES`]; and then up to the end of a page, and each page to where
    /// one begins in the buffer, which is what systems copy fastest.
    fn hold(&mut self, wanted: usize) -> Result<(), Interrupted> {
        let held = self.held.len();
        if held >= wanted {
            return Ok(());
        }
        let begin = usize::try_from(self.at % PAGE_BYTES as u64).unwrap_or(0);
        self.buffer.copy_within(self.held.clone(), begin);
        let data = usize::try_from(self.data.end - self.at).unwrap_or(usize::MAX);
        let end = (begin + wanted).next_multiple_of(PAGE_BYTES).min(begin.saturating_add(data));
        let read = self.opened.fill(&mut self.buffer[begin + held..end], self.at + held as u64)?;
        self.held = begin..end;
        if begin + held + read < end { Err(Interrupted::Changed) } else { Ok(()) }
    }

    /// Takes so many zeros, up to a cut; the segment, if one ends there.
    fn take_zeros(&mut self, zeros: u64) -> Option<Segment> {
        let is_whole = self.length == 0;
        let cut = self.cutter.next_cut_in_zeros(zeros);
        let taken = cut.unwrap_or(zeros);
        if is_whole && cut == Some(u64::from(SEGMENT_BYTES_MAX)) {
            self.at += taken;
            return Some(Segment::ZEROS);
        }
        self.hash_zeros(taken);
        self.pass(taken);
        cut.map(|_| self.close())
    }

    fn hash_zeros(&mut self, mut zeros: u64) {
        const ZEROS: [u8; 16 << 10] = [0; 16 << 10];
        while zeros > 0 {
            let length = usize::try_from(zeros).unwrap_or(usize::MAX).min(ZEROS.len());
            self.hasher.update(&ZEROS[..length]);
            zeros -= length as u64;
        }
    }

    fn pass(&mut self, bytes: u64) {
        self.at += bytes;
        self.length += bytes;
    }

    fn close(&mut self) -> Segment {
        let id = SegmentId::from_bytes(*self.hasher.finalize().as_bytes());
        // A segment is never longer than the greatest size, which is less than this.
        let length = u32::try_from(self.length).unwrap_or(u32::MAX);
        self.hasher.reset();
        self.length = 0;
        Segment { id, length }
    }
}
