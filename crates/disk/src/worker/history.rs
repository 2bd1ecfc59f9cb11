//! What was displaced: listed, named, removed, and put back into the folder.
//!
//! Promise: what is listed is told as it is on the disk now, whoever wrote to it since (E17); a page takes memory for
//! itself alone. What comes back is a copy, durable and in its place like any other change, and its name is that of the
//! bytes that were copied; the version stays where it is. What is ignored is not touched (I21).

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
use crate::content::{Content, Opened};
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
    let (kept, is_end) = match history.page(after, PAGE_MAX) {
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
    Answer::History(kept.collect(), is_end)
}

/// What a version is.
pub(super) fn name<F: Fs>(history: &History<F>, number: u64) -> Naming {
    let named = open(history, number).and_then(|opened| named(&opened).map(|named| (opened, named)));
    match named {
        Ok((opened, (content, list))) => {
            Naming::Is { content, list, size: opened.stat().size, mtime: opened.stat().mtime.into() }
        }
        Err(Unnamed::Changes) => Naming::Changes,
        Err(Unnamed::Nothing) => Naming::Nothing,
    }
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
    Nothing,
}

fn open<F: Fs>(history: &History<F>, number: u64) -> Result<Opened<F>, Unnamed> {
    let file = history.open(number).map_err(|_| Unnamed::Nothing)?;
    Opened::of_history(file, TreePath::of_number("version", number)).map_err(|_| Unnamed::Nothing)
}

/// The content of a version, and its segments, if there are several.
fn named<F: Fs>(opened: &Opened<F>) -> Result<(ContentId, Option<List>), Unnamed> {
    let mut segments: Vec<Segment> = Vec::new();
    match opened.cut(|segment| segments.push(segment)) {
        Ok(Content::Whole(listed)) => {
            let content = listed.content;
            Ok((content, list(listed, segments).map_err(|_| Unnamed::Nothing)?))
        }
        Ok(Content::Changed) => Err(Unnamed::Changes),
        Err(_) => Err(Unnamed::Nothing),
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
        let unreadable = |why| match why {
            Unnamed::Changes => Committed::ChangedHere { kept: None },
            Unnamed::Nothing => Committed::Failed(format!("cannot read version {number} of the history")),
        };
        let opened = open(history, number).map_err(unreadable)?;
        // It is read twice, and both times as the same version: so the name is that of what was copied.
        let (content, list) = named(&opened).map_err(unreadable)?;
        let stat = opened.stat();
        let staged = stage_copy(self.folder, to, &opened, (stat.mtime, stat.mode))?;
        Ok(Copied { staged, content, list, target: None })
    }
}
