//! Devices that live by some rules, and the truth about what their users made and saw.
//!
//! Promise: a step changes what a device knows only through [`Rules`]; what users did is logged beside it, and the
//! checks ask the log. Begin at [`World::apply`].

mod devices;
mod losses;
mod meetings;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::checks::Violation;
use super::{Content, Dot, Rules, Version, View};

/// The kind of world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) writers: usize,
    /// Readers come after the writers.
    pub(crate) readers: usize,
    /// What users name; a parent before what lies below it.
    pub(crate) paths: &'static [&'static str],
    /// Whether bytes must be fetched from somebody; else they are everywhere at once.
    pub(crate) bytes: bool,
    /// Whether devices compare the histories of their writers, to notice that one was rolled back.
    pub(crate) histories: bool,
    /// Whether indexes may be lost or rolled back.
    pub(crate) losses: bool,
}

/// Sets of versions: bit 16 × device + how many versions it had made before.
pub(crate) type Versions = u128;
/// Most versions of one device.
pub(crate) const MADE_MAX: u32 = 16;

/// The truth behind a record or a disk: the versions whose content it is, and those that their users had seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ghost {
    pub(crate) embodies: Versions,
    pub(crate) past: Versions,
}

impl Ghost {
    fn join(&mut self, other: Self) {
        self.embodies |= other.embodies;
        self.past |= other.past;
    }
}

/// What stands on a disk at a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Disk {
    Absent,
    /// A directory that no head names, for what lies below it.
    Implied,
    Holds(Version),
}

impl Disk {
    pub(crate) fn is_directory(self) -> bool {
        matches!(self, Self::Implied | Self::Holds(Version { content: Content::Dir, .. }))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Slot<R: Rules> {
    pub(crate) heads: R::Heads,
    pub(crate) base: Option<R::Base>,
    pub(crate) disk: Disk,
    pub(crate) shown: Ghost,
}

impl<R: Rules> Slot<R> {
    fn new() -> Self {
        Self { heads: R::Heads::default(), base: None, disk: Disk::Absent, shown: Ghost::default() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Device<R: Rules> {
    pub(crate) writer: u64,
    pub(crate) counter: u64,
    pub(crate) reader: bool,
    /// Whether it may publish: false after a lost index, until it has exchanged with somebody.
    pub(crate) minting: bool,
    pub(crate) slots: BTreeMap<R::Path, Rc<Slot<R>>>,
    /// The bytes in its folder and history.
    pub(crate) held: BTreeSet<u32>,
    /// The records that it minted or was told, if histories are compared.
    pub(crate) known: BTreeSet<(Dot, Version)>,
}

/// A version that a user made: never a touch or a chmod, which may lose silently.
#[derive(Clone, Debug)]
pub(crate) struct Made<P> {
    pub(crate) path: P,
    pub(crate) content: Content,
    pub(crate) past: Versions,
}

/// What a conflict copy keeps: path, origin, content, mtime.
pub(crate) type CopyOf<P> = (P, Dot, Content, i64);

/// Each copy as first made of a loser: where it was, its origin and its version; where the copy went, and what it is.
pub(crate) type Copied<P> = BTreeMap<(P, Dot, Version), (P, View)>;

#[derive(Clone, Debug)]
pub(crate) struct World<R: Rules> {
    pub(crate) rules: R,
    pub(crate) config: Config,
    pub(crate) devices: Vec<Rc<Device<R>>>,
    pub(crate) snapshots: Vec<Option<Rc<Device<R>>>>,
    /// How many writers and versions each device had: part of the truth, so never lost.
    lives: Vec<u64>,
    /// The last dot that a device had used when it was put back and did not notice: up to it dots are used twice.
    spent: Vec<Dot>,
    /// The last one that it had used before.
    forked: Vec<Dot>,
    made: Vec<u32>,
    pub(crate) log: Rc<BTreeMap<u32, Made<R::Path>>>,
    ghosts: Rc<BTreeMap<(Dot, Version), Ghost>>,
    /// The paths of conflict copies, and each copy as first made of a loser.
    pub(crate) copies: Rc<BTreeMap<R::Path, CopyOf<R::Path>>>,
    pub(crate) copied: Rc<Copied<R::Path>>,
    /// Versions that a user saw and replaced or deleted.
    pub(crate) replaced: Versions,
    /// Versions that lost to an edit of something else, which made their copies.
    pub(crate) set_aside: Versions,
    /// Versions that were on one device only when its index or disk was lost.
    pub(crate) exempt: Versions,
    /// Versions whose replacement was lost in that way: they may come back.
    pub(crate) forgiven: Versions,
}

/// One thing that happens. A path is a number: first the users' paths, then the copies that the device knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// New bytes: `File(0)` are fresh ones.
    Write {
        device: usize,
        path: usize,
        content: Content,
        mtime: i64,
    },
    Touch {
        device: usize,
        path: usize,
        mtime: i64,
    },
    Chmod {
        device: usize,
        path: usize,
    },
    Delete {
        device: usize,
        path: usize,
    },
    /// Both tell each other all their heads.
    Exchange {
        one: usize,
        other: usize,
    },
    /// Some of the heads of the one reach the other.
    Push {
        from: usize,
        to: usize,
        which: u64,
    },
    /// The disk adopts the winners; bytes come from the other device.
    Show {
        device: usize,
        from: usize,
    },
    /// Fetches the bytes of all heads that the other device holds.
    Fetch {
        device: usize,
        from: usize,
    },
    Resolve {
        device: usize,
        path: usize,
    },
    LoseIndex {
        device: usize,
    },
    Snapshot {
        device: usize,
    },
    RollBack {
        device: usize,
        disk: bool,
        noticed: bool,
    },
}

impl<R: Rules> World<R> {
    pub(crate) fn new(rules: R, config: Config) -> Self {
        let slots: BTreeMap<_, _> =
            config.paths.iter().map(|name| (rules.path(name), Rc::new(Slot::new()))).collect();
        let count = config.writers + config.readers;
        let device = |at: usize| {
            let (writer, reader) = (at as u64 + 1, at >= config.writers);
            let (slots, held, known) = (slots.clone(), BTreeSet::new(), BTreeSet::new());
            Rc::new(Device { writer, counter: 0, reader, minting: true, slots, held, known })
        };
        Self {
            rules,
            config,
            devices: (0..count).map(device).collect(),
            snapshots: vec![None; count],
            lives: vec![0; count],
            spent: vec![Dot::default(); count],
            forked: vec![Dot::default(); count],
            made: vec![0; count],
            log: Rc::default(),
            ghosts: Rc::default(),
            copies: Rc::default(),
            copied: Rc::default(),
            replaced: 0,
            set_aside: 0,
            exempt: 0,
            forgiven: 0,
        }
    }

    /// Takes a step; whether anything changed. A step that makes no sense here changes nothing.
    pub(crate) fn apply(&mut self, step: Step) -> Result<bool, Violation> {
        let changed = match step {
            Step::Write { device, path, content, mtime } => self.write(device, path, content, mtime)?,
            Step::Touch { device, path, mtime } => self.alter(device, path, |at| at.mtime = mtime)?,
            Step::Chmod { device, path } => self.alter(device, path, |at| at.mode ^= 0o100)?,
            Step::Delete { device, path } => self.delete(device, path)?,
            Step::Exchange { one, other } => self.exchange(one, other)?,
            Step::Push { from, to, which } => self.push(from, to, which)?,
            Step::Show { device, from } => self.show(device, from),
            Step::Fetch { device, from } => self.fetch(device, from),
            Step::Resolve { device, path } => self.resolve(device, path)?,
            Step::LoseIndex { device } => self.lose_index(device),
            Step::Snapshot { device } => {
                self.snapshots[device] = Some(self.devices[device].clone());
                true
            }
            Step::RollBack { device, disk, noticed } => self.roll_back(device, disk, noticed)?,
        };
        if changed {
            self.check_step()?;
        }
        Ok(changed)
    }

    fn device(&mut self, at: usize) -> &mut Device<R> {
        Rc::make_mut(&mut self.devices[at])
    }

    fn slot(&mut self, device: usize, path: &R::Path) -> &mut Slot<R> {
        Rc::make_mut(self.device(device).slots.entry(path.clone()).or_insert_with(|| Rc::new(Slot::new())))
    }

    fn path_at(&self, device: usize, path: usize) -> Option<R::Path> {
        match self.config.paths.get(path) {
            Some(name) => Some(self.rules.path(name)),
            None => {
                let copies = self.devices[device].slots.keys().filter(|path| self.copies.contains_key(path));
                copies.into_iter().nth(path - self.config.paths.len()).cloned()
            }
        }
    }

    pub(crate) fn ghost(&self, record: &R::Record) -> Ghost {
        let key = (self.rules.dot(record), self.rules.version(record));
        self.ghosts.get(&key).copied().unwrap_or_default()
    }

    /// The truth behind all heads with a content.
    fn ghost_of_content(&self, heads: &R::Heads, content: Content) -> Ghost {
        let mut ghost = Ghost::default();
        for head in self.rules.records(heads) {
            if self.rules.version(&head).content.same(content) {
                ghost.join(self.ghost(&head));
            }
        }
        ghost
    }

    fn remember(&mut self, record: &R::Record, ghost: Ghost) {
        let key = (self.rules.dot(record), self.rules.version(record));
        Rc::make_mut(&mut self.ghosts).entry(key).or_default().join(ghost);
    }

    fn mint(&mut self, device: usize) -> Dot {
        let device = self.device(device);
        device.counter += 1;
        Dot { writer: device.writer, counter: device.counter }
    }

    fn new_version(&mut self, device: usize, path: &R::Path, content: Content, past: Versions) -> Versions {
        let id = u32::try_from(device).unwrap() * MADE_MAX + self.made[device];
        assert!(self.made[device] < MADE_MAX, "too many versions for the log");
        self.made[device] += 1;
        Rc::make_mut(&mut self.log).insert(id, Made { path: path.clone(), content, past });
        1 << id
    }

    pub(crate) fn can_make(&self, device: usize) -> bool {
        // A lost or rolled-back index may publish each path once more.
        self.made[device] + 5 < MADE_MAX
    }

    pub(crate) fn live_below(&self, device: usize, path: &R::Path) -> bool {
        self.devices[device].slots.iter().any(|(below, slot)| {
            self.rules.is_below(below, path)
                && self.rules.winner(&slot.heads).is_some_and(|winner| !self.content(&winner).is_gone())
        })
    }

    pub(crate) fn content(&self, record: &R::Record) -> Content {
        self.rules.version(record).content
    }

    fn parents_stand(&self, device: usize, path: &R::Path) -> bool {
        let slots = &self.devices[device].slots;
        slots.iter().all(|(above, slot)| !self.rules.is_below(path, above) || slot.disk.is_directory())
    }

    fn standing_below(&self, device: usize, path: &R::Path) -> Vec<R::Path> {
        let slots = self.devices[device].slots.iter();
        let standing = slots.filter(|(_, slot)| slot.disk != Disk::Absent);
        standing.map(|(below, _)| below).filter(|below| self.rules.is_below(below, path)).cloned().collect()
    }
}
