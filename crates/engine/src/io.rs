//! What goes into the engine, and what comes out of it.
//!
//! Promise: this is all that passes between the engine and the world. Each job that goes out is answered once; what is
//! sent on a connection is sent in order.

use std::collections::BTreeMap;

use shoal_proto::frame::RequestId;
use shoal_proto::id::{DeviceId, ShareId};
use shoal_proto::message::Message;
use shoal_proto::path::RelPath;
use shoal_proto::roster::{DeviceName, Entry};
use shoal_proto::secret::{ShareSecret, Side};

use crate::history::{Restore, Retention};
pub use crate::share::{GivenUp, given_up};
use crate::time::Time;
use crate::{disk, index};

/// A connection, as whoever owns it calls it; never used twice.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Conn(pub u64);

/// A job; its answer comes back by this name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct JobId(pub u64);

/// The time, told in two ways.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Now {
    /// Which never runs backwards, and all waits are measured by.
    pub time: Time,
    /// Seconds since 1970, as this machine's clock shows: right or wrong, only whether invites have expired and what
    /// is written beside history rests on it (I29).
    pub wall: u64,
}

/// What happens.
#[derive(Debug)]
pub enum Input {
    /// This device has a share: its index is open, and so is its folder.
    Opened(Opened),
    /// A share is to be forgotten, its connections with it.
    Closed(ShareId),
    /// A connection stands, and both ends have proved their keys.
    Connected {
        /// Which.
        conn: Conn,
        /// The other end.
        device: DeviceId,
        /// Which end this is.
        side: Side,
        /// The TLS exporter value of the connection.
        exporter: [u8; 32],
    },
    /// The other end said something.
    Received(Conn, RequestId, Message),
    /// What was sent on a connection is mostly on its way: there is room for more. To be told whenever nothing of it is
    /// left to be sent, and whenever that has come below [`DRAINED_BYTES`](crate::limits::DRAINED_BYTES) again.
    Drained(Conn),
    /// A connection is over.
    Disconnected(Conn),
    /// The index has answered.
    Indexed(ShareId, JobId, index::Answer),
    /// The disk has answered.
    DiskDone(ShareId, JobId, disk::Answer),
    /// Something may have happened to a folder.
    Hint(ShareId, Hint),
    /// A person wants something.
    Command(ShareId, Command),
    /// A moment has come that [`Engine::poll_timeout`](crate::Engine::poll_timeout) named.
    Tick,
}

/// A share that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Which.
    pub share: ShareId,
    /// The secrets by which members find each other, as this device was told them with its invite; the newest first.
    pub secrets: Vec<ShareSecret>,
    /// How much of what was displaced is kept.
    pub retention: Retention,
    /// Whether a person decides what the first contact leads to: until [`Command::Meet`] nothing is published, and nothing
    /// put onto the disk. What the index holds by then shows how many files differ.
    pub asks_first: bool,
}

impl Opened {
    /// A share that was opened, whose history is kept as long as any.
    #[must_use]
    pub fn new(share: ShareId, secrets: Vec<ShareSecret>) -> Self {
        Self { share, secrets, retention: Retention::default(), asks_first: false }
    }
}

/// Who is to be met for a share.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Belonging {
    /// The secrets by which members find each other, the newest first. None: this device is no member, or was not let in; its
    /// members refuse it.
    pub secrets: Vec<ShareSecret>,
    /// The members, this device too, and what they call themselves.
    pub members: BTreeMap<DeviceId, Option<DeviceName>>,
}

/// What a watcher of a folder says. Only a hint: it may be late, merged or lost (I33).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Hint {
    /// Something happened at this path, and it is over: a file was closed, came, went, or was set another time.
    At(RelPath),
    /// Somebody is writing at this path, and may go on.
    Changing(RelPath),
    /// Something happened somewhere below this folder, or a folder has come to be there.
    Below(RelPath),
    /// Events were lost: look at everything.
    Lost,
}

/// What a person wants of a share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Look at everything.
    Rescan,
    /// Go on: after a pause, or as what stopped the share is over. If a guard has asked, because most of it would be
    /// deleted, here or by others: that is meant. Of anything that was not asked nothing is said.
    Resume,
    /// What the user of a device that only reads has changed at these paths is given up, as far as they still show this.
    Revert(GivenUp),
    /// Nobody else is to be waited for: what is here is the share.
    Alone,
    /// What is found to differ at first contact is to be treated so; nobody is asked any more. Comes too late once it is over.
    Meet(Differing),
    /// Do nothing to the disk and publish nothing until [`Command::Resume`].
    Pause,
    /// A version in history is to stand in the folder again, as this device's newest one. What becomes of it, the status
    /// says.
    Restore(Restore),
    /// What a program wrote to this version in history after it was displaced is known: it needs not be listed.
    Heed(u64),
    /// So much of what was displaced is to be kept from now on.
    Retain(Retention),
    /// This device has signed these entries of the roster, in this order: it says something of itself, lets nobody in by an
    /// invite any more, removes a member, gives the share a new secret, or leaves. They are taken up together, passed on at
    /// once, and heeded at once, whatever else stops the share. Those that there is no room for are left out: the index
    /// shows which it holds, and what they come to, to who looks into it after this.
    Enter(Vec<Entry>),
}

/// What becomes of files that differ when a device meets the first member of a share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Differing {
    /// Both versions are kept: they are a conflict like any other.
    Both,
    /// The share's version takes the place of this disk's, which goes to history. What only is here is published, and so is
    /// what the share has deleted and this disk has otherwise than it was.
    Theirs,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Send this; with a request's id, if it asks or answers something.
    Send(Conn, RequestId, Message),
    /// Close a connection, after what was sent.
    HangUp(Conn),
    /// Perform this job of a share's index, after those before it.
    Index(ShareId, JobId, index::Job),
    /// Perform this job of a share's disk.
    Disk(ShareId, JobId, disk::Job),
}
