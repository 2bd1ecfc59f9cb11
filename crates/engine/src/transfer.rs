//! From whom to fetch which bytes, and what to do about slow, silent and lying ones.
//!
//! Promise: what is wanted, and held by somebody who answers, is asked for until it is here. A piece is asked of one
//! source at a time, of a second one only when the first has stalled. A silent source costs a bounded wait, one that
//! sends false bytes a bounded number of pieces (I25), and what a source may owe us is bounded. Equal inputs give equal
//! asks.
//!
//! Small contents are fetched whole, many in one ask; large ones by the segment, so that several sources share the work
//! and each soon has something that the others lack. Begin at [`Transfer::want`] and [`Transfer::poll`]: whoever owns the
//! connections turns an [`Ask`] into messages, and tells what comes of it.

mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::hash::{ContentId, prefix};
use shoal_proto::holding::Has;
use shoal_proto::message::Unserved;

use self::source::Source;
pub use self::source::SourceId;
use crate::limits::{
    ASK_BYTES_MAX, ASK_PIECES_MAX, BUSY_PAUSE, LATE, RAREST_OF, SILENCE_MAX, STALL, STRIKES_MAX,
};
use crate::time::Time;

/// What is fetched at once, from one source. Of equal rank, what stands first here comes first.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Piece {
    /// A whole content, of one segment.
    Content(ContentId),
    /// The list of a larger one, or the index of its pages, or a page.
    List(ContentId, Option<u32>),
    /// The chunks of a segment, by its place in the list.
    Chunks(ContentId, u32),
    /// A segment, by its place in the list.
    Segment(ContentId, u32),
}

/// A piece that is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// Which.
    pub piece: Piece,
    /// Its length.
    pub bytes: u64,
    /// What is lower comes first; all pieces of one content have one rank, and nothing else has it.
    pub rank: u64,
}

/// The name of an ask, never used twice.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct AskId(pub u64);

/// Pieces to be asked of a source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ask {
    /// By this name its outcome is told.
    pub id: AskId,
    /// Whom to ask.
    pub source: SourceId,
    /// Small contents, or one of anything else.
    pub pieces: Vec<Piece>,
}

/// What to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Next {
    /// Ask for these.
    Ask(Ask),
    /// Tell the source that the rest of an ask is not needed any more.
    Cancel(SourceId, AskId),
    /// Hang up on a source.
    GiveUp(SourceId, Fault),
}

/// Why a source is given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// Nothing came for [`SILENCE_MAX`].
    #[error("it did not answer for {} seconds", SILENCE_MAX.as_secs())]
    Silent,
    /// [`STRIKES_MAX`] pieces were not what they were to be.
    #[error("it sent bytes that are not what was asked for")]
    FalseBytes,
}

/// What is wanted by one share, and who is asked for it.
#[derive(Debug)]
pub struct Transfer {
    seed: u64,
    asks_made: u64,
    wanted: BTreeMap<Piece, State>,
    /// What is asked of nobody, in the order in which it is wanted.
    waiting: BTreeSet<(u64, Piece)>,
    asks: BTreeMap<AskId, Asked>,
    sources: BTreeMap<SourceId, Source>,
    /// What is to be said besides asking.
    said: Vec<Next>,
    /// Counts what could let an idle source find something.
    news: u64,
    /// Bytes that were asked for and have not come, of all sources.
    owed: u64,
    /// When something that was refused may be asked for again.
    busy_until: BTreeSet<Time>,
}

#[derive(Debug)]
struct State {
    bytes: u64,
    rank: u64,
    asks: BTreeSet<AskId>,
    /// It came, and is being checked.
    is_checked: bool,
    /// Who has not got it, or not before then.
    refused: BTreeMap<SourceId, Option<Time>>,
}

#[derive(Debug)]
struct Asked {
    source: SourceId,
    /// What has not come of it, and how many bytes that is.
    pieces: BTreeMap<Piece, u64>,
    since: Time,
}

impl Transfer {
    /// Nothing wanted yet. The seed breaks ties between equally rare segments: different ones make devices ask in
    /// different orders, so that they have something to give each other.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            asks_made: 0,
            wanted: BTreeMap::new(),
            waiting: BTreeSet::new(),
            asks: BTreeMap::new(),
            sources: BTreeMap::new(),
            said: Vec::new(),
            news: 0,
            owed: 0,
            busy_until: BTreeSet::new(),
        }
    }

    /// Wants a piece; once is enough.
    pub fn want(&mut self, Wanted { piece, bytes, rank }: Wanted) {
        let fresh = State { bytes, rank, asks: BTreeSet::new(), is_checked: false, refused: BTreeMap::new() };
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.wanted.entry(piece) {
            vacant.insert(fresh);
            self.waiting.insert((rank, piece));
            self.news += 1;
        }
    }

    /// Wants a piece no more: it is here and was found to be right, or nobody needs it.
    pub fn forget(&mut self, piece: &Piece) {
        let Some(state) = self.wanted.remove(piece) else { return };
        self.waiting.remove(&(state.rank, *piece));
        for ask in state.asks {
            if let Some(source) = self.take_from_ask(ask, piece) {
                self.said.push(Next::Cancel(source, ask));
            }
        }
    }

    /// Wants nothing of a content any more.
    pub fn forget_all(&mut self, content: &ContentId) {
        let pieces: Vec<_> = self.pieces_of(content).map(|(piece, _)| *piece).collect();
        pieces.iter().for_each(|piece| self.forget(piece));
    }

    /// How many pieces are wanted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Bytes that were asked for and have not come: so much memory may be needed soon.
    #[must_use]
    pub const fn owed(&self) -> u64 {
        self.owed
    }

    /// Whether anything is wanted of a content, and nothing of that was asked for, is being checked, or is to be had
    /// from anybody.
    pub fn is_without_source(&self, content: &ContentId, has: impl Fn(SourceId, &Piece) -> Has) -> bool {
        let mut pieces = self.pieces_of(content).peekable();
        let comes = |(piece, state): (&Piece, &State)| {
            let willing = |source: &SourceId| {
                self.sources.get(source).is_some_and(|source| source.strikes < STRIKES_MAX)
                    && state.refused.get(source) != Some(&None)
                    && has(*source, piece) != Has::No
            };
            state.is_checked || !state.asks.is_empty() || self.sources.keys().any(willing)
        };
        pieces.peek().is_some() && !pieces.any(comes)
    }

    /// What is wanted of a content.
    fn pieces_of(&self, content: &ContentId) -> impl Iterator<Item = (&Piece, &State)> {
        let content = *content;
        [
            (Piece::Content(content), Piece::Content(content)),
            (Piece::List(content, None), Piece::List(content, Some(u32::MAX))),
            (Piece::Chunks(content, 0), Piece::Chunks(content, u32::MAX)),
            (Piece::Segment(content, 0), Piece::Segment(content, u32::MAX)),
        ]
        .into_iter()
        .flat_map(|(first, last)| self.wanted.range(first..=last))
    }

    /// Whether a piece is wanted.
    #[must_use]
    pub fn wants(&self, piece: &Piece) -> bool {
        self.wanted.contains_key(piece)
    }

    // ── sources ──

    /// Somebody can be asked.
    pub fn connected(&mut self, source: SourceId) {
        self.sources.entry(source).or_default();
        self.news += 1;
    }

    /// Somebody is gone: what it owed is asked of others.
    pub fn disconnected(&mut self, source: SourceId) {
        self.sources.remove(&source);
        let asks: Vec<_> =
            self.asks.iter().filter(|(_, asked)| asked.source == source).map(|(id, _)| *id).collect();
        asks.into_iter().for_each(|ask| self.ended(ask));
        for state in self.wanted.values_mut() {
            state.refused.remove(&source);
        }
        self.news += 1;
    }

    /// Somebody has said what it has: who was idle may find something now, and what it refused it may have.
    pub fn learned(&mut self, source: SourceId, piece: Option<&Piece>) {
        if let Some(state) = piece.and_then(|piece| self.wanted.get_mut(piece)) {
            state.refused.remove(&source);
        }
        self.news += 1;
    }

    /// As [`Self::learned`], of all that is wanted of a content.
    pub fn learned_of(&mut self, source: SourceId, content: &ContentId) {
        let pieces: Vec<_> = self.pieces_of(content).map(|(piece, _)| *piece).collect();
        for piece in pieces {
            self.learned(source, Some(&piece));
        }
        self.news += 1;
    }

    /// Something else has changed that could let a source be of use.
    pub fn has_news(&mut self) {
        self.news += 1;
    }

    // ── what comes of an ask ──

    /// Some bytes of an ask came.
    pub fn came(&mut self, ask: AskId, bytes: u64, now: Time) {
        let Some(asked) = self.asks.get(&ask) else { return };
        if let Some(source) = self.sources.get_mut(&asked.source) {
            source.came(bytes, now);
        }
    }

    /// All bytes of a piece came; whether they are right is yet to be found. Returns whether they are still of use.
    pub fn piece_came(&mut self, ask: AskId, piece: &Piece) -> bool {
        let Some(state) = self.wanted.get_mut(piece) else { return false };
        if !state.asks.remove(&ask) {
            return false;
        }
        let is_of_use = !core::mem::replace(&mut state.is_checked, true);
        self.waiting.remove(&(state.rank, *piece));
        self.take_from_ask(ask, piece);
        is_of_use
    }

    /// What came from this source was not what the piece is: it is asked for again, elsewhere first.
    pub fn is_false(&mut self, piece: &Piece, source: SourceId) {
        self.strike(source);
        if let Some(state) = self.wanted.get_mut(piece) {
            state.refused.insert(source, None);
        }
        self.is_lost(piece);
    }

    /// A source sent something false that is not wanted any more.
    pub fn strike(&mut self, source: SourceId) {
        if let Some(liar) = self.sources.get_mut(&source) {
            liar.strikes = liar.strikes.saturating_add(1);
            if liar.strikes == STRIKES_MAX {
                self.said.push(Next::GiveUp(source, Fault::FalseBytes));
            }
        }
    }

    /// What came could not be kept, for no fault of who sent it: it is asked for again.
    pub fn is_lost(&mut self, piece: &Piece) {
        if let Some(state) = self.wanted.get_mut(piece) {
            state.is_checked = false;
            if state.asks.is_empty() {
                self.waiting.insert((state.rank, *piece));
            }
            self.news += 1;
        }
    }

    /// A source does not serve a piece.
    pub fn refused(&mut self, ask: AskId, piece: &Piece, why: Unserved, now: Time) {
        let Some(source) = self.asks.get(&ask).map(|asked| asked.source) else { return };
        let until = match why {
            Unserved::Busy => Some(now.after(BUSY_PAUSE)),
            Unserved::Foreign | Unserved::Absent => None,
        };
        self.busy_until.extend(until);
        if let Some(state) = self.wanted.get_mut(piece) {
            state.refused.insert(source, until);
        }
        self.hand_back(ask, piece);
    }

    /// A source does not serve what has not come of an ask.
    pub fn refused_all(&mut self, ask: AskId, why: Unserved, now: Time) {
        let pieces = self.asks.get(&ask).map(|asked| asked.pieces.clone()).unwrap_or_default();
        pieces.keys().for_each(|piece| self.refused(ask, piece, why, now));
    }

    /// An ask is over: what has not come of it is asked for again.
    pub fn ended(&mut self, ask: AskId) {
        let pieces = self.asks.get(&ask).map(|asked| asked.pieces.clone()).unwrap_or_default();
        pieces.keys().for_each(|piece| self.hand_back(ask, piece));
        self.asks.remove(&ask);
    }

    /// Takes a piece out of an ask that will not bring it.
    fn hand_back(&mut self, ask: AskId, piece: &Piece) {
        let Some(state) = self.wanted.get_mut(piece) else { return };
        if !state.asks.remove(&ask) {
            return;
        }
        let (rank, is_idle) = (state.rank, state.asks.is_empty() && !state.is_checked);
        if is_idle {
            self.waiting.insert((rank, *piece));
        }
        self.take_from_ask(ask, piece);
        self.news += 1;
    }

    /// Takes a piece off what a source owes; tells the source if the ask is empty then.
    fn take_from_ask(&mut self, ask: AskId, piece: &Piece) -> Option<SourceId> {
        let asked = self.asks.get_mut(&ask)?;
        let source = asked.source;
        if let Some(bytes) = asked.pieces.remove(piece) {
            self.owed = self.owed.saturating_sub(bytes);
            if let Some(source) = self.sources.get_mut(&source) {
                source.owes = source.owes.saturating_sub(bytes);
            }
        }
        let is_over = asked.pieces.is_empty();
        if is_over {
            self.asks.remove(&ask);
        }
        is_over.then_some(source)
    }

    // ── what to ask ──

    /// What to do next but asking, as long as there is something.
    pub fn say(&mut self) -> Option<Next> {
        self.said.pop()
    }

    /// What to do next, as long as there is something. `has` says what a source has said to have.
    pub fn poll(&mut self, now: Time, has: impl Fn(SourceId, &Piece) -> Has) -> Option<Next> {
        if let Some(next) = self.say() {
            return Some(next);
        }
        let able: Vec<SourceId> = self
            .sources
            .iter()
            .filter(|(_, source)| {
                source.strikes < STRIKES_MAX && source.has_room() && !source.is_idle(self.news, now)
            })
            .map(|(id, _)| *id)
            .collect();
        for source in able {
            let pieces = self.choose(source, now, &has);
            if pieces.is_empty() {
                let news = self.news;
                let again = self.next_chance(now);
                if let Some(source) = self.sources.get_mut(&source) {
                    source.found_nothing(news, again);
                }
                continue;
            }
            let bytes = |piece: &Piece| self.wanted.get(piece).map_or(0, |state| state.bytes);
            let pieces = pieces.into_iter().map(|piece| (piece, bytes(&piece))).collect();
            return Some(Next::Ask(self.ask(source, pieces, now)));
        }
        None
    }

    /// When to call [`Self::tick`] and [`Self::poll`] again though nothing has happened.
    #[must_use]
    pub fn next_wake(&self, now: Time) -> Option<Time> {
        let waits = self.asks.values().map(|asked| {
            let stalls = self.stalls(asked);
            if stalls > now { stalls } else { self.heard(asked).after(SILENCE_MAX) }
        });
        waits.chain(self.busy_until.range(now..).find(|at| **at > now).copied()).min()
    }

    /// Gives up the sources that have been silent for too long.
    pub fn tick(&mut self, now: Time) {
        self.busy_until = self.busy_until.split_off(&now);
        let silent: BTreeSet<SourceId> = self
            .asks
            .values()
            .filter(|asked| now >= self.heard(asked).after(SILENCE_MAX))
            .map(|asked| asked.source)
            .collect();
        for source in silent {
            self.disconnected(source);
            self.said.push(Next::GiveUp(source, Fault::Silent));
        }
    }

    /// When something last came from whom this was asked of, of whatever it was asked for: it answers in order.
    fn heard(&self, asked: &Asked) -> Time {
        self.sources.get(&asked.source).map_or(asked.since, |source| source.heard)
    }

    /// From when on what was asked may be asked of another source as well.
    fn stalls(&self, asked: &Asked) -> Time {
        self.heard(asked).after(STALL).min(asked.since.after(LATE))
    }

    /// The next moment at which something may be asked of a source that can be asked for nothing now.
    fn next_chance(&self, now: Time) -> Time {
        let stalls = self.asks.values().map(|asked| self.stalls(asked));
        let waits = stalls.chain(self.busy_until.range(now..).take(2).copied());
        // What is asked of others from now on cannot stall before that.
        waits.filter(|at| *at > now).fold(now.after(STALL), Time::min)
    }

    /// Asks this source for a piece, wanted already or not, of which it owes us so many bytes then. `None`: it cannot be
    /// asked; the piece is wanted, from whoever has it.
    pub fn ask_of(&mut self, source: SourceId, wanted: Wanted, bytes: u64, now: Time) -> Option<AskId> {
        self.want(wanted);
        let is_willing = |source: &Source| source.strikes < STRIKES_MAX;
        let is_free = |state: &State| state.asks.is_empty() && !state.is_checked;
        if !self.sources.get(&source).is_some_and(is_willing)
            || !self.wanted.get(&wanted.piece).is_some_and(is_free)
        {
            return None;
        }
        Some(self.ask(source, vec![(wanted.piece, bytes)], now).id)
    }

    fn ask(&mut self, source: SourceId, pieces: Vec<(Piece, u64)>, now: Time) -> Ask {
        let id = AskId(self.asks_made);
        self.asks_made += 1;
        let bytes: u64 = pieces.iter().map(|(_, bytes)| *bytes).sum();
        for (piece, _) in &pieces {
            if let Some(state) = self.wanted.get_mut(piece) {
                self.waiting.remove(&(state.rank, *piece));
                state.asks.insert(id);
            }
        }
        self.owed += bytes;
        if let Some(source) = self.sources.get_mut(&source) {
            source.is_asked(bytes, now);
        }
        let ask = Ask { id, source, pieces: pieces.iter().map(|(piece, _)| *piece).collect() };
        self.asks.insert(id, Asked { source, pieces: pieces.into_iter().collect(), since: now });
        ask
    }

    /// What to ask a source for: what is wanted first and it has, else what another one has stalled with.
    fn choose(&self, source: SourceId, now: Time, has: &impl Fn(SourceId, &Piece) -> Has) -> Vec<Piece> {
        let serves = |piece: &Piece| self.serves(source, piece, now, has);
        let mut waiting = self.waiting.iter().filter(|(_, piece)| serves(piece)).peekable();
        match waiting.peek() {
            Some((rank, Piece::Segment(..))) => {
                // Segments stand behind all else of their content.
                let alike = waiting.take_while(|(other, _)| other == rank).take(RAREST_OF);
                let rarest = alike.min_by_key(|(_, piece)| (self.holders(piece, has), self.tie(piece)));
                rarest.map(|(_, piece)| *piece).into_iter().collect()
            }
            Some((_, Piece::Content(_))) => self.gather(waiting.map(|(_, piece)| *piece)),
            Some((_, piece)) => vec![*piece],
            None => {
                let stalled =
                    self.asks.values().filter(|asked| asked.source != source && now >= self.stalls(asked));
                let once = |piece: &&Piece| self.wanted.get(piece).is_some_and(|state| state.asks.len() == 1);
                let mut pieces = stalled.flat_map(|asked| asked.pieces.keys()).filter(once);
                pieces.find(|piece| serves(piece)).copied().into_iter().collect()
            }
        }
    }

    /// Small contents from the first on, as many as make a good ask.
    fn gather(&self, pieces: impl Iterator<Item = Piece>) -> Vec<Piece> {
        let mut gathered = Vec::new();
        let mut bytes = 0;
        for piece in pieces.take(ASK_PIECES_MAX).take_while(|piece| matches!(piece, Piece::Content(_))) {
            bytes += self.wanted.get(&piece).map_or(0, |state| state.bytes);
            if bytes > ASK_BYTES_MAX && !gathered.is_empty() {
                break;
            }
            gathered.push(piece);
        }
        gathered
    }

    /// Whether a source is worth asking for a piece: it says that it has it, or has said nothing and nobody else has it.
    fn serves(
        &self,
        source: SourceId,
        piece: &Piece,
        now: Time,
        has: &impl Fn(SourceId, &Piece) -> Has,
    ) -> bool {
        let Some(state) = self.wanted.get(piece) else { return false };
        match state.refused.get(&source) {
            Some(None) => return false,
            Some(Some(until)) if now < *until => return false,
            _ => {}
        }
        match has(source, piece) {
            Has::Yes => true,
            Has::No => false,
            Has::Unknown => self.holders(piece, has) == 0,
        }
    }

    /// How many sources say that they have a piece, and have not refused it.
    fn holders(&self, piece: &Piece, has: &impl Fn(SourceId, &Piece) -> Has) -> usize {
        let refused = self.wanted.get(piece).map(|state| &state.refused);
        let serves = |source: &&SourceId| {
            refused.is_none_or(|refused| refused.get(source) != Some(&None))
                && has(**source, piece) == Has::Yes
        };
        self.sources.keys().filter(serves).count()
    }

    fn tie(&self, piece: &Piece) -> u64 {
        let Piece::Segment(content, at) = piece else { return 0 };
        // Any well-mixed order will do (the finisher of SplitMix64; Steele, Lea, Flood 2014).
        let mut mixed = self.seed ^ prefix(content.as_bytes()).wrapping_add(u64::from(*at) << 20);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
