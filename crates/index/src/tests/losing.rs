//! What would be lost, and what is lacking: against counts by hand.

use std::collections::BTreeSet;

use shoal_engine::index::{Answer, Further, Guard, Job, Survey, perform};
use shoal_engine::limits::LOSS_QUIET;
use shoal_engine::time::Time;

use super::*;

fn gone(index: &Index, at: &str) -> Observed {
    let compared = index.triple(&path(at)).unwrap().unwrap().here;
    Observed { path: path(at), compared, found: None }
}

fn new(at: &str, found: Here) -> Observed {
    Observed { path: path(at), compared: None, found: Some(found) }
}

fn loss(index: &Index, observed: &[Observed]) -> Survey {
    index.loss(observed, &Further::default()).unwrap()
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
    let lost = |observed: &[Observed]| loss(&ana, observed);
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
    assert_eq!(loss(&ana, std::slice::from_ref(&late)), of(2, 0));
    // What is said to be at `b` now was compared with nothing, though something is there.
    assert_eq!(loss(&ana, &[gone(&ana, "a"), new("b", file(1, 10))]), of(2, 1));
    assert_eq!(loss(&ana, &[gone(&ana, "a"), gone(&ana, "a")]), of(2, 1), "once");
}

/// I19: a disk that is not mounted is asked about, and nothing is noted.
#[test]
fn i19_a_guarded_observation_of_a_mass_deletion_notes_nothing() {
    let mut ana = index(1);
    see(&mut ana, "a", Some(file(1, 10)));
    see(&mut ana, "b", Some(file(2, 10)));
    let job = |index: &Index, is_meant| Job::Observe {
        observed: vec![gone(index, "a"), gone(index, "b")],
        lists: vec![],
        guard: Guard { is_meant, ..Guard::default() },
    };
    let guarded = perform(job(&ana, false), &mut ana);
    assert!(matches!(guarded, Answer::Guarded(survey) if survey == of(2, 2)), "{guarded:?}");
    assert_eq!(ana.counts().files, 2);
    let answer = perform(job(&ana, true), &mut ana);
    let Answer::Observed(outcomes, batches) = answer else { panic!("{answer:?}") };
    assert_eq!((outcomes, batches.len()), (vec![Outcome::Published; 2], 1));
    assert_eq!(loss(&ana, &[]), of(0, 0));
}

const NOON: Time = Time(43_200_000_000_000);

/// These paths are found to be gone at a time, all at once.
fn lose(index: &mut Index, paths: &[&str], at: Time, is_meant: bool) -> Answer {
    let observed = paths.iter().map(|at| gone(index, at)).collect();
    let guard = Guard { at, is_meant, further: Further::default() };
    perform(Job::Observe { observed, lists: vec![], guard }, index)
}

fn guards(answer: &Answer) -> Option<Survey> {
    match answer {
        Answer::Guarded(survey) => Some(*survey),
        Answer::Observed(..) => None,
        other => panic!("{other:?}"),
    }
}

/// I19: what goes in several jobs is one loss, and not if it has been quiet between them.
#[test]
fn i19_what_goes_in_several_jobs_is_one_loss() {
    let mut ana = index(1);
    for (at, content) in [("a", 1), ("b", 2), ("c", 3), ("c2", 3), ("d", 4)] {
        see(&mut ana, at, Some(file(content, 10)));
    }
    assert_eq!(guards(&lose(&mut ana, &["a", "c"], NOON, false)), None);
    assert_eq!(loss(&ana, &[gone(&ana, "b"), gone(&ana, "c2")]), of(4, 3));
    // It is back, elsewhere: it was only moved.
    see(&mut ana, "e", Some(file(1, 10)));
    assert_eq!(loss(&ana, &[gone(&ana, "b")]), of(4, 1));
    assert_eq!(guards(&lose(&mut ana, &["e"], NOON.after(LOSS_QUIET), false)), None);
    let soon = NOON.after(LOSS_QUIET * 2);
    assert_eq!(guards(&lose(&mut ana, &["b", "c2", "d"], soon, false)), Some(of(4, 4)));
    assert_eq!(guards(&lose(&mut ana, &["b", "c2"], soon, false)), None);
    let later = soon.after(LOSS_QUIET * 2);
    assert_eq!(guards(&lose(&mut ana, &["d"], later, false)), None, "the last one of one, after a while");
    check(&ana);
}

/// I19: what was not there when the first was lost, and goes again, is neither lost nor left.
#[test]
fn i19_what_comes_and_goes_meanwhile_does_not_count() {
    let mut ana = index(1);
    for (at, content) in [("a", 1), ("b", 2), ("c", 3)] {
        see(&mut ana, at, Some(file(content, 10)));
    }
    assert_eq!(guards(&lose(&mut ana, &["a"], NOON, false)), None);
    for content in 10..40 {
        see(&mut ana, "new", Some(file(content, 10)));
        assert_eq!(guards(&lose(&mut ana, &["new"], NOON, false)), None);
    }
    see(&mut ana, "new", Some(file(50, 10)));
    assert_eq!(loss(&ana, &[gone(&ana, "b"), gone(&ana, "c")]), of(4, 3), "one is left");
    assert_eq!(loss(&ana, &["b", "c", "new"].map(|at| gone(&ana, at))), of(3, 3));
    check(&ana);
}

/// I19: what a person said was meant is not added to what goes later.
#[test]
fn i19_what_was_meant_is_not_added_up() {
    let mut ana = index(1);
    for (at, content) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        see(&mut ana, at, Some(file(content, 10)));
    }
    assert_eq!(guards(&lose(&mut ana, &["a", "b"], NOON, false)), None);
    assert_eq!(guards(&lose(&mut ana, &["c"], NOON, true)), None);
    assert_eq!(loss(&ana, &[gone(&ana, "d")]), of(1, 1));
    check(&ana);
}

/// I19: what is not remembered by its path counts by its content.
#[test]
fn i19_further_files_that_are_gone_count_as_well() {
    let mut ana = index(1);
    for (at, content) in [("a", 1), ("b", 2), ("c", 2), ("d", 3), ("e", 4)] {
        see(&mut ana, at, Some(file(content, 10)));
    }
    let mut further = Further::default();
    let content = |byte| ContentId::from_bytes([byte; 32]);
    let lost = |observed: &[Observed], further: &Further| ana.loss(observed, further).unwrap();
    further.add(&content(2));
    assert_eq!(lost(&[gone(&ana, "a")], &further), of(4, 1), "another path has it");
    further.add(&content(2));
    further.add(&content(3));
    assert_eq!(lost(&[gone(&ana, "a")], &further), of(4, 3));
    further.add(&content(4));
    let (observed, guard) = (vec![gone(&ana, "a")], Guard { further, ..Guard::default() });
    let answer = perform(Job::Observe { observed, lists: vec![], guard }, &mut ana);
    assert_eq!((guards(&answer), ana.counts().files), (Some(of(4, 4)), 5));
}

/// I19: what others ask to take away comes in parts, and is one loss.
#[test]
fn i19_what_was_taken_away_because_of_others_is_added_up() {
    let (mut ana, mut ben) = (index(1), index(2));
    for (at, content) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        see(&mut ana, at, Some(file(content, 10)));
    }
    show_all(&ana, &mut ben);
    let survey = |ben: &mut Index, at, is_meant| match perform(Job::Survey { at, is_meant }, ben) {
        Answer::Survey(survey, removals) => (survey, removals),
        other => panic!("{other:?}"),
    };
    let take_away = |ana: &mut Index, ben: &mut Index, at: &str, now| {
        see(ana, at, None);
        done(tell(ben, &all(ana)));
        let triple = ben.triple(&path(at)).unwrap().unwrap();
        let head = triple.heads.winner().cloned();
        let placed = Placed { path: path(at), planned: triple.here, now: None, head, is_moved: false };
        perform(Job::Placed(vec![placed], vec![], now), ben);
    };
    take_away(&mut ana, &mut ben, "a", NOON);
    see(&mut ana, "b", None);
    see(&mut ana, "c", None);
    done(tell(&mut ben, &all(&ana)));
    assert_eq!(survey(&mut ben, NOON.after(LOSS_QUIET), false), (of(4, 3), 2));
    assert_eq!(loss(&ben, &[gone(&ben, "d")]), of(3, 1), "what its own user does is another matter");
    assert_eq!(survey(&mut ben, NOON.after(LOSS_QUIET * 2), false), (of(3, 2), 2));
    take_away(&mut ana, &mut ben, "d", NOON);
    survey(&mut ben, NOON, true);
    assert_eq!(survey(&mut ben, NOON, false), (of(2, 2), 2));
    check(&ben);
}

#[test]
fn a_survey_counts_what_others_ask_to_take_away() {
    let (mut ana, mut ben) = (index(1), index(2));
    for (at, content) in [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("d2", 4), ("e", 5), ("f", 6)] {
        see(&mut ana, at, Some(file(content, 10)));
    }
    show_all(&ana, &mut ben);
    assert_eq!(ben.survey().unwrap().0, of(6, 0));
    let after = |ana: &Index, ben: &mut Index| {
        done(tell(ben, &all(ana)));
        ben.survey().unwrap().0
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
    assert_eq!(ben.survey().unwrap().0, of(6, 1));
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
    assert_eq!(reader.survey().unwrap().0, of(1, 0));
    see(&mut ana, "a", None);
    done(tell(&mut reader, &all(&ana)));
    assert_eq!(reader.survey().unwrap().0, of(1, 1));
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
    let row = Kept { content: Some(ContentId::from_bytes([2; 32])), size: 2, ..kept(1, "old") };
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
