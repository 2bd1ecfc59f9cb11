//! What was displaced, and how it comes back.

use std::sync::Arc;
use std::time::Duration;

use shoal_engine::history::{self as kept, Listing};
use shoal_engine::io::Command;
use shoal_engine::status::Status;
use shoal_proto::id::ShareId;

use super::super::Core;
use crate::control::report::{History, Kept, Refused, Restored, Undone};
use crate::control::types::{Code, Failure, ListHistory, Restore, Undo};
use crate::control::undo::Choosing;

/// So many versions come at once.
const AT_MOST: usize = 1000;

/// So long is waited for a version to stand in the folder, unless it was said how long.
pub(super) const RESTORING: Duration = Duration::from_secs(5);

impl Core {
    pub(super) fn history(&self, asked: &ListHistory) -> Result<History, Failure> {
        self.registered(&asked.share.0)?;
        let at_most = usize::try_from(asked.at_most).unwrap_or(AT_MOST).clamp(1, AT_MOST);
        let path = asked.path.as_ref().map(|path| path.0.clone());
        let mut versions = self.page(asked.share.0, path, asked.before, at_most + 1)?;
        let more = versions.len() > at_most;
        versions.truncate(at_most);
        Ok(History { versions, more })
    }

    fn page(
        &self,
        share: ShareId,
        at: Option<shoal_proto::path::RelPath>,
        before: Option<u64>,
        at_most: usize,
    ) -> Result<Vec<Kept>, Failure> {
        let listing = Listing { at, before, at_most };
        let found = self.read(share, move |index| index.history(&listing))?;
        Ok(found.iter().map(Into::into).collect())
    }

    pub(super) async fn restore(self: &Arc<Self>, wish: Restore) -> Result<Restored, Failure> {
        let share = wish.share.0;
        self.registered(&share)?;
        let number = wish.number;
        let found = self.waiting(move |core| core.read(share, move |index| index.kept(number))).await?;
        if found.is_none() {
            let text = format!("there is no version {number} in the history");
            return Err(Failure::new(Code::NotFound, text).with_hint("`shoal history` lists what is there"));
        }
        let asked = kept::Restore { number, to: wish.to.map(|to| to.0) };
        let at_most = wish.milliseconds.map_or(RESTORING, Duration::from_millis);
        Ok(self.brought_back(share, vec![asked], at_most).await?.pop().unwrap_or(Restored::Waiting {}))
    }

    pub(super) async fn undo(self: &Arc<Self>, wish: Undo) -> Result<Undone, Failure> {
        let share = wish.share.0;
        self.registered(&share)?;
        if self.waiting(move |core| core.is_reader(share)).await? {
            let text = "this device only reads: what it brings back nobody else would get";
            let hint = "`shoal restore` brings a version back for this device alone";
            return Err(Failure::new(Code::NotAllowed, text).with_hint(hint));
        }
        let asked = wish.clone();
        let mut undone = self.waiting(move |core| core.to_undo(&asked)).await?;
        if wish.dry_run || undone.versions.is_empty() {
            return Ok(undone);
        }
        let restore = |version: &Kept| kept::Restore { number: version.number, to: None };
        let restores = undone.versions.iter().map(restore).collect();
        let outcomes = self.brought_back(share, restores, RESTORING).await?;
        let mut coming = Vec::new();
        for (version, outcome) in undone.versions.into_iter().zip(outcomes) {
            match outcome {
                Restored::Refused { why } => {
                    undone.refused.push(Refused { number: version.number, path: version.path, why });
                }
                Restored::Waiting {} | Restored::Done { .. } => coming.push(version),
            }
        }
        undone.versions = coming;
        Ok(undone)
    }

    fn to_undo(&self, wish: &Undo) -> Result<Undone, Failure> {
        let mut choosing = Choosing::new(wish, self.device());
        let path = wish.path.as_ref().map(|path| path.0.clone());
        let mut before = None;
        loop {
            let page = self.page(wish.share.0, path.clone(), before, AT_MOST)?;
            before = page.iter().map(|version| version.number).min();
            if before.is_none() || !choosing.look(page) {
                return Ok(choosing.chosen());
            }
        }
    }

    /// Has versions put back, and waits for a while for what becomes of each.
    async fn brought_back(
        self: &Arc<Self>,
        share: ShareId,
        restores: Vec<kept::Restore>,
        at_most: Duration,
    ) -> Result<Vec<Restored>, Failure> {
        self.is_open(share)?;
        // What became of the same wish before is told for a while, too: those that are told now are passed over.
        let before = self.told(share).await?;
        for restore in &restores {
            self.shell.command(share, Command::Restore(restore.clone()));
        }
        let mut outcomes = Vec::new();
        let are_over = |status: &Status| {
            let became = |restore| outcome(restore, &before, &status.restores);
            outcomes = restores.iter().map(became).collect();
            Ok((!outcomes.contains(&Restored::Waiting {})).then_some(()))
        };
        self.until(share, at_most, are_over).await?;
        Ok(outcomes)
    }

    async fn told(self: &Arc<Self>, share: ShareId) -> Result<Vec<(kept::Restore, kept::Restored)>, Failure> {
        let status = self.waiting(move |core| Ok(core.shell.status(share))).await?;
        status.map(|(status, _)| status.restores).ok_or_else(|| Failure::no_share(&share))
    }
}

/// What has become of a wish, by what is told now and was not before.
fn outcome(
    restore: &kept::Restore,
    before: &[(kept::Restore, kept::Restored)],
    told: &[(kept::Restore, kept::Restored)],
) -> Restored {
    let of_it = |told: &&(kept::Restore, kept::Restored)| told.0 == *restore;
    let known = before.iter().filter(of_it).count();
    let news =
        told.iter().filter(of_it).nth(known).or_else(|| told.iter().rfind(of_it).filter(|_| known == 0));
    news.map_or(Restored::Waiting {}, |(_, restored)| restored.into())
}
