//! What a user has made, named and made durable.

use super::*;
use crate::FileTime;
use shoal_proto::segment::SegmentList;

fn here(taken: Taken) -> (Kind, Option<List>, bool) {
    match taken {
        Taken::Here { here, list, is_suspicious } => (here.version.kind, list, is_suspicious),
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_links_and_folders_are_taken_as_what_they_are() {
    let share = Share::new();
    let large = noise(9 << 20, 1);
    share.make_dir("d");
    share.write("d/small", "small");
    share.write("d/large", &large);
    share.disk.user().symlink("to", "/f/link").unwrap();
    assert_eq!(here(share.take("d")), (Kind::Directory, None, false));
    assert_eq!(here(share.take("link")), (Kind::Symlink { target: b"to"[..].into() }, None, false));
    assert_eq!(
        here(share.take("d/small")),
        (Kind::File { size: 5, content: content(b"small") }, None, false)
    );
    let (kind, list, _) = here(share.take("d/large"));
    assert_eq!(kind, Kind::File { size: large.len() as u64, content: content(&large) });
    let Some(List::Whole(list)) = list else { panic!("{list:?}") };
    let expected: Vec<_> = segments(&large).into_iter().map(|(_, segment)| segment).collect();
    assert_eq!(list.segments(), expected);
    assert_eq!(share.take_as("none", None), Taken::Nothing);
    assert_eq!(share.take_as("none/at/all", None), Taken::Nothing);
}

#[test]
fn what_is_not_what_was_seen_is_not_taken() {
    let share = Share::new();
    share.write("a", "1");
    let seen = share.seen("a");
    assert_eq!(share.take_as("a", None), Taken::Changed);
    assert_eq!(share.take_as("b", Some(seen.clone())), Taken::Changed);
    share.tick(1);
    share.write("a", "2");
    assert_eq!(share.take_as("a", Some(seen)), Taken::Changed);
}

// E5: a write within the tick of the disk's clock in which the file was last changed would not be seen, so it has no name
// before that tick is over; and then such a write shows.
#[test]
fn e5_what_has_changed_in_this_tick_of_the_clock_is_not_taken_yet() {
    for (manners, quirks) in disks() {
        let step = i64::try_from(quirks.time_step).unwrap();
        let share = Share::on(quirks);
        let at = |nanos: i64| {
            let (secs, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
            let time = FileTime { secs: 1_700_000_000 + secs, nanos: u32::try_from(nanos).unwrap() };
            share.disk.set_time(time);
        };
        at(0);
        share.write("a", "one");
        let seen = share.seen("a");
        at(step - 1);
        assert_eq!(share.take_as("a", Some(seen.clone())), Taken::Changed, "{manners}");
        // This is why: it looks as it did.
        share.write("a", "two");
        assert_eq!(share.seen("a"), seen, "{manners}");
        at(step);
        assert_eq!(
            here(share.take_as("a", Some(seen.clone()))).0,
            Kind::File { size: 3, content: content(b"two") }
        );
        share.write("a", "six");
        assert_ne!(share.seen("a"), seen, "{manners}");
    }
}

// E9: a file from before the clock was set back is taken all the same.
#[test]
fn e9_what_has_a_change_time_that_is_still_to_come_is_taken() {
    let share = Share::new();
    share.tick(500);
    share.write("a", "a");
    let seen = share.seen("a");
    share.tick(100);
    here(share.take_as("a", Some(seen)));
}

// I20, E19: that the disk does not tell the time for want of space keeps nothing from being taken.
#[test]
fn i20_a_disk_that_gives_no_time_is_read_all_the_same() {
    for (trouble, is_taken) in [(Trouble::NoSpace, true), (Trouble::ReadOnly, true), (Trouble::Io, false)] {
        let share = Share::new();
        share.write("a", "a");
        let asked = Take::new(path("a"), Some(share.seen("a")));
        share.later();
        share.disk.fail_nth(Some(Call::SetMode), 1, trouble);
        let answer = share.worker.perform(Job::Take(vec![asked]));
        let has_taken = matches!(&answer, Answer::Taken(taken) if matches!(taken[..], [Taken::Here { .. }]));
        assert_eq!(has_taken, is_taken, "{trouble:?}: {answer:?}");
    }
}

// I3, E26: what was taken is there after a power cut, whole and under its name, on every kind of disk; what is gone
// stays gone.
#[test]
fn what_was_taken_survives_a_power_cut() {
    for (manners, quirks) in disks() {
        for count in [1, 20] {
            for seed in 0..8 {
                let share = Share::on(quirks.clone());
                let names: Vec<_> = (0..count).map(|number| format!("d/e/file {number}")).collect();
                share.make_dir("d");
                share.make_dir("d/e");
                share.write("gone", "gone");
                share.disk.sync();
                share.make_dir("d/e/made");
                share.disk.user().remove("/f/gone").unwrap();
                for name in &names {
                    share.write(name, name);
                }
                let mut paths: Vec<_> =
                    names.iter().map(|name| Take::new(path(name), Some(share.seen(name)))).collect();
                paths.push(Take::new(path("gone"), None));
                paths.push(Take::new(path("d/e/made"), Some(share.seen("d/e/made"))));
                share.later();
                let answer = share.worker.perform(Job::Take(paths));
                let Answer::Taken(taken) = answer else { panic!("{manners}: {answer:?}") };
                assert!(
                    taken.iter().all(|one| matches!(one, Taken::Here { .. } | Taken::Nothing)),
                    "{taken:?}"
                );
                share.disk.power_cut(seed);
                for name in &names {
                    assert_eq!(
                        share.read(name),
                        Some(name.clone().into_bytes()),
                        "{manners}, {count}, seed {seed}"
                    );
                }
                let user = share.disk.user();
                assert!(user.stat("/f/gone").unwrap().is_none(), "{manners}, {count}, seed {seed}");
                assert!(user.stat("/f/d/e/made").unwrap().is_some(), "{manners}, {count}, seed {seed}");
            }
        }
    }
}

#[test]
fn what_cannot_be_made_durable_is_not_said_to_be() {
    for (manners, quirks) in disks() {
        let share = Share::on(quirks);
        share.write("a", "a");
        let seen = share.seen("a");
        share.later();
        let job = || Job::Take(vec![Take::new(path("a"), Some(seen.clone()))]);
        share.disk.fail_nth(Some(Call::SyncFile), 1, Trouble::Io);
        let answer = share.worker.perform(job());
        assert!(matches!(answer, Answer::Failed(_)), "{manners}: {answer:?}");
        let before = share.disk.calls();
        share.worker.perform(job());
        for nth in 1..=share.disk.calls() - before {
            share.disk.fail_nth(None, nth, Trouble::Io);
            match share.worker.perform(job()) {
                Answer::Failed(_) | Answer::NotTheRoot(_) => {}
                Answer::Taken(taken) => {
                    assert!(matches!(taken[..], [Taken::Unknown(_)]), "{manners}: {taken:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

// E26
#[test]
fn after_an_unclean_stop_what_looks_like_the_work_of_a_power_cut_is_suspicious() {
    let share = Share::new();
    let large = noise(5 << 20, 2);
    let files: [(&str, &[u8]); 6] = [
        ("empty", b""),
        ("zeros", &[0; 3000]),
        ("many zeros", &vec![0; (4 << 20) + 5]),
        ("plain", b"plain"),
        ("nearly", &[0, 0, 1]),
        ("large", &large),
    ];
    for (name, bytes) in files {
        share.write(name, bytes);
    }
    // Older versions, in history.
    for (stage, (name, old)) in [("was", &b"older"[..]), ("other", b"older")].into_iter().enumerate() {
        share.write(name, old);
        assert!(is_done(&share.place(name, stage as u64, b"newer", Some(share.seen(name)))));
    }
    share.tick(5);
    share.write("was", "older");
    share.write("other", "oldes");
    let suspicious = |share: &Share| {
        let names = ["empty", "zeros", "many zeros", "plain", "nearly", "large", "was", "other"];
        names.into_iter().filter(|name| here(share.take(name)).2).collect::<Vec<_>>()
    };
    assert_eq!(suspicious(&share), [""; 0], "after a clean stop");
    share.worker.was_unclean(true);
    assert_eq!(suspicious(&share), ["empty", "zeros", "many zeros", "was"]);
    share.worker.was_unclean(false);
    assert_eq!(suspicious(&share), [""; 0]);
}

/// What a file was is compared with what it is: here that shows, because another one has cut it otherwise.
#[test]
fn a_large_file_is_named_along_the_list_of_what_it_was() {
    let share = Share::new();
    let bytes = noise(2 << 20, 4);
    share.write("a", &bytes);
    let seen = share.seen("a");
    share.later();
    let was = SegmentList::new(bytes.chunks(600_000).map(segment).collect()).unwrap();
    let asked = Take { was: Some(was.clone()), ..Take::new(path("a"), Some(seen)) };
    let Answer::Taken(mut taken) = share.worker.perform(Job::Take(vec![asked])) else { panic!() };
    assert_eq!(here(taken.remove(0)).1, Some(List::Whole(was)));
}

/// A list of more than one page takes 4,096 segments, a gigabyte at least; so the pages are cut from what `proto` says.
#[test]
fn a_list_in_pages_is_the_one_that_its_index_names() {
    let mut hasher = ListHasher::new();
    let segments: Vec<_> = (0..10_000).map(|_| Segment::ZEROS).collect();
    segments.iter().for_each(|segment| hasher.push(*segment).unwrap());
    let listed = hasher.finish();
    let Some(List::Paged(index, pages)) = crate::worker::taking::list(listed, segments).unwrap() else {
        panic!()
    };
    assert_eq!((index.pages(), pages.len()), (3, 3));
    for (number, page) in pages.iter().enumerate() {
        assert_eq!(index.page(number, &page.encode()).as_ref(), Ok(page));
    }
}
