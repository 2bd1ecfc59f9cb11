//! The engine: inputs in, actions out.
//!
//! Promise: feed one [`Input`], then drain every [`Action`]; equal inputs give equal actions. Here connections are greeted
//! and kept alive, and messages find their share; what goes on in a share is the share's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shoal_proto::frame::RequestId;
use shoal_proto::hash::{Domain, RecordHash};
use shoal_proto::id::{DeviceId, ShareId};
use shoal_proto::message::{Channel, Goodbye, Message, Refusal};
use shoal_proto::secret::{ShareSecret, Side};

use crate::greeting::{Agreed, Greeted, Greeting, Known};
use crate::io::{Action, Belonging, Conn, Input, Now, Opened};
use crate::limits::{CONNECTION_SILENCE_MAX, GREETING_MAX, PING_INTERVAL};
use crate::share::{Out, Share};
use crate::status::Status;
use crate::time::Time;
use crate::timers::Timers;
use crate::transfer::AskId;

/// All shares and connections of one device.
#[derive(Debug)]
pub struct Engine {
    device: DeviceId,
    seed: [u8; 32],
    agent: String,
    shares: BTreeMap<ShareId, Share>,
    shares_opened: u64,
    belongings: u64,
    conns: BTreeMap<Conn, Connection>,
    timers: Timers<Wake>,
    actions: VecDeque<Action>,
}

/// A connection.
#[derive(Debug)]
struct Connection {
    device: DeviceId,
    side: Side,
    exporter: [u8; 32],
    state: State,
    /// Requests that were sent, and whose they are.
    requests: BTreeMap<RequestId, (ShareId, AskId)>,
    requests_made: u32,
    heard: Time,
    /// Whether a ping was answered since the connection was drained last.
    has_answered_ping: bool,
}

#[derive(Debug)]
enum State {
    Greeting(Greeting),
    Agreed(BTreeMap<Channel, ShareId>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
enum Wake {
    /// A connection that is greeted has not come to an end, or has been silent.
    Silence(Conn),
}

impl Engine {
    /// The engine of a device. `seed` must be random and fresh; `agent` is the program's name and version, to be shown.
    #[must_use]
    pub fn new(device: DeviceId, seed: [u8; 32], agent: &str) -> Self {
        Self {
            device,
            seed,
            agent: agent.to_owned(),
            shares: BTreeMap::new(),
            shares_opened: 0,
            belongings: 0,
            conns: BTreeMap::new(),
            timers: Timers::default(),
            actions: VecDeque::new(),
        }
    }

    /// Takes in what happens. Then [`Self::poll_action`] until there is nothing more to do.
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Opened(opened) => self.open(opened, now),
            Input::Closed(share) => self.close(share, now),
            Input::Connected { conn, device, side, exporter } => {
                self.connected(conn, device, side, exporter, now);
            }
            Input::Received(conn, request, message) => self.received(conn, request, message, now),
            Input::Drained(conn) => self.drained(conn, now),
            Input::Disconnected(conn) => self.disconnected(conn, now),
            Input::Indexed(share, job, answer) => self.share(share, |share| share.indexed(job, answer, now)),
            Input::DiskDone(share, job, answer) => {
                self.share(share, |share| share.disk_done(job, answer, now));
            }
            Input::Hint(share, hint) => self.share(share, |share| share.hinted(hint, now)),
            Input::Command(share, command) => self.share(share, |share| share.command(&command, now)),
            Input::Tick => self.tick(now),
        }
        self.drain(now);
    }

    /// The next thing to be done.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to come back with [`Input::Tick`] though nothing has happened.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let of_shares = self.shares.values().filter_map(Share::next_wake);
        of_shares.chain(self.timers.next().map(|(at, _)| at)).min()
    }

    /// Whether more may be read from a connection now.
    #[must_use]
    pub fn is_reading(&self, conn: Conn) -> bool {
        self.shares.values().all(|share| share.is_reading(conn))
    }

    /// How a share stands; `None` if there is none.
    #[must_use]
    pub fn status(&self, share: &ShareId) -> Option<Status> {
        self.shares.get(share).map(Share::status)
    }

    /// The connected members that have said to lack the bytes of one of these records, or were only just told of it.
    #[must_use]
    pub fn lacking(&self, share: &ShareId, records: &[RecordHash]) -> BTreeSet<DeviceId> {
        self.shares.get(share).map(|share| share.lacking(records)).unwrap_or_default()
    }

    /// The secrets by which the members of a share find each other, the newest first.
    pub fn secrets(&self, share: &ShareId) -> impl Iterator<Item = &ShareSecret> {
        self.shares.get(share).into_iter().flat_map(Share::secrets)
    }

    /// Who is to be met, by shares.
    #[must_use]
    pub fn belonging(&self) -> BTreeMap<ShareId, Belonging> {
        self.shares.iter().map(|(id, share)| (*id, share.belonging())).collect()
    }

    /// Counts what changes [`Self::belonging`].
    #[must_use]
    pub fn belongings(&self) -> u64 {
        self.belongings
    }

    /// Whether this device was removed from a share, or not let in: its members refuse it.
    #[must_use]
    pub fn is_out(&self, share: &ShareId) -> bool {
        self.shares.get(share).is_some_and(Share::is_out)
    }

    // ── shares ──

    fn open(&mut self, opened: Opened, now: Now) {
        self.shares_opened += 1;
        let seed =
            Domain::SALT.hash(&[&self.seed, opened.share.as_bytes(), &self.shares_opened.to_be_bytes()]);
        let jobs_from = self.shares_opened << 32;
        let id = opened.share;
        let share = Share::new(self.device, opened, seed, jobs_from, now);
        self.shares.insert(id, share);
        self.belongings += 1;
        // Who is connected already may have it too: that shows in a new greeting.
        self.hang_up_where(|_| true, now);
    }

    fn close(&mut self, share: ShareId, now: Now) {
        self.shares.remove(&share);
        self.belongings += 1;
        let has_it = |connection: &Connection| match &connection.state {
            State::Agreed(channels) => channels.values().any(|other| *other == share),
            State::Greeting(_) => true,
        };
        // What else the two ends share shows in a new greeting.
        self.hang_up_where(has_it, now);
    }

    fn share(&mut self, share: ShareId, tell: impl FnOnce(&mut Share)) {
        if let Some(share) = self.shares.get_mut(&share) {
            tell(share);
        }
    }

    fn each_share_of(&mut self, conn: Conn, tell: impl Fn(&mut Share)) {
        let Some(Connection { state: State::Agreed(channels), .. }) = self.conns.get(&conn) else { return };
        for share in channels.values() {
            if let Some(share) = self.shares.get_mut(share) {
                tell(share);
            }
        }
    }

    // ── connections ──

    fn connected(&mut self, conn: Conn, device: DeviceId, side: Side, exporter: [u8; 32], now: Now) {
        let mut secrets: Vec<(ShareId, bool, Vec<ShareSecret>)> = Vec::new();
        for (id, share) in &self.shares {
            let (refused, known) =
                share.secrets().cloned().partition(|secret| share.refuses(&device, secret));
            secrets.extend([(*id, false, known), (*id, true, refused)]);
        }
        let known = secrets.iter().map(|(share, is_refused, secrets)| Known {
            share: *share,
            secrets,
            is_refused: *is_refused,
        });
        let (greeting, messages) = Greeting::begin(side, &exporter, known, &self.agent);
        let state = State::Greeting(greeting);
        let requests = BTreeMap::new();
        self.conns.insert(
            conn,
            Connection {
                device,
                side,
                exporter,
                state,
                requests,
                requests_made: 0,
                heard: now.time,
                has_answered_ping: false,
            },
        );
        self.timers.set(Wake::Silence(conn), now.time.after(GREETING_MAX));
        self.actions.extend(messages.into_iter().map(|message| Action::Send(conn, RequestId::NONE, message)));
    }

    fn drained(&mut self, conn: Conn, now: Now) {
        if let Some(connection) = self.conns.get_mut(&conn) {
            connection.has_answered_ping = false;
        }
        self.each_share_of(conn, |share| share.drained(conn, now));
    }

    fn received(&mut self, conn: Conn, request: RequestId, message: Message, now: Now) {
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        connection.heard = now.time;
        match message {
            // One answer at a time: who asks and does not read gets no more of them.
            Message::Ping if connection.has_answered_ping => {}
            Message::Ping => {
                connection.has_answered_ping = true;
                self.actions.push_back(Action::Send(conn, request, Message::Pong));
            }
            Message::Pong => {}
            message => match &mut connection.state {
                State::Greeting(greeting) => match greeting.handle(message) {
                    Ok(Greeted::NotYet) => {}
                    Ok(Greeted::Answer(answer, agreed)) => {
                        self.actions.push_back(Action::Send(conn, RequestId::NONE, answer));
                        self.agreed(conn, agreed, now);
                    }
                    Ok(Greeted::Done(agreed)) => self.agreed(conn, agreed, now),
                    Err(error) => self.hang_up(conn, error.goodbye(), now),
                },
                State::Agreed(_) => self.told(conn, request, message, now),
            },
        }
    }

    fn agreed(&mut self, conn: Conn, agreed: Agreed, now: Now) {
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        let (refused, channels): (BTreeMap<_, _>, BTreeMap<_, _>) =
            agreed.channels.into_iter().partition(|(_, share)| agreed.refused.contains(share));
        connection.state = State::Agreed(channels.clone());
        let Connection { device, side, exporter, .. } = *connection;
        self.timers.set(Wake::Silence(conn), now.time.after(PING_INTERVAL));
        // Who was removed while it was away hears that, and nothing else.
        for channel in refused.into_keys() {
            let message = Message::Refused { channel, why: Refusal::Removed };
            self.actions.push_back(Action::Send(conn, RequestId::NONE, message));
        }
        if channels.is_empty() {
            return self.hang_up(conn, Some(Goodbye::NothingInCommon), now);
        }
        for (channel, share) in channels {
            self.share(share, |share| share.connected(conn, device, channel, side, exporter, now));
        }
    }

    /// A message on a connection that both ends have agreed on.
    fn told(&mut self, conn: Conn, request: RequestId, message: Message, now: Now) {
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        let State::Agreed(channels) = &connection.state else { return };
        match &message {
            Message::Goodbye(_) => return self.hang_up(conn, None, now),
            Message::Cancel => {
                let shares: Vec<ShareId> = channels.values().copied().collect();
                for share in shares {
                    self.share(share, |share| share.cancelled(conn, request, now));
                }
                return;
            }
            Message::Content { .. } | Message::List(_) | Message::Unserved(_) => {
                // What comes for a request that was cancelled meanwhile is of no use.
                if let Some((share, number)) = connection.requests.get(&request).copied() {
                    self.answered(conn, request, (share, number), message, now);
                }
                return;
            }
            _ => {}
        }
        match channel_of(&message).map(|channel| channels.get(&channel).copied()) {
            Some(Some(share)) => self.share(share, |share| share.received(conn, request, message, now)),
            // A share that was closed here meanwhile.
            Some(None) => {}
            None => self.hang_up(conn, Some(Goodbye::Protocol), now),
        }
    }

    fn answered(
        &mut self,
        conn: Conn,
        request: RequestId,
        asked: (ShareId, AskId),
        message: Message,
        now: Now,
    ) {
        let (share, number) = asked;
        let share = self.shares.get_mut(&share);
        let is_open = share.is_some_and(|share| share.answered(conn, number, message, now));
        if let Some(connection) = self.conns.get_mut(&conn).filter(|_| !is_open) {
            connection.requests.remove(&request);
        }
    }

    fn disconnected(&mut self, conn: Conn, now: Now) {
        self.timers.clear(&Wake::Silence(conn));
        self.each_share_of(conn, |share| share.disconnected(conn, now));
        self.conns.remove(&conn);
    }

    fn hang_up_where(&mut self, is_meant: impl Fn(&Connection) -> bool, now: Now) {
        let meant = self.conns.iter().filter(|(_, connection)| is_meant(connection));
        let conns: Vec<Conn> = meant.map(|(conn, _)| *conn).collect();
        conns.into_iter().for_each(|conn| self.hang_up(conn, None, now));
    }

    fn hang_up(&mut self, conn: Conn, goodbye: Option<Goodbye>, now: Now) {
        if let Some(goodbye) = goodbye {
            self.actions.push_back(Action::Send(conn, RequestId::NONE, Message::Goodbye(goodbye)));
        }
        self.disconnected(conn, now);
        self.actions.push_back(Action::HangUp(conn));
    }

    // ── time ──

    fn tick(&mut self, now: Now) {
        while let Some(Wake::Silence(conn)) = self.timers.take_due(now.time) {
            self.is_silent(conn, now);
        }
        for share in self.shares.values_mut() {
            share.tick(now);
        }
    }

    fn is_silent(&mut self, conn: Conn, now: Now) {
        let Some(connection) = self.conns.get(&conn) else { return };
        let silence = now.time.since(connection.heard);
        let is_greeted = matches!(connection.state, State::Agreed(_));
        if !is_greeted || silence >= CONNECTION_SILENCE_MAX {
            return self.hang_up(conn, None, now);
        }
        if silence >= PING_INTERVAL {
            self.actions.push_back(Action::Send(conn, RequestId::NONE, Message::Ping));
        }
        self.timers.set(Wake::Silence(conn), now.time.after(PING_INTERVAL));
    }

    // ── what shares ask for ──

    fn drain(&mut self, now: Now) {
        let mut is_more = true;
        while core::mem::take(&mut is_more) {
            let ids: Vec<ShareId> = self.shares.keys().copied().collect();
            for id in ids {
                while let Some(out) = self.shares.get_mut(&id).and_then(Share::poll) {
                    self.act(id, out, now);
                    is_more = true;
                }
                let belongs_anew = self.shares.get_mut(&id).is_some_and(Share::belongs_anew);
                self.belongings += u64::from(belongs_anew);
            }
        }
    }

    fn act(&mut self, share: ShareId, out: Out, now: Now) {
        match out {
            Out::Send(conn, request, message) if self.conns.contains_key(&conn) => {
                self.actions.push_back(Action::Send(conn, request, message));
            }
            Out::Ask(conn, number, message) => self.ask(share, conn, number, message),
            Out::Cancel(conn, number) => self.cancel(share, conn, number),
            Out::Leave(conn) => self.leave(share, conn, now),
            Out::HangUp(conn, goodbye) if self.conns.contains_key(&conn) => self.hang_up(conn, goodbye, now),
            Out::Send(..) | Out::HangUp(..) => {}
            Out::Index(job, what) => self.actions.push_back(Action::Index(share, job, what)),
            Out::Disk(job, what) => self.actions.push_back(Action::Disk(share, job, what)),
        }
    }

    fn ask(&mut self, share: ShareId, conn: Conn, number: AskId, message: Message) {
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        connection.requests_made = connection.requests_made.checked_add(1).unwrap_or(1);
        let request = RequestId(connection.requests_made);
        connection.requests.insert(request, (share, number));
        self.actions.push_back(Action::Send(conn, request, message));
    }

    fn cancel(&mut self, share: ShareId, conn: Conn, number: AskId) {
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        let request =
            connection.requests.iter().find(|(_, asked)| **asked == (share, number)).map(|(id, _)| *id);
        if let Some(request) = request {
            connection.requests.remove(&request);
            self.actions.push_back(Action::Send(conn, request, Message::Cancel));
        }
    }

    /// A share is spoken of no more on a connection; one without shares is closed.
    fn leave(&mut self, share: ShareId, conn: Conn, now: Now) {
        let Some(Connection { state: State::Agreed(channels), .. }) = self.conns.get_mut(&conn) else {
            return;
        };
        channels.retain(|_, other| *other != share);
        if channels.is_empty() {
            self.hang_up(conn, Some(Goodbye::NothingInCommon), now);
        }
    }
}

/// The channel that a message names.
fn channel_of(message: &Message) -> Option<Channel> {
    match message {
        Message::Opened { channel, .. }
        | Message::Known { channel, .. }
        | Message::Roster { channel, .. }
        | Message::Refused { channel, .. }
        | Message::Reconcile { channel, .. }
        | Message::Records { channel, .. }
        | Message::Offer { channel, .. }
        | Message::WantRecords { channel, .. }
        | Message::WantPublications { channel, .. }
        | Message::Publications { channel, .. }
        | Message::Holding { channel, .. }
        | Message::WantContents { channel, .. }
        | Message::WantList { channel, .. }
        | Message::WantSegment { channel, .. }
        | Message::WantChunks { channel, .. } => Some(*channel),
        _ => None,
    }
}
