//! One path as the database keeps it, and as jobs change it.
//!
//! Promise: what was written is read again as it was, or the index is said to be damaged; each head keeps its place in
//! its publication through every change.

use rusqlite::Row as SqlRow;
use rusqlite::types::Type;
use shoal_proto::digest::Leaf;
use shoal_proto::dot::Dot;
use shoal_proto::hash::{ContentId, Domain, RecordHash};
use shoal_proto::heads::{Added, Base, Heads};
use shoal_proto::here::{Here, Standing, Triple};
use shoal_proto::id::{ShareId, Writer};
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Record, Timestamp};

use crate::error::IndexError;
use crate::packed::here_in;

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
    /// Which head base was taken from, if that is known and the heads are still the same.
    base_at: Option<u8>,
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
    pub(crate) to_come: Option<u64>,
}

/// What the tables in memory are to hold of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held<'a> {
    pub(crate) said: &'a [Said],
    pub(crate) contents: &'a [ContentId],
    pub(crate) here: Option<&'a Kind>,
    pub(crate) is_diverging: bool,
    /// The size of the file that is to come to stand there ([`to_come`]).
    pub(crate) to_come: Option<u64>,
}

/// The size of the file that a path is to have, where it shows another content, or nothing.
pub(crate) fn to_come(heads: &Heads, here: Option<&Kind>, is_diverging: bool) -> Option<u64> {
    let winner = heads.winner().filter(|_| is_diverging)?;
    match winner.version.kind {
        Kind::File { size, .. } => {
            here.is_none_or(|here| !here.is_same(&winner.version.kind)).then_some(size)
        }
        _ => None,
    }
}

impl Before {
    pub(crate) fn held(&self) -> Held<'_> {
        let Self { said, contents, here, is_diverging, to_come, .. } = self;
        Held { said, contents, here: here.as_ref(), is_diverging: *is_diverging, to_come: *to_come }
    }
}

/// What a path is known by in memory: both are of one hash, which is not cheap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    /// First eight bytes of the hash that its leaf is cut from.
    pub(crate) place: u64,
    /// What [`crate::folders`] knows it by.
    pub(crate) folder: u128,
}

/// Bytes of a share's id and of most paths.
const SPOT_BYTES: usize = 256;

impl Spot {
    pub(crate) fn of(share: &ShareId, path: &RelPath) -> Self {
        // In one piece it is hashed faster than in two.
        let (mut whole, path) = ([0; SPOT_BYTES], path.as_bytes());
        let end = share.as_bytes().len() + path.len();
        let hash = match whole.get_mut(..end) {
            Some(whole) => {
                let (first, rest) = whole.split_at_mut(share.as_bytes().len());
                first.copy_from_slice(share.as_bytes());
                rest.copy_from_slice(path);
                Domain::LEAF.hash_one(whole)
            }
            None => Domain::LEAF.hash(&[share.as_bytes(), path]),
        };
        Self { place: shoal_proto::hash::prefix(&hash), folder: crate::folders::half(&hash) }
    }
}

/// Selects rows in the order of columns that [`Row::read`] takes; what follows says which.
macro_rules! select_rows {
    ($which:literal) => {
        concat!(
            "SELECT id, path, place, heads, base, standing, live, diverging, here FROM paths WHERE ",
            $which
        )
    };
}
pub(crate) use select_rows;

/// The row with a number.
pub(crate) const ROW_BY_NUMBER: &str = select_rows!("id = ?1");

impl Row {
    /// A path that nothing is known of yet.
    pub(crate) fn new(path: RelPath, place: u64) -> Self {
        Self {
            id: 0,
            place,
            folder: None,
            path,
            here: None,
            base: None,
            standing: Standing::Differs,
            base_at: None,
            heads: Heads::default(),
            said: Vec::new(),
            before: Before::default(),
            is_changed: false,
        }
    }

    /// The row that [`select_rows`] selected.
    pub(crate) fn read(sql: &SqlRow<'_>) -> Result<Self, IndexError> {
        let reading = || IndexError::database("read a path");
        let path = blob(sql, 1)?;
        let path_of = RelPath::parse(path).map_err(IndexError::damaged)?;
        let (mut records, mut said, mut encoded) = (Vec::with_capacity(1), Vec::with_capacity(1), Vec::new());
        for head in HeadsIn(blob(sql, 3)?) {
            let (publication, position, rest) = head?;
            put_path_before(path, rest, &mut encoded);
            let hash = RecordHash::from_bytes(Domain::RECORD.hash_one(&encoded));
            records.push(Record::decode(&encoded).map_err(IndexError::damaged)?);
            said.push(Said { hash, publication, position });
        }
        let count = records.len();
        let in_order = records.is_sorted_by(|one, next| one < next);
        let heads: Heads = records.into_iter().collect();
        // As many as there were, in the order in which they were: then they are what they were.
        if !in_order || heads.iter().len() != count {
            return Err(IndexError::damaged("heads that another one replaces"));
        }
        let base = sql.get_ref(4).map_err(reading())?.as_blob_or_null().map_err(IndexError::damaged)?;
        let base = base.map(|bytes| base_of(bytes, path, &heads)).transpose()?;
        let here = here_in(sql, 8)?;
        let mut row = Self {
            id: number(sql, 0)?,
            path: path_of,
            place: sql.get::<_, i64>(2).map_err(reading())?.cast_unsigned(),
            folder: None,
            here,
            base,
            standing: standing_of(number(sql, 5)?)?,
            base_at: None,
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
            to_come: None,
        };
        row.before.to_come = to_come(&row.heads, row.before.here.as_ref(), row.before.is_diverging);
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

    /// Where a head stands among what was published.
    pub(crate) fn said_of(&self, head: &Record) -> Option<Said> {
        self.heads.iter().zip(&self.said).find(|(other, _)| *other == head).map(|(_, said)| *said)
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
        (self.is_changed, self.base_at) = (true, None);
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
        self.base_at = None;
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
        (self.here, self.base, self.standing, self.base_at) = (here, base, standing, None);
    }

    /// Notes that the disk shows a head and agrees with it.
    pub(crate) fn show_head(&mut self, here: Option<Here>, head: &Record) {
        let at = self.heads.iter().position(|other| other == head);
        self.show(here, Some(self.heads.base_of(head)), Standing::Agrees);
        self.base_at = at.and_then(|at| u8::try_from(at).ok()).filter(|&at| at < u8::MAX);
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

    /// What the table keeps of the heads, put in place of what was in the buffer.
    pub(crate) fn encode_heads(&self, bytes: &mut Vec<u8>) {
        bytes.clear();
        for (head, said) in self.heads.iter().zip(&self.said) {
            let encoded = head.encode();
            let rest = &encoded[self.path_bytes()..];
            bytes.extend_from_slice(&said.publication.to_be_bytes());
            bytes.extend_from_slice(&said.position.to_be_bytes());
            bytes.extend_from_slice(&u32::try_from(rest.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(rest);
        }
    }

    /// How many bytes of a head's encoding the path takes, with its length before it.
    fn path_bytes(&self) -> usize {
        let length = self.path.as_bytes().len();
        path_prefix(length).1 + length
    }

    pub(crate) fn encoded_base(&self) -> Option<Vec<u8>> {
        let base = self.base.as_ref()?;
        if let Some(at) = self.base_at {
            return Some(vec![at]);
        }
        if let Some(at) = self.heads.iter().take(255).position(|head| self.heads.base_of(head) == *base) {
            return u8::try_from(at).ok().map(|at| vec![at]);
        }
        let record = record_of(base, &self.path)?;
        let encoded = record.encode();
        Some(encoded[self.path_bytes()..].to_vec())
    }
}

/// The content of a file.
pub(crate) fn file_content(kind: &Kind) -> Option<ContentId> {
    match kind {
        Kind::File { content, .. } => Some(*content),
        _ => None,
    }
}

/// As in [`Spot`].
pub(crate) fn place_of(share: &ShareId, path: &RelPath) -> u64 {
    Spot::of(share, path).place
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

/// Puts a head's canonical encoding in place of what was in the buffer. It begins with its path, which the row has
/// already.
pub(crate) fn put_path_before(path: &[u8], rest: &[u8], encoded: &mut Vec<u8>) {
    encoded.clear();
    let (bytes, length) = path_prefix(path.len());
    encoded.extend_from_slice(&bytes[..length]);
    encoded.extend_from_slice(path);
    encoded.extend_from_slice(rest);
}

/// The content of the file that a head's canonical encoding without its path says, without decoding all of it. The
/// encoding is frozen; a test compares this with decoding.
pub(crate) fn content_in(rest: &[u8]) -> Option<ContentId> {
    let (&kind, rest) = rest.split_first()?;
    if kind != ENCODED_FILE {
        return None;
    }
    // The size has seven bits a byte; all but the last have the highest bit set.
    let size = 1 + rest.iter().position(|byte| byte & 0x80 == 0)?;
    rest.get(size..)?.first_chunk().copied().map(ContentId::from_bytes)
}

/// The number that the canonical encoding has for a file.
const ENCODED_FILE: u8 = 2;

/// What the canonical encoding has before a path: its length, seven bits a byte, the lowest first; and how many bytes
/// that takes.
fn path_prefix(length: usize) -> ([u8; PREFIX_BYTES_MAX], usize) {
    let (mut rest, mut bytes, mut count) = (length, [0; PREFIX_BYTES_MAX], 0);
    for byte in &mut bytes {
        *byte = u8::try_from(rest & 0x7f).unwrap_or(0);
        (rest, count) = (rest >> 7, count + 1);
        if rest == 0 {
            break;
        }
        *byte |= 0x80;
    }
    (bytes, count)
}

/// Bytes of the longest length that a number can say; a path's has two.
const PREFIX_BYTES_MAX: usize = 10;

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
    let mut encoded = Vec::new();
    put_path_before(path, bytes, &mut encoded);
    let Record { version, origin, seen, displaced, .. } =
        Record::decode(&encoded).map_err(IndexError::damaged)?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_proto::arb;

    use super::*;

    proptest! {
        #[test]
        fn an_encoding_without_its_path_is_read_as_the_record_that_it_is_of(record in arb::record()) {
            let (path, whole) = (record.path.as_bytes(), record.encode());
            let rest = &whole[path_prefix(path.len()).1 + path.len()..];
            let mut encoded = vec![7; 3];
            put_path_before(path, rest, &mut encoded);
            prop_assert_eq!(encoded, &*whole);
            prop_assert_eq!(content_in(rest), file_content(&record.version.kind));
            for length in 0..rest.len().min(50) {
                // Cut short it is nothing or just this, never something else.
                let cut = content_in(&rest[..length]);
                prop_assert!(cut.is_none() || cut == file_content(&record.version.kind));
            }
        }
    }

    #[test]
    fn the_place_of_a_path_of_any_length_begins_with_its_leaf() {
        let share = ShareId::from_bytes([5; 32]);
        for length in [1, 46, SPOT_BYTES - 33, SPOT_BYTES - 32, SPOT_BYTES - 31, 1000] {
            let is_slash = |at| at % 100 == 99 && at + 1 < length;
            let bytes: Vec<u8> = (0..length).map(|at| if is_slash(at) { b'/' } else { b'a' }).collect();
            let path = RelPath::parse(&bytes).unwrap();
            assert_eq!(leaf_of(place_of(&share, &path)), Leaf::of(&share, &path), "{length}");
        }
    }

    #[test]
    fn a_size_of_any_length_is_passed_over() {
        let content = ContentId::from_bytes([9; 32]);
        for bits in 0..62 {
            let kind = Kind::File { size: 1 << bits, content };
            let (path, dot) = (RelPath::parse(b"a").unwrap(), Dot::new(Writer::from_bytes([1; 8]), 1));
            let version =
                shoal_proto::record::Version::new(kind, Timestamp::ZERO, shoal_proto::record::Mode::ZERO);
            let (seen, displaced) = (shoal_proto::dot::Seen::default(), Box::default());
            let record = Record { path, version, dot, seen, origin: dot, displaced, copy_of: None };
            assert_eq!(content_in(&record.encode()[2..]), Some(content));
        }
    }
}
