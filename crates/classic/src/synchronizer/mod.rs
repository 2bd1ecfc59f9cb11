//! A whole peer of the course protocol: facts in, actions out.
//!
//! Promise: everything newer than here that the directory lists is fetched, several files at once, and one
//! stuck source never holds up the others; the tracker is kept posted meanwhile; every name that is refused or
//! fails is told once with its reason; "in sync" is said only when nothing that is listed is missing (`I31`).
//! Nothing is ever deleted.
//!
//! Begin at [`Synchronizer::handle`]: feed one [`Input`], then drain [`Synchronizer::poll_action`]. What is
//! absent here: sockets, files and clocks, which the driver in `shoal-daemon` has.

mod problems;
mod queue;
mod replacements;
mod setbacks;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::dialect::Dialect;
use crate::directory::{Directory, Listed};
use crate::fetch::Answer;
use crate::limits::{ENTRIES_PER_PEER_MAX, FUTURE_MAX, MESSAGE_BYTES_MAX, NO_SPACE_PAUSE};
use crate::link::{self, TrackerLink};
use crate::message::item_bytes_max;
use crate::name::FileName;
use crate::plan::{self, Folder, Here, Wanted, Whereabouts};
use crate::serve::Shelf;
use crate::sources::Sources;
use crate::time::Time;

use problems::Problems;
use queue::Queue;
use replacements::Replacements;
use setbacks::Setbacks;
pub use words::{Action, Event, Fetched, Finish, Input, Job, JobId, Now, Options, Uncertain};

/// A peer.
#[derive(Debug)]
pub struct Synchronizer {
    options: Options,
    /// The addresses at which we serve; one more is known once the tracker is connected.
    own: Vec<SocketAddr>,
    link: TrackerLink,
    whereabouts: Option<Whereabouts>,
    folder: Folder,
    sources: Sources,
    directory: Option<Box<Directory>>,
    queue: Queue,
    running: BTreeMap<JobId, Wanted>,
    /// Files whose bytes came and that are being put in place.
    placing: BTreeMap<JobId, Wanted>,
    next_job: JobId,
    /// Uncertain answers that wait for a second one like them.
    uncertain: BTreeMap<FileName, (Listed, Uncertain)>,
    problems: Problems,
    replacements: Replacements,
    setbacks: Setbacks,
    /// Files fetched since the tracker was last told of files.
    unannounced: usize,
    /// Nothing is fetched before then: the disk is full.
    paused_until: Option<Time>,
    root_is_lost: bool,
    /// Files that are beyond what one message may list.
    left_out: usize,
    /// How it stood when that was last told, with how many files listed; nothing when files came since.
    told: Option<(Finish, usize)>,
    actions: VecDeque<Action>,
}

impl Synchronizer {
    /// A peer that serves at the `own` addresses, all of one port, what is in `folder`.
    #[must_use]
    pub fn new(options: Options, own: Vec<SocketAddr>, folder: Folder) -> Self {
        let port = own.first().map_or(0, SocketAddr::port);
        let mut synchronizer = Self {
            options,
            own,
            link: TrackerLink::new(port),
            whereabouts: None,
            folder,
            sources: Sources::default(),
            directory: None,
            queue: Queue::default(),
            running: BTreeMap::new(),
            placing: BTreeMap::new(),
            next_job: 0,
            uncertain: BTreeMap::new(),
            problems: Problems::default(),
            replacements: Replacements::default(),
            setbacks: Setbacks::default(),
            unannounced: 0,
            paused_until: None,
            root_is_lost: false,
            left_out: 0,
            told: None,
            actions: VecDeque::new(),
        };
        synchronizer.serve();
        synchronizer.route_link();
        synchronizer
    }

    /// Takes one thing that happened.
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        match input {
            Input::TrackerConnected { tracker, local } => self.connected(tracker, local, now.time),
            Input::TrackerReceived(bytes) => self.link.received(bytes, now.time),
            Input::TrackerLost(why) => self.link.lost(why, now.time),
            Input::Received(job) => {
                self.placing.extend(self.running.remove(&job).map(|wanted| (job, wanted)));
            }
            Input::Fetched(job, fetched) => self.fetched(job, fetched, now.time),
            Input::Scanned(folder) => self.scanned(folder, now.time),
            Input::RootLost(why) => self.root_lost(&why),
            Input::RootFound => self.root_is_lost = false,
            Input::Tick => self.link.tick(now.time),
        }
        if self.paused_until.is_some_and(|until| now.time >= until) {
            self.paused_until = None;
        }
        if let Some(directory) = self.route_link() {
            self.directory = Some(directory);
            // A round of fetching ends at the latest with the next directory.
            self.announce_fetched(now.time);
            self.replan(now);
        }
        self.proceed(now.time);
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to give [`Input::Tick`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        [self.link.poll_timeout(), self.paused_until].into_iter().flatten().min()
    }

    /// How it stands: what the newest directory lists against what is here.
    #[must_use]
    pub fn standing(&self) -> Finish {
        let mut missing: BTreeSet<&str> = self.problems.names().collect();
        missing.extend(self.queue.iter().chain(self.under_way()).map(|wanted| wanted.name.as_str()));
        match missing.len() + self.problems.nameless() {
            // Who is to fetch once and has no directory yet cannot say that nothing is missing.
            0 if self.options.once && self.directory.is_none() => Finish::OutOfSync(0),
            0 => Finish::InSync,
            missing => Finish::OutOfSync(missing),
        }
    }

    fn connected(&mut self, tracker: IpAddr, local: IpAddr, now: Time) {
        let mut own = self.own.clone();
        own.extend(self.own.first().map(|address| SocketAddr::new(local, address.port())));
        self.whereabouts = Some(Whereabouts { own, tracker, local });
        self.unannounced = 0;
        self.told = None;
        let shelf = self.serve();
        self.report(Event::Connected { announced: shelf.len() });
        self.link.connected(&shelf, now);
    }

    /// Passes on what the link wants; the newest directory, if one came.
    fn route_link(&mut self) -> Option<Box<Directory>> {
        let mut newest = None;
        while let Some(action) = self.link.poll_action() {
            let action = match action {
                link::Action::Connect => Action::Connect,
                link::Action::Send(bytes) => Action::Send(bytes),
                link::Action::Disconnect => Action::Disconnect,
                link::Action::Directory(directory) => {
                    newest = Some(directory);
                    continue;
                }
                link::Action::NeverConnected { why } => Action::Finish(Finish::Failed(why)),
                link::Action::Lost { why, .. } if self.options.once && self.directory.is_none() => {
                    Action::Finish(Finish::Failed(why))
                }
                link::Action::Lost { why, retry_in } => Action::Report(Event::TrackerLost { why, retry_in }),
            };
            self.actions.push_back(action);
        }
        newest
    }

    /// Draws the conclusions from the newest directory.
    fn replan(&mut self, now: Now) {
        let (Some(directory), Some(whereabouts)) = (&self.directory, &self.whereabouts) else { return };
        let newest = if self.options.trust_future { i64::MAX } else { now.unix.saturating_add(FUTURE_SECS) };
        let plan = plan::plan(directory, &self.folder, whereabouts, newest);

        self.uncertain.retain(|name, (listed, _)| {
            directory.files.get(name).is_some_and(|now_listed| now_listed.mtime == listed.mtime)
        });
        self.replacements.forget_old(now.time);
        self.setbacks.retain(|name| directory.files.contains_key(name));
        let under_way: BTreeSet<FileName> = self.under_way().map(|wanted| wanted.name.clone()).collect();
        self.queue = plan.wanted.into_iter().filter(|wanted| !under_way.contains(&wanted.name)).collect();

        let open = self.queue.iter().map(|wanted| &wanted.name).chain(&under_way);
        let news = self.problems.renew(open, &plan.refused, &directory.refusals);
        self.actions.extend(news.into_iter().map(Action::Report));
        if !self.queue.is_empty() {
            self.report(Event::Planned { files: self.queue.len() + under_way.len() });
        }
    }

    /// Starts what can be started; when nothing can and nothing runs, the round is over.
    fn proceed(&mut self, now: Time) {
        let is_held = self.root_is_lost || self.paused_until.is_some();
        while !is_held && self.running.len() < self.options.jobs {
            let Some(wanted) = self.next_wanted() else { break };
            self.start(wanted, now);
        }
        if !self.running.is_empty() || (!self.queue.is_empty() && !is_held) {
            return;
        }
        if !self.placing.is_empty() {
            self.actions.push_back(Action::Flush);
        } else if self.directory.is_some() {
            self.announce_fetched(now);
            self.tell_standing();
        }
    }

    /// The next file to fetch, of a source that has places left.
    fn next_wanted(&mut self) -> Option<Wanted> {
        let (running, share) = (&self.running, queue::share(self.options.jobs));
        self.queue
            .pop(|source| running.values().filter(|wanted| wanted.listed.source == source).count() < share)
    }

    /// The files that are being fetched or put in place.
    fn under_way(&self) -> impl Iterator<Item = &Wanted> {
        self.running.values().chain(self.placing.values())
    }

    fn start(&mut self, wanted: Wanted, now: Time) {
        let Wanted { name, listed } = &wanted;
        if !self.sources.may_try(listed.source, now) {
            let why = format!("{} failed several times and is left alone for a while", listed.source);
            return self.problem(name, why, &Weight::Secondary);
        }
        if self.setbacks.rests(name, listed.mtime, now) {
            let why = "it could not be put in place, and is tried again in a while".to_owned();
            return self.problem(name, why, &Weight::Secondary);
        }
        if self.replacements.are_too_many(name, now) {
            let why = "it changes too often; the newest version is fetched in a while".to_owned();
            return self.problem(name, why, &Weight::Primary);
        }
        let job = Job {
            id: self.next_job,
            name: name.clone(),
            source: listed.source,
            mtime: listed.mtime,
            dialect: self.dialect_of(listed),
            confirms: self.uncertain.get(name).map(|(_, uncertain)| *uncertain),
        };
        self.next_job += 1;
        self.report(Event::Started { job: job.id, name: job.name.clone(), source: job.source });
        self.running.insert(job.id, wanted);
        self.actions.push_back(Action::Fetch(job));
    }

    /// The dialect of a source: what the tracker says, else what it has shown, else the network's habit; but
    /// nothing is taken for known of a source that failed.
    fn dialect_of(&self, listed: &Listed) -> Option<Dialect> {
        if self.sources.is_doubted(listed.source) {
            return None;
        }
        let has_dialects = self.directory.as_ref().is_some_and(|directory| directory.has_dialects);
        let habit = if has_dialects { None } else { self.link.network() };
        listed.dialect.or_else(|| self.sources.dialect(listed.source)).or(habit)
    }

    fn fetched(&mut self, job: JobId, fetched: Fetched, now: Time) {
        let ended = self.running.remove(&job).or_else(|| self.placing.remove(&job));
        let Some(wanted) = ended else { return };
        if !matches!(fetched, Fetched::Placed { .. }) {
            self.report(Event::Dropped { job });
        }
        let Wanted { name, listed } = wanted;
        match fetched {
            Fetched::Placed { answer, bytes, replaced } => {
                self.settled(&name, listed.mtime);
                self.sources.succeeded(listed.source, answer.shows());
                self.replacements.count(&name, now);
                self.unannounced += 1;
                self.told = None;
                self.report(Event::Fetched { job, name, bytes, mtime: listed.mtime, replaced });
            }
            Fetched::NotNeeded(mtime) => self.settled(&name, mtime),
            Fetched::Uncertain(uncertain, answer) => {
                self.doubt(Wanted { name, listed }, uncertain, answer, now);
            }
            Fetched::Refused(why) => {
                // One file that a source no longer has says nothing of its other files.
                self.sources.gave_nothing(listed.source, now);
                if listed.dialect.is_none() {
                    self.sources.doubt(listed.source);
                }
                self.problem(&name, why, &Weight::Primary);
            }
            Fetched::BadSource(why) => {
                self.sources.failed(listed.source, now);
                self.problem(&name, why, &Weight::Primary);
            }
            Fetched::BadHere(why) => {
                self.setbacks.add(&name, listed.mtime, now);
                self.problem(&name, why, &Weight::Primary);
            }
            Fetched::NoSpace(why) => {
                self.setbacks.add(&name, listed.mtime, now);
                self.paused_until = Some(now + NO_SPACE_PAUSE);
                self.problem(&name, why, &Weight::Primary);
            }
        }
    }

    /// The name is as the directory has it, or newer.
    fn settled(&mut self, name: &FileName, mtime: i64) {
        self.uncertain.remove(name);
        self.setbacks.end(name);
        self.problems.end(name);
        self.folder.insert(name.clone(), Here::File { mtime });
    }

    /// An answer that counts only when it comes again: at the next directory, or at once when there will be
    /// no next one.
    fn doubt(&mut self, wanted: Wanted, uncertain: Uncertain, answer: Answer, now: Time) {
        match answer {
            Answer::ClassicEmpty => self.sources.gave_nothing(wanted.listed.source, now),
            _ => self.sources.succeeded(wanted.listed.source, answer.shows()),
        }
        let before = self.uncertain.insert(wanted.name.clone(), (wanted.listed, uncertain));
        let why = match before {
            Some(_) => "its source gave no sign of the end of the file, and another answer than before",
            None => "its source gave no sign of the end of the file; it is fetched once more to be sure",
        };
        self.problem(&wanted.name, why.to_owned(), &Weight::Primary);
        if before.is_none() && self.options.once {
            self.queue.push(wanted);
        }
    }

    fn scanned(&mut self, folder: Folder, now: Time) {
        let before = self.shelf();
        self.folder = folder;
        let shelf = self.shelf();
        if shelf.iter().any(|(name, mtime)| before.get(name) != Some(mtime)) {
            self.announce(now);
        } else if shelf != before {
            // A name that is gone is not taken back by a further Initial; it is only no longer served.
            self.serve();
        }
    }

    fn root_lost(&mut self, why: &str) {
        if !self.root_is_lost {
            self.root_is_lost = true;
            self.report(Event::Warning(format!("{why}; nothing is fetched until it is back")));
        }
    }

    fn announce_fetched(&mut self, now: Time) {
        if self.unannounced > 0 && !self.options.strict {
            self.announce(now);
        }
        self.unannounced = 0;
    }

    /// Serves, and tells the tracker, what is here now.
    fn announce(&mut self, now: Time) {
        let shelf = self.serve();
        self.link.announce(&shelf, now);
        // What the link has to say now is one message; a directory can only come with bytes.
        let directory = self.route_link();
        debug_assert!(directory.is_none(), "announcing reads nothing");
    }

    fn serve(&mut self) -> Arc<Shelf> {
        let shelf = Arc::new(self.shelf());
        let left_out = self.announceable().count() - shelf.len();
        if left_out > self.left_out {
            let text =
                format!("{left_out} files are not announced: there are more than one message may list");
            self.report(Event::Warning(text));
        }
        self.left_out = left_out;
        self.actions.push_back(Action::Serve(shelf.clone()));
        shelf
    }

    /// What is announced and served: as many files as one message may list.
    fn shelf(&self) -> Shelf {
        let mut room = MESSAGE_BYTES_MAX - INITIAL_BYTES_BESIDE_ITEMS;
        let fits = |(name, _): &(&FileName, i64)| match room.checked_sub(item_bytes_max(name)) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        let files = self.announceable().take(ENTRIES_PER_PEER_MAX).take_while(fits);
        files.map(|(name, mtime)| (name.clone(), mtime)).collect()
    }

    /// The plain files that the skip list lets through.
    fn announceable(&self) -> impl Iterator<Item = (&FileName, i64)> {
        let files = self.folder.iter().filter_map(|(name, here)| match here {
            Here::File { mtime } => Some((name, *mtime)),
            Here::Blocked(_) => None,
        });
        files.filter(|(name, _)| self.options.all || !name.is_skipped())
    }

    fn tell_standing(&mut self) {
        let standing = self.standing();
        let files = self.directory.as_ref().map_or(0, |directory| directory.files.len());
        let told = Some((standing.clone(), files));
        if self.told != told {
            match standing {
                Finish::InSync => self.report(Event::InSync { files }),
                Finish::OutOfSync(missing) => self.report(Event::OutOfSync { missing }),
                Finish::Failed(_) => {}
            }
            self.told = told;
        }
        if self.options.once {
            self.actions.push_back(Action::Finish(standing));
        }
    }

    fn problem(&mut self, name: &FileName, why: String, weight: &Weight) {
        let event = match *weight {
            Weight::Primary => self.problems.tell(name, why),
            Weight::Secondary => self.problems.tell_unless_known(name, why),
        };
        self.actions.extend(event.map(Action::Report));
    }

    fn report(&mut self, event: Event) {
        self.actions.push_back(Action::Report(event));
    }
}

/// Brackets, keys and the port of an Initial message.
const INITIAL_BYTES_BESIDE_ITEMS: usize = 256;

/// Whether a problem is told even if another one of the same name is known.
enum Weight {
    Primary,
    Secondary,
}

#[expect(clippy::cast_possible_wrap, reason = "a day has fewer seconds than an i64 holds")]
const FUTURE_SECS: i64 = FUTURE_MAX.as_secs() as i64;
