//! Records that others sent.
//!
//! Promise: only what a publication proves and the roster allows is merged (I26); the result does not depend on order or
//! repetition (I14, I15). A sign that this index was put back to an earlier day stops the whole job before anything is
//! merged (I18). Begin at [`Verified::check`], then [`Index::merge`].

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;
use shoal_proto::batch::{Batch, BatchError, Part};
use shoal_proto::chain::Chain;
use shoal_proto::digest::Leaf;
use shoal_proto::hash::RecordHash;
use shoal_proto::id::{ShareId, Writer};
use shoal_proto::path::RelPath;
use shoal_proto::publication::{Place, Publication, PublicationHash};
use shoal_proto::record::Record;
use shoal_proto::roster::{Allowed, Roster, Standing};

use crate::error::IndexError;
use crate::row::{Said, blob, thirty_two};
use crate::store::Index;
use crate::work::{Work, reading};

/// A batch that proves its records: there is no other way to one than [`Self::check`].
#[derive(Clone, Debug)]
pub struct Verified {
    batch: Batch,
    hash: PublicationHash,
    hashes: Vec<RecordHash>,
}

/// What came of a merge.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Merged {
    /// It is done.
    Done(MergeAnswer),
    /// A publication by this index's own writer that it never made, or a record that has seen one: the index was put
    /// back to an earlier day, or copied. Nothing is merged. Draw a new writer, then merge again.
    RolledBack,
}

/// What a merge did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MergeAnswer {
    /// Records that are heads now and were not before, with their paths.
    pub new: Vec<(RecordHash, RelPath)>,
    /// The leaves in which something changed, in order.
    pub leaves: BTreeSet<Leaf>,
    /// Publications of which nothing was merged, and why: the roster does not let them count (yet).
    pub refused: Vec<(PublicationHash, Standing)>,
    /// Records that claim to have seen a counter more than 2^20 above all that is known of its writer: not merged. To be
    /// sent again with the publication that proves it.
    pub parked: Vec<RecordHash>,
}

impl Verified {
    /// The batch, if its publication proves its records in this share.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(batch: Batch, share: &ShareId) -> Result<Self, BatchError> {
        let (hash, hashes) = batch.verify(share)?;
        Ok(Self { batch, hash, hashes })
    }

    /// The batch.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.batch
    }
}

impl Index {
    /// Takes in records of others (or own ones that come back). All of one call are one transaction; a few ten thousand
    /// at a time are best, since they are written in the order of their paths.
    ///
    /// # Errors
    /// When the database refuses; nothing is merged then.
    pub fn merge(&mut self, batches: Vec<Verified>) -> Result<Merged, IndexError> {
        if self.is_rolled_back_by(&batches)? {
            return Ok(Merged::RolledBack);
        }
        self.job(|work| merge(work, batches)).map(|(answer, _)| Merged::Done(answer))
    }

    fn is_rolled_back_by(&self, batches: &[Verified]) -> Result<bool, IndexError> {
        let own = self.life.writer;
        let is_above = |record: &Record| record.seen.counter_of(own) > self.life.counter;
        for Verified { batch, hash, .. } in batches {
            let (publication, share) = (&batch.publication, &self.life.share);
            let allowed = self.memory.roster.allowed(&publication.device, publication.writer(share));
            if !matches!(allowed, Allowed::All | Allowed::UpTo(_)) {
                continue; // What it says counts for nothing, so it is no sign of anything.
            }
            if batch.records.iter().any(is_above) {
                return Ok(true);
            }
            if publication.writer(share) == own && self.own_publication(publication.sequence)? != Some(*hash)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn merge(work: &mut Work<'_>, batches: Vec<Verified>) -> Result<MergeAnswer, IndexError> {
    let mut answer = MergeAnswer::default();
    let roster = work.memory.roster.clone();
    let counting = refuse(work, &roster, batches, &mut answer)?;
    for Verified { batch, .. } in &counting {
        for record in batch.records.iter().filter(|record| record.copy_of.is_none()) {
            work.know(record.dot);
        }
    }
    let count = counting.iter().map(|one| one.batch.records.len()).sum();
    let mut records: Vec<(Record, Said)> = Vec::with_capacity(count);
    for Verified { batch, hash, hashes } in counting {
        let publication = work.publication(&batch.publication, &hash, None)?;
        work.prove(publication, &batch.part, &hashes);
        let positions: Vec<u16> = match batch.part {
            Part::Whole => (0..batch.publication.count).collect(),
            Part::Some(proofs) => proofs.iter().map(|proof| proof.index).collect(),
        };
        for ((record, hash), position) in batch.records.into_iter().zip(hashes).zip(positions) {
            if record.seen.jump(|writer| work.known(writer)).is_some() {
                answer.parked.push(hash);
            } else {
                records.push((record, Said { hash, publication, position }));
            }
        }
    }
    // In the order of paths the database writes each page once.
    records.sort_unstable_by(|(one, _), (other, _)| one.path.cmp(&other.path));
    let (mut is_twice, mut leaves) = (false, Vec::with_capacity(count));
    for (record, said) in records {
        let path = record.path.clone();
        is_twice |= answer.new.last().is_some_and(|(_, last)| *last == path);
        let row = work.row(&path)?;
        if row.add(record, said) {
            leaves.push(row.leaf());
            answer.new.push((said.hash, path));
        }
    }
    answer.leaves = leaves.into_iter().collect();
    if is_twice {
        drop_replaced(work, &mut answer.new)?;
    }
    Ok(answer)
}

/// What a later record of the same call replaced is no news.
fn drop_replaced(work: &mut Work<'_>, new: &mut Vec<(RecordHash, RelPath)>) -> Result<(), IndexError> {
    let mut kept = Vec::with_capacity(new.len());
    for (hash, path) in core::mem::take(new) {
        if work.row(&path)?.head(&hash).is_some() {
            kept.push((hash, path));
        }
    }
    *new = kept;
    Ok(())
}

/// Leaves the batches that count.
fn refuse(
    work: &Work<'_>,
    roster: &Roster,
    batches: Vec<Verified>,
    answer: &mut MergeAnswer,
) -> Result<Vec<Verified>, IndexError> {
    let share = work.life.share;
    let mut chains: BTreeMap<Writer, Chain> = BTreeMap::new();
    for one in &batches {
        let Publication { device, .. } = one.batch.publication;
        let writer = one.batch.publication.writer(&share);
        if matches!(roster.allowed(&device, writer), Allowed::UpTo(_)) {
            if let std::collections::btree_map::Entry::Vacant(entry) = chains.entry(writer) {
                entry.insert(chain(work.conn, writer)?);
            }
            if let Some(chain) = chains.get_mut(&writer) {
                chain.insert(one.hash, &one.batch.publication);
            }
        }
    }
    let none = Chain::default();
    let mut counting = Vec::with_capacity(batches.len());
    for one in batches {
        let publication = &one.batch.publication;
        let writer = publication.writer(&share);
        let at = Place { sequence: publication.sequence, hash: one.hash };
        match roster.standing(&publication.device, writer, at, chains.get(&writer).unwrap_or(&none)) {
            Standing::Counts => counting.push(one),
            standing => answer.refused.push((one.hash, standing)),
        }
    }
    Ok(counting)
}

/// What is held of a writer's chain.
pub(crate) fn chain(conn: &rusqlite::Connection, writer: Writer) -> Result<Chain, IndexError> {
    let mut chain = Chain::default();
    let mut statement =
        conn.prepare_cached("SELECT hash, header FROM publications WHERE writer = ?1").map_err(reading())?;
    let mut rows = statement.query(params![writer.to_bytes()]).map_err(reading())?;
    while let Some(sql) = rows.next().map_err(reading())? {
        let publication = Publication::decode(blob(sql, 1)?).map_err(IndexError::damaged)?;
        chain.insert(PublicationHash::from_bytes(thirty_two(sql, 0)?), &publication);
    }
    Ok(chain)
}
