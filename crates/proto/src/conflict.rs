//! Conflict copies: where the version goes that lost its path to another one.
//!
//! Promise: a copy's record follows from the loser's record alone, byte for byte, whoever makes it and whenever. So many
//! devices that resolve one conflict make one record; and since its dot is always the same, to delete the copy is
//! final: a later maker's record is one that the deletion has seen.

use jiff::fmt::strtime;

use crate::dot::Seen;
use crate::hash::{Domain, base32};
use crate::limits::{COPY_EXTENSION_BYTES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX};
use crate::path::RelPath;
use crate::record::{CopyOf, Record, Timestamp};

const MARK_BEGINS: &[u8] = b" (conflict ";
const MARK_LETTERS: usize = 6;
/// ` (conflict 2026-11-22 14.03 k7qfz2)`
const MARK_BYTES: usize = MARK_BEGINS.len() + "2026-11-22 14.03 ".len() + MARK_LETTERS + 1;

/// The record of the conflict copy of a head that lost.
#[must_use]
pub fn copy_of(loser: &Record) -> Record {
    let path_length = u32::try_from(loser.path.as_bytes().len()).unwrap_or(u32::MAX);
    let copy_of = CopyOf(Domain::COPY_OF.hash(&[
        &path_length.to_be_bytes(),
        loser.path.as_bytes(),
        &loser.origin.writer.to_bytes(),
        &loser.origin.counter.to_be_bytes(),
    ]));
    let (dot, hash) = copy_of.dot(&loser.version.kind.content());
    Record {
        path: path_of_copy(&loser.path, &mark(loser.version.mtime, &hash)),
        version: loser.version.clone(),
        dot,
        seen: Seen::default(),
        origin: dot,
        displaced: Box::default(),
        copy_of: Some(copy_of),
    }
}

/// Of which path this is a conflict copy, by its name; `None`: it is not called like one.
#[must_use]
pub fn original(path: &RelPath) -> Option<RelPath> {
    let Name { stem, mark, extension } = split_name(path.name());
    mark?;
    let name = [stem, extension].concat();
    let whole = match path.parent() {
        Some(above) => [above.as_bytes(), b"/", &name].concat(),
        None => name,
    };
    RelPath::parse(&whole).ok()
}

/// Whether a record that says it is a conflict copy is one: its dot follows from what it copies and its content, its
/// name carries the mark that follows from them, it is not gone, and has seen nothing.
pub(crate) fn is_true_copy(record: &Record) -> bool {
    let Some(copy_of) = record.copy_of else { return false };
    let (dot, hash) = copy_of.dot(&record.version.kind.content());
    record.dot == dot
        && record.origin == dot
        && record.seen.is_empty()
        && !record.version.kind.is_gone()
        && split_name(record.path.name()).mark == Some(mark(record.version.mtime, &hash).as_bytes())
}

/// ` (conflict 2026-11-22 14.03 k7qfz2)`: the UTC minute of the loser's mtime, and letters of the hash.
fn mark(mtime: Timestamp, hash: &[u8; 32]) -> String {
    let mut letters = base32(&hash[8..12]);
    letters.truncate(MARK_LETTERS);
    // Years that do not have four digits would change the width; they are shown as the nearest that has.
    const FIRST: i64 = -62_167_219_200; // 0000-01-01 00:00
    const LAST: i64 = 253_402_207_200; // 9999-12-30 22:00, the last that the calendar takes
    let time = jiff::Timestamp::from_second(mtime.seconds.clamp(FIRST, LAST)).unwrap_or_default();
    let minute = strtime::format("%Y-%m-%d %H.%M", time).unwrap_or_default();
    format!(" (conflict {minute} {letters})")
}

/// A name in its parts; together they are the name.
struct Name<'a> {
    stem: &'a [u8],
    /// The mark of a conflict copy, if the name is one's.
    mark: Option<&'a [u8]>,
    /// From the last dot on; empty for a name that begins with its only dot, or where what follows is too long to be
    /// an extension.
    extension: &'a [u8],
}

fn split_name(name: &[u8]) -> Name<'_> {
    let dot = name.iter().rposition(|&byte| byte == b'.');
    // The dot in the mark's time is none of an extension's.
    let at = match dot {
        Some(at) if at > 0 && name.len() - at <= COPY_EXTENSION_BYTES_MAX && !name.ends_with(b")") => at,
        _ => name.len(),
    };
    let (front, extension) = name.split_at(at);
    match front.len().checked_sub(MARK_BYTES) {
        Some(begins) if is_mark(&front[begins..]) => {
            Name { stem: &front[..begins], mark: Some(&front[begins..]), extension }
        }
        _ => Name { stem: front, mark: None, extension },
    }
}

fn is_mark(bytes: &[u8]) -> bool {
    const SHAPE: &[u8; MARK_BYTES] = b" (conflict 0000-00-00 00.00 aaaaaa)";
    bytes.iter().zip(SHAPE).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        b'a' => matches!(byte, b'a'..=b'z' | b'2'..=b'7'),
        _ => byte == shape,
    })
}

/// Beside the loser, with the mark before the extension and in the place of an older one; the stem is cut at a
/// character so that the name fits a disk. Where even the folder's path is too long, the nearest above that has room.
fn path_of_copy(loser: &RelPath, mark: &str) -> RelPath {
    let Name { stem, extension, .. } = split_name(loser.name());
    let stem = cut_at_character(stem, NAME_BYTES_MAX - MARK_BYTES - extension.len());
    let name = [stem, mark.as_bytes(), extension].concat();
    match loser.ancestors().find(|above| above.as_bytes().len() + 1 + name.len() <= PATH_BYTES_MAX) {
        Some(above) => parsed(&[above.as_bytes(), b"/", &name].concat()),
        None => parsed(&name),
    }
}

fn parsed(path: &[u8]) -> RelPath {
    #[expect(clippy::expect_used, reason = "a path's folder and a name with a mark in it, cut to fit")]
    RelPath::parse(path).expect("the path of a conflict copy")
}

fn cut_at_character(text: &[u8], bytes_max: usize) -> &[u8] {
    if text.len() <= bytes_max {
        return text;
    }
    match core::str::from_utf8(text) {
        Ok(text) => &text.as_bytes()[..text.floor_char_boundary(bytes_max)],
        Err(_) => &text[..bytes_max],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dot::Dot;
    use crate::id::Writer;
    use crate::record::{Kind, Mode, Version};

    fn loser(path: &[u8], minute: i64) -> Record {
        let dot = Dot::new(Writer::from_bytes([7; 8]), 3);
        let kind = Kind::Symlink { target: b"x".as_slice().into() };
        Record {
            path: RelPath::parse(path).unwrap(),
            version: Version::new(kind, Timestamp::new(minute * 60, 5).unwrap(), Mode::ZERO),
            dot,
            seen: Seen::default(),
            origin: dot,
            displaced: Box::default(),
            copy_of: None,
        }
    }

    // 2026-11-22 14:03 UTC
    const MINUTE: i64 = 29_922_603;

    #[test]
    fn the_name_says_when_and_is_never_marked_twice() {
        let copy = copy_of(&loser(b"notes/plan.txt", MINUTE));
        let name = String::from_utf8(copy.path.name().to_vec()).unwrap();
        let letters = &name[32..38];
        assert_eq!(name, format!("plan (conflict 2026-11-22 14.03 {letters}).txt"));
        assert_eq!(copy.path.parent(), Some(RelPath::parse(b"notes").unwrap()));
        assert!(is_true_copy(&copy));

        let again = copy_of(&copy);
        let name_again = String::from_utf8(again.path.name().to_vec()).unwrap();
        assert_eq!(
            (name_again.len(), &name_again[..28]),
            (name.len(), &name[..28]),
            "the mark took the other's place"
        );
        assert_ne!(again.path, copy.path);
        assert!(is_true_copy(&again));
    }

    #[test]
    fn a_copy_is_known_by_its_name() {
        for path in ["notes/plan.txt", "plan", "d/.bashrc", "a.tar.gz"] {
            let copy = copy_of(&loser(path.as_bytes(), MINUTE));
            assert_eq!(original(&copy.path), RelPath::parse(path.as_bytes()).ok());
            assert_eq!(original(&copy_of(&copy).path), RelPath::parse(path.as_bytes()).ok());
            assert_eq!(original(&loser(path.as_bytes(), MINUTE).path), None);
        }
        // A name that is nothing but a mark is of no path.
        let only = RelPath::parse(b" (conflict 2026-11-22 14.03 k7qfz2)").unwrap();
        assert_eq!(original(&only), None);
    }

    #[test]
    fn stems_and_extensions_are_what_people_take_for_them() {
        for (name, before, after) in [
            (&b"a.tar.gz"[..], &b"a.tar"[..], &b".gz"[..]),
            (b".bashrc", b".bashrc", b""),
            (b"no extension", b"no extension", b""),
            (
                b"x.and then a whole sentence that is no extension",
                b"x.and then a whole sentence that is no extension",
                b"",
            ),
            (b"a \xff.txt", b"a \xff", b".txt"),
        ] {
            let copy = copy_of(&loser(name, MINUTE));
            assert!(copy.path.name().starts_with(&[before, b" (conflict "].concat()), "{copy:?}");
            assert!(copy.path.name().ends_with(&[b")", after].concat()), "{copy:?}");
            assert!(is_true_copy(&copy));
        }
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let name = format!("{}.jpeg", "é".repeat(125));
        let copy = copy_of(&loser(name.as_bytes(), MINUTE));
        let text = core::str::from_utf8(copy.path.name()).unwrap();
        assert!((NAME_BYTES_MAX - 1..=NAME_BYTES_MAX).contains(&text.len()), "{}", text.len());
        assert!(text.ends_with(".jpeg"));
    }

    #[test]
    fn a_path_without_room_gives_the_copy_to_a_folder_above() {
        let folder = ["d"; 16].map(|name| name.repeat(250)).join("/");
        let path = format!("{folder}/{}", "n".repeat(PATH_BYTES_MAX - folder.len() - 1));
        assert_eq!(path.len(), PATH_BYTES_MAX);
        let copy = copy_of(&loser(path.as_bytes(), MINUTE));
        assert_eq!(copy.path.names().count(), 16, "one folder less than 16, and the name");
        assert!(is_true_copy(&copy));
    }

    #[test]
    fn times_without_a_four_digit_year_still_give_a_name() {
        for seconds in [i64::MIN, i64::MAX, -1] {
            let mut loser = loser(b"a", 0);
            loser.version.mtime = Timestamp::new(seconds, 0).unwrap();
            let copy = copy_of(&loser);
            assert!(is_true_copy(&copy), "{copy:?}");
        }
    }

    #[test]
    fn what_does_not_follow_from_a_loser_is_no_copy() {
        let copy = copy_of(&loser(b"a.txt", MINUTE));
        let other = Dot::new(Writer::from_bytes([9; 8]), 1);
        let renamed = RelPath::parse(b"a (conflict 2026-11-22 14.03 aaaaaa).txt").unwrap();
        let false_ones = [
            Record { dot: other, origin: other, ..copy.clone() },
            Record { path: renamed, ..copy.clone() },
            Record { path: RelPath::parse(b"b.txt").unwrap(), ..copy.clone() },
            Record { origin: other, ..copy.clone() },
            Record { copy_of: Some(CopyOf([1; 32])), ..copy.clone() },
            Record { seen: Seen::new(vec![other]).unwrap(), ..copy.clone() },
            loser(b"a.txt", MINUTE),
        ];
        for record in false_ones {
            assert!(!is_true_copy(&record), "{record:?}");
        }
    }
}
