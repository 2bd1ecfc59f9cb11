//! One version of one path.
//!
//! Promise: a [`Record`] that came from others is one that an honest device could have made (decoding ends with
//! [`Record::check`]), and its canonical encoding, which is what is hashed and signed, is frozen. What a kind does not have is zero,
//! so that an order over whole records is total and the same everywhere.

mod encoding;

use crate::dot::{Dot, Seen, SeenError};
use crate::hash::{ContentId, Domain, RecordHash};
use crate::id::Writer;
use crate::limits::{DISPLACED_MAX, FILE_BYTES_MAX, SEEN_ENTRIES_MAX, SYMLINK_TARGET_BYTES_MAX};
use crate::path::{RelPath, RelPathError};

/// What a path is.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Kind {
    /// Nothing any more.
    Gone {
        /// The content that was deleted, so that a device that still holds it, and lost its index, knows that it is
        /// meant: [`Kind::content`] of what was there.
        of: ContentId,
    },
    /// A symbolic link. Never followed; its target is data.
    Symlink {
        /// Its text: 1 to [`SYMLINK_TARGET_BYTES_MAX`] bytes, no NUL.
        target: Box<[u8]>,
    },
    /// A file.
    File {
        /// Bytes.
        size: u64,
        /// Their name.
        content: ContentId,
    },
    /// A folder.
    Directory,
}

impl Kind {
    /// The name of what is there: of a file its content, of a link a hash of its target, of a folder
    /// [`ContentId::NONE`]. Of what is gone, the name of what it was.
    #[must_use]
    pub fn content(&self) -> ContentId {
        match self {
            Self::Gone { of } => *of,
            Self::Symlink { target } => ContentId::from_bytes(Domain::SYMLINK.hash_one(target)),
            Self::File { content, .. } => *content,
            Self::Directory => ContentId::NONE,
        }
    }

    /// Whether both show the same: the same bytes, the same target, two folders, or nothing on both sides.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Gone { .. }, Self::Gone { .. }) => true,
            _ => self == other,
        }
    }

    /// Whether nothing is there any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    /// Whether what is here would be lost if something else took its place: a file or a link.
    #[must_use]
    pub fn holds_data(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Symlink { .. })
    }

    /// Anything over gone, a folder over a file over a link.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::Gone { .. } => 0,
            Self::Symlink { .. } => 1,
            Self::File { .. } => 2,
            Self::Directory => 3,
        }
    }
}

/// A time as file systems know it: seconds since 1970, UTC, and nanoseconds.
///
/// Only ever compared with others of its sort, to break a tie or to be shown: nothing rests on clocks (I29).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00 UTC; before it, negative.
    pub seconds: i64,
    nanos: u32,
}

impl Timestamp {
    /// What stands where a kind has no time.
    pub const ZERO: Self = Self { seconds: 0, nanos: 0 };

    /// The time so many nanoseconds after the second; `None` from 10^9 on.
    #[must_use]
    pub const fn new(seconds: i64, nanos: u32) -> Option<Self> {
        if nanos < 1_000_000_000 { Some(Self { seconds, nanos }) } else { None }
    }

    /// Nanoseconds after the second, below 10^9.
    #[must_use]
    pub const fn nanos(self) -> u32 {
        self.nanos
    }
}

/// The permission bits of a path: the lowest nine, no others. Setuid, setgid and sticky never come from elsewhere.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Mode(u16);

impl Mode {
    /// What stands where a kind has no mode.
    pub const ZERO: Self = Self(0);

    /// What a folder gets that nobody published: `rwxr-xr-x`.
    pub const IMPLIED_DIRECTORY: Self = Self(0o755);

    /// The permission bits of a Unix mode; all others are dropped.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self((bits & 0o777) as u16)
    }

    /// The nine bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }
}

/// What a user sees of a path: what it is, since when, and who may do what.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Version {
    /// What it is.
    pub kind: Kind,
    /// When a file's or link's content was last changed; zero for folders, whose times change with their children,
    /// and for what is gone.
    pub mtime: Timestamp,
    /// Permissions of a file or folder; zero for links and for what is gone.
    pub mode: Mode,
}

impl Version {
    /// A version of this kind, with zeros where the kind has no time or mode.
    #[must_use]
    pub fn new(kind: Kind, mtime: Timestamp, mode: Mode) -> Self {
        let (mtime, mode) = match kind {
            Kind::Gone { .. } => (Timestamp::ZERO, Mode::ZERO),
            Kind::Symlink { .. } => (mtime, Mode::ZERO),
            Kind::File { .. } => (mtime, mode),
            Kind::Directory => (Timestamp::ZERO, mode),
        };
        Self { kind, mtime, mode }
    }

    /// The deletion of this version.
    #[must_use]
    pub fn deleted(&self) -> Self {
        Self::new(Kind::Gone { of: self.kind.content() }, Timestamp::ZERO, Mode::ZERO)
    }
}

/// What a conflict copy is a copy of: the hash of the loser's path and origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct CopyOf(pub [u8; 32]);

impl CopyOf {
    /// The dot of the copy with this content, and the hash that it is cut from.
    pub(crate) fn dot(&self, content: &ContentId) -> (Dot, [u8; 32]) {
        let hash = Domain::COPY_DOT.hash(&[&self.0, content.as_bytes()]);
        (Dot::new(Writer::from_bytes(crate::id::first_eight(&hash)), 1), hash)
    }
}

/// One version of one path, with its place in history: who made it, and what they had seen.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Record {
    /// Where.
    pub path: RelPath,
    /// What.
    pub version: Version,
    /// The name of this record. Two different records with one dot (a cloned device) are both kept.
    pub dot: Dot,
    /// What the author's disk had shown of this path. Never includes the own dot.
    pub seen: Seen,
    /// The dot of the user's version whose bytes this carries: new bytes, the own dot; a resolution, a new mode or
    /// time alone keep the origin of the bytes.
    pub origin: Dot,
    /// Origins that were seen and not replaced: versions that only lost, and stand in conflict copies. In order; empty
    /// where the bytes are new, because those replace all that their author saw.
    pub displaced: Box<[Dot]>,
    /// For a conflict copy: of what. The rest of such a record follows from the loser's.
    pub copy_of: Option<CopyOf>,
}

/// Why something is no record that an honest device could have made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RecordError {
    /// Its path is none.
    #[error("a record of {0}")]
    Path(#[from] RelPathError),
    /// What it has seen is no list.
    #[error("a record of {0}")]
    Seen(#[from] SeenError),
    /// Not bytes of a record.
    #[error("bytes that are no record")]
    Malformed,
    /// Its bytes go on after its end.
    #[error("a record with {0} bytes after its end")]
    TrailingBytes(usize),
    /// A kind that this version of Shoal does not know.
    #[error("a record of unknown kind {0}")]
    UnknownKind(u8),
    /// A size above [`FILE_BYTES_MAX`].
    #[error("a file of {0} bytes; at most {FILE_BYTES_MAX} are allowed")]
    TooLarge(u64),
    /// Size zero with the name of some content, or the reverse.
    #[error("a file whose size and content contradict each other")]
    SizeAgainstContent,
    /// An empty target, a long one, or one with NUL.
    #[error("a link with a target that no disk could hold")]
    Target,
    /// Nanoseconds from 10^9 on.
    #[error("a time with {0} nanoseconds")]
    Nanos(u32),
    /// A time or mode where the kind has none, or bits above 0777.
    #[error("a record with a time or mode that its kind does not have")]
    NotItsKind,
    /// Counters begin at 1.
    #[error("a record with number 0; the first is 1")]
    Zero,
    /// The own dot is in its own seen.
    #[error("a record that claims to have seen itself")]
    SawItself,
    /// An origin that is neither its own dot nor seen.
    #[error("a record that carries bytes which its author had not seen")]
    UnseenOrigin,
    /// Displaced origins out of order, unseen, or beside new bytes.
    #[error("a record that displaces what it cannot have displaced")]
    Displaced,
    /// A conflict copy that is not what its `copy_of` says.
    #[error("a conflict copy that does not follow from what it copies")]
    FalseCopy,
}

impl Record {
    /// Checks what holds of every honest record.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(self) -> Result<Self, RecordError> {
        if self.seen.entries().len() > SEEN_ENTRIES_MAX {
            return Err(SeenError::TooMany(self.seen.entries().len()).into());
        }
        if self.displaced.len() > DISPLACED_MAX {
            return Err(RecordError::Displaced);
        }
        let Version { kind, mtime, mode } = &self.version;
        match kind {
            Kind::File { size, .. } if *size > FILE_BYTES_MAX => return Err(RecordError::TooLarge(*size)),
            Kind::File { size, content } if (*size == 0) != (*content == ContentId::of_nothing()) => {
                return Err(RecordError::SizeAgainstContent);
            }
            Kind::Symlink { target } if !is_target(target) => return Err(RecordError::Target),
            _ => {}
        }
        if Version::new(kind.clone(), *mtime, *mode) != self.version {
            return Err(RecordError::NotItsKind);
        }
        if self.dot.counter == 0 || self.origin.counter == 0 {
            return Err(RecordError::Zero);
        }
        if self.seen.includes(self.dot) {
            return Err(RecordError::SawItself);
        }
        if self.origin != self.dot && !self.seen.includes(self.origin) {
            return Err(RecordError::UnseenOrigin);
        }
        let is_kept =
            |origin: &Dot| self.seen.includes(*origin) && *origin != self.origin && origin.counter > 0;
        let in_order = self.displaced.is_sorted_by(|one, next| one < next);
        if !in_order
            || !self.displaced.iter().all(is_kept)
            || self.origin == self.dot && !self.displaced.is_empty()
        {
            return Err(RecordError::Displaced);
        }
        if self.copy_of.is_some() && !crate::conflict::is_true_copy(&self) {
            return Err(RecordError::FalseCopy);
        }
        Ok(self)
    }

    /// Whether a user whose work is in this record saw the version with this origin and replaced it. What it only
    /// displaced, or carries itself, it did not replace.
    #[must_use]
    pub fn replaces(&self, origin: Dot) -> bool {
        self.origin != origin && self.seen.includes(origin) && self.displaced.binary_search(&origin).is_err()
    }

    /// Whether its author had seen that record, and all that its author had seen: only then that one is a head no more.
    ///
    /// Of honest records the first says the second. Asking for both makes this an order of whatever others may say:
    /// else of records that claim to have seen each other, whichever came first would be kept, for ever. A *seen* without
    /// room for more may leave out what the other one claimed ([`SEEN_ENTRIES_MAX`]); nobody honest ever fills one.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        let is_full = || self.seen.entries().len() >= SEEN_ENTRIES_MAX;
        self.seen.includes(other.dot) && (self.seen.includes_all(&other.seen) || is_full())
    }

    /// The same version under another dot, as a version of its own: for one that a removal made void, but that a
    /// disk of ours shows. It keeps what the author had seen, so it conflicts with what
    /// came meanwhile instead of replacing it. One that displaced something keeps nothing of it: the copies that it made
    /// are void with it, so what it displaced must be able to come back.
    #[must_use]
    pub fn reissued(&self, dot: Dot) -> Self {
        let seen = if self.displaced.is_empty() { self.seen.clone() } else { Seen::default() };
        Self { dot, origin: dot, seen, displaced: Box::default(), copy_of: None, ..self.clone() }
    }

    /// The same version under another dot, for a record of a writer whose index turned out to be rolled back. `agreed` is
    /// the writer's last dot that means the same to everybody: what this record had seen of the writer beyond that is
    /// not what others know by these numbers, and must not cover it.
    #[must_use]
    pub fn reissued_after(&self, agreed: Dot, dot: Dot) -> Self {
        let seen = self.seen.up_to(agreed);
        Self { dot, origin: dot, seen, displaced: Box::default(), copy_of: None, ..self.clone() }
    }

    /// The hash of the canonical encoding: what a publication signs, and the record's fingerprint in the digests.
    #[must_use]
    pub fn hash(&self) -> RecordHash {
        RecordHash::from_bytes(Domain::RECORD.hash_one(&self.encode()))
    }
}

fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && target.len() <= SYMLINK_TARGET_BYTES_MAX && !target.contains(&0)
}

#[cfg(test)]
mod tests;
