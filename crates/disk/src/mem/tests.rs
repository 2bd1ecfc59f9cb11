//! The disk in memory itself: what is durable when, what fails how, and that its manners are those of real systems.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::*;
use crate::fs::{Fs, FsDir, FsFile};
use crate::os::Os;
use crate::stat::Kind;

fn os(name: &str) -> &OsStr {
    OsStr::new(name)
}

fn root(disk: &MemDisk) -> MemDir {
    disk.open_path(Path::new("/")).unwrap()
}

fn secs(secs: i64) -> FileTime {
    FileTime { secs, nanos: 0 }
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Errno {
    Errno::from_io_error(&result.unwrap_err()).unwrap()
}

/// The states of the disk that power cuts with many seeds leave, as `look` tells them.
fn after_cuts<T: Ord>(disk: &MemDisk, look: impl Fn(&MemDisk) -> T) -> BTreeSet<T> {
    let cut = |seed| {
        let disk = disk.fork();
        disk.power_cut(seed);
        look(&disk)
    };
    (0..200).map(cut).collect()
}

fn content(disk: &MemDisk) -> Option<Vec<u8>> {
    disk.user().read("/a").ok()
}

#[test]
fn a_new_file_needs_both_syncs() {
    let disk = MemDisk::new(Quirks::default());
    let dir = root(&disk);
    let mut file = dir.create_new(os("a")).unwrap();
    file.write_all(b"whole").unwrap();
    let zeros = Some(vec![0; 5]);
    let all = [None, Some(vec![]), zeros.clone(), Some(b"whole".to_vec())];
    assert_eq!(after_cuts(&disk, content), BTreeSet::from(all), "neither");

    let names_only = disk.fork();
    root(&names_only).sync().unwrap();
    assert_eq!(
        after_cuts(&names_only, content),
        BTreeSet::from([Some(vec![]), zeros, Some(b"whole".to_vec())])
    );

    file.sync().unwrap();
    assert_eq!(after_cuts(&disk, content), BTreeSet::from([None, Some(b"whole".to_vec())]), "the file");
    dir.sync().unwrap();
    assert_eq!(after_cuts(&disk, content), BTreeSet::from([Some(b"whole".to_vec())]), "both");
}

#[test]
fn blocks_reach_the_disk_in_any_order() {
    let disk = MemDisk::new(Quirks::default());
    disk.user().write("/a", [1; 3 * 4096]).unwrap();
    disk.sync();
    let file = root(&disk).open_or_create(os("a")).unwrap();
    assert_eq!(file.write_at(&[2; 3 * 4096], 0).unwrap(), 3 * 4096);
    let seen = after_cuts(&disk, |disk| {
        let bytes = content(disk).unwrap();
        [0, 4096, 8192].map(|at| bytes[at])
    });
    assert_eq!(seen.len(), 8, "{seen:?}");
    disk.sync();
    assert_eq!(after_cuts(&disk, content), BTreeSet::from([Some(vec![2; 3 * 4096])]));
}

#[test]
fn what_is_cut_and_written_anew_can_be_old_empty_or_new() {
    let disk = MemDisk::new(Quirks::default());
    disk.user().write("/a", "old").unwrap();
    disk.sync();
    disk.user().write("/a", "newer").unwrap();
    let seen = after_cuts(&disk, content);
    for state in ["", "old", "newer"] {
        assert!(seen.contains(&Some(state.into())), "{state:?}: {seen:?}");
    }
}

#[test]
fn a_rename_is_durable_whole_and_after_what_it_rests_on() {
    let disk = MemDisk::new(Quirks::default());
    disk.user().make_dir("/d").unwrap();
    disk.user().write("/a", "1").unwrap();
    disk.user().write("/d/b", "2").unwrap();
    disk.sync();
    let (top, below) = (root(&disk), root(&disk).open_dir(os("d")).unwrap());
    top.exchange(os("a"), &below, os("b")).unwrap();
    let pair = |disk: &MemDisk| (disk.user().read("/a").ok(), disk.user().read("/d/b").ok());
    let (before, after) =
        ((Some(b"1".to_vec()), Some(b"2".to_vec())), (Some(b"2".to_vec()), Some(b"1".to_vec())));
    assert_eq!(after_cuts(&disk, pair), BTreeSet::from([before.clone(), after.clone()]));
    top.move_to_free(os("a"), &top, os("c")).unwrap();
    let both_gone = |(a, b): &(Option<Vec<u8>>, Option<Vec<u8>>)| a.is_none() && *b == Some(b"2".to_vec());
    assert!(!after_cuts(&disk, pair).iter().any(both_gone), "the second without the first");
    // One of the two directories is enough for both ends, and takes what was before along.
    below.sync().unwrap();
    assert!(!after_cuts(&disk, pair).contains(&before));
    top.sync().unwrap();
    assert_eq!(after_cuts(&disk, pair), BTreeSet::from([(None, after.1)]));
}

#[test]
fn changes_of_different_names_are_durable_in_any_order() {
    let disk = MemDisk::new(Quirks::default());
    disk.user().write("/a", "").unwrap();
    disk.user().write("/b", "").unwrap();
    let names = |disk: &MemDisk| disk.user().tree("/").unwrap().into_keys().collect::<Vec<_>>();
    let path = PathBuf::from;
    assert_eq!(
        after_cuts(&disk, names),
        BTreeSet::from([vec![], vec![path("a")], vec![path("b")], vec![path("a"), path("b")]])
    );
}

#[test]
fn a_failed_sync_has_lost_the_bytes_and_the_next_one_does_not_tell() {
    for whole in [false, true] {
        let disk = MemDisk::new(Quirks::default());
        let dir = root(&disk);
        let mut file = dir.create_new(os("a")).unwrap();
        file.write_all(b"lost").unwrap();
        let sort = if whole { Call::SyncAll } else { Call::SyncFile };
        disk.fail_nth(Some(sort), 1, Trouble::Io);
        let sync = || if whole { dir.sync_file_system() } else { file.sync() };
        assert_eq!(errno(sync()), Errno::IO);
        sync().unwrap();
        dir.sync().unwrap();
        assert_eq!(content(&disk), Some(b"lost".to_vec()), "still in memory");
        assert_eq!(after_cuts(&disk, content), BTreeSet::from([Some(vec![0; 4])]));
        file.write_at(b", anew", 4).unwrap();
        sync().unwrap();
        assert_eq!(
            after_cuts(&disk, content),
            BTreeSet::from([Some(b"lost, anew".to_vec())]),
            "the block is whole"
        );
    }
}

#[test]
fn handles_outlive_names_and_die_with_the_process() {
    let disk = MemDisk::new(Quirks::default());
    let dir = root(&disk);
    dir.make_dir(os("d")).unwrap();
    let below = dir.open_dir(os("d")).unwrap();
    let mut file = below.open_append(os("a")).unwrap();
    file.write_all(b"one").unwrap();
    disk.user().rename("/d", "/e").unwrap();
    assert!(below.look(os("a")).unwrap().is_some());
    disk.user().remove("/e/a").unwrap();
    file.write_all(b", two").unwrap();
    assert_eq!((file.look_through().unwrap().stat.size, file.look_through().unwrap().stat.nlink), (8, 0));
    disk.user().remove_dir("/e").unwrap();
    assert_eq!(errno(below.create_new(os("b"))), Errno::NOENT);
    assert!(dir.open_or_create(os("lock")).unwrap().lock().is_ok());
    disk.crash();
    assert_eq!(errno(file.look_through()), Errno::IO);
    assert_eq!(errno(below.look(os("a"))), Errno::IO);
    assert!(root(&disk).look(os("lock")).unwrap().is_some(), "what is live stays");
}

#[test]
fn a_lock_is_free_when_its_handle_is_gone() {
    let disk = MemDisk::new(Quirks::default());
    let open = || root(&disk).open_or_create(os("lock")).unwrap();
    let first = open();
    first.lock().unwrap();
    assert_eq!(open().lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(first);
    let second = open();
    second.lock().unwrap();
    disk.crash();
    open().lock().unwrap();
}

#[test]
fn faults_strike_once_and_where_they_were_meant() {
    let disk = MemDisk::new(Quirks::default());
    let dir = root(&disk);
    disk.keep_trace();
    let before = disk.calls();
    disk.fail_nth(Some(Call::Create), 2, Trouble::TooManyOpen);
    dir.create_new(os("a")).unwrap();
    dir.look(os("a")).unwrap();
    assert_eq!(errno(dir.create_new(os("b"))), Errno::MFILE);
    assert!(dir.look(os("b")).unwrap().is_none());
    dir.create_new(os("b")).unwrap();
    disk.user().write("/c", "").unwrap();
    assert_eq!(disk.calls() - before, 5);
    assert_eq!(disk.trace()[2], "Create b fails with TooManyOpen");
    disk.stop_after(1);
    dir.remove(os("a")).unwrap();
    assert_eq!(errno(dir.remove(os("b"))), Errno::IO);
    assert_eq!(errno(dir.look(os("b"))), Errno::IO);
    disk.crash();
    assert!(root(&disk).look(os("b")).unwrap().is_some());
}

#[test]
fn a_full_disk_takes_what_fits_and_then_nothing() {
    let disk = MemDisk::new(Quirks::default());
    let mut file = root(&disk).create_new(os("a")).unwrap();
    disk.write_at_most(3);
    disk.fill_after(Some(5));
    assert_eq!((file.write(b"abcd").unwrap(), file.write(b"defg").unwrap()), (3, 2));
    assert_eq!(errno(file.write(b"fgh")), Errno::NOSPC);
    assert_eq!(errno(file.reserve(1)), Errno::NOSPC);
    assert_eq!(content(&disk), Some(b"abcde".to_vec()));
    disk.fill_after(None);
    assert_eq!(file.write(b"fgh").unwrap(), 3);
}

#[test]
fn times_are_as_fine_and_as_far_as_the_disk_keeps_them() {
    let time = |secs, nanos| FileTime { secs, nanos };
    let cases = [
        (1, (i64::MIN, i64::MAX), time(-3, 999_999_999), time(-3, 999_999_999)),
        (100, (i64::MIN, i64::MAX), time(7, 123_456_789), time(7, 123_456_700)),
        (1_000_000_000, (i64::MIN, i64::MAX), time(7, 1), time(7, 0)),
        (2_000_000_000, (i64::MIN, i64::MAX), time(7, 1), time(6, 0)),
        (2_000_000_000, (i64::MIN, i64::MAX), time(-7, 1), time(-8, 0)),
        (1, (0, 100), time(-7, 1), time(0, 0)),
        (1, (0, 100), time(101, 1), time(100, 0)),
        (2_000_000_000, (i64::MIN, i64::MAX), time(i64::MIN, 0), time(i64::MIN, 0)),
    ];
    for (time_step, time_range, set, kept) in cases {
        let disk = MemDisk::new(Quirks { time_step, time_range, ..Quirks::default() });
        disk.set_time(set);
        let file = root(&disk).create_new(os("a")).unwrap();
        assert_eq!(file.look_through().unwrap().stat.mtime, kept, "by itself");
        disk.set_time(secs(0));
        file.set_mtime(set).unwrap();
        assert_eq!(file.look_through().unwrap().stat.mtime, kept);
    }
    let disk = MemDisk::new(Quirks { sets_times: false, ..Quirks::default() });
    assert_eq!(errno(root(&disk).create_new(os("a")).unwrap().set_mtime(secs(1))), Errno::PERM);
}

#[test]
fn a_disk_has_the_manners_it_was_given() {
    let disk = MemDisk::new(Quirks {
        keeps_modes: false,
        folds_case: true,
        renames_with_flags: false,
        links: false,
        syncs_directories: false,
        reuses_numbers: true,
        ..Quirks::default()
    });
    let dir = root(&disk);
    let number = |name| dir.look(os(name)).unwrap().unwrap().stat.ino;
    dir.create_new(os("Name")).unwrap().set_mode(0o600).unwrap();
    assert_eq!(dir.look(os("nAME")).unwrap().unwrap().stat.mode, 0o755);
    assert_eq!(errno(dir.create_new(os("NAME"))), Errno::EXIST);
    let invalid: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"caf\xe9");
    assert_eq!(errno(dir.create_new(invalid)), Errno::ILSEQ);
    assert_eq!(errno(dir.move_to_free(os("name"), &dir, os("b"))), Errno::INVAL);
    assert_eq!(errno(dir.exchange(os("name"), &dir, os("name"))), Errno::INVAL);
    assert_eq!(errno(dir.link(os("name"), &dir, os("b"))), Errno::PERM);
    assert_eq!(errno(dir.sync()), Errno::INVAL);
    let exists = |disk: &MemDisk| disk.user().read("/name").is_ok();
    assert_eq!(after_cuts(&disk, exists), BTreeSet::from([true]), "names are durable at once");
    dir.move_over(os("name"), &dir, os("NAME")).unwrap();
    assert_eq!(disk.user().tree("/").unwrap().into_keys().collect::<Vec<_>>(), [PathBuf::from("NAME")]);
    let first = number("name");
    dir.remove(os("name")).unwrap();
    dir.create_new(os("other")).unwrap();
    assert_eq!(number("other"), first);
    dir.create_new(os("third")).unwrap();
    assert_ne!(number("third"), first);
}

#[test]
fn a_reused_number_is_not_on_the_disk_twice() {
    let disk = MemDisk::new(Quirks { reuses_numbers: true, ..Quirks::default() });
    disk.user().write("/a", "1").unwrap();
    disk.sync();
    disk.user().remove("/a").unwrap();
    disk.user().write("/b", "2").unwrap();
    let both = |disk: &MemDisk| disk.user().tree("/").unwrap().len();
    assert_eq!(after_cuts(&disk, both), BTreeSet::from([0, 1]));
}

#[test]
fn a_path_is_followed_and_a_name_is_not() {
    let disk = MemDisk::new(Quirks::default());
    let user = disk.user();
    user.make_dir("/d").unwrap();
    user.symlink("../d", "/d/up").unwrap();
    user.symlink("/d/up", "/all").unwrap();
    user.symlink("loop", "/loop").unwrap();
    assert_eq!(disk.resolve(Path::new("/all/up/../d")).unwrap(), Path::new("/d"));
    assert_eq!(errno(disk.resolve(Path::new("/loop"))), Errno::LOOP);
    assert_eq!(errno(disk.resolve(Path::new("/none"))), Errno::NOENT);
    assert_eq!(disk.look_path(Path::new("/all")).unwrap().kind, Kind::Folder);
    assert_eq!(root(&disk).look(os("all")).unwrap().unwrap().kind, Kind::Symlink);
    assert_eq!(errno(root(&disk).open_dir(os("all"))), Errno::LOOP);
    assert_eq!(root(&disk).read_link(os("all")).unwrap(), "/d/up");
    let below = root(&disk).open_dir(os("d")).unwrap();
    assert!(
        below.parent().unwrap().look_through().unwrap().is_same_thing(&root(&disk).look_through().unwrap())
    );
}

/// One call on a folder with what it answers, in words that are the same for every file system.
fn answers<F: Fs>(fs: &F, path: &Path) -> Vec<String> {
    fn told<T>(result: io::Result<T>, how: impl Fn(T) -> String) -> String {
        result.map_or_else(|error| format!("{:?}", Errno::from_io_error(&error)), how)
    }
    let dir = fs.open_path(path).unwrap();
    let done = |result: io::Result<()>| told(result, |()| "done".into());
    let made = |result: io::Result<F::File>| told(result, |_| "made".into());
    let seen = |name: &str| {
        told(dir.look(os(name)), |seen| {
            seen.map_or_else(String::new, |seen| {
                let size = if seen.kind == Kind::Folder { 0 } else { seen.stat.size };
                let time = if seen.stat.mtime == secs(-5) { "set" } else { "now" };
                format!("{:?} {size} {time} {:o}", seen.kind, seen.stat.mode)
            })
        })
    };
    let mut answers = vec![
        made(dir.open_file(os("a"))),
        made(dir.create_new_with(os("a"), 0o640)),
        made(dir.create_new(os("a"))),
        made(dir.create_new(os(&"x".repeat(256)))),
        done(dir.make_dir(os("d"))),
        done(dir.make_dir(os("d"))),
        made(dir.open_append(os("d"))),
        done(dir.symlink(os("a"), os("s"))),
        made(dir.open_file(os("s"))),
        made(dir.open_or_create(os("s"))),
        told(dir.open_dir(os("a")), |_| "opened".into()),
        told(dir.open_dir(os("none")), |_| "opened".into()),
        told(dir.read_link(os("a")), |_| "read".into()),
        done(dir.remove(os("d"))),
        done(dir.remove(os("none"))),
        done(dir.remove_dir(os("a"))),
        done(dir.link(os("a"), &dir, os("b"))),
        done(dir.link(os("a"), &dir, os("b"))),
        done(dir.link(os("d"), &dir, os("e"))),
        done(dir.move_over(os("a"), &dir, os("b"))),
        done(dir.move_to_free(os("a"), &dir, os("b"))),
        done(dir.move_to_free(os("none"), &dir, os("c"))),
        done(dir.exchange(os("a"), &dir, os("none"))),
        done(dir.move_over(os("a"), &dir, os("d"))),
        done(dir.move_over(os("d"), &dir, os("a"))),
        done(dir.move_over(os("d"), &dir.open_dir(os("d")).unwrap(), os("x"))),
        done(dir.exchange(os("a"), &dir, os("d"))),
    ];
    answers.extend(["a", "b", "d", "s", "none"].map(seen));
    let mut file = dir.open_append(os("b")).unwrap();
    file.write_all(b"0123456789").unwrap();
    answers.push(told(file.write_at(b"x", 0), |length| length.to_string()));
    answers.push(done(file.set_len(4)));
    answers.push(done(file.set_mode(0o4755)));
    answers.push(done(file.set_mtime(secs(-5))));
    answers.push(done(file.sync()));
    let mut text = String::new();
    answers.push(told(dir.open_file(os("b")).and_then(|mut file| file.read_to_string(&mut text)), |n| {
        n.to_string()
    }));
    answers.push(seen("b"));
    answers.push(done(dir.open_file(os("b")).and_then(|mut file| file.write_all(b"x"))));
    answers.push(done(dir.open_file(os("b")).and_then(|file| file.set_len(0))));
    let mut names = Vec::new();
    dir.for_each(|name, kind| names.push(format!("{name:?} {kind:?}"))).unwrap();
    names.sort();
    answers.extend(names);
    answers
}

// What is shown on the one must hold for the other.
#[test]
fn the_disk_in_memory_answers_as_this_machine_does() {
    let folder = tempfile::tempdir().unwrap();
    let probe = Os.open_path(folder.path()).unwrap().create_new_with(os("probe"), 0o777).unwrap();
    let mode_mask = 0o777 & !probe.look_through().unwrap().stat.mode;
    std::fs::remove_file(folder.path().join("probe")).unwrap();
    let disk = MemDisk::new(Quirks { mode_mask, ..Quirks::default() });
    let (ours, real) = (answers(&disk, Path::new("/")), answers(&Os, folder.path()));
    for (number, (ours, real)) in ours.iter().zip(&real).enumerate() {
        assert_eq!(ours, real, "answer {number}");
    }
    assert_eq!(ours.len(), real.len());
}

#[test]
fn events_tell_every_change_in_order_by_whomever() {
    let disk = MemDisk::new(Quirks::default());
    let user = disk.user();
    user.make_dir("/d").unwrap();
    assert_eq!(disk.take_events(), [], "nobody wants to know");
    disk.keep_events();
    user.write("/d/a", "1").unwrap();
    user.make_dir("/d/sub").unwrap();
    user.rename("/d/a", "/d/sub/b").unwrap();
    user.rename("/d/sub", "/e").unwrap();
    user.link("/e/b", "/c").unwrap();
    user.set_mode("/c", 0o600).unwrap();
    user.remove("/c").unwrap();
    let root = disk.open_path("/".as_ref()).unwrap();
    drop(root.create_new("ours".as_ref()).unwrap());
    root.exchange("ours".as_ref(), &root.open_dir("e".as_ref()).unwrap(), "b".as_ref()).unwrap();
    let renamed = |to: &str| Happened::Renamed { to: to.into() };
    let expected = [
        ("/d/a", Happened::Created),
        ("/d/a", Happened::Changed),
        ("/d/a", Happened::Changed),
        ("/d/sub", Happened::Created),
        ("/d/a", renamed("/d/sub/b")),
        ("/d/sub", renamed("/e")),
        ("/c", Happened::Created),
        ("/c", Happened::Changed),
        ("/e/b", Happened::Changed),
        ("/c", Happened::Removed),
        ("/ours", Happened::Created),
        ("/ours", renamed("/e/b")),
        ("/e/b", renamed("/ours")),
    ];
    let mut events: Vec<_> = disk.take_events().into_iter().map(|event| (event.path, event.what)).collect();
    // Which of two names comes first is nobody's business.
    events[11..].sort_by(|one, other| other.0.cmp(&one.0));
    let expected: Vec<_> = expected.into_iter().map(|(path, what)| (path.into(), what)).collect();
    assert_eq!(events, expected);
    assert_eq!(disk.take_events(), []);
    for _ in 0..EVENTS_MAX {
        user.append("/ours", "x").unwrap();
    }
    user.append("/ours", "x").unwrap();
    let events = disk.take_events();
    assert_eq!((events.len(), &events[EVENTS_MAX - 1].what), (EVENTS_MAX, &Happened::Lost));
    disk.crash();
    user.append("/ours", "x").unwrap();
    assert_eq!(disk.take_events(), [], "a crash ends it");
}
