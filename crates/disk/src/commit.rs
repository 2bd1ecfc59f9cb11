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

use rustix::io::Errno;

use crate::batch::{ListFile, Listed, SENDER_BYTES_MAX};
use crate::durable::{Durability, sync_names};
use crate::fault::{Point, reach};
use crate::folder::Shared;
use crate::fs::{Fs, FsDir, FsFile};
use crate::history::Row;
use crate::name::Name;
use crate::number::Number;
use crate::os::Os;
use crate::scan::ReadError;
use crate::stage::{FinishedFile, is_out_of_space};
use crate::stat::Stat;
use crate::swap::{Swap, Swapped};

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
        let mut files = files.into_iter().map(Placement::with_bounded_sender).peekable();
        while files.peek().is_some() {
            let batch = files.by_ref().take(BATCH_FILES_MAX).collect();
            committed.extend(Batch::run(&self.folder, batch));
        }
        committed
    }
}

impl<F: Fs> Placement<F> {
    fn with_bounded_sender(mut self) -> Self {
        self.by.truncate(self.by.floor_char_boundary(SENDER_BYTES_MAX));
        self
    }
}

/// One batch under way.
struct Batch<'a, F: Fs> {
    folder: &'a Shared<F>,
    /// The file system as a whole is cheaper to sync than a batch, but not than a lone file.
    sync_all_at_once: bool,
    /// How many syncs of the file system had failed before; see [`Shared::failed_syncs`].
    failed_syncs: u64,
    list: Option<ListFile<F>>,
    rows: Vec<Row>,
    /// Something is left for the next start, which needs the list.
    unsettled: bool,
}

impl<'a, F: Fs> Batch<'a, F> {
    fn run(folder: &'a Shared<F>, files: Vec<Placement<F>>) -> Vec<Committed> {
        let mut batch = Self {
            folder,
            sync_all_at_once: folder.durability == Durability::WholeFileSystem && files.len() > 1,
            failed_syncs: folder.failed_syncs(),
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
    fn prepare(&mut self, files: &[Placement<F>]) -> io::Result<()> {
        let listed: Vec<_> = files.iter().filter_map(listed).collect();
        if !listed.is_empty() {
            self.list = Some(ListFile::write(self.folder, &listed)?);
        }
        reach(Point::Listed);
        if self.sync_all_at_once {
            self.folder.sync_file_system()?;
            return self.require_nothing_lost(files);
        }
        if self.folder.durability == Durability::WholeFileSystem {
            files.iter().try_for_each(|file| self.sync_staged(file))?;
        }
        if let Some(list) = &self.list {
            list.sync()?;
        }
        sync_names(&self.folder.staging)?;
        self.require_nothing_lost(files)
    }

    /// A sync of the file system that failed may have been another batch's, and have lost what was staged for this one.
    fn require_nothing_lost(&self, files: &[Placement<F>]) -> io::Result<()> {
        let failed = self.folder.failed_syncs();
        match files.iter().all(|file| file.staged.slot.failed_syncs == failed) {
            true => Ok(()),
            false => Err(Errno::IO.into()),
        }
    }

    /// Staged files are closed by now. Syncing a new handle writes the same pages, and reports an earlier failure as
    /// long as the file is in memory, which a file written a moment ago is.
    fn sync_staged(&self, file: &Placement<F>) -> io::Result<()> {
        if matches!(file.deed, Deed::Adopt(_)) {
            return Ok(());
        }
        match file.staged.slot.open() {
            Ok(handle) => handle.sync(),
            // Its own permissions can keep us from opening it again.
            Err(_) => self.folder.sync_file_system(),
        }
    }

    fn perform(&mut self, file: Placement<F>) -> Committed {
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
                let (name, source) = (name.clone(), Arc::new(error.source));
                Outcome::Failed(match error.unsettled {
                    true => CommitError::NotConfirmed { name, source },
                    false => CommitError::NotPlaced { name, source },
                })
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
        let file = match self.folder.open_regular(name) {
            Ok((file, seen)) if seen.same_version(present) => file,
            Ok(_) | Err(ReadError::Missing { .. } | ReadError::NotRegular { .. }) => {
                return Outcome::ChangedHere { kept: None };
            }
            Err(ReadError::Io { name, source }) => {
                return Outcome::Failed(CommitError::NotPlaced { name, source: Arc::new(source) });
            }
        };
        if let Err(source) = file.set_mtime(ours.mtime) {
            let (name, source) = (name.clone(), Arc::new(source));
            return Outcome::Failed(CommitError::NotPlaced { name, source });
        }
        let synced = if self.sync_all_at_once { Ok(()) } else { file.sync() };
        match synced.and_then(|()| file.look_through()) {
            Ok(seen) => Outcome::Adopted { stat: seen.stat },
            Err(source) => {
                let (name, source) = (name.clone(), Arc::new(source));
                Outcome::Failed(CommitError::NotConfirmed { name, source })
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
            self.folder.sync_file_system()?;
        } else {
            if let Some(table) = table {
                table.sync()?;
                sync_names(&self.folder.history)?;
            }
            sync_names(&self.folder.root)?;
            sync_names(&self.folder.staging)?;
        }
        // One that failed meanwhile may have lost our rows.
        if self.folder.failed_syncs() == self.failed_syncs { Ok(()) } else { Err(Errno::IO.into()) }
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
fn listed<F: Fs>(file: &Placement<F>) -> Option<Listed> {
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

fn fail_all<F: Fs>(files: Vec<Placement<F>>, source: &Arc<io::Error>) -> Vec<Committed> {
    let fail = |file: Placement<F>| {
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
mod cuts;
#[cfg(test)]
mod tests;
