//! The project's own chores: `cargo xtask demo`, `cargo xtask ci` and the like.
//!
//! Each chore is a module with a function `run`; what they share stands in [`setup`].
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "chores talk to the person who runs them")]

mod bench;
mod ci;
mod demo;
mod setup;
mod sim;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use setup::{build_release, install_package, is_installed};

const USAGE: &str = "usage: cargo xtask CHORE

chores:
  demo     the course protocol: two peers and a tracker make two folders equal; --keep leaves them to look at
  ci       all that must pass before a change is ready, exactly as CI runs it
  tidy     the project's own small checks of sources and pages; a part of ci
  sim      whole worlds from seeds: --seeds N [--minutes M], --seed S; --planted [--only NAME]
  bench    the course protocol, timed beside other programs: tracker, large, small or all; --runs N";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((chore, args)) = args.split_first() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let done = setup::enter_root().and_then(|()| match chore.as_str() {
        "demo" => demo::run(args),
        "ci" => without_args(args).and_then(|()| ci::run()),
        "tidy" => without_args(args).and_then(|()| tidy::run()),
        "bench" => bench::run(args),
        "sim" => sim::run(args),
        "help" | "-h" | "--help" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(anyhow::anyhow!("there is no chore '{other}'\n\n{USAGE}")),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn without_args(args: &[String]) -> Result<()> {
    ensure!(args.is_empty(), "this chore takes no arguments\n\n{USAGE}");
    Ok(())
}
