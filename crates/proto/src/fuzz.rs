//! What a fuzzer calls: every decoder, with what must hold of anything that it takes.
//!
//! Behind the feature `fuzz`; `fuzz/` holds the targets and what was found worth keeping. The same inputs run as a
//! plain test, so nothing that was once found comes back unseen.

use crate::announce::{FromTracker, ToTracker};
use crate::chunk::ChunkList;
use crate::frame::{Frame, FrameReader, RequestId, write_frame};
use crate::hash::{ContentId, Domain, SegmentId};
use crate::id::ShareId;
use crate::invite::Invite;
use crate::message::Message;
use crate::path::RelPath;
use crate::publication::Publication;
use crate::record::Record;
use crate::roster::{Delegation, Entry, Founding};
use crate::run::{decode_run, encode_run};
use crate::segment::{PageIndex, Segment, SegmentList};

/// A decoder's name, which is that of its target and of its folder of inputs, and what to call.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("path", path),
    ("record", record),
    ("run", run),
    ("frames", frames),
    ("to_tracker", to_tracker),
    ("from_tracker", from_tracker),
    ("segment_list", segment_list),
    ("page_index", page_index),
    ("chunk_list", chunk_list),
    ("message", message),
    ("publication", publication),
    ("entry", entry),
    ("delegation", delegation),
    ("founding", founding),
    ("invite", invite),
];

/// A path shows without control characters, and its names are the path.
pub fn path(bytes: &[u8]) {
    if let Ok(path) = RelPath::parse(bytes) {
        assert!(!path.to_string().chars().any(char::is_control));
        assert_eq!(path.names().collect::<Vec<_>>().join(&b'/'), bytes);
    }
}

/// A record has one canonical encoding.
pub fn record(bytes: &[u8]) {
    if let Ok(record) = Record::decode(bytes) {
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}

/// A run comes back as it was.
pub fn run(bytes: &[u8]) {
    if let Ok(run) = decode_run(bytes) {
        let (encoded, taken) = encode_run(&run);
        assert_eq!(decode_run(&encoded).as_deref(), Ok(&run[..taken]));
    }
}

/// Frames are the same in one piece and byte by byte.
pub fn frames(bytes: &[u8]) {
    let found = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut reader, mut out) = (FrameReader::default(), Vec::new());
        for piece in pieces {
            reader.push(piece);
            loop {
                match reader.next_frame() {
                    Ok(Some(frame)) => out.push(Ok((frame.kind, frame.request, frame.body.to_vec()))),
                    Ok(None) => break,
                    Err(error) => {
                        out.push(Err(error));
                        return out;
                    }
                }
            }
        }
        out
    };
    let whole = found(&mut core::iter::once(bytes));
    assert_eq!(whole, found(&mut bytes.chunks(1)));
    for (kind, request, body) in whole.into_iter().flatten() {
        let mut again = Vec::new();
        write_frame(&mut again, kind, request, &[&body])
            .unwrap_or_else(|_| unreachable!("a body that was read"));
    }
}

/// What a tracker takes, it would say alike.
pub fn to_tracker(bytes: &[u8]) {
    each_frame(bytes, |frame| {
        if let Ok(Some(message)) = ToTracker::read(frame) {
            let again = written(|out| message.write(out, RequestId::NONE));
            each_frame_of_stream(&again, |frame| {
                assert_eq!(ToTracker::read(frame), Ok(Some(message.clone())));
            });
        }
    });
}

/// What a peer takes from a tracker, the tracker would say alike.
pub fn from_tracker(bytes: &[u8]) {
    each_frame(bytes, |frame| {
        if let Ok(Some(message)) = FromTracker::read(frame) {
            let again = written(|out| message.write(out, RequestId::NONE));
            each_frame_of_stream(&again, |frame| {
                assert_eq!(FromTracker::read(frame), Ok(Some(message.clone())));
            });
        }
    });
}

/// A list of segments, under the id and the size that it would need.
pub fn segment_list(bytes: &[u8]) {
    let content = ContentId::from_bytes(Domain::SEGMENT_LIST.hash_one(bytes));
    let lengths = bytes.chunks_exact(36).filter_map(|entry| entry.last_chunk());
    let size = lengths.map(|length| u64::from(u32::from_be_bytes(*length))).sum();
    if let Ok(list) = SegmentList::decode(bytes, content, size) {
        assert_eq!(list.encode(), bytes);
    }
}

/// An index of pages, under the id and the size that it would need.
pub fn page_index(bytes: &[u8]) {
    let content = ContentId::from_bytes(Domain::SEGMENT_PAGES.hash_one(bytes));
    let size = bytes.last_chunk().map_or(0, |end| u64::from_be_bytes(*end));
    if let Ok(index) = PageIndex::decode(bytes, content, size) {
        assert_eq!(index.encode(), bytes);
        assert!(index.page(0, bytes).is_err());
    }
}

/// A list of chunks of a segment whose length comes first.
pub fn chunk_list(bytes: &[u8]) {
    let Some((length, bytes)) = bytes.split_first_chunk() else { return };
    let segment = Segment { id: SegmentId::from_bytes([0; 32]), length: u32::from_be_bytes(*length) };
    if let Ok(list) = ChunkList::decode(bytes, &segment) {
        assert_eq!(list.encode(), bytes);
        assert_eq!(list.chunks().last().map_or(0, |(range, _)| range.end), segment.length);
    }
}

/// What a peer takes, it would say alike; reconciling and holding among it.
pub fn message(bytes: &[u8]) {
    each_frame(bytes, |frame| {
        if let Ok(Some(message)) = Message::read(frame) {
            let again = written(|out| message.write(out, RequestId::NONE));
            each_frame_of_stream(&again, |frame| assert_eq!(Message::read(frame), Ok(Some(message.clone()))));
        }
    });
}

/// A publication has one encoding; these ones, nobody signed.
pub fn publication(bytes: &[u8]) {
    if let Ok(publication) = Publication::decode(bytes) {
        assert_eq!(Publication::decode(&publication.encode()), Ok(publication));
    }
}

/// An entry that decodes has been verified, and has one encoding. The share's id comes first.
pub fn entry(bytes: &[u8]) {
    let Some((share, bytes)) = bytes.split_first_chunk() else { return };
    let share = ShareId::from_bytes(*share);
    if let Ok(entry) = Entry::decode(bytes, &share) {
        assert_eq!(Entry::decode(&entry.encode(), &share).map(|again| again.hash()), Ok(entry.hash()));
    }
}

/// A delegation has one encoding.
pub fn delegation(bytes: &[u8]) {
    if let Ok(delegation) = Delegation::decode(bytes) {
        assert_eq!(
            Delegation::decode(&delegation.encode()).map(|again| again.encode()),
            Ok(delegation.encode())
        );
    }
}

/// A founding entry is its bytes, which the share's id is the hash of.
pub fn founding(bytes: &[u8]) {
    if let Ok(founding) = Founding::decode(bytes) {
        assert_eq!(founding.encode(), bytes);
        assert_eq!(founding.share().as_bytes(), &Domain::FOUNDING.hash_one(bytes));
    }
}

/// An invite that is read has a text that is read alike; errors never repeat what could write to a terminal.
pub fn invite(bytes: &[u8]) {
    match Invite::parse(&String::from_utf8_lossy(bytes)) {
        Ok(invite) => assert!(invite.to_text().is_ok_and(|text| Invite::parse(&text).is_ok())),
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
}

/// The first byte is the type, the rest the body: a fuzzer should not have to learn lengths.
fn each_frame(bytes: &[u8], with: impl Fn(&Frame<'_>)) {
    if let [kind, body @ ..] = bytes {
        with(&Frame { kind: *kind, request: RequestId::NONE, body });
    }
}

fn each_frame_of_stream(bytes: &[u8], with: impl Fn(&Frame<'_>)) {
    let mut reader = FrameReader::default();
    reader.push(bytes);
    while let Ok(Some(frame)) = reader.next_frame() {
        with(&frame);
    }
}

fn written<E: core::fmt::Debug>(write: impl Fn(&mut Vec<u8>) -> Result<(), E>) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(write(&mut out).is_ok(), "a message that was read can be written");
    out
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::arb;

    fn corpus(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name)
    }

    /// A frame's type and body, as [`each_frame`] takes them.
    fn typed(frame: &[u8]) -> Vec<u8> {
        [&frame[4..5], &frame[crate::frame::FRAME_HEADER_BYTES..]].concat()
    }

    /// Every input that a fuzzer found worth keeping.
    #[test]
    fn the_corpus_runs() {
        for (name, target) in TARGETS {
            let mut inputs = 0;
            for input in fs::read_dir(corpus(name)).unwrap() {
                target(&fs::read(input.unwrap().path()).unwrap());
                inputs += 1;
            }
            assert!(inputs > 0, "no inputs for {name}");
        }
    }

    #[test]
    #[ignore = "writes what a fuzzer begins with into fuzz/corpus"]
    fn write_seeds() {
        let mut runner = TestRunner::deterministic();
        let write = |name: &str, number: usize, bytes: &[u8]| {
            fs::create_dir_all(corpus(name)).unwrap();
            fs::write(corpus(name).join(format!("seed-{number:02}")), bytes).unwrap();
        };
        for number in 0..8 {
            let record = arb::record().new_tree(&mut runner).unwrap().current();
            let run = proptest::collection::vec(arb::record(), 1..6).new_tree(&mut runner).unwrap().current();
            write("path", number, record.path.as_bytes());
            write("record", number, &record.encode());
            write("run", number, &encode_run(&run).0);
            write("frames", number, &written(|out| write_frame(out, 1, RequestId(2), &[&record.encode()])));
        }
        let segment = |number: u8, length| Segment { id: SegmentId::from_bytes([number; 32]), length };
        let list = SegmentList::new(vec![segment(1, 1 << 20), segment(2, 1 << 18), segment(3, 5)]).unwrap();
        write("segment_list", 0, &list.encode());
        let mut hasher = crate::segment::ListHasher::new();
        (0..5000).for_each(|_| hasher.push(segment(4, 1 << 20)).unwrap());
        write("page_index", 0, &hasher.finish().index.unwrap().encode());
        let chunks = ChunkList::of(&ContentId::of_nothing(), &[7; 40_000]).encode();
        write("chunk_list", 0, &[&40_000_u32.to_be_bytes(), &chunks[..]].concat());
        for (number, message) in crate::message::tests::all().iter().enumerate() {
            write("message", number, &typed(&written(|out| message.write(out, RequestId::NONE))));
            if let Message::Publications { publications, .. } = message {
                write("publication", 0, &publications[0].encode());
            }
        }
        write("invite", 0, crate::invite::tests::invite().to_text().unwrap().as_bytes());
        for (name, bytes) in crate::roster::tests::samples() {
            write(name, 0, &bytes);
        }
        let messages = crate::announce::tests::asked();
        for (number, message) in messages.iter().enumerate() {
            write("to_tracker", number, &typed(&written(|out| message.write(out, RequestId::NONE))));
        }
        for (number, message) in crate::announce::tests::told().iter().enumerate() {
            write("from_tracker", number, &typed(&written(|out| message.write(out, RequestId::NONE))));
        }
    }
}
