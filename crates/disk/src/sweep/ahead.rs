//! Reading ahead of who asks for pages, in threads of its own.
//!
//! Promise: what [`Ahead::next`] gives is what the tree shows, in the same order as without threads; at most some
//! [`NAMES_AHEAD_MAX`] names are read and not told, and a hundred folders open besides those on the way (E15, I30).
//!
//! What was read ahead is older than the question, by as long as the asker takes for a few pages. That is right: a look
//! tells how something was at some moment, and what happens after it is told by a watcher's hint or by the next sweep,
//! as for all that was told a page before. Nobody acts on what a sweep shows without another look.
//!
//! Two sorts of work are shared among the threads: going on with the descent, which one at a time can do and which gives
//! batches of names; and looking at the names of a batch. Who asks for what is not there yet does some of it.

use std::collections::VecDeque;
use std::panic;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::vec;

use super::Swept;
use super::descent::{Batch, Descent, Step};
use crate::folder::Shared;
use crate::fs::Fs;

/// A sweep that reads ahead. Its threads end when it is dropped, or when there is nothing left to be read.
#[derive(Debug)]
pub(super) struct Ahead<F: Fs> {
    desk: Arc<Desk<F>>,
    threads: Vec<JoinHandle<()>>,
    /// What was taken from the desk and not told.
    told: vec::IntoIter<Swept>,
}

/// Where the threads meet.
#[derive(Debug)]
struct Desk<F: Fs> {
    folder: Arc<Shared<F>>,
    state: Mutex<State<F>>,
    /// The first part is done, or a thread has failed.
    is_ready: Condvar,
    /// There is something to be done again, or nothing ever.
    has_work: Condvar,
}

#[derive(Debug)]
struct State<F: Fs> {
    /// `None` while a thread goes on with it, and at the end.
    descent: Option<Descent<F>>,
    is_descended: bool,
    /// What comes next, in order.
    parts: VecDeque<Part<F>>,
    /// How many parts were taken from the desk: the number of the first in `parts`.
    taken: usize,
    /// The numbers of those at which nobody looks yet.
    waiting: VecDeque<usize>,
    /// Names in `parts`.
    ahead: usize,
    is_ended: bool,
    has_failed: bool,
}

#[derive(Debug)]
enum Part<F: Fs> {
    /// Nobody looks at it yet.
    Waits(Batch<F>),
    /// Somebody does.
    UnderWay,
    /// What is to be told, and of how many names.
    Done(Vec<Swept>, usize),
}

/// Something that a thread can do.
enum Work<F: Fs> {
    Descend(Descent<F>),
    /// With the number of the part.
    Look(usize, Batch<F>),
}

impl<F: Fs> Ahead<F> {
    /// Goes on with a sweep: first with `batch`, then with the descent. `threads`: how many read, the asker's among them.
    pub(super) fn new(
        folder: Arc<Shared<F>>,
        descent: Descent<F>,
        batch: Option<Batch<F>>,
        threads: usize,
    ) -> Self {
        let mut state = State {
            descent: Some(descent),
            is_descended: false,
            parts: VecDeque::new(),
            taken: 0,
            waiting: VecDeque::new(),
            ahead: 0,
            is_ended: false,
            has_failed: false,
        };
        state.add(batch.map(Step::Look));
        let desk =
            Desk { folder, state: Mutex::new(state), is_ready: Condvar::new(), has_work: Condvar::new() };
        let desk = Arc::new(desk);
        // Those that cannot be had are done without: the asker does all that no other does.
        let reader = |_| {
            let desk = Arc::clone(&desk);
            thread::Builder::new().name("sweep".into()).spawn(move || desk.read_ahead()).ok()
        };
        let threads = (1..threads).map_while(reader).collect();
        Self { desk, threads, told: Vec::new().into_iter() }
    }

    /// What comes next; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Swept> {
        loop {
            if let Some(swept) = self.told.next() {
                return Some(swept);
            }
            match self.desk.next_part() {
                Ok(part) => self.told = part?.into_iter(),
                Err(Failed) => self.fail(),
            }
        }
    }

    /// Panics as the thread did that has failed.
    fn fail(&mut self) {
        for thread in self.threads.drain(..) {
            if let Err(cause) = thread.join() {
                panic::resume_unwind(cause);
            }
        }
    }
}

impl<F: Fs> Drop for Ahead<F> {
    fn drop(&mut self) {
        self.desk.state().is_ended = true;
        self.desk.has_work.notify_all();
        for thread in self.threads.drain(..) {
            // It holds the folder; and how it ended concerns nobody any more.
            let _ = thread.join();
        }
    }
}

/// A thread has panicked.
struct Failed;

impl<F: Fs> Desk<F> {
    /// What a thread does that nobody waits for.
    fn read_ahead(&self) {
        let _watch = Watch(self);
        let mut state = self.state();
        while !state.is_ended && !state.has_failed {
            state = match state.work() {
                Some(work) => self.perform(state, work),
                None if state.is_descended => return,
                None => self.has_work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// The next part, once it is done; `None`: there are no more.
    fn next_part(&self) -> Result<Option<Vec<Swept>>, Failed> {
        let mut state = self.state();
        loop {
            if state.has_failed {
                return Err(Failed);
            }
            if let Some(told) = state.take_first() {
                // Not for each part: who was woken has something to do then.
                if state.ahead < NAMES_AHEAD_MAX / 2 {
                    self.has_work.notify_all();
                }
                return Ok(Some(told));
            }
            if state.is_descended && state.parts.is_empty() {
                return Ok(None);
            }
            state = match state.work() {
                Some(work) => self.perform(state, work),
                None => self.is_ready.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Does some work without holding the state.
    fn perform<'a>(&'a self, state: MutexGuard<'a, State<F>>, work: Work<F>) -> MutexGuard<'a, State<F>> {
        drop(state);
        match work {
            Work::Descend(mut descent) => {
                let (steps, is_end) = go_on(&mut descent);
                let mut state = self.state();
                state.add(steps);
                state.is_descended = is_end;
                state.descent = (!is_end).then_some(descent);
                self.has_work.notify_all();
                self.is_ready.notify_one();
                state
            }
            Work::Look(number, mut batch) => {
                let names = batch.len();
                let (mut told, mut path) = (Vec::with_capacity(names), Vec::new());
                while let Some(next) = batch.look_at_next(&self.folder, &mut path) {
                    told.extend(next);
                }
                // A folder is not held open for its names alone.
                drop(batch);
                let mut state = self.state();
                let at = number - state.taken;
                state.parts[at] = Part::Done(told, names);
                if at == 0 {
                    self.is_ready.notify_one();
                }
                state
            }
        }
    }

    /// Nothing is done while it is held that could panic.
    fn state(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Some steps, and whether they are the last.
fn go_on<F: Fs>(descent: &mut Descent<F>) -> (Vec<Step<F>>, bool) {
    let (mut steps, mut names) = (Vec::new(), 0);
    while steps.len() < STEPS_AT_A_TIME && names < BATCH_NAMES_MAX {
        let Some(step) = descent.next(BATCH_NAMES_MAX) else { return (steps, true) };
        if let Step::Look(batch) = &step {
            names += batch.len();
        }
        steps.push(step);
    }
    (steps, false)
}

impl<F: Fs> State<F> {
    /// What is to be done next. Some parts are kept waiting, so that no thread waits for the descent.
    fn work(&mut self) -> Option<Work<F>> {
        if self.waiting.len() < PARTS_WAITING_MIN
            && self.ahead < NAMES_AHEAD_MAX
            && let Some(descent) = self.descent.take()
        {
            return Some(Work::Descend(descent));
        }
        let number = self.waiting.pop_front()?;
        match std::mem::replace(&mut self.parts[number - self.taken], Part::UnderWay) {
            Part::Waits(batch) => Some(Work::Look(number, batch)),
            Part::UnderWay | Part::Done(..) => None,
        }
    }

    fn add(&mut self, steps: impl IntoIterator<Item = Step<F>>) {
        for step in steps {
            let (part, names) = match step {
                Step::Look(batch) => {
                    self.waiting.push_back(self.taken + self.parts.len());
                    let names = batch.len();
                    (Part::Waits(batch), names)
                }
                Step::Tell(told) => (Part::Done(vec![told], 1), 1),
            };
            self.ahead += names;
            self.parts.push_back(part);
        }
    }

    /// What the first part tells, if it is done.
    fn take_first(&mut self) -> Option<Vec<Swept>> {
        match self.parts.pop_front()? {
            Part::Done(told, names) => {
                self.taken += 1;
                self.ahead -= names;
                Some(told)
            }
            other => {
                self.parts.push_front(other);
                None
            }
        }
    }
}

/// Tells of a thread that panics, so that nobody waits for it.
struct Watch<'a, F: Fs>(&'a Desk<F>);

impl<F: Fs> Drop for Watch<'_, F> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.state().has_failed = true;
            self.0.is_ready.notify_all();
            self.0.has_work.notify_all();
        }
    }
}

/// With so many names read and not told the descent rests: four pages of the engine's.
const NAMES_AHEAD_MAX: usize = if cfg!(test) { 12 } else { 4096 };

/// So many parts are to wait for somebody to look at them; each may hold a folder open.
const PARTS_WAITING_MIN: usize = 16;

/// The descent goes so many steps at a time, and each part that it gives may hold a folder open …
const STEPS_AT_A_TIME: usize = 64;

/// … or until it has given so many names, which is also the most that one thread looks at in a row.
pub(super) const BATCH_NAMES_MAX: usize = if cfg!(test) { 4 } else { 256 };

#[cfg(test)]
mod tests;
