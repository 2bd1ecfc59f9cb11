//! The name of one file in one folder.
//!
//! Promise: a [`Name`] that exists cannot lead out of its folder (I10, I11): it is a single component of a path, and
//! every function of this crate that touches a file takes a `&Name` and a directory handle, never a path. Whether a
//! name is portable, ignored or fit for a wire is for others to say.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use crate::escape::Escaped;

/// Longest name that Linux file systems store, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// The folder in which we keep our own state; reserved in any letter case.
pub const STATE_NAME: &str = ".shoal";

/// One component of a path: bytes as on disk, 1 to 255 of them, no `/`, no NUL, neither `.` nor `..`.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Name(Box<[u8]>);

/// Why some bytes are not the name of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// No bytes at all.
    #[error("a file name cannot be empty")]
    Empty,
    /// More bytes than a file system stores.
    #[error("a file name has at most {NAME_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// `.` or `..`.
    #[error("`.` and `..` are not names of files")]
    Dots,
    /// A separator: this would be a path.
    #[error("a file name cannot contain `/`")]
    Separator,
    /// The byte that ends a name for the system.
    #[error("a file name cannot contain the byte NUL")]
    Nul,
}

impl Name {
    /// Takes bytes for a name, or says what is wrong with them.
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self, NameError> {
        let bytes = bytes.as_ref();
        match bytes {
            b"" => Err(NameError::Empty),
            b"." | b".." => Err(NameError::Dots),
            _ if bytes.len() > NAME_BYTES_MAX => Err(NameError::TooLong(bytes.len())),
            _ if bytes.contains(&b'/') => Err(NameError::Separator),
            _ if bytes.contains(&0) => Err(NameError::Nul),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// The bytes as they are on disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as text, if it is UTF-8.
    pub fn to_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Whether this is the name of our own state folder, which is never listed, served, fetched or replaced.
    pub fn is_reserved(&self) -> bool {
        self.0.eq_ignore_ascii_case(STATE_NAME.as_bytes())
    }

    /// The name as the system calls want it.
    pub(crate) fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }
}

impl fmt::Display for Name {
    /// Escaped: one line, no control characters; see [`Escaped`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_any_single_component() {
        let longest = "\u{1f600}".repeat(63) + "abc";
        let names: [&[u8]; 8] =
            [b"a", b"...", b".hidden", b" ", b"-rf", b"a\\b:c\n", b"caf\xe9", longest.as_bytes()];
        for name in names {
            assert_eq!(Name::parse(name).unwrap().as_bytes(), name);
        }
    }

    #[test]
    fn refuses_whatever_could_lead_elsewhere() {
        let cases: [(&[u8], NameError); 10] = [
            (b"", NameError::Empty),
            (b".", NameError::Dots),
            (b"..", NameError::Dots),
            (b"../x", NameError::Separator),
            (b"/abs", NameError::Separator),
            (b"a/b", NameError::Separator),
            (b"a/", NameError::Separator),
            (b"/", NameError::Separator),
            (b"a\0b", NameError::Nul),
            (&[b'x'; 256], NameError::TooLong(256)),
        ];
        for (bytes, error) in cases {
            assert_eq!(Name::parse(bytes), Err(error));
        }
    }

    #[test]
    fn our_own_state_is_reserved_in_any_letter_case() {
        for name in [".shoal", ".SHOAL", ".Shoal"] {
            assert!(Name::parse(name).unwrap().is_reserved());
        }
        for name in ["shoal", ".shoal2", ".shoa", ".shoal "] {
            assert!(!Name::parse(name).unwrap().is_reserved());
        }
    }

    #[test]
    fn is_shown_escaped() {
        assert_eq!(Name::parse("a\u{1b}[2Jb").unwrap().to_string(), "a\\x1b[2Jb");
        assert_eq!(format!("{:?}", Name::parse("plan.txt").unwrap()), "`plan.txt`");
    }
}
