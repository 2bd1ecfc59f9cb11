//! Giving what is there another time or other permissions.
//!
//! Promise: only what was planned against is touched, through a handle on it, and never through a name that it has
//! elsewhere (E16, I10); special bits are never set (I12).

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use crate::durable::sync_names;
use crate::fs::{FsDir, FsFile};
use crate::perform::{Certainty, Done};
use crate::stat::{Expected, FileTime, Kind, Look};
use crate::swap::is_change_of_user;
use crate::walk::enter;

/// What is to be set.
pub(crate) struct Retouch {
    pub(crate) mtime: Option<FileTime>,
    pub(crate) mode: Option<u32>,
    /// Whether it is made durable here and not with a whole batch.
    pub(crate) syncs: bool,
}

impl Retouch {
    /// Sets time and permissions through a handle on what was planned against. Between the last look and the setting a
    /// write can come and get our time; a later one changes it again, and is seen as the edit that it is.
    pub(crate) fn perform<D: FsDir>(&self, dir: &D, name: &OsStr, present: &Expected) -> Done {
        let seen = match dir.look(name) {
            Ok(Some(seen)) if present.is_met_by(&seen) => seen,
            Ok(_) => return Done::ChangedHere { kept: None },
            Err(source) => return Done::Failed(Certainty::NotDone, Arc::new(source)),
        };
        let touched = match seen.kind {
            Kind::File => self.file(dir, name, &seen),
            Kind::Folder => self.folder(dir, name, &seen),
            Kind::Symlink => self.link(dir, name, &seen),
            _ => return Done::ChangedHere { kept: None },
        };
        match touched {
            Ok(Some(now)) => Done::Well { now: Some(now), kept: None, late_edit: false },
            Ok(None) => Done::ChangedHere { kept: None },
            Err((certainty, source)) => Done::Failed(certainty, Arc::new(source)),
        }
    }

    fn file<D: FsDir>(&self, dir: &D, name: &OsStr, seen: &Look) -> Touch {
        let file = match dir.open_file(name) {
            Ok(file) => file,
            Err(error) if is_change_of_user(&error) => return Ok(None),
            Err(error) => return Err((Certainty::NotDone, error)),
        };
        let opened = file.look_through().map_err(not_done)?;
        if opened.stat.nlink > 1 {
            // Its other names may be outside of the share (E16, I10).
            return Err(not_done(Errno::MLINK.into()));
        }
        if opened.kind != Kind::File || !opened.stat.same_version(&seen.stat) {
            return Ok(None);
        }
        let mut certainty = Certainty::NotDone;
        if let Some(mode) = self.mode {
            file.set_mode(mode & 0o777).map_err(not_done)?;
            certainty = Certainty::Doubtful;
            if !file.look_through().map_err(not_confirmed)?.same_apart_from_rename(seen) {
                return Ok(None);
            }
        }
        if let Some(mtime) = self.mtime {
            file.set_mtime(mtime).map_err(|error| (certainty, error))?;
        }
        if self.syncs {
            file.sync().map_err(not_confirmed)?;
        }
        let now = file.look_through().map_err(not_confirmed)?;
        Ok(Some(now).filter(|now| now.stat.size == seen.stat.size))
    }

    fn folder<D: FsDir>(&self, dir: &D, name: &OsStr, seen: &Look) -> Touch {
        let Some(mode) = self.mode else { return Ok(Some(*seen)) };
        let Ok(opened) = enter(dir, name, seen) else { return Ok(None) };
        // What a folder has from the one above it, such as its group, is the user's wish.
        opened.set_mode(seen.stat.mode & 0o7000 | enterable(mode)).map_err(not_done)?;
        // Its permissions are its own, and no sync of the folder above takes them along.
        sync_names(&opened).map_err(not_confirmed)?;
        opened.look_through().map(Some).map_err(not_confirmed)
    }

    fn link<D: FsDir>(&self, dir: &D, name: &OsStr, seen: &Look) -> Touch {
        if let Some(mtime) = self.mtime {
            dir.set_link_mtime(name, mtime).map_err(not_done)?;
        }
        let now = dir.look(name).map_err(not_confirmed)?;
        Ok(now.filter(|now| now.kind == Kind::Symlink && now.is_same_thing(seen)))
    }
}

/// `None` if the user has been there; else what is there now.
type Touch = Result<Option<Look>, (Certainty, io::Error)>;

fn not_done(error: io::Error) -> (Certainty, io::Error) {
    (Certainty::NotDone, error)
}

fn not_confirmed(error: io::Error) -> (Certainty, io::Error) {
    (Certainty::Doubtful, error)
}

/// Permissions for a folder: whoever owns it can go on working in it, or we could not put anything there either.
pub(crate) fn enterable(mode: u32) -> u32 {
    mode & 0o777 | 0o700
}
