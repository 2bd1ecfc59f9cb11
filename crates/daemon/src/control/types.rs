//! The contract: calls, requests, answers, failures and events, as they stand in JSON.
//!
//! Promise: all that goes over the control socket is one of these values, one JSON object a line, in UTF-8. A client
//! sends [`Call`]s; the daemon sends [`Reply`]s, each with the id of its call, not always in the order of the calls.
//! Numbers of bytes are bytes. What a secret is needed for, it stands in ([`InviteGiven`], [`Join`]) and nowhere else.
//! Unknown fields in calls are refused, so that a wish is never half heard; those in replies are to be passed over, so
//! that a newer daemon can say more.
//!
//! Each request is a struct whose answer [`Ask`] names; [`Request`] and [`Response`] are all of them.

use serde::{Deserialize, Serialize};
use shoal_proto::id::{DeviceId, ShareId};
use shoal_proto::key::InviteKey;

use super::report::{
    Conflict, DeviceStatus, Event, History, IgnoreStatus, InviteGiven, Left, Listed, Position, Reloaded,
    Rescanned, Restored, Reverted, Role, Shared, Status, Undone, Waited, Why,
};
use super::text::{Directory, Id, InviteText, Moment, Place};

/// The version of this contract. A call of another version is refused with [`Code::Version`].
pub const VERSION: u16 = 1;

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// [`VERSION`].
    pub version: u16,
    /// Named again in every reply to it. Up to the client.
    pub id: u64,
    /// What is wanted.
    pub request: Request,
}

/// What the daemon sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The call that this is about; `null`: its line could not be read so far.
    pub id: Option<u64>,
    /// What came of it, or what happened.
    #[serde(flatten)]
    pub said: Said,
}

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// It was done, or is being done; nothing more comes, except after [`Response::Events`].
    Response(Response),
    /// It was not done.
    Failure(Failure),
    /// Something happened; comes after [`Response::Events`] only.
    Event(Event),
}

/// A wish, and what answers it.
pub trait Ask: Into<Request> {
    /// What it is answered with.
    type Answer;

    /// The answer in a response; `None` if it is one to something else.
    fn answer(response: Response) -> Option<Self::Answer>;
}

/// Declares the requests with their answers, and the two enums of all of them.
macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident => $response:ident($answer:ty);)*) => {
        /// All that can be asked for. In JSON an object with one key, the request's name.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Request { $($(#[$doc])* $name($name),)* }

        $(
            impl From<$name> for Request {
                fn from(request: $name) -> Self {
                    Self::$name(request)
                }
            }

            impl Ask for $name {
                type Answer = $answer;

                fn answer(response: Response) -> Option<Self::Answer> {
                    match response {
                        Response::$response(answer) => Some(answer),
                        _ => None,
                    }
                }
            }
        )*
    };
}

requests! {
    /// How everything stands.
    GetStatus => Status(Status);
    /// The shares of this device, without asking how they stand.
    ListShares => Shares(Vec<Listed>);
    /// Make a folder a share, or an invite for the share that it is.
    Share => Shared(Shared);
    /// Come into a share.
    Join => Shared(Shared);
    /// Say what is to be done about the files that differ at first contact.
    Decide => Done(Done);
    /// Leave a share; its files stay as they are.
    Leave => Left(Left);
    /// Make an invite.
    Invite => Invited(InviteGiven);
    /// Who belongs to a share, and which invites are open.
    ListDevices => Devices(DeviceStatus);
    /// Remove a device, or take back an invite.
    Revoke => Done(Done);
    /// Why a path is, or is not, in sync.
    Explain => Explained(Why);
    /// What was displaced and is kept.
    ListHistory => History(History);
    /// Put a version of the history back.
    Restore => Restored(Restored);
    /// Bring back what others have replaced or deleted.
    Undo => Undone(Undone);
    /// Take back what was changed on this device, which only reads.
    Revert => Reverted(Reverted);
    /// Versions that contradicted each other: copies that stand beside their path, and what is not settled.
    ListConflicts => Conflicts(Vec<Conflict>);
    /// End a conflict by keeping one side.
    Resolve => Done(Done);
    /// What is kept out of a share, and whether others offer other rules.
    GetIgnore => Ignore(IgnoreStatus);
    /// Put the rules that others offer in force.
    AcceptIgnore => Done(Done);
    /// Publish and apply nothing until resumed.
    Pause => Done(Done);
    /// Go on; of a share that asks whether a loss is meant: it is.
    Resume => Done(Done);
    /// Look at everything.
    Rescan => Rescanned(Rescanned);
    /// Come back when these shares are in sync.
    Wait => Waited(Waited);
    /// Read the configuration again.
    Reload => Reloaded(Reloaded);
    /// End the daemon in order; it is answered first.
    Stop => Done(Done);
    /// Tell what happens from now on, or from a position on.
    Watch => Events(Watching);
}

/// What answers a request. In JSON an object with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// To [`GetStatus`].
    Status(Status),
    /// To [`ListShares`].
    Shares(Vec<Listed>),
    /// To [`Share`] and [`Join`].
    Shared(Shared),
    /// To [`Leave`].
    Left(Left),
    /// To [`Invite`].
    Invited(InviteGiven),
    /// To [`ListDevices`].
    Devices(DeviceStatus),
    /// To [`Explain`].
    Explained(Why),
    /// To [`ListHistory`].
    History(History),
    /// To [`Restore`].
    Restored(Restored),
    /// To [`Undo`].
    Undone(Undone),
    /// To [`Revert`].
    Reverted(Reverted),
    /// To [`ListConflicts`].
    Conflicts(Vec<Conflict>),
    /// To [`GetIgnore`].
    Ignore(IgnoreStatus),
    /// To [`Rescan`].
    Rescanned(Rescanned),
    /// To [`Wait`].
    Waited(Waited),
    /// To [`Reload`].
    Reloaded(Reloaded),
    /// To [`Watch`]; events follow under the same id.
    Events(Watching),
    /// To everything else.
    Done(Done),
}

/// It is done, or will be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// How everything stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GetStatus {
    /// Of this share only.
    pub share: Option<Id<ShareId>>,
}

/// The shares of this device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListShares {}

/// Make a folder a share, or say how others join the share that it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The folder, made if it is not there; it must be neither inside nor around another share.
    pub directory: Directory,
    /// What the share is called on this device, from now on if it is one already; the folder's name unless given.
    #[serde(default)]
    pub name: Option<String>,
    /// Allow the root of the file system or the user's home.
    #[serde(default)]
    pub broad: bool,
    /// Of a share whose index was made anew: nobody else is left to be waited for, what is here is the share.
    #[serde(default)]
    pub alone: bool,
    /// The invite to be made with it; `null`: none.
    #[serde(default)]
    pub invite: Option<InviteTerms>,
}

/// What an invite allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InviteTerms {
    /// What who comes in may do; reader or writer.
    pub role: Role,
    /// How many devices may come in; from 1 to 1,024.
    pub uses: u16,
    /// For how many seconds from now.
    pub seconds: u64,
}

impl Default for InviteTerms {
    fn default() -> Self {
        Self { role: Role::Writer, uses: 1, seconds: 24 * 60 * 60 }
    }
}

/// Come into a share. It is answered as soon as the share is there; that a member was met, and what is asked then, the
/// status says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The invite.
    pub invite: InviteText,
    /// Where its files go; made if it is not there.
    pub directory: Directory,
    /// What the share is called on this device; the folder's name unless given.
    #[serde(default)]
    pub name: Option<String>,
    /// Allow the root of the file system or the user's home.
    #[serde(default)]
    pub broad: bool,
    /// What is done if many files differ; `null`: it is asked ([`Decide`]).
    #[serde(default)]
    pub choice: Option<Choice>,
}

/// What is done about files that differ when a device meets the first member of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// The share's version comes to stand here; this device's goes to the history.
    Theirs,
    /// Both are kept: what is newer stands at the path, the other one beside it.
    Both,
    /// Nothing is changed, and the share is left again.
    Stop,
}

/// Say what is to be done about the files that differ at first contact.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// Of this share.
    pub share: Id<ShareId>,
    /// What.
    pub choice: Choice,
}

/// Make an invite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// To this share.
    pub share: Id<ShareId>,
    /// What it allows.
    #[serde(default)]
    pub terms: InviteTerms,
}

/// Remove a device, or take back an invite: then the share's secret changes, too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// From this share.
    pub share: Id<ShareId>,
    /// Which.
    pub what: Revoked,
}

/// What is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Revoked {
    /// A device: what it published until now counts.
    Device(Id<DeviceId>),
    /// An invite: who came in by it stays.
    Invite(Id<InviteKey>),
}

/// Why a path is, or is not, in sync.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// In this share.
    pub share: Id<ShareId>,
    /// Which path.
    pub path: Place,
}

/// What was displaced and is kept, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListHistory {
    /// In this share.
    pub share: Id<ShareId>,
    /// Of this path, and of all below it; `null`: of all.
    #[serde(default)]
    pub path: Option<Place>,
    /// Only versions with numbers below this one: how one goes on after [`History::more`].
    #[serde(default)]
    pub before: Option<u64>,
    /// At most so many; no more than 1,000 come at once.
    #[serde(default = "at_most")]
    pub at_most: u32,
}

const fn at_most() -> u32 {
    100
}

/// Put a version of the history back; what stands there now goes to the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// In this share.
    pub share: Id<ShareId>,
    /// Its number.
    pub number: u64,
    /// Where it is to stand; `null`: where it was.
    #[serde(default)]
    pub to: Option<Place>,
    /// So long it is waited for until it stands there; `null`: five seconds.
    #[serde(default)]
    pub milliseconds: Option<u64>,
}

/// Bring back what others have replaced or deleted: of each path the version that stood there before all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    /// In this share.
    pub share: Id<ShareId>,
    /// At this path, and below it; `null`: everywhere.
    #[serde(default)]
    pub path: Option<Place>,
    /// What happened from this time on, by this machine's clock.
    pub since: Moment,
    /// What this device did; `null`: what any but this one did.
    #[serde(default)]
    pub by: Option<Id<DeviceId>>,
    /// Only what was deleted, not what was replaced.
    #[serde(default)]
    pub deleted_only: bool,
    /// Say what would come back, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Take back what was changed on this device, which only reads: it goes to the history, and what the share has comes to
/// stand there. All is looked at first, so that nothing of it is unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revert {
    /// In this share.
    pub share: Id<ShareId>,
    /// At this path, and below it; `null`: everywhere.
    #[serde(default)]
    pub path: Option<Place>,
    /// Say what would be taken back, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Only if it would be what was listed: [`Reverted::hash`] of then; `null`: whatever it is.
    #[serde(default)]
    pub hash: Option<String>,
    /// So long it is waited for until all is looked at and taken back; `null`: five seconds.
    #[serde(default)]
    pub milliseconds: Option<u64>,
}

/// End a conflict by keeping one side; the other one goes to the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    /// In this share.
    pub share: Id<ShareId>,
    /// The path that the conflict is about.
    pub path: Place,
    /// What is kept.
    pub keep: Keep,
}

/// Which side of a conflict is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// What stands at the path; its copies go.
    Current,
    /// This copy, which comes to stand at the path; all copies go.
    Copy(Place),
}

/// Come back when these shares are in sync.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wait {
    /// Which; none: all.
    pub shares: Vec<Id<ShareId>>,
    /// Come back after so many milliseconds in any case.
    pub milliseconds: Option<u64>,
}

/// Look at everything.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rescan {
    /// Of this share.
    pub share: Id<ShareId>,
    /// Come back when that is done, and what was found is noted; else at once.
    #[serde(default)]
    pub wait: bool,
}

/// Tell what happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Watch {
    /// From the event after this one on; `null`: from now on.
    pub after: Option<Position>,
}

/// Events are told from here on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watching {
    /// The next event comes after this one.
    pub after: Position,
    /// What was asked for is not kept any more, or is of an earlier run of the daemon: ask how everything stands.
    pub missed: bool,
}

/// Declares requests that need nothing but a share, or nothing at all.
macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(/// Of this share.
            pub $field: $type,)?
        }
    )*};
}

plain! {
    /// Leave a share; its files stay as they are.
    Leave { share: Id<ShareId> }
    /// Who belongs to a share, and which invites are open.
    ListDevices { share: Id<ShareId> }
    /// Versions that contradicted each other.
    ListConflicts { share: Id<ShareId> }
    /// What is kept out of a share.
    GetIgnore { share: Id<ShareId> }
    /// Put the rules that others offer in force.
    AcceptIgnore { share: Id<ShareId> }
    /// Publish and apply nothing until resumed.
    Pause { share: Id<ShareId> }
    /// Go on.
    Resume { share: Id<ShareId> }
    /// Read the configuration again; one that cannot be read changes nothing.
    Reload {}
    /// End the daemon in order.
    Stop {}
}

/// Why something was not done: what is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// What is wrong, in a line for a person; escaped, so that it can be shown anywhere.
    pub message: String,
    /// What to do about it, if something can be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What sort of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The line is no call, or asks for what makes no sense.
    BadCall,
    /// The call has another version of this contract.
    Version,
    /// There is no such share on this device.
    NoShare,
    /// There is no such device, path, version or invite.
    NotFound,
    /// This device's role in the share does not allow it.
    NotAllowed,
    /// The folder cannot be a share, or is one already.
    Directory,
    /// The invite cannot be used.
    Invite,
    /// The configuration cannot be used.
    Config,
    /// Not now: the share is stopped, or has not met a member yet.
    NotNow,
    /// Too much is being asked at once.
    Busy,
    /// The system refuses, or the daemon is ending.
    System,
    /// Of a newer daemon.
    #[serde(other)]
    Other,
}

impl Failure {
    /// A failure without a hint.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// There is no such share.
    #[must_use]
    pub fn no_share(share: &ShareId) -> Self {
        Self::new(Code::NoShare, format!("there is no share {} on this device", share.short()))
            .with_hint("`shoal shares` lists those that are there")
    }
}
