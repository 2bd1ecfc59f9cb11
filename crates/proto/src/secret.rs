//! The secret of a share, and the names that only its members can make from it.
//!
//! Promise: the secret is wiped when dropped and shown nowhere; what leaves a device is a hash keyed by it,
//! from which nobody learns the secret, the share or who else is in it. Each removal of a device changes the
//! secret.

use crypto_box::aead::rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::hash::{Domain, thirty_two_bytes};
use crate::id::DeviceId;
use crate::key::{BoxKey, DeviceKey, KeyError, Sealed};

/// 32 random bytes that the members of a share have in common.
#[derive(Clone)]
pub struct ShareSecret(Zeroizing<[u8; 32]>);

thirty_two_bytes! {
    /// Which secret is meant, said without saying it.
    SecretId
}

thirty_two_bytes! {
    /// The tracker's blind name for a share.
    Topic
}

thirty_two_bytes! {
    /// What a share is called on the local network for one day: who does not know its topic cannot tell that it is the
    /// same one tomorrow.
    LanName
}

impl Topic {
    /// Its name on the local network on this day, counted from 1970 in UTC.
    #[must_use]
    pub fn on_lan(&self, day: u64) -> LanName {
        LanName::from_bytes(Domain::LAN.hash(&[self.as_bytes(), &day.to_be_bytes()]))
    }
}

thirty_two_bytes! {
    /// The tracker's blind name for a device under one topic.
    Pseudonym
}

/// What one end of a connection shows to prove that it knows the secret of a share. Compared in constant
/// time.
#[derive(Clone, Copy)]
pub struct ShareProof(blake3::Hash);

/// An end of a connection; each proves with its own, so a proof cannot be sent back to who made it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// Who opened the connection.
    Dialler,
    /// Who was called.
    Listener,
}

impl ShareSecret {
    /// The secret with these random bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret itself: for the disk and for invites, never for a log.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Which secret this is.
    #[must_use]
    pub fn id(&self) -> SecretId {
        SecretId::from_bytes(*self.keyed(SECRET_ID, &[]).as_bytes())
    }

    /// What the share's devices meet under at a tracker.
    #[must_use]
    pub fn topic(&self) -> Topic {
        Topic::from_bytes(*self.keyed(TOPIC, &[]).as_bytes())
    }

    /// What a device is called under this secret's topic. Keyed by the secret too, so that a tracker that
    /// knows devices by their ids still cannot find them under a topic.
    #[must_use]
    pub fn pseudonym(&self, device: &DeviceId) -> Pseudonym {
        Pseudonym::from_bytes(*self.keyed(PSEUDONYM, &[device.as_bytes()]).as_bytes())
    }

    /// What this end shows on the connection with this TLS exporter value (RFC 8446, 7.5): worthless on
    /// another.
    #[must_use]
    pub fn proof(&self, exporter: &[u8; 32], side: Side) -> ShareProof {
        let side = match side {
            Side::Dialler => b"d",
            Side::Listener => b"l",
        };
        ShareProof(self.keyed(PROOF, &[side, exporter]))
    }

    /// The secret, for one device's eyes.
    #[must_use]
    pub fn seal_to(&self, device: &BoxKey, rng: &mut impl CryptoRngCore) -> Sealed {
        device.seal(&self.0, rng)
    }

    /// The secret that was sealed to this device, if it is the one that it should be.
    ///
    /// # Errors
    /// When it was sealed to another device, changed on the way, or is another secret.
    pub fn open(sealed: &Sealed, key: &DeviceKey, id: &SecretId) -> Result<Self, KeyError> {
        let opened = key.open(sealed)?;
        let secret = Self(Zeroizing::new(opened.as_slice().try_into().map_err(|_| KeyError::Sealed)?));
        if secret.id() == *id { Ok(secret) } else { Err(KeyError::Sealed) }
    }

    /// BLAKE3 keyed by the secret is a pseudo-random function, so values under different purposes say nothing
    /// about each other. Purposes have one length, so none is the beginning of another.
    fn keyed(&self, purpose: &[u8; 16], parts: &[&[u8]]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(purpose);
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize()
    }
}

impl Eq for ShareSecret {}

impl PartialEq for ShareSecret {
    fn eq(&self, other: &Self) -> bool {
        // Comparing two `blake3::Hash` takes the same time whatever they are.
        blake3::Hash::from_bytes(*self.0) == blake3::Hash::from_bytes(*other.0)
    }
}

impl core::fmt::Debug for ShareSecret {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("ShareSecret(hidden)")
    }
}

impl ShareProof {
    /// The proof with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(blake3::Hash::from_bytes(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl Eq for ShareProof {}

impl PartialEq for ShareProof {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl core::fmt::Debug for ShareProof {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("ShareProof(hidden)")
    }
}

const SECRET_ID: &[u8; 16] = b"shoal secret id ";
const TOPIC: &[u8; 16] = b"shoal topic     ";
const PSEUDONYM: &[u8; 16] = b"shoal pseudonym ";
const PROOF: &[u8; 16] = b"shoal proof     ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::testing::{TestRng, device_key};

    #[test]
    fn names_made_from_a_secret_say_nothing_of_each_other() {
        let (one, other) = (ShareSecret::from_bytes([1; 32]), ShareSecret::from_bytes([2; 32]));
        let device = device_key(1).device();
        let all: std::collections::BTreeSet<[u8; 32]> = [&one, &other]
            .into_iter()
            .flat_map(|secret| {
                [
                    *secret.id().as_bytes(),
                    *secret.topic().as_bytes(),
                    *secret.pseudonym(&device).as_bytes(),
                    *secret.pseudonym(&device_key(2).device()).as_bytes(),
                    *secret.proof(&[3; 32], Side::Dialler).as_bytes(),
                    *secret.proof(&[3; 32], Side::Listener).as_bytes(),
                    *secret.proof(&[4; 32], Side::Listener).as_bytes(),
                ]
            })
            .collect();
        assert_eq!(all.len(), 14);
        let proof = one.proof(&[3; 32], Side::Dialler);
        assert_eq!(proof, ShareProof::from_bytes(*proof.as_bytes()));
    }

    #[test]
    fn what_trackers_and_peers_see_stays_as_it_is() {
        let secret = ShareSecret::from_bytes([1; 32]);
        assert_eq!(secret.topic().short(), "cpd4wd2");
        assert_eq!(secret.pseudonym(&DeviceId::from_bytes([2; 32])).short(), "zvngopn");
        assert_eq!(secret.topic().on_lan(20_000).short(), "c6uovu5");
        assert_ne!(secret.topic().on_lan(20_000), secret.topic().on_lan(20_001));
        assert_eq!(secret.id().short(), "iehpt6r");
        assert_eq!(secret.proof(&[3; 32], Side::Dialler).0.to_hex()[..8], *"ac63c1f6");
    }

    #[test]
    fn a_sealed_secret_opens_for_one_device_and_is_the_one_promised() {
        let (ana, ben) = (device_key(1), device_key(2));
        let secret = ShareSecret::from_bytes([1; 32]);
        let sealed = secret.seal_to(&ana.box_key(), &mut TestRng::seeded(1));
        assert_eq!(ShareSecret::open(&sealed, &ana, &secret.id()), Ok(secret.clone()));
        assert_eq!(ShareSecret::open(&sealed, &ben, &secret.id()), Err(KeyError::Sealed));
        let other = ShareSecret::from_bytes([2; 32]);
        assert_eq!(ShareSecret::open(&sealed, &ana, &other.id()), Err(KeyError::Sealed));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = ShareSecret::from_bytes([0xab; 32]);
        assert_eq!(format!("{secret:?}"), "ShareSecret(hidden)");
        assert_eq!(format!("{:?}", secret.proof(&[1; 32], Side::Dialler)), "ShareProof(hidden)");
    }
}
