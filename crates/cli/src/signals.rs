//! What asks the program to end: ctrl-C, ctrl-\, and an orderly kill.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Completes when the program is asked to end; to be called inside the runtime, before anything else starts.
pub(crate) fn end_requested() -> anyhow::Result<impl Future<Output = ()>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut interrupt: Signal = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut quit = listen(SignalKind::quit())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = quit.recv() => {}
        }
    })
}
