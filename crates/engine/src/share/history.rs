//! What the history on this disk holds: noted, named where nobody knows its content, and let go in its time.
//!
//! Promise: what a change displaced can be served again after a crash before it was noted, and after the index was lost:
//! the loser of a conflict may stand nowhere else (I5). It goes on beside everything else, a page and a file at a time.
//! What a program writes to a version after it was displaced is that version's content from then on, and is listed (E17).
//! What goes is chosen by the index, which knows what is needed, and only while this device knows what others have.
//!
//! ```text
//! at the start: look through all ─► name ─► let go ─► … ─► look at what was filed of late ─► name ─► let go ─► …
//! ```

use std::collections::{BTreeMap, VecDeque};

use shoal_proto::hash::ContentId;
use shoal_proto::path::RelPath;

use super::{Share, Waiting, Wake};
use crate::disk;
use crate::history::{Answer, Doomed, Held, Job, Kept, Naming, Noted, Pruning, Retention};
use crate::index;
use crate::limits::{LATE_EDITS_MAX, PRUNED_MAX, ROOM_DELAY};

/// What was asked of the disk or the index.
#[derive(Debug)]
pub(super) enum Asked {
    /// A page of what there is.
    Page,
    /// That these are noted, and after which number more may come.
    Noted(Vec<Kept>, Option<u64>),
    /// That this one is noted, which was filed just now.
    Filed(Kept),
    /// What this one is.
    Name(Kept),
    /// That it is this.
    Named(Option<ContentId>),
    /// What is to go.
    Doomed,
    /// That it goes; whether there is more.
    Pruned(bool),
    /// That it is noted.
    Nothing,
}

/// Where the look through the history is.
#[derive(Debug)]
pub(super) struct Historian {
    retention: Retention,
    /// It is being looked through, named or let go. One thing at a time: what is listed is not removed meanwhile.
    is_busy: bool,
    /// What has no name yet.
    unnamed: VecDeque<Kept>,
    /// The page after the one under way; `None`: there is none.
    next: Option<u64>,
    /// What comes after this was filed since the look before the last one: each version is looked at twice, the second
    /// time when a program that had it open has had its time.
    looked_to: (Option<u64>, Option<u64>),
    /// What is there, as it was last counted, and what was filed since.
    held: Held,
    /// How many are gone that are still written down on the disk.
    gone: u64,
    late: BTreeMap<u64, Option<RelPath>>,
}

impl Historian {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            retention,
            is_busy: false,
            unnamed: VecDeque::new(),
            next: None,
            looked_to: (None, None),
            held: Held::default(),
            gone: 0,
            late: BTreeMap::new(),
        }
    }

    /// This was filed.
    fn count(&mut self, kept: &Kept) {
        self.held.versions += 1;
        self.held.bytes = self.held.bytes.saturating_add(kept.size);
    }

    pub(super) fn held(&self) -> Held {
        self.held
    }

    pub(super) fn late_edits(&self) -> &BTreeMap<u64, Option<RelPath>> {
        &self.late
    }

    fn list_late(&mut self, kept: &Kept) {
        self.late.insert(kept.number, kept.path.clone());
        if self.late.len() > LATE_EDITS_MAX {
            self.late.pop_first();
        }
    }
}

impl Share {
    // ── looking ──

    /// At the start, and from time to time.
    pub(super) fn looks_into_history(&mut self) {
        if self.historian.is_busy {
            return;
        }
        let from = self.historian.looked_to.0;
        self.historian.is_busy = true;
        self.ask_history_page(from);
    }

    fn ask_history_page(&mut self, after: Option<u64>) {
        self.disk(Waiting::History(Asked::Page), disk::Job::History { after });
    }

    pub(super) fn history_told(&mut self, asked: Asked, answer: disk::Answer) {
        match (asked, answer) {
            (Asked::Page, disk::Answer::History { kept, next }) => {
                let job = Job::Add(kept.clone(), Vec::new());
                self.history(Asked::Noted(kept, next), job);
            }
            (Asked::Name(kept), disk::Answer::Named(naming)) => self.is_told_name(kept, naming),
            (Asked::Name(_), _) => self.name_next(),
            (Asked::Pruned(true), disk::Answer::Pruned) => self.prune(),
            // What the disk did not remove, the next start finds again.
            _ => self.leaves_history(),
        }
    }

    pub(super) fn history_answered(&mut self, asked: Asked, answer: Answer) {
        match (asked, answer) {
            (Asked::Noted(kept, next), Answer::Noted(noted)) => {
                self.historian.next = next;
                if next.is_none() {
                    let last = kept.last().map(|kept| kept.number);
                    let (_, before) = self.historian.looked_to;
                    // What was there when the process began has been looked at now.
                    self.historian.looked_to = (before.or(last), last.or(before));
                }
                self.are_noted(kept, &noted);
                self.name_next();
            }
            (Asked::Filed(kept), Answer::Noted(noted)) => {
                self.are_noted(vec![kept], &noted);
                self.names_soon();
            }
            (Asked::Named(content), _) => {
                if let Some(content) = content {
                    self.fetch.appeared(&content);
                }
                self.name_next();
            }
            (Asked::Doomed, Answer::Doomed(doomed)) => self.lets_go(doomed),
            _ => {}
        }
    }

    fn are_noted(&mut self, kept: Vec<Kept>, noted: &Noted) {
        for kept in kept {
            if noted.late.contains(&kept.number) {
                self.historian.list_late(&kept);
            }
            if noted.unnamed.contains(&kept.number) {
                self.historian.unnamed.push_back(kept);
            }
        }
    }

    // ── what was filed just now ──

    /// A change displaced this, and the index has noted it.
    pub(super) fn was_displaced(&mut self, kept: Kept) {
        self.historian.count(&kept);
        let Historian { held, retention, .. } = &self.historian;
        if held.bytes > retention.bytes_max {
            self.timers
                .set_no_later(Wake::History, self.now.time.after(ROOM_DELAY.min(retention.interval())));
        }
        if kept.is_late {
            self.historian.list_late(&kept);
            self.historian.unnamed.push_back(kept);
            self.names_soon();
        }
    }

    /// This was filed, and the index knows nothing of it.
    pub(super) fn was_filed(&mut self, kept: Kept) {
        self.historian.count(&kept);
        let job = Job::Add(vec![kept.clone()], Vec::new());
        self.history(Asked::Filed(kept), job);
    }

    // ── naming ──

    fn names_soon(&mut self) {
        if !self.historian.is_busy && !self.historian.unnamed.is_empty() {
            self.historian.is_busy = true;
            self.name_next();
        }
    }

    fn name_next(&mut self) {
        if let Some(kept) = self.historian.unnamed.pop_front() {
            let number = kept.number;
            self.disk(Waiting::History(Asked::Name(kept)), disk::Job::Name(number));
        } else if let Some(after) = self.historian.next.take() {
            self.ask_history_page(Some(after));
        } else {
            self.prune();
        }
    }

    fn is_told_name(&mut self, mut kept: Kept, naming: Naming) {
        match naming {
            Naming::Is { content, list, size, mtime } => {
                (kept.content, kept.size, kept.mtime) = (Some(content), size, mtime);
                let lists = list.map(|list| (content, list)).into_iter().collect();
                self.history(Asked::Named(Some(content)), Job::Add(vec![kept], lists));
            }
            Naming::Nothing => self.history(Asked::Named(None), Job::Nameless(kept.number)),
            // It is listed again at the next look, and stays until it has a name.
            Naming::Changes => self.name_next(),
        }
    }

    // ── letting go ──

    fn prune(&mut self) {
        if !self.may_plan() {
            // Who has not met anybody does not know what is needed.
            self.leaves_history();
            return self.timers.set_no_later(Wake::History, self.now.time.after(ROOM_DELAY));
        }
        let retention = self.historian.retention;
        let pruning = Pruning { at: self.now.time, wall: self.now.wall, retention, at_most: PRUNED_MAX };
        self.history(Asked::Doomed, Job::Prune(pruning));
    }

    fn lets_go(&mut self, doomed: Doomed) {
        let Doomed { numbers, is_more, left } = doomed;
        let historian = &mut self.historian;
        historian.held = left;
        historian.gone += numbers.len() as u64;
        for number in &numbers {
            historian.late.remove(number);
        }
        if numbers.is_empty() {
            return if is_more { self.prune() } else { self.leaves_history() };
        }
        let tidies = historian.gone * TIDIED_PART >= left.versions;
        if tidies {
            historian.gone = 0;
        }
        self.disk(Waiting::History(Asked::Pruned(is_more)), disk::Job::Prune { numbers, tidies });
    }

    /// What was asked has come to nothing.
    pub(super) fn history_breaks_off(&mut self, asked: &Asked) {
        // These go on beside whatever else is asked.
        if !matches!(asked, Asked::Filed(_) | Asked::Nothing) {
            self.leaves_history();
        }
    }

    /// Nothing more is done about it until some time has passed.
    fn leaves_history(&mut self) {
        self.historian.is_busy = false;
        self.historian.next = None;
        let at = self.now.time.after(self.historian.retention.interval());
        self.timers.set(Wake::History, at);
        self.names_soon();
    }

    // ── what a person says ──

    /// So much is to be kept from now on.
    pub(super) fn retains(&mut self, retention: Retention) {
        self.historian.retention = retention;
        self.looks_into_history();
    }

    /// A late edit is known, and not listed any more.
    pub(super) fn heeds(&mut self, number: u64) {
        if self.historian.late.remove(&number).is_some() {
            self.history(Asked::Nothing, Job::Heeded(number));
        }
    }

    fn history(&mut self, asked: Asked, job: Job) {
        self.index(Waiting::History(asked), index::Job::History(job));
    }
}

/// What is written down of what is gone is cleared up when it is such a part of all.
const TIDIED_PART: u64 = 8;
