//! Wishes for one content: others are asked for it once.
//!
//! Promise: of those that want a content at most one leads, and only what it lacks is asked of others. Who has no place to
//! copy from follows: it waits until the leader's bytes stand in the folder, and copies them from there; if the leader is
//! given up, the next one leads. So any number of equal files cost one transfer, and as many copies side by side.

use shoal_proto::hash::ContentId;

use super::work::{Progress, State};
use super::{Fetch, Holdings};
use crate::disk::StageId;
use crate::limits::EQUAL_RECORDS_MAX;

impl Fetch {
    /// Whether this is the one for which others are asked.
    pub(super) fn is_leader(&self, stage: StageId) -> bool {
        let content = self.works.get(&stage).map(|work| &work.goal.content);
        content.is_some_and(|content| self.by_content.get(content) == Some(&stage))
    }

    /// Whether others may be asked for what this one lacks; if they are asked for another one already, it follows that.
    pub(super) fn leads(&mut self, stage: StageId) -> bool {
        let Some(work) = self.works.get(&stage) else { return false };
        let leads = *self.by_content.entry(work.goal.content).or_insert(stage) == stage;
        if !leads {
            self.follow(stage);
        }
        leads
    }

    /// Lets it wait for what comes of the leader, which learns by whose records the content is known.
    pub(super) fn follow(&mut self, stage: StageId) {
        self.put_away(stage);
        let Some(work) = self.works.get_mut(&stage) else { return };
        work.state = State::Following;
        let (content, records) = (work.goal.content, work.goal.records.clone());
        self.followers.entry(content).or_default().insert(stage);
        if let Some(leader) = self.by_content.get(&content).and_then(|leader| self.works.get_mut(leader)) {
            let room = EQUAL_RECORDS_MAX.saturating_sub(leader.goal.records.len());
            leader.goal.records.extend(records.into_iter().take(room));
        }
        self.transfer.has_news();
    }

    /// The content stands in the folder: who waited for it looks for it there.
    pub(super) fn followers_look(&mut self, content: &ContentId) {
        for stage in self.followers.remove(content).unwrap_or_default() {
            self.looks_anew(stage);
        }
    }

    /// If nobody leads, the one that has waited longest does.
    pub(super) fn next_leads(&mut self, content: &ContentId) {
        if self.by_content.contains_key(content) {
            return;
        }
        let Some(waiting) = self.followers.get_mut(content) else { return };
        let next = waiting.pop_first();
        if waiting.is_empty() {
            self.followers.remove(content);
        }
        if let Some(stage) = next {
            self.by_content.insert(*content, stage);
            self.looks_anew(stage);
        }
    }

    fn looks_anew(&mut self, stage: StageId) {
        if let Some(work) = self.works.get_mut(&stage) {
            work.is_here = None;
        }
        self.enqueue(stage);
    }

    /// A wish for a content has ended.
    pub(super) fn leaves_equals(&mut self, stage: StageId, content: &ContentId) {
        if self.by_content.get(content) == Some(&stage) {
            self.by_content.remove(content);
        }
        if let Some(waiting) = self.followers.get_mut(content) {
            waiting.remove(&stage);
            if waiting.is_empty() {
                self.followers.remove(content);
            }
        }
    }

    /// How far that has come for which one waits: what it ends with, only the leader has.
    pub(super) fn progress_of_leader(&self, content: &ContentId, holdings: &impl Holdings) -> Progress {
        let leader = self.by_content.get(content);
        match leader.and_then(|leader| self.progress(*leader, holdings)) {
            Some(progress @ (Progress::NoSource | Progress::NoSpace)) => progress,
            _ => Progress::Fetching,
        }
    }
}
