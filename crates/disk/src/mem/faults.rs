//! What a disk in memory is told to do wrong.
//!
//! Promise: a fault strikes at the call it was planned for and at no other.

use std::io;

use rustix::io::Errno;

use crate::escape::Escaped;

/// The sorts of calls that can be told to fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call {
    /// Opening what is there, file or directory, also by path.
    Open,
    /// Making a directory.
    MakeDir,
    /// Making a file, or opening one that is made if it is not there.
    Create,
    /// Looking at a name, a handle or a path.
    Look,
    /// Reading.
    Read,
    /// Writing, and taking room to write.
    Write,
    /// Cutting or lengthening a file.
    Resize,
    /// Setting permissions.
    SetMode,
    /// Setting a time.
    SetTime,
    /// Any kind of rename.
    Rename,
    /// Giving a file a further name.
    Link,
    /// Making or reading a symbolic link.
    Symlink,
    /// Removing a file or a directory.
    Remove,
    /// Reading the names of a directory.
    List,
    /// Syncing a file.
    SyncFile,
    /// Syncing a directory.
    SyncDir,
    /// Syncing the file system.
    SyncAll,
    /// Asking for space or for what durability needs.
    Space,
    /// Locking.
    Lock,
}

/// What a call can fail with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// `EIO`: the device failed.
    Io,
    /// `ENOSPC`: the disk is full.
    NoSpace,
    /// `EDQUOT`: the quota is used up.
    Quota,
    /// `EACCES`: this user may not.
    Denied,
    /// `EMFILE`: too many open files.
    TooManyOpen,
    /// `EROFS`: the file system is read-only.
    ReadOnly,
}

impl From<Trouble> for io::Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Io => Errno::IO,
            Trouble::NoSpace => Errno::NOSPC,
            Trouble::Quota => Errno::DQUOT,
            Trouble::Denied => Errno::ACCESS,
            Trouble::TooManyOpen => Errno::MFILE,
            Trouble::ReadOnly => Errno::ROFS,
        }
        .into()
    }
}

/// The faults of one disk.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    pub(super) calls: u64,
    pub(super) trace: Option<Vec<String>>,
    pub(super) room: Option<u64>,
    pub(super) write_max: usize,
    planned: Vec<Planned>,
    /// How many calls still go through.
    left: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Planned {
    call: Option<Call>,
    left: u64,
    trouble: Trouble,
}

impl Default for Faults {
    fn default() -> Self {
        Self { calls: 0, trace: None, room: None, write_max: usize::MAX, planned: Vec::new(), left: None }
    }
}

impl Faults {
    pub(super) fn plan(&mut self, call: Option<Call>, nth: u64, trouble: Trouble) {
        self.planned.push(Planned { call, left: nth, trouble });
    }

    pub(super) fn stop_after(&mut self, calls: u64) {
        self.left = Some(calls);
    }

    /// Whether nothing goes through any more.
    pub(super) fn has_stopped(&self) -> bool {
        self.left == Some(0)
    }

    /// Lets a call through or fails it.
    pub(super) fn pass(&mut self, call: Call, on: &[u8]) -> io::Result<()> {
        if self.has_stopped() {
            return Err(Errno::IO.into());
        }
        self.calls += 1;
        self.left = self.left.map(|left| left - 1);
        let mut struck = None;
        self.planned.retain_mut(|planned| {
            if planned.call.is_some_and(|sort| sort != call) {
                return true;
            }
            planned.left = planned.left.saturating_sub(1);
            if planned.left == 0 {
                struck = Some(planned.trouble);
            }
            planned.left > 0
        });
        if let Some(trace) = &mut self.trace {
            let result = struck.map_or_else(String::new, |trouble| format!(" fails with {trouble:?}"));
            trace.push(format!("{call:?} {}{result}", Escaped(on)));
        }
        struck.map_or(Ok(()), |trouble| Err(trouble.into()))
    }

    /// How many of `wanted` bytes can be written now.
    pub(super) fn take_room(&mut self, wanted: usize) -> io::Result<usize> {
        let wanted = wanted.min(self.write_max);
        let Some(room) = self.room else { return Ok(wanted) };
        if room == 0 && wanted > 0 {
            return Err(Errno::NOSPC.into());
        }
        let taken = usize::try_from(room).unwrap_or(usize::MAX).min(wanted);
        self.room = Some(room - taken as u64);
        Ok(taken)
    }
}
