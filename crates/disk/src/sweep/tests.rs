//! Sweeps over trees with everything in them, cut into pages of every size.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::names::NAMES_AT_A_TIME;
use super::*;
use crate::mem::{Call, MemDisk, Quirks, Trouble};
use crate::testing::{Mount, Place, as_nobody, is_root};
use crate::{Folder, FolderOptions};

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn told(swept: &Swept) -> String {
    match swept {
        Swept::Entry(Entry { path, seen, target: None }) => format!("{path} {:?}", seen.kind),
        Swept::Entry(Entry { path, target: Some(target), .. }) => format!("{path} -> {}", target.display()),
        Swept::Left(left) => format!("{}: {}", left.shown(), left.why),
    }
}

/// By one thread and by several.
fn all<F: Fs>(tree: &Tree<F>, range: &SweepRange, page: usize) -> Vec<String> {
    let found = by(1, tree, range, page);
    assert_eq!(by(3, tree, range, page), found, "by three threads");
    found
}

fn by<F: Fs>(threads: usize, tree: &Tree<F>, range: &SweepRange, page: usize) -> Vec<String> {
    let mut sweep = tree.sweep_with(range, threads, Enters::all()).unwrap();
    let mut found = Vec::new();
    loop {
        let next = sweep.page(page);
        assert!(next.len() <= page);
        if next.is_empty() {
            return found;
        }
        found.extend(next.iter().map(told));
    }
}

fn messy() -> Place {
    let place = Place::new();
    for dir in ["a", "a/.shoal", "a/b", "a!", "empty", "z/deep"] {
        fs::create_dir_all(place.at(dir)).unwrap();
    }
    for file in ["a/b/1", "a/b/2", "a/c", "a!/x", "a-file", "z/deep/y", "a/.shoal/not ours"] {
        place.write(file, "12345");
    }
    symlink("/etc/passwd", place.at("z/link")).unwrap();
    symlink("loop", place.at("loop")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, place.at("z/pipe"), rustix::fs::Mode::RWXU).unwrap();
    fs::write(place.path().join(OsStr::from_bytes(b"caf\xe9")), "").unwrap();
    place
}

const MESS: [&str; 17] = [
    "a Folder",
    "a! Folder",
    "a!/x File",
    "a-file File",
    "a/.shoal: a path with the name '.shoal', which Shoal keeps for itself",
    "a/b Folder",
    "a/b/1 File",
    "a/b/2 File",
    "a/c File",
    "caf\\xe9 File",
    "empty Folder",
    "loop -> loop",
    "z Folder",
    "z/deep Folder",
    "z/deep/y File",
    "z/link -> /etc/passwd",
    "z/pipe: it is a named pipe, not a file, folder or link",
];

// E1, E2, E12, I23
#[test]
fn everything_comes_once_in_the_order_of_paths_however_it_is_cut() {
    let place = messy();
    let tree = place.open().tree();
    for page in [1, 2, 3, 7, 1000] {
        assert_eq!(all(&tree, &SweepRange::default(), page), MESS, "pages of {page}");
    }
    let entries = tree.sweep(&SweepRange::default()).unwrap().page(1000);
    let paths: Vec<_> = entries
        .iter()
        .filter_map(|swept| match swept {
            Swept::Entry(entry) => Some(entry.path.clone()),
            Swept::Left(_) => None,
        })
        .collect();
    assert!(paths.is_sorted(), "{paths:?}");
    let sizes: Vec<_> = entries
        .iter()
        .filter_map(|swept| match swept {
            Swept::Entry(Entry { seen, .. }) if seen.kind == Kind::File => Some(seen.stat.size),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [5, 5, 5, 5, 5, 0, 5]);
}

#[test]
fn a_sweep_goes_on_after_any_path() {
    let place = messy();
    let tree = place.open().tree();
    for (at, line) in MESS.iter().enumerate() {
        let name = line.split(" File").next().unwrap().split(" Folder").next().unwrap();
        let name = name.split(" -> ").next().unwrap();
        let Ok(after) = RelPath::parse(name.as_bytes()) else { continue };
        if name.contains(['\\', ':']) {
            continue;
        }
        let range = SweepRange { after: Some(after), ..SweepRange::default() };
        assert_eq!(all(&tree, &range, 2), MESS[at + 1..], "after {name}");
    }
    for (after, first) in [("a/b/11", "a/b/2 File"), ("a/b/zz/y", "a/c File"), ("b", "caf\\xe9 File")] {
        let range = SweepRange { after: Some(path(after)), ..SweepRange::default() };
        assert_eq!(all(&tree, &range, 5)[0], first, "after {after}, which is not there");
    }
    let range = SweepRange { after: Some(path("zz")), ..SweepRange::default() };
    assert!(all(&tree, &range, 5).is_empty());
}

// I33
#[test]
fn one_folder_alone_or_all_below_it_can_be_looked_through() {
    let place = messy();
    let tree = place.open().tree();
    let below = |below: &str, after: Option<&str>, shallow| {
        let range = SweepRange { below: Some(path(below)), after: after.map(path), shallow };
        all(&tree, &range, 3)
    };
    assert_eq!(below("a/b", None, false), MESS[6..8]);
    assert_eq!(below("a", None, false), MESS[4..9]);
    assert_eq!(below("a", Some("a/b/1"), false), MESS[7..9]);
    assert_eq!(below("a", None, true), [MESS[4], MESS[5], MESS[8]]);
    assert_eq!(below("a", Some("b"), false), [""; 0], "all of it is before");
    assert_eq!(below("z", Some("a"), true), [MESS[13], MESS[15], MESS[16]]);
    let range = |below| SweepRange { below: Some(path(below)), ..SweepRange::default() };
    assert!(matches!(tree.sweep(&range("none")), Err(SweepError::Barred(_))));
    assert!(matches!(tree.sweep(&range("z/link")), Err(SweepError::Barred(_))));
}

// E15: tests keep few names at a time, so that this is a large folder.
#[test]
fn a_large_folder_is_read_in_parts_and_nothing_is_missed() {
    let disk = MemDisk::new(Quirks::default());
    disk.user().make_dir("/f").unwrap();
    let mut expected = Vec::new();
    for number in 0..3 * NAMES_AT_A_TIME {
        let name = format!("{number:03}");
        if number % 3 == 0 {
            disk.user().make_dir(&format!("/f/{name}")).unwrap();
            disk.user().write(&format!("/f/{name}/x"), "").unwrap();
            expected.extend([format!("{name} Folder"), format!("{name}/x File")]);
        } else {
            disk.user().write(&format!("/f/{name}"), "").unwrap();
            expected.push(format!("{name} File"));
        }
    }
    let (folder, _) = Folder::open_on(&disk, "/f".as_ref(), &FolderOptions::default()).unwrap();
    for page in [1, 5, 1000] {
        assert_eq!(all(&folder.tree(), &SweepRange::default(), page), expected, "pages of {page}");
    }
    let range = SweepRange { after: Some(path("015/x")), ..SweepRange::default() };
    assert_eq!(all(&folder.tree(), &range, 10)[0], "016 File");
}

// E20: what cannot be read is told, at the folder, and is never taken for gone.
#[test]
fn a_disk_that_fails_is_told_where_it_failed() {
    let disk = MemDisk::new(Quirks::default());
    for dir in ["/f", "/f/a", "/f/b"] {
        disk.user().make_dir(dir).unwrap();
    }
    disk.user().write("/f/a/x", "").unwrap();
    disk.user().write("/f/b/y", "").unwrap();
    let (folder, _) = Folder::open_on(&disk, "/f".as_ref(), &FolderOptions::default()).unwrap();
    let tree = folder.tree();
    disk.fail_nth(Some(Call::List), 2, Trouble::Io);
    let found = by(1, &tree, &SweepRange::default(), 10);
    assert!(found.len() == 4 && found[1].starts_with("a: the system failed"), "{found:?}");
    assert_eq!(found[2..], ["b Folder", "b/y File"]);
    let whole = by(1, &tree, &SweepRange::default(), 10);
    let calls = disk.calls();
    drop(by(1, &tree, &SweepRange::default(), 10));
    for nth in 1..=disk.calls() - calls {
        disk.fail_nth(None, nth, Trouble::Io);
        let Ok(mut sweep) = tree.sweep(&SweepRange::default()) else { continue };
        let found = sweep.page(100);
        let left: Vec<_> = found.iter().filter(|swept| matches!(swept, Swept::Left(_))).collect();
        assert_eq!(left.len(), 1, "call {nth}: {found:?}");
        let Swept::Left(Left { path: failed, .. }) = left[0] else { panic!() };
        let known: Vec<_> = found.iter().map(told).collect();
        for line in &whole {
            assert!(known.contains(line) || line.as_bytes().starts_with(failed), "call {nth}: no {line}");
        }
    }
    disk.fail_nth(Some(Call::List), 1, Trouble::Io);
    assert!(matches!(tree.sweep(&SweepRange::default()), Err(SweepError::Read { .. })));
}

// E20
#[test]
fn e20_a_disk_that_fails_under_several_threads_is_told_once_and_the_sweep_goes_on() {
    let disk = MemDisk::new(Quirks::default());
    disk.user().make_dir("/f").unwrap();
    for dir in 0..5 {
        disk.user().make_dir(&format!("/f/{dir}")).unwrap();
        for file in 0..7 {
            disk.user().write(&format!("/f/{dir}/{file}"), "").unwrap();
        }
    }
    let open = |trouble: Option<(Call, u64)>| {
        let disk = disk.fork();
        let (folder, _) = Folder::open_on(&disk, "/f".as_ref(), &FolderOptions::default()).unwrap();
        if let Some((call, nth)) = trouble {
            disk.fail_nth(Some(call), nth, Trouble::Io);
        }
        folder
    };
    let whole = by(1, &open(None).tree(), &SweepRange::default(), 10);
    for call in [Call::Look, Call::List, Call::Open] {
        for nth in 2..12 {
            let found = by(3, &open(Some((call, nth))).tree(), &SweepRange::default(), 10);
            let failed: Vec<_> = found.iter().filter(|line| line.contains("the system failed")).collect();
            assert!(failed.len() <= 1, "{call:?} {nth}: {found:?}");
            let at = failed.first().and_then(|line| line.split(':').next()).unwrap_or("nowhere");
            let lost = whole.iter().find(|line| !found.contains(*line) && !line.starts_with(at));
            assert_eq!(lost, None, "{call:?} {nth}: {found:?}");
        }
    }
}

// E22
#[test]
fn another_file_system_is_told_and_left_out() {
    let Some(mount) = Mount::tmpfs("E22: mounts in a folder", "size=1m") else { return };
    let place = Place::new();
    fs::create_dir_all(place.at("a/mounted")).unwrap();
    let at = place.at("a/mounted");
    let bind = std::process::Command::new("mount").arg("--bind").arg(mount.path()).arg(&at).status();
    if !bind.unwrap().success() {
        return crate::testing::skip::skip("E22: mounts in a folder", "cannot mount again");
    }
    fs::write(at.join("x"), "").unwrap();
    let found = all(&place.open().tree(), &SweepRange::default(), 10);
    let _ = std::process::Command::new("umount").arg("-l").arg(&at).status();
    assert_eq!(found, ["a Folder", "a/mounted: it is on another file system"]);
}

// E3, E14
#[test]
fn what_may_not_be_read_and_what_is_too_deep_is_told() {
    if is_root() {
        as_nobody("sweep::tests::what_may_not_be_read_and_what_is_too_deep_is_told");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    fs::create_dir(place.at("shut")).unwrap();
    place.write("shut/x", "");
    place.write("secret", "");
    let deep = ["d"; 130].join("/");
    fs::create_dir_all(place.at(&deep)).unwrap();
    for name in ["shut", "secret"] {
        fs::set_permissions(place.at(name), fs::Permissions::from_mode(0o0)).unwrap();
    }
    let found = all(&place.open().tree(), &SweepRange::default(), 10);
    fs::set_permissions(place.at("shut"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(found.len(), 128 + 1 + 3, "{found:?}");
    assert!(found[128].ends_with(": a path of more than 128 names"), "{}", found[128]);
    assert_eq!(
        found[129..],
        ["secret: this user may not read it", "shut Folder", "shut: this user may not read it"]
    );
}
