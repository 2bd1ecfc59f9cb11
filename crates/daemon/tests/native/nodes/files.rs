//! What becomes of files: what others did is undone, what a reader did is taken back, conflicts are settled, rules are kept.

use std::fs;
use std::path::{Path, PathBuf};

use shoal_daemon::control::report::{
    CauseKind, Changed, Event, Happening, Phase, Restored, Reverted, Role, Undone,
};
use shoal_daemon::control::text::{Id, Moment};
use shoal_daemon::control::types::{
    AcceptIgnore, Code, Explain, GetIgnore, InviteTerms, Keep, ListConflicts, ListDevices, ListHistory,
    Pause, Rescan, Resolve, Restore, Resume, Revert, Revoke, Revoked, Undo,
};
use shoal_proto::id::ShareId;

use super::{Machine, folders, pair, place, text, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_device_deleted_comes_back_when_it_is_undone() {
    let (root, one, two) = folders(&[("a", "1"), ("d/b", "2"), ("d/c", "3"), ("e", "4"), ("f", "5")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    let since = Moment::at_second(0);
    fs::remove_file(two.join("d/b")).unwrap();
    fs::write(two.join("a"), "1, changed").unwrap();
    until(|| !one.join("d/b").exists() && text(one.join("a")) == "1, changed").await;
    ana.in_sync().await;

    let history = ana.ask(ListHistory { share, path: None, before: None, at_most: 1 }).await;
    assert!(history.versions.len() == 1 && history.more);
    let rest = history.versions[0].number;
    let history = ana.ask(ListHistory { share, path: None, before: Some(rest), at_most: 100 }).await;
    assert!(history.versions.len() == 1 && !history.more);

    let undo = |deleted_only, dry_run| Undo { share, path: None, since, by: None, deleted_only, dry_run };
    let paths = |undone: &Undone| -> Vec<String> {
        undone.versions.iter().map(|version| version.path.clone().unwrap().to_string()).collect()
    };
    assert_eq!(paths(&ana.ask(undo(false, true)).await), ["a", "d/b"]);
    assert!(!one.join("d/b").exists());
    assert_eq!(paths(&ana.ask(undo(true, false)).await), ["d/b"]);
    until(|| text(two.join("d/b")) == "2").await;
    assert_eq!(text(one.join("a")), "1, changed");

    // One version by its number, to another place.
    let of_a = ana.ask(ListHistory { share, path: Some(place("a")), before: None, at_most: 10 }).await;
    let number = of_a.versions[0].number;
    let restored =
        ana.ask(Restore { share, number, to: Some(place("a, as it was")), milliseconds: None }).await;
    assert_eq!(restored, Restored::Done { path: place("a, as it was") });
    until(|| text(two.join("a, as it was")) == "1").await;
    let missing = ana.refusal(Restore { share, number: 4711, to: None, milliseconds: None }).await;
    assert_eq!(missing.code, Code::NotFound);
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_is_listed_and_settled_by_keeping_one_side() {
    let (root, one, two) = folders(&[("plan.txt", "1"), ("x", "2"), ("y", "3")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    for machine in [&ana, &ben] {
        machine.ask(Pause { share }).await;
    }
    fs::write(one.join("plan.txt"), "by ana").unwrap();
    fs::write(two.join("plan.txt"), "by ben, later").unwrap();
    for machine in [&ana, &ben] {
        machine.ask(Resume { share }).await;
    }
    let copies = |folder: &Path| -> Vec<PathBuf> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.to_string_lossy().contains("conflict")).collect()
    };
    until(|| copies(&one).len() == 1 && copies(&two).len() == 1).await;
    ana.in_sync().await;
    let conflicts = ana.ask(ListConflicts { share }).await;
    assert_eq!((conflicts.len(), conflicts[0].copies.len(), conflicts[0].is_open), (1, 1, false));
    assert_eq!(conflicts[0].path, place("plan.txt"));
    let copy = conflicts[0].copies[0].path.clone();
    let of_copy = text(one.join(String::from_utf8_lossy(copy.0.as_bytes()).as_ref()));
    assert_ne!(of_copy, text(one.join("plan.txt")));

    let wrong = ana.refusal(Resolve { share, path: place("x"), keep: Keep::Current }).await;
    assert_eq!(wrong.code, Code::NotFound);
    ana.ask(Resolve { share, path: place("plan.txt"), keep: Keep::Copy(copy) }).await;
    until(|| text(two.join("plan.txt")) == of_copy && copies(&two).is_empty()).await;
    ana.in_sync().await;
    assert_eq!(ana.ask(ListConflicts { share }).await, []);
    let why = ana.ask(Explain { share, path: place("plan.txt") }).await;
    assert!(why.is_settled && why.lacking.is_empty() && why.heads.len() == 1, "{why:?}");
    let history =
        ana.ask(ListHistory { share, path: Some(place("plan.txt")), before: None, at_most: 10 }).await;
    assert!(!history.versions.is_empty(), "what was not kept is in the history");
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f5_rules_of_another_device_are_offered_and_count_once_they_are_accepted() {
    let (root, one, two) = folders(&[("a", "1")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    fs::write(two.join(".shoalignore"), "*.tmp\n").unwrap();
    until(|| text(one.join(".shoalignore")) == "*.tmp\n").await;
    let offered = ana.ask(GetIgnore { share }).await;
    assert_eq!((offered.is_offered, offered.rules), (true, None));
    assert_eq!(offered.offered.as_deref(), Some("*.tmp\n"));
    let own = ben.ask(GetIgnore { share }).await;
    assert_eq!((own.is_offered, own.rules.as_deref(), own.offered), (false, Some("*.tmp\n"), None));

    ana.ask(AcceptIgnore { share }).await;
    let accepted = ana.ask(GetIgnore { share }).await;
    assert_eq!((accepted.is_offered, accepted.rules.as_deref()), (false, Some("*.tmp\n")));
    fs::write(one.join("x.tmp"), "x").unwrap();
    fs::write(one.join("y"), "y").unwrap();
    until(|| text(two.join("y")) == "y").await;
    assert!(!two.join("x.tmp").exists());
    let why = ana.ask(Explain { share, path: place("x.tmp") }).await;
    assert_eq!((why.cause.map(|cause| cause.cause), why.is_settled), (Some(CauseKind::Ignored), true));
    let why = ana.ask(Explain { share, path: place("never there") }).await;
    assert_eq!((why.cause, why.is_settled), (None, true));
    for machine in [ana, ben] {
        machine.close().await;
    }
}

fn revert(share: Id<ShareId>, path: Option<&str>, dry_run: bool) -> Revert {
    // More than a test may take: what waits in vain fails.
    Revert { share, path: path.map(place), dry_run, hash: None, milliseconds: Some(600_000) }
}

fn changes(reverted: &Reverted) -> Vec<(String, Changed)> {
    reverted.changes.iter().map(|change| (change.path.to_string(), change.change)).collect()
}

/// The first machine's share, and a second one that only reads, in sync.
async fn with_reader(root: &Path, one: &Path, two: &Path) -> (Machine, Machine, Id<ShareId>) {
    let (ana, ben) = (Machine::start(root, "ana").await, Machine::start(root, "ben").await);
    let terms = InviteTerms { role: Role::Reader, ..InviteTerms::default() };
    let (share, invite) = ana.share(one, terms).await;
    ben.join(&invite, two).await;
    ben.in_sync().await;
    (ana, ben, share)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reader_has_changed_is_taken_back_and_kept_in_its_history() {
    let (root, one, two) = folders(&[("a", "1"), ("d/b", "2"), ("k", "3")]);
    let (ana, ben, share) = with_reader(root.path(), &one, &two).await;
    let revert = |path, dry_run| revert(share, path, dry_run);
    assert_eq!(changes(&ben.ask(revert(None, false)).await), []);
    assert_eq!(ana.refusal(revert(None, true)).await.code, Code::NotAllowed);

    fs::write(two.join("a"), "1, of ben").unwrap();
    fs::write(two.join("own"), "of ben").unwrap();
    fs::remove_file(two.join("d/b")).unwrap();
    // Also what the watch has not told yet.
    let found = ben.ask(revert(None, true)).await;
    let expected = [("a", Changed::Edited), ("d/b", Changed::Deleted), ("own", Changed::Added)];
    assert_eq!(changes(&found), expected.map(|(path, change)| (path.to_owned(), change)));
    assert_eq!((text(two.join("a")), two.join("d/b").exists()), ("1, of ben".to_owned(), false));
    let done = ben.ask(revert(Some("d"), false)).await;
    assert_eq!((done.changes.len(), done.left, text(two.join("d/b"))), (1, Vec::new(), "2".to_owned()));
    assert_eq!(text(two.join("a")), "1, of ben");
    let done = ben.ask(revert(None, false)).await;
    assert_eq!((done.changes.len(), done.left, done.more), (2, Vec::new(), 0));
    assert_eq!((text(two.join("a")), two.join("own").exists()), ("1".to_owned(), false));
    ben.in_sync().await;

    let history = ben.ask(ListHistory { share, path: None, before: None, at_most: 10 }).await;
    let of_own = history.versions.iter().find(|kept| kept.path == Some(place("own"))).unwrap().number;
    assert_eq!(history.versions.len(), 2);
    let restored = ben.ask(Restore { share, number: of_own, to: None, milliseconds: None }).await;
    assert_eq!(
        (restored, text(two.join("own"))),
        (Restored::Done { path: place("own") }, "of ben".to_owned())
    );
    let why = ben.ask(Explain { share, path: place("own") }).await;
    assert_eq!(why.cause.map(|cause| cause.cause), Some(CauseKind::LocalDifference));
    let since = Moment::at_second(0);
    let undo = Undo { share, path: None, since, by: None, deleted_only: false, dry_run: true };
    assert_eq!(ben.refusal(undo).await.code, Code::NotAllowed);
    assert!(!one.join("own").exists());
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_what_is_changed_after_the_list_was_shown_is_not_taken_back() {
    let (root, one, two) = folders(&[("a", "1"), ("b", "2")]);
    let (ana, ben, share) = with_reader(root.path(), &one, &two).await;
    fs::write(two.join("a"), "1, of ben").unwrap();
    let listed = ben.ask(revert(share, None, true)).await;
    assert_eq!(changes(&listed), [("a".to_owned(), Changed::Edited)]);
    let as_listed =
        |listed: &Reverted| Revert { hash: Some(listed.hash.clone()), ..revert(share, None, false) };
    for (path, text) in [("a", "1, of ben, later"), ("b", "2, of ben")] {
        let listed = ben.ask(revert(share, None, true)).await;
        fs::write(two.join(path), text).unwrap();
        assert_eq!(ben.refusal(as_listed(&listed)).await.code, Code::NotNow);
        assert_eq!(self::text(two.join(path)), text);
    }
    let listed = ben.ask(revert(share, None, true)).await;
    let done = ben.ask(as_listed(&listed)).await;
    assert_eq!((done.changes.len(), done.left, done.why), (2, Vec::new(), None));
    assert_eq!((text(two.join("a")), text(two.join("b"))), ("1".to_owned(), "2".to_owned()));
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_what_cannot_be_taken_back() {
    let many: Vec<(String, String)> = (0..25).map(|at| (format!("f{at}"), format!("text {at}"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(path, text)| (&**path, &**text)).collect();
    let (root, one, two) = folders(&many);
    let (ana, ben, share) = with_reader(root.path(), &one, &two).await;
    // What the others have deleted is held back, and with it what is of the same sort.
    for (path, _) in &many[..20] {
        fs::remove_file(one.join(path)).unwrap();
    }
    ana.ask(Rescan { share, wait: false }).await;
    let asked = |event: &Event| matches!(event.happening, Happening::Asked { .. }).then_some(());
    ana.until(asked).await;
    ana.ask(Resume { share }).await;
    ben.until(asked).await;
    fs::write(two.join("own"), "of ben").unwrap();
    fs::write(two.join("f24"), "of ben").unwrap();
    let done = ben.ask(revert(share, None, false)).await;
    let left: Vec<String> = done.left.iter().map(|left| left.path.to_string()).collect();
    assert!(done.changes.len() == 2 && left.contains(&"own".to_owned()), "{done:#?}");
    assert_eq!(done.why.as_deref(), Some("others have deleted 20 of 26 contents"));
    assert_eq!(text(two.join("own")), "of ben");
    until(|| text(two.join("f24")) == "text 24").await;
    ben.ask(Resume { share }).await;
    until(|| !two.join("own").exists() && !two.join("f0").exists()).await;
    ben.in_sync().await;

    // Nor where nothing is looked at, or not in time.
    for number in 0..1000 {
        fs::write(two.join(format!("own {number}")), "of ben").unwrap();
    }
    let at_once = |dry_run| Revert { milliseconds: Some(0), ..revert(share, None, dry_run) };
    for dry_run in [true, false] {
        let late = ben.refusal(at_once(dry_run)).await;
        assert!(late.code == Code::NotNow && late.message.contains("the time was over"), "{late:?}");
    }
    ben.ask(Pause { share }).await;
    assert_eq!(ben.refusal(revert(share, None, false)).await.code, Code::NotNow);
    ben.ask(Resume { share }).await;
    let devices = ana.ask(ListDevices { share }).await.devices;
    let of_ben = devices.iter().find(|device| device.name.as_deref() == Some("ben")).unwrap().device;
    ana.ask(Revoke { share, what: Revoked::Device(of_ben) }).await;
    ben.until(|event| {
        matches!(event.happening, Happening::Phase { phase: Phase::Removed, .. }).then_some(())
    })
    .await;
    let removed = ben.refusal(revert(share, None, true)).await;
    assert!(removed.code == Code::NotAllowed && removed.message.contains("no member"), "{removed:?}");
    assert!(two.join("own 0").exists());
    for machine in [ana, ben] {
        machine.close().await;
    }
}
