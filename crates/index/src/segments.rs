//! Lists of segments, and where in this share bytes are.
//!
//! Promise: a list that comes out is the one that its content id names; it is kept as long as a head, here or the
//! history names that content. Content of one segment needs no list. Begin at [`Index::put_list`] and
//! [`Index::places`].

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};
use shoal_proto::hash::{ContentId, SegmentId};
use shoal_proto::path::RelPath;
use shoal_proto::record::Kind;
use shoal_proto::segment::{PageIndex, SegmentList};

use crate::error::IndexError;
use crate::memory::{Memory, ids_in};
use crate::row::blob;
use crate::store::Index;
use crate::table::prefix;
use crate::work::{limit, read_row, reading, writing};

/// The list of a content's segments, as far as it is one page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListHeld {
    /// All of it.
    Whole(SegmentList),
    /// It has pages; [`Index::list_page`] gives those that are held.
    Paged(PageIndex),
}

/// Where bytes are on this disk, as last seen: to be checked against their id when they are read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BytesAt {
    /// In a file of the folder.
    Folder {
        /// Which one.
        path: RelPath,
        /// From this byte of it on.
        offset: u64,
    },
    /// In a file of the history.
    History {
        /// Its number there.
        number: i64,
        /// From this byte of it on.
        offset: u64,
    },
}

/// How many places of one content are told: one is enough, others are for when it changed meanwhile.
const PLACES_MAX: usize = 8;

impl Index {
    /// Keeps the list of this content. One of pages: its index here, then the pages by [`Self::put_page`].
    ///
    /// # Errors
    /// When it is not the list of that content, or the database refuses.
    pub fn put_list(&mut self, content: ContentId, list: &ListHeld) -> Result<(), IndexError> {
        let (size, index) = match list {
            ListHeld::Whole(list) => {
                SegmentList::decode(&list.encode(), content, list.bytes())?;
                (list.bytes(), None)
            }
            ListHeld::Paged(index) => {
                PageIndex::decode(&index.encode(), content, index.bytes())?;
                (index.bytes(), Some(index.encode()))
            }
        };
        self.job(|work| {
            let mut statement = work
                .conn
                .prepare_cached("INSERT OR IGNORE INTO lists (content, size, page_index) VALUES (?1, ?2, ?3)")
                .map_err(writing())?;
            let is_new = statement
                .execute(params![content.as_bytes(), size.cast_signed(), index])
                .map_err(writing())?
                > 0;
            match list {
                ListHeld::Whole(list) if is_new => {
                    *work.is_dirty = true;
                    let id = work.conn.last_insert_rowid();
                    put_page(work.conn, work.memory, id, 0, list)
                }
                _ => Ok(()),
            }
        })
        .map(drop)
    }

    /// Keeps one page of a list, of which the index was put before.
    ///
    /// # Errors
    /// When there is no such index, it is not that page, or the database refuses.
    pub fn put_page(
        &mut self,
        content: &ContentId,
        page: usize,
        list: &SegmentList,
    ) -> Result<(), IndexError> {
        let Some((id, ListHeld::Paged(index))) = self.list_row(content)? else {
            return Err(IndexError::NoList);
        };
        index.page(page, &list.encode())?;
        if self.page_of(id, page)?.is_some() {
            return Ok(());
        }
        self.job(|work| {
            *work.is_dirty = true;
            put_page(work.conn, work.memory, id, page, list)
        })
        .map(drop)
    }

    /// The list of this content, if it is held.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn list(&self, content: &ContentId) -> Result<Option<ListHeld>, IndexError> {
        Ok(self.list_row(content)?.map(|(_, list)| list))
    }

    /// A page of a list with pages, if it is held.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn list_page(&self, content: &ContentId, page: usize) -> Result<Option<SegmentList>, IndexError> {
        let Some((id, ListHeld::Paged(index))) = self.list_row(content)? else { return Ok(None) };
        let encoded = self.page_of(id, page)?;
        encoded.map(|encoded| index.page(page, &encoded).map_err(IndexError::damaged)).transpose()
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

    /// Whether a head names this content: only such content is served.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn is_named_by_head(&self, content: &ContentId) -> Result<bool, IndexError> {
        for id in self.memory.contents.rows(prefix(content.as_bytes())) {
            let names = |kind: &Kind| matches!(kind, Kind::File { content: named, .. } if named == content);
            let row = read_row(&self.conn, id)?;
            if row.is_some_and(|row| row.heads().iter().any(|head| names(&head.version.kind))) {
                return Ok(true);
            }
        }
        Ok(false)
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

    fn places_from(
        &self,
        content: &ContentId,
        offset: u64,
        places: &mut Vec<BytesAt>,
    ) -> Result<(), IndexError> {
        for id in self.memory.contents.rows(prefix(content.as_bytes())) {
            if places.len() == PLACES_MAX {
                return Ok(());
            }
            if let Some(row) = read_row(&self.conn, id)?
                && let Some(here) = row.here
                && crate::row::file_content(&here.version.kind) == Some(*content)
            {
                places.push(BytesAt::Folder { path: row.path, offset });
            }
        }
        let mut statement = self
            .conn
            .prepare_cached("SELECT number FROM history WHERE content = ?1 LIMIT ?2")
            .map_err(reading())?;
        let numbers = statement
            .query_map(params![content.as_bytes(), limit(PLACES_MAX.saturating_sub(places.len()))], |row| {
                row.get(0)
            })
            .map_err(reading())?;
        for number in numbers {
            places.push(BytesAt::History { number: number.map_err(reading())?, offset });
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

    fn list_row(&self, content: &ContentId) -> Result<Option<(i64, ListHeld)>, IndexError> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT id, size, page_index FROM lists WHERE content = ?1")
            .map_err(reading())?;
        let mut rows = statement.query([content.as_bytes()]).map_err(reading())?;
        let Some(sql) = rows.next().map_err(reading())? else { return Ok(None) };
        let id: i64 = sql.get(0).map_err(reading())?;
        let size = sql.get::<_, i64>(1).map_err(reading())?.cast_unsigned();
        let held = match sql.get::<_, Option<Vec<u8>>>(2).map_err(reading())? {
            Some(index) => {
                ListHeld::Paged(PageIndex::decode(&index, *content, size).map_err(IndexError::damaged)?)
            }
            None => {
                let encoded =
                    self.page_of(id, 0)?.ok_or_else(|| IndexError::damaged("a list without its segments"))?;
                ListHeld::Whole(SegmentList::decode(&encoded, *content, size).map_err(IndexError::damaged)?)
            }
        };
        Ok(Some((id, held)))
    }

    fn page_of(&self, list: i64, page: usize) -> Result<Option<Vec<u8>>, IndexError> {
        self.conn
            .prepare_cached("SELECT segments FROM list_pages WHERE list = ?1 AND page = ?2")
            .and_then(|mut statement| {
                statement.query_row(params![list, limit(page)], |row| row.get(0)).optional()
            })
            .map_err(reading())
    }
}

fn put_page(
    conn: &Connection,
    memory: &mut Memory,
    list: i64,
    page: usize,
    segments: &SegmentList,
) -> Result<(), IndexError> {
    let encoded = segments.encode();
    conn.prepare_cached("INSERT INTO list_pages (list, page, segments) VALUES (?1, ?2, ?3)")
        .and_then(|mut statement| statement.execute(params![list, limit(page), encoded]))
        .map_err(writing())?;
    let id = u32::try_from(conn.last_insert_rowid()).map_err(|_| IndexError::Numbers)?;
    for segment in ids_in(&encoded) {
        memory.segments.insert(prefix(segment), id);
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
