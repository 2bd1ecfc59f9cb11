//! The file: made, opened, checked, put aside; and the frame of every job.
//!
//! Promise: what is opened is the index of this share and device in a schema that is known, and was stopped cleanly or
//! is looked through; a job happens whole or not at all, durably before it is answered (I17). A file that is broken is
//! never repaired or deleted, only put aside: everything in it can be found again (I18). Begin at [`Index::open`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, params};
use shoal_proto::hash::ContentId;
use shoal_proto::id::{DeviceId, ShareId, Writer, WriterSalt};
use shoal_proto::key::DeviceKey;
use shoal_proto::publication::{Place, PublicationHash};
use shoal_proto::roster::Founding;

use crate::error::IndexError;
use crate::memory::{Counts, Memory, Usage};
use crate::row::{blob, number, thirty_two};
use crate::work::{Done, Life, Work};

/// "Shoa" in ASCII: says that a database is ours.
const APPLICATION_ID: i64 = 0x5368_6f61;

/// The newest schema that is known here.
pub(crate) const SCHEMA: i64 = 1;

/// Pages that SQLite keeps in memory, in KiB; the minus sign says KiB.
const CACHE: i64 = -4 * 1024;

/// Bytes of a page: with larger ones fewer are looked for, split and copied.
const PAGE_BYTES: i64 = 8 * 1024;

/// Pages in the log before they are copied to their places, 64 MiB: a stream of everything writes many pages again and
/// again, and each copy of the log is one more sync.
const LOG_PAGES: i64 = 8 * 1024;

/// How many statements are kept prepared: all of them.
const STATEMENTS: usize = 64;

/// The index of one share. Jobs are its methods; each is one transaction, durable when it returns.
///
/// There is one at a time for a file: a second one is refused while the first is open.
#[derive(Debug)]
pub struct Index {
    pub(crate) conn: Connection,
    pub(crate) key: Arc<DeviceKey>,
    pub(crate) memory: Memory,
    pub(crate) life: Life,
    was_unclean: bool,
}

/// Where an index is.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// In this file.
    File(&'a Path),
    /// In memory, for simulations: gone when it is dropped.
    Memory,
}

impl Index {
    /// Makes the index of a share that has none here, with a new writer. `salt` must be random and fresh.
    ///
    /// The device that founded the share may publish at once; others after [`Self::set_first_contact`].
    ///
    /// # Errors
    /// When there is a file already, or it cannot be written.
    pub fn create(
        at: At<'_>,
        founding: Founding,
        key: Arc<DeviceKey>,
        salt: WriterSalt,
    ) -> Result<Self, IndexError> {
        let is_founder = founding.creator == key.device();
        Self::make(at, founding, key, salt, is_founder)
    }

    /// As [`Self::create`], where this device had an index of the share and lost it. It may publish after
    /// [`Self::set_first_contact`], whoever founded the share: else what others have changed or deleted since would come
    /// back as new (I6, I18).
    ///
    /// # Errors
    /// When there is a file already, or it cannot be written.
    pub fn create_again(
        at: At<'_>,
        founding: Founding,
        key: Arc<DeviceKey>,
        salt: WriterSalt,
    ) -> Result<Self, IndexError> {
        Self::make(at, founding, key, salt, false)
    }

    fn make(
        at: At<'_>,
        founding: Founding,
        key: Arc<DeviceKey>,
        salt: WriterSalt,
        first_contact: bool,
    ) -> Result<Self, IndexError> {
        let conn = match at {
            At::Memory => Connection::open_in_memory(),
            At::File(path) if path.exists() => return Err(IndexError::Exists),
            At::File(path) => Connection::open(path),
        }
        .map_err(IndexError::database("create the file"))?;
        conn.pragma_update(None, "page_size", PAGE_BYTES).map_err(IndexError::database("create the file"))?;
        prepare(&conn)?;
        let (share, device) = (founding.share(), key.device());
        let writer = Writer::drawn(&device, &share, &salt);
        let life = Life {
            founding,
            share,
            device,
            salt,
            writer,
            counter: 0,
            last: None,
            first_contact,
            halted: false,
        };
        let creating = || IndexError::database("create the tables");
        conn.execute_batch("BEGIN IMMEDIATE").map_err(creating())?;
        conn.execute_batch(include_str!("schema/1.sql")).map_err(creating())?;
        conn.pragma_update(None, "application_id", APPLICATION_ID).map_err(creating())?;
        conn.pragma_update(None, "user_version", SCHEMA).map_err(creating())?;
        conn.execute(
            "INSERT INTO share (one, founding, device, salt, counter, first_contact, halted, open) \
             VALUES (1, ?1, ?2, ?3, 0, ?4, 0, 1)",
            params![founding.encode(), device.as_bytes(), salt.0, first_contact],
        )
        .map_err(creating())?;
        conn.execute_batch("COMMIT").map_err(creating())?;
        let memory = Memory::load(&conn, founding)?;
        Ok(Self { conn, key, memory, life, was_unclean: false })
    }

    /// Opens the index of this share. After an unclean stop the whole file is looked through first.
    ///
    /// # Errors
    /// When it is not an index, of another share or device, of a newer schema, or damaged. It is left as it is: see
    /// [`put_aside`].
    pub fn open(path: &Path, share: &ShareId, key: Arc<DeviceKey>) -> Result<Self, IndexError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(IndexError::database("open the file"))?;
        check_version(&conn)?;
        prepare(&conn)?;
        let (life, was_open) = read_life(&conn)?;
        if life.share != *share {
            return Err(IndexError::OtherShare { found: life.share, wanted: *share });
        }
        if life.device != key.device() {
            return Err(IndexError::OtherDevice);
        }
        if was_open {
            check(&conn)?;
        }
        conn.execute("UPDATE share SET open = 1", [])
            .map_err(IndexError::database("mark the index as open"))?;
        let memory = Memory::load(&conn, life.founding)?;
        Ok(Self { conn, key, memory, life, was_unclean: was_open })
    }

    /// Another index, in memory, that is as this one was when its last job was answered; opened as after an unclean
    /// stop. So a simulation restarts a device, and puts an earlier index back.
    ///
    /// # Errors
    /// When this one cannot be read, or is damaged.
    pub fn fork(&self) -> Result<Self, IndexError> {
        const ALL_PAGES: i32 = -1;
        let copying = || IndexError::database("copy the index");
        let mut conn = Connection::open_in_memory().map_err(copying())?;
        let step = Backup::new(&self.conn, &mut conn).and_then(|copy| copy.step(ALL_PAGES));
        if step.map_err(copying())? != StepResult::Done {
            return Err(IndexError::damaged("pages that cannot be copied"));
        }
        check_version(&conn)?;
        prepare(&conn)?;
        let (life, _) = read_life(&conn)?;
        check(&conn)?;
        let memory = Memory::load(&conn, life.founding)?;
        Ok(Self { conn, key: Arc::clone(&self.key), memory, life, was_unclean: true })
    }

    /// Whether it was not closed the last time.
    #[must_use]
    pub fn was_unclean(&self) -> bool {
        self.was_unclean
    }

    /// Ends with all in one file, and marks the stop as clean.
    ///
    /// # Errors
    /// When that cannot be written; nothing is lost then, and the next start takes longer.
    pub fn close(self) -> Result<(), IndexError> {
        let closing = || IndexError::database("close the index");
        self.conn.execute("UPDATE share SET open = 0", []).map_err(closing())?;
        self.conn.pragma(None, "wal_checkpoint", "TRUNCATE", |_| Ok(())).map_err(closing())?;
        self.conn.close().map_err(|(_, error)| closing()(error))
    }

    /// Looks the whole file through: whether SQLite finds it sound.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self) -> Result<(), IndexError> {
        check(&self.conn)
    }

    /// What this device is in the share, and how far its writer has come.
    #[must_use]
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// What status says.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.memory.counts
    }

    /// What is in memory beside SQLite's cache of 8 MiB at most.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.memory.usage()
    }

    /// Whether it may publish now: it is a writer, has reconciled once, and no guard stopped it.
    #[must_use]
    pub fn may_publish(&self) -> bool {
        let is_writer = self.memory.roster.role(&self.life.device) >= Some(shoal_proto::roster::Role::Writer);
        is_writer && self.life.first_contact && !self.life.halted
    }

    /// Notes that the first reconcile is done (or that the user said to go on alone). What was seen before is
    /// published when it is observed again.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_first_contact(&mut self) -> Result<(), IndexError> {
        self.job(|work| {
            work.life.first_contact = true;
            Ok(())
        })
        .map(drop)
    }

    /// Notes whether a guard has stopped the share. It is kept until it is taken back, restarts included.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_halted(&mut self, is_halted: bool) -> Result<(), IndexError> {
        self.job(|work| {
            work.life.halted = is_halted;
            Ok(())
        })
        .map(drop)
    }

    /// Runs a job: all of it is written, or nothing.
    pub(crate) fn job<T>(
        &mut self,
        job: impl FnOnce(&mut Work<'_>) -> Result<T, IndexError>,
    ) -> Result<(T, Done), IndexError> {
        let (before, mut is_dirty) = (self.life, false);
        self.conn.execute_batch("BEGIN IMMEDIATE").map_err(IndexError::database("begin a job"))?;
        let result = self.run(job, &before, &mut is_dirty);
        if result.is_err() {
            self.life = before;
            // It may have ended the transaction by itself; then there is nothing to take back.
            let _ = self.conn.execute_batch("ROLLBACK");
            if is_dirty {
                let fresh = Memory::load(&self.conn, self.life.founding)?;
                let failed = core::mem::replace(&mut self.memory, fresh);
                (self.memory.lost_here, self.memory.lost_to_others) =
                    (failed.lost_here, failed.lost_to_others);
            }
        }
        result
    }

    fn run<T>(
        &mut self,
        job: impl FnOnce(&mut Work<'_>) -> Result<T, IndexError>,
        before: &Life,
        is_dirty: &mut bool,
    ) -> Result<(T, Done), IndexError> {
        let mut work = Work::new(&self.conn, &self.key, &mut self.memory, &mut self.life, is_dirty);
        let answer = job(&mut work)?;
        let done = work.finish()?;
        if self.life != *before {
            write_life(&self.conn, &self.life)?;
        }
        self.conn.execute_batch("COMMIT").map_err(IndexError::database("commit a job"))?;
        Ok((answer, done))
    }
}

/// Renames the file of an index, and what SQLite keeps beside it, to a name that is free; returns it. Nothing is
/// deleted. Not to be called while the index is open.
///
/// # Errors
/// When a file cannot be renamed.
pub fn put_aside(path: &Path) -> Result<PathBuf, IndexError> {
    let beside = |path: &Path, suffix: &str| {
        let mut name = OsString::from(path);
        name.push(suffix);
        PathBuf::from(name)
    };
    let is_free = |name: &PathBuf| ["", "-wal", "-shm"].iter().all(|suffix| !beside(name, suffix).exists());
    let mut names = (1_u32..).map(|number| beside(path, &format!(".broken-{number}")));
    let Some(aside) = names.find(is_free) else { return Ok(path.to_path_buf()) };
    for suffix in ["-wal", "-shm", ""] {
        let from = beside(path, suffix);
        if from.exists() {
            std::fs::rename(&from, beside(&aside, suffix))
                .map_err(|source| IndexError::PutAside { path: from, source })?;
        }
    }
    Ok(aside)
}

fn prepare(conn: &Connection) -> Result<(), IndexError> {
    let preparing = || IndexError::database("open the file");
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.busy_timeout(core::time::Duration::ZERO).map_err(preparing())?;
    for (name, value) in [("locking_mode", "EXCLUSIVE"), ("journal_mode", "WAL"), ("synchronous", "FULL")] {
        conn.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(no_answer).map_err(preparing())?;
    }
    conn.pragma_update(None, "cache_size", CACHE).map_err(preparing())?;
    conn.pragma_update(None, "temp_store", "MEMORY").map_err(preparing())?;
    conn.pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES, |_| Ok(()))
        .or_else(no_answer)
        .map_err(preparing())?;
    conn.pragma_update(None, "trusted_schema", false).map_err(preparing())?;
    Ok(())
}

/// Some settings answer, some do not.
fn no_answer(error: rusqlite::Error) -> rusqlite::Result<()> {
    if error == rusqlite::Error::QueryReturnedNoRows { Ok(()) } else { Err(error) }
}

fn check_version(conn: &Connection) -> Result<(), IndexError> {
    let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(IndexError::database("read whose file it is"))?;
    if application != APPLICATION_ID {
        return Err(IndexError::NotOurs);
    }
    let found = number("user_version").map_err(IndexError::database("read the schema's number"))?;
    match found {
        SCHEMA => Ok(()),
        found if found > SCHEMA => Err(IndexError::Newer { found, known: SCHEMA }),
        found => Err(IndexError::Damaged(format!("schema {found}"))),
    }
}

fn check(conn: &Connection) -> Result<(), IndexError> {
    let found: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(IndexError::database("look the file through"))?;
    if found == "ok" { Ok(()) } else { Err(IndexError::Damaged(found)) }
}

fn read_life(conn: &Connection) -> Result<(Life, bool), IndexError> {
    let reading = || IndexError::database("read the share's row");
    let mut statement = conn
        .prepare(
            "SELECT founding, device, salt, counter, last_sequence, last_hash, first_contact, halted, open FROM share",
        )
        .map_err(reading())?;
    let mut rows = statement.query([]).map_err(reading())?;
    let sql = rows.next().map_err(reading())?.ok_or_else(|| IndexError::damaged("no row of the share"))?;
    let founding = Founding::decode(blob(sql, 0)?).map_err(IndexError::damaged)?;
    let device = DeviceId::from_bytes(thirty_two(sql, 1)?);
    let salt = blob(sql, 2)?.try_into().map_err(|_| IndexError::damaged("a salt of the wrong length"))?;
    let (salt, share) = (WriterSalt(salt), founding.share());
    let last = match sql.get::<_, Option<i64>>(4).map_err(reading())? {
        None => None,
        Some(sequence) => {
            let hash = PublicationHash::from_bytes(thirty_two(sql, 5)?);
            Some(Place { sequence: sequence.cast_unsigned(), hash })
        }
    };
    let life = Life {
        founding,
        share,
        device,
        salt,
        writer: Writer::drawn(&device, &share, &salt),
        counter: sql.get::<_, i64>(3).map_err(reading())?.cast_unsigned(),
        last,
        first_contact: number(sql, 6)? != 0,
        halted: number(sql, 7)? != 0,
    };
    Ok((life, number(sql, 8)? != 0))
}

fn write_life(conn: &Connection, life: &Life) -> Result<(), IndexError> {
    let last = life.last.map(|last| (last.sequence.cast_signed(), *last.hash.as_bytes()));
    conn.prepare_cached(
        "UPDATE share SET salt = ?1, counter = ?2, last_sequence = ?3, last_hash = ?4, first_contact = ?5, halted = ?6",
    )
    .and_then(|mut statement| {
        statement.execute(params![
            life.salt.0,
            life.counter.cast_signed(),
            last.map(|(sequence, _)| sequence),
            last.map(|(_, hash)| hash),
            life.first_contact,
            life.halted
        ])
    })
    .map(drop)
    .map_err(IndexError::database("write the share's row"))
}

/// What stands for content that is not known.
pub(crate) const UNKNOWN_CONTENT: ContentId = ContentId::NONE;
