//! Stories of readers, of who joins and who is removed, and of records that go from hand to hand.

use core::time::Duration;
use std::collections::BTreeSet;

use shoal_engine::io::Command;
use shoal_engine::limits::{STREAM_PAUSE, STREAM_RECORDS_MAX, STREAMS_MAX};
use shoal_engine::status::{Cause, Phase};
use shoal_proto::path::RelPath;
use shoal_proto::roster::Role;

use crate::faults::Part;
use crate::hostile::Tamper;
use crate::world::World;

/// A world of these devices with right clocks, in which all have met.
fn met<const N: usize>(seed: u64, names: [&str; N]) -> World {
    let mut w = World::seeded(seed).peers(names).share("notes");
    w.right_clocks().settle();
    w
}

/// The same, in which the last one only reads.
fn with_reader<const N: usize>(seed: u64, names: [&str; N]) -> World {
    let mut w = World::seeded(seed).peers(names).last_reads().share("notes");
    w.right_clocks().settle();
    w
}

/// F12 a: two writers that never meet are told of each other by a reader that meets both.
#[test]
fn i1_f12a_a_reader_carries_between_writers_that_never_meet() {
    let mut w = with_reader(1, ["ana", "ben", "cleo"]);
    w.part(&[]);
    for round in 0..2 {
        w.on("ana").write(&format!("a{round}"), &format!("by ana {round}"));
        w.on("ben").write(&format!("b{round}"), &format!("by ben {round}"));
        w.part(&[&["ana", "cleo"]]).linger();
        w.part(&[&["ben", "cleo"]]).linger();
    }
    w.part(&[&["ana", "cleo"]]).linger();
    w.on("ben").assert_reads("a0", "by ana 0").assert_reads("a1", "by ana 1");
    w.on("ana").assert_reads("b0", "by ben 0").assert_reads("b1", "by ben 1");
    w.heal().settle().assert_all();
}

/// F12 b: readers have it from each other, records and bytes, when the one writer is away.
#[test]
fn i1_f12b_readers_have_it_from_each_other() {
    let names = ["ana", "ben", "cleo", "dan"];
    let mut w = World::seeded(2).peers(names).share_with_readers("notes", 3);
    w.right_clocks().settle().part(&[]);
    w.on("ana").write("p", "text").write_bytes("large", 1, 30_000);
    w.linger().part(&[&["ana", "ben"]]).linger().on("ana").crash();
    w.part(&[&["ben", "cleo"]]).linger().part(&[&["cleo", "dan"]]).linger();
    w.on("dan").assert_reads("p", "text");
    assert_eq!(w.on("dan").reads("large").map(|bytes| bytes.len()), Some(30_000));
    w.heal().settle().assert_all();
}

/// F12 c: what a reader publishes, however well signed, is taken by nobody.
#[test]
fn i26_f12c_what_a_reader_publishes_is_taken_by_nobody() {
    let mut w = World::seeded(3).peers(["ana", "ben", "cleo"]).hostile([Tamper::Publishes]).share("notes");
    w.right_clocks();
    w.on("ana").write("p", "text");
    w.settle().linger().settle().assert_all();
    for name in ["ana", "ben"] {
        assert_eq!(w.on(name).paths(), ["p"], "at {name}");
    }
}

/// F12 c, F46: a writer with absurd counters takes no path from others, and nobody's later edits.
#[test]
fn i25_f12c_absurd_counters_stop_nobody() {
    let mut w = World::seeded(4).peers(["ana", "ben", "cleo"]).hostile([Tamper::Absurd]).share("notes");
    w.right_clocks();
    w.on("ana").write("mine", "v1");
    w.linger().on("ben").assert_reads("mine", "v1").write("mine", "v2");
    w.linger().on("ana").assert_reads("mine", "v2").write("mine", "v3").assert_copies("mine", &[]);
    w.settle().assert_all_read("mine", "v3").assert_all();
}

/// F12 d: what a removed member says after the point that its removal names counts at nobody as its own, by whatever way
/// it comes.
#[test]
fn i26_f12d_what_a_removed_member_says_later_does_not_count() {
    let mut w = met(5, ["ana", "ben", "cleo", "dan"]);
    w.on("dan").write("early", "by dan, a member");
    w.settle().part(&[&["ana", "ben"], &["cleo", "dan"]]).remove_member("ana", "dan");
    w.linger().on("dan").write("late", "by dan, removed");
    w.linger().on("cleo").assert_reads("late", "by dan, removed");
    w.part(&[&["ana", "ben", "cleo"]]).linger();
    w.on("dan").write("later", "by dan, alone");
    let dan = w.devices[3].index.life().writer;
    w.linger().heal().linger();
    assert!(w.on("dan").status().is_some_and(|status| status.peers.is_empty()), "nobody speaks to it");
    w.on("dan").retire();
    w.settle().assert_all_read("early", "by dan, a member").assert_all_lack("later").assert_all();
    for name in ["ana", "ben", "cleo"] {
        assert!(!writers(&mut w, name, "late").contains(&dan), "at {name}");
    }
}

/// The writers of the versions of a path that a device knows.
fn writers(w: &mut World, name: &str, path: &str) -> BTreeSet<shoal_proto::id::Writer> {
    let device = w.devices.iter().find(|device| device.name == name).unwrap();
    let row = device.index.triple(&RelPath::parse(path.as_bytes()).unwrap()).unwrap();
    row.iter().flat_map(|row| row.heads.iter().map(|head| head.dot.writer)).collect()
}

/// F13: two admins who remove each other, at the same time and apart, both stay, and all agree on that.
#[test]
fn i16_f13_admins_who_remove_each_other_both_stay() {
    let mut w = met(6, ["ana", "ben", "cleo", "dan"]);
    w.set_role("ana", "ben", Role::Admin).settle();
    w.set_role("ana", "cleo", Role::Admin).settle().part(&[]).on("ana").crash();
    w.remove_member("ben", "cleo").remove_member("cleo", "ben");
    w.part(&[&["ben", "dan"]]).linger().part(&[&["cleo", "dan"]]).linger();
    w.heal().settle();
    w.on("ben").write("p", "by ben");
    w.on("cleo").write("q", "by cleo");
    w.settle().assert_all_read("p", "by ben").assert_all_read("q", "by cleo").assert_all();
    let rosters: BTreeSet<String> = w.devices.iter().map(|device| roles(&device.index)).collect();
    assert_eq!(rosters.len(), 1, "{rosters:?}");
}

fn roles(index: &shoal_index::Index) -> String {
    let roles = index.roster().members().map(|member| format!("{member:?}"));
    roles.collect::<BTreeSet<_>>().into_iter().collect()
}

/// F13: an admin removes whom it let in; what that one had said before is everybody's still.
#[test]
fn i26_f13_a_removed_member_gets_nothing_new_and_leaves_what_it_made() {
    let mut w = met(7, ["ana", "ben", "cleo"]);
    w.on("cleo").write("p", "by cleo");
    w.settle().remove_member("ana", "cleo").linger();
    w.on("ana").write("secret", "after the removal");
    w.linger().on("cleo").assert_lacks("secret").assert_reads("p", "by cleo");
    w.on("ben").assert_reads("secret", "after the removal").assert_reads("p", "by cleo");
    w.on("cleo").retire();
    w.settle().assert_all();
}

/// F14: who joins needs no admin: any member lets it in, and tells the others.
#[test]
fn i1_f14_who_joins_is_let_in_by_any_member() {
    let mut w = World::seeded(8).peers(["ana", "ben", "dan"]).share("notes");
    w.right_clocks().part(&[&["ana", "ben"]]).linger();
    w.on("ana").write("p", "by ana");
    w.linger().part(&[&["ben", "dan"]]).on("ana").crash();
    w.linger().on("dan").assert_reads("p", "by ana").write("q", "by dan");
    w.linger().on("ben").assert_reads("q", "by dan");
    w.part(&[&["ana", "ben"]]).on("ana").restart();
    w.linger().on("ana").assert_reads("q", "by dan");
    w.heal().settle().assert_all();
}

/// F22: a reader's change is listed, told to nobody, left alone, and goes to history when a newer version comes.
#[test]
fn i26_f22_a_readers_change_is_its_own_until_a_newer_version_comes() {
    let mut w = with_reader(9, ["ana", "ben", "cleo"]);
    w.on("ana").write("p", "v1");
    w.settle().on("cleo").write("p", "a reader's");
    w.linger().on("cleo").assert_reads("p", "a reader's").assert_cause("p", Some(Cause::LocalDifference));
    w.on("ben").assert_reads("p", "v1");
    assert_eq!(w.on("cleo").published(), 0);
    w.on("ana").write("p", "v2");
    w.settle().assert_all_read("p", "v2").assert_copies("p", &[]).assert_all();
    w.on("cleo").assert_kept("a reader's").assert_cause("p", None);
}

/// Found by a simulated world: a mode that a reader gave to a folder goes with the folder, though others keep it for what
/// one of them has put there.
#[test]
fn i1_a_readers_mode_of_a_folder_that_is_only_implied_gives_way() {
    let mut w = with_reader(31, ["ana", "ben", "cleo"]);
    w.on("ana").make_folder("d");
    w.settle().on("ana").write("d/x", "v1");
    w.settle().on("cleo").set_mode("d", 0o700);
    w.linger().on("cleo").assert_cause("d", Some(Cause::LocalDifference));
    w.part(&[&["ben", "cleo"]]).on("ben").write("d/y", "v1");
    w.on("ana").remove_all("d");
    w.linger().heal().settle().assert_all();
    w.on("cleo").assert_cause("d", None).assert_reads("d/y", "v1");
}

/// Found by a simulated world: an index that was lost does not know whose the mode of a folder was that others deleted.
#[test]
fn i1_a_lost_index_leaves_no_mode_to_a_folder_that_is_only_implied() {
    let mut w = World::seeded(32).peers(["ana", "ben", "cleo"]).share("notes");
    w.right_clocks().on("ana").make_folder("d").set_mode("d", 0o700);
    w.settle().on("ana").write("d/x", "v1");
    w.settle().part(&[&["ben", "cleo"]]).on("ben").write("d/y", "v1");
    w.on("ana").remove_all("d");
    w.linger().part(&[&["ana", "ben"]]).linger().on("cleo").lose_index();
    w.linger().heal().settle().assert_all();
}

/// F22: a reader's new files, deletions and renames stay with it.
#[test]
fn i26_f22_a_readers_files_and_deletions_stay_with_it() {
    let mut w = with_reader(10, ["ana", "ben", "cleo"]);
    w.on("ana").write("p", "v1").write("q", "v1").write("r", "v1").write("rest", "of it");
    w.settle().on("cleo").write("own", "a reader's").remove("p").rename("q", "z");
    w.linger().on("cleo").assert_lacks("p").assert_reads("own", "a reader's").assert_reads("z", "v1");
    w.on("cleo").assert_cause("own", Some(Cause::LocalDifference));
    for name in ["ana", "ben"] {
        assert_eq!(w.on(name).paths(), ["p", "q", "r", "rest"], "at {name}");
    }
    w.on("ana").write("p", "v2");
    w.linger().on("cleo").assert_reads("p", "v2").assert_lacks("q");
}

/// Two devices that have not met; the first one has founded the share, and goes on alone.
fn before_the_first_contact(seed: u64) -> World {
    let mut w = World::seeded(seed).peers(["ana", "ben"]).share("notes");
    w.right_clocks().part(&[]).linger();
    w
}

/// F23 a: who has met nobody publishes nothing, and says so; what is equal is adopted with its time then.
#[test]
fn i4_f23_equal_files_are_adopted_and_differing_ones_are_conflicts() {
    let mut w = before_the_first_contact(11);
    for number in 0..8 {
        w.on("ana").write_at(&format!("same{number}"), &format!("text {number}"), 1000);
        w.on("ben").write_at(&format!("same{number}"), &format!("text {number}"), 2000);
    }
    w.on("ana").write_at("p", "by ana", 3000).write("only ana's", "a");
    w.on("ben").write_at("p", "by ben", 2000).write("only ben's", "b");
    w.linger();
    assert_eq!(w.on("ben").published(), 0);
    assert_eq!(w.on("ben").status().map(|status| status.phase), Some(Phase::FirstContact));
    w.heal().settle().assert_all_read("p", "by ana").assert_copies("p", &["by ben"]).assert_all();
    assert_eq!(w.on("ana").paths().len(), 12);
    let mtime = |w: &World| crate::users::tree(&w.devices[1].disk)[&b"same0"[..]].mtime.secs;
    assert_eq!(mtime(&w), 1000, "it has the time that all know");
    assert!(w.on("ben").published() <= 4, "{} records by who joined", w.on("ben").published());
}

/// F23: what was deleted before somebody joined with the same file is deleted there too; another content stays.
#[test]
fn i6_f23_who_joins_adopts_deletions_of_what_it_has() {
    let mut w = before_the_first_contact(12);
    for path in ["gone", "edited", "rest", "more"] {
        w.on("ana").write(path, "v1");
        w.on("ben").write(path, "v1");
    }
    w.on("ben").write("edited", "by ben");
    w.linger().on("ana").remove("gone").remove("edited");
    w.linger().heal().settle().assert_all_lack("gone").assert_all_read("edited", "by ben").assert_all();
    w.on("ben").assert_kept("v1");
}

/// F23: a hundred equal files cost no bytes of content, and no records.
#[test]
fn i13_f23_a_copied_folder_joins_for_the_price_of_its_records() {
    let mut w = before_the_first_contact(13);
    for number in 0..30 {
        w.on("ana").write_bytes(&format!("d/{number}"), number, 5_000);
        w.on("ben").write_bytes(&format!("d/{number}"), number, 5_000);
    }
    w.linger();
    let bytes = w.tally.bytes;
    w.heal().settle().assert_nobody_was_asked().assert_all();
    assert_eq!(w.on("ben").published(), 0);
    assert!(w.tally.bytes - bytes < 30_000, "{} bytes for 150,000 that are there", w.tally.bytes - bytes);
}

/// F23: who was let in waits for somebody, unless its user says that it is alone; who founded the share does not.
#[test]
fn i31_f23_nobody_publishes_before_a_word_or_a_meeting() {
    let mut w = World::seeded(14).peers(["ana", "ben"]).share("notes");
    w.right_clocks().part(&[]).on("ana").write("p", "text");
    w.on("ben").write("q", "text");
    w.linger();
    let stands =
        |w: &mut World, name: &str| (w.on(name).status().map(|status| status.phase), w.on(name).published());
    assert_eq!(stands(&mut w, "ana"), (Some(Phase::Live), 1));
    assert_eq!(stands(&mut w, "ben"), (Some(Phase::FirstContact), 0));
    w.on("ben").command(Command::Alone);
    w.pass(Duration::from_secs(60));
    assert_eq!(stands(&mut w, "ben"), (Some(Phase::Live), 1));
    w.heal().settle().assert_all_read("p", "text").assert_all_read("q", "text").assert_all();
}

/// I30: a device that is set up anew again and again gets everything each time, so often as is promised; once more, and it
/// waits until the first time is an hour ago.
#[test]
fn i30_who_is_set_up_anew_gets_everything_so_often_in_an_hour() {
    const FILES: usize = 300;
    let mut w = World::seeded(15).peers(["ana", "ben"]).share("notes");
    w.right_clocks().part(&[]).on("ben").back_up();
    for number in 0..FILES {
        w.on("ana").write(&format!("d0/{number}"), "");
    }
    w.on("ana").write("p", "text");
    w.linger();
    // Each move leaves as many records of what is gone: in the end there are more than one page of them.
    let moves = STREAM_RECORDS_MAX.div_ceil(FILES) + 1;
    for number in 0..moves {
        w.on("ana").rename(&format!("d{number}"), &format!("d{}", number + 1));
        w.linger();
    }
    let has_all = |w: &mut World| w.on("ben").paths().len() == FILES + 2;
    let began = w.now();
    w.heal();
    for time in 0..STREAMS_MAX {
        w.pass(Duration::from_secs(120));
        assert!(has_all(&mut w), "time {time}: {} paths", w.on("ben").paths().len());
        w.on("ben").put_back(Part::Both).back_up();
    }
    assert!(w.now().since(began) < STREAM_PAUSE / 2, "time for one that is refused");
    w.pass(Duration::from_secs(600));
    assert_eq!(w.on("ben").paths(), [""; 0], "once more");
    assert_eq!(w.on("ben").phase(), Some(Phase::FirstContact));
    w.pass(STREAM_PAUSE.saturating_sub(w.now().since(began)) + Duration::from_secs(180));
    assert!(has_all(&mut w), "{} paths", w.on("ben").paths().len());
    w.settle().assert_all();
}
