//! Stories of daily life: moves, saves as programs make them, one kind in another's place, odd names.

use core::time::Duration;

use shoal_disk::Kind;

use crate::users::Step;
use crate::world::World;

const MINUTE: Duration = Duration::from_secs(60);

fn world(seed: u64) -> World {
    let mut w = World::seeded(seed).peers(["ana", "ben"]).share("notes");
    w.settle();
    w
}

#[test]
fn a_folder_of_many_files_that_moves_costs_no_bytes_of_them() {
    let mut w = world(401);
    for number in 0..40 {
        w.on("ana").write_bytes(&format!("photos/{number}.jpg"), number, 30_000);
    }
    w.settle();
    let names: Vec<String> = (0..40).map(|number| format!("{number}.jpg")).collect();
    let before: Vec<_> = names.iter().map(|name| w.on("ben").inode(&format!("photos/{name}"))).collect();
    w.on("ana").rename("photos", "2026/holidays");
    let said = w.bytes_said(|w| {
        w.settle();
    });
    assert!(said < 25_000, "{said} bytes for a move of 1.2 MB");
    w.on("ben").assert_nothing_at("photos");
    assert_eq!(w.on("ben").paths().len(), 42);
    let after: Vec<_> =
        names.iter().map(|name| w.on("ben").inode(&format!("2026/holidays/{name}"))).collect();
    assert_eq!(before, after, "they were moved, not copied");
    w.assert_all();
}

/// What ana's user moves while nobody watches is moved at ben's as well, whether the new name comes first or last.
fn moves_unseen(seed: u64, unseen: impl Fn(&mut World, &[Step])) {
    for (round, to) in ["a", "z"].into_iter().enumerate() {
        let mut w = world(seed + round as u64);
        w.on("ana").write("b/rest", "of it").write("y/rest", "of that").write_bytes("one", 99, 30_000);
        for number in 0..40 {
            w.on("ana").write_bytes(&format!("photos/{number}.jpg"), number, 30_000);
        }
        w.settle();
        let names: Vec<String> = (0..40).map(|number| format!("/{number}.jpg")).collect();
        let inodes = |w: &mut World, folder: &str, file: &str| -> Vec<_> {
            let files = names.iter().map(|name| format!("{folder}{name}")).chain([file.to_owned()]);
            files.map(|path| w.on("ben").inode(&path).expect(&path)).collect()
        };
        let before = inodes(&mut w, "photos", "one");
        let said = w.bytes_said(|w| {
            let moves = [("photos", to.to_owned()), ("one", format!("{to}-one"))];
            unseen(w, &moves.map(|(from, to)| Step::Rename(from.to_owned(), to)));
            w.settle();
        });
        assert!(said < 60_000, "{said} bytes for a move of 1.2 MB");
        let after = inodes(&mut w, to, &format!("{to}-one"));
        assert_eq!(before, after, "they were moved, not copied");
        assert_eq!(w.on("ben").history(), [""; 0], "nothing was filed away");
        w.assert_nobody_was_asked().assert_all();
    }
}

#[test]
fn i19_what_moves_while_a_device_does_not_run_is_moved_at_the_others() {
    moves_unseen(420, |w, moves| {
        w.on("ana").crash().all_unwatched(moves);
        // What changed just now is read again later.
        w.pass(Duration::from_secs(10)).on("ana").restart();
    });
}

#[test]
fn i33_what_moves_while_hints_are_lost_is_moved_at_the_others() {
    moves_unseen(430, |w, moves| {
        w.on("ana").all_unwatched(moves);
        w.pass(Duration::from_secs(10)).on("ana").rescan();
    });
}

/// Files are moved one by one while the disk is busy reading others: each has to be read again, and that takes minutes.
#[test]
fn i19_what_is_moved_file_by_file_is_not_gone_while_it_is_read() {
    for (round, stay) in [0, 40].into_iter().enumerate() {
        let mut w = world(440 + round as u64);
        w.on("ana").unpack("big", 24).unpack("other", stay);
        w.on("ana").write("archive/rest", "of it").write("big/rest", "of that");
        w.all_rescan().settle();
        w.on("ana").reads_for(MINUTE * 2);
        for new in ["one", "two"] {
            w.on("ana").write(new, "takes all there is to read with");
            w.pass(Duration::from_secs(5));
        }
        for number in 0..24 {
            w.on("ana").rename(&format!("big/{number}"), &format!("archive/{number}"));
        }
        w.on("ana").remove_all("big");
        let end = w.now().after(MINUTE * 15);
        w.until("all was read", |w| {
            for number in 0..24 {
                let shows = |folder: &str| w.shows("ben", &format!("{folder}/{number}"));
                assert!(shows("big") || shows("archive"), "{number} is gone at ben's");
            }
            w.now() >= end
        });
        w.on("ana").reads_for(Duration::ZERO);
        w.settle();
        w.on("ben").assert_nothing_at("big");
        w.assert_nobody_was_asked().assert_all();
    }
}

#[test]
fn a_rename_back_and_forth_ends_where_it_began() {
    let mut w = world(402);
    w.on("ana").write("plan.txt", "v1").write_bytes("big.bin", 1, 400_000);
    w.settle();
    let said = w.bytes_said(|w| {
        for round in 0..6 {
            let (from, to) = [("big.bin", "moved.bin"), ("moved.bin", "big.bin")][round % 2];
            w.on(["ana", "ben"][round % 2]).rename(from, to);
            w.settle();
        }
    });
    assert!(said < 40_000, "{said} bytes for six renames");
    w.assert_all_show(["big.bin", "plan.txt"]).assert_all();
}

#[test]
fn a_rename_and_back_before_anybody_looks_is_nothing() {
    let mut w = world(403);
    w.on("ana").write("plan.txt", "v1").write("b", "2");
    w.settle();
    let before = w.devices[0].index.life().counter;
    w.on("ana").crash().rename("plan.txt", "other").rename("other", "plan.txt").restart();
    w.settle().assert_all_show(["b", "plan.txt"]).assert_all();
    assert_eq!(w.devices[0].index.life().counter, before);
}

#[test]
fn two_files_that_change_places_do_so_everywhere() {
    let mut w = world(404);
    w.on("ana").write_bytes("a", 1, 100_000).write_bytes("b", 2, 100_000);
    w.settle();
    let first = w.on("ana").reads("a");
    w.on("ana").rename("a", "c").rename("b", "a").rename("c", "b");
    let said = w.bytes_said(|w| {
        w.settle();
    });
    assert!(said < 20_000, "{said} bytes, though both devices have both files");
    assert_eq!(w.on("ben").reads("b"), first);
    w.assert_all_show(["a", "b"]).assert_all();
}

#[test]
fn saves_over_a_temporary_file_leave_one_file_and_no_conflict() {
    let mut w = world(405);
    for round in 0..12 {
        let name = ["ana", "ben"][round / 6];
        w.on(name).write("plan.txt.tmp", &format!("v{round}")).rename("plan.txt.tmp", "plan.txt");
        w.pass(Duration::from_millis(700));
        if round == 5 {
            w.settle();
        }
    }
    w.settle().assert_all_show(["plan.txt"]).assert_all_read("plan.txt", "v11").assert_all();
}

#[test]
fn saves_with_a_backup_beside_leave_both_files_as_the_editor_left_them() {
    let mut w = world(406);
    w.on("ana").write("plan.txt", "v0");
    for round in 1..8 {
        w.on("ana").rename("plan.txt", "plan.txt~");
        w.pass(Duration::from_millis(20 * round));
        w.on("ana").write("plan.txt", &format!("v{round}"));
        w.pass(Duration::from_secs(3));
    }
    w.settle().assert_all_show(["plan.txt", "plan.txt~"]);
    w.assert_all_read("plan.txt", "v7").assert_all_read("plan.txt~", "v6").assert_all();
}

/// A file, a folder with files in it, and a file again, each made by another one's user.
fn file_folder_file(seed: u64) {
    let mut w = world(seed);
    w.on("ana").write("d", "a file").write("other", "1");
    w.settle();
    w.on("ben").remove("d").write("d/e/x", "in it");
    w.settle().assert_all_show(["d", "d/e", "d/e/x", "other"]).assert_all();
    assert_eq!(w.on("ana").history(), ["a file"]);
    w.on("ana").remove_all("d").write("d", "a file again");
    w.settle().assert_all_show(["d", "other"]).assert_all_read("d", "a file again").assert_all();
}

#[test]
fn a_file_becomes_a_folder_and_a_file_again() {
    file_folder_file(407);
}

#[test]
fn i4_a_folder_that_became_a_file_is_no_conflict_with_what_was_in_it() {
    file_folder_file(2407);
}

/// A folder with a file in it, a link in its place, and a folder again.
fn folder_link_folder(seed: u64) {
    let mut w = world(seed);
    w.on("ana").write("d/x", "1").write("e/x", "2").write("other", "3");
    w.settle();
    w.on("ana").remove_all("d").link("e", "d");
    w.settle().assert_all_show(["d", "e", "e/x", "other"]).assert_all();
    assert_eq!(w.on("ben").link_text("d").as_deref(), Some("e"));
    w.on("ben").remove("d").write("d/x", "1 again");
    w.settle().assert_all_read("d/x", "1 again").assert_all_read("e/x", "2").assert_all();
}

#[test]
fn a_folder_becomes_a_link_and_a_folder_again() {
    folder_link_folder(408);
}

/// What bars a file may go without that anything differs from what was known: it is tried again all the same.
#[test]
fn i2_a_file_comes_into_a_folder_that_was_away_for_a_moment() {
    for returns in [false, true] {
        let mut w = world(126);
        w.on("ana").write("d/e/z", "1").write("x", "2").write("y", "3");
        w.settle();
        w.on("ben").unwatched(&Step::RemoveAll("d".to_owned()));
        w.on("ana").write("d/new", "4");
        w.until("it is barred", |world| world.trace.lines().iter().any(|line| line.contains("Barred(")));
        if returns {
            w.on("ben").unwatched(&Step::MakeFolder("d".to_owned()));
        }
        w.pass(Duration::from_secs(20)).on("ben").assert_reads("d/new", "4");
        w.settle().assert_all_read("d/new", "4").assert_all_lack("d/e/z").assert_all();
    }
}

#[test]
fn i4_a_folder_that_became_a_link_is_no_conflict_with_what_was_in_it() {
    folder_link_folder(3408);
}

#[test]
fn a_file_is_replaced_by_a_link_to_where_it_went() {
    let mut w = world(409);
    w.on("ana").write_bytes("big.bin", 1, 200_000).write("other", "1");
    w.settle();
    let bytes = w.on("ana").reads("big.bin");
    w.on("ana").rename("big.bin", "store/big.bin").link("store/big.bin", "big.bin");
    w.settle().assert_all_show(["big.bin", "other", "store", "store/big.bin"]).assert_all();
    assert_eq!(w.on("ben").reads("store/big.bin"), bytes);
    assert_eq!(w.on("ben").looks("big.bin").unwrap().0, Kind::Symlink);
}

#[test]
fn new_modes_and_times_cost_no_bytes_of_the_file() {
    let mut w = world(410);
    w.on("ana").write_bytes("big.bin", 1, 600_000);
    w.settle();
    w.on("ana").set_mode("big.bin", 0o755).touch("big.bin", 1_111_111_111);
    let said = w.bytes_said(|w| {
        w.settle();
    });
    assert!(said < 10_000, "{said} bytes for a mode and a time");
    let (_, mode, mtime) = w.on("ben").looks("big.bin").unwrap();
    assert_eq!((mode, mtime.secs), (0o755, 1_111_111_111));
    assert_eq!(w.on("ben").history(), [""; 0], "its bytes were not replaced");
    w.assert_all();
}

#[test]
fn empty_files_and_empty_folders_come_and_go() {
    let mut w = world(411);
    w.on("ana").write("empty", "").make_folder("d/e/f").write("full", "1").write("g/empty", "");
    w.settle().assert_all_show(["d", "d/e", "d/e/f", "empty", "full", "g", "g/empty"]).assert_all();
    w.on("ben").remove_all("d/e").write("empty", "not any more").write("full", "");
    w.settle().assert_all_show(["d", "empty", "full", "g", "g/empty"]);
    w.assert_all_read("empty", "not any more").assert_all_read("full", "").assert_all();
    let mut history = w.on("ana").history();
    history.sort();
    assert_eq!(history, ["", "1"], "an empty version is one, too");
}

#[test]
fn equal_bytes_at_many_paths_cross_the_wire_once() {
    let mut w = world(412);
    for number in 0..15 {
        w.on("ana").write_bytes(&format!("copies/{number}"), 1, 100_000);
    }
    let said = w.bytes_said(|w| {
        w.settle();
    });
    assert!(said < 250_000, "{said} bytes for fifteen times the same 100 kB");
    assert_eq!(w.on("ben").paths().len(), 16);
    w.on("ana").copy("copies/3", "again");
    let said = w.bytes_said(|w| {
        w.settle();
    });
    assert!(said < 10_000, "{said} bytes for one more copy");
    w.assert_all();
}

#[test]
fn odd_names_are_names_like_others() {
    let mut w = world(413);
    let names = [
        " ",
        "-rf",
        "a\nb",
        "a\tb\u{7f}",
        "back\\slash",
        "con",
        "x:y",
        "\u{1b}[31mred",
        "\u{202e}gpj.exe",
        "ü",
        "u\u{308}",
    ];
    for name in names {
        w.on("ana").write(name, name).write(&format!("d/{name}/{name}"), name);
    }
    w.settle().assert_all();
    assert_eq!(w.on("ben").paths().len(), names.len() * 3 + 1);
    w.on("ben").assert_reads("d/a\nb/a\nb", "a\nb").rename("d/a\nb", "d/\n").remove("u\u{308}");
    w.settle().assert_all();
    w.on("ana").assert_reads("d/\n/a\nb", "a\nb").assert_reads("ü", "ü").assert_nothing_at("u\u{308}");
}

/// Two make both the longest names that a disk takes, apart from each other.
fn the_longest_names_get_copies(seed: u64) {
    let mut w = world(seed);
    let long = "ü".repeat(125) + ".text";
    let deep = format!("{}/{}/{long}", "d".repeat(255), "e".repeat(255));
    w.cut("ana", "ben");
    for path in [&long, &deep] {
        w.on("ana").write(path, "from ana");
        w.on("ben").write(path, "from ben");
    }
    w.look().heal().settle().assert_all();
    let texts: Vec<_> = w.on("ana").paths().into_iter().filter(|path| path.contains(" (conflict ")).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    for copy in &texts {
        let name = copy.rsplit('/').next().unwrap();
        assert!(name.len() <= 255 && name.ends_with(").text"), "{name}");
        assert!(w.on("ben").reads(copy).unwrap().starts_with(b"from "));
    }
}

#[test]
fn i5_the_longest_names_get_conflict_copies_that_a_disk_can_keep() {
    the_longest_names_get_copies(414);
}

#[test]
fn i2_two_conflicts_about_equal_bytes_come_to_an_end() {
    the_longest_names_get_copies(5414);
}

#[test]
fn i7_nested_deletions_against_edits_in_them_leave_the_edits_alone() {
    let mut w = World::seeded(415).peers(["ana", "ben", "cleo"]).share("notes");
    w.settle();
    for path in ["a/b/c/x", "a/b/y", "a/z", "a/b/c/d/e/w", "other"] {
        w.on("ana").write(path, path);
    }
    w.settle().cut("ana", "ben").cut("ana", "cleo").cut("ben", "cleo");
    w.on("ana").remove_all("a");
    w.on("ben").remove_all("a/b/c");
    w.on("cleo").write("a/b/c/d/e/w", "edited");
    w.look().heal().settle();
    w.assert_all_show(["a", "a/b", "a/b/c", "a/b/c/d", "a/b/c/d/e", "a/b/c/d/e/w", "other"]).assert_all();
    w.assert_all_read("a/b/c/d/e/w", "edited");
}

#[test]
fn i7_a_folder_renamed_here_and_edited_there_loses_nothing() {
    let mut w = world(416);
    w.on("ana").write("d/x", "1").write("d/y", "2").write("d/e/z", "3");
    w.settle().cut("ana", "ben");
    w.on("ana").rename("d", "renamed");
    w.on("ben").write("d/x", "1, edited").write("d/new", "4");
    w.look().heal().settle().assert_all();
    w.assert_all_read("d/x", "1, edited").assert_all_read("d/new", "4");
    w.assert_all_read("renamed/y", "2").assert_all_read("renamed/e/z", "3");
    w.on("ana").assert_nothing_at("d/y").assert_nothing_at("d/e");
}

#[test]
fn a_tree_that_is_unpacked_moved_and_deleted_at_once_ends_as_its_user_left_it() {
    let mut w = world(417);
    for number in 0..30 {
        w.on("ana").write(&format!("in/{}/{number}", number % 3), &format!("text {number}"));
    }
    w.on("ana").rename("in/0", "out/zero").remove_all("in/1").rename("in/2/29", "last");
    w.pass(MINUTE);
    w.on("ana").rename("out", "in/out");
    w.settle().assert_all();
    let paths = w.on("ben").paths();
    assert_eq!(paths.len(), 1 + 2 + 10 + 1 + 9 + 1, "{paths:?}");
    w.on("ben").assert_reads("last", "text 29").assert_reads("in/out/zero/0", "text 0");
}
