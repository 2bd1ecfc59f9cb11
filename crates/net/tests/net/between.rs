//! Somebody between two ends, who sees all that goes by, and may do with it what they like.

use std::net::SocketAddr;
use std::ops::ControlFlow::{self, Break, Continue};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::listener;

/// Bytes in a row that were sent together: a record of TLS with its header, or whatever there was at the end.
pub(crate) type Record = Vec<u8>;

/// What goes on instead of a record, by its number and its bytes; after a break nothing does.
pub(crate) type Does = Box<dyn FnMut(usize, Record) -> ControlFlow<Vec<Record>, Vec<Record>> + Send>;

/// Lets everything pass.
pub(crate) fn nothing() -> Does {
    Box::new(|_, record| Continue(vec![record]))
}

/// What has gone by: from the one who called, and from the one who was called.
pub(crate) struct Seen {
    pub(crate) caller: Vec<Record>,
    pub(crate) called: Vec<Record>,
}

impl Seen {
    pub(crate) fn bytes(records: &[Record]) -> Vec<u8> {
        records.concat()
    }
}

/// Stands between one who calls the address that is given back, and the one at `target`.
pub(crate) async fn between(
    target: SocketAddr,
    with_caller: Does,
    with_called: Does,
) -> (SocketAddr, JoinHandle<Seen>) {
    let (listener, address) = listener().await;
    (address, tokio::spawn(relay(listener, target, with_caller, with_called)))
}

async fn relay(listener: TcpListener, target: SocketAddr, with_caller: Does, with_called: Does) -> Seen {
    let caller = listener.accept().await.unwrap().0;
    let called = TcpStream::connect(target).await.unwrap();
    for stream in [&caller, &called] {
        stream.set_nodelay(true).unwrap();
    }
    let ((from_caller, to_caller), (from_called, to_called)) = (caller.into_split(), called.into_split());
    let one = tokio::spawn(pass(from_caller, to_called, with_caller));
    let other = tokio::spawn(pass(from_called, to_caller, with_called));
    // Who is cut is cut in both directions, as soon as the other end has seen it.
    Seen { caller: one.await.unwrap(), called: other.await.unwrap() }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut does: Does) -> Vec<Record> {
    let mut seen = Vec::new();
    while let Some(record) = next(&mut from).await {
        seen.push(record.clone());
        let instead = does(seen.len() - 1, record);
        let (Continue(pieces) | Break(pieces)) = &instead;
        for piece in pieces {
            if to.write_all(piece).await.is_err() {
                return seen;
            }
        }
        if instead.is_break() {
            break;
        }
    }
    let _ = to.shutdown().await;
    seen
}

/// The next record, or what is left of one.
async fn next(from: &mut OwnedReadHalf) -> Option<Record> {
    let mut record = vec![0; 5];
    let mut at = 0;
    loop {
        match from.read(&mut record[at..]).await {
            Ok(0) | Err(_) => {
                record.truncate(at);
                return Some(record).filter(|record| !record.is_empty());
            }
            Ok(bytes) => at += bytes,
        }
        if at == 5 && record.len() == 5 {
            record.resize(5 + usize::from(u16::from_be_bytes([record[3], record[4]])), 0);
        }
        if at == record.len() {
            return Some(record);
        }
    }
}
