//! Stories of bytes: who fetches what from whom, how little is sent, and that nothing is said twice.

use core::time::Duration;

use shoal_engine::limits::GOALS_MAX;
use shoal_engine::status::Cause;

use crate::hostile::Tamper;
use crate::users::Step;
use crate::world::World;

/// A world of these devices with right clocks, in which all have met.
fn met<const N: usize>(seed: u64, names: [&str; N]) -> World {
    let mut w = World::seeded(seed).peers(names).share("notes");
    w.right_clocks().settle();
    w
}

/// How many messages with content one device has sent to another one; the devices have their usual names.
fn contents_sent(w: &World, from: &str, to: &str) -> usize {
    let begins = format!("{from} → {to} (");
    let is_content = |line: &&String| line.contains(&begins) && line.contains(": Content {");
    w.trace.lines().iter().filter(is_content).count()
}

/// F15: who has half of a file gives it to others: two who fetch at once have most of it from its author once.
#[test]
fn i1_f15_two_who_fetch_at_once_have_parts_from_each_other() {
    let mut w = met(2, ["ana", "ben", "cleo"]);
    w.on("ana").write_bytes("large", 1, 2 << 20);
    w.settle().assert_all();
    let between = contents_sent(&w, "ben", "cleo") + contents_sent(&w, "cleo", "ben");
    assert!(between > 0, "all came from ana");
}

/// F15: once the author is away, who has the file is known, and asked.
#[test]
fn i1_f15_a_holder_that_is_no_author_is_found() {
    let mut w = met(2, ["ana", "ben", "cleo"]);
    w.part(&[&["ana", "ben"]]).on("ana").write_bytes("p", 1, 200_000);
    w.linger().on("ana").crash();
    w.part(&[&["ben", "cleo"]]).linger();
    assert_eq!(w.on("cleo").reads("p").map(|bytes| bytes.len()), Some(200_000));
    assert_eq!(contents_sent(&w, "ana", "cleo"), 0);
    w.heal().settle().assert_all();
}

/// F15: who knows of a file and has no byte of it is not asked for it again and again, and the file comes when a holder does.
#[test]
fn i31_f15_who_has_no_bytes_is_not_asked_again_and_again() {
    let mut w = met(3, ["ana", "ben", "cleo"]);
    w.part(&[&["ana", "ben"]]).on("ben").fill(0);
    w.on("ana").write_bytes("p", 1, 50_000);
    w.linger().on("ana").crash();
    w.part(&[&["ben", "cleo"]]).linger();
    assert_eq!((w.on("ben").heads("p"), w.on("cleo").heads("p")), (1, 1));
    let is_ask = |line: &&String| line.contains("cleo → ben (") && line.contains(": WantContents");
    let asked = w.trace.lines().iter().filter(is_ask).count();
    assert!(asked <= 1, "asked {asked} times, though ben says that it lacks it");
    w.on("cleo").assert_lacks("p").assert_cause("p", Some(Cause::NoSource));
    w.heal().settle().assert_all();
}

/// F17: a small change of a large file costs what changed, and not the file.
#[test]
fn i13_f17_a_small_change_of_a_large_file_is_sent_alone() {
    let mut w = met(4, ["ana", "ben"]);
    w.on("ana").write_bytes("large", 1, 1 << 20);
    w.settle();
    let bytes = w.tally.bytes;
    w.on("ana").edit_bytes("large", 1, 1 << 20, 600_003);
    w.settle().assert_all();
    let sent = w.tally.bytes - bytes;
    assert!(sent < 60_000, "{sent} bytes for a change of 8");
}

/// F19: the same bytes saved anew, with their time and mode, are no news.
#[test]
fn i13_f19_what_is_saved_anew_and_is_the_same_is_no_news() {
    let mut w = met(5, ["ana", "ben"]);
    w.on("ana").write("p", "text").write_bytes("large", 1, 700_000);
    w.settle();
    let messages = w.tally.messages;
    for name in ["ana", "ben"] {
        for path in ["p", "large"] {
            w.on(name).copy(path, "beside").rename("beside", path);
        }
    }
    w.linger();
    assert_eq!(w.tally.messages, messages);
    assert_eq!((w.on("ana").published(), w.on("ben").published()), (2, 0));
    w.settle().assert_all();
}

/// F19: false bytes are fetched from somebody else, and never shown.
#[test]
fn i25_f19_false_bytes_are_fetched_elsewhere() {
    lives_with(Tamper::FalseBytes, 30_000);
}

/// F19: a false list of segments costs time alone.
#[test]
fn i25_f19_false_lists_are_fetched_elsewhere() {
    lives_with(Tamper::FalseLists, 600_000);
}

/// F15: who claims to have all and has it not delays nobody for ever.
#[test]
fn i25_f15_a_false_claim_to_have_all_delays_alone() {
    lives_with(Tamper::ClaimsAll, 30_000);
}

/// F15: who answers no request is passed over.
#[test]
fn i25_f15_who_answers_nothing_is_passed_over() {
    lives_with(Tamper::Silent, 30_000);
}

/// A member that is hostile in this way is the first to know of a file, and for a time the only one to ask.
fn lives_with(tamper: Tamper, size: usize) {
    let mut w = World::seeded(6).peers(["ana", "ben", "cleo"]).hostile([tamper]).share("notes");
    w.right_clocks().linger();
    w.on("ana").write("p", "text").write_bytes("large", 1, size);
    w.part(&[&["ana", "cleo"]]).linger().part(&[&["ben", "cleo"]]).linger();
    w.heal().settle().assert_all_read("p", "text").assert_all();
    assert_eq!(w.on("ben").reads("large").map(|bytes| bytes.len()), Some(size));
}

/// F21 b: news go to each member about once, not from everybody to everybody.
#[test]
fn i30_f21b_an_edit_goes_to_each_member_about_once() {
    let mut w = met(7, ["ana", "ben", "cleo", "dan", "eva", "finn"]);
    w.on("ana").write("p", "v1");
    w.settle();
    let sent = w.trace.lines().len();
    w.on("ana").write("p", "v2");
    w.settle().assert_all_read("p", "v2");
    let lines = w.trace.lines();
    let pushed = lines[sent..].iter().filter(|line| line.contains(": Records {")).count();
    assert!((5..=12).contains(&pushed), "{pushed} pushes to 5 members");
}

/// F21 c: what one device ignores is agreed on all the same: it is listed there and owed to nobody, and nobody speaks of it
/// again.
#[test]
fn i31_f21c_what_is_ignored_is_agreed_on() {
    let mut w = met(8, ["ana", "ben"]);
    w.on("ben").write(".shoalignore", "*.tmp\n");
    w.linger().on("ana").write("a.tmp", "text").write("p", "text");
    w.linger().on("ben").assert_lacks("a.tmp").assert_reads("p", "text");
    assert_eq!((w.on("ana").heads("a.tmp"), w.on("ben").heads("a.tmp")), (1, 1));
    assert!(w.on("ben").assert_cause("a.tmp", Some(Cause::Ignored)).is_in_sync());
    let messages = w.tally.messages;
    w.pass(Duration::from_secs(600));
    assert_eq!(w.tally.messages, messages);
}

/// I2, I21: what a device ignores is not fetched, neither now nor after a restart, until its user wants it.
#[test]
fn i21_what_is_ignored_is_not_fetched() {
    let mut w = met(15, ["ana", "ben"]);
    w.on("ben").write(
        ".shoalignore",
        "modules/
*.tmp
",
    );
    w.linger();
    for number in 0..40 {
        w.on("ana").write(&format!("modules/m{number}/index"), &format!("text {number}"));
    }
    w.on("ana")
        .write("p", "text")
        .rename("p", "modules/p")
        .write("p.tmp", "text")
        .write("modules.md", "text");
    w.linger().on("ben").crash().restart();
    w.linger().on("ben").assert_reads("modules.md", "text").assert_nothing_at("modules");
    assert!(contents_sent(&w, "ana", "ben") <= 2, "ignored bytes are fetched");
    assert!(
        !w.trace
            .lines()
            .iter()
            .any(|line| line.contains("the disk of ben: Commit") && line.contains("Barred"))
    );
    w.on("ben").remove(".shoalignore");
    w.settle().assert_all().assert_all_read("modules/m39/index", "text 39");
}

/// F21 e: two that hold the same find that out in a few messages, each time they meet.
#[test]
fn i13_f21e_equal_members_meet_for_a_few_bytes() {
    let mut w = met(9, ["ana", "ben"]);
    for number in 0..40 {
        w.on("ana").write(&format!("d/{number}"), &format!("text {number}"));
    }
    w.settle();
    let bytes = w.tally.bytes;
    for _ in 0..5 {
        w.cut("ana", "ben").heal().settle();
    }
    assert!(w.tally.bytes - bytes < 10_000, "{} bytes for five meetings", w.tally.bytes - bytes);
}

/// E, F15: a connection of which one end does not know that it is dead delays, and loses nothing.
#[test]
fn i2_f15_a_half_open_connection_is_found_out() {
    let mut w = met(10, ["ana", "ben"]);
    w.half_open("ana", "ben", Duration::from_secs(7200));
    w.on("ben").write("p", "text");
    w.settle().assert_all_read("p", "text").assert_all();
}

/// E, F15: a source that stalls in the middle of a file is passed over for another one.
#[test]
fn i2_f15_a_source_that_stalls_is_passed_over() {
    let mut w = met(11, ["ana", "ben", "cleo"]);
    w.part(&[&["ana", "ben"]]).on("ana").write_bytes("p", 1, 400_000);
    w.linger().part(&[&["ana", "ben", "cleo"]]);
    let is_ask = |line: &String| line.contains("cleo → ") && line.contains(": Want");
    w.until("cleo asks for it", |world| world.trace.lines().iter().any(is_ask));
    w.hold_up("ana", "cleo", Duration::from_secs(40)).pass(Duration::from_secs(150));
    assert_eq!(w.on("cleo").reads("p").map(|bytes| bytes.len()), Some(400_000));
    w.heal().settle().assert_all();
}

/// I1, I2: files that nobody has any more keep nothing else from being brought, however many they are.
#[test]
fn i2_files_that_nobody_has_hold_up_nothing_else() {
    let mut w = met(12, ["ana", "ben", "cleo"]);
    w.on("ben").write("p", "v1").write("q", "v1");
    w.settle().part(&[&["ana", "ben"]]).on("ben").fill(0);
    let saves = |number| Step::Save(format!("d/{number}"), format!("text {number}").into_bytes());
    w.on("ana").all_unwatched(&(0..GOALS_MAX).map(saves).collect::<Vec<_>>());
    w.linger().on("ana").crash();
    w.part(&[&["ben", "cleo"]]).linger();
    let last = format!("d/{}", GOALS_MAX - 1);
    assert_eq!((w.on("cleo").heads("d/0"), w.on("cleo").heads(&last)), (1, 1));
    w.on("ben").remove("q").make_room().write("z", "v2");
    w.pass(Duration::from_secs(300)).on("cleo").assert_nothing_at("q").assert_reads("z", "v2");
    w.on("cleo").assert_cause("d/0", Some(Cause::NoSource)).assert_cause(&last, Some(Cause::NoSource));
    assert!(w.on("cleo").status().is_some_and(|status| !status.is_busy), "nobody can do anything about it");
    w.heal().settle();
    assert_eq!(w.on("cleo").paths().len(), GOALS_MAX + 3);
}

/// I3: what a user does to a file that waits for the bytes of a newer version is published at once.
#[test]
fn i3_an_edit_is_published_while_its_path_waits_for_bytes() {
    let mut w = met(13, ["ana", "ben", "cleo", "dan"]);
    for path in ["p", "q"] {
        w.on("ana").write(path, "v1");
    }
    w.settle().part(&[&["ana", "ben"]]).on("ben").fill(0);
    for path in ["p", "q"] {
        w.on("ana").write_bytes(path, 1, 50_000);
    }
    w.linger().on("ana").crash();
    w.part(&[&["ben", "cleo", "dan"]]).linger();
    w.on("cleo")
        .assert_cause("p", Some(Cause::NoSource))
        .write("p", "by cleo")
        .unwatched(&Step::Remove("q".into()));
    w.linger();
    assert_eq!((w.on("dan").heads("p"), w.on("dan").heads("q")), (2, 2));
    w.heal().settle().assert_all();
}

/// I2: many equal files cost one transfer, and about as many jobs as other files.
#[test]
fn i2_equal_files_are_placed_together() {
    let mut w = met(15, ["ana", "ben"]);
    for number in 0..600 {
        w.on("ana").write(&format!("d/{number}"), "the same");
    }
    let first = w.trace.lines().len();
    w.settle().assert_all();
    let lines = w.trace.lines();
    let jobs = |begin: &str| lines[first..].iter().filter(|line| line.contains(begin)).count();
    let (pages, batches) = (jobs("the index of ben: Diverging"), jobs("the disk of ben: Commit"));
    assert!(pages < 40 && batches < 20, "{pages} pages and {batches} batches for 600 equal files");
    // Once more, if it is planned for others while the first are being put in place.
    assert!((1..=2).contains(&contents_sent(&w, "ana", "ben")));
}

/// I30: a connection that has taken more than may be on its way at once, a little at a time, still takes more.
#[test]
fn i30_what_is_given_little_by_little_never_runs_out_of_room() {
    const SIZE: usize = 60_000;
    let mut w = met(40, ["ana", "ben"]);
    for number in 0..2 * shoal_engine::limits::SERVE_SENT_BYTES_MAX / SIZE as u64 {
        w.on("ana").write_bytes("p", 1 + number, SIZE);
        w.settle();
    }
    w.assert_all();
    assert!(!w.trace.lines().iter().any(|line| line.contains("hangs up")), "an answer did not come");
}

/// I31: a conflict that cannot be settled, since nobody has the bytes of the version that lost, is listed.
#[test]
fn i31_a_conflict_that_waits_is_listed() {
    let mut w = met(41, ["ana", "ben", "cleo"]);
    w.part(&[&["ben", "cleo"]]).on("cleo").fill(0);
    w.on("ben").write_bytes("p", 1, 50_000);
    w.linger().on("ben").crash();
    w.on("ana").write("p", "of ana");
    w.part(&[&["ana", "cleo"]]).linger();
    w.on("ana").assert_cause("p", Some(Cause::Conflict));
    w.heal().settle().assert_all();
    w.on("ana").assert_cause("p", None);
}
