//! What is known of one path: why it is not in sync, which versions contradict each other, and what is kept out.
//!
//! Promise: nothing on the disk is touched but by the disk layer, against what the index has seen there; what is displaced
//! goes to history.

use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_disk::{IgnoreTexts, Worker};
use shoal_engine::disk::{Answer, Change, ChangeDeed, Committed, Job, Look, Seen};
use shoal_engine::history::{Kept, Why as Displaced};
use shoal_engine::io::{Command, Hint};
use shoal_engine::status;
use shoal_index::{Index, IndexError};
use shoal_proto::conflict;
use shoal_proto::here::{Here, Triple};
use shoal_proto::id::{DeviceId, ShareId, Writer};
use shoal_proto::path::RelPath;

use super::super::opening::refused;
use super::super::{Core, Opened};
use crate::control::report::{Cause, Conflict, Copied, IgnoreStatus, Version, Why};
use crate::control::text::{Id, Place};
use crate::control::types::{Code, Failure, Keep, Resolve};

/// So many rows are looked at in one go.
const PAGE: usize = 1000;

/// So many conflicts are told.
const CONFLICTS_MAX: usize = 10_000;

impl Core {
    pub(super) fn explain(&self, share: ShareId, path: Place) -> Result<Why, Failure> {
        self.registered(&share)?;
        let at = path.0.clone();
        let found = self.read(share, move |index| {
            let triple = index.triple(&at)?;
            triple.map(|triple| Ok((heads(index, &triple)?, triple))).transpose()
        })?;
        let standing = self.shell.status(share).map(|(status, _)| status);
        let cause: Option<Cause> =
            standing.as_ref().and_then(|status| status.problems.get(&path.0)).map(Into::into);
        let Some((heads, triple)) = found else {
            let cause = cause.or_else(|| self.why_unknown(share, &path.0));
            return Ok(Why {
                path,
                is_settled: cause.as_ref().is_none_or(|cause| cause.is_settled),
                cause,
                here: None,
                heads: Vec::new(),
                lacking: Vec::new(),
            });
        };
        let records: Vec<_> = triple.heads.iter().map(shoal_proto::record::Record::hash).collect();
        let lacking =
            self.shell.with_engine(move |engine| engine.lacking(&share, &records)).unwrap_or_default();
        Ok(Why {
            is_settled: !triple.is_diverging() && cause.is_none(),
            here: triple.here.as_ref().map(|here| (&here.version).into()),
            heads,
            lacking: lacking.into_iter().map(Id).collect(),
            cause,
            path,
        })
    }

    /// Why something that stands in the folder is not known of; `None`: nothing stands there.
    fn why_unknown(&self, share: ShareId, path: &RelPath) -> Option<Cause> {
        let Answer::Looked(looks) = self.worker(share).ok()?.perform(Job::Look(vec![path.clone()])) else {
            return None;
        };
        match looks.first()? {
            Look::Ignored => Some((&status::Cause::Ignored).into()),
            Look::Seen(_) => Some((&status::Cause::Unpublished).into()),
            Look::Nothing | Look::Unknown(_) => None,
        }
    }

    pub(super) fn conflicts(&self, share: ShareId) -> Result<Vec<Conflict>, Failure> {
        self.registered(&share)?;
        self.read(share, |index| {
            let mut found: BTreeMap<RelPath, Conflict> = BTreeMap::new();
            each_open(index, |triple| conflict_at(&mut found, &triple.path).is_open = true)?;
            each_copy(index, |path, copy, here| {
                let version = (&here.version).into();
                conflict_at(&mut found, &path).copies.push(Copied { path: copy.into(), version });
            })?;
            for (path, conflict) in &mut found {
                let here = index.triple(path)?.and_then(|triple| triple.here);
                conflict.current = here.map(|here| (&here.version).into());
            }
            Ok(found.into_values().take(CONFLICTS_MAX).collect())
        })
    }

    /// What was not kept goes to history, as if the user had taken it away.
    pub(super) fn resolve(&self, wish: &Resolve) -> Result<(), Failure> {
        let share = wish.share.0;
        self.registered(&share)?;
        let path = wish.path.0.clone();
        let (current, mut copies, is_open) = self.read(share, move |index| sides(index, &path))?;
        let path = wish.path.0.clone();
        if copies.is_empty() {
            return Err(if is_open {
                Failure::new(Code::NotNow, format!("the versions of {path} are being settled already"))
            } else {
                Failure::new(Code::NotFound, format!("there is no conflict about {path}"))
                    .with_hint("`shoal conflicts` lists those that are there")
            });
        }
        let kept = match &wish.keep {
            Keep::Current => None,
            Keep::Copy(copy) => match copies.iter().position(|(known, _)| *known == copy.0) {
                Some(at) => Some(copies.remove(at)),
                None => {
                    let text = format!("{copy} is no copy of {path}");
                    return Err(Failure::new(Code::NotFound, text));
                }
            },
        };
        let mut deeds = Vec::new();
        if let Some((copy, here)) = kept {
            // First out of the way, then into its place.
            deeds.extend(current.map(|here| (path.clone(), here, None)));
            deeds.push((copy, here, Some(path)));
        }
        deeds.extend(copies.into_iter().map(|(copy, here)| (copy, here, None)));
        self.does_as_user(share, deeds)
    }

    /// Takes files away, or gives them other paths, as this device's user would.
    fn does_as_user(
        &self,
        share: ShareId,
        deeds: Vec<(RelPath, Here, Option<RelPath>)>,
    ) -> Result<(), Failure> {
        let worker = self.worker(share)?;
        let by = self.device();
        for (path, here, to) in deeds {
            let present = Seen::from(&here);
            let deed = match &to {
                Some(to) => ChangeDeed::Move { to: to.clone(), present },
                None => ChangeDeed::Remove(present),
            };
            let change = Change { path: path.clone(), deed, by: Some(by), why: Displaced::Conflict };
            let answer = worker.perform(Job::Commit(vec![change]));
            for changed in std::iter::once(&path).chain(&to) {
                self.shell.hint(share, Hint::At(changed.clone()));
            }
            if let Some(kept) = done(&path, answer)? {
                self.notes(share, kept, &here, by)?;
            }
        }
        Ok(())
    }

    /// Notes what a version in history is, so that it can be shown and comes back without being read again.
    fn notes(&self, share: ShareId, kept: Kept, here: &Here, by: DeviceId) -> Result<(), Failure> {
        let content = (!kept.is_late).then(|| here.version.kind.content());
        let kept = Kept { content, by: Some(by), why: Displaced::Conflict, ..kept };
        self.read(share, move |index| index.add_history(&[kept]))
    }

    pub(super) fn ignored(&self, share: ShareId) -> Result<IgnoreStatus, Failure> {
        let worker = self.worker(share)?;
        let is_offered = worker.is_ignore_offered().map_err(|error| refused(&error))?;
        let IgnoreTexts { in_force, offered } = worker.ignore_texts().map_err(|error| refused(&error))?;
        let text = |text: Vec<u8>| String::from_utf8_lossy(&text).into_owned();
        Ok(IgnoreStatus { is_offered, offered: offered.map(text), rules: in_force.map(text) })
    }

    pub(super) fn accept_ignore(&self, share: ShareId) -> Result<(), Failure> {
        self.worker(share)?.accept_ignore().map_err(|error| refused(&error))?;
        self.shell.command(share, Command::Rescan);
        Ok(())
    }

    fn worker(&self, share: ShareId) -> Result<Arc<Worker>, Failure> {
        self.registered(&share)?;
        match self.shares().get(&share) {
            Some(Opened::Open { worker, .. }) => return Ok(Arc::clone(worker)),
            Some(Opened::Failed(_)) | None => {}
        }
        self.is_open(share)?;
        Err(Failure::no_share(&share))
    }
}

/// What came of one deed; what it displaced.
fn done(path: &RelPath, answer: Answer) -> Result<Option<Kept>, Failure> {
    let outcome = match answer {
        Answer::Committed(mut outcomes) => outcomes.pop(),
        Answer::NotTheRoot(why) | Answer::Failed(why) => return Err(Failure::new(Code::System, why)),
        _ => None,
    };
    match outcome {
        Some(Committed::Done { kept, .. }) => Ok(kept),
        Some(Committed::ChangedHere { .. }) => {
            Err(Failure::new(Code::NotNow, format!("{path} has just changed; look at it, and try again")))
        }
        Some(Committed::NoSpace) => Err(Failure::new(Code::System, "the disk is full")),
        Some(Committed::Barred(why) | Committed::NoName(why) | Committed::Failed(why)) => {
            Err(Failure::new(Code::System, format!("{path}: {why}")))
        }
        Some(Committed::NotEmpty { .. } | Committed::NotStaged) | None => {
            Err(Failure::new(Code::System, format!("{path} could not be changed")))
        }
    }
}

/// What the share has at a path, with who said it.
fn heads(index: &Index, triple: &Triple) -> Result<Vec<Version>, IndexError> {
    let author = |writer: Writer| index.last_publication(writer).map(|last| last.map(|last| last.device));
    let version = |record: &shoal_proto::record::Record| {
        let by = author(record.dot.writer)?.map(Id);
        Ok(Version { by, ..(&record.version).into() })
    };
    triple.heads.iter().map(version).collect()
}

/// Files that are not settled because versions contradict each other.
fn each_open(index: &Index, mut take: impl FnMut(Triple)) -> Result<(), IndexError> {
    let mut after = None;
    loop {
        let page = index.diverging(after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.path.clone());
        page.into_iter().filter(|triple| !triple.heads.conflict(triple.below).is_empty()).for_each(&mut take);
    }
}

/// What is on the disk and is called like a conflict copy: of which path, where it is, and what it is.
fn each_copy(index: &Index, mut take: impl FnMut(RelPath, RelPath, Here)) -> Result<(), IndexError> {
    let mut after = None;
    loop {
        let page = index.shown(None, after.as_ref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (path, here) in page {
            if let Some(original) = conflict::original(&path).filter(|_| here.version.kind.holds_data()) {
                take(original, path, here);
            }
        }
    }
}

fn conflict_at<'a>(found: &'a mut BTreeMap<RelPath, Conflict>, path: &RelPath) -> &'a mut Conflict {
    found.entry(path.clone()).or_insert_with(|| Conflict {
        path: path.into(),
        current: None,
        copies: Vec::new(),
        is_open: false,
    })
}

/// What stands at a path, the copies beside it, and whether it is still being settled.
type Sides = (Option<Here>, Vec<(RelPath, Here)>, bool);

fn sides(index: &Index, path: &RelPath) -> Result<Sides, IndexError> {
    let mut copies = Vec::new();
    // Where the path was too long for a copy beside it, that is above; there they are told with all others.
    let folder = path.parent();
    let mut after = None;
    loop {
        let page = index.children(folder.as_ref(), after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { break };
        after = Some(last.path.clone());
        for triple in page {
            if conflict::original(&triple.path).as_ref() == Some(path)
                && let Some(here) = triple.here.filter(|here| here.version.kind.holds_data())
            {
                copies.push((triple.path, here));
            }
        }
    }
    let triple = index.triple(path)?;
    let is_open = triple.as_ref().is_some_and(|triple| !triple.heads.conflict(triple.below).is_empty());
    Ok((triple.and_then(|triple| triple.here), copies, is_open))
}
