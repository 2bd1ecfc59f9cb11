//! Paths inside a share.
//!
//! Promise: a [`RelPath`] can be handed to the disk without another look: it never leads out of the share, never into
//! our own `.shoal`, and is never longer than a disk could hold. It is parsed in one place, and can fail there.

use crate::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX};

/// The name that Shoal keeps for itself, at any depth and in any spelling that some disk takes for the same.
pub const RESERVED_NAME: &str = ".shoal";

/// A path inside a share: bytes as on disk, `/` between names, not empty, never absolute, no `.` or `..`, no NUL.
///
/// Names are bytes, not text: what is not UTF-8 survives. Shown lossily, with control and direction-changing
/// characters escaped, so that a name cannot write to a terminal.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct RelPath(Box<[u8]>);

/// Why bytes are no path inside a share. Says what is wrong, not of which path: the bytes may be hostile.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RelPathError {
    /// No bytes.
    #[error("a path is empty")]
    Empty,
    /// Longer than [`PATH_BYTES_MAX`].
    #[error("a path of {0} bytes; at most {PATH_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// A name longer than [`NAME_BYTES_MAX`].
    #[error("a name of {0} bytes; at most {NAME_BYTES_MAX} are allowed")]
    NameTooLong(usize),
    /// More than [`PATH_DEPTH_MAX`] names.
    #[error("a path of more than {PATH_DEPTH_MAX} names")]
    TooDeep,
    /// Begins with `/`.
    #[error("a path that begins with a slash")]
    Absolute,
    /// Two slashes in a row, or one at the end.
    #[error("a path with an empty name in it")]
    EmptyName,
    /// `.` or `..`.
    #[error("a path with '.' or '..' in it")]
    Dots,
    /// A byte of value zero.
    #[error("a path with a zero byte in it")]
    Nul,
    /// [`RESERVED_NAME`], in some spelling.
    #[error("a path with the name '{RESERVED_NAME}', which Shoal keeps for itself")]
    Reserved,
}

impl RelPath {
    /// The path with these bytes.
    ///
    /// # Errors
    /// When they are no path inside a share.
    pub fn parse(bytes: &[u8]) -> Result<Self, RelPathError> {
        if bytes.is_empty() {
            return Err(RelPathError::Empty);
        }
        if bytes.len() > PATH_BYTES_MAX {
            return Err(RelPathError::TooLong(bytes.len()));
        }
        if bytes[0] == b'/' {
            return Err(RelPathError::Absolute);
        }
        if bytes.contains(&0) {
            return Err(RelPathError::Nul);
        }
        for (depth, name) in bytes.split(|&byte| byte == b'/').enumerate() {
            if depth == PATH_DEPTH_MAX {
                return Err(RelPathError::TooDeep);
            }
            match name {
                b"" => return Err(RelPathError::EmptyName),
                b"." | b".." => return Err(RelPathError::Dots),
                _ if name.len() > NAME_BYTES_MAX => return Err(RelPathError::NameTooLong(name.len())),
                _ if is_reserved(name) => return Err(RelPathError::Reserved),
                _ => {}
            }
        }
        Ok(Self(bytes.into()))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The names in it, from the share's root downwards.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/')
    }

    /// The last name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.0[self.name_begins()..]
    }

    /// The folder that it is in; `None` in the share's root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let begins = self.name_begins();
        (begins > 0).then(|| Self(self.0[..begins - 1].into()))
    }

    /// The folders that it is in, the nearest first, without the share's root.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + use<> {
        core::iter::successors(self.parent(), Self::parent)
    }

    /// Whether it is somewhere below `folder`.
    #[must_use]
    pub fn is_below(&self, folder: &Self) -> bool {
        self.0.strip_prefix(&*folder.0).is_some_and(|rest| rest.first() == Some(&b'/'))
    }

    fn name_begins(&self) -> usize {
        self.0.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1)
    }
}

impl core::fmt::Display for RelPath {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        use core::fmt::Write;
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                if letter.is_control() || is_invisible(letter) {
                    write!(out, "{}", letter.escape_unicode())?;
                } else {
                    out.write_char(letter)?;
                }
            }
            for byte in chunk.invalid() {
                write!(out, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl core::fmt::Debug for RelPath {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "'{self}'")
    }
}

/// Whether some disk takes this name for [`RESERVED_NAME`]: in another case (also by the one letter beyond ASCII that
/// folds into it), with dots and spaces after it, which vfat and SMB cut off, or with characters in it that HFS+ and
/// folders without case do not see.
fn is_reserved(name: &[u8]) -> bool {
    // So much for nearly all names: what no disk sees is not ASCII.
    if name.first().is_some_and(|first| first.is_ascii() && *first != b'.') {
        return false;
    }
    let Ok(name) = core::str::from_utf8(name) else { return false };
    let mut folded = name.chars().filter(|&letter| !is_ignorable(letter)).map(|letter| match letter {
        'ſ' => 's',
        _ => letter.to_ascii_lowercase(),
    });
    RESERVED_NAME.chars().all(|letter| folded.next() == Some(letter))
        && folded.all(|letter| matches!(letter, '.' | ' '))
}

/// Unicode's `Default_Ignorable_Code_Point`: what has no shape of its own.
fn is_ignorable(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Characters without a shape that join, separate or turn the direction of others. (Not all that is ignorable: what
/// chooses the look of a letter before it is fine to show.)
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_into_names() {
        let path = RelPath::parse(b"a/b c/d.txt").unwrap();
        assert_eq!(path.names().collect::<Vec<_>>(), [&b"a"[..], b"b c", b"d.txt"]);
        assert_eq!((path.name(), path.parent()), (&b"d.txt"[..], Some(RelPath::parse(b"a/b c").unwrap())));
        assert_eq!(RelPath::parse(b"a").unwrap().parent(), None);
        assert!(path.ancestors().eq([&b"a/b c"[..], b"a"].map(|folder| RelPath::parse(folder).unwrap())));
        assert!(path.is_below(&RelPath::parse(b"a").unwrap()));
        assert!(
            !path.is_below(&path) && !RelPath::parse(b"ab").unwrap().is_below(&RelPath::parse(b"a").unwrap())
        );
    }

    #[test]
    fn d9_what_is_no_path_in_a_share_is_refused() {
        let long = vec![b'a'; NAME_BYTES_MAX + 1];
        let deep = ["a"; PATH_DEPTH_MAX + 1].join("/");
        let table: &[(&[u8], RelPathError)] = &[
            (b"", RelPathError::Empty),
            (b"/a", RelPathError::Absolute),
            (b"a//b", RelPathError::EmptyName),
            (b"a/", RelPathError::EmptyName),
            (b"a/./b", RelPathError::Dots),
            (b"..", RelPathError::Dots),
            (b"a/../../b", RelPathError::Dots),
            (b"a\0b", RelPathError::Nul),
            (&long, RelPathError::NameTooLong(NAME_BYTES_MAX + 1)),
            (deep.as_bytes(), RelPathError::TooDeep),
            (b".shoal", RelPathError::Reserved),
            (b"a/.Shoal/b", RelPathError::Reserved),
            ("a/.ſhoal".as_bytes(), RelPathError::Reserved),
            ("a/.sho\u{200c}al".as_bytes(), RelPathError::Reserved),
        ];
        for (bytes, error) in table {
            assert_eq!(RelPath::parse(bytes), Err(*error), "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(RelPath::parse(&vec![b'a'; 5000]), Err(RelPathError::TooLong(5000)));
        for fine in
            [&b"a"[..], b"...", b".shoalignore", b"\xff\xfe", b"a\nb", &deep.as_bytes()[2..], &long[1..]]
        {
            assert!(RelPath::parse(fine).is_ok(), "{}", String::from_utf8_lossy(fine));
        }
    }

    /// Where a disk takes another spelling for the reserved name, others would write into it.
    #[test]
    fn d9_the_reserved_name_is_refused_in_every_spelling() {
        let ends = [
            0xad, 0x34f, 0x61c, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x180b, 0x180f, 0x200b, 0x200f, 0x202a,
            0x202e, 0x2060, 0x206f, 0x3164, 0xfe00, 0xfe0f, 0xfeff, 0xffa0, 0xfff0, 0xfff8, 0x1bca0, 0x1bca3,
            0x1d173, 0x1d17a, 0xe0000, 0xe0fff,
        ];
        let with = ends.map(|code| char::from_u32(code).unwrap());
        let inside = with.map(|unseen| format!(".sho{unseen}al"));
        let after = with.map(|unseen| format!(".SHOAL{unseen}. "));
        let cut_off = [".shoal.", ".shoal ", ".Shoal .. .", ".ſhoal.\u{200b}."].map(String::from);
        for name in inside.into_iter().chain(after).chain(cut_off) {
            let path = format!("a/{name}/history/1");
            assert_eq!(RelPath::parse(path.as_bytes()), Err(RelPathError::Reserved), "{path:?}");
        }
        for fine in [".shoal.x", ". shoal", ".shoal\u{a0}", "shoal", ".shoa", "..shoal", ".sho\u{2070}al"] {
            assert!(RelPath::parse(fine.as_bytes()).is_ok(), "{fine:?}");
        }
        assert_eq!(RelPath::parse("\u{2764}\u{fe0f}".as_bytes()).unwrap().to_string(), "\u{2764}\u{fe0f}");
    }

    #[test]
    fn what_is_shown_cannot_write_to_a_terminal() {
        let path = RelPath::parse("a\u{1b}[2J\n\u{202e}é".as_bytes()).unwrap();
        assert_eq!(path.to_string(), "a\\u{1b}[2J\\u{a}\\u{202e}é");
        assert_eq!(RelPath::parse(b"a\xffb").unwrap().to_string(), "a\\xffb");
    }
}
