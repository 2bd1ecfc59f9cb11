//! A batch with every deed in it, in nested folders, on a disk in memory that stops, fails, fills up or loses power at
//! every single call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use shoal_proto::path::RelPath;

use super::*;
use crate::mem::{MemDisk, Quirks, Seen, Trouble};
use crate::testing::{disks, secs};
use crate::{FileTime, Folder, FolderOptions, Kind, Recovered};

/// How many power cuts are tried after each call.
const SEEDS: u64 = 3;

/// When the peers' versions were made.
const THEIRS: FileTime = FileTime { secs: 1_600_000_000, nanos: 0 };

/// What the user has, by path: `Ok` is a file's bytes, `Err` a link's target; folders end with a slash.
const OLD: [(&str, Result<&str, &str>); 21] = [
    ("a/", Ok("")),
    ("a/deep/", Ok("")),
    ("a/deep/nest/", Ok("")),
    ("a/bystander", Ok("bystander")),
    ("a/deep/nest/replaced", Ok("replaced, old")),
    ("a/deep/nest/touched", Ok("touched")),
    ("a/deep/link", Err("link, old")),
    ("a/deep/link removed", Err("link removed, old")),
    ("a/removed", Ok("removed, old")),
    ("a/linked", Ok("linked, old")),
    ("a/file to folder", Ok("file to folder, old")),
    ("a/folder to file/", Ok("")),
    ("emptied/", Ok("")),
    ("emptied/taken", Ok("taken, old")),
    ("from/", Ok("")),
    ("from/moved", Ok("moved, old")),
    ("from/tree/", Ok("")),
    ("from/tree/x", Ok("tree x, old")),
    ("gone/", Ok("")),
    ("gone/sub/", Ok("")),
    ("gone/sub/inner", Ok("inner, old")),
];

/// One deed of the batch.
#[derive(Clone, Copy, Debug)]
enum Plan {
    File(&'static str),
    Link(&'static str),
    Folder(&'static str),
    Touch(&'static str),
    Remove(&'static str),
    Move(&'static str, &'static str),
}

use Plan::{File, Link, Move, Remove, Touch};

const BATCH: [Plan; 23] = [
    Plan::Folder("a/file to folder"),
    Plan::Folder("made"),
    Plan::Folder("made/in"),
    File("made/in/new"),
    File("a/file to folder/new"),
    File("new"),
    Link("a/new link"),
    File("a/deep/nest/replaced"),
    Link("a/deep/link"),
    File("a/folder to file"),
    Touch("a/deep/nest/touched"),
    Touch("a/deep/nest"),
    Move("from/moved", "made/in/moved"),
    Move("from/tree", "made/tree"),
    Move("emptied/taken", "made/taken"),
    File("emptied"),
    Remove("a/removed"),
    Remove("a/linked"),
    Remove("a/deep/link removed"),
    Remove("gone/sub/inner"),
    Remove("gone/sub"),
    Remove("gone"),
    Remove("from"),
];

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn at(path: &str) -> String {
    format!("/f/{path}")
}

fn old_bytes(path: &str) -> Option<&'static [u8]> {
    OLD.iter().find(|(name, _)| *name == path).and_then(|(_, content)| content.ok()).map(str::as_bytes)
}

fn new_text(path: &str) -> String {
    format!("{path}, new").repeat(200)
}

/// A disk on which the user has made everything, durably.
fn disk(quirks: &Quirks) -> MemDisk {
    let disk = MemDisk::new(quirks.clone());
    let user = disk.user();
    disk.set_time(secs(1_500_000_000));
    user.make_dir("/f").unwrap();
    for (name, content) in OLD {
        match content {
            _ if name.ends_with('/') => user.make_dir(at(name).trim_end_matches('/')).unwrap(),
            Ok(bytes) => user.write(&at(name), bytes).unwrap(),
            Err(target) => user.symlink(target, &at(name)).unwrap(),
        }
    }
    // Fails on disks without links, where it is a file like any other.
    let _ = user.link("/f/a/linked", "/other name");
    disk.sync();
    disk.set_time(secs(1_700_000_000));
    disk
}

fn open(disk: &MemDisk) -> Option<Folder<MemDisk>> {
    Folder::open_on(disk, Path::new("/f"), &FolderOptions::default()).ok().map(|(folder, _)| folder)
}

fn reopen(disk: &MemDisk) -> (Folder<MemDisk>, Recovered) {
    Folder::open_on(disk, Path::new("/f"), &FolderOptions::default()).unwrap()
}

/// Plans against what is there now; `None` if that fails.
fn change(folder: &Folder<MemDisk>, plan: Plan) -> Option<Change<MemDisk>> {
    let (tree, staging) = (folder.tree(), folder.staging());
    let here = |at: &str| match tree.look(&path(at)) {
        Ok(seen) => Some(seen.map(|seen| seen.expected())),
        // In a folder that is still to be made.
        Err(crate::LookError::Barred(_)) => Some(None),
        Err(crate::LookError::Io { .. }) => None,
    };
    let (File(name) | Link(name) | Plan::Folder(name) | Touch(name) | Remove(name) | Move(name, _)) = plan;
    let over = here(name)?;
    let place = |staged| match over {
        None => TreeDeed::Create(staged),
        Some(over) => TreeDeed::Replace(staged, over),
    };
    let deed = match plan {
        File(_) => {
            let text = new_text(name);
            let mut file = staging.create_at(&path(name), Some(text.len() as u64)).ok()?;
            file.write_all(text.as_bytes()).ok()?;
            place(file.finish_as(THEIRS, 0o640).ok()?)
        }
        Link(_) => place(staging.symlink_at(&path(name), "link, new".as_ref(), THEIRS).ok()?),
        Plan::Folder(_) => TreeDeed::MakeFolder { mode: 0o750, over },
        Touch(_) => TreeDeed::Retouch { present: over?, mtime: Some(THEIRS), mode: Some(0o700) },
        Remove(_) => TreeDeed::Remove(over?),
        Move(_, to) => TreeDeed::Move { to: path(to), present: over? },
    };
    Some(Change { path: path(name), deed, by: "192.0.2.7:9001".into() })
}

/// Opens the folder, plans, stages and commits; where that fails there are no answers.
fn run(disk: &MemDisk, plans: &[Plan]) -> Vec<(Plan, TreeOutcome)> {
    let Some(folder) = open(disk) else { return Vec::new() };
    let planned = plans.iter().filter_map(|plan| Some((*plan, change(&folder, *plan)?)));
    let (plans, changes): (Vec<_>, Vec<_>) = planned.unzip();
    let changed = folder.tree().commit(changes);
    plans.into_iter().zip(changed.into_iter().map(|changed| changed.outcome)).collect()
}

/// What is there, with what was kept.
struct World {
    tree: BTreeMap<PathBuf, Seen>,
    kept: Vec<(String, Vec<u8>)>,
}

impl World {
    fn seen(&self, path: &str) -> Option<&Seen> {
        self.tree.get(Path::new(path))
    }

    fn bytes(&self, path: &str, kind: Kind) -> Option<&[u8]> {
        self.seen(path).filter(|seen| seen.kind == kind).map(|seen| &*seen.bytes)
    }

    fn is_old(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        match OLD.iter().find(|(name, _)| *name == path || *name == folder) {
            None => self.seen(path).is_none(),
            Some((name, _)) if name.ends_with('/') => {
                self.seen(path).is_some_and(|seen| seen.kind == Kind::Folder)
            }
            Some((_, Ok(bytes))) => self.bytes(path, Kind::File) == Some(bytes.as_bytes()),
            Some((_, Err(target))) => self.bytes(path, Kind::Symlink) == Some(target.as_bytes()),
        }
    }

    /// Whether the deed is not done.
    fn is_before(&self, plan: Plan) -> bool {
        match plan {
            Move("from/tree", to) => self.is_old("from/tree/x") && self.seen(to).is_none(),
            Move(from, to) => self.is_old(from) && self.seen(to).is_none(),
            File(name) | Link(name) | Plan::Folder(name) | Touch(name) | Remove(name) => self.is_old(name),
        }
    }

    fn is_after(&self, plan: Plan) -> bool {
        match plan {
            File(name) => self.bytes(name, Kind::File) == Some(new_text(name).as_bytes()),
            Link(name) => self.bytes(name, Kind::Symlink) == Some(b"link, new"),
            Plan::Folder(name) => self.seen(name).is_some_and(|seen| seen.kind == Kind::Folder),
            Touch(name) => self.is_old(name),
            Remove(name) => self.seen(name).is_none(),
            Move("from/tree", to) => {
                self.bytes(&format!("{to}/x"), Kind::File) == Some(b"tree x, old")
                    && self.seen("from/tree").is_none()
            }
            Move(from, to) => self.bytes(to, Kind::File) == old_bytes(from) && self.seen(from).is_none(),
        }
    }

    /// Whether nobody has the name, because it goes from a folder to a file or back on a disk that cannot exchange.
    fn is_between(&self, plan: Plan, quirks: &Quirks) -> bool {
        let changes_kind = ["a/file to folder", "a/folder to file", "emptied"];
        let (File(name) | Link(name) | Plan::Folder(name) | Touch(name) | Remove(name) | Move(name, _)) =
            plan;
        !quirks.renames_with_flags && changes_kind.contains(&name) && self.seen(name).is_none()
    }
}

fn world(disk: &MemDisk, folder: &Folder<MemDisk>) -> World {
    let mut tree = disk.user().tree("/f").unwrap();
    tree.retain(|path, _| !path.starts_with(".shoal"));
    let history = folder.history();
    let read = |kept: crate::Kept| {
        let name = kept.name.as_ref().map_or_else(|| "?".into(), ToString::to_string);
        let bytes = match kept.kind {
            Kind::Symlink => history.read_link(kept.number).unwrap().into_encoded_bytes(),
            _ => std::io::read_to_string(history.open(kept.number).unwrap()).unwrap().into_bytes(),
        };
        (name, bytes)
    };
    World { tree, kept: history.list().unwrap().into_iter().map(read).collect() }
}

/// Everything that the user had is in the tree, or in history under its path.
fn check_nothing_lost(world: &World, context: &str) {
    for (name, content) in OLD.iter().filter(|(name, _)| !name.ends_with('/')) {
        let (Ok(bytes) | Err(bytes)) = content;
        let is_kept = world.kept.contains(&((*name).into(), (*bytes).into()));
        let is_there = world.tree.values().any(|seen| seen.bytes == bytes.as_bytes());
        assert!(is_kept || is_there, "{context}: {name} is lost, kept are {:?}", world.kept);
    }
    assert_eq!(world.bytes("a/bystander", Kind::File), Some(&b"bystander"[..]), "{context}");
}

/// What must hold after anything at all, once the folder was opened again: I8, I17, and what was answered.
fn check(quirks: &Quirks, disk: &MemDisk, answers: &[(Plan, TreeOutcome)], context: &str) {
    let (folder, recovered) = reopen(disk);
    assert_eq!(recovered.problems, [] as [String; 0], "{context}");
    let world = world(disk, &folder);
    check_nothing_lost(&world, context);
    for plan in BATCH {
        let holds = world.is_before(plan) || world.is_after(plan) || world.is_between(plan, quirks);
        // What was to come into a folder that is not there, or is still a file, is not there either.
        let (File(name) | Link(name) | Plan::Folder(name) | Touch(name) | Remove(name) | Move(name, _)) =
            plan;
        assert!(holds, "{context}: {plan:?}, there is {:?}", world.seen(name));
        if let Some((_, TreeOutcome::Done { now, .. })) =
            answers.iter().find(|(answered, _)| format!("{answered:?}") == format!("{plan:?}"))
        {
            assert!(world.is_after(plan), "{context}: {plan:?} was said to be done");
            if let (File(name) | Touch(name), Some(now)) = (plan, now)
                && now.kind == Kind::File
            {
                let seen = world.seen(name).unwrap();
                assert_eq!((seen.mtime, seen.mode), (now.stat.mtime, now.stat.mode), "{context}: {plan:?}");
            }
        }
    }
    let staged: Vec<_> = disk.user().tree("/f/.shoal/staging").unwrap().into_keys().collect();
    assert_eq!(staged, [] as [PathBuf; 0], "{context}: staging is not clean");

    drop(folder);
    let (folder, again) = reopen(disk);
    assert!(again.restored.is_empty() && again.removed == 0, "{context}: {again:?}");
    assert_eq!(self::world(disk, &folder).kept, world.kept, "{context}");
}

/// The tree alone, as it is at this moment.
fn tree_now(disk: &MemDisk) -> World {
    let mut tree = disk.user().tree("/f").unwrap();
    tree.retain(|path, _| !path.starts_with(".shoal"));
    World { tree, kept: Vec::new() }
}

/// What the answers say must be so at once, for a folder in which only we were at work.
fn check_answers(disk: &MemDisk, answers: &[(Plan, TreeOutcome)], context: &str) {
    let world = tree_now(disk);
    for (plan, outcome) in answers {
        let holds = match outcome {
            TreeOutcome::Done { .. } => world.is_after(*plan),
            TreeOutcome::Failed(ChangeError::NotConfirmed { .. }) => true,
            _ => world.is_before(*plan),
        };
        assert!(holds, "{context}: {plan:?} was said to be {outcome:?}");
    }
}

/// How many calls a run without trouble makes; all of it must go well.
fn calls(quirks: &Quirks, plans: &[Plan], context: &str) -> u64 {
    let disk = disk(quirks);
    let answers = run(&disk, plans);
    assert_eq!(answers.len(), plans.len(), "{context}");
    for (plan, outcome) in &answers {
        assert!(matches!(outcome, TreeOutcome::Done { .. }), "{context}: {plan:?} {outcome:?}");
    }
    let calls = disk.calls();
    disk.crash();
    check(quirks, &disk, &answers, context);
    calls
}

/// Calls `act` for each sort of disk, with the whole batch and with lone deeds of the sorts that take ways of their own,
/// and with how many calls that takes.
fn for_each_plan(mut act: impl FnMut(&str, &Quirks, &[Plan], u64)) {
    let lone = |name: &str| BATCH.iter().position(|plan| format!("{plan:?}").contains(name)).unwrap();
    let lone =
        ["a/file to folder\"", "a/deep/link\"", "nest/touched", "a/removed", "a/folder to file"].map(lone);
    for (manners, quirks) in disks() {
        for plans in std::iter::once(&BATCH[..]).chain(lone.iter().map(|at| &BATCH[*at..=*at])) {
            let context = format!("{manners}, {} deeds from {:?} on", plans.len(), plans[0]);
            let total = calls(&quirks, plans, &context);
            act(&context, &quirks, plans, total);
        }
    }
}

fn last_calls(disk: &MemDisk) -> String {
    let trace = disk.trace();
    trace[trace.len().saturating_sub(12)..].join("; ")
}

// I8, I17
#[test]
fn power_that_goes_after_any_call_loses_nothing_and_mixes_nothing() {
    for_each_plan(|context, quirks, plans, total| {
        for last in 0..=total {
            let stopped = disk(quirks);
            stopped.keep_trace();
            stopped.stop_after(last);
            let answers = run(&stopped, plans);
            let trace = last_calls(&stopped);
            for seed in 0..SEEDS {
                let cut = stopped.fork();
                cut.power_cut(seed * total + last);
                let context = format!("{context}, call {last} of {total}, seed {seed}, after {trace}");
                check(quirks, &cut, &answers, &context);
            }
        }
    });
}

// I17: a start can be interrupted like anything else, and what it did is not undone by a later cut.
#[test]
fn power_that_goes_again_while_starting_loses_nothing_either() {
    for_each_plan(|context, quirks, plans, total| {
        for last in (0..=total).step_by(11) {
            let stopped = disk(quirks);
            stopped.stop_after(last);
            let answers = run(&stopped, plans);
            match last % 2 {
                0 => stopped.crash(),
                _ => stopped.power_cut(last),
            }
            let whole = stopped.fork();
            drop(reopen(&whole));
            for second in (0..=whole.calls()).step_by(4) {
                let cut = stopped.fork();
                cut.stop_after(second);
                drop(open(&cut));
                cut.power_cut(second);
                check(quirks, &cut, &answers, &format!("{context}, call {last} of {total}, then {second}"));
            }
        }
    });
}

/// Lets one call in all fail, each in turn, then the process end or the power go.
fn fail_each_call(trouble: Trouble) {
    for_each_plan(|context, quirks, plans, total| {
        for nth in 1..=total {
            let failing = disk(quirks);
            failing.keep_trace();
            failing.fail_nth(None, nth, trouble);
            let answers = run(&failing, plans);
            let trace = failing.trace();
            let trace = trace.iter().find(|call| call.contains(" fails with ")).cloned().unwrap_or_default();
            let context = format!("{context}, call {nth} of {total}: {trace}");
            check_answers(&failing, &answers, &context);
            // Nothing was interrupted, so that even without an exchange each name is somebody's.
            let world = tree_now(&failing);
            let between = BATCH.iter().find(|plan| world.is_between(**plan, quirks));
            assert!(between.is_none(), "{context}: nobody has the name of {between:?}");
            let cut = failing.fork();
            cut.power_cut(nth);
            check(quirks, &cut, &answers, &format!("{context}, then a power cut"));
            failing.crash();
            check(quirks, &failing, &answers, &context);
        }
    });
}

// E20, I17: a sync that failed has also lost what it was to write.
#[test]
fn any_one_call_may_fail() {
    fail_each_call(Trouble::Io);
}

// I20
#[test]
fn any_one_call_may_find_no_space() {
    fail_each_call(Trouble::NoSpace);
}

// I20
#[test]
fn a_disk_that_is_full_after_some_bytes_loses_nothing() {
    for (first, (manners, quirks)) in disks().into_iter().enumerate() {
        // Each disk begins elsewhere, so that together they come by many places.
        for bytes in (first as u64 * 31..26_000).step_by(211) {
            let full = disk(&quirks);
            full.fill_after(Some(bytes));
            full.write_at_most(40);
            let answers = run(&full, &BATCH);
            let context = format!("{manners}, full after {bytes} bytes");
            check_answers(&full, &answers, &context);
            let cut = full.fork();
            cut.power_cut(bytes);
            check(&quirks, &cut, &answers, &format!("{context}, then power cut"));
            full.crash();
            check(&quirks, &full, &answers, &context);
        }
    }
}
