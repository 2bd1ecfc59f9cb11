//! `cargo xtask bench`: Shoal beside the programs and limits that it is measured against, in one run.
//!
//! Promise: what is compared is run in turns, on the same data, in the same state of the page cache; every
//! result is checked before it counts; the table says medians with their range. Timings are printed, never
//! asserted: machines are noisy. What it needs and lacks (rsync) it installs as root, or leaves out and says so.

mod load;
mod tracker;
mod transfer;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask bench [tracker | large | small | all] [--runs N]";

/// Runs the benches that the arguments name; all of them without.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut what = "all";
    let mut runs = 5;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--runs" => runs = args.next().and_then(|runs| runs.parse().ok()).context(USAGE)?,
            "tracker" | "large" | "small" | "all" => what = arg,
            _ => bail!(USAGE),
        }
    }
    let shoal = crate::build_release()?;
    println!("{}\n", machine());
    if matches!(what, "tracker" | "all") {
        tracker::run(&shoal, runs)?;
    }
    if matches!(what, "large" | "all") {
        transfer::large(&shoal, runs)?;
    }
    if matches!(what, "small" | "all") {
        transfer::small(&shoal, runs)?;
    }
    Ok(())
}

/// A process that ends with its owner.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| format!("cannot start {}", command.get_program().display()))?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a tracker of ours on a free port of loopback; its port.
fn start_tracker(shoal: &Path, args: &[&str]) -> Result<(Running, u16)> {
    use std::io::BufRead;
    let mut command = Command::new(shoal);
    command.args(["tracker", "127.0.0.1", "0", "--json", "--log", "error"]).args(args).stdout(Stdio::piped());
    let mut tracker = Running::start(&mut command)?;
    let stdout = tracker.0.stdout.take().context("no stdout")?;
    let mut line = String::new();
    std::io::BufReader::new(stdout).read_line(&mut line)?;
    let event: serde_json::Value =
        serde_json::from_str(&line).context("the tracker did not say where it listens")?;
    let address = event["address"].as_str().and_then(|address| address.parse::<std::net::SocketAddr>().ok());
    Ok((tracker, address.context("the tracker did not say where it listens")?.port()))
}

/// Some measured values of one thing, in seconds or whatever their row says.
#[derive(Clone, Debug, Default)]
struct Values(Vec<f64>);

impl Values {
    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The median with the range, in so many digits.
    fn shown(&self, digits: usize) -> String {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{:.digits$} [{least:.digits$}..{most:.digits$}]", self.median())
    }
}

/// What this ran on, for the page of figures.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let memory = read("/proc/meminfo").split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    format!("{cores} cores, {} GiB, Linux {}", memory.unwrap_or(0) >> 20, kernel.trim())
}
