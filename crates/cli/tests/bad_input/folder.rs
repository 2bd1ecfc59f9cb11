//! Rows E that the classic half touches: odd things in the folder are told, left alone, and hold up nothing.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, UNIX_EPOCH};

use super::{Meeting, Source, framed, make_pipe, peak_memory, tree};
use crate::support::{Folder, Line, PlayedTracker, Program, SOON, ask, shoal, skip};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// Names of files, and what is said of those that are not announced.
const NAMES: [(&[u8], Option<&str>); 17] = [
    (b"plain", None),
    (b"-x", None),
    (b"   ", None),
    (b"tab\tand \x1b[2J", None),
    ("\u{202e}\u{200c}".as_bytes(), None),
    (b"...", None),
    (b"a:b", None),
    (b"CON", None),
    (b"%41%00", None),
    (b"{\"port\": 1}", None),
    (b"caf\xe9", Some("not UTF-8")),
    (b"\xff", Some("not UTF-8")),
    (b"two\nlines", Some("a control character")),
    (b"return\r", Some("a control character")),
    (b"\x16\x03\x01", Some("a control character")),
    (b"a\\b", Some("the name is a path")),
    (b"C:x", Some("the name is a path")),
];

#[test]
fn e1_e2_e12_only_plain_files_with_usable_names_are_announced_and_the_others_told() {
    let outer = Folder::with(&[("outside", 1_000, "outside")]);
    let ours = Folder::within(&outer);
    let mut expected = BTreeSet::new();
    let mut unlisted = 0;
    let emoji = "\u{1f600}".repeat(63) + "xyz";
    for (name, why) in NAMES.into_iter().chain([(emoji.as_bytes(), None)]) {
        fs::write(ours.path().join(OsStr::from_bytes(name)), "content").unwrap();
        match why {
            Some(_) => unlisted += 1,
            None => assert!(expected.insert(String::from_utf8(name.to_vec()).unwrap())),
        }
    }
    fs::create_dir(ours.join("below")).unwrap();
    fs::write(ours.join("below/inside"), "inside").unwrap();
    let links =
        [("to outside", outer.join("outside")), ("to us", ours.path().into()), ("loop", "loop".into())];
    for (name, target) in &links {
        symlink(target, ours.join(name)).unwrap();
    }
    symlink("nowhere", ours.join("dangling")).unwrap();
    make_pipe(&ours.join("pipe"));
    UnixListener::bind(ours.join("socket")).unwrap();
    unlisted += 6;
    match mknodat(CWD, ours.join("device"), FileType::CharacterDevice, Mode::RUSR, makedev(1, 3)) {
        Ok(()) => unlisted += 1,
        Err(error) => skip("E1: a device in the folder", &error.to_string()),
    }

    let mut meeting = Meeting::of(&ours, &[]);
    assert!(meeting.announced.keys().eq(&expected), "{:?}", meeting.announced);
    let told = meeting.peer.seen_of("unlisted");
    assert_eq!(told.len(), unlisted, "{told:#?}");
    for (_, reason) in NAMES.iter().filter_map(|(name, why)| why.map(|why| (name, why))) {
        assert!(
            told.iter().any(|event| event["why"].as_str().unwrap().contains(reason)),
            "{reason}: {told:#?}"
        );
    }
    for (name, kind) in [("pipe", "a named pipe"), ("socket", "a socket"), ("loop", "a symbolic link")] {
        let why = &told.iter().find(|event| event["name"] == name).unwrap()["why"];
        assert!(why.as_str().unwrap().contains(kind), "{why}");
    }
    for name in &expected {
        assert_eq!(ask(meeting.port, &format!("{name}\n")), framed(b"content"), "{name:?}");
    }
}

#[test]
fn e1_e2_e7_what_is_no_plain_file_is_neither_replaced_nor_followed() {
    let outer = Folder::with(&[("outside", 1_000, "outside")]);
    let ours = Folder::within(&outer);
    symlink(outer.join("outside"), ours.join("link")).unwrap();
    symlink("../new", ours.join("dangling")).unwrap();
    symlink("link", ours.join("chain")).unwrap();
    symlink("loop", ours.join("loop")).unwrap();
    make_pipe(&ours.join("pipe"));
    UnixListener::bind(ours.join("socket")).unwrap();
    fs::create_dir(ours.join("empty")).unwrap();
    fs::create_dir(ours.join("full")).unwrap();
    fs::write(ours.join("full/inside"), "inside").unwrap();
    let before = tree(outer.path());
    let source = Source::of(b"content");
    let mut meeting = Meeting::of(&ours, &[]);
    let names = ["link", "dangling", "chain", "loop", "pipe", "socket", "empty", "full"];
    let mut entries: Vec<String> = names.iter().map(|name| source.entry(name, 2_000)).collect();
    entries.push(source.entry("good", 2_000));
    meeting.say(&entries);
    meeting.peer.wait_event("out-of-sync");
    let problems = meeting.peer.seen_of("problem");
    let told: BTreeSet<&str> = problems.iter().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(told, BTreeSet::from(names));
    assert_eq!(source.asked(), ["good"], "the others are not even asked for");
    let mut after = tree(outer.path());
    for new in ["good", ".shoal"] {
        after.remove(&ours.join(new)).unwrap();
    }
    assert_eq!(after, before);
}

/// What becomes of a name while a newer version of it is on its way.
const MEANWHILE: [&str; 6] =
    ["a link to outside", "a dangling link", "a folder", "a pipe", "a hard link to outside", "another file"];

fn make(what: &str, path: &Path, outside: &Path) {
    match what {
        "a link to outside" => symlink(outside, path).unwrap(),
        "a dangling link" => symlink("../new", path).unwrap(),
        "a folder" => fs::create_dir(path).unwrap(),
        "a pipe" => make_pipe(path),
        "a hard link to outside" => fs::hard_link(outside, path).unwrap(),
        _ => fs::write(path, "the user's").unwrap(),
    }
}

#[test]
fn e7_e8_what_comes_to_a_name_in_mid_fetch_stays_and_leads_nowhere() {
    for what in MEANWHILE {
        for is_new in [true, false] {
            let outer = Folder::with(&[("outside", 1_000, "outside")]);
            let ours = Folder::within(&outer);
            let path = ours.join("name");
            if !is_new {
                ours.write("name", 1_000, b"old");
            }
            let (asked, is_asked) = channel();
            let (go, may_go) = channel();
            let (asked, may_go) = (Mutex::new(asked), Mutex::new(may_go));
            let source = Source::start([127, 0, 0, 1], move |_: &str| {
                asked.lock().unwrap().send(()).unwrap();
                may_go.lock().unwrap().recv().unwrap();
                framed(b"new")
            });
            let mut meeting = Meeting::of(&ours, &[]);
            meeting.say(&[source.entry("name", 2_000)]);
            is_asked.recv_timeout(SOON).unwrap();
            if !is_new {
                fs::remove_file(&path).unwrap();
            }
            make(what, &path, &outer.join("outside"));
            let before = tree(outer.path());
            go.send(()).unwrap();
            let why = meeting.peer.wait_problem("name");
            assert!(why.contains("changed here") || why.contains("not a plain file"), "{what}: {why}");
            assert_eq!(tree(outer.path()), before, "{what}");
            assert_eq!(ours.staged(), 0, "{what}");
        }
    }
}

#[test]
fn e8_a_link_to_the_folder_is_followed_once_and_for_all() {
    let outer = Folder::new();
    for folder in ["one", "two"] {
        fs::create_dir(outer.join(folder)).unwrap();
    }
    symlink("one", outer.join("link")).unwrap();
    let tracker = PlayedTracker::new();
    let mut command = shoal();
    command.args(["sync", "127.0.0.1", &tracker.port().to_string(), "--json", "--dir"]);
    let peer = Program::start("the peer", command.arg(outer.join("link")));
    let mut meeting = Meeting::between(tracker, peer);
    fs::remove_file(outer.join("link")).unwrap();
    symlink("two", outer.join("link")).unwrap();
    meeting.say(&[Source::of(b"content").entry("new", 1)]);
    meeting.peer.wait_fetched("new");
    assert!(outer.join("one/new").exists());
    assert!(tree(&outer.join("two")).is_empty());
}

#[test]
fn e10_odd_mtimes_are_announced_rounded_down_and_fetched_once() {
    let ours = Folder::new();
    let before_1970 = UNIX_EPOCH - Duration::from_millis(5_500);
    let future = UNIX_EPOCH + Duration::from_secs(9_999_999_999);
    for (name, mtime) in [("1969", before_1970), ("2286", future), ("1970", UNIX_EPOCH)] {
        let file = File::create(ours.join(name)).unwrap();
        file.set_times(FileTimes::new().set_modified(mtime)).unwrap();
    }
    let source = Source::of(b"content");
    let mut meeting = Meeting::of(&ours, &["--trust-future"]);
    let expected = [("1969", -6), ("1970", 0), ("2286", 9_999_999_999)];
    assert_eq!(meeting.announced, expected.map(|(name, mtime)| (name.to_owned(), mtime)).into());
    // Before 1901 and after 2446, where some disks do not go.
    let mtimes = [-1, -2_147_483_649, 15_032_385_536, 253_402_300_799, i64::MIN, i64::MAX];
    let mut entries: Vec<String> =
        mtimes.iter().map(|mtime| source.entry(&format!("at {mtime}"), *mtime)).collect();
    for marker in ["marker 1", "marker 2"] {
        entries.push(source.entry(marker, 1));
        meeting.say(&entries);
        meeting.peer.wait_fetched(marker);
    }
    assert_eq!(meeting.peer.seen_of("fetched").len(), mtimes.len() + 2, "each once");
    assert_eq!(source.asked().len(), mtimes.len() + 2);
    let mtime = |name: &str| fs::metadata(ours.join(name)).unwrap().mtime();
    assert_eq!((mtime("at -1"), mtime("marker 1")), (-1, 1));
}

#[test]
fn e11_a_huge_sparse_file_is_served_as_its_bytes_and_costs_no_memory() {
    let ours = Folder::new();
    let length = 1 << 40;
    if let Err(error) = File::create(ours.join("huge")).unwrap().set_len(length) {
        return skip("E11: a file of a terabyte", &error.to_string());
    }
    let meeting = Meeting::of(&ours, &[]);
    let mut line = Line::dial(meeting.port);
    line.write(b"huge\n");
    assert_eq!(line.read_line(), format!("Content-Length: {length}\n"));
    let mut left = 32 << 20;
    while left > 0 {
        let some = line.try_read_some().unwrap();
        assert!(some.iter().all(|byte| *byte == 0));
        left -= some.len().min(left);
    }
    assert!(peak_memory(&meeting.peer) < 128 << 20);
}

#[test]
fn e16_e29_other_names_of_a_replaced_file_keep_it_and_its_rights_are_plain() {
    let outer = Folder::new();
    let ours = Folder::within(&outer);
    for name in ["replaced", "equal"] {
        outer.write(name, 1_000, b"content");
        fs::hard_link(outer.join(name), ours.join(name)).unwrap();
    }
    fs::set_permissions(ours.join("replaced"), Permissions::from_mode(0o6755)).unwrap();
    let source =
        Source::start([127, 0, 0, 1], |name: &str| framed(if name == "equal" { b"content" } else { b"new" }));
    let mut meeting = Meeting::of(&ours, &[]);
    meeting.say(&[source.entry("replaced", 2_000), source.entry("equal", 2_000)]);
    meeting.peer.wait_event("in-sync");
    assert_eq!(ours.contents()["replaced"], (2_000, b"new".to_vec()));
    assert_eq!(ours.contents()["equal"], (2_000, b"content".to_vec()));
    assert_eq!(fs::metadata(ours.join("replaced")).unwrap().permissions().mode() & 0o7777, 0o755);
    for (name, (mtime, bytes)) in outer.contents() {
        assert_eq!((mtime, bytes), (1_000, b"content".to_vec()), "{name} is not ours");
    }
    // What is written through the other name later does not reach what was kept.
    fs::write(outer.join("replaced"), "later").unwrap();
    assert!(ours.history().iter().all(|kept| kept == b"content"), "{:?}", ours.history());
}

/// Whom nothing here belongs to.
const NOBODY: u32 = 65_534;

/// Shoal run by nobody; or why that cannot be.
fn as_nobody() -> Result<Command, String> {
    let run = || {
        let mut command = shoal();
        command.uid(NOBODY).gid(NOBODY);
        command
    };
    match run().arg("--version").output() {
        Ok(_) => Ok(run()),
        Err(error) => Err(format!("cannot run as another user: {error}")),
    }
}

#[test]
fn e3_what_may_not_be_read_or_written_is_told_and_the_others_go_on() {
    let mut command = match as_nobody() {
        Ok(command) => command,
        Err(why) => return skip("E3: files without rights", &why),
    };
    let ours = Folder::with(&[("mine", 1_000, "mine"), ("theirs", 1_000, "theirs"), ("shut", 1_000, "shut")]);
    for name in ["mine", "shut", ""] {
        chown(ours.join(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    fs::set_permissions(ours.join("theirs"), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(ours.join("shut"), Permissions::from_mode(0o000)).unwrap();
    let tracker = PlayedTracker::new();
    command.args(["sync", "127.0.0.1", &tracker.port().to_string(), "--json", "--dir"]).arg(ours.path());
    let mut meeting = Meeting::between(tracker, Program::start("the peer", &mut command));
    assert_eq!(meeting.announced, [("mine".to_owned(), 1_000)].into());
    let unlisted = meeting.peer.seen_of("unlisted");
    assert!(unlisted.len() == 2 && unlisted.iter().all(|event| event["why"] == "this user may not read it"));
    assert_eq!((ask(meeting.port, "theirs\n"), ask(meeting.port, "shut\n")), (Vec::new(), Vec::new()));

    let source = Source::of(b"new");
    let mut entries = ["theirs", "shut", "good"].map(|name| source.entry(name, 2_000)).to_vec();
    meeting.say(&entries);
    for name in ["shut", "theirs"] {
        assert!(meeting.peer.wait_problem(name).contains("may not read it"));
    }
    meeting.peer.wait_fetched("good");
    assert_eq!(ours.contents()["theirs"], (1_000, b"theirs".to_vec()));

    // The whole folder becomes read-only, and writable again.
    fs::set_permissions(ours.path(), Permissions::from_mode(0o555)).unwrap();
    entries.push(source.entry("late", 2_000));
    meeting.say(&entries);
    assert!(meeting.peer.wait_problem("late").contains("cannot put late into place"));
    assert_eq!((ask(meeting.port, "mine"), ours.staged()), (b"mine".to_vec(), 0));
    fs::set_permissions(ours.path(), Permissions::from_mode(0o755)).unwrap();
    meeting.say(&entries);
    meeting.peer.wait_fetched("late");
}

#[test]
fn e3_e23_folders_that_cannot_be_ours_are_refused() {
    if let Err(why) = as_nobody() {
        return skip("E3 and E23: folders of others", &why);
    }
    let refused = |folder: &Folder, mut command: Command, reason: &str| {
        let dir = ["sync", "127.0.0.1", "1", "--dir"];
        let outcome = Program::start("shoal", command.args(dir).arg(folder.path())).outcome();
        assert!(outcome.code == Some(2) && outcome.stderr.contains(reason), "{reason}: {outcome:?}");
    };
    let read_only = Folder::new();
    fs::set_permissions(read_only.path(), Permissions::from_mode(0o755)).unwrap();
    refused(&read_only, as_nobody().unwrap(), "it is read-only for this user");
    assert!(tree(read_only.path()).is_empty());
    let shut = Folder::new();
    refused(&shut, as_nobody().unwrap(), "it is read-only for this user");
    let state_of_others = Folder::new();
    fs::create_dir(state_of_others.join(".shoal")).unwrap();
    chown(state_of_others.join(".shoal"), Some(NOBODY), Some(NOBODY)).unwrap();
    refused(&state_of_others, shoal(), "remove it, then start again");
}

/// A file that nobody may change, not even root, until this is dropped.
struct Immutable(PathBuf);

impl Immutable {
    fn make(path: PathBuf) -> Result<Self, String> {
        match Command::new("chattr").arg("+i").arg(&path).output() {
            Ok(output) if output.status.success() => Ok(Self(path)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-i").arg(&self.0).status();
    }
}

#[test]
fn e3_an_immutable_file_is_told_and_the_others_go_on() {
    let ours = Folder::with(&[("fixed", 1_000, "fixed")]);
    let _immutable = match Immutable::make(ours.join("fixed")) {
        Ok(immutable) => immutable,
        Err(why) => return skip("E3: an immutable file", &why),
    };
    let source = Source::of(b"new");
    let mut meeting = Meeting::of(&ours, &[]);
    meeting.say(&[source.entry("fixed", 2_000), source.entry("good", 2_000)]);
    meeting.peer.wait_event("out-of-sync");
    let problems = meeting.peer.seen_of("problem");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0]["why"].as_str().unwrap().contains("cannot put fixed into place"), "{problems:?}");
    assert_eq!(ours.contents()["fixed"], (1_000, b"fixed".to_vec()));
    assert_eq!(ours.contents()["good"], (2_000, b"new".to_vec()));
    assert_eq!((ours.staged(), ours.history().len()), (0, 0));
}
