//! The engine's words in those of the control API.
//!
//! Promise: this is the one place where JSON learns of states (`STYLE.md`, habit 8); every state has a word of its own.

use shoal_disk as disk;
use shoal_engine::history as kept;
use shoal_engine::status as engine;
use shoal_proto::path::RelPath;
use shoal_proto::{record, roster};

use super::report::{
    Amount, Cause, CauseKind, Displaced, Kept, Kind, LateEdit, PeerState, Phase, Problem, Question, Restored,
    Restoring, Role, Version, WatchStatus,
};
use super::text::{Id, Moment, Place};

impl From<&engine::Phase> for Phase {
    fn from(phase: &engine::Phase) -> Self {
        match phase {
            engine::Phase::Starting => Self::Starting,
            engine::Phase::Scanning => Self::Scanning,
            engine::Phase::FirstContact => Self::FirstContact,
            engine::Phase::Live => Self::Live,
            engine::Phase::Halted(engine::Halt::Removed { .. }) => Self::Removed,
            engine::Phase::Halted(engine::Halt::Refused(_)) => Self::Refused,
            engine::Phase::Halted(_) => Self::Halted,
            engine::Phase::Paused => Self::Paused,
        }
    }
}

impl Question {
    /// What a person is asked when a share has halted for this; `None`: nothing, something must be repaired.
    #[must_use]
    pub fn of(halt: &engine::Halt) -> Option<Self> {
        match *halt {
            engine::Halt::Emptied { had, lost } => Some(Self::Emptied { had, lost }),
            engine::Halt::MassDeletion { had, lost } => Some(Self::MassDeletion { had, lost }),
            engine::Halt::NotTheRoot(_)
            | engine::Halt::Index(_)
            | engine::Halt::Before
            | engine::Halt::Removed { .. }
            | engine::Halt::Refused(_) => None,
        }
    }
}

impl From<engine::PeerStatus> for PeerState {
    fn from(status: engine::PeerStatus) -> Self {
        match status {
            engine::PeerStatus::Comparing => Self::Comparing,
            engine::PeerStatus::NotTold => Self::NotTold,
            engine::PeerStatus::Lacking(count) => Self::Lacking(count as u64),
            engine::PeerStatus::InSync => Self::InSync,
        }
    }
}

impl From<&engine::Cause> for Cause {
    fn from(cause: &engine::Cause) -> Self {
        let (kind, detail) = match cause {
            engine::Cause::Fetching => (CauseKind::Fetching, None),
            engine::Cause::NoSource => (CauseKind::NoSource, None),
            engine::Cause::NoSpace => (CauseKind::NoSpace, None),
            engine::Cause::Conflict => (CauseKind::Conflict, None),
            engine::Cause::LocalDifference => (CauseKind::LocalDifference, None),
            engine::Cause::Unpublished => (CauseKind::Unpublished, None),
            engine::Cause::InFlux => (CauseKind::InFlux, None),
            engine::Cause::Suspicious => (CauseKind::Suspicious, None),
            engine::Cause::Skipped(why) => (CauseKind::Skipped, Some(why)),
            engine::Cause::Ignored => (CauseKind::Ignored, None),
            engine::Cause::Unreadable(why) => (CauseKind::Unreadable, Some(why)),
            engine::Cause::Blocked(why) => (CauseKind::Blocked, Some(why)),
            engine::Cause::NoWay(why) => (CauseKind::NoWay, Some(why)),
            engine::Cause::NotEmpty => (CauseKind::NotEmpty, None),
            engine::Cause::Waiting => (CauseKind::Waiting, None),
        };
        Self { cause: kind, detail: detail.cloned(), is_settled: cause.is_settled() }
    }
}

impl From<(&RelPath, &engine::Cause)> for Problem {
    fn from((path, cause): (&RelPath, &engine::Cause)) -> Self {
        Self { path: path.into(), cause: cause.into() }
    }
}

impl From<(&u64, &Option<RelPath>)> for LateEdit {
    fn from((number, path): (&u64, &Option<RelPath>)) -> Self {
        Self { number: *number, path: path.as_ref().map(Place::from) }
    }
}

impl From<kept::Held> for Amount {
    fn from(held: kept::Held) -> Self {
        Self { files: held.versions, bytes: held.bytes }
    }
}

impl From<&kept::Restored> for Restored {
    fn from(restored: &kept::Restored) -> Self {
        match restored {
            kept::Restored::Waiting => Self::Waiting {},
            kept::Restored::Done(path) => Self::Done { path: path.into() },
            kept::Restored::Refused(why) => Self::Refused { why: why.to_string() },
        }
    }
}

impl From<&(kept::Restore, kept::Restored)> for Restoring {
    fn from((restore, restored): &(kept::Restore, kept::Restored)) -> Self {
        Self { number: restore.number, restored: restored.into() }
    }
}

impl From<kept::Why> for Displaced {
    fn from(why: kept::Why) -> Self {
        match why {
            kept::Why::Unknown => Self::Unknown,
            kept::Why::Replaced => Self::Replaced,
            kept::Why::Deleted => Self::Deleted,
            kept::Why::Conflict => Self::Conflict,
            kept::Why::Difference => Self::Difference,
        }
    }
}

impl From<&kept::Kept> for Kept {
    fn from(kept: &kept::Kept) -> Self {
        Self {
            number: kept.number,
            path: kept.path.as_ref().map(Place::from),
            size: kept.size,
            mtime: Moment(kept.mtime),
            when: Moment(kept.when),
            by: kept.by.map(Id),
            why: kept.why.into(),
            is_late: kept.is_late,
        }
    }
}

impl From<disk::WatchStatus> for WatchStatus {
    fn from(status: disk::WatchStatus) -> Self {
        Self {
            is_ready: status.is_ready,
            watched: status.watched as u64,
            polled: status.polled as u64,
            why: status.why.filter(|_| status.polled > 0).map(|why| why.to_string()),
        }
    }
}

impl From<roster::Role> for Role {
    fn from(role: roster::Role) -> Self {
        match role {
            roster::Role::Reader => Self::Reader,
            roster::Role::Writer => Self::Writer,
            roster::Role::Admin => Self::Admin,
        }
    }
}

impl From<Role> for roster::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Reader => Self::Reader,
            Role::Writer => Self::Writer,
            Role::Admin => Self::Admin,
        }
    }
}

/// Nobody is named: whose record it is, the index knows.
impl From<&record::Version> for Version {
    fn from(version: &record::Version) -> Self {
        let (kind, size, content) = match &version.kind {
            record::Kind::File { size, content } => (Kind::File, Some(*size), Some(Id(*content))),
            record::Kind::Directory => (Kind::Dir, None, None),
            record::Kind::Symlink { .. } => (Kind::Symlink, None, None),
            record::Kind::Gone { .. } => (Kind::Gone, None, None),
        };
        let mtime = (kind == Kind::File).then_some(Moment(version.mtime));
        Self { kind, size, mtime, content, by: None }
    }
}
