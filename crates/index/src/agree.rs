//! What agreeing asks for: sums, hashes by leaf, records with what proves them.
//!
//! Promise: what is given verifies at the other end, or is left out because it is no head any more; a head whose proof is
//! lost or whose row was altered is found here, not there. Begin at [`Index::batches`]; [`Index`] is a
//! [`Records`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};
use shoal_proto::batch::{Batch, Part};
use shoal_proto::digest::{Digests, Leaf};
use shoal_proto::hash::{RecordHash, prefix};
use shoal_proto::merkle::{self, Proof};
use shoal_proto::publication::Publication;
use shoal_proto::reconcile::Records;
use shoal_proto::record::Record;

use crate::error::IndexError;
use crate::row::{Said, blob, thirty_two};
use crate::store::Index;
use crate::work::{read_row, reading};

/// A page of everything, for an end that has nothing.
#[derive(Debug, Default)]
pub struct Everything {
    /// Publications with those of their records that are heads.
    pub batches: Vec<Batch>,
    /// What to ask the next page after; `None` at the end.
    pub next: Option<u32>,
}

impl Records for Index {
    fn digests(&self) -> &Digests {
        &self.memory.digests
    }

    fn fingerprints(&self, leaf: Leaf) -> Cow<'_, [RecordHash]> {
        Cow::Borrowed(self.memory.leaves.hashes(leaf))
    }
}

impl Index {
    /// The record with this hash, if it is a head.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn record(&self, hash: &RecordHash) -> Result<Option<Record>, IndexError> {
        Ok(self.head(hash)?.map(|(record, _)| record))
    }

    /// The records of a leaf, in the order of their hashes.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn records_of(&self, leaf: Leaf) -> Result<Vec<Record>, IndexError> {
        let lost = || IndexError::damaged("a record that is in the tables and not in its row");
        let hashes = self.memory.leaves.hashes(leaf).iter();
        hashes.map(|hash| self.record(hash)?.ok_or_else(lost)).collect()
    }

    /// These records with their publications: whole ones where all of it was asked for and is there, else with a proof
    /// each. Records that are no heads (any more) are left out.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn batches(&self, hashes: &[RecordHash]) -> Result<Vec<Batch>, IndexError> {
        let mut found: BTreeMap<u32, BTreeMap<u16, (Record, RecordHash)>> = BTreeMap::new();
        for hash in hashes {
            if let Some((record, said)) = self.head(hash)? {
                found.entry(said.publication).or_default().insert(said.position, (record, *hash));
            }
        }
        found.into_iter().map(|(publication, records)| self.batch(publication, records)).collect()
    }

    /// A page of all records, publication by publication, since whole ones need no proofs: the page ends with the
    /// publication in which `at_most` records are reached. Publications that came in during the pages are in them.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn everything(&self, after: Option<u32>, at_most: usize) -> Result<Everything, IndexError> {
        let (mut page, mut records) = (Everything::default(), 0);
        let first = after.map_or(0, |after| after.saturating_add(1));
        for publication in first..=self.memory.last_publication {
            if self.memory.heads.get(publication as usize).is_none_or(|&heads| heads == 0) {
                continue;
            }
            if records >= at_most {
                page.next = publication.checked_sub(1);
                break;
            }
            let batch = self.publication_batch(publication)?;
            records += batch.records.len();
            page.batches.push(batch);
        }
        Ok(page)
    }

    fn publication_batch(&self, publication: u32) -> Result<Batch, IndexError> {
        let mut hashes: Vec<RecordHash> = self.hashes_of(publication)?.unwrap_or_default();
        let mut statement =
            self.conn.prepare_cached("SELECT hash FROM proofs WHERE publication = ?1").map_err(reading())?;
        let mut rows = statement.query([publication]).map_err(reading())?;
        while let Some(sql) = rows.next().map_err(reading())? {
            hashes.push(RecordHash::from_bytes(thirty_two(sql, 0)?));
        }
        let mut found = BTreeMap::new();
        for hash in hashes {
            // A conflict copy may have come with another publication first.
            if let Some((record, said)) =
                self.head(&hash)?.filter(|(_, said)| said.publication == publication)
            {
                found.insert(said.position, (record, hash));
            }
        }
        self.batch(publication, found)
    }

    fn batch(
        &self,
        publication: u32,
        records: BTreeMap<u16, (Record, RecordHash)>,
    ) -> Result<Batch, IndexError> {
        let header = self.header(publication)?;
        let all = self.hashes_of(publication)?;
        if records.len() == usize::from(header.count) {
            let records = records.into_values().map(|(record, _)| record).collect();
            return Ok(Batch { publication: header, part: Part::Whole, records });
        }
        let proofs = match all {
            Some(all) => proofs_in(&all, &records),
            None => {
                let one = |(&position, (_, hash)): (&u16, &(Record, RecordHash))| {
                    self.proof(publication, position, hash)
                };
                records.iter().map(one).collect::<Result<Option<Vec<_>>, _>>()?
            }
        };
        let proofs =
            proofs.ok_or_else(|| IndexError::damaged("a record that its publication does not prove"))?;
        let records = records.into_values().map(|(record, _)| record).collect();
        Ok(Batch { publication: header, part: Part::Some(proofs), records })
    }

    fn head(&self, hash: &RecordHash) -> Result<Option<(Record, Said)>, IndexError> {
        for id in self.memory.records.rows(prefix(hash.as_bytes())) {
            if let Some(row) = read_row(&self.conn, id)?
                && let Some((record, said)) = row.head(hash)
            {
                return Ok(Some((record.clone(), said)));
            }
        }
        Ok(None)
    }

    fn header(&self, publication: u32) -> Result<Publication, IndexError> {
        let mut statement =
            self.conn.prepare_cached("SELECT header FROM publications WHERE id = ?1").map_err(reading())?;
        let mut rows = statement.query([publication]).map_err(reading())?;
        let sql =
            rows.next().map_err(reading())?.ok_or_else(|| IndexError::damaged("a head of no publication"))?;
        Publication::decode(blob(sql, 0)?).map_err(IndexError::damaged)
    }

    /// All hashes of a publication that came whole.
    fn hashes_of(&self, publication: u32) -> Result<Option<Vec<RecordHash>>, IndexError> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT hashes FROM record_hashes WHERE publication = ?1")
            .map_err(reading())?;
        let mut rows = statement.query([publication]).map_err(reading())?;
        let Some(sql) = rows.next().map_err(reading())? else { return Ok(None) };
        let hashes = blob(sql, 0)?.as_chunks::<32>().0.iter().map(|hash| RecordHash::from_bytes(*hash));
        Ok(Some(hashes.collect()))
    }

    fn proof(&self, publication: u32, position: u16, hash: &RecordHash) -> Result<Option<Proof>, IndexError> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT way FROM proofs WHERE publication = ?1 AND position = ?2 AND hash = ?3")
            .map_err(reading())?;
        let found = statement
            .query_row(params![publication, position, hash.as_bytes()], |sql| sql.get::<_, Vec<u8>>(0))
            .optional()
            .map_err(reading())?;
        Ok(found.map(|way| Proof { index: position, path: way.as_chunks::<32>().0.to_vec() }))
    }
}

/// Proofs of these records of a publication with all these hashes; `None` if one of them is not where it should be.
fn proofs_in(all: &[RecordHash], records: &BTreeMap<u16, (Record, RecordHash)>) -> Option<Vec<Proof>> {
    let is_there =
        |(&position, (_, hash)): (&u16, &(Record, RecordHash))| all.get(usize::from(position)) == Some(hash);
    let positions: Vec<u16> = records.keys().copied().collect();
    records.iter().all(is_there).then(|| merkle::proofs(all, &positions))?
}
