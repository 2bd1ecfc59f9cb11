//! One peer, as the directory knows it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use shoal_classic::{Dialect, FileName, Time};

use super::names::Version;
use crate::limits::DirectoryLimits;

#[derive(Debug)]
pub(super) struct Peer {
    /// Where it connected from; IPv4 addresses are never written as IPv6 ones.
    pub(super) ip: IpAddr,
    /// Our own address, as it used it.
    pub(super) reached_at: IpAddr,
    /// Where it serves files, once it has announced that it does.
    pub(super) port: Option<u16>,
    /// Classic until it shows that it is not.
    pub(super) dialect: Dialect,
    pub(super) heard: Time,
    pub(super) presence: Presence,
    pub(super) files: BTreeMap<FileName, Version>,
    /// Its place among the directory's deadlines.
    pub(super) scheduled: Option<Time>,
}

/// Whether a peer is to be found where it said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Presence {
    /// Connected, and speaking.
    Here,
    /// Connected, but silent for so long that it is not listed.
    Silent,
    /// No longer connected, and still listed for a moment.
    Left { at: Time },
}

impl Peer {
    pub(super) fn new(ip: IpAddr, reached_at: IpAddr, now: Time) -> Self {
        Self {
            ip,
            reached_at,
            port: None,
            dialect: Dialect::Classic,
            heard: now,
            presence: Presence::Here,
            files: BTreeMap::new(),
            scheduled: None,
        }
    }

    /// Where it serves files.
    pub(super) fn source(&self) -> Option<SocketAddr> {
        self.port.map(|port| SocketAddr::new(self.ip, port))
    }

    /// Whether its files count.
    pub(super) fn is_listed(&self) -> bool {
        self.port.is_some() && self.presence != Presence::Silent
    }

    /// Whether its connection has closed.
    pub(super) const fn has_left(&self) -> bool {
        matches!(self.presence, Presence::Left { .. })
    }

    /// When it stops being listed, if nothing more is heard of it.
    pub(super) fn due(&self, limits: &DirectoryLimits) -> Option<Time> {
        self.port?;
        let expiry = self.heard + limits.expiry;
        match self.presence {
            Presence::Here => Some(expiry),
            Presence::Silent => None,
            Presence::Left { at } => Some(expiry.min(at + limits.closed_grace)),
        }
    }
}
