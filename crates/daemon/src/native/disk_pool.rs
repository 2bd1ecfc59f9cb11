//! The threads that perform jobs of disks, for all shares.
//!
//! Promise: a job of a second (looking through a tree, naming a large file) never keeps all threads from those that take a
//! moment: long ones have at most half of the threads. Each job is answered once. When the pool is dropped, what is
//! under way is finished, and what was not begun is not.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use shoal_disk::Worker;
use shoal_engine::disk::{Answer, Job};

/// Something to be done.
type Task = Box<dyn FnOnce() + Send>;

/// The threads.
#[derive(Debug)]
pub(super) struct DiskPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    given: Condvar,
}

#[derive(Default)]
struct Queue {
    short: VecDeque<Task>,
    long: VecDeque<Task>,
    /// How many long ones may be begun.
    long_free: usize,
    is_over: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { short, long, long_free, is_over } = self;
        let told = (short.len(), long.len(), long_free, is_over);
        formatter.debug_tuple("Queue").field(&told).finish()
    }
}

impl DiskPool {
    /// Starts so many threads, but at least two.
    pub(super) fn start(threads: usize) -> io::Result<Self> {
        let threads = threads.max(2);
        let queue = Mutex::new(Queue { long_free: threads / 2, ..Queue::default() });
        let shared = Arc::new(Shared { queue, given: Condvar::new() });
        let mut pool = Self { shared: Arc::clone(&shared), threads: Vec::with_capacity(threads) };
        for _ in 0..threads {
            let shared = Arc::clone(&shared);
            pool.threads.push(thread::Builder::new().name("disk".into()).spawn(move || shared.work())?);
        }
        Ok(pool)
    }

    /// Has a job performed; `answer` is called with its answer, from one of the threads, once that holds the worker no more.
    pub(super) fn perform(
        &self,
        worker: &Arc<Worker>,
        job: Job,
        answer: impl FnOnce(Answer) + Send + 'static,
    ) {
        let is_long = is_long(&job);
        let worker = Arc::clone(worker);
        let task: Task = Box::new(move || {
            // What is under way in the worker is made to be broken off at any place (I17).
            let done = catch_unwind(AssertUnwindSafe(|| worker.perform(job)));
            drop(worker);
            answer(done.unwrap_or_else(|_| Answer::Failed("a job of the disk has panicked".to_owned())));
        });
        let queue = &mut *self.shared.queue();
        let waiting = if is_long { &mut queue.long } else { &mut queue.short };
        waiting.push_back(task);
        self.shared.given.notify_one();
    }
}

impl Drop for DiskPool {
    fn drop(&mut self) {
        self.shared.queue().is_over = true;
        self.shared.given.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self) {
        while let Some((task, is_long)) = self.next() {
            task();
            if is_long {
                self.queue().long_free += 1;
                self.given.notify_one();
            }
        }
    }

    /// Waits for something to do; `None`: it is over.
    fn next(&self) -> Option<(Task, bool)> {
        let mut queue = self.queue();
        loop {
            if queue.is_over {
                return None;
            }
            if let Some(task) = queue.short.pop_front() {
                return Some((task, false));
            }
            if queue.long_free > 0
                && let Some(task) = queue.long.pop_front()
            {
                queue.long_free -= 1;
                return Some((task, true));
            }
            queue = self.given.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The queue is whole at any moment.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it may read much, and so take long.
fn is_long(job: &Job) -> bool {
    matches!(
        job,
        Job::Sweep(_)
            | Job::Take(_)
            | Job::History { .. }
            | Job::Name(_)
            | Job::Prune { .. }
            | Job::Restore(_)
    )
}
