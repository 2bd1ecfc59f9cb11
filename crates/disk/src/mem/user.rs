//! The user of a disk in memory: whoever works in the folder without asking us, and looks at what came of it.
//!
//! Promise: what a user does is visible at once, not durable, is never made to fail by planned faults, and does not count
//! as a call.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::MemDisk;
use super::calls::{Last, Rename};
use super::image::{Id, Image};
use crate::stat::{FileTime, Kind, Stat};

/// Somebody who uses a disk by absolute paths. Links are followed in all of a path but its last name.
#[derive(Debug)]
pub struct User<'a> {
    disk: &'a MemDisk,
}

/// What a user sees of one thing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// What it is.
    pub kind: Kind,
    /// The bytes of a file, the target of a link.
    pub bytes: Vec<u8>,
    /// Its permissions, `0o7777` at most.
    pub mode: u32,
    /// When its content changed last.
    pub mtime: FileTime,
}

impl<'a> User<'a> {
    pub(super) fn new(disk: &'a MemDisk) -> Self {
        Self { disk }
    }

    /// Saves a file as most programs do: made if it is not there, else cut and written anew.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.at(path, |image, dir, name| {
            let node = image.child(dir, name)?;
            let node = match node {
                Some(node) => node,
                None => {
                    let node = image.make(Kind::File, 0o666, Vec::new());
                    image.place(dir, name, node)?;
                    node
                }
            };
            image.require_file(node)?;
            image.resize(node, 0)?;
            image.write(node, 0, bytes.as_ref())
        })
    }

    /// Writes to the end of a file that is there.
    pub fn append(&self, path: &str, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.on(path, |image, node| {
            image.require_file(node)?;
            let length = image.node(node)?.live.bytes.len() as u64;
            image.write(node, length, bytes.as_ref())
        })
    }

    /// All bytes of a file.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.on(path, |image, node| {
            image.require_file(node)?;
            Ok(image.node(node)?.live.bytes.clone())
        })
    }

    /// Removes a name that is not a directory.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        self.at(path, |image, dir, name| image.remove(dir, name))
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.at(path, |image, dir, name| image.remove_dir(dir, name))
    }

    /// Makes a directory.
    pub fn make_dir(&self, path: &str) -> io::Result<()> {
        self.at(path, |image, dir, name| image.make_dir(dir, name, 0o777))
    }

    /// Makes a symbolic link at `path`.
    pub fn symlink(&self, target: &str, path: &str) -> io::Result<()> {
        self.at(path, |image, dir, name| image.symlink(dir, name, target.as_bytes()))
    }

    /// Gives a file a second name.
    pub fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let node = self.on(from, |_, node| Ok(node))?;
        self.at(to, |image, dir, name| image.link(node, dir, name))
    }

    /// Renames over whatever is there.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from_dir, from_name) = self.at(from, |_, dir, name| Ok((dir, name.to_vec())))?;
        self.at(to, |image, dir, name| image.rename((from_dir, &from_name), (dir, name), Rename::Over))
    }

    /// Sets permissions.
    pub fn set_mode(&self, path: &str, mode: u32) -> io::Result<()> {
        self.on(path, |image, node| image.set_mode(node, mode))
    }

    /// Sets a time of modification.
    pub fn touch(&self, path: &str, mtime: FileTime) -> io::Result<()> {
        self.on(path, |image, node| image.set_mtime(node, mtime))
    }

    /// What the system says of a name; `None` if there is none.
    pub fn stat(&self, path: &str) -> io::Result<Option<Stat>> {
        self.at(path, |image, dir, name| {
            image.child(dir, name)?.map(|node| image.look(node).map(|seen| seen.stat)).transpose()
        })
    }

    /// Everything below a directory, by its path from there.
    pub fn tree(&self, path: &str) -> io::Result<BTreeMap<PathBuf, Seen>> {
        let state = self.disk.state();
        let (top, _) = state.image.walk(Path::new(path), Last::Followed)?;
        let mut tree = BTreeMap::new();
        let mut left = vec![(PathBuf::new(), top)];
        while let Some((above, dir)) = left.pop() {
            for entry in state.image.node(dir)?.names.values() {
                let path = above.join(OsStr::from_bytes(&entry.shown));
                let node = state.image.node(entry.node)?;
                let (bytes, mode, mtime) = (node.live.bytes.clone(), node.live.mode, node.live.mtime);
                tree.insert(path.clone(), Seen { kind: node.kind, bytes, mode, mtime });
                if node.kind == Kind::Folder {
                    left.push((path, entry.node));
                }
            }
        }
        Ok(tree)
    }

    /// Does something to a name in a directory.
    fn at<T>(&self, path: &str, deed: impl FnOnce(&mut Image, Id, &[u8]) -> io::Result<T>) -> io::Result<T> {
        let path = Path::new(path);
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL.into());
        };
        let mut state = self.disk.state();
        let (dir, _) = state.image.walk(above, Last::Followed)?;
        deed(&mut state.image, dir, name.as_bytes())
    }

    /// Does something to what has a name.
    fn on<T>(&self, path: &str, deed: impl FnOnce(&mut Image, Id) -> io::Result<T>) -> io::Result<T> {
        self.at(path, |image, dir, name| {
            let node = image.child(dir, name)?.ok_or(Errno::NOENT)?;
            deed(image, node)
        })
    }
}

impl Image {
    fn require_file(&self, node: Id) -> io::Result<()> {
        match self.node(node)?.kind {
            Kind::File => Ok(()),
            Kind::Folder => Err(Errno::ISDIR.into()),
            _ => Err(Errno::LOOP.into()),
        }
    }
}
