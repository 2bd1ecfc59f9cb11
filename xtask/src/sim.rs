//! `cargo xtask sim`: whole worlds of devices, from seeds; `cargo xtask sim --planted`: whether they notice bugs.
//!
//! Promise: the worlds are those of the crate `sim`, built for speed and with all checks of arithmetic on. A planted bug
//! is a change of one place in a copy of the sources, never in the sources themselves; one that goes unnoticed, or whose
//! place is not there any more, is a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::setup::cargo;

mod planted;

use planted::{BUGS, Bug};

/// Worlds that CI lives through, and that a planted bug has to be noticed by.
pub(crate) const CI_SEEDS: u64 = 600;

/// Runs worlds with the arguments of the simulator, or with `--planted` the planted bugs (`--only NAME` for one).
pub(crate) fn run(args: &[String]) -> Result<()> {
    if args.first().is_some_and(|arg| arg == "--planted") {
        let only = match &args[1..] {
            [] => None,
            [flag, name] if flag == "--only" => Some(name.as_str()),
            _ => bail!("--planted takes nothing but --only NAME"),
        };
        return run_planted(only);
    }
    let status = cargo()
        .args(["run", "--quiet", "--locked", "--profile", "sim", "--package", "shoal-sim", "--"])
        .args(args)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "the worlds found something");
    Ok(())
}

fn run_planted(only: Option<&str>) -> Result<()> {
    let tree = copy_sources()?;
    if only.is_none()
        && let Some(broken) = run_worlds(&tree)?
    {
        bail!("something is wrong without any bug: {broken}");
    }
    let mut unnoticed = Vec::new();
    let bugs: Vec<&Bug> = BUGS.iter().filter(|bug| only.is_none_or(|only| bug.name == only)).collect();
    ensure!(!bugs.is_empty(), "there is no planted bug of that name");
    bugs.iter().try_for_each(|bug| place_of(&tree, bug).map(drop))?;
    for bug in &bugs {
        let began = Instant::now();
        let noticed = with_bug(&tree, bug)?;
        let seconds = began.elapsed().as_secs();
        match noticed {
            Some(by) => println!("{:<28} caught in {seconds:>3} s: {by}", bug.name),
            None => {
                println!("{:<28} NOT CAUGHT in {seconds} s", bug.name);
                unnoticed.push(bug.name);
            }
        }
    }
    println!("planted: {}, caught: {}", bugs.len(), bugs.len() - unnoticed.len());
    ensure!(unnoticed.is_empty(), "not caught: {}", unnoticed.join(", "));
    Ok(())
}

/// The sources of the simulator and what it builds on, in a place of their own. What is the same there is not touched,
/// so that only what changed is built again.
fn copy_sources() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let tree = std::path::absolute(target)?.join("planted/tree");
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .stdin(Stdio::null())
        .output()
        .context("cannot ask git for the sources")?;
    ensure!(listed.status.success(), "git does not list the sources");
    for name in listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = Path::new(std::str::from_utf8(name).context("a source with a strange name")?);
        let is_needed = name.starts_with("crates")
            || name.starts_with("xtask")
            || name.extension() == Some("toml".as_ref());
        if (is_needed || name == Path::new("Cargo.lock")) && name.is_file() {
            write_if_other(&tree.join(name), &std::fs::read(name)?)?;
        }
    }
    Ok(tree)
}

fn write_if_other(path: &Path, bytes: &[u8]) -> Result<()> {
    if std::fs::read(path).ok().as_deref() == Some(bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Plants one bug, runs the worlds, and takes it out again. By what it was noticed, if it was.
fn with_bug(tree: &Path, bug: &Bug) -> Result<Option<String>> {
    let (path, sound) = place_of(tree, bug)?;
    std::fs::write(&path, sound.replacen(bug.from, bug.to, 1))?;
    let outcome = run_worlds(tree);
    std::fs::write(&path, sound)?;
    outcome.with_context(|| format!("{} cannot be tried", bug.name))
}

/// The file that a bug is planted in, and what is in it without the bug.
fn place_of(tree: &Path, bug: &Bug) -> Result<(PathBuf, String)> {
    let path = tree.join(bug.file);
    let sound = std::fs::read_to_string(&path).with_context(|| format!("no file {}", bug.file))?;
    ensure!(
        sound.matches(bug.from).count() == 1,
        "{}: its place is not there (any more), or there are several, in {}",
        bug.name,
        bug.file
    );
    Ok((path, sound))
}

/// As many worlds as CI runs; what the simulator says of the first that fails.
fn run_worlds(tree: &Path) -> Result<Option<String>> {
    let in_tree = |args: &[&str]| {
        let mut command = cargo();
        command
            .args(args)
            .current_dir(tree)
            .env("CARGO_TARGET_DIR", tree.with_file_name("build"))
            // One place changes at a time.
            .env("CARGO_INCREMENTAL", "1")
            .stdin(Stdio::null());
        command
    };
    let build =
        in_tree(&["build", "--quiet", "--locked", "--profile", "sim", "--package", "shoal-sim"]).output()?;
    ensure!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    let seeds = CI_SEEDS.to_string();
    let worlds = in_tree(&["run", "--quiet", "--locked", "--profile", "sim", "--package", "shoal-sim", "--"])
        .args(["--until-failure", "--seeds", &seeds])
        .output()?;
    if worlds.status.success() {
        return Ok(None);
    }
    let told = String::from_utf8_lossy(&worlds.stdout);
    // A simulator that cannot be started, or ends in a way of its own, has noticed nothing.
    let broken = told.lines().find(|line| line.contains(" breaks "));
    let broken = broken.with_context(|| String::from_utf8_lossy(&worlds.stderr).into_owned())?;
    Ok(Some(broken.to_owned()))
}
