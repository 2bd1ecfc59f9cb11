//! Files that others write to at the same time, and a process at its limits.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use shoal_disk::Os;
use shoal_engine::disk::{Answer, Committed, Job, StageId};

use super::{Share, content, file, is_done};
use crate::skip::skip;
use crate::workload::{in_memory, place_file};

// I22
#[test]
fn e4_a_file_that_is_written_to_all_the_time_never_gets_the_name_of_a_mixture() {
    let share = Share::at(in_memory());
    let text = |version: u32| format!("version {:07}\n", version % 100).repeat(12_500);
    share.write("log", &text(0));
    if !tells_writes_apart(&share) {
        return skip("E4: files that change while they are read", "this file system has coarse times");
    }
    let (is_over, mut named, mut changed) = (AtomicBool::new(false), 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::os::unix::fs::FileExt;
            let file = fs::File::options().write(true).open(share.path("log")).unwrap();
            for version in 1.. {
                // In place and at once, which the system does page by page. Whoever saves piece by piece may be held up
                // between two pieces for as long as it likes: what stands there then is what it has saved.
                file.write_all_at(text(version).as_bytes(), 0).unwrap();
                if version % 8 == 0 {
                    std::thread::sleep(Duration::from_millis(2));
                }
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let whole: Vec<_> = (0..100).map(|version| file(&text(version))).collect();
        // However it ends, or nobody would end the other.
        let _end = Ends(&is_over);
        let (began, enough) = (Instant::now(), Duration::from_millis(400));
        // Some machines take longer to have seen both.
        while began.elapsed() < enough || (named.min(changed) == 0 && began.elapsed() < enough * 40) {
            match content(&share.take("log")) {
                Some(kind) => {
                    assert!(whole.contains(&kind), "a name of what never was");
                    named += 1;
                }
                None => changed += 1,
            }
        }
    });
    assert!(changed > 0 && named > 0, "named {named} times, {changed} times not");
    println!("named {named} times, {changed} times not");
}

/// Says that it is over when it is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether two writes after each other give two times, at the latest when somebody has looked in between.
fn tells_writes_apart(share: &Share) -> bool {
    (0..50).all(|number| {
        share.write("probe", &number.to_string());
        let before = share.seen("probe").unwrap().ctime;
        share.write("probe", &(number + 1).to_string());
        share.seen("probe").unwrap().ctime != before
    })
}

/// Ways in which programs save (E18), each from nothing to the whole text in place.
const SAVES: [fn(&Path, &str); 6] = [
    |at, text| fs::write(at, text).unwrap(),
    |at, text| {
        let temporary = at.with_extension("tmp");
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, at).unwrap();
    },
    |at, text| {
        let backup = at.with_extension("bak");
        // It may just be gone: then there is nothing to keep.
        let _ = fs::rename(at, backup);
        fs::write(at, text).unwrap();
    },
    |at, text| {
        let backup = at.with_extension("bak");
        let _ = fs::copy(at, &backup);
        fs::write(at, text).unwrap();
        let _ = fs::remove_file(backup);
    },
    |at, text| {
        let _ = fs::remove_file(at);
        fs::write(at, text).unwrap();
    },
    |at, text| {
        fs::write(at, "").unwrap();
        std::thread::yield_now();
        fs::write(at, text).unwrap();
    },
];

// I3, E17
#[test]
fn e18_what_a_program_saves_just_when_others_replace_it_is_in_place_or_kept() {
    let share = Share::at(in_memory());
    let (mut placed, mut stood) = (0, 0);
    for round in 0..600 {
        let at = share.path("doc");
        fs::write(&at, format!("base {round}")).unwrap();
        let text = format!("the user's {round}");
        let save = SAVES[round % SAVES.len()];
        let Some(deed) =
            place_file(&share.worker, round as u64, &format!("theirs {round}"), share.seen("doc"))
        else {
            panic!("staged")
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..round % 40 * 40).for_each(|_| std::hint::spin_loop());
                save(&at, &text);
            });
            match share.commit("doc", deed) {
                Committed::Done { .. } => placed += 1,
                Committed::ChangedHere { .. } => stood += 1,
                other => panic!("{round}: {other:?}"),
            }
        });
        // His programs write to what they find: so it is his text, or ours that came after it, and then his is kept.
        let now = share.read("doc");
        let is_kept = || share.kept().contains(&text);
        assert!(now == text || is_kept(), "{round}: there is {now:?}, and {text:?} is nowhere");
    }
    assert!(placed > 0, "all commits came too late");
    println!("{placed} were replaced, {stood} stood");
}

/// How many files a process may have open, for the test below.
const HANDLES: &str = "SHOAL_DISK_TEST_HANDLES";

// I30
#[test]
fn e28_a_process_without_handles_loses_nothing_and_goes_on_when_it_has_some() {
    let test = "states::moments::with_few_handles";
    for handles in 8..32 {
        let place = in_memory();
        crate::workload::make_folder_of_user(place.path());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", test, "--nocapture"])
            .env(HANDLES, handles.to_string())
            .env("SHOAL_DISK_TEST_PLACE", place.path());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{handles} handles: {text}");
        let context = format!("with {handles} handles");
        crate::workload::check(place.path(), &[], false, &context);
        crate::workload::finish(place.path(), &context);
    }
}

/// Not a test by itself: the workload, in a process that may open few files.
#[test]
fn with_few_handles() {
    let (Some(handles), Some(place)) = (std::env::var_os(HANDLES), std::env::var_os("SHOAL_DISK_TEST_PLACE"))
    else {
        return;
    };
    let handles: u64 = handles.to_str().unwrap().parse().unwrap();
    let few = rustix::process::Rlimit { current: Some(handles), maximum: Some(4_096) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    let done = crate::workload::work(&Os, Path::new(&place), true);
    let many = rustix::process::Rlimit { current: Some(4_096), maximum: Some(4_096) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, many).unwrap();
    crate::workload::check(Path::new(&place), &done, false, "in the same process");
}

#[test]
fn e30_a_file_that_is_superseded_all_the_time_leaves_nothing_behind() {
    let share = Share::at(in_memory());
    for stage in 0..200 {
        let deed = place_file(&share.worker, stage, &format!("version {stage}"), share.seen("a"));
        assert!(deed.is_some());
        if stage % 10 == 9 {
            assert!(is_done(&share.commit("a", deed.unwrap())));
        } else {
            assert_eq!(share.worker.perform(Job::Drop(vec![StageId(stage)])), Answer::Dropped);
        }
        assert_eq!(share.staged(), 0, "version {stage}");
    }
    assert_eq!(share.kept().len(), 19);
    let pruned = share
        .folder
        .history()
        .prune(SystemTime::now(), &shoal_disk::Retention { bytes_max: 50, ..Default::default() });
    assert!(pruned.unwrap().versions > 10);
}
