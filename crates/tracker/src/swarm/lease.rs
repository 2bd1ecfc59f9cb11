//! Announcements: how they begin, are renewed, and end.
//!
//! Promise: a lease belongs to the household that it came from, and no other renews, moves or ends it. A renewal moves
//! nothing: a lease is looked at again in the second that it was filed under, and is filed anew then if it was renewed.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use shoal_classic::Time;
use shoal_proto::announce::{FromTracker, TrackerRefusal};
use shoal_proto::secret::{Pseudonym, Topic};

use super::fair::Admission;
use super::guest::{Lease, Spots};
use super::slab::{Key, NONE};
use super::{CallerId, Swarm, second};
use crate::limits::GUEST_LEASES_MAX;
use crate::seats::household;

/// What an announcement comes down to.
struct Claim {
    owner: CallerId,
    seen: IpAddr,
    spots: Spots,
    ends: u32,
}

impl Swarm {
    pub(super) fn announce(
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
        let claim = Claim { owner: id, seen, spots: Spots::believed(seen, addresses), ends };
        let known = self.guest(&topic, &pseudonym).and_then(|guest| self.lease_from(guest, seen));
        match known {
            Some(key) => self.renew(key, claim, now),
            None => {
                if !self.make_room(&topic, &pseudonym, seen, now) {
                    return Some(FromTracker::Refused { topic, reason: TrackerRefusal::Full });
                }
                self.begin_lease(topic, pseudonym, claim, now);
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

    fn renew(&mut self, key: Key, claim: Claim, now: Time) {
        let Claim { owner, seen, spots, ends } = claim;
        self.lease_room.renewed(key);
        let Some(lease) = self.leases.get_mut(key) else { return };
        let (bits, guest) = (bits(seen), lease.guest);
        let is_changed = lease.seen != bits || lease.spots != spots;
        (lease.owner, lease.seen, lease.spots, lease.ends) = (owner, bits, spots, ends);
        if ends < lease.filed {
            self.unfile(key);
            self.file(key, ends);
        }
        if is_changed {
            self.changed(guest, Some(owner), now);
        }
    }

    fn begin_lease(&mut self, topic: Topic, pseudonym: Pseudonym, claim: Claim, now: Time) {
        let Claim { owner, seen, spots, ends } = claim;
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

    pub(super) fn withdraw(&mut self, id: CallerId, topic: &Topic, pseudonym: &Pseudonym, now: Time) {
        let Some(seen) = self.callers.get(&id).map(|caller| caller.ip) else { return };
        let lease = self.guest(topic, pseudonym).and_then(|guest| self.lease_from(guest, seen));
        if let Some(lease) = lease {
            self.end_lease(lease, now);
        }
    }

    /// Its time has come, unless it was renewed.
    pub(super) fn look_at_end(&mut self, key: Key, now: Time) {
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
}

/// What a lease is filed under that is filed nowhere.
const NOT_FILED: u32 = u32::MAX;

/// An address as it is kept.
fn bits(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}
