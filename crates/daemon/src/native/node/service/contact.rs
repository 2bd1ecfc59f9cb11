//! What the first meeting of a share has found, and what a person decides about it.
//!
//! Promise: who comes in with files that differ from the share's is asked before anything is published or changed, unless
//! only a few do, or it was said before. Until then the engine waits; over a restart, too.

use std::sync::Arc;

use shoal_engine::io::{Command, Differing};
use shoal_engine::status as engine;
use shoal_index::{Index, IndexError};
use shoal_proto::here::Triple;
use shoal_proto::id::ShareId;

use super::super::opening::refused;
use super::super::{Core, lock};
use crate::control::report::Question;
use crate::control::types::{Choice, Code, Done, Failure, Response};
use crate::registry::Registered;

/// If no more files differ, both versions of each are kept without asking: people see them one by one.
const DIFFER_UNASKED: u64 = 20;

/// So many rows are looked at in one go.
const PAGE: usize = 1000;

/// Whether the engine is to wait for a person, or for [`Core::meets`], once it has met the first member.
pub(in super::super) fn asks_first(registered: &Registered) -> bool {
    registered.invited_by.is_some() && matches!(registered.choice, None | Some(Choice::Stop))
}

impl Core {
    /// What a person is asked of a share.
    pub(super) fn question(&self, share: ShareId, status: &engine::Status) -> Option<Question> {
        match &status.phase {
            engine::Phase::Halted(halt) => Question::of(halt),
            engine::Phase::FirstContact if status.is_asking => lock(&self.questions).get(&share).copied(),
            _ => None,
        }
    }

    /// Looks at what a share has found at first contact, once there is something to be decided.
    pub(super) fn meets(&self, registered: &Registered) {
        let share = registered.share;
        let Some((status, _)) = self.shell.status(share) else { return };
        if status.phase == engine::Phase::Live && !status.is_busy {
            self.has_met(registered);
        }
        if !status.is_asking || lock(&self.questions).contains_key(&share) {
            return;
        }
        match self.read(share, |index| compare(index)) {
            Ok(found) if found.differ <= DIFFER_UNASKED => {
                self.shell.command(share, Command::Meet(Differing::Both));
            }
            Ok(found) => self.asks(registered, found),
            Err(failure) => self.warn(share, format!("what differs cannot be found out: {failure}")),
        }
    }

    fn asks(&self, registered: &Registered, found: Found) {
        let Found { equal, differ, only_here } = found;
        let question = Question::FirstContact { equal, differ, only_here };
        lock(&self.questions).insert(registered.share, question);
    }

    /// What was decided counts once: should the index be lost one day, what this device has by then is no less the share's.
    fn has_met(&self, registered: &Registered) {
        lock(&self.questions).remove(&registered.share);
        if registered.invited_by.is_some() && registered.choice != Some(Choice::Both) {
            let noted = self.registry().change(&registered.share, |share| share.choice = Some(Choice::Both));
            if let Err(error) = noted {
                tracing::warn!("that a share has met its members cannot be noted: {error}");
            }
        }
    }

    /// Those of which it was said that they are to be left if this is asked.
    pub(super) fn to_leave(&self) -> Vec<ShareId> {
        let registry = self.registry();
        let is_asked = |registered: &&Registered| {
            registered.choice == Some(Choice::Stop) && lock(&self.questions).contains_key(&registered.share)
        };
        registry.iter().filter(is_asked).map(|registered| registered.share).collect()
    }

    pub(super) async fn decide(
        self: &Arc<Self>,
        share: ShareId,
        choice: Choice,
    ) -> Result<Response, Failure> {
        self.registered(&share)?;
        if !lock(&self.questions).contains_key(&share) {
            return Err(Failure::new(Code::NotNow, "this share asks nothing, or not yet")
                .with_hint("`shoal status` says how it stands"));
        }
        let differing = match choice {
            Choice::Stop => return self.leave(share).await.map(|_| Response::Done(Done {})),
            Choice::Both => Differing::Both,
            Choice::Theirs => Differing::Theirs,
        };
        self.waiting(move |core| {
            let noted = core.registry().change(&share, |registered| registered.choice = Some(choice));
            noted.map_err(|error| refused(&error))?;
            core.shell.command(share, Command::Meet(differing));
            lock(&core.questions).remove(&share);
            Ok(Response::Done(Done {}))
        })
        .await
    }
}

/// How the files here stand to those of the share.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Found {
    equal: u64,
    differ: u64,
    only_here: u64,
}

fn compare(index: &Index) -> Result<Found, IndexError> {
    let mut found = Found::default();
    let mut after = None;
    loop {
        let page = index.paths_below(None, after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.path.clone());
        page.iter().for_each(|row| found.count(row));
    }
}

impl Found {
    fn count(&mut self, row: &Triple) {
        let Some(here) = row.here.as_ref().map(|here| &here.version.kind).filter(|kind| kind.holds_data())
        else {
            return;
        };
        match row.heads.winner().map(|winner| &winner.version.kind) {
            Some(kind) if kind.is_same(here) => self.equal += 1,
            Some(kind) if !kind.is_gone() => self.differ += 1,
            // Just what others have deleted goes here, too.
            Some(_) if row.heads.adopt(here).is_some() => {}
            Some(_) | None => self.only_here += 1,
        }
    }
}
