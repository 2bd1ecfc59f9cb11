//! Which addresses may be called at all, by who has named them.
//!
//! Promise: nobody can have us call what is no single machine; and who is not here himself cannot have us call this machine
//! or its link, where services stand that trust whoever reaches them (T4).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Who has named an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum NamedBy {
    /// The other end has been reached there before.
    Before,
    /// Our own network: it was heard there.
    Lan,
    /// The user: in an invite or on the command line.
    User,
    /// A tracker, or another member.
    Others {
        /// It is itself on this machine, and so may know what else is.
        is_here: bool,
    },
}

/// Why an address is not called.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreachable {
    /// No port.
    #[error("has no port")]
    Port,
    /// Nobody's, or everybody's.
    #[error("is not the address of one machine")]
    NotOne,
    /// This machine, or its link, named by somebody elsewhere.
    #[error("leads to this machine or its link, which only somebody here may name")]
    Local,
}

/// Whether this address may be called.
///
/// # Errors
/// When it may not; says why.
pub fn may_call(address: SocketAddr, named_by: NamedBy) -> Result<(), Unreachable> {
    if address.port() == 0 {
        return Err(Unreachable::Port);
    }
    let ip = address.ip().to_canonical();
    if !is_one_machine(ip) {
        return Err(Unreachable::NotOne);
    }
    let may_be_local = match named_by {
        NamedBy::Before | NamedBy::User | NamedBy::Others { is_here: true } => true,
        NamedBy::Lan => !ip.is_loopback(),
        NamedBy::Others { is_here: false } => false,
    };
    if is_local(ip) && !may_be_local { Err(Unreachable::Local) } else { Ok(()) }
}

/// Whether this is the address of one machine: not of nobody, of many, or of none in the world (RFC 6890).
fn is_one_machine(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let first = ip.octets()[0];
            first != 0 && first < 240 && !ip.is_multicast()
        }
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    }
}

/// This machine, or what only its link knows.
fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

/// The network that one owner has, as far as an address tells: all of an IPv4 address, half of an IPv6 one.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
    }
}

/// Whether a call there bothers nobody but this machine.
pub(crate) fn is_this_machine(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// An address that means the same wherever it came from: IPv4 within IPv6 is IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Stands where the system does not know an address any more.
pub(crate) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

#[cfg(test)]
mod tests {
    use super::*;

    const ELSEWHERE: NamedBy = NamedBy::Others { is_here: false };
    const HERE: NamedBy = NamedBy::Others { is_here: true };

    fn verdict(address: &str, named_by: NamedBy) -> Result<(), Unreachable> {
        may_call(address.parse().unwrap(), named_by)
    }

    #[test]
    fn t4_what_is_no_machine_nobody_can_name() {
        for address in [
            "0.0.0.0:1",
            "0.1.2.3:1",
            "224.0.0.1:1",
            "239.255.255.250:1900",
            "240.0.0.1:1",
            "255.255.255.255:1",
            "[::]:1",
            "[ff02::1]:1",
            "[::ffff:224.0.0.1]:1",
            "[::ffff:0.0.0.0]:1",
        ] {
            for named_by in [NamedBy::Before, NamedBy::Lan, NamedBy::User, HERE, ELSEWHERE] {
                assert_eq!(verdict(address, named_by), Err(Unreachable::NotOne), "{address}");
            }
        }
        assert_eq!(verdict("192.0.2.1:0", NamedBy::User), Err(Unreachable::Port));
    }

    #[test]
    fn t4_b23_who_is_elsewhere_does_not_name_this_machine() {
        for address in [
            "127.0.0.1:22",
            "127.9.9.9:22",
            "[::1]:22",
            "[::ffff:127.0.0.1]:22",
            "169.254.169.254:80",
            "[fe80::1]:80",
        ] {
            assert_eq!(verdict(address, ELSEWHERE), Err(Unreachable::Local), "{address}");
            assert_eq!(verdict(address, NamedBy::User), Ok(()), "{address}");
            assert_eq!(verdict(address, HERE), Ok(()), "{address}");
        }
        assert_eq!(verdict("127.0.0.1:22", NamedBy::Lan), Err(Unreachable::Local));
        assert_eq!(verdict("169.254.3.4:22", NamedBy::Lan), Ok(()));
        for address in ["192.168.1.2:22", "10.0.0.1:22", "[fd00::1]:22", "192.0.2.1:22", "[2001:db8::1]:22"] {
            assert_eq!(verdict(address, ELSEWHERE), Ok(()), "{address}");
        }
    }

    #[test]
    fn one_owner_has_one_network() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
