//! Both ends are ours, or one of them is slow.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::*;
use crate::testing::{identity, pair, plain};

/// A call from device 1 to an acceptor of device 2.
async fn call(
    expected: Expected,
    purpose: Purpose,
) -> (Result<Secured, NetError>, Result<Secured, NetError>) {
    let (called, accepted) = plain().await;
    let address = called.peer_addr().unwrap();
    let acceptor = Acceptor::new(&identity(2));
    let one = identity(1);
    tokio::join!(secure(called, address, &one, expected, purpose), acceptor.accept(accepted))
}

#[tokio::test]
async fn both_ends_learn_whom_they_speak_with() {
    let (caller, called) = pair().await;
    assert_eq!((caller.device, called.device), (identity(2).device(), identity(1).device()));
    assert_eq!((caller.side, called.side), (Side::Dialler, Side::Listener));
    assert_eq!((caller.purpose, called.purpose), (Purpose::Peer, Purpose::Peer));
    assert_eq!(caller.exporter, called.exporter);
    assert_ne!(caller.exporter, [0; 32]);
    let (another, _called) = pair().await;
    assert_ne!(caller.exporter, another.exporter, "of this connection alone");
}

#[tokio::test]
async fn t2_another_device_than_the_one_that_is_wanted_is_refused() {
    let (caller, called) = call(Expected::Device(identity(3).device()), Purpose::Peer).await;
    match caller.unwrap_err() {
        NetError::OtherDevice { found, .. } => assert_eq!(found, identity(2).device()),
        other => panic!("{other}"),
    }
    // Who was called does not learn who called: the caller had shown nothing yet.
    assert!(matches!(called.unwrap_err(), NetError::Handshake { .. }));
}

#[tokio::test]
async fn a_tracker_is_anyone_and_shows_no_device() {
    let (caller, called) = call(Expected::Anyone, Purpose::Tracker).await;
    let (caller, called) = (caller.unwrap(), called.unwrap());
    assert_eq!((caller.purpose, called.purpose), (Purpose::Tracker, Purpose::Tracker));
    assert_ne!(caller.device, identity(2).device());
}

#[test]
fn a_nameless_key_is_another_each_time() {
    assert_ne!(Identity::nameless().device(), Identity::nameless().device());
}

/// The answer of an acceptor to a caller that says these bytes, one a second, and then nothing.
async fn answer_to_slow(bytes: &'static [u8]) -> (NetError, u64) {
    let (mut called, accepted) = plain().await;
    let began = tokio::time::Instant::now();
    let caller = tokio::spawn(async move {
        for byte in bytes {
            let _ = called.write_all(&[*byte]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        std::future::pending::<()>().await;
    });
    let error = Acceptor::new(&identity(2)).accept(accepted).await.unwrap_err();
    caller.abort();
    (error, began.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn t6_d8_who_is_slow_or_silent_is_not_waited_for() {
    // The beginning of a record of 512 bytes.
    for bytes in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and then slowly on"] {
        let (error, seconds) = answer_to_slow(bytes).await;
        assert!(matches!(error, NetError::Slow { .. }), "{error}");
        assert_eq!(seconds, HANDSHAKE.as_secs());
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_called_and_says_nothing_is_not_waited_for() {
    let (called, _silent) = plain().await;
    let address = called.peer_addr().unwrap();
    let one = identity(1);
    let error = secure(called, address, &one, Expected::Anyone, Purpose::Peer).await.unwrap_err();
    assert!(matches!(error, NetError::Slow { .. }), "{error}");
}
