//! What watching costs: `cargo bench -p shoal-disk --bench watch`, or a part of it by name: `-- bursting`.
//!
//! A real folder below the directory for temporary files. Times are by the clock, from the call to the hint; the
//! processor's time is that of the whole process, which does nothing else then; memory is what the process has resident
//! beyond what it had before (only the first time says something), and does not count what the kernel keeps for each
//! watch (some 1 KiB).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and ends where it fails")]

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use shoal_disk::{Folder, FolderOptions, Heard, Watch, Worker};
use shoal_engine::disk::{Answer, Job, Sweep};
use shoal_engine::io::Hint;

fn main() {
    let parts: [(&str, fn()); 4] =
        [("registering", registering), ("telling", telling), ("bursting", bursting), ("resting", resting)];
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, part) in parts {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            part();
        }
    }
}

/// How long it takes until 10,101 directories are watched.
fn registering() {
    let place = tempfile::tempdir().unwrap();
    for one in 0..100 {
        for other in 0..100 {
            fs::create_dir_all(place.path().join(format!("{one}/{other}"))).unwrap();
        }
    }
    let worker = open(place.path());
    for _ in 0..5 {
        let memory = resident();
        let (began, before) = (Instant::now(), processor());
        let (watch, heard) = watch(&worker);
        let called = began.elapsed();
        assert_eq!(heard.recv().unwrap(), [Hint::Lost]);
        let took = began.elapsed();
        println!(
            "{} directories watched in {took:.1?}, {:.1?} of the processor, with {} KiB more than before; the call \
             returned after {called:.1?}",
            watch.status().watched,
            processor() - before,
            resident().saturating_sub(memory)
        );
    }
}

/// How long after a file was closed it is told.
fn telling() {
    let place = tempfile::tempdir().unwrap();
    let worker = open(place.path());
    let (_watch, heard) = watch(&worker);
    heard.recv().unwrap();
    let mut waits = Vec::new();
    for number in 0..2_000 {
        let name = format!("{number}");
        fs::write(place.path().join(&name), "some text").unwrap();
        let closed = Instant::now();
        let is_it = |hint: &Hint| matches!(hint, Hint::At(path) if path.as_bytes() == name.as_bytes());
        while !heard.recv().unwrap().iter().any(is_it) {}
        waits.push(closed.elapsed());
    }
    waits.sort();
    println!("closed to told: p50 {:.2?}, p99 {:.2?}", waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
}

/// What it costs that many files are made at once.
fn bursting() {
    for is_watched in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let worker = open(place.path());
        let watched = is_watched.then(|| watch(&worker));
        if let Some((_, heard)) = &watched {
            heard.recv().unwrap();
        }
        let (began, before) = (Instant::now(), processor());
        for number in 0..20_000 {
            fs::write(place.path().join(format!("{number}")), "some text").unwrap();
        }
        let took = began.elapsed();
        std::thread::sleep(Duration::from_millis(100));
        let told: Vec<Hint> = watched.iter().flat_map(|(_, heard)| heard.try_iter().flatten()).collect();
        println!(
            "20,000 files made in {took:.0?}, {:.0?} of the processor, {} hints{}",
            processor() - before,
            told.len(),
            if is_watched { "" } else { ", nothing watched" }
        );
    }
}

/// What a large folder costs while nothing happens in it, and when we look at all of it ourselves.
fn resting() {
    let place = tempfile::tempdir().unwrap();
    for folder in 0..1_000 {
        let folder = place.path().join(format!("{folder}"));
        fs::create_dir(&folder).unwrap();
        for file in 0..100 {
            fs::write(folder.join(format!("{file}")), "").unwrap();
        }
    }
    let worker = open(place.path());
    sweep(&worker);
    let (watch, heard) = watch(&worker);
    heard.recv().unwrap();
    println!("{} directories with 100,000 files watched", watch.status().watched);
    let before = processor();
    std::thread::sleep(Duration::from_secs(10));
    println!("10 s at rest: {:.1?} of the processor", processor() - before);
    let hints = heard.try_iter().count();
    let (began, before) = (Instant::now(), processor());
    sweep(&worker);
    println!("looked through in {:.0?}, {:.0?} of the processor", began.elapsed(), processor() - before);
    std::thread::sleep(Duration::from_millis(100));
    println!("hints while nothing changed: {}", hints + heard.try_iter().count());
}

fn sweep(worker: &Worker) {
    let mut after = None;
    loop {
        let asked = Sweep { below: None, after, at_most: 1024, is_shallow: false };
        let Answer::Swept { entries, is_end } = worker.perform(Job::Sweep(asked)) else { return };
        if is_end {
            return;
        }
        after = entries.into_iter().last().map(|(path, _)| path);
    }
}

fn open(path: &Path) -> Worker {
    let (folder, _) = Folder::open(path, &FolderOptions::default()).unwrap();
    Worker::new(&folder)
}

fn watch(worker: &Worker) -> (Watch, Receiver<Vec<Hint>>) {
    let (tell, heard) = sync_channel(1 << 16);
    let watch = worker.watch(move |_, hints| match tell.try_send(hints) {
        Ok(()) => Heard::Taken,
        Err(TrySendError::Full(hints)) => Heard::Busy(hints),
        Err(TrySendError::Disconnected(_)) => Heard::NoMore,
    });
    (watch.unwrap(), heard)
}

fn processor() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}

/// KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
