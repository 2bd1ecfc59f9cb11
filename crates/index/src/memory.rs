//! What the index keeps in memory beside the database: sums, tables from hashes to rows, counts.
//!
//! Promise: it follows from the database alone, is rebuilt from it in one pass, and takes at most 200 bytes a file.
//! Begin at [`Memory::load`] and [`Memory::replace`].

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use shoal_engine::time::Time;
use shoal_proto::digest::{Digests, Leaf};
use shoal_proto::hash::{ContentId, Domain, RecordHash, prefix};
use shoal_proto::heads::Heads;
use shoal_proto::id::{ShareId, Writer};
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Record};
use shoal_proto::roster::{Entries, Entry, Founding, Roster};

use crate::counted::Counted;
use crate::crowd::Crowd;
use crate::error::IndexError;
use crate::folders::Folders;
use crate::intents::{self, Intents};
use crate::leaves::Leaves;
use crate::losses::Losses;
use crate::row::{self, Before, HeadsIn, Held, Row, blob, leaf_of, number};
use crate::table::Table;

/// What status says of a share.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Files on this disk.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// Folders on this disk.
    pub folders: u64,
    /// Links on this disk.
    pub links: u64,
    /// Paths whose here, base and heads ask for something.
    pub diverging: u64,
    /// Of these, files whose content is to come to stand there.
    pub to_come: u64,
    /// The bytes of those together.
    pub bytes_to_come: u64,
}

/// Bytes of memory for each sort of thing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Sums, and the hashes of all records by leaf.
    pub agreeing: usize,
    /// From paths, records and contents to rows, how many files have each content, and which folders have something live
    /// below them.
    pub paths: usize,
    /// From segments to lists.
    pub segments: usize,
}

#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) digests: Digests,
    pub(crate) leaves: Leaves,
    pub(crate) paths: Table,
    pub(crate) records: Table,
    pub(crate) contents: Crowd,
    /// How many files here have each content.
    pub(crate) on_disk: Counted,
    /// What this device's user has taken away of late.
    pub(crate) lost_here: Losses,
    /// What was taken away of late because others had deleted it.
    pub(crate) lost_to_others: Losses,
    /// To the numbers of pages of lists.
    pub(crate) segments: Crowd,
    /// When this process last counted how the history has aged.
    pub(crate) aged_at: Option<Time>,
    pub(crate) folders: Folders,
    pub(crate) counts: Counts,
    /// For each publication how many heads are its records.
    pub(crate) heads: Vec<u32>,
    /// The highest counter known of each writer.
    pub(crate) writers: BTreeMap<Writer, u64>,
    pub(crate) entries: Entries,
    pub(crate) roster: Roster,
    /// What an earlier process intended, until it is looked at or something else is intended.
    pub(crate) intents: Intents,
    pub(crate) last_row: u32,
    pub(crate) last_publication: u32,
}

impl Memory {
    /// What the database comes to.
    pub(crate) fn load(conn: &Connection, founding: Founding) -> Result<Self, IndexError> {
        let share = founding.share();
        let entries = read_entries(conn, founding)?;
        let mut memory = Self {
            digests: Digests::default(),
            leaves: Leaves::default(),
            paths: Table::default(),
            records: Table::default(),
            contents: Crowd::default(),
            on_disk: Counted::default(),
            lost_here: Losses::default(),
            lost_to_others: Losses::default(),
            segments: Crowd::default(),
            aged_at: None,
            folders: Folders::default(),
            counts: Counts::default(),
            heads: Vec::new(),
            writers: read_writers(conn)?,
            roster: entries.roster(),
            entries,
            intents: intents::read(conn)?,
            last_row: 0,
            last_publication: last(conn, "SELECT coalesce(max(id), 0) FROM publications")?,
        };
        memory.heads = vec![0; memory.last_publication as usize + 1];
        let rows = last(conn, "SELECT coalesce(max(id), 0) FROM paths")?;
        // The numbers may have gaps; then the tables grow as they fill.
        for table in [&mut memory.paths, &mut memory.records] {
            table.reserve(usize::try_from(rows.min(ROWS_FORESEEN_MAX)).unwrap_or(0));
        }
        memory.leaves.reserve(usize::try_from(rows.min(ROWS_FORESEEN_MAX)).unwrap_or(0));
        memory.load_paths(conn, &share)?;
        memory.load_lists(conn)?;
        Ok(memory)
    }

    fn load_paths(&mut self, conn: &Connection, share: &ShareId) -> Result<(), IndexError> {
        let reading = || IndexError::database("read the paths");
        let mut statement = conn
            .prepare("SELECT id, path, place, heads, live, diverging, here FROM paths ORDER BY id")
            .map_err(reading())?;
        let mut rows = statement.query([]).map_err(reading())?;
        let (mut found, mut changed, mut encoded) = (Before::default(), Vec::new(), Vec::new());
        let mut contents = Vec::new();
        while let Some(sql) = rows.next().map_err(reading())? {
            let (id, path) = (number(sql, 0)?, blob(sql, 1)?);
            let place = sql.get::<_, i64>(2).map_err(reading())?.cast_unsigned();
            (found.is_live, found.is_diverging) = (number(sql, 4)? != 0, number(sql, 5)? != 0);
            found.here = crate::packed::kind_in(sql, 6)?;
            found.said.clear();
            found.contents.clear();
            let mut heads = Heads::default();
            found.contents.extend(found.here.as_ref().and_then(row::file_content));
            for head in HeadsIn(blob(sql, 3)?) {
                let (publication, position, rest) = head?;
                row::put_path_before(path, rest, &mut encoded);
                let hash = RecordHash::from_bytes(Domain::RECORD.hash_one(&encoded));
                found.contents.extend(row::content_in(rest));
                found.said.push(row::Said { hash, publication, position });
                if found.is_diverging {
                    heads.add(Record::decode(&encoded).map_err(IndexError::damaged)?);
                }
            }
            found.to_come = row::to_come(&heads, found.here.as_ref(), found.is_diverging);
            found.contents.sort_unstable();
            found.contents.dedup();
            if id <= self.last_row {
                return Err(IndexError::damaged("numbers of paths that are not in order"));
            }
            self.last_row = id;
            self.paths.insert(place, id);
            if found.is_live && !self.folders.change_in_last(path, true) {
                let path = RelPath::parse(path).map_err(IndexError::damaged)?;
                self.folders.change(share, &path, true, &mut changed);
                changed.clear();
            }
            for said in &found.said {
                self.leaves.append(leaf_of(place), &said.hash);
            }
            self.put(id, leaf_of(place), found.held())?;
            contents.extend(found.contents.iter().map(|content| (prefix(content.as_bytes()), id)));
            if let Some(content) = found.here.as_ref().and_then(row::file_content) {
                self.on_disk.add(prefix(content.as_bytes()));
            }
        }
        self.leaves.sort();
        self.contents.fill(contents);
        Ok(())
    }

    fn load_lists(&mut self, conn: &Connection) -> Result<(), IndexError> {
        let reading = || IndexError::database("read the lists of segments");
        let mut statement = conn.prepare("SELECT id, segments FROM list_pages").map_err(reading())?;
        let mut rows = statement.query([]).map_err(reading())?;
        let mut segments = Vec::new();
        while let Some(sql) = rows.next().map_err(reading())? {
            let page = number(sql, 0)?;
            segments.extend(ids_in(blob(sql, 1)?).into_iter().map(|segment| (prefix(segment), page)));
        }
        self.segments.fill(segments);
        Ok(())
    }

    /// Takes back what is held of a row, and puts in what it is now; says which publications it touched.
    pub(crate) fn replace(
        &mut self,
        row: &Row,
        now: Held<'_>,
        touched: &mut BTreeSet<u32>,
    ) -> Result<(), IndexError> {
        let before = row.before.held();
        self.count_on_disk(before.here, now.here);
        if before.said == now.said && before.contents == now.contents {
            self.count(before, u64::wrapping_sub);
            self.count(now, u64::wrapping_add);
            return Ok(());
        }
        if before.said != now.said {
            touched.extend(before.said.iter().map(|said| said.publication));
        }
        self.take(row.id, row.leaf(), before);
        for said in now.said {
            self.leaves.insert(row.leaf(), &said.hash);
        }
        self.put(row.id, row.leaf(), now)?;
        for content in now.contents {
            self.contents.insert(prefix(content.as_bytes()), row.id);
        }
        Ok(())
    }

    /// Puts in what is held of a row, but for its hashes by leaf, and its contents.
    fn put(&mut self, row: u32, leaf: Leaf, found: Held<'_>) -> Result<(), IndexError> {
        for said in found.said {
            let heads = self.heads.get_mut(said.publication as usize);
            *heads.ok_or_else(|| IndexError::damaged("a head of no publication"))? += 1;
            self.digests.add(leaf, &said.hash);
            self.records.insert(prefix(said.hash.as_bytes()), row);
        }
        self.count(found, u64::wrapping_add);
        Ok(())
    }

    fn take(&mut self, row: u32, leaf: Leaf, found: Held<'_>) {
        for said in found.said {
            if let Some(heads) = self.heads.get_mut(said.publication as usize) {
                *heads = heads.saturating_sub(1);
            }
            self.leaves.remove(leaf, &said.hash);
            self.digests.remove(leaf, &said.hash);
            self.records.remove(prefix(said.hash.as_bytes()), row);
        }
        for content in found.contents {
            self.contents.remove(prefix(content.as_bytes()), row);
        }
        self.count(found, u64::wrapping_sub);
    }

    /// What a file shows has changed from one to the other.
    fn count_on_disk(&mut self, before: Option<&Kind>, now: Option<&Kind>) {
        let [before, now] = [before, now].map(|kind| kind.and_then(row::file_content));
        if before != now {
            let hash = |content: ContentId| prefix(content.as_bytes());
            if let Some(hash) = before.map(hash) {
                self.on_disk.remove(hash);
                if self.on_disk.count(hash) == 0 {
                    self.lost_here.leaves(hash);
                    self.lost_to_others.leaves(hash);
                }
            }
            if let Some(hash) = now.map(hash) {
                if self.on_disk.count(hash) == 0 {
                    self.lost_here.comes(hash);
                    self.lost_to_others.comes(hash);
                }
                self.on_disk.add(hash);
            }
        }
    }

    fn count(&mut self, found: Held<'_>, by: impl Fn(u64, u64) -> u64) {
        let counts = &mut self.counts;
        match found.here {
            Some(Kind::File { size, .. }) => {
                counts.files = by(counts.files, 1);
                counts.bytes = by(counts.bytes, *size);
            }
            Some(Kind::Directory) => counts.folders = by(counts.folders, 1),
            Some(Kind::Symlink { .. }) => counts.links = by(counts.links, 1),
            Some(Kind::Gone { .. }) | None => {}
        }
        counts.diverging = by(counts.diverging, found.is_diverging.into());
        if let Some(size) = found.to_come {
            counts.to_come = by(counts.to_come, 1);
            counts.bytes_to_come = by(counts.bytes_to_come, size);
        }
    }

    /// Bytes of memory.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            agreeing: self.leaves.bytes() + DIGESTS_BYTES_MAX,
            paths: self.paths.bytes()
                + self.records.bytes()
                + self.contents.bytes()
                + self.on_disk.bytes()
                + self.folders.bytes()
                + self.heads.capacity() * 4,
            segments: self.segments.bytes(),
        }
    }
}

/// The sums of a full tree.
const DIGESTS_BYTES_MAX: usize = 2_300_000;

/// For how many rows tables are made at open before they are known to be there.
const ROWS_FORESEEN_MAX: u32 = 4_000_000;

/// The ids of the segments in the encoding of a list, which has 36 bytes for each: each once, since a hole in a file is
/// one segment thousands of times.
pub(crate) fn ids_in(list: &[u8]) -> BTreeSet<&[u8; 32]> {
    list.as_chunks::<36>().0.iter().filter_map(|entry| entry.first_chunk::<32>()).collect()
}

fn read_entries(conn: &Connection, founding: Founding) -> Result<Entries, IndexError> {
    let reading = || IndexError::database("read the roster");
    let mut entries = Entries::new(founding);
    let share = founding.share();
    let mut statement = conn.prepare("SELECT id, entry FROM entries ORDER BY id").map_err(reading())?;
    let mut rows = statement.query([]).map_err(reading())?;
    while let Some(sql) = rows.next().map_err(reading())? {
        let entry = Entry::decode(blob(sql, 1)?, &share).map_err(IndexError::damaged)?;
        entries.insert(entry).map_err(IndexError::damaged)?;
    }
    Ok(entries)
}

fn read_writers(conn: &Connection) -> Result<BTreeMap<Writer, u64>, IndexError> {
    let reading = || IndexError::database("read the writers");
    let mut writers = BTreeMap::new();
    let mut statement = conn.prepare("SELECT writer, counter FROM writers").map_err(reading())?;
    let mut rows = statement.query([]).map_err(reading())?;
    while let Some(sql) = rows.next().map_err(reading())? {
        let writer =
            blob(sql, 0)?.try_into().map_err(|_| IndexError::damaged("a writer of the wrong length"))?;
        let counter = sql.get::<_, i64>(1).map_err(reading())?.cast_unsigned();
        writers.insert(Writer::from_bytes(writer), counter);
    }
    Ok(writers)
}

fn last(conn: &Connection, sql: &'static str) -> Result<u32, IndexError> {
    conn.query_row(sql, [], |row| row.get(0)).map_err(IndexError::database("read the last number"))
}
