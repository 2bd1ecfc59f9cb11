//! What the disk was asked to bring into the folder, noted before it is asked.
//!
//! Promise: what a process that ended had put in place is known again at the next start, also if it was replaced since, and
//! is not published as an edit of the user's (I4, I6). Each intent is used once: for what the first look at its path finds.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use shoal_engine::index::{Intent, Placed};
use shoal_proto::here::{Here, Triple};
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Mode, Record, Version};

use crate::error::IndexError;
use crate::row::blob;
use crate::store::Index;
use crate::work::{Work, reading, writing};

/// So far a disk that keeps no parts of a second may round a time, in seconds: FAT keeps every other one.
const ROUNDING: u64 = 2;

/// What was intended and is not known to be done, by path: a head, or a folder for what lies below.
pub(crate) type Intents = BTreeMap<RelPath, Option<Record>>;

impl Index {
    /// Notes what the disk will be asked for, in place of what it was asked for before, and gives what is known of these
    /// paths.
    ///
    /// # Errors
    /// When the database refuses; nothing is noted then.
    pub fn intend(&mut self, intents: Vec<(RelPath, Intent)>) -> Result<Vec<Option<Triple>>, IndexError> {
        let triples = intents.iter().map(|(path, _)| self.triple(path)).collect::<Result<_, _>>()?;
        let noted = |(path, intent)| match intent {
            Intent::Head(head) => Some((path, Some(head))),
            Intent::ImpliedFolder => Some((path, None)),
            Intent::Other => None,
        };
        let intents: Intents = intents.into_iter().filter_map(noted).collect();
        self.job(|work| {
            empty(work.conn)?;
            let mut statement = work
                .conn
                .prepare_cached("INSERT INTO intents (path, record) VALUES (?1, ?2)")
                .map_err(writing())?;
            intents.iter().try_for_each(|(path, head)| {
                let record = head.as_ref().map(Record::encode);
                statement.execute(params![path.as_bytes(), record]).map(drop).map_err(writing())
            })
        })?;
        self.memory.intents = intents;
        Ok(triples)
    }

    /// Forgets what was intended at these paths: nothing was done there, and what is found is its user's.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn forget_intents(&mut self, paths: &[RelPath]) -> Result<(), IndexError> {
        self.job(|work| {
            let mut statement =
                work.conn.prepare_cached("DELETE FROM intents WHERE path = ?1").map_err(writing())?;
            for path in paths {
                work.memory.intents.remove(path);
                statement.execute([path.as_bytes()]).map_err(writing())?;
            }
            Ok(())
        })
        .map(drop)
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
    let mut statement = conn.prepare("SELECT path, record FROM intents").map_err(reading())?;
    let mut rows = statement.query([]).map_err(reading())?;
    let mut intents = Intents::new();
    while let Some(sql) = rows.next().map_err(reading())? {
        let path = RelPath::parse(blob(sql, 0)?).map_err(IndexError::damaged)?;
        let record: Option<Vec<u8>> = sql.get(1).map_err(reading())?;
        let head = record.map(|record| Record::decode(&record).map_err(IndexError::damaged)).transpose()?;
        intents.insert(path, head);
    }
    Ok(intents)
}

/// What the disk had done of what it was asked for, as far as nobody noted it.
pub(crate) enum Done {
    /// This head stands there, or a folder for what lies below.
    All(Option<Record>),
    /// A folder was to take the place of a file: the file is in history, and no folder is there yet.
    RoomForFolder,
}

/// Whether what is found where something was intended comes of that.
pub(crate) fn take(work: &mut Work<'_>, path: &RelPath, found: Option<&Here>) -> Option<Done> {
    let intended = work.memory.intents.remove(path)?;
    let is_folder = intended.as_ref().is_none_or(|head| head.version.kind == Kind::Directory);
    let is_it = match (&intended, found) {
        (_, None) => return is_folder.then_some(Done::RoomForFolder),
        (Some(head), Some(found)) => is_shown(&found.version, &head.version),
        (None, Some(Here { version, .. })) => {
            version.kind == Kind::Directory && version.mode == Mode::IMPLIED_DIRECTORY
        }
    };
    is_it.then_some(Done::All(intended))
}

fn is_shown(found: &Version, intended: &Version) -> bool {
    let is_rounded =
        found.mtime.nanos() == 0 && found.mtime.seconds.abs_diff(intended.mtime.seconds) <= ROUNDING;
    let is_its_time = found.kind == Kind::Directory || found.mtime == intended.mtime || is_rounded;
    found.kind == intended.kind && found.mode == intended.mode && is_its_time
}
