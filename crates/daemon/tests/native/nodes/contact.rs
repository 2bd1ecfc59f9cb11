//! The first contact of a device that has files of its own: what it is asked, and what becomes of the answer.

use std::fs;
use std::time::Duration;

use shoal_daemon::control::report::{Event, Happening, Phase, Question};
use shoal_daemon::control::text::Id;
use shoal_daemon::control::types::{
    Choice, Code, Decide, InviteTerms, Join, ListConflicts, ListHistory, ListShares, Pause, Resume,
};
use shoal_proto::id::ShareId;

use super::{Machine, folders, join, text, until};

/// A machine that joins with so many files of its own, at whose directory they stand.
async fn joins_with_own(
    files: usize,
    choice: Option<Choice>,
) -> (tempfile::TempDir, Machine, Machine, Id<ShareId>) {
    let (root, one, two) = folders(&[("same", "s"), ("theirs", "t")]);
    fs::write(two.join("same"), "s").unwrap();
    fs::write(two.join("only here"), "o").unwrap();
    for number in 0..files {
        fs::write(one.join(format!("f{number}")), "of ana").unwrap();
        fs::write(two.join(format!("f{number}")), "of ben, older").unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        fs::File::open(two.join(format!("f{number}"))).unwrap().set_modified(old).unwrap();
    }
    let (ana, ben) = (Machine::start(root.path(), "ana").await, Machine::start(root.path(), "ben").await);
    let (share, invite) = ana.share(&one, InviteTerms::default()).await;
    ben.ask(Join { choice, ..join(&invite, &two) }).await;
    (root, ana, ben, share)
}

fn asked(event: &Event) -> Option<Question> {
    match event.happening {
        Happening::Asked { question } => Some(question),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_with_many_other_files_is_asked_before_anything_is_done() {
    let (root, ana, ben, share) = joins_with_own(25, None).await;
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    let question = Question::FirstContact { equal: 1, differ: 25, only_here: 1 };
    assert_eq!(ben.until(asked).await, question);
    let status = ben.status(share).await;
    assert_eq!((status.phase, status.question), (Phase::FirstContact, Some(question)));
    assert!(!status.is_in_sync);
    // Over a restart, too.
    ben.close().await;
    let ben = Machine::start(root.path(), "ben").await;
    assert_eq!(ben.until(asked).await, question);
    assert!(!two.join("theirs").exists() && !one.join("only here").exists());
    assert_eq!(text(two.join("f3")), "of ben, older");

    ben.ask(Decide { share, choice: Choice::Theirs }).await;
    until(|| text(two.join("theirs")) == "t" && text(one.join("only here")) == "o").await;
    ben.in_sync().await;
    for number in 0..25 {
        assert_eq!(text(two.join(format!("f{number}"))), "of ana");
        assert_eq!(text(one.join(format!("f{number}"))), "of ana");
    }
    let history = ben.ask(ListHistory { share, path: None, before: None, at_most: 100 }).await;
    assert_eq!(history.versions.len(), 25);
    assert_eq!(ana.ask(ListConflicts { share }).await, []);
    assert_eq!(ben.refusal(Decide { share, choice: Choice::Both }).await.code, Code::NotNow);
    // What differs from now on is a conflict like any other.
    for machine in [&ana, &ben] {
        machine.ask(Pause { share }).await;
    }
    fs::write(one.join("at once"), "ana").unwrap();
    fs::write(two.join("at once"), "ben, too").unwrap();
    for machine in [&ana, &ben] {
        machine.ask(Resume { share }).await;
    }
    until(|| fs::read_dir(&one).unwrap().count() == fs::read_dir(&two).unwrap().count()).await;
    let is_copy =
        |entry: Result<fs::DirEntry, _>| entry.unwrap().file_name().to_string_lossy().contains("conflict");
    until(|| [&one, &two].into_iter().all(|folder| fs::read_dir(folder).unwrap().any(is_copy))).await;
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_said_so_before_leaves_again_and_nothing_is_changed() {
    let (root, ana, ben, share) = joins_with_own(21, Some(Choice::Stop)).await;
    ben.until(|event| (event.happening == Happening::Left).then_some(())).await;
    assert_eq!(ben.ask(ListShares {}).await, []);
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    assert!(!two.join("theirs").exists() && !one.join("only here").exists());
    assert_eq!(text(two.join("f3")), "of ben, older");
    assert_eq!(ana.status(share).await.members, 1);
    for machine in [ana, ben] {
        machine.close().await;
    }
}

/// Its wish to come in was heard, and that it left: what it signs next follows both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i26_who_left_at_first_contact_can_be_invited_again() {
    let (root, ana, ben, share) = joins_with_own(21, Some(Choice::Stop)).await;
    ben.until(|event| (event.happening == Happening::Left).then_some(())).await;
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    ben.comes_again(&ana, share, &two).await;
    ana.in_sync().await;
    assert_eq!((text(two.join("theirs")), text(one.join("only here"))), ("t".into(), "o".into()));
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_files_that_differ_are_no_reason_to_ask() {
    let (root, ana, ben, share) = joins_with_own(3, Some(Choice::Stop)).await;
    ben.in_sync().await;
    ana.in_sync().await;
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    assert_eq!(text(two.join("f1")), "of ana");
    assert_eq!(ana.ask(ListConflicts { share }).await.len(), 3);
    assert_eq!(fs::read_dir(&one).unwrap().count(), fs::read_dir(&two).unwrap().count());
    for machine in [ana, ben] {
        machine.close().await;
    }
}
