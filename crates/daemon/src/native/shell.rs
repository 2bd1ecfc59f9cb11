//! The one loop of a native peer: drains the engine's actions, waits for the next thing to happen, feeds it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use shoal_disk::{Buffers, Heard, Watch, WatchStatus, Worker};
use shoal_engine::Engine;
use shoal_engine::history::Retention;
use shoal_engine::io::{Action, Command, Conn, Hint, Input, Now, Opened};
use shoal_engine::status::Status;
use shoal_engine::time::Time;
use shoal_index::Index;
use shoal_proto::frame::RequestId;
use shoal_proto::id::{DeviceId, ShareId};
use shoal_proto::message::Message;
use shoal_proto::secret::{ShareSecret, Side};

use tokio::sync::watch;

use super::disk_pool::DiskPool;
use super::gate::Gate;
use super::index_thread::IndexThread;
use crate::registry::RosterKeeper;

/// So many threads perform jobs of disks.
const DISK_THREADS: usize = 4;

/// So often a watch may have told something that was not heard yet.
const TOLD_MAX: usize = 16;

/// A native peer at work. Dropped, it ends: what was asked of indexes is still done, and nothing new begun.
#[derive(Debug)]
pub struct Shell {
    inbox: Sender<Event>,
    turns: Arc<AtomicU64>,
    belongs: watch::Receiver<u64>,
    buffers: Buffers,
    thread: Option<JoinHandle<()>>,
}

/// A share to be opened.
#[derive(Debug)]
pub struct NewShare {
    /// Its index, open.
    pub index: Index,
    /// What keeps the index's roster outside of it.
    pub roster: Option<RosterKeeper>,
    /// Who performs jobs in its folder; it is watched, too. Whoever keeps it keeps the folder from being opened again.
    pub worker: Arc<Worker>,
    /// By which its members find each other; the newest first.
    pub secrets: Vec<ShareSecret>,
    /// How much of what changes displace is kept.
    pub retention: Retention,
    /// Whether a person decides what the first contact leads to ([`Command::Meet`]).
    pub asks_first: bool,
}

/// A connection that stands, with both keys proved.
pub struct Connected {
    /// Whose it is.
    pub device: DeviceId,
    /// Which end this is.
    pub side: Side,
    /// The TLS exporter value.
    pub exporter: [u8; 32],
    /// Where what is said goes.
    pub outlet: Box<dyn Outlet>,
    /// What holds back whoever reads it.
    pub gate: Arc<Gate>,
}

/// The sending side of a connection. Nothing here may wait: the loop of the engine calls it.
pub trait Outlet: Send {
    /// Sends a message after those before it. When what waits to be sent has become little again,
    /// [`Shell::drained`] is to be called.
    fn send(&mut self, request: RequestId, message: Message);
}

/// Why a shell cannot be started, or a share not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// The system gives no thread.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
    /// The share is open already.
    #[error("the share is open already")]
    IsOpen,
    /// Somebody closed the share before it was open.
    #[error("the share was closed again before it was open")]
    Closed,
    /// The shell has ended.
    #[error("the engine has ended")]
    Ended,
}

/// Who waits for a share to be open.
type Answer = Sender<Result<ShareId, ShellError>>;

/// What the loop is told.
enum Event {
    /// What the engine alone is told of.
    Happens(Input),
    Opens(Box<NewShare>, Answer),
    Closes(ShareId, Sender<OpenShare>),
    Connects(Conn, Link, Input),
    Received(Conn, RequestId, Message),
    Disconnects(Conn),
    /// What the watch of a folder tells.
    Watched(ShareId, Told, WatchStatus, Vec<Hint>),
    Asks(ShareId, Sender<Option<(Status, WatchStatus)>>),
    Views(Box<dyn FnOnce(&Engine) + Send>),
    Looks(ShareId, Box<dyn FnOnce(&mut Index) + Send>),
    Ends,
}

impl Shell {
    /// Starts a peer without shares. `seed` must be random and fresh; `agent` is the program's name and version.
    ///
    /// # Errors
    /// When its threads cannot be started.
    pub fn start(device: DeviceId, seed: [u8; 32], agent: &str) -> Result<Self, ShellError> {
        let (inbox, events) = channel();
        let turns = Arc::new(AtomicU64::new(0));
        let (belonging, belongs) = watch::channel(0);
        let work = Loop {
            engine: Engine::new(device, seed, agent),
            began: Instant::now(),
            inbox: inbox.clone(),
            turns: Arc::clone(&turns),
            belonging,
            shares: BTreeMap::new(),
            links: BTreeMap::new(),
            pool: DiskPool::start(DISK_THREADS)?,
        };
        let thread = thread::Builder::new().name("engine".into()).spawn(move || work.run(&events))?;
        Ok(Self { inbox, turns, belongs, buffers: Buffers::default(), thread: Some(thread) })
    }

    /// Opens a share; returns once its folder is watched, which takes some 20 µs for each folder in it.
    ///
    /// # Errors
    /// When it is open already, is closed meanwhile, or its thread cannot be started.
    pub fn open(&self, share: NewShare) -> Result<ShareId, ShellError> {
        let (answer, answers) = channel();
        self.tell(Event::Opens(Box::new(share), answer));
        answers.recv().map_err(|_| ShellError::Ended)?
    }

    /// Forgets a share. Returns once nothing of it is at work any more, and its folder and index can be opened again: what is
    /// being read is broken off, what is being written is finished.
    pub fn close(&self, share: ShareId) {
        let (answer, answers) = channel();
        self.tell(Event::Closes(share, answer));
        if let Ok(closing) = answers.recv() {
            closing.end();
        }
    }

    /// A connection stands. `conn` must never have been used before.
    pub fn connect(&self, conn: Conn, connected: Connected) {
        let Connected { device, side, exporter, outlet, gate } = connected;
        let input = Input::Connected { conn, device, side, exporter };
        self.tell(Event::Connects(conn, Link { outlet, gate, owed: 0 }, input));
    }

    /// The other end said something; who calls this has passed the [`Gate`].
    pub fn received(&self, conn: Conn, request: RequestId, message: Message) {
        self.tell(Event::Received(conn, request, message));
    }

    /// There is room again for what is to be sent.
    pub fn drained(&self, conn: Conn) {
        self.happens(Input::Drained(conn));
    }

    /// A connection is over.
    pub fn disconnected(&self, conn: Conn) {
        self.tell(Event::Disconnects(conn));
    }

    /// A person wants something.
    pub fn command(&self, share: ShareId, command: Command) {
        self.happens(Input::Command(share, command));
    }

    /// Something may have happened to a folder.
    pub fn hint(&self, share: ShareId, hint: Hint) {
        self.happens(Input::Hint(share, hint));
    }

    /// How a share stands, and how well its folder is watched; `None` if there is none, or its folder is only being gone
    /// through to be watched.
    pub fn status(&self, share: ShareId) -> Option<(Status, WatchStatus)> {
        let (answer, answers) = channel();
        self.tell(Event::Asks(share, answer));
        answers.recv().ok().flatten()
    }

    /// Looks at the engine; `None`: it has ended.
    pub fn with_engine<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answers) = channel();
        self.tell(Event::Views(Box::new(move |engine| drop(answer.send(look(engine))))));
        answers.recv().ok()
    }

    /// Counts what has happened: as long as it stays the same, all stands as it stood, but for time.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Tells when other devices belong to a share than before, or find each other by other secrets ([`Engine::belonging`]);
    /// ends with the engine.
    #[must_use]
    pub fn belongs(&self) -> watch::Receiver<u64> {
        self.belongs.clone()
    }

    /// Does something with the index of a share, after what the engine has asked of it; `None`: there is no such share.
    pub fn with_index<T: Send + 'static>(
        &self,
        share: ShareId,
        look: impl FnOnce(&mut Index) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answers) = channel();
        let look = move |index: &mut Index| drop(answer.send(look(index)));
        self.tell(Event::Looks(share, Box::new(look)));
        answers.recv().ok()
    }

    /// In which what is read to be sent goes from the workers to the connections, and back.
    #[must_use]
    pub fn buffers(&self) -> Buffers {
        self.buffers.clone()
    }

    fn happens(&self, input: Input) {
        self.tell(Event::Happens(input));
    }

    fn tell(&self, event: Event) {
        // Whoever has ended hears nothing more.
        let _ = self.inbox.send(event);
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.tell(Event::Ends);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Loop {
    engine: Engine,
    began: Instant,
    inbox: Sender<Event>,
    turns: Arc<AtomicU64>,
    /// Counts when others belong to a share than before.
    belonging: watch::Sender<u64>,
    /// Ends first: nothing new is begun in a folder whose index is being closed.
    pool: DiskPool,
    shares: BTreeMap<ShareId, OpenShare>,
    links: BTreeMap<Conn, Link>,
}

struct OpenShare {
    index: IndexThread,
    worker: Arc<Worker>,
    /// `None`: the system gives none, and the folder is looked through now and then.
    watch: Option<Watched>,
    /// For the engine, once the folder is watched: what happens from then on is told.
    opening: Option<Opening>,
    /// Each job of the disk holds one of these: nothing is ever sent, but when all are gone, none is under way.
    at_work: Sender<Infallible>,
    over: Receiver<Infallible>,
}

impl OpenShare {
    /// Waits until nothing of it is at work any more.
    fn end(self) {
        let Self { index, worker, watch, opening, at_work, over } = self;
        // Whoever performs a job of the disk may wait for none of these.
        drop((index, watch, worker, at_work));
        let _ = over.recv();
        if let Some(Opening { answer, .. }) = opening {
            let _ = answer.send(Err(ShellError::Closed));
        }
    }
}

struct Opening {
    opened: Opened,
    /// Who waits for it.
    answer: Answer,
}

struct Watched {
    _watch: Watch,
    status: WatchStatus,
    /// What was told and not heard yet.
    told: Told,
}

/// How much of what a watch has told was not heard yet.
type Told = Arc<AtomicUsize>;

struct Link {
    outlet: Box<dyn Outlet>,
    gate: Arc<Gate>,
    /// Messages that were heard while the engine had enough, for which the gate is still shut.
    owed: u32,
}

impl Drop for Link {
    /// Whoever reads the connection must not wait for one who hears nothing any more.
    fn drop(&mut self) {
        self.gate.end();
    }
}

impl Drop for Loop {
    /// Nobody waits for a large file to be read to its end.
    fn drop(&mut self) {
        self.shares.values().for_each(|share| share.worker.end());
    }
}

impl Loop {
    fn run(mut self, events: &Receiver<Event>) {
        loop {
            // A moment that has come is told beside what is waiting, however much that is.
            if self.engine.poll_timeout().is_some_and(|at| at <= self.now().time) {
                self.engine.handle(Input::Tick, self.now());
                self.turns.fetch_add(1, Ordering::Relaxed);
            }
            self.act();
            match self.next(events) {
                Ok(Event::Ends) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(event) => self.hear(event),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// The next thing that happens, if it does before the moment comes that the engine waits for.
    fn next(&self, events: &Receiver<Event>) -> Result<Event, RecvTimeoutError> {
        match self.engine.poll_timeout() {
            Some(at) => events.recv_timeout(at.since(self.now().time)),
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn hear(&mut self, event: Event) {
        if !matches!(event, Event::Asks(..) | Event::Views(_)) {
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
        match event {
            Event::Happens(input) => self.engine.handle(input, self.now()),
            Event::Opens(share, answer) => self.open(*share, answer),
            Event::Closes(share, answer) => {
                self.engine.handle(Input::Closed(share), self.now());
                if let Some(closing) = self.shares.remove(&share) {
                    closing.worker.end();
                    // It is waited for by who asked, in a thread that has the time.
                    let _ = answer.send(closing);
                }
            }
            Event::Connects(conn, link, input) => {
                self.links.insert(conn, link);
                self.engine.handle(input, self.now());
            }
            Event::Received(conn, request, message) => {
                self.engine.handle(Input::Received(conn, request, message), self.now());
                if let Some(link) = self.links.get_mut(&conn) {
                    link.owed += 1;
                }
            }
            Event::Disconnects(conn) => {
                self.engine.handle(Input::Disconnected(conn), self.now());
                self.links.remove(&conn);
            }
            Event::Watched(share, told, status, hints) => self.watched(share, &told, status, hints),
            Event::Asks(share, answer) => {
                let watch = self.shares.get(&share).and_then(|share| share.watch.as_ref());
                let watch = watch.map_or(WatchStatus::default(), |watch| watch.status);
                drop(answer.send(self.engine.status(&share).map(|status| (status, watch))));
            }
            Event::Views(look) => look(&self.engine),
            Event::Looks(share, look) => {
                if let Some(share) = self.shares.get(&share) {
                    share.index.look(look);
                }
            }
            Event::Ends => {}
        }
    }

    fn open(&mut self, new: NewShare, answer: Answer) {
        let NewShare { index, roster, worker, secrets, retention, asks_first } = new;
        let share = index.life().share;
        if self.shares.contains_key(&share) {
            return drop(answer.send(Err(ShellError::IsOpen)));
        }
        let inbox = self.inbox.clone();
        let indexed = move |id, answer| {
            let _ = inbox.send(Event::Happens(Input::Indexed(share, id, answer)));
        };
        let index = match IndexThread::start(index, roster, indexed) {
            Ok(index) => index,
            Err(error) => return drop(answer.send(Err(error.into()))),
        };
        let watch = self.watch(share, &worker);
        let is_watched = watch.is_some();
        let opening = Some(Opening { opened: Opened { share, secrets, retention, asks_first }, answer });
        let (at_work, over) = channel();
        self.shares.insert(share, OpenShare { index, worker, watch, opening, at_work, over });
        if !is_watched {
            self.is_watched(share, Vec::new());
        }
    }

    fn watch(&self, share: ShareId, worker: &Worker) -> Option<Watched> {
        let (inbox, told) = (self.inbox.clone(), Arc::new(AtomicUsize::new(0)));
        let telling = Arc::clone(&told);
        let hear = move |status: &WatchStatus, hints: Vec<Hint>| {
            if telling.fetch_add(1, Ordering::Relaxed) >= TOLD_MAX {
                telling.fetch_sub(1, Ordering::Relaxed);
                return Heard::Busy(hints);
            }
            match inbox.send(Event::Watched(share, Arc::clone(&telling), *status, hints)) {
                Ok(()) => Heard::Taken,
                Err(_) => Heard::NoMore,
            }
        };
        match worker.watch(hear) {
            Ok(watch) => Some(Watched { _watch: watch, status: WatchStatus::default(), told }),
            Err(error) => {
                tracing::warn!("a folder cannot be watched, and is looked through every hour: {error}");
                None
            }
        }
    }

    fn watched(&mut self, share: ShareId, told: &Told, status: WatchStatus, hints: Vec<Hint>) {
        told.fetch_sub(1, Ordering::Relaxed);
        let watch = self.shares.get_mut(&share).and_then(|share| share.watch.as_mut());
        // Not of the watch of an earlier opening.
        if let Some(watch) = watch.filter(|watch| Arc::ptr_eq(&watch.told, told)) {
            watch.status = status;
            self.is_watched(share, hints);
        }
    }

    /// The first word of a watch says that all is watched, and nothing that the first look will not see; what it tells from
    /// then on are hints.
    fn is_watched(&mut self, share: ShareId, hints: Vec<Hint>) {
        let now = self.now();
        match self.shares.get_mut(&share).and_then(|share| share.opening.take()) {
            Some(Opening { opened, answer }) => {
                self.engine.handle(Input::Opened(opened), now);
                let _ = answer.send(Ok(share));
            }
            None => hints.into_iter().for_each(|hint| self.engine.handle(Input::Hint(share, hint), now)),
        }
    }

    /// Has all of it done that the engine asks for.
    fn act(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Send(conn, request, message) => {
                    if let Some(link) = self.links.get_mut(&conn) {
                        link.outlet.send(request, message);
                    }
                }
                Action::HangUp(conn) => drop(self.links.remove(&conn)),
                Action::Index(share, id, job) => {
                    if let Some(share) = self.shares.get(&share) {
                        share.index.perform(id, job);
                    }
                }
                Action::Disk(share, id, job) => {
                    if let Some(OpenShare { worker, at_work, .. }) = self.shares.get(&share) {
                        let (inbox, at_work) = (self.inbox.clone(), at_work.clone());
                        let answer = move |answer| {
                            let _ = inbox.send(Event::Happens(Input::DiskDone(share, id, answer)));
                            drop(at_work);
                        };
                        self.pool.perform(worker, job, answer);
                    }
                }
            }
        }
        let belongings = self.engine.belongings();
        self.belonging.send_if_modified(|known| std::mem::replace(known, belongings) != belongings);
        for (conn, link) in &mut self.links {
            if link.owed > 0 && self.engine.is_reading(*conn) {
                link.gate.open(std::mem::take(&mut link.owed));
            }
        }
    }

    fn now(&self) -> Now {
        let time = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Now { time: Time(time), wall: wall.as_ref().map_or(0, Duration::as_secs) }
    }
}
