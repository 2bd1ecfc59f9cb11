//! How versions of one path merge: the rules on which everything else rests.
//!
//! Promise: no version that a user made is dropped but by one whose author had seen it (I3); who wins, what is copied
//! and under which name follow from the records alone (I16), in whatever order they came (I15), however often (I14).
//! Why the rules are these, and what breaks without each: `docs/design/agreement.md`.
//!
//! Begin at [`Heads::add`]; then [`Heads::winner`], [`Heads::edit`] and [`Heads::resolve`].

use crate::conflict::copy_of;
use crate::dot::{Dot, Seen, SeenJoin};
use crate::id::Writer;
use crate::limits::{DISPLACED_MAX, HEADS_MAX};
use crate::path::RelPath;
use crate::record::{Kind, Mode, Record, Timestamp, Version};

/// The records of one path that no other record has seen; nearly always one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Heads(Vec<Record>); // sorted, so that equal sets are equal

/// What [`Heads::add`] did.
#[derive(Debug, Eq, PartialEq)]
pub enum Added {
    /// The record is a head now; these are not any more.
    Head {
        /// The heads that it had seen.
        dropped: Vec<Record>,
    },
    /// It was there already.
    Known,
    /// A head has seen it.
    Superseded,
    /// There are [`HEADS_MAX`] heads, and it has seen none of them: it is not taken.
    Full,
}

/// What the disk last agreed with, and what its user had therefore seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Base {
    /// What the disk showed.
    pub version: Version,
    /// Where its bytes came from.
    pub origin: Dot,
    /// The *seen* and dots of all heads that had this content.
    pub seen: Seen,
    /// What of it only lost and was not replaced.
    pub displaced: Box<[Dot]>,
}

/// Whether anything that is not gone lies below a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Below {
    /// No path below it is live.
    Nothing,
    /// Some path below it is.
    Live,
}

/// What a disk is to show at a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shown<'a> {
    /// Nothing.
    Nothing,
    /// This version.
    Version(&'a Record),
    /// A folder that nobody published, because something below it is live. It has [`Mode::IMPLIED_DIRECTORY`], and
    /// nobody publishes it.
    ImpliedDirectory,
}

/// Records that are published together, or not at all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transaction {
    /// The new record of the path.
    pub record: Record,
    /// A conflict copy for each version that lost by it. They go to paths of their own.
    pub copies: Vec<Record>,
}

impl Heads {
    /// Takes in one more record. All are of the same path.
    ///
    /// A record is dropped when another one supersedes it ([`Record::supersedes`]), and for no other reason: two that
    /// have one dot (a cloned device), or have seen the same, are both kept.
    pub fn add(&mut self, record: Record) -> Added {
        debug_assert!(self.0.first().is_none_or(|head| head.path == record.path), "heads are of one path");
        let Err(at) = self.0.binary_search(&record) else { return Added::Known };
        if self.0.iter().any(|head| head.supersedes(&record)) {
            return Added::Superseded;
        }
        if !self.0.iter().any(|head| record.supersedes(head)) {
            if self.0.len() >= HEADS_MAX {
                return Added::Full;
            }
            self.0.insert(at, record);
            return Added::Head { dropped: Vec::new() };
        }
        let (dropped, mut kept): (Vec<_>, Vec<_>) =
            core::mem::take(&mut self.0).into_iter().partition(|head| record.supersedes(head));
        let at = kept.partition_point(|head| *head < record);
        kept.insert(at, record);
        self.0 = kept;
        Added::Head { dropped }
    }

    /// Takes out the records that a removal made void. What they had replaced may be lacking now: a writer whose disk
    /// shows a void version, or has nothing left to agree with, publishes it as its own ([`Record::reissued`]).
    pub fn remove_void(&mut self, is_void: impl Fn(&Record) -> bool) -> Vec<Record> {
        let (void, kept) = core::mem::take(&mut self.0).into_iter().partition(|head| is_void(head));
        self.0 = kept;
        void
    }

    /// The heads, in an order that is the same everywhere.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.0.iter()
    }

    /// The highest counter of a writer that stands in any head, as its dot or in its *seen*. What the writer mints next
    /// must be above, else it would be taken for seen. If that is news to a writer, its index was rolled back, or
    /// somebody claims to have seen its future: in both cases it must not mint under this name any more.
    #[must_use]
    pub fn highest_counter(&self, writer: Writer) -> u64 {
        let own = |head: &Record| if head.dot.writer == writer { head.dot.counter } else { 0 };
        self.0.iter().map(|head| own(head).max(head.seen.counter_of(writer))).max().unwrap_or(0)
    }

    /// Whether nothing is known of the path.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The heads that are not stale, in order.
    ///
    /// A head is *stale* when another head replaces its origin ([`Record::replaces`]): it carries bytes, kept by a
    /// resolution, a new mode or a new time, that an edit beside it replaced. Where all are, everything was replaced by
    /// somebody who saw it, and what that was has been deleted or stands in conflict copies.
    #[must_use]
    pub fn live(&self) -> Vec<&Record> {
        let is_stale = |head: &&Record| self.0.iter().any(|other| other.replaces(head.origin));
        self.0.iter().filter(|head| !is_stale(head)).collect()
    }

    /// The version that the path has: of those that are not stale, anything over gone, a folder over a file over a
    /// link, the later mtime, the larger content id, the larger dot; a total order over whole records. `None`: nothing
    /// is known of the path, or all is stale.
    #[must_use]
    pub fn winner(&self) -> Option<&Record> {
        match &*self.0 {
            [] => None,
            [only] => Some(only),
            _ => winner_of(&self.live()),
        }
    }

    /// What a disk is to show: the winner, or a folder where something live lies below.
    #[must_use]
    pub fn shown(&self, below: Below) -> Shown<'_> {
        match (self.winner(), below) {
            (Some(winner), _) if winner.version.kind == Kind::Directory => Shown::Version(winner),
            (_, Below::Live) => Shown::ImpliedDirectory,
            (Some(winner), Below::Nothing) if !winner.version.kind.is_gone() => Shown::Version(winner),
            (_, Below::Nothing) => Shown::Nothing,
        }
    }

    /// What a disk that shows the winner has agreed with: the user there has seen all heads with that content, and
    /// no other. `None` where there is no winner.
    #[must_use]
    pub fn base(&self) -> Option<Base> {
        self.winner().map(|winner| self.base_of(winner))
    }

    /// What a disk agrees with that holds this and whose index knows of no base: it joins with data, or lost its index.
    /// That is a head that shows the same, else a deletion of just this. `None` if it is a version of its own.
    #[must_use]
    pub fn adopt(&self, here: &Kind) -> Option<Base> {
        let same = |head: &&Record| head.version.kind.is_same(here);
        let deletion = |head: &&Record| head.version.kind == Kind::Gone { of: here.content() };
        let equal = self.winner().filter(same).or_else(|| self.0.iter().rfind(same));
        equal.or_else(|| self.0.iter().rfind(deletion)).map(|head| self.base_of(head))
    }

    /// What a disk that shows this head has agreed with.
    #[must_use]
    pub fn base_of(&self, shown: &Record) -> Base {
        let shows = |head: &Record| head.version.kind.is_same(&shown.version.kind);
        let displaced = self.displaced(shows, None, shown.origin);
        let seen = self.join(shows, shown.origin, &displaced).finish();
        Base { version: shown.version.clone(), origin: shown.origin, seen, displaced }
    }

    /// The versions that contradict each other: empty if all that are not stale show the same. The winner comes
    /// first; those that would be lost without a copy are the ones that hold data and differ from it.
    ///
    /// Who resolves must hold the bytes of the winner and of all that [`Self::resolve`] would copy.
    #[must_use]
    pub fn conflict(&self, below: Below) -> Vec<&Record> {
        let mut live = self.live();
        let Some(winner) = winner_of(&live) else { return Vec::new() };
        let is_blocked = below == Below::Live && winner.version.kind.holds_data();
        if !is_blocked && live.iter().all(|head| head.version.kind.is_same(&winner.version.kind)) {
            return Vec::new();
        }
        live.sort_by_key(|head| *head != winner);
        live
    }

    /// Ends a conflict: the winner again, under a fresh dot and having seen all heads, and a copy of each version
    /// that would be lost. `None` if there is no conflict. The dot is above [`Self::highest_counter`].
    ///
    /// With something live below, a file or link cannot have the path: a folder takes it, and they become copies.
    #[must_use]
    pub fn resolve(&self, below: Below, dot: Dot) -> Option<Transaction> {
        let conflict = self.conflict(below);
        let winner = *conflict.first()?;
        let is_blocked = below == Below::Live && winner.version.kind.holds_data();
        let (version, origin) = if is_blocked {
            (Version::new(Kind::Directory, Timestamp::ZERO, Mode::IMPLIED_DIRECTORY), dot)
        } else {
            (winner.version.clone(), winner.origin)
        };
        let copies = copies(conflict.into_iter().filter(|head| !head.version.kind.is_same(&version.kind)));
        let displaced = if origin == dot { Box::default() } else { self.displaced(|_| true, None, origin) };
        let seen = self.join(|_| true, origin, &displaced).finish();
        let path = winner.path.clone();
        Some(Transaction {
            record: Record { path, version, dot, seen, origin, displaced, copy_of: None },
            copies,
        })
    }

    /// A user's edit, deletion, touch or change of mode, on a disk that agreed with `base` (`None`: that had nothing
    /// there that it knew). The dot is above [`Self::highest_counter`].
    ///
    /// The new record has seen what the user saw: base, and all heads with its content. A new time or mode alone
    /// keeps the origin of the bytes. Two rules beyond that:
    ///
    /// - An edit of what won resolves the conflict with what lost, at once.
    /// - An earlier head by the same writer is always resolved with it. Whoever sees the new dot has, by number, seen
    ///   all earlier ones of its writer, so one that stayed beside it would be dropped and never looked at.
    ///
    /// `None` for a new time or mode of bytes that some head replaces: it loses silently, since content decides.
    #[must_use]
    pub fn edit(
        &self,
        path: &RelPath,
        base: Option<&Base>,
        version: Version,
        dot: Dot,
    ) -> Option<Transaction> {
        let is_base = |head: &Record| base.is_some_and(|base| head.version.kind.is_same(&base.version.kind));
        let shows_winner = self.winner().is_some_and(is_base);
        let covers = |head: &Record| shows_winner || is_base(head) || head.dot.writer == dot.writer;

        let lost =
            |head: &&Record| covers(head) && !is_base(head) && !head.version.kind.is_same(&version.kind);
        let copies = copies(self.live().into_iter().filter(lost));
        let kept = base.filter(|base| base.version.kind.is_same(&version.kind));
        if kept.is_some_and(|base| !shows_winner && self.0.iter().any(|head| head.replaces(base.origin))) {
            return None;
        }
        let (origin, displaced) = match kept {
            Some(base) => (base.origin, self.displaced(covers, Some(base), base.origin)),
            None => (dot, Box::default()),
        };
        let mut seen = self.join(covers, origin, &displaced);
        if let Some(base) = base {
            seen.seen(&base.seen);
        }
        let (path, seen) = (path.clone(), seen.finish());
        let record = Record { path, version, dot, seen, origin, displaced, copy_of: None };
        Some(Transaction { record, copies })
    }

    /// Of what these heads, and base, carry or had displaced: what none of them replaces, and is not kept either. All of
    /// it stands in conflict copies, so nothing is lost by what goes beyond the bound.
    fn displaced(&self, covers: impl Fn(&Record) -> bool, base: Option<&Base>, kept: Dot) -> Box<[Dot]> {
        let covered = || self.0.iter().filter(|head| covers(head));
        let mut origins: Vec<_> =
            covered().flat_map(|head| head.displaced.iter().copied().chain([head.origin])).collect();
        origins.extend(base.into_iter().flat_map(|base| base.displaced.iter().copied()));
        origins.retain(|&origin| {
            let by_base = base.is_some_and(|base| base.replaces(origin));
            origin != kept && !by_base && !covered().any(|head| head.replaces(origin))
        });
        origins.sort_unstable();
        origins.dedup();
        origins.truncate(DISPLACED_MAX);
        origins.into()
    }

    /// What these heads had seen, and them; with it the origins that the new record speaks of.
    fn join(&self, covers: impl Fn(&Record) -> bool, origin: Dot, displaced: &[Dot]) -> SeenJoin {
        let mut join = SeenJoin::default();
        for origin in displaced.iter().chain([&origin]) {
            join.need(*origin);
        }
        for head in self.0.iter().filter(|head| covers(head)) {
            join.seen(&head.seen).dot(head.dot);
        }
        join
    }
}

impl From<&Record> for Base {
    /// What a disk has agreed with once it shows this record: after an edit there, the edit's.
    fn from(record: &Record) -> Self {
        let seen = SeenJoin::default().seen(&record.seen).dot(record.dot).finish();
        let Record { version, origin, displaced, .. } = record.clone();
        Self { version, origin, seen, displaced }
    }
}

impl Base {
    /// What is left of it when the writer of this index turned out to be rolled back; see [`Record::reissued_after`].
    /// `None` if its bytes are of the time in doubt: the disk shows a version of its own then.
    #[must_use]
    pub fn up_to(&self, agreed: Dot) -> Option<Self> {
        let is_in_doubt = |dot: &Dot| dot.writer == agreed.writer && dot.counter > agreed.counter;
        if is_in_doubt(&self.origin) {
            return None;
        }
        let displaced = self.displaced.iter().copied().filter(|dot| !is_in_doubt(dot)).collect();
        Some(Self { seen: self.seen.up_to(agreed), displaced, ..self.clone() })
    }

    /// As [`Record::replaces`].
    fn replaces(&self, origin: Dot) -> bool {
        self.origin != origin && self.seen.includes(origin) && self.displaced.binary_search(&origin).is_err()
    }
}

impl FromIterator<Record> for Heads {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut heads = Self::default();
        for record in records {
            heads.add(record);
        }
        heads
    }
}

fn winner_of<'a>(live: &[&'a Record]) -> Option<&'a Record> {
    live.iter().copied().max_by_key(|head| {
        let Version { kind, mtime, .. } = &head.version;
        (kind.rank(), *mtime, kind.content(), head.dot, *head)
    })
}

/// One for each that something was there in; heads with equal content and origin make the same copy.
fn copies<'a>(losers: impl Iterator<Item = &'a Record>) -> Vec<Record> {
    let mut copies: Vec<_> = losers.filter(|head| !head.version.kind.is_gone()).map(copy_of).collect();
    copies.sort_unstable();
    copies.dedup();
    copies
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
pub(crate) mod tests;
