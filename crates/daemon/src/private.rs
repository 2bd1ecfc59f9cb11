//! Files that nobody but this user may read, and that are old or new, never half.
//!
//! Promise: what is written here has mode 0600 from its first moment, is durable when the call returns, and takes the place
//! of what was there in one step. What is read is a plain file of this user that nobody else may read, and no longer
//! than asked for.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use shoal_disk::Escaped;
use zeroize::Zeroizing;

/// Why a private file, or the folder of such, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// The system refuses.
    #[error("cannot {deed} {path}")]
    Io {
        /// What was tried.
        deed: &'static str,
        /// With which file or folder.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// Others may read or write it.
    #[error(
        "{path} is open to others (mode {mode:03o}); if nobody has seen it, close it with `chmod go= {path}`"
    )]
    Open {
        /// Which.
        path: String,
        /// The permissions that it has.
        mode: u32,
    },
    /// It is another user's.
    #[error("{path} belongs to another user (uid {owner})")]
    Foreign {
        /// Which.
        path: String,
        /// Whose it is.
        owner: u32,
    },
    /// It is no plain file, or longer than it can be.
    #[error("{path} is {what}")]
    Odd {
        /// Which.
        path: String,
        /// What it is.
        what: &'static str,
    },
}

pub(crate) fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    Escaped(path.as_os_str().as_bytes()).to_string()
}

pub(crate) fn io_error(deed: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PrivateError {
    let path = shown(path);
    move |source| PrivateError::Io { deed, path, source }
}

/// The bytes of a private file; `None`: there is none.
pub(crate) fn read(path: &Path, at_most: u64) -> Result<Option<Zeroizing<Vec<u8>>>, PrivateError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_error("open", path))?,
    };
    let metadata = file.metadata().map_err(io_error("open", path))?;
    let odd = |what| Err(PrivateError::Odd { path: shown(path), what });
    if !metadata.is_file() {
        return odd("no plain file");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(PrivateError::Foreign { path: shown(path), owner: metadata.uid() });
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(PrivateError::Open { path: shown(path), mode: metadata.mode() & 0o777 });
    }
    let mut bytes =
        Zeroizing::new(Vec::with_capacity(usize::try_from(at_most.min(metadata.len() + 1)).unwrap_or(0)));
    file.take(at_most + 1).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    if bytes.len() as u64 > at_most { odd("longer than it can be") } else { Ok(Some(bytes)) }
}

/// Puts these bytes in the place of the file, durably; nothing is left beside it if that fails. Only one process at a time may
/// do so.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), PrivateError> {
    let new = beside(path);
    match std::fs::remove_file(&new) {
        // What a crash left; it may be of any mode.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("remove", &new)(error)),
        _ => {}
    }
    replace(path, &new, bytes).inspect_err(|_| {
        // A full disk needs the room, and what is half is of no use.
        let _ = std::fs::remove_file(&new);
    })?;
    sync_parent(path).map_err(io_error("write", path))
}

fn replace(path: &Path, new: &Path, bytes: &[u8]) -> Result<(), PrivateError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(new)
        .map_err(io_error("make", new))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error("write", new))?;
    std::fs::rename(new, path).map_err(io_error("replace", path))
}

/// Removes a file durably; that there is none is as well.
pub(crate) fn remove(path: &Path) -> Result<(), PrivateError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| sync_parent(path)).map_err(io_error("remove", path)),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_is_written_is_private_and_takes_the_place_in_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert!(read(&path, 10).unwrap().is_none());
        write(&path, b"one").unwrap();
        // A crash left half of something that others may read.
        fs::write(beside(&path), b"ha").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(**read(&path, 3).unwrap().unwrap(), *b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // A folder cannot be replaced.
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        assert!(matches!(write(&other, b"three").unwrap_err(), PrivateError::Io { .. }));
        assert!(!beside(&other).exists());
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(read(&path, 10).unwrap().is_none());
    }

    #[test]
    fn what_others_may_read_or_have_put_there_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write(&path, b"secret").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o602] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read(&path, 10).unwrap_err();
            assert!(matches!(error, PrivateError::Open { mode: found, .. } if found == mode), "{error}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read(&path, 5).unwrap_err(), PrivateError::Odd { .. }));
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(read(&link, 10).unwrap_err(), PrivateError::Io { .. }));
        assert!(matches!(read(folder.path(), 10).unwrap_err(), PrivateError::Odd { .. }));
    }
}
