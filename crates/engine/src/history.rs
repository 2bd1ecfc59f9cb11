//! Words for what was displaced and is kept: the versions in a history, how long they stay, and how one comes back.
//!
//! Promise: these are values and nothing else. What is kept is told with all that a person asks of it: where it was, when
//! it went, by whom, why, and what it is.

use core::time::Duration;

use shoal_proto::hash::ContentId;
use shoal_proto::here::Triple;
use shoal_proto::id::DeviceId;
use shoal_proto::path::RelPath;
use shoal_proto::record::Timestamp;

use crate::index::{self, List};
use crate::time::Time;

/// How long a displaced version is kept unless told otherwise.
pub const HISTORY_KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How many bytes of displaced versions are kept unless told otherwise.
pub const HISTORY_BYTES_MAX: u64 = 10 << 30;

/// Into so many parts a retention is divided: what is not known for certain is taken for one of them, and no more.
const PARTS: u32 = 30;

/// How much is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retention {
    /// Versions displaced longer ago go.
    pub keep: Duration,
    /// When all together are larger than this, versions go until they are not: the oldest of the path that takes most,
    /// the last version of a path before it was deleted last.
    pub bytes_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { keep: HISTORY_KEEP, bytes_max: HISTORY_BYTES_MAX }
    }
}

impl Retention {
    /// A thirtieth of the time: a day of a month. So much is counted at most of a time in which nobody could look at a
    /// clock that never jumps, and so long stays what nobody knows yet what it is needed for.
    #[must_use]
    pub fn part(&self) -> Duration {
        self.keep / PARTS
    }

    /// How often what is kept is looked through.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.part().clamp(INTERVAL_MIN, INTERVAL_MAX)
    }
}

const INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_secs(60 * 60);

/// Why a version lost its place.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub enum Why {
    /// Nobody knows: it was displaced just before a process ended, or for an index that was lost.
    #[default]
    Unknown,
    /// A newer version took its place.
    Replaced,
    /// It was deleted.
    Deleted,
    /// It contradicted the version that took its place. It is copied beside that one, if its bytes are found.
    Conflict,
    /// It was this disk's own, and nobody else had it: a reader's change, or what an index that was made anew found.
    Difference,
}

/// A version in history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// Its number there; later ones are larger.
    pub number: u64,
    /// Where it was; `None` if a crash lost that.
    pub path: Option<RelPath>,
    /// What it is; `None` if that is not known, or if it is a link.
    pub content: Option<ContentId>,
    /// Bytes.
    pub size: u64,
    /// When it was changed last.
    pub mtime: Timestamp,
    /// When it was filed, by this machine's clock: only to be shown.
    pub when: Timestamp,
    /// Whose record displaced it; `None`: nobody's, or that is not known.
    pub by: Option<DeviceId>,
    /// Why.
    pub why: Why,
    /// A program had it open when it was displaced, and wrote to it afterwards (E17).
    pub is_late: bool,
}

/// What a version in history turned out to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Naming {
    /// This, and its segments, if there are several.
    Is {
        /// Its content.
        content: ContentId,
        /// The list of its segments.
        list: Option<List>,
        /// Bytes.
        size: u64,
        /// When it was changed last.
        mtime: Timestamp,
    },
    /// It changes while it is read: to be asked again later.
    Changes,
    /// It is no file that can be read, or not there.
    Nothing,
}

/// A question for what is kept, the newest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Listing {
    /// Of this path, and of all below it; `None`: of all paths, and of what has lost its path.
    pub at: Option<RelPath>,
    /// Only numbers below this one.
    pub before: Option<u64>,
    /// At most so many.
    pub at_most: usize,
}

/// A time to let versions go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pruning {
    /// By a clock that never jumps, and begins anew with each process.
    pub at: Time,
    /// Seconds since 1970 by the machine's clock, right or wrong.
    pub wall: u64,
    /// How much is kept.
    pub retention: Retention,
    /// At most so many versions at once.
    pub at_most: usize,
}

/// What is to go, and what stays.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Doomed {
    /// The numbers of what goes; nobody counts on them any more.
    pub numbers: Vec<u64>,
    /// Whether to ask again at once.
    pub is_more: bool,
    /// What stays.
    pub left: Held,
}

/// How much a history holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// Versions.
    pub versions: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// What is to be done with the index about the history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Job {
    /// Note what it holds, and lists of segments of it.
    Add(Vec<Kept>, Vec<(ContentId, List)>),
    /// Note that this version has no content that could be named: it is a link, or cannot be read.
    Nameless(u64),
    /// Note that a person knows of what was written to this version after it was displaced.
    Heeded(u64),
    /// Say what it holds.
    List(Listing),
    /// Say what one version is, and what is known of the path where it is to stand: with none given, where it was.
    One(u64, Option<RelPath>),
    /// Choose what is to go, and forget it.
    Prune(Pruning),
}

/// What comes of a [`Job`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It is noted.
    Noted(Noted),
    /// What it holds, the newest first.
    Page(Vec<Kept>),
    /// The version, if it is there, and what is known of the path.
    One(Option<Box<Kept>>, Option<Box<Triple>>),
    /// What is to go.
    Doomed(Doomed),
    /// Done.
    Done,
}

/// What is not as it should be of versions that were noted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Noted {
    /// Nobody knows the content of these.
    pub unnamed: Vec<u64>,
    /// A program wrote to these after they were displaced, and no person has heeded it (E17).
    pub late: Vec<u64>,
}

/// Performs a job.
pub(crate) fn perform<I: index::Index>(job: Job, index: &mut I) -> Result<Answer, I::Error> {
    Ok(match job {
        Job::Add(kept, lists) => Answer::Noted(index.add_history(kept, lists)?),
        Job::Nameless(number) => {
            index.nameless(number)?;
            Answer::Done
        }
        Job::Heeded(number) => {
            index.heeded(number)?;
            Answer::Done
        }
        Job::List(asked) => Answer::Page(index.history(&asked)?),
        Job::One(number, to) => {
            let kept = index.kept(number)?;
            let path = to.or_else(|| kept.as_ref().and_then(|kept| kept.path.clone()));
            let row = path.map(|path| index.triple(&path)).transpose()?.flatten();
            Answer::One(kept.map(Box::new), row.map(Box::new))
        }
        Job::Prune(pruning) => Answer::Doomed(index.prune(&pruning)?),
    })
}

/// The part of an index that is about the history.
pub trait Histories<Error> {
    /// Notes what the history on the disk holds, and the lists of segments of what is large among it. What is known of a
    /// version already, and still may be so, stays.
    ///
    /// # Errors
    /// When a list is not its content's, or the database refuses; nothing is noted then.
    fn add_history(&mut self, kept: Vec<Kept>, lists: Vec<(ContentId, List)>) -> Result<Noted, Error>;

    /// Notes that a version has no content that could be named.
    ///
    /// # Errors
    /// When the database refuses.
    fn nameless(&mut self, number: u64) -> Result<(), Error>;

    /// Notes that a person knows of what was written to a version after it was displaced.
    ///
    /// # Errors
    /// When the database refuses.
    fn heeded(&mut self, number: u64) -> Result<(), Error>;

    /// What the history holds, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn history(&self, asked: &Listing) -> Result<Vec<Kept>, Error>;

    /// One version.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn kept(&self, number: u64) -> Result<Option<Kept>, Error>;

    /// Chooses what is to go, and forgets it: never the only bytes here of what a head names.
    ///
    /// # Errors
    /// When the database refuses; nothing is forgotten then.
    fn prune(&mut self, pruning: &Pruning) -> Result<Doomed, Error>;
}

/// A version that a person wants back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restore {
    /// Its number in history, where it stays.
    pub number: u64,
    /// Where it is to stand; `None`: where it was.
    pub to: Option<RelPath>,
}

/// What became of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Restored {
    /// It is on its way, or waits for what is done at its path.
    Waiting,
    /// It stands there, as its user's newest version.
    Done(RelPath),
    /// It was not done, and will not be.
    Refused(Refusal),
}

/// Why a version does not come back.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is there under this number, or no longer.
    #[error("there is no version {0} in the history")]
    Missing(u64),
    /// It is not known where it was.
    #[error("nobody knows where version {0} was; say where it is to stand")]
    NoPath(u64),
    /// The share does not change the disk now.
    #[error("the share is stopped, or has not met a member yet")]
    NotLive,
    /// A folder is in the way.
    #[error("{0} is a folder")]
    Folder(RelPath),
    /// It goes on changing, or something else is done there all the time.
    #[error("{0} is being changed all the time")]
    Changing(RelPath),
    /// The disk does not let it: it is ignored there, has no way, no space or no such name; the text says which.
    #[error("{0}")]
    Disk(String),
    /// So many wait already.
    #[error("too many versions are on their way back already")]
    TooMany,
}
