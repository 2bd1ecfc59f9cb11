//! Finds messages in a stream of bytes, in both dialects, however the stream was cut.
//!
//! Promise: the same bytes give the same tokens, whether they come in one segment or one by one; what is
//! buffered is bounded by the cap; the work is linear. This only finds where a JSON object ends (brackets
//! and strings, nothing else); whether it *is* one, the JSON parser decides in [`crate::message`].

use crate::limits::MESSAGE_DEPTH_MAX;

/// What a stream of messages consists of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Token<'a> {
    /// One JSON object, from its first bracket to its last.
    Object(&'a [u8]),
    /// The line that an object stood in has ended: its sender is framed.
    LineEnd {
        /// Whether a TAB stood before the newline, the mark of a Shoal peer that lists no files.
        marked: bool,
    },
}

/// Why a stream holds no message, and never will.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FramingError {
    /// Something that is no JSON object.
    #[error("not a JSON object: it begins with byte 0x{0:02x}")]
    NotAnObject(u8),
    /// Nested too deep.
    #[error("nested deeper than {MESSAGE_DEPTH_MAX} levels")]
    TooDeep,
    /// Longer than the cap.
    #[error("longer than {0} bytes")]
    TooLong(usize),
}

/// Cuts a stream into [`Token`]s.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    /// How much of the buffer has been given out or skipped.
    taken: usize,
    /// How much of the buffer has been looked at; never before `taken`.
    seen: usize,
    cap: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// Before an object; on a line that no object stood in.
    Before,
    /// Behind an object, on its line.
    Behind { tab: bool },
    /// Inside an object, outside strings.
    Inside { depth: u32, line_broken: bool },
    /// Inside a string of an object.
    InString { depth: u32, escaped: bool },
}

/// An idle connection keeps no more than this of its buffer.
const IDLE_BUFFER_BYTES: usize = 1_024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Framer {
    /// A framer that refuses objects of more than `cap` bytes.
    #[must_use]
    pub const fn new(cap: usize) -> Self {
        Self { buffer: Vec::new(), taken: 0, seen: 0, cap, place: Place::Before }
    }

    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.seen -= self.taken;
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next token, if it is complete. To be called until it gives `None`.
    ///
    /// # Errors
    /// When the stream cannot be a stream of messages; nothing more is to be had from it.
    pub fn next_token(&mut self) -> Result<Option<Token<'_>>, FramingError> {
        while let Some(&byte) = self.buffer.get(self.seen) {
            match self.place {
                Place::Before | Place::Behind { .. } => {
                    if self.skip_mark() {
                        continue;
                    }
                    if self.between(byte)? {
                        let marked = matches!(self.place, Place::Behind { tab: true });
                        let behind = matches!(self.place, Place::Behind { .. });
                        self.place = Place::Before;
                        if behind {
                            self.release();
                            return Ok(Some(Token::LineEnd { marked }));
                        }
                    } else if self.is_cut_mark() {
                        return Ok(None);
                    }
                }
                Place::Inside { depth, line_broken } => {
                    self.seen += 1;
                    if self.inside(byte, depth, line_broken)? {
                        let object = self.taken..self.seen;
                        self.taken = self.seen;
                        self.place = Place::Behind { tab: false };
                        return Ok(Some(Token::Object(&self.buffer[object])));
                    }
                }
                Place::InString { depth, escaped } => self.scan_string(depth, escaped),
            }
            if self.seen - self.taken > self.cap {
                return Err(FramingError::TooLong(self.cap));
            }
        }
        self.release();
        Ok(None)
    }

    /// Whether an object has begun and not ended.
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        matches!(self.place, Place::Inside { .. } | Place::InString { .. })
    }

    /// Whether a newline stood inside the object that has begun: perhaps a truncated line.
    #[must_use]
    pub const fn is_line_broken(&self) -> bool {
        matches!(self.place, Place::Inside { line_broken: true, .. })
    }

    /// Bytes of memory that this holds, for budgets over many connections.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// One byte between objects; true at the end of a line.
    fn between(&mut self, byte: u8) -> Result<bool, FramingError> {
        match byte {
            b'{' => {
                self.place = Place::Inside { depth: 1, line_broken: false };
                self.taken = self.seen;
                self.seen += 1;
                return Ok(false);
            }
            b'\t' => {
                if let Place::Behind { tab } = &mut self.place {
                    *tab = true;
                }
            }
            b'\n' | b'\r' | b' ' => {}
            other if BYTE_ORDER_MARK.starts_with(&[other]) && self.is_cut_mark() => return Ok(false),
            other => return Err(FramingError::NotAnObject(other)),
        }
        self.seen += 1;
        self.taken = self.seen;
        Ok(byte == b'\n')
    }

    /// Skips a byte order mark between objects (`B1`).
    fn skip_mark(&mut self) -> bool {
        let found = self.buffer[self.seen..].starts_with(BYTE_ORDER_MARK);
        if found {
            self.seen += BYTE_ORDER_MARK.len();
            self.taken = self.seen;
        }
        found
    }

    /// Whether the buffer ends within what may become a byte order mark.
    fn is_cut_mark(&self) -> bool {
        let rest = &self.buffer[self.seen..];
        !rest.is_empty() && rest.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(rest)
    }

    /// One byte inside an object and outside strings; true when it closed the object.
    fn inside(&mut self, byte: u8, depth: u32, line_broken: bool) -> Result<bool, FramingError> {
        self.place = match byte {
            b'"' => Place::InString { depth, escaped: false },
            b'{' | b'[' if depth == MESSAGE_DEPTH_MAX => return Err(FramingError::TooDeep),
            b'{' | b'[' => Place::Inside { depth: depth + 1, line_broken },
            b'}' | b']' if depth == 1 => return Ok(true),
            b'}' | b']' => Place::Inside { depth: depth - 1, line_broken },
            b'\n' => Place::Inside { depth, line_broken: true },
            _ => Place::Inside { depth, line_broken },
        };
        Ok(false)
    }

    /// Runs through a string as far as it is here.
    fn scan_string(&mut self, depth: u32, mut escaped: bool) {
        let rest = &self.buffer[self.seen..];
        for (offset, &byte) in rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    self.seen += offset + 1;
                    self.place = Place::Inside { depth, line_broken: false };
                    return;
                }
                _ => {}
            }
        }
        self.seen += rest.len();
        self.place = Place::InString { depth, escaped };
    }

    /// Gives memory back once nothing is waiting in it.
    fn release(&mut self) {
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(IDLE_BUFFER_BYTES);
            self.taken = 0;
            self.seen = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAP: usize = 1 << 16;

    /// The tokens of a stream cut into the given pieces, as text; the last is the error if there was one.
    fn tokens<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut framer = Framer::new(CAP);
        let mut found = Vec::new();
        for piece in pieces {
            framer.push(piece);
            loop {
                match framer.next_token() {
                    Ok(None) => break,
                    Ok(Some(Token::Object(bytes))) => found.push(String::from_utf8_lossy(bytes).into_owned()),
                    Ok(Some(Token::LineEnd { marked })) => {
                        found.push(if marked { "TAB" } else { "NL" }.into());
                    }
                    Err(error) => {
                        found.push(error.to_string());
                        return found;
                    }
                }
            }
        }
        found
    }

    #[test]
    fn b1_b4_objects_with_and_without_lines() {
        let cases: &[(&[u8], &[&str])] = &[
            (b"{}", &["{}"]),
            (b"{}\n", &["{}", "NL"]),
            (b"{} \t\n", &["{}", "TAB"]),
            (b"{}\r\n", &["{}", "NL"]),
            (b"\n\r\n{}\n\n", &["{}", "NL"]),
            (b"\xef\xbb\xbf{}\n", &["{}", "NL"]),
            (b"{}{}", &["{}", "{}"]),
            (b"{}\n{}\n", &["{}", "NL", "{}", "NL"]),
            (b"{\"a\": \"}\\\"]\"}", &["{\"a\": \"}\\\"]\"}"]),
            (b"{\"a\": [{\n}]}\n", &["{\"a\": [{\n}]}", "NL"]),
            (b"[]", &["not a JSON object: it begins with byte 0x5b"]),
            (b"null", &["not a JSON object: it begins with byte 0x6e"]),
            (b"3\n", &["not a JSON object: it begins with byte 0x33"]),
            (b"GET / HTTP/1.1\r\n", &["not a JSON object: it begins with byte 0x47"]),
            (b"{}\xef\xbb{", &["{}", "not a JSON object: it begins with byte 0xef"]),
        ];
        for (stream, expected) in cases {
            assert_eq!(tokens([*stream]), *expected, "{}", stream.escape_ascii());
            let single: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(tokens(single), *expected, "byte by byte: {}", stream.escape_ascii());
        }
    }

    #[test]
    fn b5_b6_caps_on_length_and_depth() {
        let long = [b"{\"a\": \"".as_slice(), &vec![b'x'; CAP]].concat();
        assert_eq!(tokens([long.as_slice()]), [format!("longer than {CAP} bytes")]);
        let deep = vec![b"{\"a\":".as_slice(); 1000].concat();
        assert_eq!(tokens([deep.as_slice()]), ["nested deeper than 128 levels"]);
    }

    #[test]
    fn memory_is_given_back_after_a_large_message() {
        let mut framer = Framer::new(CAP);
        let large = [b"{\"a\": \"".as_slice(), &vec![b'x'; CAP - 100], b"\"}\n"].concat();
        framer.push(&large);
        assert!(matches!(framer.next_token(), Ok(Some(Token::Object(_)))));
        assert_eq!(framer.next_token(), Ok(Some(Token::LineEnd { marked: false })));
        assert!(framer.buffered_bytes() <= IDLE_BUFFER_BYTES);
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_tokens(
            stream in proptest::collection::vec(
                prop_oneof![
                    Just("{\"port\": 1}".to_owned()), Just("\n".into()), Just("\r\n".into()), Just("\t".into()),
                    Just("{\"files\": [{\"name\": \"\\u00e9}\\\\\"}]}".into()), Just("\u{feff}".into()),
                    Just("{\n\"é\": 1}".into()), Just("x".into()), Just(" ".into()),
                ], 0..8),
            cuts in proptest::collection::vec(0usize..200, 0..6),
        ) {
            let stream = stream.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
            prop_assert_eq!(tokens(pieces), tokens([stream.as_slice()]));
        }
    }
}
