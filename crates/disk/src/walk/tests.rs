//! Walks over folders that are not there, not folders, not ours, or swapped while they are walked.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::mem::{Call, MemDisk, Quirks, Trouble};
use crate::testing::{Mount, Place, as_nobody, is_root};
use crate::{Folder, FolderOptions};

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

fn refused<F: Fs>(walker: &mut Walker<'_, F>, to: &str) -> (String, String) {
    let error = walker.open_parent(&path(to)).map(|_| ()).unwrap_err();
    (error.at.to_string(), format!("{:?}", error.why))
}

// I10, I11, E8
#[test]
fn a_walk_ends_at_the_first_name_that_is_no_folder_of_the_share() {
    let place = Place::new();
    fs::create_dir_all(place.at("a/b/c")).unwrap();
    place.write("a/file", "");
    symlink("b", place.at("a/link")).unwrap();
    symlink("/etc", place.at("out")).unwrap();
    let folder = place.open();
    let mut walker = Walker::new(&folder.shared);
    let (dir, name) =
        walker.open_parent(&path("a/b/c/name")).map(|(dir, name)| (dir, name.to_owned())).unwrap();
    assert_eq!(name, "name");
    dir.create_new("name".as_ref()).unwrap();
    assert!(place.at("a/b/c/name").exists());
    for (to, at, why) in [
        ("a/none/x", "a/none", "Gone"),
        ("a/file/x/y", "a/file", "NotAFolder(File)"),
        ("a/link/c/x", "a/link", "Link"),
        ("out/passwd", "out", "Link"),
        (".shoal/lock", ".shoal", "Reserved"),
        ("a/.Shoal", "a/.Shoal", "Reserved"),
    ] {
        assert_eq!(refused(&mut walker, to), (at.into(), why.into()), "{to}");
    }
    let error = walker.open_parent(&path("a/link/x")).unwrap_err();
    assert_eq!(error.to_string(), "cannot go to a/link: it is a symbolic link, and links are not followed");
}

// I10: a handle that is kept leads to what has the name now, or nowhere.
#[test]
fn a_folder_that_was_swapped_meanwhile_is_not_used() {
    let (place, outside) = (Place::new(), Place::new());
    fs::create_dir_all(place.at("a/b")).unwrap();
    let folder = place.open();
    let mut walker = Walker::new(&folder.shared);
    walker.open_parent(&path("a/b/x")).unwrap();
    fs::rename(place.at("a/b"), outside.at("b")).unwrap();
    assert_eq!(refused(&mut walker, "a/b/x"), ("a/b".into(), "Gone".into()));
    symlink(outside.at("b"), place.at("a/b")).unwrap();
    assert_eq!(refused(&mut walker, "a/b/x"), ("a/b".into(), "Link".into()));
    fs::remove_file(place.at("a/b")).unwrap();
    fs::create_dir(place.at("a/b")).unwrap();
    walker.open_parent(&path("a/b/x")).unwrap().0.create_new("x".as_ref()).unwrap();
    assert!(place.at("a/b/x").exists() && !outside.at("b/x").exists());
}

#[test]
fn folders_of_paths_in_order_are_opened_once() {
    let disk = MemDisk::new(Quirks::default());
    for dir in ["/f", "/f/a", "/f/a/b", "/f/a/c"] {
        disk.user().make_dir(dir).unwrap();
    }
    let (folder, _) = Folder::open_on(&disk, "/f".as_ref(), &FolderOptions::default()).unwrap();
    let mut walker = Walker::new(&folder.shared);
    disk.keep_trace();
    for to in ["a/b/1", "a/b/2", "a/b/3", "a/c/1", "a/1"] {
        walker.open_parent(&path(to)).unwrap();
    }
    let opened: Vec<_> = disk.trace().into_iter().filter(|call| call.starts_with("Open")).collect();
    assert_eq!(opened, ["Open a", "Open b", "Open c"]);
    disk.fail_nth(Some(Call::Look), 1, Trouble::Io);
    assert!(refused(&mut walker, "a/1").1.starts_with("Failed"));
}

// E22
#[test]
fn another_file_system_is_not_entered_nor_the_same_one_mounted_again() {
    let Some(mount) = Mount::tmpfs("E22: mounts on the way to a path", "size=1m") else { return };
    fs::create_dir_all(mount.path().join("share/inner")).unwrap();
    fs::create_dir_all(mount.path().join("share/again")).unwrap();
    let (folder, _) = Folder::open(&mount.path().join("share"), &FolderOptions::default()).unwrap();
    let mount_at = |args: &[&str], at: &str| {
        let at = mount.path().join("share").join(at);
        std::process::Command::new("mount").args(args).arg(at).status().unwrap().success()
    };
    let mut walker = Walker::new(&folder.shared);
    walker.open_parent(&path("inner/x")).unwrap();
    if mount_at(&["-t", "tmpfs", "none"], "inner") {
        assert_eq!(refused(&mut walker, "inner/x"), ("inner".into(), "OtherFileSystem".into()));
    }
    let share = mount.path().join("share");
    if mount_at(&["--bind", share.to_str().unwrap()], "again") {
        assert_eq!(refused(&mut walker, "again/x").0, "again");
    }
    for at in ["inner", "again"] {
        let _ = std::process::Command::new("umount").arg("-l").arg(share.join(at)).status();
    }
}

// E3
#[test]
fn a_folder_that_this_user_may_not_enter_is_told() {
    if is_root() {
        as_nobody("walk::tests::a_folder_that_this_user_may_not_enter_is_told");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    fs::create_dir(place.at("shut")).unwrap();
    fs::set_permissions(place.at("shut"), fs::Permissions::from_mode(0o0)).unwrap();
    let folder = place.open();
    let mut walker = Walker::new(&folder.shared);
    assert_eq!(refused(&mut walker, "shut/x"), ("shut".into(), "NotPermitted".into()));
    fs::set_permissions(place.at("shut"), fs::Permissions::from_mode(0o700)).unwrap();
}
