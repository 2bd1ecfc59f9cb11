//! What is said of the share ([`Status`]).

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::hash::RecordHash;
use shoal_proto::holding::Has;
use shoal_proto::id::DeviceId;
use shoal_proto::path::RelPath;

use super::peers::{Held, Peer};
use super::{Share, Stage};
use crate::disk::{StageId, Unknown};
use crate::fetch::Progress;
use crate::limits::PROBLEMS_MAX;
use crate::status::{Cause, Halt, PeerStatus, Phase, Status};

impl Share {
    /// Whether anything is being looked at, planned, fetched from somebody, or written.
    pub(super) fn is_busy(&self) -> bool {
        let is_planning =
            self.may_plan() && (self.planner.is_busy() || self.is_fetching() || self.resolver.is_busy());
        let is_restoring = self.restorer.is_busy();
        !matches!(self.stage, Stage::Running)
            || self.scanner.is_busy(self.now.time)
            || is_planning
            || is_restoring
    }

    /// How the share stands.
    pub(crate) fn status(&self) -> Status {
        // Who is out owes nothing, and is owed nothing.
        let (problems, more_problems) = if self.is_out() { Default::default() } else { self.problems() };
        let mut peers = BTreeMap::new();
        for peer in self.peers.values() {
            let status = self.peer_status(peer);
            peers.entry(peer.device).and_modify(|known| *known = better(*known, status)).or_insert(status);
        }
        Status {
            phase: self.phase(),
            peers,
            problems,
            more_problems,
            is_asking: self.is_asking(),
            trouble: self.scanner.trouble.clone(),
            is_busy: self.is_busy() && !self.is_out(),
            history: self.historian.held(),
            late_edits: self.historian.late_edits().clone(),
            restores: self.restorer.told().cloned().collect(),
            reverts: self.reverter.len(),
            rescans: self.scanner.rescans,
        }
    }

    /// The members that lack the bytes of one of these records.
    pub(crate) fn lacking(&self, records: &[RecordHash]) -> BTreeSet<DeviceId> {
        let lacks = |peer: &&Peer| records.iter().any(|record| peer.holding.has(record) == Has::No);
        self.peers.values().filter(lacks).map(|peer| peer.device).collect()
    }

    /// Why what waits for its bytes waits.
    fn cause(&self, stage: StageId) -> Cause {
        match self.fetch.progress(stage, &Held(&self.peers)) {
            Some(Progress::NoSource) => Cause::NoSource,
            Some(Progress::NoSpace) => Cause::NoSpace,
            Some(Progress::Failed(why)) => Cause::Blocked(why),
            Some(Progress::Looking | Progress::Fetching | Progress::Done) | None => Cause::Fetching,
        }
    }

    /// Whether anything that waits for its bytes is on its way, and not only without anybody who has it.
    fn is_fetching(&self) -> bool {
        let is_moving = |stage| {
            matches!(
                self.fetch.progress(stage, &Held(&self.peers)),
                Some(Progress::Looking | Progress::Fetching | Progress::Done)
            )
        };
        self.goals.iter().any(|(stage, _)| is_moving(*stage))
    }

    fn phase(&self) -> Phase {
        match (&self.stage, &self.planner.held_back) {
            (Stage::Starting, _) => Phase::Starting,
            (Stage::Scanning, _) => Phase::Scanning,
            (Stage::Paused(_), _) => Phase::Paused,
            (Stage::Halted(why), _) => Phase::Halted(why.clone()),
            (Stage::Running, _) if !self.life.as_ref().is_some_and(|life| life.first_contact) => {
                Phase::FirstContact
            }
            (Stage::Running, Some(survey)) => {
                Phase::Halted(Halt::MassDeletion { had: survey.had, lost: survey.lost })
            }
            (Stage::Running, None) => Phase::Live,
        }
    }

    /// Every path that is not as it should be, and why; and how many more there are.
    fn problems(&self) -> (BTreeMap<RelPath, Cause>, u64) {
        let mut problems = BTreeMap::new();
        for (path, why) in &self.scanner.unknown {
            problems.insert(path.clone(), unreadable(why));
        }
        for path in self.scanner.in_flux.keys() {
            problems.insert(path.clone(), Cause::InFlux);
        }
        for path in &self.scanner.suspicious {
            problems.insert(path.clone(), Cause::Suspicious);
        }
        for (path, cause) in &self.planner.problems {
            problems.insert(path.clone(), cause.clone());
        }
        for (stage, planned) in self.goals.iter() {
            problems.insert(planned.change.path.clone(), self.cause(*stage));
        }
        let more = problems.len().saturating_sub(PROBLEMS_MAX);
        for _ in 0..more {
            problems.pop_last();
        }
        (problems, self.planner.more_problems + more as u64)
    }
}

/// Of two connections to one device the better one counts.
fn better(one: PeerStatus, other: PeerStatus) -> PeerStatus {
    let rank = |status: &PeerStatus| match status {
        PeerStatus::InSync => 0,
        PeerStatus::Lacking(_) => 1,
        PeerStatus::NotTold => 2,
        PeerStatus::Comparing => 3,
    };
    if rank(&one) <= rank(&other) { one } else { other }
}

fn unreadable(why: &Unknown) -> Cause {
    match why {
        Unknown::Special => Cause::Skipped("it is no file, folder or link".to_owned()),
        Unknown::OtherFileSystem => Cause::Skipped("it is on another file system".to_owned()),
        Unknown::NoPath(why) => Cause::Skipped(why.clone()),
        Unknown::Unreadable => Cause::Unreadable("this user may not read it".to_owned()),
        Unknown::Failed(why) => Cause::Unreadable(why.clone()),
    }
}
