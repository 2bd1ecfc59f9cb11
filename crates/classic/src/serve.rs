//! The serving end of one file request.
//!
//! Promise: a request is answered in the dialect in which it was asked, or refused without a byte; only names
//! on the [`Shelf`] are ever answered; a requester holds at most [`REQUEST_BYTES_MAX`] bytes and
//! [`REQUEST_WAIT`] of us before it has said what it wants. See `docs/classic-protocol.md` §7.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::fetch::SHOAL_MARK;
use crate::limits::{NAME_PREFIX_SILENCE, NAME_SILENCE, REQUEST_BYTES_MAX, REQUEST_WAIT};
use crate::name::FileName;
use crate::time::Time;

/// The files that are announced, and so may be asked for; with their mtimes in seconds.
pub type Shelf = BTreeMap<FileName, i64>;

/// How a request was decided.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Send this file.
    Answer {
        /// Which.
        name: FileName,
        /// How.
        style: Style,
    },
    /// Close in an orderly way, without a byte; the reason is for the log.
    Refuse(RefuseReason),
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// The bytes, then close.
    Classic,
    /// `Content-Length: N\n`, a pause, exactly N bytes, then close.
    FramedWithPause,
    /// The same without the pause: the requester is Shoal.
    Framed,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RefuseReason {
    /// It named nothing that is announced.
    #[error("asked for a file that is not announced")]
    Unknown,
    /// Too long for any name.
    #[error("sent more than {REQUEST_BYTES_MAX} bytes without naming a file")]
    TooLong,
    /// It did not finish in time, or closed without a name.
    #[error("did not name a file")]
    NoName,
}

/// The serving end of one request.
#[derive(Debug)]
pub struct Serve {
    buffer: Vec<u8>,
    began: Time,
    heard: Time,
    decision: Option<Decision>,
}

impl Serve {
    /// For a connection that was accepted just now.
    #[must_use]
    pub const fn new(now: Time) -> Self {
        Self { buffer: Vec::new(), began: now, heard: now, decision: None }
    }

    /// Bytes came.
    pub fn received(&mut self, bytes: &[u8], shelf: &Shelf, now: Time) {
        if self.decision.is_some() {
            return;
        }
        self.heard = now;
        let room = REQUEST_BYTES_MAX - self.buffer.len();
        self.buffer.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
            let line = &self.buffer[..end];
            let is_shoal = self.buffer[end + 1..].starts_with(SHOAL_MARK);
            let style = if is_shoal { Style::Framed } else { Style::FramedWithPause };
            self.decision = Some(decide(line.strip_suffix(b"\r").unwrap_or(line), style, shelf));
        } else if bytes.len() >= room {
            self.decision = Some(Decision::Refuse(RefuseReason::TooLong));
        }
    }

    /// The requester closed its side: what came is all there is.
    pub fn ended(&mut self, shelf: &Shelf) {
        if self.decision.is_none() {
            self.decision = Some(decide(&self.buffer, Style::Classic, shelf));
        }
    }

    /// A moment has come; to be called at [`poll_timeout`](Self::poll_timeout), and harmless at others.
    pub fn tick(&mut self, shelf: &Shelf, now: Time) {
        if self.decision.is_some() {
            return;
        }
        if now >= self.began + REQUEST_WAIT {
            self.decision = Some(Decision::Refuse(RefuseReason::NoName));
        } else if !self.buffer.is_empty() && now >= self.heard + NAME_SILENCE {
            // What came may be a name that was cut in two on the way.
            let may_grow = begins_a_name(&self.buffer, shelf) && now < self.heard + NAME_PREFIX_SILENCE;
            let decision = decide(&self.buffer, Style::Classic, shelf);
            if !may_grow || matches!(decision, Decision::Answer { .. }) {
                self.decision = Some(decision);
            }
        }
    }

    /// When to [`tick`](Self::tick) next; `None` once decided.
    #[must_use]
    pub fn poll_timeout(&self, now: Time) -> Option<Time> {
        if self.decision.is_some() {
            return None;
        }
        let end = self.began + REQUEST_WAIT;
        if self.buffer.is_empty() {
            return Some(end);
        }
        let silence = self.heard + NAME_SILENCE;
        Some(if now < silence { silence } else { self.heard + NAME_PREFIX_SILENCE }.min(end))
    }

    /// The decision, once it is made.
    #[must_use]
    pub const fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }
}

/// The header of a framed answer.
#[must_use]
pub fn header(length: u64) -> Vec<u8> {
    format!("Content-Length: {length}\n").into_bytes()
}

fn decide(request: &[u8], style: Style, shelf: &Shelf) -> Decision {
    if request.is_empty() {
        return Decision::Refuse(RefuseReason::NoName);
    }
    let found = str::from_utf8(request).ok().and_then(|text| find(text, shelf));
    match found {
        Some(name) => Decision::Answer { name, style },
        None => Decision::Refuse(RefuseReason::Unknown),
    }
}

/// The announced file that a request names: exactly, or in the JSON quotes that one client puts around it.
fn find(text: &str, shelf: &Shelf) -> Option<FileName> {
    if let Some((name, _)) = shelf.get_key_value(text) {
        return Some(name.clone());
    }
    let unquoted: String = text.starts_with('"').then(|| serde_json::from_str(text).ok()).flatten()?;
    shelf.get_key_value(unquoted.as_str()).map(|(name, _)| name.clone())
}

fn begins_a_name(bytes: &[u8], shelf: &Shelf) -> bool {
    // Quoted names are written with escapes, so their beginnings cannot be looked up.
    if bytes.starts_with(b"\"") {
        return true;
    }
    let whole = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    let next = shelf.range::<str, _>((Bound::Included(whole), Bound::Unbounded)).next();
    next.is_some_and(|(name, _)| name.as_str().as_bytes().starts_with(bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Time {
        Time::after_start(Duration::from_millis(millis))
    }

    fn shelf() -> Shelf {
        ["a", "ab", "\"q\"", "naïve name", "x"].map(|name| (FileName::parse(name).unwrap(), 1)).into()
    }

    fn answer(name: &str, style: Style) -> Decision {
        Decision::Answer { name: FileName::parse(name).unwrap(), style }
    }

    const UNKNOWN: Decision = Decision::Refuse(RefuseReason::Unknown);

    #[test]
    fn framed_requests_are_decided_at_their_newline() {
        let cases = [
            (b"a\n".as_slice(), answer("a", Style::FramedWithPause)),
            (b"a\r\n", answer("a", Style::FramedWithPause)),
            (b"a\nshoal\n", answer("a", Style::Framed)),
            (b"a\nb\nc", answer("a", Style::FramedWithPause)),
            ("naïve name\n".as_bytes(), answer("naïve name", Style::FramedWithPause)),
            (b"\"x\"\n", answer("x", Style::FramedWithPause)),
            (b"\"q\"\n", answer("\"q\"", Style::FramedWithPause)),
            (b"\"na\\u00efve name\"\n", answer("naïve name", Style::FramedWithPause)),
            // C1, C2, C4
            (b"\n", Decision::Refuse(RefuseReason::NoName)),
            (b"../x\n", UNKNOWN),
            (b"/abs\n", UNKNOWN),
            (b"a/b\n", UNKNOWN),
            (b".\n", UNKNOWN),
            (b"..\n", UNKNOWN),
            (b".shoal\n", UNKNOWN),
            (b"not here\n", UNKNOWN),
            (b"a\0\n", UNKNOWN),
            (b"\xff\n", UNKNOWN),
        ];
        for (request, expected) in cases {
            let mut serve = Serve::new(at(0));
            serve.received(request, &shelf(), at(1));
            assert_eq!(serve.decision(), Some(&expected), "{}", request.escape_ascii());
        }
    }

    #[test]
    fn classic_requests_are_decided_by_silence_or_a_half_close() {
        let mut silent = Serve::new(at(0));
        silent.received(b"x", &shelf(), at(10));
        assert_eq!(silent.poll_timeout(at(10)), Some(at(110)));
        silent.tick(&shelf(), at(109));
        assert_eq!(silent.decision(), None);
        silent.tick(&shelf(), at(110));
        assert_eq!(silent.decision(), Some(&answer("x", Style::Classic)));

        let mut closed = Serve::new(at(0));
        closed.received(b"ab", &shelf(), at(10));
        closed.ended(&shelf());
        assert_eq!(closed.decision(), Some(&answer("ab", Style::Classic)));
    }

    #[test]
    fn a_name_cut_in_two_on_the_way_gets_its_second_half() {
        let mut cut = Serve::new(at(0));
        cut.received(b"na\xc3", &shelf(), at(0));
        cut.tick(&shelf(), at(100));
        assert_eq!((cut.decision(), cut.poll_timeout(at(100))), (None, Some(at(500))));
        cut.received(b"\xafve name", &shelf(), at(300));
        cut.tick(&shelf(), at(400));
        assert_eq!(cut.decision(), Some(&answer("naïve name", Style::Classic)));

        let mut stuck = Serve::new(at(0));
        stuck.received(b"nai", &shelf(), at(0));
        stuck.tick(&shelf(), at(100));
        assert_eq!(stuck.decision(), Some(&UNKNOWN), "no name begins like that");
    }

    #[test]
    fn c4_long_silent_and_empty_requests_are_refused() {
        let mut long = Serve::new(at(0));
        for _ in 0..2 {
            long.received(&vec![b'x'; 1 << 20], &shelf(), at(0));
        }
        assert_eq!(long.decision(), Some(&Decision::Refuse(RefuseReason::TooLong)));
        assert!(long.buffer.len() <= REQUEST_BYTES_MAX);

        let mut silent = Serve::new(at(0));
        assert_eq!(silent.poll_timeout(at(0)), Some(at(10_000)));
        silent.tick(&shelf(), at(10_000));
        assert_eq!(silent.decision(), Some(&Decision::Refuse(RefuseReason::NoName)));

        let mut empty = Serve::new(at(0));
        empty.ended(&shelf());
        assert_eq!(empty.decision(), Some(&Decision::Refuse(RefuseReason::NoName)));
    }

    #[test]
    fn the_header_is_as_the_framed_dialect_has_it() {
        assert_eq!(header(12), b"Content-Length: 12\n");
    }

    proptest! {
        #[test]
        fn any_cutting_of_a_request_gives_the_same_answer(
            request in proptest::sample::select(vec!["a\n", "naïve name\n", "\"x\"\n", "ab", "nothing", "\"naïve name\""]),
            cuts in proptest::collection::vec(0usize..20, 0..5),
        ) {
            let decided = |pieces: &[&[u8]]| {
                let mut serve = Serve::new(at(0));
                for piece in pieces {
                    serve.received(piece, &shelf(), at(0));
                }
                serve.ended(&shelf());
                serve.decision().cloned()
            };
            let bytes = request.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decided(&pieces), decided(&[bytes]));
        }
    }
}
