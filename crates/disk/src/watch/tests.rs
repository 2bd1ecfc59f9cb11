//! A real watch on a real folder, with somebody who hears as an engine does: what a hint names is looked at then.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Instant;

use shoal_engine::disk::{Answer, Job, Sweep};

use super::*;
use crate::os::OsDir;
use crate::testing::Place;
use crate::worker::Worker;

mod limits;
mod moves;

/// So long at most a test waits for what must come.
const SOON: Duration = Duration::from_secs(20);

/// Who hears.
struct Ear {
    place: Place,
    worker: Worker,
    watch: Watch,
    heard: Receiver<Vec<Hint>>,
    /// What was told together.
    deliveries: Vec<Vec<Hint>>,
}

impl Ear {
    /// Watches a folder in which these folders and files are; folders end with a slash.
    fn on(entries: &[&str]) -> Self {
        let place = Place::new();
        entries.iter().for_each(|entry| make(&place, entry));
        Self::in_place(place, |worker, hear| worker.watch(hear).unwrap())
    }

    /// The same, with another source, which is polled this often.
    fn with(source: impl Source, poll_every: Duration, entries: &[&str]) -> Self {
        let place = Place::new();
        entries.iter().for_each(|entry| make(&place, entry));
        Self::in_place(place, |worker, hear| worker.watch_with(source, poll_every, hear))
    }

    fn in_place(place: Place, watch: impl FnOnce(&Worker, Hear) -> Watch) -> Self {
        let worker = Worker::new(&place.open());
        let (tell, heard) = sync_channel(1 << 10);
        let watch = watch(&worker, Box::new(move |_, hints| pass_on(&tell, hints)));
        let mut ear = Self { place, worker, watch, heard, deliveries: Vec::new() };
        ear.wait_for(&Hint::Lost);
        assert!(ear.watch.status().is_ready);
        ear.deliveries.clear();
        ear
    }

    /// Hears on until this is so.
    fn hear_until(&mut self, what: &str, mut is_so: impl FnMut(&[Vec<Hint>]) -> bool) {
        let end = Instant::now() + SOON;
        while !is_so(&self.deliveries) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(hints) = self.heard.recv_timeout(left) else {
                panic!("{what} never came, but {:?}", self.deliveries);
            };
            self.deliveries.push(hints);
        }
    }

    fn wait_for(&mut self, hint: &Hint) {
        self.hear_until(&format!("{hint:?}"), |heard| heard.iter().flatten().any(|heard| heard == hint));
    }

    /// All that was told until now: what happens last is told last.
    fn all(&mut self) -> Vec<Hint> {
        let name = format!("sentinel {}", Instant::now().elapsed().as_nanos());
        self.place.write(&name, "");
        let sentinel = path(&name);
        self.wait_for(&Hint::At(sentinel.clone()));
        fs::remove_file(self.place.at(&name)).unwrap();
        let is_other =
            |hint: &Hint| !matches!(hint, Hint::At(path) | Hint::Changing(path) if *path == sentinel);
        let all = self.deliveries.drain(..).flatten().filter(is_other).collect();
        self.until_quiet_about(&sentinel);
        all
    }

    fn until_quiet_about(&mut self, sentinel: &RelPath) {
        // That it was removed is told too, and is of no interest to whoever asks next.
        self.wait_for(&Hint::At(sentinel.clone()));
        self.deliveries.clear();
    }

    /// Waits until the watch stands so.
    fn stands(&self, what: &str, is_so: impl Fn(&WatchStatus) -> bool) -> WatchStatus {
        let end = Instant::now() + SOON;
        loop {
            let status = self.watch.status();
            if is_so(&status) {
                return status;
            }
            assert!(Instant::now() < end, "{what}: {status:?}");
            std::thread::yield_now();
        }
    }

    fn write(&self, at: &str) {
        self.place.write(at, at);
    }

    fn make(&self, entry: &str) {
        make(&self.place, entry);
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.place.at(from), self.place.at(to)).unwrap();
    }
}

impl Worker {
    fn watch_with(&self, source: impl Source, poll_every: Duration, hear: Hear) -> Watch {
        let (folder, scope) = self.watched();
        Watch::start_with(source, poll_every, folder, scope, hear).unwrap()
    }
}

fn pass_on(tell: &SyncSender<Vec<Hint>>, hints: Vec<Hint>) -> Heard {
    match tell.try_send(hints) {
        Ok(()) => Heard::Taken,
        Err(TrySendError::Full(hints)) => Heard::Busy(hints),
        Err(TrySendError::Disconnected(_)) => Heard::NoMore,
    }
}

fn make(place: &Place, entry: &str) {
    match entry.strip_suffix('/') {
        Some(folder) => fs::create_dir_all(place.at(folder)).unwrap(),
        None => place.write(entry, entry),
    }
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn at(text: &str) -> Hint {
    Hint::At(path(text))
}

fn below(text: &str) -> Hint {
    Hint::Below(path(text))
}

fn has(hints: &[Hint], hint: &Hint) -> bool {
    hints.contains(hint)
}

#[test]
fn what_is_written_is_told_and_what_is_read_is_not() {
    let mut ear = Ear::on(&["a/", "a/b/", "a/b/f"]);
    assert_eq!(ear.stands("three folders", |status| status.watched == 3).polled, 0);
    // Looking at everything is nobody's business, as often as we do it.
    for _ in 0..3 {
        let sweep = Sweep { below: None, after: None, at_most: 100, is_shallow: false };
        assert!(matches!(ear.worker.perform(Job::Sweep(sweep)), Answer::Swept { .. }));
        ear.place.read("a/b/f");
    }
    assert_eq!(ear.all(), []);
    ear.write("a/b/f");
    ear.wait_for(&at("a/b/f"));
    fs::remove_file(ear.place.at("a/b/f")).unwrap();
    assert!(has(&ear.all(), &at("a/b/f")));
}

#[test]
fn what_is_held_open_is_told_to_be_changing() {
    let mut ear = Ear::on(&[]);
    let mut file = fs::File::create(ear.place.at("log")).unwrap();
    ear.wait_for(&Hint::Changing(path("log")));
    assert!(!has(&ear.all(), &at("log")));
    // Not each single write is told.
    let mut is_told = false;
    while !is_told {
        io::Write::write_all(&mut file, b"more").unwrap();
        let heard = ear.heard.recv_timeout(Duration::from_millis(1)).unwrap_or_default();
        assert!(!has(&heard, &at("log")));
        is_told = has(&heard, &Hint::Changing(path("log")));
    }
    drop(file);
    ear.wait_for(&at("log"));
}

/// S7: what is written into folders made a moment before mostly has no event. Who looks after each hint finds all of it.
#[test]
fn s7_what_is_written_into_new_folders_at_once_is_found() {
    let mut ear = Ear::on(&[]);
    let mut missing = BTreeSet::new();
    for number in 0..200 {
        let folder = format!("n{number}/x/y");
        ear.make(&format!("{folder}/"));
        ear.write(&format!("{folder}/f"));
        missing.insert(path(&format!("{folder}/f")));
    }
    let (root, mut looked_at) = (ear.place.path().to_owned(), 0);
    ear.hear_until("all files", |heard| {
        for hint in heard[looked_at..].iter().flatten() {
            match hint {
                Hint::At(path) | Hint::Changing(path) => drop(missing.remove(path)),
                Hint::Below(folder) => {
                    let there = |path: &RelPath| root.join(path.to_string()).exists();
                    missing.retain(|path| !(path.is_below(folder) && there(path)));
                }
                Hint::Lost => panic!("nothing was lost"),
            }
        }
        looked_at = heard.len();
        missing.is_empty()
    });
    // And all of it is watched by now.
    ear.stands("601 folders", |status| status.watched == 601);
    ear.deliveries.clear();
    for number in [0, 77, 199] {
        ear.write(&format!("n{number}/x/y/again"));
        ear.wait_for(&at(&format!("n{number}/x/y/again")));
    }
}

#[test]
fn i21_what_is_ignored_is_not_watched_also_when_the_rules_change() {
    let entries = ["keep/", "build/deep/", "sub/build/", ".shoalignore"];
    let mut ear = Ear::on(&entries);
    ear.place.write(".shoalignore", "build/\n*.o\n");
    // The rules count once the worker has looked at them.
    ear.stands("all six", |status| status.watched == 6);
    ear.all();
    ear.worker.perform(Job::Look(vec![path("keep")]));
    ear.wait_for(&Hint::Lost);
    ear.stands("root, keep and sub", |status| status.watched == 3);
    ear.deliveries.clear();
    for ignored in ["build/deep/f", "sub/build/f", "keep/a.o"] {
        ear.write(ignored);
    }
    ear.make("keep/build/x/");
    ear.write(".shoal/history/own");
    ear.write("keep/f");
    let told = ear.all();
    assert!(has(&told, &at("keep/f")), "{told:?}");
    assert!(
        told.iter().all(|hint| matches!(hint, Hint::At(p) | Hint::Changing(p) if *p == path("keep/f"))),
        "{told:?}"
    );

    ear.place.write(".shoalignore", "*.o\n");
    ear.wait_for(&at(".shoalignore"));
    ear.worker.perform(Job::Look(vec![path("keep")]));
    ear.wait_for(&Hint::Lost);
    ear.stands("all with keep/build/x", |status| status.watched == 8);
    ear.write("build/deep/f");
    ear.wait_for(&at("build/deep/f"));
}

/// I11: a directory that was swapped for a link does not lead out, neither at once nor later.
#[test]
fn i11_a_link_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(outside.path().join("in")).unwrap();
    let mut ear = Ear::on(&["a/in/"]);
    ear.rename("a", "b");
    std::os::unix::fs::symlink(outside.path(), ear.place.at("a")).unwrap();
    ear.make("made/");
    ear.wait_for(&below("made"));
    ear.stands("root, b, b/in, made", |status| status.watched == 4);
    ear.deliveries.clear();
    fs::write(outside.path().join("in/f"), "").unwrap();
    fs::write(outside.path().join("f"), "").unwrap();
    assert_eq!(ear.all(), []);
}

/// T11: somebody swaps a directory for a link to another one, again and again, while it is being watched anew all the
/// time. What the kernel says that we watch is never what the link leads to.
#[test]
fn i11_t11_a_racer_gets_nothing_watched_outside() {
    use std::os::unix::fs::{MetadataExt, symlink};
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path();
    fs::create_dir_all(root.join("in/deep")).unwrap();
    let numbers = ["", "in", "in/deep"].map(|folder| fs::metadata(root.join(folder)).unwrap().ino());
    let foreign: BTreeSet<String> = numbers.iter().map(|number| format!("ino:{number:x} ")).collect();
    let ear = Ear::on(&["a/in/deep/"]);
    let (folder, aside, link) = (ear.place.at("a"), ear.place.at("aside"), ear.place.at("link"));
    symlink(root, &link).unwrap();
    let (mut looks, mut watches) = (0, 0);
    let end = Instant::now() + Duration::from_millis(800);
    while Instant::now() < end {
        fs::rename(&folder, &aside).unwrap();
        fs::rename(&link, &folder).unwrap();
        fs::rename(&folder, &link).unwrap();
        fs::rename(&aside, &folder).unwrap();
        looks += 1;
        if looks % 16 == 0 {
            for watched in watched_by_this_process() {
                watches += 1;
                assert!(!foreign.iter().any(|foreign| watched.contains(foreign.as_str())), "{watched}");
            }
        }
    }
    assert!(looks > 100 && watches > 0, "{looks} swaps, {watches} watches");
    ear.stands("root, a, a/in, a/in/deep", |status| status.watched == 4);
}

/// What the kernel tells of the watches of this process, a line each.
fn watched_by_this_process() -> Vec<String> {
    let infos = fs::read_dir("/proc/self/fdinfo").unwrap();
    // Other tests open and close handles meanwhile.
    let infos = infos.filter_map(|info| fs::read_to_string(info.ok()?.path()).ok());
    let lines: Vec<String> =
        infos.flat_map(|info| info.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.into_iter().filter(|line| line.starts_with("inotify ")).collect()
}

#[test]
fn a_folder_that_becomes_readable_is_watched() {
    use std::os::unix::fs::PermissionsExt;
    let mut ear = Ear::on(&["a/b/"]);
    let set_mode = |mode| fs::set_permissions(ear.place.at("a"), fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o700);
    set_mode(0o755);
    let told = ear.all();
    assert!(has(&told, &at("a")), "{told:?}");
    ear.write("a/b/f");
    ear.wait_for(&at("a/b/f"));
}

#[test]
fn classic_watches_names_alone() {
    let place = Place::new();
    make(&place, "sub/deep/");
    let folder = place.open();
    let (tell, heard) = sync_channel(64);
    let watch = folder.watch_names(move |_, hints| pass_on(&tell, hints)).unwrap();
    assert_eq!(heard.recv_timeout(SOON).unwrap(), [Hint::Lost]);
    assert_eq!(watch.status(), WatchStatus { is_ready: true, watched: 1, polled: 0, why: None });
    place.write("sub/f", "");
    place.write("f", "");
    let first = heard.recv_timeout(SOON).unwrap();
    assert!(
        first.iter().all(|hint| matches!(hint, Hint::At(p) | Hint::Changing(p) if *p == path("f"))),
        "{first:?}"
    );
    // Dropped, it holds nothing any more.
    drop((watch, folder));
    place.open();
}

/// Nobody hears any more: the thread ends by itself, and so it does when it is busy.
#[test]
fn a_watch_ends_with_who_hears() {
    let place = Place::new();
    let folder = place.open();
    let (tell, heard) = sync_channel(64);
    let watch = folder.watch_names(move |_, hints| pass_on(&tell, hints)).unwrap();
    heard.recv_timeout(SOON).unwrap();
    drop(heard);
    place.write("f", "");
    let thread = watch.thread.as_ref().unwrap();
    let end = Instant::now() + SOON;
    while !thread.is_finished() {
        assert!(Instant::now() < end, "it lives on");
        std::thread::yield_now();
    }
}

/// What is written just after it was told, into a file that stays open: nothing else is going to tell of it.
#[test]
fn the_last_write_into_an_open_file_is_told() {
    let mut ear = Ear::on(&[]);
    let mut log = fs::File::create(ear.place.at("log")).unwrap();
    let is_told =
        |heard: &[Vec<Hint>]| heard.iter().flatten().any(|hint| *hint == Hint::Changing(path("log")));
    ear.hear_until("the file", is_told);
    for line in 0..20 {
        ear.deliveries.clear();
        writeln!(log, "line {line}").unwrap();
        ear.hear_until("the last line", is_told);
    }
}
