//! How much of what comes over a connection may wait for the engine.
//!
//! Promise: whoever reads a connection passes the gate with each message, and waits there while the engine has enough of
//! it; so a member that sends without end fills a few places here and then the buffers of its own machine (I30).

use std::sync::{Condvar, Mutex, PoisonError};

/// So many messages of one connection may wait in the inbox.
pub const MESSAGES_WAITING_MAX: u32 = 64;

/// The gate of one connection.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    opened: Condvar,
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

    /// So many were heard, and more are welcome.
    pub(super) fn open(&self, heard: u32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting = state.waiting.saturating_sub(heard);
        self.opened.notify_all();
    }

    /// The connection is over: whoever waits is let go.
    pub fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.opened.notify_all();
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
}
