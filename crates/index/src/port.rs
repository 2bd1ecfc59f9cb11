//! The index as the engine asks for it.
//!
//! Promise: nothing is decided here; each call is one job of [`Index`], in the engine's words.

use shoal_engine::store::{Me, Merge, Store};
use shoal_proto::batch::Batch;
use shoal_proto::hash::RecordHash;
use shoal_proto::id::Writer;
use shoal_proto::publication::{Publication, PublicationHash};
use shoal_proto::roster::{Entries, Entry, Roster};

use crate::error::IndexError;
use crate::merge::{Merged, Verified};
use crate::store::Index;

impl Store for Index {
    type Error = IndexError;

    fn me(&self) -> Me {
        let life = self.life();
        Me {
            share: life.share,
            device: life.device,
            salt: life.salt,
            writer: life.writer,
            published: life.last,
        }
    }

    fn entries(&self) -> &Entries {
        self.entries()
    }

    fn roster(&self) -> &Roster {
        self.roster()
    }

    fn last_publication(&self, writer: Writer) -> Result<Option<Publication>, IndexError> {
        self.last_publication(writer)
    }

    fn own_publication(&self, sequence: u64) -> Result<Option<PublicationHash>, IndexError> {
        self.own_publication(sequence)
    }

    fn holds(&self, record: &RecordHash) -> Result<bool, IndexError> {
        Ok(self.record(record)?.is_some())
    }

    fn add_entries(&mut self, entries: Vec<Entry>) -> Result<Vec<Batch>, IndexError> {
        Ok(self.add_entries(entries)?.batches)
    }

    fn merge(&mut self, batches: Vec<Batch>) -> Result<Merge, IndexError> {
        let share = self.life().share;
        let mut verified = Vec::with_capacity(batches.len());
        for batch in batches {
            match Verified::check(batch, &share) {
                Ok(batch) => verified.push(batch),
                Err(error) => return Ok(Merge::False(error)),
            }
        }
        Ok(match self.merge(verified)? {
            Merged::Done(answer) => Merge::Done(answer.new.into_iter().map(|(hash, _)| hash).collect()),
            Merged::RolledBack => Merge::RolledBack,
        })
    }

    fn batches(&self, records: &[RecordHash]) -> Result<Vec<Batch>, IndexError> {
        self.batches(records)
    }

    fn everything(
        &self,
        after: Option<u32>,
        at_most: usize,
    ) -> Result<(Vec<Batch>, Option<u32>), IndexError> {
        let page = self.everything(after, at_most)?;
        Ok((page.batches, page.next))
    }
}
