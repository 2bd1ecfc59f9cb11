//! The tracker's side of one connection with a peer.
//!
//! Promise: each message is taken as soon as it is complete, and answered; the peer's dialect is known by the
//! time its first message is acted on ([`DIALECT_WAIT`] at most); a peer that says nothing, stops inside a
//! message, or sends what is no message is closed with a reason, after a bounded time and with bounded memory.

use std::collections::VecDeque;
use std::time::Duration;

use crate::dialect::Dialect;
use crate::framing::{Framer, FramingError, Token};
use crate::limits::{
    DIALECT_WAIT, ENTRIES_PER_PEER_MAX, FIRST_MESSAGE_WAIT, IDLE_EXPIRIES_BEFORE_CLOSE, LINE_STALL,
    MESSAGE_BYTES_MAX, MESSAGE_DURATION_MAX, MESSAGE_STALL, PEER_EXPIRY,
};
use crate::message::{Announcement, MessageError, PeerMessage};
use crate::time::Time;

/// The bounds of a session that options can change.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Largest message, in bytes.
    pub message_bytes_max: usize,
    /// Most files of one peer.
    pub entries_max: usize,
    /// Longest time until the first message begins.
    pub first_message_wait: Duration,
    /// Longest time without a message, until the connection is closed.
    pub idle_max: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            message_bytes_max: MESSAGE_BYTES_MAX,
            entries_max: ENTRIES_PER_PEER_MAX,
            first_message_wait: FIRST_MESSAGE_WAIT,
            idle_max: PEER_EXPIRY * IDLE_EXPIRIES_BEFORE_CLOSE,
        }
    }
}

/// What the tracker is to do for this connection, in this order.
#[derive(Debug, Eq, PartialEq)]
pub enum Action {
    /// The peer listed its files: add or update them.
    Announce {
        /// Where it serves them.
        port: u16,
        /// What it listed.
        announcement: Announcement,
    },
    /// The peer is there.
    KeepAlive {
        /// The port that it named; some name a wrong one.
        port: u16,
    },
    /// The peer's dialect is known now, or known better.
    Dialect(Dialect),
    /// Send it the directory, in one write.
    Answer,
    /// Close the connection; nothing more will come.
    Close(CloseReason),
}

/// Why a connection is closed by the tracker.
#[derive(Debug, thiserror::Error)]
pub enum CloseReason {
    /// No message began in time.
    #[error("said nothing for {0:?}")]
    Silent(Duration),
    /// A message began and did not end.
    #[error("stopped inside a message")]
    Stalled,
    /// Not a stream of messages.
    #[error("sent no message: {0}")]
    Framing(#[from] FramingError),
    /// Not a message of the protocol.
    #[error("sent a malformed message: {0}")]
    Message(#[from] MessageError),
}

impl PartialEq for CloseReason {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for CloseReason {}

/// The tracker's side of one connection.
#[derive(Debug)]
pub struct TrackerSession {
    limits: SessionLimits,
    framer: Framer,
    dialect: Option<Dialect>,
    /// The first message, held back until the dialect is known, and since when.
    held: Option<(PeerMessage, Time)>,
    /// When the peer was last heard: a byte inside a message, or a whole one outside.
    heard: Time,
    /// When bytes came last, whatever they were.
    received: Time,
    /// When the message that has begun began.
    message_began: Option<Time>,
    has_spoken: bool,
    is_closed: bool,
    actions: VecDeque<Action>,
}

impl TrackerSession {
    /// A session for a connection that was accepted just now.
    #[must_use]
    pub fn new(limits: SessionLimits, now: Time) -> Self {
        Self {
            limits,
            framer: Framer::new(limits.message_bytes_max),
            dialect: None,
            held: None,
            heard: now,
            received: now,
            message_began: None,
            has_spoken: false,
            is_closed: false,
            actions: VecDeque::new(),
        }
    }

    /// Bytes came.
    pub fn received(&mut self, bytes: &[u8], now: Time) {
        if !self.is_closed {
            self.received = now;
            self.framer.push(bytes);
            self.advance();
        }
    }

    /// A moment has come; to be called at [`poll_timeout`](Self::poll_timeout), and harmless at others.
    pub fn tick(&mut self, now: Time) {
        if self.is_closed {
            return;
        }
        if self.held.as_ref().is_some_and(|(_, since)| now >= *since + DIALECT_WAIT) {
            self.learn(Dialect::Classic);
        }
        if now >= self.patience_ends() {
            let reason = match self.message_began {
                Some(_) => CloseReason::Stalled,
                None => CloseReason::Silent(now.since(self.heard)),
            };
            self.close(reason);
        }
    }

    /// The next thing to do. To be called until it gives `None`; only then all that came has been looked at.
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.actions.is_empty() && !self.is_closed {
            self.advance();
        }
        self.actions.pop_front()
    }

    /// When to [`tick`](Self::tick) next; `None` once closed.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.is_closed {
            return None;
        }
        let dialect = self.held.as_ref().map(|(_, since)| *since + DIALECT_WAIT);
        let patience = self.patience_ends();
        Some(dialect.map_or(patience, |dialect| dialect.min(patience)))
    }

    /// Bytes of memory that this holds, for budgets over many connections.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.framer.buffered_bytes()
    }

    /// Looks at what came until there is something to do: a thousand messages in one segment wait as bytes, which
    /// are few, and not as actions.
    fn advance(&mut self) {
        while self.actions.is_empty() {
            match self.take_token() {
                Ok(true) => self.heard = self.received,
                Ok(false) => break,
                Err(reason) => return self.close(reason),
            }
        }
        // Blank lines say nothing, and keep nobody waiting.
        if self.framer.is_inside() {
            self.heard = self.received;
        }
        self.message_began = self.framer.is_inside().then(|| self.message_began.unwrap_or(self.received));
    }

    /// Takes one token; false when there is none yet.
    fn take_token(&mut self) -> Result<bool, CloseReason> {
        match self.framer.next_token()? {
            None => return Ok(false),
            Some(Token::LineEnd { marked }) => {
                self.learn(if marked { Dialect::Both } else { Dialect::Framed });
            }
            Some(Token::Object(bytes)) => {
                let message = PeerMessage::parse(bytes, self.limits.entries_max)?;
                self.message_began = None;
                self.has_spoken = true;
                self.take(message, self.received);
            }
        }
        Ok(true)
    }

    fn take(&mut self, message: PeerMessage, now: Time) {
        // Another message on the same line: this sender does not end its messages with newlines.
        if self.held.is_some() {
            self.learn(Dialect::Classic);
        }
        if message.files.as_ref().is_some_and(|announcement| announcement.speaks_both) {
            self.learn(Dialect::Both);
        }
        if self.dialect.is_some() {
            self.act_on(message);
        } else {
            self.held = Some((message, now));
        }
    }

    /// Takes a sign of the peer's dialect. A sign of more never gives way to one of less.
    fn learn(&mut self, dialect: Dialect) {
        if self.dialect.is_none_or(|known| known < dialect) {
            self.dialect = Some(dialect);
            self.actions.push_back(Action::Dialect(dialect));
        }
        if let Some((message, _)) = self.held.take() {
            self.act_on(message);
        }
    }

    fn act_on(&mut self, message: PeerMessage) {
        let port = message.port;
        self.actions.push_back(match message.files {
            Some(announcement) => Action::Announce { port, announcement },
            None => Action::KeepAlive { port },
        });
        self.actions.push_back(Action::Answer);
    }

    fn patience_ends(&self) -> Time {
        match self.message_began {
            Some(began) => {
                let stall = if self.framer.is_line_broken() { LINE_STALL } else { MESSAGE_STALL };
                (self.heard + stall).min(began + MESSAGE_DURATION_MAX)
            }
            None if self.has_spoken => self.heard + self.limits.idle_max,
            None => self.heard + self.limits.first_message_wait,
        }
    }

    fn close(&mut self, reason: CloseReason) {
        self.is_closed = true;
        self.held = None;
        self.framer = Framer::new(0);
        self.actions.push_back(Action::Close(reason));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INITIAL: &[u8] = br#"{"port": 8001, "files": [{"mtime": 7, "name": "a"}]}"#;

    fn at(millis: u64) -> Time {
        Time::after_start(Duration::from_millis(millis))
    }

    /// What a session does with the pieces, as short words.
    fn words(session: &mut TrackerSession) -> Vec<String> {
        std::iter::from_fn(|| session.poll_action())
            .map(|action| match action {
                Action::Announce { port, announcement } => {
                    format!("announce {port} {}", announcement.files.len())
                }
                Action::KeepAlive { port } => format!("alive {port}"),
                Action::Dialect(dialect) => format!("{dialect:?}"),
                Action::Answer => "answer".into(),
                Action::Close(reason) => format!("close: {reason}"),
            })
            .collect()
    }

    fn session() -> TrackerSession {
        TrackerSession::new(SessionLimits::default(), at(0))
    }

    #[test]
    fn a_framed_peer_is_answered_at_once() {
        let mut session = session();
        session.received(&[INITIAL, b"\n"].concat(), at(1));
        assert_eq!(words(&mut session), ["Framed", "announce 8001 1", "answer"]);
        session.received(b"{\"port\": 8001}\n", at(2));
        assert_eq!(words(&mut session), ["alive 8001", "answer"]);
    }

    #[test]
    fn a_classic_peer_is_answered_after_the_wait_and_then_at_once() {
        let mut session = session();
        session.received(INITIAL, at(1));
        assert_eq!(words(&mut session), [""; 0]);
        assert_eq!(session.poll_timeout(), Some(at(51)));
        session.tick(at(51));
        assert_eq!(words(&mut session), ["Classic", "announce 8001 1", "answer"]);
        session.received(b"{\"port\": 8001}", at(5_000));
        assert_eq!(words(&mut session), ["alive 8001", "answer"]);
    }

    #[test]
    fn a_newline_that_comes_late_still_tells() {
        let mut session = session();
        session.received(INITIAL, at(1));
        session.tick(at(60));
        session.received(b"\n", at(70));
        assert_eq!(words(&mut session), ["Classic", "announce 8001 1", "answer", "Framed"]);
    }

    #[test]
    fn a_shoal_peer_is_known_by_an_item_or_by_the_mark() {
        let mut listing = session();
        listing.received(br#"{"port": 1, "files": [{"mtime": 7, "name": "a", "dialect": 2}]}"#, at(1));
        assert_eq!(words(&mut listing), ["Both", "announce 1 1", "answer"]);
        let mut empty = session();
        empty.received(b"{\"port\": 1, \"files\": []}\t\n", at(1));
        assert_eq!(words(&mut empty), ["Both", "announce 1 0", "answer"]);
        empty.received(b"{\"port\": 1}\n", at(2));
        assert_eq!(words(&mut empty), ["alive 1", "answer"], "a plain newline takes nothing back");
    }

    #[test]
    fn b4_b12_several_messages_in_one_segment_are_each_answered() {
        let mut session = session();
        session.received(b"{\"port\": 1}{\"port\": 1}{\"port\": 2}", at(1));
        assert_eq!(
            words(&mut session),
            ["Classic", "alive 1", "answer", "alive 1", "answer", "alive 2", "answer"]
        );
    }

    #[test]
    fn i30_a_thousand_messages_in_one_segment_wait_as_bytes() {
        let mut session = session();
        session.received(&b"{\"port\": 1}\n".repeat(1_000), at(0));
        let mut answers = 0;
        while let Some(action) = session.poll_action() {
            answers += usize::from(action == Action::Answer);
            assert!(session.actions.len() <= 4, "{} actions wait", session.actions.len());
        }
        assert_eq!(answers, 1_000);
    }

    #[test]
    fn b2_b3_b26_b30_silence_and_stalls_end_the_connection() {
        let mut silent = session();
        assert_eq!(silent.poll_timeout(), Some(at(10_000)));
        silent.tick(at(10_000));
        assert_eq!(words(&mut silent), ["close: said nothing for 10s"]);
        assert_eq!(silent.poll_timeout(), None);

        let mut truncated = session();
        truncated.received(b"{\"port\": 80\n", at(0));
        truncated.tick(at(999));
        assert_eq!(words(&mut truncated), [""; 0]);
        truncated.tick(at(1_000));
        assert_eq!(words(&mut truncated), ["close: stopped inside a message"]);

        let mut blank = session();
        for second in 0..10 {
            blank.received(b"\n", at(second * 1_000));
        }
        blank.tick(at(10_000));
        assert_eq!(words(&mut blank), ["close: said nothing for 10s"]);

        let mut dripping = session();
        for second in 0..200 {
            dripping.received(if second == 0 { b"{" } else { b" " }, at(second * 1_000));
            dripping.tick(at(second * 1_000));
        }
        assert_eq!(words(&mut dripping), ["close: stopped inside a message"]);
    }

    #[test]
    fn b2_garbage_is_closed_with_its_reason_and_nothing_follows() {
        for (garbage, reason) in [
            (b"GET / HTTP/1.1\r\n\r\n".as_slice(), "sent no message: not a JSON object"),
            (b"{}\n", "sent a malformed message: missing field `port`"),
            (b"{\"port\": 70000}", "sent a malformed message: the port is not a number"),
        ] {
            let mut session = session();
            session.received(garbage, at(0));
            session.received(INITIAL, at(1));
            let said = words(&mut session);
            assert!(said.len() == 1 && said[0].contains(reason), "{said:?}");
        }
    }

    proptest! {
        #[test]
        fn any_cutting_of_a_conversation_gives_the_same_result(cuts in proptest::collection::vec(0usize..200, 0..8)) {
            let stream = [INITIAL, b"\n{\"port\": 8001}\r\n\n", INITIAL, b"\n{\"port\": 180}\n"].concat();
            let mut whole = session();
            whole.received(&stream, at(0));
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let mut cut_up = session();
            for (moment, pair) in cuts.windows(2).enumerate() {
                cut_up.received(&stream[pair[0]..pair[1]], at(moment as u64));
            }
            prop_assert_eq!(words(&mut cut_up), words(&mut whole));
        }
    }
}
