//! A daemon that a test plays: a real control socket, and answers from a script.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shoal_daemon::control::report::Happening;
use shoal_daemon::control::types::Code;
use shoal_daemon::control::{Answering, Diary, Failure, Request, Response, Server, Service};
use shoal_daemon::home::{Environment, Home};
use shoal_daemon::registry::Registry;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::{SOON, shoal};

/// The text of the invites that it gives; not a real one.
pub(super) const INVITE_TEXT: &str = "shoal1invite";

/// The id of its one share.
pub(super) fn share_id() -> String {
    "umghbvwzlxlgoxszxhhi2tpqndiibaw34nhuhpvv2i7yf5heh2fq".into()
}

/// An invite that can be read: to that share, and never used up in time.
pub(super) fn real_invite() -> String {
    include_str!("invite.txt").trim().into()
}

/// What a daemon answers, and what it was asked.
pub(super) struct Played {
    share: Value,
    /// What the directory of the share is, once there is one.
    directory: Mutex<PathBuf>,
    asked: Mutex<Vec<Value>>,
    diary: Diary,
}

impl Default for Played {
    fn default() -> Self {
        let share = json!({
            "share": share_id(), "name": "notes", "directory": "/", "role": "admin", "is_paused": false,
            "phase": "live", "is_in_sync": true, "is_busy": false, "holds": {"files": 2, "bytes": 2048},
            "to_go": {"files": 0, "bytes": 0}, "bytes_in_per_second": 0, "bytes_out_per_second": 0, "members": 2,
            "peers": [{"device": device('b'), "name": "ben", "address": null, "state": "in-sync"}],
            "problems": [], "more_problems": 0, "history": {"files": 0, "bytes": 0}, "late_edits": [],
            "restores": [], "watch": {"is_ready": true, "watched": 1, "polled": 0},
        });
        Self { share, directory: Mutex::default(), asked: Mutex::default(), diary: Diary::new(1 << 20) }
    }
}

fn device(letter: char) -> String {
    letter.to_string().repeat(51) + "a"
}

impl Played {
    /// The same, whose share has these fields.
    pub(super) fn with_share(mut self, change: &Value) -> Self {
        for (key, value) in change.as_object().unwrap() {
            self.share[key] = value.clone();
        }
        self
    }

    fn share(&self) -> Value {
        let mut share = self.share.clone();
        share["directory"] = json!(*self.directory.lock().unwrap());
        share
    }

    fn answer(&self, request: &Value) -> Result<Value, Failure> {
        let when = "2026-11-23T19:44:00Z";
        let kept = |number: u64, path: &str, why: &str| {
            json!({"number": number, "path": path, "size": 2048, "mtime": when, "when": when, "by": device('b'),
                   "why": why, "is_late": false})
        };
        let versions = [kept(8, "d/a\u{202e}.txt", "deleted"), kept(5, "b", "replaced")];
        let given = |terms: &Value| {
            json!({"invite": INVITE_TEXT, "key": device('c'), "role": terms["role"], "uses": terms["uses"],
                   "not_after": when, "addresses": ["192.0.2.1:4242"], "trackers": []})
        };
        let (name, wish) = request.as_object().unwrap().iter().next().unwrap();
        let is_in_sync = &self.share["is_in_sync"];
        Ok(match name.as_str() {
            "list-shares" => json!({"shares": [self.share()]}),
            "get-status" => json!({"status": {
                "agent": "shoal", "device": device('b'), "name": "ana", "pid": 1, "listening": [], "trackers": [],
                "shares": [self.share()], "is_in_sync": is_in_sync,
                "events": self.diary.position(),
            }}),
            "share" | "join" => {
                let mut shared = self.share();
                shared["is_new"] = true.into();
                shared["directory"] = wish["directory"].clone();
                if name == "share" {
                    shared["invite"] = given(&wish["invite"]);
                }
                json!({"shared": shared})
            }
            "invite" => json!({"invited": given(&wish["terms"])}),
            "list-devices" => {
                let member = |letter, name: &str| {
                    json!({"device": device(letter), "name": name, "role": "writer", "added_by": null, "is_this": false,
                           "peer": null, "address": null, "last_seen": null})
                };
                let devices = [member('b', "ben"), member('e', "ev\u{1b}[2Jil")];
                json!({"devices": {"devices": devices, "invites": []}})
            }
            "explain" => {
                let head = json!({"kind": "file", "size": 2048, "mtime": when, "content": device('d'), "by": device('b')});
                json!({"explained": {"path": wish["path"], "is_settled": false, "here": null, "heads": [head],
                    "cause": {"cause": "no-source", "is_settled": false}, "lacking": []}})
            }
            "list-history" => json!({"history": {"versions": versions, "more": false}}),
            "undo" => json!({"undone": {"versions": versions, "more": 0, "refused": []}}),
            "restore" if wish["number"] == 404 => {
                return Err(Failure::new(Code::NotFound, "there is no version 404")
                    .with_hint("`shoal history` lists them"));
            }
            "restore" if wish["number"] == 5 => json!({"restored": {"waiting": {}}}),
            "restore" => json!({"restored": {"done": {"path": "x"}}}),
            "revert" => {
                let change = |path: &str, change: &str| json!({"path": path, "change": change, "here": null});
                let is_halted = wish["path"] == "halted";
                let (cause, more) = if is_halted { ("local-difference", 12_000) } else { ("no-source", 0) };
                let left = match wish["dry_run"] == true || wish["path"] == "d" {
                    true => json!([]),
                    false => json!([{"path": "b", "cause": cause, "is_settled": false}]),
                };
                let why = is_halted.then_some("others have deleted 20 of 26 contents");
                let changes = [change("b", "deleted"), change("d/a\u{202e}.txt", "added")];
                json!({"reverted": {"changes": changes, "more": more, "hash": "00ff", "left": left, "why": why}})
            }
            "list-conflicts" => json!({"conflicts": []}),
            "get-ignore" => json!({"ignore": {"is_offered": false, "rules": null}}),
            "rescan" => json!({"rescanned": {"is_done": wish["wait"], "looked": 3, "changed": 1}}),
            "wait" => json!({"waited": {"is_in_sync": is_in_sync, "not_in_sync": [share_id()]}}),
            "leave" => json!({"left": {"remains": ["cannot remove /home/x.roster: Is a directory"]}}),
            "reload" => json!({"reloaded": {"changed": [], "at_restart": []}}),
            _ => json!({"done": {}}),
        })
    }
}

impl Service for Played {
    fn handle(&self, request: Request) -> Answering<'_> {
        let request = serde_json::to_value(&request).unwrap();
        let answer = self.answer(&request);
        self.asked.lock().unwrap().push(request);
        let response = answer.map(|answer| serde_json::from_value::<Response>(answer).unwrap());
        Box::pin(async move { response })
    }

    fn diary(&self) -> &Diary {
        &self.diary
    }
}

/// A home with a daemon that listens.
pub(super) struct World {
    played: Arc<Played>,
    root: TempDir,
    home: Home,
    /// Last: it ends the daemon.
    _runtime: Runtime,
}

impl World {
    pub(super) fn new(played: Played) -> Self {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("home");
        let home = Home::find(Some(&state), &Environment::default()).unwrap();
        let held = home.hold().unwrap();
        // As a real daemon would.
        Registry::load(&held).unwrap();
        let notes = root.path().canonicalize().unwrap().join("notes");
        std::fs::create_dir(&notes).unwrap();
        *played.directory.lock().unwrap() = notes;
        let played = Arc::new(played);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let service: Arc<dyn Service> = Arc::<Played>::clone(&played);
        let guard = runtime.enter();
        let server = Server::bind(&held).unwrap();
        drop(guard);
        runtime.spawn(async move {
            server.serve(service, std::future::pending()).await;
            drop(held);
        });
        Self { played, root, home, _runtime: runtime }
    }

    /// A folder that is there.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        let path = self.root.path().canonicalize().unwrap().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// The home of this daemon.
    pub(super) fn home(&self) -> &Path {
        self.home.state()
    }

    /// A command that asks this daemon.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = shoal();
        command.args(args).env("SHOAL_HOME", self.home()).current_dir(self.root.path());
        command.stdin(std::process::Stdio::null());
        command
    }

    /// All that was asked of it so far.
    pub(super) fn asked(&self) -> Vec<Value> {
        self.played.asked.lock().unwrap().clone()
    }

    /// Notes that something happened to the share.
    pub(super) fn note(&self, event: &str) {
        let happening: Happening = serde_json::from_value(json!({ "event": event })).unwrap();
        let status: Value = self.played.answer(&json!({"list-shares": {}})).unwrap();
        let share = serde_json::from_value::<Response>(status).unwrap();
        let Response::Shares(shares) = share else { panic!("shares are shares") };
        self.played.diary.note(Some(shares[0].share.0), happening);
    }

    /// Waits until a command has asked for the names that it needs to follow events.
    pub(super) fn wait_until_followed(&self) {
        let deadline = Instant::now() + SOON;
        while !self.asked().contains(&json!({"list-shares": {}})) {
            assert!(Instant::now() < deadline, "nobody follows");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
