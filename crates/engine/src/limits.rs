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

/// What has not come so long after it was asked for is asked of another source as well that has nothing else to do,
/// though some of it may be coming.
pub const LATE: Duration = Duration::from_secs(20);

/// After such a silence a source is given up.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// When to ask again for what a source could not read just then.
pub const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// So many false pieces, and a source is given up.
pub const STRIKES_MAX: u8 = 3;

/// Most segments of one content among which the rarest is sought.
pub const RAREST_OF: usize = 256;

// ── fetching ──

/// Most contents that are wanted at once.
pub const GOALS_MAX: usize = 4096;

/// Most of them that are kept when they take all room and nobody has them, so that what comes of them comes at once.
pub const SOURCELESS_GOALS_MAX: usize = 1024;

/// If nothing wanted has come for so long, and there is no more room, what nobody has makes room.
pub const ROOM_PAUSE: Duration = Duration::from_secs(2);

/// Most records by which it is known who has one content.
pub const EQUAL_RECORDS_MAX: usize = 32;

/// Most contents of several segments that are worked on at once: each takes a page of its list, some 200 KiB, and as
/// many pieces that are asked for.
pub const LARGE_GOALS_MAX: usize = 16;

/// Most bytes that were asked for, or came and are not in a staged file yet.
pub const FETCH_BYTES_MAX: u64 = 64 << 20;

/// Most contents, or segments, that one question to the index is about.
pub const LOOK_MAX: usize = 256;

/// Most such questions at a time, and such for a list.
pub const LOOK_JOBS_MAX: usize = 4;

/// Places at which the bytes of one content or segment are tried.
pub const LOOK_PLACES_MAX: usize = 2;

/// Most pieces in one job of writing.
pub const WRITES_MAX: usize = 256;

/// Most bytes in one job of writing; what is larger by itself goes alone.
pub const WRITE_BYTES_MAX: u64 = 8 << 20;

/// Most jobs of writing at a time: while one is performed the next one fills.
pub const WRITE_JOBS_MAX: usize = 4;

/// Most pieces that wait to be written while more places are looked for.
pub const WRITES_WAITING_MAX: usize = 1024;

/// Most segments at a time of which the chunks are compared. A list of chunks takes up to 64 KiB.
pub const DELTAS_MAX: usize = 64;

/// Most segments of an older version with which one of a newer version is compared.
pub const NEAR_MAX: usize = 16;

/// After so many segments that had next to nothing in common with the older version, and twice as many as had something,
/// no more of this content are compared.
pub const USELESS_DELTAS_MAX: u32 = 4;

/// When writing is tried again after the disk was full; each further time the wait doubles.
pub const SPACE_PAUSE: Duration = Duration::from_secs(30);

/// The longest such wait.
pub const SPACE_PAUSE_MAX: Duration = Duration::from_secs(480);

/// How long a large content that nobody has lets others go before it.
pub const PARK_PAUSE: Duration = Duration::from_secs(5);

/// How long it takes at most until one is found that nobody has, while bytes of others come.
pub const PARK_CHECK: Duration = Duration::from_millis(50);

const _: () = assert!(FETCH_BYTES_MAX > WINDOW_BYTES_MAX && WRITES_WAITING_MAX > LOOK_MAX);

// ── serving ──

/// Most requests of one connection that wait or are being served.
pub const SERVE_REQUESTS_MAX: usize = 1024;

/// Most contents and spans in them.
pub const SERVE_ITEMS_MAX: usize = 16_384;

/// Most of them that one question to the index, or one job of reading, is about.
pub const SERVE_LOOK_MAX: usize = 256;

/// Most lists that the index is asked for at once for one connection; each has up to 150 KB.
pub const SERVE_LOOK_LISTS_MAX: usize = 8;

/// Most bytes that are read at once for one connection, and that wait to be sent on it before more are read.
pub const SERVE_READ_BYTES_MAX: u32 = 1 << 20;

/// A connection with fewer bytes left to be sent is drained ([`Input::Drained`](crate::io::Input::Drained)).
pub const DRAINED_BYTES: usize = 256 << 10;

/// Most bytes that are on their way to one connection.
pub const SERVE_SENT_BYTES_MAX: u64 = 1 << 20;

// ── agreeing ──

/// Most outputs of one step of reconciling, and how many records are enough for one.
pub const STEP_OUTPUTS_MAX: usize = 16;

/// See [`STEP_OUTPUTS_MAX`].
pub const STEP_RECORDS_MAX: usize = 4096;

/// Most bytes of one share that are on their way to one connection before another step; each is a page or so.
pub const LINK_SENT_BYTES_MAX: u64 = 1 << 20;

/// Records in one page of everything.
pub const STREAM_RECORDS_MAX: usize = 4096;

/// Most messages of one connection and share that wait for the index; then the connection is not read.
pub const INBOX_MAX: usize = 64;

/// Most records in one offer.
pub const OFFER_RECORDS_MAX: usize = 4096;

// ── status ──

/// Most paths that are listed with why they are not in sync; others are counted.
pub const PROBLEMS_MAX: usize = 10_000;

// ── looking ──

/// Paths in one page of a sweep, of the disk and of the index.
pub const PAGE_PATHS: usize = 1024;

/// Most deletions that one sweep remembers; if there are more, their contents are counted, and another sweep follows. Most
/// files, too, that it keeps until it is known whether they were moved; more are taken for new ones.
pub const GONE_MAX: usize = if cfg!(test) { 8 } else { 1 << 16 };

/// So many inodes of what the index holds are known to a sweep before it reads no further ahead: some 4 MiB.
pub const INODES_MAX: usize = if cfg!(test) { 4 * PAGE_PATHS } else { 1 << 18 };

/// What is gone is noted, and what others deleted is removed, when for so long no more of it was heard of …
pub const LULL: Duration = Duration::from_millis(200);

/// … or so long after the first of it.
pub const LULL_WAIT_MAX: Duration = Duration::from_secs(60);

/// So long what looks like the one end of a move waits for word of the other, while somebody has yet to say all.
pub const MOVES_WAIT_MAX: Duration = Duration::from_secs(10);

/// Contents that are lost one after the other are one loss until nothing was lost for so long (I19).
pub const LOSS_QUIET: Duration = Duration::from_secs(60);

/// Most paths that are looked at in one job, or whose content is named in one and noted together; what is gone goes beside them.
pub const TAKE_PATHS_MAX: usize = 2048;

/// Most bytes of files whose content is named in one job, but for one that is larger by itself.
pub const TAKE_BYTES_MAX: u64 = 64 << 20;

/// Most paths that are to be looked at; beyond them all is looked through.
pub const LOOKS_MAX: usize = 1 << 14;

/// A path is looked at so long after something has happened there …
pub const LOOK_DELAY: Duration = Duration::from_millis(10);

/// … or, if somebody is still at it, when nothing more was written for so long …
pub const WRITTEN_DELAY: Duration = Duration::from_millis(50);

/// … but, whatever happens there, at most so long after the first of it.
pub const LOOK_WAIT_MAX: Duration = Duration::from_millis(200);

/// A path at which something happens all the time is looked at so often without waiting longer …
pub const WARM_LOOKS: u32 = 4;

/// … and then only after this, which doubles with each further time …
pub const WARM_WAIT_MIN: Duration = Duration::from_millis(50);

/// … up to this; one such time is forgotten after as long.
pub const WARM_WAIT_MAX: Duration = Duration::from_secs(5);

/// A file that has become empty is taken for that when it still is so long after it was first seen to be.
pub const EMPTIED_DELAY: Duration = LULL;

const _: () = assert!(LOOK_DELAY.as_nanos() < WRITTEN_DELAY.as_nanos());
const _: () = assert!(WRITTEN_DELAY.as_nanos() < LOOK_WAIT_MAX.as_nanos());

/// A file that changed while it was read is read again after so long, and twice as long each further time …
pub const RETRY_MIN: Duration = Duration::from_millis(50);

/// … up to this.
pub const RETRY_MAX: Duration = Duration::from_secs(60);

/// All is looked through so often, whatever a watcher says.
pub const RESCAN_INTERVAL: Duration = Duration::from_secs(60 * 60);

// ── doing ──

/// Paths in one page of what is to be done.
pub const PLAN_PATHS: usize = 512;

/// Most changes in one batch.
pub const BATCH_CHANGES_MAX: usize = 1000;

/// A batch that puts so many bytes into place is large enough.
pub const BATCH_BYTES_MAX: u64 = 64 << 20;

/// After a batch of so many changes the next one waits for more …
pub const BATCH_FLOW_MIN: usize = 32;

/// … but no longer than this.
pub const BATCH_WAIT_MAX: Duration = Duration::from_millis(200);

/// Most changes that wait for the disk; planning goes on when there are fewer.
pub const CHANGES_MAX: usize = 4096;

/// Most removals that are gathered before they are done, children before their folders.
pub const REMOVALS_MAX: usize = 1 << 14;

/// Most conflicts that are being resolved at a time.
pub const RESOLUTIONS_MAX: usize = 64;

/// Who may resolve a conflict waits so long for each who may before it …
pub const RESOLVE_STEP: Duration = Duration::from_secs(1);

/// … and at most so long.
pub const RESOLVE_WAIT_MAX: Duration = Duration::from_secs(60);

/// What two ends hold is compared again so long after something has changed.
pub const ROUND_DELAY: Duration = Duration::from_secs(2);

/// What another end has cost is forgotten so long after a round that did not bring both together.
pub const ROUND_PAUSE: Duration = Duration::from_secs(60);

/// Who says to be empty gets everything so often within [`STREAM_PAUSE`], however often it connects: a person who sets a
/// device up anew, and again, waits for nothing; a liar costs a few lists of records in an hour.
pub const STREAMS_MAX: usize = 8;

/// See [`STREAMS_MAX`].
pub const STREAM_PAUSE: Duration = Duration::from_secs(3600);

/// What has come to be held is told so long after it has.
pub const HAVE_DELAY: Duration = Duration::from_millis(100);

// ── history ──

/// Versions that are let go in one job.
pub const PRUNED_MAX: usize = 4096;

/// Room is made so long after the history has come to take too much.
pub const ROOM_DELAY: Duration = Duration::from_secs(60);

/// Most late edits that are listed.
pub const LATE_EDITS_MAX: usize = 1000;

/// Most versions that are on their way back at a time.
pub const RESTORES_MAX: usize = 1 << 14;

/// Most of those that are over, of which it is told what became of them.
pub const RESTORES_TOLD_MAX: usize = 1024;

/// A version waits so long before it is tried again to put it back where something else is being done …
pub const RESTORE_PAUSE: Duration = Duration::from_secs(1);

/// … and so often.
pub const RESTORE_TRIES_MAX: u32 = 60;

/// Most changes of a reader that a person has given up and that are not over.
pub const REVERTS_MAX: usize = 1 << 14;

// ── connections ──

/// After such a silence the other end is asked whether it is there.
pub const PING_INTERVAL: Duration = Duration::from_secs(20);

/// After such a silence a connection is given up.
pub const CONNECTION_SILENCE_MAX: Duration = Duration::from_secs(60);

/// A connection on which both ends have not agreed on a share by then is closed.
pub const GREETING_MAX: Duration = Duration::from_secs(10);
