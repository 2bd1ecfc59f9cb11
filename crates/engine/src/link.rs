//! One share on one connection: from the first word to where both ends hold the same records, and on.
//!
//! Promise: nothing of a share is told to who is no member of it, but the entries of its roster, to who knows its secret.
//! Nothing is sent that rests on a job not yet answered; what comes meanwhile waits, within a bound. While the connection
//! is full no records are sent on it, and none are kept for it: a round finds them later. What comes is heard all the same,
//! so that two ends never wait for each other. A device that turns out to have been rolled back says nothing more under its
//! old writer.
//!
//! ```text
//! Opened          →  ←  Opened            who each is, and with which roster
//! Roster, Known   →  ←  Roster, Known     rosters, if they differ; then what each knows of the other's writer
//! Reconcile …     ↔     Records …         until both hold the same (`proto::reconcile`)
//! Records, Offer  ↔                       what is new since
//! ```

use std::collections::VecDeque;

use shoal_proto::batch::{Batch, BatchError};
use shoal_proto::chain::Told;
use shoal_proto::digest::Sum;
use shoal_proto::frame::RequestId;
use shoal_proto::hash::RecordHash;
use shoal_proto::holding::HoldingMessage;
use shoal_proto::id::{DeviceId, Writer};
use shoal_proto::limits::MESSAGE_PUBLICATIONS_MAX;
use shoal_proto::message::{Channel, Message, Refusal};
use shoal_proto::publication::Place;
use shoal_proto::reconcile::{Nonce, Reconcile, ReconcileError, Role as Turn};
use shoal_proto::roster::Role;
use shoal_proto::secret::Side;

use crate::limits::{INBOX_MAX, LINK_SENT_BYTES_MAX, OFFER_RECORDS_MAX};
use crate::parcel::{records, roster, weight};
use crate::serve::asks_for_bytes;
use crate::store::{Answer, Job, Merge, Say, Step};

/// What a link asks for.
#[derive(Debug)]
pub enum Action {
    /// Send this to the other end.
    Send(Message),
    /// Perform this; the answer comes back with [`Link::answered`].
    Perform(Job),
    /// Tell all other links of the share: these records are new here ([`Link::offer`]).
    Spread(Vec<RecordHash>),
    /// Tell all other links of the share: these entries are new here ([`Link::entries`]).
    SpreadEntries(Vec<Vec<u8>>),
    /// Tell all links of the share, this one too: this device has published these ([`Link::published`]).
    Published(Vec<Batch>),
    /// The other end has said this of the bytes that it has, when the own records had this root.
    Holding(HoldingMessage, Sum),
    /// The other end asks for bytes.
    Asked(RequestId, Message),
    /// More than a page of everything goes to the other end: enough for some time.
    Streams,
    /// Both ends hold the same records.
    InSync,
    /// Something has changed since both held the same: a round is worth while, soon ([`Link::begin_round`]).
    Changed,
    /// A round did not bring both together, and another one would not either before something changes: it is worth while
    /// after some time.
    Stuck,
    /// Draw a new writer, and begin all links of the share anew. Up to this place of its chain the other end knows the same
    /// of the old one.
    NewWriter(Option<Place>),
    /// Speak no more of this share here.
    Close(Closed),
}

/// Why a link ends.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Closed {
    /// The other end is not in the roster, and showed nothing that lets it in.
    #[error("the other device is no member of this share")]
    NoMember,
    /// A message whose turn it was not.
    #[error("the other device said something whose turn it was not")]
    OutOfTurn,
    /// Records that are not what they claim to be.
    #[error("the other device sent false records: {0}")]
    FalseRecords(BatchError),
    /// A step of reconciling against the rules.
    #[error("the other device broke the rules of comparing: {0}")]
    Reconcile(ReconcileError),
    /// The own index refuses.
    #[error("the index refuses: {0}")]
    Index(String),
}

/// A share on a connection.
#[derive(Debug)]
pub struct Link {
    channel: Channel,
    side: Side,
    device: DeviceId,
    exporter: [u8; 32],
    state: State,
    /// The other end's role.
    role: Option<Role>,
    /// Why the invite that it shows does not let it in.
    refused: Option<Refusal>,
    /// The conversation about records, while it is not with a job.
    conversation: Option<Box<Reconcile>>,
    /// Whether a job is not yet answered.
    is_busy: bool,
    inbox: VecDeque<(RequestId, Message)>,
    /// What the other end has said of its bytes, until the root is known.
    holding: Option<HoldingMessage>,
    /// What the conversation asks to be said, while something larger goes before it.
    saying: VecDeque<Say>,
    /// Whether the conversation has more to say.
    is_more: bool,
    /// Where to go on with everything, which the other end is to have.
    everything: Option<Option<u32>>,
    /// Whether everything goes to the other end, and was not counted as one stream yet.
    is_uncounted: bool,
    /// What is to be said once the other end is known to be a member.
    unsaid: Vec<Message>,
    /// Bytes that were given to the connection since it was drained last.
    sent: u64,
    /// So many, and the connection is full.
    room: u64,
    /// Whether the other end was told publications; one answer tells all that it needs.
    has_told_publications: bool,
    /// The own writer, and its last publication; known once the index has said so.
    own: Option<(Writer, Option<Place>)>,
    /// Whether a round is to begin when there is nothing else to do.
    begins: bool,
    /// Whether that round is to forget what the other end has cost so far, and whether it may then have everything.
    forgives: Option<bool>,
    /// Whether an empty other end may have everything.
    may_stream: bool,
    is_in_sync: bool,
}

/// How far both ends have come in getting to know each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing was said.
    New,
    /// The other end's `Opened` is awaited.
    Opened,
    /// The other end's roster, if it differs, and its `Known`.
    Meeting,
    /// Both know each other, the other one is a member.
    Live,
    /// The own index was put back to an earlier day: where the chain of its writer parted is being found out.
    Parting,
    /// Over.
    Closed,
}

impl Link {
    /// A share that both ends of this connection have, as the greeting found. `exporter` is the connection's.
    #[must_use]
    pub fn new(channel: Channel, side: Side, device: DeviceId, exporter: [u8; 32]) -> Self {
        Self {
            channel,
            side,
            device,
            exporter,
            state: State::New,
            role: None,
            refused: None,
            conversation: None,
            is_busy: false,
            inbox: VecDeque::new(),
            holding: None,
            saying: VecDeque::new(),
            is_more: false,
            everything: None,
            is_uncounted: false,
            unsaid: Vec::new(),
            sent: 0,
            room: LINK_SENT_BYTES_MAX,
            has_told_publications: false,
            own: None,
            begins: false,
            forgives: None,
            may_stream: true,
            is_in_sync: false,
        }
    }

    /// The same with room for so many bytes on the connection, instead of [`LINK_SENT_BYTES_MAX`].
    #[must_use]
    pub fn with_room(mut self, bytes: u64) -> Self {
        self.room = bytes;
        self
    }

    /// The same with nothing for who is empty, before [`Self::forgive`]: everything went to it a short time ago.
    #[must_use]
    pub fn without_stream(mut self) -> Self {
        self.may_stream = false;
        self
    }

    /// Begins.
    pub fn start(&mut self) -> Vec<Action> {
        self.is_busy = true;
        vec![Action::Perform(Job::Introduce)]
    }

    /// Whether no more should be read from the connection for now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.inbox.len() >= INBOX_MAX
    }

    /// Whether the other end is known to be a member, and both know each other.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state == State::Live
    }

    /// Whether both ends proved to hold the same records, and nothing has changed here since.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.is_in_sync
    }

    /// Whether more may be said on the connection before it is drained.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.sent < self.room
    }

    /// This was given to the connection beside what the link says.
    pub fn has_sent(&mut self, message: &Message) {
        self.sent = self.sent.saturating_add(weight(message));
    }

    /// What was given to the connection is mostly on its way.
    pub fn drained(&mut self, now: u64) -> Vec<Action> {
        self.sent = 0;
        self.go_on(Vec::new(), now)
    }

    /// Takes a message of the other end. `now` is in seconds since 1970, here and below: by it a member judges whether
    /// an invite has expired.
    pub fn handle(&mut self, request: RequestId, message: Message, now: u64) -> Vec<Action> {
        self.inbox.push_back((request, message));
        self.go_on(Vec::new(), now)
    }

    /// This device has published something.
    pub fn published(&mut self, batches: &[Batch], now: u64) -> Vec<Action> {
        self.tell_records(!batches.is_empty(), |channel| records(channel, batches.to_vec()), now)
    }

    /// Records that came from elsewhere.
    pub fn offer(&mut self, records: &[RecordHash], now: u64) -> Vec<Action> {
        let parts = || records.chunks(OFFER_RECORDS_MAX).map(<[RecordHash]>::to_vec);
        let offer = |channel| parts().map(|records| Message::Offer { channel, records }).collect();
        self.tell_records(!records.is_empty(), offer, now)
    }

    /// Entries of the roster that came from elsewhere, or were made here.
    pub fn entries(&mut self, entries: &[Vec<u8>], now: u64) -> Vec<Action> {
        let messages = roster(self.channel, entries.to_vec());
        let is_news = !messages.is_empty();
        messages.into_iter().for_each(|message| self.tell(message));
        self.go_on_after(is_news, now)
    }

    /// What the other end has said of the roster and was not heard of yet, for when the link is over: it holds all the same,
    /// by the signatures on it.
    pub fn unheard_entries(&mut self, now: u64) -> Vec<Job> {
        let device = self.device;
        let unheard = core::mem::take(&mut self.inbox).into_iter();
        let entries = unheard.filter_map(|(_, message)| match message {
            Message::Roster { entries, .. } => Some(Job::Enter { device, entries, now }),
            _ => None,
        });
        entries.collect()
    }

    /// Ends the link; what the other end was still to be told of the roster, which is all that one who is no member any more
    /// may know.
    pub fn last_words(&mut self) -> Vec<Message> {
        let may_speak = !matches!(self.state, State::New | State::Closed);
        self.state = State::Closed;
        let unsaid = core::mem::take(&mut self.unsaid).into_iter();
        unsaid.filter(|message| may_speak && matches!(message, Message::Roster { .. })).collect()
    }

    /// Begins a round once there is nothing else to do: what both ends hold is compared.
    pub fn begin_round(&mut self, now: u64) -> Vec<Action> {
        self.begins = true;
        self.go_on(Vec::new(), now)
    }

    /// The same, and what the other end has cost so far is forgotten; whether it may have everything, if it is empty.
    pub fn forgive(&mut self, may_stream: bool, now: u64) -> Vec<Action> {
        self.forgives = Some(may_stream);
        self.begin_round(now)
    }

    /// Tells of records, unless the first round or one after this is to find them anyway.
    fn tell_records(
        &mut self,
        is_news: bool,
        messages: impl FnOnce(Channel) -> Vec<Message>,
        now: u64,
    ) -> Vec<Action> {
        if self.state == State::Live && self.has_room() {
            messages(self.channel).into_iter().for_each(|message| self.tell(message));
        }
        self.go_on_after(is_news, now)
    }

    fn tell(&mut self, message: Message) {
        self.has_sent(&message);
        self.unsaid.push(message);
    }

    fn go_on_after(&mut self, is_news: bool, now: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if is_news && self.state == State::Live {
            self.has_changed(&mut actions);
        }
        self.go_on(actions, now)
    }

    /// Takes the answer to the job that was asked for last.
    pub fn answered(&mut self, answer: Answer, now: u64) -> Vec<Action> {
        self.is_busy = false;
        let mut actions = Vec::new();
        if self.state != State::Closed {
            self.take(answer, &mut actions);
        }
        self.go_on(actions, now)
    }

    /// Does what can be done while no job is out, in this order: what the conversation has begun to say, what is new
    /// here, what the other end has said, a round.
    fn go_on(&mut self, mut actions: Vec<Action>, now: u64) -> Vec<Action> {
        while !self.is_busy && !matches!(self.state, State::New | State::Closed) {
            let (has_room, is_giving) = (self.has_room(), self.everything.is_some());
            if has_room && let Some(next) = self.everything.take() {
                if next.is_some() && core::mem::take(&mut self.is_uncounted) {
                    actions.push(Action::Streams);
                }
                self.perform(Job::Everything(next), &mut actions);
            } else if !is_giving && let Some(say) = self.saying.pop_front() {
                self.say(say, &mut actions);
            } else if has_room
                && self.is_more
                && let Some(conversation) = self.conversation.take()
            {
                self.perform(Job::Step(conversation, Step::GoOn), &mut actions);
            } else if self.state == State::Live && !self.unsaid.is_empty() {
                actions.extend(core::mem::take(&mut self.unsaid).into_iter().map(Action::Send));
            } else if let Some((request, message)) = self.inbox.pop_front() {
                self.hear(request, message, now, &mut actions);
            } else if has_room
                && self.state == State::Live
                && core::mem::take(&mut self.begins)
                && let Some(conversation) = self.conversation.take()
            {
                let step = self.forgives.take().map_or(Step::Begin, Step::BeginForgiving);
                self.perform(Job::Step(conversation, step), &mut actions);
            } else {
                break;
            }
        }
        actions
    }

    fn say(&mut self, say: Say, actions: &mut Vec<Action>) {
        let channel = self.channel;
        match say {
            Say::Message(message) => self.send(Message::Reconcile { channel, message }, actions),
            Say::Records(batches) => self.send_records(batches, actions),
            Say::Everything => (self.everything, self.is_uncounted) = (Some(None), true),
            Say::InSync => {
                self.is_in_sync = true;
                actions.push(Action::InSync);
            }
            Say::Wait => actions.push(Action::Stuck),
        }
    }

    fn hear(&mut self, request: RequestId, message: Message, now: u64, actions: &mut Vec<Action>) {
        let device = self.device;
        match (self.state, message) {
            (State::Opened, Message::Opened { salt, roster, nonce, .. }) => {
                self.conversation = Some(Box::new(self.conversation(nonce)));
                self.perform(Job::Meet { device, salt, roster }, actions);
            }
            (State::Meeting | State::Live, Message::Roster { entries, .. }) => {
                self.perform(Job::Enter { device, entries, now }, actions);
            }
            (State::Meeting, Message::Known { published, .. }) => {
                self.perform(Job::Compare(published.map(|known| *known)), actions);
            }
            (State::Live, Message::Reconcile { message, .. }) => {
                if let Some(conversation) = self.conversation.take() {
                    let may_say = self.has_room() && self.everything.is_none();
                    let step = if may_say { Step::Said(message) } else { Step::Noted(message) };
                    self.perform(Job::Step(conversation, step), actions);
                }
            }
            (State::Live, Message::Holding { message, .. }) => {
                self.holding = Some(message);
                self.perform(Job::Root, actions);
            }
            (State::Live, message) if asks_for_bytes(&message) => {
                actions.push(Action::Asked(request, message));
            }
            (
                State::Meeting | State::Parting | State::Live,
                Message::WantPublications { writer, from, to, .. },
            ) if self.role.is_some() && !core::mem::replace(&mut self.has_told_publications, true) => {
                self.perform(Job::Publications(writer, from, to), actions);
            }
            (State::Parting, Message::Publications { publications, .. }) => {
                self.perform(Job::Fork(publications), actions);
            }
            // What else was said before the other end heard of it.
            (State::Parting, _) => {}
            (State::Live, Message::Records { batches, .. }) => self.perform(Job::Merge(batches), actions),
            (State::Live, Message::Offer { records, .. }) => self.perform(Job::Lacking(records), actions),
            (State::Live, Message::WantRecords { records, .. }) if self.has_room() => {
                self.perform(Job::Records(records), actions);
            }
            (State::Live, Message::WantRecords { .. }) => self.has_changed(actions),
            _ => self.close(Closed::OutOfTurn, actions),
        }
    }

    fn take(&mut self, answer: Answer, actions: &mut Vec<Action>) {
        let channel = self.channel;
        match answer {
            Answer::Introduced { me, records, roster } => {
                let nonce = Nonce::part(&self.exporter, channel, self.side);
                self.own = Some((me.writer, me.published));
                let (salt, published) = (me.salt, me.published);
                self.send(Message::Opened { channel, salt, published, nonce, records, roster }, actions);
                self.state = State::Opened;
            }
            Answer::Met { known, entries, role } => {
                self.role = role;
                // The roster first: once `Known` is there, the other end knows who is a member.
                roster(channel, entries).into_iter().for_each(|message| self.send(message, actions));
                self.send(Message::Known { channel, published: known.map(Box::new) }, actions);
                self.state = State::Meeting;
            }
            Answer::Entered { role, refused, fresh, published } => {
                self.role = role;
                self.refused = refused.or(self.refused);
                if !fresh.is_empty() {
                    actions.push(Action::SpreadEntries(fresh));
                }
                if !published.is_empty() {
                    actions.push(Action::Published(published));
                }
                if self.state == State::Live && role.is_none() {
                    self.close(Closed::NoMember, actions);
                }
            }
            Answer::Compared(Told::RolledBack) => {
                let published = self.own.and_then(|(_, published)| published);
                self.part(published, actions);
            }
            Answer::Merged(Merge::RolledBack(published)) => self.part(published, actions),
            Answer::Forked(agreed) => {
                actions.push(Action::NewWriter(agreed));
                self.state = State::Closed;
            }
            Answer::Publications(publications) => {
                self.send(Message::Publications { channel, publications }, actions);
            }
            Answer::Compared(_) if self.role.is_none() => {
                if let Some(why) = self.refused {
                    self.send(Message::Refused { channel, why }, actions);
                }
                self.close(Closed::NoMember, actions);
            }
            Answer::Compared(_) => {
                self.state = State::Live;
                self.begins = self.side == Side::Dialler;
            }
            Answer::Stepped { conversation, outputs, is_more } => {
                self.conversation = Some(conversation);
                self.saying.extend(outputs);
                self.is_more = is_more;
            }
            Answer::Merged(Merge::Done(new)) => {
                if !new.is_empty() {
                    self.has_changed(actions);
                    actions.push(Action::Spread(new));
                }
            }
            Answer::Lacking(records) => match (records.is_empty(), self.has_room()) {
                (true, _) => {}
                (false, true) => self.send(Message::WantRecords { channel, records }, actions),
                (false, false) => self.has_changed(actions),
            },
            Answer::Found(batches, next) => {
                self.send_records(batches, actions);
                self.everything = next.map(Some).or(self.everything);
            }
            Answer::Root(root) => {
                let holding = self.holding.take();
                actions.extend(holding.map(|message| Action::Holding(message, root)));
            }
            Answer::Merged(Merge::False(error)) => self.close(Closed::FalseRecords(error), actions),
            Answer::Broken(error) => self.close(Closed::Reconcile(error), actions),
            Answer::Failed(error) => self.close(Closed::Index(error), actions),
        }
    }

    /// Asks for what the other end knows of the last publications that both may know.
    fn part(&mut self, published: Option<Place>, actions: &mut Vec<Action>) {
        let (Some((writer, _)), Some(last)) = (self.own, published) else {
            actions.push(Action::NewWriter(None));
            self.state = State::Closed;
            return;
        };
        let (channel, to) = (self.channel, last.sequence);
        let from = to.saturating_sub(MESSAGE_PUBLICATIONS_MAX as u64 - 1);
        self.send(Message::WantPublications { channel, writer, from, to }, actions);
        self.state = State::Parting;
    }

    fn send_records(&mut self, batches: Vec<Batch>, actions: &mut Vec<Action>) {
        records(self.channel, batches).into_iter().for_each(|message| self.send(message, actions));
    }

    fn send(&mut self, message: Message, actions: &mut Vec<Action>) {
        self.has_sent(&message);
        actions.push(Action::Send(message));
    }

    fn has_changed(&mut self, actions: &mut Vec<Action>) {
        self.is_in_sync = false;
        actions.push(Action::Changed);
    }

    fn perform(&mut self, job: Job, actions: &mut Vec<Action>) {
        self.is_busy = true;
        actions.push(Action::Perform(job));
    }

    fn close(&mut self, why: Closed, actions: &mut Vec<Action>) {
        self.state = State::Closed;
        actions.push(Action::Close(why));
    }

    /// The dialler leads; both make the conversation's keys of what both have said.
    fn conversation(&self, theirs: [u8; 16]) -> Reconcile {
        let own = Nonce::part(&self.exporter, self.channel, self.side);
        match self.side {
            Side::Dialler => Reconcile::new(Turn::Leader, Nonce::new(own, theirs), self.may_stream),
            Side::Listener => Reconcile::new(Turn::Follower, Nonce::new(theirs, own), self.may_stream),
        }
    }
}
