//! Publications: what a device publishes it signs, by the transaction.
//!
//! Promise: a record that comes with a publication which verifies was published by that device under that
//! writer, in that share, whoever passed it on. One signature covers up to 1,024 records, and a lone one of
//! them is proved by at most ten hashes. Nobody can publish under another's writer: the writer is not told
//! but computed, from the device, the share and a salt ([`Writer::drawn`]). Whether the device was allowed to
//! publish, the roster says.
//!
//! Begin at [`Publication::sign`] and [`Publication::verify`]. What one writer published is a chain: see
//! [`chain`](crate::chain).

use serde::{Deserialize, Serialize};

use crate::hash::{Domain, RecordHash, thirty_two_bytes};
use crate::id::{DeviceId, ShareId, Writer, WriterSalt};
use crate::key::{self, DeviceKey, KeyError, Signature};
use crate::limits::{PUBLICATION_BYTES_MAX, PUBLICATION_RECORDS_MAX};
use crate::merkle::{self, MerkleRoot, Proof};
use crate::signed::{self, SignedError};

thirty_two_bytes! {
    /// The hash of a publication in its share; the signature is not part of it.
    PublicationHash
}

/// A signed batch of records: those of one transaction, or of a part of it.
///
/// A value of this type claims; only after [`Publication::verify`] is it known who claims.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Publication {
    /// Who publishes.
    pub device: DeviceId,
    /// What the device drew for its writer; device, share and salt make the writer.
    pub salt: WriterSalt,
    /// How many publications the writer has made in this share before.
    pub sequence: u64,
    /// The one before; [`PublicationHash::NONE`] in the first.
    pub previous: PublicationHash,
    /// What stands for all of the records.
    pub root: MerkleRoot,
    /// How many records there are, from 1 to [`PUBLICATION_RECORDS_MAX`].
    pub count: u16,
    /// The device's signature of [`Publication::hash`].
    pub signature: Signature,
}

/// Where a publication stands in its writer's chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Place {
    /// How many the writer has made before.
    pub sequence: u64,
    /// Which one it is.
    pub hash: PublicationHash,
}

/// Why a publication, or a record that came with it, is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PublicationError {
    /// Not in the format.
    #[error("a publication that is {0}")]
    Format(#[from] SignedError),
    /// No records, or too many.
    #[error("a publication of {0} records; from 1 to {PUBLICATION_RECORDS_MAX} are allowed")]
    Count(usize),
    /// The first has none before it, every other one has.
    #[error("publication number {0} of a writer, and what it says of the one before does not fit")]
    Previous(u64),
    /// The writer has used up all numbers.
    #[error("a writer that has no publication numbers left")]
    Numbers,
    /// The key or the signature is bad.
    #[error("a publication by {device}: {error}", device = .device.short())]
    Key {
        /// Who is said to have signed.
        device: DeviceId,
        /// What is wrong.
        error: KeyError,
    },
    /// The records are not those that were signed.
    #[error("{0} records that are not those of their publication")]
    Records(usize),
    /// The record is not at this place among those that were signed.
    #[error("a record that is not number {0} of its publication")]
    Record(u16),
}

impl PublicationHash {
    /// What stands before a writer's first publication.
    pub const NONE: Self = Self([0; 32]);
}

impl Publication {
    /// Signs these records, as the writer with this salt, after what it published last.
    ///
    /// # Errors
    /// When there are no records or too many, or `after` has the last possible number.
    pub fn sign(
        key: &DeviceKey,
        share: &ShareId,
        salt: WriterSalt,
        after: Option<Place>,
        records: &[RecordHash],
    ) -> Result<Self, PublicationError> {
        let (count, root) = root_of(records)?;
        let (sequence, previous) = match after {
            None => (0, PublicationHash::NONE),
            Some(last) => (last.sequence.checked_add(1).ok_or(PublicationError::Numbers)?, last.hash),
        };
        let signature = Signature::from_bytes([0; 64]);
        let mut unsigned = Self { device: key.device(), salt, sequence, previous, root, count, signature };
        unsigned.signature = key.sign(unsigned.hash(share).as_bytes());
        Ok(unsigned)
    }

    /// The writer that publishes; the dots of all the records, but those of conflict copies, are its.
    #[must_use]
    pub fn writer(&self, share: &ShareId) -> Writer {
        Writer::drawn(&self.device, share, &self.salt)
    }

    /// The hash of all that is signed, in this share.
    #[must_use]
    pub fn hash(&self, share: &ShareId) -> PublicationHash {
        let body = crate::body::encode(&Body::from(self));
        PublicationHash(Domain::PUBLICATION.hash(&[share.as_bytes(), &body]))
    }

    /// Checks that the device signed this, for this share.
    ///
    /// # Errors
    /// When it did not, or says what cannot be.
    pub fn verify(&self, share: &ShareId) -> Result<PublicationHash, PublicationError> {
        if !(1..=PUBLICATION_RECORDS_MAX).contains(&usize::from(self.count)) {
            return Err(PublicationError::Count(usize::from(self.count)));
        }
        if (self.sequence == 0) != (self.previous == PublicationHash::NONE) {
            return Err(PublicationError::Previous(self.sequence));
        }
        let hash = self.hash(share);
        key::verify(self.device.as_bytes(), hash.as_bytes(), &self.signature)
            .map_err(|error| PublicationError::Key { device: self.device, error })?;
        Ok(hash)
    }

    /// Checks that these are all of the records, in their order.
    ///
    /// # Errors
    /// When they are not.
    pub fn verify_all(&self, records: &[RecordHash]) -> Result<(), PublicationError> {
        if root_of(records)? == (self.count, self.root) {
            Ok(())
        } else {
            Err(PublicationError::Records(records.len()))
        }
    }

    /// What proves, to who has not seen the others, that the record at `index` is one of these; `None` if
    /// there is none.
    #[must_use]
    pub fn proof_of(records: &[RecordHash], index: u16) -> Option<Proof> {
        merkle::proof(records, index)
    }

    /// Checks that this is one of the records.
    ///
    /// # Errors
    /// When the proof does not lead to it.
    pub fn verify_one(&self, record: &RecordHash, proof: &Proof) -> Result<(), PublicationError> {
        if merkle::leads(record, proof, &self.root, self.count) {
            Ok(())
        } else {
            Err(PublicationError::Record(proof.index))
        }
    }

    /// The publication that these bytes claim, unverified.
    ///
    /// # Errors
    /// When they are not in the format.
    pub fn decode(bytes: &[u8]) -> Result<Self, PublicationError> {
        let (body, signature): (Body, _) = signed::open(bytes, PUBLICATION_BYTES_MAX)?;
        Ok(Self {
            device: DeviceId::from_bytes(body.device),
            salt: WriterSalt(body.salt),
            sequence: body.sequence,
            previous: PublicationHash(body.previous),
            root: MerkleRoot::from_bytes(body.root),
            count: body.count,
            signature,
        })
    }

    /// Its bytes, at most [`PUBLICATION_BYTES_MAX`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        signed::seal(&Body::from(self), &self.signature)
    }
}

fn root_of(records: &[RecordHash]) -> Result<(u16, MerkleRoot), PublicationError> {
    let count =
        u16::try_from(records.len()).ok().filter(|&count| usize::from(count) <= PUBLICATION_RECORDS_MAX);
    count
        .zip(merkle::root(&records[..records.len().min(PUBLICATION_RECORDS_MAX)]))
        .ok_or(PublicationError::Count(records.len()))
}

/// What is signed, after the share's id.
#[derive(Serialize, Deserialize)]
struct Body {
    device: [u8; 32],
    salt: [u8; 16],
    sequence: u64,
    previous: [u8; 32],
    root: [u8; 32],
    count: u16,
}

impl From<&Publication> for Body {
    fn from(publication: &Publication) -> Self {
        Self {
            device: *publication.device.as_bytes(),
            salt: publication.salt.0,
            sequence: publication.sequence,
            previous: *publication.previous.as_bytes(),
            root: *publication.root.as_bytes(),
            count: publication.count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::testing::device_key;

    const SHARE: ShareId = ShareId::from_bytes([9; 32]);
    const SALT: WriterSalt = WriterSalt([8; 16]);

    fn records(count: usize) -> Vec<RecordHash> {
        (0..count).map(|at| RecordHash::from_bytes(Domain::RECORD.hash_one(&at.to_be_bytes()))).collect()
    }

    fn published(count: usize) -> Publication {
        Publication::sign(&device_key(1), &SHARE, SALT, None, &records(count)).unwrap()
    }

    #[test]
    fn what_was_signed_verifies_with_all_records_and_with_each() {
        let first = published(5);
        let hash = first.verify(&SHARE).unwrap();
        let after = Some(Place { sequence: 0, hash });
        let next = Publication::sign(&device_key(1), &SHARE, SALT, after, &records(1)).unwrap();
        assert_eq!((next.sequence, next.previous), (1, hash));
        assert!(next.verify(&SHARE).is_ok());

        assert_eq!(first.verify_all(&records(5)), Ok(()));
        assert_eq!(first.verify_all(&records(4)), Err(PublicationError::Records(4)));
        let proof = Publication::proof_of(&records(5), 4).unwrap();
        assert_eq!(first.verify_one(&records(5)[4], &proof), Ok(()));
        assert_eq!(first.verify_one(&records(5)[3], &proof), Err(PublicationError::Record(4)));
        assert_eq!(first.writer(&SHARE), Writer::drawn(&device_key(1).device(), &SHARE, &SALT));
    }

    /// F12 (e): every receiver can check who published.
    #[test]
    fn d17_what_another_signed_or_for_another_share_is_refused() {
        let signed = published(5);
        let refused = |changed: Publication, share: &ShareId| {
            matches!(changed.verify(share), Err(PublicationError::Key { error: KeyError::Signature, .. }))
        };
        assert!(refused(signed, &ShareId::from_bytes([1; 32])), "of another share");
        assert!(
            refused(Publication { device: device_key(2).device(), ..signed }, &SHARE),
            "of another device"
        );
        assert!(refused(Publication { salt: WriterSalt([1; 16]), ..signed }, &SHARE), "of another writer");
        assert!(refused(Publication { count: 4, ..signed }, &SHARE), "of another count");
        assert!(refused(Publication { root: MerkleRoot::from_bytes([1; 32]), ..signed }, &SHARE));
        let previous = PublicationHash([1; 32]);
        assert!(refused(Publication { sequence: 1, previous, ..signed }, &SHARE), "of another number");
    }

    #[test]
    fn counts_and_numbers_that_cannot_be_are_refused() {
        let sign = |after, count| Publication::sign(&device_key(1), &SHARE, SALT, after, &records(count));
        assert_eq!(sign(None, 0), Err(PublicationError::Count(0)));
        assert!(sign(None, PUBLICATION_RECORDS_MAX).is_ok());
        let many = PUBLICATION_RECORDS_MAX + 1;
        assert_eq!(sign(None, many), Err(PublicationError::Count(many)));
        assert_eq!(published(1).verify_all(&records(70_000)), Err(PublicationError::Count(70_000)));
        let last = Place { sequence: u64::MAX, hash: PublicationHash([1; 32]) };
        assert_eq!(sign(Some(last), 1), Err(PublicationError::Numbers));

        let count = |count| Publication { count, ..published(1) }.verify(&SHARE);
        assert_eq!(count(0), Err(PublicationError::Count(0)));
        assert_eq!(count(u16::MAX), Err(PublicationError::Count(65535)));
        let previous = PublicationHash([1; 32]);
        assert_eq!(
            Publication { previous, ..published(1) }.verify(&SHARE),
            Err(PublicationError::Previous(0))
        );
        assert_eq!(
            Publication { sequence: 7, ..published(1) }.verify(&SHARE),
            Err(PublicationError::Previous(7))
        );
    }

    #[test]
    fn d1_d6_damaged_bytes_never_verify() {
        let bytes = published(300).encode();
        let whole = Publication::decode(&bytes).unwrap();
        assert_eq!(whole, published(300));
        assert!(bytes.len() <= PUBLICATION_BYTES_MAX);
        let most = Publication { sequence: u64::MAX, count: u16::MAX, ..whole };
        assert!(most.encode().len() <= PUBLICATION_BYTES_MAX);
        for end in 0..bytes.len() {
            let cut = Publication::decode(&bytes[..end]);
            assert!(cut.is_err() || cut.unwrap().verify(&SHARE).is_err(), "{end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refused = Publication::decode(&flipped).and_then(|claimed| claimed.verify(&SHARE));
            assert!(refused.is_err(), "bit {bit}");
        }
        let long = vec![0; 1 << 20];
        assert_eq!(
            Publication::decode(&long),
            Err(SignedError::TooLong { bytes: 1 << 20, max: PUBLICATION_BYTES_MAX }.into())
        );
        assert_eq!(Publication::decode(&[]), Err(SignedError::CutShort(0).into()));
    }

    #[test]
    fn what_is_signed_stays_as_it_is() {
        let first = published(2);
        let bytes = first.encode();
        assert_eq!(bytes[..32], *device_key(1).device().as_bytes());
        assert_eq!(bytes[32..48], [8; 16]);
        assert_eq!(bytes[48], 0);
        assert_eq!(bytes[49..81], [0; 32]);
        assert_eq!(bytes[81..113], *first.root.as_bytes());
        assert_eq!(bytes[113], 2);
        assert_eq!(bytes[114..], *first.signature.as_bytes());
        assert_eq!(first.hash(&SHARE).short(), "ghyoc6j");
    }
}
