//! Stories of what was displaced: how long it is kept, what it is kept for, and how it comes back.

use core::time::Duration;

use shoal_engine::history::{Refusal, Restored, Retention, Why};
use shoal_engine::io::Command;
use shoal_proto::path::RelPath;

use crate::faults::During;
use crate::world::World;

const MINUTE: Duration = Duration::from_secs(60);

/// So little time that a story need not be long: two minutes are one part of it.
const HOUR: Retention = Retention { keep: Duration::from_secs(3600), bytes_max: u64::MAX };

fn world(seed: u64, retention: Retention) -> World {
    let mut w = World::seeded(seed).peers(["ana", "ben", "cleo"]).keeps(retention).share("notes");
    w.settle();
    w
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

// ── how long ──

#[test]
fn i3_versions_go_when_their_time_is_over_and_not_before() {
    let mut w = world(711, HOUR);
    w.on("ana").write("plan.txt", "v1").write("other", "stays");
    w.settle();
    w.on("ben").write("plan.txt", "v2");
    w.settle().pass(MINUTE * 40);
    w.on("ana").write("plan.txt", "v3").remove("other");
    w.settle();
    let texts = |w: &mut World| {
        let mut texts = w.on("cleo").history();
        texts.sort();
        texts
    };
    assert_eq!(texts(&mut w), ["stays", "v1", "v2"]);
    w.pass(MINUTE * 25);
    assert_eq!(texts(&mut w), ["stays", "v2"]);
    assert_eq!(w.on("ana").history(), ["v1"; 0], "what its own users replaced was never displaced here");
    w.pass(MINUTE * 45).settle().assert_all();
    assert_eq!(w.on("cleo").history(), [""; 0]);
    assert_eq!(w.on("cleo").past("plan.txt"), []);
    w.assert_all_read("plan.txt", "v3");
}

#[test]
fn i3_room_is_made_where_most_is_taken_and_what_was_deleted_goes_last() {
    let mut w = world(702, Retention { bytes_max: 700, ..Retention::default() });
    let text = |letter: &str, length: usize| letter.repeat(length);
    for letter in ["a", "b", "c", "d"] {
        w.on("ana").write("big.txt", &text(letter, 300));
        w.settle();
    }
    w.on("ana").write("small.txt", "v1").write("dear.txt", &text("x", 350));
    w.settle();
    w.on("ana").write("small.txt", "v2").remove("dear.txt");
    w.settle().pass(MINUTE * 5);
    let kept = |w: &mut World| {
        let mut kept = w.on("ben").history();
        kept.sort();
        kept
    };
    assert_eq!(kept(&mut w), [text("c", 300), "v1".to_owned(), text("x", 350)]);
    w.on("ben").command(Command::Retain(Retention { bytes_max: 360, ..Retention::default() }));
    w.pass(MINUTE * 5);
    assert_eq!(kept(&mut w), ["v1".to_owned(), text("x", 350)], "the deleted file is kept till last");
    let status = w.on("ben").status().unwrap();
    assert_eq!((status.history.versions, status.history.bytes), (2, 352));
    w.assert_all();
}

/// I29: whoever sets a clock forward by years has as much history as before.
#[test]
fn i29_a_clock_that_jumps_by_years_empties_no_history() {
    let mut w = world(703, HOUR);
    w.on("ana").write("plan.txt", "v1");
    w.settle();
    w.on("ben").write("plan.txt", "v2");
    w.settle();
    for jump in [100_000_000, -200_000_000, 150_000_000] {
        w.on("cleo").jump_clock(jump);
        w.pass(MINUTE * 8);
        assert_eq!(w.on("cleo").history(), ["v1"], "after {jump} s");
    }
    w.on("cleo").crash().jump_clock(400_000_000).restart();
    w.pass(MINUTE * 8);
    assert_eq!(w.on("cleo").history(), ["v1"]);
    w.pass(MINUTE * 30).settle().assert_all();
    assert_eq!(w.on("cleo").history(), [""; 0], "and its time is over all the same");
}

#[test]
fn a_shorter_time_counts_from_the_moment_it_is_asked_for() {
    let mut w = world(704, Retention::default());
    w.on("ana").write("plan.txt", "v1");
    w.settle();
    w.on("ben").write("plan.txt", "v2");
    // It is counted from the first look after it was filed, at most an hour later.
    w.settle().pass(MINUTE * 125);
    w.on("ana").assert_kept("v1").command(Command::Retain(HOUR));
    w.pass(MINUTE * 3);
    assert_eq!((w.on("ana").history(), w.on("cleo").history()), (vec![], vec!["v1".to_owned()]));
    w.assert_all();
}

// ── what for ──

/// I5: ben's version loses, and stands nowhere but in ben's history, as long as nobody can make a copy of it.
#[test]
fn i5_the_loser_of_a_conflict_is_kept_until_its_copy_stands() {
    let little = Retention { keep: Duration::from_secs(300), bytes_max: 0 };
    let mut w = World::seeded(705).peers(["ana", "ben"]).keeps(little).share("notes");
    w.settle();
    w.on("ana").write("plan.txt", "v1");
    w.settle().cut("ana", "ben");
    for name in ["ana", "ben"] {
        w.on(name).write_at(".shoalignore", "*conflict*\n", 1_700_000_000);
    }
    w.on("ana").write_at("plan.txt", "from ana", 1_900_000_000);
    w.on("ben").write_at("plan.txt", "from ben", 1_800_000_000);
    w.look().connect("ana", "ben").look();
    w.on("ben").assert_reads("plan.txt", "from ana").assert_kept("from ben");
    w.pass(MINUTE * 12);
    assert_eq!(w.on("ben").history(), ["from ben"], "the others have had their time");
    assert_eq!(w.on("ben").heads("plan.txt"), 2);
    for name in ["ana", "ben"] {
        w.on(name).remove(".shoalignore");
    }
    w.settle().assert_copies("plan.txt", &["from ben"]).pass(MINUTE * 6).settle().assert_all();
    assert_eq!(w.on("ben").history(), [""; 0], "and goes once it does");
}

// ── who, and why ──

#[test]
fn what_was_displaced_is_told_with_whom_and_why() {
    let mut w = world(706, Retention::default());
    w.on("ana").write("plan.txt", "v1").write("d/gone", "g1").write("d/e/left", "l1");
    w.settle();
    w.on("ben").write("plan.txt", "v2");
    w.settle();
    w.on("ana").remove("d/gone");
    w.settle().part(&[&["ana", "ben"], &["cleo"]]);
    w.on("ben").write_at("plan.txt", "from ben", 1_900_000_000);
    w.on("cleo").write_at("plan.txt", "from cleo", 1_800_000_000);
    w.look().heal().settle().assert_all();
    let by = |name: &str| Some(name.to_owned());
    assert_eq!(w.on("ana").past_of("plan.txt"), [(Why::Replaced, by("ben")), (Why::Replaced, by("ben"))]);
    assert_eq!(w.on("ben").past_of("d"), [(Why::Deleted, by("ana"))]);
    let cleo = w.on("cleo").past_of("plan.txt");
    assert_eq!((cleo[0].0, &cleo[1]), (Why::Conflict, &(Why::Replaced, by("ben"))));
    // A lost index learns it again from the disk.
    w.on("cleo").lose_index();
    w.settle();
    assert_eq!(w.on("cleo").past_of("plan.txt"), cleo);
    w.assert_all();
}

// ── back again ──

#[test]
fn a_deleted_file_comes_back_to_all_as_it_was() {
    let mut w = world(707, Retention::default());
    w.on("ana").write("d/e/plan.txt", "v1").set_mode("d/e/plan.txt", 0o751).touch("d/e/plan.txt", 1_234_567);
    w.settle();
    w.on("ben").remove_all("d");
    w.settle().assert_all_show([]);
    w.on("cleo").wants_back("v1", None);
    w.settle().assert_all_read("d/e/plan.txt", "v1").assert_all();
    assert_eq!(w.on("cleo").restored(), [Restored::Done(path("d/e/plan.txt"))]);
    for name in ["ana", "ben", "cleo"] {
        let (_, mode, mtime) = w.on(name).looks("d/e/plan.txt").unwrap();
        assert_eq!((mode, mtime.secs), (0o751, 1_234_567), "at {name}");
    }
    w.on("cleo").assert_kept("v1");
}

#[test]
fn i3_what_a_version_takes_the_place_of_is_kept_everywhere() {
    let mut w = world(708, Retention::default());
    w.on("ana").write("plan.txt", "v1");
    w.settle();
    w.on("ben").write("plan.txt", "v2");
    w.settle();
    w.on("ana").wants_back("v1", None);
    w.settle().assert_all_read("plan.txt", "v1").assert_all();
    assert_eq!(w.on("ana").history(), ["v1", "v2"]);
    assert_eq!(w.on("cleo").past_of("plan.txt")[0], (Why::Replaced, Some("ana".to_owned())));
    assert_eq!(w.on("ana").past_of("plan.txt")[0], (Why::Replaced, Some("ana".to_owned())));
    // And again the other way, beside it.
    w.on("ana").wants_back("v2", Some("beside/plan.txt"));
    w.settle().assert_all_read("beside/plan.txt", "v2").assert_all_read("plan.txt", "v1").assert_all();
}

/// I3: what the user has saved just now, and nobody knows of, is a version of its own before it is replaced.
#[test]
fn i3_what_was_saved_a_moment_before_is_published_first() {
    let mut w = world(709, Retention::default());
    w.on("ana").write("plan.txt", "v1");
    w.settle();
    w.on("ben").write("plan.txt", "v2");
    w.settle();
    let before = w.on("ana").published();
    let ana = w.on("ana").unwatched(&crate::users::Step::Save("plan.txt".to_owned(), b"just now".to_vec()));
    ana.wants_back("v1", None);
    w.settle().assert_all_read("plan.txt", "v1").assert_all();
    assert_eq!(w.on("ana").published(), before + 2);
    w.on("ana").assert_kept("just now");
}

/// I3, I4: an edit that others made unseen is not replaced by what comes back.
#[test]
fn i3_an_edit_elsewhere_beside_what_comes_back_is_kept() {
    let mut w = world(710, Retention::default());
    w.on("ana").write("plan.txt", "v1");
    w.settle();
    w.on("ben").write("plan.txt", "v2");
    w.settle().part(&[&["ana"], &["ben", "cleo"]]);
    w.on("ana").wants_back("v1", None);
    w.on("ben").write("plan.txt", "v3");
    w.look().heal().settle().assert_all();
    let cleo = w.on("cleo");
    let mut texts = cleo.copies("plan.txt");
    texts.extend(cleo.reads("plan.txt").map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    texts.sort();
    assert_eq!(texts, ["v1", "v3"]);
}

#[test]
fn what_does_not_come_back_says_why() {
    let mut w = World::seeded(711).peers(["ana", "ben"]).last_reads().share("notes");
    w.settle();
    w.on("ana").write("plan.txt", "v1").write("d/x", "x");
    w.settle();
    w.on("ana").write("plan.txt", "v2");
    w.settle();
    let refused = Restored::Refused;
    let restored = |w: &mut World| w.on("ana").restored().pop().unwrap();
    w.on("ana").wants_back_number(9999, None);
    w.look();
    assert_eq!(restored(&mut w), refused(Refusal::Missing(9999)));
    w.on("ana").write(".shoalignore", "*.tmp\n");
    w.look();
    let ana = w.on("ana").remove("plan.txt");
    let number = ana.past("plan.txt").first().map(|kept| kept.number);
    assert_eq!(number, None, "what its own user deleted is not in its history");
    w.settle().assert_all();
}

#[test]
fn a_paused_share_brings_nothing_back() {
    let mut w = world(712, Retention::default());
    w.on("ana").write("plan.txt", "v1");
    w.settle();
    w.on("ben").write("plan.txt", "v2");
    w.settle();
    w.on("ana").command(Command::Pause).wants_back("v1", None);
    w.pass(MINUTE);
    assert_eq!(w.on("ana").restored(), [Restored::Refused(Refusal::NotLive)]);
    w.on("ana").assert_reads("plan.txt", "v2").command(Command::Resume).wants_back("v1", Some("plan.txt"));
    w.settle().assert_all_read("plan.txt", "v1").assert_all();
}

/// I17: a process that ends after the file stands there and before that is noted leaves what its user might have done.
#[test]
fn i17_a_crash_while_a_version_comes_back_leaves_the_old_or_the_new() {
    for calls in [0, 1, 3, 6, 9, 12, 15, 18, 24, 30] {
        let mut w = world(713, Retention::default());
        w.on("ana").write("plan.txt", "v1");
        w.settle();
        w.on("ben").write("plan.txt", "v2");
        w.settle();
        w.on("ana").crash_during(During::Restore, calls).wants_back("v1", None);
        w.pass(MINUTE);
        w.on("ana").restart();
        w.settle().assert_all();
        let read = w.on("ben").reads("plan.txt").unwrap();
        assert!([&b"v1"[..], b"v2"].contains(&&*read), "after {calls} calls");
        if read == b"v1" {
            w.on("ana").assert_kept("v2");
        }
        w.on("ana").assert_kept("v1");
    }
}

// ── late edits ──

/// E17: what a program wrote to a file after it was displaced is there to be had, and is told.
#[test]
fn e17_a_late_edit_is_told_and_comes_back_when_it_is_wanted() {
    let mut w = world(714, HOUR);
    w.on("ana").write("log.txt", "begun");
    w.settle();
    w.on("ben").write("log.txt", "replaced by ben");
    w.settle();
    w.on("ana").writes_late("begun", ", and went on");
    w.pass(MINUTE * 6);
    assert_eq!(w.on("ana").late_edits(), ["log.txt"]);
    assert_eq!(w.on("ben").late_edits(), [""; 0]);
    let past = w.on("ana").past("log.txt");
    assert!(past[0].is_late && past[0].content.is_some() && past[0].size == 18, "{past:?}");
    w.on("ana").crash().restart();
    w.settle();
    assert_eq!(w.on("ana").late_edits(), ["log.txt"], "after a restart, too");
    w.on("ana").wants_back("begun, and went on", Some("log (mine).txt"));
    w.settle().assert_all_read("log (mine).txt", "begun, and went on").assert_all();
    assert_eq!(w.on("ana").late_edits(), [""; 0]);
    w.on("ana").crash().restart();
    w.settle();
    assert_eq!(w.on("ana").late_edits(), [""; 0], "whoever has it back knows of it");
}
