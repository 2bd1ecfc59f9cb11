//! What was displaced: listed, named, removed, and put back into the folder.
//!
//! Promise: what is listed is told as it is on the disk now, whoever wrote to it since (E17); a page takes memory for
//! itself alone. That a version has no name is only said of what is not there, or is no file of a share; what the system
//! could not read just now is asked about again (E20). What comes back is a copy, durable and in its place like any other
//! change, and its name is that of the bytes that were copied; the version stays where it is. What is ignored is not
//! touched (I21).

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};

use shoal_engine::disk::{Answer, Committed, Restore, Restored, Seen};
use shoal_engine::history::{Kept, Naming};
use shoal_engine::index::List;
use shoal_proto::hash::ContentId;
use shoal_proto::path::RelPath;
use shoal_proto::segment::Segment;

use super::changing::{Changing, Refused, cannot_stage, stage_copy};
use super::taking::list;
use super::words;
use crate::content::{Content, ContentError, Opened};
use crate::fault::{Point, reach};
use crate::folder::Shared;
use crate::fs::{Fs, FsDir};
use crate::history::{History, HistoryError};
use crate::number::Number;
use crate::path::TreePath;
use crate::stage::{FinishedFile, Staging};
use crate::stat::Kind;

/// So many versions are told of at a time.
const PAGE_MAX: usize = if cfg!(test) { 4 } else { 4096 };

/// A page of the history, in the order of numbers.
pub(super) fn page<F: Fs>(history: &History<F>, after: Option<u64>) -> Answer {
    let (kept, next) = match history.page(after, PAGE_MAX) {
        Ok(page) => page,
        Err(error) => return Answer::Failed(words::told(&error)),
    };
    let kept = kept.into_iter().map(|kept| {
        let (by, why) = words::who_of(&kept.by);
        Kept {
            number: kept.number,
            path: kept.name.and_then(|path| path.rel_path()),
            content: None,
            size: kept.size,
            mtime: kept.mtime.into(),
            when: words::second(kept.filed),
            by,
            why,
            is_late: kept.late_edit,
        }
    });
    Answer::History { kept: kept.collect(), next }
}

/// What a version is.
pub(super) fn name<F: Fs>(history: &History<F>, number: u64) -> Answer {
    let naming = match open(history, number).and_then(|opened| named(&opened).map(|named| (opened, named))) {
        Ok((opened, (content, list))) => {
            Naming::Is { content, list, size: opened.stat().size, mtime: opened.stat().mtime.into() }
        }
        Err(Unnamed::Changes) => Naming::Changes,
        Err(Unnamed::Nothing) => Naming::Nothing,
        Err(Unnamed::Failed(why)) => return Answer::Failed(why),
    };
    Answer::Named(naming)
}

/// Removes versions; `tidies`: and what is written down of those that are gone.
pub(super) fn prune<F: Fs>(history: &History<F>, numbers: &[u64], tidies: bool) -> Answer {
    let removed = history.remove(numbers).and_then(|_| if tidies { history.tidy() } else { Ok(()) });
    match removed {
        Ok(()) => Answer::Pruned,
        Err(error) => Answer::Failed(words::told(&error)),
    }
}

/// Why a version has no name.
enum Unnamed {
    Changes,
    /// It is not there, or never will be a file of a share.
    Nothing,
    /// The system refuses, for now; the text says why.
    Failed(String),
}

impl From<ContentError> for Unnamed {
    fn from(error: ContentError) -> Self {
        match error {
            ContentError::TooLarge { .. } => Self::Nothing,
            error => Self::Failed(words::told(&error)),
        }
    }
}

fn open<F: Fs>(history: &History<F>, number: u64) -> Result<Opened<F>, Unnamed> {
    let file = history.open(number).map_err(|error| match error {
        HistoryError::Missing { .. } => Unnamed::Nothing,
        error => Unnamed::Failed(words::told(&error)),
    })?;
    let opened = Opened::of_history(file, TreePath::of_number("version", number));
    match opened {
        Ok(opened) => Ok(opened.until(&history.folder.ends)),
        Err(error) => Err(Unnamed::Failed(format!("cannot look at version {number}: {error}"))),
    }
}

/// The content of a version, and its segments, if there are several.
fn named<F: Fs>(opened: &Opened<F>) -> Result<(ContentId, Option<List>), Unnamed> {
    let mut segments: Vec<Segment> = Vec::new();
    match opened.cut(|segment| segments.push(segment))? {
        Content::Whole(listed) => {
            let content = listed.content;
            Ok((content, list(listed, segments).map_err(|_| Unnamed::Nothing)?))
        }
        Content::Changed => Err(Unnamed::Changes),
    }
}

/// One job of putting a version back.
pub(super) struct Restoring<'a, F: Fs> {
    pub(super) folder: &'a Arc<Shared<F>>,
    pub(super) changing: &'a Changing<'a, F>,
}

/// A copy of a version, ready to be put in place.
struct Copied<F: Fs> {
    staged: FinishedFile<F>,
    content: ContentId,
    list: Option<List>,
    /// What a link says.
    target: Option<OsString>,
}

impl<F: Fs> Restoring<'_, F> {
    /// Copies the version, then puts the copy in place; `committing` is held for that alone.
    pub(super) fn perform(&self, asked: Restore, committing: &Mutex<()>) -> Restored {
        let Restore { number, to, over, by } = asked;
        if let Err(refused) = self.changing.require_placeable(&to) {
            return Restored::Not(*refused);
        }
        let Copied { staged, content, list, target } = match self.copy(number, &to) {
            Ok(Some(copied)) => copied,
            Ok(None) => return Restored::Missing,
            Err(refused) => return Restored::Not(*refused),
        };
        let _guard = committing.lock().unwrap_or_else(PoisonError::into_inner);
        let target = target.as_ref().map(|target| target.as_bytes());
        match self.changing.put(&to, staged, over.as_ref(), by, target) {
            Committed::Done { now: Some(now), kept } => {
                Restored::Done { here: Seen::with_content(now, content), list, kept }
            }
            Committed::Done { now: None, .. } => {
                Restored::Not(Committed::Failed("it is not what was put there".to_owned()))
            }
            other => Restored::Not(other),
        }
    }

    /// A staged copy with the version's own time and permissions; `None`: there is no such version.
    fn copy(&self, number: u64, to: &RelPath) -> Result<Option<Copied<F>>, Refused> {
        let history = History::new(Arc::clone(self.folder));
        let name = Number(number).file_name();
        let look = self.folder.history.look(name.as_ref());
        let failed = |error: &dyn std::error::Error| Box::new(Committed::Failed(words::told(error)));
        match look.map_err(|error| failed(&error))?.map(|look| (look.kind, look.stat.mtime)) {
            Some((Kind::File, _)) => self.copy_file(&history, number, to).map(Some),
            Some((Kind::Symlink, mtime)) => {
                let target = match history.read_link(number) {
                    Ok(target) => target,
                    Err(HistoryError::Missing { .. }) => return Ok(None),
                    Err(error) => return Err(failed(&error)),
                };
                let staging = Staging::new(Arc::clone(self.folder));
                let staged = staging.symlink_at(to, &target, mtime).map_err(|error| cannot_stage(&error))?;
                Ok(Some(Copied { staged, content: ContentId::NONE, list: None, target: Some(target) }))
            }
            _ => Ok(None),
        }
    }

    fn copy_file(&self, history: &History<F>, number: u64, to: &RelPath) -> Result<Copied<F>, Refused> {
        let refused = |why| match why {
            Unnamed::Changes => Committed::ChangedHere { kept: None },
            Unnamed::Nothing => Committed::Failed(format!("cannot read version {number} of the history")),
            Unnamed::Failed(why) => Committed::Failed(why),
        };
        let opened = open(history, number).map_err(refused)?;
        let (content, list) = named(&opened).map_err(refused)?;
        reach(Point::Named);
        let stat = opened.stat();
        let staged = stage_copy(self.folder, to, &opened, (stat.mtime, stat.mode))?;
        // Who wrote to the version within one tick of the clock since it was named left no other trace than the bytes.
        let copy = staged.slot.open().and_then(|file| Opened::<F>::of_history(file, staged.name().clone()));
        let copy = copy.map_err(|error| Committed::Failed(format!("cannot read the copy: {error}")))?;
        if named(&copy.until(&self.folder.ends)).map_err(refused)?.0 != content {
            return Err(Committed::ChangedHere { kept: None }.into());
        }
        Ok(Copied { staged, content, list, target: None })
    }
}
