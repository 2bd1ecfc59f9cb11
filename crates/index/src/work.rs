//! What one job reads and changes: paths by demand, records minted, and all of it written at its end.
//!
//! Promise: a job sees its own changes; what it leaves behind is written in one transaction with all that follows from
//! it (sums, counts, which paths diverge), or not at all. Begin at [`Work::row`] and [`Work::finish`].

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, params};
use shoal_proto::batch::{Batch, Part};
use shoal_proto::dot::Dot;
use shoal_proto::hash::RecordHash;
use shoal_proto::heads::{Below, Transaction};
use shoal_proto::id::{DeviceId, ShareId, Writer, WriterSalt};
use shoal_proto::key::DeviceKey;
use shoal_proto::limits::PUBLICATION_RECORDS_MAX;
use shoal_proto::merkle::Proof;
use shoal_proto::moves::moves;
use shoal_proto::path::RelPath;
use shoal_proto::publication::{Place, Publication, PublicationHash};
use shoal_proto::record::Record;
use shoal_proto::roster::{Founding, Role};

use crate::error::IndexError;
use crate::memory::Memory;
use crate::row::{Before, COLUMNS, Row, Said};
use shoal_proto::here::is_diverging;

/// What this device is in the share, and how far its writer has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Life {
    /// What the share began with.
    pub founding: Founding,
    /// Its id.
    pub share: ShareId,
    /// This device.
    pub device: DeviceId,
    /// What its writer was drawn with.
    pub salt: WriterSalt,
    /// The writer: one life of this index.
    pub writer: Writer,
    /// How many records the writer has minted.
    pub counter: u64,
    /// Its last publication; `None` before the first.
    pub last: Option<Place>,
    /// Whether it has reconciled once since the index was made, or need not.
    pub first_contact: bool,
    /// Whether a guard stopped it: it goes on serving, and publishes nothing.
    pub halted: bool,
}

pub(crate) struct Work<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) key: &'a DeviceKey,
    pub(crate) memory: &'a mut Memory,
    pub(crate) life: &'a mut Life,
    /// Set once the tables in memory are not what the database holds.
    pub(crate) is_dirty: &'a mut bool,
    rows: BTreeMap<RelPath, Row>,
    minted: Vec<Vec<Record>>,
    /// What proves records that came: of whole publications all hashes, of others a proof each.
    whole: BTreeMap<u32, Vec<RecordHash>>,
    proofs: Vec<(u32, RecordHash, Proof)>,
    known: BTreeMap<Writer, u64>,
}

/// What a job left behind.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// What this device published.
    pub(crate) batches: Vec<Batch>,
}

impl<'a> Work<'a> {
    pub(crate) fn new(
        conn: &'a Connection,
        key: &'a DeviceKey,
        memory: &'a mut Memory,
        life: &'a mut Life,
        is_dirty: &'a mut bool,
    ) -> Self {
        let (rows, minted, whole) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        Self {
            conn,
            key,
            memory,
            life,
            is_dirty,
            rows,
            minted,
            whole,
            proofs: Vec::new(),
            known: BTreeMap::new(),
        }
    }

    /// Whether this device may publish: it is a writer, has reconciled once, and nothing stopped it.
    pub(crate) fn may_publish(&self) -> bool {
        let is_writer = self.memory.roster.role(&self.life.device) >= Some(Role::Writer);
        is_writer && self.life.first_contact && !self.life.halted
    }

    /// The row of a path; an empty one if nothing is known of it.
    pub(crate) fn row(&mut self, path: &RelPath) -> Result<&mut Row, IndexError> {
        if !self.rows.contains_key(path) {
            let new = Row::new(&self.life.share, path.clone());
            let row = find_at(self.conn, self.memory, new.place, path)?.unwrap_or(new);
            self.rows.insert(path.clone(), row);
        }
        self.rows.get_mut(path).ok_or_else(|| IndexError::damaged("a row that was lost"))
    }

    /// The row with this number.
    pub(crate) fn row_at(&mut self, id: u32) -> Result<&mut Row, IndexError> {
        let Some(row) = read_row(self.conn, id)? else {
            return Err(IndexError::damaged("a row that is not there"));
        };
        let path = row.path.clone();
        Ok(self.rows.entry(path).or_insert(row))
    }

    /// Whether something live lies below a path, as it was before this job.
    pub(crate) fn below(&self, path: &RelPath) -> Below {
        self.memory.folders.below(&self.life.share, path)
    }

    /// The dot that the next record gets.
    pub(crate) fn next_dot(&self) -> Result<Dot, IndexError> {
        // Numbers are kept as signed ones, so half of them are enough.
        let counter = self.life.counter.checked_add(1).filter(|&next| i64::try_from(next).is_ok());
        Ok(Dot::new(self.life.writer, counter.ok_or(IndexError::Numbers)?))
    }

    /// Takes in what was minted under [`Self::next_dot`]. `false`, and nothing is taken, if no receiver would take the
    /// record: it has seen more writers than one may name.
    pub(crate) fn mint(&mut self, transaction: Transaction) -> Result<bool, IndexError> {
        let Transaction { record, copies } = transaction;
        let is_sayable = |record: &Record| Record::decode(&record.encode()).is_ok();
        if !is_sayable(&record) || !copies.iter().all(is_sayable) {
            return Ok(false);
        }
        if record.dot.writer == self.life.writer {
            self.life.counter = record.dot.counter;
        }
        let mut group = Vec::with_capacity(1 + copies.len());
        // Copies first: whoever gets a part only must not have what displaces without what it displaced.
        for record in copies.into_iter().chain([record]) {
            let said = Said { hash: record.hash(), publication: 0, position: 0 };
            // A copy that was made before, and perhaps deleted, stays what it is.
            if self.row(&record.path)?.add(record.clone(), said) {
                group.push(record);
            }
        }
        self.minted.push(group);
        Ok(true)
    }

    /// Notes a publication; its number here, and whether it is new.
    pub(crate) fn publication(
        &mut self,
        publication: &Publication,
        hash: &PublicationHash,
    ) -> Result<(u32, bool), IndexError> {
        if let Some(id) = self.publication_id(hash)? {
            return Ok((id, false));
        }
        let id = self.memory.last_publication.checked_add(1).ok_or(IndexError::Numbers)?;
        *self.is_dirty = true;
        self.memory.last_publication = id;
        self.memory.heads.push(0);
        let writer = publication.writer(&self.life.share);
        let mut statement = self
            .conn
            .prepare_cached(
                "INSERT INTO publications (id, hash, writer, sequence, device, header) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .map_err(writing())?;
        let (sequence, device) = (publication.sequence.cast_signed(), publication.device.as_bytes());
        let header = publication.encode();
        statement
            .execute(params![id, hash.as_bytes(), writer.to_bytes(), sequence, device, header])
            .map_err(writing())?;
        Ok((id, true))
    }

    /// The number of a publication that is held.
    pub(crate) fn publication_id(&self, hash: &PublicationHash) -> Result<Option<u32>, IndexError> {
        let mut statement =
            self.conn.prepare_cached("SELECT id FROM publications WHERE hash = ?1").map_err(reading())?;
        statement.query_row([hash.as_bytes()], |row| row.get(0)).optional().map_err(reading())
    }

    /// What proves the records of a batch, if any of them becomes a head.
    pub(crate) fn prove(&mut self, publication: u32, part: &Part, hashes: &[RecordHash]) {
        match part {
            Part::Whole => {
                self.whole.insert(publication, hashes.to_vec());
            }
            Part::Some(proofs) => {
                let proofs =
                    hashes.iter().zip(proofs).map(|(hash, proof)| (publication, *hash, proof.clone()));
                self.proofs.extend(proofs);
            }
        }
    }

    /// A counter of this writer is known.
    pub(crate) fn know(&mut self, dot: Dot) {
        let known = self.known.entry(dot.writer).or_default();
        *known = (*known).max(dot.counter);
    }

    /// The highest counter known of a writer, what this job brought included.
    pub(crate) fn known(&self, writer: Writer) -> u64 {
        let before = self.memory.writers.get(&writer).copied().unwrap_or_default();
        before.max(self.known.get(&writer).copied().unwrap_or_default())
    }

    /// Signs what was minted, and writes all that changed.
    pub(crate) fn finish(mut self) -> Result<Done, IndexError> {
        let batches = self.sign()?;
        self.follow_folders()?;
        let mut touched = Vec::new();
        for row in core::mem::take(&mut self.rows).into_values() {
            self.write(row, &mut touched)?;
        }
        self.keep_proofs(&touched)?;
        self.write_writers()?;
        Ok(Done { batches })
    }

    /// Publications of what was minted: each transaction, and both ends of a move, in one.
    fn sign(&mut self) -> Result<Vec<Batch>, IndexError> {
        let groups = core::mem::take(&mut self.minted);
        let mut batches = Vec::new();
        for records in arranged(groups) {
            let hashes: Vec<_> = records.iter().map(Record::hash).collect();
            let Life { share, salt, last, .. } = *self.life;
            let publication = Publication::sign(self.key, &share, salt, last, &hashes)?;
            let hash = publication.hash(&share);
            let (id, _) = self.publication(&publication, &hash)?;
            self.life.last = Some(Place { sequence: publication.sequence, hash });
            for ((record, hash), position) in records.iter().zip(&hashes).zip(0..) {
                self.row(&record.path)?.set_said(Said { hash: *hash, publication: id, position });
                self.know(record.dot);
            }
            self.prove(id, &Part::Whole, &hashes);
            batches.push(Batch { publication, part: Part::Whole, records });
        }
        Ok(batches)
    }

    /// Brings up to date below which folders something live lies, and loads the rows of those for which it changed.
    fn follow_folders(&mut self) -> Result<(), IndexError> {
        let mut folders = Vec::new();
        for row in self.rows.values_mut() {
            let is_live = row.is_live();
            if is_live != row.before.is_live {
                *self.is_dirty = true;
                self.memory.folders.change(&self.life.share, &row.path, is_live, &mut folders);
                row.is_changed = true;
            }
        }
        for folder in folders.into_iter().collect::<BTreeSet<_>>() {
            if !self.rows.contains_key(&folder)
                && let Some(row) = find(self.conn, self.memory, &self.life.share, &folder)?
            {
                self.rows.insert(folder, row);
            }
        }
        Ok(())
    }

    fn write(&mut self, mut row: Row, touched: &mut Vec<u32>) -> Result<(), IndexError> {
        let below = match row.folder {
            Some(key) => self.memory.folders.below_key(key),
            None => self.memory.folders.below(&self.life.share, &row.path),
        };
        let is_kept = !row.is_empty();
        let is_diverging =
            is_kept && is_diverging(row.here.as_ref(), row.base.as_ref(), row.standing, row.heads(), below);
        if !row.is_changed && is_diverging == row.before.is_diverging {
            return Ok(());
        }
        if row.id == 0 {
            if !is_kept {
                return Ok(());
            }
            row.id = self.memory.last_row.checked_add(1).ok_or(IndexError::Numbers)?;
        }
        *self.is_dirty = true;
        let now = Before {
            said: row.said().to_vec(),
            contents: row.contents(),
            here: row.here.as_ref().map(|here| here.version.kind.clone()),
            is_live: row.is_live(),
            is_diverging,
        };
        self.memory.replace(&row, &now, touched)?;
        let before = core::mem::replace(&mut row.before, now);
        if row.id > self.memory.last_row {
            self.memory.last_row = row.id;
            self.memory.paths.insert(row.place, row.id);
        } else if !is_kept {
            self.memory.paths.remove(row.place, row.id);
        }
        if is_kept {
            row.write(self.conn).map_err(writing())?;
        } else {
            self.conn
                .prepare_cached("DELETE FROM paths WHERE id = ?1")
                .and_then(|mut statement| statement.execute([row.id]))
                .map_err(writing())?;
        }
        for content in before.contents.iter().filter(|content| !row.before.contents.contains(content)) {
            crate::segments::forget(self.conn, self.memory, content)?;
        }
        Ok(())
    }

    /// Keeps what proves heads, and lets go of what proves none any more.
    fn keep_proofs(&mut self, touched: &[u32]) -> Result<(), IndexError> {
        let heads =
            |memory: &Memory, publication: u32| memory.heads.get(publication as usize).copied().unwrap_or(0);
        for (publication, hashes) in core::mem::take(&mut self.whole) {
            if heads(self.memory, publication) == 0 {
                continue;
            }
            let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
            self.conn
                .prepare_cached("INSERT OR IGNORE INTO record_hashes (publication, hashes) VALUES (?1, ?2)")
                .and_then(|mut statement| statement.execute(params![publication, bytes]))
                .map_err(writing())?;
        }
        for (publication, hash, proof) in core::mem::take(&mut self.proofs) {
            if heads(self.memory, publication) == 0 {
                continue;
            }
            let way: Vec<u8> = proof.path.iter().flatten().copied().collect();
            self.conn
                .prepare_cached(
                    "INSERT OR REPLACE INTO proofs (publication, position, hash, way) VALUES (?1, ?2, ?3, ?4)",
                )
                .and_then(|mut statement| {
                    statement.execute(params![publication, proof.index, hash.as_bytes(), way])
                })
                .map_err(writing())?;
        }
        for publication in touched.iter().copied().collect::<BTreeSet<_>>() {
            if heads(self.memory, publication) > 0 {
                continue;
            }
            for sql in [
                "DELETE FROM record_hashes WHERE publication = ?1",
                "DELETE FROM proofs WHERE publication = ?1",
            ] {
                self.conn
                    .prepare_cached(sql)
                    .and_then(|mut statement| statement.execute([publication]))
                    .map_err(writing())?;
            }
        }
        Ok(())
    }

    fn write_writers(&mut self) -> Result<(), IndexError> {
        for (writer, counter) in core::mem::take(&mut self.known) {
            let known = self.memory.writers.entry(writer).or_default();
            if *known >= counter {
                continue;
            }
            *self.is_dirty = true;
            *known = counter;
            self.conn
                .prepare_cached("INSERT OR REPLACE INTO writers (writer, counter) VALUES (?1, ?2)")
                .and_then(|mut statement| {
                    statement.execute(params![writer.to_bytes(), counter.cast_signed()])
                })
                .map_err(writing())?;
        }
        Ok(())
    }
}

/// The row of a path, if something is known of it.
pub(crate) fn find(
    conn: &Connection,
    memory: &Memory,
    share: &ShareId,
    path: &RelPath,
) -> Result<Option<Row>, IndexError> {
    find_at(conn, memory, crate::row::place_of(share, path), path)
}

fn find_at(
    conn: &Connection,
    memory: &Memory,
    place: u64,
    path: &RelPath,
) -> Result<Option<Row>, IndexError> {
    for id in memory.paths.rows(place) {
        if let Some(row) = read_row(conn, id)?
            && row.path == *path
        {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// The row with this number.
pub(crate) fn read_row(conn: &Connection, id: u32) -> Result<Option<Row>, IndexError> {
    let sql = format!("SELECT {COLUMNS} FROM paths WHERE id = ?1");
    let mut statement = conn.prepare_cached(&sql).map_err(reading())?;
    let mut rows = statement.query([id]).map_err(reading())?;
    rows.next().map_err(reading())?.map(Row::read).transpose()
}

/// Groups of records as publications: those that belong together are not torn apart, as long as one publication can
/// hold them; what a move takes away and where it puts it belong together.
fn arranged(groups: Vec<Vec<Record>>) -> Vec<Vec<Record>> {
    let all: Vec<Record> = groups.iter().flatten().cloned().collect();
    if all.len() <= PUBLICATION_RECORDS_MAX {
        return if all.is_empty() { Vec::new() } else { vec![all] };
    }
    let group_of: Vec<usize> =
        groups.iter().enumerate().flat_map(|(at, group)| group.iter().map(move |_| at)).collect();
    let mut joined: Vec<Vec<usize>> = (0..groups.len()).map(|at| vec![at]).collect();
    for pair in moves(&all) {
        let (gone, new) = (group_of[pair.gone], group_of[pair.new]);
        // A group that has joined another one already stays where it is.
        if gone != new && joined[gone].len() == 1 && joined[new].first() == Some(&new) {
            joined[gone].clear();
            joined[new].push(gone);
        }
    }
    let mut groups: Vec<_> = groups.into_iter().map(Some).collect();
    let mut publications: Vec<Vec<Record>> = vec![Vec::new()];
    for members in joined {
        let records: Vec<Record> = members.iter().filter_map(|&at| groups[at].take()).flatten().collect();
        let room = publications.last().map_or(0, |last| PUBLICATION_RECORDS_MAX - last.len());
        if records.len() > room && records.len() <= PUBLICATION_RECORDS_MAX {
            publications.push(Vec::new());
        }
        for record in records {
            match publications.last_mut() {
                Some(last) if last.len() < PUBLICATION_RECORDS_MAX => last.push(record),
                _ => publications.push(vec![record]),
            }
        }
    }
    publications.retain(|records| !records.is_empty());
    publications
}

/// A number of rows or pages, as SQLite takes it.
pub(crate) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn reading() -> impl FnOnce(rusqlite::Error) -> IndexError {
    IndexError::database("read")
}

pub(crate) fn writing() -> impl FnOnce(rusqlite::Error) -> IndexError {
    IndexError::database("write")
}
