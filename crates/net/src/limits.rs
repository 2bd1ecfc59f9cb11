//! Every bound of the transports, in one place; those of frames are in `shoal_proto::limits`.
//!
//! Times are durations, sizes are bytes; the unit stands last in each name.

use core::time::Duration;

// ── before the other end is known ──

/// How long a connection may take to say its first byte, which tells what it is.
pub const FIRST_BYTE: Duration = Duration::from_secs(10);

/// How long a handshake may take in all, from its first byte to its last. It has three flights: on the slowest link that
/// is of any use these take a second or two.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a machine may take to take a call.
pub const CONNECT: Duration = Duration::from_secs(10);

// ── a connection that stands ──

/// A connection is over when its other end takes nothing for so long, while something is to be sent.
pub const STALLED: Duration = Duration::from_secs(60);

/// How long the other end may take to hang up after it was told that nothing more comes.
pub const LINGER: Duration = Duration::from_secs(10);

/// An idle connection is asked by the system whether its other end is still there: after such a silence at first, …
pub const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// … then so often, …
pub const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// … and so many times without an answer until it is over.
pub const KEEPALIVE_TRIES: u32 = 4;

/// Most bytes that are encrypted and handed to the system at a time. Twice as dear a byte with 64 KiB, and no cheaper
/// with more.
pub const WRITE_BYTES: usize = 256 << 10;

/// Most frames that are handed over at a time.
pub const WRITE_FRAMES_MAX: usize = 64;

/// Most bytes that may wait to be sent on one connection. An engine stops far below; who goes over it never reads.
pub const WAITING_BYTES_MAX: usize = 64 << 20;

/// Below so many waiting bytes a connection is drained: there is room for more.
pub const DRAINED_BYTES: usize = 256 << 10;

/// The least room that is made to read into.
pub const READ_BYTES_MIN: usize = 4 << 10;

/// The most room that is made to read into.
pub const READ_BYTES_MAX: usize = 256 << 10;

/// The system takes more to send while less than this has not gone out yet. So what is urgent does not stand behind
/// megabytes, and whether the other end takes anything shows soon on a slow link too.
pub const UNSENT_BYTES: u32 = 256 << 10;
