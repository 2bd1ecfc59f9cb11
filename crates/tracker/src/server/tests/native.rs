//! Native peers on the same port: they meet, and nothing hostile disturbs them or the classic ones.

use shoal_net::tls::secure;
use shoal_net::{Expected, Identity, Incoming, NetError, Outgoing, Purpose, dial};
use shoal_proto::announce::{FromTracker, ToTracker};
use shoal_proto::frame::{RequestId, write_frame};
use shoal_proto::limits::TRACKER_BODY_BYTES_MAX;
use shoal_proto::secret::{Pseudonym, Topic};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use super::*;
use crate::limits::{HANDSHAKES_PER_ADDRESS_MAX, PUSH_PAUSE_MIN};

fn topic(number: u8) -> Topic {
    Topic::from_bytes([number; 32])
}

fn name(number: u16) -> Pseudonym {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Pseudonym::from_bytes(bytes)
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn announce(number: u8, who: u16, lease_seconds: u32) -> ToTracker {
    let addresses = vec![at(1000 + who)];
    ToTracker::Announce { topic: topic(number), pseudonym: name(who), addresses, lease_seconds }
}

fn encoded(message: &ToTracker) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes, RequestId(9)).unwrap();
    bytes
}

/// A native peer, as far as a tracker sees one.
struct Native {
    incoming: Incoming,
    outgoing: Outgoing,
}

impl Native {
    async fn connect(site: Site) -> Self {
        Self::connect_from(site, [127, 0, 0, 1]).await
    }

    /// From another address of this machine, which counts as another household.
    async fn connect_from(site: Site, ip: [u8; 4]) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((ip, 0))).unwrap();
        let stream = socket.connect(site.peers).await.unwrap();
        let identity = Identity::nameless();
        let secured =
            secure(stream, site.peers, &identity, Expected::Anyone, Purpose::Tracker).await.unwrap();
        let (mut incoming, outgoing) = secured.split();
        incoming.allow(TRACKER_BODY_BYTES_MAX);
        Self { incoming, outgoing }
    }

    fn say(&self, message: &ToTracker) {
        self.outgoing.push(encoded(message));
    }

    async fn hear(&mut self) -> FromTracker {
        let frame = self.incoming.next().await.unwrap().expect("closed instead of an answer");
        FromTracker::read(&frame).unwrap().unwrap()
    }

    async fn ask(&mut self, message: &ToTracker) -> FromTracker {
        self.say(message);
        self.hear().await
    }

    /// Announces itself, and tells whom it is told of.
    async fn join(site: Site, number: u8, who: u16) -> (Self, Vec<Pseudonym>) {
        let native = Self::connect(site).await;
        native.introduce(number, who).await
    }

    async fn introduce(mut self, number: u8, who: u16) -> (Self, Vec<Pseudonym>) {
        let native = &mut self;
        let leased = native.ask(&announce(number, who, 600)).await;
        assert!(
            matches!(leased, FromTracker::Leased { lease_seconds: 600, seen, .. } if seen.ip().is_loopback())
        );
        let FromTracker::Peers { peers, .. } = native.ask(&ToTracker::Watch { topic: topic(number) }).await
        else {
            panic!("no list");
        };
        (self, peers.into_iter().map(|(name, _)| name).collect())
    }

    /// Waits until the tracker closes.
    async fn closed(&mut self) {
        while let Ok(Some(_)) = self.incoming.next().await {}
    }
}

fn peers(number: u8, who: u16) -> FromTracker {
    FromTracker::Peers { topic: topic(number), peers: vec![(name(who), vec![at(1000 + who)])] }
}

#[tokio::test]
async fn both_generations_meet_on_one_port() {
    beside(Options::default(), async |site| {
        let mut classic = Client::join(site.peers, &(initial(8001, "a", 1) + "\n")).await;
        let (mut ana, none) = Native::join(site, 1, 1).await;
        let (_ben, found) = Native::join(site, 1, 2).await;
        assert_eq!((none, found), (vec![], vec![name(1)]));
        assert_eq!(ana.hear().await, peers(1, 2), "what is new comes by itself");
        assert_eq!(classic.told("{\"port\": 8001}\n").await, ["a 1@8001"]);
        for (metric_name, figure) in
            [("connections", 3), ("native_connections", 2), ("native_leases", 2), ("peers", 1)]
        {
            assert_eq!(metric(site, metric_name).await, figure, "{metric_name}");
        }
        assert_eq!(metric(site, "native_pushed_total").await, 1);
        assert!(
            get(site, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.contains("Native announcements</th><td>2<")
        );
        drop(ana);
        reaches(site, "native_connections", 1).await;
        reaches(site, "connections", 2).await;
        assert_eq!(metric(site, "native_leases").await, 2, "the lease is still there");
    })
    .await;
}

#[tokio::test]
async fn a_lease_ends_and_watchers_hear_of_it() {
    beside(Options::default(), async |site| {
        let (mut ana, _) = Native::join(site, 1, 1).await;
        let mut ben = Native::connect(site).await;
        ben.ask(&announce(1, 2, 1)).await;
        drop(ben);
        assert_eq!(ana.hear().await, peers(1, 2));
        let left = FromTracker::Left { topic: topic(1), pseudonyms: vec![name(2)] };
        assert_eq!(ana.hear().await, left);
        assert_eq!(metric(site, "native_ended_total").await, 1);
    })
    .await;
}

#[tokio::test]
async fn t6_who_proves_nothing_is_refused_alike_and_costs_a_bounded_number_of_handshakes() {
    beside(Options::default(), async |site| {
        for garbage in
            [&b"\x16\x03\x01\x00\x05hello"[..], b"\x16\x16\x16\x16\x16\x16", b"\x16\x03\x01\xff\xff"]
        {
            let mut stranger = Client::connect(site.peers).await;
            stranger.say(garbage).await;
            stranger.closed().await;
        }
        assert_eq!(metric(site, "refusals_total{reason=\"handshake\"}").await, 3);
        let mut half_open = Vec::new();
        for _ in 0..HANDSHAKES_PER_ADDRESS_MAX {
            let mut stranger = Client::connect(site.peers).await;
            stranger.say(b"\x16\x03").await;
            half_open.push(stranger);
        }
        let mut surplus = Client::connect(site.peers).await;
        surplus.say(b"\x16\x03").await;
        surplus.closed().await;
        assert_eq!(metric(site, "refusals_total{reason=\"handshake\"}").await, 4);
        Client::join(site.peers, &(initial(8001, "a", 1) + "\n")).await;
        drop(half_open);
        reaches(site, "connections", 0).await;
        Native::join(site, 1, 1).await;
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_wants_no_tracker_is_refused() {
    beside(Options::default(), async |site| {
        let secured = dial(site.peers, &Identity::nameless(), Expected::Anyone, Purpose::Peer).await;
        match secured {
            // The tracker's end of the handshake is over later than ours.
            Ok(secured) => {
                let (mut incoming, _outgoing) = secured.split();
                assert!(!matches!(incoming.next().await, Ok(Some(_))));
            }
            Err(error) => assert!(!matches!(error, NetError::Slow { .. }), "{error}"),
        }
        reaches(site, "refusals_total{reason=\"purpose\"}", 1).await;
    })
    .await;
}

#[tokio::test]
async fn d1_d2_d4_hostile_frames_end_their_own_connection_only() {
    beside(Options::default(), async |site| {
        let (mut honest, _) = Native::join(site, 1, 1).await;
        let whole = encoded(&announce(1, 2, 600));
        let framed = |kind, body: &[u8]| {
            let mut out = Vec::new();
            write_frame(&mut out, kind, RequestId(1), &[body]).unwrap();
            out
        };
        let mut nobodys = encoded(&announce(1, 2, 600));
        let ip = nobodys.windows(4).position(|part| part == [127, 0, 0, 1]).unwrap();
        nobodys[ip..ip + 4].copy_from_slice(&[224, 0, 0, 1]);
        let hostile = [
            vec![0, 0, 0, 0],
            vec![0, 0, 0, 4],
            vec![0xff; 4],
            vec![0x7f, 0xff, 0xff, 0xff, 0x41],
            u32::try_from(TRACKER_BODY_BYTES_MAX + 6).unwrap().to_be_bytes().to_vec(),
            framed(0x41, b""),
            framed(0x43, &[1; 31]),
            framed(0x43, &[1; 33]),
            framed(0x51, &[0; 40]),
            framed(0x01, b"a message between peers"),
            [&whole[..whole.len() - 1], &[0xff]].concat(),
            nobodys,
        ];
        let count = hostile.len() as u64;
        for bytes in hostile {
            let mut hostile = Native::connect(site).await;
            hostile.outgoing.push(bytes);
            hostile.closed().await;
            let watched = honest.ask(&ToTracker::Watch { topic: topic(1) }).await;
            assert_eq!(watched, FromTracker::Peers { topic: topic(1), peers: vec![] });
        }
        assert_eq!(metric(site, "refusals_total{reason=\"malformed\"}").await, count);

        // Cut at every byte, and then gone: nothing is taken of it, and nobody minds.
        for cut in [1, 4, 5, 9, 40, whole.len() - 1] {
            let cut_off = Native::connect(site).await;
            cut_off.outgoing.push(whole[..cut].to_vec());
            cut_off.outgoing.close();
        }
        reaches(site, "native_connections", 1).await;
        assert_eq!(metric(site, "native_leases").await, 1);
        // What only newer versions say is passed over; a byte at a time is as good as all at once.
        let mut slow = Native::connect(site).await;
        slow.outgoing.push(framed(0x80, b"from later"));
        for byte in &whole {
            slow.outgoing.push(vec![*byte]);
            tokio::task::yield_now().await;
        }
        assert!(matches!(slow.hear().await, FromTracker::Leased { .. }));
    })
    .await;
}

#[tokio::test]
async fn t5_beside_a_flood_two_honest_peers_find_each_other_within_a_second() {
    let options = Options { leases_max: 2_000, ..Options::default() };
    beside(options, async |site| {
        let mut flood = JoinSet::new();
        for flooder in 0..8_u8 {
            flood.spawn(async move {
                let mut native = Native::connect(site).await;
                for who in 0.. {
                    native.outgoing.push(encoded(&announce(100 + flooder, who, 86_400)));
                    // It reads what it is told, or it would be held up sooner.
                    native.hear().await;
                }
            });
        }
        reaches(site, "native_leases", 2_000).await;
        let began = Instant::now();
        let (mut ana, _) = Native::connect_from(site, [127, 0, 0, 2]).await.introduce(1, 1).await;
        let (_ben, found) = Native::connect_from(site, [127, 0, 0, 2]).await.introduce(1, 2).await;
        assert_eq!((found, ana.hear().await), (vec![name(1)], peers(1, 2)));
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        flood.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn t5_who_says_too_much_is_slowed_down_and_others_are_not() {
    beside(Options::default(), async |site| {
        let mut flood = JoinSet::new();
        for flooder in 0..2_u8 {
            flood.spawn(async move {
                let mut native = Native::connect(site).await;
                loop {
                    native.outgoing.push(encoded(&announce(100 + flooder, 1, 86_400)).repeat(50));
                    for _ in 0..50 {
                        native.hear().await;
                    }
                }
            });
        }
        while metric(site, "native_refusals_total{reason=\"too_often\"}").await == 0 {
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        let (mut ana, _) = Native::join(site, 1, 1).await;
        let (_ben, found) = Native::join(site, 1, 2).await;
        assert_eq!((found, ana.hear().await), (vec![name(1)], peers(1, 2)));
        assert!(began.elapsed() < Duration::from_secs(1) + PUSH_PAUSE_MIN, "{:?}", began.elapsed());
        flood.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn i30_who_does_not_listen_is_not_read_and_hears_all_later() {
    const ASKED: usize = 3_000;
    beside(Options::default(), async |site| {
        let mut crowd = Native::connect(site).await;
        for who in 0..50 {
            crowd.ask(&announce(1, who, 600)).await;
        }
        let mut deaf = Native::connect(site).await;
        deaf.outgoing.push(encoded(&ToTracker::Watch { topic: topic(1) }).repeat(ASKED));
        deaf.say(&announce(2, 60, 600));
        // Meanwhile others are served; what it asked for last has not been read.
        for who in 0..500 {
            crowd.ask(&announce(3, who, 600)).await;
        }
        assert_eq!(metric(site, "native_leases").await, 550);
        let mut lists = 0;
        while let FromTracker::Peers { peers, .. } = deaf.hear().await {
            lists += usize::from(peers.len() == 50);
        }
        assert_eq!(lists, ASKED);
        assert_eq!(metric(site, "native_leases").await, 551);
    })
    .await;
}
