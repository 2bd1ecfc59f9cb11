//! How entries look as bytes: in one place, and nowhere else.
//!
//! Promise: an entry has one encoding, its sets in order, so one hash. Entries are bounded before they are read,
//! and their lists while they are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::delegation::{DelegationBody, DelegationError, role_number, role_of};
use super::entry::{Described, DeviceName, EntryHash, Joined, Kept, Statement};
use crate::body::AtMost;
use crate::id::{DeviceId, Writer};
use crate::key::{BoxKey, InviteKey, KeyError, SEALED_BYTES, Sealed, Signature};
use crate::limits::{
    DEVICE_NAME_BYTES_MAX, KEPT_ADMISSIONS_MAX, KEPT_ENTRIES_MAX, KEPT_PUBLICATIONS_MAX, SEALED_MAX,
};
use crate::publication::{Place, PublicationHash};
use crate::secret::SecretId;
use crate::signed::SignedError;

/// Why bytes are no entry.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// Not even the outer form.
    #[error("is {0}")]
    Form(#[from] SignedError),
    /// A number that no role has.
    #[error("gives the unknown role {0}")]
    Role(u8),
    /// A name of no length, or too long.
    #[error("names a device with {0} bytes; from 1 to {DEVICE_NAME_BYTES_MAX} are allowed")]
    Name(usize),
    /// A key that secrets must not be sealed to.
    #[error("gives {0}")]
    BoxKey(KeyError),
    /// A signature or a sealed secret of a wrong length.
    #[error("has {0} bytes where there should be {1}")]
    Length(usize, usize),
    /// More than an entry may name.
    #[error("names {count} {what}; at most {max} are allowed")]
    TooMany {
        /// What is named.
        what: &'static str,
        /// How often.
        count: usize,
        /// How often it may be.
        max: usize,
    },
    /// The invite is not in the format.
    #[error("shows {0}")]
    Delegation(Box<DelegationError>),
}

/// What is hashed and signed, after the share's id.
#[derive(Serialize, Deserialize)]
pub(super) struct Body<'a> {
    signer: [u8; 32],
    sequence: u64,
    previous: [u8; 32],
    #[serde(borrow)]
    statement: StatementWire<'a>,
}

// The order is the numbering of the kinds: new ones come last.
#[derive(Serialize, Deserialize)]
enum StatementWire<'a> {
    #[serde(borrow)]
    Device(DescribedWire<'a>),
    Joined {
        delegation: DelegationBody,
        signature: &'a [u8],
        admitted: &'a [u8],
        described: DescribedWire<'a>,
    },
    Role {
        about: [u8; 32],
        role: u8,
        kept: KeptWire,
    },
    Removed {
        about: [u8; 32],
        kept: KeptWire,
    },
    Left {
        kept: KeptWire,
    },
    Secret {
        epoch: u32,
        id: [u8; 32],
        sealed: AtMost<([u8; 32], &'a [u8]), SEALED_MAX>,
    },
    Revoked {
        invite: [u8; 32],
        admitted: AtMost<[u8; 32], KEPT_ADMISSIONS_MAX>,
    },
}

#[derive(Serialize, Deserialize)]
struct DescribedWire<'a> {
    name: &'a str,
    box_key: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct KeptWire {
    entries: AtMost<[u8; 32], KEPT_ENTRIES_MAX>,
    publications: AtMost<([u8; 8], u64, [u8; 32]), KEPT_PUBLICATIONS_MAX>,
    admitted: AtMost<[u8; 32], KEPT_ADMISSIONS_MAX>,
}

impl<'a> Body<'a> {
    pub(super) fn new(
        signer: &DeviceId,
        sequence: u64,
        previous: &EntryHash,
        statement: &'a Statement,
    ) -> Self {
        Self {
            signer: *signer.as_bytes(),
            sequence,
            previous: *previous.as_bytes(),
            statement: StatementWire::from(statement),
        }
    }

    pub(super) fn place(&self) -> (DeviceId, u64, EntryHash) {
        (DeviceId::from_bytes(self.signer), self.sequence, EntryHash::from_bytes(self.previous))
    }

    pub(super) fn statement(self) -> Result<Statement, FormatError> {
        Ok(match self.statement {
            StatementWire::Device(described) => Statement::Device(described.read()?),
            StatementWire::Joined { delegation, signature, admitted, described } => {
                let delegation = delegation
                    .with(Signature::from_bytes(exactly(signature)?))
                    .map_err(|error| FormatError::Delegation(Box::new(error)))?;
                let admitted = Signature::from_bytes(exactly(admitted)?);
                Statement::Joined(Box::new(Joined { delegation, admitted, described: described.read()? }))
            }
            StatementWire::Role { about, role, kept } => {
                let role = role_of(role).ok_or(FormatError::Role(role))?;
                Statement::Role { about: DeviceId::from_bytes(about), role, kept: kept.read()? }
            }
            StatementWire::Removed { about, kept } => {
                Statement::Removed { about: DeviceId::from_bytes(about), kept: kept.read()? }
            }
            StatementWire::Left { kept } => Statement::Left { kept: kept.read()? },
            StatementWire::Secret { epoch, id, sealed } => {
                let read = |(device, bytes): ([u8; 32], &[u8])| -> Result<_, FormatError> {
                    let sealed = Sealed::from_bytes(exactly::<SEALED_BYTES>(bytes)?);
                    Ok((DeviceId::from_bytes(device), sealed))
                };
                let sealed = within(sealed, "devices")?
                    .into_iter()
                    .map(read)
                    .collect::<Result<BTreeMap<_, _>, _>>()?;
                Statement::Secret { epoch, id: SecretId::from_bytes(id), sealed }
            }
            StatementWire::Revoked { invite, admitted } => {
                let admitted = entries(admitted, "admissions")?;
                Statement::Revoked { invite: InviteKey::from_bytes(invite), admitted }
            }
        })
    }
}

impl<'a> From<&'a Statement> for StatementWire<'a> {
    fn from(statement: &'a Statement) -> Self {
        match statement {
            Statement::Device(described) => Self::Device(described.into()),
            Statement::Joined(joined) => Self::Joined {
                delegation: (&joined.delegation).into(),
                signature: joined.delegation.signature.as_bytes(),
                admitted: joined.admitted.as_bytes(),
                described: (&joined.described).into(),
            },
            Statement::Role { about, role, kept } => {
                Self::Role { about: *about.as_bytes(), role: role_number(*role), kept: kept.into() }
            }
            Statement::Removed { about, kept } => {
                Self::Removed { about: *about.as_bytes(), kept: kept.into() }
            }
            Statement::Left { kept } => Self::Left { kept: kept.into() },
            Statement::Secret { epoch, id, sealed } => {
                let pair = |(device, sealed): (&DeviceId, &'a Sealed)| {
                    (*device.as_bytes(), sealed.as_bytes().as_slice())
                };
                Self::Secret { epoch: *epoch, id: *id.as_bytes(), sealed: sealed.iter().map(pair).collect() }
            }
            Statement::Revoked { invite, admitted } => {
                Self::Revoked { invite: *invite.as_bytes(), admitted: hashes(admitted) }
            }
        }
    }
}

impl DescribedWire<'_> {
    fn read(&self) -> Result<Described, FormatError> {
        let box_key = BoxKey::parse(self.box_key).map_err(FormatError::BoxKey)?;
        Ok(Described { name: DeviceName::parse(self.name)?, box_key })
    }
}

impl<'a> From<&'a Described> for DescribedWire<'a> {
    fn from(described: &'a Described) -> Self {
        Self { name: described.name.as_str(), box_key: *described.box_key.as_bytes() }
    }
}

impl KeptWire {
    fn read(self) -> Result<Kept, FormatError> {
        let mut publications: BTreeMap<Writer, BTreeSet<Place>> = BTreeMap::new();
        for (writer, sequence, hash) in within(self.publications, "last publications")? {
            let place = Place { sequence, hash: PublicationHash::from_bytes(hash) };
            publications.entry(Writer::from_bytes(writer)).or_default().insert(place);
        }
        let entries_kept = entries(self.entries, "last entries")?;
        Ok(Kept { entries: entries_kept, publications, admitted: entries(self.admitted, "admissions")? })
    }
}

impl From<&Kept> for KeptWire {
    fn from(kept: &Kept) -> Self {
        let places = kept.publications.iter().flat_map(|(writer, places)| {
            places.iter().map(|place| (writer.to_bytes(), place.sequence, *place.hash.as_bytes()))
        });
        Self {
            publications: places.collect(),
            entries: hashes(&kept.entries),
            admitted: hashes(&kept.admitted),
        }
    }
}

fn within<T, const MAX: usize>(list: AtMost<T, MAX>, what: &'static str) -> Result<Vec<T>, FormatError> {
    list.all().map_err(|count| FormatError::TooMany { what, count, max: MAX })
}

fn entries<const MAX: usize>(
    hashes: AtMost<[u8; 32], MAX>,
    what: &'static str,
) -> Result<BTreeSet<EntryHash>, FormatError> {
    Ok(within(hashes, what)?.into_iter().map(EntryHash::from_bytes).collect())
}

fn hashes<const MAX: usize>(entries: &BTreeSet<EntryHash>) -> AtMost<[u8; 32], MAX> {
    entries.iter().map(|entry| *entry.as_bytes()).collect()
}

fn exactly<const LENGTH: usize>(bytes: &[u8]) -> Result<[u8; LENGTH], FormatError> {
    bytes.try_into().map_err(|_| FormatError::Length(bytes.len(), LENGTH))
}
