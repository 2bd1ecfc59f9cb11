//! What trackers have told: who is where, by their words alone.
//!
//! Promise: of each topic that we asked about, and of no other; bounded however much a tracker says; what one tracker says
//! takes nothing away from what another says. It is a hint and nothing more: whoever is dialled proves a key (`I24`, `T3`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use shoal_net::reach::may_call;
use shoal_net::{Candidate, NamedBy};
use shoal_proto::limits::ANNOUNCED_ADDRESSES_MAX;
use shoal_proto::secret::{Pseudonym, Topic};
use tokio::time::Instant;

use super::Found;

/// Most peers that one tracker is believed to know under one topic; an honest one tells of fewer.
const PEERS_PER_TOPIC_MAX: usize = 64;

/// How long what a tracker told stands once it cannot be asked any more: as long as its leases did, at most.
const KEPT_AFTER_LOSS: Duration = Duration::from_secs(super::LEASE_SECONDS as u64);

/// A tracker that we ask, by a number of our own.
pub(super) type Source = usize;

/// All that was told.
#[derive(Debug, Default)]
pub(super) struct Book(BTreeMap<Source, BTreeMap<Topic, Page>>);

/// What one tracker told of one topic.
#[derive(Debug, Default)]
struct Page {
    peers: BTreeMap<Pseudonym, Vec<Candidate>>,
    /// Until when it stands, if nobody keeps it up to date.
    until: Option<Instant>,
}

impl Book {
    /// A tracker at `tracker` told where peers are; all that it knows, or some that changed.
    pub(super) fn told(
        &mut self,
        source: Source,
        tracker: IpAddr,
        topic: Topic,
        peers: Vec<(Pseudonym, Vec<SocketAddr>)>,
        is_all: bool,
    ) -> Vec<Found> {
        let named_by = NamedBy::Others { is_here: tracker.is_loopback() };
        let mut named: BTreeSet<Pseudonym> = peers.iter().map(|(name, _)| *name).collect();
        if is_all {
            named.extend(self.page(source, topic).peers.keys());
        }
        self.changes(topic, &named, |book| {
            let page = book.page(source, topic);
            page.until = None;
            if is_all {
                page.peers.clear();
            }
            for (name, addresses) in peers {
                let candidates: Vec<_> = addresses
                    .into_iter()
                    .map(|address| Candidate { named_by, address })
                    .filter(|candidate| may_call(candidate.address, named_by).is_ok())
                    .collect();
                if candidates.is_empty() {
                    page.peers.remove(&name);
                } else if page.peers.len() < PEERS_PER_TOPIC_MAX || page.peers.contains_key(&name) {
                    page.peers.insert(name, candidates);
                }
            }
        })
    }

    /// A tracker told who left.
    pub(super) fn left(&mut self, source: Source, topic: Topic, names: &[Pseudonym]) -> Vec<Found> {
        self.changes(topic, &names.iter().copied().collect(), |book| {
            let page = book.page(source, topic);
            names.iter().for_each(|name| _ = page.peers.remove(name));
        })
    }

    /// A tracker cannot be asked any more, for now. What it told stands for a while.
    pub(super) fn lost(&mut self, source: Source, now: Instant) {
        for page in self.0.get_mut(&source).into_iter().flat_map(BTreeMap::values_mut) {
            page.until.get_or_insert(now + KEPT_AFTER_LOSS);
        }
    }

    /// A tracker is not asked any more.
    pub(super) fn forget(&mut self, source: Source) -> Vec<Found> {
        self.drop_pages(|of, _, _| of == source)
    }

    /// What nobody has kept up to date for too long is forgotten.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Found> {
        self.drop_pages(|_, _, page| page.until.is_some_and(|until| until <= now))
    }

    /// Only these topics are of interest from now on.
    pub(super) fn keep(&mut self, is_asked: impl Fn(&Topic) -> bool) {
        self.0.values_mut().for_each(|pages| pages.retain(|topic, _| is_asked(topic)));
    }

    fn drop_pages(&mut self, goes: impl Fn(Source, &Topic, &Page) -> bool) -> Vec<Found> {
        let mut going = Vec::new();
        for (source, pages) in &self.0 {
            let pages = pages.iter().filter(|(topic, page)| goes(*source, topic, page));
            going.extend(pages.map(|(topic, page)| (*source, *topic, page.peers.keys().copied().collect())));
        }
        let mut found = Vec::new();
        for (source, topic, names) in going {
            found.extend(self.changes(topic, &names, |book| {
                book.0.get_mut(&source).map(|pages| pages.remove(&topic));
            }));
        }
        self.0.retain(|_, pages| !pages.is_empty());
        found
    }

    /// What becomes of these peers by a deed, as far as all trackers together are concerned.
    fn changes(
        &mut self,
        topic: Topic,
        names: &BTreeSet<Pseudonym>,
        deed: impl FnOnce(&mut Self),
    ) -> Vec<Found> {
        let before: Vec<_> = names.iter().map(|name| self.addresses(&topic, name)).collect();
        deed(self);
        let after = names.iter().map(|name| self.addresses(&topic, name));
        let changed = names.iter().zip(before).zip(after).filter(|((_, before), after)| before != after);
        changed.map(|((name, _), addresses)| Found { topic, pseudonym: *name, addresses }).collect()
    }

    /// Where a peer is, by the words of all trackers.
    fn addresses(&self, topic: &Topic, name: &Pseudonym) -> Vec<Candidate> {
        let pages = self.0.values().filter_map(|pages| pages.get(topic)?.peers.get(name));
        let mut candidates: Vec<Candidate> = Vec::new();
        for candidate in pages.flatten() {
            if let Some(known) = candidates.iter_mut().find(|known| known.address == candidate.address) {
                // Who is here may name more.
                known.named_by = known.named_by.max(candidate.named_by);
            } else if candidates.len() < 2 * ANNOUNCED_ADDRESSES_MAX {
                candidates.push(*candidate);
            }
        }
        candidates
    }

    fn page(&mut self, source: Source, topic: Topic) -> &mut Page {
        self.0.entry(source).or_default().entry(topic).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Topic = Topic::from_bytes([1; 32]);

    fn name(number: u8) -> Pseudonym {
        Pseudonym::from_bytes([number; 32])
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn far() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    /// One tracker tells of one peer.
    fn tells(book: &mut Book, source: Source, number: u8, addresses: &[&str]) -> Vec<Found> {
        let addresses = addresses.iter().map(|text| at(text)).collect();
        book.told(source, far(), TOPIC, vec![(name(number), addresses)], false)
    }

    fn found(number: u8, addresses: &[&str]) -> Vec<Found> {
        let named_by = NamedBy::Others { is_here: false };
        let addresses = addresses.iter().map(|text| Candidate { named_by, address: at(text) }).collect();
        vec![Found { topic: TOPIC, pseudonym: name(number), addresses }]
    }

    #[test]
    fn several_trackers_add_up_and_none_takes_away_what_another_says() {
        let mut book = Book::default();
        assert_eq!(tells(&mut book, 1, 7, &["192.0.2.7:1"]), found(7, &["192.0.2.7:1"]));
        assert_eq!(tells(&mut book, 2, 7, &["192.0.2.7:1"]), []);
        assert_eq!(tells(&mut book, 2, 7, &["192.0.2.7:2"]), found(7, &["192.0.2.7:1", "192.0.2.7:2"]));
        assert_eq!(book.left(1, TOPIC, &[name(7), name(8)]), found(7, &["192.0.2.7:2"]));
        assert_eq!(book.forget(2), found(7, &[]));
        assert_eq!(book.forget(1), []);
        assert!(book.0.is_empty());
    }

    #[test]
    fn a_whole_list_takes_the_place_of_what_was_told_before() {
        let mut book = Book::default();
        tells(&mut book, 1, 7, &["192.0.2.7:1"]);
        tells(&mut book, 1, 8, &["192.0.2.8:1"]);
        let all = vec![(name(8), vec![at("192.0.2.8:1")])];
        assert_eq!(book.told(1, far(), TOPIC, all, true), found(7, &[]));
    }

    #[test]
    fn what_a_lost_tracker_told_stands_for_a_while() {
        let mut book = Book::default();
        tells(&mut book, 1, 7, &["192.0.2.7:1"]);
        let now = Instant::now();
        book.lost(1, now);
        book.lost(1, now + KEPT_AFTER_LOSS / 2);
        assert_eq!(book.expire(now + KEPT_AFTER_LOSS - Duration::from_secs(1)), []);
        assert_eq!(book.expire(now + KEPT_AFTER_LOSS), found(7, &[]));
        tells(&mut book, 1, 7, &["192.0.2.7:1"]);
        book.lost(1, now);
        tells(&mut book, 1, 8, &["192.0.2.8:1"]);
        assert_eq!(book.expire(now + 2 * KEPT_AFTER_LOSS), [], "it is back");
        book.keep(|_| false);
        assert_eq!(book.forget(1), [], "nobody asks about that topic");
    }

    #[test]
    fn t3_a_tracker_that_lies_is_believed_a_bounded_number_of_peers() {
        let mut book = Book::default();
        for number in 0..=u8::MAX {
            tells(&mut book, 1, number, &["192.0.2.7:1"]);
        }
        assert_eq!(book.0[&1][&TOPIC].peers.len(), PEERS_PER_TOPIC_MAX);
        assert_eq!(tells(&mut book, 1, 0, &["192.0.2.7:2"]).len(), 1, "of those it may tell news");
    }

    #[test]
    fn t4_only_a_tracker_near_us_sends_us_near() {
        let mut book = Book::default();
        let addresses =
            &["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "169.254.1.1:1", "[fe80::1]:1", "10.0.0.1:1"];
        assert_eq!(tells(&mut book, 1, 7, addresses), found(7, &["10.0.0.1:1"]));
        assert_eq!(tells(&mut book, 1, 8, &["127.0.0.1:1"]), []);
        let near = vec![(name(9), addresses.iter().map(|text| at(text)).collect())];
        let told = book.told(2, "127.0.0.1".parse().unwrap(), TOPIC, near.clone(), false);
        assert_eq!(told[0].addresses.len(), 6);
        book.told(1, far(), TOPIC, near, false);
        let here = NamedBy::Others { is_here: true };
        assert!(book.addresses(&TOPIC, &name(9)).iter().all(|candidate| candidate.named_by == here));
    }
}
