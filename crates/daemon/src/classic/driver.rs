//! The one loop of the synchronizer: drains its actions, waits for the next thing to happen, feeds it.
//!
//! Everything that can block (dialling, fetching, disk, watching) is a worker that reports through one
//! channel. Bounded: at most one tracker connection, `jobs` fetches, and what waits for the placer
//! (`WAITING_FILES_MAX`); when that is full the fetching threads wait, and never the loop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use shoal_classic::plan;
use shoal_classic::serve::Shelf;
use shoal_classic::synchronizer::{Action, Event, Fetched, Finish, Input, JobId, Now, Synchronizer};
use shoal_classic::time::Time;
use shoal_disk::{Folder, Recovered, Retention};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::fetcher::Fetcher;
use super::limits::{PRUNE_INTERVAL, REPORTS_MAX, REQUESTS_BACKLOG, ROOT_CHECK_INTERVAL};
use super::placer::Placer;
use super::tracker_connection::{TrackerConnection, TrackerEvent};
use super::view::View;
use super::watch::LiveWatch;
use super::{Notice, Options, RunError, Teller, server};

/// What workers report.
#[derive(Debug)]
pub(super) enum Report {
    /// Of the tracker, over the connection of that number.
    Tracker(u64, TrackerEvent),
    /// All bytes of a file came.
    Received(JobId),
    /// A fetch ended.
    Fetched(JobId, Fetched),
    /// Bytes of a file came.
    Progress(Notice),
    /// The folder was looked at again, when so many files had been put in place.
    Scanned { folder: plan::Folder, files_placed: u64 },
    /// The folder is the one that it was, or not, and why.
    Root(Result<(), String>),
    /// Something to tell.
    Notice(Notice),
}

/// Where workers report to.
pub(super) type Reports = mpsc::Sender<Report>;

pub(super) struct Driver {
    options: Options,
    synchronizer: Synchronizer,
    began: Instant,
    reports: Reports,
    inbox: mpsc::Receiver<Report>,
    shelf: watch::Sender<Arc<Shelf>>,
    tracker: Option<TrackerConnection>,
    fetcher: Fetcher,
    placer: Placer,
    /// Held for as long as the folder is watched.
    watch: Option<LiveWatch>,
    teller: Teller,
}

impl Driver {
    /// Opens the folder, takes the port, and starts the workers.
    pub(super) async fn start(options: Options, mut teller: Teller) -> Result<Self, RunError> {
        let (folder, recovered) = Folder::open(&options.dir, &options.folder)?;
        tell_recovered(&recovered, &mut teller);
        let listener = listen(SocketAddr::new(options.bind, options.port))?;
        let address = listener.local_addr().map_err(|source| RunError::Listen {
            address: SocketAddr::new(options.bind, options.port),
            source,
        })?;
        teller(Notice::Listening(address));

        let (reports, inbox) = mpsc::channel(REPORTS_MAX);
        let view = View::default();
        let first = view.take(folder.scan()?, &mut |notice| teller(notice));
        let synchronizer = Synchronizer::new(options.sync.clone(), own_addresses(address), first);
        let (shelf, offered) = watch::channel(Arc::new(Shelf::new()));
        tokio::spawn(server::serve(listener, folder.clone(), offered));
        let placer = Placer::start(&folder, view.clone(), reports.clone()).map_err(RunError::Thread)?;
        let fetcher = Fetcher::new(&folder, options.timeout, placer.clone(), reports.clone());
        let live = if options.live {
            Some(LiveWatch::start(&folder, view, reports.clone()).map_err(RunError::Thread)?)
        } else {
            None
        };
        tokio::spawn(check_root(folder.clone(), reports.clone()));
        tokio::spawn(prune(folder.clone()));
        Ok(Self {
            options,
            synchronizer,
            began: Instant::now(),
            reports,
            inbox,
            shelf,
            tracker: None,
            fetcher,
            placer,
            watch: live,
            teller,
        })
    }

    /// Runs until the synchronizer ends it, or `shutdown` completes.
    pub(super) async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<Finish, RunError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let finish = loop {
            if let Some(finish) = self.perform() {
                break finish;
            }
            let wake = self.synchronizer.poll_timeout();
            let wake = wake.map(|wake| tokio::time::Instant::from_std(self.began + wake.since_start()));
            tokio::select! {
                Some(report) = self.inbox.recv() => self.take(report),
                () = sleep_until(wake.unwrap_or_else(tokio::time::Instant::now)), if wake.is_some() => {
                    self.feed(Input::Tick);
                }
                () = &mut shutdown => break self.synchronizer.standing(),
            }
        };
        self.end().await;
        Ok(finish)
    }

    /// Does what the synchronizer wants; how it ends, if it does.
    fn perform(&mut self) -> Option<Finish> {
        while let Some(action) = self.synchronizer.poll_action() {
            match action {
                Action::Connect => {
                    let number = self.tracker.as_ref().map_or(0, |tracker| tracker.number() + 1);
                    let tracker = TrackerConnection::dial(number, self.options.tracker, self.reports.clone());
                    self.tracker = Some(tracker);
                }
                Action::Send(bytes) => {
                    if let Some(tracker) = &self.tracker
                        && !tracker.send(bytes)
                    {
                        let why = "the tracker does not take what it is sent".to_owned();
                        self.take(Report::Tracker(tracker.number(), TrackerEvent::Lost(why)));
                    }
                }
                Action::Disconnect => {
                    if let Some(tracker) = &mut self.tracker {
                        tracker.hang_up();
                    }
                }
                Action::Fetch(job) => self.fetcher.start(job),
                Action::Flush => {
                    self.fetcher.rest();
                    self.placer.flush();
                }
                Action::Serve(shelf) => {
                    self.shelf.send_replace(shelf);
                }
                Action::Report(event) => self.tell(Notice::Event(event)),
                Action::Finish(finish) => return Some(finish),
            }
        }
        None
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Tracker(number, event) => {
                // A connection that was hung up may still have reported.
                if self
                    .tracker
                    .as_ref()
                    .is_none_or(|tracker| tracker.number() != number || tracker.is_hung_up())
                {
                    return;
                }
                match event {
                    TrackerEvent::Connected { tracker, local } => {
                        self.feed(Input::TrackerConnected { tracker, local });
                    }
                    TrackerEvent::Received(bytes) => self.feed(Input::TrackerReceived(&bytes)),
                    TrackerEvent::Lost(why) => {
                        if let Some(tracker) = &mut self.tracker {
                            tracker.hang_up();
                        }
                        self.feed(Input::TrackerLost(why));
                    }
                }
            }
            Report::Received(job) => self.feed(Input::Received(job)),
            Report::Fetched(job, fetched) => self.feed(Input::Fetched(job, fetched)),
            Report::Scanned { folder, files_placed } => {
                if files_placed == self.placer.view().files_placed() {
                    self.feed(Input::Scanned(folder));
                } else if let Some(watch) = &self.watch {
                    // It may not have seen what was put in place since.
                    watch.look_again();
                }
            }
            Report::Root(Ok(())) => self.feed(Input::RootFound),
            Report::Root(Err(why)) => self.feed(Input::RootLost(why)),
            Report::Progress(notice) | Report::Notice(notice) => self.tell(notice),
        }
    }

    fn feed(&mut self, input: Input<'_>) {
        let time = Time::after_start(self.began.elapsed());
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unix = i64::try_from(unix.as_secs()).unwrap_or(i64::MAX);
        self.synchronizer.handle(input, Now { time, unix });
    }

    fn tell(&mut self, notice: Notice) {
        if let Notice::Event(Event::Problem { name, why }) = &notice {
            tracing::debug!(%name, %why, "not in sync");
        }
        (self.teller)(notice);
    }

    /// Ends the fetches, and lets what has come be put in place.
    async fn end(self) {
        self.fetcher.cancel();
        let mut inbox = self.inbox;
        // The placer reports while it ends, and would wait for room.
        let drain = async { while inbox.recv().await.is_some() {} };
        tokio::select! {
            () = self.placer.finish() => {}
            () = async { drain.await; std::future::pending().await } => {}
        }
    }
}

/// Takes a port by binding it.
fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(REQUESTS_BACKLOG)
    };
    listen().map_err(|source| RunError::Listen { address, source })
}

/// The addresses at which a directory may list ourselves, as far as they are known before the tracker is.
fn own_addresses(address: SocketAddr) -> Vec<SocketAddr> {
    if !address.ip().is_unspecified() {
        return vec![address];
    }
    let loopback = |ip: &str| ip.parse().map(|ip| SocketAddr::new(ip, address.port()));
    ["127.0.0.1", "::1"].into_iter().flat_map(loopback).collect()
}

fn tell_recovered(recovered: &Recovered, teller: &mut Teller) {
    for restored in &recovered.restored {
        let text = format!(
            "a former run was cut short: the older version of {} is in history as number {}",
            restored.name, restored.number
        );
        teller(Notice::Recovered(text));
    }
    for problem in &recovered.problems {
        teller(Notice::Recovered(problem.clone()));
    }
}

/// Reports whenever the folder stops being the one that was opened, or is again.
async fn check_root(folder: Folder, reports: Reports) {
    let mut was_well = true;
    let mut checks = interval(ROOT_CHECK_INTERVAL);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        checks.tick().await;
        let asked = folder.clone();
        let Ok(checked) = tokio::task::spawn_blocking(move || asked.check_root()).await else { return };
        if checked.is_ok() != was_well {
            was_well = checked.is_ok();
            if reports.send(Report::Root(checked.map_err(|error| error.to_string()))).await.is_err() {
                return;
            }
        }
    }
}

/// Lets go of old versions by age and size, at the start and then now and again.
async fn prune(folder: Folder) {
    let mut rounds = interval(PRUNE_INTERVAL);
    loop {
        rounds.tick().await;
        let history = folder.history();
        let pruned =
            tokio::task::spawn_blocking(move || history.prune(SystemTime::now(), &Retention::default()));
        match pruned.await {
            Ok(Ok(pruned)) if pruned.versions > 0 => {
                tracing::info!(versions = pruned.versions, bytes = pruned.bytes, "history pruned");
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "history not pruned"),
            Err(_) => return,
        }
    }
}
