//! Both ends of a connection prove their keys, and nobody between them learns or changes anything.
//!
//! Promise: TLS 1.3 and nothing else, with raw public keys (RFC 7250) on both sides, Ed25519 alone, a fresh key exchange
//! each time: no tickets, no resumption, no early data, so an old recording is worth nothing (I27). Who calls wants one
//! device and takes no other; who is called learns which device it is, and judges later. Neither's key is seen by who
//! listens in. A handshake is over within [`HANDSHAKE`], or the connection is.
//!
//! Begin at [`Acceptor::accept`] and [`secure`]; what rustls is allowed stands in `config.rs`.

mod config;
mod key;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{AlertDescription, CommonState, ServerConfig};
use shoal_proto::id::DeviceId;
use shoal_proto::key::{DeviceKey, HandshakeKey};
use shoal_proto::secret::Side;
use shoal_proto::{announce, message};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

pub(crate) use self::config::random;
use self::key::{KeyRefused, ProvenBy, device_of};
use crate::error::NetError;
use crate::limits::{HANDSHAKE, KEEPALIVE_AFTER, KEEPALIVE_EVERY, KEEPALIVE_TRIES, STALLED, UNSENT_BYTES};
use crate::reach::{NOWHERE, canonical};

/// What a connection is for; both ends say so before anything else (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Purpose {
    /// Two peers.
    Peer,
    /// A peer that calls a tracker.
    Tracker,
}

/// Whom a caller wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expected {
    /// This device.
    Device(DeviceId),
    /// Any of these: the members of a share, where an address does not say whose it is.
    OneOf(Arc<BTreeSet<DeviceId>>),
    /// Whoever answers: for trackers, which are trusted with nothing (T3).
    Anyone,
}

/// What this end proves itself by.
#[derive(Clone, Debug)]
pub struct Identity(ProvenBy);

/// Answers calls.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
}

/// A connection whose two ends have proved their keys.
pub struct Secured {
    /// The other end.
    pub device: DeviceId,
    /// What it is for.
    pub purpose: Purpose,
    /// Which end this is.
    pub side: Side,
    /// What both ends know of this connection and nobody else does (RFC 8446, 7.5): to be shown in proofs, never as it is.
    pub exporter: [u8; 32],
    /// Where the other end is seen.
    pub seen: SocketAddr,
    pub(crate) stream: TlsStream<TcpStream>,
}

/// What the exporter's value is for; frozen.
const EXPORTER_LABEL: &[u8] = b"EXPERIMENTAL shoal proof of a share";

impl Purpose {
    /// Its name in ALPN.
    #[must_use]
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Peer => message::ALPN,
            Self::Tracker => announce::ALPN,
        }
    }

    /// Its name in ALPN, as text.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Peer => "shoal/1",
            Self::Tracker => "shoal-tracker/1",
        }
    }

    fn of(alpn: &[u8]) -> Option<Self> {
        [Self::Peer, Self::Tracker].into_iter().find(|purpose| purpose.alpn() == alpn)
    }
}

impl Identity {
    /// The identity of a device.
    #[must_use]
    pub fn of(key: &DeviceKey) -> Self {
        Self::proven_by(key.handshake())
    }

    /// A fresh key that says nothing of the device: for trackers, which must not know that topics belong together.
    ///
    /// # Panics
    /// If the system has no random bytes.
    #[must_use]
    pub fn nameless() -> Self {
        Self::proven_by(DeviceKey::from_seed(&random()).handshake())
    }

    /// Who the other end learns this is.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.0.device()
    }

    fn proven_by(key: HandshakeKey) -> Self {
        Self(ProvenBy::new(key))
    }
}

impl Acceptor {
    /// Answers as this identity. Who calls a tracker sees a fresh key, however, so that a device which is a tracker
    /// beside is not known to its users by its name.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        Self { config: config::of_listener(identity, &Identity::nameless()) }
    }

    /// Has both ends prove their keys. Its first byte has not been taken from the stream.
    ///
    /// # Errors
    /// When the other end does not, in time. All who fail are treated alike: whatever shares are here, a stranger learns
    /// nothing of them.
    pub async fn accept(&self, stream: TcpStream) -> Result<Secured, NetError> {
        let address = seen(&stream)?;
        tend(&stream, address)?;
        let handshake = TlsAcceptor::from(Arc::clone(&self.config)).accept(stream);
        match timeout(HANDSHAKE, handshake).await {
            Ok(Ok(stream)) => secured(TlsStream::Server(stream), Side::Listener, address, None),
            Ok(Err(error)) => Err(refused(address, error, None)),
            Err(_) => Err(NetError::Slow { address, within: HANDSHAKE }),
        }
    }
}

impl core::fmt::Debug for Acceptor {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("Acceptor")
    }
}

/// Has both ends of a connection that was called prove their keys.
///
/// # Errors
/// When the other end does not, in time, or is not the one that is expected.
pub async fn secure(
    stream: TcpStream,
    address: SocketAddr,
    identity: &Identity,
    expected: Expected,
    purpose: Purpose,
) -> Result<Secured, NetError> {
    tend(&stream, address)?;
    let config = config::of_dialler(identity, expected, purpose);
    let handshake = TlsConnector::from(config).connect(address.ip().into(), stream);
    match timeout(HANDSHAKE, handshake).await {
        Ok(Ok(stream)) => secured(TlsStream::Client(stream), Side::Dialler, address, Some(purpose)),
        Ok(Err(error)) => Err(refused(address, error, Some(purpose))),
        Err(_) => Err(NetError::Slow { address, within: HANDSHAKE }),
    }
}

/// Where the other end is seen.
pub(crate) fn seen(stream: &TcpStream) -> Result<SocketAddr, NetError> {
    let gone = |source| NetError::BrokenOff { address: NOWHERE, source };
    stream.peer_addr().map(canonical).map_err(gone)
}

/// Nothing waits to be filled up, and who has gone without a word is noticed.
fn tend(stream: &TcpStream, address: SocketAddr) -> Result<(), NetError> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_TRIES);
    let socket = SockRef::from(stream);
    stream
        .set_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .and_then(|()| socket.set_tcp_user_timeout(Some(STALLED)))
        .and_then(|()| socket.set_tcp_notsent_lowat(UNSENT_BYTES))
        .map_err(|source| NetError::BrokenOff { address, source })
}

/// What a handshake that is over has told.
fn secured(
    stream: TlsStream<TcpStream>,
    side: Side,
    address: SocketAddr,
    wanted: Option<Purpose>,
) -> Result<Secured, NetError> {
    let mut exporter = [0; 32];
    let export = |out| match &stream {
        TlsStream::Client(stream) => stream.get_ref().1.export_keying_material(out, EXPORTER_LABEL, None),
        TlsStream::Server(stream) => stream.get_ref().1.export_keying_material(out, EXPORTER_LABEL, None),
    };
    let handshake = |error: rustls::Error| NetError::Handshake { address, reason: error.to_string() };
    export(&mut exporter).map_err(handshake)?;
    let state: &CommonState = stream.get_ref().1;
    let purpose = state.alpn_protocol().and_then(Purpose::of);
    let purpose = purpose.filter(|purpose| wanted.is_none_or(|wanted| wanted == *purpose));
    let Some(purpose) = purpose else {
        return Err(NetError::NotSpoken { address, wanted: wanted.unwrap_or(Purpose::Peer).name() });
    };
    let device = state.peer_certificates().and_then(|keys| keys.first()).map(device_of);
    let device = match device {
        Some(Ok(device)) => device,
        Some(Err(refused)) => return Err(NetError::Handshake { address, reason: refused.to_string() }),
        None => return Err(NetError::Handshake { address, reason: "it has shown no key".to_owned() }),
    };
    Ok(Secured { device, purpose, side, exporter, seen: address, stream })
}

/// Why a handshake failed, in our words where we have some.
fn refused(address: SocketAddr, error: io::Error, purpose: Option<Purpose>) -> NetError {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return NetError::BrokenOff { address, source: error };
    };
    if let Some(KeyRefused::Other { found }) = KeyRefused::within(tls) {
        return NetError::OtherDevice { address, found };
    }
    match tls {
        rustls::Error::NoApplicationProtocol
        | rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            NetError::NotSpoken { address, wanted: purpose.unwrap_or(Purpose::Peer).name() }
        }
        other => NetError::Handshake { address, reason: other.to_string() },
    }
}

impl core::fmt::Debug for Secured {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.debug_struct("Secured")
            .field("device", &self.device)
            .field("purpose", &self.purpose)
            .field("side", &self.side)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
