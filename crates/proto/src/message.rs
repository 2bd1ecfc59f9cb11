//! What peers say to each other.
//!
//! Promise: each message is a frame ([`crate::frame`]) of its own type; what decodes is within the bounds of
//! [`crate::limits`]; a message that is bad is refused with its type's name and what is wrong with it, and costs no
//! more than its frame. Which message may come when is for the engine to see. The types and bodies are frozen (golden
//! bytes in the tests); new ones get new types.
//!
//! A connection begins with [`Message::Hello`] from both ends, then [`Message::Shares`]: a share that both have is a
//! *channel*, named by its place in the dialler's list.

mod wire;

use crate::batch::Batch;
use crate::body::BodyError;
use crate::frame::FrameError;
use crate::hash::{ContentId, RecordHash};
use crate::holding::HoldingMessage;
use crate::id::{Writer, WriterSalt};
use crate::publication::{Place, Publication};
use crate::reconcile::ReconcileMessage;
use crate::roster::{JoinRefusal, Void};
use crate::run::RunError;
use crate::secret::ShareProof;

/// The versions of the protocol that this program speaks.
pub const VERSIONS: Versions = Versions { from: 1, to: 1 };

/// The application protocol that TLS agrees on; its number changes only when even a hello would not be understood.
pub const ALPN: &[u8] = b"shoal/1";

/// A range of versions of the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Versions {
    /// The oldest.
    pub from: u16,
    /// The newest.
    pub to: u16,
}

impl Versions {
    /// The newest version that both speak.
    ///
    /// # Errors
    /// When there is none; says which ones each speaks.
    pub fn agree(self, theirs: Self) -> Result<u16, VersionsError> {
        let newest = self.to.min(theirs.to);
        if newest >= self.from.max(theirs.from) {
            Ok(newest)
        } else {
            Err(VersionsError { ours: self, theirs })
        }
    }
}

/// Two peers that have no version in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the other side speaks version {theirs} of the protocol, this side {ours}; the older one needs an update"
)]
pub struct VersionsError {
    /// Ours.
    pub ours: Versions,
    /// Theirs.
    pub theirs: Versions,
}

impl core::fmt::Display for Versions {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.from == self.to {
            write!(out, "{}", self.from)
        } else {
            write!(out, "{} to {}", self.from, self.to)
        }
    }
}

/// A share on a connection: its place in the dialler's list of proofs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Channel(pub u16);

/// Why a peer says goodbye.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Goodbye {
    /// It stops.
    Stopping,
    /// No version in common.
    Version,
    /// Nothing in common: no share whose roster holds the other device.
    NothingInCommon,
    /// The same device is connected already, with another writer: a cloned device.
    Clone,
    /// It has as many connections as it wants.
    Busy,
    /// The other one broke the protocol.
    Protocol,
}

/// Why a device that shows an invite is not let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// By the clock of who was asked.
    #[error("the invite has expired")]
    Expired,
    /// Others came first.
    #[error("the invite was used up by others")]
    UsedUp,
    /// By its admin, or by one above.
    #[error("the invite was taken back")]
    Revoked,
    /// Who removed the device, or one nearer to the creator, has to invite it.
    #[error("this device was removed, and the invite is not by one who can let it in again")]
    Removed,
    /// The invite is by none, or by one that was removed.
    #[error("who gave the invite is no admin of the share")]
    NoAdmin,
    /// For another reason.
    #[error("the invite does not let this device in")]
    Other,
}

impl From<JoinRefusal> for Refusal {
    fn from(refusal: JoinRefusal) -> Self {
        match refusal {
            JoinRefusal::Expired => Self::Expired,
            JoinRefusal::UsedUp => Self::UsedUp,
            JoinRefusal::Revoked => Self::Revoked,
            JoinRefusal::Removed(_) => Self::Removed,
            JoinRefusal::NoAdmin(_) => Self::NoAdmin,
            JoinRefusal::Void(void) => void.into(),
            JoinRefusal::NoInvite | JoinRefusal::Member => Self::Other,
        }
    }
}

impl From<Void> for Refusal {
    fn from(void: Void) -> Self {
        match void {
            Void::UsedUp => Self::UsedUp,
            Void::Revoked => Self::Revoked,
            Void::NoAdmin | Void::Cut => Self::NoAdmin,
            _ => Self::Other,
        }
    }
}

/// Why content is not served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unserved {
    /// No head of this share names it.
    Foreign,
    /// It is named, but not here (any more).
    Absent,
    /// It is changing or unreadable; worth another try later.
    Busy,
}

/// Bytes of a content that are asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Span {
    /// From which byte of the segment on.
    pub from: u32,
    /// How many; at least one, and within the segment.
    pub length: u32,
}

/// What a peer says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message {
    /// The first message of each end.
    Hello {
        /// What the sender speaks.
        versions: Versions,
        /// The program and its version, to be shown; at most [`crate::limits::AGENT_BYTES_MAX`] bytes.
        agent: String,
    },
    /// The shares that the sender has, in a form that only who has them too can tell.
    Shares(Vec<ShareProof>),
    /// The sender's state in a share that both have; begins a channel.
    Opened {
        /// Which.
        channel: Channel,
        /// What the sender's writer was drawn with.
        salt: WriterSalt,
        /// Its last publication, if there is one.
        published: Option<Place>,
        /// Its part of the nonce for reconciling.
        nonce: [u8; 16],
        /// How many records it has; a side with none gets all in one stream.
        records: u64,
        /// The hash of its roster's entries.
        roster: [u8; 32],
    },
    /// What the sender knows of the other's writer: a device that was rolled back learns it here, before it says more
    /// ([`crate::chain::told`]).
    Known {
        /// Where.
        channel: Channel,
        /// The last publication known of the other's writer, as the other one signed it: a bare number would be
        /// anybody's word, and each such word would cost the other a writer. Not verified yet.
        published: Option<Box<Publication>>,
    },
    /// Entries of the roster.
    Roster {
        /// Where.
        channel: Channel,
        /// In their own encoding, in any order: only who knows the share can check them ([`crate::roster::Entry::decode`]).
        entries: Vec<Vec<u8>>,
    },
    /// The other end is not let into the share, in spite of the invite that it shows; nothing more is said of the share.
    Refused {
        /// Where.
        channel: Channel,
        /// Why.
        why: Refusal,
    },
    /// A step of reconciling.
    Reconcile {
        /// Where.
        channel: Channel,
        /// The step.
        message: ReconcileMessage,
    },
    /// Records with what proves them; those published together come in one message or an unbroken run of them.
    Records {
        /// Where.
        channel: Channel,
        /// By publication.
        batches: Vec<Batch>,
    },
    /// New records that the sender has, by hash.
    Offer {
        /// Where.
        channel: Channel,
        /// Which.
        records: Vec<RecordHash>,
    },
    /// Records that the sender wants.
    WantRecords {
        /// Where.
        channel: Channel,
        /// Which.
        records: Vec<RecordHash>,
    },
    /// Publications of a writer that the sender wants, to see its chain.
    WantPublications {
        /// Where.
        channel: Channel,
        /// Whose.
        writer: Writer,
        /// From this number on.
        from: u64,
        /// Up to this one.
        to: u64,
    },
    /// Publications without records, in the order of their numbers.
    Publications {
        /// Where.
        channel: Channel,
        /// The chain, or a part.
        publications: Vec<Publication>,
    },
    /// What the sender has and lacks.
    Holding {
        /// Where.
        channel: Channel,
        /// Complete, lacking, have.
        message: HoldingMessage,
    },
    /// Whole small contents; answered by [`Message::Content`], one after the other.
    WantContents {
        /// Where.
        channel: Channel,
        /// Which.
        contents: Vec<ContentId>,
    },
    /// Bytes of the contents asked for.
    Content {
        /// The place in the request.
        number: u32,
        /// From which byte of it on.
        from: u64,
        /// Whether it ends here.
        is_last: bool,
        /// At most [`crate::limits::FRAME_CONTENT_BYTES_MAX`].
        bytes: Vec<u8>,
    },
    /// The list of segments of a content, or one page of a long one; answered by [`Message::List`].
    WantList {
        /// Where.
        channel: Channel,
        /// Of what.
        content: ContentId,
        /// Which page; none asks for the list itself, or for the index of its pages.
        page: Option<u32>,
    },
    /// A list of segments, an index or a page (`segment`), or a list of chunks (`chunk`), in its own encoding: only who
    /// asked knows by what to check it.
    List(Vec<u8>),
    /// Bytes of one segment; answered by [`Message::Content`] with the places counted in spans.
    WantSegment {
        /// Where.
        channel: Channel,
        /// Of what.
        content: ContentId,
        /// Which segment of its list, from 0.
        segment: u32,
        /// Which bytes, in order and apart from each other.
        spans: Vec<Span>,
    },
    /// The list of chunks of one segment; answered by [`Message::List`].
    WantChunks {
        /// Where.
        channel: Channel,
        /// Of what.
        content: ContentId,
        /// Which segment of its list, from 0.
        segment: u32,
    },
    /// A request is not answered otherwise.
    Unserved(Unserved),
    /// The request with this frame's id is not needed any more.
    Cancel,
    /// Answered by [`Message::Pong`].
    Ping,
    /// Answers a ping.
    Pong,
    /// The last message.
    Goodbye(Goodbye),
}

/// Why a message is not written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// Longer than a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// More records than a run takes: send fewer.
    #[error("{given} records in one message; {taken} of them fit")]
    Records {
        /// How many there are.
        given: usize,
        /// How many would fit.
        taken: usize,
    },
    /// More entries of a roster than a frame takes: send fewer.
    #[error("{given} entries of a roster in one message; {taken} of them fit")]
    Entries {
        /// How many there are.
        given: usize,
        /// How many from the first on would fit; at least one.
        taken: usize,
    },
}

/// Why a frame is no message.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MessageError {
    /// A type that must be known and is not.
    #[error("a message of unknown type {0}; a newer version of Shoal may know it")]
    UnknownType(u8),
    /// The body is bad.
    #[error("{name}: {error}")]
    Body {
        /// The message's name.
        name: &'static str,
        /// What is wrong.
        error: BodyError,
    },
    /// Its records are bad.
    #[error("{name}: {error}")]
    Run {
        /// The message's name.
        name: &'static str,
        /// What is wrong.
        error: RunError,
    },
    /// A value inside is bad.
    #[error("{name}: {error}")]
    Value {
        /// The message's name.
        name: &'static str,
        /// What is wrong with which value.
        error: String,
    },
}

#[cfg(test)]
pub(crate) mod tests;
