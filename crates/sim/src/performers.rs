//! Who performs the jobs of an engine: the real index, and the real disk layer over a disk in memory.
//!
//! Promise: this is the only place that knows how `index` and `disk` are called; a job is performed whole when it is
//! called, and answered once.

use std::path::Path;

use shoal_disk::mem::MemDisk;
use shoal_disk::{Folder, FolderOptions};
use shoal_engine::{disk, index};
use shoal_index::Index;

/// The folder of the share, on every disk.
pub const FOLDER: &str = "/home/share";

/// A folder that is open, and who works in it. Its locks are free once it is dropped.
#[derive(Debug)]
pub struct Worker {
    worker: shoal_disk::Worker<MemDisk>,
}

impl Worker {
    /// Opens the share's folder on a disk, and clears up what a crash has left there. `was_unclean`: the machine was not
    /// shut down.
    ///
    /// # Errors
    /// When the folder cannot be opened; the text says why.
    pub fn open(disk: &MemDisk, was_unclean: bool) -> Result<Self, String> {
        let (folder, _) = Folder::open_on(disk, Path::new(FOLDER), &FolderOptions::default())
            .map_err(|error| error.to_string())?;
        let worker = shoal_disk::Worker::new(&folder);
        worker.was_unclean(was_unclean);
        Ok(Self { worker })
    }

    /// Performs a job.
    pub fn perform(&mut self, job: disk::Job) -> disk::Answer {
        self.worker.perform(job)
    }
}

/// Performs a job of an index.
pub fn perform_index(job: index::Job, index: &mut Index) -> index::Answer {
    index::perform(job, index)
}
