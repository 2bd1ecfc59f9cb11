//! What the tests of this crate share.

#[path = "testing/skip.rs"]
pub(crate) mod skip;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tempfile::TempDir;

use self::skip::skip;
use crate::durable::Durability;
use crate::mem::Quirks;
use crate::{
    Committed, Deed, FileTime, FinishedFile, Folder, FolderOptions, Fs, Kept, Name, OpenError, Outcome,
    Placement, Recovered, Stat,
};

/// The ways in which a file system can want to be treated.
pub(crate) const WAYS: [Way; 4] = [
    Way { plain_renames: false, durability: Durability::WholeFileSystem },
    Way { plain_renames: false, durability: Durability::EachFile },
    Way { plain_renames: true, durability: Durability::WholeFileSystem },
    Way { plain_renames: true, durability: Durability::EachFile },
];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) plain_renames: bool,
    pub(crate) durability: Durability,
}

/// The file systems that are tried, by their manners.
pub(crate) fn disks() -> Vec<(&'static str, Quirks)> {
    let whole = Quirks::default();
    let each = Quirks { durability: Durability::EachFile, ..whole.clone() };
    let plain = Quirks { renames_with_flags: false, ..each.clone() };
    vec![
        ("like ext4", whole.clone()),
        ("each file synced", each.clone()),
        ("plain renames, whole syncs", Quirks { renames_with_flags: false, ..whole.clone() }),
        ("plain renames", plain),
        ("like FAT", Quirks::like_fat()),
        ("numbers reused", Quirks { reuses_numbers: true, ..whole }),
        ("names durable at once", Quirks { syncs_directories: false, ..each }),
    ]
}

/// A temporary folder of a user.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.at(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    pub(crate) fn open(&self) -> Folder {
        self.reopen().0
    }

    pub(crate) fn reopen(&self) -> (Folder, Recovered) {
        reopen(self.path())
    }

    pub(crate) fn open_as(&self, way: Way) -> Folder {
        let mut folder = self.open();
        let shared = Arc::get_mut(&mut folder.shared).unwrap();
        shared.durability = way.durability;
        shared.plain_renames.store(way.plain_renames, Ordering::Relaxed);
        folder
    }

    /// What lies in `.shoal/staging`.
    pub(crate) fn staged(&self) -> Vec<String> {
        names_in(&self.at(".shoal/staging"))
    }
}

/// Opens a folder that this process has closed. Another test that starts a program just then hands the lock on to it
/// until the program runs, a moment later.
pub(crate) fn reopen(path: &Path) -> (Folder, Recovered) {
    const TRIES: u32 = 10_000_000;
    for _ in 0..TRIES {
        match Folder::open(path, &FolderOptions::default()) {
            Err(OpenError::Served { process, .. }) if process == Some(std::process::id()) => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
    panic!("{} stays locked by this process", path.display());
}

pub(crate) fn names_in(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn secs(secs: i64) -> FileTime {
    FileTime { secs, nanos: 0 }
}

pub(crate) fn stage<F: Fs>(
    folder: &Folder<F>,
    to: &str,
    content: &str,
    replacing: Option<&Stat>,
) -> FinishedFile<F> {
    let mut file = folder.staging().create(&name(to), Some(content.len() as u64)).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file.finish(secs(1_700_000_000), replacing).unwrap()
}

/// A fetched file on its way to a name, planned against what is there now.
pub(crate) fn placement<F: Fs>(folder: &Folder<F>, to: &str, content: &str) -> Placement<F> {
    let present = folder.stat(&name(to)).unwrap();
    let deed = present.map_or(Deed::Create, Deed::Replace);
    Placement { staged: stage(folder, to, content, present.as_ref()), deed, by: "192.0.2.7:9001".into() }
}

pub(crate) fn commit_one<F: Fs>(folder: &Folder<F>, placement: Placement<F>) -> Outcome {
    let mut committed = folder.committer().commit(vec![placement]);
    assert_eq!(committed.len(), 1);
    committed.remove(0).outcome
}

pub(crate) fn all_placed(committed: &[Committed]) -> bool {
    committed.iter().all(|committed| matches!(committed.outcome, Outcome::Placed { .. }))
}

/// The versions in history, as (name, content), oldest first.
pub(crate) fn versions<F: Fs>(folder: &Folder<F>) -> Vec<(String, String)> {
    let read = |kept: &Kept| {
        let name = kept.name.as_ref().map_or_else(|| "?".into(), ToString::to_string);
        let content = std::io::read_to_string(folder.history().open(kept.number).unwrap()).unwrap();
        (name, content)
    };
    folder.history().list().unwrap().iter().map(read).collect()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs one test of this binary again as a user without rights, because root may do everything.
pub(crate) fn as_nobody(test: &str) {
    const NOBODY: u32 = 65_534;
    let program = std::env::current_exe().unwrap();
    let run = Command::new(program).args(["--exact", test, "--nocapture"]).uid(NOBODY).gid(NOBODY).output();
    match run {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
        }
        Err(error) => skip(test, &format!("cannot run as another user: {error}")),
    }
}

/// A small file system in memory, mounted while this lives; `None`, and a counted skip, where we may not mount.
pub(crate) struct Mount(TempDir);

impl Mount {
    pub(crate) fn tmpfs(what: &str, options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let run = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(dir.path()).output();
        match run {
            Ok(output) if output.status.success() => Some(Self(dir)),
            Ok(output) => {
                skip(what, &String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                skip(what, &format!("cannot start mount: {error}"));
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
