//! Every bound of the engine, in one place; those of the protocol are in `shoal_proto::limits`.
//!
//! Times are durations, sizes are bytes; the unit stands last in each name.

use core::time::Duration;

// ── transfer ──

/// Most small contents in one ask.
pub const ASK_PIECES_MAX: usize = 1024;

/// Most bytes in one ask of small contents; one that is larger by itself is asked for alone.
pub const ASK_BYTES_MAX: u64 = 1 << 20;

/// What a source may owe us, before it is known how fast it is and at least; one piece is always asked for.
pub const WINDOW_BYTES_MIN: u64 = 2 << 20;

/// What the fastest source may owe us.
pub const WINDOW_BYTES_MAX: u64 = 16 << 20;

/// How much a source may owe us, as the time that it takes to send it.
pub const WINDOW: Duration = Duration::from_millis(500);

/// Speed is measured over at least such a time.
pub const RATE_INTERVAL: Duration = Duration::from_millis(100);

/// After such a silence what a source owes is asked of another one as well.
pub const STALL: Duration = Duration::from_secs(3);

/// After such a silence a source is given up.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// When to ask again for what a source could not read just then.
pub const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// So many false pieces, and a source is given up.
pub const STRIKES_MAX: u8 = 3;

/// Most segments of one content among which the rarest is sought.
pub const RAREST_OF: usize = 256;

// ── agreeing ──

/// Most outputs of one step of reconciling; a full connection takes no more at a time.
pub const STEP_OUTPUTS_MAX: usize = 16;

/// Records in one page of everything.
pub const STREAM_RECORDS_MAX: usize = 4096;

/// Most messages of one connection and share that wait for the index; then the connection is not read.
pub const INBOX_MAX: usize = 64;

/// Most records in one offer.
pub const OFFER_RECORDS_MAX: usize = 4096;
