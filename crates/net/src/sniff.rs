//! Which generation a connection belongs to, told by its first byte.
//!
//! Promise: nothing is taken from the connection: whoever goes on with it finds its first byte. Who says nothing for
//! [`FIRST_BYTE`] is not waited for.

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::NetError;
use crate::limits::FIRST_BYTE;
use crate::tls::seen;

/// The first byte of every handshake of TLS: the type of its record (RFC 8446, 5.1). No message of the course protocol
/// begins with it.
const HANDSHAKE_RECORD: u8 = 0x16;

/// Who speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Generation {
    /// The course protocol, or anything else that is not TLS.
    Classic,
    /// TLS, and so Shoal with Shoal.
    Native,
}

/// Looks at the first byte.
///
/// # Errors
/// When none comes.
pub async fn sniff(stream: &TcpStream) -> Result<Generation, NetError> {
    let address = seen(stream)?;
    let mut first = [0];
    match timeout(FIRST_BYTE, stream.peek(&mut first)).await {
        Ok(Ok(0)) => Err(NetError::BrokenOff { address, source: std::io::ErrorKind::UnexpectedEof.into() }),
        Ok(Ok(_)) if first == [HANDSHAKE_RECORD] => Ok(Generation::Native),
        Ok(Ok(_)) => Ok(Generation::Classic),
        Ok(Err(source)) => Err(NetError::BrokenOff { address, source }),
        Err(_) => Err(NetError::Silent { address, within: FIRST_BYTE }),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::testing::plain;

    #[tokio::test]
    async fn the_first_byte_tells_and_is_left_where_it_is() {
        for (says, generation) in [
            (&b"\x16\x03\x01"[..], Generation::Native),
            (b"{\"port\"", Generation::Classic),
            (b"\x17", Generation::Classic),
        ] {
            let (mut caller, mut called) = plain().await;
            caller.write_all(says).await.unwrap();
            assert_eq!(sniff(&called).await.unwrap(), generation);
            let mut came = vec![0; says.len()];
            called.read_exact(&mut came).await.unwrap();
            assert_eq!(came, says);
        }
    }

    #[tokio::test]
    async fn who_hangs_up_at_once_is_nobody() {
        let (caller, called) = plain().await;
        drop(caller);
        assert!(matches!(sniff(&called).await, Err(NetError::BrokenOff { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn b3_who_says_nothing_is_not_waited_for() {
        let (_caller, called) = plain().await;
        let began = tokio::time::Instant::now();
        assert!(matches!(sniff(&called).await, Err(NetError::Silent { .. })));
        assert_eq!(began.elapsed().as_secs(), FIRST_BYTE.as_secs());
    }
}
