//! Keys as TLS carries them: a device's id in the form of RFC 8410, the signer behind it, and who checks it.
//!
//! Promise: one key has one form, bit for bit; any other is refused. A signature counts by the one rule that all of Shoal
//! has (`proto::key`).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureAlgorithm, SignatureScheme,
};
use shoal_proto::id::DeviceId;
use shoal_proto::key::{HandshakeKey, Signature, check, verify_handshake};

use super::Expected;

/// What stands before the 32 bytes of an Ed25519 key (RFC 8410, section 4): a sequence of the algorithm and a bit string.
const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A key with its public half in the form that is shown.
#[derive(Clone, Debug)]
pub(super) struct ProvenBy {
    device: DeviceId,
    shown: Arc<CertifiedKey>,
}

/// Why the key that the other end shows is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum KeyRefused {
    /// Not an Ed25519 key in its one form.
    #[error("what it shows is no Ed25519 key")]
    Form,
    /// Anybody can prove such a key.
    #[error("its key protects nothing")]
    Weak,
    /// A chain, where one key stands by itself.
    #[error("it shows more than one key")]
    Several,
    /// Another device's.
    #[error("it is another device, {}", .found.short())]
    Other {
        /// Whose.
        found: DeviceId,
    },
}

impl KeyRefused {
    /// The reason inside an error of TLS.
    pub(super) fn within(error: &Error) -> Option<Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
                inner.downcast_ref().copied()
            }
            _ => None,
        }
    }
}

impl From<KeyRefused> for Error {
    fn from(refused: KeyRefused) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
    }
}

/// The form of a device's key that is shown.
pub(super) fn shown(device: &DeviceId) -> [u8; 44] {
    let mut shown = [0; 44];
    shown[..12].copy_from_slice(&PREFIX);
    shown[12..].copy_from_slice(device.as_bytes());
    shown
}

/// Whose key is shown.
pub(super) fn device_of(shown: &CertificateDer<'_>) -> Result<DeviceId, KeyRefused> {
    let key = shown.strip_prefix(&PREFIX).and_then(|key| <[u8; 32]>::try_from(key).ok());
    let device = DeviceId::from_bytes(key.ok_or(KeyRefused::Form)?);
    check(&device).map_err(|_| KeyRefused::Weak)?;
    Ok(device)
}

impl ProvenBy {
    pub(super) fn new(key: HandshakeKey) -> Self {
        let device = key.device();
        let form = CertificateDer::from(shown(&device).to_vec());
        Self { device, shown: Arc::new(CertifiedKey::new(vec![form], Arc::new(Key(key)))) }
    }

    pub(super) fn device(&self) -> DeviceId {
        self.device
    }

    pub(super) fn shown(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.shown)
    }
}

/// Signs handshakes.
#[derive(Clone, Debug)]
struct Key(HandshakeKey);

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(shown(&self.0.device()).to_vec().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature =
            self.0.sign(message).ok_or(Error::General("not the word of a handshake".to_owned()))?;
        Ok(signature.as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Checks the key of the other end: any device's, or that of one.
#[derive(Debug)]
pub(super) struct Checks(pub(super) Expected);

impl Checks {
    fn key(&self, shown: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        if !more.is_empty() {
            return Err(KeyRefused::Several.into());
        }
        let found = device_of(shown)?;
        let is_expected = match &self.0 {
            Expected::Device(expected) => *expected == found,
            Expected::OneOf(expected) => expected.contains(&found),
            Expected::Anyone => true,
        };
        if is_expected { Ok(()) } else { Err(KeyRefused::Other { found }.into()) }
    }

    fn signature(
        word: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        let bad = || Error::InvalidCertificate(CertificateError::BadSignature);
        let signature = <[u8; 64]>::try_from(signed.signature()).map_err(|_| bad())?;
        let signature = Signature::from_bytes(signature);
        verify_handshake(&device_of(shown)?, word, &signature).map_err(|_| bad())?;
        Ok(HandshakeSignatureValid::assertion())
    }
}

/// TLS 1.2 is never spoken.
fn too_old() -> Error {
    PeerMisbehaved::SelectedUnofferedCipherSuite.into()
}

impl ServerCertVerifier for Checks {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.key(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Checks {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.key(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> HandshakeKey {
        shoal_proto::key::DeviceKey::from_seed(&[number; 32]).handshake()
    }

    /// The example of RFC 8410, section 10.1, without its armour.
    #[test]
    fn a_key_looks_as_the_standard_says() {
        let bytes = data_encoding::HEXLOWER
            .decode(
                b"302a300506032b657003210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1",
            )
            .unwrap();
        let device = device_of(&CertificateDer::from(bytes.clone())).unwrap();
        assert_eq!(device.as_bytes(), &bytes[12..]);
        assert_eq!(shown(&device).to_vec(), bytes);
    }

    #[test]
    fn d7_any_other_form_is_refused() {
        let good = shown(&key(1).device());
        let verdict = |bytes: &[u8]| device_of(&CertificateDer::from(bytes.to_vec()));
        assert_eq!(verdict(&good), Ok(key(1).device()));
        for end in 0..good.len() {
            assert_eq!(verdict(&good[..end]), Err(KeyRefused::Form));
        }
        assert_eq!(verdict(&[&good[..], &[0]].concat()), Err(KeyRefused::Form));
        for at in 0..12 {
            let mut bytes = good;
            bytes[at] ^= 1;
            assert_eq!(verdict(&bytes), Err(KeyRefused::Form));
        }
        assert_eq!(verdict(&shown(&DeviceId::from_bytes([0; 32]))), Err(KeyRefused::Weak));
    }

    #[test]
    fn who_is_expected_is_taken_and_nobody_else() {
        let shown = |number| CertificateDer::from(shown(&key(number).device()).to_vec());
        let one = Checks(Expected::Device(key(1).device()));
        assert!(one.key(&shown(1), &[]).is_ok());
        let error = one.key(&shown(2), &[]).unwrap_err();
        assert_eq!(KeyRefused::within(&error), Some(KeyRefused::Other { found: key(2).device() }));
        let error = one.key(&shown(1), &[shown(1)]).unwrap_err();
        assert_eq!(KeyRefused::within(&error), Some(KeyRefused::Several));
        let some = Checks(Expected::OneOf(Arc::new([1, 3].map(|number| key(number).device()).into())));
        assert!(some.key(&shown(1), &[]).is_ok() && some.key(&shown(3), &[]).is_ok());
        assert!(some.key(&shown(2), &[]).is_err());
        assert!(Checks(Expected::Anyone).key(&shown(2), &[]).is_ok());
    }
}
