//! What digests and fingerprints look like on the wire: cut, and keyed by connection and round.
//!
//! Promise: who writes records cannot aim at equal cuts, since half of the nonce comes from an end that the
//! writer is not; and what two cuts hide by chance in one round shows in the next, since each round has keys
//! of its own.

use crate::digest::{Leaf, Node, Sum};
use crate::hash::{Domain, RecordHash};
use crate::message::Channel;
use crate::secret::Side;

/// Random bytes of both ends, drawn for this connection alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Nonce([u8; 32]);

impl Nonce {
    /// What a side gives to the nonce on a connection with this TLS exporter value, for this channel: as fresh as the
    /// connection.
    #[must_use]
    pub fn part(exporter: &[u8; 32], channel: Channel, side: Side) -> [u8; 16] {
        let side = match side {
            Side::Dialler => b"d",
            Side::Listener => b"l",
        };
        let hash = Domain::NONCE.hash(&[exporter, &channel.0.to_be_bytes(), side]);
        let mut part = [0; 16];
        part.copy_from_slice(&hash[..16]);
        part
    }

    /// The nonce to which both ends gave a part.
    #[must_use]
    pub fn new(leader: [u8; 16], follower: [u8; 16]) -> Self {
        let mut both = [0; 32];
        both[..16].copy_from_slice(&leader);
        both[16..].copy_from_slice(&follower);
        Self(both)
    }
}

/// The digest of a node, keyed and cut to eight bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ShortDigest(pub [u8; 8]);

impl ShortDigest {
    /// The digest of a node without records, under every key: the other end need not look further.
    pub const EMPTY: Self = Self([0; 8]);
}

/// A record's fingerprint, keyed and cut to six bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct ShortFingerprint(pub [u8; 6]);

/// The proofs that both ends show of holding the same records. They differ, so that none can be echoed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Proofs {
    pub(super) of_who_began: [u8; 32],
    pub(super) of_who_answered: [u8; 32],
}

/// How many bytes are hashed at a time; a multiple of a fingerprint's.
const PROOF_RUN_BYTES: usize = 64 * 1024;

/// The keys of one round; one for each sort of value.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    node: [u8; 32],
    fingerprint: [u8; 32],
    leaf: [u8; 32],
    all: [u8; 32],
}

impl Keys {
    pub(super) fn new(nonce: &Nonce, round: u32) -> Self {
        let key = |sort: u8| Domain::RECONCILE.hash(&[&nonce.0, &round.to_le_bytes(), &[sort]]);
        Self { node: key(0), fingerprint: key(1), leaf: key(2), all: key(3) }
    }

    /// The digest of a node with this sum: BLAKE3 of level, index (lowest byte first) and sum.
    pub(super) fn node(&self, node: Node, sum: Sum) -> ShortDigest {
        if sum == Sum::ZERO {
            return ShortDigest::EMPTY;
        }
        let mut bytes = [0; 35];
        bytes[0] = node.level();
        bytes[1..3].copy_from_slice(&node.index().to_le_bytes());
        bytes[3..].copy_from_slice(&sum.to_bytes());
        ShortDigest(cut(&blake3::keyed_hash(&self.node, &bytes)))
    }

    /// A record's fingerprint.
    pub(super) fn fingerprint(&self, record: &RecordHash) -> ShortFingerprint {
        ShortFingerprint(cut(&blake3::keyed_hash(&self.fingerprint, record.as_bytes())))
    }

    /// The fingerprints of a leaf's records with the records that they are of, in order of the fingerprints.
    pub(super) fn fingerprints(&self, records: &[RecordHash]) -> Vec<(ShortFingerprint, RecordHash)> {
        let mut fingerprints: Vec<_> =
            records.iter().map(|record| (self.fingerprint(record), *record)).collect();
        fingerprints.sort_unstable();
        fingerprints
    }

    /// What stands for a leaf instead of its sum where sums were forged.
    pub(super) fn leaf(&self, records: &[RecordHash]) -> RecordHash {
        let mut hasher = blake3::Hasher::new_keyed(&self.leaf);
        for record in records {
            hasher.update(record.as_bytes());
        }
        RecordHash::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The proofs for a set of records, which `visit` goes through in order of leaf, then fingerprint.
    pub(super) fn proofs(&self, visit: impl FnOnce(&mut dyn FnMut(Leaf, &[RecordHash]))) -> Proofs {
        let mut hasher = blake3::Hasher::new_keyed(&self.all);
        // BLAKE3 is several times faster over long runs than record by record.
        let mut run = Vec::with_capacity(PROOF_RUN_BYTES);
        visit(&mut |_, records| {
            for record in records {
                run.extend_from_slice(record.as_bytes());
                if run.len() == PROOF_RUN_BYTES {
                    hasher.update(&run);
                    run.clear();
                }
            }
        });
        hasher.update(&run);
        let mut proofs = Proofs { of_who_began: [0; 32], of_who_answered: [0; 32] };
        let mut output = hasher.finalize_xof();
        output.fill(&mut proofs.of_who_began);
        output.fill(&mut proofs.of_who_answered);
        proofs
    }
}

fn cut<const BYTES: usize>(hash: &blake3::Hash) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes.copy_from_slice(&hash.as_bytes()[..BYTES]);
    bytes
}
