//! One daemon has a home at a time.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use shoal_proto::key::DeviceKey;

use super::{Home, HomeError, key};
use crate::private::{self, io_error};

/// The longest text of a port.
const PORT_BYTES_MAX: u64 = 16;

/// A home that is this process's until this is dropped, or the process ends.
#[derive(Debug)]
pub struct Held {
    home: Home,
    /// Open as long as the lock is wanted.
    _lock: File,
}

impl Held {
    pub(super) fn take(home: Home) -> Result<Self, HomeError> {
        let path = home.state.join("lock");
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let mut lock = options.open(&path).map_err(io_error("open", &path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(HomeError::Held { pid: holder(&mut lock) }),
            Err(error) => return Err(io_error("lock", &path)(error.into()).into()),
        }
        // Only for people: that there is a lock is what counts.
        let text = format!("{}\n", std::process::id());
        let written =
            lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(text.as_bytes()));
        written.map_err(io_error("write", &path))?;
        Ok(Self { home, _lock: lock })
    }

    /// Which home it is.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The device's key; made at first use.
    ///
    /// # Errors
    /// When it is damaged, open to others, or gone while there are shares; or cannot be written.
    pub fn device_key(&self) -> Result<DeviceKey, HomeError> {
        Ok(key::of(&self.home)?)
    }

    /// The port at which this device listened last.
    #[must_use]
    pub fn last_port(&self) -> Option<u16> {
        let bytes = private::read(&self.home.state.join("port"), PORT_BYTES_MAX).ok()??;
        std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
    }

    /// Remembers the port, so that invites and other members find this device at the same one after a restart.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_last_port(&self, port: u16) -> Result<(), HomeError> {
        if self.last_port() != Some(port) {
            private::write(&self.home.state.join("port"), format!("{port}\n").as_bytes())?;
        }
        Ok(())
    }
}

impl Home {
    /// Waits until no daemon has this home. It may take as long as a daemon takes to end.
    ///
    /// # Errors
    /// When the lock cannot be opened.
    pub fn wait_until_free(&self) -> Result<(), HomeError> {
        let path = self.state.join("lock");
        let lock = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            lock => lock.map_err(io_error("open", &path))?,
        };
        loop {
            match flock(&lock, FlockOperation::LockShared) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(io_error("lock", &path)(error.into()).into()),
            }
        }
    }
}

/// The process that has the lock, if it has said so yet.
fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
