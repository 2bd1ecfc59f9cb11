//! What devices do on their own: they learn, resolve, show and fetch.
//!
//! Promise: a disk shows only what the heads want and what stands in nothing's way.

use std::rc::Rc;

use super::super::checks::Violation;
use super::super::{Content, Minted, Rules, Version};
use super::{Disk, Ghost, World};

impl<R: Rules> World<R> {
    /// Takes in what was minted at `path`, whose heads were `before`: the copies first.
    pub(super) fn take_minted(
        &mut self,
        device: usize,
        path: &R::Path,
        before: &R::Heads,
        minted: &Minted<R>,
        ghost: Ghost,
        resolves: bool,
    ) -> Result<(), Violation> {
        let rules = self.rules.clone();
        for copy in &minted.copies {
            self.check_copy(path, before, &minted.record, ghost, copy)?;
            let (loser, view) = (rules.view(&copy.loser), rules.view(&copy.record));
            let Version { content, mtime, .. } = loser.version;
            let of = (path.clone(), loser.origin, content, mtime);
            Rc::make_mut(&mut self.copies).entry(copy.path.clone()).or_insert(of);
            let of = (path.clone(), loser.origin, loser.version);
            Rc::make_mut(&mut self.copied).entry(of).or_insert((copy.path.clone(), view));
            let kept = self.ghost(&copy.loser);
            self.remember(&copy.record, kept);
            self.set_aside |= if resolves { 0 } else { kept.embodies };
            self.learn(device, &copy.path, &copy.record);
            if resolves && !self.holds(device, content) {
                return Err(Violation::new("I5", format!("copied {loser:?} without its bytes")));
            }
            self.adopt(device, &copy.path, device);
        }
        self.remember(&minted.record, ghost);
        self.learn(device, path, &minted.record);
        Ok(())
    }

    pub(super) fn learn(&mut self, device: usize, path: &R::Path, record: &R::Record) -> bool {
        let rules = self.rules.clone();
        if self.config.histories {
            let known = (rules.dot(record), rules.version(record));
            self.device(device).known.insert(known);
        }
        let mut heads =
            self.devices[device].slots.get(path).map(|slot| slot.heads.clone()).unwrap_or_default();
        let changed = rules.add(&mut heads, record);
        if changed {
            self.slot(device, path).heads = heads;
        }
        if changed && !self.config.bytes && self.copies.contains_key(path) {
            self.adopt(device, path, device); // Small worlds are spared the time that showing a copy takes.
        }
        changed
    }

    pub(super) fn resolve(&mut self, device: usize, path: usize) -> Result<bool, Violation> {
        let Some(path) = self.path_at(device, path) else { return Ok(false) };
        let rules = self.rules.clone();
        let live_below = self.live_below(device, &path);
        let at = &self.devices[device];
        let Some(slot) = at.slots.get(&path).cloned() else { return Ok(false) };
        let ready = !at.reader
            && at.minting
            && rules.conflict(&slot.heads, live_below)
            && rules.needed(&slot.heads, live_below).into_iter().all(|content| self.holds(device, content))
            && self.parents_stand(device, &path);
        if !ready {
            return Ok(false);
        }
        let dot = self.mint(device);
        let Some(minted) = rules.resolve(&path, &slot.heads, live_below, dot) else { return Ok(false) };
        let content = self.content(&minted.record);
        let ghost = self.ghost_of_content(&slot.heads, content);
        self.take_minted(device, &path, &slot.heads, &minted, ghost, true)?;
        Ok(true)
    }

    pub(super) fn show(&mut self, device: usize, from: usize) -> bool {
        if !self.devices[device].minting {
            return false;
        }
        let paths: Vec<R::Path> = self.devices[device].slots.keys().cloned().collect();
        let mut changed = false;
        // What is removed goes before what it stood in, what is made after it.
        for path in paths.iter().rev() {
            changed |= self.adopt(device, path, from);
        }
        for path in paths.iter().filter(|_| self.config.paths.len() > 1).collect::<Vec<_>>() {
            changed |= self.adopt(device, path, from);
        }
        changed
    }

    /// Lets the disk show the winner of a path, if that can be.
    pub(super) fn adopt(&mut self, device: usize, path: &R::Path, from: usize) -> bool {
        let rules = self.rules.clone();
        let slot = self.devices[device].slots[path].clone();
        let winner = rules.winner(&slot.heads);
        let version = winner.as_ref().map(|winner| rules.version(winner));
        let disk = self.desired(device, path);
        if let Some(base) = &slot.base
            && let Some(version) = version
            && self.devices[device].reader
            && rules.base_version(base) == version
            && disk != Disk::Implied
        {
            return false; // A reader's own difference stays until something newer comes.
        }
        let content = match disk {
            Disk::Holds(version) => version.content,
            _ => Content::Dir,
        };
        let obstructed = match disk {
            Disk::Absent => !self.standing_below(device, path).is_empty(),
            _ if disk.is_directory() => !self.parents_stand(device, path),
            _ => !self.parents_stand(device, path) || !self.standing_below(device, path).is_empty(),
        };
        if obstructed || !(self.holds(device, content) || self.holds(from, content)) {
            return false;
        }
        let agreed = match (disk, &winner) {
            (Disk::Implied, Some(winner)) if !self.content(winner).is_gone() => None,
            (_, winner) => winner.clone(),
        };
        let base = agreed.as_ref().map(|agreed| rules.base(&slot.heads, agreed));
        let shown = agreed.map(|agreed| self.ghost_of_content(&slot.heads, self.content(&agreed)));
        let shown = shown.unwrap_or_default();
        let changed = slot.disk != disk || slot.base != base || slot.shown != shown;
        if changed {
            self.hold(device, content);
            let slot = self.slot(device, path);
            (slot.disk, slot.base, slot.shown) = (disk, base, shown);
        }
        changed
    }

    /// What the heads want a disk to show.
    pub(crate) fn desired(&self, device: usize, path: &R::Path) -> Disk {
        let winner = self.rules.winner(&self.devices[device].slots[path].heads);
        match winner.map(|winner| self.rules.version(&winner)) {
            Some(version) if version.content == Content::Dir => Disk::Holds(version),
            _ if self.live_below(device, path) => Disk::Implied,
            Some(version) if !version.content.is_gone() => Disk::Holds(version),
            _ => Disk::Absent,
        }
    }

    pub(super) fn fetch(&mut self, device: usize, from: usize) -> bool {
        let rules = self.rules.clone();
        let slots = self.devices[device].slots.values();
        let heads = slots.flat_map(|slot| rules.records(&slot.heads));
        let contents: Vec<Content> = heads.map(|head| rules.version(&head).content).collect();
        let lacking = |content: &Content| !self.holds(device, *content) && self.holds(from, *content);
        let contents: Vec<Content> = contents.into_iter().filter(lacking).collect();
        for content in &contents {
            self.hold(device, *content);
        }
        !contents.is_empty()
    }
}
