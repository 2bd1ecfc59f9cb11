//! Stories of power cuts, ended processes and failing disks: what was announced stays, and nothing half is shown.

use core::time::Duration;

use shoal_engine::status::Cause;

use crate::faults::During;
use crate::world::World;

/// A world of these devices with right clocks, in which all have met and hold version 1 of p.
fn with_p<const N: usize>(seed: u64, names: [&str; N]) -> World {
    let mut w = World::seeded(seed).peers(names).share("notes");
    w.right_clocks().settle();
    w.on("ana").write("p", "version 1");
    w.settle();
    w
}

/// F7: what a user saved is durable before anybody hears of it, so a power cut does not undo it for all.
#[test]
fn i17_f7_what_was_announced_survives_a_power_cut() {
    for seed in 1..4 {
        let mut w = with_p(seed, ["ana", "ben"]);
        w.on("ana").write("p", "version 2").write("d/new", "in a new folder");
        w.until_reads("ben", "p", "version 2").on("ana").power_cut(seed).restart();
        w.on("ana").assert_reads("p", "version 2");
        w.settle().assert_all_read("p", "version 2").assert_copies("p", &[]).assert_all();
    }
}

/// F7: a version that was swapped in is noted only once it is durable, so the old one is no edit after a power cut.
#[test]
fn i17_f7_a_power_cut_right_after_a_swap_announces_nothing_old() {
    for seed in 1..4 {
        let mut w = with_p(seed, ["ana", "ben"]);
        w.on("ana").write("p", "version 2");
        w.until_reads("ben", "p", "version 2").on("ben").power_cut(seed).restart();
        w.settle().assert_all_read("p", "version 2").assert_copies("p", &[]).assert_all();
        assert_eq!(w.on("ben").published(), 0);
    }
}

/// F7: the same, while the index hears of the swap.
#[test]
fn i17_f7_a_power_cut_while_a_swap_is_noted_announces_nothing_old() {
    for (seed, millis) in [(1, 1), (2, 3), (3, 10), (4, 40)] {
        let mut w = with_p(seed, ["ana", "ben"]);
        w.on("ana").write("p", "version 2");
        w.until_reads("ben", "p", "version 2").pass(Duration::from_millis(millis));
        w.on("ben").power_cut(seed).restart();
        w.settle().assert_all_read("p", "version 2").assert_copies("p", &[]).assert_all();
        assert_eq!(w.on("ben").published(), 0);
    }
}

/// F7: after an unclean stop a file that is empty is listed, and told to nobody until its user writes it anew.
#[test]
fn i9_f7_a_file_that_a_power_cut_emptied_is_not_announced() {
    let mut w = with_p(10, ["ana", "ben"]);
    w.on("ana").power_cut(1).knows_of_unclean_stop().write("p", "").restart();
    w.linger().on("ben").assert_reads("p", "version 1");
    w.on("ana").assert_cause("p", Some(Cause::Suspicious));
    assert!(w.on("ana").status().is_some_and(|status| !status.is_in_sync()), "I31");
    w.on("ana").write("p", "version 2");
    w.settle().assert_all_read("p", "version 2").assert_all();
}

/// F7: after an unclean stop a file that is what its path held before is listed, and undoes nothing for others.
#[test]
fn i9_f7_a_file_that_a_power_cut_put_back_is_not_announced() {
    let mut w = with_p(11, ["ana", "ben"]);
    w.on("ben").write("p", "version 2");
    w.settle().on("ana").assert_kept("version 1").power_cut(1).knows_of_unclean_stop();
    w.on("ana").write("p", "version 1").restart();
    w.linger().on("ben").assert_reads("p", "version 2");
    w.on("ana").assert_cause("p", Some(Cause::Suspicious));
}

/// F16 a: a counter that was said is never used again, whenever the process ends.
#[test]
fn i14_f16a_no_number_is_used_twice_after_a_crash() {
    for seed in 1..4 {
        let mut w = with_p(seed, ["ana", "ben"]);
        for text in ["version 2", "version 3", "version 4"] {
            w.on("ana").write("p", text);
            w.until_reads("ben", "p", text).on("ana").crash().restart();
        }
        w.settle().assert_all_read("p", "version 4").assert_copies("p", &[]).assert_all();
        assert_eq!(w.on("ana").published(), 4);
    }
}

/// F24: a process that ends at any call of a swap leaves the old file or the new one, and goes on after it.
#[test]
fn i8_f24_a_swap_that_is_cut_off_anywhere_is_gone_on_with() {
    for calls in [0, 2, 5, 9, 15] {
        let mut w = with_p(12, ["ana", "ben"]);
        w.on("ben").crash_during(During::Commit, calls);
        w.on("ana").write("p", "version 2").write("q", "new");
        w.until("the process ends", |world| world.devices[1].running.is_none());
        assert!([Some(&b"version 1"[..]), Some(b"version 2")].contains(&w.on("ben").reads("p").as_deref()));
        w.on("ben").restart();
        w.settle().assert_all_read("p", "version 2").assert_all_read("q", "new").assert_all();
        assert_eq!(w.on("ben").published(), 0);
    }
}

/// F24: what a user saved over a version that is about to be replaced is in no case lost with the process.
#[test]
fn i3_f24_a_displaced_edit_is_found_after_a_crash() {
    for calls in [3, 8, 12, 16] {
        let mut w = with_p(13, ["ana", "ben"]);
        w.on("ben").crash_during(During::Commit, calls);
        w.on("ana").write_at("p", "version 2", 3_000_000_000);
        w.until_changing("ben").on("ben").write("p", "an edit of ben's");
        w.pass(Duration::from_secs(5)).on("ben").crash().restart();
        w.settle().assert_all_read("p", "version 2").assert_all();
        let at_ben = w.on("ben");
        let is_kept = at_ben.kept_contents().contains(&b"an edit of ben's"[..]);
        assert!(is_kept || at_ben.copies("p") == ["an edit of ben's"], "after {calls} calls");
    }
}

/// F24: a process that ends while it makes a user's file durable has announced nothing, and does so after its start.
#[test]
fn i17_f24_a_take_that_is_cut_off_is_done_again() {
    for calls in [0, 2, 4] {
        let mut w = with_p(14, ["ana", "ben"]);
        w.on("ana").crash_during(During::Take, calls).write("p", "version 2");
        w.on("ana").rescan();
        w.until("the process ends", |world| world.devices[0].running.is_none());
        w.on("ben").assert_reads("p", "version 1");
        w.on("ana").restart();
        w.settle().assert_all_read("p", "version 2").assert_copies("p", &[]).assert_all();
    }
}

/// F24: a call of the disk that fails costs time, and no file.
#[test]
fn i17_f24_a_failing_call_costs_time_alone() {
    for calls in [1, 3, 6, 10] {
        let mut w = with_p(15, ["ana", "ben"]);
        w.on("ana").write("p", "version 2").remove("p").write("p", "version 3").write("d/q", "new");
        w.until_changing("ben").on("ben").fail_call(calls);
        w.settle().assert_all_read("p", "version 3").assert_all_read("d/q", "new").assert_all();
    }
}

/// F24, I20: a disk that is full leaves what it has, says why, and goes on by itself once there is room.
#[test]
fn i20_f24_a_full_disk_is_listed_and_goes_on_with_room() {
    let mut w = with_p(16, ["ana", "ben"]);
    w.on("ben").fill(10_000);
    w.on("ana").write_bytes("large", 1, 60_000).write("p", "version 2");
    w.linger().on("ben").assert_lacks("large").assert_cause("large", Some(Cause::NoSpace));
    w.on("ben").make_room();
    w.settle().assert_all_read("p", "version 2").assert_all();
    assert_eq!(w.on("ben").reads("large").map(|bytes| bytes.len()), Some(60_000));
}

/// F24: half a file that was fetched before the process ended is used again, and nothing half is ever shown.
#[test]
fn i17_f24_half_a_file_is_gone_on_with_after_a_crash() {
    let mut w = with_p(17, ["ana", "ben"]);
    w.on("ana").write_bytes("large", 1, 600_000);
    w.on("ben").crash_during(During::Write, 1);
    w.until("the process ends", |world| world.devices[1].running.is_none());
    w.on("ben").assert_lacks("large").restart();
    w.settle().assert_all();
    assert_eq!(w.on("ben").reads("large").map(|bytes| bytes.len()), Some(600_000));
}

/// F24: our own state is never synced, at any depth and in any letter case.
#[test]
fn i21_f24_what_is_called_shoal_is_never_sent() {
    let mut w = with_p(18, ["ana", "ben"]);
    w.on("ana").write("d/.Shoal/secret", "x").write(".SHOAL/secret", "x").write("d/plain", "y");
    w.linger().on("ben").assert_reads("d/plain", "y");
    assert_eq!(w.on("ben").paths(), ["d", "d/plain", "p"]);
}

/// F7: a version that was swapped in just before the process ended is still another's, and its author deletes it for all.
#[test]
fn i6_f7_what_was_swapped_in_before_a_crash_is_not_published_anew() {
    for seed in 1..3 {
        let mut w = with_p(seed, ["ana", "ben"]);
        w.on("ana").write("rest", "of it").write("more", "of it");
        w.settle().on("ana").write("p", "version 2");
        w.until_reads("ben", "p", "version 2").on("ben").crash();
        w.on("ana").rescan();
        w.pass(Duration::from_secs(30)).on("ana").remove("p");
        w.linger().on("ben").restart();
        w.settle().assert_all_lack("p").assert_all();
    }
}
