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

/// The end that answers.
#[derive(Debug)]
pub(super) struct Reading {
    asked: LeafSet,
    open: Option<Open>,
    listed: usize,
}

/// The leaf that may go on in the next page.
#[derive(Debug)]
struct Open {
    leaf: Leaf,
    /// Our own, from the last fingerprint that was listed on.
    ours: VecDeque<(ShortFingerprint, RecordHash)>,
    last: Option<ShortFingerprint>,
}

/// What a page tells.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Records of ours that the other end lacks.
    pub(super) lacking_there: Vec<RecordHash>,
    /// For each fingerprint of the page a bit: whether we lack its record.
    pub(super) wanted: Vec<u8>,
}

impl Reading {
    pub(super) fn new(asked: LeafSet) -> Self {
        Self { asked, open: None, listed: 0 }
    }

    pub(super) fn page(
        &mut self,
        page: &Page,
        keys: &Keys,
        records: &impl Records,
    ) -> Result<Found, ReconcileError> {
        self.listed += page.fingerprints.len();
        if self.listed > RECONCILE_LISTED_MAX {
            return Err(ReconcileError::TooManyListed);
        }
        let mut found = Found { wanted: vec![0; page.fingerprints.len().div_ceil(8)], ..Found::default() };
        let mut at = 0;
        for (leaf, listed) in page.listed() {
            let mut open = match self.open.take() {
                Some(open) if open.leaf == leaf => open,
                before => self.open(leaf, before, keys, records, &mut found)?,
            };
            for &fingerprint in listed {
                if open.last.is_some_and(|last| last >= fingerprint) {
                    return Err(ReconcileError::FingerprintsGoBack(leaf.0));
                }
                if !open.reach(fingerprint, &mut found) {
                    found.wanted[at / 8] |= 1 << (at % 8);
                }
                at += 1;
            }
            self.open = Some(open);
        }
        if page.is_last
            && let Some(open) = self.open.take()
        {
            open.close(&mut found);
        }
        Ok(found)
    }

    fn open(
        &self,
        leaf: Leaf,
        before: Option<Open>,
        keys: &Keys,
        records: &impl Records,
        found: &mut Found,
    ) -> Result<Open, ReconcileError> {
        if !self.asked.contains(leaf) {
            return Err(ReconcileError::UnaskedLeaf(leaf.0));
        }
        if let Some(before) = before {
            if before.leaf > leaf {
                return Err(ReconcileError::LeavesGoBack(leaf.0));
            }
            before.close(found);
        }
        let ours = keys.fingerprints(&records.fingerprints(leaf)).into();
        Ok(Open { leaf, ours, last: None })
    }
}

impl Open {
    /// Goes on to a fingerprint that the other end listed: what comes before it the other end lacks. Whether
    /// we have the one listed.
    fn reach(&mut self, listed: ShortFingerprint, found: &mut Found) -> bool {
        self.last = Some(listed);
        while let Some((_, record)) = self.ours.pop_front_if(|(ours, _)| *ours < listed) {
            found.lacking_there.push(record);
        }
        let mut have = false;
        while self.ours.pop_front_if(|(ours, _)| *ours == listed).is_some() {
            have = true;
        }
        have
    }

    fn close(self, found: &mut Found) {
        found.lacking_there.extend(self.ours.into_iter().map(|(_, record)| record));
    }
}
