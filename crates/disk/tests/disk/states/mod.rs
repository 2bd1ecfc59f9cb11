//! Rows of docs/bad-input.md, E, on the file system of this machine, through the worker that the engine has.

mod moments;
mod things;
mod values;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use shoal_disk::{Folder, FolderOptions, Worker};
use shoal_engine::disk::{Answer, Change, ChangeDeed, Committed, Job, Look, Seen, Sweep, Take, Taken};
use shoal_engine::history::Why;
use shoal_proto::path::RelPath;
use shoal_proto::record::Kind;
use tempfile::TempDir;

use crate::skip::skip;
use crate::workload::{content_of, look, path, place_file};

/// A share with its worker.
struct Share {
    worker: Worker,
    folder: Folder,
    place: TempDir,
}

impl Share {
    /// On the file system for temporary files.
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(place: TempDir) -> Self {
        let (folder, _) = Folder::open(place.path(), &FolderOptions::default()).unwrap();
        Self { worker: Worker::new(&folder), folder, place }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.place.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn look(&self, at: &str) -> Look {
        look(&self.worker, at).unwrap()
    }

    fn seen(&self, at: &str) -> Option<Seen> {
        match self.look(at) {
            Look::Seen(seen) => Some(seen),
            _ => None,
        }
    }

    fn take(&self, at: &str) -> Taken {
        self.take_as(at, self.seen(at))
    }

    fn take_as(&self, at: &str, seen: Option<Seen>) -> Taken {
        if let Some(seen) = &seen {
            self.wait_until_past(seen);
        }
        match self.worker.perform(Job::Take(vec![Take::new(path(at), seen)])) {
            Answer::Taken(mut taken) => taken.remove(0),
            other => panic!("{at}: {other:?}"),
        }
    }

    /// What has changed within the present tick of the file system's clock is not taken yet (E5).
    fn wait_until_past(&self, seen: &Seen) {
        let clock = self.path(".shoal/lock");
        let now = || {
            fs::set_permissions(&clock, fs::Permissions::from_mode(0o600)).unwrap();
            let now = fs::metadata(&clock).unwrap();
            (now.ctime(), now.ctime_nsec())
        };
        while now() <= (seen.ctime.seconds, seen.ctime.nanos().into()) {
            std::thread::yield_now();
        }
    }

    fn commit(&self, at: &str, deed: ChangeDeed) -> Committed {
        match self.worker.perform(Job::Commit(vec![Change {
            path: path(at),
            deed,
            by: None,
            why: Why::Unknown,
        }])) {
            Answer::Committed(mut committed) => committed.remove(0),
            other => panic!("{at}: {other:?}"),
        }
    }

    fn place(&self, at: &str, text: &str, over: Option<Seen>) -> Committed {
        let stage = u64::from_le_bytes(blake3::hash(at.as_bytes()).as_bytes()[..8].try_into().unwrap());
        match place_file(&self.worker, stage, text, over) {
            Some(deed) => self.commit(at, deed),
            None => Committed::NotStaged,
        }
    }

    /// Everything that a sweep tells, in pages.
    fn sweep(&self, at_most: usize) -> Vec<(RelPath, Look)> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let sweep = Sweep { after: after.clone(), at_most, ..Sweep::default() };
            let Answer::Swept { entries, is_end } = self.worker.perform(Job::Sweep(sweep)) else {
                panic!("the folder can be read")
            };
            after = entries.last().map(|(path, _)| path.clone());
            found.extend(entries);
            if is_end {
                return found;
            }
        }
    }

    fn kept(&self) -> Vec<String> {
        let history = self.folder.history();
        let kept = history.list().unwrap();
        kept.iter().map(|kept| std::io::read_to_string(history.open(kept.number).unwrap()).unwrap()).collect()
    }

    fn staged(&self) -> usize {
        fs::read_dir(self.path(".shoal/staging")).unwrap().count()
    }
}

fn is_done(committed: &Committed) -> bool {
    matches!(committed, Committed::Done { .. })
}

/// The content that a file was taken with.
fn content(taken: &Taken) -> Option<Kind> {
    match taken {
        Taken::Here { here, .. } => Some(here.version.kind.clone()),
        _ => None,
    }
}

fn file(text: &str) -> Kind {
    Kind::File { size: text.len() as u64, content: content_of(text.as_bytes()) }
}

/// Runs a test of this program as a user without rights; a skip, if that cannot be.
fn as_nobody(what: &str, test: &str) {
    const NOBODY: u32 = 65_534;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).uid(NOBODY).gid(NOBODY);
    match command.output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
        }
        Err(error) => skip(what, &format!("cannot run this program as another user: {error}")),
    }
}
