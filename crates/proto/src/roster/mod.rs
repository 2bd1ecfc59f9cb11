//! The roster: who belongs to a share, in which role, and what of theirs counts.
//!
//! Promise: a [`Roster`] is a pure function of the founding entry and the *set* of signed entries: all who
//! hold the same entries see the same roster, in whatever order and how often these came. Entries that are
//! forged, void or of another share change nothing for the others.
//!
//! The rules:
//!
//! - The creator is admin. Every other device comes in by an invite: its own first entry shows the admin's
//!   delegation ([`Statement::Joined`]). It then stands below that admin: the roster is a tree. Several such
//!   admins are possible; those nearest to the creator count. Nobody can be put below an admin by others,
//!   because it signs that itself.
//! - A device is spoken about by those above it alone: the admins by whose invites it came, who let those in,
//!   and so on up to the creator. So two admins cannot remove each other unless one let in the other, and
//!   nobody removes who stands above. (Those whom a device let in itself stand below the first of its
//!   admins.)
//! - The word nearest to the creator counts; of one signer the later one, as its chain shows. Where admins on
//!   one level differ (a device can have come by the invites of two) a removal counts, then the lower role; an
//!   invite counts last, and never takes from a role that its admin gave before. So a removed device stays out
//!   until who removed it, or one nearer to the creator, lets it in again.
//! - Who is removed, loses a role, or leaves, keeps what that entry names ([`Kept`]): its publications and
//!   its acts as an admin, up to named last ones, and those whom it let in, one by one. Everything else of
//!   theirs is void, whenever it was signed: dates do not count, hashes do. The entry that counts decides
//!   alone: let in again as a writer, all that a device published counts.
//! - The entries of one signer are a chain by hash. What hangs in the air does not count yet. A chain that
//!   forks (two entries with one number; a backup was restored) counts with all its branches, so that nothing
//!   is lost that a restored device had forgotten. What it says on one branch is not overruled by what it says
//!   on another: then a removal counts, and the lower role. A removal names the branches that count, so what
//!   is backdated falls with the others.
//! - A new secret counts if one with the number before it does; the first one has number 0. So the bounds on chains
//!   are bounds on these numbers too, and no admin can use them up.
//! - Of those that come by one invite as many as it allows stay, the lowest hashes first; an invite is a
//!   bearer's right. Revoking it names who came in and stays; so it is well to revoke an invite once it is
//!   used up.
//!
//! Begin at [`Entries`], the set that a device keeps, and [`Roster::of`].

mod delegation;
mod entry;
mod evaluate;
mod founding;
mod set;
mod spans;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

pub use delegation::{Delegation, DelegationError, DelegationHash, Offer, Role};
pub(crate) use delegation::{role_number, role_of};
pub use entry::{Described, DeviceName, Entry, EntryError, EntryHash, EntryPlace, Joined, Kept, Statement};
pub use founding::{FOUNDING_BYTES, Founding, FoundingError};
pub use set::{Entries, EntriesError, JoinRefusal, SecretError};
pub use wire::FormatError;

use crate::chain::{Chain, OnLine};
use crate::id::{DeviceId, ShareId, Writer};
use crate::key::{BoxKey, InviteKey, Sealed};
use crate::limits::{KEPT_ADMISSIONS_MAX, KEPT_ENTRIES_MAX, KEPT_PUBLICATIONS_MAX, ROSTER_DEPTH_MAX};
use crate::publication::{Place, PublicationHash};
use crate::secret::SecretId;
use evaluate::Seat;

/// Who belongs to a share: what a set of entries comes to.
#[derive(Clone, Debug)]
pub struct Roster {
    founding: Founding,
    share: ShareId,
    seats: BTreeMap<DeviceId, Seat>,
    revoked: BTreeMap<(DeviceId, InviteKey), BTreeSet<EntryHash>>,
    used: BTreeMap<DelegationHash, BTreeSet<DeviceId>>,
    secrets: Vec<NewSecret>,
    /// For each device that is out, the first epoch that was announced in knowledge of that.
    later: BTreeMap<DeviceId, u32>,
    void: BTreeMap<EntryHash, Void>,
}

/// A device that belongs to the share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Member<'a> {
    /// Which one.
    pub device: DeviceId,
    /// What it may do.
    pub role: Role,
    /// By whose invite it came; nobody's the creator.
    pub added_by: Option<DeviceId>,
    /// What it calls itself; a creator that has not said so has no name.
    pub name: Option<&'a DeviceName>,
    /// What secrets for it are sealed to.
    pub box_key: Option<BoxKey>,
}

/// How a device ceased to be a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Removal {
    /// Who signed that; the device itself if it left.
    pub by: DeviceId,
    /// The entry that says so.
    pub entry: EntryHash,
}

/// A secret of the share, as an admin announced it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewSecret {
    /// 0 for the first, +1 for each new one.
    pub epoch: u32,
    /// Which secret it is.
    pub id: SecretId,
    /// It, for each device that was told of it by an entry.
    pub sealed: BTreeMap<DeviceId, Sealed>,
    level: usize,
    /// Announced by devices alone that others removed.
    is_disowned: bool,
}

/// Which publications of a writer the roster lets count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Allowed<'a> {
    /// All: the device may publish.
    All,
    /// Those that lead to one of these: the device is not what it was.
    UpTo(&'a BTreeSet<Place>),
    /// None: the device was never let in.
    NotAMember,
    /// None: the device only reads.
    Reader,
    /// None: the device is out, and this writer is not named.
    Void,
}

/// Whether a publication counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Its records count.
    Counts,
    /// Its device was never let in; it may be once more of the roster is known.
    NotAMember,
    /// Its device only reads.
    Reader,
    /// Its device is out or has lost the role, and this is not what still counts.
    Void,
    /// It cannot be told before the publication with this hash is here.
    Unknown {
        /// What to ask for.
        ask_for: PublicationHash,
    },
}

/// Why an entry does not count. (One that counts may still be outweighed by a nearer or later one.)
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Void {
    /// Of another share.
    #[error("belongs to another share")]
    OtherShare,
    /// The one before it in its chain is not here, or none of this signer.
    #[error("waits for the entry before it, {hash}", hash = .0.short())]
    Gap(EntryHash),
    /// Its signer was never let in.
    #[error("signed by a device that was never let in")]
    Stranger,
    /// Its signer, or who signed the invite, was never an admin.
    #[error("signed by a device that is no admin")]
    NoAdmin,
    /// Its signer was removed or demoted, and this is not among what still counts.
    #[error("signed by an admin that was removed, and not among what still counts")]
    Cut,
    /// Its signer does not stand above whom it is about.
    #[error("about {device}, which its signer does not stand above", device = .0.short())]
    NotAbove(DeviceId),
    /// Nobody let in whom it is about.
    #[error("about {device}, which was never let in", device = .0.short())]
    NoMember(DeviceId),
    /// The invite was revoked, and this is not among those who stay.
    #[error("came in by an invite that was revoked")]
    Revoked,
    /// The invite lets in fewer devices.
    #[error("came in by an invite that others have used up")]
    UsedUp,
    /// A new secret whose number does not follow on one that counts.
    #[error("announces secret number {0}, and the one before it is not known")]
    Epoch(u32),
    /// Too many steps below the creator.
    #[error("came in more than {ROSTER_DEPTH_MAX} steps below the creator")]
    TooDeep,
}

impl Roster {
    /// What these entries come to, in the share that was founded so. The set decides, not its order.
    #[must_use]
    pub fn of<'a>(founding: &Founding, entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        evaluate::evaluate(founding, entries)
    }

    /// What the share began with.
    #[must_use]
    pub fn founding(&self) -> &Founding {
        &self.founding
    }

    /// The share's id.
    #[must_use]
    pub fn share(&self) -> &ShareId {
        &self.share
    }

    /// What a device may do; `None` if it is no member (any more).
    #[must_use]
    pub fn role(&self, device: &DeviceId) -> Option<Role> {
        self.seats.get(device)?.outcome.role
    }

    /// All members, in the order of their ids.
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        self.seats.iter().filter_map(|(device, seat)| {
            Some(Member {
                device: *device,
                role: seat.outcome.role?,
                added_by: seat.parent,
                name: seat.described.as_ref().map(|described| &described.name),
                box_key: seat.described.as_ref().map(|described| described.box_key),
            })
        })
    }

    /// How a device ceased to be a member; `None` if it is one, or never was.
    #[must_use]
    pub fn removed(&self, device: &DeviceId) -> Option<&Removal> {
        self.seats.get(device)?.outcome.removal.as_ref()
    }

    /// All devices that ceased to be members, in the order of their ids.
    pub fn removals(&self) -> impl Iterator<Item = (DeviceId, &Removal)> {
        self.seats.iter().filter_map(|(device, seat)| Some((*device, seat.outcome.removal.as_ref()?)))
    }

    /// What a device calls itself, member or not.
    #[must_use]
    pub fn name(&self, device: &DeviceId) -> Option<&DeviceName> {
        Some(&self.seats.get(device)?.described.as_ref()?.name)
    }

    /// The entry after which a device signs its next one; `None` if it has signed none that counts here.
    #[must_use]
    pub fn last_entry(&self, device: &DeviceId) -> Option<EntryPlace> {
        self.seats.get(device)?.last
    }

    /// The ends of a device's chain; more than one if it was forked. What is signed after one of them
    /// overrules what the device said before on that branch.
    #[must_use]
    pub fn last_entries(&self, device: &DeviceId) -> Option<&BTreeSet<EntryPlace>> {
        self.seats.get(device).map(|seat| &seat.ends)
    }

    /// Which publications of this device's writer count.
    #[must_use]
    pub fn allowed(&self, device: &DeviceId, writer: Writer) -> Allowed<'_> {
        let Some(seat) = self.seats.get(device) else { return Allowed::NotAMember };
        if seat.outcome.role >= Some(Role::Writer) {
            return Allowed::All;
        }
        match (seat.outcome.kept.publications.get(&writer), seat.outcome.role) {
            (Some(last), _) => Allowed::UpTo(last),
            (None, Some(_)) => Allowed::Reader,
            (None, None) => Allowed::Void,
        }
    }

    /// Whether a publication, which has verified, counts. The chain is what is held of its writer. For many
    /// publications of one writer take [`Self::allowed`] and keep the [`Line`](crate::chain::Line)s.
    #[must_use]
    pub fn standing(&self, device: &DeviceId, writer: Writer, at: Place, chain: &Chain) -> Standing {
        let last = match self.allowed(device, writer) {
            Allowed::All => return Standing::Counts,
            Allowed::NotAMember => return Standing::NotAMember,
            Allowed::Reader => return Standing::Reader,
            Allowed::Void => return Standing::Void,
            Allowed::UpTo(last) => last,
        };
        let mut standing = Standing::Void;
        for &last in last.iter().filter(|last| last.sequence >= at.sequence) {
            match chain.line(last).shows(at) {
                OnLine::Yes => return Standing::Counts,
                OnLine::Unknown(ask_for) => standing = Standing::Unknown { ask_for },
                OnLine::No => {}
            }
        }
        standing
    }

    /// The secret that holds now: of the highest epoch; of several with one epoch the one announced nearest
    /// to the creator, then the one with the lowest id. `None` if none was ever announced. What a device announced
    /// that was removed comes after all others: it may have signed secrets for epochs to come.
    #[must_use]
    pub fn newest_secret(&self) -> Option<&NewSecret> {
        self.secrets.first()
    }

    /// All secrets, the one that holds now first.
    #[must_use]
    pub fn secrets(&self) -> &[NewSecret] {
        &self.secrets
    }

    /// The secrets that a device which is out was never told: announced after that, or in knowledge of it, and not for its
    /// eyes. Who knows one of them all the same was given it since, with an invite.
    pub fn secrets_unknown_to(&self, device: &DeviceId) -> impl Iterator<Item = &NewSecret> {
        let from = self.later.get(device).copied();
        let is_unknown = move |secret: &&NewSecret| {
            from.is_some_and(|from| secret.epoch >= from) && !secret.sealed.contains_key(device)
        };
        self.secrets.iter().filter(is_unknown)
    }

    /// The entries that do not count, and why.
    #[must_use]
    pub fn void(&self) -> &BTreeMap<EntryHash, Void> {
        &self.void
    }

    /// Entries to ask others for: without them some of those held hang in the air.
    pub fn missing(&self) -> impl Iterator<Item = EntryHash> {
        self.void.values().filter_map(|void| match void {
            Void::Gap(before) => Some(*before),
            _ => None,
        })
    }

    /// Who came in by an admin's invites, by their entries; what revoking one of them names.
    #[must_use]
    pub fn admitted_by(&self, inviter: &DeviceId) -> Option<&BTreeSet<EntryHash>> {
        self.seats.get(inviter).map(|seat| &seat.admitted)
    }

    /// All that counts of a device by now, for an entry that removes or demotes it, or with which it leaves.
    /// Its last publications come from whoever holds them. Where there is more than an entry may name, the
    /// rest is void: nobody makes itself irremovable by having done too much.
    #[must_use]
    pub fn kept(&self, device: &DeviceId, publications: &BTreeMap<Writer, BTreeSet<Place>>) -> Kept {
        let Some(seat) = self.seats.get(device) else { return Kept::default() };
        let kept = &seat.outcome.kept;
        let entries = match seat.outcome.role {
            Some(Role::Admin) => seat.ends.iter().rev().map(|end| end.hash).take(KEPT_ENTRIES_MAX).collect(),
            _ => kept.entries.clone(),
        };
        let named = if seat.outcome.role >= Some(Role::Writer) { publications } else { &kept.publications };
        let mut publications: BTreeMap<Writer, BTreeSet<Place>> = BTreeMap::new();
        let places = named.iter().flat_map(|(writer, places)| places.iter().map(|place| (*writer, *place)));
        for (writer, place) in places.take(KEPT_PUBLICATIONS_MAX) {
            publications.entry(writer).or_default().insert(place);
        }
        let admitted = seat.admitted.iter().copied().take(KEPT_ADMISSIONS_MAX).collect();
        Kept { entries, publications, admitted }
    }

    fn may_join(&self, entry: &Entry, now: u64) -> Result<(), JoinRefusal> {
        let Statement::Joined(joined) = entry.statement() else { return Err(JoinRefusal::NoInvite) };
        let Delegation { signer, invite, role, uses, .. } = joined.delegation;
        if self.role(entry.signer()) >= Some(role) {
            return Err(JoinRefusal::Member);
        }
        if self.role(&signer) != Some(Role::Admin) {
            return Err(JoinRefusal::NoAdmin(signer));
        }
        if !joined.delegation.is_open(now) {
            return Err(JoinRefusal::Expired);
        }
        if evaluate::is_revoked(&self.seats, &self.revoked, &signer, invite, Some(&entry.hash())) {
            return Err(JoinRefusal::Revoked);
        }
        let used = self.used.get(&joined.delegation.hash(&self.share));
        if used.is_some_and(|used| used.len() >= usize::from(uses) && !used.contains(entry.signer())) {
            return Err(JoinRefusal::UsedUp);
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
