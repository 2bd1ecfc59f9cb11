//! Delegations: what an admin signs so that the holder of an invite's key may let devices in.
//!
//! Promise: whoever holds the invite needs no admin online, and gives nothing secret away: the joiner shows
//! an entry that was signed with the invite's key, to any member. Who signs without the key, for more devices
//! than *uses*, or in a role above writer, comes in nowhere.

use serde::{Deserialize, Serialize};

use super::entry::{EntryHash, EntryPlace};
use crate::hash::{Domain, thirty_two_bytes};
use crate::id::{DeviceId, ShareId};
use crate::key::{self, DeviceKey, InviteKey, KeyError, Signature};
use crate::limits::INVITE_USES_MAX;
use crate::signed::{self, SignedError};

thirty_two_bytes! {
    /// The hash of a delegation in its share; the signature is not part of it.
    DelegationHash
}

/// What a device may do in a share; each role includes those before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Role {
    /// Receives, keeps and passes on; its own edits stay its own.
    Reader,
    /// Publishes too.
    Writer,
    /// Invites, removes and changes roles too.
    Admin,
}

/// An admin's signed word that the holder of an invite's key may let devices in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Delegation {
    /// The admin: who comes in stands below it in the tree.
    pub signer: DeviceId,
    /// The public half of the invite's key.
    pub invite: InviteKey,
    /// What the devices may do: reader or writer.
    pub role: Role,
    /// How many devices may come in, from 1 to [`INVITE_USES_MAX`].
    pub uses: u16,
    /// Seconds since 1970 from which members let nobody in any more.
    pub not_after: u64,
    /// The last entry that the admin had signed by then. It puts the delegation in order with what the admin
    /// says of a device elsewhere: an invite from before a removal does not let the removed device in again.
    pub after: EntryHash,
    /// The admin's signature of [`Delegation::hash`].
    pub signature: Signature,
}

/// Why a delegation is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DelegationError {
    /// Not in the format.
    #[error("a delegation that is {0}")]
    Format(#[from] SignedError),
    /// An invite makes readers and writers; an admin is made from those.
    #[error("an invite for an admin; invites are for readers and writers")]
    Role,
    /// A number that no role has.
    #[error("an invite for the unknown role {0}")]
    UnknownRole(u8),
    /// For nobody, or for too many.
    #[error("an invite for {0} devices; from 1 to {INVITE_USES_MAX} are allowed")]
    Uses(u16),
    /// The key or the signature is bad.
    #[error("an invite that is said to be by {signer}: {error}", signer = .signer.short())]
    Key {
        /// Who is said to have signed.
        signer: DeviceId,
        /// What is wrong.
        error: KeyError,
    },
}

impl Delegation {
    /// Signs the invite key into the share. `after` is the last entry that the signer has signed in it so far;
    /// none if it has signed none.
    ///
    /// # Errors
    /// When the role is admin, or the uses are none or too many.
    pub fn sign(
        key: &DeviceKey,
        share: &ShareId,
        invite: InviteKey,
        offer: Offer,
        after: Option<EntryPlace>,
    ) -> Result<Self, DelegationError> {
        let Offer { role, uses, not_after } = offer;
        let after = after.map_or(EntryHash::NONE, |last| last.hash);
        let signature = Signature::from_bytes([0; 64]);
        let mut unsigned = Self { signer: key.device(), invite, role, uses, not_after, after, signature };
        unsigned.check()?;
        unsigned.signature = key.sign(unsigned.hash(share).as_bytes());
        Ok(unsigned)
    }

    /// Whether a member whose clock says `now` (seconds since 1970) still lets devices in. A courtesy of each
    /// member by its own clock, not a proof: the roster does not look at it. What closes an invite for
    /// certain is a revocation.
    #[must_use]
    pub fn is_open(&self, now: u64) -> bool {
        now < self.not_after
    }

    /// The hash of all that is signed, in this share.
    #[must_use]
    pub fn hash(&self, share: &ShareId) -> DelegationHash {
        let body = crate::body::encode(&DelegationBody::from(self));
        DelegationHash(Domain::DELEGATION.hash(&[share.as_bytes(), &body]))
    }

    /// Checks that the signer signed this, for this share.
    ///
    /// # Errors
    /// When it did not, or offers what no invite offers.
    pub fn verify(&self, share: &ShareId) -> Result<(), DelegationError> {
        self.check()?;
        key::verify(self.signer.as_bytes(), self.hash(share).as_bytes(), &self.signature)
            .map_err(|error| DelegationError::Key { signer: self.signer, error })
    }

    /// The delegation that these bytes claim, unverified.
    ///
    /// # Errors
    /// When they are not in the format.
    pub fn decode(bytes: &[u8]) -> Result<Self, DelegationError> {
        let (body, signature): (DelegationBody, _) = signed::open(bytes, DELEGATION_BYTES_MAX)?;
        body.with(signature)
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        signed::seal(&DelegationBody::from(self), &self.signature)
    }

    fn check(&self) -> Result<(), DelegationError> {
        if self.role == Role::Admin {
            return Err(DelegationError::Role);
        }
        if !(1..=INVITE_USES_MAX).contains(&self.uses) {
            return Err(DelegationError::Uses(self.uses));
        }
        Ok(())
    }
}

/// What an invite offers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Offer {
    /// What the devices may do: reader or writer.
    pub role: Role,
    /// How many devices may come in, from 1 to [`INVITE_USES_MAX`].
    pub uses: u16,
    /// Seconds since 1970 from which members let nobody in any more.
    pub not_after: u64,
}

const DELEGATION_BYTES_MAX: usize = 32 + 32 + 1 + 3 + 10 + 32 + 64;

/// What is signed, after the share's id.
#[derive(Serialize, Deserialize)]
pub(crate) struct DelegationBody {
    signer: [u8; 32],
    invite: [u8; 32],
    role: u8,
    uses: u16,
    not_after: u64,
    after: [u8; 32],
}

impl From<&Delegation> for DelegationBody {
    fn from(delegation: &Delegation) -> Self {
        Self {
            signer: *delegation.signer.as_bytes(),
            invite: *delegation.invite.as_bytes(),
            role: role_number(delegation.role),
            uses: delegation.uses,
            not_after: delegation.not_after,
            after: *delegation.after.as_bytes(),
        }
    }
}

impl DelegationBody {
    pub(crate) fn with(self, signature: Signature) -> Result<Delegation, DelegationError> {
        Ok(Delegation {
            signer: DeviceId::from_bytes(self.signer),
            invite: InviteKey::from_bytes(self.invite),
            role: role_of(self.role).ok_or(DelegationError::UnknownRole(self.role))?,
            uses: self.uses,
            not_after: self.not_after,
            after: EntryHash::from_bytes(self.after),
            signature,
        })
    }
}

/// The number of a role on the wire.
pub(crate) fn role_number(role: Role) -> u8 {
    match role {
        Role::Reader => 1,
        Role::Writer => 2,
        Role::Admin => 3,
    }
}

/// The role with this number on the wire.
pub(crate) fn role_of(number: u8) -> Option<Role> {
    match number {
        1 => Some(Role::Reader),
        2 => Some(Role::Writer),
        3 => Some(Role::Admin),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::InviteSecret;
    use crate::key::testing::device_key;

    const SHARE: ShareId = ShareId::from_bytes([9; 32]);
    const OFFER: Offer = Offer { role: Role::Writer, uses: 1, not_after: 1_795_000_000 };

    fn offered(offer: Offer) -> Result<Delegation, DelegationError> {
        let invite = InviteSecret::from_seed(&[3; 32]).key();
        Delegation::sign(&device_key(1), &SHARE, invite, offer, None)
    }

    #[test]
    fn an_offer_is_what_the_admin_signed() {
        let delegation = offered(OFFER).unwrap();
        assert_eq!(delegation.verify(&SHARE), Ok(()));
        assert_eq!(Delegation::decode(&delegation.encode()), Ok(delegation));
        let refused = |changed: Delegation, share: &ShareId| {
            matches!(changed.verify(share), Err(DelegationError::Key { error: KeyError::Signature, .. }))
        };
        assert!(refused(delegation, &ShareId::from_bytes([1; 32])));
        assert!(refused(Delegation { uses: 2, ..delegation }, &SHARE));
        assert!(refused(Delegation { role: Role::Reader, ..delegation }, &SHARE));
        assert!(refused(Delegation { after: EntryHash::from_bytes([1; 32]), ..delegation }, &SHARE));
        assert!(refused(Delegation { not_after: u64::MAX, ..delegation }, &SHARE));
        assert!(refused(Delegation { signer: device_key(2).device(), ..delegation }, &SHARE));
        assert_eq!(delegation.hash(&SHARE).short(), "fk2bvvh");
    }

    #[test]
    fn offers_that_no_invite_makes_are_refused() {
        assert_eq!(offered(Offer { role: Role::Admin, ..OFFER }), Err(DelegationError::Role));
        assert_eq!(offered(Offer { uses: 0, ..OFFER }), Err(DelegationError::Uses(0)));
        assert_eq!(offered(Offer { uses: 1025, ..OFFER }), Err(DelegationError::Uses(1025)));
        assert!(offered(Offer { uses: INVITE_USES_MAX, not_after: u64::MAX, ..OFFER }).is_ok());
        let mut bytes = offered(OFFER).unwrap().encode();
        bytes[64] = 7;
        assert_eq!(Delegation::decode(&bytes), Err(DelegationError::UnknownRole(7)));
    }

    #[test]
    fn an_invite_is_open_until_its_time() {
        let delegation = offered(OFFER).unwrap();
        assert!(delegation.is_open(0) && delegation.is_open(1_794_999_999));
        assert!(!delegation.is_open(1_795_000_000) && !delegation.is_open(u64::MAX));
    }

    #[test]
    fn d1_d6_damaged_delegations_never_verify() {
        let bytes = offered(OFFER).unwrap().encode();
        assert!(bytes.len() <= DELEGATION_BYTES_MAX);
        for end in 0..bytes.len() {
            let cut = Delegation::decode(&bytes[..end]).and_then(|claimed| claimed.verify(&SHARE));
            assert!(cut.is_err(), "{end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refused = Delegation::decode(&flipped).and_then(|claimed| claimed.verify(&SHARE));
            assert!(refused.is_err(), "bit {bit}");
        }
    }
}
