//! Commits: each deed, and each way in which it is refused.

use super::*;

#[test]
fn every_deed_is_done_and_says_what_is_there_now() {
    for (manners, quirks) in disks() {
        let share = Share::on(quirks);
        share.make_dir("d");
        share.write("d/old", "old");
        share.write("d/moved", "moved");
        share.write("d/touched", "touched");
        share.write("d/removed", "removed");
        share.disk.user().symlink("old", "/f/d/link").unwrap();
        share.disk.sync();
        assert_eq!(share.stage(1, b"new"), Written::Done);
        assert_eq!(share.stage(2, b"newer"), Written::Done);
        let link = |target: &[u8]| Version::new(Kind::Symlink { target: target.into() }, time(4), Mode::ZERO);
        let changes = vec![
            change("made", ChangeDeed::MakeFolder { mode: Mode::from_bits(0o750), over: None }),
            place("made/new", 1, b"new", None),
            place("made/empty", 9, b"", None),
            place("d/old", 2, b"newer", Some(share.seen("d/old"))),
            change("made/link", ChangeDeed::Place { version: link(b"to"), stage: None, over: None }),
            change(
                "d/link",
                ChangeDeed::Place { version: link(b"new"), stage: None, over: Some(share.seen("d/link")) },
            ),
            change("d/moved", ChangeDeed::Move { to: path("made/moved"), present: share.seen("d/moved") }),
            change(
                "d/touched",
                ChangeDeed::Retouch { present: share.seen("d/touched"), mtime: Some(time(8)), mode: MODE },
            ),
            change("d/removed", ChangeDeed::Remove(share.seen("d/removed"))),
        ];
        let ends =
            ["made", "made/new", "made/empty", "d/old", "made/link", "d/link", "made/moved", "d/touched", ""];
        let committed = share.commit(changes);
        let mut kept_paths = Vec::new();
        for (committed, end) in committed.into_iter().zip(ends) {
            let Committed::Done { now, kept } = committed else { panic!("{manners}, {end}: {committed:?}") };
            kept_paths.extend(kept.and_then(|kept| kept.path));
            match end {
                "" => assert_eq!(now, None),
                end => assert_eq!(now, Some(share.seen(end)), "{manners}: {end}"),
            }
        }
        assert_eq!(kept_paths, ["d/old", "d/link", "d/removed"].map(path), "{manners}");
        assert_eq!(
            (share.read("made/new"), share.read("d/old")),
            (Some(b"new".into()), Some(b"newer".into()))
        );
        assert_eq!(share.staged(), 0, "{manners}");
    }
}

#[test]
fn what_is_not_as_planned_is_told_as_what_it_is() {
    let share = Share::new();
    share.make_dir("d");
    share.write("d/in", "in");
    share.write("a", "a");
    let old = share.seen("a");
    share.tick(1);
    share.write("a", "edited");
    assert_eq!(share.place("a", 1, b"new", Some(old.clone())), Committed::ChangedHere { kept: None });
    assert_eq!(share.place("a", 2, b"new", None), Committed::ChangedHere { kept: None });
    assert_eq!(share.commit_one(change("a", ChangeDeed::Remove(old))), Committed::ChangedHere { kept: None });
    assert_eq!(share.read("a"), Some(b"edited".to_vec()));
    let inside = vec!["in".to_owned()];
    assert_eq!(
        share.commit_one(change("d", ChangeDeed::Remove(share.seen("d")))),
        Committed::NotEmpty { inside }
    );
    assert!(matches!(share.place("none/a", 3, b"new", None), Committed::Barred(_)));
    assert!(matches!(share.place("a/b", 4, b"new", None), Committed::Barred(_)));
    assert_eq!(share.commit_one(place("x", 99, b"new", None)), Committed::NotStaged);
    assert_eq!(share.stage(5, b"new"), Written::Done);
    assert_eq!(share.commit_one(place("x", 5, b"newer", None)), Committed::NotStaged, "of another size");
    assert!(is_done(&share.commit_one(place("x", 5, b"new", None))));
    let gone = Version::new(Kind::Directory, Timestamp::ZERO, MODE);
    let deed = ChangeDeed::Place { version: gone, stage: None, over: None };
    assert!(matches!(share.commit_one(change("y", deed)), Committed::Failed(_)));
    let long = "x".repeat(255) + "/" + &"y".repeat(255);
    assert!(matches!(share.place(&long, 6, b"new", None), Committed::Barred(_)));
    assert_eq!(share.staged(), 0);
}

// E6: what the disk takes for the same name is not written over, and is not there either.
#[test]
fn names_that_a_disk_takes_for_the_same_are_told_and_left_alone() {
    let share = Share::on(Quirks { folds_case: true, ..Quirks::default() });
    share.make_dir("Dir");
    share.write("Dir/File", "mine");
    for strange in ["dir", "dir/File", "Dir/file", "DIR/x"] {
        assert_eq!(share.look(strange), Look::Nothing, "{strange}");
    }
    assert_eq!(share.take_as("Dir/file", None), Taken::Nothing);
    let below =
        |at: &str| share.sweep(Sweep { below: Some(path(at)), at_most: 5, ..Sweep::default() }).0.len();
    assert_eq!((below("Dir"), below("dir")), (1, 0));
    for (stage, strange) in ["Dir/file", "dir/x", "dir"].into_iter().enumerate() {
        let committed = share.place(strange, stage as u64, b"theirs", None);
        assert!(matches!(committed, Committed::NoName(_)), "{strange}: {committed:?}");
    }
    let folder = |at: &str| change(at, ChangeDeed::MakeFolder { mode: MODE, over: None });
    let committed = share.commit(vec![folder("new"), folder("New"), folder("New/in"), folder("new/in")]);
    assert!(matches!(committed[..], [_, Committed::NoName(_), Committed::NoName(_), _]), "{committed:?}");
    assert!(is_done(&committed[0]) && is_done(&committed[3]));
    let moved = ChangeDeed::Move { to: path("NEW"), present: share.seen("Dir/File") };
    assert!(matches!(share.commit_one(change("Dir/File", moved)), Committed::NoName(_)));
    assert!(is_done(&share.place("Dir/File", 9, b"theirs", Some(share.seen("Dir/File")))));
    let bad = RelPath::parse(b"caf\xe9").unwrap();
    assert_eq!(share.worker.perform(Job::Look(vec![bad.clone()])), Answer::Looked(vec![Look::Nothing]));
    assert_eq!(share.stage(10, b"x"), Written::Done);
    let Change { deed, by, .. } = place("x", 10, b"x", None);
    let committed = share.commit_one(Change { path: bad, deed, by, why: Why::Replaced });
    assert!(matches!(committed, Committed::NoName(_)), "{committed:?}");
}

// E16
#[test]
fn a_file_with_other_names_is_given_its_time_in_a_copy_of_its_own() {
    let share = Share::new();
    share.write("a", noise(700_000, 1));
    share.disk.user().link("/f/a", "/elsewhere").unwrap();
    let before = share.disk.user().stat("/elsewhere").unwrap().unwrap();
    let retouch = |mtime| ChangeDeed::Retouch { present: share.seen("a"), mtime, mode: MODE };
    let Committed::Done { now: Some(now), kept: Some(_) } =
        share.commit_one(change("a", retouch(Some(time(5)))))
    else {
        panic!()
    };
    assert_eq!((now.mtime, now.mode), (time(5), MODE));
    assert_eq!(share.read("a"), Some(noise(700_000, 1)));
    let after = share.disk.user().stat("/elsewhere").unwrap().unwrap();
    assert_eq!((after.mtime, after.mode, after.nlink), (before.mtime, before.mode, 1));
    // From now on it is a file like any other.
    assert!(matches!(share.commit_one(change("a", retouch(None))), Committed::Done { kept: None, .. }));
}

#[test]
fn a_batch_that_could_not_be_made_durable_says_so_and_uses_its_staged_files_up() {
    let share = Share::new();
    share.write("a", "a");
    share.disk.sync();
    assert_eq!(share.stage(1, b"new"), Written::Done);
    assert_eq!(share.stage(2, b"new"), Written::Done);
    share.disk.fail_nth(Some(Call::SyncAll), 1, Trouble::Io);
    let changes = || vec![place("a", 1, b"new", Some(share.seen("a"))), place("b", 2, b"new", None)];
    let committed = share.commit(changes());
    assert!(committed.iter().all(|one| matches!(one, Committed::Failed(_))), "{committed:?}");
    assert_eq!((share.read("a"), share.staged()), (Some(b"a".to_vec()), 0));
    assert_eq!(share.commit(changes()), [Committed::NotStaged, Committed::NotStaged]);
}
