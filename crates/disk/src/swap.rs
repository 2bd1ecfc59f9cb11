//! Putting one finished file into its place, without ever losing what was there.
//!
//! Promise: the name always holds a complete file, old or new (I8). What the swap displaced is looked at afterwards,
//! when nobody can put anything else in its place: if it is what the swap was planned against it goes to history, and if
//! it is anything newer, the user's, it is put back. Whatever comes out of the folder on any of these ways and is not
//! ours ends in history; if even that fails it stays in its slot, where the next start finds it by the batch's list.

use std::ffi::OsStr;
use std::io;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use crate::durable::sync_names;
use crate::fault::{Point, reach};
use crate::folder::Shared;
use crate::fs::{Fs, FsDir, FsFile};
use crate::name::Name;
use crate::number::Number;
use crate::stat::{Look, Stat};

/// What became of a swap.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Swapped {
    /// Ours has the name; nothing was displaced.
    New,
    /// Ours has the name; what it displaced is in history under the number, and was seen as this.
    Replaced(Stat),
    /// The name was not, or did not stay, what was expected. Ours is removed. If something of the user's was displaced
    /// and could not go back, it is in history under the number, and was seen as this.
    ChangedHere(Option<Stat>),
}

/// The system refused a step.
#[derive(Debug)]
pub(crate) struct SwapError {
    pub(crate) source: io::Error,
    /// The slot may hold something of the user's: its list must stay for the next start.
    pub(crate) unsettled: bool,
}

/// A finished file in its slot, about to be swapped in.
pub(crate) struct Swap<'a, F: Fs> {
    pub(crate) folder: &'a Shared<F>,
    pub(crate) number: Number,
    pub(crate) name: &'a Name,
    pub(crate) ours: &'a Stat,
}

type SwapResult = Result<Swapped, SwapError>;

impl<F: Fs> Swap<'_, F> {
    /// Gives our file the name, if the name still is what was `expected`: absent, or this version of a file.
    pub(crate) fn perform(&self, expected: Option<&Stat>) -> SwapResult {
        let present = match self.folder.root.look(self.name.as_os_str()) {
            Ok(present) => present,
            Err(error) => return self.give_up(error),
        };
        let as_expected = match (&present, expected) {
            (None, None) => true,
            (Some(present), Some(expected)) => {
                present.file().is_some_and(|present| present.same_version(expected))
            }
            _ => false,
        };
        if !as_expected {
            return self.changed_here();
        }
        reach(Point::Checked);
        match expected {
            None => self.take_free_name(),
            Some(expected) => self.replace(expected),
        }
    }

    fn take_free_name(&self) -> SwapResult {
        let Shared { staging, root, .. } = self.folder;
        let (slot, name) = (self.number.file_name(), self.name.as_os_str());
        let moved = if self.folder.has_plain_renames() {
            Err(Errno::INVAL.into())
        } else {
            staging.move_to_free(slot.as_ref(), root, name)
        };
        match moved {
            Ok(()) => Ok(Swapped::New),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.changed_here(),
            Err(error) if lacks_flags(&error) => {
                self.folder.plain_renames.store(true, Ordering::Relaxed);
                self.link_to_free_name()
            }
            Err(error) => self.give_up(error),
        }
    }

    /// A link does not replace anything either.
    fn link_to_free_name(&self) -> SwapResult {
        let Shared { staging, root, .. } = self.folder;
        let (slot, name) = (self.number.file_name(), self.name.as_os_str());
        match staging.link(slot.as_ref(), root, name) {
            Ok(()) => {
                // Should the slot stay, it is a second name of the same file, and the next start removes it.
                let _ = staging.remove(slot.as_ref());
                Ok(Swapped::New)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.changed_here(),
            // A file system with neither: nothing is left but to rename at once after having looked.
            Err(error) if lacks_links(&error) => match staging.move_over(slot.as_ref(), root, name) {
                Ok(()) => Ok(Swapped::New),
                Err(error) => self.give_up(error),
            },
            Err(error) => self.give_up(error),
        }
    }

    fn replace(&self, expected: &Stat) -> SwapResult {
        if self.folder.has_plain_renames() {
            return self.replace_without_exchange(expected);
        }
        match self.exchange() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.changed_here(),
            Err(error) if lacks_flags(&error) => {
                self.folder.plain_renames.store(true, Ordering::Relaxed);
                return self.replace_without_exchange(expected);
            }
            Err(error) => return self.give_up(error),
        }
        reach(Point::Swapped);
        let displaced = self.in_slot()?;
        if !displaced.file().is_some_and(|displaced| displaced.same_apart_from_rename(expected)) {
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
        if came_out.file().is_some_and(|came_out| came_out.same_apart_from_rename(self.ours)) {
            return self.changed_here();
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
    fn replace_without_exchange(&self, expected: &Stat) -> SwapResult {
        let Shared { staging, root, .. } = self.folder;
        let (slot, name) = (self.number.file_name(), self.name.as_os_str());
        let linked = if expected.nlink > 1 {
            Err(Errno::MLINK.into())
        } else {
            // Durable before ours is renamed over the only other name of it, for the same reason as a copy is.
            root.link(name, &self.folder.history, slot.as_ref())
                .and_then(|()| sync_names(&self.folder.history))
        };
        let linked = match linked {
            Err(error) if lacks_links(&error) => match root.look(name) {
                Ok(Some(present)) => self.folder.copy_away(root, name, self.number, &present),
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
        let unchanged = |seen: Option<Look>| {
            seen.and_then(|seen| seen.file().copied()).filter(|seen| seen.same_apart_from_rename(expected))
        };
        let Some(displaced) = root.look(name).map(unchanged).unwrap_or_default() else {
            // What was linked is the user's; it costs nothing to keep it.
            let kept = self.folder.history.look(slot.as_ref()).ok().flatten().map(|seen| seen.stat);
            return self.changed_here().map(|_| Swapped::ChangedHere(kept));
        };
        match staging.move_over(slot.as_ref(), root, name) {
            Ok(()) => Ok(Swapped::Replaced(displaced)),
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
        let Shared { staging, root, .. } = self.folder;
        staging.exchange(self.number.file_name().as_ref(), root, self.name.as_os_str())
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

    /// Called only where the slot is known to hold our own file. If it cannot be removed, the next start does it.
    fn remove_ours(&self) {
        let _ = self.folder.staging.remove(self.number.file_name().as_ref());
    }
}

impl<F: Fs> Shared<F> {
    /// Moves what is in a slot into history, under the same number.
    ///
    /// A file with other names is copied: an edit through one of those would change the kept version too (E16).
    pub(crate) fn file_away(&self, number: Number, displaced: &Look) -> io::Result<()> {
        let slot = number.file_name();
        if displaced.file().is_some_and(|file| file.nlink > 1)
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
        let copy = || {
            let mut source = from.open_file(name)?;
            let mut target = self.staging.create_new(slot.as_ref())?;
            io::copy(&mut source, &mut target)?;
            target.set_mode(seen.stat.mode & 0o777)?;
            target.set_mtime(seen.stat.mtime)?;
            target.sync()?;
            if !source.look_through()?.stat.same_version(&seen.stat) {
                return Err(io::Error::from(io::ErrorKind::ResourceBusy));
            }
            self.staging.move_over(slot.as_ref(), &self.history, number.file_name().as_ref())?;
            // The caller is about to give the original up, by a change of other names: nothing but this keeps a power
            // cut from letting that one reach the disk alone.
            sync_names(&self.history)
        };
        copy().inspect_err(|_| drop(self.staging.remove(slot.as_ref())))
    }

    fn has_plain_renames(&self) -> bool {
        self.plain_renames.load(Ordering::Relaxed)
    }
}

/// Whether the file system, or an old kernel, does not know the flags of a rename.
fn lacks_flags(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// Whether a file cannot be given another name here.
fn lacks_links(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP | Errno::MLINK | Errno::XDEV)
    )
}
