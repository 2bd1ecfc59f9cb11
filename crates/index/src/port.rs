//! The index as the engine asks for it.
//!
//! Promise: nothing is decided here; each call is one job of [`Index`], in the engine's words.

use std::collections::BTreeSet;

use shoal_engine::disk::BytesAt;
use shoal_engine::history::{Doomed, Histories, Kept, Listing, Noted, Pruning};
use shoal_engine::index::{
    Asked, Guard, Index as Port, Intent, Life, List, ListPart, Observed, Outcome, Placed, PlacedOutcome,
    Resolved, Serving, Survey,
};
use shoal_engine::store::{Me, Merge, Store};
use shoal_engine::time::Time;
use shoal_proto::batch::Batch;
use shoal_proto::digest::Sum;
use shoal_proto::hash::{ContentId, RecordHash, SegmentId};
use shoal_proto::here::{Here, Triple};
use shoal_proto::id::{DeviceId, Writer, WriterSalt};
use shoal_proto::message::Refusal;
use shoal_proto::path::RelPath;
use shoal_proto::publication::{Place, Publication, PublicationHash};
use shoal_proto::roster::{Entries, Entry, Roster, Statement};
use shoal_proto::secret::ShareSecret;

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

    fn publications(&self, writer: Writer, from: u64, to: u64) -> Result<Vec<Publication>, IndexError> {
        self.publications(writer, from, to)
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
            Merged::RolledBack => Merge::RolledBack(self.life().last),
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

impl Port for Index {
    fn life(&self) -> Result<Life, IndexError> {
        let (life, roster) = (self.life(), self.roster());
        // What was not sealed to this device, or not well, it does not know.
        let open = |secret: &shoal_proto::roster::NewSecret| {
            let sealed = secret.sealed.get(&life.device)?;
            ShareSecret::open(sealed, &self.key, &secret.id).ok()
        };
        // In the order of their numbers: the last one counts.
        let joins: Vec<(&Entry, DeviceId)> = self
            .entries()
            .iter()
            .filter(|entry| *entry.signer() == life.device)
            .filter_map(|entry| match entry.statement() {
                Statement::Joined(joined) => Some((entry, joined.delegation.signer)),
                _ => None,
            })
            .collect();
        Ok(Life {
            me: self.me(),
            role: roster.role(&life.device),
            first_contact: life.first_contact,
            is_halted: life.halted,
            secrets: roster.secrets().iter().filter_map(open).collect(),
            removed: roster.removals().map(|(device, _)| device).collect(),
            left: roster
                .removals()
                .filter(|(device, removal)| removal.by == *device)
                .map(|(device, _)| device)
                .collect(),
            members: roster.members().map(|member| (member.device, member.role)).collect(),
            names: roster
                .members()
                .filter_map(|member| Some((member.device, member.name?.clone())))
                .collect(),
            unknown: roster
                .removals()
                .map(|(device, _)| {
                    (device, roster.secrets_unknown_to(&device).map(|secret| secret.id).collect())
                })
                .collect(),
            removed_by: roster.removed(&life.device).map(|removal| removal.by),
            void: joins
                .last()
                .and_then(|(entry, _)| roster.void().get(&entry.hash()))
                .copied()
                .map(Refusal::from),
            hosts: joins.iter().map(|(_, by)| *by).chain([roster.founding().creator]).collect(),
        })
    }

    fn shown(
        &self,
        below: Option<&RelPath>,
        after: Option<&RelPath>,
        at_most: usize,
    ) -> Result<Vec<(RelPath, Here)>, IndexError> {
        self.shown(below, after, at_most)
    }

    fn triple(&self, path: &RelPath) -> Result<Option<Triple>, IndexError> {
        self.triple(path)
    }

    fn intend(&mut self, intents: Vec<(RelPath, Intent)>) -> Result<Vec<Option<Triple>>, IndexError> {
        self.intend(intents)
    }

    fn forget_intents(&mut self, paths: &[RelPath]) -> Result<(), IndexError> {
        self.forget_intents(paths)
    }

    fn diverging(&self, after: Option<&RelPath>, at_most: usize) -> Result<Vec<Triple>, IndexError> {
        self.diverging(after, at_most)
    }

    fn loss(&mut self, observed: &[Observed], guard: &Guard) -> Result<Survey, IndexError> {
        self.memory.lost_here.renew(guard.at);
        Self::loss(self, observed, &guard.further)
    }

    fn survey(&mut self, now: Time, is_meant: bool) -> Result<(Survey, u64), IndexError> {
        let lost = &mut self.memory.lost_to_others;
        if is_meant {
            lost.mean(now);
        } else {
            lost.renew(now);
        }
        Self::survey(self)
    }

    fn observe(
        &mut self,
        observed: Vec<Observed>,
        lists: Vec<(ContentId, List)>,
        guard: &Guard,
    ) -> Result<(Vec<Outcome>, Vec<Batch>), IndexError> {
        let answer = self.observe_guarded(observed, &lists, guard)?;
        Ok((answer.outcomes, answer.batches))
    }

    fn agreed(&mut self, agreed: Vec<Placed>) -> Result<Vec<PlacedOutcome>, IndexError> {
        self.agreed(agreed)
    }

    fn placed(
        &mut self,
        placed: Vec<Placed>,
        history: Vec<Kept>,
        now: Time,
    ) -> Result<Vec<PlacedOutcome>, IndexError> {
        self.placed_at(placed, &history, now)
    }

    fn resolve(
        &mut self,
        path: &RelPath,
        versions: &[RecordHash],
        copies: Vec<(RelPath, Here)>,
    ) -> Result<Resolved, IndexError> {
        self.resolve(path, versions, copies)
    }

    fn places(&self, content: &ContentId) -> Result<Vec<BytesAt>, IndexError> {
        self.places(content)
    }

    fn places_of_segment(&self, segment: &SegmentId) -> Result<Vec<BytesAt>, IndexError> {
        self.places_of_segment(segment)
    }

    fn list(&self, content: &ContentId, page: Option<u32>) -> Result<Option<ListPart>, IndexError> {
        self.list(content, page)
    }

    fn put_list(&mut self, content: ContentId, page: Option<u32>, part: ListPart) -> Result<(), IndexError> {
        self.put_list(content, page, &part)
    }

    fn serve(&self, asked: &Asked) -> Result<Serving, IndexError> {
        self.serve(asked)
    }

    fn lacking(&self, at_most: usize) -> Result<(BTreeSet<RecordHash>, Sum), IndexError> {
        self.lacking(at_most)
    }

    fn set_first_contact(&mut self) -> Result<(), IndexError> {
        self.set_first_contact()
    }

    fn set_halted(&mut self, is_halted: bool) -> Result<(), IndexError> {
        self.set_halted(is_halted)
    }

    /// All that the old writer said after the agreed place is said again; without one, all that it said.
    fn new_writer(&mut self, salt: WriterSalt, agreed: Option<Place>) -> Result<Vec<Batch>, IndexError> {
        self.new_writer(salt, agreed)
    }

    fn authors(&self, rows: &[Option<Triple>]) -> Result<Vec<Option<DeviceId>>, IndexError> {
        self.authors(rows)
    }

    fn forget_unnamed_lists(&mut self) -> Result<(), IndexError> {
        self.forget_unnamed_lists().map(drop)
    }
}

impl Histories<IndexError> for Index {
    fn add_history(&mut self, kept: Vec<Kept>, lists: Vec<(ContentId, List)>) -> Result<Noted, IndexError> {
        self.note_history(&kept, &lists)
    }

    fn nameless(&mut self, number: u64) -> Result<(), IndexError> {
        self.nameless(number)
    }

    fn heeded(&mut self, number: u64) -> Result<(), IndexError> {
        self.heeded(number)
    }

    fn history(&self, asked: &Listing) -> Result<Vec<Kept>, IndexError> {
        self.history(asked)
    }

    fn kept(&self, number: u64) -> Result<Option<Kept>, IndexError> {
        self.kept(number)
    }

    fn prune(&mut self, pruning: &Pruning) -> Result<Doomed, IndexError> {
        self.prune(pruning)
    }
}
