//! What goes from the history: by age, and by the room that all of it takes.
//!
//! Promise: what goes is forgotten in the same job, so nothing is claimed that is about to be removed. The only bytes on
//! this disk of what a head names never go (I5): the loser of a conflict may stand nowhere else. No version goes by age
//! before its time, whatever the machine's clock does (I29); one job looks at a bounded part, or once at all sizes.
//!
//! **How age is counted.** The history has a clock of its own, in seconds, which begins at zero with the index. While a
//! process runs it goes by the clock that never jumps; between two processes, and while a machine sleeps, it goes by the
//! machine's clock, but forward only, and by a thirtieth of the retention at most: a clock that jumps by a year
//! makes a month's history a day older. A version begins to age at the first count after it was noted. So a machine
//! that is switched on once a week keeps what it has for longer than asked; it never keeps it for less.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use core::time::Duration;

use rusqlite::{Row as SqlRow, params};
use shoal_engine::history::{Doomed, Held, Pruning, Retention, Why};
use shoal_proto::hash::{ContentId, prefix};

use super::{remove, why_as};
use crate::error::IndexError;
use crate::row::{file_content, thirty_two};
use crate::store::{Index, UNKNOWN_CONTENT};
use crate::work::{Work, read_row, reading, writing};

/// So many versions begin to age in one job.
const COUNTED_MAX: usize = 1 << 14;

/// Paths in one page of those that take most; so many pages are gone through in one job.
const PATHS_MAX: usize = 256;
const PAGES_MAX: usize = 16;

impl Index {
    /// Chooses what is to go, and forgets it, with the lists of segments that only it named.
    ///
    /// # Errors
    /// When the database refuses; nothing is forgotten then.
    pub fn prune(&mut self, pruning: &Pruning) -> Result<Doomed, IndexError> {
        let (doomed, _) = self.job(|work| {
            let aged = count_age(work, pruning)?;
            let counted = count_new(work, aged)?;
            let mut choice = Choice::begin(work, aged, &pruning.retention, pruning.at_most)?;
            choice.by_age()?;
            choice.by_size()?;
            let Choice { numbers, held, retention, at_most, .. } = choice;
            remove(work, &numbers)?;
            let is_too_much = held.bytes > retention.bytes_max && !numbers.is_empty();
            let is_more = counted == COUNTED_MAX || numbers.len() >= at_most || is_too_much;
            Ok(Doomed { numbers, is_more, left: held })
        })?;
        Ok(doomed)
    }
}

/// The history's clock, now.
fn count_age(work: &mut Work<'_>, pruning: &Pruning) -> Result<i64, IndexError> {
    let (aged, at): (i64, Option<i64>) = work
        .conn
        .prepare_cached("SELECT aged, aged_at FROM share")
        .and_then(|mut statement| statement.query_row([], |sql| Ok((sql.get(0)?, sql.get(1)?))))
        .map_err(reading())?;
    let wall = i64::try_from(pruning.wall).unwrap_or(i64::MAX);
    let lived = work.memory.aged_at.map_or(Duration::ZERO, |before| pruning.at.since(before));
    let lived = whole_seconds(lived);
    let passed = at.map_or(0, |at| wall.saturating_sub(at));
    let aged = aged.saturating_add(passed.clamp(lived, lived.saturating_add(part(&pruning.retention))));
    work.conn
        .prepare_cached("UPDATE share SET aged = ?1, aged_at = ?2")
        .and_then(|mut statement| statement.execute(params![aged, wall]))
        .map_err(writing())?;
    // Should the job fail, this time counts for nothing; what was noted meanwhile stays so much longer.
    work.memory.aged_at = Some(pruning.at);
    Ok(aged)
}

/// What was noted since the last count begins to age; how many there are.
fn count_new(work: &Work<'_>, aged: i64) -> Result<usize, IndexError> {
    let most = i64::try_from(COUNTED_MAX).unwrap_or(i64::MAX);
    work.conn
        .prepare_cached(
            "UPDATE history SET aged = ?1 \
             WHERE number IN (SELECT number FROM history WHERE aged IS NULL LIMIT ?2)",
        )
        .and_then(|mut statement| statement.execute([aged, most]))
        .map_err(writing())
}

/// A version that may be to go.
struct Candidate {
    number: u64,
    size: u64,
    content: ContentId,
    why: u32,
    is_named: bool,
    is_found: bool,
    aged: Option<i64>,
}

/// The columns of a [`Candidate`].
macro_rules! select_candidates {
    ($which:literal) => {
        concat!("SELECT number, size, content, why, named, found, aged FROM history ", $which)
    };
}

impl Candidate {
    fn read(sql: &SqlRow<'_>) -> Result<Self, IndexError> {
        Ok(Self {
            number: sql.get::<_, i64>(0).map_err(reading())?.cast_unsigned(),
            size: sql.get::<_, i64>(1).map_err(reading())?.cast_unsigned(),
            content: ContentId::from_bytes(thirty_two(sql, 2)?),
            why: sql.get(3).map_err(reading())?,
            is_named: sql.get(4).map_err(reading())?,
            is_found: sql.get(5).map_err(reading())?,
            aged: sql.get(6).map_err(reading())?,
        })
    }
}

/// What is being chosen.
struct Choice<'a, 'b> {
    work: &'a Work<'b>,
    aged: i64,
    retention: Retention,
    at_most: usize,
    numbers: Vec<u64>,
    /// How many versions of each content are to go.
    contents: BTreeMap<ContentId, usize>,
    chosen: BTreeSet<u64>,
    /// What stays.
    held: Held,
}

impl<'a, 'b> Choice<'a, 'b> {
    fn begin(
        work: &'a Work<'b>,
        aged: i64,
        retention: &Retention,
        at_most: usize,
    ) -> Result<Self, IndexError> {
        let (versions, bytes): (i64, i64) = work
            .conn
            .prepare_cached("SELECT count(*), coalesce(sum(size), 0) FROM history")
            .and_then(|mut statement| statement.query_row([], |sql| Ok((sql.get(0)?, sql.get(1)?))))
            .map_err(reading())?;
        let held = Held { versions: versions.cast_unsigned(), bytes: bytes.cast_unsigned() };
        let (numbers, contents, chosen) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        Ok(Self { work, aged, retention: *retention, at_most, numbers, contents, chosen, held })
    }

    fn choose(&mut self, candidate: &Candidate) {
        self.numbers.push(candidate.number);
        self.chosen.insert(candidate.number);
        *self.contents.entry(candidate.content).or_default() += 1;
        self.held.versions = self.held.versions.saturating_sub(1);
        self.held.bytes = self.held.bytes.saturating_sub(candidate.size);
    }

    fn by_age(&mut self) -> Result<(), IndexError> {
        let since = self.aged.saturating_sub(whole_seconds_up(self.retention.keep));
        let sql = select_candidates!("WHERE aged <= ?1 ORDER BY aged, number");
        let mut statement = self.work.conn.prepare_cached(sql).map_err(reading())?;
        let mut rows = statement.query([since]).map_err(reading())?;
        while self.numbers.len() < self.at_most
            && let Some(sql) = rows.next().map_err(reading())?
        {
            let candidate = Candidate::read(sql)?;
            if self.may_go(&candidate)? {
                self.choose(&candidate);
            }
        }
        Ok(())
    }

    /// The oldest of the path that takes most, until the rest is not too much. What a path had when it was deleted, or a
    /// reader's own change was given up or overtaken, goes only when nothing else can: nobody else may have it.
    fn by_size(&mut self) -> Result<(), IndexError> {
        self.by_size_of(false)?;
        if self.numbers.is_empty() {
            self.by_size_of(true)?;
        }
        Ok(())
    }

    fn by_size_of(&mut self, takes_last: bool) -> Result<(), IndexError> {
        let mut groups = Groups::default();
        let mut heaviest = BinaryHeap::new();
        while self.held.bytes > self.retention.bytes_max && self.numbers.len() < self.at_most {
            let most = heaviest.peek().map_or(0, |group: &Group| group.bytes);
            if let Some((path, bytes)) = groups.next_above(self.work, most)? {
                let versions = self.versions(path.as_deref(), takes_last)?;
                heaviest.push(Group { bytes, versions });
                continue;
            }
            let Some(mut group) = heaviest.pop() else { break };
            // Of one content the last version may be needed once the others have gone.
            let oldest = group.versions.pop_front();
            if let Some(oldest) = oldest {
                if self.may_go(&oldest)? {
                    self.choose(&oldest);
                    group.bytes = group.bytes.saturating_sub(oldest.size);
                }
                heaviest.push(group);
            }
        }
        Ok(())
    }

    /// The versions of a path that room may be made of, the oldest first.
    fn versions(&self, path: Option<&[u8]>, takes_last: bool) -> Result<VecDeque<Candidate>, IndexError> {
        let young = self.aged.saturating_sub(part(&self.retention));
        let sql = select_candidates!("WHERE path IS ?1 ORDER BY number");
        let mut statement = self.work.conn.prepare_cached(sql).map_err(reading())?;
        let mut rows = statement.query([path]).map_err(reading())?;
        let mut versions: VecDeque<Candidate> = VecDeque::new();
        let mut last = None;
        while versions.len() <= self.at_most
            && let Some(sql) = rows.next().map_err(reading())?
        {
            let candidate = Candidate::read(sql)?;
            last = Some((candidate.number, candidate.why));
            // What was not filed for this index: others may know, and have not said yet, what it is needed for.
            let is_strange = candidate.is_found && candidate.aged.is_none_or(|aged| aged > young);
            if candidate.size > 0 && !is_strange && !self.chosen.contains(&candidate.number) {
                versions.push_back(candidate);
            }
        }
        let is_all = rows.next().map_err(reading())?.is_none();
        if let Some((number, why)) = last
            && is_all
            && path.is_some()
            && !takes_last
            && [Why::Deleted, Why::Difference].map(why_as).contains(&why)
        {
            versions.pop_back_if(|candidate| candidate.number == number);
        }
        Ok(versions)
    }

    fn may_go(&self, candidate: &Candidate) -> Result<bool, IndexError> {
        Ok(candidate.is_named && !self.is_needed(candidate)?)
    }

    /// Whether a head names the bytes, and they stand nowhere else on this disk.
    fn is_needed(&self, candidate: &Candidate) -> Result<bool, IndexError> {
        let Candidate { content, .. } = candidate;
        if *content == UNKNOWN_CONTENT {
            return Ok(false);
        }
        let hash = prefix(content.as_bytes());
        let may_be_shown = self.work.memory.on_disk.count(hash) > 0;
        let mut is_named = false;
        for id in self.work.memory.contents.rows(hash) {
            let Some(row) = read_row(self.work.conn, id)? else { continue };
            if row.here.as_ref().is_some_and(|here| file_content(&here.version.kind) == Some(*content)) {
                return Ok(false);
            }
            is_named |= row.heads().iter().any(|head| file_content(&head.version.kind) == Some(*content));
            if is_named && !may_be_shown {
                break;
            }
        }
        Ok(is_named && !self.is_elsewhere_in_history(candidate)?)
    }

    fn is_elsewhere_in_history(&self, candidate: &Candidate) -> Result<bool, IndexError> {
        let going = self.contents.get(&candidate.content).copied().unwrap_or_default();
        // Of those that are held one is this, and as many are to go as were chosen.
        let wanted = going + 2;
        let mut statement = self
            .work
            .conn
            .prepare_cached("SELECT number FROM history WHERE content = ?1")
            .map_err(reading())?;
        let mut rows = statement.query([candidate.content.as_bytes()]).map_err(reading())?;
        let mut held = 0;
        while held < wanted && rows.next().map_err(reading())?.is_some() {
            held += 1;
        }
        Ok(held == wanted)
    }
}

/// A path, and what room may be made of there.
struct Group {
    /// What all of its versions take.
    bytes: u64,
    /// Those that may go, the oldest first.
    versions: VecDeque<Candidate>,
}

impl Group {
    fn key(&self) -> (u64, Option<core::cmp::Reverse<u64>>) {
        (self.bytes, self.versions.front().map(|oldest| core::cmp::Reverse(oldest.number)))
    }
}

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Group {}

impl PartialOrd for Group {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Group {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// A path, and what all of its versions take.
type Takes = (Option<Vec<u8>>, u64);

/// The paths by what their versions take, the most first. What has lost its path is one of them.
#[derive(Default)]
struct Groups {
    page: VecDeque<Takes>,
    pages: usize,
    is_end: bool,
}

impl Groups {
    /// The next path, if it takes at least so much.
    fn next_above(&mut self, work: &Work<'_>, bytes: u64) -> Result<Option<Takes>, IndexError> {
        if self.page.is_empty() && !self.is_end {
            self.turn(work)?;
        }
        Ok(self.page.pop_front_if(|(_, takes)| *takes > 0 && *takes >= bytes))
    }

    fn turn(&mut self, work: &Work<'_>) -> Result<(), IndexError> {
        let first = self.pages * PATHS_MAX;
        let mut statement = work
            .conn
            .prepare_cached(
                "SELECT path, sum(size) AS bytes FROM history GROUP BY path ORDER BY bytes DESC, path \
                 LIMIT ?1 OFFSET ?2",
            )
            .map_err(reading())?;
        let bound = [PATHS_MAX, first].map(crate::work::limit);
        let groups =
            statement.query_map(bound, |sql| Ok((sql.get(0)?, sql.get::<_, i64>(1)?))).map_err(reading())?;
        for group in groups {
            let (path, bytes) = group.map_err(reading())?;
            self.page.push_back((path, bytes.cast_unsigned()));
        }
        self.pages += 1;
        self.is_end = self.page.len() < PATHS_MAX || self.pages == PAGES_MAX;
        Ok(())
    }
}

fn part(retention: &Retention) -> i64 {
    whole_seconds(retention.part())
}

fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn whole_seconds_up(time: Duration) -> i64 {
    whole_seconds(time.saturating_add(Duration::from_nanos(999_999_999)))
}
