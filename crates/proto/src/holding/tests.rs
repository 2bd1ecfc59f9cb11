//! Statements, announcements and maps of segments, in every order and more than once.

use proptest::prelude::*;

use super::*;

fn record(number: u8) -> RecordHash {
    RecordHash::from_bytes([number; 32])
}

fn root(number: u8) -> Sum {
    Sum::from_bytes(&[number; 32])
}

fn lacking(numbers: &[u8], end: Option<Sum>) -> HoldingMessage {
    HoldingMessage::Lacking { records: numbers.iter().copied().map(record).collect(), end }
}

fn have(number: u8) -> HoldingMessage {
    HoldingMessage::Have(vec![record(number)])
}

/// What is held of an end that said this, while our own root is 1 and contents have 20 segments.
fn told(holding: &mut Holding, message: HoldingMessage) -> Result<(), HoldingError> {
    holding.apply(message, root(1), |_| Some(20))
}

fn after(messages: &[HoldingMessage]) -> Holding {
    let mut holding = Holding::default();
    messages.iter().for_each(|message| told(&mut holding, message.clone()).unwrap());
    holding
}

/// F15: a record can be known without its bytes, so each end says what it lacks.
#[test]
fn what_is_not_listed_is_had_once_the_statement_ends() {
    let mut holding = Holding::default();
    assert_eq!((holding.has(&record(1)), holding.lacks()), (Has::Unknown, None));
    told(&mut holding, lacking(&[2, 4], None)).unwrap();
    assert_eq!([1, 2].map(|number| holding.has(&record(number))), [Has::Unknown, Has::No]);
    told(&mut holding, lacking(&[6], Some(root(1)))).unwrap();
    assert_eq!([1, 2, 6].map(|number| holding.has(&record(number))), [Has::Yes, Has::No, Has::No]);
    assert_eq!(holding.lacks(), Some(3));
    told(&mut holding, have(4)).unwrap();
    assert_eq!((holding.has(&record(4)), holding.lacks()), (Has::Yes, Some(2)));
    holding.forget(&record(2));
    told(&mut holding, have(6)).unwrap();
    assert_eq!(holding.lacks(), Some(0));
    // A new statement stands instead of the old one.
    told(&mut holding, lacking(&[9], Some(root(2)))).unwrap();
    assert_eq!([4, 9].map(|number| holding.has(&record(number))), [Has::Yes, Has::No]);
    told(&mut holding, HoldingMessage::LackingMany).unwrap();
    assert_eq!((holding.has(&record(9)), holding.lacks()), (Has::Unknown, None));
    told(&mut holding, HoldingMessage::complete(root(2))).unwrap();
    assert_eq!((holding.has(&record(9)), holding.lacks()), (Has::Yes, Some(0)));
}

#[test]
fn what_is_announced_is_lacking_until_it_is_had() {
    // The record goes out before, between and after the pages of the statement that does not know it yet.
    for at in 0..3 {
        let mut holding = Holding::default();
        for (page, message) in [lacking(&[2], None), lacking(&[4], Some(root(9)))].into_iter().enumerate() {
            if at == page {
                holding.announced(record(7), false);
            }
            told(&mut holding, message).unwrap();
        }
        if at == 2 {
            holding.announced(record(7), false);
        }
        assert_eq!((holding.has(&record(7)), holding.lacks()), (Has::No, Some(3)), "{at}");
        told(&mut holding, have(7)).unwrap();
        assert_eq!((holding.has(&record(7)), holding.lacks()), (Has::Yes, Some(2)));
    }
    let mut holding = after(&[HoldingMessage::complete(root(1))]);
    holding.announced(record(8), true);
    assert_eq!(holding.has(&record(8)), Has::Yes, "its author has it");
    // A statement made by somebody who knew all that is known here leaves nothing open.
    holding.announced(record(9), false);
    told(&mut holding, HoldingMessage::complete(root(2))).unwrap();
    assert_eq!(holding.has(&record(9)), Has::No);
    told(&mut holding, HoldingMessage::complete(root(1))).unwrap();
    assert_eq!(holding.has(&record(9)), Has::Yes);
}

#[test]
fn i30_what_is_announced_and_never_had_is_bounded() {
    let number = |number: usize| RecordHash::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes());
    let mut holding = after(&[HoldingMessage::complete(root(1))]);
    (0..=LACKING_RECORDS_MAX).for_each(|at| holding.announced(number(at), false));
    assert_eq!(holding.announced.len(), LACKING_RECORDS_MAX);
    assert_eq!(holding.has(&number(LACKING_RECORDS_MAX)), Has::Unknown);
    assert_eq!((holding.has(&number(0)), holding.lacks()), (Has::No, None));
    // It takes a statement that covers all of them.
    told(&mut holding, HoldingMessage::complete(root(2))).unwrap();
    assert_eq!(holding.lacks(), None);
    told(&mut holding, HoldingMessage::complete(root(1))).unwrap();
    assert_eq!(holding.lacks(), Some(0));
}

#[test]
fn i25_statements_that_make_no_sense_are_refused() {
    let refused = |messages: &[HoldingMessage], wrong: HoldingMessage| {
        let mut holding = after(messages);
        let before = (holding.said, holding.lacking.clone());
        let result = told(&mut holding, wrong);
        assert_eq!(before, (holding.said, holding.lacking));
        result
    };
    assert_eq!(refused(&[], lacking(&[2, 1], None)), Err(HoldingError::Unordered));
    assert_eq!(refused(&[], lacking(&[2, 2], None)), Err(HoldingError::Unordered));
    assert_eq!(refused(&[lacking(&[5], None)], lacking(&[5], None)), Err(HoldingError::Unordered));
    assert_eq!(refused(&[], lacking(&[], None)), Err(HoldingError::EmptyPage));

    let mut holding = Holding::default();
    let page = |at: usize| {
        let number = |low: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(at * HOLDING_PAGE_RECORDS_MAX + low).to_be_bytes());
            RecordHash::from_bytes(bytes)
        };
        HoldingMessage::Lacking { records: (0..HOLDING_PAGE_RECORDS_MAX).map(number).collect(), end: None }
    };
    let pages = LACKING_RECORDS_MAX / HOLDING_PAGE_RECORDS_MAX;
    (0..pages).for_each(|at| told(&mut holding, page(at)).unwrap());
    assert_eq!(told(&mut holding, page(pages)), Err(HoldingError::TooManyLacking));
}

#[test]
fn a_statement_says_what_is_lacking_in_pages() {
    let number = |number: usize| RecordHash::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes());
    for count in [0, 1, HOLDING_PAGE_RECORDS_MAX, HOLDING_PAGE_RECORDS_MAX + 1, LACKING_RECORDS_MAX] {
        let lacking: BTreeSet<_> = (0..count).map(number).collect();
        let pages: Vec<_> = HoldingMessage::statement(&lacking, root(1)).collect();
        assert_eq!(pages.len(), count.div_ceil(HOLDING_PAGE_RECORDS_MAX).max(1));
        let holding = after(&pages);
        assert_eq!((holding.lacks(), &holding.lacking), (Some(count), &lacking));
    }
    let many: BTreeSet<_> = (0..=LACKING_RECORDS_MAX).map(number).collect();
    assert!(HoldingMessage::statement(&many, root(1)).eq([HoldingMessage::LackingMany]));
}

#[test]
fn in_sync_is_said_only_when_nothing_is_open() {
    let causes = |is_agreed, here, there: &Holding| out_of_sync(is_agreed, here, there).collect::<Vec<_>>();
    let complete = after(&[HoldingMessage::complete(root(1))]);
    assert_eq!(causes(true, 0, &complete), []);
    assert_eq!(causes(false, 0, &complete), [OutOfSync::Comparing]);
    assert_eq!(causes(true, 3, &complete), [OutOfSync::LackingHere(3)]);
    assert_eq!(causes(true, 0, &Holding::default()), [OutOfSync::NotTold]);
    let some = after(&[lacking(&[1, 2], Some(root(1)))]);
    assert_eq!(
        causes(false, 1, &some),
        [OutOfSync::Comparing, OutOfSync::LackingHere(1), OutOfSync::LackingThere(2)]
    );
}

// ── segments ──

fn content(number: usize) -> ContentId {
    ContentId::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn part(first: u32, bits: &[u8]) -> SegmentPart {
    SegmentPart { content: content(0), first, bits: bits.into() }
}

/// F15: of a large content, segment by segment.
#[test]
fn segments_are_had_once_told() {
    let mut holding = Holding::default();
    assert_eq!(holding.has_segment(&content(0), 3), Has::Unknown);
    told(&mut holding, HoldingMessage::Segments(part(0, &[0b1000]))).unwrap();
    told(&mut holding, HoldingMessage::Segments(part(8, &[0, 0b1000]))).unwrap();
    assert_eq!([2, 3, 19].map(|at| holding.has_segment(&content(0), at)), [Has::No, Has::Yes, Has::Yes]);
    assert_eq!(holding.has_segment(&content(0), u32::MAX), Has::No);
    // What we do not fetch ourselves is of no use.
    holding.forget_segments(&content(0));
    holding.apply(HoldingMessage::Segments(part(0, &[1])), root(1), |_| None).unwrap();
    assert_eq!(holding.has_segment(&content(0), 0), Has::Unknown);
}

#[test]
fn d12_segments_that_the_content_does_not_have_are_refused() {
    let segments = |bits: SegmentPart| told(&mut Holding::default(), HoldingMessage::Segments(bits));
    assert_eq!(segments(part(16, &[0b1000])), Ok(()));
    assert_eq!(segments(part(16, &[0b1_0000])), Err(HoldingError::NoSuchSegment { said: 20, segments: 20 }));
    let far = u32::MAX - 7;
    let said = u64::from(u32::MAX) + 8;
    assert_eq!(segments(part(far, &[0, 0x80])), Err(HoldingError::NoSuchSegment { said, segments: 20 }));
    assert_eq!(segments(part(far, &[0, 0])), Ok(()));
    assert_eq!(segments(part(4, &[1])), Err(HoldingError::BadPart { first: 4, bytes: 1 }));
    assert_eq!(segments(part(0, &[])), Err(HoldingError::BadPart { first: 0, bytes: 0 }));
    let long = [0; SEGMENT_MAP_PART_BYTES_MAX + 1];
    assert_eq!(segments(part(0, &long)), Err(HoldingError::BadPart { first: 0, bytes: long.len() }));
    let mut map = SegmentMap::new(3);
    assert_eq!(map.insert(3), Err(HoldingError::NoSuchSegment { said: 3, segments: 3 }));
    assert!(!SegmentMap::new(0).has(0));
}

#[test]
fn i30_maps_of_segments_are_bounded_in_number_and_size() {
    let mut holding = Holding::default();
    let mut tell = |number, segments| {
        let part = SegmentPart { content: content(number), first: 0, bits: vec![1] };
        holding.apply(HoldingMessage::Segments(part), root(1), |_| Some(segments)).unwrap();
        holding.has_segment(&content(number), 0)
    };
    assert_eq!(tell(0, u32::MAX), Has::Unknown);
    assert_eq!(tell(1, u32::try_from(SEGMENT_MAPS_BYTES_MAX * 8 - 4_096).unwrap()), Has::Yes);
    assert_eq!(tell(2, 4_097), Has::Unknown);
    for number in 3..SEGMENT_MAPS_MAX + 2 {
        assert_eq!(tell(number, 8), Has::Yes);
    }
    assert_eq!(tell(SEGMENT_MAPS_MAX + 3, 8), Has::Unknown);
}

proptest! {
    #[test]
    fn i14_i15_parts_bring_a_map_up_to_date_in_any_order_and_any_number_of_times(
        had in proptest::collection::btree_set(0..80_000_u32, 0..20),
        more in proptest::collection::btree_set(0..80_000_u32, 0..20),
        seed in any::<prop::sample::Index>(),
    ) {
        let map = |segments: &BTreeSet<u32>| {
            let mut map = SegmentMap::new(80_000);
            segments.iter().for_each(|&segment| map.insert(segment).unwrap());
            map
        };
        let before = map(&had);
        let after = map(&had.union(&more).copied().collect());
        let mut parts: Vec<_> = after.parts(content(0), &before).collect();
        prop_assert_eq!(parts.is_empty(), before == after);
        let turn = seed.index(parts.len() + 1).min(parts.len());
        parts.rotate_left(turn);
        let mut told = before;
        for part in parts.iter().chain(&parts) {
            told.add(part).unwrap();
        }
        prop_assert_eq!(told, after);
    }

    #[test]
    fn i14_saying_it_again_changes_nothing(
        numbers in proptest::collection::btree_set(0..20_u8, 0..10), had in 0..20_u8,
    ) {
        let numbers: Vec<_> = numbers.into_iter().collect();
        let all = [lacking(&numbers, Some(root(2))), have(had), HoldingMessage::Segments(part(0, &[had]))];
        let mut holding = after(&all);
        let before = (holding.lacking.clone(), holding.segments.clone());
        for message in &all[1..] {
            told(&mut holding, message.clone()).unwrap();
        }
        prop_assert_eq!(before, (holding.lacking, holding.segments));
    }
}

// ── bytes ──

fn some_messages() -> Vec<(HoldingMessage, String)> {
    let (one, two, nine) = ("01".repeat(32), "02".repeat(32), "09".repeat(32));
    let part = SegmentPart { content: ContentId::from_bytes([9; 32]), first: 800, bits: vec![1, 0x80] };
    vec![
        (lacking(&[1, 2], None), format!("0002{one}{two}00")),
        (HoldingMessage::complete(root(9)), format!("000001{nine}")),
        (HoldingMessage::LackingMany, "01".into()),
        (have(1), format!("0201{one}")),
        (HoldingMessage::Segments(part), format!("03{nine}a006020180")),
    ]
}

#[test]
fn messages_keep_their_bytes() {
    for (message, bytes) in some_messages() {
        let body = message.encode();
        assert_eq!(data_encoding::HEXLOWER.encode(&body), bytes);
        assert_eq!(HoldingMessage::decode(&body), Ok(message));
    }
    let page = lacking(&[], Some(root(1)));
    let HoldingMessage::Lacking { end, .. } = page else { return };
    let full = HoldingMessage::Lacking { records: vec![record(0); HOLDING_PAGE_RECORDS_MAX], end };
    assert!(full.encode().len() <= HOLDING_MESSAGE_BYTES_MAX);
}

#[test]
fn d1_d2_bodies_that_are_no_message_are_refused() {
    for (message, _) in some_messages() {
        let body = message.encode();
        for length in 0..body.len() {
            assert!(matches!(HoldingMessage::decode(&body[..length]), Err(HoldingDecodeError::Malformed(_))));
        }
        for bit in 0..body.len() * 8 {
            let mut flipped = body.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(message) = HoldingMessage::decode(&flipped) {
                // An error or another statement, never a panic.
                let _ = told(&mut Holding::default(), message);
            }
        }
    }
    let long = vec![0; HOLDING_MESSAGE_BYTES_MAX + 1];
    assert_eq!(HoldingMessage::decode(&long), Err(HoldingDecodeError::TooLong(long.len())));
    assert_eq!(HoldingMessage::decode(&[1, 0]), Err(HoldingDecodeError::Trailing(1)));
    for length in
        [&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]]
    {
        for sort in [0, 2] {
            let body = [&[sort], length].concat();
            assert!(matches!(HoldingMessage::decode(&body), Err(HoldingDecodeError::Malformed(_))));
        }
    }
    let many = HoldingMessage::Have(vec![record(0); HOLDING_PAGE_RECORDS_MAX + 1]).encode();
    let error = HoldingDecodeError::TooManyRecords(HOLDING_PAGE_RECORDS_MAX + 1);
    assert_eq!(HoldingMessage::decode(&many), Err(error));
    let empty = HoldingMessage::Segments(part(0, &[])).encode();
    let error = HoldingDecodeError::Part(HoldingError::BadPart { first: 0, bytes: 0 });
    assert_eq!(HoldingMessage::decode(&empty), Err(error));
}
