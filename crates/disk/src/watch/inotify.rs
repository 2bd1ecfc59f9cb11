//! Linux: `inotify`, one watch a directory.
//!
//! Promise: the system is handed a directory that we hold open, by its number among our own handles, so that nothing
//! which happens to a path meanwhile leads a watch elsewhere (I11). Reading is not asked about: who only looks, we and
//! every backup among them, wakes nobody up.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::Unwatched;
use super::source::{Event, Ring, Source, WatchId, What};
use crate::os::OsDir;

/// The source of this system.
#[derive(Debug)]
pub(super) struct Inotify {
    /// `None`: the system would not give one, or the last one failed; it is asked again with the next directory.
    queue: Option<OwnedFd>,
    /// The root's watch: of it we are told what happens to itself.
    root: Option<i32>,
    bell: Arc<Bell>,
    buffer: Box<[MaybeUninit<u8>]>,
}

#[derive(Debug)]
struct Bell(OwnedFd);

impl Inotify {
    pub(super) fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC.union(EventfdFlags::NONBLOCK))?;
        let buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES].into();
        Ok(Self { queue: None, root: None, bell: Arc::new(Bell(bell)), buffer })
    }

    fn queue(&mut self) -> Result<&OwnedFd, Unwatched> {
        match self.queue {
            Some(ref queue) => Ok(queue),
            None => match inotify::init(CreateFlags::CLOEXEC.union(CreateFlags::NONBLOCK)) {
                Ok(queue) => Ok(self.queue.insert(queue)),
                Err(Errno::MFILE) => Err(Unwatched::NoMoreWatchers),
                Err(error) => Err(failed(error)),
            },
        }
    }
}

impl Source for Inotify {
    fn add(&mut self, dir: &OsDir, is_root: bool) -> Result<WatchId, Unwatched> {
        let path = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
        let wanted = if is_root { WANTED.union(OF_ROOT) } else { WANTED };
        match inotify::add_watch(self.queue()?, path, wanted) {
            Ok(watch) => {
                self.root = if is_root { Some(watch) } else { self.root };
                Ok(WatchId(watch))
            }
            Err(Errno::NOSPC) => Err(Unwatched::NoMoreWatches),
            // There is no `/proc` here.
            Err(Errno::NOENT | Errno::NOTDIR) => Err(Unwatched::Unsupported),
            Err(error) => Err(failed(error)),
        }
    }

    fn remove(&mut self, watch: WatchId) {
        if let Some(queue) = &self.queue {
            // It may have ended by itself.
            let _ = inotify::remove_watch(queue, watch.0);
        }
    }

    fn wait(&mut self, at_most: Option<Duration>) -> io::Result<()> {
        let bell = Arc::clone(&self.bell);
        let mut waited = vec![PollFd::new(&bell.0, PollFlags::IN)];
        waited.extend(self.queue.as_ref().map(|queue| PollFd::new(queue, PollFlags::IN)));
        let at_most = at_most.map(|time| Timespec::try_from(time).unwrap_or(A_LONG_TIME));
        match poll(&mut waited, at_most.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if waited.first().is_some_and(|bell| !bell.revents().is_empty()) {
            // It counts how often it was rung; reading it sets it back.
            let _ = rustix::io::read(&bell.0, &mut [0; 8]);
        }
        Ok(())
    }

    fn take(&mut self, tell: &mut dyn FnMut(Event)) -> io::Result<bool> {
        let Some(queue) = &self.queue else { return Ok(false) };
        let mut reader = Reader::new(queue, &mut self.buffer);
        let mut count = 0;
        loop {
            let seen = match reader.next() {
                Ok(seen) => seen,
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => continue,
                Err(error) => {
                    (self.queue, self.root) = (None, None);
                    return Err(error.into());
                }
            };
            if let Some(event) = told(&seen, self.root) {
                tell(event);
            }
            count += 1;
            if count >= EVENTS_AT_ONCE && reader.is_buffer_empty() {
                return Ok(true);
            }
        }
    }

    fn ringer(&self) -> Arc<dyn Ring> {
        Arc::<Bell>::clone(&self.bell)
    }
}

impl Ring for Bell {
    fn ring(&self) {
        // It can only fail when it was rung so often that it is heard in any case.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

/// What an event says to us; `None`: nothing.
fn told(seen: &inotify::Event<'_>, root: Option<i32>) -> Option<Event> {
    let (happened, watch) = (seen.events(), WatchId(seen.wd()));
    if happened.contains(ReadFlags::QUEUE_OVERFLOW) {
        return Some(Event::Overflow);
    }
    let itself = ReadFlags::MOVE_SELF.union(ReadFlags::DELETE_SELF).union(ReadFlags::UNMOUNT);
    if root == Some(seen.wd()) && happened.intersects(itself) {
        return Some(Event::Uprooted);
    }
    if happened.contains(ReadFlags::IGNORED) {
        return Some(Event::Ended(watch));
    }
    // What has no name happened to the directory itself; the one that it is in tells it too.
    let name = seen.file_name()?.to_bytes().into();
    let what = KINDS.iter().find(|(flag, _)| happened.contains(*flag));
    let what = match what {
        Some((_, what)) => *what,
        None if happened.contains(ReadFlags::MOVED_FROM) => What::MovedAway(seen.cookie()),
        None if happened.contains(ReadFlags::MOVED_TO) => What::MovedHere(seen.cookie()),
        None => return None,
    };
    Some(Event::Named { watch, name, is_folder: happened.contains(ReadFlags::ISDIR), what })
}

fn failed(error: Errno) -> Unwatched {
    Unwatched::Failed(io::Error::from(error).kind())
}

/// Nothing of what happens when something is only read: the queue would be full of our own looking.
const WANTED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::EXCL_UNLINK)
    .union(WatchFlags::ONLYDIR);

const OF_ROOT: WatchFlags = WatchFlags::MOVE_SELF.union(WatchFlags::DELETE_SELF);

const KINDS: [(ReadFlags, What); 5] = [
    (ReadFlags::CREATE, What::Made),
    (ReadFlags::DELETE, What::Gone),
    (ReadFlags::CLOSE_WRITE, What::Closed),
    (ReadFlags::MODIFY, What::Written),
    (ReadFlags::ATTRIB, What::Altered),
];

/// An event has at least 16 bytes, and with a short name 32.
const BUFFER_BYTES: usize = 64 << 10;

/// After so many events, and the rest of what was read with them, somebody else may have a turn.
const EVENTS_AT_ONCE: usize = 4096;

const A_LONG_TIME: Timespec = Timespec { tv_sec: 3600, tv_nsec: 0 };
