//! What devices tell each other.
//!
//! Promise: whole heads or some of them, in any order; who learns that it was rolled back begins anew first.

use std::rc::Rc;

use super::super::Rules;
use super::super::checks::Violation;
use super::{Device, World};

impl<R: Rules> World<R> {
    pub(super) fn exchange(&mut self, one: usize, other: usize) -> Result<bool, Violation> {
        let mut changed = self.greet(one, other)?;
        let theirs = self.devices[other].clone();
        let ours = self.devices[one].clone();
        changed |= self.tell(&theirs, one, |_| true);
        changed |= self.tell(&ours, other, |_| true);
        if changed {
            self.check_exchange(one, other, &ours, &theirs)?;
        }
        for device in [one, other] {
            if !self.devices[device].minting {
                self.first_contact(device)?;
                changed = true;
            }
        }
        Ok(changed)
    }

    pub(super) fn push(&mut self, from: usize, to: usize, which: u64) -> Result<bool, Violation> {
        let changed = self.greet(from, to)?;
        let sender = self.devices[from].clone();
        let mut bits = which;
        Ok(changed
            | self.tell(&sender, to, |_| {
                bits = bits.rotate_right(1);
                bits & 1 == 1
            }))
    }

    pub(super) fn tell(
        &mut self,
        from: &Device<R>,
        to: usize,
        mut sends: impl FnMut(&R::Record) -> bool,
    ) -> bool {
        let mut changed = false;
        for (path, slot) in &from.slots {
            if self.devices[to].slots.get(path).is_some_and(|known| Rc::ptr_eq(known, slot)) {
                continue;
            }
            for record in self.rules.records(&slot.heads) {
                if sends(&record) {
                    changed |= self.learn(to, path, &record);
                }
            }
        }
        changed
    }

    /// The start of a connection: who learns that its writer was rolled back draws a new one.
    pub(super) fn greet(&mut self, one: usize, other: usize) -> Result<bool, Violation> {
        let mut changed = false;
        for (device, peer) in [(one, other), (other, one)] {
            if self.config.histories && self.was_rolled_back(device, peer) {
                self.new_life_told_by(device, peer)?;
                changed = true;
            }
        }
        Ok(changed)
    }
}
