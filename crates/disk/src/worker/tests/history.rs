//! What was displaced: told with its story, true after late edits, removed and put back whatever happens meanwhile.

use shoal_engine::disk::{Restore, Restored, Wanted};

use std::cell::Cell;

use super::*;
use crate::fault::{Point, acting};

const ME: DeviceId = DeviceId::from_bytes([9; 32]);

/// So much of a version is read to tell it.
const READ_MAX: u64 = 1 << 20;

impl Share {
    fn history(&self) -> Vec<Kept> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let Answer::History { kept, next } = self.worker.perform(Job::History { after }) else {
                panic!()
            };
            all.extend(kept);
            if next.is_none() {
                return all;
            }
            after = next;
        }
    }

    /// Takes a file away; what was kept of it.
    fn displace(&self, at: &str, why: Why) -> Kept {
        let change = Change { why, ..change(at, ChangeDeed::Remove(self.seen(at))) };
        match self.commit_one(change) {
            Committed::Done { kept: Some(kept), .. } => kept,
            other => panic!("{other:?}"),
        }
    }

    fn restore(&self, number: u64, to: &str, over: Option<Seen>) -> Restored {
        let restore = Restore { number, to: path(to), over, by: ME };
        match self.worker.perform(Job::Restore(Box::new(restore))) {
            Answer::Restored(restored) => *restored,
            other => panic!("{other:?}"),
        }
    }

    /// A program that has had a displaced file open writes to it.
    fn write_late(&self, number: u64, bytes: &str) {
        self.disk.user().append(&format!("/f/.shoal/history/{number:016x}"), bytes).unwrap();
    }

    fn read_kept(&self, kept: &Kept) -> Option<Vec<u8>> {
        let Kept { number, size, mtime, .. } = *kept;
        let places = vec![BytesAt::History { number, size, mtime, offset: 0 }];
        let length = u32::try_from(size.min(READ_MAX)).unwrap();
        match self.worker.perform(Job::Read(vec![Wanted { places, length }])) {
            Answer::Read(mut read) => read.remove(0),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn by_whom_and_why_a_version_went_is_told_after_a_restart_too() {
    let mut share = Share::new();
    for (why, at) in [(Why::Deleted, "a"), (Why::Conflict, "b"), (Why::Difference, "c"), (Why::Unknown, "d")]
    {
        share.write(at, "x");
        share.displace(at, why);
    }
    share.reopen();
    let told: Vec<_> =
        share.history().into_iter().map(|kept| (kept.path.unwrap().to_string(), kept.why)).collect();
    let expected = [("a", Why::Deleted), ("b", Why::Conflict), ("c", Why::Difference), ("d", Why::Unknown)];
    assert_eq!(told, expected.map(|(at, why)| (at.to_owned(), why)));
    assert!(share.history().iter().all(|kept| kept.by == Some(DeviceId::from_bytes([7; 32]))));
    assert_eq!(words::who_of("192.0.2.7:9001"), (None, Why::Unknown), "classic's senders are no devices");
    assert_eq!(words::who_of(&words::who(None, Why::Replaced)), (None, Why::Replaced));
}

/// E17: what is served and named is what is there, and it is told to be late.
#[test]
fn e17_what_was_written_late_is_the_versions_content_from_then_on() {
    let mut share = Share::new();
    share.write("a", "before");
    let kept = share.displace("a", Why::Replaced);
    assert!(!kept.is_late);
    assert_eq!(share.read_kept(&kept), Some(b"before".to_vec()));
    share.tick(5);
    share.write_late(kept.number, ", and late");
    assert_eq!(share.read_kept(&kept), None, "nobody is given other bytes than were named");
    for is_restarted in [false, true] {
        if is_restarted {
            share.reopen();
        }
        let now = share.history().remove(0);
        assert!(now.is_late && now.size == 16, "{now:?}");
        assert_eq!(share.read_kept(&now), Some(b"before, and late".to_vec()));
        let content = content(b"before, and late");
        let named = Naming::Is { content, list: None, size: 16, mtime: now.mtime };
        assert_eq!(share.worker.perform(Job::Name(kept.number)), Answer::Named(named));
    }
}

/// E17: a program writes to the file between its swap and the end of the batch.
#[test]
fn e17_what_is_written_during_the_commit_is_told_with_what_was_kept() {
    let share = Share::new();
    share.write("a", "old");
    let over = Some(share.seen("a"));
    assert_eq!(share.stage(1, b"new"), Written::Done);
    let disk = share.disk.clone();
    let act = move |point| {
        if point == Point::Filed {
            disk.set_time(secs(1_700_000_005));
            let filed = disk.user().tree("/f/.shoal/history").unwrap().into_keys().next().unwrap();
            let filed = format!("/f/.shoal/history/{}", filed.display());
            disk.user().append(&filed, " and more").unwrap();
        }
    };
    let committed = acting(act, || share.commit_one(place("a", 1, b"new", over)));
    let Committed::Done { kept: Some(kept), .. } = committed else { panic!("{committed:?}") };
    assert!(kept.is_late && kept.size == 12, "{kept:?}");
    assert_eq!(share.read_kept(&kept), Some(b"old and more".to_vec()));
}

// ── letting go ──

#[test]
fn what_is_let_go_is_gone_and_no_number_is_given_twice() {
    let mut share = Share::new();
    let numbers: Vec<u64> = (0..6)
        .map(|number| {
            share.write("a", format!("version {number}"));
            share.displace("a", Why::Replaced).number
        })
        .collect();
    let prune = |share: &Share, numbers: &[u64], tidies| {
        share.worker.perform(Job::Prune { numbers: numbers.to_vec(), tidies })
    };
    let left = |share: &Share| share.history().iter().map(|kept| kept.number).collect::<Vec<_>>();
    assert_eq!(prune(&share, &[numbers[1], 999, numbers[0]], false), Answer::Pruned);
    assert_eq!(left(&share), numbers[2..]);
    assert_eq!(prune(&share, &numbers[3..], true), Answer::Pruned);
    assert_eq!(left(&share), numbers[2..3]);
    let table = share.read(".shoal/history/table.tsv").unwrap();
    assert_eq!(table.iter().filter(|byte| **byte == b'\n').count(), 2, "of what is there, and the highest");
    share.reopen();
    assert_eq!(left(&share), numbers[2..3]);
    share.write("a", "newer");
    assert!(share.displace("a", Why::Replaced).number > numbers[5]);
}

// I17
#[test]
fn power_that_goes_while_versions_go_leaves_whole_ones_with_their_names() {
    for (manners, quirks) in disks() {
        for last in 0.. {
            let share = Share::on(quirks.clone());
            let numbers: Vec<u64> = (0..4)
                .map(|number| {
                    share.write("a", format!("version {number}"));
                    share.displace("a", Why::Replaced).number
                })
                .collect();
            share.disk.sync();
            let before = share.disk.calls();
            share.disk.stop_after(last);
            let answer = share.worker.perform(Job::Prune { numbers: numbers[..2].to_vec(), tidies: true });
            let is_over = share.disk.calls() - before < last;
            for seed in 0..3 {
                let cut = share.disk.fork();
                cut.power_cut(seed + last);
                let cut = Share { worker: open(&cut), disk: cut, later: Cell::default() };
                let left = cut.history();
                let context = format!("{manners}, call {last}, seed {seed}: {left:?}");
                assert!(left.iter().all(|kept| kept.path == Some(path("a")) && !kept.is_late), "{context}");
                assert!(
                    left.iter().filter(|kept| numbers[2..].contains(&kept.number)).count() == 2,
                    "{context}"
                );
                assert!(answer != Answer::Pruned || left.len() == 2, "{context}");
            }
            if is_over {
                assert!(last > 5, "{manners}");
                break;
            }
        }
    }
}

// ── putting back ──

#[test]
fn a_version_comes_back_as_it_was_and_stays_in_history() {
    let share = Share::new();
    let bytes = noise(4_500_000, 3);
    share.write("d", "in the way later");
    share.disk.user().remove("/f/d").unwrap();
    share.make_dir("d");
    share.write("d/a", &bytes);
    share.disk.user().set_mode("/f/d/a", 0o751).unwrap();
    share.disk.user().touch("/f/d/a", secs(1_234_567)).unwrap();
    let kept = share.displace("d/a", Why::Deleted);
    share.tick(9);
    let Restored::Done { here, list, kept: None } = share.restore(kept.number, "new/e/a", None) else {
        panic!()
    };
    let kind = Kind::File { size: 4_500_000, content: content(&bytes) };
    assert_eq!(here.version, Version::new(kind, time(1_234_567), Mode::from_bits(0o751)));
    assert_eq!(Seen::from(&here), share.seen("new/e/a"));
    let Some(List::Whole(list)) = list else { panic!("{list:?}") };
    assert_eq!(list.segments().iter().map(|one| u64::from(one.length)).sum::<u64>(), 4_500_000);
    assert_eq!(share.read("new/e/a"), Some(bytes.clone()));
    assert_eq!(share.read_kept(&kept).as_deref(), Some(&bytes[..1 << 20]), "it is still there");

    // Over what stands there now, which is kept, and told to be this device's doing.
    share.write("d/a", "newer");
    let over = Some(share.seen("d/a"));
    let Restored::Done { kept: Some(displaced), .. } = share.restore(kept.number, "d/a", over) else {
        panic!()
    };
    let told = share.history().into_iter().find(|kept| kept.number == displaced.number).unwrap();
    assert_eq!((told.by, told.why, &told.path), (Some(ME), Why::Replaced, &Some(path("d/a"))));
    assert_eq!(share.read_kept(&told), Some(b"newer".to_vec()));
    assert_eq!(share.staged(), 0);
}

#[test]
fn a_link_comes_back_as_a_link() {
    let share = Share::new();
    share.disk.user().symlink("../elsewhere", "/f/l").unwrap();
    let kept = share.displace("l", Why::Deleted);
    assert_eq!(share.worker.perform(Job::Name(kept.number)), Answer::Named(Naming::Nothing));
    assert!(matches!(share.restore(kept.number, "l", None), Restored::Done { list: None, .. }));
    assert_eq!(share.seen("l").kind, SeenKind::Symlink { target: b"../elsewhere"[..].into() });
}

#[test]
fn what_cannot_come_back_says_why_and_changes_nothing() {
    let share = Share::new();
    share.write("a", "old");
    let kept = share.displace("a", Why::Deleted);
    let number = kept.number;
    assert_eq!(share.restore(999, "a", None), Restored::Missing);
    share.write("a", "of the user");
    let changed = Restored::Not(Committed::ChangedHere { kept: None });
    assert_eq!(share.restore(number, "a", None), changed, "a file stands there by now");
    let over = Some(share.seen("a"));
    share.tick(3);
    share.write("a", "newer of the user");
    assert_eq!(share.restore(number, "a", over), changed, "it has changed meanwhile");
    assert_eq!(share.read("a"), Some(b"newer of the user".to_vec()));
    share.write(".shoalignore", "*.tmp\n");
    share.worker.accept_ignore().unwrap();
    let Restored::Not(Committed::Barred(why)) = share.restore(number, "x.tmp", None) else { panic!() };
    assert_eq!(why, "x.tmp is ignored here");
    assert!(matches!(share.restore(number, "a/below", None), Restored::Not(Committed::Barred(_))));
    share.disk.set_space(Space { free: 1, total: 1 << 40 });
    assert_eq!(share.restore(number, "b", None), Restored::Not(Committed::NoSpace));
    assert_eq!((share.staged(), share.read("b")), (0, None));
}

// I3, I8, I17
#[test]
fn power_that_goes_while_a_version_comes_back_leaves_the_old_or_the_new() {
    for (manners, quirks) in disks() {
        for last in 0.. {
            let share = Share::on(quirks.clone());
            share.write("a", "version");
            let kept = share.displace("a", Why::Replaced);
            share.write("a", "of the user");
            share.disk.sync();
            let over = Some(share.seen("a"));
            let before = share.disk.calls();
            share.disk.stop_after(last);
            let restore = Restore { number: kept.number, to: path("a"), over, by: ME };
            let answer = share.worker.perform(Job::Restore(Box::new(restore)));
            let is_said = matches!(&answer, Answer::Restored(one) if matches!(**one, Restored::Done { .. }));
            let is_over = share.disk.calls() - before < last;
            for seed in 0..3 {
                let cut = share.disk.fork();
                cut.power_cut(seed + last);
                let cut = Share { worker: open(&cut), disk: cut, later: Cell::default() };
                let (shown, left) = (cut.read("a"), cut.history());
                let context = format!("{manners}, call {last}, seed {seed}: {shown:?}, {left:?}");
                let is_kept =
                    |text: &[u8]| left.iter().any(|kept| cut.read_kept(kept).as_deref() == Some(text));
                assert!(is_kept(b"version"), "{context}");
                match shown.as_deref() {
                    Some(b"version") => assert!(is_kept(b"of the user"), "{context}"),
                    Some(b"of the user") => assert!(!is_said, "{context}"),
                    _ => panic!("{context}"),
                }
                assert_eq!(cut.staged(), 0, "{context}");
            }
            if is_over {
                assert!(is_said && last > 10, "{manners}: {answer:?}");
                break;
            }
        }
    }
}

/// E20: what is only taken for nameless when there is no file may be let go of one day.
#[test]
fn e20_a_version_that_cannot_be_read_now_is_named_later() {
    let share = Share::new();
    share.write("a", noise(70_000, 3));
    let number = share.displace("a", Why::Replaced).number;
    let name = || share.worker.perform(Job::Name(number));
    let before = share.disk.calls();
    let Answer::Named(named @ Naming::Is { .. }) = name() else { panic!() };
    let calls = share.disk.calls() - before;
    assert!(calls > 3, "{calls}");
    for trouble in [Trouble::Io, Trouble::TooManyOpen, Trouble::Denied] {
        for nth in 1..=calls {
            share.disk.fail_nth(None, nth, trouble);
            match name() {
                Answer::Failed(why) => assert!(!why.is_empty()),
                Answer::Named(told) => assert_eq!(told, named, "{trouble:?} at call {nth}"),
                other => panic!("{other:?}"),
            }
            assert_eq!(name(), Answer::Named(named.clone()), "after {trouble:?} at call {nth}");
        }
    }
    let gone = share.worker.perform(Job::Name(number + 7));
    assert_eq!(gone, Answer::Named(Naming::Nothing));
}

/// E5, E17: the clock does not tell two writes within one tick apart.
#[test]
fn e17_what_is_written_to_a_version_within_its_tick_does_not_come_back_under_its_name() {
    let share = Share::new();
    share.write("a", "as it was");
    let number = share.displace("a", Why::Replaced).number;
    let disk = share.disk.clone();
    let act = move |point| {
        if point == Point::Named {
            disk.user().write(&format!("/f/.shoal/history/{number:016x}"), "AS it was").unwrap();
        }
    };
    let restored = acting(act, || share.restore(number, "b", None));
    assert_eq!(restored, Restored::Not(Committed::ChangedHere { kept: None }));
    assert_eq!((share.read("b"), share.staged()), (None, 0));
    assert!(matches!(share.restore(number, "b", None), Restored::Done { .. }));
    assert_eq!(share.read("b"), Some(b"AS it was".to_vec()));
}

/// A folder that the user put in the place of a file at the moment of a swap has a number of the history, and is no version.
#[test]
fn a_page_of_which_nothing_is_to_be_told_does_not_hide_the_next_one() {
    let share = Share::new();
    for at in ["a", "b"] {
        share.write(at, at);
        share.displace(at, Why::Deleted);
    }
    let [a, b] = &share.history()[..] else { panic!() };
    let (a, b) = (a.number, b.number);
    let far = b + 100;
    let name = |number: u64| format!("/f/.shoal/history/{number:016x}");
    share.disk.user().rename(&name(b), &name(far)).unwrap();
    for number in b..far {
        share.disk.user().make_dir(&name(number)).unwrap();
    }
    assert_eq!(share.history().iter().map(|kept| kept.number).collect::<Vec<_>>(), [a, far]);
}
