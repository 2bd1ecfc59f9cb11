//! What it costs to agree: a record more or less in the sums, and whole conversations about a million
//! records.

#![allow(missing_docs, reason = "nobody imports a benchmark")]

use std::borrow::Cow;
use std::collections::VecDeque;

use divan::{Bencher, black_box};
use shoal_proto::digest::{Digests, LEAVES, Leaf};
use shoal_proto::hash::RecordHash;
use shoal_proto::reconcile::{Nonce, Output, Reconcile, ReconcileMessage, Records, Role};

fn main() {
    divan::main();
}

/// Records in memory, each in the leaf of its first two bytes.
#[derive(Clone)]
struct Set {
    digests: Digests,
    leaves: Vec<Vec<RecordHash>>,
}

impl Set {
    fn of(records: impl Iterator<Item = RecordHash>) -> Self {
        let mut set = Self { digests: Digests::default(), leaves: vec![Vec::new(); LEAVES] };
        records.for_each(|record| set.add(record));
        set
    }

    fn add(&mut self, record: RecordHash) {
        let leaf = leaf_of(&record);
        let records = &mut self.leaves[usize::from(leaf.0)];
        if let Err(at) = records.binary_search(&record) {
            records.insert(at, record);
            self.digests.add(leaf, &record);
        }
    }
}

impl Records for Set {
    fn digests(&self) -> &Digests {
        &self.digests
    }

    fn fingerprints(&self, leaf: Leaf) -> Cow<'_, [RecordHash]> {
        Cow::Borrowed(&self.leaves[usize::from(leaf.0)])
    }
}

fn leaf_of(record: &RecordHash) -> Leaf {
    let bytes = record.as_bytes();
    Leaf(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn records(numbers: core::ops::Range<u64>) -> impl Iterator<Item = RecordHash> {
    numbers.map(|number| RecordHash::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes()))
}

#[divan::bench]
fn one_record_in_and_out(bencher: Bencher<'_, '_>) {
    let all: Vec<_> = records(0..100_000).collect();
    let mut digests = Digests::default();
    all.iter().for_each(|record| digests.add(leaf_of(record), record));
    let mut next = all.iter().cycle();
    bencher.counter(2_u64).bench_local(|| {
        if let Some(record) = next.next() {
            digests.remove(leaf_of(record), record);
            digests.add(leaf_of(record), black_box(record));
        }
    });
}

#[divan::bench(sample_count = 10)]
fn sums_of_a_million_records(bencher: Bencher<'_, '_>) {
    let all: Vec<_> = records(0..1_000_000).collect();
    bencher.bench(|| {
        let mut digests = Digests::default();
        all.iter().for_each(|record| digests.add(leaf_of(record), record));
        digests
    });
}

#[divan::bench(sample_count = 10)]
fn a_million_equal_records(bencher: Bencher<'_, '_>) {
    let set = Set::of(records(0..1_000_000));
    bencher.with_inputs(|| [set.clone(), set.clone()]).bench_values(converse);
}

#[divan::bench(sample_count = 10)]
fn a_thousand_differences_among_a_million(bencher: Bencher<'_, '_>) {
    let one = Set::of(records(0..999_500));
    let other = Set::of(records(500..1_000_000));
    bencher.with_inputs(|| [one.clone(), other.clone()]).bench_values(converse);
}

/// Both ends, to the end, with all that is encoded and decoded.
fn converse([one, other]: [Set; 2]) -> [Set; 2] {
    enum Item {
        Message(Vec<u8>),
        Records(Vec<RecordHash>),
    }
    let nonce = Nonce::new([1; 16], [2; 16]);
    let mut ends = [Role::Leader, Role::Follower].map(|role| Reconcile::new(role, nonce, true));
    let mut sets = [one, other];
    let mut pipes = [VecDeque::new(), VecDeque::new()];
    ends[0].begin(&sets[0]);
    loop {
        for from in [0, 1] {
            while let Some(output) = ends[from].poll(&sets[from]) {
                match output {
                    Output::Send(message) => {
                        let body = message.encode();
                        pipes[1 - from].push_back(Item::Message(body));
                    }
                    Output::Push(records) => pipes[1 - from].push_back(Item::Records(records)),
                    Output::StreamAll | Output::Wait | Output::InSync => {}
                }
            }
        }
        if pipes.iter().all(VecDeque::is_empty) {
            return sets;
        }
        for to in [0, 1] {
            for item in core::mem::take(&mut pipes[to]) {
                match item {
                    Item::Message(body) => {
                        let Ok(message) = ReconcileMessage::decode(&body) else { return sets };
                        if ends[to].handle(message, &sets[to]).is_err() {
                            return sets;
                        }
                    }
                    Item::Records(records) => records.into_iter().for_each(|record| sets[to].add(record)),
                }
            }
        }
    }
}
