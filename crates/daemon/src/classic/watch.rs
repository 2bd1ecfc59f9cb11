//! Watches the folder for `--live`: what changes is looked at again, and reported when it is quiet.
//!
//! Promise: the watcher is a hint (`I33`): a lost event delays a change until the next full look, at most
//! [`FULL_LOOK_INTERVAL`]. What is quiet, `settling` decides.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use notify::{RecursiveMode, Watcher};
use shoal_disk::Folder;

use super::Notice;
use super::driver::{Report, Reports};
use super::limits::{BURST_WAIT, FULL_LOOK_INTERVAL};
use super::settling::Settling;
use super::view::View;

/// A watched folder; dropped, it is no longer watched.
pub(super) struct LiveWatch {
    _watcher: Option<notify::RecommendedWatcher>,
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
        let hinted = hint.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let is_read_only = event.as_ref().is_ok_and(|event| event.kind.is_access());
            if !is_read_only {
                let _ = hinted.try_send(());
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(folder.path(), RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            let why =
                format!("the folder cannot be watched ({error}); it is looked through every minute instead");
            let _ = reports.try_send(Report::Notice(Notice::Unlisted { name: ".".into(), why }));
        }
        let settling = Settling::default();
        let eye = Eye { folder: folder.clone(), view, reports, settling, began: Instant::now() };
        std::thread::Builder::new().name("watch".into()).spawn(move || eye.run(&hints))?;
        Ok(Self { _watcher: watcher.ok(), hint })
    }
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
