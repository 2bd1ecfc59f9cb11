//! Every bound of the tracker, in one place, and the options that change them.
//!
//! What a stranger can make us hold, wait for or repeat is capped here (`I30`). Bounds that the protocol shares
//! with peers stand in [`shoal_classic::limits`].

use std::net::SocketAddr;
use std::time::Duration;

use shoal_classic::limits::{
    CLOSED_PEER_GRACE, ENTRIES_PER_PEER_MAX, FIRST_MESSAGE_WAIT, IDLE_EXPIRIES_BEFORE_CLOSE,
    KEEP_ALIVE_INTERVAL, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, PEER_EXPIRY,
};
use shoal_classic::tracker_session::SessionLimits;

/// Most connections at once (`B30`).
pub const CONNECTIONS_MAX: usize = 20_000;

/// Most connections at once from one address; a whole course may sit behind one. Of IPv6 the first 64 bits
/// count, since one household has all the addresses below them.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 1_024;

/// Most announced files in all, each counted once for every peer that announced it. A million of them take
/// some 250 MB with ordinary names.
pub const ANNOUNCEMENTS_MAX: usize = 1_000_000;

/// Most files that all peers of one address may have announced together (`T5`).
pub const ANNOUNCEMENTS_PER_ADDRESS_MAX: usize = 500_000;

/// Most bytes of unfinished messages over all connections, and most bytes of outdated answers that peers are
/// still taking. Beyond it the oldest give way.
pub const BUFFERED_BYTES_MAX: usize = 256 << 20;

/// What a connection may hold of an unfinished message without counting towards [`BUFFERED_BYTES_MAX`], so
/// that a flood of large messages never costs a peer with an ordinary one.
pub const CONNECTION_BYTES_FREE: usize = 4 << 10;

/// A peer that takes nothing of its answer for this long is closed.
pub const WRITE_STALL: Duration = Duration::from_secs(30);

/// A peer that has been silent for this long can be superseded by one with the same address and port.
pub const TAKEOVER_SILENCE: Duration = Duration::from_secs(2 * KEEP_ALIVE_INTERVAL.as_secs());

/// A view is encoded again as soon as it has changed while that means looking at no more holdings than this:
/// well below a millisecond.
pub const REBUILD_HOLDINGS_FREE: u32 = 1_000;

/// A larger view is not encoded again before this long for each further holding that the last encoding had to
/// look at: with 10,000 files 90 ms. Encoding takes a tenth of that.
pub const REBUILD_PAUSE_PER_HOLDING: Duration = Duration::from_micros(10);

/// Longest pause between two encodings of a changed view: a peer's next keep-alive gets the news.
pub const REBUILD_PAUSE_MAX: Duration = KEEP_ALIVE_INTERVAL;

/// Most views that are kept encoded: three dialects, each at loopback and a few addresses of both families.
pub const VIEWS_MAX: usize = 16;

/// Room that is left for one more entry of a directory: the longest name with all of it escaped, and the rest.
pub const ENTRY_BYTES_MAX: usize = 6 * NAME_BYTES_MAX + 256;

/// What one read takes at most. All connections share one such buffer.
pub const READ_BYTES: usize = 64 << 10;

/// Connections that the system keeps for us until we accept them.
pub const ACCEPT_BACKLOG: i32 = 4_096;

/// How long to wait before accepting again when there are no handles, unless a connection ends sooner (`B30`).
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Shortest and longest pause between two looks for peers that have expired, when nobody asks.
pub const EXPIRE_PAUSE_MIN: Duration = Duration::from_millis(100);
/// See [`EXPIRE_PAUSE_MIN`].
pub const EXPIRE_PAUSE_MAX: Duration = CLOSED_PEER_GRACE;

/// Most log lines of one kind within [`LOG_WINDOW`]; further ones are counted only, so that a flood of bad
/// input cannot fill a disk.
pub const LOG_LINES_MAX: u32 = 30;

/// The window for [`LOG_LINES_MAX`].
pub const LOG_WINDOW: Duration = Duration::from_secs(60);

/// Most connections at once to the metrics page.
pub const PAGE_CONNECTIONS_MAX: usize = 16;

/// Longest time for a request of the metrics page to come in and be answered.
pub const PAGE_WAIT: Duration = Duration::from_secs(10);

/// Largest request head of the metrics page, in bytes.
pub const PAGE_REQUEST_BYTES_MAX: usize = 8 << 10;

// ── native ──

/// Most leases in all; each takes at most 500 bytes with all that belongs to it (`benches/swarm.rs`).
pub const LEASES_MAX: usize = 1_000_000;

/// Most leases of one address: a large company behind it, or a sixteenth of a flood (`T5`).
pub const LEASES_PER_ADDRESS_MAX: usize = 65_536;

/// Most peers under one topic.
pub const MEMBERS_PER_TOPIC_MAX: usize = 4_096;

/// Most leases of one peer under one topic: it may have moved, and may be seen at addresses of both families.
pub const GUEST_LEASES_MAX: usize = 4;

/// Most ports at the seen address that a lease keeps, and most addresses near the announcer.
pub const LEASE_PORTS_MAX: usize = 4;
/// See [`LEASE_PORTS_MAX`].
pub const LEASE_ELSEWHERE_MAX: usize = 4;

/// Longest lease that this tracker gives, in seconds, whatever was asked for.
pub const LEASE_GIVEN_SECONDS_MAX: u32 = 2 * 60 * 60;

/// Most topics watched in all, each counted for every connection that watches it.
pub const WATCHES_MAX: usize = 1_000_000;

/// Most of these from one address.
pub const WATCHES_PER_ADDRESS_MAX: usize = 65_536;

/// Most topics that one connection watches: all shares of a device, and as many older secrets.
pub const WATCHES_PER_CALLER_MAX: usize = 2 * shoal_proto::limits::SHARES_MAX;

/// Most connections that watch one topic.
pub const WATCHES_PER_TOPIC_MAX: usize = 4_096;

/// Most peers that left and of whom nobody was told yet, in one topic; then it is told at once.
pub const LEFT_WAITING_MAX: usize = 256;

/// Most members of a topic that are looked at to find some to tell of.
pub const LOOKED_AT_MAX: usize = 256;

/// How long after a change watchers are told, together with what changed meanwhile.
pub const PUSH_PAUSE_MIN: Duration = Duration::from_millis(250);

/// The same when a topic keeps changing.
pub const PUSH_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A topic in which nothing was told for so long is told promptly again.
pub const PUSH_QUIET: Duration = Duration::from_secs(60);

/// Most messages of one connection at once: a device announces all its shares, and watches them.
pub const CALLER_BURST: u32 = 8 * 1024;

/// Further messages of one connection, a second.
pub const CALLER_PER_SECOND: u32 = 20;

/// The same of all connections of one address together.
pub const ADDRESS_BURST: u32 = 65_536;
/// See [`ADDRESS_BURST`].
pub const ADDRESS_PER_SECOND: u32 = 2_000;

/// Whoever says more waits for so long before more of it is read.
pub const TOO_OFTEN_PAUSE: Duration = Duration::from_secs(1);

/// Longest time until a native connection says something, once both ends have proved their keys.
pub const NATIVE_FIRST_MESSAGE_WAIT: Duration = Duration::from_secs(30);

/// A native connection that says nothing for so long is closed: longer than any lease that it may have to renew.
pub const NATIVE_SILENCE_MAX: Duration = Duration::from_secs(3 * 60 * 60);

/// Nothing more is told to a native connection, and nothing read from it, while so many bytes wait to be taken.
pub const NATIVE_WAITING_BYTES: usize = 64 << 10;

/// A native connection that does not take these for so long is closed.
pub const NATIVE_WRITE_STALL: Duration = Duration::from_secs(120);

/// Most handshakes of native connections at once: in all, and from one address (`T6`).
pub const HANDSHAKES_MAX: usize = 2_048;
/// See [`HANDSHAKES_MAX`].
pub const HANDSHAKES_PER_ADDRESS_MAX: usize = 64;

/// So many may begin from one address in quick succession, as when all behind it find the tracker again, …
pub const HANDSHAKES_AT_ONCE: u32 = 1_024;

/// … and then one in this time. Each takes some 0.2 ms of a core.
pub const HANDSHAKE_EVERY: Duration = Duration::from_millis(20);

/// The bounds of a [`Swarm`](crate::Swarm).
#[derive(Clone, Copy, Debug)]
pub struct SwarmLimits {
    /// Most connections.
    pub callers_max: usize,
    /// Most connections of one address.
    pub callers_per_address_max: usize,
    /// Most leases in all.
    pub leases_max: usize,
    /// Most leases of one address.
    pub leases_per_address_max: usize,
    /// Most peers under one topic.
    pub members_per_topic_max: usize,
    /// Longest lease, in seconds.
    pub lease_seconds_max: u32,
    /// Most topics watched in all.
    pub watches_max: usize,
    /// Most topics watched from one address.
    pub watches_per_address_max: usize,
    /// Most topics watched by one connection.
    pub watches_per_caller_max: usize,
    /// Most connections that watch one topic.
    pub watches_per_topic_max: usize,
    /// Most messages of one connection at once.
    pub caller_burst: u32,
    /// Further messages of one connection, a second; not 0.
    pub caller_per_second: u32,
    /// Most messages of one address at once.
    pub address_burst: u32,
    /// Further messages of one address, a second; not 0.
    pub address_per_second: u32,
}

impl Default for SwarmLimits {
    fn default() -> Self {
        Self {
            callers_max: CONNECTIONS_MAX,
            callers_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            leases_max: LEASES_MAX,
            leases_per_address_max: LEASES_PER_ADDRESS_MAX,
            members_per_topic_max: MEMBERS_PER_TOPIC_MAX,
            lease_seconds_max: LEASE_GIVEN_SECONDS_MAX,
            watches_max: WATCHES_MAX,
            watches_per_address_max: WATCHES_PER_ADDRESS_MAX,
            watches_per_caller_max: WATCHES_PER_CALLER_MAX,
            watches_per_topic_max: WATCHES_PER_TOPIC_MAX,
            caller_burst: CALLER_BURST,
            caller_per_second: CALLER_PER_SECOND,
            address_burst: ADDRESS_BURST,
            address_per_second: ADDRESS_PER_SECOND,
        }
    }
}

const _: () = assert!(LEASES_PER_ADDRESS_MAX < LEASES_MAX && WATCHES_PER_ADDRESS_MAX < WATCHES_MAX);
const _: () = assert!(NATIVE_SILENCE_MAX.as_secs() > LEASE_GIVEN_SECONDS_MAX as u64);
const _: () = assert!(NATIVE_WAITING_BYTES > shoal_proto::limits::TRACKER_BODY_BYTES_MAX);
const _: () = assert!(LEASE_GIVEN_SECONDS_MAX <= shoal_proto::limits::LEASE_SECONDS_MAX);

// ── chosen at the start ──

/// What can be chosen when a tracker is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most connections at once.
    pub connections_max: usize,
    /// Most connections at once from one address.
    pub connections_per_address_max: usize,
    /// Largest message, in bytes.
    pub message_bytes_max: usize,
    /// Most files of one peer.
    pub entries_per_peer_max: usize,
    /// Most announced files in all.
    pub announcements_max: usize,
    /// Most announced files from one address.
    pub announcements_per_address_max: usize,
    /// Most bytes of unfinished messages over all connections, and most of outdated answers.
    pub buffered_bytes_max: usize,
    /// Longest time until a connection's first message begins.
    pub first_message_wait: Duration,
    /// A peer that was silent for this long is no longer listed.
    pub expiry: Duration,
    /// A peer that takes nothing of its answer for this long is closed.
    pub write_stall: Duration,
    /// Most leases of native peers.
    pub leases_max: usize,
    /// Where to serve the metrics page, if anywhere.
    pub metrics: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            message_bytes_max: MESSAGE_BYTES_MAX,
            entries_per_peer_max: ENTRIES_PER_PEER_MAX,
            announcements_max: ANNOUNCEMENTS_MAX,
            announcements_per_address_max: ANNOUNCEMENTS_PER_ADDRESS_MAX,
            buffered_bytes_max: BUFFERED_BYTES_MAX,
            first_message_wait: FIRST_MESSAGE_WAIT,
            expiry: PEER_EXPIRY,
            write_stall: WRITE_STALL,
            leases_max: LEASES_MAX,
            metrics: None,
        }
    }
}

impl Options {
    /// The part that the swarm keeps.
    #[must_use]
    pub fn swarm(&self) -> SwarmLimits {
        SwarmLimits {
            callers_max: self.connections_max,
            callers_per_address_max: self.connections_per_address_max,
            leases_max: self.leases_max,
            ..SwarmLimits::default()
        }
    }

    /// The part that each connection's session keeps.
    #[must_use]
    pub fn session(&self) -> SessionLimits {
        SessionLimits {
            message_bytes_max: self.message_bytes_max,
            entries_max: self.entries_per_peer_max,
            first_message_wait: self.first_message_wait,
            idle_max: self.expiry.saturating_mul(IDLE_EXPIRIES_BEFORE_CLOSE),
        }
    }

    /// The part that the directory keeps.
    #[must_use]
    pub fn directory(&self) -> DirectoryLimits {
        DirectoryLimits {
            entries_per_peer_max: self.entries_per_peer_max,
            announcements_max: self.announcements_max,
            announcements_per_address_max: self.announcements_per_address_max,
            expiry: self.expiry,
            ..DirectoryLimits::default()
        }
    }
}

/// The bounds of a [`Directory`](crate::Directory).
#[derive(Clone, Copy, Debug)]
pub struct DirectoryLimits {
    /// Most files of one peer.
    pub entries_per_peer_max: usize,
    /// Most announced files in all.
    pub announcements_max: usize,
    /// Most announced files from one address.
    pub announcements_per_address_max: usize,
    /// Largest answer, in bytes; what finds no room in it is not listed.
    pub answer_bytes_max: usize,
    /// Silence after which a peer is no longer listed.
    pub expiry: Duration,
    /// How long a peer stays listed after its connection closed.
    pub closed_grace: Duration,
    /// Silence after which a peer can be superseded.
    pub takeover_silence: Duration,
    /// Least time between two encodings of a view, for each holding beyond [`REBUILD_HOLDINGS_FREE`] that the
    /// last one looked at.
    pub rebuild_pause_per_holding: Duration,
    /// Most views that are kept encoded.
    pub views_max: usize,
}

impl Default for DirectoryLimits {
    fn default() -> Self {
        Self {
            entries_per_peer_max: ENTRIES_PER_PEER_MAX,
            announcements_max: ANNOUNCEMENTS_MAX,
            announcements_per_address_max: ANNOUNCEMENTS_PER_ADDRESS_MAX,
            answer_bytes_max: MESSAGE_BYTES_MAX,
            expiry: PEER_EXPIRY,
            closed_grace: CLOSED_PEER_GRACE,
            takeover_silence: TAKEOVER_SILENCE,
            rebuild_pause_per_holding: REBUILD_PAUSE_PER_HOLDING,
            views_max: VIEWS_MAX,
        }
    }
}

const _: () =
    assert!(BUFFERED_BYTES_MAX >= 4 * MESSAGE_BYTES_MAX, "four of the largest fit beside each other");
const _: () = assert!(ENTRIES_PER_PEER_MAX < ANNOUNCEMENTS_MAX, "one peer cannot take all the room");
const _: () = assert!(ANNOUNCEMENTS_PER_ADDRESS_MAX < ANNOUNCEMENTS_MAX, "nor can one address");
const _: () = assert!(CONNECTIONS_PER_ADDRESS_MAX < CONNECTIONS_MAX, "one address cannot take all the seats");
const _: () = assert!(TAKEOVER_SILENCE.as_nanos() < PEER_EXPIRY.as_nanos());
