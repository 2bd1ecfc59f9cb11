//! Times, sizes, names and paths at the ends of what a file system can have.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use shoal_engine::disk::{
    Answer, Change, ChangeDeed, Committed, Job, Source, StageId, Taken, Write, Written,
};
use shoal_engine::history::Why;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Mode, Timestamp, Version};
use shoal_proto::segment::Segment;

use super::{Share, content, file, is_done};
use crate::workload::{in_memory, path, place_file};

#[test]
fn e6_new_content_with_the_old_time_and_size_is_seen() {
    let share = Share::new();
    share.write("a", "old");
    let before = share.seen("a").unwrap();
    let mtime = fs::metadata(share.path("a")).unwrap().modified().unwrap();
    let touch_back = |name: &str| {
        fs::File::options().write(true).open(share.path(name)).unwrap().set_modified(mtime).unwrap();
    };
    // Later than the clock of the file system is coarse.
    std::thread::sleep(Duration::from_millis(20));
    share.write("a", "new");
    touch_back("a");
    let after = share.seen("a").unwrap();
    assert_eq!((before.mtime, before.inode), (after.mtime, after.inode));
    assert_ne!(before, after, "by its change time");
    assert_eq!(share.take_as("a", Some(before)), Taken::Changed);
    share.write("b", "by");
    touch_back("b");
    fs::rename(share.path("b"), share.path("a")).unwrap();
    assert_ne!(share.seen("a").unwrap(), after, "by its number");
}

#[test]
fn e10_what_the_disk_made_of_a_time_is_what_is_told() {
    let share = Share::new();
    for (number, second) in
        [-1, 0, -2_208_988_800, 2_147_483_648, 15_032_385_535, 253_402_300_799].into_iter().enumerate()
    {
        let name = format!("a{number}");
        share.write(&name, "text");
        let deed = |present, nanos| ChangeDeed::Retouch {
            present,
            mtime: Timestamp::new(second, nanos),
            mode: Mode::from_bits(0o644),
        };
        let answer = share.commit(&name, deed(share.seen(&name).unwrap(), 999_999_999));
        let Committed::Done { now: Some(told), .. } = answer else { panic!("{second}: {answer:?}") };
        let seen = share.seen(&name).unwrap();
        assert_eq!(told, seen, "{second}");
        // What was told can be asked for, and nothing changes any more.
        let again = ChangeDeed::Retouch { present: seen.clone(), mtime: Some(seen.mtime), mode: seen.mode };
        assert!(is_done(&share.commit(&name, again)));
        assert_eq!(share.seen(&name).unwrap().mtime, seen.mtime, "{second}");
    }
}

#[test]
fn e11_holes_stay_holes_and_what_cannot_be_stored_is_refused() {
    let share = Share::new();
    let (size, zeros) = (64 << 20, Segment::ZEROS);
    let write =
        |offset| Write { stage: StageId(1), size, offset, segment: zeros, from: Source::Places(Vec::new()) };
    let writes: Vec<_> =
        (0..size / u64::from(zeros.length)).map(|at| write(at * u64::from(zeros.length))).collect();
    let Answer::Written(written) = share.worker.perform(Job::Write(writes)) else { panic!() };
    assert!(written.iter().all(|written| *written == Written::Done));
    let content = Kind::File { size, content: shoal_proto::hash::ContentId::NONE };
    let version = Version::new(content, Timestamp::new(5, 0).unwrap(), Mode::from_bits(0o644));
    let answer = share.commit("sparse", ChangeDeed::Place { version, stage: Some(StageId(1)), over: None });
    assert!(is_done(&answer), "{answer:?}");
    let seen = fs::metadata(share.path("sparse")).unwrap();
    assert_eq!(seen.len(), size);
    assert!(seen.blocks() * 512 < size / 16, "{} blocks for nothing", seen.blocks());
    let size = share.folder.free_space().unwrap() * 2;
    let huge = Write { stage: StageId(2), size, ..write(0) };
    let answer = share.worker.perform(Job::Write(vec![huge]));
    assert!(matches!(&answer, Answer::Written(written) if written == &[Written::NoSpace]), "{answer:?}");
    assert_eq!(share.staged(), 0);
}

#[test]
fn e12_names_are_bytes() {
    let share = Share::new();
    let emoji = "💾".repeat(63) + "abc";
    let names: [&[u8]; 7] =
        [b"caf\xe9", b"new\nline", emoji.as_bytes(), b"-rf", b"   ", b"\xff\xfe", b"tab\tand\x1b[31m"];
    for (stage, name) in names.iter().enumerate() {
        let at = RelPath::parse(name).unwrap();
        let deed = place_file(&share.worker, stage as u64, "from others", None).unwrap();
        let answer =
            share.worker.perform(Job::Commit(vec![Change { path: at, deed, by: None, why: Why::Unknown }]));
        assert!(matches!(&answer, Answer::Committed(committed) if is_done(&committed[0])), "{answer:?}");
        let read = fs::read_to_string(share.place.path().join(OsStr::from_bytes(name))).unwrap();
        assert_eq!(read, "from others");
    }
    let found: Vec<_> = share.sweep(3).into_iter().map(|(path, _)| path.as_bytes().to_vec()).collect();
    assert!(found.is_sorted() && names.iter().all(|name| found.iter().any(|found| found == name)));
}

#[test]
fn e14_paths_are_walked_to_that_no_call_of_the_system_takes() {
    // By length, together with the path of the share; by depth.
    for (name, depth) in [("n".repeat(203), 20), ("n".to_owned(), 127)] {
        let share = Share::new();
        let folders: Vec<_> = (1..=depth).map(|depth| vec![&*name; depth].join("/")).collect();
        let make = |at: &String| Change {
            path: path(at),
            deed: ChangeDeed::MakeFolder { mode: Mode::from_bits(0o755), over: None },
            by: None,
            why: Why::Unknown,
        };
        let made = share.worker.perform(Job::Commit(folders.iter().map(make).collect()));
        let Answer::Committed(committed) = made else { panic!("{made:?}") };
        assert!(committed.iter().all(is_done), "{committed:?}");
        let deepest = format!("{}/{}", folders[depth - 1], "x".repeat(10));
        assert!(is_done(&share.place(&deepest, "deep", None)));
        assert_eq!(content(&share.take(&deepest)), Some(file("deep")));
        assert_eq!(share.sweep(7).len(), depth + 1);
        let present = share.seen(&deepest).unwrap();
        assert!(is_done(&share.commit(&deepest, ChangeDeed::Move { to: path("up"), present })));
        assert_eq!(share.read("up"), "deep");
    }
}

#[test]
fn e15_many_names_in_one_folder_all_come() {
    let share = Share::at(in_memory());
    let many = 20_000;
    fs::create_dir(share.path("many")).unwrap();
    for number in 0..many {
        fs::create_dir(share.path(&format!("many/{number:05}"))).unwrap();
    }
    let found = share.sweep(4_096);
    assert_eq!(found.len(), many + 1);
    assert!(found.iter().map(|(path, _)| path).is_sorted(), "in order");
}
