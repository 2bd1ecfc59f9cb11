//! What jobs on a million paths cost: `cargo bench -p shoal-index`. Figures about bytes are printed first.
//!
//! Where other work shares the machine, time of the processor says more than time on the wall:
//! `cargo bench -p shoal-index -- alone JOB FILE` does one job in a process of its own and prints both, and how much memory
//! it took at most beyond what it began with. Jobs: `merge`, `shuffled` and `observe` make the file; `open`, `stream`,
//! `survey` and `give` read it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and ends where it fails")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use divan::Bencher;
use divan::counter::ItemsCount;
use shoal_index::{At, Here, Index, Merged, Observed, Placed, Verified};
use shoal_proto::batch::{Batch, Part};
use shoal_proto::digest::Leaf;
use shoal_proto::dot::{Dot, Seen};
use shoal_proto::hash::{ContentId, Domain, RecordHash};
use shoal_proto::id::{ShareId, Writer, WriterSalt};
use shoal_proto::key::DeviceKey;
use shoal_proto::path::RelPath;
use shoal_proto::publication::{Place, Publication};
use shoal_proto::reconcile::Records;
use shoal_proto::record::{Kind, Mode, Record, Timestamp, Version};
use shoal_proto::roster::Founding;

/// How many paths there are.
const PATHS: u64 = 1_000_000;

/// How many publications one job merges.
const PUBLICATIONS: usize = 64;

/// How many observations one job notes.
const OBSERVED: usize = 10_000;

/// How many records are asked for at once.
const GIVEN: usize = 10_000;

/// How many rows a page of the work has.
const PAGE: usize = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [alone, job, file, ..] = &*arguments
        && alone == "alone"
    {
        return do_alone(job, Path::new(file));
    }
    for (name, path) in [("all diverging", diverging()), ("all settled", settled())] {
        print_bytes(name, path);
    }
    print_what_streaming_takes(diverging());
    divan::main();
}

fn print_bytes(name: &str, file: &Path) {
    let usage = open(file).usage();
    println!(
        "{PATHS} paths, {name}: {} bytes of database a path, {} of memory",
        std::fs::metadata(file).map_or(0, |file| file.len()) / PATHS,
        (usage.agreeing + usage.paths + usage.segments) / 1_000_000
    );
}

/// In a process of its own, whose memory has not been used for anything else.
fn print_what_streaming_takes(file: &Path) {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args(["alone", "stream"]).arg(file).output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
}

fn do_alone(job: &str, file: &Path) {
    match job {
        "merge" => {
            let (mut index, publications) = (empty(file), published());
            Spent::since_begin(job, || merge(&mut index, publications));
            index.close().unwrap();
        }
        "shuffled" => {
            let (mut index, publications) = (empty(file), publish(shuffled().into_iter()));
            Spent::since_begin(job, || merge(&mut index, publications));
            index.close().unwrap();
        }
        "observe" => Spent::since_begin(job, || observe(file)),
        "open" => {
            Spent::since_begin(job, || open(file).close().unwrap());
            print_bytes(job, file);
        }
        "stream" => {
            let index = open(file);
            Spent::since_begin(job, || assert!(stream(&index) > 0));
            index.close().unwrap();
        }
        "survey" => {
            let index = open(file);
            Spent::since_begin(job, || assert_eq!(index.survey().unwrap().0.lost, 0));
            index.close().unwrap();
        }
        "give" => {
            let index = open(file);
            Spent::since_begin(job, || give(&index));
            index.close().unwrap();
        }
        _ => println!("no such job: {job}"),
    }
}

/// What this process has spent.
struct Spent {
    wall: std::time::Instant,
    /// In hundredths of a second: in the program, and in the system on its behalf.
    processor: [u64; 2],
    /// KiB of memory that are taken.
    taken: u64,
}

impl Spent {
    /// Prints what it takes to do this.
    fn since_begin(name: &str, job: impl FnOnce()) {
        // From here on the peak is counted anew.
        let is_peak_known = std::fs::write("/proc/self/clear_refs", "5").is_ok();
        let before = Self::now("VmRSS:");
        job();
        let after = Self::now("VmHWM:");
        let [user, system] = [0, 1].map(|at| after.processor[at] - before.processor[at]);
        println!(
            "{name}: {:.2} s, of the processor {}.{:02} s and in the system {}.{:02} s",
            (after.wall - before.wall).as_secs_f64(),
            user / 100,
            user % 100,
            system / 100,
            system % 100
        );
        if is_peak_known {
            let more = after.taken.saturating_sub(before.taken);
            println!("{name}: {more} KiB of memory at most, beyond {} KiB at its beginning", before.taken);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]
    fn now(memory: &str) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(memory)).unwrap();
        let taken = line.trim().trim_end_matches(" kB").parse().unwrap();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        // After the name, which may hold anything, `utime` and `stime` are the twelfth and thirteenth.
        let after_name = stat.rsplit(')').next().unwrap();
        let mut ticks = after_name.split_whitespace().skip(11).map(|ticks| ticks.parse().unwrap());
        let processor = [ticks.next().unwrap(), ticks.next().unwrap()];
        Self { wall: std::time::Instant::now(), processor, taken }
    }
}

/// An empty index takes in all records, as a stream of everything sends them.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn merge_a_million(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let mut made = 0;
    bencher
        .counter(ItemsCount::new(PATHS))
        .with_inputs(|| {
            made += 1;
            (empty(&folder.path().join(made.to_string())), published())
        })
        .bench_local_values(|(mut index, publications)| merge(&mut index, publications));
}

/// The same in leaf order, the worst one for a table in path order.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn merge_a_million_shuffled(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let mut made = 0;
    bencher
        .counter(ItemsCount::new(PATHS))
        .with_inputs(|| {
            made += 1;
            (empty(&folder.path().join(made.to_string())), publish(shuffled().into_iter()))
        })
        .bench_local_values(|(mut index, publications)| merge(&mut index, publications));
}

/// A first scan notes and publishes all files.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn observe_a_million(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    bencher.counter(ItemsCount::new(PATHS)).bench(|| observe(&path));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn open_a_million_settled(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(PATHS)).bench(|| open(settled()));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn open_a_million_diverging(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(PATHS)).bench(|| open(diverging()));
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn stream_a_million_diverging(bencher: Bencher<'_, '_>) {
    let index = open(diverging());
    bencher.counter(ItemsCount::new(PATHS)).bench_local(|| stream(&index));
}

/// The disk shows a batch of files that was fetched.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn place_a_thousand(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let mut index = empty(&folder.path().join("index"));
    merge(&mut index, publish(records().take(20 * PAGE)));
    bencher.counter(ItemsCount::new(PAGE)).with_inputs(|| ()).bench_local_values(|()| {
        let page = index.diverging(None, PAGE).unwrap();
        let placed = page.into_iter().map(|triple| {
            let head = triple.heads.winner().unwrap();
            let now = Some(Here { version: head.version.clone(), inode: 7, ctime: Timestamp::ZERO });
            Placed { planned: triple.here, now, head: Some(head.clone()), path: triple.path, is_moved: false }
        });
        index.placed(placed.collect(), &[]).unwrap()
    });
}

/// All hashes in order, as the proof at the end of agreeing reads them.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn visit_a_million(bencher: Bencher<'_, '_>) {
    let index = open(diverging());
    bencher.bench_local(|| {
        let mut sum = 0;
        index.visit(&mut |_, hashes| sum += hashes.len());
        sum
    });
}

fn key() -> Arc<DeviceKey> {
    Arc::new(DeviceKey::from_seed(&[1; 32]))
}

fn founding() -> Founding {
    Founding { creator: key().device(), random: [2; 32], cut: 1 }
}

fn share() -> ShareId {
    founding().share()
}

/// The index of another life of the creator's device, so that its records count.
fn empty(path: &Path) -> Index {
    Index::create(At::File(path), founding(), key(), WriterSalt([9; 16])).unwrap()
}

fn path(number: u64) -> RelPath {
    RelPath::parse(
        format!("projects/folder {:05}/part {}/photo {number:07}.jpeg", number / 100, number / 25 % 4)
            .as_bytes(),
    )
    .unwrap()
}

fn version(number: u64) -> Version {
    let content = ContentId::from_bytes(Domain::RECORD.hash_one(&number.to_be_bytes()));
    let mtime = Timestamp::new(1_700_000_000, 123_456_789).unwrap();
    Version::new(Kind::File { size: 1 + number, content }, mtime, Mode::from_bits(0o644))
}

fn records() -> impl Iterator<Item = Record> {
    let writer = Writer::drawn(&key().device(), &share(), &WriterSalt([3; 16]));
    (0..PATHS).map(move |number| {
        let dot = Dot::new(writer, number + 1);
        let (path, version, seen, displaced) =
            (path(number), version(number), Seen::default(), Box::default());
        Record { path, version, dot, seen, origin: dot, displaced, copy_of: None }
    })
}

fn shuffled() -> Vec<Record> {
    let mut records: Vec<_> = records().collect();
    records.sort_by_cached_key(|record| (Leaf::of(&share(), &record.path), record.hash()));
    records
}

fn published() -> Vec<Verified> {
    publish(records())
}

fn publish(records: impl Iterator<Item = Record>) -> Vec<Verified> {
    let mut records = records.peekable();
    let (mut last, mut all) = (None, Vec::new());
    while records.peek().is_some() {
        let records: Vec<_> = records.by_ref().take(1024).collect();
        let hashes: Vec<RecordHash> = records.iter().map(Record::hash).collect();
        let publication = Publication::sign(&key(), &share(), WriterSalt([3; 16]), last, &hashes).unwrap();
        last = Some(Place { sequence: publication.sequence, hash: publication.hash(&share()) });
        all.push(Verified::check(Batch { publication, part: Part::Whole, records }, &share()).unwrap());
    }
    all
}

fn merge(index: &mut Index, publications: Vec<Verified>) {
    let mut publications = publications.into_iter().peekable();
    while publications.peek().is_some() {
        let job = publications.by_ref().take(PUBLICATIONS).collect();
        assert!(matches!(index.merge(job).unwrap(), Merged::Done(_)));
    }
}

fn observe(path_of_index: &Path) {
    let mut index = empty(path_of_index);
    let mut numbers = (0..PATHS).peekable();
    while numbers.peek().is_some() {
        let observed = numbers.by_ref().take(OBSERVED).map(|number| {
            let found = Here {
                version: version(number),
                inode: number,
                ctime: Timestamp::new(1_700_000_000, 1).unwrap(),
            };
            Observed { path: path(number), compared: None, found: Some(found) }
        });
        index.observe(observed.collect(), &[]).unwrap();
    }
    index.close().unwrap();
}

fn stream(index: &Index) -> usize {
    let (mut last, mut rows) = (None, 0);
    loop {
        let page = index.diverging(last.as_ref(), PAGE).unwrap();
        rows += page.len();
        match page.into_iter().last() {
            Some(triple) => last = Some(triple.path),
            None => return rows,
        }
    }
}

/// The records of the first leaves, some of each publication: each needs a proof.
fn give(index: &Index) {
    let mut hashes = Vec::new();
    index.visit(&mut |_, some| hashes.extend_from_slice(some));
    hashes.truncate(GIVEN);
    assert!(!index.batches(&hashes).unwrap().is_empty());
}

fn open(path: &Path) -> Index {
    Index::open(path, &share(), key()).unwrap()
}

fn diverging() -> &'static Path {
    static FILE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut index = empty(&path);
        merge(&mut index, published());
        index.close().unwrap();
        (folder, path)
    };
    &FILE.get_or_init(make).1
}

fn settled() -> &'static Path {
    static FILE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        observe(&path);
        (folder, path)
    };
    &FILE.get_or_init(make).1
}
