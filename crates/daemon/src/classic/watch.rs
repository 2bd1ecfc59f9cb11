//! Watches the folder for `--live`: what changes is looked at again, and reported when it is quiet.
//!
//! Promise: the watcher is a hint (`I33`): a lost event delays a change until the next full look, at most
//! [`FULL_LOOK_INTERVAL`]. A file is reported only once its second has passed without a further write (`I22`),
//! because the protocol counts in seconds: a second edit within one would have the first one's version. A file
//! that never rests is reported all the same after [`RESTLESS_MAX`].

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use notify::{RecursiveMode, Watcher};
use shoal_classic::FileName;
use shoal_classic::plan::{Folder as Looked, Here};
use shoal_disk::Folder;

use super::Notice;
use super::driver::{Report, Reports};
use super::limits::{BURST_WAIT, FULL_LOOK_INTERVAL, RESTLESS_MAX};
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
        let eye = Eye { folder: folder.clone(), view, reports, reported: None, restless: BTreeMap::new() };
        std::thread::Builder::new().name("watch".into()).spawn(move || eye.run(&hints))?;
        Ok(Self { _watcher: watcher.ok(), hint })
    }
}

struct Eye {
    folder: Folder,
    view: View,
    reports: Reports,
    /// What was reported last.
    reported: Option<Looked>,
    /// Files that were written within the last second, and since when that has been so.
    restless: BTreeMap<FileName, Instant>,
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
        let (looked, wait) = self.settle(scanned);
        self.reported = Some(looked.clone());
        self.reports.blocking_send(Report::Scanned { folder: looked, files_placed }).ok()?;
        Some(wait.unwrap_or(FULL_LOOK_INTERVAL))
    }

    /// Holds back what was written within this second; how long until it may be quiet.
    fn settle(&mut self, mut looked: Looked) -> (Looked, Option<Duration>) {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let this_second = i64::try_from(unix.as_secs()).unwrap_or(i64::MAX);
        let before = self.reported.take();
        let old = |name: &FileName| before.as_ref().and_then(|before| before.get(name)).cloned();
        let fresh: Vec<FileName> = looked
            .iter()
            .filter(|(name, here)| {
                let is_fresh = matches!(here, Here::File { mtime } if *mtime == this_second);
                is_fresh && old(name).as_ref() != Some(here)
            })
            .map(|(name, _)| name.clone())
            .collect();
        self.restless.retain(|name, _| fresh.contains(name));
        let mut is_waiting = false;
        for name in fresh {
            let since = *self.restless.entry(name.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= RESTLESS_MAX {
                continue;
            }
            is_waiting = true;
            match old(&name) {
                Some(here) => looked.insert(name, here),
                None => looked.remove(&name),
            };
        }
        self.reported = before;
        let rest_of_second =
            Duration::from_secs(1).saturating_sub(Duration::from_nanos(unix.subsec_nanos().into()));
        (looked, is_waiting.then_some(rest_of_second + Duration::from_millis(5)))
    }
}
