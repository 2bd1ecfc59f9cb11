//! Looking at single paths after something has happened there ([`Looks`](super::looks::Looks) says when).
//!
//! Promise: what the disk shows is compared with what the index holds; a difference is a finding, which the index is asked
//! about once more when it is noted. Where we have just put something ourselves the index needs not be asked first.

use std::collections::BTreeSet;

use shoal_proto::here::{Here, Triple};
use shoal_proto::path::RelPath;

use super::sweep::{Finding, replaces_folder};
use super::{Share, Waiting};
use crate::disk::{self, Look};
use crate::index;
use crate::limits::{EMPTIED_DELAY, LOOKS_MAX, RETRY_MAX, TAKE_PATHS_MAX};

#[derive(Debug)]
pub(super) struct Looking {
    pub(super) number: u64,
    pub(super) paths: Vec<(RelPath, bool)>,
    shown: Option<Vec<Look>>,
    /// What the index holds of each path, once it has answered for those that it was asked for.
    held: Vec<Option<Here>>,
    asked: Option<Vec<usize>>,
}

impl Share {
    pub(super) fn look_on(&mut self) {
        if self.scanner.looking.is_some() {
            return;
        }
        let (mut paths, mut held, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        for (path, is_forced) in self.scanner.looks.take_due(self.now.time, TAKE_PATHS_MAX) {
            // What we are doing there is told of too, and may be all of it.
            if !is_forced && self.passes_over(&path) {
                continue;
            }
            let placed = self.scanner.placed.remove(&path);
            if placed.is_none() {
                asked.push(paths.len());
            }
            paths.push((path, is_forced));
            held.push(placed);
        }
        if paths.is_empty() {
            return;
        }
        self.scanner.number += 1;
        let number = self.scanner.number;
        let names: Vec<_> = paths.iter().map(|(path, _)| path.clone()).collect();
        let unknown: Vec<_> = asked.iter().map(|at| names[*at].clone()).collect();
        let asked = (!asked.is_empty()).then_some(asked);
        self.scanner.looking = Some(Looking { number, paths, shown: None, held, asked });
        self.disk(Waiting::LookDisk(number), disk::Job::Look(names));
        if !unknown.is_empty() {
            self.index(Waiting::LookIndex(number), index::Job::Triples(unknown));
        }
    }

    pub(super) fn looked(&mut self, number: u64, looks: Vec<Look>) {
        if let Some(looking) = self.scanner.looking.as_mut().filter(|looking| looking.number == number) {
            looking.shown = Some(looks);
        }
        self.compare_looks();
    }

    pub(super) fn looked_up(&mut self, number: u64, rows: Vec<Option<Triple>>) {
        if let Some(looking) = self.scanner.looking.as_mut().filter(|looking| looking.number == number) {
            for (at, row) in looking.asked.take().unwrap_or_default().into_iter().zip(rows) {
                looking.held[at] = row.and_then(|row| row.here);
            }
        }
        self.compare_looks();
    }

    pub(super) fn look_failed(&mut self, number: u64) {
        if let Some(looking) = self.scanner.looking.take_if(|looking| looking.number == number) {
            let at = self.now.time.after(RETRY_MAX);
            looking.paths.into_iter().for_each(|(path, is_forced)| self.scanner.look(path, at, is_forced));
        }
    }

    fn compare_looks(&mut self) {
        let is_known = |looking: &mut Looking| looking.shown.is_some() && looking.asked.is_none();
        let Some(looking) = self.scanner.looking.take_if(is_known) else { return };
        let shown = looking.shown.unwrap_or_default();
        let mut new_folders = BTreeSet::new();
        for (((path, is_forced), look), here) in looking.paths.into_iter().zip(shown).zip(looking.held) {
            self.scanner.was_looked_at(&path);
            let was_unknown = self.scanner.unknown.remove(&path).is_some();
            self.scanner.gone.forget(&path);
            let was_folder = here.as_ref().is_some_and(is_folder);
            if !matches!(look, Look::Seen(_)) {
                self.scanner.emptied.remove(&path);
            }
            match look {
                Look::Seen(seen) => {
                    if here.as_ref().is_some_and(|here| replaces_folder(here, &seen)) {
                        // A sweep takes it together with what was in the folder.
                        match path.parent() {
                            Some(folder) => self.scanner.want_below(folder),
                            None => self.scanner.want_all(),
                        }
                        continue;
                    }
                    let is_folder = seen.kind == disk::SeenKind::Directory;
                    if is_folder && here.is_none() {
                        new_folders.insert(seen.inode);
                    }
                    if is_folder != was_folder || is_folder && was_unknown {
                        // What is in a new folder, or was in one that is none any more, nobody has told of.
                        self.scanner.want_below(path.clone());
                    }
                    if !is_forced && self.is_emptied_just_now(&path, here.as_ref(), &seen) {
                        continue;
                    }
                    let compared = here.clone();
                    let found = Finding::new(path.clone(), here, Some(seen.clone()));
                    let forced = || Finding::of(path.clone(), compared, Some(seen));
                    match found.or_else(|| is_forced.then(forced)) {
                        Some(found) => self.found(found),
                        None => {
                            self.scanner.in_flux.remove(&path);
                            self.scanner.looks.was_for_nothing(&path);
                        }
                    }
                }
                Look::Nothing => {
                    if let Some(folder) = here.clone().filter(|_| was_folder && !is_forced) {
                        self.scanner.in_flux.remove(&path);
                        self.scanner.gone_folders.insert(path, folder);
                    } else if here.is_some() || is_forced {
                        if was_folder {
                            self.scanner.want_below(path.clone());
                        }
                        self.hold_gone(Finding::of(path, here, None));
                    } else {
                        self.scanner.in_flux.remove(&path);
                    }
                }
                Look::Unknown(why) => {
                    self.scanner.in_flux.remove(&path);
                    self.scanner.unknown.insert(path, why);
                }
                Look::Ignored => drop(self.scanner.in_flux.remove(&path)),
            }
        }
        self.scanner.folders_were_moved(&new_folders);
    }

    /// A file that had something in it is empty: perhaps only for the moment in which it is written anew (E18). Then it is
    /// looked at again.
    fn is_emptied_just_now(&mut self, path: &RelPath, here: Option<&Here>, seen: &disk::Seen) -> bool {
        let is_empty = seen.kind == disk::SeenKind::File { size: 0 };
        let had_bytes = || {
            let held = here.map(|here| disk::Seen::from(here).kind);
            matches!(held, Some(disk::SeenKind::File { size }) if size > 0)
        };
        if !(is_empty && had_bytes()) {
            self.scanner.emptied.remove(path);
            return false;
        }
        let until = *self.scanner.emptied.entry(path.clone()).or_insert(self.now.time.after(EMPTIED_DELAY));
        if until <= self.now.time {
            self.scanner.emptied.remove(path);
            return false;
        }
        self.scanner.look(path.clone(), until, false);
        true
    }

    /// The index holds this since we put it there.
    pub(super) fn was_placed(&mut self, path: &RelPath, here: Here) {
        if self.scanner.placed.len() >= LOOKS_MAX {
            self.scanner.placed.clear();
        }
        self.scanner.placed.insert(path.clone(), here);
    }
}

fn is_folder(here: &Here) -> bool {
    here.version.kind == shoal_proto::record::Kind::Directory
}
