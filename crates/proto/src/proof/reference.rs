//! The rules of heads said as plainly as can be: small numbers, maps and sets, no speed.
//!
//! Promise: what the crate's heads do is what stands here; the worlds compare them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Content, Copy, Dot, MTIME_SECONDS, Minted, Seen, Version};
pub(crate) use rules::Reference;

mod rules;

/// One version of one path.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct Record {
    pub(crate) version: Version,
    pub(crate) dot: Dot,
    pub(crate) seen: Seen,
    pub(crate) origin: Dot,
    pub(crate) displaced: BTreeSet<Dot>,
    /// The path and the origin of the loser that a conflict copy keeps.
    pub(crate) copy_of: Option<(Path, Dot)>,
}

/// The records of a path that no other record has seen.
pub(crate) type Heads = BTreeSet<Rc<Record>>;

/// What a disk last agreed with: a version, and all that its user had seen by then.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Base {
    pub(crate) version: Version,
    pub(crate) origin: Dot,
    pub(crate) displaced: BTreeSet<Dot>,
    pub(crate) seen: Seen,
}

/// A path that a user named, or that of a conflict copy: a function of the loser alone.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Path {
    Own(&'static str),
    Copy(Rc<CopyName>),
}

/// What tells a conflict copy's name from all others.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct CopyName {
    of: Path,
    origin: Dot,
    content: Content,
    minute: i64,
}

pub(crate) fn includes(seen: &Seen, dot: Dot) -> bool {
    seen.get(&dot.writer).is_some_and(|counter| *counter >= dot.counter)
}

/// Adds what this record's author had seen, and the record.
pub(crate) fn join(into: &mut Seen, seen: &Seen, dot: Option<Dot>) {
    let dot = dot.map(|dot| (dot.writer, dot.counter));
    for (writer, counter) in seen.iter().map(|(writer, counter)| (*writer, *counter)).chain(dot) {
        let known = into.entry(writer).or_default();
        *known = counter.max(*known);
    }
}

pub(crate) fn add(heads: &mut Heads, record: &Rc<Record>) -> bool {
    if heads.contains(record) || heads.iter().any(|head| includes(&head.seen, record.dot)) {
        return false;
    }
    heads.retain(|head| !includes(&record.seen, head.dot));
    heads.insert(record.clone())
}

/// All heads but those whose bytes somebody saw and replaced.
pub(crate) fn live(heads: &Heads) -> Vec<&Rc<Record>> {
    let stale = |head: &Record| {
        heads.iter().any(|other| {
            other.origin != head.origin
                && includes(&other.seen, head.origin)
                && !other.displaced.contains(&head.origin)
        })
    };
    heads.iter().filter(|head| !stale(head)).collect()
}

/// Anything over gone, directory over file over link; later mtime; larger content; larger dot; then the whole record.
pub(crate) fn winner(heads: &Heads) -> Option<&Rc<Record>> {
    let class = |content| match content {
        Content::Gone(_) => 0,
        Content::Link(_) => 1,
        Content::File(_) => 2,
        Content::Dir => 3,
    };
    live(heads).into_iter().max_by_key(|record| {
        let version = record.version;
        (class(version.content), version.mtime, version.content, record.dot, *record)
    })
}

/// A file or link that cannot be shown, for something lies below it.
fn is_blocked(record: &Record, live_below: bool) -> bool {
    live_below && matches!(record.version.content, Content::File(_) | Content::Link(_))
}

pub(crate) fn conflict(heads: &Heads, live_below: bool) -> bool {
    let live = live(heads);
    let contents: BTreeSet<Content> = live
        .iter()
        .map(|head| head.version.content)
        .map(|content| if content.is_gone() { Content::Gone(0) } else { content })
        .collect();
    contents.len() > 1 || live.iter().any(|head| is_blocked(head, live_below))
}

/// Of what these heads and the base carry or displaced: the origins that nobody of them replaced, and none keeps.
fn displaced(covered: &[&Rc<Record>], kept: Dot, base: Option<&Base>) -> BTreeSet<Dot> {
    let mut all: BTreeSet<Dot> =
        covered.iter().flat_map(|head| head.displaced.iter().copied().chain([head.origin])).collect();
    all.extend(base.into_iter().flat_map(|base| base.displaced.iter().copied()));
    all.remove(&kept);
    all.retain(|origin| {
        let spared = |head: &&Rc<Record>| {
            !includes(&head.seen, *origin) || head.displaced.contains(origin) || head.origin == *origin
        };
        let by_base = |base: &Base| includes(&base.seen, *origin) && !base.displaced.contains(origin);
        covered.iter().all(spared) && !base.is_some_and(by_base)
    });
    all
}

pub(crate) fn base(heads: &Heads, shown: &Record) -> Base {
    let mut seen = Seen::new();
    for head in heads.iter().filter(|head| head.version.content.same(shown.version.content)) {
        join(&mut seen, &head.seen, Some(head.dot));
    }
    let equal = heads.iter().filter(|head| head.version.content.same(shown.version.content));
    let displaced = displaced(&equal.collect::<Vec<_>>(), shown.origin, None);
    Base { version: shown.version, origin: shown.origin, seen, displaced }
}

pub(crate) fn edit(
    path: &Path,
    heads: &Heads,
    base: Option<&Base>,
    new: Version,
    dot: Dot,
) -> Option<Minted<Reference>> {
    let agreed = |content: Content| base.is_some_and(|base| content.same(base.version.content));
    // A disk that shows the winner shows the conflict too: the edit settles it. Else only what the user saw is
    // covered, and the writer's own heads: this dot, in any later *seen*, would swallow them.
    let settles = winner(heads).is_some_and(|winner| agreed(winner.version.content));
    let mut seen = base.map(|base| base.seen.clone()).unwrap_or_default();
    let mut copies = Vec::new();
    let live = live(heads);
    let mut covered = Vec::new();
    for head in heads {
        let content = head.version.content;
        if !(agreed(content) || settles || head.dot.writer == dot.writer) {
            continue;
        }
        join(&mut seen, &head.seen, Some(head.dot));
        covered.push(head);
        if live.contains(&head) && !content.is_gone() && !agreed(content) && content != new.content {
            copies.push(copy(path, head));
        }
    }
    // A touch of bytes that somebody replaced loses silently.
    let replaces = |head: &Rc<Record>, origin: Dot| {
        head.origin != origin && includes(&head.seen, origin) && !head.displaced.contains(&origin)
    };
    let kept = base.filter(|_| agreed(new.content));
    if kept.is_some_and(|base| !settles && heads.iter().any(|head| replaces(head, base.origin))) {
        return None;
    }
    let origin = base.filter(|_| agreed(new.content)).map_or(dot, |base| base.origin);
    let displaced = if origin == dot { BTreeSet::new() } else { displaced(&covered, origin, base) };
    Some(Minted {
        record: Rc::new(Record { version: new, dot, seen, origin, displaced, copy_of: None }),
        copies,
    })
}

pub(crate) fn resolve(path: &Path, heads: &Heads, live_below: bool, dot: Dot) -> Option<Minted<Reference>> {
    if !conflict(heads, live_below) {
        return None;
    }
    let winner = winner(heads)?;
    let (version, origin) = if is_blocked(winner, live_below) {
        (Version { content: Content::Dir, mtime: 0, mode: 0o755 }, dot)
    } else {
        (winner.version, winner.origin)
    };
    let mut seen = BTreeMap::new();
    let covered: Vec<&Rc<Record>> = heads.iter().collect();
    for head in &covered {
        join(&mut seen, &head.seen, Some(head.dot));
    }
    let displaced = if origin == dot { BTreeSet::new() } else { displaced(&covered, origin, None) };
    let loses = |content: Content| !content.is_gone() && content != version.content;
    let losers = live(heads).into_iter().filter(|head| loses(head.version.content));
    let copies = losers.map(|head| copy(path, head)).collect();
    Some(Minted { record: Rc::new(Record { version, dot, seen, origin, displaced, copy_of: None }), copies })
}

pub(crate) fn copy(path: &Path, loser: &Rc<Record>) -> Copy<Reference> {
    let content = loser.version.content;
    let minute = loser.version.mtime * MTIME_SECONDS / 60;
    let name = CopyName { of: path.clone(), origin: loser.origin, content, minute };
    let named = format!("{path:?} {:?} {content:?}", loser.origin);
    let hash = u64::from_be_bytes(blake3::hash(named.as_bytes()).as_bytes()[..8].try_into().unwrap());
    let dot = Dot { writer: hash | 1 << 63, counter: 1 };
    let copy_of = Some((path.clone(), loser.origin));
    let record = Record {
        version: loser.version,
        dot,
        seen: Seen::new(),
        origin: dot,
        displaced: BTreeSet::new(),
        copy_of,
    };
    Copy { loser: loser.clone(), path: Path::Copy(Rc::new(name)), record: Rc::new(record) }
}

/// The head that a disk without a base agrees with: one of equal content, else a deletion of just this.
pub(crate) fn adopts(heads: &Heads, content: Content) -> Option<&Rc<Record>> {
    let equal = |of: Content| move |head: &&Rc<Record>| head.version.content == of;
    winner(heads)
        .filter(equal(content))
        .or_else(|| heads.iter().rev().find(equal(content)))
        .or_else(|| heads.iter().rev().find(equal(content.deleted())))
}

/// What a rolled-back device had seen, with nothing that its own writer said since.
pub(crate) fn up_to(seen: &Seen, last: Dot) -> Seen {
    let mut seen = seen.clone();
    match seen.get_mut(&last.writer) {
        Some(counter) if last.counter > 0 => *counter = last.counter.min(*counter),
        _ => drop(seen.remove(&last.writer)),
    }
    seen
}

/// The same of a base; none if its bytes are from then.
pub(crate) fn base_up_to(base: &Base, last: Dot) -> Option<Base> {
    let since = |dot: &Dot| dot.writer == last.writer && dot.counter > last.counter;
    let displaced = base.displaced.iter().copied().filter(|dot| !since(dot)).collect();
    (!since(&base.origin)).then(|| Base { seen: up_to(&base.seen, last), displaced, ..base.clone() })
}
