//! What a scan found, and what it becomes: a publication, an adopted head, or a local difference.
//!
//! Promise: nothing is noted about a path that changed since it was compared; what differs from base is published under
//! the next dot by a device that may, in the same transaction, and by no other (I26). What is published of one call is
//! published together; both ends of a move stay together. Lists of segments come in with what consists of them. Begin at
//! [`Index::observe`].

use shoal_engine::index::{List, Observed, Outcome};
use shoal_proto::batch::Batch;
use shoal_proto::hash::ContentId;
use shoal_proto::heads::{Base, Below, Shown};
use shoal_proto::here::{Here, Standing};
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Mode, Record, Version};

use crate::error::IndexError;
use crate::intents::{self, Done};
use crate::place;
use crate::row::Row;
use crate::segments;
use crate::store::Index;
use crate::work::Work;

/// What an observation was answered with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ObserveAnswer {
    /// One for each observation, in their order.
    pub outcomes: Vec<Outcome>,
    /// What was published, to be pushed: whole publications in the order of the writer's chain.
    pub batches: Vec<Batch>,
}

impl Index {
    /// Takes in what a scan found, and the lists of segments of what is large among it. What it says must be durable on
    /// the disk.
    ///
    /// # Errors
    /// When a list is not its content's, or the database refuses; nothing is noted then.
    pub fn observe(
        &mut self,
        observed: Vec<Observed>,
        lists: &[(ContentId, List)],
    ) -> Result<ObserveAnswer, IndexError> {
        let (outcomes, done) = self.job(|work| {
            for (content, list) in lists {
                segments::put(work, content, list)?;
            }
            observed.into_iter().map(|one| observe(work, one)).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(ObserveAnswer { outcomes, batches: done.batches })
    }
}

fn observe(work: &mut Work<'_>, observed: Observed) -> Result<Outcome, IndexError> {
    let Observed { path, compared, found } = observed;
    let may_publish = work.may_publish();
    // Only a folder can be implied, and asking takes a hash.
    let is_folder = found.as_ref().is_some_and(|found| found.version.kind == Kind::Directory);
    let below = if is_folder { work.below(&path) } else { Below::Nothing };
    let row = work.row(&path)?;
    if row.here != compared {
        return Ok(Outcome::Changed);
    }
    match intents::take(work, &path, found.as_ref()) {
        Some(Done::All(intended))
            if place::is_placed(work, &path, found.as_ref(), intended.as_ref(), below)? =>
        {
            return Ok(Outcome::Adopted);
        }
        // As its user's deletion it would be the end of the file: nobody would make a conflict copy of it (I3).
        Some(Done::RoomForFolder) if compared.as_ref().is_some_and(is_no_folder) => {
            show_room(work.row(&path)?);
            return Ok(Outcome::Adopted);
        }
        _ => {}
    }
    let row = work.row(&path)?;
    if stands_over_data(row) && row.here != found {
        // What its user does with that folder is not done to the file in whose place it is: nobody has seen that go (I3).
        if found.is_none() {
            show_room(row);
            return Ok(Outcome::Silent);
        }
        let here = row.here.clone();
        row.show(here, None, Standing::Differs);
    }
    let is_same = match (&row.here, &found) {
        (Some(here), Some(found)) => here.version == found.version,
        (None, None) => true,
        _ => false,
    };
    // A deletion that could not be said when it was found is like any other local difference.
    let has_base = row.base.as_ref().is_some_and(|base| !base.version.kind.is_gone());
    let is_untouched = row.here.is_none() && !has_base;
    if is_same && (row.standing != Standing::Differs || is_untouched) {
        let (base, standing) = (row.base.clone(), row.standing);
        row.show(found, base, standing);
        return Ok(Outcome::Unchanged);
    }
    let Some(version) = version_of(row, found.as_ref()) else {
        return Ok(settle(row, found, is_same));
    };
    if is_implied(row, &version, below) {
        let base = row.base.clone();
        row.show(found, base, Standing::Agrees);
        return Ok(Outcome::Silent);
    }
    if let (None, Some(here)) = (&row.base, &found)
        && let Some(base) = row.heads().adopt(&here.version.kind)
    {
        return Ok(adopt(row, here.clone(), base));
    }
    // Only a process that ended between putting it there and noting it leaves what wins here to the last detail. As this
    // device's own version it would come back from a deletion by somebody who saw the winner alone (I6).
    if let Some(head) = shown_head(row, found.as_ref()) {
        row.show_head(found, &head);
        return Ok(Outcome::Adopted);
    }
    if !may_publish {
        let base = row.base.clone();
        row.show(found, base, Standing::Differs);
        return Ok(if is_same { Outcome::Unchanged } else { Outcome::LocalDifference });
    }
    publish(work, &path, found, version)
}

/// Nothing is there, and the file that was there is not deleted: a folder is to be made in its place.
fn show_room(row: &mut Row) {
    let base = row.base.clone();
    row.show(None, base, Standing::Agrees);
}

/// Whether a folder was made for what lies below, in the place of a file or link that the disk had agreed with.
fn stands_over_data(row: &Row) -> bool {
    let is_folder = row.here.as_ref().is_some_and(|here| here.version.kind == Kind::Directory);
    is_folder && row.base.as_ref().is_some_and(|base| base.version.kind.holds_data())
}

fn is_no_folder(here: &Here) -> bool {
    here.version.kind != Kind::Directory
}

/// The version that a user made; `None` if it is what base says.
///
/// A time or mode that the disk could not keep exactly is still base's where the user did not touch it.
fn version_of(row: &Row, found: Option<&Here>) -> Option<Version> {
    let base = row.base.as_ref().map(|base| &base.version);
    let Some(found) = found else {
        return base.filter(|base| !base.kind.is_gone()).map(Version::deleted);
    };
    let mut version = found.version.clone();
    if let (Some(base), Some(here), Standing::Agrees) = (base, &row.here, row.standing)
        && base.kind.is_same(&version.kind)
    {
        if version.mtime == here.version.mtime {
            version.mtime = base.mtime;
        }
        if version.mode == here.version.mode {
            version.mode = base.mode;
        }
    }
    (base != Some(&version)).then_some(version)
}

/// What is found is what base says, or nothing where nothing was agreed with.
fn settle(row: &mut Row, found: Option<Here>, is_same: bool) -> Outcome {
    let base = row.base.clone();
    let standing = if base.is_some() { Standing::Agrees } else { Standing::Differs };
    row.show(found, base, standing);
    if is_same { Outcome::Unchanged } else { Outcome::Silent }
}

/// Whether this is a folder that is there for what lies below it alone, as it was made for that.
///
/// A folder that is found before anybody has said anything of it was made by the user, though what lies in it was found
/// first: without a record of its own its deletion could not be said, and whoever made it for what lies below would
/// take it for a folder of its user's (I6).
fn is_implied(row: &Row, version: &Version, below: Below) -> bool {
    let is_made_here = row.here.is_none() && row.heads().is_empty();
    !is_made_here
        && version.kind == Kind::Directory
        && version.mode == Mode::IMPLIED_DIRECTORY
        && row.heads().shown(below) == Shown::ImpliedDirectory
        && row.heads().winner().is_none_or(|winner| winner.version.kind.is_gone())
}

/// The head that wins, where what is found is it in everything: bytes, time and mode.
fn shown_head(row: &Row, found: Option<&Here>) -> Option<Record> {
    let winner = row.heads().winner()?;
    (found?.version == winner.version).then(|| winner.clone())
}

fn adopt(row: &mut Row, here: Here, base: Base) -> Outcome {
    if base.version.kind.is_gone() {
        // No base: what the user does with it before it is filed away is still compared with the deletion.
        row.show(Some(here), None, Standing::Differs);
        return Outcome::AdoptedDeletion;
    }
    let standing = if here.version == base.version { Standing::Agrees } else { Standing::Behind };
    row.show(Some(here), Some(base), standing);
    Outcome::Adopted
}

fn publish(
    work: &mut Work<'_>,
    path: &RelPath,
    found: Option<Here>,
    version: Version,
) -> Result<Outcome, IndexError> {
    let dot = work.next_dot()?;
    let row = work.row(path)?;
    let Some(transaction) = row.heads().edit(path, row.base.as_ref(), version, dot) else {
        // The bytes are base's, and base was replaced: the disk is to show by what.
        let base = row.base.clone();
        row.show(found, base, Standing::Behind);
        return Ok(Outcome::Silent);
    };
    let record = transaction.record.clone();
    if !work.mint(transaction)? {
        let row = work.row(path)?;
        let base = row.base.clone();
        row.show(found, base, Standing::Differs);
        return Ok(Outcome::LocalDifference);
    }
    work.row(path)?.show_head(found, &record);
    Ok(Outcome::Published)
}
