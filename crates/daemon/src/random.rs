//! Random bytes, from the system.

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// So many bytes that nobody can guess.
///
/// # Errors
/// When the system has none to give, which Linux since 3.17 never says.
pub fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}
