//! The versions that were replaced, so that what others changed can be undone.
//!
//! Promise: a replaced file is kept whole under its number, its path and sender in a table beside it; filing never
//! overwrites anything. The table may lag behind or lose its last line in a crash: a numbered file without a line is
//! still listed, and the next start gives it its name back from the list of its batch. Only [`History::prune`] and
//! [`History::remove`] remove: first the file, durably, then its line; so a crash between the two leaves a line that says
//! nothing. The line of the highest number stays, so that no number is ever given twice.
//!
//! The table is `history/table.tsv`: one line a version, `number, filed, size, mtime seconds, nanoseconds, by, path`.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub use shoal_engine::history::{HISTORY_BYTES_MAX, HISTORY_KEEP, Retention};

use crate::batch::{number_in, text_in};
use crate::durable::sync_names;
use crate::escape::{Escaped, shown, unescape};
use crate::folder::Shared;
use crate::fs::{Fs, FsDir, FsFile};
use crate::name::STATE_NAME;
use crate::number::Number;
use crate::os::Os;
use crate::path::TreePath;
use crate::stat::{FileTime, Kind};

/// The replaced versions of one folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History<F: Fs = Os> {
    pub(crate) folder: Arc<Shared<F>>,
}

/// A version that is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// Under what number; later ones are larger.
    pub number: u64,
    /// Where it was, from the root of the folder; `None` if a crash lost that.
    pub name: Option<TreePath>,
    /// What it is: a file, or a symbolic link.
    pub kind: Kind,
    /// Who replaced it; empty if that is not known.
    pub by: String,
    /// When it was replaced, in seconds since 1970.
    pub filed: i64,
    /// Its length in bytes.
    pub size: u64,
    /// When it was changed last.
    pub mtime: FileTime,
    /// A program had it open and wrote to it after it was replaced (E17).
    pub late_edit: bool,
}

/// What a pruning removed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pruned {
    /// How many versions.
    pub versions: u64,
    /// How many bytes they had.
    pub bytes: u64,
}

/// Why the history cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is no version with this number, or no longer.
    #[error("there is no version {number} in the history; list it to see which there are")]
    Missing {
        /// The number asked for.
        number: u64,
    },
    /// The system refuses.
    #[error("cannot {deed} {}", shown(.path))]
    Io {
        /// What was being done.
        deed: &'static str,
        /// The folder of the history.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl<F: Fs> History<F> {
    pub(crate) fn new(folder: Arc<Shared<F>>) -> Self {
        Self { folder }
    }

    /// All versions that are kept, in the order in which they were replaced.
    pub fn list(&self) -> Result<Vec<Kept>, HistoryError> {
        let _guard = self.folder.lock_table();
        self.folder.kept().map_err(|source| self.io_error("read", source))
    }

    /// The versions that are kept with numbers after `after`, by their numbers: at most so many, and the number after which
    /// there are more; `None`: there are not. Takes memory for these, however many there are.
    pub fn page(&self, after: Option<u64>, at_most: usize) -> Result<(Vec<Kept>, Option<u64>), HistoryError> {
        let _guard = self.folder.lock_table();
        self.folder.kept_page(after, at_most).map_err(|source| self.io_error("read", source))
    }

    /// Opens a version for reading.
    pub fn open(&self, number: u64) -> Result<F::File, HistoryError> {
        let name = Number(number).file_name();
        let open = || match self.folder.history.look(name.as_ref())? {
            Some(seen) if seen.kind == Kind::File => self.folder.history.open_file(name.as_ref()).map(Some),
            _ => Ok(None),
        };
        match open() {
            Ok(Some(file)) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(HistoryError::Missing { number }),
            Ok(None) => Err(HistoryError::Missing { number }),
            Err(source) => Err(self.io_error("read", source)),
        }
    }

    /// What a symbolic link says that is kept as a version.
    pub fn read_link(&self, number: u64) -> Result<OsString, HistoryError> {
        let name = Number(number).file_name();
        let read = || match self.folder.history.look(name.as_ref())? {
            Some(seen) if seen.kind == Kind::Symlink => {
                self.folder.history.read_link(name.as_ref()).map(Some)
            }
            _ => Ok(None),
        };
        match read() {
            Ok(Some(target)) => Ok(target),
            Ok(None) => Err(HistoryError::Missing { number }),
            Err(source) => Err(self.io_error("read", source)),
        }
    }

    /// Removes what is too old or too much, of a folder in which nothing is ever deleted and nobody needs what is kept: the
    /// last version of a name goes only when every name is down to one. `now` is the time by which age is counted.
    pub fn prune(&self, now: SystemTime, retention: &Retention) -> Result<Pruned, HistoryError> {
        let _guard = self.folder.lock_table();
        let prune = || {
            let kept = self.folder.kept()?;
            let doomed = choose_doomed(&kept, seconds(now), retention);
            let pruned = self.folder.remove_kept(doomed.iter().copied())?;
            if pruned.versions > 0 {
                self.folder.rewrite_table(&doomed)?;
            }
            Ok(pruned)
        };
        prune().map_err(|source| self.io_error("prune", source))
    }

    /// Removes these versions, durably; one that is not there is fine. Their lines stay until [`Self::tidy`].
    pub fn remove(&self, numbers: &[u64]) -> Result<Pruned, HistoryError> {
        let _guard = self.folder.lock_table();
        let removed = self.folder.remove_kept(numbers.iter().copied());
        removed.map_err(|source| self.io_error("prune", source))
    }

    /// Leaves the lines of versions that are gone out of the table. Takes time and memory for all lines.
    pub fn tidy(&self) -> Result<(), HistoryError> {
        let _guard = self.folder.lock_table();
        let tidy = || {
            let mut gone: BTreeSet<_> = self.folder.rows()?.into_keys().map(|number| number.0).collect();
            self.folder.history.for_each(|name, _| {
                if let Some(number) = Number::parse(name.as_encoded_bytes()) {
                    gone.remove(&number.0);
                }
            })?;
            if gone.is_empty() { Ok(()) } else { self.folder.rewrite_table(&gone) }
        };
        tidy().map_err(|source| self.io_error("prune", source))
    }

    fn io_error(&self, deed: &'static str, source: io::Error) -> HistoryError {
        HistoryError::Io { deed, path: self.folder.path.join(STATE_NAME).join("history"), source }
    }
}

/// Picks the numbers that go.
fn choose_doomed(kept: &[Kept], now: i64, retention: &Retention) -> BTreeSet<u64> {
    let keep = i64::try_from(retention.keep.as_secs()).unwrap_or(i64::MAX);
    let (old, young): (Vec<_>, Vec<_>) = kept.iter().partition(|kept| kept.filed.saturating_add(keep) < now);
    let mut doomed: BTreeSet<_> = old.iter().map(|kept| kept.number).collect();

    // The versions of each name, newest first, and the names by how much they take. A file that lost its name is alone.
    let mut names: BTreeMap<(Option<&TreePath>, u64), Vec<&Kept>> = BTreeMap::new();
    for kept in young.iter().rev() {
        let alone = if kept.name.is_some() { 0 } else { kept.number };
        names.entry((kept.name.as_ref(), alone)).or_default().push(kept);
    }
    let mut total: u64 = young.iter().map(|kept| kept.size).sum();
    let weigh = |versions: &[&Kept]| versions.iter().map(|kept| kept.size).sum::<u64>();
    // Ordered so that the last one has several versions, if any has, and among those takes most.
    let mut by_weight: BTreeSet<_> =
        names.iter().map(|(name, versions)| (versions.len() > 1, weigh(versions), *name)).collect();
    while total > retention.bytes_max
        && let Some((_, weight, name)) = by_weight.pop_last()
    {
        let Some(versions) = names.get_mut(&name) else { continue };
        let Some(oldest) = versions.pop() else { continue };
        doomed.insert(oldest.number);
        total -= oldest.size;
        if !versions.is_empty() {
            by_weight.insert((versions.len() > 1, weight - oldest.size, name));
        }
    }
    doomed
}

/// A line of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    pub(crate) number: Number,
    pub(crate) filed: i64,
    pub(crate) size: u64,
    pub(crate) mtime: FileTime,
    pub(crate) by: String,
    pub(crate) path: TreePath,
}

impl Row {
    fn encode(&self) -> String {
        let Self { number, filed, size, mtime: FileTime { secs, nanos }, by, path } = self;
        let by = Escaped(by.as_bytes());
        format!("{number}\t{filed}\t{size}\t{secs}\t{nanos}\t{by}\t{path}\n")
    }

    fn decode(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b'\t');
        let row = Self {
            number: Number::parse(fields.next()?)?,
            filed: number_in(fields.next()?)?,
            size: number_in(fields.next()?)?,
            mtime: FileTime { secs: number_in(fields.next()?)?, nanos: number_in(fields.next()?)? },
            by: text_in(fields.next()?)?,
            path: TreePath::parse(&unescape(fields.next()?)?).ok()?,
        };
        fields.next().is_none().then_some(row)
    }
}

impl<F: Fs> Shared<F> {
    /// Appends lines to the table and gives back its handle, to be synced; nothing at all without lines.
    pub(crate) fn append_rows(&self, rows: &[Row]) -> io::Result<Option<F::File>> {
        if rows.is_empty() {
            return Ok(None);
        }
        let _guard = self.lock_table();
        let mut table = self.history.open_append(TABLE.as_ref())?;
        let before = table.look_through()?.stat.size;
        let lines: String = rows.iter().map(Row::encode).collect();
        if let Err(error) = table.write_all(lines.as_bytes()) {
            // Half a line would spoil the next one too. Should this fail as well, the next start repairs it.
            let _ = table.set_len(before);
            return Err(error);
        }
        Ok(Some(table))
    }

    /// The lines of the table; one that cannot be read counts as lost.
    pub(crate) fn rows(&self) -> io::Result<BTreeMap<Number, Row>> {
        self.rows_in(Number(0)..=Number(u64::MAX))
    }

    /// The lines of versions with these numbers. Takes memory for those alone.
    fn rows_in(&self, numbers: RangeInclusive<Number>) -> io::Result<BTreeMap<Number, Row>> {
        let mut rows = BTreeMap::new();
        let mut table = match self.history.open_file(OsStr::new(TABLE)) {
            Ok(table) => BufReader::with_capacity(TABLE_READ_BYTES, table),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(rows),
            Err(error) => return Err(error),
        };
        let mut line = Vec::new();
        while table.read_until(b'\n', &mut line)? > 0 {
            let end = line.iter().position(|byte| *byte == b'\t').unwrap_or(0);
            if Number::parse(&line[..end]).is_some_and(|number| numbers.contains(&number)) {
                let row = line.strip_suffix(b"\n").and_then(Row::decode);
                rows.extend(row.map(|row| (row.number, row)));
            }
            line.clear();
        }
        Ok(rows)
    }

    /// Cuts off a last line that a crash has left half written, so that the next one does not run on in it.
    pub(crate) fn repair_table(&self) -> io::Result<()> {
        let bytes = self.table_bytes()?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole < bytes.len() {
            let table = self.history.open_append(TABLE.as_ref())?;
            table.set_len(whole as u64)?;
            table.sync()?;
        }
        Ok(())
    }

    /// The highest number that the history uses or has used.
    pub(crate) fn highest_kept(&self) -> io::Result<Number> {
        let mut highest = self.rows()?.keys().next_back().copied().unwrap_or(Number(0));
        self.history.for_each(|name, _| {
            highest = highest.max(Number::parse(name.as_encoded_bytes()).unwrap_or(Number(0)));
        })?;
        Ok(highest)
    }

    fn kept(&self) -> io::Result<Vec<Kept>> {
        Ok(self.kept_page(None, usize::MAX)?.0)
    }

    fn kept_page(&self, after: Option<u64>, at_most: usize) -> io::Result<(Vec<Kept>, Option<u64>)> {
        let (numbers, is_end) = self.numbers_after(after, at_most)?;
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
            return Ok((Vec::new(), None));
        };
        // Of the last one itself there may be nothing to tell.
        let next = (!is_end).then_some(last.0);
        let mut rows = self.rows_in(*first..=*last)?;
        let mut kept = Vec::with_capacity(numbers.len());
        for number in numbers {
            let Some(seen) = self.history.look(number.file_name().as_ref())? else { continue };
            if seen.kind == Kind::Folder {
                // A folder that the user put in the place of a file at the moment of a swap. It stays for him to find.
                continue;
            }
            let row = rows.remove(&number);
            kept.push(Kept {
                number: number.0,
                filed: row.as_ref().map_or(seen.stat.ctime.secs, |row| row.filed),
                size: seen.stat.size,
                mtime: seen.stat.mtime,
                late_edit: row
                    .as_ref()
                    .is_some_and(|row| (row.size, row.mtime) != (seen.stat.size, seen.stat.mtime)),
                by: row.as_ref().map_or_else(String::new, |row| row.by.clone()),
                name: row.map(|row| row.path),
                kind: seen.kind,
            });
        }
        Ok((kept, next))
    }

    /// The lowest numbers after this one, in order, and whether there are no more.
    fn numbers_after(&self, after: Option<u64>, at_most: usize) -> io::Result<(Vec<Number>, bool)> {
        let mut lowest = BinaryHeap::new();
        let mut is_end = true;
        self.history.for_each(|name, _| {
            let number = Number::parse(name.as_encoded_bytes());
            lowest.extend(number.filter(|number| after.is_none_or(|after| number.0 > after)));
            if lowest.len() > at_most {
                is_end = false;
                lowest.pop();
            }
        })?;
        Ok((lowest.into_sorted_vec(), is_end))
    }

    /// Removes versions, durably.
    fn remove_kept(&self, numbers: impl Iterator<Item = u64>) -> io::Result<Pruned> {
        let mut pruned = Pruned::default();
        for number in numbers {
            let name = Number(number).file_name();
            let Some(seen) = self.history.look(name.as_ref())? else { continue };
            if seen.kind == Kind::Folder {
                continue;
            }
            self.history.remove(name.as_ref())?;
            pruned.versions += 1;
            pruned.bytes += seen.stat.size;
        }
        if pruned.versions > 0 {
            sync_names(&self.history)?;
        }
        Ok(pruned)
    }

    /// Leaves the lines of removed versions out. Readers of the table see the old one or the new one.
    ///
    /// Afterwards every line is on the disk, also one that was only in memory because an earlier sync had failed: the
    /// system takes such bytes for written, and syncing the same file again would not write them.
    pub(crate) fn rewrite_table(&self, without: &BTreeSet<u64>) -> io::Result<()> {
        let rows = self.rows()?;
        let highest = rows.keys().next_back().copied();
        let stays = |row: &&Row| !without.contains(&row.number.0) || Some(row.number) == highest;
        let lines: String = rows.values().filter(stays).map(Row::encode).collect();
        self.history.remove(NEW_TABLE.as_ref())?;
        let mut table = self.history.create_new(NEW_TABLE.as_ref())?;
        table.write_all(lines.as_bytes())?;
        table.sync()?;
        self.history.move_over(NEW_TABLE.as_ref(), &self.history, TABLE.as_ref())?;
        sync_names(&self.history)
    }

    fn table_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.history.open_file(OsStr::new(TABLE)) {
            Ok(mut table) => table.read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(bytes)
    }

    /// The table has no state in memory that a panic could leave half changed.
    fn lock_table(&self) -> MutexGuard<'_, ()> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |secs| -secs),
    }
}

const TABLE: &str = "table.tsv";
const NEW_TABLE: &str = "table.new";

/// So much of the table is read at a time.
const TABLE_READ_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests;
