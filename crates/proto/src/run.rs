//! Runs of records on the wire: a table of writers, paths front-coded, what is usual left out.
//!
//! Promise: the same records come out, in the same order, each checked ([`Record::check`]); a run of at most
//! [`RUN_RECORDS_MAX`] records takes bounded memory whatever its bytes say; a bad one is refused whole, with the place
//! of the record that is bad.
//!
//! The hash of a record is never taken of these bytes, but of its canonical encoding.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::body::AtMost;
use crate::dot::{Dot, Seen, SeenError};
use crate::hash::ContentId;
use crate::id::Writer;
use crate::limits::{DISPLACED_MAX, RUN_BYTES_MAX, RUN_RECORDS_MAX, RUN_WRITERS_MAX, SEEN_ENTRIES_MAX};
use crate::path::RelPath;
use crate::record::{CopyOf, Kind, Mode, Record, RecordError, Timestamp, Version};

/// Why bytes are no run of records.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RunError {
    /// The beginning is no table of writers.
    #[error("records without a table of writers")]
    NoTable,
    /// More records, writers or bytes than a run may have.
    #[error("{0} {1} in one run of records; at most {2} are allowed")]
    TooMany(usize, &'static str, usize),
    /// The bytes of a record are none.
    #[error("record {0} of the run: bytes that are no record")]
    Malformed(usize),
    /// A writer that the table does not have.
    #[error("record {0} of the run: writer {1} is not in the table")]
    NoSuchWriter(usize, u32),
    /// More shared with the path before than that has.
    #[error("record {0} of the run: shares {1} bytes with a path of fewer")]
    NoSuchPrefix(usize, u32),
    /// No honest device makes it.
    #[error("record {0} of the run: {1}")]
    Record(usize, #[source] RecordError),
    /// Bytes after the last record.
    #[error("a run of records with {0} bytes after its end")]
    TrailingBytes(usize),
}

#[derive(Serialize, Deserialize)]
struct Table {
    writers: AtMost<[u8; 8], RUN_WRITERS_MAX>,
    records: u32,
}

#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    /// Bytes shared with the path before.
    kept: u32,
    #[serde(borrow)]
    rest: &'a [u8],
    what: What<'a>,
    history: History,
}

#[derive(Serialize, Deserialize)]
enum What<'a> {
    Gone { of: [u8; 32] },
    Symlink { target: &'a [u8], mtime: Mtime },
    File { size: u64, content: [u8; 32], mtime: Mtime, mode: u16 },
    Directory { mode: u16 },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Mtime(i64, u32);

#[derive(Serialize, Deserialize)]
enum History {
    /// New bytes: the origin is the own dot.
    New { dot: Numbered, seen: NumberedSeen },
    /// Bytes kept from elsewhere.
    Kept { dot: Numbered, origin: Numbered, seen: NumberedSeen, displaced: AtMost<Numbered, DISPLACED_MAX> },
    /// A conflict copy: its dot follows.
    Copy([u8; 32]),
}

/// A place in the table of writers, and a counter.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Numbered(u32, u64);

type NumberedSeen = AtMost<Numbered, SEEN_ENTRIES_MAX>;

/// The encoding of a run of records, and how many of them it holds: all, or as many as fit [`RUN_BYTES_MAX`] and
/// [`RUN_RECORDS_MAX`]. A record by itself always fits.
#[must_use]
pub fn encode_run(records: &[Record]) -> (Vec<u8>, usize) {
    let mut table = WriterTable::default();
    let (mut entries, mut taken) = (Vec::new(), 0);
    let mut before: &[u8] = b"";
    for record in records.iter().take(RUN_RECORDS_MAX) {
        let writers_before = table.writers.len();
        let entry = table.entry(record, before);
        let ends = entries.len();
        #[expect(clippy::expect_used, reason = "writing plain values into a Vec cannot fail")]
        {
            entries = postcard::to_extend(&entry, entries).expect("a record can be written");
        }
        let is_first = taken == 0;
        let bytes = entries.len() + 8 * table.writers.len();
        if !is_first && (bytes > RUN_BYTES_MAX || table.writers.len() > RUN_WRITERS_MAX) {
            entries.truncate(ends);
            table.writers.truncate(writers_before);
            break;
        }
        taken += 1;
        before = record.path.as_bytes();
    }
    let head = Table {
        writers: table.writers.into_iter().collect(),
        records: u32::try_from(taken).unwrap_or(u32::MAX),
    };
    #[expect(clippy::expect_used, reason = "writing plain values into a Vec cannot fail")]
    let mut bytes = postcard::to_extend(&head, Vec::new()).expect("a table can be written");
    bytes.append(&mut entries);
    (bytes, taken)
}

/// The records of a run.
///
/// # Errors
/// When the bytes are none; the first thing that is wrong.
pub fn decode_run(bytes: &[u8]) -> Result<Vec<Record>, RunError> {
    if bytes.len() > RUN_BYTES_MAX + TABLE_BYTES_MAX {
        return Err(RunError::TooMany(bytes.len(), "bytes", RUN_BYTES_MAX));
    }
    let (table, mut rest) = postcard::take_from_bytes::<Table>(bytes).map_err(|_| RunError::NoTable)?;
    let count = usize::try_from(table.records).unwrap_or(usize::MAX);
    if count > RUN_RECORDS_MAX {
        return Err(RunError::TooMany(count, "records", RUN_RECORDS_MAX));
    }
    let too_many = |count| RunError::TooMany(count, "writers", RUN_WRITERS_MAX);
    let writers = table.writers.all().map_err(too_many)?;
    // No record takes fewer bytes than this, so a count that lies costs nothing.
    let mut records: Vec<Record> = Vec::with_capacity(count.min(rest.len() / ENTRY_BYTES_MIN));
    for at in 0..count {
        let (entry, after) =
            postcard::take_from_bytes::<Entry<'_>>(rest).map_err(|_| RunError::Malformed(at))?;
        rest = after;
        let before = records.last().map_or(&b""[..], |record| record.path.as_bytes());
        records.push(entry.into_record(at, before, &writers)?);
    }
    if !rest.is_empty() {
        return Err(RunError::TrailingBytes(rest.len()));
    }
    Ok(records)
}

/// The smallest entry: a folder in the table's first writer's name.
const ENTRY_BYTES_MIN: usize = 8;

/// What stands before the entries, beside what [`RUN_BYTES_MAX`] counts: two varints.
const TABLE_BYTES_MAX: usize = 10;

#[derive(Default)]
struct WriterTable {
    writers: Vec<[u8; 8]>,
    places: BTreeMap<Writer, u32>,
}

impl WriterTable {
    fn number(&mut self, dot: Dot) -> Numbered {
        let next = u32::try_from(self.writers.len()).unwrap_or(u32::MAX);
        let place = *self.places.entry(dot.writer).or_insert(next);
        if place == next {
            self.writers.push(dot.writer.to_bytes());
        }
        Numbered(place, dot.counter)
    }

    fn entry<'a>(&mut self, record: &'a Record, before: &[u8]) -> Entry<'a> {
        let path = record.path.as_bytes();
        let kept = path.iter().zip(before).take_while(|(one, other)| one == other).count();
        let Version { kind, mtime, mode } = &record.version;
        let (mtime, mode) = (Mtime(mtime.seconds, mtime.nanos()), mode.bits());
        let what = match kind {
            Kind::Gone { of } => What::Gone { of: *of.as_bytes() },
            Kind::Symlink { target } => What::Symlink { target, mtime },
            Kind::File { size, content } => {
                What::File { size: *size, content: *content.as_bytes(), mtime, mode }
            }
            Kind::Directory => What::Directory { mode },
        };
        Entry {
            kept: u32::try_from(kept).unwrap_or(u32::MAX),
            rest: &path[kept..],
            what,
            history: self.history(record),
        }
    }

    fn history(&mut self, record: &Record) -> History {
        if let Some(copy_of) = record.copy_of {
            return History::Copy(copy_of.0);
        }
        let dot = self.number(record.dot);
        let seen = record.seen.entries().map(|entry| self.number(entry)).collect();
        if record.origin == record.dot {
            return History::New { dot, seen };
        }
        let displaced = record.displaced.iter().map(|origin| self.number(*origin)).collect();
        History::Kept { dot, origin: self.number(record.origin), seen, displaced }
    }
}

impl Entry<'_> {
    fn into_record(self, at: usize, before: &[u8], writers: &[[u8; 8]]) -> Result<Record, RunError> {
        let kept = usize::try_from(self.kept).ok().and_then(|kept| before.get(..kept));
        let kept = kept.ok_or(RunError::NoSuchPrefix(at, self.kept))?;
        let bad = |error: RecordError| RunError::Record(at, error);
        let path = RelPath::parse(&[kept, self.rest].concat()).map_err(|error| bad(error.into()))?;
        let version = self.what.into_version().map_err(bad)?;
        let dot = |numbered: Numbered| {
            let place = usize::try_from(numbered.0).ok();
            let writer =
                place.and_then(|place| writers.get(place)).ok_or(RunError::NoSuchWriter(at, numbered.0))?;
            Ok(Dot::new(Writer::from_bytes(*writer), numbered.1))
        };
        let dots = |numbered: Vec<Numbered>| {
            let mut dots = numbered.into_iter().map(dot).collect::<Result<Vec<_>, RunError>>()?;
            // Writers stand in the table as they were met, a record's in their own order.
            dots.sort_unstable();
            Ok(dots)
        };
        let all_seen = |seen: NumberedSeen| {
            let seen = seen.all().map_err(|count| bad(SeenError::TooMany(count).into()))?;
            Seen::new(dots(seen)?).map_err(|error| bad(error.into()))
        };
        let none = Box::default();
        let (dot, origin, seen, displaced, copy_of) = match self.history {
            History::New { dot: own, seen } => (dot(own)?, dot(own)?, all_seen(seen)?, none, None),
            History::Kept { dot: own, origin, seen, displaced } => {
                let displaced = displaced.all().map_err(|_| bad(RecordError::Displaced))?;
                (dot(own)?, dot(origin)?, all_seen(seen)?, dots(displaced)?.into(), None)
            }
            History::Copy(hash) => {
                let copy_of = CopyOf(hash);
                let dot = copy_of.dot(&version.kind.content()).0;
                (dot, dot, Seen::default(), none, Some(copy_of))
            }
        };
        Record { path, version, dot, seen, origin, displaced, copy_of }.check().map_err(bad)
    }
}

impl What<'_> {
    fn into_version(self) -> Result<Version, RecordError> {
        let time = |mtime: Mtime| Timestamp::new(mtime.0, mtime.1).ok_or(RecordError::Nanos(mtime.1));
        let bits = |mode: u16| match mode {
            0..=0o777 => Ok(Mode::from_bits(u32::from(mode))),
            _ => Err(RecordError::NotItsKind),
        };
        let (kind, mtime, mode) = match self {
            Self::Gone { of } => (Kind::Gone { of: ContentId::from_bytes(of) }, Timestamp::ZERO, Mode::ZERO),
            Self::Symlink { target, mtime } => {
                (Kind::Symlink { target: target.into() }, time(mtime)?, Mode::ZERO)
            }
            Self::File { size, content, mtime, mode } => {
                (Kind::File { size, content: ContentId::from_bytes(content) }, time(mtime)?, bits(mode)?)
            }
            Self::Directory { mode } => (Kind::Directory, Timestamp::ZERO, bits(mode)?),
        };
        Ok(Version { kind, mtime, mode })
    }
}

#[cfg(test)]
mod tests;
