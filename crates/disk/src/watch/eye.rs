//! The thread of a watch: from events to hints.
//!
//! Promise: it sleeps until something happens or is due. What it tells is merged while nobody has room for it. A move is
//! told with both its ends at once; a directory that was made, or moved here, only after it is watched with all below it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shoal_engine::io::Hint;
use shoal_proto::path::RelPath;

use super::hints::Hints;
use super::nodes::{NodeId, Nodes, ROOT, Standing};
use super::source::{Event, Source, What};
use super::{Alarm, Hear, Heard, Ignores, Scope, Unwatched, WatchStatus};
use crate::folder::Shared;
use crate::name::STATE_NAME;
use crate::os::Os;

/// All that a watch's thread knows.
pub(super) struct Eye<S: Source> {
    pub(super) source: S,
    pub(super) folder: Arc<Shared<Os>>,
    pub(super) nodes: Nodes,
    pub(super) hints: Hints,
    pub(super) poll_every: Duration,
    pub(super) next_poll: Option<Instant>,
    /// Why the last directory that could not be watched could not.
    pub(super) why: Option<Unwatched>,
    scope: Scope,
    /// `None`: nobody knows them, or they are of no interest.
    rules: Option<Arc<dyn Ignores>>,
    hear: Hear,
    alarm: Arc<Alarm>,
    status: Arc<Mutex<WatchStatus>>,
    is_ready: bool,
    /// What was read and not heeded yet.
    events: VecDeque<Event>,
    /// What was moved away, and may appear elsewhere.
    moved: Vec<Moved>,
    /// What somebody had no room for.
    refused: Vec<Hint>,
    /// When everything is to be gone through again.
    survey_at: Option<Instant>,
    surveyed_at: Option<Instant>,
}

/// Something that was moved away a moment ago.
#[derive(Debug)]
struct Moved {
    cookie: u32,
    path: RelPath,
    /// The directory that it is, if it was known.
    node: Option<NodeId>,
    since: Instant,
}

impl<S: Source> Eye<S> {
    pub(super) fn new(
        source: S,
        folder: Arc<Shared<Os>>,
        scope: Scope,
        hear: Hear,
        alarm: Arc<Alarm>,
        status: Arc<Mutex<WatchStatus>>,
        poll_every: Duration,
    ) -> Self {
        Self {
            source,
            folder,
            nodes: Nodes::default(),
            hints: Hints::default(),
            poll_every,
            next_poll: None,
            why: None,
            scope,
            rules: None,
            hear,
            alarm,
            status,
            is_ready: false,
            events: VecDeque::new(),
            moved: Vec::new(),
            refused: Vec::new(),
            survey_at: None,
            surveyed_at: None,
        }
    }

    pub(super) fn run(mut self) {
        self.learn_rules();
        self.survey();
        self.is_ready = true;
        loop {
            self.tell_status();
            if self.has_ended() || !self.tell() {
                return;
            }
            let wait = self.next_deed().map(|at| at.saturating_duration_since(Instant::now()));
            if self.source.wait(wait).is_err() {
                self.lose_all();
                std::thread::sleep(FAILED_PAUSE);
            }
            if self.has_ended() {
                return;
            }
            // What comes within a moment is read together: a file that is saved is several events.
            std::thread::sleep(GATHERED);
            self.read();
            self.heed_all();
            self.do_what_is_due();
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.alarm.has_ended.load(Ordering::SeqCst)
    }

    // ── events ──

    /// Takes what has happened from the system, so that its queue does not run over.
    pub(super) fn read(&mut self) {
        let Self { source, events, .. } = self;
        let mut is_too_much = false;
        let read = source.take(&mut |event| {
            is_too_much |= events.len() >= EVENTS_MAX;
            if !is_too_much {
                events.push_back(event);
            }
        });
        if is_too_much {
            self.events.clear();
            self.survey_soon();
        }
        if read.is_err() {
            self.nodes.forget_watches();
            self.lose_all();
        }
    }

    fn heed_all(&mut self) {
        while let Some(event) = self.events.pop_front() {
            match event {
                Event::Overflow => self.survey_soon(),
                Event::Uprooted => self.hints.lost(),
                Event::Ended(watch) => {
                    if let Some(node) = self.nodes.of(watch) {
                        self.nodes.set_polled(node, None);
                    }
                }
                Event::Named { watch, name, is_folder, what } => {
                    if let Some(folder) = self.nodes.of(watch) {
                        self.heed(folder, &name, is_folder, what);
                    }
                }
            }
            if self.has_ended() {
                return;
            }
        }
    }

    fn heed(&mut self, folder: NodeId, name: &[u8], is_folder: bool, what: What) {
        if folder == ROOT && name == STATE_NAME.as_bytes() && matches!(what, What::Gone | What::MovedAway(_))
        {
            // Whoever looks finds that it is not the folder any more that it was (I19).
            return self.hints.lost();
        }
        // What is in a directory that is being moved is looked at when it has arrived.
        let Some(path) = self.path_in(folder, name) else { return };
        let is_known_folder = is_folder && self.enters_folders();
        if self.is_ignored(&path, is_folder) {
            self.forget_child(folder, name);
            if let What::MovedHere(cookie) = what {
                self.left(cookie);
            }
            return;
        }
        match what {
            What::Made if is_known_folder => self.found_folder(folder, name, path),
            // It may be one that could not be entered before.
            What::Altered if is_known_folder && !self.is_watched(folder, name) => {
                self.found_folder(folder, name, path);
            }
            What::Made | What::Written if !is_folder => self.hints.changes(path, Instant::now()),
            What::Made | What::Written | What::Closed => self.hints.rests(path),
            What::Altered => self.hints.altered(path),
            What::Gone => {
                self.forget_child(folder, name);
                self.hints.rests(path);
            }
            What::MovedAway(cookie) => {
                let node = self.nodes.take_out(folder, name);
                if self.moved.len() >= MOVED_MAX {
                    let first = self.moved.swap_remove(0);
                    self.has_left(first);
                }
                self.moved.push(Moved { cookie, path, node, since: Instant::now() });
            }
            What::MovedHere(cookie) => self.came(folder, name, path, is_folder, cookie),
        }
    }

    /// Something was moved to a name, from another one that we know or from outside.
    fn came(&mut self, folder: NodeId, name: &[u8], path: RelPath, is_folder: bool, cookie: u32) {
        let from = self.moved.iter().position(|moved| moved.cookie == cookie);
        let from = from.map(|at| self.moved.swap_remove(at));
        self.forget_child(folder, name);
        if !(is_folder && self.enters_folders()) {
            self.hints.rests(path);
            return from.into_iter().for_each(|from| self.has_left(from));
        }
        let Some(Moved { path: old, node, .. }) = from else { return self.found_folder(folder, name, path) };
        if let Some(node) = node {
            self.nodes.put_in(node, folder, name);
        }
        self.found_folder(folder, name, path);
        // Two that change places are told as two moves, of which the second seems to take away what the first brought.
        match self.place_of(&old) {
            Some((folder, name)) => self.found_folder(folder, &name, old),
            None => self.hints.rests(old),
        }
    }

    /// A directory may be there, new or perhaps another one than before: it is watched, and then to be looked through.
    fn found_folder(&mut self, folder: NodeId, name: &[u8], path: RelPath) {
        let node = self.nodes.insert(folder, name);
        if self.walk(node) { self.hints.below(Some(path)) } else { self.hints.rests(path) }
    }

    /// What was moved away did not come to a place that is watched.
    fn left(&mut self, cookie: u32) {
        if let Some(at) = self.moved.iter().position(|moved| moved.cookie == cookie) {
            let moved = self.moved.swap_remove(at);
            self.has_left(moved);
        }
    }

    fn has_left(&mut self, moved: Moved) {
        self.hints.rests(moved.path);
        if let Some(node) = moved.node {
            self.forget(node);
        }
    }

    fn is_watched(&self, folder: NodeId, name: &[u8]) -> bool {
        let node = self.nodes.child(folder, name);
        node.is_some_and(|node| matches!(self.nodes.standing(node), Some(Standing::Watched(_))))
    }

    pub(super) fn forget_child(&mut self, folder: NodeId, name: &[u8]) {
        if let Some(node) = self.nodes.take_out(folder, name) {
            self.forget(node);
        }
    }

    fn forget(&mut self, node: NodeId) {
        for watch in self.nodes.forget(node) {
            self.source.remove(watch);
        }
    }

    // ── what is of interest ──

    /// Whether what is in the folders of the folder is of interest, and it is known which.
    pub(super) fn enters_folders(&self) -> bool {
        self.rules.is_some()
    }

    pub(super) fn is_ignored(&self, path: &RelPath, is_folder: bool) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.ignores(path, is_folder))
    }

    /// The path of a name in a directory; `None` if it can be none of a share, as `.shoal` cannot.
    pub(super) fn path_in(&self, folder: NodeId, name: &[u8]) -> Option<RelPath> {
        let mut path = self.nodes.path(folder)?;
        if folder != ROOT {
            path.push(b'/');
        }
        path.extend(name);
        RelPath::parse(&path).ok()
    }

    fn learn_rules(&mut self) {
        if let Scope::Tree(rules) = &self.scope {
            self.rules = rules.in_force().ok();
        }
    }

    /// Whether the rules are still to be learnt.
    fn lacks_rules(&self) -> bool {
        self.rules.is_none() && matches!(self.scope, Scope::Tree(_))
    }

    // ── what is due ──

    fn next_deed(&self) -> Option<Instant> {
        let moved = self.moved.iter().map(|moved| moved.since + MOVING).min();
        let refused = (!self.refused.is_empty()).then(|| Instant::now() + BUSY_PAUSE);
        // What is owed waits behind what nobody had room for.
        let owed = self.hints.next().filter(|_| refused.is_none());
        [moved, refused, owed, self.survey_at, self.next_poll].into_iter().flatten().min()
    }

    fn do_what_is_due(&mut self) {
        let now = Instant::now();
        while let Some(at) = self.moved.iter().position(|moved| now >= moved.since + MOVING) {
            let moved = self.moved.swap_remove(at);
            self.has_left(moved);
        }
        if self.alarm.rules_changed.swap(false, Ordering::SeqCst) {
            self.learn_rules();
            self.survey_soon();
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        if is_due(self.survey_at) {
            self.survey();
        } else if is_due(self.next_poll) {
            if self.lacks_rules() {
                self.learn_rules();
                if !self.lacks_rules() {
                    self.survey();
                }
            }
            self.poll();
        }
        self.plan_poll();
    }

    fn plan_poll(&mut self) {
        if self.nodes.polled() == 0 && !self.lacks_rules() {
            self.next_poll = None;
        } else if self.next_poll.is_none() {
            self.next_poll = Some(Instant::now() + self.poll_every);
        }
    }

    /// Events were lost, or others are of interest now: all is gone through again, though not all the time.
    fn survey_soon(&mut self) {
        let now = Instant::now();
        let at = self.surveyed_at.map_or(now, |at| now.max(at + SURVEY_PAUSE));
        self.survey_at.get_or_insert(at);
    }

    /// The source has failed.
    fn lose_all(&mut self) {
        self.surveyed_at = Some(Instant::now());
        self.survey_soon();
    }

    /// Watches all there is, and then has it looked at.
    fn survey(&mut self) {
        self.survey_at = None;
        self.events.clear();
        for moved in core::mem::take(&mut self.moved) {
            self.has_left(moved);
        }
        self.why = None;
        self.walk(ROOT);
        self.hints.lost();
        self.surveyed_at = Some(Instant::now());
        self.plan_poll();
    }

    // ── telling ──

    /// `false`: nobody hears any more.
    fn tell(&mut self) -> bool {
        let status = self.standing();
        loop {
            if self.refused.is_empty() || self.hints.is_lost() {
                self.refused = self.hints.take(Instant::now());
            }
            if self.refused.is_empty() {
                return true;
            }
            match (self.hear)(&status, core::mem::take(&mut self.refused)) {
                Heard::Taken => {}
                Heard::Busy(refused) => {
                    self.refused = refused;
                    return true;
                }
                Heard::NoMore => return false,
            }
        }
    }

    fn standing(&self) -> WatchStatus {
        let polled = self.nodes.polled();
        WatchStatus {
            is_ready: self.is_ready,
            watched: self.nodes.watched(),
            polled,
            why: self.why.filter(|_| polled > 0),
        }
    }

    pub(super) fn tell_status(&self) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = self.standing();
    }
}

/// So long after an event others are gathered.
const GATHERED: Duration = Duration::from_millis(1);

/// If the system failed to wait, we do.
const FAILED_PAUSE: Duration = Duration::from_millis(100);

/// What was moved away and has not appeared elsewhere in such a time has left.
const MOVING: Duration = Duration::from_millis(5);

/// So many things can be on their way from one place to another.
const MOVED_MAX: usize = 1024;

/// Who had no room for hints is asked again after so long.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// So long after everything was gone through, it is not gone through again.
const SURVEY_PAUSE: Duration = Duration::from_secs(1);

/// Most events that were read and not heeded; beyond them everything is gone through.
const EVENTS_MAX: usize = 1 << 16;
