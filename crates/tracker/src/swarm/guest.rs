//! Who is announced under a topic, from where, and what of it another may be told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use shoal_proto::secret::Pseudonym;

use super::CallerId;
use super::slab::Key;
use crate::limits::{LEASE_ELSEWHERE_MAX, LEASE_PORTS_MAX};
use crate::seats::household;

/// One pseudonym under one topic. Without a lease it has left, and stays until all who heard of it hear that.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) pseudonym: Pseudonym,
    pub(super) topic: Key,
    /// Counts what changed of what is told.
    pub(super) version: u32,
    /// Its leases, one for each household that it announces from; the next one stands in the lease.
    pub(super) first: Key,
}

/// One announcement.
#[derive(Debug)]
pub(super) struct Lease {
    /// Whose connection announced it last.
    pub(super) owner: CallerId,
    /// From where.
    pub(super) seen: Ipv6Addr,
    pub(super) spots: Spots,
    pub(super) guest: Key,
    pub(super) next: Key,
    /// The second in which it ends.
    pub(super) ends: u32,
    /// The second under which it is filed, to be looked at then; never after its end.
    pub(super) filed: u32,
    /// Its place there.
    pub(super) filed_at: u32,
}

/// What of the announced addresses can be believed (`T4`): ports at the address that we saw, and addresses that mean
/// something only near the announcer. Packed, since there are a million of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Spots(Box<[u8]>);

const HERE: u8 = 0;
const V4: u8 = 4;
const V6: u8 = 6;

impl Spots {
    /// Those of the announced addresses that are kept, at most [`LEASE_PORTS_MAX`] here and [`LEASE_ELSEWHERE_MAX`] near.
    pub(super) fn believed(seen: IpAddr, announced: &[SocketAddr]) -> Self {
        let (mut here, mut near) = (Vec::new(), Vec::new());
        for address in announced {
            let ip = address.ip().to_canonical();
            let address = SocketAddr::new(ip, address.port());
            let (list, max) = match ip {
                _ if ip == seen => (&mut here, LEASE_PORTS_MAX),
                _ if is_near(ip) => (&mut near, LEASE_ELSEWHERE_MAX),
                _ => continue,
            };
            if list.len() < max && !list.contains(&address) {
                list.push(address);
            }
        }
        let mut packed = Vec::new();
        for address in here {
            packed.push(HERE);
            packed.extend(address.port().to_be_bytes());
        }
        for address in near {
            match address.ip() {
                IpAddr::V4(ip) => {
                    packed.push(V4);
                    packed.extend(ip.octets());
                }
                IpAddr::V6(ip) => {
                    packed.push(V6);
                    packed.extend(ip.octets());
                }
            }
            packed.extend(address.port().to_be_bytes());
        }
        Self(packed.into())
    }

    /// What somebody at `asker` may be told of them; no more than `out` has room for.
    ///
    /// What is near the announcer is told only to who comes from the same household, and so is an announcer whom we see
    /// at such an address that only this machine has.
    pub(super) fn tell(&self, seen: IpAddr, asker: IpAddr, out: &mut Vec<SocketAddr>, max: usize) {
        let is_neighbour = household(seen) == household(asker);
        let mut rest = &*self.0;
        while let Some((address, after)) = unpack(rest, seen) {
            rest = after;
            let is_told = is_neighbour || (address.ip() == seen && !seen.is_loopback());
            if is_told && out.len() < max && !out.contains(&address) {
                out.push(address);
            }
        }
    }
}

/// The first address of packed ones, and the others.
fn unpack(packed: &[u8], seen: IpAddr) -> Option<(SocketAddr, &[u8])> {
    let (tag, rest) = packed.split_first()?;
    let (ip, rest) = match *tag {
        V4 => rest.split_first_chunk().map(|(ip, rest)| (IpAddr::from(Ipv4Addr::from_octets(*ip)), rest))?,
        V6 => rest.split_first_chunk().map(|(ip, rest)| (IpAddr::from(Ipv6Addr::from_octets(*ip)), rest))?,
        _ => (seen, rest),
    };
    let (port, rest) = rest.split_first_chunk()?;
    Some((SocketAddr::new(ip, u16::from_be_bytes(*port)), rest))
}

/// Whether an address means something only in the network, or on the machine, where it is used.
fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seen: &str, announced: &[&str], asker: &str) -> Vec<String> {
        let seen = seen.parse().unwrap();
        let announced: Vec<_> = announced.iter().map(|text| text.parse().unwrap()).collect();
        let mut out = Vec::new();
        Spots::believed(seen, &announced).tell(seen, asker.parse().unwrap(), &mut out, 16);
        out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn t4_only_what_was_seen_is_told_and_what_is_near_to_neighbours() {
        let announced = ["192.0.2.1:80", "192.0.2.2:80", "10.0.0.1:81", "[fd00::1]:82", "[2001:db8::1]:83"];
        assert_eq!(told("192.0.2.1", &announced, "198.51.100.1"), ["192.0.2.1:80"]);
        let near = ["192.0.2.1:80", "10.0.0.1:81", "[fd00::1]:82"];
        assert_eq!(told("192.0.2.1", &announced, "192.0.2.1"), near);
        assert_eq!(told("192.0.2.9", &announced, "192.0.2.1"), [""; 0]);
        assert_eq!(told("2001:db8::1", &announced, "198.51.100.1"), ["[2001:db8::1]:83"]);
        assert_eq!(
            told("2001:db8::1", &announced, "2001:db8::2"),
            ["[2001:db8::1]:83", "10.0.0.1:81", "[fd00::1]:82"]
        );
        assert_eq!(
            told("2001:db8::1", &announced, "2001:db8:0:1::2"),
            ["[2001:db8::1]:83"],
            "another network"
        );
    }

    #[test]
    fn t4_addresses_of_this_machine_are_told_on_it_and_a_mapped_address_is_the_mapped_one() {
        assert_eq!(told("127.0.0.1", &["127.0.0.1:80"], "127.0.0.1"), ["127.0.0.1:80"]);
        assert_eq!(told("127.0.0.1", &["127.0.0.1:80"], "192.0.2.1"), [""; 0]);
        assert_eq!(
            told("10.0.0.7", &["10.0.0.7:80"], "10.0.0.8"),
            ["10.0.0.7:80"],
            "a tracker in that network"
        );
        assert_eq!(
            told("192.0.2.1", &["[::ffff:192.0.2.1]:80", "192.0.2.1:80"], "192.0.2.2"),
            ["192.0.2.1:80"]
        );
    }

    #[test]
    fn t5_a_lease_keeps_a_few_addresses() {
        let announced: Vec<String> = (1..=16)
            .map(|port| if port % 2 == 0 { format!("192.0.2.1:{port}") } else { format!("10.0.0.1:{port}") })
            .collect();
        let announced: Vec<&str> = announced.iter().map(String::as_str).collect();
        assert_eq!(told("192.0.2.1", &announced, "192.0.2.1").len(), LEASE_PORTS_MAX + LEASE_ELSEWHERE_MAX);
    }
}
