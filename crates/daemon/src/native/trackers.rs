//! The trackers that this peer asks: where the other members of its shares are, and where it is itself.
//!
//! Promise: one connection to each tracker, under a key that is nobody's: a tracker learns topics, pseudonyms and
//! addresses, and not which device it speaks with. All of it is a hint: with trackers gone, slow or lying, what is known
//! stands for a while, nothing is lost, and memory and traffic stay bounded (`I24`, `I30`, `T3`).
//!
//! Begin at [`Trackers::start`]. [`Trackers::wish`] says what is wanted; each tracker's task (`trackers/link.rs`) sees to
//! it that its tracker knows and tells that, for ever; what they were told is added up in `trackers/book.rs`.

mod book;
mod link;
mod pause;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shoal_net::Candidate;
use shoal_proto::invite::Address;
use shoal_proto::secret::{Pseudonym, Topic};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use book::{Book, Source};
use link::Link;

/// Most trackers that are asked at once; of more the first ones are.
pub const TRACKERS_MAX: usize = 16;

/// Most topics that a tracker is asked about; of more the first ones are.
pub const TOPICS_MAX: usize = 2 * shoal_proto::limits::SHARES_MAX;

/// How long a tracker is asked to keep an announcement, in seconds. It is renewed before half of that is over.
pub const LEASE_SECONDS: u32 = 20 * 60;

/// So often it is looked whether something has become too old to stand.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How long saying goodbye to trackers may take.
const LEAVE: Duration = Duration::from_secs(2);

/// What is wanted of trackers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wishes {
    /// Whom to ask; at most [`TRACKERS_MAX`] are.
    pub trackers: BTreeSet<Address>,
    /// What to ask about; at most [`TOPICS_MAX`] are.
    pub topics: BTreeMap<Topic, Interest>,
    /// Where this peer listens, by its own interfaces; the best first. A tracker passes on what it can believe, and the
    /// address at which it sees us is added by itself, with [`Self::port`].
    pub addresses: Vec<SocketAddr>,
    /// The port that this peer listens at; 0 if it does not.
    pub port: u16,
}

/// What this peer is under a topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Interest {
    /// What it is called there.
    pub pseudonym: Pseudonym,
    /// Whether to announce it. Under older secrets of a share one only watches.
    pub is_announced: bool,
}

/// Where somebody is now, by the words of all trackers together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// Under which topic.
    pub topic: Topic,
    /// Who.
    pub pseudonym: Pseudonym,
    /// At which addresses; empty if no tracker knows any more. Those of this machine, or of its link alone, only from
    /// trackers on this machine.
    pub addresses: Vec<Candidate>,
}

/// How it stands with a tracker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrackerState {
    /// Which.
    pub tracker: Address,
    /// Where it was reached, while it is.
    pub connected: Option<SocketAddr>,
    /// Why it was not reached the last time, or left us.
    pub problem: Option<String>,
}

/// The trackers that are asked. Dropped, it ends at once; [`Self::leave`] says goodbye.
#[derive(Debug)]
pub struct Trackers {
    wishes: watch::Sender<Wishes>,
    office: Arc<Office>,
    task: JoinHandle<()>,
}

/// What all links share.
struct Office {
    book: Mutex<Book>,
    states: Mutex<BTreeMap<Address, TrackerState>>,
    found: Box<dyn Fn(Found) + Send + Sync>,
}

impl Trackers {
    /// Begins to ask. `found` is told whenever somebody has come, moved or gone; it must not wait.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[must_use]
    pub fn start(wishes: Wishes, found: impl Fn(Found) + Send + Sync + 'static) -> Self {
        let office = Office { book: Mutex::default(), states: Mutex::default(), found: Box::new(found) };
        let office = Arc::new(office);
        let (wishes, wished) = watch::channel(bounded(wishes));
        let task = tokio::spawn(attend(wished, Arc::clone(&office)));
        Self { wishes, office, task }
    }

    /// Something else is wanted from now on.
    pub fn wish(&self, wishes: Wishes) {
        let wishes = bounded(wishes);
        self.wishes.send_if_modified(|before| {
            *before != wishes && {
                *before = wishes;
                true
            }
        });
    }

    /// How it stands with each tracker.
    #[must_use]
    pub fn states(&self) -> Vec<TrackerState> {
        self.office.states().values().cloned().collect()
    }

    /// Withdraws what was announced, as far as trackers can be reached at once, and ends.
    pub async fn leave(mut self) {
        self.wish(Wishes::default());
        // Nobody wishes anything any more, so all ends once it has been said.
        self.wishes = watch::Sender::new(Wishes::default());
        let _ = (&mut self.task).await;
    }
}

impl Drop for Trackers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Office {
    /// Writes into the book, and tells what has changed by it.
    fn note(&self, deed: impl FnOnce(&mut Book) -> Vec<Found>) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        // Told under the lock, so that news come in the order in which they became true.
        deed(&mut book).into_iter().for_each(|found| (self.found)(found));
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<Address, TrackerState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self, tracker: &Address, connected: Option<SocketAddr>, problem: Option<String>) {
        let state = TrackerState { tracker: tracker.clone(), connected, problem };
        self.states().insert(tracker.clone(), state);
    }
}

impl core::fmt::Debug for Office {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("Office")
    }
}

/// A link at work, which ends with this.
struct Running(Source, JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.1.abort();
    }
}

/// Sees to it that each tracker has its link, until nobody wishes anything any more.
async fn attend(mut wishes: watch::Receiver<Wishes>, office: Arc<Office>) {
    let mut links: BTreeMap<Address, Running> = BTreeMap::new();
    let mut last: Source = 0;
    loop {
        let wanted = wishes.borrow_and_update().clone();
        office.note(|book| {
            book.keep(|topic| wanted.topics.contains_key(topic));
            Vec::new()
        });
        let gone = links.extract_if(.., |tracker, _| !wanted.trackers.contains(tracker)).collect();
        dismiss(gone, &office).await;
        if wishes.has_changed().is_err() {
            return;
        }
        for tracker in &wanted.trackers {
            links.entry(tracker.clone()).or_insert_with(|| {
                last += 1;
                let link = Link::new(tracker.clone(), last, wishes.clone(), Arc::clone(&office));
                Running(last, tokio::spawn(link.run()))
            });
        }
        tokio::select! {
            _ = wishes.changed() => {}
            () = sleep(LOOK_EVERY) => office.note(|book| book.expire(Instant::now())),
        }
    }
}

/// Lets links say goodbye, as they do when their tracker is not wanted any more, and forgets what they told.
async fn dismiss(links: Vec<(Address, Running)>, office: &Office) {
    let end = Instant::now() + LEAVE;
    for (tracker, mut link) in links {
        if timeout_at(end, &mut link.1).await.is_err() {
            link.1.abort();
            // Whatever it is in the middle of it finishes first, so that it writes nothing after it was forgotten.
            let _ = (&mut link.1).await;
        }
        office.states().remove(&tracker);
        office.note(|book| book.forget(link.0));
    }
}

/// No more than is asked for anyway.
fn bounded(mut wishes: Wishes) -> Wishes {
    wishes.trackers = wishes.trackers.into_iter().take(TRACKERS_MAX).collect();
    wishes.topics = wishes.topics.into_iter().take(TOPICS_MAX).collect();
    wishes
}

#[cfg(test)]
mod tests;
