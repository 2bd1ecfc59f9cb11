//! The calls of the seam, on a disk in memory.
//!
//! Promise: each call is one step that nobody sees half done, counts once, and fails when it is told to before it has
//! done anything; only a failed sync forgets.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::MutexGuard;

use rustix::io::Errno;

use super::image::{BLOCK_BYTES, Entry, Id, Image, ROOT, USER};
use super::{Call, Handle, MemDisk, State};
use crate::durable::Durability;
use crate::fs::{Fs, FsDir, FsFile, PRIVATE, Space};
use crate::stat::{FileTime, Kind, Look};

/// An open directory of a [`MemDisk`].
#[derive(Debug)]
pub struct MemDir {
    handle: Handle,
}

/// An open file of a [`MemDisk`].
#[derive(Debug)]
pub struct MemFile {
    handle: Handle,
    place: u64,
    appends: bool,
    writable: bool,
}

impl Fs for MemDisk {
    type Dir = MemDir;
    type File = MemFile;

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut state = self.state();
        state.faults.pass(Call::Look, path.as_os_str().as_bytes())?;
        Ok(state.image.walk(path, Last::Followed)?.1)
    }

    fn open_path(&self, path: &Path) -> io::Result<MemDir> {
        let mut state = self.state();
        state.faults.pass(Call::Open, path.as_os_str().as_bytes())?;
        let (node, _) = state.image.walk(path, Last::Left)?;
        open_dir(self, &mut state, node)
    }

    fn look_path(&self, path: &Path) -> io::Result<Look> {
        let mut state = self.state();
        state.faults.pass(Call::Look, path.as_os_str().as_bytes())?;
        let (node, _) = state.image.walk(path, Last::Followed)?;
        state.image.look(node)
    }

    fn user(&self) -> u32 {
        USER
    }
}

impl MemDir {
    fn call(&self, call: Call, name: &OsStr) -> io::Result<MutexGuard<'_, State>> {
        self.handle.call(call, name.as_bytes())
    }

    fn require(&self, state: &State, name: &OsStr) -> io::Result<Id> {
        state.image.child(self.handle.node, name.as_bytes())?.ok_or_else(|| Errno::NOENT.into())
    }

    /// Opens a plain file, or makes it with the permissions `made`.
    fn open(&self, state: &mut State, name: &OsStr, made: Option<u32>) -> io::Result<MemFile> {
        let found = state.image.child(self.handle.node, name.as_bytes())?;
        let node = match (found, made) {
            (Some(node), _) => match state.image.node(node)?.kind {
                Kind::Symlink => return Err(Errno::LOOP.into()),
                Kind::Folder if made.is_some() => return Err(Errno::ISDIR.into()),
                _ => node,
            },
            (None, None) => return Err(Errno::NOENT.into()),
            (None, Some(mode)) => {
                let node = state.image.make(Kind::File, mode, Vec::new());
                state.image.place(self.handle.node, name.as_bytes(), node)?;
                node
            }
        };
        let handle = Handle::new(&self.handle.disk, state, node);
        Ok(MemFile { handle, place: 0, appends: false, writable: made.is_some() })
    }

    fn rename(&self, from: &OsStr, to_dir: &Self, to: &OsStr, how: Rename) -> io::Result<()> {
        let on = [from.as_bytes(), b" -> ", to.as_bytes(), format!(" ({how:?})").as_bytes()].concat();
        let mut state = self.handle.call(Call::Rename, &on)?;
        let (from_dir, to_dir) = (self.handle.node, to_dir.handle.node);
        state.image.rename((from_dir, from.as_bytes()), (to_dir, to.as_bytes()), how)
    }
}

impl FsDir for MemDir {
    type File = MemFile;

    fn open_dir(&self, name: &OsStr) -> io::Result<Self> {
        let mut state = self.call(Call::Open, name)?;
        let node = self.require(&state, name)?;
        open_dir(&self.handle.disk, &mut state, node)
    }

    fn enter(&self, name: &OsStr) -> io::Result<Self> {
        self.open_dir(name)
    }

    fn parent(&self) -> io::Result<Self> {
        let mut state = self.call(Call::Open, OsStr::new(".."))?;
        let node = state.image.parent(self.handle.node);
        open_dir(&self.handle.disk, &mut state, node)
    }

    fn make_dir_with(&self, name: &OsStr, wished: u32) -> io::Result<()> {
        let mut state = self.call(Call::MakeDir, name)?;
        state.image.make_dir(self.handle.node, name.as_bytes(), wished)
    }

    fn open_file(&self, name: &OsStr) -> io::Result<MemFile> {
        let mut state = self.call(Call::Open, name)?;
        self.open(&mut state, name, None)
    }

    fn open_or_create(&self, name: &OsStr) -> io::Result<MemFile> {
        let mut state = self.call(Call::Create, name)?;
        self.open(&mut state, name, Some(PRIVATE))
    }

    fn open_append(&self, name: &OsStr) -> io::Result<MemFile> {
        let mut state = self.call(Call::Create, name)?;
        Ok(MemFile { appends: true, ..self.open(&mut state, name, Some(PRIVATE))? })
    }

    fn create_new_with(&self, name: &OsStr, wished: u32) -> io::Result<MemFile> {
        let mut state = self.call(Call::Create, name)?;
        if state.image.child(self.handle.node, name.as_bytes())?.is_some() {
            return Err(Errno::EXIST.into());
        }
        self.open(&mut state, name, Some(wished))
    }

    fn look(&self, name: &OsStr) -> io::Result<Option<Look>> {
        let state = self.call(Call::Look, name)?;
        let found = state.image.child(self.handle.node, name.as_bytes())?;
        found.map(|node| state.image.look(node)).transpose()
    }

    fn look_through(&self) -> io::Result<Look> {
        self.call(Call::Look, OsStr::new("."))?.image.look(self.handle.node)
    }

    fn may_read(&self, name: &OsStr) -> bool {
        self.look(name).ok().flatten().is_some_and(|seen| seen.stat.mode & 0o400 != 0)
    }

    fn move_to_free(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()> {
        self.rename(from, to_dir, to, Rename::ToFree)
    }

    fn move_over(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()> {
        self.rename(from, to_dir, to, Rename::Over)
    }

    fn exchange(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()> {
        self.rename(from, to_dir, to, Rename::Exchange)
    }

    fn link(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()> {
        let mut state = self.call(Call::Link, to)?;
        let node = self.require(&state, from)?;
        state.image.link(node, to_dir.handle.node, to.as_bytes())
    }

    fn symlink(&self, target: &OsStr, name: &OsStr) -> io::Result<()> {
        let mut state = self.call(Call::Symlink, name)?;
        state.image.symlink(self.handle.node, name.as_bytes(), target.as_bytes())
    }

    fn set_link_mtime(&self, name: &OsStr, mtime: FileTime) -> io::Result<()> {
        let mut state = self.call(Call::SetTime, name)?;
        let node = self.require(&state, name)?;
        state.image.set_mtime(node, mtime)
    }

    fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        let state = self.call(Call::Symlink, name)?;
        let node = state.image.node(self.require(&state, name)?)?;
        match node.kind {
            Kind::Symlink => Ok(OsString::from_vec(node.live.bytes.clone())),
            _ => Err(Errno::INVAL.into()),
        }
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        match self.call(Call::Remove, name)?.image.remove(self.handle.node, name.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        self.call(Call::Remove, name)?.image.remove_dir(self.handle.node, name.as_bytes())
    }

    fn for_each(&self, mut visit: impl FnMut(&OsStr, Kind)) -> io::Result<()> {
        let state = self.call(Call::List, OsStr::new("."))?;
        let entries: Vec<_> = state.image.node(self.handle.node)?.names.values().cloned().collect();
        let kinds: Vec<_> =
            entries.iter().map(|entry| state.image.node(entry.node).map(|n| n.kind)).collect();
        // Not held meanwhile: who is shown a name may ask about it.
        drop(state);
        for (entry, kind) in entries.iter().zip(kinds) {
            visit(OsStr::from_bytes(&entry.shown), kind?);
        }
        Ok(())
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.call(Call::SetMode, OsStr::new("."))?.image.set_mode(self.handle.node, mode)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.call(Call::SyncDir, OsStr::new("."))?;
        if !state.image.quirks.syncs_directories {
            return Err(Errno::INVAL.into());
        }
        state.image.sync_dir(self.handle.node);
        Ok(())
    }

    fn sync_file_system(&self) -> io::Result<()> {
        let mut state = self.handle.alive()?;
        if let Err(error) = state.faults.pass(Call::SyncAll, b"") {
            if !state.faults.has_stopped() {
                state.image.lose_all();
            }
            return Err(error);
        }
        state.image.sync_all();
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        Ok(self.call(Call::Space, OsStr::new("."))?.image.quirks.space)
    }

    fn durability(&self) -> io::Result<Durability> {
        Ok(self.call(Call::Space, OsStr::new("."))?.image.quirks.durability)
    }
}

impl MemFile {
    fn call(&self, call: Call) -> io::Result<MutexGuard<'_, State>> {
        self.handle.call(call, b"")
    }

    fn put(&self, bytes: &[u8], offset: u64) -> io::Result<(usize, u64)> {
        let mut state = self.call(Call::Write)?;
        if !self.writable {
            return Err(Errno::BADF.into());
        }
        let length = state.image.node(self.handle.node)?.live.bytes.len() as u64;
        let offset = if self.appends { length } else { offset };
        let taken = state.faults.take_room(bytes.len())?;
        state.image.write(self.handle.node, offset, &bytes[..taken])?;
        Ok((taken, offset))
    }
}

impl FsFile for MemFile {
    fn look_through(&self) -> io::Result<Look> {
        self.call(Call::Look)?.image.look(self.handle.node)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.call(Call::Read)?;
        let node = state.image.node(self.handle.node)?;
        if node.kind == Kind::Folder {
            return Err(Errno::ISDIR.into());
        }
        let bytes = &node.live.bytes;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let length = buffer.len().min(bytes.len() - offset);
        buffer[..length].copy_from_slice(&bytes[offset..offset + length]);
        Ok(length)
    }

    /// Blocks of zeros are holes here, as on a file system that finds them by itself.
    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let state = self.call(Call::Read)?;
        let bytes = &state.image.node(self.handle.node)?.live.bytes;
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        let is_hole = |block: &[u8]| block.iter().all(|byte| *byte == 0);
        let blocks = || bytes.chunks(BLOCK_BYTES).enumerate().skip(from / BLOCK_BYTES);
        let Some((first, _)) = blocks().find(|(_, block)| !is_hole(block)) else { return Ok(None) };
        let end = blocks().find(|(at, block)| *at > first && is_hole(block));
        let end = end.map_or(bytes.len(), |(at, _)| at * BLOCK_BYTES);
        let start = (first * BLOCK_BYTES).max(from);
        Ok((start < end).then_some(start as u64..end as u64))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.put(bytes, offset).map(|(taken, _)| taken)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.call(Call::Resize)?;
        if !self.writable {
            return Err(Errno::INVAL.into());
        }
        state.image.resize(self.handle.node, length)
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        let state = self.call(Call::Write)?;
        if length == 0 {
            return Ok(());
        }
        if !self.writable {
            return Err(Errno::BADF.into());
        }
        let room = state.faults.room.unwrap_or(u64::MAX).min(state.image.quirks.space.free);
        if room < length { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    /// Blocks of zeros are holes here whatever happens.
    fn release(&self, _range: Range<u64>) {}

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.call(Call::SetMode)?.image.set_mode(self.handle.node, mode)
    }

    fn set_mtime(&self, mtime: FileTime) -> io::Result<()> {
        self.call(Call::SetTime)?.image.set_mtime(self.handle.node, mtime)
    }

    fn start_write_out(&self, _offset: u64, _length: u64) {}

    fn sync(&self) -> io::Result<()> {
        let mut state = self.handle.alive()?;
        if let Err(error) = state.faults.pass(Call::SyncFile, b"") {
            if !state.faults.has_stopped() {
                state.image.lose_file(self.handle.node)?;
            }
            return Err(error);
        }
        state.image.sync_file(self.handle.node)
    }

    fn lock(&self) -> io::Result<()> {
        let mut state = self.call(Call::Lock)?;
        let node = state.image.node_mut(self.handle.node)?;
        match node.locked_by {
            Some(holder) if holder != self.handle.id => Err(Errno::WOULDBLOCK.into()),
            _ => {
                node.locked_by = Some(self.handle.id);
                Ok(())
            }
        }
    }
}

impl Read for MemFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.read_at(buffer, self.place)?;
        self.place += length as u64;
        Ok(length)
    }
}

impl Write for MemFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (taken, offset) = self.put(bytes, self.place)?;
        self.place = offset + taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open_dir(disk: &MemDisk, state: &mut State, node: Id) -> io::Result<MemDir> {
    match state.image.node(node)?.kind {
        Kind::Folder => Ok(MemDir { handle: Handle::new(disk, state, node) }),
        Kind::Symlink => Err(Errno::LOOP.into()),
        _ => Err(Errno::NOTDIR.into()),
    }
}

/// What becomes of a link at the end of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Last {
    Followed,
    Left,
}

/// What a rename may do to the name that it moves to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rename {
    ToFree,
    Over,
    Exchange,
}

type Place<'a> = (Id, &'a [u8]);

impl Image {
    /// Follows a path and the links in it; tells the node, and the path without links.
    pub(super) fn walk(&self, path: &Path, last: Last) -> io::Result<(Id, PathBuf)> {
        if !path.is_absolute() {
            return Err(Errno::INVAL.into());
        }
        let mut left: Vec<OsString> = names_of(path).rev().collect();
        let (mut trail, mut links) = (vec![(ROOT, OsString::new())], 0);
        while let Some(name) = left.pop() {
            let (dir, _) = trail[trail.len() - 1];
            if name == ".." {
                trail.truncate((trail.len() - 1).max(1));
                continue;
            }
            let child = self.child(dir, name.as_bytes())?.ok_or(Errno::NOENT)?;
            let node = self.node(child)?;
            if node.kind != Kind::Symlink || (last == Last::Left && left.is_empty()) {
                trail.push((child, name));
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(Errno::LOOP.into());
            }
            let target = Path::new(OsStr::from_bytes(&node.live.bytes));
            if target.is_absolute() {
                trail.truncate(1);
            }
            left.extend(names_of(target).rev());
        }
        let resolved = trail.iter().skip(1).fold(PathBuf::from("/"), |path, (_, name)| path.join(name));
        Ok((trail[trail.len() - 1].0, resolved))
    }

    pub(super) fn make_dir(&mut self, dir: Id, name: &[u8], mode: u32) -> io::Result<()> {
        self.require_free(dir, name)?;
        let node = self.make(Kind::Folder, mode, Vec::new());
        self.place(dir, name, node)
    }

    pub(super) fn symlink(&mut self, dir: Id, name: &[u8], target: &[u8]) -> io::Result<()> {
        match target.len() {
            0 => return Err(Errno::NOENT.into()),
            TARGET_BYTES_MAX.. => return Err(Errno::NAMETOOLONG.into()),
            _ => self.require_free(dir, name)?,
        }
        let node = self.make(Kind::Symlink, 0o777, target.into());
        self.place(dir, name, node)
    }

    pub(super) fn link(&mut self, node: Id, dir: Id, name: &[u8]) -> io::Result<()> {
        self.require_free(dir, name)?;
        if !self.quirks.links || self.node(node)?.kind == Kind::Folder {
            return Err(Errno::PERM.into());
        }
        self.place(dir, name, node)
    }

    pub(super) fn remove(&mut self, dir: Id, name: &[u8]) -> io::Result<()> {
        let node = self.child(dir, name)?.ok_or(Errno::NOENT)?;
        if self.node(node)?.kind == Kind::Folder {
            return Err(Errno::ISDIR.into());
        }
        let key = self.key(name)?;
        self.change(vec![(dir, key, None)]);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, dir: Id, name: &[u8]) -> io::Result<()> {
        let node = self.child(dir, name)?.ok_or(Errno::NOENT)?;
        self.require_empty_dir(node)?;
        let key = self.key(name)?;
        self.change(vec![(dir, key, None)]);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: Place<'_>, to: Place<'_>, how: Rename) -> io::Result<()> {
        if how != Rename::Over && !self.quirks.renames_with_flags {
            return Err(Errno::INVAL.into());
        }
        let moved = self.child(from.0, from.1)?.ok_or(Errno::NOENT)?;
        let target = self.child(to.0, to.1)?;
        let (from_key, to_key) = (self.key(from.1)?, self.key(to.1)?);
        let same_name = (from.0, &from_key) == (to.0, &to_key);
        self.require_not_inside(moved, to.0)?;
        match (how, target) {
            (Rename::ToFree, Some(_)) => return Err(Errno::EXIST.into()),
            (Rename::Exchange, None) => return Err(Errno::NOENT.into()),
            (Rename::Exchange, Some(target)) => {
                self.require_not_inside(target, from.0)?;
                let entry = |shown: &[u8], node| Some(Entry { shown: shown.into(), node });
                if !same_name {
                    let sets =
                        [(from.0, from_key, entry(from.1, target)), (to.0, to_key, entry(to.1, moved))];
                    self.change(sets.into());
                }
                return Ok(());
            }
            // Two names of one file: the system leaves both.
            (Rename::Over, Some(target)) if target == moved && !same_name => return Ok(()),
            (Rename::Over, Some(target)) if target != moved => self.require_replaceable(moved, target)?,
            _ => {}
        }
        if self.node(to.0)?.links == 0 {
            return Err(Errno::NOENT.into());
        }
        let entry = Entry { shown: to.1.into(), node: moved };
        let mut sets = vec![(to.0, to_key, Some(entry))];
        if !same_name {
            sets.push((from.0, from_key, None));
        }
        self.change(sets);
        Ok(())
    }

    fn require_free(&self, dir: Id, name: &[u8]) -> io::Result<()> {
        match self.child(dir, name)? {
            Some(_) => Err(Errno::EXIST.into()),
            None => Ok(()),
        }
    }

    fn require_empty_dir(&self, node: Id) -> io::Result<()> {
        let node = self.node(node)?;
        match node.kind {
            Kind::Folder if node.names.is_empty() => Ok(()),
            Kind::Folder => Err(Errno::NOTEMPTY.into()),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    fn require_replaceable(&self, moved: Id, target: Id) -> io::Result<()> {
        let is_dir = |node| self.node(node).map(|node| node.kind == Kind::Folder);
        match (is_dir(moved)?, is_dir(target)?) {
            (true, _) => self.require_empty_dir(target),
            (false, true) => Err(Errno::ISDIR.into()),
            (false, false) => Ok(()),
        }
    }

    /// A directory cannot come to lie below itself.
    fn require_not_inside(&self, moved: Id, mut dir: Id) -> io::Result<()> {
        if self.node(moved)?.kind != Kind::Folder {
            return Ok(());
        }
        while dir != ROOT {
            if dir == moved {
                return Err(Errno::INVAL.into());
            }
            dir = self.parent(dir);
        }
        Ok(())
    }
}

fn names_of(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

/// A link says less than so many bytes, as on Linux.
const TARGET_BYTES_MAX: usize = 4096;

/// As many links as Linux follows in one path.
const LINKS_MAX: u32 = 40;
