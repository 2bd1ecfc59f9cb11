//! Cut 1 is what its rule says, and stays so.

use super::*;
use crate::segment::Segment;
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes that look random and are the same at every run.
pub(crate) fn random(text: &str, bytes: usize) -> Vec<u8> {
    let mut random = vec![0; bytes];
    blake3::Hasher::new().update(text.as_bytes()).finalize_xof().fill(&mut random);
    random
}

#[test]
fn the_gear_table_is_what_its_text_gives() {
    let table = random("shoal cut 1 gear", 2048);
    let numbers = table.as_chunks().0.iter().map(|&bytes| u64::from_be_bytes(bytes));
    assert!(numbers.eq(GEAR));
}

/// F17, F19: gear table, masks and sizes are frozen.
#[test]
fn cuts_are_golden() {
    let mut stream = random("shoal cut 1 golden", 8 << 20);
    assert_golden(
        &stream,
        [
            "9 segments, a94e4ea67ec763ed, [383668, 1868253, 2448340, 3099894, 4054325]",
            "1056 chunks, 188f142b9d69b46f, [3719, 7404, 12777, 14304, 17877]",
        ],
    );
    stream.insert(3_000_000, 0);
    assert_golden(
        &stream,
        [
            "9 segments, fa074aeed0fb24c8, [383668, 1868253, 2448340, 3099895, 4054326]",
            "1056 chunks, 1ec2651fa9575d64, [3719, 7404, 12777, 14304, 17877]",
        ],
    );
    assert_golden(
        &vec![0; 5 << 20],
        [
            "2 segments, 1dd87e24c1c52613, [4194304, 5242880]",
            "256 chunks, 9c2343385dc2c1dd, [16384, 32768, 49152, 65536, 81920]",
        ],
    );
    assert_golden(
        &b"The quick brown fox jumps over the lazy dog. ".repeat(100_000),
        [
            "2 segments, fba855c37d6a5523, [4194304, 4500000]",
            "1260 chunks, c694e305a0fdb820, [3353, 6683, 10013, 13343, 16673]",
        ],
    );
}

/// Segments of all and chunks of the first 4 MiB: how many, the hash of where they end, the first few ends.
#[track_caller]
fn assert_golden(bytes: &[u8], golden: [&str; 2]) {
    let tell = |what, ranges: Vec<Range<usize>>| {
        let ends: Vec<_> = ranges.iter().map(|range| range.end as u64).collect();
        let hash = blake3::hash(&ends.iter().flat_map(|end| end.to_be_bytes()).collect::<Vec<_>>());
        format!("{} {what}, {}, {:?}", ends.len(), &hash.to_hex()[..16], &ends[..ends.len().min(5)])
    };
    let chunked = &bytes[..4 << 20];
    let told = [tell("segments", segments(bytes).collect()), tell("chunks", chunks(chunked).collect())];
    assert_eq!(told, golden);
}

#[test]
fn sizes_come_near_the_average() {
    let bytes = random("sizes", 12 << 20);
    let sizes: Vec<_> = chunks(&bytes).map(|range| range.len()).collect();
    let mean = bytes.len() / sizes.len();
    assert!((3980..4160).contains(&mean), "{mean}");
    // How large the chunk is, on average, that a byte is in: the cost of a small edit.
    let touched = sizes.iter().map(|size| size * size).sum::<usize>() / bytes.len();
    assert!(touched < 4600, "{touched}");
    assert!(sizes.iter().filter(|size| **size == 16384).count() * 1000 < sizes.len());
}

#[test]
fn runs_of_one_byte_are_cut_at_the_greatest_size() {
    for byte in 0..=u8::MAX {
        let run = vec![byte; 40_000];
        let lengths: Vec<_> = chunks(&run).map(|range| range.len()).collect();
        assert_eq!(lengths, [16384, 16384, 7232], "{byte:#x}");
        // The hash of any run of 64 or more, at which no mask is met.
        let hash = GEAR[usize::from(byte)].wrapping_neg();
        assert!(hash >= CHUNKS.loose.max(SEGMENTS.loose), "{byte:#x}");
    }
}

#[test]
fn a_long_hole_is_whole_segments_of_zeros() {
    let zeros = vec![0; 9 << 20];
    let ranges: Vec<_> = segments(&zeros).collect();
    assert_eq!(ranges, [0..4 << 20, 4 << 20..8 << 20, 8 << 20..9 << 20]);
    assert!(Segment::ZEROS.is(&zeros[..4 << 20]));
    // The rest costs no more than its list.
    let mut cutter = Cutter::segments();
    for gone in 0..1000 {
        assert_eq!(cutter.next_cut_in_zeros((1 << 40) - (gone << 22)), Some(4 << 20));
    }
    assert_eq!(cutter, Cutter::segments());
    assert_eq!(cutter.next_cut_in_zeros(u64::MAX), Some(4 << 20));
}

#[test]
fn segments_follow_the_rule_however_they_are_read() {
    let mut bytes = random("rule", 3 << 20);
    bytes.extend(vec![0; 5 << 20]);
    bytes.extend(random("rule again", 1 << 20));
    let expected = by_the_rule(&SEGMENTS, &bytes);
    assert_eq!(lengths(segments(&bytes)), expected);
    assert_eq!(streamed(Cutter::segments(), bytes.chunks(65_537)), expected);
}

#[test]
fn content_below_the_least_size_is_one_piece() {
    assert_eq!(segments(b"").count(), 0);
    assert_eq!(lengths(segments(b"x")), [1]);
    let bytes = random("small", SEGMENT_BYTES_MIN as usize);
    assert_eq!(lengths(segments(&bytes)), [bytes.len()]);
    let mut cutter = Cutter::segments();
    assert_eq!(cutter.next_cut(b""), None);
    assert_eq!((cutter.next_cut(&bytes[1..]), cutter.pending()), (None, bytes.len() - 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn chunks_follow_the_rule(bytes in content()) {
        prop_assert_eq!(lengths(chunks(&bytes)), by_the_rule(&CHUNKS, &bytes));
    }

    #[test]
    fn cuts_do_not_depend_on_how_bytes_are_read(bytes in content(), reads in vec(1..20_000_usize, 1..9)) {
        let mut rest = bytes.as_slice();
        let slices = reads.iter().cycle().map_while(|&read| {
            let slice = rest.split_off(..read.min(rest.len()))?;
            (!slice.is_empty()).then_some(slice)
        });
        prop_assert_eq!(streamed(Cutter::chunks(), slices), lengths(chunks(&bytes)));
        prop_assert_eq!(streamed(Cutter::chunks(), bytes.chunks(1)), lengths(chunks(&bytes)));
    }

    #[test]
    fn what_comes_later_moves_no_cut(bytes in content(), more in content()) {
        let mut before = lengths(chunks(&bytes));
        before.pop();
        prop_assert!(lengths(chunks(&[bytes, more].concat())).starts_with(&before));
    }

    #[test]
    fn content_that_begins_at_a_cut_is_cut_like_the_rest(bytes in content()) {
        let whole = lengths(chunks(&bytes));
        prop_assert_eq!(&lengths(chunks(&bytes[whole[0]..])), &whole[1..]);
    }

    #[test]
    fn holes_are_cut_like_zeros(before in content(), zeros in 0..60_000_u64, after in content()) {
        for sort in [Cutter::chunks(), Cutter::segments()] {
            let (mut real, mut hole) = (sort.clone(), sort);
            streamed_into(&mut real, [before.as_slice()].into_iter());
            hole.clone_from(&real);

            let mut left = zeros;
            let mut cuts = Vec::new();
            while let Some(cut) = hole.next_cut_in_zeros(left) {
                cuts.push(usize::try_from(cut).unwrap());
                left -= cut;
            }
            let bytes = vec![0; usize::try_from(zeros).unwrap()];
            prop_assert_eq!(cuts, streamed_into(&mut real, [bytes.as_slice()].into_iter()));
            prop_assert_eq!(real.pending(), hole.pending());
            prop_assert_eq!(
                streamed_into(&mut real, [after.as_slice()].into_iter()),
                streamed_into(&mut hole, [after.as_slice()].into_iter())
            );
        }
    }

    #[test]
    fn an_insertion_moves_only_the_cuts_around_it(
        text in "[a-z]{8}", at in 0..100_000_usize, inserted in vec(any::<u8>(), 1..200),
    ) {
        let old = random(&text, 300_000);
        let mut new = old.clone();
        new.splice(at..at, inserted.iter().copied());
        let all = |bytes: &[u8]| chunks(bytes).map(|range| range.end).collect::<Vec<_>>();
        let (old, new) = (all(&old), all(&new));
        let before = old.partition_point(|end| *end <= at);
        prop_assert_eq!(&new[..before], &old[..before]);
        // From the first end that both have, at most some 25 chunks later, they have all the same.
        let new: Vec<_> = new[before..].iter().map(|end| end - inserted.len()).collect();
        let same = old[before..].iter().position(|end| new.contains(end)).unwrap() + before;
        prop_assert!(old[same] - at < 100_000);
        prop_assert!(new.ends_with(&old[same..]));
    }
}

/// Random bytes, few different ones, patterns, and runs, one after the other.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let part = ("[a-z]{4}", 0..4_u8, 1..40_000_usize).prop_map(|(text, sort, length)| match sort {
        0 => random(&text, length),
        1 => random(&text, length).iter().map(|byte| byte & 1).collect(),
        2 => text.as_bytes().iter().copied().cycle().take(length).collect(),
        _ => vec![text.as_bytes()[0]; length],
    });
    vec(part, 1..4).prop_map(|parts| parts.concat())
}

/// The lengths of pieces, by the letter of the rule.
fn by_the_rule(sizes: &Sizes, bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut start = 0;
    let hash_at = |place: usize| {
        let window = bytes[place - WINDOW..place].iter().rev().enumerate();
        window.fold(0_u64, |sum, (after, &byte)| sum.wrapping_add(GEAR[usize::from(byte)] << after))
    };
    let mut next = None;
    while start < bytes.len() {
        let is_end = |length: &usize| {
            let place = start + length;
            // The hash of the place before, which is nearly always known, gives that of this one.
            let hash = match next {
                Some((before, hash)) if before + 1 == place => {
                    let hash: u64 = hash;
                    (hash << 1).wrapping_add(GEAR[usize::from(bytes[place - 1])])
                }
                _ => hash_at(place),
            };
            next = Some((place, hash));
            let zeros = if *length < sizes.switch { sizes.strict } else { sizes.loose }.leading_zeros() + 1;
            hash.leading_zeros() >= zeros || *length == sizes.max
        };
        let left = bytes.len() - start;
        let length = (sizes.min..=sizes.max.min(left)).find(is_end).unwrap_or(left);
        lengths.push(length);
        start += length;
    }
    lengths
}

fn lengths(ranges: impl Iterator<Item = Range<usize>>) -> Vec<usize> {
    ranges.map(|range| range.len()).collect()
}

/// The lengths of all pieces of bytes that come in slices.
fn streamed<'a>(mut cutter: Cutter, slices: impl Iterator<Item = &'a [u8]>) -> Vec<usize> {
    let mut lengths = streamed_into(&mut cutter, slices);
    lengths.extend(Some(cutter.pending()).filter(|pending| *pending > 0));
    lengths
}

/// The lengths of the pieces that end, each without what of it the cutter had before.
fn streamed_into<'a>(cutter: &mut Cutter, slices: impl Iterator<Item = &'a [u8]>) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut length = 0;
    for mut slice in slices {
        while let Some(cut) = cutter.next_cut(slice) {
            lengths.push(length + cut);
            length = 0;
            slice = &slice[cut..];
        }
        length += slice.len();
    }
    lengths
}
