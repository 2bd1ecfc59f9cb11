//! What a peer that asks for content is given.
//!
//! Promise: only content that a head of the share names is served, never by the name of a file; and only by places that
//! this disk has been seen to hold it at. Which segment is where, the list says that the content names. Begin at
//! [`Index::serve`].

use shoal_engine::disk::{BytesAt, SeenKind};
use shoal_engine::index::{Asked, ListPart, Serving};
use shoal_proto::hash::{ContentId, SegmentId, prefix};
use shoal_proto::limits::{SEGMENT_BYTES_MAX, SEGMENTS_PER_PAGE};
use shoal_proto::message::Unserved;
use shoal_proto::record::Record;
use shoal_proto::segment::{Segment, SegmentList};

use crate::error::IndexError;
use crate::row::file_content;
use crate::segments::PLACES_MAX;
use crate::store::Index;
use crate::work::read_row;

impl Index {
    /// What to answer a peer that asks for this.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn serve(&self, asked: &Asked) -> Result<Serving, IndexError> {
        let (Asked::Content(content) | Asked::Segment(content, _) | Asked::List(content, _)) = asked;
        if !self.is_named_by_head(content)? {
            return Ok(Serving::Unserved(Unserved::Foreign));
        }
        let served = match *asked {
            Asked::Content(content) => self.serve_whole(&content)?,
            Asked::Segment(content, number) => self.serve_segment(&content, number)?,
            Asked::List(content, page) => self.serve_list(&content, page)?,
        };
        Ok(served.unwrap_or(Serving::Unserved(Unserved::Absent)))
    }

    /// Whether a head names this content: only such content is served.
    fn is_named_by_head(&self, content: &ContentId) -> Result<bool, IndexError> {
        for id in self.memory.contents.rows(prefix(content.as_bytes())) {
            let names = |head: &Record| file_content(&head.version.kind) == Some(*content);
            if read_row(&self.conn, id)?.is_some_and(|row| row.heads().iter().any(names)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn serve_whole(&self, content: &ContentId) -> Result<Option<Serving>, IndexError> {
        let held = self.held_as_one(content)?;
        Ok(held.map(|(places, length)| Serving::Bytes { places, length }))
    }

    fn serve_segment(&self, content: &ContentId, number: u32) -> Result<Option<Serving>, IndexError> {
        let Some((segment, offset)) = self.segment(content, number)? else {
            let held = self.held_as_one(content)?.filter(|(_, length)| number == 0 && *length > 0);
            return Ok(held.map(|(places, length)| Serving::Bytes { places, length }));
        };
        let mut places = Vec::new();
        self.places_from(content, offset, &mut places)?;
        for place in self.places_of_segment(&segment.id)? {
            if places.len() < PLACES_MAX && !places.contains(&place) {
                places.push(place);
            }
        }
        let length = segment.length.into();
        Ok((!places.is_empty()).then_some(Serving::Bytes { places, length }))
    }

    fn serve_list(&self, content: &ContentId, page: Option<u32>) -> Result<Option<Serving>, IndexError> {
        let encoded = match self.list(content, page)? {
            Some(ListPart::Segments(list)) => Some(list.encode()),
            Some(ListPart::Index(index)) => Some(index.encode()),
            None if page.is_some() => None,
            None => self.held_as_one(content)?.map(|(_, length)| list_of_one(content, length)).transpose()?,
        };
        Ok(encoded.map(Serving::List))
    }

    /// A segment of content that has several, by its number, and from which byte of the content on it is; `None` if its
    /// list is not held, or has no such segment.
    fn segment(&self, content: &ContentId, number: u32) -> Result<Option<(Segment, u64)>, IndexError> {
        let number = number as usize;
        let (list, number, first) = match self.list(content, None)? {
            None => return Ok(None),
            Some(ListPart::Segments(list)) => (list, number, 0),
            Some(ListPart::Index(index)) => {
                let page = number / SEGMENTS_PER_PAGE;
                let (Some(range), Ok(at)) = (index.range(page), u32::try_from(page)) else { return Ok(None) };
                match self.list(content, Some(at))? {
                    Some(ListPart::Segments(list)) => (list, number % SEGMENTS_PER_PAGE, range.start),
                    _ => return Ok(None),
                }
            }
        };
        let Some(segment) = list.segments().get(number) else { return Ok(None) };
        let before: u64 = list.segments()[..number].iter().map(|segment| u64::from(segment.length)).sum();
        Ok(Some((*segment, first + before)))
    }

    /// Where content is that has no list and fits one segment, and how many bytes it has. What those who published it
    /// say of that does not count, only what was seen.
    fn held_as_one(&self, content: &ContentId) -> Result<Option<(Vec<BytesAt>, u64)>, IndexError> {
        if self.list(content, None)?.is_some() {
            return Ok(None);
        }
        let places = self.places(content)?;
        let Some(place) = places.first() else { return Ok(None) };
        let length = bytes_at(place).filter(|length| *length <= SEGMENT_BYTES_MAX.into());
        Ok(length.map(|length| (places, length)))
    }
}

/// How many bytes the file has that is there.
fn bytes_at(place: &BytesAt) -> Option<u64> {
    match place {
        BytesAt::Folder { seen, .. } => match seen.kind {
            SeenKind::File { size } => Some(size),
            SeenKind::Directory | SeenKind::Symlink { .. } => None,
        },
        BytesAt::History { size, .. } => Some(*size),
        BytesAt::Staged { .. } => None,
    }
}

/// The encoded list of content that is one segment, or none at all.
fn list_of_one(content: &ContentId, length: u64) -> Result<Vec<u8>, IndexError> {
    let length = u32::try_from(length).map_err(IndexError::damaged)?;
    let only = Segment { id: SegmentId::from_bytes(*content.as_bytes()), length };
    let segments = if length == 0 { Vec::new() } else { vec![only] };
    Ok(SegmentList::new(segments)?.encode())
}
