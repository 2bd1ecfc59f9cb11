//! Bytes that many connections hold together, with a bound on all of them.
//!
//! Promise: whenever the bound is passed the oldest parts give way, so that a flood of large newcomers or of
//! peers that never finish cannot shut out everybody else (`I30`). Parts are ordered by a key that grows with
//! time; whoever holds a part of the same key shares it, and it counts once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use tokio::sync::Notify;

/// The bound, and all parts of it.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    bytes: Cell<usize>,
    parts: RefCell<BTreeMap<u64, Weak<Part>>>,
}

/// Some bytes of a budget, until it is dropped or evicted.
#[derive(Debug)]
pub(crate) struct Part {
    budget: Rc<Budget>,
    key: u64,
    bytes: Cell<usize>,
    is_evicted: Cell<bool>,
    eviction: Notify,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Rc<Self> {
        Rc::new(Self { bytes_max, bytes: Cell::new(0), parts: RefCell::default() })
    }

    /// A part for `bytes`, or the one that others already hold with that key.
    pub(crate) fn hold(self: &Rc<Self>, key: u64, bytes: usize) -> Rc<Part> {
        let shared = self.parts.borrow().get(&key).and_then(Weak::upgrade);
        if let Some(part) = shared {
            return part;
        }
        let part = Rc::new(Part {
            budget: Rc::clone(self),
            key,
            bytes: Cell::new(0),
            is_evicted: Cell::new(false),
            eviction: Notify::new(),
        });
        self.parts.borrow_mut().insert(key, Rc::downgrade(&part));
        part.resize(bytes);
        part
    }

    fn evict_oldest(&self) {
        let oldest = self.parts.borrow_mut().pop_first().and_then(|(_, part)| part.upgrade());
        if let Some(part) = oldest {
            part.is_evicted.set(true);
            self.bytes.set(self.bytes.get() - part.bytes.take());
            part.eviction.notify_waiters();
        }
    }
}

impl Part {
    /// The holder has more, or less, than before.
    pub(crate) fn resize(&self, bytes: usize) {
        if self.is_evicted.get() {
            return;
        }
        let budget = &self.budget;
        budget.bytes.set(budget.bytes.get() - self.bytes.replace(bytes) + bytes);
        while budget.bytes.get() > budget.bytes_max {
            budget.evict_oldest();
        }
    }

    /// Waits until this has to give way.
    pub(crate) async fn evicted(&self) {
        if !self.is_evicted.get() {
            self.eviction.notified().await;
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // An evicted part has left already, and its key may be another's by now.
        if !self.is_evicted.get() {
            self.budget.parts.borrow_mut().remove(&self.key);
            self.budget.bytes.set(self.budget.bytes.get() - self.bytes.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i30_the_oldest_parts_give_way() {
        let budget = Budget::new(100);
        let old = budget.hold(1, 40);
        let new = budget.hold(2, 50);
        new.resize(60);
        assert!(!old.is_evicted.get(), "just full");
        new.resize(61);
        assert!(old.is_evicted.get() && !new.is_evicted.get());
        assert_eq!(budget.bytes.get(), 61);
        old.resize(90);
        drop(old);
        assert_eq!(budget.bytes.get(), 61, "an evicted part counts for nothing");
        new.resize(101);
        assert!(new.is_evicted.get(), "alone too large");
        assert_eq!(budget.bytes.get(), 0);
    }

    #[test]
    fn holders_of_the_same_key_share_one_part() {
        let budget = Budget::new(100);
        let parts: Vec<_> = (0..10).map(|_| budget.hold(7, 80)).collect();
        assert_eq!(budget.bytes.get(), 80);
        let newer = budget.hold(8, 80);
        assert!(parts.iter().all(|part| part.is_evicted.get()));
        let again = budget.hold(7, 10);
        drop(parts);
        assert_eq!(budget.bytes.get(), 90, "dropping an evicted part leaves its successor alone");
        drop((again, newer));
        assert_eq!((budget.bytes.get(), budget.parts.borrow().len()), (0, 0));
    }
}
