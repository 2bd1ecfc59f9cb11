//! What is asked before a content is named, and what is remembered of it after.

use shoal_proto::hash::ContentId;
use shoal_proto::id::{DeviceId, ShareId};
use shoal_proto::record::{Mode, Timestamp};
use shoal_proto::segment::Segment;

use super::*;
use crate::disk::{Look, Seen, SeenKind};
use crate::io::Opened;
use crate::limits::{GONE_MAX, LULL, LULL_WAIT_MAX};
use crate::share::Out;

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn seen(size: u64) -> Seen {
    let mode = Mode::from_bits(0o644);
    Seen { kind: SeenKind::File { size }, mtime: Timestamp::ZERO, mode, inode: 1, ctime: Timestamp::ZERO }
}

fn content(number: u8) -> ContentId {
    ContentId::from_bytes([number; 32])
}

/// A file of which the index holds another size, or none.
fn found(at: &str, size: u64, was: Option<(u64, ContentId)>) -> Finding {
    let compared = was.map(|(size, content)| seen(size).with_content(content));
    Finding::new(path(at), compared, Some(seen(size))).unwrap()
}

fn now(nanos: u64) -> Now {
    Now { time: Time(nanos), wall: 0 }
}

fn share() -> Share {
    let opened = Opened::new(ShareId::from_bytes([3; 32]), Vec::new());
    let mut share = Share::new(DeviceId::from_bytes([1; 32]), opened, [2; 32], 0, now(1));
    while share.poll().is_some() {}
    share
}

#[test]
fn large_files_are_taken_with_the_lists_of_what_they_were() {
    const LARGE: u64 = 1 << 20;
    let mut share = share();
    let findings = vec![
        found("grown", LARGE, Some((LARGE - 1, content(1)))),
        found("new", LARGE, None),
        found("was small", LARGE, Some((10, content(2)))),
        found("is small", 10, Some((LARGE, content(3)))),
        found("lost its list", LARGE, Some((2 * LARGE, content(4)))),
    ];
    share.take(findings, Guarding::default());
    let list = SegmentList::new(vec![Segment::ZEROS; 3]).unwrap();
    for (asked, answer) in [(content(1), Some(ListPart::Segments(list.clone()))), (content(4), None)] {
        let Some(Out::Index(job, index::Job::List(content, None))) = share.poll() else { panic!() };
        assert_eq!(content, asked);
        assert!(share.poll().is_none(), "the disk waits for the index");
        share.indexed(job, index::Answer::List(answer), now(2));
    }
    let Some(Out::Disk(_, disk::Job::Take(asked))) = share.poll() else { panic!() };
    let asked: Vec<_> = asked.iter().map(|take| (take.path.clone(), take.was.clone())).collect();
    let was = [Some(list), None, None, None, None];
    let names = ["grown", "new", "was small", "is small", "lost its list"];
    assert_eq!(asked, names.into_iter().map(path).zip(was).collect::<Vec<_>>());
}

/// I31: a path is told to be changing only as long as it is so.
#[test]
fn i31_what_can_be_named_or_cannot_be_read_is_not_in_flux_any_more() {
    let here = seen(10).with_content(content(1));
    let ends = [
        Taken::Here { here: here.clone(), list: None, is_suspicious: false },
        Taken::Here { here, list: None, is_suspicious: true },
        Taken::Nothing,
        Taken::Unknown(Unknown::Unreadable),
    ];
    for end in ends {
        let mut share = share();
        for taken in [Taken::Changed, end.clone()] {
            share.take(vec![found("a", 10, Some((5, content(2))))], Guarding::default());
            let Some(Out::Disk(job, disk::Job::Take(_))) = share.poll() else { panic!() };
            let is_changing = taken == Taken::Changed;
            share.disk_done(job, disk::Answer::Taken(vec![taken]), now(2));
            while share.poll().is_some() {}
            assert_eq!(share.scanner.in_flux.contains_key(&path("a")), is_changing, "{end:?}");
        }
    }
}

/// I31: what was saved just before a person asked for a look at everything is read once more before that is answered; a file
/// that changes all the time is not waited for.
#[test]
fn i31_a_look_at_everything_is_answered_once_what_was_being_written_is_looked_at_again() {
    for is_still_changing in [false, true] {
        let mut share = share();
        share.stage = Stage::Running;
        let take = |share: &mut Share, taken: Taken, at: Time| {
            let job = core::iter::from_fn(|| share.poll()).find_map(|out| match out {
                Out::Disk(job, disk::Job::Take(_)) => Some(job),
                _ => None,
            });
            share.disk_done(job.unwrap(), disk::Answer::Taken(vec![taken]), now(at.0));
        };
        let mut sweep = Sweep::new(None, 7);
        sweep.answers = 1;
        sweep.swept(vec![(path("a"), Look::Seen(seen(10)))], true);
        sweep.shown(Vec::new());
        (share.scanner.sweep, share.scanner.number) = (Some(sweep), 7);
        share.scan_on();
        take(&mut share, Taken::Changed, Time(2));
        assert_eq!(share.scanner.rescans.done, 0, "not yet");

        let again = Time(2).after(RETRY_MIN);
        share.tick(Now { time: again, wall: 0 });
        let asked: Vec<_> = core::iter::from_fn(|| share.poll()).collect();
        let [Out::Disk(look, disk::Job::Look(_)), Out::Index(triples, _)] = &asked[..] else {
            panic!("{asked:?}")
        };
        share.disk_done(*look, disk::Answer::Looked(vec![Look::Seen(seen(10))]), now(again.0));
        share.indexed(*triples, index::Answer::Triples(vec![None]), now(again.0));
        assert_eq!(share.scanner.rescans.done, 0, "it is being read");
        let end = if is_still_changing { Taken::Changed } else { Taken::Unknown(Unknown::Unreadable) };
        take(&mut share, end, again);
        assert_eq!(share.scanner.rescans.done, 1);
    }
}

/// A sweep that ends before its time takes nothing along that a look, or it itself, had found.
#[test]
fn what_was_found_is_taken_though_the_sweep_fails() {
    let mut share = share();
    share.scanner.sweep = Some(Sweep::new(None, 7));
    share.found(found("a", 10, None));
    share.sweep_failed(7, "the system fails".to_owned());
    assert!(share.scanner.sweep.is_none() && share.scanner.trouble.is_some());
    share.take_on();
    let Some(Out::Disk(_, disk::Job::Take(asked))) = share.poll() else { panic!() };
    assert_eq!(asked, [Take::new(path("a"), Some(seen(10)))]);
}

/// I30: whatever comes of hints and from a sweep while the disk is slow, one job is for so many paths.
#[test]
fn i30_no_more_than_so_many_paths_are_looked_at_or_taken_in_one_job() {
    let names = |count: usize| (0..count).map(|number| path(&format!("{number:05}")));
    let mut share = share();
    for name in names(TAKE_PATHS_MAX + 1) {
        share.scanner.look(name, Time::ZERO, false);
    }
    share.look_on();
    let Some(Out::Disk(_, disk::Job::Look(asked))) = share.poll() else { panic!() };
    assert_eq!((asked.len(), share.scanner.looks.len()), (TAKE_PATHS_MAX, 1));

    let taken = |share: &mut Share| -> Vec<usize> {
        let jobs = core::iter::from_fn(|| share.poll());
        let taken = jobs.filter_map(|out| match out {
            Out::Disk(_, disk::Job::Take(asked)) => Some(asked.len()),
            _ => None,
        });
        taken.collect()
    };
    names(TAKE_PATHS_MAX + 1).for_each(|name| share.found(Finding::of(name, None, Some(seen(1)))));
    share.take_on();
    assert_eq!(taken(&mut share), [TAKE_PATHS_MAX, 1]);

    let mut share = self::share();
    let mut sweep = Sweep::new(None, 7);
    sweep.swept(names(4 * TAKE_PATHS_MAX).map(|name| (name, Look::Seen(seen(1)))).collect(), true);
    sweep.shown(Vec::new());
    share.scanner.sweep = Some(sweep);
    for _ in 0..2 * TAKES_MAX {
        share.sweep_on();
        assert!(share.scanner.found.len() <= TAKE_PATHS_MAX);
        share.take_on();
    }
    assert_eq!(taken(&mut share), [TAKE_PATHS_MAX; TAKES_MAX], "the others wait for the disk");
}

/// More is gone than can be held, and all that is held was moved: the rest is looked for.
#[test]
fn what_is_gone_beyond_the_bound_is_looked_for_though_all_that_was_held_was_moved() {
    let mut share = share();
    let file = |inode| Seen { inode, ..seen(10) };
    let gone = (0..GONE_MAX as u64).map(|number| {
        let here = file(number).with_content(content(1));
        Finding::of(path(&format!("old/{number}")), Some(here), None)
    });
    let mut sweep = Sweep::new(None, 7);
    (sweep.gone, sweep.more_gone) = (gone.collect(), 1);
    share.hold_swept(&mut sweep);
    let moved = |number| Finding::of(path(&format!("new/{number}")), None, Some(file(number)));
    share.found_maybe_moved((0..GONE_MAX as u64).map(moved).collect());
    share.take_on();
    share.gone_on();
    assert!(share.scanner.gone.is_empty() && share.scanner.wanted.is_empty(), "not noted yet");
    let Some(Out::Disk(job, disk::Job::Take(asked))) = share.poll() else { panic!() };
    assert_eq!(asked.len(), 2 * GONE_MAX);
    share.disk_done(job, disk::Answer::Taken(vec![Taken::Unknown(Unknown::Unreadable); asked.len()]), now(2));
    share.gone_on();
    assert_eq!(share.scanner.wanted, BTreeSet::from([None]));
}

/// I19: a person's yes to a loss is to that loss: when nothing of it is left, the next one is asked about.
#[test]
fn i19_a_yes_ends_when_nothing_is_left_to_lose() {
    let mut share = share();
    let gone = |name| Finding::of(path(name), Some(seen(10).with_content(content(1))), None);
    share.scanner.meant = Meant::UntilSwept;
    let mut sweep = Sweep::new(None, 7);
    sweep.gone.push(gone("a"));
    share.hold_swept(&mut sweep);
    share.gone_on();
    assert_eq!(share.scanner.meant, Meant::UntilNoted);
    share.scanner.gone.forget(&path("a"));
    share.gone_on();
    assert_eq!(share.scanner.meant, Meant::No, "it came back");
    share.hold_gone(gone("b"));
    share.now.time = share.now.time.after(LULL);
    share.gone_on();
    assert!(share.poll().is_some());
    let is_meant = |job: &Waiting| matches!(job, Waiting::Take(_, guarding) if guarding.guard.is_meant);
    assert!(!share.jobs.values().any(is_meant));
}

/// A folder is looked through after one look, though others come to be looked at all the time.
#[test]
fn folders_that_keep_appearing_do_not_keep_a_sweep_waiting() {
    let mut share = share();
    share.stage = Stage::Running;
    let at = |step| Now { time: Time::ZERO.after(LOOK_DELAY * step), wall: 0 };
    share.hinted(Hint::Below(path("a")), at(1));
    share.tick(at(2));
    let asked = core::iter::from_fn(|| share.poll()).collect::<Vec<_>>();
    let [Out::Disk(look, disk::Job::Look(_)), Out::Index(triples, index::Job::Triples(_))] = &asked[..]
    else {
        panic!("the folder itself goes first: {asked:?}")
    };
    share.hinted(Hint::Below(path("b")), at(2));
    share.disk_done(*look, disk::Answer::Looked(vec![Look::Nothing]), at(3));
    share.indexed(*triples, index::Answer::Triples(vec![None]), at(3));
    let asked = core::iter::from_fn(|| share.poll()).collect::<Vec<_>>();
    let is_sweep = |out: &Out| matches!(out, Out::Disk(_, disk::Job::Sweep(_)));
    let is_look = |out: &Out| matches!(out, Out::Disk(_, disk::Job::Look(_)));
    assert!(asked.iter().any(is_look) && asked.iter().any(is_sweep), "{asked:?}");
}

/// A file was moved, and changed while it was read: where it was is told with where it is.
#[test]
fn what_was_moved_is_noted_at_both_ends_though_it_has_to_be_read_again() {
    let mut share = share();
    let gone = |name, inode| {
        let here = Seen { inode, ..seen(10) }.with_content(content(1));
        Finding::of(path(name), Some(here), None)
    };
    let anew = |name, inode| Finding::of(path(name), None, Some(Seen { inode, ..seen(10) }));
    share.take(
        vec![gone("a", 3), gone("old", 7), anew("new", 7), gone("b", 4), anew("c", 5)],
        Guarding::default(),
    );
    let Some(Out::Disk(job, disk::Job::Take(_))) = share.poll() else { panic!() };
    let (gone, changed) = (Taken::Nothing, Taken::Changed);
    let taken = vec![gone.clone(), gone.clone(), changed.clone(), gone, changed];
    share.disk_done(job, disk::Answer::Taken(taken), now(2));
    let observed = core::iter::from_fn(|| share.poll()).find_map(|out| match out {
        Out::Index(_, index::Job::Observe { observed, .. }) => Some(observed),
        _ => None,
    });
    let told: Vec<_> = observed.unwrap().into_iter().map(|one| one.path).collect();
    assert_eq!(told, [path("a"), path("b")]);
    assert!(share.scanner.gone.holds(&path("old")));
    let again = share.scanner.gone.with_moved(vec![anew("new", 7)]);
    assert_eq!(again.iter().map(|one| one.path.clone()).collect::<Vec<_>>(), [path("old"), path("new")]);
}

/// Files that were moved one by one, each so large that it is read by itself.
const MOVED: u64 = GONE_MAX as u64 - 2;

fn moved(number: u64) -> [Finding; 2] {
    let seen = Seen { inode: 100 + number, ..seen(TAKE_BYTES_MAX) };
    let ctime = Timestamp::new(1, 0).unwrap();
    let gone =
        Finding::of(path(&format!("old/{number:02}")), Some(seen.clone().with_content(content(1))), None);
    [gone, Finding::of(path(&format!("new/{number:02}")), None, Some(Seen { ctime, ..seen }))]
}

/// Goes on until all is noted, while each file takes minutes to be read and the last that is asked for comes first. What was
/// noted with each other, in order.
fn noted_slowly(share: &mut Share) -> Vec<Vec<RelPath>> {
    let mut noted = Vec::new();
    let mut reading = Vec::new();
    for _ in 0..50 * MOVED {
        for wait in [LULL, LULL_WAIT_MAX, LULL_WAIT_MAX] {
            let now = Now { time: share.now.time.after(wait), wall: 0 };
            share.tick(now);
            while let Some(out) = share.poll() {
                match out {
                    Out::Disk(job, disk::Job::Take(takes)) => reading.push((job, takes)),
                    Out::Index(job, index::Job::Observe { observed, guard, .. }) => {
                        assert!(!guard.is_meant);
                        noted.push(observed.iter().map(|one| one.path.clone()).collect());
                        let outcomes = vec![Outcome::Published; observed.len()];
                        share.indexed(job, index::Answer::Observed(outcomes, Vec::new()), now);
                    }
                    _ => {}
                }
            }
        }
        let Some((job, takes)) = reading.pop() else { break };
        let taken = takes.into_iter().map(|take| match take.seen {
            Some(seen) => {
                Taken::Here { here: seen.with_content(content(1)), list: None, is_suspicious: false }
            }
            None => Taken::Nothing,
        });
        let now = share.now;
        share.disk_done(job, disk::Answer::Taken(taken.collect()), now);
    }
    noted
}

/// What was moved is noted at both ends together, however long it takes to be read; what is gone besides does not wait for
/// that, but for the folder that all were in.
fn assert_moved_together(share: &mut Share) {
    let noted = noted_slowly(share);
    let folder = noted.iter().position(|paths| paths.contains(&path("old"))).unwrap();
    assert_eq!(folder, noted.len() - 1, "the folder goes last: {noted:?}");
    let other = noted.iter().position(|paths| *paths == [path("other")]).unwrap();
    assert!(other < 5, "it does not wait for what is read: {noted:?}");
    for number in 0..MOVED {
        let both = moved(number).map(|one| one.path);
        assert!(noted.iter().any(|paths| *paths == both), "{noted:?}");
    }
    assert_eq!(noted.len(), usize::try_from(MOVED).unwrap() + 2);
}

fn gone_besides() -> [Finding; 2] {
    let folder = Seen { kind: SeenKind::Directory, inode: 7, ..seen(0) };
    let other = Seen { inode: 8, ..seen(10) };
    [("old", folder), ("other", other)]
        .map(|(name, was)| Finding::of(path(name), Some(was.with_content(content(2))), None))
}

#[test]
fn i19_what_is_moved_before_our_eyes_is_not_gone_while_it_is_read() {
    let mut share = share();
    share.stage = Stage::Running;
    gone_besides().into_iter().for_each(|gone| share.hold_gone(gone));
    for [gone, anew] in (0..MOVED).map(moved) {
        share.hold_gone(gone);
        share.found(anew);
    }
    assert_moved_together(&mut share);
}

#[test]
fn i19_what_was_moved_unseen_is_not_gone_while_it_is_read() {
    let mut share = share();
    share.stage = Stage::Running;
    let mut sweep = Sweep::new(None, 7);
    sweep.gone =
        gone_besides().into_iter().chain((0..MOVED).map(|number| moved(number)[0].clone())).collect();
    share.hold_swept(&mut sweep);
    share.found_maybe_moved((0..MOVED).map(|number| moved(number)[1].clone()).collect());
    assert_moved_together(&mut share);
}

/// The look that finds the new name comes before the one that finds the old one gone.
#[test]
fn i19_what_is_being_read_already_when_it_is_gone_elsewhere_is_not_told_of_before() {
    let mut share = share();
    share.stage = Stage::Running;
    let [gone, anew] = moved(0);
    share.take(vec![anew], Guarding::default());
    share.hold_gone(gone);
    assert_eq!(noted_slowly(&mut share), [[path("new/00")], [path("old/00")]]);
}
