//! Who announced what, and what each asker is told of it.
//!
//! Promise: of each name the newest version counts, all its holders are known and one is listed; when the last
//! of them goes, the next newest version that a living peer holds is listed (`docs/classic-protocol.md §5.4`).
//! A peer can change the listing of its own files and of nobody else's. Memory is bounded by
//! [`DirectoryLimits`], and an answer costs a copy of a pointer unless something has changed since the last.
//!
//! Begin at [`Directory`]; every operation takes the time as an argument, and `now` must not go back.

mod names;
mod peer;
#[cfg(test)]
mod tests;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use shoal_classic::message::Announcement;
use shoal_classic::{Dialect, FileName, Time};

use crate::limits::DirectoryLimits;
use crate::seats::household;
use names::Names;
use peer::{Peer, Presence};
pub use views::Answer;
use views::{ViewKey, Views};

/// One peer: at first one connection, and later perhaps another that took its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct PeerId(u64);

/// All that the tracker knows.
#[derive(Debug)]
pub struct Directory {
    limits: DirectoryLimits,
    peers: BTreeMap<PeerId, Peer>,
    names: Names,
    /// Peers that have announced themselves, by where they serve files.
    sources: BTreeMap<SocketAddr, Vec<PeerId>>,
    /// How many files are announced from each household: an address, or an IPv6 network of one subscriber.
    households: BTreeMap<IpAddr, usize>,
    /// When to look at a peer again. It may turn out to be due later; then it is put here once more, so that
    /// a keep-alive has nothing to move.
    deadlines: BTreeSet<(Time, PeerId)>,
    views: Views,
    /// Grows whenever something that is listed may have changed.
    generation: u64,
    last_peer: u64,
    expired: u64,
}

/// What became of an announcement.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Taken {
    /// How many files that peer has announced by now.
    pub files: usize,
    /// How many were refused because one peer may have no more.
    pub beyond_peer: usize,
    /// How many were refused because the whole directory takes no more, or no more from that address.
    pub beyond_total: usize,
}

/// Figures for people.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Peers that have announced themselves and are not silent.
    pub peers: usize,
    /// Names that somebody has announced.
    pub names: usize,
    /// Announced files, each counted once for every peer that did.
    pub announcements: usize,
    /// Views that are kept encoded.
    pub views: usize,
    /// How many files found no room in the view that left out most.
    pub unlisted: usize,
    /// How many peers have fallen silent so far.
    pub expired: u64,
}

impl Directory {
    /// A directory that knows nobody.
    #[must_use]
    pub fn new(limits: DirectoryLimits) -> Self {
        Self {
            limits,
            peers: BTreeMap::new(),
            names: Names::default(),
            sources: BTreeMap::new(),
            households: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            views: Views::default(),
            generation: 0,
            last_peer: 0,
            expired: 0,
        }
    }

    /// Somebody connected from `ip`, and reached us at `reached_at`; both as the socket says (`B28`).
    pub fn connected(&mut self, ip: IpAddr, reached_at: IpAddr, now: Time) -> PeerId {
        self.last_peer += 1;
        let id = PeerId(self.last_peer);
        self.peers.insert(id, Peer::new(ip.to_canonical(), reached_at.to_canonical(), now));
        id
    }

    /// A peer's dialect is known now, or known better.
    pub fn dialect(&mut self, id: PeerId, dialect: Dialect) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.dialect != dialect {
            peer.dialect = dialect;
            self.generation += u64::from(peer.is_listed());
        }
    }

    /// A peer serves these files at that port: adds and updates them, and removes none
    /// (`docs/classic-protocol.md §5.5`).
    ///
    /// Takes the place of a former peer of the same address and port that has left, or has been silent for
    /// longer than two keep-alives; beside any other it simply stands (`B11`).
    pub fn announce(&mut self, id: PeerId, port: u16, announcement: Announcement, now: Time) -> Taken {
        self.expire(now);
        self.move_to_port(id, port);
        self.heard(id, now);
        self.supersede(id, now);
        let mut taken = Taken::default();
        for (name, mtime) in announcement.files {
            match self.put(id, name, mtime) {
                Ok(()) => {}
                Err(NoRoom::Peer) => taken.beyond_peer += 1,
                Err(NoRoom::Total) => taken.beyond_total += 1,
            }
        }
        taken.files = self.peers.get(&id).map_or(0, |peer| peer.files.len());
        taken
    }

    /// A peer is there. Which one it is from now on, is returned.
    ///
    /// That is another than before for somebody who has announced nothing, and comes from the address and with
    /// the port of a peer that left a moment ago: a reconnection. Otherwise the port means nothing, as some
    /// programs send a wrong one (`docs/classic-protocol.md §5.6`).
    #[must_use = "the connection may stand for another peer from now on"]
    pub fn keep_alive(&mut self, id: PeerId, port: u16, now: Time) -> PeerId {
        self.expire(now);
        let id = self.adopt(id, port).unwrap_or(id);
        self.heard(id, now);
        id
    }

    /// A peer's connection closed. Its files stay listed for a short grace, in case it comes back; where somebody
    /// else has the same version, that one is listed from now on (`docs/classic-protocol.md §5.8`).
    pub fn closed(&mut self, id: PeerId, now: Time) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.is_listed() {
            peer.presence = Presence::Left { at: now };
            self.generation += 1;
            self.schedule(id);
        } else {
            self.remove(id);
        }
    }

    /// What to tell that peer: everything it can reach, as bytes that all peers like it share.
    ///
    /// While a large directory keeps changing this may be a little old ([`REBUILD_PAUSE_PER_HOLDING`]).
    ///
    /// [`REBUILD_PAUSE_PER_HOLDING`]: crate::limits::REBUILD_PAUSE_PER_HOLDING
    pub fn answer(&mut self, asker: PeerId, now: Time) -> Answer {
        self.expire(now);
        let Some(key) = self.peers.get(&asker).map(ViewKey::of) else { return Answer::empty() };
        self.views.answer(key, &self.names, &self.peers, self.generation, &self.limits, now)
    }

    /// Lets go of whoever has been silent, or gone, for too long.
    ///
    /// [`answer`](Self::answer) does so by itself. Otherwise this is worth a call at
    /// [`next_expiry`](Self::next_expiry), and harmless at others.
    pub fn expire(&mut self, now: Time) {
        while let Some(&(time, id)) = self.deadlines.first()
            && time <= now
        {
            self.deadlines.pop_first();
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.scheduled = None;
            match peer.due(&self.limits) {
                Some(due) if due <= now => self.lapse(id),
                Some(_) => self.schedule(id),
                None => {}
            }
        }
    }

    /// No peer expires before this.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Time> {
        self.deadlines.first().map(|(time, _)| *time)
    }

    /// Figures for people. Looks at every peer, so not for every message.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally {
            peers: self.peers.values().filter(|peer| peer.is_listed()).count(),
            names: self.names.len(),
            announcements: self.names.holdings(),
            views: self.views.len(),
            unlisted: self.views.unlisted(),
            expired: self.expired,
        }
    }

    /// The peer spoke: it is here, even if it had been given up.
    fn heard(&mut self, id: PeerId, now: Time) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.heard = now;
        self.generation += u64::from(peer.presence != Presence::Here);
        peer.presence = Presence::Here;
        self.schedule(id);
    }

    /// Notes when to look at a peer again, unless an earlier look is planned anyway.
    fn schedule(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(due) = peer.due(&self.limits) else { return };
        match peer.scheduled {
            Some(earlier) if earlier <= due => return,
            Some(later) => self.deadlines.remove(&(later, id)),
            None => false,
        };
        peer.scheduled = Some(due);
        self.deadlines.insert((due, id));
    }

    /// A peer's time is over: who has left is forgotten, who is connected is not listed until it speaks again.
    fn lapse(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if matches!(peer.presence, Presence::Left { .. }) {
            return self.remove(id);
        }
        peer.presence = Presence::Silent;
        self.generation += 1;
        self.expired += 1;
    }

    fn remove(&mut self, id: PeerId) {
        let Some(peer) = self.peers.remove(&id) else { return };
        if let Some(time) = peer.scheduled {
            self.deadlines.remove(&(time, id));
        }
        if let Some(source) = peer.source() {
            self.forget_source(source, id);
        }
        self.generation += u64::from(peer.is_listed());
        for (name, version) in &peer.files {
            self.names.remove(name, *version);
        }
        let household = household(peer.ip);
        if let Some(files) = self.households.get_mut(&household) {
            *files = files.saturating_sub(peer.files.len());
            if *files == 0 {
                self.households.remove(&household);
            }
        }
    }

    fn move_to_port(&mut self, id: PeerId, port: u16) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let before = peer.source();
        peer.port = Some(port);
        let after = SocketAddr::new(peer.ip, port);
        if before == Some(after) {
            return;
        }
        self.sources.entry(after).or_default().push(id);
        if let Some(before) = before {
            self.forget_source(before, id);
            self.generation += 1;
        }
    }

    fn forget_source(&mut self, source: SocketAddr, id: PeerId) {
        if let Some(ids) = self.sources.get_mut(&source) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.sources.remove(&source);
            }
        }
    }

    /// Lets a newcomer take the place of former peers with its address and port.
    fn supersede(&mut self, newcomer: PeerId, now: Time) {
        let Some(source) = self.peers.get(&newcomer).and_then(Peer::source) else { return };
        for former in self.sources.get(&source).cloned().unwrap_or_default() {
            let Some(peer) = self.peers.get(&former).filter(|_| former != newcomer) else { continue };
            let is_silent = now.since(peer.heard) > self.limits.takeover_silence;
            match peer.presence {
                Presence::Left { .. } => self.remove(former),
                // Perhaps the rest of a connection that broke; perhaps another peer behind the same address,
                // which is listed again as soon as it speaks.
                Presence::Here if is_silent => self.lapse(former),
                Presence::Here | Presence::Silent => {}
            }
        }
    }

    /// The peer that somebody who has announced nothing turns out to be: one that left from that address and port.
    fn adopt(&mut self, id: PeerId, port: u16) -> Option<PeerId> {
        let newcomer = self.peers.get(&id).filter(|peer| peer.port.is_none())?;
        let (dialect, reached_at) = (newcomer.dialect, newcomer.reached_at);
        let former = *self.sources.get(&SocketAddr::new(newcomer.ip, port))?.iter().rfind(|former| {
            self.peers.get(former).is_some_and(|peer| matches!(peer.presence, Presence::Left { .. }))
        })?;
        self.remove(id);
        self.dialect(former, dialect);
        let peer = self.peers.get_mut(&former)?;
        peer.reached_at = reached_at;
        Some(former)
    }

    fn put(&mut self, id: PeerId, name: FileName, mtime: i64) -> Result<(), NoRoom> {
        let Some(peer) = self.peers.get(&id) else { return Ok(()) };
        let before = peer.files.get(&name).copied();
        let household = household(peer.ip);
        let of_household = self.households.get(&household).copied().unwrap_or(0);
        match before {
            Some(version) if version.mtime == mtime => return Ok(()),
            None if peer.files.len() >= self.limits.entries_per_peer_max => return Err(NoRoom::Peer),
            None if self.names.holdings() >= self.limits.announcements_max => return Err(NoRoom::Total),
            None if of_household >= self.limits.announcements_per_address_max => return Err(NoRoom::Total),
            _ => {}
        }
        let newest = self.newest(&name);
        match before {
            Some(version) => self.names.remove(&name, version),
            None => drop(self.households.insert(household, of_household + 1)),
        }
        let (name, version) = self.names.add(name, mtime, id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.files.insert(name, version);
        }
        // An older version beside a newer one changes nothing that anybody is told.
        let touches = |mtime: i64| newest.is_none_or(|newest| mtime >= newest);
        self.generation += u64::from(touches(mtime) || before.is_some_and(|version| touches(version.mtime)));
        Ok(())
    }

    /// The newest mtime that is listed of a name.
    fn newest(&self, name: &FileName) -> Option<i64> {
        let listed = |id| self.peers.get(id).is_some_and(Peer::is_listed);
        self.names.holders(name).iter().find(|holding| listed(&holding.peer)).map(|h| h.version.mtime)
    }
}

/// Why a file was not taken.
enum NoRoom {
    /// Its peer has announced too many.
    Peer,
    /// All peers together have, or all of one address.
    Total,
}
