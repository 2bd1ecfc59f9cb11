//! Native peers: who is announced under which topic, and who is told of it.
//!
//! Promise: a tracker knows topics, pseudonyms and addresses, and tells them only to who names the topic; an address is
//! passed on only if we saw the announcer come from it, or if it means something only near the announcer and the asker
//! comes from the same household (`T4`). Nobody can displace or withdraw what another household announced. Memory is
//! bounded ([`SwarmLimits`]), a lease takes at most 500 bytes, and who floods pushes out itself alone (`T5`,
//! `swarm/fair.rs`). What changes is told in bounded lists, many changes at once ([`PUSH_PAUSE_MIN`]).
//!
//! Pure: time is an argument and must not go back. Begin at [`Swarm::handle`]; [`Swarm::news`] gives what is to be told
//! unasked to whom [`Swarm::poll_wake`] names, one watch at a time, so that who does not listen costs no memory;
//! [`Swarm::tick`] is to be called at [`Swarm::poll_timeout`].
//!
//! ```text
//! topic ─► members: guests (pseudonyms) ─► leases, one for each household
//!      └─► audience: watches, each with its view: the guests that it was told of
//! ```

mod fair;
mod guest;
mod pace;
mod slab;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use shoal_classic::Time;
use shoal_proto::announce::{FromTracker, ToTracker, TrackerRefusal};
use shoal_proto::secret::{Pseudonym, Topic};

#[cfg(doc)]
use crate::limits::PUSH_PAUSE_MIN;
use crate::limits::{GUEST_LEASES_MAX, LEFT_WAITING_MAX, SwarmLimits};
use crate::seats::household;
use fair::{Admission, Fair};
use guest::{Guest, Lease, Spots};
use pace::{Bucket, Pace};
use slab::{Key, NONE, Slab};
use view::Watch;

/// One connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct CallerId(u64);

/// All that is known.
#[derive(Debug)]
pub struct Swarm {
    limits: SwarmLimits,
    callers: BTreeMap<CallerId, Caller>,
    /// Who is connected, by household.
    visitors: BTreeMap<IpAddr, Visitor>,
    by_name: BTreeMap<Topic, Key>,
    topics: Slab<Place>,
    guests: Slab<Guest>,
    leases: Slab<Lease>,
    watches: Slab<Watch>,
    lease_room: Fair,
    watch_room: Fair,
    /// Leases by the second in which to look at them: one that was renewed meanwhile is filed again then.
    filed: BTreeMap<u32, Vec<Key>>,
    /// Topics of which something is to be told.
    due: BTreeSet<(Time, Key)>,
    wakes: VecDeque<CallerId>,
    last_caller: u64,
    draws: u64,
    tally: Tally,
}

/// What comes back for a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The answer, where there is one.
    pub message: Option<FromTracker>,
    /// Whether that was more than one may say; whoever reads the connection should wait.
    pub is_too_often: bool,
}

/// Figures for people. The first four are what there is now, the others only grow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Connections.
    pub callers: usize,
    /// Topics with somebody announced or watching.
    pub topics: usize,
    /// Announcements.
    pub leases: usize,
    /// Topics watched, each counted for every connection that does.
    pub watches: usize,
    /// Announcements taken.
    pub announced: u64,
    /// Leases that ended without being renewed.
    pub ended: u64,
    /// Leases and watches that gave way to others.
    pub displaced: u64,
    /// Messages about what changed.
    pub pushed: u64,
    /// Messages refused for want of room.
    pub refused_full: u64,
    /// Messages refused because there were too many.
    pub refused_often: u64,
}

#[derive(Debug)]
struct Caller {
    ip: IpAddr,
    port: u16,
    bucket: Bucket,
    /// Its watches by their topics, in order.
    watches: Vec<(Key, Key)>,
    /// Watches of which there may be news.
    pending: VecDeque<Key>,
    /// Topics whose watch had to give way.
    dropped: Vec<Topic>,
}

#[derive(Debug)]
struct Visitor {
    callers: usize,
    bucket: Bucket,
}

/// A topic.
#[derive(Debug)]
struct Place {
    name: Topic,
    /// In the order of their pseudonyms.
    members: Vec<Key>,
    audience: Option<Box<Audience>>,
}

/// Who watches a topic.
#[derive(Debug, Default)]
struct Audience {
    watches: Vec<Key>,
    /// Guests that left since something was told.
    left: Vec<Key>,
    pace: Pace,
}

impl Swarm {
    /// A swarm of nobody. `seed` should be random: it draws which of many peers somebody is told of.
    #[must_use]
    pub fn new(limits: SwarmLimits, seed: u64) -> Self {
        Self {
            limits,
            callers: BTreeMap::new(),
            visitors: BTreeMap::new(),
            by_name: BTreeMap::new(),
            topics: Slab::default(),
            guests: Slab::default(),
            leases: Slab::default(),
            watches: Slab::default(),
            lease_room: Fair::new(limits.leases_max, limits.leases_per_address_max),
            watch_room: Fair::new(limits.watches_max, limits.watches_per_address_max),
            filed: BTreeMap::new(),
            due: BTreeSet::new(),
            wakes: VecDeque::new(),
            last_caller: 0,
            draws: seed,
            tally: Tally::default(),
        }
    }

    /// Somebody connected from there, as the socket says; `None` if there are as many as may be.
    pub fn connected(&mut self, from: SocketAddr, now: Time) -> Option<CallerId> {
        let ip = from.ip().to_canonical();
        let of_home = self.visitors.get(&household(ip)).map_or(0, |visitor| visitor.callers);
        if self.callers.len() >= self.limits.callers_max || of_home >= self.limits.callers_per_address_max {
            return None;
        }
        self.last_caller += 1;
        let id = CallerId(self.last_caller);
        let bucket = Bucket::full(self.limits.caller_burst, now);
        let caller = Caller {
            ip,
            port: from.port(),
            bucket,
            watches: Vec::new(),
            pending: VecDeque::new(),
            dropped: Vec::new(),
        };
        self.callers.insert(id, caller);
        let bucket = Bucket::full(self.limits.address_burst, now);
        self.visitors.entry(household(ip)).or_insert(Visitor { callers: 0, bucket }).callers += 1;
        Some(id)
    }

    /// A connection is gone; what it announced stays until the lease ends.
    pub fn closed(&mut self, id: CallerId) {
        let Some(caller) = self.callers.remove(&id) else { return };
        for (_, watch) in caller.watches {
            self.end_watch(watch);
        }
        let home = household(caller.ip);
        if let Some(visitor) = self.visitors.get_mut(&home) {
            visitor.callers -= 1;
            if visitor.callers == 0 {
                self.visitors.remove(&home);
            }
        }
    }

    /// Somebody says something.
    pub fn handle(&mut self, id: CallerId, message: ToTracker, now: Time) -> Reply {
        self.tick(now);
        let is_too_often = !self.may_speak(id, now);
        let message = match message {
            // What only frees room is done in any case.
            ToTracker::Withdraw { topic, pseudonym } => {
                self.withdraw(id, &topic, &pseudonym, now);
                None
            }
            ToTracker::Unwatch { topic } => {
                self.unwatch(id, &topic);
                None
            }
            ToTracker::Announce { topic, .. } | ToTracker::Watch { topic } if is_too_often => {
                self.tally.refused_often += 1;
                Some(FromTracker::Refused { topic, reason: TrackerRefusal::TooOften })
            }
            ToTracker::Announce { topic, pseudonym, addresses, lease_seconds } => {
                self.announce(id, topic, pseudonym, &addresses, lease_seconds, now)
            }
            ToTracker::Watch { topic } => self.watch(id, topic),
        };
        if let Some(FromTracker::Refused { reason: TrackerRefusal::Full, .. }) = message {
            self.tally.refused_full += 1;
        }
        Reply { message, is_too_often }
    }

    /// Who has [`Self::news`] to ask for.
    pub fn poll_wake(&mut self) -> Option<CallerId> {
        self.wakes.pop_front()
    }

    /// When to [`Self::tick`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let told = self.due.first().map(|(due, _)| *due);
        let ended =
            self.filed.keys().next().map(|second| Time::START + Duration::from_secs((*second).into()));
        told.into_iter().chain(ended).min()
    }

    /// Ends what has ended, and sees to it that what changed is told.
    pub fn tick(&mut self, now: Time) {
        while let Some(filed) = self.filed.first_entry().filter(|first| *first.key() <= second(now)) {
            for key in filed.remove() {
                self.look_at_end(key, now);
            }
        }
        while let Some((_, topic)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.tell(topic, now);
        }
    }

    /// Figures for people.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally {
            callers: self.callers.len(),
            topics: self.topics.len(),
            leases: self.leases.len(),
            watches: self.watches.len(),
            ..self.tally
        }
    }

    fn may_speak(&mut self, id: CallerId, now: Time) -> bool {
        let limits = &self.limits;
        let Some(caller) = self.callers.get_mut(&id) else { return false };
        let is_own = caller.bucket.take(limits.caller_burst, limits.caller_per_second, now);
        let visitor = self.visitors.get_mut(&household(caller.ip));
        let is_homes = visitor
            .is_some_and(|visitor| visitor.bucket.take(limits.address_burst, limits.address_per_second, now));
        is_own && is_homes
    }

    // ── leases ──

    fn announce(
        &mut self,
        id: CallerId,
        topic: Topic,
        pseudonym: Pseudonym,
        addresses: &[SocketAddr],
        lease_seconds: u32,
        now: Time,
    ) -> Option<FromTracker> {
        let caller = self.callers.get(&id)?;
        let (seen, port) = (caller.ip, caller.port);
        let lease_seconds = lease_seconds.clamp(1, self.limits.lease_seconds_max);
        // The second that has begun is given.
        let ends = second(now).saturating_add(lease_seconds + 1);
        let spots = Spots::believed(seen, addresses);
        let known = self.guest(&topic, &pseudonym).and_then(|guest| self.lease_from(guest, seen));
        match known {
            Some(key) => self.renew(key, id, seen, spots, ends, now),
            None => {
                if !self.make_room(&topic, &pseudonym, seen, now) {
                    return Some(FromTracker::Refused { topic, reason: TrackerRefusal::Full });
                }
                self.begin_lease(id, topic, pseudonym, seen, spots, ends, now);
            }
        }
        self.tally.announced += 1;
        Some(FromTracker::Leased { topic, lease_seconds, seen: SocketAddr::new(seen, port) })
    }

    /// Whether a new lease may begin; others may have ended for it.
    fn make_room(&mut self, topic: &Topic, pseudonym: &Pseudonym, seen: IpAddr, now: Time) -> bool {
        let place = self.by_name.get(topic).and_then(|key| self.topics.get(*key));
        let guest = self.guest(topic, pseudonym);
        let members = place.map_or(0, |place| place.members.len());
        if guest.is_none() && members >= self.limits.members_per_topic_max {
            return false;
        }
        match self.lease_room.admit(household(seen)) {
            Admission::Free => {}
            Admission::Full => return false,
            Admission::InsteadOf(oldest) => {
                self.tally.displaced += 1;
                self.end_lease(oldest, now);
            }
        }
        // A device that has moved leaves leases behind; the one that ends first goes.
        let leases = self.guest(topic, pseudonym).map_or_else(Vec::new, |guest| self.leases_of(guest));
        if leases.len() >= GUEST_LEASES_MAX {
            let ends = |key: &Key| self.leases.get(*key).map_or(0, |lease| lease.ends);
            if let Some(soonest) = leases.into_iter().min_by_key(ends) {
                self.end_lease(soonest, now);
            }
        }
        true
    }

    fn renew(&mut self, key: Key, id: CallerId, seen: IpAddr, spots: Spots, ends: u32, now: Time) {
        self.lease_room.renewed(key);
        let Some(lease) = self.leases.get_mut(key) else { return };
        let (bits, guest) = (bits(seen), lease.guest);
        let is_changed = lease.seen != bits || lease.spots != spots;
        (lease.owner, lease.seen, lease.spots, lease.ends) = (id, bits, spots, ends);
        if ends < lease.filed {
            self.unfile(key);
            self.file(key, ends);
        }
        if is_changed {
            self.changed(guest, Some(id), now);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a lease has so many parts")]
    fn begin_lease(
        &mut self,
        owner: CallerId,
        topic: Topic,
        pseudonym: Pseudonym,
        seen: IpAddr,
        spots: Spots,
        ends: u32,
        now: Time,
    ) {
        let guest = self.guest_or_new(topic, pseudonym);
        let next = self.guests.get(guest).map_or(NONE, |guest| guest.first);
        let lease = Lease { owner, seen: bits(seen), spots, guest, next, ends, filed: 0, filed_at: 0 };
        let key = self.leases.insert(lease);
        if let Some(guest) = self.guests.get_mut(guest) {
            guest.first = key;
        }
        self.lease_room.add(key, household(seen));
        self.file(key, ends);
        self.changed(guest, Some(owner), now);
    }

    fn withdraw(&mut self, id: CallerId, topic: &Topic, pseudonym: &Pseudonym, now: Time) {
        let Some(seen) = self.callers.get(&id).map(|caller| caller.ip) else { return };
        let lease = self.guest(topic, pseudonym).and_then(|guest| self.lease_from(guest, seen));
        if let Some(lease) = lease {
            self.end_lease(lease, now);
        }
    }

    /// Its time has come, unless it was renewed.
    fn look_at_end(&mut self, key: Key, now: Time) {
        let Some(lease) = self.leases.get_mut(key) else { return };
        let ends = lease.ends;
        lease.filed = NOT_FILED;
        if ends > second(now) {
            self.file(key, ends);
        } else {
            self.tally.ended += 1;
            self.end_lease(key, now);
        }
    }

    fn end_lease(&mut self, key: Key, now: Time) {
        self.unfile(key);
        self.lease_room.remove(key);
        let Some(lease) = self.leases.remove(key) else { return };
        let guest = lease.guest;
        self.unlink(guest, key, lease.next);
        if self.guests.get(guest).is_some_and(|guest| guest.first == NONE) {
            self.leave(guest, now);
        } else {
            self.changed(guest, None, now);
        }
    }

    /// Takes a lease out of its guest's list.
    fn unlink(&mut self, guest: Key, lease: Key, after: Key) {
        let Some(guest) = self.guests.get_mut(guest) else { return };
        if guest.first == lease {
            guest.first = after;
            return;
        }
        let mut at = guest.first;
        while let Some(other) = self.leases.get_mut(at) {
            if other.next == lease {
                other.next = after;
                return;
            }
            at = other.next;
        }
    }

    fn file(&mut self, key: Key, at: u32) {
        let Some(lease) = self.leases.get_mut(key) else { return };
        let list = self.filed.entry(at).or_default();
        lease.filed = at;
        lease.filed_at = u32::try_from(list.len()).unwrap_or(u32::MAX);
        list.push(key);
    }

    fn unfile(&mut self, key: Key) {
        let Some(lease) = self.leases.get(key) else { return };
        let (at, place) = (lease.filed, lease.filed_at as usize);
        let Some(list) = self.filed.get_mut(&at) else { return };
        if list.get(place) != Some(&key) {
            return;
        }
        list.swap_remove(place);
        if let Some(moved) = list.get(place).and_then(|moved| self.leases.get_mut(*moved)) {
            moved.filed_at = u32::try_from(place).unwrap_or(u32::MAX);
        }
        if self.filed.get(&at).is_some_and(Vec::is_empty) {
            self.filed.remove(&at);
        }
    }

    // ── guests ──

    fn guest(&self, topic: &Topic, pseudonym: &Pseudonym) -> Option<Key> {
        let place = self.topics.get(*self.by_name.get(topic)?)?;
        let at = self.position(place, pseudonym).ok()?;
        place.members.get(at).copied()
    }

    fn guest_or_new(&mut self, topic: Topic, pseudonym: Pseudonym) -> Key {
        let place_key = self.place_or_new(topic);
        let Some(place) = self.topics.get(place_key) else { return NONE };
        match self.position(place, &pseudonym) {
            Ok(at) => place.members[at],
            Err(at) => {
                let guest = Guest { pseudonym, topic: place_key, version: 0, first: NONE };
                let key = self.guests.insert(guest);
                if let Some(place) = self.topics.get_mut(place_key) {
                    place.members.insert(at, key);
                }
                key
            }
        }
    }

    fn position(&self, place: &Place, pseudonym: &Pseudonym) -> Result<usize, usize> {
        let name = |key: &Key| self.guests.get(*key).map(|guest| guest.pseudonym);
        place.members.binary_search_by(|key| name(key).cmp(&Some(*pseudonym)))
    }

    fn leases_of(&self, guest: Key) -> Vec<Key> {
        let first = self.guests.get(guest).map_or(NONE, |guest| guest.first);
        let next = |key: &Key| self.leases.get(*key).map(|lease| lease.next);
        std::iter::successors(Some(first), next).take_while(|key| *key != NONE).collect()
    }

    /// Its lease from the household of that address.
    fn lease_from(&self, guest: Key, seen: IpAddr) -> Option<Key> {
        let home = |key: &Key| self.leases.get(*key).map(|lease| household(lease.seen.to_canonical()));
        self.leases_of(guest).into_iter().find(|key| home(key) == Some(household(seen)))
    }

    /// Something that is told of a guest changed, by the deed of `owner`.
    fn changed(&mut self, key: Key, owner: Option<CallerId>, now: Time) {
        let Some(guest) = self.guests.get_mut(key) else { return };
        guest.version = guest.version.wrapping_add(1);
        let topic = guest.topic;
        self.stir(topic, owner, now);
    }

    /// A guest has no lease any more.
    fn leave(&mut self, key: Key, now: Time) {
        let Some(topic) = self.guests.get(key).map(|guest| guest.topic) else { return };
        let Some(place) = self.topics.get_mut(topic) else { return };
        match &mut place.audience {
            None => self.forget(&[key], topic),
            Some(audience) => {
                if !audience.left.contains(&key) {
                    audience.left.push(key);
                }
                if audience.left.len() >= LEFT_WAITING_MAX {
                    self.tell(topic, now);
                } else {
                    self.stir(topic, None, now);
                }
            }
        }
    }

    /// Forgets guests of a topic that have left.
    fn forget(&mut self, left: &[Key], topic: Key) {
        let left: BTreeSet<Key> = left.iter().copied().collect();
        if let Some(place) = self.topics.get_mut(topic) {
            place.members.retain(|member| !left.contains(member));
        }
        for key in left {
            self.guests.remove(key);
        }
        self.drop_if_empty(topic);
    }

    // ── topics ──

    fn place_or_new(&mut self, name: Topic) -> Key {
        let topics = &mut self.topics;
        *self
            .by_name
            .entry(name)
            .or_insert_with(|| topics.insert(Place { name, members: Vec::new(), audience: None }))
    }

    fn drop_if_empty(&mut self, topic: Key) {
        let is_empty = |place: &Place| place.members.is_empty() && place.audience.is_none();
        if self.topics.get(topic).is_some_and(is_empty)
            && let Some(place) = self.topics.remove(topic)
        {
            self.by_name.remove(&place.name);
        }
    }

    /// There is something to tell of a topic, unless only `owner` watches, who knows.
    fn stir(&mut self, topic: Key, owner: Option<CallerId>, now: Time) {
        let Some(audience) = self.topics.get_mut(topic).and_then(|place| place.audience.as_mut()) else {
            return;
        };
        let watcher = |key: &Key| self.watches.get(*key).map(|watch| watch.caller);
        if audience.watches.iter().any(|watch| watcher(watch) != owner)
            && let Some(due) = audience.pace.changed(now)
        {
            self.due.insert((due, topic));
        }
    }

    /// Sees to it that all watchers of a topic hear what has changed.
    fn tell(&mut self, topic: Key, now: Time) {
        let Some(audience) = self.topics.get_mut(topic).and_then(|place| place.audience.as_mut()) else {
            return;
        };
        if let Some(due) = audience.pace.due {
            self.due.remove(&(due, topic));
        }
        audience.pace.told(now);
        let mut left = std::mem::take(&mut audience.left);
        // Whoever came back meanwhile has not left.
        left.retain(|key| self.guests.get(*key).is_some_and(|guest| guest.first == NONE));
        left.sort_unstable();
        for key in audience.watches.clone() {
            let Some(watch) = self.watches.get_mut(key) else { continue };
            watch.lose(&left, &self.guests);
            let Some(caller) = self.callers.get_mut(&watch.caller) else { continue };
            if !std::mem::replace(&mut watch.is_pending, true) {
                if caller.pending.is_empty() && caller.dropped.is_empty() {
                    self.wakes.push_back(watch.caller);
                }
                caller.pending.push_back(key);
            }
        }
        self.forget(&left, topic);
    }
}

/// What a lease is filed under that is filed nowhere.
const NOT_FILED: u32 = u32::MAX;

/// The second that a moment is in.
fn second(time: Time) -> u32 {
    u32::try_from(time.since_start().as_secs()).unwrap_or(NOT_FILED - 1)
}

/// An address as it is kept.
fn bits(ip: IpAddr) -> std::net::Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}
