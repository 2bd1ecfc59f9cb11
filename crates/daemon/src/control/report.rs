//! What the daemon answers: how shares, devices, paths and versions stand, and what happens.
//!
//! Promise: these are values and nothing else, in the words of the glossary; sizes are bytes, times by this machine's clock. What
//! another device wrote (its name, the name of a path) stands as it wrote it: whoever shows it escapes it first.
//! Texts called `why`, `detail`, `message` and `hint` are one line for a person, escaped already.

mod past;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use shoal_proto::hash::ContentId;
use shoal_proto::id::{DeviceId, ShareId};
use shoal_proto::key::InviteKey;

pub use self::past::{
    Changed, Difference, Displaced, History, Kept, LateEdit, Refused, Restored, Restoring, Reverted, Undone,
};
pub use super::event::{Event, Happening, Position};
use super::text::{Directory, Id, InviteText, Moment, Place};

/// How everything stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's name and version.
    pub agent: String,
    /// This device.
    pub device: Id<DeviceId>,
    /// What it is called.
    pub name: String,
    /// The daemon's process.
    pub pid: u32,
    /// Where it listens.
    pub listening: Vec<SocketAddr>,
    /// The trackers that it asks.
    pub trackers: Vec<TrackerStatus>,
    /// The shares that were asked for.
    pub shares: Vec<ShareStatus>,
    /// Whether all of these are in sync.
    pub is_in_sync: bool,
    /// The last event that this takes into account.
    pub events: Position,
}

/// How a tracker stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackerStatus {
    /// Where it is.
    pub address: String,
    /// Whether there is a connection.
    pub is_connected: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A share of this device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Which.
    pub share: Id<ShareId>,
    /// What it is called here.
    pub name: String,
    /// Where its files are.
    pub directory: Directory,
    /// What this device may do; `null` until it was let in.
    pub role: Option<Role>,
    /// Whether a person has paused it.
    pub is_paused: bool,
}

/// What a device may do in a share; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Receives, keeps and passes on; its own edits stay its own.
    Reader,
    /// Publishes too.
    Writer,
    /// Invites, removes and changes roles too.
    Admin,
}

/// How a share stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareStatus {
    /// Which.
    #[serde(flatten)]
    pub listed: Listed,
    /// How far it has come.
    pub phase: Phase,
    /// Whether all that is known stands on this disk, and on those of all connected members, of whom there is one at least.
    pub is_in_sync: bool,
    /// Whether anything is being looked at, fetched or written.
    pub is_busy: bool,
    /// Why the share stands still, or why its folder could not be looked through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Who removed this device, if somebody did and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_by: Option<Named>,
    /// What a person is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
    /// What the share holds.
    pub holds: Amount,
    /// What is still to be fetched.
    pub to_go: Amount,
    /// Bytes a second that come in, over the last seconds.
    pub bytes_in_per_second: u64,
    /// Bytes a second that go out.
    pub bytes_out_per_second: u64,
    /// How many devices belong to it, this one too.
    pub members: u32,
    /// Those that are connected.
    pub peers: Vec<Peer>,
    /// Paths that are not as they should be, in their order; at most some thousands.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more_problems: u64,
    /// What the history holds.
    pub history: Amount,
    /// Versions in history that a program wrote to after they were displaced: what it wrote stands nowhere else.
    pub late_edits: Vec<LateEdit>,
    /// Versions that are on their way back, and the last ones that came back.
    pub restores: Vec<Restoring>,
    /// How well the folder is watched.
    pub watch: WatchStatus,
}

/// How far a share has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It is being opened.
    Starting,
    /// The folder is looked through for the first time since the start.
    Scanning,
    /// No member was met yet since this device came in; nothing is published.
    FirstContact,
    /// All is as it should be, or on its way there.
    Live,
    /// A person must look; nothing is published, and the disk is left alone.
    Halted,
    /// A person said so.
    Paused,
    /// This device is no member any more.
    Removed,
    /// This device was not let in: its invite was used up, taken back, or has expired. Only another one helps.
    Refused,
    /// It could not be opened; `why` says why.
    Failed,
}

/// What a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Many files differ from those of the share; answered by `decide`.
    FirstContact {
        /// Files that are the same on both sides.
        equal: u64,
        /// That are on both sides, with different contents.
        differ: u64,
        /// That are only here.
        only_here: u64,
    },
    /// Most contents are gone from the folder: a disk that is not mounted, or a wish. Answered by `resume`, or by
    /// bringing them back.
    Emptied {
        /// How many there were.
        had: u64,
        /// How many of them are gone.
        lost: u64,
    },
    /// Others have deleted most contents. Answered by `resume`, if that is meant.
    MassDeletion {
        /// How many there are here.
        had: u64,
        /// How many of them would go.
        lost: u64,
    },
}

/// A number of files or versions, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A device, and what it calls itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Which.
    pub device: Id<DeviceId>,
    /// Its name, if that is known.
    pub name: Option<String>,
}

/// A member that is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Which.
    pub device: Id<DeviceId>,
    /// What it calls itself.
    pub name: Option<String>,
    /// Where it is.
    pub address: Option<SocketAddr>,
    /// How it stands to this device.
    pub state: PeerState,
}

/// How a connected member stands to this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerState {
    /// Both are still finding out what differs.
    Comparing,
    /// It has not said what it lacks.
    NotTold,
    /// It lacks the bytes of so many versions.
    Lacking(u64),
    /// Both hold the same records, and it has all their bytes.
    InSync,
}

/// A path that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which.
    pub path: Place,
    /// Why.
    #[serde(flatten)]
    pub cause: Cause,
}

/// Why a path is not in sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The sort, for programs.
    pub cause: CauseKind,
    /// What the system or the disk says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether it stays like this and nothing is owed to anybody: it is only listed.
    pub is_settled: bool,
}

/// Why a path is not in sync, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CauseKind {
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
    /// It is not taken into the share; the detail says why.
    Skipped,
    /// The user keeps it out of the share.
    Ignored,
    /// This user may not read it, or the system fails.
    Unreadable,
    /// It cannot be put onto this disk.
    Blocked,
    /// Something above it is in the way.
    NoWay,
    /// The folder that is to go has something in it that is not of the share.
    NotEmpty,
    /// It waits for something above or below it.
    Waiting,
    /// Of a newer daemon.
    #[serde(other)]
    Other,
}

/// How well a folder is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchStatus {
    /// Whether all folders have been gone through once.
    pub is_ready: bool,
    /// Folders of which the system tells at once.
    pub watched: u64,
    /// Folders that are looked through now and then instead.
    pub polled: u64,
    /// Why there are such, and what can be done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A folder was made a share, is one already, or is becoming one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Which share it is.
    #[serde(flatten)]
    pub listed: Listed,
    /// Whether it was no share before.
    pub is_new: bool,
    /// The invite, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<InviteGiven>,
}

/// A share was left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// What tells of it and could not be removed: why, a line for a person each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remains: Vec<String>,
}

/// An invite: whoever reads its text can come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteGiven {
    /// Its text.
    pub invite: InviteText,
    /// How it is called when it is to be taken back.
    pub key: Id<InviteKey>,
    /// What who comes in may do.
    pub role: Role,
    /// How many devices may come in.
    pub uses: u16,
    /// Until when.
    pub not_after: Moment,
    /// The addresses in it.
    pub addresses: Vec<String>,
    /// The trackers in it.
    pub trackers: Vec<String>,
}

/// Who belongs to a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// The members.
    pub devices: Vec<Device>,
    /// The invites of this device by which somebody may still come in.
    pub invites: Vec<OpenInvite>,
}

/// A member of a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Which.
    pub device: Id<DeviceId>,
    /// What it calls itself.
    pub name: Option<String>,
    /// What it may do.
    pub role: Role,
    /// By whose invite it came; nobody's the creator.
    pub added_by: Option<Id<DeviceId>>,
    /// Whether it is the one that answers.
    pub is_this: bool,
    /// How it stands, if it is connected.
    pub peer: Option<PeerState>,
    /// Where it is, or was met last.
    pub address: Option<SocketAddr>,
    /// When it was connected last, if it is not now and that is known.
    pub last_seen: Option<Moment>,
}

/// An invite by which somebody may still come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenInvite {
    /// How it is called.
    pub key: Id<InviteKey>,
    /// What who comes in may do.
    pub role: Role,
    /// How many devices may come in.
    pub uses: u16,
    /// Who came in.
    pub used_by: Vec<Id<DeviceId>>,
    /// Until when.
    pub not_after: Moment,
}

/// What is known of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// Which.
    pub path: Place,
    /// Whether it is on this disk as the share has it.
    pub is_settled: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What was last seen of it on this disk.
    pub here: Option<Version>,
    /// What the share has: nearly always one; several contradict each other.
    pub heads: Vec<Version>,
    /// The connected members that lack its bytes.
    pub lacking: Vec<Id<DeviceId>>,
}

/// What a path is, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// What sort of thing.
    pub kind: Kind,
    /// Bytes, of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When it was changed last, of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime: Option<Moment>,
    /// What it holds, of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Id<ContentId>>,
    /// Who published it, if it is published and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Id<DeviceId>>,
}

/// What sort of thing stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink,
    /// Nothing: it was deleted.
    Gone,
}

/// Versions of a path that contradicted each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The path.
    pub path: Place,
    /// What stands there.
    pub current: Option<Version>,
    /// The copies that stand beside it.
    pub copies: Vec<Copied>,
    /// Whether it is still being settled: by whom waits for bytes that nobody reachable has, say.
    pub is_open: bool,
}

/// A conflict copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Where it stands.
    pub path: Place,
    /// What it is.
    #[serde(flatten)]
    pub version: Version,
}

/// What is kept out of a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IgnoreStatus {
    /// Whether other devices have written rules that are not in force here.
    pub is_offered: bool,
    /// The rules that they offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<String>,
    /// The rules in force; `null`: there are none.
    pub rules: Option<String>,
}

/// A look at everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rescanned {
    /// Whether it is over; else it was only asked for.
    pub is_done: bool,
    /// How many paths were looked at.
    pub looked: u64,
    /// How many were not as they were last seen.
    pub changed: u64,
}

/// The end of a wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// Whether all are in sync now; else the time was over.
    pub is_in_sync: bool,
    /// Those that are not.
    pub not_in_sync: Vec<Id<ShareId>>,
}

/// What reading the configuration again has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The keys whose values count from now on.
    pub changed: Vec<String>,
    /// The keys that have changed, and count only after the daemon was started anew.
    pub at_restart: Vec<String>,
}
