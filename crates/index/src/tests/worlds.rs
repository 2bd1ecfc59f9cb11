//! Any sequence of jobs: the tables follow from the database, merging follows plain [`Heads`].

use std::collections::BTreeMap;

use proptest::prelude::*;
use shoal_proto::arb;
use shoal_proto::digest::Digests;

use super::*;

/// Records as strangers may send them, published by the creator under a writer of its own.
fn published(records: Vec<Record>) -> Vec<Batch> {
    let writer = shoal_proto::id::Writer::drawn(&key(1).device(), &share(), &WriterSalt([6; 16]));
    let mut last: Option<Place> = None;
    let own = |(number, record): (usize, Record)| {
        // A dot of its writer each; what others are said to have seen stays, as far as it is known of nobody.
        let dot = shoal_proto::dot::Dot::new(writer, number as u64 + 1);
        let origin = if record.origin == record.dot { dot } else { record.origin };
        match record.copy_of {
            Some(_) => Some(record),
            None => Record { dot, origin, ..record }.check().ok(),
        }
    };
    let records: Vec<_> = records.into_iter().enumerate().filter_map(own).collect();
    let mut batches = Vec::new();
    for records in records.chunks(3) {
        let batch = publish(1, 6, last, records.to_vec());
        let Publication { sequence, .. } = batch.publication;
        last = Some(Place { sequence, hash: batch.publication.hash(&share()) });
        batches.push(batch);
    }
    batches
}

fn small_record() -> impl Strategy<Value = Record> {
    arb::record().prop_filter("absurd counters are parked", |record| {
        record.seen.entries().all(|entry| entry.counter < 1 << 20)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// I15, I14.
    #[test]
    fn i15_the_order_of_batches_does_not_matter(
        records in proptest::collection::vec(small_record(), 1..24),
        order in any::<[prop::sample::Index; 8]>(),
    ) {
        let batches = published(records);
        let mut plain: BTreeMap<RelPath, Heads> = BTreeMap::new();
        for record in batches.iter().flat_map(|batch| &batch.records) {
            plain.entry(record.path.clone()).or_default().add(record.clone());
        }
        let mut digests = Digests::default();
        for (path, heads) in &plain {
            heads.iter().for_each(|head| digests.add(Leaf::of(&share(), path), &head.hash()));
        }
        let mut turned = batches.clone();
        for index in order {
            let at = index.index(turned.len());
            let batch = turned.remove(at);
            turned.push(batch);
        }
        let (mut one, mut other) = (index(1), index(2));
        done(tell(&mut one, &batches));
        for batch in &turned {
            done(tell(&mut other, std::slice::from_ref(batch)));
            done(tell(&mut other, &turned[..1]));
        }
        for index in [&one, &other] {
            prop_assert_eq!(&index.memory.digests, &digests);
            for (path, heads) in &plain {
                prop_assert_eq!(&index.triple(path).unwrap().unwrap().heads, heads);
            }
            check(index);
        }
        // A third one takes over what either gives, in whole publications or with proofs.
        let mut third = index(3);
        done(tell(&mut third, &all(&other)));
        prop_assert_eq!(&third.memory.digests, &digests);
    }

    /// Two devices live for a while: after every step all tables and flags are what a look at everything gives, and in
    /// the end they agree.
    #[test]
    fn any_sequence_of_jobs_leaves_what_a_look_at_everything_gives(
        steps in proptest::collection::vec((0..2_usize, 0..5_usize, 0..6_u8, 1..4_u8), 1..30)
    ) {
        let paths = ["d", "d/x", "d/x/y", "e", "f"];
        let mut both = [index(1), index(2)];
        for (who, at, what, content) in steps {
            let at = paths[at];
            let device = &mut both[who];
            match what {
                0 | 1 => { see(device, at, Some(file(content, i64::from(content)))); }
                2 => { see(device, at, None); }
                3 => { see(device, at, Some(folder())); }
                4 => if device.triple(&path(at)).unwrap().is_some_and(|triple| triple.heads.winner().is_some()) {
                    prop_assert_ne!(show(device, at), PlacedOutcome::Changed);
                },
                _ => {
                    let batches = all(&both[1 - who]);
                    done(tell(&mut both[who], &batches));
                }
            }
            check(&both[who]);
        }
        for round in 0..3 {
            for who in [0, 1] {
                let batches = all(&both[1 - who]);
                done(tell(&mut both[who], &batches));
                for triple in both[who].diverging(None, usize::MAX).unwrap() {
                    if round == 0 && !triple.heads.conflict(triple.below).is_empty() && who == 0 {
                        let versions = versions(&both[who], &triple.path.to_string());
                        both[who].resolve(&triple.path, &versions, vec![]).unwrap();
                    }
                }
                check(&both[who]);
            }
        }
        prop_assert_eq!(&both[0].memory.digests, &both[1].memory.digests);
    }
}
