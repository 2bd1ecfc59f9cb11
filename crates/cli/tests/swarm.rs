//! Swarms of several kinds of peers: what one has, all have in the end, whoever leaves.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{
    Contents, Folder, Program, SOON, ask, assert_converge, contents, for_each_at_once, lasting_port,
    python_peer, python_tracker, sync, tracker, tracker_at,
};

/// Python peers ask the tracker this often.
const OFTEN: [&str; 2] = ["--interval", "0.5"];

#[test]
fn a_shoal_peer_carries_files_between_a_classic_and_a_framed_one() {
    let (_tracker, port) = tracker(&[]);
    let ours = Folder::with(&[("ours.txt", 1_000, "ours"), ("common.txt", 2_000, "second")]);
    let classic = Folder::with(&[("classic.txt", 1_001, "classic"), ("common.txt", 3_000, "third, newest")]);
    let framed = Folder::with(&[("framed.txt", 1_002, "framed"), ("common.txt", 1_000, "first")]);
    let expected = contents(&[
        ("ours.txt", 1_000, "ours"),
        ("classic.txt", 1_001, "classic"),
        ("framed.txt", 1_002, "framed"),
        ("common.txt", 3_000, "third, newest"),
    ]);

    let began = Instant::now();
    let _ours = sync("ours", port, &ours, &[]);
    let _classic = python_peer(port, &classic, "classic", "plain", &[]);
    let _framed = python_peer(port, &framed, "framed", "plain", &[]);
    assert_converge(&[&ours, &classic, &framed], &expected, Duration::from_secs(15));
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!(ours.history(), [b"second"], "what was replaced is kept");
}

/// One Shoal peer that watches its folder, one classic and one framed peer, each with a file of its own, that have
/// found together.
struct Trio {
    ours: Folder,
    classic: Folder,
    framed: Folder,
    shoal: Program,
    python: [Program; 2],
    expected: Contents,
}

impl Trio {
    fn at(port: u16) -> Self {
        let ours = Folder::with(&[("ours.txt", 1_000, "ours")]);
        let classic = Folder::with(&[("classic.txt", 1_001, "classic")]);
        let framed = Folder::with(&[("framed.txt", 1_002, "framed")]);
        let expected = contents(&[
            ("ours.txt", 1_000, "ours"),
            ("classic.txt", 1_001, "classic"),
            ("framed.txt", 1_002, "framed"),
        ]);
        let (mut one, _) = python_peer(port, &classic, "classic", "plain", &OFTEN);
        let (mut other, _) = python_peer(port, &framed, "framed", "plain", &OFTEN);
        one.wait_event("directory");
        other.wait_event("directory");
        let shoal = sync("ours", port, &ours, &["--live"]);
        assert_converge(&[&ours, &classic, &framed], &expected, SOON);
        Self { ours, classic, framed, shoal, python: [one, other], expected }
    }

    /// A further file that all are to have from now on, which somebody has got already.
    fn expect(&mut self, name: &str, mtime: i64, text: &str) {
        self.expected.extend(contents(&[(name, mtime, text)]));
    }
}

#[test]
fn peers_go_on_serving_when_the_tracker_is_killed_and_come_back_to_the_next_one() {
    let port = lasting_port();
    let (tracker, _) = tracker_at(port, &[]);
    let mut trio = Trio::at(port);
    let second = Folder::new();
    let mut also_shoal = sync("the second", port, &second, &[]);
    let serving = also_shoal.wait_serving();
    also_shoal.wait_in_sync(3);

    tracker.kill();
    trio.shoal.wait_event("tracker-lost");
    also_shoal.wait_event("tracker-lost");
    assert_eq!(ask(serving, "classic.txt"), b"classic", "files are served without a tracker");
    assert_eq!(ask(serving, "framed.txt\n"), b"Content-Length: 6\nframed");
    trio.ours.write("meanwhile.txt", 1_003, b"meanwhile");
    trio.expect("meanwhile.txt", 1_003, "meanwhile");

    let (_tracker, _) = tracker_at(port, &[]);
    trio.shoal.wait_event("connected");
    also_shoal.wait_event("connected");
    let late = Folder::new();
    let (_late, _) = python_peer(port, &late, "classic", "plain", &OFTEN);
    assert_converge(&[&second, &late], &trio.expected, SOON);
}

#[test]
fn both_dialects_go_on_when_the_shoal_peer_is_killed_and_meet_again_when_it_is_back() {
    let (_tracker, port) = tracker(&[]);
    let mut trio = Trio::at(port);
    trio.shoal.signal(Signal::KILL);
    let late_classic = Folder::with(&[("late-classic.txt", 1_003, "late classic")]);
    let late_framed = Folder::with(&[("late-framed.txt", 1_004, "late framed")]);
    let (_one, _) = python_peer(port, &late_classic, "classic", "plain", &OFTEN);
    let (_other, _) = python_peer(port, &late_framed, "framed", "plain", &OFTEN);
    trio.python[0].wait_fetched("late-classic.txt");
    trio.python[1].wait_fetched("late-framed.txt");

    let _again = sync("ours again", port, &trio.ours, &[]);
    trio.expect("late-classic.txt", 1_003, "late classic");
    trio.expect("late-framed.txt", 1_004, "late framed");
    let all = [&trio.ours, &trio.classic, &trio.framed, &late_classic, &late_framed];
    assert_converge(&all, &trio.expected, SOON);
}

#[test]
fn the_others_go_on_when_a_peer_of_either_dialect_is_killed() {
    for_each_at_once(&["classic", "framed"], |dialect| {
        let (_tracker, port) = tracker(&[]);
        let mut trio = Trio::at(port);
        let (killed, survivor) = if *dialect == "classic" { (0, &trio.framed) } else { (1, &trio.classic) };
        trio.python[killed].signal(Signal::KILL);
        trio.ours.write("afterwards.txt", 1_003, b"afterwards");
        trio.expected.extend(contents(&[("afterwards.txt", 1_003, "afterwards")]));
        let late = Folder::new();
        let (_late, _) = python_peer(port, &late, dialect, "plain", &OFTEN);
        // The file of the killed one is among them.
        assert_converge(&[&trio.ours, survivor, &late], &trio.expected, SOON);
    });
}

#[test]
fn three_shoal_peers_agree_on_the_newest_of_everything_and_keep_their_own_older_versions() {
    let (_tracker, port) = tracker(&[]);
    let folders = [
        Folder::with(&[
            ("a", 3_000, "a, new"),
            ("b", 1_000, "b, old"),
            ("c", 2_000, "c"),
            ("same", 7, "same"),
        ]),
        Folder::with(&[
            ("a", 1_000, "a, old"),
            ("b", 2_000, "b"),
            ("c", 3_000, "c, new"),
            ("same", 7, "same"),
        ]),
        Folder::with(&[("a", 2_000, "a"), ("b", 3_000, "b, new"), ("c", 1_000, "c, old"), ("d", 0, "d")]),
    ];
    let expected = contents(&[
        ("a", 3_000, "a, new"),
        ("b", 3_000, "b, new"),
        ("c", 3_000, "c, new"),
        ("d", 0, "d"),
        ("same", 7, "same"),
    ]);
    let _peers: Vec<Program> = folders.iter().map(|folder| sync("one of three", port, folder, &[])).collect();
    assert_converge(&folders.each_ref(), &expected, SOON);
    let replaced: [&[&str]; 3] = [&["b, old", "c"], &["a, old", "b"], &["a", "c, old"]];
    for (folder, replaced) in folders.iter().zip(replaced) {
        // A version of the middle may have come and gone as well, if its holder was the first to be heard of.
        let history = folder.history();
        let missing = replaced.iter().find(|text| !history.iter().any(|kept| kept == text.as_bytes()));
        assert_eq!(missing, None, "own older versions are kept: {history:?}");
    }
}

#[test]
fn what_was_carried_outlives_its_first_holder_and_reaches_late_joiners_of_all_kinds() {
    let (_tracker, port) = tracker(&[]);
    let first = Folder::with(&[("gift.txt", 1_000, "gift"), ("also.txt", 2_000, "also")]);
    let (mut holder, _) = python_peer(port, &first, "classic", "plain", &OFTEN);
    holder.wait_event("directory");
    let ours = Folder::new();
    let mut shoal = sync("ours", port, &ours, &[]);
    shoal.wait_event("in-sync");
    holder.stop(Signal::TERM);

    // A refused connection would end the syncing of the second one.
    let kinds = [("shoal", ""), ("classic", "stops-at-refusal"), ("framed", "plain")];
    for_each_at_once(&kinds, |(kind, behaviour)| {
        let late = Folder::new();
        let _peer = match *kind {
            "shoal" => sync("late", port, &late, &[]),
            dialect => python_peer(port, &late, dialect, behaviour, &OFTEN).0,
        };
        assert_converge(&[&late], &first.contents(), SOON);
    });
}

#[test]
fn strict_announces_once_and_otherwise_what_was_fetched_is_announced_too() {
    for_each_at_once(&[true, false], |strict| {
        let (mut tracker, port) = python_tracker("classic", "plain", &[]);
        let theirs = Folder::with(&[("theirs.txt", 1_000, "theirs")]);
        let (mut peer, _) = python_peer(port, &theirs, "classic", "plain", &OFTEN);
        peer.wait_event("directory");
        let ours = Folder::with(&[("ours.txt", 1_000, "ours")]);
        let mut shoal = sync("ours", port, &ours, if *strict { &["--strict"] } else { &[] });
        shoal.wait_event("in-sync");
        assert!(shoal.has_seen(|event| event["event"] == "fetched"));
        // Nothing but keep-alives comes after the files were fetched, or one further message with both.
        tracker.wait_for("a keep-alive of ours", |event| {
            event["connection"] == 2 && event["event"] == "message" && event["message"].get("files").is_none()
        });
        let messages = tracker.seen_of("message");
        let ours = messages.iter().filter(|event| event["connection"] == 2);
        let listed: Vec<usize> =
            ours.filter_map(|event| event["message"]["files"].as_array()).map(Vec::len).collect();
        assert_eq!(listed, if *strict { vec![1] } else { vec![1, 2] });
    });
}
