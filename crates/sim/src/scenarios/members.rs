//! Stories of members who lie, are silent, or may only read.

use core::time::Duration;

use shoal_engine::history::{Retention, Why};
use shoal_engine::io::{Command, given_up};
use shoal_engine::status::{Cause, Halt, Phase};

use crate::hostile::Tamper;
use crate::world::World;

const MINUTE: Duration = Duration::from_secs(60);

/// Ana and ben, and a third one who is not what they seem.
fn with(seed: u64, tamper: Tamper) -> World {
    let mut w = World::seeded(seed).peers(["ana", "ben", "mal"]).hostile([tamper]).share("notes");
    w.pass(MINUTE);
    w
}

/// Ana's files come to mal, who is then the only source besides her; ben, who was away, still gets all of them, true.
fn ben_gets_true_files(seed: u64, tamper: Tamper) -> World {
    let mut w = with(seed, tamper);
    w.on("ben").crash();
    w.on("ana").write("plan.txt", "v1").write_bytes("big.bin", seed, 600_000);
    w.pass(MINUTE);
    for number in 0..30 {
        w.on("ana").write_bytes(&format!("d/{number}"), number + seed * 100, 3_000);
    }
    w.look().look();
    w.on("ben").restart();
    w.settle().assert_all();
    let (ana, ben) = (w.on("ana").paths(), w.on("ben").paths());
    assert_eq!((ana, ben.len()), (ben, 33));
    w.on("ben").assert_reads("plan.txt", "v1");
    assert_eq!(w.on("ben").reads("big.bin").unwrap().len(), 600_000);
    w
}

#[test]
fn i25_false_bytes_are_found_and_fetched_elsewhere() {
    ben_gets_true_files(301, Tamper::FalseBytes);
}

#[test]
fn i25_false_lists_are_found_and_fetched_elsewhere() {
    ben_gets_true_files(302, Tamper::FalseLists);
}

#[test]
fn i25_who_claims_to_have_all_and_gives_nothing_holds_nobody_up() {
    ben_gets_true_files(303, Tamper::ClaimsAll);
}

#[test]
fn i25_who_never_answers_holds_nobody_up() {
    ben_gets_true_files(304, Tamper::Silent);
}

#[test]
fn i9_false_bytes_alone_put_nothing_on_a_disk() {
    let mut w = with(305, Tamper::FalseBytes);
    w.cut("ana", "ben");
    w.on("ana").write("plan.txt", "v1").write_bytes("big.bin", 5, 300_000);
    w.pass(MINUTE * 10);
    // Ben knows of both by way of mal, from whom nothing true ever comes.
    w.on("ben").assert_nothing_at("plan.txt").assert_nothing_at("big.bin");
    let cause = w.on("ben").cause("plan.txt");
    assert!(matches!(cause, Some(Cause::NoSource | Cause::Fetching)), "{cause:?}");
    w.heal().settle().assert_all_read("plan.txt", "v1").assert_all();
}

#[test]
fn i26_what_a_reader_publishes_nobody_takes() {
    let mut w = with(306, Tamper::Publishes);
    w.on("ana").write("plan.txt", "v1").write("b", "2");
    w.settle().assert_all_show(["b", "plan.txt"]).assert_all_read("plan.txt", "v1").assert_all();
}

#[test]
fn i26_what_a_reader_changes_stays_with_it() {
    let mut w = World::seeded(307).peers(["ana", "ben", "rea"]).last_reads().share("notes");
    w.settle();
    w.on("ana").write("a", "1").write("b", "2").write("c", "3");
    w.settle();
    w.on("rea").write("a", "1, of the reader").write("own", "of the reader").remove("b");
    w.look().look();
    assert_eq!(w.on("rea").cause("a"), Some(Cause::LocalDifference));
    assert_eq!(w.on("rea").cause("own"), Some(Cause::LocalDifference));
    for name in ["ana", "ben"] {
        assert_eq!(w.on(name).paths(), ["a", "b", "c"]);
        w.on(name).assert_reads("a", "1");
    }
    w.on("ben").write("c", "3, edited");
    w.settle();
    w.on("rea").assert_reads("c", "3, edited").assert_reads("a", "1, of the reader");
    w.assert_all();
}

/// I1, I3: what the share has comes back, and what a reader's user had made of it is in its history, from which it comes back
/// for that device alone.
#[test]
fn i26_what_a_reader_gives_up_goes_to_its_history() {
    let mut w = World::seeded(311).peers(["ana", "ben", "rea"]).last_reads().share("notes");
    w.settle();
    w.on("ana").write("a", "1").write("b", "2").write("c/d", "3").write("k", "4");
    w.settle();
    w.on("rea").write("a", "1, of the reader").write("own/x", "of the reader").remove("b").remove_all("c");
    w.on("rea").rename("k", "moved").write("c", "a file");
    w.look().look();
    let is_listed = |w: &mut World, path: &str| w.on("rea").cause(path) == Some(Cause::LocalDifference);
    for path in ["a", "own", "own/x", "b", "c", "c/d", "k", "moved"] {
        assert!(is_listed(&mut w, path), "{path}");
    }
    // One thing, with what is in its way.
    w.on("rea").reverts(Some("c/d"));
    w.look().look();
    w.on("rea").assert_reads("c/d", "3").assert_reads("a", "1, of the reader").assert_nothing_at("b");
    assert!(is_listed(&mut w, "a") && is_listed(&mut w, "own/x") && w.on("rea").cause("c/d").is_none());
    assert_eq!(w.on("rea").past_of("c"), [(Why::Difference, Some("ana".to_owned()))]);
    // All that is left, more than a guard would let go unasked; and it stays in the history.
    w.on("rea").reverts(None);
    w.settle()
        .assert_all_show(["a", "b", "c", "c/d", "k"])
        .assert_all_read("a", "1")
        .assert_all_read("k", "4");
    assert_eq!(w.on("rea").status().map(|status| (status.problems.len(), status.reverts)), Some((0, 0)));
    let own: Vec<Why> = w.on("rea").past_of("own").into_iter().map(|(why, _)| why).collect();
    assert_eq!((own, w.on("rea").past_of("moved").len()), (vec![Why::Difference], 0));
    w.on("rea").wants_back("1, of the reader", None).wants_back("of the reader", None);
    w.look().look();
    w.on("rea").assert_reads("a", "1, of the reader").assert_reads("own/x", "of the reader");
    assert!(is_listed(&mut w, "a") && is_listed(&mut w, "own/x"));
    w.on("ana").assert_reads("a", "1").assert_nothing_at("own/x");
    w.assert_all();
}

/// I3: what its user does there after it was given up, before anybody who has the bytes is there.
#[test]
fn i26_what_a_reader_changes_after_it_gave_up_stays() {
    let mut w = World::seeded(312).peers(["ana", "rea"]).last_reads().share("notes");
    w.settle();
    w.on("ana").write_bytes("a", 1, 300_000).write_bytes("b", 2, 300_000);
    w.settle();
    w.on("rea").write("a", "first").write("b", "first");
    w.look().look();
    w.cut("ana", "rea");
    w.pass(MINUTE * 10);
    w.on("rea").reverts(None).assert_reads("a", "first");
    w.look();
    assert_eq!(w.on("rea").status().map(|status| status.reverts), Some(2));
    assert_eq!(w.on("rea").cause("a"), Some(Cause::NoSource));
    w.on("rea").write("a", "second");
    w.look().look();
    assert_eq!(w.on("rea").status().map(|status| status.reverts), Some(1));
    w.heal().settle();
    w.on("rea").assert_reads("a", "second");
    assert_eq!(w.on("rea").cause("a"), Some(Cause::LocalDifference));
    assert_eq!(w.on("rea").reads("b").map(|bytes| bytes.len()), Some(300_000));
    w.assert_all();
}

/// I2, I19, I31: what was given up, and others delete before its bytes have come, is weighed like all that others delete.
#[test]
fn i31_what_a_reader_gave_up_and_others_deleted_is_asked_about() {
    let mut w = World::seeded(314).peers(["ana", "rea"]).last_reads().share("notes");
    w.settle();
    w.on("ana").write_bytes("a", 1, 300_000).write_bytes("b", 2, 300_000);
    w.settle();
    w.on("rea").write("a", "own").write("b", "own, too");
    w.look().look();
    w.cut("ana", "rea");
    w.pass(MINUTE * 10);
    w.on("rea").reverts(None);
    w.look();
    assert_eq!(w.on("rea").status().map(|status| status.reverts), Some(2));
    w.on("ana").remove("a").remove("b");
    w.look();
    w.on("ana").command(Command::Resume);
    w.look();
    w.heal().look();
    assert_eq!(w.on("rea").phase(), Some(Phase::Halted(Halt::MassDeletion { had: 2, lost: 2 })));
    w.on("rea").assert_reads("a", "own").command(Command::Resume);
    w.settle().assert_all_show([]).assert_all();
    assert_eq!(w.on("rea").status().map(|status| status.reverts), Some(0));
}

/// I19: what a reader gave up was never the share's, and is not added to what others delete a moment later.
#[test]
fn i19_what_a_reader_gave_up_is_not_lost_to_others() {
    let mut w = World::seeded(315).peers(["ana", "rea"]).last_reads().share("notes");
    w.settle();
    for number in 0..20 {
        w.on("ana").write(&format!("{number}"), &format!("text {number}"));
    }
    w.settle();
    for number in 0..30 {
        w.on("rea").write(&format!("own/{number}"), &format!("of the reader {number}"));
    }
    w.look().look();
    w.on("rea").reverts(None);
    w.pass(MINUTE / 3).on("rea").assert_nothing_at("own");
    w.on("ana").remove("7");
    w.pass(MINUTE / 3);
    assert_eq!(w.on("rea").phase(), Some(Phase::Live));
    w.on("rea").assert_nothing_at("7");
    w.settle().assert_all();
}

/// I3: nobody else has what a reader's user had added: of all that is displaced it goes last when there is no room.
#[test]
fn i3_the_only_copy_of_what_a_reader_gave_up_outlives_what_was_replaced() {
    let little = Retention { bytes_max: 1_000, ..Retention::default() };
    let mut w = World::seeded(316).peers(["ana", "rea"]).last_reads().keeps(little).share("notes");
    w.settle();
    w.on("ana").write_bytes("a", 1, 200);
    w.settle();
    w.on("rea").write_bytes("own", 2, 900);
    w.look().look();
    w.on("rea").reverts(None);
    w.look().on("rea").assert_nothing_at("own");
    w.on("ana").write_bytes("a", 3, 200);
    w.pass(MINUTE * 10);
    let past = |w: &mut World, path: &str| w.on("rea").past(path).len();
    assert_eq!((past(&mut w, "own"), past(&mut w, "a")), (1, 0));
    w.settle().assert_converged();
}

/// I31: a folder that cannot go for what is ignored in it is listed, and does not go later, when nobody waits for that.
#[test]
fn i31_a_folder_that_a_reader_gave_up_stays_for_what_is_ignored_in_it() {
    let mut w = World::seeded(317).peers(["ana", "rea"]).last_reads().share("notes");
    w.settle();
    w.on("rea").write(".shoalignore", "target/\n");
    w.look().look();
    w.on("rea").write("own/x", "of the reader").write("own/target/out", "made here");
    w.look().look();
    w.on("rea").reverts(Some("own"));
    w.look().look();
    w.on("rea").assert_nothing_at("own/x").assert_reads("own/target/out", "made here");
    w.on("rea").assert_cause("own", Some(Cause::NotEmpty));
    assert_eq!(w.on("rea").status().map(|status| status.reverts), Some(0));
    w.on("rea").remove_all("own/target").rescan();
    w.look().look();
    assert_eq!(w.on("rea").paths(), [".shoalignore", "own"]);
    w.on("rea").reverts(Some("own"));
    w.look().look();
    assert_eq!(w.on("rea").paths(), [".shoalignore"]);
}

/// A writer has nothing of the kind, and a share that is paused is left alone.
#[test]
fn i26_only_a_reader_gives_up_and_only_while_its_share_is_live() {
    let mut w = World::seeded(313).peers(["ana", "rea"]).last_reads().share("notes");
    w.settle();
    w.on("ana").write("a", "1");
    w.settle();
    w.on("rea").write("a", "2");
    w.look().look();
    let (given, _) = w.devices[1].index.local_differences(None, 9).unwrap();
    w.on("ana").write("a", "3").command(Command::Revert(given_up(given)));
    w.look();
    w.on("ana").assert_reads("a", "3");
    w.settle().on("rea").assert_reads("a", "3").write("a", "4");
    w.look().on("rea").command(Command::Pause).reverts(None).command(Command::Resume);
    w.look().look().on("rea").assert_reads("a", "4").reverts(None);
    w.settle().assert_all_read("a", "3").assert_all();
}

#[test]
fn i26_a_reader_gets_what_writers_write_and_says_nothing() {
    let mut w = World::seeded(308).peers(["ana", "ben", "rea"]).last_reads().share("notes");
    w.settle();
    w.on("ben").write("d/a", "1").write("b", "2").link("b", "l");
    w.settle().assert_all_show(["b", "d", "d/a", "l"]);
    w.on("ana").remove_all("d").rename("b", "c");
    w.settle().assert_all_show(["c", "l"]).assert_all();
    assert_eq!(w.devices[2].index.life().counter, 0);
}

#[test]
fn i27_what_is_said_again_in_a_wrong_place_changes_nothing() {
    let mut w = with(309, Tamper::Replays);
    for round in 0..6 {
        w.on("ana").write("plan.txt", &format!("v{round}")).write(&format!("d/{round}"), &format!("{round}"));
        w.look();
        w.on("ben").remove(&format!("d/{round}"));
        w.look();
    }
    w.settle().assert_all_read("plan.txt", "v5").assert_all();
    let left = w.on("ana").paths();
    assert!(left.iter().all(|path| ["d", "plan.txt"].contains(&path.as_str())), "{left:?}");
}

#[test]
fn i30_a_writer_with_absurd_counters_and_names_stops_nobody() {
    let mut w = with(310, Tamper::Absurd);
    w.on("ana").write("plan.txt", "v1").write("d/b", "2");
    w.settle();
    w.on("ben").write("plan.txt", "v2").remove("d/b");
    w.settle().assert_all_read("plan.txt", "v2").assert_all();
    w.on("ana").assert_nothing_at("d/b");
}
