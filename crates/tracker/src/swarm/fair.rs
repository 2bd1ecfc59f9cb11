//! Who gives way when all the room is taken.
//!
//! Promise (`T5`): room is shared by household (an address, or an IPv6 network of one subscriber). When all is taken, a
//! newcomer gets in only at the cost of a household that has at least two more than its own, and that one loses what it
//! renewed longest ago. So whoever floods pushes out itself and nobody who has less; and two that are equal do not push
//! each other out in turns.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::slab::{Key, NONE, Slab};

/// Room for so many entries, whose keys are those of a slab.
#[derive(Debug)]
pub(super) struct Fair {
    max: usize,
    per_household_max: usize,
    by_address: BTreeMap<[u8; 16], Key>,
    households: Slab<Household>,
    /// By the entries' own keys.
    links: Vec<Vec<Link>>,
    /// Households by how many entries they have.
    by_size: BTreeSet<(u32, Key)>,
    taken: usize,
}

/// One household's entries: a ring of which it knows the one that was renewed longest ago.
#[derive(Debug)]
struct Household {
    address: [u8; 16],
    entries: u32,
    oldest: Key,
}

/// Whose an entry is, and its neighbours in that ring.
#[derive(Clone, Copy, Debug)]
struct Link {
    household: Key,
    older: Key,
    newer: Key,
}

const UNLINKED: Link = Link { household: NONE, older: NONE, newer: NONE };

/// Links in one page.
const PAGE: usize = 1024;

/// What a newcomer hears.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Admission {
    /// There is room.
    Free,
    /// There is, once this entry is removed.
    InsteadOf(Key),
    /// There is none.
    Full,
}

impl Fair {
    pub(super) fn new(max: usize, per_household_max: usize) -> Self {
        Self {
            max,
            per_household_max,
            by_address: BTreeMap::new(),
            households: Slab::default(),
            links: Vec::new(),
            by_size: BTreeSet::new(),
            taken: 0,
        }
    }

    /// Whether one more entry of that household may come, and what has to go for it.
    pub(super) fn admit(&self, household: IpAddr) -> Admission {
        let own = self.by_address.get(&bytes(household)).and_then(|key| self.households.get(*key));
        let own = own.map_or(0, |household| household.entries);
        if own as usize >= self.per_household_max {
            return Admission::Full;
        }
        if self.taken < self.max {
            return Admission::Free;
        }
        match self.by_size.last() {
            Some((most, key)) if *most >= own.saturating_add(2) => self
                .households
                .get(*key)
                .map_or(Admission::Full, |household| Admission::InsteadOf(household.oldest)),
            _ => Admission::Full,
        }
    }

    /// An entry has come; it was admitted, and is none of those that are there.
    pub(super) fn add(&mut self, entry: Key, household: IpAddr) {
        let address = bytes(household);
        let households = &mut self.households;
        let key = *self
            .by_address
            .entry(address)
            .or_insert_with(|| households.insert(Household { address, entries: 0, oldest: NONE }));
        self.resize(key, 1);
        self.taken += 1;
        self.append(entry, key);
    }

    /// An entry was renewed, so others of its household go before it.
    pub(super) fn renewed(&mut self, entry: Key) {
        let household = self.link(entry).household;
        if household != NONE {
            self.cut(entry);
            self.append(entry, household);
        }
    }

    /// An entry is gone.
    pub(super) fn remove(&mut self, entry: Key) {
        let household = self.link(entry).household;
        if household == NONE {
            return;
        }
        self.cut(entry);
        self.taken -= 1;
        self.resize(household, -1);
    }

    /// Counts, and forgets a household that has nothing.
    fn resize(&mut self, key: Key, change: i32) {
        let Some(household) = self.households.get_mut(key) else { return };
        self.by_size.remove(&(household.entries, key));
        household.entries = household.entries.saturating_add_signed(change);
        if household.entries > 0 {
            self.by_size.insert((household.entries, key));
        } else {
            let address = household.address;
            self.households.remove(key);
            self.by_address.remove(&address);
        }
    }

    /// Puts an unlinked entry where the newest of its household stands.
    fn append(&mut self, entry: Key, key: Key) {
        let Some(household) = self.households.get_mut(key) else { return };
        let oldest = household.oldest;
        if oldest == NONE {
            household.oldest = entry;
            *self.link_mut(entry) = Link { household: key, older: entry, newer: entry };
            return;
        }
        // The ring is closed: before the oldest stands the newest.
        let newest = self.link(oldest).older;
        *self.link_mut(entry) = Link { household: key, older: newest, newer: oldest };
        self.link_mut(newest).newer = entry;
        self.link_mut(oldest).older = entry;
    }

    /// Takes an entry out of its household's ring.
    fn cut(&mut self, entry: Key) {
        let Link { household, older, newer } = std::mem::replace(self.link_mut(entry), UNLINKED);
        if newer != entry {
            self.link_mut(older).newer = newer;
            self.link_mut(newer).older = older;
        }
        if let Some(household) = self.households.get_mut(household)
            && household.oldest == entry
        {
            household.oldest = if newer == entry { NONE } else { newer };
        }
    }

    fn link(&self, entry: Key) -> Link {
        let (page, place) = (entry as usize / PAGE, entry as usize % PAGE);
        self.links.get(page).map_or(UNLINKED, |page| page[place])
    }

    fn link_mut(&mut self, entry: Key) -> &mut Link {
        let (page, place) = (entry as usize / PAGE, entry as usize % PAGE);
        while self.links.len() <= page {
            self.links.push(vec![UNLINKED; PAGE]);
        }
        &mut self.links[page][place]
    }
}

fn bytes(household: IpAddr) -> [u8; 16] {
    match household {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn home(number: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, number).into()
    }

    /// The same, by looking at everything.
    #[derive(Default)]
    struct Plain(Vec<(Key, u8)>);

    impl Plain {
        fn count(&self, number: u8) -> usize {
            self.0.iter().filter(|(_, of)| *of == number).count()
        }

        /// How many entries the newcomer's household has, and the most that any has.
        fn sizes(&self, number: u8) -> (usize, usize) {
            (self.count(number), (0..=u8::MAX).map(|number| self.count(number)).max().unwrap_or(0))
        }
    }

    proptest! {
        #[test]
        fn t5_room_is_shared_as_a_plain_list_would_share_it(
            deeds in proptest::collection::vec((0_u8..4, 0_u8..5), 1..300)
        ) {
            let (mut fair, mut plain) = (Fair::new(12, 9), Plain::default());
            let mut next = 0;
            for (deed, number) in deeds {
                if deed < 2 {
                    let (own, most) = plain.sizes(number);
                    let admission = fair.admit(home(number));
                    match admission {
                        Admission::Full => {
                            prop_assert!(own >= 9 || plain.0.len() == 12 && most < own + 2);
                            continue;
                        }
                        Admission::Free => prop_assert!(plain.0.len() < 12 && own < 9),
                        Admission::InsteadOf(victim) => {
                            prop_assert!(plain.0.len() == 12 && most >= own + 2);
                            let place = plain.0.iter().position(|(key, _)| *key == victim).unwrap();
                            let (_, loser) = plain.0.remove(place);
                            prop_assert_eq!(plain.count(loser) + 1, most);
                            prop_assert!(plain.0[..place].iter().all(|(_, of)| *of != loser), "not its oldest");
                            fair.remove(victim);
                        }
                    }
                    fair.add(next, home(number));
                    plain.0.push((next, number));
                    next += 1;
                } else if let Some(place) = plain.0.iter().position(|(_, of)| *of == number) {
                    let (key, of) = plain.0.remove(place);
                    if deed == 2 {
                        fair.remove(key);
                    } else {
                        fair.renewed(key);
                        plain.0.push((key, of));
                    }
                }
                prop_assert_eq!(fair.taken, plain.0.len());
                prop_assert_eq!(fair.by_size.len(), fair.households.len());
                prop_assert_eq!(fair.by_address.len(), fair.households.len());
            }
        }
    }

    #[test]
    fn t5_who_floods_pushes_out_itself() {
        let mut fair = Fair::new(100, 100);
        fair.add(0, home(1));
        for entry in 1..100 {
            fair.add(entry, home(2));
        }
        assert_eq!(fair.admit(home(2)), Admission::Full);
        assert_eq!(fair.admit(home(1)), Admission::InsteadOf(1));
        assert_eq!(fair.admit(home(3)), Admission::InsteadOf(1));
    }
}
