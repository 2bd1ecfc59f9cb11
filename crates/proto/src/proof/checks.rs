//! What must be true in every world, after each step and when all is quiet.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::world::{Device, Disk, Ghost, Slot, Versions, World};
use super::{Content, Copy, Rules, View};

/// A promise that was broken, and how.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, what: String) -> Self {
        Self { invariant, what }
    }
}

impl<R: Rules> World<R> {
    /// After each step: no version is lost, and no reader has a word in it.
    pub(crate) fn check_step(&self) -> Result<(), Violation> {
        let lost = self.unaccounted();
        if lost != 0 {
            let lost = self.log.iter().filter(|(id, _)| lost & (1 << **id) != 0);
            let lost: Vec<_> = lost.map(|(id, made)| (id, made.content)).collect();
            // With a delete in the log it may be the promise of I7 too; I3 is the wider one.
            return Err(Violation::new("I3", format!("nothing is left of {lost:?}")));
        }
        for device in &self.devices {
            for slot in device.slots.values() {
                for head in self.rules.records(&slot.heads) {
                    let (writer, writers) = (self.rules.dot(&head).writer, self.config.writers as u64);
                    if writer < 1 << 32 && (writer - 1) % 16 >= writers {
                        return Err(Violation::new("I26", format!("a reader's record {head:?}")));
                    }
                }
            }
        }
        Ok(())
    }

    /// Versions that nobody shows or keeps, and that no user saw and replaced.
    fn unaccounted(&self) -> Versions {
        let heads = self.devices.iter().flat_map(|device| device.slots.values());
        let heads = heads.flat_map(|slot| self.rules.records(&slot.heads));
        let shown: BTreeSet<Content> = heads.map(|head| self.rules.version(&head).content).collect();
        let alike = self.log.iter().filter(|(_, made)| shown.contains(&made.content));
        alike.fold(self.unknown(), |unknown, (id, _)| unknown & !(1 << *id)) & !self.replaced_alike()
    }

    /// What two users made alike at one path, neither having seen the other's, is one version to anybody who looks:
    /// who replaces the one replaces the other.
    fn replaced_alike(&self) -> Versions {
        let is_in = |id: u32, versions: Versions| versions & (1 << id) != 0;
        let replaced = || self.log.iter().filter(|(id, _)| is_in(**id, self.replaced));
        let alike = self.log.iter().filter(|(id, made)| {
            replaced().any(|(other, twin)| {
                (&made.path, made.content) == (&twin.path, twin.content)
                    && !is_in(*other, made.past)
                    && !is_in(**id, twin.past)
            })
        });
        alike.fold(0, |alike, (id, _)| alike | 1 << *id)
    }

    /// Those of them that are in no head by themselves.
    fn unknown(&self) -> Versions {
        // A folder holds no bytes; whether it stands where it must, the quiet world is asked.
        let holds_bytes = |content: Content| !content.is_gone() && content != Content::Dir;
        let made = self.log.iter().filter(|(_, made)| holds_bytes(made.content));
        let made: Versions = made.fold(0, |made, (id, _)| made | 1 << *id);
        made & !self.present() & !self.replaced & !self.exempt
    }

    /// The versions that some head, or a disk without an index, shows or keeps.
    fn present(&self) -> Versions {
        let lost = self.devices.iter().filter(|device| !device.minting);
        let shown = lost.flat_map(|device| device.slots.values()).map(|slot| slot.shown.embodies);
        shown.fold(self.known().0, |present, shown| present | shown)
    }

    /// The versions that some head shows or keeps; and all that their users had seen.
    fn known(&self) -> (Versions, Versions) {
        let slots = self.devices.iter().flat_map(|device| device.slots.values());
        let heads = slots.flat_map(|slot| self.rules.records(&slot.heads));
        heads.fold((0, 0), |(known, past), head| {
            let ghost = self.ghost(&head);
            (known | ghost.embodies, past | ghost.past)
        })
    }

    /// After an index was lost: what was known to it alone is in no index any more, and may be asked of nobody. That
    /// goes for what had stood `in_copies` of which only it knew: of a transaction of which somebody was told a part.
    pub(crate) fn forgive(&mut self, in_copies: Versions) {
        self.exempt |= self.unknown() | (in_copies & !self.in_copies());
        let (known, past) = self.known();
        for (id, made) in self.log.iter() {
            if (known | past) & (1 << *id) == 0 {
                self.forgiven |= made.past;
            }
        }
        self.forget_copies();
    }

    /// What conflict copies keep, in indexes and on disks.
    pub(crate) fn in_copies(&self) -> Versions {
        let slots = self.devices.iter().flat_map(|device| device.slots.iter());
        let copies = slots.filter(|(path, _)| self.copies.contains_key(path));
        copies.fold(0, |kept, (_, slot)| {
            let heads = self.rules.records(&slot.heads).into_iter();
            heads.fold(kept | slot.shown.embodies, |kept, head| kept | self.ghost(&head).embodies)
        })
    }

    /// Forgets the copies that neither an index nor a disk knows any more.
    pub(crate) fn forget_copies(&mut self) {
        let slots = |path| self.devices.iter().filter_map(move |device| device.slots.get(path));
        let stands =
            |slot: &Slot<R>| slot.disk != Disk::Absent || !self.rules.records(&slot.heads).is_empty();
        let gone = self.copies.keys().filter(|path| !slots(*path).any(|slot| stands(slot)));
        let gone: Vec<R::Path> = gone.cloned().collect();
        for path in gone {
            Rc::make_mut(&mut self.copies).remove(&path);
        }
    }

    /// A copy keeps a version that is concurrent with another one and differs; whoever makes it makes the same.
    pub(crate) fn check_copy(
        &self,
        path: &R::Path,
        before: &R::Heads,
        minted: &R::Record,
        ghost: Ghost,
        copy: &Copy<R>,
    ) -> Result<(), Violation> {
        let (loser, view) = (self.rules.view(&copy.loser), self.rules.view(&copy.record));
        // What a lost index had seen counts for nothing: that costs conflicts, never versions (I18).
        let keeps = self.ghost(&copy.loser).embodies;
        let seen = |past: Versions| keeps != 0 && keeps & (!past | self.forgiven) == 0;
        let by = self.rules.records(before).into_iter().find(|head| seen(self.ghost(head).past));
        if by.is_some() || seen(ghost.past) {
            let what = format!("a copy of {loser:?}, whose successor {by:?} or {minted:?} had seen it");
            return Err(Violation::new("I4", what));
        }
        if view.version != loser.version || !view.seen.is_empty() || view.dot != view.origin {
            return Err(Violation::new("I5", format!("a copy {view:?} that is not its loser {loser:?}")));
        }
        match self.copied.get(&(path.clone(), loser.origin, loser.version)) {
            Some(made) if *made != (copy.path.clone(), view.clone()) => {
                Err(Violation::new("I16", format!("two copies of {loser:?}: {made:?} and {view:?}")))
            }
            _ => Ok(()),
        }
    }

    /// Nothing that was found on a disk without a base brings back what somebody deleted.
    pub(crate) fn check_no_revival(
        &self,
        device: usize,
        heads: &R::Heads,
        content: Content,
    ) -> Result<(), Violation> {
        for head in self.rules.records(heads) {
            let embodies = self.ghost(&head).embodies;
            let mut deletes = self.log.iter().filter(|(id, _)| embodies & (1 << **id) != 0);
            let deleted = deletes.any(|(_, made)| made.content == content.deleted());
            if deleted {
                let what = format!("device {device} brings back {content:?} that it knows was deleted");
                return Err(Violation::new("I6", what));
            }
        }
        Ok(())
    }

    /// After an exchange both know the same, in whatever order it comes, however often.
    pub(crate) fn check_exchange(
        &self,
        one: usize,
        other: usize,
        ours: &Device<R>,
        theirs: &Device<R>,
    ) -> Result<(), Violation> {
        let rules = &self.rules;
        for (path, slot) in &self.devices[one].slots {
            if rules.records(&slot.heads).is_empty() {
                continue; // Something stands there that no index knows of.
            }
            let Some(peer) = self.devices[other].slots.get(path) else {
                return Err(Violation::new("I1", format!("{path:?} did not travel")));
            };
            let heads = self.views(&slot.heads);
            if heads != self.views(&peer.heads) {
                let what = format!("{path:?}: {heads:?} here, {:?} there", self.views(&peer.heads));
                return Err(Violation::new("I15", what));
            }
            if rules.winner(&slot.heads).map(|record| rules.view(&record))
                != rules.winner(&peer.heads).map(|record| rules.view(&record))
            {
                return Err(Violation::new("I16", format!("{path:?} has two winners")));
            }
            let mut again = slot.heads.clone();
            for device in [ours, theirs] {
                let told = device.slots.get(path).map(|slot| rules.records(&slot.heads));
                if told.unwrap_or_default().iter().any(|record| rules.add(&mut again, record)) {
                    return Err(Violation::new("I14", format!("{path:?} changes when told again")));
                }
            }
        }
        Ok(())
    }

    /// The heads as anybody would list them.
    pub(crate) fn views(&self, heads: &R::Heads) -> Vec<View> {
        let mut views: Vec<View> =
            self.rules.records(heads).iter().map(|record| self.rules.view(record)).collect();
        views.sort();
        views
    }

    /// When nothing moves any more: all know and show the same, the copies stand, and nothing came back.
    pub(crate) fn check_quiet(&self) -> Result<(), Violation> {
        let first = &self.devices[0];
        for (at, device) in self.devices.iter().enumerate() {
            let paths = |device: &Device<R>| {
                let known =
                    device.slots.iter().filter(|(_, slot)| !self.rules.records(&slot.heads).is_empty());
                known.map(|(path, _)| path.clone()).collect::<Vec<_>>()
            };
            if paths(device) != paths(first) {
                return Err(Violation::new("I1", format!("device {at} knows other paths")));
            }
            for (path, slot) in &device.slots {
                let heads = self.views(&slot.heads);
                let first = first.slots.get(path).map(|slot| self.views(&slot.heads)).unwrap_or_default();
                if heads != first {
                    return Err(Violation::new("I1", format!("device {at} has other heads at {path:?}")));
                }
                let wanted = self.desired(at, path);
                if slot.disk != wanted && !device.reader && !self.is_blocked(path, wanted) {
                    let what = format!("device {at} shows {:?} at {path:?}, not {wanted:?}", slot.disk);
                    return Err(Violation::new("I1", what));
                }
            }
        }
        for (path, slot) in &first.slots {
            self.check_vanished(path, slot)?;
            if let Some(winner) = self.rules.winner(&slot.heads) {
                let embodies = self.ghost(&winner).embodies;
                let here = self.log.values().filter(|made| made.path == *path);
                let replaced = here.fold(0, |past, made| past | made.past) & !self.forgiven;
                // A folder is there again when something lives in it.
                let is_folder = self.content(&winner) == Content::Dir;
                if embodies != 0 && embodies & !replaced == 0 && !is_folder {
                    let what = format!("{path:?} shows {winner:?} again, which a user had replaced");
                    return Err(Violation::new("I6", what));
                }
            }
        }
        for path in self.copies.keys() {
            if self.devices.iter().any(|device| {
                device.slots.get(path).is_none_or(|slot| self.rules.records(&slot.heads).is_empty())
            }) {
                return Err(Violation::new("I5", format!("the copy {path:?} is not everywhere")));
            }
        }
        Ok(())
    }

    /// A path whose heads are all stale shows nothing: each of them was replaced by somebody who saw it, or set aside by
    /// an edit.
    fn check_vanished(&self, path: &R::Path, slot: &Slot<R>) -> Result<(), Violation> {
        if self.rules.winner(&slot.heads).is_some() {
            return Ok(());
        }
        for head in self.rules.records(&slot.heads) {
            let told = self.replaced | self.replaced_alike() | self.set_aside | self.exempt;
            let left = self.ghost(&head).embodies & !told;
            if left != 0 {
                let what = format!("{path:?} shows nothing, and nobody replaced {head:?}");
                return Err(Violation::new("I3", what));
            }
        }
        Ok(())
    }

    /// Whether a path cannot be shown because nobody has the bytes, there or above.
    fn is_blocked(&self, path: &R::Path, wanted: Disk) -> bool {
        let lacking = |wanted: Disk| match wanted {
            Disk::Holds(version) => match version.content {
                Content::File(number) => {
                    self.config.bytes && !self.devices.iter().any(|device| device.held.contains(&number))
                }
                _ => false,
            },
            _ => false,
        };
        let below = |other: &R::Path| self.rules.is_below(path, other) || self.rules.is_below(other, path);
        let mut around = self.devices[0].slots.keys().filter(|other| below(other));
        lacking(wanted) || around.any(|other| lacking(self.desired(0, other)))
    }
}
