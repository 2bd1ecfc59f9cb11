//! The directory as each kind of asker gets it, encoded once and shared.
//!
//! Promise: an asker is told only sources that it can talk to, at addresses that it can reach
//! (`docs/classic-protocol.md §5.9`, `§5.10`). Encoding again is paced, so that peers who change their files
//! without end cannot make it the tracker's main occupation.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use shoal_classic::directory::DirectoryWriter;
use shoal_classic::{Dialect, FileName, Time};

use super::PeerId;
use super::names::{Holding, Names};
use super::peer::Peer;
use crate::limits::{DirectoryLimits, ENTRY_BYTES_MAX, REBUILD_HOLDINGS_FREE, REBUILD_PAUSE_MAX};

/// An encoded directory.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What to send, newline included.
    pub bytes: Bytes,
    /// Tells one encoding from another, the later ones greater.
    pub serial: u64,
}

impl Answer {
    /// The answer to somebody unknown.
    pub(super) fn empty() -> Self {
        Self { bytes: Bytes::from_static(b"{}\n"), serial: 0 }
    }
}

/// What an asker's view depends on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(super) struct ViewKey {
    dialect: Dialect,
    reach: Reach,
}

/// Which addresses mean something to an asker.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
enum Reach {
    /// On our own machine, talking IPv4.
    Loopback4,
    /// On our own machine, talking IPv6.
    Loopback6,
    /// Elsewhere; it knows our machine by this address.
    Remote(IpAddr),
}

impl ViewKey {
    /// The view of that peer.
    pub(super) fn of(asker: &Peer) -> Self {
        let reach = match asker.ip {
            ip if !ip.is_loopback() => Reach::Remote(asker.reached_at),
            IpAddr::V4(_) => Reach::Loopback4,
            IpAddr::V6(_) => Reach::Loopback6,
        };
        Self { dialect: asker.dialect, reach }
    }

    /// Where this asker would find that holder, if it can talk to it at all.
    fn source(self, holder: &Peer) -> Option<SocketAddr> {
        let port = holder.port.filter(|_| self.dialect.reaches(holder.dialect))?;
        // Classic programs know no IPv6, and some end at the sight of it.
        if self.is_v4() && holder.ip.is_ipv6() {
            return None;
        }
        let ip = match self.reach {
            Reach::Remote(our_address) if holder.ip.is_loopback() => our_address,
            _ => holder.ip,
        };
        Some(SocketAddr::new(ip, port))
    }

    fn is_v4(self) -> bool {
        match self.reach {
            Reach::Loopback4 => true,
            Reach::Loopback6 => false,
            Reach::Remote(our_address) => our_address.is_ipv4(),
        }
    }
}

/// The views that are kept.
#[derive(Debug, Default)]
pub(super) struct Views {
    views: BTreeMap<ViewKey, View>,
    last_serial: u64,
}

#[derive(Debug)]
struct View {
    answer: Answer,
    /// The directory's generation that it shows.
    generation: u64,
    encoded: Time,
    asked: Time,
    /// How many holdings had to be looked at: what encoding costs.
    looked_at: u32,
    unlisted: usize,
}

impl Views {
    /// The answer for askers with that key.
    pub(super) fn answer(
        &mut self,
        key: ViewKey,
        names: &Names,
        peers: &BTreeMap<PeerId, Peer>,
        generation: u64,
        limits: &DirectoryLimits,
        now: Time,
    ) -> Answer {
        if let Some(view) = self.views.get_mut(&key) {
            view.asked = now;
            let is_fresh = view.generation == generation;
            if is_fresh || now < view.encoded + pause(view.looked_at, limits) {
                return view.answer.clone();
            }
        } else {
            self.make_room(limits, now);
        }
        let mut encoding = Encoding::new(limits.answer_bytes_max);
        for (name, holders) in names.iter() {
            encoding.add(key, name, holders, peers);
        }
        self.last_serial += 1;
        let Encoding { writer, looked_at, unlisted, .. } = encoding;
        let answer = Answer { bytes: writer.finish().into(), serial: self.last_serial };
        let view = View { answer: answer.clone(), generation, encoded: now, asked: now, looked_at, unlisted };
        self.views.insert(key, view);
        answer
    }

    pub(super) fn len(&self) -> usize {
        self.views.len()
    }

    /// How many names the view left out that left out most.
    pub(super) fn unlisted(&self) -> usize {
        self.views.values().map(|view| view.unlisted).max().unwrap_or(0)
    }

    /// Drops views that nobody asks for, and if there are still too many, the one that was asked for longest ago.
    fn make_room(&mut self, limits: &DirectoryLimits, now: Time) {
        self.views.retain(|_, view| now.since(view.asked) < limits.expiry);
        while self.views.len() >= limits.views_max.max(1) {
            let oldest = self.views.iter().min_by_key(|(_, view)| view.asked).map(|(key, _)| *key);
            let Some(oldest) = oldest else { return };
            self.views.remove(&oldest);
        }
    }
}

/// How long an encoding that cost so much has to do.
fn pause(looked_at: u32, limits: &DirectoryLimits) -> Duration {
    let beyond = looked_at.saturating_sub(REBUILD_HOLDINGS_FREE);
    limits.rebuild_pause_per_holding.saturating_mul(beyond).min(REBUILD_PAUSE_MAX)
}

/// A view while it is being encoded.
struct Encoding {
    writer: DirectoryWriter,
    bytes_max: usize,
    looked_at: u32,
    unlisted: usize,
}

impl Encoding {
    fn new(bytes_max: usize) -> Self {
        Self { writer: DirectoryWriter::default(), bytes_max, looked_at: 0, unlisted: 0 }
    }

    fn add(&mut self, key: ViewKey, name: &FileName, holders: &[Holding], peers: &BTreeMap<PeerId, Peer>) {
        let Some(choice) = self.choose(key, holders, peers) else { return };
        if self.writer.len() + ENTRY_BYTES_MAX > self.bytes_max {
            self.unlisted += 1;
            return;
        }
        self.writer.add(name, choice.mtime, choice.source, choice.dialect);
    }

    /// Of the holders of the newest version the one to list: one that is still connected before one that has
    /// left a moment ago, then a Shoal peer before others, then the first.
    fn choose(
        &mut self,
        key: ViewKey,
        holders: &[Holding],
        peers: &BTreeMap<PeerId, Peer>,
    ) -> Option<Choice> {
        let mut newest = None;
        let mut best = None;
        for holding in holders {
            self.looked_at = self.looked_at.saturating_add(1);
            let mtime = holding.version.mtime;
            if newest.is_some_and(|newest| newest != mtime) {
                break;
            }
            let Some(peer) = peers.get(&holding.peer).filter(|peer| peer.is_listed()) else { continue };
            newest = Some(mtime);
            let Some(source) = key.source(peer) else { continue };
            let found = Choice { mtime, source, dialect: peer.dialect };
            let rank = (peer.has_left(), peer.dialect != Dialect::Both);
            if rank == (false, false) {
                return Some(found);
            }
            if best.as_ref().is_none_or(|(known, _)| rank < *known) {
                best = Some((rank, found));
            }
        }
        best.map(|(_, choice)| choice)
    }
}

/// What is listed of a name.
struct Choice {
    mtime: i64,
    source: SocketAddr,
    dialect: Dialect,
}
