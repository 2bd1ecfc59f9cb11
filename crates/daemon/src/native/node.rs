//! A native peer as a person knows it: the shares of this device, the devices that they are shared with, and who asks.
//!
//! Promise: what is said to be done is durable; a share that cannot be opened is told of, and the others go on. All that
//! waits for a disk or an index is waited for in threads that may wait.
//!
//! | the question | look into |
//! |---|---|
//! | how a share comes to be here, is opened, and is left | `opening.rs` |
//! | who is called, and who is found where | `meeting.rs`, and `peers.rs` beside this |
//! | what is answered to whom | `service.rs` |

mod meeting;
mod opening;
mod service;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use shoal_disk::Worker;
use shoal_net::{Identity, Lan};
use shoal_proto::id::{DeviceId, ShareId};
use shoal_proto::key::DeviceKey;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::peers::{Peers, Rendezvous};
use super::shell::{Shell, ShellError};
use super::trackers::{Found, Trackers, Wishes};
use crate::config::{Config, Listen};
use crate::control::report::{Happening, Question};
use crate::control::types::{Code, Failure};
use crate::control::{Daemon, Diary};
use crate::home::{Held, HomeError};
use crate::registry::{Registered, Registry, RegistryError};

/// What others are told that they speak with.
pub const AGENT: &str = concat!("shoal ", env!("CARGO_PKG_VERSION"));

/// So many connections that came or went may wait to be told of.
const MET_MAX: usize = 1024;

/// So many may wait to be accepted.
const BACKLOG: u32 = 256;

/// A native peer at work. Dropped without [`Daemon::close`], it ends as by a crash.
pub struct Node {
    core: Arc<Core>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Why a node cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The home cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The shares cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The engine cannot be started.
    #[error(transparent)]
    Shell(#[from] ShellError),
    /// The system refuses.
    #[error("the system gives no random bytes")]
    Random(#[source] std::io::Error),
    /// Nobody could call here.
    #[error("cannot listen at {address}; set `listen` in the configuration to another one")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What all parts of a node share.
struct Core {
    held: Held,
    key: Arc<DeviceKey>,
    config: RwLock<Config>,
    registry: Mutex<Registry>,
    /// The shares that are open, or why they are not.
    shares: Mutex<BTreeMap<ShareId, Opened>>,
    shell: Arc<Shell>,
    peers: Peers,
    diary: Arc<Diary>,
    listening: Vec<SocketAddr>,
    /// Set once the node stands.
    trackers: Mutex<Option<Trackers>>,
    lan: Mutex<Option<Lan>>,
    /// Where others were found, by topics and pseudonyms.
    found: Mutex<meeting::Finds>,
    /// What the first contact of shares has found, where a person is to decide.
    questions: Mutex<BTreeMap<ShareId, Question>>,
    /// Who belongs to which share may have changed, or who is where.
    to_meet: Arc<Notify>,
}

/// A share of this device.
enum Opened {
    /// At work.
    Open {
        /// Who performs jobs in its folder.
        worker: Arc<Worker>,
        /// Who is met for it.
        met_by: meeting::MetBy,
        /// Its index did not have all of the roster when it was opened, and was told by what is kept beside it.
        was_told: bool,
    },
    /// Why it cannot be.
    Failed(String),
}

impl Node {
    /// Starts a node with all shares of this home, in the runtime of the caller. `rendezvous` serves who comes to this device
    /// as to a tracker; `None`: it is none.
    ///
    /// # Errors
    /// When the home cannot be used, or nobody could call here. A share that cannot be opened is none: the status tells of it.
    pub async fn start(
        held: Held,
        config: Config,
        rendezvous: Option<Rendezvous>,
    ) -> Result<Self, NodeError> {
        let key = Arc::new(held.device_key()?);
        let (registry, unread) = Registry::load(&held)?;
        let random = || crate::random().map_err(NodeError::Random);
        let seed: [u8; 32] = crate::random().map_err(NodeError::Random)?;
        let shell = Arc::new(Shell::start(key.device(), seed, AGENT)?);
        let diary = Arc::new(Diary::new(u64::from_be_bytes(random()?)));
        for error in &unread {
            diary.note(None, Happening::Warning { message: error.to_string() });
        }
        let listeners = listen(&config.listen, held.last_port())?;
        let listening: Vec<SocketAddr> =
            listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let port = listening.first().map_or(0, SocketAddr::port);
        held.set_last_port(port)?;
        let calling = u64::from_be_bytes(random()?);
        let connections = config.connections;
        let (tell, told) = mpsc::channel(MET_MAX);
        let core = Arc::new({
            let tell = Box::new(move |met| {
                if tell.try_send(met).is_err() {
                    tracing::warn!("a connection came or went, and so many others did that nobody is told");
                }
            });
            let peers =
                Peers::new(Arc::clone(&shell), Identity::of(&key), calling, connections, tell, rendezvous);
            Core {
                held,
                key,
                config: RwLock::new(config),
                registry: Mutex::new(registry),
                shares: Mutex::default(),
                shell,
                peers,
                diary,
                listening,
                trackers: Mutex::default(),
                lan: Mutex::default(),
                found: Mutex::default(),
                questions: Mutex::default(),
                to_meet: Arc::default(),
            }
        });
        core.open_all().await;
        core.peers.listen(listeners);
        core.begin_to_meet(port);
        let news = service::news::first(&core).await;
        let tasks = vec![
            tokio::spawn(meeting::attend(
                Arc::downgrade(&core),
                Arc::clone(&core.to_meet),
                core.shell.belongs(),
            )),
            tokio::spawn(meeting::tell(Arc::downgrade(&core), told)),
            tokio::spawn(service::news::attend(Arc::downgrade(&core), news)),
        ];
        Ok(Self { core, tasks: Mutex::new(tasks) })
    }
}

impl Daemon for Node {
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.core.diary.note(None, Happening::Stopping);
            lock(&self.tasks).drain(..).for_each(|task| task.abort());
            drop(lock(&self.core.lan).take());
            let trackers = lock(&self.core.trackers).take();
            if let Some(trackers) = trackers {
                trackers.leave().await;
            }
            self.core.peers.close();
            self.core.close_all().await;
        })
    }
}

impl Core {
    fn device(&self) -> DeviceId {
        self.key.device()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }

    fn shares(&self) -> MutexGuard<'_, BTreeMap<ShareId, Opened>> {
        lock(&self.shares)
    }

    fn config(&self) -> Config {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is remembered of a share.
    fn registered(&self, share: &ShareId) -> Result<Registered, Failure> {
        self.registry().get(share).cloned().ok_or_else(|| Failure::no_share(share))
    }

    /// Does something that may wait, in a thread that may.
    async fn waiting<T: Send + 'static>(
        self: &Arc<Self>,
        deed: impl FnOnce(&Arc<Self>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let core = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || deed(&core)).await;
        done.unwrap_or_else(|_| Err(Failure::new(Code::System, "it broke off; the log says more")))
    }

    /// Somebody was found by a tracker, or is gone.
    fn was_found(&self, found: Found) {
        lock(&self.found).note(found);
        self.to_meet.notify_one();
    }
}

/// What is locked is whole at any moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time by this machine's clock.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Listens where it was asked for; port 0 is the last one again, if that is free.
fn listen(wanted: &Listen, last_port: Option<u16>) -> Result<Vec<TcpListener>, NodeError> {
    let (everywhere6, everywhere4) = (Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into());
    let wanted = match wanted {
        Listen::At(addresses) => addresses.clone(),
        // One socket for both families, or the older one alone where there is no other.
        Listen::Any => {
            let port = last_port.unwrap_or(0);
            let tries = [(everywhere6, port), (everywhere4, port), (everywhere6, 0)];
            let mut listening = tries.into_iter().map(|(ip, port)| bind(SocketAddr::new(ip, port)));
            if let Some(listener) = listening.find_map(Result::ok) {
                return Ok(vec![listener]);
            }
            vec![SocketAddr::new(everywhere4, 0)]
        }
    };
    let bind_one = |address: SocketAddr| {
        let again = last_port.filter(|_| address.port() == 0).map(|port| SocketAddr::new(address.ip(), port));
        let listener = again.map(bind).and_then(Result::ok).map_or_else(|| bind(address), Ok);
        listener.map_err(|source| NodeError::Listen { address, source })
    };
    wanted.into_iter().map(bind_one).collect()
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    // Connections of an earlier daemon may still linger at the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
