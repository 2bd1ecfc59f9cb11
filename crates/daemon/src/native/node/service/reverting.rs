//! What a person has changed on a device that only reads, and takes back.
//!
//! Promise: all is looked at before anything is said or done, so that no change is passed over; what is taken back is what
//! was found then, and, if a list was shown, what stood on it. The engine does it, and it goes on when nobody waits for it
//! any more; nobody waits where nothing more comes of it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use shoal_engine::io::{Command, GivenUp, given_up};
use shoal_engine::limits::REVERTS_MAX;
use shoal_engine::planner::{Deed, Rights, decide};
use shoal_engine::status::{Cause, Halt, Phase, Status};
use shoal_index::{Index, IndexError};
use shoal_proto::heads::Shown;
use shoal_proto::here::Triple;
use shoal_proto::id::ShareId;
use shoal_proto::path::RelPath;
use tokio::time::Instant;

use super::super::Core;
use super::history::RESTORING;
use super::status::why;
use crate::control::report::{Changed, Difference, Problem, Reverted, Role};
use crate::control::types::{Code, Failure, Revert};

/// So many changes are taken back at once.
const AT_MOST: usize = 10_000;

impl Core {
    pub(super) async fn revert(self: &Arc<Self>, wish: Revert) -> Result<Reverted, Failure> {
        let began = Instant::now();
        let at_most = wish.milliseconds.map_or(RESTORING, Duration::from_millis);
        let share = wish.share.0;
        self.registered(&share)?;
        self.waiting(move |core| core.only_reads(share)).await?;
        if self.looked(share, at_most).await?.is_none() {
            let text = "the time was over before everything was looked at; nothing was taken back";
            return Err(Failure::new(Code::NotNow, text).with_hint("give it more time: `--timeout`"));
        }
        let standing = self.waiting(move |core| Ok(core.shell.status(share))).await?;
        let (standing, _) = standing.ok_or_else(|| Failure::no_share(&share))?;
        let room = room(&standing)?;
        let at = wish.path.map(|path| path.0);
        let look = move |index: &mut Index| index.local_differences(at.as_ref(), room);
        let (rows, more) = self.waiting(move |core| core.read(share, look)).await?;
        let changes: Vec<Difference> = rows.iter().map(Difference::from).collect();
        let given_up = given_up(rows);
        let hash = hash_of(&given_up);
        if wish.hash.is_some_and(|listed| listed != hash) {
            let text = "what is changed here is not what was listed any more; nothing was taken back";
            return Err(Failure::new(Code::NotNow, text).with_hint("look again, and say it again"));
        }
        let found = Reverted { changes, more, hash, left: Vec::new(), why: None };
        if wish.dry_run || found.changes.is_empty() {
            return Ok(found);
        }
        self.shell.command(share, Command::Revert(given_up.clone()));
        let mut last = standing;
        let is_over = |status: &Status| {
            last = status.clone();
            Ok(is_over(status, &given_up).then_some(()))
        };
        self.until(share, at_most.saturating_sub(began.elapsed()), is_over).await?;
        let left = self
            .waiting(move |core| core.read(share, move |index| still_differ(index, given_up.into_keys())))
            .await?;
        let problem = |path: &RelPath| {
            let cause = last.problems.get(path).unwrap_or(&Cause::LocalDifference);
            Problem::from((path, cause))
        };
        let why = stands_still(&last).filter(|_| !left.is_empty());
        Ok(Reverted { left: left.iter().map(problem).collect(), why, ..found })
    }

    /// Whether there can be anything to take back.
    fn only_reads(&self, share: ShareId) -> Result<(), Failure> {
        self.is_open(share)?;
        match self.role(share) {
            Some(Role::Reader) => Ok(()),
            Some(_) => {
                let text = "what this device changes, the others get: nothing is changed here alone";
                let hint = "`shoal undo` brings back what others have replaced or deleted";
                Err(Failure::new(Code::NotAllowed, text).with_hint(hint))
            }
            None if self.is_out(share) => {
                let text = "this device is no member of the share: nothing comes to stand here any more";
                Err(Failure::new(Code::NotAllowed, text).with_hint("`shoal status` says what there is to do"))
            }
            None => Err(has_met_nobody()),
        }
    }
}

/// So many changes can be taken back now.
fn room(status: &Status) -> Result<usize, Failure> {
    match status.phase {
        // What can be is taken back, whatever is held back.
        Phase::Live | Phase::Halted(Halt::MassDeletion { .. }) => {}
        Phase::FirstContact => return Err(has_met_nobody()),
        _ => {
            let why = stands_still(status).unwrap_or_else(|| "the share is not at work yet".to_owned());
            return Err(Failure::new(Code::NotNow, format!("nothing can be taken back now: {why}"))
                .with_hint("`shoal status` says how the share stands"));
        }
    }
    match REVERTS_MAX.saturating_sub(status.reverts) {
        0 => {
            let text =
                format!("{} changes that were taken back wait for their bytes already", status.reverts);
            Err(Failure::new(Code::NotNow, text).with_hint("`shoal status` says what they wait for"))
        }
        room => Ok(room.min(AT_MOST)),
    }
}

fn has_met_nobody() -> Failure {
    let text = "this device has not met a member yet, and does not know what the share has";
    Failure::new(Code::NotNow, text).with_hint("`shoal status` says who is connected")
}

/// Why nothing goes on in the share.
fn stands_still(status: &Status) -> Option<String> {
    match status.phase {
        Phase::Paused => Some("the share is paused".to_owned()),
        Phase::Halted(_) => why(status),
        _ => None,
    }
}

/// Whether nothing more becomes of what was given up unless a person does something.
fn is_over(status: &Status, given_up: &GivenUp) -> bool {
    // What waits for its bytes gets them once somebody comes who has them.
    let is_stuck = |cause: &Cause| {
        matches!(
            cause,
            Cause::NoSpace
                | Cause::Skipped(_)
                | Cause::Ignored
                | Cause::Unreadable(_)
                | Cause::Blocked(_)
                | Cause::NoWay(_)
                | Cause::NotEmpty
        )
    };
    let can_wait = |cause: &Cause| matches!(cause, Cause::Fetching | Cause::NoSource);
    let ours = || {
        let ours = status.problems.iter().filter(|(path, _)| given_up.contains_key(*path));
        ours.map(|(_, cause)| cause)
    };
    match status.phase {
        _ if status.reverts == 0 => true,
        Phase::Halted(Halt::MassDeletion { .. }) => !status.is_busy && !ours().any(can_wait),
        Phase::Halted(_) | Phase::Paused => true,
        _ => {
            // What waits for another path goes the way of that one.
            let is_held = |cause: &Cause| is_stuck(cause) || *cause == Cause::Waiting;
            !status.is_busy && ours().count() >= status.reverts && ours().any(is_stuck) && ours().all(is_held)
        }
    }
}

/// Those of these paths that are not as the share has them.
fn still_differ(index: &Index, paths: impl Iterator<Item = RelPath>) -> Result<Vec<RelPath>, IndexError> {
    let mut left = Vec::new();
    for path in paths {
        let row = index.triple(&path)?;
        if row.is_some_and(|row| decide(&row, Rights::Reader).disk == Deed::LocalDifference) {
            left.push(path);
        }
    }
    Ok(left)
}

/// Only who asks the same daemon compares it.
fn hash_of(changes: &GivenUp) -> String {
    let mut hasher = DefaultHasher::new();
    changes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

impl From<&Triple> for Difference {
    fn from(row: &Triple) -> Self {
        let change = match (&row.here, row.heads.shown(row.below)) {
            (None, _) => Changed::Deleted,
            (Some(_), Shown::Nothing) => Changed::Added,
            (Some(_), _) => Changed::Edited,
        };
        Self { path: (&row.path).into(), change, here: row.here.as_ref().map(|here| (&here.version).into()) }
    }
}
