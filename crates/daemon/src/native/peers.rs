//! The connections of a node: who is called, who is let in, and that there is one to each device.
//!
//! Promise: whoever is wanted is called again and again, within the bounds of the [`Caller`], until somebody answers with
//! the right key. Of two connections with one device the one stays that the lesser id has opened, at both ends alike; of
//! two such the newer one. Strangers cost what the [`Door`] allows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shoal_engine::io::Conn;
use shoal_net::{
    Acceptor, Budget, Caller, Candidate, Door, Expected, Generation, Identity, NamedBy, Outgoing, Purpose,
    Secured, sniff,
};
use shoal_proto::id::DeviceId;
use shoal_proto::invite::Address;
use shoal_proto::secret::Side;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::link;
use super::meter::Traffic;
use super::shell::Shell;

/// After a connection has ended its device is called again so soon, if nothing else says when.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest that nobody is called who may be.
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// After a failure to accept, for want of handles perhaps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where a device may be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Places {
    /// Addresses.
    pub(super) candidates: BTreeSet<Candidate>,
    /// Addresses that a person gave, whose hosts may have names.
    pub(super) named: BTreeSet<Address>,
}

/// What a node is told of its connections.
pub(super) type Tell = Box<dyn Fn(Met) + Send + Sync>;

/// Who serves those that come to this device as to a tracker; must not wait.
pub type Rendezvous = Box<dyn Fn(Secured) + Send + Sync>;

/// What happens to connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Met {
    /// A device is connected; `at` is where it was called, if it was.
    Connected { device: DeviceId, seen: SocketAddr, at: Option<SocketAddr> },
    /// It is no more.
    Disconnected { device: DeviceId },
}

/// The connections of a node. Dropped, nobody is called any more.
pub(super) struct Peers {
    inner: Arc<Inner>,
    listening: Mutex<Vec<JoinHandle<()>>>,
}

struct Inner {
    shell: Arc<Shell>,
    identity: Identity,
    acceptor: Acceptor,
    caller: Caller,
    door: Door,
    conns: AtomicU64,
    state: Mutex<State>,
    tell: Tell,
    rendezvous: Option<Rendezvous>,
}

#[derive(Default)]
struct State {
    wanted: BTreeMap<DeviceId, Wanted>,
    live: BTreeMap<DeviceId, Live>,
    connections_max: usize,
    is_over: bool,
}

struct Wanted {
    places: Arc<Mutex<Places>>,
    changed: Arc<Notify>,
    task: JoinHandle<()>,
}

struct Live {
    conn: Conn,
    /// Which end this is.
    side: Side,
    seen: SocketAddr,
    outgoing: Outgoing,
    traffic: Arc<Traffic>,
}

impl Peers {
    /// Nobody is wanted, and nobody let in yet. `seed` decides when calls that failed are tried again.
    pub(super) fn new(
        shell: Arc<Shell>,
        identity: Identity,
        seed: u64,
        connections_max: usize,
        tell: Tell,
        rendezvous: Option<Rendezvous>,
    ) -> Self {
        let inner = Inner {
            shell,
            acceptor: Acceptor::new(&identity),
            identity,
            caller: Caller::new(Budget::new(seed)),
            door: Door::default(),
            conns: AtomicU64::new(1),
            state: Mutex::new(State { connections_max, ..State::default() }),
            tell,
            rendezvous,
        };
        Self { inner: Arc::new(inner), listening: Mutex::default() }
    }

    /// Lets others in who call here.
    pub(super) fn listen(&self, listeners: Vec<TcpListener>) {
        let own: Vec<SocketAddr> =
            listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        self.inner.caller.own(&own);
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        for listener in listeners {
            listening.push(tokio::spawn(accept(Arc::clone(&self.inner), listener)));
        }
    }

    /// These devices are wanted, at these places, and no others.
    pub(super) fn want(&self, wanted: BTreeMap<DeviceId, Places>) {
        let mut state = self.inner.state();
        if state.is_over {
            return;
        }
        state.wanted.retain(|device, old| {
            let stays = wanted.contains_key(device);
            if !stays {
                old.task.abort();
            }
            stays
        });
        for (device, places) in wanted {
            if device == self.inner.identity.device() {
                continue;
            }
            if let Some(known) = state.wanted.get(&device) {
                let mut old = lock(&known.places);
                if *old != places {
                    places
                        .candidates
                        .difference(&old.candidates)
                        .for_each(|new| self.inner.caller.hurry(new.address));
                    *old = places;
                    known.changed.notify_one();
                }
                continue;
            }
            let (places, changed) = (Arc::new(Mutex::new(places)), Arc::new(Notify::new()));
            let task = call(Arc::clone(&self.inner), device, Arc::clone(&places), Arc::clone(&changed));
            state.wanted.insert(device, Wanted { places, changed, task: tokio::spawn(task) });
        }
    }

    /// Somebody of these may be at these addresses.
    pub(super) fn heard(&self, members: BTreeSet<DeviceId>, mut addresses: Vec<SocketAddr>) {
        let inner = Arc::clone(&self.inner);
        let lacking: BTreeSet<DeviceId> = {
            let state = inner.state();
            let is_lacking =
                |device: &DeviceId| state.wanted.contains_key(device) && !state.live.contains_key(device);
            // Where somebody else was called and stands, the lacking ones are not.
            let stands = |at: &SocketAddr| {
                state.live.values().any(|live| live.side == Side::Dialler && live.seen == *at)
            };
            addresses.retain(|at| !stands(at));
            members.into_iter().filter(is_lacking).collect()
        };
        if lacking.is_empty() || addresses.is_empty() {
            return;
        }
        tokio::spawn(async move {
            let candidates: Vec<Candidate> =
                addresses.into_iter().map(|address| Candidate { named_by: NamedBy::Lan, address }).collect();
            let expected = Expected::OneOf(Arc::new(lacking));
            if let Ok(secured) =
                inner.caller.call(&candidates, &inner.identity, &expected, Purpose::Peer).await
            {
                inner.take(secured).await;
            }
        });
    }

    /// Where a device is connected.
    pub(super) fn seen(&self, device: &DeviceId) -> Option<SocketAddr> {
        self.inner.state().live.get(device).map(|live| live.seen)
    }

    /// How many bytes a second come from a device, and go to it.
    pub(super) fn speed(&self, device: &DeviceId) -> (u64, u64) {
        let state = self.inner.state();
        let speed = |live: &Live| (live.traffic.inward.per_second(), live.traffic.outward.per_second());
        state.live.get(device).map_or((0, 0), speed)
    }

    /// Hangs up on all, and lets nobody in any more.
    pub(super) fn close(&self) {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(|task| task.abort());
        let mut state = self.inner.state();
        state.is_over = true;
        for (_, wanted) in std::mem::take(&mut state.wanted) {
            wanted.task.abort();
        }
        state.live.values().for_each(|live| live.outgoing.close());
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a connection until it is over, unless there is a better one.
    async fn take(self: &Arc<Self>, secured: Secured) {
        let (device, side, seen) = (secured.device, secured.side, secured.seen);
        if device == self.identity.device() {
            return;
        }
        let conn = Conn(self.conns.fetch_add(1, Ordering::Relaxed));
        if !self.may_stand(&device, side) {
            return;
        }
        let traffic = Arc::new(Traffic::default());
        let counted = Arc::clone(&traffic);
        let stands = |outgoing: Outgoing| self.stands(device, Live { conn, side, seen, outgoing, traffic });
        link::serve(Arc::clone(&self.shell), conn, secured, counted, stands).await;
        self.is_over(device, conn);
    }

    /// Whether a connection with this device is wanted beside, or instead of, the one that stands.
    fn may_stand(&self, device: &DeviceId, side: Side) -> bool {
        let state = self.state();
        let is_better = match state.live.get(device) {
            Some(live) => self.is_preferred(device, side) || !self.is_preferred(device, live.side),
            None => state.live.len() < state.connections_max,
        };
        is_better && !state.is_over
    }

    /// Whether it was opened by the lesser id.
    fn is_preferred(&self, device: &DeviceId, side: Side) -> bool {
        (side == Side::Dialler) == (self.identity.device() < *device)
    }

    fn stands(&self, device: DeviceId, live: Live) {
        let at = (live.side == Side::Dialler).then_some(live.seen);
        let seen = live.seen;
        let before = self.state().live.insert(device, live);
        match before {
            Some(before) => before.outgoing.close(),
            None => (self.tell)(Met::Connected { device, seen, at }),
        }
    }

    fn is_over(&self, device: DeviceId, conn: Conn) {
        let mut state = self.state();
        if state.live.get(&device).is_some_and(|live| live.conn == conn) {
            state.live.remove(&device);
            let changed = state.wanted.get(&device).map(|wanted| Arc::clone(&wanted.changed));
            drop(state);
            (self.tell)(Met::Disconnected { device });
            if let Some(changed) = changed {
                changed.notify_one();
            }
        }
    }

    fn is_live(&self, device: &DeviceId) -> bool {
        self.state().live.contains_key(device)
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls a device for ever, whenever it is not connected.
async fn call(inner: Arc<Inner>, device: DeviceId, places: Arc<Mutex<Places>>, changed: Arc<Notify>) {
    let expected = Expected::Device(device);
    loop {
        let again = if inner.is_live(&device) {
            AGAIN_MAX
        } else {
            let places = lock(&places).clone();
            let candidates = candidates(places).await;
            match inner.caller.call(&candidates, &inner.identity, &expected, Purpose::Peer).await {
                Ok(secured) => {
                    // In a task of its own: that the device is not wanted any more ends calling it, not the connection.
                    let taking = Arc::clone(&inner);
                    let taken = tokio::spawn(async move { taking.take(secured).await });
                    let _ = taken.await;
                    AGAIN
                }
                Err(error) => {
                    tracing::debug!("{} is not reached: {error}", device.short());
                    error.again_in.unwrap_or(AGAIN_MAX).clamp(AGAIN, AGAIN_MAX)
                }
            }
        };
        tokio::select! {
            () = sleep(again) => {}
            () = changed.notified() => {}
        }
    }
}

/// The addresses of a device, those of hosts that have names with them.
async fn candidates(places: Places) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = places.candidates.into_iter().collect();
    // All at once: a name that nobody knows takes seconds.
    let mut lookups = JoinSet::new();
    for named in places.named {
        lookups.spawn(async move { Candidate::of(&named, NamedBy::User).await });
    }
    candidates.extend(lookups.join_all().await.into_iter().flatten());
    candidates
}

/// Lets in who calls, each in a task of its own.
async fn accept(inner: Arc<Inner>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if let Some(guest) = inner.door.knock(from.ip()) {
                    let inner = Arc::clone(&inner);
                    tokio::spawn(async move {
                        if let Some(Some(secured)) = guest.stay(prove(&inner, stream)).await {
                            inner.take(secured).await;
                        }
                    });
                }
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Has a caller prove its key; `None`: it is nobody for us.
async fn prove(inner: &Inner, stream: TcpStream) -> Option<Secured> {
    match sniff(&stream).await {
        Ok(Generation::Native) => {}
        // No share of this device is on a classic tracker.
        Ok(Generation::Classic) | Err(_) => return None,
    }
    let secured = inner.acceptor.accept(stream).await;
    let secured = secured.inspect_err(|error| tracing::debug!("somebody was not let in: {error}")).ok()?;
    match (secured.purpose, &inner.rendezvous) {
        (Purpose::Peer, _) => Some(secured),
        (Purpose::Tracker, Some(rendezvous)) => {
            rendezvous(secured);
            None
        }
        (Purpose::Tracker, None) => None,
    }
}
