//! What is a record and what is none; the frozen encoding.

use super::*;
use crate::heads::tests::{content, path_of};
use crate::limits::RECORD_BYTES_MAX;

fn dot(writer: u8, counter: u64) -> Dot {
    Dot::new(Writer::from_bytes([writer; 8]), counter)
}

fn record(kind: Kind) -> Record {
    let mtime = Timestamp::new(1_700_000_000, 123_456_789).unwrap();
    Record {
        path: path_of("photos/é.jpg"),
        version: Version::new(kind, mtime, Mode::from_bits(0o104_755)),
        dot: dot(0xab, 300),
        seen: Seen::new(vec![dot(1, 7), dot(0xab, 299)]).unwrap(),
        origin: dot(0xab, 300),
        displaced: Box::default(),
        copy_of: None,
    }
}

fn a_file() -> Record {
    record(Kind::File { size: 5_000_000, content: content(0xcc) })
}

fn kinds() -> [Record; 4] {
    [
        record(Kind::Gone { of: content(3) }),
        record(Kind::Symlink { target: b"../x".as_slice().into() }),
        a_file(),
        record(Kind::Directory),
    ]
}

#[test]
fn the_encoding_is_frozen() {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let expected = [
        "0d70686f746f732fc3a92e6a7067",                 // length and path
        &format!("02c096b102{}", "cc".repeat(32)),      // file: size, content
        "80c49fd50c959aef3aed03",                       // seconds (zigzag), nanoseconds, mode
        "ababababababababac02ababababababababac02",     // dot, origin
        "0002010101010101010107ababababababababab0200", // no copy; seen: two entries; nothing displaced
    ];
    assert_eq!(hex(&a_file().encode()), expected.concat());
    assert_eq!(
        kinds().map(|record| record.hash().short()),
        ["opk2hly", "3i2pjp3", "hiruaze", "z6xdzso"],
        "hashes of canonical encodings must never change"
    );
}

#[test]
fn what_is_encoded_comes_back() {
    let displacing = Record { origin: dot(1, 7), displaced: [dot(0xab, 2)].into(), ..a_file() };
    for record in kinds().into_iter().chain([crate::conflict::copy_of(&a_file()), displacing]) {
        assert_eq!(Record::decode(&record.encode()), Ok(record.clone().check().unwrap()));
    }
}

#[test]
fn d16_modes_keep_their_lowest_nine_bits() {
    assert_eq!(a_file().version.mode.bits(), 0o755);
}

#[test]
fn d9_d12_d16_what_no_honest_device_makes_is_refused() {
    let link = |target: &[u8]| record(Kind::Symlink { target: target.into() });
    let file = |size, content| record(Kind::File { size, content });
    let seen = |entries| Seen::new(entries).unwrap();
    let mut timed = record(Kind::Directory);
    timed.version.mtime = Timestamp::new(1, 0).unwrap();
    let table = [
        (file(FILE_BYTES_MAX + 1, content(1)), RecordError::TooLarge(FILE_BYTES_MAX + 1)),
        (file(0, content(1)), RecordError::SizeAgainstContent),
        (file(1, ContentId::of_nothing()), RecordError::SizeAgainstContent),
        (link(b""), RecordError::Target),
        (link(b"a\0b"), RecordError::Target),
        (link(&[b'a'; SYMLINK_TARGET_BYTES_MAX + 1]), RecordError::Target),
        (timed, RecordError::NotItsKind),
        (Record { dot: dot(1, 0), ..a_file() }, RecordError::Zero),
        (Record { origin: dot(1, 0), ..a_file() }, RecordError::Zero),
        (Record { seen: seen(vec![dot(0xab, 300)]), ..a_file() }, RecordError::SawItself),
        (Record { origin: dot(1, 8), ..a_file() }, RecordError::UnseenOrigin),
        (Record { displaced: [dot(1, 7)].into(), ..a_file() }, RecordError::Displaced),
        (Record { origin: dot(1, 7), displaced: [dot(1, 7)].into(), ..a_file() }, RecordError::Displaced),
        (Record { origin: dot(1, 7), displaced: [dot(2, 1)].into(), ..a_file() }, RecordError::Displaced),
        (
            Record { origin: dot(1, 7), displaced: [dot(1, 2), dot(1, 1)].into(), ..a_file() },
            RecordError::Displaced,
        ),
        (Record { copy_of: Some(CopyOf([0; 32])), ..a_file() }, RecordError::FalseCopy),
    ];
    for (record, error) in table {
        assert_eq!(Record::decode(&record.encode()), Err(error));
        assert_eq!(record.check(), Err(error));
    }
    assert!(Record { origin: dot(1, 7), ..a_file() }.check().is_ok());
    assert!(file(0, ContentId::of_nothing()).check().is_ok());
    assert!(file(FILE_BYTES_MAX, content(1)).check().is_ok());
    assert!(link(&[b'a'; SYMLINK_TARGET_BYTES_MAX]).check().is_ok());
}

#[test]
fn d1_d2_no_bytes_make_it_panic() {
    for record in kinds() {
        let bytes = record.encode();
        for end in 0..bytes.len() {
            assert!(Record::decode(&bytes[..end]).is_err(), "a truncated record at {end}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                if let Ok(other) = Record::decode(&flipped) {
                    assert_ne!(other.hash(), record.hash());
                }
            }
        }
        assert_eq!(Record::decode(&[&bytes[..], b"x"].concat()), Err(RecordError::TrailingBytes(1)));
    }
    assert_eq!(Record::decode(&vec![0; RECORD_BYTES_MAX + 1]), Err(RecordError::Malformed));
}

#[test]
fn a_record_that_is_issued_again_is_a_version_of_its_own() {
    let again = a_file().reissued(dot(5, 1)).check().unwrap();
    assert_eq!((again.dot, again.origin), (dot(5, 1), dot(5, 1)));
    assert_eq!((again.seen, again.version), (a_file().seen, a_file().version));
}
