//! The words that a [`Synchronizer`](super::Synchronizer) and its driver exchange.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::dialect::Dialect;
use crate::fetch::Answer;
use crate::limits::JOBS;
use crate::name::FileName;
use crate::plan::Folder;
use crate::serve::Shelf;
use crate::time::Time;

/// How to synchronize.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most files fetched at once.
    pub jobs: usize,
    /// End when nothing is left to fetch.
    pub once: bool,
    /// The assignment to the letter: one Initial message a connection.
    pub strict: bool,
    /// Fetch files whose mtime is in the far future, too.
    pub trust_future: bool,
    /// Announce also what the assignment's skip list leaves out.
    pub all: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { jobs: JOBS, once: false, strict: false, trust_future: false, all: false }
    }
}

/// When something happened, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines.
    pub time: Time,
    /// Seconds since 1970, only to tell which mtimes are in the far future.
    pub unix: i64,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// The tracker was reached.
    TrackerConnected {
        /// Its address.
        tracker: IpAddr,
        /// Our end's address.
        local: IpAddr,
    },
    /// Bytes came from the tracker.
    TrackerReceived(&'a [u8]),
    /// The connection to the tracker could not be made, closed, or broke.
    TrackerLost(String),
    /// All bytes of a file came; what is left is to put it in place. Another fetch may begin.
    Received(JobId),
    /// A fetch ended.
    Fetched(JobId, Fetched),
    /// The folder was looked at again.
    Scanned(Folder),
    /// The folder is not what it was: it is gone, or another one is in its place (`I19`).
    RootLost(String),
    /// The folder is there again.
    RootFound,
    /// A moment has come.
    Tick,
}

/// Names one running fetch.
pub type JobId = u64;

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Dial the tracker.
    Connect,
    /// Send this to the tracker, in one write.
    Send(Vec<u8>),
    /// Close the connection to the tracker.
    Disconnect,
    /// Fetch a file, put it in place, and say how it went.
    Fetch(Job),
    /// No further file will come for now: put in place at once what came.
    Flush,
    /// From now on serve exactly these files.
    Serve(Arc<Shelf>),
    /// Tell whoever watches.
    Report(Event),
    /// End.
    Finish(Finish),
}

/// A file to fetch.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Names it.
    pub id: JobId,
    /// The file.
    pub name: FileName,
    /// From whom.
    pub source: SocketAddr,
    /// The mtime to give it, in seconds since 1970.
    pub mtime: i64,
    /// What is known of the source's dialect.
    pub dialect: Option<Dialect>,
    /// An uncertain answer came before: an equal one now counts.
    pub confirms: Option<Uncertain>,
}

/// What an uncertain answer contained.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Uncertain {
    /// How many bytes came.
    pub bytes: u64,
    /// A digest of them, to compare two answers by.
    pub digest: u64,
}

/// How a fetch ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Fetched {
    /// The file is in place, durably.
    Placed {
        /// What kind of answer it came by.
        answer: Answer,
        /// How large it is.
        bytes: u64,
        /// Whether an older version went to history.
        replaced: bool,
    },
    /// What is here is as new already: the mtime that was found, in seconds since 1970.
    NotNeeded(i64),
    /// The answer may be incomplete, or no answer at all; it counts if it comes again.
    Uncertain(Uncertain, Answer),
    /// The source closed without an answer that can be taken: it does not have this file, or does not speak like
    /// this.
    Refused(String),
    /// The source is to blame.
    BadSource(String),
    /// Something here is to blame.
    BadHere(String),
    /// No space is left.
    NoSpace(String),
}

/// Something that people want to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The tracker answers.
    Connected {
        /// How many files we announced.
        announced: usize,
    },
    /// The tracker does not.
    TrackerLost {
        /// Why.
        why: String,
        /// How long until the next try.
        retry_in: Duration,
    },
    /// There is work: files to fetch, counted anew with each directory.
    Planned {
        /// How many.
        files: usize,
    },
    /// A fetch began.
    Started {
        /// Which job.
        job: JobId,
        /// The file.
        name: FileName,
        /// From whom.
        source: SocketAddr,
    },
    /// A file is in place.
    Fetched {
        /// Which job.
        job: JobId,
        /// The file.
        name: FileName,
        /// How large it is.
        bytes: u64,
        /// Its mtime, in seconds since 1970.
        mtime: i64,
        /// Whether an older version went to history.
        replaced: bool,
    },
    /// A fetch ended without a file, and why; or will be tried again.
    Dropped {
        /// Which job.
        job: JobId,
    },
    /// A name is not in sync, and why; told once for each reason.
    Problem {
        /// The name, escaped.
        name: String,
        /// Why.
        why: String,
    },
    /// Something that concerns the whole folder.
    Warning(String),
    /// All that is listed is here.
    InSync {
        /// How many files are listed.
        files: usize,
    },
    /// Nothing runs, and some of what is listed is not here.
    OutOfSync {
        /// How many files.
        missing: usize,
    },
}

/// How it ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finish {
    /// All that is listed is here.
    InSync,
    /// So many names are not in sync.
    OutOfSync(usize),
    /// The tracker was never reached.
    Failed(String),
}
