//! New writers, and records that do not count any more: what this disk shows of them is said anew.
//!
//! Promise: what a removal made void, or a rolled-back index had said, leaves heads and sums; what of it the disk of a
//! writer shows is published again under fresh dots, so nothing is lost and all agree (I3, I18). Also while a guard has
//! stopped the share: it was said before, and nothing is said of what the disk shows since (I19). A device that has not
//! reconciled yet takes it for a version of its own, and looks at it again once it has.
//! Begin at [`Index::new_writer`] and [`Index::add_entries`].

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;
use shoal_proto::batch::Batch;
use shoal_proto::dot::Dot;
use shoal_proto::heads::Base;
use shoal_proto::here::Standing;
use shoal_proto::id::{DeviceId, Writer, WriterSalt};
use shoal_proto::path::RelPath;
use shoal_proto::publication::{Place, Publication, PublicationHash};
use shoal_proto::record::{Kind, Record};
use shoal_proto::roster::{Entries, EntriesError, Entry, Roster, Standing as Counting};

use crate::error::IndexError;
use crate::merge::chain;
use crate::row::{HeadsIn, blob, number, thirty_two};
use crate::store::Index;
use crate::work::{Work, reading, writing};

/// What became of entries of the roster.
#[derive(Debug, Default)]
pub struct RosterAnswer {
    /// How many were new.
    pub new: usize,
    /// Those that there was no room for, and why.
    pub refused: Vec<(Entry, EntriesError)>,
    /// Paths of which records left the heads because they do not count any more.
    pub voided: Vec<RelPath>,
    /// What was published anew, to be pushed.
    pub batches: Vec<Batch>,
}

/// What records of heads are taken out for.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Why {
    /// A removal made them void.
    Void,
    /// This index's own former writer said them after this dot, and others know other records by their dots.
    RolledBack(Dot),
}

impl Index {
    /// Draws a new writer: this index learned that it was put back to an earlier day, or copied. What the old writer
    /// published after `agreed` (`None`: all of it) is taken out and published again under the new one; it still
    /// conflicts with what came meanwhile. `salt` must be random and fresh. Returns what was published.
    ///
    /// A device that is no writer, or has not reconciled yet, only draws the new one; its own records stay as they are.
    ///
    /// # Errors
    /// When the database refuses; the old writer stays then.
    pub fn new_writer(&mut self, salt: WriterSalt, agreed: Option<Place>) -> Result<Vec<Batch>, IndexError> {
        let ((), done) = self.job(|work| {
            let (forked, last) = in_doubt(work, agreed)?;
            work.life.salt = salt;
            work.life.writer = Writer::drawn(&work.life.device, &work.life.share, &salt);
            (work.life.counter, work.life.last) = (0, None);
            if work.may_say_again() {
                say_again(work, &forked, Why::RolledBack(last))?;
            }
            Ok(())
        })?;
        Ok(done.batches)
    }

    /// Takes up entries of the roster. Records that do not count any more leave heads and sums; what this disk shows of
    /// them is published anew by a device that may.
    ///
    /// # Errors
    /// When the database refuses; nothing is taken then. That there is no room for an entry is part of the answer.
    pub fn add_entries(&mut self, entries: Vec<Entry>) -> Result<RosterAnswer, IndexError> {
        let (mut answer, done) = self.job(|work| add_entries(work, entries))?;
        answer.batches = done.batches;
        Ok(answer)
    }

    /// The entries of the roster.
    #[must_use]
    pub fn entries(&self) -> &Entries {
        &self.memory.entries
    }

    /// What they come to.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.memory.roster
    }

    /// The last publication that is known of a writer: shown at each hello to the device whose writer it is
    /// ([`told`](shoal_proto::chain::told)).
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn last_publication(&self, writer: Writer) -> Result<Option<Publication>, IndexError> {
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT header FROM publications WHERE writer = ?1 ORDER BY sequence DESC LIMIT 1",
            )
            .map_err(reading())?;
        let mut rows = statement.query(params![writer.to_bytes()]).map_err(reading())?;
        let Some(sql) = rows.next().map_err(reading())? else { return Ok(None) };
        Publication::decode(blob(sql, 0)?).map(Some).map_err(IndexError::damaged)
    }

    /// The last publication of each writer of a device: several of one whose chain has forked at its end. What a removal
    /// names, so that all that led to them goes on to count.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn last_publications_of(
        &self,
        device: &DeviceId,
    ) -> Result<BTreeMap<Writer, BTreeSet<Place>>, IndexError> {
        let mut found: BTreeMap<Writer, BTreeSet<Place>> = BTreeMap::new();
        let sql = "SELECT hash, header FROM publications AS one WHERE device = ?1 \
                   AND sequence = (SELECT MAX(sequence) FROM publications WHERE writer = one.writer)";
        let mut statement = self.conn.prepare_cached(sql).map_err(reading())?;
        let mut rows = statement.query([device.as_bytes()]).map_err(reading())?;
        while let Some(sql) = rows.next().map_err(reading())? {
            let publication = Publication::decode(blob(sql, 1)?).map_err(IndexError::damaged)?;
            let hash = PublicationHash::from_bytes(thirty_two(sql, 0)?);
            let place = Place { sequence: publication.sequence, hash };
            found.entry(publication.writer(&self.life.share)).or_default().insert(place);
        }
        Ok(found)
    }

    /// What is held of a writer's chain from one number up to another, in order: two with one number, if it forked.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn publications(&self, writer: Writer, from: u64, to: u64) -> Result<Vec<Publication>, IndexError> {
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT header FROM publications WHERE writer = ?1 AND sequence BETWEEN ?2 AND ?3 ORDER BY sequence",
            )
            .map_err(reading())?;
        let (from, to) = (from.cast_signed(), to.cast_signed());
        let mut rows = statement.query(params![writer.to_bytes(), from, to]).map_err(reading())?;
        let mut found = Vec::new();
        while let Some(sql) = rows.next().map_err(reading())? {
            found.push(Publication::decode(blob(sql, 0)?).map_err(IndexError::damaged)?);
        }
        Ok(found)
    }

    /// The publication with this number of this index's own writer.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn own_publication(&self, sequence: u64) -> Result<Option<PublicationHash>, IndexError> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT hash FROM publications WHERE writer = ?1 AND sequence = ?2")
            .map_err(reading())?;
        let own = self.life.writer.to_bytes();
        let mut rows = statement.query(params![own, sequence.cast_signed()]).map_err(reading())?;
        let Some(sql) = rows.next().map_err(reading())? else { return Ok(None) };
        Ok(Some(PublicationHash::from_bytes(thirty_two(sql, 0)?)))
    }
}

fn add_entries(work: &mut Work<'_>, entries: Vec<Entry>) -> Result<RosterAnswer, IndexError> {
    let mut answer = RosterAnswer::default();
    *work.is_dirty = true;
    for entry in entries {
        let encoded = entry.encode();
        match work.memory.entries.insert(entry.clone()) {
            Ok(false) => {}
            Ok(true) => {
                answer.new += 1;
                work.conn
                    .prepare_cached("INSERT INTO entries (entry) VALUES (?1)")
                    .and_then(|mut statement| statement.execute([encoded]))
                    .map_err(writing())?;
            }
            Err(error) => answer.refused.push((entry, error)),
        }
    }
    if answer.new > 0 {
        work.memory.roster = work.memory.entries.roster();
        let void = void_publications(work)?;
        answer.voided = say_again(work, &void, Why::Void)?;
    }
    Ok(answer)
}

/// The publications that do not count, of those that heads come from.
fn void_publications(work: &Work<'_>) -> Result<BTreeSet<u32>, IndexError> {
    let mut void = BTreeSet::new();
    let mut lines = BTreeMap::new();
    let mut statement =
        work.conn.prepare_cached("SELECT id, hash, header FROM publications").map_err(reading())?;
    let mut rows = statement.query([]).map_err(reading())?;
    while let Some(sql) = rows.next().map_err(reading())? {
        let id = number(sql, 0)?;
        if work.memory.heads.get(id as usize).is_none_or(|&heads| heads == 0) {
            continue;
        }
        let publication = Publication::decode(blob(sql, 2)?).map_err(IndexError::damaged)?;
        let writer = publication.writer(&work.life.share);
        let at =
            Place { sequence: publication.sequence, hash: PublicationHash::from_bytes(thirty_two(sql, 1)?) };
        let roster = &work.memory.roster;
        let chain = match lines.entry(writer) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(match roster.allowed(&publication.device, writer) {
                    shoal_proto::roster::Allowed::UpTo(_) => chain(work.conn, writer)?,
                    _ => shoal_proto::chain::Chain::default(),
                })
            }
        };
        if roster.standing(&publication.device, writer, at, chain) != Counting::Counts {
            void.insert(id);
        }
    }
    Ok(void)
}

/// The publications of this index's writer that come after a place of its chain, and the last of its dots that is in
/// none of them, nor after one that is.
fn in_doubt(work: &Work<'_>, agreed: Option<Place>) -> Result<(BTreeSet<u32>, Dot), IndexError> {
    let writer = work.life.writer;
    let (mut found, mut first) = (BTreeSet::new(), work.life.counter.saturating_add(1));
    let mut statement = work
        .conn
        .prepare_cached("SELECT id, sequence, first FROM publications WHERE writer = ?1")
        .map_err(reading())?;
    let mut rows = statement.query([writer.to_bytes()]).map_err(reading())?;
    while let Some(sql) = rows.next().map_err(reading())? {
        let sequence = sql.get::<_, i64>(1).map_err(reading())?.cast_unsigned();
        if agreed.is_some_and(|agreed| sequence <= agreed.sequence) {
            continue;
        }
        found.insert(number(sql, 0)?);
        if let Some(own) = sql.get::<_, Option<i64>>(2).map_err(reading())? {
            first = first.min(own.cast_unsigned());
        }
    }
    Ok((found, Dot::new(writer, first.saturating_sub(1))))
}

/// Takes all heads of these publications out, and publishes again what of them is this device's to say. Looks through
/// all rows: it is rare. Returns the paths.
fn say_again(
    work: &mut Work<'_>,
    publications: &BTreeSet<u32>,
    why: Why,
) -> Result<Vec<RelPath>, IndexError> {
    let mut paths = Vec::new();
    for id in rows_of(work, publications)? {
        let row = work.row_at(id)?;
        let path = row.path.clone();
        // A conflict copy is the same whoever made it; what a rolled-back writer published of it stays true.
        let stays = |record: &Record| why != Why::Void && record.copy_of.is_some();
        let removed = row.remove(|record, said| publications.contains(&said.publication) && !stays(record));
        let again = match why {
            Why::RolledBack(_) => removed.clone(),
            Why::Void => {
                row.base.iter().flat_map(|base| shown_of(base, row.here.is_some(), &removed)).collect()
            }
        };
        let (base, is_shown) = (row.base.clone(), row.here.is_some() && row.standing == Standing::Agrees);
        let mut minted: Option<Record> = None;
        if work.may_say_again() {
            for record in &again {
                let dot = work.next_dot()?;
                let record = match why {
                    Why::Void => record.reissued(dot),
                    Why::RolledBack(last) => record.reissued_after(last, dot),
                };
                if work
                    .mint(shoal_proto::heads::Transaction { record: record.clone(), copies: Vec::new() })?
                    && base.as_ref().is_some_and(|base| base.version.kind.is_same(&record.version.kind))
                {
                    minted = Some(record);
                }
            }
            if minted.is_none() && is_shown && again.is_empty() {
                minted = say_what_is_here(work, &path, base.as_ref())?;
            }
        }
        let knows_others = work.life.first_contact;
        let row = work.row(&path)?;
        if !knows_others && (!again.is_empty() || is_shown && row.heads().is_empty()) {
            // With the void base it would be taken away as what others replaced.
            let here = row.here.clone();
            row.show(here, None, Standing::Differs);
        } else if let Some(record) = minted {
            // What is said is not what the disk shows, where two touched the same bytes.
            let shown = base.map_or(record.version.clone(), |base| base.version);
            let base = Base { version: shown, ..row.heads().base_of(&record) };
            let (here, standing) = (row.here.clone(), row.standing);
            row.show(here, Some(base), standing);
        } else if let (Why::RolledBack(last), Some(base)) = (why, base) {
            let (here, base) = (row.here.clone(), base.up_to(last));
            let standing = if base.is_some() { row.standing } else { Standing::Differs };
            row.show(here, base, standing);
        }
        paths.push(path);
    }
    Ok(paths)
}

/// What has nothing left to agree with is a version of its own.
fn say_what_is_here(
    work: &mut Work<'_>,
    path: &RelPath,
    base: Option<&Base>,
) -> Result<Option<Record>, IndexError> {
    let dot = work.next_dot()?;
    let row = work.row(path)?;
    let Some(base) = base.filter(|base| row.heads().is_empty() && !base.version.kind.is_gone()) else {
        return Ok(None);
    };
    let Some(transaction) = row.heads().edit(path, None, base.version.clone(), dot) else { return Ok(None) };
    let record = transaction.record.clone();
    Ok(work.mint(transaction)?.then_some(record))
}

/// Of the records that do not count any more the one that the disk shows. A deletion shows nothing, and is not said
/// again: what it deleted may stand with others still.
fn shown_of<'a>(base: &Base, is_here: bool, removed: &'a [Record]) -> Option<Record> {
    let is_shown = |record: &&'a Record| {
        !matches!(record.version.kind, Kind::Gone { .. }) && record.version.kind.is_same(&base.version.kind)
    };
    removed.iter().rfind(is_shown).filter(|_| is_here).cloned()
}

/// The rows with a head of one of these publications.
fn rows_of(work: &Work<'_>, publications: &BTreeSet<u32>) -> Result<Vec<u32>, IndexError> {
    let mut found = Vec::new();
    if publications.is_empty() {
        return Ok(found);
    }
    let mut statement = work.conn.prepare_cached("SELECT id, heads FROM paths").map_err(reading())?;
    let mut rows = statement.query([]).map_err(reading())?;
    while let Some(sql) = rows.next().map_err(reading())? {
        for head in HeadsIn(blob(sql, 1)?) {
            if publications.contains(&head?.0) {
                found.push(number(sql, 0)?);
                break;
            }
        }
    }
    Ok(found)
}
