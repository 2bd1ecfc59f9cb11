//! Stories of agreement: what all show in the end, what conflicts leave, what stays deleted.

use core::time::Duration;

use shoal_engine::status::Cause;

use crate::faults::Part;
use crate::users::Step;
use crate::world::World;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn world(seed: u64) -> World {
    let mut w = World::seeded(seed).peers(["ana", "ben", "cleo"]).share("notes");
    w.settle();
    w
}

#[test]
fn i1_what_was_there_before_the_first_meeting_comes_to_all() {
    let mut w = World::seeded(101).peers(["ana", "ben", "cleo"]).share("notes");
    w.on("ana").write("a", "of ana").make_folder("empty");
    w.on("ben").write("d/b", "of ben");
    w.on("cleo").write("d/e/c", "of cleo").write("nothing", "");
    w.settle().assert_all_show(["a", "d", "d/b", "d/e", "d/e/c", "empty", "nothing"]).assert_all();
}

#[test]
fn i1_who_joins_a_full_share_with_the_same_files_gets_no_conflicts_and_few_bytes() {
    let mut w = World::seeded(102).peers(["ana", "ben"]).share("notes");
    w.cut("ana", "ben");
    for number in 0..20 {
        w.on("ana").write_bytes(&format!("d/{number}"), number, 20_000);
        w.on("ben").write_bytes(&format!("d/{number}"), number, 20_000);
    }
    w.look().connect("ana", "ben");
    let said = w.bytes_said(|w| {
        w.settle();
    });
    assert!(said < 30_000, "{said} bytes for files that both had");
    assert_eq!(w.on("ben").paths().len(), 21);
    w.assert_all();
}

#[test]
fn i2_three_devices_that_all_resolve_one_conflict_come_to_an_end() {
    let mut w = world(103);
    w.cut("ana", "ben").cut("ana", "cleo").cut("ben", "cleo");
    w.on("ana").write("plan.txt", "from ana");
    w.on("ben").write("plan.txt", "from ben");
    w.on("cleo").write("plan.txt", "from cleo");
    w.look().connect("ana", "ben").connect("ana", "cleo").connect("ben", "cleo");
    w.settle().assert_all();
    let ana = w.on("ana");
    let mut texts = ana.copies("plan.txt");
    texts.extend(ana.reads("plan.txt").map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    texts.sort();
    assert_eq!(texts, ["from ana", "from ben", "from cleo"], "each is there once");
}

#[test]
fn i3_what_somebody_replaced_unseen_stands_beside_it() {
    let mut w = world(104);
    w.on("ana").write("plan.txt", "v1");
    w.settle().cut("ana", "ben").cut("ana", "cleo");
    w.on("ana").write("plan.txt", "from ana");
    w.on("ben").write("plan.txt", "from ben");
    w.look().heal().settle();
    for name in ["ana", "ben", "cleo"] {
        let (read, copies) = (w.on(name).reads("plan.txt"), w.on(name).copies("plan.txt"));
        let read = String::from_utf8(read.unwrap()).unwrap();
        assert_eq!(copies.len(), 1, "at {name}");
        assert_ne!(read, copies[0]);
        assert!([read, copies[0].clone()].iter().all(|text| text.starts_with("from ")));
    }
    w.assert_all();
}

#[test]
fn i3_what_others_replaced_is_in_the_history_of_every_device_that_had_it() {
    let mut w = world(105);
    w.on("ana").write("plan.txt", "v1");
    w.settle();
    w.on("ben").write("plan.txt", "v2");
    w.settle().assert_all_read("plan.txt", "v2").assert_all();
    assert_eq!(w.on("ana").history(), ["v1"]);
    assert_eq!(w.on("cleo").history(), ["v1"]);
    assert_eq!(w.on("ben").history(), [""; 0], "its user replaced it");
}

#[test]
fn i3_what_others_deleted_is_in_history() {
    let mut w = world(106);
    w.on("ana").write("plan.txt", "v1").write("other", "stays");
    w.settle();
    w.on("ben").remove("plan.txt");
    w.settle().assert_all_show(["other"]).assert_all();
    assert_eq!(w.on("ana").history(), ["v1"]);
}

#[test]
fn i4_equal_bytes_made_in_two_places_are_no_conflict() {
    let mut w = world(107);
    w.cut("ana", "ben");
    w.on("ana").write("plan.txt", "the same").touch("plan.txt", 1_600_000_000);
    w.on("ben").write("plan.txt", "the same").touch("plan.txt", 1_600_000_000);
    w.look().heal().settle().assert_all_show(["plan.txt"]).assert_all();
}

#[test]
fn i4_one_edit_after_the_other_is_no_conflict() {
    let mut w = world(108);
    for round in 0..6 {
        let name = ["ana", "ben", "cleo"][round % 3];
        w.on(name).write("plan.txt", &format!("v{round}"));
        w.settle();
    }
    w.assert_all_show(["plan.txt"]).assert_all_read("plan.txt", "v5").assert_all();
}

#[test]
fn i5_a_conflict_copy_has_one_name_everywhere_and_can_be_edited_and_deleted_like_any_file() {
    let mut w = world(109);
    w.cut("ana", "ben").cut("ana", "cleo");
    w.on("ana").write("plan.txt", "from ana");
    w.on("ben").write("plan.txt", "from ben");
    w.look().heal().settle();
    let copies = w.on("ana").copy_paths("plan.txt");
    assert_eq!(copies.len(), 1);
    assert_eq!(w.on("cleo").copy_paths("plan.txt"), copies);
    w.on("cleo").write(&copies[0], "edited by cleo");
    w.settle().assert_all_read(&copies[0], "edited by cleo");
    w.on("ben").remove(&copies[0]);
    w.settle().assert_all_show(["plan.txt"]).assert_all();
}

#[test]
fn i5_a_conflict_copy_that_is_in_conflict_gets_a_copy_beside_it() {
    let mut w = world(110);
    w.cut("ana", "ben").cut("ana", "cleo");
    w.on("ana").write("plan.txt", "from ana");
    w.on("ben").write("plan.txt", "from ben");
    w.look().heal().settle();
    let copy = w.on("ana").copy_paths("plan.txt").remove(0);
    w.cut("ana", "ben").cut("ana", "cleo");
    w.on("ana").write(&copy, "edited by ana");
    w.on("cleo").write(&copy, "edited by cleo");
    w.look().heal().settle().assert_all();
    assert_eq!(w.on("ben").copies("plan.txt").len(), 2, "{:?}", w.on("ben").paths());
}

#[test]
fn i6_what_was_deleted_does_not_come_back_with_a_device_that_was_away_for_a_year() {
    let mut w = world(111);
    w.on("ana").write("a", "1").write("b", "2").write("c", "3");
    w.settle();
    w.on("cleo").crash();
    w.on("ben").remove("a").write("b", "2, edited");
    w.look();
    w.on("ana").crash();
    w.on("ben").crash();
    w.pass(DAY * 365);
    w.on("cleo").restart();
    w.look();
    w.on("ana").restart();
    w.on("ben").restart();
    w.settle().assert_all_show(["b", "c"]).assert_all_read("b", "2, edited").assert_all();
}

#[test]
fn i6_what_was_deleted_does_not_come_back_with_a_lost_index() {
    let mut w = world(112);
    w.on("ana").write("a", "1").write("b", "2").write("c", "3");
    w.settle().cut("cleo", "ana").cut("cleo", "ben");
    w.on("ben").remove("a");
    w.look();
    w.on("cleo").lose_index();
    w.look().heal().settle().assert_all_show(["b", "c"]).assert_all();
}

#[test]
fn i6_what_was_deleted_does_not_come_back_with_a_restored_device() {
    let mut w = world(113);
    w.on("ana").write("a", "1").write("b", "2").write("c", "3");
    w.settle();
    w.on("cleo").back_up();
    w.on("cleo").remove("a");
    w.settle();
    w.on("cleo").restore();
    w.settle().assert_all_show(["b", "c"]).assert_all();
}

#[test]
fn i6_what_was_deleted_can_be_made_again() {
    let mut w = world(114);
    w.on("ana").write("a", "1").write("b", "2");
    w.settle();
    w.on("ben").remove("a");
    w.settle().assert_all_show(["b"]);
    w.on("cleo").write("a", "1");
    w.settle().assert_all_show(["a", "b"]).assert_all();
}

#[test]
fn i7_an_edit_beside_a_deletion_survives_it() {
    let mut w = world(115);
    w.on("ana").write("a", "1").write("b", "2");
    w.settle().cut("ana", "ben").cut("ana", "cleo");
    w.on("ana").remove("a");
    w.on("ben").write("a", "1, edited");
    w.look().heal().settle().assert_all_show(["a", "b"]).assert_all_read("a", "1, edited").assert_all();
}

#[test]
fn i7_a_deleted_folder_stays_for_what_was_made_and_edited_in_it_unseen() {
    let mut w = world(116);
    w.on("ana").write("d/e/old", "1").write("d/e/edited", "2").write("d/f/g", "3").write("other", "4");
    w.settle().cut("ana", "ben").cut("ana", "cleo");
    w.on("ana").remove_all("d");
    w.on("ben").write("d/e/new", "5").write("d/e/edited", "2, edited");
    w.look().heal().settle();
    w.assert_all_show(["d", "d/e", "d/e/edited", "d/e/new", "other"]).assert_all();
}

#[test]
fn i7_a_deletion_of_what_others_have_touched_alone_deletes_it() {
    let mut w = world(117);
    w.on("ana").write("a", "1").write("b", "2");
    w.settle().cut("ana", "ben").cut("ana", "cleo");
    w.on("ana").remove("a");
    w.on("ben").touch("a", 1_500_000_000).set_mode("a", 0o600);
    w.look().heal().settle().assert_all_show(["b"]).assert_all();
    w.on("ben").assert_nothing_at("a");
}

/// The connections to the author break again and again while a large version is fetched.
fn breaks_off(seed: u64) {
    let mut w = world(seed);
    w.on("ana").write("big.bin", "small");
    w.settle();
    w.on("ana").write_bytes("big.bin", 5, 600_000);
    for _ in 0..8 {
        w.pass(Duration::from_millis(60)).cut("ana", "ben").cut("ana", "cleo");
        for name in ["ben", "cleo"] {
            let size = w.on(name).reads("big.bin").unwrap().len();
            assert!([5, 600_000].contains(&size), "{size} bytes at {name}");
        }
        w.connect("ana", "ben").connect("ana", "cleo").pass(Duration::from_secs(2));
    }
    w.heal().settle().assert_all();
    assert_eq!(w.on("cleo").reads("big.bin").unwrap().len(), 600_000);
}

#[test]
fn i8_a_transfer_that_breaks_off_leaves_the_old_bytes() {
    breaks_off(118);
}

/// The records came, and the connection was gone when the index had taken them in.
#[test]
fn i31_what_came_on_a_connection_that_is_gone_is_fetched() {
    breaks_off(2118);
}

#[test]
fn i12_times_and_modes_come_along_and_bits_that_give_rights_do_not() {
    let mut w = world(119);
    w.on("ana").write("tool", "run").set_mode("tool", 0o4755).touch("tool", 1_234_567_890);
    w.on("ana").write("old", "from before 1970").touch("old", -86_400);
    w.settle().assert_all();
    for name in ["ben", "cleo"] {
        let (_, mode, mtime) = w.on(name).looks("tool").unwrap();
        assert_eq!((mode, mtime.secs), (0o755, 1_234_567_890), "at {name}");
        assert_eq!(w.on(name).looks("old").unwrap().2.secs, -86_400);
    }
    w.on("ben").set_mode("tool", 0o700);
    w.settle().assert_all();
    assert_eq!(w.on("cleo").looks("tool").unwrap().1, 0o700);
}

#[test]
fn i13_what_others_changed_is_not_said_again() {
    let mut w = World::seeded(120).peers(["ana", "ben"]).share("notes");
    w.settle();
    let before = w.devices[1].index.life().counter;
    w.on("ana").write("a", "1").write("d/b", "2").rename("a", "c").set_mode("d/b", 0o600);
    w.settle();
    w.on("ana").remove("c");
    w.settle().assert_all();
    assert_eq!(w.devices[1].index.life().counter, before, "ben has published what was not his");
}

#[test]
fn i14_to_look_again_at_everything_changes_nothing() {
    let mut w = world(121);
    w.on("ana").write("a", "1").write("d/b", "2").link("a", "l");
    w.settle();
    let counters = |w: &World| w.devices.iter().map(|one| one.index.life().counter).collect::<Vec<_>>();
    let before = counters(&w);
    for name in ["ana", "ben", "cleo"] {
        w.on(name).crash().restart();
        w.settle().look();
    }
    w.settle().assert_all();
    assert_eq!(counters(&w), before);
}

#[test]
fn i18_a_lost_index_costs_no_conflicts_where_nobody_edited() {
    let mut w = world(122);
    w.on("ana").write("a", "1").write("d/b", "2").write_bytes("big.bin", 3, 300_000);
    w.settle();
    w.on("ben").lose_index();
    let said = w.bytes_said(|w| {
        w.settle();
    });
    assert!(said < 20_000, "{said} bytes, though it has all files");
    w.assert_all_show(["a", "big.bin", "d", "d/b"]).assert_all();
}

#[test]
fn i18_an_edit_made_while_the_index_was_lost_is_kept() {
    let mut w = world(123);
    w.on("ana").write("a", "1").write("b", "2").write("c", "3");
    w.settle();
    w.on("ben").crash();
    w.on("ben").write("a", "1, edited by ben");
    w.on("ana").write("b", "2, edited by ana");
    w.look();
    w.on("ben").lose_index();
    w.settle().assert_all_read("b", "2, edited by ana").assert_all();
    let cleo = w.on("cleo");
    let all =
        cleo.copies("a").into_iter().chain(cleo.reads("a").map(|read| String::from_utf8(read).unwrap()));
    assert!(all.into_iter().any(|text| text == "1, edited by ben"), "{:?}", cleo.paths());
}

#[test]
fn i18_an_index_from_a_backup_overwrites_nothing_that_came_since() {
    let mut w = world(124);
    w.on("ana").write("a", "1").write("b", "2").write("c", "3");
    w.settle();
    w.on("ana").back_up().write("a", "1, edited by ana");
    w.on("ben").write("b", "2, edited by ben");
    w.settle();
    w.on("ana").put_back(Part::Index);
    w.settle().assert_all_show(["a", "b", "c"]);
    w.assert_all_read("a", "1, edited by ana").assert_all_read("b", "2, edited by ben").assert_all();
}

#[test]
fn i18_a_restored_device_takes_what_the_others_wrote_and_then_goes_on_editing() {
    let mut w = world(125);
    w.on("ana").write("a", "1").write("b", "2").write("c", "3");
    w.settle();
    w.on("ana").back_up().write("a", "1, first");
    w.settle();
    w.on("ana").write("a", "1, second");
    w.settle();
    w.on("ana").restore();
    w.settle().assert_all_read("a", "1, second");
    w.on("ana").write("a", "1, third").unwatched(&Step::Remove("c".to_owned()));
    w.settle().assert_all_read("a", "1, third").assert_all();
}

#[test]
fn i29_clocks_that_are_wrong_by_years_change_nothing_but_times() {
    let mut w = world(126);
    w.on("ana").jump_clock(-1_200_000_000).write("a", "by ana, in 1985");
    w.on("ben").jump_clock(2_000_000_000).write("b", "by ben, in 2087");
    w.settle();
    w.on("ana").write("b", "by ana, later");
    w.settle().assert_all_read("b", "by ana, later");
    w.on("ben").remove("a").jump_clock(-3_000_000_000);
    w.settle();
    w.on("cleo").write("b", "by cleo, last");
    w.settle().assert_all_show(["b"]).assert_all_read("b", "by cleo, last").assert_all();
}

#[test]
fn i31_a_device_that_is_alone_does_not_say_that_it_is_in_sync() {
    let mut w = World::seeded(127).peers(["ana", "ben"]).share("notes");
    w.settle();
    assert!(w.on("ana").is_in_sync() && w.on("ben").is_in_sync());
    w.cut("ana", "ben");
    w.on("ana").write("a", "1");
    w.look();
    assert!(!w.on("ana").is_in_sync() && !w.on("ben").is_in_sync());
    w.heal().settle().assert_all();
    assert!(w.on("ana").is_in_sync() && w.on("ben").is_in_sync());
}

#[test]
fn i31_what_nobody_can_give_is_listed() {
    let mut w = world(128);
    w.cut("ana", "cleo");
    // The news comes to cleo by way of ben, who has no room for the bytes.
    w.on("ben").fill(10_000);
    w.on("ana").write_bytes("big.bin", 3, 600_000);
    w.look().look();
    assert_eq!(w.on("cleo").cause("big.bin"), Some(Cause::NoSource));
    assert_eq!(w.on("ben").cause("big.bin"), Some(Cause::NoSpace));
    assert!(!w.on("ana").is_in_sync() && !w.on("ben").is_in_sync() && !w.on("cleo").is_in_sync());
    w.heal().settle().assert_all();
    assert_eq!(w.on("cleo").cause("big.bin"), None);
}

#[test]
fn i33_what_no_watcher_tells_of_is_found_within_an_hour() {
    let mut w = world(129);
    w.on("ana").write("a", "1").write("b", "2").write("c", "3");
    w.settle();
    let ana = w.on("ana").unwatched(&Step::Save("a".to_owned(), b"1, edited".to_vec()));
    let ana = ana.unwatched(&Step::Remove("b".to_owned()));
    ana.unwatched(&Step::Rename("c".to_owned(), "d/e".to_owned()));
    w.pass(MINUTE);
    w.on("ben").assert_reads("a", "1");
    w.pass(DAY / 20).settle();
    w.assert_all_show(["a", "d", "d/e"]).assert_all_read("a", "1, edited").assert_all();
}
