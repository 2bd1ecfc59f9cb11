//! How often which address is called: pure, time comes in.
//!
//! Promise: an address where nobody has proved a key gets [`TRIES_PER_HOUR`], a whole network of them
//! [`NETWORK_TRIES_PER_HOUR`], so that whoever names a stranger's address to many of us does him little harm (T4); one where
//! somebody has is called again as long as it makes sense, ever more rarely. Calls that are not over yet are bounded, in all
//! and for each network; so is what is remembered (I30). The same seed and the same calls give the same waits.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::limits::{
    ADDRESSES_MAX, BACK_OFF, BACK_OFF_MAX, CALLS_MAX, NETWORK_CALLS_MAX, NETWORK_TRIES_PER_HOUR, REACHED_FOR,
    TRIES_PER_HOUR,
};
use crate::reach::{NamedBy, Unreachable, canonical, is_this_machine, may_call, network};

/// Time since the budget was made.
type Time = Duration;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// What may be called, and when.
#[derive(Debug)]
pub struct Budget {
    seed: u64,
    /// How many random numbers were drawn.
    drawn: u64,
    known: BTreeMap<Key, Known>,
    /// Calls that are not over, by network.
    under_way: BTreeMap<IpAddr, usize>,
    /// Where we are to be called ourselves.
    own: Vec<SocketAddr>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The one that was wanted proved its key.
    Reached,
    /// Nobody was there, or somebody else.
    Failed,
    /// Another address was faster.
    GivenUp,
}

/// Why an address is not called now.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Held {
    /// Never, as long as nobody else names it.
    #[error("it {0}")]
    Unreachable(#[from] Unreachable),
    /// It is our own.
    #[error("it is this device's own")]
    Own,
    /// It was called a while ago.
    #[error("it is called again in {} s", .0.as_secs())]
    Wait(Duration),
    /// Many calls are under way.
    #[error("other calls are under way")]
    Busy,
}

/// Ordered by network, then by address.
type Key = (IpAddr, SocketAddr);

#[derive(Debug)]
struct Known {
    /// When it was called in the last hour, oldest first; no more than count.
    tries: Vec<Time>,
    /// How often in a row nobody was reached.
    failures: u32,
    not_before: Time,
    /// When somebody was last reached there.
    reached: Option<Time>,
    is_under_way: bool,
}

impl Budget {
    /// An empty budget. Its waits vary with the seed, so that many devices do not call at the same moment.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: 0, known: BTreeMap::new(), under_way: BTreeMap::new(), own: Vec::new() }
    }

    /// Where we are called ourselves; not to be called by us.
    pub fn own(&mut self, addresses: &[SocketAddr]) {
        self.own = addresses.iter().copied().map(canonical).collect();
    }

    /// Whether a call may begin now.
    ///
    /// # Errors
    /// When it may not: why, and for how long.
    pub fn may_begin(&self, address: SocketAddr, named_by: NamedBy, now: Time) -> Result<(), Held> {
        let address = canonical(address);
        may_call(address, named_by)?;
        if self.own.contains(&address) {
            return Err(Held::Own);
        }
        let (network, total) = (network(address.ip()), self.under_way.values().sum::<usize>());
        let until = self.not_before(address, now);
        if until > now {
            return Err(Held::Wait(until - now));
        }
        let of_network = self.under_way.get(&network).copied().unwrap_or(0);
        let is_known = self.known.contains_key(&key(address));
        let is_full = !is_known && self.known.len() >= ADDRESSES_MAX && self.forgettable(now).is_none();
        if total >= CALLS_MAX || of_network >= NETWORK_CALLS_MAX || is_full {
            return Err(Held::Busy);
        }
        Ok(())
    }

    /// A call begins; it must be told how it ended.
    ///
    /// # Errors
    /// When it may not; as [`Self::may_begin`].
    pub fn begin(&mut self, address: SocketAddr, named_by: NamedBy, now: Time) -> Result<(), Held> {
        self.may_begin(address, named_by, now)?;
        let key = key(canonical(address));
        if !self.known.contains_key(&key) && self.known.len() >= ADDRESSES_MAX {
            let oldest = self.forgettable(now).ok_or(Held::Busy)?;
            self.known.remove(&oldest);
        }
        let known = self.known.entry(key).or_insert_with(Known::new);
        known.tries.retain(|at| *at + HOUR > now);
        if known.tries.len() == usize::from(TRIES_PER_HOUR) {
            known.tries.remove(0);
        }
        known.tries.push(now);
        known.is_under_way = true;
        *self.under_way.entry(key.0).or_insert(0) += 1;
        Ok(())
    }

    /// A call is over.
    pub fn ended(&mut self, address: SocketAddr, how: Ended, now: Time) {
        let key = key(canonical(address));
        let Some(known) = self.known.get_mut(&key).filter(|known| known.is_under_way) else { return };
        known.is_under_way = false;
        match how {
            Ended::Reached => {
                known.reached = Some(now);
                known.failures = 0;
                // What proved to be ours does not count against others there.
                known.tries.clear();
            }
            Ended::Failed => known.failures = known.failures.saturating_add(1),
            Ended::GivenUp => {}
        }
        let failures = known.failures;
        let wait = self.back_off(failures);
        if let Some(known) = self.known.get_mut(&key) {
            known.not_before = now + wait;
        }
        if let Some(calls) = self.under_way.get_mut(&key.0) {
            *calls -= 1;
            if *calls == 0 {
                self.under_way.remove(&key.0);
            }
        }
    }

    /// Somebody was reached there before this budget was made, or called us from there: it is not a stranger's.
    pub fn trusted(&mut self, address: SocketAddr, now: Time) {
        let key = key(canonical(address));
        if self.known.len() < ADDRESSES_MAX || self.known.contains_key(&key) {
            self.known.entry(key).or_insert_with(Known::new).reached = Some(now);
        }
    }

    /// Something has changed, so that waiting longer is of no use: the network is another one, or the device was heard.
    /// What a stranger's address may cost stays as it is.
    pub fn hurry(&mut self, address: SocketAddr, now: Time) {
        if let Some(known) = self.known.get_mut(&key(canonical(address))) {
            known.failures = known.failures.min(1);
            known.not_before = known.not_before.min(now + BACK_OFF);
        }
    }

    /// When this address may be called, as far as what is known of it says.
    fn not_before(&self, address: SocketAddr, now: Time) -> Time {
        let key = key(address);
        let known = self.known.get(&key);
        if known.is_some_and(|known| known.is_under_way) {
            return now + BACK_OFF;
        }
        let own_turn = known.map_or(now, |known| known.not_before);
        if is_this_machine(address.ip()) || known.is_some_and(|known| known.is_trusted(now)) {
            return own_turn;
        }
        let tries = known.map_or(&[][..], |known| &known.tries);
        let of_network: Vec<Time> = self
            .known
            .range((key.0, least(key.0))..)
            .take_while(|((network, _), _)| *network == key.0)
            .filter(|(_, known)| !known.is_trusted(now))
            .flat_map(|(_, known)| known.tries.iter().copied())
            .collect();
        own_turn.max(full_until(tries.to_vec(), TRIES_PER_HOUR, now)).max(full_until(
            of_network,
            NETWORK_TRIES_PER_HOUR,
            now,
        ))
    }

    /// The address that matters least: nobody was reached there, and its tries do not count any more.
    fn forgettable(&self, now: Time) -> Option<Key> {
        let is_idle = |known: &Known| {
            !known.is_under_way
                && !known.is_trusted(now)
                && known.not_before <= now
                && known.tries.iter().all(|at| *at + HOUR <= now)
        };
        self.known
            .iter()
            .filter(|(_, known)| is_idle(known))
            .min_by_key(|(_, known)| known.not_before)
            .map(|(key, _)| *key)
    }

    /// Twice as long each time, and a quarter more or less.
    fn back_off(&mut self, failures: u32) -> Duration {
        let doubled = BACK_OFF.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACK_OFF_MAX);
        self.drawn += 1;
        let drawn = mixed(self.seed ^ self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15)) % 512;
        // From three quarters to five quarters.
        doubled * (768 + u32::try_from(drawn).unwrap_or(0)) / 1024
    }
}

impl Known {
    fn new() -> Self {
        Self {
            tries: Vec::new(),
            failures: 0,
            not_before: Duration::ZERO,
            reached: None,
            is_under_way: false,
        }
    }

    /// Somebody was reached there not too long ago.
    fn is_trusted(&self, now: Time) -> bool {
        self.reached.is_some_and(|at| at + REACHED_FOR > now)
    }
}

fn key(address: SocketAddr) -> Key {
    (network(address.ip()), address)
}

/// The first address of a network in the order of addresses.
fn least(network: IpAddr) -> SocketAddr {
    SocketAddr::new(network, 0)
}

/// Until when so many tries are as many as an hour may have; `now` if they are not.
fn full_until(mut tries: Vec<Time>, most: u16, now: Time) -> Time {
    tries.retain(|at| *at + HOUR > now);
    tries.sort_unstable();
    match tries.len().checked_sub(usize::from(most)) {
        Some(surplus) => tries[surplus] + HOUR,
        None => now,
    }
}

/// Mixes the bits of a number (splitmix64).
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests;
