//! Jobs of indexes and disks: begun when an engine asks, performed when their time has come.
//!
//! Promise: a job is performed at one moment, whole, unless its process is to die in it.

use core::time::Duration;

use shoal_engine::io::{Input, JobId};
use shoal_engine::{disk, history, index};

use super::{Event, NAMES, World};
use crate::check::kept_long_enough::{Files, kept_files};
use crate::check::{self, Broken};
use crate::faults::{During, Fault};
use crate::ledger::digest;
use crate::performers::perform_index;
use crate::users::{self, Tree, full};

impl World {
    pub(super) fn begin_index_job(&mut self, device: usize, id: JobId, job: index::Job) {
        let life = self.devices[device].life;
        let is_first = match &mut self.devices[device].running {
            Some(running) => {
                running.index_jobs.push_back((id, job));
                running.index_jobs.len() == 1
            }
            None => false,
        };
        if is_first {
            let wait = self.takes();
            self.queue.after(wait, Event::Indexed { device, life });
        }
    }

    pub(super) fn begin_disk_job(&mut self, device: usize, id: JobId, job: disk::Job) {
        let is_read = matches!(job, disk::Job::Take(_));
        let reads = if is_read { self.devices[device].reads_for } else { Duration::ZERO };
        let done = self.now().after(self.takes() + reads);
        let life = self.devices[device].life;
        if let Some(running) = &mut self.devices[device].running {
            let done = running.add_disk_job(id, job, done);
            self.queue.at(done, Event::DiskDone { device, life, job: id });
        }
    }

    /// How long a job takes.
    fn takes(&mut self) -> Duration {
        let micros = match self.draw.below(16) {
            0 => self.draw.below(400_000),
            1..=3 => self.draw.below(20_000),
            _ => 20 + self.draw.below(1_000),
        };
        Duration::from_micros(micros as u64)
    }

    pub(super) fn indexed(&mut self, device: usize, life: u32) -> Result<(), Broken> {
        if !self.lives(device, life) {
            return Ok(());
        }
        let Some(running) = &mut self.devices[device].running else { return Ok(()) };
        let Some((id, job)) = running.index_jobs.pop_front() else { return Ok(()) };
        if !running.index_jobs.is_empty() {
            let wait = self.takes();
            self.queue.after(wait, Event::Indexed { device, life });
        }
        let answer = self.perform_index_job(device, id, job);
        self.devices[device].keep_roster();
        self.tell(device, Input::Indexed(self.share(), id, answer))
    }

    /// Performs a job of an index, whether or not anybody is left to be answered.
    pub(super) fn perform_index_job(&mut self, device: usize, id: JobId, job: index::Job) -> index::Answer {
        let now = self.now();
        if moves_index(&job) {
            self.moved = now;
        }
        let said = self.trace.is_read().then(|| short(&job));
        let answer = perform_index(job, &mut self.devices[device].index);
        if let index::Answer::History(history::Answer::Doomed(doomed)) = &answer
            && let Err(broken) = self.are_not_needed(device, &doomed.numbers)
        {
            self.broken.get_or_insert(broken);
        }
        if matches!(&answer, index::Answer::Resolved(index::Resolved::Published(batches)) if !batches.is_empty())
        {
            self.tally.conflicts += 1;
        }
        self.trace.note(now, b'i', device, &id.0.to_be_bytes());
        if let Some(said) = said {
            self.trace
                .say(now, || format!("the index of {}: {said} → {}", NAMES[device % 16], short(&answer)));
        }
        answer
    }

    pub(super) fn disk_done(&mut self, device: usize, life: u32, id: JobId) -> Result<(), Broken> {
        if !self.lives(device, life) {
            return Ok(());
        }
        let now = self.now();
        let one = &mut self.devices[device];
        one.set_time(now);
        let doom = one.doomed;
        let Some(running) = &mut one.running else { return Ok(()) };
        let Some(begun) = running.disk_jobs.remove(&id) else { return Ok(()) };
        if let Some((during, calls)) = doom
            && is_during(&begun.job, during)
        {
            let before = users::tree(&one.disk);
            one.disk.stop_after(calls);
            running.worker.perform(begun.job.clone());
            if during == During::Restore {
                let after = users::tree(&one.disk);
                self.ledger.came_back(device, &before, &after);
            }
            self.trace.say(now, || format!("{} dies in {}", NAMES[device % 16], short(&begun.job)));
            return self.fault(&Fault::Crash(device));
        }
        let before = is_of_history(&begun.job).then(|| (users::tree(&one.disk), kept_files(&one.disk)));
        let answer = running.worker.perform(begun.job.clone());
        self.trace.note(now, b'd', device, &id.0.to_be_bytes());
        let (name, job) = (NAMES[device % 16], &begun.job);
        self.trace.say(now, || format!("the disk of {name}: {} → {}", short(job), short(&answer)));
        if let Some((shown, kept)) = before {
            self.after_history_job(device, &begun.job, &shown, &kept)?;
        }
        self.after_disk_job(device, &begun.job, &answer)?;
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        self.tell(device, Input::DiskDone(self.share(), id, answer))
    }

    /// What came back is its user's act; what went is checked.
    fn after_history_job(
        &mut self,
        device: usize,
        job: &disk::Job,
        shown: &Tree,
        kept: &Files,
    ) -> Result<(), Broken> {
        match job {
            disk::Job::Prune { numbers, .. } => self.have_gone(device, numbers, kept),
            _ => {
                let after = users::tree(&self.devices[device].disk);
                self.ledger.came_back(device, shown, &after);
                Ok(())
            }
        }
    }

    /// What a job of a disk has changed is looked at, and its watcher tells of it as of everything.
    fn after_disk_job(
        &mut self,
        device: usize,
        job: &disk::Job,
        answer: &disk::Answer,
    ) -> Result<(), Broken> {
        match (job, answer) {
            (disk::Job::Take(_), disk::Answer::Failed(_)) => {
                self.devices[device].is_distrusted = true;
                Ok(())
            }
            (disk::Job::Take(_), _) if self.devices[device].is_distrusted => Ok(()),
            (disk::Job::Take(taken), disk::Answer::Taken(answers)) => {
                for (disk::Take { path, .. }, answer) in taken.iter().zip(answers) {
                    if matches!(answer, disk::Taken::Here { .. })
                        && let Ok(text) = core::str::from_utf8(path.as_bytes())
                        && let Ok(bytes) = self.devices[device].disk.user().read(&full(text))
                    {
                        self.ledger.became_durable(device, &digest(&bytes));
                    }
                }
                Ok(())
            }
            (disk::Job::Restore(restore), _) => {
                self.moved = self.now();
                self.note_filed(device);
                let path = core::str::from_utf8(restore.to.as_bytes()).unwrap_or_default().to_owned();
                check::atomic::check_paths(self, device, core::slice::from_ref(&path))?;
                self.watch(device, &[path]);
                Ok(())
            }
            (disk::Job::Commit(changes), _) => {
                self.moved = self.now();
                self.note_filed(device);
                let paths = changes.iter().flat_map(|change| {
                    let to = match &change.deed {
                        disk::ChangeDeed::Move { to, .. } => Some(to),
                        _ => None,
                    };
                    [Some(&change.path), to].into_iter().flatten()
                });
                let text = |path: &shoal_proto::path::RelPath| {
                    core::str::from_utf8(path.as_bytes()).map(str::to_owned)
                };
                let paths: Vec<String> = paths.filter_map(|path| text(path).ok()).collect();
                check::atomic::check_paths(self, device, &paths)?;
                self.watch(device, &paths);
                Ok(())
            }
            (disk::Job::Write(_), _) => {
                self.moved = self.now();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Whether a job changes what a user sees as the user would, or takes something out of the history.
fn is_of_history(job: &disk::Job) -> bool {
    matches!(job, disk::Job::Restore(_) | disk::Job::Prune { .. })
}

fn is_during(job: &disk::Job, during: During) -> bool {
    matches!(
        (job, during),
        (disk::Job::Commit(_), During::Commit)
            | (disk::Job::Take(_), During::Take)
            | (disk::Job::Write(_), During::Write)
            | (disk::Job::Restore(_), During::Restore)
    )
}

/// Whether a job changes what the index knows of the share.
fn moves_index(job: &index::Job) -> bool {
    match job {
        index::Job::Observe { observed, .. } => {
            observed.iter().any(|observed| observed.compared != observed.found)
        }
        index::Job::Agreed(placed) | index::Job::Placed(placed, ..) => !placed.is_empty(),
        index::Job::Resolve { .. } | index::Job::NewWriter(..) => true,
        _ => false,
    }
}

/// The beginning of what something looks like.
pub(super) fn short(value: &impl core::fmt::Debug) -> String {
    const LETTERS_MAX: usize = 240;
    let text = format!("{value:?}");
    match text.char_indices().nth(LETTERS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
