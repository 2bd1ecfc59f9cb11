//! Opening the folder that is kept in sync, and making sure that it stays the one that was opened.
//!
//! Promise: a [`Folder`] that opened is served by us alone, lies in no other served folder, and its state in `.shoal/`
//! is a real directory of our own. It is held by handle: whatever happens to its path, nothing else is ever touched.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use rustix::fs::{FlockOperation, Mode};
use rustix::io::Errno;

use crate::commit::Committer;
use crate::dir::{Dir, look_through};
use crate::durable::{self, Durability};
use crate::escape::shown;
use crate::history::History;
use crate::name::STATE_NAME;
use crate::number::Numbers;
use crate::recover::{self, Recovered};
use crate::stage::Staging;
use crate::stat::{Kind, Look};

/// One folder, opened for syncing. Clones share it; it is let go with the last of them and of what they gave out.
#[derive(Clone, Debug)]
pub struct Folder {
    pub(crate) shared: Arc<Shared>,
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
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) root: Dir,
    pub(crate) staging: Dir,
    pub(crate) history: Dir,
    pub(crate) durability: Durability,
    pub(crate) numbers: Numbers,
    /// What a new file gets: `0o666` less what the process masks.
    pub(crate) new_file_mode: u32,
    /// Set once the file system has refused to exchange names or to keep one from being replaced.
    pub(crate) plain_renames: AtomicBool,
    /// Held while the history table is read, appended to or rewritten.
    pub(crate) table: Mutex<()>,
    root_seen: Look,
    state_seen: Look,
    /// Holds the lock as long as it is open.
    _lock: File,
}

impl Folder {
    /// Opens a folder, makes `.shoal/` in it if needed, and clears up what a crash has left there.
    pub fn open(path: &Path, options: &FolderOptions) -> Result<(Self, Recovered), OpenError> {
        let path = resolve(path)?;
        let root = Dir::open_path(&path).map_err(io_error("open", &path))?;
        let root_seen = look_through(&root).map_err(io_error("look at", &path))?;
        refuse_broad(&path, &root_seen, options)?;
        refuse_nested(&path, &root, root_seen)?;

        let (state, state_seen) = open_state(&root, &root_seen, &path, STATE_NAME)?;
        let state_path = path.join(STATE_NAME);
        let lock = lock(&state, &state_path, &path)?;
        let (staging, _) = open_state(&state, &root_seen, &state_path, "staging")?;
        let (history, _) = open_state(&state, &root_seen, &state_path, "history")?;
        for dir in [&root, &state] {
            dir.sync().map_err(io_error("write", &path))?;
        }

        let durability = Durability::of(&root).map_err(io_error("look at", &path))?;
        let mut shared = Shared {
            root,
            staging,
            history,
            durability,
            numbers: Numbers::default(),
            new_file_mode: 0,
            plain_renames: AtomicBool::new(false),
            table: Mutex::new(()),
            root_seen,
            state_seen,
            _lock: lock,
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
    pub fn staging(&self) -> Staging {
        Staging::new(Arc::clone(&self.shared))
    }

    /// What puts finished files into place.
    pub fn committer(&self) -> Committer {
        Committer::new(Arc::clone(&self.shared))
    }

    /// The versions that were replaced.
    pub fn history(&self) -> History {
        History::new(Arc::clone(&self.shared))
    }

    /// Whether the path still leads to the folder that was opened, and our state is still in it (I19).
    pub fn check_root(&self) -> Result<(), RootError> {
        let Shared { path, root, root_seen, state_seen, .. } = &*self.shared;
        let now = match rustix::fs::statx(
            rustix::fs::CWD,
            path,
            rustix::fs::AtFlags::NO_AUTOMOUNT,
            rustix::fs::StatxFlags::BASIC_STATS,
        ) {
            Ok(now) => Look::from(now),
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(RootError::Gone { path: path.clone() }),
            Err(error) => return Err(self.shared.root_error(error.into())),
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
        Ok(self.shared.space().map_err(|error| self.shared.root_error(error))?.free)
    }

    /// Makes everything that was written on this file system so far durable, by whomever; network file systems may
    /// promise less.
    pub fn sync(&self) -> Result<(), RootError> {
        durable::sync_file_system(&self.shared.root).map_err(|error| self.shared.root_error(error))
    }
}

/// How full a file system is, in bytes.
pub(crate) struct Space {
    pub(crate) free: u64,
    pub(crate) total: u64,
}

impl Shared {
    pub(crate) fn space(&self) -> io::Result<Space> {
        let seen = rustix::fs::fstatvfs(&self.root)?;
        Ok(Space {
            free: seen.f_bavail.saturating_mul(seen.f_frsize),
            total: seen.f_blocks.saturating_mul(seen.f_frsize),
        })
    }

    fn root_error(&self, source: io::Error) -> RootError {
        RootError::Io { path: self.path.clone(), source }
    }

    /// The mask of a process can be read only by setting it, which other threads would notice; a file tells it too.
    fn probe_new_file_mode(&self) -> io::Result<u32> {
        let name = self.numbers.draw().file_name();
        let probe = self.staging.create_new_with(name.as_ref(), Mode::from_raw_mode(0o666))?;
        let mode = look_through(&probe).map(|seen| seen.stat.mode & 0o777);
        self.staging.remove(name.as_ref())?;
        mode
    }
}

/// Follows links once and for all.
fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    let resolved = path.canonicalize().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => OpenError::Missing { path: path.into() },
        io::ErrorKind::NotADirectory => OpenError::NotAFolder { path: path.into() },
        _ => io_error("open", path)(source),
    })?;
    match resolved.metadata() {
        Ok(seen) if seen.is_dir() => Ok(resolved),
        Ok(_) => Err(OpenError::NotAFolder { path: path.into() }),
        Err(source) => Err(io_error("look at", path)(source)),
    }
}

fn refuse_broad(path: &Path, root: &Look, options: &FolderOptions) -> Result<(), OpenError> {
    if options.broad {
        return Ok(());
    }
    if path.parent().is_none() {
        return Err(OpenError::Broad { path: path.into(), what: "the root of the whole file system" });
    }
    let home = options.home.as_deref().and_then(|home| home.canonicalize().ok());
    let home = home.and_then(|home| Dir::open_path(&home).ok()).and_then(|home| look_through(home).ok());
    if home.is_some_and(|home| home.is_same_thing(root)) {
        return Err(OpenError::Broad { path: path.into(), what: "the home folder" });
    }
    Ok(())
}

/// Walks up by handle; what we may not look at we cannot be told to mind.
fn refuse_nested(path: &Path, root: &Dir, root_seen: Look) -> Result<(), OpenError> {
    let mut below = root_seen;
    let mut above = root.parent();
    for outer in path.ancestors().skip(1) {
        let Ok(dir) = above else { break };
        let Ok(seen) = look_through(&dir) else { break };
        if seen.is_same_thing(&below) {
            break;
        }
        if is_served(&dir, &seen) {
            return Err(OpenError::Nested { path: path.into(), outer: outer.into() });
        }
        above = dir.parent();
        below = seen;
    }
    Ok(())
}

/// Whether a folder has a `.shoal` with a lock in it. One of a stranger counts only in the stranger's own folder, or
/// anybody could keep everybody from syncing below `/tmp`.
fn is_served(dir: &Dir, seen: &Look) -> bool {
    let Ok(Some(state)) = dir.look(STATE_NAME.as_ref()) else { return false };
    let ours = state.uid == rustix::process::geteuid().as_raw();
    if state.kind != Kind::Folder || !(ours || state.uid == seen.uid) {
        return false;
    }
    match dir.open_dir(STATE_NAME.as_ref()).and_then(|state| state.look(LOCK_NAME.as_ref())) {
        Ok(lock) => lock.is_some(),
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Opens one of our own directories, after making it if it is not there.
fn open_state(parent: &Dir, root: &Look, above: &Path, name: &str) -> Result<(Dir, Look), OpenError> {
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
    let seen = look_through(&dir).map_err(io_error("look at", &path))?;
    if seen.uid != rustix::process::geteuid().as_raw() {
        return Err(unsafe_state("belongs to another user"));
    }
    if seen.stat.dev != root.stat.dev {
        return Err(unsafe_state("is on another file system than the folder"));
    }
    if seen.stat.mode & 0o077 != 0 {
        // Not every file system has permissions; where they cannot be set there are none to protect us.
        let _ = rustix::fs::fchmod(&dir, Mode::RWXU);
    }
    Ok((dir, seen))
}

fn lock(state: &Dir, state_path: &Path, root: &Path) -> Result<File, OpenError> {
    let path = state_path.join(LOCK_NAME);
    let name = OsStr::new(LOCK_NAME);
    if state.look(name).map_err(io_error("look at", &path))?.is_some_and(|seen| seen.kind != Kind::File) {
        return Err(OpenError::Unsafe { path, what: "is not a plain file" });
    }
    let mut file = state.open_or_create(name).map_err(write_error("open", root, &path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // The number only helps the message; without it the refusal is the same.
            let _ = (&mut file).take(LOCK_BYTES_MAX).read_to_string(&mut text);
            return Err(OpenError::Served { path: root.into(), process: text.trim().parse().ok() });
        }
        Err(error) => return Err(io_error("lock", &path)(error.into())),
    }
    let written =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    // On a full disk the folder can still be served, and the lock holds without a number in it.
    drop(written);
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
