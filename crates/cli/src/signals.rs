//! What the system may say to the program and grant it: an end (ctrl-C, ctrl-\, an orderly kill), and limits.

use anyhow::Context;
use rustix::process::Signal as Signals;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Lets the program have as many open files as the system grants it: a tracker has one for each peer.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Without more handles fewer peers are served at once, which is no reason to end.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Completes when the program is asked to end; to be called inside the runtime, before anything else starts.
pub(crate) fn end_requested() -> anyhow::Result<impl Future<Output = ()>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut interrupt: Signal = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut quit = listen(SignalKind::quit())?;
    // Heard so that it does not kill: a file that grows beyond a limit is an error of that file.
    let too_large = listen(SignalKind::from_raw(Signals::XFSZ.as_raw()))?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = quit.recv() => {}
        }
        drop(too_large);
    })
}

/// The hang-ups that the program is told of: a wish to read the configuration again.
pub(crate) fn hang_ups() -> anyhow::Result<Signal> {
    signal(SignalKind::hangup()).context("cannot listen for signals")
}
