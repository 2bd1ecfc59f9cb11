//! Worlds of indexes and links: what devices come to know, without disks and bytes.
//!
//! Promise: real indexes, real messages as bytes in frames, and everything between them may be slow: a connection hands
//! over what was sent in any portions, an index answers when it likes, connections are cut anywhere. What a user does to
//! a disk is taken for durable at once.
//!
//! Begin at [`World::new`]; then [`World::step`] and [`World::settle`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use shoal_engine::limits::{DRAINED_BYTES, LINK_SENT_BYTES_MAX};
use shoal_engine::link::{Action, Closed, Link};
use shoal_engine::planner::{Deed, Rights, decide};
use shoal_engine::store::{Job, perform};
use shoal_index::{At, Here, Index, IndexError, Observed, Placed, Resolved, Triple};
use shoal_proto::batch::Batch;
use shoal_proto::frame::{FrameReader, RequestId};
use shoal_proto::hash::ContentId;
use shoal_proto::heads::Shown;
use shoal_proto::id::WriterSalt;
use shoal_proto::key::DeviceKey;
use shoal_proto::message::{Channel, Message};
use shoal_proto::path::RelPath;
use shoal_proto::publication::Place;
use shoal_proto::reconcile::Records;
use shoal_proto::record::{Kind, Mode, Record, Timestamp, Version};
use shoal_proto::roster::{Entry, Founding};
use shoal_proto::secret::Side;

use crate::draw::Draw;

/// What the users of a world write to.
const PATHS: [&str; 7] = ["a", "b", "d", "d/x", "d/y", "e/f/g", "photo.jpg"];

/// The only share that is spoken of on a connection here.
const CHANNEL: Channel = Channel(0);

/// Seconds since 1970; it stands still, nothing here rests on it.
const NOW: u64 = 1_700_000_000;

/// Most bytes that a connection hands over at once.
const PORTION_MAX: usize = 2000;

/// Devices, and the connections between them.
pub struct World {
    draw: Draw,
    devices: Vec<Device>,
    connections: u64,
    trace: blake3::Hasher,
    contents: u64,
    /// How many bytes may be on their way to an end before nothing more is sent to it.
    room: u64,
    /// What happened.
    pub tally: Tally,
}

/// What happened in a world.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Steps of any sort.
    pub steps: u64,
    /// What users did.
    pub edits: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Those that were cut.
    pub cuts: u64,
    /// Conflicts that were resolved.
    pub resolutions: u64,
    /// Bytes of messages.
    pub bytes: u64,
    /// The most bytes that were on their way to an end at once.
    pub queued_max: usize,
    /// Requests for bytes that came, and statements about bytes: nobody answers them here.
    pub asked: u64,
    /// See [`Self::asked`].
    pub told: u64,
}

/// Why a world is broken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broken(pub String);

impl From<IndexError> for Broken {
    fn from(error: IndexError) -> Self {
        Self(format!("an index refuses: {error}"))
    }
}

/// One device: its index, and an end of each connection, by the other device.
struct Device {
    index: Index,
    ends: BTreeMap<usize, End>,
    writers: u8,
}

/// One end of a connection.
struct End {
    number: u64,
    link: Link,
    reader: FrameReader,
    /// Bytes on their way to this end.
    inbound: VecDeque<u8>,
    /// Asked of the index, not yet performed.
    job: Option<Job>,
    is_changed: bool,
    closed: Option<Closed>,
}

impl World {
    /// A world of so many devices. The first has founded the share; the others hold what lets them in, and have met
    /// nobody.
    ///
    /// # Errors
    /// When an index cannot be made.
    pub fn new(
        seed: u64,
        founding: Founding,
        keys: &[Arc<DeviceKey>],
        joins: &[Entry],
    ) -> Result<Self, Broken> {
        let mut draw = Draw::new(seed);
        let room = if draw.one_in(2) { LINK_SENT_BYTES_MAX } else { 1 + draw.below(4000) as u64 };
        let mut devices = Vec::new();
        for (at, key) in (0_u8..).zip(keys) {
            let mut index = Index::create(At::Memory, founding, Arc::clone(key), salt(at, 0))?;
            let own = joins.iter().filter(|entry| *entry.signer() == key.device()).cloned();
            index.add_entries(own.collect())?;
            devices.push(Device { index, ends: BTreeMap::new(), writers: 0 });
        }
        Ok(Self {
            draw,
            devices,
            connections: 0,
            trace: blake3::Hasher::new(),
            contents: 0,
            room,
            tally: Tally::default(),
        })
    }

    /// The index of a device.
    #[must_use]
    pub fn index_of(&self, device: usize) -> &Index {
        &self.devices[device].index
    }

    /// The hash of all that happened.
    #[must_use]
    pub fn trace(&self) -> blake3::Hash {
        self.trace.finalize()
    }

    /// Something happens: a user acts, devices connect, a connection hands something over or is cut, an index answers.
    ///
    /// # Errors
    /// When a promise is broken.
    pub fn step(&mut self) -> Result<(), Broken> {
        let device = self.draw.below(self.devices.len());
        match self.draw.below(40) {
            0..=5 => self.edit(device),
            6 => self.resolve(device),
            7 => {
                let other = self.draw.below(self.devices.len());
                self.connect(device, other);
                Ok(())
            }
            8 if self.draw.one_in(4) => {
                self.cut(device);
                Ok(())
            }
            9..=11 => self.show(device),
            12..=26 => self.deliver(device),
            _ => self.answer(device),
        }
    }

    /// Everybody meets everybody, and all is done that is to be done, until nothing moves.
    ///
    /// # Errors
    /// When it does not end, or ends with devices that differ.
    pub fn settle(&mut self) -> Result<(), Broken> {
        const ROUNDS_MAX: usize = 2000;
        for _ in 0..ROUNDS_MAX {
            for device in 0..self.devices.len() {
                for other in 0..device {
                    self.connect(device, other);
                }
            }
            let before = (self.tally.bytes, self.tally.resolutions);
            for device in 0..self.devices.len() {
                while self.is_waiting(device) {
                    self.deliver(device)?;
                    self.answer(device)?;
                }
                self.show(device)?;
            }
            if before.0 == self.tally.bytes && !self.begin_rounds() {
                // One resolves at a time: all at once is among the steps.
                let resolved = self.tally.resolutions;
                for device in 0..self.devices.len() {
                    if self.tally.resolutions == resolved {
                        self.resolve(device)?;
                    }
                }
                if self.tally.resolutions == resolved {
                    return self.check_agreed();
                }
            }
        }
        Err(Broken(format!("still moving after {ROUNDS_MAX} rounds (I2)")))
    }

    // ── users ──

    fn edit(&mut self, device: usize) -> Result<(), Broken> {
        let path = path(PATHS[self.draw.below(PATHS.len())])?;
        let compared = self.devices[device].index.triple(&path)?.and_then(|triple| triple.here);
        let found = match (self.draw.below(8), &compared) {
            (0 | 1, Some(_)) => None,
            (2, Some(here)) => {
                let mode = Mode::from_bits(u32::from(here.version.mode.bits() ^ 0o100));
                Some(Here {
                    version: Version::new(here.version.kind.clone(), here.version.mtime, mode),
                    ..here.clone()
                })
            }
            (3, _) => Some(self.here(Kind::Directory)),
            _ => {
                self.contents += 1;
                let content = ContentId::from_bytes(*blake3::hash(&self.contents.to_be_bytes()).as_bytes());
                Some(self.here(Kind::File { size: self.contents, content }))
            }
        };
        self.tally.edits += u64::from(found != compared);
        let answer = self.devices[device].index.observe(vec![Observed { path, compared, found }], &[])?;
        self.publish(device, &answer.batches);
        Ok(())
    }

    fn here(&mut self, kind: Kind) -> Here {
        let seconds = i64::try_from(self.draw.below(1000)).unwrap_or_default();
        let mtime = Timestamp::new(seconds, 0).unwrap_or_default();
        let ctime =
            Timestamp::new(i64::try_from(self.tally.steps).unwrap_or_default(), 0).unwrap_or_default();
        Here { version: Version::new(kind, mtime, Mode::from_bits(0o644)), inode: self.draw.any(), ctime }
    }

    fn resolve(&mut self, device: usize) -> Result<(), Broken> {
        let index = &mut self.devices[device].index;
        if !index.may_publish() {
            return Ok(());
        }
        for triple in index.diverging(None, 100)? {
            let versions: Vec<_> =
                triple.heads.conflict(triple.below).into_iter().map(Record::hash).collect();
            if let Resolved::Published(batches) = index.resolve(&triple.path, &versions, Vec::new())? {
                self.tally.resolutions += 1;
                self.publish(device, &batches);
                return Ok(());
            }
        }
        Ok(())
    }

    /// The disk shows what it is to show; what its user has changed before anybody could be told is said now.
    fn show(&mut self, device: usize) -> Result<(), Broken> {
        let index = &mut self.devices[device].index;
        if !index.may_publish() {
            return Ok(());
        }
        let (mut placed, mut observed) = (Vec::new(), Vec::new());
        for triple in index.diverging(None, 100)? {
            let now = |version: Version| Some(Here { version, inode: 1, ctime: Timestamp::ZERO });
            let (now, head) = match decide(&triple, Rights::Writer).disk {
                Deed::Place(record) | Deed::Retouch(record) | Deed::MakeFolder(Some(record)) => {
                    (now(record.version.clone()), Some(record.clone()))
                }
                Deed::MakeFolder(None) => {
                    let folder = Version::new(Kind::Directory, Timestamp::ZERO, Mode::IMPLIED_DIRECTORY);
                    (now(folder), triple.heads.winner().cloned())
                }
                Deed::Remove(record) => (None, record.cloned()),
                Deed::Agree(record) => (triple.here.clone(), Some(record.clone())),
                Deed::Publish => {
                    let Triple { path, here, .. } = triple;
                    observed.push(Observed { path, compared: here.clone(), found: here });
                    continue;
                }
                Deed::Nothing | Deed::LocalDifference => continue,
            };
            placed.push(Placed { path: triple.path, planned: triple.here, now, head, is_moved: false });
        }
        index.placed(placed, &[])?;
        let answer = index.observe(observed, &[])?;
        self.publish(device, &answer.batches);
        Ok(())
    }

    // ── connections ──

    fn connect(&mut self, one: usize, other: usize) {
        if one == other || self.devices[one].ends.contains_key(&other) {
            return;
        }
        self.connections += 1;
        self.tally.connections += 1;
        let number = self.connections;
        let exporter = *blake3::hash(&number.to_be_bytes()).as_bytes();
        for (device, peer, side) in [(one, other, Side::Dialler), (other, one, Side::Listener)] {
            let link = Link::new(CHANNEL, side, self.devices[peer].index.life().device, exporter);
            let mut end = End {
                number,
                link: link.with_room(self.room),
                reader: FrameReader::default(),
                inbound: VecDeque::new(),
                job: None,
                is_changed: false,
                closed: None,
            };
            let actions = end.link.start();
            self.devices[device].ends.insert(peer, end);
            self.act(device, peer, number, actions);
        }
    }

    /// Cuts one connection of a device; what was on its way is lost.
    fn cut(&mut self, device: usize) {
        let peers: Vec<usize> = self.devices[device].ends.keys().copied().collect();
        if !peers.is_empty() {
            let peer = peers[self.draw.below(peers.len())];
            self.hang_up(device, peer);
            self.tally.cuts += 1;
        }
    }

    fn hang_up(&mut self, device: usize, peer: usize) {
        self.devices[device].ends.remove(&peer);
        self.devices[peer].ends.remove(&device);
    }

    /// Something is on its way to a device, or asked of its index.
    fn is_waiting(&self, device: usize) -> bool {
        let is_open = |end: &&End| end.closed.is_none();
        self.devices[device]
            .ends
            .values()
            .filter(is_open)
            .any(|end| !end.inbound.is_empty() || end.job.is_some())
    }

    /// Some bytes arrive at a device.
    fn deliver(&mut self, device: usize) -> Result<(), Broken> {
        let waiting: Vec<usize> = self.devices[device]
            .ends
            .iter()
            .filter(|(_, end)| !end.inbound.is_empty() && !end.link.is_full())
            .map(|(peer, _)| *peer)
            .collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let peer = waiting[self.draw.below(waiting.len())];
        let portion = 1 + self.draw.below(PORTION_MAX);
        let Some(end) = self.devices[device].ends.get_mut(&peer) else { return Ok(()) };
        let portion = portion.min(end.inbound.len());
        let was_full = end.inbound.len() >= DRAINED_BYTES;
        let bytes: Vec<u8> = end.inbound.drain(..portion).collect();
        let is_drained = end.inbound.is_empty() || was_full && end.inbound.len() < DRAINED_BYTES;
        end.reader.push(&bytes);
        let (number, mut messages) = (end.number, Vec::new());
        while let Some(frame) = end.reader.next_frame().map_err(|error| Broken(error.to_string()))? {
            messages.extend(Message::read(&frame).map_err(|error| Broken(error.to_string()))?);
        }
        for message in messages {
            let Some(end) = self.end(device, peer, number) else { break };
            let actions = end.link.handle(RequestId::NONE, message, NOW);
            self.act(device, peer, number, actions);
        }
        if is_drained && let Some(end) = self.end(peer, device, number) {
            let actions = end.link.drained(NOW);
            self.act(peer, device, number, actions);
        }
        Ok(())
    }

    /// An index performs a job.
    fn answer(&mut self, device: usize) -> Result<(), Broken> {
        let asked = self.devices[device].ends.iter().filter(|(_, end)| end.job.is_some());
        let asked: Vec<usize> = asked.map(|(peer, _)| *peer).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let peer = asked[self.draw.below(asked.len())];
        let Device { index, ends, .. } = &mut self.devices[device];
        let Some(end) = ends.get_mut(&peer) else { return Ok(()) };
        let Some(job) = end.job.take() else { return Ok(()) };
        let number = end.number;
        let answer = perform(job, index);
        let actions = end.link.answered(answer, NOW);
        let is_in_sync = actions.iter().any(|action| matches!(action, Action::InSync));
        self.act(device, peer, number, actions);
        if is_in_sync && !self.devices[device].index.life().first_contact {
            self.devices[device].index.set_first_contact()?;
        }
        Ok(())
    }

    fn end(&mut self, device: usize, peer: usize, number: u64) -> Option<&mut End> {
        self.devices[device].ends.get_mut(&peer).filter(|end| end.number == number && end.closed.is_none())
    }

    fn act(&mut self, device: usize, peer: usize, number: u64, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(message) => self.send(device, peer, number, &message),
                Action::Perform(job) => {
                    if let Some(end) = self.end(device, peer, number) {
                        end.job = Some(job);
                    }
                }
                Action::Spread(records) => self.spread(device, Some(peer), |link| link.offer(&records, NOW)),
                Action::SpreadEntries(entries) => {
                    self.spread(device, Some(peer), |link| link.entries(&entries, NOW));
                }
                Action::Published(batches) => self.publish(device, &batches),
                Action::Changed => {
                    if let Some(end) = self.end(device, peer, number) {
                        end.is_changed = true;
                    }
                }
                Action::InSync | Action::Stuck | Action::Streams => {}
                Action::Asked(..) => self.tally.asked += 1,
                Action::Holding(..) => self.tally.told += 1,
                Action::NewWriter(agreed) => self.new_writer(device, agreed),
                Action::Close(why) => {
                    if let Some(end) = self.end(device, peer, number) {
                        end.closed = Some(why);
                    }
                }
            }
        }
    }

    fn send(&mut self, device: usize, peer: usize, number: u64, message: &Message) {
        let mut bytes = Vec::new();
        // What does not fit a frame is a fault of who made the message: the settled world will miss it.
        if message.write(&mut bytes, RequestId::NONE).is_ok()
            && let Some(end) = self.end(peer, device, number)
        {
            end.inbound.extend(&bytes);
            let queued = end.inbound.len();
            self.tally.queued_max = self.tally.queued_max.max(queued);
        }
        self.tally.bytes += bytes.len() as u64;
        self.tally.steps += 1;
        self.trace.update(&[u8::try_from(device).unwrap_or(255), u8::try_from(peer).unwrap_or(255)]);
        self.trace.update(&bytes);
    }

    fn publish(&mut self, device: usize, batches: &[Batch]) {
        if !batches.is_empty() {
            self.spread(device, None, |link| link.published(batches, NOW));
        }
    }

    fn spread(&mut self, device: usize, but: Option<usize>, tell: impl Fn(&mut Link) -> Vec<Action>) {
        let peers: Vec<usize> =
            self.devices[device].ends.keys().copied().filter(|peer| Some(*peer) != but).collect();
        for peer in peers {
            if let Some(end) = self.devices[device].ends.get_mut(&peer) {
                let (number, actions) = (end.number, tell(&mut end.link));
                self.act(device, peer, number, actions);
            }
        }
    }

    /// Rounds of comparing for whom something has changed; whether there were any.
    fn begin_rounds(&mut self) -> bool {
        let mut any = false;
        for device in 0..self.devices.len() {
            let changed: Vec<(usize, u64)> = self.devices[device]
                .ends
                .iter_mut()
                .filter_map(|(peer, end)| core::mem::take(&mut end.is_changed).then_some((*peer, end.number)))
                .collect();
            for (peer, number) in changed {
                if let Some(end) = self.end(device, peer, number) {
                    let actions = end.link.begin_round(NOW);
                    self.act(device, peer, number, actions);
                    any = true;
                }
            }
        }
        any
    }

    /// A device that was put back draws a new writer; all its connections begin anew.
    fn new_writer(&mut self, device: usize, agreed: Option<Place>) {
        self.devices[device].writers += 1;
        let salt = salt(u8::try_from(device).unwrap_or(255), self.devices[device].writers);
        // A refusal shows when the world is settled.
        let _ = self.devices[device].index.new_writer(salt, agreed);
        let peers: Vec<usize> = self.devices[device].ends.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.hang_up(device, peer));
    }

    // ── promises ──

    /// I1, I16: all know the same, show the same, and nothing is left to do.
    fn check_agreed(&self) -> Result<(), Broken> {
        let first = &self.devices[0].index;
        for (at, device) in self.devices.iter().enumerate() {
            if let Some((peer, why)) =
                device.ends.iter().find_map(|(peer, end)| Some((peer, end.closed.clone()?)))
            {
                return Err(Broken(format!("device {at} hung up on {peer}: {why}")));
            }
            if let Some((peer, _)) = device.ends.iter().find(|(_, end)| !end.link.is_in_sync()) {
                return Err(Broken(format!("device {at} does not know to be in sync with {peer} (I31)")));
            }
            if device.index.digests() != first.digests() {
                return Err(Broken(format!("device {at} knows other records than the first (I1)")));
            }
            let here = |index: &Index| -> Result<Vec<_>, IndexError> {
                let all = index.paths_below(None, None, usize::MAX)?;
                // A folder that nobody published is there wherever something lives in it; not every index has to know.
                let is_said = |triple: &Triple| triple.heads.shown(triple.below) != Shown::ImpliedDirectory;
                let all = all.into_iter().filter(is_said);
                Ok(all.filter_map(|triple| Some((triple.path, triple.here?.version))).collect())
            };
            let (ours, firsts) = (here(&device.index)?, here(first)?);
            if let Some(differs) = ours
                .iter()
                .find(|one| !firsts.contains(one))
                .or_else(|| firsts.iter().find(|one| !ours.contains(one)))
            {
                return Err(Broken(format!(
                    "the disks of device {at} and the first differ at {differs:?} (I1)"
                )));
            }
            if let Some(triple) = device.index.diverging(None, 1)?.first() {
                return Err(Broken(format!("device {at} is not done with {triple:?} (I2)")));
            }
        }
        Ok(())
    }
}

fn salt(device: u8, writer: u8) -> WriterSalt {
    let mut salt = [0; 16];
    (salt[0], salt[1]) = (device, writer);
    WriterSalt(salt)
}

fn path(text: &str) -> Result<RelPath, Broken> {
    RelPath::parse(text.as_bytes()).map_err(|error| Broken(error.to_string()))
}

#[cfg(test)]
mod tests;
