//! Bytes on their way into staged files, and what they are checked against.

use shoal_proto::chunk::ChunkList;

use super::*;

// I9
#[test]
fn bytes_come_in_any_order_and_only_true_ones_are_written() {
    let share = Share::new();
    let bytes = noise(9 << 20, 1);
    let mut parts = writes(1, &bytes);
    assert!(parts.len() > 2);
    // Every second first, then the others backwards.
    let (even, odd): (Vec<_>, Vec<_>) = parts.drain(..).enumerate().partition(|(at, _)| at % 2 == 0);
    let order: Vec<_> = even.into_iter().chain(odd.into_iter().rev()).map(|(_, write)| write).collect();
    for (at, write) in order.iter().enumerate() {
        let Source::Bytes(true_bytes) = &write.from else { panic!() };
        let mut wrong = true_bytes.clone();
        wrong[0][0] ^= 1;
        let from = Source::Bytes(wrong);
        assert_eq!(share.put(Write { from, ..write.clone() }), Written::False);
        assert_eq!(share.put(Write { from: Source::Bytes(Vec::new()), ..write.clone() }), Written::False);
        let staged = BytesAt::Staged { stage: StageId(1), offset: write.offset };
        let read = Job::Read(vec![Wanted { places: vec![staged], length: write.segment.length }]);
        assert_eq!(share.worker.perform(read.clone()), Answer::Read(vec![None]), "not written yet");
        assert_eq!(share.commit_one(place("a", 1, &bytes, None)), Committed::NotStaged, "after {at}");
        assert_eq!(share.put(write.clone()), Written::Done);
        assert_eq!(share.worker.perform(read), Answer::Read(vec![Some(true_bytes.concat())]));
    }
    assert!(is_done(&share.commit_one(place("a", 1, &bytes, None))));
    assert_eq!(share.read("a"), Some(bytes));
    assert_eq!(share.commit_one(place("b", 1, b"x", None)), Committed::NotStaged, "it is used up");
}

#[test]
fn zeros_are_read_from_nowhere_and_stay_holes_unless_something_was_there() {
    let share = Share::new();
    let zeros = vec![0; 4 << 20];
    let (head, tail) = (noise(4 << 20, 2), noise(300, 3));
    let bytes = [&head[..], &zeros, &tail, &zeros].concat();
    let write = |offset: usize, segment, from| Write {
        stage: StageId(1),
        size: bytes.len() as u64,
        offset: offset as u64,
        segment,
        from,
    };
    let tail_at = 8 << 20;
    assert_eq!(share.put(write(4 << 20, Segment::ZEROS, Source::Places(Vec::new()))), Written::Done);
    // Something else was there: the zeros are written.
    assert_eq!(share.put(write(0, segment(&tail), Source::Bytes(vec![tail.clone()]))), Written::Done);
    assert_eq!(share.put(write(0, Segment::ZEROS, Source::Places(Vec::new()))), Written::Done);
    let read = |offset| {
        let places = vec![BytesAt::Staged { stage: StageId(1), offset }];
        share.worker.perform(Job::Read(vec![Wanted { places, length: 300 }]))
    };
    assert_eq!(read(0), Answer::Read(vec![Some(vec![0; 300])]));
    assert_eq!(
        share.put(write(
            0,
            segment(&head),
            Source::Bytes(vec![head[..1 << 20].to_vec(), head[1 << 20..].to_vec()])
        )),
        Written::Done
    );
    assert_eq!(share.put(write(tail_at, segment(&tail), Source::Bytes(vec![tail.clone()]))), Written::Done);
    let end = tail_at + tail.len();
    assert_eq!(share.put(write(end, Segment::ZEROS, Source::Bytes(vec![vec![0; 3]]))), Written::False);
    assert_eq!(share.put(write(end, Segment::ZEROS, Source::Bytes(vec![zeros.clone()]))), Written::Done);
    assert_eq!(read(end as u64 + 5), Answer::Read(vec![Some(vec![0; 300])]), "the file ends before");
    let kind = Kind::File { size: bytes.len() as u64, content: content(&bytes) };
    let version = Version::new(kind, time(1), MODE);
    let deed = ChangeDeed::Place { version, stage: Some(StageId(1)), over: None };
    assert!(is_done(&share.commit_one(change("a", deed))));
    assert_eq!(share.read("a"), Some(bytes));
}

#[test]
fn a_segment_is_taken_from_the_first_place_that_has_it() {
    let share = Share::new();
    let bytes = noise(400_000, 4);
    share.write("a", &bytes);
    share.write("wrong", noise(400_000, 5));
    let seen = share.seen("a");
    let at = |name: &str, seen: &Seen| BytesAt::Folder { path: path(name), seen: seen.clone(), offset: 0 };
    let whole = segment(&bytes);
    let write = |places| Write {
        stage: StageId(1),
        size: 400_000,
        offset: 0,
        segment: whole,
        from: Source::Places(places),
    };
    let wrong = at("wrong", &share.seen("wrong"));
    assert_eq!(share.put(write(vec![wrong.clone()])), Written::NotHere);
    assert_eq!(share.staged(), 0, "nothing is begun for nothing");
    assert_eq!(share.put(write(vec![wrong, at("a", &seen)])), Written::Done);
    assert_eq!(share.worker.perform(Job::Drop(vec![StageId(1)])), Answer::Dropped);
    share.tick(1);
    share.write("a", &bytes);
    assert_eq!(share.put(write(vec![at("a", &seen)])), Written::NotHere, "it is not what was seen");
}

#[test]
fn a_segment_is_put_together_from_what_is_near_and_what_came() {
    let share = Share::new();
    let near = noise(600_000, 6);
    let mut wanted = near.clone();
    wanted[100_000..100_050].fill(7);
    wanted.splice(400_000..400_000, noise(20_000, 8));
    share.write("a", &near);
    let seen = share.seen("a");
    let (content, segment) = (content(&wanted), segment(&wanted));
    let place = BytesAt::Folder { path: path("a"), seen, offset: 0 };
    let compare =
        Compare { content, chunks: ChunkList::of(&content, &wanted), near: vec![(place.clone(), 600_000)] };
    let job = Job::Chunks { content, wanted: Wanted { places: vec![place], length: 600_000 } };
    assert_eq!(share.worker.perform(job), Answer::Chunks(Some(ChunkList::of(&content, &near))));
    let ask = || share.worker.perform(Job::Compare(Box::new(compare.clone())));
    let Answer::Compared(Some(missing)) = ask() else { panic!() };
    let bytes: u32 = missing.iter().map(|range| range.end - range.start).sum();
    assert!((20_050..100_000).contains(&bytes), "{missing:?}");
    let came: Vec<_> = missing
        .iter()
        .map(|span| (span.start, wanted[span.start as usize..span.end as usize].to_vec()))
        .collect();
    let write = |compared: &Compare, came: Vec<(u32, Vec<u8>)>| Write {
        stage: StageId(1),
        size: wanted.len() as u64,
        offset: 0,
        segment,
        from: Source::Chunks { compared: Box::new(compared.clone()), came },
    };
    assert_eq!(share.put(write(&compare, came.clone())), Written::Done);
    assert!(is_done(&share.commit_one(super::place("b", 1, &wanted, None))));
    assert_eq!(share.read("b").as_ref(), Some(&wanted));

    let mut false_bytes = came.clone();
    false_bytes[0].1[0] ^= 1;
    assert_eq!(share.put(write(&compare, false_bytes)), Written::False);
    assert_eq!(share.put(write(&compare, vec![(u32::MAX, vec![1])])), Written::False, "beyond the segment");
    let short = Compare { chunks: ChunkList::of(&content, &wanted[..1000]), ..compare.clone() };
    assert_eq!(share.put(write(&short, came.clone())), Written::False, "chunks of another segment");
    // What was near has gone: nobody sent anything false.
    share.tick(1);
    share.write("a", "gone");
    assert_eq!(share.put(write(&compare, came)), Written::NotHere);
    assert_eq!(ask(), Answer::Compared(None));
}

// I20
#[test]
fn a_full_disk_is_told_and_goes_on_once_there_is_space() {
    let share = Share::new();
    let bytes = noise(9 << 20, 9);
    share.disk.set_space(Space { free: 1 << 20, total: 1 << 40 });
    assert_eq!(share.stage(1, &bytes), Written::NoSpace, "the reserve");
    assert_eq!(share.staged(), 0);
    share.disk.set_space(Quirks::default().space);
    share.disk.fill_after(Some(100));
    assert_eq!(share.stage(1, &bytes), Written::NoSpace, "room is taken at once for what is large");
    let small = noise(500_000, 10);
    assert_eq!(share.stage(2, &small), Written::NoSpace, "in the middle of a write");
    assert_eq!(share.commit_one(place("a", 2, &small, None)), Committed::NotStaged);
    share.disk.fill_after(None);
    assert_eq!(share.stage(2, &small), Written::Done, "the same staged file goes on");
    assert!(is_done(&share.commit_one(place("a", 2, &small, None))));
    assert_eq!(share.read("a"), Some(small));

    share.disk.fail_nth(Some(Call::Write), 1, Trouble::Quota);
    assert_eq!(share.stage(3, b"x"), Written::NoSpace);
    share.disk.fail_nth(Some(Call::Write), 1, Trouble::Io);
    assert!(matches!(share.stage(4, b"x"), Written::Failed(_)));
    assert_eq!(share.commit_one(place("b", 4, b"x", None)), Committed::NotStaged, "it was dropped");
    assert_eq!(share.stage(4, b"x"), Written::Done);
    share.disk.fill_after(Some(0));
    assert_eq!(share.commit_one(change("d", ChangeDeed::Remove(share.seen("a")))), Committed::NoSpace);
}

#[test]
fn what_does_not_fit_its_file_is_refused() {
    let share = Share::new();
    let write = Write {
        stage: StageId(1),
        size: 10,
        offset: 6,
        segment: segment(b"12345"),
        from: Source::Bytes(vec![b"12345".to_vec()]),
    };
    assert!(matches!(share.put(write.clone()), Written::Failed(_)));
    assert!(matches!(share.put(Write { offset: u64::MAX, ..write.clone() }), Written::Failed(_)));
    assert!(matches!(share.put(Write { size: u64::MAX, ..write.clone() }), Written::Failed(_)));
    assert_eq!(share.put(Write { offset: 5, ..write.clone() }), Written::Done);
    assert!(matches!(share.put(Write { offset: 0, size: 11, ..write }), Written::Failed(_)), "another size");
    assert_eq!(share.staged(), 0);
}

// I30
#[test]
fn many_staged_files_need_few_handles() {
    let share = Share::new();
    let bytes = noise(600_000, 1);
    let mut parts: Vec<_> = (0..100).map(|number| writes(number, &bytes)).collect();
    for writes in &mut parts {
        assert_eq!(share.put(writes.pop().unwrap()), Written::Done);
    }
    assert!(share.worker.stages.open_files() <= 64);
    for writes in &mut parts {
        while let Some(write) = writes.pop() {
            assert_eq!(share.put(write), Written::Done);
        }
    }
    assert_eq!(share.worker.stages.open_files(), 0, "whole files need none");
    let changes = (0..100).map(|number| place(&format!("{number}"), number, &bytes, None));
    assert!(share.commit(changes.collect()).iter().all(is_done));
    assert_eq!(share.read("50"), Some(bytes));
}
