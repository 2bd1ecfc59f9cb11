//! Bodies of frames: postcard (varints, no tags) over private structs, read to the last byte.

use serde::{Deserialize, Serialize};

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

/// Checks a count against its bound.
pub(crate) fn at_most(count: usize, max: usize, what: &'static str) -> Result<(), BodyError> {
    if count > max { Err(BodyError::TooMany { count, what, max }) } else { Ok(()) }
}
