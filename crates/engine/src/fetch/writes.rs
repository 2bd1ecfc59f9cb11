//! What is to be put into staged files: gathered into jobs of the disk.
//!
//! Promise: jobs come in the order of asking, each with a bounded number of pieces and bytes, and a bounded number of
//! them is out at a time; so the next one fills while the disk works. The bytes in them are counted until they are
//! answered.

use std::collections::{BTreeMap, VecDeque};

use shoal_proto::segment::Segment;

use crate::disk::{self, BytesAt, Compare, Pieces, StageId};
use crate::limits::{WRITE_BYTES_MAX, WRITE_JOBS_MAX, WRITES_MAX};
use crate::transfer::SourceId;

/// Which part of a staged file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// One segment, by its place in the list.
    Segment(u32),
}

/// From where the bytes are.
#[derive(Debug)]
pub(super) enum From {
    /// They came.
    Bytes(Pieces, SourceId),
    /// They are here.
    Places(Vec<BytesAt>),
    /// Some of them came.
    Chunks { compared: Box<Compare>, came: Vec<(u32, Vec<u8>)>, sender: SourceId },
    /// They are zeros.
    Zeros,
}

/// A piece to be written.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) stage: StageId,
    pub(super) size: u64,
    pub(super) part: Part,
    pub(super) offset: u64,
    pub(super) segment: Segment,
    pub(super) from: From,
}

/// What a piece was that the disk was given.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) stage: StageId,
    pub(super) part: Part,
    pub(super) origin: Origin,
    came: u64,
}

/// From where the bytes of a given piece are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// They came from there.
    Came(SourceId),
    /// They were here.
    Here,
    /// Some came from there, as chunks.
    Chunks(SourceId),
    /// They are zeros.
    Zeros,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Writes {
    waiting: VecDeque<Writing>,
    /// How many wait for each staged file.
    counts: BTreeMap<StageId, usize>,
    jobs_out: usize,
    came: u64,
}

impl Writes {
    /// How many pieces wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes that came and are not written yet.
    pub(super) const fn came(&self) -> u64 {
        self.came
    }

    pub(super) fn push(&mut self, writing: Writing) {
        self.came += writing.came();
        *self.counts.entry(writing.stage).or_default() += 1;
        self.waiting.push_back(writing);
    }

    /// Lets go of what waits for this staged file.
    pub(super) fn forget(&mut self, stage: StageId) {
        if self.counts.remove(&stage).is_none() {
            return;
        }
        let came: u64 = self.waiting.iter().filter(|writing| writing.stage == stage).map(Writing::came).sum();
        self.came = self.came.saturating_sub(came);
        self.waiting.retain(|writing| writing.stage != stage);
    }

    /// The next job, if the disk is to have one now.
    pub(super) fn next_job(&mut self) -> Option<(disk::Job, Vec<Given>)> {
        if self.jobs_out == WRITE_JOBS_MAX || self.waiting.is_empty() {
            return None;
        }
        let (mut writes, mut given, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(writing) = self.waiting.pop_front() {
            bytes += u64::from(writing.segment.length);
            let is_too_much = writes.len() == WRITES_MAX || bytes > WRITE_BYTES_MAX;
            if is_too_much && !writes.is_empty() {
                self.waiting.push_front(writing);
                break;
            }
            self.counted_out(writing.stage);
            given.push(writing.given());
            writes.push(writing.into_write());
        }
        self.jobs_out += 1;
        Some((disk::Job::Write(writes), given))
    }

    fn counted_out(&mut self, stage: StageId) {
        if let Some(count) = self.counts.get_mut(&stage) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&stage);
            }
        }
    }

    /// A job was answered.
    pub(super) fn answered(&mut self, given: &[Given]) {
        self.jobs_out = self.jobs_out.saturating_sub(1);
        self.came = self.came.saturating_sub(given.iter().map(|given| given.came).sum());
    }
}

impl Writing {
    fn came(&self) -> u64 {
        match &self.from {
            From::Bytes(pieces, _) => pieces.iter().map(|piece| piece.len() as u64).sum(),
            From::Chunks { came, .. } => came.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
            From::Places(_) | From::Zeros => 0,
        }
    }

    fn given(&self) -> Given {
        let origin = match &self.from {
            From::Bytes(_, sender) => Origin::Came(*sender),
            From::Chunks { sender, .. } => Origin::Chunks(*sender),
            From::Places(_) => Origin::Here,
            From::Zeros => Origin::Zeros,
        };
        Given { stage: self.stage, part: self.part, origin, came: self.came() }
    }

    fn into_write(self) -> disk::Write {
        let Self { stage, size, offset, segment, from, .. } = self;
        let from = match from {
            From::Bytes(pieces, _) => disk::Source::Bytes(pieces),
            From::Places(places) => disk::Source::Places(places),
            From::Chunks { compared, came, .. } => disk::Source::Chunks { compared, came },
            // Costs no memory before somebody looks at it, and a disk knows the segment by its name.
            From::Zeros => {
                disk::Source::Bytes(vec![vec![0; usize::try_from(segment.length).unwrap_or(usize::MAX)]])
            }
        };
        disk::Write { stage, size, offset, segment, from }
    }
}
