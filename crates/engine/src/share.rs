//! One share on this device: its life from the start to being in sync, and everything that goes on in it.
//!
//! Promise: nothing is sent, and nothing handed to the disk, that rests on an index job not yet answered. Nothing is put
//! onto the disk before all of it was looked through once, nothing is published before this device has compared records
//! with a member (unless the share began here), and nothing new of either while a guard has stopped the share: it goes on
//! serving (I19). A person's answer is to what was asked, and to nothing else. Work is never stored: what is to be done
//! is found anew from what was observed.
//!
//! ```text
//! Starting ─► Scanning ─► (first contact) ─► Live ◄─► Halted, Paused
//!
//! scan.rs     hints, sweeps ─► take ─► observe ─► publish        the disk's side; what is gone waits in gone.rs
//! plan.rs     diverging ─► decide ─► goals.rs ─► commit.rs ─► placed  the others' side
//! revert.rs   what a reader's user gives up
//! resolve.rs  conflicts ─► copies on the disk ─► resolve
//! peers.rs    links, who has what, what to tell
//! life.rs     what this device is, what stops it, what a person says
//! ```

mod commit;
mod goals;
mod gone;
mod history;
mod life;
mod looking;
mod looks;
mod lull;
mod peers;
mod plan;
mod report;
mod resolve;
mod restore;
mod revert;
mod scan;
mod sweep;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shoal_proto::batch::Batch;
use shoal_proto::frame::RequestId;
use shoal_proto::hash::{Domain, RecordHash, prefix};
use shoal_proto::id::{DeviceId, WriterSalt};
use shoal_proto::message::{Goodbye, Message};
use shoal_proto::path::RelPath;
use shoal_proto::roster::Role;
use shoal_proto::secret::ShareSecret;

use self::commit::Planned;
use self::goals::Goals;
use self::gone::{Guarding, Meant};
use self::history::Historian;
use self::peers::Peer;
use self::plan::Planner;
use self::resolve::Resolver;
use self::restore::Restorer;
use self::revert::Reverter;
pub use self::revert::{GivenUp, given_up};
use self::scan::{Knowing, Scanner};
use self::sweep::Finding;
use crate::disk;
use crate::fetch::{Fetch, Tag};
use crate::index::{self, Life, Observed};
use crate::io::{Command, Conn, JobId, Now, Opened};
use crate::limits::RETRY_MAX;
use crate::planner::Rights;
use crate::serve::Serve;
use crate::status::Halt;
use crate::time::Time;
use crate::timers::Timers;
use crate::transfer::AskId;

/// What a share asks its engine for.
#[derive(Debug)]
pub(crate) enum Out {
    /// Send this.
    Send(Conn, RequestId, Message),
    /// Send this as a request; what comes back is handed to [`Share::answered`] with the number.
    Ask(Conn, AskId, Message),
    /// The request with this number is not needed any more.
    Cancel(Conn, AskId),
    /// Speak no more of this share on this connection.
    Leave(Conn),
    /// Close the connection.
    HangUp(Conn, Option<Goodbye>),
    /// Perform this.
    Index(JobId, index::Job),
    /// Perform this.
    Disk(JobId, disk::Job),
}

/// Where a share stands.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Stage {
    /// The index is asked who this device is.
    Starting,
    /// The folder is looked through for the first time.
    Scanning,
    /// It works.
    Running,
    /// A person must look.
    Halted(Halt),
    /// A person said so. What had stopped it before is asked again afterwards.
    Paused(Option<Halt>),
}

/// Whether a person is to say what the first contact leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asking {
    /// Nobody is asked, or it was said.
    No,
    /// To be asked when a member has been met.
    Before,
    /// One has.
    Met,
}

/// What a job was asked for.
#[derive(Debug)]
enum Waiting {
    Life,
    Link(Conn),
    History(history::Asked),
    Restore(restore::Asked),
    SweepDisk(u64),
    SweepIndex(u64),
    SweepAhead(u64),
    LookDisk(u64),
    LookIndex(u64),
    KnownList(Knowing),
    Take(Vec<Finding>, Guarding),
    Observe(Vec<Observed>, Guarding),
    Page,
    Ignores(Vec<RelPath>),
    Places,
    Movers,
    Survey,
    Recheck(Vec<Planned>),
    Commit(Vec<Planned>),
    Noted(Vec<Planned>),
    Agreed,
    CopyRows(RelPath),
    Resolve(RelPath),
    Statement(Vec<Conn>),
    NewWriter,
    Contact,
    Entered,
    Fetch(Tag),
    Serve(Tag),
    Nothing,
}

/// What is to be thought of later.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
enum Wake {
    Rescan,
    Looks,
    Plan,
    Room,
    Source,
    Round(Conn),
    Forgive(Conn),
    Have,
    Commit,
    Fetch,
    Index,
    History,
    Restore,
}

/// A share.
#[derive(Debug)]
pub(crate) struct Share {
    device: DeviceId,
    /// The secrets that came with the invite.
    told: Vec<ShareSecret>,
    salts: Salts,
    stage: Stage,
    life: Option<Life>,
    asking: Asking,
    /// What differed at first contact gives way to what the share has.
    is_yielding: bool,
    peers: BTreeMap<Conn, Peer>,
    /// When a member was given everything, for as long as that counts.
    streamed: BTreeMap<DeviceId, Vec<Time>>,
    jobs: BTreeMap<JobId, Waiting>,
    jobs_made: u64,
    /// Paths that are being changed on the disk.
    busy: BTreeSet<RelPath>,
    historian: Historian,
    restorer: Restorer,
    reverter: Reverter,
    scanner: Scanner,
    planner: Planner,
    goals: Goals,
    resolver: Resolver,
    fetch: Fetch,
    serve: Serve,
    /// Records whose bytes have come to be here, to be told.
    had: BTreeSet<RecordHash>,
    /// Something was done since all was last told what is lacking here.
    is_untold: bool,
    /// Who belongs to it, or by which secrets they are found, is not what it was when that was asked last.
    belongs_anew: bool,
    timers: Timers<Wake>,
    out: VecDeque<Out>,
    now: Now,
}

/// Fresh salts for writers, from the seed of the engine.
#[derive(Debug)]
struct Salts {
    seed: [u8; 32],
    drawn: u64,
}

impl Salts {
    fn draw(&mut self) -> WriterSalt {
        self.drawn += 1;
        let [salt @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            Domain::SALT.hash(&[&self.seed, &self.drawn.to_be_bytes()]);
        WriterSalt(salt)
    }
}

impl Share {
    /// A share that was opened. `seed` is random, fresh, and used for nothing else; `jobs_from` is
    /// above the numbers of all jobs of an earlier opening, so that no late answer is taken for another one's.
    pub(crate) fn new(device: DeviceId, opened: Opened, seed: [u8; 32], jobs_from: u64, now: Now) -> Self {
        let mut share = Self {
            device,
            told: opened.secrets,
            salts: Salts { seed, drawn: 0 },
            stage: Stage::Starting,
            life: None,
            asking: if opened.asks_first { Asking::Before } else { Asking::No },
            is_yielding: false,
            peers: BTreeMap::new(),
            streamed: BTreeMap::new(),
            jobs: BTreeMap::new(),
            jobs_made: jobs_from,
            busy: BTreeSet::new(),
            historian: Historian::new(opened.retention),
            restorer: Restorer::default(),
            reverter: Reverter::default(),
            scanner: Scanner::default(),
            planner: Planner::default(),
            goals: Goals::default(),
            resolver: Resolver::default(),
            fetch: Fetch::new(prefix(device.as_bytes()), 0),
            serve: Serve::new(),
            had: BTreeSet::new(),
            is_untold: false,
            belongs_anew: false,
            timers: Timers::default(),
            out: VecDeque::new(),
            now,
        };
        share.index(Waiting::Life, index::Job::Life);
        share
    }

    /// What to do next.
    pub(crate) fn poll(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// When to come back with [`Self::tick`].
    pub(crate) fn next_wake(&self) -> Option<Time> {
        self.timers.next().map(|(at, _)| at)
    }

    /// The secrets by which members find each other, the newest first.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &ShareSecret> {
        let of_roster = self.life.iter().flat_map(|life| &life.secrets);
        of_roster.chain(self.told.iter())
    }

    /// Whether another device is refused that shows to know this secret: one that others removed, and that was told it before.
    /// A newer one it has from an invite, and whether that lets it in again, the roster says. Who left is a stranger like any
    /// other.
    pub(crate) fn refuses(&self, device: &DeviceId, secret: &ShareSecret) -> bool {
        let Some(life) = self.life.as_ref().filter(|_| self.is_gone(device)) else { return false };
        let unknown = life.unknown.get(device);
        !life.left.contains(device) && !unknown.is_some_and(|unknown| unknown.contains(&secret.id()))
    }

    /// Whether a device was a member, and is none any more.
    fn is_gone(&self, device: &DeviceId) -> bool {
        self.life.as_ref().is_some_and(|life| life.removed.contains(device))
    }

    // ── what happens ──

    /// The index has answered.
    pub(crate) fn indexed(&mut self, job: JobId, answer: index::Answer, now: Now) {
        self.now = now;
        let Some(waiting) = self.jobs.remove(&job) else { return };
        if let index::Answer::Failed(error) = answer {
            self.index_failed(waiting, error);
        } else {
            self.take_index(waiting, answer);
        }
        self.go_on();
    }

    /// The disk has answered.
    pub(crate) fn disk_done(&mut self, job: JobId, answer: disk::Answer, now: Now) {
        self.now = now;
        let Some(waiting) = self.jobs.remove(&job) else { return };
        if let disk::Answer::NotTheRoot(error) = answer {
            self.give_back(waiting);
            self.halt(Halt::NotTheRoot(error), false);
        } else {
            self.take_disk(waiting, answer);
        }
        self.go_on();
    }

    /// A person wants something.
    pub(crate) fn command(&mut self, command: &Command, now: Now) {
        self.now = now;
        match command {
            Command::Rescan => {
                self.scanner.rescans.asked += 1;
                self.rescan();
            }
            Command::Resume => self.resume(),
            Command::Alone => self.index(Waiting::Contact, index::Job::SetFirstContact),
            Command::Meet(differing) => self.meet(*differing),
            Command::Pause => self.pause(),
            Command::Restore(restore) => self.wants_back(restore.clone()),
            Command::Revert(changes) => self.gives_up(changes),
            Command::Heed(number) => self.heeds(*number),
            Command::Retain(retention) => self.retains(*retention),
            Command::Enter(entries) => self.index(Waiting::Entered, index::Job::Enter(entries.clone())),
        }
        self.go_on();
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Now) {
        self.now = now;
        while let Some(wake) = self.timers.take_due(now.time) {
            match wake {
                Wake::Rescan => self.rescan(),
                Wake::Looks | Wake::Room | Wake::Commit | Wake::Restore => {}
                Wake::Source => self.want_left_out(),
                Wake::Plan => self.planner.is_dirty = true,
                Wake::Round(conn) => self.begin_round(conn),
                Wake::Forgive(conn) => self.forgive(conn),
                Wake::Have => self.tell_had(),
                Wake::Fetch => self.fetch.tick(now.time),
                Wake::Index => self.tries_index_again(),
                Wake::History => self.looks_into_history(),
            }
        }
        self.go_on();
    }

    /// Does what can be done now.
    fn go_on(&mut self) {
        // What one part begins, or ends, may be what another has waited for. Nothing is left for whatever happens next: that
        // may be a timer, or nobody.
        while self.begins_more() {}
        debug_assert!(!self.begins_more(), "was to be begun at once: {:?}", self.out);
        self.yields_no_more();
    }

    /// Whether anything was begun, or came to be to be begun.
    fn begins_more(&mut self) -> bool {
        let before = self.is_to_be_done();
        self.begin_what_is_to_be_done();
        self.is_to_be_done() != before
    }

    /// What can be seen to change when something is begun, or ended by what was done last, from outside of its part.
    fn is_to_be_done(&self) -> impl PartialEq + use<> {
        (self.out.len(), self.scanner.looks.len(), self.scanner.wanted.len(), self.planner.waiting())
    }

    fn begin_what_is_to_be_done(&mut self) {
        self.scan_on();
        self.plan_on();
        self.restore_on();
        self.fetch_on();
        self.commit_on();
        self.serve_on();
        self.tell_on();
    }

    // ── answers ──

    fn take_index(&mut self, waiting: Waiting, answer: index::Answer) {
        use index::Answer;
        match (waiting, answer) {
            (Waiting::Link(conn), Answer::Link(answer)) => self.link_answered(conn, answer),
            (Waiting::Fetch(tag), answer) => self.fetch.indexed(tag, answer),
            (Waiting::Serve(tag), answer) => self.served(tag, answer),
            (Waiting::Life, Answer::Life(life)) => self.is_told_life(*life),
            (Waiting::SweepIndex(number), Answer::Shown(rows)) => {
                self.scanner.with_sweep(number, |sweep| sweep.shown(rows));
            }
            (Waiting::SweepAhead(number), Answer::Shown(rows)) => {
                self.scanner.with_sweep(number, |sweep| sweep.shown_ahead(&rows));
            }
            (Waiting::LookIndex(number), Answer::Triples(rows)) => self.looked_up(number, rows),
            (Waiting::KnownList(knowing), Answer::List(list)) => self.is_known(knowing, list),
            (Waiting::Observe(observed, guarding), Answer::Observed(outcomes, batches)) => {
                self.observed(observed, &guarding, &outcomes, &batches);
            }
            (Waiting::Observe(observed, guarding), Answer::Guarded(survey)) => {
                self.is_guarded(observed, &guarding, survey);
            }
            (Waiting::Page, Answer::Page(rows)) => self.planned_page(rows),
            (Waiting::Places, Answer::Places(places)) => self.planned_places(places),
            (Waiting::Movers, Answer::Triples(rows)) => self.planned_moves(rows),
            (Waiting::Survey, Answer::Survey(survey, removals)) => self.surveyed(survey, removals),
            (Waiting::Recheck(batch), Answer::Intended(rows, authors)) => {
                self.rechecked(batch, rows, authors);
            }
            (Waiting::Noted(batch), Answer::Placed(outcomes)) => self.noted(batch, &outcomes),
            (Waiting::Agreed, Answer::Placed(outcomes)) => {
                self.planner.is_dirty |= outcomes.contains(&index::PlacedOutcome::Agreed);
            }
            (Waiting::CopyRows(path), Answer::Triples(rows)) => self.copies_known(&path, rows),
            (Waiting::Resolve(path), Answer::Resolved(resolved)) => self.resolved(&path, resolved),
            (Waiting::Statement(conns), Answer::Lacking(records, root)) => self.state(&conns, &records, root),
            (Waiting::History(asked), Answer::History(answer)) => self.history_answered(asked, answer),
            (Waiting::Restore(asked), answer) => self.restore_answered(asked, answer),
            (Waiting::NewWriter, Answer::Published(_)) => self.begin_anew(),
            (Waiting::Entered, Answer::Entered { fresh, published, life }) => {
                self.have_entered(&fresh, &published);
                self.is_told_life(*life);
            }
            (Waiting::Contact, _) => {
                self.index(Waiting::Life, index::Job::Life);
            }
            _ => {}
        }
    }

    fn take_disk(&mut self, waiting: Waiting, answer: disk::Answer) {
        use disk::Answer;
        match (waiting, answer) {
            (Waiting::Fetch(tag), answer) => self.fetch.disk_done(tag, answer, self.now.time),
            (Waiting::Serve(tag), answer) => self.serve.disk_done(tag, answer),
            (Waiting::History(asked), answer) => self.history_told(asked, answer),
            (Waiting::Restore(asked), answer) => self.restore_told(&asked, answer),
            (Waiting::SweepDisk(number), Answer::Swept { entries, is_end }) => {
                self.scanner.with_sweep(number, |sweep| sweep.swept(entries, is_end));
            }
            (Waiting::SweepDisk(number), Answer::Failed(error)) => self.sweep_failed(number, error),
            (Waiting::LookDisk(number), Answer::Looked(looks)) => self.looked(number, looks),
            (Waiting::LookDisk(number), _) => self.look_failed(number),
            (Waiting::Ignores(paths), Answer::Ignores(answers)) => self.ignores_known(paths, &answers),
            // Who performs the changes asks again.
            (Waiting::Ignores(_), _) => self.ignores_known(Vec::new(), &[]),
            (Waiting::Take(findings, guarding), Answer::Taken(taken)) => {
                self.taken(findings, guarding, taken);
            }
            (Waiting::Take(findings, guarding), _) => self.take_failed(findings, &guarding),
            (Waiting::Commit(batch), Answer::Committed(outcomes)) => self.committed(batch, outcomes),
            (Waiting::Commit(batch), Answer::Failed(error)) => self.commit_failed(batch, &error),
            _ => {}
        }
    }

    /// The index refuses a job. A link that asked ends; for the share itself nothing can be done without its index.
    fn index_failed(&mut self, waiting: Waiting, error: String) {
        match waiting {
            Waiting::Link(conn) => self.link_answered(conn, crate::store::Answer::Failed(error)),
            Waiting::Serve(tag) => self.served(tag, index::Answer::Failed(error)),
            Waiting::Fetch(tag) => self.fetch.indexed(tag, index::Answer::Failed(error)),
            waiting => {
                self.give_back(waiting);
                self.halt(Halt::Index(error), false);
                self.timers.set_no_later(Wake::Index, self.now.time.after(RETRY_MAX));
            }
        }
    }

    /// What the index refused may have been for want of space, which comes back without anybody's doing (I20).
    fn tries_index_again(&mut self) {
        if !matches!(self.stage, Stage::Halted(Halt::Index(_))) {
            return;
        }
        // What was being said when it refused is not said again; so all is compared anew.
        self.hang_up_on_all();
        if self.life.is_some() {
            self.look_through();
        } else {
            self.stage = Stage::Starting;
            self.index(Waiting::Life, index::Job::Life);
        }
    }

    /// A job has come to nothing: what it was for is no longer being worked on.
    fn give_back(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Recheck(batch) => self.recheck_failed(batch),
            Waiting::Commit(batch) => self.commit_failed(batch, "it was not done"),
            Waiting::Noted(batch) => self.note_failed(batch),
            Waiting::SweepDisk(_) | Waiting::SweepIndex(_) | Waiting::SweepAhead(_) => self.scanner.stop(),
            Waiting::LookDisk(_) | Waiting::LookIndex(_) => self.scanner.stop_looking(),
            Waiting::KnownList(_) | Waiting::Take(..) | Waiting::Observe(..) => {
                self.scanner.taking = self.scanner.taking.saturating_sub(1);
            }
            Waiting::Page | Waiting::Ignores(_) | Waiting::Places | Waiting::Movers | Waiting::Survey => {
                self.planner.stop();
            }
            Waiting::CopyRows(path) | Waiting::Resolve(path) => self.resolver.forget(&path),
            Waiting::Fetch(tag) => {
                self.fetch.disk_done(tag, disk::Answer::Failed(String::new()), self.now.time);
            }
            Waiting::Serve(tag) => self.serve.disk_done(tag, disk::Answer::Failed(String::new())),
            Waiting::History(asked) => self.history_breaks_off(&asked),
            Waiting::Restore(_) => self.restore_breaks_off(),
            _ => {}
        }
    }

    /// Whether the folder may be looked at, and what is found noted.
    fn may_scan(&self) -> bool {
        matches!(self.stage, Stage::Scanning | Stage::Running)
    }

    /// Whether the disk may be changed.
    fn may_plan(&self) -> bool {
        self.stage == Stage::Running && self.life.as_ref().is_some_and(|life| life.first_contact)
    }

    fn rights(&self) -> Rights {
        match self.life.as_ref().and_then(|life| life.role) {
            Some(Role::Admin | Role::Writer) if self.is_yielding => Rights::Yielding,
            Some(Role::Admin | Role::Writer) => Rights::Writer,
            _ => Rights::Reader,
        }
    }

    // ── asking ──

    fn index(&mut self, waiting: Waiting, job: index::Job) {
        let id = self.job(waiting);
        self.out.push_back(Out::Index(id, job));
    }

    fn disk(&mut self, waiting: Waiting, job: disk::Job) {
        let id = self.job(waiting);
        self.out.push_back(Out::Disk(id, job));
    }

    fn job(&mut self, waiting: Waiting) -> JobId {
        self.jobs_made += 1;
        let id = JobId(self.jobs_made);
        self.jobs.insert(id, waiting);
        id
    }

    /// Others are told what this device has published, and what it asks for is done.
    fn publish(&mut self, batches: &[Batch]) {
        if batches.is_empty() {
            return;
        }
        self.planner.is_dirty = true;
        self.tell_published(batches);
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::id::ShareId;

    use super::*;

    /// I20: a database without space is asked again after a while, and nobody has to come by.
    #[test]
    fn i20_an_index_that_refuses_is_asked_again() {
        let now = |time| Now { time, wall: 0 };
        let mut share = Share::new(
            DeviceId::from_bytes([1; 32]),
            Opened::new(ShareId::from_bytes([3; 32]), Vec::new()),
            [2; 32],
            0,
            now(Time(1)),
        );
        for _ in 0..3 {
            let Some(Out::Index(job, index::Job::Life)) = share.poll() else { panic!("it is to be asked") };
            let began = share.now.time;
            share.indexed(job, index::Answer::Failed("database or disk is full".to_owned()), now(began));
            assert!(matches!(share.status().phase, crate::status::Phase::Halted(Halt::Index(_))));
            assert!(share.poll().is_none());
            assert_eq!(share.next_wake(), Some(began.after(RETRY_MAX)));
            share.tick(now(began.after(RETRY_MAX)));
        }
    }
}
