//! Against trackers that say what a test wants them to say. With a real one: `crates/cli/tests`.

use shoal_net::{Acceptor, Identity, Incoming, NamedBy, Outgoing, Purpose};
use shoal_proto::announce::{FromTracker, ToTracker};
use shoal_proto::frame::{RequestId, write_frame};
use shoal_proto::id::DeviceId;
use shoal_proto::limits::TRACKER_BODY_BYTES_MAX;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn topic(number: u8) -> Topic {
    Topic::from_bytes([number; 32])
}

fn name(number: u8) -> Pseudonym {
    Pseudonym::from_bytes([number; 32])
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn candidates(ports: &[u16]) -> Vec<Candidate> {
    let named_by = NamedBy::Others { is_here: true };
    ports.iter().map(|port| Candidate { named_by, address: at(*port) }).collect()
}

/// A tracker whose other half is the test.
struct Fake {
    listener: TcpListener,
    acceptor: Acceptor,
}

/// One connection to it.
struct Visit {
    device: DeviceId,
    incoming: Incoming,
    outgoing: Outgoing,
}

impl Fake {
    async fn listen() -> (Self, Address) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        (Self { listener, acceptor: Acceptor::new(&Identity::nameless()) }, address)
    }

    async fn visit(&self) -> Visit {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.expect("nobody calls").unwrap();
        let secured = self.acceptor.accept(stream).await.unwrap();
        assert_eq!(secured.purpose, Purpose::Tracker);
        let device = secured.device;
        let (mut incoming, outgoing) = secured.split();
        incoming.allow(TRACKER_BODY_BYTES_MAX);
        Visit { device, incoming, outgoing }
    }
}

impl Visit {
    /// What the peer says next; `None` once it has hung up.
    async fn hear(&mut self) -> Option<(ToTracker, RequestId)> {
        let frame = timeout(PATIENCE, self.incoming.next()).await.expect("it says nothing").unwrap()?;
        Some((ToTracker::read(&frame).unwrap().unwrap(), frame.request))
    }

    fn say(&self, message: &FromTracker, request: RequestId) {
        let mut bytes = Vec::new();
        message.write(&mut bytes, request).unwrap();
        self.outgoing.push(bytes);
    }

    /// Lets the peer announce itself and watch, and answers; the request of the watch, and what was announced.
    async fn welcome(&mut self) -> (RequestId, Vec<SocketAddr>) {
        let Some((ToTracker::Announce { topic, addresses, .. }, request)) = self.hear().await else {
            panic!("no announcement")
        };
        self.say(&FromTracker::Leased { topic, lease_seconds: 600, seen: at(40_000) }, request);
        let Some((ToTracker::Watch { topic: watched }, request)) = self.hear().await else {
            panic!("no watch")
        };
        assert_eq!(watched, topic);
        (request, addresses)
    }
}

/// A peer called `name(1)` under `topic(1)` that listens at port 5000, and what it finds.
fn peer(trackers: &[&Address]) -> (Trackers, Wishes, UnboundedReceiver<Found>) {
    let interest = Interest { pseudonym: name(1), is_announced: true };
    let wishes = Wishes {
        trackers: trackers.iter().map(|address| (*address).clone()).collect(),
        topics: [(topic(1), interest)].into(),
        addresses: vec![at(5000)],
        port: 5000,
    };
    let (sender, found) = unbounded_channel();
    let trackers = Trackers::start(wishes.clone(), move |found| drop(sender.send(found)));
    (trackers, wishes, found)
}

fn peers(number: u8, told: &[(u8, u16)]) -> FromTracker {
    let told = told.iter().map(|(who, port)| (name(*who), vec![at(*port)]));
    FromTracker::Peers { topic: topic(number), peers: told.collect() }
}

async fn next(found: &mut UnboundedReceiver<Found>) -> (Pseudonym, Vec<Candidate>) {
    let found = timeout(PATIENCE, found.recv()).await.expect("nothing is found").unwrap();
    assert_eq!(found.topic, topic(1));
    (found.pseudonym, found.addresses)
}

#[tokio::test]
async fn it_announces_and_watches_and_tells_what_it_is_told() {
    let (fake, address) = Fake::listen().await;
    let (trackers, _, mut found) = peer(&[&address]);
    let mut visit = fake.visit().await;
    let (request, announced) = visit.welcome().await;
    assert_eq!(announced, [at(5000)]);
    visit.say(&peers(1, &[(1, 5000), (2, 5002), (3, 5003)]), request);
    assert_eq!(next(&mut found).await, (name(2), candidates(&[5002])), "and nothing of itself");
    assert_eq!(next(&mut found).await, (name(3), candidates(&[5003])));
    assert_eq!(trackers.states()[0].connected.map(|at| at.to_string()).as_deref(), Some(address.as_str()));
    visit.say(&peers(1, &[(2, 5012)]), RequestId::NONE);
    assert_eq!(next(&mut found).await, (name(2), candidates(&[5012])));
    let pseudonyms = vec![name(3), name(9)];
    visit.say(&FromTracker::Left { topic: topic(1), pseudonyms }, RequestId::NONE);
    assert_eq!(next(&mut found).await, (name(3), vec![]));

    let leaving = tokio::spawn(trackers.leave());
    let withdrawn = ToTracker::Withdraw { topic: topic(1), pseudonym: name(1) };
    assert_eq!(visit.hear().await.map(|(said, _)| said), Some(withdrawn));
    assert_eq!(visit.hear().await.map(|(said, _)| said), Some(ToTracker::Unwatch { topic: topic(1) }));
    assert_eq!(visit.hear().await, None);
    drop(visit);
    leaving.await.unwrap();
}

#[tokio::test]
async fn i24_a_tracker_that_goes_takes_nothing_along_and_is_called_again_under_another_key() {
    let (fake, address) = Fake::listen().await;
    let (trackers, _, mut found) = peer(&[&address]);
    let mut visit = fake.visit().await;
    let (request, _) = visit.welcome().await;
    visit.say(&peers(1, &[(2, 5002), (3, 5003)]), request);
    next(&mut found).await;
    next(&mut found).await;
    let before = visit.device;
    drop(visit);
    let mut visit = fake.visit().await;
    assert_ne!(visit.device, before, "a key says nothing about its last visit");
    let (request, _) = visit.welcome().await;
    assert!(found.try_recv().is_err(), "what was known stands");
    visit.say(&peers(1, &[(2, 5002)]), request);
    assert_eq!(next(&mut found).await, (name(3), vec![]), "until it is told otherwise");
    drop(trackers);
    assert!(!matches!(visit.incoming.next().await, Ok(Some(_))), "dropped, it hangs up");
}

#[tokio::test]
async fn t3_a_tracker_that_lies_is_hung_up_on_and_what_is_nonsense_passed_over() {
    let (fake, address) = Fake::listen().await;
    let (trackers, _, mut found) = peer(&[&address]);
    let framed = |kind, body: &[u8]| {
        let mut out = Vec::new();
        write_frame(&mut out, kind, RequestId::NONE, &[body]).unwrap();
        out
    };
    let mut visit = fake.visit().await;
    let (request, _) = visit.welcome().await;
    // Topics that nobody asked about, what nobody asked for, what a later version says.
    visit.say(&peers(9, &[(2, 5002)]), request);
    visit.say(&FromTracker::Left { topic: topic(9), pseudonyms: vec![name(2)] }, request);
    visit.say(&FromTracker::Leased { topic: topic(9), lease_seconds: 1, seen: at(1) }, RequestId::NONE);
    visit.outgoing.push(framed(0x90, b"from later"));
    visit.say(&peers(1, &[(2, 5002)]), request);
    assert_eq!(next(&mut found).await.0, name(2));
    // Garbage, and more than anybody has to say.
    visit.outgoing.push(framed(0x52, &[0xff; 40]));
    assert!(!matches!(visit.incoming.next().await, Ok(Some(_))));
    let mut visit = fake.visit().await;
    let (request, _) = visit.welcome().await;
    let mut flood = Vec::new();
    for number in 0..2_000 {
        peers(1, &[(2, 6000 + number % 2)]).write(&mut flood, request).unwrap();
    }
    visit.outgoing.push(flood);
    while let Ok(Some(_)) = visit.incoming.next().await {}
    let told = std::iter::from_fn(|| found.try_recv().ok()).count();
    assert!((1000..1010).contains(&told), "{told} of 2,000 changes were taken");
    let problem = || trackers.states()[0].problem.clone();
    while problem().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(problem().as_deref(), Some("it says too much"));
}

#[tokio::test]
async fn wishes_change_and_who_asks_nothing_calls_nobody() {
    let ((one, first), (two, second)) = (Fake::listen().await, Fake::listen().await);
    let (trackers, wishes, mut found) = peer(&[&first, &second]);
    let (mut visit, mut other) = (one.visit().await, two.visit().await);
    let requests = [visit.welcome().await.0, other.welcome().await.0];
    visit.say(&peers(1, &[(2, 5002)]), requests[0]);
    assert_eq!(next(&mut found).await, (name(2), candidates(&[5002])));
    other.say(&peers(1, &[(2, 5002), (3, 5003)]), requests[1]);
    assert_eq!(next(&mut found).await, (name(3), candidates(&[5003])), "what two say is told once");

    // A topic more, under an older secret, and another address.
    let mut more = wishes.clone();
    more.topics.insert(topic(2), Interest { pseudonym: name(7), is_announced: false });
    more.addresses.push(at(5001));
    trackers.wish(more.clone());
    for visit in [&mut visit, &mut other] {
        let Some((ToTracker::Announce { addresses, .. }, _)) = visit.hear().await else {
            panic!("not announced")
        };
        assert_eq!(addresses, [at(5000), at(5001)]);
        assert_eq!(visit.hear().await.map(|(said, _)| said), Some(ToTracker::Watch { topic: topic(2) }));
    }

    // One tracker less: it hears a goodbye, and what it alone told is gone.
    more.trackers.remove(&second);
    trackers.wish(more.clone());
    let said: Vec<_> =
        [other.hear().await, other.hear().await, other.hear().await].into_iter().flatten().collect();
    assert!(matches!(said[0].0, ToTracker::Withdraw { .. }) && said.len() == 3, "{said:?}");
    assert_eq!(other.hear().await, None);
    drop(other);
    assert_eq!(next(&mut found).await, (name(3), vec![]));

    // Nothing to ask: it hangs up, and does not call until there is.
    trackers.wish(Wishes { topics: BTreeMap::new(), ..more.clone() });
    while visit.hear().await.is_some() {}
    drop(visit);
    trackers.wish(more);
    one.visit().await;
}
