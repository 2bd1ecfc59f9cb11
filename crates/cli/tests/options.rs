//! What each option does, what is printed, and how the program ends.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{
    Folder, Line, Outcome, PlayedPeer, Program, SOON, contents, eventually, for_each_at_once, lasting_port,
    python_tracker, shoal, sync, tracker,
};

/// Lists files at a port where nothing listens; they stay listed while this lives.
fn list_at_a_dead_port(tracker: u16, names: &[&str]) -> Line {
    let files: Vec<Value> = names.iter().map(|name| json!({"name": name, "mtime": 2_000})).collect();
    let mut line = Line::dial(tracker);
    line.write(format!("{}\n", json!({"port": 1, "files": files})).as_bytes());
    line.read_line();
    line
}

/// A peer that serves this folder.
fn source(tracker: u16, folder: &Folder) -> Program {
    let mut source = sync("the source", tracker, folder, &[]);
    source.wait_event("in-sync");
    source
}

fn once(tracker: u16, folder: &Folder, args: &[&str]) -> Outcome {
    sync("ours", tracker, folder, &[&["--once"], args].concat()).outcome()
}

#[test]
fn live_announces_what_is_new_and_what_has_changed_and_removes_nothing_anywhere() {
    let (_tracker, port) = tracker(&[]);
    let (ours, theirs) = (Folder::with(&[("a", 1_000, "a")]), Folder::new());
    let mut live = sync("ours", port, &ours, &["--live"]);
    live.wait_event("in-sync");
    let mut other = sync("theirs", port, &theirs, &[]);
    other.wait_fetched("a");

    ours.write("b", 1_000, b"b");
    std::fs::write(ours.join("just now"), "just now").unwrap();
    other.wait_fetched("b");
    ours.write("a", 2_000, b"a, changed");
    std::fs::remove_file(ours.join("b")).unwrap();
    let has = |name: &str, text: &[u8]| theirs.contents().get(name).is_some_and(|(_, bytes)| bytes == text);
    eventually("all changes are there", SOON, || has("just now", b"just now") && has("a", b"a, changed"));
    let mut found = theirs.contents();
    found.remove("just now");
    assert_eq!(found, contents(&[("a", 2_000, "a, changed"), ("b", 1_000, "b")]));
    assert_eq!(theirs.history(), [b"a"]);
}

#[test]
fn with_live_a_fetched_file_that_is_removed_comes_back_while_others_list_it() {
    let (_tracker, port) = tracker(&[]);
    let (ours, theirs) = (Folder::new(), Folder::with(&[("a", 1_000, "a")]));
    let _theirs = source(port, &theirs);
    let mut live = sync("ours", port, &ours, &["--live"]);
    for _ in 0..2 {
        live.wait_fetched("a");
        // Ours is a holder now, and listed as one as long as theirs is no better.
        std::fs::remove_file(ours.join("a")).unwrap();
    }
}

#[test]
fn a_stuck_reader_of_stdout_does_not_keep_the_program_from_ending() {
    let (_tracker, port) = tracker(&[]);
    let theirs = Folder::new();
    for number in 0..1_500 {
        theirs.write(&format!("{number:04}"), 1_000, b"x");
    }
    let _theirs = source(port, &theirs);
    let ours = Folder::new();
    let mut command = shoal();
    command.args(["sync", "127.0.0.1", &port.to_string(), "--bind", "127.0.0.1", "--json", "--dir"]);
    let child = command.arg(ours.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.unwrap();
    eventually("all files came, though nobody reads", SOON, || ours.contents().len() == 1_500);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    eventually("it ends", SOON, || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(1), "what it had to say was not taken");
}

#[test]
fn without_live_what_changes_is_not_announced() {
    let (mut tracker, port) = python_tracker("classic", "plain", &[]);
    let ours = Folder::new();
    let mut shoal = sync("ours", port, &ours, &[]);
    shoal.wait_event("in-sync");
    ours.write("new", 1_000, b"new");
    let is_of_ours = |event: &Value| event["event"] == "message";
    assert!(tracker.wait_for("the first message", is_of_ours)["message"].get("files").is_some());
    assert!(tracker.wait_for("a keep-alive", is_of_ours)["message"].get("files").is_none());
}

#[test]
fn once_ends_with_0_in_sync_with_3_when_something_is_missing_and_with_1_without_a_tracker() {
    let (_tracker, port) = tracker(&[]);
    let (theirs, ours) = (Folder::with(&[("a", 1_000, "a")]), Folder::new());
    let _source = source(port, &theirs);
    let outcome = once(port, &ours, &[]);
    assert_eq!((outcome.code, outcome.fetched()), (Some(0), vec!["a"]), "{outcome:#?}");
    let outcome = once(port, &ours, &[]);
    assert_eq!((outcome.code, outcome.fetched()), (Some(0), vec![]), "nothing was left to do");

    let _dead = list_at_a_dead_port(port, &["b"]);
    let outcome = once(port, &ours, &[]);
    assert_eq!(outcome.code, Some(3));
    assert_eq!(outcome.problems(), [("b", "127.0.0.1:1 refused the connection")].into());
    assert_eq!(outcome.events.last(), Some(&json!({"event": "out-of-sync", "missing": 1})));

    let outcome = once(lasting_port(), &ours, &[]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("nothing listens there"), "{outcome:#?}");

    let (_tracker, port) = python_tracker("framed", "closes-mid-line", &[]);
    let outcome = once(port, &ours, &[]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("closed the connection"), "{outcome:#?}");
}

#[test]
fn json_is_an_object_with_its_kind_in_every_line() {
    let (_tracker, port) = tracker(&[]);
    let theirs = Folder::with(&[("a", 2_000, "new"), ("na\u{ef}ve \"x\"\t\u{1b}[31m", 1_000, "b")]);
    let _source = source(port, &theirs);
    let _dead = list_at_a_dead_port(port, &["dead"]);
    let ours = Folder::with(&[("a", 1_000, "old")]);
    std::os::unix::fs::symlink("a", ours.join("link")).unwrap();
    let outcome = once(port, &ours, &[]);
    let mut kinds: Vec<&str> =
        outcome.events.iter().map(|event| event["event"].as_str().expect("an event")).collect();
    // Only what takes a while has any progress to tell.
    kinds.retain(|kind| *kind != "progress");
    kinds.sort_unstable();
    kinds.dedup();
    let expected = [
        "connected",
        "dropped",
        "fetched",
        "listening",
        "out-of-sync",
        "planned",
        "problem",
        "started",
        "unlisted",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(outcome.stderr, "", "nothing is said twice");
    assert_eq!((outcome.code, ours.history()), (Some(3), vec![b"old".to_vec()]));
}

#[test]
fn people_get_a_line_for_each_file_on_stdout_and_the_rest_on_stderr() {
    let (_tracker, port) = tracker(&[]);
    let theirs = Folder::with(&[("a", 2_000, "newer"), ("b\u{1b}", 1_000, "b")]);
    let mut source = sync("the source", port, &theirs, &[]);
    let serving = source.wait_serving();
    source.wait_event("in-sync");
    let ours = Folder::with(&[("a", 1_000, "old")]);
    let run = |folder: &Folder| {
        let mut command = shoal();
        // The tracker's port, and the current folder.
        command.args(["sync", "127.0.0.1", &port.to_string(), "--once"]).current_dir(folder.path());
        Program::start("ours", &mut command).outcome()
    };
    let outcome = run(&ours);
    let mut lines: Vec<&str> = outcome.events.iter().map(|line| line.as_str().unwrap()).collect();
    lines.sort_unstable();
    let a = format!("fetched a (5 B) from 127.0.0.1:{serving}; the older version is in .shoal/history");
    assert_eq!(lines, [a, format!("fetched b\\u{{1b}} (1 B) from 127.0.0.1:{serving}")]);
    let connected = format!("Connected to the tracker at 127.0.0.1:{port}; 1 file announced.\n");
    for said in ["Whoever reaches this port can read", &connected, "In sync: 2 files listed.\n"] {
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    }
    assert_eq!((outcome.code, ours.contents()), (Some(0), theirs.contents()));

    let _dead = list_at_a_dead_port(port, &["dead"]);
    let outcome = run(&ours);
    let line = "not in sync: dead: 127.0.0.1:1 refused the connection";
    assert_eq!((outcome.code, outcome.events), (Some(3), vec![line.into()]));
    assert!(outcome.stderr.contains("Not in sync: 1 file missing"), "{}", outcome.stderr);
}

#[test]
fn a8_a_port_that_is_taken_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let outcome = once(1, &Folder::new(), &["--port", &port]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains(&format!("cannot listen at 127.0.0.1:{port}; choose another")));

    let mut command = shoal();
    let outcome = Program::start("a tracker", command.args(["tracker", "127.0.0.1", &port])).outcome();
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains(&format!("cannot listen for peers on 127.0.0.1:{port}")));
}

#[test]
fn the_port_that_is_asked_for_is_the_one_that_is_served_and_announced() {
    let (mut tracker, port) = python_tracker("classic", "plain", &[]);
    let (ours, asked) = (Folder::new(), lasting_port());
    let mut shoal = sync("ours", port, &ours, &["--port", &asked.to_string()]);
    assert_eq!(shoal.wait_serving(), asked);
    assert_eq!(tracker.wait_event("message")["message"]["port"], asked);
}

#[test]
fn a6_a_folder_is_synced_by_one_process_at_a_time() {
    let (_tracker, port) = tracker(&[]);
    let ours = Folder::new();
    let mut first = sync("the first", port, &ours, &[]);
    first.wait_event("in-sync");
    let outcome = once(port, &ours, &[]);
    assert_eq!(outcome.code, Some(2));
    let pid = first.pid().as_raw_nonzero();
    let why = format!("is being synced already by process {pid}; stop that one first");
    assert!(outcome.stderr.contains(&why), "{outcome:#?}");

    // A killed one leaves its lock to the next.
    first.kill();
    assert_eq!(once(port, &ours, &[]).code, Some(0));
}

#[test]
fn b20_the_assignments_skip_list_is_not_announced_without_all_but_fetched() {
    let names = ["a.py", "b.so", "c.dll", "d.txt"];
    for_each_at_once(&[false, true], |all| {
        let (_tracker, port) = tracker(&[]);
        let (theirs, ours) = (Folder::new(), Folder::new());
        names.iter().for_each(|name| theirs.write(name, 1_000, name.as_bytes()));
        let args: &[&str] = if *all { &["--all"] } else { &[] };
        let mut source = sync("the source", port, &theirs, args);
        assert_eq!(source.wait_event("connected")["announced"], if *all { 4 } else { 1 });
        source.wait_event("in-sync");
        once(port, &ours, &[]);
        let fetched: Vec<String> = ours.contents().into_keys().collect();
        assert_eq!(fetched, if *all { &names[..] } else { &names[3..] });
    });
}

#[test]
fn b14_the_far_future_is_fetched_only_if_it_is_trusted() {
    let (_tracker, port) = tracker(&[]);
    let in_two_days = SystemTime::now() + Duration::from_secs(48 * 60 * 60);
    let mtime = in_two_days.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (theirs, ours) = (Folder::new(), Folder::new());
    theirs.write("future", mtime, b"future");
    let _source = source(port, &theirs);
    let outcome = once(port, &ours, &[]);
    assert!(outcome.problems()["future"].contains("--trust-future"), "{outcome:#?}");
    assert_eq!((outcome.code, ours.contents().len()), (Some(3), 0));
    let outcome = once(port, &ours, &["--trust-future"]);
    assert_eq!((outcome.code, ours.contents()), (Some(0), theirs.contents()));
}

#[test]
fn jobs_are_how_many_files_are_fetched_at_once() {
    for_each_at_once(&["1", "3"], |jobs| {
        let (_tracker, port) = tracker(&[]);
        let _dead = list_at_a_dead_port(port, &["a", "b", "c"]);
        let outcome = once(port, &Folder::new(), &["--jobs", jobs]);
        let kinds: Vec<&str> = outcome.events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        let started = kinds.iter().position(|kind| *kind == "started").unwrap();
        let next = kinds[started + 1..].iter().find(|kind| ["started", "dropped"].contains(kind)).unwrap();
        assert_eq!(*next, if *jobs == "1" { "dropped" } else { "started" });
    });
}

#[test]
fn timeout_is_how_long_a_source_may_be_silent() {
    let (_tracker, port) = tracker(&[]);
    let _silent = PlayedPeer::announce(port, &[("a", 1_000)]);
    let outcome = once(port, &Folder::new(), &["--timeout", "0.5"]);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.problems()["a"].contains("did not answer within 500ms"), "{outcome:#?}");
}
