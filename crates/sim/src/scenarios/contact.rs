//! Stories of a first contact about which a person decides.

use shoal_engine::io::{Command, Differing};
use shoal_engine::status::Phase;

use crate::world::World;

/// Ana has a share; ben, who is asked first, comes in with files of his own and finds that some differ.
fn asking(seed: u64) -> World {
    let mut w = World::seeded(seed).peers(["ana", "ben"]).share("notes");
    w.right_clocks().part(&[]).on("ben").asks_first();
    w.on("ana").write("same", "text").write("p", "by ana").write("only ana's", "a").write("gone", "v1");
    w.on("ben").write("same", "text").write("p", "by ben").write("only ben's", "b").write("gone", "of ben");
    w.linger().on("ana").remove("gone");
    w.linger().heal().linger();
    w
}

/// Ben waits for his user: nothing of his was published, and nothing of the share's put onto his disk.
fn assert_waits(w: &mut World) {
    let status = w.on("ben").status().unwrap();
    assert_eq!((status.phase, status.is_asking), (Phase::FirstContact, true));
    assert_eq!(w.on("ben").published(), 0);
    assert_eq!(w.on("ben").paths(), ["gone", "only ben's", "p", "same"]);
    assert_eq!(w.on("ana").paths(), ["only ana's", "p", "same"]);
    w.on("ben").assert_reads("p", "by ben");
}

fn decides(w: &mut World, differing: Differing) -> &mut World {
    w.on("ben").command(Command::Meet(differing));
    w.settle()
}

/// I31: nothing happens before a person has decided, over a restart too; then what differs is a conflict.
#[test]
fn i31_who_is_asked_first_does_nothing_before_it_is_answered_and_keeps_both_then() {
    let mut w = asking(801);
    assert_waits(&mut w);
    w.on("ben").crash().restart();
    w.linger();
    assert_waits(&mut w);
    decides(&mut w, Differing::Both).assert_all();
    assert_eq!(w.on("ana").copies("p").len(), 1, "{:?}", w.on("ana").paths());
    w.assert_all_read("only ben's", "b").assert_all_read("only ana's", "a");
    // What the share has deleted is another thing here: it is ben's own.
    w.assert_all_read("gone", "of ben");
}

/// I3: what the share has takes the place of what is here, which goes to history; what is only here is published. So a
/// person wished it, and no folder shows what gave way.
#[test]
fn i3_who_takes_theirs_files_its_own_away_and_publishes_what_only_it_has() {
    let mut w = asking(802);
    assert_waits(&mut w);
    decides(&mut w, Differing::Theirs)
        .assert_converged()
        .assert_all_read("p", "by ana")
        .assert_copies("p", &[]);
    w.on("ben").assert_kept("by ben");
    w.assert_all_read("only ben's", "b").assert_all_read("only ana's", "a").assert_all_read("gone", "of ben");
    assert_eq!(w.on("ana").published(), 5, "four files, and one deletion");
    assert_eq!(
        w.on("ben").published(),
        3,
        "what only he had, and that it stays though ana deleted something"
    );
}

/// I3: once the first contact is over nothing gives way any more, also what is not published yet.
#[test]
fn i3_a_decision_that_comes_too_late_decides_nothing() {
    let mut w = asking(803);
    w.on("ben").command(Command::Meet(Differing::Both));
    w.until("ben is live", |w| {
        w.devices[1].status(&w.share()).is_some_and(|status| status.phase == Phase::Live)
    });
    assert_eq!(w.on("ben").published(), 0);
    decides(&mut w, Differing::Theirs).assert_all();
    assert_eq!(w.on("ana").copies("p").len(), 1, "{:?}", w.on("ana").paths());
}

/// What was decided before anybody was met is asked no more, and holds for the first contact alone.
#[test]
fn i3_a_decision_that_comes_before_the_meeting_is_not_asked_for_again() {
    let mut w = World::seeded(804).peers(["ana", "ben"]).share("notes");
    w.right_clocks().part(&[]).on("ben").asks_first();
    w.on("ana").write("p", "by ana");
    w.on("ben").write("p", "by ben");
    w.linger().on("ben").command(Command::Meet(Differing::Theirs));
    w.linger().heal().settle();
    w.assert_converged().assert_all_read("p", "by ana").assert_copies("p", &[]);
    w.on("ben").assert_kept("by ben");
    w.part(&[]).on("ana").write("q", "by ana");
    w.on("ben").write("q", "by ben");
    w.linger().heal().settle().assert_converged();
    assert_eq!(w.on("ben").copies("q").len(), 1, "{:?}", w.on("ben").paths());
}
