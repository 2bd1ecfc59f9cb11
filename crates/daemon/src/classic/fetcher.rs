//! Fetches files: one blocking thread each, from connecting to the finished staged file.
//!
//! Threads and plain sockets, because large reads and writes by one thread measured fastest; how many run at
//! once the synchronizer decides. Promise: a fetch ends by itself within bounded silence, or at once when it
//! is cancelled; what it leaves unfinished removes itself.

use std::cell::RefCell;
use std::hash::Hasher;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use shoal_classic::Dialect;
use shoal_classic::fetch::{Answer, Body, Fetch, FetchError};
use shoal_classic::synchronizer::{Fetched, Job, Uncertain};
use shoal_disk::{
    Deed, FileTime, FinishedFile, Folder, Name, ReadError, StageError, StagedFile, Stat, WRITE_BYTES,
};

use super::Notice;
use super::connections::{Connection, Connections};
use super::driver::{Report, Reports};
use super::limits::PROGRESS_INTERVAL;
use super::placer::{Placer, Put};
use super::view::disk_name;

/// Starts fetches.
#[derive(Clone)]
pub(super) struct Fetcher {
    folder: Folder,
    timeout: Duration,
    placer: Placer,
    reports: Reports,
    connections: Connections,
}

thread_local! {
    /// What is read goes here on its way to the file.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Fetcher {
    pub(super) fn new(folder: &Folder, timeout: Duration, placer: Placer, reports: Reports) -> Self {
        Self { folder: folder.clone(), timeout, placer, reports, connections: Connections::default() }
    }

    /// Starts one fetch; how it goes is reported.
    pub(super) fn start(&self, job: Job) {
        let fetcher = self.clone();
        tokio::task::spawn_blocking(move || {
            // Without a loop to report to the program is ending, and what is staged removes itself.
            let _ = match fetcher.fetch(&job) {
                Ok(put) => {
                    let received = fetcher.reports.blocking_send(Report::Received(job.id));
                    fetcher.placer.put(put);
                    received
                }
                Err(fetched) => fetcher.reports.blocking_send(Report::Fetched(job.id, fetched)),
            };
        });
    }

    /// No further file is coming for now: connections that wait for one are closed.
    pub(super) fn rest(&self) {
        self.connections.close_kept();
    }

    /// Ends all fetches, running and later ones.
    pub(super) fn cancel(&self) {
        self.connections.cancel();
    }

    /// Fetches one file; what is to be put in place, or how it ended without.
    fn fetch(&self, job: &Job) -> Result<Put, Fetched> {
        let name = disk_name(&job.name).map_err(Fetched::BadHere)?;
        let present = self.present(&name, job)?;
        let (staged, answer) = self.receive(job, &name)?;
        if answer == Answer::ClassicEmpty && present.is_some_and(|present| present.size > 0) {
            let why = "its source answered with nothing, and the file here is not empty; kept the one here";
            return Err(Fetched::Refused(why.into()));
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
    fn receive(&self, job: &Job, name: &Name) -> Result<(StagedFile, Answer), Fetched> {
        let is_shoal = job.dialect == Some(Dialect::Both);
        let mut may_be_kept = is_shoal;
        loop {
            let bad_source = |error: io::Error| Fetched::BadSource(broken(job.source, &error));
            let opened = self.connections.open(job.source, self.timeout, may_be_kept);
            let mut connection = opened.map_err(bad_source)?;
            let in_use = self.connections.note(&mut connection).map_err(bad_source)?;
            let mut fetch = Fetch::new(&job.name, job.dialect, self.timeout, connection.now());
            let received = self.converse(&mut connection, &mut fetch, job, name);
            if connection.was_kept && fetch.is_unanswered() {
                // It was closed while it was kept; that says nothing of the source.
                may_be_kept = false;
                continue;
            }
            let staged = received?;
            let answer = match fetch.outcome() {
                Some(Ok(answer)) => *answer,
                Some(Err(error @ FetchError::NoAnswer)) => {
                    return Err(Fetched::Refused(format!("{}: {error}", job.source)));
                }
                Some(Err(error)) => return Err(Fetched::BadSource(format!("{}: {error}", job.source))),
                None => return Err(Fetched::BadSource(format!("{}: cancelled", job.source))),
            };
            if is_shoal && matches!(answer, Answer::Framed | Answer::FramedEmpty) {
                self.connections.keep(connection, &in_use);
            }
            return Ok((staged.map_or_else(|| self.create(name, None), Ok)?, answer));
        }
    }

    /// Plays the fetch on a connection until it is over; what was written, if anything was.
    fn converse(
        &self,
        connection: &mut Connection,
        fetch: &mut Fetch,
        job: &Job,
        name: &Name,
    ) -> Result<Option<StagedFile>, Fetched> {
        let bad_source = |error: io::Error| Fetched::BadSource(broken(job.source, &error));
        let mut staged = None;
        let mut told = Instant::now();
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(WRITE_BYTES, 0);
            while fetch.outcome().is_none() {
                if let Some(request) = fetch.poll_send() {
                    connection.socket.write_all(&request).map_err(bad_source)?;
                }
                connection.set_patience(fetch.poll_timeout()).map_err(bad_source)?;
                let body = match connection.socket.read(buffer) {
                    Ok(0) => fetch.ended(),
                    Ok(count) => fetch.received(&buffer[..count], connection.now()),
                    Err(error) if is_no_news(&error) => {
                        fetch.tick(connection.now());
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
            Ok(staged)
        })
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
        self.folder.staging().create(name, length).map_err(|error| match error {
            // There is room for other files: what one source claims to have does not hold those up (`C9`).
            StageError::NoSpace { free, .. } if free > 0 => Fetched::BadHere(chain(&error)),
            error => stage_failure(&error),
        })
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
            // A file with other names is not touched, for those need not be ours (`E16`).
            Some(seen) if seen.same_version(&present) && seen.nlink == 1 => Deed::Adopt(seen),
            _ => Deed::Replace(present),
        })
    }
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
