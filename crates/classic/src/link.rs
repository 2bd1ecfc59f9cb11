//! The synchronizer's connection to its tracker, kept up for ever.
//!
//! Promise: the tracker hears us every [`KEEP_ALIVE_INTERVAL`]; a tracker that goes away, falls silent or
//! talks nonsense is dialled again with growing pauses, and told everything anew; only the newest directory
//! counts, however many come. See `docs/classic-protocol.md` §6.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::dialect::Dialect;
use crate::directory::Directory;
use crate::framing::{Framer, FramingError, Token};
use crate::limits::{
    DIALECT_WAIT, DIRECTORY_INTERVAL_MIN, KEEP_ALIVE_INTERVAL, LINE_STALL, MESSAGE_BYTES_MAX,
    MESSAGE_DURATION_MAX, MESSAGE_STALL, RECONNECT_MAX, RECONNECT_MIN, TRACKER_SILENCE_MAX,
};
use crate::message::PeerMessage;
use crate::name::FileName;
use crate::time::Time;

/// What the driver is to do, or to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Dial the tracker.
    Connect,
    /// Send it this, in one write.
    Send(Vec<u8>),
    /// Close the connection.
    Disconnect,
    /// A directory came.
    Directory(Box<Directory>),
    /// The connection was lost, or could not be made; it is dialled again after the pause.
    Lost {
        /// Why.
        why: String,
        /// How long until the next try.
        retry_in: Duration,
    },
    /// The very first connection could not be made.
    NeverConnected {
        /// Why.
        why: String,
    },
}

/// The connection to the tracker.
#[derive(Debug)]
pub struct TrackerLink {
    port: u16,
    phase: Phase,
    retry_pause: Duration,
    was_connected: bool,
    /// The dialect of a tracker that does not say the dialect of its sources: does it end its lines?
    network: Option<Dialect>,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
enum Phase {
    Waiting { until: Time },
    Connecting,
    Online(Online),
}

#[derive(Debug)]
struct Online {
    framer: Framer,
    next_keep_alive: Time,
    /// When the tracker was last heard, or the connection made.
    heard: Time,
    message_began: Option<Time>,
    /// The newest directory, as it came, and when.
    unread: Option<(Vec<u8>, Time)>,
    /// When a directory was last read.
    read_at: Option<Time>,
    /// A directory came and its line has not ended yet.
    line_is_open: bool,
}

#[derive(Debug, thiserror::Error)]
enum Nonsense {
    #[error("the tracker sent no directory: {0}")]
    Framing(#[from] FramingError),
    #[error("the tracker sent a malformed directory: {0}")]
    Directory(#[from] crate::message::MessageError),
}

impl TrackerLink {
    /// A link for a peer that serves at `port`; it dials at once.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self {
            port,
            phase: Phase::Connecting,
            retry_pause: RECONNECT_MIN,
            was_connected: false,
            network: None,
            actions: VecDeque::from([Action::Connect]),
        }
    }

    /// The dialect of the network, as far as the tracker's own habit tells.
    #[must_use]
    pub const fn network(&self) -> Option<Dialect> {
        self.network
    }

    /// The connection stands: the tracker is told our files.
    pub fn connected(&mut self, files: &BTreeMap<FileName, i64>, now: Time) {
        self.was_connected = true;
        self.phase = Phase::Online(Online {
            framer: Framer::new(MESSAGE_BYTES_MAX),
            next_keep_alive: now,
            heard: now,
            message_began: None,
            unread: None,
            read_at: None,
            line_is_open: false,
        });
        self.announce(files, now);
    }

    /// Tells the tracker our files, if it is there; else it will be told when it is.
    pub fn announce(&mut self, files: &BTreeMap<FileName, i64>, now: Time) {
        if let Phase::Online(online) = &mut self.phase {
            online.next_keep_alive = now + KEEP_ALIVE_INTERVAL;
            self.actions.push_back(Action::Send(PeerMessage::initial(self.port, files)));
        }
    }

    /// The connection could not be made, was closed, or broke.
    pub fn lost(&mut self, why: String, now: Time) {
        if !self.was_connected {
            self.actions.push_back(Action::NeverConnected { why });
            return;
        }
        if matches!(self.phase, Phase::Waiting { .. }) {
            return;
        }
        let retry_in = self.retry_pause;
        self.retry_pause = (retry_in * 2).min(RECONNECT_MAX);
        self.phase = Phase::Waiting { until: now + retry_in };
        self.actions.push_back(Action::Lost { why, retry_in });
    }

    /// Bytes came from the tracker.
    pub fn received(&mut self, bytes: &[u8], now: Time) {
        let Phase::Online(online) = &mut self.phase else { return };
        online.framer.push(bytes);
        let network = &mut self.network;
        let taken = online.take_tokens(network, now);
        online.message_began = online.framer.is_inside().then(|| online.message_began.unwrap_or(now));
        // Blank lines say nothing.
        if online.framer.is_inside() {
            online.heard = now;
        }
        if let Err(nonsense) = taken.and_then(|()| self.read_directory(now)) {
            self.hang_up(nonsense.to_string(), now);
        }
    }

    /// A moment has come; to be called at [`poll_timeout`](Self::poll_timeout), and harmless at others.
    pub fn tick(&mut self, now: Time) {
        match &mut self.phase {
            Phase::Connecting => {}
            Phase::Waiting { until } if now >= *until => {
                self.phase = Phase::Connecting;
                self.actions.push_back(Action::Connect);
            }
            Phase::Waiting { .. } => {}
            Phase::Online(online) => {
                if now >= online.patience_ends() {
                    return self.hang_up("the tracker stopped answering".into(), now);
                }
                if now >= online.next_keep_alive {
                    online.next_keep_alive = now + KEEP_ALIVE_INTERVAL;
                    self.actions.push_back(Action::Send(PeerMessage::keep_alive(self.port)));
                }
                if let Err(nonsense) = self.read_directory(now) {
                    self.hang_up(nonsense.to_string(), now);
                }
            }
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to [`tick`](Self::tick) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        match &self.phase {
            Phase::Connecting => None,
            Phase::Waiting { until } => Some(*until),
            Phase::Online(online) => {
                let reading = online.unread.as_ref().map(|unread| online.readable_at(self.network, unread.1));
                let end = online.next_keep_alive.min(online.patience_ends());
                Some(reading.map_or(end, |reading| reading.min(end)))
            }
        }
    }

    /// Reads the newest directory, when it is time to.
    fn read_directory(&mut self, now: Time) -> Result<(), Nonsense> {
        let Phase::Online(online) = &mut self.phase else { return Ok(()) };
        let Some((_, came)) = &online.unread else { return Ok(()) };
        if now < online.readable_at(self.network, *came) {
            return Ok(());
        }
        if let Some((bytes, _)) = online.unread.take() {
            let directory = Directory::parse(&bytes)?;
            // No newline came in time: this tracker does not end its lines.
            self.network.get_or_insert(Dialect::Classic);
            online.read_at = Some(now);
            self.retry_pause = RECONNECT_MIN;
            self.actions.push_back(Action::Directory(Box::new(directory)));
        }
        Ok(())
    }

    fn hang_up(&mut self, why: String, now: Time) {
        self.actions.push_back(Action::Disconnect);
        self.lost(why, now);
    }
}

impl Online {
    fn take_tokens(&mut self, network: &mut Option<Dialect>, now: Time) -> Result<(), Nonsense> {
        while let Some(token) = self.framer.next_token()? {
            self.heard = now;
            match token {
                Token::Object(bytes) => {
                    if self.line_is_open {
                        network.get_or_insert(Dialect::Classic);
                    }
                    self.line_is_open = true;
                    self.message_began = None;
                    self.unread = Some((bytes.to_vec(), now));
                }
                Token::LineEnd { .. } => {
                    self.line_is_open = false;
                    *network = Some(Dialect::Framed);
                }
            }
        }
        Ok(())
    }

    /// When a directory that came at `came` may be read: not before the network's dialect is known, and not
    /// sooner after the last one than directories are worth a look.
    fn readable_at(&self, network: Option<Dialect>, came: Time) -> Time {
        let known = if network.is_some() { came } else { came + DIALECT_WAIT };
        self.read_at.map_or(known, |read_at| known.max(read_at + DIRECTORY_INTERVAL_MIN))
    }

    fn patience_ends(&self) -> Time {
        match self.message_began {
            Some(began) => {
                let stall = if self.framer.is_line_broken() { LINE_STALL } else { MESSAGE_STALL };
                (self.heard + stall).min(began + MESSAGE_DURATION_MAX)
            }
            None => self.heard + TRACKER_SILENCE_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::after_start(Duration::from_millis(millis))
    }

    fn online() -> TrackerLink {
        let mut link = TrackerLink::new(7);
        assert_eq!(link.poll_action(), Some(Action::Connect));
        link.connected(&BTreeMap::new(), at(0));
        assert_eq!(words(&mut link), ["send {\"port\": 7, \"files\": []}\t"]);
        link
    }

    fn words(link: &mut TrackerLink) -> Vec<String> {
        std::iter::from_fn(|| link.poll_action())
            .map(|action| match action {
                Action::Connect => "connect".into(),
                Action::Send(bytes) => {
                    format!("send {}", String::from_utf8(bytes).unwrap().trim_end_matches('\n'))
                }
                Action::Disconnect => "disconnect".into(),
                Action::Directory(directory) => format!("directory of {}", directory.files.len()),
                Action::Lost { why, retry_in } => format!("lost: {why}; again in {retry_in:?}"),
                Action::NeverConnected { why } => format!("never: {why}"),
            })
            .collect()
    }

    /// Lets time pass as the link asks for it, until `end`.
    fn pass(link: &mut TrackerLink, end: u64) {
        while let Some(next) = link.poll_timeout().filter(|next| *next <= at(end)) {
            link.tick(next);
        }
    }

    #[test]
    fn a_keep_alive_every_five_seconds() {
        let mut link = online();
        for second in [4, 9, 14] {
            link.received(b"{}\n", at(second * 1_000));
        }
        pass(&mut link, 16_000);
        let sent = words(&mut link).iter().filter(|word| *word == "send {\"port\": 7}").count();
        assert_eq!(sent, 3);
    }

    #[test]
    fn only_the_first_connection_ends_the_program() {
        let mut link = TrackerLink::new(7);
        link.lost("refused".into(), at(0));
        assert_eq!(words(&mut link), ["connect", "never: refused"]);

        let mut link = online();
        link.lost("closed".into(), at(1_000));
        pass(&mut link, 2_000);
        link.lost("refused".into(), at(2_000));
        pass(&mut link, 4_000);
        assert_eq!(
            words(&mut link),
            ["lost: closed; again in 1s", "connect", "lost: refused; again in 2s", "connect"]
        );
        link.connected(&BTreeMap::from([(FileName::parse("a").unwrap(), 1)]), at(4_000));
        assert_eq!(
            words(&mut link),
            ["send {\"port\": 7, \"files\": [{\"mtime\": 1, \"name\": \"a\", \"dialect\": 2}]}"]
        );
    }

    #[test]
    fn the_network_is_known_by_the_trackers_newlines() {
        let mut framed = online();
        framed.received(b"{}\n", at(1));
        assert_eq!(
            (framed.network(), words(&mut framed)),
            (Some(Dialect::Framed), vec!["directory of 0".into()])
        );

        let mut classic = online();
        classic.received(b"{}", at(1));
        assert_eq!((classic.network(), words(&mut classic)), (None, vec![]));
        pass(&mut classic, 51);
        assert_eq!(
            (classic.network(), words(&mut classic)),
            (Some(Dialect::Classic), vec!["directory of 0".into()])
        );
    }

    #[test]
    fn b26_of_a_flood_only_the_newest_directory_is_read() {
        let mut link = online();
        for number in 0..1_000 {
            link.received(b"{}\n", at(number));
            pass(&mut link, number);
        }
        link.received(br#"{"a": {"ip": "1.2.3.4", "port": 1, "mtime": 1}}"#, at(1_000));
        pass(&mut link, 2_000);
        let read = words(&mut link);
        assert!(read.len() <= 6, "{} directories were read", read.len());
        assert_eq!(read.last().unwrap(), "directory of 1");
    }

    #[test]
    fn b2_b26_b27_nonsense_and_silence_are_dialled_again() {
        let cases: &[(&[u8], &str)] = &[
            (
                b"HTTP/1.1 200 OK\r\n\r\n",
                "the tracker sent no directory: not a JSON object: it begins with byte 0x48",
            ),
            (b"[]\n", "the tracker sent no directory: not a JSON object: it begins with byte 0x5b"),
            (b"{]\n", "the tracker sent a malformed directory: key must be a string at line 1 column 2"),
            (b"{\"a\": \n", "the tracker stopped answering"),
            (b"", "the tracker stopped answering"),
        ];
        for (bytes, why) in cases {
            let mut link = online();
            link.received(bytes, at(0));
            let mut said = words(&mut link);
            for second in 1..=30 {
                pass(&mut link, second * 1_000);
                let is_of_the_end =
                    |word: &String| word.starts_with("disconnect") || word.starts_with("lost");
                said.extend(words(&mut link).into_iter().filter(is_of_the_end));
                if !said.is_empty() {
                    break;
                }
            }
            assert_eq!(said, ["disconnect".to_owned(), format!("lost: {why}; again in 1s")]);
        }
    }

    #[test]
    fn the_pause_grows_until_a_directory_came() {
        let mut link = online();
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            link.received(b"nonsense", at(now));
            for action in std::iter::from_fn(|| link.poll_action()) {
                if let Action::Lost { retry_in, .. } = action {
                    pauses.push(retry_in.as_secs());
                    now += 31_000;
                }
            }
            link.tick(at(now));
            link.connected(&BTreeMap::new(), at(now));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        link.received(b"{}\n", at(now));
        link.lost("closed".into(), at(now));
        assert!(words(&mut link).contains(&"lost: closed; again in 1s".to_owned()));
    }
}
