//! The rules one by one, and all together against a plain list.

mod model;

use std::collections::BTreeSet;

use super::*;
use crate::limits::{GUEST_LEASES_MAX, LEASES_PER_ADDRESS_MAX, PUSH_PAUSE_MAX, PUSH_PAUSE_MIN, PUSH_QUIET};

/// A swarm with a clock that tests turn.
struct World {
    swarm: Swarm,
    now: Time,
}

fn topic(number: u8) -> Topic {
    Topic::from_bytes([number; 32])
}

fn name(number: u16) -> Pseudonym {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Pseudonym::from_bytes(bytes)
}

fn ip(number: u16) -> String {
    let [high, low] = number.to_be_bytes();
    format!("192.0.{high}.{low}")
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut SwarmLimits)) -> Self {
        let mut limits = SwarmLimits::default();
        change(&mut limits);
        Self { swarm: Swarm::new(limits, 1), now: Time::START }
    }

    /// Time passes, and the swarm is woken as it asks for.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.swarm.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.swarm.tick(self.now);
        }
        self.now = end;
    }

    fn connect(&mut self, ip: &str) -> CallerId {
        self.swarm.connected(SocketAddr::new(ip.parse().unwrap(), 40_000), self.now).unwrap()
    }

    fn say(&mut self, caller: CallerId, message: ToTracker) -> Option<FromTracker> {
        self.swarm.handle(caller, message, self.now).message
    }

    /// Announces with the address that it is seen at, for ten minutes.
    fn announce(&mut self, caller: CallerId, topic: Topic, number: u16) -> Option<FromTracker> {
        let addresses = vec![SocketAddr::new(self.swarm.callers[&caller].ip, 8000)];
        self.say(
            caller,
            ToTracker::Announce { topic, pseudonym: name(number), addresses, lease_seconds: 600 },
        )
    }

    /// Somebody at an address of its own who announces.
    fn join(&mut self, topic: Topic, number: u16) -> CallerId {
        let caller = self.connect(&ip(number));
        assert!(matches!(self.announce(caller, topic, number), Some(FromTracker::Leased { .. })));
        caller
    }

    /// Whom it is told of at once.
    fn watch(&mut self, caller: CallerId, topic: Topic) -> Vec<Pseudonym> {
        match self.say(caller, ToTracker::Watch { topic }) {
            Some(FromTracker::Peers { peers, .. }) => peers.into_iter().map(|(name, _)| name).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn news(&mut self, caller: CallerId) -> Vec<FromTracker> {
        std::iter::from_fn(|| self.swarm.news(caller, self.now)).flatten().collect()
    }

    fn is_empty(&self) -> bool {
        let swarm = &self.swarm;
        swarm.by_name.is_empty()
            && swarm.filed.is_empty()
            && swarm.due.is_empty()
            && [swarm.topics.len(), swarm.guests.len(), swarm.leases.len(), swarm.watches.len()] == [0; 4]
    }
}

fn peers(topic: Topic, numbers: &[u16]) -> FromTracker {
    let peer = |number: &u16| (name(*number), vec![SocketAddr::new(ip(*number).parse().unwrap(), 8000)]);
    FromTracker::Peers { topic, peers: numbers.iter().map(peer).collect() }
}

#[test]
fn two_find_each_other_and_hear_of_changes() {
    let mut world = World::new();
    let ana = world.connect("192.0.0.1");
    let seen = address("192.0.0.1:40000");
    let leased = FromTracker::Leased { topic: topic(1), lease_seconds: 600, seen };
    assert_eq!(world.announce(ana, topic(1), 1), Some(leased));
    assert_eq!(world.watch(ana, topic(1)), [], "nobody is told of itself");
    let ben = world.join(topic(1), 2);
    assert_eq!(world.watch(ben, topic(1)), [name(1)]);
    assert_eq!(world.news(ana), [], "many changes are told together");
    assert_eq!(world.swarm.poll_timeout(), Some(world.now + PUSH_PAUSE_MIN));
    world.wait(PUSH_PAUSE_MIN);
    assert_eq!(world.swarm.poll_wake(), Some(ana));
    assert_eq!(world.news(ana), [peers(topic(1), &[2])]);

    world.say(ben, ToTracker::Withdraw { topic: topic(1), pseudonym: name(2) });
    world.wait(PUSH_PAUSE_MAX);
    assert_eq!(world.news(ana), [FromTracker::Left { topic: topic(1), pseudonyms: vec![name(2)] }]);
    world.say(ana, ToTracker::Unwatch { topic: topic(1) });
    world.announce(ben, topic(1), 2);
    world.wait(PUSH_PAUSE_MAX);
    assert_eq!((world.news(ana), world.news(ben)), (vec![], vec![]));
}

#[test]
fn who_only_announces_may_hang_up_until_the_lease_ends() {
    let mut world = World::new();
    let ana = world.join(topic(1), 1);
    world.swarm.closed(ana);
    world.wait(Duration::from_secs(600));
    let ben = world.connect("192.0.0.2");
    assert_eq!(world.watch(ben, topic(1)), [name(1)]);
    world.wait(Duration::from_secs(1));
    assert_eq!(world.swarm.tally().ended, 1);
    world.wait(PUSH_PAUSE_MIN);
    assert_eq!(world.news(ben), [FromTracker::Left { topic: topic(1), pseudonyms: vec![name(1)] }]);
    world.swarm.closed(ben);
    assert!(world.is_empty());
}

#[test]
fn a_renewal_tells_nobody_anything_and_a_move_tells_the_new_address() {
    let mut world = World::new();
    let (ana, ben) = (world.join(topic(1), 1), world.connect("192.0.0.2"));
    world.watch(ben, topic(1));
    for _ in 0..3 {
        world.wait(Duration::from_secs(400));
        world.announce(ana, topic(1), 1);
    }
    assert_eq!(world.news(ben), []);
    let moved = address("192.0.0.1:9000");
    let announce = ToTracker::Announce {
        topic: topic(1),
        pseudonym: name(1),
        addresses: vec![moved],
        lease_seconds: 600,
    };
    world.say(ana, announce);
    world.wait(PUSH_PAUSE_MIN);
    assert_eq!(
        world.news(ben),
        [FromTracker::Peers { topic: topic(1), peers: vec![(name(1), vec![moved])] }]
    );
}

#[test]
fn t5_nobody_displaces_or_withdraws_what_another_household_announced() {
    let mut world = World::new();
    world.join(topic(1), 1);
    let thief = world.connect("192.0.0.66");
    world.announce(thief, topic(1), 1);
    world.say(thief, ToTracker::Withdraw { topic: topic(1), pseudonym: name(1) });
    let asker = world.connect("192.0.0.3");
    assert_eq!(world.say(asker, ToTracker::Watch { topic: topic(1) }), Some(peers(topic(1), &[1])));
    // A device of two families, or one that has moved, is told with all its addresses.
    world.announce(thief, topic(1), 1);
    let both = vec![address("192.0.0.66:8000"), address("192.0.0.1:8000")];
    let told = FromTracker::Peers { topic: topic(1), peers: vec![(name(1), both)] };
    assert_eq!(world.say(asker, ToTracker::Watch { topic: topic(1) }), Some(told));
}

#[test]
fn t5_a_peer_has_a_few_leases_and_the_first_to_end_gives_way() {
    let mut world = World::new();
    for home in 1..=6 {
        world.wait(Duration::from_secs(1));
        let caller = world.connect(&ip(home));
        world.announce(caller, topic(1), 1);
    }
    assert_eq!(world.swarm.tally().leases, GUEST_LEASES_MAX);
    let asker = world.connect("192.0.1.1");
    let Some(FromTracker::Peers { peers, .. }) = world.say(asker, ToTracker::Watch { topic: topic(1) })
    else {
        panic!("refused");
    };
    let homes: Vec<String> = peers[0].1.iter().map(|address| address.ip().to_string()).collect();
    assert_eq!(homes, [6, 5, 4, 3].map(ip));
}

#[test]
fn one_that_comes_and_goes_tells_little() {
    let mut world = World::new();
    let (ana, ben) = (world.connect("192.0.0.1"), world.connect("192.0.0.2"));
    world.watch(ben, topic(1));
    let mut told = 0;
    for second in 0..600 {
        if second % 2 == 0 {
            world.announce(ana, topic(1), 1);
        } else {
            world.say(ana, ToTracker::Withdraw { topic: topic(1), pseudonym: name(1) });
        }
        world.wait(Duration::from_secs(1));
        told += world.news(ben).len();
    }
    assert!((5..=30).contains(&told), "{told} messages about 600 changes");
    world.wait(PUSH_PAUSE_MAX + PUSH_QUIET);
    world.news(ben);
    world.announce(ana, topic(1), 1);
    world.wait(PUSH_PAUSE_MIN);
    assert_eq!(world.news(ben).len(), 1, "after a quiet time it is told promptly");
}

#[test]
fn a_thousand_that_join_one_topic_cost_a_few_messages_each() {
    let mut world = World::new();
    let mut callers = Vec::new();
    let (mut messages, mut most, mut known) = (0, 0, vec![BTreeSet::new(); 1000]);
    for number in 0..1000 {
        let caller = world.join(topic(1), number);
        known[usize::from(number)].extend(world.watch(caller, topic(1)));
        callers.push(caller);
        world.wait(Duration::from_millis(50));
        while let Some(id) = world.swarm.poll_wake() {
            let at = callers.iter().position(|caller| *caller == id).unwrap();
            for told in world.news(id) {
                let FromTracker::Peers { peers, .. } = told else { panic!("nobody left: {told:?}") };
                messages += 1;
                most = most.max(peers.len());
                known[at].extend(peers.into_iter().map(|(name, _)| name));
            }
        }
    }
    assert!(messages < 1000, "{messages} messages for 1,000 newcomers");
    assert!(most <= 50 && known.iter().all(|known| known.len() <= 50));
    let all: BTreeSet<_> = known.iter().flatten().collect();
    assert!(all.len() > 950, "{} are known to somebody; the others know somebody", all.len());
}

#[test]
fn room_in_a_view_is_filled_again() {
    let mut world = World::new();
    let members: Vec<_> = (0..60).map(|number| world.join(topic(1), number)).collect();
    let asker = world.connect("192.0.1.1");
    let mut known: BTreeSet<_> = world.watch(asker, topic(1)).into_iter().collect();
    assert_eq!(known.len(), 50);
    for number in 0..60_u16 {
        if known.contains(&name(number)) && number % 3 == 0 {
            world.say(
                members[usize::from(number)],
                ToTracker::Withdraw { topic: topic(1), pseudonym: name(number) },
            );
        }
    }
    let left = 60 - world.swarm.tally().leases;
    assert!(left > 10);
    world.wait(PUSH_PAUSE_MIN);
    let messages = world.news(asker);
    let [FromTracker::Left { pseudonyms, .. }, FromTracker::Peers { peers, .. }] = &messages[..] else {
        panic!("{messages:?}");
    };
    assert_eq!((pseudonyms.len(), peers.len()), (left, 10));
    known.retain(|name| !pseudonyms.contains(name));
    known.extend(peers.iter().map(|(name, _)| *name));
    assert_eq!(known.len(), world.swarm.tally().leases);
}

#[test]
fn t5_one_flooder_fills_the_swarm_and_the_honest_stay_and_come_in() {
    let mut world = World::with(|limits| {
        (limits.leases_max, limits.leases_per_address_max, limits.caller_burst) = (1000, 1000, 10_000);
    });
    world.join(topic(1), 1);
    let flooder = world.connect("203.0.113.9");
    for number in 0..3000_u16 {
        world.announce(flooder, topic((number % 200) as u8 + 2), number);
    }
    let tally = world.swarm.tally();
    assert_eq!((tally.leases, tally.displaced, tally.refused_full), (1000, 0, 2001));
    let ben = world.join(topic(1), 2);
    assert_eq!(world.watch(ben, topic(1)), [name(1)]);
    assert_eq!((world.swarm.tally().leases, world.swarm.tally().displaced), (1000, 1));
}

#[test]
fn t5_watches_are_bounded_and_who_gives_way_hears_of_it() {
    let mut world = World::with(|limits| {
        (limits.watches_max, limits.watches_per_caller_max, limits.watches_per_topic_max) = (10, 8, 3);
    });
    let hoarder = world.connect("203.0.113.9");
    for number in 0..8 {
        world.watch(hoarder, topic(number));
    }
    let full = |number| Some(FromTracker::Refused { topic: topic(number), reason: TrackerRefusal::Full });
    assert_eq!(world.say(hoarder, ToTracker::Watch { topic: topic(9) }), full(9), "one connection's are all");
    let other = world.connect("203.0.113.9");
    world.watch(other, topic(0));
    world.watch(other, topic(9));
    assert_eq!(
        world.say(other, ToTracker::Watch { topic: topic(8) }),
        full(8),
        "no room for a household with all"
    );
    let honest = world.connect("192.0.0.1");
    world.watch(honest, topic(20));
    assert_eq!(world.swarm.poll_wake(), Some(hoarder));
    assert_eq!(world.news(hoarder), full(0).into_iter().collect::<Vec<_>>());
    world.watch(honest, topic(0));
    let second = world.connect("192.0.0.2");
    world.watch(second, topic(0));
    let late = world.connect("192.0.0.3");
    assert_eq!(world.say(late, ToTracker::Watch { topic: topic(0) }), full(0), "the topic's are all");
    for caller in [hoarder, other, honest] {
        world.swarm.closed(caller);
    }
    assert_eq!(world.swarm.tally().watches, 1);
}

#[test]
fn t5_too_many_messages_are_refused_until_time_has_passed() {
    let mut world = World::with(|limits| (limits.caller_burst, limits.caller_per_second) = (2, 1));
    let ana = world.connect("192.0.0.1");
    world.announce(ana, topic(1), 1);
    world.announce(ana, topic(1), 1);
    let often = Some(FromTracker::Refused { topic: topic(1), reason: TrackerRefusal::TooOften });
    let message = ToTracker::Watch { topic: topic(1) };
    let reply = world.swarm.handle(ana, message, world.now);
    assert_eq!(reply, Reply { message: often, is_too_often: true });
    world.wait(Duration::from_secs(1));
    assert!(matches!(world.announce(ana, topic(1), 1), Some(FromTracker::Leased { .. })));

    // Connections of one address share what one address may say.
    let mut world = World::with(|limits| (limits.address_burst, limits.address_per_second) = (2, 1));
    let all = [0; 3].map(|_| {
        let caller = world.connect("192.0.0.1");
        matches!(world.announce(caller, topic(1), 1), Some(FromTracker::Leased { .. }))
    });
    assert_eq!(all, [true, true, false]);
    world.join(topic(1), 2);
}

#[test]
fn i30_callers_are_bounded_in_all_and_per_address() {
    let mut world = World::with(|limits| (limits.callers_max, limits.callers_per_address_max) = (3, 2));
    let mut connect = |ip: &str| world.swarm.connected(SocketAddr::new(ip.parse().unwrap(), 1), world.now);
    let first = connect("192.0.0.1").unwrap();
    connect("192.0.0.1").unwrap();
    assert_eq!(connect("192.0.0.1"), None);
    connect("192.0.0.2").unwrap();
    assert_eq!(connect("192.0.0.3"), None);
    world.swarm.closed(first);
    world.connect("192.0.0.1");
}

#[test]
fn i30_a_topic_has_so_many_members_and_leases_so_long() {
    let mut world = World::with(|limits| limits.members_per_topic_max = 2);
    world.join(topic(1), 1);
    let ben = world.join(topic(1), 2);
    let full = Some(FromTracker::Refused { topic: topic(1), reason: TrackerRefusal::Full });
    assert_eq!(world.announce(ben, topic(1), 3), full);
    let (pseudonym, addresses) = (name(2), vec![]);
    let day = ToTracker::Announce { topic: topic(1), pseudonym, addresses, lease_seconds: 86_400 };
    let Some(FromTracker::Leased { lease_seconds, .. }) = world.say(ben, day) else { panic!("refused") };
    assert_eq!(lease_seconds, SwarmLimits::default().lease_seconds_max);
}

#[test]
fn i30_leavers_that_nobody_was_told_of_yet_are_bounded() {
    let mut world = World::new();
    let watcher = world.connect("192.0.1.1");
    world.watch(watcher, topic(1));
    let crowd = world.connect("192.0.0.1");
    for number in 0..1000 {
        world.announce(crowd, topic(1), number);
        world.say(crowd, ToTracker::Withdraw { topic: topic(1), pseudonym: name(number) });
    }
    assert!(world.swarm.guests.len() < LEFT_WAITING_MAX);
    assert_eq!(world.news(watcher), [], "nobody of whom it was told has left");
    const { assert!(LEASES_PER_ADDRESS_MAX > 1000) }
}
