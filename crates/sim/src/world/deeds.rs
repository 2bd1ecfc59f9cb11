//! What is done to a world from outside: acts of users, and faults.
//!
//! Promise: a process that ends leaves each job done whole, not at all, or, of a disk, cut off between two calls; a device
//! is put back only while it does not run.

use std::collections::BTreeSet;

use core::time::Duration;

use shoal_disk::Space;
use shoal_disk::mem::Trouble;
use shoal_engine::disk;
use shoal_engine::history::Restore;
use shoal_engine::io::{Command, Input, given_up};
use shoal_engine::time::Time;
use shoal_proto::heads::Heads;
use shoal_proto::key::rand_core::RngCore;
use shoal_proto::path::RelPath;
use shoal_proto::record::Record;
use shoal_proto::roster::{Described, DeviceName, Entry, Role, Statement};
use shoal_proto::secret::ShareSecret;

use super::rest::content;
use super::{Event, NAMES, World};
use crate::act::Deed;
use crate::check::kept_long_enough::kept_files;
use crate::check::{self, Broken};
use crate::device::{Backup, Device};
use crate::draw::Draw;
use crate::faults::{Fault, Part};
use crate::users::Tree;

/// What a disk has that is not full, in bytes.
const ROOM: Space = Space { free: 1 << 40, total: 1 << 40 };

impl World {
    pub(super) fn perform_act(&mut self, number: usize) -> Result<(), Broken> {
        match self.acts[number].deed.clone() {
            Deed::User { device, step } => {
                self.user_acts(device, &step);
                Ok(())
            }
            Deed::Restore { device, pick, to } => self.user_wants_back(device, pick, to.as_deref()),
            Deed::Revert { pick } => self.user_gives_up(pick),
            Deed::Say { device, number } => self.says(device, number),
            Deed::Fault(fault) => self.fault(&fault),
        }
    }

    /// A device that runs says something of the roster, as its user wants.
    fn says(&mut self, device: usize, number: u64) -> Result<(), Broken> {
        let (share, one) = (self.share(), &self.devices[device]);
        if one.running.is_none() || one.is_retired {
            return Ok(());
        }
        let mut draw = Draw::new(number);
        let index = &one.index;
        let refused = |error: &dyn core::fmt::Display| Broken::of_world(error.to_string());
        let is_admin = index.roster().role(&one.id()) == Some(Role::Admin);
        let entries = if is_admin && draw.one_in(2) {
            let mut secret = [0; 32];
            draw.fill_bytes(&mut secret);
            let secret = ShareSecret::from_bytes(secret);
            index.entries().new_secret(&one.key, &secret, &mut draw).map_err(|error| refused(&error))?
        } else {
            let name =
                DeviceName::parse(&format!("{} {number}", one.name)).map_err(|error| refused(&error))?;
            let described = Described { name, box_key: one.key.box_key() };
            let after = index.roster().last_entry(&one.id());
            let entry = Entry::sign(&one.key, &share, after, Statement::Device(described));
            vec![entry.map_err(|error| refused(&error))?]
        };
        self.trace.note(self.queue.now(), b'e', device, &number.to_be_bytes());
        self.trace.say(self.queue.now(), || format!("{} says {} entries", NAMES[device % 16], entries.len()));
        self.hear(device, Input::Command(share, Command::Enter(entries)))
    }

    /// The user of a device wants a version back that lies in its history now, if there is any.
    fn user_wants_back(&mut self, device: usize, pick: u64, to: Option<&str>) -> Result<(), Broken> {
        let numbers: Vec<u64> = kept_files(&self.devices[device].disk).into_keys().collect();
        let Some(count) = u64::try_from(numbers.len()).ok().filter(|count| *count > 0) else { return Ok(()) };
        let number = usize::try_from(pick % count).ok().and_then(|at| numbers.get(at).copied());
        let to = to.and_then(|path| RelPath::parse(path.as_bytes()).ok());
        let restore = Restore { number: number.unwrap_or_default(), to };
        self.trace.say(self.queue.now(), || format!("the user of {}: {restore:?}", NAMES[device % 16]));
        self.hear(device, Input::Command(self.share(), Command::Restore(restore)))
    }

    /// The user of the device that only reads gives up half of what is known to be changed there.
    fn user_gives_up(&mut self, pick: u64) -> Result<(), Broken> {
        let mut draw = Draw::new(pick);
        let Some(device) = self.devices.iter().position(|device| device.role == Role::Reader) else {
            return Ok(());
        };
        let changes = self.devices[device].index.local_differences(None, usize::MAX);
        let (mut changes, _) = changes.map_err(|error| Broken::of_world(error.to_string()))?;
        changes.retain(|_| draw.one_in(2));
        self.trace.say(self.queue.now(), || {
            let paths: Vec<String> = changes.iter().map(|row| row.path.to_string()).collect();
            format!("the user of {} gives up {paths:?}", NAMES[device % 16])
        });
        self.hear(device, Input::Command(self.share(), Command::Revert(given_up(changes))))
    }

    /// Something breaks, or is mended.
    ///
    /// # Errors
    /// When a promise is broken.
    pub fn fault(&mut self, fault: &Fault) -> Result<(), Broken> {
        let now = self.now();
        self.trace.note(now, b'f', 0, format!("{fault:?}").as_bytes());
        self.trace.say(now, || format!("{fault:?}"));
        match *fault {
            Fault::Crash(device) => self.crash(device),
            Fault::CrashDuring(device, during, calls) => {
                self.devices[device].doomed = Some((during, calls));
                Ok(())
            }
            Fault::PowerCut(device, seed) => self.power_cut(device, seed),
            Fault::Start(device) => {
                self.queue.after(Duration::ZERO, Event::Start { device });
                Ok(())
            }
            Fault::BackUp(device) => {
                let one = &mut self.devices[device];
                let index = one.index.fork().map_err(Broken::of_index)?;
                let (disk, roster) = (one.disk.fork(), one.roster.clone());
                one.backup = Some(Backup { index, disk, roster });
                Ok(())
            }
            Fault::PutBack(device, part) => self.put_back(device, part),
            Fault::LoseIndex(device) => {
                self.crash(device)?;
                self.devices[device].lose_index(&self.members).map_err(Broken::of_world)?;
                self.forget_untold(device);
                self.lost_indexes += 1;
                self.fault(&Fault::Start(device))
            }
            Fault::Clone(device) => self.copy(device),
            Fault::StopClone(device) => self.stop_copy(device),
            Fault::Fill(device, room) => {
                let disk = &self.devices[device].disk;
                disk.fill_after(room);
                disk.set_space(room.map_or(ROOM, |free| Space { free, ..ROOM }));
                Ok(())
            }
            Fault::Failing(device, calls) => {
                self.devices[device].disk.fail_nth(None, calls, Trouble::Io);
                Ok(())
            }
            Fault::Clock(device, seconds) => {
                let one = &mut self.devices[device];
                one.wrong_by = one.wrong_by.saturating_add(seconds);
                one.leaps += 1;
                Ok(())
            }
            Fault::Cut(one, other) => {
                self.break_between(one, other, [Duration::ZERO; 2]);
                Ok(())
            }
            Fault::HalfOpen(one, other, late) => {
                self.break_between(one, other, [Duration::ZERO, late]);
                Ok(())
            }
            Fault::Stall(one, other, time) => {
                let until = now.after(time);
                self.stall(one, other, until);
                Ok(())
            }
            Fault::Bar(one, other, is_barred) => {
                self.network.bar(one, other, is_barred);
                Ok(())
            }
        }
    }

    /// Breaks the connections between two devices; `waits`: how soon each of them learns it.
    fn break_between(&mut self, one: usize, other: usize, waits: [Duration; 2]) {
        for id in self.network.between(one, other) {
            let is_first = self.network.wire(id).is_some_and(|wire| wire.ends[0].device == one);
            let [first, second] = waits;
            self.cut_wire(id, if is_first { [first, second] } else { [second, first] });
        }
    }

    fn stall(&mut self, one: usize, other: usize, until: Time) {
        for id in self.network.between(one, other) {
            if let Some(wire) = self.network.wire(id) {
                wire.stall(until);
            }
        }
    }

    /// Switches a device off for good.
    pub(super) fn retire(&mut self, device: usize) -> Result<(), Broken> {
        self.crash(device)?;
        self.devices[device].is_retired = true;
        Ok(())
    }

    fn crash(&mut self, device: usize) -> Result<(), Broken> {
        if self.devices[device].running.is_none() {
            return Ok(());
        }
        self.tally.crashes += 1;
        self.end_process(device, true);
        self.devices[device].disk.crash();
        check::atomic::check_disk(self, device)
    }

    fn power_cut(&mut self, device: usize, seed: u64) -> Result<(), Broken> {
        self.tally.power_cuts += 1;
        self.end_process(device, false);
        self.devices[device].disk.power_cut(seed);
        self.note_left_overs(device);
        self.forsake_distrusted(device);
        let shows = crate::users::tree(&self.devices[device].disk);
        self.ledger.power_cut(device, &shows, &check::contents(self));
        check::atomic::check_disk(self, device)
    }

    /// A file of the user's that a failed sync concerned may be anything after a power cut, and look as it did: nobody can
    /// tell, and it is read as what it was. Nothing short of writing the user's files anew could help.
    fn forsake_distrusted(&mut self, device: usize) {
        let one = &mut self.devices[device];
        if core::mem::take(&mut one.is_distrusted) {
            let shows = crate::users::tree(&one.disk);
            let own = shows
                .keys()
                .filter(|path| one.inode(path).is_some_and(|inode| one.user_inodes.contains(&inode)));
            let own = own.filter_map(|path| RelPath::parse(path).ok());
            self.forsaken.extend(own);
        }
    }

    /// Of what a user wrote and nobody made durable, a power cut may leave anything.
    fn note_left_overs(&mut self, device: usize) {
        let one = &self.devices[device];
        let shows = crate::users::tree(&one.disk);
        for (path, content) in crate::ledger::files(&shows) {
            if one.inode(path).is_some_and(|inode| one.user_inodes.contains(&inode)) {
                self.ledger.left_over(content);
            }
        }
    }

    /// Ends a process within whatever it is doing. `is_told`: the system is left to close its connections.
    fn end_process(&mut self, device: usize, is_told: bool) {
        let now = self.now();
        self.moved = now;
        let calls = self.draw.below(60) as u64;
        let is_in_job = self.draw.one_in(2);
        let one = &mut self.devices[device];
        one.set_time(now);
        if let Some(running) = &mut one.running
            && is_in_job
            && let Some((_, begun)) = running.disk_jobs.pop_first()
        {
            let before = crate::users::tree(&one.disk);
            let is_restore = matches!(begun.job, disk::Job::Restore(_));
            one.disk.stop_after(calls);
            running.worker.perform(begun.job);
            if is_restore {
                let after = crate::users::tree(&one.disk);
                self.ledger.came_back(device, &before, &after);
            }
        }
        let one = &mut self.devices[device];
        let mut jobs = one.stop();
        if self.draw.one_in(2)
            && let Some((id, job)) = jobs.pop_front()
        {
            // Done, and nobody hears of it.
            self.perform_index_job(device, id, job);
        }
        self.drop_ends(device, is_told);
    }

    fn put_back(&mut self, device: usize, part: Part) -> Result<(), Broken> {
        let Some(Backup { index, disk, roster }) = self.devices[device].backup.take() else { return Ok(()) };
        self.crash(device)?;
        let one = &mut self.devices[device];
        if part != Part::Disk {
            one.index = index;
        }
        if part == Part::Both {
            one.roster = roster;
        }
        if part != Part::Index {
            disk.crash();
            one.disk = disk;
            self.puts_back += 1;
            self.histories.forget(device);
            let shows = crate::users::tree(&self.devices[device].disk);
            // What only this disk had may have been told of: nobody will ever have it.
            let before: Vec<Vec<u8>> = self.ledger.owed().map(|(_, owed)| owed.path.clone()).collect();
            self.ledger.put_back(&shows, &check::contents(self), part == Part::Disk);
            let left: BTreeSet<&Vec<u8>> = self.ledger.owed().map(|(_, owed)| &owed.path).collect();
            let gone = before.iter().filter(|path| !left.contains(path));
            let gone: Vec<_> = gone.filter_map(|path| shoal_proto::path::RelPath::parse(path).ok()).collect();
            self.forsaken.extend(gone);
        }
        if part != Part::Disk {
            // Also of a backup of both that was made between an edit and the look that found it.
            self.ledger.is_untold(&untold(&self.devices[device]));
        }
        if part == Part::Index {
            // It may settle a conflict in favour of what it knew, before it hears that this was deleted since.
            let one = &self.devices[device];
            let is_live = |record: &Record| !record.version.kind.is_gone();
            self.ledger.forget_deletions(|deletion| {
                heads(one, &deletion.path).is_some_and(|heads| heads.iter().any(is_live))
            });
        }
        self.forget_untold(device);
        self.fault(&Fault::Start(device))
    }

    /// The index of a device is gone, or an earlier one is back: of what its user deleted, the others know what they know.
    fn forget_untold(&mut self, device: usize) {
        let others = self.devices.iter().enumerate();
        let others = others.filter(|(at, one)| *at != device && one.counts());
        let others: Vec<_> = others.map(|(_, one)| one).collect();
        let is_gone = |record: &Record| record.version.kind.is_gone();
        let is_told = |path: &[u8]| {
            others.iter().any(|other| heads(other, path).is_some_and(|heads| heads.iter().any(is_gone)))
        };
        self.ledger.forget_deletions(|deletion| deletion.device == device && !is_told(&deletion.path));
        self.ledger.is_stale(&crate::users::tree(&self.devices[device].disk));
    }

    fn copy(&mut self, device: usize) -> Result<(), Broken> {
        let has_copy = self.devices.iter().any(|one| one.clone_of.is_some() && !one.is_retired);
        let one = &self.devices[device];
        if has_copy || one.clone_of.is_some() || !one.is_honest() {
            return Ok(());
        }
        let copy = one.copied(device).map_err(Broken::of_world)?;
        self.ledger.is_untold(&untold(one));
        let number = self.devices.len();
        self.trace
            .say(self.queue.now(), || format!("{} is a copy of {}", NAMES[number % 16], NAMES[device % 16]));
        self.devices.push(copy);
        self.fault(&Fault::Start(number))
    }

    /// Stops the copies of a device, or the copy that is this one.
    fn stop_copy(&mut self, device: usize) -> Result<(), Broken> {
        for number in 0..self.devices.len() {
            let one = &self.devices[number];
            let is_meant = number == device || one.clone_of == Some(device);
            if is_meant && one.clone_of.is_some() && !one.is_retired {
                self.retire(number)?;
            }
        }
        Ok(())
    }
}

/// What a device's disk shows and its index knows nothing of.
fn untold(device: &Device) -> Tree {
    let mut tree = crate::users::tree(&device.disk);
    tree.retain(|path, seen| {
        let content = content(&seen.bytes);
        let is_it = |record: &Record| record.version.kind.content() == content;
        !heads(device, path).is_some_and(|heads| heads.iter().any(is_it))
    });
    tree
}

/// The versions of a path that a device knows of.
fn heads(device: &Device, path: &[u8]) -> Option<Heads> {
    let row = device.index.triple(&RelPath::parse(path).ok()?).ok().flatten()?;
    Some(row.heads)
}
