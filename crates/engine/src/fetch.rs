//! From a wanted content to a staged file that holds it.
//!
//! Promise: a wanted content comes to stand, whole and checked segment by segment, in a staged file of the disk: from
//! what is here already as far as possible, else from whoever has it. Slow, silent and lying sources cost bounded time and
//! memory (I25), a full disk a wait (I20). Equal inputs give equal actions.
//!
//! ```text
//! small    places here? ─► copy          else Transfer ─► bytes ─► write
//! large    list here? else Transfer ─► list, checked, kept; then for each segment of a page
//!          places here? ─► copy          else near in the older version? chunks ─► compare ─► what is missing ─► write
//!                                        else Transfer ─► bytes ─► write
//! ```
//!
//! The disk checks what it writes: what it calls false is the sender's fault. Begin at [`Fetch::want`] and
//! [`Fetch::poll`].
//!
//! How a request is answered, beyond what `proto::message` says: things come in any order of their numbers, the
//! bytes of each in order and without another's between them. A request is over when all has come, or with one
//! `Unserved`, which is said of all that has not come whole. `crate::serve` is the other end.

mod answers;
mod arrival;
mod equal;
mod large;
mod near;
mod order;
#[cfg(test)]
mod tests;
mod work;
mod writes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shoal_proto::hash::{ContentId, RecordHash};
use shoal_proto::holding::{Has, SegmentMap, SegmentPart};

use shoal_proto::message::{Channel, Message, Span};

use self::arrival::Arrival;
pub use self::work::{Goal, Older, Progress};
use self::work::{State, Work};
use self::writes::{Given, Writes};
use crate::disk::{self, BytesAt, Compare, StageId};
use crate::index;
use crate::limits::{FETCH_BYTES_MAX, GOALS_MAX, LOOK_JOBS_MAX, LOOK_MAX, WRITES_WAITING_MAX};
use crate::time::Time;
use crate::transfer::{Ask, AskId, Fault, Next, Piece, SourceId, Transfer};

/// The name that a machine gives to a job that it asks for; whoever owns the machine tells it the answer by that name.
/// Never used twice by one machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Tag(pub u64);

/// What sources have said to have, as whoever owns the connections keeps it.
pub trait Holdings {
    /// Whether a source has the bytes of a record.
    fn has(&self, source: SourceId, record: &RecordHash) -> Has;

    /// Whether a source has a segment of a content that it is fetching itself.
    fn has_segment(&self, source: SourceId, content: &ContentId, segment: u32) -> Has;
}

/// What a source has told of what it has.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// The bytes of these records.
    Records(&'a [RecordHash]),
    /// Segments of this content.
    Segments(&'a ContentId),
    /// Something else.
    Other,
}

/// What is to be done.
#[derive(Debug)]
pub enum Do {
    /// Perform this job of the index; tell the answer with [`Fetch::indexed`].
    Index(Tag, index::Job),
    /// Perform this job of the disk; tell the answer with [`Fetch::disk_done`].
    Disk(Tag, disk::Job),
    /// Ask a source this, as a request of its own; tell what comes of it with [`Fetch::received`].
    Ask(SourceId, AskId, Message),
    /// Tell the source that the rest of a request is not needed.
    Cancel(SourceId, AskId),
    /// Hang up on a source.
    GiveUp(SourceId, Fault),
    /// All bytes are in the staged file: commit it, then [`Fetch::taken`].
    Done(StageId),
    /// The disk is full. It is tried again after a while.
    NoSpace(StageId),
    /// The system or the index refuses; the text says why. [`Fetch::forget`] it, and want it again later.
    Failed(StageId, String),
}

/// What one share fetches.
#[derive(Debug)]
pub struct Fetch {
    transfer: Transfer,
    channels: BTreeMap<SourceId, Channel>,
    works: BTreeMap<StageId, Work>,
    /// Of those that want one content the one that others are asked for.
    by_content: BTreeMap<ContentId, StageId>,
    /// Those that wait for what comes of it.
    followers: BTreeMap<ContentId, BTreeSet<StageId>>,
    /// How many wishes have ended.
    ended: u64,
    by_record: BTreeMap<RecordHash, BTreeSet<StageId>>,
    next_stage: u64,
    tags: u64,
    /// What each job is about that was not answered yet.
    jobs: BTreeMap<Tag, Job>,
    asks: BTreeMap<AskId, Asked>,
    /// What is to be looked for on this disk as a whole.
    to_look: BTreeSet<(u64, StageId)>,
    looks_out: usize,
    /// Of several segments, and not begun.
    to_start: BTreeSet<(u64, StageId)>,
    /// Of several segments, and begun.
    started: BTreeSet<StageId>,
    /// While anything comes they are not gone through for what nobody has before this.
    park_at: Time,
    writes: Writes,
    /// When something that waits goes on.
    wakes: BTreeSet<(Time, StageId)>,
    /// Staged files to be dropped.
    drops: Vec<StageId>,
    /// So much may be asked for or in memory; little after the disk was full.
    budget: u64,
    said: VecDeque<Do>,
}

/// What a job is about.
#[derive(Debug)]
enum Job {
    /// Where whole contents are.
    Places(Vec<StageId>),
    /// The list of a content, or a page of it.
    List(StageId, u32, Option<u32>),
    /// The list of the older version, or the page of it that begins at this byte.
    Older(StageId, u32, u64),
    /// Where segments are.
    SegmentPlaces(StageId, u32, Vec<u32>),
    PutList(StageId),
    Write(Vec<Given>),
    /// Which bytes of a segment are missing; who told its chunks.
    Compare(StageId, u32, u32, SourceId, Box<Compare>),
    Drop,
}

/// Something that was asked of a source.
#[derive(Debug)]
struct Asked {
    source: SourceId,
    wants: Wants,
}

#[derive(Debug)]
enum Wants {
    Contents(Vec<ContentId>, Arrival),
    Segment(ContentId, u32, Arrival),
    /// What is missing of a segment, and what of it came.
    Spans {
        content: ContentId,
        at: u32,
        compared: Box<Compare>,
        spans: Vec<Span>,
        came: Vec<(u32, Vec<u8>)>,
        arrival: Arrival,
    },
    List(ContentId, Option<u32>),
    Chunks(ContentId, u32),
}

impl Fetch {
    /// Nothing wanted yet. The seed is [`Transfer::new`]'s; staged files are called by numbers from `first_stage` on.
    #[must_use]
    pub fn new(seed: u64, first_stage: u64) -> Self {
        Self {
            transfer: Transfer::new(seed),
            channels: BTreeMap::new(),
            works: BTreeMap::new(),
            by_content: BTreeMap::new(),
            followers: BTreeMap::new(),
            ended: 0,
            by_record: BTreeMap::new(),
            next_stage: first_stage,
            tags: 0,
            jobs: BTreeMap::new(),
            asks: BTreeMap::new(),
            to_look: BTreeSet::new(),
            looks_out: 0,
            to_start: BTreeSet::new(),
            started: BTreeSet::new(),
            park_at: Time::ZERO,
            writes: Writes::default(),
            wakes: BTreeSet::new(),
            drops: Vec::new(),
            budget: FETCH_BYTES_MAX,
            said: VecDeque::new(),
        }
    }

    // ── what is wanted ──

    /// Whether so many more can be wanted.
    #[must_use]
    pub fn has_room_for(&self, count: usize) -> bool {
        self.works.len() + count <= GOALS_MAX
    }

    /// How many wishes have ended: as long as this grows, there is room for others soon.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.ended
    }

    /// Wants a content, in a staged file of its own. Of equal contents one is asked for, and the others copied from where
    /// that one has been put. `None`: there is no room, or the content has no bytes.
    pub fn want(&mut self, mut goal: Goal) -> Option<StageId> {
        if !self.has_room_for(1) || goal.size == 0 {
            return None;
        }
        let stage = StageId(self.next_stage);
        self.next_stage += 1;
        // The number keeps equal ranks apart; four thousand million contents are not wanted at once.
        let rank = u64::from(goal.rank) << 32 | stage.0 & u64::from(u32::MAX);
        let is_led = *self.by_content.entry(goal.content).or_insert(stage) != stage;
        self.note_records(stage, &goal.records);
        let places = goal.places.take();
        self.works.insert(
            stage,
            Work {
                goal,
                rank,
                state: State::Queued,
                is_begun: false,
                is_here: None,
                is_parked: false,
                pauses: 0,
                epoch: 0,
                pages: None,
                map: None,
                useless_deltas: 0,
                useful_deltas: 0,
            },
        );
        match places {
            Some(places) if !places.is_empty() || !is_led => self.places_known(stage, places),
            None if !is_led => self.enqueue(stage),
            Some(_) | None => self.follow(stage),
        }
        Some(stage)
    }

    /// Wants a content no more: the staged file is dropped, and who waited for it goes on without.
    pub fn forget(&mut self, stage: StageId) {
        let Some(work) = self.works.get(&stage) else { return };
        let content = work.goal.content;
        if work.is_begun {
            self.drops.push(stage);
        }
        self.remove(stage);
        self.next_leads(&content);
    }

    /// The staged file was committed, and the index knows of it: who waited for it copies it from there.
    pub fn taken(&mut self, stage: StageId) {
        let Some(work) = self.works.get(&stage) else { return };
        let content = work.goal.content;
        self.remove(stage);
        self.followers_look(&content);
    }

    /// A content has come to stand on this disk, or was found there: what waits for it looks for it here again.
    pub fn appeared(&mut self, content: &ContentId) {
        let Some(stage) = self.by_content.get(content).copied() else { return };
        self.look_again(stage);
        self.followers_look(content);
    }

    /// How far a content has come; `None` if it is not wanted.
    pub fn progress(&self, stage: StageId, holdings: &impl Holdings) -> Option<Progress> {
        let work = self.works.get(&stage)?;
        let content = &work.goal.content;
        let has = |source, piece: &Piece| said(&self.works, &self.by_content, holdings, source, piece);
        Some(match &work.state {
            State::Done => Progress::Done,
            State::Paused => Progress::NoSpace,
            State::Failed(why) => Progress::Failed(why.clone()),
            State::Following => self.progress_of_leader(content, holdings),
            _ if self.is_leader(stage) && self.transfer.is_without_source(content, has) => Progress::NoSource,
            State::Queued if work.is_parked => Progress::NoSource,
            State::Queued | State::Looking => Progress::Looking,
            State::Small | State::Page(_) => Progress::Fetching,
        })
    }

    /// Whether anything may still come of an ask.
    pub fn is_asking(&self, ask: AskId) -> bool {
        self.asks.contains_key(&ask)
    }

    // ── who can be asked ──

    /// A member is connected, and this share is this channel there.
    pub fn connected(&mut self, source: SourceId, channel: Channel) {
        self.channels.insert(source, channel);
        self.transfer.connected(source);
    }

    /// A member is gone.
    pub fn disconnected(&mut self, source: SourceId) {
        self.channels.remove(&source);
        self.transfer.disconnected(source);
        self.drop_asks_of(source);
    }

    /// A source has told what it has.
    pub fn learned(&mut self, source: SourceId, news: News<'_>) {
        match news {
            News::Records(records) => {
                let stages: BTreeSet<StageId> = records
                    .iter()
                    .filter_map(|record| self.by_record.get(record))
                    .flatten()
                    .copied()
                    .collect();
                for stage in stages {
                    if let Some(work) = self.works.get(&stage) {
                        self.transfer.learned_of(source, &work.goal.content);
                    }
                }
            }
            News::Segments(content) => self.transfer.learned_of(source, content),
            News::Other => {}
        }
        self.transfer.learned(source, None);
    }

    // ── time ──

    /// When to call [`Self::tick`] though nothing has happened.
    #[must_use]
    pub fn next_wake(&self, now: Time) -> Option<Time> {
        let wake = self.wakes.first().map(|(at, _)| *at);
        [self.transfer.next_wake(now), wake].into_iter().flatten().min()
    }

    /// A moment has come. Then [`Self::poll`].
    pub fn tick(&mut self, now: Time) {
        self.transfer.tick(now);
        while let Some((at, stage)) = self.wakes.first().copied()
            && at <= now
        {
            self.wakes.remove(&(at, stage));
            self.enqueue(stage);
        }
    }

    // ── what others may get ──

    /// How many segments a content has that is being fetched in several, once that is known.
    #[must_use]
    pub fn segments(&self, content: &ContentId) -> Option<u32> {
        let (_, work) = self.work_of(content)?;
        work.map.as_ref().map(|map| map.count)
    }

    /// The segments that came to stand here since this was called last, to be told to all: now and then, not each.
    pub fn fresh_parts(&mut self) -> Vec<SegmentPart> {
        let mut parts = Vec::new();
        for stage in self.by_content.values() {
            if let Some(work) = self.works.get_mut(stage)
                && let Some(map) = &mut work.map
            {
                parts.extend(map.has.parts(work.goal.content, &map.told));
                map.told.clone_from(&map.has);
            }
        }
        parts
    }

    /// All that [`Self::fresh_parts`] has told, for whoever connects now.
    #[must_use]
    pub fn told_parts(&self) -> Vec<SegmentPart> {
        let told = |work: &Work| {
            let map = work.map.as_ref()?;
            let none = SegmentMap::new(map.count);
            Some(map.told.parts(work.goal.content, &none).collect::<Vec<_>>())
        };
        let leaders = self.by_content.values().filter_map(|stage| self.works.get(stage));
        leaders.filter_map(told).flatten().collect()
    }

    /// Where in a staged file something stands that was checked, and how many bytes it has: to be served though it is
    /// not in the folder yet. Of a list with pages only what is in the page that is worked on.
    #[must_use]
    pub fn staged(&self, asked: &index::Asked) -> Option<(BytesAt, u64)> {
        match asked {
            index::Asked::Content(content) => {
                let (stage, work) = self.work_of(content)?;
                let is_whole = matches!(work.state, State::Done) && work.is_small();
                is_whole.then_some((BytesAt::Staged { stage, offset: 0 }, work.goal.size))
            }
            index::Asked::Segment(content, at) => {
                let (stage, work) = self.work_of(content)?;
                let (offset, segment) = work.page()?.segment(*at)?;
                work.has(*at).then_some((BytesAt::Staged { stage, offset }, segment.length.into()))
            }
            index::Asked::List(..) => None,
        }
    }

    // ── what to do ──

    /// What to do next, as long as there is something.
    pub fn poll(&mut self, now: Time, holdings: &impl Holdings) -> Option<Do> {
        loop {
            if let Some(next) = self.said.pop_front() {
                return Some(next);
            }
            if let Some(next) = self.transfer.say() {
                return Some(self.turn(next));
            }
            if !self.drops.is_empty() {
                let drops = core::mem::take(&mut self.drops);
                return Some(self.disk(disk::Job::Drop(drops), Job::Drop));
            }
            if let Some((job, given)) = self.writes.next_job() {
                return Some(self.write(job, given));
            }
            if let Some(next) = self.look() {
                return Some(next);
            }
            if self.start_next() || self.compare_next() || self.look_in_pages() {
                continue;
            }
            let in_memory = self.in_memory();
            if (in_memory == 0 || in_memory < self.budget)
                && let Some(next) = self.ask_next(now, holdings)
            {
                return Some(next);
            }
            if !self.park(now, holdings) {
                return None;
            }
        }
    }

    /// Bytes that may have to be kept soon, or are: asked for, or on their way to the disk.
    fn in_memory(&self) -> u64 {
        self.transfer.owed() + self.writes.came()
    }

    fn ask_next(&mut self, now: Time, holdings: &impl Holdings) -> Option<Do> {
        let Self { transfer, works, by_content, .. } = self;
        let next = transfer.poll(now, |source, piece| said(works, by_content, holdings, source, piece))?;
        Some(self.turn(next))
    }

    /// What the transfer wants, as it is done here.
    fn turn(&mut self, next: Next) -> Do {
        match next {
            Next::Ask(ask) => self.ask(&ask),
            Next::Cancel(source, ask) => {
                self.drop_ask(ask);
                Do::Cancel(source, ask)
            }
            Next::GiveUp(source, fault) => {
                self.drop_asks_of(source);
                Do::GiveUp(source, fault)
            }
        }
    }

    fn ask(&mut self, ask: &Ask) -> Do {
        let channel = self.channels.get(&ask.source).copied().unwrap_or(Channel(0));
        let contents = |piece: &Piece| match piece {
            Piece::Content(content) => Some(*content),
            _ => None,
        };
        let (wants, message) = match ask.pieces.first() {
            Some(&Piece::List(content, page)) => {
                (Wants::List(content, page), Message::WantList { channel, content, page })
            }
            Some(&Piece::Chunks(content, segment)) => {
                (Wants::Chunks(content, segment), Message::WantChunks { channel, content, segment })
            }
            Some(&Piece::Segment(content, segment)) => {
                let length = self.segment_length(&content, segment);
                let spans = vec![Span { from: 0, length }];
                let wants = Wants::Segment(content, segment, Arrival::new([length.into()]));
                (wants, Message::WantSegment { channel, content, segment, spans })
            }
            Some(Piece::Content(_)) | None => {
                let contents: Vec<_> = ask.pieces.iter().filter_map(contents).collect();
                let lengths: Vec<u64> = contents.iter().map(|content| self.size(content)).collect();
                let wants = Wants::Contents(contents.clone(), Arrival::new(lengths));
                (wants, Message::WantContents { channel, contents })
            }
        };
        self.asks.insert(ask.id, Asked { source: ask.source, wants });
        Do::Ask(ask.source, ask.id, message)
    }

    fn size(&self, content: &ContentId) -> u64 {
        self.work_of(content).map_or(0, |(_, work)| work.goal.size)
    }

    fn segment_length(&self, content: &ContentId, at: u32) -> u32 {
        let segment = self.work_of(content).and_then(|(_, work)| work.page()?.segment(at));
        segment.map_or(1, |(_, segment)| segment.length)
    }

    fn work_of(&self, content: &ContentId) -> Option<(StageId, &Work)> {
        let stage = *self.by_content.get(content)?;
        Some((stage, self.works.get(&stage)?))
    }

    fn index(&mut self, job: index::Job, about: Job) -> Do {
        Do::Index(self.tag(about), job)
    }

    fn disk(&mut self, job: disk::Job, about: Job) -> Do {
        Do::Disk(self.tag(about), job)
    }

    fn tag(&mut self, about: Job) -> Tag {
        let tag = Tag(self.tags);
        self.tags += 1;
        self.jobs.insert(tag, about);
        tag
    }

    fn write(&mut self, job: disk::Job, given: Vec<Given>) -> Do {
        for given in &given {
            if let Some(work) = self.works.get_mut(&given.stage) {
                work.is_begun = true;
            }
        }
        self.disk(job, Job::Write(given))
    }

    /// Asks the index where contents of at most one segment are.
    fn look(&mut self) -> Option<Do> {
        if self.to_look.is_empty()
            || self.looks_out >= LOOK_JOBS_MAX
            || self.writes.len() >= WRITES_WAITING_MAX
        {
            return None;
        }
        let mut stages = Vec::new();
        let mut contents = Vec::new();
        while stages.len() < LOOK_MAX
            && let Some((_, stage)) = self.to_look.pop_first()
        {
            if let Some(work) = self.works.get_mut(&stage) {
                work.state = State::Looking;
                contents.push(work.goal.content);
                stages.push(stage);
            }
        }
        self.looks_out += 1;
        Some(self.index(index::Job::Places(contents), Job::Places(stages)))
    }
}

/// What a source has said of a piece: by the records that name the content, and by the segments that it told of.
fn said(
    works: &BTreeMap<StageId, Work>,
    by_content: &BTreeMap<ContentId, StageId>,
    holdings: &impl Holdings,
    source: SourceId,
    piece: &Piece,
) -> Has {
    let (content, segment) = match piece {
        Piece::Content(content) => (content, None),
        // Whoever has any segment has the list.
        Piece::List(content, _) => (content, Some(0)),
        Piece::Chunks(content, at) | Piece::Segment(content, at) => (content, Some(*at)),
    };
    let records = by_content.get(content).and_then(|stage| works.get(stage)).map(|work| &work.goal.records);
    let mut whole = Has::No;
    for record in records.into_iter().flatten() {
        match holdings.has(source, record) {
            Has::Yes => return Has::Yes,
            Has::Unknown => whole = Has::Unknown,
            Has::No => {}
        }
    }
    match segment.map(|segment| holdings.has_segment(source, content, segment)) {
        Some(Has::Yes) => Has::Yes,
        Some(Has::No) if matches!(piece, Piece::List(..)) => Has::Yes,
        Some(Has::No) => Has::No,
        Some(Has::Unknown) | None => whole,
    }
}
