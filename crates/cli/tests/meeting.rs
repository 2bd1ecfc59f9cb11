//! A real tracker and the client of real peers, in one process over loopback.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use shoal_daemon::native::trackers::{Found, Interest, Trackers, Wishes};
use shoal_proto::id::DeviceId;
use shoal_proto::invite::Address;
use shoal_proto::secret::{Pseudonym, ShareSecret};
use shoal_tracker::{Options, Rendezvous, Tracker};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

/// A tracker at work, until it is stopped.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(address: SocketAddr) -> Self {
        let tracker = Tracker::bind(address, Options::default()).unwrap();
        let address = tracker.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = spawn_local(async move { tracker.run(async { drop(stopped.await) }).await.unwrap() });
        Self { address, stop, ended }
    }

    async fn stop(self) -> SocketAddr {
        drop(self.stop);
        self.ended.await.unwrap();
        self.address
    }
}

/// A device of one share, at a port of its own.
struct Peer {
    trackers: Trackers,
    name: Pseudonym,
    address: SocketAddr,
    found: UnboundedReceiver<Found>,
}

impl Peer {
    fn start(number: u8, asked: &[SocketAddr]) -> Self {
        let secret = ShareSecret::from_bytes([9; 32]);
        let name = secret.pseudonym(&DeviceId::from_bytes([number; 32]));
        let address = SocketAddr::from(([127, 0, 0, 1], 5000 + u16::from(number)));
        let wishes = Wishes {
            trackers: asked.iter().map(|at| Address::parse(&at.to_string()).unwrap()).collect(),
            topics: [(secret.topic(), Interest { pseudonym: name, is_announced: true })].into(),
            addresses: vec![],
            port: address.port(),
        };
        let (sender, found) = unbounded_channel();
        let trackers = Trackers::start(wishes, move |found| drop(sender.send(found)));
        Self { trackers, name, address, found }
    }

    /// Waits until it knows where another is, or that nobody knows any more.
    async fn finds(&mut self, other: &Self, is_there: bool) {
        loop {
            let found = timeout(PATIENCE, self.found.recv()).await.expect("not found").unwrap();
            let addresses: Vec<_> = found.addresses.iter().map(|candidate| candidate.address).collect();
            if found.pseudonym == other.name && addresses.is_empty() != is_there {
                assert!(!is_there || addresses == [other.address], "{addresses:?}");
                return;
            }
        }
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[tokio::test]
async fn two_peers_find_each_other_and_again_after_the_tracker_was_started_anew() {
    LocalSet::new()
        .run_until(async {
            let tracker = Running::start(anywhere());
            let asked = [tracker.address];
            let (mut ana, began) = (Peer::start(1, &asked), Instant::now());
            let mut ben = Peer::start(2, &asked);
            // Each learns from the tracker where it is seen, and is known there.
            ana.finds(&ben, true).await;
            ben.finds(&ana, true).await;
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

            let address = tracker.stop().await;
            let _tracker = Running::start(address);
            let mut cleo = Peer::start(3, &asked);
            let mut found = BTreeSet::new();
            while found.len() < 2 {
                found.insert(timeout(PATIENCE, cleo.found.recv()).await.unwrap().unwrap().pseudonym);
            }
            assert_eq!(found, [ana.name, ben.name].into(), "they have come back by themselves");
            ana.finds(&cleo, true).await;
            let name = ben.name;
            ben.trackers.leave().await;
            let found = timeout(PATIENCE, ana.found.recv()).await.unwrap().unwrap();
            assert_eq!((found.pseudonym, found.addresses.len()), (name, 0), "who leaves says so");
        })
        .await;
}

#[tokio::test]
async fn i24_several_trackers_are_as_good_as_the_best_of_them() {
    LocalSet::new()
        .run_until(async {
            let (first, second) = (Running::start(anywhere()), Running::start(anywhere()));
            let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
            let mut ana = Peer::start(1, &[first.address, nobody]);
            let mut ben = Peer::start(2, &[nobody, first.address, second.address]);
            let mut cleo = Peer::start(3, &[second.address]);
            ana.finds(&ben, true).await;
            ben.finds(&cleo, true).await;
            cleo.finds(&ben, true).await;
            first.stop().await;
            ben.trackers.leave().await;
            assert_eq!(cleo.found.recv().await.map(|found| found.addresses.len()), Some(0));
            assert!(ana.found.try_recv().is_err(), "what a tracker told that is gone stands for a while");
            let problem = ana.trackers.states().into_iter().find_map(|state| state.problem);
            assert!(problem.is_some_and(|problem| problem.starts_with("cannot connect to")));
        })
        .await;
}

/// A daemon that is a tracker beside: whoever accepted a connection for both purposes hands it over.
#[tokio::test]
async fn a_rendezvous_serves_connections_that_another_has_accepted() {
    let listener = tokio::net::TcpListener::bind(anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let rendezvous = Rendezvous::open(Options::default().swarm());
    let acceptor = shoal_net::Acceptor::new(&shoal_net::Identity::nameless());
    let hall = rendezvous.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            hall.take(acceptor.accept(stream).await.unwrap());
        }
    });
    let (mut ana, mut ben) = (Peer::start(1, &[address]), Peer::start(2, &[address]));
    ana.finds(&ben, true).await;
    ben.finds(&ana, true).await;
    assert_eq!((rendezvous.tally().callers, rendezvous.tally().leases), (2, 2));
}
