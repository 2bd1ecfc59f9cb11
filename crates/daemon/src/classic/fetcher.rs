//! Fetches files: one blocking thread each, from connecting to the finished staged file.
//!
//! Threads and plain sockets, because large reads and writes by one thread measured fastest; how many run at
//! once the synchronizer decides. Promise: a fetch ends by itself within bounded silence, or at once when it
//! is cancelled; what it leaves unfinished removes itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shoal_classic::fetch::{Answer, Body, Fetch};
use shoal_classic::synchronizer::{Fetched, Job, JobId, Uncertain};
use shoal_classic::{Dialect, Time};
use shoal_disk::{
    Deed, FileTime, FinishedFile, Folder, Name, ReadError, StageError, StagedFile, Stat, WRITE_BYTES,
};

use super::Notice;
use super::driver::{Report, Reports};
use super::placer::{Placer, Put};
use super::view::disk_name;

/// Starts fetches.
#[derive(Clone)]
pub(super) struct Fetcher {
    worker: Worker,
    open: Arc<Open>,
}

/// What a fetch works with.
#[derive(Clone)]
struct Worker {
    folder: Folder,
    timeout: Duration,
    placer: Placer,
    reports: Reports,
}

/// The sockets of running fetches, to end them from outside.
#[derive(Debug, Default)]
struct Open {
    sockets: Mutex<Option<BTreeMap<JobId, TcpStream>>>,
}

/// Progress of one file is told at most so often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

thread_local! {
    /// What is read goes here on its way to the file.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Fetcher {
    pub(super) fn new(folder: &Folder, timeout: Duration, placer: Placer, reports: Reports) -> Self {
        let open = Open { sockets: Mutex::new(Some(BTreeMap::new())) };
        Self { worker: Worker { folder: folder.clone(), timeout, placer, reports }, open: Arc::new(open) }
    }

    /// Starts one fetch; how it goes is reported.
    pub(super) fn fetch(&self, job: Job) {
        let worker = self.worker.clone();
        let open = self.open.clone();
        tokio::task::spawn_blocking(move || {
            let id = job.id;
            let ended = worker.fetch(&job, &open);
            open.forget(id);
            let report = match ended {
                Ok(put) => {
                    let _ = worker.reports.blocking_send(Report::Received(id));
                    return worker.placer.put(put);
                }
                Err(fetched) => Report::Fetched(id, fetched),
            };
            let _ = worker.reports.blocking_send(report);
        });
    }

    /// Ends all fetches, running and later ones.
    pub(super) fn cancel(&self) {
        let sockets = self.open.sockets.lock().unwrap_or_else(PoisonError::into_inner).take();
        for socket in sockets.into_iter().flat_map(BTreeMap::into_values) {
            // An error means that it is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Open {
    /// Notes a socket, unless all has been cancelled.
    fn remember(&self, job: JobId, socket: &TcpStream) -> io::Result<()> {
        let socket = socket.try_clone()?;
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let sockets = sockets.as_mut().ok_or_else(|| io::Error::other("cancelled"))?;
        sockets.insert(job, socket);
        Ok(())
    }

    fn forget(&self, job: JobId) {
        if let Some(sockets) = self.sockets.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            sockets.remove(&job);
        }
    }
}

impl Worker {
    /// Fetches one file; what is to be put in place, or how it ended without.
    fn fetch(&self, job: &Job, open: &Open) -> Result<Put, Fetched> {
        let name = disk_name(&job.name).map_err(Fetched::BadHere)?;
        let present = self.present(&name, job)?;
        let (staged, answer) = self.receive(job, &name, open)?;
        if answer == Answer::ClassicEmpty && present.is_some_and(|present| present.size > 0) {
            let why = "its source answered with nothing, and the file here is not empty; kept the one here";
            return Err(Fetched::BadHere(why.into()));
        }
        let bytes = staged.written();
        let mtime = FileTime { secs: job.mtime, nanos: 0 };
        let staged = staged.finish(mtime, present.as_ref()).map_err(|error| stage_failure(&error))?;
        self.require_certainty(job, &staged, answer)?;
        let deed = self.deed(present, &staged)?;
        Ok(Put { job: job.id, staged, deed, source: job.source, mtime: job.mtime, answer, bytes })
    }

    /// What is at the name now, unless it is as new as what is listed.
    fn present(&self, name: &Name, job: &Job) -> Result<Option<Stat>, Fetched> {
        match self.folder.stat(name) {
            Ok(Some(stat)) => match self.placer.view().mtime(name, &stat) {
                mtime if mtime >= job.mtime => Err(Fetched::NotNeeded(mtime)),
                _ => Ok(Some(stat)),
            },
            Ok(None) => Ok(None),
            Err(error) => Err(Fetched::BadHere(chain(&error))),
        }
    }

    /// Receives the whole answer into a staged file.
    fn receive(&self, job: &Job, name: &Name, open: &Open) -> Result<(StagedFile, Answer), Fetched> {
        let bad_source = |error: io::Error| Fetched::BadSource(broken(job.source, &error));
        let mut socket = TcpStream::connect_timeout(&job.source, self.timeout).map_err(bad_source)?;
        open.remember(job.id, &socket).map_err(bad_source)?;
        socket.set_nodelay(true).map_err(bad_source)?;
        socket.set_write_timeout(Some(self.timeout)).map_err(bad_source)?;

        let began = Instant::now();
        let now = || Time::after_start(began.elapsed());
        let mut fetch = Fetch::new(job.name.clone(), job.dialect, self.timeout, now());
        let mut staged = None;
        let mut patience = Duration::ZERO;
        let mut told = Instant::now();
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(WRITE_BYTES, 0);
            while fetch.outcome().is_none() {
                if let Some(request) = fetch.poll_send() {
                    socket.write_all(&request).map_err(bad_source)?;
                }
                set_patience(&socket, &fetch, now(), &mut patience).map_err(bad_source)?;
                let body = match socket.read(buffer) {
                    Ok(0) => fetch.ended(),
                    Ok(count) => fetch.received(&buffer[..count], now()),
                    Err(error) if is_no_news(&error) => {
                        fetch.tick(now());
                        continue;
                    }
                    Err(error) => return Err(bad_source(error)),
                };
                self.write(&mut staged, name, fetch.length(), &body)?;
                if told.elapsed() >= PROGRESS_INTERVAL {
                    told = Instant::now();
                    let notice = Notice::Progress { job: job.id, got: fetch.got(), length: fetch.length() };
                    // Progress that nobody has time for is no news.
                    let _ = self.reports.try_send(Report::Progress(notice));
                }
            }
            Ok(())
        })?;
        let answer = match fetch.outcome() {
            Some(Ok(answer)) => *answer,
            Some(Err(error)) => return Err(Fetched::BadSource(format!("{}: {error}", job.source))),
            None => return Err(Fetched::BadSource(format!("{}: cancelled", job.source))),
        };
        let staged = match staged {
            Some(staged) => staged,
            None => self.create(name, None)?,
        };
        Ok((staged, answer))
    }

    fn write(
        &self,
        staged: &mut Option<StagedFile>,
        name: &Name,
        length: Option<u64>,
        body: &Body<'_>,
    ) -> Result<(), Fetched> {
        if staged.is_none() && (length.is_some() || !body.held.is_empty() || !body.rest.is_empty()) {
            *staged = Some(self.create(name, length)?);
        }
        let Some(staged) = staged else { return Ok(()) };
        for part in [body.held.as_slice(), body.rest].into_iter().filter(|part| !part.is_empty()) {
            staged.write_all(part).map_err(|error| stage_failure(&error))?;
        }
        Ok(())
    }

    fn create(&self, name: &Name, length: Option<u64>) -> Result<StagedFile, Fetched> {
        self.folder.staging().create(name, length).map_err(|error| stage_failure(&error))
    }

    /// An answer whose end nobody can be sure of counts when it comes for the second time.
    fn require_certainty(&self, job: &Job, staged: &FinishedFile, answer: Answer) -> Result<(), Fetched> {
        let is_certain = match answer {
            Answer::Framed | Answer::Classic => true,
            Answer::FramedEmpty => job.dialect == Some(Dialect::Both),
            Answer::ClassicEmpty | Answer::Unclosed => false,
        };
        if is_certain {
            return Ok(());
        }
        let digest = digest(staged).map_err(|error| Fetched::BadHere(chain(&error)))?;
        let uncertain = Uncertain { bytes: staged.stat().size, digest };
        if job.confirms == Some(uncertain) { Ok(()) } else { Err(Fetched::Uncertain(uncertain, answer)) }
    }

    /// How the file comes into place: equal bytes only need the time (`B24`).
    fn deed(&self, present: Option<Stat>, staged: &FinishedFile) -> Result<Deed, Fetched> {
        let Some(present) = present else { return Ok(Deed::Create) };
        let same = self.folder.staging().same_content(staged).map_err(|error| stage_failure(&error))?;
        Ok(match same {
            Some(seen) if seen.same_version(&present) => Deed::Adopt(seen),
            _ => Deed::Replace(present),
        })
    }
}

/// Lets the next read end when the fetch wants to be woken; asks the system only when that has moved.
fn set_patience(socket: &TcpStream, fetch: &Fetch, now: Time, current: &mut Duration) -> io::Result<()> {
    const SLACK: Duration = Duration::from_millis(20);
    let Some(wake) = fetch.poll_timeout() else { return Ok(()) };
    let wanted = wake.since(now).max(Duration::from_millis(1));
    if wanted.abs_diff(*current) > SLACK || wanted < SLACK {
        socket.set_read_timeout(Some(wanted))?;
        *current = wanted;
    }
    Ok(())
}

fn is_no_news(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn broken(source: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{source} refused the connection"),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => format!("{source} did not answer in time"),
        io::ErrorKind::ConnectionReset => format!("{source} broke off the connection"),
        _ => format!("{source}: {error}"),
    }
}

fn stage_failure(error: &StageError) -> Fetched {
    match error {
        error if error.is_out_of_space() => Fetched::NoSpace(chain(error)),
        StageError::Compare(ReadError::Missing { .. }) => {
            Fetched::BadHere("it changed here meanwhile".into())
        }
        _ => Fetched::BadHere(chain(error)),
    }
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A digest of a staged file, to compare two answers by; it tells accidents apart, not attackers.
fn digest(staged: &FinishedFile) -> Result<u64, StageError> {
    let mut hasher = std::hash::DefaultHasher::new();
    staged.read_each(|bytes| hasher.write(bytes))?;
    Ok(hasher.finish())
}
