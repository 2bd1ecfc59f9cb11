//! Files and names, each as the running system sees them and as they are on the disk.
//!
//! Promise: nothing becomes durable but by a sync or a power cut. Of two changes of the same name the later one never
//! becomes durable before the earlier one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rustix::io::Errno;

use super::Quirks;
use super::events::Event;
use crate::name::NAME_BYTES_MAX;
use crate::stat::{FileTime, Kind, Look, Stat};

/// By what a node is known inside; never given twice, unlike inode numbers.
pub(super) type Id = u64;

/// A name as the disk compares it.
pub(super) type Key = Vec<u8>;

pub(super) type Names = BTreeMap<Key, Entry>;

/// The top directory.
pub(super) const ROOT: Id = 0;

/// In so many bytes at a time contents reach the disk.
pub(super) const BLOCK_BYTES: usize = 4 << 10;

/// Everything belongs to this user.
pub(super) const USER: u32 = 1_000;

#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) quirks: Quirks,
    pub(super) now: FileTime,
    pub(super) nodes: BTreeMap<Id, Node>,
    /// Changes of names that are not durable yet, oldest first.
    pub(super) pending: Vec<Change>,
    next_id: Id,
    next_number: u64,
    next_change: u64,
    /// Inode numbers that are free again, each with the change that freed it.
    pub(super) free_numbers: Vec<(u64, u64)>,
    /// What happened, as long as somebody wants to know.
    pub(super) events: Option<Vec<Event>>,
}

/// A file, directory or symbolic link.
#[derive(Clone, Debug)]
pub(super) struct Node {
    number: u64,
    pub(super) kind: Kind,
    pub(super) live: Content,
    pub(super) durable: Content,
    /// Blocks that the next sync would write.
    pub(super) dirty: BTreeSet<usize>,
    /// The least size that it has had since it was durable.
    pub(super) shortest: usize,
    ctime: FileTime,
    pub(super) names: Names,
    pub(super) durable_names: Names,
    pub(super) links: u32,
    handles: u32,
    pub(super) locked_by: Option<u64>,
    /// The change that freed its number; without that it cannot be durable under any name.
    needs: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Content {
    /// The bytes of a file, the target of a link.
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
    pub(super) mtime: FileTime,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    /// The name as it was given.
    pub(super) shown: Vec<u8>,
    pub(super) node: Id,
}

/// What one name in one directory becomes.
pub(super) type Set = (Id, Key, Option<Entry>);

/// One change of names, which becomes durable whole.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) id: u64,
    pub(super) sets: Vec<Set>,
    /// Changes that must be durable before: those which freed the inode numbers that are used here.
    pub(super) needs: Vec<u64>,
}

impl Image {
    pub(super) fn new(quirks: Quirks) -> Self {
        let mut image = Self {
            quirks,
            now: FileTime::default(),
            nodes: BTreeMap::new(),
            pending: Vec::new(),
            next_id: ROOT,
            next_number: 2,
            next_change: 0,
            free_numbers: Vec::new(),
            events: None,
        };
        let root = image.make(Kind::Folder, 0o755, Vec::new());
        if let Some(root) = image.nodes.get_mut(&root) {
            root.links = 1;
        }
        image
    }

    /// A node that is still there; one that was freed is a dead handle's.
    pub(super) fn node(&self, id: Id) -> io::Result<&Node> {
        self.nodes.get(&id).ok_or_else(|| Errno::IO.into())
    }

    pub(super) fn node_mut(&mut self, id: Id) -> io::Result<&mut Node> {
        self.nodes.get_mut(&id).ok_or_else(|| Errno::IO.into())
    }

    /// The form of a name in which this disk compares it.
    pub(super) fn key(&self, name: &[u8]) -> io::Result<Key> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
            return Err(Errno::INVAL.into());
        }
        if !self.quirks.folds_case {
            return Ok(name.into());
        }
        let text = std::str::from_utf8(name).map_err(|_| Errno::ILSEQ)?;
        Ok(text.to_lowercase().into_bytes())
    }

    pub(super) fn child(&self, dir: Id, name: &[u8]) -> io::Result<Option<Id>> {
        let dir = self.node(dir)?;
        if dir.kind != Kind::Folder {
            return Err(Errno::NOTDIR.into());
        }
        Ok(dir.names.get(&self.key(name)?).map(|entry| entry.node))
    }

    pub(super) fn parent(&self, dir: Id) -> Id {
        let holds = |node: &Node| node.names.values().any(|entry| entry.node == dir);
        self.nodes.iter().find(|(_, node)| holds(node)).map_or(ROOT, |(id, _)| *id)
    }

    pub(super) fn look(&self, id: Id) -> io::Result<Look> {
        let Node { number, kind, live, ctime, links, .. } = self.node(id)?;
        let stat = Stat {
            dev: 1,
            ino: *number,
            size: live.bytes.len() as u64,
            mtime: live.mtime,
            ctime: *ctime,
            mode: live.mode,
            nlink: *links,
        };
        Ok(Look { kind: *kind, uid: USER, stat })
    }

    /// The nearest time that this disk can keep, rounded down.
    pub(super) fn kept_time(&self, time: FileTime) -> FileTime {
        const SECOND: u64 = 1_000_000_000;
        let (first, last) = self.quirks.time_range;
        // Linux keeps no part of the first and the last second either.
        if time.secs <= first || time.secs >= last {
            return FileTime { secs: time.secs.clamp(first, last), nanos: 0 };
        }
        let step = self.quirks.time_step.max(1);
        if step < SECOND {
            let nanos = u64::from(time.nanos);
            return FileTime { nanos: u32::try_from(nanos - nanos % step).unwrap_or(0), ..time };
        }
        let step = i64::try_from(step / SECOND).unwrap_or(i64::MAX);
        FileTime { secs: time.secs.saturating_sub(time.secs.rem_euclid(step)), nanos: 0 }
    }

    /// A new node without a name.
    pub(super) fn make(&mut self, kind: Kind, wished: u32, bytes: Vec<u8>) -> Id {
        let id = self.next_id;
        self.next_id += 1;
        let (number, needs) = match self.free_numbers.pop() {
            Some((number, freed_by)) => (number, Some(freed_by)),
            None => {
                self.next_number += 1;
                (self.next_number, None)
            }
        };
        let now = self.kept_time(self.now);
        let mode = match kind {
            // What protects a link is what it leads to.
            Kind::Symlink => 0o777,
            _ if self.quirks.keeps_modes => wished & !self.quirks.mode_mask,
            _ => MODE_OF_ALL,
        };
        // What a symbolic link says is made with it; what a file holds is not.
        let live = Content { bytes, mode, mtime: now };
        let shortest = live.bytes.len();
        let node = Node {
            number,
            kind,
            durable: live.clone(),
            live,
            dirty: BTreeSet::new(),
            shortest,
            ctime: now,
            names: Names::new(),
            durable_names: Names::new(),
            links: 0,
            handles: 0,
            locked_by: None,
            needs,
        };
        self.nodes.insert(id, node);
        id
    }

    /// Gives a node that was just made its first name.
    pub(super) fn place(&mut self, dir: Id, name: &[u8], node: Id) -> io::Result<()> {
        let key = self.key(name)?;
        if self.node(dir)?.links == 0 {
            return Err(Errno::NOENT.into());
        }
        self.change(vec![(dir, key, Some(Entry { shown: name.into(), node }))]);
        Ok(())
    }

    /// Changes names, all at once.
    pub(super) fn change(&mut self, sets: Vec<Set>) {
        let turns = self.turns(&sets);
        let now = self.kept_time(self.now);
        let id = self.next_change;
        self.next_change += 1;
        let mut touched = BTreeSet::new();
        let mut needs = Vec::new();
        // First all links, then all losses: what moves must not be gone in between.
        for (_, _, entry) in &sets {
            if let Some(node) = entry.as_ref().and_then(|entry| self.nodes.get_mut(&entry.node)) {
                node.links += 1;
                needs.extend(node.needs);
            }
        }
        for (dir, key, entry) in &sets {
            let Some(dir) = self.nodes.get_mut(dir) else { continue };
            dir.live.mtime = now;
            dir.ctime = now;
            let before = match entry {
                Some(entry) => dir.names.insert(key.clone(), entry.clone()),
                None => dir.names.remove(key),
            };
            touched.extend(entry.as_ref().map(|entry| entry.node));
            if let Some(before) = before {
                touched.insert(before.node);
                if let Some(node) = self.nodes.get_mut(&before.node) {
                    node.links -= 1;
                }
            }
        }
        for node in touched {
            if let Some(node) = self.nodes.get_mut(&node) {
                node.ctime = now;
            }
            self.free_number(node, id);
        }
        self.note_turns(&turns);
        self.pending.push(Change { id, sets, needs });
        if !self.quirks.syncs_directories {
            self.sync_names(|_| true);
        }
    }

    pub(super) fn open(&mut self, id: Id) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.handles += 1;
        }
    }

    /// Closes a handle and frees its lock.
    pub(super) fn close(&mut self, id: Id, handle: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.handles -= 1;
            if node.locked_by == Some(handle) {
                node.locked_by = None;
            }
            self.free_number(id, self.next_change.saturating_sub(1));
        }
    }

    /// Closes everything at once, as the end of a process does.
    pub(super) fn close_all(&mut self) {
        for node in self.nodes.values_mut() {
            node.handles = 0;
            node.locked_by = None;
        }
        self.forget_nameless();
    }

    /// Lets the number of a node go that has neither names nor handles; its bytes stay as long as the disk may still
    /// know a name of it.
    fn free_number(&mut self, id: Id, by: u64) {
        if self.quirks.reuses_numbers
            && let Some(node) = self.nodes.get(&id)
            && node.links == 0
            && node.handles == 0
        {
            self.free_numbers.push((node.number, by));
        }
    }

    /// Drops the nodes that nothing leads to, neither now nor after a power cut.
    pub(super) fn forget_nameless(&mut self) {
        let mut known: BTreeSet<Id> = [ROOT].into();
        for node in self.nodes.values() {
            known.extend(node.durable_names.values().map(|entry| entry.node));
        }
        for (dir, _, entry) in self.pending.iter().flat_map(|change| &change.sets) {
            known.insert(*dir);
            known.extend(entry.as_ref().map(|entry| entry.node));
        }
        self.nodes.retain(|id, node| node.links > 0 || node.handles > 0 || known.contains(id));
    }

    pub(super) fn write(&mut self, id: Id, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let now = self.kept_time(self.now);
        let node = self.node_mut(id)?;
        let offset = usize::try_from(offset).map_err(|_| Errno::FBIG)?;
        let end = offset.checked_add(bytes.len()).ok_or(Errno::FBIG)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if node.live.bytes.len() < end {
            node.live.bytes.resize(end, 0);
        }
        node.live.bytes[offset..end].copy_from_slice(bytes);
        node.dirty.extend(offset / BLOCK_BYTES..=(end - 1) / BLOCK_BYTES);
        node.live.mtime = now;
        node.ctime = now;
        self.note_change(id);
        Ok(())
    }

    pub(super) fn resize(&mut self, id: Id, length: u64) -> io::Result<()> {
        let now = self.kept_time(self.now);
        let node = self.node_mut(id)?;
        let length = usize::try_from(length).map_err(|_| Errno::FBIG)?;
        node.live.bytes.resize(length, 0);
        node.shortest = node.shortest.min(length);
        // The rest of the last block is zeros now, on the disk too once it is written.
        node.dirty.insert(length / BLOCK_BYTES);
        node.live.mtime = now;
        node.ctime = now;
        self.note_change(id);
        Ok(())
    }

    pub(super) fn set_mode(&mut self, id: Id, mode: u32) -> io::Result<()> {
        let now = self.kept_time(self.now);
        let keeps_modes = self.quirks.keeps_modes;
        let node = self.node_mut(id)?;
        if keeps_modes {
            node.live.mode = mode & 0o7777;
        }
        node.ctime = now;
        self.note_change(id);
        Ok(())
    }

    pub(super) fn set_mtime(&mut self, id: Id, mtime: FileTime) -> io::Result<()> {
        if !self.quirks.sets_times {
            return Err(Errno::PERM.into());
        }
        let (now, mtime) = (self.kept_time(self.now), self.kept_time(mtime));
        let node = self.node_mut(id)?;
        node.live.mtime = mtime;
        node.ctime = now;
        self.note_change(id);
        Ok(())
    }

    /// Makes a file durable, but none of its names.
    pub(super) fn sync_file(&mut self, id: Id) -> io::Result<()> {
        let node = self.node_mut(id)?;
        node.write_back(true);
        Ok(())
    }

    /// What a failed sync leaves: sizes and times may be on the disk, the bytes are not, and nobody knows of it.
    pub(super) fn lose_file(&mut self, id: Id) -> io::Result<()> {
        self.node_mut(id)?.write_back(false);
        Ok(())
    }

    pub(super) fn lose_all(&mut self) {
        self.nodes.values_mut().for_each(|node| node.write_back(false));
    }

    pub(super) fn sync_dir(&mut self, id: Id) {
        self.sync_names(|change| change.sets.iter().any(|(dir, _, _)| *dir == id));
    }

    pub(super) fn sync_all(&mut self) {
        self.nodes.values_mut().for_each(|node| node.write_back(true));
        self.sync_names(|_| true);
        self.forget_nameless();
    }

    /// Makes the chosen changes durable, and those before them that they rest on.
    fn sync_names(&mut self, chosen: impl Fn(&Change) -> bool) {
        let mut names = BTreeSet::new();
        let mut needed: BTreeSet<u64> = BTreeSet::new();
        let mut durable = BTreeSet::new();
        for change in self.pending.iter().rev() {
            let rests_on = change.sets.iter().any(|(dir, key, _)| names.contains(&(*dir, key)));
            if rests_on || needed.contains(&change.id) || chosen(change) {
                names.extend(change.sets.iter().map(|(dir, key, _)| (*dir, key)));
                needed.extend(&change.needs);
                durable.insert(change.id);
            }
        }
        for change in std::mem::take(&mut self.pending) {
            if durable.contains(&change.id) {
                self.make_durable(&change);
            } else {
                self.pending.push(change);
            }
        }
    }

    pub(super) fn make_durable(&mut self, change: &Change) {
        for (dir, key, entry) in &change.sets {
            let Some(dir) = self.nodes.get_mut(dir) else { continue };
            match entry {
                Some(entry) => dir.durable_names.insert(key.clone(), entry.clone()),
                None => dir.durable_names.remove(key),
            };
        }
    }
}

impl Node {
    /// Brings the durable side up to date, with what is dirty or without it.
    fn write_back(&mut self, with_bytes: bool) {
        let Self { live, durable, dirty, .. } = self;
        // What was cut off is gone even if the file has grown again since.
        durable.bytes.truncate(self.shortest);
        durable.bytes.resize(live.bytes.len(), 0);
        if with_bytes {
            for block in std::mem::take(dirty) {
                copy_block(&live.bytes, &mut durable.bytes, block);
            }
        }
        dirty.clear();
        (durable.mode, durable.mtime) = (live.mode, live.mtime);
        self.shortest = durable.bytes.len();
    }
}

/// Copies what both have of one block.
pub(super) fn copy_block(from: &[u8], to: &mut [u8], block: usize) {
    let start = block * BLOCK_BYTES;
    let end = (start + BLOCK_BYTES).min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

/// What everything is allowed on a disk that keeps no permissions.
const MODE_OF_ALL: u32 = 0o755;
