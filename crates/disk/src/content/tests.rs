//! Contents that are cut, with holes and without, and files that change under the reader.

use shoal_proto::cut::segments;
use shoal_proto::limits::SEGMENT_BYTES_MIN;
use shoal_proto::segment::SegmentList;

use super::*;
use crate::mem::{Call, MemDisk, Quirks, Trouble};
use crate::testing::Place;
use crate::{Folder, FolderOptions, FsDir};

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn open<F: Fs>(folder: &Folder<F>, at: &str) -> Opened<F> {
    let expected = folder.tree().look(&path(at)).unwrap().unwrap().expected();
    folder.tree().open(&path(at), &expected).unwrap().unwrap()
}

/// What the content is by the plain words of `proto`: all bytes in memory, no holes.
fn by_the_book(bytes: &[u8]) -> (Vec<Segment>, Listed) {
    let mut list = ListHasher::new();
    let segment = |range: std::ops::Range<usize>| {
        let bytes = &bytes[range];
        let id = SegmentId::from_bytes(*blake3::hash(bytes).as_bytes());
        Segment { id, length: u32::try_from(bytes.len()).unwrap() }
    };
    let segments: Vec<_> = segments(bytes).map(segment).collect();
    segments.iter().for_each(|segment| list.push(*segment).unwrap());
    (segments, list.finish())
}

/// Bytes without a pattern.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Tests have small regions, so that these are large files.
#[test]
fn content_is_named_as_proto_names_it_with_holes_or_without_by_one_thread_or_several() {
    let zeros = |length| vec![0; length];
    let region = usize::try_from(regions::WORTH_BYTES / 2).unwrap();
    // Cut at the greatest size wherever one begins, so that only who begins at the right byte has cuts in common.
    let pattern = |length| b"never a cut".iter().copied().cycle().take(length).collect::<Vec<_>>();
    let mixtures = (0..4).map(|seed| {
        let draws = noise(24, 100 + seed);
        let piece = |draw: &[u8; 4]| {
            let length = usize::from(draw[1]) * 2048 + usize::from(draw[2]);
            match draw[0] % 3 {
                0 => zeros(length),
                1 => pattern(length),
                _ => noise(length, draw[3].into()),
            }
        };
        draws.as_chunks().0.iter().flat_map(piece).collect()
    });
    let contents = [
        Vec::new(),
        noise(5, 1),
        noise(SEGMENT_BYTES_MIN as usize, 1),
        noise(SEGMENT_BYTES_MIN as usize + 1, 1),
        noise(2 * region - 1, 2),
        noise(2 * region + 1, 2),
        noise(5 * region + 77, 9),
        zeros((4 << 20) + 1),
        [noise(300_000, 3), zeros(9 << 20), noise(5_000, 4)].concat(),
        [zeros(4_200_000), noise(600_000, 5), zeros(100_000), noise(300, 6), zeros(300_000)].concat(),
        [noise(600_000, 7), pattern(4_500_000), noise(1 << 20, 8)].concat(),
    ];
    let disk = MemDisk::new(Quirks::default());
    disk.user().make_dir("/f").unwrap();
    let (mem, _) = Folder::open_on(&disk, "/f".as_ref(), &FolderOptions::default()).unwrap();
    let place = Place::new();
    let real = place.open();
    for (number, bytes) in contents.into_iter().chain(mixtures).enumerate() {
        disk.user().write("/f/a", &bytes).unwrap();
        write_with_holes(&place.at("holes"), &bytes);
        std::fs::write(place.at("whole"), &bytes).unwrap();
        let expected = by_the_book(&bytes);
        assert_eq!(cut(&open(&mem, "a"), 3), expected, "{number} in memory");
        for threads in [1, 3] {
            assert_eq!(
                cut(&open(&real, "holes"), threads),
                expected,
                "{number} with holes, {threads} threads"
            );
        }
        assert_eq!(cut(&open(&real, "whole"), 2), expected, "{number} without holes");
    }
}

fn cut<F: Fs>(opened: &Opened<F>, threads: usize) -> (Vec<Segment>, Listed) {
    cut_along(opened, &Known::default(), threads)
}

fn cut_along<F: Fs>(opened: &Opened<F>, known: &Known, threads: usize) -> (Vec<Segment>, Listed) {
    let mut found = Vec::new();
    match opened.cut_with(&mut Tools::new(threads), known, |segment| found.push(segment)).unwrap() {
        Content::Whole(listed) => (found, listed),
        Content::Changed => panic!("it has changed"),
    }
}

fn write_with_holes(path: &std::path::Path, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for (number, block) in bytes.chunks(4096).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, number as u64 * 4096).unwrap();
        }
    }
}

// E11
#[test]
fn a_terabyte_of_holes_is_not_read() {
    let place = Place::new();
    let file = std::fs::File::create(place.at("a")).unwrap();
    if file.set_len(1 << 40).is_err() {
        return crate::testing::skip::skip("E11: a file of a terabyte", "files cannot be so large here");
    }
    let mut segments = 0;
    let content = open(&place.open(), "a").cut(|segment| {
        assert_eq!(segment, Segment::ZEROS);
        segments += 1;
    });
    let Content::Whole(listed) = content.unwrap() else { panic!() };
    assert_eq!((listed.size, listed.segments, segments), (1 << 40, 1 << 18, 1 << 18));
}

#[test]
fn a_file_that_was_cut_before_is_named_the_same_along_its_old_list() {
    let old = [noise(4 << 20, 1), vec![0; 3 << 20], noise(500_000, 2)].concat();
    let known = Known::new(&SegmentList::new(by_the_book(&old).0).unwrap());
    let (mut overwritten, mut inserted) = (old.clone(), old.clone());
    overwritten[3_000_000] ^= 1;
    inserted.insert(1_000_000, 7);
    let news = [
        ("unchanged", old.clone()),
        ("appended to", [old.clone(), noise(2 << 20, 3)].concat()),
        ("cut short", old[..old.len() - 300_000].to_vec()),
        ("cut shorter", old[..2 << 20].to_vec()),
        ("overwritten", overwritten),
        ("inserted into", inserted),
        ("another", noise(5 << 20, 4)),
        ("small", noise(1000, 5)),
    ];
    let disk = MemDisk::new(Quirks::default());
    disk.user().make_dir("/f").unwrap();
    let (folder, _) = Folder::open_on(&disk, "/f".as_ref(), &FolderOptions::default()).unwrap();
    for (how, new) in news {
        disk.user().write("/f/a", &new).unwrap();
        let expected = by_the_book(&new);
        for threads in [1, 3] {
            let found = cut_along(&open(&folder, "a"), &known, threads);
            assert!(found == expected, "{how}, {threads} threads");
        }
    }
}

/// By this it is seen that the list is followed: what is unchanged keeps its name, whoever has cut it.
#[test]
fn content_that_was_cut_by_other_rules_keeps_its_name() {
    let bytes = noise(4 << 20, 1);
    let segment = |bytes: &[u8]| {
        let id = SegmentId::from_bytes(*blake3::hash(bytes).as_bytes());
        Segment { id, length: u32::try_from(bytes.len()).unwrap() }
    };
    let segments: Vec<_> = bytes.chunks(700_000).map(segment).collect();
    let known = Known::new(&SegmentList::new(segments.clone()).unwrap());
    let disk = MemDisk::new(Quirks::default());
    disk.user().make_dir("/f").unwrap();
    disk.user().write("/f/a", &bytes).unwrap();
    let (folder, _) = Folder::open_on(&disk, "/f".as_ref(), &FolderOptions::default()).unwrap();
    for threads in [1, 2] {
        assert_eq!(cut_along(&open(&folder, "a"), &known, threads).0, segments, "{threads} threads");
    }
}

// I22, E4
#[test]
fn a_file_that_changes_while_it_is_read_has_no_name() {
    type Act = fn(&MemDisk);
    let acts: [(&str, Act); 3] = [
        ("written to", |disk| disk.user().append("/f/a", "more").unwrap()),
        ("cut short", |disk| disk.user().write("/f/a", "short").unwrap()),
        ("rewritten", |disk| disk.user().write("/f/a", noise(3 << 20, 8)).unwrap()),
    ];
    for (how, act) in acts {
        for threads in [1, 2] {
            let disk = MemDisk::new(Quirks::default());
            disk.user().make_dir("/f").unwrap();
            disk.user().write("/f/a", noise(3 << 20, 7)).unwrap();
            disk.set_time(crate::testing::secs(5));
            let (folder, _) = Folder::open_on(&disk, "/f".as_ref(), &FolderOptions::default()).unwrap();
            let opened = open(&folder, "a");
            let mut first = true;
            let content = opened.cut_with(&mut Tools::new(threads), &Known::default(), |_| {
                if std::mem::take(&mut first) {
                    act(&disk);
                }
            });
            assert_eq!(content.unwrap(), Content::Changed, "{how}");
            assert_eq!(opened.read_at(&mut [0; 10], 0).unwrap(), Span::Changed, "{how}");
            let expected = opened.stat().into();
            assert!(folder.tree().open(&path("a"), &expected).unwrap().is_none(), "{how}");
        }
    }
}

// E20: an error is told whoever of the threads meets it, and none of them is waited for in vain.
#[test]
fn e20_a_large_file_that_cannot_be_read_is_no_content() {
    let disk = MemDisk::new(Quirks::default());
    disk.user().make_dir("/f").unwrap();
    disk.user().write("/f/a", noise(5 << 20, 7)).unwrap();
    let (folder, _) = Folder::open_on(&disk, "/f".as_ref(), &FolderOptions::default()).unwrap();
    let opened = open(&folder, "a");
    for nth in [1, 2, 5, 12] {
        disk.fail_nth(Some(Call::Read), nth, Trouble::Io);
        let content = opened.cut_with(&mut Tools::new(3), &Known::default(), |_| {});
        assert!(matches!(content, Err(ContentError::Read(_))), "read {nth}: {content:?}");
    }
}

// I11, I23, C10
#[test]
fn only_the_expected_version_of_a_plain_file_is_opened_and_spans_end_where_it_does() {
    let place = Place::new();
    std::fs::create_dir(place.at("d")).unwrap();
    place.write("d/a", "0123456789");
    std::os::unix::fs::symlink("a", place.at("d/link")).unwrap();
    let folder = place.open();
    let opened = open(&folder, "d/a");
    let mut buffer = [0; 4];
    for (offset, read) in [(0, &b"0123"[..]), (8, b"89"), (10, b""), (u64::MAX, b"")] {
        match opened.read_at(&mut buffer, offset) {
            Ok(Span::Read(length)) => assert_eq!(&buffer[..length], read, "{offset}"),
            // No file is that long, and some systems say so.
            other => assert!(offset == u64::MAX && other.is_err(), "{offset}: {other:?}"),
        }
    }
    let tree = folder.tree();
    for other in ["d", "d/link", "d/none"] {
        let seen = tree.look(&path(other)).unwrap();
        let expected = seen.map_or_else(|| opened.stat().into(), |seen| seen.expected());
        assert!(tree.open(&path(other), &expected).unwrap().is_none(), "{other}");
    }
    assert!(matches!(tree.open(&path("none/a"), &opened.stat().into()), Err(ContentError::Barred(_))));
    folder.shared.root.open_dir("d".as_ref()).unwrap().remove("a".as_ref()).unwrap();
    assert!(tree.open(&path("d/a"), &opened.stat().into()).unwrap().is_none());
}

/// Who closes a share does not wait for a large file to be read to its end, by however many threads.
#[test]
fn reading_breaks_off_when_nobody_wants_it_any_more() {
    let disk = MemDisk::new(Quirks::default());
    disk.user().make_dir("/f").unwrap();
    let bytes = noise(12_000_000, 5);
    disk.user().write("/f/large", &bytes).unwrap();
    let (folder, _) = Folder::open_on(&disk, "/f".as_ref(), &FolderOptions::default()).unwrap();
    let count = by_the_book(&bytes).0.len();
    for threads in [1, 2] {
        let ends = Ends::default();
        let opened = open(&folder, "large").until(&ends);
        let mut seen = 0;
        let cut = opened.cut_with(&mut Tools::new(threads), &Known::default(), |_| {
            seen += 1;
            ends.store(true, Ordering::Relaxed);
        });
        assert!(matches!(cut, Err(ContentError::Read(_))) && seen < count, "{cut:?} after {seen} of {count}");
        assert!(opened.read_at(&mut [0; 9], 0).is_err());
    }
}
