//! A world: devices with real engines, indexes and disks, and all that happens between them.
//!
//! Promise: what an engine asks for is done as the real world would do it, late and in any order that it allows, and
//! answered once; every message passes as bytes in frames. One event happens at a time, so a world is a function of its
//! seed. Begin at [`World::new`], then [`World::run_to`] and [`World::come_to_rest`].

mod deeds;
mod jobs;
mod rest;
mod wires;

pub(crate) use self::rest::content;

use core::time::Duration;
use std::collections::BTreeSet;

use shoal_disk::mem::Seen;
use shoal_engine::io::{Action, Command, Conn, Hint, Input, JobId, Opened};
use shoal_engine::time::Time;
use shoal_proto::here::Here;
use shoal_proto::id::ShareId;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Version};
use shoal_proto::roster::Role;
use shoal_proto::secret::ShareSecret;

use crate::act::Act;
use crate::brain::Make;
use crate::check::kept_long_enough::Histories;
use crate::check::{self, Broken};
use crate::device::{BEGINNING, Device, Members};
use crate::draw::Draw;
use crate::hostile::Hostile;
use crate::ledger::Ledger;
use crate::network::{Network, WireId};
use crate::options::Options;
use crate::trace::Trace;
use crate::users::Step;

/// Names of devices; there are no more devices than these.
pub const NAMES: [&str; 16] = [
    "ana", "ben", "cleo", "dan", "eva", "finn", "gus", "hana", "ida", "jan", "kim", "leo", "mia", "nik",
    "ole", "pia",
];

/// More events than any world needs.
const STEPS_MAX: u64 = 300_000;

/// More events at one moment than any moment needs.
const STEPS_AT_ONCE_MAX: u64 = 100_000;

/// How long after the beginning the first devices start, at most, in milliseconds.
const STARTS_WITHIN: usize = 5_000;

/// Devices, and what is between them.
#[derive(Debug)]
pub struct World {
    /// The share that they have in common.
    pub members: Members,
    /// The devices; copies of devices come last.
    pub devices: Vec<Device>,
    /// What users did.
    pub ledger: Ledger,
    /// What happened.
    pub trace: Trace,
    /// How much happened.
    pub tally: Tally,
    pub(crate) network: Network,
    queue: crate::queue::Queue<Event>,
    draw: Draw,
    seed: u64,
    /// Ends with bytes that were not read.
    unread: BTreeSet<(usize, Conn)>,
    /// Who will dial whom.
    dialling: BTreeSet<(usize, usize)>,
    acts: Vec<Act>,
    /// Acts and hints that are yet to come.
    pending: usize,
    /// When something last moved that is not a sign of life.
    moved: Time,
    at_once: u64,
    /// Whether nothing breaks any more.
    is_healed: bool,
    /// Paths of which nobody has the bytes: a hostile writer has taken them, or the only disk that had them was put back.
    pub forsaken: BTreeSet<RelPath>,
    /// How many indexes were lost.
    pub lost_indexes: u32,
    /// How often a disk was put back.
    pub puts_back: u32,
    /// What was filed in histories, and what went from there.
    pub histories: Histories,
    make: Make,
    /// A promise that was broken where nobody could be told.
    broken: Option<Broken>,
}

/// How much happened in a world.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Events of any sort.
    pub steps: u64,
    /// What users did and could be done.
    pub edits: u64,
    /// Processes that ended.
    pub crashes: u64,
    /// The power went.
    pub power_cuts: u64,
    /// Conflicts that were ended.
    pub conflicts: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Bytes of messages.
    pub bytes: u64,
    /// Messages that are no sign of life.
    pub messages: u64,
}

impl Tally {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.edits += other.edits;
        self.crashes += other.crashes;
        self.power_cuts += other.power_cuts;
        self.conflicts += other.conflicts;
        self.connections += other.connections;
        self.bytes += other.bytes;
        self.messages += other.messages;
    }
}

/// What happens. What is meant for one life of a device is void in another one.
#[derive(Debug)]
enum Event {
    Start { device: usize },
    Act(usize),
    Hint { device: usize, life: u32, hint: Hint },
    Tick { device: usize, life: u32, at: Time },
    Indexed { device: usize, life: u32 },
    DiskDone { device: usize, life: u32, job: JobId },
    Dial { from: usize, to: usize, life: u32 },
    Shaken { from: usize, to: usize, lives: [u32; 2] },
    Leave { wire: WireId, end: usize },
    Arrive { wire: WireId, end: usize, bytes: Vec<u8> },
    Over { wire: WireId, end: usize },
}

impl World {
    /// A world of so many devices, in which these acts will be done. All devices start within some seconds.
    ///
    /// # Errors
    /// When an index or a disk cannot be made.
    pub fn new(seed: u64, options: &Options, acts: Vec<Act>) -> Result<Self, Broken> {
        Self::with(seed, options, acts, crate::brain::engine)
    }

    /// The same, with something else than an engine in its place.
    pub(crate) fn with(seed: u64, options: &Options, acts: Vec<Act>, make: Make) -> Result<Self, Broken> {
        let mut members = Members::new();
        if let Some(last) = options.invites_last {
            members.not_after = BEGINNING + last.as_secs();
        }
        let mut draw = Draw::new(seed);
        let mut devices = Vec::new();
        let honest = options.honest();
        for (number, name) in (0_u8..).zip(NAMES.iter().take(options.devices)) {
            let place = usize::from(number);
            let tamper = place.checked_sub(honest).and_then(|at| options.hostile.get(at)).copied();
            let role = match tamper {
                Some(tamper) => tamper.role(),
                None if number == 0 => Role::Admin,
                None if options.with_reader && place + 1 == honest => Role::Reader,
                None => Role::Writer,
            };
            let mut device =
                Device::new(number, name, role, &members, &mut draw).map_err(Broken::of_world)?;
            device.retention = options.retention;
            if let Some(tamper) = tamper {
                let hostile = Hostile::new(tamper, draw.any(), &device.key, &members.founding);
                device.hostile = Some(hostile.map_err(Broken::of_world)?);
            }
            devices.push(device);
        }
        let forsaken = devices.iter().filter_map(|device| device.hostile.as_ref());
        let forsaken = forsaken.flat_map(Hostile::forsaken).collect();
        let mut world = Self {
            members,
            devices,
            ledger: Ledger::default(),
            trace: Trace::new(options.is_traced),
            tally: Tally::default(),
            network: Network::default(),
            queue: crate::queue::Queue::default(),
            draw,
            seed,
            unread: BTreeSet::new(),
            dialling: BTreeSet::new(),
            acts: Vec::new(),
            pending: 0,
            moved: Time::ZERO,
            at_once: 0,
            is_healed: false,
            forsaken,
            lost_indexes: 0,
            puts_back: 0,
            histories: Histories::default(),
            make,
            broken: None,
        };
        for device in 0..world.devices.len() {
            let wait = Duration::from_millis(world.draw.below(STARTS_WITHIN) as u64);
            world.queue.after(wait, Event::Start { device });
        }
        world.plan(acts);
        Ok(world)
    }

    /// Lets these acts be done at their times.
    pub fn plan(&mut self, acts: Vec<Act>) {
        for act in acts {
            self.queue.at(act.at, Event::Act(self.acts.len()));
            self.acts.push(act);
            self.pending += 1;
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.queue.now()
    }

    /// The share.
    #[must_use]
    pub fn share(&self) -> ShareId {
        self.members.share()
    }

    /// Lives on until this moment.
    ///
    /// # Errors
    /// When a promise is broken.
    pub fn run_to(&mut self, until: Time) -> Result<(), Broken> {
        while self.queue.due().is_some_and(|due| due <= until) {
            self.step()?;
        }
        self.queue.pass_to(until);
        Ok(())
    }

    /// The next event happens. `false`: there is none.
    ///
    /// # Errors
    /// When a promise is broken.
    pub fn step(&mut self) -> Result<bool, Broken> {
        let before = self.now();
        let Some(event) = self.queue.take() else { return Ok(false) };
        self.at_once = if self.now() == before { self.at_once + 1 } else { 0 };
        self.tally.steps += 1;
        if self.tally.steps > STEPS_MAX || self.at_once > STEPS_AT_ONCE_MAX {
            return Err(Broken::new("I2", format!("no end after {} events", self.tally.steps)));
        }
        match event {
            Event::Start { device } => self.start(device)?,
            Event::Act(number) => {
                self.pending -= 1;
                self.perform_act(number)?;
            }
            Event::Hint { device, life, hint } => {
                self.pending -= 1;
                if self.lives(device, life) {
                    self.moved = self.now();
                    self.trace.note(self.queue.now(), b'h', device, &[]);
                    self.trace.say(self.queue.now(), || format!("{} hears of {hint:?}", NAMES[device % 16]));
                    self.tell(device, Input::Hint(self.share(), hint))?;
                }
            }
            Event::Tick { device, life, at } => self.tick(device, life, at)?,
            Event::Indexed { device, life } => self.indexed(device, life)?,
            Event::DiskDone { device, life, job } => self.disk_done(device, life, job)?,
            Event::Dial { from, to, life } => self.dial(from, to, life),
            Event::Shaken { from, to, lives } => self.shaken(from, to, lives)?,
            Event::Leave { wire, end } => self.leave(wire, end)?,
            Event::Arrive { wire, end, bytes } => self.arrive(wire, end, &bytes)?,
            Event::Over { wire, end } => self.over(wire, end)?,
        }
        Ok(true)
    }

    /// Whether a device is in this life and runs.
    fn lives(&self, device: usize, life: u32) -> bool {
        self.devices[device].life == life && self.devices[device].running.is_some()
    }

    /// Starts a device that does not run.
    fn start(&mut self, device: usize) -> Result<(), Broken> {
        let now = self.now();
        let one = &mut self.devices[device];
        if one.running.is_some() || one.is_retired {
            return Ok(());
        }
        one.set_time(now);
        if let Err(error) = one.start(self.make) {
            // A disk that fails at this moment; whoever started it tries again.
            one.stop();
            one.disk.crash();
            if self.is_healed && one.start(self.make).is_err() {
                return Err(Broken::new("I17", format!("{} does not start: {error}", one.name)));
            }
        }
        if one.running.is_none() {
            self.queue.after(Duration::from_secs(10), Event::Start { device });
            return Ok(());
        }
        self.moved = now;
        self.note_filed(device);
        self.trace.note(now, b's', device, &[]);
        self.trace.say(now, || format!("{} starts", NAMES[device % 16]));
        let secrets = vec![ShareSecret::from_bytes([7; 32])];
        self.tell(
            device,
            Input::Opened(Opened {
                retention: self.devices[device].retention,
                asks_first: self.devices[device].asks_first,
                ..Opened::new(self.share(), secrets)
            }),
        )?;
        for peer in 0..self.devices.len() {
            if self.devices[peer].id() != self.devices[device].id() {
                let wait = Duration::from_millis(self.draw.below(2_000) as u64);
                self.plan_dial(device, peer, wait);
            }
        }
        Ok(())
    }

    /// A device is told something from outside, such as what its user wants.
    ///
    /// # Errors
    /// When a promise is broken.
    pub fn hear(&mut self, device: usize, input: Input) -> Result<(), Broken> {
        self.moved = self.now();
        if let Input::Command(_, Command::Retain(retention)) = &input {
            self.devices[device].retention = *retention;
        }
        self.tell(device, input)
    }

    /// An engine is told something, what it then wants is begun, and what it can read it is given.
    fn tell(&mut self, device: usize, input: Input) -> Result<(), Broken> {
        let mut next = Some(input);
        while let Some(input) = next {
            let time = self.queue.now();
            let now = self.devices[device].now(time);
            let Some(running) = &mut self.devices[device].running else { return Ok(()) };
            running.engine.handle(input, now);
            let mut actions = Vec::new();
            while let Some(action) = running.engine.poll_action() {
                actions.push(action);
            }
            for action in actions {
                self.act(device, action)?;
            }
            next = self.read(device)?;
        }
        self.plan_tick(device);
        check::bounded::check(self, device)
    }

    /// Begins what an engine wants.
    pub(crate) fn act(&mut self, device: usize, action: Action) -> Result<(), Broken> {
        match action {
            Action::Send(conn, request, message) => self.send(device, conn, request, message),
            Action::HangUp(conn) => {
                self.hang_up(device, conn);
                Ok(())
            }
            Action::Index(_, id, job) => {
                self.begin_index_job(device, id, job);
                Ok(())
            }
            Action::Disk(_, id, job) => {
                self.begin_disk_job(device, id, job);
                Ok(())
            }
        }
    }

    fn plan_tick(&mut self, device: usize) {
        let now = self.now();
        let life = self.devices[device].life;
        let Some(running) = &mut self.devices[device].running else { return };
        let Some(at) = running.engine.poll_timeout() else {
            running.tick = None;
            return;
        };
        // Time moves between two ticks, or an engine that is late would never be in time.
        let at = at.max(Time(now.0 + 1));
        if running.tick.is_none_or(|planned| planned > at || planned <= now) {
            running.tick = Some(at);
            self.queue.at(at, Event::Tick { device, life, at });
        }
    }

    fn tick(&mut self, device: usize, life: u32, at: Time) -> Result<(), Broken> {
        if !self.lives(device, life) {
            return Ok(());
        }
        let Some(running) = &mut self.devices[device].running else { return Ok(()) };
        if running.tick != Some(at) {
            return Ok(());
        }
        running.tick = None;
        if running.engine.poll_timeout().is_some_and(|due| due <= at) {
            self.trace.note(at, b't', device, &[]);
            return self.tell(device, Input::Tick);
        }
        self.plan_tick(device);
        Ok(())
    }

    /// A watcher of a folder says what has happened there: late, merged, or not at all.
    fn watch(&mut self, device: usize, paths: &[String]) {
        let life = self.devices[device].life;
        if self.devices[device].running.is_none() {
            return;
        }
        let sort = self.draw.below(12);
        let late = match sort {
            0 | 1 => self.draw.below(30_000),
            2 | 3 => self.draw.below(5_000),
            _ => self.draw.below(300),
        };
        let hints: Vec<Hint> = match sort {
            // Nobody will know, until the whole folder is looked through again.
            0 if self.draw.one_in(3) => Vec::new(),
            0 | 1 => vec![Hint::Lost],
            2 => paths.iter().filter_map(|path| parsed(path)).map(|path| merged(&path)).collect(),
            // Somebody may still be at it, as far as the watcher can tell.
            _ if late % 4 == 0 => paths.iter().filter_map(|path| parsed(path)).map(Hint::Changing).collect(),
            _ => paths.iter().filter_map(|path| parsed(path)).map(Hint::At).collect(),
        };
        for hint in hints {
            let wait = Duration::from_millis(late as u64);
            self.pending += 1;
            self.queue.after(wait, Event::Hint { device, life, hint });
        }
    }

    /// What the user of a device does.
    pub(crate) fn user_acts(&mut self, device: usize, step: &Step) {
        let now = self.now();
        let one = &self.devices[device];
        if !one.is_honest() || one.is_retired || one.clone_of.is_some() {
            return;
        }
        one.set_time(now);
        let before = crate::users::tree(&one.disk);
        let touched = crate::users::perform(&one.disk, step);
        if touched.is_empty() {
            return;
        }
        let after = crate::users::tree(&one.disk);
        // An index that has met nobody yet cannot tell what was deleted from what never was.
        let counts = one.role != Role::Reader && one.index.life().first_contact;
        self.ledger.acted(device, &before, &after, counts);
        if one.running.is_none() && one.life > 0 {
            // A process that ended between putting a file in place and noting it knows nothing of what is deleted then.
            let is_known = |path: &[u8], seen: &Seen| {
                let row = RelPath::parse(path).ok().and_then(|path| one.index.triple(&path).ok().flatten());
                row.and_then(|row| row.here).is_some_and(|here| looks_like(&here, seen))
            };
            let is_noted = |path: &[u8]| before.get(path).is_none_or(|seen| is_known(path, seen));
            self.ledger.forget_deletions(|deletion| deletion.device == device && !is_noted(&deletion.path));
            // What is put back to just what was known before nobody can tell from what was never touched.
            let is_same = |path: &[u8]| after.get(path).is_some_and(|seen| is_known(path, seen));
            self.ledger.forget_puts(&before, &after, is_same);
        }
        let changed = after.iter().filter(|(path, seen)| before.get(*path) != Some(seen));
        let inodes: Vec<u64> = changed.filter_map(|(path, _)| one.inode(path)).collect();
        self.devices[device].user_inodes.extend(inodes);
        self.moved = now;
        self.tally.edits += 1;
        self.trace.note(now, b'u', device, format!("{step:?}").as_bytes());
        self.trace.say(now, || format!("the user of {}: {step:?}", NAMES[device % 16]));
        self.watch(device, &touched);
    }
}

fn parsed(path: &str) -> Option<RelPath> {
    RelPath::parse(path.as_bytes()).ok()
}

fn merged(path: &RelPath) -> Hint {
    path.parent().map_or(Hint::Lost, Hint::Below)
}

#[cfg(test)]
mod tests;

/// Whether a file shows what an index has noted, by size and time.
fn looks_like(here: &Here, seen: &Seen) -> bool {
    let Version { kind, mtime, .. } = &here.version;
    let size = u64::try_from(seen.bytes.len()).unwrap_or(u64::MAX);
    matches!(kind, Kind::File { size: known, .. } if *known == size)
        && (mtime.seconds, mtime.nanos()) == (seen.mtime.secs, seen.mtime.nanos)
}
