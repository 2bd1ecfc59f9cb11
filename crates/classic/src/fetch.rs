//! The fetching end of one file request.
//!
//! Promise: whatever a source sends, in whatever pieces, the outcome is a whole answer, or a reason; what is
//! held is at most one header line, and no answer takes for ever. The bytes of the file never pass through
//! here: [`Fetch::received`] says which part of what came belongs to it.
//!
//! How the dialects are told apart is in `docs/classic-protocol.md` §8. Begin at [`Fetch::new`].

use std::time::Duration;

use crate::dialect::Dialect;
use crate::limits::{FETCH_RATE_GRACE, FETCH_RATE_MIN, FILE_BYTES_MAX, HEADER_BYTES_MAX, NEWLINE_WAIT};
use crate::name::FileName;
use crate::time::Time;

/// A request for one file, from the moment its connection stands.
#[derive(Debug)]
pub struct Fetch {
    dialect: Option<Dialect>,
    timeout: Duration,
    began: Time,
    /// When the source was last heard, or last told something new.
    heard: Time,
    to_send: Option<Vec<u8>>,
    newline_sent: bool,
    /// Bytes of the file that came so far.
    got: u64,
    /// The first bytes of a classic answer, to tell one server's error message from a file.
    head: Vec<u8>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Nothing came that could be told apart; what came is held.
    Undecided { held: Vec<u8> },
    /// A framed answer of `length` bytes.
    Framed { length: u64 },
    /// A classic answer, until the connection closes.
    Raw,
    /// It is over.
    Over(Result<Answer, FetchError>),
}

/// A whole answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// As many bytes as the header said, and at least one.
    Framed,
    /// A framed answer of no bytes: an empty file, or one that the source does not have.
    FramedEmpty,
    /// Bytes, and then an orderly close.
    Classic,
    /// No byte, and then an orderly close: an empty file or an error, nobody can tell.
    ClassicEmpty,
    /// Bytes, and then silence on an open connection: perhaps all of it, from a source that never closes.
    Unclosed,
}

impl Answer {
    /// The dialect that the source has shown by it.
    #[must_use]
    pub const fn shows(self) -> Option<Dialect> {
        match self {
            Self::Framed | Self::FramedEmpty => Some(Dialect::Framed),
            Self::Classic | Self::Unclosed => Some(Dialect::Classic),
            Self::ClassicEmpty => None,
        }
    }
}

/// Why an answer was discarded.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FetchError {
    /// Nothing came in time.
    #[error("the source did not answer within {0:?}")]
    Silent(Duration),
    /// It closed before it said anything.
    #[error("the source closed the connection without an answer")]
    NoAnswer,
    /// The length is missing or malformed.
    #[error("the source sent no valid Content-Length header")]
    Header,
    /// Longer than any file that is taken.
    #[error("the source announced {0} bytes, more than is accepted")]
    TooLarge(u64),
    /// It closed too early, or stopped.
    #[error("the source sent {got} of {length} bytes")]
    Short {
        /// What came.
        got: u64,
        /// What was announced.
        length: u64,
    },
    /// Too slow to be worth a place.
    #[error("the source is slower than {FETCH_RATE_MIN} bytes a second")]
    Slow,
    /// An error message instead of a file.
    #[error("the source answered with an error message instead of the file")]
    ErrorMessage,
}

/// The part of what came that belongs to the file: what was held back before, then the rest.
#[derive(Debug, Eq, PartialEq)]
pub struct Body<'a> {
    /// Bytes that came earlier.
    pub held: Vec<u8>,
    /// Bytes that came now.
    pub rest: &'a [u8],
}

const NOTHING: Body<'static> = Body { held: Vec::new(), rest: &[] };
const HEADER_KEY: &[u8] = b"Content-Length:";
const ERROR_MESSAGE: &[u8] = b"HTTP/1.1 404 Not Found";
/// The error message, with the blank line behind it that some write.
const ERROR_BYTES_MAX: usize = ERROR_MESSAGE.len() + 8;

/// What is sent behind the newline to a source that is known to be Shoal: everybody else ignores it.
pub const SHOAL_MARK: &[u8] = b"shoal\n";

impl Fetch {
    /// Asks a source for a file over a connection that stands.
    ///
    /// `dialect` is what is known of the source; `timeout` bounds each silence.
    #[must_use]
    pub fn new(name: &FileName, dialect: Option<Dialect>, timeout: Duration, now: Time) -> Self {
        let mut request = name.as_str().as_bytes().to_vec();
        let newline_sent = matches!(dialect, Some(Dialect::Framed | Dialect::Both));
        if newline_sent {
            request.push(b'\n');
        }
        if dialect == Some(Dialect::Both) {
            request.extend_from_slice(SHOAL_MARK);
        }
        Self {
            dialect,
            timeout,
            began: now,
            heard: now,
            to_send: Some(request),
            newline_sent,
            got: 0,
            head: Vec::new(),
            phase: Phase::Undecided { held: Vec::new() },
        }
    }

    /// What is to be sent now, in one write.
    pub fn poll_send(&mut self) -> Option<Vec<u8>> {
        self.to_send.take()
    }

    /// When to [`tick`](Self::tick) next; `None` once it is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        match &self.phase {
            Phase::Over(_) => None,
            Phase::Undecided { held } if held.is_empty() && !self.newline_sent => {
                Some((self.began + NEWLINE_WAIT).min(self.heard + self.timeout))
            }
            _ => Some((self.heard + self.timeout).min(self.pace_ends())),
        }
    }

    /// How it ended, once it has.
    #[must_use]
    pub const fn outcome(&self) -> Option<&Result<Answer, FetchError>> {
        match &self.phase {
            Phase::Over(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// How long the file will be, if the source has said so.
    #[must_use]
    pub const fn length(&self) -> Option<u64> {
        match self.phase {
            Phase::Framed { length } => Some(length),
            _ => None,
        }
    }

    /// Whether nothing has come from the source, and nothing will.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        match &self.phase {
            Phase::Undecided { held } => held.is_empty(),
            Phase::Over(Err(error)) => *error == FetchError::NoAnswer,
            _ => false,
        }
    }

    /// Bytes of the file that came so far.
    #[must_use]
    pub const fn got(&self) -> u64 {
        self.got
    }

    /// Bytes came; the answer says which of them are the file's, to be written in order.
    pub fn received<'a>(&mut self, data: &'a [u8], now: Time) -> Body<'a> {
        if data.is_empty() {
            return NOTHING;
        }
        self.heard = now;
        match &mut self.phase {
            Phase::Over(_) => NOTHING,
            Phase::Raw => self.raw(Vec::new(), data),
            Phase::Framed { length } => {
                let length = *length;
                self.framed(length, data)
            }
            Phase::Undecided { held } => {
                let before = held.len();
                let take = data.len().min(HEADER_BYTES_MAX + 1 - before);
                held.extend_from_slice(&data[..take]);
                let held = std::mem::take(held);
                self.decide(held, before, data)
            }
        }
    }

    /// The source closed its side, orderly.
    pub fn ended(&mut self) -> Body<'static> {
        let expects_header = self.expects_header();
        match &mut self.phase {
            Phase::Over(_) => NOTHING,
            Phase::Framed { length } => {
                let error = FetchError::Short { got: self.got, length: *length };
                self.over(Err(error))
            }
            Phase::Undecided { held } if held.is_empty() => self.over(match expects_header {
                true => Err(FetchError::NoAnswer),
                false => Ok(Answer::ClassicEmpty),
            }),
            Phase::Undecided { .. } if expects_header => self.over(Err(FetchError::Header)),
            Phase::Undecided { held } => {
                let held = std::mem::take(held);
                let body = self.raw(held, &[]);
                self.raw_over(Answer::Classic);
                body
            }
            Phase::Raw => {
                self.raw_over(Answer::Classic);
                NOTHING
            }
        }
    }

    /// A moment has come; to be called at [`poll_timeout`](Self::poll_timeout), and harmless at others.
    pub fn tick(&mut self, now: Time) {
        if let Phase::Undecided { held } = &self.phase
            && held.is_empty()
            && !self.newline_sent
            && now >= self.began + NEWLINE_WAIT
        {
            // A source that has sent nothing may be a framed one that waits for the end of the line.
            self.newline_sent = true;
            self.heard = now;
            self.to_send = Some(b"\n".to_vec());
        }
        let is_idle = now >= self.heard + self.timeout;
        match &self.phase {
            Phase::Over(_) => {}
            Phase::Raw if is_idle => self.raw_over(Answer::Unclosed),
            Phase::Framed { length } if is_idle => {
                let error = FetchError::Short { got: self.got, length: *length };
                self.over(Err(error));
            }
            Phase::Undecided { .. } if is_idle => drop(self.over(Err(FetchError::Silent(self.timeout)))),
            _ if now >= self.pace_ends() => drop(self.over(Err(FetchError::Slow))),
            _ => {}
        }
    }

    /// Whether only a header can begin the answer.
    const fn expects_header(&self) -> bool {
        matches!(self.dialect, Some(Dialect::Framed | Dialect::Both))
    }

    /// Whether a header can begin the answer: not from a classic source that was sent no newline.
    fn allows_header(&self) -> bool {
        self.newline_sent || self.dialect.is_none()
    }

    /// Tells header from content; `held` ends with bytes of `data`, of which `before` came earlier.
    fn decide<'a>(&mut self, mut held: Vec<u8>, before: usize, data: &'a [u8]) -> Body<'a> {
        if self.allows_header() {
            match read_header(&held) {
                Header::Length(length, _) if length > FILE_BYTES_MAX => {
                    return self.over(Err(FetchError::TooLarge(length)));
                }
                Header::Length(length, bytes) => {
                    self.phase = Phase::Framed { length };
                    return self.framed(length, &data[bytes - before..]);
                }
                Header::Unfinished => {
                    self.phase = Phase::Undecided { held };
                    return NOTHING;
                }
                Header::None => {}
            }
        }
        if self.expects_header() {
            return self.over(Err(FetchError::Header));
        }
        held.truncate(before);
        self.raw(held, data)
    }

    fn framed<'a>(&mut self, length: u64, data: &'a [u8]) -> Body<'a> {
        let left = length - self.got;
        let take = usize::try_from(left).map_or(data.len(), |left| left.min(data.len()));
        self.got += take as u64;
        if self.got == length {
            self.over(Ok(if length == 0 { Answer::FramedEmpty } else { Answer::Framed }));
        }
        Body { held: Vec::new(), rest: &data[..take] }
    }

    fn raw<'a>(&mut self, held: Vec<u8>, rest: &'a [u8]) -> Body<'a> {
        self.phase = Phase::Raw;
        for part in [held.as_slice(), rest] {
            let room = ERROR_BYTES_MAX.saturating_sub(self.head.len()).min(part.len());
            self.head.extend_from_slice(&part[..room]);
            self.got += part.len() as u64;
        }
        if self.got > FILE_BYTES_MAX {
            return self.over(Err(FetchError::TooLarge(self.got)));
        }
        Body { held, rest }
    }

    /// No more comes of a classic answer.
    fn raw_over(&mut self, answer: Answer) {
        let is_whole = self.got == self.head.len() as u64;
        let outcome = if is_whole && self.head.trim_ascii_end() == ERROR_MESSAGE {
            Err(FetchError::ErrorMessage)
        } else {
            Ok(answer)
        };
        self.over(outcome);
    }

    fn over(&mut self, outcome: Result<Answer, FetchError>) -> Body<'static> {
        self.phase = Phase::Over(outcome);
        NOTHING
    }

    /// When the source will have been too slow, if nothing more comes.
    fn pace_ends(&self) -> Time {
        self.began + FETCH_RATE_GRACE + Duration::from_secs(self.got / FETCH_RATE_MIN)
    }
}

enum Header {
    /// A length, and how many bytes said so.
    Length(u64, usize),
    /// It may become one.
    Unfinished,
    /// It is none.
    None,
}

/// Reads `Content-Length: N\n`, the number in plain digits (`C7`).
fn read_header(bytes: &[u8]) -> Header {
    let begun = bytes.len().min(HEADER_KEY.len());
    if bytes[..begun] != HEADER_KEY[..begun] {
        return Header::None;
    }
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
        return if bytes.len() > HEADER_BYTES_MAX { Header::None } else { Header::Unfinished };
    };
    let line = bytes[HEADER_KEY.len()..end].strip_suffix(b"\r").unwrap_or(&bytes[HEADER_KEY.len()..end]);
    let digits = line.strip_prefix(b" ").unwrap_or(line);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Header::None;
    }
    let length = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    length.map_or(Header::None, |length| Header::Length(length, end + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// What a source sends, what of it is the file, and how it ends.
    type FramedCase = (&'static [u8], &'static [u8], Result<Answer, FetchError>);

    fn at(millis: u64) -> Time {
        Time::after_start(Duration::from_millis(millis))
    }

    fn fetch(dialect: Option<Dialect>) -> Fetch {
        let mut fetch = Fetch::new(&FileName::parse("a b").unwrap(), dialect, TIMEOUT, at(0));
        fetch.poll_send().unwrap();
        fetch
    }

    /// Plays an answer in pieces, then an orderly close; the file's bytes and the outcome.
    fn play<'a>(
        mut fetch: Fetch,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<u8>, Result<Answer, FetchError>) {
        let mut file = Vec::new();
        let mut keep = |body: Body<'_>| file.extend([body.held.as_slice(), body.rest].concat());
        for piece in pieces {
            keep(fetch.received(piece, at(1)));
        }
        keep(fetch.ended());
        (file, fetch.outcome().unwrap().clone())
    }

    #[test]
    fn what_is_asked_in_each_dialect() {
        let ask = |dialect| {
            Fetch::new(&FileName::parse("é").unwrap(), dialect, TIMEOUT, at(0)).poll_send().unwrap()
        };
        assert_eq!(ask(None), "é".as_bytes());
        assert_eq!(ask(Some(Dialect::Classic)), "é".as_bytes());
        assert_eq!(ask(Some(Dialect::Framed)), "é\n".as_bytes());
        assert_eq!(ask(Some(Dialect::Both)), "é\nshoal\n".as_bytes());
    }

    #[test]
    fn c7_c8_framed_answers() {
        let cases: &[FramedCase] = &[
            (b"Content-Length: 3\nabc", b"abc", Ok(Answer::Framed)),
            (b"Content-Length: 3\r\nabc", b"abc", Ok(Answer::Framed)),
            (b"Content-Length: 3\nabcdef", b"abc", Ok(Answer::Framed)),
            (b"Content-Length: 0\n", b"", Ok(Answer::FramedEmpty)),
            (b"Content-Length: 4\nabc", b"abc", Err(FetchError::Short { got: 3, length: 4 })),
            (b"", b"", Err(FetchError::NoAnswer)),
            (b"abc", b"", Err(FetchError::Header)),
            (b"Content-Le", b"", Err(FetchError::Header)),
            (b"Content-Length: -1\nabc", b"", Err(FetchError::Header)),
            (b"Content-Length: +5\nabcde", b"", Err(FetchError::Header)),
            (b"Content-Length: 0x10\n", b"", Err(FetchError::Header)),
            (b"Content-Length: 1e3\n", b"", Err(FetchError::Header)),
            (b"Content-Length:  5 \nabcde", b"", Err(FetchError::Header)),
            (b"Content-Length: 18446744073709551616\n", b"", Err(FetchError::Header)),
            (b"Content-Length: \n", b"", Err(FetchError::Header)),
            (b"Content-Length: 10000000000000\n", b"", Err(FetchError::TooLarge(10_000_000_000_000))),
        ];
        for (answer, file, outcome) in cases {
            let expected = (file.to_vec(), outcome.clone());
            for dialect in [Dialect::Framed, Dialect::Both] {
                assert_eq!(play(fetch(Some(dialect)), [*answer]), expected, "{}", answer.escape_ascii());
                assert_eq!(
                    play(fetch(Some(dialect)), answer.chunks(1)),
                    expected,
                    "bytewise {}",
                    answer.escape_ascii()
                );
            }
        }
        let endless = [b"Content-Length: ".as_slice(), &vec![b'1'; 1 << 20]].concat();
        assert_eq!(play(fetch(Some(Dialect::Framed)), [endless.as_slice()]).1, Err(FetchError::Header));
    }

    #[test]
    fn classic_answers_are_all_content() {
        let cases: &[(&[u8], Result<Answer, FetchError>)] = &[
            (b"abc", Ok(Answer::Classic)),
            (b"C", Ok(Answer::Classic)),
            (b"Content-Length: 3\nabc", Ok(Answer::Classic)),
            (b"", Ok(Answer::ClassicEmpty)),
            (b"HTTP/1.1 404 Not Found", Err(FetchError::ErrorMessage)),
            (b"HTTP/1.1 404 Not Found\r\n\r\n", Err(FetchError::ErrorMessage)),
            (b"HTTP/1.1 404 Not Found is what it said", Ok(Answer::Classic)),
        ];
        for (answer, outcome) in cases {
            let expected = (answer.to_vec(), outcome.clone());
            assert_eq!(play(fetch(Some(Dialect::Classic)), [*answer]), expected);
            assert_eq!(play(fetch(Some(Dialect::Classic)), answer.chunks(1)), expected);
        }
    }

    #[test]
    fn an_unknown_source_shows_its_dialect_by_its_answer() {
        assert_eq!(
            play(fetch(None), [b"Content-Length: 1\nx".as_slice()]),
            (b"x".to_vec(), Ok(Answer::Framed))
        );
        assert_eq!(
            play(fetch(None), [b"Cont".as_slice(), b"ext"]),
            (b"Context".to_vec(), Ok(Answer::Classic))
        );
        assert_eq!(play(fetch(None), [b"Cont".as_slice()]), (b"Cont".to_vec(), Ok(Answer::Classic)));
    }

    #[test]
    fn the_newline_comes_after_a_second_of_silence_and_never_after_data() {
        for dialect in [None, Some(Dialect::Classic)] {
            let mut silent = fetch(dialect);
            assert_eq!(silent.poll_timeout(), Some(at(1_000)));
            silent.tick(at(1_000));
            assert_eq!(silent.poll_send(), Some(b"\n".to_vec()));
            assert_eq!(
                play(silent, [b"Content-Length: 1\nx".as_slice()]),
                (b"x".to_vec(), Ok(Answer::Framed))
            );

            let mut speaking = fetch(dialect);
            speaking.received(b"C", at(999));
            speaking.tick(at(1_500));
            assert_eq!(speaking.poll_send(), None);
        }
    }

    #[test]
    fn silence_ends_every_answer() {
        let mut silent = fetch(Some(Dialect::Framed));
        silent.tick(at(10_000));
        assert_eq!(silent.outcome(), Some(&Err(FetchError::Silent(TIMEOUT))));

        let mut stuck = fetch(Some(Dialect::Framed));
        stuck.received(b"Content-Length: 5\nab", at(1_000));
        stuck.tick(at(10_999));
        assert_eq!(stuck.outcome(), None);
        stuck.tick(at(11_000));
        assert_eq!(stuck.outcome(), Some(&Err(FetchError::Short { got: 2, length: 5 })));

        let mut unclosed = fetch(Some(Dialect::Classic));
        unclosed.received(b"ab", at(1));
        unclosed.tick(at(10_001));
        assert_eq!(unclosed.outcome(), Some(&Ok(Answer::Unclosed)));

        let mut error = fetch(Some(Dialect::Classic));
        error.received(b"HTTP/1.1 404 Not Found", at(1));
        error.tick(at(10_001));
        assert_eq!(error.outcome(), Some(&Err(FetchError::ErrorMessage)));
    }

    #[test]
    fn a_source_that_drips_is_given_up() {
        let mut dripping = fetch(Some(Dialect::Classic));
        let mut second = 0;
        while dripping.outcome().is_none() {
            second += 1;
            dripping.received(b"x", at(second * 1_000));
            dripping.tick(at(second * 1_000));
            assert!(second < 200, "never given up");
        }
        assert_eq!(dripping.outcome(), Some(&Err(FetchError::Slow)));
    }

    proptest! {
        #[test]
        fn any_cutting_of_an_answer_gives_the_same_file(
            answer in proptest::sample::select(vec![
                b"Content-Length: 12\nhello, world".to_vec(), b"Content-Length: 5\nhello, world".to_vec(),
                b"Contents of a file".to_vec(), b"Content-Length: x".to_vec(), vec![b'x'; 300],
            ]),
            dialect in proptest::sample::select(vec![None, Some(Dialect::Classic), Some(Dialect::Framed)]),
            cuts in proptest::collection::vec(0usize..300, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(answer.len())).collect();
            cuts.extend([0, answer.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &answer[pair[0]..pair[1]]);
            prop_assert_eq!(play(fetch(dialect), pieces), play(fetch(dialect), [answer.as_slice()]));
        }
    }
}
