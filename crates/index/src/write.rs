//! Rows as they are written.
//!
//! Promise: a row is written whole. Statements are prepared once a job. A row that is new is inserted and one that was
//! there is updated, never replaced: replacing may touch other rows, so SQLite would copy each page first, for every row.
//! New rows are inserted several at a time: then SQLite finds the place of the next beside that of the last.

use rusqlite::{CachedStatement, Connection, Statement, ToSql, params};

use crate::error::IndexError;
use crate::row::Row;
use crate::work::writing;

/// Writes the rows of one job.
pub(crate) struct RowWriter<'a> {
    insert: CachedStatement<'a>,
    insert_many: CachedStatement<'a>,
    update: CachedStatement<'a>,
    delete: CachedStatement<'a>,
    /// Where those new rows stand that are still to be written, and whether they diverge.
    new: Vec<(usize, bool)>,
    heads: Vec<u8>,
    here: Vec<u8>,
}

/// How many rows one statement inserts.
const MANY: usize = 16;

/// How many columns a row has.
const COLUMNS: usize = 9;

const INSERT: &str =
    "INSERT INTO paths (id, heads, base, standing, live, diverging, here, path, place) VALUES ";

impl<'a> RowWriter<'a> {
    pub(crate) fn prepare(conn: &'a Connection) -> Result<Self, IndexError> {
        let prepare = |sql: &str| conn.prepare_cached(sql).map_err(writing());
        let values = |rows: usize| vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?)"; rows].join(", ");
        Ok(Self {
            insert: prepare(&(INSERT.to_owned() + &values(1)))?,
            insert_many: prepare(&(INSERT.to_owned() + &values(MANY)))?,
            update: prepare(
                "UPDATE paths SET heads = ?2, base = ?3, standing = ?4, live = ?5, diverging = ?6, here = ?7 \
                 WHERE id = ?1",
            )?,
            delete: prepare("DELETE FROM paths WHERE id = ?1")?,
            new: Vec::with_capacity(MANY),
            heads: Vec::new(),
            here: Vec::new(),
        })
    }

    /// Remembers a row that was not there, to be written with others.
    pub(crate) fn insert(&mut self, at: usize, is_diverging: bool) {
        self.new.push((at, is_diverging));
    }

    /// Writes new rows if there are enough for one statement.
    pub(crate) fn flush_many(&mut self, rows: &[Row]) -> Result<(), IndexError> {
        if self.new.len() < MANY {
            return Ok(());
        }
        for (number, (at, is_diverging)) in self.new.drain(..).enumerate() {
            let buffers = (&mut self.heads, &mut self.here);
            bind(&mut self.insert_many, number, &rows[at], is_diverging, buffers)?;
        }
        self.insert_many.raw_execute().map(drop).map_err(writing())
    }

    /// Writes all new rows that are left.
    pub(crate) fn flush(&mut self, rows: &[Row]) -> Result<(), IndexError> {
        self.flush_many(rows)?;
        for (at, is_diverging) in self.new.drain(..) {
            let buffers = (&mut self.heads, &mut self.here);
            bind(&mut self.insert, 0, &rows[at], is_diverging, buffers)?;
            self.insert.raw_execute().map_err(writing())?;
        }
        Ok(())
    }

    /// Writes what changed of a row; its path never does.
    pub(crate) fn update(&mut self, row: &Row, is_diverging: bool) -> Result<(), IndexError> {
        let (base, here) = encode(row, &mut self.heads, &mut self.here);
        self.update
            .execute(params![
                row.id,
                self.heads,
                base,
                row.standing as u8,
                row.is_live(),
                is_diverging,
                here.then_some(&self.here),
            ])
            .map(drop)
            .map_err(writing())
    }

    /// Takes a row out.
    pub(crate) fn delete(&mut self, row: &Row) -> Result<(), IndexError> {
        self.delete.execute([row.id]).map(drop).map_err(writing())
    }
}

/// Gives a statement the values of its row with this number.
fn bind(
    statement: &mut Statement<'_>,
    number: usize,
    row: &Row,
    is_diverging: bool,
    (heads, here): (&mut Vec<u8>, &mut Vec<u8>),
) -> Result<(), IndexError> {
    let (base, has_here) = encode(row, heads, here);
    let values: [&dyn ToSql; COLUMNS] = [
        &row.id,
        heads,
        &base,
        &(row.standing as u8),
        &row.is_live(),
        &is_diverging,
        &has_here.then_some(here.as_slice()),
        &row.path.as_bytes(),
        &row.place.cast_signed(),
    ];
    for (value, column) in values.into_iter().zip(1 + number * COLUMNS..) {
        statement.raw_bind_parameter(column, value).map_err(writing())?;
    }
    Ok(())
}

/// Fills the buffers; the base, and whether anything is here.
fn encode(row: &Row, heads: &mut Vec<u8>, here: &mut Vec<u8>) -> (Option<Vec<u8>>, bool) {
    row.encode_heads(heads);
    if let Some(shown) = &row.here {
        crate::packed::pack(shown, here);
    }
    (row.encoded_base(), row.here.is_some())
}
