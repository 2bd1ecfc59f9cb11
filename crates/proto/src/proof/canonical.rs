//! One name for all worlds that can only go on alike.
//!
//! Promise: two worlds with the same name differ at most by an order-preserving renaming of counters, contents and
//! versions, and by what no rule and no check can ask for any more. So one of them is enough.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::world::{CopyOf, Device, Disk, Ghost, Slot, Versions, World};
use super::{Content, Dot, Rules, Version, View};

/// Names are hashes: that two worlds share one by accident is not to be expected in any number of them.
pub(crate) type Name = [u8; 16];

/// What of a slot counts, in one order for all rules.
struct Plain {
    heads: Vec<(View, Ghost)>,
    base: Option<View>,
    disk: Disk,
    shown: Ghost,
}

/// What is present in a world, so that it can be numbered anew.
#[derive(Default)]
struct Present {
    dots: Vec<Dot>,
    contents: Vec<u32>,
    embodied: Versions,
}

impl Present {
    fn dot(&mut self, dot: Dot) {
        if dot.writer < 1 << 63 && dot.writer > 0 {
            self.dots.push(dot);
        }
    }

    fn content(&mut self, content: Content) {
        if let Content::Gone(number) | Content::Link(number) | Content::File(number) = content {
            self.contents.push(number);
        }
    }

    fn view(&mut self, view: &View) {
        self.dot(view.dot);
        self.dot(view.origin);
        self.content(view.version.content);
    }

    fn slot(&mut self, slot: &Plain) {
        for (head, ghost) in &slot.heads {
            self.view(head);
            self.embodied |= ghost.embodies;
        }
        if let Some(base) = &slot.base {
            self.view(base);
        }
        if let Disk::Holds(version) = slot.disk {
            self.content(version.content);
        }
        self.embodied |= slot.shown.embodies;
    }
}

struct Writing {
    present: Present,
    /// Writers of conflict copies in the order in which they are met: their hashes mean nothing.
    copiers: BTreeMap<u64, u32>,
    out: Vec<u8>,
}

impl Writing {
    fn number(&mut self, number: usize) {
        self.out.push(u8::try_from(number).unwrap_or(u8::MAX));
        if number >= 255 {
            self.out.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn dot(&mut self, dot: Dot) {
        if dot.writer < 1 << 63 {
            let from = self.present.dots.partition_point(|known| known.writer < dot.writer);
            let at = self.present.dots.partition_point(|known| *known < dot);
            self.number(usize::try_from(dot.writer).unwrap());
            self.number(at - from);
        } else {
            let next = u32::try_from(self.copiers.len()).unwrap();
            let copier = *self.copiers.entry(dot.writer).or_insert(next);
            self.number(255);
            self.number(copier as usize);
        }
    }

    fn content(&mut self, content: Content) {
        let (kind, number) = match content {
            Content::Gone(number) => (0, number),
            Content::Link(number) => (1, number),
            Content::File(number) => (2, number),
            Content::Dir => (3, 0),
        };
        self.number(kind);
        self.number(self.present.contents.partition_point(|known| *known < number));
    }

    fn version(&mut self, version: Version) {
        self.content(version.content);
        self.number(usize::try_from(version.mtime).unwrap());
        self.number(version.mode as usize);
    }

    fn ghost(&mut self, ghost: Ghost) {
        for mut versions in [ghost.embodies, ghost.past & self.present.embodied] {
            self.number(versions.count_ones() as usize);
            while versions != 0 {
                let lower = (1 << versions.trailing_zeros()) - 1;
                self.number((self.present.embodied & lower).count_ones() as usize);
                versions &= versions - 1;
            }
        }
    }

    fn view(&mut self, view: &View) {
        self.version(view.version);
        self.dot(view.dot);
        self.dot(view.origin);
        // An entry counts for the dots that it includes; those that name no head and no origin are asked for nowhere.
        for (&writer, &counter) in &view.seen {
            let from = self.present.dots.partition_point(|known| known.writer < writer);
            let to = self.present.dots.partition_point(|known| *known <= Dot { writer, counter });
            if writer < 1 << 63 && from < to {
                self.number(usize::try_from(writer).unwrap());
                self.number(to - from);
            }
        }
        self.number(249);
        for d in &view.displaced {
            if self.present.dots.contains(d) {
                self.dot(*d);
            }
        }
        self.number(248);
    }

    fn path<P: Ord + Clone>(&mut self, path: &P, own: &[P], copies: &BTreeMap<P, CopyOf<P>>) {
        match copies.get(path) {
            Some((of, origin, content, mtime)) => {
                self.number(254);
                self.path(of, own, copies);
                self.dot(*origin);
                self.content(*content);
                self.number(usize::try_from(*mtime).unwrap());
            }
            None => self.number(own.iter().position(|known| known == path).unwrap_or(253)),
        }
    }

    fn slot(&mut self, slot: &Plain) {
        self.number(slot.heads.len());
        for (head, ghost) in &slot.heads {
            self.view(head);
            self.ghost(*ghost);
        }
        match &slot.base {
            Some(base) => self.view(base),
            None => self.number(250),
        }
        match slot.disk {
            Disk::Absent => self.number(251),
            Disk::Implied => self.number(252),
            Disk::Holds(version) => self.version(version),
        }
        self.ghost(slot.shown);
    }
}

impl<R: Rules> World<R> {
    /// The world's name; `rest` tells apart what only the caller knows.
    pub(crate) fn name(&self, rest: &[u8]) -> Name {
        let snapshots = self.snapshots.iter().flatten();
        let devices: Vec<&Device<R>> = self.devices.iter().chain(snapshots).map(|device| &**device).collect();
        // A copy that all know is the same in all that can still happen, for nobody acts on it.
        let counts = |path: &R::Path| !self.settled(path);
        let plain: Vec<Vec<(&R::Path, Plain)>> = devices
            .iter()
            .map(|device| {
                let slots = device.slots.iter().filter(|(path, _)| counts(path));
                slots.map(|(path, slot)| (path, self.plain(slot))).collect()
            })
            .collect();
        let mut present = Present::default();
        plain.iter().flatten().for_each(|(_, slot)| present.slot(slot));
        for (_, (_, origin, content, _)) in self.copies.iter().filter(|(path, _)| counts(path)) {
            present.dot(*origin);
            present.content(*content);
        }
        present.dots.sort_unstable();
        present.dots.dedup();
        present.contents.sort_unstable();
        present.contents.dedup();
        let own: Vec<R::Path> = self.config.paths.iter().map(|name| self.rules.path(name)).collect();
        let mut writing = Writing { present, copiers: BTreeMap::new(), out: Vec::with_capacity(512) };
        writing.out.extend_from_slice(rest);
        writing.out.extend(self.snapshots.iter().map(|snapshot| u8::from(snapshot.is_some())));
        for (device, slots) in devices.iter().zip(&plain) {
            writing.number(usize::try_from(device.writer).unwrap());
            writing.number(usize::from(device.minting));
            if self.config.histories {
                writing.number(usize::try_from(device.counter).unwrap());
                writing.number(device.known.len());
                for (dot, version) in &device.known {
                    writing.out.extend_from_slice(&dot.writer.to_le_bytes());
                    writing.number(usize::try_from(dot.counter).unwrap());
                    writing.version(*version);
                }
            }
            writing.number(slots.len());
            for (path, slot) in slots {
                writing.path(*path, &own, &self.copies);
                writing.slot(slot);
            }
        }
        for versions in [self.replaced, self.exempt, self.forgiven] {
            writing.ghost(Ghost { embodies: 0, past: versions });
        }
        let mut name = Name::default();
        name.copy_from_slice(&blake3::hash(&writing.out).as_bytes()[..16]);
        name
    }

    fn settled(&self, path: &R::Path) -> bool {
        let kept =
            |slot: &Rc<Slot<R>>| self.views(&slot.heads) == self.views(&self.devices[0].slots[path].heads);
        !self.config.losses
            && self.copies.contains_key(path)
            && self.devices.iter().all(|device| device.slots.get(path).is_some_and(kept))
    }

    fn plain(&self, slot: &Slot<R>) -> Plain {
        let mut heads: Vec<(View, Ghost)> = self
            .rules
            .records(&slot.heads)
            .iter()
            .map(|head| (self.rules.view(head), self.ghost(head)))
            .collect();
        heads.sort_by(|one, other| one.0.cmp(&other.0));
        let base = slot.base.as_ref().map(|base| self.rules.base_view(base));
        Plain { heads, base, disk: slot.disk, shown: slot.shown }
    }
}
