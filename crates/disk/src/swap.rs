//! Putting one finished thing into its place, or taking one away, without ever losing what was there.
//!
//! Promise: the name always holds a complete file, old or new (I8). What the swap displaced is looked at afterwards,
//! when nobody can put anything else in its place: if it is what the swap was planned against it goes to history, and if
//! it is anything newer, the user's, it is put back. Whatever comes out of the folder on any of these ways and is not
//! ours ends in history; if even that fails it stays in its slot, where the next start finds it by the batch's list.
//!
//! A folder is displaced only if it is empty, and then nothing of it is kept.

use std::ffi::OsStr;
use std::io;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use crate::durable::sync_names;
use crate::escape::Escaped;
use crate::fault::{Point, reach};
use crate::folder::Shared;
use crate::fs::{Fs, FsDir, FsFile};
use crate::number::Number;
use crate::stat::{Expected, Kind, Look, Stat};

/// Of what is in a folder that was to be empty so many names are told.
pub const INSIDE_TOLD_MAX: usize = 16;

/// What became of a swap.
#[derive(Clone, Debug)]
pub(crate) enum Swapped {
    /// Ours has the name; nothing was displaced but perhaps an empty folder.
    New,
    /// Ours has the name, or nothing has; what it displaced is in history under the number, and was seen as this.
    Replaced(Stat),
    /// The name was not, or did not stay, what was expected. Ours is removed. If something of the user's was displaced
    /// and could not go back, it is in history under the number, and was seen as this.
    ChangedHere(Option<Stat>),
    /// The folder that has the name is not empty: some names in it, escaped. Ours is removed.
    NotEmpty(Vec<String>),
}

/// The system refused a step.
#[derive(Debug)]
pub(crate) struct SwapError {
    pub(crate) source: io::Error,
    /// The slot may hold something of the user's: its list must stay for the next start.
    pub(crate) unsettled: bool,
}

/// A slot and a name in an open folder, about to change places.
pub(crate) struct Swap<'a, F: Fs> {
    pub(crate) folder: &'a Shared<F>,
    pub(crate) number: Number,
    pub(crate) dir: &'a F::Dir,
    pub(crate) name: &'a OsStr,
    /// What we have put into the slot; `None` if there is nothing in it.
    pub(crate) ours: Option<&'a Look>,
}

type SwapResult = Result<Swapped, SwapError>;

impl<F: Fs> Swap<'_, F> {
    /// Gives ours the name, if the name still is what was `expected`: absent, or this.
    pub(crate) fn perform(&self, expected: Option<&Expected>) -> SwapResult {
        let present = match self.dir.look(self.name) {
            Ok(present) => present,
            Err(error) => return self.give_up(error),
        };
        let as_expected = match (&present, expected) {
            (None, None) => true,
            (Some(present), Some(expected)) => expected.is_met_by(present),
            _ => false,
        };
        if !as_expected {
            return self.changed_here();
        }
        reach(Point::Checked);
        match &present {
            None => self.take_free_name(),
            Some(present) if present.kind == Kind::Folder => self.replace_folder(present),
            Some(present) => self.replace(present),
        }
    }

    /// Takes what has the name away, if it still is the file or link that was `expected`.
    pub(crate) fn take_away(&self, expected: &Expected) -> SwapResult {
        let present = match self.dir.look(self.name) {
            Ok(Some(present)) if expected.is_met_by(&present) => present,
            Ok(_) => return self.changed_here(),
            Err(error) => return self.give_up(error),
        };
        reach(Point::Checked);
        let slot = self.number.file_name();
        let taken = match self.free_rename(self.dir, self.name, &self.folder.staging, slot.as_ref()) {
            // The number was drawn for this deed alone, so that nothing can be there to be replaced.
            Err(error) if lacks_flags(&error) => {
                self.dir.move_over(self.name, &self.folder.staging, slot.as_ref())
            }
            other => other,
        };
        match taken {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.changed_here(),
            Err(error) => return self.give_up(error),
        }
        reach(Point::Swapped);
        let displaced = self.in_slot()?;
        if !displaced.same_apart_from_rename(&present) {
            return self.return_taken();
        }
        match self.folder.file_away(self.number, &displaced) {
            Ok(()) => Ok(Swapped::Replaced(displaced.stat)),
            Err(source) => {
                let undone = matches!(self.return_taken()?, Swapped::ChangedHere(None));
                Err(SwapError { source, unsettled: !undone })
            }
        }
    }

    /// Undoes a taking away, unless the user has given the name to something else since.
    fn return_taken(&self) -> SwapResult {
        let slot = self.number.file_name();
        let (staging, slot) = (&self.folder.staging, slot.as_ref());
        let returned = match self.free_rename(staging, slot, self.dir, self.name) {
            Err(error) if lacks_flags(&error) => match self.dir.look(self.name) {
                Ok(None) => staging.move_over(slot, self.dir, self.name),
                Ok(Some(_)) => Err(Errno::EXIST.into()),
                Err(error) => Err(error),
            },
            other => other,
        };
        match returned {
            Ok(()) => Ok(Swapped::ChangedHere(None)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.keep_slot(),
            Err(source) => Err(SwapError { source, unsettled: true }),
        }
    }

    /// A rename to a free name, with `EINVAL` at once where that is known not to be there.
    fn free_rename(&self, from_dir: &F::Dir, from: &OsStr, to_dir: &F::Dir, to: &OsStr) -> io::Result<()> {
        if self.folder.has_plain_renames() {
            return Err(Errno::INVAL.into());
        }
        let moved = from_dir.move_to_free(from, to_dir, to);
        if moved.as_ref().is_err_and(lacks_flags) {
            self.folder.plain_renames.store(true, Ordering::Relaxed);
        }
        moved
    }

    fn take_free_name(&self) -> SwapResult {
        let slot = self.number.file_name();
        match self.free_rename(&self.folder.staging, slot.as_ref(), self.dir, self.name) {
            Ok(()) => Ok(Swapped::New),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.changed_here(),
            Err(error) if lacks_flags(&error) => self.link_to_free_name(),
            Err(error) => self.give_up(error),
        }
    }

    /// A link does not replace anything either.
    fn link_to_free_name(&self) -> SwapResult {
        let staging = &self.folder.staging;
        let slot = self.number.file_name();
        match staging.link(slot.as_ref(), self.dir, self.name) {
            Ok(()) => {
                // Should the slot stay, it is a second name of the same file, and the next start removes it.
                let _ = staging.remove(slot.as_ref());
                Ok(Swapped::New)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.changed_here(),
            // A file system with neither, or a folder: nothing is left but to rename at once after having looked.
            Err(error) if lacks_links(&error) => {
                match staging.move_over(slot.as_ref(), self.dir, self.name) {
                    Ok(()) => Ok(Swapped::New),
                    Err(error) => self.give_up(error),
                }
            }
            Err(error) => self.give_up(error),
        }
    }

    fn replace(&self, present: &Look) -> SwapResult {
        if self.folder.has_plain_renames() {
            return self.replace_without_exchange(present);
        }
        match self.exchange() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.changed_here(),
            Err(error) if lacks_flags(&error) => {
                self.folder.plain_renames.store(true, Ordering::Relaxed);
                return self.replace_without_exchange(present);
            }
            Err(error) => return self.give_up(error),
        }
        reach(Point::Swapped);
        let displaced = self.in_slot()?;
        if !displaced.same_apart_from_rename(present) {
            return self.put_back();
        }
        match self.folder.file_away(self.number, &displaced) {
            Ok(()) => Ok(Swapped::Replaced(displaced.stat)),
            Err(source) => {
                let undone = matches!(self.put_back()?, Swapped::ChangedHere(None));
                Err(SwapError { source, unsettled: !undone })
            }
        }
    }

    /// An empty folder gives way; what was taken out of it is durable elsewhere before its name goes.
    fn replace_folder(&self, present: &Look) -> SwapResult {
        match vacant(self.dir, self.name, present) {
            Ok(Vacancy::Empty(opened)) => {
                if let Err(error) = sync_names(&opened) {
                    return self.give_up(error);
                }
            }
            Ok(Vacancy::Holds(inside)) => {
                self.remove_ours();
                return Ok(Swapped::NotEmpty(inside));
            }
            Ok(Vacancy::Gone) => return self.changed_here(),
            Err(error) => return self.give_up(error),
        }
        if self.folder.has_plain_renames() {
            return self.replace_folder_without_exchange(present);
        }
        match self.exchange() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.changed_here(),
            Err(error) if lacks_flags(&error) => {
                self.folder.plain_renames.store(true, Ordering::Relaxed);
                return self.replace_folder_without_exchange(present);
            }
            // File systems of layers can remove a folder of the lower one, and not rename it.
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                return self.replace_folder_without_exchange(present);
            }
            Err(error) => return self.give_up(error),
        }
        reach(Point::Swapped);
        let displaced = self.in_slot()?;
        if !displaced.is_same_thing(present) {
            return self.put_back();
        }
        match self.folder.staging.remove_dir(self.number.file_name().as_ref()) {
            Ok(()) => Ok(Swapped::New),
            // Something was put into it meanwhile.
            Err(_) => self.put_back(),
        }
    }

    /// Without an exchange the name is nobody's for a moment: a file cannot be renamed over a folder. If ours does not come
    /// there, an empty folder with the same permissions does again.
    fn replace_folder_without_exchange(&self, present: &Look) -> SwapResult {
        match self.dir.remove_dir(self.name) {
            Ok(()) => {}
            Err(error) if is_change_of_user(&error) => return self.changed_here(),
            Err(error) => return self.give_up(error),
        }
        self.take_free_name().map_err(|SwapError { source, unsettled }| {
            let returned = self.make_folder_again(present);
            SwapError { source, unsettled: unsettled || returned.is_err() }
        })
    }

    fn make_folder_again(&self, present: &Look) -> io::Result<()> {
        self.dir.make_dir_with(self.name, present.stat.mode)?;
        self.dir.enter(self.name)?.set_mode(present.stat.mode)
    }

    /// Undoes an exchange that displaced the user's newer edit.
    fn put_back(&self) -> SwapResult {
        match self.exchange() {
            Ok(()) => {}
            // The user has removed the name since; what was displaced was his last version of it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.keep_slot(),
            Err(source) => return Err(SwapError { source, unsettled: true }),
        }
        reach(Point::PutBack);
        let came_out = self.in_slot()?;
        if self.ours.is_some_and(|ours| came_out.same_apart_from_rename(ours)) && self.remove_ours() {
            return Ok(Swapped::ChangedHere(None));
        }
        // The user has replaced or edited ours since, so that is the newest and belongs into the folder; what he had
        // before goes to history. Should he have been quicker once more, then that does: nothing is lost either way.
        match self.exchange() {
            Ok(()) => self.keep_slot(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.keep_slot(),
            Err(source) => Err(SwapError { source, unsettled: true }),
        }
    }

    /// For file systems that cannot exchange: the old file gets its second name in history first, or a copy where there
    /// are no links, then ours is renamed over it. What cannot be excluded here is that the user renames another file
    /// over the name between our last look and our rename, a few microseconds; edits in place are in what was linked.
    fn replace_without_exchange(&self, present: &Look) -> SwapResult {
        let Shared { staging, history, .. } = self.folder;
        let slot = self.number.file_name();
        let linked = if present.stat.nlink > 1 {
            Err(Errno::MLINK.into())
        } else {
            // Durable before ours is renamed over the only other name of it, for the same reason as a copy is.
            self.dir.link(self.name, history, slot.as_ref()).and_then(|()| sync_names(history))
        };
        let linked = match linked {
            Err(error) if lacks_links(&error) => match self.dir.look(self.name) {
                Ok(Some(present)) => self.folder.copy_away(self.dir, self.name, self.number, &present),
                Ok(None) => return self.changed_here(),
                Err(error) => Err(error),
            },
            other => other,
        };
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.changed_here(),
            Err(error) => return self.give_up(error),
        }
        reach(Point::Linked);
        let unchanged = |seen: Option<Look>| seen.filter(|seen| seen.same_apart_from_rename(present));
        let Some(displaced) = self.dir.look(self.name).map(unchanged).unwrap_or_default() else {
            // What was linked is the user's; it costs nothing to keep it.
            let kept = history.look(slot.as_ref()).ok().flatten().map(|seen| seen.stat);
            return self.changed_here().map(|_| Swapped::ChangedHere(kept));
        };
        let is_folder = self.ours.is_some_and(|ours| ours.kind == Kind::Folder);
        // A folder cannot be renamed over a file: the name is nobody's for a moment.
        if is_folder && let Err(error) = self.dir.remove(self.name) {
            return self.give_up(error);
        }
        match staging.move_over(slot.as_ref(), self.dir, self.name) {
            Ok(()) => Ok(Swapped::Replaced(displaced.stat)),
            Err(source) if is_folder => {
                self.remove_ours();
                let returned = history.move_over(slot.as_ref(), self.dir, self.name);
                Err(SwapError { source, unsettled: returned.is_err() })
            }
            Err(error) => self.give_up(error),
        }
    }

    /// Files what is in the slot, which is the user's, in history.
    fn keep_slot(&self) -> SwapResult {
        let displaced = self.in_slot()?;
        match self.folder.file_away(self.number, &displaced) {
            Ok(()) => Ok(Swapped::ChangedHere(Some(displaced.stat))),
            Err(source) => Err(SwapError { source, unsettled: true }),
        }
    }

    fn exchange(&self) -> io::Result<()> {
        self.folder.staging.exchange(self.number.file_name().as_ref(), self.dir, self.name)
    }

    fn in_slot(&self) -> Result<Look, SwapError> {
        match self.folder.staging.look(self.number.file_name().as_ref()) {
            Ok(Some(seen)) => Ok(seen),
            Ok(None) => Err(SwapError { source: Errno::NOENT.into(), unsettled: true }),
            Err(source) => Err(SwapError { source, unsettled: true }),
        }
    }

    fn changed_here(&self) -> SwapResult {
        self.remove_ours();
        Ok(Swapped::ChangedHere(None))
    }

    fn give_up(&self, source: io::Error) -> SwapResult {
        self.remove_ours();
        Err(SwapError { source, unsettled: false })
    }

    /// Called only where the slot is known to hold our own, or nothing. If it cannot be removed, the next start does it,
    /// unless the user has put something into a folder of ours, and the answer is `false`.
    fn remove_ours(&self) -> bool {
        let (staging, slot) = (&self.folder.staging, self.number.file_name());
        match self.ours {
            None => true,
            Some(Look { kind: Kind::Folder, .. }) => staging.remove_dir(slot.as_ref()).is_ok(),
            Some(_) => {
                let _ = staging.remove(slot.as_ref());
                true
            }
        }
    }
}

/// What was found in a folder that was to be empty.
pub(crate) enum Vacancy<D> {
    /// Nothing.
    Empty(D),
    /// Some of the names in it, escaped.
    Holds(Vec<String>),
    /// The folder is no longer there, or another one.
    Gone,
}

/// Looks into the folder that was seen under a name.
pub(crate) fn vacant<D: FsDir>(dir: &D, name: &OsStr, seen: &Look) -> io::Result<Vacancy<D>> {
    let opened = match dir.enter(name) {
        Ok(opened) => opened,
        Err(error) if is_change_of_user(&error) => return Ok(Vacancy::Gone),
        Err(error) => return Err(error),
    };
    if !opened.look_through()?.is_same_thing(seen) {
        return Ok(Vacancy::Gone);
    }
    let mut inside = Vec::new();
    opened.for_each(|name, _| {
        if inside.len() < INSIDE_TOLD_MAX {
            inside.push(Escaped(name.as_encoded_bytes()).to_string());
        }
    })?;
    Ok(if inside.is_empty() { Vacancy::Empty(opened) } else { Vacancy::Holds(inside) })
}

/// Whether a folder could not be opened or removed because it has become something else, or no longer is empty.
pub(crate) fn is_change_of_user(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NOTEMPTY | Errno::EXIST)
    )
}

impl<F: Fs> Shared<F> {
    /// Moves what is in a slot into history, under the same number.
    ///
    /// A file with other names is copied: an edit through one of those would change the kept version too (E16).
    pub(crate) fn file_away(&self, number: Number, displaced: &Look) -> io::Result<()> {
        let slot = number.file_name();
        if displaced.kind != Kind::Folder
            && displaced.stat.nlink > 1
            && self.copy_away(&self.staging, slot.as_ref(), number, displaced).is_ok()
        {
            return self.staging.remove(slot.as_ref());
        }
        let moved = if self.has_plain_renames() {
            Err(Errno::INVAL.into())
        } else {
            self.staging.move_to_free(slot.as_ref(), &self.history, slot.as_ref())
        };
        match moved {
            // The number was drawn for this file alone, so that nothing can be there to be replaced.
            Err(error) if lacks_flags(&error) => {
                self.staging.move_over(slot.as_ref(), &self.history, slot.as_ref())
            }
            other => other,
        }
    }

    /// Copies a file into history with its time, through a slot, so that no part of a copy ever has the number.
    fn copy_away(&self, from: &F::Dir, name: &OsStr, number: Number, seen: &Look) -> io::Result<()> {
        let slot = self.numbers.draw().file_name();
        let copy_link = || {
            self.staging.symlink(&from.read_link(name)?, slot.as_ref())?;
            self.staging.set_link_mtime(slot.as_ref(), seen.stat.mtime)
        };
        let copy_file = || {
            let mut source = from.open_file(name)?;
            let mut target = self.staging.create_new(slot.as_ref())?;
            io::copy(&mut source, &mut target)?;
            target.set_mode(seen.stat.mode & 0o777)?;
            target.set_mtime(seen.stat.mtime)?;
            target.sync()?;
            if !source.look_through()?.stat.same_version(&seen.stat) {
                return Err(io::Error::from(io::ErrorKind::ResourceBusy));
            }
            Ok(())
        };
        let copy = || {
            match seen.kind {
                Kind::Symlink => copy_link()?,
                _ => copy_file()?,
            }
            self.staging.move_over(slot.as_ref(), &self.history, number.file_name().as_ref())?;
            // The caller is about to give the original up, by a change of other names: nothing but this keeps a power
            // cut from letting that one reach the disk alone.
            sync_names(&self.history)
        };
        copy().inspect_err(|_| drop(self.staging.remove(slot.as_ref())))
    }

    pub(crate) fn has_plain_renames(&self) -> bool {
        self.plain_renames.load(Ordering::Relaxed)
    }
}

/// Whether the file system, or an old kernel, does not know the flags of a rename.
pub(crate) fn lacks_flags(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// Whether a file cannot be given another name here.
fn lacks_links(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP | Errno::MLINK | Errno::XDEV)
    )
}
