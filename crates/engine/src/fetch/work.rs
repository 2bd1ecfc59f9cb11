//! One wanted content, and how far it has come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shoal_proto::hash::{ContentId, RecordHash, SegmentId};
use shoal_proto::holding::SegmentMap;
use shoal_proto::limits::{SEGMENT_BYTES_MIN, SEGMENTS_PER_PAGE};
use shoal_proto::path::RelPath;
use shoal_proto::segment::{PageIndex, Segment, SegmentList};

use super::near::{Near, Placed};
use crate::disk::{BytesAt, Seen};
use crate::limits::USELESS_DELTAS_MAX;

/// A content that is wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Goal {
    /// Which.
    pub content: ContentId,
    /// Its size in bytes, as the record says; at least one.
    pub size: u64,
    /// What is lower comes first; of equal ones, what was wanted first.
    pub rank: u32,
    /// Heads that name it: by these it is known who has it.
    pub records: BTreeSet<RecordHash>,
    /// The file here that it is to replace: most of its bytes may be in that.
    pub older: Option<Older>,
    /// Where it is on this disk, if that was asked already.
    pub places: Option<Vec<BytesAt>>,
}

/// A file here that is like a wanted one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Older {
    /// What it has in it.
    pub content: ContentId,
    /// What was seen of it.
    pub seen: Seen,
    /// Where it is.
    pub path: RelPath,
}

/// How far a wanted content has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// It waits its turn, or is looked for on this disk.
    Looking,
    /// It is being copied or fetched.
    Fetching,
    /// Nobody who is connected has it.
    NoSource,
    /// The disk is full; it is tried again.
    NoSpace,
    /// The system refuses, and the text says why. It is not tried again.
    Failed(String),
    /// It stands in its staged file.
    Done,
}

/// The work on a goal.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) goal: Goal,
    /// Before which others it is fetched: no two have one.
    pub(super) rank: u64,
    pub(super) state: State,
    /// Whether the disk may have a staged file of it.
    pub(super) is_begun: bool,
    /// Whether its bytes are somewhere here as a whole, once that was looked for.
    pub(super) is_here: Option<bool>,
    /// Whether it was put back because nobody has it.
    pub(super) is_parked: bool,
    /// How often the disk was full.
    pub(super) pauses: u32,
    /// What was asked of index and disk before the page was put away is of no use after it.
    pub(super) epoch: u32,
    /// The pages of its list, if it has pages and they are known.
    pub(super) pages: Option<PageIndex>,
    /// Which segments are in the staged file, once it is known how many there are.
    pub(super) map: Option<Map>,
    /// Segments that were compared, and had next to nothing, or something, in common with the older version.
    pub(super) useless_deltas: u32,
    pub(super) useful_deltas: u32,
}

#[derive(Debug)]
pub(super) enum State {
    /// In a queue, or to come back to one at a certain time.
    Queued,
    /// The same is asked for already: it waits for what comes of that.
    Following,
    /// Its places, or its list, are sought: in the index, or with others.
    Looking,
    /// In one segment: being copied, fetched or written.
    Small,
    /// In several: this page of them is being copied, fetched or written.
    Page(Box<Page>),
    Paused,
    Failed(String),
    Done,
}

/// Which segments are in the staged file.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) has: SegmentMap,
    pub(super) told: SegmentMap,
    /// How many segments there are, and how many of them are missing.
    pub(super) count: u32,
    pub(super) left: u32,
}

/// The part of a list that is worked on.
#[derive(Debug)]
pub(super) struct Page {
    /// The number of its first segment.
    pub(super) first: u32,
    pub(super) segments: Vec<Placed>,
    /// How many of them are missing.
    pub(super) left: usize,
    /// Up to here places were looked for.
    pub(super) next: usize,
    pub(super) is_looking: bool,
    /// What is near each; `None`: the older version's list is awaited.
    pub(super) near: Option<Near>,
    /// Where each segment stands first.
    pub(super) first_of: BTreeMap<SegmentId, u32>,
    /// The others like one that is not here yet.
    pub(super) twins: BTreeMap<u32, Vec<u32>>,
    /// Which are to be compared, one after the other.
    pub(super) to_compare: VecDeque<u32>,
    /// Of which the chunks are awaited or compared.
    pub(super) comparing: BTreeSet<u32>,
    /// Which are not to be compared.
    pub(super) whole_only: BTreeSet<u32>,
    /// Nobody told this list: the content is here, without a list, so it is of one segment.
    pub(super) is_guess: bool,
}

impl Work {
    /// Whether it is small enough to be of one segment for certain.
    pub(super) fn is_small(&self) -> bool {
        self.goal.size <= u64::from(SEGMENT_BYTES_MIN)
    }

    /// The segment that it is, if it is of one.
    pub(super) fn only_segment(&self) -> Segment {
        let id = SegmentId::from_bytes(*self.goal.content.as_bytes());
        Segment { id, length: u32::try_from(self.goal.size).unwrap_or(u32::MAX) }
    }

    pub(super) fn page(&self) -> Option<&Page> {
        match &self.state {
            State::Page(page) => Some(page),
            _ => None,
        }
    }

    pub(super) fn page_mut(&mut self) -> Option<&mut Page> {
        match &mut self.state {
            State::Page(page) => Some(page),
            _ => None,
        }
    }

    pub(super) fn has(&self, segment: u32) -> bool {
        self.map.as_ref().is_some_and(|map| map.has.has(segment))
    }

    /// Notes that a segment is in the staged file. Whether that is news.
    pub(super) fn add(&mut self, segment: u32) -> bool {
        let Some(map) = &mut self.map else { return false };
        if map.has.has(segment) || map.has.insert(segment).is_err() {
            return false;
        }
        map.left = map.left.saturating_sub(1);
        if let Some(page) = self.page_mut()
            && page.segment(segment).is_some()
        {
            page.left = page.left.saturating_sub(1);
        }
        true
    }

    /// The first page of which something is missing.
    pub(super) fn next_page(&self) -> Option<u32> {
        let map = self.map.as_ref()?;
        let count = self.pages.as_ref().map_or(0, PageIndex::segments);
        let missing = (0..count).find(|segment| !map.has.has(*segment))?;
        Some(missing / u32::try_from(SEGMENTS_PER_PAGE).ok()?)
    }

    /// How many segments may be compared with the older version at once: the more of them that was of use, the more;
    /// none if it was of too little.
    pub(super) fn comparable(&self) -> usize {
        let most = self.useful_deltas.saturating_mul(2).saturating_add(USELESS_DELTAS_MAX);
        most.saturating_sub(self.useless_deltas) as usize
    }
}

impl Map {
    pub(super) fn new(segments: u32) -> Self {
        Self {
            has: SegmentMap::new(segments),
            told: SegmentMap::new(segments),
            count: segments,
            left: segments,
        }
    }
}

impl Page {
    /// A page that begins with this segment, at this byte of the file.
    pub(super) fn new(first: u32, begins: u64, list: &SegmentList) -> Self {
        let segments = placed(begins, list);
        let mut first_of = BTreeMap::new();
        for ((_, segment), at) in segments.iter().zip(first..) {
            first_of.entry(segment.id).or_insert(at);
        }
        Self {
            first,
            left: segments.len(),
            segments,
            next: 0,
            is_looking: false,
            near: None,
            first_of,
            twins: BTreeMap::new(),
            to_compare: VecDeque::new(),
            comparing: BTreeSet::new(),
            whole_only: BTreeSet::new(),
            is_guess: false,
        }
    }

    /// A segment, by its number in the whole list.
    pub(super) fn segment(&self, at: u32) -> Option<Placed> {
        self.segments.get(at.checked_sub(self.first)? as usize).copied()
    }

    /// The numbers of its segments.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        (self.first..).take(self.segments.len())
    }

    /// What is near a segment.
    pub(super) fn near(&self, at: u32) -> &[Placed] {
        match (&self.near, at.checked_sub(self.first)) {
            (Some(near), Some(at)) => near.to(at as usize),
            _ => &[],
        }
    }
}

/// The segments of a list, or a page of one, with where they begin.
pub(super) fn placed(begins: u64, list: &SegmentList) -> Vec<Placed> {
    let mut offset = begins;
    let place = |segment: &Segment| {
        let begins = offset;
        offset += u64::from(segment.length);
        (begins, *segment)
    };
    list.segments().iter().map(place).collect()
}
