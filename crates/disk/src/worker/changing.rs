//! Committing: what the engine asks for, as changes of the tree, and what came of them.
//!
//! Promise: the changes are made in their order; each that is refused here has changed nothing, and says why. What is
//! ignored is not touched (I21), what a disk would take for another name is not written over (E6), and a file with other
//! names is given its time and permissions in a copy of its own (E16).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::io::Errno;
use shoal_engine::disk::{Change, ChangeDeed, Committed, Seen, SeenKind, StageId};
use shoal_engine::history::{Kept, Why};
use shoal_proto::id::DeviceId;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind as Of, Mode, Timestamp, Version};

use super::guard::{Guard, Text, is_of_rules};
use super::looking::Looker;
use super::rules::{IGNORE_BYTES_MAX, Of as What, Rules};
use super::stages::Stages;
use super::words;
use crate::change::{self, ChangeError, TreeDeed, TreeOutcome};
use crate::content::{Opened, Span};
use crate::folder::Shared;
use crate::fs::{Fs, FsDir};
use crate::number::Number;
use crate::stage::{FinishedFile, StageError, Staging, WRITE_BYTES};
use crate::stat::{FileTime, Kind};
use crate::tree::Tree;
use crate::walk::{Barred, WalkError};

/// What a change is answered with that is not made; boxed, because it is seldom and large.
pub(super) type Refused = Box<Committed>;

/// One job of committing.
pub(super) struct Changing<'a, F: Fs> {
    pub(super) folder: &'a Arc<Shared<F>>,
    pub(super) stages: &'a Stages<F>,
    pub(super) guard: &'a Guard<F>,
    pub(super) rules: &'a Rules,
    pub(super) was_unclean: bool,
    pub(super) folds_case: bool,
}

/// A change that is ready to be made, and what its answer will say of it.
struct Ready<F: Fs> {
    change: change::Change<F>,
    /// Where the answer comes among all.
    at: usize,
    /// What a link says that will be there.
    target: Option<Box<[u8]>>,
}

impl<F: Fs> Changing<'_, F> {
    /// Makes the changes; the answers come in their order.
    pub(super) fn perform(&self, changes: Vec<Change>) -> Vec<Committed> {
        let mut committed: Vec<Option<Committed>> = changes.iter().map(|_| None).collect();
        let mut marks = Vec::new();
        for (change, committed) in changes.iter().zip(&mut committed) {
            if self.is_about_rules(change) {
                match self.text(change) {
                    Ok(text) => marks.push(text.mark()),
                    Err(refused) => *committed = Some(*refused),
                }
            }
        }
        if !marks.is_empty()
            && let Err(error) = self.guard.offer(&marks, self.was_unclean)
        {
            let text = format!("cannot note that others change what is ignored: {error}");
            return changes.iter().map(|_| Committed::Failed(text.clone())).collect();
        }
        let mut ready = Vec::new();
        for (at, change) in changes.into_iter().enumerate() {
            if committed[at].is_some() {
                continue;
            }
            match self.prepare(at, change) {
                Ok(one) => ready.push(one),
                Err(refused) => committed[at] = Some(*refused),
            }
            if self.folds_case {
                // Whether a name is free of strangers depends on what was done before.
                self.make(std::mem::take(&mut ready), &mut committed);
            }
        }
        self.make(ready, &mut committed);
        let unknown = || Committed::Failed("it was not tried".to_owned());
        committed.into_iter().map(|one| one.unwrap_or_else(unknown)).collect()
    }

    fn make(&self, ready: Vec<Ready<F>>, committed: &mut [Option<Committed>]) {
        let mut changes = Vec::with_capacity(ready.len());
        let mut about = Vec::with_capacity(ready.len());
        for Ready { change, at, target } in ready {
            about.push((at, target));
            changes.push(change);
        }
        let changed = Tree::new(Arc::clone(self.folder)).commit(changes);
        for ((at, target), changed) in about.into_iter().zip(changed) {
            committed[at] = Some(self.outcome(&changed.path, changed.outcome, target.as_deref()));
        }
    }

    /// The change in the words of the tree, its staged file finished. The error is its answer.
    fn prepare(&self, at: usize, asked: Change) -> Result<Ready<F>, Refused> {
        let Change { path, deed, by, why } = asked;
        self.require_heeded(&path, &deed)?;
        self.require_own_name(&path, &deed)?;
        let mut target = None;
        let deed = match deed {
            ChangeDeed::Place { version, stage, over } => {
                if let Of::Symlink { target: says } = &version.kind {
                    target = Some(says.clone());
                }
                let staged = self.staged(&path, version, stage)?;
                match over {
                    None => TreeDeed::Create(staged),
                    Some(over) => TreeDeed::Replace(staged, words::expected(&over)),
                }
            }
            ChangeDeed::Retouch { present, mtime, mode } => {
                target = says(&present);
                self.retouch(&path, &present, mtime, mode)?
            }
            ChangeDeed::MakeFolder { mode, over } => {
                TreeDeed::MakeFolder { mode: mode.bits().into(), over: over.as_ref().map(words::expected) }
            }
            ChangeDeed::Remove(present) => TreeDeed::Remove(words::expected(&present)),
            ChangeDeed::Move { to, present } => {
                target = says(&present);
                TreeDeed::Move { to, present: words::expected(&present) }
            }
        };
        let by = words::who(by, why);
        Ok(Ready { change: change::Change { path, deed, by }, at, target })
    }

    /// Refuses a path at which nothing may be put, whatever it is.
    pub(super) fn require_placeable(&self, path: &RelPath) -> Result<(), Refused> {
        if let Some(ignored) = self.rules.ignored_at(path, What::Other) {
            return Err(Committed::Barred(format!("{ignored} is ignored here")).into());
        }
        self.require_no_stranger(path)
    }

    /// Puts something staged in place for this device's own user, with the folders above it that are missing. `target` is
    /// what it says, if it is a link.
    pub(super) fn put(
        &self,
        path: &RelPath,
        staged: FinishedFile<F>,
        over: Option<&Seen>,
        by: DeviceId,
        target: Option<&[u8]>,
    ) -> Committed {
        let tree = Tree::new(Arc::clone(self.folder));
        let by = words::who(Some(by), Why::Replaced);
        let mut changes = Vec::new();
        for folder in path.ancestors().take_while(|folder| !matches!(tree.look(folder), Ok(Some(_)))) {
            let deed = TreeDeed::MakeFolder { mode: OWN_FOLDER_MODE, over: None };
            changes.insert(0, change::Change { path: folder, deed, by: by.clone() });
        }
        let deed = match over {
            None => TreeDeed::Create(staged),
            Some(over) => TreeDeed::Replace(staged, words::expected(over)),
        };
        changes.push(change::Change { path: path.clone(), deed, by });
        let last = tree.commit(changes).pop().map(|changed| self.outcome(path, changed.outcome, target));
        last.unwrap_or_else(|| Committed::Failed("it was not tried".to_owned()))
    }

    /// Refuses what the user ignores.
    fn require_heeded(&self, path: &RelPath, deed: &ChangeDeed) -> Result<(), Refused> {
        let what = match deed {
            ChangeDeed::MakeFolder { .. } => What::Folder,
            ChangeDeed::Place { .. } => What::Other,
            ChangeDeed::Retouch { present, .. }
            | ChangeDeed::Remove(present)
            | ChangeDeed::Move { present, .. } => match present.kind {
                SeenKind::Directory => What::Folder,
                SeenKind::File { .. } | SeenKind::Symlink { .. } => What::Other,
            },
        };
        for path in [Some(path), moved_to(deed)].into_iter().flatten() {
            if let Some(ignored) = self.rules.ignored_at(path, what) {
                return Err(Committed::Barred(format!("{ignored} is ignored here")).into());
            }
        }
        Ok(())
    }

    /// Where the disk folds case, refuses a path that leads to something of another name.
    fn require_own_name(&self, path: &RelPath, deed: &ChangeDeed) -> Result<(), Refused> {
        [Some(path), moved_to(deed)].into_iter().flatten().try_for_each(|path| self.require_no_stranger(path))
    }

    fn require_no_stranger(&self, path: &RelPath) -> Result<(), Refused> {
        let stranger = Looker::new(self.folder, self.rules, self.folds_case).stranger(path);
        match stranger.map_err(|error| Committed::Failed(error.to_string()))? {
            Some(stranger) => {
                let text = format!("this disk takes {stranger} for a name that something else has already");
                Err(Committed::NoName(text).into())
            }
            None => Ok(()),
        }
    }

    /// What is to be put into place, finished.
    fn staged(
        &self,
        path: &RelPath,
        version: Version,
        stage: Option<StageId>,
    ) -> Result<FinishedFile<F>, Refused> {
        let Version { kind, mtime, mode } = version;
        let (mtime, mode, staging) =
            (mtime.into(), mode.bits().into(), Staging::new(Arc::clone(self.folder)));
        let finished = match kind {
            Of::File { size: 0, .. } => {
                staging.create_at(path, Some(0)).and_then(|file| file.finish_as(mtime, mode))
            }
            Of::File { size, .. } => {
                let file = stage.and_then(|stage| self.stages.take(stage, size));
                file.ok_or(Committed::NotStaged)?.finish_as(mtime, mode)
            }
            Of::Symlink { target } => staging.symlink_at(path, OsStr::from_bytes(&target), mtime),
            Of::Directory | Of::Gone { .. } => {
                let text = "only a file or a link can be put into place".to_owned();
                return Err(Committed::Failed(text).into());
            }
        };
        finished.map_err(|error| cannot_stage(&error).into())
    }

    fn retouch(
        &self,
        path: &RelPath,
        present: &Seen,
        mtime: Option<Timestamp>,
        mode: Mode,
    ) -> Result<TreeDeed<F>, Refused> {
        let expected = words::expected(present);
        let look = Tree::new(Arc::clone(self.folder)).look(path).ok().flatten();
        if !look.is_some_and(|look| look.kind == Kind::File && look.stat.nlink > 1) {
            let mode = Some(mode.bits().into());
            return Ok(TreeDeed::Retouch { present: expected, mtime: mtime.map(Into::into), mode });
        }
        let version = (mtime.unwrap_or(present.mtime), mode);
        let copy = self.copy(path, present, version)?;
        Ok(TreeDeed::Replace(copy, expected))
    }

    /// A staged copy of a file, with another time and permissions.
    fn copy(
        &self,
        path: &RelPath,
        present: &Seen,
        (mtime, mode): (Timestamp, Mode),
    ) -> Result<FinishedFile<F>, Refused> {
        let tree = Tree::new(Arc::clone(self.folder));
        let opened = tree.open(path, &words::expected(present));
        let opened = opened.map_err(|error| Committed::Failed(words::told(&error)))?;
        let opened = opened.ok_or(Committed::ChangedHere { kept: None })?;
        stage_copy(self.folder, path, &opened, (mtime.into(), mode.bits().into()))
    }

    fn outcome(&self, path: &RelPath, outcome: TreeOutcome, target: Option<&[u8]>) -> Committed {
        match outcome {
            TreeOutcome::Done { now, kept, late_edit } => Committed::Done {
                now: now.and_then(|now| words::seen(&now, target)),
                kept: kept.map(|number| Kept { is_late: late_edit, ..self.kept(path, number) }),
            },
            TreeOutcome::ChangedHere { kept } => {
                Committed::ChangedHere { kept: kept.map(|number| self.kept(path, number)) }
            }
            TreeOutcome::NotEmpty { inside } => Committed::NotEmpty { inside },
            TreeOutcome::Barred(WalkError { why: Barred::Failed(error), .. }) => {
                Committed::Failed(error.to_string())
            }
            TreeOutcome::Barred(error) => Committed::Barred(error.to_string()),
            TreeOutcome::Failed(error) => failed(&error),
        }
    }

    /// What was displaced, as the history has it; its number alone if it cannot be looked at.
    fn kept(&self, path: &RelPath, number: u64) -> Kept {
        let name = Number(number).file_name();
        let look = self.folder.history.look(name.as_ref()).ok().flatten();
        let stat = look.map(|look| look.stat);
        Kept {
            number,
            path: Some(path.clone()),
            content: None,
            size: stat.map_or(0, |stat| stat.size),
            mtime: stat.map_or(Timestamp::ZERO, |stat| stat.mtime.into()),
            when: stat.map_or(Timestamp::ZERO, |stat| words::second(stat.ctime.secs)),
            by: None,
            why: Why::Unknown,
            is_late: false,
        }
    }

    fn is_about_rules(&self, change: &Change) -> bool {
        let is_content = !matches!(change.deed, ChangeDeed::Retouch { .. });
        is_content && (is_of_rules(&change.path) || moved_to(&change.deed).is_some_and(is_of_rules))
    }

    /// What a change is about to make of `.shoalignore`; its answer, if that cannot be read.
    fn text(&self, change: &Change) -> Result<Text, Refused> {
        Ok(match &change.deed {
            ChangeDeed::Place { version: Version { kind: Of::File { size: 0, .. }, .. }, .. } => {
                Text::File(Vec::new())
            }
            ChangeDeed::Place { version: Version { kind: Of::File { size, .. }, .. }, stage, .. } => {
                let bytes = stage.and_then(|stage| self.stages.read(stage, 0, prefix(*size)));
                Text::File(bytes.ok_or(Committed::NotStaged)?)
            }
            ChangeDeed::Place { .. } => Text::Other(Kind::Symlink),
            ChangeDeed::MakeFolder { .. } => Text::Other(Kind::Folder),
            ChangeDeed::Move { to, present } if is_of_rules(to) => {
                self.text_at(&change.path, present).ok_or(Committed::ChangedHere { kept: None })?
            }
            ChangeDeed::Remove(_) | ChangeDeed::Move { .. } | ChangeDeed::Retouch { .. } => Text::Gone,
        })
    }

    /// What would be there as rules once this is moved there.
    fn text_at(&self, path: &RelPath, present: &Seen) -> Option<Text> {
        let SeenKind::File { size } = present.kind else { return Some(Text::Other(Kind::Symlink)) };
        let tree = Tree::new(Arc::clone(self.folder));
        let opened = tree.open(path, &words::expected(present)).ok()??;
        let mut bytes = vec![0; prefix(size)];
        match opened.read_at(&mut bytes, 0) {
            Ok(Span::Read(read)) if read == bytes.len() => Some(Text::File(bytes)),
            _ => None,
        }
    }
}

/// The permissions of a folder that is made for what comes back into it.
const OWN_FOLDER_MODE: u32 = 0o755;

/// So much of a file tells whose rules it is.
fn prefix(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX).min(IGNORE_BYTES_MAX + 1)
}

fn moved_to(deed: &ChangeDeed) -> Option<&RelPath> {
    match deed {
        ChangeDeed::Move { to, .. } => Some(to),
        _ => None,
    }
}

fn says(present: &Seen) -> Option<Box<[u8]>> {
    match &present.kind {
        SeenKind::Symlink { target } => Some(target.clone()),
        SeenKind::File { .. } | SeenKind::Directory => None,
    }
}

/// Copies what was opened into a staged file for this path, with a time and permissions; it must stay the version that it
/// was.
pub(super) fn stage_copy<F: Fs>(
    folder: &Arc<Shared<F>>,
    path: &RelPath,
    opened: &Opened<F>,
    (mtime, mode): (FileTime, u32),
) -> Result<FinishedFile<F>, Refused> {
    let size = opened.stat().size;
    let staging = Staging::new(Arc::clone(folder));
    let mut copy = staging.create_at(path, Some(size)).map_err(|error| cannot_stage(&error))?;
    let mut buffer = vec![0; WRITE_BYTES];
    while copy.written() < size {
        let read = opened.read_at(&mut buffer, copy.written());
        match read.map_err(|error| Committed::Failed(words::told(&error)))? {
            Span::Changed | Span::Read(0) => return Err(Committed::ChangedHere { kept: None }.into()),
            Span::Read(length) => {
                copy.write_all(&buffer[..length]).map_err(|error| cannot_stage(&error))?;
            }
        }
    }
    copy.finish_as(mtime, mode).map_err(|error| cannot_stage(&error).into())
}

pub(super) fn cannot_stage(error: &StageError) -> Committed {
    match error {
        error if error.is_out_of_space() => Committed::NoSpace,
        // A handle that leads nowhere any more: somebody has tidied up in our own directory.
        StageError::Write { source, .. } if Errno::from_io_error(source) == Some(Errno::NOENT) => {
            Committed::NotStaged
        }
        error => Committed::Failed(words::told(error)),
    }
}

fn failed(error: &ChangeError) -> Committed {
    let is_certain = !matches!(error, ChangeError::NotConfirmed { .. });
    match error {
        _ if is_certain && error.is_out_of_space() => Committed::NoSpace,
        ChangeError::NotDone { .. } if error.is_about_name() => Committed::NoName(words::told(error)),
        _ => Committed::Failed(words::told(error)),
    }
}
