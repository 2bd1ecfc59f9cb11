//! What content consists of: the list of its segments, and how a list is checked before it is used.
//!
//! Promise: a list that came out of here is the very one that its content id names, its lengths come to the
//! file's size, and no more than one page of it is in memory.
//!
//! Content of one segment is named by that segment's id, and empty content by the hash of no bytes. Other
//! content is named by the hash of its list, each segment 36 bytes: its id, then its length. A list of more
//! than [`SEGMENTS_PER_PAGE`] segments is cut into pages of that many, of which the last may be shorter; the
//! content id is then the hash of the [`PageIndex`]: how many segments there are, and for each page its hash
//! and the place in the file where it ends. So any page can be fetched, checked and used without the others.
//! All numbers are big-endian.
//!
//! Begin at [`ListHasher`], which makes a content id; [`SegmentList::decode`] and [`PageIndex::decode`] check
//! what somebody else sent.

use core::ops::Range;

use crate::hash::{ContentId, Domain, SegmentId};
use crate::limits::{
    FILE_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_PAGES_MAX, SEGMENTS_PER_PAGE,
};

/// A segment of content.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Segment {
    /// BLAKE3 of its bytes.
    pub id: SegmentId,
    /// Its length in bytes; from 1 to [`SEGMENT_BYTES_MAX`] in any list.
    pub length: u32,
}

/// Why there is no such list of segments. Says what is wrong, not of which file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ListError {
    /// More than [`FILE_BYTES_MAX`].
    #[error("content of more than {FILE_BYTES_MAX} bytes")]
    FileTooLarge,
    /// A length of 0.
    #[error("segment {at} of a list has no bytes")]
    NoBytes {
        /// Its number in the list or page, from 0.
        at: usize,
    },
    /// More than [`SEGMENT_BYTES_MAX`].
    #[error("segment {at} of a list has {length} bytes; at most {SEGMENT_BYTES_MAX} are allowed")]
    TooLong {
        /// Its number in the list or page, from 0.
        at: usize,
        /// Its length in bytes.
        length: u32,
    },
    /// Less than [`SEGMENT_BYTES_MIN`], though another segment follows.
    #[error(
        "segment {at} of a list has {length} bytes; only the last may have less than {SEGMENT_BYTES_MIN}"
    )]
    TooShort {
        /// Its number in the list or page, from 0.
        at: usize,
        /// Its length in bytes.
        length: u32,
    },
    /// Not a whole number of segments.
    #[error("a list of segments of {0} bytes, which is no multiple of {SEGMENT_ENCODED_BYTES}")]
    Ragged(usize),
    /// More than [`SEGMENTS_PER_PAGE`] segments.
    #[error("a list of {0} segments; more than {SEGMENTS_PER_PAGE} come in pages")]
    TooMany(usize),
    /// The lengths do not come to the size.
    #[error("segments of {listed} bytes together for content of {size}")]
    Size {
        /// What the lengths come to.
        listed: u64,
        /// What they should come to.
        size: u64,
    },
    /// Another list than the one asked for.
    #[error("a list of segments that is not the one which the content id names")]
    Unnamed,
    /// Another page than the one asked for.
    #[error("page {0} of a list of segments is not the one which its index names")]
    PageUnnamed(usize),
    /// A page that is not in the index.
    #[error("page {page} of a list of {pages} pages")]
    NoPage {
        /// The number asked for, from 0.
        page: usize,
        /// How many there are.
        pages: usize,
    },
    /// Not a count and a whole number of pages.
    #[error("an index of pages of {0} bytes, which is no whole number of pages")]
    RaggedIndex(usize),
    /// Not as many pages as the segments need, or so few segments that they need no pages, or too many.
    #[error("an index of {pages} pages for {segments} segments")]
    PageCount {
        /// How many pages the index lists.
        pages: usize,
        /// How many segments it says there are.
        segments: u32,
    },
    /// Not as many segments as the index leaves to this page.
    #[error("page {page} of a list of segments has {listed} of them; it is to have {segments}")]
    PageSegments {
        /// Its number, from 0.
        page: usize,
        /// How many it has.
        listed: usize,
        /// How many the index leaves to it.
        segments: usize,
    },
    /// A page of more or less bytes than its segments can have.
    #[error("page {page} of a list ends at byte {end} of the file, where its segments cannot end")]
    PageEnd {
        /// Its number, from 0.
        page: usize,
        /// Where the index says that it ends.
        end: u64,
    },
}

impl Segment {
    /// The segment of [`SEGMENT_BYTES_MAX`] zeros. A long run of zeros is cut into these, so a hole in a file
    /// needs to be neither read nor hashed (see
    /// [`Cutter::next_cut_in_zeros`](crate::cut::Cutter::next_cut_in_zeros)).
    pub const ZEROS: Self = Self {
        id: SegmentId::from_bytes([
            0x04, 0xe5, 0x2c, 0xd2, 0xda, 0x6a, 0x0e, 0x1f, 0x33, 0x8b, 0x00, 0x78, 0x36, 0x91, 0x30, 0xd9,
            0x65, 0x85, 0xc1, 0xde, 0x65, 0x05, 0x7d, 0xa5, 0xdd, 0x12, 0x83, 0xb1, 0x2f, 0xb8, 0x53, 0xe1,
        ]),
        length: SEGMENT_BYTES_MAX,
    };

    /// Whether these are its bytes.
    #[must_use]
    pub fn is(&self, bytes: &[u8]) -> bool {
        self.is_made_of(&[bytes])
    }

    /// Whether these are its bytes, one piece after the other.
    #[must_use]
    pub fn is_made_of(&self, pieces: &[impl AsRef<[u8]>]) -> bool {
        let length: usize = pieces.iter().map(|piece| piece.as_ref().len()).sum();
        if u32::try_from(length) != Ok(self.length) {
            return false;
        }
        let hash = match pieces {
            [whole] => blake3::hash(whole.as_ref()),
            _ => {
                let mut hasher = blake3::Hasher::new();
                for piece in pieces {
                    hasher.update(piece.as_ref());
                }
                hasher.finalize()
            }
        };
        hash.as_bytes() == self.id.as_bytes()
    }

    fn encode(&self) -> [u8; SEGMENT_ENCODED_BYTES] {
        let mut encoded = [0; SEGMENT_ENCODED_BYTES];
        let (id, length) = encoded.split_at_mut(32);
        id.copy_from_slice(self.id.as_bytes());
        length.copy_from_slice(&self.length.to_be_bytes());
        encoded
    }
}

/// Segments in order: a whole list, or a page of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SegmentList {
    segments: Box<[Segment]>,
    bytes: u64,
}

impl SegmentList {
    /// These segments, as the list of a file, or as the last page of its list.
    ///
    /// # Errors
    /// When they are more than fit a page, or one has a length that it cannot have.
    pub fn new(segments: Vec<Segment>) -> Result<Self, ListError> {
        Self::checked(segments, Place::Last)
    }

    /// The list of this content, from the bytes of [`Self::encode`]. It has no pages; no bytes are the list
    /// of an empty file.
    ///
    /// # Errors
    /// When it is not the list that the content id names, or not one that cut 1 could make of a file of this
    /// size.
    pub fn decode(encoded: &[u8], content: ContentId, size: u64) -> Result<Self, ListError> {
        let list = Self::parse(encoded, Place::Last)?;
        if list.bytes != size {
            return Err(ListError::Size { listed: list.bytes, size });
        }
        let named = match *list.segments {
            [] => ContentId::of_nothing(),
            [only] => only.id.into(),
            _ => list_id(encoded),
        };
        if named != content {
            return Err(ListError::Unnamed);
        }
        Ok(list)
    }

    /// Its bytes on the wire and in the index: 36 for each segment.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.segments.iter().flat_map(Segment::encode).collect()
    }

    /// The segments, in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// How many bytes all segments have together.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn parse(encoded: &[u8], place: Place) -> Result<Self, ListError> {
        let (entries, rest) = encoded.as_chunks::<SEGMENT_ENCODED_BYTES>();
        if !rest.is_empty() {
            return Err(ListError::Ragged(encoded.len()));
        }
        // Before anything is allocated for them.
        if entries.len() > SEGMENTS_PER_PAGE {
            return Err(ListError::TooMany(entries.len()));
        }
        Self::checked(entries.iter().map(decode_segment).collect(), place)
    }

    fn checked(segments: Vec<Segment>, place: Place) -> Result<Self, ListError> {
        if segments.len() > SEGMENTS_PER_PAGE {
            return Err(ListError::TooMany(segments.len()));
        }
        for (at, segment) in segments.iter().enumerate() {
            check_length(at, segment.length)?;
            if place == Place::Inner || at + 1 < segments.len() {
                check_followed(at, segment.length)?;
            }
        }
        let bytes = segments.iter().map(|segment| u64::from(segment.length)).sum();
        Ok(Self { segments: segments.into(), bytes })
    }
}

/// Whether more segments of the file follow.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    Inner,
    Last,
}

/// The hash of each page of a long list, and where in the file it ends.
///
/// At most [`SEGMENT_PAGES_MAX`] pages of 40 bytes each: 10 KiB for a file of 1 TiB.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PageIndex {
    segments: u32,
    pages: Box<[Page]>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Page {
    hash: [u8; 32],
    /// The place in the file after its last segment.
    end: u64,
}

impl PageIndex {
    /// The index of this content, from the bytes of [`Self::encode`].
    ///
    /// # Errors
    /// When it is not the index that the content id names, or not one that a file of this size could have.
    pub fn decode(encoded: &[u8], content: ContentId, size: u64) -> Result<Self, ListError> {
        let Some((count, entries)) = encoded.split_first_chunk::<4>() else {
            return Err(ListError::RaggedIndex(encoded.len()));
        };
        let segments = u32::from_be_bytes(*count);
        let (entries, rest) = entries.as_chunks::<PAGE_ENCODED_BYTES>();
        if !rest.is_empty() {
            return Err(ListError::RaggedIndex(encoded.len()));
        }
        let pages = entries.len();
        // Before anything is allocated for them.
        if !(2..=SEGMENT_PAGES_MAX).contains(&pages) || pages_of(segments) != pages {
            return Err(ListError::PageCount { pages, segments });
        }
        let index = Self { segments, pages: entries.iter().map(decode_page).collect() };
        index.check_ends()?;
        if index.bytes() != size {
            return Err(ListError::Size { listed: index.bytes(), size });
        }
        if index.content_id() != content {
            return Err(ListError::Unnamed);
        }
        Ok(index)
    }

    /// Its bytes on the wire and in the index: the number of segments, then for each page its hash and its
    /// end.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoded = Vec::with_capacity(4 + PAGE_ENCODED_BYTES * self.pages.len());
        encoded.extend_from_slice(&self.segments.to_be_bytes());
        for page in &self.pages {
            encoded.extend_from_slice(&page.hash);
            encoded.extend_from_slice(&page.end.to_be_bytes());
        }
        encoded
    }

    /// A page of the list, from the bytes of [`SegmentList::encode`].
    ///
    /// # Errors
    /// When it is not the page that this index names, or not one that cut 1 could make.
    pub fn page(&self, number: usize, encoded: &[u8]) -> Result<SegmentList, ListError> {
        let pages = self.pages.len();
        let (Some(page), Some(range)) = (self.pages.get(number), self.range(number)) else {
            return Err(ListError::NoPage { page: number, pages });
        };
        let place = if number + 1 < pages { Place::Inner } else { Place::Last };
        let list = SegmentList::parse(encoded, place)?;
        let (listed, segments) = (list.segments.len(), self.segments_of(number));
        if listed != segments {
            return Err(ListError::PageSegments { page: number, listed, segments });
        }
        // Whoever made the content id may have hashed an index and pages that do not fit each other.
        let (listed, size) = (list.bytes, range.end - range.start);
        if listed != size {
            return Err(ListError::Size { listed, size });
        }
        if Domain::SEGMENT_PAGE.hash_one(encoded) != page.hash {
            return Err(ListError::PageUnnamed(number));
        }
        Ok(list)
    }

    /// How many pages there are; at least 2.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// How many segments all pages have together.
    #[must_use]
    pub const fn segments(&self) -> u32 {
        self.segments
    }

    /// How many bytes all segments have together: the size of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pages.last().map_or(0, |page| page.end)
    }

    /// The bytes of the file that the segments of a page are; `None` if there is no such page.
    #[must_use]
    pub fn range(&self, number: usize) -> Option<Range<u64>> {
        let end = self.pages.get(number)?.end;
        Some(number.checked_sub(1).map_or(0, |before| self.pages[before].end)..end)
    }

    /// The page with the segment that has this byte of the file; `None` at its end and beyond.
    #[must_use]
    pub fn page_at(&self, byte: u64) -> Option<usize> {
        let page = self.pages.partition_point(|page| page.end <= byte);
        (page < self.pages.len()).then_some(page)
    }

    fn content_id(&self) -> ContentId {
        ContentId::from_bytes(Domain::SEGMENT_PAGES.hash_one(&self.encode()))
    }

    /// Each page has from as few to as many bytes as its segments can have.
    fn check_ends(&self) -> Result<(), ListError> {
        let mut start = 0_u64;
        for (at, page) in self.pages.iter().enumerate() {
            let segments = self.segments_of(at) as u64;
            let most = segments * u64::from(SEGMENT_BYTES_MAX);
            let least = if at + 1 < self.pages.len() {
                segments * u64::from(SEGMENT_BYTES_MIN)
            } else {
                (segments - 1) * u64::from(SEGMENT_BYTES_MIN) + 1
            };
            match page.end.checked_sub(start) {
                Some(bytes) if (least..=most).contains(&bytes) => start = page.end,
                _ => return Err(ListError::PageEnd { page: at, end: page.end }),
            }
        }
        if start > FILE_BYTES_MAX {
            return Err(ListError::FileTooLarge);
        }
        Ok(())
    }

    /// How many segments a page has: all that fit, but the last one the others; at least 1.
    fn segments_of(&self, number: usize) -> usize {
        (self.segments as usize - number * SEGMENTS_PER_PAGE).min(SEGMENTS_PER_PAGE)
    }
}

/// Makes the content id of a file whose segments come one after the other.
///
/// Holds a page of at most 144 KiB and 40 bytes for each page before it.
#[derive(Clone, Debug, Default)]
pub struct ListHasher {
    /// The segments that are not in a page yet, encoded; at most [`SEGMENTS_PER_PAGE`].
    open: Vec<u8>,
    pages: Vec<Page>,
    /// The last segment, if there is one.
    last: Option<Segment>,
    segments: u32,
    bytes: u64,
}

/// What a [`ListHasher`] found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// The name of the content.
    pub content: ContentId,
    /// Its size in bytes.
    pub size: u64,
    /// How many segments it has.
    pub segments: u32,
    /// The pages of its list, if it has more than [`SEGMENTS_PER_PAGE`] segments.
    pub index: Option<PageIndex>,
}

impl ListHasher {
    /// Before the first segment.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next segment of the file.
    ///
    /// # Errors
    /// When the segment, or the one before it now that another follows, has a length that it cannot have, or
    /// the file becomes too large. The segment is then not taken.
    pub fn push(&mut self, segment: Segment) -> Result<(), ListError> {
        let at = self.segments as usize;
        check_length(at, segment.length)?;
        if let Some(last) = self.last {
            check_followed(at - 1, last.length)?;
        }
        // With no segment but the last below the least size, this bounds the number of pages too.
        let bytes = self.bytes + u64::from(segment.length);
        if bytes > FILE_BYTES_MAX {
            return Err(ListError::FileTooLarge);
        }
        if self.open.len() == SEGMENTS_PER_PAGE * SEGMENT_ENCODED_BYTES {
            self.close_page();
        }
        self.open.extend_from_slice(&segment.encode());
        self.segments += 1;
        self.bytes = bytes;
        self.last = Some(segment);
        Ok(())
    }

    /// The content of all segments that were taken.
    #[must_use]
    pub fn finish(mut self) -> Listed {
        let (size, segments) = (self.bytes, self.segments);
        if self.pages.is_empty() {
            let content = match self.last {
                None => ContentId::of_nothing(),
                Some(only) if segments == 1 => only.id.into(),
                Some(_) => list_id(&self.open),
            };
            return Listed { content, size, segments, index: None };
        }
        self.close_page();
        let index = PageIndex { segments, pages: self.pages.into() };
        Listed { content: index.content_id(), size, segments, index: Some(index) }
    }

    fn close_page(&mut self) {
        self.pages.push(Page { hash: Domain::SEGMENT_PAGE.hash_one(&self.open), end: self.bytes });
        self.open.clear();
    }
}

fn check_length(at: usize, length: u32) -> Result<(), ListError> {
    match length {
        0 => Err(ListError::NoBytes { at }),
        1..=SEGMENT_BYTES_MAX => Ok(()),
        _ => Err(ListError::TooLong { at, length }),
    }
}

fn check_followed(at: usize, length: u32) -> Result<(), ListError> {
    if length < SEGMENT_BYTES_MIN { Err(ListError::TooShort { at, length }) } else { Ok(()) }
}

/// The name of content whose list, of at least two segments, is encoded so and has no pages.
fn list_id(encoded: &[u8]) -> ContentId {
    ContentId::from_bytes(Domain::SEGMENT_LIST.hash_one(encoded))
}

fn decode_segment(encoded: &[u8; SEGMENT_ENCODED_BYTES]) -> Segment {
    let [id @ .., a, b, c, d] = *encoded;
    Segment { id: SegmentId::from_bytes(id), length: u32::from_be_bytes([a, b, c, d]) }
}

fn decode_page(encoded: &[u8; PAGE_ENCODED_BYTES]) -> Page {
    let [hash @ .., a, b, c, d, e, f, g, h] = *encoded;
    Page { hash, end: u64::from_be_bytes([a, b, c, d, e, f, g, h]) }
}

const fn pages_of(segments: u32) -> usize {
    (segments as usize).div_ceil(SEGMENTS_PER_PAGE)
}

/// A segment in a list: its id and its length.
const SEGMENT_ENCODED_BYTES: usize = 32 + 4;

/// A page in an index: its hash and its end.
const PAGE_ENCODED_BYTES: usize = 32 + 8;

#[cfg(test)]
mod tests;
