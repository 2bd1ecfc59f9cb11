//! What comes of one ask: bytes by number, each number's in order.
//!
//! Promise: no more is kept than was asked for. What is out of order, too long or too short is refused as soon as that
//! shows.

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
    bytes: Vec<u8>,
    is_whole: bool,
}

/// What a message brought.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Came {
    /// A part of something.
    Part,
    /// The end of the thing with this number: these are its bytes.
    Whole(usize, Vec<u8>),
    /// What was not asked for.
    Misplaced,
}

impl Arrival {
    /// Nothing has come yet of things of these lengths, each at least one byte.
    pub(super) fn new(lengths: impl IntoIterator<Item = u64>) -> Self {
        let part = |length| Part { length, bytes: Vec::new(), is_whole: false };
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
        if bytes.is_empty() || from != part.bytes.len() as u64 || end > part.length {
            return Came::Misplaced;
        }
        if is_last != (end == part.length) {
            return Came::Misplaced;
        }
        if part.bytes.is_empty() && is_last {
            part.bytes = bytes;
        } else {
            // It was asked for, so there is to be room for it.
            part.bytes.reserve_exact(usize::try_from(part.length - from).unwrap_or_default());
            part.bytes.extend_from_slice(&bytes);
        }
        part.is_whole = is_last;
        self.open = (!is_last).then_some(at);
        if is_last { Came::Whole(at, core::mem::take(&mut part.bytes)) } else { Came::Part }
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
        assert_eq!(arrival.take(1, 1, true, b"d".to_vec()), Came::Whole(1, b"cd".to_vec()));
        assert!(!arrival.is_over());
        assert_eq!(arrival.take(0, 0, true, b"abc".to_vec()), Came::Whole(0, b"abc".to_vec()));
        assert!(arrival.is_over());
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
        assert_eq!(arrival.take(0, 0, true, b"a".to_vec()), Came::Whole(0, b"a".to_vec()));
        assert_eq!(arrival.take(0, 0, true, b"a".to_vec()), Came::Misplaced);
    }
}
