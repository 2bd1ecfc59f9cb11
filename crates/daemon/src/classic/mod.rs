//! The synchronizer of the course protocol, meeting the world.
//!
//! ```text
//!  tracker ⇄ tracker_connection ─┐                      ┌─► server ⇄ peers that fetch from us
//!  folder ──► view, watch ───────┼─► Synchronizer (pure) ┤
//!  peers ⇄ fetcher ─► placer ────┘     one loop: driver  └─► fetcher, events
//! ```
//!
//! Promise: keep-alives go out whatever the disk and the peers do (no worker blocks the loop); an end is
//! orderly: nothing half-written stays. Begin at [`run`], then `driver`.

mod connections;
mod driver;
mod fetcher;
mod limits;
mod placer;
mod server;
mod settling;
mod tracker_connection;
mod view;
mod watch;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use shoal_classic::limits::FETCH_TIMEOUT;
pub use shoal_classic::limits::{JOBS, JOBS_MAX};
pub use shoal_classic::synchronizer::{Event, Finish, JobId, Options as SyncOptions};
use shoal_disk::{FolderOptions, OpenError, ScanError};

/// How `shoal sync` is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the tracker listens (Port A).
    pub tracker: SocketAddr,
    /// The folder.
    pub dir: PathBuf,
    /// What folders may be synced.
    pub folder: FolderOptions,
    /// The address to serve files at.
    pub bind: IpAddr,
    /// The port to serve files at (Port B); 0 takes a free one.
    pub port: u16,
    /// Watch the folder, and announce what changes.
    pub live: bool,
    /// Longest silence of a source, and longest time to connect to it.
    pub timeout: Duration,
    /// How to synchronize.
    pub sync: SyncOptions,
}

impl Options {
    /// The defaults, for a tracker and a folder.
    #[must_use]
    pub fn new(tracker: SocketAddr, dir: PathBuf) -> Self {
        Self {
            tracker,
            dir,
            folder: FolderOptions::default(),
            bind: Ipv4Addr::UNSPECIFIED.into(),
            port: 0,
            live: false,
            timeout: FETCH_TIMEOUT,
            sync: SyncOptions::default(),
        }
    }
}

/// Something to tell the user.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Files are served here.
    Listening(SocketAddr),
    /// The synchronizer reports.
    Event(Event),
    /// Bytes of a running fetch came.
    Progress {
        /// Which.
        job: JobId,
        /// How many bytes there are now.
        got: u64,
        /// How many there will be, if the source said so.
        length: Option<u64>,
    },
    /// A name of the folder that is not announced, and why.
    Unlisted {
        /// The name, escaped.
        name: String,
        /// Why.
        why: String,
    },
    /// An older run was cut short, and this was put right.
    Recovered(String),
}

/// Takes what is to be told; called from the loop, so it must not block.
pub type Teller = Box<dyn FnMut(Notice) + Send>;

/// Why the synchronizer could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder cannot be opened.
    #[error(transparent)]
    Folder(#[from] OpenError),
    /// The folder cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The port cannot be had.
    #[error("cannot listen at {address}; choose another --port, or none to take a free one")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or the runtime could not be started.
    #[error("cannot start a worker thread")]
    Thread(#[source] io::Error),
}

/// Synchronizes a folder until `shutdown` completes, or until it is done if it is to run once.
///
/// # Errors
/// When the folder or the port cannot be had. All that happens later is told, and the run goes on.
pub async fn run(
    options: Options,
    teller: Teller,
    shutdown: impl Future<Output = ()>,
) -> Result<Finish, RunError> {
    driver::Driver::start(options, teller).await?.run(shutdown).await
}
