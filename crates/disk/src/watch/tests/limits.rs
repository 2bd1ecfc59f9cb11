//! Where the system tells less than all: no watches left, no watcher at all, a queue that ran over; and a listener who
//! has no time.

use std::process::Command;
use std::sync::Condvar;

use super::*;
use crate::watch::source::{Blind, Event, WatchId};

/// A source that gives no more than so many watches.
struct Stingy {
    source: inotify::Inotify,
    given: BTreeSet<WatchId>,
    at_most: Arc<AtomicUsize>,
}

impl Stingy {
    fn new(at_most: usize) -> (Self, Arc<AtomicUsize>) {
        let limit = Arc::new(AtomicUsize::new(at_most));
        let source = inotify::Inotify::new().unwrap();
        (Self { source, given: BTreeSet::new(), at_most: Arc::clone(&limit) }, limit)
    }
}

impl Source for Stingy {
    fn add(&mut self, dir: &OsDir, is_root: bool) -> Result<WatchId, Unwatched> {
        let watch = self.source.add(dir, is_root)?;
        let has_room = self.given.len() < self.at_most.load(Ordering::SeqCst);
        if self.given.contains(&watch) || has_room {
            self.given.insert(watch);
            return Ok(watch);
        }
        self.source.remove(watch);
        Err(Unwatched::NoMoreWatches)
    }

    fn remove(&mut self, watch: WatchId) {
        self.given.remove(&watch);
        self.source.remove(watch);
    }

    fn wait(&mut self, at_most: Option<Duration>) -> io::Result<()> {
        self.source.wait(at_most)
    }

    fn take(&mut self, tell: &mut dyn FnMut(Event)) -> io::Result<bool> {
        self.source.take(&mut |event| {
            if let Event::Ended(watch) = event {
                self.given.remove(&watch);
            }
            tell(event);
        })
    }

    fn ringer(&self) -> Arc<dyn Ring> {
        self.source.ringer()
    }
}

const OFTEN: Duration = Duration::from_millis(30);

/// E27: what cannot be watched is looked through, and watched when that is possible again.
#[test]
fn e27_folders_without_a_watch_are_polled_until_there_is_one() {
    let (source, limit) = Stingy::new(2);
    let entries = ["a/", "b/deep/", "c/", "c/f", "b/deep/f"];
    let mut ear = Ear::with(source, OFTEN, &entries);
    let status = ear.stands("two of five", |status| (status.watched, status.polled) == (2, 3));
    assert_eq!(status.why, Some(Unwatched::NoMoreWatches));
    let told = status.to_string();
    assert!(told.starts_with("folders watched: 2, looked through every 10 s instead: 3 ("), "{told}");
    assert!(told.contains("max_user_watches"), "{told}");

    // A change in a file changes nothing in its folder.
    for file in ["c/f", "b/deep/f"] {
        ear.deliveries.clear();
        ear.place.write(file, "other");
        let is_told = |hint: &Hint| match hint {
            Hint::Below(folder) => path(file).is_below(folder),
            Hint::At(told) => *told == path(file),
            _ => false,
        };
        ear.hear_until(file, |heard| heard.iter().flatten().any(is_told));
    }
    ear.make("c/new/deeper/");
    ear.write("c/new/deeper/f");
    ear.stands("two more", |status| status.polled == 5);
    fs::remove_dir_all(ear.place.at("c")).unwrap();
    ear.stands("three less", |status| status.polled + status.watched == 4);

    limit.store(100, Ordering::SeqCst);
    let status = ear.stands("all watched", |status| status.polled == 0);
    assert_eq!((status.watched, status.why), (4, None));
    assert_eq!(status.to_string(), "folders watched: 4");
    ear.all();
    ear.write("b/deep/f");
    ear.wait_for(&at("b/deep/f"));
}

/// On a system that tells nothing all is polled; what stays as it is costs no hint.
#[test]
fn e27_where_nothing_can_be_watched_all_is_polled() {
    let mut ear = Ear::with(Blind::default(), OFTEN, &["a/b/", "a/b/f"]);
    let status = ear.stands("all three", |status| status.polled == 3);
    assert_eq!((status.watched, status.why), (0, Some(Unwatched::Unsupported)));
    for round in 0..3 {
        ear.place.write("a/b/f", &"x".repeat(round));
        ear.wait_for(&below("a/b"));
        assert_eq!(ear.deliveries.concat(), [below("a/b")]);
        ear.deliveries.clear();
    }
    ear.make("a/c/");
    ear.write("a/c/f");
    ear.wait_for(&below("a"));
    fs::rename(ear.place.at("a"), ear.place.at("z")).unwrap();
    // The root has no path that could be told.
    ear.wait_for(&Hint::Lost);
    ear.stands("as many as before", |status| status.polled == 4);
}

/// Not a test by itself: what the tests below start where they may set limits, in namespaces of their own.
#[test]
fn in_a_namespace() {
    match std::env::var(NAMESPACE).as_deref() {
        Ok("few watches") => few_watches(),
        Ok("no watcher") => no_watcher(),
        Ok("a mount") => a_mount(),
        _ => {}
    }
}

/// E27: the limit of the system itself is told, lived with, and taken advantage of when it allows more.
#[test]
fn e27_the_limit_of_the_system_is_told_and_lived_with() {
    run_in_namespace("few watches", "echo 3 > /proc/sys/user/max_inotify_watches");
}

fn few_watches() {
    let mut ear = Ear::with(inotify::Inotify::new().unwrap(), OFTEN, &["a/", "b/", "c/", "d/"]);
    let status = ear.watch.status();
    assert_eq!((status.watched, status.polled, status.why), (3, 2, Some(Unwatched::NoMoreWatches)));
    // Which are watched nobody knows; what two of them leave is taken.
    for one in ["a", "b", "c", "d"] {
        ear.make(&format!("{one}/f"));
    }
    fs::remove_dir_all(ear.place.at("c")).unwrap();
    fs::remove_dir_all(ear.place.at("d")).unwrap();
    let status = ear.stands("the rest is watched", |status| status.polled == 0);
    assert_eq!((status.watched, status.why), (3, None));
    ear.all();
    for file in ["a/f", "b/f"] {
        ear.write(file);
        ear.wait_for(&at(file));
    }
}

#[test]
fn e27_without_any_watcher_all_is_polled_until_there_is_one() {
    run_in_namespace("no watcher", "echo 0 > /proc/sys/user/max_inotify_instances");
}

fn no_watcher() {
    let mut ear = Ear::with(inotify::Inotify::new().unwrap(), OFTEN, &["a/"]);
    let status = ear.watch.status();
    assert_eq!((status.watched, status.polled, status.why), (0, 2, Some(Unwatched::NoMoreWatchers)));
    ear.write("a/f");
    ear.wait_for(&below("a"));
    fs::write("/proc/sys/user/max_inotify_instances", "8").unwrap();
    ear.stands("all is watched", |status| (status.watched, status.polled) == (2, 0));
    ear.write("a/f");
    ear.wait_for(&at("a/f"));
}

#[test]
fn e22_another_file_system_is_not_watched() {
    run_in_namespace("a mount", "true");
}

fn a_mount() {
    let place = Place::new();
    make(&place, "a/mounted/");
    make(&place, "again/");
    let mount = |args: &[&str], on: &str| {
        assert!(Command::new("mount").args(args).arg(place.at(on)).status().unwrap().success());
    };
    mount(&["-t", "tmpfs", "none"], "a/mounted");
    // The same file system, mounted a second time.
    mount(&["--bind", place.at("a").to_str().unwrap()], "again");
    make(&place, "a/mounted/deep/");
    let ear = Ear::in_place(place, |worker, hear| worker.watch(hear).unwrap());
    let status = ear.stands("root and a", |status| status.watched == 2);
    assert_eq!(status.polled, 0);
}

/// Runs a part of [`in_a_namespace`] as root of namespaces for users and mounts, after this command.
fn run_in_namespace(what: &str, first: &str) {
    let script = format!("{first} && exec \"$@\"");
    let unshared = || {
        let mut command = Command::new("unshare");
        command.args(["-Urm", "sh", "-c", &script, "sh"]);
        command
    };
    if !unshared().arg("true").output().is_ok_and(|can| can.status.success()) {
        let said = format!("skipped: {what}: no namespaces of our own\n");
        // Past the capturing of the test harness, so that it can be seen and counted.
        let _ = io::Write::write_all(&mut io::stderr(), said.as_bytes());
        return;
    }
    let child = unshared()
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "watch::tests::limits::in_a_namespace", "--nocapture"])
        .env(NAMESPACE, what)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && output.contains("1 passed"), "{output}");
}

const NAMESPACE: &str = "SHOAL_DISK_TEST_NAMESPACE";

/// E27: nobody reads the queue of the system, until it has run over. Then all is looked at, and all is watched.
#[test]
fn e27_a_queue_that_ran_over_is_a_loss_and_nothing_stays_unwatched() {
    let place = Place::new();
    make(&place, "a/");
    let gate = Arc::new((Mutex::new(true), Condvar::new()));
    let (tell, heard) = sync_channel(1 << 10);
    let held = Arc::clone(&gate);
    let mut ear = Ear::in_place(place, |worker, mut hear| {
        let hear = move |status: &WatchStatus, hints: Vec<Hint>| {
            let is_open = held.0.lock().unwrap();
            tell.send(()).unwrap();
            drop(held.1.wait_while(is_open, |is_open| !*is_open).unwrap());
            hear(status, hints)
        };
        worker.watch(hear).unwrap()
    });
    heard.recv_timeout(SOON).unwrap();
    *gate.0.lock().unwrap() = false;
    ear.write("f");
    heard.recv_timeout(SOON).unwrap();
    let queue: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    let (one, other) = (ear.place.at("one"), ear.place.at("other"));
    fs::write(&one, "").unwrap();
    for _ in 0..=queue / 4 {
        fs::rename(&one, &other).unwrap();
        fs::rename(&other, &one).unwrap();
    }
    ear.make("late/deep/");
    fs::rename(ear.place.at("a"), ear.place.at("moved")).unwrap();
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    ear.wait_for(&Hint::Lost);
    ear.stands("root, late, late/deep, moved", |status| status.watched == 4);
    for file in ["late/deep/f", "moved/f"] {
        ear.write(file);
        ear.wait_for(&at(file));
    }
}

/// I30: who has no room is told later, of all that happened meanwhile, merged.
#[test]
fn i30_a_busy_listener_is_told_later_and_loses_nothing() {
    let place = Place::new();
    let is_busy = Arc::new(AtomicBool::new(false));
    let busy = Arc::clone(&is_busy);
    let mut ear = Ear::in_place(place, |worker, mut hear| {
        let hear = move |status: &WatchStatus, hints: Vec<Hint>| match busy.load(Ordering::SeqCst) {
            true => Heard::Busy(hints),
            false => hear(status, hints),
        };
        worker.watch(hear).unwrap()
    });
    is_busy.store(true, Ordering::SeqCst);
    for round in 0..3 {
        for file in ["a", "b"] {
            ear.write(file);
        }
        ear.make(&format!("d{round}/"));
    }
    ear.stands("three more", |status| status.watched == 4);
    assert!(ear.heard.try_recv().is_err());
    is_busy.store(false, Ordering::SeqCst);
    for hint in [at("a"), at("b"), below("d0"), below("d2")] {
        ear.wait_for(&hint);
    }
    assert!(ear.deliveries.len() <= 3, "{:?}", ear.deliveries);
}
