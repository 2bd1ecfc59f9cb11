//! What was displaced and is kept, and how it comes back; what a reader has changed, and takes back.
//!
//! Promise: that of all answers ([`super`]).

use serde::{Deserialize, Serialize};
use shoal_proto::id::DeviceId;

use super::super::text::{Id, Moment, Place};
use super::{Problem, Version};

/// What was displaced and is kept, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The versions.
    pub versions: Vec<Kept>,
    /// Whether there are older ones: below the number of the last one.
    pub more: bool,
}

/// A version in history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its number; later ones are larger.
    pub number: u64,
    /// Where it was; `null` if a crash lost that.
    pub path: Option<Place>,
    /// Bytes.
    pub size: u64,
    /// When it was changed last.
    pub mtime: Moment,
    /// When it was filed.
    pub when: Moment,
    /// Whose change displaced it; `null`: nobody's, or that is not known.
    pub by: Option<Id<DeviceId>>,
    /// Why.
    pub why: Displaced,
    /// A program wrote to it after it was displaced.
    pub is_late: bool,
}

/// Why a version lost its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Displaced {
    /// Nobody knows.
    Unknown,
    /// A newer version took its place.
    Replaced,
    /// It was deleted.
    Deleted,
    /// It contradicted the version that took its place.
    Conflict,
    /// It was this disk's own, and nobody else had it.
    Difference,
}

/// A version in history that a program wrote to after it was displaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateEdit {
    /// Its number.
    pub number: u64,
    /// Where it was, if that is known.
    pub path: Option<Place>,
}

/// A version that a person wanted back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoring {
    /// Its number.
    pub number: u64,
    /// What became of it.
    pub restored: Restored,
}

/// What became of a version that a person wanted back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restored {
    /// It is on its way, or waits for what is done at its path.
    Waiting {},
    /// It stands there, as this device's newest version.
    Done {
        /// Where.
        path: Place,
    },
    /// It was not done, and will not be.
    Refused {
        /// Why not.
        why: String,
    },
}

/// What comes back, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// The versions, in the order of their paths.
    pub versions: Vec<Kept>,
    /// How many more there are: to be undone in a second go.
    pub more: u64,
    /// Those that are not to come back, and why.
    pub refused: Vec<Refused>,
}

/// A version that does not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its number.
    pub number: u64,
    /// Where it was.
    pub path: Option<Place>,
    /// Why not.
    pub why: String,
}

/// What is taken back, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reverted {
    /// What was changed here, in the order of paths.
    pub changes: Vec<Difference>,
    /// How many more there are: to be taken back in a second go.
    pub more: u64,
    /// Stands for `changes`: what a [`Revert`](crate::control::types::Revert) is given that is to take back these and no others.
    #[serde(default)]
    pub hash: String,
    /// Those that still stand as they were changed, and why. What waits for its bytes goes on.
    pub left: Vec<Problem>,
    /// Why nothing goes on in the share, if that is why some are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What the user of a device that only reads has changed at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which.
    pub path: Place,
    /// In which way.
    pub change: Changed,
    /// What stands there; `null`: nothing.
    pub here: Option<Version>,
}

/// In which way a path was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Changed {
    /// The share has nothing there.
    Added,
    /// The share has something else there.
    Edited,
    /// Nothing is left of what the share has there.
    Deleted,
    /// Of a newer daemon.
    #[serde(other)]
    Other,
}
