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
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::chain::Chain;
    use crate::conflict;
    use crate::cut::CUT;
    use crate::dot::Dot;
    use crate::heads::tests::{World, content};
    use crate::id::{Writer, WriterSalt};
    use crate::key::{DeviceKey, InviteSecret};
    use crate::publication::Place;
    use crate::record::Kind;
    use crate::roster::{
        Delegation, Described, DeviceName, Entry, EntryPlace, Founding, Joined, Kept, Offer, Role, Roster,
        Standing, Statement,
    };

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

    /// F12: who lacks some of the records of a publication can pass on the others.
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

    /// A share of its creator (device 1), the writers 2 and 4, and the reader 3.
    struct Members {
        founding: Founding,
        entries: Vec<Entry>,
        last: Option<EntryPlace>,
    }

    fn device(number: u8) -> DeviceKey {
        DeviceKey::from_seed(&[number; 32])
    }

    impl Members {
        fn founded() -> Self {
            let founding = Founding { creator: device(1).device(), random: [5; 32], cut: CUT };
            let mut members = Self { founding, entries: Vec::new(), last: None };
            for (number, role) in [(2, Role::Writer), (3, Role::Reader), (4, Role::Writer)] {
                members.lets_in(number, role);
            }
            members
        }

        fn lets_in(&mut self, number: u8, role: Role) {
            let (share, key) = (self.founding.share(), device(number));
            let invite = InviteSecret::from_seed(&[number; 32]);
            let offer = Offer { role, uses: 1, not_after: u64::MAX };
            let delegation = Delegation::sign(&device(1), &share, invite.key(), offer, self.last).unwrap();
            let described =
                Described { name: DeviceName::parse("a device").unwrap(), box_key: key.box_key() };
            let joined = Joined::by(&invite, delegation, &share, &key.device(), described);
            let joined = Statement::Joined(Box::new(joined));
            self.entries.push(Entry::sign(&key, &share, None, joined).unwrap());
        }

        fn creator_says(&mut self, statement: Statement) {
            let entry = Entry::sign(&device(1), &self.founding.share(), self.last, statement).unwrap();
            self.last = Some(entry.place());
            self.entries.push(entry);
        }

        /// One record of a path that the device publishes after `last`, as the whole batch of it.
        fn publishes(&self, number: u8, last: Option<Place>, path: &str, counter: u64) -> (Place, Batch) {
            let share = self.founding.share();
            let dot = Dot::new(Writer::drawn(&device(number).device(), &share, &SALT), counter);
            let mut world = World::new();
            let records: Vec<_> = [path, "beside"]
                .map(|path| world.record(path, Kind::File { size: 1, content: content(number) }))
                .into_iter()
                .zip(0..)
                .map(|(record, at)| {
                    let dot = Dot { counter: dot.counter + at, ..dot };
                    Record { dot, origin: dot, ..record }
                })
                .collect();
            let hashes: Vec<_> = records.iter().map(Record::hash).collect();
            let publication = Publication::sign(&device(number), &share, SALT, last, &hashes).unwrap();
            let place = Place { sequence: publication.sequence, hash: publication.hash(&share) };
            (place, Batch { publication, part: Part::Whole, records })
        }

        /// What a receiver takes of a batch, whoever brings it: it asks the batch and the roster.
        fn takes(&self, batch: &Batch, chain: &Chain) -> Result<Vec<RecordHash>, Standing> {
            let share = self.founding.share();
            let (hash, records) = batch.verify(&share).unwrap();
            let publication = &batch.publication;
            let (writer, at) = (publication.writer(&share), Place { sequence: publication.sequence, hash });
            let roster = Roster::of(&self.founding, &self.entries);
            match roster.standing(&publication.device, writer, at, chain) {
                Standing::Counts => Ok(records),
                standing => Err(standing),
            }
        }
    }

    /// F12 (a), (b): two writers that never meet, and readers between them: a reader keeps one record of a
    /// publication and passes it on, and it is taken as its author's. What the reader says itself is not.
    #[test]
    fn i1_i26_a_reader_passes_on_what_a_writer_published() {
        let members = Members::founded();
        let nothing = Chain::default();
        let (_, batch) = members.publishes(2, None, "p", 1);
        let passed_on = lone(&batch, 0);
        assert_eq!(members.takes(&passed_on, &nothing), Ok(vec![batch.records[0].hash()]));
        let (_, own) = members.publishes(3, None, "p", 1);
        assert_eq!(members.takes(&lone(&own, 0), &nothing), Err(Standing::Reader));
        let (_, foreign) = members.publishes(9, None, "p", 1);
        assert_eq!(members.takes(&foreign, &nothing), Err(Standing::NotAMember));
    }

    /// F12 (d): one device learns of a removal today, another tomorrow; what the removed device gives to the second
    /// one meanwhile does not reach the first through it.
    #[test]
    fn i26_what_a_removed_author_published_is_refused_whoever_brings_it() {
        let mut members = Members::founded();
        let unaware = Members { entries: members.entries.clone(), ..members };
        let (first, before) = members.publishes(2, None, "p", 1);
        let (second, after) = members.publishes(2, Some(first), "q", 3);
        let (_, backdated) = members.publishes(2, Some(first), "r", 3);
        let mut chain = Chain::default();
        for batch in [&before, &after, &backdated] {
            chain.insert(batch.publication.hash(&members.founding.share()), &batch.publication);
        }
        assert_ne!(second.hash, backdated.publication.hash(&members.founding.share()));
        let writer = before.publication.writer(&members.founding.share());
        let publications = BTreeMap::from([(writer, BTreeSet::from([first]))]);
        let kept = Kept { publications, ..Kept::default() };
        members.creator_says(Statement::Removed { about: device(2).device(), kept });
        for batch in [&after, &backdated] {
            for batch in [batch.clone(), lone(batch, 0)] {
                assert!(unaware.takes(&batch, &chain).is_ok(), "who does not know yet takes it");
                assert_eq!(members.takes(&batch, &chain), Err(Standing::Void));
            }
        }
        assert!(members.takes(&lone(&before, 1), &chain).is_ok(), "what is named still counts");
        let (_, by_another) = members.publishes(4, None, "q", 1);
        assert!(members.takes(&by_another, &Chain::default()).is_ok());
    }

    /// F12 (c), T8, I26: nobody publishes in another's name, though its own signature is good.
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
