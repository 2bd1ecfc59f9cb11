//! What was brought onto the disk, and conflicts that this device ends.
//!
//! Promise: here and base change only from what the work was planned against; base is that of a head that the disk
//! shows. Begin at [`Index::placed`] and [`Index::resolve`].

use shoal_proto::batch::Batch;
use shoal_proto::hash::RecordHash;
use shoal_proto::heads::Base;
use shoal_proto::path::RelPath;

use crate::error::IndexError;
use crate::row::Row;
use crate::store::Index;
use crate::work::Work;
use shoal_proto::here::{Here, Standing};

/// The disk durably shows something else at a path: a head, or a folder for what lies below, or nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placed {
    /// Where.
    pub path: RelPath,
    /// The here that the work was planned against.
    pub planned: Option<Here>,
    /// What the disk shows now, as it was looked at through the written handle.
    pub now: Option<Here>,
    /// The head that it shows; for nothing, and for a folder that only what lies below asks for, the head that is gone.
    /// `None`: no head asked for it.
    pub head: Option<RecordHash>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlacedOutcome {
    /// The disk agrees with the head.
    Agreed,
    /// The head is none any more, and none has its content. What the disk shows is noted; base stays.
    OnlyHere,
    /// The index holds another here than was planned against. Nothing is noted: to be looked at again.
    Changed,
}

/// What a resolution was answered with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Resolved {
    /// The conflict is ended; to be pushed.
    Published(Vec<Batch>),
    /// There is none (any more).
    NoConflict,
    /// No receiver would take the record: it has seen more writers than one may name.
    TooMuchSeen,
}

impl Index {
    /// Notes what was brought onto the disk and is durable there; one outcome for each, in their order.
    ///
    /// # Errors
    /// When the database refuses; nothing is noted then.
    pub fn placed(&mut self, placed: Vec<Placed>) -> Result<Vec<PlacedOutcome>, IndexError> {
        self.job(|work| placed.into_iter().map(|one| place(work, one)).collect())
            .map(|(outcomes, _)| outcomes)
    }

    /// Ends the conflict at a path. The caller knows that this device holds the bytes of all that
    /// [`Heads::conflict`](shoal_proto::heads::Heads::conflict) lists, with durable copies of those that lose.
    ///
    /// # Errors
    /// When this device may not publish, or the database refuses.
    pub fn resolve(&mut self, path: &RelPath) -> Result<Resolved, IndexError> {
        let (answer, done) = self.job(|work| resolve(work, path))?;
        Ok(match answer {
            None => Resolved::NoConflict,
            Some(false) => Resolved::TooMuchSeen,
            Some(true) => Resolved::Published(done.batches),
        })
    }
}

fn place(work: &mut Work<'_>, placed: Placed) -> Result<PlacedOutcome, IndexError> {
    let Placed { path, planned, now, head } = placed;
    let row = work.row(&path)?;
    if row.here != planned {
        return Ok(PlacedOutcome::Changed);
    }
    let agreed = head.and_then(|head| row.head(&head).map(|(head, _)| row.heads().base_of(head)));
    // Another head may have taken the place of the one that was placed, with the same content.
    let agreed = agreed.or_else(|| head.and_then(|_| equal_head(row, now.as_ref())));
    let is_vanished = now.is_none() && row.heads().winner().is_none();
    let (outcome, base, standing) = match agreed {
        // All that the path had was replaced, and nothing is there: that is agreed with, though no head says it.
        _ if is_vanished => (PlacedOutcome::Agreed, None, Standing::Agrees),
        Some(base) => {
            let (outcome, standing) = (PlacedOutcome::Agreed, standing_to(&base, now.as_ref()));
            (outcome, Some(base), standing)
        }
        None => (PlacedOutcome::OnlyHere, row.base.clone(), Standing::Differs),
    };
    row.show(now, base, standing);
    Ok(outcome)
}

/// A head with just what the disk shows.
fn equal_head(row: &Row, now: Option<&Here>) -> Option<Base> {
    let is_equal = |kind: &shoal_proto::record::Kind| match now {
        Some(now) => kind.is_same(&now.version.kind),
        None => kind.is_gone(),
    };
    let winner = row.heads().winner().filter(|winner| is_equal(&winner.version.kind));
    let head = winner.or_else(|| row.heads().iter().filter(|head| is_equal(&head.version.kind)).last());
    head.map(|head| row.heads().base_of(head))
}

/// A head that came meanwhile may have the content with another time or mode.
fn standing_to(base: &Base, now: Option<&Here>) -> Standing {
    let is_kept = |now: &Here| {
        let (mtime, version) = (now.version.mtime, &base.version);
        // As coarse a time as a disk may keep: it keeps no more than whole seconds, if it must, or even two.
        mtime == version.mtime || mtime.seconds.abs_diff(version.mtime.seconds) <= 2
    };
    match now {
        Some(now) if base.version.kind.holds_data() && !is_kept(now) => Standing::Behind,
        _ => Standing::Agrees,
    }
}

fn resolve(work: &mut Work<'_>, path: &RelPath) -> Result<Option<bool>, IndexError> {
    if !work.may_publish() {
        return Err(IndexError::MayNotPublish);
    }
    let (below, dot) = (work.below(path), work.next_dot()?);
    let Some(transaction) = work.row(path)?.heads().resolve(below, dot) else { return Ok(None) };
    work.mint(transaction).map(Some)
}
