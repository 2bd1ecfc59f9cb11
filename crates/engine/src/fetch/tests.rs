//! Stories of devices that fetch: a folder and an index in memory, others who have it or lie, and a clock.

mod equal;
mod world;

use core::time::Duration;

use shoal_proto::cut;
use shoal_proto::hash::SegmentId;
use shoal_proto::limits::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

use self::world::{Manner, World, goal};
use super::*;
use crate::limits::{
    LARGE_GOALS_MAX, PARK_PAUSE, SILENCE_MAX, SPACE_PAUSE, STALL, STRIKES_MAX, USELESS_DELTAS_MAX, WRITES_MAX,
};
use crate::testing::{list_of, path, random, seen, segment_of};

const MIB: usize = 1 << 20;
const LONG: Duration = Duration::from_secs(3600);

/// Content of several segments, one page of them.
fn several() -> Vec<u8> {
    random(7, 4 * MIB)
}

#[test]
fn small_contents_come_together_in_few_requests_and_few_writes() {
    let mut world = World::honest(2);
    let files: Vec<Vec<u8>> =
        (0..600).map(|number| random(number, 100 + usize::try_from(number).unwrap())).collect();
    let mut stages = Vec::new();
    for (number, bytes) in files.iter().enumerate() {
        let content = world.peers[1].store.add(&format!("{number}"), bytes.clone());
        stages.push(world.want(0, goal(content, bytes.len())));
    }
    world.run(LONG);
    let ana = &world.peers[0];
    assert_eq!(ana.done.iter().copied().collect::<BTreeSet<_>>(), stages.iter().copied().collect());
    for (stage, bytes) in stages.iter().zip(&files) {
        assert_eq!(&ana.store.staged_bytes(*stage), bytes);
    }
    assert_eq!(ana.requests.len(), 1);
    assert!(ana.store.write_jobs.len() < 50, "{:?}", ana.store.write_jobs);
}

#[test]
fn what_is_here_is_copied_and_nobody_is_asked() {
    let mut world = World::honest(2);
    let (small, large) = (random(1, 1000), several());
    let one_segment = random(9, 300_000);
    assert_eq!(cut::segments(&one_segment).count(), 1);
    let files = [("s", small), ("l", large), ("o", one_segment)];
    for (name, bytes) in files {
        let content = world.peers[0].store.add(name, bytes.clone());
        let stage = world.want(0, goal(content, bytes.len()));
        world.run(LONG);
        assert_eq!(world.peers[0].store.staged_bytes(stage), bytes);
    }
    assert_eq!((world.peers[0].requests.len(), world.peers[0].store.came), (0, 0));
}

/// The bytes here are not what the index thinks any more: they are fetched, and nobody is blamed.
#[test]
fn what_has_changed_here_is_fetched() {
    let one_segment = random(9, 300_000);
    for bytes in [random(1, 1000), several(), one_segment] {
        let mut world = World::honest(2);
        let content = world.peers[0].store.add("here", bytes.clone());
        world.peers[1].store.add("there", bytes.clone());
        world.peers[0].store.files.insert(path("here"), vec![7; bytes.len()]);
        let stage = world.want(0, goal(content, bytes.len()));
        world.run(LONG);
        assert_eq!(world.peers[0].store.staged_bytes(stage), bytes);
        assert_eq!(world.peers[0].given_up, []);
    }
}

#[test]
fn large_content_comes_by_the_segment_from_all_who_have_it() {
    let bytes = random(3, 12 * MIB);
    let mut world = World::honest(3);
    let content = world.peers[1].store.add("a", bytes.clone());
    world.peers[2].store.add("b", bytes.clone());
    world.pace.extend([(1, 4), (2, 4)]);
    for source in [1, 2] {
        world.says(0, source, &content, Has::Yes);
    }
    let stage = world.want(0, goal(content, bytes.len()));
    world.run(LONG);
    let ana = &world.peers[0];
    assert_eq!(ana.done, [stage]);
    assert_eq!(ana.store.staged_bytes(stage), bytes);
    assert!(ana.from[&1] > 3 << 20 && ana.from[&2] > 3 << 20, "{:?}", ana.from);
    assert_eq!(ana.from.values().sum::<u64>(), bytes.len() as u64, "each segment once");
    assert!(world.peers[1].store.most_read <= 1 << 20);
}

#[test]
fn content_between_the_bounds_may_be_of_one_segment() {
    let mut world = World::honest(2);
    let bytes = random(9, 300_000);
    assert_eq!(cut::segments(&bytes).count(), 1);
    let content = world.peers[1].store.add("there", bytes.clone());
    let stage = world.want(0, goal(content, bytes.len()));
    world.run(LONG);
    assert_eq!(world.peers[0].store.staged_bytes(stage), bytes);
}

/// Equal inputs give equal actions.
#[test]
fn the_same_story_twice_is_the_same() {
    let story = || {
        let mut world = World::honest(3);
        let bytes = several();
        let content = world.peers[1].store.add("a", bytes.clone());
        world.peers[2].store.add("b", bytes.clone());
        world.want(0, goal(content, bytes.len()));
        world.run(LONG);
        (world.peers[0].requests.clone(), world.now)
    };
    assert_eq!(story(), story());
}

// ── an older version ──

fn older(content: ContentId, bytes: &[u8]) -> Older {
    Older { content, seen: seen(bytes.len() as u64), path: path("file") }
}

/// One inserted byte costs a list, a list of chunks and a few chunks.
#[test]
fn one_inserted_byte_comes_over_in_few_bytes() {
    let mut world = World::honest(2);
    let old = random(11, 8 * MIB);
    let mut new = old.clone();
    new.insert(3_000_000, 7);
    let before = world.peers[0].store.add("file", old.clone());
    let content = world.peers[1].store.add("file", new.clone());
    let stage = world.want(0, Goal { older: Some(older(before, &old)), ..goal(content, new.len()) });
    world.run(LONG);
    let ana = &world.peers[0];
    assert_eq!(ana.store.staged_bytes(stage), new);
    assert!(ana.from[&1] < 40_000, "{} bytes", ana.from[&1]);
    assert!(ana.lists < 20_000, "{} bytes of lists", ana.lists);
}

/// The older version is of one segment and has no list.
#[test]
fn what_is_of_one_segment_is_compared_as_well() {
    let mut world = World::honest(2);
    let old = random(9, 300_000);
    let mut new = old.clone();
    new.insert(100_000, 7);
    let before = world.peers[0].store.add("file", old.clone());
    let content = world.peers[1].store.add("file", new.clone());
    let stage = world.want(0, Goal { older: Some(older(before, &old)), ..goal(content, new.len()) });
    world.run(LONG);
    assert_eq!(world.peers[0].store.staged_bytes(stage), new);
    assert!(world.peers[0].from[&1] < 40_000);
}

#[test]
fn scattered_edits_cost_what_they_changed() {
    let mut world = World::honest(2);
    let old = random(11, 12 * MIB);
    let mut new = old.clone();
    for edit in 0..12 {
        new[edit * MIB + 500_000..][..100].fill(7);
    }
    let before = world.peers[0].store.add("file", old.clone());
    let content = world.peers[1].store.add("file", new.clone());
    let stage = world.want(0, Goal { older: Some(older(before, &old)), ..goal(content, new.len()) });
    world.run(LONG);
    let ana = &world.peers[0];
    assert_eq!(ana.store.staged_bytes(stage), new);
    assert!(ana.from[&1] + ana.lists < 12 * 40_000, "{} and {}", ana.from[&1], ana.lists);
}

#[test]
fn what_has_nothing_in_common_is_compared_a_few_times_and_then_fetched_whole() {
    let mut world = World::honest(2);
    let (old, new) = (random(1, 12 * MIB), random(2, 12 * MIB));
    let before = world.peers[0].store.add("file", old.clone());
    let content = world.peers[1].store.add("file", new.clone());
    let stage = world.want(0, Goal { older: Some(older(before, &old)), ..goal(content, new.len()) });
    world.run(LONG);
    assert_eq!(world.peers[0].store.staged_bytes(stage), new);
    assert_eq!(world.peers[0].from[&1], new.len() as u64);
    let compared = |message: &&Message| matches!(message, Message::WantChunks { .. });
    let compared = world.peers[0].requests.iter().filter(compared).count();
    assert_eq!(compared, USELESS_DELTAS_MAX as usize);
}

/// The user saves while the chunks are under way.
#[test]
fn an_older_version_that_changes_meanwhile_costs_a_whole_segment() {
    let mut world = World::honest(2);
    let old = random(11, 3 * MIB);
    let mut new = old.clone();
    new.insert(1_000_000, 7);
    let before = world.peers[0].store.add("file", old.clone());
    let content = world.peers[1].store.add("file", new.clone());
    let stage = world.want(0, Goal { older: Some(older(before, &old)), ..goal(content, new.len()) });
    while !world.peers[0].requests.iter().any(|message| matches!(message, Message::WantSegment { .. })) {
        assert!(world.step());
    }
    world.peers[0].store.files.clear();
    world.run(LONG);
    assert_eq!(world.peers[0].store.staged_bytes(stage), new);
    assert_eq!(world.peers[0].given_up, []);
}

/// I25: who sends chunks that do not make the segment is charged, and the segment comes whole from elsewhere.
#[test]
fn i25_false_chunks_are_charged_to_the_sender() {
    let mut world = World::new(&[Manner::Honest, Manner::LiarInSegments, Manner::Honest]);
    let old = random(11, 3 * MIB);
    let mut new = old.clone();
    new.insert(1_000_000, 7);
    let before = world.peers[0].store.add("file", old.clone());
    let content = world.peers[1].store.add("file", new.clone());
    world.cut(0, 2);
    let stage = world.want(0, Goal { older: Some(older(before, &old)), ..goal(content, new.len()) });
    world.settle();
    assert_eq!(world.peers[0].done, []);
    world.peers[2].store.add("file", new.clone());
    world.connect(0, 2);
    world.run(LONG);
    assert_eq!(world.peers[0].store.staged_bytes(stage), new);
}

// ── bad sources ──

/// I25, T10: one honest source and liars.
#[test]
fn i25_liars_are_given_up_and_all_comes_from_the_honest_one() {
    let mut world =
        World::new(&[Manner::Honest, Manner::Liar, Manner::Liar, Manner::LiarInSegments, Manner::Honest]);
    let (large, small) = (several(), random(1, 5000));
    let mut contents = Vec::new();
    for at in 1..5 {
        let large = world.peers[at].store.add("l", large.clone());
        let small = world.peers[at].store.add("s", small.clone());
        contents = vec![large, small];
    }
    for source in 1..5 {
        for content in &contents {
            world.says(0, source, content, Has::Yes);
        }
    }
    let one = world.want(0, goal(contents[0], large.len()));
    let other = world.want(0, goal(contents[1], small.len()));
    world.run(LONG);
    let ana = &world.peers[0];
    assert_eq!((ana.store.staged_bytes(one), ana.store.staged_bytes(other)), (large, small));
    for liar in 1..4 {
        let cost = ana.from.get(&liar).copied().unwrap_or_default();
        assert!(cost <= u64::from(STRIKES_MAX) * 3 * u64::from(SEGMENT_BYTES_MAX), "{cost}");
    }
    assert!(ana.given_up.iter().all(|(peer, fault)| *peer != 4 && *fault == Fault::FalseBytes));
}

/// I25: a silent source costs a bounded wait.
#[test]
fn i25_what_a_silent_source_owes_comes_from_another_and_it_is_given_up() {
    let mut world = World::new(&[Manner::Honest, Manner::Silent, Manner::Honest]);
    let bytes = several();
    let content = world.peers[1].store.add("a", bytes.clone());
    world.peers[2].store.add("a", bytes.clone());
    world.says(0, 1, &content, Has::Yes);
    world.says(0, 2, &content, Has::Yes);
    let stage = world.want(0, goal(content, bytes.len()));
    world.run(STALL * 3);
    assert_eq!(world.peers[0].done, [stage]);
    let small = random(1, 10);
    let content = world.peers[1].store.add("b", small.clone());
    world.says(0, 1, &content, Has::Yes);
    world.says(0, 2, &content, Has::No);
    world.want(0, goal(content, small.len()));
    world.run(SILENCE_MAX * 2);
    assert_eq!(world.peers[0].given_up, [(1, Fault::Silent)]);
}

#[test]
fn what_a_source_owed_when_it_was_cut_off_comes_from_another() {
    let mut world = World::honest(3);
    let bytes = random(3, 12 * MIB);
    let content = world.peers[1].store.add("a", bytes.clone());
    world.peers[2].store.add("a", bytes.clone());
    world.cut(0, 2);
    world.pace.insert(1, 2);
    let stage = world.want(0, goal(content, bytes.len()));
    for _ in 0..12 {
        world.step();
    }
    world.cut(0, 1);
    world.settle();
    assert_eq!(world.peers[0].done, []);
    let said = &world.peers[0].said;
    assert_eq!(world.peers[0].fetch.progress(stage, said), Some(Progress::NoSource));
    world.connect(0, 2);
    world.run(LONG);
    assert_eq!(world.peers[0].store.staged_bytes(stage), bytes);
    let came: u64 = world.peers[0].from.values().sum();
    assert!(
        came < bytes.len() as u64 + (4 << 20),
        "what stands in the staged file is not fetched again: {came}"
    );
}

#[test]
fn what_is_not_served_is_asked_for_again_when_it_is_told_to_be_there() {
    let mut world = World::honest(2);
    let bytes = random(1, 1000);
    let content = world.peers[1].store.add("a", bytes.clone());
    let files = core::mem::take(&mut world.peers[1].store.files);
    let other = random(2, 1000);
    world.peers[1].store.files.insert(path("b"), other.clone());
    let second = world.peers[1].store.add("b", other.clone());
    let stage = world.want(0, goal(content, bytes.len()));
    let served = world.want(0, goal(second, other.len()));
    world.settle();
    assert_eq!(world.peers[0].done, [served], "one that cannot be read does not keep the others");
    world.peers[1].store.files.extend(files);
    world.says(0, 1, &content, Has::Yes);
    world.settle();
    assert_eq!(world.peers[0].done, [served, stage]);
}

/// What comes of a request must be what was asked for, and no more.
#[test]
fn i25_answers_that_fit_no_question_are_charged() {
    let answers: Vec<Message> = vec![
        Message::List(Vec::new()),
        Message::Pong,
        Message::Content { number: 1, from: 0, is_last: true, bytes: vec![1] },
        Message::Content { number: 0, from: 1, is_last: true, bytes: vec![1] },
        Message::Content { number: 0, from: 0, is_last: true, bytes: vec![1] },
        Message::Content { number: 0, from: 0, is_last: false, bytes: vec![1; 11] },
    ];
    for answer in answers {
        let mut world = World::new(&[Manner::Honest, Manner::Silent]);
        world.want(0, goal(ContentId::from_bytes([1; 32]), 10));
        for number in 0..u64::from(STRIKES_MAX) {
            world.settle();
            let now = world.now;
            world.peers[0].fetch.received(SourceId(1), AskId(number), answer.clone(), now);
        }
        world.settle();
        assert_eq!(world.peers[0].given_up, [(1, Fault::FalseBytes)], "{answer:?}");
    }
}

#[test]
fn answers_to_nothing_are_passed_over() {
    let mut world = World::honest(2);
    let now = world.now;
    let answer = || Message::Content { number: 0, from: 0, is_last: true, bytes: vec![1] };
    world.peers[0].fetch.received(SourceId(1), AskId(5), answer(), now);
    world.peers[0].fetch.received(SourceId(9), AskId(0), answer(), now);
    world.peers[0].fetch.indexed(Tag(7), index::Answer::Done);
    world.peers[0].fetch.disk_done(Tag(7), disk::Answer::Dropped, now);
    world.settle();
    assert_eq!(world.peers[0].given_up, []);
}

// ── zeros, twins, pages ──

#[test]
fn segments_that_stand_several_times_come_once() {
    let mut world = World::honest(2);
    let block = random(5, 3 * MIB);
    let bytes = block.repeat(5);
    let content = world.peers[1].store.add("a", bytes.clone());
    let stage = world.want(0, goal(content, bytes.len()));
    world.run(LONG);
    assert_eq!(world.peers[0].store.staged_bytes(stage), bytes);
    assert!(world.peers[0].from[&1] < 8 << 20, "{}", world.peers[0].from[&1]);
}

/// A list of pages, most of it zeros, which cost nothing: 16 GiB.
#[test]
fn a_list_with_pages_is_fetched_page_by_page_and_zeros_are_not_fetched() {
    let mut world = World::honest(2);
    let parts: Vec<Vec<u8>> = (0..4).map(|seed| random(seed, SEGMENT_BYTES_MIN as usize)).collect();
    let mut segments = vec![segment_of(&parts[0])];
    segments.extend([shoal_proto::segment::Segment::ZEROS; 4094]);
    segments.extend(parts[1..].iter().map(|part| segment_of(part)));
    let (content, list) = list_of(&segments);
    let size: u64 = segments.iter().map(|segment| u64::from(segment.length)).sum();
    for (number, part) in parts.iter().enumerate() {
        world.peers[1].store.add(&format!("{number}"), part.clone());
    }
    world.peers[1].store.lists.insert(content, list);
    let stage = world.want(0, Goal { size, ..goal(content, 0) });
    world.run(LONG);
    let ana = &world.peers[0];
    assert_eq!((&*ana.done, ana.store.holes), ([stage].as_slice(), 4094));
    assert_eq!(ana.from[&1], 4 * u64::from(SEGMENT_BYTES_MIN));
    let offsets: Vec<u64> = ana.store.staged[&stage].keys().copied().collect();
    let min = u64::from(SEGMENT_BYTES_MIN);
    let end = min + 4094 * u64::from(SEGMENT_BYTES_MAX);
    assert_eq!(offsets, [0, end, end + min, end + 2 * min]);
    assert_eq!(ana.fetch.segments(&content), Some(4098));
}

/// The record and the list contradict each other: no source is to blame.
#[test]
fn a_list_here_of_another_size_than_the_record_tells_ends_the_work() {
    let mut world = World::honest(1);
    let bytes = several();
    let content = world.peers[0].store.add("a", bytes.clone());
    let stage = world.want(0, goal(content, bytes.len() + 1));
    world.settle();
    assert_eq!(world.peers[0].failed, [stage]);
}

// ── the disk ──

/// I20: a full disk pauses what is fetched, little is asked for meanwhile, and it recovers alone.
#[test]
fn i20_a_full_disk_pauses_and_recovers_alone() {
    let mut world = World::honest(2);
    let files: Vec<Vec<u8>> = (0..20).map(|seed| random(seed, 200_000)).chain([several()]).collect();
    let mut stages = Vec::new();
    world.peers[0].store.is_full = true;
    for (number, bytes) in files.iter().enumerate() {
        let content = world.peers[1].store.add(&format!("{number}"), bytes.clone());
        stages.push(world.want(0, goal(content, bytes.len())));
    }
    world.settle();
    assert_eq!(world.peers[0].full.len(), stages.len());
    let said = &world.peers[0].said;
    assert_eq!(world.peers[0].fetch.progress(stages[20], said), Some(Progress::NoSpace));
    world.wait(SPACE_PAUSE);
    assert_eq!(world.peers[0].full.len(), 2 * stages.len(), "tried again");
    world.peers[0].store.is_full = false;
    world.run(SPACE_PAUSE * 3);
    let ana = &world.peers[0];
    for (stage, bytes) in stages.iter().zip(&files) {
        assert_eq!(&ana.store.staged_bytes(*stage), bytes);
    }
}

/// I30: what was asked for and what waits for the disk has a bound.
#[test]
fn i30_a_slow_disk_stops_the_asking() {
    let mut world = World::honest(6);
    let mut wanted = Vec::new();
    for number in 0..400_u64 {
        let bytes = random(number, 250_000);
        let mut content = None;
        for peer in &mut world.peers[1..] {
            content = Some(peer.store.add(&format!("{number}"), bytes.clone()));
        }
        wanted.push(goal(content.unwrap(), bytes.len()));
    }
    world.peers[0].is_disk_slow = true;
    for goal in wanted {
        for source in 1..6 {
            world.says(0, source, &goal.content, Has::Yes);
        }
        world.want(0, goal);
    }
    world.settle();
    let ana = &world.peers[0];
    assert!(ana.most_in_memory > FETCH_BYTES_MAX - (1 << 20), "{}", ana.most_in_memory);
    assert!(ana.most_in_memory <= FETCH_BYTES_MAX + (1 << 20), "{}", ana.most_in_memory);
    assert_eq!(world.held(0), crate::limits::WRITE_JOBS_MAX);
    world.flush(0);
    assert_eq!(world.peers[0].done.len(), 400);
    assert!(world.peers[0].store.write_jobs.iter().all(|pieces| *pieces <= WRITES_MAX));
}

/// I30: there is room for so many wishes and no more.
#[test]
fn i30_wishes_have_a_bound() {
    let mut fetch = Fetch::new(1, 0);
    let content = |number: usize| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        ContentId::from_bytes(bytes)
    };
    let stages: Vec<_> = (0..GOALS_MAX).map(|number| fetch.want(goal(content(number), 1)).unwrap()).collect();
    assert!(!fetch.has_room_for(1));
    assert_eq!(fetch.want(goal(content(GOALS_MAX), 1)), None);
    assert_eq!(fetch.want(goal(content(3), 1)), None, "each wish has a staged file of its own");
    fetch.forget(stages[5]);
    assert_eq!(fetch.want(goal(content(GOALS_MAX), 0)), None, "nothing to fetch");
    assert!(fetch.want(goal(content(GOALS_MAX), 1)).is_some());
}

/// I30: so many large contents are worked on at once; those that nobody has let the others go first.
#[test]
fn i30_large_contents_that_nobody_has_let_others_go_before_them() {
    let mut world = World::honest(2);
    let mut lost = Vec::new();
    for number in 0..40_u8 {
        let content = ContentId::from_bytes([number; 32]);
        world.says(0, 1, &content, Has::No);
        lost.push(world.want(0, goal(content, 100 * MIB)));
    }
    let bytes = several();
    let content = world.peers[1].store.add("a", bytes.clone());
    let stage = world.want(0, Goal { rank: 1, ..goal(content, bytes.len()) });
    world.settle();
    assert_eq!(world.peers[0].done, [stage]);
    let ana = &world.peers[0];
    assert!(ana.fetch.started.len() <= LARGE_GOALS_MAX);
    for stage in lost {
        assert_eq!(ana.fetch.progress(stage, &ana.said), Some(Progress::NoSource));
    }
    let wake = ana.fetch.next_wake(world.now).unwrap();
    assert_eq!(wake, world.now.after(PARK_PAUSE));
}

#[test]
fn what_is_not_wanted_any_more_is_cancelled_and_dropped() {
    let mut world = World::honest(2);
    let bytes = random(3, 12 * MIB);
    let content = world.peers[1].store.add("a", bytes.clone());
    world.pace.insert(1, 2);
    let stage = world.want(0, goal(content, bytes.len()));
    for _ in 0..12 {
        world.step();
    }
    world.peers[0].fetch.forget(stage);
    let before = world.peers[0].from[&1];
    world.run(LONG);
    let ana = &world.peers[0];
    assert_eq!((&*ana.store.dropped, &*ana.done), ([stage].as_slice(), [].as_slice()));
    assert!(ana.from[&1] - before <= 2 << 20, "what was on its way");
    assert_eq!(ana.fetch.in_memory(), 0);
    assert_eq!(ana.fetch.progress(stage, &ana.said), None);
}

#[test]
fn what_was_taken_is_not_dropped() {
    let mut world = World::honest(2);
    let bytes = random(1, 1000);
    let content = world.peers[1].store.add("a", bytes.clone());
    let stage = world.want(0, goal(content, bytes.len()));
    world.settle();
    world.peers[0].fetch.taken(stage);
    world.settle();
    assert_eq!(world.peers[0].store.dropped, []);
    assert_ne!(world.want(0, goal(content, bytes.len())), stage, "a staged file has its name for itself");
}

#[test]
fn what_system_or_index_refuse_fails_and_says_why() {
    for is_index in [true, false] {
        let mut fetch = Fetch::new(1, 0);
        let stage = fetch.want(goal(ContentId::from_bytes([1; 32]), 10)).unwrap();
        let said = world::Said::default();
        let why = "a bad sector".to_owned();
        let Some(Do::Index(tag, _)) = fetch.poll(Time::ZERO, &said) else { panic!("it looks first") };
        if is_index {
            fetch.indexed(tag, index::Answer::Failed(why.clone()));
        } else {
            let place = BytesAt::History {
                number: 1,
                size: 9,
                mtime: shoal_proto::record::Timestamp::ZERO,
                offset: 0,
            };
            fetch.indexed(tag, index::Answer::Places(vec![vec![place]]));
            let Some(Do::Disk(tag, _)) = fetch.poll(Time::ZERO, &said) else { panic!("it copies") };
            fetch.disk_done(tag, disk::Answer::NotTheRoot(why.clone()), Time::ZERO);
        }
        let Some(Do::Failed(failed, text)) = fetch.poll(Time::ZERO, &said) else { panic!("it fails") };
        assert_eq!((failed, text), (stage, why.clone()));
        assert_eq!(fetch.progress(stage, &said), Some(Progress::Failed(why)));
    }
}

/// Whatever happens on the way, once an honest source is there and the disk has room, all comes to stand.
#[test]
fn i25_whatever_happens_all_comes_from_who_is_honest() {
    for seed in 0..5_u64 {
        let dice = random(seed, 64);
        let manner = |dice: &u8| match dice % 4 {
            0 => Manner::Liar,
            1 => Manner::LiarInSegments,
            2 => Manner::Silent,
            _ => Manner::Honest,
        };
        let mut world = World::new(&[Manner::Honest, manner(&dice[0]), manner(&dice[1]), Manner::Honest]);
        let old = random(seed + 100, 2 * MIB);
        let mut new = old.clone();
        new.insert(MIB + usize::from(dice[2]), 7);
        let files = [new, random(seed, 3 * MIB), random(seed, 3000), random(seed, 300_000)];
        let before = world.peers[0].store.add("file", old.clone());
        let mut stages = Vec::new();
        for (number, bytes) in files.iter().enumerate() {
            let mut content = None;
            for peer in &mut world.peers[1..] {
                content = Some(peer.store.add(&format!("{number}"), bytes.clone()));
            }
            let older = (number == 0).then(|| older(before, &old));
            stages.push(world.want(0, Goal { older, ..goal(content.unwrap(), bytes.len()) }));
        }
        world.pace.extend([(1, 1 + usize::from(dice[3] % 4)), (2, 1 + usize::from(dice[4] % 4))]);
        for event in &dice[5..40] {
            let other = 1 + usize::from(event / 8 % 3);
            match event % 8 {
                0 => world.cut(0, other),
                1 => world.connect(0, other),
                2 => world.peers[0].store.is_full ^= true,
                3 => drop(world.peers[0].store.files.remove(&path("file"))),
                4 => world.wait(Duration::from_secs(u64::from(*event))),
                _ => drop(world.step()),
            }
        }
        world.peers[0].store.is_full = false;
        world.cut(0, 3);
        world.connect(0, 3);
        world.run(LONG);
        let ana = &world.peers[0];
        for (stage, bytes) in stages.iter().zip(&files) {
            assert!(ana.done.contains(stage), "seed {seed}: {:?}", ana.fetch.works[stage].state);
            assert_eq!(&ana.store.staged_bytes(*stage), bytes, "seed {seed}");
        }
        assert_eq!((ana.done.len(), ana.fetch.in_memory()), (4, 0), "seed {seed}");
        // A wait that comes while something is on its way makes anybody look silent, but nobody false.
        let honest = |(peer, fault): &&(usize, Fault)| {
            *fault == Fault::FalseBytes && world.peers[*peer].manner == Manner::Honest
        };
        assert_eq!(ana.given_up.iter().find(honest), None, "seed {seed}");
    }
}

// ── several who fetch ──

/// W8: two who fetch the same from one origin give each other segments.
#[test]
fn two_who_fetch_the_same_give_each_other_segments() {
    let mut world = World::honest(3);
    let bytes = random(3, 24 * MIB);
    let content = world.peers[2].store.add("a", bytes.clone());
    world.pace.insert(2, 2);
    world.step = Duration::from_millis(200);
    for (to, from, has) in [(0, 2, Has::Yes), (1, 2, Has::Yes), (0, 1, Has::No), (1, 0, Has::No)] {
        world.says(to, from, &content, has);
    }
    let stages = [0, 1].map(|at| world.want(at, goal(content, bytes.len())));
    while world.step() {
        world.tell_segments();
    }
    let mut from_origin = 0;
    for (at, stage) in stages.into_iter().enumerate() {
        let peer = &world.peers[at];
        assert_eq!(peer.store.staged_bytes(stage), bytes);
        assert!(peer.from[&(1 - at)] > 6 << 20, "{:?}", peer.from);
        from_origin += peer.from[&2];
    }
    assert!(from_origin < 3 * bytes.len() as u64 / 2, "{from_origin} bytes from the origin");
}

#[test]
fn what_is_staged_can_be_told_to_who_connects_later() {
    let mut world = World::honest(2);
    let bytes = random(3, 12 * MIB);
    let content = world.peers[1].store.add("a", bytes.clone());
    world.pace.insert(1, 2);
    world.want(0, goal(content, bytes.len()));
    while world.peers[0].store.came < 6 << 20 {
        assert!(world.step());
    }
    let fetch = &mut world.peers[0].fetch;
    assert_eq!(fetch.told_parts(), []);
    let fresh = fetch.fresh_parts();
    assert!(!fresh.is_empty());
    assert_eq!((fetch.fresh_parts(), fetch.told_parts()), (Vec::new(), fresh.clone()));
    let count = fetch.segments(&content).unwrap();
    let had = (0..count).filter(|at| fetch.staged(&index::Asked::Segment(content, *at)).is_some()).count();
    let told: u32 = fresh.iter().flat_map(|part| &part.bits).map(|byte| byte.count_ones()).sum();
    assert_eq!(u32::try_from(had).unwrap(), told);
    assert_eq!(
        fetch.staged(&index::Asked::Segment(ContentId::from(SegmentId::from_bytes([0; 32])), 0)),
        None
    );
}
