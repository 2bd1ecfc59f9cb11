//! A disk and an index in memory, and the bytes to fill them with.
//!
//! Promise: they do what `disk` and `index` promise, as far as fetching and serving ask for it: bytes are really there,
//! and checked before they are called written.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::chunk::{ChunkList, LocalChunks};
use shoal_proto::cut;
use shoal_proto::hash::{ContentId, SegmentId};
use shoal_proto::limits::SEGMENT_BYTES_MIN;
use shoal_proto::message::Unserved;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Mode, Timestamp};
use shoal_proto::segment::{ListHasher, PageIndex, Segment, SegmentList};

use crate::disk::{self, BytesAt, Seen, SeenKind, Source, StageId, Write, Written};
use crate::index::{self, Asked, List, ListPart, Serving};

const SEGMENT_BYTES: usize = SEGMENT_BYTES_MIN as usize;

/// Bytes that look random: the same for the same seed.
pub(crate) fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

pub(crate) fn segment_of(bytes: &[u8]) -> Segment {
    let id = SegmentId::from_bytes(*blake3::hash(bytes).as_bytes());
    Segment { id, length: u32::try_from(bytes.len()).unwrap() }
}

/// The name of these segments, one after the other, and their list.
pub(crate) fn list_of(segments: &[Segment]) -> (ContentId, List) {
    let mut hasher = ListHasher::new();
    segments.iter().for_each(|segment| hasher.push(*segment).unwrap());
    let listed = hasher.finish();
    let pages = segments.chunks(4096).map(|page| SegmentList::new(page.to_vec()).unwrap());
    let list = match listed.index {
        Some(index) => List::Paged(index, pages.collect()),
        None => List::Whole(SegmentList::new(segments.to_vec()).unwrap()),
    };
    (listed.content, list)
}

/// What is seen of a file.
pub(crate) fn seen(size: u64) -> Seen {
    let mode = Mode::from_bits(0o644);
    Seen {
        kind: SeenKind::File { size },
        mtime: Timestamp::new(1, 0).unwrap(),
        mode,
        inode: 1,
        ctime: Timestamp::new(1, 0).unwrap(),
    }
}

/// A folder, what stands in staging beside it, and what an index knows of both.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) files: BTreeMap<RelPath, Vec<u8>>,
    contents: BTreeMap<ContentId, (RelPath, u64)>,
    segments: BTreeMap<SegmentId, (RelPath, u64)>,
    pub(crate) lists: BTreeMap<ContentId, List>,
    indexes: BTreeMap<ContentId, (PageIndex, BTreeMap<u32, SegmentList>)>,
    /// What heads name.
    pub(crate) named: BTreeSet<ContentId>,
    pub(crate) staged: BTreeMap<StageId, BTreeMap<u64, Vec<u8>>>,
    /// No staged file may be written to.
    pub(crate) is_full: bool,
    /// Bytes of `Source::Bytes` and `Source::Chunks` that were written.
    pub(crate) came: u64,
    /// Segments of zeros that were written.
    pub(crate) holes: usize,
    /// Jobs of writing, and pieces in them.
    pub(crate) write_jobs: Vec<usize>,
    pub(crate) dropped: Vec<StageId>,
    /// The most bytes that one job of reading asked for.
    pub(crate) most_read: u64,
}

impl Store {
    /// Puts a file into the folder, with a head that names it. Returns the name of its content.
    pub(crate) fn add(&mut self, name: &str, bytes: Vec<u8>) -> ContentId {
        let segments: Vec<Segment> = match bytes.len() {
            // Not worth looking for a cut.
            ..=SEGMENT_BYTES => vec![segment_of(&bytes)],
            _ => cut::segments(&bytes).map(|range| segment_of(&bytes[range])).collect(),
        };
        let (content, list) = list_of(&segments);
        let mut offset = 0;
        for segment in &segments {
            self.segments.entry(segment.id).or_insert((path(name), offset));
            offset += u64::from(segment.length);
        }
        if segments.len() > 1 {
            self.lists.insert(content, list);
        }
        self.contents.insert(content, (path(name), bytes.len() as u64));
        self.named.insert(content);
        self.files.insert(path(name), bytes);
        content
    }

    /// All bytes of a staged file, one after the other.
    pub(crate) fn staged_bytes(&self, stage: StageId) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (offset, part) in &self.staged[&stage] {
            assert_eq!(*offset, bytes.len() as u64);
            bytes.extend_from_slice(part);
        }
        bytes
    }

    fn at(&self, place: &BytesAt, length: u32) -> Option<&[u8]> {
        let part = |bytes: &'_ [u8], offset: u64| {
            let from = usize::try_from(offset).unwrap();
            Some(from..from + length as usize).filter(|range| range.end <= bytes.len())
        };
        match place {
            BytesAt::Folder { path, offset, .. } => {
                let bytes = self.files.get(path)?;
                Some(&bytes[part(bytes, *offset)?])
            }
            BytesAt::Staged { stage, offset } => {
                let (begins, bytes) = self.staged.get(stage)?.range(..=offset).next_back()?;
                Some(&bytes[part(bytes, offset - begins)?])
            }
            BytesAt::History { .. } => None,
        }
    }

    // ── the index ──

    pub(crate) fn index(&mut self, job: index::Job) -> index::Answer {
        match job {
            index::Job::Places(contents) => {
                index::Answer::Places(contents.iter().map(|content| self.places(content)).collect())
            }
            index::Job::PlacesOfSegments(segments) => {
                let places = segments.iter().map(|segment| {
                    let alone = self.places(&ContentId::from(*segment));
                    let within = self.segments.get(segment);
                    alone
                        .into_iter()
                        .chain(within.map(|(path, offset)| self.in_folder(path, *offset)))
                        .collect()
                });
                index::Answer::Places(places.collect())
            }
            index::Job::List(content, page) => index::Answer::List(self.list(&content, page)),
            index::Job::PutList(content, page, part) => {
                match (page, part) {
                    (None, ListPart::Segments(list)) => {
                        self.lists.insert(content, List::Whole(list));
                    }
                    (None, ListPart::Index(pages)) => {
                        self.indexes.insert(content, (pages, BTreeMap::new()));
                    }
                    (Some(page), ListPart::Segments(list)) => {
                        self.indexes.get_mut(&content).unwrap().1.insert(page, list);
                    }
                    (Some(_), ListPart::Index(_)) => panic!("an index is no page"),
                }
                index::Answer::Done
            }
            index::Job::Serve(asked) => {
                index::Answer::Serve(asked.iter().map(|asked| self.serve(asked)).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    fn in_folder(&self, path: &RelPath, offset: u64) -> BytesAt {
        let size = self.files.get(path).map_or(0, |bytes| bytes.len() as u64);
        BytesAt::Folder { path: path.clone(), seen: seen(size), offset }
    }

    fn places(&self, content: &ContentId) -> Vec<BytesAt> {
        self.contents.get(content).map(|(path, _)| self.in_folder(path, 0)).into_iter().collect()
    }

    fn list(&self, content: &ContentId, page: Option<u32>) -> Option<ListPart> {
        match (self.lists.get(content), self.indexes.get(content), page) {
            (Some(List::Whole(list)), _, None) => Some(ListPart::Segments(list.clone())),
            (Some(List::Paged(index, _)), _, None) | (_, Some((index, _)), None) => {
                Some(ListPart::Index(index.clone()))
            }
            (Some(List::Paged(_, pages)), _, Some(page)) => {
                pages.get(page as usize).cloned().map(ListPart::Segments)
            }
            (_, Some((_, pages)), Some(page)) => pages.get(&page).cloned().map(ListPart::Segments),
            _ => None,
        }
    }

    fn serve(&self, asked: &Asked) -> Serving {
        let (Asked::Content(content) | Asked::Segment(content, _) | Asked::List(content, _)) = asked;
        if !self.named.contains(content) {
            return Serving::Unserved(Unserved::Foreign);
        }
        let absent = Serving::Unserved(Unserved::Absent);
        match asked {
            Asked::List(_, page) => match self.list(content, *page) {
                Some(ListPart::Segments(list)) => Serving::List(list.encode()),
                Some(ListPart::Index(index)) => Serving::List(index.encode()),
                None => absent,
            },
            Asked::Content(_) => match self.places(content) {
                places if places.is_empty() || self.lists.contains_key(content) => absent,
                places => {
                    let length = self.contents.get(content).map_or(0, |(_, size)| *size);
                    Serving::Bytes { places, length }
                }
            },
            Asked::Segment(_, at) => {
                let page = at / 4096;
                let list = self.list(content, None).and_then(|part| match part {
                    ListPart::Segments(list) => Some(list),
                    ListPart::Index(_) => match self.list(content, Some(page)) {
                        Some(ListPart::Segments(list)) => Some(list),
                        _ => None,
                    },
                });
                let at = (at % 4096) as usize;
                let Some(segment) = list.and_then(|list| list.segments().get(at).copied()) else {
                    return absent;
                };
                let Some((path, offset)) = self.segments.get(&segment.id) else { return absent };
                Serving::Bytes { places: vec![self.in_folder(path, *offset)], length: segment.length.into() }
            }
        }
    }

    // ── the disk ──

    pub(crate) fn disk(&mut self, job: disk::Job) -> disk::Answer {
        match job {
            disk::Job::Write(writes) => {
                self.write_jobs.push(writes.len());
                disk::Answer::Written(writes.into_iter().map(|write| self.write(write)).collect())
            }
            disk::Job::Drop(stages) => {
                for stage in stages {
                    self.staged.remove(&stage);
                    self.dropped.push(stage);
                }
                disk::Answer::Dropped
            }
            disk::Job::Read(wanted) => {
                let bytes = wanted.iter().map(|wanted| u64::from(wanted.length)).sum();
                self.most_read = self.most_read.max(bytes);
                let read = |wanted: &disk::Wanted| {
                    wanted.places.iter().find_map(|place| self.at(place, wanted.length)).map(<[u8]>::to_vec)
                };
                disk::Answer::Read(wanted.iter().map(read).collect())
            }
            disk::Job::Chunks { content, wanted } => {
                let bytes = wanted.places.iter().find_map(|place| self.at(place, wanted.length));
                disk::Answer::Chunks(bytes.map(|bytes| ChunkList::of(&content, bytes)))
            }
            disk::Job::Compare(compare) => {
                disk::Answer::Compared(self.local(&compare).map(|local| local.missing(&compare.chunks)))
            }
            other => panic!("{other:?}"),
        }
    }

    fn local(&self, compare: &disk::Compare) -> Option<LocalChunks<Vec<u8>>> {
        let mut local = LocalChunks::new(compare.content);
        for (place, length) in &compare.near {
            let bytes = self.at(place, *length)?;
            local.add(bytes, |range| bytes[range].to_vec());
        }
        Some(local)
    }

    fn write(&mut self, write: Write) -> Written {
        if self.is_full {
            return Written::NoSpace;
        }
        if write.segment == Segment::ZEROS {
            self.holes += 1;
            self.staged.entry(write.stage).or_default();
            return Written::Done;
        }
        let bytes = match write.from {
            Source::Bytes(pieces) => {
                let bytes = pieces.concat();
                self.came += bytes.len() as u64;
                bytes
            }
            Source::Places(places) => {
                match places.iter().find_map(|place| self.at(place, write.segment.length)) {
                    Some(bytes) => bytes.to_vec(),
                    None => return Written::NotHere,
                }
            }
            Source::Chunks { compared, came } => {
                self.came += came.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
                match self.local(&compared) {
                    Some(local) => assemble(&compared, &local, &came),
                    None => return Written::NotHere,
                }
            }
        };
        if !write.segment.is(&bytes) {
            return Written::False;
        }
        assert!(write.offset + bytes.len() as u64 <= write.size);
        self.staged.entry(write.stage).or_default().insert(write.offset, bytes);
        Written::Done
    }
}

fn assemble(compare: &disk::Compare, local: &LocalChunks<Vec<u8>>, came: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (range, chunk) in compare.chunks.chunks() {
        match local.place(&chunk) {
            Some(here) => bytes.extend_from_slice(here),
            None => {
                let holds = |(from, bytes): &&(u32, Vec<u8>)| {
                    *from <= range.start && range.end as usize <= *from as usize + bytes.len()
                };
                let (from, part) = came.iter().find(holds).unwrap();
                bytes.extend_from_slice(&part[(range.start - from) as usize..(range.end - from) as usize]);
            }
        }
    }
    bytes
}
