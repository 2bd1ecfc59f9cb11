//! What the history on this disk holds: one row a version, by its number there.
//!
//! Promise: rows are what the caller says is durable on the disk; listing takes bounded memory. What is known of a
//! version stays known as long as its file is what it was: another size or time is another content (E17). What goes, and
//! when, is chosen in `prune.rs`.

mod prune;

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row as SqlRow, params};
use shoal_engine::history::{Kept, Listing, Noted, Why};
use shoal_engine::index::List;
use shoal_proto::hash::ContentId;
use shoal_proto::here::Triple;
use shoal_proto::id::DeviceId;
use shoal_proto::path::RelPath;

use crate::error::IndexError;
use crate::row::{number, thirty_two, time};
use crate::segments;
use crate::store::{Index, UNKNOWN_CONTENT};
use crate::work::{Work, reading, writing};

/// Selects versions in the order of columns that [`read`] takes; what follows says which.
macro_rules! select_kept {
    ($which:literal) => {
        concat!(
            "SELECT number, path, content, size, mtime, nanos, seconds, part, device, why, late FROM history ",
            $which
        )
    };
}

impl Index {
    /// Notes what was filed. A number that is there is written anew.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn add_history(&mut self, kept: &[Kept]) -> Result<(), IndexError> {
        self.job(|work| add(work, kept)).map(drop)
    }

    /// Notes what the history on the disk holds, and the lists of segments of what is large among it. What is known
    /// already of a version that is still of this size and time stays.
    ///
    /// # Errors
    /// When a list is not its content's, or the database refuses; nothing is noted then.
    pub fn note_history(&mut self, kept: &[Kept], lists: &[(ContentId, List)]) -> Result<Noted, IndexError> {
        let (noted, _) = self.job(|work| {
            for (content, list) in lists {
                segments::put(work, content, list)?;
            }
            let mut noted = Noted::default();
            for kept in kept {
                let (content, late) = note(work, kept)?;
                if content == UNKNOWN_CONTENT {
                    noted.unnamed.push(kept.number);
                }
                if late == Late::Unheeded {
                    noted.late.push(kept.number);
                }
            }
            Ok(noted)
        })?;
        Ok(noted)
    }

    /// Notes that a version has no content that could be named: it is a link, or cannot be read.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn nameless(&mut self, number: u64) -> Result<(), IndexError> {
        self.set(number, "UPDATE history SET named = 1 WHERE number = ?1")
    }

    /// Notes that a person knows of what was written to a version after it was displaced.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn heeded(&mut self, number: u64) -> Result<(), IndexError> {
        self.set(number, "UPDATE history SET late = 2 WHERE number = ?1 AND late = 1")
    }

    fn set(&mut self, number: u64, sql: &str) -> Result<(), IndexError> {
        self.job(|work| {
            let mut statement = work.conn.prepare_cached(sql).map_err(writing())?;
            statement.execute([number.cast_signed()]).map_err(writing())
        })
        .map(drop)
    }

    /// What the history holds of a path and all below it, or of all, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn history(&self, asked: &Listing) -> Result<Vec<Kept>, IndexError> {
        // In numbers as SQLite has them none is larger.
        let before = asked.before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
        let mut statement;
        let mut rows = match &asked.at {
            Some(path) => {
                // What is below a path comes between it with a slash and it with what comes after a slash.
                let at = path.as_bytes();
                let sql = select_kept!(
                    "WHERE (path = ?1 OR path > ?2 AND path < ?3) AND number < ?4 ORDER BY number DESC"
                );
                statement = self.conn.prepare_cached(sql).map_err(reading())?;
                statement.query(params![at, [at, b"/"].concat(), [at, b"0"].concat(), before])
            }
            None => {
                let sql = select_kept!("WHERE number < ?1 ORDER BY number DESC");
                statement = self.conn.prepare_cached(sql).map_err(reading())?;
                statement.query([before])
            }
        }
        .map_err(reading())?;
        let mut found = Vec::new();
        while found.len() < asked.at_most
            && let Some(sql) = rows.next().map_err(reading())?
        {
            found.push(read(sql)?);
        }
        Ok(found)
    }

    /// One version; `None`: there is none of this number.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn kept(&self, number: u64) -> Result<Option<Kept>, IndexError> {
        let mut statement = self.conn.prepare_cached(select_kept!("WHERE number = ?1")).map_err(reading())?;
        let mut rows = statement.query([number.cast_signed()]).map_err(reading())?;
        rows.next().map_err(reading())?.map(read).transpose()
    }

    /// Who said what each of these paths is to show, as far as something stands there that may lose its place.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn authors(&self, rows: &[Option<Triple>]) -> Result<Vec<Option<DeviceId>>, IndexError> {
        let mut known = BTreeMap::new();
        let mut author = |row: &Option<Triple>| {
            let row = row.as_ref().filter(|row| row.here.is_some());
            let Some(winner) = row.and_then(|row| row.heads.winner()) else { return Ok(None) };
            let writer = winner.dot.writer;
            if let Some(device) = known.get(&writer) {
                return Ok(*device);
            }
            let device = self
                .conn
                .prepare_cached("SELECT device FROM publications WHERE writer = ?1 LIMIT 1")
                .and_then(|mut statement| {
                    statement.query_row([writer.to_bytes()], |sql| sql.get(0)).optional()
                })
                .map_err(reading())?;
            let device = device.map(DeviceId::from_bytes);
            known.insert(writer, device);
            Ok(device)
        };
        rows.iter().map(&mut author).collect()
    }

    /// Forgets what was removed from the history, and the lists of segments that only it named. Returns how many rows
    /// there were.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn remove_history(&mut self, numbers: &[u64]) -> Result<usize, IndexError> {
        self.job(|work| remove(work, numbers)).map(|(removed, _)| removed)
    }
}

/// As [`Index::add_history`].
pub(crate) fn add(work: &mut Work<'_>, kept: &[Kept]) -> Result<(), IndexError> {
    kept.iter().try_for_each(|kept| insert(work, kept, false))
}

/// What is known of a version before it is noted anew.
struct Before {
    path: Option<Vec<u8>>,
    /// Size and time of the file.
    shape: (u64, i64, u32),
    content: ContentId,
    late: Late,
}

/// Whether a program wrote to a version after it was displaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Late {
    No,
    Unheeded,
    /// It did, and a person knows of it.
    Heeded,
}

impl Late {
    fn of(number: u32) -> Self {
        match number {
            0 => Self::No,
            2 => Self::Heeded,
            _ => Self::Unheeded,
        }
    }

    fn as_number(self) -> u32 {
        match self {
            Self::No => 0,
            Self::Unheeded => 1,
            Self::Heeded => 2,
        }
    }
}

/// The content, as it is known now, and whether it is what was displaced.
fn note(work: &mut Work<'_>, kept: &Kept) -> Result<(ContentId, Late), IndexError> {
    let path = kept.path.as_ref().map(RelPath::as_bytes);
    let Some(before) = before(work, kept.number)? else { return insert_found(work, kept) };
    if path.is_some() && before.path.is_some() && before.path.as_deref() != path {
        // An index or a disk was put back, and the number was used again.
        remove(work, &[kept.number])?;
        return insert_found(work, kept);
    }
    let is_same = before.shape == (kept.size, kept.mtime.seconds, kept.mtime.nanos());
    let content = kept.content.or(is_same.then_some(before.content)).unwrap_or(UNKNOWN_CONTENT);
    let late = match before.late {
        Late::No if is_same && !kept.is_late => Late::No,
        Late::Heeded if is_same => Late::Heeded,
        _ => Late::Unheeded,
    };
    work.conn
        .prepare_cached(
            "UPDATE history SET path = coalesce(?2, path), content = ?3, size = ?4, mtime = ?5, nanos = ?6, \
             seconds = ?7, part = ?8, device = coalesce(device, ?9), why = CASE why WHEN 0 THEN ?10 ELSE why END, \
             late = ?11, named = ?12 OR named AND ?13 WHERE number = ?1",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                kept.number.cast_signed(),
                path,
                content.as_bytes(),
                kept.size.cast_signed(),
                kept.mtime.seconds,
                kept.mtime.nanos(),
                kept.when.seconds,
                kept.when.nanos(),
                kept.by.as_ref().map(|by| by.as_bytes().as_slice()),
                why_as(kept.why),
                late.as_number(),
                content != UNKNOWN_CONTENT,
                is_same
            ])
        })
        .map_err(writing())?;
    if before.content != content {
        *work.is_dirty = true;
        segments::forget(work.conn, work.memory, &before.content)?;
    }
    Ok((content, late))
}

fn before(work: &Work<'_>, number: u64) -> Result<Option<Before>, IndexError> {
    let read = |sql: &SqlRow<'_>| {
        Ok(Before {
            path: sql.get(0)?,
            shape: (sql.get::<_, i64>(1)?.cast_unsigned(), sql.get(2)?, sql.get(3)?),
            content: ContentId::from_bytes(sql.get(4)?),
            late: Late::of(sql.get(5)?),
        })
    };
    work.conn
        .prepare_cached("SELECT path, size, mtime, nanos, content, late FROM history WHERE number = ?1")
        .and_then(|mut statement| statement.query_row([number.cast_signed()], read).optional())
        .map_err(reading())
}

/// A version that was found in the history, and not filed for this index.
fn insert_found(work: &Work<'_>, kept: &Kept) -> Result<(ContentId, Late), IndexError> {
    insert(work, kept, true)?;
    let late = if kept.is_late { Late::Unheeded } else { Late::No };
    Ok((kept.content.unwrap_or(UNKNOWN_CONTENT), late))
}

fn insert(work: &Work<'_>, kept: &Kept, is_found: bool) -> Result<(), IndexError> {
    let content = kept.content.unwrap_or(UNKNOWN_CONTENT);
    work.conn
        .prepare_cached(
            "INSERT OR REPLACE INTO history \
             (number, path, content, size, mtime, nanos, seconds, part, device, why, late, named, found) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                kept.number.cast_signed(),
                kept.path.as_ref().map(RelPath::as_bytes),
                content.as_bytes(),
                kept.size.cast_signed(),
                kept.mtime.seconds,
                kept.mtime.nanos(),
                kept.when.seconds,
                kept.when.nanos(),
                kept.by.as_ref().map(|by| by.as_bytes().as_slice()),
                why_as(kept.why),
                kept.is_late,
                content != UNKNOWN_CONTENT,
                is_found
            ])
        })
        .map(drop)
        .map_err(writing())
}

fn remove(work: &mut Work<'_>, numbers: &[u64]) -> Result<usize, IndexError> {
    let mut removed = 0;
    for number in numbers {
        let content: Option<[u8; 32]> = work
            .conn
            .prepare_cached("DELETE FROM history WHERE number = ?1 RETURNING content")
            .and_then(|mut statement| {
                statement.query_row([number.cast_signed()], |sql| sql.get(0)).optional()
            })
            .map_err(writing())?;
        if let Some(content) = content {
            removed += 1;
            *work.is_dirty = true;
            segments::forget(work.conn, work.memory, &ContentId::from_bytes(content))?;
        }
    }
    Ok(removed)
}

fn read(sql: &SqlRow<'_>) -> Result<Kept, IndexError> {
    let path: Option<Vec<u8>> = sql.get(1).map_err(reading())?;
    let content = ContentId::from_bytes(thirty_two(sql, 2)?);
    let has_device = sql.get_ref(8).map_err(reading())? != rusqlite::types::ValueRef::Null;
    Ok(Kept {
        number: sql.get::<_, i64>(0).map_err(reading())?.cast_unsigned(),
        path: path.map(|path| RelPath::parse(&path).map_err(IndexError::damaged)).transpose()?,
        content: (content != UNKNOWN_CONTENT).then_some(content),
        size: sql.get::<_, i64>(3).map_err(reading())?.cast_unsigned(),
        mtime: time(sql, 4)?,
        when: time(sql, 6)?,
        by: if has_device { Some(DeviceId::from_bytes(thirty_two(sql, 8)?)) } else { None },
        why: why_of(number(sql, 9)?)?,
        is_late: number(sql, 10)? != 0,
    })
}

const fn why_as(why: Why) -> u32 {
    match why {
        Why::Unknown => 0,
        Why::Replaced => 1,
        Why::Deleted => 2,
        Why::Conflict => 3,
        Why::Difference => 4,
    }
}

fn why_of(number: u32) -> Result<Why, IndexError> {
    Ok(match number {
        0 => Why::Unknown,
        1 => Why::Replaced,
        2 => Why::Deleted,
        3 => Why::Conflict,
        4 => Why::Difference,
        other => return Err(IndexError::damaged(format_args!("{other} as why a version was displaced"))),
    })
}

#[cfg(test)]
mod tests;
