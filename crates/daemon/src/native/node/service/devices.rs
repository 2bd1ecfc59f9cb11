//! Who belongs to a share, and how somebody ceases to.
//!
//! Promise: what a removed device published until then counts on; it is not told the share's new secret, nor is whoever
//! holds an invite that was taken back.

use std::collections::BTreeSet;

use shoal_index::Index;
use shoal_proto::id::{DeviceId, ShareId};
use shoal_proto::key::InviteKey;
use shoal_proto::key::rand_core::OsRng;
use shoal_proto::roster::{Entry, EntryHash, SecretError, Statement};
use shoal_proto::secret::ShareSecret;

use super::super::opening::{random, refused};
use super::super::{Core, unix_seconds};
use super::sharing::second;
use crate::control::report::{Device, DeviceStatus, OpenInvite};
use crate::control::text::Id;
use crate::control::types::{Code, Failure, Revoke, Revoked};
use crate::registry::{Given, Registered};

impl Core {
    pub(super) fn devices(&self, share: ShareId) -> Result<DeviceStatus, Failure> {
        let registered = self.registered(&share)?;
        let own = self.device();
        let given = registered.given.clone();
        let (mut devices, invites) = self.look(share, move |index| {
            let devices: Vec<Device> = index.roster().members().map(|member| device(&member, &own)).collect();
            (devices, open_invites(index, &own, &given))
        })?;
        let connected = self.shell.status(share).map(|(status, _)| status.peers).unwrap_or_default();
        for device in &mut devices {
            let id = device.device.0;
            let met = last_met(&registered, &id);
            let seen = self.peers.seen(&id);
            device.peer = connected.get(&id).copied().map(Into::into);
            device.address = seen.or_else(|| met.as_ref().and_then(|(address, _)| address.parse().ok()));
            device.last_seen = met.filter(|_| seen.is_none()).map(|(_, seen)| second(seen));
        }
        Ok(DeviceStatus { devices, invites })
    }

    pub(super) fn revoke(&self, wish: &Revoke) -> Result<(), Failure> {
        let share = wish.share.0;
        self.registered(&share)?;
        let secret = ShareSecret::from_bytes(random()?);
        let key = std::sync::Arc::clone(&self.key);
        let entries = match wish.what {
            Revoked::Device(device) => {
                let about = device.0;
                if about == self.device() {
                    return Err(Failure::new(Code::NotAllowed, "this is the device that you are asking")
                        .with_hint("`shoal leave` takes it out of the share"));
                }
                self.look(share, move |index| remove(index, &key, about, &secret))??
            }
            Revoked::Invite(invite) => {
                self.look(share, move |index| take_back(index, &key, invite.0, &secret))??
            }
        };
        self.enter(share, entries)
    }
}

fn device(member: &shoal_proto::roster::Member<'_>, own: &DeviceId) -> Device {
    Device {
        device: Id(member.device),
        name: member.name.map(|name| name.as_str().to_owned()),
        role: member.role.into(),
        added_by: member.added_by.map(Id),
        is_this: member.device == *own,
        peer: None,
        address: None,
        last_seen: None,
    }
}

/// Where a device was met last, and when.
fn last_met(registered: &Registered, device: &DeviceId) -> Option<(String, u64)> {
    let of_it = registered.known.iter().filter(|known| known.device.0 == *device);
    of_it.max_by_key(|known| known.seen).map(|known| (known.address.clone(), known.seen))
}

/// Those of the invites given by this device by which somebody may still come in.
fn open_invites(index: &Index, own: &DeviceId, given: &[Given]) -> Vec<OpenInvite> {
    let now = unix_seconds();
    let mut open = Vec::new();
    for Given { key, role, uses, not_after } in given {
        let (mut used_by, mut is_revoked) = (BTreeSet::new(), false);
        for entry in index.entries().iter() {
            match entry.statement() {
                Statement::Joined(joined)
                    if joined.delegation.invite == key.0
                        && joined.delegation.signer == *own
                        && !index.roster().void().contains_key(&entry.hash()) =>
                {
                    used_by.insert(Id(*entry.signer()));
                }
                Statement::Revoked { invite, .. } => is_revoked |= *invite == key.0,
                _ => {}
            }
        }
        if now < *not_after && !is_revoked && used_by.len() < usize::from(*uses) {
            open.push(OpenInvite {
                key: *key,
                role: *role,
                uses: *uses,
                used_by: used_by.into_iter().collect(),
                not_after: second(*not_after),
            });
        }
    }
    open
}

/// What removes a device.
fn remove(
    index: &Index,
    key: &shoal_proto::key::DeviceKey,
    about: DeviceId,
    secret: &ShareSecret,
) -> Result<Vec<Entry>, Failure> {
    if index.roster().role(&about).is_none() {
        return Err(Failure::new(Code::NotFound, format!("{} is no member of the share", about.short()))
            .with_hint("`shoal devices` lists them"));
    }
    let publications = index.last_publications_of(&about).map_err(|error| refused(&error))?;
    index
        .entries()
        .removal(key, about, &publications, secret, &mut OsRng)
        .map_err(|error| not_allowed(&error))
}

/// What takes an invite back: who came in by it stays.
fn take_back(
    index: &Index,
    key: &shoal_proto::key::DeviceKey,
    invite: InviteKey,
    secret: &ShareSecret,
) -> Result<Vec<Entry>, Failure> {
    let (roster, device) = (index.roster(), key.device());
    if roster.role(&device) != Some(shoal_proto::roster::Role::Admin) {
        return Err(not_allowed(&SecretError::NoAdmin));
    }
    let counts = |entry: &&Entry| !roster.void().contains_key(&entry.hash());
    let by_it = |entry: &&Entry| matches!(entry.statement(), Statement::Joined(joined) if joined.delegation.invite == invite);
    let admitted: BTreeSet<EntryHash> =
        index.entries().iter().filter(by_it).filter(counts).map(Entry::hash).collect();
    let statement = Statement::Revoked { invite, admitted };
    let revoked = Entry::sign(key, roster.share(), roster.last_entry(&device), statement)
        .map_err(|error| not_allowed(&error.into()))?;
    // The secret comes after it in the chain.
    let mut entries = index.entries().clone();
    entries.insert(revoked.clone()).map_err(|error| refused(&error))?;
    let mut told = entries.new_secret(key, secret, &mut OsRng).map_err(|error| not_allowed(&error))?;
    told.insert(0, revoked);
    Ok(told)
}

fn not_allowed(error: &SecretError) -> Failure {
    Failure::new(Code::NotAllowed, error.to_string())
}
