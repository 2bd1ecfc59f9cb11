//! The canonical encoding of a record: postcard (varints, no tags) over the fields in the order below. Frozen.
//!
//! A record is hashed in this form only, made from the value, never from bytes as they came: so two encodings of one
//! record cannot have two hashes.

use serde::{Deserialize, Serialize};

use super::{CopyOf, Kind, Mode, Record, RecordError, Timestamp, Version};
use crate::dot::{Dot, Seen};
use crate::hash::ContentId;
use crate::id::Writer;
use crate::limits::{DISPLACED_MAX, RECORD_BYTES_MAX, SEEN_ENTRIES_MAX};
use crate::path::RelPath;

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    path: &'a [u8],
    kind: KindWire<'a>,
    seconds: i64,
    nanos: u32,
    mode: u16,
    dot: DotWire,
    origin: DotWire,
    copy_of: Option<[u8; 32]>,
    seen: Vec<DotWire>,
    displaced: Vec<DotWire>,
}

#[derive(Serialize, Deserialize)]
enum KindWire<'a> {
    Gone { of: [u8; 32] },
    Symlink { target: &'a [u8] },
    File { size: u64, content: [u8; 32] },
    Directory,
}

/// A writer's eight bytes and a counter.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct DotWire([u8; 8], u64);

impl Record {
    /// The canonical encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            path: self.path.as_bytes(),
            kind: match &self.version.kind {
                Kind::Gone { of } => KindWire::Gone { of: *of.as_bytes() },
                Kind::Symlink { target } => KindWire::Symlink { target },
                Kind::File { size, content } => KindWire::File { size: *size, content: *content.as_bytes() },
                Kind::Directory => KindWire::Directory,
            },
            seconds: self.version.mtime.seconds,
            nanos: self.version.mtime.nanos,
            mode: self.version.mode.bits(),
            dot: self.dot.into(),
            origin: self.origin.into(),
            copy_of: self.copy_of.map(|copy| copy.0),
            seen: self.seen.entries().map(DotWire::from).collect(),
            displaced: self.displaced.iter().copied().map(DotWire::from).collect(),
        };
        let buffer = Vec::with_capacity(160 + wire.path.len() + 18 * wire.seen.len());
        #[expect(clippy::expect_used, reason = "writing plain values into a Vec cannot fail")]
        postcard::to_extend(&wire, buffer).expect("a record can be written")
    }

    /// The record with this encoding.
    ///
    /// # Errors
    /// When the bytes are none, or no honest device could have made it.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::Malformed);
        }
        let (wire, rest) =
            postcard::take_from_bytes::<Wire<'_>>(bytes).map_err(|_| RecordError::Malformed)?;
        if !rest.is_empty() {
            return Err(RecordError::TrailingBytes(rest.len()));
        }
        wire.into_record()
    }
}

impl Wire<'_> {
    fn into_record(self) -> Result<Record, RecordError> {
        if self.seen.len() > SEEN_ENTRIES_MAX {
            return Err(crate::dot::SeenError::TooMany(self.seen.len()).into());
        }
        if self.displaced.len() > DISPLACED_MAX {
            return Err(RecordError::Displaced);
        }
        if self.mode > 0o777 {
            return Err(RecordError::NotItsKind);
        }
        let kind = match self.kind {
            KindWire::Gone { of } => Kind::Gone { of: ContentId::from_bytes(of) },
            KindWire::Symlink { target } => Kind::Symlink { target: target.into() },
            KindWire::File { size, content } => Kind::File { size, content: ContentId::from_bytes(content) },
            KindWire::Directory => Kind::Directory,
        };
        let mtime = Timestamp::new(self.seconds, self.nanos).ok_or(RecordError::Nanos(self.nanos))?;
        let version = Version { kind, mtime, mode: Mode::from_bits(u32::from(self.mode)) };
        Record {
            path: RelPath::parse(self.path)?,
            version,
            dot: self.dot.into(),
            seen: Seen::new(self.seen.into_iter().map(Dot::from).collect())?,
            origin: self.origin.into(),
            displaced: self.displaced.into_iter().map(Dot::from).collect(),
            copy_of: self.copy_of.map(CopyOf),
        }
        .check()
    }
}

impl From<Dot> for DotWire {
    fn from(dot: Dot) -> Self {
        Self(dot.writer.to_bytes(), dot.counter)
    }
}

impl From<DotWire> for Dot {
    fn from(wire: DotWire) -> Self {
        Self::new(Writer::from_bytes(wire.0), wire.1)
    }
}
