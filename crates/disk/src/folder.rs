//! Opening the folder that is kept in sync, and making sure that it stays the one that was opened.
//!
//! Promise: a [`Folder`] that opened is served by us alone, lies in no other served folder, and its state in `.shoal/`
//! is a real directory of our own. It is held by handle: whatever happens to its path, nothing else is ever touched.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::commit::Committer;
use crate::content::Ends;
use crate::durable::{Durability, sync_names};
use crate::escape::shown;
use crate::fs::{Fs, FsDir, FsFile, PRIVATE};
use crate::history::History;
use crate::name::STATE_NAME;
use crate::number::Numbers;
use crate::os::Os;
use crate::recover::{self, Recovered};
use crate::stage::Staging;
use crate::stat::{FileTime, Kind, Look};
use crate::tree::Tree;

/// One folder, opened for syncing. Clones share it; it is let go with the last of them and of what they gave out.
#[derive(Clone, Debug)]
pub struct Folder<F: Fs = Os> {
    pub(crate) shared: Arc<Shared<F>>,
}

/// What may be opened.
#[derive(Clone, Debug, Default)]
pub struct FolderOptions {
    /// The user said that a whole file system or the whole home folder is meant.
    pub broad: bool,
    /// Where the user's home is, if there is one.
    pub home: Option<PathBuf>,
}

/// Why a folder cannot be synced.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nothing at this path.
    #[error("{} does not exist; create the folder first", shown(.path))]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// There is something else.
    #[error("{} is not a folder", shown(.path))]
    NotAFolder {
        /// The path as given.
        path: PathBuf,
    },
    /// `/` or the home folder, and nobody said that this is meant.
    #[error("{} is {what}; sync a folder inside it, or say explicitly that all of it is meant", shown(.path))]
    Broad {
        /// The folder.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A folder above has a `.shoal` of its own.
    #[error(
        "{} lies inside {}, which is a synced folder itself; sync only one of the two \
         (or remove {}/.shoal if that one is no longer synced)",
        shown(.path), shown(.outer), shown(.outer)
    )]
    Nested {
        /// The folder.
        path: PathBuf,
        /// The served folder above it.
        outer: PathBuf,
    },
    /// Another process has the lock.
    #[error("{} is being synced already{}; stop that one first", shown(.path), by_process(.process))]
    Served {
        /// The folder.
        path: PathBuf,
        /// The process that wrote its number into the lock.
        process: Option<u32>,
    },
    /// Something of ours is not ours (E23).
    #[error("{} {what}; remove it, then start again", shown(.path))]
    Unsafe {
        /// The thing in or below `.shoal`.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// We may not write here.
    #[error("cannot write in {}: it is read-only for this user; change its permissions, or sync another folder", shown(.path))]
    ReadOnly {
        /// The folder or the thing in it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else the system refuses.
    #[error("cannot {deed} {}", shown(.path))]
    Io {
        /// What was being done.
        deed: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why the folder is not the one that was opened, or cannot be asked (I19).
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// Its path leads nowhere.
    #[error("{} is gone; put the folder back, or mount its disk again", shown(.path))]
    Gone {
        /// The folder.
        path: PathBuf,
    },
    /// Its path leads to another folder.
    #[error("{} is another folder than before; put the right one back, or mount its disk again", shown(.path))]
    Replaced {
        /// The folder.
        path: PathBuf,
    },
    /// Its `.shoal` is gone or another one.
    #[error("{}/.shoal is no longer there; restart to begin anew in this folder", shown(.path))]
    MarkerGone {
        /// The folder.
        path: PathBuf,
    },
    /// The system cannot say.
    #[error("cannot look at {}", shown(.path))]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What all parts of an open folder share.
#[derive(Debug)]
pub(crate) struct Shared<F: Fs> {
    pub(crate) path: PathBuf,
    pub(crate) fs: F,
    pub(crate) root: Arc<F::Dir>,
    pub(crate) staging: F::Dir,
    pub(crate) history: F::Dir,
    pub(crate) durability: Durability,
    pub(crate) numbers: Numbers,
    /// What a new file gets: `0o666` less what the process masks.
    pub(crate) new_file_mode: u32,
    /// Set once the file system has refused to exchange names or to keep one from being replaced.
    pub(crate) plain_renames: AtomicBool,
    /// How often a sync of the whole file system has failed. The system has then dropped bytes that it could not write,
    /// of any file, and a later sync knows nothing of them: what was staged before must not be trusted any more.
    failed_syncs: AtomicU64,
    /// Held while the history table is read, appended to or rewritten.
    pub(crate) table: Mutex<()>,
    /// Set once whoever reads much is to break off.
    pub(crate) ends: Ends,
    pub(crate) root_seen: Look,
    state_seen: Look,
    /// Holds the lock as long as it is open.
    lock: F::File,
}

impl Folder {
    /// Opens a folder of this machine, makes `.shoal/` in it if needed, and clears up what a crash has left there.
    pub fn open(path: &Path, options: &FolderOptions) -> Result<(Self, Recovered), OpenError> {
        Self::open_on(&Os, path, options)
    }
}

impl<F: Fs> Folder<F> {
    /// As [`Folder::open`], on any file system.
    pub fn open_on(fs: &F, path: &Path, options: &FolderOptions) -> Result<(Self, Recovered), OpenError> {
        let path = resolve(fs, path)?;
        let root = fs.open_path(&path).map_err(io_error("open", &path))?;
        let root_seen = root.look_through().map_err(io_error("look at", &path))?;
        refuse_broad(fs, &path, &root_seen, options)?;
        refuse_nested(fs, &path, &root, root_seen)?;

        let (state, state_seen) = open_state(fs, &root, &root_seen, &path, STATE_NAME)?;
        let state_path = path.join(STATE_NAME);
        let lock = lock(&state, &state_path, &path)?;
        let (staging, _) = open_state(fs, &state, &root_seen, &state_path, "staging")?;
        let (history, _) = open_state(fs, &state, &root_seen, &state_path, "history")?;
        for dir in [&root, &state] {
            sync_names(dir).map_err(io_error("write", &path))?;
        }

        let durability = root.durability().map_err(io_error("look at", &path))?;
        let mut shared = Shared {
            fs: fs.clone(),
            root: Arc::new(root),
            staging,
            history,
            durability,
            numbers: Numbers::default(),
            new_file_mode: 0,
            plain_renames: AtomicBool::new(false),
            failed_syncs: AtomicU64::new(0),
            table: Mutex::new(()),
            ends: Ends::default(),
            root_seen,
            state_seen,
            lock,
            path,
        };
        let recovered = recover::recover(&shared).map_err(io_error("clear up", &state_path))?;
        shared.new_file_mode = shared.probe_new_file_mode().map_err(io_error("write", &state_path))?;
        Ok((Self { shared: Arc::new(shared) }, recovered))
    }

    /// The path of the folder, absolute, links resolved when it was opened.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Where fetched files are written first.
    pub fn staging(&self) -> Staging<F> {
        Staging::new(Arc::clone(&self.shared))
    }

    /// What puts finished files into place.
    pub fn committer(&self) -> Committer<F> {
        Committer::new(Arc::clone(&self.shared))
    }

    /// The folder as a share has it: a tree of folders.
    pub fn tree(&self) -> Tree<F> {
        Tree::new(Arc::clone(&self.shared))
    }

    /// The versions that were replaced.
    pub fn history(&self) -> History<F> {
        History::new(Arc::clone(&self.shared))
    }

    /// Whether the path still leads to the folder that was opened, and our state is still in it (I19).
    pub fn check_root(&self) -> Result<(), RootError> {
        let Shared { path, fs, root, root_seen, state_seen, .. } = &*self.shared;
        let now = match fs.look_path(path) {
            Ok(now) => now,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(RootError::Gone { path: path.clone() });
            }
            Err(error) => return Err(self.shared.root_error(error)),
        };
        if !now.is_same_thing(root_seen) {
            return Err(RootError::Replaced { path: path.clone() });
        }
        match root.look(STATE_NAME.as_ref()) {
            Ok(Some(state)) if state.is_same_thing(state_seen) => Ok(()),
            Ok(_) => Err(RootError::MarkerGone { path: path.clone() }),
            Err(error) => Err(self.shared.root_error(error)),
        }
    }

    /// How many bytes the file system still has for us.
    pub fn free_space(&self) -> Result<u64, RootError> {
        Ok(self.shared.root.space().map_err(|error| self.shared.root_error(error))?.free)
    }

    /// Makes everything that was written on this file system so far durable, by whomever; network file systems may
    /// promise less.
    pub fn sync(&self) -> Result<(), RootError> {
        self.shared.sync_file_system().map_err(|error| self.shared.root_error(error))
    }
}

impl<F: Fs> Shared<F> {
    /// Writes out the whole file system, and counts if that fails.
    pub(crate) fn sync_file_system(&self) -> io::Result<()> {
        self.root.sync_file_system().inspect_err(|_| {
            self.failed_syncs.fetch_add(1, Ordering::SeqCst);
        })
    }

    /// Our own directory, as long as it is the one that was opened.
    pub(crate) fn open_own(&self) -> io::Result<F::Dir> {
        let own = self.root.open_dir(STATE_NAME.as_ref())?;
        match own.look_through()?.is_same_thing(&self.state_seen) {
            true => Ok(own),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Whether names that differ in letter case alone are the same here, as far as our own directory shows it. If the
    /// system cannot say, they may be.
    pub(crate) fn folds_case(&self) -> bool {
        let other = STATE_NAME.to_ascii_uppercase();
        self.root
            .look(other.as_ref())
            .map_or(true, |seen| seen.is_some_and(|seen| seen.is_same_thing(&self.state_seen)))
    }

    /// What time it is by the clock from which this file system takes its change times, as coarse as it keeps them. Only
    /// what it gives to a file tells that. `None`: it gives none to ours, for want of room or because it may not be written;
    /// what is saved must be taken all the same (I20).
    pub(crate) fn now(&self) -> io::Result<Option<FileTime>> {
        use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        // Setting the permissions that it has counts as a change.
        match self.lock.set_mode(PRIVATE).map_err(|error| (error.kind(), error)) {
            Ok(()) => Ok(Some(self.lock.look_through()?.stat.ctime)),
            Err((PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull, _)) => Ok(None),
            Err((_, error)) => Err(error),
        }
    }

    /// How often [`Self::sync_file_system`] has failed.
    pub(crate) fn failed_syncs(&self) -> u64 {
        self.failed_syncs.load(Ordering::SeqCst)
    }

    fn root_error(&self, source: io::Error) -> RootError {
        RootError::Io { path: self.path.clone(), source }
    }

    /// The mask of a process can be read only by setting it, which other threads would notice; a file tells it too.
    fn probe_new_file_mode(&self) -> io::Result<u32> {
        let name = self.numbers.draw().file_name();
        let probe = self.staging.create_new_with(name.as_ref(), 0o666)?;
        let mode = probe.look_through().map(|seen| seen.stat.mode & 0o777);
        self.staging.remove(name.as_ref())?;
        mode
    }
}

/// Follows links once and for all.
fn resolve(fs: &impl Fs, path: &Path) -> Result<PathBuf, OpenError> {
    let resolved = fs.resolve(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => OpenError::Missing { path: path.into() },
        io::ErrorKind::NotADirectory => OpenError::NotAFolder { path: path.into() },
        _ => io_error("open", path)(source),
    })?;
    match fs.look_path(&resolved) {
        Ok(seen) if seen.kind == Kind::Folder => Ok(resolved),
        Ok(_) => Err(OpenError::NotAFolder { path: path.into() }),
        Err(source) => Err(io_error("look at", path)(source)),
    }
}

fn refuse_broad(fs: &impl Fs, path: &Path, root: &Look, options: &FolderOptions) -> Result<(), OpenError> {
    if options.broad {
        return Ok(());
    }
    if path.parent().is_none() {
        return Err(OpenError::Broad { path: path.into(), what: "the root of the whole file system" });
    }
    let home = options.home.as_deref().and_then(|home| fs.resolve(home).ok());
    let home = home.and_then(|home| fs.look_path(&home).ok());
    if home.is_some_and(|home| home.is_same_thing(root)) {
        return Err(OpenError::Broad { path: path.into(), what: "the home folder" });
    }
    Ok(())
}

/// Walks up by handle; what we may not look at we cannot be told to mind.
fn refuse_nested<F: Fs>(fs: &F, path: &Path, root: &F::Dir, root_seen: Look) -> Result<(), OpenError> {
    let mut below = root_seen;
    let mut above = root.parent();
    for outer in path.ancestors().skip(1) {
        let Ok(dir) = above else { break };
        let Ok(seen) = dir.look_through() else { break };
        if seen.is_same_thing(&below) {
            break;
        }
        if is_served(fs, &dir, &seen) {
            return Err(OpenError::Nested { path: path.into(), outer: outer.into() });
        }
        above = dir.parent();
        below = seen;
    }
    Ok(())
}

/// Whether a folder has a `.shoal` with a lock in it. One of a stranger counts only in the stranger's own folder, or
/// anybody could keep everybody from syncing below `/tmp`.
fn is_served<F: Fs>(fs: &F, dir: &F::Dir, seen: &Look) -> bool {
    let Ok(Some(state)) = dir.look(STATE_NAME.as_ref()) else { return false };
    let ours = state.uid == fs.user();
    if state.kind != Kind::Folder || !(ours || state.uid == seen.uid) {
        return false;
    }
    match dir.open_dir(STATE_NAME.as_ref()).and_then(|state| state.look(LOCK_NAME.as_ref())) {
        Ok(lock) => lock.is_some(),
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Opens one of our own directories, after making it if it is not there.
fn open_state<F: Fs>(
    fs: &F,
    parent: &F::Dir,
    root: &Look,
    above: &Path,
    name: &str,
) -> Result<(F::Dir, Look), OpenError> {
    let path = above.join(name);
    let unsafe_state = |what| OpenError::Unsafe { path: path.clone(), what };
    let name = OsStr::new(name);
    match parent.look(name).map_err(io_error("look at", &path))? {
        None => match parent.make_dir(name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(write_error("create", above, &path)(error));
            }
            _ => {}
        },
        Some(seen) => match seen.kind {
            Kind::Folder => {}
            Kind::Symlink => return Err(unsafe_state("is a symbolic link, not a folder of our own")),
            _ => return Err(unsafe_state("is not a folder")),
        },
    }
    let dir = parent.open_dir(name).map_err(io_error("open", &path))?;
    let seen = dir.look_through().map_err(io_error("look at", &path))?;
    if seen.uid != fs.user() {
        return Err(unsafe_state("belongs to another user"));
    }
    if seen.stat.dev != root.stat.dev {
        return Err(unsafe_state("is on another file system than the folder"));
    }
    if seen.stat.mode & 0o077 != 0 {
        // Not every file system has permissions; where they cannot be set there are none to protect us.
        let _ = dir.set_mode(0o700);
    }
    Ok((dir, seen))
}

fn lock<D: FsDir>(state: &D, state_path: &Path, root: &Path) -> Result<D::File, OpenError> {
    let path = state_path.join(LOCK_NAME);
    let name = OsStr::new(LOCK_NAME);
    if state.look(name).map_err(io_error("look at", &path))?.is_some_and(|seen| seen.kind != Kind::File) {
        return Err(OpenError::Unsafe { path, what: "is not a plain file" });
    }
    let mut file = state.open_or_create(name).map_err(write_error("open", root, &path))?;
    match file.lock() {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let mut text = String::new();
            // The number only helps the message; without it the refusal is the same.
            let _ = (&mut file).take(LOCK_BYTES_MAX).read_to_string(&mut text);
            return Err(OpenError::Served { path: root.into(), process: text.trim().parse().ok() });
        }
        Err(error) => return Err(io_error("lock", &path)(error)),
    }
    let text = format!("{}\n", std::process::id());
    // On a full disk the folder can still be served, and the lock holds without a number in it.
    let _ = file.set_len(0).and_then(|()| file.write_at(text.as_bytes(), 0));
    Ok(file)
}

fn io_error(deed: &'static str, path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { deed, path: path.into(), source }
}

/// As [`io_error`], but tells a folder in which we may not write apart.
fn write_error(deed: &'static str, folder: &Path, path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            OpenError::ReadOnly { path: folder.into(), source }
        }
        _ => io_error(deed, path)(source),
    }
}

fn by_process(process: &Option<u32>) -> String {
    process.map_or_else(String::new, |process| format!(" by process {process}"))
}

const LOCK_NAME: &str = "lock";

/// A process number and a line end fit in here.
const LOCK_BYTES_MAX: u64 = 32;

#[cfg(test)]
mod tests;
