//! Every bound of the native protocol, in one place; checked by who sends and by who receives.

// ── values ──

/// Longest path inside a share, in bytes; Linux takes no longer one either (`PATH_MAX`).
pub const PATH_BYTES_MAX: usize = 4096;

/// Longest name between two slashes, in bytes, as on Linux file systems.
pub const NAME_BYTES_MAX: usize = 255;

/// Most names in a path.
pub const PATH_DEPTH_MAX: usize = 128;

/// Longest target of a symbolic link, in bytes; Linux takes no longer one either.
pub const SYMLINK_TARGET_BYTES_MAX: usize = 4095;

/// Longest extension, with its dot, that a conflict copy's mark goes before; what is longer belongs to the stem.
pub const COPY_EXTENSION_BYTES_MAX: usize = 32;

/// Most writers that one record may have seen. More than ever write in a share, so that no honest path freezes; a
/// record that has seen as many takes some 40 KiB.
pub const SEEN_ENTRIES_MAX: usize = 4096;

/// Most versions that one record may have displaced.
pub const DISPLACED_MAX: usize = 1024;

/// Most heads of one path. Honest ones are as many as writers that have not heard of each other; a path with more is not
/// synced until the device that floods it is removed.
pub const HEADS_MAX: usize = 1024;

/// How far a counter in a *seen* may be above the highest one known of its writer before it must be proved.
pub const COUNTER_JUMP_MAX: u64 = 1 << 20;

/// Most records in a publication: one signature for each, and ten hashes prove a lone one.
pub const PUBLICATION_RECORDS_MAX: usize = 1024;

/// Deepest proof of a lone record.
pub const PROOF_HASHES_MAX: usize = PUBLICATION_RECORDS_MAX.ilog2() as usize;

/// Most bytes of a record in its canonical encoding: the longest path, target and lists together, and what is fixed.
pub const RECORD_BYTES_MAX: usize =
    PATH_BYTES_MAX + SYMLINK_TARGET_BYTES_MAX + 20 * (SEEN_ENTRIES_MAX + DISPLACED_MAX) + 256;

// ── cut and lists ──

/// Least size of a segment that is not the last of its content, in bytes.
pub const SEGMENT_BYTES_MIN: u32 = 256 << 10;

/// Greatest size of a segment, in bytes.
pub const SEGMENT_BYTES_MAX: u32 = 4 << 20;

/// Least size of a chunk that is not the last of its segment, in bytes.
pub const CHUNK_BYTES_MIN: u32 = 1 << 10;

/// Greatest size of a chunk, in bytes.
pub const CHUNK_BYTES_MAX: u32 = 16 << 10;

/// Most chunks of a segment.
pub const CHUNKS_MAX: usize = (SEGMENT_BYTES_MAX / CHUNK_BYTES_MIN) as usize;

/// Most segments in a list that is not in pages, and in a page: 144 KiB of list for some 4 GiB of content.
pub const SEGMENTS_PER_PAGE: usize = 4096;

/// Most pages of a list: their index is at most 640 KiB.
pub const SEGMENT_PAGES_MAX: usize = 1 << 14;

/// Largest file that is shared: 16 TiB, more than ext4 holds. Its list fits the pages even if all segments are
/// of the least size.
pub const FILE_BYTES_MAX: u64 =
    SEGMENT_PAGES_MAX as u64 * SEGMENTS_PER_PAGE as u64 * SEGMENT_BYTES_MIN as u64;

// Segments are counted in 32 bits, and their bytes never overflow 64.
const _: () = assert!(SEGMENT_PAGES_MAX * SEGMENTS_PER_PAGE <= u32::MAX as usize);

// ── frames ──

/// Largest body of a frame, in bytes: bounds memory for each connection.
pub const FRAME_BODY_BYTES_MAX: usize = 1 << 20;

/// Largest body before the other end has said hello, in bytes.
pub const FRAME_BODY_BYTES_HELLO_MAX: usize = 1 << 10;

/// Most content bytes that one frame carries: one write of 256 KiB.
pub const FRAME_CONTENT_BYTES_MAX: usize = 256 << 10;

/// Most records in a run: a publication's. With the longest paths they take 4 MiB once they are expanded.
pub const RUN_RECORDS_MAX: usize = PUBLICATION_RECORDS_MAX;

/// Most bytes of a run's records and writers; leaves room in a frame for the publications and proofs of all of them.
pub const RUN_BYTES_MAX: usize = 448 << 10;

/// Most writers in a run's table: those that one record can have seen, and one for each dot and origin.
pub const RUN_WRITERS_MAX: usize = SEEN_ENTRIES_MAX + DISPLACED_MAX + 2 * RUN_RECORDS_MAX;

const _: () = assert!(
    RECORD_BYTES_MAX + 8 * (SEEN_ENTRIES_MAX + DISPLACED_MAX) < RUN_BYTES_MAX,
    "a record by itself always fits"
);
const _: () = assert!(RUN_BYTES_MAX < FRAME_BODY_BYTES_MAX && FRAME_CONTENT_BYTES_MAX < FRAME_BODY_BYTES_MAX);

// ── tracker ──

/// Largest body of a message between peer and tracker: the most peers, each with the most addresses.
pub const TRACKER_BODY_BYTES_MAX: usize = 20 << 10;

/// Most addresses that a device announces.
pub const ANNOUNCED_ADDRESSES_MAX: usize = 16;

/// Most peers that a tracker tells of at once.
pub const TOLD_PEERS_MAX: usize = 50;

/// Longest lease of an announcement, in seconds: a day.
pub const LEASE_SECONDS_MAX: u32 = 24 * 60 * 60;

// ── agreeing ──

/// Most bytes of one message of agreeing: the digests of all 65,536 leaves fit, so that each level is one message.
/// Only one such message is ever under way between two ends, so paging them would save no memory worth the round
/// trips.
pub const RECONCILE_MESSAGE_BYTES_MAX: usize = 520 * 1024;

/// Most fingerprints, and most leaves, in one page of the list of them.
pub const RECONCILE_PAGE_MAX: usize = 4096;

/// Most pages that wait for their answer; who lists keeps the 32-byte hashes of these, 1 MiB.
pub const RECONCILE_PAGES_IN_FLIGHT_MAX: usize = 8;

/// Most fingerprints that the other end may list in one round: more records than a share will ever have.
pub const RECONCILE_LISTED_MAX: usize = 1 << 26;

/// Most record hashes that are handed out to be sent at a time.
pub const RECONCILE_PUSH_MAX: usize = 4096;

/// How often differences are sought while the own records stay as they are and no agreement is reached.
pub const RECONCILE_WALKS_MAX: u32 = 3;

/// How many rounds of any outcome the other end gets while the own records stay as they are.
pub const RECONCILE_ROUNDS_MAX: u32 = 32;

const _: () = assert!(RECONCILE_MESSAGE_BYTES_MAX > (1 << 16) * 8 + (1 << 8) * 2 + 16);
const _: () = assert!(RECONCILE_PAGE_MAX.is_multiple_of(8));

// ── who has what ──

/// Most record hashes in one message about what an end lacks or has.
pub const HOLDING_PAGE_RECORDS_MAX: usize = 4096;

/// Most records that an end may be known to lack: 2 MiB for each connection. Who lacks more says only that.
pub const LACKING_RECORDS_MAX: usize = 1 << 16;

/// Most contents whose segments one other end is known to have, or not.
pub const SEGMENT_MAPS_MAX: usize = 256;

/// Most bytes of all maps of segments of one other end; one for 8 TiB in segments of the average size.
pub const SEGMENT_MAPS_BYTES_MAX: usize = 1 << 20;

/// Most bytes of a map of segments in one message, a bit for each segment.
pub const SEGMENT_MAP_PART_BYTES_MAX: usize = 4096;

/// Most bytes of one message about who has what.
pub const HOLDING_MESSAGE_BYTES_MAX: usize = 32 * HOLDING_PAGE_RECORDS_MAX + 64;

const _: () = assert!(LACKING_RECORDS_MAX.is_multiple_of(HOLDING_PAGE_RECORDS_MAX));
const _: () = assert!(SEGMENT_MAP_PART_BYTES_MAX < HOLDING_MESSAGE_BYTES_MAX);

// ── trust ──

/// Most bytes of a publication without its records: keys, hashes and signature, and three numbers.
pub const PUBLICATION_BYTES_MAX: usize = 192;

/// Most bytes of an entry of a roster; the largest ones seal a new secret to [`SEALED_MAX`] devices.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024;

/// Most entries that one device signs in one share, one after the other: a life of an admin.
pub const CHAIN_ENTRIES_MAX: u64 = 4096;

/// Most entries that a device keeps of one roster.
pub const ROSTER_ENTRIES_MAX: usize = 65_536;

/// Most bytes of entries that a device keeps of one roster.
pub const ROSTER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most entries of one signer among them: a whole chain, and as much again for forks of it, as restored
/// backups make them. Who signs more does it on purpose.
pub const SIGNER_ENTRIES_MAX: usize = 8192;

/// Most bytes of one signer's entries among them.
pub const SIGNER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most steps from the creator down to a device, by who let in whom; so asking who stands above is never
/// slow.
pub const ROSTER_DEPTH_MAX: usize = 32;

/// Longest name of a device, in bytes of UTF-8.
pub const DEVICE_NAME_BYTES_MAX: usize = 64;

/// Most last entries that a removal names: one for each branch of a chain that was forked by restored
/// backups.
pub const KEPT_ENTRIES_MAX: usize = 16;

/// Most last publications that a removal names: one for each writer that the device ever had.
pub const KEPT_PUBLICATIONS_MAX: usize = 1024;

/// Most admissions by invite that a removal or revocation names.
pub const KEPT_ADMISSIONS_MAX: usize = 4096;

/// Most devices that one entry seals a secret to; for more there are more entries.
pub const SEALED_MAX: usize = 2048;

/// Most devices that one invite lets in.
pub const INVITE_USES_MAX: u16 = 1024;

/// Most addresses in an invite.
pub const INVITE_ADDRESSES_MAX: usize = 16;

/// Most trackers in an invite.
pub const INVITE_TRACKERS_MAX: usize = 8;

/// Longest address in an invite, in bytes: the longest host name (RFC 1035), a colon, a port.
pub const ADDRESS_BYTES_MAX: usize = 253 + 1 + 5;

/// Most bytes in an invite before they are written as letters.
pub const INVITE_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of text that are looked at as an invite, with all spaces and line ends that came along.
pub const INVITE_TEXT_BYTES_MAX: usize = 32 * 1024;

const _: () = assert!(ENTRY_BYTES_MAX > SEALED_MAX * 114 + 256);
const _: () = assert!(ENTRY_BYTES_MAX > KEPT_ADMISSIONS_MAX * 32 + KEPT_PUBLICATIONS_MAX * 50 + 1024);
const _: () =
    assert!(INVITE_BYTES_MAX > (INVITE_ADDRESSES_MAX + INVITE_TRACKERS_MAX) * (ADDRESS_BYTES_MAX + 2) + 512);
const _: () = assert!(INVITE_TEXT_BYTES_MAX > INVITE_BYTES_MAX * 2);

// ── messages ──

/// Longest name and version of a program in a hello, in bytes.
pub const AGENT_BYTES_MAX: usize = 64;

/// Most shares that a device tells of on one connection, newest secret first.
pub const SHARES_MAX: usize = 1024;

/// Most roster entries in one message.
pub const MESSAGE_ENTRIES_MAX: usize = 256;

/// Most publications without records in one message.
pub const MESSAGE_PUBLICATIONS_MAX: usize = 1024;

/// Most publications with records in one message: each has one record at least.
pub const MESSAGE_BATCHES_MAX: usize = RUN_RECORDS_MAX;

/// Most proofs of lone records in one message, over all of its publications: each is of one record.
pub const MESSAGE_PROOFS_MAX: usize = RUN_RECORDS_MAX;

// Every record lone, with a publication and a proof of its own: a frame still takes them. Beside a publication stand
// four numbers, beside a proof's hashes two, before all of them three, before the run's records two.
const _: () = assert!(
    16 + MESSAGE_BATCHES_MAX * (PUBLICATION_BYTES_MAX + 2 + 1 + 2 + 3)
        + MESSAGE_PROOFS_MAX * (32 * PROOF_HASHES_MAX + 3 + 1)
        + RUN_BYTES_MAX
        + 16
        <= FRAME_BODY_BYTES_MAX
);

/// Most record hashes in one message: 128 KiB.
pub const MESSAGE_HASHES_MAX: usize = 4096;

/// Most contents that one request asks for.
pub const MESSAGE_CONTENTS_MAX: usize = 4096;

/// Most spans of one segment in a request: as many as it can have chunks.
pub const SPANS_MAX: usize = CHUNKS_MAX;
