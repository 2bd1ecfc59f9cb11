//! The project's own chores: `cargo xtask demo`, `cargo xtask ci` and the like.
//!
//! A file (or a folder) for each chore, with a function `run`. Begin at [`USAGE`].
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "chores talk to the person who runs them")]

mod bench;
mod ci;
mod demo;
mod setup;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};
use setup::{build_release, install_package, is_installed};

const USAGE: &str = "usage: cargo xtask CHORE

chores:
  demo     a tracker and two peers bring two folders together; --keep leaves the folders to look at
  ci       everything that must pass before a change is ready, as CI runs it
  tidy     the project's own small checks of sources and pages; part of ci
  bench    Shoal beside other programs, timed: tracker, large, small or all; --runs N

exit codes: 0 well, 1 the chore failed, 2 wrong usage";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["help" | "-h" | "--help"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        [chore, args @ ..] if let Some(chore) = find(chore) => match start(chore, args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
