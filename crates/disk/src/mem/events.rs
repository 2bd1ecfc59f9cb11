//! What a watcher of a disk in memory would hear of.
//!
//! Promise: while events are kept, each change of a name, a file or its permissions is there, in order, whoever made it;
//! none is merged, and none is lost before [`EVENTS_MAX`], which is then said. While they are not kept this costs nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::image::{Entry, Id, Image, Key, ROOT, Set};

/// So many events are kept until somebody takes them; the last is then [`Happened::Lost`].
pub const EVENTS_MAX: usize = 1 << 16;

/// Something that happened to a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// The absolute path of the name; of what was renamed, the earlier one.
    pub path: PathBuf,
    /// What happened.
    pub what: Happened,
}

/// What can happen to a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Happened {
    /// It leads to something that had no name here before.
    Created,
    /// What it leads to was written, cut, or given a time or permissions.
    Changed,
    /// It is nobody's any more.
    Removed,
    /// What it led to has this name now.
    Renamed {
        /// The new path.
        to: PathBuf,
    },
    /// Too many events: those after this one are not kept.
    Lost,
}

/// A name that is about to change: where, what it led to, what it will lead to.
pub(super) struct Turn {
    path: PathBuf,
    before: Option<Id>,
    after: Option<Id>,
}

impl Image {
    /// What `sets` are about to do to names, as long as events are kept.
    pub(super) fn turns(&self, sets: &[Set]) -> Vec<Turn> {
        if self.events.is_none() {
            return Vec::new();
        }
        let turn = |(dir, key, entry): &(Id, Key, Option<Entry>)| {
            let before = self.nodes.get(dir)?.names.get(key);
            let shown = &entry.as_ref().or(before)?.shown;
            let path = self.path_of(*dir)?.join(OsStr::from_bytes(shown));
            let node = |entry: &Entry| entry.node;
            Some(Turn { path, before: before.map(node), after: entry.as_ref().map(node) })
        };
        sets.iter().filter_map(turn).collect()
    }

    /// Notes what names became.
    pub(super) fn note_turns(&mut self, turns: &[Turn]) {
        for turn in turns {
            let came_from = |other: &&Turn| other.before.is_some() && other.before == turn.after;
            let went_on = |other: &Turn| turn.before.is_some() && other.after == turn.before;
            if turn.after.is_some() {
                match turns.iter().find(came_from) {
                    Some(from) => self.note(from.path.clone(), Happened::Renamed { to: turn.path.clone() }),
                    None => self.note(turn.path.clone(), Happened::Created),
                }
            } else if !turns.iter().any(went_on) {
                self.note(turn.path.clone(), Happened::Removed);
            }
        }
    }

    /// Notes that what a node holds has changed, under all its names.
    pub(super) fn note_change(&mut self, node: Id) {
        if self.events.is_none() {
            return;
        }
        let names = self.nodes.iter().flat_map(|(dir, holder)| {
            let of_node = holder.names.values().filter(|entry| entry.node == node);
            of_node.map(|entry| (*dir, entry.shown.clone()))
        });
        for (dir, shown) in names.collect::<Vec<_>>() {
            if let Some(above) = self.path_of(dir) {
                self.note(above.join(OsStr::from_bytes(&shown)), Happened::Changed);
            }
        }
    }

    fn note(&mut self, path: PathBuf, what: Happened) {
        let Some(events) = &mut self.events else { return };
        match events.len() {
            length if length + 1 < EVENTS_MAX => events.push(Event { path, what }),
            length if length < EVENTS_MAX => events.push(Event { path, what: Happened::Lost }),
            _ => {}
        }
    }

    /// Where a directory is; `None` if it has no name any more.
    fn path_of(&self, dir: Id) -> Option<PathBuf> {
        let (mut names, mut at) = (Vec::new(), dir);
        while at != ROOT {
            let holder = self.nodes.iter().find_map(|(id, node)| {
                let entry = node.names.values().find(|entry| entry.node == at)?;
                Some((*id, entry.shown.clone()))
            });
            let (above, shown) = holder?;
            names.push(shown);
            at = above;
        }
        let join = |path: PathBuf, name: &Vec<u8>| path.join(OsStr::from_bytes(name));
        Some(names.iter().rev().fold(Path::new("/").to_owned(), join))
    }
}
