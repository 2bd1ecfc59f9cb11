//! The rows that one job reads and changes, found by their paths.
//!
//! Promise: a path has one row at most, which keeps its place here until the job ends. The row that was asked for last
//! is found without a hash, since a job mostly asks for one row several times and then for the next.

use shoal_proto::path::RelPath;

use crate::row::Row;
use crate::table::Table;

#[derive(Debug, Default)]
pub(crate) struct Rows {
    all: Vec<Row>,
    /// From the place of a path to where its row stands in `all`, from 1.
    places: Table,
    last: usize,
}

impl Rows {
    /// Where the row of this path stands, if it was the last one that was asked for.
    pub(crate) fn last(&self, path: &RelPath) -> Option<usize> {
        self.all.get(self.last).filter(|row| row.path == *path).map(|_| self.last)
    }

    /// Where the row of this path stands. `place` is the path's.
    pub(crate) fn find(&mut self, place: u64, path: &RelPath) -> Option<usize> {
        let is_its = |at: &usize| self.all.get(*at).is_some_and(|row| row.path == *path);
        let found = self.places.rows(place).map(|number| number as usize - 1).find(is_its)?;
        self.last = found;
        Some(found)
    }

    /// Puts in the row of a path that has none here; `None` if there are as many as there can be numbers.
    pub(crate) fn push(&mut self, row: Row) -> Option<usize> {
        let number = u32::try_from(self.all.len()).ok()?.checked_add(1)?;
        self.places.insert(row.place, number);
        self.all.push(row);
        self.last = self.all.len() - 1;
        Some(self.last)
    }

    /// The row that stands there.
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut Row> {
        self.all.get_mut(at)
    }

    /// All of them, as they came.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        self.all.iter_mut()
    }

    /// All of them, and where they stand in the order of their paths. The rows themselves stay where they are: they
    /// are large.
    pub(crate) fn into_order(self) -> (Vec<Row>, Vec<usize>) {
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        // A stable sort is quick with what is nearly in order, as jobs are.
        order.sort_by(|&one, &other| self.all[one].path.cmp(&self.all[other].path));
        (self.all, order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn rows_are_told_apart_by_their_paths_and_keep_their_places() {
        let mut rows = Rows::default();
        assert_eq!((rows.last(&path("b")), rows.find(7, &path("b"))), (None, None));
        // Two of them with one place, as a liar could wish for.
        for (text, place, at) in [("b", 7, 0), ("a", 7, 1), ("c", 8, 2)] {
            assert_eq!(rows.push(Row::new(path(text), place)), Some(at));
            assert_eq!(rows.last(&path(text)), Some(at));
        }
        assert_eq!((rows.find(7, &path("a")), rows.last(&path("a"))), (Some(1), Some(1)));
        assert_eq!((rows.find(7, &path("b")), rows.last(&path("a"))), (Some(0), None));
        assert_eq!((rows.find(7, &path("c")), rows.find(8, &path("c"))), (None, Some(2)));
        let (all, order) = rows.into_order();
        assert_eq!(order, [1, 0, 2]);
        assert_eq!(all[order[0]].path, path("a"));
    }
}
