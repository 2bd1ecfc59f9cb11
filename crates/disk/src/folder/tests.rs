//! Which folders open, which are refused and with what words, and how a folder that was swapped is noticed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use super::*;
use crate::testing::{Mount, Place, as_nobody, is_root};

fn refusal(path: &Path, options: &FolderOptions) -> OpenError {
    Folder::open(path, options).unwrap_err()
}

fn refused(path: &Path) -> OpenError {
    refusal(path, &FolderOptions::default())
}

#[test]
fn opens_and_makes_a_private_state_folder() {
    let place = Place::new();
    let folder = place.open();
    assert_eq!(folder.path(), place.path().canonicalize().unwrap());
    for name in [".shoal", ".shoal/staging", ".shoal/history"] {
        assert_eq!(fs::metadata(place.at(name)).unwrap().permissions().mode() & 0o777, 0o700, "{name}");
    }
    assert_eq!(fs::metadata(place.at(".shoal/lock")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(place.staged().is_empty());
    assert!(folder.free_space().unwrap() > 0);
    folder.check_root().unwrap();
    folder.sync().unwrap();
}

#[test]
fn a_state_folder_open_to_others_is_closed_to_them() {
    let place = Place::new();
    fs::create_dir(place.at(".shoal")).unwrap();
    fs::set_permissions(place.at(".shoal"), fs::Permissions::from_mode(0o777)).unwrap();
    let _folder = place.open();
    assert_eq!(fs::metadata(place.at(".shoal")).unwrap().permissions().mode() & 0o777, 0o700);
}

// A5
#[test]
fn refuses_what_is_not_a_folder() {
    let place = Place::new();
    place.write("file", "x");
    assert!(matches!(refused(&place.at("missing")), OpenError::Missing { .. }));
    assert!(matches!(refused(&place.at("file")), OpenError::NotAFolder { .. }));
    assert!(matches!(refused(&place.at("file/below")), OpenError::NotAFolder { .. }));
    symlink("loop", place.at("loop")).unwrap();
    assert!(matches!(refused(&place.at("loop")), OpenError::Io { .. }));
}

// A5
#[test]
fn refuses_the_root_and_the_home_folder_unless_they_are_meant() {
    let place = Place::new();
    assert!(matches!(refused(Path::new("/")), OpenError::Broad { .. }));
    symlink(place.path(), place.at("link")).unwrap();
    let mut options = FolderOptions { home: Some(place.at("link")), ..FolderOptions::default() };
    assert!(matches!(refusal(place.path(), &options), OpenError::Broad { .. }));
    options.broad = true;
    Folder::open(place.path(), &options).unwrap();
}

// A5
#[test]
fn a_link_to_the_folder_is_followed_once() {
    let place = Place::new();
    fs::create_dir(place.at("one")).unwrap();
    fs::create_dir(place.at("two")).unwrap();
    symlink(place.at("one"), place.at("link")).unwrap();
    let (folder, _) = Folder::open(&place.at("link"), &FolderOptions::default()).unwrap();
    fs::remove_file(place.at("link")).unwrap();
    symlink(place.at("two"), place.at("link")).unwrap();
    assert_eq!(folder.path(), place.at("one").canonicalize().unwrap());
    folder.check_root().unwrap();
    assert!(!place.at("two/.shoal").exists());
}

// A6
#[test]
fn a_folder_is_served_once_and_can_be_served_again_afterwards() {
    let place = Place::new();
    let folder = place.open();
    let staging = folder.staging();
    let error = refused(place.path());
    assert!(matches!(error, OpenError::Served { process: Some(id), .. } if id == std::process::id()));
    assert!(error.to_string().contains("already by process"), "{error}");
    drop(folder);
    assert!(matches!(refused(place.path()), OpenError::Served { .. }), "what it gave out still uses it");
    drop(staging);
    place.open();
}

// A6
#[test]
fn a_folder_inside_a_served_one_is_refused() {
    let place = Place::new();
    drop(place.open());
    fs::create_dir_all(place.at("a/b")).unwrap();
    match refused(&place.at("a/b")) {
        OpenError::Nested { outer, .. } => assert_eq!(outer, place.path().canonicalize().unwrap()),
        other => panic!("{other}"),
    }
    fs::remove_file(place.at(".shoal/lock")).unwrap();
    Folder::open(&place.at("a/b"), &FolderOptions::default()).unwrap();
}

#[test]
fn a_strangers_state_folder_in_a_common_folder_keeps_nobody_out() {
    if !is_root() {
        return crate::testing::skip::skip("E23: folders of others", "only root can give a folder away");
    }
    let place = Place::new();
    fs::create_dir_all(place.at("mine")).unwrap();
    fs::create_dir(place.at(".shoal")).unwrap();
    place.write(".shoal/lock", "");
    chown(place.at(".shoal"), Some(1), None).unwrap();
    Folder::open(&place.at("mine"), &FolderOptions::default()).unwrap();
    chown(place.path(), Some(1), None).unwrap();
    assert!(matches!(refused(&place.at("mine")), OpenError::Nested { .. }));
}

// E23
#[test]
fn refuses_state_that_is_a_link_or_a_file() {
    for state in [".shoal", ".shoal/staging", ".shoal/history"] {
        let place = Place::new();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.at(state).parent().unwrap()).unwrap();
        symlink(elsewhere.path(), place.at(state)).unwrap();
        let error = refused(place.path());
        assert!(matches!(error, OpenError::Unsafe { .. }), "{state}: {error}");
        fs::remove_file(place.at(state)).unwrap();
        place.write(state, "a file");
        assert!(matches!(refused(place.path()), OpenError::Unsafe { .. }), "{state}");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }
    let place = Place::new();
    place.write("victim", "precious");
    fs::create_dir(place.at(".shoal")).unwrap();
    symlink(place.at("victim"), place.at(".shoal/lock")).unwrap();
    assert!(matches!(refused(place.path()), OpenError::Unsafe { .. }));
    assert_eq!(place.read("victim"), "precious");
}

// E23
#[test]
fn refuses_state_of_another_user() {
    if !is_root() {
        return crate::testing::skip::skip("E23: folders of others", "only root can give a folder away");
    }
    for state in [".shoal", ".shoal/staging", ".shoal/history"] {
        let place = Place::new();
        fs::create_dir_all(place.at(state)).unwrap();
        chown(place.at(state), Some(1), None).unwrap();
        let error = refused(place.path());
        assert!(
            error.to_string().ends_with("belongs to another user; remove it, then start again"),
            "{error}"
        );
    }
}

// E3
#[test]
fn a_folder_in_which_we_may_not_write_is_refused_clearly() {
    if is_root() {
        return as_nobody("folder::tests::a_folder_in_which_we_may_not_write_is_refused_clearly");
    }
    let place = Place::new();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let error = refused(place.path());
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error}");
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
    drop(place.open());
    fs::set_permissions(place.at(".shoal/lock"), fs::Permissions::from_mode(0o400)).unwrap();
    assert!(matches!(refused(place.path()), OpenError::ReadOnly { .. }));
}

#[test]
fn a_read_only_file_system_is_refused_clearly() {
    if let Some(mount) = Mount::tmpfs("E3: a read-only file system", "ro") {
        assert!(matches!(refused(mount.path()), OpenError::ReadOnly { .. }));
    }
}

// E21, I19
#[test]
fn notices_when_the_folder_is_no_longer_the_same() {
    let place = Place::new();
    fs::create_dir(place.at("share")).unwrap();
    let (folder, _) = Folder::open(&place.at("share"), &FolderOptions::default()).unwrap();
    fs::rename(place.at("share"), place.at("away")).unwrap();
    assert!(matches!(folder.check_root(), Err(RootError::Gone { .. })));
    fs::create_dir(place.at("share")).unwrap();
    assert!(matches!(folder.check_root(), Err(RootError::Replaced { .. })));
    fs::remove_dir(place.at("share")).unwrap();
    symlink("away", place.at("share")).unwrap();
    folder.check_root().unwrap();
    fs::rename(place.at("away/.shoal"), place.at("away/.old")).unwrap();
    assert!(matches!(folder.check_root(), Err(RootError::MarkerGone { .. })));
    fs::create_dir(place.at("away/.shoal")).unwrap();
    assert!(matches!(folder.check_root(), Err(RootError::MarkerGone { .. })));
    fs::remove_dir(place.at("away/.shoal")).unwrap();
    fs::rename(place.at("away/.old"), place.at("away/.shoal")).unwrap();
    folder.check_root().unwrap();
}

#[test]
fn messages_hold_no_control_characters() {
    let error = refused(Path::new("/nowhere/\u{1b}[2J\u{202e}x"));
    assert_eq!(
        error.to_string(),
        "/nowhere/\\x1b[2J\\xe2\\x80\\xaex does not exist; create the folder first"
    );
}
