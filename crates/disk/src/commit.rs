//! Committing batches of finished files.
//!
//! Promise: when [`Committer::commit`] returns, every file that it calls placed or adopted is in the folder and durable,
//! and so is what it displaced, in history with its name. A process killed or a machine switched off between any two
//! lines here leaves each name with its old or its new file, and the rest to the next start, which needs nobody's help
//! (I8, I17). Edits that the user makes meanwhile win.
//!
//! A batch shares the cost of waiting for the disk: list → durable → swaps → history rows → durable → list removed.
//! While one batch waits, the next can be staged by other threads. Begin at [`Batch::run`].

use std::io;
use std::sync::Arc;

use crate::batch::{ListFile, Listed, SENDER_BYTES_MAX};
use crate::dir::look_through;
use crate::durable::{self, Durability};
use crate::fault::{Point, reach};
use crate::folder::Shared;
use crate::history::Row;
use crate::name::Name;
use crate::number::Number;
use crate::scan::ReadError;
use crate::stage::{FinishedFile, is_out_of_space, set_mtime};
use crate::stat::Stat;
use crate::swap::{Swap, Swapped};

/// A batch is best closed when it has so many files; a longer one is committed in several.
pub const BATCH_FILES_MAX: usize = 1_000;

/// A batch is best closed when its files have so many bytes.
pub const BATCH_BYTES_MAX: u64 = 64 << 20;

/// Puts finished files into place. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Committer {
    folder: Arc<Shared>,
}

/// What to do with a finished file.
#[derive(Debug)]
pub struct Placement {
    /// The file; it knows its name.
    pub staged: FinishedFile,
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
    /// The file was put into place, but whether that survives a power cut is not known. Nothing is lost in either case;
    /// what history lacks the next start adds.
    #[error("{name} is in place, but the disk did not confirm it")]
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

impl Committer {
    pub(crate) fn new(folder: Arc<Shared>) -> Self {
        Self { folder }
    }

    /// Commits files; the answers come in the order of `files`. Waits for the disk.
    pub fn commit(&self, files: Vec<Placement>) -> Vec<Committed> {
        let mut committed = Vec::with_capacity(files.len());
        let mut files = files.into_iter().map(Placement::with_bounded_sender).peekable();
        while files.peek().is_some() {
            let batch = files.by_ref().take(BATCH_FILES_MAX).collect();
            committed.extend(Batch::run(&self.folder, batch));
        }
        committed
    }
}

impl Placement {
    fn with_bounded_sender(mut self) -> Self {
        self.by.truncate(self.by.floor_char_boundary(SENDER_BYTES_MAX));
        self
    }
}

/// One batch under way.
struct Batch<'a> {
    folder: &'a Shared,
    /// The file system as a whole is cheaper to sync than a batch, but not than a lone file.
    sync_all_at_once: bool,
    list: Option<ListFile>,
    rows: Vec<Row>,
    /// Something is left for the next start, which needs the list.
    unsettled: bool,
}

impl<'a> Batch<'a> {
    fn run(folder: &'a Shared, files: Vec<Placement>) -> Vec<Committed> {
        let mut batch = Self {
            folder,
            sync_all_at_once: folder.durability == Durability::WholeFileSystem && files.len() > 1,
            list: None,
            rows: Vec::new(),
            unsettled: false,
        };
        if let Err(source) = batch.prepare(&files) {
            // The staged files remove themselves; nothing else has happened.
            batch.finish();
            return fail_all(files, &Arc::new(source));
        }
        reach(Point::Durable);
        let mut committed: Vec<_> = files.into_iter().map(|file| batch.perform(file)).collect();
        match batch.settle() {
            Ok(()) => batch.note_late_edits(&mut committed),
            Err(source) => {
                batch.unsettled = true;
                unconfirm(&mut committed, &Arc::new(source));
            }
        }
        reach(Point::Settled);
        batch.finish();
        committed
    }

    /// Makes everything durable that the swaps rely on.
    fn prepare(&mut self, files: &[Placement]) -> io::Result<()> {
        let listed: Vec<_> = files.iter().filter_map(listed).collect();
        if !listed.is_empty() {
            self.list = Some(ListFile::write(self.folder, &listed)?);
        }
        reach(Point::Listed);
        if self.sync_all_at_once {
            return durable::sync_file_system(&self.folder.root);
        }
        if self.folder.durability == Durability::WholeFileSystem {
            files.iter().try_for_each(|file| self.sync_staged(file))?;
        }
        if let Some(list) = &self.list {
            list.sync()?;
        }
        self.folder.staging.sync()
    }

    /// Staged files are closed by now. Syncing a new handle writes the same pages, and reports an earlier failure as
    /// long as the file is in memory, which a file written a moment ago is.
    fn sync_staged(&self, file: &Placement) -> io::Result<()> {
        if matches!(file.deed, Deed::Adopt(_)) {
            return Ok(());
        }
        match file.staged.slot.open() {
            Ok(handle) => handle.sync_all(),
            // Its own permissions can keep us from opening it again.
            Err(_) => durable::sync_file_system(&self.folder.root),
        }
    }

    fn perform(&mut self, file: Placement) -> Committed {
        let Placement { staged: FinishedFile { slot, stat: ours }, deed, by } = file;
        let expected = match deed {
            Deed::Create => None,
            Deed::Replace(expected) => Some(expected),
            Deed::Adopt(present) => {
                // The slot removes itself.
                return Committed {
                    name: slot.name.clone(),
                    outcome: self.adopt(&slot.name, &ours, &present),
                };
            }
        };
        let (number, name) = slot.hand_over();
        let swap = Swap { folder: self.folder, number, name: &name, ours: &ours };
        let outcome = match swap.perform(expected.as_ref()) {
            Ok(Swapped::New) => {
                Outcome::Placed { stat: self.placed(&name, &ours), kept: None, late_edit: false }
            }
            Ok(Swapped::Replaced(displaced)) => {
                // Looked at before anything else, to be as close to the swap as can be.
                let stat = self.placed(&name, &ours);
                self.record(number, &displaced, &name, by);
                Outcome::Placed { stat, kept: Some(number.0), late_edit: false }
            }
            Ok(Swapped::ChangedHere(displaced)) => {
                if let Some(displaced) = displaced {
                    self.record(number, &displaced, &name, by);
                }
                Outcome::ChangedHere { kept: displaced.map(|_| number.0) }
            }
            Err(error) => {
                self.unsettled |= error.unsettled;
                let source = Arc::new(error.source);
                Outcome::Failed(CommitError::NotPlaced { name: name.clone(), source })
            }
        };
        Committed { name, outcome }
    }

    /// What our file is under its name. The rename gave it a new change time, so it has to be looked at again; if the
    /// user has it changed already, what is told is what we wrote, and his change shows as a difference from that.
    fn placed(&self, name: &Name, ours: &Stat) -> Stat {
        match self.folder.root.look(name.as_os_str()) {
            Ok(Some(seen)) => match seen.file() {
                Some(now) if now.same_apart_from_rename(ours) => *now,
                _ => *ours,
            },
            _ => *ours,
        }
    }

    fn adopt(&self, name: &Name, ours: &Stat, present: &Stat) -> Outcome {
        let adopted = || -> Result<Option<Stat>, ReadError> {
            let io_error = |source| ReadError::Io { name: name.clone(), source };
            let (file, seen) = self.folder.open_regular(name)?;
            if !seen.same_version(present) {
                return Ok(None);
            }
            set_mtime(&file, ours.mtime).map_err(io_error)?;
            if !self.sync_all_at_once {
                file.sync_all().map_err(io_error)?;
            }
            Ok(Some(look_through(&file).map_err(io_error)?.stat))
        };
        match adopted() {
            Ok(Some(stat)) => Outcome::Adopted { stat },
            Ok(None) | Err(ReadError::Missing { .. } | ReadError::NotRegular { .. }) => {
                Outcome::ChangedHere { kept: None }
            }
            Err(ReadError::Io { name, source }) => {
                Outcome::Failed(CommitError::NotPlaced { name, source: Arc::new(source) })
            }
        }
    }

    fn record(&mut self, number: Number, displaced: &Stat, name: &Name, by: String) {
        // The list has the time of the disk's own clock, and recovery would take the same.
        let filed = self.list.as_ref().map_or(0, |list| list.written);
        let Stat { size, mtime, .. } = *displaced;
        self.rows.push(Row { number, filed, size, mtime, by, name: name.clone() });
    }

    /// Makes durable what the swaps have done.
    fn settle(&self) -> io::Result<()> {
        reach(Point::Filed);
        let table = self.folder.append_rows(&self.rows)?;
        reach(Point::Recorded);
        if self.sync_all_at_once {
            return durable::sync_file_system(&self.folder.root);
        }
        if let Some(table) = table {
            table.sync_all()?;
            self.folder.history.sync()?;
        }
        self.folder.root.sync()?;
        self.folder.staging.sync()
    }

    /// The second look at what was displaced (E17).
    fn note_late_edits(&self, committed: &mut [Committed]) {
        for Committed { outcome, .. } in committed {
            if let Outcome::Placed { kept: Some(number), late_edit, .. } = outcome {
                let row = self.rows.iter().find(|row| row.number.0 == *number);
                let now = self.folder.history.look(Number(*number).file_name().as_ref()).ok().flatten();
                if let (Some(row), Some(now)) = (row, now) {
                    *late_edit = (row.size, row.mtime) != (now.stat.size, now.stat.mtime);
                }
            }
        }
    }

    fn finish(self) {
        match self.list {
            Some(list) if !self.unsettled => list.remove(self.folder),
            _ => {}
        }
    }
}

/// What the list of a batch says of one file; nothing if it displaces nothing.
fn listed(file: &Placement) -> Option<Listed> {
    match file.deed {
        Deed::Create | Deed::Adopt(_) => None,
        Deed::Replace(_) => Some(Listed {
            number: file.staged.slot.number,
            ours: (&file.staged.stat).into(),
            by: file.by.clone(),
            name: file.staged.slot.name.clone(),
        }),
    }
}

fn fail_all(files: Vec<Placement>, source: &Arc<io::Error>) -> Vec<Committed> {
    let fail = |file: Placement| {
        let name = file.staged.slot.name.clone();
        let error = CommitError::NotDurable { name: name.clone(), source: Arc::clone(source) };
        Committed { name, outcome: Outcome::Failed(error) }
    };
    files.into_iter().map(fail).collect()
}

fn unconfirm(committed: &mut [Committed], source: &Arc<io::Error>) {
    for Committed { name, outcome } in committed {
        if matches!(outcome, Outcome::Placed { .. } | Outcome::Adopted { .. }) {
            let error = CommitError::NotConfirmed { name: name.clone(), source: Arc::clone(source) };
            *outcome = Outcome::Failed(error);
        }
    }
}

#[cfg(test)]
mod tests;
