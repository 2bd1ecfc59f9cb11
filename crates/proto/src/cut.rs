//! Cut 1: where content is cut into segments, and a segment into chunks.
//!
//! Promise: where content is cut depends on its bytes alone, never on how they were read, so that equal bytes
//! have equal segments on every device, and a change moves no cuts but those near it. **Frozen**: a content
//! id depends on the cut, so any change here would make every large file of a share look different. Another
//! cut is another number, fixed in a share's founding entry.
//!
//! The rule. The *hash* at a place is that of the 64 bytes before it: each byte's number from the gear table,
//! shifted left by how many of the 64 come after it, added up modulo 2^64. A piece ends at the first place,
//! counted from where it began,
//!
//! | from | to (exclusive) | at which the top bits of the hash that are zero are | segments | chunks |
//! |--|--|--|--|--|
//! | the least size | 13/16 of the average | *strict*: two more than for the average | 22 | 14 |
//! | 13/16 of the average | the greatest size | *loose*: two less than for the average | 18 | 10 |
//!
//! else at the greatest size, else where the content ends. This is FastCDC's normalised chunking (Xia et al.,
//! USENIX ATC 2016; IEEE TPDS 2020) with two differences. The hash always covers 64 whole bytes, also for the
//! first places of a piece, so what may be a cut is known from the bytes around it. And the masks are the top
//! bits, each of which depends on at least 43 bytes, instead of bits spread over the hash.
//!
//! Two bits, because of what an edit costs: on random data 100 bytes overwritten touch 8.1 KB of chunks with
//! one mask, 5.7 KB with two bits, 5.5 KB with three; three lengthen the worst of a hundred insertions.
//! 13/16, because with the change at the average itself pieces are 14 % larger than it on average; so they
//! come within 1 % of it, and the 100 bytes touch 5.0 KB. No run of one byte meets even the loosest mask, so
//! such runs are cut at the greatest size.
//!
//! Begin at [`segments`] and [`chunks`] for bytes in memory, and at [`Cutter`] for what is read piece by
//! piece.

mod gear;

use core::ops::Range;

use crate::limits::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use gear::GEAR;

/// The number of the cut that this module makes, as a founding entry names it.
pub const CUT: u16 = 1;

/// The segments of content that is in memory, in order, each as its range of bytes; none of no bytes.
pub fn segments(content: &[u8]) -> impl Iterator<Item = Range<usize>> {
    pieces(Cutter::segments(), content)
}

/// The chunks of a segment, in order, each as its range of bytes; none of no bytes.
pub fn chunks(segment: &[u8]) -> impl Iterator<Item = Range<usize>> {
    pieces(Cutter::chunks(), segment)
}

fn pieces(mut cutter: Cutter, bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    core::iter::from_fn(move || {
        let rest = &bytes[start..];
        if rest.is_empty() {
            return None;
        }
        let end = start + cutter.next_cut(rest).unwrap_or(rest.len());
        Some(core::mem::replace(&mut start, end)..end)
    })
}

/// Finds the cuts of bytes that come one slice after the other.
///
/// ```
/// # use shoal_proto::cut::Cutter;
/// let mut cutter = Cutter::segments();
/// let mut lengths = Vec::new();
/// let mut length = 0;
/// for mut slice in [vec![7; 3 << 20], vec![7; 3 << 20]].iter().map(Vec::as_slice) {
///     while let Some(cut) = cutter.next_cut(slice) {
///         lengths.push(length + cut);
///         length = 0;
///         slice = &slice[cut..];
///     }
///     length += slice.len();
/// }
/// assert_eq!((lengths, length), (vec![4 << 20], 2 << 20));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cutter {
    sizes: &'static Sizes,
    /// Bytes of the piece so far; always less than the greatest size.
    length: usize,
    /// The hash at this place. It has forgotten, by 64 shifts, all bytes before the last 64.
    hash: u64,
}

impl Cutter {
    /// At the beginning of content that is to be cut into segments.
    #[must_use]
    pub const fn segments() -> Self {
        Self { sizes: &SEGMENTS, length: 0, hash: 0 }
    }

    /// At the beginning of a segment that is to be cut into chunks.
    #[must_use]
    pub const fn chunks() -> Self {
        Self { sizes: &CHUNKS, length: 0, hash: 0 }
    }

    /// Takes the next bytes, up to the end of the piece that they belong to.
    ///
    /// `Some(n)`: the piece ends after the first `n` of these bytes (at least 1); the others were not taken
    /// and are to be given again. `None`: all were taken and no cut was among them. Where content ends, what
    /// was taken since the last cut is its last piece.
    pub fn next_cut(&mut self, bytes: &[u8]) -> Option<usize> {
        let Sizes { min, switch, max, strict, loose } = *self.sizes;
        let mut taken = self.skip(bytes.len());
        loop {
            let (until, limit) = match self.length + 1 {
                // No hash is below 0: these bytes only fill the window.
                next if next < min => (min - 1, 0),
                next if next < switch => (switch - 1, strict),
                next if next < max => (max - 1, loose),
                _ => break,
            };
            let rest = &bytes[taken..];
            let rest = &rest[..rest.len().min(until - self.length)];
            if rest.is_empty() {
                return None;
            }
            if let Some(cut) = roll(&mut self.hash, rest, limit) {
                self.begin();
                return Some(taken + cut);
            }
            self.length += rest.len();
            taken += rest.len();
        }
        if taken == bytes.len() {
            return None;
        }
        // One byte more is the greatest size, whatever it is.
        self.begin();
        Some(taken + 1)
    }

    /// As [`Self::next_cut`] for this many zeros, which nobody needs to read: a hole in a file.
    ///
    /// At a boundary a hole of `n` times the greatest size of a segment is `n` times
    /// [`Segment::ZEROS`](crate::segment::Segment::ZEROS), whose id nobody needs to compute either.
    pub fn next_cut_in_zeros(&mut self, zeros: u64) -> Option<u64> {
        let skipped = self.skip(usize::try_from(zeros).unwrap_or(usize::MAX)) as u64;
        let window = [0; WINDOW];
        let window = &window[..WINDOW.min(usize::try_from(zeros - skipped).unwrap_or(WINDOW))];
        if let Some(cut) = self.next_cut(window) {
            return Some(skipped + cut as u64);
        }
        // From here on the window holds nothing but zeros, whose hash is no cut, or no zeros are left.
        let taken = skipped + window.len() as u64;
        let rest = usize::try_from(zeros - taken).unwrap_or(usize::MAX).min(self.sizes.max - self.length);
        self.length += rest;
        if self.length < self.sizes.max {
            return None;
        }
        self.begin();
        Some(taken + rest as u64)
    }

    /// How many bytes were taken since the last cut: the length of the last piece, where content ends.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.length
    }

    /// Skips what no cut depends on, at most this many bytes; tells how many.
    fn skip(&mut self, bytes: usize) -> usize {
        let skipped = (self.sizes.min - WINDOW).saturating_sub(self.length).min(bytes);
        self.length += skipped;
        skipped
    }

    fn begin(&mut self) {
        self.length = 0;
        self.hash = 0;
    }
}

/// Takes bytes into the hash until it is below the limit; tells after how many it was.
///
/// Four bytes a turn: each hash follows from the one before the four, not from its neighbour, so the
/// processor works on them at once: 3 GB/s where one byte a turn makes 2.
fn roll(hash: &mut u64, bytes: &[u8], limit: u64) -> Option<usize> {
    let (fours, _) = bytes.as_chunks::<4>();
    let mut now = *hash;
    let mut taken = 0;
    for four in fours {
        let [one, two, three, four] = four.map(|byte| GEAR[usize::from(byte)]);
        let two = two.wrapping_add(one << 1);
        let three = three.wrapping_add(two << 1);
        let four = four.wrapping_add(three << 1);
        let next = (now << 4).wrapping_add(four);
        if (now << 1).wrapping_add(one) < limit
            || (now << 2).wrapping_add(two) < limit
            || (now << 3).wrapping_add(three) < limit
            || next < limit
        {
            break;
        }
        now = next;
        taken += 4;
    }
    // What is left are at most three bytes, or the four with the cut among them.
    for &byte in &bytes[taken..] {
        now = (now << 1).wrapping_add(GEAR[usize::from(byte)]);
        taken += 1;
        if now < limit {
            *hash = now;
            return Some(taken);
        }
    }
    *hash = now;
    None
}

/// How many bytes the hash covers: as many as it has bits.
const WINDOW: usize = 64;

/// The sizes and masks of one sort of piece.
#[derive(Debug, Eq, PartialEq)]
struct Sizes {
    min: usize,
    /// From this size on the loose mask counts.
    switch: usize,
    max: usize,
    /// The hash is below it if as many of its top bits are zero as the strict mask has.
    strict: u64,
    /// The same for the loose mask.
    loose: u64,
}

/// 256 KiB, 1 MiB, 4 MiB.
const SEGMENTS: Sizes = Sizes {
    min: SEGMENT_BYTES_MIN as usize,
    switch: 832 << 10,
    max: SEGMENT_BYTES_MAX as usize,
    strict: 1 << (64 - 22),
    loose: 1 << (64 - 18),
};

/// 1 KiB, 4 KiB, 16 KiB.
const CHUNKS: Sizes = Sizes {
    min: CHUNK_BYTES_MIN as usize,
    switch: 3328,
    max: CHUNK_BYTES_MAX as usize,
    strict: 1 << (64 - 14),
    loose: 1 << (64 - 10),
};

#[cfg(test)]
pub(crate) mod tests;
