//! Lists of segments, and where in this share bytes are.
//!
//! Promise: a list that comes out is the one that its content id names; it is kept as long as a head, here or the
//! history names that content. Content of one segment needs no list. Begin at [`Index::put_list`] and
//! [`Index::places`].

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};
use shoal_engine::disk::{BytesAt, Seen};
use shoal_engine::index::{List, ListPart};
use shoal_proto::hash::{ContentId, SegmentId, prefix};
use shoal_proto::segment::{PageIndex, SegmentList};

use crate::error::IndexError;
use crate::memory::{Memory, ids_in};
use crate::row::{blob, file_content};
use crate::store::Index;
use crate::work::{Work, read_row, reading, writing};

/// The versions in history that have a content.
const KEPT_WITH_CONTENT: &str = "SELECT number, size, mtime, nanos FROM history WHERE content = ?1";

/// How many places of one content are told: one is enough, others are for when it changed meanwhile.
pub(crate) const PLACES_MAX: usize = 8;

impl Index {
    /// Keeps the list of this content, or the index of its pages; or with `page` one page, of which the index was put
    /// before. A list of one segment is not kept: the content names it.
    ///
    /// # Errors
    /// When it is not what the content names, there is no index for the page, or the database refuses.
    pub fn put_list(
        &mut self,
        content: ContentId,
        page: Option<u32>,
        part: &ListPart,
    ) -> Result<(), IndexError> {
        self.job(|work| match (part, page) {
            (ListPart::Index(index), _) => put_index(work, &content, index).map(drop),
            (ListPart::Segments(list), None) => put_whole(work, &content, list),
            (ListPart::Segments(list), Some(page)) => match list_row(work.conn, &content)? {
                Some(ListRow { id, index: Some(index), .. }) => put_page(work, id, &index, page, list),
                _ => Err(IndexError::NoList),
            },
        })
        .map(drop)
    }

    /// The list of this content, or the index of its pages, or with `page` one of its pages, if it is held. Content of one
    /// segment has none, and a list without pages has no page.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn list(&self, content: &ContentId, page: Option<u32>) -> Result<Option<ListPart>, IndexError> {
        let Some(row) = list_row(&self.conn, content)? else { return Ok(None) };
        let part = match (row.index, page) {
            (Some(index), None) => return Ok(Some(ListPart::Index(index))),
            (Some(index), Some(page)) => page_of(&self.conn, row.id, page)?
                .map(|encoded| index.page(page as usize, &encoded).map_err(IndexError::damaged)),
            (None, None) => {
                let encoded = page_of(&self.conn, row.id, 0)?
                    .ok_or_else(|| IndexError::damaged("a list without its segments"))?;
                Some(SegmentList::decode(&encoded, *content, row.size).map_err(IndexError::damaged))
            }
            (None, Some(_)) => None,
        };
        Ok(part.transpose()?.map(ListPart::Segments))
    }

    /// Where in this share the bytes of a content are: in files that show it, and in history. At most eight places.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn places(&self, content: &ContentId) -> Result<Vec<BytesAt>, IndexError> {
        let mut places = Vec::new();
        self.places_from(content, 0, &mut places)?;
        Ok(places)
    }

    /// Where in this share the bytes of a segment are: alone, or within other content. At most eight places.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn places_of_segment(&self, segment: &SegmentId) -> Result<Vec<BytesAt>, IndexError> {
        let mut places = Vec::new();
        self.places_from(&ContentId::from(*segment), 0, &mut places)?;
        let pages: BTreeSet<_> = self.memory.segments.rows(prefix(segment.as_bytes())).collect();
        for page in pages {
            if places.len() == PLACES_MAX {
                break;
            }
            if let Some((content, offset)) = self.within(page, segment)? {
                self.places_from(&content, offset, &mut places)?;
            }
        }
        Ok(places)
    }

    /// Lets go of lists of contents that nothing names: put for files that had changed again before they were noted.
    /// Returns how many. Looks at all lists; after a scan is a good time.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn forget_unnamed_lists(&mut self) -> Result<usize, IndexError> {
        self.job(|work| {
            let contents: Vec<Vec<u8>> = work
                .conn
                .prepare_cached("SELECT content FROM lists")
                .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
                .map_err(reading())?;
            let mut forgotten = 0;
            for content in contents {
                let content = <[u8; 32]>::try_from(content)
                    .map_err(|_| IndexError::damaged("a content id of the wrong length"))?;
                *work.is_dirty = true;
                forgotten += usize::from(forget(work.conn, work.memory, &ContentId::from_bytes(content))?);
            }
            Ok(forgotten)
        })
        .map(|(forgotten, _)| forgotten)
    }

    /// Adds the places of a content, from this byte of it on, up to eight in all.
    pub(crate) fn places_from(
        &self,
        content: &ContentId,
        offset: u64,
        places: &mut Vec<BytesAt>,
    ) -> Result<(), IndexError> {
        let hash = prefix(content.as_bytes());
        // Rows are found by heads that name the content too: of a million of them none may have it here.
        let mut left = self.memory.on_disk.count(hash);
        let mut rows = self.memory.contents.rows(hash);
        while left > 0 && places.len() < PLACES_MAX {
            let Some(id) = rows.next() else { break };
            if let Some(row) = read_row(&self.conn, id)?
                && let Some(here) = row.here
                && file_content(&here.version.kind) == Some(*content)
            {
                left -= 1;
                places.push(BytesAt::Folder { path: row.path, seen: Seen::from(&here), offset });
            }
        }
        let mut statement = self.conn.prepare_cached(KEPT_WITH_CONTENT).map_err(reading())?;
        let left = PLACES_MAX.saturating_sub(places.len());
        // A limit that is bound would have SQLite prepare the statement anew each time.
        let mut kept = statement.query([content.as_bytes()]).map_err(reading())?;
        for _ in 0..left {
            let Some(sql) = kept.next().map_err(reading())? else { break };
            let number = |at| sql.get::<_, i64>(at).map(i64::cast_unsigned).map_err(reading());
            let (number, size, mtime) = (number(0)?, number(1)?, crate::row::time(sql, 2)?);
            places.push(BytesAt::History { number, size, mtime, offset });
        }
        Ok(())
    }

    /// The content that has this segment in this page of its list, and from which byte on.
    fn within(&self, page: u32, segment: &SegmentId) -> Result<Option<(ContentId, u64)>, IndexError> {
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT content, size, page_index, page, segments FROM list_pages JOIN lists ON lists.id = list \
                 WHERE list_pages.id = ?1",
            )
            .map_err(reading())?;
        let mut rows = statement.query([page]).map_err(reading())?;
        let Some(sql) = rows.next().map_err(reading())? else { return Ok(None) };
        let content = ContentId::from_bytes(crate::row::thirty_two(sql, 0)?);
        let size = sql.get::<_, i64>(1).map_err(reading())?.cast_unsigned();
        let encoded = blob(sql, 4)?;
        let (list, first) = match sql.get::<_, Option<Vec<u8>>>(2).map_err(reading())? {
            None => (SegmentList::decode(encoded, content, size).map_err(IndexError::damaged)?, 0),
            Some(index) => {
                let index = PageIndex::decode(&index, content, size).map_err(IndexError::damaged)?;
                let page = crate::row::number(sql, 3)? as usize;
                let first = index.range(page).map_or(0, |range| range.start);
                (index.page(page, encoded).map_err(IndexError::damaged)?, first)
            }
        };
        let mut offset = first;
        for one in list.segments() {
            if one.id == *segment {
                return Ok(Some((content, offset)));
            }
            offset += u64::from(one.length);
        }
        Ok(None)
    }
}

/// A list as it is kept.
struct ListRow {
    id: i64,
    /// Of the content.
    size: u64,
    /// Of a list with pages.
    index: Option<PageIndex>,
}

fn list_row(conn: &Connection, content: &ContentId) -> Result<Option<ListRow>, IndexError> {
    let mut statement =
        conn.prepare_cached("SELECT id, size, page_index FROM lists WHERE content = ?1").map_err(reading())?;
    let mut rows = statement.query([content.as_bytes()]).map_err(reading())?;
    let Some(sql) = rows.next().map_err(reading())? else { return Ok(None) };
    let size = sql.get::<_, i64>(1).map_err(reading())?.cast_unsigned();
    let index = sql.get::<_, Option<Vec<u8>>>(2).map_err(reading())?;
    let index = index.map(|index| PageIndex::decode(&index, *content, size)).transpose();
    Ok(Some(ListRow { id: sql.get(0).map_err(reading())?, size, index: index.map_err(IndexError::damaged)? }))
}

fn page_of(conn: &Connection, list: i64, page: u32) -> Result<Option<Vec<u8>>, IndexError> {
    conn.prepare_cached("SELECT segments FROM list_pages WHERE list = ?1 AND page = ?2")
        .and_then(|mut statement| statement.query_row(params![list, page], |row| row.get(0)).optional())
        .map_err(reading())
}

/// Keeps the list of a content, with its pages if it has any.
pub(crate) fn put(work: &mut Work<'_>, content: &ContentId, list: &List) -> Result<(), IndexError> {
    match list {
        List::Whole(list) => put_whole(work, content, list),
        List::Paged(index, pages) => {
            let id = put_index(work, content, index)?;
            (0..).zip(pages).try_for_each(|(page, list)| put_page(work, id, index, page, list))
        }
    }
}

fn put_whole(work: &mut Work<'_>, content: &ContentId, list: &SegmentList) -> Result<(), IndexError> {
    let encoded = list.encode();
    SegmentList::decode(&encoded, *content, list.bytes())?;
    if list.segments().len() > 1
        && let (id, true) = put_row(work, content, list.bytes(), None)?
    {
        put_segments(work, id, 0, &encoded)?;
    }
    Ok(())
}

fn put_index(work: &mut Work<'_>, content: &ContentId, index: &PageIndex) -> Result<i64, IndexError> {
    let encoded = index.encode();
    PageIndex::decode(&encoded, *content, index.bytes())?;
    Ok(put_row(work, content, index.bytes(), Some(&encoded))?.0)
}

fn put_page(
    work: &mut Work<'_>,
    id: i64,
    index: &PageIndex,
    page: u32,
    list: &SegmentList,
) -> Result<(), IndexError> {
    let encoded = list.encode();
    index.page(page as usize, &encoded)?;
    match page_of(work.conn, id, page)? {
        Some(_) => Ok(()),
        None => put_segments(work, id, page, &encoded),
    }
}

/// The number of the list of this content, and whether it is new.
fn put_row(
    work: &Work<'_>,
    content: &ContentId,
    size: u64,
    index: Option<&[u8]>,
) -> Result<(i64, bool), IndexError> {
    if let Some(row) = list_row(work.conn, content)? {
        return Ok((row.id, false));
    }
    work.conn
        .prepare_cached("INSERT INTO lists (content, size, page_index) VALUES (?1, ?2, ?3)")
        .and_then(|mut statement| statement.insert(params![content.as_bytes(), size.cast_signed(), index]))
        .map(|id| (id, true))
        .map_err(writing())
}

fn put_segments(work: &mut Work<'_>, list: i64, page: u32, encoded: &[u8]) -> Result<(), IndexError> {
    *work.is_dirty = true;
    let id = work
        .conn
        .prepare_cached("INSERT INTO list_pages (list, page, segments) VALUES (?1, ?2, ?3)")
        .and_then(|mut statement| statement.insert(params![list, page, encoded]))
        .map_err(writing())?;
    let id = u32::try_from(id).map_err(|_| IndexError::Numbers)?;
    for segment in ids_in(encoded) {
        work.memory.segments.insert(prefix(segment), id);
    }
    Ok(())
}

/// Lets go of the list of a content, unless something names it. Whether there was one.
pub(crate) fn forget(
    conn: &Connection,
    memory: &mut Memory,
    content: &ContentId,
) -> Result<bool, IndexError> {
    let list: Option<i64> = conn
        .prepare_cached(
            "SELECT id FROM lists WHERE content = ?1 AND NOT EXISTS (SELECT 1 FROM history WHERE content = ?1)",
        )
        .and_then(|mut statement| statement.query_row([content.as_bytes()], |row| row.get(0)).optional())
        .map_err(reading())?;
    let Some(list) = list else { return Ok(false) };
    for id in memory.contents.rows(prefix(content.as_bytes())) {
        if read_row(conn, id)?.is_some_and(|row| row.contents().contains(content)) {
            return Ok(false);
        }
    }
    let pages: Vec<(u32, Vec<u8>)> = conn
        .prepare_cached("SELECT id, segments FROM list_pages WHERE list = ?1")
        .and_then(|mut statement| {
            statement.query_map([list], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .map_err(reading())?;
    for (page, encoded) in pages {
        for segment in ids_in(&encoded) {
            memory.segments.remove(prefix(segment), page);
        }
    }
    for sql in ["DELETE FROM list_pages WHERE list = ?1", "DELETE FROM lists WHERE id = ?1"] {
        conn.prepare_cached(sql).and_then(|mut statement| statement.execute([list])).map_err(writing())?;
    }
    Ok(true)
}
