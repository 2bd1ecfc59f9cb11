//! What one connection asks for, on its way from the question to the answer.
//!
//! Promise: things go through in the order in which they were asked for: first the index says where they are, then they
//! are read, then sent. One question to the index and one job of the disk is out at a time, and no more is read than may
//! be sent soon. What is cancelled goes no further.

use std::collections::{BTreeMap, VecDeque};

use shoal_proto::chunk::ChunkList;
use shoal_proto::frame::RequestId;
use shoal_proto::hash::{ContentId, SegmentId};
use shoal_proto::limits::{FRAME_CONTENT_BYTES_MAX, SEGMENT_BYTES_MAX};
use shoal_proto::message::{Message, Span, Unserved};
use shoal_proto::segment::{Segment, SegmentList};

use super::Misuse;
use crate::disk::{self, BytesAt};
use crate::index::{Asked, Serving};
use crate::limits::{
    SERVE_ITEMS_MAX, SERVE_LOOK_LISTS_MAX, SERVE_LOOK_MAX, SERVE_READ_BYTES_MAX, SERVE_REQUESTS_MAX,
    SERVE_SENT_BYTES_MAX,
};

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Line {
    requests: BTreeMap<RequestId, Open>,
    /// What was asked for, and not looked for yet.
    asked: VecDeque<Item>,
    /// What the index is being asked for.
    looking: Option<Vec<Item>>,
    /// Where the index said that things are, as far as they were not read yet.
    found: VecDeque<Found>,
    is_reading: bool,
    /// What was read, and is to be sent.
    ready: VecDeque<(RequestId, Message)>,
    ready_bytes: u64,
    sent: u64,
    refusals: VecDeque<RequestId>,
    /// Counts requests, so that what belongs to one that was cancelled is known from what has its number now.
    requests_made: u64,
}

/// A request that is not over.
#[derive(Debug)]
struct Open {
    serial: u64,
    /// Things that were neither answered nor refused.
    left: usize,
    /// Why some were refused.
    unserved: Option<Unserved>,
}

/// One thing of a request.
#[derive(Clone, Copy, Debug)]
struct Item {
    request: RequestId,
    serial: u64,
    number: u32,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Content(ContentId),
    Span(ContentId, u32, Span),
    List(ContentId, Option<u32>),
    Chunks(ContentId, u32),
}

/// A thing with its places.
#[derive(Debug)]
struct Found {
    item: Item,
    places: Vec<BytesAt>,
    /// From which byte of the places on, how many, and how many of them were given to be read.
    begins: u64,
    length: u64,
    read: u64,
}

/// What is being read.
#[derive(Debug)]
pub(super) struct Reading {
    item: Item,
    from: u64,
    length: u32,
    is_last: bool,
}

impl Item {
    /// What the index is to be asked; a second question for what is of one segment, which has no list.
    fn questions(&self) -> (Asked, Option<Asked>) {
        match self.what {
            What::Content(content) => (Asked::Content(content), None),
            What::List(content, None) => (Asked::List(content, None), Some(Asked::Content(content))),
            What::List(content, page) => (Asked::List(content, page), None),
            What::Span(content, at, _) | What::Chunks(content, at) => {
                (Asked::Segment(content, at), (at == 0).then_some(Asked::Content(content)))
            }
        }
    }
}

impl Line {
    // ── asking ──

    pub(super) fn asked(&mut self, request: RequestId, message: Message) -> Result<(), Misuse> {
        let whats: Vec<What> = match message {
            Message::Cancel => {
                self.cancel(request);
                return Ok(());
            }
            Message::WantContents { contents, .. } => contents.into_iter().map(What::Content).collect(),
            Message::WantList { content, page, .. } => vec![What::List(content, page)],
            Message::WantSegment { content, segment, spans, .. } => {
                spans.into_iter().map(|span| What::Span(content, segment, span)).collect()
            }
            Message::WantChunks { content, segment, .. } => vec![What::Chunks(content, segment)],
            _ => return Err(Misuse::NoRequest),
        };
        if request == RequestId::NONE || self.requests.contains_key(&request) {
            return Err(Misuse::RequestInUse);
        }
        let items: usize = self.requests.values().map(|open| open.left).sum();
        if self.requests.len() >= SERVE_REQUESTS_MAX || items + whats.len() > SERVE_ITEMS_MAX {
            if self.refusals.len() >= SERVE_REQUESTS_MAX {
                return Err(Misuse::TooMuch);
            }
            self.refusals.push_back(request);
            return Ok(());
        }
        let serial = self.requests_made;
        self.requests_made += 1;
        if !whats.is_empty() {
            self.requests.insert(request, Open { serial, left: whats.len(), unserved: None });
        }
        let item = |(what, number)| Item { request, serial, number, what };
        self.asked.extend(whats.into_iter().zip(0..).map(item));
        Ok(())
    }

    fn cancel(&mut self, request: RequestId) {
        self.requests.remove(&request);
        self.asked.retain(|item| item.request != request);
        self.found.retain(|found| found.item.request != request);
        self.ready.retain(|(other, _)| *other != request);
        self.ready_bytes = self.ready.iter().map(|(_, message)| bytes_of(message)).sum();
    }

    /// Whether a thing is still to be served.
    fn is_wanted(&self, item: &Item) -> bool {
        self.requests.get(&item.request).is_some_and(|open| open.serial == item.serial)
    }

    // ── looking ──

    /// What to ask the index next.
    pub(super) fn next_look(&mut self) -> Option<Vec<Asked>> {
        let is_full = self.found.len() >= SERVE_LOOK_MAX || self.ready_bytes >= SERVE_READ_BYTES_MAX.into();
        if self.looking.is_some() || self.asked.is_empty() || is_full {
            return None;
        }
        let (mut items, mut lists) = (Vec::new(), 0);
        while items.len() < SERVE_LOOK_MAX
            && lists < SERVE_LOOK_LISTS_MAX
            && let Some(item) = self.asked.pop_front()
        {
            // The index answers with the list itself.
            lists += usize::from(matches!(item.what, What::List(..)));
            items.push(item);
        }
        let mut questions: Vec<Asked> = Vec::new();
        for item in &items {
            let (first, second) = item.questions();
            for asked in [Some(first), second].into_iter().flatten() {
                // Spans of one segment stand together.
                if !questions.iter().rev().take(2).any(|other| *other == asked) {
                    questions.push(asked);
                }
            }
        }
        self.looking = Some(items);
        Some(questions)
    }

    /// What the index said to the last question: nothing at all if it failed.
    pub(super) fn found(
        &mut self,
        servings: Vec<Serving>,
        staged: impl Fn(&Asked) -> Option<(BytesAt, u64)>,
    ) {
        let Some(items) = self.looking.take() else { return };
        let mut servings = servings.into_iter();
        let mut known: VecDeque<(Asked, Serving)> = VecDeque::new();
        for item in items {
            let (first, second) = item.questions();
            let mut answer =
                |asked: Asked| match known.iter().rev().take(2).find(|(other, _)| *other == asked) {
                    Some((_, serving)) => serving.clone(),
                    None => {
                        let serving = servings.next().unwrap_or(Serving::Unserved(Unserved::Busy));
                        known.push_back((asked, serving.clone()));
                        if known.len() > 2 {
                            known.pop_front();
                        }
                        serving
                    }
                };
            let serving = answer(first);
            let second = second.map(answer);
            if self.is_wanted(&item) {
                self.take_found(item, first, serving, second, &staged);
            }
        }
    }

    fn take_found(
        &mut self,
        item: Item,
        first: Asked,
        serving: Serving,
        second: Option<Serving>,
        staged: impl Fn(&Asked) -> Option<(BytesAt, u64)>,
    ) {
        let serving = match (serving, second) {
            (Serving::Unserved(_), Some(Serving::Bytes { places, length }))
                if length <= u64::from(SEGMENT_BYTES_MAX) =>
            {
                Serving::Bytes { places, length }
            }
            (Serving::Unserved(Unserved::Absent), _) => match staged(&first) {
                Some((place, length)) => Serving::Bytes { places: vec![place], length },
                None => Serving::Unserved(Unserved::Absent),
            },
            (serving, _) => serving,
        };
        match (serving, item.what) {
            (Serving::Unserved(why), _) => self.refuse(&item, why),
            (Serving::List(list), What::List(..)) => self.answer(&item, Message::List(list)),
            (Serving::Bytes { length, .. }, What::List(content, None)) => {
                match list_of_one(content, length) {
                    Some(list) => self.answer(&item, Message::List(list)),
                    None => self.refuse(&item, Unserved::Absent),
                }
            }
            (Serving::Bytes { places, length }, What::Span(_, _, span)) => {
                if u64::from(span.from) + u64::from(span.length) > length {
                    self.refuse(&item, Unserved::Foreign);
                } else {
                    let (begins, length) = (span.from.into(), span.length.into());
                    self.found.push_back(Found { item, places, begins, length, read: 0 });
                }
            }
            (Serving::Bytes { places, length }, What::Content(_) | What::Chunks(..)) if length > 0 => {
                self.found.push_back(Found { item, places, begins: 0, length, read: 0 });
            }
            (Serving::Bytes { .. } | Serving::List(_), _) => self.refuse(&item, Unserved::Absent),
        }
    }

    // ── reading ──

    /// What to read next, if there is room for it.
    pub(super) fn next_read(&mut self) -> Option<(disk::Job, Vec<Reading>)> {
        let most = u64::from(SERVE_READ_BYTES_MAX);
        if self.is_reading || self.ready_bytes >= most {
            return None;
        }
        let first = self.found.front()?;
        self.is_reading = true;
        if let What::Chunks(content, _) = first.item.what {
            let found = self.found.pop_front()?;
            let length = u32::try_from(found.length).unwrap_or(u32::MAX);
            let wanted = disk::Wanted { places: found.places, length };
            let reading = Reading { item: found.item, from: 0, length, is_last: true };
            return Some((disk::Job::Chunks { content, wanted }, vec![reading]));
        }
        let (mut wanted, mut readings, mut room) = (Vec::new(), Vec::new(), most);
        while room > 0
            && wanted.len() < SERVE_LOOK_MAX
            && let Some(found) = self.found.front_mut()
            && !matches!(found.item.what, What::Chunks(..))
        {
            let length = (found.length - found.read).min(room).min(FRAME_CONTENT_BYTES_MAX as u64);
            let places = found.places.iter().map(|place| further(place, found.begins + found.read)).collect();
            let (from, is_last) = (found.read, found.read + length == found.length);
            found.read += length;
            room -= length;
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            wanted.push(disk::Wanted { places, length });
            readings.push(Reading { item: found.item, from, length, is_last });
            if is_last {
                self.found.pop_front();
            }
        }
        Some((disk::Job::Read(wanted), readings))
    }

    /// What the disk has read; nothing at all if it failed.
    pub(super) fn read(&mut self, readings: Vec<Reading>, bytes: Vec<Option<Vec<u8>>>) {
        self.is_reading = false;
        let mut refused = None;
        let all = bytes.into_iter().chain(core::iter::repeat_with(|| None));
        for (reading, bytes) in readings.into_iter().zip(all) {
            let thing = (reading.item.request, reading.item.number);
            if refused == Some(thing) || !self.is_wanted(&reading.item) {
                continue;
            }
            let length = usize::try_from(reading.length).unwrap_or(usize::MAX);
            match bytes.filter(|bytes| bytes.len() == length) {
                Some(bytes) => self.content(&reading, bytes),
                None => {
                    // What is left of it is of no use.
                    self.found.retain(|found| (found.item.request, found.item.number) != thing);
                    refused = Some(thing);
                    self.refuse(&reading.item, Unserved::Busy);
                }
            }
        }
    }

    fn content(&mut self, reading: &Reading, bytes: Vec<u8>) {
        let Item { request, number, .. } = reading.item;
        let &Reading { from, is_last, .. } = reading;
        self.say(request, Message::Content { number, from, is_last, bytes });
        if reading.is_last {
            self.is_answered(&reading.item);
        }
    }

    pub(super) fn chunked(&mut self, reading: &Reading, list: Option<&ChunkList>) {
        self.is_reading = false;
        if self.is_wanted(&reading.item) {
            match list {
                Some(list) => self.answer(&reading.item, Message::List(list.encode())),
                None => self.refuse(&reading.item, Unserved::Busy),
            }
        }
    }

    // ── answering ──

    /// What to send next, if the connection takes it.
    pub(super) fn next_message(&mut self) -> Option<(RequestId, Message)> {
        if self.sent >= SERVE_SENT_BYTES_MAX {
            return None;
        }
        if let Some(request) = self.refusals.pop_front() {
            let message = Message::Unserved(Unserved::Busy);
            self.sent += bytes_of(&message);
            return Some((request, message));
        }
        let (request, message) = self.ready.pop_front()?;
        let bytes = bytes_of(&message);
        self.ready_bytes = self.ready_bytes.saturating_sub(bytes);
        self.sent += bytes;
        Some((request, message))
    }

    pub(super) fn drained(&mut self) {
        self.sent = 0;
    }

    fn say(&mut self, request: RequestId, message: Message) {
        self.ready_bytes += bytes_of(&message);
        self.ready.push_back((request, message));
    }

    fn answer(&mut self, item: &Item, message: Message) {
        self.say(item.request, message);
        self.is_answered(item);
    }

    fn refuse(&mut self, item: &Item, why: Unserved) {
        if let Some(open) = self.requests.get_mut(&item.request) {
            open.unserved = Some(match (open.unserved, why) {
                (Some(Unserved::Busy), _) | (_, Unserved::Busy) => Unserved::Busy,
                (Some(Unserved::Absent), _) | (_, Unserved::Absent) => Unserved::Absent,
                _ => Unserved::Foreign,
            });
        }
        self.is_answered(item);
    }

    /// One thing of a request is answered or refused.
    fn is_answered(&mut self, item: &Item) {
        let Some(open) = self.requests.get_mut(&item.request) else { return };
        open.left = open.left.saturating_sub(1);
        if open.left > 0 {
            return;
        }
        let unserved = open.unserved;
        self.requests.remove(&item.request);
        if let Some(why) = unserved {
            self.say(item.request, Message::Unserved(why));
        }
    }
}

/// The encoded list of a content of one segment.
fn list_of_one(content: ContentId, length: u64) -> Option<Vec<u8>> {
    let id = SegmentId::from_bytes(*content.as_bytes());
    let segment = Segment { id, length: u32::try_from(length).ok()? };
    Some(SegmentList::new(vec![segment]).ok()?.encode())
}

/// The place so many bytes further on.
fn further(place: &BytesAt, by: u64) -> BytesAt {
    let mut place = place.clone();
    match &mut place {
        BytesAt::Folder { offset, .. } | BytesAt::History { offset, .. } | BytesAt::Staged { offset, .. } => {
            *offset = offset.saturating_add(by);
        }
    }
    place
}

/// What a message counts against the bounds: what is in it, and something for the frame around it.
fn bytes_of(message: &Message) -> u64 {
    16 + match message {
        Message::Content { bytes, .. } | Message::List(bytes) => bytes.len() as u64,
        _ => 0,
    }
}
