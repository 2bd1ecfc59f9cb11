//! Committing batches of finished files.
//!
//! Promise: when [`Committer::commit`] returns, every file that it calls placed or adopted is in the folder and durable,
//! and so is what it displaced, in history with its name. A process killed or a machine switched off between any two
//! lines here leaves each name with its old or its new file, and the rest to the next start, which needs nobody's help
//! (I8, I17). Edits that the user makes meanwhile win.
//!
//! This is the flat folder's way to order a batch; [`perform`](crate::perform) does it.

use std::io;
use std::sync::Arc;

use crate::folder::Shared;
use crate::fs::Fs;
use crate::name::Name;
use crate::os::Os;
use crate::path::TreePath;
use crate::perform::{Act, Batch, Certainty, Done, Step};
use crate::stage::{FinishedFile, is_out_of_space};
use crate::stat::Stat;

/// A batch is best closed when it has so many files; a longer one is committed in several.
pub const BATCH_FILES_MAX: usize = 1_000;

/// A batch is best closed when its files have so many bytes.
pub const BATCH_BYTES_MAX: u64 = 64 << 20;

/// Puts finished files into place. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Committer<F: Fs = Os> {
    folder: Arc<Shared<F>>,
}

/// What to do with a finished file.
#[derive(Debug)]
pub struct Placement<F: Fs = Os> {
    /// The file; it knows its name.
    pub staged: FinishedFile<F>,
    /// The deed, with what it was planned against.
    pub deed: Deed,
    /// Who sent it, for the history of what it replaces; cut to 255 bytes.
    pub by: String,
}

/// How a finished file comes into the folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Deed {
    /// Under a name that must be free.
    Create,
    /// In place of this version of a file, which goes to history.
    Replace(Stat),
    /// Not at all, because this version has the same bytes: it gets the time, and the staged file is dropped (B24).
    Adopt(Stat),
}

/// What became of one placement.
#[derive(Debug)]
pub struct Committed {
    /// The name of the file.
    pub name: Name,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a placement ended.
#[derive(Debug)]
pub enum Outcome {
    /// The file is in the folder, durably.
    Placed {
        /// What it is now. Should the user have changed it since, this is not what a look at the name shows.
        stat: Stat,
        /// The number in history of what it replaced.
        kept: Option<u64>,
        /// A program that had the replaced file open went on writing to it: those bytes are in history, not in the
        /// folder (E17). Only writes up to the end of the commit are noticed.
        late_edit: bool,
    },
    /// The present file has the time now, durably.
    Adopted {
        /// What it is now.
        stat: Stat,
    },
    /// The name is not what was planned against: the user's edit stands, the fetched file is dropped. Look again and
    /// plan anew.
    ChangedHere {
        /// The number in history of an older edit of the user's that lost its place to a newer one of the same moment.
        kept: Option<u64>,
    },
    /// It could not be done; the error says what holds now.
    Failed(CommitError),
}

/// Why a file could not be committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The list of the batch or the files of the batch did not reach the disk. Nothing was changed in the folder, the
    /// staged files are gone. They must be fetched into new ones: what failed to be written once is not written by
    /// asking again.
    #[error("cannot make {name} durable; it is not in the folder and must be fetched again")]
    NotDurable {
        /// The file.
        name: Name,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The file could not be put into place; the folder is as it was.
    #[error("cannot put {name} into place; the folder is unchanged")]
    NotPlaced {
        /// The file.
        name: Name,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The file was put into place, but whether that survives a power cut is not known; or the system failed halfway,
    /// so that the name has the old file or the new one. Nothing is lost in any case; what history lacks the next start
    /// adds.
    #[error("{name} may be in place, but the disk did not confirm it")]
    NotConfirmed {
        /// The file.
        name: Name,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl CommitError {
    /// Whether it would go well with more space: a reason to pause, not to give up (I20).
    pub fn is_out_of_space(&self) -> bool {
        let (Self::NotDurable { source, .. }
        | Self::NotPlaced { source, .. }
        | Self::NotConfirmed { source, .. }) = self;
        is_out_of_space(source)
    }
}

impl<F: Fs> Committer<F> {
    pub(crate) fn new(folder: Arc<Shared<F>>) -> Self {
        Self { folder }
    }

    /// Commits files; the answers come in the order of `files`. Waits for the disk.
    pub fn commit(&self, files: Vec<Placement<F>>) -> Vec<Committed> {
        let mut committed = Vec::with_capacity(files.len());
        let mut files = files.into_iter().peekable();
        while files.peek().is_some() {
            let orders: Vec<_> = files.by_ref().take(BATCH_FILES_MAX).map(Order::from).collect();
            committed.extend(self.run(orders));
        }
        committed
    }

    fn run(&self, orders: Vec<Order<F>>) -> Vec<Committed> {
        let (steps, notes): (Vec<_>, Vec<_>) =
            orders.into_iter().map(|Order { step, adopts, unused }| (step, (adopts, unused))).unzip();
        let paths: Vec<_> = steps.iter().map(|step| step.path.clone()).collect();
        let done = Batch::run(&self.folder, steps);
        // Only now the staged files of what was adopted remove themselves.
        let answers = paths.into_iter().zip(done).zip(notes);
        answers.filter_map(|((path, done), (adopts, _))| committed(&path, done, adopts)).collect()
    }
}

/// A placement as one of the deeds of a batch.
struct Order<F: Fs> {
    step: Step<F>,
    adopts: bool,
    /// The file that is not needed, because the present one has its bytes.
    unused: Option<FinishedFile<F>>,
}

impl<F: Fs> From<Placement<F>> for Order<F> {
    fn from(placement: Placement<F>) -> Self {
        let Placement { staged, deed, by } = placement;
        let path = staged.slot.path.clone();
        let (act, unused) = match deed {
            Deed::Create => (Act::Place { staged, over: None }, None),
            Deed::Replace(expected) => (Act::Place { staged, over: Some((&expected).into()) }, None),
            Deed::Adopt(present) => {
                let mtime = Some(staged.stat.mtime);
                (Act::Retouch { present: (&present).into(), mtime, mode: None }, Some(staged))
            }
        };
        Self { step: Step { path, act, by }, adopts: unused.is_some(), unused }
    }
}

/// How it ended, in the words of a flat folder. Every path that came from there is a name.
fn committed(path: &TreePath, done: Done, adopts: bool) -> Option<Committed> {
    let name = path.flat_name()?;
    let outcome = match done {
        Done::Well { now: Some(now), .. } if adopts => Outcome::Adopted { stat: now.stat },
        Done::Well { now: Some(now), kept, late_edit } => Outcome::Placed { stat: now.stat, kept, late_edit },
        Done::ChangedHere { kept } => Outcome::ChangedHere { kept },
        // None of these can be of a file in the root itself.
        Done::Well { now: None, .. } | Done::NotEmpty { .. } | Done::Barred(_) => {
            Outcome::ChangedHere { kept: None }
        }
        Done::Failed(certainty, source) => {
            let name = name.clone();
            Outcome::Failed(match certainty {
                Certainty::Unwritten => CommitError::NotDurable { name, source },
                Certainty::NotDone => CommitError::NotPlaced { name, source },
                Certainty::Doubtful => CommitError::NotConfirmed { name, source },
            })
        }
    };
    Some(Committed { name, outcome })
}

#[cfg(test)]
mod cuts;
#[cfg(test)]
mod tests;
