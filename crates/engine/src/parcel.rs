//! Records and entries in messages that fit a frame.
//!
//! Promise: whatever is given comes out, in its order, in messages that [`Message::write`] takes. Records that were
//! published together stay together as far as a message goes; a publication that does not fit one goes in parts, each
//! record with its proof.

use shoal_proto::batch::{Batch, Part};
use shoal_proto::limits::{RUN_BYTES_MAX, RUN_RECORDS_MAX};
use shoal_proto::message::{Channel, Message};
use shoal_proto::publication::Publication;
use shoal_proto::record::{Kind, Record};

/// Entries in one message come to at most so many bytes, if they are more than one.
const ENTRIES_BYTES_MAX: usize = 256 << 10;

/// Most entries in one message.
const ENTRIES_MAX: usize = 256;

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
            let places = 0..batch.publication.count;
            places.filter_map(|place| Publication::proof_of(&hashes, place)).collect()
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
