//! How far ahead is read, and threads that fail.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::mem::{MemDisk, Quirks};
use crate::sweep::{Enters, Sweep, SweepRange};
use crate::{Folder, FolderOptions};

/// So many folders with as many files in each.
fn folder(folders: usize, files: usize) -> Folder<MemDisk> {
    let disk = MemDisk::new(Quirks::default());
    disk.user().make_dir("/f").unwrap();
    for folder in 0..folders {
        disk.user().make_dir(&format!("/f/{folder:03}")).unwrap();
        for file in 0..files {
            disk.user().write(&format!("/f/{folder:03}/{file:03}"), "").unwrap();
        }
    }
    Folder::open_on(&disk, "/f".as_ref(), &FolderOptions::default()).unwrap().0
}

fn sweep(folder: &Folder<MemDisk>, enters: Enters) -> Sweep<MemDisk> {
    folder.tree().sweep_with(&SweepRange::default(), 3, enters).unwrap()
}

/// Tells how many names were read and how many parts there are, once all threads rest.
fn at_rest(desk: &Desk<MemDisk>) -> (usize, usize) {
    loop {
        let state = desk.state();
        let is_done = |part: &Part<_>| matches!(part, Part::Done(..));
        if state.ahead >= NAMES_AHEAD_MAX / 2 && state.parts.iter().all(is_done) && state.descent.is_some() {
            return (state.ahead, state.parts.len());
        }
        drop(state);
        thread::yield_now();
    }
}

// E15, I30
#[test]
fn e15_only_so_much_is_read_ahead_however_slowly_it_is_taken() {
    for (folders, files) in [(300, 0), (100, 1), (10, 50), (1, 400)] {
        let folder = folder(folders, files);
        let mut sweep = sweep(&folder, Enters::all());
        let mut told = sweep.page(3).len();
        for _ in 0..5 {
            let (names, parts) = at_rest(&sweep.ahead.as_ref().unwrap().desk);
            assert!(names <= NAMES_AHEAD_MAX + 2 * BATCH_NAMES_MAX, "{names} names, {folders} folders");
            assert!(parts <= NAMES_AHEAD_MAX + STEPS_AT_A_TIME, "{parts} parts, {folders} folders");
            told += sweep.page(7).len();
        }
        assert_eq!(told + sweep.count(), folders * (1 + files));
    }
}

// One that hung would hang this test.
#[test]
fn a_thread_that_panics_is_not_waited_for() {
    let folder = folder(50, 3);
    let enters = Enters(Arc::new(|path| match path.as_bytes() {
        b"040" => panic!("as it is meant to"),
        _ => true,
    }));
    for _ in 0..20 {
        let mut sweep = sweep(&folder, enters.clone());
        assert!(catch_unwind(AssertUnwindSafe(|| sweep.by_ref().count())).is_err());
        drop(sweep);
    }
}

#[test]
fn a_sweep_that_nobody_wants_any_more_lets_the_folder_go() {
    let folder = folder(50, 50);
    for taken in [0, 1, 5, 500] {
        let mut sweep = sweep(&folder, Enters::all());
        sweep.page(taken);
        drop(sweep);
        assert_eq!(Arc::strong_count(&folder.shared), 1, "after {taken}");
    }
}
