//! What the user keeps out of the share, and whose rules count.

use super::*;

fn has(share: &Share, line: &str) -> bool {
    share.all(3).contains(&line.to_owned())
}

// I21
#[test]
fn what_is_ignored_is_not_shown_read_or_touched() {
    let share = Share::new();
    for dir in ["target", "target/deep", "src", "src/target"] {
        share.make_dir(dir);
    }
    for file in ["target/deep/x", "src/target/y", "src/a.o", "src/a.c", "b.o"] {
        share.write(file, "12");
    }
    let seen = share.seen("src/a.o");
    share.write(".shoalignore", "*.o\ntarget/\n");
    share.disk.keep_trace();
    assert_eq!(
        share.all(2),
        [
            ".shoalignore 12",
            "b.o Ignored",
            "src folder",
            "src/a.c 2",
            "src/a.o Ignored",
            "src/target Ignored",
            "target Ignored"
        ]
    );
    assert!(!share.disk.trace().contains(&"Open target".to_owned()), "it was gone into");
    for ignored in ["src/a.o", "none.o", "target", "target/deep/x", "src/target/none"] {
        assert_eq!(share.look(ignored), Look::Ignored, "{ignored}");
    }
    let below = Sweep { below: Some(path("target/deep")), at_most: 5, ..Sweep::default() };
    assert_eq!(share.sweep(below), (vec![(path("target"), Look::Ignored)], true));
    // It is not there, but whoever takes its absence for a deletion must look first.
    assert_eq!(share.take_as("none.o", None), Taken::Changed);
    assert_eq!(share.take_as("src/a.o", Some(seen.clone())), Taken::Changed);
    let places = vec![BytesAt::Folder { path: path("src/a.o"), seen: seen.clone(), offset: 0 }];
    let read = Job::Read(vec![Wanted { places, length: 2 }]);
    assert_eq!(share.worker.perform(read), Answer::Read(vec![None]));
    for (stage, barred) in ["new.o", "target/new"].into_iter().enumerate() {
        let committed = share.place(barred, stage as u64, b"x", None);
        assert!(matches!(&committed, Committed::Barred(why) if why.contains("is ignored")), "{committed:?}");
    }
    let remove = change("src/a.o", ChangeDeed::Remove(seen));
    assert!(matches!(share.commit_one(remove), Committed::Barred(_)));
    let moved = ChangeDeed::Move { to: path("src/a2.o"), present: share.seen("src/a.c") };
    assert!(matches!(share.commit_one(change("src/a.c", moved)), Committed::Barred(_)));
    assert!(is_done(&share.commit_one(change("src/a.c", ChangeDeed::Remove(share.seen("src/a.c"))))));
    // I7: what is left in it is ignored.
    let Committed::NotEmpty { inside } =
        share.commit_one(change("src", ChangeDeed::Remove(share.seen("src"))))
    else {
        panic!()
    };
    assert_eq!(inside, ["a.o", "target"]);
}

#[test]
fn the_users_own_rules_count_at_the_next_look_and_go_with_the_file() {
    let mut share = Share::new();
    share.write("a.o", "");
    share.write(".shoalignore", "*.o\n");
    assert_eq!(share.look("a.o"), Look::Ignored);
    share.tick(1);
    share.write(".shoalignore", "*.c\n");
    assert!(has(&share, "a.o 0"));
    // Within one tick of the clock, and of the same length: a sweep over everything sees it.
    share.write(".shoalignore", "*.o\n");
    assert!(has(&share, "a.o Ignored"));
    share.reopen();
    assert_eq!(share.look("a.o"), Look::Ignored);
    share.disk.user().remove("/f/.shoalignore").unwrap();
    assert!(has(&share, "a.o 0"));
    let mode = share.disk.user().stat("/f/.shoal").unwrap().unwrap().mode;
    assert_eq!(mode & 0o077, 0);
}

// F5: whoever sends rules cannot hide anything, nor have sent what is kept out.
#[test]
fn f5_rules_from_another_device_count_once_they_are_accepted() {
    let mut share = Share::new();
    share.write("secret", "");
    share.write("a", "");
    share.write(".shoalignore", "secret\n");
    assert_eq!((share.look("secret"), has(&share, "a 0")), (Look::Ignored, true));
    assert!(!share.worker.is_ignore_offered().unwrap());
    let over = |share: &Share| Some(share.seen(".shoalignore"));
    assert!(is_done(&share.place(".shoalignore", 1, b"*\n", over(&share))));
    for _ in 0..2 {
        assert_eq!((share.look("secret"), has(&share, "a 0")), (Look::Ignored, true));
        assert!(share.worker.is_ignore_offered().unwrap());
        share.reopen();
    }
    // One after the other, and taken away again: still the user's.
    assert!(is_done(&share.place(".shoalignore", 2, b"", over(&share))));
    assert!(is_done(&share.place(".shoalignore", 3, b"x\n", over(&share))));
    assert_eq!((share.look("secret"), has(&share, "a 0")), (Look::Ignored, true));
    let remove = change(".shoalignore", ChangeDeed::Remove(share.seen(".shoalignore")));
    assert!(is_done(&share.commit_one(remove)));
    share.reopen();
    assert_eq!((share.look("secret"), has(&share, "a 0")), (Look::Ignored, true));
    // Moved there, by others.
    share.write("rules", "a\n");
    let moved = ChangeDeed::Move { to: path(".shoalignore"), present: share.seen("rules") };
    assert!(is_done(&share.commit_one(change("rules", moved))));
    assert_eq!((share.look("secret"), has(&share, "a 0")), (Look::Ignored, true));
    share.worker.accept_ignore().unwrap();
    assert!(!share.worker.is_ignore_offered().unwrap());
    assert_eq!((share.look("a"), has(&share, "secret 0")), (Look::Ignored, true));
    share.reopen();
    assert_eq!((share.look("a"), has(&share, "secret 0")), (Look::Ignored, true));
    // A folder or a link there is nobody's rules.
    let link = Version::new(Kind::Symlink { target: b"a"[..].into() }, time(1), Mode::ZERO);
    let deed = ChangeDeed::Place { version: link, stage: None, over: over(&share) };
    assert!(is_done(&share.commit_one(change(".shoalignore", deed))));
    assert_eq!((share.look("a"), share.worker.is_ignore_offered().unwrap()), (Look::Ignored, true));
    assert!(share.worker.accept_ignore().is_err());
    // The user's own act counts at once.
    share.disk.user().remove("/f/.shoalignore").unwrap();
    assert!(has(&share, "a 0") && !share.worker.is_ignore_offered().unwrap());
}

// F5, I17: at whatever call a commit of rules is stopped, they do not come into force.
#[test]
fn f5_rules_from_another_device_do_not_count_after_a_crash_either() {
    let start = || {
        let share = Share::new();
        share.write("a", "");
        share.write("secret", "");
        share.write(".shoalignore", "secret\n");
        assert_eq!(share.look("secret"), Look::Ignored);
        share.disk.sync();
        share
    };
    let commit = |share: &Share, stage: u64, text: &[u8], over| {
        share.worker.perform(Job::Write(writes(stage, text)));
        share.worker.perform(Job::Commit(vec![place(".shoalignore", stage, text, over)]));
    };
    let run = |share: &Share| {
        for (stage, text) in [(1, "a\n"), (2, "a*\n")] {
            let answer = share.worker.perform(Job::Look(vec![path(".shoalignore")]));
            let Answer::Looked(looks) = answer else { return };
            let [Look::Seen(seen)] = &looks[..] else { return };
            commit(share, stage, text.as_bytes(), Some(seen.clone()));
        }
    };
    let whole = start();
    let before = whole.disk.calls();
    run(&whole);
    assert_eq!(whole.read(".shoalignore"), Some(b"a*\n".to_vec()));
    for last in 0..=whole.disk.calls() - before {
        let stopped = start();
        stopped.disk.stop_after(last);
        run(&stopped);
        for seed in 0..4 {
            let disk = stopped.disk.fork();
            disk.power_cut(seed);
            let share = Share::of(disk);
            for was_unclean in [true, false] {
                share.worker.was_unclean(was_unclean);
                let looks = (share.look("a"), share.look("secret"));
                assert!(
                    matches!(looks, (Look::Seen(_), Look::Ignored)),
                    "call {last}, seed {seed}: {looks:?}, {:?}",
                    share.read(".shoalignore")
                );
            }
        }
    }
}

// F4, F7
#[test]
fn rules_that_cannot_be_used_stop_the_work_instead_of_being_passed_over() {
    let share = Share::new();
    share.write("secret", "");
    share.write(".shoalignore", "secret\n");
    assert_eq!(share.look("secret"), Look::Ignored);
    let refused = |share: &Share| {
        let all = Job::Sweep(Sweep { at_most: 9, ..Sweep::default() });
        let jobs = [all, Job::Look(vec![path("secret")]), Job::Take(vec![]), Job::Commit(vec![])];
        for job in jobs {
            let Answer::Failed(why) = share.worker.perform(job) else { panic!() };
            assert!(why.starts_with(".shoalignore cannot be used: "), "{why}");
        }
    };
    share.tick(1);
    share.write(".shoalignore", "ok\nsec[ret\n");
    refused(&share);
    share.tick(2);
    share.disk.user().remove("/f/.shoalignore").unwrap();
    share.disk.user().symlink("/etc/passwd", "/f/.shoalignore").unwrap();
    refused(&share);
    share.disk.user().remove("/f/.shoalignore").unwrap();
    assert!(has(&share, "secret 0"));
}

// E26: a power cut empties what was just saved.
#[test]
fn after_an_unclean_stop_an_emptied_file_does_not_undo_the_rules() {
    for lost in ["", "\0\0\0"] {
        let mut share = Share::new();
        share.write("secret", "");
        share.write(".shoalignore", "secret\n");
        assert_eq!(share.look("secret"), Look::Ignored);
        share.reopen();
        share.worker.was_unclean(true);
        share.write(".shoalignore", lost);
        assert_eq!(share.look("secret"), Look::Ignored);
        share.tick(1);
        share.disk.user().remove("/f/.shoalignore").unwrap();
        assert_eq!(share.look("secret"), Look::Ignored);
        share.worker.accept_ignore().unwrap();
        assert!(has(&share, "secret 0"));
    }
}

// I20: the user's rules count even if the disk has no room for the copy of them.
#[test]
fn the_users_rules_count_on_a_full_disk() {
    let share = Share::new();
    share.write("secret", "");
    share.disk.fill_after(Some(0));
    share.write(".shoalignore", "secret\n");
    assert_eq!((share.look("secret"), share.look("other")), (Look::Ignored, Look::Nothing));
    // They are put in force once: else all would be looked through again after each look.
    let rules = || share.worker.guard.rules(false, false).unwrap();
    assert!(Arc::ptr_eq(&rules(), &rules()));
    // Nobody may replace them as long as there is no copy.
    let link = Version::new(Kind::Symlink { target: b"a"[..].into() }, time(1), Mode::ZERO);
    let deed = ChangeDeed::Place { version: link, stage: None, over: Some(share.seen(".shoalignore")) };
    assert!(matches!(share.commit_one(change(".shoalignore", deed)), Committed::Failed(_)));
    share.disk.fill_after(None);
    assert_eq!(share.look("secret"), Look::Ignored);
    assert_eq!(share.read(".shoal/ignore"), Some(b"secret\n".to_vec()));
    // What was in force before the disk was full is so again once it stands there.
    share.disk.fill_after(Some(0));
    for (second, text) in [(1, "other\n"), (2, "secret\n")] {
        share.tick(second);
        share.write(".shoalignore", text);
        let ignored = ["secret", "other"].map(|at| share.look(at) == Look::Ignored);
        assert_eq!(ignored, [text == "secret\n", text == "other\n"]);
    }
}
