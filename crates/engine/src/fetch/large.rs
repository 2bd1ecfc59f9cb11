//! Content of several segments: its list, page by page, and where each segment is to come from.
//!
//! Promise: one page of a list is worked on at a time; a segment is copied if it is here, else made of chunks of the
//! older version and what is missing, else fetched whole. What is in the staged file stays, whatever interrupts the work.

use shoal_proto::limits::{CHUNK_BYTES_MIN, SEGMENT_BYTES_MAX, SEGMENTS_PER_PAGE};
use shoal_proto::segment::{Segment, SegmentList};

use super::near::{Near, Placed};
use super::work::{Map, Page, State, Work, placed};
use super::writes::{From, Origin, Part, Writing};
use super::{Fetch, Job};
use crate::disk::{BytesAt, SeenKind, StageId};
use crate::index::{self, ListPart};
use crate::limits::{DELTAS_MAX, LOOK_JOBS_MAX, LOOK_MAX, LOOK_PLACES_MAX, WRITES_WAITING_MAX};
use crate::transfer::{Piece, Wanted};

impl Fetch {
    // ── the list ──

    /// Begins or goes on with a content: its list, or the next page, is looked up.
    pub(super) fn open(&mut self, stage: StageId) {
        let Some(work) = self.works.get_mut(&stage) else { return };
        work.is_parked = false;
        if work.map.as_ref().is_some_and(|map| map.left == 0) {
            self.is_done(stage);
            return;
        }
        work.state = State::Looking;
        // No answer to a question about an earlier page counts.
        work.epoch += 1;
        let (content, epoch) = (work.goal.content, work.epoch);
        let page = work.next_page();
        let look = self.index(index::Job::List(content, page), Job::List(stage, epoch, page));
        self.said.push_back(look);
    }

    pub(super) fn list_looked_up(&mut self, stage: StageId, page: Option<u32>, part: Option<ListPart>) {
        let Some(work) = self.works.get(&stage) else { return };
        match part {
            Some(part) => self.list_found(stage, page, part),
            None if page.is_none() && work.is_here == Some(true) => self.guess(stage),
            None => self.want_list(stage, page),
        }
    }

    /// The content is here and has no list: then it is of one segment.
    fn guess(&mut self, stage: StageId) {
        let Some(work) = self.works.get(&stage) else { return };
        let Ok(list) = SegmentList::new(vec![work.only_segment()]) else { return };
        self.open_page(stage, 0, 0, &list, true);
    }

    fn want_list(&mut self, stage: StageId, page: Option<u32>) {
        if !self.leads(stage) {
            return;
        }
        let Some(work) = self.works.get(&stage) else { return };
        let piece = Piece::List(work.goal.content, page);
        // As long as it would be if all segments were of the least size: what is owed is more than comes.
        let bytes = (work.goal.size / u64::from(shoal_proto::limits::SEGMENT_BYTES_MIN) + 1)
            .min(SEGMENTS_PER_PAGE as u64)
            .saturating_mul(40);
        self.transfer.want(Wanted { piece, bytes, rank: work.rank });
    }

    /// The list, the index of its pages, or a page is here and is the right one.
    pub(super) fn list_found(&mut self, stage: StageId, page: Option<u32>, part: ListPart) {
        let Some(work) = self.works.get_mut(&stage) else { return };
        match (page, part) {
            (None, ListPart::Segments(list)) if list.bytes() == work.goal.size => {
                self.open_page(stage, 0, 0, &list, false);
            }
            (None, ListPart::Index(pages)) if pages.bytes() == work.goal.size => {
                work.map.get_or_insert_with(|| Map::new(pages.segments()));
                work.pages = Some(pages);
                self.open(stage);
            }
            (Some(page), ListPart::Segments(list)) => {
                let at = usize::try_from(page).unwrap_or(usize::MAX);
                let Some(range) = work.pages.as_ref().and_then(|pages| pages.range(at)) else { return };
                let first = page.saturating_mul(u32::try_from(SEGMENTS_PER_PAGE).unwrap_or(u32::MAX));
                self.open_page(stage, first, range.start, &list, false);
            }
            _ => self.fails(stage, "the record tells another size than the list of the content"),
        }
    }

    fn open_page(&mut self, stage: StageId, first: u32, begins: u64, list: &SegmentList, is_guess: bool) {
        let Some(work) = self.works.get_mut(&stage) else { return };
        let mut page = Page::new(first, begins, list);
        let count = u32::try_from(page.segments.len()).unwrap_or(u32::MAX);
        let map = work.map.get_or_insert_with(|| Map::new(count));
        page.left -= page.numbers().filter(|at| map.has.has(*at)).count();
        page.is_guess = is_guess;
        let older = work.goal.older.as_ref().filter(|_| !is_guess && work.comparable() > 0);
        let older = older.map(|older| older.content);
        if older.is_none() {
            page.near = Some(Near::default());
        }
        let epoch = work.epoch;
        work.state = State::Page(Box::new(page));
        if let Some(older) = older {
            let look = self.index(index::Job::List(older, None), Job::Older(stage, epoch, 0));
            self.said.push_back(look);
        }
        self.turn_page(stage);
    }

    /// Goes on to the next page if all of this one is there.
    fn turn_page(&mut self, stage: StageId) {
        let Some(work) = self.works.get(&stage) else { return };
        if work.page().is_none_or(|page| page.left > 0) {
            return;
        }
        self.open(stage);
    }

    // ── the older version ──

    pub(super) fn older_looked_up(&mut self, stage: StageId, begins: u64, part: Option<ListPart>) {
        let Some(work) = self.works.get_mut(&stage) else { return };
        let epoch = work.epoch;
        let Some(older) = &work.goal.older else { return };
        let (content, size) = match older.seen.kind {
            SeenKind::File { size } => (older.content, size),
            SeenKind::Directory | SeenKind::Symlink { .. } => (older.content, 0),
        };
        let Some(page) = work.page_mut() else { return };
        let segments: Vec<Placed> = match part {
            Some(ListPart::Segments(list)) => placed(begins, &list),
            Some(ListPart::Index(pages)) => {
                // An edit moves few segments to another page: the same one is near enough.
                let number = page.first as usize / SEGMENTS_PER_PAGE;
                let number = number.min(pages.pages().saturating_sub(1));
                let begins = pages.range(number).map_or(0, |range| range.start);
                let job = index::Job::List(content, u32::try_from(number).ok());
                let look = self.index(job, Job::Older(stage, epoch, begins));
                self.said.push_back(look);
                return;
            }
            None if begins == 0 && (1..=u64::from(SEGMENT_BYTES_MAX)).contains(&size) => {
                let id = shoal_proto::hash::SegmentId::from_bytes(*content.as_bytes());
                vec![(0, Segment { id, length: u32::try_from(size).unwrap_or(u32::MAX) })]
            }
            None => Vec::new(),
        };
        page.near = Some(Near::of(&page.segments, &segments));
    }

    fn deltas(&self) -> usize {
        let pages = self.started.iter().filter_map(|stage| self.works.get(stage)?.page());
        pages.map(|page| page.comparing.len()).sum()
    }

    // ── segments ──

    /// Asks where the next segments of some page are. Whether there was anything to do.
    pub(super) fn look_in_pages(&mut self) -> bool {
        if self.looks_out >= LOOK_JOBS_MAX || self.writes.len() >= WRITES_WAITING_MAX {
            return false;
        }
        let is_ready = |stage: &&StageId| {
            self.works.get(stage).and_then(Work::page).is_some_and(|page| {
                !page.is_looking && page.next < page.segments.len() && page.near.is_some()
            })
        };
        let Some(stage) = self.started.iter().find(is_ready).copied() else { return false };
        self.look_for_segments(stage);
        true
    }

    fn look_for_segments(&mut self, stage: StageId) {
        let Some(work) = self.works.get_mut(&stage) else { return };
        let epoch = work.epoch;
        let (mut sought, mut ids, mut copies, mut zeros) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (State::Page(page), Some(map)) = (&mut work.state, &work.map) else { return };
        while sought.len() + copies.len() + zeros.len() < LOOK_MAX
            && let Some((_, segment)) = page.segments.get(page.next)
        {
            let at = page.first + u32::try_from(page.next).unwrap_or(u32::MAX);
            let first = page.first_of.get(&segment.id).copied().unwrap_or(at);
            page.next += 1;
            if map.has.has(at) {
                continue;
            }
            if *segment == Segment::ZEROS {
                zeros.push(at);
            } else if first == at {
                sought.push(at);
                ids.push(segment.id);
            } else if map.has.has(first) {
                copies.push((at, first));
            } else {
                page.twins.entry(first).or_default().push(at);
            }
        }
        page.is_looking = !sought.is_empty();
        zeros.into_iter().for_each(|at| self.write_segment(stage, at, From::Zeros));
        copies.into_iter().for_each(|(at, first)| self.copy_staged(stage, at, first));
        if !sought.is_empty() {
            self.looks_out += 1;
            let job = Job::SegmentPlaces(stage, epoch, sought);
            let look = self.index(index::Job::PlacesOfSegments(ids), job);
            self.said.push_back(look);
        }
    }

    pub(super) fn segment_places_found(
        &mut self,
        stage: StageId,
        segments: Vec<u32>,
        places: Vec<Vec<BytesAt>>,
    ) {
        if let Some(page) = self.works.get_mut(&stage).and_then(|work| work.page_mut()) {
            page.is_looking = false;
        }
        for (at, mut places) in segments.into_iter().zip(places) {
            if places.is_empty() {
                self.segment_is_needed(stage, at);
            } else {
                places.truncate(LOOK_PLACES_MAX);
                self.write_segment(stage, at, From::Places(places));
            }
        }
    }

    /// A segment is nowhere here: it is compared with what is near it, or fetched.
    fn segment_is_needed(&mut self, stage: StageId, at: u32) {
        if !self.leads(stage) {
            return;
        }
        let Some(work) = self.works.get_mut(&stage) else { return };
        let Some(page) = work.page_mut() else { return };
        if page.is_guess {
            self.has_guessed_wrong(stage);
            return;
        }
        if page.near(at).is_empty() || page.whole_only.contains(&at) {
            self.want_whole(stage, at);
        } else {
            page.to_compare.push_back(at);
        }
    }

    /// Asks for the chunks of the next segment that is to be compared. Whether there was one.
    pub(super) fn compare_next(&mut self) -> bool {
        let is_full = self.deltas() >= DELTAS_MAX;
        let is_next = |stage: &&StageId| {
            let Some((work, page)) = self.works.get(stage).and_then(|work| Some((work, work.page()?))) else {
                return false;
            };
            let room = work.comparable();
            !page.to_compare.is_empty() && (room == 0 || page.comparing.len() < room && !is_full)
        };
        let Some(stage) = self.started.iter().find(is_next).copied() else { return false };
        let Some(work) = self.works.get_mut(&stage) else { return false };
        let (content, rank, room) = (work.goal.content, work.rank, work.comparable());
        let Some(page) = work.page_mut() else { return false };
        let Some(at) = page.to_compare.pop_front() else { return false };
        if room == 0 {
            self.want_whole(stage, at);
            return true;
        }
        page.comparing.insert(at);
        let length = page.segment(at).map_or(0, |(_, segment)| segment.length);
        let bytes = u64::from(length / CHUNK_BYTES_MIN + 1) * 12;
        self.transfer.want(Wanted { piece: Piece::Chunks(content, at), bytes, rank });
        true
    }

    fn has_guessed_wrong(&mut self, stage: StageId) {
        if let Some(work) = self.works.get_mut(&stage) {
            work.is_here = Some(false);
            work.map = None;
            work.state = State::Looking;
        }
        self.want_list(stage, None);
    }

    /// Wants all of a segment, from anybody.
    pub(super) fn want_whole(&mut self, stage: StageId, at: u32) {
        let Some(work) = self.works.get_mut(&stage) else { return };
        let (content, rank) = (work.goal.content, work.rank);
        let is_here = work.has(at);
        let Some(page) = work.page_mut() else { return };
        let Some((_, segment)) = page.segment(at) else { return };
        page.comparing.remove(&at);
        page.whole_only.insert(at);
        self.transfer.forget(&Piece::Chunks(content, at));
        if !is_here {
            let piece = Piece::Segment(content, at);
            self.transfer.want(Wanted { piece, bytes: segment.length.into(), rank });
        }
    }

    pub(super) fn write_segment(&mut self, stage: StageId, at: u32, from: From) {
        let Some(work) = self.works.get(&stage) else { return };
        let Some((offset, segment)) = work.page().and_then(|page| page.segment(at)) else { return };
        let size = work.goal.size;
        self.writes.push(Writing { stage, size, part: Part::Segment(at), offset, segment, from });
    }

    /// Copies a segment from where the same bytes stand in the staged file.
    fn copy_staged(&mut self, stage: StageId, at: u32, first: u32) {
        let Some(work) = self.works.get(&stage) else { return };
        let Some((offset, _)) = work.page().and_then(|page| page.segment(first)) else { return };
        self.write_segment(stage, at, From::Places(vec![BytesAt::Staged { stage, offset }]));
    }

    // ── what became of writing a segment ──

    pub(super) fn segment_done(&mut self, stage: StageId, at: u32) {
        let Some(work) = self.works.get_mut(&stage) else { return };
        let content = work.goal.content;
        work.add(at);
        let twins = work.page_mut().map(|page| {
            page.comparing.remove(&at);
            page.twins.remove(&at).unwrap_or_default()
        });
        if self.is_leader(stage) {
            self.transfer.forget(&Piece::Segment(content, at));
        }
        twins.into_iter().flatten().for_each(|twin| self.copy_staged(stage, twin, at));
        self.turn_page(stage);
    }

    pub(super) fn segment_is_false(&mut self, stage: StageId, at: u32, origin: Origin) {
        let Some(work) = self.works.get(&stage) else { return };
        let piece = Piece::Segment(work.goal.content, at);
        match origin {
            Origin::Came(sender) => self.transfer.is_false(&piece, sender),
            Origin::Chunks(sender) => {
                if self.transfer.wants(&piece) {
                    self.transfer.is_false(&piece, sender);
                } else {
                    self.transfer.strike(sender);
                }
                self.want_whole(stage, at);
            }
            Origin::Here => self.segment_is_needed(stage, at),
            Origin::Zeros => self.fails(stage, "the disk says that zeros are not zeros"),
        }
    }

    /// What was to be copied has changed meanwhile, for no fault of who sent the rest.
    pub(super) fn segment_is_not_here(&mut self, stage: StageId, at: u32, origin: Origin) {
        let Some(work) = self.works.get(&stage) else { return };
        let piece = Piece::Segment(work.goal.content, at);
        if let Origin::Chunks(_) = origin {
            self.transfer.is_lost(&piece);
            self.want_whole(stage, at);
        } else {
            self.segment_is_needed(stage, at);
        }
    }
}
