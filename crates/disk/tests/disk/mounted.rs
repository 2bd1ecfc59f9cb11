//! Rows of docs/bad-input.md, E, that need a file system of their own: full, failing, folding case, gone.

use std::fs;
use std::path::Path;
use std::process::Command;

use shoal_disk::{Folder, FolderOptions, Os, Worker};
use shoal_engine::disk::{Answer, Change, ChangeDeed, Committed, Job, Look, Seen, Sweep, Take};
use shoal_engine::history::Why;
use shoal_proto::path::RelPath;

use crate::own_mounts::{self, mount, mount_ext4, unmount};
use crate::skip::skip;
use crate::workload::{STEPS, check, finish, look, make_folder_of_user, path, place_file, work};

#[test]
fn file_systems_in_odd_states() {
    own_mounts::run("E13, E19, E21, E22: file systems of their own", "mounted::where_it_may_mount");
}

/// Not a test by itself: what the test above runs.
#[test]
fn where_it_may_mount() {
    let Some(place) = own_mounts::place() else { return };
    e13_names_that_differ_in_case_alone(&place);
    e19_a_disk_that_is_full_between_staging_and_commit(&place);
    e19_no_room_for_names(&place);
    e19_a_disk_that_became_read_only(&place);
    e21_a_share_that_is_unmounted_and_comes_back(&place);
    e22_what_is_mounted_in_a_share(&place);
    e22_a_share_that_lies_in_layers(&place);
}

fn open(at: &Path) -> Worker {
    Worker::new(&Folder::open(at, &FolderOptions::default()).unwrap().0)
}

fn commit(worker: &Worker, at: &str, deed: ChangeDeed) -> Committed {
    let change = Change { path: path(at), deed, by: None, why: Why::Unknown };
    match worker.perform(Job::Commit(vec![change])) {
        Answer::Committed(mut committed) => committed.remove(0),
        other => panic!("{other:?}"),
    }
}

fn seen(worker: &Worker, at: &str) -> Option<Seen> {
    match look(worker, at)? {
        Look::Seen(seen) => Some(seen),
        _ => None,
    }
}

fn is_done(committed: &Committed) -> bool {
    matches!(committed, Committed::Done { .. })
}

fn e13_names_that_differ_in_case_alone(place: &Path) {
    let what = "E13: a folder that folds case";
    let Some(at) = mount_ext4(place, "folding", what, 16 << 20, &["-O", "casefold", "-E", "encoding=utf8"])
    else {
        return;
    };
    let share = at.join("share");
    fs::create_dir(&share).unwrap();
    if !Command::new("chattr").arg("+F").arg(&share).status().is_ok_and(|status| status.success()) {
        return skip(what, "chattr does not make one");
    }
    fs::write(share.join("Straße"), "the user's").unwrap();
    fs::write(share.join("é"), "composed").unwrap();
    let worker = open(&share);
    for taken in ["STRASSE", "straße", "e\u{301}"] {
        assert_eq!(look(&worker, taken), Some(Look::Nothing), "{taken}: under this name there is nothing");
        let mode = shoal_proto::record::Mode::from_bits(0o700);
        let answer = commit(&worker, taken, ChangeDeed::MakeFolder { mode, over: None });
        assert!(matches!(answer, Committed::NoName(_)), "{taken}: {answer:?}");
    }
    let latin = RelPath::parse(b"caf\xe9").unwrap();
    assert!(worker.perform(Job::Look(vec![latin])) == Answer::Looked(vec![Look::Nothing]));
    assert_eq!(fs::read_to_string(share.join("Straße")).unwrap(), "the user's");
    assert_eq!(fs::read_to_string(share.join("é")).unwrap(), "composed");
    drop(worker);
    unmount(&at);
}

/// As much as is kept free, and some more.
const ROOM: &str = "size=80m";

fn e19_a_disk_that_is_full_between_staging_and_commit(place: &Path) {
    let what = "E19: a full disk";
    let Some(at) = mount(place, "full", what, &["-t", "tmpfs", "-o", ROOM, "none"]) else { return };
    fs::write(at.join("old"), "old").unwrap();
    let worker = open(&at);
    for (name, is_new) in [("old", false), ("new", true)] {
        let staged = |stage| place_file(&worker, stage, "from others", seen(&worker, name)).unwrap();
        let deed = staged(1);
        fill(&at.join("filler"));
        let answer = commit(&worker, name, deed);
        assert!(matches!(answer, Committed::NoSpace) || is_done(&answer), "{name}: {answer:?}");
        let is_old =
            if is_new { !at.join(name).exists() } else { fs::read(at.join(name)).unwrap() == b"old" };
        assert!(is_old || is_done(&answer), "{name} was changed, but {answer:?}");
        assert!(place_file(&worker, 2, "more", None).is_none(), "nothing is staged on a full disk");
        let read = fs::read_to_string(at.join("old")).unwrap();
        assert!(["old", "from others"].contains(&&*read), "what is there can be read");
        fs::remove_file(at.join("filler")).unwrap();
        let answer = commit(&worker, name, staged(3));
        assert!(is_done(&answer), "{name}, with room again: {answer:?}");
        worker.perform(Job::Drop(vec![shoal_engine::disk::StageId(2)]));
    }
    assert_eq!(fs::read_dir(at.join(".shoal/staging")).unwrap().count(), 0);
    drop(worker);
    unmount(&at);
}

/// Takes all the room that there is.
fn fill(at: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(at).unwrap();
    while file.write(&[1; 4096]).is_ok() {}
}

fn e19_no_room_for_names(place: &Path) {
    let what = "E19: no room for names";
    let options = format!("{ROOM},nr_inodes=40");
    let Some(at) = mount(place, "names", what, &["-t", "tmpfs", "-o", &options, "none"]) else { return };
    fs::write(at.join("old"), "old").unwrap();
    let worker = open(&at);
    let deed = place_file(&worker, 1, "from others", seen(&worker, "old")).unwrap();
    let many = (0..100).take_while(|number| fs::write(at.join(format!("many {number}")), "").is_ok()).count();
    let answer = commit(&worker, "old", deed);
    assert!(matches!(answer, Committed::NoSpace), "{answer:?}");
    assert_eq!(fs::read(at.join("old")).unwrap(), b"old");
    (0..many).for_each(|number| fs::remove_file(at.join(format!("many {number}"))).unwrap());
    let deed = place_file(&worker, 3, "from others", seen(&worker, "old")).unwrap();
    assert!(is_done(&commit(&worker, "old", deed)));
    drop(worker);
    unmount(&at);
}

fn e19_a_disk_that_became_read_only(place: &Path) {
    let what = "E19: a disk that became read-only";
    let Some(at) = mount_ext4(place, "failing", what, 128 << 20, &["-O", "^has_journal"]) else { return };
    fs::write(at.join("old"), "old").unwrap();
    let worker = open(&at);
    let deeds = ["old", "new"]
        .map(|name| (name, place_file(&worker, name.len() as u64 + 7, "x", seen(&worker, name)).unwrap()));
    rustix::fs::sync();
    // As after an error of the device: whoever has a file open for writing does not keep it from becoming so.
    let aborted = Command::new("mount").args(["-o", "remount,abort"]).arg(&at).output().unwrap();
    if fs::write(at.join("probe"), "").is_ok() {
        return skip(what, &format!("it cannot be made so: {}", String::from_utf8_lossy(&aborted.stderr)));
    }
    for (name, deed) in deeds {
        let answer = commit(&worker, name, deed);
        assert!(!is_done(&answer), "{name}: {answer:?}");
    }
    assert!(place_file(&worker, 3, "more", None).is_none());
    let sweep = worker.perform(Job::Sweep(Sweep { at_most: 10, ..Sweep::default() }));
    let Answer::Swept { entries, .. } = sweep else { panic!("{sweep:?}") };
    assert_eq!(entries.iter().filter(|(at, _)| *at == path("old")).count(), 1, "it is there still");
    assert_eq!(fs::read(at.join("old")).unwrap(), b"old");
    drop(worker);
    unmount(&at);
}

fn e21_a_share_that_is_unmounted_and_comes_back(place: &Path) {
    let what = "E21: a share that is unmounted";
    let Some(at) = mount(place, "share", what, &["-t", "tmpfs", "-o", ROOM, "none"]) else { return };
    fs::write(at.join("a"), "a").unwrap();
    let worker = open(&at);
    let present = seen(&worker, "a").unwrap();
    let over = |options: &[&str]| {
        assert!(Command::new("mount").args(options).arg(&at).status().unwrap().success());
    };
    // Something else on top, as when another disk is mounted there, or the folder below shows that its disk is gone.
    over(&["-t", "tmpfs", "none"]);
    let jobs = [
        Job::Look(vec![path("a")]),
        Job::Sweep(Sweep { at_most: 10, ..Sweep::default() }),
        Job::Take(vec![Take::new(path("a"), None)]),
        Job::Commit(vec![Change {
            path: path("a"),
            deed: ChangeDeed::Remove(present.clone()),
            by: None,
            why: Why::Unknown,
        }]),
    ];
    for job in jobs {
        let answer = worker.perform(job.clone());
        assert!(matches!(answer, Answer::NotTheRoot(_)), "{job:?}: {answer:?}");
    }
    assert_eq!(fs::read_dir(&at).unwrap().count(), 0, "nothing was made where the share was");
    unmount(&at);
    assert_eq!(seen(&worker, "a"), Some(present), "all is as it was once it is back");
    drop(worker);
    unmount(&at);
}

fn e22_what_is_mounted_in_a_share(place: &Path) {
    let what = "E22: mounts in a share";
    let Some(at) = mount(place, "with mounts", what, &["-t", "tmpfs", "-o", ROOM, "none"]) else { return };
    for name in ["other", "again", "real"] {
        fs::create_dir(at.join(name)).unwrap();
    }
    let mounted = |arguments: &[&str], on: &str| {
        assert!(Command::new("mount").args(arguments).arg(at.join(on)).status().unwrap().success());
    };
    mounted(&["-t", "tmpfs", "none"], "other");
    mounted(&["--bind", at.join("real").to_str().unwrap()], "again");
    fs::write(at.join("other/x"), "x").unwrap();
    fs::write(at.join("real/y"), "y").unwrap();
    let worker = open(&at);
    let sweep = worker.perform(Job::Sweep(Sweep { at_most: 10, ..Sweep::default() }));
    let Answer::Swept { entries, .. } = sweep else { panic!("{sweep:?}") };
    let found: Vec<_> =
        entries.iter().map(|(path, look)| (path.to_string(), matches!(look, Look::Seen(_)))).collect();
    let is_told = |name: &str, known: bool| found.contains(&(name.to_owned(), known));
    assert!(is_told("other", false) && is_told("again", false), "told, and not entered: {found:?}");
    assert!(
        is_told("real", true) && is_told("real/y", true) && !found.iter().any(|(at, _)| at.ends_with("/x"))
    );
    for inside in ["other/new", "again/new"] {
        let Some(deed) = place_file(&worker, inside.len() as u64, "new", None) else { panic!("{inside}") };
        let answer = commit(&worker, inside, deed);
        assert!(matches!(answer, Committed::Barred(_)), "{inside}: {answer:?}");
    }
    // That the same file system is mounted a second time shows only to whoever enters.
    for mounted in ["other", "other/x", "again/y"] {
        let answer = look(&worker, mounted).unwrap();
        assert!(matches!(answer, Look::Unknown(_)), "{mounted}: {answer:?}");
    }
    assert_eq!(
        fs::read_dir(at.join("other")).unwrap().count() + fs::read_dir(at.join("real")).unwrap().count(),
        2
    );
    drop(worker);
    unmount(&at.join("other"));
    unmount(&at.join("again"));
    unmount(&at);
}

/// As in a container: what the user has lies in the lower layer, another file system, and changes its number when it is
/// first written to.
fn e22_a_share_that_lies_in_layers(place: &Path) {
    let what = "E22: a share in layers";
    for in_one in [true, false] {
        let name = |layer: &str| format!("{layer} {in_one}");
        let Some(lower) = mount(place, &name("lower"), what, &["-t", "tmpfs", "none"]) else { return };
        let Some(upper) = mount(place, &name("upper"), what, &["-t", "tmpfs", "-o", ROOM, "none"]) else {
            return;
        };
        make_folder_of_user(&lower);
        let layers = ["upper", "work"].map(|name| upper.join(name));
        layers.iter().for_each(|layer| fs::create_dir(layer).unwrap());
        let layers = layers.each_ref().map(|layer| layer.to_str().unwrap());
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.to_str().unwrap(), layers[0], layers[1]);
        let Some(at) = mount(place, &name("share"), what, &["-t", "overlay", "-o", &options, "none"]) else {
            return;
        };
        let done = work(&Os, &at, in_one);
        assert_eq!(done, STEPS, "all of them, in one: {in_one}");
        check(&at, &done, false, what);
        finish(&at, what);
        check(&at, &STEPS, false, what);
        [&at, &upper, &lower].into_iter().for_each(|at| unmount(at));
    }
}
