//! Heads and the encodings of records. Run with `cargo bench -p shoal-proto --bench records`.
//!
//! Goals: `Heads::add` at most 200 ns for the usual one head; encoding and decoding a record at most 1 µs together.

#![allow(missing_docs, reason = "benchmarks are no interface")]

use divan::{Bencher, black_box};
use shoal_proto::dot::{Dot, Seen};
use shoal_proto::hash::ContentId;
use shoal_proto::heads::Heads;
use shoal_proto::id::Writer;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Mode, Record, Timestamp, Version};
use shoal_proto::run::{decode_run, encode_run};

fn main() {
    divan::main();
}

/// A file of a usual path, at its third version.
fn record(counter: u64) -> Record {
    let dot = |counter| Dot::new(Writer::from_bytes(*b"a writer"), counter);
    let content = ContentId::from_bytes([7; 32]);
    let mtime = Timestamp::new(1_763_800_000, 123_456_789).expect("a time");
    Record {
        path: RelPath::parse(format!("photos/2026/november/picture-{counter:05}.jpeg").as_bytes())
            .expect("a path"),
        version: Version::new(Kind::File { size: 5_000_000, content }, mtime, Mode::from_bits(0o644)),
        dot: dot(counter),
        seen: Seen::new(vec![dot(counter - 1)]).expect("entries"),
        origin: dot(counter),
        displaced: Box::default(),
        copy_of: None,
    }
}

/// A newer version replaces the one head.
#[divan::bench]
fn heads_add(bencher: Bencher<'_, '_>) {
    let path = record(5).path;
    let at = |counter| Record { path: path.clone(), ..record(counter) };
    bencher
        .with_inputs(|| ([at(5)].into_iter().collect::<Heads>(), at(6)))
        .bench_values(|(mut heads, record)| (heads.add(record), heads));
}

/// The first record of a path.
#[divan::bench]
fn heads_add_to_none(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(|| record(5)).bench_values(|record| {
        let mut heads = Heads::default();
        (heads.add(record), heads)
    });
}

#[divan::bench]
fn encode_and_decode(bencher: Bencher<'_, '_>) {
    let record = record(300);
    bencher.bench(|| Record::decode(&black_box(&record).encode()));
}

#[divan::bench]
fn hash(bencher: Bencher<'_, '_>) {
    let record = record(300);
    bencher.bench(|| black_box(&record).hash());
}

/// A run of 1,024 records to the wire and back; divide by 1,024.
#[divan::bench]
fn encode_and_decode_a_run_of_1024(bencher: Bencher<'_, '_>) {
    let run: Vec<_> = (300..1324).map(record).collect();
    bencher.bench(|| decode_run(&encode_run(black_box(&run)).0));
}
