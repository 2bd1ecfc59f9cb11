//! How everything stands.
//!
//! Promise: what is told of a share was so at one moment; "in sync" is the engine's word and nobody else's (I31).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use shoal_engine::status as engine;
use shoal_index::Counts;
use shoal_proto::id::{DeviceId, ShareId};
use tokio::time::{Instant, sleep};

use super::super::{AGENT, Core, Opened, lock};
use crate::control::report::{
    Amount, Listed, Named, Peer, Phase, Role, ShareStatus, Status, TrackerStatus, Waited, WatchStatus,
};
use crate::control::text::{Directory, Escaped, Id};
use crate::control::types::{Failure, GetStatus, Wait};
use crate::private::shown;
use crate::registry::Registered;

/// So often who waits looks whether anything has happened.
const LOOK_PAUSE: Duration = Duration::from_millis(25);

/// A share as it is listed.
pub(super) fn known_as(registered: &Registered, role: Option<Role>) -> Listed {
    Listed {
        share: Id(registered.share),
        name: registered.name.clone(),
        directory: Directory(registered.directory.clone()),
        role,
        is_paused: registered.is_paused,
    }
}

/// What the index says for a status.
struct Known {
    role: Option<Role>,
    counts: Counts,
    members: u32,
    /// What devices call themselves.
    names: BTreeMap<DeviceId, String>,
    /// Who removed this device.
    removed_by: Option<Named>,
    /// What was kept of the roster is lost: it has not even what is in any of this device from the first moment.
    knows_nobody: bool,
}

impl Core {
    pub(super) fn listed(&self) -> Vec<Listed> {
        let all: Vec<Registered> = self.registry().iter().cloned().collect();
        all.iter().map(|registered| known_as(registered, self.role(registered.share))).collect()
    }

    pub(super) fn status(&self, asked: &GetStatus) -> Result<Status, Failure> {
        // What happens while this is being put together comes after it.
        let events = self.diary.position();
        let all: Vec<Registered> = match &asked.share {
            Some(share) => vec![self.registered(&share.0)?],
            None => self.registry().iter().cloned().collect(),
        };
        let shares: Vec<ShareStatus> = all.iter().map(|registered| self.share_status(registered)).collect();
        let is_in_sync = shares.iter().all(|share| share.is_in_sync);
        let trackers = lock(&self.trackers).as_ref().map(super::super::Trackers::states).unwrap_or_default();
        Ok(Status {
            agent: AGENT.to_owned(),
            device: Id(self.device()),
            name: self.config().name.as_str().to_owned(),
            pid: std::process::id(),
            listening: self.listening.clone(),
            trackers: trackers
                .into_iter()
                .map(|state| TrackerStatus {
                    address: state.tracker.to_string(),
                    is_connected: state.connected.is_some(),
                    why: state.problem.filter(|_| state.connected.is_none()),
                })
                .collect(),
            shares,
            is_in_sync,
            events,
        })
    }

    pub(super) fn share_status(&self, registered: &Registered) -> ShareStatus {
        let share = registered.share;
        let failed = match self.shares().get(&share) {
            Some(Opened::Failed(why)) => Some(why.clone()),
            _ => None,
        };
        let found = self.shell.status(share).zip(self.known(share));
        let Some(((status, watch), known)) = found else { return not_open(registered, failed) };
        let peers = status
            .peers
            .iter()
            .map(|(device, state)| Peer {
                device: Id(*device),
                name: known.names.get(device).cloned(),
                address: self.peers.seen(device),
                state: (*state).into(),
            })
            .collect();
        // Who has several shares with this device says not of which a byte is.
        let speeds = status.peers.keys().map(|device| self.peers.speed(device));
        let (inward, outward) = speeds.fold((0, 0), |sum: (u64, u64), one| (sum.0 + one.0, sum.1 + one.1));
        let is_out = matches!(&status.phase, engine::Phase::Halted(halt) if halt.is_out());
        let removed_by = known
            .removed_by
            .filter(|_| matches!(status.phase, engine::Phase::Halted(engine::Halt::Removed { .. })));
        let forgotten = match status.phase {
            engine::Phase::FirstContact => self.has_forgotten(registered, known.knows_nobody),
            _ => None,
        };
        // What the others have is nothing to who is out.
        let to_go = Amount { files: known.counts.to_come, bytes: known.counts.bytes_to_come };
        ShareStatus {
            listed: known_as(registered, known.role),
            phase: (&status.phase).into(),
            is_in_sync: status.is_in_sync(),
            is_busy: status.is_busy,
            why: removed_by.as_ref().map(by_whom).or_else(|| why(&status)).or(forgotten),
            removed_by,
            question: self.question(share, &status),
            holds: Amount { files: known.counts.files, bytes: known.counts.bytes },
            to_go: if is_out { Amount::default() } else { to_go },
            bytes_in_per_second: inward,
            bytes_out_per_second: outward,
            members: known.members,
            peers,
            problems: status.problems.iter().map(Into::into).collect(),
            more_problems: status.more_problems,
            history: status.history.into(),
            late_edits: status.late_edits.iter().map(Into::into).collect(),
            restores: status.restores.iter().map(Into::into).collect(),
            watch: watch.into(),
        }
    }

    fn known(&self, share: ShareId) -> Option<Known> {
        let device = self.device();
        let look = move |index: &mut shoal_index::Index| {
            let roster = index.roster();
            let named = |member: shoal_proto::roster::Member<'_>| {
                Some((member.device, member.name?.as_str().to_owned()))
            };
            let by = roster.removed(&device).map(|removal| removal.by).filter(|by| *by != device);
            let removed_by = by.map(|by| Named {
                device: Id(by),
                name: roster.name(&by).map(|name| name.as_str().to_owned()),
            });
            let role = roster.role(&device);
            // Who founds a share gives it its first secret, and is an admin without a word; others signed that they came in.
            let is_founder = index.life().founding.creator == device;
            let knows_nobody = if is_founder { roster.secrets().is_empty() } else { role.is_none() };
            Known {
                knows_nobody,
                role: role.map(Into::into),
                counts: index.counts(),
                members: u32::try_from(roster.members().count()).unwrap_or(u32::MAX),
                names: roster.members().filter_map(named).collect(),
                removed_by,
            }
        };
        self.shell.with_index(share, look)
    }

    /// What is to be done where the index is gone and no member is met; a founder is in that phase for no other reason. Where
    /// what was kept of the roster is gone, too, it is not known who was removed, so nobody comes in by an invite that has expired.
    fn has_forgotten(&self, registered: &Registered, knows_nobody: bool) -> Option<String> {
        let is_founder = registered.founding.creator == self.device();
        let directory = shown(&registered.directory);
        let alone = format!(
            "the index was lost. If no other device has this share, `shoal share {directory} --alone`"
        );
        if !knows_nobody {
            return is_founder.then_some(alone);
        }
        let file = shown(&self.held.home().roster_file(&registered.share));
        let (lost, way) = match is_founder {
            true => (&*alone, "share the folder anew"),
            false => ("the index was lost", "join by a new invite"),
        };
        Some(format!(
            "{lost}. No member of this share is known here: they are let in while their invites are good, or once others have \
             told of them. If none comes, `shoal stop` and put {file} back from a backup, or `shoal leave` and {way}"
        ))
    }

    /// Comes back when these shares are in sync, those that are not never will be, or the time is over.
    pub(super) async fn wait(self: &Arc<Self>, asked: Wait) -> Result<Waited, Failure> {
        let shares: Vec<ShareId> = match &asked.shares[..] {
            [] => self.registry().iter().map(|registered| registered.share).collect(),
            named => named.iter().map(|share| share.0).collect(),
        };
        for share in &shares {
            self.registered(share)?;
        }
        let end = asked.milliseconds.map(|left| Instant::now() + Duration::from_millis(left));
        let mut turns = None;
        let (mut not_in_sync, mut is_hopeless) = (Vec::new(), false);
        loop {
            // Whether a share is in sync changes by time alone, too, but never without a turn of the engine.
            let now = self.shell.turns();
            if turns.replace(now) != Some(now) {
                let asked = shares.clone();
                (not_in_sync, is_hopeless) = self
                    .waiting(move |core| {
                        let not = core.not_in_sync(&asked);
                        // Where nobody lets this device in, nothing will ever be in sync.
                        let is_hopeless = !not.is_empty() && not.iter().all(|share| core.is_out(share.0));
                        Ok((not, is_hopeless))
                    })
                    .await?;
            }
            let is_over = is_hopeless || end.is_some_and(|end| Instant::now() >= end);
            if not_in_sync.is_empty() || is_over {
                let is_in_sync = not_in_sync.is_empty();
                return Ok(Waited { is_in_sync, not_in_sync });
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    fn not_in_sync(&self, shares: &[ShareId]) -> Vec<Id<ShareId>> {
        let is_in_sync =
            |share: &ShareId| self.shell.status(*share).is_some_and(|(status, _)| status.is_in_sync());
        shares.iter().filter(|share| !is_in_sync(share)).copied().map(Id).collect()
    }
}

/// Why a share stands still, or why its folder could not be looked through.
pub(super) fn why(status: &engine::Status) -> Option<String> {
    let escaped = |text: &str| Escaped(text.as_bytes()).to_string();
    match &status.phase {
        engine::Phase::Halted(halt) => Some(escaped(&halt.to_string())),
        _ => status.trouble.as_deref().map(escaped),
    }
}

/// Who removed this device, in words.
fn by_whom(by: &Named) -> String {
    let id = by.device.0.short();
    let name = by.name.as_ref().map(|name| format!("{} ({id})", Escaped(name.as_bytes())));
    format!("{} has removed this device from the share", name.unwrap_or(id))
}

/// A share that is not at work: it could not be opened, or is being opened.
fn not_open(registered: &Registered, failed: Option<String>) -> ShareStatus {
    ShareStatus {
        listed: known_as(registered, None),
        phase: if failed.is_some() { Phase::Failed } else { Phase::Starting },
        is_in_sync: false,
        is_busy: failed.is_none(),
        why: failed,
        removed_by: None,
        question: None,
        holds: Amount::default(),
        to_go: Amount::default(),
        bytes_in_per_second: 0,
        bytes_out_per_second: 0,
        members: 0,
        peers: Vec::new(),
        problems: Vec::new(),
        more_problems: 0,
        history: Amount::default(),
        late_edits: Vec::new(),
        restores: Vec::new(),
        watch: WatchStatus::default(),
    }
}
