//! Commits on a disk in memory that stops, fails, fills up or loses power at every single call.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::durable::Durability;
use crate::fault::{Point, acting};
use crate::mem::{Call, MemDisk, Quirks, Trouble};
use crate::testing::{disks, name, secs, versions};
use crate::{FileTime, Folder, FolderOptions, Recovered};

/// How many power cuts are tried after each call.
const SEEDS: u64 = 6;

/// When the peers' versions were made.
const THEIRS: FileTime = FileTime { secs: 1_600_000_000, nanos: 0 };

/// What is done to the names of the folder: their old content, if there is one, and their new one.
#[derive(Clone, Debug)]
struct Plan {
    files: Vec<(&'static str, Option<String>, String)>,
}

impl Plan {
    /// Everything that a batch can have in it. `length` is that of the longer contents, in bytes.
    fn batch(length: usize) -> Self {
        let text = |text: &str| text.repeat(length / text.len() + 1);
        Self {
            files: vec![
                ("replaced", Some(text("replaced, old ")), text("replaced, new, ")),
                ("new", None, text("new, ")),
                ("same", Some("the same".into()), "the same".into()),
                ("small", Some("small, old".into()), "small, new".into()),
                ("linked", Some("linked, old".into()), "linked, new".into()),
            ],
        }
    }

    fn lone(file: usize) -> Self {
        Self { files: vec![Self::batch(5_000).files.swap_remove(file)] }
    }

    /// A disk on which the user has made the old files, durably.
    fn disk(&self, quirks: Quirks) -> MemDisk {
        let disk = MemDisk::new(quirks);
        let user = disk.user();
        disk.set_time(secs(1_500_000_000));
        user.make_dir("/f").unwrap();
        user.write("/f/bystander", "not touched").unwrap();
        for (file, old, _) in &self.files {
            if let Some(old) = old {
                user.write(&at(file), old).unwrap();
            }
            if *file == "linked" {
                // Fails on disks without links, where it is a file like any other.
                let _ = user.link(&at(file), "/other name");
            }
        }
        disk.sync();
        disk.set_time(secs(1_700_000_000));
        disk
    }

    /// Opens the folder, stages the new files and commits them; where that fails there are no answers.
    fn run(&self, disk: &MemDisk) -> Vec<Committed> {
        let Ok((folder, _)) = Folder::open_on(disk, Path::new("/f"), &FolderOptions::default()) else {
            return Vec::new();
        };
        let files = self.files.iter().filter_map(|(file, _, new)| stage(&folder, file, new)).collect();
        folder.committer().commit(files)
    }
}

fn at(file: &str) -> String {
    format!("/f/{file}")
}

fn stage(folder: &Folder<MemDisk>, file: &str, new: &str) -> Option<Placement<MemDisk>> {
    let present = folder.stat(&name(file)).ok()?;
    let staging = folder.staging();
    let mut staged = staging.create(&name(file), Some(new.len() as u64)).ok()?;
    staged.write_all(new.as_bytes()).ok()?;
    let staged = staged.finish(THEIRS, present.as_ref()).ok()?;
    let deed = match (present, staging.same_content(&staged).ok()?) {
        (_, Some(same)) => Deed::Adopt(same),
        (Some(present), None) => Deed::Replace(present),
        (None, None) => Deed::Create,
    };
    Some(Placement { staged, deed, by: "192.0.2.7:9001 ".repeat(16) })
}

fn reopen(disk: &MemDisk) -> (Folder<MemDisk>, Recovered) {
    Folder::open_on(disk, Path::new("/f"), &FolderOptions::default()).unwrap()
}

/// What must hold after anything at all, once the folder was opened again: I8, I17, and what was answered.
fn check(plan: &Plan, disk: &MemDisk, answers: &[Committed], context: &str) {
    let (folder, recovered) = reopen(disk);
    assert_eq!(recovered.problems, [] as [String; 0], "{context}");
    let (user, kept) = (disk.user(), versions(&folder));
    let read = |file: &str| user.read(&at(file)).ok().map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(read("bystander").as_deref(), Some("not touched"), "{context}");
    for (file, old, new) in &plan.files {
        let now = read(file);
        let answer = answers.iter().find(|answer| answer.name == name(file)).map(|answer| &answer.outcome);
        assert!(
            now == *old || now.as_ref() == Some(new),
            "{context}: {file} is a mixture: {:?}",
            now.as_deref().map(short)
        );
        if let Some(old) = old.as_ref().filter(|old| now.as_ref() != Some(old)) {
            let pair = ((*file).to_owned(), old.clone());
            let shown: Vec<_> = kept.iter().map(|(name, text)| (name, short(text))).collect();
            assert!(kept.contains(&pair), "{context}: the old {file} is lost, kept are {shown:?}");
        }
        match answer {
            Some(Outcome::Placed { .. }) => {
                assert!(now.as_ref() == Some(new), "{context}: {file} was said to be placed");
                let stat = folder.stat(&name(file)).unwrap().unwrap();
                assert_eq!(stat.mtime, disk_time(disk, THEIRS), "{context}: {file} has another time");
            }
            Some(Outcome::Adopted { stat }) => {
                assert_eq!(folder.stat(&name(file)).unwrap().unwrap().mtime, stat.mtime, "{context}: {file}");
            }
            _ => {}
        }
    }
    let staged: Vec<_> = user.tree("/f/.shoal/staging").unwrap().into_keys().collect();
    assert_eq!(staged, [] as [std::path::PathBuf; 0], "{context}: staging is not clean");

    drop(folder);
    let (folder, again) = reopen(disk);
    assert!(again.restored.is_empty() && again.removed == 0, "{context}: {again:?}");
    assert_eq!(versions(&folder), kept, "{context}");
}

fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(20)]
}

/// What a disk makes of a time, found out as a user would.
fn disk_time(disk: &MemDisk, time: FileTime) -> FileTime {
    let disk = disk.fork();
    disk.user().write("/probe", "").unwrap();
    disk.user().touch("/probe", time).unwrap();
    disk.user().stat("/probe").unwrap().unwrap().mtime
}

/// Calls `act` for each sort of disk, with a lone file of each sort and with a batch.
fn for_each_plan(length: usize, mut act: impl FnMut(&str, &Plan, &dyn Fn() -> MemDisk)) {
    for (manners, quirks) in disks() {
        for plan in [Plan::batch(length), Plan::lone(0), Plan::lone(1), Plan::lone(2)] {
            let context = format!("{manners}, {} files", plan.files.len());
            act(&context, &plan, &|| plan.disk(quirks.clone()));
        }
    }
}

/// How many calls a run without trouble makes; all of it must go well.
fn calls(plan: &Plan, disk: &MemDisk, context: &str) -> u64 {
    let answers = plan.run(disk);
    assert_eq!(answers.len(), plan.files.len(), "{context}");
    for Committed { name, outcome } in &answers {
        assert!(is_done(outcome), "{context}: {name} {outcome:?}");
    }
    let calls = disk.calls();
    disk.crash();
    check(plan, disk, &answers, context);
    calls
}

fn last_calls(disk: &MemDisk) -> String {
    let trace = disk.trace();
    trace[trace.len().saturating_sub(12)..].join("; ")
}

// I8, I17
#[test]
fn power_that_goes_after_any_call_leaves_old_or_new_and_loses_no_version() {
    for_each_plan(9_000, |context, plan, disk| {
        let total = calls(plan, &disk(), context);
        for last in 0..=total {
            let stopped = disk();
            stopped.keep_trace();
            stopped.stop_after(last);
            let answers = plan.run(&stopped);
            let trace = last_calls(&stopped);
            for seed in 0..SEEDS {
                let cut = stopped.fork();
                cut.power_cut(seed);
                let context = format!("{context}, call {last} of {total}, seed {seed}, after {trace}");
                check(plan, &cut, &answers, &context);
            }
        }
    });
}

// I17: a start can be interrupted like anything else, and what it did is not undone by a later cut.
#[test]
fn power_that_goes_again_while_starting_loses_nothing_either() {
    for_each_plan(5_000, |context, plan, disk| {
        let total = calls(plan, &disk(), context);
        for last in (0..=total).step_by(3) {
            let stopped = disk();
            stopped.stop_after(last);
            let answers = plan.run(&stopped);
            let first = stopped.fork();
            match last % 2 {
                0 => first.crash(),
                _ => first.power_cut(last),
            }
            let whole = first.fork();
            drop(reopen(&whole));
            for second in (0..=whole.calls()).step_by(3) {
                let cut = first.fork();
                cut.stop_after(second);
                drop(Folder::open_on(&cut, Path::new("/f"), &FolderOptions::default()));
                cut.power_cut(second);
                check(plan, &cut, &answers, &format!("{context}, call {last} of {total}, then {second}"));
            }
        }
    });
}

// I17: the same without gaps, for the one file that has something of the user's in staging meanwhile.
#[test]
fn a_start_after_an_exchange_may_lose_power_after_any_call() {
    for (manners, quirks) in disks() {
        let plan = Plan::lone(0);
        let total = calls(&plan, &plan.disk(quirks.clone()), manners);
        for last in total / 2..=total {
            let ended = plan.disk(quirks.clone());
            ended.stop_after(last);
            let answers = plan.run(&ended);
            ended.crash();
            let whole = ended.fork();
            drop(reopen(&whole));
            for second in 0..=whole.calls() - ended.calls() {
                let stopped = ended.fork();
                stopped.stop_after(second);
                drop(Folder::open_on(&stopped, Path::new("/f"), &FolderOptions::default()));
                for seed in 0..2 {
                    let cut = stopped.fork();
                    cut.power_cut(seed * total + last);
                    let context = format!("{manners}, call {last} of {total}, then {second}, seed {seed}");
                    check(&plan, &cut, &answers, &context);
                }
            }
        }
    }
}

// I8, I17
#[test]
fn a_process_that_ends_after_any_call_leaves_old_or_new_and_loses_no_version() {
    for_each_plan(5_000, |context, plan, disk| {
        let total = calls(plan, &disk(), context);
        for last in 0..=total {
            let stopped = disk();
            stopped.stop_after(last);
            let answers = plan.run(&stopped);
            stopped.crash();
            check(plan, &stopped, &answers, &format!("{context}, call {last} of {total}"));
        }
    });
}

/// What the answers say must be so at once, for a folder in which only we were at work.
fn check_answers(plan: &Plan, disk: &MemDisk, answers: &[Committed], context: &str) {
    let by_name: BTreeMap<_, _> =
        plan.files.iter().map(|(file, old, new)| (name(file), (old, new))).collect();
    for Committed { name, outcome } in answers {
        let (old, new) = by_name[name];
        let now = disk.user().read(&at(&name.to_string())).ok();
        let is = |text: &str| now.as_deref() == Some(text.as_bytes());
        let holds = match outcome {
            Outcome::Placed { .. } | Outcome::Adopted { .. } => is(new),
            Outcome::ChangedHere { .. } => old.as_deref().map_or(now.is_none(), is),
            Outcome::Failed(CommitError::NotConfirmed { .. }) => is(new) || old.as_deref().is_some_and(is),
            Outcome::Failed(_) => old.as_deref().map_or(now.is_none(), is),
        };
        assert!(holds, "{context}: {name} was said to be {outcome:?}");
    }
}

/// Lets one call in all fail, each in turn, then the process end or the power go.
fn fail_each_call(length: usize, trouble: Trouble) {
    for_each_plan(length, |context, plan, disk| {
        let total = calls(plan, &disk(), context);
        for nth in 1..=total {
            let failing = disk();
            failing.keep_trace();
            failing.fail_nth(None, nth, trouble);
            let answers = plan.run(&failing);
            let trace = failing.trace();
            let trace = trace.iter().find(|call| call.contains(" fails with ")).cloned().unwrap_or_default();
            let context = format!("{context}, call {nth} of {total}: {trace}");
            check_answers(plan, &failing, &answers, &context);
            for seed in 0..2 {
                let cut = failing.fork();
                cut.power_cut(seed);
                check(plan, &cut, &answers, &format!("{context}, then power cut {seed}"));
            }
            failing.crash();
            check(plan, &failing, &answers, &context);
        }
    });
}

// E20, I17: a sync that failed has also lost what it was to write.
#[test]
fn any_one_call_may_fail() {
    fail_each_call(5_000, Trouble::Io);
}

// I20
#[test]
fn any_one_call_may_find_no_space() {
    fail_each_call(50, Trouble::NoSpace);
}

// I20
#[test]
fn a_disk_that_is_full_after_any_byte_loses_nothing_and_goes_on_when_there_is_space() {
    for (first, (manners, quirks)) in disks().into_iter().enumerate() {
        let plan = Plan::batch(30);
        let disk = || plan.disk(quirks.clone());
        let room = bytes_of_a_run(&plan, &disk());
        // Each disk begins elsewhere, so that together they come by every byte.
        for bytes in (first as u64..room).step_by(disks().len()) {
            let full = disk();
            full.fill_after(Some(bytes));
            full.write_at_most(40);
            let answers = plan.run(&full);
            let context = format!("{manners}, full after {bytes} of {room} bytes");
            check_answers(&plan, &full, &answers, &context);
            for Committed { outcome, .. } in &answers {
                let is_full = |error: &CommitError| error.is_out_of_space();
                assert!(
                    is_done(outcome) || matches!(outcome, Outcome::Failed(error) if is_full(error)),
                    "{context}: {outcome:?}"
                );
            }
            let cut = full.fork();
            cut.power_cut(bytes);
            check(&plan, &cut, &answers, &format!("{context}, then power cut"));
            full.crash();
            check(&plan, &full, &answers, &context);
            let answers = plan.run(&full);
            assert!(answers.iter().all(|answer| is_done(&answer.outcome)), "{context}: {answers:?}");
        }
    }
}

fn is_done(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Placed { .. } | Outcome::Adopted { .. })
}

/// How many bytes a run writes in all.
fn bytes_of_a_run(plan: &Plan, disk: &MemDisk) -> u64 {
    const PLENTY: u64 = 1 << 30;
    let mut needed = 0;
    // Halved: the least room in which all goes well.
    let mut step = PLENTY;
    while step > 0 {
        let probe = disk.fork();
        probe.fill_after(Some(needed + step - 1));
        let answers = plan.run(&probe);
        if answers.len() < plan.files.len() || !answers.iter().all(|answer| is_done(&answer.outcome)) {
            needed += step;
        }
        step /= 2;
    }
    needed
}

// A sync that fails for one batch has lost the bytes of the next one too, and the next sync does not tell.
#[test]
fn what_was_staged_before_a_failed_sync_is_not_trusted() {
    for seed in 0..SEEDS {
        for nth in 1..=2 {
            let disk = Plan::lone(1).disk(Quirks::default());
            let plan = Plan::batch(5_000);
            let (folder, _) = reopen(&disk);
            let (first, second) = (["x", "y"], ["new", "later"]);
            let stage_all =
                |files: [&str; 2]| files.map(|file| stage(&folder, file, &plan.files[1].2).unwrap());
            let (first, second) = (stage_all(first), stage_all(second));
            disk.fail_nth(Some(Call::SyncAll), nth, Trouble::Io);
            for answer in folder.committer().commit(first.into()) {
                assert!(matches!(answer.outcome, Outcome::Failed(_)), "{answer:?}");
            }
            let answers = folder.committer().commit(second.into());
            drop(folder);
            disk.power_cut(seed);
            check(&Plan::lone(1), &disk, &answers, &format!("sync {nth}, seed {seed}"));
        }
    }
}

// So too if it fails between the moment when our rows are written and our own sync.
#[test]
fn rows_that_somebody_elses_failed_sync_has_lost_are_not_confirmed() {
    for plan in [Plan::batch(5_000), Plan::lone(0)] {
        for seed in 0..SEEDS {
            let disk = plan.disk(Quirks::default());
            let (folder, _) = reopen(&disk);
            let files = plan.files.iter().filter_map(|(file, _, new)| stage(&folder, file, new)).collect();
            let (other, faulty) = (folder.clone(), disk.clone());
            let act = move |point| {
                if point == Point::Recorded {
                    faulty.fail_nth(Some(Call::SyncAll), 1, Trouble::Io);
                    other.sync().unwrap_err();
                }
            };
            let answers = acting(act, || folder.committer().commit(files));
            drop(folder);
            disk.power_cut(seed);
            check(&plan, &disk, &answers, &format!("{} files, seed {seed}", plan.files.len()));
        }
    }
}

// The table's rows were in memory when its sync failed; nothing but the batch's list has them afterwards.
#[test]
fn a_sync_that_lost_the_history_table_is_made_good_before_the_list_goes() {
    for durability in [Durability::WholeFileSystem, Durability::EachFile] {
        let plan = Plan::batch(5_000);
        let quirks = Quirks { durability, ..Quirks::default() };
        let syncs = match durability {
            Durability::WholeFileSystem => Call::SyncAll,
            Durability::EachFile => Call::SyncFile,
        };
        let mut unconfirmed = 0;
        for nth in 1..20 {
            let disk = plan.disk(quirks.clone());
            disk.fail_nth(Some(syncs), nth, Trouble::Io);
            let answers = plan.run(&disk);
            unconfirmed += answers
                .iter()
                .filter(|answer| matches!(answer.outcome, Outcome::Failed(CommitError::NotConfirmed { .. })))
                .count();
            // A start in the same memory sees the rows that are not on the disk.
            disk.crash();
            drop(reopen(&disk));
            for seed in 0..SEEDS {
                let cut = disk.fork();
                cut.power_cut(seed);
                check(&plan, &cut, &answers, &format!("{durability:?}, sync {nth}, seed {seed}"));
            }
        }
        assert!(unconfirmed > 0, "{durability:?}");
    }
}
