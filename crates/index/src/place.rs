//! What was brought onto the disk, and conflicts that this device ends.
//!
//! Promise: here and base change only from what the work was planned against; base is that of a head that the disk
//! shows. Begin at [`Index::placed`] and [`Index::resolve`].

use std::collections::BTreeMap;

use shoal_engine::history::Kept;
use shoal_engine::index::{Placed, PlacedOutcome, Resolved};
use shoal_proto::hash::RecordHash;
use shoal_proto::heads::{Base, Below, Heads, Shown};
use shoal_proto::here::{Here, Standing};
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Record, Version};

use crate::error::IndexError;
use crate::row::Row;
use crate::store::Index;
use crate::work::Work;
use crate::{history, intents};

impl Index {
    /// Notes what was brought onto the disk and is durable there, one outcome for each, in their order; and what it
    /// displaced.
    ///
    /// # Errors
    /// When the database refuses; nothing is noted then.
    pub fn placed(
        &mut self,
        placed: Vec<Placed>,
        displaced: &[Kept],
    ) -> Result<Vec<PlacedOutcome>, IndexError> {
        self.job(|work| {
            history::add(work, displaced)?;
            intents::forget(work, &placed)?;
            placed.into_iter().map(|one| place(work, one)).collect()
        })
        .map(|(outcomes, _)| outcomes)
    }

    /// Notes what shows a head already, though nothing was done to it.
    ///
    /// # Errors
    /// When the database refuses; nothing is noted then.
    pub fn agreed(&mut self, agreed: Vec<Placed>) -> Result<Vec<PlacedOutcome>, IndexError> {
        self.job(|work| agreed.into_iter().map(|one| place(work, one)).collect())
            .map(|(outcomes, _)| outcomes)
    }

    /// Ends the conflict at a path, if each version in it that holds data is among `versions`. The caller knows that
    /// this device holds the bytes of all those, with durable copies of the ones that lose.
    ///
    /// `copies` is what stands at the paths of copies: where the index knows of nothing yet, and it is the copy, the disk
    /// agrees with the copy's record from the moment of its making.
    ///
    /// # Errors
    /// When this device may not publish, or the database refuses; nothing is published or noted then.
    pub fn resolve(
        &mut self,
        path: &RelPath,
        versions: &[RecordHash],
        copies: Vec<(RelPath, Here)>,
    ) -> Result<Resolved, IndexError> {
        let (answer, done) = self.job(|work| resolve(work, path, versions, copies))?;
        Ok(match answer {
            Minted::NoConflict => Resolved::NoConflict,
            Minted::TooMuchSeen => Resolved::TooMuchSeen,
            Minted::Done => Resolved::Published(done.batches),
        })
    }
}

/// What became of a resolution before it is signed.
#[derive(Clone, Copy, Debug)]
enum Minted {
    Done,
    NoConflict,
    TooMuchSeen,
}

fn place(work: &mut Work<'_>, placed: Placed) -> Result<PlacedOutcome, IndexError> {
    let Placed { path, planned, now, head, is_moved } = placed;
    let is_folder = now.as_ref().is_some_and(|now| now.version.kind == Kind::Directory);
    let below = if is_folder { work.below(&path) } else { Below::Nothing };
    let row = work.row(&path)?;
    if row.here != planned {
        return Ok(PlacedOutcome::Changed);
    }
    if is_folder && head.is_none() && row.heads().shown(below) == Shown::ImpliedDirectory {
        let base = row.base.clone();
        row.show(now, base, Standing::Agrees);
        return Ok(PlacedOutcome::Agreed);
    }
    let agreed = head.as_ref().and_then(|head| base_of(row, head, now.as_ref()));
    let is_vanished = now.is_none() && row.heads().winner().is_none();
    let (outcome, base, standing) = match agreed {
        // All that the path had was replaced, and nothing is there: that is agreed with, though no head says it.
        _ if is_vanished => (PlacedOutcome::Agreed, None, Standing::Agrees),
        Some(base) => {
            let is_moved = is_moved.then_some(now.as_ref()).flatten();
            let shown = is_moved.map(|here| &here.version).or(head.as_ref().map(|head| &head.version));
            let standing = standing_to(&base, shown.filter(|_| now.is_some()));
            let outcome = PlacedOutcome::Agreed;
            (outcome, Some(base), standing)
        }
        // A folder that is there for what lies below it alone: nobody publishes it, and it goes when that is gone.
        None if is_folder => (PlacedOutcome::OnlyHere, row.base.clone(), Standing::Agrees),
        None => (PlacedOutcome::OnlyHere, row.base.clone(), Standing::Differs),
    };
    row.show(now, base, standing);
    Ok(outcome)
}

/// Notes that a path shows a head that an earlier process put there, if that means anything to what is known by now.
pub(crate) fn is_placed(
    work: &mut Work<'_>,
    path: &RelPath,
    found: Option<&Here>,
    head: Option<&Record>,
    below: Below,
) -> Result<bool, IndexError> {
    let row = work.row(path)?;
    let is_wanted = match head {
        Some(head) => base_of(row, head, found).is_some(),
        None => row.heads().shown(below) == Shown::ImpliedDirectory,
    };
    if !is_wanted {
        return Ok(false);
    }
    let (planned, now) = (row.here.clone(), found.cloned());
    let placed = Placed { path: path.clone(), planned, now, head: head.cloned(), is_moved: false };
    Ok(place(work, placed)? == PlacedOutcome::Agreed)
}

/// What a disk has agreed with that shows this record, which was a head when the work was planned.
fn base_of(row: &Row, shown: &Record, now: Option<&Here>) -> Option<Base> {
    if let Some((head, _)) = row.head(&shown.hash()) {
        return Some(row.heads().base_of(head));
    }
    // Another head may have taken its place, with the same content.
    if let Some(base) = equal_head(row, now) {
        return Some(base);
    }
    // Somebody has seen it and gone on: so will this disk. Were it not agreed with, it would be taken for an edit.
    let is_seen = row.heads().iter().any(|head| head.seen.includes(shown.dot));
    is_seen.then(|| Base::from(shown))
}

/// A head with just what the disk shows.
fn equal_head(row: &Row, now: Option<&Here>) -> Option<Base> {
    let is_equal = |kind: &Kind| match now {
        Some(now) => kind.is_same(&now.version.kind),
        None => kind.is_gone(),
    };
    let winner = row.heads().winner().filter(|winner| is_equal(&winner.version.kind));
    let head = winner.or_else(|| row.heads().iter().filter(|head| is_equal(&head.version.kind)).last());
    head.map(|head| row.heads().base_of(head))
}

/// A head that came meanwhile may have the content with another time or mode. What the disk made of the ones that were
/// placed is as fine as it keeps them.
fn standing_to(base: &Base, shown: Option<&Version>) -> Standing {
    let of_base = &base.version;
    let is_other = |shown: &Version| (shown.mtime, shown.mode) != (of_base.mtime, of_base.mode);
    if shown.is_some_and(is_other) { Standing::Behind } else { Standing::Agrees }
}

fn resolve(
    work: &mut Work<'_>,
    path: &RelPath,
    versions: &[RecordHash],
    copies: Vec<(RelPath, Here)>,
) -> Result<Minted, IndexError> {
    if !work.may_publish() {
        return Err(IndexError::MayNotPublish);
    }
    let (below, dot) = (work.below(path), work.next_dot()?);
    let heads = work.row(path)?.heads();
    let Some(transaction) = heads.resolve(below, dot).filter(|_| are_covered(heads, below, versions)) else {
        return Ok(Minted::NoConflict);
    };
    let made: BTreeMap<RelPath, Record> =
        transaction.copies.iter().map(|copy| (copy.path.clone(), copy.clone())).collect();
    if !work.mint(transaction)? {
        return Ok(Minted::TooMuchSeen);
    }
    for (path, here) in copies {
        if let Some(copy) = made.get(&path) {
            agree_with_copy(work, copy, here)?;
        }
    }
    Ok(Minted::Done)
}

/// Whether all that contradicts each other now, and holds data, is among these versions.
fn are_covered(heads: &Heads, below: Below, versions: &[RecordHash]) -> bool {
    let is_there = |head: &&Record| !head.version.kind.holds_data() || versions.contains(&head.hash());
    heads.conflict(below).iter().all(is_there)
}

/// A copy that is no head was deleted by somebody before: what stands there is looked at like any other file.
fn agree_with_copy(work: &mut Work<'_>, copy: &Record, here: Here) -> Result<(), IndexError> {
    let row = work.row(&copy.path)?;
    if row.head(&copy.hash()).is_none() || !copy.version.kind.is_same(&here.version.kind) {
        return Ok(());
    }
    let placed = Placed {
        path: copy.path.clone(),
        planned: None,
        now: Some(here),
        head: Some(copy.clone()),
        is_moved: false,
    };
    place(work, placed).map(drop)
}
