//! What is worked on when, and how work ends.
//!
//! Promise: whatever waits is in a queue, or comes back to one at a moment that is known; what ends leaves nothing under
//! way behind.

use std::collections::BTreeSet;

use shoal_proto::hash::{ContentId, RecordHash};
use shoal_proto::holding::Has;
use shoal_proto::limits::SEGMENT_BYTES_MAX;

use super::work::State;
use super::{Do, Fetch, Holdings, said};
use crate::disk::StageId;
use crate::limits::{LARGE_GOALS_MAX, PARK_CHECK, PARK_PAUSE, SPACE_PAUSE, SPACE_PAUSE_MAX};
use crate::time::Time;
use crate::transfer::{Piece, SourceId};

impl Fetch {
    /// Puts a content into the queue where it belongs.
    pub(super) fn enqueue(&mut self, stage: StageId) {
        let Some(work) = self.works.get_mut(&stage) else { return };
        work.state = State::Queued;
        let may_be_one = work.goal.size <= u64::from(SEGMENT_BYTES_MAX);
        if work.is_small() || may_be_one && work.is_here.is_none() {
            self.to_look.insert((work.rank, stage));
        } else {
            self.to_start.insert((work.rank, stage));
        }
    }

    /// What is being asked of others is looked for on this disk.
    pub(super) fn look_again(&mut self, stage: StageId) {
        let Some(work) = self.works.get_mut(&stage) else { return };
        if matches!(work.state, State::Small | State::Page(_)) || work.is_parked {
            work.is_here = None;
            work.is_parked = false;
            self.put_away(stage);
            self.enqueue(stage);
        }
    }

    /// Whether anybody who can be asked may have a content that these records name.
    pub fn may_come(
        &self,
        content: &ContentId,
        records: &BTreeSet<RecordHash>,
        holdings: &impl Holdings,
    ) -> bool {
        let has = |source: &SourceId| {
            holdings.has_segment(*source, content, 0) != Has::Unknown
                || records.iter().any(|record| holdings.has(*source, record) != Has::No)
        };
        self.channels.keys().any(has)
    }

    pub(super) fn note_records(&mut self, stage: StageId, records: &BTreeSet<RecordHash>) {
        for record in records {
            self.by_record.entry(*record).or_default().insert(stage);
        }
    }

    /// Begins with the next content of several segments. Whether there was one.
    pub(super) fn start_next(&mut self) -> bool {
        if self.started.len() >= LARGE_GOALS_MAX {
            return false;
        }
        let Some((_, stage)) = self.to_start.pop_first() else { return false };
        self.started.insert(stage);
        self.open(stage);
        true
    }

    /// Lets others go before the large contents that nobody has. Whether there were any.
    pub(super) fn park(&mut self, now: Time, holdings: &impl Holdings) -> bool {
        // While something comes there is always a next time.
        let is_early = self.transfer.owed() > 0 && now < self.park_at;
        if self.to_start.is_empty() || self.started.len() < LARGE_GOALS_MAX || is_early {
            return false;
        }
        self.park_at = now.after(PARK_CHECK);
        let Self { transfer, works, by_content, .. } = self;
        let is_stuck = |stage: &&StageId| {
            works.get(stage).is_some_and(|work| {
                if by_content.get(&work.goal.content) != Some(stage) {
                    return false;
                }
                let has = |source, piece: &Piece| said(works, by_content, holdings, source, piece);
                transfer.is_without_source(&work.goal.content, has)
            })
        };
        let stuck: Vec<StageId> = self.started.iter().filter(is_stuck).copied().collect();
        for stage in &stuck {
            self.put_away(*stage);
            if let Some(work) = self.works.get_mut(stage) {
                work.state = State::Queued;
                work.is_parked = true;
            }
            self.wakes.insert((now.after(PARK_PAUSE), *stage));
        }
        !stuck.is_empty()
    }

    /// Lets go of all that is under way for a content; what is in its staged file stays.
    pub(super) fn put_away(&mut self, stage: StageId) {
        let Some(work) = self.works.get_mut(&stage) else { return };
        work.epoch += 1;
        if self.by_content.get(&work.goal.content) == Some(&stage) {
            self.transfer.forget_all(&work.goal.content);
        }
        self.to_look.remove(&(work.rank, stage));
        self.to_start.remove(&(work.rank, stage));
        self.started.remove(&stage);
        self.writes.forget(stage);
        self.wakes.retain(|(_, other)| *other != stage);
    }

    pub(super) fn remove(&mut self, stage: StageId) {
        self.put_away(stage);
        let Some(work) = self.works.remove(&stage) else { return };
        self.ended += 1;
        self.leaves_equals(stage, &work.goal.content);
        for record in &work.goal.records {
            if let Some(stages) = self.by_record.get_mut(record) {
                stages.remove(&stage);
                if stages.is_empty() {
                    self.by_record.remove(record);
                }
            }
        }
    }

    pub(super) fn is_done(&mut self, stage: StageId) {
        self.put_away(stage);
        if let Some(work) = self.works.get_mut(&stage)
            && !matches!(work.state, State::Done)
        {
            work.state = State::Done;
            self.said.push_back(Do::Done(stage));
        }
    }

    pub(super) fn fails(&mut self, stage: StageId, why: &str) {
        self.put_away(stage);
        if let Some(work) = self.works.get_mut(&stage)
            && !matches!(work.state, State::Failed(_))
        {
            work.state = State::Failed(why.to_owned());
            self.said.push_back(Do::Failed(stage, why.to_owned()));
        }
    }

    /// The disk is full: the content waits, and others are tried a little at a time.
    pub(super) fn pauses(&mut self, stage: StageId, now: Time) {
        self.budget = 0;
        self.put_away(stage);
        let Some(work) = self.works.get_mut(&stage) else { return };
        let is_first = !matches!(work.state, State::Paused);
        let wait = SPACE_PAUSE.saturating_mul(1 << work.pauses.min(8)).min(SPACE_PAUSE_MAX);
        work.pauses = work.pauses.saturating_add(u32::from(is_first));
        work.state = State::Paused;
        self.wakes.insert((now.after(wait), stage));
        if is_first {
            self.said.push_back(Do::NoSpace(stage));
        }
    }
}
