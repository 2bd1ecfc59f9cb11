//! The file-system layer of Shoal: a folder, flat or a tree, read and written through directory handles.
//!
//! Promise: whoever reads a file of the folder sees its old bytes or its new ones, never a mixture, and nothing that a
//! user wrote is lost, even if this process is killed or the power fails between any two system calls (I8, I17); no
//! call touches anything outside the folder (I10, I11).
//!
//! Begin at [`Folder::open`]. A fetched file goes through [`Staging`] (written under a number in `.shoal/staging/`),
//! then through [`Committer`] (made durable, swapped in), and what it replaced into [`History`].
//!
//! ```text
//! Folder ── scan, stat, open_regular ──► what is here
//!   ├─ staging()   ── create ─► StagedFile ── finish ─► FinishedFile ─┐
//!   ├─ committer() ── commit ◄── Placement ◄──────────────────────────┘
//!   └─ history()   ── list, open, prune ◄── what a commit displaced
//! ```
//!
//! A share is the same folder as a tree: [`Folder::tree`] gives a [`Tree`], with paths for names.
//!
//! ```text
//! Tree ── look, sweep ──► what is there, page by page
//!   ├─ open ──► Opened ── cut, read_at ──► segments and the name of a content; spans to be served
//!   └─ commit ◄── Change ◄── staging().create_at, symlink_at
//! ```
//!
//! What the engine asks of a share's disk, a [`Worker`] does with these. That something may have changed, a [`Watch`] tells.
//!
//! All of it asks one seam for what a file system does, [`Fs`], so that it runs over this machine's files ([`Os`], unless
//! told otherwise) and over a disk in memory ([`mem::MemDisk`], by [`Folder::open_on`]).
//!
//! Deliberately absent: sockets, clocks (`prune` is told the time), threads but the one of a [`Watch`] and those that a
//! [`Worker`] is told to read with, and any idea of what should be fetched.

mod batch;
mod buffers;
mod change;
mod commit;
mod content;
mod durable;
mod escape;
mod fault;
mod folder;
mod fs;
mod history;
pub mod mem;
mod name;
mod number;
mod os;
mod path;
mod perform;
mod recover;
mod retouch;
mod scan;
mod stage;
mod stat;
mod swap;
mod sweep;
#[cfg(test)]
mod testing;
mod tree;
mod walk;
mod watch;
pub mod worker;

pub use buffers::{Buffers, Lent};
pub use change::{Change, ChangeError, Changed, TreeDeed, TreeOutcome};
pub use commit::{
    BATCH_BYTES_MAX, BATCH_FILES_MAX, CommitError, Committed, Committer, Deed, Outcome, Placement,
};
pub use content::{Content, ContentError, Opened, Span};
pub use durable::Durability;
pub use escape::Escaped;
pub use folder::{Folder, FolderOptions, OpenError, RootError};
pub use fs::{Fs, FsDir, FsFile, Space};
pub use history::{HISTORY_BYTES_MAX, HISTORY_KEEP, History, HistoryError, Kept, Pruned, Retention};
pub use name::{NAME_BYTES_MAX, Name, NameError, STATE_NAME};
pub use os::{Os, OsDir, Portable, PortableFile, PortableOs};
pub use path::TreePath;
pub use recover::{Recovered, Restored};
pub use scan::{Found, Problem, ReadError, Scan, ScanError, Unlisted};
pub use stage::{FinishedFile, SPACE_KEPT_FREE, StageError, StagedFile, Staging, WRITE_BYTES};
pub use stat::{Expected, FileTime, Kind, Look, Stat};
pub use swap::INSIDE_TOLD_MAX;
pub use sweep::{Entry, Left, Sweep, SweepError, SweepRange, Swept, Unswept};
pub use tree::{LookError, Tree};
pub use walk::{Barred, WalkError};
pub use watch::{Heard, POLL_INTERVAL, Unwatched, Watch, WatchStatus};
pub use worker::{IgnoreTexts, Worker};
