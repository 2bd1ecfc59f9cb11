//! Who shows the key of another device, and cannot sign with it (T2).

use std::sync::Arc;

use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureAlgorithm,
    SignatureScheme, version,
};
use shoal_net::{NetError, Secured};
use shoal_proto::key::{DeviceKey, HandshakeKey};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::strangers::TakesAll;
use crate::{answer, call, identity, listener};

/// Signs with the key of one device.
#[derive(Clone, Debug)]
struct Signs(HandshakeKey);

impl SigningKey for Signs {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        None
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Signs {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).unwrap().as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Shows the key of one device, and signs with that of another.
fn shows_and_signs(shown: u8, signs: u8) -> Arc<CertifiedKey> {
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let form = [&prefix[..], identity(shown).device().as_bytes()].concat();
    let key = DeviceKey::from_seed(&[signs; 32]).handshake();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(form)], Arc::new(Signs(key))))
}

impl ClientCertVerifier for TakesAll {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.is_raw
    }
}

/// Somebody calls device 2, showing the key of device 1.
async fn called_by(signs: u8) -> Result<Secured, NetError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakesAll { is_raw: true }))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(shows_and_signs(
            1, signs,
        ))));
    config.alpn_protocols = vec![b"shoal/1".to_vec()];
    let (listener, address) = listener().await;
    let calls = async {
        let stream = TcpStream::connect(address).await.unwrap();
        if let Ok(mut stream) =
            TlsConnector::from(Arc::new(config)).connect(address.ip().into(), stream).await
        {
            let _ = stream.read(&mut [0; 16]).await;
        }
    };
    let is_of_one = |secured: &Secured| assert_eq!(secured.device, identity(1).device());
    let answers = async { answer(listener).await.inspect(is_of_one) };
    tokio::select! {
        answered = answers => answered,
        () = async { calls.await; std::future::pending().await } => unreachable!(),
    }
}

/// Device 1 calls device 2, and somebody answers, showing the key of device 2.
async fn answered_by(signs: u8) -> Result<Secured, NetError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(TakesAll { is_raw: true }))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(shows_and_signs(2, signs))));
    config.alpn_protocols = vec![b"shoal/1".to_vec()];
    let (listener, address) = listener().await;
    let answers = async {
        let (stream, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(config)).accept(stream).await.ok()
    };
    tokio::join!(call(address), answers).0
}

#[tokio::test]
async fn t2_who_cannot_sign_with_the_key_that_it_shows_is_refused() {
    for (shown_by_its_owner, shown_by_another) in
        [(called_by(1).await, called_by(3).await), (answered_by(2).await, answered_by(3).await)]
    {
        assert!(shown_by_its_owner.is_ok(), "{shown_by_its_owner:?}");
        let error = shown_by_another.unwrap_err();
        assert!(matches!(error, NetError::Handshake { .. }), "{error}");
    }
}
