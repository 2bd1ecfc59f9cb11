//! Looking: one path, the children of a folder, what there is to do.
//!
//! Promise: pages in path order, each of bounded memory; a page tells of the index as it is when it is asked for.

use core::ops::ControlFlow;
use std::collections::BTreeMap;

use rusqlite::params;
use shoal_engine::planner::{Deed, Rights, decide};
use shoal_proto::heads::Below;
use shoal_proto::here::{Here, Triple};
use shoal_proto::limits::PATH_BYTES_MAX;
use shoal_proto::path::RelPath;
use shoal_proto::record::Kind;

use crate::error::IndexError;
use crate::packed::here_in;
use crate::row::{Row, blob, select_rows};
use crate::store::Index;
use crate::work::{find, limit, reading};

/// The rows that ask for something.
pub(crate) const DIVERGING: &str = select_rows!("diverging");

/// What lies between two bounds, which both must bound the search: a folder costs as much as is in it.
const BETWEEN: &str = select_rows!("path > ?1 AND path < ?2 ORDER BY path LIMIT ?3");
const SHOWN_BETWEEN: &str = "SELECT path, here FROM paths WHERE path > ?1 AND path < ?2 AND here IS NOT NULL \
                             ORDER BY path LIMIT ?3";
const FIRST_BETWEEN: &str = select_rows!("path >= ?1 AND path < ?2 ORDER BY path LIMIT 1");

impl Index {
    /// What is known of a path; `None`: nothing is here, and nobody has published anything.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn triple(&self, path: &RelPath) -> Result<Option<Triple>, IndexError> {
        let row = find(&self.conn, &self.memory, &self.life.share, path)?;
        Ok(row.map(|row| self.triple_of(row)))
    }

    /// Whether something live lies below a path.
    #[must_use]
    pub fn below(&self, path: &RelPath) -> Below {
        self.memory.folders.below(&self.life.share, path)
    }

    /// The paths whose here, base and heads ask for something, in path order: at most so many, those after `after`.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn diverging(&self, after: Option<&RelPath>, at_most: usize) -> Result<Vec<Triple>, IndexError> {
        let sql = select_rows!("diverging AND path > ?1 ORDER BY path LIMIT ?2");
        self.page(sql, params![after.map_or(&[][..], RelPath::as_bytes), limit(at_most)])
    }

    /// Hands over all paths that ask for something, one at a time, until `take` breaks off.
    pub(crate) fn each_diverging(
        &self,
        mut take: impl FnMut(Row) -> Result<ControlFlow<()>, IndexError>,
    ) -> Result<(), IndexError> {
        let mut statement = self.conn.prepare_cached(DIVERGING).map_err(reading())?;
        let mut rows = statement.query([]).map_err(reading())?;
        while let Some(sql) = rows.next().map_err(reading())? {
            if take(Row::read(sql)?)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// What the user of a device that only reads has changed at a path and below it (`None`: everywhere), and above it what
    /// stands, or is lacking, in the way of what the share has there. The first so many by their paths, and how many
    /// more there are.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn local_differences(
        &self,
        at: Option<&RelPath>,
        at_most: usize,
    ) -> Result<(Vec<Triple>, u64), IndexError> {
        let is_folder = |here: &Here| here.version.kind == Kind::Directory;
        let is_meant = |row: &Triple| {
            at.is_none_or(|at| {
                let is_in_the_way = at.is_below(&row.path) && !row.here.as_ref().is_some_and(is_folder);
                row.path == *at || row.path.is_below(at) || is_in_the_way
            })
        };
        let (mut found, mut more) = (BTreeMap::new(), 0);
        self.each_diverging(|row| {
            let row = self.triple_of(row);
            if is_meant(&row) && decide(&row, Rights::Reader).disk == Deed::LocalDifference {
                found.insert(row.path.clone(), row);
                if found.len() > at_most {
                    found.pop_last();
                    more += 1;
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((found.into_values().collect(), more))
    }

    /// All paths below a folder (`None`: all of the share), in path order, those after `after`; at most so many.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn paths_below(
        &self,
        folder: Option<&RelPath>,
        after: Option<&RelPath>,
        at_most: usize,
    ) -> Result<Vec<Triple>, IndexError> {
        let (first, end) = bounds_of(folder);
        let first = first.as_slice().max(after.map_or(&[], RelPath::as_bytes));
        self.page(BETWEEN, params![first, end, limit(at_most)])
    }

    /// What was last seen on this disk below a folder (`None`: of all of the share), in path order, that after `after`; at
    /// most so many. Nothing else of the rows is read, which makes it many times cheaper than [`Self::paths_below`].
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn shown(
        &self,
        folder: Option<&RelPath>,
        after: Option<&RelPath>,
        at_most: usize,
    ) -> Result<Vec<(RelPath, Here)>, IndexError> {
        let (first, end) = bounds_of(folder);
        let first = first.as_slice().max(after.map_or(&[], RelPath::as_bytes));
        let mut statement = self.conn.prepare_cached(SHOWN_BETWEEN).map_err(reading())?;
        let mut rows = statement.query(params![first, end, limit(at_most)]).map_err(reading())?;
        let mut shown = Vec::new();
        while let Some(sql) = rows.next().map_err(reading())? {
            let path = RelPath::parse(blob(sql, 0)?).map_err(IndexError::damaged)?;
            shown.extend(here_in(sql, 1)?.map(|here| (path, here)));
        }
        Ok(shown)
    }

    /// The children of a folder (`None`: of the share's root) of which something is known, in path order, those after
    /// `after`; at most so many. What lies deeper is skipped, not gone through.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn children(
        &self,
        folder: Option<&RelPath>,
        after: Option<&RelPath>,
        at_most: usize,
    ) -> Result<Vec<Triple>, IndexError> {
        let mut found: Vec<Triple> = Vec::new();
        let (prefix, end) = bounds_of(folder);
        // The least bytes after a path are its own and a zero, which no path has.
        let after = after.map(|after| [after.as_bytes(), b"\0"].concat());
        let mut from = prefix.clone().max(after.unwrap_or_default());
        while found.len() < at_most {
            let Some(next) = self.page(FIRST_BETWEEN, params![from, end])?.pop() else { break };
            let rest = &next.path.as_bytes()[prefix.len()..];
            match rest.iter().position(|&byte| byte == b'/') {
                // Something deeper: all that is below this name lies before the name and the byte after `/`.
                Some(slash) => from = [&next.path.as_bytes()[..prefix.len() + slash], b"0"].concat(),
                None => {
                    from = [next.path.as_bytes(), b"\0"].concat();
                    found.push(next);
                }
            }
        }
        Ok(found)
    }

    fn page(&self, sql: &str, params: &[&dyn rusqlite::ToSql]) -> Result<Vec<Triple>, IndexError> {
        let mut statement = self.conn.prepare_cached(sql).map_err(reading())?;
        let mut rows = statement.query(params).map_err(reading())?;
        let mut found = Vec::new();
        while let Some(sql) = rows.next().map_err(reading())? {
            found.push(self.triple_of(Row::read(sql)?));
        }
        Ok(found)
    }

    pub(crate) fn triple_of(&self, row: Row) -> Triple {
        let below = self.memory.folders.below(&self.life.share, &row.path);
        row.triple(below)
    }
}

/// What is below `a` lies between `a/` and `a0`, the byte after the slash; all paths lie between nothing and more bytes
/// than any path has.
fn bounds_of(folder: Option<&RelPath>) -> (Vec<u8>, Vec<u8>) {
    match folder {
        Some(folder) => ([folder.as_bytes(), b"/"].concat(), [folder.as_bytes(), b"0"].concat()),
        None => (Vec::new(), vec![0xff; PATH_BYTES_MAX + 1]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::index;

    #[test]
    fn a_folder_is_found_by_both_of_its_bounds() {
        let index = index(1);
        for sql in [BETWEEN, SHOWN_BETWEEN, FIRST_BETWEEN] {
            let plan = format!("EXPLAIN QUERY PLAN {sql}");
            let mut statement = index.conn.prepare(&plan).unwrap();
            for bound in 1..=statement.parameter_count() {
                statement.raw_bind_parameter(bound, 1).unwrap();
            }
            let told: Vec<String> =
                statement.raw_query().mapped(|row| row.get("detail")).map(Result::unwrap).collect();
            let is_bounded = |step: &String| {
                step.starts_with("SEARCH") && step.contains("path>?") && step.contains("path<?")
            };
            assert!(matches!(&told[..], [step] if is_bounded(step)), "{sql}: {told:?}");
        }
    }
}
