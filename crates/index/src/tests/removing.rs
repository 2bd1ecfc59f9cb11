//! A device is removed, and a writer begins anew: what does not count any more is said again.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// What a removal makes void leaves heads and sums, and what a disk shows of it is said again.
#[test]
fn what_a_removed_device_said_late_is_void_and_said_again_where_it_is_shown() {
    let (mut ana, mut cem, late, removal) = removing_ben(&["a", "b"]);
    for index in [&mut ana, &mut cem] {
        assert_eq!(done(tell(index, &late)).new.len(), 2);
    }
    show(&mut ana, "a");
    let answer = ana.add_entries(vec![removal.clone()]).unwrap();
    assert_eq!((answer.new, answer.voided), (1, vec![path("a"), path("b")]));
    let again = &answer.batches[0].records;
    assert_eq!((again.len(), again[0].path.clone(), again[0].dot.writer), (1, path("a"), ana.life().writer));
    assert!(!ana.triple(&path("a")).unwrap().unwrap().is_diverging());
    assert!(ana.triple(&path("b")).unwrap().is_none(), "nothing shows it any more");
    assert_eq!(cem.add_entries(vec![removal]).unwrap().batches, []);
    assert_eq!(cem.memory.digests.records(), 0);
    tell(&mut cem, &answer.batches);
    assert_eq!(cem.memory.digests, ana.memory.digests);
    assert_eq!(done(tell(&mut cem, &late)).refused.len(), 2);
    check(&ana);
    check(&cem);
}

/// What its last publications are named for: all that led to them goes on to count, and nothing later.
#[test]
fn what_a_removed_device_said_before_counts_if_its_last_publications_are_named() {
    let (mut ana, mut cem, said, _) = removing_ben(&["a", "b", "c"]);
    let ben = key(2).device();
    assert!(ana.last_publications_of(&ben).unwrap().is_empty());
    tell(&mut ana, &said[..2]);
    let last = ana.last_publications_of(&ben).unwrap();
    let place = Place { sequence: 1, hash: said[1].publication.hash(&share()) };
    assert_eq!(last, BTreeMap::from([(said[1].publication.writer(&share()), BTreeSet::from([place]))]));
    assert!(ana.last_publications_of(&key(1).device()).unwrap().is_empty());

    let mut random = shoal_proto::key::rand_core::OsRng;
    let secret = shoal_proto::secret::ShareSecret::from_bytes([5; 32]);
    let removal = ana.entries().removal(&key(1), ben, &last, &secret, &mut random).unwrap();
    for index in [&mut ana, &mut cem] {
        assert_eq!(index.add_entries(removal.clone()).unwrap().voided, []);
        tell(index, &said);
        let holds = |at| index.triple(&path(at)).unwrap().is_some();
        assert_eq!([holds("a"), holds("b"), holds("c")], [true, true, false]);
        check(index);
    }
}

/// Ana and cem, and what ben, whom they have let in, has said of these paths; and the entry that removes ben and all that.
fn removing_ben(paths: &[&str]) -> (Index, Index, Vec<Batch>, Entry) {
    let (mut ana, mut cem) = (index(1), index(3));
    let entries = joined(2, Role::Writer);
    let mut ben = Index::create(At::Memory, founding(), key(2), WriterSalt([2; 16])).unwrap();
    for index in [&mut ana, &mut ben, &mut cem] {
        index.add_entries(entries.clone()).unwrap();
    }
    ben.set_first_contact().unwrap();
    let late = paths.iter().zip(1..).flat_map(|(at, content)| see(&mut ben, at, Some(file(content, 10))).1);
    let late: Vec<Batch> = late.collect();
    let last = ana.roster().last_entry(&key(1).device());
    let statement = Statement::Removed { about: key(2).device(), kept: shoal_proto::roster::Kept::default() };
    let removal = Entry::sign(&key(1), &share(), last, statement).unwrap();
    (ana, cem, late, removal)
}

/// I3: also by who was asking a person at that moment; else the file would be taken away after the answer.
#[test]
fn i3_what_a_removed_device_said_is_said_again_by_who_is_halted() {
    let (mut ana, mut cem, late, removal) = removing_ben(&["a"]);
    tell(&mut ana, &late);
    show(&mut ana, "a");
    ana.set_halted(true).unwrap();
    let again = ana.add_entries(vec![removal.clone()]).unwrap().batches;
    assert_eq!((again.len(), again[0].records[0].path.clone()), (1, path("a")));
    assert_eq!(
        see(&mut ana, "a", Some(file(9, 20))),
        (Outcome::LocalDifference, vec![]),
        "it is halted still"
    );
    see(&mut ana, "a", Some(file(1, 10)));
    assert!(!ana.triple(&path("a")).unwrap().unwrap().is_diverging());
    cem.add_entries(vec![removal]).unwrap();
    tell(&mut cem, &again);
    assert_eq!(cem.memory.digests, ana.memory.digests);
    check(&ana);
}

/// I3, I6: who has not compared records with anybody does not know what became of it, and says it afterwards.
#[test]
fn i3_what_a_removed_device_said_is_kept_by_who_knows_nobody_yet() {
    let (mut ana, _, late, removal) = removing_ben(&["a", "gone"]);
    let mut dan = Index::create(At::Memory, founding(), key(4), WriterSalt([4; 16])).unwrap();
    let entries = [joined(2, Role::Writer), joined(4, Role::Writer)].concat();
    dan.add_entries(entries.clone()).unwrap();
    tell(&mut dan, &late);
    for (at, content) in [("a", 1), ("gone", 2)] {
        assert_eq!(see(&mut dan, at, Some(file(content, 10))).0, Outcome::Adopted);
    }
    ana.add_entries(entries).unwrap();
    tell(&mut ana, &late);
    show(&mut ana, "gone");
    // Ana has said it again, and deleted it.
    let gone =
        [ana.add_entries(vec![removal.clone()]).unwrap().batches, see(&mut ana, "gone", None).1].concat();
    assert_eq!(dan.add_entries(vec![removal]).unwrap().batches, []);
    tell(&mut dan, &gone);
    dan.set_first_contact().unwrap();
    for at in ["a", "gone"] {
        let triple = dan.triple(&path(at)).unwrap().unwrap();
        assert_eq!((triple.base.clone(), triple.standing), (None, Standing::Differs), "{at}");
    }
    assert_eq!(see(&mut dan, "a", Some(file(1, 10))).0, Outcome::Published);
    assert_eq!(see(&mut dan, "gone", Some(file(2, 10))).0, Outcome::AdoptedDeletion);
    check(&dan);
}

/// I18: a guard that has stopped the share is no reason to keep what others know by another name.
#[test]
fn i18_a_new_writer_of_who_is_halted_says_all_again() {
    let mut ana = index(1);
    see(&mut ana, "a", Some(file(1, 10)));
    ana.set_halted(true).unwrap();
    let again = ana.new_writer(WriterSalt([9; 16]), None).unwrap();
    assert_eq!((again.len(), again[0].records[0].dot.writer), (1, ana.life().writer));
    assert!(!ana.triple(&path("a")).unwrap().unwrap().is_diverging());
    check(&ana);
}
