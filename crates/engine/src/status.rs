//! What is said of a share: whether it is in sync, and of every path that is not, why.
//!
//! Promise: "in sync" is said only of a share that is live, has a member connected that proved to hold the same records,
//! and has nothing left to do; every path that is skipped or blocked is listed with its cause, as far as the list is
//! long, and then counted (I31).

use std::collections::BTreeMap;

use shoal_proto::guard::Contents;
use shoal_proto::id::DeviceId;
use shoal_proto::message::Refusal;
use shoal_proto::path::RelPath;

use crate::history::{Held, Restore, Restored};

/// A share, as it is now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// How far it has come.
    pub phase: Phase,
    /// The other members that are connected.
    pub peers: BTreeMap<DeviceId, PeerStatus>,
    /// Paths that are not as they should be, and why; at most [`PROBLEMS_MAX`](crate::limits::PROBLEMS_MAX).
    pub problems: BTreeMap<RelPath, Cause>,
    /// How many more there are.
    pub more_problems: u64,
    /// Whether a member was met for the first time, all is known of both sides, and a person is to say what becomes of what
    /// differs ([`Command::Meet`](crate::io::Command::Meet)).
    pub is_asking: bool,
    /// Why the folder could not be looked through the last time.
    pub trouble: Option<String>,
    /// Whether anything is being looked at, fetched or written.
    pub is_busy: bool,
    /// What the history held when that was last counted.
    pub history: Held,
    /// Versions in history that a program wrote to after they were displaced, by their numbers, and where they were: what
    /// it wrote stands nowhere else (E17). At most [`LATE_EDITS_MAX`](crate::limits::LATE_EDITS_MAX), the newest.
    pub late_edits: BTreeMap<u64, Option<RelPath>>,
    /// Versions that a person wanted back, and what became of it, the last one last; at most
    /// [`RESTORES_TOLD_MAX`](crate::limits::RESTORES_TOLD_MAX) of those that are over.
    pub restores: Vec<(Restore, Restored)>,
    /// How many of a reader's own changes are given up, and wait for what the share has.
    pub reverts: usize,
    /// Looks at everything that a person has asked for.
    pub rescans: Rescans,
}

/// How far the looks at everything have come that a person has asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rescans {
    /// How many were asked for since the share was opened.
    pub asked: u64,
    /// How many of them are over, and what was found is noted.
    pub done: u64,
    /// What the last of these has found.
    pub last: Looked,
}

/// What a look at everything has found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Looked {
    /// Paths on the disk.
    pub paths: u64,
    /// Paths that were not as they were last seen.
    pub changed: u64,
}

impl Status {
    /// Whether all that is known stands on this disk, and on those of all connected members.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.phase == Phase::Live
            && !self.is_busy
            && self.trouble.is_none()
            && self.problems.values().all(Cause::is_settled)
            && self.more_problems == 0
            && !self.peers.is_empty()
            && self.peers.values().all(|peer| *peer == PeerStatus::InSync)
    }
}

/// How far a share has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Phase {
    /// The index is being asked what this device is.
    Starting,
    /// The folder is looked through for the first time since the start.
    Scanning,
    /// Nothing is published before this device has once compared records with a member.
    FirstContact,
    /// All is as it should be, or on its way there.
    Live,
    /// A person must look; nothing is published, and the disk is left alone.
    Halted(Halt),
    /// A person said so.
    Paused,
}

/// Why a share was halted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Halt {
    /// The folder is not the one that it was.
    #[error("{0}")]
    NotTheRoot(String),
    /// Most contents are gone from the folder.
    #[error("{lost} of {had} contents are gone from the folder")]
    Emptied {
        /// How many there were.
        had: Contents,
        /// How many of them are gone.
        lost: Contents,
    },
    /// The others deleted most contents.
    #[error("others have deleted {lost} of {had} contents")]
    MassDeletion {
        /// How many there are here.
        had: Contents,
        /// How many of them would go.
        lost: Contents,
    },
    /// The index refuses; nothing can be done without it.
    #[error("the index refuses: {0}")]
    Index(String),
    /// It was halted before the restart.
    #[error("it was halted before")]
    Before,
    /// This device was removed from the share, or has left it.
    #[error("this device is no member of the share any more")]
    Removed {
        /// Who has said so, if that is known.
        by: Option<DeviceId>,
    },
    /// This device was not let in; only another invite helps.
    #[error("{0}")]
    Refused(Refusal),
}

impl Halt {
    /// Whether this device is no member: there is nothing to be done, and nobody to be met.
    #[must_use]
    pub fn is_out(&self) -> bool {
        matches!(self, Self::Removed { .. } | Self::Refused(_))
    }
}

/// How a connected member stands to this device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerStatus {
    /// Both are still finding out what differs.
    Comparing,
    /// It has not said what it lacks.
    NotTold,
    /// It lacks the bytes of so many versions.
    Lacking(usize),
    /// Both hold the same records, and it has all their bytes.
    InSync,
}

/// Why a path is not in sync.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cause {
    /// It is being fetched.
    Fetching,
    /// Nobody who is connected has its bytes.
    NoSource,
    /// The disk is full.
    NoSpace,
    /// Versions contradict each other, and are not settled yet.
    Conflict,
    /// A reader's own change, which nobody else gets.
    LocalDifference,
    /// It has changed here and is not published yet.
    Unpublished,
    /// It changes all the time.
    InFlux,
    /// After an unclean stop it is empty, zeros, or an older version; it is not published.
    Suspicious,
    /// It is not taken into the share: a device, a pipe, another file system, a name that no share can have.
    Skipped(String),
    /// The user keeps it out of the share.
    Ignored,
    /// This user may not read it, or the system fails.
    Unreadable(String),
    /// It cannot be put onto this disk.
    Blocked(String),
    /// Something above it is in the way.
    NoWay(String),
    /// The folder that is to go has something in it that is not of the share.
    NotEmpty,
    /// It waits for something above or below it.
    Waiting,
}

impl Cause {
    /// Whether it stays like this and nothing is owed to anybody: it is only listed.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Skipped(_) | Self::Ignored | Self::NotEmpty)
    }
}
