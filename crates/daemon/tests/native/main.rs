//! Native peers on real folders, in one process.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests, parts of which stand outside of test functions"
)]

mod ends;
mod nodes;
mod saving;

use std::fs;
use std::path::Path;

use shoal_disk::{Folder, FolderOptions};
use shoal_engine::io::Conn;
use shoal_engine::status::{Phase, Status};

use self::ends::{End, connect};

/// Two devices of one share, connected, with these files at the first.
fn pair(place: &Path, files: &[(&str, &[u8])]) -> (End, End) {
    for folder in ["one", "other"] {
        fs::create_dir(place.join(folder)).unwrap();
    }
    for (path, bytes) in files {
        let path = place.join("one").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let one = End::founder(&place.join("one"), &place.join("index-one"));
    one.wait(|status| status.phase == Phase::Live && !status.is_busy);
    let other = End::joined(&one, &place.join("other"), &place.join("index-other"), 1);
    connect(&one, &other, Conn(1));
    (one, other)
}

#[test]
fn a_tree_comes_over_and_stays_the_same() {
    let place = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let files: [(&str, &[u8]); 4] = [("a", b"1"), ("empty", b""), ("d/e/b", b"2"), ("d/large", &large)];
    let (one, other) = pair(place.path(), &files);
    other.wait(Status::is_in_sync);
    let at = |folder: &str, path: &str| place.path().join(folder).join(path);
    for (path, bytes) in files {
        assert!(fs::read(at("other", path)).unwrap() == bytes, "{path}");
        let mtime = |folder| fs::metadata(at(folder, path)).unwrap().modified().unwrap();
        assert_eq!(mtime("one"), mtime("other"), "{path}");
    }
    // There and back, told by nobody but the watch: an edit here, a deletion there.
    fs::write(at("other", "a"), b"edited").unwrap();
    one.wait_until(|| fs::read(at("one", "a")).unwrap() == b"edited");
    fs::remove_file(at("one", "d/e/b")).unwrap();
    other.wait_until(|| !at("other", "d/e/b").exists());
    for end in [&one, &other] {
        end.wait(Status::is_in_sync);
    }
}

/// Who is to be met is not asked while files come and go, however much that is; only when somebody else belongs to the share.
#[test]
fn i13_files_that_change_are_no_news_of_who_belongs() {
    let place = tempfile::tempdir().unwrap();
    let (one, other) = pair(place.path(), &[("a", b"1")]);
    for end in [&one, &other] {
        end.wait(Status::is_in_sync);
    }
    let mut belongs = [one.shell.belongs(), other.shell.belongs()];
    belongs.iter_mut().for_each(|belongs| drop(belongs.borrow_and_update()));
    let turns = one.shell.turns();
    for round in 0..20 {
        let text = format!("{round}");
        fs::write(place.path().join("one/a"), &text).unwrap();
        other.wait_until(|| fs::read_to_string(place.path().join("other/a")).unwrap() == text);
    }
    for end in [&one, &other] {
        end.wait(Status::is_in_sync);
    }
    assert!(one.shell.turns() > turns + 20);
    assert!(belongs.iter().all(|belongs| !belongs.has_changed().unwrap()));
    one.shell.close(one.share);
    one.wait_until(|| belongs[0].has_changed().unwrap());
}

#[test]
fn a_share_that_is_closed_and_opened_again_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let (one, other) = pair(place.path(), &[("a", b"1")]);
    other.wait(Status::is_in_sync);
    let share = other.share;
    other.shell.close(share);
    assert!(other.shell.status(share).is_none());
    assert!(other.shell.with_index(share, |_| ()).is_none());
    drop(other);
    fs::write(place.path().join("one/a"), b"2 meanwhile").unwrap();
    let again = End::again(&one, &place.path().join("other"), &place.path().join("index-other"));
    connect(&one, &again, Conn(2));
    again.wait_until(|| fs::read(place.path().join("other/a")).unwrap() == b"2 meanwhile");
}

/// Whoever opens the folder next would else meet jobs of the one before, or be told that it is in use.
#[test]
fn a_share_is_closed_when_nothing_is_at_work_in_its_folder_any_more() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("one");
    fs::create_dir(&folder).unwrap();
    let large: Vec<u8> = (0..8_000_000_u32).flat_map(u32::to_le_bytes).collect();
    for name in ["a", "b", "c", "d"] {
        fs::write(folder.join(name), &large).unwrap();
    }
    let one = End::founder(&folder, &place.path().join("index"));
    assert!(
        one.shell.status(one.share).is_some_and(|(status, _)| status.is_busy),
        "there is much to be read"
    );
    one.shell.close(one.share);
    Folder::open(&folder, &FolderOptions::default()).unwrap();
}
