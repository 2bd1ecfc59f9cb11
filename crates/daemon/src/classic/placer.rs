//! Puts fetched files in place, batch by batch, on a thread of its own.
//!
//! Promise: what is reported as placed is durable. A batch is closed when it is full, after
//! [`BATCH_WAIT`], or when no further file is coming; while one is made durable, others are fetched.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use shoal_classic::fetch::Answer;
use shoal_classic::synchronizer::{Fetched, JobId};
use shoal_disk::{
    BATCH_BYTES_MAX, BATCH_FILES_MAX, CommitError, Committer, Deed, FinishedFile, Folder, Outcome, Placement,
};
use tokio::sync::oneshot;

use super::Notice;
use super::driver::{Report, Reports};
use super::fetcher::chain;
use super::limits::{BATCH_WAIT, WAITING_FILES_MAX};
use super::view::View;

/// A file to put in place.
pub(super) struct Put {
    pub(super) job: JobId,
    pub(super) staged: FinishedFile,
    pub(super) deed: Deed,
    pub(super) source: SocketAddr,
    pub(super) mtime: i64,
    pub(super) answer: Answer,
    pub(super) bytes: u64,
}

/// The way to the thread.
#[derive(Clone)]
pub(super) struct Placer {
    orders: SyncSender<Order>,
    view: View,
}

enum Order {
    Put(Box<Put>),
    /// No further file is coming for now.
    Flush,
    /// Commit what is there, then end and say so.
    Finish(oneshot::Sender<()>),
}

impl Placer {
    pub(super) fn start(folder: &Folder, view: View, reports: Reports) -> io::Result<Self> {
        let (orders, inbox) = sync_channel(WAITING_FILES_MAX);
        let thread = Thread { committer: folder.committer(), view: view.clone(), reports };
        std::thread::Builder::new().name("placer".into()).spawn(move || thread.run(&inbox))?;
        Ok(Self { orders, view })
    }

    pub(super) const fn view(&self) -> &View {
        &self.view
    }

    /// Hands over a file; waits while too many are waiting.
    pub(super) fn put(&self, put: Put) {
        // Without the thread the program is ending, and the staged file removes itself.
        let _ = self.orders.send(Order::Put(Box::new(put)));
    }

    /// Says that no further file is coming for now.
    pub(super) fn flush(&self) {
        // When the queue is full the batch is, too.
        let _ = self.orders.try_send(Order::Flush);
    }

    /// Commits what was handed over, then ends.
    pub(super) async fn finish(self) {
        let (done, ended) = oneshot::channel();
        let orders = self.orders;
        let asked = tokio::task::spawn_blocking(move || orders.send(Order::Finish(done)));
        let _ = asked.await;
        let _ = ended.await;
    }
}

struct Thread {
    committer: Committer,
    view: View,
    reports: Reports,
}

/// What a batch knows of a placement while it is committed.
struct Waiting {
    job: JobId,
    answer: Answer,
    bytes: u64,
    mtime: i64,
}

impl Thread {
    fn run(&self, inbox: &Receiver<Order>) {
        while let Ok(first) = inbox.recv() {
            let (batch, done) = gather(first, inbox);
            self.commit(batch);
            if let Some(done) = done {
                let _ = done.send(());
                return;
            }
        }
    }

    fn commit(&self, batch: Vec<Put>) {
        if batch.is_empty() {
            return;
        }
        let began = Instant::now();
        let mut waiting = Vec::with_capacity(batch.len());
        let mut placements = Vec::with_capacity(batch.len());
        for Put { job, staged, deed, source, mtime, answer, bytes } in batch {
            waiting.push(Waiting { job, answer, bytes, mtime });
            placements.push(Placement { staged, deed, by: source.to_string() });
        }
        for (committed, waiting) in self.committer.commit(placements).into_iter().zip(waiting) {
            let job = waiting.job;
            let fetched = self.result(&committed.name, committed.outcome, &waiting);
            if self.reports.blocking_send(Report::Fetched(job, fetched)).is_err() {
                return;
            }
        }
        tracing::debug!(ms = began.elapsed().as_millis(), "batch committed");
    }

    fn result(&self, name: &shoal_disk::Name, outcome: Outcome, waiting: &Waiting) -> Fetched {
        let placed = |replaced| Fetched::Placed { answer: waiting.answer, bytes: waiting.bytes, replaced };
        match outcome {
            Outcome::Placed { stat, kept, late_edit } => {
                self.view.placed(name, &stat, waiting.mtime);
                if let (true, Some(number)) = (late_edit, kept) {
                    let why = format!(
                        "a program went on writing to the version that was replaced; what it wrote is in history as number {number}"
                    );
                    let notice = Notice::Unlisted { name: name.to_string(), why };
                    let _ = self.reports.blocking_send(Report::Notice(notice));
                }
                placed(kept.is_some())
            }
            Outcome::Adopted { stat } => {
                self.view.placed(name, &stat, waiting.mtime);
                placed(false)
            }
            Outcome::ChangedHere { .. } => {
                Fetched::BadHere("it was changed here at the same moment; kept the one here".into())
            }
            Outcome::Failed(error) => failure(&error),
        }
    }
}

/// Collects a batch, beginning with `first`.
fn gather(first: Order, inbox: &Receiver<Order>) -> (Vec<Put>, Option<oneshot::Sender<()>>) {
    let closes_at = Instant::now() + BATCH_WAIT;
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    loop {
        match next.take() {
            Some(Order::Put(put)) => {
                bytes += put.bytes;
                batch.push(*put);
            }
            Some(Order::Flush) => return (batch, None),
            Some(Order::Finish(done)) => return (batch, Some(done)),
            None => {}
        }
        if batch.len() >= BATCH_FILES_MAX || bytes >= BATCH_BYTES_MAX {
            return (batch, None);
        }
        match inbox.recv_timeout(closes_at.saturating_duration_since(Instant::now())) {
            Ok(order) => next = Some(order),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return (batch, None),
        }
    }
}

fn failure(error: &CommitError) -> Fetched {
    if error.is_out_of_space() { Fetched::NoSpace(chain(error)) } else { Fetched::BadHere(chain(error)) }
}
