//! Making writes survive a power cut.
//!
//! Promise: when a function here returns `Ok`, what it names is on the disk. On file systems whose `syncfs` is known to
//! write everything and to report errors, one call serves a whole batch; elsewhere every file and directory is synced.

use std::io;

use rustix::io::Errno;

use crate::fs::FsDir;

/// How durability is reached on a file system.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Durability {
    /// One `syncfs` covers everything written before it.
    WholeFileSystem,
    /// Each file and each directory needs its own `fsync`.
    EachFile,
}

/// Makes the names in a directory durable.
pub(crate) fn sync_names(dir: &impl FsDir) -> io::Result<()> {
    match dir.sync() {
        // Some network and user-space file systems have no sync of directories: names are durable at once there.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(()),
        result => result,
    }
}
