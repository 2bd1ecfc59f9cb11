//! What tells of changes in directories: the seam between the watcher and the system.
//!
//! Promise: a directory is named by its handle, never by a path, and so is an event: by the watch of the directory it
//! happened in. Where a system tells nothing ([`Blind`]), everything is polled by the same code.

use std::fmt;
use std::io;
use std::sync::Arc;
#[cfg(any(test, not(target_os = "linux")))]
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Unwatched;
use crate::os::OsDir;

/// One watched directory, as the source calls it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub(super) struct WatchId(pub(super) i32);

/// What a source tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// Some events are lost, nobody knows which.
    Overflow,
    /// This directory is not watched any more: it was deleted, or its disk is gone.
    Ended(WatchId),
    /// The root itself was moved or deleted, or its disk is gone.
    Uprooted,
    /// Something happened to a name in a watched directory.
    Named {
        /// In which.
        watch: WatchId,
        /// The name, one component.
        name: Box<[u8]>,
        /// Whether it is, or was, a directory.
        is_folder: bool,
        /// What.
        what: What,
    },
}

/// What happened to a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum What {
    /// It is new. A file is usually being written then; a link is not.
    Made,
    /// A file was written to by someone who has it open.
    Written,
    /// Someone who could write to a file has closed it.
    Closed,
    /// Its permissions or times were set.
    Altered,
    /// It was removed.
    Gone,
    /// It was moved away; who comes by the same number is the same thing.
    MovedAway(u32),
    /// It was moved here.
    MovedHere(u32),
}

/// Where a watcher hears of changes.
pub(super) trait Source: Send + 'static {
    /// Watches a directory. One that is watched already has the same watch again, whatever its path is by now.
    ///
    /// # Errors
    /// When it cannot be watched now.
    fn add(&mut self, dir: &OsDir, is_root: bool) -> Result<WatchId, Unwatched>;

    /// Watches a directory no more; fine if it is not watched any more.
    fn remove(&mut self, watch: WatchId);

    /// Waits until there are events, the ringer has rung, or this time is over.
    ///
    /// # Errors
    /// When the system fails to wait; what has happened meanwhile may be lost.
    fn wait(&mut self, at_most: Option<Duration>) -> io::Result<()>;

    /// Hands over events that are there, and does not wait; at most some thousands of them. `true`: there may be more.
    ///
    /// # Errors
    /// When they cannot be read, and are lost; the source then knows none of its watches any more.
    fn take(&mut self, tell: &mut dyn FnMut(Event)) -> io::Result<bool>;

    /// What ends [`Source::wait`], from any thread.
    fn ringer(&self) -> Arc<dyn Ring>;
}

/// Wakes a watcher up.
pub(super) trait Ring: Send + Sync + fmt::Debug {
    /// Ends the present wait, or the next one.
    fn ring(&self);
}

/// A source that tells nothing: on systems that we do not know how to ask.
#[cfg(any(test, not(target_os = "linux")))]
#[derive(Debug, Default)]
pub(super) struct Blind(Arc<Bell>);

#[cfg(any(test, not(target_os = "linux")))]
#[derive(Debug, Default)]
struct Bell {
    has_rung: Mutex<bool>,
    rung: Condvar,
}

#[cfg(any(test, not(target_os = "linux")))]
impl Source for Blind {
    fn add(&mut self, _: &OsDir, _: bool) -> Result<WatchId, Unwatched> {
        Err(Unwatched::Unsupported)
    }

    fn remove(&mut self, _: WatchId) {}

    fn wait(&mut self, at_most: Option<Duration>) -> io::Result<()> {
        let has_rung = self.0.has_rung.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = |has_rung: &mut bool| !*has_rung;
        let mut has_rung = match at_most {
            None => self.0.rung.wait_while(has_rung, is_quiet).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                let waited = self.0.rung.wait_timeout_while(has_rung, time, is_quiet);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        *has_rung = false;
        Ok(())
    }

    fn take(&mut self, _: &mut dyn FnMut(Event)) -> io::Result<bool> {
        Ok(false)
    }

    fn ringer(&self) -> Arc<dyn Ring> {
        Arc::<Bell>::clone(&self.0)
    }
}

#[cfg(any(test, not(target_os = "linux")))]
impl Ring for Bell {
    fn ring(&self) {
        *self.has_rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.rung.notify_one();
    }
}
