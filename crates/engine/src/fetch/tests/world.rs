//! Peers that fetch from each other and serve each other, and what is between them.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shoal_proto::frame::RequestId;
use shoal_proto::hash::{ContentId, RecordHash};
use shoal_proto::holding::{Has, Holding, HoldingMessage};
use shoal_proto::message::{Channel, Message};

use crate::disk::StageId;
use crate::fetch::{self, Fetch, Goal, Holdings, News};
use crate::serve::{self, Serve};
use crate::testing::Store;
use crate::time::Time;
use crate::transfer::{AskId, Fault, SourceId};

/// How a peer behaves to others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Manner {
    Honest,
    /// It says nothing.
    Silent,
    /// A byte of each answer is wrong.
    Liar,
    /// Lists are right, and what is served by the segment is not.
    LiarInSegments,
}

pub(super) struct Peer {
    pub(super) fetch: Fetch,
    pub(super) serve: Serve,
    pub(super) store: Store,
    pub(super) manner: Manner,
    pub(super) said: Said,
    pub(super) done: Vec<StageId>,
    pub(super) full: Vec<StageId>,
    pub(super) failed: Vec<StageId>,
    pub(super) given_up: Vec<(usize, Fault)>,
    /// Content bytes that came from each.
    pub(super) from: BTreeMap<usize, u64>,
    /// Bytes of lists that came.
    pub(super) lists: u64,
    /// Requests that were made.
    pub(super) requests: Vec<Message>,
    pub(super) most_in_memory: u64,
    /// Answers of the disk are held back.
    pub(super) is_disk_slow: bool,
    held: VecDeque<(fetch::Tag, crate::disk::Job)>,
}

/// What a peer was told.
#[derive(Default)]
pub(super) struct Said {
    pub(super) records: BTreeMap<(SourceId, RecordHash), Has>,
    holdings: BTreeMap<SourceId, Holding>,
}

impl Holdings for Said {
    fn has(&self, source: SourceId, record: &RecordHash) -> Has {
        *self.records.get(&(source, *record)).unwrap_or(&Has::Unknown)
    }

    fn has_segment(&self, source: SourceId, content: &ContentId, segment: u32) -> Has {
        self.holdings.get(&source).map_or(Has::Unknown, |holding| holding.has_segment(content, segment))
    }
}

/// Peers, each connected to all others; a peer calls another one by its place.
pub(super) struct World {
    pub(super) peers: Vec<Peer>,
    pub(super) now: Time,
    cut: BTreeSet<(usize, usize)>,
    wire: VecDeque<(usize, usize, RequestId, Message, bool)>,
    /// At most so many messages of one peer are delivered in one step; then a millisecond passes.
    pub(super) pace: BTreeMap<usize, usize>,
    /// How long a step takes.
    pub(super) step: Duration,
}

/// The record that names a content in these tests.
pub(super) fn record(content: &ContentId) -> RecordHash {
    RecordHash::from_bytes(*content.as_bytes())
}

pub(super) fn goal(content: ContentId, size: usize) -> Goal {
    let records = BTreeSet::from([record(&content)]);
    Goal { content, size: size as u64, rank: 0, records, older: None, places: None }
}

fn source(peer: usize) -> SourceId {
    SourceId(peer as u64)
}

fn peer(source: SourceId) -> usize {
    usize::try_from(source.0).unwrap()
}

fn request(ask: AskId) -> RequestId {
    RequestId(u32::try_from(ask.0 + 1).unwrap())
}

impl World {
    pub(super) fn new(manners: &[Manner]) -> Self {
        let peer = |(at, manner): (usize, &Manner)| {
            let mut fetch = Fetch::new(at as u64, 100);
            let mut serve = Serve::new();
            for other in (0..manners.len()).filter(|other| *other != at) {
                fetch.connected(source(other), Channel(3));
                serve.connected(source(other));
            }
            Peer {
                fetch,
                serve,
                store: Store::default(),
                manner: *manner,
                said: Said::default(),
                done: Vec::new(),
                full: Vec::new(),
                failed: Vec::new(),
                given_up: Vec::new(),
                from: BTreeMap::new(),
                lists: 0,
                requests: Vec::new(),
                most_in_memory: 0,
                is_disk_slow: false,
                held: VecDeque::new(),
            }
        };
        Self {
            peers: manners.iter().enumerate().map(peer).collect(),
            now: Time::ZERO,
            cut: BTreeSet::new(),
            wire: VecDeque::new(),
            pace: BTreeMap::new(),
            step: Duration::from_millis(10),
        }
    }

    /// One fetches, the others serve.
    pub(super) fn honest(count: usize) -> Self {
        Self::new(&vec![Manner::Honest; count])
    }

    pub(super) fn says(&mut self, to: usize, from: usize, content: &ContentId, has: Has) {
        self.peers[to].said.records.insert((source(from), record(content)), has);
        let record = record(content);
        self.peers[to].fetch.learned(source(from), News::Records(&[record]));
    }

    pub(super) fn want(&mut self, at: usize, goal: Goal) -> StageId {
        for peer in &mut self.peers {
            peer.store.named.insert(goal.content);
        }
        self.peers[at].fetch.want(goal).unwrap()
    }

    pub(super) fn cut(&mut self, one: usize, other: usize) {
        self.cut.extend([(one, other), (other, one)]);
        self.wire.retain(|(from, to, ..)| (*from, *to) != (one, other) && (*from, *to) != (other, one));
        for (at, other) in [(one, other), (other, one)] {
            self.peers[at].fetch.disconnected(source(other));
            self.peers[at].serve.disconnected(source(other));
        }
    }

    pub(super) fn connect(&mut self, one: usize, other: usize) {
        for (at, other) in [(one, other), (other, one)] {
            self.cut.remove(&(at, other));
            self.peers[at].fetch.connected(source(other), Channel(3));
            self.peers[at].serve.connected(source(other));
        }
    }

    /// All that can be done without a clock.
    pub(super) fn settle(&mut self) {
        loop {
            let mut is_busy = false;
            for at in 0..self.peers.len() {
                is_busy |= self.act(at);
            }
            is_busy |= self.deliver();
            if !is_busy {
                return;
            }
        }
    }

    /// Goes on until nothing is left to be waited for, or for so long.
    pub(super) fn run(&mut self, at_most: Duration) {
        let end = self.now.after(at_most);
        loop {
            self.settle();
            let wakes = self.peers.iter().filter_map(|peer| peer.fetch.next_wake(self.now)).min();
            let Some(wake) = wakes.filter(|wake| *wake <= end) else { return };
            self.now = wake.max(self.now);
            let now = self.now;
            self.peers.iter_mut().for_each(|peer| peer.fetch.tick(now));
        }
    }

    pub(super) fn wait(&mut self, wait: Duration) {
        self.now = self.now.after(wait);
        let now = self.now;
        self.peers.iter_mut().for_each(|peer| peer.fetch.tick(now));
        self.settle();
    }

    /// Lets the disk do what was held back.
    pub(super) fn flush(&mut self, at: usize) {
        let now = self.now;
        let peer = &mut self.peers[at];
        peer.is_disk_slow = false;
        while let Some((tag, job)) = peer.held.pop_front() {
            let answer = peer.store.disk(job);
            peer.fetch.disk_done(tag, answer, now);
        }
        self.settle();
    }

    pub(super) fn held(&self, at: usize) -> usize {
        self.peers[at].held.len()
    }

    fn act(&mut self, at: usize) -> bool {
        let now = self.now;
        let mut is_busy = false;
        while let Some(next) = {
            let peer = &mut self.peers[at];
            peer.fetch.poll(now, &peer.said)
        } {
            is_busy = true;
            self.perform(at, next);
        }
        while let Some(next) = self.peers[at].serve.poll() {
            is_busy = true;
            let peer = &mut self.peers[at];
            match next {
                serve::Do::Index(tag, job) => {
                    let answer = peer.store.index(job);
                    let fetch = &peer.fetch;
                    peer.serve.indexed(tag, answer, |asked| fetch.staged(asked));
                }
                serve::Do::Disk(tag, job) => {
                    let answer = peer.store.disk(job);
                    peer.serve.disk_done(tag, answer);
                }
                serve::Do::Send(to, request, message) => {
                    let to = self::peer(to);
                    self.wire.push_back((at, to, request, message, true));
                }
            }
        }
        is_busy
    }

    fn perform(&mut self, at: usize, next: fetch::Do) {
        let now = self.now;
        let peer = &mut self.peers[at];
        match next {
            fetch::Do::Index(tag, job) => {
                let answer = peer.store.index(job);
                peer.fetch.indexed(tag, answer);
            }
            fetch::Do::Disk(tag, job) if peer.is_disk_slow => peer.held.push_back((tag, job)),
            fetch::Do::Disk(tag, job) => {
                let answer = peer.store.disk(job);
                peer.fetch.disk_done(tag, answer, now);
            }
            fetch::Do::Ask(to, ask, message) => {
                peer.most_in_memory = peer.most_in_memory.max(peer.fetch.in_memory());
                peer.requests.push(message.clone());
                self.wire.push_back((at, self::peer(to), request(ask), message, false));
            }
            fetch::Do::Cancel(to, ask) => {
                self.wire.push_back((at, self::peer(to), request(ask), Message::Cancel, false));
            }
            fetch::Do::GiveUp(source, fault) => {
                let other = self::peer(source);
                peer.given_up.push((other, fault));
                self.cut(at, other);
            }
            fetch::Do::Done(stage) => peer.done.push(stage),
            fetch::Do::NoSpace(stage) => peer.full.push(stage),
            fetch::Do::Failed(stage, _) => peer.failed.push(stage),
        }
    }

    /// Delivers what is on the wire now.
    fn deliver(&mut self) -> bool {
        let mut delivered: BTreeMap<usize, usize> = BTreeMap::new();
        let mut later = VecDeque::new();
        let mut is_busy = false;
        while let Some((from, to, request, message, is_answer)) = self.wire.pop_front() {
            if self.cut.contains(&(from, to)) {
                continue;
            }
            let count = delivered.entry(from).or_default();
            if self.pace.get(&from).is_some_and(|pace| *count >= *pace) {
                later.push_back((from, to, request, message, is_answer));
                continue;
            }
            *count += 1;
            is_busy = true;
            self.hand_over(from, to, request, message, is_answer);
        }
        if !later.is_empty() {
            self.now = self.now.after(Duration::from_millis(1));
        }
        later.extend(self.wire.drain(..));
        self.wire = later;
        let count = self.peers.len();
        for (at, peer) in self.peers.iter_mut().enumerate() {
            let is_clear =
                |to: &usize| !self.wire.iter().any(|(from, other, ..)| (*from, *other) == (at, *to));
            (0..count).filter(is_clear).for_each(|to| peer.serve.drained(source(to)));
        }
        is_busy
    }

    fn hand_over(&mut self, from: usize, to: usize, request: RequestId, message: Message, is_answer: bool) {
        let manner = self.peers[from].manner;
        if manner == Manner::Silent {
            return;
        }
        if !is_answer {
            return self.peers[to].serve.asked(source(from), request, message).unwrap();
        }
        let message = spoil(message, manner);
        let peer = &mut self.peers[to];
        match &message {
            Message::Content { bytes, .. } => *peer.from.entry(from).or_default() += bytes.len() as u64,
            Message::List(bytes) => peer.lists += bytes.len() as u64,
            _ => {}
        }
        peer.fetch.received(source(from), AskId(u64::from(request.0) - 1), message, self.now);
    }

    /// Each tells the others which segments it has got since.
    pub(super) fn tell_segments(&mut self) {
        for from in 0..self.peers.len() {
            let parts = self.peers[from].fetch.fresh_parts();
            for part in parts {
                for to in (0..self.peers.len()).filter(|to| *to != from) {
                    let peer = &mut self.peers[to];
                    let holding = peer.said.holdings.entry(source(from)).or_default();
                    let message = HoldingMessage::Segments(part.clone());
                    let root = shoal_proto::digest::Sum::from_bytes(&[0; 32]);
                    holding.apply(message, root, |content| peer.fetch.segments(content)).unwrap();
                    peer.fetch.learned(source(from), News::Segments(&part.content));
                }
            }
        }
    }

    /// One step of everybody, and of the wire.
    pub(super) fn step(&mut self) -> bool {
        let mut is_busy = false;
        for at in 0..self.peers.len() {
            is_busy |= self.act(at);
        }
        is_busy |= self.deliver();
        self.now = self.now.after(self.step);
        is_busy
    }
}

fn spoil(message: Message, manner: Manner) -> Message {
    match (manner, message) {
        (Manner::Liar, Message::List(mut bytes)) => {
            bytes.reverse();
            Message::List(bytes)
        }
        (Manner::Liar | Manner::LiarInSegments, Message::Content { number, from, is_last, mut bytes }) => {
            bytes[0] ^= 1;
            Message::Content { number, from, is_last, bytes }
        }
        (_, message) => message,
    }
}
