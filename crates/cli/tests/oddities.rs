//! Every oddity of the independent programs in `python/`, against Shoal as tracker and as peer. What each one
//! stands for is told in `python/README.md`.

use std::fs::File;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Folder, Line, PlayedPeer, PlayedTracker, SOON, ask, assert_converge, contents, for_each_at_once,
    lasting_port, python_peer, python_tracker, sync, tracker,
};

/// Python peers ask the tracker this often.
const OFTEN: [&str; 2] = ["--interval", "0.5"];

/// Dialect and behaviour of peers with which every file is exchanged in the end.
const HARMLESS_PEERS: [(&str, &str); 15] = [
    ("classic", "plain"),
    ("classic", "until-eof"),
    ("classic", "recv2048"),
    ("classic", "recv-until-short"),
    ("classic", "never-closes"),
    ("classic", "float-mtimes"),
    ("classic", "port-180"),
    ("classic", "quoted"),
    ("classic", "stops-at-refusal"),
    ("classic", "short-recv-file"),
    ("classic", "half-closes"),
    ("framed", "plain"),
    ("framed", "header-and-body-apart"),
    ("framed", "zero-for-unknown"),
    ("framed", "never-closes"),
];

#[test]
fn files_pass_both_ways_between_shoal_and_every_kind_of_peer() {
    for_each_at_once(&HARMLESS_PEERS, |(dialect, behaviour)| {
        let (_tracker, port) = tracker(&[]);
        exchange(port, dialect, behaviour);
    });
}

#[test]
fn the_same_holds_when_the_tracker_is_a_plain_one_of_the_peers_dialect() {
    for_each_at_once(&HARMLESS_PEERS, |(dialect, behaviour)| {
        let (_tracker, port) = python_tracker(dialect, "plain", &[]);
        exchange(port, dialect, behaviour);
    });
}

#[test]
fn peers_of_one_dialect_need_no_shoal_peer_under_a_shoal_tracker() {
    let tracker_side = [
        ("classic", "plain"),
        ("classic", "recv2048"),
        ("classic", "recv-until-short"),
        ("classic", "float-mtimes"),
        ("classic", "stops-at-refusal"),
        ("framed", "plain"),
    ];
    for_each_at_once(&tracker_side, |(dialect, behaviour)| {
        let (_tracker, port) = tracker(&[]);
        let odd = Folder::with(&[("odd", 1_000, "odd"), ("common", 1_000, "old")]);
        let plain = Folder::with(&[("plain", 1_001, "plain"), ("common", 2_000, "new")]);
        add_half_a_second(&odd);
        let mut expected = odd.contents();
        expected.extend(plain.contents());
        let _odd = python_peer(port, &odd, dialect, behaviour, &OFTEN);
        let _plain = python_peer(port, &plain, dialect, "plain", &OFTEN);
        assert_converge(&[&odd, &plain], &expected, SOON);
    });
}

/// A Shoal peer meets one of those; both have a small and a longer file of their own, and one in another version.
fn exchange(tracker: u16, dialect: &str, behaviour: &str) {
    // Short enough to arrive in one segment, which some need, and longer than any single recv.
    let long = "0123456789abcde\n".repeat(1_875);
    let theirs =
        Folder::with(&[("theirs", 1_000, "theirs"), ("long theirs", 1_001, &long), ("both", 2, "old")]);
    let ours = Folder::with(&[("ours", 1_002, "ours"), ("long ours", 1_003, &long), ("both", 3, "new")]);
    add_half_a_second(&theirs);
    let mut expected = theirs.contents();
    expected.extend(ours.contents());

    let (mut peer, _) = python_peer(tracker, &theirs, dialect, behaviour, &OFTEN);
    peer.wait_event("directory");
    let _shoal = sync("ours", tracker, &ours, &["--timeout", "1"]);
    assert_converge(&[&theirs, &ours], &expected, 2 * SOON);
    assert!(peer.seen_of("stuck").is_empty(), "{dialect} {behaviour} hangs: {:?}", peer.seen_of("stuck"));
}

/// What programs call a whole second seldom is one.
fn add_half_a_second(folder: &Folder) {
    for name in folder.contents().keys() {
        let file = File::options().write(true).open(folder.join(name)).unwrap();
        let mtime = file.metadata().unwrap().modified().unwrap();
        file.set_modified(mtime + Duration::from_millis(500)).unwrap();
    }
}

/// A peer from which nothing can be had, and what is said of it.
#[derive(Debug)]
struct Harmful {
    dialect: &'static str,
    behaviour: &'static str,
    args: &'static [&'static str],
    reason: &'static str,
}

const fn harmful(
    dialect: &'static str,
    behaviour: &'static str,
    args: &'static [&'static str],
    reason: &'static str,
) -> Harmful {
    Harmful { dialect, behaviour, args, reason }
}

const HEADER: &str = "no valid Content-Length header";

#[rustfmt::skip]
const HARMFUL_PEERS: [Harmful; 15] = [
    harmful("classic", "refused", &[], "refused the connection"),
    harmful("classic", "silent", &[], "did not answer within"),
    harmful("classic", "garbage", &[], "an error message instead of the file"),
    harmful("framed", "silent", &[], "did not answer within"),
    harmful("framed", "lies-longer", &[], "the source sent 3 of 1003 bytes"),
    harmful("framed", "bad-header", &[], HEADER),
    harmful("framed", "bad-header", &["--header", "Content-Length: +3"], HEADER),
    harmful("framed", "bad-header", &["--header", "Content-Length: 0x3"], HEADER),
    harmful("framed", "bad-header", &["--header", "Content-Length: 3e0"], HEADER),
    harmful("framed", "bad-header", &["--header", "Content-Length: 3, 3"], HEADER),
    harmful("framed", "bad-header", &["--header", "Content-Length: 18446744073709551616"], HEADER),
    harmful("framed", "bad-header", &["--header", "Content-Length: 9223372036854775807"], "more than is accepted"),
    harmful("framed", "bad-header", &["--header", "Content-Length:"], HEADER),
    harmful("framed", "bad-header", &["--header", ""], HEADER),
    harmful("framed", "bad-header", &["--header", "HTTP/1.1 200 OK"], HEADER),
];

#[test]
fn a_source_that_does_not_give_its_files_is_told_with_its_reason_and_holds_nothing_up() {
    for_each_at_once(&HARMFUL_PEERS, |case| {
        let (_tracker, port) = tracker(&[]);
        let bad = Folder::with(&[("bad", 1_000, "bad"), ("common", 2_000, "new")]);
        let good = Folder::with(&[("a good one", 1_001, "good"), ("z good one", 1_002, "good too")]);
        let ours = Folder::with(&[("common", 1_000, "old")]);
        let mut expected = good.contents();
        expected.extend(ours.contents());

        let (mut peer, _) = python_peer(port, &bad, case.dialect, case.behaviour, case.args);
        peer.wait_event("directory");
        // Of the other dialect, so that the two of them have no dealings.
        let other = if case.dialect == "classic" { "framed" } else { "classic" };
        let (mut peer, _) = python_peer(port, &good, other, "plain", &[]);
        peer.wait_event("directory");

        let outcome = sync("ours", port, &ours, &["--once", "--timeout", "3"]).outcome();
        let problems = outcome.problems();
        assert_eq!(problems.keys().copied().collect::<Vec<_>>(), ["bad", "common"], "{outcome:#?}");
        assert!(problems["bad"].contains(case.reason), "{problems:?}");
        assert_eq!(outcome.code, Some(3), "{outcome:#?}");
        assert_eq!(ours.contents(), expected, "no part of the bad ones is seen, and the good ones are here");
        assert_eq!((ours.staged(), ours.history().len()), (0, 0));
    });
}

#[test]
fn a_silent_source_with_many_files_holds_up_nobody_else() {
    let (_tracker, port) = tracker(&[]);
    let names: Vec<String> = (0..50).map(|number| format!("a{number}")).collect();
    let files: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 1_000)).collect();
    let _silent = PlayedPeer::announce(port, &files);
    let good = Folder::with(&[("z", 1_001, "good")]);
    let (mut peer, _) = python_peer(port, &good, "classic", "plain", &[]);
    peer.wait_event("directory");
    let ours = Folder::new();
    let mut shoal = sync("ours", port, &ours, &["--timeout", "600"]);
    shoal.wait_fetched("z");
    assert_eq!(ours.contents(), good.contents());
}

#[test]
fn nothing_from_a_classic_source_never_replaces_something() {
    let (_tracker, port) = tracker(&[]);
    let theirs = Folder::with(&[("was empty", 2_000, ""), ("new", 2_000, "")]);
    let (mut peer, _) = python_peer(port, &theirs, "classic", "plain", &["--claim", "gone=2000"]);
    peer.wait_event("directory");
    let ours = Folder::with(&[("was empty", 1_000, ""), ("gone", 1_000, "kept")]);
    let outcome = sync("ours", port, &ours, &["--once"]).outcome();
    assert!(outcome.problems()["gone"].contains("kept the one here"), "{outcome:#?}");
    assert_eq!(outcome.code, Some(3));
    let expected = contents(&[("was empty", 2_000, ""), ("gone", 1_000, "kept"), ("new", 2_000, "")]);
    assert_eq!(ours.contents(), expected, "an empty file over none, or over an empty one, is believed");
}

#[test]
fn many_empty_files_of_a_classic_source_come_all_the_same() {
    let (_tracker, port) = tracker(&[]);
    let theirs = Folder::new();
    (0..40).for_each(|number| theirs.write(&format!("empty {number}"), 1_000, b""));
    theirs.write("z", 1_000, b"not empty");
    let (mut peer, _) = python_peer(port, &theirs, "classic", "plain", &[]);
    peer.wait_event("directory");
    let ours = Folder::new();
    let outcome = sync("ours", port, &ours, &["--once"]).outcome();
    assert_eq!(outcome.code, Some(0), "{:#?}", outcome.problems());
    assert_eq!(ours.contents(), theirs.contents());
}

#[test]
fn nothing_from_a_framed_source_is_a_refusal_without_a_header_and_an_empty_file_with_one() {
    for_each_at_once(&["plain", "zero-for-unknown"], |behaviour| {
        let (_tracker, port) = tracker(&[]);
        let theirs = Folder::new();
        let (mut peer, _) = python_peer(port, &theirs, "framed", behaviour, &["--claim", "gone=2000"]);
        peer.wait_event("directory");
        let ours = Folder::with(&[("gone", 1_000, "old")]);
        let outcome = sync("ours", port, &ours, &["--once"]).outcome();
        if *behaviour == "plain" {
            assert!(outcome.problems()["gone"].contains("without an answer"), "{outcome:#?}");
            assert_eq!((outcome.code, ours.contents()), (Some(3), contents(&[("gone", 1_000, "old")])));
        } else {
            // It said so twice.
            assert_eq!((outcome.code, ours.contents()), (Some(0), contents(&[("gone", 2_000, "")])));
            assert_eq!(ours.history(), [b"old"]);
        }
    });
}

#[test]
fn c8_what_a_source_sends_beyond_its_length_is_not_read() {
    let (_tracker, port) = tracker(&[]);
    let theirs = Folder::with(&[("short", 1_000, "12345678")]);
    let (mut peer, _) = python_peer(port, &theirs, "framed", "lies-shorter", &[]);
    peer.wait_event("directory");
    let ours = Folder::new();
    let outcome = sync("ours", port, &ours, &["--once"]).outcome();
    assert_eq!((outcome.code, ours.contents()), (Some(0), contents(&[("short", 1_000, "1234")])));
}

/// Dialect and behaviour of trackers with which all files are exchanged, and a peer of theirs if it can stand them.
const HARMLESS_TRACKERS: [(&str, &str, Option<&str>); 14] = [
    ("classic", "plain", Some("plain")),
    ("classic", "recv-until-short", Some("plain")),
    ("classic", "single-recv", Some("plain")),
    ("classic", "strict-keys", Some("plain")),
    ("classic", "rounds-up", Some("plain")),
    ("classic", "drops-newline", Some("plain")),
    ("classic", "splits", Some("plain")),
    ("framed", "plain", Some("plain")),
    ("framed", "recv-until-short", Some("plain")),
    ("framed", "single-recv", Some("plain")),
    ("framed", "strict-keys", Some("plain")),
    ("framed", "rounds-up", Some("plain")),
    ("framed", "drops-newline", None),
    ("framed", "splits", Some("plain")),
];

#[test]
fn files_are_exchanged_under_every_kind_of_tracker() {
    for_each_at_once(&HARMLESS_TRACKERS, |(dialect, behaviour, peer)| {
        let (mut tracker, port) = python_tracker(dialect, behaviour, &[]);
        let folders = [
            Folder::with(&[("first", 1_000, "first"), ("common", 2_000, "new")]),
            Folder::with(&[("second", 1_001, "second"), ("common", 1_000, "old")]),
            Folder::with(&[("third", 1_002, "third")]),
        ];
        let members = if peer.is_some() { &folders[..] } else { &folders[..2] };
        let expected = members.iter().rev().flat_map(Folder::contents).collect();
        let mut running = Vec::new();
        if let Some(behaviour) = peer {
            let (mut peer, _) = python_peer(port, &folders[2], dialect, behaviour, &OFTEN);
            peer.wait_event("directory");
            running.push(peer);
        }
        running.push(sync("the first", port, &folders[0], &[]));
        running.push(sync("the second", port, &folders[1], &[]));
        assert_converge(&members.iter().collect::<Vec<_>>(), &expected, 2 * SOON);
        assert!(tracker.seen_of("stuck").is_empty(), "it hangs: {:?}", tracker.seen_of("stuck"));
    });
}

#[test]
fn mtimes_that_a_tracker_rounds_up_keep_nobody_busy() {
    let (mut tracker, port) = python_tracker("classic", "rounds-up", &[]);
    let theirs = Folder::with(&[("a", 1_000, "a")]);
    add_half_a_second(&theirs);
    let (mut peer, _) = python_peer(port, &theirs, "classic", "float-mtimes", &[]);
    peer.wait_event("directory");
    let ours = Folder::new();
    let mut shoal = sync("ours", port, &ours, &[]);
    assert_eq!(shoal.wait_fetched("a")["mtime"], 1_001);
    // The replies to our first Initial, to the second, which is told that we hold everything, and to a keep-alive.
    for _ in 0..3 {
        tracker.wait_for("a reply to us", |event| event["event"] == "replied" && event["connection"] == 2);
    }
    tracker.wait_for("a further keep-alive", |event| event["event"] == "message" && event["connection"] == 2);
    assert_eq!(shoal.seen_of("fetched").len(), 1);
    assert_eq!(ours.contents(), contents(&[("a", 1_001, "a")]));
}

#[test]
fn keep_alives_with_a_wrong_port_count_for_the_peer_that_sends_them() {
    let (_tracker, port) = tracker(&["--expiry", "4"]);
    let theirs = Folder::with(&[("theirs", 1_000, "theirs")]);
    let (mut peer, _) = python_peer(port, &theirs, "classic", "port-180", &OFTEN);
    peer.wait_event("directory");
    let mut silent = Line::dial(port);
    silent.write(br#"{"port": 9, "files": [{"mtime": 1, "name": "silent"}]}"#);
    let lists_silent = |event: &Value| event["files"].get("silent").is_some();
    peer.wait_for("the silent peer", lists_silent);
    let later = peer.wait_for("a directory without the silent peer", |event| {
        event["event"] == "directory" && !lists_silent(event)
    });
    assert_eq!(later["files"]["theirs"], 1_000, "it has lived longer than the silent one");
}

#[test]
fn a_tracker_that_talks_nonsense_is_told_and_dialled_again_while_files_are_served() {
    let cases = [
        ("closes-mid-line", "closed the connection"),
        ("resets", "reset"),
        ("http-text", "sent no directory"),
    ];
    for_each_at_once(&cases, |(behaviour, reason)| {
        let (mut tracker, port) = python_tracker("framed", behaviour, &[]);
        let ours = Folder::with(&[("a", 1_000, "a")]);
        let mut shoal = sync("ours", port, &ours, &[]);
        let serving = shoal.wait_serving();
        for _ in 0..2 {
            let lost = shoal.wait_event("tracker-lost");
            assert!(lost["why"].as_str().unwrap().contains(reason), "{lost}");
        }
        assert_eq!(ask(serving, "a"), b"a");
        tracker.wait_for("a third connection", |event| event["connection"] == 3);
    });
}

#[test]
fn a_tracker_that_never_answers_stops_neither_serving_nor_an_orderly_end() {
    let (mut tracker, port) = python_tracker("classic", "never-replies", &[]);
    let ours = Folder::with(&[("a", 1_000, "a")]);
    let mut shoal = sync("ours", port, &ours, &[]);
    let serving = shoal.wait_serving();
    tracker.wait_for("a keep-alive", |event| {
        event["event"] == "message" && event["message"].get("files").is_none()
    });
    assert_eq!(ask(serving, "a\n"), b"Content-Length: 1\na");
    let (status, _) = shoal.stop(Signal::INT);
    assert!(status.code().is_some());
}

#[test]
fn b26_a_flood_of_directories_and_a_trickle_are_both_understood() {
    let (_tracker, port) = python_tracker("classic", "flood", &["--seconds", "2"]);
    let theirs = Folder::with(&[("a", 1_000, "a")]);
    let (mut peer, _) = python_peer(port, &theirs, "classic", "plain", &OFTEN);
    peer.wait_event("directory");
    let ours = Folder::new();
    sync("ours", port, &ours, &[]).wait_fetched("a");

    let (_tracker, port) = python_tracker("framed", "one-byte", &[]);
    let ours = Folder::new();
    let outcome = sync("ours", port, &ours, &["--once"]).outcome();
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
}

/// Some programs read until a recv is shorter than this.
const CHUNK: usize = 8_192;

#[test]
fn our_messages_are_the_assignments_in_ascii_a_line_each_and_never_of_a_length_that_hangs_readers() {
    let port = lasting_port();
    let item = |name: &String| format!(r#"{{"mtime": 1000, "name": "{name}", "dialect": 2}}"#);
    let initial = |names: &[String]| {
        let items: Vec<String> = names.iter().map(item).collect();
        format!(r#"{{"port": {port}, "files": [{}]}}"#, items.join(", "))
    };
    let mut names: Vec<String> = (0..200).map(|number| format!("{number:03}{}", "x".repeat(50))).collect();
    names.push("\\u00e9".into());
    while initial(&names).len() + 1 > 2 * CHUNK - 100 {
        names.remove(0);
    }
    // A last name makes it, with its newline, exactly as long as it must not be.
    names.insert(0, "0".into());
    let missing = 2 * CHUNK - (initial(&names).len() + 1);
    names[0].push_str(&"0".repeat(missing));

    let folder = Folder::new();
    for name in &names {
        folder.write(&name.replace("\\u00e9", "é"), 1_000, b"");
    }
    let tracker = PlayedTracker::new();
    let mut shoal = sync("ours", tracker.port(), &folder, &["--port", &port.to_string()]);
    let mut connection = tracker.accept();
    assert_eq!(connection.read_some(), format!("{} \n", initial(&names)), "all of it in one write");
    connection.write(b"{}");
    assert_eq!(connection.read_some(), format!("{{\"port\": {port}}}\n"));
    shoal.wait_in_sync(0);
    drop(shoal);

    for_each_at_once(&["classic", "framed"], |dialect| {
        let (_tracker, port) = python_tracker(dialect, "recv-until-short", &[]);
        let copy = Folder::new();
        for name in folder.contents().keys() {
            copy.write(name, 1_000, b"");
        }
        let outcome = sync("ours", port, &copy, &["--once"]).outcome();
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    });
}

#[test]
fn our_directories_never_have_a_length_that_hangs_readers() {
    let (_tracker, port) = tracker(&[]);
    let mut ours = Line::dial(port);
    let mut directory = |name: &str| {
        let item = json!({"name": name, "mtime": 1_000, "dialect": 2});
        ours.write(format!("{}\n", json!({"port": 9, "files": [item]})).as_bytes());
        ours.read_line().len()
    };
    let first = directory("0");
    let entry = directory("1") - first;
    let mut length = first + entry;
    for number in 0.. {
        if length + 150 + entry > CHUNK {
            break;
        }
        length = directory(&format!("{number:03}{}", "x".repeat(148)));
    }
    // A last name makes it, with its newline, exactly as long as it must not be.
    let name = "z".repeat(CHUNK - length - (entry - 1));
    assert_eq!(directory(&name), CHUNK + 1);

    let theirs = Folder::new();
    let (mut peer, _) = python_peer(port, &theirs, "classic", "recv-until-short", &[]);
    peer.wait_for("the directory", |event| {
        event["event"] == "directory" && event["files"].get(&name).is_some()
    });
}
