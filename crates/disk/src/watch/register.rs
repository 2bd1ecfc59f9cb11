//! Going through directories: to have them watched, and to look at those that cannot be.
//!
//! Promise: a directory is watched before its names are read, so that what is made in it is in the list, or told, or
//! both. What is looked at of one that is not watched is what looking shows: kind, size, times, permissions, inode number
//! of each name in it; a hint follows only if that has changed. Every file has to be looked at for that, because a write
//! changes nothing in the directory.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Instant;

use shoal_proto::path::RelPath;

use super::eye::Eye;
use super::nodes::{NodeId, Print, ROOT, Standing};
use super::source::Source;
use crate::fs::FsDir;
use crate::os::{Os, OsDir};
use crate::path::TreePath;
use crate::stat::{Kind, Look};
use crate::walk::{Barred, Walker, step};

/// A directory that is being gone through.
struct Level {
    node: NodeId,
    dir: Arc<OsDir>,
    /// The directories in it that are still to be gone into.
    names: Vec<Box<[u8]>>,
}

/// What was seen in a directory.
struct Inside {
    /// The directories in it that are of interest, in order.
    folders: Vec<Box<[u8]>>,
    /// Whether it is known that this is all.
    is_whole: bool,
    print: Option<Print>,
}

impl<S: Source> Eye<S> {
    /// Watches a directory and all below it, or notes that they are to be polled. `false`: it cannot be gone into, and is
    /// forgotten.
    pub(super) fn walk(&mut self, top: NodeId) -> bool {
        let Some(path) = self.nodes.path(top) else { return false };
        let folder = Arc::clone(&self.folder);
        let dir = match open(&mut Walker::new(&folder), &path) {
            Ok(dir) => dir,
            Err(why) => return self.stays_outside(top, &path, &why),
        };
        let names = self.visit(top, &dir);
        let mut levels = vec![Level { node: top, dir, names }];
        let mut count = 0_u32;
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                levels.pop();
                continue;
            };
            count += 1;
            if count.is_multiple_of(DIRECTORIES_AT_ONCE) {
                self.read();
                self.tell_status();
            }
            if self.has_ended() {
                return true;
            }
            let entered = step(&folder.root_seen, &*level.dir, OsStr::from_bytes(&name));
            let node = self.nodes.insert(level.node, &name);
            match entered {
                Ok(dir) => {
                    let dir = Arc::new(dir);
                    let names = self.visit(node, &dir);
                    levels.push(Level { node, dir, names });
                }
                // Too many files are open, for example: it stays unwatched, and is tried again with those that are.
                Err(Barred::Failed(_)) => {}
                Err(_) => self.forget_child(level.node, &name),
            }
        }
        true
    }

    /// Looks through all directories that are not watched, and watches them if that is possible by now.
    pub(super) fn poll(&mut self) {
        let began = Instant::now();
        let folder = Arc::clone(&self.folder);
        let mut walker = Walker::new(&folder);
        self.why = None;
        for (count, (path, node)) in (1_u32..).zip(self.nodes.all_polled()) {
            if count.is_multiple_of(DIRECTORIES_AT_ONCE) {
                self.read();
            }
            if self.has_ended() {
                return;
            }
            // Another one may have the number by now.
            let (Some(Standing::Polled(before)), true) =
                (self.nodes.standing(node), self.nodes.path(node).as_ref() == Some(&path))
            else {
                continue;
            };
            let dir = match open(&mut walker, &path) {
                Ok(dir) => dir,
                Err(why) => {
                    self.stays_outside(node, &path, &why);
                    continue;
                }
            };
            let inside = self.look_into(node, &dir, true);
            let is_changed = before.is_none() || inside.print != before;
            for name in self.reconcile(node, inside) {
                if self.nodes.child(node, &name).is_none() {
                    let child = self.nodes.insert(node, &name);
                    self.walk(child);
                }
            }
            if is_changed {
                self.hints.below(RelPath::parse(&path).ok());
            }
        }
        let took = began.elapsed();
        self.next_poll = Some(Instant::now() + self.poll_every.max(took * POLLING_SHARE));
    }

    /// Watches one directory, and returns the names in it that are to be gone into.
    fn visit(&mut self, node: NodeId, dir: &OsDir) -> Vec<Box<[u8]>> {
        let inside = self.look_into(node, dir, false);
        self.reconcile(node, inside)
    }

    /// Watches a directory if that is possible, then reads its names. Whether it is watched or not, `prints` says that
    /// what is in it is looked at.
    fn look_into(&mut self, node: NodeId, dir: &OsDir, prints: bool) -> Inside {
        let added = self.source.add(dir, node == ROOT);
        let prints = prints || added.is_err();
        let inside = self.read_names(node, dir, prints);
        match added {
            Ok(watch) => self.nodes.set_watch(node, watch),
            Err(why) => {
                self.why = Some(why);
                self.nodes.set_polled(node, inside.print);
            }
        }
        inside
    }

    fn read_names(&self, node: NodeId, dir: &OsDir, prints: bool) -> Inside {
        let mut folders = Vec::new();
        let mut hasher = prints.then(blake3::Hasher::new);
        let enters = self.enters_folders();
        if !enters && !prints {
            return Inside { folders, is_whole: true, print: None };
        }
        let read = dir.for_each(|name, kind| {
            let seen = match kind {
                Kind::Unknown => dir.look(name).ok().flatten(),
                _ => None,
            };
            let is_folder = seen.map_or(kind, |seen| seen.kind) == Kind::Folder;
            if !(is_folder && enters) && hasher.is_none() {
                return;
            }
            let Some(path) = self.path_in(node, name.as_bytes()) else { return };
            if self.is_ignored(&path, is_folder) {
                return;
            }
            if let Some(hasher) = &mut hasher {
                let seen = seen.or_else(|| dir.look(name).ok().flatten());
                add_to(hasher, name, seen);
            }
            if is_folder && enters {
                folders.push(name.as_bytes().into());
            }
        });
        folders.sort();
        let print = hasher.map(|hasher| {
            let mut print = Print::default();
            hasher.finalize_xof().fill(&mut print);
            print
        });
        Inside { folders, is_whole: read.is_ok(), print }
    }

    /// Forgets the directories that are not there any more; returns those that are.
    fn reconcile(&mut self, node: NodeId, inside: Inside) -> Vec<Box<[u8]>> {
        if inside.is_whole {
            let is_there =
                |name: &[u8]| inside.folders.binary_search_by(|folder| (**folder).cmp(name)).is_ok();
            let children = self.nodes.children(node);
            let gone: Vec<Box<[u8]>> =
                children.filter(|(name, _)| !is_there(name)).map(|(name, _)| name.into()).collect();
            for name in gone {
                self.forget_child(node, &name);
            }
        }
        inside.folders
    }

    /// A directory cannot be gone into. What is only not possible just now is tried again.
    fn stays_outside(&mut self, node: NodeId, path: &[u8], why: &Barred) -> bool {
        if matches!(why, Barred::Failed(_)) {
            return true;
        }
        if let Ok(path) = RelPath::parse(path)
            && let Some((above, name)) = self.place_of(&path)
            && self.nodes.child(above, &name) == Some(node)
        {
            self.forget_child(above, &name);
        }
        false
    }

    /// The directory that a path is in, if it is known, and the name.
    pub(super) fn place_of(&self, path: &RelPath) -> Option<(NodeId, Box<[u8]>)> {
        let names = path.parent();
        let mut names = names.iter().flat_map(RelPath::names);
        let folder = names.try_fold(ROOT, |folder, name| self.nodes.child(folder, name))?;
        Some((folder, path.name().into()))
    }
}

/// The directory at a path of which the names are known to be good.
fn open(walker: &mut Walker<'_, Os>, path: &[u8]) -> Result<Arc<OsDir>, Barred> {
    if path.is_empty() {
        return Ok(walker.root());
    }
    let path = TreePath::parse(path).map_err(|_| Barred::Gone)?;
    walker.open_folder(&path).map_err(|error| error.why)
}

/// Of a directory in it only what does not change with what happens in that.
fn add_to(hasher: &mut blake3::Hasher, name: &OsStr, seen: Option<Look>) {
    hasher.update(name.as_bytes()).update(&[0]);
    let Some(Look { kind, stat, .. }) = seen else { return };
    hasher
        .update(&[u8::from(kind == Kind::Folder)])
        .update(&stat.ino.to_le_bytes())
        .update(&stat.mode.to_le_bytes());
    if kind != Kind::Folder {
        hasher.update(&stat.size.to_le_bytes());
        for time in [stat.mtime, stat.ctime] {
            hasher.update(&time.secs.to_le_bytes()).update(&time.nanos.to_le_bytes());
        }
    }
}

/// After so many directories the system's queue is emptied.
const DIRECTORIES_AT_ONCE: u32 = 256;

/// Polling may take one part in so many of the time.
const POLLING_SHARE: u32 = 19;
