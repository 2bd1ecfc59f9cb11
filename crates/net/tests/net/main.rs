//! Connections with something between their ends, or somebody odd at one of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where it fails")]

mod between;
mod capture;
mod flood;
mod impostors;
mod strangers;
mod tampered;

use std::net::SocketAddr;

use shoal_net::{Acceptor, Expected, Identity, NetError, Purpose, Secured, dial};
use shoal_proto::frame::{RequestId, write_frame};
use shoal_proto::key::DeviceKey;
use tokio::net::TcpListener;

/// The identity of a device that tests call by a number.
fn identity(number: u8) -> Identity {
    Identity::of(&DeviceKey::from_seed(&[number; 32]))
}

/// Somewhere to be called.
async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Device 1 calls device 2 by way of this address.
async fn call(way: SocketAddr) -> Result<Secured, NetError> {
    dial(way, &identity(1), Expected::Device(identity(2).device()), Purpose::Peer).await
}

/// Device 2 answers one call.
async fn answer(listener: TcpListener) -> Result<Secured, NetError> {
    let (stream, _) = listener.accept().await.unwrap();
    Acceptor::new(&identity(2)).accept(stream).await
}

/// A frame of a type with a body.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, kind, RequestId::NONE, &[body]).unwrap();
    out
}

/// All places where it may be tried, if there is time; else those at the beginning, and some of the others.
fn places(count: usize) -> Vec<usize> {
    let step = if std::env::var_os("SHOAL_TEST_WHOLE").is_some() { 1 } else { 37 };
    (0..count).filter(|place| *place < 16 || place % step == 0 || place + 1 == count).collect()
}
