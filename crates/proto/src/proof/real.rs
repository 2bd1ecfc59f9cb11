//! The crate's own rules, in the words of the worlds.
//!
//! Promise: nothing is decided here; numbers become ids and back, in the same order.

use std::sync::OnceLock;

use super::{Content, Copy, Dot, MTIME_SECONDS, Minted, Rules, Version, View};
use crate::dot;
use crate::hash::ContentId;
use crate::heads::{Added, Base, Below, Heads, Transaction};
use crate::id::Writer;
use crate::path::RelPath;
use crate::record::{self, Kind, Mode, Record, Timestamp};

/// The rules of [`Heads`], for a world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Real;

fn dot_of(dot: Dot) -> dot::Dot {
    dot::Dot::new(Writer::from_bytes(dot.writer.to_be_bytes()), dot.counter)
}

fn dot_view(dot: dot::Dot) -> Dot {
    Dot { writer: u64::from_be_bytes(dot.writer.to_bytes()), counter: dot.counter }
}

fn content_id(number: u32) -> ContentId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    ContentId::from_bytes(bytes)
}

/// Links' targets in the order of their content ids, so that the winner of two is the one with the larger number.
fn targets() -> &'static [(ContentId, Box<[u8]>)] {
    static TARGETS: OnceLock<Vec<(ContentId, Box<[u8]>)>> = OnceLock::new();
    TARGETS.get_or_init(|| {
        let target = |number: u32| Box::from(format!("target {number}").as_bytes());
        let mut targets: Vec<(ContentId, Box<[u8]>)> = (0..1000)
            .map(|number| (Kind::Symlink { target: target(number) }.content(), target(number)))
            .collect();
        targets.sort();
        targets
    })
}

fn kind_of(content: Content) -> Kind {
    match content {
        Content::Gone(0) => Kind::Gone { of: ContentId::NONE },
        Content::Gone(number) => Kind::Gone { of: content_id(number) },
        Content::Link(number) => Kind::Symlink { target: targets()[number as usize].1.clone() },
        Content::File(number) => Kind::File { size: 1, content: content_id(number) },
        Content::Dir => Kind::Directory,
    }
}

fn content_view(kind: &Kind) -> Content {
    let number = |id: &ContentId| match id.as_bytes() {
        // A file's, see `content_id`.
        [number @ .., 0, 0, 0, 0] => u32::from_be_bytes(*number.first_chunk().unwrap()),
        _ => u32::try_from(targets().binary_search_by_key(id, |target| target.0).unwrap()).unwrap(),
    };
    match kind {
        Kind::Gone { of } => Content::Gone(number(of)),
        Kind::Symlink { .. } => Content::Link(number(&kind.content())),
        Kind::File { content, .. } => Content::File(number(content)),
        Kind::Directory => Content::Dir,
    }
}

pub(crate) fn version_of(version: Version) -> record::Version {
    let mtime = Timestamp::new(version.mtime * MTIME_SECONDS, 0).unwrap();
    record::Version::new(kind_of(version.content), mtime, Mode::from_bits(version.mode))
}

fn version_view(version: &record::Version) -> Version {
    let (mtime, mode) = (version.mtime.seconds / MTIME_SECONDS, u32::from(version.mode.bits()));
    Version { content: content_view(&version.kind), mtime, mode }
}

fn below(live_below: bool) -> Below {
    if live_below { Below::Live } else { Below::Nothing }
}

/// A transaction's records, each checked as a receiver would; and which head each copy keeps.
fn minted(heads: &Heads, transaction: Transaction) -> Minted<Real> {
    let loser = |copy: &Record| {
        let keeps = |head: &&Record| crate::conflict::copy_of(head) == *copy;
        heads.iter().find(keeps).cloned().unwrap()
    };
    let copies = transaction.copies.into_iter().map(|record| {
        let record = record.check().unwrap();
        Copy { loser: loser(&record), path: record.path.clone(), record }
    });
    Minted { copies: copies.collect(), record: transaction.record.check().unwrap() }
}

impl Rules for Real {
    type Path = RelPath;
    type Record = Record;
    type Heads = Heads;
    type Base = Base;

    fn path(&self, name: &'static str) -> RelPath {
        RelPath::parse(name.as_bytes()).unwrap()
    }

    fn is_below(&self, path: &RelPath, above: &RelPath) -> bool {
        path.is_below(above)
    }

    fn add(&self, heads: &mut Heads, record: &Record) -> bool {
        matches!(heads.add(record.clone()), Added::Head { .. })
    }

    fn records(&self, heads: &Heads) -> Vec<Record> {
        heads.iter().cloned().collect()
    }

    fn view(&self, record: &Record) -> View {
        let seen = record.seen.entries().map(dot_view).map(|dot| (dot.writer, dot.counter)).collect();
        let (dot, origin) = (dot_view(record.dot), dot_view(record.origin));
        View {
            version: version_view(&record.version),
            dot,
            seen,
            origin,
            displaced: record.displaced.iter().copied().map(dot_view).collect(),
        }
    }

    fn dot(&self, record: &Record) -> Dot {
        dot_view(record.dot)
    }

    fn version(&self, record: &Record) -> Version {
        version_view(&record.version)
    }

    fn base_version(&self, base: &Base) -> Version {
        version_view(&base.version)
    }

    fn winner(&self, heads: &Heads) -> Option<Record> {
        heads.winner().cloned()
    }

    fn conflict(&self, heads: &Heads, live_below: bool) -> bool {
        !heads.conflict(below(live_below)).is_empty()
    }

    fn base(&self, heads: &Heads, shown: &Record) -> Base {
        heads.base_of(shown)
    }

    fn base_view(&self, base: &Base) -> View {
        let seen = base.seen.entries().map(dot_view).map(|dot| (dot.writer, dot.counter)).collect();
        View {
            version: version_view(&base.version),
            dot: Dot::default(),
            seen,
            origin: dot_view(base.origin),
            displaced: base.displaced.iter().copied().map(dot_view).collect(),
        }
    }

    fn edit(
        &self,
        path: &RelPath,
        heads: &Heads,
        base: Option<&Base>,
        new: Version,
        dot: Dot,
    ) -> Option<Minted<Self>> {
        heads.edit(path, base, version_of(new), dot_of(dot)).map(|transaction| minted(heads, transaction))
    }

    fn resolve(&self, _path: &RelPath, heads: &Heads, live_below: bool, dot: Dot) -> Option<Minted<Self>> {
        heads.resolve(below(live_below), dot_of(dot)).map(|transaction| minted(heads, transaction))
    }

    fn needed(&self, heads: &Heads, live_below: bool) -> Vec<Content> {
        heads.conflict(below(live_below)).into_iter().map(|head| content_view(&head.version.kind)).collect()
    }

    fn adopts(&self, heads: &Heads, content: Content) -> Option<Record> {
        let base = heads.adopt(&kind_of(content))?;
        heads.iter().find(|head| head.version == base.version && head.origin == base.origin).cloned()
    }

    fn minted_again(&self, record: &Record, agreed: u64, dot: Dot) -> Record {
        let agreed = dot::Dot::new(record.dot.writer, agreed);
        record.reissued_after(agreed, dot_of(dot)).check().unwrap()
    }

    fn base_up_to(&self, base: &Base, agreed: Dot) -> Option<Base> {
        base.up_to(dot_of(agreed))
    }
}
