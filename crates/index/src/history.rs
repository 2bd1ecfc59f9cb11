//! What the history on this disk holds: one row a file, by its number there.
//!
//! Promise: rows are what the caller says is durable on the disk; listing takes bounded memory.

use rusqlite::params;
use shoal_engine::disk::Kept;
use shoal_engine::index::{HistoryRow, List};
use shoal_proto::hash::ContentId;
use shoal_proto::id::DeviceId;
use shoal_proto::path::RelPath;

use crate::error::IndexError;
use crate::row::{blob, thirty_two, time};
use crate::segments;
use crate::store::{Index, UNKNOWN_CONTENT};
use crate::work::{Work, limit, reading, writing};

impl Index {
    /// Notes what was filed. A number that is there is written anew.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn add_history(&mut self, rows: &[HistoryRow]) -> Result<(), IndexError> {
        self.job(|work| add(work, rows)).map(drop)
    }

    /// Notes what the history on the disk holds: where a file was, how large it is and when it was filed, and the lists
    /// of segments of what is large. What is known already of its content, and of whom it was displaced by, stays. A
    /// file of which nobody knows where it was is left out. Returns the numbers of those whose content is not known.
    ///
    /// # Errors
    /// When a list is not its content's, or the database refuses; nothing is noted then.
    pub fn note_history(
        &mut self,
        kept: &[Kept],
        lists: &[(ContentId, List)],
    ) -> Result<Vec<u64>, IndexError> {
        let (unnamed, _) = self.job(|work| {
            for (content, list) in lists {
                segments::put(work, content, list)?;
            }
            let mut unnamed = Vec::new();
            for kept in kept {
                if note(work, kept)? == Some(UNKNOWN_CONTENT) {
                    unnamed.push(kept.number);
                }
            }
            Ok(unnamed)
        })?;
        Ok(unnamed)
    }

    /// What the history holds of a path, or of all: at most so many, by number, those after `after`.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn history(
        &self,
        path: Option<&RelPath>,
        after: Option<i64>,
        at_most: usize,
    ) -> Result<Vec<HistoryRow>, IndexError> {
        let sql = match path {
            Some(_) => {
                "SELECT number, path, content, size, seconds, nanos, device FROM history \
                 WHERE path = ?1 AND number > ?2 ORDER BY number LIMIT ?3"
            }
            None => {
                "SELECT number, path, content, size, seconds, nanos, device FROM history \
                 WHERE ?1 IS NULL AND number > ?2 ORDER BY number LIMIT ?3"
            }
        };
        let mut statement = self.conn.prepare_cached(sql).map_err(reading())?;
        let mut rows = statement
            .query(params![path.map(RelPath::as_bytes), after.unwrap_or(i64::MIN), limit(at_most)])
            .map_err(reading())?;
        let mut found = Vec::new();
        while let Some(sql) = rows.next().map_err(reading())? {
            let content = ContentId::from_bytes(thirty_two(sql, 2)?);
            let has_device = sql.get_ref(6).map_err(reading())? != rusqlite::types::ValueRef::Null;
            found.push(HistoryRow {
                number: sql.get(0).map_err(reading())?,
                path: RelPath::parse(blob(sql, 1)?).map_err(IndexError::damaged)?,
                content: (content != UNKNOWN_CONTENT).then_some(content),
                size: sql.get::<_, i64>(3).map_err(reading())?.cast_unsigned(),
                when: time(sql, 4)?,
                by: if has_device { Some(DeviceId::from_bytes(thirty_two(sql, 6)?)) } else { None },
            });
        }
        Ok(found)
    }

    /// Forgets what was removed from the history, and the lists of segments that only it named. Returns how many rows
    /// there were.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn remove_history(&mut self, numbers: &[i64]) -> Result<usize, IndexError> {
        self.job(|work| {
            let mut removed = 0;
            for number in numbers {
                let mut statement = work
                    .conn
                    .prepare_cached("DELETE FROM history WHERE number = ?1 RETURNING content")
                    .map_err(writing())?;
                let mut rows = statement.query([number]).map_err(writing())?;
                let mut content = None;
                while let Some(sql) = rows.next().map_err(writing())? {
                    content = Some(ContentId::from_bytes(thirty_two(sql, 0)?));
                }
                if let Some(content) = content {
                    removed += 1;
                    *work.is_dirty = true;
                    segments::forget(work.conn, work.memory, &content)?;
                }
            }
            Ok(removed)
        })
        .map(|(removed, _)| removed)
    }
}

/// As [`Index::add_history`].
pub(crate) fn add(work: &mut Work<'_>, rows: &[HistoryRow]) -> Result<(), IndexError> {
    for row in rows {
        let content = row.content.unwrap_or(UNKNOWN_CONTENT);
        work.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO history (number, path, content, size, seconds, nanos, device) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    row.number,
                    row.path.as_bytes(),
                    content.as_bytes(),
                    row.size.cast_signed(),
                    row.when.seconds,
                    row.when.nanos(),
                    row.by.as_ref().map(|by| by.as_bytes().as_slice())
                ])
            })
            .map_err(writing())?;
    }
    Ok(())
}

/// The content, as it is known now; `None`: it was left out.
fn note(work: &mut Work<'_>, kept: &Kept) -> Result<Option<ContentId>, IndexError> {
    let Some(path) = &kept.path else { return Ok(None) };
    let content = kept.content.unwrap_or(UNKNOWN_CONTENT);
    // Another size is another file.
    work.conn
        .prepare_cached(
            "INSERT INTO history (number, path, content, size, seconds, nanos) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (number) DO UPDATE SET path = ?2, size = ?4, seconds = ?5, nanos = ?6, \
             content = CASE WHEN ?3 = ?7 AND size = ?4 THEN content ELSE ?3 END, \
             device = CASE WHEN size = ?4 THEN device END RETURNING content",
        )
        .and_then(|mut statement| {
            let values = params![
                kept.number.cast_signed(),
                path.as_bytes(),
                content.as_bytes(),
                kept.size.cast_signed(),
                kept.when.seconds,
                kept.when.nanos(),
                UNKNOWN_CONTENT.as_bytes()
            ];
            statement.query_row(values, |sql| sql.get(0))
        })
        .map(|content| Some(ContentId::from_bytes(content)))
        .map_err(writing())
}
