//! One path as the database keeps it, and as jobs change it.
//!
//! Promise: what was written is read again as it was, or the index is said to be damaged; each head keeps its place in
//! its publication through every change.

use rusqlite::types::Type;
use rusqlite::{Row as SqlRow, params};
use shoal_proto::digest::Leaf;
use shoal_proto::dot::Dot;
use shoal_proto::hash::{ContentId, Domain, RecordHash};
use shoal_proto::heads::{Added, Base, Heads};
use shoal_proto::id::{ShareId, Writer};
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Mode, Record, Timestamp, Version};

use crate::error::IndexError;
use shoal_proto::here::{Here, Standing, Triple};

/// Where a head stands among what was published.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Said {
    pub(crate) hash: RecordHash,
    /// The publication's number here; 0 until it is signed.
    pub(crate) publication: u32,
    pub(crate) position: u16,
}

/// One path.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its number; 0 before it is first written.
    pub(crate) id: u32,
    pub(crate) path: RelPath,
    pub(crate) place: u64,
    /// What the folders in memory know the path by, where it was computed already.
    pub(crate) folder: Option<u128>,
    pub(crate) here: Option<Here>,
    pub(crate) base: Option<Base>,
    pub(crate) standing: Standing,
    heads: Heads,
    said: Vec<Said>, // in the order of the heads
    pub(crate) before: Before,
    pub(crate) is_changed: bool,
}

/// What the tables in memory hold of a row: what must be taken back when it changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    pub(crate) said: Vec<Said>,
    pub(crate) contents: Vec<ContentId>,
    pub(crate) here: Option<Kind>,
    pub(crate) is_live: bool,
    pub(crate) is_diverging: bool,
}

/// The columns of a row, in the order of [`Row::read`].
pub(crate) const COLUMNS: &str = "id, path, place, heads, base, standing, live, diverging, kind, size, content, \
                                  seconds, nanos, mode, inode, c_seconds, c_nanos";

impl Row {
    /// A path that nothing is known of yet.
    pub(crate) fn new(share: &ShareId, path: RelPath) -> Self {
        let (place, folder) = spot_of(share, &path);
        Self {
            id: 0,
            place,
            folder: Some(folder),
            path,
            here: None,
            base: None,
            standing: Standing::Differs,
            heads: Heads::default(),
            said: Vec::new(),
            before: Before::default(),
            is_changed: false,
        }
    }

    /// The row with [`COLUMNS`].
    pub(crate) fn read(sql: &SqlRow<'_>) -> Result<Self, IndexError> {
        let reading = || IndexError::database("read a path");
        let path = blob(sql, 1)?;
        let path_of = RelPath::parse(path).map_err(IndexError::damaged)?;
        let (mut records, mut said) = (Vec::new(), Vec::new());
        for head in HeadsIn(blob(sql, 3)?) {
            let (publication, position, rest) = head?;
            let encoded = with_path(path, rest);
            let hash = RecordHash::from_bytes(Domain::RECORD.hash_one(&encoded));
            records.push(Record::decode(&encoded).map_err(IndexError::damaged)?);
            said.push(Said { hash, publication, position });
        }
        let heads: Heads = records.iter().cloned().collect();
        if !heads.iter().eq(&records) {
            return Err(IndexError::damaged("heads that another one replaces"));
        }
        let base = sql.get_ref(4).map_err(reading())?.as_blob_or_null().map_err(IndexError::damaged)?;
        let base = base.map(|bytes| base_of(bytes, path, &heads)).transpose()?;
        let here = read_here(sql)?;
        let mut row = Self {
            id: number(sql, 0)?,
            path: path_of,
            place: sql.get::<_, i64>(2).map_err(reading())?.cast_unsigned(),
            folder: None,
            here,
            base,
            standing: standing_of(number(sql, 5)?)?,
            heads,
            said,
            before: Before::default(),
            is_changed: false,
        };
        row.before = Before {
            said: row.said.clone(),
            contents: row.contents(),
            here: row.here.as_ref().map(|here| here.version.kind.clone()),
            is_live: number(sql, 6)? != 0,
            is_diverging: number(sql, 7)? != 0,
        };
        Ok(row)
    }

    /// Whether there is nothing to keep of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.here.is_none() && self.heads.is_empty()
    }

    pub(crate) fn heads(&self) -> &Heads {
        &self.heads
    }

    pub(crate) fn said(&self) -> &[Said] {
        &self.said
    }

    pub(crate) fn leaf(&self) -> Leaf {
        leaf_of(self.place)
    }

    /// The head with this hash.
    pub(crate) fn head(&self, hash: &RecordHash) -> Option<(&Record, Said)> {
        self.heads
            .iter()
            .zip(&self.said)
            .find(|(_, said)| said.hash == *hash)
            .map(|(head, said)| (head, *said))
    }

    /// Takes a record in. Whether it is a head that was none.
    pub(crate) fn add(&mut self, record: Record, said: Said) -> bool {
        if self.heads.is_empty() {
            self.heads.add(record);
            self.said = vec![said];
        } else {
            let mut all: Vec<_> = self.heads.iter().cloned().zip(self.said.iter().copied()).collect();
            all.push((record.clone(), said));
            match self.heads.add(record) {
                Added::Head { .. } => self.match_said(&all),
                Added::Known | Added::Superseded | Added::Full => return false,
            }
        }
        self.is_changed = true;
        true
    }

    /// Takes heads out that do not count any more.
    pub(crate) fn remove(&mut self, is_void: impl Fn(&Record, &Said) -> bool) -> Vec<Record> {
        let all: Vec<_> = self.heads.iter().cloned().zip(self.said.iter().copied()).collect();
        let gone: Vec<_> =
            all.iter().filter(|(head, said)| is_void(head, said)).map(|(head, _)| head).collect();
        let removed = self.heads.remove_void(|head| gone.contains(&head));
        self.match_said(&all);
        self.is_changed |= !removed.is_empty();
        removed
    }

    /// Says where a head was published.
    pub(crate) fn set_said(&mut self, new: Said) {
        if let Some(said) = self.said.iter_mut().find(|said| said.hash == new.hash) {
            *said = new;
        }
    }

    fn match_said(&mut self, all: &[(Record, Said)]) {
        let said = |head| all.iter().find(|(record, _)| record == head).map(|(_, said)| *said);
        self.said = self.heads.iter().filter_map(said).collect();
    }

    /// Notes what is seen on the disk.
    pub(crate) fn show(&mut self, here: Option<Here>, base: Option<Base>, standing: Standing) {
        self.is_changed |= self.here != here || self.base != base || self.standing != standing;
        (self.here, self.base, self.standing) = (here, base, standing);
    }

    /// Whether the version that the path has is not gone.
    pub(crate) fn is_live(&self) -> bool {
        self.heads.winner().is_some_and(|winner| !winner.version.kind.is_gone())
    }

    /// The contents of files that here and heads name, each once.
    pub(crate) fn contents(&self) -> Vec<ContentId> {
        let here = self.here.iter().map(|here| &here.version.kind);
        let mut contents: Vec<_> =
            here.chain(self.heads.iter().map(|head| &head.version.kind)).filter_map(file_content).collect();
        contents.sort_unstable();
        contents.dedup();
        contents
    }

    pub(crate) fn triple(self, below: shoal_proto::heads::Below) -> Triple {
        let Self { path, here, base, standing, heads, .. } = self;
        Triple { path, here, base, standing, heads, below }
    }

    /// Writes all of it.
    pub(crate) fn write(&self, conn: &rusqlite::Connection) -> rusqlite::Result<()> {
        let here = self.here.as_ref();
        let version = here.map(|here| &here.version);
        let (kind, size, content): (Option<u8>, Option<i64>, Option<&[u8]>) = match version.map(|of| &of.kind)
        {
            Some(Kind::Symlink { target }) => (Some(1), None, Some(target)),
            Some(Kind::File { size, content }) => {
                (Some(2), Some(size.cast_signed()), Some(content.as_bytes()))
            }
            Some(Kind::Directory) => (Some(3), None, None),
            Some(Kind::Gone { .. }) | None => (None, None, None),
        };
        let path = self.path.as_bytes();
        let mut statement = conn.prepare_cached(
            "INSERT OR REPLACE INTO paths (id, path, place, heads, base, standing, live, diverging, kind, size, content, \
             seconds, nanos, mode, inode, c_seconds, c_nanos) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?;
        statement.execute(params![
            self.id,
            path,
            self.place.cast_signed(),
            self.encoded_heads(),
            self.encoded_base(),
            self.standing as u8,
            self.before.is_live,
            self.before.is_diverging,
            kind,
            size,
            content,
            version.map(|of| of.mtime.seconds),
            version.map(|of| of.mtime.nanos()),
            version.map(|of| of.mode.bits()),
            here.map(|here| here.inode.cast_signed()),
            here.map(|here| here.ctime.seconds),
            here.map(|here| here.ctime.nanos()),
        ])?;
        Ok(())
    }

    fn encoded_heads(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        for (head, said) in self.heads.iter().zip(&self.said) {
            let encoded = head.encode();
            let rest = &encoded[path_prefix(self.path.as_bytes().len()).len() + self.path.as_bytes().len()..];
            bytes.extend_from_slice(&said.publication.to_be_bytes());
            bytes.extend_from_slice(&said.position.to_be_bytes());
            bytes.extend_from_slice(&u32::try_from(rest.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(rest);
        }
        bytes
    }

    fn encoded_base(&self) -> Option<Vec<u8>> {
        let base = self.base.as_ref()?;
        if let Some(at) = self.heads.iter().take(255).position(|head| self.heads.base_of(head) == *base) {
            return u8::try_from(at).ok().map(|at| vec![at]);
        }
        let record = record_of(base, &self.path)?;
        let encoded = record.encode();
        Some(encoded[path_prefix(self.path.as_bytes().len()).len() + self.path.as_bytes().len()..].to_vec())
    }
}

/// The content of a file.
pub(crate) fn file_content(kind: &Kind) -> Option<ContentId> {
    match kind {
        Kind::File { content, .. } => Some(*content),
        _ => None,
    }
}

/// First eight bytes of the hash that a path's leaf is cut from.
pub(crate) fn place_of(share: &ShareId, path: &RelPath) -> u64 {
    crate::table::prefix(&Domain::LEAF.hash(&[share.as_bytes(), path.as_bytes()]))
}

/// As [`place_of`], and what [`crate::folders`] knows the path by: both are of one hash, which is not cheap.
fn spot_of(share: &ShareId, path: &RelPath) -> (u64, u128) {
    let hash = Domain::LEAF.hash(&[share.as_bytes(), path.as_bytes()]);
    (crate::table::prefix(&hash), crate::folders::half(&hash))
}

pub(crate) fn leaf_of(place: u64) -> Leaf {
    let bytes = place.to_be_bytes();
    Leaf(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// The heads in a blob: publication, position, and the encoding without its path.
pub(crate) struct HeadsIn<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for HeadsIn<'a> {
    type Item = Result<(u32, u16, &'a [u8]), IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = |bytes: &'a [u8]| {
            let (publication, rest) = bytes.split_first_chunk::<4>()?;
            let (position, rest) = rest.split_first_chunk::<2>()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (head, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
            Some(((u32::from_be_bytes(*publication), u16::from_be_bytes(*position), head), rest))
        };
        match read(self.0) {
            Some((head, rest)) => {
                self.0 = rest;
                Some(Ok(head))
            }
            None => {
                self.0 = &[];
                Some(Err(IndexError::damaged("heads that are cut short")))
            }
        }
    }
}

/// A head's canonical encoding: that begins with its path, which the row has already.
pub(crate) fn with_path(path: &[u8], rest: &[u8]) -> Vec<u8> {
    [path_prefix(path.len()).as_slice(), path, rest].concat()
}

/// What the canonical encoding has before a path: its length, seven bits a byte, the lowest first.
fn path_prefix(length: usize) -> Vec<u8> {
    let (mut rest, mut bytes) = (length, Vec::with_capacity(2));
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        if rest == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A record that carries a base, so that it is kept in the form that records have. Its dot means nothing; it is one
/// that the base has not seen. `None` if base names more writers than a record may: it is forgotten then, as if the
/// index were new for this path.
fn record_of(base: &Base, path: &RelPath) -> Option<Record> {
    let dots = (0..=u8::MAX).map(|byte| Dot::new(Writer::from_bytes([byte; 8]), u64::MAX));
    let dot = { dots }.find(|dot| !base.seen.includes(*dot))?;
    let Base { version, origin, seen, displaced } = base.clone();
    let record =
        Record { path: path.clone(), version, dot, seen, origin, displaced, copy_of: None }.check().ok()?;
    Record::decode(&record.encode()).ok()
}

fn base_of(bytes: &[u8], path: &[u8], heads: &Heads) -> Result<Base, IndexError> {
    if let [at] = *bytes {
        let head = heads.iter().nth(usize::from(at));
        return head
            .map(|head| heads.base_of(head))
            .ok_or_else(|| IndexError::damaged("a base that is no head"));
    }
    let Record { version, origin, seen, displaced, .. } =
        Record::decode(&with_path(path, bytes)).map_err(IndexError::damaged)?;
    Ok(Base { version, origin, seen, displaced })
}

fn standing_of(number: u32) -> Result<Standing, IndexError> {
    match number {
        0 => Ok(Standing::Agrees),
        1 => Ok(Standing::Differs),
        2 => Ok(Standing::Behind),
        _ => Err(IndexError::damaged("a standing that there is not")),
    }
}

fn read_here(sql: &SqlRow<'_>) -> Result<Option<Here>, IndexError> {
    let reading = || IndexError::database("read what was here");
    let Some(kind) = sql.get::<_, Option<u8>>(8).map_err(reading())? else { return Ok(None) };
    let bytes = || blob(sql, 10);
    let kind = match kind {
        1 => Kind::Symlink { target: bytes()?.into() },
        2 => {
            let content =
                bytes()?.try_into().map_err(|_| IndexError::damaged("a content id of the wrong length"))?;
            let size = sql.get::<_, i64>(9).map_err(reading())?.cast_unsigned();
            Kind::File { size, content: ContentId::from_bytes(content) }
        }
        3 => Kind::Directory,
        _ => return Err(IndexError::damaged("a kind that there is not")),
    };
    let mode = Mode::from_bits(number(sql, 13)?);
    let version = Version::new(kind, time(sql, 11)?, mode);
    let inode = sql.get::<_, i64>(14).map_err(reading())?.cast_unsigned();
    Ok(Some(Here { version, inode, ctime: time(sql, 15)? }))
}

/// Seconds at a column, and nanoseconds in the next.
pub(crate) fn time(sql: &SqlRow<'_>, at: usize) -> Result<Timestamp, IndexError> {
    let seconds = sql.get(at).map_err(IndexError::database("read a time"))?;
    Timestamp::new(seconds, number(sql, at + 1)?)
        .ok_or_else(|| IndexError::damaged("a time that there is not"))
}

pub(crate) fn number(sql: &SqlRow<'_>, at: usize) -> Result<u32, IndexError> {
    sql.get(at).map_err(IndexError::database("read a number"))
}

pub(crate) fn blob<'a>(sql: &'a SqlRow<'_>, at: usize) -> Result<&'a [u8], IndexError> {
    let value = sql.get_ref(at).map_err(IndexError::database("read bytes"))?;
    match value.data_type() {
        Type::Blob => value.as_blob().map_err(IndexError::damaged),
        _ => Err(IndexError::damaged("a column that holds no bytes")),
    }
}

/// The hash in a column.
pub(crate) fn thirty_two(sql: &SqlRow<'_>, at: usize) -> Result<[u8; 32], IndexError> {
    blob(sql, at)?.try_into().map_err(|_| IndexError::damaged("a hash of the wrong length"))
}
