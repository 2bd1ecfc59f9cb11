//! What a directory asks of us, decided entry by entry before anything is done.
//!
//! Promise: a pure function of the directory, what is here, and who we are. Nothing is fetched from
//! addresses that a tracker has no business to send us to (`B23`, `T4`), over something that is no plain file
//! (`I23`), or because of an mtime from the far future (`B14`).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::directory::{Directory, Listed};
use crate::limits::FUTURE_MAX;
use crate::name::FileName;

/// What is at a name in our folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Here {
    /// A plain file.
    File {
        /// Seconds since 1970, rounded down.
        mtime: i64,
    },
    /// Something that can be neither announced nor replaced; the text says what.
    Blocked(String),
}

/// Our folder, by name.
pub type Folder = BTreeMap<FileName, Here>;

/// Who and where we are.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    /// The addresses at which we serve.
    pub own: Vec<SocketAddr>,
    /// The tracker's address.
    pub tracker: IpAddr,
    /// Our own end of the connection to the tracker.
    pub local: IpAddr,
}

/// A file to fetch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// Its name.
    pub name: FileName,
    /// Where, how new, in which dialect.
    pub listed: Listed,
}

/// Why a listed file is not fetched.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Something is in its place.
    #[error("here is something in its place: {0}")]
    Blocked(String),
    /// It would be the newest for ever.
    #[error("its mtime is more than {} hours in the future; --trust-future fetches it all the same", FUTURE_MAX.as_secs() / 3600)]
    Future,
    /// An address that no file comes from.
    #[error("the tracker lists it at {0}, which is not dialled: {1}")]
    Address(IpAddr, &'static str),
}

/// What follows from a directory.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// Files that are new, or newer than here.
    pub wanted: Vec<Wanted>,
    /// Files that are newer than here and not fetched.
    pub refused: Vec<(FileName, Refusal)>,
}

/// Decides every entry of a directory. `newest` is the last mtime, in seconds since 1970, that is believed.
#[must_use]
pub fn plan(directory: &Directory, folder: &Folder, whereabouts: &Whereabouts, newest: i64) -> Plan {
    let mut plan = Plan::default();
    for (name, listed) in &directory.files {
        match decide(listed, folder.get(name), whereabouts, newest) {
            Decision::Settled => {}
            Decision::Fetch => plan.wanted.push(Wanted { name: name.clone(), listed: *listed }),
            Decision::Refuse(refusal) => plan.refused.push((name.clone(), refusal)),
        }
    }
    plan
}

enum Decision {
    Settled,
    Fetch,
    Refuse(Refusal),
}

fn decide(listed: &Listed, here: Option<&Here>, whereabouts: &Whereabouts, newest: i64) -> Decision {
    // An entry that points to us asks nothing of us: some trackers round mtimes up or list the wrong holder.
    if whereabouts.own.contains(&listed.source) {
        return Decision::Settled;
    }
    match here {
        Some(Here::File { mtime }) if *mtime >= listed.mtime => return Decision::Settled,
        Some(Here::Blocked(why)) => return Decision::Refuse(Refusal::Blocked(why.clone())),
        _ => {}
    }
    if listed.mtime > newest {
        return Decision::Refuse(Refusal::Future);
    }
    match undialled(listed.source.ip(), whereabouts) {
        Some(why) => Decision::Refuse(Refusal::Address(listed.source.ip(), why)),
        None => Decision::Fetch,
    }
}

/// Why an address is not dialled, if it is not (`B23`).
fn undialled(ip: IpAddr, whereabouts: &Whereabouts) -> Option<&'static str> {
    let tracker = whereabouts.tracker;
    let tracker_is_here = tracker.is_loopback() || tracker == whereabouts.local;
    if ip.is_unspecified() || matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 0) {
        Some("it is no host's address")
    } else if ip.is_multicast() || matches!(ip, IpAddr::V4(v4) if v4 >= Ipv4Addr::new(240, 0, 0, 0)) {
        Some("it is no single host's address")
    } else if ip.is_loopback() && !tracker_is_here {
        Some("it is this machine, and the tracker is not on it")
    } else if is_link_local(ip) && !is_link_local(tracker) {
        Some("it is link-local, and the tracker is not")
    } else {
        None
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWEST: i64 = 1_000_000;

    fn whereabouts(tracker: &str, local: &str) -> Whereabouts {
        Whereabouts {
            own: vec!["127.0.0.1:7".parse().unwrap(), "10.0.0.2:7".parse().unwrap()],
            tracker: tracker.parse().unwrap(),
            local: local.parse().unwrap(),
        }
    }

    /// What becomes of one entry: "settled", "fetch", or the reason.
    fn fate(source: &str, mtime: i64, here: Option<Here>, whereabouts: &Whereabouts) -> String {
        let name = FileName::parse("a").unwrap();
        let listed = Listed { source: source.parse().unwrap(), mtime, dialect: None };
        let directory = Directory { files: [(name.clone(), listed)].into(), ..Directory::default() };
        let folder = here.into_iter().map(|here| (name.clone(), here)).collect();
        let plan = plan(&directory, &folder, whereabouts, NEWEST);
        match (plan.wanted.as_slice(), plan.refused.as_slice()) {
            ([], []) => "settled".into(),
            ([_], []) => "fetch".into(),
            ([], [(_, refusal)]) => refusal.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn new_and_newer_files_are_fetched_and_no_others() {
        let at = whereabouts("10.0.0.1", "10.0.0.2");
        let file = |mtime| Some(Here::File { mtime });
        assert_eq!(fate("10.0.0.3:1", 5, None, &at), "fetch");
        assert_eq!(fate("10.0.0.3:1", -5, None, &at), "fetch");
        assert_eq!(fate("10.0.0.3:1", 5, file(4), &at), "fetch");
        assert_eq!(fate("10.0.0.3:1", 5, file(5), &at), "settled");
        assert_eq!(fate("10.0.0.3:1", 5, file(6), &at), "settled");
        assert_eq!(fate("10.0.0.2:7", 5, None, &at), "settled", "C12: it points to ourselves");
        assert_eq!(fate("10.0.0.2:8", 5, None, &at), "fetch");
        let blocked = Some(Here::Blocked("a directory".into()));
        assert!(fate("10.0.0.3:1", 5, blocked, &at).contains("a directory"));
    }

    #[test]
    fn b14_the_far_future_is_not_fetched() {
        let at = whereabouts("10.0.0.1", "10.0.0.2");
        assert_eq!(fate("10.0.0.3:1", NEWEST, None, &at), "fetch");
        assert!(fate("10.0.0.3:1", NEWEST + 1, None, &at).contains("--trust-future"));
    }

    #[test]
    fn b23_addresses_that_no_file_comes_from() {
        let remote = whereabouts("10.0.0.1", "10.0.0.2");
        for ip in ["0.0.0.0", "0.1.2.3", "255.255.255.255", "224.0.0.1", "169.254.169.254", "127.0.0.1"] {
            assert!(fate(&format!("{ip}:80"), 1, None, &remote).contains("not dialled"), "{ip}");
        }
        for ip in ["[::]", "[::1]", "[ff02::1]", "[fe80::1]"] {
            assert!(fate(&format!("{ip}:80"), 1, None, &remote).contains("not dialled"), "{ip}");
        }
        for local in [whereabouts("127.0.0.1", "127.0.0.1"), whereabouts("10.0.0.2", "10.0.0.2")] {
            assert_eq!(fate("127.0.0.1:80", 1, None, &local), "fetch");
        }
        let linked = whereabouts("169.254.0.1", "169.254.0.2");
        assert_eq!(fate("169.254.0.3:80", 1, None, &linked), "fetch");
        assert_eq!(fate("[2001:db8::1]:80", 1, None, &remote), "fetch");
    }
}
