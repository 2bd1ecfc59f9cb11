//! Whole histories, against a list of announcements that is searched from one end to the other.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Deed {
    Connect { home: usize },
    Close { caller: usize },
    Announce { caller: usize, topic: u8, name: u16, addresses: Vec<usize>, lease_seconds: u32 },
    Withdraw { caller: usize, topic: u8, name: u16 },
    Watch { caller: usize, topic: u8 },
    Unwatch { caller: usize, topic: u8 },
    Wait { millis: u64 },
    Listen { caller: usize },
}

const HOMES: [&str; 5] = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "127.0.0.1"];

const ADDRESSES: [&str; 9] = [
    "192.0.2.1:1",
    "192.0.2.2:1",
    "192.0.2.2:2",
    "[2001:db8::1]:1",
    "[2001:db8::2]:1",
    "127.0.0.1:1",
    "10.0.0.1:1",
    "[fd00::1]:1",
    "198.51.100.1:1",
];

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let (caller, topic, name) = (0..6_usize, 1..3_u8, 0..4_u16);
    let addresses = proptest::collection::vec(0..ADDRESSES.len(), 0..5);
    let deed = prop_oneof![
        1 => (0..HOMES.len()).prop_map(|home| Deed::Connect { home }),
        1 => caller.clone().prop_map(|caller| Deed::Close { caller }),
        6 => (caller.clone(), topic.clone(), name.clone(), addresses, 1..90_u32).prop_map(
            |(caller, topic, name, addresses, lease_seconds)| {
                Deed::Announce { caller, topic, name, addresses, lease_seconds }
            }
        ),
        2 => (caller.clone(), topic.clone(), name)
            .prop_map(|(caller, topic, name)| Deed::Withdraw { caller, topic, name }),
        3 => (caller.clone(), topic.clone()).prop_map(|(caller, topic)| Deed::Watch { caller, topic }),
        1 => (caller.clone(), topic).prop_map(|(caller, topic)| Deed::Unwatch { caller, topic }),
        3 => (0..20_000_u64).prop_map(|millis| Deed::Wait { millis }),
        3 => caller.prop_map(|caller| Deed::Listen { caller }),
    ];
    proptest::collection::vec(deed, 1..120)
}

/// What was announced, and still stands.
struct Announced {
    topic: Topic,
    name: Pseudonym,
    seen: IpAddr,
    addresses: Vec<SocketAddr>,
    ends: u64,
}

/// What a caller believes.
struct Listener {
    id: CallerId,
    ip: IpAddr,
    watched: BTreeMap<Topic, BTreeMap<Pseudonym, BTreeSet<SocketAddr>>>,
    /// Whom it ever announced itself as.
    own: BTreeSet<(Topic, Pseudonym)>,
}

struct Model {
    world: World,
    announced: Vec<Announced>,
    listeners: Vec<Listener>,
}

fn home_of(ip: IpAddr) -> String {
    if ip.is_ipv6() { "2001:db8::/64".into() } else { ip.to_string() }
}

impl Model {
    /// What somebody at `asker` may know of a topic.
    fn truth(&self, topic: Topic, asker: IpAddr) -> BTreeMap<Pseudonym, BTreeSet<SocketAddr>> {
        let mut truth: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for lease in self.announced.iter().filter(|lease| lease.topic == topic) {
            for address in &lease.addresses {
                let is_near = ["10.0.0.1", "fd00::1", "127.0.0.1"].contains(&&*address.ip().to_string());
                let is_neighbour = home_of(lease.seen) == home_of(asker);
                let is_seen = address.ip() == lease.seen;
                if is_neighbour && (is_near || is_seen) || is_seen && !address.ip().is_loopback() {
                    truth.entry(lease.name).or_default().insert(*address);
                }
            }
        }
        truth
    }

    fn second(&self) -> u64 {
        self.world.now.since_start().as_secs()
    }

    /// Takes in what a caller is told, and checks that it may be.
    fn hear(&mut self, at: usize, message: FromTracker) {
        let listener = &self.listeners[at];
        match message {
            FromTracker::Peers { topic, peers } => {
                let truth = self.truth(topic, listener.ip);
                let known = self.listeners[at].watched.get_mut(&topic).expect("told unasked");
                for (name, addresses) in peers {
                    let addresses: BTreeSet<_> = addresses.into_iter().collect();
                    assert_eq!(truth.get(&name), Some(&addresses));
                    known.insert(name, addresses);
                }
            }
            FromTracker::Left { topic, pseudonyms } => {
                let known = self.listeners[at].watched.get_mut(&topic).expect("told unasked");
                for name in pseudonyms {
                    assert!(known.remove(&name).is_some(), "{name} was never there");
                }
            }
            FromTracker::Leased { .. } => {}
            FromTracker::Refused { .. } => panic!("there is room"),
        }
    }

    fn play(&mut self, deed: Deed) {
        let callers = self.listeners.len();
        match deed {
            Deed::Connect { home } => {
                let ip: IpAddr = HOMES[home].parse().unwrap();
                let id = self.world.connect(HOMES[home]);
                let (watched, own) = (BTreeMap::new(), BTreeSet::new());
                self.listeners.push(Listener { id, ip, watched, own });
            }
            _ if callers == 0 => {}
            Deed::Close { caller } => {
                let listener = self.listeners.remove(caller % callers);
                self.world.swarm.closed(listener.id);
            }
            Deed::Announce { caller, topic: number, name: name_number, addresses, lease_seconds } => {
                let at = caller % callers;
                let (topic, pseudonym) = (topic(number), name(name_number));
                let addresses: Vec<SocketAddr> =
                    addresses.into_iter().map(|at| address(ADDRESSES[at])).collect();
                let seen = self.listeners[at].ip;
                self.announced.retain(|lease| {
                    (lease.topic, lease.name, home_of(lease.seen)) != (topic, pseudonym, home_of(seen))
                });
                let ends = self.second() + u64::from(lease_seconds) + 1;
                let announced =
                    Announced { topic, name: pseudonym, seen, addresses: addresses.clone(), ends };
                self.announced.push(announced);
                self.listeners[at].own.insert((topic, pseudonym));
                let message = ToTracker::Announce { topic, pseudonym, addresses, lease_seconds };
                let id = self.listeners[at].id;
                assert!(matches!(self.world.say(id, message), Some(FromTracker::Leased { .. })));
            }
            Deed::Withdraw { caller, topic: number, name: name_number } => {
                let at = caller % callers;
                let (topic, pseudonym, seen) = (topic(number), name(name_number), self.listeners[at].ip);
                self.announced.retain(|lease| {
                    (lease.topic, lease.name, home_of(lease.seen)) != (topic, pseudonym, home_of(seen))
                });
                let id = self.listeners[at].id;
                assert_eq!(self.world.say(id, ToTracker::Withdraw { topic, pseudonym }), None);
            }
            Deed::Watch { caller, topic: number } => {
                let at = caller % callers;
                self.listeners[at].watched.insert(topic(number), BTreeMap::new());
                let id = self.listeners[at].id;
                let told = self.world.say(id, ToTracker::Watch { topic: topic(number) }).unwrap();
                self.hear(at, told);
            }
            Deed::Unwatch { caller, topic: number } => {
                let at = caller % callers;
                self.listeners[at].watched.remove(&topic(number));
                let id = self.listeners[at].id;
                self.world.say(id, ToTracker::Unwatch { topic: topic(number) });
            }
            Deed::Wait { millis } => self.wait(millis),
            Deed::Listen { caller } => self.listen(caller % callers),
        }
    }

    fn wait(&mut self, millis: u64) {
        self.world.wait(Duration::from_millis(millis));
        let now = self.second();
        self.announced.retain(|lease| lease.ends > now);
    }

    fn listen(&mut self, at: usize) {
        for message in self.world.news(self.listeners[at].id) {
            self.hear(at, message);
        }
    }

    /// After a while everybody who listens knows what is true.
    fn settle(&mut self) {
        let mut ended = None;
        while ended.replace(self.world.swarm.tally().ended) != Some(self.world.swarm.tally().ended) {
            self.wait(31_000);
            (0..self.listeners.len()).for_each(|at| self.listen(at));
        }
        for listener in &self.listeners {
            for (topic, known) in &listener.watched {
                let mut truth = self.truth(*topic, listener.ip);
                let mut known = known.clone();
                for (_, own) in listener.own.iter().filter(|(of, _)| of == topic) {
                    truth.remove(own);
                    known.remove(own);
                }
                assert_eq!(known, truth);
            }
        }
    }
}

proptest! {
    #[test]
    fn everybody_comes_to_know_what_is_true_and_nothing_else(deeds in deeds()) {
        let mut model = Model { world: World::new(), announced: Vec::new(), listeners: Vec::new() };
        for deed in deeds {
            model.play(deed);
            assert_eq!(model.world.swarm.tally().leases, model.announced.len());
        }
        model.settle();
        for listener in model.listeners.drain(..) {
            model.world.swarm.closed(listener.id);
        }
        model.wait(100_000);
        assert!(model.world.is_empty(), "nothing stays behind");
    }

    #[test]
    fn i30_however_little_room_there_is_nothing_is_beyond_it(deeds in deeds()) {
        let world = World::with(|limits| {
            (limits.leases_max, limits.leases_per_address_max) = (4, 3);
            (limits.watches_max, limits.watches_per_address_max) = (3, 2);
            limits.members_per_topic_max = 3;
        });
        let mut world = world;
        let mut callers: Vec<CallerId> = Vec::new();
        for deed in deeds {
            let at = |caller: usize, callers: &[CallerId]| callers.get(caller % callers.len().max(1)).copied();
            match deed {
                Deed::Connect { home } => callers.push(world.connect(HOMES[home])),
                Deed::Close { caller } => {
                    if let Some(id) = at(caller, &callers) {
                        world.swarm.closed(id);
                        callers.retain(|other| *other != id);
                    }
                }
                Deed::Announce { caller, topic: number, name: name_number, lease_seconds, .. } => {
                    let (topic, pseudonym) = (topic(number), name(name_number));
                    if let Some(id) = at(caller, &callers) {
                        let addresses = vec![SocketAddr::new(world.swarm.callers[&id].ip, 1)];
                        world.say(id, ToTracker::Announce { topic, pseudonym, addresses, lease_seconds });
                    }
                }
                Deed::Withdraw { caller, topic: number, name: name_number } => {
                    let (topic, pseudonym) = (topic(number), name(name_number));
                    at(caller, &callers).map(|id| world.say(id, ToTracker::Withdraw { topic, pseudonym }));
                }
                Deed::Watch { caller, topic: number } => {
                    at(caller, &callers).map(|id| world.say(id, ToTracker::Watch { topic: topic(number) }));
                }
                Deed::Unwatch { caller, topic: number } => {
                    at(caller, &callers).map(|id| world.say(id, ToTracker::Unwatch { topic: topic(number) }));
                }
                Deed::Wait { millis } => world.wait(Duration::from_millis(millis)),
                Deed::Listen { caller } => {
                    at(caller, &callers).map(|id| world.news(id));
                }
            }
            let tally = world.swarm.tally();
            prop_assert!(tally.leases <= 4 && tally.watches <= 3, "{:?}", tally);
            let members = |place: &Key| world.swarm.topics.get(*place).unwrap().members.len();
            prop_assert!(world.swarm.by_name.values().all(|place| members(place) <= 3));
        }
        for id in callers {
            world.swarm.closed(id);
        }
        world.wait(Duration::from_secs(200));
        prop_assert!(world.is_empty(), "nothing stays behind");
    }
}
