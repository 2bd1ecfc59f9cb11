//! Many who call and say nothing, and one who is honest.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use shoal_net::limits::GUESTS_MAX;
use shoal_net::{Acceptor, Door, Expected, Generation, NetError, Purpose, Secured, sniff, tls};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

use crate::{identity, listener};

/// Calls from this address of this machine.
async fn from(number: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(Ipv4Addr::new(127, 0, 0, number).into(), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

/// Answers as a device does: through the door, by the first byte, with proofs.
async fn serve(listener: TcpListener, door: Door, came: mpsc::UnboundedSender<Secured>) {
    let acceptor = Acceptor::new(&identity(2));
    loop {
        let (stream, seen) = listener.accept().await.unwrap();
        let Some(guest) = door.knock(seen.ip()) else { continue };
        let (acceptor, came) = (acceptor.clone(), came.clone());
        tokio::spawn(async move {
            let proves = async {
                match sniff(&stream).await? {
                    Generation::Native => acceptor.accept(stream).await.map(Some),
                    Generation::Classic => Ok::<_, NetError>(None),
                }
            };
            if let Some(Ok(Some(secured))) = guest.stay(proves).await {
                let _ = came.send(secured);
            }
        });
    }
}

#[tokio::test]
async fn t5_t6_i30_a_flood_of_silent_callers_does_not_keep_an_honest_one_out() {
    let (listener, address) = listener().await;
    let door = Door::default();
    let (came, mut comes) = mpsc::unbounded_channel();
    let server = tokio::spawn(serve(listener, door.clone(), came));
    let mut silent = Vec::new();
    for network in 2..12 {
        for _ in 0..60 {
            silent.push(from(network, address).await);
        }
    }
    // All places are taken, by connections that have been there for moments.
    while door.guests() < GUESTS_MAX {
        tokio::task::yield_now().await;
    }
    let stream = from(99, address).await;
    let (one, expected) = (identity(1), Expected::Device(identity(2).device()));
    let called = tls::secure(stream, address, &one, expected, Purpose::Peer).await.unwrap();
    let seen = comes.recv().await.unwrap();
    assert_eq!(seen.device, identity(1).device());
    assert_eq!(seen.seen.ip(), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 99)));
    assert!(door.guests() <= GUESTS_MAX);
    drop((called, silent));
    // Who hangs up is a guest no more.
    while door.guests() > 0 {
        tokio::task::yield_now().await;
    }
    server.abort();
}
