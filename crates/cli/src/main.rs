//! `shoal`, the one binary: arguments in, text and exit codes out.
//!
//! Each command is one file in [`commands`]; what they have in common for people is in [`ui`] and [`exit`].
//! What is absent: the work itself, which `shoal-daemon` and `shoal-tracker` do.

mod commands;
mod exit;
mod follow;
mod foreground;
mod logging;
mod print;
mod prompt;
mod qr;
mod session;
mod signals;
mod status;
mod ui;
mod values;

use std::process::ExitCode;

use clap::Parser;

/// Keeps folders on several machines the same, directly between them.
///
/// `shoal share DIR` shares a folder and prints an invite; `shoal join DIR` on another machine asks for it, and from
/// then on both folders are the same: live, encrypted, and nothing is lost. `shoal tracker` helps machines find each
/// other; with `shoal sync` it also works with every program of the course protocol.
///
/// Exit codes: 0 well (in sync), 1 an error, 2 wrong usage, 3 not everything is in sync.
#[derive(Parser)]
#[command(version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,

    /// What to log on stderr: error, warn, info, debug or trace, or a filter by module
    #[arg(long, global = true, value_name = "LEVEL", env = "SHOAL_LOG")]
    log: Option<String>,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::unread(&error),
    };
    if let Err(error) = logging::start(cli.log.as_deref(), cli.command.default_log()) {
        return exit::usage(&error);
    }
    signals::raise_file_limit();
    match cli.command.run() {
        Ok(exit) => exit.into(),
        Err(error) => exit::failed(&error),
    }
}
