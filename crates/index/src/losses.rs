//! What goes from this disk piece by piece, and is one loss all the same (I19).
//!
//! Promise: what is lost is added up until nothing was lost for [`LOSS_QUIET`], or a person said that it is meant. Only
//! what was there before the first of it counts, and only while no file has it again: programs make files and delete
//! them all the time. It is kept in memory alone, some 20 bytes for each content; a restart forgets it.

use core::mem;
use std::collections::{BTreeMap, BTreeSet};

use shoal_engine::history::Kept;
use shoal_engine::index::{Guard, List, Observed, Outcome, Placed, PlacedOutcome};
use shoal_engine::limits::LOSS_QUIET;
use shoal_engine::planner::{Deed, Rights, decide};
use shoal_engine::time::Time;
use shoal_proto::hash::ContentId;
use shoal_proto::here::Here;

use crate::error::IndexError;
use crate::loss::hash_of;
use crate::observe::ObserveAnswer;
use crate::store::Index;

/// Most contents that are remembered to have come while losses are added up. Others count as there before, so that at
/// worst a person is asked once too often.
const CAME_MAX: usize = 1 << 16;

/// Losses that are added up: those by this device's user, or those by others.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// Whether what leaves and what comes is remembered.
    is_going: bool,
    /// What goes on is meant: nothing of it is added up.
    is_meant: bool,
    last: Time,
    /// Contents that were there before and that no file has now; whether they were lost: else they were replaced.
    left: BTreeMap<u64, bool>,
    lost: u64,
    came: BTreeSet<u64>,
}

impl Losses {
    /// Forgets what was long ago.
    pub(crate) fn renew(&mut self, now: Time) {
        if now.since(self.last) > LOSS_QUIET {
            *self = Self::default();
        }
    }

    /// Something may be lost now.
    fn begin(&mut self, now: Time) {
        self.renew(now);
        self.is_going = !self.is_meant;
    }

    /// What was lost, and is while this goes on, is meant.
    pub(crate) fn mean(&mut self, now: Time) {
        *self = Self { is_meant: true, last: now, ..Self::default() };
    }

    /// No file has this content any more.
    pub(crate) fn leaves(&mut self, hash: u64) {
        if self.is_going && !self.came.remove(&hash) {
            self.left.entry(hash).or_insert(false);
        }
    }

    /// A file has this content, which none had.
    pub(crate) fn comes(&mut self, hash: u64) {
        match self.left.remove(&hash) {
            Some(is_lost) => self.lost -= u64::from(is_lost),
            None if self.is_going && self.came.len() < CAME_MAX => drop(self.came.insert(hash)),
            None => {}
        }
    }

    /// A content that has left was not replaced by anything.
    fn lose(&mut self, hash: u64, now: Time) {
        if self.is_meant {
            self.last = now;
        } else if let Some(is_lost) = self.left.get_mut(&hash) {
            self.last = now;
            self.lost += u64::from(!mem::replace(is_lost, true));
        }
    }

    /// How many contents were lost, and are still.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether a content came only after the first of these losses.
    pub(crate) fn is_new(&self, hash: u64) -> bool {
        self.came.contains(&hash)
    }
}

impl Index {
    /// As [`Self::observe`]. What is lost by it is added up, unless it is meant.
    ///
    /// # Errors
    /// As there.
    pub fn observe_guarded(
        &mut self,
        observed: Vec<Observed>,
        lists: &[(ContentId, List)],
        guard: &Guard,
    ) -> Result<ObserveAnswer, IndexError> {
        let gone: Vec<_> =
            observed.iter().map(|one| gone(one.compared.as_ref(), one.found.as_ref())).collect();
        if gone.iter().any(Option::is_some) {
            self.memory.lost_here.begin(guard.at);
        }
        let answer = self.observe(observed, lists)?;
        for (hash, outcome) in gone.into_iter().zip(&answer.outcomes) {
            if let Some(hash) = hash.filter(|hash| *outcome != Outcome::Changed && self.is_nowhere(*hash)) {
                self.memory.lost_here.lose(hash, guard.at);
            }
        }
        if guard.is_meant {
            self.memory.lost_here.mean(guard.at);
        }
        Ok(answer)
    }

    /// As [`Self::placed`]. What is lost by it, because others deleted it, is added up; what a reader's user had made, and
    /// has given up, is not.
    ///
    /// # Errors
    /// As there.
    pub fn placed_at(
        &mut self,
        placed: Vec<Placed>,
        displaced: &[Kept],
        now: Time,
    ) -> Result<Vec<PlacedOutcome>, IndexError> {
        let gone = placed.iter().map(|one| self.gone_by_others(one)).collect::<Result<Vec<_>, _>>()?;
        if gone.iter().any(Option::is_some) {
            self.memory.lost_to_others.begin(now);
        }
        let outcomes = self.placed(placed, displaced)?;
        for (hash, outcome) in gone.into_iter().zip(&outcomes) {
            if let Some(hash) =
                hash.filter(|hash| *outcome != PlacedOutcome::Changed && self.is_nowhere(*hash))
            {
                self.memory.lost_to_others.lose(hash, now);
            }
        }
        Ok(outcomes)
    }

    /// The content of a file that the share had at a path, where nothing is now.
    fn gone_by_others(&self, placed: &Placed) -> Result<Option<u64>, IndexError> {
        let gone = gone(placed.planned.as_ref(), placed.now.as_ref());
        let rights = self.rights();
        if gone.is_none() || rights != Rights::Reader {
            return Ok(gone);
        }
        let row = self.triple(&placed.path)?;
        let is_own = row.is_some_and(|row| decide(&row, rights).disk == Deed::LocalDifference);
        Ok(gone.filter(|_| !is_own))
    }

    /// Whether no file on this disk has a content.
    fn is_nowhere(&self, hash: u64) -> bool {
        self.memory.on_disk.count(hash) == 0
    }
}

/// The content of a file that was there, where nothing is now.
fn gone(before: Option<&Here>, now: Option<&Here>) -> Option<u64> {
    before.filter(|_| now.is_none()).and_then(|here| hash_of(&here.version.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Time = Time(5_000_000_000_000);

    fn lose(losses: &mut Losses, hash: u64, now: Time) {
        losses.begin(now);
        losses.leaves(hash);
        losses.lose(hash, now);
    }

    #[test]
    fn what_is_lost_is_added_up_until_it_has_been_quiet() {
        let mut losses = Losses::default();
        for step in 0..4_u32 {
            lose(&mut losses, step.into(), T.after(LOSS_QUIET * step));
            assert_eq!(losses.lost(), u64::from(step) + 1);
        }
        lose(&mut losses, 3, T.after(LOSS_QUIET * 3));
        assert_eq!(losses.lost(), 4, "once");
        let late = T.after(LOSS_QUIET * 5);
        losses.renew(late);
        assert_eq!(losses.lost(), 0);
        lose(&mut losses, 9, late);
        assert_eq!(losses.lost(), 1);
    }

    #[test]
    fn what_came_meanwhile_or_is_back_is_not_lost() {
        let mut losses = Losses::default();
        losses.comes(1);
        assert!(!losses.is_new(1), "there before anything was lost");
        lose(&mut losses, 7, T);
        losses.comes(2);
        assert!(losses.is_new(2));
        lose(&mut losses, 2, T);
        lose(&mut losses, 1, T);
        assert_eq!(losses.lost(), 2);
        // A move within one job leaves first, and then comes.
        losses.leaves(3);
        losses.comes(3);
        assert!(!losses.is_new(3));
        losses.comes(1);
        assert_eq!(losses.lost(), 1);
        lose(&mut losses, 1, T);
        // What is replaced leaves as well.
        losses.leaves(4);
        assert_eq!(losses.lost(), 2);
    }

    #[test]
    fn what_is_meant_is_not_added_up_while_it_goes_on() {
        let mut losses = Losses::default();
        lose(&mut losses, 1, T);
        losses.mean(T);
        let late = T.after(LOSS_QUIET);
        lose(&mut losses, 2, late);
        lose(&mut losses, 3, late.after(LOSS_QUIET));
        assert_eq!(losses.lost(), 0);
        lose(&mut losses, 4, late.after(LOSS_QUIET * 3));
        assert_eq!(losses.lost(), 1);
    }

    #[test]
    fn what_comes_meanwhile_is_remembered_up_to_a_bound() {
        let mut losses = Losses::default();
        lose(&mut losses, u64::MAX, T);
        (0..=CAME_MAX as u64).for_each(|hash| losses.comes(hash));
        assert!(losses.is_new(CAME_MAX as u64 - 1) && !losses.is_new(CAME_MAX as u64));
    }
}
