//! The commands, a file each.

mod completions;
mod conflicts;
mod devices;
mod history;
mod ignore;
mod invite;
mod join;
mod leave;
mod pause;
mod reload;
mod rescan;
mod resolve;
mod restore;
mod resume;
mod revert;
mod revoke;
mod share;
mod shares;
mod status;
mod stop;
mod sync;
mod tracker;
mod undo;
mod up;
mod wait;
mod why;

use crate::exit::Exit;

/// What to do.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Share(share::ShareArgs),
    Join(join::JoinArgs),
    Up(up::UpArgs),
    Stop(stop::StopArgs),
    Status(status::StatusArgs),
    Wait(wait::WaitArgs),
    Why(why::WhyArgs),
    Shares(shares::SharesArgs),
    Leave(leave::LeaveArgs),
    Devices(devices::DevicesArgs),
    Invite(invite::InviteArgs),
    Revoke(revoke::RevokeArgs),
    History(history::HistoryArgs),
    Restore(restore::RestoreArgs),
    Undo(undo::UndoArgs),
    Revert(revert::RevertArgs),
    Conflicts(conflicts::ConflictsArgs),
    Resolve(resolve::ResolveArgs),
    Ignore(ignore::IgnoreArgs),
    Pause(pause::PauseArgs),
    Resume(resume::ResumeArgs),
    Rescan(rescan::RescanArgs),
    Reload(reload::ReloadArgs),
    Sync(sync::SyncArgs),
    Tracker(tracker::TrackerArgs),
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// What is logged when nobody says otherwise.
    pub(crate) const fn default_log(&self) -> &'static str {
        match self {
            Self::Tracker(_) | Self::Up(_) => "info",
            _ => "warn",
        }
    }

    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Share(args) => share::share(args),
            Self::Join(args) => join::join(args),
            Self::Up(args) => up::up(&args),
            Self::Stop(args) => stop::stop(&args),
            Self::Status(args) => status::status(&args),
            Self::Wait(args) => wait::wait(&args),
            Self::Why(args) => why::why(&args),
            Self::Shares(args) => shares::shares(&args),
            Self::Leave(args) => leave::leave(&args),
            Self::Devices(args) => devices::devices(&args),
            Self::Invite(args) => invite::invite(&args),
            Self::Revoke(args) => revoke::revoke(&args),
            Self::History(args) => history::history(&args),
            Self::Restore(args) => restore::restore(&args),
            Self::Undo(args) => undo::undo(&args),
            Self::Revert(args) => revert::revert(&args),
            Self::Conflicts(args) => conflicts::conflicts(&args),
            Self::Resolve(args) => resolve::resolve(&args),
            Self::Ignore(args) => ignore::ignore(&args),
            Self::Pause(args) => pause::pause(&args),
            Self::Resume(args) => resume::resume(&args),
            Self::Rescan(args) => rescan::rescan(&args),
            Self::Reload(args) => reload::reload(&args),
            Self::Sync(args) => sync::sync(args),
            Self::Tracker(args) => tracker::tracker(args),
            Self::Completions(args) => completions::completions(&args),
        }
    }
}
