//! Where a daemon keeps what it is: its configuration, key, shares, indexes, and the socket by which it is asked.
//!
//! Promise: all of the state lies in one folder that nobody but this user may enter; one daemon at a time has it
//! ([`Home::hold`]); its key is made once, never replaced, and refused if others could have read it. A home is a value:
//! the environment is looked at once, by whoever starts the program ([`Environment`]).
//!
//! ```text
//!   usual                                      with --home DIR
//!   $XDG_CONFIG_HOME/shoal/config.toml         DIR/config.toml
//!   $XDG_STATE_HOME/shoal/key                  DIR/key
//!   $XDG_STATE_HOME/shoal/lock                 DIR/lock
//!   $XDG_STATE_HOME/shoal/port                 DIR/port
//!   $XDG_STATE_HOME/shoal/shares/ID.json       DIR/shares/ID.json
//!   $XDG_STATE_HOME/shoal/shares/ID.roster     DIR/shares/ID.roster
//!   $XDG_STATE_HOME/shoal/indexes/ID.db        DIR/indexes/ID.db
//!   $XDG_RUNTIME_DIR/shoal.sock                DIR/shoal.sock
//! ```

mod key;
mod lock;
mod socket;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use shoal_proto::id::ShareId;

pub use self::key::KeyError;
pub use self::lock::Held;
use crate::private::{PrivateError, io_error, shown};

/// The places of one daemon.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Home {
    config: PathBuf,
    state: PathBuf,
    socket: PathBuf,
    user_home: Option<PathBuf>,
}

/// What the environment says about places. Empty and relative values count for nothing, as the XDG rules have it.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `HOME`
    pub home: Option<OsString>,
    /// `XDG_CONFIG_HOME`
    pub config: Option<OsString>,
    /// `XDG_STATE_HOME`
    pub state: Option<OsString>,
    /// `XDG_RUNTIME_DIR`
    pub runtime: Option<OsString>,
}

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Nothing says where it is.
    #[error("there is no home folder to keep state in; set HOME, or name a folder with `--home DIR`")]
    Nowhere,
    /// Others may enter the folder of the state.
    #[error(
        "others may enter {path} (mode {mode:03o}), where keys and secrets are; close it with \
         `chmod go= {path}`, or name another folder"
    )]
    Open {
        /// The folder.
        path: String,
        /// The permissions that it has.
        mode: u32,
    },
    /// The folder is another user's, or no folder.
    #[error("{path} is no folder of this user")]
    Foreign {
        /// Which.
        path: String,
    },
    /// A daemon runs there.
    #[error("a daemon runs already{}; `shoal stop` ends it", of(*.pid))]
    Held {
        /// Its process, if that is known.
        pid: Option<u32>,
    },
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file or folder of the state cannot be used.
    #[error(transparent)]
    File(#[from] PrivateError),
}

fn of(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(", as process {pid}"))
}

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let var = |name| std::env::var_os(name);
        Self {
            home: std::env::home_dir().map(PathBuf::into_os_string),
            config: var("XDG_CONFIG_HOME"),
            state: var("XDG_STATE_HOME"),
            // Where it is named and not there, after `su` say, the socket lies with the state.
            runtime: var("XDG_RUNTIME_DIR").filter(|folder| Path::new(folder).is_dir()),
        }
    }
}

impl Home {
    /// The home in this folder, or the user's own. Nothing is made yet.
    ///
    /// # Errors
    /// When neither the folder nor the environment says where it is.
    pub fn find(asked: Option<&Path>, environment: &Environment) -> Result<Self, HomeError> {
        let absolute =
            |value: &Option<OsString>| value.clone().map(PathBuf::from).filter(|path| path.is_absolute());
        let user_home = absolute(&environment.home);
        if let Some(asked) = asked {
            let folder = std::path::absolute(asked).map_err(io_error("find", asked))?;
            let (config, socket) = (folder.join("config.toml"), folder.join("shoal.sock"));
            return Ok(Self { config, state: folder, socket, user_home });
        }
        let below = |value: &Option<OsString>, usual: &str| {
            let folder = absolute(value).or_else(|| user_home.as_ref().map(|home| home.join(usual)));
            folder.map(|folder| folder.join("shoal")).ok_or(HomeError::Nowhere)
        };
        let config = below(&environment.config, ".config")?.join("config.toml");
        let state = below(&environment.state, ".local/state")?;
        let socket = absolute(&environment.runtime).unwrap_or_else(|| state.clone()).join("shoal.sock");
        Ok(Self { config, state, socket, user_home })
    }

    /// The configuration; it need not be there.
    #[must_use]
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// The folder of the state.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The control socket. Its path may be longer than the system takes: see [`Self::with_socket`].
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The user's home folder: not to be shared whole by accident.
    #[must_use]
    pub fn user_home(&self) -> Option<&Path> {
        self.user_home.as_deref()
    }

    /// The folder of the registry.
    #[must_use]
    pub fn shares(&self) -> PathBuf {
        self.state.join("shares")
    }

    /// What is kept of a share's roster beside its index.
    #[must_use]
    pub fn roster_file(&self, share: &ShareId) -> PathBuf {
        self.shares().join(format!("{share}.roster"))
    }

    /// The index of a share.
    #[must_use]
    pub fn index_file(&self, share: &ShareId) -> PathBuf {
        self.state.join("indexes").join(format!("{share}.db"))
    }

    /// Takes this home for the one daemon that may have it, and makes what is missing of it.
    ///
    /// # Errors
    /// When another daemon has it, others may enter it, or the system refuses.
    pub fn hold(&self) -> Result<Held, HomeError> {
        private_folder(&self.state)?;
        let held = Held::take(self.clone())?;
        for folder in ["shares", "indexes"] {
            private_folder(&self.state.join(folder))?;
        }
        Ok(held)
    }
}

/// Makes a folder that nobody else may enter, or makes sure that it is one. An empty one of this user's becomes one.
fn private_folder(path: &Path) -> Result<(), HomeError> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(HomeError::Foreign { path: shown(path) });
        }
        made => made.map_err(io_error("make", path))?,
    }
    let metadata = fs::metadata(path).map_err(io_error("look at", path))?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(HomeError::Foreign { path: shown(path) });
    }
    if metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    let is_empty = fs::read_dir(path).map_err(io_error("look into", path))?.next().is_none();
    if !is_empty {
        return Err(HomeError::Open { path: shown(path), mode: metadata.mode() & 0o777 });
    }
    Ok(fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(io_error("close", path))?)
}

#[cfg(test)]
mod tests;
