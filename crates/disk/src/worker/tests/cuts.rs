//! A small run of writing and committing, with the power cut after every single call.

use std::sync::LazyLock;

use super::*;

const OLD: &[u8] = b"the old one";

/// Two segments, made once.
static NEW: LazyLock<Vec<u8>> = LazyLock::new(|| noise(400_000, 4));
static PARTS: LazyLock<Vec<Write>> = LazyLock::new(|| writes(1, &NEW));
static PLACE: LazyLock<Change> = LazyLock::new(|| place("d/replaced", 1, &NEW, None));

fn start(quirks: &Quirks) -> Share {
    let share = Share::on(quirks.clone());
    share.make_dir("d");
    share.write("d/replaced", OLD);
    share.write("d/removed", OLD);
    share.disk.sync();
    share
}

/// Stages two files, the parts of one in the wrong order, and commits them with a removal; what was said to be done.
fn run(share: &Share) -> Vec<Committed> {
    let looks = match share.worker.perform(Job::Look(vec![path("d/replaced"), path("d/removed")])) {
        Answer::Looked(looks) => looks,
        _ => return Vec::new(),
    };
    let [Look::Seen(replaced), Look::Seen(removed)] = &looks[..] else { return Vec::new() };
    let mut parts = PARTS.clone();
    parts.reverse();
    parts.extend(writes(2, b"made"));
    share.worker.perform(Job::Write(parts));
    let mut replace = PLACE.clone();
    if let ChangeDeed::Place { over, .. } = &mut replace.deed {
        *over = Some(replaced.clone());
    }
    let changes = vec![
        change("new", ChangeDeed::MakeFolder { mode: Mode::from_bits(0o755), over: None }),
        replace,
        place("new/made", 2, b"made", None),
        change("d/removed", ChangeDeed::Remove(removed.clone())),
    ];
    match share.worker.perform(Job::Commit(changes)) {
        Answer::Committed(committed) => committed,
        _ => Vec::new(),
    }
}

/// Each path is as before or as after; as after, if that was said; and what was displaced is somewhere.
fn check(disk: MemDisk, committed: &[Committed], context: &str) {
    let share = Share::of(disk);
    let is_said = |at: usize| committed.get(at).is_some_and(is_done);
    let Answer::History { kept, next: None } = share.worker.perform(Job::History { after: None }) else {
        panic!()
    };
    let is_kept =
        |at: &str| kept.iter().any(|kept| kept.path == Some(path(at)) && kept.size == OLD.len() as u64);
    let replaced = share.read("d/replaced");
    let is_new = replaced.as_ref() == Some(&*NEW);
    assert!(is_new && is_kept("d/replaced") || replaced.as_deref() == Some(OLD), "{context}: {replaced:?}");
    assert!(is_new || !is_said(1), "{context}");
    let removed = share.read("d/removed");
    assert!(
        removed.is_none() && is_kept("d/removed") || removed.as_deref() == Some(OLD),
        "{context}: {removed:?}"
    );
    assert!(removed.is_none() || !is_said(3), "{context}");
    let made = share.read("new/made");
    assert!(made.is_none() && !is_said(2) || made.as_deref() == Some(b"made"), "{context}: {made:?}");
    assert_eq!(share.staged(), 0, "{context}");
}

// I8, I17
#[test]
fn power_that_goes_after_any_call_leaves_the_old_or_the_new() {
    for (manners, quirks) in disks() {
        let share = start(&quirks);
        let before = share.disk.calls();
        let committed = run(&share);
        assert!(committed.len() == 4 && committed.iter().all(is_done), "{manners}: {committed:?}");
        let total = share.disk.calls() - before;
        for last in 0..=total {
            let share = start(&quirks);
            share.disk.keep_trace();
            share.disk.stop_after(last);
            let committed = run(&share);
            let trace = share.disk.trace();
            let trace = trace[trace.len().saturating_sub(8)..].join("; ");
            for seed in 0..3 {
                let cut = share.disk.fork();
                cut.power_cut(seed * total + last);
                check(
                    cut,
                    &committed,
                    &format!("{manners}, call {last} of {total}, seed {seed}, after {trace}"),
                );
            }
            share.disk.crash();
            check(
                share.disk.fork(),
                &committed,
                &format!("{manners}, ended after call {last}, after {trace}"),
            );
        }
    }
}

// I20
#[test]
fn a_disk_that_fails_or_fills_up_at_any_call_leaves_the_old_or_the_new() {
    let quirks = Quirks::default();
    let share = start(&quirks);
    let before = share.disk.calls();
    run(&share);
    let total = share.disk.calls() - before;
    for nth in 1..=total {
        for trouble in [Trouble::Io, Trouble::NoSpace] {
            let share = start(&quirks);
            share.disk.fail_nth(None, nth, trouble);
            let committed = run(&share);
            share.disk.crash();
            let cut = share.disk.fork();
            cut.power_cut(nth);
            check(cut, &committed, &format!("call {nth} fails with {trouble:?}, then a cut"));
            check(share.disk.fork(), &committed, &format!("call {nth} fails with {trouble:?}"));
        }
    }
}
