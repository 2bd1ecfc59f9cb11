//! How the program ends.

use std::io::Write;
use std::process::ExitCode;

use shoal_daemon::classic::RunError;
use shoal_daemon::control::ClientError;
use shoal_daemon::control::types::{Code, Failure};

use crate::print::NobodyReads;

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

/// The arguments are to blame, which only showed when they were used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUse(pub(crate) String);

/// Says what went wrong, with its causes, in one line; and what to do about it in another, if that is known.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    if error.is::<NobodyReads>() {
        return ExitCode::FAILURE;
    }
    say(&format!("error: {error:#}"));
    let failure = match error.downcast_ref() {
        Some(ClientError::Failed(failure)) => Some(failure),
        _ => error.downcast_ref::<Failure>(),
    };
    if let Some(hint) = failure.and_then(|failure| failure.hint.as_ref()) {
        say(&format!("hint: {hint}"));
    }
    // No folder to sync: the arguments are to blame.
    let is_folder = matches!(error.downcast_ref(), Some(RunError::Folder(_)))
        || failure.is_some_and(|failure| failure.code == Code::Directory);
    if is_folder || error.is::<WrongUse>() { ExitCode::from(2) } else { ExitCode::FAILURE }
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
