//! One batch of deeds, from its list to its last sync; the flat folder and the tree are two ways to order one.
//!
//! Promise: when [`Batch::run`] returns, whatever it calls done is durable, and so is what it displaced, in history with
//! its path. A process killed or a machine switched off between any two lines here leaves each name as it was or as it
//! was to be, and the rest to the next start, which needs nobody's help (I8, I17). Edits that the user makes meanwhile
//! win.
//!
//! A batch shares the cost of waiting for the disk: list → durable → deeds, one after the other → history rows → durable →
//! list removed. Three deeds need what was done before them to be durable: a move into a folder that the same batch has
//! made waits for the folder's name, or a power cut could leave the moved thing below a name that is not there; a
//! folder's removal waits for what was taken out of it; and a file system without exchange waits as [`Swap`] says.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use crate::batch::{ListFile, Listed, SENDER_BYTES_MAX};
use crate::durable::{Durability, sync_names};
use crate::fault::{Point, reach};
use crate::folder::Shared;
use crate::fs::{Fs, FsDir, FsFile};
use crate::history::Row;
use crate::number::Number;
use crate::path::TreePath;
use crate::retouch::{Retouch, enterable};
use crate::stage::FinishedFile;
use crate::stat::{Expected, FileTime, Kind, Look, Stat};
use crate::swap::{Swap, SwapError, Swapped, Vacancy, is_change_of_user, lacks_flags, vacant};
use crate::walk::{WalkError, Walker};

/// A deed and where it is to be done.
#[derive(Debug)]
pub(crate) struct Step<F: Fs> {
    pub(crate) path: TreePath,
    pub(crate) act: Act<F>,
    /// For the history of what it displaces.
    pub(crate) by: String,
}

/// A deed, with what it was planned against.
#[derive(Debug)]
pub(crate) enum Act<F: Fs> {
    /// Puts a staged file or link under a name: free, or this.
    Place { staged: FinishedFile<F>, over: Option<Expected> },
    /// Gives what is there a time, permissions, or both.
    Retouch { present: Expected, mtime: Option<FileTime>, mode: Option<u32> },
    /// Makes a folder under a name: free, or this file or link.
    MakeFolder { number: Number, mode: u32, over: Option<Expected> },
    /// Takes a file or a link away, or an empty folder.
    Remove { number: Number, present: Expected },
    /// Gives what is there another path, which must be free.
    Move { to: TreePath, present: Expected },
}

/// How a deed ended.
#[derive(Debug)]
pub(crate) enum Done {
    /// As planned. What is there now, if anything is; the number in history of what was there before.
    Well { now: Option<Look>, kept: Option<u64>, late_edit: bool },
    /// The user has been there.
    ChangedHere { kept: Option<u64> },
    /// A folder is in the way that has something in it.
    NotEmpty { inside: Vec<String> },
    /// There is no way to the path.
    Barred(WalkError),
    /// The system refused.
    Failed(Certainty, Arc<io::Error>),
}

/// What holds after a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Certainty {
    /// Nothing reached the disk, nothing was changed; what was staged is gone.
    Unwritten,
    /// Nothing was changed.
    NotDone,
    /// It may be done or not, or be undone by a power cut.
    Doubtful,
}

/// One batch under way.
pub(crate) struct Batch<'a, F: Fs> {
    folder: &'a Shared<F>,
    walker: Walker<'a, F>,
    /// The file system as a whole is cheaper to sync than a batch, but not than a lone file.
    sync_all_at_once: bool,
    /// How many syncs of the file system had failed before; see [`Shared::failed_syncs`].
    failed_syncs: u64,
    list: Option<ListFile<F>>,
    rows: Vec<Row>,
    touched: Touched<F>,
    /// A folder has come to a name that is not durable yet.
    unsynced_folders: bool,
    /// Something was done since the last sync of the whole file system.
    unsynced: bool,
    /// Something is left for the next start, which needs the list.
    unsettled: bool,
}

impl<'a, F: Fs> Batch<'a, F> {
    /// Does the deeds in their order; the answers come in the same.
    pub(crate) fn run(folder: &'a Shared<F>, mut steps: Vec<Step<F>>) -> Vec<Done> {
        for Step { by, .. } in &mut steps {
            by.truncate(by.floor_char_boundary(SENDER_BYTES_MAX));
        }
        let mut batch = Self {
            folder,
            walker: Walker::new(folder),
            sync_all_at_once: folder.durability == Durability::WholeFileSystem && steps.len() > 1,
            failed_syncs: folder.failed_syncs(),
            list: None,
            rows: Vec::new(),
            touched: Touched::default(),
            unsynced_folders: false,
            unsynced: false,
            unsettled: false,
        };
        if let Err(source) = batch.prepare(&steps) {
            // The staged files remove themselves; nothing else has happened.
            batch.finish();
            let source = Arc::new(source);
            return steps.iter().map(|_| Done::Failed(Certainty::Unwritten, Arc::clone(&source))).collect();
        }
        reach(Point::Durable);
        let mut done: Vec<_> = steps.into_iter().map(|step| batch.perform(step)).collect();
        match batch.settle() {
            Ok(()) => batch.note_late_edits(&mut done),
            Err(source) => {
                batch.unsettled = true;
                unconfirm(&mut done, &Arc::new(source));
            }
        }
        reach(Point::Settled);
        batch.finish();
        done
    }

    /// Makes everything durable that the deeds rely on.
    fn prepare(&mut self, steps: &[Step<F>]) -> io::Result<()> {
        let listed: Vec<_> = steps.iter().filter_map(listed).collect();
        if !listed.is_empty() {
            self.list = Some(ListFile::write(self.folder, &listed)?);
        }
        reach(Point::Listed);
        if listed.is_empty() && staged(steps).next().is_none() {
            return Ok(());
        }
        if self.sync_all_at_once {
            self.folder.sync_file_system()?;
            return self.require_nothing_lost(steps);
        }
        if self.folder.durability == Durability::WholeFileSystem {
            staged(steps).try_for_each(|file| self.sync_staged(file))?;
        }
        if let Some(list) = &self.list {
            list.sync()?;
        }
        sync_names(&self.folder.staging)?;
        self.require_nothing_lost(steps)
    }

    /// A sync of the file system that failed may have been another batch's, and have lost what was staged for this one.
    fn require_nothing_lost(&self, steps: &[Step<F>]) -> io::Result<()> {
        let failed = self.folder.failed_syncs();
        match staged(steps).all(|file| file.slot.failed_syncs == failed) {
            true => Ok(()),
            false => Err(Errno::IO.into()),
        }
    }

    /// Staged files are closed by now. Syncing a new handle writes the same pages, and reports an earlier failure as
    /// long as the file is in memory, which a file written a moment ago is.
    fn sync_staged(&self, file: &FinishedFile<F>) -> io::Result<()> {
        if file.kind == Kind::Symlink {
            // A link is all in its name's folder, which is synced next, and cannot be opened.
            return Ok(());
        }
        match file.slot.open() {
            Ok(handle) => handle.sync(),
            // Its own permissions can keep us from opening it again.
            Err(_) => self.folder.sync_file_system(),
        }
    }

    fn perform(&mut self, step: Step<F>) -> Done {
        let Step { path, act, by } = step;
        let (dir, name) = match self.walker.open_parent(&path) {
            Ok(found) => found,
            // What was staged removes itself.
            Err(error) => return Done::Barred(error),
        };
        if let Err(source) = self.touched.add(&dir, self.sync_all_at_once) {
            return Done::Failed(Certainty::NotDone, Arc::new(source));
        }
        self.unsynced = true;
        match act {
            Act::Place { staged: FinishedFile { slot, kind, stat }, over } => {
                let number = slot.hand_over();
                let ours = Look { kind, uid: 0, stat };
                let swap = Swap { folder: self.folder, number, dir: &dir, name, ours: Some(&ours) };
                let swapped = swap.perform(over.as_ref());
                self.placed(swapped, &swap, &path, by)
            }
            Act::MakeFolder { mode, over: None, .. } => {
                self.unsynced_folders = true;
                make_folder(&*dir, name, mode)
            }
            Act::MakeFolder { number, mode, over: Some(over) } => {
                let ours = match self.make_staged_folder(number, mode) {
                    Ok(ours) => ours,
                    Err(source) => return Done::Failed(Certainty::NotDone, Arc::new(source)),
                };
                let swap = Swap { folder: self.folder, number, dir: &dir, name, ours: Some(&ours) };
                let swapped = swap.perform(Some(&over));
                let done = self.placed(swapped, &swap, &path, by);
                // What comes into it must not be durable in a slot.
                match self.settle_folders() {
                    Ok(()) => done,
                    Err(source) => {
                        self.unsettled = true;
                        Done::Failed(Certainty::Doubtful, Arc::new(source))
                    }
                }
            }
            Act::Retouch { present, mtime, mode } => {
                Retouch { mtime, mode, syncs: !self.sync_all_at_once }.perform(&*dir, name, &present)
            }
            Act::Remove { present, .. } if present.kind == Kind::Folder => {
                self.remove_folder(&dir, name, &present)
            }
            Act::Remove { number, present } => {
                let swap = Swap { folder: self.folder, number, dir: &dir, name, ours: None };
                let swapped = swap.take_away(&present);
                self.placed(swapped, &swap, &path, by)
            }
            Act::Move { to, present } => self.move_to(&path, &dir, name, &to, &present),
        }
    }

    /// Answers for a swap, and notes what it put into history.
    fn placed(
        &mut self,
        swapped: Result<Swapped, SwapError>,
        swap: &Swap<'_, F>,
        path: &TreePath,
        by: String,
    ) -> Done {
        let number = swap.number;
        // Looked at before anything else, to be as close to the swap as can be.
        let now = || swap.ours.map(|ours| now(swap.dir, swap.name, ours));
        match swapped {
            Ok(Swapped::New) => Done::Well { now: now(), kept: None, late_edit: false },
            Ok(Swapped::Replaced(displaced)) => {
                let now = now();
                self.record(number, &displaced, path, by);
                Done::Well { now, kept: Some(number.0), late_edit: false }
            }
            Ok(Swapped::ChangedHere(displaced)) => {
                if let Some(displaced) = displaced {
                    self.record(number, &displaced, path, by);
                }
                Done::ChangedHere { kept: displaced.map(|_| number.0) }
            }
            Ok(Swapped::NotEmpty(inside)) => Done::NotEmpty { inside },
            Err(SwapError { source, unsettled }) => {
                self.unsettled |= unsettled;
                let certainty = if unsettled { Certainty::Doubtful } else { Certainty::NotDone };
                Done::Failed(certainty, Arc::new(source))
            }
        }
    }

    /// A folder in a slot, which is to change places with a file.
    fn make_staged_folder(&self, number: Number, mode: u32) -> io::Result<Look> {
        let (staging, slot) = (&self.folder.staging, number.file_name());
        staging.make_dir(slot.as_ref())?;
        let make = || {
            let made = staging.open_dir(slot.as_ref())?;
            made.set_mode(enterable(mode))?;
            made.look_through()
        };
        make().inspect_err(|_| drop(staging.remove_dir(slot.as_ref())))
    }

    fn remove_folder(&mut self, dir: &F::Dir, name: &OsStr, present: &Expected) -> Done {
        let refused = |source| Done::Failed(Certainty::NotDone, Arc::new(source));
        let seen = match dir.look(name) {
            Ok(Some(seen)) if present.is_met_by(&seen) => seen,
            Ok(_) => return Done::ChangedHere { kept: None },
            Err(source) => return refused(source),
        };
        reach(Point::Checked);
        let opened = match vacant(dir, name, &seen) {
            Ok(Vacancy::Empty(opened)) => opened,
            Ok(Vacancy::Holds(inside)) => return Done::NotEmpty { inside },
            Ok(Vacancy::Gone) => return Done::ChangedHere { kept: None },
            Err(source) => return refused(source),
        };
        if let Err(source) = self.settle_what_left(&opened) {
            return refused(source);
        }
        match dir.remove_dir(name) {
            Ok(()) => Done::Well { now: None, kept: None, late_edit: false },
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                match vacant(dir, name, &seen) {
                    Ok(Vacancy::Holds(inside)) => Done::NotEmpty { inside },
                    _ => Done::ChangedHere { kept: None },
                }
            }
            Err(error) if is_change_of_user(&error) => Done::ChangedHere { kept: None },
            Err(source) => refused(source),
        }
    }

    /// Before a folder's name goes, what was taken out of it must be durable where it is now.
    fn settle_what_left(&mut self, opened: &F::Dir) -> io::Result<()> {
        if !self.sync_all_at_once {
            return sync_names(opened);
        }
        // One for a whole row of folders. What the user himself takes out while the row goes is in the order of the file
        // system's journal, which those that are synced as a whole all have.
        if std::mem::take(&mut self.unsynced) { self.sync_file_system() } else { Ok(()) }
    }

    fn move_to(
        &mut self,
        path: &TreePath,
        from_dir: &Arc<F::Dir>,
        from: &OsStr,
        to_path: &TreePath,
        expected: &Expected,
    ) -> Done {
        let refused = |source| Done::Failed(Certainty::NotDone, Arc::new(source));
        if to_path == path || to_path.is_below(path) {
            return refused(Errno::INVAL.into());
        }
        // Walked to before the last look, so that the look is as close to the rename as can be.
        let (to_dir, to) = match self.walker.open_parent(to_path) {
            Ok(found) => found,
            Err(error) => return Done::Barred(error),
        };
        let prepared = self
            .touched
            .add(&to_dir, self.sync_all_at_once)
            .and_then(|()| if self.unsynced_folders { self.settle_folders() } else { Ok(()) });
        if let Err(source) = prepared {
            return refused(source);
        }
        let looked = from_dir.look(from).and_then(|here| Ok((here, to_dir.look(to)?)));
        let present = match looked {
            Ok((Some(present), None)) if expected.is_met_by(&present) => present,
            Ok(_) => return Done::ChangedHere { kept: None },
            Err(source) => return refused(source),
        };
        reach(Point::Checked);
        self.unsynced = true;
        match self.rename_to_free(from_dir, from, &to_dir, to) {
            Ok(()) => {}
            Err(error) if is_change_of_user(&error) => return Done::ChangedHere { kept: None },
            Err(source) => return refused(source),
        }
        reach(Point::Swapped);
        match to_dir.look(to) {
            Ok(Some(now)) if now.same_apart_from_rename(&present) => {
                Done::Well { now: Some(now), kept: None, late_edit: false }
            }
            // The user's newer edit goes back, unless he has given the name to something else since, or taken it away:
            // then it stays where it is, under a name of the share.
            Ok(Some(_)) => match self.rename_to_free(&to_dir, to, from_dir, from) {
                Err(error) if !is_change_of_user(&error) => {
                    Done::Failed(Certainty::Doubtful, Arc::new(error))
                }
                _ => Done::ChangedHere { kept: None },
            },
            Ok(None) => Done::ChangedHere { kept: None },
            Err(source) => Done::Failed(Certainty::Doubtful, Arc::new(source)),
        }
    }

    /// Where renames know no flags, the name is looked at once more: what cannot be excluded then is that the user makes
    /// a file of that name within a few microseconds.
    fn rename_to_free(&self, from_dir: &F::Dir, from: &OsStr, to_dir: &F::Dir, to: &OsStr) -> io::Result<()> {
        if !self.folder.has_plain_renames() {
            match from_dir.move_to_free(from, to_dir, to) {
                // A folder that the user has moved below itself is refused in the same words as a flag: so here that is
                // not taken for what this file system can do.
                Err(error) if lacks_flags(&error) => {}
                result => return result,
            }
        }
        match to_dir.look(to)? {
            Some(_) => Err(Errno::EXIST.into()),
            None => from_dir.move_over(from, to_dir, to),
        }
    }

    /// Makes the names of the folders durable that this batch has made.
    fn settle_folders(&mut self) -> io::Result<()> {
        self.unsynced_folders = false;
        if self.sync_all_at_once {
            self.unsynced = false;
            return self.sync_file_system();
        }
        self.touched.sync()
    }

    fn sync_file_system(&self) -> io::Result<()> {
        self.folder.sync_file_system()?;
        self.require_no_failed_sync()
    }

    /// One that failed meanwhile may have lost what is ours.
    fn require_no_failed_sync(&self) -> io::Result<()> {
        if self.folder.failed_syncs() == self.failed_syncs { Ok(()) } else { Err(Errno::IO.into()) }
    }

    fn record(&mut self, number: Number, displaced: &Stat, path: &TreePath, by: String) {
        // The list has the time of the disk's own clock, and recovery would take the same.
        let filed = self.list.as_ref().map_or(0, |list| list.written);
        let Stat { size, mtime, .. } = *displaced;
        self.rows.push(Row { number, filed, size, mtime, by, path: path.clone() });
    }

    /// Makes durable what the deeds have done.
    fn settle(&mut self) -> io::Result<()> {
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
            self.touched.sync()?;
            sync_names(&self.folder.staging)?;
        }
        self.require_no_failed_sync()
    }

    /// The second look at what was displaced (E17).
    fn note_late_edits(&self, done: &mut [Done]) {
        for done in done {
            if let Done::Well { kept: Some(number), late_edit, .. } = done {
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

/// Makes a folder where it is to be. Were it made in a slot, a power cut could leave it there with what had come into it.
fn make_folder<D: FsDir>(dir: &D, name: &OsStr, mode: u32) -> Done {
    let wished = enterable(mode);
    match dir.make_dir_with(name, wished) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Done::ChangedHere { kept: None };
        }
        Err(source) => return Done::Failed(Certainty::NotDone, Arc::new(source)),
    }
    let finish = || {
        let made = dir.enter(name)?;
        let seen = made.look_through()?;
        if seen.stat.mode & 0o777 == wished {
            return Ok(seen);
        }
        // What a folder has from the one above it, such as its group, is the user's wish.
        made.set_mode(seen.stat.mode & 0o7000 | wished)?;
        made.look_through()
    };
    match finish() {
        Ok(seen) => Done::Well { now: Some(seen), kept: None, late_edit: false },
        Err(source) => {
            let removed = dir.remove_dir(name);
            let certainty = if removed.is_ok() { Certainty::NotDone } else { Certainty::Doubtful };
            Done::Failed(certainty, Arc::new(source))
        }
    }
}

/// What is ours under its name. The rename gave it a new change time, so it has to be looked at again; if the user has it
/// changed already, what is told is what we wrote, and his change shows as a difference from that.
fn now<D: FsDir>(dir: &D, name: &OsStr, ours: &Look) -> Look {
    match dir.look(name) {
        Ok(Some(now)) if now.same_apart_from_rename(ours) => now,
        _ => *ours,
    }
}

/// What the list of a batch says of one deed; nothing if it displaces nothing.
fn listed<F: Fs>(step: &Step<F>) -> Option<Listed> {
    let (number, ours) = match &step.act {
        Act::Place { staged, over: Some(_) } => (staged.slot.number, Some((&staged.stat).into())),
        Act::MakeFolder { number, over: Some(_), .. } => (*number, None),
        Act::Remove { number, present } if present.kind != Kind::Folder => (*number, None),
        _ => return None,
    };
    Some(Listed { number, ours, by: step.by.clone(), path: step.path.clone() })
}

fn staged<F: Fs>(steps: &[Step<F>]) -> impl Iterator<Item = &FinishedFile<F>> {
    steps.iter().filter_map(|step| match &step.act {
        Act::Place { staged, .. } => Some(staged),
        _ => None,
    })
}

fn unconfirm(done: &mut [Done], source: &Arc<io::Error>) {
    for done in done {
        if matches!(done, Done::Well { .. }) {
            *done = Done::Failed(Certainty::Doubtful, Arc::clone(source));
        }
    }
}

/// The folders in which names have changed; at most [`TOUCHED_MAX`] handles.
#[derive(Debug)]
struct Touched<F: Fs>(Vec<Arc<F::Dir>>);

impl<F: Fs> Default for Touched<F> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<F: Fs> Touched<F> {
    /// Keeps a folder to be synced, if it has to be by itself; with too many open the first is synced now.
    fn add(&mut self, dir: &Arc<F::Dir>, syncs_all_at_once: bool) -> io::Result<()> {
        if syncs_all_at_once || self.0.iter().any(|known| Arc::ptr_eq(known, dir)) {
            return Ok(());
        }
        if self.0.len() == TOUCHED_MAX {
            sync_names(&*self.0[0])?;
            self.0.remove(0);
        }
        self.0.push(Arc::clone(dir));
        Ok(())
    }

    /// Syncs them in the order in which they were first touched, so that a folder that was made is durable before what is
    /// in it.
    fn sync(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|dir| sync_names(&**dir))
    }
}

/// So many handles of folders are held to be synced together; a process may have some thousand.
const TOUCHED_MAX: usize = 128;
