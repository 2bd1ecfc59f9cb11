//! How a share stands, in words.
//!
//! Promise: "in sync" is said only where the daemon says so; whatever else is said, says why (`I31`).

use shoal_daemon::control::report::{
    Amount, Cause, CauseKind, Peer, PeerState, Phase, Problem, Question, Restored, Role, ShareStatus, Status,
};

use crate::print::{amount, bytes, count, shown};

/// So many problems of a share are listed unless all are asked for.
pub(crate) const PROBLEMS_SHOWN: usize = 20;

/// Everything, a block for each share.
pub(crate) fn report(status: &Status, with_all: bool) -> String {
    let mut text = String::new();
    if status.shares.is_empty() {
        text.push_str("No shares yet: `shoal share DIR` makes one, `shoal join DIR` comes into one.\n");
    }
    let width =
        status.shares.iter().map(|share| shown(&share.listed.name).chars().count()).max().unwrap_or(0);
    for share in &status.shares {
        let mut lines = vec![format!("{}  {}", state(share), share.listed.directory)];
        lines.extend(details(share, with_all));
        for (at, line) in lines.iter().enumerate() {
            let name = if at == 0 { shown(&share.listed.name) } else { String::new() };
            text.push_str(format!("{name:width$}  {line}").trim_end());
            text.push('\n');
        }
    }
    for tracker in status.trackers.iter().filter(|tracker| !tracker.is_connected) {
        let why = tracker.why.as_deref().unwrap_or("not connected");
        text.push_str(&format!("tracker {}: {}\n", shown(&tracker.address), shown(why)));
    }
    text
}

/// How all shares stand, in a line: those that are not in sync by name, as far as there are few. Nothing of it passes without
/// an event, so it can be shown until the next one.
pub(crate) fn summary(status: &Status) -> String {
    const NAMED: usize = 3;
    let (well, other): (Vec<_>, Vec<_>) = status.shares.iter().partition(|share| share.is_in_sync);
    let mut parts: Vec<String> = Vec::new();
    if !well.is_empty() {
        parts.push(format!("{} in sync", count(well.len() as u64, "share", "shares")));
    }
    let named = |share: &&ShareStatus| format!("{}: {}", shown(&share.listed.name), lasting(share));
    parts.extend(other.iter().take(NAMED).map(named));
    if other.len() > NAMED {
        parts.push(format!("{} more", other.len() - NAMED));
    }
    if parts.is_empty() { "no shares yet".into() } else { parts.join("; ") }
}

/// How a share stands, in a few words.
pub(crate) fn state(share: &ShareStatus) -> &'static str {
    match share.phase {
        Phase::Live if share.question.is_some() || share.is_in_sync => lasting(share),
        Phase::Live if share.is_busy && share.to_go != Amount::default() => "fetching",
        Phase::Live if share.is_busy => "working",
        Phase::Live if share.members != 1 && share.peers.is_empty() => "nobody is connected",
        _ => lasting(share),
    }
}

/// The same without what passes and of which no event tells.
fn lasting(share: &ShareStatus) -> &'static str {
    match share.phase {
        _ if share.question.is_some() => "waits for your answer",
        Phase::Live if share.is_in_sync => "in sync",
        Phase::Live if share.members == 1 => "nobody else has come in yet",
        Phase::Live => "not in sync",
        other => phase(other),
    }
}

pub(crate) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Scanning => "looking through the folder",
        Phase::FirstContact => "looking for a member of the share",
        Phase::Live => "live",
        Phase::Halted => "stopped",
        Phase::Paused => "paused",
        Phase::Removed => "this device was removed",
        Phase::Refused => "this device was not let in",
        Phase::Failed => "cannot be opened",
    }
}

pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Reader => "reader",
        Role::Writer => "writer",
        Role::Admin => "admin",
    }
}

/// What a person is asked, and how the answer is given.
pub(crate) fn question(question: &Question) -> String {
    match question {
        Question::FirstContact { equal, differ, only_here } => format!(
            "{} equal, {differ} differ, {only_here} only here; answer with `shoal join` again and `--theirs`, `--both` or \
             `--stop`",
            count(*equal, "file is", "files are")
        ),
        Question::Emptied { had, lost } => format!(
            "{lost} of {had} contents are gone from the folder. Is a disk not mounted? If they are meant to go everywhere: \
             `shoal resume`"
        ),
        Question::MassDeletion { had, lost } => format!(
            "others have deleted {lost} of {had} contents. Nothing of it was done here. If that is meant: `shoal resume`"
        ),
    }
}

fn details(share: &ShareStatus, with_all: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if matches!(share.phase, Phase::Removed | Phase::Refused) {
        return out(share);
    }
    if let Some(asked) = &share.question {
        lines.push(question(asked));
    }
    if let Some(why) = &share.why {
        lines.push(shown(why));
    }
    lines.push(format!("{}; {}", amount(share.holds), members(share)));
    lines.extend(share.peers.iter().map(peer));
    if share.to_go != Amount::default() {
        // Where nothing is fetched, what comes in is not that.
        let pace = share.is_busy.then(|| format!(", {}/s", bytes(share.bytes_in_per_second)));
        lines.push(format!("{} to go{}", amount(share.to_go), pace.unwrap_or_default()));
    }
    let listed = if with_all { share.problems.len() } else { PROBLEMS_SHOWN };
    lines.extend(share.problems.iter().take(listed).map(problem));
    let more = share.more_problems + share.problems.len().saturating_sub(listed) as u64;
    if more > 0 {
        lines.push(format!("and {} more", count(more, "path", "paths")));
    }
    for restoring in share.restores.iter().filter(|one| one.restored == Restored::Waiting {}) {
        lines.push(format!("version {} of the history is on its way back", restoring.number));
    }
    for late in &share.late_edits {
        let path = late.path.as_ref().map_or_else(|| "a path that is not known".into(), ToString::to_string);
        let number = late.number;
        lines.push(format!(
            "a program went on writing to {path} after it was replaced; that is version {number} of the history"
        ));
    }
    if share.watch.polled > 0 {
        let why = share.watch.why.as_deref().unwrap_or("the system does not tell of their changes");
        lines.push(format!(
            "{} looked through now and then: {}",
            count(share.watch.polled, "folder is", "folders are"),
            shown(why)
        ));
    }
    lines
}

/// What there is to be done where nobody lets this device in.
fn out(share: &ShareStatus) -> Vec<String> {
    let why = share.why.as_deref().map(shown);
    let name = shown(&share.listed.name);
    let ways = format!(
        "The files stay where they are. `shoal leave {name}` ends it; a new invite lets this device in again"
    );
    why.into_iter().chain([format!("{ways}: `shoal join DIR`")]).collect()
}

fn members(share: &ShareStatus) -> String {
    format!("{}, {} connected", count(share.members.into(), "device", "devices"), share.peers.len())
}

fn peer(peer: &Peer) -> String {
    let name = peer.name.as_deref().map_or_else(|| peer.device.0.short(), shown);
    format!("{name}: {}", peer_state(peer.state))
}

pub(crate) fn peer_state(state: PeerState) -> String {
    match state {
        PeerState::Comparing => "comparing".into(),
        PeerState::NotTold => "has not said what it lacks".into(),
        PeerState::Lacking(lacks) => format!("lacks {}", count(lacks, "version", "versions")),
        PeerState::InSync => "holds all of it".into(),
    }
}

/// A path and why it is not in sync.
pub(crate) fn problem(problem: &Problem) -> String {
    format!("{}: {}", problem.path, cause(&problem.cause))
}

pub(crate) fn cause(cause: &Cause) -> String {
    let words = match cause.cause {
        CauseKind::Fetching => "is being fetched",
        CauseKind::NoSource => "nobody who is connected has its bytes",
        CauseKind::NoSpace => {
            "there is not enough space: 64 MiB of the disk, or a hundredth of it, are left free"
        }
        CauseKind::Conflict => "versions contradict each other, and are being settled",
        CauseKind::LocalDifference => {
            "changed here, where this device only reads, so nobody else gets it; `shoal revert` takes it back"
        }
        CauseKind::Unpublished => "has changed here and is not published yet",
        CauseKind::InFlux => "changes all the time",
        CauseKind::Suspicious => {
            "is empty, zeros or an older version after an unclean stop; save it again to publish it"
        }
        CauseKind::Skipped => "is not taken into the share",
        CauseKind::Ignored => "is kept out by .shoalignore",
        CauseKind::Unreadable => "cannot be read",
        CauseKind::Blocked => "cannot be put onto this disk",
        CauseKind::NoWay => "something above it is in the way",
        CauseKind::NotEmpty => "is to go, and has something in it that is not of the share",
        CauseKind::Waiting => "waits for something above or below it",
        CauseKind::Other => "is not in sync",
    };
    match &cause.detail {
        Some(detail) => format!("{words}: {}", shown(detail)),
        None => words.into(),
    }
}

#[cfg(test)]
mod tests;
