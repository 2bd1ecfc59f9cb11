//! What a device is in a share, as the index has it.
//!
//! Promise: a value and nothing else; all of it rests on the roster as it was at one moment.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::id::DeviceId;
use shoal_proto::message::Refusal;
use shoal_proto::roster::{DeviceName, Role};
use shoal_proto::secret::{SecretId, ShareSecret};

use crate::store::Me;

/// What a device is and may do in a share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Life {
    /// Which device, which writer.
    pub me: Me,
    /// Its role; `None`: it is no member (yet).
    pub role: Option<Role>,
    /// Whether it has reconciled once since its index was made, or need not.
    pub first_contact: bool,
    /// Whether a guard stopped it.
    pub is_halted: bool,
    /// The secrets that the roster tells this device, the newest first.
    pub secrets: Vec<ShareSecret>,
    /// The devices that are no members any more: they are told nothing.
    pub removed: BTreeSet<DeviceId>,
    /// Those of them that went by their own wish: each may come in again, by an invite that it has to show.
    pub left: BTreeSet<DeviceId>,
    /// The members, and what they may do.
    pub members: Vec<(DeviceId, Role)>,
    /// What members call themselves, as far as they have said so.
    pub names: BTreeMap<DeviceId, DeviceName>,
    /// The secrets that each device which others removed was not told: by these it may come in again, as they come with an
    /// invite that was given since.
    pub unknown: BTreeMap<DeviceId, BTreeSet<SecretId>>,
    /// Who removed this device, if it was.
    pub removed_by: Option<DeviceId>,
    /// Why the invite that this device shows does not count.
    pub void: Option<Refusal>,
    /// Who says whether this device is let in: who invited it, and the creator.
    pub hosts: BTreeSet<DeviceId>,
}

impl Life {
    /// Whether other devices belong to the share, by other names, or by other secrets.
    pub(crate) fn is_of_others(&self, later: &Self) -> bool {
        (&self.members, &self.names, &self.secrets) != (&later.members, &later.names, &later.secrets)
    }
}
