//! What is noted of versions, what is told of them, and which go.

use core::time::Duration;

use shoal_engine::history::{Held, Pruning, Retention};
use shoal_engine::time::Time;

use super::*;
use crate::tests::{check, file, index, kept, listing, path, see, tell};

const DAY: u64 = 24 * 3600;

fn content(byte: u8) -> ContentId {
    ContentId::from_bytes([byte; 32])
}

/// A version of this content, with its size.
fn of(number: u64, at: &str, byte: u8, size: u64) -> Kept {
    Kept { content: Some(content(byte)), size, ..kept(number, at) }
}

fn deleted(number: u64, at: &str, byte: u8, size: u64) -> Kept {
    Kept { why: Why::Deleted, ..of(number, at, byte, size) }
}

fn numbers(index: &Index) -> Vec<u64> {
    let mut numbers: Vec<u64> =
        index.history(&listing(None, None, 99)).unwrap().iter().map(|kept| kept.number).collect();
    numbers.reverse();
    numbers
}

/// A month and so many bytes.
fn month(bytes_max: u64) -> Retention {
    Retention { bytes_max, ..Retention::default() }
}

/// Lets go of what is to go, at this moment by both clocks, in seconds; returns what went.
fn prune(index: &mut Index, at: u64, wall: u64, retention: Retention) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let at = Time(at * 1_000_000_000);
        let doomed = index.prune(&Pruning { at, wall, retention, at_most: 2 }).unwrap();
        assert!(doomed.numbers.len() <= 2);
        all.extend(doomed.numbers);
        if !doomed.is_more {
            let left = index.history(&listing(None, None, usize::MAX)).unwrap();
            let bytes = left.iter().map(|kept| kept.size).sum();
            assert_eq!(doomed.left, Held { versions: left.len() as u64, bytes });
            return all;
        }
    }
}

// ── noting and listing ──

#[test]
fn what_is_known_of_a_version_outlives_a_look_at_the_disk() {
    let mut ana = index(1);
    ana.add_history(&[of(1, "a", 7, 7), of(2, "a", 7, 7), kept(3, "a"), of(5, "a", 5, 7)]).unwrap();
    let found = |number, at: &str, size| Kept { size, by: None, why: Why::Deleted, ..kept(number, at) };
    let nowhere = Kept { path: None, ..found(9, "a", 7) };
    let named = Kept { content: Some(content(8)), ..found(3, "a", 7) };
    let all =
        [found(1, "a", 7), found(2, "a", 8), named, found(4, "a", 4), found(5, "b", 7), nowhere.clone()];
    let noted = ana.note_history(&all, &[]).unwrap();
    assert_eq!(noted, Noted { unnamed: vec![2, 4, 5, 9], late: vec![2] });
    let late = Kept { content: None, size: 8, is_late: true, ..of(2, "a", 7, 7) };
    let expected = [of(1, "a", 7, 7), late, of(3, "a", 8, 7), found(4, "a", 4), found(5, "b", 7), nowhere];
    assert_eq!(
        ana.history(&listing(None, None, 9)).unwrap(),
        expected.iter().rev().cloned().collect::<Vec<_>>()
    );
    check(&ana);
}

/// E17: what was written to a version is its content from then on; a person who knows of it is not told again, until more
/// is written.
#[test]
fn e17_a_late_edit_is_listed_until_it_is_heeded() {
    let mut ana = index(1);
    ana.add_history(&[of(1, "a", 7, 7)]).unwrap();
    let told = |ana: &mut Index, size, is_late, byte: Option<u8>| {
        let seen = Kept { size, is_late, content: byte.map(content), ..kept(1, "a") };
        ana.note_history(&[seen], &[]).unwrap()
    };
    let (late, nothing) = (vec![1], Vec::new());
    assert_eq!(told(&mut ana, 9, true, None), Noted { unnamed: vec![1], late: late.clone() });
    assert_eq!(ana.places(&content(7)).unwrap(), [], "nobody is given what is not there any more");
    assert_eq!(told(&mut ana, 9, false, Some(9)), Noted { unnamed: vec![], late: late.clone() });
    assert_eq!(ana.places(&content(9)).unwrap().len(), 1);
    assert_eq!(told(&mut ana, 9, true, None), Noted { unnamed: vec![], late: late.clone() });
    ana.heeded(1).unwrap();
    assert_eq!(told(&mut ana, 9, true, None), Noted { unnamed: vec![], late: nothing });
    assert!(ana.kept(1).unwrap().unwrap().is_late, "it is still told of it");
    assert_eq!(told(&mut ana, 11, true, None), Noted { unnamed: vec![1], late });
}

#[test]
fn what_is_kept_is_told_by_path_the_newest_first_in_pages() {
    let mut ana = index(1);
    let all = ["d", "d/e", "d/e/f", "d0", "d!", "e"];
    for (number, at) in (1..).zip(all) {
        ana.add_history(&[kept(number, at), kept(number + 10, at)]).unwrap();
    }
    let told = |at, before, at_most| {
        let page = ana.history(&listing(at, before, at_most)).unwrap();
        page.iter().map(|kept| kept.number).collect::<Vec<_>>()
    };
    assert_eq!(told(Some("d"), None, 9), [13, 12, 11, 3, 2, 1], "and what is below it");
    assert_eq!(told(Some("d"), Some(12), 2), [11, 3]);
    assert_eq!(told(Some("d/e/f"), None, 9), [13, 3]);
    assert_eq!(told(Some("x"), None, 9), [0; 0]);
    assert_eq!(told(None, Some(u64::MAX), 3), [16, 15, 14]);
    assert_eq!(ana.kept(12).unwrap(), Some(kept(12, "d/e")));
    assert_eq!(ana.kept(99).unwrap(), None);
}

#[test]
fn who_said_what_is_to_be_shown_is_known_where_something_stands() {
    let (mut ana, mut ben) = (index(1), index(2));
    let said = [see(&mut ana, "a", Some(file(1, 10))).1, see(&mut ana, "b", Some(file(2, 10))).1].concat();
    see(&mut ben, "a", Some(file(9, 5)));
    tell(&mut ben, &said);
    let rows = ["a", "b", "c"].map(|at| ben.triple(&path(at)).unwrap());
    let author = Some(ana.life().device);
    assert_eq!(ben.authors(&rows).unwrap(), [author, None, None], "nothing can be displaced at b");
}

// ── age ──

#[test]
fn versions_go_by_age_in_slices() {
    let mut ana = index(1);
    ana.add_history(&[of(1, "a", 1, 5), of(2, "b", 2, 5), of(3, "a", 3, 5)]).unwrap();
    let keep = month(u64::MAX);
    assert_eq!(prune(&mut ana, 0, 1000, keep), [0; 0]);
    ana.add_history(&[of(4, "a", 4, 5)]).unwrap();
    let mut went = Vec::new();
    for hour in 1..=30 * 24 + 2 {
        let gone = prune(&mut ana, hour * 3600, 1000 + hour * 3600, keep);
        went.extend(gone.into_iter().map(|number| (hour, number)));
    }
    assert_eq!(went, [(720, 1), (720, 2), (720, 3), (721, 4)], "each after a month, to the hour");
    assert_eq!(numbers(&ana), [0; 0]);
}

/// I29: a clock that jumps by a year makes a month's history a day older, and one that is set back nothing younger.
#[test]
fn i29_a_clock_that_jumps_empties_nothing() {
    let mut ana = index(1);
    let keep = month(u64::MAX);
    let wall = 1_000_000_000;
    prune(&mut ana, 0, wall, keep);
    ana.add_history(&[of(1, "a", 1, 5)]).unwrap();
    prune(&mut ana, 10, wall + 10, keep);
    for (day, jump) in (1..).zip([400 * DAY, 0, 400 * DAY, 0, 400 * DAY, 0]) {
        assert_eq!(prune(&mut ana, 20 + day * 3600, wall + jump, keep), [0; 0], "after {day} hours");
    }
    // Three days and some hours of the month are over by its own clock: so 26 days are left, and no more than that.
    assert_eq!(prune(&mut ana, 26 * DAY, wall, keep), [0; 0]);
    assert_eq!(prune(&mut ana, 27 * DAY + 60, wall, keep), [1]);
    check(&ana);
}

/// Nobody looks at a clock while the machine is off: such a time counts for a day at most.
#[test]
fn i29_the_time_between_two_processes_counts_for_a_day_at_most() {
    let keep = month(u64::MAX);
    for (gap, starts) in [(DAY / 2, 60), (DAY, 30), (10 * DAY, 30), (1000 * DAY, 30)] {
        let mut ana = index(1);
        let mut wall = 1_000_000_000;
        prune(&mut ana, 7, wall, keep);
        ana.add_history(&[of(1, "a", 1, 5)]).unwrap();
        prune(&mut ana, 7, wall, keep);
        let mut needed = 0;
        while numbers(&ana) == [1] {
            ana = ana.fork().unwrap();
            wall += gap;
            prune(&mut ana, 7, wall, keep);
            needed += 1;
        }
        assert_eq!(needed, starts, "with {gap} s between two starts");
    }
}

#[test]
fn what_was_never_asked_for_its_name_stays_and_what_has_none_goes() {
    let mut ana = index(1);
    ana.add_history(&[kept(1, "a"), kept(2, "b")]).unwrap();
    ana.nameless(2).unwrap();
    let short = Retention { keep: Duration::ZERO, bytes_max: 0 };
    assert_eq!(prune(&mut ana, 0, 0, short), [2], "of the other nobody knows whether it is needed");
    assert_eq!(numbers(&ana), [1]);
}

// ── room ──

/// What goes of these versions, in order, where there is room for so many bytes.
fn pruned_of(all: &[Kept], bytes_max: u64) -> Vec<u64> {
    let mut ana = index(1);
    ana.add_history(all).unwrap();
    prune(&mut ana, 0, 0, month(bytes_max))
}

#[test]
fn room_is_made_at_the_path_that_takes_most_the_oldest_first() {
    let all = [
        of(1, "small", 1, 5),
        of(2, "big", 2, 40),
        of(3, "big", 3, 40),
        of(4, "huge", 4, 100),
        of(5, "small", 5, 5),
        Kept { path: None, ..of(6, "-", 6, 50) },
    ];
    let order = |bytes_max| pruned_of(&all, bytes_max);
    assert_eq!(order(240), [0; 0]);
    assert_eq!(order(239), [4]);
    assert_eq!(order(139), [4, 2]);
    assert_eq!(order(99), [4, 2, 6], "then what has no path any more");
    assert_eq!(order(49), [4, 2, 6, 3]);
    assert_eq!(order(4), [4, 2, 6, 3, 1, 5]);
}

#[test]
fn what_a_path_had_when_it_was_deleted_goes_last() {
    last_of_a_path_goes_last(Why::Deleted);
}

/// I3: nobody else has what only this disk had.
#[test]
fn i3_what_was_only_here_goes_last() {
    last_of_a_path_goes_last(Why::Difference);
}

fn last_of_a_path_goes_last(why: Why) {
    let deleted = |number, at, byte, size| Kept { why, ..deleted(number, at, byte, size) };
    let all = [
        deleted(1, "a", 1, 90),
        of(2, "a", 2, 30),
        deleted(3, "a", 3, 100),
        of(4, "b", 4, 10),
        deleted(5, "c", 5, 50),
    ];
    let order = |bytes_max| pruned_of(&all, bytes_max);
    assert_eq!(order(279), [1], "it was made and deleted again");
    assert_eq!(order(189), [1, 2]);
    assert_eq!(order(159), [1, 2, 4], "another path's only version before it");
    assert_eq!(order(149), [1, 2, 4, 3]);
    assert_eq!(order(49), [1, 2, 4, 3, 5]);
}

#[test]
fn more_paths_than_one_page_are_gone_through() {
    let mut ana = index(1);
    let paths = PATHS_TRIED as u64;
    let all: Vec<Kept> =
        (1..=paths).map(|number| of(number, &format!("d/{number}"), 9, 1000 + number)).collect();
    // All but the smallest are needed.
    see(&mut ana, "wanted", Some(file(3, 10)));
    ana.add_history(&all).unwrap();
    for kept in &all[1..] {
        ana.conn
            .execute("UPDATE history SET named = 0 WHERE number = ?1", [kept.number.cast_signed()])
            .unwrap();
    }
    assert_eq!(prune(&mut ana, 0, 0, month(0)), [1]);
}

const PATHS_TRIED: usize = 600;

/// What was found there, and not filed for this index, may be needed for what it has not heard of yet.
#[test]
fn what_was_found_makes_room_after_a_day_only() {
    let mut ana = index(1);
    ana.note_history(&[of(1, "a", 1, 5)], &[]).unwrap();
    assert_eq!(prune(&mut ana, 0, 0, month(0)), [0; 0]);
    assert_eq!(prune(&mut ana, DAY - 1, 0, month(0)), [0; 0]);
    assert_eq!(prune(&mut ana, DAY + 1, 0, month(0)), [1]);
}

// ── what is needed ──

/// I5: the loser of a conflict may stand nowhere else.
#[test]
fn i5_the_only_bytes_of_what_a_head_names_never_go() {
    let (mut ana, mut ben) = (index(1), index(2));
    tell(&mut ben, &see(&mut ana, "a", Some(file(7, 10))).1);
    let none = Retention { keep: Duration::ZERO, bytes_max: 0 };
    ben.add_history(&[of(1, "a", 7, 7), of(2, "b", 8, 7)]).unwrap();
    assert_eq!(prune(&mut ben, 0, 0, none), [2]);
    assert_eq!(prune(&mut ben, 99 * DAY, 0, none), [0; 0]);
    assert_eq!(ben.lacking(9).unwrap().0.len(), 0, "it says that it has it, and so it is");
    // Of two versions of one content one is enough.
    ben.add_history(&[of(3, "c", 7, 7), of(4, "c", 7, 7)]).unwrap();
    assert_eq!(prune(&mut ben, 99 * DAY, 0, none).len(), 2);
    assert_eq!(ben.places(&content(7)).unwrap().len(), 1);
    // Once it stands in the folder it is not needed here.
    see(&mut ben, "mine", Some(file(7, 10)));
    assert_eq!(prune(&mut ben, 99 * DAY, 0, none).len(), 1);
    assert_eq!(numbers(&ben), [0; 0]);
    // And once no head names it.
    see(&mut ben, "mine", None);
    ben.add_history(&[of(9, "mine", 7, 7)]).unwrap();
    assert_eq!(prune(&mut ben, 99 * DAY, 0, none), [0; 0]);
    tell(&mut ben, &see(&mut ana, "a", Some(file(6, 11))).1);
    assert_eq!(prune(&mut ben, 99 * DAY, 0, none), [9]);
    check(&ben);
}

/// I17: what is to go is forgotten together, or not at all.
#[test]
fn i17_a_pruning_that_fails_forgets_nothing() {
    let mut ana = index(1);
    ana.add_history(&[of(1, "a", 1, 5), of(2, "b", 2, 5)]).unwrap();
    let failing = "CREATE TEMP TRIGGER failing BEFORE DELETE ON history WHEN old.number = 2 \
                   BEGIN SELECT RAISE(ABORT, 'no'); END";
    ana.conn.execute_batch(failing).unwrap();
    let retention = Retention { keep: Duration::ZERO, bytes_max: 0 };
    let pruning = Pruning { at: Time::ZERO, wall: 0, retention, at_most: 9 };
    assert!(ana.prune(&pruning).is_err());
    assert_eq!(numbers(&ana), [1, 2]);
    check(&ana);
}
