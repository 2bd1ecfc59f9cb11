//! Somebody who may write in a folder of the share changes what stands there, between a folder and links to elsewhere, as
//! fast as a system can, while files are put there, changed, moved, taken and read (I10, I11, T11, E8).

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use shoal_disk::{Folder, FolderOptions, Worker};
use shoal_engine::disk::{
    Answer, BytesAt, Change, ChangeDeed, Committed, Job, Look, Seen, Sweep, Take, Taken, Wanted,
};
use shoal_engine::history::Why;
use shoal_proto::record::{Kind, Mode, Timestamp, Version};

use crate::skip::skip;
use crate::workload::{content_of, in_memory, look, path, place_file};

/// The folder in which [`flip`] flips.
const FOLDER: &str = "SHOAL_DISK_TEST_RACED";

/// How long the race is, if not some moments.
const SECONDS: &str = "SHOAL_TEST_RACE_SECONDS";

/// Nobody of this machine, who owns nothing else.
const NOBODY: u32 = 65_534;

/// Not a test by itself: what runs as another user, until its input ends.
#[test]
fn flip() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let (sub, away) = (folder.join("sub"), folder.join("away"));
    let links = ["out", "up", "state", "loop"].map(|name| folder.join(name));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::io::stdin().read(&mut [0]);
            is_over.store(true, Ordering::Relaxed);
        });
        let mut flips = 0_u64;
        while !is_over.load(Ordering::Relaxed) {
            let link = &links[(flips / 64 % 4) as usize];
            if flips.is_multiple_of(64) {
                // Another way, in which there is nothing for a moment.
                fs::rename(&sub, &away).unwrap();
                symlink(fs::read_link(link).unwrap(), &sub).unwrap();
                fs::remove_file(&sub).unwrap();
                fs::rename(&away, &sub).unwrap();
            }
            for _ in 0..2 {
                renameat_with(CWD, &sub, CWD, link, RenameFlags::EXCHANGE).unwrap();
            }
            flips += 1;
        }
        println!("flips: {flips}");
    });
}

#[test]
fn nothing_outside_is_touched_or_read_by_whatever_becomes_of_a_folder() {
    let what = "T11: a racer as another user";
    if !rustix::process::geteuid().is_root() {
        return skip(what, "only root can run something as another user");
    }
    let place = in_memory();
    let at = prepare(place.path());
    let outside = place.path().join("outside");
    let before = photograph(&outside);
    let mut racer = match race(&at.join("racy")) {
        Ok(racer) => racer,
        Err(error) => return skip(what, &format!("cannot run this program as another user: {error}")),
    };
    let (folder, _) = Folder::open(&at, &FolderOptions::default()).unwrap();
    let mut work = Work { worker: Worker::new(&folder), done: 0, refused: 0 };
    let began = Instant::now();
    for round in 0.. {
        work.round(round);
        let was_race = work.done > 0 && work.refused > 0;
        if began.elapsed() > duration() && (was_race || began.elapsed() > duration() * 20) {
            break;
        }
    }
    drop(racer.stdin.take());
    let said = racer.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("flips: "), "the racer ended early: {said}");
    assert_eq!(photograph(&outside), before, "something outside was changed");
    assert!(work.done > 0 && work.refused > 0, "{} done, {} refused: no race", work.done, work.refused);
    let history = folder.history();
    for kept in history.list().unwrap() {
        if kept.kind == shoal_disk::Kind::File {
            let text = std::io::read_to_string(history.open(kept.number).unwrap()).unwrap();
            assert!(is_whole(&text), "in history: {}", text.lines().next().unwrap_or_default());
        }
    }
    check_inside(&at);
    drop((work.worker, history, folder));
    let (_, recovered) = Folder::open(&at, &FolderOptions::default()).unwrap();
    assert!(recovered.problems.is_empty() && recovered.removed == 0, "{recovered:?}");
    let flips = said.lines().find_map(|line| line.split_once("flips: ")).unwrap_or_default().1;
    println!("raced {:?}: {flips} flips, {} done, {} refused", duration(), work.done, work.refused);
}

fn duration() -> Duration {
    let seconds = std::env::var(SECONDS).ok().and_then(|seconds| seconds.parse().ok());
    let moments = if std::env::var_os("SHOAL_TEST_WHOLE").is_some() { 5 } else { 1 };
    Duration::from_secs(seconds.unwrap_or(moments))
}

/// A share with a folder that belongs to the racer, and what lies outside.
fn prepare(place: &Path) -> PathBuf {
    let (at, outside) = (place.join("share"), place.join("outside"));
    for (dir, mode) in [(place.to_owned(), 0o755), (at.clone(), 0o755), (outside.clone(), 0o777)] {
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
    }
    for name in NAMES {
        fs::write(outside.join(name), SECRET.repeat(100)).unwrap();
    }
    fs::create_dir(outside.join("folder")).unwrap();
    symlink("nowhere", outside.join("link")).unwrap();
    let racy = at.join("racy");
    for dir in [racy.clone(), racy.join("sub"), at.join("safe")] {
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    }
    symlink(&outside, racy.join("out")).unwrap();
    symlink("../../outside", racy.join("up")).unwrap();
    symlink("../.shoal/history", racy.join("state")).unwrap();
    symlink("sub", racy.join("loop")).unwrap();
    for path in [racy.clone(), racy.join("sub")] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    at
}

fn race(folder: &Path) -> std::io::Result<Child> {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "racer::flip", "--nocapture"])
        .env(FOLDER, folder)
        .uid(NOBODY)
        .gid(NOBODY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
}

/// What is done to the folder that is raced for.
struct Work {
    worker: Worker,
    done: u64,
    refused: u64,
}

impl Work {
    fn round(&mut self, round: u64) {
        self.look_around();
        let mut changes: Vec<_> = NAMES[..3].iter().filter_map(|name| self.place(name, round)).collect();
        changes.extend(["folder", "link", "removed"].into_iter().filter_map(|name| self.other(name, round)));
        // Each alone, then all together: the handles of a batch are kept from deed to deed.
        if round.is_multiple_of(2) {
            changes.into_iter().for_each(|change| self.commit(vec![change]));
        } else {
            self.commit(changes);
        }
        let moves: Vec<_> =
            ["racy/sub/a -> safe/a", "safe/a -> racy/sub/moved", "racy/sub/moved -> racy/sub/d"]
                .into_iter()
                .filter_map(|step| {
                    let (from, to) = step.split_once(" -> ")?;
                    Some(change(from, ChangeDeed::Move { to: path(to), present: self.seen(from)? }))
                })
                .collect();
        self.commit(moves);
    }

    fn commit(&mut self, changes: Vec<Change>) {
        let Answer::Committed(committed) = self.worker.perform(Job::Commit(changes)) else {
            panic!("the folder itself is as it was")
        };
        let done = committed.iter().filter(|how| matches!(how, Committed::Done { .. })).count();
        self.done += done as u64;
        self.refused += (committed.len() - done) as u64;
    }

    fn seen(&self, at: &str) -> Option<Seen> {
        match look(&self.worker, at) {
            Some(Look::Seen(seen)) => Some(seen),
            _ => None,
        }
    }

    fn place(&self, name: &str, round: u64) -> Option<Change> {
        let at = format!("racy/sub/{name}");
        let stage = round * 1_000 + u64::from(name.as_bytes()[0]);
        Some(change(&at, place_file(&self.worker, stage, &version(&at, round), self.seen(&at))?))
    }

    fn other(&self, name: &str, round: u64) -> Option<Change> {
        let at = format!("racy/sub/{name}");
        let (over, mtime) = (self.seen(&at), Timestamp::new(1_600_000_000, 0)?);
        let mode = Mode::from_bits(0o777);
        let deed = match (name, over) {
            ("folder", None) => ChangeDeed::MakeFolder { mode, over: None },
            ("link", over) => {
                let target = format!("link {round}").into_bytes().into();
                let version = Version::new(Kind::Symlink { target }, mtime, mode);
                ChangeDeed::Place { version, stage: None, over }
            }
            (_, Some(present)) if round.is_multiple_of(3) => {
                ChangeDeed::Retouch { present, mtime: Some(mtime), mode }
            }
            (_, Some(present)) => ChangeDeed::Remove(present),
            (_, None) => place_file(&self.worker, round * 1_000 + 999, &version(&at, round), None)?,
        };
        Some(change(&at, deed))
    }

    /// Nothing that is told or read is from outside.
    fn look_around(&self) {
        let secret = content_of(SECRET.repeat(100).as_bytes());
        for name in NAMES {
            let at = format!("racy/sub/{name}");
            let Some(seen) = self.seen(&at) else { continue };
            if let Answer::Taken(taken) =
                self.worker.perform(Job::Take(vec![Take::new(path(&at), Some(seen.clone()))]))
                && let [Taken::Here { here, .. }] = &taken[..]
            {
                let is_secret = matches!(here.version.kind, Kind::File { content, .. } if content == secret);
                assert!(!is_secret, "{at} was taken from outside");
            }
            let places = vec![BytesAt::Folder { path: path(&at), seen, offset: 0 }];
            if let Answer::Read(read) = self.worker.perform(Job::Read(vec![Wanted { places, length: 6 }])) {
                assert!(
                    read.iter().flatten().all(|bytes| bytes != SECRET.as_bytes()),
                    "{at} was read outside"
                );
            }
        }
        let sweep = Sweep { below: Some(path("racy")), at_most: 1_000, ..Sweep::default() };
        if let Answer::Swept { entries, .. } = self.worker.perform(Job::Sweep(sweep)) {
            let outside = entries.iter().find(|(path, _)| path.as_bytes().ends_with(b"only outside"));
            assert!(outside.is_none(), "{outside:?}");
        }
    }
}

fn change(at: &str, deed: ChangeDeed) -> Change {
    Change { path: path(at), deed, by: None, why: Why::Unknown }
}

fn version(at: &str, round: u64) -> String {
    format!("{at} {round}\n").repeat(200)
}

/// Whether all lines are the same and as many as there should be.
fn is_whole(text: &str) -> bool {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    first.starts_with("racy/sub/") && lines.clone().count() == 199 && lines.all(|line| line == first)
}

/// Every file that came into the share is a whole version, wherever its folder was moved.
fn check_inside(at: &Path) {
    for entry in fs::read_dir(at).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && entry.file_name() != ".shoal" {
            check_inside(&entry.path());
        } else if kind.is_file() {
            let text = fs::read_to_string(entry.path()).unwrap();
            assert!(
                is_whole(&text),
                "{}: {}",
                entry.path().display(),
                text.lines().next().unwrap_or_default()
            );
        }
    }
}

/// All that can be told of a folder and what is in it: content, times of content and of anything, permissions, names.
fn photograph(at: &Path) -> BTreeMap<PathBuf, (Vec<u8>, [i64; 6])> {
    let mut found = BTreeMap::new();
    let mut folders = vec![at.to_owned()];
    while let Some(folder) = folders.pop() {
        let inside = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        for path in inside.chain([folder.clone()]) {
            let seen = fs::symlink_metadata(&path).unwrap();
            let bytes = if seen.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            if seen.is_dir() && path != folder {
                folders.push(path.clone());
            }
            let (mode, links) = (i64::from(seen.mode()), i64::try_from(seen.nlink()).unwrap());
            let told = [seen.mtime(), seen.mtime_nsec(), seen.ctime(), seen.ctime_nsec(), mode, links];
            found.insert(path, (bytes, told));
        }
    }
    found
}

/// Names that are in the folder that is raced for, and outside as well.
const NAMES: [&str; 5] = ["a", "b", "c", "removed", "only outside"];

const SECRET: &str = "secret";
