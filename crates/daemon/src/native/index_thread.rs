//! The thread of one share's index.
//!
//! Promise: jobs are performed one after the other, in the order in which they were given, and each is answered once; what
//! is answered is durable, and what of it is the roster's is kept outside of the index, too, or it is told that this cannot be
//! done just now. When the thread is dropped, what was given before is still performed, and the index closed.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use shoal_engine::index::{Answer, Job};
use shoal_engine::io::JobId;
use shoal_index::Index;

use crate::registry::RosterKeeper;

/// What the thread is given.
enum Ask {
    Job(JobId, Job),
    /// Something of the daemon's own.
    Look(Box<dyn FnOnce(&mut Index) + Send>),
}

/// An index at work.
#[derive(Debug)]
pub(super) struct IndexThread {
    /// Taken when it is dropped.
    asks: Option<Sender<Ask>>,
    thread: Option<JoinHandle<()>>,
}

impl IndexThread {
    /// Starts it. `answer` is called with each answer, from the thread.
    pub(super) fn start(
        mut index: Index,
        mut roster: Option<RosterKeeper>,
        answer: impl Fn(JobId, Answer) + Send + 'static,
    ) -> io::Result<Self> {
        let (asks, asked) = channel();
        let work = move || {
            let mut is_broken = false;
            for ask in asked {
                match ask {
                    Ask::Job(id, _) if is_broken => answer(id, broken()),
                    Ask::Job(id, job) => {
                        let done =
                            catch_unwind(AssertUnwindSafe(|| shoal_engine::index::perform(job, &mut index)));
                        is_broken = done.is_err();
                        if let Some(roster) = roster.as_mut().filter(|_| !is_broken) {
                            roster.keep(index.entries());
                        }
                        answer(id, done.unwrap_or_else(|_| broken()));
                    }
                    Ask::Look(look) => look(&mut index),
                }
            }
            if is_broken {
                // Left as after an unclean stop: the next start looks it through.
                return;
            }
            if let Some(roster) = &mut roster {
                roster.keep_at_last(index.entries());
            }
            if let Err(error) = index.close() {
                tracing::warn!("an index could not be closed cleanly: {error}");
            }
        };
        let thread = thread::Builder::new().name("index".into()).spawn(work)?;
        Ok(Self { asks: Some(asks), thread: Some(thread) })
    }

    /// Has a job performed.
    pub(super) fn perform(&self, id: JobId, job: Job) {
        self.give(Ask::Job(id, job));
    }

    /// Has something done with the index, after the jobs before it.
    pub(super) fn look(&self, look: impl FnOnce(&mut Index) + Send + 'static) {
        self.give(Ask::Look(Box::new(look)));
    }

    fn give(&self, ask: Ask) {
        // The thread ends only when it is dropped, or by a panic, which it has told of.
        if let Some(asks) = &self.asks {
            let _ = asks.send(ask);
        }
    }
}

/// What is in memory may be half of a job; what is in the file is not.
fn broken() -> Answer {
    Answer::Failed("a job of the index has panicked; it works again after a restart".to_owned())
}

impl Drop for IndexThread {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
