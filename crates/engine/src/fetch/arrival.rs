//! What comes of one ask: bytes by number, each number's in order.
//!
//! Promise: no more is kept than was asked for. What is out of order, too long or too short is refused as soon as that
//! shows.

use crate::disk::Pieces;

/// Bytes that were asked for, as they come.
#[derive(Debug)]
pub(super) struct Arrival {
    parts: Vec<Part>,
    /// The one that has begun and is not whole: the others wait for it.
    open: Option<usize>,
}

#[derive(Debug)]
struct Part {
    length: u64,
    came: u64,
    pieces: Pieces,
    is_whole: bool,
}

/// What a message brought.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Came {
    /// A part of something.
    Part,
    /// The end of the thing with this number: these are its bytes.
    Whole(usize, Pieces),
    /// What was not asked for.
    Misplaced,
}

/// A piece is at least so long, but for the last one: who sends byte by byte must not cost more than the bytes.
const PIECE_BYTES_MIN: usize = 64 << 10;

impl Arrival {
    /// Nothing has come yet of things of these lengths, each at least one byte.
    pub(super) fn new(lengths: impl IntoIterator<Item = u64>) -> Self {
        let part = |length| Part { length, came: 0, pieces: Vec::new(), is_whole: false };
        Self { parts: lengths.into_iter().map(part).collect(), open: None }
    }

    /// Takes bytes in.
    pub(super) fn take(&mut self, number: u32, from: u64, is_last: bool, bytes: Vec<u8>) -> Came {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        let is_turn = self.open.is_none_or(|open| open == at);
        let Some(part) = self.parts.get_mut(at).filter(|part| is_turn && !part.is_whole) else {
            return Came::Misplaced;
        };
        let end = from.saturating_add(bytes.len() as u64);
        if bytes.is_empty() || from != part.came || end > part.length {
            return Came::Misplaced;
        }
        if is_last != (end == part.length) {
            return Came::Misplaced;
        }
        part.came = end;
        match part.pieces.last_mut().filter(|last| last.len() < PIECE_BYTES_MIN) {
            Some(last) => last.extend_from_slice(&bytes),
            None => part.pieces.push(bytes),
        }
        part.is_whole = is_last;
        self.open = (!is_last).then_some(at);
        if is_last { Came::Whole(at, core::mem::take(&mut part.pieces)) } else { Came::Part }
    }

    /// Whether all of it came.
    pub(super) fn is_over(&self) -> bool {
        self.parts.iter().all(|part| part.is_whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_in_any_order_and_each_in_its_own() {
        let mut arrival = Arrival::new([3, 2]);
        assert_eq!(arrival.take(1, 0, false, b"c".to_vec()), Came::Part);
        assert_eq!(arrival.take(1, 1, true, b"d".to_vec()), Came::Whole(1, vec![b"cd".to_vec()]));
        assert!(!arrival.is_over());
        assert_eq!(arrival.take(0, 0, true, b"abc".to_vec()), Came::Whole(0, vec![b"abc".to_vec()]));
        assert!(arrival.is_over());
    }

    /// I30: pieces stay as they came, unless they are so small that keeping them apart would cost more than they are.
    #[test]
    fn i30_large_pieces_are_not_copied_and_small_ones_are_put_together() {
        let whole = |pieces: &[usize]| {
            let length: usize = pieces.iter().sum();
            let (mut arrival, mut from) = (Arrival::new([length as u64]), 0);
            for piece in pieces {
                let end = from + piece;
                match arrival.take(0, from as u64, end == length, vec![7; *piece]) {
                    Came::Part => assert!(end < length),
                    came => {
                        let Came::Whole(0, pieces) = came else { panic!("{came:?}") };
                        assert_eq!((end, pieces.concat()), (length, vec![7; length]));
                        return pieces.iter().map(Vec::len).collect::<Vec<_>>();
                    }
                }
                from = end;
            }
            panic!("it is not whole");
        };
        assert_eq!(
            whole(&[PIECE_BYTES_MIN, 3 * PIECE_BYTES_MIN, 1]),
            [PIECE_BYTES_MIN, 3 * PIECE_BYTES_MIN, 1]
        );
        assert_eq!(whole(&[1; 2 * PIECE_BYTES_MIN + 5]), [PIECE_BYTES_MIN, PIECE_BYTES_MIN, 5]);
    }

    /// I25: what was not asked for is not kept.
    #[test]
    fn i25_what_was_not_asked_for_is_refused() {
        let refused = |number, from, is_last, bytes: &[u8]| {
            let mut arrival = Arrival::new([3, 2]);
            assert_eq!(arrival.take(0, 0, false, b"a".to_vec()), Came::Part);
            assert_eq!(arrival.take(number, from, is_last, bytes.to_vec()), Came::Misplaced);
        };
        refused(1, 0, true, b"cd");
        refused(2, 0, false, b"x");
        refused(u32::MAX, 0, false, b"x");
        refused(0, 0, false, b"b");
        refused(0, 2, true, b"c");
        refused(0, 1, false, b"");
        refused(0, 1, false, b"bc");
        refused(0, 1, true, b"b");
        refused(0, 1, true, b"bcd");
        refused(0, u64::MAX, true, b"bcd");
        let mut arrival = Arrival::new([1]);
        assert_eq!(arrival.take(0, 0, true, b"a".to_vec()), Came::Whole(0, vec![b"a".to_vec()]));
        assert_eq!(arrival.take(0, 0, true, b"a".to_vec()), Came::Misplaced);
    }
}
