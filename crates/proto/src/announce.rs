//! Peer and tracker: who is where, for a topic that the tracker cannot read.
//!
//! Promise: a tracker learns topics, pseudonyms and addresses, and nothing else: no share, no name, no path. Messages
//! are small frames ([`crate::frame`]) of at most [`TRACKER_BODY_BYTES_MAX`] bytes; lists are bounded, and an address
//! that nobody can dial is refused.

use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::body::{self, AtMost, BodyError};
use crate::frame::{Frame, FrameError, OPTIONAL_TYPES, RequestId, write_frame};
use crate::limits::{ANNOUNCED_ADDRESSES_MAX, LEASE_SECONDS_MAX, TOLD_PEERS_MAX, TRACKER_BODY_BYTES_MAX};
use crate::secret::{Pseudonym, Topic};

/// The application protocol that TLS agrees on between a peer and a tracker.
pub const ALPN: &[u8] = b"shoal-tracker/1";

/// Addresses on the wire.
type Addresses = AtMost<SocketAddr, ANNOUNCED_ADDRESSES_MAX>;

/// What a peer says to a tracker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ToTracker {
    /// "I can be reached here", until the lease ends.
    Announce {
        /// Where it belongs.
        topic: Topic,
        /// Who it is there.
        pseudonym: Pseudonym,
        /// At most [`ANNOUNCED_ADDRESSES_MAX`]; the tracker passes on those that it can believe.
        addresses: Vec<SocketAddr>,
        /// How long to keep it, in seconds; at most [`LEASE_SECONDS_MAX`].
        lease_seconds: u32,
    },
    /// "I am leaving."
    Withdraw {
        /// Where.
        topic: Topic,
        /// Who.
        pseudonym: Pseudonym,
    },
    /// "Tell me who is here, and what changes."
    Watch {
        /// Where.
        topic: Topic,
    },
    /// "No more."
    Unwatch {
        /// Where.
        topic: Topic,
    },
}

/// What a tracker says to a peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FromTracker {
    /// The announcement stands for so long.
    Leased {
        /// Where.
        topic: Topic,
        /// Seconds from now; at most [`LEASE_SECONDS_MAX`].
        lease_seconds: u32,
        /// From where the tracker saw the peer come.
        seen: SocketAddr,
    },
    /// Who is there: all of them at first (at most [`TOLD_PEERS_MAX`]), then those that came or moved.
    Peers {
        /// Where.
        topic: Topic,
        /// Who, and at which addresses.
        peers: Vec<(Pseudonym, Vec<SocketAddr>)>,
    },
    /// Who left.
    Left {
        /// Where.
        topic: Topic,
        /// At most [`TOLD_PEERS_MAX`].
        pseudonyms: Vec<Pseudonym>,
    },
    /// The tracker will not.
    Refused {
        /// Where.
        topic: Topic,
        /// Why.
        reason: TrackerRefusal,
    },
}

/// Why a tracker will not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum TrackerRefusal {
    /// It has all that it can hold.
    Full,
    /// Too often, from this address.
    TooOften,
}

/// Why bytes are no message between a peer and a tracker.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AnnounceError {
    /// A type that must be known and is not.
    #[error("a message of unknown type {0}; a newer version of Shoal may know it")]
    UnknownType(u8),
    /// The body is bad.
    #[error("a message of type {kind}: {error}")]
    Body {
        /// The type.
        kind: u8,
        /// What is wrong.
        error: BodyError,
    },
    /// Larger than these messages get.
    #[error("a message of type {kind} with {bytes} bytes; at most {TRACKER_BODY_BYTES_MAX} are allowed")]
    TooLong {
        /// The type.
        kind: u8,
        /// Bytes of the body.
        bytes: usize,
    },
    /// An address that nobody can dial.
    #[error("the address {0} cannot be dialled")]
    Address(SocketAddr),
}

const ANNOUNCE: u8 = 0x41;
const WITHDRAW: u8 = 0x42;
const WATCH: u8 = 0x43;
const UNWATCH: u8 = 0x44;
const LEASED: u8 = 0x51;
const PEERS: u8 = 0x52;
const LEFT: u8 = 0x53;
const REFUSED: u8 = 0x54;

impl ToTracker {
    /// Appends the message as a frame.
    ///
    /// # Errors
    /// When it is longer than any frame; lists within their bounds never are.
    pub fn write(&self, out: &mut Vec<u8>, request: RequestId) -> Result<(), FrameError> {
        let (kind, body) = match self {
            Self::Announce { topic, pseudonym, addresses, lease_seconds } => {
                (ANNOUNCE, body::encode(&(topic.as_bytes(), pseudonym.as_bytes(), addresses, lease_seconds)))
            }
            Self::Withdraw { topic, pseudonym } => {
                (WITHDRAW, body::encode(&(topic.as_bytes(), pseudonym.as_bytes())))
            }
            Self::Watch { topic } => (WATCH, body::encode(topic.as_bytes())),
            Self::Unwatch { topic } => (UNWATCH, body::encode(topic.as_bytes())),
        };
        write_frame(out, kind, request, &[&body])
    }

    /// The message of a frame; `None` for an optional one that this version does not know.
    ///
    /// # Errors
    /// When it is none; says what is wrong.
    pub fn read(frame: &Frame<'_>) -> Result<Option<Self>, AnnounceError> {
        let (kind, body) = (frame.kind, bounded(frame)?);
        let bad = |error| AnnounceError::Body { kind, error };
        Ok(Some(match kind {
            ANNOUNCE => {
                let (topic, pseudonym, addresses, lease_seconds) = body::decode(body).map_err(bad)?;
                let addresses = all_dialable(addresses, kind)?;
                let lease_seconds = lease(lease_seconds).map_err(bad)?;
                let (topic, pseudonym) = (Topic::from_bytes(topic), Pseudonym::from_bytes(pseudonym));
                Self::Announce { topic, pseudonym, addresses, lease_seconds }
            }
            WITHDRAW => {
                let (topic, pseudonym) = body::decode(body).map_err(bad)?;
                Self::Withdraw {
                    topic: Topic::from_bytes(topic),
                    pseudonym: Pseudonym::from_bytes(pseudonym),
                }
            }
            WATCH => Self::Watch { topic: Topic::from_bytes(body::decode(body).map_err(bad)?) },
            UNWATCH => Self::Unwatch { topic: Topic::from_bytes(body::decode(body).map_err(bad)?) },
            OPTIONAL_TYPES.. => return Ok(None),
            _ => return Err(AnnounceError::UnknownType(kind)),
        }))
    }
}

impl FromTracker {
    /// Appends the message as a frame.
    ///
    /// # Errors
    /// When it is longer than any frame; lists within their bounds never are.
    pub fn write(&self, out: &mut Vec<u8>, request: RequestId) -> Result<(), FrameError> {
        let (kind, body) = match self {
            Self::Leased { topic, lease_seconds, seen } => {
                (LEASED, body::encode(&(topic.as_bytes(), lease_seconds, seen)))
            }
            Self::Peers { topic, peers } => {
                let peers: Vec<_> =
                    peers.iter().map(|(name, addresses)| (name.as_bytes(), addresses)).collect();
                (PEERS, body::encode(&(topic.as_bytes(), peers)))
            }
            Self::Left { topic, pseudonyms } => {
                let pseudonyms: Vec<_> = pseudonyms.iter().map(Pseudonym::as_bytes).collect();
                (LEFT, body::encode(&(topic.as_bytes(), pseudonyms)))
            }
            Self::Refused { topic, reason } => (REFUSED, body::encode(&(topic.as_bytes(), reason))),
        };
        write_frame(out, kind, request, &[&body])
    }

    /// The message of a frame; `None` for an optional one that this version does not know.
    ///
    /// # Errors
    /// When it is none; says what is wrong.
    pub fn read(frame: &Frame<'_>) -> Result<Option<Self>, AnnounceError> {
        let (kind, body) = (frame.kind, bounded(frame)?);
        let bad = |error| AnnounceError::Body { kind, error };
        Ok(Some(match kind {
            LEASED => {
                let (topic, lease_seconds, seen) = body::decode(body).map_err(bad)?;
                let lease_seconds = lease(lease_seconds).map_err(bad)?;
                Self::Leased { topic: Topic::from_bytes(topic), lease_seconds, seen }
            }
            PEERS => {
                let (topic, peers) =
                    body::decode::<([u8; 32], AtMost<([u8; 32], Addresses), TOLD_PEERS_MAX>)>(body)
                        .map_err(bad)?;
                let named =
                    |(name, addresses)| Ok((Pseudonym::from_bytes(name), all_dialable(addresses, kind)?));
                let peers = peers.named("peers").map_err(bad)?.into_iter().map(named);
                Self::Peers { topic: Topic::from_bytes(topic), peers: peers.collect::<Result<_, _>>()? }
            }
            LEFT => {
                let (topic, names): (_, AtMost<[u8; 32], TOLD_PEERS_MAX>) =
                    body::decode(body).map_err(bad)?;
                let pseudonyms =
                    names.named("peers").map_err(bad)?.into_iter().map(Pseudonym::from_bytes).collect();
                Self::Left { topic: Topic::from_bytes(topic), pseudonyms }
            }
            REFUSED => {
                let (topic, reason) = body::decode(body).map_err(bad)?;
                Self::Refused { topic: Topic::from_bytes(topic), reason }
            }
            OPTIONAL_TYPES.. => return Ok(None),
            _ => return Err(AnnounceError::UnknownType(kind)),
        }))
    }
}

fn bounded<'a>(frame: &Frame<'a>) -> Result<&'a [u8], AnnounceError> {
    let bytes = frame.body.len();
    if bytes > TRACKER_BODY_BYTES_MAX {
        return Err(AnnounceError::TooLong { kind: frame.kind, bytes });
    }
    Ok(frame.body)
}

fn lease(seconds: u32) -> Result<u32, BodyError> {
    match seconds {
        1..=LEASE_SECONDS_MAX => Ok(seconds),
        _ => Err(BodyError::Meaningless("a lease that lasts no second, or longer than a day")),
    }
}

fn all_dialable(addresses: Addresses, kind: u8) -> Result<Vec<SocketAddr>, AnnounceError> {
    let addresses = addresses.named("addresses").map_err(|error| AnnounceError::Body { kind, error })?;
    addresses.iter().try_for_each(|address| dialable(*address))?;
    Ok(addresses)
}

/// Whether a connection to there can mean a peer: a port, and an address of one machine.
fn dialable(address: SocketAddr) -> Result<(), AnnounceError> {
    let is_one_machine = match address.ip() {
        IpAddr::V4(ip) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()),
        IpAddr::V6(ip) => !(ip.is_unspecified() || ip.is_multicast()),
    };
    if address.port() == 0 || !is_one_machine {
        return Err(AnnounceError::Address(address));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::frame::FrameReader;

    const TOPIC: Topic = Topic::from_bytes([1; 32]);
    const NAME: Pseudonym = Pseudonym::from_bytes([2; 32]);

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    pub(crate) fn asked() -> [ToTracker; 4] {
        let addresses = vec![address("192.0.2.1:80"), address("[2001:db8::1]:443")];
        [
            ToTracker::Announce { topic: TOPIC, pseudonym: NAME, addresses, lease_seconds: 300 },
            ToTracker::Withdraw { topic: TOPIC, pseudonym: NAME },
            ToTracker::Watch { topic: TOPIC },
            ToTracker::Unwatch { topic: TOPIC },
        ]
    }

    pub(crate) fn told() -> [FromTracker; 4] {
        let peers = vec![(NAME, vec![address("192.0.2.1:80")]), (NAME, vec![])];
        [
            FromTracker::Leased { topic: TOPIC, lease_seconds: 1, seen: address("192.0.2.1:80") },
            FromTracker::Peers { topic: TOPIC, peers },
            FromTracker::Left { topic: TOPIC, pseudonyms: vec![NAME] },
            FromTracker::Refused { topic: TOPIC, reason: TrackerRefusal::TooOften },
        ]
    }

    fn read<T>(
        bytes: &[u8],
        with: impl Fn(&Frame<'_>) -> Result<Option<T>, AnnounceError>,
    ) -> Result<Option<T>, AnnounceError> {
        let mut reader = FrameReader::default();
        reader.push(bytes);
        with(&reader.next_frame().unwrap().unwrap())
    }

    #[test]
    fn every_message_comes_back_and_its_bytes_are_frozen() {
        let topic = "01".repeat(32);
        let name = "02".repeat(32);
        let expected = [
            format!("41000000 07{topic}{name}0200c000020150 0120010db8{}bb03 ac02", "00".repeat(11) + "01"),
            format!("42000000 07{topic}{name}"),
            format!("43000000 07{topic}"),
            format!("44000000 07{topic}"),
        ];
        for (message, expected) in asked().iter().zip(expected) {
            let mut bytes = Vec::new();
            message.write(&mut bytes, RequestId(7)).unwrap();
            assert_eq!(data_encoding::HEXLOWER.encode(&bytes[4..]), expected.replace(' ', ""));
            assert_eq!(read(&bytes, ToTracker::read), Ok(Some(message.clone())));
        }
        let expected = [
            format!("5100000000{topic}0100c000020150"),
            format!("5200000000{topic}02{name}0100c000020150{name}00"),
            format!("5300000000{topic}01{name}"),
            format!("5400000000{topic}01"),
        ];
        for (message, expected) in told().iter().zip(expected) {
            let mut bytes = Vec::new();
            message.write(&mut bytes, RequestId::NONE).unwrap();
            assert_eq!(data_encoding::HEXLOWER.encode(&bytes[4..]), expected);
            assert_eq!(read(&bytes, FromTracker::read), Ok(Some(message.clone())));
        }
    }

    #[test]
    fn d4_unknown_types_are_passed_over_or_refused() {
        let frame = |kind| Frame { kind, request: RequestId::NONE, body: b"" };
        assert_eq!(ToTracker::read(&frame(0x80)), Ok(None));
        assert_eq!(FromTracker::read(&frame(0xff)), Ok(None));
        assert_eq!(ToTracker::read(&frame(0x7f)), Err(AnnounceError::UnknownType(0x7f)));
        assert_eq!(FromTracker::read(&frame(ANNOUNCE)), Err(AnnounceError::UnknownType(ANNOUNCE)));
    }

    #[test]
    fn t4_addresses_that_are_nobodys_are_refused() {
        for text in ["0.0.0.0:1", "[::]:1", "224.0.0.1:1", "255.255.255.255:1", "[ff02::1]:1", "192.0.2.1:0"]
        {
            let addresses = vec![address(text)];
            let message = ToTracker::Announce { topic: TOPIC, pseudonym: NAME, addresses, lease_seconds: 1 };
            let mut bytes = Vec::new();
            message.write(&mut bytes, RequestId::NONE).unwrap();
            assert_eq!(read(&bytes, ToTracker::read), Err(AnnounceError::Address(address(text))));
        }
    }

    #[test]
    fn t5_lists_and_leases_are_bounded() {
        let addresses = vec![address("192.0.2.1:80"); ANNOUNCED_ADDRESSES_MAX + 1];
        let body = |kind, error| Err(AnnounceError::Body { kind, error });
        let too_many = |what, max| BodyError::TooMany { count: max + 1, what, max };
        let announce = |addresses: &[SocketAddr], lease_seconds| {
            let addresses = addresses.to_vec();
            let mut bytes = Vec::new();
            let message = ToTracker::Announce { topic: TOPIC, pseudonym: NAME, addresses, lease_seconds };
            message.write(&mut bytes, RequestId::NONE).unwrap();
            read(&bytes, ToTracker::read)
        };
        assert_eq!(announce(&addresses, 1), body(ANNOUNCE, too_many("addresses", ANNOUNCED_ADDRESSES_MAX)));
        assert!(announce(&addresses[1..], LEASE_SECONDS_MAX).is_ok());
        for lease_seconds in [0, LEASE_SECONDS_MAX + 1] {
            assert!(matches!(announce(&[], lease_seconds), Err(AnnounceError::Body { kind: ANNOUNCE, .. })));
        }
        let told = |count| {
            let mut bytes = Vec::new();
            let peers = vec![(NAME, addresses[1..].to_vec()); count];
            FromTracker::Peers { topic: TOPIC, peers }.write(&mut bytes, RequestId::NONE).unwrap();
            read(&bytes, FromTracker::read)
        };
        assert!(told(TOLD_PEERS_MAX).is_ok());
        let error = too_many("peers", TOLD_PEERS_MAX);
        assert_eq!(told(TOLD_PEERS_MAX + 1), Err(AnnounceError::Body { kind: PEERS, error }));
        let long = vec![0; TRACKER_BODY_BYTES_MAX + 1];
        let frame = Frame { kind: WATCH, request: RequestId::NONE, body: &long };
        assert_eq!(ToTracker::read(&frame), Err(AnnounceError::TooLong { kind: WATCH, bytes: long.len() }));
    }

    #[test]
    fn d1_no_bytes_make_it_panic() {
        let mut all = Vec::new();
        asked().iter().for_each(|message| message.write(&mut all, RequestId(1)).unwrap());
        told().iter().for_each(|message| message.write(&mut all, RequestId(1)).unwrap());
        let mut reader = FrameReader::default();
        reader.push(&all);
        while let Some(frame) = reader.next_frame().unwrap() {
            for end in 0..frame.body.len() {
                let cut = Frame { body: &frame.body[..end], ..frame };
                assert!(ToTracker::read(&cut).is_err() && FromTracker::read(&cut).is_err());
            }
            for at in 0..frame.body.len() {
                let mut body = frame.body.to_vec();
                body[at] = 0xff;
                let (_, _) = (
                    ToTracker::read(&Frame { body: &body, ..frame }),
                    FromTracker::read(&Frame { body: &body, ..frame }),
                );
            }
            let longer = [frame.body, b"x"].concat();
            let longer = Frame { body: &longer, ..frame };
            assert!(ToTracker::read(&longer).is_err() && FromTracker::read(&longer).is_err());
        }
    }
}
