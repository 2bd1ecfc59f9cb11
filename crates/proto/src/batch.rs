//! Records with the publication that proves them, as they pass from device to device.
//!
//! Promise: after [`Batch::verify`] each record is known to be published by that device, under a writer of its own, in
//! this share, whoever passed it on. Whether the device was allowed to, the roster says: both are asked before a record
//! is merged (I26).

use crate::hash::RecordHash;
use crate::id::ShareId;
use crate::merkle::Proof;
use crate::publication::{Publication, PublicationError, PublicationHash};
use crate::record::Record;

/// A publication, and all or some of its records.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// Who published, and what proves it.
    pub publication: Publication,
    /// How the records are proved.
    pub part: Part,
    /// The records; of a whole publication in its order.
    pub records: Vec<Record>,
}

/// How the records of a [`Batch`] are proved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Part {
    /// They are all that was published together: they prove themselves.
    Whole,
    /// They are some: one proof for each.
    Some(Vec<Proof>),
}

/// Why records are refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BatchError {
    /// Its publication is refused, or does not hold these records.
    #[error(transparent)]
    Publication(#[from] PublicationError),
    /// Not one proof for each record.
    #[error("{records} records with {proofs} proofs")]
    Proofs {
        /// How many records.
        records: usize,
        /// How many proofs.
        proofs: usize,
    },
    /// A record under another's writer.
    #[error("a record of {path} under a writer that is not its publisher's", path = .0.path)]
    Writer(Box<Record>),
}

impl Batch {
    /// Checks the signature, that the records are those that were signed, and that each has a dot of the publisher's
    /// writer. A conflict copy is excepted: its dot follows from what it copies, whoever makes it.
    ///
    /// # Errors
    /// When any of it is not so: nothing of the batch is taken then.
    pub fn verify(&self, share: &ShareId) -> Result<(PublicationHash, Vec<RecordHash>), BatchError> {
        let hashes: Vec<RecordHash> = self.records.iter().map(Record::hash).collect();
        // Hashes first: they are cheaper than the signature, and a liar's bytes mostly fail here.
        match &self.part {
            Part::Whole => self.publication.verify_all(&hashes)?,
            Part::Some(proofs) if proofs.len() != hashes.len() => {
                return Err(BatchError::Proofs { records: hashes.len(), proofs: proofs.len() });
            }
            Part::Some(proofs) => {
                for (hash, proof) in hashes.iter().zip(proofs) {
                    self.publication.verify_one(hash, proof)?;
                }
            }
        }
        let writer = self.publication.writer(share);
        if let Some(record) =
            self.records.iter().find(|record| record.copy_of.is_none() && record.dot.writer != writer)
        {
            return Err(BatchError::Writer(Box::new(record.clone())));
        }
        Ok((self.publication.verify(share)?, hashes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conflict;
    use crate::dot::Dot;
    use crate::heads::tests::{World, content};
    use crate::id::WriterSalt;
    use crate::key::DeviceKey;
    use crate::record::Kind;

    const SHARE: ShareId = ShareId::from_bytes([5; 32]);
    const SALT: WriterSalt = WriterSalt([6; 16]);

    fn published() -> Batch {
        let key = DeviceKey::from_seed(&[1; 32]);
        let writer = crate::id::Writer::drawn(&key.device(), &SHARE, &SALT);
        let mut world = World::new();
        let mut records: Vec<_> = (1..6)
            .map(|at| {
                let record = world.record(&format!("p{at}"), Kind::File { size: 1, content: content(at) });
                let dot = Dot::new(writer, u64::from(at));
                Record { dot, origin: dot, ..record }
            })
            .collect();
        records.push(conflict::copy_of(&records[0]));
        let hashes: Vec<_> = records.iter().map(Record::hash).collect();
        let publication = Publication::sign(&key, &SHARE, SALT, None, &hashes).unwrap();
        Batch { publication, part: Part::Whole, records }
    }

    fn lone(batch: &Batch, at: usize) -> Batch {
        let hashes: Vec<_> = batch.records.iter().map(Record::hash).collect();
        let proof = Publication::proof_of(&hashes, u16::try_from(at).unwrap()).unwrap();
        Batch { part: Part::Some(vec![proof]), records: vec![batch.records[at].clone()], ..batch.clone() }
    }

    #[test]
    fn whole_and_lone_records_are_proved() {
        let batch = published();
        let (hash, hashes) = batch.verify(&SHARE).unwrap();
        assert_eq!((hash, hashes.len()), (batch.publication.hash(&SHARE), 6));
        for (at, hash) in hashes.iter().enumerate() {
            assert_eq!(lone(&batch, at).verify(&SHARE).unwrap().1, [*hash]);
        }
    }

    #[test]
    fn d17_what_was_not_published_is_refused() {
        let batch = published();
        assert!(batch.verify(&ShareId::from_bytes([9; 32])).is_err(), "another share");
        let mut less = batch.clone();
        less.records.pop();
        assert!(matches!(less.verify(&SHARE), Err(BatchError::Publication(PublicationError::Records(5)))));
        let mut swapped = batch.clone();
        swapped.records.swap(0, 1);
        assert!(swapped.verify(&SHARE).is_err());
        let mut changed = lone(&batch, 2);
        changed.records[0].version.mode = crate::record::Mode::ZERO;
        assert!(matches!(changed.verify(&SHARE), Err(BatchError::Publication(PublicationError::Record(2)))));
        let unproved = Batch { part: Part::Some(Vec::new()), ..batch.clone() };
        assert_eq!(unproved.verify(&SHARE), Err(BatchError::Proofs { records: 6, proofs: 0 }));
        let mut forged = batch;
        forged.publication.device = DeviceKey::from_seed(&[2; 32]).device();
        assert!(forged.verify(&SHARE).is_err());
    }

    /// T8, I26: nobody publishes in another's name, though its own signature is good.
    #[test]
    fn a_record_under_anothers_writer_is_refused() {
        let mallory = DeviceKey::from_seed(&[3; 32]);
        let records = published().records;
        let hashes: Vec<_> = records.iter().map(Record::hash).collect();
        let publication = Publication::sign(&mallory, &SHARE, SALT, None, &hashes).unwrap();
        let batch = Batch { publication, part: Part::Whole, records };
        assert!(matches!(batch.verify(&SHARE), Err(BatchError::Writer(_))));
        let copy = lone(&batch, 5);
        assert!(copy.verify(&SHARE).is_ok(), "a conflict copy is the same whoever makes it");
    }
}
