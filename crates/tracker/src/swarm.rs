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
mod lease;
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
use crate::limits::{LEFT_WAITING_MAX, SwarmLimits};
use crate::seats::household;
use fair::Fair;
use guest::{Guest, Lease};
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

/// The second that a moment is in.
fn second(time: Time) -> u32 {
    u32::try_from(time.since_start().as_secs()).unwrap_or(u32::MAX)
}
