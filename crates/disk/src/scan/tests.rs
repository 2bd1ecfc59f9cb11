//! What a scan finds, what it reports instead of opening it, and what it never mentions.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::*;
use crate::testing::{Place, as_nobody, is_root, name};

fn make_fifo(place: &Place, name: &str) {
    mknodat(CWD, place.at(name), FileType::Fifo, Mode::RWXU, 0).unwrap();
}

/// The problems of a folder in order of their names.
fn problems(scan: &Scan) -> Vec<(&str, Unlisted)> {
    let mut problems: Vec<_> = scan.problems.iter().map(|p| (p.name.as_str(), p.why)).collect();
    problems.sort_by_key(|problem| problem.0);
    problems
}

fn names(scan: &Scan) -> Vec<&Name> {
    let mut names: Vec<_> = scan.files.iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

#[test]
fn finds_plain_files_of_any_name_and_what_they_are() {
    let place = Place::new();
    let longest = "x".repeat(255);
    place.write("a.txt", "12345");
    place.write(&longest, "");
    place.write("two\nlines", "");
    fs::write(place.path().join(OsStr::from_bytes(b"caf\xe9")), "").unwrap();
    fs::create_dir_all(place.at("sub/.shoal")).unwrap();
    place.write("sub/inner", "");
    let folder = place.open();
    let scan = folder.scan().unwrap();
    let expected: [&[u8]; 4] = [b"a.txt", b"caf\xe9", b"two\nlines", longest.as_bytes()];
    assert_eq!(names(&scan).iter().map(|name| name.as_bytes()).collect::<Vec<_>>(), expected);
    assert_eq!(scan.problems, []);

    let found = scan.files.iter().find(|(found, _)| *found == name("a.txt")).unwrap().1;
    assert_eq!((found.size, found.nlink), (5, 1));
    assert_eq!(folder.stat(&name("a.txt")).unwrap(), Some(found));
    let (file, opened) = folder.open_regular(&name("a.txt")).unwrap();
    assert_eq!((io::read_to_string(file).unwrap().as_str(), opened), ("12345", found));
}

// E1, E2
#[test]
fn everything_that_is_not_a_plain_file_is_reported_and_never_opened() {
    let place = Place::new();
    place.write("file", "");
    symlink("file", place.at("link")).unwrap();
    symlink("/nowhere", place.at("link to nowhere")).unwrap();
    symlink(".", place.at("link to all")).unwrap();
    make_fifo(&place, "pipe");
    let _socket = UnixListener::bind(place.at("socket")).unwrap();
    let device = mknodat(CWD, place.at("device"), FileType::CharacterDevice, Mode::RWXU, makedev(1, 3));
    let folder = place.open();
    let scan = folder.scan().unwrap();
    assert_eq!(names(&scan), [&name("file")]);
    let mut expected = vec![
        ("device", Kind::Device),
        ("link", Kind::Symlink),
        ("link to all", Kind::Symlink),
        ("link to nowhere", Kind::Symlink),
        ("pipe", Kind::Fifo),
        ("socket", Kind::Socket),
    ];
    if device.is_err() {
        crate::testing::skip::skip("E1: a device in the folder", "cannot make one here");
        expected.remove(0);
    }
    let reported: Vec<_> = expected.iter().map(|(name, kind)| (*name, Unlisted::NotRegular(*kind))).collect();
    assert_eq!(problems(&scan), reported);

    for (other, kind) in expected.into_iter().chain([("folder", Kind::Folder)]) {
        fs::create_dir_all(place.at("folder")).unwrap();
        let other = name(other);
        for error in [folder.open_regular(&other).unwrap_err(), folder.stat(&other).unwrap_err()] {
            assert!(matches!(error, ReadError::NotRegular { kind: k, .. } if k == kind), "{other}: {error}");
        }
    }
}

#[test]
fn a_name_that_turns_into_a_link_while_it_is_opened_is_not_followed() {
    let place = Place::new();
    symlink("/etc/passwd", place.at("link")).unwrap();
    let folder = place.open();
    let error = folder.shared.root.open_file("link".as_ref()).unwrap_err();
    let error = open_error(&(&name("link")).into(), error);
    assert!(matches!(error, ReadError::NotRegular { kind: Kind::Symlink, .. }), "{error}");
}

// B20
#[test]
fn our_own_state_is_neither_listed_nor_read() {
    let place = Place::new();
    place.write(".Shoal", "a file of the user's with a name like ours");
    let folder = place.open();
    assert_eq!(names(&folder.scan().unwrap()), [] as [&Name; 0]);
    for reserved in [".shoal", ".Shoal"] {
        assert_eq!(folder.stat(&name(reserved)).unwrap(), None);
        assert!(matches!(folder.open_regular(&name(reserved)), Err(ReadError::Missing { .. })));
    }
    assert!(matches!(folder.open_regular(&name("absent")), Err(ReadError::Missing { .. })));
}

// E3
#[test]
fn an_unreadable_file_is_reported_and_the_others_go_on() {
    if is_root() {
        return as_nobody("scan::tests::an_unreadable_file_is_reported_and_the_others_go_on");
    }
    let place = Place::new();
    place.write("open", "");
    place.write("shut", "");
    fs::set_permissions(place.at("open"), fs::Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(place.at("shut"), fs::Permissions::from_mode(0o000)).unwrap();
    let folder = place.open();
    let scan = folder.scan().unwrap();
    assert_eq!(names(&scan), [&name("open")]);
    assert_eq!(problems(&scan), [("shut", Unlisted::Unreadable)]);
    assert!(matches!(folder.open_regular(&name("shut")), Err(ReadError::Io { .. })));
}

// E15
#[test]
fn many_files_come_one_by_one_each_once() {
    let place = Place::new();
    for number in 0..5_000 {
        place.write(&format!("file with a rather long name, number {number:04}"), "");
    }
    let folder = place.open();
    let mut seen = std::collections::BTreeSet::new();
    let each = |found| match found {
        Found::File(name, _) => assert!(seen.insert(name)),
        Found::Problem(problem) => panic!("{problem:?}"),
    };
    folder.scan_each(each).unwrap();
    assert_eq!(seen.len(), 5_000);
}
