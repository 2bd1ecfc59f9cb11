//! What index, disk and sources answer.
//!
//! Promise: each answer leads to the next step of what it is about, or to nothing, if that is not wanted any more. What a
//! source sends is checked before anything is done with it; what cannot be right is charged to it.

use shoal_proto::chunk::ChunkList;
use shoal_proto::hash::ContentId;
use shoal_proto::limits::SPANS_MAX;
use shoal_proto::message::{Message, Span};
use shoal_proto::segment::{PageIndex, SegmentList};

use super::arrival::{Arrival, Came};
use super::work::{State, Work};
use super::writes::{From, Given, Origin, Part, Writing};
use super::{Asked, Do, Fetch, Job, Tag, Wants};
use crate::disk::{self, BytesAt, Compare, StageId, Written};
use crate::index::{self, ListPart};
use crate::limits::{ASK_BYTES_MAX, FETCH_BYTES_MAX, LOOK_PLACES_MAX};
use crate::time::Time;
use crate::transfer::{AskId, Piece, SourceId, Wanted};

impl Fetch {
    // ── the index ──

    /// The index has answered.
    pub fn indexed(&mut self, tag: Tag, answer: index::Answer) {
        let Some(job) = self.jobs.remove(&tag) else { return };
        match (job, answer) {
            (Job::Places(stages), index::Answer::Places(places)) => {
                self.looks_out = self.looks_out.saturating_sub(1);
                stages.into_iter().zip(places).for_each(|(stage, places)| self.places_found(stage, places));
            }
            (Job::List(stage, epoch, page), index::Answer::List(part)) if self.is_current(stage, epoch) => {
                self.list_looked_up(stage, page, part);
            }
            (Job::Older(stage, epoch, begins), index::Answer::List(part))
                if self.is_current(stage, epoch) =>
            {
                self.older_looked_up(stage, begins, part);
            }
            (Job::SegmentPlaces(stage, epoch, segments), index::Answer::Places(places)) => {
                self.looks_out = self.looks_out.saturating_sub(1);
                if self.is_current(stage, epoch) {
                    self.segment_places_found(stage, segments, places);
                }
            }
            (job, index::Answer::Failed(why)) => self.index_fails(job, &why),
            _ => {}
        }
    }

    fn is_current(&self, stage: StageId, epoch: u32) -> bool {
        self.works.get(&stage).is_some_and(|work| work.epoch == epoch)
    }

    fn index_fails(&mut self, job: Job, why: &str) {
        match job {
            Job::Places(stages) => {
                self.looks_out = self.looks_out.saturating_sub(1);
                stages.into_iter().for_each(|stage| self.fails(stage, why));
            }
            Job::SegmentPlaces(stage, ..) => {
                self.looks_out = self.looks_out.saturating_sub(1);
                self.fails(stage, why);
            }
            Job::List(stage, ..) | Job::Older(stage, ..) | Job::PutList(stage) => self.fails(stage, why),
            Job::Write(_) | Job::Compare(..) | Job::Drop => {}
        }
    }

    fn places_found(&mut self, stage: StageId, places: Vec<BytesAt>) {
        if self.works.get(&stage).is_some_and(|work| matches!(work.state, State::Looking)) {
            self.places_known(stage, places);
        }
    }

    /// Goes on with a content of which it is known where it is on this disk.
    pub(super) fn places_known(&mut self, stage: StageId, mut places: Vec<BytesAt>) {
        let Some(work) = self.works.get_mut(&stage) else { return };
        work.is_here = Some(!places.is_empty());
        if !work.is_small() {
            work.state = State::Queued;
            self.to_start.insert((work.rank, stage));
            return;
        }
        work.state = State::Small;
        if places.is_empty() {
            self.want_small(stage);
            return;
        }
        places.truncate(LOOK_PLACES_MAX);
        self.write_small(stage, From::Places(places));
    }

    fn want_small(&mut self, stage: StageId) {
        if !self.leads(stage) {
            return;
        }
        let Some(work) = self.works.get(&stage) else { return };
        let piece = Piece::Content(work.goal.content);
        self.transfer.want(Wanted { piece, bytes: work.goal.size, rank: work.rank });
    }

    fn write_small(&mut self, stage: StageId, from: From) {
        let Some(work) = self.works.get(&stage) else { return };
        let (size, segment) = (work.goal.size, work.only_segment());
        self.writes.push(Writing { stage, size, part: Part::Whole, offset: 0, segment, from });
    }

    // ── the disk ──

    /// The disk has answered.
    pub fn disk_done(&mut self, tag: Tag, answer: disk::Answer, now: Time) {
        let Some(job) = self.jobs.remove(&tag) else { return };
        match (job, answer) {
            (Job::Write(given), disk::Answer::Written(written)) => {
                self.writes.answered(&given);
                given.iter().zip(written).for_each(|(given, written)| self.written(given, written, now));
            }
            (Job::Write(given), disk::Answer::Failed(why) | disk::Answer::NotTheRoot(why)) => {
                self.writes.answered(&given);
                given.iter().for_each(|given| self.fails(given.stage, &why));
            }
            (Job::Write(given), _) => self.writes.answered(&given),
            (Job::Compare(stage, epoch, at, source, compared), answer) if self.is_current(stage, epoch) => {
                let missing = match answer {
                    disk::Answer::Compared(missing) => missing,
                    _ => None,
                };
                self.compared(stage, at, source, compared, missing, now);
            }
            _ => {}
        }
    }

    fn written(&mut self, given: &Given, written: Written, now: Time) {
        let is_open = |work: &&Work| !matches!(work.state, State::Done | State::Failed(_));
        let Some(work) = self.works.get(&given.stage).filter(is_open) else { return };
        let content = work.goal.content;
        match (written, given.part) {
            (Written::Done, part) => {
                self.budget = self.budget.saturating_mul(2).clamp(ASK_BYTES_MAX, FETCH_BYTES_MAX);
                match part {
                    Part::Whole => self.is_done(given.stage),
                    Part::Segment(at) => self.segment_done(given.stage, at),
                }
            }
            (Written::NoSpace, _) => self.pauses(given.stage, now),
            (Written::Failed(why), _) => self.fails(given.stage, &why),
            (Written::False | Written::NotHere, Part::Whole) if given.origin == Origin::Here => {
                self.want_small(given.stage);
            }
            (Written::False, Part::Whole) => {
                if let Origin::Came(sender) = given.origin {
                    self.transfer.is_false(&Piece::Content(content), sender);
                }
            }
            (Written::False, Part::Segment(at)) => self.segment_is_false(given.stage, at, given.origin),
            (Written::NotHere, Part::Segment(at))
                if matches!(given.origin, Origin::Here | Origin::Chunks(_)) =>
            {
                self.segment_is_not_here(given.stage, at, given.origin);
            }
            (Written::NotHere, _) => {
                self.fails(given.stage, "the disk did not take the bytes that it was given");
            }
        }
    }

    /// What is missing of a segment is known: it is asked of whoever told the chunks, or all of it of anybody.
    fn compared(
        &mut self,
        stage: StageId,
        at: u32,
        sender: SourceId,
        compared: Box<Compare>,
        missing: Option<Vec<core::ops::Range<u32>>>,
        now: Time,
    ) {
        let Some(work) = self.works.get_mut(&stage) else { return };
        let (content, rank) = (work.goal.content, work.rank);
        let Some((_, segment)) = work.page().and_then(|page| page.segment(at)) else { return };
        let length = u64::from(segment.length);
        let spans: Option<Vec<Span>> = missing.map(|missing| {
            missing.iter().map(|range| Span { from: range.start, length: range.end - range.start }).collect()
        });
        let bytes = |spans: &[Span]| spans.iter().map(|span| u64::from(span.length)).sum::<u64>();
        let Some(spans) = spans.filter(|spans| bytes(spans) * 4 < length * 3 && spans.len() <= SPANS_MAX)
        else {
            work.useless_deltas = work.useless_deltas.saturating_add(1);
            self.want_whole(stage, at);
            return;
        };
        work.useful_deltas = work.useful_deltas.saturating_add(1);
        if spans.is_empty() {
            self.write_segment(stage, at, From::Chunks { compared, came: Vec::new(), sender });
            return;
        }
        let wanted = Wanted { piece: Piece::Segment(content, at), bytes: length, rank };
        let Some(id) = self.transfer.ask_of(sender, wanted, bytes(&spans), now) else {
            self.want_whole(stage, at);
            return;
        };
        let arrival = Arrival::new(spans.iter().map(|span| span.length.into()));
        let wants = Wants::Spans { content, at, compared, spans: spans.clone(), came: Vec::new(), arrival };
        self.asks.insert(id, Asked { source: sender, wants });
        if let Some(&channel) = self.channels.get(&sender) {
            let message = Message::WantSegment { channel, content, segment: at, spans };
            self.said.push_back(Do::Ask(sender, id, message));
        }
    }

    // ── sources ──

    /// A source has answered a request, or said more of its answer.
    pub fn received(&mut self, source: SourceId, ask: AskId, message: Message, now: Time) {
        // What was cancelled may still come.
        let Some(mut asked) = self.asks.remove(&ask).filter(|asked| asked.source == source) else { return };
        let is_more = match (&mut asked.wants, message) {
            (_, Message::Unserved(why)) => {
                self.transfer.refused_all(ask, why, now);
                self.is_dropped(&asked);
                return;
            }
            (Wants::List(content, page), Message::List(bytes)) => {
                self.transfer.came(ask, bytes.len() as u64, now);
                self.list_came(source, ask, *content, *page, &bytes);
                return;
            }
            (Wants::Chunks(content, at), Message::List(bytes)) => {
                self.transfer.came(ask, bytes.len() as u64, now);
                self.chunks_came(source, ask, *content, *at, &bytes);
                return;
            }
            (wants, Message::Content { number, from, is_last, bytes }) => {
                self.transfer.came(ask, bytes.len() as u64, now);
                self.bytes_came(source, ask, wants, (number, from, is_last, bytes))
            }
            _ => None,
        };
        match is_more {
            Some(true) => {
                self.asks.insert(ask, asked);
            }
            Some(false) => {}
            None => {
                self.transfer.ended(ask);
                self.transfer.strike(source);
                self.said.push_back(Do::Cancel(source, ask));
                self.is_dropped(&asked);
            }
        }
    }

    /// Whether more of it is to come; `None`: it is not what was asked for.
    fn bytes_came(
        &mut self,
        source: SourceId,
        ask: AskId,
        wants: &mut Wants,
        (number, from, is_last, bytes): (u32, u64, bool, Vec<u8>),
    ) -> Option<bool> {
        let arrival = match wants {
            Wants::Contents(_, arrival) | Wants::Segment(.., arrival) | Wants::Spans { arrival, .. } => {
                arrival
            }
            Wants::List(..) | Wants::Chunks(..) => return None,
        };
        let (number, pieces) = match arrival.take(number, from, is_last, bytes) {
            Came::Misplaced => return None,
            Came::Part => return Some(true),
            Came::Whole(number, pieces) => (number, pieces),
        };
        let is_over = arrival.is_over();
        match wants {
            Wants::Contents(contents, _) => {
                if let Some(content) = contents.get(number)
                    && self.transfer.piece_came(ask, &Piece::Content(*content))
                    && let Some(&stage) = self.by_content.get(content)
                {
                    self.write_small(stage, From::Bytes(pieces, source));
                }
            }
            Wants::Segment(content, at, _) => {
                if self.transfer.piece_came(ask, &Piece::Segment(*content, *at))
                    && let Some(&stage) = self.by_content.get(content)
                {
                    self.write_segment(stage, *at, From::Bytes(pieces, source));
                }
            }
            Wants::Spans { content, at, compared, spans, came, .. } => {
                came.extend(spans.get(number).map(|span| (span.from, pieces.concat())));
                if is_over
                    && self.transfer.piece_came(ask, &Piece::Segment(*content, *at))
                    && let Some(&stage) = self.by_content.get(content)
                {
                    came.sort_unstable_by_key(|(from, _)| *from);
                    let (compared, came) = (compared.clone(), core::mem::take(came));
                    self.write_segment(stage, *at, From::Chunks { compared, came, sender: source });
                }
            }
            Wants::List(..) | Wants::Chunks(..) => {}
        }
        Some(!is_over)
    }

    fn list_came(
        &mut self,
        source: SourceId,
        ask: AskId,
        content: ContentId,
        page: Option<u32>,
        bytes: &[u8],
    ) {
        let piece = Piece::List(content, page);
        if !self.transfer.piece_came(ask, &piece) {
            return;
        }
        let Some((stage, work)) = self.work_of(&content) else { return };
        let size = work.goal.size;
        let part = match (page, &work.pages) {
            (None, _) => SegmentList::decode(bytes, content, size)
                .map(ListPart::Segments)
                .ok()
                .or_else(|| PageIndex::decode(bytes, content, size).map(ListPart::Index).ok()),
            (Some(page), Some(pages)) => {
                let page = usize::try_from(page).unwrap_or(usize::MAX);
                pages.page(page, bytes).map(ListPart::Segments).ok()
            }
            (Some(_), None) => None,
        };
        let Some(part) = part else {
            self.transfer.is_false(&piece, source);
            return;
        };
        self.transfer.forget(&piece);
        // One segment is no list worth keeping: the content's name is the segment's.
        let is_kept =
            !matches!(&part, ListPart::Segments(list) if page.is_none() && list.segments().len() < 2);
        if is_kept {
            let job = index::Job::PutList(content, page, part.clone());
            let put = self.index(job, Job::PutList(stage));
            self.said.push_back(put);
        }
        self.list_found(stage, page, part);
    }

    fn chunks_came(&mut self, source: SourceId, ask: AskId, content: ContentId, at: u32, bytes: &[u8]) {
        let piece = Piece::Chunks(content, at);
        if !self.transfer.piece_came(ask, &piece) {
            return;
        }
        self.transfer.forget(&piece);
        let Some((stage, work)) = self.work_of(&content) else { return };
        let (epoch, older) = (work.epoch, work.goal.older.clone());
        let Some(page) = work.page() else { return };
        let (Some((_, segment)), Some(older)) = (page.segment(at), older) else { return };
        let Ok(chunks) = ChunkList::decode(bytes, &segment) else {
            self.transfer.strike(source);
            self.want_whole(stage, at);
            return;
        };
        let place = |&(offset, near): &super::near::Placed| {
            let (path, seen) = (older.path.clone(), older.seen.clone());
            (BytesAt::Folder { path, seen, offset }, near.length)
        };
        let near = page.near(at).iter().map(place).collect();
        let compared = Box::new(Compare { content, chunks, near });
        let job = Job::Compare(stage, epoch, at, source, compared.clone());
        let compare = self.disk(disk::Job::Compare(compared), job);
        self.said.push_back(compare);
    }

    pub(super) fn drop_asks_of(&mut self, source: SourceId) {
        let asks: Vec<AskId> =
            self.asks.iter().filter(|(_, asked)| asked.source == source).map(|(ask, _)| *ask).collect();
        asks.into_iter().for_each(|ask| self.drop_ask(ask));
    }

    pub(super) fn drop_ask(&mut self, ask: AskId) {
        if let Some(asked) = self.asks.remove(&ask) {
            self.is_dropped(&asked);
        }
    }

    /// What was asked so will not come: a segment of which only some was asked for is wanted whole.
    fn is_dropped(&mut self, asked: &Asked) {
        let (content, at) = match asked.wants {
            Wants::Spans { content, at, .. } => (content, at),
            Wants::Chunks(content, at) if self.transfer.wants(&Piece::Chunks(content, at)) => (content, at),
            _ => return,
        };
        if let Some(&stage) = self.by_content.get(&content) {
            self.want_whole(stage, at);
        }
    }
}
