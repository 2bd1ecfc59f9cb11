//! What a person has changed on a device that only reads, and takes back.
//!
//! Promise: all is looked at before anything is said or done, so that no change is passed over; what is taken back is what
//! was found then. The engine does it, and it goes on when nobody waits for it any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shoal_engine::io::{Command, given_up};
use shoal_engine::status;
use shoal_index::Index;
use shoal_proto::heads::Shown;
use shoal_proto::here::Triple;
use shoal_proto::id::ShareId;
use shoal_proto::path::RelPath;

use super::super::Core;
use super::history::RESTORING;
use crate::control::report::{Changed, Difference, Problem, Reverted};
use crate::control::types::{Code, Failure, Rescan, Revert};

/// So many changes are taken back at once.
const AT_MOST: usize = 10_000;

impl Core {
    pub(super) async fn revert(self: &Arc<Self>, wish: Revert) -> Result<Reverted, Failure> {
        let share = wish.share.0;
        self.registered(&share)?;
        if !self.waiting(move |core| core.is_reader(share)).await? {
            let text = "what this device changes, the others get: nothing is changed here alone";
            let hint = "`shoal undo` brings back what others have replaced or deleted";
            return Err(Failure::new(Code::NotAllowed, text).with_hint(hint));
        }
        self.rescan(Rescan { share: wish.share, wait: true }).await?;
        let at = wish.path.map(|path| path.0);
        let (rows, more) = self.differences(share, at.clone()).await?;
        let changes: Vec<Difference> = rows.iter().map(Difference::from).collect();
        if wish.dry_run || changes.is_empty() {
            return Ok(Reverted { changes, more, left: Vec::new() });
        }
        let paths: BTreeSet<RelPath> = rows.iter().map(|row| row.path.clone()).collect();
        self.shell.command(share, Command::Revert(given_up(rows)));
        let mut problems = None;
        let are_over = |status: &status::Status| {
            problems = Some(status.problems.clone());
            Ok((status.reverts == 0).then_some(()))
        };
        let at_most = wish.milliseconds.map_or(RESTORING, Duration::from_millis);
        self.until(share, at_most, are_over).await?;
        let problems = problems.unwrap_or_default();
        let (left, _) = self.differences(share, at).await?;
        let left = left.into_iter().map(|row| row.path);
        let problem = |path: RelPath| {
            let cause = problems.get(&path).unwrap_or(&status::Cause::LocalDifference);
            Problem::from((&path, cause))
        };
        let left = left.filter(|path| paths.contains(path)).map(problem).collect();
        Ok(Reverted { changes, more, left })
    }

    async fn differences(
        self: &Arc<Self>,
        share: ShareId,
        at: Option<RelPath>,
    ) -> Result<(Vec<Triple>, u64), Failure> {
        let look = move |index: &mut Index| index.local_differences(at.as_ref(), AT_MOST);
        self.waiting(move |core| core.read(share, look)).await
    }
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
