//! Where a connection that was accepted goes: its first byte tells the generations apart.
//!
//! Promise: whoever says nothing, or proves no key, costs a seat and a bounded time; nothing is taken from a classic
//! connection before its session is there.

use std::net::IpAddr;
use std::rc::Rc;

use shoal_net::{Generation, NetError, WireError, sniff};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::connection::Connection;
use crate::metrics::Refusal;
use crate::rendezvous::ServeError;
use crate::seats::Seat;
use crate::server::Shared;

/// Finds out what a connection is that was just accepted, and has it served.
pub(crate) async fn open(shared: Rc<Shared>, stream: TcpStream, from: IpAddr, seat: Seat) {
    let wait = shared.options.first_message_wait;
    match timeout(wait, generation(&stream)).await {
        Ok(Ok(Generation::Classic)) => {
            if let Some(connection) = Connection::open(shared, stream, from, seat) {
                // In a task of its own, which is all that is left of this once it is quiet.
                spawn_local(connection.serve());
            }
        }
        // Boxed, since few of those who wait here come so far.
        Ok(Ok(Generation::Native)) => Box::pin(serve_native(shared, stream, from, seat)).await,
        // It has gone without a word.
        Ok(Err(_)) => {}
        Err(_) => {
            let reason = format_args!("said nothing for {} s", wait.as_secs());
            shared.refuse(from, Refusal::Silent, 1, &reason);
        }
    }
}

/// Waits for the first byte; how long is for the caller to say.
async fn generation(stream: &TcpStream) -> Result<Generation, NetError> {
    loop {
        match sniff(stream).await {
            Err(NetError::Silent { .. }) => {}
            other => return other,
        }
    }
}

async fn serve_native(shared: Rc<Shared>, stream: TcpStream, from: IpAddr, seat: Seat) {
    let _seat = seat;
    let secured = match shared.handshakes.knock(from) {
        Some(guest) => guest.stay(shared.acceptor.accept(stream)).await,
        None => None,
    };
    let secured = match secured {
        Some(Ok(secured)) => secured,
        Some(Err(error)) => return shared.refuse(from, Refusal::Handshake, 1, &error),
        None => return shared.refuse(from, Refusal::Handshake, 1, &"there are too many handshakes"),
    };
    let Err(error) = shared.rendezvous.serve(secured).await else { return };
    let refusal = match &error {
        // It has gone, or the network has it.
        ServeError::Wire(WireError::Broken(_) | WireError::CutOff) => return,
        ServeError::Wire(WireError::Over(_)) | ServeError::WriteStall(_) => Refusal::WriteStall,
        ServeError::Wire(WireError::Frame(_)) | ServeError::Message(_) => Refusal::Malformed,
        ServeError::Silent(_) => Refusal::Silent,
        ServeError::NotForTrackers => Refusal::Purpose,
        ServeError::NoRoom => Refusal::Connections,
    };
    shared.refuse(from, refusal, 1, &error);
}
