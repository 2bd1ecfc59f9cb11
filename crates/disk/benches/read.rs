//! How fast a share is read, beside what the machine allows: `cargo bench -p shoal-disk --bench read`.
//!
//! Three works, each over files that are in memory already: sweeping 100,000 files in 1,000 folders; cutting and hashing
//! one large file; taking 100,000 files of 4 KiB. Beside each stands what bare system calls and bare hashing take in the
//! same run, turn by turn, so that whatever else the machine does meets both; and what the work has had of the
//! processors, which other work on the machine changes less. Files are made in the directory for
//! temporary ones, or in that of `SHOAL_BENCH_DIR`, and removed at the end.
//!
//! `-- sweep`, `-- cut` or `-- take` does one of them. `SHOAL_BENCH_ROUNDS` is how often; five unless told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends where it fails"
)]

use std::ffi::CString;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, StatxFlags};
use shoal_disk::{Folder, FolderOptions, Worker};
use shoal_engine::disk::{Answer, Job, Look, Seen, Sweep, Take, Taken};
use shoal_engine::index::List;
use shoal_proto::path::RelPath;
use shoal_proto::segment::SegmentList;

/// Folders of the tree, and files in each.
const FOLDERS: usize = 1_000;
const FILES_EACH: usize = 100;
const FILES: usize = FOLDERS * FILES_EACH;

/// Bytes of each of them.
const SMALL_BYTES: usize = 4 << 10;

/// Bytes of the large file.
const LARGE_BYTES: usize = 1 << 30;

/// As the engine asks for them.
const PAGE: usize = 1024;

fn main() {
    let works: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |work: &str| works.is_empty() || works.iter().any(|wanted| wanted == work);
    let above = std::env::var_os("SHOAL_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let place = tempfile::Builder::new().prefix("shoal-bench-").tempdir_in(above).unwrap();
    println!("{:<44} {:>7}  [least .. most]  processor  each", "", "median");
    if is_wanted("sweep") || is_wanted("take") {
        let root = place.path().join("many");
        make_many(&root);
        if is_wanted("sweep") {
            sweep(&root);
        }
        if is_wanted("take") {
            take(&root);
        }
    }
    if is_wanted("cut") {
        let root = place.path().join("large");
        make_large(&root);
        cut(&root);
    }
    println!("load: {}", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
}

fn sweep(root: &Path) {
    let sweep = |threads| assert_eq!(sweep_all(&worker(root, threads)).len(), FILES + FOLDERS);
    measure(
        &Each::Files(FILES),
        &mut [
            ("getdents, statx", &mut || bare_looks(root, 1)),
            ("getdents, statx; two threads", &mut || bare_looks(root, 2)),
            ("sweep", &mut || sweep(1)),
            ("sweep; two threads", &mut || sweep(2)),
        ],
    );
}

fn take(root: &Path) {
    let found: Vec<_> =
        sweep_all(&worker(root, 1)).into_iter().filter(|(_, seen)| seen.bytes() > 0).collect();
    measure(
        &Each::Files(FILES),
        &mut [
            ("open, read, hash, close", &mut || bare_reads(root, 1)),
            ("open, read, hash, close; two threads", &mut || bare_reads(root, 2)),
            ("take", &mut || take_all(&worker(root, 1), &found)),
            ("take; two threads", &mut || take_all(&worker(root, 2), &found)),
        ],
    );
}

fn cut(root: &Path) {
    let path = root.join("large");
    let bytes = fs::read(&path).unwrap();
    let list = take_one(root, 2, None);
    measure(
        &Each::Bytes(LARGE_BYTES),
        &mut [
            ("read", &mut || bare_read(&path)),
            ("hash what is in memory", &mut || _ = black_box(blake3::hash(&bytes))),
            ("take: cut and hash", &mut || drop(take_one(root, 1, None))),
            ("take: cut and hash; two threads", &mut || drop(take_one(root, 2, None))),
            ("take again, along its list", &mut || drop(take_one(root, 1, Some(&list)))),
            ("take again, along its list; two threads", &mut || drop(take_one(root, 2, Some(&list)))),
        ],
    );
}

fn worker(root: &Path, threads: usize) -> Worker {
    let (folder, _) = Folder::open(root, &FolderOptions::default()).unwrap();
    Worker::new(&folder).with_threads(threads)
}

/// What the engine does: page after page.
fn sweep_all(worker: &Worker) -> Vec<(RelPath, Seen)> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = Sweep { after: after.take(), at_most: PAGE, ..Sweep::default() };
        let Answer::Swept { entries, is_end } = worker.perform(Job::Sweep(page)) else { panic!() };
        after = entries.last().map(|(path, _)| path.clone());
        all.extend(entries.into_iter().map(|(path, look)| match look {
            Look::Seen(seen) => (path, seen),
            other => panic!("{path}: {other:?}"),
        }));
        if is_end {
            return all;
        }
    }
}

fn take_all(worker: &Worker, found: &[(RelPath, Seen)]) {
    for page in found.chunks(PAGE) {
        let asked = page.iter().map(|(path, seen)| Take::new(path.clone(), Some(seen.clone()))).collect();
        let Answer::Taken(taken) = worker.perform(Job::Take(asked)) else { panic!() };
        assert!(taken.iter().all(|taken| matches!(taken, Taken::Here { .. })));
    }
}

/// Names the one file in a folder.
fn take_one(root: &Path, threads: usize, was: Option<&SegmentList>) -> SegmentList {
    let worker = worker(root, threads);
    let Some((path, seen)) = sweep_all(&worker).pop() else { panic!() };
    let asked = Take { was: was.cloned(), ..Take::new(path, Some(seen)) };
    let Answer::Taken(mut taken) = worker.perform(Job::Take(vec![asked])) else { panic!() };
    match taken.pop() {
        Some(Taken::Here { list: Some(List::Whole(list)), .. }) => list,
        other => panic!("{other:?}"),
    }
}

trait Bytes {
    fn bytes(&self) -> u64;
}

impl Bytes for Seen {
    fn bytes(&self) -> u64 {
        match self.kind {
            shoal_engine::disk::SeenKind::File { size } => size,
            _ => 0,
        }
    }
}

// ── what the machine allows ──

/// Lists all folders and looks at all names in them.
fn bare_looks(root: &Path, threads: usize) {
    let seen = in_threads(root, threads, |folder| {
        each_name(folder, |name| {
            let flags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT);
            black_box(rustix::fs::statx(folder, name, flags, StatxFlags::BASIC_STATS).unwrap());
        })
    });
    assert_eq!(seen, FILES);
}

/// Reads and hashes all files.
fn bare_reads(root: &Path, threads: usize) {
    let seen = in_threads(root, threads, |folder| {
        let mut buffer = [0; SMALL_BYTES];
        each_name(folder, |name| {
            let mut file =
                File::from(rustix::fs::openat(folder, name, OFlags::RDONLY, Mode::empty()).unwrap());
            assert_eq!(file.read(&mut buffer).unwrap(), SMALL_BYTES);
            black_box(blake3::hash(&buffer));
        })
    });
    assert_eq!(seen, FILES);
}

fn bare_read(path: &Path) {
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut read = 0;
    while read < LARGE_BYTES {
        read += file.read(&mut buffer).unwrap();
    }
}

/// Goes through the folders, a part of them in each thread; tells how many names there were.
fn in_threads(root: &Path, threads: usize, each: impl Fn(&OwnedFd) -> usize + Sync) -> usize {
    let root = &open(root);
    let each = &each;
    std::thread::scope(|scope| {
        let part = |thread: usize| {
            move || -> usize {
                (thread..FOLDERS)
                    .step_by(threads)
                    .map(|number| {
                        let name = folder_name(number);
                        each(&rustix::fs::openat(root, name, DIRECTORY, Mode::empty()).unwrap())
                    })
                    .sum()
            }
        };
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(part(thread))).collect();
        part(0)() + others.into_iter().map(|other| other.join().unwrap()).sum::<usize>()
    })
}

/// Shows every name of a folder in the order of bytes.
fn each_name(folder: &OwnedFd, mut visit: impl FnMut(&CString)) -> usize {
    let mut buffer = [MaybeUninit::uninit(); 32 << 10];
    let mut entries = RawDir::new(folder, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let name = entry.unwrap().file_name().to_owned();
        if !name.as_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    names.sort_unstable();
    names.iter().for_each(&mut visit);
    names.len()
}

fn open(path: &Path) -> OwnedFd {
    rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()).unwrap()
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

// ── what is read ──

fn folder_name(number: usize) -> String {
    format!("folder {number:04}")
}

fn make_many(root: &Path) {
    for number in 0..FOLDERS {
        let folder = root.join(folder_name(number));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..FILES_EACH {
            let mut bytes = [0; SMALL_BYTES];
            fill(&mut bytes, number * FILES_EACH + file);
            fs::write(folder.join(format!("file {file:03}.txt")), bytes).unwrap();
        }
    }
    settle(root);
}

fn make_large(root: &Path) {
    fs::create_dir_all(root).unwrap();
    let mut bytes = vec![0; LARGE_BYTES];
    fill(&mut bytes, 0);
    fs::write(root.join("large"), bytes).unwrap();
    settle(root);
}

/// Bytes without a pattern.
fn fill(bytes: &mut [u8], number: usize) {
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(bytes);
}

/// What is not written out yet would be written in the middle of the first work.
fn settle(root: &Path) {
    rustix::fs::syncfs(open(root)).unwrap();
}

// ── measuring ──

/// What a time is divided by.
enum Each {
    Files(usize),
    Bytes(usize),
}

/// Does all of them in turn, some rounds, and prints what each took.
fn measure(each: &Each, works: &mut [(&str, &mut dyn FnMut())]) {
    let rounds = std::env::var("SHOAL_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let mut taken = vec![(Vec::new(), Vec::new()); works.len()];
    for _ in 0..rounds {
        for ((_, work), (seconds, processor)) in works.iter_mut().zip(&mut taken) {
            let (began, processor_began) = (Instant::now(), processor_seconds());
            work();
            seconds.push(began.elapsed().as_secs_f64());
            processor.push(processor_seconds() - processor_began);
        }
    }
    for ((name, _), (mut seconds, mut processor)) in works.iter().zip(taken) {
        seconds.sort_by(f64::total_cmp);
        processor.sort_by(f64::total_cmp);
        let (least, median, most) = (seconds[0], seconds[rounds / 2], seconds[rounds - 1]);
        let processor = processor[rounds / 2];
        let each = match each {
            Each::Files(files) => format!("{:.2} µs a file", median * 1e6 / *files as f64),
            Each::Bytes(bytes) => format!("{:.2} GB/s", *bytes as f64 / median / 1e9),
        };
        println!("{name:<44} {median:>6.3}s  [{least:.3} .. {most:.3}]  {processor:>6.3}s  {each}");
    }
}

/// What this process has had of all processors, for itself and in the system's calls.
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
