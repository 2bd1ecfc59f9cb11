//! A disk in memory, for tests and simulated worlds: it forgets what was not synced, fails where it is told to, and
//! has the manners of file systems that we cannot mount.
//!
//! Promise: what was made durable is there after [`MemDisk::power_cut`]; of everything else, any part may be, as the seed
//! says. The same calls with the same seeds give the same disk: nothing here asks a clock or draws lots.
//!
//! What is modelled, and how strictly: a file's bytes, in blocks of 4 KiB, its size, and its mode with its time reach
//! the disk each on its own, in any order, so that a file can have its length and zeros. A change of names (a rename, an
//! exchange) reaches the disk whole or not at all; two changes do so in any order unless they touch the same name, which
//! is less than journals promise. Syncing a file makes all of it durable but its name; syncing a directory its names.
//! A sync that fails has lost what it was to write, and the next one knows nothing of it, as on Linux. Permissions are
//! kept and not enforced; directories have no durable mode or time of their own.
//!
//! Begin at [`MemDisk::new`]; [`MemDisk::user`] is the hand of a user who does not sync.

mod calls;
mod cut;
mod events;
mod faults;
mod image;
mod user;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

pub use self::calls::{MemDir, MemFile};
pub use self::events::{EVENTS_MAX, Event, Happened};
pub use self::faults::{Call, Trouble};
pub use self::user::{Seen, User};

use self::faults::Faults;
use self::image::{Id, Image};
use crate::durable::Durability;
use crate::fs::Space;
use crate::stat::FileTime;

/// A disk in memory. Clones are the same disk; see [`Self::fork`] for another one.
#[derive(Clone, Debug)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
}

/// The manners of a file system.
#[derive(Clone, Debug)]
pub struct Quirks {
    /// How fine times are, in nanoseconds: 1, 100, 1,000,000,000 and 2,000,000,000 are usual. At least 1.
    pub time_step: u64,
    /// The first and the last second that a time can have; others become the nearer of the two.
    pub time_range: (i64, i64),
    /// Whether a modification time can be set; `EPERM` if not.
    pub sets_times: bool,
    /// Whether permissions are kept; if not, setting them goes well and does nothing.
    pub keeps_modes: bool,
    /// Whether names that differ in letter case alone are the same; such a disk refuses names that are not UTF-8.
    pub folds_case: bool,
    /// Whether renames know the flags for "only to a free name" and "exchange"; `EINVAL` if not.
    pub renames_with_flags: bool,
    /// Whether a file can have several names; `EPERM` if not.
    pub links: bool,
    /// Whether directories can be synced. If not, `EINVAL`, and names are durable at once.
    pub syncs_directories: bool,
    /// Whether the number of a file that is gone is given to the next one.
    pub reuses_numbers: bool,
    /// What making things durable needs.
    pub durability: Durability,
    /// What a new file is not given of the permissions that it asks for.
    pub mode_mask: u32,
    /// What is told to whoever asks for the space that is left; see also [`MemDisk::fill_after`].
    pub space: Space,
}

impl Default for Quirks {
    /// A file system like ext4.
    fn default() -> Self {
        Self {
            time_step: 1,
            time_range: (i64::MIN, i64::MAX),
            sets_times: true,
            keeps_modes: true,
            folds_case: false,
            renames_with_flags: true,
            links: true,
            syncs_directories: true,
            reuses_numbers: false,
            durability: Durability::WholeFileSystem,
            mode_mask: 0o022,
            space: Space { free: 1 << 40, total: 1 << 40 },
        }
    }
}

impl Quirks {
    /// A file system like FAT: no links, permissions or letter case, times of 2 s, and each thing synced by itself.
    pub fn like_fat() -> Self {
        Self {
            time_step: 2_000_000_000,
            keeps_modes: false,
            folds_case: true,
            renames_with_flags: false,
            links: false,
            reuses_numbers: true,
            durability: Durability::EachFile,
            ..Self::default()
        }
    }
}

impl MemDisk {
    /// An empty disk on which it is 1970.
    pub fn new(quirks: Quirks) -> Self {
        Self::with(State { image: Image::new(quirks), faults: Faults::default(), life: 0, handles: 0 })
    }

    /// Another disk that is as this one is now; handles on this one stay here.
    pub fn fork(&self) -> Self {
        let state = self.state();
        let mut image = state.image.clone();
        image.close_all();
        Self::with(State { image, faults: state.faults.clone(), life: 0, handles: 0 })
    }

    fn with(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Sets the time that the disk gives to what changes from now on.
    pub fn set_time(&self, now: FileTime) {
        self.state().image.now = now;
    }

    /// The time that what changes now is given.
    pub fn time(&self) -> FileTime {
        self.state().image.now
    }

    /// Changes what is told of the space; see [`Quirks::space`].
    pub fn set_space(&self, space: Space) {
        self.state().image.quirks.space = space;
    }

    /// What a user does here, at once visible and never synced.
    pub fn user(&self) -> User<'_> {
        User::new(self)
    }

    /// Makes everything durable, without counting as a call.
    pub fn sync(&self) {
        self.state().image.sync_all();
    }

    /// How many calls came so far, failed ones included, those of the user not.
    pub fn calls(&self) -> u64 {
        self.state().faults.calls
    }

    /// From now on each call is written down; [`Self::trace`] gives what was.
    pub fn keep_trace(&self) {
        self.state().faults.trace = Some(Vec::new());
    }

    /// The calls since [`Self::keep_trace`], one a line.
    pub fn trace(&self) -> Vec<String> {
        self.state().faults.trace.clone().unwrap_or_default()
    }

    /// From now on, up to the next crash, what happens to names and files is written down, by whomever, for
    /// [`Self::take_events`]: in our own directory too.
    pub fn keep_events(&self) {
        self.state().image.events = Some(Vec::new());
    }

    /// What happened since [`Self::keep_events`] or since this was asked last; nothing is merged. At most
    /// [`EVENTS_MAX`].
    pub fn take_events(&self) -> Vec<Event> {
        self.state().image.events.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Lets the `nth` call from now (the next one is 1) fail once and do nothing; of those of one sort, or of all. A
    /// sync that fails so has lost what it was to write.
    pub fn fail_nth(&self, call: Option<Call>, nth: u64, trouble: Trouble) {
        self.state().faults.plan(call, nth, trouble);
    }

    /// Lets so many more calls through and none after them, until [`Self::crash`] or [`Self::power_cut`]; a process
    /// that dies there gets to do nothing else.
    pub fn stop_after(&self, calls: u64) {
        self.state().faults.stop_after(calls);
    }

    /// After so many more bytes the disk is full; `None` for never. The user does not count and is not stopped.
    pub fn fill_after(&self, bytes: Option<u64>) {
        self.state().faults.room = bytes;
    }

    /// No single write takes more bytes than these; at least 1.
    pub fn write_at_most(&self, bytes: usize) {
        self.state().faults.write_max = bytes.max(1);
    }

    /// Ends the process that used the disk: its handles are dead, its locks free, and everything it wrote is there. All
    /// faults are forgotten.
    pub fn crash(&self) {
        let mut state = self.state();
        state.faults = Faults::default();
        state.life += 1;
        state.image.events = None;
        state.image.close_all();
    }

    /// As [`Self::crash`], with the power gone: what was not durable is there in part, as the seed says.
    pub fn power_cut(&self, seed: u64) {
        self.crash();
        self.state().image.power_cut(seed);
    }

    /// A test that failed while it held the lock is told of once, by its own message.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All there is of a disk.
#[derive(Debug)]
struct State {
    image: Image,
    faults: Faults,
    /// Counts crashes; a handle of an earlier life is dead.
    life: u64,
    /// Counts handles.
    handles: u64,
}

/// Keeps a node open until it is dropped.
#[derive(Debug)]
struct Handle {
    disk: MemDisk,
    node: Id,
    life: u64,
    id: u64,
}

impl Handle {
    /// Opens a node. `state` is the locked state of `disk`.
    fn new(disk: &MemDisk, state: &mut State, node: Id) -> Self {
        state.handles += 1;
        state.image.open(node);
        Self { disk: disk.clone(), node, life: state.life, id: state.handles }
    }

    /// Begins a call through this handle.
    fn call(&self, call: Call, on: &[u8]) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.alive()?;
        state.faults.pass(call, on)?;
        Ok(state)
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.life == self.life { Ok(state) } else { Err(Errno::IO.into()) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Ok(mut state) = self.alive() {
            state.image.close(self.node, self.id);
        }
    }
}

#[cfg(test)]
mod tests;
