//! More of the language of scenarios: what breaks in small ways, what a device shows and says, what things cost.
//!
//! Promise: what is read here is read from disks and from what an engine says of itself; nothing is changed by it. What is
//! done here is done as the world does it by lot.

use core::time::Duration;

use shoal_disk::mem::{Call, MemDisk, Quirks, Trouble};
use shoal_disk::{FileTime, Kind};
use shoal_engine::io::{Command, Input};
use shoal_engine::status::{Cause, Phase};
use shoal_proto::path::RelPath;

use super::{At, Plan};
use crate::device;
use crate::faults::{Fault, Part};
use crate::hostile::Tamper;
use crate::performers::FOLDER;
use crate::users::{self, Bytes, Step, full};
use crate::world::World;

/// What stands in the name of a conflict copy after its stem.
const COPY_MARK: &str = " (conflict ";

/// So long a folder takes to be looked through and what was found to be told, fetched and put in place.
const LOOKS_WITHIN: Duration = Duration::from_secs(60);

impl Plan {
    /// The last devices are hostile, one in each of these ways.
    #[must_use]
    pub fn hostile<const N: usize>(mut self, ways: [Tamper; N]) -> Self {
        self.hostile = ways.to_vec();
        self
    }
}

impl World {
    /// Each device reaches only those that stand beside it here.
    pub fn chain<const N: usize>(&mut self, names: [&str; N]) -> &mut Self {
        for (place, one) in names.iter().enumerate() {
            for other in names.iter().skip(place + 2) {
                self.cut(one, other);
            }
        }
        self
    }

    /// The connections between two devices break; the second one learns it after this time only.
    pub fn half_open(&mut self, one: &str, other: &str, late: Duration) -> &mut Self {
        let (one, other) = (self.named(one), self.named(other));
        self.must(|world| world.fault(&Fault::HalfOpen(one, other, late)))
    }

    /// The connections between two devices hand over nothing for this time.
    pub fn hold_up(&mut self, one: &str, other: &str, time: Duration) -> &mut Self {
        let (one, other) = (self.named(one), self.named(other));
        self.must(|world| world.fault(&Fault::Stall(one, other, time)))
    }

    /// All devices that run look through their folders, whatever a watcher has told them, and a minute passes.
    pub fn look(&mut self) -> &mut Self {
        for device in 0..self.devices.len() {
            if self.devices[device].running.is_some() {
                let rescan = Input::Command(self.share(), Command::Rescan);
                self.must(|world| world.hear(device, rescan));
            }
        }
        self.pass(LOOKS_WITHIN)
    }

    /// How many bytes all devices say while this is told.
    pub fn bytes_said(&mut self, story: impl FnOnce(&mut Self)) -> u64 {
        let before = self.tally.bytes;
        story(self);
        self.tally.bytes - before
    }

    /// All honest devices that run show this text at a path.
    ///
    /// # Panics
    /// When one does not.
    pub fn assert_all_read(&mut self, path: &str, text: &str) -> &mut Self {
        for name in self.honest_names() {
            self.on(&name).assert_reads(path, text);
        }
        self
    }

    /// All honest devices that run show these paths and no others, in order.
    ///
    /// # Panics
    /// When one does not.
    pub fn assert_all_show<const N: usize>(&mut self, paths: [&str; N]) -> &mut Self {
        for name in self.honest_names() {
            assert_eq!(self.on(&name).paths(), paths, "at {name}");
        }
        self
    }

    fn honest_names(&self) -> Vec<String> {
        let all = self.devices.iter().filter(|device| device.is_honest() && device.running.is_some());
        all.map(|device| device.name.clone()).collect()
    }
}

impl At<'_> {
    // ── what its user does ──

    /// Its user saves a file of so many bytes, with a small change to what the number alone gives.
    pub fn write_edited(self, path: &str, number: u64, size: usize, edit: u64) -> Self {
        self.acts(&Step::Write(path.to_owned(), Bytes { number, size, edit }))
    }

    /// Its user writes the first half of such a file.
    pub fn begin(self, path: &str, number: u64, size: usize) -> Self {
        self.acts(&Step::Begin(path.to_owned(), Bytes { number, size, edit: 0 }))
    }

    /// Its user sets a file's time, in seconds since 1970.
    pub fn touch(self, path: &str, seconds: i64) -> Self {
        self.acts(&Step::Touch(path.to_owned(), seconds))
    }

    /// Its user makes a symbolic link at a path.
    pub fn link(self, target: &str, path: &str) -> Self {
        self.acts(&Step::Link(target.to_owned(), path.to_owned()))
    }

    /// Its user copies a file with its time and permissions.
    pub fn copy(self, from: &str, to: &str) -> Self {
        self.acts(&Step::Copy(from.to_owned(), to.to_owned()))
    }

    /// Its user does something of which no watcher ever says anything.
    pub fn unwatched(self, step: &Step) -> Self {
        self.all_unwatched(core::slice::from_ref(step))
    }

    /// Its user does all this in one go, and no watcher ever says anything of it.
    pub fn all_unwatched(self, steps: &[Step]) -> Self {
        self.unseen(|disk| steps.iter().for_each(|step| drop(users::perform(disk, step))))
    }

    /// Its user unpacks so many files into a new folder, each of another text: `text 0` in `0`, and so on. No watcher says
    /// anything.
    pub fn unpack(self, folder: &str, files: usize) -> Self {
        self.unseen(|disk| {
            let user = disk.user();
            let mut made = user.make_dir(&full(folder));
            for number in 0..files {
                let path = full(&format!("{folder}/{number}"));
                made = made.and_then(|()| user.write(&path, format!("text {number}").as_bytes()));
            }
            assert!(made.is_ok(), "{made:?}");
        })
    }

    fn unseen(self, act: impl FnOnce(&MemDisk)) -> Self {
        let now = self.world.now();
        let one = &self.world.devices[self.device];
        one.set_time(now);
        let before = users::tree(&one.disk);
        act(&one.disk);
        let after = users::tree(&one.disk);
        let changed = after.iter().filter(|(path, seen)| before.get(*path) != Some(seen));
        let inodes: Vec<u64> = changed.filter_map(|(path, _)| one.inode(path)).collect();
        self.world.ledger.acted(self.device, &before, &after, true);
        self.world.devices[self.device].user_inodes.extend(inodes);
        self
    }

    /// The folder's disk is taken away, with an empty folder in its place.
    pub fn unmount(self) -> Self {
        let user = self.world.devices[self.device].disk.user();
        let moved = user.rename(FOLDER, "/unmounted").and_then(|()| user.make_dir(FOLDER));
        assert!(moved.is_ok(), "{moved:?}");
        self
    }

    /// What [`Self::unmount`] took away is back.
    pub fn mount(self) -> Self {
        let user = self.world.devices[self.device].disk.user();
        let moved = user.rename(FOLDER, "/left").and_then(|()| user.rename("/unmounted", FOLDER));
        assert!(moved.is_ok(), "{moved:?}");
        let tidied = user.remove_dir("/left");
        assert!(tidied.is_ok(), "what was put into the empty folder: {tidied:?}");
        self
    }

    // ── what breaks ──

    /// It has an empty disk of this sort. Only before anything has happened.
    pub fn has_disk(self, quirks: Quirks) -> Self {
        let disk = device::disk_like(quirks);
        assert!(disk.is_ok() && self.world.devices[self.device].running.is_none(), "{disk:?}");
        if let Ok(disk) = disk {
            self.world.devices[self.device].disk = disk;
        }
        self
    }

    /// It reads what is new to it for so long, batch by batch.
    pub fn reads_for(self, time: Duration) -> Self {
        self.world.devices[self.device].reads_for = time;
        self
    }

    /// Its disk has room again.
    pub fn make_room(self) -> Self {
        self.fault(|device| Fault::Fill(device, None))
    }

    /// Of calls of one sort of its disk the next ones fail, so many of them.
    pub fn fail_calls(self, call: Call, times: u64, trouble: Trouble) -> Self {
        for nth in 1..=times {
            self.world.devices[self.device].disk.fail_nth(Some(call), nth, trouble);
        }
        self
    }

    /// Its clock jumps by so many seconds.
    pub fn jump_clock(self, seconds: i64) -> Self {
        self.fault(|device| Fault::Clock(device, seconds))
    }

    /// A copy of it, index, disk and key, goes to work beside it.
    pub fn copy_device(self) -> Self {
        self.fault(Fault::Clone)
    }

    /// The state that was backed up is put back, and its process starts.
    pub fn restore(self) -> Self {
        self.put_back(Part::Both)
    }

    // ── what it shows and says ──

    /// The texts of the conflict copies of a path, in order of their names.
    #[must_use]
    pub fn copies(&self, path: &str) -> Vec<String> {
        let read = |copy: &String| self.reads(copy).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        self.copy_paths(path).iter().filter_map(read).collect()
    }

    /// The paths of the conflict copies of a path, in order.
    #[must_use]
    pub fn copy_paths(&self, path: &str) -> Vec<String> {
        let is_in_name = |dot: &usize| *dot > path.rfind('/').map_or(0, |slash| slash + 1);
        let (stem, extension) = path.split_at(path.rfind('.').filter(is_in_name).unwrap_or(path.len()));
        let begins = format!("{stem}{COPY_MARK}");
        let ends = format!("){extension}");
        let all = self.paths().into_iter();
        all.filter(|shown| shown.starts_with(&begins) && shown.ends_with(&ends)).collect()
    }

    /// The texts in its history, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<String> {
        let tree = self.world.devices[self.device].disk.user().tree(&full(".shoal/history"));
        let files = tree.unwrap_or_default().into_iter().filter(|(path, seen)| {
            seen.kind == Kind::File && path.extension().is_none_or(|extension| extension != "tsv")
        });
        files.map(|(_, seen)| String::from_utf8_lossy(&seen.bytes).into_owned()).collect()
    }

    /// What is left in its staging folder, by name.
    #[must_use]
    pub fn staged(&self) -> Vec<String> {
        let tree = self.world.devices[self.device].disk.user().tree(&full(".shoal/staging"));
        tree.unwrap_or_default().into_keys().map(|path| path.display().to_string()).collect()
    }

    /// Why it says that a path is not as it should be; `None`: it says nothing of it, or does not run.
    #[must_use]
    pub fn cause(&self, path: &str) -> Option<Cause> {
        let path = RelPath::parse(path.as_bytes()).ok()?;
        self.status().and_then(|status| status.problems.get(&path).cloned())
    }

    /// How far the share has come there; `None`: it does not run.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.status().map(|status| status.phase)
    }

    /// Whether it says that it is in sync.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.status().is_some_and(|status| status.is_in_sync())
    }

    /// What lies at a path: kind, permissions, time; `None`: nothing.
    #[must_use]
    pub fn looks(&self, path: &str) -> Option<(Kind, u32, FileTime)> {
        let tree = users::tree(&self.world.devices[self.device].disk);
        tree.get(path.as_bytes()).map(|seen| (seen.kind, seen.mode, seen.mtime))
    }

    /// What the link at a path says; `None`: there is no link.
    #[must_use]
    pub fn link_text(&self, path: &str) -> Option<String> {
        let tree = users::tree(&self.world.devices[self.device].disk);
        let link = tree.get(path.as_bytes()).filter(|seen| seen.kind == Kind::Symlink);
        link.map(|seen| String::from_utf8_lossy(&seen.bytes).into_owned())
    }

    /// Nothing is at a path.
    ///
    /// # Panics
    /// When something is.
    pub fn assert_nothing_at(self, path: &str) -> Self {
        let found = self.looks(path);
        assert!(found.is_none(), "{path} at {} is {found:?}", self.world.devices[self.device].name);
        self
    }
}
