//! Stories of several who change the same: under partitions, with deletions, modes, kinds and links against each other.

use core::time::Duration;

use shoal_disk::Kind;

use crate::world::World;

const MINUTE: Duration = Duration::from_secs(60);

/// Three who are in sync, with `plan.txt` that says v1, and `other`.
fn world(seed: u64) -> World {
    let mut w = World::seeded(seed).peers(["ana", "ben", "cleo"]).share("notes");
    w.settle();
    w.on("ana").write("plan.txt", "v1").write("other", "stays");
    w.settle();
    w
}

/// Nobody reaches anybody.
fn part(w: &mut World) -> &mut World {
    w.cut("ana", "ben").cut("ana", "cleo").cut("ben", "cleo")
}

/// The text at a path and those of its conflict copies, sorted.
fn texts(w: &mut World, name: &str, path: &str) -> Vec<String> {
    let at = w.on(name);
    let own = at.reads(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let mut all: Vec<String> = at.copies(path).into_iter().chain(own).collect();
    all.sort();
    all
}

#[test]
fn i3_three_who_edit_apart_keep_all_three_versions() {
    let mut w = world(601);
    part(&mut w);
    for name in ["ana", "ben", "cleo"] {
        w.on(name).write("plan.txt", name);
    }
    w.look().heal().settle().assert_all();
    for name in ["ana", "ben", "cleo"] {
        assert_eq!(texts(&mut w, name, "plan.txt"), ["ana", "ben", "cleo"], "at {name}");
    }
}

#[test]
fn i3_who_meet_one_after_the_other_keep_all_versions_once() {
    let mut w = world(602);
    part(&mut w);
    for name in ["ana", "ben", "cleo"] {
        w.on(name).write("plan.txt", name);
    }
    w.look().connect("ana", "ben").look().cut("ana", "ben");
    w.connect("ben", "cleo").look().cut("ben", "cleo");
    w.connect("cleo", "ana").look().heal().settle().assert_all();
    assert_eq!(texts(&mut w, "cleo", "plan.txt"), ["ana", "ben", "cleo"]);
}

#[test]
fn i3_who_goes_on_editing_apart_leaves_the_last_of_each() {
    let mut w = world(603);
    part(&mut w);
    for round in 0..5 {
        for name in ["ana", "ben"] {
            w.on(name).write("plan.txt", &format!("{name} {round}"));
        }
        w.look();
    }
    w.heal().settle().assert_all();
    assert_eq!(texts(&mut w, "cleo", "plan.txt"), ["ana 4", "ben 4"], "no version between is in the way");
}

#[test]
fn i3_an_edit_of_what_won_ends_the_conflict_and_keeps_what_lost() {
    let mut w = world(604);
    part(&mut w);
    w.on("ana").write("plan.txt", "from ana");
    w.on("ben").write("plan.txt", "from ben");
    w.look().heal();
    // Both are edited again while they find out about each other.
    for round in 0..6 {
        w.on("ana").write("plan.txt", &format!("ana's {round}"));
        w.pass(Duration::from_millis(900));
    }
    w.settle().assert_all();
    let all = texts(&mut w, "cleo", "plan.txt");
    assert!(all.contains(&"from ben".to_owned()) && all.contains(&"ana's 5".to_owned()), "{all:?}");
}

#[test]
fn i1_an_edit_that_ends_a_conflict_whose_copies_were_on_their_way_leaves_none_of_them_out() {
    for step in 1..=12 {
        let mut w = World::seeded(640 + step).peers(["ana", "ben"]).share("notes");
        w.right_clocks().settle();
        w.on("ana").write("plan.txt", "v1");
        w.settle().cut("ana", "ben");
        w.on("ana").write_bytes("plan.txt", 1, 300_000);
        w.look();
        w.on("ben").write("plan.txt", "from ben");
        w.look()
            .connect("ana", "ben")
            .until_conflict("ben", "plan.txt")
            .pass(Duration::from_millis(5 * step));
        w.hold_up("ana", "ben", Duration::from_secs(2));
        w.on("ben").write("plan.txt", "more from ben");
        w.settle().assert_all();
        assert_eq!(w.on("ana").copy_paths("plan.txt").len(), 1, "after {step}");
    }
}

#[test]
fn i7_an_edit_survives_the_deletions_of_two_others() {
    let mut w = world(605);
    part(&mut w);
    w.on("ana").remove("plan.txt");
    w.on("ben").remove("plan.txt");
    w.on("cleo").write("plan.txt", "v2");
    w.look().connect("ana", "ben").look().heal().settle();
    w.assert_all_show(["other", "plan.txt"]).assert_all_read("plan.txt", "v2").assert_all();
}

#[test]
fn i6_a_deletion_of_what_won_does_not_bring_back_what_lost() {
    let mut w = world(606);
    part(&mut w);
    w.on("ana").write("plan.txt", "from ana");
    w.on("ben").write("plan.txt", "from ben");
    w.look().heal().settle();
    let copy = w.on("ana").copy_paths("plan.txt").remove(0);
    w.on("cleo").remove("plan.txt");
    w.settle();
    assert_eq!(w.on("ana").paths(), ["other", &copy]);
    w.on("ben").remove(&copy);
    w.settle().assert_all_show(["other"]).assert_all();
}

#[test]
fn i6_a_deletion_says_more_than_a_touch_and_less_than_an_edit() {
    let mut w = world(607);
    part(&mut w);
    w.on("ana").remove("plan.txt").remove("other");
    w.on("ben").set_mode("plan.txt", 0o600).touch("plan.txt", 1_900_000_000);
    w.on("cleo").write("other", "edited");
    w.look().heal().settle().assert_all_show(["other"]).assert_all_read("other", "edited").assert_all();
}

#[test]
fn i5_a_copy_that_one_edits_and_one_deletes_stays_as_it_was_edited() {
    let mut w = world(608);
    part(&mut w);
    w.on("ana").write("plan.txt", "from ana");
    w.on("ben").write("plan.txt", "from ben");
    w.look().heal().settle();
    let copy = w.on("ana").copy_paths("plan.txt").remove(0);
    part(&mut w);
    w.on("ana").remove(&copy);
    w.on("cleo").write(&copy, "saved by cleo");
    w.look().heal().settle().assert_all_read(&copy, "saved by cleo").assert_all();
}

#[test]
fn i5_a_copy_that_is_given_the_name_of_its_file_takes_its_place() {
    let mut w = world(609);
    part(&mut w);
    w.on("ana").write("plan.txt", "from ana");
    w.on("ben").write("plan.txt", "from ben");
    w.look().heal().settle();
    let copy = w.on("cleo").copy_paths("plan.txt").remove(0);
    let kept = w.on("cleo").copies("plan.txt").remove(0);
    w.on("cleo").rename(&copy, "plan.txt");
    w.settle().assert_all_show(["other", "plan.txt"]).assert_all_read("plan.txt", &kept).assert_all();
}

#[test]
fn i5_links_that_say_different_things_stand_beside_each_other() {
    let mut w = world(610);
    part(&mut w);
    w.on("ana").link("other", "l");
    w.on("ben").link("plan.txt", "l");
    w.look().heal().settle().assert_all();
    let copy = w.on("cleo").copy_paths("l").remove(0);
    let mut said = [w.on("cleo").link_text("l").unwrap(), w.on("cleo").link_text(&copy).unwrap()];
    said.sort();
    assert_eq!(said, ["other", "plan.txt"]);
}

#[test]
fn i5_a_link_against_a_file_keeps_both() {
    let mut w = world(611);
    part(&mut w);
    w.on("ana").remove("plan.txt").link("other", "plan.txt");
    w.on("ben").write("plan.txt", "v2");
    w.look().heal().settle().assert_all();
    let copies = w.on("cleo").copy_paths("plan.txt");
    assert_eq!(copies.len(), 1);
    let mut kinds = [w.on("cleo").looks("plan.txt").unwrap().0, w.on("cleo").looks(&copies[0]).unwrap().0];
    kinds.sort_by_key(|kind| *kind == Kind::Symlink);
    assert_eq!(kinds, [Kind::File, Kind::Symlink]);
}

#[test]
fn i5_a_file_against_a_folder_stands_beside_it() {
    let mut w = world(612);
    part(&mut w);
    w.on("ana").write("new", "a file");
    w.on("ben").write("new/x", "in a folder");
    w.look().heal().settle().assert_all();
    w.assert_all_read("new/x", "in a folder");
    assert_eq!(w.on("cleo").copies("new"), ["a file"]);
}

#[test]
fn i4_modes_that_differ_are_no_conflict_of_bytes() {
    let mut w = world(613);
    part(&mut w);
    w.on("ana").set_mode("plan.txt", 0o755);
    w.on("ben").set_mode("plan.txt", 0o600);
    w.on("cleo").write("plan.txt", "v2");
    w.look().heal().settle();
    w.assert_all_show(["other", "plan.txt"]).assert_all_read("plan.txt", "v2").assert_all();
}

#[test]
fn i16_clocks_choose_no_winner_over_who_had_seen_the_other() {
    let mut w = world(614);
    w.on("ana").jump_clock(-500_000_000);
    w.on("ben").jump_clock(500_000_000);
    for round in 0..6 {
        let name = ["ben", "ana"][round % 2];
        w.on(name).write("plan.txt", &format!("round {round}"));
        w.settle();
    }
    w.assert_all_show(["other", "plan.txt"]).assert_all_read("plan.txt", "round 5").assert_all();
}

#[test]
fn i1_five_in_a_chain_hear_of_everything_through_their_neighbours() {
    let names = ["ana", "ben", "cleo", "dan", "eva"];
    let mut w = World::seeded(615).peers(names).share("notes");
    w.chain(names).settle();
    w.on("ana").write("from-ana", "1").write_bytes("big.bin", 1, 300_000);
    w.on("eva").write("from-eva", "2");
    w.on("cleo").write("d/from-cleo", "3");
    w.settle().assert_all_show(["big.bin", "d", "d/from-cleo", "from-ana", "from-eva"]);
    w.on("eva").remove("from-ana").rename("big.bin", "d/big.bin");
    w.settle().assert_all_show(["d", "d/big.bin", "d/from-cleo", "from-eva"]).assert_all();
}

#[test]
fn i2_two_ends_of_a_chain_that_edit_the_same_end_their_conflict() {
    let names = ["ana", "ben", "cleo", "dan", "eva"];
    let mut w = World::seeded(616).peers(names).share("notes");
    w.chain(names).settle();
    w.cut("cleo", "dan");
    w.on("ana").write("plan.txt", "from ana");
    w.on("eva").write("plan.txt", "from eva");
    w.look().connect("cleo", "dan").settle().assert_all();
    for name in names {
        assert_eq!(texts(&mut w, name, "plan.txt"), ["from ana", "from eva"], "at {name}");
    }
}

#[test]
fn i6_a_chain_in_which_one_after_the_other_is_away_forgets_no_deletion() {
    let names = ["ana", "ben", "cleo", "dan"];
    let mut w = World::seeded(617).peers(names).share("notes");
    w.chain(names).settle();
    w.on("dan").write("a", "1").write("b", "2").write("c", "3");
    w.settle();
    w.on("dan").crash();
    w.on("ana").remove("a");
    w.look();
    w.on("ana").crash();
    w.on("ben").crash();
    w.on("dan").restart();
    w.look().look();
    w.on("dan").assert_nothing_at("a").write("b", "2, edited");
    w.look();
    w.on("ana").restart();
    w.on("ben").restart();
    w.settle().assert_all_show(["b", "c"]).assert_all_read("b", "2, edited").assert_all();
}

#[test]
fn i3_two_halves_that_live_apart_for_long_come_together_whole() {
    let mut w = World::seeded(618).peers(["ana", "ben", "cleo", "dan"]).share("notes");
    w.settle();
    for number in 0..10 {
        w.on("ana").write(&format!("d/{number}"), &format!("first {number}"));
    }
    w.settle().cut("ana", "cleo").cut("ana", "dan").cut("ben", "cleo").cut("ben", "dan");
    for number in 0..10 {
        let path = format!("d/{number}");
        match number % 5 {
            0 => drop(w.on("ana").write(&path, "left")),
            1 => drop(w.on("dan").write(&path, "right")),
            2 => drop(w.on("ben").remove(&path)),
            3 => drop(w.on("cleo").rename(&path, &format!("moved/{number}"))),
            _ => {
                w.on("ben").write(&path, "left and");
                w.on("cleo").write(&path, "right too");
            }
        }
        w.look();
    }
    w.pass(MINUTE * 60).heal().settle().assert_all();
    w.assert_all_read("d/0", "left").assert_all_read("d/6", "right").assert_all_read("moved/8", "first 8");
    w.on("dan").assert_nothing_at("d/2").assert_nothing_at("d/7").assert_nothing_at("d/3");
    assert_eq!(texts(&mut w, "ben", "d/4"), ["left and", "right too"]);
    assert_eq!(texts(&mut w, "dan", "d/9"), ["left and", "right too"]);
}
