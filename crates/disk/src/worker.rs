//! A share's disk at work for the engine: jobs in, answers out.
//!
//! Promise: each [`Job`] is answered once, and what the answer calls done is durable. What looks at the folder or changes it
//! first makes sure that it is the one that was opened (I19) and which rules of the user's are in force, so that what is
//! ignored is neither shown, read nor touched (I21). Nothing here decides what should be on the disk or asks a clock: whoever
//! owns a [`Worker`] calls [`Worker::perform`], from one thread or from several, and the same calls on the same disk give the
//! same answers. There are threads only if its owner says so ([`Worker::with_threads`]), and only for reading.
//!
//! ```text
//! Job ──► Worker ── Sweep, Look ──► looking ─┐
//!           │       Take ─────────► taking ──┤
//!           │       Read, Chunks ─► reading ─┼──► Tree, Staging, History
//!           │       Write, Drop ──► stages ──┤
//!           │       Commit ───────► changing ┤
//!           │       History, Prune, ─────────┤
//!           │       Name, Restore ► history ─┘
//!           └── guard, rules: what the user keeps out of the share
//! ```
//!
//! A commit uses up the staged files that it names, however it ends, but for those that are not complete yet
//! ([`Committed::NotStaged`](shoal_engine::disk::Committed::NotStaged)).

mod changing;
mod guard;
mod history;
mod looking;
mod reading;
mod rules;
mod spread;
mod stages;
mod taking;
mod words;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shoal_engine::disk::{Answer, Compare, Job, Sweep, Wanted};
use shoal_engine::io::Hint;
use shoal_proto::chunk::ChunkList;
use shoal_proto::hash::ContentId;

use self::changing::Changing;
use self::guard::Guard;
use self::looking::{Looker, Sweeps};
use self::reading::{Reader, local_chunks};
use self::rules::{Of, Rules};
use self::stages::Stages;
use self::taking::Taking;
use crate::buffers::Buffers;
use crate::folder::{Folder, RootError, Shared};
use crate::fs::Fs;
use crate::os::Os;
use crate::sweep::Left;
use crate::watch::{Heard, Scope, Watch, WatchStatus};

pub use self::guard::{IGNORE_NAME, IgnoreError, IgnoreTexts};
pub use self::looking::LEFT_OUT_MAX;
pub use self::rules::{IGNORE_BYTES_MAX, IGNORE_LINE_BYTES_MAX, IGNORE_RULES_MAX};

/// What performs the jobs of one share's disk.
#[derive(Debug)]
pub struct Worker<F: Fs = Os> {
    folder: Folder<F>,
    guard: Arc<Guard<F>>,
    stages: Stages<F>,
    sweeps: Mutex<Sweeps<F>>,
    /// Held while a commit is under way: they come one after the other.
    committing: Mutex<()>,
    was_unclean: AtomicBool,
    folds_case: bool,
    threads: usize,
    buffers: Buffers,
}

impl Worker {
    /// Watches the tree, but for what the user keeps out of it, also when that changes.
    ///
    /// Returns at once; `hear` is called in a thread of the watch's own and must not wait. The first hint is
    /// [`Hint::Lost`], when all is watched: whoever opens the share then, or looks at everything, misses nothing.
    ///
    /// # Errors
    /// When the system gives no thread, or no handle to wake it with.
    pub fn watch(
        &self,
        hear: impl FnMut(&WatchStatus, Vec<Hint>) -> Heard + Send + 'static,
    ) -> io::Result<Watch> {
        let (folder, scope) = self.watched();
        Watch::start(folder, scope, Box::new(hear))
    }

    /// What a watch is of.
    pub(crate) fn watched(&self) -> (&Folder, Scope) {
        let guard = Arc::clone(&self.guard);
        (&self.folder, Scope::Tree(guard))
    }
}

impl<F: Fs> Worker<F> {
    /// A worker in this folder. There must be no other one.
    pub fn new(folder: &Folder<F>) -> Self {
        let shared = &folder.shared;
        Self {
            folder: folder.clone(),
            guard: Arc::new(Guard::new(Arc::clone(shared))),
            stages: Stages::new(Arc::clone(shared)),
            sweeps: Mutex::default(),
            committing: Mutex::default(),
            was_unclean: AtomicBool::new(false),
            folds_case: shared.folds_case(),
            threads: 1,
            buffers: Buffers::default(),
        }
    }

    /// The same, and so many threads share what reads much, whoever calls among them; with one, as at first, nothing is
    /// done but in the thread that calls, and when it does.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// The same, and what it reads to be sent is put into these buffers.
    #[must_use]
    pub fn with_buffers(self, buffers: Buffers) -> Self {
        Self { buffers, ..self }
    }

    /// From now on nothing is begun, and what reads much breaks off at the next of its reads; the answers say that it failed.
    /// For who closes a share and waits until no job is under way any more.
    pub fn end(&self) {
        self.shared().ends.store(true, Ordering::Relaxed);
    }

    /// Tells whether the machine may have stopped without having written everything out since the folder was last
    /// looked through. As long as it is so, what looks like the work of a power cut is told to be suspicious (E26).
    pub fn was_unclean(&self, was: bool) {
        self.was_unclean.store(was, Ordering::Relaxed);
    }

    /// Puts the rules in force that stand in [`IGNORE_NAME`], whoever wrote them.
    ///
    /// # Errors
    /// When they are no rules, or cannot be read or kept; those in force stay so.
    pub fn accept_ignore(&self) -> Result<(), IgnoreError> {
        self.guard.accept()
    }

    /// Whether what stands in [`IGNORE_NAME`] came from another device and waits for [`Self::accept_ignore`].
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_ignore_offered(&self) -> Result<bool, IgnoreError> {
        self.guard.is_offered()
    }

    /// The rules in force, and those that wait for [`Self::accept_ignore`], as they were written.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn ignore_texts(&self) -> Result<IgnoreTexts, IgnoreError> {
        self.guard.texts()
    }

    /// The names that the last sweep over everything met and that no path of a share can say, so that no answer could
    /// tell them; at most [`LEFT_OUT_MAX`].
    pub fn left_out(&self) -> Vec<Left> {
        self.sweeps().left_out().to_vec()
    }

    /// Performs a job.
    ///
    /// Waits for the disk. May be called from several threads at once; two jobs about one staged file, or two sweeps,
    /// wait for each other.
    pub fn perform(&self, job: Job) -> Answer {
        if self.shared().ends.load(Ordering::Relaxed) {
            return Answer::Failed("the share is being closed".to_owned());
        }
        match job {
            Job::Write(writes) => self.at_root(|worker| {
                worker.heeding(false, |rules| {
                    let mut reader = worker.reader(rules);
                    let writes = writes.into_iter();
                    let written = writes.map(|write| worker.stages.write(&mut reader, write)).collect();
                    worker.stages.close_some();
                    Answer::Written(written)
                })
            }),
            Job::Sweep(asked) => self.at_root(|worker| {
                // Rules are read again when a sweep begins: two edits within a tick of the clock look alike.
                let is_beginning = asked.below.is_none() && asked.after.is_none();
                worker.heeding(is_beginning, |rules| worker.sweep(rules, &asked))
            }),
            Job::Look(paths) => self.at_root(|worker| {
                worker.heeding(false, |rules| {
                    let mut looker = worker.looker(rules);
                    Answer::Looked(paths.iter().map(|path| looker.look(path)).collect())
                })
            }),
            Job::Ignores(paths) => self.at_root(|worker| {
                worker.heeding(false, |rules| {
                    let is_ignored = |(path, is_folder): &(_, bool)| {
                        rules.ignore(path, if *is_folder { Of::Folder } else { Of::Other })
                    };
                    Answer::Ignores(paths.iter().map(is_ignored).collect())
                })
            }),
            Job::Take(paths) => self.at_root(|worker| {
                worker.heeding(false, |rules| {
                    let taking = Taking {
                        folder: worker.shared(),
                        rules,
                        folds_case: worker.folds_case,
                        was_unclean: worker.is_unclean(),
                        threads: worker.threads,
                    };
                    taking.perform(&paths)
                })
            }),
            Job::Commit(changes) => self.at_root(|worker| {
                let _guard = worker.committing.lock().unwrap_or_else(PoisonError::into_inner);
                worker.heeding(false, |rules| Answer::Committed(worker.changing(rules).perform(changes)))
            }),
            Job::Drop(stages) => {
                stages.into_iter().for_each(|stage| self.stages.forget(stage));
                Answer::Dropped
            }
            Job::Read(wanted) => self.heeding(false, |rules| {
                let mut reader = self.reader(rules);
                Answer::Read(wanted.iter().map(|wanted| reader.read(wanted)).collect())
            }),
            Job::Compare(compare) => self.heeding(false, |rules| self.compare(rules, &compare)),
            Job::Chunks { content, wanted } => {
                self.heeding(false, |rules| self.chunks(rules, &content, &wanted))
            }
            Job::History { after } => history::page(&self.folder.history(), after),
            Job::Name(number) => history::name(&self.folder.history(), number),
            Job::Prune { numbers, tidies } => history::prune(&self.folder.history(), &numbers, tidies),
            Job::Restore(restore) => self.at_root(|worker| {
                worker.heeding(false, |rules| {
                    let changing = worker.changing(rules);
                    let restored = history::Restoring { folder: worker.shared(), changing: &changing }
                        .perform(*restore, &worker.committing);
                    Answer::Restored(Box::new(restored))
                })
            }),
        }
    }

    fn sweep(&self, rules: &Arc<Rules>, asked: &Sweep) -> Answer {
        // What is listed under another name is not there under this one.
        let below = asked.below.as_ref().map(|below| self.looker(rules).stranger(below));
        match below.transpose().map(Option::flatten) {
            Ok(None) => self.sweeps().page(&self.folder.tree(), self.threads, rules, asked),
            Ok(Some(_)) => Answer::Swept { entries: Vec::new(), is_end: true },
            Err(error) => Answer::Failed(format!("cannot look through the folder: {error}")),
        }
    }

    fn compare(&self, rules: &Rules, compare: &Compare) -> Answer {
        let near = self.reader(rules).near(compare);
        let is_gone = near.is_empty() && !compare.near.is_empty();
        let missing = || local_chunks(compare, &near).missing(&compare.chunks);
        Answer::Compared((!is_gone).then(missing))
    }

    fn chunks(&self, rules: &Rules, content: &ContentId, wanted: &Wanted) -> Answer {
        let bytes = self.reader(rules).read(wanted);
        Answer::Chunks(bytes.map(|bytes| ChunkList::of(content, &bytes)))
    }

    /// Does something if the folder still is the one that was opened.
    fn at_root(&self, deed: impl FnOnce(&Self) -> Answer) -> Answer {
        match self.folder.check_root() {
            Ok(()) => deed(self),
            // That the system cannot say does not mean that it is another one.
            Err(error @ RootError::Io { .. }) => Answer::Failed(words::told(&error)),
            Err(error) => Answer::NotTheRoot(words::told(&error)),
        }
    }

    /// Does something with the rules in force. Where they cannot be known nothing is done: it could be the wrong thing.
    fn heeding(&self, afresh: bool, deed: impl FnOnce(&Arc<Rules>) -> Answer) -> Answer {
        match self.guard.rules(afresh, self.is_unclean()) {
            Ok(rules) => deed(&rules),
            Err(why) => Answer::Failed(why),
        }
    }

    fn is_unclean(&self) -> bool {
        self.was_unclean.load(Ordering::Relaxed)
    }

    fn shared(&self) -> &Arc<Shared<F>> {
        &self.folder.shared
    }

    fn looker<'a>(&'a self, rules: &'a Rules) -> Looker<'a, F> {
        Looker::new(self.shared(), rules, self.folds_case)
    }

    fn reader<'a>(&'a self, rules: &'a Rules) -> Reader<'a, F> {
        Reader::new(self.shared(), &self.stages, rules, &self.buffers)
    }

    fn changing<'a>(&'a self, rules: &'a Rules) -> Changing<'a, F> {
        Changing {
            folder: self.shared(),
            stages: &self.stages,
            guard: &self.guard,
            rules,
            was_unclean: self.is_unclean(),
            folds_case: self.folds_case,
        }
    }

    /// A sweep that a panic left half read is begun anew.
    fn sweeps(&self) -> MutexGuard<'_, Sweeps<F>> {
        self.sweeps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
