//! The directory against a model that keeps everything in plain lists and looks through all of it each time.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use shoal_classic::Dialect;
use shoal_classic::directory::Directory as Parsed;

use super::*;

const ADDRESSES: [[&str; 2]; 5] = [
    ["10.0.0.2", "10.0.0.1"],
    ["10.0.0.3", "10.0.1.1"],
    ["127.0.0.1", "127.0.0.1"],
    ["::1", "::1"],
    ["2001:db8::2", "2001:db8::1"],
];
const NAMES: [&str; 3] = ["a", "b", "c"];
const DIALECTS: [Dialect; 3] = [Dialect::Classic, Dialect::Framed, Dialect::Both];

/// One step of a story; connections are meant by their number, which wraps.
#[derive(Clone, Debug)]
enum Step {
    Connect { address: usize, dialect: usize },
    Announce { connection: usize, port: u16, files: Vec<(usize, i64)> },
    KeepAlive { connection: usize, port: u16 },
    Dialect { connection: usize, dialect: usize },
    Close { connection: usize },
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let connection = || 0usize..100;
    let port = || 1u16..3;
    let files = proptest::collection::vec((0..NAMES.len(), 0i64..3), 0..4);
    let seconds = prop_oneof![Just(1), Just(4), Just(5), Just(6), Just(11), Just(100), Just(180)];
    prop_oneof![
        3 => (0..ADDRESSES.len(), 0..3usize).prop_map(|(address, dialect)| Step::Connect { address, dialect }),
        5 => (connection(), port(), files)
            .prop_map(|(connection, port, files)| Step::Announce { connection, port, files }),
        3 => (connection(), port()).prop_map(|(connection, port)| Step::KeepAlive { connection, port }),
        1 => (connection(), 0..3usize).prop_map(|(connection, dialect)| Step::Dialect { connection, dialect }),
        2 => connection().prop_map(|connection| Step::Close { connection }),
        2 => seconds.prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// Everybody who ever connected.
#[derive(Default)]
struct Model {
    peers: Vec<ModelPeer>,
    now: Time,
    count: u64,
}

struct ModelPeer {
    ip: IpAddr,
    our_address: IpAddr,
    dialect: Dialect,
    heard: Time,
    closed: Option<Time>,
    is_superseded: bool,
    /// Its port, and when it took it.
    port: Option<(u16, u64)>,
    /// mtime, and when that version came.
    files: BTreeMap<usize, (i64, u64)>,
}

impl Model {
    fn is_listed(&self, peer: &ModelPeer) -> bool {
        let speaks = self.now < peer.heard + Duration::from_secs(180);
        let stays = peer.closed.is_none_or(|at| self.now < at + Duration::from_secs(5));
        peer.port.is_some() && speaks && stays && !peer.is_superseded
    }

    fn tick(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn announce(&mut self, who: usize, port: u16, files: &[(usize, i64)]) {
        let (now, moment) = (self.now, self.tick());
        let ip = self.peers[who].ip;
        for (other, peer) in self.peers.iter_mut().enumerate() {
            let is_silent = now.since(peer.heard) > Duration::from_secs(10);
            let has_source = peer.ip == ip && peer.port.is_some_and(|(its, _)| its == port);
            peer.is_superseded |= other != who && has_source && (peer.closed.is_some() || is_silent);
        }
        let peer = &mut self.peers[who];
        (peer.heard, peer.is_superseded) = (now, false);
        if peer.port.is_none_or(|(before, _)| before != port) {
            peer.port = Some((port, moment));
        }
        // Of a name that comes twice in one message the newest counts.
        let files: BTreeMap<usize, i64> = files.iter().fold(BTreeMap::new(), |mut files, &(name, mtime)| {
            let newest = files.entry(name).or_insert(mtime);
            *newest = mtime.max(*newest);
            files
        });
        for (name, mtime) in files {
            let moment = self.tick();
            let files = &mut self.peers[who].files;
            if files.get(&name).is_none_or(|(before, _)| *before != mtime) {
                files.insert(name, (mtime, moment));
            }
        }
    }

    /// Who it is from now on.
    fn keep_alive(&mut self, who: usize, port: u16) -> usize {
        let newcomer = &self.peers[who];
        let (ip, our_address, dialect) = (newcomer.ip, newcomer.our_address, newcomer.dialect);
        let left = |peer: &ModelPeer| {
            let has_source = peer.ip == ip && peer.port.is_some_and(|(its, _)| its == port);
            has_source && peer.closed.is_some() && self.is_listed(peer)
        };
        let all = self.peers.iter().enumerate();
        let former = all.filter(|(_, peer)| left(peer)).max_by_key(|(_, peer)| peer.port);
        let id = match former {
            Some((former, _)) if newcomer.port.is_none() => former,
            _ => who,
        };
        let peer = &mut self.peers[id];
        (peer.heard, peer.is_superseded, peer.closed) = (self.now, false, None);
        (peer.our_address, peer.dialect) = (our_address, dialect);
        id
    }

    fn listing(&self, asker: usize) -> BTreeMap<String, (i64, SocketAddr, Dialect)> {
        let asker = &self.peers[asker];
        let mut listing = BTreeMap::new();
        for (index, name) in NAMES.iter().enumerate() {
            let holders = self.peers.iter().filter(|peer| self.is_listed(peer));
            let holders = holders.filter_map(|peer| Some((peer, *peer.files.get(&index)?)));
            let holders: Vec<_> = holders.collect();
            let newest = holders.iter().map(|(_, (mtime, _))| *mtime).max();
            let best = holders
                .iter()
                .filter(|(peer, (mtime, _))| Some(*mtime) == newest && reaches(asker, peer))
                .min_by_key(|(peer, (_, moment))| {
                    (peer.closed.is_some(), peer.dialect != Dialect::Both, *moment)
                });
            if let Some((peer, (mtime, _))) = best {
                let is_ours = peer.ip.is_loopback() && !asker.ip.is_loopback();
                let ip = if is_ours { asker.our_address } else { peer.ip };
                let source = SocketAddr::new(ip, peer.port.unwrap().0);
                listing.insert((*name).to_owned(), (*mtime, source, peer.dialect));
            }
        }
        listing
    }
}

fn reaches(asker: &ModelPeer, holder: &ModelPeer) -> bool {
    let speaks = match asker.dialect {
        Dialect::Both => true,
        dialect => holder.dialect == dialect || holder.dialect == Dialect::Both,
    };
    speaks && (asker.ip.is_ipv6() || holder.ip.is_ipv4())
}

/// Both, side by side, and the open connections: who each is here and there.
struct Pair {
    directory: Directory,
    model: Model,
    open: Vec<(PeerId, usize)>,
}

impl Pair {
    fn new() -> Self {
        Self {
            directory: Directory::new(DirectoryLimits::default()),
            model: Model::default(),
            open: Vec::new(),
        }
    }

    fn take(&mut self, step: Step) {
        let now = self.model.now;
        match step {
            Step::Connect { address, dialect } => {
                let [ip, our_address] = ADDRESSES[address].map(|text| text.parse::<IpAddr>().unwrap());
                let id = self.directory.connected(ip, our_address, now);
                self.directory.dialect(id, DIALECTS[dialect]);
                self.open.push((id, self.model.peers.len()));
                self.model.peers.push(ModelPeer {
                    ip,
                    our_address,
                    dialect: DIALECTS[dialect],
                    heard: now,
                    closed: None,
                    is_superseded: false,
                    port: None,
                    files: BTreeMap::new(),
                });
            }
            Step::Wait { seconds } => {
                self.model.now = now + Duration::from_secs(seconds);
                // The answers must be right whether or not somebody looks for the expired.
                if seconds % 2 == 0 {
                    self.directory.expire(self.model.now);
                }
            }
            _ if self.open.is_empty() => {}
            Step::Announce { connection, port, files } => {
                let (id, who) = self.connection(connection);
                let mut message = Announcement::default();
                for (name, mtime) in &files {
                    let newest =
                        message.files.entry(FileName::parse(NAMES[*name]).unwrap()).or_insert(*mtime);
                    *newest = (*newest).max(*mtime);
                }
                self.directory.announce(id, port, message, now);
                self.model.announce(who, port, &files);
            }
            Step::KeepAlive { connection, port } => {
                let (id, who) = self.connection(connection);
                let place = connection % self.open.len();
                self.open[place] =
                    (self.directory.keep_alive(id, port, now), self.model.keep_alive(who, port));
            }
            Step::Dialect { connection, dialect } => {
                let (id, who) = self.connection(connection);
                self.directory.dialect(id, DIALECTS[dialect]);
                self.model.peers[who].dialect = DIALECTS[dialect];
            }
            Step::Close { connection } => {
                let (id, who) = self.open.remove(connection % self.open.len());
                self.directory.closed(id, now);
                self.model.peers[who].closed = Some(now);
            }
        }
    }

    fn connection(&self, number: usize) -> (PeerId, usize) {
        self.open[number % self.open.len()]
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        for &(id, who) in &self.open {
            let parsed = Parsed::parse(&self.directory.answer(id, self.model.now).bytes).unwrap();
            let told = parsed.files.iter().map(|(name, listed)| {
                (name.as_str().to_owned(), (listed.mtime, listed.source, listed.dialect.unwrap()))
            });
            prop_assert_eq!(told.collect::<BTreeMap<_, _>>(), self.model.listing(who));
        }
        Ok(())
    }

    /// Everybody leaves; then nothing may be left behind.
    fn end(mut self) -> Result<(), TestCaseError> {
        for (id, _) in std::mem::take(&mut self.open) {
            self.directory.closed(id, self.model.now);
        }
        self.directory.expire(self.model.now + Duration::from_secs(5));
        prop_assert!(self.directory.peers.is_empty() && self.directory.sources.is_empty());
        prop_assert!(self.directory.deadlines.is_empty());
        prop_assert_eq!((self.directory.names.len(), self.directory.names.holdings()), (0, 0));
        Ok(())
    }
}

proptest! {
    #[test]
    fn every_story_gives_what_the_model_gives(steps in proptest::collection::vec(step(), 0..60)) {
        let mut pair = Pair::new();
        for step in steps {
            pair.take(step);
            pair.check()?;
        }
        pair.end()?;
    }
}
