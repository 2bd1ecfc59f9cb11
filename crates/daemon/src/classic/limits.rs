//! Every bound of the classic shell, in one place; those of the protocol are in `shoal_classic::limits`.
//!
//! Times are durations, sizes are bytes; the unit stands last in each name.

use std::time::Duration;

use shoal_disk::BATCH_FILES_MAX;

/// Most reports that wait; workers wait for room.
pub(super) const REPORTS_MAX: usize = 1_024;

/// How often the folder is checked to be the one that was opened (`I19`).
pub(super) const ROOT_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// How often old versions are looked through.
pub(super) const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Progress of one file is told at most so often.
pub(super) const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// The system is told of a new wait only if it differs by more than this from the one that it knows.
pub(super) const PATIENCE_SLACK: Duration = Duration::from_millis(20);

/// Most connections that are kept for the next file of their source.
pub(super) const KEPT_CONNECTIONS_MAX: usize = 64;

/// Most messages to the tracker that wait to be sent; one that takes so few is hung up on.
pub(super) const OUTBOX_MAX: usize = 8;

/// Most requests beyond the bounds that are closed in an orderly way at once; further ones are dropped.
pub(super) const REFUSED_MAX: usize = 32;

/// Longest time that a file waits for others to share its batch.
pub(super) const BATCH_WAIT: Duration = Duration::from_millis(200);

/// Most files that wait; then the fetching threads wait.
pub(super) const WAITING_FILES_MAX: usize = 2 * BATCH_FILES_MAX;

/// Most requests that are served at once; further ones wait in the backlog.
pub(super) const REQUESTS_MAX: usize = 512;

/// Connections that the system keeps for us until we accept them; peers fetch many files at once.
pub(super) const REQUESTS_BACKLOG: u32 = 1_024;

/// Most requests of one address that are served at once; further ones are closed.
pub(super) const REQUESTS_PER_ADDRESS_MAX: usize = 256;

/// How much of a file is read and written at a time. Large reads and writes measured faster than `sendfile`
/// (`docs/benchmarks.md`), and bound the memory for one requester.
pub(super) const SEND_BYTES: usize = 256 << 10;

/// How long a requester may take to close its side after the answer.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// How much a requester may still say after its answer.
pub(super) const LINGER_BYTES: usize = 256 << 10;

/// Pause after the system had no handle for a further connection.
pub(super) const NO_HANDLE_PAUSE: Duration = Duration::from_millis(100);

/// How much is read at a time.
pub(super) const READ_BYTES: usize = 64 << 10;

/// How long to wait for further events after one, so that a burst is looked at once.
pub(super) const BURST_WAIT: Duration = Duration::from_millis(50);

/// How often everything is looked at, whatever the watcher says.
pub(super) const FULL_LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// After this long a file that is written all the time is reported as it is.
pub(super) const RESTLESS_MAX: Duration = Duration::from_secs(30);
