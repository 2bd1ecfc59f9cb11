//! A little of everything that a share's disk is asked for, and what must hold whatever became of it.
//!
//! [`make_folder_of_user`] is the folder before, [`work`] the jobs, [`check`] what must be so after anything at all (I3, I8, I17), and
//! [`finish`] shows that what was not done can be done then.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use shoal_disk::{Folder, FolderOptions, Fs, Kind as DiskKind, OpenError, Recovered, Worker};
use shoal_engine::disk::{
    Answer, Change, ChangeDeed, Committed, Job, Look, Seen, Source, StageId, Sweep, Take, Taken, Write,
    Written,
};
use shoal_engine::history::Why;
use shoal_proto::hash::{ContentId, SegmentId};
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Mode, Timestamp, Version};
use shoal_proto::segment::{ListHasher, Segment};
use tempfile::TempDir;

/// What the user has: `Ok` is a file's text, `Err` a link's target; folders end with a slash.
const OLD: [(&str, Result<&str, &str>); 11] = [
    ("a/", Ok("")),
    ("a/bystander", Ok("bystander")),
    ("a/replaced", Ok("replaced, old")),
    ("a/touched", Ok("touched")),
    ("a/linked", Err("linked, old")),
    ("a/removed", Ok("removed, old")),
    ("a/file to folder", Ok("file to folder, old")),
    ("a/folder to file/", Ok("")),
    ("gone/", Ok("")),
    ("moved", Ok("moved, old")),
    ("taken", Ok("taken")),
];

/// What others want.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    File(&'static str),
    Link(&'static str),
    Folder(&'static str),
    Touch(&'static str),
    Remove(&'static str),
    Move(&'static str, &'static str),
}

use Step::{File, Link, Move, Remove, Touch};

pub(crate) const STEPS: [Step; 10] = [
    Step::Folder("made"),
    File("made/new"),
    File("a/replaced"),
    Link("a/linked"),
    Step::Folder("a/file to folder"),
    File("a/folder to file"),
    Touch("a/touched"),
    Move("moved", "made/moved"),
    Remove("a/removed"),
    Remove("gone"),
];

/// When what comes from others was made.
const THEIRS: (i64, u32) = (1_600_000_000, 123_456_789);
const MODE: u32 = 0o640;

/// A temporary folder in memory, if there is a file system for that: what is done in it waits for no disk.
pub(crate) fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn make_folder_of_user(at: &Path) {
    for (path, content) in OLD {
        let path = at.join(path);
        match content {
            Ok(_) if path.as_os_str().as_bytes().ends_with(b"/") => fs::create_dir(path).unwrap(),
            Ok(text) => {
                fs::write(&path, text).unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
            }
            Err(target) => symlink(target, path).unwrap(),
        }
    }
}

/// Performs the steps, in one batch or one by one, with looks before and after; the steps that are said to be done.
///
/// # Panics
/// If an answer is not true: errors may be told, and nothing else.
pub(crate) fn work<F: Fs>(fs: &F, at: &Path, in_one: bool) -> Vec<Step> {
    let Ok((folder, _)) = Folder::open_on(fs, at, &FolderOptions::default()) else { return Vec::new() };
    let worker = Worker::new(&folder);
    take(&worker);
    let mut done = Vec::new();
    let batches: Vec<&[Step]> = if in_one { vec![&STEPS] } else { STEPS.chunks(1).collect() };
    for (number, steps) in batches.into_iter().enumerate() {
        let (steps, changes): (Vec<_>, Vec<_>) = steps
            .iter()
            .enumerate()
            .filter_map(|(at, step)| Some((*step, change(&worker, *step, (number * 100 + at) as u64)?)))
            .unzip();
        if let Answer::Committed(committed) = worker.perform(Job::Commit(changes)) {
            let answers = steps.into_iter().zip(committed);
            done.extend(
                answers.filter(|(_, how)| matches!(how, Committed::Done { .. })).map(|(step, _)| step),
            );
        }
    }
    sweep(&worker);
    done
}

/// Only opens the folder.
pub(crate) fn start(at: &Path) -> Vec<Step> {
    drop(Folder::open(at, &FolderOptions::default()));
    Vec::new()
}

/// What the user has is named as it is or not at all (E20).
fn take<F: Fs>(worker: &Worker<F>) {
    let Some(Look::Seen(seen)) = look(worker, "taken") else { return };
    match worker
        .perform(Job::Take(vec![Take::new(path("taken"), Some(seen)), Take::new(path("never"), None)]))
    {
        Answer::Taken(taken) => {
            let content = |taken: &Taken| match taken {
                Taken::Here { here, .. } => Some(here.version.kind.clone()),
                Taken::Unknown(_) => None,
                other => panic!("taken as {other:?}"),
            };
            let named = Kind::File { size: 5, content: content_of(b"taken") };
            assert!(content(&taken[0]).is_none_or(|kind| kind == named), "{taken:?}");
            assert!(matches!(taken[1], Taken::Nothing | Taken::Unknown(_)), "{taken:?}");
        }
        other => assert!(matches!(other, Answer::Failed(_)), "{other:?}"),
    }
}

/// Nothing that is there is passed over in silence (E20).
fn sweep<F: Fs>(worker: &Worker<F>) {
    let (mut after, mut found, mut unknown) = (None, Vec::new(), false);
    loop {
        match worker.perform(Job::Sweep(Sweep { after: after.clone(), at_most: 3, ..Sweep::default() })) {
            Answer::Swept { entries, is_end } => {
                unknown |= entries.iter().any(|(_, look)| matches!(look, Look::Unknown(_)));
                after = entries.last().map(|(path, _)| path.clone());
                found.extend(entries.into_iter().map(|(path, _)| path));
                if is_end {
                    break;
                }
            }
            other => {
                assert!(matches!(other, Answer::Failed(_)), "{other:?}");
                return;
            }
        }
    }
    let kept = ["a", "a/bystander", "a/replaced", "a/touched", "taken"].map(path);
    let is_known = unknown || kept.iter().all(|path| found.contains(path));
    assert!(is_known, "found only {found:?}");
}

/// The step as a change that is planned against what is there now, its bytes staged; `None` if that fails.
fn change<F: Fs>(worker: &Worker<F>, step: Step, stage: u64) -> Option<Change> {
    let (File(at) | Link(at) | Step::Folder(at) | Touch(at) | Remove(at) | Move(at, _)) = step;
    let over = match look(worker, at)? {
        Look::Seen(seen) => Some(seen),
        Look::Nothing => None,
        Look::Unknown(_) | Look::Ignored => return None,
    };
    let (mtime, mode) = (Timestamp::new(THEIRS.0, THEIRS.1).unwrap(), Mode::from_bits(MODE));
    let deed = match step {
        File(_) => place_file(worker, stage, &new_text(at), over)?,
        Link(_) => {
            let kind = Kind::Symlink { target: b"linked, new".as_slice().into() };
            ChangeDeed::Place { version: Version::new(kind, mtime, mode), stage: None, over }
        }
        Step::Folder(_) => ChangeDeed::MakeFolder { mode: Mode::from_bits(0o755), over },
        Touch(_) => ChangeDeed::Retouch { present: over?, mtime: Some(mtime), mode },
        Remove(_) => ChangeDeed::Remove(over?),
        Move(_, to) => ChangeDeed::Move { to: path(to), present: over? },
    };
    Some(Change { path: path(at), deed, by: None, why: Why::Unknown })
}

/// A file of one segment, staged, to be put into place.
pub(crate) fn place_file<F: Fs>(
    worker: &Worker<F>,
    stage: u64,
    text: &str,
    over: Option<Seen>,
) -> Option<ChangeDeed> {
    let (mtime, mode) = (Timestamp::new(THEIRS.0, THEIRS.1)?, Mode::from_bits(MODE));
    put(worker, stage, text.as_bytes())?;
    let kind = Kind::File { size: text.len() as u64, content: content_of(text.as_bytes()) };
    Some(ChangeDeed::Place { version: Version::new(kind, mtime, mode), stage: Some(StageId(stage)), over })
}

fn put<F: Fs>(worker: &Worker<F>, stage: u64, bytes: &[u8]) -> Option<()> {
    let write = Write {
        stage: StageId(stage),
        size: bytes.len() as u64,
        offset: 0,
        segment: segment(bytes),
        from: Source::Bytes(vec![bytes.into()]),
    };
    match worker.perform(Job::Write(vec![write])) {
        Answer::Written(written) if written == [Written::Done] => Some(()),
        _ => None,
    }
}

pub(crate) fn look<F: Fs>(worker: &Worker<F>, at: &str) -> Option<Look> {
    match worker.perform(Job::Look(vec![path(at)])) {
        Answer::Looked(mut looks) => looks.pop(),
        _ => None,
    }
}

/// Does what is not done yet; all of it must go well.
pub(crate) fn finish(at: &Path, context: &str) {
    let (folder, _) = reopen(at, context);
    let worker = Worker::new(&folder);
    for (stage, step) in STEPS.into_iter().enumerate() {
        if Sight::new(at).is_after(step) {
            continue;
        }
        let planned = change(&worker, step, 1_000 + stage as u64).expect(context);
        match worker.perform(Job::Commit(vec![planned])) {
            Answer::Committed(committed) if matches!(committed[..], [Committed::Done { .. }]) => {}
            other => panic!("{context}: {step:?} again: {other:?}"),
        }
    }
    let sight = Sight::new(at);
    for step in STEPS {
        assert!(sight.is_after(step), "{context}: {step:?} at the end");
    }
}

/// What must hold after anything at all, once the folder was opened again; `done` is what was said to be done.
/// Where renames know no flags, `may_be_between`: what goes from a file to a folder or back can be nobody's for a moment.
pub(crate) fn check(at: &Path, done: &[Step], may_be_between: bool, context: &str) {
    let (folder, recovered) = reopen(at, context);
    assert!(recovered.problems.is_empty(), "{context}: {recovered:?}");
    let sight = Sight::new(at);
    for step in STEPS {
        let is_between = may_be_between && sight.is_between(step);
        let holds = is_between || sight.is_before(step) || sight.is_after(step);
        assert!(holds, "{context}: {step:?}: {:?}", sight.tree);
        assert!(!done.contains(&step) || sight.is_after(step), "{context}: {step:?} was said to be done");
    }
    let history = folder.history();
    let kept: Vec<_> = history
        .list()
        .expect(context)
        .into_iter()
        .map(|kept| {
            let bytes = match kept.kind {
                DiskKind::Symlink => history.read_link(kept.number).unwrap().into_encoded_bytes(),
                _ => std::io::read_to_string(history.open(kept.number).unwrap()).unwrap().into_bytes(),
            };
            (kept.name.map_or_else(|| "?".into(), |name| name.to_string()), bytes)
        })
        .collect();
    for (path, content) in OLD.iter().filter(|(path, _)| !path.ends_with('/')) {
        let (Ok(text) | Err(text)) = content;
        let is_there = sight.tree.values().any(|thing| thing.bytes == text.as_bytes());
        let is_kept = kept.contains(&((*path).into(), text.as_bytes().into()));
        assert!(is_there || is_kept, "{context}: {path} is lost; there is {:?}, kept {kept:?}", sight.tree);
    }
    for same in ["a/bystander", "taken"] {
        assert!(sight.is_old(same), "{context}: {same}");
    }
    let staged = fs::read_dir(at.join(".shoal/staging")).unwrap().count();
    assert_eq!(staged, 0, "{context}: staging is not clean");
    drop((history, folder));
    let (_, again) = reopen(at, context);
    assert!(again.restored.is_empty() && again.removed == 0, "{context}: a second start: {again:?}");
}

/// Opens a folder that this process has closed. Another thread that starts a program just then hands the lock on to it
/// until the program runs, a moment later.
fn reopen(at: &Path, context: &str) -> (Folder, Recovered) {
    for _ in 0..10_000_000 {
        match Folder::open(at, &FolderOptions::default()) {
            Err(OpenError::Served { process, .. }) if process == Some(std::process::id()) => {
                std::thread::yield_now();
            }
            opened => return opened.expect(context),
        }
    }
    panic!("{context}: stays locked by this process")
}

/// One thing in the folder.
struct Thing {
    kind: u8,
    bytes: Vec<u8>,
    mode: u32,
    mtime: (i64, i64),
}

impl fmt::Debug for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes);
        write!(f, "{} {:o} {}", char::from(self.kind), self.mode, text.lines().next().unwrap_or_default())
    }
}

/// What anybody sees in the folder.
struct Sight {
    tree: BTreeMap<String, Thing>,
}

impl Sight {
    fn new(at: &Path) -> Self {
        let mut tree = BTreeMap::new();
        Self::collect(at, "", &mut tree);
        Self { tree }
    }

    fn collect(at: &Path, above: &str, tree: &mut BTreeMap<String, Thing>) {
        for entry in fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{above}{}", entry.file_name().to_str().unwrap());
            let seen = entry.metadata().unwrap();
            let (kind, bytes) = match seen.file_type() {
                _ if path == ".shoal" => continue,
                kind if kind.is_symlink() => {
                    (b'>', fs::read_link(entry.path()).unwrap().into_os_string().into_encoded_bytes())
                }
                kind if kind.is_dir() => (b'/', Vec::new()),
                _ => (b'f', fs::read(entry.path()).unwrap()),
            };
            if kind == b'/' {
                Self::collect(&entry.path(), &format!("{path}/"), tree);
            }
            let thing =
                Thing { kind, bytes, mode: seen.mode() & 0o7777, mtime: (seen.mtime(), seen.mtime_nsec()) };
            tree.insert(path, thing);
        }
    }

    fn has(&self, path: &str, kind: u8, bytes: &str) -> bool {
        self.tree.get(path).is_some_and(|thing| thing.kind == kind && thing.bytes == bytes.as_bytes())
    }

    fn is_old(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        match OLD.iter().find(|(name, _)| *name == path || *name == folder) {
            None => !self.tree.contains_key(path),
            Some((name, _)) if name.ends_with('/') => self.has(path, b'/', ""),
            Some((_, Ok(text))) => self.has(path, b'f', text),
            Some((_, Err(target))) => self.has(path, b'>', target),
        }
    }

    fn is_before(&self, step: Step) -> bool {
        match step {
            Move(from, to) => self.is_old(from) && !self.tree.contains_key(to),
            File(at) | Link(at) | Step::Folder(at) | Touch(at) | Remove(at) => self.is_old(at),
        }
    }

    fn is_between(&self, step: Step) -> bool {
        match step {
            File(at @ "a/folder to file") | Step::Folder(at @ "a/file to folder") => {
                !self.tree.contains_key(at)
            }
            _ => false,
        }
    }

    fn is_after(&self, step: Step) -> bool {
        let is_theirs = |at: &str| {
            let theirs = (MODE, (THEIRS.0, i64::from(THEIRS.1)));
            self.tree.get(at).is_some_and(|thing| (thing.mode, thing.mtime) == theirs)
        };
        match step {
            File(at) => self.has(at, b'f', &new_text(at)) && is_theirs(at),
            Link(at) => self.has(at, b'>', "linked, new"),
            Step::Folder(at) => self.has(at, b'/', ""),
            Touch(at) => self.is_old(at) && is_theirs(at),
            Remove(at) => !self.tree.contains_key(at),
            Move(from, to) => self.has(to, b'f', "moved, old") && !self.tree.contains_key(from),
        }
    }
}

fn new_text(at: &str) -> String {
    format!("{at}, new\n").repeat(500)
}

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn segment(bytes: &[u8]) -> Segment {
    let id = SegmentId::from_bytes(*blake3::hash(bytes).as_bytes());
    Segment { id, length: u32::try_from(bytes.len()).unwrap() }
}

/// The content of what is one segment.
pub(crate) fn content_of(bytes: &[u8]) -> ContentId {
    let mut list = ListHasher::new();
    list.push(segment(bytes)).unwrap();
    list.finish().content
}

/// What a step is called between processes.
pub(crate) fn name_of(step: Step) -> String {
    format!("{step:?}")
}
