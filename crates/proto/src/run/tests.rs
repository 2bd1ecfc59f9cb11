//! Runs come back as they were, stay small, and bad ones are refused.

use proptest::prelude::*;

use super::*;
use crate::arb;
use crate::hash::Domain;
use crate::heads::tests::{content, path_of};
use crate::limits::{PATH_BYTES_MAX, SEEN_ENTRIES_MAX};

fn folder(path: &str, counter: u64) -> Record {
    let dot = Dot::new(Writer::from_bytes([7; 8]), counter);
    let version = Version::new(Kind::Directory, Timestamp::ZERO, Mode::from_bits(0o755));
    Record {
        path: path_of(path),
        version,
        dot,
        seen: Seen::default(),
        origin: dot,
        displaced: Box::default(),
        copy_of: None,
    }
}

/// 1,000 files of a folder that was renamed, as the benchmark W5 has them.
fn renamed_folder() -> Vec<Record> {
    let dot = |counter| Dot::new(Writer::from_bytes([7; 8]), counter);
    let mut run = Vec::new();
    for at in 0..1000_u64 {
        let bytes = ContentId::from_bytes(Domain::RECORD.hash_one(&at.to_be_bytes()));
        let seen = Seen::new(vec![dot(1 + at)]).unwrap();
        let mtime = Timestamp::new(1_763_800_000, 123_456_789).unwrap();
        let gone = Version::new(Kind::Gone { of: bytes }, Timestamp::ZERO, Mode::ZERO);
        let new = Version::new(Kind::File { size: 1 << 20, content: bytes }, mtime, Mode::from_bits(0o644));
        let own = dot(10_000 + 2 * at);
        let path = path_of(&format!("album/summer/picture-{at:05}.bin"));
        run.push(Record {
            path,
            version: gone,
            dot: own,
            seen,
            origin: own,
            displaced: Box::default(),
            copy_of: None,
        });
        let (own, seen) = (dot(10_001 + 2 * at), Seen::default());
        let path = path_of(&format!("album/autumn/picture-{at:05}.bin"));
        run.push(Record {
            path,
            version: new,
            dot: own,
            seen,
            origin: own,
            displaced: Box::default(),
            copy_of: None,
        });
    }
    run.sort();
    run
}

#[test]
fn a_move_takes_few_bytes() {
    let run = renamed_folder();
    let mut bytes = 0;
    for part in run.chunks(RUN_RECORDS_MAX) {
        let (encoded, taken) = encode_run(part);
        assert_eq!(taken, part.len());
        assert_eq!(decode_run(&encoded).unwrap(), part);
        bytes += encoded.len();
    }
    let each = bytes / run.len();
    assert!(each <= 60, "{each} bytes for each record of a move");
}

#[test]
fn the_encoding_is_frozen() {
    let run = [folder("a/b", 1), folder("a/bc", 300)];
    let expected = [
        "01",
        "0707070707070707",
        "02", // one writer, two records
        "00",
        "03612f62",
        "03",
        "ed03", // nothing kept, "a/b", a folder, its mode
        "00",
        "00",
        "01",
        "00", // new: writer 0, counter 1, nothing seen
        "03",
        "0163",
        "03",
        "ed03", // three bytes kept, "c"
        "00",
        "00",
        "ac02",
        "00", // new: writer 0, counter 300, nothing seen
    ];
    assert_eq!(data_encoding::HEXLOWER.encode(&encode_run(&run).0), expected.concat());
}

#[test]
fn a_run_takes_as_many_records_as_fit() {
    let many: Vec<_> = (1..=RUN_RECORDS_MAX as u64 + 1).map(|at| folder(&at.to_string(), at)).collect();
    assert_eq!(encode_run(&many).1, RUN_RECORDS_MAX);

    let seen = (1..=SEEN_ENTRIES_MAX as u64).map(|at| Dot::new(Writer::from_bytes(at.to_be_bytes()), at));
    let seen = Seen::new(seen.collect()).unwrap();
    let heavy: Vec<_> = (1..100).map(|at| Record { seen: seen.clone(), ..folder("d", at) }).collect();
    let (bytes, taken) = encode_run(&heavy);
    assert!(taken > 1 && taken < heavy.len(), "{taken}");
    assert_eq!(decode_run(&bytes).unwrap(), heavy[..taken]);
}

#[test]
fn d9_d10_what_is_no_run_is_refused_with_its_place() {
    let table = |writers: usize, records: u32| {
        postcard::to_allocvec(&Table { writers: vec![[7; 8]; writers].into_iter().collect(), records })
            .unwrap()
    };
    let entry = |kept, rest: &[u8], history| {
        postcard::to_allocvec(&Entry { kept, rest, what: What::Directory { mode: 0 }, history }).unwrap()
    };
    let seen = |entries: Vec<Numbered>| entries.into_iter().collect();
    let new = |writer, counter| History::New { dot: Numbered(writer, counter), seen: seen(vec![]) };
    let twice = || History::New { dot: Numbered(0, 5), seen: seen(vec![Numbered(0, 1), Numbered(0, 2)]) };
    let many =
        || History::New { dot: Numbered(0, 5), seen: seen(vec![Numbered(0, 1); SEEN_ENTRIES_MAX + 1]) };
    let good = || entry(0, b"a", new(0, 1));
    let unseen = Entry {
        kept: 0,
        rest: b"a",
        what: What::File {
            size: 1,
            content: *content(1).as_bytes(),
            mtime: Mtime(0, 1_000_000_000),
            mode: 0,
        },
        history: new(0, 1),
    };
    let cases = [
        (vec![], RunError::NoTable),
        (table(1, u32::MAX), RunError::TooMany(u32::MAX as usize, "records", RUN_RECORDS_MAX)),
        (table(RUN_WRITERS_MAX + 1, 0), RunError::TooMany(RUN_WRITERS_MAX + 1, "writers", RUN_WRITERS_MAX)),
        (table(1, 1), RunError::Malformed(0)),
        ([table(1, 2), good()].concat(), RunError::Malformed(1)),
        ([table(1, 1), entry(0, b"a", new(1, 1))].concat(), RunError::NoSuchWriter(0, 1)),
        ([table(1, 2), good(), entry(2, b"b", new(0, 2))].concat(), RunError::NoSuchPrefix(1, 2)),
        (
            [table(1, 2), good(), entry(1, b"/..", new(0, 2))].concat(),
            RunError::Record(1, RecordError::Path(crate::path::RelPathError::Dots)),
        ),
        ([table(1, 1), entry(0, b"a", new(0, 0))].concat(), RunError::Record(0, RecordError::Zero)),
        (
            [table(1, 1), entry(0, b"a", twice())].concat(),
            RunError::Record(0, RecordError::Seen(crate::dot::SeenError::Unordered)),
        ),
        (
            [table(1, 1), entry(0, b"a", many())].concat(),
            RunError::Record(0, RecordError::Seen(crate::dot::SeenError::TooMany(SEEN_ENTRIES_MAX + 1))),
        ),
        (
            [table(1, 1), postcard::to_allocvec(&unseen).unwrap()].concat(),
            RunError::Record(0, RecordError::Nanos(1_000_000_000)),
        ),
        ([table(1, 1), good(), vec![0; 3]].concat(), RunError::TrailingBytes(3)),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode_run(&bytes), Err(error));
    }
    let long = vec![0; RUN_BYTES_MAX + TABLE_BYTES_MAX + 1];
    assert_eq!(decode_run(&long), Err(RunError::TooMany(long.len(), "bytes", RUN_BYTES_MAX)));
}

/// D15: paths that expand from three bytes each are still bounded.
#[test]
fn d15_a_run_expands_to_a_bounded_size() {
    let path = ["p"; 16].map(|name| name.repeat(255)).join("/");
    let run: Vec<_> = (1..=RUN_RECORDS_MAX as u64).map(|at| folder(&path, at)).collect();
    let (bytes, taken) = encode_run(&run);
    assert_eq!(taken, RUN_RECORDS_MAX);
    let expanded: usize = decode_run(&bytes).unwrap().iter().map(|record| record.path.as_bytes().len()).sum();
    assert!(expanded <= RUN_RECORDS_MAX * PATH_BYTES_MAX && bytes.len() < 20_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_run_comes_back(run in proptest::collection::vec(arb::record(), 0..40)) {
        let (bytes, taken) = encode_run(&run);
        prop_assert_eq!(taken, run.len());
        prop_assert_eq!(decode_run(&bytes).unwrap(), run);
    }

    #[test]
    fn d1_no_bytes_make_it_panic(
        run in proptest::collection::vec(arb::record(), 1..6),
        cut in any::<prop::sample::Index>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let (mut bytes, _) = encode_run(&run);
        prop_assert!(decode_run(&bytes[..cut.index(bytes.len())]).is_err());
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = decode_run(&bytes);
    }
}
