//! How much of what comes over a connection may wait for the engine.
//!
//! Promise: whoever reads a connection passes the gate with each message, and waits there while the engine has enough of
//! it; so a member that sends without end fills a few places here and then the buffers of its own machine (I30).

use std::sync::{Condvar, Mutex, PoisonError};

use tokio::sync::Notify;

/// So many messages of one connection may wait in the inbox.
pub const MESSAGES_WAITING_MAX: u32 = 64;

/// The gate of one connection.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    opened: Condvar,
    /// The same for those who wait in a task.
    opens: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: u32,
    is_over: bool,
}

impl Gate {
    /// Waits until another message may be handed over; `false`: the connection is over, and nobody hears it any more.
    pub fn pass(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let must_wait = |state: &mut State| !state.is_over && state.waiting >= MESSAGES_WAITING_MAX;
        let mut state = self.opened.wait_while(state, must_wait).unwrap_or_else(PoisonError::into_inner);
        state.waiting += 1;
        !state.is_over
    }

    /// As [`Self::pass`], for who may not hold up its thread.
    pub async fn passes(&self) -> bool {
        loop {
            // Registered before the look, so that no opening is missed.
            let mut opens = std::pin::pin!(self.opens.notified());
            opens.as_mut().enable();
            {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                if state.is_over || state.waiting < MESSAGES_WAITING_MAX {
                    state.waiting += 1;
                    return !state.is_over;
                }
            }
            opens.await;
        }
    }

    /// So many were heard, and more are welcome.
    pub(super) fn open(&self, heard: u32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting = state.waiting.saturating_sub(heard);
        self.opened.notify_all();
        self.opens.notify_waiters();
    }

    /// The connection is over: whoever waits is let go.
    pub fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.opened.notify_all();
        self.opens.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn who_reads_waits_while_the_gate_is_full_and_is_let_go_at_the_end() {
        let gate = Arc::new(Gate::default());
        let (passed, passes) = channel();
        let reader = thread::spawn({
            let gate = Arc::clone(&gate);
            move || {
                while gate.pass() {
                    passed.send(()).unwrap();
                }
            }
        });
        let full = usize::try_from(MESSAGES_WAITING_MAX).unwrap();
        assert_eq!(passes.iter().take(full).count(), full);
        assert!(passes.try_recv().is_err(), "it waits");
        gate.open(2);
        assert_eq!(passes.iter().take(2).count(), 2);
        gate.end();
        reader.join().unwrap();
        assert_eq!(passes.iter().count(), 0);
    }

    #[tokio::test]
    async fn a_task_waits_as_a_thread_does() {
        let gate = Arc::new(Gate::default());
        for _ in 0..MESSAGES_WAITING_MAX {
            assert!(gate.passes().await);
        }
        for (open, passes) in [(true, true), (false, false)] {
            let reader = tokio::spawn({
                let gate = Arc::clone(&gate);
                async move { gate.passes().await }
            });
            tokio::task::yield_now().await;
            assert!(!reader.is_finished(), "it waits");
            if open {
                gate.open(1);
            } else {
                gate.end();
            }
            assert_eq!(reader.await.unwrap(), passes);
        }
    }
}
