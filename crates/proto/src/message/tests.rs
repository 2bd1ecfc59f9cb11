//! Every message on the wire: golden bytes, and what bad ones get.

use super::*;
use crate::batch::Part;
use crate::digest::Sum;
use crate::frame::{Frame, FrameReader, RequestId};
use crate::heads::tests::{World, content};
use crate::key::DeviceKey;
use crate::limits::{
    AGENT_BYTES_MAX, ENTRY_BYTES_MAX, FRAME_BODY_BYTES_MAX, FRAME_CONTENT_BYTES_MAX, MESSAGE_BATCHES_MAX,
    MESSAGE_ENTRIES_MAX, MESSAGE_HASHES_MAX, MESSAGE_PROOFS_MAX, MESSAGE_PUBLICATIONS_MAX, PROOF_HASHES_MAX,
    PUBLICATION_BYTES_MAX, RUN_BYTES_MAX, RUN_RECORDS_MAX, SEGMENT_BYTES_MAX, SHARES_MAX, SPANS_MAX,
};
use crate::merkle::Proof;
use crate::path::RelPath;
use crate::record::{Kind, Record};

const CHANNEL: Channel = Channel(5);

/// One of each kind.
pub(crate) fn all() -> Vec<Message> {
    let record = World::new().record("a/b", Kind::File { size: 9, content: content(7) });
    let hash = record.hash();
    let share = crate::id::ShareId::from_bytes([8; 32]);
    let publication =
        Publication::sign(&DeviceKey::from_seed(&[1; 32]), &share, WriterSalt([2; 16]), None, &[hash])
            .unwrap();
    let place = Place { sequence: 3, hash: crate::publication::PublicationHash::from_bytes([4; 32]) };
    let proof = Publication::proof_of(&[hash, hash], 1).unwrap();
    let lone = Batch { publication, part: Part::Some(vec![proof]), records: vec![record.clone()] };
    let whole = Batch { publication, part: Part::Whole, records: vec![record] };
    let channel = CHANNEL;
    let id = content(7);
    vec![
        Message::Hello { versions: VERSIONS, agent: "shoal 1".into() },
        Message::Shares(vec![ShareProof::from_bytes([6; 32])]),
        Message::Opened {
            channel,
            salt: WriterSalt([2; 16]),
            published: Some(place),
            nonce: [9; 16],
            records: 300,
            roster: [1; 32],
        },
        Message::Known { channel, published: Some(Box::new(publication)) },
        Message::Roster { channel, entries: vec![vec![1, 2, 3]] },
        Message::Refused { channel, why: Refusal::UsedUp },
        Message::Reconcile { channel, message: ReconcileMessage::Wait },
        Message::Records { channel, batches: vec![whole, lone] },
        Message::Offer { channel, records: vec![hash] },
        Message::WantRecords { channel, records: vec![hash] },
        Message::WantPublications { channel, writer: Writer::from_bytes([3; 8]), from: 1, to: 300 },
        Message::Publications { channel, publications: vec![publication] },
        Message::Holding { channel, message: HoldingMessage::complete(Sum::ZERO) },
        Message::WantContents { channel, contents: vec![id] },
        Message::Content { number: 1, from: 300, is_last: true, bytes: b"abc".to_vec() },
        Message::WantList { channel, content: id, page: Some(2) },
        Message::List(b"list".to_vec()),
        Message::WantSegment { channel, content: id, segment: 2, spans: vec![Span { from: 0, length: 9 }] },
        Message::WantChunks { channel, content: id, segment: 2 },
        Message::Unserved(Unserved::Absent),
        Message::Cancel,
        Message::Ping,
        Message::Pong,
        Message::Goodbye(Goodbye::Clone),
    ]
}

fn written(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.write(&mut out, RequestId(1)).unwrap();
    out
}

fn read(bytes: &[u8]) -> Result<Option<Message>, MessageError> {
    let mut reader = FrameReader::default();
    reader.push(bytes);
    Message::read(&reader.next_frame().unwrap().unwrap())
}

fn body(kind: u8, body: &[u8]) -> Result<Option<Message>, MessageError> {
    Message::read(&Frame { kind, request: RequestId::NONE, body })
}

#[test]
fn every_message_comes_back() {
    for message in all() {
        assert_eq!(read(&written(&message)), Ok(Some(message)));
    }
    let nothing = Message::Known { channel: CHANNEL, published: None };
    assert_eq!(written(&nothing)[9..], [5, 0]);
    assert_eq!(read(&written(&nothing)), Ok(Some(nothing)));
}

#[test]
fn a_frame_in_two_parts_is_the_same_frame() {
    let content = |length, is_last| {
        let bytes = (0..=255).cycle().take(length).collect();
        Message::Content { number: 7, from: 300, is_last, bytes }
    };
    for message in all().into_iter().chain([content(100_000, false), content(200_000, true)]) {
        let whole = written(&message);
        let is_large = whole.len() > 50_000;
        let (head, content) = message.into_frame(RequestId(1)).unwrap();
        assert_eq!(content.is_empty(), !is_large);
        assert!(head.len() < 50_000 && [head, content].concat() == whole);
    }
    let too_large = content(crate::limits::FRAME_BODY_BYTES_MAX + 1, true);
    assert!(too_large.into_frame(RequestId(1)).is_err());
}

/// The bytes of every message, in the order of [`all`]: type and body; of those over 80 bytes their hash.
#[test]
fn the_bytes_are_frozen() {
    let shown: Vec<String> = all()
        .iter()
        .map(|message| {
            let frame = written(message);
            let bytes = [&frame[4..5], &frame[9..]].concat();
            if bytes.len() > 80 {
                return format!(
                    "{:02x} {} bytes, blake3 {}",
                    bytes[0],
                    bytes.len(),
                    &blake3::hash(&bytes).to_hex()[..16]
                );
            }
            data_encoding::HEXLOWER.encode(&bytes)
        })
        .collect();
    assert_eq!(shown, GOLDEN);
}

const GOLDEN: &[&str] = &[
    "0101010773686f616c2031",
    "02010606060606060606060606060606060606060606060606060606060606060606",
    "03 102 bytes, blake3 592e0496a0a233ce",
    "04 183 bytes, blake3 d9b5458475318dd6",
    "05050103010203",
    "800502",
    "100505",
    "11 503 bytes, blake3 b33c771367b11bb2",
    "120501b4f994823f87c108afbe436635c31c4e671b88a739abd4d7f0bced7210c8b6a4",
    "130501b4f994823f87c108afbe436635c31c4e671b88a739abd4d7f0bced7210c8b6a4",
    "1405030303030303030301ac02",
    "15 183 bytes, blake3 ed1a3624e619acae",
    "16050000010000000000000000000000000000000000000000000000000000000000000000",
    "2005010707070707070707070707070707070707070707070707070707070707070707",
    "2101ac0201616263",
    "220507070707070707070707070707070707070707070707070707070707070707070102",
    "236c697374",
    "2405070707070707070707070707070707070707070707070707070707070707070702010009",
    "2505070707070707070707070707070707070707070707070707070707070707070702",
    "2601",
    "27",
    "30",
    "31",
    "3f03",
];

#[test]
fn d3_versions_agree_or_both_are_named() {
    let range = |from, to| Versions { from, to };
    assert_eq!(range(1, 3).agree(range(2, 9)), Ok(3));
    assert_eq!(range(4, 9).agree(range(2, 4)), Ok(4));
    let error = range(1, 1).agree(range(2, 255)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the other side speaks version 2 to 255 of the protocol, this side 1; the older one needs an update"
    );
    for (from, to) in [(0, 1), (2, 1)] {
        let error = body(0x01, &crate::body::encode(&(from, to, ""))).unwrap_err();
        assert_eq!(error.to_string(), "a hello: a range of versions that holds none");
    }
}

#[test]
fn d4_unknown_types_are_passed_over_or_refused() {
    assert_eq!(body(0x81, b"anything"), Ok(None));
    // So are reasons that are not known, for what is.
    let why = Refusal::Other;
    assert_eq!(body(0x80, &[5, 99]), Ok(Some(Message::Refused { channel: CHANNEL, why })));
    assert_eq!(body(0xff, b""), Ok(None));
    assert_eq!(body(0x7f, b""), Err(MessageError::UnknownType(0x7f)));
    assert_eq!(body(0x00, b""), Err(MessageError::UnknownType(0)));
}

#[test]
fn d2_d13_what_no_honest_peer_says_is_refused_by_name() {
    let encode = |message: &(u16, Vec<[u8; 32]>)| crate::body::encode(message);
    let spans = |spans: &[(u32, u32)]| body(0x24, &crate::body::encode(&(5_u16, [0_u8; 32], 2_u32, spans)));
    let meaningless = "a request for a segment: spans that are empty, out of order or beyond a segment";
    let cases = [
        (
            body(0x01, &crate::body::encode(&(1, 1, "x".repeat(AGENT_BYTES_MAX + 1)))),
            "a hello: 65 bytes of a program's name",
        ),
        (
            body(0x02, &crate::body::encode(&vec![[0_u8; 32]; SHARES_MAX + 1])),
            "a list of shares: 1025 shares",
        ),
        (
            body(0x12, &encode(&(5, vec![[0; 32]; MESSAGE_HASHES_MAX + 1]))),
            "an offer of records: 4097 records",
        ),
        (
            body(0x13, &encode(&(5, vec![[0; 32]; MESSAGE_HASHES_MAX + 1]))),
            "a request for records: 4097 records",
        ),
        (body(0x20, &encode(&(5, vec![[0; 32]; 4097]))), "a request for contents: 4097 contents"),
        (
            body(0x05, &crate::body::encode(&(5_u16, vec![&b""[..]; MESSAGE_ENTRIES_MAX + 1]))),
            "entries of a roster: 257 entries in one message; at most 256",
        ),
        (
            body(0x15, &crate::body::encode(&(5_u16, vec![&b""[..]; MESSAGE_PUBLICATIONS_MAX + 1]))),
            "publications: 1025 publications in one message; at most 1024",
        ),
        (
            spans(&vec![(0, 0); SPANS_MAX + 1]),
            "a request for a segment: 4097 spans in one message; at most 4096",
        ),
        (
            body(0x11, &crate::body::encode(&(5_u16, MESSAGE_BATCHES_MAX + 1))),
            "records: 1025 publications in one message; at most 1024",
        ),
        (body(0x14, &crate::body::encode(&(5, [0_u8; 8], 2, 1))), "a request for publications: a range"),
        (
            body(0x21, &[&[0, 0, 0][..], &vec![0; FRAME_CONTENT_BYTES_MAX + 1]].concat()),
            "bytes of content: 262145",
        ),
        (body(0x04, &[5, 1, 1, 0]), "what is known of a writer: a publication that is cut short"),
        (
            body(0x04, &crate::body::encode(&(5_u16, Some(&[0_u8; PUBLICATION_BYTES_MAX + 1][..])))),
            "what is known of a writer: a publication that is too long: 193 bytes",
        ),
        (spans(&[(0, 0)]), meaningless),
        (spans(&[(5, 5), (9, 1)]), meaningless),
        (spans(&[(SEGMENT_BYTES_MAX, 1)]), meaningless),
        (spans(&[(u32::MAX, 2)]), meaningless),
        (body(0x30, b"x"), "a ping: a body with 1 bytes after its end"),
        (body(0x3f, &[99]), "a goodbye: a body that is not of its type"),
        (body(0x10, &[5, 99]), "a step of reconciling: "),
        (body(0x11, &[5, 0]), "records: records without a table of writers"),
        (body(0x11, &[5, 1, 2, 0, 0, 0, 1, 0, 0]), "records: a publication that is cut short"),
    ];
    for (result, expected) in cases {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with(expected), "'{error}' is not '{expected}'");
    }
    assert!(spans(&[(0, 5), (5, 5), (SEGMENT_BYTES_MAX - 1, 1)]).is_ok());
}

/// D9: records without a publication, or publications without their records, are no message.
#[test]
fn d9_records_and_publications_belong_together() {
    let Some(Message::Records { batches, .. }) = all().into_iter().find(|message| message.kind() == 0x11)
    else {
        unreachable!("there is one")
    };
    let with = |records: u16| {
        let publication = batches[0].publication.encode();
        let none: Option<Vec<(u16, Vec<[u8; 32]>)>> = None;
        let head = crate::body::encode(&(5_u16, vec![(&publication[..], none, records)]));
        let run = crate::run::encode_run(&batches[0].records).0;
        body(0x11, &[head, run].concat())
    };
    assert!(with(1).is_ok());
    assert_eq!(with(0).unwrap_err().to_string(), "records: records that belong to no publication");
    assert_eq!(with(2).unwrap_err().to_string(), "records: a publication without its records");
}

#[test]
fn records_that_do_not_fit_are_not_written() {
    let mut batch = match all().remove(7) {
        Message::Records { mut batches, .. } => batches.remove(0),
        other => unreachable!("{other:?}"),
    };
    batch.records = vec![batch.records[0].clone(); crate::limits::RUN_RECORDS_MAX + 1];
    let mut out = Vec::new();
    let message = Message::Records { channel: CHANNEL, batches: vec![batch] };
    assert_eq!(message.write(&mut out, RequestId(1)), Err(WriteError::Records { given: 1025, taken: 1024 }));
    assert!(out.is_empty());
}

/// D2: a proof of nothing takes two bytes and has sixteen times as many in memory, so it is all of them that are
/// counted.
#[test]
fn d2_the_proofs_of_all_publications_are_bounded_together() {
    let Some(Message::Records { batches, .. }) = all().into_iter().find(|message| message.kind() == 0x11)
    else {
        unreachable!("there is one")
    };
    let publication = batches[0].publication.encode();
    let read = |batches: &[(usize, usize)]| {
        let proofs = |(proofs, hashes)| Some(vec![(0_u16, vec![[0_u8; 32]; hashes]); proofs]);
        let batches: Vec<_> = batches.iter().map(|&each| (&publication[..], proofs(each), 0_u16)).collect();
        let head = crate::body::encode(&(5_u16, batches));
        body(0x11, &[head, crate::run::encode_run(&[]).0].concat())
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let half = MESSAGE_PROOFS_MAX / 2;
    assert_eq!(read(&[(half, 0), (half, 0)]), Ok(()));
    let error =
        |count: usize| Err(format!("records: {count} proofs in one message; at most 1024 are allowed"));
    assert_eq!(read(&[(half, 0), (half, 0), (1, 0)]), error(1025));
    assert_eq!(read(&[(100_000, 0)]), error(100_000));
    assert_eq!(read(&[(1, PROOF_HASHES_MAX)]), Ok(()));
    let deep = "records: 11 hashes in a proof in one message; at most 10 are allowed";
    assert_eq!(read(&[(1, PROOF_HASHES_MAX + 1)]), Err(deep.to_owned()));
}

/// As many records as a run takes, each lone, with a publication and a proof of its own, all as large as they get.
#[test]
fn the_largest_message_of_records_is_written() {
    let Some(Message::Records { batches, .. }) = all().into_iter().find(|message| message.kind() == 0x11)
    else {
        unreachable!("there is one")
    };
    let path = |at: usize, length: usize| {
        // A first letter that changes, so that nothing is shared with the path before.
        let first = if at.is_multiple_of(2) { "a" } else { "b" };
        let name = format!("{first}{at:04}{}", "x".repeat(length));
        RelPath::parse(&[&name.as_bytes()[..200], b"/", &name.as_bytes()[200..]].concat()).unwrap()
    };
    let records = |length| -> Vec<Record> {
        let record = |at| Record { path: path(at, length), ..batches[0].records[0].clone() };
        (0..RUN_RECORDS_MAX).map(record).collect()
    };
    let room = (200..450).rev().find(|length| crate::run::encode_run(&records(*length)).1 == RUN_RECORDS_MAX);
    let batches = records(room.unwrap()).into_iter().map(|record| {
        let publication = Publication { sequence: u64::MAX, count: u16::MAX, ..batches[0].publication };
        let proof = Proof { index: u16::MAX, path: vec![[7; 32]; PROOF_HASHES_MAX] };
        Batch { publication, part: Part::Some(vec![proof]), records: vec![record] }
    });
    let message = Message::Records { channel: Channel(u16::MAX), batches: batches.collect() };
    let bytes = written(&message);
    let least = RUN_BYTES_MAX - 2 * RUN_RECORDS_MAX + RUN_RECORDS_MAX * (180 + 320);
    assert!(bytes.len() > least, "{} bytes are not the largest one", bytes.len());
    assert_eq!(read(&bytes), Ok(Some(message)));
}

/// Two hundred and fifty-six entries of a quarter of a mebibyte are no frame.
#[test]
fn entries_that_do_not_fit_are_not_written() {
    let write = |count: usize, bytes: usize| {
        let mut out = Vec::new();
        let message = Message::Roster { channel: Channel(u16::MAX), entries: vec![vec![7; bytes]; count] };
        let result = message.write(&mut out, RequestId(1));
        assert_eq!(out.is_empty(), result.is_err());
        result.map(|()| assert_eq!(read(&out), Ok(Some(message))))
    };
    assert_eq!(write(1, ENTRY_BYTES_MAX), Ok(()));
    assert_eq!(write(3, ENTRY_BYTES_MAX), Ok(()));
    assert_eq!(write(256, ENTRY_BYTES_MAX), Err(WriteError::Entries { given: 256, taken: 3 }));
    assert_eq!(write(MESSAGE_ENTRIES_MAX, 4000), Ok(()));
    assert_eq!(
        write(MESSAGE_ENTRIES_MAX + 9, 1),
        Err(WriteError::Entries { given: MESSAGE_ENTRIES_MAX + 9, taken: MESSAGE_ENTRIES_MAX })
    );
    let (given, each) = (MESSAGE_ENTRIES_MAX, FRAME_BODY_BYTES_MAX / MESSAGE_ENTRIES_MAX);
    let Err(WriteError::Entries { taken, .. }) = write(given, each) else { panic!("too much") };
    assert_eq!(write(taken, each), Ok(()));
    assert_eq!(
        write(given, each).unwrap_err().to_string(),
        format!("256 entries of a roster in one message; {taken} of them fit")
    );
}

#[test]
fn d1_no_bytes_make_it_panic() {
    for message in all() {
        let frame = written(&message);
        let (kind, whole) = (frame[4], &frame[9..]);
        for end in 0..whole.len() {
            let _ = body(kind, &whole[..end]);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = whole.to_vec();
                changed[at] = value;
                let _ = body(kind, &changed);
            }
        }
        let raw = [0x10, 0x11, 0x16, 0x21, 0x23].contains(&kind);
        assert!(raw || body(kind, &[whole, b"x"].concat()).is_err(), "{message:?} with a byte more");
    }
}
