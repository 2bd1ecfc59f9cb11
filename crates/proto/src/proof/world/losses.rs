//! What befalls a device: it loses its index, or is put back to an earlier day.
//!
//! Promise: what nobody else had heard of is asked for no more; all else is.

use std::rc::Rc;

use super::super::checks::Violation;
use super::super::{Content, Dot, Rules, Version};
use super::{Device, Disk, Ghost, MADE_MAX, Slot, Versions, World};

impl<R: Rules> World<R> {
    pub(super) fn lose_index(&mut self, device: usize) -> bool {
        let in_copies = self.in_copies();
        let writer = self.draw_writer(device);
        for slot in self.devices[device].slots.values() {
            self.forgiven |= slot.shown.embodies | slot.shown.past;
        }
        let at = self.device(device);
        (at.writer, at.counter, at.minting) = (writer, 0, false);
        at.known.clear();
        for slot in at.slots.values_mut() {
            let slot = Rc::make_mut(slot);
            (slot.heads, slot.base) = (R::Heads::default(), None);
            if slot.disk == Disk::Implied {
                slot.disk = Disk::Holds(Version { content: Content::Dir, mtime: 0, mode: 0o755 });
            }
        }
        at.slots.retain(|_, slot| slot.disk != Disk::Absent);
        for name in self.config.paths {
            let path = self.rules.path(name);
            self.slot(device, &path);
        }
        self.forgive(in_copies);
        true
    }

    pub(super) fn draw_writer(&mut self, device: usize) -> u64 {
        self.lives[device] += 1;
        let drawn = device as u64 + 1 + 16 * self.lives[device];
        self.rules.writer_after_loss(drawn, self.devices[device].writer)
    }

    /// An index without bases has heard of heads: what stands on the disk is one of them, or a version of its own.
    pub(super) fn first_contact(&mut self, device: usize) -> Result<(), Violation> {
        let rules = self.rules.clone();
        self.device(device).minting = true;
        let slots: Vec<_> = self.devices[device].slots.clone().into_iter().collect();
        for (path, slot) in slots {
            let Disk::Holds(version) = slot.disk else { continue };
            if let Some(head) = rules.adopts(&slot.heads, version.content) {
                let gone = self.content(&head).is_gone();
                if gone && !self.standing_below(device, &path).is_empty() {
                    continue; // An emptied directory goes when what stands in it has gone.
                }
                if gone {
                    // Whether it was made again after it was deleted, only the lost index knew: it goes to history.
                    self.exempt |= slot.shown.embodies;
                }
                self.remember(&head, Ghost { embodies: slot.shown.embodies, past: 0 });
                let shown = self.ghost_of_content(&slot.heads, self.content(&head));
                let slot = self.slot(device, &path);
                slot.base = Some(rules.base(&slot.heads, &head));
                slot.disk = if gone { Disk::Absent } else { slot.disk };
                slot.shown = shown;
            } else if !self.devices[device].reader {
                self.check_no_revival(device, &slot.heads, version.content)?;
                self.publish(device, &path, version)?;
            }
        }
        Ok(())
    }

    pub(super) fn roll_back(&mut self, device: usize, disk: bool, noticed: bool) -> Result<bool, Violation> {
        let Some(snapshot) = self.snapshots[device].take() else { return Ok(false) };
        let (now, in_copies) = (self.devices[device].clone(), self.in_copies());
        let mut restored = Device::clone(&snapshot);
        if !disk {
            restored.held = now.held.clone();
            for (path, slot) in &now.slots {
                let restored = restored.slots.entry(path.clone()).or_insert_with(|| Rc::new(Slot::new()));
                Rc::make_mut(restored).disk = slot.disk;
            }
        }
        self.devices[device] = Rc::new(restored);
        if noticed {
            let writer = self.draw_writer(device);
            let at = self.device(device);
            (at.writer, at.counter) = (writer, 0);
        } else {
            let again = self.made_since(device, snapshot.counter);
            (self.exempt, self.forgiven) = (self.exempt | again, self.forgiven | again);
            self.spent[device] = Dot { writer: now.writer, counter: now.counter };
            self.forked[device] = Dot { writer: snapshot.writer, counter: snapshot.counter };
        }
        self.forgive(in_copies);
        self.scan(device)?;
        Ok(true)
    }

    /// The versions that a device made under the numbers after this one, which it will use again: who hears of the new
    /// ones first takes the old ones for seen.
    fn made_since(&self, device: usize, counter: u64) -> Versions {
        let writer = self.devices[device].writer;
        let again = self.ghosts.iter().filter(|((dot, _), _)| dot.writer == writer && dot.counter > counter);
        let own = Versions::from(u16::MAX) << (u32::try_from(device).unwrap() * MADE_MAX);
        again.fold(0, |made, (_, ghost)| made | ghost.embodies) & own
    }

    /// Publishes what differs from the index, as if the user had just made it.
    pub(super) fn scan(&mut self, device: usize) -> Result<(), Violation> {
        if self.devices[device].reader || !self.devices[device].minting {
            return Ok(());
        }
        let slots: Vec<_> = self.devices[device].slots.clone().into_iter().collect();
        for (path, slot) in slots.into_iter().rev() {
            let base = slot.base.as_ref().map(|base| self.rules.base_version(base));
            match slot.disk {
                Disk::Holds(version) if base != Some(version) => self.publish(device, &path, version)?,
                Disk::Absent if base.is_some_and(|base| !base.content.is_gone()) => {
                    let content = base.unwrap().content.deleted();
                    self.publish(device, &path, Version { content, mtime: 0, mode: 0 })?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn was_rolled_back(&self, device: usize, peer: usize) -> bool {
        let (at, peer) = (&self.devices[device], &self.devices[peer]);
        let mine = |dot: &Dot| dot.writer == at.writer;
        let unknown = peer.known.iter().any(|known| mine(&known.0) && !at.known.contains(known));
        let heads = peer.slots.values().flat_map(|slot| self.rules.records(&slot.heads));
        let above = heads
            .map(|head| self.rules.view(&head))
            .any(|view| view.seen.get(&at.writer).is_some_and(|counter| *counter > at.counter));
        unknown || above
    }

    /// Draws a new writer and mints again under it what the peer does not know of the old one.
    pub(super) fn new_life_told_by(&mut self, device: usize, peer: usize) -> Result<(), Violation> {
        let rules = self.rules.clone();
        let old = self.devices[device].writer;
        let theirs = self.devices[peer].known.clone();
        // Up to here both tell the same story: the chain of publications shows where they part.
        let Dot { writer, counter } = self.forked[device];
        let agreed = if writer == old { counter } else { self.devices[device].counter };
        let writer = self.draw_writer(device);
        let at = self.device(device);
        (at.writer, at.counter) = (writer, 0);
        let slots: Vec<_> = at.slots.clone().into_iter().collect();
        for (path, slot) in slots {
            let mut heads = R::Heads::default();
            let mut again = Vec::new();
            for head in rules.records(&slot.heads) {
                let view = rules.view(&head);
                if view.dot.writer == old && !theirs.contains(&(view.dot, view.version)) {
                    again.push(head);
                } else {
                    rules.add(&mut heads, &head);
                }
            }
            if again.is_empty() {
                continue;
            }
            self.slot(device, &path).heads = heads;
            for head in again {
                let dot = self.mint(device);
                let mut ghost = self.ghost(&head);
                ghost.embodies |= self.new_version(device, &path, self.content(&head), ghost.past);
                let record = rules.minted_again(&head, agreed, dot);
                self.remember(&record, ghost);
                self.learn(device, &path, &record);
            }
            let heads = self.devices[device].slots[&path].heads.clone();
            let version = slot.base.as_ref().map(|base| rules.base_version(base));
            let shown = rules.records(&heads).into_iter().find(|head| Some(rules.version(head)) == version);
            let last = Dot { writer: old, counter: agreed };
            let left = || slot.base.as_ref().and_then(|base| rules.base_up_to(base, last));
            let base = shown.map(|head| rules.base(&heads, &head)).or_else(left);
            self.slot(device, &path).base = base;
        }
        self.check_step()
    }
}
