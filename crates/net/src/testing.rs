//! Connections on this machine, for tests.

use std::net::SocketAddr;

use shoal_proto::frame::{RequestId, write_frame};
use shoal_proto::key::DeviceKey;
use tokio::net::{TcpListener, TcpStream};

use crate::tls::{self, Acceptor, Expected, Identity, Purpose, Secured};

/// The identity of a device that tests call by a number.
pub(crate) fn identity(number: u8) -> Identity {
    Identity::of(&DeviceKey::from_seed(&[number; 32]))
}

/// Somewhere to be called.
pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Two ends of plain TCP: who called, who was called.
pub(crate) async fn plain() -> (TcpStream, TcpStream) {
    let (listener, address) = listener().await;
    let (called, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (called.unwrap(), accepted.unwrap().0)
}

/// Device 1 has called device 2.
pub(crate) async fn pair() -> (Secured, Secured) {
    let (called, accepted) = plain().await;
    let address = called.peer_addr().unwrap();
    let (one, two) = (identity(1), identity(2));
    let (acceptor, expected) = (Acceptor::new(&two), Expected::Device(two.device()));
    let (called, accepted) =
        tokio::join!(tls::secure(called, address, &one, expected, Purpose::Peer), acceptor.accept(accepted));
    (called.unwrap(), accepted.unwrap())
}

/// A frame of a type with a body.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, kind, RequestId::NONE, &[body]).unwrap();
    out
}

#[path = "../../disk/src/testing/skip.rs"]
mod skips;
pub(crate) use skips::skip;
