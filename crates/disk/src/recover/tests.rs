//! Processes that die at every point of a commit: what the next start finds, and that nothing is lost.

use std::fs;
use std::path::Path;

use super::Recovered;
use crate::Folder;
use crate::fault::{Point, dying_at};
use crate::testing::{Place, WAYS, Way, name, placement, stage, versions};

const POINTS: [Point; 9] = [
    Point::Listed,
    Point::Durable,
    Point::Checked,
    Point::Swapped,
    Point::Linked,
    Point::Filed,
    Point::PutBack,
    Point::Recorded,
    Point::Settled,
];

fn pair(name: &str, content: &str) -> (String, String) {
    (name.into(), content.into())
}

/// Commits new contents to `files` and dies at `point`, if that is on the way.
fn die_while_committing(place: &Place, way: Way, point: Point, files: &[&str]) -> bool {
    let folder = place.open_as(way);
    let files: Vec<_> = files.iter().map(|file| placement(&folder, file, &format!("{file}, new"))).collect();
    dying_at(point, |_| {}, move || drop(folder.committer().commit(files)))
}

// I8, I17
#[test]
fn dying_anywhere_in_a_commit_leaves_old_or_new_and_loses_no_version() {
    let mut reached = std::collections::BTreeSet::new();
    for way in WAYS {
        for files in [&["a"][..], &["a", "new", "b"]] {
            for point in POINTS {
                let place = Place::new();
                place.write("a", "a, old");
                place.write("b", "b, old");
                if !die_while_committing(&place, way, point, files) {
                    continue;
                }
                reached.insert(point);
                let (folder, recovered) = place.reopen();
                let at = format!("{way:?} {files:?} {point:?}");
                assert_eq!(recovered.problems, [] as [String; 0], "{at}");
                let kept = versions(&folder);
                for file in ["a", "b"] {
                    let (old, new) = (format!("{file}, old"), format!("{file}, new"));
                    let now = place.read(file);
                    assert!(now == old || now == new, "{at}: {now}");
                    assert!(now == old || kept.contains(&pair(file, &old)), "{at}: {kept:?}");
                }
                if place.at("new").exists() {
                    assert_eq!(place.read("new"), "new, new", "{at}");
                }
                assert_eq!(place.staged(), [] as [String; 0], "{at}");

                drop(folder);
                let (folder, again) = place.reopen();
                assert!(again.restored.is_empty() && again.removed == 0, "{at}: {again:?}");
                assert_eq!(versions(&folder), kept, "{at}");
            }
        }
    }
    assert_eq!(reached.len(), POINTS.len() - 1, "all but putting back: {reached:?}");
}

/// Dies while replacing `a` by "theirs", with the user at work at each point; then starts again.
fn die_with_the_user_at_work(last: Point, act: fn(Point, &Path)) -> (Place, Folder, Recovered) {
    let place = Place::new();
    place.write("a", "old");
    let folder = place.open();
    let placement = placement(&folder, "a", "theirs");
    let path = place.at("a");
    let work = move || drop(folder.committer().commit(vec![placement]));
    assert!(dying_at(last, move |point| act(point, &path), work));
    let (folder, recovered) = place.reopen();
    assert_eq!(place.staged(), [] as [String; 0]);
    (place, folder, recovered)
}

// I3, I17
#[test]
fn an_edit_that_was_displaced_when_the_process_died_is_kept_under_its_name() {
    let edit = |point, path: &Path| {
        if point == Point::Checked {
            fs::write(path, "mine").unwrap();
        }
    };
    let (place, folder, recovered) = die_with_the_user_at_work(Point::Swapped, edit);
    assert_eq!(place.read("a"), "theirs");
    assert_eq!(versions(&folder), [pair("a", "mine")]);
    assert_eq!(recovered.restored.len(), 1);
    assert_eq!(recovered.restored[0].name, name("a"));
    assert_eq!(folder.history().list().unwrap()[0].by, "192.0.2.7:9001");

    let (place, folder, recovered) = die_with_the_user_at_work(Point::PutBack, edit);
    assert_eq!((place.read("a").as_str(), recovered.removed), ("mine", 1));
    assert!(versions(&folder).is_empty());
}

// I3, I17
#[test]
fn an_edit_of_our_own_file_that_was_displaced_is_kept_too() {
    let act = |point, path: &Path| match point {
        Point::Checked => fs::write(path, "older").unwrap(),
        Point::Swapped => fs::write(path, "newer").unwrap(),
        _ => {}
    };
    let (place, folder, _) = die_with_the_user_at_work(Point::PutBack, act);
    assert_eq!(place.read("a"), "older");
    assert_eq!(versions(&folder), [pair("a", "newer")]);
}

// I17: a start can be interrupted like anything else.
#[test]
fn dying_while_starting_is_made_good_by_the_next_start() {
    for first in [Point::Swapped, Point::Filed] {
        for second in [Point::Filed, Point::Recorded] {
            let place = Place::new();
            place.write("a", "a, old");
            assert!(die_while_committing(&place, WAYS[0], first, &["a"]));
            let path = place.path().to_owned();
            let start = move || drop(crate::testing::reopen(&path));
            assert!(dying_at(second, |_| {}, start));
            let (folder, _) = place.reopen();
            assert_eq!(place.read("a"), "a, new");
            assert_eq!(versions(&folder), [pair("a", "a, old")]);
            assert_eq!(place.staged(), [] as [String; 0]);
        }
    }
}

#[test]
fn a_list_without_its_end_was_never_acted_upon() {
    let place = Place::new();
    place.write("a", "a, old");
    assert!(die_while_committing(&place, WAYS[0], Point::Listed, &["a"]));
    let list = place.staged().into_iter().find(|name| name.ends_with(".list")).unwrap();
    let list = place.at(".shoal/staging").join(list);
    let whole = fs::read(&list).unwrap();
    fs::write(&list, &whole[..whole.len() - 3]).unwrap();
    let (_folder, recovered) = place.reopen();
    assert_eq!((recovered.removed, place.staged().len()), (1, 0));
}

// E20
#[test]
fn a_list_that_cannot_be_read_keeps_every_number_it_could_name() {
    let place = Place::new();
    place.write("a", "old");
    assert!(die_while_committing(&place, WAYS[0], Point::Swapped, &["a"]));
    let list = place.staged().into_iter().find(|name| name.ends_with(".list")).unwrap();
    let list = place.at(".shoal/staging").join(list);
    let aside = place.at("aside");
    fs::rename(&list, &aside).unwrap();
    fs::create_dir(&list).unwrap();
    let (folder, recovered) = place.reopen();
    assert!(recovered.problems.len() == 1 && recovered.removed == 0, "{recovered:?}");
    drop(folder);
    fs::remove_dir(&list).unwrap();
    fs::rename(&aside, &list).unwrap();
    let (folder, _) = place.reopen();
    assert_eq!(versions(&folder), [pair("a", "old")]);
}

#[test]
fn a_displaced_file_whose_number_is_taken_in_history_gets_another() {
    let place = Place::new();
    place.write("a", "old");
    assert!(die_while_committing(&place, WAYS[0], Point::Swapped, &["a"]));
    let slot = place.staged().into_iter().find(|name| !name.ends_with(".list")).unwrap();
    place.write(&format!(".shoal/history/{slot}"), "half of a copy");
    let (folder, _) = place.reopen();
    assert_eq!(versions(&folder), [pair("?", "half of a copy"), pair("a", "old")]);
}

#[test]
fn an_unfinished_fetch_is_removed() {
    let place = Place::new();
    let folder = place.open();
    std::mem::forget(folder.staging().create(&name("a"), None).unwrap());
    std::mem::forget(stage(&folder, "b", "content", None));
    // What was forgotten holds the folder, so this copy plays the disk after a restart.
    let copy = Place::new();
    fs::create_dir_all(copy.at(".shoal/staging")).unwrap();
    for slot in place.staged() {
        fs::copy(place.at(".shoal/staging").join(&slot), copy.at(".shoal/staging").join(&slot)).unwrap();
    }
    copy.write(".shoal/staging/of-somebody-else", "not ours");
    let (_folder, recovered) = copy.reopen();
    assert_eq!((recovered.removed, recovered.problems.len()), (2, 0));
    assert_eq!(copy.staged(), ["of-somebody-else"]);
}

// I17, I34: what an earlier version, which knew no folders, has left behind.
#[test]
fn a_list_and_a_table_from_before_there_were_folders_are_understood() {
    let place = Place::new();
    drop(place.open());
    let state = |name: &str| place.at(".shoal").join(name);
    fs::write(state("staging/0000000000000007"), "the user's").unwrap();
    fs::write(state("staging/0000000000000009"), "an unfinished fetch").unwrap();
    let list = "shoal batch 1\n0000000000000007\t1\t3\t1600000000\t0\t192.0.2.7:9001\ta\\x09b\nend 1\n";
    fs::write(state("staging/0000000000000008.list"), list).unwrap();
    fs::write(state("history/0000000000000003"), "older").unwrap();
    fs::write(state("history/table.tsv"), "0000000000000003\t-5\t5\t-7\t12\t\tname\\xff\n").unwrap();
    let (folder, recovered) = place.reopen();
    assert_eq!((recovered.problems, recovered.removed), (Vec::new(), 1));
    assert_eq!(recovered.restored.len(), 1);
    let kept = folder.history().list().unwrap();
    assert!(kept[0].filed == -5 && kept[0].late_edit, "its size and time are those of the table: {kept:?}");
    let expected = [("name\\xff".into(), "older".into()), ("a\\x09b".into(), "the user's".into())];
    assert_eq!(versions(&folder), expected);
    assert!(place.staged().is_empty());
}

// What lies in a folder is nobody's to throw away.
#[test]
fn a_folder_left_in_staging_is_removed_if_it_is_empty_and_told_if_not() {
    let place = Place::new();
    drop(place.open());
    let slot = |number: u64| place.at(".shoal/staging").join(format!("{number:016x}"));
    fs::create_dir(slot(5)).unwrap();
    fs::create_dir(slot(6)).unwrap();
    fs::write(slot(6).join("x"), "x").unwrap();
    let (_folder, recovered) = place.reopen();
    assert_eq!((recovered.removed, recovered.problems.len()), (1, 1), "{recovered:?}");
    assert!(!slot(5).exists() && slot(6).join("x").exists());
}
