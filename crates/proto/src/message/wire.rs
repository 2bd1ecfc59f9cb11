//! Types and bodies of the messages. Frozen.

use serde::{Deserialize, Serialize};

use super::{Channel, Goodbye, Message, MessageError, Refusal, Span, Unserved, Versions, WriteError};
use crate::batch::{Batch, Part};
use crate::body::{self, AtMost, BodyError, at_most};
use crate::frame::{Frame, OPTIONAL_TYPES, RequestId, begin_frame, write_frame};
use crate::hash::{ContentId, RecordHash};
use crate::holding::HoldingMessage;
use crate::id::{Writer, WriterSalt};
use crate::limits::{
    AGENT_BYTES_MAX, ENTRY_BYTES_MAX, FRAME_BODY_BYTES_MAX, FRAME_CONTENT_BYTES_MAX, MESSAGE_BATCHES_MAX,
    MESSAGE_CONTENTS_MAX, MESSAGE_ENTRIES_MAX, MESSAGE_HASHES_MAX, MESSAGE_PROOFS_MAX,
    MESSAGE_PUBLICATIONS_MAX, PROOF_HASHES_MAX, SEGMENT_BYTES_MAX, SHARES_MAX, SPANS_MAX,
};
use crate::merkle::Proof;
use crate::publication::{Place, Publication, PublicationHash};
use crate::reconcile::ReconcileMessage;
use crate::run::{decode_run, encode_run};
use crate::secret::ShareProof;

/// From so many bytes on the bytes of a content are not copied into their frame.
const SENT_ALONE_BYTES_MIN: usize = 16 << 10;

const HELLO: u8 = 0x01;
const SHARES: u8 = 0x02;
const OPENED: u8 = 0x03;
const KNOWN: u8 = 0x04;
const ROSTER: u8 = 0x05;
const RECONCILE: u8 = 0x10;
const RECORDS: u8 = 0x11;
const OFFER: u8 = 0x12;
const WANT_RECORDS: u8 = 0x13;
const WANT_PUBLICATIONS: u8 = 0x14;
const PUBLICATIONS: u8 = 0x15;
const HOLDING: u8 = 0x16;
const WANT_CONTENTS: u8 = 0x20;
const CONTENT: u8 = 0x21;
const WANT_LIST: u8 = 0x22;
const LIST: u8 = 0x23;
const WANT_SEGMENT: u8 = 0x24;
const WANT_CHUNKS: u8 = 0x25;
const UNSERVED: u8 = 0x26;
const CANCEL: u8 = 0x27;
const PING: u8 = 0x30;
const PONG: u8 = 0x31;
const GOODBYE: u8 = 0x3f;
/// Who does not know it learns all the same that it was hung up on.
const REFUSED: u8 = OPTIONAL_TYPES;

/// Numbers on the wire are these values: never reorder, only append.
#[derive(Serialize, Deserialize)]
enum GoodbyeWire {
    Stopping,
    Version,
    NothingInCommon,
    Clone,
    Busy,
    Protocol,
}

#[derive(Serialize, Deserialize)]
enum UnservedWire {
    Foreign,
    Absent,
    Busy,
}

#[derive(Serialize, Deserialize)]
struct PlaceWire {
    sequence: u64,
    hash: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct BatchWire<'a> {
    #[serde(borrow)]
    publication: &'a [u8],
    /// None: whole. Else an index and hashes for each record.
    proofs: Option<AtMost<ProofWire, MESSAGE_PROOFS_MAX>>,
    records: u16,
}

#[derive(Serialize, Deserialize)]
struct ProofWire {
    index: u16,
    path: AtMost<[u8; 32], PROOF_HASHES_MAX>,
}

impl Message {
    /// The frame's type.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => HELLO,
            Self::Shares(_) => SHARES,
            Self::Opened { .. } => OPENED,
            Self::Known { .. } => KNOWN,
            Self::Roster { .. } => ROSTER,
            Self::Refused { .. } => REFUSED,
            Self::Reconcile { .. } => RECONCILE,
            Self::Records { .. } => RECORDS,
            Self::Offer { .. } => OFFER,
            Self::WantRecords { .. } => WANT_RECORDS,
            Self::WantPublications { .. } => WANT_PUBLICATIONS,
            Self::Publications { .. } => PUBLICATIONS,
            Self::Holding { .. } => HOLDING,
            Self::WantContents { .. } => WANT_CONTENTS,
            Self::Content { .. } => CONTENT,
            Self::WantList { .. } => WANT_LIST,
            Self::List(_) => LIST,
            Self::WantSegment { .. } => WANT_SEGMENT,
            Self::WantChunks { .. } => WANT_CHUNKS,
            Self::Unserved(_) => UNSERVED,
            Self::Cancel => CANCEL,
            Self::Ping => PING,
            Self::Pong => PONG,
            Self::Goodbye(_) => GOODBYE,
        }
    }

    /// Appends the message as a frame.
    ///
    /// # Errors
    /// When it is longer than a frame may be, which lists within their bounds are only if they hold records or entries
    /// of a roster: then nothing is appended, and the error says how many to send.
    pub fn write(&self, out: &mut Vec<u8>, request: RequestId) -> Result<(), WriteError> {
        let (head, raw): (Vec<u8>, &[u8]) = match self {
            Self::Hello { versions, agent } => (body::encode(&(versions.from, versions.to, agent)), b""),
            Self::Shares(proofs) => {
                (body::encode(&proofs.iter().map(ShareProof::as_bytes).collect::<Vec<_>>()), b"")
            }
            Self::Opened { channel, salt, published, nonce, records, roster } => {
                let published = published.map(PlaceWire::from);
                (body::encode(&(channel.0, salt.0, published, nonce, records, roster)), b"")
            }
            Self::Known { channel, published } => {
                let published = published.as_deref().map(Publication::encode);
                (body::encode(&(channel.0, published)), b"")
            }
            Self::Roster { channel, entries } => (encode_entries(*channel, entries)?, b""),
            Self::Refused { channel, why } => (body::encode(&(channel.0, refusal_number(*why))), b""),
            Self::Reconcile { channel, message } => {
                return self.write_parts(out, request, &body::encode(&channel.0), &message.encode());
            }
            Self::Records { channel, batches } => {
                let (head, run) = encode_batches(*channel, batches)?;
                return self.write_parts(out, request, &head, &run);
            }
            Self::Offer { channel, records } | Self::WantRecords { channel, records } => (
                body::encode(&(channel.0, records.iter().map(RecordHash::as_bytes).collect::<Vec<_>>())),
                b"",
            ),
            Self::WantPublications { channel, writer, from, to } => {
                (body::encode(&(channel.0, writer.to_bytes(), from, to)), b"")
            }
            Self::Publications { channel, publications } => {
                let publications: Vec<_> = publications.iter().map(Publication::encode).collect();
                (body::encode(&(channel.0, publications)), b"")
            }
            Self::Holding { channel, message } => {
                return self.write_parts(out, request, &body::encode(&channel.0), &message.encode());
            }
            Self::WantContents { channel, contents } => (
                body::encode(&(channel.0, contents.iter().map(ContentId::as_bytes).collect::<Vec<_>>())),
                b"",
            ),
            Self::Content { number, from, is_last, bytes } => (body::encode(&(number, from, is_last)), bytes),
            Self::WantList { channel, content, page } => {
                (body::encode(&(channel.0, content.as_bytes(), page)), b"")
            }
            Self::List(bytes) => (Vec::new(), bytes),
            Self::WantSegment { channel, content, segment, spans } => {
                let spans: Vec<_> = spans.iter().map(|span| (span.from, span.length)).collect();
                (body::encode(&(channel.0, content.as_bytes(), segment, spans)), b"")
            }
            Self::WantChunks { channel, content, segment } => {
                (body::encode(&(channel.0, content.as_bytes(), segment)), b"")
            }
            Self::Unserved(why) => (body::encode(&UnservedWire::from(*why)), b""),
            Self::Cancel | Self::Ping | Self::Pong => (Vec::new(), b""),
            Self::Goodbye(why) => (body::encode(&GoodbyeWire::from(*why)), b""),
        };
        self.write_parts(out, request, &head, raw)
    }

    /// The message as a frame in two parts, to be sent one after the other. The second is what a content has, as it is: to
    /// copy it would cost as much as to encrypt it. It is empty where there is little of that.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn into_frame(self, request: RequestId) -> Result<(Vec<u8>, Vec<u8>), WriteError> {
        let mut out = Vec::new();
        match self {
            Self::Content { number, from, is_last, bytes } if bytes.len() >= SENT_ALONE_BYTES_MIN => {
                let head = body::encode(&(number, from, is_last));
                begin_frame(&mut out, CONTENT, request, &[&head], bytes.len())?;
                Ok((out, bytes))
            }
            other => {
                other.write(&mut out, request)?;
                Ok((out, Vec::new()))
            }
        }
    }

    fn write_parts(
        &self,
        out: &mut Vec<u8>,
        request: RequestId,
        head: &[u8],
        raw: &[u8],
    ) -> Result<(), WriteError> {
        Ok(write_frame(out, self.kind(), request, &[head, raw])?)
    }

    /// The message of a frame; `None` for an optional one that this version does not know.
    ///
    /// # Errors
    /// When it is none; says which message it would be, and what is wrong.
    pub fn read(frame: &Frame<'_>) -> Result<Option<Self>, MessageError> {
        let (name, read): (&str, Read) = match frame.kind {
            HELLO => ("a hello", read_hello),
            SHARES => ("a list of shares", read_shares),
            OPENED => ("the state of a share", read_opened),
            KNOWN => ("what is known of a writer", read_known),
            ROSTER => ("entries of a roster", read_roster),
            RECONCILE => ("a step of reconciling", read_reconcile),
            RECORDS => ("records", read_records),
            OFFER => ("an offer of records", read_offer),
            WANT_RECORDS => ("a request for records", read_want_records),
            WANT_PUBLICATIONS => ("a request for publications", read_want_publications),
            PUBLICATIONS => ("publications", read_publications),
            HOLDING => ("what a peer holds", read_holding),
            WANT_CONTENTS => ("a request for contents", read_want_contents),
            CONTENT => ("bytes of content", read_content),
            WANT_LIST => ("a request for a list of segments", read_want_list),
            LIST => ("a list", |body| Ok(Self::List(body.to_vec()))),
            WANT_SEGMENT => ("a request for a segment", read_want_segment),
            WANT_CHUNKS => ("a request for a list of chunks", read_want_chunks),
            UNSERVED => ("a refusal", |body| Ok(Self::Unserved(body::decode::<UnservedWire>(body)?.into()))),
            CANCEL => {
                ("a cancellation", |body| body::decode::<()>(body).map(|()| Self::Cancel).map_err(Bad::from))
            }
            PING => ("a ping", |body| body::decode::<()>(body).map(|()| Self::Ping).map_err(Bad::from)),
            PONG => ("a pong", |body| body::decode::<()>(body).map(|()| Self::Pong).map_err(Bad::from)),
            GOODBYE => ("a goodbye", |body| Ok(Self::Goodbye(body::decode::<GoodbyeWire>(body)?.into()))),
            REFUSED => ("why an invite is refused", read_refused),
            optional if optional >= OPTIONAL_TYPES => return Ok(None),
            unknown => return Err(MessageError::UnknownType(unknown)),
        };
        read(frame.body).map(Some).map_err(|bad| match bad {
            Bad::Body(error) => MessageError::Body { name, error },
            Bad::Run(error) => MessageError::Run { name, error },
            Bad::Value(error) => MessageError::Value { name, error },
        })
    }
}

type Read = fn(&[u8]) -> Result<Message, Bad>;

/// What is wrong with a body; which message it is of is known further up.
enum Bad {
    Body(BodyError),
    Run(crate::run::RunError),
    Value(String),
}

impl From<BodyError> for Bad {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

fn value(error: impl core::fmt::Display) -> Bad {
    Bad::Value(error.to_string())
}

fn read_refused(body: &[u8]) -> Result<Message, Bad> {
    let (channel, why): (u16, u8) = body::decode(body)?;
    Ok(Message::Refused { channel: Channel(channel), why: refusal_of(why) })
}

/// Numbers on the wire: never change them.
fn refusal_number(why: Refusal) -> u8 {
    match why {
        Refusal::Other => 0,
        Refusal::Expired => 1,
        Refusal::UsedUp => 2,
        Refusal::Revoked => 3,
        Refusal::Removed => 4,
        Refusal::NoAdmin => 5,
    }
}

/// A newer version may know more reasons.
fn refusal_of(number: u8) -> Refusal {
    let known = [Refusal::Expired, Refusal::UsedUp, Refusal::Revoked, Refusal::Removed, Refusal::NoAdmin];
    known.into_iter().find(|why| refusal_number(*why) == number).unwrap_or(Refusal::Other)
}

fn read_hello(body: &[u8]) -> Result<Message, Bad> {
    let (from, to, agent): (u16, u16, &str) = body::decode(body)?;
    if from == 0 || from > to {
        return Err(BodyError::Meaningless("a range of versions that holds none").into());
    }
    at_most(agent.len(), AGENT_BYTES_MAX, "bytes of a program's name")?;
    Ok(Message::Hello { versions: Versions { from, to }, agent: agent.to_owned() })
}

fn read_shares(body: &[u8]) -> Result<Message, Bad> {
    let proofs: AtMost<[u8; 32], SHARES_MAX> = body::decode(body)?;
    Ok(Message::Shares(proofs.named("shares")?.into_iter().map(ShareProof::from_bytes).collect()))
}

fn read_opened(body: &[u8]) -> Result<Message, Bad> {
    let (channel, salt, published, nonce, records, roster): (_, _, Option<PlaceWire>, _, _, _) =
        body::decode(body)?;
    let published = published.map(Place::from);
    Ok(Message::Opened {
        channel: Channel(channel),
        salt: WriterSalt(salt),
        published,
        nonce,
        records,
        roster,
    })
}

fn read_known(body: &[u8]) -> Result<Message, Bad> {
    let (channel, published): (_, Option<&[u8]>) = body::decode(body)?;
    let published = published.map(Publication::decode).transpose().map_err(value)?;
    Ok(Message::Known { channel: Channel(channel), published: published.map(Box::new) })
}

fn read_roster(body: &[u8]) -> Result<Message, Bad> {
    let (channel, entries): (u16, AtMost<&[u8], MESSAGE_ENTRIES_MAX>) = body::decode(body)?;
    let entries = entries.named("entries")?;
    for entry in &entries {
        at_most(entry.len(), ENTRY_BYTES_MAX, "bytes in an entry")?;
    }
    Ok(Message::Roster {
        channel: Channel(channel),
        entries: entries.into_iter().map(<[u8]>::to_vec).collect(),
    })
}

fn read_reconcile(body: &[u8]) -> Result<Message, Bad> {
    let (channel, rest) = channel(body)?;
    Ok(Message::Reconcile { channel, message: ReconcileMessage::decode(rest).map_err(value)? })
}

fn read_holding(body: &[u8]) -> Result<Message, Bad> {
    let (channel, rest) = channel(body)?;
    Ok(Message::Holding { channel, message: HoldingMessage::decode(rest).map_err(value)? })
}

fn read_records(body: &[u8]) -> Result<Message, Bad> {
    let ((channel, count), mut rest): ((u16, usize), _) = body::take(body)?;
    at_most(count, MESSAGE_BATCHES_MAX, "publications")?;
    // One by one, because it is all their proofs together that are bounded.
    let (mut batches, mut proofs) = (Vec::new(), 0);
    for _ in 0..count {
        let (batch, behind): (BatchWire<'_>, _) = body::take(rest)?;
        let (batch, records) = batch.read()?;
        if let Part::Some(of_batch) = &batch.part {
            proofs += of_batch.len();
            at_most(proofs, MESSAGE_PROOFS_MAX, "proofs")?;
        }
        batches.push((batch, records));
        rest = behind;
    }
    let mut records = decode_run(rest).map_err(Bad::Run)?.into_iter();
    for (batch, count) in &mut batches {
        batch.records.extend(records.by_ref().take(*count));
        if batch.records.len() < *count {
            return Err(BodyError::Meaningless("a publication without its records").into());
        }
    }
    if records.next().is_some() {
        return Err(BodyError::Meaningless("records that belong to no publication").into());
    }
    let batches = batches.into_iter().map(|(batch, _)| batch).collect();
    Ok(Message::Records { channel: Channel(channel), batches })
}

fn read_offer(body: &[u8]) -> Result<Message, Bad> {
    let (channel, records) = read_hashes(body)?;
    Ok(Message::Offer { channel, records })
}

fn read_want_records(body: &[u8]) -> Result<Message, Bad> {
    let (channel, records) = read_hashes(body)?;
    Ok(Message::WantRecords { channel, records })
}

fn read_hashes(body: &[u8]) -> Result<(Channel, Vec<RecordHash>), Bad> {
    let (channel, records): (u16, AtMost<[u8; 32], MESSAGE_HASHES_MAX>) = body::decode(body)?;
    let records = records.named("records")?;
    Ok((Channel(channel), records.into_iter().map(RecordHash::from_bytes).collect()))
}

fn read_want_publications(body: &[u8]) -> Result<Message, Bad> {
    let (channel, writer, from, to) = body::decode(body)?;
    if from > to {
        return Err(BodyError::Meaningless("a range of publications that holds none").into());
    }
    Ok(Message::WantPublications { channel: Channel(channel), writer: Writer::from_bytes(writer), from, to })
}

fn read_publications(body: &[u8]) -> Result<Message, Bad> {
    let (channel, publications): (u16, AtMost<&[u8], MESSAGE_PUBLICATIONS_MAX>) = body::decode(body)?;
    let publications = publications.named("publications")?.into_iter().map(Publication::decode);
    let publications = publications.collect::<Result<_, _>>().map_err(value)?;
    Ok(Message::Publications { channel: Channel(channel), publications })
}

fn read_want_contents(body: &[u8]) -> Result<Message, Bad> {
    let (channel, contents): (u16, AtMost<[u8; 32], MESSAGE_CONTENTS_MAX>) = body::decode(body)?;
    let contents = contents.named("contents")?.into_iter().map(ContentId::from_bytes).collect();
    Ok(Message::WantContents { channel: Channel(channel), contents })
}

fn read_content(body: &[u8]) -> Result<Message, Bad> {
    let ((number, from, is_last), bytes) = body::take(body)?;
    at_most(bytes.len(), FRAME_CONTENT_BYTES_MAX, "bytes of content")?;
    Ok(Message::Content { number, from, is_last, bytes: bytes.to_vec() })
}

fn read_want_list(body: &[u8]) -> Result<Message, Bad> {
    let (channel, content, page) = body::decode(body)?;
    Ok(Message::WantList { channel: Channel(channel), content: ContentId::from_bytes(content), page })
}

fn read_want_segment(body: &[u8]) -> Result<Message, Bad> {
    let (channel, content, segment, spans): (_, _, _, AtMost<(u32, u32), SPANS_MAX>) = body::decode(body)?;
    let spans = spans.named("spans")?;
    let mut free_from = 0;
    for &(from, length) in &spans {
        let ends = from.checked_add(length).filter(|&ends| ends <= SEGMENT_BYTES_MAX);
        match ends {
            Some(ends) if length > 0 && from >= free_from => free_from = ends,
            _ => {
                return Err(
                    BodyError::Meaningless("spans that are empty, out of order or beyond a segment").into()
                );
            }
        }
    }
    let spans = spans.into_iter().map(|(from, length)| Span { from, length }).collect();
    let content = ContentId::from_bytes(content);
    Ok(Message::WantSegment { channel: Channel(channel), content, segment, spans })
}

fn read_want_chunks(body: &[u8]) -> Result<Message, Bad> {
    let (channel, content, segment) = body::decode(body)?;
    Ok(Message::WantChunks { channel: Channel(channel), content: ContentId::from_bytes(content), segment })
}

fn channel(body: &[u8]) -> Result<(Channel, &[u8]), Bad> {
    let (channel, rest) = body::take(body)?;
    Ok((Channel(channel), rest))
}

/// The body of these entries, if they fit a frame; one always does.
fn encode_entries(channel: Channel, entries: &[Vec<u8>]) -> Result<Vec<u8>, WriteError> {
    let bytes: usize = entries.iter().map(Vec::len).sum();
    if entries.len() <= MESSAGE_ENTRIES_MAX && bytes <= FRAME_BODY_BYTES_MAX {
        let body = body::encode(&(channel.0, entries));
        if body.len() <= FRAME_BODY_BYTES_MAX {
            return Ok(body);
        }
    }
    let mut free = FRAME_BODY_BYTES_MAX - ENTRIES_HEAD_BYTES_MAX;
    let fits = |entry: &&Vec<u8>| match free.checked_sub(entry.len() + LENGTH_BYTES_MAX) {
        Some(rest) => {
            free = rest;
            true
        }
        None => false,
    };
    let taken = entries.iter().take(MESSAGE_ENTRIES_MAX).take_while(fits).count();
    Err(WriteError::Entries { given: entries.len(), taken })
}

/// What stands before the entries: channel and count.
const ENTRIES_HEAD_BYTES_MAX: usize = 3 + 2;

/// What stands before each entry.
const LENGTH_BYTES_MAX: usize = 3;

const _: () = assert!(
    ENTRIES_HEAD_BYTES_MAX + LENGTH_BYTES_MAX + ENTRY_BYTES_MAX <= FRAME_BODY_BYTES_MAX,
    "an entry by itself always fits"
);

fn encode_batches(channel: Channel, batches: &[Batch]) -> Result<(Vec<u8>, Vec<u8>), WriteError> {
    let publications: Vec<_> = batches.iter().map(|batch| batch.publication.encode()).collect();
    let wires: Vec<_> = batches
        .iter()
        .zip(&publications)
        .map(|(batch, publication)| {
            let proofs = match &batch.part {
                Part::Whole => None,
                Part::Some(proofs) => Some(proofs.iter().map(ProofWire::from).collect()),
            };
            BatchWire { publication, proofs, records: u16::try_from(batch.records.len()).unwrap_or(u16::MAX) }
        })
        .collect();
    let records: Vec<_> = batches.iter().flat_map(|batch| batch.records.iter().cloned()).collect();
    let (run, taken) = encode_run(&records);
    if taken < records.len() {
        return Err(WriteError::Records { given: records.len(), taken });
    }
    Ok((body::encode(&(channel.0, wires)), run))
}

impl BatchWire<'_> {
    /// The batch without its records, and how many it has.
    fn read(self) -> Result<(Batch, usize), Bad> {
        let publication = Publication::decode(self.publication).map_err(value)?;
        let part = match self.proofs {
            None => Part::Whole,
            Some(proofs) => {
                let proofs = proofs.named("proofs")?.into_iter().map(ProofWire::read);
                Part::Some(proofs.collect::<Result<_, BodyError>>()?)
            }
        };
        Ok((Batch { publication, part, records: Vec::new() }, usize::from(self.records)))
    }
}

impl ProofWire {
    fn read(self) -> Result<Proof, BodyError> {
        Ok(Proof { index: self.index, path: self.path.named("hashes in a proof")? })
    }
}

impl From<&Proof> for ProofWire {
    fn from(proof: &Proof) -> Self {
        Self { index: proof.index, path: proof.path.iter().copied().collect() }
    }
}

impl From<Place> for PlaceWire {
    fn from(place: Place) -> Self {
        Self { sequence: place.sequence, hash: *place.hash.as_bytes() }
    }
}

impl From<PlaceWire> for Place {
    fn from(wire: PlaceWire) -> Self {
        Self { sequence: wire.sequence, hash: PublicationHash::from_bytes(wire.hash) }
    }
}

/// Conversions between a domain enum and its numbers on the wire, case by case.
macro_rules! same_cases {
    ($domain:ident, $wire:ident: $($case:ident),+) => {
        impl From<$domain> for $wire {
            fn from(value: $domain) -> Self {
                match value {
                    $($domain::$case => Self::$case),+
                }
            }
        }

        impl From<$wire> for $domain {
            fn from(wire: $wire) -> Self {
                match wire {
                    $($wire::$case => Self::$case),+
                }
            }
        }
    };
}

same_cases!(Goodbye, GoodbyeWire: Stopping, Version, NothingInCommon, Clone, Busy, Protocol);
same_cases!(Unserved, UnservedWire: Foreign, Absent, Busy);
