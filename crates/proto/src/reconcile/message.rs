//! The messages of agreeing, and their bodies on the wire.
//!
//! Promise: what decodes is within bounds and in order; nothing is set aside for it before its bytes are
//! there. Whether it answers what was asked is for [`Reconcile`](super::Reconcile) to see.

use serde::{Deserialize, Serialize};

use super::keys::{ShortDigest, ShortFingerprint};
use crate::body::AtMost;
use crate::digest::{FAN_OUT, LEAVES, Leaf};
use crate::limits::{RECONCILE_MESSAGE_BYTES_MAX, RECONCILE_PAGE_MAX};

/// Most masks in a message: nodes of level 2, whose children were told before. Leaves are answered by pages.
const MASKS_MAX: usize = LEAVES / (FAN_OUT as usize * FAN_OUT as usize);

/// What one end says to the other while they find out what differs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ReconcileMessage {
    /// A round begins: its number on this connection (from 1), what is compared, and the digest of the root.
    Root {
        /// One more than that of the round before.
        round: u32,
        /// What the digests of this round are of.
        by: By,
        /// The digest of the whole set.
        root: ShortDigest,
    },
    /// The roots are equal; this proves that it is by equal records.
    Proof([u8; 32]),
    /// Which children told by the other end differ, and the digests of the children of those, in order.
    Children {
        /// One for each node whose children were told; the lowest bit is the first child.
        masks: Vec<u16>,
        /// Sixteen for each bit that is set.
        digests: Vec<ShortDigest>,
    },
    /// The fingerprints in the leaves that differ, some of them.
    Page(Page),
    /// Which records of the oldest unanswered page the sender lacks: a bit for each, the lowest bit of the
    /// first byte for the first.
    Wanted(Vec<u8>),
    /// Another round would bring nothing new until something changes.
    Wait,
}

/// What the digests of a round are made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// Sums of fingerprints.
    Sums,
    /// Sums of keyed hashes over the fingerprints of each leaf: costs a pass over all records, and holds
    /// where sums of fingerprints were forged.
    Hashes,
}

/// A part of the list of fingerprints: at most 4,096, and as many leaves.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Page {
    /// Leaves in order, each with how many of the fingerprints are in it.
    pub leaves: Vec<(Leaf, u16)>,
    /// The fingerprints of all these leaves, in order within each.
    pub fingerprints: Vec<ShortFingerprint>,
    /// Whether the list ends here. If not, its last leaf may go on in the next page.
    pub is_last: bool,
}

impl Page {
    /// Each leaf with its fingerprints.
    pub(super) fn listed(&self) -> impl Iterator<Item = (Leaf, &[ShortFingerprint])> {
        let mut rest = &self.fingerprints[..];
        self.leaves.iter().map(move |&(leaf, count)| {
            let (these, others) = rest.split_at(usize::from(count).min(rest.len()));
            rest = others;
            (leaf, these)
        })
    }
}

/// Why bytes are no message of agreeing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReconcileDecodeError {
    /// Longer than [`RECONCILE_MESSAGE_BYTES_MAX`].
    #[error("a message of agreeing of {0} bytes; at most {RECONCILE_MESSAGE_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// Cut off, or of an unknown sort.
    #[error("a message of agreeing that cannot be read: {0}")]
    Malformed(postcard::Error),
    /// Bytes that belong to nothing.
    #[error("a message of agreeing with {0} bytes after its end")]
    Trailing(usize),
    /// Digests, fingerprints or masks come as bytes, so many each.
    #[error("a list of {bytes} bytes whose entries have {each} bytes each")]
    Uneven {
        /// Length of the list.
        bytes: usize,
        /// Length of an entry.
        each: usize,
    },
    /// More of something than one message may have.
    #[error("{0} {1} in one message of agreeing; at most {2} are allowed")]
    TooMany(usize, &'static str, usize),
    /// A page whose leaves do not ascend.
    #[error("a page whose leaves are not in order, each once")]
    UnorderedLeaves,
    /// A leaf whose fingerprints do not ascend.
    #[error("fingerprints of leaf {0} that are not in order, each once")]
    UnorderedFingerprints(u16),
    /// The counts of a page's leaves do not add up to its fingerprints.
    #[error("a page of {got} fingerprints that announces {announced}")]
    Count {
        /// How many there are.
        got: usize,
        /// The sum over its leaves.
        announced: usize,
    },
    /// A page that says nothing, not even that it is the last.
    #[error("an empty page that is not the last")]
    EmptyPage,
}

#[derive(Serialize, Deserialize)]
enum Wire<'a> {
    Root {
        round: u32,
        by_hashes: bool,
        root: [u8; 8],
    },
    Proof([u8; 32]),
    Children {
        #[serde(with = "bytes")]
        masks: &'a [u8],
        #[serde(with = "bytes")]
        digests: &'a [u8],
    },
    Page {
        /// For each leaf how far it is from the one before (the first: from 0), and its count.
        leaves: AtMost<(u16, u16), RECONCILE_PAGE_MAX>,
        #[serde(with = "bytes")]
        fingerprints: &'a [u8],
        is_last: bool,
    },
    Wanted(#[serde(with = "bytes")] &'a [u8]),
    Wait,
}

/// Bytes in one piece; serde takes a slice for a sequence of numbers.
mod bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<&'a [u8], D::Error> {
        <&[u8]>::deserialize(from)
    }
}

impl ReconcileMessage {
    /// What sort of message it is, in words.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Root { .. } => "root",
            Self::Proof(_) => "proof",
            Self::Children { .. } => "children",
            Self::Page(_) => "page",
            Self::Wanted(_) => "wanted",
            Self::Wait => "wait",
        }
    }

    /// Its body on the wire, at most [`RECONCILE_MESSAGE_BYTES_MAX`] long.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (masks, shorts);
        let wire = match self {
            Self::Root { round, by, root } => {
                Wire::Root { round: *round, by_hashes: *by == By::Hashes, root: root.0 }
            }
            Self::Proof(proof) => Wire::Proof(*proof),
            Self::Children { masks: each, digests } => {
                masks = each.iter().flat_map(|mask| mask.to_le_bytes()).collect::<Vec<_>>();
                shorts = digests.iter().flat_map(|digest| digest.0).collect::<Vec<_>>();
                Wire::Children { masks: &masks, digests: &shorts }
            }
            Self::Page(page) => {
                shorts = page.fingerprints.iter().flat_map(|short| short.0).collect::<Vec<_>>();
                let mut before = 0;
                let gap = |&(Leaf(leaf), count): &(Leaf, u16)| {
                    let gap = leaf.wrapping_sub(before);
                    before = leaf;
                    (gap, count)
                };
                let leaves = page.leaves.iter().map(gap).collect();
                Wire::Page { leaves, fingerprints: &shorts, is_last: page.is_last }
            }
            Self::Wanted(bits) => Wire::Wanted(bits),
            Self::Wait => Wire::Wait,
        };
        crate::body::encode(&wire)
    }

    /// The message with this body.
    ///
    /// # Errors
    /// When it is none, or is beyond a bound or out of order.
    pub fn decode(body: &[u8]) -> Result<Self, ReconcileDecodeError> {
        if body.len() > RECONCILE_MESSAGE_BYTES_MAX {
            return Err(ReconcileDecodeError::TooLong(body.len()));
        }
        let (wire, rest) = postcard::take_from_bytes(body).map_err(ReconcileDecodeError::Malformed)?;
        if !rest.is_empty() {
            return Err(ReconcileDecodeError::Trailing(rest.len()));
        }
        Ok(match wire {
            Wire::Root { round, by_hashes, root } => Self::Root {
                round,
                by: if by_hashes { By::Hashes } else { By::Sums },
                root: ShortDigest(root),
            },
            Wire::Proof(proof) => Self::Proof(proof),
            Wire::Children { masks, digests } => Self::Children {
                masks: entries(masks, "masks", MASKS_MAX)?.into_iter().map(u16::from_le_bytes).collect(),
                digests: entries(digests, "digests", LEAVES)?.into_iter().map(ShortDigest).collect(),
            },
            Wire::Page { leaves, fingerprints, is_last } => {
                let fingerprints = entries(fingerprints, "fingerprints", RECONCILE_PAGE_MAX)?;
                let too_many = |count| ReconcileDecodeError::TooMany(count, "leaves", RECONCILE_PAGE_MAX);
                let leaves = leaves_of_gaps(&leaves.all().map_err(too_many)?)?;
                let fingerprints = fingerprints.into_iter().map(ShortFingerprint).collect();
                Self::Page(Page { leaves, fingerprints, is_last }.checked()?)
            }
            Wire::Wanted(bits) if bits.len() > RECONCILE_PAGE_MAX / 8 => {
                return Err(ReconcileDecodeError::TooMany(bits.len() * 8, "answers", RECONCILE_PAGE_MAX));
            }
            Wire::Wanted(bits) => Self::Wanted(bits.into()),
            Wire::Wait => Self::Wait,
        })
    }
}

impl Page {
    fn checked(self) -> Result<Self, ReconcileDecodeError> {
        let announced = self.leaves.iter().map(|&(_, count)| usize::from(count)).sum();
        if announced != self.fingerprints.len() {
            return Err(ReconcileDecodeError::Count { got: self.fingerprints.len(), announced });
        }
        if self.leaves.is_empty() && !self.is_last {
            return Err(ReconcileDecodeError::EmptyPage);
        }
        for (Leaf(leaf), fingerprints) in self.listed() {
            if !fingerprints.is_sorted_by(|one, next| one < next) {
                return Err(ReconcileDecodeError::UnorderedFingerprints(leaf));
            }
        }
        Ok(self)
    }
}

fn entries<const EACH: usize>(
    bytes: &[u8],
    what: &'static str,
    most: usize,
) -> Result<Vec<[u8; EACH]>, ReconcileDecodeError> {
    let (entries, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(ReconcileDecodeError::Uneven { bytes: bytes.len(), each: EACH });
    }
    if entries.len() > most {
        return Err(ReconcileDecodeError::TooMany(entries.len(), what, most));
    }
    Ok(entries.into())
}

fn leaves_of_gaps(gaps: &[(u16, u16)]) -> Result<Vec<(Leaf, u16)>, ReconcileDecodeError> {
    let mut before: Option<u16> = None;
    let mut leaves = Vec::with_capacity(gaps.len());
    for &(gap, count) in gaps {
        let leaf = match before {
            None => Some(gap),
            Some(before) => before.checked_add(gap).filter(|_| gap > 0),
        };
        let leaf = leaf.ok_or(ReconcileDecodeError::UnorderedLeaves)?;
        leaves.push((Leaf(leaf), count));
        before = Some(leaf);
    }
    Ok(leaves)
}
