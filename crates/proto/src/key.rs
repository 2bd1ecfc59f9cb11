//! Keys: what a device proves itself by, signs with, and opens sealed secrets with.
//!
//! Promise: all members agree about what verifies, because every signature is checked by one rule, the strict
//! one of RFC 8032 (`verify_strict`): no cofactor, no key and no commitment of small order. Verifying in
//! batches, or with the cofactor, is faster and takes some crafted signatures that this rule refuses, and the
//! reverse: a member that used it could see another roster than the rest (Chalkias et al., "Taming the many
//! EdDSAs", 2020). So there is no second way. Secrets are wiped when dropped and are never shown.
//!
//! Everything signed is a 32-byte hash under its own [`Domain`](crate::hash::Domain). TLS signs more than a
//! hundred bytes with the same key (RFC 8446, 4.4.3), so neither is ever mistaken for the other; a [`HandshakeKey`]
//! signs nothing but these.

/// What the randomness for sealing is asked of.
pub use crypto_box::aead::rand_core;

use self::rand_core::CryptoRngCore;
use crypto_box::{PublicKey, SecretKey};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use crate::hash::thirty_two_bytes;
use crate::id::DeviceId;

/// Bytes of a sealed secret: a throw-away public key, a tag, and the 32 bytes of the secret.
pub const SEALED_BYTES: usize = 80;

thirty_two_bytes! {
    /// The public half of an invite's key (Ed25519).
    InviteKey
}

/// All that a device proves itself by, from one seed: its Ed25519 key, and the X25519 key that secrets are
/// sealed to.
pub struct DeviceKey {
    signing: SigningKey,
    opening: SecretKey,
}

/// A device's key as connections need it: it signs what begins like the word of a handshake of TLS 1.3, and nothing else.
#[derive(Clone)]
pub struct HandshakeKey(SigningKey);

/// The secret half of an invite's key. It stays with who holds the invite and is never sent.
#[derive(Clone, Eq, PartialEq)]
pub struct InviteSecret(SigningKey);

/// An Ed25519 signature (RFC 8032), unverified.
#[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd)]
pub struct Signature([u8; 64]);

/// The X25519 public key that secrets for a device are sealed to; never one of low order.
#[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd)]
pub struct BoxKey([u8; 32]);

/// A secret that only one device can open (`crypto_box_seal` of NaCl).
#[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd)]
pub struct Sealed([u8; SEALED_BYTES]);

/// Why a key or a signature is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// No point of the curve has this encoding.
    #[error("these bytes are no public key")]
    NotAKey,
    /// A key of low order, for which anybody could sign or open.
    #[error("a public key of low order, which protects nothing")]
    Weak,
    /// Somebody else signed, or something else was signed.
    #[error("the signature does not match")]
    Signature,
    /// Sealed to another key, or changed on the way.
    #[error("the sealed secret cannot be opened with this device's key")]
    Sealed,
}

impl DeviceKey {
    /// The key that grows from these random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        // A key of its own for sealing, so that no key serves two algorithms.
        let opening = zeroize::Zeroizing::new(blake3::derive_key("shoal 2026 device box key", seed));
        Self { signing: SigningKey::from_bytes(seed), opening: SecretKey::from_bytes(*opening) }
    }

    /// Who this is.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId::from_bytes(self.signing.verifying_key().to_bytes())
    }

    /// What others seal secrets to.
    #[must_use]
    pub fn box_key(&self) -> BoxKey {
        BoxKey(self.opening.public_key().to_bytes())
    }

    /// What it proves itself by when a connection begins.
    #[must_use]
    pub fn handshake(&self) -> HandshakeKey {
        HandshakeKey(self.signing.clone())
    }

    pub(crate) fn sign(&self, hash: &[u8; 32]) -> Signature {
        Signature(self.signing.sign(hash).to_bytes())
    }

    pub(crate) fn open(&self, sealed: &Sealed) -> Result<zeroize::Zeroizing<Vec<u8>>, KeyError> {
        self.opening.unseal(&sealed.0).map(zeroize::Zeroizing::new).map_err(|_| KeyError::Sealed)
    }
}

impl core::fmt::Debug for DeviceKey {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "DeviceKey(of {})", self.device().short())
    }
}

impl HandshakeKey {
    /// Whose it is.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Signs the word of a handshake, as RFC 8446 (4.4.3) has it; `None` for anything else.
    #[must_use]
    pub fn sign(&self, word: &[u8]) -> Option<Signature> {
        is_of_a_handshake(word).then(|| Signature(self.0.sign(word).to_bytes()))
    }
}

impl core::fmt::Debug for HandshakeKey {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "HandshakeKey(of {})", self.device().short())
    }
}

impl InviteSecret {
    /// The key that grows from these random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The half that may be shown.
    #[must_use]
    pub fn key(&self) -> InviteKey {
        InviteKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, hash: &[u8; 32]) -> Signature {
        Signature(self.0.sign(hash).to_bytes())
    }

    pub(crate) fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl core::fmt::Debug for InviteSecret {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "InviteSecret(of {})", self.key().short())
    }
}

impl Signature {
    /// The signature with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl core::fmt::Debug for Signature {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "Signature({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl BoxKey {
    /// The key with these bytes.
    ///
    /// # Errors
    /// When it is of low order: what is sealed to such a key anybody can open.
    pub fn parse(bytes: [u8; 32]) -> Result<Self, KeyError> {
        let mut point = bytes;
        point[31] &= 0x7f; // the highest bit means nothing (RFC 7748, section 5)
        if LOW_ORDER.contains(&point) { Err(KeyError::Weak) } else { Ok(Self(bytes)) }
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn seal(&self, secret: &[u8; 32], rng: &mut impl CryptoRngCore) -> Sealed {
        // Sealing fails for texts of many gigabytes only, and the length of this one is known.
        let bytes = PublicKey::from_bytes(self.0).seal(rng, secret).expect("32 bytes can be sealed");
        let mut sealed = [0; SEALED_BYTES];
        sealed.copy_from_slice(&bytes);
        Sealed(sealed)
    }
}

impl core::fmt::Debug for BoxKey {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "BoxKey({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl Sealed {
    /// The sealed secret with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; SEALED_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; SEALED_BYTES] {
        &self.0
    }
}

impl core::fmt::Debug for Sealed {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "Sealed({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// Whether a device can prove itself by this key at all.
///
/// # Errors
/// When the bytes are no public key, or one of low order.
pub fn check(device: &DeviceId) -> Result<(), KeyError> {
    verifying(device.as_bytes()).map(drop)
}

/// Whether the device signed this word of a handshake.
///
/// # Errors
/// When it did not, when the word is of no handshake, or when nobody proves anything by its key.
pub fn verify_handshake(device: &DeviceId, word: &[u8], signature: &Signature) -> Result<(), KeyError> {
    if is_of_a_handshake(word) {
        verify_bytes(device.as_bytes(), word, signature)
    } else {
        Err(KeyError::Signature)
    }
}

/// Whether the holder of this key signed the hash.
pub(crate) fn verify(key: &[u8; 32], hash: &[u8; 32], signature: &Signature) -> Result<(), KeyError> {
    verify_bytes(key, hash, signature)
}

fn verify_bytes(key: &[u8; 32], bytes: &[u8], signature: &Signature) -> Result<(), KeyError> {
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    verifying(key)?.verify_strict(bytes, &signature).map_err(|_| KeyError::Signature)
}

/// What TLS 1.3 signs begins with 64 spaces and its name.
fn is_of_a_handshake(word: &[u8]) -> bool {
    word.strip_prefix(&[b' '; 64]).is_some_and(|rest| rest.starts_with(b"TLS 1.3, "))
}

fn verifying(key: &[u8; 32]) -> Result<VerifyingKey, KeyError> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| KeyError::NotAKey)?;
    if key.is_weak() { Err(KeyError::Weak) } else { Ok(key) }
}

/// All encodings of points of low order on Curve25519 and its twist, with the highest bit off: 0, 1, the two
/// points of order 8, and p-1, p, p+1. The list is the one of libsodium (`x25519_ref10.c`,
/// `has_small_order`).
const LOW_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    with_ends(1, 0, 0),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    with_ends(0xec, 0xff, 0x7f),
    with_ends(0xed, 0xff, 0x7f),
    with_ends(0xee, 0xff, 0x7f),
];

const fn with_ends(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

#[cfg(test)]
pub(crate) mod testing {
    //! Keys and a random source that are the same in every run.

    use crypto_box::aead::rand_core::{CryptoRng, Error, RngCore};

    use super::*;

    /// The key of a device that tests call by a number.
    pub(crate) fn device_key(number: u64) -> DeviceKey {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        DeviceKey::from_seed(&seed)
    }

    /// A stream of BLAKE3.
    pub(crate) struct TestRng(blake3::OutputReader);

    impl TestRng {
        pub(crate) fn seeded(seed: u8) -> Self {
            Self(blake3::Hasher::new().update(&[seed]).finalize_xof())
        }
    }

    impl RngCore for TestRng {
        fn next_u32(&mut self) -> u32 {
            let mut bytes = [0; 4];
            self.0.fill(&mut bytes);
            u32::from_be_bytes(bytes)
        }

        fn next_u64(&mut self) -> u64 {
            let mut bytes = [0; 8];
            self.0.fill(&mut bytes);
            u64::from_be_bytes(bytes)
        }

        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            self.0.fill(bytes);
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
            self.0.fill(bytes);
            Ok(())
        }
    }

    impl CryptoRng for TestRng {}
}

#[cfg(test)]
mod tests {
    use crypto_box::SalsaBox;
    use crypto_box::aead::Aead;

    use super::testing::{TestRng, device_key};
    use super::*;

    #[test]
    fn who_signed_what_is_told_apart() {
        let (key, hash) = (device_key(1), [5; 32]);
        let signature = key.sign(&hash);
        let device = *key.device().as_bytes();
        assert_eq!(verify(&device, &hash, &signature), Ok(()));
        assert_eq!(verify(&device, &[6; 32], &signature), Err(KeyError::Signature));
        assert_eq!(verify(device_key(2).device().as_bytes(), &hash, &signature), Err(KeyError::Signature));
        for bit in 0..512 {
            let mut bytes = *signature.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(&device, &hash, &Signature(bytes)), Err(KeyError::Signature), "bit {bit}");
        }
    }

    #[test]
    fn a_connection_signs_handshakes_and_nothing_else() {
        let key = device_key(1).handshake();
        let word = [&[b' '; 64], &b"TLS 1.3, client CertificateVerify\0"[..], &[9; 32]].concat();
        let signature = key.sign(&word).unwrap();
        assert_eq!(key.device(), device_key(1).device());
        assert_eq!(verify_handshake(&key.device(), &word, &signature), Ok(()));
        let verdict = verify_handshake(&device_key(2).device(), &word, &signature);
        assert_eq!(verdict, Err(KeyError::Signature));
        // A record's hash, even one that begins with spaces; and what only begins like a handshake.
        for other in [&[b' '; 32][..], &[b' '; 64], &word[1..], &[]] {
            assert_eq!(key.sign(other), None);
            let signature = Signature(SigningKey::from_bytes(key.0.as_bytes()).sign(other).to_bytes());
            assert_eq!(verify_handshake(&key.device(), other, &signature), Err(KeyError::Signature));
        }
    }

    /// Keys of small order, which lax rules take for a signer of anything, and vector 4 of "Taming the many
    /// EdDSAs": a signature that only the equation with the cofactor takes.
    #[test]
    fn d7_what_lax_rules_take_is_refused() {
        let bytes = |hex: &str| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        let mut identity = [0; 32];
        identity[0] = 1;
        for weak in [[0; 32], identity] {
            assert_eq!(check(&DeviceId::from_bytes(weak)), Err(KeyError::Weak));
            let mut forged = [0; 64];
            forged[0] = 1;
            assert_eq!(verify(&weak, &[5; 32], &Signature(forged)), Err(KeyError::Weak));
        }
        assert_eq!(check(&DeviceId::from_bytes([2; 32])), Err(KeyError::NotAKey));
        let key = bytes("cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d");
        let message = bytes("e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c");
        let signature = bytes(
            "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512\
             5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
        );
        let array = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).unwrap();
        let signature = Signature(signature.try_into().unwrap());
        assert_eq!(verify(&array(key), &array(message), &signature), Err(KeyError::Signature));
    }

    #[test]
    fn d7_box_keys_of_low_order_are_refused() {
        for point in LOW_ORDER {
            for high_bit in [0, 0x80] {
                let mut bytes = point;
                bytes[31] |= high_bit;
                assert_eq!(BoxKey::parse(bytes), Err(KeyError::Weak));
                // They are low indeed: two different secrets agree with it on one key.
                let sealed = [3, 4].map(|secret| {
                    let secret = SecretKey::from_bytes([secret; 32]);
                    let key = SalsaBox::new(&PublicKey::from_bytes(bytes), &secret);
                    key.encrypt(&[0; 24].into(), &b"text"[..]).unwrap()
                });
                assert_eq!(sealed[0], sealed[1]);
            }
        }
        assert!(BoxKey::parse(*device_key(1).box_key().as_bytes()).is_ok());
    }

    #[test]
    fn only_the_one_it_is_sealed_to_opens_it() {
        let (ana, ben) = (device_key(1), device_key(2));
        let sealed = ana.box_key().seal(&[9; 32], &mut TestRng::seeded(1));
        assert_eq!(**ana.open(&sealed).unwrap(), [9; 32]);
        assert_eq!(ben.open(&sealed).unwrap_err(), KeyError::Sealed);
        let mut bytes = *sealed.as_bytes();
        bytes[79] ^= 1;
        assert_eq!(ana.open(&Sealed(bytes)).unwrap_err(), KeyError::Sealed);
    }

    #[test]
    fn keys_stay_what_they_are_and_are_never_shown() {
        let key = DeviceKey::from_seed(&[1; 32]);
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        assert_eq!(
            hex(key.device().as_bytes()),
            "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
        );
        assert_eq!(
            hex(key.box_key().as_bytes()),
            "c86609befa2e0517c96533eacc5a7c62ff9ca90ec56dfa0fede645ece0b0487f"
        );
        assert_eq!(format!("{key:?}"), format!("DeviceKey(of {})", key.device().short()));
        assert!(!format!("{:?}", InviteSecret::from_seed(&[1; 32])).contains("01"));
    }
}
