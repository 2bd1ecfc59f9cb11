//! One device: its key, index, disk and clock, and while it runs its engine and the jobs under way.
//!
//! Promise: what a crash leaves is what a device leaves: the index as its last job left it, what it keeps of the roster
//! outside of that, the disk as it is, nothing else. Jobs of the index are performed in their order; those of the disk in
//! any order, but for commits, and jobs about one staged file.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use shoal_disk::mem::{MemDisk, Quirks};
use shoal_disk::{Durability, FileTime};
use shoal_engine::disk::{self, Source, StageId};
use shoal_engine::history::Retention;
use shoal_engine::index;
use shoal_engine::io::{JobId, Now};
use shoal_engine::status::Status;
use shoal_engine::time::Time;
use shoal_index::{At, Index};
use shoal_proto::id::{DeviceId, ShareId, WriterSalt};
use shoal_proto::key::{DeviceKey, InviteSecret};
use shoal_proto::roster::{
    Delegation, Described, DeviceName, Entries, Entry, Founding, Joined, Offer, Role, Statement,
};

use crate::brain::{Brain, Make};
use crate::draw::Draw;
use crate::faults::During;
use crate::hostile::Hostile;
use crate::performers::{FOLDER, Worker};

/// Seconds since 1970 at the beginning of a world, by a right clock.
pub const BEGINNING: u64 = 1_700_000_000;

/// Something beside the share's folder, which must stay what it is.
pub const OUTSIDE: [(&str, &str); 2] = [("/outside", "not shared"), ("/home/outside", "not shared either")];

/// From here on a copy of a device counts its writers, so that the two never draw the same one.
const COPY_WRITERS: u32 = 1 << 16;

/// A device.
#[derive(Debug)]
pub struct Device {
    /// What it is called.
    pub name: String,
    /// Its key.
    pub key: Arc<DeviceKey>,
    /// Its role in the share.
    pub role: Role,
    /// Its index.
    pub index: Index,
    /// What it keeps of the roster outside of the index.
    pub roster: Entries,
    /// Its disk.
    pub disk: MemDisk,
    /// By how many seconds its clock is wrong.
    pub wrong_by: i64,
    /// Counts its processes; what was meant for an earlier one is void.
    pub life: u32,
    /// What runs, while it runs.
    pub running: Option<Running>,
    /// What was backed up.
    pub backup: Option<Backup>,
    /// The inodes of files that its user wrote.
    pub user_inodes: BTreeSet<u64>,
    /// In what sort of job, and after how many calls, the process is to end.
    pub doomed: Option<(During, u64)>,
    /// A sync of its disk has failed since the power was last on: what the disk was to write then may be lost, and no later
    /// sync knows of it.
    pub is_distrusted: bool,
    /// How it changes what it says, if it is hostile.
    pub hostile: Option<Hostile>,
    /// Whether its next processes know that its machine was not shut down.
    pub is_unclean: bool,
    /// Whether its user decides what the first contact leads to.
    pub asks_first: bool,
    /// How much of what is displaced it keeps.
    pub retention: Retention,
    /// How much longer it takes to read what is found to be new.
    pub reads_for: Duration,
    /// How often its clock jumped, or nobody looked at it for a while: its process began.
    pub leaps: u32,
    /// Of which device it is a copy.
    pub clone_of: Option<usize>,
    /// Whether it never starts again: a copy whose user has noticed.
    pub is_retired: bool,
    writers: u32,
}

/// What was backed up of a device.
#[derive(Debug)]
pub struct Backup {
    /// Its index.
    pub index: Index,
    /// Its disk.
    pub disk: MemDisk,
    /// What it kept of the roster.
    pub roster: Entries,
}

/// What runs on a device.
#[derive(Debug)]
pub struct Running {
    /// The engine.
    pub engine: Box<dyn Brain>,
    /// Who performs jobs of its disk.
    pub worker: Worker,
    /// Jobs of the index, in their order.
    pub index_jobs: VecDeque<(JobId, index::Job)>,
    /// Jobs of the disk.
    pub disk_jobs: BTreeMap<JobId, DiskJob>,
    /// When it is to be told that a moment has come.
    pub tick: Option<Time>,
}

/// A job of a disk under way.
#[derive(Debug)]
pub struct DiskJob {
    /// What is to be done.
    pub job: disk::Job,
    /// When it will be.
    pub done: Time,
    stages: BTreeSet<StageId>,
}

/// What all devices of a world share.
#[derive(Clone, Debug)]
pub struct Members {
    /// How the share began.
    pub founding: Founding,
    /// The key of who founded it.
    pub founder: Arc<DeviceKey>,
    /// Until when invites to it are good, in seconds since 1970.
    pub not_after: u64,
}

impl Members {
    /// A share that is new, with invites that are good for ever.
    #[must_use]
    pub fn new() -> Self {
        let founder = key(0);
        let founding = Founding { creator: founder.device(), random: [2; 32], cut: 1 };
        Self { founding, founder, not_after: u64::MAX }
    }

    /// The share.
    #[must_use]
    pub fn share(&self) -> ShareId {
        self.founding.share()
    }

    /// What lets this device in.
    ///
    /// # Errors
    /// When it cannot be signed; the text says why.
    pub fn joined(&self, number: u8, role: Role, name: &str) -> Result<Entry, String> {
        let (share, key) = (self.share(), key(number));
        let mut seed = [0x50; 32];
        seed[0] = number;
        let invite = InviteSecret::from_seed(&seed);
        let offer = Offer { role, uses: 1, not_after: self.not_after };
        let text = |error: &dyn core::fmt::Display| error.to_string();
        let delegation = Delegation::sign(&self.founder, &share, invite.key(), offer, None)
            .map_err(|error| text(&error))?;
        let name = DeviceName::parse(name).map_err(|error| text(&error))?;
        let described = Described { name, box_key: key.box_key() };
        let joined = Joined::by(&invite, delegation, &share, &key.device(), described);
        let statement = Statement::Joined(Box::new(joined));
        Entry::sign(&key, &share, None, statement).map_err(|error| text(&error))
    }
}

impl Default for Members {
    fn default() -> Self {
        Self::new()
    }
}

/// The key of a device of a world.
#[must_use]
pub fn key(number: u8) -> Arc<DeviceKey> {
    let mut seed = [0x11; 32];
    seed[0] = number;
    Arc::new(DeviceKey::from_seed(&seed))
}

impl Device {
    /// A device that is not yet started, with an empty folder.
    ///
    /// # Errors
    /// When its index or disk cannot be made; the text says why.
    pub fn new(
        number: u8,
        name: &str,
        role: Role,
        members: &Members,
        draw: &mut Draw,
    ) -> Result<Self, String> {
        let key = key(number);
        let join = if number == 0 { None } else { Some(members.joined(number, role, name)?) };
        let index = fresh_index(&key, members, join, salt(number, 0), true)?;
        let disk = fresh_disk(draw).map_err(|error| error.to_string())?;
        let wrong_by = if draw.one_in(3) { draw_jump(draw) } else { 0 };
        Ok(Self {
            name: name.to_owned(),
            key,
            role,
            roster: index.entries().clone(),
            index,
            disk,
            wrong_by,
            life: 0,
            running: None,
            backup: None,
            user_inodes: BTreeSet::new(),
            doomed: None,
            is_distrusted: false,
            hostile: None,
            is_unclean: false,
            asks_first: false,
            retention: Retention::default(),
            reads_for: Duration::ZERO,
            leaps: 0,
            clone_of: None,
            is_retired: false,
            writers: 0,
        })
    }

    /// A copy of this device as it is now, not yet started.
    ///
    /// # Errors
    /// When its index cannot be copied; the text says why.
    pub fn copied(&self, number: usize) -> Result<Self, String> {
        Ok(Self {
            name: format!("{}'s copy", self.name),
            key: Arc::clone(&self.key),
            role: self.role,
            index: self.index.fork().map_err(|error| error.to_string())?,
            roster: self.roster.clone(),
            disk: self.disk.fork(),
            wrong_by: self.wrong_by,
            life: 0,
            running: None,
            backup: None,
            user_inodes: BTreeSet::new(),
            doomed: None,
            is_distrusted: false,
            hostile: None,
            is_unclean: self.is_unclean,
            asks_first: self.asks_first,
            retention: self.retention,
            reads_for: self.reads_for,
            leaps: self.leaps,
            clone_of: Some(number),
            is_retired: false,
            writers: self.writers + COPY_WRITERS,
        })
    }

    /// The device's id.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        self.key.device()
    }

    /// Whether the promises hold for what it shows.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.hostile.is_none()
    }

    /// Whether that is asked of it: it is honest, and was not switched off for good.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.is_honest() && !self.is_retired
    }

    /// What its clocks show.
    #[must_use]
    pub fn now(&self, time: Time) -> Now {
        Now { time, wall: (BEGINNING + time.0 / 1_000_000_000).saturating_add_signed(self.wrong_by) }
    }

    /// Its disk is told the time.
    pub fn set_time(&self, time: Time) {
        let nanos = u32::try_from(time.0 % 1_000_000_000).unwrap_or_default();
        let secs = i64::try_from(self.now(time).wall).unwrap_or(i64::MAX);
        self.disk.set_time(FileTime { secs, nanos });
    }

    /// The inode number of what is at a path of the share, if anything is.
    #[must_use]
    pub fn inode(&self, path: &[u8]) -> Option<u64> {
        let path = core::str::from_utf8(path).ok()?;
        self.disk.user().stat(&crate::users::full(path)).ok().flatten().map(|stat| stat.ino)
    }

    /// How the share stands here; `None`: it does not run.
    #[must_use]
    pub fn status(&self, share: &ShareId) -> Option<Status> {
        self.running.as_ref().and_then(|running| running.engine.status(share))
    }

    /// Keeps what the index knows of the roster outside of it, too; after each job, as a real device does.
    pub fn keep_roster(&mut self) {
        if self.roster.len() != self.index.entries().len() {
            self.roster = self.index.entries().clone();
        }
    }

    /// Makes the index of this device anew: the old one is lost.
    ///
    /// # Errors
    /// When it cannot be made; the text says why.
    pub fn lose_index(&mut self, members: &Members) -> Result<(), String> {
        self.writers += 1;
        let number = self.id().as_bytes()[0];
        let salt = salt(number, self.writers);
        self.index = fresh_index(&self.key, members, None, salt, false)?;
        Ok(())
    }

    /// Starts a process. Its engine is to be told of the share next.
    ///
    /// # Errors
    /// When the index or the folder cannot be opened; the text says why.
    pub fn start(&mut self, make: Make) -> Result<(), String> {
        self.life += 1;
        self.leaps += 1;
        // As a real start does, the index is read anew from what its last job wrote.
        self.index = self.index.fork().map_err(|error| error.to_string())?;
        let kept: Vec<Entry> = self.roster.iter().cloned().collect();
        self.index.add_entries(kept).map_err(|error| error.to_string())?;
        self.keep_roster();
        let worker = Worker::open(&self.disk, self.is_unclean)?;
        let mut seed = *self.id().as_bytes();
        seed[28..].copy_from_slice(&self.life.to_be_bytes());
        let seed = *blake3::hash(&seed).as_bytes();
        let engine = make(self.id(), seed);
        self.running = Some(Running {
            engine,
            worker,
            index_jobs: VecDeque::new(),
            disk_jobs: BTreeMap::new(),
            tick: None,
        });
        Ok(())
    }

    /// Ends the process; returns what jobs of the index it left, in their order.
    pub fn stop(&mut self) -> VecDeque<(JobId, index::Job)> {
        self.life += 1;
        self.doomed = None;
        self.running.take().map(|running| running.index_jobs).unwrap_or_default()
    }
}

impl Running {
    /// Adds a job of the disk; when it will be done. `done` is when it would be, had it not to wait for others.
    pub fn add_disk_job(&mut self, id: JobId, job: disk::Job, done: Time) -> Time {
        let stages = stages(&job);
        let is_commit = matches!(job, disk::Job::Commit(_));
        let waits_for = |other: &DiskJob| {
            is_commit && matches!(other.job, disk::Job::Commit(_)) || !other.stages.is_disjoint(&stages)
        };
        let others =
            self.disk_jobs.values().filter(|other| waits_for(other)).map(|other| Time(other.done.0 + 1));
        let done = others.max().map_or(done, |others| others.max(done));
        self.disk_jobs.insert(id, DiskJob { job, done, stages });
        done
    }
}

/// The staged files that a job is about.
fn stages(job: &disk::Job) -> BTreeSet<StageId> {
    let at = |places: &[disk::BytesAt]| -> Vec<StageId> {
        let staged = |place: &disk::BytesAt| match place {
            disk::BytesAt::Staged { stage, .. } => Some(*stage),
            _ => None,
        };
        places.iter().filter_map(staged).collect()
    };
    match job {
        disk::Job::Write(writes) => {
            let from = |write: &disk::Write| match &write.from {
                Source::Places(places) => at(places),
                Source::Bytes(_) | Source::Chunks { .. } => Vec::new(),
            };
            writes.iter().flat_map(|write| from(write).into_iter().chain([write.stage])).collect()
        }
        disk::Job::Drop(stages) => stages.iter().copied().collect(),
        disk::Job::Commit(changes) => {
            let stage = |change: &disk::Change| match &change.deed {
                disk::ChangeDeed::Place { stage, .. } => *stage,
                _ => None,
            };
            changes.iter().filter_map(stage).collect()
        }
        disk::Job::Read(wanted) => wanted.iter().flat_map(|wanted| at(&wanted.places)).collect(),
        disk::Job::Chunks { wanted, .. } => at(&wanted.places).into_iter().collect(),
        disk::Job::Sweep(_)
        | disk::Job::Look(_)
        | disk::Job::Ignores(_)
        | disk::Job::Take(_)
        | disk::Job::Compare(_)
        | disk::Job::History { .. }
        | disk::Job::Name(_)
        | disk::Job::Prune { .. }
        | disk::Job::Restore(_) => BTreeSet::new(),
    }
}

/// Some seconds, hours or years.
pub fn draw_jump(draw: &mut Draw) -> i64 {
    let span = [100, 100_000, 400_000_000][draw.below(3)];
    i64::try_from(draw.below(span)).unwrap_or_default() - i64::try_from(span / 2).unwrap_or_default()
}

fn salt(device: u8, writer: u32) -> WriterSalt {
    let mut salt = [0; 16];
    salt[0] = device;
    salt[1..5].copy_from_slice(&writer.to_be_bytes());
    WriterSalt(salt)
}

fn fresh_index(
    key: &Arc<DeviceKey>,
    members: &Members,
    join: Option<Entry>,
    salt: WriterSalt,
    is_new: bool,
) -> Result<Index, String> {
    let make = if is_new { Index::create } else { Index::create_again };
    let mut index =
        make(At::Memory, members.founding, Arc::clone(key), salt).map_err(|error| error.to_string())?;
    if let Some(join) = join {
        index.add_entries(vec![join]).map_err(|error| error.to_string())?;
    }
    Ok(index)
}

fn fresh_disk(draw: &mut Draw) -> std::io::Result<MemDisk> {
    let quirks = match draw.below(8) {
        0 => Quirks { durability: Durability::EachFile, ..Quirks::default() },
        1 => Quirks { renames_with_flags: false, ..Quirks::default() },
        2 => Quirks { reuses_numbers: true, ..Quirks::default() },
        3 => Quirks { durability: Durability::EachFile, syncs_directories: false, ..Quirks::default() },
        4 => Quirks { time_step: 1_000_000_000, ..Quirks::default() },
        _ => Quirks::default(),
    };
    disk_like(quirks)
}

/// A disk of this sort, with an empty folder of the share on it, at the beginning of a world.
pub(crate) fn disk_like(quirks: Quirks) -> std::io::Result<MemDisk> {
    let disk = MemDisk::new(quirks);
    disk.set_time(FileTime { secs: i64::try_from(BEGINNING).unwrap_or(i64::MAX), nanos: 0 });
    let user = disk.user();
    user.make_dir("/home")?;
    user.make_dir(FOLDER)?;
    for (path, bytes) in OUTSIDE {
        user.write(path, bytes)?;
    }
    disk.sync();
    Ok(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_reads_the_index_anew_and_a_second_one_is_refused() {
        let members = Members::new();
        let mut draw = Draw::new(1);
        let mut ana = Device::new(0, "ana", Role::Admin, &members, &mut draw).unwrap();
        ana.index.set_halted(true).unwrap();
        ana.start(crate::brain::engine).unwrap();
        assert!(ana.index.life().halted);
        assert!(Worker::open(&ana.disk, false).is_err(), "the folder is locked");
        ana.stop();
        ana.disk.crash();
        assert!(Worker::open(&ana.disk, false).is_ok());
        let before = ana.index.life().writer;
        ana.lose_index(&members).unwrap();
        assert_ne!(ana.index.life().writer, before);
    }

    #[test]
    fn commits_come_one_after_the_other_and_others_do_not_wait() {
        let members = Members::new();
        let mut ana = Device::new(0, "ana", Role::Admin, &members, &mut Draw::new(1)).unwrap();
        ana.start(crate::brain::engine).unwrap();
        let running = ana.running.as_mut().unwrap();
        let commit = || disk::Job::Commit(Vec::new());
        assert_eq!(running.add_disk_job(JobId(1), commit(), Time(100)), Time(100));
        assert_eq!(running.add_disk_job(JobId(2), commit(), Time(50)), Time(101));
        assert_eq!(running.add_disk_job(JobId(3), disk::Job::Look(Vec::new()), Time(50)), Time(50));
        let drop = |stage| disk::Job::Drop(vec![StageId(stage)]);
        assert_eq!(running.add_disk_job(JobId(4), drop(1), Time(60)), Time(60));
        assert_eq!(running.add_disk_job(JobId(5), drop(1), Time(10)), Time(61));
        assert_eq!(running.add_disk_job(JobId(6), drop(2), Time(10)), Time(10));
    }
}
