//! Changes to trees on this machine, with users who save, remove and rename at the worst moments.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::durable::Durability;
use crate::fault::{Point, acting};
use crate::testing::{Place, WAYS, Way, secs, versions};
use crate::{Barred, Folder, Kind};

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn change(at: &str, deed: TreeDeed) -> Change {
    Change { path: path(at), deed, by: "192.0.2.7:9001".into() }
}

fn here(folder: &Folder, at: &str) -> Expected {
    folder.tree().look(&path(at)).unwrap().unwrap().expected()
}

fn staged(folder: &Folder, at: &str, content: &str) -> FinishedFile {
    let mut file = folder.staging().create_at(&path(at), None).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file.finish_as(secs(1_700_000_000), 0o4640).unwrap()
}

fn commit_one(folder: &Folder, change: Change) -> TreeOutcome {
    folder.tree().commit(vec![change]).remove(0).outcome
}

fn is_changed_here(outcome: &TreeOutcome) -> bool {
    matches!(outcome, TreeOutcome::ChangedHere { kept: None })
}

fn is_done(outcome: &TreeOutcome) -> bool {
    matches!(outcome, TreeOutcome::Done { .. })
}

fn mode(place: &Place, at: &str) -> u32 {
    fs::symlink_metadata(place.at(at)).unwrap().permissions().mode() & 0o7777
}

/// A folder with a bit of everything.
fn tree() -> Place {
    let place = Place::new();
    for dir in ["d/sub", "d/empty", "other"] {
        fs::create_dir_all(place.at(dir)).unwrap();
    }
    for file in ["d/a", "d/sub/b", "other/c"] {
        place.write(file, &format!("{file}, old"));
    }
    symlink("a", place.at("d/link")).unwrap();
    place
}

// I12
#[test]
fn a_batch_does_every_deed_and_keeps_what_it_displaces_under_its_path() {
    for way in WAYS {
        let place = tree();
        let folder = place.open_as(way);
        let link =
            |at: &str| folder.staging().symlink_at(&path(at), "/nowhere".as_ref(), secs(1_600_000_000));
        let changes = vec![
            change("new", TreeDeed::MakeFolder { mode: 0o4050, over: None }),
            change("new/in", TreeDeed::MakeFolder { mode: 0o755, over: None }),
            change("new/in/file", TreeDeed::Create(staged(&folder, "new/in/file", "created"))),
            change("d/a", TreeDeed::Replace(staged(&folder, "d/a", "replaced"), here(&folder, "d/a"))),
            change("d/link", TreeDeed::Replace(link("d/link").unwrap(), here(&folder, "d/link"))),
            change("d/empty", TreeDeed::Replace(link("d/empty").unwrap(), here(&folder, "d/empty"))),
            change("other/c", TreeDeed::MakeFolder { mode: 0o700, over: Some(here(&folder, "other/c")) }),
            change("d/sub", TreeDeed::Move { to: path("new/in/sub"), present: here(&folder, "d/sub") }),
        ];
        let changed = folder.tree().commit(changes);
        assert!(changed.iter().all(|changed| is_done(&changed.outcome)), "{way:?}: {changed:?}");
        assert_eq!((place.read("new/in/file"), place.read("d/a")), ("created".into(), "replaced".into()));
        assert_eq!(place.read("new/in/sub/b"), "d/sub/b, old");
        assert!(!place.at("d/sub").exists() && place.at("other/c").is_dir());
        for link in ["d/link", "d/empty"] {
            assert_eq!(fs::read_link(place.at(link)).unwrap().to_str(), Some("/nowhere"));
            assert_eq!(fs::symlink_metadata(place.at(link)).unwrap().mtime(), 1_600_000_000);
        }
        assert_eq!((mode(&place, "new"), mode(&place, "new/in/file")), (0o750, 0o640));
        let kept = folder.history().list().unwrap();
        let kept: Vec<_> =
            kept.iter().map(|kept| (kept.name.as_ref().unwrap().to_string(), kept.kind)).collect();
        let expected = [("d/a", Kind::File), ("d/link", Kind::Symlink), ("other/c", Kind::File)]
            .map(|(name, kind)| (name.into(), kind));
        assert_eq!(kept, expected, "{way:?}");
        assert!(place.staged().is_empty());

        let retouched = TreeDeed::Retouch {
            present: here(&folder, "new/in/file"),
            mtime: Some(secs(5)),
            mode: Some(0o4600),
        };
        let outcome = commit_one(&folder, change("new/in/file", retouched));
        let TreeOutcome::Done { now: Some(now), kept: None, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!((now.stat.mtime, now.stat.mode), (secs(5), 0o600));
        assert_eq!(folder.tree().look(&path("new/in/file")).unwrap(), Some(now));
        for gone in ["new/in/file", "new/in/sub/b", "new/in/sub"] {
            let outcome = commit_one(&folder, change(gone, TreeDeed::Remove(here(&folder, gone))));
            assert!(is_done(&outcome) && !place.at(gone).exists(), "{way:?}: {outcome:?}");
        }
        assert_eq!(folder.history().list().unwrap().len(), 5, "folders are not kept");
    }
}

// I7
#[test]
fn a_folder_with_something_in_it_stays_and_says_what() {
    for way in WAYS {
        let place = tree();
        let folder = place.open_as(way);
        let changes = vec![
            change("d/sub", TreeDeed::Remove(here(&folder, "d/sub"))),
            change("other", TreeDeed::Replace(staged(&folder, "other", "file"), here(&folder, "other"))),
        ];
        for (changed, inside) in folder.tree().commit(changes).into_iter().zip(["b", "c"]) {
            let TreeOutcome::NotEmpty { inside: told } = changed.outcome else { panic!("{changed:?}") };
            assert_eq!(told, [inside]);
        }
        assert_eq!(
            (place.read("d/sub/b"), place.read("other/c")),
            ("d/sub/b, old".into(), "other/c, old".into())
        );
        assert!(place.staged().is_empty());
    }
}

#[test]
fn what_changed_since_the_plan_is_left_alone() {
    for way in WAYS {
        let place = tree();
        let folder = place.open_as(way);
        let (a, c, sub) = (here(&folder, "d/a"), here(&folder, "other/c"), here(&folder, "d/sub"));
        place.write("d/a", "mine");
        fs::set_permissions(place.at("d/sub"), fs::Permissions::from_mode(0o711)).unwrap();
        let changes = vec![
            change("d/a", TreeDeed::Replace(staged(&folder, "d/a", "theirs"), a)),
            change("d/a", TreeDeed::Remove(a)),
            change("d/a", TreeDeed::Move { to: path("moved"), present: a }),
            change("d/a", TreeDeed::Retouch { present: a, mtime: Some(secs(1)), mode: Some(0o600) }),
            change("d/a", TreeDeed::MakeFolder { mode: 0o755, over: Some(a) }),
            change("d/a", TreeDeed::MakeFolder { mode: 0o755, over: None }),
            change("d/a", TreeDeed::Create(staged(&folder, "d/a", "theirs"))),
            change("d/sub", TreeDeed::Remove(sub)),
            change("other/c", TreeDeed::Move { to: path("d/a"), present: c }),
            change("d/none", TreeDeed::Remove(c)),
        ];
        let changed = folder.tree().commit(changes);
        assert!(changed.iter().all(|changed| is_changed_here(&changed.outcome)), "{way:?}: {changed:?}");
        assert_eq!((place.read("d/a"), place.read("other/c")), ("mine".into(), "other/c, old".into()));
        assert!(place.staged().is_empty() && versions(&folder).is_empty());
    }
}

// I3, E17: the user is quicker than we, between our look and our deed.
#[test]
fn an_edit_between_look_and_deed_is_put_back() {
    let deeds: [fn(&Folder) -> TreeDeed; 4] = [
        |folder| TreeDeed::Remove(here(folder, "d/a")),
        |folder| TreeDeed::Move { to: path("other/moved"), present: here(folder, "d/a") },
        |folder| TreeDeed::MakeFolder { mode: 0o755, over: Some(here(folder, "d/a")) },
        |folder| {
            let link = folder.staging().symlink_at(&path("d/a"), "x".as_ref(), secs(1)).unwrap();
            TreeDeed::Replace(link, here(folder, "d/a"))
        },
    ];
    for (number, deed) in deeds.into_iter().enumerate() {
        let place = tree();
        let folder = place.open();
        let change = change("d/a", deed(&folder));
        let at = place.at("d/a");
        let act = move |point| {
            if point == Point::Checked {
                fs::write(&at, "mine, newer").unwrap();
            }
        };
        let outcome = acting(act, || commit_one(&folder, change));
        assert!(is_changed_here(&outcome), "{number}: {outcome:?}");
        assert_eq!(place.read("d/a"), "mine, newer", "{number}");
        assert!(!place.at("other/moved").exists());
        assert!(versions(&folder).is_empty() && place.staged().is_empty(), "{number}");
    }
}

// E16, I10: the other name may be anywhere.
#[test]
fn a_file_with_another_name_is_not_touched_through_it() {
    let (place, outside) = (tree(), Place::new());
    fs::hard_link(place.at("d/a"), outside.at("a")).unwrap();
    let folder = place.open();
    let deed = TreeDeed::Retouch { present: here(&folder, "d/a"), mtime: Some(secs(5)), mode: Some(0o600) };
    let outcome = commit_one(&folder, change("d/a", deed));
    assert!(matches!(outcome, TreeOutcome::Failed(ChangeError::NotDone { .. })), "{outcome:?}");
    assert_ne!((mode(&outside, "a"), fs::metadata(outside.at("a")).unwrap().mtime()), (0o600, 5));
    let outcome = commit_one(&folder, change("d/a", TreeDeed::Remove(here(&folder, "d/a"))));
    assert!(is_done(&outcome), "{outcome:?}");
    fs::write(outside.at("a"), "later").unwrap();
    assert_eq!(versions(&folder), [("d/a".into(), "d/a, old".into())]);
}

// I3: the name is taken once more while his edit is on its way back.
#[test]
fn an_edit_that_cannot_go_back_is_in_history() {
    let place = tree();
    let folder = place.open();
    let change = change("d/a", TreeDeed::Remove(here(&folder, "d/a")));
    let at = place.at("d/a");
    let act = move |point| match point {
        Point::Checked => fs::write(&at, "older").unwrap(),
        Point::Swapped => fs::write(&at, "newest").unwrap(),
        _ => {}
    };
    let outcome = acting(act, || commit_one(&folder, change));
    assert!(matches!(outcome, TreeOutcome::ChangedHere { kept: Some(_) }), "{outcome:?}");
    assert_eq!(place.read("d/a"), "newest");
    assert_eq!(versions(&folder), [("d/a".into(), "older".into())]);
}

// E7: something is put into the folder in the last moment.
#[test]
fn a_folder_that_is_filled_in_the_last_moment_stays() {
    for replaces in [true, false] {
        let place = tree();
        let folder = place.open();
        let present = here(&folder, "d/empty");
        let deed = match replaces {
            true => TreeDeed::Replace(staged(&folder, "d/empty", "theirs"), present),
            false => TreeDeed::Remove(present),
        };
        let at = place.at("d/empty");
        let fills_at = if replaces { Point::Swapped } else { Point::Checked };
        let slot = place.at(".shoal/staging");
        let act = move |point| {
            if point == fills_at {
                // Whoever has the folder open does not notice where it is.
                let in_slot = fs::read_dir(&slot).unwrap().map(|entry| entry.unwrap().path());
                let dir = in_slot.into_iter().find(|path| path.is_dir()).unwrap_or_else(|| at.clone());
                fs::write(dir.join("mine"), "mine").unwrap();
            }
        };
        let outcome = acting(act, || commit_one(&folder, change("d/empty", deed)));
        assert!(!is_done(&outcome), "{outcome:?}");
        assert_eq!(place.read("d/empty/mine"), "mine");
        assert!(place.staged().is_empty());
    }
}

// I10, E8
#[test]
fn no_deed_goes_through_a_link_or_into_our_own_state() {
    let (place, outside) = (tree(), Place::new());
    outside.write("a", "not ours");
    symlink(outside.path(), place.at("out")).unwrap();
    let folder = place.open();
    let a = here(&folder, "d/a");
    let changes = vec![
        change("out/a", TreeDeed::Replace(staged(&folder, "out/a", "theirs"), a)),
        change("out/new", TreeDeed::MakeFolder { mode: 0o755, over: None }),
        change("out/a", TreeDeed::Remove(a)),
        change("d/a", TreeDeed::Move { to: path("out/b"), present: a }),
        change("d/a/b", TreeDeed::MakeFolder { mode: 0o755, over: None }),
        change("none/b", TreeDeed::Create(staged(&folder, "none/b", ""))),
    ];
    let changed = folder.tree().commit(changes);
    let why: Vec<_> = changed
        .iter()
        .map(|changed| match &changed.outcome {
            TreeOutcome::Barred(error) => (error.at.to_string(), matches!(error.why, Barred::Link)),
            other => panic!("{other:?}"),
        })
        .collect();
    let out = || ("out".into(), true);
    assert_eq!(why, [out(), out(), out(), out(), ("d/a".into(), false), ("none".into(), false)]);
    assert_eq!((outside.read("a"), place.read("d/a")), ("not ours".into(), "d/a, old".into()));
    assert!(place.staged().is_empty());
}

#[test]
fn a_folder_does_not_move_below_itself_and_renames_keep_their_flags() {
    let place = tree();
    let folder = place.open();
    let present = here(&folder, "d");
    let deed = TreeDeed::Move { to: path("d/sub/d"), present };
    let outcome = commit_one(&folder, change("d", deed));
    assert!(matches!(outcome, TreeOutcome::Failed(ChangeError::NotDone { .. })), "{outcome:?}");
    assert!(!folder.shared.has_plain_renames() && place.at("d/sub/b").exists());
}

// I30: more folders than handles are kept for.
#[test]
fn a_batch_may_touch_more_folders_than_are_held_open() {
    let place = Place::new();
    let folder = place.open_as(Way { plain_renames: false, durability: Durability::EachFile });
    let names: Vec<_> = (0..300).map(|number| format!("{number:03}")).collect();
    let folders = names.iter().map(|name| change(name, TreeDeed::MakeFolder { mode: 0o755, over: None }));
    let files = names.iter().map(|name| {
        let at = format!("{name}/file");
        change(&at, TreeDeed::Create(staged(&folder, &at, name)))
    });
    let changed = folder.tree().commit(folders.chain(files).collect());
    assert!(changed.iter().all(|changed| is_done(&changed.outcome)));
    assert_eq!(place.read("299/file"), "299");
}
