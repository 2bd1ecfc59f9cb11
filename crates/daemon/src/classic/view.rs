//! How the folder on disk looks to the protocol: plain names, mtimes in seconds.
//!
//! Promise: a file whose mtime the file system could not keep as it was listed still counts as that version, so
//! it is not fetched for ever (`E10`); what cannot be announced is told once, with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use shoal_classic::FileName;
use shoal_classic::plan::{Folder, Here};
use shoal_disk::{Name, Scan, Stat};

use super::Notice;

/// The view, shared by those who look at the folder and those who put files into it.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Files that got another mtime than they were listed with, as they are on disk, and the listed one.
    clamped: BTreeMap<Name, (Stat, i64)>,
    /// Names that were told of.
    told: BTreeSet<String>,
    /// How many files were put in place so far.
    placed: u64,
}

impl View {
    /// Notes what a file became that was put in place with this mtime.
    pub(super) fn placed(&self, name: &Name, stat: &Stat, mtime: i64) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.placed += 1;
        if stat.mtime.secs == mtime {
            memory.clamped.remove(name);
        } else {
            memory.clamped.insert(name.clone(), (*stat, mtime));
        }
    }

    /// How many files were put in place so far: a look at the folder that began with another number is old.
    pub(super) fn files_placed(&self) -> u64 {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).placed
    }

    /// The mtime of a file, as it counts for the protocol.
    pub(super) fn mtime(&self, name: &Name, stat: &Stat) -> i64 {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.mtime(name, stat)
    }

    /// Translates a scan.
    pub(super) fn take(&self, scan: Scan, tell: &mut dyn FnMut(Notice)) -> Folder {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut folder = Folder::new();
        for (name, stat) in scan.files {
            match file_name(&name) {
                Ok(file_name) => {
                    folder.insert(file_name, Here::File { mtime: memory.mtime(&name, &stat) });
                }
                Err(why) => memory.tell(name.to_string(), why, tell),
            }
        }
        for problem in scan.problems {
            // Escaped names parse as themselves unless something in them was escaped; such a name is only told.
            if let Ok(name) = FileName::parse(&problem.name) {
                folder.insert(name, Here::Blocked(problem.why.to_string()));
            }
            memory.tell(problem.name, problem.why.to_string(), tell);
        }
        folder
    }
}

impl Memory {
    fn mtime(&self, name: &Name, stat: &Stat) -> i64 {
        match self.clamped.get(name) {
            Some((seen, listed)) if seen.same_version(stat) => *listed,
            _ => stat.mtime.secs,
        }
    }

    fn tell(&mut self, name: String, why: String, tell: &mut dyn FnMut(Notice)) {
        if self.told.insert(name.clone()) {
            tell(Notice::Unlisted { name, why });
        }
    }
}

/// A name on disk as one of the protocol.
fn file_name(name: &Name) -> Result<FileName, String> {
    let text = name.to_str().ok_or("its name is not UTF-8, which the course protocol cannot carry")?;
    FileName::parse(text).map_err(|error| error.to_string())
}

/// A name of the protocol as one on disk.
pub(super) fn disk_name(name: &FileName) -> Result<Name, String> {
    Name::parse(name.as_str().as_bytes()).map_err(|error| error.to_string())
}
