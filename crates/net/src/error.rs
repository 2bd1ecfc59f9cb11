//! Why there is no connection.

use core::time::Duration;
use std::io;
use std::net::SocketAddr;

use shoal_proto::id::DeviceId;

use crate::reach::Unreachable;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Nobody is there, or no way leads there.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody took the call.
    #[error("{address} did not answer within {} s", .within.as_secs())]
    NoAnswer {
        /// Where.
        address: SocketAddr,
        /// How long was waited.
        within: Duration,
    },
    /// Not even a first byte.
    #[error("{address} said nothing for {} s", .within.as_secs())]
    Silent {
        /// Who.
        address: SocketAddr,
        /// How long was waited.
        within: Duration,
    },
    /// The handshake took too long.
    #[error("the handshake with {address} was not over within {} s", .within.as_secs())]
    Slow {
        /// With whom.
        address: SocketAddr,
        /// How long was waited.
        within: Duration,
    },
    /// The other end hung up, or the way there broke, before the handshake was over.
    #[error("the connection with {address} ended before its handshake did")]
    BrokenOff {
        /// With whom.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Another device is there than the one that is wanted.
    #[error("another device answers at {address}: {}", .found.short())]
    OtherDevice {
        /// Where.
        address: SocketAddr,
        /// Who is there, by its own word: it did not get to prove it.
        found: DeviceId,
    },
    /// The address may not be called.
    #[error("{address} is not called: it {why}")]
    Unreachable {
        /// Which.
        address: SocketAddr,
        /// Why.
        why: Unreachable,
    },
    /// The other end speaks TLS, and nothing that this one asks for.
    #[error("{address} does not speak {wanted}; the older side needs an update")]
    NotSpoken {
        /// With whom.
        address: SocketAddr,
        /// What was wanted, as TLS names it.
        wanted: &'static str,
    },
    /// The other end broke the rules of TLS, proved nothing, or was tampered with on the way.
    #[error("no handshake with {address}: {reason}")]
    Handshake {
        /// With whom.
        address: SocketAddr,
        /// What was wrong.
        reason: String,
    },
}
