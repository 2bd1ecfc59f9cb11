//! What one watcher of a topic is told.
//!
//! Promise: a watcher knows of at most [`TOLD_PEERS_MAX`] peers at a time and hears only what became of these, and of
//! others while it has room. Of a large topic each watcher gets its own part, so that all together know everybody.

use std::net::{IpAddr, SocketAddr};

use shoal_classic::Time;
use shoal_proto::announce::{FromTracker, TrackerRefusal};
use shoal_proto::limits::{ANNOUNCED_ADDRESSES_MAX, TOLD_PEERS_MAX};
use shoal_proto::secret::{Pseudonym, Topic};

use super::fair::Admission;
use super::guest::Guest;
use super::slab::{Key, Slab};
use super::{Caller, CallerId, Swarm};
use crate::limits::LOOKED_AT_MAX;
use crate::seats::household;

/// One caller's interest in one topic.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) topic: Key,
    pub(super) caller: CallerId,
    /// Where among the members it looks for others to tell of.
    start: u32,
    /// Who it was told of, and the version that it was told.
    view: Vec<(Key, u32)>,
    /// Of these, who left since; not told yet.
    left: Vec<Pseudonym>,
    /// Whether it stands in its caller's list.
    pub(super) is_pending: bool,
}

/// A peer, as it is told.
type Told = (Pseudonym, Vec<SocketAddr>);

impl Watch {
    /// These guests, in order, have left for good, and their keys will soon mean others.
    pub(super) fn lose(&mut self, gone: &[Key], guests: &Slab<Guest>) {
        if gone.is_empty() {
            return;
        }
        let left = &mut self.left;
        self.view.retain(|(key, _)| {
            let is_gone = gone.binary_search(key).is_ok();
            if is_gone && let Some(guest) = guests.get(*key) {
                left.push(guest.pseudonym);
            }
            !is_gone
        });
    }
}

impl Swarm {
    /// What is to be told to a caller unasked, of one of its topics; `None` when there is no more. To be asked for when
    /// what was told before has mostly gone out.
    pub fn news(&mut self, id: CallerId, now: Time) -> Option<Vec<FromTracker>> {
        self.tick(now);
        let caller = self.callers.get_mut(&id)?;
        if let Some(topic) = caller.dropped.pop() {
            return Some(vec![FromTracker::Refused { topic, reason: TrackerRefusal::Full }]);
        }
        let watch = caller.pending.pop_front()?;
        let messages = self.changes(watch);
        self.tally.pushed += messages.len() as u64;
        Some(messages)
    }

    /// A caller wants to know about a topic; what it knew before counts for nothing.
    pub(super) fn watch(&mut self, id: CallerId, topic: Topic) -> Option<FromTracker> {
        let caller = self.callers.get(&id)?;
        let ip = caller.ip;
        let known = self.by_name.get(&topic).and_then(|key| watch_of(caller, *key));
        let key = match known {
            Some(key) => key,
            None => {
                if !self.make_room_to_watch(id, &topic, ip) {
                    return Some(FromTracker::Refused { topic, reason: TrackerRefusal::Full });
                }
                self.begin_watch(id, topic, ip)
            }
        };
        let watch = self.watches.get_mut(key)?;
        watch.view.clear();
        watch.left.clear();
        Some(FromTracker::Peers { topic, peers: self.fill(key) })
    }

    pub(super) fn unwatch(&mut self, id: CallerId, topic: &Topic) {
        let Some(place) = self.by_name.get(topic).copied() else { return };
        let Some(caller) = self.callers.get_mut(&id) else { return };
        let Ok(at) = caller.watches.binary_search_by_key(&place, |(topic, _)| *topic) else { return };
        let (_, watch) = caller.watches.remove(at);
        caller.pending.retain(|pending| *pending != watch);
        self.end_watch(watch);
    }

    /// Forgets a watch that its caller has forgotten.
    pub(super) fn end_watch(&mut self, key: Key) {
        let Some(watch) = self.watches.remove(key) else { return };
        self.watch_room.remove(key);
        let Some(place) = self.topics.get_mut(watch.topic) else { return };
        let Some(audience) = &mut place.audience else { return };
        audience.watches.retain(|other| *other != key);
        if audience.watches.is_empty() {
            // Nobody is left to hear who left.
            let left: Vec<Key> = std::mem::take(&mut audience.left)
                .into_iter()
                .filter(|key| self.guests.get(*key).is_some_and(|guest| guest.first == super::NONE))
                .collect();
            if let Some(due) = audience.pace.due {
                self.due.remove(&(due, watch.topic));
            }
            place.audience = None;
            self.forget(&left, watch.topic);
        }
    }

    fn make_room_to_watch(&mut self, id: CallerId, topic: &Topic, ip: IpAddr) -> bool {
        let Some(caller) = self.callers.get(&id) else { return false };
        let place = self.by_name.get(topic).and_then(|key| self.topics.get(*key));
        let audience = place.and_then(|place| place.audience.as_ref());
        if caller.watches.len() >= self.limits.watches_per_caller_max
            || audience.is_some_and(|audience| audience.watches.len() >= self.limits.watches_per_topic_max)
        {
            return false;
        }
        match self.watch_room.admit(household(ip)) {
            Admission::Free => true,
            Admission::Full => false,
            Admission::InsteadOf(oldest) => {
                self.tally.displaced += 1;
                self.drop_watch(oldest);
                true
            }
        }
    }

    /// Ends a watch that has to give way, and sees to it that its caller hears of that.
    fn drop_watch(&mut self, key: Key) {
        let Some(watch) = self.watches.get(key) else { return };
        let (id, topic) = (watch.caller, watch.topic);
        let name = self.topics.get(topic).map(|place| place.name);
        if let (Some(caller), Some(name)) = (self.callers.get_mut(&id), name) {
            caller.watches.retain(|(_, watch)| *watch != key);
            caller.pending.retain(|pending| *pending != key);
            // Sooner or later it asks; what it would have to be told twice is told once.
            if caller.pending.is_empty() && caller.dropped.is_empty() {
                self.wakes.push_back(id);
            }
            if !caller.dropped.contains(&name) {
                caller.dropped.push(name);
            }
        }
        self.end_watch(key);
    }

    fn begin_watch(&mut self, id: CallerId, topic: Topic, ip: IpAddr) -> Key {
        let place = self.place_or_new(topic);
        let start = self.draw();
        let watch =
            Watch { topic: place, caller: id, start, view: Vec::new(), left: Vec::new(), is_pending: false };
        let key = self.watches.insert(watch);
        self.watch_room.add(key, household(ip));
        if let Some(place) = self.topics.get_mut(place) {
            place.audience.get_or_insert_default().watches.push(key);
        }
        if let Some(caller) = self.callers.get_mut(&id) {
            let at = caller.watches.partition_point(|(topic, _)| *topic < place);
            caller.watches.insert(at, (place, key));
        }
        key
    }

    /// What a watch was told that is no longer so, and what it can be told beside.
    fn changes(&mut self, key: Key) -> Vec<FromTracker> {
        let Some(watch) = self.watches.get_mut(key) else { return Vec::new() };
        watch.is_pending = false;
        let (view, mut left) = (std::mem::take(&mut watch.view), std::mem::take(&mut watch.left));
        let (caller, topic) = (watch.caller, watch.topic);
        let Some(asker) = self.callers.get(&caller).map(|caller| caller.ip) else { return Vec::new() };
        let Some(name) = self.topics.get(topic).map(|place| place.name) else { return Vec::new() };
        let (mut kept, mut peers) = (Vec::with_capacity(view.len()), Vec::new());
        for (guest_key, version) in view {
            let Some(guest) = self.guests.get(guest_key) else { continue };
            // Who has left, and may come back until that is told, is left alone.
            if guest.version == version || guest.first == super::NONE {
                kept.push((guest_key, version));
                continue;
            }
            let addresses = self.told_addresses(guest, asker);
            if addresses.is_empty() {
                left.push(guest.pseudonym);
            } else {
                kept.push((guest_key, guest.version));
                peers.push((guest.pseudonym, addresses));
            }
        }
        if let Some(watch) = self.watches.get_mut(key) {
            watch.view = kept;
        }
        peers.append(&mut self.fill(key));
        let mut messages = Vec::new();
        if !left.is_empty() {
            messages.push(FromTracker::Left { topic: name, pseudonyms: left });
        }
        if !peers.is_empty() {
            messages.push(FromTracker::Peers { topic: name, peers });
        }
        messages
    }

    /// Takes further members into a watch's view, as far as there is room; they are to be told.
    fn fill(&mut self, key: Key) -> Vec<Told> {
        let Some(watch) = self.watches.get(key) else { return Vec::new() };
        let Some(place) = self.topics.get(watch.topic) else { return Vec::new() };
        let Some(asker) = self.callers.get(&watch.caller).map(|caller| caller.ip) else { return Vec::new() };
        let members = place.members.len();
        let mut at = watch.start as usize % members.max(1);
        let (mut added, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..members.min(LOOKED_AT_MAX) {
            if watch.view.len() + added.len() >= TOLD_PEERS_MAX {
                break;
            }
            let member = place.members[at];
            at = (at + 1) % members;
            let Some(guest) = self.guests.get(member) else { continue };
            if watch.view.iter().any(|(key, _)| *key == member) || self.is_own(guest, watch.caller) {
                continue;
            }
            let addresses = self.told_addresses(guest, asker);
            if !addresses.is_empty() {
                added.push((member, guest.version));
                peers.push((guest.pseudonym, addresses));
            }
        }
        if let Some(watch) = self.watches.get_mut(key) {
            watch.view.extend(added);
            watch.start = Key::try_from(at).unwrap_or(0);
        }
        peers
    }

    fn is_own(&self, guest: &Guest, caller: CallerId) -> bool {
        let mut at = guest.first;
        while let Some(lease) = self.leases.get(at) {
            if lease.owner == caller {
                return true;
            }
            at = lease.next;
        }
        false
    }

    /// What somebody at that address may know of where a guest is.
    fn told_addresses(&self, guest: &Guest, asker: IpAddr) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        let mut at = guest.first;
        while let Some(lease) = self.leases.get(at) {
            lease.spots.tell(lease.seen.to_canonical(), asker, &mut addresses, ANNOUNCED_ADDRESSES_MAX);
            at = lease.next;
        }
        addresses
    }

    /// The next number of a sequence that nobody outside can guess (`SplitMix64`).
    fn draw(&mut self) -> u32 {
        self.draws = self.draws.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.draws ^ (self.draws >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0)
    }
}

/// A caller's watch of that topic.
fn watch_of(caller: &Caller, topic: Key) -> Option<Key> {
    let at = caller.watches.binary_search_by_key(&topic, |(topic, _)| *topic).ok()?;
    caller.watches.get(at).map(|(_, watch)| *watch)
}
