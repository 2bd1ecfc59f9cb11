//! Stories of folders, moves and deletions, and of what a person is asked before.

use shoal_engine::io::Command;
use shoal_engine::status::{Cause, Halt, Phase};

use crate::world::World;

/// A world of these devices with right clocks, in which all have met.
fn met<const N: usize>(seed: u64, names: [&str; N]) -> World {
    let mut w = World::seeded(seed).peers(names).share("notes");
    w.right_clocks().settle();
    w
}

/// F10 b: a folder that is deleted beside a new child stays for the child, and nobody publishes it again and again.
#[test]
fn i7_f10b_a_folder_deleted_beside_a_new_child_stays_for_it() {
    let mut w = met(1, ["ana", "ben"]);
    w.on("ana").write("d/x", "old").write("rest", "of it");
    w.settle().part(&[]);
    w.on("ana").remove_all("d");
    w.on("ben").write("d/y", "new");
    w.linger().heal().settle().assert_all_read("d/y", "new").assert_all_lack("d/x").assert_all();
}

/// F10 b: a folder in a folder, both deleted, both needed.
#[test]
fn i7_f10b_folders_above_a_new_child_stay_too() {
    let mut w = met(2, ["ana", "ben"]);
    w.on("ana").make_folder("d/e").write("rest", "of it");
    w.settle().part(&[]);
    w.on("ana").remove_all("d");
    w.on("ben").write("d/e/y", "new");
    w.linger().heal().settle().assert_all_read("d/e/y", "new").assert_all();
}

/// F10 c: a folder that others delete stays where it holds something ignored; that is listed, and undoes nothing.
#[test]
fn i21_f10c_a_deleted_folder_stays_for_what_is_ignored_in_it() {
    let mut w = met(3, ["ana", "ben"]);
    w.on("ana").write("d/x", "old").write("rest", "of it");
    w.settle().on("ben").write(".shoalignore", "target/\n");
    w.linger().on("ben").write("d/target/out", "made here");
    w.linger().on("ana").assert_lacks("d/target").remove_all("d");
    w.linger().on("ben").assert_lacks("d/x").assert_reads("d/target/out", "made here");
    w.on("ben").assert_cause("d", Some(Cause::NotEmpty));
    w.linger().on("ana").assert_lacks("d");
}

/// F11: of what was moved no bytes are sent.
#[test]
fn i13_f11_a_moved_folder_costs_no_bytes() {
    let mut w = met(4, ["ana", "ben"]);
    for number in 0..6 {
        w.on("ana").write_bytes(&format!("a/{number}"), number, 50_000);
    }
    w.settle();
    let bytes = w.tally.bytes;
    w.on("ana").rename("a", "b");
    w.settle().assert_nobody_was_asked().assert_all();
    assert_eq!(w.on("ben").paths().len(), 7);
    assert!(w.tally.bytes - bytes < 20_000, "{} bytes for a move of 300,000", w.tally.bytes - bytes);
}

/// F11: of a file that was given another name both are told at once, so that the others rename it, too. (Where a watcher
/// loses a word of it, as in some worlds, the others copy it.)
#[test]
fn i13_f11_a_renamed_file_is_renamed_at_the_others() {
    let mut w = met(10, ["ana", "ben"]);
    w.on("ana").write_bytes("p", 1, 50_000).write("rest", "of it");
    w.settle();
    let before = w.devices[1].inode(b"p");
    w.on("ana").rename("p", "q");
    w.settle().assert_all();
    assert_eq!((before.is_some(), w.devices[1].inode(b"q")), (true, before));
    assert_eq!(w.on("ben").history(), [""; 0], "nothing was filed away");
}

/// F11: a power cut within a move leaves each file under one of its names, and the move is gone on with.
#[test]
fn i17_f11_a_power_cut_within_a_move_loses_no_name() {
    for seed in 1..4 {
        let mut w = met(seed, ["ana", "ben"]);
        for number in 0..4 {
            w.on("ana").write_bytes(&format!("a/{number}"), number, 3_000);
        }
        w.settle().on("ana").rename("a", "b");
        w.until_changing("ben").on("ben").power_cut(seed).restart();
        w.settle().assert_all();
        assert_eq!(w.on("ben").paths(), ["b", "b/0", "b/1", "b/2", "b/3"]);
    }
}

/// F11: a move of everything is no loss: nobody is asked, at either end.
#[test]
fn i19_f11_a_move_of_everything_asks_nobody() {
    let mut w = met(5, ["ana", "ben"]);
    for number in 0..24 {
        w.on("ana").write(&format!("a/{number}"), &format!("text {number}"));
    }
    w.settle().on("ana").rename("a", "b");
    w.settle().assert_nobody_was_asked().assert_all();
    assert_eq!(w.on("ben").paths().len(), 25);
}

/// F11: an edit beside a move stands at the old path, the moved bytes at the new one.
#[test]
fn i7_f11_an_edit_beside_a_move_survives() {
    let mut w = met(6, ["ana", "ben"]);
    w.on("ana").write("a/p", "v1").write("rest", "of it");
    w.settle().part(&[]);
    w.on("ana").rename("a", "b");
    w.on("ben").write("a/p", "edited");
    w.linger().heal().settle();
    w.assert_all_read("a/p", "edited").assert_all_read("b/p", "v1").assert_all();
}

/// F30: a folder that has lost everything is more often a disk that is not there: nothing is deleted anywhere unasked.
#[test]
fn i19_f30_an_emptied_folder_halts_and_asks() {
    let mut w = met(7, ["ana", "ben"]);
    for number in 0..4 {
        w.on("ana").write(&format!("p{number}"), &format!("text {number}"));
    }
    w.settle();
    for number in 0..4 {
        w.on("ana").remove(&format!("p{number}"));
    }
    w.linger();
    let phase = w.on("ana").status().map(|status| status.phase);
    assert_eq!(phase, Some(Phase::Halted(Halt::Emptied { had: 4, lost: 4 })));
    assert_eq!(w.on("ben").paths().len(), 4);
    w.on("ana").command(Command::Resume);
    w.settle().assert_all();
    assert!(w.on("ben").paths().is_empty());
}

/// F11, F30: a mass deletion that comes from others is held back, once, until a person says that it is meant.
#[test]
fn i19_f30_a_mass_deletion_by_others_is_held_back() {
    let mut w = met(18, ["ana", "ben"]);
    for number in 0..4 {
        w.on("ana").write(&format!("p{number}"), &format!("text {number}"));
    }
    w.settle();
    for number in 0..4 {
        w.on("ana").remove(&format!("p{number}"));
    }
    w.linger().on("ana").command(Command::Resume);
    w.linger();
    let phase = w.on("ben").status().map(|status| status.phase);
    assert_eq!(phase, Some(Phase::Halted(Halt::MassDeletion { had: 4, lost: 4 })));
    assert_eq!((w.on("ana").paths().len(), w.on("ben").paths().len()), (0, 4));
    w.on("ben").command(Command::Resume);
    w.settle().assert_all();
    w.on("ben").assert_kept("text 0").assert_kept("text 3");
}

/// F28: rules of another device come as a file, and hide nothing before this device's user accepts them.
#[test]
fn i21_f28_rules_of_others_hide_nothing() {
    let mut w = met(9, ["ana", "ben"]);
    w.on("ben").write("rest", "of it").write(".shoalignore", "*.tmp\n");
    w.linger().on("ana").assert_reads(".shoalignore", "*.tmp\n").write("a.tmp", "not hidden here");
    w.on("ben").write("b.tmp", "hidden here");
    w.linger().on("ana").assert_lacks("b.tmp").assert_reads("a.tmp", "not hidden here");
    w.on("ben").assert_lacks("a.tmp").assert_reads("b.tmp", "hidden here");
}

/// F34: modes are cut to what they may be, and one that changes alone changes no bytes.
#[test]
fn i12_f34_modes_come_over_without_what_is_dangerous() {
    let mut w = met(10, ["ana", "ben"]);
    w.on("ana").write("p", "text");
    w.settle().on("ana").set_mode("p", 0o4755);
    w.settle().assert_all();
    let mode = |w: &World, at: usize| crate::users::tree(&w.devices[at].disk)[&b"p"[..]].mode;
    assert_eq!(mode(&w, 1), 0o755);
    assert!(w.on("ben").kept_contents().is_empty(), "no bytes were replaced");
}
