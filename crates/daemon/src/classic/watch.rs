//! Watches the folder for `--live`: what changes is looked at again, and reported when it is quiet.
//!
//! Promise: the watcher is a hint (`I33`): a lost event delays a change until the next full look, at most
//! [`FULL_LOOK_INTERVAL`]. What is quiet, `settling` decides.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use shoal_disk::{Folder, Heard, POLL_INTERVAL, Watch, WatchStatus};

use super::Notice;
use super::driver::{Report, Reports};
use super::limits::{BURST_WAIT, FULL_LOOK_INTERVAL};
use super::settling::Settling;
use super::view::View;

/// A watched folder; dropped, it is no longer watched.
pub(super) struct LiveWatch {
    _watch: Option<Watch>,
    hint: SyncSender<()>,
}

impl LiveWatch {
    /// Has the folder looked at again soon.
    pub(super) fn look_again(&self) {
        // One hint that waits is enough.
        let _ = self.hint.try_send(());
    }

    pub(super) fn start(folder: &Folder, view: View, reports: Reports) -> io::Result<Self> {
        // One place is enough: an event says no more than «look again».
        let (hint, hints) = sync_channel(1);
        let (hinted, told) = (hint.clone(), reports.clone());
        let mut is_told = false;
        let watch = folder.watch_names(move |status, _| {
            if status.polled > 0 && !is_told {
                is_told = tell(&told, polled(status));
            }
            let _ = hinted.try_send(());
            Heard::Taken
        });
        if let Err(error) = &watch {
            tell(
                &reports,
                format!("the folder cannot be watched ({error}); it is looked through every minute instead"),
            );
        }
        let settling = Settling::default();
        let eye = Eye { folder: folder.clone(), view, reports, settling, began: Instant::now() };
        std::thread::Builder::new().name("watch".into()).spawn(move || eye.run(&hints))?;
        Ok(Self { _watch: watch.ok(), hint })
    }
}

/// Why the folder is looked through again and again.
fn polled(status: &WatchStatus) -> String {
    let seconds = POLL_INTERVAL.as_secs();
    let why = status.why.map_or_else(String::new, |why| format!(": {why}"));
    format!("the folder cannot be watched; it is looked through every {seconds} s instead{why}")
}

/// `false`: there is no room for it just now.
fn tell(reports: &Reports, why: String) -> bool {
    reports.try_send(Report::Notice(Notice::Unlisted { name: ".".into(), why })).is_ok()
}

struct Eye {
    folder: Folder,
    view: View,
    reports: Reports,
    settling: Settling,
    began: Instant,
}

impl Eye {
    fn run(mut self, hints: &Receiver<()>) {
        let mut next_look = Instant::now();
        loop {
            match hints.recv_timeout(next_look.saturating_duration_since(Instant::now())) {
                Ok(()) => {
                    let quiet_at = Instant::now() + BURST_WAIT;
                    while hints.recv_timeout(quiet_at.saturating_duration_since(Instant::now())).is_ok() {}
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let Some(pause) = self.look() else { return };
            next_look = Instant::now() + pause;
        }
    }

    /// Looks at the folder, reports what is quiet; how long until the next look, or `None` at the end.
    fn look(&mut self) -> Option<Duration> {
        let mut notices = Vec::new();
        let files_placed = self.view.files_placed();
        let scanned = match self.folder.scan() {
            Ok(scan) => self.view.take(scan, &mut |notice| notices.push(notice)),
            Err(error) => {
                tracing::warn!(%error, "folder not read");
                return Some(FULL_LOOK_INTERVAL);
            }
        };
        for notice in notices {
            self.reports.blocking_send(Report::Notice(notice)).ok()?;
        }
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (settled, wait) = self.settling.settle(scanned, unix, self.began.elapsed());
        let folder = settled.clone();
        self.reports.blocking_send(Report::Scanned { folder, files_placed }).ok()?;
        Some(wait.unwrap_or(FULL_LOOK_INTERVAL))
    }
}
