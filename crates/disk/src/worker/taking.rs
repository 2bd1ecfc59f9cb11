//! Taking what a user has made into the index: its content gets a name, and it is made durable first.
//!
//! Promise: what [`Taking::perform`] says of a path is durable when it returns, contents and names, or it says that it
//! failed. So a power cut can not bring back something older than what others were told of, which would then look like
//! the newest edit (I3, E26). What changes while it is read gets no name (I22), nor does what has changed in the same tick
//! of the disk's clock in which it would be read (E5).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use shoal_engine::disk::{Answer, Look, Seen, SeenKind, Take, Taken, Unknown};
use shoal_engine::index::List;
use shoal_proto::hash::{ContentId, SegmentId};
use shoal_proto::limits::SEGMENTS_PER_PAGE;
use shoal_proto::path::RelPath;
use shoal_proto::segment::{ListError, Listed, Segment, SegmentList};

use super::looking::Looker;
use super::rules::Rules;
use super::{spread, words};
use crate::content::{Content, ContentError, Known, Opened, Tools};
use crate::durable::{Durability, sync_names};
use crate::folder::Shared;
use crate::fs::Fs;
use crate::history::{History, Kept};
use crate::path::TreePath;
use crate::stat::{FileTime, Kind};
use crate::walk::{Barred, WalkError, Walker};

/// One job of taking.
pub(super) struct Taking<'a, F: Fs> {
    pub(super) folder: &'a Arc<Shared<F>>,
    pub(super) rules: &'a Rules,
    pub(super) folds_case: bool,
    /// Whether a power cut or the like may have changed files since they were last looked at.
    pub(super) was_unclean: bool,
    /// How many threads work on it, the caller's among them.
    pub(super) threads: usize,
}

/// What was read of a file.
struct Read {
    listed: Listed,
    segments: Vec<Segment>,
}

impl<F: Fs> Taking<'_, F> {
    /// Names what was seen, then makes all of it durable.
    pub(super) fn perform(&self, asked: &[Take]) -> Answer {
        let is_whole =
            self.folder.durability == Durability::WholeFileSystem && asked.len() > SETTLED_ALONE_MAX;
        let taken = spread::spread(asked, self.threads, portion, || {
            let mut taker = Taker::new(self);
            move |asked: &Take| taker.take(asked, !is_whole)
        });
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => return Answer::Failed(words::told(&error)),
        };
        let is_durable = |taken: &Taken| matches!(taken, Taken::Here { .. } | Taken::Nothing);
        let both = asked.iter().zip(&taken);
        let mut durable = both.filter(|(_, taken)| is_durable(taken)).map(|(asked, _)| &asked.path);
        let settled = match is_whole {
            true if durable.next().is_some() => self.folder.sync_file_system(),
            true => Ok(()),
            false => settle_names(self.folder, durable),
        };
        match settled {
            Ok(()) => Answer::Taken(taken),
            Err(error) => Answer::Failed(format!("cannot make durable what is in the folder: {error}")),
        }
    }
}

/// How many of the first of these one thread takes at a time: some, so that the folders on the way stay open, but not many
/// bytes.
fn portion(asked: &[Take]) -> usize {
    let mut left = PORTION_BYTES_MAX;
    let is_in = |asked: &&Take| {
        let bytes = match &asked.seen {
            Some(Seen { kind: SeenKind::File { size }, .. }) => *size,
            _ => 0,
        };
        let is_in = left > 0;
        left = left.saturating_sub(bytes);
        is_in
    };
    asked.iter().take(PORTION_PATHS_MAX).take_while(is_in).count()
}

/// One thread at it.
struct Taker<'a, F: Fs> {
    taking: &'a Taking<'a, F>,
    looker: Looker<'a, F>,
    tools: Tools,
    /// What time it was on the disk when it was last asked.
    now: Option<FileTime>,
    /// What the history holds, once it was asked for.
    kept: Option<Vec<Kept>>,
}

impl<'a, F: Fs> Taker<'a, F> {
    fn new(taking: &'a Taking<'a, F>) -> Self {
        Self {
            taking,
            looker: Looker::glancing(taking.folder, taking.rules, taking.folds_case),
            tools: Tools::new(taking.threads),
            now: None,
            kept: None,
        }
    }

    /// What is at one path; `syncs`: the bytes of a file are made durable here.
    fn take(&mut self, asked: &Take, syncs: bool) -> io::Result<Taken> {
        let Take { path, seen, was, content } = asked;
        let (here, dir) = self.looker.find(path);
        let (seen, dir) = match (seen, here, dir) {
            (_, Look::Unknown(why), _) => return Ok(Taken::Unknown(why)),
            (None, Look::Nothing, _) => return Ok(Taken::Nothing),
            (Some(seen), Look::Seen(here), Some(dir)) if *seen == here => (here, dir),
            _ => return Ok(Taken::Changed),
        };
        let is_file = matches!(seen.kind, SeenKind::File { .. });
        // What a power cut may have changed is read, whoever knows it.
        let known = content.filter(|_| !self.taking.was_unclean);
        if let Some(content) = if is_file { known } else { Some(ContentId::NONE) } {
            let here = seen.with_content(content);
            return Ok(Taken::Here { here, list: None, is_suspicious: false });
        }
        let (name, expected) = (OsStr::from_bytes(path.name()), words::expected(&seen));
        let opened = match Opened::<F>::open_seen(&dir, path.into(), name, &expected) {
            Ok(Some(opened)) => opened.until(&self.looker.folder.ends),
            Ok(None) => return Ok(Taken::Changed),
            Err(error) => return Ok(Taken::Unknown(cannot_read(&error))),
        };
        if !self.is_past(expected.ctime)? {
            return Ok(Taken::Changed);
        }
        let known = was.as_ref().map(Known::new).unwrap_or_default();
        let Read { listed, segments } = match read(&opened, &mut self.tools, &known) {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(Taken::Changed),
            Err(error) => return Ok(Taken::Unknown(cannot_read(&error))),
        };
        if syncs {
            opened.sync()?;
        }
        let is_suspicious = self.taking.was_unclean
            && (is_all_zeros(&segments) || self.was_here_before(path, &listed, expected.mtime)?);
        let here = seen.with_content(listed.content);
        let list = list(listed, segments).map_err(io::Error::other)?;
        Ok(Taken::Here { here, list, is_suspicious })
    }

    /// Whether whatever changes from now on gets another change time than this one, so that it can be seen (E5).
    ///
    /// A time that is still to come is one from before the clock was set back. To wait until it is reached could take
    /// years, and what changes until then shows too.
    fn is_past(&mut self, ctime: FileTime) -> io::Result<bool> {
        if self.now.is_some_and(|now| ctime < now) {
            return Ok(true);
        }
        self.now = self.taking.folder.now()?;
        Ok(self.now != Some(ctime))
    }

    /// Whether the history holds the same content for the path. Of the last few versions of its size; what is too large to
    /// be read once more for this counts as the same if it has the same time.
    fn was_here_before(&mut self, path: &RelPath, now: &Listed, mtime: FileTime) -> io::Result<bool> {
        let history = History::new(Arc::clone(self.taking.folder));
        let kept = match self.kept.take() {
            Some(kept) => kept,
            None => history.list().map_err(io::Error::other)?,
        };
        let path = TreePath::from(path);
        let is_candidate = |kept: &&Kept| {
            kept.name.as_ref() == Some(&path) && kept.kind == Kind::File && kept.size == now.size
        };
        let mut left = COMPARED_BYTES_MAX;
        let was_here = kept.iter().rev().filter(is_candidate).take(COMPARED_MAX).any(|kept| {
            if kept.size > left {
                return kept.mtime == mtime;
            }
            left -= kept.size;
            let read = read_history(&history, kept.number);
            read.is_some_and(|read| read.listed.content == now.content)
        });
        self.kept = Some(kept);
        Ok(was_here)
    }
}

fn read_history<F: Fs>(history: &History<F>, number: u64) -> Option<Read> {
    let file = history.open(number).ok()?;
    let opened = Opened::<F>::of_history(file, TreePath::of_number("version", number)).ok()?;
    read(&opened, &mut Tools::new(1), &Known::default()).ok().flatten()
}

fn cannot_read(error: &ContentError) -> Unknown {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match error {
        ContentError::Barred(_) => Unknown::Failed(words::told(error)),
        ContentError::Read(crate::scan::ReadError::Io { source, .. }) if denied(source) => {
            Unknown::Unreadable
        }
        ContentError::Read(_) => Unknown::Failed(words::told(error)),
        ContentError::TooLarge { .. } => Unknown::NoPath(words::told(error)),
    }
}

/// The content of a file with its segments; `None` if it changed meanwhile.
fn read<F: Fs>(opened: &Opened<F>, tools: &mut Tools, known: &Known) -> Result<Option<Read>, ContentError> {
    let mut segments = Vec::new();
    match opened.cut_with(tools, known, |segment| segments.push(segment))? {
        Content::Whole(listed) => Ok(Some(Read { listed, segments })),
        Content::Changed => Ok(None),
    }
}

pub(super) fn list(listed: Listed, segments: Vec<Segment>) -> Result<Option<List>, ListError> {
    match listed.index {
        _ if segments.len() <= 1 => Ok(None),
        None => Ok(Some(List::Whole(SegmentList::new(segments)?))),
        Some(index) => {
            let pages = segments.chunks(SEGMENTS_PER_PAGE).map(|page| SegmentList::new(page.to_vec()));
            Ok(Some(List::Paged(index, pages.collect::<Result<_, _>>()?)))
        }
    }
}

/// Also of no bytes at all.
fn is_all_zeros(segments: &[Segment]) -> bool {
    let Some((last, before)) = segments.split_last() else { return true };
    // A segment of a length that none has is that of nothing.
    let zeros = || blake3::hash(&vec![0; last.length as usize]);
    before.iter().all(|segment| *segment == Segment::ZEROS)
        && last.id == SegmentId::from_bytes(*zeros().as_bytes())
}

/// Makes the names of the paths durable, or that there are none: syncs all folders on the way to each, and the path
/// itself if it is one. Who made one of them a moment before did not.
fn settle_names<'p, F: Fs>(folder: &Shared<F>, paths: impl Iterator<Item = &'p RelPath>) -> io::Result<()> {
    let mut paths = paths.map(TreePath::from).peekable();
    if paths.peek().is_none() {
        return Ok(());
    }
    sync_names(&*folder.root)?;
    let mut walker = Walker::new(folder);
    let mut synced = BTreeSet::new();
    for path in paths {
        for depth in 0..path.names().count() {
            let at = path.up_to(depth);
            if synced.contains(&at) {
                continue;
            }
            match walker.open_folder(&at) {
                Ok(dir) => sync_names(&*dir)?,
                Err(WalkError { why: Barred::Failed(error), .. }) => return Err(io::Error::other(error)),
                // What is not there, or is no folder that we may enter, is so by the names above it.
                Err(_) => break,
            }
            synced.insert(at);
        }
    }
    Ok(())
}

/// Up to so many paths are synced one by one; a sync of the file system waits for all that anybody has written.
const SETTLED_ALONE_MAX: usize = 8;

/// So many paths one thread takes at a time …
const PORTION_PATHS_MAX: usize = 32;

/// … and not many more bytes than these.
const PORTION_BYTES_MAX: u64 = 1 << 20;

/// Of so many older versions the content is compared.
const COMPARED_MAX: usize = 16;

/// So many bytes of them are read for one path.
const COMPARED_BYTES_MAX: u64 = 1 << 30;
