//! Every bound of the classic protocol, in one place.
//!
//! What a stranger can make us hold, wait for or repeat is capped here (`I30`). Times are durations, sizes
//! are bytes; the unit stands last in each name.

use core::time::Duration;

/// Longest file name, in bytes: what Linux file systems take.
pub const NAME_BYTES_MAX: usize = 255;

/// Largest message or directory, in bytes (`B5`).
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Deepest nesting of a message; the messages themselves need three levels (`B6`).
pub const MESSAGE_DEPTH_MAX: u32 = 128;

/// Most files that one peer may announce; further entries are refused (`B21`).
pub const ENTRIES_PER_PEER_MAX: usize = 200_000;

/// Most entries that a peer takes from one directory; further ones are refused.
pub const DIRECTORY_ENTRIES_MAX: usize = 500_000;

/// Most refused entries of one message that are told one by one; the others are only counted.
pub const REFUSALS_TOLD_MAX: usize = 1_000;

/// Lengths that are a multiple of this make programs wait for ever that read until a short `recv`.
pub const RECV_MULTIPLE_BYTES: usize = 8_192;

/// How long after its first message a peer may still show by a newline that it is framed.
pub const DIALECT_WAIT: Duration = Duration::from_millis(50);

/// How long a connection to the tracker may stay without its first byte (`B3`, `B30`).
pub const FIRST_MESSAGE_WAIT: Duration = Duration::from_secs(10);

/// Longest pause inside a message.
pub const MESSAGE_STALL: Duration = Duration::from_secs(10);

/// Longest pause after a newline inside an unfinished message: more often a truncated line (`B2`) than
/// JSON written over several lines.
pub const LINE_STALL: Duration = Duration::from_secs(1);

/// Longest time from the first byte of a message to its last (`B26`).
pub const MESSAGE_DURATION_MAX: Duration = Duration::from_secs(120);

/// A peer that was silent for this long is forgotten by the tracker, unless an option says otherwise.
pub const PEER_EXPIRY: Duration = Duration::from_secs(180);

/// After this many expiries of silence the tracker closes the connection too.
pub const IDLE_EXPIRIES_BEFORE_CLOSE: u32 = 10;

/// How long after its connection closed a peer stays listed, so that a quick reconnection is seamless.
pub const CLOSED_PEER_GRACE: Duration = Duration::from_secs(5);

/// How often a peer tells the tracker that it is there.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// A tracker that answered nothing for this long is given up, and dialled again.
pub const TRACKER_SILENCE_MAX: Duration = Duration::from_secs(30);

/// First pause before the tracker is dialled again; doubled up to [`RECONNECT_MAX`].
pub const RECONNECT_MIN: Duration = Duration::from_secs(1);

/// Longest pause before the tracker is dialled again.
pub const RECONNECT_MAX: Duration = Duration::from_secs(30);

/// Directories that come faster than this are not looked at one by one; the newest counts (`B26`).
pub const DIRECTORY_INTERVAL_MIN: Duration = Duration::from_millis(250);

/// Longest file request, in bytes (`C4`).
pub const REQUEST_BYTES_MAX: usize = 4 << 10;

/// How long a requester may take to say which file it wants (`C4`).
pub const REQUEST_WAIT: Duration = Duration::from_secs(10);

/// Silence after which a name without a newline counts as complete: a classic request.
pub const NAME_SILENCE: Duration = Duration::from_millis(100);

/// The same, while what came is only the beginning of names that we have.
pub const NAME_PREFIX_SILENCE: Duration = Duration::from_millis(500);

/// Pause between the header and the body of a framed answer to a program that is not Shoal: one client
/// loses body bytes that arrive in the header's segment.
pub const HEADER_PAUSE: Duration = Duration::from_millis(50);

/// A requester that takes nothing of an answer for this long is given up (`C6`).
pub const SERVE_STALL: Duration = Duration::from_secs(30);

/// Slowest pace at which an answer may be taken, in bytes a second, once [`SERVE_STALL`] has passed (`C6`).
pub const SERVE_RATE_MIN: u64 = 1 << 10;

/// How long to wait for a source's first byte before a newline is sent after the name.
pub const NEWLINE_WAIT: Duration = Duration::from_secs(1);

/// Longest header line of a framed answer, in bytes (`C7`).
pub const HEADER_BYTES_MAX: usize = 64;

/// Longest idle time of a source, and of connecting to it, unless an option says otherwise.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Slowest pace of a source, in bytes a second, once [`FETCH_RATE_GRACE`] has passed.
pub const FETCH_RATE_MIN: u64 = 1 << 10;

/// How long a source may be slower than [`FETCH_RATE_MIN`].
pub const FETCH_RATE_GRACE: Duration = Duration::from_secs(60);

/// Largest file that is fetched, in bytes (`C9`); free space bounds it further.
pub const FILE_BYTES_MAX: u64 = 1 << 43;

/// How many files are fetched at once, unless an option says otherwise.
pub const JOBS: usize = 8;

/// Most files that may be fetched at once.
pub const JOBS_MAX: usize = 256;

/// mtimes further in the future than this are not fetched unless trusted (`B14`).
pub const FUTURE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Failures in a row after which an address is left alone for a while (`T4`).
pub const SOURCE_FAILURES_MAX: u32 = 3;

/// Failures in a row, without one success, after which a whole host is left alone for a while (`T4`).
pub const HOST_FAILURES_MAX: u32 = 16;

/// Answers without a byte in a row, without one file, after which a whole host is left alone for a while (`T4`).
/// An honest classic source gives one for each of its empty files.
pub const HOST_EMPTY_ANSWERS_MAX: u32 = 128;

/// How long a failing address is left alone at first; doubled up to [`SOURCE_REST_MAX`].
pub const SOURCE_REST_MIN: Duration = Duration::from_secs(10);

/// Longest time for which a failing address is left alone.
pub const SOURCE_REST_MAX: Duration = Duration::from_secs(600);

/// Most addresses whose behaviour is remembered.
pub const SOURCES_MAX: usize = 10_000;

/// How long fetching rests when the disk is full (`I20`).
pub const NO_SPACE_PAUSE: Duration = Duration::from_secs(30);

/// How long a file that twice could not be put in place is left alone; doubled up to [`SETBACK_REST_MAX`].
pub const SETBACK_REST_MIN: Duration = Duration::from_secs(10);

/// Longest time for which a file that could not be put in place is left alone.
pub const SETBACK_REST_MAX: Duration = Duration::from_secs(600);

/// How long dialling the tracker may take.
pub const TRACKER_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most replacements of one name within [`REPLACEMENT_WINDOW`] (`C12`).
pub const REPLACEMENTS_MAX: u32 = 12;

/// The window for [`REPLACEMENTS_MAX`].
pub const REPLACEMENT_WINDOW: Duration = Duration::from_secs(60);

const _: () = assert!(REQUEST_BYTES_MAX > NAME_BYTES_MAX + 2);
const _: () = assert!(RECONNECT_MIN.as_nanos() < RECONNECT_MAX.as_nanos());
const _: () = assert!(DIALECT_WAIT.as_nanos() < FIRST_MESSAGE_WAIT.as_nanos());
const _: () = assert!(KEEP_ALIVE_INTERVAL.as_nanos() < TRACKER_SILENCE_MAX.as_nanos());
