//! What happens, as it is told to who follows.
//!
//! Promise: events of one run of a daemon are numbered without gaps; each is a turn that a person or a program acts on, not
//! a trace of the work. How everything stands, a status says; events say when to ask again.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use shoal_proto::id::{DeviceId, ShareId};

use super::report::{Amount, Phase, Problem, Question, Role};
use super::text::{Id, Moment};

/// A place in the order of events. Those of one run of the daemon are numbered without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The run; drawn at random when the daemon starts, below 2^48.
    pub run: u64,
    /// The event; 0 is before the first.
    pub sequence: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Where it stands.
    #[serde(flatten)]
    pub position: Position,
    /// When.
    pub when: Moment,
    /// In which share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Id<ShareId>>,
    /// What.
    #[serde(flatten)]
    pub happening: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happening {
    /// A share was added.
    Added,
    /// A share was left, or this device removed from it.
    Left,
    /// A share has come into another phase.
    Phase {
        /// Which.
        phase: Phase,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A person is asked something.
    Asked {
        /// What.
        question: Question,
    },
    /// A share is in sync.
    InSync,
    /// A share is not in sync any more.
    OutOfSync,
    /// How much there is still to fetch; at most some times a second.
    Progress {
        /// What is left.
        to_go: Amount,
        /// What has come since the share was in sync last.
        came: Amount,
        /// Bytes a second.
        bytes_in_per_second: u64,
    },
    /// A member has connected.
    Connected {
        /// Which.
        device: Id<DeviceId>,
        /// What it calls itself.
        name: Option<String>,
        /// Where it is.
        address: Option<SocketAddr>,
    },
    /// A member has gone.
    Disconnected {
        /// Which.
        device: Id<DeviceId>,
        /// What it calls itself.
        #[serde(default)]
        name: Option<String>,
    },
    /// A device has come into the share.
    Joined {
        /// Which.
        device: Id<DeviceId>,
        /// What it calls itself.
        name: Option<String>,
        /// What it may do.
        role: Role,
    },
    /// A device belongs to the share no more.
    Gone {
        /// Which.
        device: Id<DeviceId>,
        /// What it called itself.
        #[serde(default)]
        name: Option<String>,
    },
    /// A path is not as it should be.
    Problem {
        /// Which, and why.
        #[serde(flatten)]
        problem: Problem,
    },
    /// Something that an operator should know.
    Warning {
        /// What.
        message: String,
    },
    /// Of this reader's past: so many events are not kept any more. Ask how everything stands.
    Missed {
        /// How many.
        events: u64,
    },
    /// The configuration was read again.
    Reloaded,
    /// The daemon is ending.
    Stopping,
    /// Of a newer daemon.
    #[serde(other)]
    Other,
}
