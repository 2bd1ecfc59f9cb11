//! Calls to devices on this machine: those that answer, those that do not, and others.

use shoal_proto::secret::Side;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::limits::BACK_OFF;
use crate::testing::{identity, listener};
use crate::tls::Acceptor;

/// A device that answers, and how often it was called.
fn answers(listener: TcpListener, number: u8) -> JoinHandle<Vec<Secured>> {
    let acceptor = Acceptor::new(&identity(number));
    tokio::spawn(async move {
        let mut answered = Vec::new();
        while let Ok(accepted) = timeout(Duration::from_millis(600), listener.accept()).await {
            answered.extend(acceptor.accept(accepted.unwrap().0).await.ok());
        }
        answered
    })
}

fn named(address: SocketAddr) -> Candidate {
    Candidate { named_by: NamedBy::User, address }
}

fn two() -> Expected {
    Expected::Device(identity(2).device())
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    listener().await.1
}

#[tokio::test]
async fn of_several_addresses_the_one_that_answers_is_taken() {
    let (other, wrong) = listener().await;
    let (wanted, right) = listener().await;
    let (silent, mute) = listener().await;
    let (_other, wanted) = (answers(other, 3), answers(wanted, 2));
    let candidates = [nobody().await, wrong, mute, right].map(named);
    let caller = Caller::new(Budget::new(1));
    let secured = caller.call(&candidates, &identity(1), &two(), Purpose::Peer).await.unwrap();
    assert_eq!((secured.device, secured.seen), (identity(2).device(), right));
    assert_eq!(wanted.await.unwrap().first().map(|called| called.side), Some(Side::Listener));
    drop(silent);
}

#[tokio::test]
async fn ipv6_is_an_address_like_any_other() {
    let Ok(six) = TcpListener::bind("[::1]:0").await else {
        crate::testing::skip("calls over IPv6", "this machine has no [::1]");
        return;
    };
    let address = six.local_addr().unwrap();
    let _answers = answers(six, 2);
    let caller = Caller::new(Budget::new(1));
    let secured = caller.call(&[named(address)], &identity(1), &two(), Purpose::Peer).await.unwrap();
    assert_eq!(secured.seen, address);
}

#[tokio::test]
async fn who_is_not_reached_is_told_of_with_all_reasons_and_a_time() {
    let (other, wrong) = listener().await;
    let _other = answers(other, 3);
    let candidates = [nobody().await, wrong].map(named);
    let caller = Caller::new(Budget::new(1));
    let error = caller.call(&candidates, &identity(1), &two(), Purpose::Peer).await.unwrap_err();
    assert!(error.failed.iter().any(|error| matches!(error, NetError::Connect { .. })), "{error:?}");
    let found = identity(3).device();
    let is_other =
        |error: &NetError| matches!(error, NetError::OtherDevice { found: other, .. } if *other == found);
    assert!(error.failed.iter().any(is_other), "{error:?}");
    assert!(error.again_in.is_some_and(|wait| wait > Duration::ZERO && wait < BACK_OFF * 2), "{error:?}");
    // Asked at once again, nobody is called.
    let error = caller.call(&candidates, &identity(1), &two(), Purpose::Peer).await.unwrap_err();
    assert!(error.failed.is_empty() && error.again_in.is_some());
}

#[tokio::test]
async fn t4_what_others_name_on_this_machine_is_not_called() {
    let (listener, address) = listener().await;
    let caller = Caller::new(Budget::new(1));
    let named = Candidate { named_by: NamedBy::Others { is_here: false }, address };
    let error = caller.call(&[named], &identity(1), &two(), Purpose::Peer).await.unwrap_err();
    assert!(error.failed.is_empty() && error.again_in.is_none());
    assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err());
    let error = dial("0.0.0.0:80".parse().unwrap(), &identity(1), two(), Purpose::Peer).await.unwrap_err();
    assert!(matches!(error, NetError::Unreachable { .. }));
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_no_trace() {
    let (silent, mute) = listener().await;
    let caller = Caller::new(Budget::new(1));
    let (candidates, one, two) = ([named(mute)], identity(1), two());
    let call = caller.call(&candidates, &one, &two, Purpose::Peer);
    let called = tokio::select! {
        _ = call => panic!("nobody answers"),
        called = silent.accept() => called.unwrap().0,
    };
    // The other end sees the call end, and the budget too.
    let mut said = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut { called }, &mut said).await;
    let busy =
        || caller.budget().may_begin(mute, NamedBy::User, caller.began.elapsed() + BACK_OFF * 2).is_err();
    while busy() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_host_is_looked_up_and_an_address_is_not() {
    let of = async |text: &str| Candidate::of(&Address::parse(text).unwrap(), NamedBy::User).await;
    assert_eq!(of("192.0.2.1:80").await, [named("192.0.2.1:80".parse().unwrap())]);
    assert_eq!(of("[2001:db8::1]:80").await, [named("[2001:db8::1]:80".parse().unwrap())]);
    let here = of("localhost:80").await;
    assert!(
        !here.is_empty() && here.iter().all(|at| at.address.ip().is_loopback() && at.address.port() == 80)
    );
}

#[test]
fn the_surest_first_and_families_in_turn() {
    let caller = Caller { budget: Arc::new(Mutex::new(Budget::new(1))), began: Instant::now() };
    let at = |named_by, address: &str| Candidate { named_by, address: address.parse().unwrap() };
    let others = NamedBy::Others { is_here: false };
    let candidates = [
        at(others, "192.0.2.9:1"),
        at(NamedBy::User, "192.0.2.1:1"),
        at(NamedBy::User, "192.0.2.2:1"),
        at(NamedBy::User, "[2001:db8::1]:1"),
        at(others, "192.0.2.1:1"),
        at(others, "127.0.0.1:1"),
        at(NamedBy::Lan, "[2001:db8::2]:1"),
    ];
    let ordered: Vec<String> =
        caller.in_order(&candidates).iter().map(|candidate| candidate.address.to_string()).collect();
    let expected = ["[2001:db8::2]:1", "[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.9:1"];
    assert_eq!(ordered, expected);
    let many: Vec<Candidate> = (1..100).map(|port| at(others, &format!("192.0.2.1:{port}"))).collect();
    assert_eq!(caller.in_order(&many).len(), CALLED_TOGETHER_MAX);
}
