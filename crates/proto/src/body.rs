//! Bodies of frames: postcard (varints, no tags) over private structs, read to the last byte.
//!
//! Promise: what a list takes in memory is bounded before it is read (`AtMost`), so bytes never become many times
//! as many.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a body is not that of its type.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// The bytes end too early, or mean nothing.
    #[error("a body that is not of its type")]
    Malformed,
    /// The bytes go on after the end.
    #[error("a body with {0} bytes after its end")]
    TrailingBytes(usize),
    /// More of something than a message may have.
    #[error("{count} {what} in one message; at most {max} are allowed")]
    TooMany {
        /// How many.
        count: usize,
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// A number that means nothing here.
    #[error("{0}")]
    Meaningless(&'static str),
}

/// The bytes of a plain value.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "writing plain values into a Vec cannot fail")]
    postcard::to_extend(value, Vec::new()).expect("a plain value can be written")
}

/// The value of these bytes, all of them.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, BodyError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(BodyError::TrailingBytes(rest.len())),
        Err(_) => Err(BodyError::Malformed),
    }
}

/// The value with which these bytes begin, and those behind it.
pub(crate) fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), BodyError> {
    postcard::take_from_bytes(bytes).map_err(|_| BodyError::Malformed)
}

/// Checks a count against its bound.
pub(crate) fn at_most(count: usize, max: usize, what: &'static str) -> Result<(), BodyError> {
    if count > max { Err(BodyError::TooMany { count, what, max }) } else { Ok(()) }
}

/// A list that may have `MAX` entries, in serde's form of any list.
///
/// Of one that has more, the first `MAX` are kept while it is read. The others are read too, one at a time, and
/// counted: postcard has no way to pass over them, and its errors could not say what there was too much of. So a list
/// costs time by its bytes, and memory by its bound.
#[derive(Clone, Debug)]
pub(crate) struct AtMost<T, const MAX: usize> {
    kept: Vec<T>,
    count: usize,
}

impl<T, const MAX: usize> AtMost<T, MAX> {
    /// The list, if it is within the bound; else how many entries it has.
    pub(crate) fn all(self) -> Result<Vec<T>, usize> {
        if self.count > MAX { Err(self.count) } else { Ok(self.kept) }
    }

    /// The same of a list that stays where it is.
    pub(crate) fn as_slice(&self) -> Result<&[T], usize> {
        if self.count > MAX { Err(self.count) } else { Ok(&self.kept) }
    }

    /// How many entries it has, also beyond the bound.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The list of these things, if it is within the bound.
    pub(crate) fn named(self, what: &'static str) -> Result<Vec<T>, BodyError> {
        self.all().map_err(|count| BodyError::TooMany { count, what, max: MAX })
    }
}

/// To be written: all of it, whoever reads it will see that it is too much.
impl<T, const MAX: usize> FromIterator<T> for AtMost<T, MAX> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let kept: Vec<T> = entries.into_iter().collect();
        Self { count: kept.len(), kept }
    }
}

impl<T: Serialize, const MAX: usize> Serialize for AtMost<T, MAX> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.kept.serialize(to)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for AtMost<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Entries(PhantomData))
    }
}

struct Entries<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Entries<T, MAX> {
    type Value = AtMost<T, MAX>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a list of at most {MAX} entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let (mut kept, mut count) = (Vec::new(), 0_usize);
        while let Some(entry) = entries.next_element()? {
            if kept.len() < MAX {
                kept.push(entry);
            }
            count += 1;
        }
        Ok(AtMost { kept, count })
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    thread_local! {
        /// How many [`Counted`] there are, and how many there were at most.
        static ALIVE: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    }

    struct Counted;

    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            u8::deserialize(from)?;
            let (now, most) = ALIVE.get();
            ALIVE.set((now + 1, most.max(now + 1)));
            Ok(Self)
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            let (now, most) = ALIVE.get();
            ALIVE.set((now - 1, most));
        }
    }

    /// D2: a list that is too long is found out without ever being held.
    #[test]
    fn d2_no_more_of_a_list_is_held_than_its_bound() {
        let bytes = encode(&vec![7_u8; 100_000]);
        let list: AtMost<Counted, 5> = decode(&bytes).unwrap();
        assert_eq!(ALIVE.get(), (5, 6), "those kept, and the one in hand");
        let error = list.named("bytes").map(|_| ()).unwrap_err();
        assert_eq!(error, BodyError::TooMany { count: 100_000, what: "bytes", max: 5 });
        assert_eq!(error.to_string(), "100000 bytes in one message; at most 5 are allowed");
        assert_eq!(ALIVE.get().0, 0);
    }

    #[test]
    fn a_list_within_its_bound_is_that_of_a_vector() {
        for length in 0..=3_usize {
            let entries: Vec<u32> = (0..length).map(|at| 300 * u32::try_from(at).unwrap()).collect();
            let bytes = encode(&entries);
            assert_eq!(encode(&entries.iter().copied().collect::<AtMost<u32, 3>>()), bytes);
            assert_eq!(decode::<AtMost<u32, 3>>(&bytes).unwrap().all(), Ok(entries));
            for end in 0..bytes.len() {
                assert!(decode::<AtMost<u32, 3>>(&bytes[..end]).is_err());
            }
        }
        let many = encode(&vec![1_u32; 4]);
        assert_eq!(decode::<AtMost<u32, 3>>(&many).unwrap().all(), Err(4));
        // A length that lies ends with the bytes.
        let lying = [&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..], &[1; 50]].concat();
        assert_eq!(decode::<AtMost<u32, 3>>(&lying).unwrap_err(), BodyError::Malformed);
    }
}
