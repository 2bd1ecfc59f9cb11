//! Each job of a worker, and each way in which it can be refused, on a disk in memory.

use std::cell::Cell;
use std::ops::Range;
use std::path::Path;

use shoal_engine::disk::{
    BytesAt, Change, ChangeDeed, Committed, Look, Seen, SeenKind, Source, StageId, Sweep, Take, Taken,
    Unknown, Write, Written,
};
use shoal_engine::history::{Kept, Naming, Why};
use shoal_engine::index::List;
use shoal_proto::cut;
use shoal_proto::hash::SegmentId;
use shoal_proto::id::DeviceId;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Mode, Timestamp, Version};
use shoal_proto::segment::{ListHasher, Segment};

use super::*;
use crate::mem::{Call, MemDisk, Quirks, Trouble};
use crate::testing::{Place, disks, secs};
use crate::{FolderOptions, Space};

mod changes;
mod cuts;
mod history;
mod ignoring;
mod staging;
mod taking;

/// A share in `/f` on a disk in memory.
struct Share {
    disk: MemDisk,
    worker: Worker<MemDisk>,
    /// See [`Share::later`].
    later: Cell<i64>,
}

impl Share {
    fn new() -> Self {
        Self::on(Quirks::default())
    }

    fn on(quirks: Quirks) -> Self {
        let disk = MemDisk::new(quirks);
        disk.user().make_dir("/f").unwrap();
        disk.set_time(secs(1_700_000_000));
        Self::of(disk)
    }

    fn of(disk: MemDisk) -> Self {
        Self { worker: open(&disk), disk, later: Cell::new(0) }
    }

    /// Ends the worker and begins another one.
    fn reopen(&mut self) {
        self.disk.crash();
        self.worker = open(&self.disk);
    }

    /// Time goes by, so that a change is seen in the change time.
    fn tick(&self, second: i64) {
        self.disk.set_time(secs(1_700_000_000 + second));
    }

    /// More time goes by than any [`Self::tick`] in a test says, and each time more: what was written is no longer young.
    fn later(&self) {
        self.later.set(self.later.get() + 10);
        self.tick(1_000 + self.later.get());
    }

    fn write(&self, at: &str, bytes: impl AsRef<[u8]>) {
        self.disk.user().write(&format!("/f/{at}"), bytes).unwrap();
    }

    fn read(&self, at: &str) -> Option<Vec<u8>> {
        self.disk.user().read(&format!("/f/{at}")).ok()
    }

    fn make_dir(&self, at: &str) {
        self.disk.user().make_dir(&format!("/f/{at}")).unwrap();
    }

    fn look(&self, at: &str) -> Look {
        match self.worker.perform(Job::Look(vec![path(at)])) {
            Answer::Looked(mut looks) => looks.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn seen(&self, at: &str) -> Seen {
        match self.look(at) {
            Look::Seen(seen) => seen,
            other => panic!("{at}: {other:?}"),
        }
    }

    fn sweep(&self, sweep: Sweep) -> (Vec<(RelPath, Look)>, bool) {
        match self.worker.perform(Job::Sweep(sweep)) {
            Answer::Swept { entries, is_end } => (entries, is_end),
            other => panic!("{other:?}"),
        }
    }

    /// All of the tree, in pages.
    fn all(&self, at_most: usize) -> Vec<String> {
        let (mut lines, mut after) = (Vec::new(), None);
        loop {
            let (entries, is_end) = self.sweep(Sweep { after: after.clone(), at_most, ..Sweep::default() });
            lines.extend(entries.iter().map(|(path, look)| format!("{path} {}", short(look))));
            if is_end {
                return lines;
            }
            after = entries.last().map(|(path, _)| path.clone());
        }
    }

    fn take(&self, at: &str) -> Taken {
        let seen = Some(self.seen(at));
        self.later();
        self.take_as(at, seen)
    }

    fn take_as(&self, at: &str, seen: Option<Seen>) -> Taken {
        match self.worker.perform(Job::Take(vec![Take::new(path(at), seen)])) {
            Answer::Taken(mut taken) => taken.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn put(&self, write: Write) -> Written {
        match self.worker.perform(Job::Write(vec![write])) {
            Answer::Written(mut written) => written.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// Stages all of a file under a number.
    fn stage(&self, stage: u64, bytes: &[u8]) -> Written {
        for write in writes(stage, bytes) {
            match self.put(write) {
                Written::Done => {}
                other => return other,
            }
        }
        Written::Done
    }

    fn commit(&self, changes: Vec<Change>) -> Vec<Committed> {
        match self.worker.perform(Job::Commit(changes)) {
            Answer::Committed(committed) => committed,
            other => panic!("{other:?}"),
        }
    }

    fn commit_one(&self, change: Change) -> Committed {
        self.commit(vec![change]).remove(0)
    }

    /// Stages and commits a file of another device's.
    fn place(&self, at: &str, stage: u64, bytes: &[u8], over: Option<Seen>) -> Committed {
        assert_eq!(self.stage(stage, bytes), Written::Done);
        self.commit_one(place(at, stage, bytes, over))
    }

    fn staged(&self) -> usize {
        self.disk.user().tree("/f/.shoal/staging").unwrap().len()
    }
}

fn open(disk: &MemDisk) -> Worker<MemDisk> {
    let (folder, _) = Folder::open_on(disk, Path::new("/f"), &FolderOptions::default()).unwrap();
    Worker::new(&folder)
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn time(second: i64) -> Timestamp {
    Timestamp::new(second, 0).unwrap()
}

const MODE: Mode = Mode::from_bits(0o640);

fn short(look: &Look) -> String {
    match look {
        Look::Seen(seen) => match &seen.kind {
            SeenKind::File { size } => size.to_string(),
            SeenKind::Directory => "folder".into(),
            SeenKind::Symlink { target } => format!("-> {}", String::from_utf8_lossy(target)),
        },
        other => format!("{other:?}"),
    }
}

/// Bytes without a pattern.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.push(u8::try_from(seed >> 56).unwrap());
    }
    bytes
}

fn segment(bytes: &[u8]) -> Segment {
    let id = SegmentId::from_bytes(*blake3::hash(bytes).as_bytes());
    Segment { id, length: u32::try_from(bytes.len()).unwrap() }
}

fn segments(bytes: &[u8]) -> Vec<(Range<usize>, Segment)> {
    cut::segments(bytes).map(|range| (range.clone(), segment(&bytes[range]))).collect()
}

fn content(bytes: &[u8]) -> shoal_proto::hash::ContentId {
    let mut list = ListHasher::new();
    segments(bytes).into_iter().for_each(|(_, segment)| list.push(segment).unwrap());
    list.finish().content
}

/// What puts all bytes of a file into a staged one, as they would come.
fn writes(stage: u64, bytes: &[u8]) -> Vec<Write> {
    let write = |(range, segment): (Range<usize>, Segment)| Write {
        stage: StageId(stage),
        size: bytes.len() as u64,
        offset: range.start as u64,
        segment,
        from: Source::Bytes(vec![bytes[range].to_vec()]),
    };
    segments(bytes).into_iter().map(write).collect()
}

fn place(at: &str, stage: u64, bytes: &[u8], over: Option<Seen>) -> Change {
    let kind = Kind::File { size: bytes.len() as u64, content: content(bytes) };
    let stage = (!bytes.is_empty()).then_some(StageId(stage));
    change(at, ChangeDeed::Place { version: Version::new(kind, time(1_600_000_000), MODE), stage, over })
}

fn change(at: &str, deed: ChangeDeed) -> Change {
    Change { path: path(at), deed, by: Some(DeviceId::from_bytes([7; 32])), why: Why::Replaced }
}

fn is_done(committed: &Committed) -> bool {
    matches!(committed, Committed::Done { .. })
}

// I19
#[test]
fn what_is_not_the_root_any_more_is_neither_looked_at_nor_changed() {
    let share = Share::new();
    share.write("a", "a");
    let seen = share.seen("a");
    share.disk.user().rename("/f", "/elsewhere").unwrap();
    share.disk.user().make_dir("/f").unwrap();
    let jobs = [
        Job::Look(vec![path("a")]),
        Job::Sweep(Sweep { at_most: 10, ..Sweep::default() }),
        Job::Take(vec![Take::new(path("a"), None)]),
        Job::Write(writes(1, b"x")),
        Job::Commit(vec![change("a", ChangeDeed::Remove(seen.clone()))]),
    ];
    for job in jobs {
        let text = format!("{job:?}");
        let Answer::NotTheRoot(why) = share.worker.perform(job) else { panic!("{text}") };
        assert!(why.contains("/f is another folder than before"), "{why}");
    }
    // Serving goes on.
    let wanted = Wanted { places: vec![BytesAt::Folder { path: path("a"), seen, offset: 0 }], length: 1 };
    assert_eq!(share.worker.perform(Job::Read(vec![wanted])), Answer::Read(vec![Some(b"a".to_vec())]));
}

#[test]
fn a_look_tells_what_is_there_and_never_takes_doubt_for_nothing() {
    let share = Share::new();
    share.make_dir("d");
    share.write("d/a", "12345");
    share.disk.user().symlink("to", "/f/d/link").unwrap();
    share.disk.user().touch("/f/d/a", secs(77)).unwrap();
    let Seen { kind, mtime, mode, .. } = share.seen("d/a");
    assert_eq!((kind, mtime, mode), (SeenKind::File { size: 5 }, time(77), Mode::from_bits(0o644)));
    let Seen { kind, mtime, ctime, .. } = share.seen("d");
    assert_eq!((kind, mtime, ctime), (SeenKind::Directory, Timestamp::ZERO, Timestamp::ZERO));
    let link = share.seen("d/link");
    assert_eq!((link.kind, link.mode), (SeenKind::Symlink { target: b"to"[..].into() }, Mode::ZERO));
    for nothing in ["x", "x/y/z", "d/a/below a file", "d/link/below a link"] {
        assert_eq!(share.look(nothing), Look::Nothing, "{nothing}");
    }
    // Whichever call fails, nothing is told to be gone.
    let before = share.disk.calls();
    share.look("d/a");
    for nth in 1..=share.disk.calls() - before {
        share.disk.fail_nth(None, nth, Trouble::Io);
        match share.worker.perform(Job::Look(vec![path("d/a")])) {
            Answer::NotTheRoot(_) | Answer::Failed(_) => {}
            Answer::Looked(looks) => {
                assert!(matches!(looks[..], [Look::Unknown(Unknown::Failed(_))]), "{looks:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_sweep_is_the_same_in_pages_of_any_size_and_with_others_in_between() {
    let share = Share::new();
    for dir in ["a", "a!", "a/b", "z"] {
        share.make_dir(dir);
    }
    for file in ["a!/x", "a/b/1", "a/b/2", "a/c", "b", "z/y"] {
        share.write(file, "12");
    }
    let all = share.all(100);
    let expected = [
        "a folder",
        "a! folder",
        "a!/x 2",
        "a/b folder",
        "a/b/1 2",
        "a/b/2 2",
        "a/c 2",
        "b 2",
        "z folder",
        "z/y 2",
    ];
    assert_eq!(all, expected);
    for at_most in 1..12 {
        assert_eq!(share.all(at_most), expected, "pages of {at_most}");
    }
    let below = |after: Option<&str>, is_shallow| {
        let sweep = Sweep { below: Some(path("a")), after: after.map(path), is_shallow, at_most: 2 };
        let (entries, is_end) = share.sweep(sweep);
        (entries.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>(), is_end)
    };
    assert_eq!(below(None, false), (vec!["a/b".into(), "a/b/1".into()], false));
    assert_eq!(below(None, true), (vec!["a/b".into(), "a/c".into()], false));
    // A page of a sweep goes on where it ended, also when another one came in between, and costs no new reading.
    let lists = |share: &Share| share.disk.trace().iter().filter(|call| call.starts_with("List")).count();
    share.disk.keep_trace();
    assert_eq!(below(Some("a/b/1"), false), (vec!["a/b/2".into(), "a/c".into()], false));
    assert_eq!((below(Some("a/c"), false), lists(&share)), ((vec![], true), 0));
    assert_eq!(
        share.sweep(Sweep { below: Some(path("none")), at_most: 5, ..Sweep::default() }),
        (vec![], true)
    );
}

// E20: a folder that cannot be read is told where its inside would come, and no page ends there for ever.
#[test]
fn a_folder_that_cannot_be_read_is_told_in_pages_of_any_size() {
    for at_most in 1..6 {
        let share = Share::new();
        share.make_dir("a");
        share.write("a/x", "");
        share.write("a!", "");
        share.write("b", "");
        let (mut lines, mut after) = (Vec::new(), None);
        loop {
            assert!(lines.len() < 20, "pages of {at_most} never end: {lines:?}");
            // Each page is a sweep of its own; what it reads after the root is `a`.
            let disk = share.disk.fork();
            let fresh = Share::of(disk);
            fresh.disk.fail_nth(Some(Call::List), 2, Trouble::Io);
            let (entries, is_end) = fresh.sweep(Sweep { after, at_most, ..Sweep::default() });
            lines.extend(entries.iter().map(|(path, look)| format!("{path} {}", short(look))));
            if is_end {
                break;
            }
            after = entries.last().map(|(path, _)| path.clone());
        }
        assert!(lines.remove(2).starts_with("a Unknown(Failed("), "{lines:?}");
        assert_eq!(lines, ["a folder", "a! 0", "b 0"], "pages of {at_most}");

        share.disk.fail_nth(Some(Call::List), 2, Trouble::Io);
        let mut lines = share.all(at_most);
        assert!(lines.remove(2).starts_with("a Unknown(Failed("), "{lines:?}");
        assert_eq!(lines, ["a folder", "a! 0", "b 0"], "pages of {at_most}, in one sweep");
        share.disk.fail_nth(Some(Call::List), 1, Trouble::Io);
        assert!(matches!(
            share.worker.perform(Job::Sweep(Sweep { at_most, ..Sweep::default() })),
            Answer::Failed(_)
        ));
    }
}

#[test]
fn names_that_no_path_can_say_are_told_apart_and_hide_nothing() {
    let share = Share::new();
    share.make_dir(".Shoal");
    share.write(".Shoal/x", "");
    share.write("a", "");
    assert_eq!(share.all(1), ["a 0"]);
    let left: Vec<_> = share.worker.left_out().iter().map(|left| left.shown().to_string()).collect();
    assert_eq!(left, [".Shoal"]);
}

#[test]
fn spans_are_read_whole_from_what_was_seen_or_not_at_all() {
    let share = Share::new();
    share.write("a", "0123456789");
    let seen = share.seen("a");
    let at = |offset| BytesAt::Folder { path: path("a"), seen: seen.clone(), offset };
    let read =
        |places: Vec<BytesAt>, length| match share.worker.perform(Job::Read(vec![Wanted { places, length }]))
        {
            Answer::Read(mut read) => read.remove(0),
            other => panic!("{other:?}"),
        };
    assert_eq!(read(vec![at(3)], 4), Some(b"3456".to_vec()));
    assert_eq!(read(vec![at(7)], 4), None, "only all of a span counts");
    let history = BytesAt::History { number: 99, size: 10, mtime: time(0), offset: 0 };
    assert_eq!(read(vec![history, at(0)], 2), Some(b"01".to_vec()), "the next place is asked");
    assert_eq!(read(vec![at(0)], u32::MAX), None);
    let staged = |offset| BytesAt::Staged { stage: StageId(1), offset };
    assert_eq!(read(vec![staged(0)], 1), None);
    assert_eq!(share.stage(1, b"staged"), Written::Done);
    assert_eq!(read(vec![staged(2)], 4), Some(b"aged".to_vec()));
    assert_eq!(share.worker.perform(Job::Drop(vec![StageId(1)])), Answer::Dropped);
    assert_eq!((read(vec![staged(0)], 1), share.staged()), (None, 0));
    share.tick(1);
    share.write("a", "changed!!!");
    assert_eq!(read(vec![at(0)], 2), None);
}

#[test]
fn the_history_comes_in_pages_and_can_be_read() {
    let share = Share::new();
    for number in 0..6 {
        share.tick(number);
        share.write("a", format!("version {number}"));
        let Committed::Done { now: None, kept: Some(kept) } =
            share.commit_one(change("a", ChangeDeed::Remove(share.seen("a"))))
        else {
            panic!()
        };
        assert_eq!((kept.path, kept.size), (Some(path("a")), 9));
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let Answer::History { kept: page, next } = share.worker.perform(Job::History { after }) else {
            panic!()
        };
        found.extend(page);
        if next.is_none() {
            break;
        }
        after = next;
    }
    assert_eq!(found.len(), 6);
    assert!(found.is_sorted_by_key(|kept| kept.number));
    for (number, kept) in found.iter().enumerate() {
        assert_eq!(kept.when, time(1_700_000_000 + i64::try_from(number).unwrap()));
        let Kept { number: file, size, mtime, .. } = *kept;
        let place = BytesAt::History { number: file, size, mtime, offset: 8 };
        let answer = share.worker.perform(Job::Read(vec![Wanted { places: vec![place], length: 1 }]));
        assert_eq!(answer, Answer::Read(vec![Some(number.to_string().into_bytes())]));
        let bytes = format!("version {number}");
        let named = share.worker.perform(Job::Name(kept.number));
        let content = content(bytes.as_bytes());
        assert_eq!(named, Answer::Named(Naming::Is { content, list: None, size, mtime }));
    }
    assert_eq!(share.worker.perform(Job::Name(999)), Answer::Named(Naming::Nothing), "nothing is there");
}

/// The same over this machine's files, in short.
#[test]
fn a_worker_works_on_this_machine_too() {
    let dir = Place::new();
    std::fs::create_dir(dir.at("d")).unwrap();
    dir.write("d/a", "old");
    let worker = Worker::new(&dir.open());
    let Answer::Looked(looks) = worker.perform(Job::Look(vec![path("d/a")])) else { panic!() };
    let [Look::Seen(seen)] = &looks[..] else { panic!("{looks:?}") };
    let Answer::Taken(taken) = worker.perform(Job::Take(vec![Take::new(path("d/a"), Some(seen.clone()))]))
    else {
        panic!()
    };
    let [Taken::Here { here, .. }] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!(here.version.kind, Kind::File { size: 3, content: content(b"old") });
    let bytes = noise(700_000, 3);
    let mut parts = writes(5, &bytes);
    parts.reverse();
    assert!(matches!(worker.perform(Job::Write(parts)), Answer::Written(_)));
    let changes = vec![place("d/a", 5, &bytes, Some(seen.clone()))];
    let Answer::Committed(committed) = worker.perform(Job::Commit(changes)) else { panic!() };
    let [Committed::Done { now: Some(now), kept: Some(_) }] = &committed[..] else { panic!("{committed:?}") };
    assert_eq!((now.mtime, now.mode), (time(1_600_000_000), MODE));
    assert_eq!(worker.perform(Job::Look(vec![path("d/a")])), Answer::Looked(vec![Look::Seen(now.clone())]));
    assert_eq!(std::fs::read(dir.at("d/a")).unwrap(), bytes);
}

/// Who asks from one thread or has several at work gets the same answers, in the same order.
#[test]
fn several_threads_change_no_answer() {
    let mut share = Share::new();
    share.write(IGNORE_NAME, "*.tmp\nhidden/\n");
    for folder in ["a", "a!", "b", "hidden", "z"] {
        share.make_dir(folder);
        for file in 0..40 {
            share.write(&format!("{folder}/{file:02}"), format!("{folder} {file}"));
            share.write(&format!("{folder}/{file:02}.tmp"), "none of theirs");
        }
    }
    share.write("b/large", noise(5 << 20, 3));
    share.disk.user().symlink("to", "/f/b/link").unwrap();
    share.later();
    let answers = |share: &Share| {
        let swept: Vec<_> = [1, 7, 1000].map(|page| share.all(page)).into();
        let paths = swept[0].iter().filter_map(|line| line.split(' ').next()).map(path);
        let mut asked: Vec<_> = paths
            .map(|path| match share.worker.perform(Job::Look(vec![path.clone()])) {
                Answer::Looked(looks) => match &looks[..] {
                    [Look::Seen(seen)] => Take::new(path, Some(seen.clone())),
                    _ => Take::new(path, None),
                },
                other => panic!("{other:?}"),
            })
            .collect();
        // One that is not what was seen, and one that is not there.
        asked[5].seen = None;
        asked.insert(9, Take::new(path("nowhere"), None));
        (swept, share.worker.perform(Job::Take(asked)))
    };
    let alone = answers(&share);
    let Answer::Taken(taken) = &alone.1 else { panic!("{:?}", alone.1) };
    assert!(taken.iter().filter(|taken| matches!(taken, Taken::Here { .. })).count() > 160, "{taken:?}");
    for threads in [2, 5] {
        share.reopen();
        share.worker = share.worker.with_threads(threads);
        assert!(answers(&share) == alone, "{threads} threads");
    }
}

// E20
#[test]
fn e20_a_job_of_several_threads_that_fails_in_one_of_them_has_failed() {
    let mut share = Share::on(Quirks { durability: crate::Durability::EachFile, ..Quirks::default() });
    let names: Vec<_> = (0..100).map(|number| format!("{number}")).collect();
    names.iter().for_each(|name| share.write(name, name));
    share.worker = share.worker.with_threads(3);
    let asked = names.iter().map(|name| Take::new(path(name), Some(share.seen(name)))).collect::<Vec<_>>();
    share.later();
    for nth in [1, 40, 100] {
        share.disk.fail_nth(Some(Call::SyncFile), nth, Trouble::Io);
        let answer = share.worker.perform(Job::Take(asked.clone()));
        assert!(matches!(answer, Answer::Failed(_)), "{nth}: {answer:?}");
    }
    assert!(matches!(share.worker.perform(Job::Take(asked)), Answer::Taken(_)));
}

/// Whoever looks through all of it anew, after having been stopped, goes on with nothing that was begun before.
#[test]
fn a_sweep_that_nobody_goes_on_with_is_forgotten() {
    let share = Share::new();
    for at in ["a", "b", "d"] {
        share.write(at, at);
    }
    for _ in 0..5 {
        let (entries, is_end) = share.sweep(Sweep { at_most: 1, ..Sweep::default() });
        assert_eq!((entries.len(), is_end), (1, false));
        assert_eq!(share.worker.sweeps().open.len(), 1);
    }
    let after = Some(path("a"));
    assert_eq!(share.sweep(Sweep { at_most: 9, after, ..Sweep::default() }).0.len(), 2);
    assert!(share.worker.sweeps().open.is_empty());
}

#[test]
fn a_worker_that_is_to_end_begins_nothing() {
    let share = Share::new();
    share.write("a", "1");
    let remove = Job::Commit(vec![change("a", ChangeDeed::Remove(share.seen("a")))]);
    share.worker.end();
    for job in [Job::Look(vec![path("a")]), Job::Sweep(Sweep::default()), remove] {
        assert!(matches!(share.worker.perform(job), Answer::Failed(_)));
    }
    assert_eq!(share.read("a"), Some(b"1".to_vec()));
}
