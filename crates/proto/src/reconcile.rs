//! Finds what two sets of records lack of each other, in few bytes and few round trips.
//!
//! Promise: when nothing changes meanwhile, both ends know after one conversation that they hold the same
//! records, or what to send each other so that they do; "in sync" is said only after a proof that no forger
//! of sums can meet. An end that lies costs the other a bounded number of rounds, and memory for some pages.
//!
//! A *round* compares roots. Where they differ it goes down the tree, the ends taking turns to tell the
//! digests of what differs one level above; then one end lists fingerprints, the other answers which of them
//! it lacks, and both send what the other has not. The next round compares roots again, under other keys:
//!
//! ```text
//! leader                                   follower
//! Root 1                            →
//!                                   ←      Children: of the root
//! Children: of level 1              →
//!                                   ←      Children: of level 2
//! Children: of level 3, the leaves  →
//!                                   ←      Page …: fingerprints of leaves that differ
//! its records, Wanted …             →
//!                                   ←      its records, Root 2
//! Proof                             →
//!                                   ←      Proof
//! ```
//!
//! Begin at [`Reconcile`].

mod error;
mod keys;
mod leaves;
mod listing;
mod message;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::VecDeque;

pub use self::error::ReconcileError;
pub use self::keys::{Nonce, ShortDigest, ShortFingerprint};
pub use self::message::{By, Page, ReconcileDecodeError, ReconcileMessage};

use self::keys::{Keys, Proofs};
use self::leaves::LeafSet;
use self::listing::{Answering, Listing, Open, Reading};
use crate::digest::{Digests, FAN_OUT, LEVELS, Leaf, Node, Sum};
use crate::hash::RecordHash;
use crate::limits::{
    RECONCILE_PAGES_IN_FLIGHT_MAX, RECONCILE_PUSH_MAX, RECONCILE_ROUNDS_MAX, RECONCILE_WALKS_MAX,
};

/// The records of one end, as they are now. They may change between any two calls.
///
/// A caller whose reading can fail returns nothing, and drops the conversation with all that it has said
/// since.
pub trait Records {
    /// The sums over all records.
    fn digests(&self) -> &Digests;

    /// The hashes of a leaf's records, ascending, each once.
    fn fingerprints(&self, leaf: Leaf) -> Cow<'_, [RecordHash]>;

    /// All hashes, leaf by leaf in order, those of each leaf ascending; leaves without records may be left
    /// out.
    fn visit(&self, visitor: &mut dyn FnMut(Leaf, &[RecordHash])) {
        for leaf in Leaf::all() {
            visitor(leaf, &self.fingerprints(leaf));
        }
    }
}

/// Which of two ends goes first when both begin at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// The end that dialled.
    Leader,
    /// The other one.
    Follower,
}

/// What the caller has to do next, in the order in which it comes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Send this message.
    Send(ReconcileMessage),
    /// Send these records, at most [`RECONCILE_PUSH_MAX`], leaving out those that are not held any more.
    Push(Vec<RecordHash>),
    /// The other end has no records: send all of ours, in whatever order is best.
    StreamAll,
    /// Both ends hold the same records, and have proved it.
    InSync,
    /// The ends differ and another round would bring nothing new; [`Reconcile::begin`] once something
    /// changed.
    Wait,
}

/// One end of the conversation with one other device about one share.
///
/// The caller keeps two things in order: what [`Self::poll`] returns goes into the connection as it comes,
/// and records that arrive are merged before the messages behind them are handled. What it does not poll
/// waits here, so a full connection holds the conversation up; the other end can add some pages to that and
/// no more. How often that end may cost a push of everything, and how soon after a change a new round begins,
/// is up to the caller, which has the clock.
#[derive(Debug)]
pub struct Reconcile {
    role: Role,
    nonce: Nonce,
    state: State,
    tasks: VecDeque<Task>,
    /// The leaf in which the pages answered so far have ended.
    open: Option<Open>,
    /// The number of the last round, its keys, and the tree that stands for the sums in a round by hashes.
    round: u32,
    keys: Keys,
    hashed: Option<Digests>,
    /// Our root when the last round began, and what was spent since it was another one.
    root: Option<Sum>,
    rounds: u32,
    walks: u32,
    is_waiting: bool,
    /// [`Digests::changes`] when both ends last proved to hold the same.
    agreed: Option<u64>,
    may_stream: bool,
}

#[derive(Debug)]
enum State {
    /// Either end may begin a round.
    Idle,
    /// We begin one, as soon as what was queued before is out.
    Beginning(By),
    /// Our root was sent; whether the other end's crossed it.
    Asked { crossed: bool },
    /// We told the digests of these nodes' children.
    Told(Vec<Node>),
    /// We list fingerprints.
    Listing(Listing),
    /// The other end lists fingerprints.
    Reading(Reading),
    /// Our proof was sent, made after so many changes; this is the other end's.
    Proved { expected: [u8; 32], changes: u64 },
    /// Our part is done; the other end begins the next round.
    Turn,
    /// The other end broke the rules.
    Broken,
}

#[derive(Debug)]
enum Task {
    Out(Output),
    Push(Vec<RecordHash>),
    Give(LeafSet),
    Answer(Box<Answering>),
    Begin,
}

impl Reconcile {
    /// A conversation that has not begun. `may_stream` says whether an empty other end may have everything.
    #[must_use]
    pub fn new(role: Role, nonce: Nonce, may_stream: bool) -> Self {
        Self {
            role,
            state: State::Idle,
            tasks: VecDeque::new(),
            open: None,
            round: 0,
            keys: Keys::new(&nonce, 0),
            nonce,
            hashed: None,
            root: None,
            rounds: 0,
            walks: 0,
            is_waiting: false,
            agreed: None,
            may_stream,
        }
    }

    /// Begins a round, unless one is under way or there is no reason for one: all is agreed, or nothing of
    /// ours has changed since another round was found to bring nothing. To be called at first, after changes,
    /// and after [`Self::forgive`]; more often does no harm.
    pub fn begin(&mut self, records: &impl Records) {
        let root = records.digests().root();
        let is_pointless = self.is_agreed(records.digests()) || self.is_waiting && self.root == Some(root);
        if matches!(self.state, State::Idle) && !is_pointless {
            self.state = self.begin_next(By::Sums);
        }
    }

    /// Forgets what the other end cost so far, and says whether an empty other end may have everything now.
    pub fn forgive(&mut self, may_stream: bool) {
        (self.rounds, self.walks, self.is_waiting, self.may_stream) = (0, 0, false, may_stream);
    }

    /// Whether both ends proved to hold the records that are here now, of which these must be the sums in all
    /// calls. They may have changed there since; then the other end says so.
    #[must_use]
    pub fn is_agreed(&self, digests: &Digests) -> bool {
        self.agreed == Some(digests.changes())
    }

    /// Takes a message of the other end.
    ///
    /// # Errors
    /// When it is not what the rules allow here. The other end is at fault, and the conversation over.
    pub fn handle(
        &mut self,
        message: ReconcileMessage,
        records: &impl Records,
    ) -> Result<(), ReconcileError> {
        let state = core::mem::replace(&mut self.state, State::Broken);
        self.state = self.next_state(state, message, records)?;
        Ok(())
    }

    /// What to do next; `None` when it is the other end's turn.
    pub fn poll(&mut self, records: &impl Records) -> Option<Output> {
        loop {
            match self.tasks.pop_front() {
                Some(Task::Out(output)) => return Some(output),
                Some(Task::Push(mut hashes)) => {
                    // From the end, which moves nothing; the order of records does not matter.
                    let rest = hashes.len().saturating_sub(RECONCILE_PUSH_MAX);
                    let these = hashes.split_off(rest);
                    if rest > 0 {
                        self.tasks.push_front(Task::Push(hashes));
                    }
                    if !these.is_empty() {
                        return Some(Output::Push(these));
                    }
                }
                Some(Task::Give(mut leaves)) => {
                    let mut hashes = Vec::new();
                    while hashes.len() < RECONCILE_PUSH_MAX
                        && let Some(leaf) = leaves.take_first()
                    {
                        hashes.extend_from_slice(&records.fingerprints(leaf));
                    }
                    if !leaves.is_empty() {
                        self.tasks.push_front(Task::Give(leaves));
                    }
                    self.tasks.push_front(Task::Push(hashes));
                }
                Some(Task::Answer(mut answering)) => {
                    let mut lacking_there = Vec::new();
                    let mut is_answered = false;
                    while !is_answered && lacking_there.len() < RECONCILE_PUSH_MAX {
                        is_answered = !answering.next_leaf(&mut self.open, records, &mut lacking_there);
                    }
                    // In this order: who has the last answer has all of our records too.
                    self.tasks.push_front(if is_answered {
                        Task::Out(Output::Send(ReconcileMessage::Wanted(answering.wanted())))
                    } else {
                        Task::Answer(answering)
                    });
                    self.tasks.push_front(Task::Push(lacking_there));
                }
                Some(Task::Begin) => self.ask(records),
                None => {
                    let State::Listing(listing) = &mut self.state else { return None };
                    let page = listing.next_page(&self.keys, records)?;
                    return Some(Output::Send(ReconcileMessage::Page(page)));
                }
            }
        }
    }

    fn next_state(
        &mut self,
        state: State,
        message: ReconcileMessage,
        records: &impl Records,
    ) -> Result<State, ReconcileError> {
        match (state, message) {
            (State::Broken, _) => Err(ReconcileError::Broken),
            (state, ReconcileMessage::Root { round, by, root }) => {
                self.root_told(&state, round, by, root, records)
            }
            (State::Asked { .. }, ReconcileMessage::Proof(proof)) => Ok(self.check_answer(proof, records)),
            (State::Proved { expected, .. }, ReconcileMessage::Proof(proof)) if proof != expected => {
                Err(ReconcileError::FalseProof)
            }
            (State::Proved { changes, .. }, ReconcileMessage::Proof(_)) => Ok(self.agree(changes, records)),
            (State::Asked { .. }, ReconcileMessage::Children { masks, digests }) => {
                self.agreed = None;
                if self.is_stalled(records) {
                    return Ok(self.wait());
                }
                self.walks += 1;
                let parents = if masks.is_empty() { vec![Node::ROOT] } else { Vec::new() };
                check_counts((masks.len(), 0), (digests.len(), parents.len()))?;
                Ok(self.descend(&parents, &digests, records))
            }
            (State::Told(told), ReconcileMessage::Children { masks, digests }) => {
                let parents: Vec<_> = marked(&told, &masks).collect();
                check_counts((masks.len(), told.len()), (digests.len(), parents.len()))?;
                Ok(self.descend(&parents, &digests, records))
            }
            (State::Reading(reading), ReconcileMessage::Page(page)) => self.read(reading, page),
            (State::Listing(mut listing), ReconcileMessage::Wanted(bits)) => {
                let wanted = listing.wanted(&bits)?;
                self.tasks.push_back(Task::Push(wanted));
                Ok(if listing.is_over() { self.begin_next(By::Sums) } else { State::Listing(listing) })
            }
            (state @ (State::Idle | State::Beginning(_)), ReconcileMessage::Wait) => {
                Err(unexpected(&ReconcileMessage::Wait, &state))
            }
            (_, ReconcileMessage::Wait) => Ok(self.told_to_wait(records)),
            (state, message) => Err(unexpected(&message, &state)),
        }
    }

    // ── comparing roots ──

    /// Has the next round begin once all that is queued is out, so that the other end has it by then.
    fn begin_next(&mut self, by: By) -> State {
        self.tasks.push_back(Task::Begin);
        State::Beginning(by)
    }

    fn ask(&mut self, records: &impl Records) {
        let State::Beginning(by) = self.state else { return };
        self.state = match self.round.checked_add(1).filter(|_| self.count_round(records)) {
            Some(round) => {
                self.enter(round, by, records);
                let root = self.digest(Node::ROOT, records);
                self.send(ReconcileMessage::Root { round, by, root });
                State::Asked { crossed: false }
            }
            None => self.wait(),
        };
    }

    fn root_told(
        &mut self,
        state: &State,
        round: u32,
        by: By,
        root: ShortDigest,
        records: &impl Records,
    ) -> Result<State, ReconcileError> {
        let is_next = self.round.checked_add(1) == Some(round);
        match state {
            // Both began at once: the leader's round counts.
            State::Asked { crossed: false } if round == self.round && self.role == Role::Leader => {
                return Ok(State::Asked { crossed: true });
            }
            State::Asked { crossed: false } if round == self.round => {}
            State::Idle | State::Asked { .. } | State::Proved { .. } | State::Turn if is_next => {}
            State::Beginning(_) if is_next => {
                self.tasks.retain(|task| !matches!(task, Task::Begin));
            }
            State::Told(_) | State::Listing(_) | State::Reading(_) | State::Broken => {
                return Err(unexpected(&ReconcileMessage::Root { round, by, root }, state));
            }
            _ => {
                return Err(ReconcileError::Round { got: round, expected: self.round.saturating_add(1) });
            }
        }
        if !self.count_round(records) {
            self.round = round;
            return Ok(self.wait());
        }
        self.enter(round, by, records);
        if root == self.digest(Node::ROOT, records) {
            let Proofs { of_who_began, of_who_answered } = self.proofs(records);
            self.send(ReconcileMessage::Proof(of_who_answered));
            return Ok(State::Proved { expected: of_who_began, changes: records.digests().changes() });
        }
        self.agreed = None;
        let is_refused = root == ShortDigest::EMPTY && !self.may_stream;
        if is_refused || self.is_stalled(records) {
            return Ok(self.wait());
        }
        self.walks += 1;
        if root == ShortDigest::EMPTY {
            self.stream();
            return Ok(self.begin_next(By::Sums));
        }
        Ok(self.tell(Vec::new(), vec![Node::ROOT], records))
    }

    /// The roots are equal, and this is the other end's proof.
    fn check_answer(&mut self, proof: [u8; 32], records: &impl Records) -> State {
        let Proofs { of_who_began, of_who_answered } = self.proofs(records);
        if proof == of_who_answered {
            self.send(ReconcileMessage::Proof(of_who_began));
            self.root = Some(records.digests().root());
            return self.agree(records.digests().changes(), records);
        }
        self.agreed = None;
        // Equal sums of different records are a forgery, unless ours have changed since we told the root.
        let is_forged = self.root == Some(records.digests().root());
        self.begin_next(if is_forged { By::Hashes } else { By::Sums })
    }

    /// Both ends held the same after so many changes here.
    fn agree(&mut self, changes: u64, records: &impl Records) -> State {
        self.agreed = Some(changes);
        (self.walks, self.is_waiting, self.hashed) = (0, false, None);
        if !self.is_agreed(records.digests()) {
            return self.begin_next(By::Sums);
        }
        self.tasks.push_back(Task::Out(Output::InSync));
        State::Idle
    }

    /// Whether differences were sought often enough while nothing of ours changed.
    fn is_stalled(&self, records: &impl Records) -> bool {
        self.walks >= RECONCILE_WALKS_MAX && self.root == Some(records.digests().root())
    }

    fn wait(&mut self) -> State {
        self.send(ReconcileMessage::Wait);
        self.tasks.push_back(Task::Out(Output::Wait));
        (self.is_waiting, self.hashed) = (true, None);
        State::Idle
    }

    fn told_to_wait(&mut self, records: &impl Records) -> State {
        if self.root != Some(records.digests().root()) {
            return self.begin_next(By::Sums);
        }
        self.tasks.push_back(Task::Out(Output::Wait));
        (self.is_waiting, self.hashed) = (true, None);
        State::Idle
    }

    /// Counts a round against our records as they are; whether it is within the bound. To be asked before anything is
    /// done for the round: a pass over all records costs the other end a few bytes.
    fn count_round(&mut self, records: &impl Records) -> bool {
        let root = records.digests().root();
        if self.root != Some(root) {
            (self.rounds, self.walks, self.is_waiting) = (0, 0, false);
        }
        self.root = Some(root);
        self.rounds = self.rounds.saturating_add(1);
        self.rounds <= RECONCILE_ROUNDS_MAX
    }

    fn enter(&mut self, round: u32, by: By, records: &impl Records) {
        self.round = round;
        self.keys = Keys::new(&self.nonce, round);
        self.hashed = match by {
            By::Sums => None,
            By::Hashes => Some(self.hashes(records)),
        };
    }

    // ── going down ──

    /// Compares what the other end told of these nodes' children with our own.
    fn descend(&mut self, parents: &[Node], digests: &[ShortDigest], records: &impl Records) -> State {
        if parents.first() == Some(&Node::ROOT) && digests.iter().all(|&digest| digest == ShortDigest::EMPTY)
        {
            if !self.may_stream {
                return self.wait();
            }
            self.stream();
            self.send(ReconcileMessage::Children { masks: vec![0], digests: Vec::new() });
            return State::Turn;
        }
        let Some(level) = parents.first().map(|parent| parent.level() + 1) else {
            // Nothing differs any more, or all that does has been sent.
            return self.begin_next(By::Sums);
        };
        let (mut masks, mut differing, mut given) = (Vec::new(), Vec::new(), LeafSet::empty());
        for (parent, told) in parents.iter().zip(digests.chunks(usize::from(FAN_OUT))) {
            let mut mask = 0;
            for ((child, &theirs), bit) in parent.children().zip(told).zip(0..) {
                if theirs == self.digest(child, records) {
                    continue;
                }
                if theirs == ShortDigest::EMPTY {
                    given.insert(child);
                } else {
                    mask |= 1 << bit;
                    differing.push(child);
                }
            }
            masks.push(mask);
        }
        if !given.is_empty() {
            self.tasks.push_back(Task::Give(given));
        }
        if level < LEVELS {
            return self.tell(masks, differing, records);
        }
        self.hashed = None;
        let mut leaves = LeafSet::empty();
        differing.into_iter().for_each(|leaf| leaves.insert(leaf));
        State::Listing(Listing::new(leaves))
    }

    /// Tells the digests of these nodes' children.
    fn tell(&mut self, masks: Vec<u16>, nodes: Vec<Node>, records: &impl Records) -> State {
        let children = nodes.iter().flat_map(|node| node.children());
        let digests = children.map(|child| self.digest(child, records)).collect();
        self.send(ReconcileMessage::Children { masks, digests });
        match nodes.first() {
            None => State::Turn,
            Some(node) if node.level() + 1 < LEVELS => State::Told(nodes),
            Some(_) => {
                self.hashed = None;
                let mut asked = LeafSet::empty();
                nodes.into_iter().for_each(|node| asked.insert(node));
                State::Reading(Reading::new(asked))
            }
        }
    }

    /// Keeps a page until its answer is polled: what we hold beside it may be all of our records.
    fn read(&mut self, mut reading: Reading, page: Page) -> Result<State, ReconcileError> {
        let is_answer = |task: &&Task| {
            matches!(task, Task::Answer(_) | Task::Out(Output::Send(ReconcileMessage::Wanted(_))))
        };
        if self.tasks.iter().filter(is_answer).count() == RECONCILE_PAGES_IN_FLIGHT_MAX {
            return Err(ReconcileError::TooManyPages);
        }
        let is_last = page.is_last;
        let answering = reading.page(page, &self.keys)?;
        self.tasks.push_back(Task::Answer(Box::new(answering)));
        Ok(if is_last { State::Turn } else { State::Reading(reading) })
    }

    fn stream(&mut self) {
        self.may_stream = false;
        self.tasks.push_back(Task::Out(Output::StreamAll));
    }

    fn send(&mut self, message: ReconcileMessage) {
        self.tasks.push_back(Task::Out(Output::Send(message)));
    }

    fn digest(&self, node: Node, records: &impl Records) -> ShortDigest {
        let tree = self.hashed.as_ref().unwrap_or_else(|| records.digests());
        self.keys.node(node, tree.sum(node))
    }

    fn proofs(&self, records: &impl Records) -> Proofs {
        self.keys.proofs(|visitor| records.visit(visitor))
    }

    /// The tree of a round by hashes: each leaf counts as one keyed hash over its fingerprints.
    fn hashes(&self, records: &impl Records) -> Digests {
        let mut tree = Digests::default();
        records.visit(&mut |leaf, fingerprints| {
            if !fingerprints.is_empty() {
                tree.add(leaf, &self.keys.leaf(fingerprints));
            }
        });
        tree
    }
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::Idle => "no round was under way",
            Self::Beginning(_) => "it was not the sender's turn",
            Self::Asked { .. } => "the answer to a root was due",
            Self::Told(_) => "the answer to digests was due",
            Self::Listing(_) => "answers to pages were due",
            Self::Reading(_) => "pages were due",
            Self::Proved { .. } => "a proof was due",
            Self::Turn => "the next round was due",
            Self::Broken => "the conversation was over",
        }
    }
}

fn unexpected(message: &ReconcileMessage, state: &State) -> ReconcileError {
    ReconcileError::Unexpected { got: message.name(), during: state.name() }
}

/// Masks, and digests for so many parents: as sent, and as due.
fn check_counts(masks: (usize, usize), digests: (usize, usize)) -> Result<(), ReconcileError> {
    if masks.0 != masks.1 {
        return Err(ReconcileError::Masks { got: masks.0, expected: masks.1 });
    }
    let expected = digests.1 * usize::from(FAN_OUT);
    if digests.0 != expected {
        return Err(ReconcileError::Digests { got: digests.0, expected });
    }
    Ok(())
}

/// The children of these nodes whose bits are set.
fn marked(nodes: &[Node], masks: &[u16]) -> impl Iterator<Item = Node> {
    nodes.iter().zip(masks).flat_map(|(node, mask)| {
        node.children().zip(0..).filter(move |&(_, bit)| mask & 1 << bit != 0).map(|(child, _)| child)
    })
}
