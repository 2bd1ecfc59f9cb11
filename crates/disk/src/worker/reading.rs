//! Reading spans, and putting segments together from what is here and what came.
//!
//! Promise: bytes are given out only whole, and only from where they were asked for: of a file in the folder while it is
//! what was seen and is not ignored (I11, I21), of the history while the version is what was filed (E17), of a staged file
//! where they were written. What they are is for the asker
//! to check; what [`assemble`] gives has passed.

use std::sync::Arc;

use shoal_engine::disk::{BytesAt, Compare, Seen, Wanted};
use shoal_proto::chunk::LocalChunks;
use shoal_proto::limits::SEGMENT_BYTES_MAX;
use shoal_proto::path::RelPath;
use shoal_proto::segment::Segment;

use super::rules::{Of, Rules};
use super::stages::Stages;
use super::words;
use crate::buffers::Buffers;
use crate::content::{Opened, Span};
use crate::folder::Shared;
use crate::fs::Fs;
use crate::history::History;
use crate::path::TreePath;
use crate::stat::FileTime;
use crate::tree::Tree;

/// Reads spans, best many of one file in a row: the last file stays open.
pub(super) struct Reader<'a, F: Fs> {
    folder: &'a Arc<Shared<F>>,
    stages: &'a Stages<F>,
    rules: &'a Rules,
    buffers: &'a Buffers,
    last: Option<Last<F>>,
}

/// The file that was read last.
enum Last<F: Fs> {
    Folder(RelPath, Seen, Opened<F>),
    History(u64, Opened<F>),
}

/// What came of putting a segment together.
pub(super) enum Assembled {
    /// Its bytes.
    Whole(Vec<u8>),
    /// What was near it is not there any more.
    NotHere,
    /// What came is not what it must be.
    False,
}

impl<'a, F: Fs> Reader<'a, F> {
    pub(super) fn new(
        folder: &'a Arc<Shared<F>>,
        stages: &'a Stages<F>,
        rules: &'a Rules,
        buffers: &'a Buffers,
    ) -> Self {
        Self { folder, stages, rules, buffers, last: None }
    }

    /// The bytes of a span, from the first place that has all of them; at most [`SEGMENT_BYTES_MAX`].
    pub(super) fn read(&mut self, wanted: &Wanted) -> Option<Vec<u8>> {
        wanted.places.iter().find_map(|place| self.read_at(place, wanted.length))
    }

    /// So many bytes from one place; `None` if it has fewer, or cannot be read.
    pub(super) fn read_at(&mut self, place: &BytesAt, length: u32) -> Option<Vec<u8>> {
        if length > SEGMENT_BYTES_MAX {
            return None;
        }
        let length = length as usize;
        match place {
            BytesAt::Folder { path, seen, offset } => self.in_folder(path, seen, *offset, length),
            BytesAt::History { number, size, mtime, offset } => {
                self.in_history(*number, (*size, (*mtime).into()), *offset, length)
            }
            BytesAt::Staged { stage, offset } => self.stages.read(*stage, *offset, length),
        }
    }

    fn in_folder(&mut self, path: &RelPath, seen: &Seen, offset: u64, length: usize) -> Option<Vec<u8>> {
        if self.rules.ignore(path, Of::Other) {
            return None;
        }
        let is_open =
            matches!(&self.last, Some(Last::Folder(at, as_seen, _)) if at == path && as_seen == seen);
        if !is_open {
            let tree = Tree::new(Arc::clone(self.folder));
            let opened = tree.open(path, &words::expected(seen)).ok()??;
            self.last = Some(Last::Folder(path.clone(), seen.clone(), opened));
        }
        let Some(Last::Folder(_, _, opened)) = &self.last else { return None };
        let mut bytes = self.buffers.take(length);
        match opened.read_at(&mut bytes, offset) {
            Ok(Span::Read(read)) if read == length => Some(bytes),
            _ => {
                self.last = None;
                None
            }
        }
    }

    /// `shape`: the size and time that it must have.
    fn in_history(
        &mut self,
        number: u64,
        shape: (u64, FileTime),
        offset: u64,
        length: usize,
    ) -> Option<Vec<u8>> {
        if !matches!(self.last, Some(Last::History(open, _)) if open == number) {
            let file = History::new(Arc::clone(self.folder)).open(number).ok()?;
            let opened = Opened::of_history(file, TreePath::of_number("version", number)).ok()?;
            self.last = Some(Last::History(number, opened));
        }
        let Some(Last::History(_, opened)) = &self.last else { return None };
        let mut bytes = self.buffers.take(length);
        let is_it = (opened.stat().size, opened.stat().mtime) == shape;
        match opened.read_at(&mut bytes, offset) {
            Ok(Span::Read(read)) if read == length && is_it => Some(bytes),
            _ => {
                self.last = None;
                None
            }
        }
    }

    /// The bytes that are near a segment, as far as they can be read; none if nothing of them can.
    pub(super) fn near(&mut self, compare: &Compare) -> Vec<Vec<u8>> {
        let mut left = NEAR_BYTES_MAX;
        let mut near = Vec::new();
        for (place, length) in &compare.near {
            if *length > left {
                break;
            }
            left -= length;
            near.extend(self.read_at(place, *length));
        }
        near
    }
}

/// The chunks that are among some bytes, each with where it is: in which of them, and from which byte on.
pub(super) fn local_chunks(compare: &Compare, near: &[Vec<u8>]) -> LocalChunks<(usize, usize)> {
    let mut local = LocalChunks::new(compare.content);
    for (number, bytes) in near.iter().enumerate() {
        local.add(bytes, |range| (number, range.start));
    }
    local
}

/// Puts a segment together from the chunks that are near and the bytes that came, and checks it.
pub(super) fn assemble(
    segment: &Segment,
    compare: &Compare,
    near: &[Vec<u8>],
    came: &[(u32, Vec<u8>)],
) -> Assembled {
    let length = segment.length as usize;
    let listed = compare.chunks.chunks().last().map_or(0, |(range, _)| range.end as usize);
    if segment.length > SEGMENT_BYTES_MAX || listed != length {
        return Assembled::False;
    }
    let mut bytes = vec![0; length];
    let local = local_chunks(compare, near);
    for (range, chunk) in compare.chunks.chunks() {
        if let Some((number, start)) = local.place(&chunk) {
            let from = &near[*number][*start..*start + chunk.length as usize];
            bytes[range.start as usize..range.end as usize].copy_from_slice(from);
        }
    }
    let mut arrived = Vec::with_capacity(came.len());
    for (offset, part) in came {
        let start = *offset as usize;
        let Some(place) = start.checked_add(part.len()).and_then(|end| bytes.get_mut(start..end)) else {
            return Assembled::False;
        };
        place.copy_from_slice(part);
        arrived.push(start..start + part.len());
    }
    if segment.is(&bytes) {
        return Assembled::Whole(bytes);
    }
    // Whose fault it is: what is missing here now and did not come was here when it was compared.
    arrived.sort_by_key(|range| range.start);
    let has_come = |wanted: std::ops::Range<u32>| {
        let mut at = wanted.start as usize;
        for range in &arrived {
            if range.start <= at && at < range.end {
                at = range.end;
            }
        }
        at >= wanted.end as usize
    };
    match local.missing(&compare.chunks).into_iter().all(has_come) {
        true => Assembled::False,
        false => Assembled::NotHere,
    }
}

/// So many bytes are looked through for the chunks of one segment.
const NEAR_BYTES_MAX: u32 = 8 * SEGMENT_BYTES_MAX;
