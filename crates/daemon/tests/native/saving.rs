//! A real folder with its watch, worker, index and engine, and programs that save files in it as editors do (E18): each
//! save is one version, and nothing is ever published as deleted that is only being replaced.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use shoal_disk::{Folder, FolderOptions, Heard, Watch, Worker};
use shoal_engine::Engine;
use shoal_engine::index;
use shoal_engine::io::{Action, Command, Hint, Input, Now, Opened};
use shoal_engine::limits::{EMPTIED_DELAY, LOOK_DELAY, WRITTEN_DELAY};
use shoal_engine::status::Phase;
use shoal_engine::time::Time;
use shoal_index::{At, Index};
use shoal_proto::id::{ShareId, WriterSalt};
use shoal_proto::key::DeviceKey;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Record};
use shoal_proto::roster::Founding;
use shoal_proto::secret::ShareSecret;

/// So long at most a test waits for what must come.
const SOON: Duration = Duration::from_secs(30);

/// A program is not to be held up by the machine for longer than this between two steps that belong together.
const AT_ONCE: Duration = LOOK_DELAY.saturating_sub(Duration::from_millis(2));

/// One way to save a file: what of it was there before is at this path.
type Save = fn(&Path, &mut Steps);

/// All ways.
const SAVES: [(&str, Save); 9] = [
    ("written in place", in_place),
    ("written in place, in pieces", in_pieces),
    ("emptied, closed, and written a while later", emptied),
    ("written beside, and moved over", moved_over),
    ("moved aside, written anew", moved_aside),
    ("as vim does it", as_vim),
    ("deleted, and another one moved there", deleted_first),
    ("with a lock beside it", with_lock),
    ("linked aside, and moved over", linked_aside),
];

#[test]
fn i13_e18_each_way_to_save_is_one_version() {
    let mut share = Share::new(tempfile::tempdir().unwrap(), &SAVES.map(|(name, _)| name));
    let mut left: BTreeMap<&str, Save> = SAVES.into();
    for round in 1..=40 {
        let root = share.root.clone();
        let saves = left.clone();
        let saving = std::thread::spawn(move || {
            let saved = saves.into_iter().map(|(name, save)| {
                let mut steps = Steps::new(round);
                save(&root.join(name).join("file"), &mut steps);
                (name, steps.are_in_time)
            });
            saved.collect::<Vec<_>>()
        });
        while !saving.is_finished() {
            share.live_on();
        }
        let saved = saving.join().unwrap();
        share.settle();
        for (name, is_in_time) in saved {
            let told = share.versions.remove(&path(&format!("{name}/file"))).unwrap_or_default();
            assert!(!told.is_empty(), "{name}: never noticed");
            // What took the machine too long may look like two saves.
            if is_in_time {
                assert_eq!(told, [Version::File(content(round).len())], "{name}");
                left.remove(name);
            }
        }
        if left.is_empty() {
            let others: Vec<_> = share.versions.keys().filter(|path| path.name() != b"sentinel").collect();
            println!("in time after {round} rounds; other paths that had a version: {others:?}");
            return;
        }
    }
    panic!("this machine is too slow to save like this: {:?}", left.keys());
}

/// What is copied into a new folder, more slowly than the folder is looked through, is not published half.
#[test]
fn i22_what_is_copied_into_a_new_folder_is_one_version() {
    let mut share = Share::new(tempfile::tempdir().unwrap(), &[]);
    for round in 1..=40 {
        let folder = share.root.join(format!("new {round}"));
        let copying = std::thread::spawn(move || {
            let mut steps = Steps::new(round);
            fs::create_dir(&folder).unwrap();
            in_pieces(&folder.join("file"), &mut steps);
            steps.are_in_time
        });
        while !copying.is_finished() {
            share.live_on();
        }
        share.settle();
        if copying.join().unwrap() {
            let told = &share.versions[&path(&format!("new {round}/file"))];
            assert_eq!(*told, [Version::File(content(round).len())]);
            return;
        }
    }
    panic!("this machine is too slow to copy like this");
}

/// E4: a file that is appended to all the time costs a few versions, not one each time.
#[test]
fn e4_a_log_is_not_a_version_each_time() {
    // In memory, if there is such a place: a slow disk would make few versions of it in any case.
    let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut share = Share::new(place, &["logs"]);
    let file = share.root.join("logs/log");
    let logging = std::thread::spawn(move || {
        let (began, mut lines) = (Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(2) {
            let mut log = OpenOptions::new().append(true).create(true).open(&file).unwrap();
            log.write_all(b"something happened\n").unwrap();
            drop(log);
            lines += 1;
            // Long enough for each line to be looked at by itself.
            std::thread::sleep(LOOK_DELAY * 4);
        }
        lines
    });
    while !logging.is_finished() {
        share.live_on();
    }
    let lines = logging.join().unwrap();
    share.settle();
    let told = &share.versions[&path("logs/log")];
    assert!((2..=14).contains(&told.len()), "{} versions of {lines} lines: {told:?}", told.len());
    assert_eq!(told.last(), Some(&Version::File(lines * 19)));
}

/// The folder of a share of a device that is alone.
struct Share {
    _place: tempfile::TempDir,
    root: PathBuf,
    id: ShareId,
    engine: Engine,
    index: Index,
    worker: Worker,
    _watch: Watch,
    heard: Receiver<Vec<Hint>>,
    actions: VecDeque<Action>,
    began: Instant,
    /// What was published of each path that a test did not put there at first.
    versions: BTreeMap<RelPath, Vec<Version>>,
    /// The newest of each path.
    current: BTreeMap<RelPath, Record>,
}

/// What is published of a path.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Version {
    /// A file of so many bytes.
    File(usize),
    /// Something else.
    Other,
    /// That it is deleted.
    Gone,
}

impl Share {
    /// A share with these folders, and a file in each.
    fn new(place: tempfile::TempDir, folders: &[&str]) -> Self {
        let root = place.path().join("share");
        fs::create_dir(&root).unwrap();
        for folder in folders {
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::write(root.join(folder).join("file"), content(0)).unwrap();
        }
        let (folder, _) = Folder::open(&root, &FolderOptions::default()).unwrap();
        let worker = Worker::new(&folder);
        let (tell, heard) = sync_channel(16);
        let watch = worker.watch(move |_, hints| match tell.try_send(hints) {
            Ok(()) => Heard::Taken,
            Err(TrySendError::Full(hints)) => Heard::Busy(hints),
            Err(TrySendError::Disconnected(_)) => Heard::NoMore,
        });
        assert_eq!(heard.recv_timeout(SOON).unwrap(), [Hint::Lost]);
        let key = Arc::new(DeviceKey::from_seed(&[1; 32]));
        let founding = Founding { creator: key.device(), random: [2; 32], cut: 1 };
        let mut share = Self {
            _place: place,
            root,
            id: founding.share(),
            engine: Engine::new(key.device(), [1; 32], "saving"),
            index: Index::create(At::Memory, founding, key, WriterSalt([1; 16])).unwrap(),
            worker,
            _watch: watch.unwrap(),
            heard,
            actions: VecDeque::new(),
            began: Instant::now(),
            versions: BTreeMap::new(),
            current: BTreeMap::new(),
        };
        let secrets = vec![ShareSecret::from_bytes([7; 32])];
        share.hear(Input::Opened(Opened::new(share.id, secrets)));
        share.hear(Input::Command(share.id, Command::Alone));
        share.settle();
        share.versions.clear();
        share
    }

    fn now(&self) -> Now {
        Now { time: Time::ZERO.after(self.began.elapsed()), wall: 1_700_000_000 }
    }

    fn hear(&mut self, input: Input) {
        self.engine.handle(input, self.now());
        while let Some(action) = self.engine.poll_action() {
            self.actions.push_back(action);
        }
    }

    /// Does what there is to do; waits a moment for hints if there is nothing.
    fn live_on(&mut self) {
        while let Some(action) = self.actions.pop_front() {
            match action {
                Action::Index(share, id, job) => {
                    let observed = match &job {
                        index::Job::Observe { observed, .. } => {
                            observed.iter().map(|observed| observed.path.clone()).collect()
                        }
                        _ => Vec::new(),
                    };
                    let answer = index::perform(job, &mut self.index);
                    self.note_versions(observed);
                    self.hear(Input::Indexed(share, id, answer));
                }
                Action::Disk(share, id, job) => {
                    let answer = self.worker.perform(job);
                    self.hear(Input::DiskDone(share, id, answer));
                }
                other => panic!("nobody is connected: {other:?}"),
            }
        }
        if self.engine.poll_timeout().is_some_and(|at| at <= self.now().time) {
            return self.hear(Input::Tick);
        }
        if let Ok(hints) = self.heard.recv_timeout(Duration::from_millis(1)) {
            for hint in hints {
                self.hear(Input::Hint(self.id, hint));
            }
        }
    }

    /// Lives on until all that happened is published, and nothing is to come.
    fn settle(&mut self) {
        let end = Instant::now() + SOON;
        let sentinel = path("sentinel");
        let before = self.versions.get(&sentinel).map_or(0, Vec::len);
        let text = format!("{:?}", self.began.elapsed());
        fs::write(self.root.join("sentinel"), text).unwrap();
        loop {
            self.live_on();
            let is_told = self.versions.get(&sentinel).map_or(0, Vec::len) > before;
            let later = self.now().time.after(Duration::from_secs(6));
            let is_quiet = self.engine.poll_timeout().is_none_or(|at| at > later);
            let status = self.engine.status(&self.id).unwrap();
            if is_told
                && is_quiet
                && self.actions.is_empty()
                && status.phase == Phase::Live
                && !status.is_busy
            {
                return;
            }
            assert!(Instant::now() < end, "{status:?}, {:?}", self.versions);
        }
    }

    /// Looks for versions of these paths that were not there before; one job of the index makes one of each at most.
    fn note_versions(&mut self, paths: Vec<RelPath>) {
        for path in paths {
            let row = self.index.triple(&path).unwrap();
            let Some(record) = row.as_ref().and_then(|row| row.heads.winner()) else { continue };
            if self.current.get(&path) == Some(record) {
                continue;
            }
            self.current.insert(path.clone(), record.clone());
            self.versions.entry(path).or_default().push(match &record.version.kind {
                Kind::File { size, .. } => Version::File(usize::try_from(*size).unwrap()),
                Kind::Gone { .. } => Version::Gone,
                _ => Version::Other,
            });
        }
    }
}

/// What one save takes, and whether the machine let it.
struct Steps {
    round: usize,
    last: Instant,
    are_in_time: bool,
}

impl Steps {
    fn new(round: usize) -> Self {
        Self { round, last: Instant::now(), are_in_time: true }
    }

    /// A step is done; what went before it must not be longer ago than this.
    fn within(&mut self, at_most: Duration) {
        self.are_in_time &= self.last.elapsed() < at_most;
        self.last = Instant::now();
    }

    fn begin(&mut self) {
        self.last = Instant::now();
    }
}

/// What stands in a file after this round; each time it is longer.
fn content(round: usize) -> String {
    "a line of text\n".repeat(100 + round)
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

/// Writes a new file beside one, in the given place.
fn write_new(at: &Path, steps: &mut Steps) {
    fs::write(at, content(steps.round)).unwrap();
    steps.within(AT_ONCE);
}

fn in_place(file: &Path, steps: &mut Steps) {
    steps.begin();
    write_new(file, steps);
}

fn in_pieces(file: &Path, steps: &mut Steps) {
    steps.begin();
    let mut open = File::create(file).unwrap();
    for piece in content(steps.round).as_bytes().chunks(300) {
        std::thread::sleep(Duration::from_millis(5));
        open.write_all(piece).unwrap();
        steps.within(WRITTEN_DELAY / 2);
    }
}

fn emptied(file: &Path, steps: &mut Steps) {
    File::create(file).unwrap();
    steps.begin();
    std::thread::sleep(EMPTIED_DELAY / 4);
    fs::write(file, content(steps.round)).unwrap();
    steps.within(EMPTIED_DELAY / 2);
}

fn moved_over(file: &Path, steps: &mut Steps) {
    let beside = file.with_file_name(".file.tmp");
    steps.begin();
    write_new(&beside, steps);
    fs::rename(&beside, file).unwrap();
    steps.within(AT_ONCE);
}

fn moved_aside(file: &Path, steps: &mut Steps) {
    let aside = file.with_file_name("file~");
    steps.begin();
    fs::rename(file, &aside).unwrap();
    write_new(file, steps);
    fs::remove_file(aside).unwrap();
    steps.within(AT_ONCE);
}

fn as_vim(file: &Path, steps: &mut Steps) {
    let (probe, aside) = (file.with_file_name("4913"), file.with_file_name("file~"));
    steps.begin();
    fs::write(&probe, "").unwrap();
    fs::remove_file(&probe).unwrap();
    fs::rename(file, &aside).unwrap();
    write_new(file, steps);
    let mode = fs::metadata(&aside).unwrap().permissions();
    fs::set_permissions(file, mode).unwrap();
    fs::remove_file(aside).unwrap();
    steps.within(AT_ONCE);
}

fn deleted_first(file: &Path, steps: &mut Steps) {
    let beside = file.with_file_name("file.new");
    steps.begin();
    write_new(&beside, steps);
    fs::remove_file(file).unwrap();
    fs::rename(beside, file).unwrap();
    steps.within(AT_ONCE);
}

fn with_lock(file: &Path, steps: &mut Steps) {
    let lock = file.with_file_name(".~lock.file#");
    fs::write(&lock, "somebody").unwrap();
    moved_over(file, steps);
    fs::remove_file(lock).unwrap();
}

fn linked_aside(file: &Path, steps: &mut Steps) {
    let (aside, beside) = (file.with_file_name("file.bak"), file.with_file_name("file.tmp"));
    steps.begin();
    fs::hard_link(file, &aside).unwrap();
    write_new(&beside, steps);
    fs::rename(beside, file).unwrap();
    fs::remove_file(aside).unwrap();
    steps.within(AT_ONCE);
}
