//! What the end-to-end tests share: processes that report as JSON lines, and folders that can be compared.

mod played;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, File, FileTimes};
use std::io::{BufRead, BufReader, Read};

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub(crate) use crate::skip::skip;
pub(crate) use played::{Line, PlayedPeer, PlayedTracker, ask, lasting_port};

/// Longest wait for anything that should happen soon, with room for a slow machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A running program that prints a JSON object a line.
pub(crate) struct Program {
    name: String,
    child: Child,
    events: Receiver<Value>,
    /// Everything that was printed so far, for messages.
    seen: Vec<Value>,
    stderr: Option<JoinHandle<String>>,
}

impl Program {
    /// Starts a program; `name` is for messages.
    pub(crate) fn start(name: &str, command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = child.stdout.take().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self { name: name.into(), child, events, seen: Vec::new(), stderr: Some(stderr) }
    }

    /// Waits for the next event that `is_it` accepts; events before it are passed over.
    pub(crate) fn wait_for(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.wait_within(SOON, what, is_it)
    }

    /// The same with a deadline of its own.
    pub(crate) fn wait_within(
        &mut self,
        limit: Duration,
        what: &str,
        is_it: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    self.seen.push(event.clone());
                    if is_it(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{} did not report {what} within {limit:?}; it said {:#?}", self.name, self.seen)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = self.child.kill();
                    let stderr = self.stderr.take().map(|thread| thread.join().unwrap());
                    panic!("{} ended without {what}; it said {:#?} and {stderr:?}", self.name, self.seen)
                }
            }
        }
    }

    /// Waits for an event of that kind.
    pub(crate) fn wait_event(&mut self, kind: &str) -> Value {
        self.wait_for(kind, |event| event["event"] == kind)
    }

    /// Waits until a Shoal peer is in sync with so many listed files.
    pub(crate) fn wait_in_sync(&mut self, files: usize) {
        self.wait_for(&format!("in sync with {files} files"), |event| {
            event["event"] == "in-sync" && event["files"] == files
        });
    }

    /// Waits until a file was fetched.
    pub(crate) fn wait_fetched(&mut self, file: &str) -> Value {
        self.wait_for(&format!("fetched {file}"), |event| {
            event["event"] == "fetched" && event["name"] == file
        })
    }

    /// Waits until a peer of ours serves; the port.
    pub(crate) fn wait_serving(&mut self) -> u16 {
        address_of(&self.wait_event("listening")).port()
    }

    /// Waits until a peer of ours tells a problem of that name; the reason.
    pub(crate) fn wait_problem(&mut self, name: &str) -> String {
        let problem = self.wait_for(&format!("a problem with {name}"), |event| {
            event["event"] == "problem" && event["name"] == name
        });
        problem["why"].as_str().unwrap().to_owned()
    }

    /// Whether an event like this was among those passed over so far.
    pub(crate) fn has_seen(&self, is_it: impl Fn(&Value) -> bool) -> bool {
        self.seen.iter().any(is_it)
    }

    /// The events of a kind that came so far, without waiting.
    pub(crate) fn seen_of(&mut self, kind: &str) -> Vec<Value> {
        self.seen.extend(self.events.try_iter());
        self.seen.iter().filter(|event| event["event"] == kind).cloned().collect()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to end, and waits; its exit status and what it wrote on stderr.
    pub(crate) fn stop(self, signal: Signal) -> (ExitStatus, String) {
        self.signal(signal);
        self.end()
    }

    /// Waits for its end; its exit status and what it wrote on stderr.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + SOON;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "{} does not end; it said {:#?}", self.name, self.seen);
            // The standard library has no wait with a deadline.
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = self.child.wait().unwrap();
        (status, self.stderr.take().unwrap().join().unwrap())
    }

    /// Waits for its end; all that can be said of it.
    pub(crate) fn outcome(mut self) -> Outcome {
        let deadline = Instant::now() + SOON;
        // Its stdout ends with it.
        while let Ok(event) = self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push(event);
        }
        assert!(Instant::now() < deadline, "{} does not end; it said {:#?}", self.name, self.seen);
        let events = std::mem::take(&mut self.seen);
        let (status, stderr) = self.end();
        Outcome { code: status.code(), events, stderr }
    }
}

/// How a program ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) events: Vec<Value>,
    pub(crate) stderr: String,
}

impl Outcome {
    /// The problems that a peer of ours told: names and reasons.
    pub(crate) fn problems(&self) -> BTreeMap<&str, &str> {
        let problems = self.events.iter().filter(|event| event["event"] == "problem");
        problems.map(|event| (event["name"].as_str().unwrap(), event["why"].as_str().unwrap())).collect()
    }

    /// The names of the files that a peer of ours fetched, in that order.
    pub(crate) fn fetched(&self) -> Vec<&str> {
        let fetched = self.events.iter().filter(|event| event["event"] == "fetched");
        fetched.map(|event| event["name"].as_str().unwrap()).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary under test.
pub(crate) fn shoal() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
    command.env_remove("SHOAL_LOG");
    command
}

/// A tracker of ours on a free port of loopback; its port.
pub(crate) fn tracker(args: &[&str]) -> (Program, u16) {
    tracker_at(0, args)
}

/// A tracker of ours on this port.
pub(crate) fn tracker_at(port: u16, args: &[&str]) -> (Program, u16) {
    let mut command = shoal();
    command.args(["tracker", "127.0.0.1", &port.to_string(), "--json"]).args(args);
    let mut tracker = Program::start("the tracker", &mut command);
    let listening = tracker.wait_event("listening");
    (tracker, address_of(&listening).port())
}

fn address_of(listening: &Value) -> SocketAddr {
    listening["address"].as_str().unwrap().parse().unwrap()
}

/// A peer of ours in this folder.
pub(crate) fn sync(name: &str, tracker: u16, folder: &Folder, args: &[&str]) -> Program {
    let mut command = shoal();
    command.args(["sync", "127.0.0.1", &tracker.to_string(), "--json", "--bind", "127.0.0.1", "--dir"]);
    Program::start(name, command.arg(folder.path()).args(args))
}

/// An independent Python peer in this folder, and the port it serves at.
pub(crate) fn python_peer(
    tracker: u16,
    folder: &Folder,
    dialect: &str,
    behaviour: &str,
    args: &[&str],
) -> (Program, u16) {
    let mut command = python("peer.py");
    command.args([
        "127.0.0.1",
        &tracker.to_string(),
        "--dialect",
        dialect,
        "--behaviour",
        behaviour,
        "--dir",
    ]);
    let mut peer =
        Program::start(&format!("the {dialect} {behaviour} peer"), command.arg(folder.path()).args(args));
    let listening = peer.wait_event("listening");
    (peer, port_of(&listening))
}

/// An independent Python tracker, and its port.
pub(crate) fn python_tracker(dialect: &str, behaviour: &str, args: &[&str]) -> (Program, u16) {
    let mut command = python("tracker.py");
    command.args(["0", "--dialect", dialect, "--behaviour", behaviour]).args(args);
    let mut tracker = Program::start(&format!("the {dialect} {behaviour} tracker"), &mut command);
    let listening = tracker.wait_event("listening");
    (tracker, port_of(&listening))
}

fn port_of(event: &Value) -> u16 {
    event["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap()
}

/// One of the Python programs beside the tests.
pub(crate) fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    // Nothing is left beside the scripts.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script));
    command
}

/// A folder that is removed at the end of the test.
pub(crate) struct Folder {
    root: tempfile::TempDir,
}

/// Each plain file of a folder with its mtime in whole seconds and its bytes.
pub(crate) type Contents = BTreeMap<String, (i64, Vec<u8>)>;

impl Folder {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    /// A folder inside another one.
    pub(crate) fn within(outer: &Self) -> Self {
        Self { root: tempfile::tempdir_in(outer.path()).unwrap() }
    }

    /// A folder with these files: name, mtime, bytes.
    pub(crate) fn with(files: &[(&str, u64, &str)]) -> Self {
        let folder = Self::new();
        for (name, mtime, text) in files {
            folder.write(name, *mtime, text.as_bytes());
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Puts a file in place, whole and with its mtime, under the eyes of whoever watches.
    pub(crate) fn write(&self, name: &str, mtime: u64, bytes: &[u8]) {
        // What ends like this is not announced.
        let aside = self.join(".being-written.py");
        fs::write(&aside, bytes).unwrap();
        set_mtime(&aside, mtime);
        fs::rename(&aside, self.join(name)).unwrap();
    }

    /// The plain files, without our state.
    pub(crate) fn contents(&self) -> Contents {
        let entries = fs::read_dir(self.path()).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files
            .map(|entry| {
                let metadata = entry.metadata().unwrap();
                let bytes = fs::read(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), (seconds(metadata.modified().unwrap()), bytes))
            })
            .collect()
    }

    /// The plain files with their mtimes and lengths, where their bytes are too many to be read again and again.
    pub(crate) fn listing(&self) -> BTreeMap<String, (i64, u64)> {
        let entries = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap());
        let files =
            entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap()));
        let files = files.filter(|(_, metadata)| metadata.is_file());
        files
            .map(|(name, metadata)| (name, (seconds(metadata.modified().unwrap()), metadata.len())))
            .collect()
    }

    /// The bytes of the older versions that are kept.
    pub(crate) fn history(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = fs::read_dir(self.join(".shoal/history")) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        let is_version = |path: &PathBuf| path.extension().is_none();
        paths.filter(is_version).map(|path| fs::read(path).unwrap()).collect()
    }

    /// How many files are in staging: fetches that run, or were cut short.
    pub(crate) fn staged(&self) -> usize {
        fs::read_dir(self.join(".shoal/staging")).map_or(0, Iterator::count)
    }
}

/// What a folder should contain: name, mtime, text.
pub(crate) fn contents(files: &[(&str, i64, &str)]) -> Contents {
    files.iter().map(|(name, mtime, text)| ((*name).to_owned(), (*mtime, text.as_bytes().to_vec()))).collect()
}

/// Sets the mtime of a file, in seconds since 1970.
pub(crate) fn set_mtime(path: &Path, mtime: u64) {
    let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(mtime));
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap(),
        Err(before) => {
            -i64::try_from((before.duration() + Duration::from_nanos(999_999_999)).as_secs()).unwrap()
        }
    }
}

/// Waits until something that nobody reports is so; it is looked at every few milliseconds.
pub(crate) fn eventually(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until all folders hold exactly these files.
pub(crate) fn assert_converge(folders: &[&Folder], expected: &Contents, limit: Duration) {
    eventually("all folders are equal", limit, || {
        folders.iter().all(|folder| folder.contents() == *expected)
    });
}

/// Plays a scenario for all cases at the same time, because most of it is waiting; says which ones failed.
pub(crate) fn for_each_at_once<C: Debug + Sync>(cases: &[C], scenario: impl Fn(&C) + Sync) {
    let scenario = &scenario;
    std::thread::scope(|scope| {
        let play = |case| {
            let thread = std::thread::Builder::new().name(format!("{case:?}"));
            (case, thread.spawn_scoped(scope, move || scenario(case)).unwrap())
        };
        let running: Vec<_> = cases.iter().map(play).collect();
        let failed = running.into_iter().filter_map(|(case, thread)| thread.join().is_err().then_some(case));
        let failed: Vec<_> = failed.collect();
        assert!(failed.is_empty(), "failed: {failed:#?}");
    });
}
