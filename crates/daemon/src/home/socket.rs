//! The path of a socket, however long it is.
//!
//! A socket's name has 107 bytes at most. One in a deeper folder is reached through a handle of that folder, by the name that
//! Linux gives to handles.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Home;

/// The longest path of a socket.
const PATH_BYTES_MAX: usize = 107;

impl Home {
    /// Does something with the control socket by a path that the system takes.
    ///
    /// # Errors
    /// Those of what is done; or the folder of the socket cannot be opened.
    pub fn with_socket<T>(&self, deed: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let path = self.socket();
        if path.as_os_str().as_bytes().len() <= PATH_BYTES_MAX {
            return deed(path);
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return deed(path) };
        let folder = File::open(folder)?;
        deed(&PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
    }
}
