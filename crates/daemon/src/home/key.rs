//! The file of the device's key.
//!
//! Promise: a key is made once, by the first daemon of a home, and never silently replaced: a device with another key is
//! a stranger to all of its shares. The device's id stands beside the seed, so that one wrong letter is noticed.

use std::path::Path;

use shoal_proto::id::DeviceId;
use shoal_proto::key::DeviceKey;
use zeroize::Zeroizing;

use super::Home;
use crate::private::{self, PrivateError, shown};
use crate::random::random;

const FIRST_LINE: &str = "shoal device key 1: whoever has this file is this device";

/// More than the file ever has.
const BYTES_MAX: u64 = 1024;

/// Why the key of a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Its file cannot be read or written, or others may read it.
    #[error(transparent)]
    File(#[from] PrivateError),
    /// Not what was written there.
    #[error(
        "{path} is damaged; put it back from a backup, or move it and {shares} away to become a new device, \
         which must be invited anew"
    )]
    Damaged {
        /// The file.
        path: String,
        /// The folder of the shares.
        shares: String,
    },
    /// There are shares, and no key.
    #[error(
        "{path} is gone, and {shares} has shares of the device that it was the key of; put it back from a \
         backup, or move the shares away to become a new device, which must be invited anew"
    )]
    Gone {
        /// The file.
        path: String,
        /// The folder of the shares.
        shares: String,
    },
    /// The system has no randomness.
    #[error("cannot make a key: the system gives no random bytes")]
    Random(#[from] std::io::Error),
}

/// The key of a home that this process holds.
pub(super) fn of(home: &Home) -> Result<DeviceKey, KeyError> {
    let path = home.state.join("key");
    let damaged = || KeyError::Damaged { path: shown(&path), shares: shown(&home.shares()) };
    match private::read(&path, BYTES_MAX) {
        Ok(Some(bytes)) => parse(&bytes).ok_or_else(damaged),
        Ok(None) if has_shares(&home.shares()) => {
            Err(KeyError::Gone { path: shown(&path), shares: shown(&home.shares()) })
        }
        Ok(None) => make(&path),
        Err(PrivateError::Odd { .. }) => Err(damaged()),
        Err(error) => Err(error.into()),
    }
}

fn make(path: &Path) -> Result<DeviceKey, KeyError> {
    let seed = Zeroizing::new(random::<32>()?);
    let key = DeviceKey::from_seed(&seed);
    let mut text = Zeroizing::new(String::with_capacity(256));
    text.push_str(FIRST_LINE);
    text.push_str(&format!("\ndevice {}\nseed ", key.device()));
    for byte in *seed {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
        }
    }
    text.push('\n');
    private::write(path, text.as_bytes())?;
    Ok(key)
}

fn parse(bytes: &[u8]) -> Option<DeviceKey> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let (FIRST_LINE, device, seed, None) = (lines.next()?, lines.next()?, lines.next()?, lines.next()) else {
        return None;
    };
    let device = DeviceId::parse(device.strip_prefix("device ")?)?;
    let digits = seed.strip_prefix("seed ")?.as_bytes();
    let mut seed = Zeroizing::new([0; 32]);
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in seed.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            *byte = *byte << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        }
    }
    let key = DeviceKey::from_seed(&seed);
    (key.device() == device).then_some(key)
}

fn has_shares(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}
