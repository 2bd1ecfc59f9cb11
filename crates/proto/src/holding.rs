//! Who has what: which contents the other end of a connection has said to have, and when both are in sync.
//!
//! Promise: an end counts as having the bytes of a record only if it said so; what it never spoke of is
//! unknown, and taken for lacking where "in sync" is at stake. Saying a thing twice changes nothing. What
//! another end says costs a bounded amount of memory.
//!
//! Once the records are agreed (see `reconcile`), each end makes a *statement*: pages of the records whose
//! bytes it lacks, or none; what it does not list it has. From the agreement on, a record that passes over
//! the connection, in either direction, counts as lacking at the other end until that says `have`, unless it
//! is its author. So statements and new records may cross. Begin at [`Holding`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::body::AtMost;
use crate::digest::Sum;
use crate::hash::{ContentId, RecordHash};
use crate::limits::{
    HOLDING_MESSAGE_BYTES_MAX, HOLDING_PAGE_RECORDS_MAX, LACKING_RECORDS_MAX, SEGMENT_MAP_PART_BYTES_MAX,
    SEGMENT_MAPS_BYTES_MAX, SEGMENT_MAPS_MAX,
};

/// What one end says of what it has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HoldingMessage {
    /// A page of a statement: records that the sender has agreed to, and lacks the bytes of; ascending, each
    /// once.
    Lacking {
        /// At most [`HOLDING_PAGE_RECORDS_MAX`].
        records: Vec<RecordHash>,
        /// In the last page only: the root of the sender's records when it made the statement.
        end: Option<Sum>,
    },
    /// Instead of a statement: the sender lacks more than can be listed. It makes one when it lacks less.
    LackingMany,
    /// The sender has the bytes of these records now; at most [`HOLDING_PAGE_RECORDS_MAX`].
    Have(Vec<RecordHash>),
    /// The sender has these segments of a large content that several are fetching.
    Segments(SegmentPart),
}

/// A part of a [`SegmentMap`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SegmentPart {
    /// The content that the segments are of.
    pub content: ContentId,
    /// The number of the first segment that `bits` is about, a multiple of eight.
    pub first: u32,
    /// A bit for each segment, the lowest bit of the first byte for the first; from one byte to
    /// [`SEGMENT_MAP_PART_BYTES_MAX`].
    pub bits: Vec<u8>,
}

impl HoldingMessage {
    /// The statement of an end that has everything.
    #[must_use]
    pub fn complete(root: Sum) -> Self {
        Self::Lacking { records: Vec::new(), end: Some(root) }
    }

    /// A statement: its pages, in the order in which they are to be sent.
    pub fn statement(lacking: &BTreeSet<RecordHash>, root: Sum) -> impl Iterator<Item = Self> {
        let is_too_much = lacking.len() > LACKING_RECORDS_MAX;
        let pages = if is_too_much { 1 } else { lacking.len().div_ceil(HOLDING_PAGE_RECORDS_MAX).max(1) };
        let mut left = lacking.iter().copied();
        (1..=pages).map(move |page| {
            if is_too_much {
                return Self::LackingMany;
            }
            let records = left.by_ref().take(HOLDING_PAGE_RECORDS_MAX).collect();
            Self::Lacking { records, end: (page == pages).then_some(root) }
        })
    }
}

/// Whether the other end has something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Has {
    /// It said so.
    Yes,
    /// It said that it does not, or has not said that it does of what is new.
    No,
    /// It has said nothing of it.
    Unknown,
}

/// Why what the other end says of what it has makes no sense.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HoldingError {
    /// A statement's pages are one ascending list.
    #[error("the records of a statement are not in order, each once")]
    Unordered,
    /// Only the last page may be empty.
    #[error("an empty page of a statement that is not the last")]
    EmptyPage,
    /// More than [`LACKING_RECORDS_MAX`].
    #[error("a statement of more than {LACKING_RECORDS_MAX} records")]
    TooManyLacking,
    /// Not from one to [`SEGMENT_MAP_PART_BYTES_MAX`] bytes, or not at a whole byte.
    #[error("{bytes} bytes of a map of segments from segment {first}")]
    BadPart {
        /// The first segment.
        first: u32,
        /// Length of the bits.
        bytes: usize,
    },
    /// A content has as many segments as its list.
    #[error("segment {said} of a content that has {segments}")]
    NoSuchSegment {
        /// The highest that it said to have.
        said: u64,
        /// How many there are.
        segments: u32,
    },
}

/// What one other end has said of what it has.
///
/// The caller tells each record that goes over the connection after the first agreement
/// ([`Self::announced`]), in the order of the connection, and each record that is a head no more
/// ([`Self::forget`]).
#[derive(Debug, Default)]
pub struct Holding {
    said: Said,
    /// Of the last statement.
    lacking: BTreeSet<RecordHash>,
    /// Announced since the agreement, by either end.
    announced: BTreeSet<RecordHash>,
    /// More was announced than is remembered.
    is_overflown: bool,
    segments: BTreeMap<ContentId, SegmentMap>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Said {
    /// No statement, or that it lacks more than it can list.
    #[default]
    Nothing,
    /// Some pages of one; they end with this record.
    UpTo(RecordHash),
    /// A whole one.
    All,
}

impl Holding {
    /// Takes in what the other end says. `root` is that of our own records now; `segments` says how many
    /// segments a content has that we are fetching or serving, and `None` of others, which are not kept.
    ///
    /// # Errors
    /// When it makes no sense: the other end is at fault. Nothing of the message is taken in.
    pub fn apply(
        &mut self,
        message: HoldingMessage,
        root: Sum,
        segments: impl FnOnce(&ContentId) -> Option<u32>,
    ) -> Result<(), HoldingError> {
        match message {
            HoldingMessage::Lacking { records, end } => return self.page(&records, end, root),
            HoldingMessage::LackingMany => {
                self.lacking.clear();
                self.said = Said::Nothing;
            }
            HoldingMessage::Have(records) => records.iter().for_each(|record| self.forget(record)),
            HoldingMessage::Segments(part) => {
                part.check()?;
                if let Some(count) = segments(&part.content) {
                    return self.segments_had(&part, count);
                }
            }
        }
        Ok(())
    }

    /// Tells that a record went over the connection, in either direction; to be called once for each record,
    /// after the first agreement. `is_had` if the other end announced it as its author, or it has no bytes.
    pub fn announced(&mut self, record: RecordHash, is_had: bool) {
        if is_had {
            self.forget(&record);
        } else if self.announced.len() < LACKING_RECORDS_MAX {
            self.announced.insert(record);
        } else {
            self.is_overflown |= !self.announced.contains(&record);
        }
    }

    /// Tells that the other end need not have a record any more: a newer one has seen it.
    pub fn forget(&mut self, record: &RecordHash) {
        self.lacking.remove(record);
        self.announced.remove(record);
    }

    /// Whether it has the bytes of a record that is agreed, or was announced.
    #[must_use]
    pub fn has(&self, record: &RecordHash) -> Has {
        if self.lacking.contains(record) || self.announced.contains(record) {
            return Has::No;
        }
        if self.said == Said::All && !self.is_overflown { Has::Yes } else { Has::Unknown }
    }

    /// Whether it has a segment of a content that several are fetching. If unknown, [`Self::has`] may know of
    /// the whole.
    #[must_use]
    pub fn has_segment(&self, content: &ContentId, segment: u32) -> Has {
        match self.segments.get(content) {
            Some(map) if map.has(segment) => Has::Yes,
            Some(_) => Has::No,
            None => Has::Unknown,
        }
    }

    /// Drops the map of a content that nobody here fetches any more.
    pub fn forget_segments(&mut self, content: &ContentId) {
        self.segments.remove(content);
    }

    /// How many records it lacks; `None` if it has not said.
    #[must_use]
    pub fn lacks(&self) -> Option<usize> {
        let count = self.lacking.union(&self.announced).count();
        (self.said == Said::All && !self.is_overflown).then_some(count)
    }

    fn page(&mut self, records: &[RecordHash], end: Option<Sum>, root: Sum) -> Result<(), HoldingError> {
        let (last, had) = match self.said {
            Said::UpTo(last) => (Some(last), self.lacking.len()),
            Said::Nothing | Said::All => (None, 0),
        };
        let goes_on = last.is_none() || records.is_empty() || last.as_ref() < records.first();
        if !goes_on || !records.is_sorted_by(|one, next| one < next) {
            return Err(HoldingError::Unordered);
        }
        if had + records.len() > LACKING_RECORDS_MAX {
            return Err(HoldingError::TooManyLacking);
        }
        let said = match (end, records.last()) {
            (Some(_), _) => Said::All,
            (None, Some(last)) => Said::UpTo(*last),
            (None, None) => return Err(HoldingError::EmptyPage),
        };
        if last.is_none() {
            self.lacking.clear();
        }
        self.lacking.extend(records);
        if end == Some(root) {
            // The other end knew all that we know when it said this, so nothing that was announced is open.
            self.announced.clear();
            self.is_overflown = false;
        }
        self.said = said;
        Ok(())
    }

    fn segments_had(&mut self, part: &SegmentPart, count: u32) -> Result<(), HoldingError> {
        if let Some(map) = self.segments.get_mut(&part.content) {
            return map.add(part);
        }
        part.check_within(count)?;
        let used: usize = self.segments.values().map(|map| map.bits.len()).sum();
        // Beyond the bounds it stays unknown, as if nothing had been said: maps only make fetching faster.
        if self.segments.len() < SEGMENT_MAPS_MAX && used + bytes_for(count) <= SEGMENT_MAPS_BYTES_MAX {
            let mut map = SegmentMap::new(count);
            map.add(part)?;
            self.segments.insert(part.content, map);
        }
        Ok(())
    }
}

/// Which segments of one content somebody has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SegmentMap {
    segments: u32,
    bits: Vec<u8>, // those beyond the last segment are not set
}

impl SegmentMap {
    /// The map of a content of so many segments, none of them had.
    #[must_use]
    pub fn new(segments: u32) -> Self {
        Self { segments, bits: vec![0; bytes_for(segments)] }
    }

    /// Whether it has this segment; false for one that the content does not have.
    #[must_use]
    pub fn has(&self, segment: u32) -> bool {
        self.bits.get(segment as usize / 8).is_some_and(|byte| byte & 1 << (segment % 8) != 0)
    }

    /// Marks a segment as had.
    ///
    /// # Errors
    /// When the content has no such segment.
    pub fn insert(&mut self, segment: u32) -> Result<(), HoldingError> {
        if segment >= self.segments {
            return Err(HoldingError::NoSuchSegment { said: segment.into(), segments: self.segments });
        }
        self.bits[segment as usize / 8] |= 1 << (segment % 8);
        Ok(())
    }

    /// Adds what a part says; what was had stays.
    ///
    /// # Errors
    /// When it is no part of this map.
    pub fn add(&mut self, part: &SegmentPart) -> Result<(), HoldingError> {
        part.check()?;
        part.check_within(self.segments)?;
        let ours = self.bits.iter_mut().skip(part.first as usize / 8);
        ours.zip(&part.bits).for_each(|(ours, &theirs)| *ours |= theirs);
        Ok(())
    }

    /// The parts that tell what is had here and was not yet in `told`, a map of the same content.
    pub fn parts(&self, content: ContentId, told: &Self) -> impl Iterator<Item = SegmentPart> {
        let is_new = |(ours, told): (&u8, &u8)| ours & !told != 0;
        let size = SEGMENT_MAP_PART_BYTES_MAX;
        self.bits.chunks(size).zip(told.bits.chunks(size)).zip(0_u32..).filter_map(
            move |((ours, told), at)| {
                let mut differing = ours.iter().zip(told);
                let first = differing.clone().position(is_new)?;
                let last = differing.rposition(is_new)?;
                let begins = at * u32::try_from(size).ok()? + u32::try_from(first).ok()?;
                Some(SegmentPart { content, first: begins * 8, bits: ours[first..=last].into() })
            },
        )
    }
}

impl SegmentPart {
    fn check(&self) -> Result<(), HoldingError> {
        let bytes = self.bits.len();
        if !self.first.is_multiple_of(8) || !(1..=SEGMENT_MAP_PART_BYTES_MAX).contains(&bytes) {
            return Err(HoldingError::BadPart { first: self.first, bytes });
        }
        Ok(())
    }

    fn check_within(&self, segments: u32) -> Result<(), HoldingError> {
        let Some((last, byte)) = self.bits.iter().enumerate().rfind(|(_, byte)| **byte != 0) else {
            return Ok(());
        };
        let said = u64::from(self.first) + last as u64 * 8 + u64::from(byte.ilog2());
        if said >= u64::from(segments) {
            return Err(HoldingError::NoSuchSegment { said, segments });
        }
        Ok(())
    }
}

/// Bytes of a map of so many segments.
const fn bytes_for(segments: u32) -> usize {
    segments.div_ceil(8) as usize
}

// ── in sync ──

/// Why this device and another one are not in sync.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OutOfSync {
    /// The records are not proved to be the same on both ends.
    #[error("changes are still being compared")]
    Comparing,
    /// This device lacks the bytes of some.
    #[error("{0} to be fetched here")]
    LackingHere(usize),
    /// The other end has not said what it lacks.
    #[error("the other device has not said what it lacks")]
    NotTold,
    /// The other end lacks the bytes of some.
    #[error("{0} to be fetched there")]
    LackingThere(usize),
}

/// All that keeps two ends from being in sync; nothing if they are.
///
/// `is_agreed` is [`Reconcile::is_agreed`](crate::reconcile::Reconcile::is_agreed) of now, `lacking_here`
/// counts the heads that this device wants and has not got.
pub fn out_of_sync(is_agreed: bool, lacking_here: usize, there: &Holding) -> impl Iterator<Item = OutOfSync> {
    let comparing = (!is_agreed).then_some(OutOfSync::Comparing);
    let here = (lacking_here > 0).then_some(OutOfSync::LackingHere(lacking_here));
    let there = match there.lacks() {
        None => Some(OutOfSync::NotTold),
        Some(0) => None,
        Some(count) => Some(OutOfSync::LackingThere(count)),
    };
    [comparing, here, there].into_iter().flatten()
}

// ── on the wire ──

/// Why bytes are no message about who has what.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HoldingDecodeError {
    /// Longer than [`HOLDING_MESSAGE_BYTES_MAX`].
    #[error("a message about who has what of {0} bytes; at most {HOLDING_MESSAGE_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// Cut off, or of an unknown sort.
    #[error("a message about who has what that cannot be read: {0}")]
    Malformed(postcard::Error),
    /// Bytes that belong to nothing.
    #[error("a message about who has what with {0} bytes after its end")]
    Trailing(usize),
    /// More than [`HOLDING_PAGE_RECORDS_MAX`].
    #[error("{0} records in one message; at most {HOLDING_PAGE_RECORDS_MAX} are allowed")]
    TooManyRecords(usize),
    /// A part of a map that is none.
    #[error(transparent)]
    Part(HoldingError),
}

#[derive(Serialize, Deserialize)]
enum Wire {
    Lacking { records: Hashes, end: Option<[u8; 32]> },
    LackingMany,
    Have(Hashes),
    Segments { content: [u8; 32], first: u32, bits: AtMost<u8, SEGMENT_MAP_PART_BYTES_MAX> },
}

type Hashes = AtMost<[u8; 32], HOLDING_PAGE_RECORDS_MAX>;

impl HoldingMessage {
    /// Its body on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let bytes = |records: &[RecordHash]| records.iter().map(|record| *record.as_bytes()).collect();
        crate::body::encode(&match self {
            Self::Lacking { records, end } => {
                Wire::Lacking { records: bytes(records), end: end.map(Sum::to_bytes) }
            }
            Self::LackingMany => Wire::LackingMany,
            Self::Have(records) => Wire::Have(bytes(records)),
            Self::Segments(part) => Wire::Segments {
                content: *part.content.as_bytes(),
                first: part.first,
                bits: part.bits.iter().copied().collect(),
            },
        })
    }

    /// The message with this body.
    ///
    /// # Errors
    /// When it is none, or is beyond a bound.
    pub fn decode(body: &[u8]) -> Result<Self, HoldingDecodeError> {
        if body.len() > HOLDING_MESSAGE_BYTES_MAX {
            return Err(HoldingDecodeError::TooLong(body.len()));
        }
        let (wire, rest) = postcard::take_from_bytes(body).map_err(HoldingDecodeError::Malformed)?;
        if !rest.is_empty() {
            return Err(HoldingDecodeError::Trailing(rest.len()));
        }
        Ok(match wire {
            Wire::Lacking { records, end } => {
                Self::Lacking { records: hashes(records)?, end: end.as_ref().map(Sum::from_bytes) }
            }
            Wire::LackingMany => Self::LackingMany,
            Wire::Have(records) => Self::Have(hashes(records)?),
            Wire::Segments { content, first, bits } => {
                let too_many = |bytes| HoldingDecodeError::Part(HoldingError::BadPart { first, bytes });
                let bits = bits.all().map_err(too_many)?;
                let part = SegmentPart { content: ContentId::from_bytes(content), first, bits };
                part.check().map_err(HoldingDecodeError::Part)?;
                Self::Segments(part)
            }
        })
    }
}

fn hashes(records: Hashes) -> Result<Vec<RecordHash>, HoldingDecodeError> {
    let records = records.all().map_err(HoldingDecodeError::TooManyRecords)?;
    Ok(records.into_iter().map(RecordHash::from_bytes).collect())
}

#[cfg(test)]
mod tests;
