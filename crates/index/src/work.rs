//! What one job reads and changes: paths by demand, records minted, and all of it written at its end.
//!
//! Promise: a job sees its own changes; what it leaves behind is written in one transaction with all that follows from
//! it (sums, counts, which paths diverge), or not at all. Begin at [`Work::row`] and [`Work::finish`].

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, params};
use shoal_proto::batch::{Batch, Part};
use shoal_proto::dot::Dot;
use shoal_proto::hash::{ContentId, Domain, RecordHash};
use shoal_proto::heads::{Below, Transaction};
use shoal_proto::here::is_diverging;
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
use crate::row::{Held, ROW_BY_NUMBER, Row, Said, Spot};
use crate::rows::Rows;
use crate::write::RowWriter;

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
    rows: Rows,
    minted: Vec<Minted>,
    /// How many transactions `minted` holds.
    groups: usize,
    /// What proves records that came: of whole publications all hashes, of others a proof each.
    whole: BTreeMap<u32, Vec<RecordHash>>,
    proofs: Vec<(u32, RecordHash, Proof)>,
    known: BTreeMap<Writer, u64>,
}

/// A record that this job made.
struct Minted {
    record: Record,
    hash: RecordHash,
    /// Where its row stands.
    row: usize,
    /// The number of its transaction.
    group: usize,
}

/// What rows have let go of: it goes when nothing else needs it.
#[derive(Default)]
struct Left {
    /// Publications that heads came from or went to.
    publications: BTreeSet<u32>,
    contents: BTreeSet<ContentId>,
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
        Self {
            conn,
            key,
            memory,
            life,
            is_dirty,
            rows: Rows::default(),
            minted: Vec::new(),
            groups: 0,
            whole: BTreeMap::new(),
            proofs: Vec::new(),
            known: BTreeMap::new(),
        }
    }

    /// Whether this device may publish: it is a writer, has reconciled once, and nothing stopped it.
    pub(crate) fn may_publish(&self) -> bool {
        self.may_say_again() && !self.life.halted
    }

    /// Whether this device may say again what was said before: it is a writer, and has reconciled once. A guard that has
    /// stopped it is for what it finds since.
    pub(crate) fn may_say_again(&self) -> bool {
        let is_writer = self.memory.roster.role(&self.life.device) >= Some(Role::Writer);
        is_writer && self.life.first_contact
    }

    /// The row of a path; an empty one if nothing is known of it.
    pub(crate) fn row(&mut self, path: &RelPath) -> Result<&mut Row, IndexError> {
        let at = self.row_place(path)?;
        self.row_there(at)
    }

    /// Where the row of a path stands among those of this job; it stays there.
    fn row_place(&mut self, path: &RelPath) -> Result<usize, IndexError> {
        if let Some(at) = self.rows.last(path) {
            return Ok(at);
        }
        let spot = Spot::of(&self.life.share, path);
        if let Some(at) = self.rows.find(spot.place, path) {
            return Ok(at);
        }
        let mut row = find_at(self.conn, self.memory, spot.place, path)?
            .unwrap_or_else(|| Row::new(path.clone(), spot.place));
        row.folder = Some(spot.folder);
        self.rows.push(row).ok_or(IndexError::Numbers)
    }

    fn row_there(&mut self, at: usize) -> Result<&mut Row, IndexError> {
        self.rows.get_mut(at).ok_or_else(|| IndexError::damaged("a row that was lost"))
    }

    /// The row with this number.
    pub(crate) fn row_at(&mut self, id: u32) -> Result<&mut Row, IndexError> {
        let Some(row) = read_row(self.conn, id)? else {
            return Err(IndexError::damaged("a row that is not there"));
        };
        let at = match self.rows.find(row.place, &row.path) {
            Some(at) => at,
            None => self.rows.push(row).ok_or(IndexError::Numbers)?,
        };
        self.row_there(at)
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
        let dot = record.dot;
        // Copies first: whoever gets a part only must not have what displaces without what it displaced.
        let records: Vec<Record> = copies.into_iter().chain([record]).collect();
        let Some(hashes) = records.iter().map(hash_if_sayable).collect::<Option<Vec<_>>>() else {
            return Ok(false);
        };
        if dot.writer == self.life.writer {
            self.life.counter = dot.counter;
        }
        for (record, hash) in records.into_iter().zip(hashes) {
            let at = self.row_place(&record.path)?;
            // A copy that was made before, and perhaps deleted, stays what it is.
            if self.row_there(at)?.add(record.clone(), Said { hash, publication: 0, position: 0 }) {
                self.minted.push(Minted { record, hash, row: at, group: self.groups });
            }
        }
        self.groups += 1;
        Ok(true)
    }

    /// Notes a publication; its number here. `first` is the lowest counter that an own one has; see
    /// [`Index::new_writer`](crate::Index::new_writer).
    pub(crate) fn publication(
        &mut self,
        publication: &Publication,
        hash: &PublicationHash,
        first: Option<u64>,
    ) -> Result<u32, IndexError> {
        if let Some(id) = self.publication_id(hash)? {
            return Ok(id);
        }
        let id = self.memory.last_publication.checked_add(1).ok_or(IndexError::Numbers)?;
        *self.is_dirty = true;
        self.memory.last_publication = id;
        self.memory.heads.push(0);
        let writer = publication.writer(&self.life.share);
        let mut statement = self
            .conn
            .prepare_cached(
                "INSERT INTO publications (id, hash, writer, sequence, device, header, first) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )
            .map_err(writing())?;
        let (sequence, device) = (publication.sequence.cast_signed(), publication.device.as_bytes());
        let (header, first) = (publication.encode(), first.map(u64::cast_signed));
        statement
            .execute(params![id, hash.as_bytes(), writer.to_bytes(), sequence, device, header, first])
            .map_err(writing())?;
        Ok(id)
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
        let mut left = Left::default();
        let mut writer = RowWriter::prepare(self.conn)?;
        // In the order of paths the database writes each page once.
        let (mut rows, order) = core::mem::take(&mut self.rows).into_order();
        for at in order {
            self.write(at, &mut rows[at], &mut writer, &mut left)?;
            writer.flush_many(&rows)?;
        }
        writer.flush(&rows)?;
        drop(writer);
        self.keep_proofs(left.publications)?;
        // Now only: what one row has let go of another one may have taken up, as in a move.
        for content in left.contents {
            crate::segments::forget(self.conn, self.memory, &content)?;
        }
        self.write_writers()?;
        Ok(Done { batches })
    }

    /// Publications of what was minted: each transaction, and both ends of a move, in one.
    fn sign(&mut self) -> Result<Vec<Batch>, IndexError> {
        let minted = core::mem::take(&mut self.minted);
        let mut batches = Vec::new();
        for minted in arranged(minted, self.groups) {
            let hashes: Vec<_> = minted.iter().map(|minted| minted.hash).collect();
            let Life { share, salt, last, .. } = *self.life;
            let publication = Publication::sign(self.key, &share, salt, last, &hashes)?;
            let hash = publication.hash(&share);
            let own =
                minted.iter().map(|minted| minted.record.dot).filter(|dot| dot.writer == self.life.writer);
            let first = own.map(|dot| dot.counter).min();
            let id = self.publication(&publication, &hash, first)?;
            self.life.last = Some(Place { sequence: publication.sequence, hash });
            let mut records = Vec::with_capacity(minted.len());
            for (Minted { record, hash, row, .. }, position) in minted.into_iter().zip(0..) {
                self.row_there(row)?.set_said(Said { hash, publication: id, position });
                self.know(record.dot);
                records.push(record);
            }
            self.prove(id, &Part::Whole, &hashes);
            batches.push(Batch { publication, part: Part::Whole, records });
        }
        Ok(batches)
    }

    /// Brings up to date below which folders something live lies, and loads the rows of those for which it changed. One that
    /// nobody has published gets a row as long as it is to stand there: else nobody would make it.
    fn follow_folders(&mut self) -> Result<(), IndexError> {
        let mut folders = Vec::new();
        for row in self.rows.iter_mut() {
            let is_live = row.is_live();
            if is_live != row.before.is_live {
                *self.is_dirty = true;
                self.memory.folders.change(&self.life.share, &row.path, is_live, &mut folders);
                row.is_changed = true;
            }
        }
        for folder in folders.into_iter().collect::<BTreeSet<_>>() {
            let place = crate::row::place_of(&self.life.share, &folder);
            if self.rows.find(place, &folder).is_none() {
                let row = find_at(self.conn, self.memory, place, &folder)?;
                let row = row.unwrap_or_else(|| Row::new(folder.clone(), place));
                self.rows.push(row).ok_or(IndexError::Numbers)?;
            }
        }
        Ok(())
    }

    /// Writes a row that changed; `at` is where it stands.
    fn write(
        &mut self,
        at: usize,
        row: &mut Row,
        writer: &mut RowWriter<'_>,
        left: &mut Left,
    ) -> Result<(), IndexError> {
        let below = match row.folder {
            Some(key) => self.memory.folders.below_key(key),
            None => self.memory.folders.below(&self.life.share, &row.path),
        };
        let is_kept = !row.is_empty() || below == Below::Live;
        let is_diverging =
            is_kept && is_diverging(row.here.as_ref(), row.base.as_ref(), row.standing, row.heads(), below);
        if !row.is_changed && is_diverging == row.before.is_diverging {
            return Ok(());
        }
        let is_new = row.id == 0;
        if is_new {
            if !is_kept {
                return Ok(());
            }
            row.id = self.memory.last_row.checked_add(1).ok_or(IndexError::Numbers)?;
        }
        *self.is_dirty = true;
        let contents = row.contents();
        let here = row.here.as_ref().map(|here| &here.version.kind);
        let to_come = crate::row::to_come(row.heads(), here, is_diverging);
        let now = Held { said: row.said(), contents: &contents, here, is_diverging, to_come };
        self.memory.replace(row, now, &mut left.publications)?;
        if is_new {
            self.memory.last_row = row.id;
            self.memory.paths.insert(row.place, row.id);
            writer.insert(at, is_diverging);
        } else if is_kept {
            writer.update(row, is_diverging)?;
        } else {
            self.memory.paths.remove(row.place, row.id);
            writer.delete(row)?;
        }
        left.contents.extend(row.before.contents.iter().filter(|content| !contents.contains(content)));
        Ok(())
    }

    /// Keeps what proves heads, and lets go of what proves none any more.
    fn keep_proofs(&mut self, touched: BTreeSet<u32>) -> Result<(), IndexError> {
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
        for publication in touched {
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
    let mut statement = conn.prepare_cached(ROW_BY_NUMBER).map_err(reading())?;
    let mut rows = statement.query([id]).map_err(reading())?;
    rows.next().map_err(reading())?.map(Row::read).transpose()
}

/// The hash of a record, if a receiver would take it.
fn hash_if_sayable(record: &Record) -> Option<RecordHash> {
    let encoded = record.encode();
    Record::decode(&encoded).ok()?;
    Some(RecordHash::from_bytes(Domain::RECORD.hash_one(&encoded)))
}

/// Records as publications: those of one group are not torn apart, as long as one publication can hold them; what a
/// move takes away and where it puts it belong together.
fn arranged(minted: Vec<Minted>, groups: usize) -> Vec<Vec<Minted>> {
    if minted.len() <= PUBLICATION_RECORDS_MAX {
        return if minted.is_empty() { Vec::new() } else { vec![minted] };
    }
    let mut joined: Vec<Vec<usize>> = (0..groups).map(|at| vec![at]).collect();
    for (gone, new) in moved(&minted) {
        // A group that has joined another one already stays where it is.
        if gone != new && joined[gone].len() == 1 && joined[new].first() == Some(&new) {
            joined[gone].clear();
            joined[new].push(gone);
        }
    }
    let mut members: Vec<Vec<Minted>> = core::iter::repeat_with(Vec::new).take(groups).collect();
    for one in minted {
        members[one.group].push(one);
    }
    let mut publications: Vec<Vec<Minted>> = vec![Vec::with_capacity(PUBLICATION_RECORDS_MAX)];
    for together in joined {
        let records: Vec<Minted> =
            together.iter().flat_map(|&at| core::mem::take(&mut members[at])).collect();
        let room = publications.last().map_or(0, |last| PUBLICATION_RECORDS_MAX - last.len());
        if records.len() > room && records.len() <= PUBLICATION_RECORDS_MAX {
            publications.push(Vec::with_capacity(PUBLICATION_RECORDS_MAX));
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

/// For each move the group of what is gone, and that of where it went.
fn moved(minted: &[Minted]) -> Vec<(usize, usize)> {
    let is_any_gone = minted.iter().any(|minted| minted.record.version.kind.is_gone());
    if !is_any_gone {
        return Vec::new();
    }
    let run: Vec<Record> = minted.iter().map(|minted| minted.record.clone()).collect();
    moves(&run).into_iter().map(|pair| (minted[pair.gone].group, minted[pair.new].group)).collect()
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
