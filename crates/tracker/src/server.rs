//! The tracker as a program sees it: listen, run, end.
//!
//! Promise: nothing that comes from outside ends [`Tracker::run`]; the shutdown does, at once and with all
//! connections closed. One thread does everything, so the directory is shared without locks, and each
//! connection is a task ([`crate::connection`]) that costs little while it is quiet.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use shoal_classic::Time;
use shoal_classic::name::Escaped;
use shoal_net::door::DoorOptions;
use shoal_net::{Acceptor, Door, Identity};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use crate::budget::Budget;
use crate::diary::Ration;
use crate::directory::Directory;
use crate::door;
use crate::limits::{
    ACCEPT_BACKLOG, ACCEPT_PAUSE, EXPIRE_PAUSE_MAX, EXPIRE_PAUSE_MIN, HANDSHAKE_EVERY, HANDSHAKES_AT_ONCE,
    HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS_MAX, Options, READ_BYTES,
};
use crate::metrics::{Metrics, Moment, Refusal};
use crate::page;
use crate::rendezvous::Rendezvous;
use crate::seats::{NoSeat, Seats};

/// A tracker that listens, and serves once it is run.
#[derive(Debug)]
pub struct Tracker {
    listener: std::net::TcpListener,
    local_addr: SocketAddr,
    metrics: Option<(std::net::TcpListener, SocketAddr)>,
    options: Options,
}

/// Why a tracker cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address for peers cannot be had.
    #[error("cannot listen for peers on {address}")]
    Peers {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The address for the metrics page cannot be had.
    #[error("cannot serve metrics on {address}")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// Why a tracker that listens cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The event loop does not take a listening socket.
    #[error("cannot wait for connections on {address}")]
    Register {
        /// Where the socket listens.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

impl Tracker {
    /// Listens for peers at `address`, and for readers of the metrics page if the options say so. Port 0 means
    /// any; `[::]` takes IPv4 as well.
    ///
    /// # Errors
    /// When one of the addresses is in use, not this machine's, or not permitted.
    pub fn bind(address: SocketAddr, options: Options) -> Result<Self, BindError> {
        let (listener, local_addr) =
            listen(address).map_err(|source| BindError::Peers { address, source })?;
        let metrics = options
            .metrics
            .map(|address| listen(address).map_err(|source| BindError::Metrics { address, source }));
        Ok(Self { listener, local_addr, metrics: metrics.transpose()?, options })
    }

    /// Where peers find it.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where the metrics page is, if it is served.
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(_, address)| *address)
    }

    /// Serves until `shutdown` is done, in a Tokio runtime of any kind, all in the calling task.
    ///
    /// # Errors
    /// When the runtime does not take the listening sockets. Nothing that happens later is an error.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let listener = register(self.listener, self.local_addr)?;
        let metrics = self.metrics.map(|(listener, address)| register(listener, address)).transpose()?;
        let shared = Rc::new(Shared::new(self.options));
        tracing::info!(address = %self.local_addr, "tracker listening");
        // Dropping the set drops every task in it, and so closes every connection.
        let tasks = LocalSet::new();
        tasks
            .run_until(async {
                if let Some(listener) = metrics {
                    spawn_local(page::serve(listener, Rc::clone(&shared)));
                }
                tokio::select! {
                    () = shutdown => {}
                    () = admit(&listener, &shared) => {}
                    () = expire(&shared) => {}
                }
            })
            .await;
        drop(tasks);
        tracing::info!("tracker stopped");
        Ok(())
    }
}

/// What all connections share. Borrows never outlive a call: nothing here is held while a task waits.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) directory: RefCell<Directory>,
    pub(crate) metrics: Metrics,
    /// Where reads land before a session takes them.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// Unfinished messages, by the order in which they grew large.
    pub(crate) incoming: Rc<Budget>,
    /// Answers that are being taken, by their serial.
    pub(crate) outgoing: Rc<Budget>,
    pub(crate) rendezvous: Rendezvous,
    pub(crate) acceptor: Acceptor,
    /// Native connections whose other end has not proved its key yet.
    pub(crate) handshakes: Door,
    seats: Rc<Seats>,
    arrivals: Cell<u64>,
    began: Instant,
    /// Log lines about what was refused, and about who comes and goes.
    warnings: Ration,
    visits: Ration,
}

impl Shared {
    fn new(options: Options) -> Self {
        Self {
            directory: RefCell::new(Directory::new(options.directory())),
            metrics: Metrics::default(),
            scratch: RefCell::new(vec![0; READ_BYTES].into()),
            incoming: Budget::new(options.buffered_bytes_max),
            outgoing: Budget::new(options.buffered_bytes_max),
            rendezvous: Rendezvous::open(options.swarm()),
            // Nobody relies on a tracker's key, so it has a new one each time.
            acceptor: Acceptor::new(&Identity::nameless()),
            handshakes: Door::new(HANDSHAKES),
            seats: Seats::new(options.connections_max, options.connections_per_address_max),
            arrivals: Cell::new(0),
            began: Instant::now(),
            warnings: Ration::default(),
            visits: Ration::default(),
            options,
        }
    }

    pub(crate) fn now(&self) -> Time {
        Time::after_start(self.began.elapsed())
    }

    /// That moment as the runtime's timers see it. Far ones come too early, and are asked for again then.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        let far = self.began.elapsed() + FAR;
        self.began + time.since_start().min(far)
    }

    /// A number that grows, for the order of things.
    pub(crate) fn next_arrival(&self) -> u64 {
        let next = self.arrivals.get() + 1;
        self.arrivals.set(next);
        next
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment {
            connections: self.seats.taken(),
            tally: self.directory.borrow().tally(),
            swarm: self.rendezvous.tally(),
            uptime: self.began.elapsed(),
        }
    }

    /// Counts a refusal, and tells it in one line if lines are left.
    pub(crate) fn refuse(
        &self,
        from: impl Into<Option<IpAddr>>,
        refusal: Refusal,
        count: usize,
        reason: &dyn Display,
    ) {
        self.metrics.refused(refusal, count);
        if let Some(left_out) = self.warnings.admit(self.now()) {
            // A reason may quote what a peer sent.
            let reason = reason.to_string();
            let from = from.into().map(tracing::field::display);
            tracing::warn!(from, count, left_out, reason = %Escaped(&reason), "refused");
        }
    }

    /// Tells that a peer came, or went, in one line if lines are left.
    pub(crate) fn tell_visit(&self, tell: impl FnOnce(u64)) {
        if let Some(left_out) = self.visits.admit(self.now()) {
            tell(left_out);
        }
    }
}

/// How many native connections may be at their handshake.
const HANDSHAKES: DoorOptions = DoorOptions {
    guests_max: HANDSHAKES_MAX,
    network_guests_max: HANDSHAKES_PER_ADDRESS_MAX,
    knocks_at_once: HANDSHAKES_AT_ONCE,
    knock_every: HANDSHAKE_EVERY,
};

/// A timer that is farther away than this might not be a moment that the system's clock can name.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// Accepts connections for ever, and gives each a task.
async fn admit(listener: &TcpListener, shared: &Rc<Shared>) {
    loop {
        let (stream, from) = accept(listener, &shared.seats, shared).await;
        let ip = from.ip().to_canonical();
        match shared.seats.take(ip) {
            Ok(seat) => {
                shared.metrics.connected();
                spawn_local(door::open(Rc::clone(shared), stream, ip, seat));
            }
            Err(full) => {
                let refusal = match full {
                    NoSeat::Full => Refusal::Connections,
                    NoSeat::AddressFull => Refusal::AddressConnections,
                };
                shared.refuse(ip, refusal, 1, &full);
            }
        }
    }
}

/// The next connection. Survives whatever the system answers meanwhile: without handles it waits until
/// somebody leaves, or a moment (`B30`).
pub(crate) async fn accept(
    listener: &TcpListener,
    seats: &Seats,
    shared: &Shared,
) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The peer was gone before we looked.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                shared.refuse(None, Refusal::Accept, 1, &format_args!("cannot accept a connection: {error}"));
                tokio::select! {
                    () = seats.freed() => {}
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

/// Lets peers expire while nobody asks.
async fn expire(shared: &Shared) {
    loop {
        let next = shared.directory.borrow().next_expiry().map(|next| next.since(shared.now()));
        // Whatever is announced meanwhile may be due sooner, but answers never show what is overdue.
        sleep(next.unwrap_or(EXPIRE_PAUSE_MAX).clamp(EXPIRE_PAUSE_MIN, EXPIRE_PAUSE_MAX)).await;
        shared.directory.borrow_mut().expire(shared.now());
    }
}

fn listen(address: SocketAddr) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = std::net::TcpListener::from(socket);
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn register(listener: std::net::TcpListener, address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::from_std(listener).map_err(|source| RunError::Register { address, source })
}

#[cfg(test)]
mod tests;
