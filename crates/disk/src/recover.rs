//! Clearing up what a crash has left in `.shoal/`.
//!
//! Promise: nothing that a user wrote is removed. A number on the list of a batch that holds our own file is an unused
//! copy and goes; one that holds anything else is what a swap displaced, and goes to history under its name; a number
//! on no list is an unfinished fetch. Being interrupted here does no harm: the next start does the rest (I17). What the
//! system refuses is reported and left for the next start, and the folder opens all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::batch::{self, Identity, Listed};
use crate::durable::sync_names;
use crate::fault::{Point, reach};
use crate::folder::Shared;
use crate::fs::{Fs, FsDir, FsFile};
use crate::history::Row;
use crate::number::{Number, StagingName};
use crate::path::TreePath;
use crate::stat::{Kind, Look, Stat};

/// What was found when the folder was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Files of the user's that were displaced when the process ended, now in history.
    pub restored: Vec<Restored>,
    /// How many unfinished or unused files of our own were removed.
    pub removed: u64,
    /// What could not be cleared up, as text with the name of the thing; it stays for the next start.
    pub problems: Vec<String>,
}

/// A file that was filed in history at the start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restored {
    /// Where it was, from the root of the folder.
    pub name: TreePath,
    /// Its number in history.
    pub number: u64,
}

/// Brings staging and history in order.
pub(crate) fn recover<F: Fs>(folder: &Shared<F>) -> io::Result<Recovered> {
    folder.repair_table()?;
    let (lists, slots) = left_behind(folder)?;
    for number in lists.iter().chain(&slots).copied().chain([folder.highest_kept()?]) {
        folder.numbers.skip(number);
    }
    if lists.is_empty() && slots.is_empty() {
        return Ok(Recovered::default());
    }
    let rows = folder.rows()?;
    let mut recovery = Recovery { folder, rows, slots, found: Recovered::default() };
    if !lists.is_empty()
        && let Err(error) = folder.rewrite_table(&BTreeSet::new())
    {
        // The lists know what the table may have lost, so they stay, and with them whatever they may name.
        recovery.found.problems.push(format!("cannot write the table of the history anew: {error}"));
        return Ok(recovery.found);
    }
    let mut all_read = true;
    for number in lists {
        let listed = batch::read(folder, number);
        all_read &= listed.is_ok();
        if let Err(error) = listed.and_then(|listed| recovery.work_off(number, listed)) {
            recovery.found.problems.push(format!("cannot clear up the batch {number}: {error}"));
        }
    }
    // A list that cannot be read may claim any number.
    if all_read {
        recovery.remove_unlisted();
    }
    sync_names(&folder.staging)?;
    Ok(recovery.found)
}

fn left_behind<F: Fs>(folder: &Shared<F>) -> io::Result<(BTreeSet<Number>, BTreeSet<Number>)> {
    let (mut lists, mut slots) = (BTreeSet::new(), BTreeSet::new());
    folder.staging.for_each(|name, _| {
        match StagingName::parse(name) {
            Some(StagingName::List(number)) => lists.insert(number),
            Some(StagingName::Slot(number)) => slots.insert(number),
            // Not made by us; nobody's business.
            None => false,
        };
    })?;
    Ok((lists, slots))
}

struct Recovery<'a, F: Fs> {
    folder: &'a Shared<F>,
    rows: BTreeMap<Number, Row>,
    /// Numbers in staging that no list has claimed so far.
    slots: BTreeSet<Number>,
    found: Recovered,
}

impl<F: Fs> Recovery<'_, F> {
    /// Settles everything on one list, then removes it. Its numbers are claimed first, come what may.
    fn work_off(&mut self, list: Number, listed: Option<(i64, Vec<Listed>)>) -> io::Result<()> {
        let Some((written, listed)) = listed else {
            // Without its end it was never durable, so nothing on it was swapped.
            return self.folder.staging.remove(list.list_name().as_ref());
        };
        let claimed: BTreeSet<_> = listed.iter().map(|listed| listed.number).collect();
        self.slots.retain(|slot| !claimed.contains(slot));
        let mut rows = Vec::new();
        for listed in listed {
            if let Some((number, stat)) = self.settle(&listed)? {
                let Listed { by, path, .. } = listed;
                self.found.restored.push(Restored { name: path.clone(), number: number.0 });
                rows.push(Row { number, filed: written, size: stat.size, mtime: stat.mtime, by, path });
            }
        }
        reach(Point::Filed);
        if let Some(table) = self.folder.append_rows(&rows)? {
            table.sync()?;
        }
        reach(Point::Recorded);
        sync_names(&self.folder.history)?;
        sync_names(&self.folder.staging)?;
        self.folder.staging.remove(list.list_name().as_ref())
    }

    /// Sees to one number; returns what lacks a line in the history table.
    fn settle(&mut self, listed: &Listed) -> io::Result<Option<(Number, Stat)>> {
        let Shared { staging, history, .. } = self.folder;
        let number = listed.number;
        if let Some(seen) = staging.look(number.file_name().as_ref())? {
            if self.removes(number, &seen, listed.ours.as_ref())? {
                self.found.removed += 1;
            } else {
                return self.file_away(number, &seen).map(Some);
            }
        }
        // It may have reached the history, but not its table.
        match history.look(number.file_name().as_ref())? {
            Some(kept) if !self.rows.contains_key(&number) => Ok(Some((number, kept.stat))),
            _ => Ok(None),
        }
    }

    /// Removes what is in a slot if nothing is lost with it: our own, or an empty folder, whosever.
    fn removes(&self, number: Number, seen: &Look, ours: Option<&Identity>) -> io::Result<bool> {
        let (staging, name) = (&self.folder.staging, number.file_name());
        match seen.kind {
            Kind::Folder => match staging.remove_dir(name.as_ref()) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
                Err(error) => Err(error),
            },
            Kind::File | Kind::Symlink if ours == Some(&(&seen.stat).into()) => {
                staging.remove(name.as_ref()).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// Files the user's version in history: under its number, or, if a copy of it was made there already, another.
    fn file_away(&self, number: Number, seen: &Look) -> io::Result<(Number, Stat)> {
        let Shared { staging, history, numbers, .. } = self.folder;
        let free = history.look(number.file_name().as_ref())?.is_none();
        let target = if free { number } else { numbers.draw() };
        staging.move_over(number.file_name().as_ref(), history, target.file_name().as_ref())?;
        Ok((target, seen.stat))
    }

    fn remove_unlisted(&mut self) {
        for slot in std::mem::take(&mut self.slots) {
            let (staging, name) = (&self.folder.staging, slot.file_name());
            let removed = match staging.look(name.as_ref()) {
                Ok(Some(seen)) if seen.kind == Kind::Folder => staging.remove_dir(name.as_ref()),
                _ => staging.remove(name.as_ref()),
            };
            match removed {
                Ok(()) => self.found.removed += 1,
                Err(error) => {
                    self.found.problems.push(format!("cannot remove the staged file {slot}: {error}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
