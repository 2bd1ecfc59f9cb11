//! What the history on this disk holds is noted, and named where nobody knows its content.
//!
//! Promise: what a change displaced can be served again after a crash before it was noted, and after the index was lost:
//! the loser of a conflict may stand nowhere else (I5). It goes on beside everything else, a page and a file at a time.

use std::collections::VecDeque;

use shoal_proto::hash::ContentId;

use super::{Share, Waiting};
use crate::disk::{self, Kept};
use crate::index;

/// Where the look through the history is.
#[derive(Debug, Default)]
pub(super) struct Historian {
    /// Of the page under way, what has no name yet.
    unnamed: VecDeque<Kept>,
    /// The page after it; `None`: there is none.
    next: Option<u64>,
}

impl Share {
    pub(super) fn look_through_history(&mut self, after: Option<u64>) {
        self.disk(Waiting::History, disk::Job::History { after });
    }

    pub(super) fn is_told_history(&mut self, answer: disk::Answer) {
        let disk::Answer::History(kept, is_end) = answer else { return };
        if !kept.is_empty() {
            let noted = index::Job::AddHistory(kept.clone(), Vec::new());
            self.index(Waiting::HistoryNoted(kept, is_end), noted);
        }
    }

    pub(super) fn history_is_noted(&mut self, mut kept: Vec<Kept>, unnamed: &[u64], is_end: bool) {
        self.historian.next = kept.last().filter(|_| !is_end).map(|kept| kept.number);
        kept.retain(|kept| unnamed.contains(&kept.number));
        self.historian.unnamed = kept.into();
        self.name_next();
    }

    fn name_next(&mut self) {
        if let Some(kept) = self.historian.unnamed.pop_front() {
            let number = kept.number;
            self.disk(Waiting::Name(kept), disk::Job::Name(number));
        } else if let Some(after) = self.historian.next.take() {
            self.look_through_history(Some(after));
        }
    }

    pub(super) fn is_told_name(&mut self, mut kept: Kept, answer: disk::Answer) {
        let disk::Answer::Named(Some((content, list))) = answer else { return self.name_next() };
        kept.content = Some(content);
        let lists = list.map(|list| (content, list)).into_iter().collect();
        self.index(Waiting::Named(content), index::Job::AddHistory(vec![kept], lists));
    }

    pub(super) fn is_named(&mut self, content: &ContentId) {
        self.fetch.appeared(content);
        self.name_next();
    }
}
