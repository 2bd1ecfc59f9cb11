//! Bytes as text that a person, a terminal and a line of a file can bear.
//!
//! Promise: the text is one line of printable characters; nothing in it moves a cursor, turns the reading direction
//! or hides; and [`unescape`] gives back exactly the bytes. So the same form serves messages and our own tables.

use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes shown escaped: well-formed, visible UTF-8 stands as it is, a backslash is doubled, any other byte is `\xNN`.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in self.0.utf8_chunks() {
            for character in piece.valid().chars() {
                match character {
                    '\\' => f.write_str("\\\\")?,
                    hidden if hides(hidden) => write_bytes(f, hidden.encode_utf8(&mut [0; 4]).as_bytes())?,
                    visible => f.write_char(visible)?,
                }
            }
            write_bytes(f, piece.invalid())?;
        }
        Ok(())
    }
}

/// A path of this machine, shown escaped.
pub(crate) fn shown(path: &Path) -> Escaped<'_> {
    Escaped(path.as_os_str().as_bytes())
}

/// The bytes behind an escaped text; `None` if it was not written by [`Escaped`].
pub(crate) fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return Some(bytes),
            [b'\\', b'\\', rest @ ..] => {
                bytes.push(b'\\');
                rest
            }
            [b'\\', b'x', high, low, rest @ ..] => {
                bytes.push(hex(*high)? << 4 | hex(*low)?);
                rest
            }
            [b'\\', ..] => return None,
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        };
    }
}

fn write_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Characters that act on a terminal or cannot be seen: controls, line separators, marks of direction, zero widths.
fn hides(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_one_harmless_line_and_loses_nothing() {
        let cases: [(&[u8], &str); 9] = [
            (b"notes.txt", "notes.txt"),
            ("sch\u{f6}n \u{1f600}".as_bytes(), "sch\u{f6}n \u{1f600}"),
            (b"a\\b", "a\\\\b"),
            (b"a\nb\tc", "a\\x0ab\\x09c"),
            (b"\x1b[31mred", "\\x1b[31mred"),
            ("gpj\u{202e}exe".as_bytes(), "gpj\\xe2\\x80\\xaeexe"),
            ("a\u{200c}b".as_bytes(), "a\\xe2\\x80\\x8cb"),
            (b"caf\xe9", "caf\\xe9"),
            (b"\xc2\x9b\xff", "\\xc2\\x9b\\xff"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Escaped(bytes).to_string(), text);
            assert_eq!(unescape(text.as_bytes()).as_deref(), Some(bytes));
        }
        for byte in 0..=255_u8 {
            let text = Escaped(&[byte]).to_string();
            assert_eq!(unescape(text.as_bytes()), Some(vec![byte]));
        }
    }

    #[test]
    fn refuses_what_it_never_writes() {
        for text in ["\\", "\\x", "\\x1", "\\xZZ", "\\xAB", "\\n"] {
            assert_eq!(unescape(text.as_bytes()), None, "{text}");
        }
    }
}
