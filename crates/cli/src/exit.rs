//! How the program ends.

use std::io::Write;
use std::process::ExitCode;

use shoal_daemon::classic::RunError;

/// How a command that ran to its end has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// All is well; for `sync`: in sync.
    Well,
    /// Something is not in sync; what, has been told.
    NotInSync,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Well => Self::SUCCESS,
            Exit::NotInSync => Self::from(3),
        }
    }
}

/// Says what went wrong, with its causes, in one line.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    say(&format!("error: {error:#}"));
    match error.downcast_ref() {
        // No folder to sync: the arguments are to blame.
        Some(RunError::Folder(_)) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}

/// Prints what reading the arguments came to: help, the version, or what is wrong with them.
pub(crate) fn unread(error: &clap::Error) -> ExitCode {
    match error.print() {
        Err(_) if !error.use_stderr() => ExitCode::FAILURE,
        _ => u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}

/// Says what was wrong with the arguments.
pub(crate) fn usage(error: &anyhow::Error) -> ExitCode {
    say(&format!("error: {error:#}\n\nFor more information, try '--help'."));
    ExitCode::from(2)
}

fn say(text: &str) {
    // When stderr is gone, nobody is there to be told.
    let _ = writeln!(std::io::stderr(), "{text}");
}
