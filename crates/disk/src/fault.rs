//! Places at which a test acts as a power cut or as the user.
//!
//! Promise: outside of this crate's own tests nothing here does anything.

/// A moment in a commit, or a restoring, that a test can seize.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Point {
    /// The list of the batch is written.
    Listed,
    /// The batch is durable, nothing is swapped.
    Durable,
    /// The target was looked at and is what was expected.
    Checked,
    /// New and old have changed places; the old one is in the slot.
    Swapped,
    /// In a folder without exchange: the old one has a second name in history.
    Linked,
    /// The old one is in history.
    Filed,
    /// The new one was put back; whatever came out instead is in the slot.
    PutBack,
    /// The history table has its rows.
    Recorded,
    /// Everything is durable; only the list is left to remove.
    Settled,
    /// A version in history has its name, and is about to be copied.
    Named,
}

#[cfg(not(test))]
pub(crate) fn reach(_: Point) {}

#[cfg(not(test))]
pub(crate) fn is_dead() -> bool {
    false
}

#[cfg(test)]
pub(crate) use armed::{acting, dying_at, is_dead, reach};

#[cfg(test)]
mod armed {
    use std::cell::{Cell, RefCell};
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::Point;

    type Act = Box<dyn FnMut(Point)>;

    thread_local! {
        static ACT: RefCell<Option<Act>> = const { RefCell::new(None) };
        static DEAD: Cell<bool> = const { Cell::new(false) };
    }

    struct Died;

    pub(crate) fn reach(point: Point) {
        // Taken out while it runs, so that what it does may pass points itself.
        let act = ACT.with(RefCell::take);
        if let Some(mut act) = act {
            act(point);
            ACT.with(|slot| slot.replace(Some(act)));
        }
    }

    /// Whether the process is pretending to be dead: nothing cleans up after itself then.
    pub(crate) fn is_dead() -> bool {
        DEAD.get()
    }

    /// Runs `work` while `act` is called at every point.
    pub(crate) fn acting<T>(act: impl FnMut(Point) + 'static, work: impl FnOnce() -> T) -> T {
        ACT.with(|slot| slot.replace(Some(Box::new(act))));
        let done = work();
        ACT.with(RefCell::take);
        done
    }

    /// Runs `work`, with `act` called at every point, until it passes `last` for the first time, and stops it there as
    /// `kill -9` would.
    ///
    /// Returns whether the point was reached. `work` must own all handles, so that they are closed.
    pub(crate) fn dying_at(last: Point, mut act: impl FnMut(Point) + 'static, work: impl FnOnce()) -> bool {
        let die = move |reached| {
            act(reached);
            if reached == last {
                DEAD.set(true);
                resume_unwind(Box::new(Died));
            }
        };
        let ended = catch_unwind(AssertUnwindSafe(|| acting(die, work)));
        ACT.with(RefCell::take);
        DEAD.set(false);
        match ended {
            Ok(()) => false,
            Err(reason) if reason.is::<Died>() => true,
            Err(reason) => resume_unwind(reason),
        }
    }
}
