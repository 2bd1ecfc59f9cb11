//! `cargo xtask ci`: all that must pass before a change is ready; CI runs this and nothing else.
//!
//! Promise: the first step that fails ends it, with a message that says how to repeat that step alone. What this
//! machine cannot check is a skip that is counted and told with its reason, also where only a part of a test cannot be
//! done; with `SHOAL_NO_SKIPS=1` such a part fails. Programs that are lacking are installed where that needs nobody's
//! password.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::setup::{cargo, install_package, is_in_path, is_installed};
use crate::{sim, tidy};

/// One step, in the order of [`STEPS`].
struct Step {
    name: &'static str,
    work: Work,
}

enum Work {
    /// A command of cargo, with variables of its environment.
    Cargo { args: &'static [&'static str], env: &'static [(&'static str, &'static str)] },
    /// A check of our own, and how to repeat it.
    Own { does: fn() -> Result<Outcome>, repeat: &'static str },
}

enum Outcome {
    Passed,
    /// All that was done has passed; what could not be done, each with its reason.
    PassedBut(Vec<String>),
    Skipped(String),
}

/// Cheap ones first, so that most failures come soon.
const STEPS: &[Step] = &[
    Step::own("lock file", lock_file, "cargo metadata --locked --format-version 1"),
    Step::cargo("format", &["fmt", "--all", "--", "--check"], &[]),
    Step::own("tidy", tidy, "cargo xtask tidy"),
    Step::cargo(
        "clippy",
        &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        &[],
    ),
    Step::cargo(
        "documentation",
        &["doc", "--workspace", "--no-deps", "--locked"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    ),
    Step::own("cargo-deny is there", cargo_deny, CARGO_DENY_HINT),
    Step::cargo(
        "dependencies",
        &["deny", "--locked", "--log-level", "error", "check", "bans", "licenses", "sources"],
        &[],
    ),
    Step::own("advisories", advisories, "cargo deny check advisories"),
    Step::own("python3 is there", python, "python3 --version"),
    Step::own("programs that tests use", programs, "sudo apt-get install strace e2fsprogs iproute2 faketime"),
    Step::own("tests", tests, "SHOAL_TEST_WHOLE=1 cargo test --workspace --locked"),
    Step::own("worlds", worlds, "cargo xtask sim --seeds 600"),
];

const CARGO_DENY_VERSION: &str = "0.20.2";
const CARGO_DENY_HINT: &str = "cargo install --locked cargo-deny --version 0.20.2";

/// How long fetching the advisory database may take.
const DATABASE_WAIT: Duration = Duration::from_secs(120);

/// Runs every step.
pub(crate) fn run() -> Result<()> {
    let began = Instant::now();
    let (mut skipped, mut partly) = (Vec::new(), Vec::new());
    for (number, step) in STEPS.iter().enumerate() {
        println!("── {} of {}: {} ── {}", number + 1, STEPS.len(), step.name, step.work.repeat());
        let step_began = Instant::now();
        let outcome = step.work.perform();
        let seconds = step_began.elapsed().as_secs_f64();
        match outcome {
            Ok(Outcome::Passed) => println!("   {} passed in {seconds:.1} s\n", step.name),
            Ok(Outcome::PassedBut(parts)) => {
                println!("   {} passed in {seconds:.1} s, but for {} parts\n", step.name, parts.len());
                partly.extend(parts.into_iter().map(|part| (step.name, part)));
            }
            Ok(Outcome::Skipped(reason)) => {
                println!("   {} SKIPPED after {seconds:.1} s: {reason}\n", step.name);
                skipped.push((step.name, reason));
            }
            Err(error) => {
                let passed = number - skipped.len();
                println!("   {} FAILED after {seconds:.1} s\n", step.name);
                tell_skipped(&skipped);
                tell_skipped(&partly);
                let summary = format!(
                    "step '{}' failed; {passed} passed, {} skipped, {} not run. Repeat it alone with: {}",
                    step.name,
                    skipped.len(),
                    STEPS.len() - number - 1,
                    step.work.repeat()
                );
                return Err(error.context(summary));
            }
        }
    }
    tell_skipped(&skipped);
    tell_skipped(&partly);
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "CI passed in {seconds:.0} s: {} steps passed, {} skipped; of those that passed {} parts were skipped.",
        STEPS.len() - skipped.len(),
        skipped.len(),
        partly.len()
    );
    Ok(())
}

/// All tests, also what is left out when there is no time; they write into a file what they cannot do here.
fn tests() -> Result<Outcome> {
    let skips = std::env::temp_dir().join(format!("shoal-skips-{}", std::process::id()));
    fs::write(&skips, "").context("there is no place to count what is skipped")?;
    // Some parts run as other users.
    fs::set_permissions(&skips, fs::Permissions::from_mode(0o666))?;
    let mut command = cargo();
    command.args(["test", "--workspace", "--locked"]).env("SHOAL_TEST_WHOLE", "1").env("SHOAL_SKIPS", &skips);
    let status = command.status();
    let told = fs::read_to_string(&skips);
    fs::remove_file(&skips)?;
    let status = status?;
    ensure!(status.success(), "cargo ended with {status}");
    let parts: Vec<_> = told?.lines().map(str::to_owned).collect();
    Ok(if parts.is_empty() { Outcome::Passed } else { Outcome::PassedBut(parts) })
}

/// Worlds of devices, from the same seeds every time.
fn worlds() -> Result<Outcome> {
    sim::run(&["--seeds".to_owned(), sim::CI_SEEDS.to_string()])?;
    Ok(Outcome::Passed)
}

fn tell_skipped(skipped: &[(&str, String)]) {
    for (name, reason) in skipped {
        println!("skipped: {name}: {reason}");
    }
}

impl Step {
    const fn cargo(
        name: &'static str,
        args: &'static [&'static str],
        env: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { name, work: Work::Cargo { args, env } }
    }

    const fn own(name: &'static str, does: fn() -> Result<Outcome>, repeat: &'static str) -> Self {
        Self { name, work: Work::Own { does, repeat } }
    }
}

impl Work {
    fn perform(&self) -> Result<Outcome> {
        match self {
            Self::Cargo { args, env } => {
                let status = cargo().args(*args).envs(env.iter().copied()).status()?;
                ensure!(status.success(), "cargo ended with {status}");
                Ok(Outcome::Passed)
            }
            Self::Own { does, .. } => does(),
        }
    }

    /// The command that does the same alone.
    fn repeat(&self) -> String {
        match self {
            Self::Cargo { args, env } => {
                let env = env.iter().map(|(key, value)| format!("{key}=\"{value}\" "));
                format!("{}cargo {}", env.collect::<String>(), args.join(" "))
            }
            Self::Own { repeat, .. } => (*repeat).to_owned(),
        }
    }
}

fn lock_file() -> Result<Outcome> {
    let status =
        cargo().args(["metadata", "--locked", "--format-version", "1"]).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "Cargo.lock is out of date; run `cargo build` and commit it with the change");
    Ok(Outcome::Passed)
}

fn tidy() -> Result<Outcome> {
    tidy::run()?;
    Ok(Outcome::Passed)
}

fn cargo_deny() -> Result<Outcome> {
    let is_there = || {
        let mut probe = cargo();
        probe.args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    };
    if !is_there() {
        println!(
            "   cargo-deny is lacking; installing version {CARGO_DENY_VERSION}, which takes some minutes"
        );
        let args = ["install", "--locked", "cargo-deny", "--version", CARGO_DENY_VERSION];
        let status = cargo().args(args).status()?;
        ensure!(status.success() && is_there(), "cargo-deny could not be installed");
    }
    Ok(Outcome::Passed)
}

/// Checks for known vulnerabilities where the list of them can be fetched.
fn advisories() -> Result<Outcome> {
    let mut fetch = cargo();
    fetch.args(["deny", "fetch", "db"]).env("GIT_TERMINAL_PROMPT", "0");
    if let Err(why) = run_quietly(&mut fetch, DATABASE_WAIT) {
        return Ok(Outcome::Skipped(format!("the advisory database cannot be fetched: {why:#}")));
    }
    let status = cargo().args(["deny", "--locked", "check", "advisories"]).status()?;
    ensure!(status.success(), "a dependency has an advisory against it");
    Ok(Outcome::Passed)
}

/// The end-to-end tests play against programs in Python.
fn python() -> Result<Outcome> {
    if !is_installed("python3") {
        println!("   python3 is lacking; trying to install it with apt-get");
        if !install_package("python3") || !is_installed("python3") {
            bail!(
                "the end-to-end tests need python3 (3.9 or newer, no packages), and it could not be installed \
                 from here; install it, for instance with: sudo apt-get install python3"
            );
        }
    }
    Ok(Outcome::Passed)
}

/// Programs that tests use. Without one of them they skip what needs it.
fn programs() -> Result<Outcome> {
    let mut lacking = Vec::new();
    for (program, package) in PROGRAMS {
        if !is_in_path(program) {
            println!("   {program} is lacking; trying to install {package} with apt-get");
            if !install_package(package) || !is_in_path(program) {
                lacking.push(format!("{program} could not be installed; tests that need it are skipped"));
            }
        }
    }
    Ok(if lacking.is_empty() { Outcome::Passed } else { Outcome::PassedBut(lacking) })
}

/// Each with its Debian package: to strike at system calls, to make file systems and odd files, to mount them unseen, to have
/// networks of one's own, to turn clocks.
const PROGRAMS: [(&str, &str); 8] = [
    ("strace", "strace"),
    ("mkfs.ext4", "e2fsprogs"),
    ("chattr", "e2fsprogs"),
    ("mount", "mount"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("faketime", "faketime"),
];

/// Runs a command for a bounded time; if it fails, the last line that it said on stderr.
fn run_quietly(command: &mut Command, limit: Duration) -> Result<()> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.context("it cannot be started")?;
    let stderr = child.stderr.take();
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        // What could not be read is missing in a message, no more.
        let _ = stderr.map(|mut stderr| stderr.read_to_end(&mut said));
        String::from_utf8_lossy(&said).into_owned()
    });
    let is_well = wait_within(&mut child, limit)?;
    if !is_well {
        let said = said.join().unwrap_or_default();
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
        bail!("{last}");
    }
    Ok(())
}

/// Waits for a process; one that takes too long is ended.
fn wait_within(child: &mut Child, limit: Duration) -> Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("no answer within {} s", limit.as_secs());
        }
        // The standard library has no wait with a deadline.
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name() {
        assert!(is_in_path("sh"));
        assert!(!is_in_path("no such program"));
    }

    #[test]
    fn a_quiet_run_gives_the_last_word_or_ends_what_takes_too_long() {
        let run = |script: &str| {
            let limit = Duration::from_millis(if script.contains("sleep") { 50 } else { 60_000 });
            run_quietly(Command::new("sh").args(["-c", script]), limit).map_err(|error| error.to_string())
        };
        assert_eq!(run("echo all went well >&2"), Ok(()));
        assert_eq!(run("echo trying >&2; echo no route >&2; echo >&2; exit 3"), Err("no route".into()));
        assert_eq!(run("exec sleep 60"), Err("no answer within 0 s".into()));
    }
}
