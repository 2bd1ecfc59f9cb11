//! Rows B towards the peer: whatever a tracker answers, nothing outside the folder is touched, and the peer goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Case, Meeting, Source, bytes, cases, is_harmless, peak_memory, tree};
use serde_json::json;

use crate::support::{Folder, PlayedTracker, Program, ask, for_each_at_once, shoal, skip, sync};

/// A peer's folder, and what lies around it.
struct Site {
    outer: Folder,
    ours: Folder,
}

impl Site {
    fn new() -> Self {
        let outer = Folder::with(&[("b15", 1, "a bystander")]);
        let ours = Folder::within(&outer);
        fs::create_dir(ours.join("below")).unwrap();
        Self { outer, ours }
    }

    /// What lies around the folder and in its subfolders, where the classic protocol has no business.
    fn around(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut around = tree(self.outer.path());
        around.retain(|path, _| path.parent() != Some(self.ours.path()));
        around
    }
}

/// What is to become of the entries of the case file.
#[derive(Default)]
struct Fates {
    entries: Vec<String>,
    fetched: BTreeMap<String, i64>,
    /// Names as they are shown, and why.
    refused: BTreeMap<String, &'static str>,
}

impl Fates {
    fn read(source: u16, own: u16) -> Self {
        let mut fates = Self::default();
        let at = format!("\"ip\": \"127.0.0.1\", \"port\": {source}, \"dialect\": 1");
        let (source, own) = (source.to_string(), own.to_string());
        for Case { text, answer, .. } in cases(include_str!("cases/entries.txt")) {
            let entry = text.replace("AT", &at).replace("PORT", &source).replace("OWN", &own);
            fates.entries.push(long_names(&entry));
            let Some((fate, rest)) = answer.split_once(" \"") else {
                assert_eq!(answer, "passed over");
                continue;
            };
            let (name, rest) = rest.split_once("\":").or(rest.rsplit_once("\" ")).unwrap();
            let name = long_names(&serde_json::from_str::<String>(&format!("\"{name}\"")).unwrap());
            let is_new = match fate {
                "fetched" => fates.fetched.insert(name, rest.parse().unwrap()).is_none(),
                _ => fates.refused.insert(name, rest.trim()).is_none(),
            };
            assert!(is_new, "{text} is there twice");
        }
        fates
    }
}

/// Letters by their number: `X255`.
fn long_names(text: &str) -> String {
    [255, 256, 300, 4_096]
        .iter()
        .fold(text.to_owned(), |text, length| text.replace(&format!("X{length}"), &"x".repeat(*length)))
}

/// Files that show that a directory was read.
const MARKERS: [&str; 3] = ["marker 1", "marker 2", "marker 3"];

#[test]
fn b_what_a_directory_lists_is_fetched_or_told_once_and_never_leads_outside() {
    let site = Site::new();
    let source = Source::of(b"content");
    let around = site.around();
    let mut meeting = Meeting::of(&site.ours, &[]);
    let fates = Fates::read(source.port, meeting.port);
    // The same again is no news.
    for marker in MARKERS {
        meeting.say(&[fates.entries.as_slice(), &[source.entry(marker, 1)]].concat());
        meeting.peer.wait_fetched(marker);
    }
    let mut fetched = BTreeMap::new();
    for event in meeting.peer.seen_of("fetched") {
        let name = event["name"].as_str().unwrap().to_owned();
        let again = fetched.insert(name, event["mtime"].as_i64().unwrap());
        assert_eq!(again, None, "fetched twice: {event}");
    }
    let asked: BTreeSet<String> = source.asked().into_iter().collect();
    assert!(asked.iter().eq(fetched.keys()), "no other name was asked for: {asked:?}");
    fetched.retain(|name, _| !MARKERS.contains(&name.as_str()));
    assert_eq!(fetched, fates.fetched);

    let problems = meeting.peer.seen_of("problem");
    for problem in &problems {
        let (name, why) = (problem["name"].as_str().unwrap(), problem["why"].as_str().unwrap());
        assert!(why.contains(fates.refused.get(name).copied().unwrap_or("nothing")), "{problem}");
        assert!(is_harmless(name) && is_harmless(why), "{problem}");
    }
    assert_eq!(problems.len(), fates.refused.len(), "each is told once: {problems:#?}");
    assert_eq!(site.around(), around);
    assert!(!Path::new("/b15").exists() && !Path::new("/tmp/b15").exists());
    assert_eq!(site.ours.contents().len(), fates.fetched.len() + MARKERS.len());
    assert_eq!(site.ours.staged(), 0);
    assert!(site.ours.contents().values().all(|(_, bytes)| bytes == b"content"));
}

#[test]
fn b16_what_people_see_of_hostile_names_is_harmless() {
    let site = Site::new();
    let source = Source::of(b"content");
    let tracker = PlayedTracker::new();
    let mut command = shoal();
    command.args(["sync", "127.0.0.1", &tracker.port().to_string(), "--once", "--log", "debug", "--dir"]);
    let peer = Program::start("the peer", command.arg(site.ours.path()));
    let mut line = tracker.accept();
    line.read_line();
    let fates = Fates::read(source.port, 1);
    line.write(format!("{{{}}}\n", fates.entries.join(", ")).as_bytes());
    let outcome = peer.outcome();
    assert_eq!(outcome.code, Some(3), "not everything is in sync");
    assert!(is_harmless(&outcome.stderr), "{:?}", outcome.stderr);
    for line in &outcome.events {
        assert!(is_harmless(line.as_str().unwrap()), "{line:?}");
    }
    assert!(outcome.events.len() >= fates.fetched.len() + fates.refused.len(), "all is told: {outcome:#?}");
}

#[test]
fn b_an_answer_that_is_no_directory_is_told_and_the_next_good_one_is_followed() {
    for_each_at_once(&cases(include_str!("cases/directories.txt")), |Case { text, answer, .. }| {
        let source = Source::of(b"content");
        let ours = Folder::with(&[("mine", 1_000, "mine")]);
        let tracker = PlayedTracker::new();
        let mut peer = sync("the peer", tracker.port(), &ours, &[]);
        let port = peer.wait_serving();
        let mut line = tracker.accept();
        let text = text.replace("DEEP", &"{\"a\":".repeat(100_000));
        let said = text.trim_end_matches(char::is_uppercase);
        line.read_line();
        line.write(&bytes(said));
        match &text[said.len()..] {
            "CLOSE" => drop(line),
            "RESET" => line.reset(),
            _ => {}
        }
        let lost = peer.wait_event("tracker-lost");
        assert!(lost["why"].as_str().unwrap().contains(answer), "{lost}");
        assert_eq!(ask(port, "mine"), b"mine", "it serves meanwhile");
        let mut again = tracker.accept();
        assert!(again.read_line().contains("\"mine\""), "it announces itself anew");
        again.write(format!("{{{}}}\n", source.entry("good", 1)).as_bytes());
        peer.wait_fetched("good");
        assert_eq!(ours.contents().len(), 2);
    });
}

#[test]
fn b5_an_endless_directory_is_dropped_at_the_bound() {
    let ours = Folder::with(&[("mine", 1_000, "mine")]);
    let mut meeting = Meeting::of(&ours, &[]);
    let piece = vec![b'x'; 1 << 20];
    meeting.line.write(b"{\"");
    let sent = (0..1_024).take_while(|_| meeting.line.try_write(&piece).is_ok()).count();
    assert!((64..256).contains(&sent), "it took {sent} MiB");
    let lost = meeting.peer.wait_event("tracker-lost");
    assert!(lost["why"].as_str().unwrap().contains("longer than 67108864 bytes"), "{lost}");
    let peak = peak_memory(&meeting.peer);
    assert!(peak < 256 << 20, "{peak} bytes of memory");
    meeting.tracker.accept().read_line();
    assert_eq!(ask(meeting.port, "mine"), b"mine");
}

#[test]
fn b24_a_newer_mtime_of_equal_bytes_is_only_set() {
    let ours = Folder::with(&[("same", 1_000, "equal bytes")]);
    let inode = || fs::metadata(ours.join("same")).unwrap().ino();
    let before = inode();
    let source = Source::of(b"equal bytes");
    let mut meeting = Meeting::of(&ours, &[]);
    meeting.say(&[source.entry("same", 2_000)]);
    assert_eq!(meeting.peer.wait_fetched("same")["replaced"], false);
    assert_eq!(ours.contents()["same"], (2_000, b"equal bytes".to_vec()));
    assert_eq!((inode(), ours.history().len(), ours.staged()), (before, 0, 0));
}

#[test]
fn b25_a_directory_without_our_files_takes_none_away() {
    let ours = Folder::with(&[("a", 1_000, "a"), ("b", 1_000, "b")]);
    let source = Source::of(b"c");
    let mut meeting = Meeting::of(&ours, &[]);
    let before = ours.contents();
    meeting.say(&[]);
    meeting.peer.wait_in_sync(0);
    assert_eq!(ours.contents(), before);
    meeting.say(&[source.entry("c", 1)]);
    meeting.peer.wait_fetched("c");
    assert_eq!(ours.contents().len(), 3);
    assert_eq!(ask(meeting.port, "a"), b"a", "and they are served on");
}

#[test]
fn t4_a_thousand_names_of_one_victim_cost_it_a_few_connections() {
    // Somebody who hangs up at once, in each dialect that the tracker can give it: that may have been an empty file,
    // or one that is gone. A slow machine comes to a second try.
    for (dialect, most) in [(0, 300), (1, 300), (2, 300)] {
        let victim = Source::start([127, 0, 0, 2], |_| Vec::<u8>::new());
        let source = Source::of(b"content");
        let ours = Folder::new();
        let mut meeting = Meeting::of(&ours, &["--timeout", "2"]);
        let entry = json!({"ip": "127.0.0.2", "port": victim.port, "mtime": 1, "dialect": dialect});
        let mut entries: Vec<String> = (0..1_000).map(|number| format!("\"{number}\": {entry}")).collect();
        meeting.say(&entries);
        meeting.peer.wait_for("that it has had enough", |event| {
            event["event"] == "problem" && event["why"].as_str().unwrap().contains("left alone")
        });
        for marker in MARKERS {
            entries.push(source.entry(marker, 1));
            meeting.say(&entries);
            meeting.peer.wait_fetched(marker);
        }
        let dialled = victim.asked().len();
        assert!((1..=most).contains(&dialled), "dialect {dialect}: {dialled} connections");
    }
}

/// Calls that change what a name stands for, or what it names.
const CHANGING: [&str; 17] = [
    "creat(",
    "rename",
    "unlink",
    "rmdir(",
    "mkdir",
    "link(",
    "linkat(",
    "symlink",
    "mknod",
    "chmod(",
    "fchmodat",
    "chown(",
    "fchownat",
    "truncate(",
    "utime",
    "setxattr(",
    "removexattr(",
];

/// Flags of an opening that can change something.
const WRITING: [&str; 5] = ["O_CREAT", "O_WRONLY", "O_RDWR", "O_TRUNC", "O_TMPFILE"];

#[test]
fn i10_no_system_call_changes_anything_by_a_path_or_outside_the_folder() {
    let can_trace = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    if !can_trace.is_ok_and(|status| status.success()) {
        return skip("I10: the system calls of a peer", "no strace, or not permitted");
    }
    let site = Site::new();
    for name in ["CON", "b19", "b9.b"] {
        site.ours.write(name, 0, b"old");
    }
    symlink("../b15", site.ours.join("b13.a")).unwrap();
    symlink(".", site.ours.join("b20.py")).unwrap();
    let around = site.around();
    let source = Source::of(b"content");
    let tracker = PlayedTracker::new();
    let notes = Folder::new();
    let mut command = Command::new("strace");
    command
        .args(["-f", "-y", "-e", "trace=%file", "-o"])
        .arg(notes.join("calls"))
        .arg(env!("CARGO_BIN_EXE_shoal"));
    command
        .args(["sync", "127.0.0.1", &tracker.port().to_string(), "--once", "--json", "--dir"])
        .arg(site.ours.path());
    let mut meeting = Meeting::between(tracker, Program::start("the traced peer", &mut command));
    let fates = Fates::read(source.port, meeting.port);
    meeting.say(&fates.entries);
    let outcome = meeting.peer.outcome();
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    assert_eq!(site.around(), around);

    let calls = fs::read_to_string(notes.join("calls")).unwrap();
    let inside = format!("<{}", site.ours.path().to_str().unwrap());
    let calls = calls.lines().filter_map(|line| line.split_once(' '));
    let changing = calls.map(|(_, call)| call.trim_start().trim_end_matches("<unfinished ...>"));
    let changing: Vec<&str> = changing
        .filter(|call| {
            let is_opening = call.starts_with("open") && WRITING.iter().any(|flag| call.contains(flag));
            is_opening || CHANGING.iter().any(|name| call.starts_with(name))
        })
        .collect();
    for call in &changing {
        // Handles are shown with their paths, names in quotes.
        let names: Vec<&str> = call.split('"').skip(1).step_by(2).collect();
        assert!(!call.contains("AT_FDCWD"), "by a path: {call}");
        assert!(names.iter().all(|name| !name.contains('/') && *name != ".."), "a path: {call}");
        assert!(
            call.contains(&inside) && call.matches('<').count() == call.matches(&inside).count(),
            "{call}"
        );
    }
    let renames = changing.iter().filter(|call| call.starts_with("rename")).count();
    assert!(renames >= fates.fetched.len() - 2, "the trace is not empty: {renames} renames");
}
