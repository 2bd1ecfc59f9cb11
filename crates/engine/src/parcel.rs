//! Records and entries in messages that fit a frame.
//!
//! Promise: whatever is given comes out, in its order, in messages that [`Message::write`] takes. Records that were
//! published together stay together as far as a message goes; a publication that does not fit one goes in parts, each
//! record with its proof.

use shoal_proto::batch::{Batch, Part};
use shoal_proto::hash::{ContentId, RecordHash};
use shoal_proto::holding::HoldingMessage;
use shoal_proto::limits::{PUBLICATION_BYTES_MAX, RUN_BYTES_MAX, RUN_RECORDS_MAX};
use shoal_proto::merkle;
use shoal_proto::message::{Channel, Message};
use shoal_proto::reconcile::ReconcileMessage;
use shoal_proto::record::{Kind, Record};

/// Entries in one message come to at most so many bytes, if they are more than one.
const ENTRIES_BYTES_MAX: usize = 256 << 10;

/// Most entries in one message.
const ENTRIES_MAX: usize = 256;

/// A frame around a message, and what is short in it.
const FRAME_BYTES: usize = 64;

/// Messages of these records.
pub(crate) fn records(channel: Channel, batches: Vec<Batch>) -> Vec<Message> {
    let mut messages: Vec<Vec<Batch>> = Vec::new();
    let mut size = Size::default();
    for batch in batches.into_iter().flat_map(in_parts) {
        let own = Size::of(&batch.records);
        match messages.last_mut() {
            Some(message) if size.plus(own).fits() => message.push(batch),
            _ => {
                messages.push(vec![batch]);
                size = Size::default();
            }
        }
        size = size.plus(own);
    }
    messages.into_iter().map(|batches| Message::Records { channel, batches }).collect()
}

/// Messages of these entries.
pub(crate) fn roster(channel: Channel, entries: Vec<Vec<u8>>) -> Vec<Message> {
    let mut messages: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let length = entry.len();
        match messages.last_mut() {
            Some(message) if bytes + length <= ENTRIES_BYTES_MAX && message.len() < ENTRIES_MAX => {
                message.push(entry);
            }
            _ => {
                messages.push(vec![entry]);
                bytes = 0;
            }
        }
        bytes += length;
    }
    messages.into_iter().map(|entries| Message::Roster { channel, entries }).collect()
}

/// At most so many bytes on the wire, or a little more.
pub(crate) fn weight(message: &Message) -> u64 {
    let bytes = match message {
        Message::Records { batches, .. } => batches.iter().map(weight_of_batch).sum(),
        Message::Roster { entries, .. } => entries.iter().map(Vec::len).sum(),
        Message::Publications { publications, .. } => publications.len() * PUBLICATION_BYTES_MAX,
        Message::Offer { records, .. } | Message::WantRecords { records, .. } => {
            records.len() * size_of::<RecordHash>()
        }
        Message::Holding { message, .. } => weight_of_holding(message),
        Message::Reconcile { message, .. } => weight_of_comparing(message),
        _ => 0,
    };
    (FRAME_BYTES + bytes) as u64
}

fn weight_of_batch(batch: &Batch) -> usize {
    let proofs = match &batch.part {
        Part::Some(proofs) => proofs.iter().map(|proof| size_of_val(proof.path.as_slice())).sum(),
        Part::Whole => 0,
    };
    PUBLICATION_BYTES_MAX + proofs + Size::of(&batch.records).bytes
}

fn weight_of_holding(message: &HoldingMessage) -> usize {
    match message {
        HoldingMessage::Lacking { records, .. } | HoldingMessage::Have(records) => {
            records.len() * size_of::<RecordHash>()
        }
        HoldingMessage::Segments(part) => size_of::<ContentId>() + part.bits.len(),
        HoldingMessage::LackingMany => 0,
    }
}

fn weight_of_comparing(message: &ReconcileMessage) -> usize {
    match message {
        ReconcileMessage::Children { masks, digests } => {
            size_of_val(masks.as_slice()) + size_of_val(digests.as_slice())
        }
        ReconcileMessage::Page(page) => {
            size_of_val(page.leaves.as_slice()) + size_of_val(page.fingerprints.as_slice())
        }
        ReconcileMessage::Wanted(bits) => bits.len(),
        ReconcileMessage::Root { .. } | ReconcileMessage::Proof(_) | ReconcileMessage::Wait => 0,
    }
}

/// How much of a message records take.
#[derive(Clone, Copy, Default)]
struct Size {
    records: usize,
    bytes: usize,
}

impl Size {
    fn of(records: &[Record]) -> Self {
        Self { records: records.len(), bytes: records.iter().map(bytes_of).sum() }
    }

    fn plus(self, other: Self) -> Self {
        Self { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }

    fn fits(self) -> bool {
        self.records <= RUN_RECORDS_MAX && self.bytes <= RUN_BYTES_MAX
    }
}

/// At most so many bytes on the wire: names of writers are shared there, and paths with those before them.
fn bytes_of(record: &Record) -> usize {
    let target = match &record.version.kind {
        Kind::Symlink { target } => target.len(),
        _ => 0,
    };
    128 + record.path.as_bytes().len() + target + 24 * (record.seen.entries().len() + record.displaced.len())
}

/// The batch, or parts of it that each fit a message.
fn in_parts(batch: Batch) -> Vec<Batch> {
    if Size::of(&batch.records).fits() {
        return vec![batch];
    }
    let proofs = match batch.part {
        Part::Some(proofs) => proofs,
        Part::Whole => {
            let hashes: Vec<_> = batch.records.iter().map(Record::hash).collect();
            let places: Vec<u16> = (0_u16..).take(hashes.len()).collect();
            merkle::proofs(&hashes, &places).unwrap_or_default()
        }
    };
    let mut parts: Vec<Batch> = Vec::new();
    let mut size = Size::default();
    for (record, proof) in batch.records.into_iter().zip(proofs) {
        let own = Size::of(core::slice::from_ref(&record));
        match parts.last_mut() {
            Some(Batch { records, part: Part::Some(proofs), .. }) if size.plus(own).fits() => {
                records.push(record);
                proofs.push(proof);
            }
            _ => {
                let part = Part::Some(vec![proof]);
                parts.push(Batch { publication: batch.publication, part, records: vec![record] });
                size = Size::default();
            }
        }
        size = size.plus(own);
    }
    parts
}

#[cfg(test)]
mod tests {
    use shoal_proto::frame::RequestId;
    use shoal_proto::hash::ContentId;
    use shoal_proto::id::{ShareId, WriterSalt};
    use shoal_proto::key::DeviceKey;
    use shoal_proto::limits::{PATH_BYTES_MAX, PUBLICATION_RECORDS_MAX};
    use shoal_proto::path::RelPath;
    use shoal_proto::publication::Publication;
    use shoal_proto::record::{Mode, Timestamp, Version};

    use super::*;

    const CHANNEL: Channel = Channel(3);
    const SHARE: ShareId = ShareId::from_bytes([5; 32]);

    /// Records of this many paths of this length, published together.
    fn batch(count: usize, length: usize) -> Batch {
        let key = DeviceKey::from_seed(&[1; 32]);
        let salt = WriterSalt([2; 16]);
        let writer = shoal_proto::id::Writer::drawn(&key.device(), &SHARE, &salt);
        let records: Vec<Record> = (1..=count as u64)
            .map(|counter| {
                let dot = shoal_proto::dot::Dot::new(writer, counter);
                let mut path = format!("{counter:06}").into_bytes();
                while path.len() + 2 < length {
                    path.push(b'/');
                    path.extend(std::iter::repeat_n(b'x', (length - path.len()).min(200)));
                }
                let kind = Kind::File { size: 1, content: ContentId::from_bytes([7; 32]) };
                Record {
                    path: RelPath::parse(&path).unwrap(),
                    version: Version::new(kind, Timestamp::ZERO, Mode::from_bits(0o644)),
                    dot,
                    seen: shoal_proto::dot::Seen::default(),
                    origin: dot,
                    displaced: Box::default(),
                    copy_of: None,
                }
            })
            .collect();
        let hashes: Vec<_> = records.iter().map(Record::hash).collect();
        let publication = Publication::sign(&key, &SHARE, salt, None, &hashes).unwrap();
        Batch { publication, part: Part::Whole, records }
    }

    /// All of it comes out, in order, proved, in messages that can be written.
    fn check(batches: Vec<Batch>) -> usize {
        let given: Vec<Record> = batches.iter().flat_map(|batch| batch.records.clone()).collect();
        let messages = records(CHANNEL, batches);
        let mut came = Vec::new();
        for message in &messages {
            message.write(&mut Vec::new(), RequestId::NONE).unwrap();
            let Message::Records { batches, .. } = message else { panic!("{message:?}") };
            for batch in batches {
                batch.verify(&SHARE).unwrap();
                came.extend(batch.records.clone());
            }
        }
        assert_eq!(came, given);
        messages.len()
    }

    #[test]
    fn a_publication_that_fits_stays_whole_and_others_go_in_parts() {
        assert_eq!(check(vec![batch(PUBLICATION_RECORDS_MAX, 100)]), 1);
        assert_eq!(check(vec![batch(10, 100), batch(20, 100), batch(30, 100)]), 1, "several in one message");
        assert!(check(vec![batch(PUBLICATION_RECORDS_MAX, PATH_BYTES_MAX - 8)]) > 4, "some four megabytes");
        assert_eq!(check(Vec::new()), 0);
    }

    #[test]
    fn entries_come_in_messages_that_can_be_written() {
        let entries: Vec<Vec<u8>> =
            (0_u16..700).map(|at| vec![1; usize::from(at)]).chain([vec![2; 300 << 10]]).collect();
        let messages = roster(CHANNEL, entries.clone());
        let mut came = Vec::new();
        for message in messages {
            message.write(&mut Vec::new(), RequestId::NONE).unwrap();
            let Message::Roster { entries, .. } = message else { panic!("{message:?}") };
            came.extend(entries);
        }
        assert_eq!(came, entries);
    }
}
