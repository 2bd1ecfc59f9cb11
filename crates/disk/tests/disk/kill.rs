//! The whole crate against `kill -9`: a process that commits without end is killed again and again (I3, I8, I17).
//!
//! After each kill every name must hold one complete version, and every version that ever stood in the folder must
//! still be there: in its place or in history.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use shoal_disk::{Deed, FileTime, Folder, FolderOptions, Name, Outcome, Placement};

const FILES: u64 = 7;
const KILLS: u64 = 25;
const FOLDER: &str = "SHOAL_DISK_TEST_FOLDER";

/// Not a test by itself: what the test below starts and kills.
#[test]
fn commit_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = open(Path::new(&folder));
    loop {
        // A batch and a lone file take different ways.
        commit_next(&folder, 0..FILES - 1);
        commit_next(&folder, FILES - 1..FILES);
    }
}

#[test]
fn a_process_killed_at_any_moment_leaves_complete_files_and_all_versions() {
    let place = tempfile::tempdir().unwrap();
    commit_next(&open(place.path()), 0..FILES);
    let mut rounds = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::commit_until_killed"])
            .env(FOLDER, place.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(20 + kill * 37 % 90));
        child.kill().unwrap();
        child.wait().unwrap();
        rounds = check(place.path());
    }
    println!("{KILLS} kills in {rounds} rounds");
    assert!(rounds > 1, "it must have been at work");
}

fn open(path: &Path) -> Folder {
    let (folder, recovered) = Folder::open(path, &FolderOptions::default()).unwrap();
    assert!(recovered.problems.is_empty(), "{recovered:?}");
    folder
}

/// The version of a file: its name and number, so often that half of it is seen.
fn version(name: &Name, round: u64) -> String {
    format!("{name} {round}\n").repeat(2_000)
}

/// The round of a version; panics if it is not a complete one.
fn round(name: &Name, mut content: impl Read) -> u64 {
    let mut text = String::new();
    content.read_to_string(&mut text).unwrap();
    let round = text.lines().next().and_then(|line| line.rsplit(' ').next()).unwrap().parse().unwrap();
    assert!(text == version(name, round), "{name}: not a complete version of round {round}");
    round
}

fn commit_next(folder: &Folder, files: std::ops::Range<u64>) {
    let place = |file: u64| {
        let name = Name::parse(file.to_string()).unwrap();
        let present = folder.stat(&name).unwrap();
        let next = present.map_or(1, |_| round(&name, folder.open_regular(&name).unwrap().0) + 1);
        let content = version(&name, next);
        let mut staged = folder.staging().create(&name, Some(content.len() as u64)).unwrap();
        staged.write_all(content.as_bytes()).unwrap();
        let staged = staged.finish(FileTime { secs: 1_000_000, nanos: 0 }, present.as_ref()).unwrap();
        Placement { staged, deed: present.map_or(Deed::Create, Deed::Replace), by: "test".into() }
    };
    for committed in folder.committer().commit(files.map(place).collect()) {
        assert!(matches!(committed.outcome, Outcome::Placed { .. }), "{committed:?}");
    }
}

/// Looks at everything; returns the highest round.
fn check(path: &Path) -> u64 {
    let folder = open(path);
    let mut kept = BTreeSet::new();
    for version in folder.history().list().unwrap() {
        let path = version.name.as_ref().expect("no version loses its name");
        let name = path.flat_name().expect("the folder is flat");
        let round = round(&name, folder.history().open(version.number).unwrap());
        kept.insert((name, round));
    }
    let now: Vec<_> = (0..FILES)
        .map(|file| {
            let name = Name::parse(file.to_string()).unwrap();
            let now = round(&name, folder.open_regular(&name).unwrap().0);
            for earlier in 1..now {
                assert!(kept.contains(&(name.clone(), earlier)), "{name} lost round {earlier} of {now}");
            }
            now
        })
        .collect();
    assert_eq!(std::fs::read_dir(path.join(".shoal/staging")).unwrap().count(), 0);
    now.into_iter().max().unwrap()
}
