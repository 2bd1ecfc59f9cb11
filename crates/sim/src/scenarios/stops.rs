//! Stories of processes and machines that stop, at any call, and start again.

use core::time::Duration;

use shoal_disk::Durability;
use shoal_disk::mem::{Call, Quirks, Trouble};

use crate::faults::During;
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// Ben stops in his next job of this sort after so many calls, each time anew, while ana goes on writing, moving and
/// deleting; once nothing stops him, all is as she left it.
fn stops_in(during: During, seed: u64, first: u64) {
    let mut w = World::seeded(seed).peers(["ana", "ben"]).share("notes");
    w.settle();
    w.on("ana").write("plan.txt", "v0").write("d/old", "old").write_bytes("big.bin", 0, 20_000);
    w.settle();
    let crashes = w.tally.crashes;
    for round in 0..6 {
        w.on("ben").crash_during(during, first + round * 4);
        w.on("ana").write("plan.txt", &format!("v{}", round + 1)).write_bytes("big.bin", round + 1, 20_000);
        w.on("ana")
            .write(&format!("d/{round}"), &format!("new {round}"))
            .remove(&format!("d/{}", round.wrapping_sub(1)));
        // Ben's own, so that there is something to take.
        w.on("ben").write(&format!("own/{round}"), &format!("of ben {round}"));
        w.pass(SECOND * 20);
        w.on("ben").restart();
        w.pass(SECOND * 5);
    }
    assert!(w.tally.crashes > crashes + 2, "{} crashes", w.tally.crashes - crashes);
    w.heal().settle().assert_all_read("plan.txt", "v6").assert_all_read("own/5", "of ben 5").assert_all();
    assert_eq!(w.on("ben").copy_paths("plan.txt"), [""; 0], "a crash is no edit");
    assert!(w.on("ben").staged().is_empty(), "{:?}", w.on("ben").staged());
}

#[test]
fn i17_a_process_that_ends_while_it_changes_the_tree_damages_nothing() {
    stops_in(During::Commit, 701, 1);
}

#[test]
fn i17_a_process_that_ends_while_it_changes_the_tree_a_call_later_damages_nothing() {
    stops_in(During::Commit, 702, 2);
}

#[test]
fn i17_a_process_that_ends_while_it_changes_the_tree_still_later_damages_nothing() {
    stops_in(During::Commit, 703, 15);
}

/// Ben dies when a version stands at its path and his index does not know it yet; before he looks, a newer one is known.
#[test]
fn i4_a_version_that_was_put_in_place_and_not_noted_is_no_edit() {
    stops_in(During::Commit, 5701, 1);
}

#[test]
fn i17_a_process_that_ends_while_it_stages_damages_nothing() {
    stops_in(During::Write, 711, 1);
}

#[test]
fn i17_a_process_that_ends_while_it_stages_a_call_later_damages_nothing() {
    stops_in(During::Write, 712, 3);
}

#[test]
fn i17_a_process_that_ends_while_it_takes_what_a_user_saved_damages_nothing() {
    stops_in(During::Take, 721, 1);
}

#[test]
fn i17_a_process_that_ends_while_it_takes_what_a_user_saved_a_call_later_damages_nothing() {
    stops_in(During::Take, 722, 2);
}

/// After each cut ana's disk shows what ben was told of.
fn loses_nothing_that_was_told(seed: u64, durability: Durability) {
    let mut w = World::seeded(seed).peers(["ana", "ben"]).share("notes");
    w.on("ana").has_disk(Quirks { durability, ..Quirks::default() });
    w.settle();
    for round in 0..4 {
        let (text, path) = (format!("v{round}"), format!("d/{round}"));
        w.on("ana").write("plan.txt", &text).write(&path, "new");
        w.look();
        w.on("ben").assert_reads("plan.txt", &text);
        w.on("ana").power_cut(seed + round).restart();
        w.on("ana").assert_reads("plan.txt", &text).assert_reads(&path, "new");
        w.look();
    }
    w.settle().assert_all_read("plan.txt", "v3").assert_all();
    assert_eq!(w.on("ben").paths().len(), 6);
}

#[test]
fn i17_a_power_cut_takes_nothing_that_was_told_to_others() {
    loses_nothing_that_was_told(731, Durability::WholeFileSystem);
}

#[test]
fn i17_a_power_cut_of_a_disk_that_syncs_file_by_file_takes_nothing_that_was_told_to_others() {
    loses_nothing_that_was_told(732, Durability::EachFile);
}

#[test]
fn i17_a_power_cut_while_much_arrives_leaves_old_or_new() {
    let mut w = World::seeded(733).peers(["ana", "ben"]).share("notes");
    w.settle();
    for number in 0..30 {
        w.on("ana").write(&format!("d/{number}"), &format!("old {number}"));
    }
    w.settle();
    for round in 0..4_u64 {
        for number in 0..30 {
            w.on("ana").write(&format!("d/{number}"), &format!("{number} of round {round}"));
        }
        w.pass(Duration::from_millis(300 * round + 200));
        w.on("ben").power_cut(round).restart();
        for number in 0..30 {
            let read = w.on("ben").reads(&format!("d/{number}"));
            assert!(read.is_some_and(|bytes| !bytes.is_empty()), "d/{number} is gone after cut {round}");
        }
    }
    w.settle().assert_all_read("d/29", "29 of round 3").assert_all();
    assert_eq!(w.on("ben").paths().len(), 31);
}

#[test]
fn i17_a_device_that_restarts_all_the_time_gets_there() {
    let mut w = World::seeded(734).peers(["ana", "ben", "cleo"]).share("notes");
    w.settle();
    for round in 0..10_u64 {
        w.on("ana").write_bytes(&format!("d/{round}"), round, 5_000);
        w.on("cleo").write("plan.txt", &format!("v{round}"));
        w.on("ben").crash();
        w.pass(SECOND);
        w.on("ben").restart();
        w.pass(Duration::from_secs(round % 4));
    }
    w.settle().assert_all_read("plan.txt", "v9").assert_all();
    assert_eq!(w.on("ben").paths().len(), 12);
}

#[test]
fn i17_all_stop_at_once_in_the_middle_of_everything() {
    let mut w = World::seeded(735).peers(["ana", "ben", "cleo"]).share("notes");
    w.settle();
    for round in 0..3 {
        for name in ["ana", "ben", "cleo"] {
            w.on(name)
                .write(&format!("{name}/{round}"), &format!("{name} {round}"))
                .write("plan.txt", &format!("{name} {round}"));
        }
        w.pass(Duration::from_millis(400 + 250 * round));
        for name in ["ana", "ben", "cleo"] {
            w.on(name).crash();
        }
        for name in ["cleo", "ben", "ana"] {
            w.on(name).restart();
        }
        w.pass(SECOND * 10);
    }
    w.settle().assert_all();
    for name in ["ana", "ben", "cleo"] {
        for round in 0..3 {
            w.on("ben").assert_reads(&format!("{name}/{round}"), &format!("{name} {round}"));
        }
    }
}

#[test]
fn i17_what_a_user_did_while_the_process_was_down_is_found() {
    let mut w = World::seeded(736).peers(["ana", "ben"]).share("notes");
    w.settle();
    w.on("ana").write("a", "1").write("b", "2").write("c", "3").write("d/e", "4");
    w.settle();
    w.on("ana").crash().write("a", "1, edited").remove("b").rename("d", "f").write("new", "5");
    w.on("ben").write("c", "3, edited");
    w.look();
    w.on("ana").restart();
    w.settle().assert_all_show(["a", "c", "f", "f/e", "new"]);
    w.assert_all_read("a", "1, edited").assert_all_read("c", "3, edited").assert_all();
}

#[test]
fn i17_an_edit_of_both_while_one_was_down_is_a_conflict_and_not_a_loss() {
    let mut w = World::seeded(737).peers(["ana", "ben"]).share("notes");
    w.settle();
    w.on("ana").write("plan.txt", "v1");
    w.settle();
    w.on("ana").crash().write("plan.txt", "from ana");
    w.on("ben").write("plan.txt", "from ben");
    w.look();
    w.on("ana").restart();
    w.settle().assert_all();
    let mut texts = w.on("ben").copies("plan.txt");
    texts.extend(w.on("ben").reads("plan.txt").map(|bytes| String::from_utf8(bytes).unwrap()));
    texts.sort();
    assert_eq!(texts, ["from ana", "from ben"]);
}

#[test]
fn i17_a_disk_that_fails_a_call_now_and_then_gets_there_without_a_person() {
    let mut w = World::seeded(738).peers(["ana", "ben"]).share("notes");
    w.settle();
    let calls = [
        Call::Open,
        Call::Read,
        Call::Look,
        Call::List,
        Call::SetTime,
        Call::SetMode,
        Call::SyncDir,
        Call::Remove,
    ];
    for (round, call) in (0_u64..).zip(calls) {
        w.on("ben").fail_calls(call, 2, Trouble::Io);
        w.on("ana").write("plan.txt", &format!("v{round}")).write(&format!("d/{round}"), "new");
        w.on("ben").write(&format!("own/{round}"), &format!("of ben {round}"));
        w.pass(SECOND * 30);
    }
    w.settle().assert_all_read("plan.txt", "v7").assert_all_read("own/0", "of ben 0").assert_all();
    assert_eq!(w.on("ana").paths().len(), 1 + 9 + 9);
}

#[test]
fn i18_a_disk_from_a_backup_with_a_newer_index_brings_back_old_files_as_its_users_edits_and_loses_nothing() {
    let mut w = World::seeded(739).peers(["ana", "ben"]).share("notes");
    w.settle();
    w.on("ana").write("plan.txt", "v1").write("b", "2").write("c", "3");
    w.settle();
    w.on("ana").back_up();
    w.on("ben").write("plan.txt", "v2");
    w.settle();
    w.on("ana").put_back(crate::faults::Part::Disk);
    w.settle().assert_all();
    let mut all = w.on("ben").history();
    all.extend(w.on("ana").history());
    all.extend(w.on("ana").reads("plan.txt").map(|bytes| String::from_utf8(bytes).unwrap()));
    assert!(all.contains(&"v2".to_owned()), "{all:?}");
}

#[test]
fn i18_two_copies_of_one_device_lose_nothing_of_what_either_user_wrote() {
    let mut w = World::seeded(740).peers(["ana", "ben"]).share("notes");
    w.settle();
    w.on("ana").write("plan.txt", "v1").write("b", "2");
    w.settle();
    w.on("ana").copy_device();
    w.pass(SECOND * 5);
    w.on("ana").write("plan.txt", "v2").write("new", "3");
    w.look();
    w.on("ben").write("b", "2, edited");
    w.look().heal().settle();
    w.assert_all_read("plan.txt", "v2").assert_all_read("b", "2, edited").assert_all_read("new", "3");
    w.assert_all();
}

/// Found by a simulated world: a process that ended just after a folder took a file's place, for what another one had put
/// below it, does not take the folder for its user's. The file is a conflict copy everywhere, and not in history alone.
#[test]
fn i3_a_process_that_ends_when_a_folder_has_taken_a_files_place_keeps_the_file() {
    let mut crashes = 0;
    for calls in 1..40 {
        let mut w = World::seeded(740 + calls).peers(["ana", "ben"]).share("notes");
        w.right_clocks().settle().part(&[]).on("ana").write("d", "of ana");
        w.on("ben").write("d/x", "of ben");
        w.linger().on("ana").crash_during(During::Commit, calls);
        w.connect("ana", "ben").linger().on("ana").restart();
        crashes += w.tally.crashes;
        w.heal().settle().assert_all_read("d/x", "of ben").assert_all();
        assert_eq!(w.on("ben").copies("d"), ["of ana"], "after {calls} calls");
    }
    assert!(crashes > 10, "{crashes} crashes");
}
