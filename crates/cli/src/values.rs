//! Argument values, read strictly: what is not plainly right is refused with what would be.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use shoal_daemon::classic::JOBS_MAX;

/// A port to dial: 1 to 65535.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    match number(text) {
        Some(port) if port != 0 => Ok(port),
        _ => Err("not a port; give a number from 1 to 65535".into()),
    }
}

/// A port to listen at; 0 takes a free one.
pub(crate) fn listen_port(text: &str) -> Result<u16, String> {
    number(text).ok_or_else(|| "not a port; give a number from 1 to 65535, or 0 for a free one".into())
}

/// Digits as the course's programs take them: ASCII only, no sign, no space (`A3`, `A4`).
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// An address of the course protocol: IPv4, four plain numbers (`A2`).
pub(crate) fn ipv4(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| "not an IPv4 address; give four numbers like 192.168.1.5".into())
}

/// An address to listen at, IPv4 or IPv6, the latter with or without brackets.
pub(crate) fn ip(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| "not an IP address; give one like 0.0.0.0 or [::]".into())
}

/// A duration in seconds, with or without a fraction; at least a tenth and at most a day.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let allowed = 0.1..=86_400.0;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds =
        is_plain.then(|| text.parse::<f64>().ok()).flatten().filter(|seconds| allowed.contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "give seconds, from 0.1 to 86400".into())
}

/// The same in milliseconds, as the daemon is told how long to wait.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    seconds(text).map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
}

/// A count of at least one.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let count = is_plain.then(|| text.parse().ok()).flatten().filter(|count| *count > 0);
    count.ok_or_else(|| "give a number of at least 1".into())
}

/// The number of a version in the history.
pub(crate) fn version(text: &str) -> Result<u64, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_plain.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| "give the number of a version, as `shoal history` lists them".into())
}

/// How many files may be fetched at once.
pub(crate) fn jobs(text: &str) -> Result<usize, String> {
    count(text)
        .ok()
        .filter(|jobs| *jobs <= JOBS_MAX)
        .ok_or_else(|| format!("give a number from 1 to {JOBS_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a2_addresses() {
        assert!(ipv4("192.168.1.5").is_ok());
        for text in ["256.1.1.1", "1.2.3", "01.2.3.4", "::1", "localhost", "", " 1.2.3.4", "1.2.3.4 "] {
            assert!(ipv4(text).is_err(), "{text:?}");
        }
        for text in ["0.0.0.0", "::", "[::]", "[::1]"] {
            assert!(ip(text).is_ok(), "{text:?}");
        }
        for text in ["[::", "[1.2.3.4", "host", ""] {
            assert!(ip(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a3_a4_ports() {
        assert_eq!(port("8001"), Ok(8001));
        assert_eq!(listen_port("0"), Ok(0));
        for text in [
            "-1",
            "0",
            "65536",
            "99999999999999999999",
            "80a",
            "",
            "+80",
            " 80",
            "80 ",
            "²",
            "٨٠",
            "0x50",
            "8e1",
        ] {
            assert!(port(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn other_numbers() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for text in ["0", "-1", "nan", "inf", "1e3", "", "100000", "."] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
        assert_eq!(milliseconds("1.5"), Ok(1500));
        assert_eq!(count("8"), Ok(8));
        for text in ["0", "-1", "x", "", "99999999999999999999999"] {
            assert!(count(text).is_err(), "{text:?}");
        }
    }
}
