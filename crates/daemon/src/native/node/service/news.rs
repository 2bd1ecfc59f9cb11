//! What is noted in the diary of what happens to shares.
//!
//! Promise: a node at which nothing happens does nothing here but read a number four times a second; of what lasts a moment
//! only, nothing is told, and of what goes on and on not more than twice a second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use shoal_proto::id::{DeviceId, ShareId};
use tokio::time::{Instant, sleep};

use super::super::Core;
use crate::control::report::{Amount, CauseKind, Happening, Phase, Problem, Question, Role, ShareStatus};
use crate::control::text::{Id, Place};
use crate::registry::Registered;

/// So often it is looked whether anything has happened.
const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// Progress is told no more often.
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);

/// So many paths that are not as they should be are told at once; the status has all.
const PROBLEMS_AT_ONCE: usize = 64;

/// What was told of all shares last.
pub(in super::super) type Told = Option<BTreeMap<ShareId, Known>>;

/// Notes how those stand that are there when the node starts: what comes to be there later is news.
pub(in super::super) async fn first(core: &Arc<Core>) -> Told {
    core.waiting(|core| Ok(core.tell_news(None))).await.ok()
}

/// Notes what has changed, as long as there is a node.
pub(in super::super) async fn attend(core: Weak<Core>, mut known: Told) {
    let mut turns = None;
    loop {
        let Some(strong) = core.upgrade() else { return };
        let now = (strong.shell.turns(), strong.registry().iter().count());
        if turns.replace(now) != Some(now) {
            let taken = known.take();
            known = strong.waiting(move |core| Ok(core.tell_news(taken))).await.ok();
            for share in strong.to_leave() {
                if let Err(failure) = strong.leave(share).await {
                    strong.warn(share, format!("the share cannot be left: {failure}"));
                }
            }
        }
        drop(strong);
        sleep(LOOK_PAUSE).await;
    }
}

/// What was told of a share last.
#[derive(Default)]
pub(in super::super) struct Known {
    phase: Option<Phase>,
    why: Option<String>,
    question: Option<Question>,
    is_in_sync: bool,
    problems: BTreeSet<(Place, CauseKind)>,
    members: Option<BTreeMap<DeviceId, Member>>,
    /// What it held when it was in sync last.
    held: Amount,
    to_go: Amount,
    progress: Option<Instant>,
}

/// A member, as it is told of.
#[derive(Clone, PartialEq)]
struct Member {
    name: Option<String>,
    role: Role,
}

impl Core {
    /// Looks at all shares, and notes what is new.
    fn tell_news(self: &Arc<Self>, known: Option<BTreeMap<ShareId, Known>>) -> BTreeMap<ShareId, Known> {
        let is_first = known.is_none();
        let mut known = known.unwrap_or_default();
        let all: Vec<Registered> = self.registry().iter().cloned().collect();
        known.retain(|share, _| all.iter().any(|registered| registered.share == *share));
        for registered in all {
            let share = registered.share;
            self.meets(&registered);
            let status = self.share_status(&registered);
            let members = self.members(share);
            let told = known.entry(share).or_insert_with(|| {
                // Who founds a share is its first member; who comes into one is told of those who come after.
                let is_founded = !is_first && registered.invited_by.is_none();
                let alone = members.iter().flatten().filter(|(device, _)| **device == self.device());
                let alone = is_founded.then(|| alone.map(|(device, it)| (*device, it.clone())).collect());
                Known { members: alone, ..Known::default() }
            });
            for happening in told.news(&status, members) {
                self.diary.note(Some(share), happening);
            }
        }
        known
    }

    fn members(&self, share: ShareId) -> Option<BTreeMap<DeviceId, Member>> {
        let member = |member: shoal_proto::roster::Member<'_>| {
            let name = member.name.map(|name| name.as_str().to_owned());
            (member.device, Member { name, role: member.role.into() })
        };
        self.shell.with_index(share, move |index| index.roster().members().map(member).collect())
    }
}

impl Known {
    /// What is to be told of how the share stands now.
    fn news(&mut self, status: &ShareStatus, members: Option<BTreeMap<DeviceId, Member>>) -> Vec<Happening> {
        let mut news = Vec::new();
        self.tell_members(members, &mut news);
        self.tell_phase(status, &mut news);
        self.tell_problems(&status.problems, &mut news);
        if status.is_in_sync || self.held == Amount::default() {
            self.held = status.holds;
        }
        self.tell_progress(status, &mut news);
        if status.is_in_sync != std::mem::replace(&mut self.is_in_sync, status.is_in_sync) {
            news.push(if status.is_in_sync { Happening::InSync } else { Happening::OutOfSync });
        }
        news
    }

    fn tell_phase(&mut self, status: &ShareStatus, news: &mut Vec<Happening>) {
        let (phase, why) = (status.phase, status.why.clone());
        if (self.phase, &self.why) != (Some(phase), &why) {
            news.push(Happening::Phase { phase, why: why.clone() });
            if phase == Phase::Removed && self.phase.is_some_and(|before| before != phase) {
                news.push(Happening::Left);
            }
            (self.phase, self.why) = (Some(phase), why);
        }
        if self.question != status.question {
            news.extend(status.question.map(|question| Happening::Asked { question }));
            self.question = status.question;
        }
    }

    /// Of what passes by itself only the status tells.
    fn tell_problems(&mut self, problems: &[Problem], news: &mut Vec<Happening>) {
        use CauseKind::{Conflict, Fetching, InFlux, Unpublished, Waiting};
        let lasts = |problem: &&Problem| {
            !matches!(problem.cause.cause, Fetching | Waiting | Unpublished | InFlux | Conflict)
        };
        let key = |problem: &Problem| (problem.path.clone(), problem.cause.cause);
        let now: BTreeSet<(Place, CauseKind)> = problems.iter().filter(lasts).map(key).collect();
        let new = problems.iter().filter(lasts).filter(|problem| !self.problems.contains(&key(problem)));
        news.extend(
            new.take(PROBLEMS_AT_ONCE).map(|problem| Happening::Problem { problem: problem.clone() }),
        );
        self.problems = now;
    }

    fn tell_members(&mut self, members: Option<BTreeMap<DeviceId, Member>>, news: &mut Vec<Happening>) {
        let Some(members) = members else { return };
        // A roster that was empty was not known yet: whoever belongs to it has not come in just now.
        if let Some(before) = self.members.as_ref().filter(|before| !before.is_empty()) {
            let new = members.iter().filter(|(device, _)| !before.contains_key(device));
            news.extend(new.map(|(device, member)| Happening::Joined {
                device: Id(*device),
                name: member.name.clone(),
                role: member.role,
            }));
            let gone = before.iter().filter(|(device, _)| !members.contains_key(device));
            news.extend(
                gone.map(|(device, member)| Happening::Gone {
                    device: Id(*device),
                    name: member.name.clone(),
                }),
            );
        }
        self.members = Some(members);
    }

    fn tell_progress(&mut self, status: &ShareStatus, news: &mut Vec<Happening>) {
        let to_go = status.to_go;
        let is_due = self.progress.is_none_or(|told| told.elapsed() >= PROGRESS_PAUSE);
        if to_go == self.to_go || !is_due || status.is_in_sync {
            return;
        }
        (self.to_go, self.progress) = (to_go, Some(Instant::now()));
        let came = Amount {
            files: status.holds.files.saturating_sub(self.held.files),
            bytes: status.holds.bytes.saturating_sub(self.held.bytes),
        };
        let bytes_in_per_second = status.bytes_in_per_second;
        news.push(Happening::Progress { to_go, came, bytes_in_per_second });
    }
}
