//! Stories of conflict copies: one for each version that lost, the same everywhere, the user's from then on; and who makes
//! them when.

use core::time::Duration;

use shoal_engine::status::Cause;

use crate::faults::During;
use crate::world::World;

/// A world of these devices with right clocks, in which all have met.
fn met<const N: usize>(seed: u64, names: [&str; N]) -> World {
    let mut w = World::seeded(seed).peers(names).share("notes");
    w.right_clocks().settle();
    w
}

/// Four devices, of which two and two have resolved the same conflict, apart from each other: x stays at p, y is a copy.
fn resolved_twice(seed: u64) -> World {
    let mut w = met(seed, ["ana", "ben", "cleo", "dan"]);
    w.part(&[]);
    w.on("ana").write_at("p.txt", "x", 2000);
    w.on("ben").write_at("p.txt", "y", 1000);
    w.linger().part(&[&["ana", "cleo"], &["ben", "dan"]]).linger();
    w.part(&[&["ana", "ben"], &["cleo", "dan"]]).linger();
    for name in ["ana", "ben", "cleo", "dan"] {
        w.on(name).assert_reads("p.txt", "x").assert_copies("p.txt", &["y"]);
    }
    w
}

/// F5 a: whoever makes a copy, and wherever, makes the same one.
#[test]
fn i16_f5a_resolvers_apart_make_one_copy() {
    let mut w = resolved_twice(1);
    let names = |w: &mut World, name: &str| w.on(name).paths();
    assert_eq!(names(&mut w, "ben"), names(&mut w, "cleo"), "before they meet");
    w.heal().settle().assert_copies("p.txt", &["y"]).assert_all();
}

/// F5 b: a path that loses twice in one minute has two copies.
#[test]
fn i5_f5b_two_losers_of_one_minute_have_two_copies() {
    let mut w = met(2, ["ana", "ben"]);
    w.part(&[]);
    w.on("ana").write_at("p", "a1", 60_050);
    w.on("ben").write_at("p", "b1", 60_010);
    w.linger().heal().settle().part(&[]);
    w.on("ana").write_at("p", "a2", 60_055);
    w.on("ben").write_at("p", "b2", 60_040);
    w.linger().heal().settle();
    w.assert_all_read("p", "a2").assert_copies("p", &["b1", "b2"]).assert_all();
}

/// What lost stands in the history alone, and who filed it ended before the index heard of it: it is named after the start.
#[test]
fn i5_what_lost_and_was_filed_by_a_process_that_ended_then_becomes_a_copy() {
    for calls in [6, 9, 12, 15, 18, 40] {
        let mut w = met(6, ["ana", "ben"]);
        w.part(&[]);
        w.on("ana").write_at("p", "from ana", 1000);
        w.on("ben").write_at("p", "from ben", 2000);
        w.linger().on("ana").crash_during(During::Commit, calls);
        w.connect("ana", "ben").until("the process ends", |world| world.devices[0].running.is_none());
        w.on("ana").restart();
        w.heal().settle().assert_all_read("p", "from ben").assert_copies("p", &["from ana"]).assert_all();
    }
}

/// What lost stands in the history alone, and the index that knew it by name is lost.
#[test]
fn i5_what_lost_becomes_a_copy_though_the_index_of_who_had_it_is_lost() {
    let mut w = met(7, ["ana", "ben"]);
    w.part(&[]);
    w.on("ana").write_at("p", "from ana", 1000);
    w.on("ben").write_at("p", "from ben", 2000);
    w.linger().heal().until_reads("ana", "p", "from ben").on("ana").lose_index();
    w.settle().assert_all_read("p", "from ben").assert_copies("p", &["from ana"]).assert_all();
}

/// F5 c: a copy that somebody deleted does not return because somebody else had made it too.
#[test]
fn i6_f5c_a_deleted_copy_stays_deleted_whoever_else_made_it() {
    let mut w = resolved_twice(3);
    let copy = w.on("ben").paths().into_iter().find(|path| path.contains("conflict")).unwrap_or_default();
    w.on("ben").remove(&copy);
    w.linger().heal().settle().assert_all_lack(&copy).assert_all();
}

/// F5 d: a copy that many made is one version, not many equal ones.
#[test]
fn i14_f5d_a_copy_that_many_made_is_one_version() {
    let mut w = resolved_twice(4);
    let copy = w.on("ben").paths().into_iter().find(|path| path.contains("conflict")).unwrap_or_default();
    w.heal().settle();
    for name in ["ana", "ben", "cleo", "dan"] {
        assert_eq!(w.on(name).heads(&copy), 1, "at {name}");
    }
}

/// F5 e: the copy of a file with the longest of names has a name that a disk takes.
#[test]
fn i5_f5e_the_longest_name_has_a_copy() {
    let mut w = met(5, ["ana", "ben"]);
    let path = format!("{}.txt", "n".repeat(251));
    w.part(&[]);
    w.on("ana").write_at(&path, "x", 2000);
    w.on("ben").write_at(&path, "y", 1000);
    w.linger().heal().settle().assert_all_read(&path, "x").assert_all();
    let paths = w.on("ana").paths();
    let copies: Vec<&String> = paths.iter().filter(|path| path.contains(" (conflict ")).collect();
    assert_eq!(copies.len(), 1, "{paths:?}");
    assert_eq!(w.on("ana").reads(copies[0]).as_deref(), Some(&b"y"[..]));
}

/// F5, agreement.md, item 6: a copy that itself loses gets a new mark in the place of the old one.
#[test]
fn i5_f5_a_copy_in_conflict_is_not_marked_twice() {
    let mut w = resolved_twice(6);
    let copy = w.on("ben").paths().into_iter().find(|path| path.contains("conflict")).unwrap_or_default();
    w.on("ben").write_at(&copy, "y from ben", 2000);
    w.on("cleo").write_at(&copy, "y from cleo", 1000);
    w.linger().heal().settle().assert_all_read(&copy, "y from ben").assert_all();
    w.assert_copies("p.txt", &["y from ben", "y from cleo"]);
    assert!(w.on("ana").paths().iter().all(|path| path.matches("(conflict").count() < 2));
}

/// F6: who has the records of a conflict and none of the bytes ends it for nobody.
#[test]
fn i5_f6_who_lacks_the_bytes_resolves_nothing() {
    let mut w = met(7, ["ana", "ben", "cleo"]);
    w.part(&[]).on("cleo").fill(0);
    w.on("ana").write_at("p", "x from ana", 2000);
    w.on("ben").write_at("p", "y from ben", 1000);
    w.linger().part(&[&["ana", "cleo"]]).linger();
    w.part(&[&["ben", "cleo"]]).linger();
    assert_eq!((w.on("cleo").heads("p"), w.on("ben").heads("p")), (2, 2));
    assert_eq!(w.tally.conflicts, 0);
    w.on("ben").assert_reads("p", "y from ben").assert_copies("p", &[]);
    w.on("cleo").assert_lacks("p").make_room();
    w.heal().settle().assert_all_read("p", "x from ana").assert_copies("p", &["y from ben"]).assert_all();
}

/// F6, the mirror case: a winner whose bytes nobody reachable has displaces nothing, and is listed.
#[test]
fn i31_f6_a_winner_without_bytes_displaces_nothing_and_is_listed() {
    let mut w = met(8, ["ana", "ben", "cleo"]);
    w.on("ana").write_at("p", "version 1", 1000);
    w.settle().part(&[]).on("cleo").fill(0);
    w.on("ana").write_at("p", "version 2", 3000);
    w.on("ben").write_at("p", "version b", 2000);
    w.linger().part(&[&["ana", "cleo"]]).linger();
    w.on("ana").crash();
    w.part(&[&["ben", "cleo"]]).linger().on("cleo").make_room();
    w.pass(Duration::from_secs(1800)).linger();
    w.on("ben")
        .assert_reads("p", "version b")
        .assert_copies("p", &[])
        .assert_cause("p", Some(Cause::NoSource));
    assert!(w.on("ben").status().is_some_and(|status| !status.is_in_sync()), "I31");
    w.on("cleo").assert_reads("p", "version 1");
    w.heal().settle().assert_all_read("p", "version 2").assert_copies("p", &["version b"]).assert_all();
}

/// F6, the resolver storm: six writers who all lost to each other end it in few steps.
#[test]
fn i2_f6_six_writers_in_one_conflict_end_it_in_few_steps() {
    let names = ["ana", "ben", "cleo", "dan", "eva", "finn"];
    let mut w = met(9, names);
    w.part(&[]);
    for (name, seconds) in names.into_iter().zip(1000..) {
        w.on(name).write_at("p", name, seconds);
    }
    w.linger().heal().settle();
    w.assert_all_read("p", "finn").assert_copies("p", &["ana", "ben", "cleo", "dan", "eva"]).assert_all();
    assert!(w.tally.conflicts <= 12, "{} resolutions", w.tally.conflicts);
}

/// F6, the resolver storm: where nobody's own version lost, they wait for each other, and one of four does the work.
#[test]
fn i2_f6_of_writers_that_look_on_one_resolves() {
    let mut w = met(10, ["ana", "ben", "cleo", "dan", "eva", "finn"]);
    w.part(&[]);
    w.on("ana").write_at("p", "x", 2000);
    w.on("ben").write_at("p", "y", 1000);
    w.linger().part(&[&["ana", "cleo", "eva"], &["ben", "dan", "finn"]]).linger();
    w.part(&[&["cleo", "dan", "eva", "finn"]]).linger();
    w.on("finn").assert_reads("p", "x").assert_copies("p", &["y"]);
    assert!((1..=2).contains(&w.tally.conflicts), "{} resolutions", w.tally.conflicts);
    w.heal().settle().assert_copies("p", &["y"]).assert_all();
}
