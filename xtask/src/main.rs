//! The project's own chores: `cargo xtask demo`, `cargo xtask ci`, `cargo xtask bench`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "chores talk to the person who runs them")]

mod bench;
mod setup;

use std::process::ExitCode;

use anyhow::{Result, bail};
use setup::{build_release, install_package, is_installed};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    match args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("bench", rest)) => bench::run(rest),
        _ => bail!("usage: cargo xtask bench"),
    }
}
