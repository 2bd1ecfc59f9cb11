//! What a native peer does with real folders, in one process: `cargo bench -p shoal-daemon`, or
//! `cargo bench -p shoal-daemon --bench folders -- WORK…`, of `over`, `stage`, `first-scan`, `rescan`, `live`.
//!
//! Engine, index, disk layer and threads are those of the daemon; only the network is not there: what one end says the other
//! hears as it is. Everything is durable. Beside each figure stands the limit of the machine in the same run. Medians of
//! five with their range; a round of its own before them counts for nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends where it fails"
)]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use shoal_engine::disk::{Answer, Change, ChangeDeed, Committed, Job, Source, StageId, Write, Written};
use shoal_engine::history::Why;
use shoal_engine::index::{Intent, Placed};
use shoal_engine::io::{Command, Conn};
use shoal_engine::status::{Phase, Status};
use shoal_index::Verified;
use shoal_proto::hash::SegmentId;
use shoal_proto::here::Here;
use shoal_proto::record::{Kind, Record};
use shoal_proto::segment::Segment;

#[path = "../tests/native/ends.rs"]
mod ends;

use ends::{End, connect};

const ROUNDS: usize = 5;

/// What it is called, and what does it.
type Work = (&'static str, fn(&Place));

const WORKS: [Work; 5] =
    [("over", over), ("stage", stage), ("first-scan", first_scan), ("rescan", rescan), ("live", live)];

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    // Nothing is deleted before the end: on ext4 new files are slow for minutes after many old ones were deleted.
    let mut places = Vec::new();
    for (name, work) in WORKS {
        if asked.is_empty() || asked.iter().any(|word| word == name) {
            let place = Place::new();
            work(&place);
            places.push(place);
        }
    }
}

// ── what is measured ──

/// 100,000 files of 4 KiB, 100 in a folder: from opening the share until all of them are published.
fn first_scan(place: &Place) {
    const FILES: usize = 100_000;
    let source = place.folder("source");
    make_files(&source, FILES, 100, 4096);
    let limit = measure(|_| {
        let began = Instant::now();
        let mut bytes = 0;
        for folder in folders(&source) {
            for file in fs::read_dir(folder).unwrap() {
                bytes += blake3::hash(&fs::read(file.unwrap().path()).unwrap()).as_bytes().len();
            }
        }
        assert!(bytes >= 32 * FILES);
        began.elapsed()
    });
    let shell = measure(|round| {
        // A folder that knows nothing of us; nothing in it was changed.
        let _ = fs::remove_dir_all(source.join(".shoal"));
        let index = place.0.path().join(format!("index-{round}"));
        let began = Instant::now();
        let end = End::founder(&source, &index);
        end.wait(|status| status.phase == Phase::Live && !status.is_busy);
        began.elapsed()
    });
    print(&format!("first scan of {FILES} × 4 KiB"), &shell, &[("read and hashed, one thread", &limit)]);
}

/// The same, looked through again with nothing changed.
fn rescan(place: &Place) {
    const FILES: usize = 100_000;
    let source = place.folder("source");
    make_files(&source, FILES, 100, 4096);
    let end = End::founder(&source, &place.0.path().join("index"));
    end.wait(|status| status.phase == Phase::Live && !status.is_busy);
    let limit = measure(|_| {
        let began = Instant::now();
        let mut files = 0;
        for folder in folders(&source) {
            for file in fs::read_dir(folder).unwrap() {
                files += usize::from(file.unwrap().metadata().unwrap().len() == 4096);
            }
        }
        assert_eq!(files, FILES);
        began.elapsed()
    });
    let shell = measure(|_| {
        let began = Instant::now();
        end.shell.command(end.share, Command::Rescan);
        end.wait(|status| !status.is_busy);
        began.elapsed()
    });
    print(&format!("rescan of {FILES}"), &shell, &[("listed and looked at, one thread", &limit)]);
    let before = processor();
    thread::sleep(Duration::from_secs(10));
    println!("idle for 10 s: {:.2} ms of the processor", (processor() - before).as_secs_f64() * 1e3);
}

/// What this process has had of the processor.
fn processor() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// 50,000 files of 4 KiB come over, from the connection on until the other end has all of them, durably.
fn over(place: &Place) {
    const FILES: usize = 50_000;
    let source = place.folder("source");
    make_files(&source, FILES, 100, 4096);
    let giver = End::founder(&source, &place.0.path().join("giver"));
    giver.wait(|status| status.phase == Phase::Live && !status.is_busy);
    let shell = measure(|round| {
        let target = place.folder(&format!("target-{round}"));
        let taker = End::joined(&giver, &target, &place.0.path().join(format!("taker-{round}")), round as u8);
        taker.wait(|status| status.phase == Phase::FirstContact);
        let began = Instant::now();
        let conn = Conn(round as u64 + 1);
        connect(&giver, &taker, conn);
        taker.wait(Status::is_in_sync);
        let took = began.elapsed();
        assert_eq!(count(&target), FILES);
        giver.shell.disconnected(conn);
        took
    });
    let limit = measure(|round| {
        let target = place.folder(&format!("plain-{round}"));
        let began = Instant::now();
        make_files(&target, FILES, 100, 4096);
        sync(&target);
        began.elapsed()
    });
    print(&format!("{FILES} × 4 KiB come over"), &shell, &[("made and synced once, one thread", &limit)]);
}

/// 50,000 files of 4 KiB are staged and committed, durably, with their rows: the disk layer and the index alone, their records
/// known already. One thread stages, one commits, one notes; each hands a batch of a thousand to the next.
fn stage(place: &Place) {
    const FILES: usize = 50_000;
    const BATCH: usize = 1000;
    let source = place.folder("staged-source");
    make_files(&source, FILES, 100, 4096);
    let giver = End::founder(&source, &place.0.path().join("staged-giver"));
    giver.wait(|status| status.phase == Phase::Live && !status.is_busy);
    let share = giver.share;
    let batches =
        giver.shell.with_index(share, |index| index.everything(None, usize::MAX).unwrap().batches).unwrap();
    let shell = measure(|round| {
        let target = place.folder(&format!("staged-{round}"));
        let path = place.0.path().join(format!("stager-{round}"));
        let (mut index, worker) = giver.apart(&target, &path, round as u8);
        index
            .merge(batches.iter().map(|batch| Verified::check(batch.clone(), &share).unwrap()).collect())
            .unwrap();
        let rows = index.diverging(None, usize::MAX).unwrap();
        let (folders, files): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .map(|row| row.heads.winner().unwrap().clone())
            .partition(|head| head.version.kind == Kind::Directory);
        let bytes: Vec<Vec<u8>> =
            files.iter().map(|head| fs::read(source.join(head.path.to_string())).unwrap()).collect();

        let began = Instant::now();
        let index = Mutex::new(index);
        let (staged, stages) = sync_channel::<Vec<Planned>>(2);
        let (committed, commits) = sync_channel::<Vec<(Planned, Here)>>(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (worker, files, bytes) = (&worker, &files, &bytes);
                staged.send(folders.iter().map(|head| (head.clone(), None)).collect()).unwrap();
                for first in (0..files.len()).step_by(BATCH) {
                    let range = first..(first + BATCH).min(files.len());
                    for part in range.clone().collect::<Vec<_>>().chunks(250) {
                        let writes = part.iter().map(|&at| write(at, &bytes[at])).collect();
                        let Answer::Written(written) = worker.perform(Job::Write(writes)) else { panic!() };
                        assert!(written.iter().all(|written| *written == Written::Done));
                    }
                    staged
                        .send(range.map(|at| (files[at].clone(), Some(StageId(at as u64)))).collect())
                        .unwrap();
                }
                drop(staged);
            });
            scope.spawn(|| {
                for batch in stages {
                    let changes = batch.iter().map(|(head, stage)| change(head, *stage)).collect();
                    let Answer::Committed(outcomes) = worker.perform(Job::Commit(changes)) else { panic!() };
                    let done = batch.into_iter().zip(outcomes).map(|((head, stage), outcome)| {
                        let Committed::Done { now: Some(now), .. } = outcome else { panic!("{outcome:?}") };
                        let here = now.with_content(head.version.kind.content());
                        ((head, stage), here)
                    });
                    committed.send(done.collect()).unwrap();
                }
                drop(committed);
            });
            for batch in commits {
                let mut index = index.lock().unwrap();
                let intents =
                    batch.iter().map(|((head, _), _)| (head.path.clone(), Intent::Head(head.clone())));
                index.intend(intents.collect()).unwrap();
                let placed = batch.into_iter().map(|((head, _), here)| Placed {
                    path: head.path.clone(),
                    planned: None,
                    now: Some(here),
                    head: Some(head),
                    is_moved: false,
                });
                index.placed(placed.collect(), &[]).unwrap();
            }
        });
        let took = began.elapsed();
        assert_eq!(count(&target), FILES);
        assert!(index.into_inner().unwrap().diverging(None, 1).unwrap().is_empty());
        took
    });
    let limit = measure(|round| {
        let target = place.folder(&format!("staged-plain-{round}"));
        let began = Instant::now();
        make_files(&target, FILES, 100, 4096);
        sync(&target);
        began.elapsed()
    });
    print(
        &format!("{FILES} × 4 KiB staged and committed"),
        &shell,
        &[("made and synced once, one thread", &limit)],
    );
}

/// What is to stand at a path, and where its bytes are.
type Planned = (Record, Option<StageId>);

fn write(at: usize, bytes: &[u8]) -> Write {
    let segment = Segment { id: SegmentId::from_bytes(*blake3::hash(bytes).as_bytes()), length: 4096 };
    Write {
        stage: StageId(at as u64),
        size: 4096,
        offset: 0,
        segment,
        from: Source::Bytes(vec![bytes.to_vec()]),
    }
}

fn change(head: &Record, stage: Option<StageId>) -> Change {
    let deed = match stage {
        Some(_) => ChangeDeed::Place { version: head.version.clone(), stage, over: None },
        None => ChangeDeed::MakeFolder { mode: head.version.mode, over: None },
    };
    Change { path: head.path.clone(), deed, by: None, why: Why::Unknown }
}

/// One file of 4 KiB is saved, and nobody told but the watch: until it is a record, and until it stands at the other end,
/// durably. A hundred of them.
fn live(place: &Place) {
    let (source, target) = (place.folder("source"), place.folder("target"));
    let giver = End::founder(&source, &place.0.path().join("giver"));
    giver.wait(|status| status.phase == Phase::Live && !status.is_busy);
    let taker = End::joined(&giver, &target, &place.0.path().join("taker"), 1);
    connect(&giver, &taker, Conn(1));
    taker.wait(Status::is_in_sync);
    let counter = || giver.shell.with_index(giver.share, |index| index.life().counter).unwrap();
    let (mut limit, mut noted, mut over) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..100 {
        let began = Instant::now();
        let mut file = File::create(place.0.path().join(format!("plain-{number}"))).unwrap();
        file.write_all(&content(number, 4096)).unwrap();
        file.sync_all().unwrap();
        File::open(place.0.path()).unwrap().sync_all().unwrap();
        limit.push(began.elapsed());

        let (name, before) = (format!("file-{number}"), counter());
        fs::write(source.join(&name), content(number, 4096)).unwrap();
        let began = Instant::now();
        while counter() == before {
            thread::sleep(Duration::from_micros(200));
        }
        noted.push(began.elapsed());
        let path = target.join(&name);
        while !path.exists() {
            thread::sleep(Duration::from_micros(200));
        }
        over.push(began.elapsed());
        taker.wait(|status| !status.is_busy);
    }
    print("one file of 4 KiB is saved, until it is a record", &noted, &[("made and synced", &limit)]);
    print("… until it stands at the other end", &over, &[]);
}

// ── folders ──

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn folder(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }
}

fn make_files(folder: &Path, files: usize, per_folder: usize, size: usize) {
    for first in (0..files).step_by(per_folder) {
        let folder = folder.join(format!("holidays-{first:06}"));
        fs::create_dir(&folder).unwrap();
        for number in first..(first + per_folder).min(files) {
            fs::write(folder.join(format!("photo-{number:08}.jpg")), content(number, size)).unwrap();
        }
    }
}

/// Each number has its own.
fn content(number: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Those of the user.
fn folders(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.file_name().is_some_and(|name| name != ".shoal"))
}

fn count(folder: &Path) -> usize {
    folders(folder).map(|folder| fs::read_dir(folder).unwrap().count()).sum()
}

fn sync(folder: &Path) {
    rustix::fs::syncfs(File::open(folder).unwrap().as_fd()).unwrap();
}

// ── figures ──

/// Medians are of what comes after the first round.
fn measure(mut round: impl FnMut(usize) -> Duration) -> Vec<Duration> {
    (0..=ROUNDS).map(&mut round).skip(1).collect()
}

fn print(what: &str, took: &[Duration], limits: &[(&str, &[Duration])]) {
    println!("{what}: {}", told(took));
    for (name, limit) in limits {
        println!("    limit, {name}: {}", told(limit));
    }
}

fn told(times: &[Duration]) -> String {
    let mut times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    format!("{:.1} ms [{:.1}..{:.1}], 99 % {:.1}", at(0.5), at(0.0), at(1.0), at(0.99))
}
