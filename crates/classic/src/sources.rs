//! What is remembered of the addresses that files were fetched from.
//!
//! Promise: an address, or a host, that keeps failing is left alone for growing times, so that no directory
//! can turn a peer against a victim (`T4`) and no dead peer slows the living; the memory is bounded.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::dialect::Dialect;
use crate::limits::{
    HOST_EMPTY_ANSWERS_MAX, HOST_FAILURES_MAX, SOURCE_FAILURES_MAX, SOURCE_REST_MAX, SOURCE_REST_MIN,
    SOURCES_MAX,
};
use crate::time::Time;

/// The behaviour of sources so far.
#[derive(Debug, Default)]
pub struct Sources {
    addresses: BTreeMap<SocketAddr, Record>,
    hosts: BTreeMap<IpAddr, Record>,
    /// Hosts that closed without a byte, counted for themselves.
    quiet_hosts: BTreeMap<IpAddr, Record>,
}

#[derive(Debug, Default)]
struct Record {
    /// Failures since the last success.
    failures: u32,
    /// Left alone until then.
    rests_until: Time,
    /// How long it was left alone the last time.
    rest: Duration,
    /// The dialect that it has shown.
    dialect: Option<Dialect>,
    /// What is thought of its dialect may be wrong.
    is_doubted: bool,
}

impl Sources {
    /// Whether a source is worth a try now.
    #[must_use]
    pub fn may_try(&self, source: SocketAddr, now: Time) -> bool {
        let rests = |record: Option<&Record>| record.is_some_and(|record| now < record.rests_until);
        let host = &source.ip();
        !rests(self.addresses.get(&source))
            && !rests(self.hosts.get(host))
            && !rests(self.quiet_hosts.get(host))
    }

    /// The dialect that a source has shown in an earlier exchange.
    #[must_use]
    pub fn dialect(&self, source: SocketAddr) -> Option<Dialect> {
        self.addresses.get(&source)?.dialect
    }

    /// Whether what is thought of a source's dialect may be wrong: its last answer was.
    #[must_use]
    pub fn is_doubted(&self, source: SocketAddr) -> bool {
        self.addresses.get(&source).is_some_and(|record| record.is_doubted)
    }

    /// A source gave a whole answer, and showed a dialect by it.
    pub fn succeeded(&mut self, source: SocketAddr, dialect: Option<Dialect>) {
        self.hosts.remove(&source.ip());
        self.quiet_hosts.remove(&source.ip());
        let known = self.dialect(source);
        self.remember(source, Record { dialect: dialect.or(known), ..Record::default() });
    }

    /// A source gave no answer, or a wrong one; what was thought of its dialect may be wrong too.
    pub fn failed(&mut self, source: SocketAddr, now: Time) {
        let mut record = self.addresses.remove(&source).unwrap_or_default();
        record.failed(SOURCE_FAILURES_MAX, now);
        (record.dialect, record.is_doubted) = (None, true);
        self.remember(source, record);
        make_room(&mut self.hosts);
        self.hosts.entry(source.ip()).or_default().failed(HOST_FAILURES_MAX, now);
    }

    /// What is thought of a source's dialect may be wrong.
    pub fn doubt(&mut self, source: SocketAddr) {
        let mut record = self.addresses.remove(&source).unwrap_or_default();
        (record.dialect, record.is_doubted) = (None, true);
        self.remember(source, record);
    }

    /// A source closed without a byte, which may be an empty file or an error. Nothing is held against it, but
    /// neither can a directory have a host dialled without end that has no file for us (`T4`).
    pub fn gave_nothing(&mut self, source: SocketAddr, now: Time) {
        make_room(&mut self.quiet_hosts);
        self.quiet_hosts.entry(source.ip()).or_default().failed(HOST_EMPTY_ANSWERS_MAX, now);
    }

    fn remember(&mut self, source: SocketAddr, record: Record) {
        make_room(&mut self.addresses);
        self.addresses.insert(source, record);
    }
}

impl Record {
    fn failed(&mut self, failures_max: u32, now: Time) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= failures_max && now >= self.rests_until {
            self.rest = (self.rest * 2).clamp(SOURCE_REST_MIN, SOURCE_REST_MAX);
            self.rests_until = now + self.rest;
        }
    }
}

/// Forgets the record that is least missed: the one whose rest ends first.
fn make_room<K: Ord + Copy>(records: &mut BTreeMap<K, Record>) {
    if records.len() >= SOURCES_MAX
        && let Some(key) = records.iter().min_by_key(|(_, record)| record.rests_until).map(|(key, _)| *key)
    {
        records.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::after_start(Duration::from_secs(secs))
    }

    fn source(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[test]
    fn t4_a_failing_address_is_left_alone_for_growing_times() {
        let mut sources = Sources::default();
        for _ in 0..SOURCE_FAILURES_MAX {
            assert!(sources.may_try(source(1), at(0)));
            sources.failed(source(1), at(0));
        }
        assert!(!sources.may_try(source(1), at(9)));
        assert!(sources.may_try(source(2), at(9)), "others of the host are not meant");
        assert!(sources.may_try(source(1), at(10)));
        sources.failed(source(1), at(10));
        assert!(!sources.may_try(source(1), at(29)));
        assert!(sources.may_try(source(1), at(30)));
        sources.succeeded(source(1), None);
        sources.failed(source(1), at(31));
        assert!(sources.may_try(source(1), at(31)), "a success forgives");
    }

    #[test]
    fn t4_a_directory_cannot_have_all_ports_of_a_host_dialled() {
        let mut sources = Sources::default();
        let dialled = (1..=1000).filter(|port| {
            let tried = sources.may_try(source(*port), at(0));
            if tried {
                sources.failed(source(*port), at(0));
            }
            tried
        });
        assert_eq!(dialled.count(), HOST_FAILURES_MAX as usize);
    }

    #[test]
    fn t4_a_host_that_closes_without_a_byte_is_dialled_some_times_and_then_rests() {
        let mut sources = Sources::default();
        let mut dialled = 0;
        while sources.may_try(source(1), at(0)) {
            dialled += 1;
            sources.gave_nothing(source(1), at(0));
        }
        assert_eq!(dialled, HOST_EMPTY_ANSWERS_MAX);
        assert!(!sources.is_doubted(source(1)), "an empty file is no fault");
        sources.succeeded(source(1), None);
        assert!(sources.may_try(source(1), at(0)), "a file of the host's forgives");
    }

    #[test]
    fn dialects_are_learned_and_unlearned() {
        let mut sources = Sources::default();
        sources.succeeded(source(1), Some(Dialect::Framed));
        sources.succeeded(source(1), None);
        assert_eq!(sources.dialect(source(1)), Some(Dialect::Framed));
        assert!(!sources.is_doubted(source(1)));
        sources.failed(source(1), at(0));
        assert_eq!(sources.dialect(source(1)), None);
        assert!(sources.is_doubted(source(1)));
    }

    #[test]
    fn i30_the_memory_is_bounded() {
        let mut sources = Sources::default();
        for number in 0..u32::try_from(SOURCES_MAX).unwrap() + 100 {
            let ip = IpAddr::from(number.to_be_bytes());
            sources.failed(SocketAddr::new(ip, 1), at(0));
            sources.gave_nothing(SocketAddr::new(ip, 1), at(0));
        }
        let Sources { addresses, hosts, quiet_hosts } = sources;
        assert_eq!([addresses.len(), hosts.len(), quiet_hosts.len()], [SOURCES_MAX; 3]);
    }
}
