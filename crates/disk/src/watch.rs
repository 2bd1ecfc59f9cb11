//! Watching a folder: hints that something may have happened, for whoever looks then.
//!
//! Promise: a hint is only a hint (I33), but none is missing without [`Hint::Lost`] being told: each directory is watched
//! before what is in it counts as seen, what the system will not watch is looked through every [`POLL_INTERVAL`] and
//! counted in [`WatchStatus`], and where events were lost everything is to be looked at. Nothing is opened but directories,
//! from handle to handle; ignored ones, `.shoal` and other file systems are not entered (I10, I11, I21, E22). Nothing is
//! decided here, and nothing that an event names is looked at: that is done by who takes the hint.
//!
//! A watch has one thread, which sleeps while nothing happens. Why it is as it is: `docs/design/watching.md`.
//!
//! ```text
//! Source ── events ──► Eye ── Hints: merged, bounded ──► whoever hears
//! (inotify)             └─ Nodes: the directories, each watched or polled
//! ```

mod eye;
mod hints;
#[cfg(target_os = "linux")]
mod inotify;
mod nodes;
mod register;
mod source;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use shoal_engine::io::Hint;
use shoal_proto::path::RelPath;

use self::eye::Eye;
use self::source::{Ring, Source};
use crate::folder::Folder;

/// A folder that is watched until this is dropped.
#[derive(Debug)]
pub struct Watch {
    alarm: Arc<Alarm>,
    status: Arc<Mutex<WatchStatus>>,
    thread: Option<JoinHandle<()>>,
}

/// What has become of hints that were told.
#[derive(Debug)]
pub enum Heard {
    /// They are taken.
    Taken,
    /// There is no room for them just now: here they are again. They are told later, merged with what comes meanwhile.
    Busy(Vec<Hint>),
    /// Nobody wants any more: the watch ends.
    NoMore,
}

/// How well a folder is watched.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct WatchStatus {
    /// Whether all directories have been gone through once.
    pub is_ready: bool,
    /// Directories of which the system tells us at once.
    pub watched: usize,
    /// Directories that we look through every [`POLL_INTERVAL`] instead; slower, if that takes long.
    pub polled: usize,
    /// Why there are such, if there are.
    pub why: Option<Unwatched>,
}

impl fmt::Display for WatchStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "folders watched: {}", self.watched)?;
        match self.why {
            Some(why) if self.polled > 0 => {
                let seconds = POLL_INTERVAL.as_secs();
                write!(f, ", looked through every {seconds} s instead: {} ({why})", self.polled)
            }
            _ => Ok(()),
        }
    }
}

/// Why a directory is not watched, and what a person can do about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unwatched {
    /// This user's watches are used up.
    #[error("this user has no watches left; allow more with `sysctl fs.inotify.max_user_watches=1048576`")]
    NoMoreWatches,
    /// This user's watchers are used up, or this process has too many files open.
    #[error(
        "this user has no watcher left, or too many files are open; allow more with \
         `sysctl fs.inotify.max_user_instances=1024` or `ulimit -n`"
    )]
    NoMoreWatchers,
    /// The system cannot be asked.
    #[error("this system cannot tell what changes")]
    Unsupported,
    /// The system refuses.
    #[error("the system refuses: {0}")]
    Failed(io::ErrorKind),
}

/// What the user keeps out of a share, as far as a watcher cares.
pub(crate) trait Ignores: Send + Sync {
    /// Whether a path is ignored by itself; nothing above it is.
    fn ignores(&self, path: &RelPath, is_folder: bool) -> bool;
}

/// Who knows the rules that say so.
pub(crate) trait KeepsRules: Send + Sync {
    /// Those that were in force when somebody looked last; nobody looks for it now. As long as they cannot be known,
    /// nothing is watched but the root.
    fn in_force(&self) -> io::Result<Arc<dyn Ignores>>;

    /// Whom to tell from now on when others come into force.
    fn tell(&self, watch: Arc<Alarm>);
}

/// Hears of what happens. Is called in the watch's thread, so it must not wait.
type Hear = Box<dyn FnMut(&WatchStatus, Vec<Hint>) -> Heard + Send>;

/// What of a folder is watched.
pub(crate) enum Scope {
    /// What is in it, as classic has it: directories in it are nobody's.
    Names,
    /// The tree, but for what these rules ignore.
    Tree(Arc<dyn KeepsRules>),
}

impl Watch {
    /// The first hint is [`Hint::Lost`], once all is watched: whoever looks at everything then misses nothing.
    pub(crate) fn start(folder: &Folder, scope: Scope, hear: Hear) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        let source = inotify::Inotify::new()?;
        #[cfg(not(target_os = "linux"))]
        let source = source::Blind::default();
        Self::start_with(source, POLL_INTERVAL, folder, scope, hear)
    }

    fn start_with<S: Source>(
        source: S,
        poll_every: Duration,
        folder: &Folder,
        scope: Scope,
        hear: Hear,
    ) -> io::Result<Self> {
        let alarm = Arc::new(Alarm {
            ringer: source.ringer(),
            has_ended: AtomicBool::new(false),
            rules_changed: AtomicBool::new(false),
        });
        // Before they are asked for the first time, so that no change of theirs is missed.
        if let Scope::Tree(rules) = &scope {
            rules.tell(Arc::clone(&alarm));
        }
        let status = Arc::new(Mutex::default());
        let shared = Arc::clone(&folder.shared);
        let eye = Eye::new(source, shared, scope, hear, Arc::clone(&alarm), Arc::clone(&status), poll_every);
        let thread = std::thread::Builder::new().name("watch".into()).spawn(move || eye.run())?;
        Ok(Self { alarm, status, thread: Some(thread) })
    }

    /// How well it is watched, by now.
    pub fn status(&self) -> WatchStatus {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the thread and waits for it: nothing is told and the folder is not held any more.
impl Drop for Watch {
    fn drop(&mut self) {
        self.alarm.has_ended.store(true, Ordering::SeqCst);
        self.alarm.ringer.ring();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // Should it have panicked, there is nothing left to be done.
            let _ = thread.join();
        }
    }
}

impl Folder {
    /// Watches the names in this folder, and not what is in folders below it.
    ///
    /// Returns at once; `hear` is called in a thread of the watch's own and must not wait. The first hint is
    /// [`Hint::Lost`], when the folder is watched.
    ///
    /// # Errors
    /// When the system gives no thread, or no handle to wake it with.
    pub fn watch_names(
        &self,
        hear: impl FnMut(&WatchStatus, Vec<Hint>) -> Heard + Send + 'static,
    ) -> io::Result<Watch> {
        Watch::start(self, Scope::Names, Box::new(hear))
    }
}

/// What a watch's thread is told by others.
#[derive(Debug)]
pub(crate) struct Alarm {
    ringer: Arc<dyn Ring>,
    has_ended: AtomicBool,
    rules_changed: AtomicBool,
}

impl Alarm {
    /// Other folders are ignored than before.
    pub(crate) fn rules_changed(&self) {
        self.rules_changed.store(true, Ordering::SeqCst);
        self.ringer.ring();
    }
}

/// What is not watched is looked through so often, or as much more seldom as keeps the looking at a twentieth of the time.
pub const POLL_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
