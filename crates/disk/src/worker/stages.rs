//! The staged files of the engine, by the numbers that it gives them.
//!
//! Promise: nothing is written into a staged file that is not what it must be (I9, I25); bytes come at any place, in any
//! order, from others or from this disk. A disk that is full stops the writing and nothing else (I20).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shoal_engine::disk::{Source, StageId, Write, Written};
use shoal_proto::limits::FILE_BYTES_MAX;
use shoal_proto::segment::Segment;

use super::reading::{Assembled, Reader, assemble};
use super::words;
use crate::folder::Shared;
use crate::fs::Fs;
use crate::path::TreePath;
use crate::stage::{PartFile, StageError, Staging};

/// The staged files that were begun and neither committed nor dropped.
#[derive(Debug)]
pub(super) struct Stages<F: Fs> {
    folder: Arc<Shared<F>>,
    /// The lock of a file is held while it is written or read; who has it never waits for the table.
    files: Mutex<BTreeMap<StageId, Entry<F>>>,
    /// Those that may have a handle open: written to, or read, since handles were given back.
    open: Mutex<BTreeSet<StageId>>,
}

/// Empty once it was taken to be committed.
type Entry<F> = Arc<Mutex<Option<PartFile<F>>>>;

impl<F: Fs> Stages<F> {
    pub(super) fn new(folder: Arc<Shared<F>>) -> Self {
        Self { folder, files: Mutex::default(), open: Mutex::default() }
    }

    /// Checks bytes and writes them.
    pub(super) fn write(&self, reader: &mut Reader<'_, F>, write: Write) -> Written {
        let Write { stage, size, offset, segment, from } = write;
        let is_within = offset.checked_add(segment.length.into()).is_some_and(|end| end <= size);
        if !is_within || size > FILE_BYTES_MAX {
            self.forget(stage);
            return Written::Failed("a segment that is not within its file".to_owned());
        }
        // Zeros need to be read from nowhere.
        let pieces = match from {
            Source::Bytes(pieces) if segment.is_made_of(&pieces) => {
                Some(pieces).filter(|_| segment != Segment::ZEROS)
            }
            Source::Bytes(_) => return Written::False,
            Source::Places(_) if segment == Segment::ZEROS => None,
            Source::Places(places) => {
                let read = |place| reader.read_at(place, segment.length).filter(|bytes| segment.is(bytes));
                match places.iter().find_map(read) {
                    Some(bytes) => Some(vec![bytes]),
                    None => return Written::NotHere,
                }
            }
            Source::Chunks { compared, came } => {
                let near = reader.near(&compared);
                match assemble(&segment, &compared, &near, &came) {
                    Assembled::Whole(bytes) => Some(vec![bytes]),
                    Assembled::NotHere => return Written::NotHere,
                    Assembled::False => return Written::False,
                }
            }
        };
        let written = self.with(stage, size, |file| match &pieces {
            Some(pieces) => file.write_at(pieces, offset),
            None => file.write_zeros_at(segment.length.into(), offset),
        });
        match written {
            Ok(()) => Written::Done,
            Err(error) if error.is_out_of_space() => Written::NoSpace,
            Err(error) => {
                self.forget(stage);
                Written::Failed(words::told(&error))
            }
        }
    }

    /// Bytes of a staged file, if all of them were written.
    pub(super) fn read(&self, stage: StageId, offset: u64, length: usize) -> Option<Vec<u8>> {
        let entry = self.files().get(&stage).cloned()?;
        self.open().insert(stage);
        let mut file = lock(&entry);
        file.as_mut()?.read_at(length, offset).ok()?
    }

    /// Takes a file out to be committed, if it is there, has this size, and all of it was written.
    pub(super) fn take(&self, stage: StageId, size: u64) -> Option<PartFile<F>> {
        let mut files = self.files();
        let entry = files.get(&stage).cloned()?;
        let mut file = lock(&entry);
        if !file.as_ref().is_some_and(|file| file.size() == size && file.is_whole()) {
            return None;
        }
        files.remove(&stage);
        file.take()
    }

    /// Drops a file, and its bytes with it.
    pub(super) fn forget(&self, stage: StageId) {
        self.files().remove(&stage);
    }

    /// Gives handles back once there are too many; whole files need none until they are committed.
    pub(super) fn close_some(&self) {
        let (mut left, stages) = (0, core::mem::take(&mut *self.open()));
        for stage in stages {
            let Some(entry) = self.files().get(&stage).cloned() else { continue };
            let mut file = lock(&entry);
            let Some(file) = file.as_mut().filter(|file| file.is_open()) else { continue };
            if file.is_whole() || left >= STAGES_OPEN_MAX {
                file.close();
            } else {
                left += 1;
                self.open().insert(stage);
            }
        }
    }

    /// How many handles there are.
    #[cfg(test)]
    pub(super) fn open_files(&self) -> usize {
        let entries: Vec<_> = self.files().values().cloned().collect();
        entries.iter().filter(|entry| lock(entry).as_ref().is_some_and(PartFile::is_open)).count()
    }

    /// Does something to a staged file, which is begun if there is none.
    fn with(
        &self,
        stage: StageId,
        size: u64,
        deed: impl FnOnce(&mut PartFile<F>) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let entry = Arc::clone(self.files().entry(stage).or_default());
        self.open().insert(stage);
        let mut file = lock(&entry);
        let begun = match file.take() {
            Some(file) if file.size() == size => Ok(file),
            // Two plans for one number: neither is to be trusted.
            Some(file) => {
                return Err(StageError::WrongLength {
                    name: called(stage),
                    announced: file.size(),
                    written: size,
                });
            }
            None => Staging::new(Arc::clone(&self.folder)).create_in_parts(&called(stage), size),
        };
        match begun {
            Ok(begun) => deed(file.insert(begun)),
            Err(error) => {
                drop(file);
                self.forget(stage);
                Err(error)
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeSet<StageId>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table is whole at any moment.
    fn files(&self) -> MutexGuard<'_, BTreeMap<StageId, Entry<F>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is written is noted after it was written, so that a panic leaves nothing that is not so.
fn lock<F: Fs>(entry: &Entry<F>) -> MutexGuard<'_, Option<PartFile<F>>> {
    entry.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a staged file is called where something is wrong with it.
fn called(stage: StageId) -> TreePath {
    TreePath::of_number("staged file", stage.0)
}

/// So many staged files that are not whole are held open; a process may have some thousand handles.
const STAGES_OPEN_MAX: usize = 64;
