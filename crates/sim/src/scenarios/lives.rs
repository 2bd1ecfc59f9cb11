//! Stories of devices that lose their index, are put back to an earlier day, or are copied.

use core::time::Duration;

use crate::faults::Part;
use crate::users::{Bytes, Step};
use crate::world::World;

/// A world of these devices with right clocks, in which all have met.
fn met<const N: usize>(seed: u64, names: [&str; N]) -> World {
    let mut w = World::seeded(seed).peers(names).share("notes");
    w.right_clocks().settle();
    w
}

/// F4 a: a folder from an old backup, with a new index, overrides nothing; its files stand beside what came since.
#[test]
fn i18_f4a_an_old_folder_with_a_new_index_overrides_nothing() {
    let mut w = met(1, ["ana", "ben"]);
    w.on("ana").write_at("p", "version 4", 1000).write("same", "as ever");
    w.settle().on("ana").back_up().write_at("p", "version 5", 2000);
    w.settle().on("ana").put_back(Part::Disk).lose_index();
    w.settle().assert_all_read("p", "version 5").assert_copies("p", &["version 4"]);
    w.assert_copies("same", &[]).assert_all();
}

/// F4 b: a device that was put back to Monday and edits has not seen what it said on Tuesday.
#[test]
fn i18_f4b_an_edit_after_a_roll_back_covers_nothing_that_it_never_saw() {
    let mut w = met(2, ["ana", "ben"]);
    w.on("ana").write_at("p", "monday", 1000);
    w.settle().on("ana").back_up().write_at("p", "tuesday", 2000);
    w.settle().cut("ana", "ben").on("ana").put_back(Part::Both);
    w.pass(core::time::Duration::from_secs(60));
    w.on("ana").assert_reads("p", "monday").write_at("p", "monday, edited", 3000);
    w.linger().heal().settle();
    w.assert_all_read("p", "monday, edited").assert_copies("p", &["tuesday"]).assert_all();
}

/// F4, agreement.md, item 3: a device that was put back and was busy since has said more than others know of it.
#[test]
fn i18_f4_who_was_busy_since_a_roll_back_learns_of_it_all_the_same() {
    let mut w = met(3, ["ana", "ben"]);
    for day in ["one", "two", "three"] {
        w.on("ana").write(day, day);
    }
    w.settle().on("ana").back_up().write("four", "four").write("p", "tuesday");
    w.settle().cut("ana", "ben").on("ana").put_back(Part::Both);
    let before = w.devices[0].index.life().writer;
    w.pass(core::time::Duration::from_secs(60));
    for number in 0..6 {
        w.on("ana").write(&format!("new {number}"), &format!("since {number}"));
        w.all_rescan().pass(core::time::Duration::from_secs(20));
    }
    w.linger().heal().settle().assert_all_read("p", "tuesday").assert_all();
    assert_ne!(w.devices[0].index.life().writer, before, "it goes on under a new writer");
    assert_eq!(w.on("ben").paths().len(), 11, "{:?}", w.on("ben").paths());
}

/// F4: an index that is put back, with the disk of today, is a cache that is behind: no conflict, no copy.
#[test]
fn i18_f4_an_index_that_was_put_back_costs_time_alone() {
    let mut w = met(4, ["ana", "ben"]);
    w.on("ana").write("p", "v1").write("q", "q1").write("r", "r1");
    w.settle().on("ana").back_up().write("p", "v2").remove("q");
    w.settle().on("ben").write("r", "r2");
    w.settle().on("ana").put_back(Part::Index);
    w.settle().assert_all_read("p", "v2").assert_all_read("r", "r2").assert_all_lack("q");
    w.assert_copies("p", &[]).assert_copies("r", &[]).assert_all();
}

/// F4: a lost index, with the disk of today, adopts what all have, and publishes nothing.
#[test]
fn i18_f4_a_lost_index_adopts_what_all_have() {
    let mut w = met(5, ["ana", "ben"]);
    for number in 0..12 {
        w.on("ana").write(&format!("d/{number}"), &format!("text {number}"));
    }
    w.settle().on("ben").lose_index();
    let bytes = w.tally.bytes;
    w.settle().assert_all();
    assert_eq!(w.on("ben").published(), 0);
    assert!(w.tally.bytes - bytes < 20_000, "{} bytes", w.tally.bytes - bytes);
}

/// F4: two that work under one identity keep what both did, and end without contradiction when one stops.
#[test]
fn i3_f4_a_copied_device_loses_nothing() {
    for seed in 1..3 {
        let mut w = met(seed, ["ana", "ben", "cleo"]);
        w.on("ben").write("p", "v1");
        w.settle().on("ben").copy_device();
        w.on("ben").write("p", "v2").write("new", "by ben");
        w.on("cleo").write("q", "by cleo");
        w.linger().on("ben").write("p", "v3").stop_copy();
        w.settle()
            .assert_all_read("p", "v3")
            .assert_all_read("new", "by ben")
            .assert_all_read("q", "by cleo");
        w.assert_copies("p", &[]).assert_all();
    }
}

/// F4: who turns out to have a copy of itself asks how far both went together, also of a peer that it met before it had
/// ever published: what it says again would bring back what others delete meanwhile.
#[test]
fn i6_f4_a_copied_device_says_nothing_again_that_both_of_it_have_said() {
    for seed in 40..44 {
        let mut w = met(seed, ["ana", "ben", "cleo"]);
        let bytes = Bytes { number: 1, size: 40, edit: 0 };
        w.on("ana").write("gone", "v1");
        w.settle().cut("ana", "cleo").hold_up("ben", "cleo", Duration::from_secs(30));
        w.on("cleo").remove("gone");
        w.on("ana").unwatched(&Step::Write("p".to_owned(), bytes)).copy_device();
        w.pass(Duration::from_secs(20)).on("ana").stop_copy();
        w.heal().settle().assert_all_lack("gone").assert_all_show(["p"]).assert_all();
    }
}

/// F4, agreement.md, item 14: what a rolled-back life deletes of its own takes nothing away that others know by that name.
#[test]
fn i3_f4_a_deletion_by_a_rolled_back_life_takes_its_own_away_alone() {
    let mut w = met(6, ["ana", "ben"]);
    w.on("ana").write("rest", "of it");
    w.settle().on("ana").back_up().write("p", "v");
    w.settle().cut("ana", "ben").on("ana").put_back(Part::Both);
    w.pass(core::time::Duration::from_secs(60));
    w.on("ana").assert_lacks("p").write("p", "w");
    w.linger().on("ana").remove("p");
    w.linger().heal().settle().assert_all_read("p", "v").assert_all();
}

/// F9 a: what was deleted while a device was away, and its index lost, does not come back with it.
#[test]
fn i6_f9a_a_lost_index_revives_nothing() {
    let mut w = met(7, ["ana", "ben", "cleo"]);
    for number in 0..9 {
        w.on("ana").write(&format!("photo {number}"), &format!("photo {number}"));
    }
    w.settle().on("cleo").crash();
    for number in 0..6 {
        w.on("ana").remove(&format!("photo {number}"));
    }
    w.linger().on("cleo").lose_index();
    w.settle().assert_all();
    assert_eq!(w.on("ben").paths(), ["photo 6", "photo 7", "photo 8"]);
    w.on("cleo").assert_kept("photo 0").assert_kept("photo 5");
}

/// F9 a: what is at such a path and is another content is a version of its own, and stays.
#[test]
fn i7_f9a_a_lost_index_keeps_what_is_not_what_was_deleted() {
    let mut w = met(8, ["ana", "ben", "cleo"]);
    w.on("ana").write("p", "v1").write("q", "v1").write("rest", "of it");
    w.settle().on("cleo").crash().write("p", "edited while away");
    w.on("ana").remove("p").remove("q");
    w.linger().on("cleo").lose_index();
    w.settle().assert_all_read("p", "edited while away").assert_all_lack("q").assert_all();
}

/// F9 c: deletions are remembered by all alike, so that nothing more is said of them.
#[test]
fn i13_f9c_old_deletions_are_told_once() {
    let mut w = met(9, ["ana", "ben"]);
    w.on("ana").write("rest", "of it").write("more", "of it");
    for round in 0..5 {
        for number in 0..4 {
            w.on("ana").write(&format!("{round} {number}"), &format!("{round} {number}"));
        }
        w.linger();
        for number in 0..4 {
            w.on("ben").remove(&format!("{round} {number}"));
        }
        w.linger();
    }
    w.settle().assert_all();
    let bytes = w.tally.bytes;
    w.cut("ana", "ben").heal().settle();
    assert!(w.tally.bytes - bytes < 3_000, "{} bytes to find that all is the same", w.tally.bytes - bytes);
    assert_eq!(w.on("ben").paths(), ["more", "rest"]);
}
