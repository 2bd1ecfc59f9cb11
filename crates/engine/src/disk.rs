//! What the engine asks of a disk, and what a disk answers.
//!
//! Promise: these are values and nothing else; whoever owns the folder performs a [`Job`] and answers each once. Jobs
//! of one share may be performed side by side, but for those about one staged file, and for commits, which come one
//! after the other. What an [`Answer`] calls done is durable. Every deed names what it was planned against; if that is
//! not so any more, the user's edit stands and the answer says so (I3).

use core::ops::Range;

use shoal_proto::chunk::ChunkList;
use shoal_proto::hash::ContentId;
use shoal_proto::here::Here;
use shoal_proto::id::DeviceId;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Mode, Timestamp, Version};
use shoal_proto::segment::{Segment, SegmentList};

use crate::history::{Kept, Naming, Why};
use crate::index::List;

/// What a look at a path shows: all of a [`Here`] but the content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// What it is.
    pub kind: SeenKind,
    /// When its content changed last, as the disk says; zero for a folder, which has no time of its own.
    pub mtime: Timestamp,
    /// Its permissions.
    pub mode: Mode,
    /// The inode number.
    pub inode: u64,
    /// When the inode last changed; zero for a folder, which changes with what is in it.
    pub ctime: Timestamp,
}

/// What can be seen at a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SeenKind {
    /// A file of so many bytes.
    File {
        /// How many.
        size: u64,
    },
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink {
        /// What it says.
        target: Box<[u8]>,
    },
}

impl Seen {
    /// What this is with its content known; `content` counts for files alone.
    #[must_use]
    pub fn with_content(self, content: ContentId) -> Here {
        let kind = match self.kind {
            SeenKind::File { size } => Kind::File { size, content },
            SeenKind::Directory => Kind::Directory,
            SeenKind::Symlink { target } => Kind::Symlink { target },
        };
        Here { version: Version::new(kind, self.mtime, self.mode), inode: self.inode, ctime: self.ctime }
    }
}

impl From<&Here> for Seen {
    fn from(here: &Here) -> Self {
        let kind = match &here.version.kind {
            Kind::File { size, .. } => SeenKind::File { size: *size },
            Kind::Symlink { target } => SeenKind::Symlink { target: target.clone() },
            // Nothing that is gone is here.
            Kind::Directory | Kind::Gone { .. } => SeenKind::Directory,
        };
        let Version { mtime, mode, .. } = here.version;
        Self { kind, mtime, mode, inode: here.inode, ctime: here.ctime }
    }
}

/// A staged file, as the engine calls it; never used twice.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct StageId(pub u64);

/// Where bytes are on this disk: to be checked against their hash by who gets them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BytesAt {
    /// In a file of the folder, as long as it is still what was seen.
    Folder {
        /// Which one.
        path: RelPath,
        /// What was seen.
        seen: Seen,
        /// From this byte of it on.
        offset: u64,
    },
    /// In a file of the history.
    History {
        /// Its number there.
        number: u64,
        /// How many bytes it has, and when it was changed last, as long as it is still that (E17).
        size: u64,
        /// See above.
        mtime: Timestamp,
        /// From this byte of it on.
        offset: u64,
    },
    /// In a staged file.
    Staged {
        /// Which one.
        stage: StageId,
        /// From this byte of it on.
        offset: u64,
    },
}

/// What a disk is to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Job {
    /// Look through the tree, in the order of paths.
    Sweep(Sweep),
    /// Look at these paths.
    Look(Vec<RelPath>),
    /// Say of these paths whether the user keeps them out of the share; with each, whether a folder is to stand there.
    Ignores(Vec<(RelPath, bool)>),
    /// Name the content of what was seen, and make durable what stands at these paths, or that nothing does.
    Take(Vec<Take>),
    /// Put bytes into staged files.
    Write(Vec<Write>),
    /// Find out which bytes of a segment are not among those that are near it.
    Compare(Box<Compare>),
    /// Forget staged files.
    Drop(Vec<StageId>),
    /// Change the tree. The deeds are done in their order.
    Commit(Vec<Change>),
    /// Read spans, each from the first place that has it.
    Read(Vec<Wanted>),
    /// The chunks of a segment.
    Chunks {
        /// Of which content; it keys the list.
        content: ContentId,
        /// Where the segment is.
        wanted: Wanted,
    },
    /// All that the history holds, from this number on.
    History {
        /// Numbers after this one.
        after: Option<u64>,
    },
    /// Name the content of a version in history.
    Name(u64),
    /// Remove these versions from the history. `tidies`: what is written down of those that are gone goes, too.
    Prune {
        /// Their numbers.
        numbers: Vec<u64>,
        /// It takes as long as there are versions.
        tidies: bool,
    },
    /// Put a copy of a version in history into the folder, as its user would.
    Restore(Box<Restore>),
}

/// A part of a tree to be looked through.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sweep {
    /// Only what is below this folder; `None`: all of the share.
    pub below: Option<RelPath>,
    /// Only paths after this one.
    pub after: Option<RelPath>,
    /// Only what is in the folder itself.
    pub is_shallow: bool,
    /// At most so many.
    pub at_most: usize,
}

/// A path whose content is to be named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Take {
    /// Which one.
    pub path: RelPath,
    /// What was seen there; `None`: nothing.
    pub seen: Option<Seen>,
    /// The segments of what was there before, if it is known to be worth comparing: what is unchanged is found sooner.
    pub was: Option<SegmentList>,
    /// What it consists of, if that is known, and the path only has to be looked at once more: it was moved here.
    pub content: Option<ContentId>,
}

impl Take {
    /// Of what nothing is known from before.
    #[must_use]
    pub fn new(path: RelPath, seen: Option<Seen>) -> Self {
        Self { path, seen, was: None, content: None }
    }
}

/// Bytes for a staged file, which is made if there is none of this name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Write {
    /// Which one.
    pub stage: StageId,
    /// How many bytes the whole file is to have.
    pub size: u64,
    /// Where the segment goes.
    pub offset: u64,
    /// What the bytes must be.
    pub segment: Segment,
    /// Where they are from.
    pub from: Source,
}

/// Bytes in the pieces in which they came, one after the other: to copy them together costs as much as to encrypt them.
pub type Pieces = Vec<Vec<u8>>;

/// Where the bytes of a segment are from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// They came, in these pieces.
    Bytes(Pieces),
    /// They are here, at one of these places.
    Places(Vec<BytesAt>),
    /// Some of them came, the others are among those near it.
    Chunks {
        /// What it consists of, and what is here.
        compared: Box<Compare>,
        /// What was missing: where in the segment, and the bytes.
        came: Vec<(u32, Vec<u8>)>,
    },
}

/// A segment, as chunks, and bytes that may have most of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Compare {
    /// The wanted content: it keys the list.
    pub content: ContentId,
    /// Its chunks.
    pub chunks: ChunkList,
    /// Where to look, and how many bytes there.
    pub near: Vec<(BytesAt, u32)>,
}

/// A span to be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// Where it may be; the first place that has it is read.
    pub places: Vec<BytesAt>,
    /// How many bytes.
    pub length: u32,
}

/// One thing to be done to one path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Where.
    pub path: RelPath,
    /// What.
    pub deed: ChangeDeed,
    /// Whose record asks for it.
    pub by: Option<DeviceId>,
    /// Why what it displaces goes.
    pub why: Why,
}

/// A version in history, and where it is to stand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restore {
    /// Its number.
    pub number: u64,
    /// Where. Folders that are missing on the way are made.
    pub to: RelPath,
    /// What it replaces, which goes to history; `None`: the path must be free.
    pub over: Option<Seen>,
    /// Whose user wants it.
    pub by: DeviceId,
}

/// What is to be done to a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ChangeDeed {
    /// Put a file or link there.
    Place {
        /// What it is to be. A file that has bytes has them in the staged file.
        version: Version,
        /// The staged file; `None` for a link or a file without bytes.
        stage: Option<StageId>,
        /// What it replaces, which goes to history; `None`: the path must be free.
        over: Option<Seen>,
    },
    /// Give what is there this time, and these permissions.
    Retouch {
        /// What was planned against.
        present: Seen,
        /// The time; `None`: it keeps its own.
        mtime: Option<Timestamp>,
        /// The permissions.
        mode: Mode,
    },
    /// Make a folder.
    MakeFolder {
        /// Its permissions.
        mode: Mode,
        /// The file or link in its place, which goes to history.
        over: Option<Seen>,
    },
    /// Take this away: a file or link to history, a folder if it is empty.
    Remove(Seen),
    /// Give this another path, which must be free.
    Move {
        /// The new path.
        to: RelPath,
        /// What was planned against.
        present: Seen,
    },
}

/// What a disk answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// A page of the tree.
    Swept {
        /// What is there, in the order of paths. A folder whose inside turns out to be unreadable is told a second time,
        /// as [`Look::Unknown`], where its inside would come; never as the last entry of a page, unless that is the end.
        entries: Vec<(RelPath, Look)>,
        /// Whether there is nothing after it.
        is_end: bool,
    },
    /// What is at the paths, in their order.
    Looked(Vec<Look>),
    /// Whether each path is kept out of the share.
    Ignores(Vec<bool>),
    /// What became of each.
    Taken(Vec<Taken>),
    /// What became of each.
    Written(Vec<Written>),
    /// The bytes of the segment that are not here; `None`: what was to be near is not there any more.
    Compared(Option<Vec<Range<u32>>>),
    /// They are forgotten.
    Dropped,
    /// What became of each change.
    Committed(Vec<Committed>),
    /// The bytes of each span; `None`: no place has it now.
    Read(Vec<Option<Vec<u8>>>),
    /// The list of chunks; `None`: the segment is not there now.
    Chunks(Option<ChunkList>),
    /// A page of what the history holds.
    History {
        /// Versions, by their numbers.
        kept: Vec<Kept>,
        /// The last number that was read, of which there may be nothing to tell: more may come after it. `None`: this is
        /// the last page.
        next: Option<u64>,
    },
    /// What a version in history is.
    Named(Naming),
    /// The versions are gone.
    Pruned,
    /// What became of putting a version back.
    Restored(Box<Restored>),
    /// The root of the share is not the one that it was; nothing was done (I19). The text says what is wrong.
    NotTheRoot(String),
    /// The whole job failed: nothing is known to be done.
    Failed(String),
}

/// What is at a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Look {
    /// This.
    Seen(Seen),
    /// Nothing.
    Nothing,
    /// Nobody can say, of it and of all below it: it must not be taken for gone.
    Unknown(Unknown),
    /// The user keeps it, and all below it, out of the share.
    Ignored,
}

/// Why nobody can say what is at a path, or why it is not taken into the share.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Unknown {
    /// A pipe, socket or device.
    Special,
    /// This user may not read it.
    Unreadable,
    /// Another file system is mounted there.
    OtherFileSystem,
    /// It cannot be a path of a share.
    NoPath(String),
    /// The system fails.
    Failed(String),
}

/// What became of taking a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Taken {
    /// This is there, durably.
    Here {
        /// What.
        here: Here,
        /// Its segments, if there are several.
        list: Option<List>,
        /// After an unclean stop: it became empty, all zeros, or what it was before; to be listed, not published.
        is_suspicious: bool,
    },
    /// Nothing is there, durably.
    Nothing,
    /// It is not what was seen, or changed while it was read.
    Changed,
    /// Nobody can say what is there.
    Unknown(Unknown),
}

/// What became of bytes for a staged file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Written {
    /// They are in it.
    Done,
    /// They are not what they must be. Of those that came, who sent them is at fault.
    False,
    /// None of the places has them.
    NotHere,
    /// The disk is full.
    NoSpace,
    /// The system refuses; the staged file is of no more use.
    Failed(String),
}

/// How a change ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Committed {
    /// As planned, and durable.
    Done {
        /// What is there now, of a move at its new path; `None`: nothing.
        now: Option<Seen>,
        /// What was displaced, in history.
        kept: Option<Kept>,
    },
    /// What is there is not what was planned against: look again.
    ChangedHere {
        /// An older edit of the user's that lost its place to a newer one, in history.
        kept: Option<Kept>,
    },
    /// The folder has something in it and stays.
    NotEmpty {
        /// Some names in it, for a person to read.
        inside: Vec<String>,
    },
    /// There is no way to the path: something above it is not there, or is no folder of the share. Nothing was changed.
    Barred(String),
    /// The staged file is not there (any more), or is not complete.
    NotStaged,
    /// This disk cannot name it as the share does: the text says why (a reserved name, or one that another path has
    /// here).
    NoName(String),
    /// The disk is full. Nothing was changed.
    NoSpace,
    /// The system refuses, and the text says why. Whether it is done may not be known: look again.
    Failed(String),
}

/// What became of putting a version back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Restored {
    /// It stands there, durably.
    Done {
        /// What is there now.
        here: Here,
        /// Its segments, if there are several.
        list: Option<List>,
        /// What it displaced, in history.
        kept: Option<Kept>,
    },
    /// There is no such version.
    Missing,
    /// It could not be put there: the outcome says why, and is not [`Committed::Done`].
    Not(Committed),
}
