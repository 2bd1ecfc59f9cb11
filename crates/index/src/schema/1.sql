-- The index of one share, schema 1. `PRAGMA user_version` is 1, `PRAGMA application_id` says that it is ours.
-- Numbers in blobs are big-endian; hashes, ids and writers are blobs of their bytes.

-- What the share and this device's life in it are. One row.
CREATE TABLE share (
    one            INTEGER PRIMARY KEY CHECK (one = 1),
    founding       BLOB NOT NULL,              -- as proto encodes it; its hash is the share's id
    device         BLOB NOT NULL,              -- whose index this is
    salt           BLOB NOT NULL,              -- with device and share it makes the writer
    counter        INTEGER NOT NULL,           -- the writer's count of records; the next dot is one more
    last_sequence  INTEGER,                    -- the writer's last publication; both NULL before the first
    last_hash      BLOB,
    first_contact  INTEGER NOT NULL,           -- whether it may publish as far as first contact goes
    halted         INTEGER NOT NULL,           -- whether a guard stopped it; it publishes nothing then
    open           INTEGER NOT NULL,           -- set while a program has it; if set at open, the last stop was unclean
    aged           INTEGER NOT NULL DEFAULT 0, -- the seconds that the history has aged
    aged_at        INTEGER                     -- what the machine's clock showed when that was last counted; NULL: never
) STRICT;

-- A path that is on this disk, or that records are known of.
CREATE TABLE paths (
    id        INTEGER PRIMARY KEY,             -- what the tables in memory name it by
    path      BLOB NOT NULL,
    place     INTEGER NOT NULL,                -- first 8 bytes of the hash that gives the leaf: its top 16 bits are the leaf
    heads     BLOB NOT NULL,                   -- for each head: publication (4), position in it (2), length (4), and the
                                               -- canonical encoding without the path that it begins with
    base      BLOB,                            -- NULL: none. One byte n: what a disk agrees with that shows head n.
                                               -- Else a record that carries it, encoded as heads are
    standing  INTEGER NOT NULL,                -- how here stands to base: 0 agrees, 1 differs, 2 behind (here.rs)
    live      INTEGER NOT NULL,                -- whether the version that the path has is not gone
    diverging INTEGER NOT NULL,                -- whether here, base and heads ask for something
    here      BLOB                             -- NULL where nothing is: kind (1: 1 link, 2 file, 3 folder), mtime as seconds
                                               -- (8) and nanoseconds (4), ctime as mtime, inode (8), mode (2); of a file
                                               -- its size (8) and content id, of a link its target
) STRICT;

-- Path order: children of a folder, pages of a listing.
CREATE INDEX paths_in_order ON paths (path);
-- The work: empty when there is none.
CREATE INDEX diverging ON paths (path) WHERE diverging;

-- Every publication that was taken, its header for ever: only the chain shows what a removed device had said in time.
CREATE TABLE publications (
    id       INTEGER PRIMARY KEY,
    hash     BLOB NOT NULL,
    writer   BLOB NOT NULL,
    sequence INTEGER NOT NULL,                 -- reinterpreted as signed
    device   BLOB NOT NULL,
    header   BLOB NOT NULL,                    -- as proto encodes it
    first    INTEGER                           -- of an own one: the lowest counter of its records; NULL of others
) STRICT;
CREATE UNIQUE INDEX publications_by_hash ON publications (hash);
CREATE INDEX publications_by_writer ON publications (writer, sequence);

-- The hashes of all records of a publication that came whole; only while one of them is a head.
CREATE TABLE record_hashes (
    publication INTEGER PRIMARY KEY,
    hashes      BLOB NOT NULL                  -- 32 bytes each, in its order
) STRICT;

-- What proves a record whose publication came in part; only while it is a head.
CREATE TABLE proofs (
    publication INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    hash        BLOB NOT NULL,
    way         BLOB NOT NULL,                 -- the hashes of the proof
    PRIMARY KEY (publication, position)
) STRICT, WITHOUT ROWID;

-- The highest counter known of each writer.
CREATE TABLE writers (
    writer  BLOB PRIMARY KEY,
    counter INTEGER NOT NULL                   -- reinterpreted as signed
) STRICT, WITHOUT ROWID;

-- The entries of the roster.
CREATE TABLE entries (
    id    INTEGER PRIMARY KEY,
    entry BLOB NOT NULL                        -- as proto encodes it
) STRICT;

-- Lists of segments. Content of one segment needs none.
CREATE TABLE lists (
    id         INTEGER PRIMARY KEY,
    content    BLOB NOT NULL UNIQUE,
    size       INTEGER NOT NULL,
    page_index BLOB                            -- of a list in pages, as proto encodes it
) STRICT;
CREATE TABLE list_pages (
    id       INTEGER PRIMARY KEY,
    list     INTEGER NOT NULL,
    page     INTEGER NOT NULL,                 -- 0 for a list without pages
    segments BLOB NOT NULL                     -- as proto encodes them
) STRICT;
CREATE UNIQUE INDEX pages_of_a_list ON list_pages (list, page);

-- What the disk was last asked to bring into the folder; empty once that is noted. What a process that ended had put in
-- place is told from its user's edits by it.
CREATE TABLE intents (
    path   BLOB NOT NULL,
    record BLOB                                -- as proto encodes it; NULL: a folder for what lies below
) STRICT;

-- What the history on this disk holds.
CREATE TABLE history (
    number  INTEGER PRIMARY KEY,               -- the name of the file in the history's folder
    path    BLOB,                              -- NULL if a crash lost it
    content BLOB NOT NULL,                     -- all zeros if it is not known
    size    INTEGER NOT NULL,
    mtime   INTEGER NOT NULL,                  -- of the file: seconds, and nanoseconds
    nanos   INTEGER NOT NULL,
    seconds INTEGER NOT NULL,                  -- when it was filed, by the machine's clock: only to be shown
    part    INTEGER NOT NULL,                  -- and its nanoseconds
    device  BLOB,                              -- by whose record it was displaced; NULL: by nobody's, or not known
    why     INTEGER NOT NULL,                  -- 0 not known, 1 replaced, 2 deleted, 3 a conflict, 4 a local difference
    late    INTEGER NOT NULL,                  -- whether a program wrote to it after it was displaced: 0 no, 1 yes, 2 yes,
                                               -- and a person knows of it
    named   INTEGER NOT NULL,                  -- whether its content was asked for: it is known, or there is none
    found   INTEGER NOT NULL,                  -- whether it was found there, and not filed for this index
    aged    INTEGER                            -- what `share.aged` was when it was first counted; NULL: it was not yet
) STRICT;
-- With the size, to add up what each path takes.
CREATE INDEX history_by_path ON history (path, number, size);
CREATE INDEX history_by_content ON history (content);
CREATE INDEX history_by_age ON history (aged, number);
