//! Rows as they are written.
//!
//! Promise: a row is written whole. Statements are prepared once a job. A row that is new is inserted and one that was
//! there is updated, never replaced: replacing may touch other rows, so SQLite would copy each page first, for every row.

use rusqlite::{CachedStatement, Connection, params};

use crate::error::IndexError;
use crate::row::Row;
use crate::work::writing;

/// Writes the rows of one job.
pub(crate) struct RowWriter<'a> {
    insert: CachedStatement<'a>,
    update: CachedStatement<'a>,
    delete: CachedStatement<'a>,
    heads: Vec<u8>,
    here: Vec<u8>,
}

impl<'a> RowWriter<'a> {
    pub(crate) fn prepare(conn: &'a Connection) -> Result<Self, IndexError> {
        let prepare = |sql| conn.prepare_cached(sql).map_err(writing());
        Ok(Self {
            insert: prepare(
                "INSERT INTO paths (id, heads, base, standing, live, diverging, here, path, place) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
            update: prepare(
                "UPDATE paths SET heads = ?2, base = ?3, standing = ?4, live = ?5, diverging = ?6, here = ?7 \
                 WHERE id = ?1",
            )?,
            delete: prepare("DELETE FROM paths WHERE id = ?1")?,
            heads: Vec::new(),
            here: Vec::new(),
        })
    }

    /// Writes a row that was not there.
    pub(crate) fn insert(&mut self, row: &Row, is_diverging: bool) -> Result<(), IndexError> {
        let (base, here) = self.encode(row);
        self.insert
            .execute(params![
                row.id,
                self.heads,
                base,
                row.standing as u8,
                row.is_live(),
                is_diverging,
                here.then_some(&self.here),
                row.path.as_bytes(),
                row.place.cast_signed(),
            ])
            .map(drop)
            .map_err(writing())
    }

    /// Writes what changed of a row; its path never does.
    pub(crate) fn update(&mut self, row: &Row, is_diverging: bool) -> Result<(), IndexError> {
        let (base, here) = self.encode(row);
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

    /// Fills the buffers; the base, and whether anything is here.
    fn encode(&mut self, row: &Row) -> (Option<Vec<u8>>, bool) {
        row.encode_heads(&mut self.heads);
        if let Some(here) = &row.here {
            crate::packed::pack(here, &mut self.here);
        }
        (row.encoded_base(), row.here.is_some())
    }
}
