//! Stories of large files: several segments, small edits, sources that go away.

use core::time::Duration;

use shoal_engine::limits::SERVE_SENT_BYTES_MAX;

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// More than two segments of the least size.
const LARGE: usize = 600 << 10;

#[test]
fn i9_a_file_of_several_segments_comes_whole() {
    let mut w = World::seeded(501).peers(["ana", "ben"]).share("notes");
    w.settle();
    w.on("ana").write_bytes("big.bin", 1, LARGE).write_bytes("bigger.bin", 2, 3 * LARGE);
    w.settle().assert_all();
    for path in ["big.bin", "bigger.bin"] {
        assert_eq!(w.on("ben").reads(path), w.on("ana").reads(path));
    }
}

#[test]
fn a_small_edit_in_the_middle_of_a_large_file_costs_little() {
    let mut w = World::seeded(502).peers(["ana", "ben"]).share("notes");
    w.settle();
    w.on("ana").write_bytes("big.bin", 1, LARGE);
    let whole = w.bytes_said(|w| {
        w.settle();
    });
    assert!(whole > LARGE as u64, "{whole} bytes");
    for edit in [300_000, 7, 599_999] {
        w.on("ana").write_edited("big.bin", 1, LARGE, edit);
        let said = w.bytes_said(|w| {
            w.settle();
        });
        assert!(said < 60_000, "{said} bytes for eight bytes inserted at {edit}");
        assert_eq!(w.on("ben").reads("big.bin"), w.on("ana").reads("big.bin"));
    }
    w.assert_all();
    assert_eq!(w.on("ben").history().len(), 3);
}

#[test]
fn what_is_appended_to_a_large_file_is_all_that_is_sent() {
    let mut w = World::seeded(503).peers(["ana", "ben"]).share("notes");
    w.settle();
    w.on("ana").write_bytes("log", 1, LARGE);
    w.settle();
    // Equal numbers give the same beginning.
    w.on("ana").write_bytes("log", 1, LARGE + 10_000);
    let said = w.bytes_said(|w| {
        w.settle();
    });
    assert!(said < 80_000, "{said} bytes for 10,000 appended");
    assert_eq!(w.on("ben").reads("log").unwrap().len(), LARGE + 10_000);
    w.assert_all();
}

#[test]
fn a_cut_in_the_middle_of_a_large_file_costs_what_was_under_way_and_no_more() {
    let mut w = World::seeded(504).peers(["ana", "ben"]).share("notes");
    w.settle();
    let (size, cuts) = (4 * LARGE as u64, 4);
    w.on("ana").write_bytes("big.bin", 1, 4 * LARGE);
    let said = w.bytes_said(|w| {
        for _ in 0..cuts {
            w.pass(SECOND / 4).cut("ana", "ben").connect("ana", "ben").pass(SECOND * 5);
        }
        w.settle();
    });
    assert_eq!(w.on("ben").reads("big.bin"), w.on("ana").reads("big.bin"));
    let under_way = cuts * SERVE_SENT_BYTES_MAX;
    assert!(said < size + under_way, "{said} bytes for {size} and {cuts} cuts");
    w.assert_all();
}

#[test]
fn i17_what_was_fetched_before_a_crash_is_not_lost_to_the_file() {
    let mut w = World::seeded(505).peers(["ana", "ben"]).share("notes");
    w.settle();
    w.on("ana").write_bytes("big.bin", 1, 2 * LARGE);
    for round in 0..3 {
        w.pass(SECOND * round);
        w.on("ben").crash();
        w.pass(SECOND);
        w.on("ben").restart();
    }
    w.settle().assert_all();
    assert_eq!(w.on("ben").reads("big.bin"), w.on("ana").reads("big.bin"));
    assert!(w.on("ben").staged().is_empty(), "{:?}", w.on("ben").staged());
}

#[test]
fn two_who_have_the_rest_give_it_when_the_author_is_gone() {
    let mut w = World::seeded(506).peers(["ana", "ben", "cleo", "dan"]).share("notes");
    w.settle();
    w.on("dan").crash();
    w.on("ana").write_bytes("big.bin", 1, LARGE);
    w.look().look();
    let whole = w.on("ana").reads("big.bin");
    assert_eq!(w.on("ben").reads("big.bin"), whole);
    w.on("dan").restart();
    w.pass(SECOND * 2);
    w.on("ana").crash();
    w.look().look();
    assert_eq!(w.on("dan").reads("big.bin"), whole, "{:?}", w.on("dan").status());
    w.heal().settle().assert_all();
}

#[test]
fn a_source_that_hands_over_nothing_is_asked_beside_others() {
    let mut w = World::seeded(507).peers(["ana", "ben", "cleo"]).share("notes");
    w.settle();
    w.on("cleo").crash();
    w.on("ana").write_bytes("big.bin", 1, LARGE);
    w.look().look();
    w.on("cleo").restart();
    w.pass(SECOND * 5).hold_up("ana", "cleo", SECOND * 600).look().look();
    assert_eq!(w.on("cleo").reads("big.bin"), w.on("ana").reads("big.bin"), "ben has it too");
    w.heal().settle().assert_all();
}

#[test]
fn i30_a_connection_that_one_end_has_lost_is_given_up_by_the_other_in_time() {
    let mut w = World::seeded(508).peers(["ana", "ben"]).share("notes");
    w.settle();
    w.half_open("ana", "ben", SECOND * 3600);
    w.on("ben").write("a", "1").write_bytes("big.bin", 1, LARGE);
    w.look().look().look();
    w.on("ana").assert_reads("a", "1");
    assert_eq!(w.on("ana").reads("big.bin").map(|bytes| bytes.len()), Some(LARGE));
    w.heal().settle().assert_all();
}

#[test]
fn i8_a_large_file_that_changes_while_it_is_fetched_comes_as_one_version() {
    let mut w = World::seeded(509).peers(["ana", "ben", "cleo"]).share("notes");
    w.settle();
    for edit in 1..12 {
        w.on("ana").write_edited("big.bin", 1, LARGE, edit * 40_000);
        w.pass(Duration::from_millis(150 * edit));
    }
    w.settle().assert_all();
    assert_eq!(w.on("ben").reads("big.bin"), w.on("ana").reads("big.bin"));
    assert_eq!(w.on("cleo").copy_paths("big.bin"), [""; 0]);
}

#[test]
fn a_large_file_that_moves_while_it_is_fetched_arrives_where_it_went() {
    let mut w = World::seeded(510).peers(["ana", "ben"]).share("notes");
    w.settle();
    w.on("ana").write_bytes("a.bin", 1, 2 * LARGE);
    w.pass(SECOND * 2);
    w.on("ana").rename("a.bin", "b.bin");
    w.pass(SECOND * 2);
    w.on("ana").rename("b.bin", "d/c.bin");
    w.settle().assert_all_show(["d", "d/c.bin"]).assert_all();
}
