//! Commits with users who save, remove and write on at the worst moments, and disks that refuse.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use super::*;
use crate::fault::{Point, acting};
use crate::testing::{Place, WAYS, all_placed, commit_one, name, names_in, placement, stage, versions};
use crate::{FileTime, Folder};

fn pair(name: &str, content: &str) -> (String, String) {
    (name.into(), content.into())
}

fn is_changed_here(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::ChangedHere { kept: None })
}

type Act = fn(PathBuf);

/// Replaces `a` (which holds "old") by "new" while `act` plays the user at each point.
fn replace_while(place: &Place, folder: &Folder, act: impl Fn(Point, PathBuf) + 'static) -> Outcome {
    place.write("a", "old");
    let placement = placement(folder, "a", "new");
    let path = place.at("a");
    acting(move |point| act(point, path.clone()), || commit_one(folder, placement))
}

#[test]
fn new_files_and_replaced_ones_come_in_together() {
    for way in WAYS {
        let place = Place::new();
        let longest = "y".repeat(255);
        place.write("replaced", "old");
        place.write(&longest, "old and long");
        place.write("bystander", "not touched");
        let folder = place.open_as(way);
        let files =
            ["new", "replaced", &longest].map(|file| placement(&folder, file, &format!("{file} by us")));
        let committed = folder.committer().commit(files.into());
        assert!(all_placed(&committed), "{committed:?}");
        for (committed, file) in committed.iter().zip(["new", "replaced", &longest]) {
            assert_eq!(committed.name, name(file));
            assert_eq!(place.read(file), format!("{file} by us"));
            let Outcome::Placed { stat, kept, late_edit: false } = &committed.outcome else { panic!() };
            assert_eq!(Some(*stat), folder.stat(&name(file)).unwrap());
            assert_eq!(stat.mtime, FileTime { secs: 1_700_000_000, nanos: 0 });
            assert_eq!(kept.is_some(), file != "new");
        }
        assert_eq!(versions(&folder), [pair("replaced", "old"), pair(&longest, "old and long")]);
        assert!(place.staged().is_empty());
        assert_eq!(names_in(place.path()).len(), 5);
    }
}

#[test]
fn a_lone_file_comes_in_too() {
    for way in WAYS {
        let place = Place::new();
        let folder = place.open_as(way);
        for content in ["one", "two"] {
            let outcome = commit_one(&folder, placement(&folder, "a", content));
            assert!(matches!(outcome, Outcome::Placed { .. }), "{outcome:?}");
            assert_eq!(place.read("a"), content);
        }
        assert_eq!(versions(&folder), [pair("a", "one")]);
        assert!(place.staged().is_empty());
    }
}

#[test]
fn more_files_than_a_batch_holds_are_several_batches() {
    let place = Place::new();
    let folder = place.open();
    let files = (0..BATCH_FILES_MAX + 5).map(|n| placement(&folder, &n.to_string(), "x")).collect();
    let committed = folder.committer().commit(files);
    assert!(committed.len() == BATCH_FILES_MAX + 5 && all_placed(&committed));
    assert!(folder.committer().commit(Vec::new()).is_empty());
}

#[test]
fn what_changed_since_the_plan_is_left_alone() {
    for way in WAYS {
        let place = Place::new();
        for file in ["edited", "touched", "removed", "now a folder", "now a link"] {
            place.write(file, "old");
        }
        let folder = place.open_as(way);
        let plan =
            ["edited", "touched", "removed", "now a folder", "now a link", "appeared", "folder appeared"];
        let files = plan.map(|file| placement(&folder, file, "theirs")).into();
        place.write("edited", "mine");
        fs::File::options()
            .write(true)
            .open(place.at("touched"))
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
        for file in ["removed", "now a folder", "now a link"] {
            fs::remove_file(place.at(file)).unwrap();
        }
        fs::create_dir(place.at("now a folder")).unwrap();
        fs::create_dir(place.at("folder appeared")).unwrap();
        symlink("edited", place.at("now a link")).unwrap();
        place.write("appeared", "mine");

        let committed = folder.committer().commit(files);
        assert!(committed.iter().all(|committed| is_changed_here(&committed.outcome)), "{committed:?}");
        assert_eq!((place.read("edited"), place.read("appeared")), ("mine".into(), "mine".into()));
        assert_eq!(place.read("touched"), "old");
        assert!(!place.at("removed").exists() && place.at("now a folder").is_dir());
        assert!(place.at("now a link").is_symlink());
        assert!(place.staged().is_empty() && versions(&folder).is_empty());
    }
}

// E17, I3: the user is quicker than we, between our look and our swap.
#[test]
fn an_edit_between_look_and_swap_is_put_back() {
    let edits: [(&str, Act); 4] = [
        ("in place", |path| fs::write(path, "mine, in place").unwrap()),
        ("by rename", |path| {
            fs::write(path.with_file_name("tmp"), "mine, by rename").unwrap();
            fs::rename(path.with_file_name("tmp"), path).unwrap();
        }),
        ("into a folder", |path| {
            fs::remove_file(&path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("into a link", |path| {
            fs::remove_file(&path).unwrap();
            symlink("elsewhere", path).unwrap();
        }),
    ];
    for (edit, act) in edits {
        let place = Place::new();
        let folder = place.open();
        let outcome = replace_while(&place, &folder, move |point, path| {
            if point == Point::Checked {
                act(path);
            }
        });
        assert!(is_changed_here(&outcome), "{edit}: {outcome:?}");
        match edit {
            "into a folder" => assert!(place.at("a").is_dir()),
            "into a link" => assert!(place.at("a").is_symlink()),
            _ => assert_eq!(place.read("a"), format!("mine, {edit}")),
        }
        assert!(place.staged().is_empty() && versions(&folder).is_empty(), "{edit}");
    }
}

#[test]
fn a_removal_between_look_and_swap_stands() {
    for way in WAYS {
        let place = Place::new();
        let folder = place.open_as(way);
        let outcome = replace_while(&place, &folder, |point, path| {
            if point == Point::Checked {
                fs::remove_file(path).unwrap();
            }
        });
        assert!(is_changed_here(&outcome), "{outcome:?}");
        assert_eq!(names_in(place.path()), [".shoal"]);
        assert!(place.staged().is_empty());
    }
}

#[test]
fn a_name_taken_between_look_and_swap_is_not_replaced() {
    for way in WAYS {
        let place = Place::new();
        let folder = place.open_as(way);
        let placement = placement(&folder, "a", "theirs");
        let path = place.at("a");
        let act = move |point| {
            if point == Point::Checked {
                fs::write(&path, "mine").unwrap();
            }
        };
        let outcome = acting(act, || commit_one(&folder, placement));
        assert!(is_changed_here(&outcome), "{outcome:?}");
        assert_eq!(place.read("a"), "mine");
        assert!(place.staged().is_empty());
    }
}

#[test]
fn of_two_edits_around_the_swap_the_newer_stays_and_the_older_is_kept() {
    let seconds: [fn(&PathBuf); 2] = [
        |path| fs::write(path, "newer").unwrap(),
        |path| {
            fs::write(path.with_file_name("tmp"), "newer").unwrap();
            fs::rename(path.with_file_name("tmp"), path).unwrap();
        },
    ];
    for second in seconds {
        let place = Place::new();
        let folder = place.open();
        let outcome = replace_while(&place, &folder, move |point, path| match point {
            Point::Checked => fs::write(path, "older").unwrap(),
            Point::Swapped => second(&path),
            _ => {}
        });
        assert!(matches!(outcome, Outcome::ChangedHere { kept: Some(_) }), "{outcome:?}");
        assert_eq!(place.read("a"), "newer");
        assert_eq!(versions(&folder), [pair("a", "older")]);
        assert!(place.staged().is_empty());
    }
}

#[test]
fn an_edit_before_the_swap_and_a_removal_after_it_keep_the_edit() {
    let place = Place::new();
    let folder = place.open();
    let outcome = replace_while(&place, &folder, |point, path| match point {
        Point::Checked => fs::write(path, "mine").unwrap(),
        Point::Swapped => fs::remove_file(path).unwrap(),
        _ => {}
    });
    assert!(matches!(outcome, Outcome::ChangedHere { kept: Some(_) }), "{outcome:?}");
    assert!(!place.at("a").exists());
    assert_eq!(versions(&folder), [pair("a", "mine")]);
}

#[test]
fn a_removal_while_it_is_put_back_keeps_everything_that_is_left() {
    let place = Place::new();
    let folder = place.open();
    let outcome = replace_while(&place, &folder, |point, path| match point {
        Point::Checked => fs::write(path, "older").unwrap(),
        Point::Swapped => fs::write(path, "newer").unwrap(),
        Point::PutBack => fs::remove_file(path).unwrap(),
        _ => {}
    });
    assert!(matches!(outcome, Outcome::ChangedHere { kept: Some(_) }), "{outcome:?}");
    assert!(!place.at("a").exists(), "the user removed what was there then");
    assert_eq!(versions(&folder), [pair("a", "newer")]);
}

// Without exchange an edit is seen until the last look.
#[test]
fn without_exchange_an_edit_after_the_link_stands() {
    let place = Place::new();
    let folder = place.open_as(WAYS[2]);
    let outcome = replace_while(&place, &folder, |point, path| {
        if point == Point::Linked {
            fs::write(path, "mine").unwrap();
        }
    });
    assert!(matches!(outcome, Outcome::ChangedHere { kept: Some(_) }), "{outcome:?}");
    assert_eq!(place.read("a"), "mine");
    assert!(place.staged().is_empty());
}

// E17
#[test]
fn a_program_that_goes_on_writing_to_the_old_file_is_noticed_and_its_bytes_are_kept() {
    let place = Place::new();
    let folder = place.open();
    place.write("a", "old");
    let mut program = OpenOptions::new().append(true).open(place.at("a")).unwrap();
    let placement = placement(&folder, "a", "new");
    let act = move |point| {
        if point == Point::Filed {
            program.write_all(b" and more").unwrap();
        }
    };
    let outcome = acting(act, || commit_one(&folder, placement));
    assert!(matches!(outcome, Outcome::Placed { late_edit: true, .. }), "{outcome:?}");
    assert_eq!(versions(&folder), [pair("a", "old and more")]);
    assert!(folder.history().list().unwrap()[0].late_edit);
}

// What is told about our file must never be the user's.
#[test]
fn an_edit_right_after_the_swap_is_not_taken_for_ours() {
    let place = Place::new();
    let folder = place.open();
    let outcome = replace_while(&place, &folder, |point, path| {
        if point == Point::Swapped {
            fs::write(path, "mine").unwrap();
        }
    });
    let Outcome::Placed { stat, .. } = outcome else { panic!("{outcome:?}") };
    let now = folder.stat(&name("a")).unwrap().unwrap();
    assert!(!stat.same_version(&now), "the next scan must see a difference");
    assert_eq!((place.read("a").as_str(), stat.mtime.secs), ("mine", 1_700_000_000));
}

// E16
#[test]
fn a_replaced_hard_link_is_broken_and_its_version_is_a_copy() {
    for way in WAYS {
        let place = Place::new();
        place.write("a", "old");
        fs::hard_link(place.at("a"), place.at("b")).unwrap();
        let folder = place.open_as(way);
        let outcome = commit_one(&folder, placement(&folder, "a", "new"));
        assert!(matches!(outcome, Outcome::Placed { late_edit: false, .. }), "{outcome:?}");
        assert_eq!((place.read("a").as_str(), place.read("b").as_str()), ("new", "old"));
        place.write("b", "edited through the other name");
        assert_eq!(versions(&folder), [pair("a", "old")]);
        assert!(place.staged().is_empty());
    }
}

// B24
#[test]
fn equal_content_only_gets_the_time() {
    for way in WAYS {
        let place = Place::new();
        place.write("a", "same");
        place.write("b", "same");
        let folder = place.open_as(way);
        let inode = fs::metadata(place.at("a")).unwrap().ino();
        let adopt = |file| {
            let staged = stage(&folder, file, "same", None);
            let present = folder.staging().same_content(&staged).unwrap().unwrap();
            Placement { staged, deed: Deed::Adopt(present), by: String::new() }
        };
        let (one, other) = (adopt("a"), adopt("b"));
        place.write("b", "mine");
        let committed = folder.committer().commit(vec![one, other]);
        let Outcome::Adopted { stat } = committed[0].outcome else { panic!("{committed:?}") };
        assert_eq!((stat.ino, stat.mtime.secs), (inode, 1_700_000_000));
        assert_eq!(Some(stat), folder.stat(&name("a")).unwrap());
        assert!(is_changed_here(&committed[1].outcome));
        assert!(matches!(commit_one(&folder, adopt("a")), Outcome::Adopted { .. }), "alone");
        assert!(place.staged().is_empty() && versions(&folder).is_empty());
    }
}

#[test]
fn a_batch_that_is_not_durable_changes_nothing() {
    let place = Place::new();
    place.write("a", "old");
    let folder = place.open();
    let files = ["a", "b"].map(|file| placement(&folder, file, "new")).into();
    // A list cannot be made where a folder has its name.
    let next = crate::number::Number(folder.shared.numbers.draw().0 + 1).list_name();
    fs::create_dir(place.at(".shoal/staging").join(&next)).unwrap();
    let committed = folder.committer().commit(files);
    for committed in &committed {
        let Outcome::Failed(error) = &committed.outcome else { panic!("{committed:?}") };
        assert!(matches!(error, CommitError::NotDurable { .. }) && !error.is_out_of_space());
    }
    assert_eq!((place.read("a").as_str(), place.at("b").exists()), ("old", false));
    assert_eq!(place.staged(), [next]);
}

#[test]
fn a_swap_that_the_system_refuses_leaves_the_old_file() {
    let place = Place::new();
    place.write("a", "old");
    let folder = place.open();
    let lost = placement(&folder, "a", "new");
    for slot in place.staged() {
        fs::remove_file(place.at(".shoal/staging").join(slot)).unwrap();
    }
    let outcome = folder.committer().commit(vec![lost, placement(&folder, "b", "new")]);
    assert!(is_changed_here(&outcome[0].outcome), "no slot is like no name: {outcome:?}");
    assert_eq!((place.read("a").as_str(), place.read("b").as_str()), ("old", "new"));
}

#[test]
fn a_history_that_cannot_take_the_old_file_keeps_it_in_place() {
    let place = Place::new();
    place.write("a", "old");
    let folder = place.open();
    let refused = placement(&folder, "a", "new");
    let taken = crate::number::Number(refused.staged.slot.number.0).file_name();
    place.write(&format!(".shoal/history/{taken}"), "in the way");
    let outcome = commit_one(&folder, refused);
    assert!(matches!(outcome, Outcome::Failed(CommitError::NotPlaced { .. })), "{outcome:?}");
    assert_eq!(place.read("a"), "old");
    assert!(place.staged().is_empty());
}

#[test]
fn an_unconfirmed_batch_says_so_and_the_next_start_completes_the_history() {
    let place = Place::new();
    place.write("a", "old");
    let folder = place.open();
    let table = place.at(".shoal/history/table.tsv");
    let placement = placement(&folder, "a", "new");
    let blocked = table.clone();
    let act = move |point| {
        if point == Point::Filed {
            fs::create_dir(&blocked).unwrap();
        }
    };
    let outcome = acting(act, || commit_one(&folder, placement));
    assert!(matches!(outcome, Outcome::Failed(CommitError::NotConfirmed { .. })), "{outcome:?}");
    assert_eq!((place.read("a").as_str(), place.staged().len()), ("new", 1), "the list stays");
    fs::remove_dir(table).unwrap();
    drop(folder);
    let (folder, recovered) = place.reopen();
    assert_eq!((recovered.restored.len(), versions(&folder)), (1, vec![pair("a", "old")]));
    assert!(place.staged().is_empty());
}

#[test]
fn long_senders_are_cut() {
    let place = Place::new();
    place.write("a", "old");
    let folder = place.open();
    let mut long = placement(&folder, "a", "new");
    long.by = "\u{e9}".repeat(500);
    assert!(matches!(commit_one(&folder, long), Outcome::Placed { .. }));
    assert_eq!(folder.history().list().unwrap()[0].by, "\u{e9}".repeat(127));
}
