//! The commands, a file each.

mod sync;
mod tracker;

use crate::exit::Exit;

/// What to do.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Sync(sync::SyncArgs),
    Tracker(tracker::TrackerArgs),
}

impl Command {
    /// What is logged when nobody says otherwise.
    pub(crate) const fn default_log(&self) -> &'static str {
        match self {
            Self::Sync(_) => "warn",
            Self::Tracker(_) => "info",
        }
    }

    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Sync(args) => sync::sync(args),
            Self::Tracker(args) => tracker::tracker(args),
        }
    }
}
