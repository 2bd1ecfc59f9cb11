//! The chunks of a segment: which of them are here already, and which must be fetched.
//!
//! Promise: whatever a list says, matching it costs one search in a sorted table for each chunk, of which
//! there are at most [`CHUNKS_MAX`]. A match of 64 bits is a good guess, not a proof: the assembled segment
//! is checked by its id.
//!
//! A chunk list is 12 bytes a chunk: its length, then the first 8 bytes of BLAKE3 of its bytes, keyed by the
//! id of the content that is wanted; all numbers are big-endian. It is computed when needed and never stored. A key
//! that nobody knew before the content existed keeps chunks from being made to collide; and since it is one key for
//! all segments of the content, what is here is hashed once for all of them.
//!
//! Begin at [`LocalChunks`].

use core::ops::Range;
use std::collections::BTreeMap;

use crate::cut;
use crate::hash::ContentId;
use crate::id::first_eight;
use crate::limits::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNKS_MAX};
use crate::segment::Segment;

/// A chunk of a segment, as a list tells it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Chunk {
    /// Its length in bytes; from 1 to [`CHUNK_BYTES_MAX`].
    pub length: u32,
    /// The hash of its bytes.
    pub digest: ChunkDigest,
}

/// The first 8 bytes of BLAKE3 of a chunk's bytes, keyed by the id of the content that is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct ChunkDigest([u8; 8]);

/// The chunks of a segment, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChunkList(Box<[Chunk]>);

/// Why bytes are no chunk list of a segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChunkListError {
    /// Not a whole number of chunks.
    #[error("a chunk list of {0} bytes, which is no multiple of {CHUNK_ENCODED_BYTES}")]
    Ragged(usize),
    /// More than [`CHUNKS_MAX`].
    #[error("a list of {0} chunks; at most {CHUNKS_MAX} are allowed")]
    TooMany(usize),
    /// A length of 0 or above [`CHUNK_BYTES_MAX`], or below [`CHUNK_BYTES_MIN`] though another chunk follows.
    #[error("chunk {at} of a list has {length} bytes, which cut 1 never makes there")]
    Length {
        /// Its number in the list, from 0.
        at: usize,
        /// Its length in bytes.
        length: u32,
    },
    /// The lengths do not come to that of the segment.
    #[error("chunks of {listed} bytes together for a segment of {segment}")]
    Size {
        /// What the lengths come to.
        listed: u32,
        /// The length of the segment.
        segment: u32,
    },
}

/// The chunks that are here, hashed as the lists of one wanted content hash theirs.
///
/// `P` is where a chunk is found: whatever the caller needs to read it again.
#[derive(Clone, Debug)]
pub struct LocalChunks<P> {
    wanted: ContentId,
    places: BTreeMap<Chunk, P>,
}

impl<P> LocalChunks<P> {
    /// None yet, for this content.
    #[must_use]
    pub const fn new(wanted: ContentId) -> Self {
        Self { wanted, places: BTreeMap::new() }
    }

    /// Cuts and hashes the bytes of a segment that is here. Of equal chunks the first one added stays.
    pub fn add(&mut self, bytes: &[u8], mut place: impl FnMut(Range<usize>) -> P) {
        for range in cut::chunks(bytes) {
            let chunk = Chunk::of(&self.wanted, &bytes[range.clone()]);
            self.places.entry(chunk).or_insert_with(|| place(range));
        }
    }

    /// Where a chunk of the wanted segment is found here; `None`: it is missing.
    #[must_use]
    pub fn place(&self, chunk: &Chunk) -> Option<&P> {
        self.places.get(chunk)
    }

    /// The bytes of the wanted segment that must be fetched: neighbouring missing chunks as one range, in
    /// order.
    #[must_use]
    pub fn missing(&self, wanted: &ChunkList) -> Vec<Range<u32>> {
        let mut missing: Vec<Range<u32>> = Vec::new();
        for (range, chunk) in wanted.chunks() {
            if self.place(&chunk).is_some() {
                continue;
            }
            match missing.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => missing.push(range),
            }
        }
        missing
    }
}

impl ChunkList {
    /// The list of a segment of this content with these bytes, at most
    /// [`SEGMENT_BYTES_MAX`](crate::limits::SEGMENT_BYTES_MAX).
    #[must_use]
    pub fn of(content: &ContentId, bytes: &[u8]) -> Self {
        Self(cut::chunks(bytes).map(|range| Chunk::of(content, &bytes[range])).collect())
    }

    /// The list of this segment, from the bytes of [`Self::encode`].
    ///
    /// # Errors
    /// When cut 1 never makes such a list of a segment of this length.
    pub fn decode(encoded: &[u8], segment: &Segment) -> Result<Self, ChunkListError> {
        let (entries, rest) = encoded.as_chunks::<CHUNK_ENCODED_BYTES>();
        if !rest.is_empty() {
            return Err(ChunkListError::Ragged(encoded.len()));
        }
        // Before anything is allocated for them.
        if entries.len() > CHUNKS_MAX {
            return Err(ChunkListError::TooMany(entries.len()));
        }
        let chunks: Box<[Chunk]> = entries.iter().map(decode_chunk).collect();
        let mut listed = 0;
        for (at, &Chunk { length, .. }) in chunks.iter().enumerate() {
            let least = if at + 1 < chunks.len() { CHUNK_BYTES_MIN } else { 1 };
            if !(least..=CHUNK_BYTES_MAX).contains(&length) {
                return Err(ChunkListError::Length { at, length });
            }
            listed += length;
        }
        if listed != segment.length {
            return Err(ChunkListError::Size { listed, segment: segment.length });
        }
        Ok(Self(chunks))
    }

    /// Its bytes on the wire: 12 for each chunk.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoded = Vec::with_capacity(CHUNK_ENCODED_BYTES * self.0.len());
        for chunk in &self.0 {
            encoded.extend_from_slice(&chunk.length.to_be_bytes());
            encoded.extend_from_slice(&chunk.digest.0);
        }
        encoded
    }

    /// The chunks, in order, each with its range of bytes in the segment.
    pub fn chunks(&self) -> impl Iterator<Item = (Range<u32>, Chunk)> + '_ {
        let mut start = 0;
        self.0.iter().map(move |&chunk| {
            let end = start + chunk.length;
            (core::mem::replace(&mut start, end)..end, chunk)
        })
    }
}

impl Chunk {
    /// The chunk with these bytes, at most [`CHUNK_BYTES_MAX`], as the lists of this content tell it.
    #[must_use]
    pub fn of(content: &ContentId, bytes: &[u8]) -> Self {
        let hash = blake3::keyed_hash(content.as_bytes(), bytes);
        // More than any list allows stays more than any list allows.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self { length, digest: ChunkDigest(first_eight(hash.as_bytes())) }
    }
}

fn decode_chunk(encoded: &[u8; CHUNK_ENCODED_BYTES]) -> Chunk {
    let [a, b, c, d, digest @ ..] = *encoded;
    Chunk { length: u32::from_be_bytes([a, b, c, d]), digest: ChunkDigest(digest) }
}

/// A chunk in a list: its length and its digest.
const CHUNK_ENCODED_BYTES: usize = 4 + 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut::tests::random;
    use crate::hash::SegmentId;
    use proptest::prelude::*;

    /// F17: twelve bytes for each chunk.
    #[test]
    fn the_bytes_of_a_list_stay_as_they_are() {
        let bytes = random("chunks", 6000);
        let segment = segment_of(&bytes);
        let list = ChunkList::of(&segment.id.into(), &bytes);
        let encoded = "00000d79b91f58757ce1b8f1\
                       000009f79b2d17b2a43c259f";
        assert_eq!(data_encoding::HEXLOWER.encode(&list.encode()), encoded);
        assert_eq!(ChunkList::decode(&list.encode(), &segment), Ok(list));
    }

    #[test]
    fn the_same_chunk_has_another_digest_in_another_content() {
        let (one, other) = (ContentId::from_bytes([1; 32]), ContentId::from_bytes([2; 32]));
        assert_eq!(Chunk::of(&one, b"bytes"), Chunk::of(&one, b"bytes"));
        assert_ne!(Chunk::of(&one, b"bytes").digest, Chunk::of(&other, b"bytes").digest);
        assert_ne!(Chunk::of(&one, b"bytes").digest, Chunk::of(&one, b"bytez").digest);
    }

    #[test]
    fn of_equal_chunks_here_the_first_stays() {
        let bytes = vec![0; 3 * CHUNK_BYTES_MAX as usize];
        let segment = segment_of(&bytes);
        let mut local = LocalChunks::new(segment.id.into());
        local.add(&bytes, |range| (1, range));
        local.add(&bytes, |range| (2, range));
        let list = ChunkList::of(&segment.id.into(), &bytes);
        let places: Vec<_> = list.chunks().map(|(_, chunk)| local.place(&chunk).cloned()).collect();
        assert_eq!(places, vec![Some((1, 0..CHUNK_BYTES_MAX as usize)); 3]);
    }

    #[test]
    fn neighbouring_missing_chunks_are_one_range() {
        let bytes = random("missing", 40_000);
        let segment = segment_of(&bytes);
        let list = ChunkList::of(&segment.id.into(), &bytes);
        let ranges: Vec<_> = list.chunks().map(|(range, _)| range).collect();
        let nothing = LocalChunks::<()>::new(segment.id.into());
        assert_eq!(nothing.missing(&list).as_slice(), std::slice::from_ref(&(0..40_000)));
        let mut local = LocalChunks::new(segment.id.into());
        let here = &ranges[2];
        // A chunk is one chunk when it is cut on its own, too.
        local.add(&bytes[here.start as usize..here.end as usize], |_| ());
        assert_eq!(local.missing(&list), [0..here.start, here.end..40_000]);
    }

    #[test]
    fn d12_lists_that_no_segment_has_are_refused() {
        let list = |lengths: &[u32]| {
            let chunk = |&length: &u32| Chunk { length, digest: ChunkDigest([0; 8]) };
            ChunkList(lengths.iter().map(chunk).collect()).encode()
        };
        let segment = |length| Segment { id: SegmentId::from_bytes([0; 32]), length };
        let error =
            |lengths: &[u32], length| ChunkList::decode(&list(lengths), &segment(length)).unwrap_err();
        assert!(ChunkList::decode(&list(&[1024; 4096]), &segment(4 << 20)).is_ok());
        assert!(ChunkList::decode(&list(&[16384, 1]), &segment(16385)).is_ok());
        assert_eq!(error(&[1024; 4097], (4 << 20) + 1024), ChunkListError::TooMany(4097));
        assert_eq!(error(&[], 1), ChunkListError::Size { listed: 0, segment: 1 });
        assert_eq!(error(&[1024, 1], 1024), ChunkListError::Size { listed: 1025, segment: 1024 });
        assert_eq!(error(&[1024, 0], 1024), ChunkListError::Length { at: 1, length: 0 });
        assert_eq!(error(&[1023, 1], 1024), ChunkListError::Length { at: 0, length: 1023 });
        assert_eq!(error(&[16385], 16385), ChunkListError::Length { at: 0, length: 16385 });
        assert_eq!(error(&[u32::MAX; 9], 1), ChunkListError::Length { at: 0, length: u32::MAX });
        let whole = list(&[1024, 1]);
        assert_eq!(ChunkList::decode(&whole[..23], &segment(1025)), Err(ChunkListError::Ragged(23)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_is_here_and_what_is_fetched_make_the_segment(
            seed in "[a-z]{4}", at in 0..100_000_usize, removed in 0..300_usize, inserted in 0..300_usize,
        ) {
            let old = random(&seed, 120_000);
            let mut new = old.clone();
            new.splice(at..at + removed, random("inserted", inserted));
            let segment = segment_of(&new);
            let mut local = LocalChunks::new(segment.id.into());
            local.add(&old, |range| range);
            let list = ChunkList::decode(&ChunkList::of(&segment.id.into(), &new).encode(), &segment).unwrap();

            let fetched = local.missing(&list);
            prop_assert!(fetched.iter().map(ExactSizeIterator::len).sum::<usize>() < 100_000);
            let mut made = Vec::new();
            for (range, chunk) in list.chunks() {
                match local.place(&chunk) {
                    Some(place) => made.extend_from_slice(&old[place.clone()]),
                    None => {
                        prop_assert!(fetched.iter().any(|f| f.start <= range.start && range.end <= f.end));
                        made.extend_from_slice(&new[range.start as usize..range.end as usize]);
                    }
                }
            }
            prop_assert!(segment.is(&made));
        }

        #[test]
        fn d12_no_bytes_are_too_strange_to_be_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..100), length: u32,
        ) {
            let segment = Segment { id: SegmentId::from_bytes([0; 32]), length };
            if let Ok(list) = ChunkList::decode(&bytes, &segment) {
                prop_assert_eq!(list.encode(), bytes);
            }
        }

        #[test]
        fn d12_a_list_cut_short_is_refused(cut in 0..1_usize << 16) {
            let bytes = random("short", 50_000);
            let segment = segment_of(&bytes);
            let encoded = ChunkList::of(&segment.id.into(), &bytes).encode();
            prop_assert!(ChunkList::decode(&encoded[..cut % encoded.len()], &segment).is_err());
        }
    }

    fn segment_of(bytes: &[u8]) -> Segment {
        Segment {
            id: SegmentId::from_bytes(*blake3::hash(bytes).as_bytes()),
            length: u32::try_from(bytes.len()).unwrap(),
        }
    }
}
