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
