//! Who is no peer, or an odd one, is refused: with an error here, and there with nothing to learn.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme, version};
use shoal_net::{Acceptor, NetError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::between::{Seen, between, nothing};
use crate::{answer, call, identity, listener};

/// What an acceptor answers to these bytes, and what it says of them itself.
async fn told(says: &[u8]) -> (Vec<u8>, NetError) {
    let (listener, address) = listener().await;
    let asks = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(says).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Hanging up on unread bytes is a reset, and as good.
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    let (answer, accepted) = tokio::join!(asks, answer(listener));
    (answer, accepted.unwrap_err())
}

/// A record of a handshake around this hello.
fn hello(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1, 0, length[0], length[1]], body].concat();
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    [&[0x16, 3, 1, length[0], length[1]], &message[..]].concat()
}

/// A hello of TLS 1.2 with good ciphers, as a program of ten years ago sends it.
fn tls_1_2() -> Vec<u8> {
    let extensions: &[&[u8]] = &[
        b"\x00\x0a\x00\x04\x00\x02\x00\x1d",         // groups: X25519
        b"\x00\x0d\x00\x06\x00\x04\x08\x07\x04\x03", // signatures: Ed25519, ECDSA
        b"\x00\x0b\x00\x02\x01\x00",                 // points: plain
        b"\x00\x10\x00\x0a\x00\x08\x07shoal/1",      // ALPN
    ];
    let extensions = extensions.concat();
    let length = u16::try_from(extensions.len()).unwrap().to_be_bytes();
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 4, 0xc0, 0x2b, 0xc0, 0x2f], &[1, 0], &length, &extensions];
    hello(&body.concat())
}

#[tokio::test]
async fn t2_t6_whoever_cannot_be_a_peer_gets_an_alert_and_no_more() {
    let noise: Vec<u8> = (0..600_u32).map(|at| u8::try_from(at * 89 % 251).unwrap()).collect();
    let record = [&[0x16, 3, 1, 2, 0][..], &noise[..512]].concat();
    let zeros = [&[0x16, 3, 1, 2, 0][..], &[0; 512]].concat();
    let too_long = [&[0x16, 3, 1, 0xff, 0xff][..], &noise].concat();
    let empty = [0x16, 3, 1, 0, 0];
    let http = b"GET / HTTP/1.1\r\nHost: shoal\r\n\r\n";
    for says in
        [&record[..], &zeros, &too_long, &empty, http, &noise, &tls_1_2(), &hello(b""), &hello(&noise)]
    {
        let (answer, error) = told(says).await;
        assert!(matches!(error, NetError::Handshake { .. } | NetError::BrokenOff { .. }), "{error}");
        let is_alert = answer.len() == 7 && answer[0] == 0x15;
        assert!(answer.is_empty() || is_alert, "{answer:?} to {:?}", &says[..8.min(says.len())]);
    }
    assert_eq!(told(b"").await.0, b"");
}

#[tokio::test]
async fn t2_the_hello_of_tls_1_2_is_well_formed_and_refused_for_its_version() {
    let (answer, error) = told(&tls_1_2()).await;
    let protocol_version = 70;
    assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, protocol_version], "{error}");
}

/// Takes any server, to see how far it lets us come.
#[derive(Debug)]
pub(crate) struct TakesAll {
    pub(crate) is_raw: bool,
}

impl ServerCertVerifier for TakesAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
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
        vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.is_raw
    }
}

/// Another program that speaks TLS 1.3 and shows no key; and what the acceptor sends it.
async fn other_program(alpn: &[&[u8]], is_raw: bool) -> (NetError, Vec<u8>) {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakesAll { is_raw }))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let (listener, target) = listener().await;
    let (way, seen) = between(target, nothing(), nothing()).await;
    let calls = async {
        let stream = TcpStream::connect(way).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        if let Ok(mut stream) = connector.connect(way.ip().into(), stream).await {
            // A client of TLS 1.3 hears only now that it was refused.
            assert!(stream.read(&mut [0; 16]).await.is_err());
        }
    };
    let ((), accepted) = tokio::join!(calls, answer(listener));
    (accepted.unwrap_err(), Seen::bytes(&seen.await.unwrap().called))
}

#[tokio::test]
async fn t6_who_asks_for_nothing_of_ours_is_shown_no_key() {
    for alpn in [&[][..], &[&b"h2"[..], b"http/1.1"], &[b"shoal/2"], &[b"shoal"]] {
        for is_raw in [true, false] {
            let (_, sent) = other_program(alpn, is_raw).await;
            assert!(sent.len() == 7 && sent[0] == 0x15, "{alpn:?}: {sent:?}");
        }
    }
    // Nor is who takes certificates only: after the hello, which names nobody, there is an alert behind a cipher.
    let (_, sent) = other_program(&[b"shoal/1"], false).await;
    assert!(sent.len() < 200, "{sent:?}");
    assert_eq!(sent[sent.len() - 24..][..5], [0x17, 3, 3, 0, 19]);
}

#[tokio::test]
async fn t2_who_shows_no_key_is_refused() {
    for alpn in [&b"shoal/1"[..], b"shoal-tracker/1"] {
        let (error, _) = other_program(&[alpn], true).await;
        assert!(matches!(error, NetError::Handshake { .. }), "{error}");
    }
}

/// All that a caller has said in a whole session, said again to the same device.
#[tokio::test]
async fn i27_d5_a_recording_is_worth_nothing() {
    let (listener, target) = listener().await;
    let acceptor = Acceptor::new(&identity(2));
    let (way, seen) = between(target, nothing(), nothing()).await;
    let accepting = async { acceptor.accept(listener.accept().await.unwrap().0).await };
    let (called, accepted) = tokio::join!(call(way), accepting);
    let ((_, says), (mut hears, _answers)) = (called.unwrap().split(), accepted.unwrap().split());
    says.push(crate::frame(1, b"let me in"));
    says.close();
    assert_eq!(hears.next().await.unwrap().unwrap().body, b"let me in");
    assert!(hears.next().await.unwrap().is_none());
    drop((says, hears, _answers));
    let recorded = Seen::bytes(&seen.await.unwrap().caller);
    let replays = async {
        let mut stream = TcpStream::connect(target).await.unwrap();
        stream.write_all(&recorded).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let accepting = async { acceptor.accept(listener.accept().await.unwrap().0).await };
    let ((), accepted) = tokio::join!(replays, accepting);
    assert!(matches!(accepted.unwrap_err(), NetError::Handshake { .. }));
}

#[tokio::test]
async fn d5_what_is_reflected_is_worth_nothing() {
    let (listener, target) = listener().await;
    // Whoever is called sends back what was said: a device does not take itself for another.
    let reflects = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    };
    let (called, ()) = tokio::join!(call(target), reflects);
    assert!(matches!(called.unwrap_err(), NetError::Handshake { .. }));
}
