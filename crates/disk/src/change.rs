//! Changing a tree: what a share wants done to its paths, batch by batch.
//!
//! Promise: as for the flat folder ([`Committer`](crate::Committer)), because it is the same batch: when
//! [`Tree::commit`] returns, what it calls done is durable, what was displaced is in history under its path, and a change
//! that the user made meanwhile stands (I3, I8, I17). A folder goes only if it is empty; nothing is ever removed with what
//! is in it.
//!
//! The deeds are done in the order in which they come. Folders come before what goes into them, and after what comes
//! out of them; moves come best after all folders, because the first one after a new folder waits for the disk.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use shoal_proto::path::RelPath;

use crate::commit::BATCH_FILES_MAX;
use crate::fs::Fs;
use crate::os::Os;
use crate::path::TreePath;
use crate::perform::{Act, Batch, Certainty, Done, Step};
use crate::stage::{FinishedFile, is_out_of_space};
use crate::stat::{Expected, FileTime, Look};
use crate::tree::Tree;
use crate::walk::WalkError;

/// One thing to be done to one path.
#[derive(Debug)]
pub struct Change<F: Fs = Os> {
    /// Where.
    pub path: RelPath,
    /// What, and what it was planned against.
    pub deed: TreeDeed<F>,
    /// Who wants it, for the history of what it displaces; cut to 255 bytes.
    pub by: String,
}

/// What can be done to a path.
#[derive(Debug)]
pub enum TreeDeed<F: Fs = Os> {
    /// Puts a staged file or link under the path, which must be free. It goes to the path of the change, whatever path it
    /// was staged for.
    Create(FinishedFile<F>),
    /// Puts a staged file or link in place of this file or link, which goes to history, or of this folder, if it is empty.
    Replace(FinishedFile<F>, Expected),
    /// Gives what is there, which has the same content already, this time, and these permissions; `None` leaves what it
    /// has. Links have no permissions and folders no time of their own: those are left. A folder gets at least `u+rwx`.
    ///
    /// A file that has other names too is refused with `EMLINK`, because they may be outside of the share (E16): replace
    /// it by a copy of its own.
    Retouch {
        /// What was planned against.
        present: Expected,
        /// When its content changed last.
        mtime: Option<FileTime>,
        /// Its permissions; of them the lowest nine bits.
        mode: Option<u32>,
    },
    /// Makes a folder.
    MakeFolder {
        /// Its permissions; of them the lowest nine bits. It gets at least `u+rwx`, or nobody could put anything into it.
        mode: u32,
        /// The file or link in its place, which goes to history; `None` if the path is to be free.
        over: Option<Expected>,
    },
    /// Takes this away: a file or a link goes to history, a folder goes if it is empty.
    Remove(Expected),
    /// Gives this, with all that is in it, another path of the share, which must be free. Neither time nor permissions
    /// change; a [`Self::Retouch`] of the new path can follow in the next batch.
    Move {
        /// The new path.
        to: RelPath,
        /// What was planned against.
        present: Expected,
    },
}

/// What became of one change.
#[derive(Debug)]
pub struct Changed {
    /// The path of the change.
    pub path: RelPath,
    /// How it ended.
    pub outcome: TreeOutcome,
}

/// How a change ended.
#[derive(Debug)]
pub enum TreeOutcome {
    /// As planned, and durable.
    Done {
        /// What is there now, of a move under its new path; `None` after a removal. Should the user have changed it since,
        /// this is not what a look shows.
        now: Option<Look>,
        /// The number in history of what was displaced.
        kept: Option<u64>,
        /// A program that had the displaced file open went on writing to it: those bytes are in history (E17). Only
        /// writes up to the end of the commit are noticed.
        late_edit: bool,
    },
    /// What is there is not what was planned against: the user's edit stands. Look again and plan anew.
    ChangedHere {
        /// The number in history of an older edit of the user's that lost its place to a newer one of the same moment.
        kept: Option<u64>,
    },
    /// The folder that was to go has something in it, and is left as it is.
    NotEmpty {
        /// Some of the names in it, escaped; at most [`INSIDE_TOLD_MAX`](crate::INSIDE_TOLD_MAX).
        inside: Vec<String>,
    },
    /// There is no way to the path, or of a move to the new one (E8). Nothing was changed.
    Barred(WalkError),
    /// It could not be done; the error says what holds now.
    Failed(ChangeError),
}

/// Why a change could not be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChangeError {
    /// The list of the batch or its staged files did not reach the disk. Nothing was changed, the staged files are gone.
    /// They must be fetched into new ones: what failed to be written once is not written by asking again.
    #[error("cannot make {path} durable; nothing was changed")]
    NotDurable {
        /// Where.
        path: RelPath,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The system refuses; nothing was changed.
    #[error("cannot change {path}; it is as it was")]
    NotDone {
        /// Where.
        path: RelPath,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// It may be done, but whether it is, or survives a power cut, is not known. Nothing is lost in any case; what history
    /// lacks the next start adds.
    #[error("{path} may be changed, but the disk did not confirm it")]
    NotConfirmed {
        /// Where.
        path: RelPath,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl ChangeError {
    /// Whether it would go well with more space: a reason to pause, not to give up (I20).
    pub fn is_out_of_space(&self) -> bool {
        is_out_of_space(self.io())
    }

    /// Whether the whole batch is best tried once more: its deeds were not begun.
    pub fn is_before_any_deed(&self) -> bool {
        matches!(self, Self::NotDurable { .. })
    }

    /// Whether the system says that this user may not.
    pub fn is_denied(&self) -> bool {
        matches!(Errno::from_io_error(self.io()), Some(Errno::ACCESS | Errno::PERM | Errno::ROFS))
    }

    /// Whether the file system says that it can have no such name: too long, or of letters that it does not know.
    pub fn is_about_name(&self) -> bool {
        let is_last = |error| matches!(error, Errno::ILSEQ | Errno::NAMETOOLONG | Errno::INVAL);
        Errno::from_io_error(self.io()).is_some_and(is_last)
    }

    fn io(&self) -> &io::Error {
        let (Self::NotDurable { source, .. }
        | Self::NotDone { source, .. }
        | Self::NotConfirmed { source, .. }) = self;
        source
    }
}

impl<F: Fs> Tree<F> {
    /// Makes changes; the answers come in the order of `changes`. Waits for the disk. More than [`BATCH_FILES_MAX`] are
    /// made in several batches.
    pub fn commit(&self, changes: Vec<Change<F>>) -> Vec<Changed> {
        let mut changed = Vec::with_capacity(changes.len());
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            let batch = changes.by_ref().take(BATCH_FILES_MAX);
            let (paths, steps): (Vec<_>, Vec<_>) =
                batch.map(|change| (change.path.clone(), self.step(change))).unzip();
            let done = Batch::run(&self.folder, steps);
            changed.extend(paths.into_iter().zip(done).map(|(path, done)| answer(path, done)));
        }
        changed
    }

    fn step(&self, change: Change<F>) -> Step<F> {
        let Change { path, deed, by } = change;
        let act = match deed {
            TreeDeed::Create(staged) => Act::Place { staged, over: None },
            TreeDeed::Replace(staged, present) => Act::Place { staged, over: Some(present) },
            TreeDeed::Retouch { present, mtime, mode } => Act::Retouch { present, mtime, mode },
            TreeDeed::MakeFolder { mode, over } => {
                Act::MakeFolder { number: self.folder.numbers.draw(), mode, over }
            }
            TreeDeed::Remove(present) => Act::Remove { number: self.folder.numbers.draw(), present },
            TreeDeed::Move { to, present } => Act::Move { to: TreePath::from(&to), present },
        };
        Step { path: (&path).into(), act, by }
    }
}

fn answer(path: RelPath, done: Done) -> Changed {
    let outcome = match done {
        Done::Well { now, kept, late_edit } => TreeOutcome::Done { now, kept, late_edit },
        Done::ChangedHere { kept } => TreeOutcome::ChangedHere { kept },
        Done::NotEmpty { inside } => TreeOutcome::NotEmpty { inside },
        Done::Barred(error) => TreeOutcome::Barred(error),
        Done::Failed(certainty, source) => {
            let path = path.clone();
            TreeOutcome::Failed(match certainty {
                Certainty::Unwritten => ChangeError::NotDurable { path, source },
                Certainty::NotDone => ChangeError::NotDone { path, source },
                Certainty::Doubtful => ChangeError::NotConfirmed { path, source },
            })
        }
    };
    Changed { path, outcome }
}

#[cfg(test)]
mod cuts;
#[cfg(test)]
mod tests;
