//! Entries: what devices sign about who belongs to a share.
//!
//! Promise: an [`Entry`] is a value only after its signatures were checked, for one share: its own, and in a
//! [`Joined`] one those of the invite's key and of the admin. Whether it *counts*, the
//! [`Roster`](super::Roster) says. The entries of one signer form a chain by hash. Two entries that say the
//! same at the same place are one, whatever their signatures: the hash leaves the signature out.

use std::collections::{BTreeMap, BTreeSet};

use super::delegation::{Delegation, DelegationError, Role};
use super::wire::{Body, FormatError};
use crate::hash::{Domain, thirty_two_bytes};
use crate::id::{DeviceId, ShareId, Writer};
use crate::key::{self, BoxKey, DeviceKey, InviteKey, InviteSecret, KeyError, Sealed, Signature};
use crate::limits::{
    CHAIN_ENTRIES_MAX, DEVICE_NAME_BYTES_MAX, ENTRY_BYTES_MAX, KEPT_ADMISSIONS_MAX, KEPT_ENTRIES_MAX,
    KEPT_PUBLICATIONS_MAX, SEALED_MAX,
};
use crate::publication::Place;
use crate::secret::SecretId;
use crate::signed;

thirty_two_bytes! {
    /// The hash of an entry in its share; the signature is not part of it.
    EntryHash
}

/// A signed statement, verified. Equal and ordered by its hash.
#[derive(Clone, Debug)]
pub struct Entry {
    share: ShareId,
    signer: DeviceId,
    sequence: u64,
    previous: EntryHash,
    statement: Statement,
    signature: Signature,
    hash: EntryHash,
    bytes: usize,
}

/// What an entry says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Statement {
    /// What the signer is called, and what secrets for it are sealed to.
    Device(Described),
    /// The signer comes in by an invite.
    Joined(Box<Joined>),
    /// A device that stands below the signer has this role from now on.
    Role {
        /// Which device.
        about: DeviceId,
        /// What it may do.
        role: Role,
        /// What it did before in a higher role, and what still counts.
        kept: Kept,
    },
    /// A device that stands below the signer is no member any more.
    Removed {
        /// Which device.
        about: DeviceId,
        /// What it did that still counts.
        kept: Kept,
    },
    /// The signer is no member any more, by its own wish. As an admin's its entries up to this one count.
    Left {
        /// What it did that still counts, but for its entries.
        kept: Kept,
    },
    /// The share has a new secret, or more devices are told of it.
    Secret {
        /// 0 for the first secret, +1 for each new one.
        epoch: u32,
        /// Which secret it is.
        id: SecretId,
        /// It, for each device.
        sealed: BTreeMap<DeviceId, Sealed>,
    },
    /// An invite lets nobody in any more but those it has let in.
    Revoked {
        /// Which invite; the signer's own, or one of an admin that stands below it.
        invite: InviteKey,
        /// The entries of those who came in by it and stay.
        admitted: BTreeSet<EntryHash>,
    },
}

/// How a device describes itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Described {
    /// What it is called, for people.
    pub name: DeviceName,
    /// What secrets for it are sealed to.
    pub box_key: BoxKey,
}

/// How a device comes in. It signs the entry itself, so nobody can enlist another's key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Joined {
    /// The admin's word.
    pub delegation: Delegation,
    /// The invite key's signature that it is this device which comes in.
    pub admitted: Signature,
    /// How the device describes itself.
    pub described: Described,
}

/// What still counts of a device that is removed, or loses a role. What is not named is void at everybody
/// alike.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Kept {
    /// The last entries it signed as an admin that count, with all that lead to them. One, but for a chain
    /// that a restored backup has forked.
    pub entries: BTreeSet<EntryHash>,
    /// The last publications that count of each of its writers, with all that lead to them.
    pub publications: BTreeMap<Writer, BTreeSet<Place>>,
    /// The entries of those who came in by its invites and stay. Named one by one, because an invite of its
    /// own that nobody has used yet would let a removed admin in again.
    pub admitted: BTreeSet<EntryHash>,
}

/// What a device is called: 1 to 64 bytes of any text. It may say anything; shown, it cannot write to a
/// terminal.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd)]
pub struct DeviceName(Box<str>);

/// Where an entry stands in its signer's chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct EntryPlace {
    /// How many entries the signer has signed before.
    pub sequence: u64,
    /// Which one it is.
    pub hash: EntryHash,
}

/// Why an entry is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EntryError {
    /// Not in the format.
    #[error("an entry of a roster that {0}")]
    Format(#[from] FormatError),
    /// The first has none before it, every other one has.
    #[error("entry number {0} of a device, and what it says of the one before does not fit")]
    Previous(u64),
    /// The chain is as long as chains get.
    #[error("a device that has signed {CHAIN_ENTRIES_MAX} entries, the most that are allowed")]
    Chain,
    /// More is named or sealed than an entry may.
    #[error("an entry that names {count} {what}; at most {max} are allowed")]
    TooMany {
        /// What is named.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many may be.
        max: usize,
    },
    /// The key or the signature is bad.
    #[error("an entry by {signer}: {error}", signer = .signer.short())]
    Key {
        /// Who is said to have signed.
        signer: DeviceId,
        /// What is wrong.
        error: KeyError,
    },
    /// The admin has not signed the invite.
    #[error("an entry of who came in by {0}")]
    Delegation(#[from] DelegationError),
    /// Who came in did not hold the invite.
    #[error("an entry of {signer}, which comes in by an invite that it does not hold", signer = .0.short())]
    NotInvited(DeviceId),
}

impl Entry {
    /// Signs a statement, after what this device signed last in the share.
    ///
    /// # Errors
    /// When the chain is at its end, the statement names too much, or a [`Joined`] one is not by who holds the
    /// invite.
    pub fn sign(
        key: &DeviceKey,
        share: &ShareId,
        after: Option<EntryPlace>,
        statement: Statement,
    ) -> Result<Self, EntryError> {
        let (sequence, previous) = match after {
            None => (0, EntryHash::NONE),
            Some(last) => (last.sequence.saturating_add(1), last.hash),
        };
        let signature = Signature::from_bytes([0; 64]);
        let mut entry = Self::unsigned(share, (key.device(), sequence, previous), statement, signature);
        entry.check()?;
        if let Statement::Joined(joined) = &entry.statement {
            joined.verify(share, &entry.signer)?;
        }
        entry.signature = key.sign(entry.hash.as_bytes());
        Ok(entry)
    }

    /// The entry with these bytes, in this share, all its signatures checked.
    ///
    /// # Errors
    /// When they are none, or one that was not signed so.
    pub fn decode(bytes: &[u8], share: &ShareId) -> Result<Self, EntryError> {
        let (body, signature): (Body<'_>, _) =
            signed::open(bytes, ENTRY_BYTES_MAX).map_err(FormatError::from)?;
        let (signer, sequence, previous) = body.place();
        let entry = Self::unsigned(share, (signer, sequence, previous), body.statement()?, signature);
        entry.check()?;
        key::verify(signer.as_bytes(), entry.hash.as_bytes(), &signature)
            .map_err(|error| EntryError::Key { signer, error })?;
        if let Statement::Joined(joined) = &entry.statement {
            joined.verify(share, &signer)?;
        }
        Ok(entry)
    }

    /// Its bytes, at most [`ENTRY_BYTES_MAX`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        signed::seal(&self.body(), &self.signature)
    }

    /// The share that it is about.
    #[must_use]
    pub fn share(&self) -> &ShareId {
        &self.share
    }

    /// Who signed it.
    #[must_use]
    pub fn signer(&self) -> &DeviceId {
        &self.signer
    }

    /// What it says.
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> EntryHash {
        self.hash
    }

    /// Where it stands in its signer's chain.
    #[must_use]
    pub fn place(&self) -> EntryPlace {
        EntryPlace { sequence: self.sequence, hash: self.hash }
    }

    /// The signer's entry before; `None` of the first.
    #[must_use]
    pub fn previous(&self) -> Option<EntryPlace> {
        let sequence = self.sequence.checked_sub(1)?;
        Some(EntryPlace { sequence, hash: self.previous })
    }

    /// How many bytes it has, encoded.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        self.bytes
    }

    fn unsigned(
        share: &ShareId,
        (signer, sequence, previous): (DeviceId, u64, EntryHash),
        statement: Statement,
        signature: Signature,
    ) -> Self {
        let hash = EntryHash::NONE;
        let mut entry =
            Self { share: *share, signer, sequence, previous, statement, signature, hash, bytes: 0 };
        let body = crate::body::encode(&entry.body());
        entry.hash = EntryHash(Domain::ROSTER_ENTRY.hash(&[share.as_bytes(), &body]));
        entry.bytes = body.len() + signature.as_bytes().len();
        entry
    }

    fn body(&self) -> Body<'_> {
        Body::new(&self.signer, self.sequence, &self.previous, &self.statement)
    }

    /// What holds for every entry, by whomever and of whatever share.
    fn check(&self) -> Result<(), EntryError> {
        if (self.sequence == 0) != (self.previous == EntryHash::NONE) {
            return Err(EntryError::Previous(self.sequence));
        }
        if self.sequence >= CHAIN_ENTRIES_MAX {
            return Err(EntryError::Chain);
        }
        let limit = |what, count, max| {
            if count > max { Err(EntryError::TooMany { what, count, max }) } else { Ok(()) }
        };
        match &self.statement {
            Statement::Role { kept, .. } | Statement::Removed { kept, .. } | Statement::Left { kept } => {
                limit("last entries", kept.entries.len(), KEPT_ENTRIES_MAX)?;
                let publications = kept.publications.values().map(BTreeSet::len).sum();
                limit("last publications", publications, KEPT_PUBLICATIONS_MAX)?;
                limit("admissions", kept.admitted.len(), KEPT_ADMISSIONS_MAX)
            }
            Statement::Secret { sealed, .. } => limit("devices", sealed.len(), SEALED_MAX),
            Statement::Revoked { admitted, .. } => limit("admissions", admitted.len(), KEPT_ADMISSIONS_MAX),
            Statement::Device(_) | Statement::Joined(_) => Ok(()),
        }
    }
}

impl Eq for Entry {}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.hash.cmp(&other.hash)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl EntryHash {
    /// What stands before a device's first entry.
    pub const NONE: Self = Self([0; 32]);
}

impl Joined {
    /// How this device comes in by the invite that it holds; to be signed by it as an [`Entry`].
    #[must_use]
    pub fn by(
        secret: &InviteSecret,
        delegation: Delegation,
        share: &ShareId,
        device: &DeviceId,
        described: Described,
    ) -> Self {
        let admitted = secret.sign(&Self::admits(share, device, &delegation));
        Self { delegation, admitted, described }
    }

    fn verify(&self, share: &ShareId, device: &DeviceId) -> Result<(), EntryError> {
        self.delegation.verify(share)?;
        let admits = Self::admits(share, device, &self.delegation);
        key::verify(self.delegation.invite.as_bytes(), &admits, &self.admitted)
            .map_err(|_| EntryError::NotInvited(*device))
    }

    fn admits(share: &ShareId, device: &DeviceId, delegation: &Delegation) -> [u8; 32] {
        Domain::JOIN.hash(&[share.as_bytes(), device.as_bytes(), delegation.hash(share).as_bytes()])
    }
}

impl DeviceName {
    /// The name with this text.
    ///
    /// # Errors
    /// When it is empty or too long.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        if text.is_empty() || text.len() > DEVICE_NAME_BYTES_MAX {
            return Err(FormatError::Name(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// The text as its device wrote it; not for terminals.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Display for DeviceName {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        use core::fmt::Write;
        for letter in self.0.chars() {
            match letter {
                // Escaped in Rust, but harmless where names are read.
                '\'' | '"' | '\\' => out.write_char(letter)?,
                _ => write!(out, "{}", letter.escape_debug())?,
            }
        }
        Ok(())
    }
}

impl core::fmt::Debug for DeviceName {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "'{self}'")
    }
}
