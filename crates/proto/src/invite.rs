//! Invites: all that a device needs to come in, as one text that can be copied.
//!
//! Promise: a text that was pasted with spaces, line ends, hyphens or capitals is read; one that was
//! mistyped, cut short or made by another version is refused, and says how. Whoever holds an invite can come
//! in, so it is shown only by [`Invite::to_text`]; the key in it is never sent, only what it signs
//! ([`Invite::join`]).
//!
//! The text is `shoal1` and then base32 (RFC 4648, no padding, any case) of: the length of the body (two
//! bytes, big-endian), the body in postcard's encoding, five bytes of checksum. The digit is the version; the
//! letters that follow have no `1` among them, nor `0`, `8` and `9`.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::body::AtMost;
use crate::hash::Domain;
use crate::id::{DeviceId, ShareId};
use crate::key::{DeviceKey, InviteSecret, Signature};
use crate::limits::{
    ADDRESS_BYTES_MAX, INVITE_ADDRESSES_MAX, INVITE_BYTES_MAX, INVITE_TEXT_BYTES_MAX, INVITE_TRACKERS_MAX,
};
use crate::roster::{
    Delegation, DelegationError, Described, Entry, EntryError, EntryHash, EntryPlace, Founding,
    FoundingError, Joined, Statement, role_number, role_of,
};
use crate::secret::ShareSecret;
use crate::signed::{self, SignedError};

/// What a device shows to be let in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invite {
    /// How the share began: its id, and whose word counts before all others.
    pub founding: Founding,
    /// The share's secret.
    pub secret: ShareSecret,
    /// The invite's own key.
    pub key: InviteSecret,
    /// The admin's word.
    pub delegation: Delegation,
    /// Where the admin's device was reachable; at most [`INVITE_ADDRESSES_MAX`].
    pub addresses: Vec<Address>,
    /// Trackers that know who is where; at most [`INVITE_TRACKERS_MAX`].
    pub trackers: Vec<Address>,
}

/// A host and a port: `192.0.2.1:4242`, `[2001:db8::1]:4242` or `nas.example:4242`. Has only letters, digits
/// and `.-_:[]`, so it can be shown anywhere.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd)]
pub struct Address(Box<str>);

/// Why a text is no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// Longer than any address.
    #[error("an address of {0} bytes; at most {ADDRESS_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// No port, or none from 1 to 65535.
    #[error("an address without a port from 1 to 65535 after its last colon")]
    Port,
    /// Neither an IP address (version 6 in brackets) nor a host name.
    #[error("an address whose host is neither a name nor an IP address")]
    Host,
}

/// Why a text is no invite that can be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InviteError {
    /// Nothing but spaces.
    #[error("no invite was given")]
    Empty,
    /// More text than any invite has.
    #[error("a text of {0} bytes is no invite; invites have at most {INVITE_TEXT_BYTES_MAX}")]
    TooLong(usize),
    /// Some other text.
    #[error("this is no invite: invites begin with '{PREFIX}{VERSION}'")]
    NoInvite,
    /// Of a Shoal that writes them otherwise.
    #[error("this invite has version {0}; this Shoal reads version {VERSION}")]
    OtherVersion(char),
    /// A character that invites do not have. (Shown escaped.)
    #[error("'{}' at place {place} does not belong into an invite", .character.escape_default())]
    Character {
        /// Which one, from 1, in the text as it was given.
        place: usize,
        /// What stands there.
        character: char,
    },
    /// The end is missing.
    #[error("the invite is cut short: it has {letters} letters of {whole}")]
    CutShort {
        /// How many letters there are.
        letters: usize,
        /// How many it should have.
        whole: usize,
    },
    /// Something was added.
    #[error("the invite goes on after its end: it has {letters} letters instead of {whole}")]
    Surplus {
        /// How many letters there are.
        letters: usize,
        /// How many it should have.
        whole: usize,
    },
    /// The checksum differs.
    #[error("a letter of the invite is wrong; copy it again")]
    Checksum,
    /// What it holds is not in the format.
    #[error("the invite is {0}")]
    Format(#[from] SignedError),
    /// How the share began cannot be read.
    #[error("the invite names {0}")]
    Founding(#[from] FoundingError),
    /// Addresses or trackers, more than an invite may have.
    #[error(
        "the invite has {0} addresses; at most {INVITE_ADDRESSES_MAX}, \
         and {INVITE_TRACKERS_MAX} trackers, are allowed"
    )]
    Addresses(usize),
    /// One of them cannot be.
    #[error("the invite has {0}")]
    Address(#[from] AddressError),
    /// Not signed by whom it names, or for another key.
    #[error("the invite cannot be used: it is {0}")]
    Delegation(#[from] DelegationError),
}

const PREFIX: &str = "shoal";
const VERSION: char = '1';
const LENGTH_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 5;

impl Invite {
    /// The share that it lets in to.
    #[must_use]
    pub fn share(&self) -> ShareId {
        self.founding.share()
    }

    /// The invite in this text.
    ///
    /// # Errors
    /// When it is none, was damaged, or is of another version.
    pub fn parse(text: &str) -> Result<Self, InviteError> {
        let body = body_of(text)?;
        let wire: InviteWire<'_> = signed::read(&body)?;
        wire.read()
    }

    /// The invite as text to be copied: whoever reads it can come in.
    ///
    /// # Errors
    /// When it has too many addresses.
    pub fn to_text(&self) -> Result<String, InviteError> {
        let addresses = self.addresses.len() + self.trackers.len();
        if self.addresses.len() > INVITE_ADDRESSES_MAX || self.trackers.len() > INVITE_TRACKERS_MAX {
            return Err(InviteError::Addresses(addresses));
        }
        let body = Zeroizing::new(crate::body::encode(&InviteWire::of(self, &self.founding.encode())));
        let length = u16::try_from(body.len()).map_err(|_| InviteError::TooLong(body.len()))?;
        let mut bytes = Zeroizing::new(length.to_be_bytes().to_vec());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&checksum(&body));
        let letters = Zeroizing::new(data_encoding::BASE32_NOPAD.encode(&bytes));
        Ok(format!("{PREFIX}{VERSION}{}", letters.to_ascii_lowercase()))
    }

    /// How a device comes in by this invite: an entry to be given to any member. `after` is what it has
    /// signed last in this share, if it was in it before.
    ///
    /// # Errors
    /// When it has signed too much in this share before.
    pub fn join(
        &self,
        key: &DeviceKey,
        after: Option<EntryPlace>,
        described: Described,
    ) -> Result<Entry, EntryError> {
        let share = self.share();
        let joined = Joined::by(&self.key, self.delegation, &share, &key.device(), described);
        Entry::sign(key, &share, after, Statement::Joined(Box::new(joined)))
    }
}

/// The letters of an invite, and what they stand for: everything about the text, nothing about what it means.
fn body_of(text: &str) -> Result<Zeroizing<Vec<u8>>, InviteError> {
    if text.len() > INVITE_TEXT_BYTES_MAX {
        return Err(InviteError::TooLong(text.len()));
    }
    let mut characters = text
        .chars()
        .enumerate()
        .filter(|(_, character)| !is_filler(*character))
        .map(|(at, character)| (at + 1, character.to_ascii_lowercase()))
        .peekable();
    if characters.peek().is_none() {
        return Err(InviteError::Empty);
    }
    for expected in PREFIX.chars() {
        match characters.next() {
            Some((_, character)) if character == expected => {}
            _ => return Err(InviteError::NoInvite),
        }
    }
    match characters.next() {
        Some((_, VERSION)) => {}
        Some((_, other)) if other.is_ascii_digit() => return Err(InviteError::OtherVersion(other)),
        _ => return Err(InviteError::NoInvite),
    }
    let mut letters = Zeroizing::new(Vec::with_capacity(text.len()));
    for (place, character) in characters {
        match u8::try_from(character) {
            Ok(letter @ (b'a'..=b'z' | b'2'..=b'7')) => letters.push(letter.to_ascii_uppercase()),
            _ => return Err(InviteError::Character { place, character }),
        }
    }
    check_length(&letters)?;
    let bytes =
        Zeroizing::new(data_encoding::BASE32_NOPAD.decode(&letters).map_err(|_| InviteError::Checksum)?);
    match bytes.split_last_chunk() {
        Some(([_, _, body @ ..], sum)) if *sum == checksum(body) => Ok(Zeroizing::new(body.to_vec())),
        _ => Err(InviteError::Checksum),
    }
}

/// The length stands first, so that a part of an invite is not called mistyped.
fn check_length(letters: &[u8]) -> Result<(), InviteError> {
    let first = letters.get(..8).and_then(|first| data_encoding::BASE32_NOPAD.decode(first).ok());
    let Some(&[high, low, ..]) = first.as_deref() else {
        let whole = letters_of(LENGTH_BYTES + CHECKSUM_BYTES);
        return Err(InviteError::CutShort { letters: letters.len(), whole });
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > INVITE_BYTES_MAX {
        return Err(InviteError::Checksum);
    }
    let (letters, whole) = (letters.len(), letters_of(LENGTH_BYTES + length + CHECKSUM_BYTES));
    match letters.cmp(&whole) {
        core::cmp::Ordering::Less => Err(InviteError::CutShort { letters, whole }),
        core::cmp::Ordering::Equal => Ok(()),
        core::cmp::Ordering::Greater => Err(InviteError::Surplus { letters, whole }),
    }
}

fn letters_of(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

/// Characters that a text gathers on its way through mails, chats and terminals.
fn is_filler(character: char) -> bool {
    character.is_whitespace() || matches!(character, '-' | '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}')
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = Domain::INVITE_CHECKSUM.hash_one(body);
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&hash[..CHECKSUM_BYTES]);
    checksum
}

impl Address {
    /// The address in this text.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong(text.len()));
        }
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::Port)?;
        let is_port = !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
        if !is_port || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(AddressError::Port);
        }
        let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inside) => inside.parse::<core::net::Ipv6Addr>().is_ok(),
            None if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
                host.parse::<core::net::Ipv4Addr>().is_ok()
            }
            None => is_host_name(host),
        };
        if is_host { Ok(Self(text.into())) } else { Err(AddressError::Host) }
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it leads nowhere but to the machine that reads it; worth a word before somebody dials it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.0.rsplit_once(':').map_or(&*self.0, |(host, _)| host);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<core::net::IpAddr>() {
            Ok(ip) => ip.to_canonical().is_loopback(),
            Err(_) => bare.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl core::fmt::Display for Address {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(&self.0)
    }
}

impl core::fmt::Debug for Address {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(&self.0)
    }
}

/// Names as DNS has them (RFC 1123, 2.1), and underscores, which people use.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(is_label)
}

/// What an invite's body holds. The share is named by how it began, and not again in the delegation, nor the key that
/// grows from the seed.
#[derive(Serialize, Deserialize)]
struct InviteWire<'a> {
    founding: &'a [u8],
    secret: [u8; 32],
    seed: [u8; 32],
    /// Who gave it, if not the creator.
    signer: Option<[u8; 32]>,
    role: u8,
    uses: u16,
    not_after: u64,
    after: [u8; 32],
    signature: &'a [u8],
    #[serde(borrow)]
    addresses: AtMost<&'a str, INVITE_ADDRESSES_MAX>,
    #[serde(borrow)]
    trackers: AtMost<&'a str, INVITE_TRACKERS_MAX>,
}

impl<'a> InviteWire<'a> {
    fn of(invite: &'a Invite, founding: &'a [u8]) -> Self {
        let delegation = &invite.delegation;
        let is_creators = delegation.signer == invite.founding.creator;
        Self {
            founding,
            secret: *invite.secret.expose(),
            seed: *invite.key.seed(),
            signer: (!is_creators).then_some(*delegation.signer.as_bytes()),
            role: role_number(delegation.role),
            uses: delegation.uses,
            not_after: delegation.not_after,
            after: *delegation.after.as_bytes(),
            signature: delegation.signature.as_bytes(),
            addresses: invite.addresses.iter().map(Address::as_str).collect(),
            trackers: invite.trackers.iter().map(Address::as_str).collect(),
        }
    }

    fn read(&self) -> Result<Invite, InviteError> {
        let (Ok(addresses), Ok(trackers)) = (self.addresses.as_slice(), self.trackers.as_slice()) else {
            return Err(InviteError::Addresses(self.addresses.count() + self.trackers.count()));
        };
        let key = InviteSecret::from_seed(&self.seed);
        let founding = Founding::decode(self.founding)?;
        let signature = self.signature.try_into().map_err(|_| SignedError::CutShort(self.signature.len()))?;
        let delegation = Delegation {
            signer: self.signer.map_or(founding.creator, DeviceId::from_bytes),
            invite: key.key(),
            role: role_of(self.role).ok_or(DelegationError::UnknownRole(self.role))?,
            uses: self.uses,
            not_after: self.not_after,
            after: EntryHash::from_bytes(self.after),
            signature: Signature::from_bytes(signature),
        };
        delegation.verify(&founding.share())?;
        let parse = |addresses: &[&str]| addresses.iter().map(|text| Address::parse(text)).collect();
        let addresses: Result<Vec<_>, _> = parse(addresses);
        let trackers: Result<Vec<_>, _> = parse(trackers);
        let secret = ShareSecret::from_bytes(self.secret);
        Ok(Invite { founding, secret, key, delegation, addresses: addresses?, trackers: trackers? })
    }
}

impl Drop for InviteWire<'_> {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
        zeroize::Zeroize::zeroize(&mut self.seed);
    }
}

#[cfg(test)]
pub(crate) mod tests;
