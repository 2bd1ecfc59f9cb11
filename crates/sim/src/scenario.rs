//! Worlds that are told step by step: a bug becomes a scenario.
//!
//! Promise: a scenario reads as a story; where it does not come out as told, it ends with what was broken and with all
//! that happened. For tests: what fails panics.
//!
//! ```no_run
//! use shoal_sim::world::World;
//!
//! let mut w = World::seeded(7).peers(["ana", "ben"]).share("notes");
//! w.on("ana").write("plan.txt", "v1");
//! w.settle().cut("ana", "ben");
//! w.on("ana").write("plan.txt", "from ana");
//! w.on("ben").write("plan.txt", "from ben").crash().restart();
//! w.heal().settle().assert_converged().assert_nothing_lost();
//! ```

mod looks;
mod past;
mod troubles;
mod words;

use core::time::Duration;

use shoal_engine::history::Retention;
use shoal_engine::io::{Command, Input};
use shoal_engine::status::Status;
use shoal_proto::roster::{Entries, Role};

use crate::check::{self, Broken};
use crate::faults::{During, Fault, Part};
use crate::hostile::Tamper;
use crate::options::Options;
use crate::run::REST;
use crate::users::{self, Bytes, Step, full};
use crate::world::World;

/// How long a scenario may take to settle down.
const SETTLES_WITHIN: Duration = REST;

/// A world that is being thought of.
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    names: Vec<String>,
    has_reader: bool,
    hostile: Vec<Tamper>,
    retention: Retention,
    invites_last: Option<Duration>,
}

/// Whoever does something at one device, and what happens there.
#[derive(Debug)]
pub struct At<'a> {
    world: &'a mut World,
    device: usize,
}

impl World {
    /// A world from this seed: it says how fast everything is, and how late.
    #[must_use]
    pub fn seeded(seed: u64) -> Plan {
        Plan {
            seed,
            names: Vec::new(),
            has_reader: false,
            hostile: Vec::new(),
            retention: Retention::default(),
            invites_last: None,
        }
    }

    /// At this device.
    ///
    /// # Panics
    /// When there is none of this name.
    pub fn on(&mut self, name: &str) -> At<'_> {
        let device = self.named(name);
        At { world: self, device }
    }

    /// The connections between two devices break, and none comes about, until [`Self::connect`] or [`Self::heal`].
    pub fn cut(&mut self, one: &str, other: &str) -> &mut Self {
        let (one, other) = (self.named(one), self.named(other));
        self.must(|world| {
            world.fault(&Fault::Bar(one, other, true))?;
            world.fault(&Fault::Cut(one, other))
        })
    }

    /// Two devices can reach each other again.
    pub fn connect(&mut self, one: &str, other: &str) -> &mut Self {
        let (one, other) = (self.named(one), self.named(other));
        self.must(|world| world.fault(&Fault::Bar(one, other, false)))
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) -> &mut Self {
        self.must(|world| {
            let until = world.now().after(time);
            world.run_to(until)
        })
    }

    /// All is switched on, all can reach all, all disks have room.
    pub fn heal(&mut self) -> &mut Self {
        self.must(World::mend)
    }

    /// Time passes until all devices that run are in sync and nothing moves.
    pub fn settle(&mut self) -> &mut Self {
        self.must(|world| world.come_to_rest(SETTLES_WITHIN))
    }

    /// All disks show the same.
    pub fn assert_converged(&mut self) -> &mut Self {
        self.must(|world| check::converged::check(world))
    }

    /// All that users finished writing is somewhere.
    pub fn assert_nothing_lost(&mut self) -> &mut Self {
        self.must(|world| check::nothing_lost::check(world))
    }

    /// All that must hold of a world at rest does, and nothing is said for an hour.
    pub fn assert_all(&mut self) -> &mut Self {
        self.must(|world| {
            check::at_rest(world)?;
            check::no_echo::check(world)
        })
    }

    fn named(&self, name: &str) -> usize {
        let found = self.devices.iter().position(|device| device.name == name);
        assert!(found.is_some(), "there is no device {name}");
        found.unwrap_or_default()
    }

    #[expect(clippy::panic, reason = "a scenario that fails ends its test, with all that happened")]
    fn must(&mut self, deed: impl FnOnce(&mut Self) -> Result<(), Broken>) -> &mut Self {
        if let Err(broken) = deed(self) {
            panic!("{}\n\n{broken}", self.trace.lines().join("\n"));
        }
        self
    }
}

impl Plan {
    /// With these devices; the first one founds the share, the others are writers.
    ///
    /// # Panics
    /// When there are none, or more than sixteen.
    #[must_use]
    pub fn peers<const N: usize>(mut self, names: [&str; N]) -> Self {
        assert!((1..=crate::world::NAMES.len()).contains(&N), "{N} devices");
        self.names = names.map(str::to_owned).to_vec();
        self
    }

    /// The last device only reads.
    #[must_use]
    pub fn last_reads(mut self) -> Self {
        self.has_reader = true;
        self
    }

    /// The invites by which all come in are good for so long.
    #[must_use]
    pub fn invites_last(mut self, time: Duration) -> Self {
        self.invites_last = Some(time);
        self
    }

    /// Makes the world, in which all devices start within some seconds. The share's name is for who reads.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    #[expect(clippy::panic, reason = "a scenario that cannot begin ends its test")]
    pub fn share(self, name: &str) -> World {
        let options = Options {
            devices: self.names.len(),
            with_reader: self.has_reader,
            hostile: self.hostile,
            retention: self.retention,
            invites_last: self.invites_last,
            is_traced: true,
            ..Options::default()
        };
        let mut world = match World::new(self.seed, &options, Vec::new()) {
            Ok(world) => world,
            Err(broken) => panic!("no world for {name}: {broken}"),
        };
        for (device, name) in world.devices.iter_mut().zip(self.names) {
            device.name = name;
        }
        world
    }
}

impl At<'_> {
    /// Its user saves a file.
    pub fn write(self, path: &str, text: &str) -> Self {
        self.acts(&Step::Save(path.to_owned(), text.as_bytes().to_vec()))
    }

    /// Its user saves a file of so many bytes; equal numbers give equal bytes.
    pub fn write_bytes(self, path: &str, number: u64, size: usize) -> Self {
        self.acts(&Step::Write(path.to_owned(), Bytes { number, size, edit: 0 }))
    }

    /// Its user deletes a file or link.
    pub fn remove(self, path: &str) -> Self {
        self.acts(&Step::Remove(path.to_owned()))
    }

    /// Its user deletes a folder and all that is in it.
    pub fn remove_all(self, path: &str) -> Self {
        self.acts(&Step::RemoveAll(path.to_owned()))
    }

    /// Its user gives something another path.
    pub fn rename(self, from: &str, to: &str) -> Self {
        self.acts(&Step::Rename(from.to_owned(), to.to_owned()))
    }

    /// Its user makes a folder.
    pub fn make_folder(self, path: &str) -> Self {
        self.acts(&Step::MakeFolder(path.to_owned()))
    }

    /// Its user sets permissions.
    pub fn set_mode(self, path: &str, mode: u32) -> Self {
        self.acts(&Step::Mode(path.to_owned(), mode))
    }

    /// Its process ends.
    pub fn crash(self) -> Self {
        self.fault(Fault::Crash)
    }

    /// Its process will end in the next job of this sort, after so many calls of the system.
    pub fn crash_during(self, during: During, calls: u64) -> Self {
        self.fault(|device| Fault::CrashDuring(device, during, calls))
    }

    /// Its power goes.
    pub fn power_cut(self, seed: u64) -> Self {
        self.fault(|device| Fault::PowerCut(device, seed))
    }

    /// Its process starts, if it does not run.
    pub fn restart(self) -> Self {
        self.fault(Fault::Start)
    }

    /// A backup is made of its index and disk.
    pub fn back_up(self) -> Self {
        self.fault(Fault::BackUp)
    }

    /// What was backed up is put back.
    pub fn put_back(self, part: Part) -> Self {
        self.fault(|device| Fault::PutBack(device, part))
    }

    /// Its index is lost.
    pub fn lose_index(self) -> Self {
        self.fault(Fault::LoseIndex)
    }

    /// Its index is lost, and all that it keeps of the roster.
    pub fn lose_index_and_roster(self) -> Self {
        let founding = self.world.members.founding;
        self.world.devices[self.device].roster = Entries::new(founding);
        self.lose_index()
    }

    /// Its user asks for something.
    pub fn command(self, command: Command) -> Self {
        let share = self.world.share();
        let device = self.device;
        self.world.must(|world| world.hear(device, Input::Command(share, command)));
        self
    }

    /// What its user reads at a path; `None`: there is no file.
    #[must_use]
    pub fn reads(&self, path: &str) -> Option<Vec<u8>> {
        self.world.devices[self.device].disk.user().read(&full(path)).ok()
    }

    /// The number of the inode at a path: what is moved keeps it, what is copied has another.
    #[must_use]
    pub fn inode(&self, path: &str) -> Option<u64> {
        self.world.devices[self.device].inode(path.as_bytes())
    }

    /// The paths that its user sees, in order.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let tree = users::tree(&self.world.devices[self.device].disk);
        tree.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
    }

    /// How the share stands there.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.world.devices[self.device].status(&self.world.share())
    }

    /// Whether it may write.
    #[must_use]
    pub fn is_writer(&self) -> bool {
        self.world.devices[self.device].role >= Role::Writer
    }

    /// What its user reads at a path is this.
    ///
    /// # Panics
    /// When it is not.
    pub fn assert_reads(self, path: &str, text: &str) -> Self {
        let read = self.reads(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(read.as_deref(), Some(text), "{path} at {}", self.world.devices[self.device].name);
        self
    }

    fn acts(self, step: &Step) -> Self {
        self.world.user_acts(self.device, step);
        self
    }

    fn fault(self, fault: impl FnOnce(usize) -> Fault) -> Self {
        let fault = fault(self.device);
        self.world.must(|world| world.fault(&fault));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_told_step_by_step() {
        let mut w = World::seeded(7).peers(["ana", "ben"]).last_reads().share("notes");
        w.pass(Duration::from_secs(10)).cut("ana", "ben");
        w.on("ana").write("d/plan.txt", "v1").rename("d", "e").assert_reads("e/plan.txt", "v1");
        w.on("ana").back_up().remove_all("e").put_back(Part::Both).restart();
        assert_eq!(w.on("ana").paths(), ["e", "e/plan.txt"]);
        assert_eq!(w.on("ben").paths(), [""; 0]);
        assert!(w.on("ana").is_writer() && !w.on("ben").is_writer());
        w.on("ana").power_cut(3).restart();
        w.pass(Duration::from_secs(60)).assert_nothing_lost();
    }

    #[test]
    #[should_panic(expected = "the user of ana: Save")]
    fn what_fails_tells_all_that_happened() {
        let mut w = World::seeded(7).peers(["ana", "ben"]).share("notes");
        w.on("ana").write("plan.txt", "v1");
        w.cut("ana", "ben").assert_converged();
    }
}
