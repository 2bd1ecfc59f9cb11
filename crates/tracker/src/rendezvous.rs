//! The native half of a tracker at work: connections whose ends have proved a key, and the swarm that they ask.
//!
//! Promise: it belongs to no listener, so a tracker's own port and a daemon's hand it connections alike
//! ([`Rendezvous::serve`]); what one of them does disturbs no other. A connection is not read while it does not take what
//! it is told, and what is told to it waits in the swarm meanwhile, where it is bounded (`I30`). Nobody learns from it who
//! else is connected.
//!
//! The swarm is pure and is asked under a lock, for microseconds at a time and never across a wait, so any runtime will do.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use shoal_classic::Time;
use shoal_net::{Incoming, Outgoing, Purpose, Secured, WireError};
use shoal_proto::announce::{AnnounceError, FromTracker, ToTracker};
use shoal_proto::frame::RequestId;
use shoal_proto::limits::TRACKER_BODY_BYTES_MAX;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::limits::{
    NATIVE_FIRST_MESSAGE_WAIT, NATIVE_SILENCE_MAX, NATIVE_WAITING_BYTES, NATIVE_WRITE_STALL, SwarmLimits,
    TOO_OFTEN_PAUSE,
};
use crate::swarm::{CallerId, Swarm, Tally};

/// Where native peers meet. A handle: all clones are the same place.
#[derive(Clone, Debug)]
pub struct Rendezvous(Arc<Hall>);

/// Why a connection was ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It was made for something else.
    #[error("a connection for something else than a tracker")]
    NotForTrackers,
    /// There is no room for it.
    #[error("there are as many native connections, in all or from that address, as are served")]
    NoRoom,
    /// It broke, or was no stream of frames.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// What it said is no message.
    #[error(transparent)]
    Message(#[from] AnnounceError),
    /// It said nothing.
    #[error("said nothing for {} s", .0.as_secs())]
    Silent(Duration),
    /// It did not take what it was told.
    #[error("did not take what it was told for {} s", .0.as_secs())]
    WriteStall(Duration),
}

#[derive(Debug)]
struct Hall {
    desk: Mutex<Desk>,
    began: Instant,
    /// The moment to wake at has come nearer, or there is nobody to wake for any more.
    rearmed: Arc<Notify>,
}

#[derive(Debug)]
struct Desk {
    swarm: Swarm,
    bells: BTreeMap<CallerId, Arc<Notify>>,
    /// When whoever keeps the time will look.
    armed: Option<Time>,
}

/// A caller's stay: however it ends, the swarm learns of it, and the connection is over.
struct Stay<'a> {
    hall: &'a Hall,
    id: CallerId,
    outgoing: Outgoing,
}

impl Rendezvous {
    /// A place where nobody is yet.
    ///
    /// # Panics
    /// Outside of a runtime: a task of its own keeps the time. It ends when the last handle goes.
    #[must_use]
    pub fn open(limits: SwarmLimits) -> Self {
        // Seeded by the system; all that it decides is whom of many somebody is told of first.
        let seed = RandomState::new().build_hasher().finish();
        let desk = Desk { swarm: Swarm::new(limits, seed), bells: BTreeMap::new(), armed: None };
        let rearmed = Arc::new(Notify::new());
        let hall = Hall { desk: Mutex::new(desk), began: Instant::now(), rearmed: Arc::clone(&rearmed) };
        let hall = Arc::new(hall);
        tokio::spawn(keep_time(Arc::downgrade(&hall), rearmed));
        Self(hall)
    }

    /// Serves a connection in a task of its own. For whoever has accepted it for other purposes too.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn take(&self, secured: Secured) {
        let (rendezvous, from) = (self.clone(), secured.seen);
        tokio::spawn(async move {
            if let Err(error) = rendezvous.serve(secured).await {
                tracing::debug!(%from, %error, "native connection ended");
            }
        });
    }

    /// Serves a connection until it ends.
    ///
    /// # Errors
    /// When it was not its other end that ended it in order.
    pub async fn serve(&self, secured: Secured) -> Result<(), ServeError> {
        if secured.purpose != Purpose::Tracker {
            return Err(ServeError::NotForTrackers);
        }
        let from = secured.seen;
        let bell = Arc::new(Notify::new());
        let Some(id) = self.0.enter(from, &bell) else { return Err(ServeError::NoRoom) };
        let (mut incoming, outgoing) = secured.split();
        incoming.allow(TRACKER_BODY_BYTES_MAX);
        let stay = Stay { hall: &self.0, id, outgoing };
        let drained = Arc::new(Notify::new());
        let call = Arc::clone(&drained);
        stay.outgoing.when_drained(move || call.notify_one());
        match stay.converse(&mut incoming, &bell, &drained).await {
            Err(None) => Ok(()),
            Err(Some(error)) => Err(error),
        }
    }

    /// Figures for people.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.0.desk().swarm.tally()
    }
}

impl Stay<'_> {
    /// Until the other end hangs up in order, or has to go.
    async fn converse(
        &self,
        incoming: &mut Incoming,
        bell: &Notify,
        drained: &Notify,
    ) -> Result<Infallible, Option<ServeError>> {
        let mut silence_max = NATIVE_FIRST_MESSAGE_WAIT;
        loop {
            self.tell_news();
            while self.outgoing.waiting() >= NATIVE_WAITING_BYTES {
                let stalled = timeout(NATIVE_WRITE_STALL, drained.notified()).await.is_err();
                if stalled {
                    return Err(Some(ServeError::WriteStall(NATIVE_WRITE_STALL)));
                }
                self.tell_news();
            }
            let said = tokio::select! {
                () = bell.notified() => continue,
                said = timeout(silence_max, incoming.next()) => said,
            };
            let frame = match said {
                Err(_) => return Err(Some(ServeError::Silent(silence_max))),
                Ok(frame) => frame.map_err(|error| Some(error.into()))?.ok_or(None)?,
            };
            silence_max = NATIVE_SILENCE_MAX;
            // What only a newer version says is passed over.
            let request = frame.request;
            let Some(message) = ToTracker::read(&frame).map_err(|error| Some(error.into()))? else {
                continue;
            };
            let reply = self.hall.with(|swarm, now| swarm.handle(self.id, message, now));
            if let Some(message) = reply.message {
                self.say(&message, request);
            }
            if reply.is_too_often {
                sleep(TOO_OFTEN_PAUSE).await;
            }
        }
    }

    /// Tells what has changed, as far as it is being taken.
    fn tell_news(&self) {
        while self.outgoing.waiting() < NATIVE_WAITING_BYTES {
            let Some(messages) = self.hall.with(|swarm, now| swarm.news(self.id, now)) else { return };
            for message in messages {
                self.say(&message, RequestId::NONE);
            }
        }
    }

    fn say(&self, message: &FromTracker, request: RequestId) {
        let mut bytes = Vec::new();
        match message.write(&mut bytes, request) {
            Ok(()) => self.outgoing.push(bytes),
            Err(error) => tracing::error!(%error, "a message was not sent"),
        }
    }
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        self.outgoing.end();
        self.hall.desk().bells.remove(&self.id);
        self.hall.with(|swarm, _| swarm.closed(self.id));
    }
}

impl Hall {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time::after_start(self.began.elapsed())
    }

    fn enter(&self, from: SocketAddr, bell: &Arc<Notify>) -> Option<CallerId> {
        let id = self.with(|swarm, now| swarm.connected(from, now))?;
        self.desk().bells.insert(id, Arc::clone(bell));
        Some(id)
    }

    /// Asks the swarm, and rings for whom it has news.
    fn with<T>(&self, ask: impl FnOnce(&mut Swarm, Time) -> T) -> T {
        let desk = &mut *self.desk();
        let answer = ask(&mut desk.swarm, self.now());
        while let Some(id) = desk.swarm.poll_wake() {
            if let Some(bell) = desk.bells.get(&id) {
                bell.notify_one();
            }
        }
        let next = desk.swarm.poll_timeout();
        if next.is_some_and(|next| desk.armed.is_none_or(|armed| next < armed)) {
            self.rearmed.notify_one();
        }
        answer
    }

    /// When to look next, from now on.
    fn arm(&self) -> Option<Instant> {
        let next = self.with(|swarm, now| {
            swarm.tick(now);
            swarm.poll_timeout()
        });
        self.desk().armed = next;
        next.map(|next| self.began + next.since_start())
    }
}

impl Drop for Hall {
    fn drop(&mut self) {
        self.rearmed.notify_one();
    }
}

/// Wakes the swarm when it asks for it, as long as there is one.
async fn keep_time(hall: Weak<Hall>, rearmed: Arc<Notify>) {
    while let Some(next) = hall.upgrade().map(|hall| hall.arm()) {
        match next {
            Some(next) => tokio::select! {
                () = sleep_until(next) => {}
                () = rearmed.notified() => {}
            },
            None => rearmed.notified().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_net::{Acceptor, Expected, Identity, dial};
    use shoal_proto::secret::Topic;
    use tokio::net::TcpListener;
    use tokio::task::{JoinHandle, spawn};

    use super::*;

    /// A place with one caller, whose end is the test's.
    async fn called() -> (Rendezvous, JoinHandle<Result<(), ServeError>>, Incoming, Outgoing) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (rendezvous, acceptor) =
            (Rendezvous::open(SwarmLimits::default()), Acceptor::new(&Identity::nameless()));
        let hall = rendezvous.clone();
        let served = spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            hall.serve(acceptor.accept(stream).await.unwrap()).await
        });
        let identity = Identity::nameless();
        let secured = dial(address, &identity, Expected::Anyone, Purpose::Tracker).await.unwrap();
        let (incoming, outgoing) = secured.split();
        (rendezvous, served, incoming, outgoing)
    }

    fn watch() -> Vec<u8> {
        let mut bytes = Vec::new();
        ToTracker::Watch { topic: Topic::from_bytes([1; 32]) }.write(&mut bytes, RequestId(1)).unwrap();
        bytes
    }

    #[tokio::test]
    async fn i30_who_says_nothing_is_not_kept() {
        let (rendezvous, served, _incoming, _outgoing) = called().await;
        while rendezvous.tally().callers == 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        let (began, ended) = (Instant::now(), served.await.unwrap());
        assert!(matches!(ended, Err(ServeError::Silent(NATIVE_FIRST_MESSAGE_WAIT))), "{ended:?}");
        assert!(began.elapsed() <= NATIVE_FIRST_MESSAGE_WAIT + Duration::from_secs(1));
        assert_eq!(rendezvous.tally().callers, 0);
    }

    #[tokio::test]
    async fn i30_who_has_said_something_may_be_silent_as_long_as_a_lease_lasts() {
        let (rendezvous, served, mut incoming, outgoing) = called().await;
        outgoing.push(watch());
        assert!(incoming.next().await.unwrap().is_some());
        tokio::time::pause();
        let ended = served.await.unwrap();
        assert!(matches!(ended, Err(ServeError::Silent(NATIVE_SILENCE_MAX))), "{ended:?}");
        assert_eq!((rendezvous.tally().watches, rendezvous.tally().topics), (0, 0));
    }

    #[tokio::test]
    async fn who_hangs_up_in_order_was_served_well() {
        let (_rendezvous, served, incoming, outgoing) = called().await;
        outgoing.push(watch());
        outgoing.close();
        assert!(served.await.unwrap().is_ok());
        drop(incoming);
    }
}
