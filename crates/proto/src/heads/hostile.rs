//! What records can do that no honest device would make: cost something, and nothing more.

use super::tests::{content, path_of};
use super::*;
use crate::limits::{PUBLICATION_RECORDS_MAX, SEEN_ENTRIES_MAX};

fn dot(writer: u64, counter: u64) -> Dot {
    Dot::new(Writer::from_bytes(writer.to_be_bytes()), counter)
}

fn file(bytes: u8, seconds: i64) -> Version {
    let kind = Kind::File { size: 5, content: content(bytes) };
    Version::new(kind, Timestamp::new(seconds, 0).unwrap(), Mode::from_bits(0o644))
}

fn record(dot: Dot, seen: Vec<Dot>, version: Version) -> Record {
    let seen = Seen::new(seen).unwrap();
    let record = Record {
        path: path_of("p"),
        version,
        dot,
        seen,
        origin: dot,
        displaced: Box::default(),
        copy_of: None,
    };
    received(&record)
}

/// As it comes out of the wire elsewhere.
fn received(record: &Record) -> Record {
    Record::decode(&record.encode()).unwrap()
}

/// T8: a record with a full *seen* keeps nobody from editing the path.
#[test]
fn a_record_that_claims_to_have_seen_thousands_of_writers_freezes_nothing() {
    let thousands =
        |first: u64| (first..first + SEEN_ENTRIES_MAX as u64).map(|writer| dot(writer, 1)).collect();
    // Their own writers come last in the order, where what there is no room for would be left out.
    let one = record(dot(u64::MAX, 1), thousands(1000), file(1, 9));
    let other = record(dot(u64::MAX - 1, 1), thousands(9000), file(2, 8));
    let mut heads: Heads = [one, other].into_iter().collect();
    let resolution = heads.resolve(Below::Nothing, dot(3, 1)).unwrap();
    heads.add(received(&resolution.record));
    assert_eq!(heads.winner(), Some(&resolution.record));
    assert_eq!(heads.iter().len(), 1, "though it could not name all that they claim");
    let edit = heads.edit(&path_of("p"), heads.base().as_ref(), file(3, 1), dot(3, 2)).unwrap();
    heads.add(received(&edit.record));
    assert_eq!(heads.winner(), Some(&edit.record));
    assert_eq!((edit.copies, heads.conflict(Below::Nothing)), (vec![], vec![]));
}

/// The same by what records say to have displaced.
#[test]
fn records_that_displaced_a_thousand_can_be_resolved() {
    let displacing = |writer: u64, bytes: u8| {
        let origin = dot(writer + 1, 2000);
        let displaced = (1..=DISPLACED_MAX as u64).map(|counter| dot(writer + 1, counter)).collect();
        let plain = record(dot(writer, 1), vec![origin], file(bytes, 9));
        received(&Record { origin, displaced, ..plain })
    };
    let heads: Heads = [displacing(10, 1), displacing(20, 2)].into_iter().collect();
    let resolution = heads.resolve(Below::Nothing, dot(3, 1)).unwrap().record;
    assert_eq!(received(&resolution).displaced.len(), DISPLACED_MAX);
}

/// Two records that claim to have seen each other: else each device would keep the one that came first, for ever.
#[test]
fn i15_records_that_claim_to_have_seen_each_other_are_both_kept_until_somebody_resolves() {
    let (one, other) =
        (record(dot(1, 1), vec![dot(2, 1)], file(1, 9)), record(dot(2, 1), vec![dot(1, 1)], file(2, 8)));
    let mut heads: Heads = [one.clone(), other.clone()].into_iter().collect();
    assert_eq!(heads, [other.clone(), one.clone()].into_iter().collect());
    assert_eq!(heads.iter().len(), 2);
    // Each makes the other stale, so the path is free.
    assert_eq!(heads.shown(Below::Nothing), Shown::Nothing);
    let made = heads.edit(&path_of("p"), None, file(3, 1), dot(3, 1)).unwrap().record;
    heads.add(received(&made));
    assert_eq!(heads.winner(), Some(&made));
    // Three in a ring, in all orders.
    let ring =
        [1, 2, 3].map(|at| record(dot(at, 1), vec![dot(at % 3 + 1, 1)], file(u8::try_from(at).unwrap(), 1)));
    let [a, b, c] = ring;
    let first: Heads = [a.clone(), b.clone(), c.clone()].into_iter().collect();
    for order in [[&a, &c, &b], [&b, &a, &c], [&b, &c, &a], [&c, &a, &b], [&c, &b, &a]] {
        assert_eq!(order.into_iter().cloned().collect::<Heads>(), first);
    }
}

/// T8: who claims to have seen what a writer has yet to mint is found out before the writer mints under it.
#[test]
fn a_claim_to_have_seen_the_future_of_a_writer_is_told() {
    let claims = record(dot(1, 1), vec![dot(5, 1_000_000)], file(1, 9));
    let own = record(dot(5, 6), vec![], file(2, 9));
    let heads: Heads = [claims, own].into_iter().collect();
    assert_eq!(heads.highest_counter(dot(5, 0).writer), 1_000_000);
    assert_eq!(heads.highest_counter(dot(1, 0).writer), 1);
    assert_eq!(heads.highest_counter(dot(7, 0).writer), 0);
}

/// I30: heads are bounded, and the resolution of all of them is one publication.
#[test]
fn i30_a_flood_of_heads_ends() {
    let flood = (1..=HEADS_MAX as u64)
        .map(|counter| record(dot(1, counter), vec![], file(1, i64::try_from(counter).unwrap())));
    let mut heads: Heads = flood.collect();
    assert_eq!(heads.iter().len(), HEADS_MAX);
    assert_eq!(heads.add(record(dot(2, 1), vec![], file(2, 0))), Added::Full);
    assert_eq!(
        heads.add(record(dot(2, 1), vec![dot(1, 1)], file(2, 5_000))),
        Added::Head { dropped: vec![record(dot(1, 1), vec![], file(1, 1))] }
    );
    let resolution = heads.resolve(Below::Nothing, dot(3, 1)).unwrap();
    assert!(resolution.copies.len() < PUBLICATION_RECORDS_MAX);
    assert!(
        matches!(heads.add(received(&resolution.record)), Added::Head { dropped } if dropped.len() == HEADS_MAX)
    );
}
