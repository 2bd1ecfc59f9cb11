//! Pausing, going on, looking at everything, and reading the configuration again.

use std::sync::Arc;
use std::time::Duration;

use shoal_engine::io::Command;
use shoal_engine::status::{Halt, Phase, Rescans, Status};
use shoal_proto::id::ShareId;
use shoal_proto::roster::{Described, Entry, Statement};

use super::super::opening::refused;
use super::super::{Core, Opened};
use super::status::why;
use crate::config::Config;
use crate::control::report::{Happening, Reloaded, Rescanned};
use crate::control::types::{Code, Failure, Rescan};

impl Core {
    pub(super) fn pause(&self, share: ShareId) -> Result<(), Failure> {
        self.is_paused(share, true)
    }

    pub(super) fn resume(&self, share: ShareId) -> Result<(), Failure> {
        self.is_paused(share, false)
    }

    /// Remembered first: a crash must not let a share go on that a person has paused.
    fn is_paused(&self, share: ShareId, is_paused: bool) -> Result<(), Failure> {
        self.registered(&share)?;
        self.registry()
            .change(&share, |registered| registered.is_paused = is_paused)
            .map_err(|error| refused(&error))?;
        self.is_open(share)?;
        self.shell.command(share, if is_paused { Command::Pause } else { Command::Resume });
        Ok(())
    }

    /// Looks at everything; comes back when what was found is noted, if that is waited for.
    pub(super) async fn rescan(self: &Arc<Self>, wish: Rescan) -> Result<Rescanned, Failure> {
        let share = wish.share.0;
        if wish.wait {
            return Ok(self.looked(share, Duration::MAX).await?.unwrap_or_default());
        }
        self.is_open(share)?;
        self.shell.command(share, Command::Rescan);
        Ok(Rescanned::default())
    }

    /// Looks at everything; `None`: it took longer than this, and goes on.
    pub(super) async fn looked(
        self: &Arc<Self>,
        share: ShareId,
        at_most: Duration,
    ) -> Result<Option<Rescanned>, Failure> {
        self.is_open(share)?;
        self.shell.command(share, Command::Rescan);
        let mut asked = None;
        let looked = |status: &Status| {
            let Rescans { asked: all, done, last } = status.rescans;
            // Those that were asked for since are answered by the same look, or by a later one.
            if done >= *asked.get_or_insert(all) {
                return match &status.trouble {
                    None => Ok(Some(Rescanned { is_done: true, looked: last.paths, changed: last.changed })),
                    Some(_) => Err(not_looked(why(status))),
                };
            }
            match status.phase {
                // What others have deleted waits; the folder is looked at all the same.
                Phase::Halted(Halt::MassDeletion { .. }) => Ok(None),
                Phase::Halted(_) | Phase::Paused => Err(not_looked(why(status))),
                _ => Ok(None),
            }
        };
        self.until(share, at_most, looked).await
    }

    pub(super) fn reload(&self) -> Result<Reloaded, Failure> {
        let loaded = Config::load(self.held.home().config_file())
            .map_err(|error| Failure::new(Code::Config, error.to_string()))?;
        for warning in loaded.warnings {
            self.diary.note(None, Happening::Warning { message: warning });
        }
        let before = self.config();
        let changes = before.changes(&loaded.config);
        let now = before.reloaded(&loaded.config);
        *self.config.write().unwrap_or_else(std::sync::PoisonError::into_inner) = now.clone();
        if before.history != now.history {
            self.at_work()
                .into_iter()
                .for_each(|share| self.shell.command(share, Command::Retain(now.history)));
        }
        if before.name != now.name {
            self.at_work().into_iter().for_each(|share| self.says_its_name(share));
        }
        self.to_meet.notify_one();
        self.diary.note(None, Happening::Reloaded);
        Ok(changes)
    }

    /// The shares that are open.
    pub(super) fn at_work(&self) -> Vec<ShareId> {
        let is_open = |opened: &Opened| matches!(opened, Opened::Open { .. });
        self.shares().iter().filter(|(_, opened)| is_open(opened)).map(|(share, _)| *share).collect()
    }

    /// Tells the members of a share what this device is called, if they know it by another name.
    pub(in super::super) fn says_its_name(&self, share: ShareId) {
        let (device, described) = (self.device(), self.described());
        let name = described.name.clone();
        let found = self.look(share, move |index| {
            let roster = index.roster();
            let is_known = roster.role(&device).is_none() || roster.name(&device) == Some(&name);
            (!is_known).then(|| roster.last_entry(&device))
        });
        if let Ok(Some(after)) = found
            && let Err(failure) = self.signs(share, after, described)
        {
            self.warn(share, format!("this device's name cannot be told: {failure}"));
        }
    }

    fn signs(
        &self,
        share: ShareId,
        after: Option<shoal_proto::roster::EntryPlace>,
        described: Described,
    ) -> Result<(), Failure> {
        let entry = Entry::sign(&self.key, &share, after, Statement::Device(described));
        self.enter(share, vec![entry.map_err(|error| refused(&error))?])
    }
}

/// A folder that cannot be looked through, or is not while the share stands still.
fn not_looked(why: Option<String>) -> Failure {
    let why = why.unwrap_or_else(|| "the share is paused".to_owned());
    Failure::new(Code::NotNow, format!("not everything was looked at: {why}"))
        .with_hint("`shoal status` says how the share stands; `shoal resume` lets it go on")
}
