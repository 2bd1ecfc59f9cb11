//! More of the language of scenarios: what comes between devices, and what breaks at one.
//!
//! Promise: each word here is one thing that happens to a world, at the moment at which it is said.

use core::time::Duration;

use shoal_engine::disk;
use shoal_engine::io::{Command, Input};
use shoal_index::Index;
use shoal_proto::key::DeviceKey;
use shoal_proto::key::rand_core::RngCore;
use shoal_proto::path::RelPath;
use shoal_proto::publication::{Place, Publication};
use shoal_proto::roster::{Entry, Kept, Role, Statement};
use shoal_proto::secret::ShareSecret;

use super::{At, Plan, World};
use crate::check::Broken;
use crate::device::Device;
use crate::draw::Draw;
use crate::faults::Fault;
use crate::users::{Bytes, Step, full};

/// How long a story waits for something before it is taken for broken.
const COMES_WITHIN: Duration = Duration::from_secs(2 * 3600);

/// How long devices that reach each other need at most to tell each other a few small files: they dial within a minute.
const MEETING: Duration = Duration::from_secs(150);

impl World {
    /// All clocks show the right time from now on.
    pub fn right_clocks(&mut self) -> &mut Self {
        for device in &mut self.devices {
            device.wrong_by = 0;
        }
        self
    }

    /// Devices reach those of their own group and nobody else.
    pub fn part(&mut self, groups: &[&[&str]]) -> &mut Self {
        let group_of = |name: &str| groups.iter().position(|group| group.contains(&name));
        let names: Vec<String> = self.devices.iter().map(|device| device.name.clone()).collect();
        for (at, one) in names.iter().enumerate() {
            for other in &names[at + 1..] {
                match (group_of(one), group_of(other)) {
                    (Some(group), Some(others)) if group == others => self.connect(one, other),
                    _ => self.cut(one, other),
                };
            }
        }
        self
    }

    /// Some minutes pass, in which all who run look through their folders, and tell whom they reach.
    pub fn linger(&mut self) -> &mut Self {
        for _ in 0..2 {
            self.all_rescan().pass(MEETING);
        }
        self
    }

    /// All who run look through their folders, so that nobody's watcher can have missed anything.
    pub fn all_rescan(&mut self) -> &mut Self {
        self.must(Self::rescan_all)
    }

    /// Time passes until this is so, to the event.
    pub fn until(&mut self, what: &'static str, is_so: impl Fn(&Self) -> bool) -> &mut Self {
        self.must(|world| {
            let end = world.now().after(COMES_WITHIN);
            while !is_so(world) {
                if world.now() > end || !world.step()? {
                    return Err(Broken::new("I2", format!("never: {what}")));
                }
            }
            Ok(())
        })
    }

    /// Time passes until the disk of a device shows this text, to the event: its index has not heard of it yet.
    pub fn until_reads(&mut self, name: &str, path: &str, text: &str) -> &mut Self {
        let device = self.named(name);
        let shows = |world: &Self| world.devices[device].disk.user().read(&full(path)).ok();
        self.until("the text is shown", |world| shows(world).as_deref() == Some(text.as_bytes()))
    }

    /// Time passes until a device is about to change its folder: what it does was decided, and is not done yet.
    pub fn until_changing(&mut self, name: &str) -> &mut Self {
        let device = self.named(name);
        self.until("the folder is about to be changed", |world| {
            let running = world.devices[device].running.as_ref();
            let is_commit = |job: &disk::Job| matches!(job, disk::Job::Commit(_));
            running.is_some_and(|running| running.disk_jobs.values().any(|begun| is_commit(&begun.job)))
        })
    }

    /// Time passes until a device knows of several versions of a path.
    pub fn until_conflict(&mut self, name: &str, path: &str) -> &mut Self {
        let device = self.named(name);
        let path = RelPath::parse(path.as_bytes()).ok();
        self.until("versions contradict each other", |world| {
            let row = path.as_ref().and_then(|path| world.devices[device].index.triple(path).ok().flatten());
            row.is_some_and(|row| row.heads.iter().len() > 1)
        })
    }

    /// A device removes another one from the share, with what that one had published so far as the first knows; neither
    /// runs meanwhile, and the first one starts again.
    pub fn remove_member(&mut self, by: &str, about: &str) -> &mut Self {
        let (by, about) = (self.named(by), self.named(about));
        let id = self.devices[about].id();
        let (share, writer) = (self.share(), self.devices[about].index.life().writer);
        self.must(|world| {
            world.fault(&Fault::Crash(by))?;
            let index = &world.devices[by].index;
            let last = index.last_publication(writer).map_err(Broken::of_index)?;
            let place = |last: Publication| Place { sequence: last.sequence, hash: last.hash(&share) };
            let places = last.into_iter().map(|last| (writer, [place(last)].into()));
            let kept = index.roster().kept(&id, &places.collect());
            world.say(by, Statement::Removed { about: id, kept })?;
            world.fault(&Fault::Start(by))
        })
    }

    /// A device gives another one this role; it does not run meanwhile, and starts again.
    pub fn set_role(&mut self, by: &str, about: &str, role: Role) -> &mut Self {
        let (by, about) = (self.named(by), self.named(about));
        let id = self.devices[about].id();
        self.must(|world| {
            world.fault(&Fault::Crash(by))?;
            world.say(by, Statement::Role { about: id, role, kept: Kept::default() })?;
            world.fault(&Fault::Start(by))
        })
    }

    /// A device that runs removes another one, as its user says, and gives the share a new secret, which the other one is
    /// not told.
    pub fn removes(&mut self, by: &str, about: &str) -> &mut Self {
        let about = self.named(about);
        let (id, share, writer) =
            (self.devices[about].id(), self.share(), self.devices[about].index.life().writer);
        self.signs(by, |key, index, draw| {
            let last = index.last_publication(writer).map_err(Broken::of_index)?;
            let place = |last: Publication| Place { sequence: last.sequence, hash: last.hash(&share) };
            let last = last.into_iter().map(|last| (writer, [place(last)].into())).collect();
            let secret = new_secret(draw);
            let entries = index.entries().removal(key, id, &last, &secret, draw);
            entries.map_err(|error| Broken::of_world(error.to_string()))
        })
    }

    /// A device that runs gives the share a new secret.
    pub fn rotates(&mut self, by: &str) -> &mut Self {
        self.signs(by, |key, index, draw| {
            let secret = new_secret(draw);
            let entries = index.entries().new_secret(key, &secret, draw);
            entries.map_err(|error| Broken::of_world(error.to_string()))
        })
    }

    /// A device that runs leaves the share, with all that it has published.
    pub fn leaves(&mut self, name: &str) -> &mut Self {
        let share = self.share();
        self.signs(name, |key, index, _| {
            let life = index.life();
            let last = life.last.into_iter().map(|last| (life.writer, [last].into())).collect();
            let kept = index.roster().kept(&key.device(), &last);
            let after = index.roster().last_entry(&key.device());
            let entry = Entry::sign(
                key,
                &share,
                after,
                Statement::Left { kept: Kept { entries: [].into(), ..kept } },
            );
            Ok(vec![entry.map_err(|error| Broken::of_world(error.to_string()))?])
        })
    }

    /// A device that runs says these things.
    pub fn signs(
        &mut self,
        by: &str,
        sign: impl FnOnce(&DeviceKey, &Index, &mut Draw) -> Result<Vec<Entry>, Broken>,
    ) -> &mut Self {
        let by = self.named(by);
        let share = self.share();
        let mut draw = Draw::new(self.now().0 ^ 0x5e_c2e7);
        self.must(|world| {
            let one = &world.devices[by];
            let entries = sign(&one.key, &one.index, &mut draw)?;
            world.hear(by, Input::Command(share, Command::Enter(entries)))
        })
    }

    /// An entry of the roster, signed by a device.
    fn say(&mut self, by: usize, statement: Statement) -> Result<(), Broken> {
        let share = self.share();
        let one = &mut self.devices[by];
        let after = one.index.roster().last_entry(&one.key.device());
        let entry = Entry::sign(&one.key, &share, after, statement);
        let entry = entry.map_err(|error| Broken::of_world(error.to_string()))?;
        one.index.add_entries(vec![entry]).map_err(Broken::of_index)?;
        Ok(())
    }
}

fn new_secret(draw: &mut Draw) -> ShareSecret {
    let mut bytes = [0; 32];
    draw.fill_bytes(&mut bytes);
    ShareSecret::from_bytes(bytes)
}

impl Plan {
    /// As [`Self::share`], but so many of the last devices only read.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    #[expect(clippy::panic, reason = "a scenario that cannot begin ends its test")]
    pub fn share_with_readers(self, name: &str, readers: usize) -> World {
        let mut draw = Draw::new(self.seed ^ 0x0e_ad);
        let mut world = self.share(name);
        let first = world.devices.len().saturating_sub(readers);
        for (number, device) in (0_u8..).zip(&mut world.devices).skip(first) {
            let made = Device::new(number, &device.name, Role::Reader, &world.members, &mut draw);
            *device = match made {
                Ok(reader) => reader,
                Err(error) => panic!("no reader: {error}"),
            };
        }
        world
    }
}

impl At<'_> {
    /// Its user makes a small change to the file of so many bytes with this number; equal edits give equal bytes.
    pub fn edit_bytes(self, path: &str, number: u64, size: usize, edit: u64) -> Self {
        self.acts(&Step::Write(path.to_owned(), Bytes { number, size, edit }))
    }

    /// Its user saves a file with this time, in seconds since 1970.
    pub fn write_at(self, path: &str, text: &str, seconds: i64) -> Self {
        self.write(path, text).touch(path, seconds)
    }

    /// It looks through its whole folder.
    pub fn rescan(self) -> Self {
        self.command(Command::Rescan)
    }

    /// Its disk is full after so many more bytes.
    pub fn fill(self, bytes: u64) -> Self {
        self.fault(|device| Fault::Fill(device, Some(bytes)))
    }

    /// A call of its disk fails, so many calls from now.
    pub fn fail_call(self, calls: u64) -> Self {
        self.fault(|device| Fault::Failing(device, calls))
    }

    /// The copy of it stops.
    pub fn stop_copy(self) -> Self {
        self.fault(Fault::StopClone)
    }

    /// It is switched off for good, and nothing is expected of it any more.
    pub fn retire(self) -> Self {
        self.world.devices[self.device].is_retired = true;
        self.crash()
    }

    /// From its next start on its user decides what the first contact leads to.
    pub fn asks_first(self) -> Self {
        self.world.devices[self.device].asks_first = true;
        self
    }

    /// From its next start on it knows that its machine was not shut down.
    pub fn knows_of_unclean_stop(self) -> Self {
        self.world.devices[self.device].is_unclean = true;
        self
    }
}
