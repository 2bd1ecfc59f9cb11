//! What users do: they write, touch and delete what their disk shows.
//!
//! Promise: each version is logged with what its user had seen.

use super::super::checks::Violation;
use super::super::{Content, Dot, Rules, Version};
use super::{Disk, Ghost, MADE_MAX, World};

impl<R: Rules> World<R> {
    pub(super) fn write(
        &mut self,
        device: usize,
        path: usize,
        content: Content,
        mtime: i64,
    ) -> Result<bool, Violation> {
        let Some(path) = self.path_at(device, path) else { return Ok(false) };
        let fresh = u32::try_from(device).unwrap() * MADE_MAX + self.made[device] + 1;
        let content = match content {
            Content::File(0) => Content::File(fresh),
            Content::Link(0) => Content::Link(fresh),
            content => content,
        };
        let disk = self.devices[device].slots.get(&path).map_or(Disk::Absent, |slot| slot.disk);
        let same = matches!(disk, Disk::Holds(version) if version.content == content);
        let again = content == Content::Dir && disk.is_directory();
        if same || again || !self.can_make(device) || !self.parents_stand(device, &path) {
            return Ok(false);
        }
        for below in self.standing_below(device, &path).iter().rev() {
            self.remove(device, below)?;
        }
        let mtime = if content == Content::Dir { 0 } else { mtime };
        let mode = if content == Content::Dir { 0o755 } else { 0o644 };
        self.user_puts(device, &path, Version { content, mtime, mode })?;
        Ok(true)
    }

    pub(super) fn alter(
        &mut self,
        device: usize,
        path: usize,
        change: impl Fn(&mut Version),
    ) -> Result<bool, Violation> {
        let Some(path) = self.path_at(device, path) else { return Ok(false) };
        let Some(Disk::Holds(version)) = self.devices[device].slots.get(&path).map(|slot| slot.disk) else {
            return Ok(false);
        };
        let mut new = version;
        change(&mut new);
        if version.content == Content::Dir {
            new.mtime = 0;
        }
        if new == version {
            return Ok(false);
        }
        self.user_puts(device, &path, new)?;
        Ok(true)
    }

    pub(super) fn delete(&mut self, device: usize, path: usize) -> Result<bool, Violation> {
        let Some(path) = self.path_at(device, path) else { return Ok(false) };
        let absent = self.devices[device].slots.get(&path).is_none_or(|slot| slot.disk == Disk::Absent);
        if absent || !self.can_make(device) {
            return Ok(false);
        }
        for below in self.standing_below(device, &path).iter().rev() {
            self.remove(device, below)?;
        }
        self.remove(device, &path)?;
        Ok(true)
    }

    pub(super) fn remove(&mut self, device: usize, path: &R::Path) -> Result<(), Violation> {
        match self.slot(device, path).disk {
            Disk::Holds(version) => {
                let content = version.content.deleted();
                self.user_puts(device, path, Version { content, mtime: 0, mode: 0 })
            }
            _ => {
                self.slot(device, path).disk = Disk::Absent;
                Ok(())
            }
        }
    }

    /// The user's disk now shows this; who may publish does so.
    pub(super) fn user_puts(&mut self, device: usize, path: &R::Path, new: Version) -> Result<(), Violation> {
        let publishes = !self.devices[device].reader && self.devices[device].minting;
        if publishes {
            return self.publish(device, path, new);
        }
        if !self.devices[device].reader {
            // Its user saw what stood there, though the index that knew of it is lost.
            let seen = self.slot(device, path).shown;
            self.replaced |= seen.embodies | seen.past;
        }
        let slot = self.slot(device, path);
        slot.disk = if new.content.is_gone() { Disk::Absent } else { Disk::Holds(new) };
        slot.shown = Ghost::default();
        self.hold(device, new.content);
        self.forget_copies();
        Ok(())
    }

    pub(super) fn publish(&mut self, device: usize, path: &R::Path, new: Version) -> Result<(), Violation> {
        let rules = self.rules.clone();
        let dot = self.mint(device);
        let slot = self.slot(device, path).clone();
        let base = slot.base.as_ref().map(|base| rules.base_version(base).content);
        let mut ghost = slot.shown;
        if let Some(base) = base {
            ghost.join(self.ghost_of_content(&slot.heads, base));
        }
        if base != Some(new.content) {
            let past = if base.is_some() { ghost.past | ghost.embodies } else { 0 };
            self.replaced |= past;
            let made = self.new_version(device, path, new.content, past);
            let spent = self.spent[device];
            if dot.writer == spent.writer && dot.counter <= spent.counter {
                // Others know something else by this dot, perhaps something replaced.
                (self.exempt, self.forgiven) = (self.exempt | made, self.forgiven | made);
            }
            // Found on the disk without a base: it is what stood there before the index was lost.
            let before = if base.is_some() { 0 } else { slot.shown.embodies };
            ghost = Ghost { embodies: made | before, past };
        }
        let Some(minted) = rules.edit(path, &slot.heads, slot.base.as_ref(), new, dot) else {
            self.slot(device, path).disk = Disk::Holds(new); // Until the disk shows what replaced it.
            return Ok(());
        };
        // What somebody else made alike is one version with it, if it covers that.
        let seen = rules.view(&minted.record).seen;
        for head in rules.records(&slot.heads) {
            let Dot { writer, counter } = rules.dot(&head);
            if rules.version(&head).content == new.content
                && seen.get(&writer).is_some_and(|seen| *seen >= counter)
            {
                ghost.join(self.ghost(&head));
            }
        }
        self.take_minted(device, path, &slot.heads, &minted, ghost, false)?;
        self.hold(device, new.content);
        let slot = self.slot(device, path);
        slot.disk = if new.content.is_gone() { Disk::Absent } else { Disk::Holds(new) };
        slot.base = Some(rules.base(&slot.heads, &minted.record));
        let heads = slot.heads.clone();
        ghost.join(self.ghost_of_content(&heads, new.content));
        self.slot(device, path).shown = ghost;
        Ok(())
    }

    pub(super) fn hold(&mut self, device: usize, content: Content) {
        if let Content::File(number) = content
            && self.config.bytes
        {
            self.device(device).held.insert(number);
        }
    }

    pub(super) fn holds(&self, device: usize, content: Content) -> bool {
        match content {
            Content::File(number) => !self.config.bytes || self.devices[device].held.contains(&number),
            _ => true,
        }
    }
}
