//! Lists and their names stay as they are, and no other list passes for the one that is named.

use super::*;
use data_encoding::HEXLOWER;
use proptest::collection::vec;
use proptest::prelude::*;

const MIN: u32 = SEGMENT_BYTES_MIN;
const MAX: u32 = SEGMENT_BYTES_MAX;

#[test]
fn names_are_golden() {
    assert_eq!(listed(&[]).content, ContentId::of_nothing());
    assert_eq!(
        listed(&[segment(7, 5)]).content,
        ContentId::from_bytes(segment(7, 5).id.as_bytes().to_owned())
    );
    let name = |count| HEXLOWER.encode(&listed(&numbered(count)).content.as_bytes()[..8]);
    assert_eq!([name(2), name(4096)], ["142e63f6c01a6479", "4672b1d9441e6bf9"]);
    assert_eq!(
        [name(4097), name(8192), name(8193)],
        ["708b22edaa369cb2", "1aa3a78cb0dbcdee", "a894b191ec574a8d"]
    );
}

#[test]
fn the_bytes_of_lists_stay_as_they_are() {
    let list = SegmentList::new(vec![segment(1, MIN), segment(2, 3)]).unwrap();
    let encoded = "0101010101010101010101010101010101010101010101010101010101010101\
                   00040000\
                   0202020202020202020202020202020202020202020202020202020202020202\
                   00000003";
    assert_eq!(HEXLOWER.encode(&list.encode()), encoded);
    let index = listed(&numbered(4097)).index.unwrap();
    let encoded = "00001001\
                   a2c82ebcc28af413229f794bf6242d1146a5ebb86ac8edce828e953193db92a1\
                   00000000407ff800\
                   8c842032cc3e33f445b6a6b9803778b23e0a638e00535825170cb55fe52cd21d\
                   00000000407ff84d";
    assert_eq!(HEXLOWER.encode(&index.encode()), encoded);
}

#[test]
fn content_of_no_or_one_segment_is_named_by_its_bytes() {
    let bytes = b"some bytes".as_slice();
    let only = Segment { id: SegmentId::from_bytes(*blake3::hash(bytes).as_bytes()), length: 10 };
    let content = ContentId::from_bytes(*blake3::hash(bytes).as_bytes());
    assert_eq!(listed(&[only]), Listed { content, size: 10, segments: 1, index: None });
    assert!(only.is(bytes) && !only.is(b"some bytez") && !only.is(b"some byte"));
    let list = SegmentList::decode(&only.encode(), content, 10).unwrap();
    assert_eq!((list.segments(), list.bytes()), ([only].as_slice(), 10));
    assert_eq!(SegmentList::decode(b"", ContentId::of_nothing(), 0).unwrap().segments(), []);
}

#[test]
fn any_page_is_checked_and_placed_without_the_others() {
    for count in [4097, 8191, 8192, 8193] {
        let segments = numbered(count);
        let listed = listed(&segments);
        let index = listed.index.unwrap();
        let index = PageIndex::decode(&index.encode(), listed.content, listed.size).unwrap();
        assert_eq!((index.segments() as usize, index.bytes()), (count, listed.size));
        assert_eq!(index.pages(), count.div_ceil(SEGMENTS_PER_PAGE));
        let mut start = 0;
        for (number, page) in segments.chunks(SEGMENTS_PER_PAGE).enumerate() {
            let encoded = SegmentList::new(page.to_vec()).unwrap().encode();
            let list = index.page(number, &encoded).unwrap();
            assert_eq!(list.segments(), page);
            assert_eq!(index.range(number), Some(start..start + list.bytes()));
            assert_eq!(index.page_at(start), Some(number));
            start += list.bytes();
            assert_eq!(index.page_at(start - 1), Some(number));
            let other = (number + 1) % index.pages();
            assert!(index.page(other, &encoded).is_err());
        }
        assert_eq!((index.range(index.pages()), index.page_at(start)), (None, None));
        let pages = index.pages();
        assert_eq!(index.page(pages, b""), Err(ListError::NoPage { page: pages, pages }));
    }
}

#[test]
fn one_page_has_no_index_and_two_have_no_list() {
    assert!(listed(&numbered(4096)).index.is_none());
    assert!(listed(&numbered(4097)).index.is_some());
    assert_eq!(SegmentList::new(numbered(4097)), Err(ListError::TooMany(4097)));
    let encoded: Vec<_> = numbered(4097).iter().flat_map(Segment::encode).collect();
    assert_eq!(SegmentList::decode(&encoded, ContentId::NONE, 0), Err(ListError::TooMany(4097)));
    // An index over what one page holds, though its hash is right.
    let index = PageIndex { segments: 4096, pages: [page(0), page(u64::from(MIN))].into() };
    let error = ListError::PageCount { pages: 2, segments: 4096 };
    assert_eq!(PageIndex::decode(&index.encode(), index.content_id(), u64::from(MIN)), Err(error));
}

/// F19: a list that was cut otherwise would look like an edit on whoever cuts it again.
#[test]
fn d12_lengths_that_cut_1_never_makes_are_refused() {
    let new = |lengths: &[u32]| {
        let segments: Vec<_> = lengths.iter().map(|&length| segment(1, length)).collect();
        let mut hasher = ListHasher::new();
        let pushed = segments.iter().try_for_each(|&segment| hasher.push(segment));
        let list = SegmentList::new(segments);
        assert_eq!(list.as_ref().err(), pushed.as_ref().err());
        list
    };
    assert!(new(&[MAX, MIN, 1]).is_ok());
    assert_eq!(new(&[MIN, 0]), Err(ListError::NoBytes { at: 1 }));
    assert_eq!(new(&[MAX + 1]), Err(ListError::TooLong { at: 0, length: MAX + 1 }));
    assert_eq!(new(&[MIN - 1, MIN]), Err(ListError::TooShort { at: 0, length: MIN - 1 }));
    assert_eq!(new(&[MIN, u32::MAX]), Err(ListError::TooLong { at: 1, length: u32::MAX }));
}

#[test]
fn d12_lists_that_do_not_come_to_the_size_are_refused() {
    let segments = numbered(3);
    let Listed { content, size, .. } = listed(&segments);
    let encoded = SegmentList::new(segments).unwrap().encode();
    assert!(SegmentList::decode(&encoded, content, size).is_ok());
    let error = |encoded: &[u8], size| SegmentList::decode(encoded, content, size).unwrap_err();
    assert_eq!(error(&encoded, size + 1), ListError::Size { listed: size, size: size + 1 });
    assert_eq!(error(&[], size), ListError::Size { listed: 0, size });
    assert_eq!(error(&encoded[..40], size), ListError::Ragged(40));
    // Nothing stands for a file of no bytes but no list.
    assert!(SegmentList::decode(&[], ContentId::NONE, 0).is_err());

    let Listed { content, size, index, .. } = listed(&numbered(4097));
    let encoded = index.unwrap().encode();
    let error = PageIndex::decode(&encoded, content, size - 1).unwrap_err();
    assert_eq!(error, ListError::Size { listed: size, size: size - 1 });
}

#[test]
fn d12_absurd_indexes_are_refused() {
    let decode = |segments: u32, ends: &[u64]| {
        let index = PageIndex { segments, pages: ends.iter().map(|&end| page(end)).collect() };
        PageIndex::decode(&index.encode(), index.content_id(), index.bytes())
    };
    let (least, most) = (4096 * u64::from(MIN), 4096 * u64::from(MAX));
    assert!(decode(4097, &[least, least + 1]).is_ok());
    assert!(decode(4097, &[most, most + u64::from(MAX)]).is_ok());
    for ends in [[least - 1, least + 1], [most + 1, most + 2]] {
        assert_eq!(decode(4097, &ends), Err(ListError::PageEnd { page: 0, end: ends[0] }));
    }
    for end in [least, least - 1, 0, least + u64::from(MAX) + 1, u64::MAX] {
        assert_eq!(decode(4097, &[least, end]), Err(ListError::PageEnd { page: 1, end }));
    }
    for segments in [0, 1, 4096, 8193, u32::MAX] {
        assert_eq!(decode(segments, &[least, least + 1]), Err(ListError::PageCount { pages: 2, segments }));
    }
    assert_eq!(decode(0, &[]), Err(ListError::PageCount { pages: 0, segments: 0 }));
    assert_eq!(decode(1, &[1]), Err(ListError::PageCount { pages: 1, segments: 1 }));
    let ends = |pages: u64, each| (1..=pages).map(|page| page * each).collect::<Vec<_>>();
    assert!(decode(1 << 26, &ends(1 << 14, least)).is_ok());
    assert_eq!(decode(1 << 26, &ends(1 << 14, least + 1)), Err(ListError::FileTooLarge));
    let error = ListError::PageCount { pages: (1 << 14) + 1, segments: (1 << 26) + 1 };
    assert_eq!(decode((1 << 26) + 1, &ends((1 << 14) + 1, least)), Err(error));
}

#[test]
fn d12_pages_that_do_not_fit_their_index_are_refused() {
    let first = numbered(4097)[..4096].to_vec();
    let encoded = SegmentList::new(first.clone()).unwrap().encode();
    let bytes = first.iter().map(|segment| u64::from(segment.length)).sum::<u64>();
    let named = |encoded: &[u8], end| Page { hash: Domain::SEGMENT_PAGE.hash_one(encoded), end };
    // An author whose index names these very pages, but with other numbers.
    let index = |one, other| PageIndex { segments: 4098, pages: [one, other].into() };
    let last = SegmentList::new(vec![segment(9, 5)]).unwrap().encode();
    let wrong = index(named(&encoded, bytes + 1), named(&last, bytes + 6 + u64::from(MIN)));
    assert_eq!(wrong.page(0, &encoded), Err(ListError::Size { listed: bytes, size: bytes + 1 }));
    let error = ListError::PageSegments { page: 1, listed: 1, segments: 2 };
    assert_eq!(wrong.page(1, &last), Err(error));
    let short = &encoded[..encoded.len() - 36];
    let error = ListError::PageSegments { page: 0, listed: 4095, segments: 4096 };
    assert_eq!(wrong.page(0, short), Err(error));
    // Only the last page may end with a short segment.
    let mut small = first;
    small[4095].length = MIN - 1;
    let encoded: Vec<_> = small.iter().flat_map(Segment::encode).collect();
    let wrong = index(named(&encoded, bytes), named(&last, bytes + 5));
    assert_eq!(wrong.page(0, &encoded), Err(ListError::TooShort { at: 4095, length: MIN - 1 }));
}

#[test]
fn d12_a_file_that_is_too_large_is_refused_and_nothing_is_taken() {
    let mut hasher = ListHasher { bytes: FILE_BYTES_MAX - u64::from(MIN), ..ListHasher::new() };
    assert_eq!(hasher.push(segment(1, MIN + 1)), Err(ListError::FileTooLarge));
    assert_eq!(hasher.push(segment(1, MIN)), Ok(()));
    assert_eq!(hasher.push(segment(1, 1)), Err(ListError::FileTooLarge));
    assert_eq!((hasher.finish().size, FILE_BYTES_MAX), (FILE_BYTES_MAX, 1 << 44));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// F19: a list is bound to the id of its content.
    #[test]
    fn a_list_that_was_changed_anywhere_is_refused(
        lengths in vec(MIN..=MAX, 1..12), last in 1..=MAX, at: prop::sample::Index, bit in 0..8_u8,
    ) {
        let mut segments: Vec<_> = (2..).zip(lengths).map(|(id, length)| segment(id, length)).collect();
        segments.push(segment(1, last));
        let Listed { content, size, .. } = listed(&segments);
        let list = SegmentList::new(segments.clone()).unwrap();
        let mut encoded = list.encode();
        prop_assert_eq!(SegmentList::decode(&encoded, content, size), Ok(list));
        for cut in 0..encoded.len() {
            prop_assert!(SegmentList::decode(&encoded[..cut], content, size).is_err());
        }
        let changed = at.index(encoded.len());
        encoded[changed] ^= 1 << bit;
        prop_assert!(SegmentList::decode(&encoded, content, size).is_err());
        // Sums stay the same when neighbours change places.
        let at = at.index(segments.len() - 1);
        segments.swap(at, at + 1);
        let encoded: Vec<_> = segments.iter().flat_map(Segment::encode).collect();
        prop_assert!(SegmentList::decode(&encoded, content, size).is_err());
    }

    #[test]
    fn an_index_or_page_that_was_changed_anywhere_is_refused(
        at: prop::sample::Index, bit in 0..8_u8, number in 0..2_usize, more in 1..20_usize,
    ) {
        let segments = numbered(SEGMENTS_PER_PAGE + more);
        let Listed { content, size, index, .. } = listed(&segments);
        let index = index.unwrap();
        let mut encoded = index.encode();
        for cut in 0..encoded.len() {
            prop_assert!(PageIndex::decode(&encoded[..cut], content, size).is_err());
        }
        let changed = at.index(encoded.len());
        encoded[changed] ^= 1 << bit;
        prop_assert!(PageIndex::decode(&encoded, content, size).is_err());

        let page = segments.chunks(SEGMENTS_PER_PAGE).nth(number).unwrap();
        let mut encoded: Vec<_> = page.iter().flat_map(Segment::encode).collect();
        prop_assert!(index.page(number, &encoded[..at.index(encoded.len())]).is_err());
        let changed = at.index(encoded.len());
        encoded[changed] ^= 1 << bit;
        prop_assert!(index.page(number, &encoded).is_err());
    }

    #[test]
    fn d12_no_bytes_are_too_strange_to_be_refused(bytes in vec(any::<u8>(), 0..200), size: u64) {
        prop_assert!(SegmentList::decode(&bytes, ContentId::NONE, size).is_err());
        prop_assert!(PageIndex::decode(&bytes, ContentId::NONE, size).is_err());
    }
}

fn segment(id: u8, length: u32) -> Segment {
    Segment { id: SegmentId::from_bytes([id; 32]), length }
}

/// As many different segments; the last one is short.
fn numbered(count: usize) -> Vec<Segment> {
    let one = |at: usize| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(at as u64).to_be_bytes());
        let length = if at + 1 < count { MIN + u32::try_from(at).unwrap() } else { 77 };
        Segment { id: SegmentId::from_bytes(id), length }
    };
    (0..count).map(one).collect()
}

fn page(end: u64) -> Page {
    Page { hash: [0; 32], end }
}

fn listed(segments: &[Segment]) -> Listed {
    let mut hasher = ListHasher::new();
    for &segment in segments {
        hasher.push(segment).unwrap();
    }
    hasher.finish()
}
