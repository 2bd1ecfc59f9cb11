//! What would be lost, and what is lacking: against counts by hand.

use std::collections::BTreeSet;

use shoal_engine::index::{Answer, Job, Survey, perform};

use super::*;

fn gone(index: &Index, at: &str) -> Observed {
    let compared = index.triple(&path(at)).unwrap().unwrap().here;
    Observed { path: path(at), compared, found: None }
}

fn new(at: &str, found: Here) -> Observed {
    Observed { path: path(at), compared: None, found: Some(found) }
}

fn of(had: u64, lost: u64) -> Survey {
    Survey { had, lost }
}

/// All that the one has is told to the other, whose disk shows it.
fn show_all(from: &Index, to: &mut Index) {
    done(tell(to, &all(from)));
    for triple in to.diverging(None, usize::MAX).unwrap() {
        show(to, &triple.path.to_string());
    }
    assert_eq!(to.counts().diverging, 0);
}

/// I19: contents are counted, not paths.
#[test]
fn i19_what_another_path_has_or_gets_is_not_lost() {
    let mut ana = index(1);
    for (at, content) in [("a", 1), ("b", 2), ("c", 2), ("d", 3)] {
        see(&mut ana, at, Some(file(content, 10)));
    }
    see(&mut ana, "folder", Some(folder()));
    let lost = |observed: &[Observed]| ana.loss(observed).unwrap();
    assert_eq!(lost(&[]), of(3, 0));
    assert_eq!(lost(&[gone(&ana, "a")]), of(3, 1));
    assert_eq!(lost(&[gone(&ana, "b"), gone(&ana, "folder")]), of(3, 0), "another path has it");
    assert_eq!(lost(&[gone(&ana, "b"), gone(&ana, "c")]), of(3, 1));
    let moved = [gone(&ana, "a"), new("e", file(1, 99)), new("f", file(9, 9))];
    assert_eq!(lost(&moved), of(3, 0), "it is found elsewhere, whatever its time");
    let edit = Observed { found: Some(file(8, 20)), ..gone(&ana, "d") };
    assert_eq!(lost(std::slice::from_ref(&edit)), of(3, 0), "what a user replaces is no loss");
    let back = Observed { compared: edit.found.clone(), found: edit.compared.clone(), ..edit.clone() };
    assert_eq!(lost(&[edit, back]), of(3, 0));
    let touch = Observed { found: Some(file(1, 50)), ..gone(&ana, "a") };
    assert_eq!(lost(&[touch]), of(3, 0));
}

#[test]
fn what_would_not_be_noted_is_no_loss_and_saves_nothing() {
    let mut ana = index(1);
    see(&mut ana, "a", Some(file(1, 10)));
    see(&mut ana, "b", Some(file(2, 10)));
    let late = Observed { compared: Some(file(1, 11)), ..gone(&ana, "a") };
    assert_eq!(ana.loss(std::slice::from_ref(&late)).unwrap(), of(2, 0));
    // What is said to be at `b` now was compared with nothing, though something is there.
    assert_eq!(ana.loss(&[gone(&ana, "a"), new("b", file(1, 10))]).unwrap(), of(2, 1));
    assert_eq!(ana.loss(&[gone(&ana, "a"), gone(&ana, "a")]).unwrap(), of(2, 1), "once");
}

/// I19: a disk that is not mounted is asked about, and nothing is noted.
#[test]
fn i19_a_guarded_observation_of_a_mass_deletion_notes_nothing() {
    let mut ana = index(1);
    see(&mut ana, "a", Some(file(1, 10)));
    see(&mut ana, "b", Some(file(2, 10)));
    let job = |index: &Index, is_guarded| Job::Observe {
        observed: vec![gone(index, "a"), gone(index, "b")],
        lists: vec![],
        is_guarded,
    };
    let guarded = perform(job(&ana, true), &mut ana);
    assert!(matches!(guarded, Answer::Guarded(survey) if survey == of(2, 2)), "{guarded:?}");
    assert_eq!(ana.counts().files, 2);
    let answer = perform(job(&ana, false), &mut ana);
    let Answer::Observed(outcomes, batches) = answer else { panic!("{answer:?}") };
    assert_eq!((outcomes, batches.len()), (vec![Outcome::Published; 2], 1));
    assert_eq!(ana.loss(&[]).unwrap(), of(0, 0));
}

#[test]
fn a_survey_counts_what_others_ask_to_take_away() {
    let (mut ana, mut ben) = (index(1), index(2));
    for (at, content) in [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("d2", 4), ("e", 5), ("f", 6)] {
        see(&mut ana, at, Some(file(content, 10)));
    }
    show_all(&ana, &mut ben);
    assert_eq!(ben.survey().unwrap(), of(6, 0));
    let after = |ana: &Index, ben: &mut Index| {
        done(tell(ben, &all(ana)));
        ben.survey().unwrap()
    };
    see(&mut ana, "a", None);
    assert_eq!(after(&ana, &mut ben), of(6, 1), "taken away");
    see(&mut ana, "b", Some(file(20, 20)));
    assert_eq!(after(&ana, &mut ben), of(6, 1), "what is replaced is no loss");
    see(&mut ana, "c", None);
    assert_eq!(after(&ana, &mut ben), of(6, 2));
    see(&mut ana, "moved", Some(file(3, 10)));
    assert_eq!(after(&ana, &mut ben), of(6, 1), "it is to be placed elsewhere");
    see(&mut ana, "d", None);
    assert_eq!(after(&ana, &mut ben), of(6, 1), "another path has it");
    see(&mut ana, "e", None);
    see(&mut ana, "e", Some(folder()));
    assert_eq!(after(&ana, &mut ben), of(6, 1), "a folder takes its place");
    see(&mut ana, "f", Some(file(6, 77)));
    assert_eq!(after(&ana, &mut ben), of(6, 1), "a new time takes nothing");

    // What the user changes in a replaced path is to be published, not taken away.
    see(&mut ben, "b", Some(file(30, 30)));
    assert_eq!(ben.survey().unwrap(), of(6, 1));
    check(&ben);
}

/// I26: a reader's own difference stays until something newer comes.
#[test]
fn a_survey_asks_by_the_rights_of_the_role() {
    let mut ana = index(1);
    see(&mut ana, "a", Some(file(1, 10)));
    let mut reader = Index::create(At::Memory, founding(), key(2), WriterSalt([2; 16])).unwrap();
    reader.add_entries(joined(2, Role::Reader)).unwrap();
    reader.set_first_contact().unwrap();
    show_all(&ana, &mut reader);
    see(&mut reader, "a", Some(file(2, 20)));
    assert_eq!(reader.survey().unwrap(), of(1, 0));
    see(&mut ana, "a", None);
    done(tell(&mut reader, &all(&ana)));
    assert_eq!(reader.survey().unwrap(), of(1, 1));
}

#[test]
fn a_record_lacks_its_bytes_until_they_are_somewhere() {
    let (mut ana, mut ben) = (index(1), index(2));
    let mut hashes = Vec::new();
    for (at, content) in [("a", 1), ("b", 2), ("c", 3)] {
        hashes.push(see(&mut ana, at, Some(file(content, 10))).1[0].records[0].hash());
    }
    let mut empty = file(1, 10);
    empty.version.kind = Kind::File { size: 0, content: ContentId::of_nothing() };
    assert_eq!(see(&mut ana, "empty", Some(empty)).0, Outcome::Published);
    see(&mut ana, "folder", Some(folder()));
    assert_eq!(ana.lacking(9).unwrap(), (BTreeSet::new(), ana.memory.digests.root()));
    done(tell(&mut ben, &all(&ana)));
    let of = |some: &[usize]| some.iter().map(|&at| hashes[at]).collect::<BTreeSet<_>>();
    assert_eq!(ben.lacking(3).unwrap(), (of(&[0, 1, 2]), ana.memory.digests.root()));
    for at_most in 0..3 {
        assert_eq!(ben.lacking(at_most).unwrap().0.len(), at_most + 1, "one more says that there are more");
    }
    show(&mut ben, "a");
    assert_eq!(ben.lacking(9).unwrap().0, of(&[1, 2]));
    let row = HistoryRow {
        number: 1,
        path: path("old"),
        content: Some(ContentId::from_bytes([2; 32])),
        size: 2,
        when: Timestamp::ZERO,
        by: None,
    };
    ben.add_history(&[row]).unwrap();
    assert_eq!(ben.lacking(9).unwrap().0, of(&[2]));
    // Bytes are bytes, wherever they stand.
    see(&mut ben, "mine", Some(file(3, 77)));
    assert_eq!(ben.lacking(9).unwrap().0, of(&[]));
}

/// What was replaced by somebody who had seen it is wanted by nobody, though its record stands beside it still.
#[test]
fn a_stale_record_lacks_nothing() {
    let (mut ana, mut ben, mut cem) = (index(1), index(2), index(3));
    see(&mut ana, "a", Some(file(1, 10)));
    show_all(&ana, &mut ben);
    let touch = see(&mut ben, "a", Some(file(1, 50))).1;
    let edit = see(&mut ana, "a", Some(file(2, 20))).1;
    done(tell(&mut cem, &[touch, edit.clone()].concat()));
    assert_eq!(cem.triple(&path("a")).unwrap().unwrap().heads.iter().len(), 2);
    assert_eq!(cem.lacking(9).unwrap().0, BTreeSet::from([edit[0].records[0].hash()]));
}

/// What is asked for often goes through the paths that ask for something, not through all.
#[test]
fn only_diverging_paths_are_gone_through() {
    let ana = index(1);
    let plan = |which: &str| -> String {
        let sql = format!("EXPLAIN QUERY PLAN {which}");
        ana.conn.query_row(&sql, [], |row| row.get("detail")).unwrap()
    };
    assert!(plan(lookup::DIVERGING).contains("USING INDEX diverging"), "{}", plan(lookup::DIVERGING));
}
