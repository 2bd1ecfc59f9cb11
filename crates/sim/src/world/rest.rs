//! When a world is at rest, and how it comes there.
//!
//! Promise: at rest means that nothing moves, that every device says it is in sync, and that all disks show the same; a
//! device that says less needs an excuse that the world itself can see, never the device's word.

use core::time::Duration;
use std::collections::BTreeSet;

use shoal_engine::io::{Command, Input};
use shoal_engine::status::{Cause, Halt, PeerStatus, Phase, Status};
use shoal_proto::cut;
use shoal_proto::hash::{ContentId, SegmentId};
use shoal_proto::id::DeviceId;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Record};
use shoal_proto::roster::Role;
use shoal_proto::segment::{ListHasher, Segment};

use super::World;
use crate::check::{self, Broken};
use crate::faults::Fault;
use crate::performers::FOLDER;

/// So long nothing may move before a world counts as settled.
const QUIET: Duration = Duration::from_secs(30);

/// Where nothing moves, and yet all is not well, it is looked at less and less often, down to this.
const QUIET_MAX: Duration = Duration::from_secs(600);

impl World {
    /// Nothing breaks any more: all is switched on, all links are up, all disks have room.
    ///
    /// # Errors
    /// When a promise is broken.
    pub fn mend(&mut self) -> Result<(), Broken> {
        self.is_healed = true;
        self.network.mend();
        self.trace.say(self.queue.now(), || "all is mended".to_owned());
        for device in 0..self.devices.len() {
            if self.devices[device].clone_of.is_some() {
                self.fault(&Fault::StopClone(device))?;
            } else {
                self.devices[device].doomed = None;
                self.fault(&Fault::Fill(device, None))?;
                self.fault(&Fault::Start(device))?;
            }
        }
        Ok(())
    }

    /// Lives on until all devices say that they are in sync and nothing moves. A person who is asked says yes.
    ///
    /// # Errors
    /// When a promise is broken, or it takes longer than `bound`.
    pub fn come_to_rest(&mut self, bound: Duration) -> Result<(), Broken> {
        let end = self.now().after(bound);
        let (mut pause, mut look) = (QUIET, self.now().after(QUIET));
        loop {
            let moved = self.moved;
            let until = look.min(end);
            self.run_to(until)?;
            if self.now().since(self.moved) >= QUIET && self.is_settled() {
                return Ok(());
            }
            if until == end {
                break;
            }
            self.answer_questions()?;
            self.forsake_what_is_nowhere();
            self.let_liars_leave()?;
            pause = if self.moved == moved { (pause * 2).min(QUIET_MAX) } else { QUIET };
            look = until.after(pause);
        }
        if let Err(broken) = check::converged::check(self) {
            return Err(Broken::new(broken.invariant, format!("{}; {}", broken.what, self.unrest())));
        }
        let hours = bound.as_secs() / 3600;
        Err(Broken::new("I2", format!("not at rest after {hours} hours: {}", self.unrest())))
    }

    /// All who run look through their folders, so that nobody's watcher can have missed anything.
    ///
    /// # Errors
    /// When a promise is broken.
    pub fn rescan_all(&mut self) -> Result<(), Broken> {
        let share = self.share();
        (0..self.devices.len())
            .try_for_each(|device| self.hear(device, Input::Command(share, Command::Rescan)))
    }

    /// A version that its own author replaced before anybody had it is nowhere: it may be asked for until the end of days.
    /// That it was not Shoal that lost it, the ledger knows.
    fn forsake_what_is_nowhere(&mut self) {
        let share = self.share();
        let held = self.held();
        let mut nowhere = Vec::new();
        for device in self.devices.iter().filter(|device| device.counts()) {
            let Some(status) = device.status(&share) else { continue };
            let sought = status.problems.iter().filter(|(_, cause)| **cause == Cause::NoSource);
            let has_none = |record: &Record| is_nowhere(record, &held);
            let rows = device.index.diverging(None, usize::MAX).unwrap_or_default();
            let lost = rows.into_iter().filter(|row| row.heads.iter().any(has_none));
            let lost: BTreeSet<RelPath> = lost.map(|row| row.path).collect();
            for (path, _) in sought {
                // A path of which nobody knows a version is to have the copy of one that is nowhere.
                let is_copy = device.index.triple(path).ok().flatten().is_none() && !lost.is_empty();
                if is_copy || lost.contains(path) {
                    nowhere.push(path.clone());
                    nowhere.extend(lost.iter().filter(|_| is_copy).cloned());
                }
            }
        }
        self.forsaken.extend(nowhere);
    }

    /// Who alone says to have a content, and gives it to nobody, goes away in the end: until then the others ask again and
    /// again.
    fn let_liars_leave(&mut self) -> Result<(), Broken> {
        let (share, held) = (self.share(), self.held());
        let mut honest = self.devices.iter().filter(|device| device.counts());
        let is_fooled = honest.any(|device| {
            let problems = device.status(&share).map(|status| status.problems);
            let mut asked = problems.iter().flatten().filter(|(_, cause)| **cause == Cause::Fetching);
            asked.any(|(path, _)| {
                let row = device.index.triple(path).ok().flatten();
                row.is_some_and(|row| row.heads.winner().is_some_and(|winner| is_nowhere(winner, &held)))
            })
        });
        for device in 0..self.devices.len() {
            if is_fooled && !self.devices[device].counts() {
                self.retire(device)?;
            }
        }
        Ok(())
    }

    /// The contents of all files of all disks: in the folders, staged, and in history.
    fn held(&self) -> BTreeSet<ContentId> {
        let mut held = BTreeSet::new();
        for device in self.devices.iter().filter(|device| device.counts()) {
            let tree = device.disk.user().tree(FOLDER).unwrap_or_default();
            let files = tree.values().filter(|seen| seen.kind == shoal_disk::Kind::File);
            held.extend(files.map(|seen| content(&seen.bytes)));
        }
        held
    }

    /// Whether nothing moves, all are in sync, and all disks show the same.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.pending == 0
            && self.devices.iter().enumerate().all(|(at, device)| device.is_retired || self.is_content(at))
            && self.wires_are_empty()
            && self.unread.is_empty()
            && check::converged::check(self).is_ok()
    }

    /// Whether a device runs, has nothing to do, and lacks nothing that anybody could give it.
    fn is_content(&self, at: usize) -> bool {
        let device = &self.devices[at];
        let Some(running) = &device.running else { return false };
        if !device.is_honest() {
            return true;
        }
        let is_idle = running.index_jobs.is_empty() && running.disk_jobs.is_empty();
        is_idle && device.status(&self.share()).is_some_and(|status| self.is_in_sync(at, &status))
    }

    fn is_in_sync(&self, at: usize, status: &Status) -> bool {
        let device = &self.devices[at];
        let is_alone = self.devices.iter().filter(|device| !device.is_retired).count() == 1;
        let is_excused = |path: &RelPath, cause: &Cause| match cause {
            Cause::LocalDifference | Cause::NotEmpty => self.devices[at].role == Role::Reader,
            Cause::Blocked(_) | Cause::NoWay(_) if is_overlaid(status, path) => {
                self.devices[at].role == Role::Reader
            }
            Cause::NoSource | Cause::Fetching | Cause::Conflict | Cause::Waiting => {
                self.forsaken.iter().any(|lost| lost == path || lost.is_below(path))
            }
            _ => false,
        };
        let is_hostile = |id| self.devices.iter().any(|device| device.id() == id && !device.is_honest());
        // Versions that lose against one that nobody has are not fetched before it.
        let heads = |path: &RelPath| {
            device.index.triple(path).ok().flatten().map_or(1, |row| row.heads.iter().len().max(1))
        };
        let excused: usize = self.forsaken.iter().map(heads).sum();
        let lacks_forsaken =
            |peer: &PeerStatus| matches!(peer, PeerStatus::Lacking(lacking) if *lacking <= excused);
        let mut peers =
            status.peers.iter().filter(|(id, _)| !is_hostile(**id) && !self.is_reader_with_own(**id));
        status.phase == Phase::Live
            && status.more_problems == 0
            && status.problems.iter().all(|(path, cause)| is_excused(path, cause))
            && (!status.is_busy || !self.forsaken.is_empty())
            && (is_alone || !status.peers.is_empty())
            && peers.all(|(_, peer)| *peer == PeerStatus::InSync || lacks_forsaken(peer))
    }

    /// Whether a device is a reader whose user has changed something: it lacks what that was.
    fn is_reader_with_own(&self, id: DeviceId) -> bool {
        let Some(device) = self.devices.iter().find(|device| device.id() == id) else { return false };
        let status = device.status(&self.share());
        let has_own = |status: Status| status.problems.values().any(|cause| *cause == Cause::LocalDifference);
        device.role == Role::Reader && status.is_some_and(has_own)
    }

    /// Why a world is not at rest, in words.
    fn unrest(&self) -> String {
        let of = |at: usize| {
            let device = &self.devices[at];
            match device.status(&self.share()) {
                None => format!("{} does not run", device.name),
                Some(status) => {
                    let jobs = device
                        .running
                        .as_ref()
                        .map_or((0, 0), |running| (running.index_jobs.len(), running.disk_jobs.len()));
                    format!("{}: {status:?}, jobs of index and disk: {jobs:?}", device.name)
                }
            }
        };
        let restless =
            (0..self.devices.len()).filter(|at| !self.devices[*at].is_retired && !self.is_content(*at));
        let restless: Vec<String> = restless.map(of).collect();
        let wires = if self.wires_are_empty() { "" } else { "; messages are under way" };
        format!("{}{wires}; {} acts or hints to come", restless.join("; "), self.pending)
    }

    /// People look at devices that ask for it, and say that all is meant.
    fn answer_questions(&mut self) -> Result<(), Broken> {
        let share = self.share();
        for device in 0..self.devices.len() {
            let asks = self.devices[device].status(&share).is_some_and(|status| {
                matches!(
                    status.phase,
                    Phase::Halted(Halt::Emptied { .. } | Halt::MassDeletion { .. } | Halt::Before)
                )
            });
            if asks {
                self.trace.say(self.queue.now(), || format!("the user of {device} says: go on"));
                let resume = shoal_engine::io::Command::Resume;
                self.tell(device, Input::Command(share, resume))?;
            }
        }
        Ok(())
    }
}

/// Whether a reader's own difference stands above a path.
fn is_overlaid(status: &Status, path: &RelPath) -> bool {
    path.ancestors().any(|folder| status.problems.get(&folder) == Some(&Cause::LocalDifference))
}

/// Whether a version is a file whose bytes nobody has.
fn is_nowhere(record: &Record, held: &BTreeSet<ContentId>) -> bool {
    matches!(record.version.kind, Kind::File { content, .. } if !held.contains(&content))
}

/// The name of content.
pub(crate) fn content(bytes: &[u8]) -> ContentId {
    let mut list = ListHasher::new();
    for range in cut::segments(bytes) {
        let bytes = bytes.get(range).unwrap_or_default();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // No segment is refused: they were cut as they must be.
        let _ = list.push(Segment { id: SegmentId::from_bytes(*blake3::hash(bytes).as_bytes()), length });
    }
    list.finish().content
}
