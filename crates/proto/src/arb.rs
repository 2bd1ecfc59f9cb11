//! Strategies for property tests: values that prefer the nasty. Behind the feature `arb` for other crates' tests.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::conflict;
use crate::dot::{Dot, Seen, SeenJoin};
use crate::hash::ContentId;
use crate::id::Writer;
use crate::path::RelPath;
use crate::record::{Kind, Mode, Record, Timestamp, Version};

/// Paths that collide by case, Unicode form or prefix, and names that are no text.
pub fn rel_path() -> impl Strategy<Value = RelPath> {
    let name = prop_oneof![
        Just(b"a".to_vec()),
        Just(b"A".to_vec()),
        Just(b"ab".to_vec()),
        Just("é".as_bytes().to_vec()),
        Just("e\u{301}".as_bytes().to_vec()),
        Just(b"con".to_vec()),
        Just(b"x.tmp".to_vec()),
        Just(b"\xff\xfe".to_vec()),
        Just(b"plan (conflict 2026-11-22 14.03 k7qfz2).txt".to_vec()),
        Just(vec![b'n'; 255]),
    ];
    vec(name, 1..4).prop_map(|names| RelPath::parse(&names.join(&b'/')).unwrap_or_else(|_| unreachable!()))
}

/// Dots of few writers with low numbers, so that they meet, and now and then the last number of all.
pub fn dot() -> impl Strategy<Value = Dot> {
    let counter = prop_oneof![8 => 1..6_u64, 1 => Just(u64::MAX)];
    (0..4_u8, counter).prop_map(|(writer, counter)| Dot::new(Writer::from_bytes([writer; 8]), counter))
}

/// What an author may have seen.
pub fn seen() -> impl Strategy<Value = Seen> {
    vec(dot(), 0..4).prop_map(|dots| {
        let mut join = SeenJoin::default();
        for dot in dots {
            join.dot(dot);
        }
        join.finish()
    })
}

/// Versions of all kinds, few contents, times around the edges.
pub fn version() -> impl Strategy<Value = Version> {
    let content = (1..5_u8).prop_map(|number| ContentId::from_bytes([number; 32]));
    let kind = prop_oneof![
        2 => content.clone().prop_map(|of| Kind::Gone { of }),
        1 => Just(Kind::Symlink { target: b"../t".as_slice().into() }),
        4 => (1..9_u64, content).prop_map(|(size, content)| Kind::File { size, content }),
        1 => Just(Kind::File { size: 0, content: ContentId::of_nothing() }),
        1 => Just(Kind::Directory),
    ];
    let seconds = prop_oneof![4 => 0..100_i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    (kind, seconds, 0..1_000_000_000_u32, any::<u32>()).prop_map(|(kind, seconds, nanos, mode)| {
        Version::new(kind, Timestamp::new(seconds, nanos).unwrap_or_default(), Mode::from_bits(mode))
    })
}

/// Records that an honest device could have made, conflict copies among them.
pub fn record() -> impl Strategy<Value = Record> {
    (rel_path(), version(), dot(), seen(), any::<(bool, bool)>()).prop_filter_map(
        "an author never sees its own dot",
        |(path, version, dot, seen, (keeps, is_copy))| {
            let kept = seen.entries().next().filter(|_| keeps);
            let origin = kept.unwrap_or(dot);
            let record =
                Record { path, version, dot, seen, origin, displaced: Box::default(), copy_of: None }
                    .check()
                    .ok()?;
            if is_copy && record.version.kind.holds_data() {
                Some(conflict::copy_of(&record))
            } else {
                Some(record)
            }
        },
    )
}
