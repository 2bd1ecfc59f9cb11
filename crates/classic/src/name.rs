//! File names of the course protocol, parsed once and trusted afterwards.
//!
//! Promise: a [`FileName`] is a plain name of one file in one flat folder. It cannot lead out of the
//! folder, cannot be our own state, and can be sent as one line.

use core::fmt;
use std::sync::Arc;

use crate::limits::NAME_BYTES_MAX;

/// The folder inside a synchronized folder that holds our own state; reserved in any letter case.
pub const STATE_FOLDER: &str = ".shoal";

/// Endings that the assignment's programs do not announce.
pub const SKIPPED_ENDINGS: [&str; 3] = [".py", ".so", ".dll"];

/// The name of one plain file in one flat folder; cheap to clone.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct FileName(Arc<str>);

/// Why a text is not a file name that we accept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("the name is empty")]
    Empty,
    /// Longer than file systems take.
    #[error("the name is longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// `.`, `..`, a separator, or a drive letter.
    #[error("the name is a path, not a plain file name")]
    Path,
    /// NUL, newline or carriage return, which the protocol cannot carry, or a first byte that starts TLS.
    #[error("the name has a control character that cannot be sent")]
    Control,
    /// `.shoal`, where our own state lives.
    #[error("the name is reserved for Shoal's own state")]
    Reserved,
}

impl FileName {
    /// Takes a text as a file name.
    ///
    /// # Errors
    /// When it is not the plain name of one file, or cannot be sent on the classic wire.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the assignment's skip list keeps this name from being announced.
    #[must_use]
    pub fn is_skipped(&self) -> bool {
        SKIPPED_ENDINGS.iter().any(|ending| self.0.ends_with(ending))
    }
}

impl core::borrow::Borrow<str> for FileName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Shown for people: everything that could disturb a terminal is escaped.
impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

/// Shows a text from the wire without letting it act on a terminal or a log (`B16`): control characters,
/// bidirectional overrides and invisible marks appear as `\u{…}`, and no more than 300 characters of it.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use core::fmt::Write as _;
        for (count, c) in self.0.chars().enumerate() {
            if count == ESCAPED_CHARS_MAX {
                return f.write_char('…');
            }
            if c.is_control() || is_invisible(c) {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

const ESCAPED_CHARS_MAX: usize = 300;

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}

fn check(text: &str) -> Result<(), NameError> {
    let bytes = text.as_bytes();
    let [first, ..] = bytes else { return Err(NameError::Empty) };
    if bytes.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if text == "." || text == ".." || bytes.iter().any(|b| matches!(b, b'/' | b'\\')) || has_drive(bytes) {
        return Err(NameError::Path);
    }
    // 0x16 begins a TLS ClientHello: a request for such a name would be taken for a native connection.
    if *first == 0x16 || bytes.iter().any(|b| matches!(b, 0 | b'\n' | b'\r')) {
        return Err(NameError::Control);
    }
    if text.eq_ignore_ascii_case(STATE_FOLDER) {
        return Err(NameError::Reserved);
    }
    Ok(())
}

/// `C:x` names a file on another drive where drives exist (`B15`); a colon elsewhere is an ordinary
/// character (`B18`), and so is one after a small letter, since drives are written large.
fn has_drive(bytes: &[u8]) -> bool {
    matches!(bytes, [b'A'..=b'Z', b':', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b15_b16_b17_b18_b20_names() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let cases: &[(&str, Result<(), NameError>)] = &[
            ("", Err(NameError::Empty)),
            (".", Err(NameError::Path)),
            ("..", Err(NameError::Path)),
            ("../x", Err(NameError::Path)),
            ("a/../../x", Err(NameError::Path)),
            ("/abs", Err(NameError::Path)),
            ("a/b", Err(NameError::Path)),
            ("a\\b", Err(NameError::Path)),
            ("C:x", Err(NameError::Path)),
            ("C:\\x", Err(NameError::Path)),
            ("\\\\host\\share", Err(NameError::Path)),
            ("a\0b", Err(NameError::Control)),
            ("a\nb", Err(NameError::Control)),
            ("a\rb", Err(NameError::Control)),
            ("\u{16}hello", Err(NameError::Control)),
            (&long, Err(NameError::TooLong)),
            (".shoal", Err(NameError::Reserved)),
            (".SHOAL", Err(NameError::Reserved)),
            (&long[1..], Ok(())),
            ("a\tb", Ok(())),
            ("\u{1b}[2J", Ok(())),
            ("a\u{202e}b", Ok(())),
            ("...", Ok(())),
            ("CON", Ok(())),
            ("a.", Ok(())),
            ("x:y", Ok(())),
            ("fileSynchronizer.py", Ok(())),
        ];
        for (text, expected) in cases {
            assert_eq!(FileName::parse(text).map(|_| ()), *expected, "{text:?}");
        }
    }

    #[test]
    fn what_could_act_on_a_terminal_is_escaped() {
        let shown = Escaped("a\u{1b}[2J\u{9b}\u{202e}\u{200c}é").to_string();
        assert_eq!(shown, "a\\u{1b}[2J\\u{9b}\\u{202e}\\u{200c}é");
        assert_eq!(Escaped(&"x".repeat(1000)).to_string().chars().count(), ESCAPED_CHARS_MAX + 1);
    }

    #[test]
    fn the_skip_list_is_by_ending() {
        for (name, skipped) in
            [("a.py", true), ("b.so", true), ("c.dll", true), ("py", false), ("a.pyc", false)]
        {
            assert_eq!(FileName::parse(name).unwrap().is_skipped(), skipped, "{name}");
        }
    }
}
