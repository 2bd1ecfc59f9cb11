//! Frames: how messages follow each other on an ordered stream of bytes.
//!
//! A frame is `length` (4 bytes, big-endian, of all that follows), `type` (1 byte), `request` (4 bytes, big-endian; 0
//! where nothing is answered) and the body. Raw content follows its header inside the body.
//!
//! Promise: a frame's length is checked before anything is kept of it; a reader never holds more than one frame and
//! what came behind it in one read. Nothing here knows what bodies mean.

use crate::limits::FRAME_BODY_BYTES_MAX;

/// Bytes before the body.
pub const FRAME_HEADER_BYTES: usize = 9;

/// What the length counts beside the body.
const COUNTED_HEADER_BYTES: usize = FRAME_HEADER_BYTES - 4;

/// From here on a type is optional: who does not know it passes over it. One below must be known.
pub const OPTIONAL_TYPES: u8 = 0x80;

/// Which request a frame belongs to. The side that asks chooses, and has each in use once; 0 asks for no answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct RequestId(pub u32);

impl RequestId {
    /// Of what is told unasked.
    pub const NONE: Self = Self(0);
}

/// A frame, as it stands in a [`FrameReader`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// What the body is.
    pub kind: u8,
    /// What it asks or answers.
    pub request: RequestId,
    /// At most [`FRAME_BODY_BYTES_MAX`] bytes.
    pub body: &'a [u8],
}

/// Why bytes are no frame. The stream is of no use after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// Not even a type and a request.
    #[error("a frame of {0} bytes; the shortest has {COUNTED_HEADER_BYTES}")]
    TooShort(u32),
    /// Longer than this connection allows.
    #[error("a frame of {length} bytes; at most {max} are allowed here")]
    TooLong {
        /// What the frame says.
        length: u32,
        /// What it may say.
        max: usize,
    },
}

/// Finds frames in bytes as they come.
#[derive(Debug)]
pub struct FrameReader {
    /// What was read stands from `begins` to `ends`; behind it is room.
    buffer: Vec<u8>,
    /// Where the next frame begins.
    begins: usize,
    ends: usize,
    body_bytes_max: usize,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self::new(FRAME_BODY_BYTES_MAX)
    }
}

impl FrameReader {
    /// A reader of frames with bodies up to this size, which is at most [`FRAME_BODY_BYTES_MAX`]; smaller before the
    /// other end has said who it is.
    #[must_use]
    pub fn new(body_bytes_max: usize) -> Self {
        let body_bytes_max = body_bytes_max.min(FRAME_BODY_BYTES_MAX);
        Self { buffer: Vec::new(), begins: 0, ends: 0, body_bytes_max }
    }

    /// Allows bodies up to this size from the next frame on.
    pub fn allow(&mut self, body_bytes_max: usize) {
        self.body_bytes_max = body_bytes_max.min(FRAME_BODY_BYTES_MAX);
    }

    /// Takes in what was read. Drain [`Self::next_frame`] first: what is kept is one frame and this.
    pub fn push(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.took(bytes.len());
    }

    /// Room to read so many bytes into, without copying them again; then [`Self::took`]. Drain [`Self::next_frame`]
    /// first.
    pub fn room(&mut self, bytes: usize) -> &mut [u8] {
        self.buffer.copy_within(self.begins..self.ends, 0);
        self.ends -= core::mem::take(&mut self.begins);
        if self.buffer.len() < self.ends + bytes {
            self.buffer.resize(self.ends + bytes, 0);
        }
        &mut self.buffer[self.ends..self.ends + bytes]
    }

    /// So many bytes were read into the room; at most as many as it had.
    pub fn took(&mut self, bytes: usize) {
        self.ends = (self.ends + bytes).min(self.buffer.len());
    }

    /// Whether nothing is kept: no part of a frame either.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.begins == self.ends
    }

    /// Gives the memory back, if nothing is kept in it.
    pub fn release(&mut self) {
        if self.is_empty() {
            (self.buffer, self.begins, self.ends) = (Vec::new(), 0, 0);
        }
    }

    /// Whether a whole frame is there.
    ///
    /// # Errors
    /// As [`Self::next_frame`].
    pub fn has_frame(&self) -> Result<bool, FrameError> {
        Ok(self.measured()?.is_some_and(|counted| self.ends - self.begins >= 4 + counted))
    }

    /// The next whole frame; `None` if it has not all come.
    ///
    /// # Errors
    /// When the length is one that no frame here has, as soon as it is there.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let Some(counted) = self.measured()? else { return Ok(None) };
        let Some(frame) = self.buffer[self.begins..self.ends].get(4..4 + counted) else { return Ok(None) };
        self.begins += 4 + counted;
        let [kind, a, b, c, d, body @ ..] = frame else { return Ok(None) };
        Ok(Some(Frame { kind: *kind, request: RequestId(u32::from_be_bytes([*a, *b, *c, *d])), body }))
    }

    /// What the next frame has behind its length, once that is there.
    fn measured(&self) -> Result<Option<usize>, FrameError> {
        let Some((length, _)) = self.buffer[self.begins..self.ends].split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length);
        let counted = usize::try_from(length).unwrap_or(usize::MAX);
        if counted < COUNTED_HEADER_BYTES {
            return Err(FrameError::TooShort(length));
        }
        if counted - COUNTED_HEADER_BYTES > self.body_bytes_max {
            return Err(FrameError::TooLong { length, max: self.body_bytes_max + COUNTED_HEADER_BYTES });
        }
        Ok(Some(counted))
    }
}

/// Appends a frame.
///
/// # Errors
/// When the body is longer than [`FRAME_BODY_BYTES_MAX`]; nothing is appended then.
pub fn write_frame(
    out: &mut Vec<u8>,
    kind: u8,
    request: RequestId,
    body: &[&[u8]],
) -> Result<(), FrameError> {
    begin_frame(out, kind, request, body, 0)
}

/// Appends a frame up to the last bytes of its body, of which there are so many, and which are to be sent right after it.
///
/// # Errors
/// As [`write_frame`].
pub fn begin_frame(
    out: &mut Vec<u8>,
    kind: u8,
    request: RequestId,
    body: &[&[u8]],
    further: usize,
) -> Result<(), FrameError> {
    let here: usize = body.iter().map(|part| part.len()).sum();
    let bytes = here.saturating_add(further);
    let length = u32::try_from(bytes.saturating_add(COUNTED_HEADER_BYTES)).unwrap_or(u32::MAX);
    if bytes > FRAME_BODY_BYTES_MAX {
        return Err(FrameError::TooLong { length, max: FRAME_BODY_BYTES_MAX + COUNTED_HEADER_BYTES });
    }
    out.reserve(FRAME_HEADER_BYTES + here);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(kind);
    out.extend_from_slice(&request.0.to_be_bytes());
    for part in body {
        out.extend_from_slice(part);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(frames: &[(u8, u32, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, request, body) in frames {
            write_frame(&mut out, *kind, RequestId(*request), &[body]).unwrap();
        }
        out
    }

    #[test]
    fn a_frame_looks_like_this() {
        assert_eq!(written(&[(7, 258, b"ab")]), [0, 0, 0, 7, 7, 0, 0, 1, 2, b'a', b'b']);
    }

    #[test]
    fn frames_are_found_in_any_cutting() {
        let frames: [(u8, u32, &[u8]); 4] =
            [(1, 2, b"one"), (3, 0, b""), (0x90, 9, &[5; 3000]), (4, 1, b"end")];
        let bytes = written(&frames);
        for step in [1, 2, 3, 7, 64, 4096, bytes.len()] {
            let (mut reader, mut found) = (FrameReader::default(), Vec::new());
            for piece in bytes.chunks(step) {
                reader.push(piece);
                while let Some(frame) = reader.next_frame().unwrap() {
                    found.push((frame.kind, frame.request.0, frame.body.to_vec()));
                }
            }
            assert_eq!(
                found,
                frames.map(|(kind, request, body)| (kind, request, body.to_vec())),
                "by {step}"
            );
        }
    }

    #[test]
    fn d1_a_truncated_frame_waits() {
        let bytes = written(&[(1, 2, b"body")]);
        for end in 0..bytes.len() {
            let mut reader = FrameReader::default();
            reader.push(&bytes[..end]);
            assert_eq!(reader.next_frame(), Ok(None));
        }
    }

    #[test]
    fn d2_lengths_are_judged_before_a_body_is_kept() {
        let max = FRAME_BODY_BYTES_MAX + COUNTED_HEADER_BYTES;
        let length = |length: u32| {
            let mut reader = FrameReader::default();
            reader.push(&length.to_be_bytes());
            reader.next_frame().map(|frame| frame.is_some())
        };
        for short in 0..5 {
            assert_eq!(length(short), Err(FrameError::TooShort(short)));
        }
        let at_the_cap = u32::try_from(max).unwrap();
        assert_eq!(length(5), Ok(false));
        assert_eq!(length(at_the_cap), Ok(false));
        for long in [at_the_cap + 1, 1 << 31, u32::MAX] {
            assert_eq!(length(long), Err(FrameError::TooLong { length: long, max }));
        }
    }

    #[test]
    fn d8_a_stranger_gets_less_room() {
        let mut reader = FrameReader::new(16);
        reader.push(&written(&[(1, 0, &[0; 16]), (1, 0, &[0; 17])]));
        assert!(reader.next_frame().unwrap().is_some());
        assert_eq!(reader.next_frame(), Err(FrameError::TooLong { length: 22, max: 21 }));
        reader.allow(usize::MAX);
        assert!(reader.next_frame().unwrap().is_some());
    }

    #[test]
    fn a_body_that_nobody_may_send_is_not_written() {
        let (mut out, body) = (Vec::new(), vec![0; FRAME_BODY_BYTES_MAX + 1]);
        assert!(write_frame(&mut out, 1, RequestId::NONE, &[&body]).is_err());
        assert!(out.is_empty());
        assert!(write_frame(&mut out, 1, RequestId::NONE, &[&body[1..]]).is_ok());
    }

    #[test]
    fn frames_are_read_where_they_stand_and_the_room_is_given_back() {
        let bytes = written(&[(1, 0, &[7; 10_000]), (2, 0, b"")]);
        let mut reader = FrameReader::default();
        for piece in bytes.chunks(999) {
            assert!(!reader.has_frame().unwrap());
            let room = reader.room(2000);
            room[..piece.len()].copy_from_slice(piece);
            reader.took(piece.len());
        }
        assert!(reader.has_frame().unwrap());
        assert_eq!(reader.next_frame().unwrap().unwrap().body, [7; 10_000]);
        reader.release();
        assert!(reader.has_frame().unwrap() && !reader.is_empty(), "what is kept stays");
        assert_eq!(reader.next_frame().unwrap().unwrap().kind, 2);
        reader.release();
        assert_eq!((reader.buffer.capacity(), reader.has_frame()), (0, Ok(false)));
    }

    #[test]
    fn what_was_read_is_not_kept() {
        let mut reader = FrameReader::default();
        for _ in 0..100 {
            reader.push(&written(&[(1, 0, &[7; 10_000])]));
            while reader.next_frame().unwrap().is_some() {}
        }
        assert!(reader.buffer.capacity() < 40_000, "{}", reader.buffer.capacity());
    }
}
