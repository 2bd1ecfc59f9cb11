//! How what is signed looks as bytes: a body in postcard's canonical encoding, then the 64 bytes of the
//! signature.
//!
//! Promise: what is hashed and verified is always our own encoding of the values, never the bytes that came:
//! two devices that read the same values see the same hash. Too long input is refused before it is read.

use serde::{Deserialize, Serialize};

use crate::body;
use crate::key::Signature;

/// Why bytes are no signed value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignedError {
    /// More bytes than the largest value has.
    #[error("too long: {bytes} bytes, and at most {max} are allowed")]
    TooLong {
        /// How many came.
        bytes: usize,
        /// How many are allowed.
        max: usize,
    },
    /// Ends before the signature does.
    #[error("cut short: only {0} bytes")]
    CutShort(usize),
    /// The body is not in the format.
    #[error("malformed: {0}")]
    Body(#[from] postcard::Error),
    /// Something stands between the body and the signature.
    #[error("too long by {0} bytes")]
    Surplus(usize),
}

/// The body with its signature.
pub(crate) fn seal(body: &impl Serialize, signature: &Signature) -> Vec<u8> {
    let mut bytes = body::encode(body);
    bytes.extend_from_slice(signature.as_bytes());
    bytes
}

/// The body and the signature, unverified.
pub(crate) fn open<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    max: usize,
) -> Result<(T, Signature), SignedError> {
    if bytes.len() > max {
        return Err(SignedError::TooLong { bytes: bytes.len(), max });
    }
    let (body, signature) = bytes.split_last_chunk().ok_or(SignedError::CutShort(bytes.len()))?;
    Ok((read(body)?, Signature::from_bytes(*signature)))
}

/// Plain data from all of these bytes.
pub(crate) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, SignedError> {
    match postcard::take_from_bytes(bytes)? {
        (body, []) => Ok(body),
        (_, rest) => Err(SignedError::Surplus(rest.len())),
    }
}
