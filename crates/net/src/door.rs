//! Who is let in before having proved a key.
//!
//! Promise: those who are in and have proved nothing are bounded, in all and for each network, and so is how often a network
//! may knock; what is remembered of networks is bounded too (T5, T6, I30). When all places are taken, whoever has been
//! there longest, from the network that has most, gives way to a newcomer: so those who say nothing do not keep others out.
//! Unless it came in a crowd it has had a second by then, in which an honest one proves its key.
//! All who are turned away are turned away alike, by a connection that closes.
//!
//! [`Doorman`] decides and is pure; [`Door`] is the handle that connections go through.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::{
    CROWD, GUEST_STAYS, GUESTS_MAX, KNOCK_EVERY, KNOCKS_AT_ONCE, NETWORK_GUESTS_MAX, NETWORKS_MAX,
};
use crate::reach::network;

/// Time since the doorman began.
type Time = Duration;

/// How many are let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DoorOptions {
    /// Guests at a time.
    pub guests_max: usize,
    /// Guests of one network at a time.
    pub network_guests_max: usize,
    /// How many may come from one network at once, …
    pub knocks_at_once: u32,
    /// … and then one in this time.
    pub knock_every: Duration,
}

impl Default for DoorOptions {
    fn default() -> Self {
        Self {
            guests_max: GUESTS_MAX,
            network_guests_max: NETWORK_GUESTS_MAX,
            knocks_at_once: KNOCKS_AT_ONCE,
            knock_every: KNOCK_EVERY,
        }
    }
}

/// Decides who is let in.
#[derive(Debug)]
pub struct Doorman {
    options: DoorOptions,
    networks: BTreeMap<IpAddr, Knocks>,
    /// By number, so in the order in which they came.
    guests: BTreeMap<u64, (IpAddr, Time)>,
    came: u64,
}

#[derive(Debug, Default)]
struct Knocks {
    /// When all that was used will have come back.
    full_at: Time,
    guests: usize,
}

/// Somebody is let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LetIn {
    /// By this number.
    pub number: u64,
    /// And this one must go.
    pub instead_of: Option<u64>,
}

/// Stands for all networks that there is no room to remember by themselves.
const REST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Doorman {
    /// Nobody has come yet.
    #[must_use]
    pub fn new(options: DoorOptions) -> Self {
        Self { options, networks: BTreeMap::new(), guests: BTreeMap::new(), came: 0 }
    }

    /// Somebody knocks; `None`: is not let in.
    pub fn knock(&mut self, from: IpAddr, now: Time) -> Option<LetIn> {
        let (every, at_once) = (self.options.knock_every, self.options.knocks_at_once);
        let network = self.remembered(network(from), now);
        let knocks = self.networks.entry(network).or_default();
        let full_at = knocks.full_at.max(now) + every;
        if full_at > now + every * at_once || knocks.guests >= self.options.network_guests_max {
            return None;
        }
        // Who is not let in for want of places has used nothing up.
        let newcomers = knocks.guests;
        let is_full = self.guests.len() >= self.options.guests_max;
        let instead_of = if is_full { Some(self.longest(newcomers, now)?) } else { None };
        if let Some(number) = instead_of {
            self.leaves(number);
        }
        let knocks = self.networks.entry(network).or_default();
        knocks.full_at = full_at;
        knocks.guests += 1;
        self.came += 1;
        self.guests.insert(self.came, (network, now));
        Some(LetIn { number: self.came, instead_of })
    }

    /// A guest is one no more: proved a key, or left. Of one who has left already nothing changes.
    pub fn leaves(&mut self, number: u64) {
        if let Some((network, _)) = self.guests.remove(&number)
            && let Some(knocks) = self.networks.get_mut(&network)
        {
            knocks.guests -= 1;
        }
    }

    /// How many guests there are.
    #[must_use]
    pub fn guests(&self) -> usize {
        self.guests.len()
    }

    /// The name under which a network is remembered.
    fn remembered(&mut self, network: IpAddr, now: Time) -> IpAddr {
        if self.networks.contains_key(&network) {
            return network;
        }
        if self.networks.len() >= NETWORKS_MAX {
            self.networks.retain(|_, knocks| knocks.guests > 0 || knocks.full_at > now);
        }
        if self.networks.len() < NETWORKS_MAX { network } else { REST }
    }

    /// Of the guests that may be sent away for somebody from a network with so many, the first one of the network with
    /// most of them: those that have had their time, and those who came in a crowd.
    fn longest(&self, newcomers: usize, now: Time) -> Option<u64> {
        let beside = |network: &IpAddr| self.networks.get(network).map_or(0, |knocks| knocks.guests);
        let had_time = |came: &Time| *came + GUEST_STAYS <= now;
        let is_crowd = |guests: usize| guests >= CROWD && guests > newcomers;
        let may_go = self
            .guests
            .iter()
            .map(|(number, (network, came))| (beside(network), core::cmp::Reverse(*number), had_time(came)))
            .filter(|(guests, _, had_time)| *had_time || is_crowd(*guests));
        may_go.max().map(|(_, core::cmp::Reverse(number), _)| number)
    }
}

/// What connections go through; a handle that can be cloned.
#[derive(Clone, Debug)]
pub struct Door {
    inside: Arc<Mutex<Inside>>,
    began: Instant,
}

#[derive(Debug)]
struct Inside {
    doorman: Doorman,
    /// How guests are told that they must go.
    told: BTreeMap<u64, Arc<Notify>>,
}

/// Somebody who was let in and has proved nothing yet, until it is dropped.
#[derive(Debug)]
pub struct Guest {
    door: Door,
    number: u64,
    told: Arc<Notify>,
}

impl Default for Door {
    fn default() -> Self {
        Self::new(DoorOptions::default())
    }
}

impl Door {
    /// A door with these bounds.
    #[must_use]
    pub fn new(options: DoorOptions) -> Self {
        let inside = Inside { doorman: Doorman::new(options), told: BTreeMap::new() };
        Self { inside: Arc::new(Mutex::new(inside)), began: Instant::now() }
    }

    /// Lets somebody in who comes from there; `None`: the connection is to be closed, without a word.
    #[must_use]
    pub fn knock(&self, from: IpAddr) -> Option<Guest> {
        let now = self.began.elapsed();
        let mut inside = self.inside();
        let let_in = inside.doorman.knock(from, now)?;
        if let Some(told) = let_in.instead_of.and_then(|number| inside.told.remove(&number)) {
            told.notify_one();
        }
        let told = Arc::new(Notify::new());
        inside.told.insert(let_in.number, Arc::clone(&told));
        Some(Guest { door: self.clone(), number: let_in.number, told })
    }

    /// How many are in that have proved nothing yet.
    #[must_use]
    pub fn guests(&self) -> usize {
        self.inside().doorman.guests()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Does what a guest does: the first byte, the handshake. `None`: it must make room for another.
    pub async fn stay<T>(self, does: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.told.notified() => None,
            done = does => Some(done),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut inside = self.door.inside();
        inside.doorman.leaves(self.number);
        inside.told.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
