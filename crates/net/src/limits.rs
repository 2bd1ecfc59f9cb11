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

// ── calling ──

/// How long a host's name may take to become addresses.
pub const RESOLVE: Duration = Duration::from_secs(5);

/// How often an address is called in an hour where nobody has proved a key.
pub const TRIES_PER_HOUR: u16 = 3;

/// How often all such addresses of one network are. A household has some devices; a victim may have 65,535 ports.
pub const NETWORK_TRIES_PER_HOUR: u16 = 24;

/// How long an address counts as one where somebody was reached.
pub const REACHED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long it takes at least until an address is called again; twice as long each time that nobody is reached, …
pub const BACK_OFF: Duration = Duration::from_secs(1);

/// … but not longer than this. Each wait is a quarter shorter or longer, by chance.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(5 * 60);

/// Most calls at a time that are not over.
pub const CALLS_MAX: usize = 32;

/// Most such calls to one network.
pub const NETWORK_CALLS_MAX: usize = 8;

/// Most addresses of which is remembered how often they were called.
pub const ADDRESSES_MAX: usize = 4096;

/// Most addresses of one device that one attempt calls; more are there another time.
pub const CALLED_TOGETHER_MAX: usize = 8;

/// How long the next address of a device waits for the one before it (RFC 8305 has it so).
pub const STAGGER: Duration = Duration::from_millis(250);

// ── being called ──

/// Most connections at a time that have proved no key yet.
pub const GUESTS_MAX: usize = 256;

/// Most of them from one network.
pub const NETWORK_GUESTS_MAX: usize = 64;

/// So many from one network are a crowd: of these some may be sent away at once for somebody from elsewhere.
pub const CROWD: usize = 8;

/// How long any other such connection stays in any case when all places are taken; a handshake takes less.
pub const GUEST_STAYS: Duration = Duration::from_secs(1);

/// So many connections may come from one network at once, …
pub const KNOCKS_AT_ONCE: u32 = 128;

/// … and then one in this time.
pub const KNOCK_EVERY: Duration = Duration::from_millis(50);

/// Most networks of which is remembered how often they have knocked; the others count together.
pub const NETWORKS_MAX: usize = 4096;

// ── the local network ──

/// Most topics that one announcement names, so that it fits a packet.
pub const LAN_TOPICS_PER_NAME: usize = 16;

/// Most topics that are announced; of more the first ones.
pub const LAN_TOPICS_MAX: usize = 64;

/// Most others of which is remembered what they announce.
pub const LAN_OTHERS_MAX: usize = 256;

/// Most addresses that one of them has.
pub const LAN_ADDRESSES_MAX: usize = 8;

/// Most records of the local network that are kept; who floods it has us forget all, and listen anew.
pub const LAN_RECORDS_MAX: i64 = 8192;

/// How often these are counted, and after what time listening begins anew where it could not go on.
pub const LAN_CHECK: Duration = Duration::from_secs(60);
