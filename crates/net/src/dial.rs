//! Calling other devices.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::NetError;
use crate::limits::CONNECT;
use crate::tls::{self, Expected, Identity, Purpose, Secured};

/// Calls one address, and has both ends prove their keys. There is no falling back to anything else (T2).
///
/// # Errors
/// When nobody answers there, or somebody else does.
pub async fn dial(
    address: SocketAddr,
    identity: &Identity,
    expected: Expected,
    purpose: Purpose,
) -> Result<Secured, NetError> {
    let stream = match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(NetError::Connect { address, source }),
        Err(_) => return Err(NetError::NoAnswer { address, within: CONNECT }),
    };
    tls::secure(stream, address, identity, expected, purpose).await
}
