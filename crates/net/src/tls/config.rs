//! What rustls is allowed.

use std::sync::Arc;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, version};

use super::key::Checks;
use super::{Expected, Identity, Purpose};

/// AES-128 in Galois counter mode first, which these processors do in their sleep; ChaCha20 where one does not. The keys
/// are agreed on by X25519 and ML-KEM together, so that who records today cannot read with a quantum computer later.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    })
}

/// 32 random bytes from the system.
pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    let random = aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).expect("the system has random bytes");
    bytes
}

/// How calls are answered.
pub(super) fn of_listener(identity: &Identity, to_strangers: &Identity) -> Arc<ServerConfig> {
    let shows = Shows { peers: identity.0.shown(), users_of_a_tracker: to_strangers.0.shown() };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .expect("these suites are of TLS 1.3")
        .with_client_cert_verifier(Arc::new(Checks(Expected::Anyone)))
        .with_cert_resolver(Arc::new(shows));
    config.alpn_protocols = vec![Purpose::Peer.alpn().to_vec(), Purpose::Tracker.alpn().to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Arc::new(config)
}

/// How others are called.
pub(super) fn of_dialler(identity: &Identity, expected: Expected, purpose: Purpose) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .expect("these suites are of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Checks(expected)))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(identity.0.shown())));
    config.alpn_protocols = vec![purpose.alpn().to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_early_data = false;
    Arc::new(config)
}

/// Which key is shown to whom.
#[derive(Debug)]
struct Shows {
    peers: Arc<CertifiedKey>,
    users_of_a_tracker: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Shows {
    /// In the order in which rustls chooses among what is offered. Who offers neither is shown no key at all.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offers = |purpose: Purpose| {
            hello.alpn().is_some_and(|mut offered| offered.any(|name| name == purpose.alpn()))
        };
        if offers(Purpose::Peer) {
            Some(Arc::clone(&self.peers))
        } else if offers(Purpose::Tracker) {
            Some(Arc::clone(&self.users_of_a_tracker))
        } else {
            None
        }
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}
