//! The last step of a walk: one end lists the fingerprints in the leaves that differ, the other answers each
//! page.
//!
//! Promise: neither end keeps more than some pages and one leaf, however much differs.

use std::collections::VecDeque;

use super::keys::{Keys, ShortFingerprint};
use super::leaves::LeafSet;
use super::message::Page;
use super::{ReconcileError, Records};
use crate::digest::Leaf;
use crate::hash::RecordHash;
use crate::limits::{RECONCILE_LISTED_MAX, RECONCILE_PAGE_MAX, RECONCILE_PAGES_IN_FLIGHT_MAX};

/// The end that lists.
#[derive(Debug)]
pub(super) struct Listing {
    leaves: LeafSet,
    /// The leaf that did not fit its page.
    rest: Option<(Leaf, VecDeque<(ShortFingerprint, RecordHash)>)>,
    /// The records of each page that has not been answered.
    unanswered: VecDeque<Vec<RecordHash>>,
    is_done: bool,
}

impl Listing {
    pub(super) fn new(leaves: LeafSet) -> Self {
        Self { leaves, rest: None, unanswered: VecDeque::new(), is_done: false }
    }

    /// The next page; `None` after the last, and while enough of them wait for their answers.
    pub(super) fn next_page(&mut self, keys: &Keys, records: &impl Records) -> Option<Page> {
        if self.is_done || self.unanswered.len() == RECONCILE_PAGES_IN_FLIGHT_MAX {
            return None;
        }
        let mut page = Page::default();
        let mut listed = Vec::new();
        while listed.len() < RECONCILE_PAGE_MAX && page.leaves.len() < RECONCILE_PAGE_MAX {
            let next = self.rest.take().or_else(|| {
                let leaf = self.leaves.take_first()?;
                let mut fingerprints = keys.fingerprints(&records.fingerprints(leaf));
                // Of two that are equal by chance the other one is found in the next round.
                fingerprints.dedup_by_key(|(fingerprint, _)| *fingerprint);
                Some((leaf, fingerprints.into()))
            });
            let Some((leaf, mut rest)) = next else { break };
            let these = rest.drain(..rest.len().min(RECONCILE_PAGE_MAX - listed.len()));
            let mut count = 0;
            for (fingerprint, record) in these {
                page.fingerprints.push(fingerprint);
                listed.push(record);
                count += 1;
            }
            page.leaves.push((leaf, count));
            if !rest.is_empty() {
                self.rest = Some((leaf, rest));
            }
        }
        page.is_last = self.rest.is_none() && self.leaves.is_empty();
        self.is_done = page.is_last;
        self.unanswered.push_back(listed);
        Some(page)
    }

    /// The records of the oldest page that the other end wants.
    pub(super) fn wanted(&mut self, bits: &[u8]) -> Result<Vec<RecordHash>, ReconcileError> {
        let listed = self.unanswered.pop_front().ok_or(ReconcileError::NothingToAnswer)?;
        if bits.len() != listed.len().div_ceil(8) {
            return Err(ReconcileError::Answer { got: bits.len(), expected: listed.len().div_ceil(8) });
        }
        let is_set = |at: usize| bits[at / 8] & 1 << (at % 8) != 0;
        if (listed.len()..bits.len() * 8).any(is_set) {
            return Err(ReconcileError::AnswerBeyondPage(listed.len()));
        }
        let mut at = 0..;
        Ok(listed.into_iter().filter(|_| at.next().is_some_and(is_set)).collect())
    }

    /// Whether the last page is answered.
    pub(super) fn is_over(&self) -> bool {
        self.is_done && self.unanswered.is_empty()
    }
}

/// The end that answers: whether the pages that come are as they must be.
#[derive(Debug)]
pub(super) struct Reading {
    asked: LeafSet,
    /// Where the pages have got to.
    last: Option<(Leaf, Option<ShortFingerprint>)>,
    listed: usize,
}

/// A page that is being answered, leaf by leaf, when its answer is polled.
#[derive(Debug)]
pub(super) struct Answering {
    page: Page,
    keys: Keys,
    /// Whether it is the first one of its list.
    is_first: bool,
    /// How many of its leaves and fingerprints are answered.
    leaves: usize,
    fingerprints: usize,
    /// For each fingerprint a bit: whether we lack its record.
    wanted: Vec<u8>,
}

/// The leaf that may go on in the next page.
#[derive(Debug)]
pub(super) struct Open {
    leaf: Leaf,
    /// Our own, from the last fingerprint that was listed on.
    ours: VecDeque<(ShortFingerprint, RecordHash)>,
}

impl Reading {
    pub(super) fn new(asked: LeafSet) -> Self {
        Self { asked, last: None, listed: 0 }
    }

    /// Checks a page against those before it, and has it answered with the keys of the round.
    pub(super) fn page(&mut self, page: Page, keys: &Keys) -> Result<Answering, ReconcileError> {
        let is_first = self.last.is_none();
        self.listed += page.fingerprints.len();
        if self.listed > RECONCILE_LISTED_MAX {
            return Err(ReconcileError::TooManyListed);
        }
        for (leaf, listed) in page.listed() {
            let mut last = match self.last {
                Some((at, last)) if at == leaf => last,
                _ if !self.asked.contains(leaf) => return Err(ReconcileError::UnaskedLeaf(leaf.0)),
                Some((at, _)) if at > leaf => return Err(ReconcileError::LeavesGoBack(leaf.0)),
                _ => None,
            };
            for &fingerprint in listed {
                if last.is_some_and(|last| last >= fingerprint) {
                    return Err(ReconcileError::FingerprintsGoBack(leaf.0));
                }
                last = Some(fingerprint);
            }
            self.last = Some((leaf, last));
        }
        let wanted = vec![0; page.fingerprints.len().div_ceil(8)];
        Ok(Answering { page, keys: keys.clone(), is_first, leaves: 0, fingerprints: 0, wanted })
    }
}

impl Answering {
    /// Answers the next leaf, and adds what the other end lacks in those before it and up to what it listed; false
    /// once there is none. `open` is where the page before ended.
    pub(super) fn next_leaf(
        &mut self,
        open: &mut Option<Open>,
        records: &impl Records,
        lacking_there: &mut Vec<RecordHash>,
    ) -> bool {
        if self.is_first && self.leaves == 0 {
            *open = None; // what a list left that was given up
        }
        let Some(&(leaf, count)) = self.page.leaves.get(self.leaves) else {
            if self.page.is_last {
                close(open.take(), lacking_there);
            }
            return false;
        };
        let at = match open {
            Some(at) if at.leaf == leaf => at,
            _ => {
                close(open.take(), lacking_there);
                let ours = self.keys.fingerprints(&records.fingerprints(leaf)).into();
                open.insert(Open { leaf, ours })
            }
        };
        for &listed in self.page.fingerprints.iter().skip(self.fingerprints).take(usize::from(count)) {
            if !at.reach(listed, lacking_there) {
                self.wanted[self.fingerprints / 8] |= 1 << (self.fingerprints % 8);
            }
            self.fingerprints += 1;
        }
        self.leaves += 1;
        true
    }

    /// The answer, once there is no leaf any more.
    pub(super) fn wanted(self) -> Vec<u8> {
        self.wanted
    }
}

fn close(open: Option<Open>, lacking_there: &mut Vec<RecordHash>) {
    lacking_there.extend(open.into_iter().flat_map(|open| open.ours).map(|(_, record)| record));
}

impl Open {
    /// Goes on to a fingerprint that the other end listed: what comes before it the other end lacks. Whether
    /// we have the one listed.
    fn reach(&mut self, listed: ShortFingerprint, lacking_there: &mut Vec<RecordHash>) -> bool {
        while let Some((_, record)) = self.ours.pop_front_if(|(ours, _)| *ours < listed) {
            lacking_there.push(record);
        }
        let mut have = false;
        while self.ours.pop_front_if(|(ours, _)| *ours == listed).is_some() {
            have = true;
        }
        have
    }
}
