//! What engine and index cost at each end while a folder of small files comes over: `cargo bench -p shoal-sim`, or
//! `cargo bench -p shoal-sim -- FILES`.
//!
//! Two engines with indexes in files talk in messages, in one thread. Their disks are of paper: they show and take what
//! they are told and keep nothing, so that neither the time nor the memory is theirs. Time is the processor's, of this
//! thread, in engine and index alone; memory is the peak of the process beyond what it had before, with what the tables
//! of the indexes have grown by told beside it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends where it fails"
)]

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use shoal_engine::Engine;
use shoal_engine::disk::{self, BytesAt, ChangeDeed, Committed, Look, Seen, SeenKind, Taken, Written};
use shoal_engine::index;
use shoal_engine::io::{Action, Command, Conn, Input, Now, Opened};
use shoal_engine::status::{PeerStatus, Phase};
use shoal_engine::time::Time;
use shoal_index::{At, Index};
use shoal_proto::hash::ContentId;
use shoal_proto::id::WriterSalt;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Mode, Timestamp};
use shoal_proto::roster::Role;
use shoal_proto::secret::{ShareSecret, Side};
use shoal_sim::device::{Members, key};

/// How many files there are, if nothing is said.
const FILES: [u64; 2] = [100_000, 1_000_000];

/// How many files a folder has.
const FOLDER_FILES: u64 = 1_000;

/// What a file has, in bytes.
const SIZE: u64 = 64;

/// The name of the connection, at both ends.
const CONN: Conn = Conn(1);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked: Vec<u64> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    for files in if asked.is_empty() { FILES.to_vec() } else { asked } {
        come_over(files);
    }
}

/// A folder of so many files is looked through at one end and comes to the other.
fn come_over(files: u64) {
    let place = tempfile::tempdir().unwrap();
    let members = Members::new();
    let mut ends = [
        End::new(0, &members, &place.path().join("giver"), files),
        End::new(1, &members, &place.path().join("taker"), 0),
    ];
    ends[0].hear(Input::Command(members.share(), Command::Alone));
    run(&mut ends, |ends| ends[0].is_live());
    println!("{files} files: the first scan took {}", per_file(ends[0].spent, files));
    run(&mut ends, |ends| ends[1].waits());
    let (tables, before) = (ends.each_ref().map(End::tables), Memory::counted_anew());
    ends.iter_mut().for_each(|end| end.spent = Duration::ZERO);
    for (end, side) in [(0, Side::Listener), (1, Side::Dialler)] {
        let device = key(1 - end).device();
        let input = Input::Connected { conn: CONN, device, side, exporter: [3; 32] };
        ends[usize::from(end)].hear(input);
    }
    run(&mut ends, |ends| ends.iter().all(|end| end.is_in_sync()));
    assert_eq!(ends[1].disk.placed, files, "all have come");
    for (end, name) in ends.iter().zip(["giver", "taker"]) {
        println!("{files} files: engine and index of the {name} took {}", per_file(end.spent, files));
    }
    let grown: usize = ends.iter().zip(tables).map(|(end, tables)| end.tables() - tables).sum();
    let peak = Memory::peak().0 - before.0;
    println!(
        "{files} files: {} MB of memory at most beyond {} MB; {} MB of it the tables of both indexes",
        peak / 1_000,
        before.0 / 1_000,
        grown / 1_000_000
    );
}

fn per_file(spent: Duration, files: u64) -> String {
    let each = spent.as_secs_f64() * 1e6 / files as f64;
    format!("{:.2} s of the processor, {each:.1} µs a file", spent.as_secs_f64())
}

/// Lets both live on until this is so. Their time is what they have had of the processor; where neither has anything to
/// do, what is to come next comes at once.
fn run(ends: &mut [End; 2], is_done: impl Fn(&[End; 2]) -> bool) {
    let mut time = ends[0].time.max(ends[1].time);
    let mut spent = ends[0].spent + ends[1].spent;
    while !is_done(ends) {
        let mut has_moved = false;
        let now = ends[0].spent + ends[1].spent;
        time = time.after(now - spent);
        spent = now;
        for end in 0..2 {
            ends[end].time = time;
            if ends[end].engine.poll_timeout().is_some_and(|at| at <= time) {
                ends[end].hear(Input::Tick);
            }
            while ends[end].engine.is_reading(CONN)
                && let Some(input) = ends[1 - end].says.pop_front()
            {
                ends[end].hear(input);
                has_moved = true;
                if ends[1 - end].says.is_empty() {
                    ends[1 - end].hear(Input::Drained(CONN));
                }
            }
            has_moved |= ends[end].work();
        }
        if !has_moved {
            let next =
                ends.iter().filter_map(|end| end.engine.poll_timeout()).min().expect("something is to come");
            time = time.max(next);
        }
    }
}

/// One device.
struct End {
    engine: Engine,
    index: Index,
    disk: Paper,
    jobs: VecDeque<Action>,
    says: VecDeque<Input>,
    time: Time,
    share: shoal_proto::id::ShareId,
    /// By engine and index, of the processor.
    spent: Duration,
}

impl End {
    fn new(number: u8, members: &Members, file: &Path, files: u64) -> Self {
        let (share, key) = (members.share(), key(number));
        let device = key.device();
        let mut index =
            Index::create(At::File(file), members.founding, key, WriterSalt([number; 16])).unwrap();
        if number > 0 {
            index.add_entries(vec![members.joined(number, Role::Writer, "taker").unwrap()]).unwrap();
        }
        let mut end = Self {
            engine: Engine::new(device, [number; 32], "bench"),
            index,
            disk: Paper { files, placed: 0 },
            jobs: VecDeque::new(),
            says: VecDeque::new(),
            time: Time::ZERO,
            share,
            spent: Duration::ZERO,
        };
        end.hear(Input::Opened(Opened::new(share, vec![ShareSecret::from_bytes([7; 32])])));
        end
    }

    fn hear(&mut self, input: Input) {
        let began = clock();
        self.engine.handle(input, Now { time: self.time, wall: 1_700_000_000 });
        while let Some(action) = self.engine.poll_action() {
            self.jobs.push_back(action);
        }
        self.spent += clock() - began;
    }

    /// Does what the engine has asked for; whether there was anything.
    fn work(&mut self) -> bool {
        let has_jobs = !self.jobs.is_empty();
        while let Some(action) = self.jobs.pop_front() {
            match action {
                Action::Send(_, request, message) => {
                    self.says.push_back(Input::Received(CONN, request, message));
                }
                Action::HangUp(_) => panic!("a connection ends"),
                Action::Index(share, id, job) => {
                    let began = clock();
                    let answer = index::perform(job, &mut self.index);
                    self.spent += clock() - began;
                    self.hear(Input::Indexed(share, id, answer));
                }
                Action::Disk(share, id, job) => {
                    let answer = self.disk.perform(job);
                    self.hear(Input::DiskDone(share, id, answer));
                }
            }
        }
        has_jobs
    }

    fn is_live(&self) -> bool {
        self.jobs.is_empty()
            && self
                .engine
                .status(&self.share)
                .is_some_and(|status| status.phase == Phase::Live && !status.is_busy)
    }

    fn waits(&self) -> bool {
        self.engine.status(&self.share).is_some_and(|status| status.phase == Phase::FirstContact)
    }

    fn is_in_sync(&self) -> bool {
        let status = self.engine.status(&self.share).unwrap();
        status.is_in_sync() && status.peers.values().all(|peer| *peer == PeerStatus::InSync)
    }

    /// Bytes.
    fn tables(&self) -> usize {
        let usage = self.index.usage();
        usage.agreeing + usage.paths + usage.segments
    }
}

/// A disk that keeps nothing: the first so many files by their numbers, in the order of paths, are on it.
struct Paper {
    files: u64,
    /// How many files were put there.
    placed: u64,
}

impl Paper {
    fn perform(&mut self, job: disk::Job) -> disk::Answer {
        use disk::{Answer, Job};
        match job {
            Job::Sweep(sweep) => self.sweep(&sweep),
            Job::Take(paths) => Answer::Taken(paths.into_iter().map(take).collect()),
            Job::Read(wanted) => Answer::Read(wanted.iter().map(|wanted| read(&wanted.places)).collect()),
            Job::Write(writes) => Answer::Written(writes.iter().map(|_| Written::Done).collect()),
            Job::Commit(changes) => {
                Answer::Committed(changes.into_iter().map(|change| self.commit(change.deed)).collect())
            }
            Job::Drop(_) => Answer::Dropped,
            Job::History { .. } => Answer::History { kept: Vec::new(), next: None },
            Job::Ignores(paths) => Answer::Ignores(vec![false; paths.len()]),
            Job::Look(paths) => Answer::Looked(paths.iter().map(|_| Look::Nothing).collect()),
            other => panic!("nobody asks for {other:?}"),
        }
    }

    fn sweep(&self, sweep: &disk::Sweep) -> disk::Answer {
        assert!(sweep.below.is_none() && !sweep.is_shallow, "all is looked through");
        let folders = self.files.div_ceil(FOLDER_FILES);
        let first = sweep.after.as_ref().map_or(0, |after| place_of(after) + 1);
        let end = self.files + folders;
        let entries = (first..end).take(sweep.at_most).map(|place| {
            let (path, seen) = entry(place);
            (path, Look::Seen(seen))
        });
        let entries: Vec<_> = entries.collect();
        let is_end = first + entries.len() as u64 == end;
        disk::Answer::Swept { entries, is_end }
    }

    fn commit(&mut self, deed: ChangeDeed) -> Committed {
        let now = match deed {
            ChangeDeed::MakeFolder { .. } => folder(),
            ChangeDeed::Place { .. } => {
                self.placed += 1;
                file(self.placed)
            }
            other => panic!("nobody asks for {other:?}"),
        };
        Committed::Done { now: Some(now), kept: None }
    }
}

/// In the order of paths: each folder, and then what is in it.
fn entry(place: u64) -> (RelPath, Seen) {
    let (number, inside) = (place / (FOLDER_FILES + 1), place % (FOLDER_FILES + 1));
    let path = match inside {
        0 => format!("holidays-{number:06}"),
        _ => format!("holidays-{number:06}/photo-{:012}.jpg", inside - 1),
    };
    let seen = if inside == 0 { folder() } else { file(place) };
    (RelPath::parse(path.as_bytes()).unwrap(), seen)
}

fn place_of(path: &RelPath) -> u64 {
    let text = String::from_utf8(path.as_bytes().to_vec()).unwrap();
    let digits =
        |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>().parse::<u64>().unwrap();
    match text.split_once('/') {
        None => digits(&text) * (FOLDER_FILES + 1),
        Some((folder, file)) => digits(folder) * (FOLDER_FILES + 1) + digits(file) + 1,
    }
}

fn folder() -> Seen {
    Seen {
        kind: SeenKind::Directory,
        mtime: Timestamp::ZERO,
        mode: Mode::from_bits(0o755),
        inode: 1,
        ctime: Timestamp::ZERO,
    }
}

fn file(inode: u64) -> Seen {
    let mtime = Timestamp::new(1_700_000_000, 0).unwrap();
    Seen { kind: SeenKind::File { size: SIZE }, mtime, mode: Mode::from_bits(0o644), inode, ctime: mtime }
}

/// Each path has its own.
fn bytes(path: &RelPath) -> Vec<u8> {
    let mut bytes = path.as_bytes().to_vec();
    bytes.resize(usize::try_from(SIZE).unwrap(), b'.');
    bytes
}

fn take(disk::Take { path, seen, .. }: disk::Take) -> Taken {
    let content = ContentId::from_bytes(*blake3::hash(&bytes(&path)).as_bytes());
    seen.map_or(Taken::Nothing, |seen| {
        let content = if seen.kind == SeenKind::Directory { ContentId::NONE } else { content };
        Taken::Here { here: seen.with_content(content), list: None, is_suspicious: false }
    })
}

fn read(places: &[BytesAt]) -> Option<Vec<u8>> {
    places.iter().find_map(|place| match place {
        BytesAt::Folder { path, .. } => Some(bytes(path)),
        _ => None,
    })
}

/// What this thread has had of the processor.
fn clock() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap(), u32::try_from(now.tv_nsec).unwrap())
}

/// KiB.
struct Memory(u64);

impl Memory {
    /// What is taken now; the peak is counted from here on.
    fn counted_anew() -> Self {
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        Self::read("VmRSS:")
    }

    fn peak() -> Self {
        Self::read("VmHWM:")
    }

    fn read(name: &str) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        Self(line.trim().trim_end_matches(" kB").parse().unwrap())
    }
}
