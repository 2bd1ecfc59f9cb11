//! What the disk was asked to bring into the folder, noted before it is asked.
//!
//! Promise: what a process that ended had put in place is known again at the next start, also if it was replaced since, and
//! is not published as an edit of the user's (I4, I6). Each intent is used once: for what the first look at its path finds.

use std::collections::BTreeMap;

use rusqlite::Connection;
use shoal_engine::index::Placed;
use shoal_proto::here::{Here, Triple};
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Record};

use crate::error::IndexError;
use crate::row::blob;
use crate::store::Index;
use crate::work::{Work, reading, writing};

/// So far a disk that keeps no parts of a second may round a time, in seconds: FAT keeps every other one.
const ROUNDING: u64 = 2;

/// What was intended and is not known to be done, by path.
pub(crate) type Intents = BTreeMap<RelPath, Record>;

impl Index {
    /// Notes that the disk will be asked to show these heads, in place of what it was asked for before, and gives what is
    /// known of these paths.
    ///
    /// # Errors
    /// When the database refuses; nothing is noted then.
    pub fn intend(
        &mut self,
        paths: &[RelPath],
        heads: Vec<Record>,
    ) -> Result<Vec<Option<Triple>>, IndexError> {
        self.job(|work| {
            empty(work.conn)?;
            let mut statement =
                work.conn.prepare_cached("INSERT INTO intents (record) VALUES (?1)").map_err(writing())?;
            heads.iter().try_for_each(|head| statement.execute([head.encode()]).map(drop).map_err(writing()))
        })?;
        self.memory.intents = heads.into_iter().map(|head| (head.path.clone(), head)).collect();
        paths.iter().map(|path| self.triple(path)).collect()
    }
}

/// These are done; what else was intended is looked at before this process ends.
pub(crate) fn forget(work: &mut Work<'_>, placed: &[Placed]) -> Result<(), IndexError> {
    for placed in placed {
        work.memory.intents.remove(&placed.path);
    }
    empty(work.conn)
}

fn empty(conn: &Connection) -> Result<(), IndexError> {
    let mut statement = conn.prepare_cached("DELETE FROM intents").map_err(writing())?;
    statement.execute([]).map(drop).map_err(writing())
}

pub(crate) fn read(conn: &Connection) -> Result<Intents, IndexError> {
    let mut statement = conn.prepare("SELECT record FROM intents").map_err(reading())?;
    let mut rows = statement.query([]).map_err(reading())?;
    let mut intents = Intents::new();
    while let Some(sql) = rows.next().map_err(reading())? {
        let head = Record::decode(blob(sql, 0)?).map_err(IndexError::damaged)?;
        intents.insert(head.path.clone(), head);
    }
    Ok(intents)
}

/// The head that was put where this is found and not noted, if it is that.
pub(crate) fn take(work: &mut Work<'_>, path: &RelPath, found: Option<&Here>) -> Option<Record> {
    let head = work.memory.intents.remove(path)?;
    let (found, intended) = (&found?.version, &head.version);
    let is_rounded =
        found.mtime.nanos() == 0 && found.mtime.seconds.abs_diff(intended.mtime.seconds) <= ROUNDING;
    let is_its_time = found.kind == Kind::Directory || found.mtime == intended.mtime || is_rounded;
    let is_it = found.kind == intended.kind && found.mode == intended.mode && is_its_time;
    is_it.then_some(head)
}
