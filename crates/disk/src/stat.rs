//! What the file system says about a file, kept in our own words.
//!
//! Promise: two [`Stat`]s with [`Stat::same_version`] describe the same unchanged bytes, as far as a file system can
//! tell: whoever writes to a file, or puts another one in its place, changes the change time or the inode.

use std::fmt;

use shoal_proto::record::Timestamp;

/// A moment as file systems keep it: seconds since 1970, negative before, and nanoseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct FileTime {
    /// Whole seconds, rounded down.
    pub secs: i64,
    /// Nanoseconds after them, less than 1,000,000,000.
    pub nanos: u32,
}

/// What was seen of a regular file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stat {
    /// The device that it is on.
    pub dev: u64,
    /// Its number on that device.
    pub ino: u64,
    /// Its length in bytes.
    pub size: u64,
    /// When its content changed last, or what somebody set this to.
    pub mtime: FileTime,
    /// When anything about it changed last; nobody can set this.
    pub ctime: FileTime,
    /// Its permission bits, `mode & 0o7777`.
    pub mode: u32,
    /// How many names it has.
    pub nlink: u32,
}

impl Stat {
    /// Whether both describe the same version of the same file: nothing wrote to it and nothing replaced it.
    pub fn same_version(&self, other: &Self) -> bool {
        self.same_apart_from_rename(other) && self.ctime == other.ctime
    }

    /// As [`Self::same_version`], for a file that was renamed in between.
    ///
    /// A rename changes the change time of what it moves, so that can say nothing here. What is left to go by is what
    /// every ordinary edit changes: the modification time, the size, or the file itself.
    pub(crate) fn same_apart_from_rename(&self, other: &Self) -> bool {
        (self.dev, self.ino, self.size, self.mtime) == (other.dev, other.ino, other.size, other.mtime)
    }
}

/// What a name in a folder can be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A plain file, the only kind that is ever opened.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, never followed.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character or block device.
    Device,
    /// Something this system has and we do not know.
    Unknown,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a file",
            Self::Folder => "a folder",
            Self::Symlink => "a symbolic link",
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
            Self::Unknown => "of an unknown kind",
        })
    }
}

/// A look at anything that has a name: its kind, its owner, and the rest as if it were a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Look {
    /// What it is.
    pub kind: Kind,
    /// The number of the user who owns it.
    pub uid: u32,
    /// The rest.
    pub stat: Stat,
}

/// What a deed was planned against: so much of a [`Look`] as an index keeps.
///
/// The device is left out: nothing below a folder is ever taken from another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Expected {
    /// What it was.
    pub kind: Kind,
    /// Its number on the device.
    pub ino: u64,
    /// Its length in bytes.
    pub size: u64,
    /// When its content changed last.
    pub mtime: FileTime,
    /// When anything about it changed last.
    pub ctime: FileTime,
    /// Its permission bits; only the lowest nine count.
    pub mode: u32,
}

impl Expected {
    /// Whether this is still so: of a folder, whose times change with what is in it, that it is the same one with the
    /// same permissions; of anything else that nothing about it has changed.
    pub fn is_met_by(&self, seen: &Look) -> bool {
        self.kind == seen.kind
            && match self.kind {
                Kind::Folder => (self.ino, self.mode & 0o777) == (seen.stat.ino, seen.stat.mode & 0o777),
                _ => self.is_met_by_file(&seen.stat),
            }
    }

    /// The same of what is no folder, whose kind is known.
    pub(crate) fn is_met_by_file(&self, seen: &Stat) -> bool {
        (self.ino, self.size, self.mtime, self.ctime) == (seen.ino, seen.size, seen.mtime, seen.ctime)
    }
}

impl From<&Stat> for Expected {
    /// For what was seen of a plain file.
    fn from(stat: &Stat) -> Self {
        let Stat { ino, size, mtime, ctime, mode, .. } = *stat;
        Self { kind: Kind::File, ino, size, mtime, ctime, mode }
    }
}

impl From<Timestamp> for FileTime {
    fn from(time: Timestamp) -> Self {
        Self { secs: time.seconds, nanos: time.nanos() }
    }
}

impl From<FileTime> for Timestamp {
    /// Nanoseconds beyond a second, which no file system tells, count as none.
    fn from(time: FileTime) -> Self {
        Self::new(time.secs, time.nanos).or_else(|| Self::new(time.secs, 0)).unwrap_or_default()
    }
}

impl Look {
    /// What was seen, if it is a plain file.
    pub fn file(&self) -> Option<&Stat> {
        (self.kind == Kind::File).then_some(&self.stat)
    }

    /// What this would be expected as later.
    pub fn expected(&self) -> Expected {
        let Stat { ino, size, mtime, ctime, mode, .. } = self.stat;
        Expected { kind: self.kind, ino, size, mtime, ctime, mode }
    }

    /// Whether this is what was seen then, renamed at most: of a folder the same one, of anything else the same version.
    pub(crate) fn same_apart_from_rename(&self, then: &Self) -> bool {
        self.kind == then.kind
            && match self.kind {
                Kind::Folder => self.is_same_thing(then),
                _ => self.stat.same_apart_from_rename(&then.stat),
            }
    }

    /// Whether this is the very same thing, by device and inode.
    pub fn is_same_thing(&self, other: &Self) -> bool {
        (self.stat.dev, self.stat.ino) == (other.stat.dev, other.stat.ino)
    }
}
