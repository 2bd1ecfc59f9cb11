//! `cargo xtask demo`: two peers and a tracker of the course protocol bring two folders together, told as it happens.
//!
//! Promise: it says "equal" only after it has compared the folders itself, by names, bytes and times; it ends
//! within [`LIMIT`] of the start of the programs; whatever it started ends with it, also when it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::build_release;

/// How long the two may take to agree; they need one keep-alive, which comes after five seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// How long to listen for what is still to be told when the folders are equal.
const LAST_NEWS: Duration = Duration::from_millis(200);

const TRACKER: &str = "The tracker";
const ANA: &str = "Ana";
const BEN: &str = "Ben";

/// A file that lies in somebody's folder at first.
struct Sample {
    owner: &'static str,
    name: &'static str,
    /// Seconds since 1970.
    mtime: u64,
    text: &'static str,
    /// The text is repeated so often.
    times: usize,
}

const OLD_PLAN: &str = "The plan, first draft.\n";

/// Of equal names the newer file counts.
const SAMPLES: [Sample; 6] = [
    Sample { owner: ANA, name: "notes.md", mtime: 1_790_000_000, text: "Buy bread.\n", times: 1 },
    Sample { owner: ANA, name: "photo.jpg", mtime: 1_790_000_100, text: "light and shade ", times: 200_000 },
    Sample { owner: ANA, name: "plan.txt", mtime: 1_790_000_200, text: OLD_PLAN, times: 1 },
    Sample { owner: BEN, name: "café menu.txt", mtime: 1_790_000_300, text: "Crème brûlée\n", times: 1 },
    Sample {
        owner: BEN,
        name: "plan.txt",
        mtime: 1_790_000_400,
        text: "The plan, second draft.\n",
        times: 1,
    },
    Sample { owner: BEN, name: "song.ogg", mtime: 1_790_000_500, text: "la la ", times: 1_000_000 },
];

/// Each plain file of a folder: its mtime in seconds since 1970, and its bytes.
type Contents = BTreeMap<String, (u64, Vec<u8>)>;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let keeps = args.iter().any(|arg| arg == "--keep");
    ensure!(args.len() == usize::from(keeps), "usage: cargo xtask demo [--keep]");
    println!("Building shoal; the first time this takes some minutes.");
    let shoal = build_release()?;
    let place = tempfile::Builder::new().prefix("shoal-demo-").tempdir()?;
    let told = tell(&shoal, place.path());
    if keeps {
        println!("\nThe folders stay in {}.", place.keep().display());
    }
    println!("\nBoth folders are equal: {} files.", told?);
    Ok(())
}

/// Fills the folders, runs the programs until the folders are equal, and compares them; how many files there are.
fn tell(shoal: &Path, place: &Path) -> Result<usize> {
    let folders = [ANA, BEN].map(|owner| (owner, place.join(owner)));
    println!();
    for (owner, folder) in &folders {
        println!("{owner} has {}.", fill(folder, owner)?);
    }
    println!("Both have a plan.txt, and Ben's is the newer one.\n");

    let began = Instant::now();
    let (sender, news) = channel();
    let args = ["--log", "warn", "tracker", "127.0.0.1", "0", "--json"];
    let mut programs = vec![Program::start(TRACKER, Command::new(shoal).args(args), &sender)?];
    let mut in_sync = BTreeSet::new();
    loop {
        let Ok((who, event)) = news.recv_timeout(LIMIT.saturating_sub(began.elapsed())) else {
            bail!("not equal after {} s:\n{}", LIMIT.as_secs(), differences(&folders)?.join("\n"));
        };
        let event: Value = event.with_context(|| format!("{who} ended before its time"))?;
        if who == TRACKER {
            let address = event["address"].as_str().and_then(|address| address.parse::<SocketAddr>().ok());
            let port = address.context("the tracker did not say where it listens")?.port().to_string();
            println!("A tracker starts: it listens on port {port}.");
            for (owner, folder) in &folders {
                println!("{owner} starts: shoal sync 127.0.0.1 {port}");
                let args = ["sync", "127.0.0.1", &port, "--bind", "127.0.0.1", "--json", "--dir"];
                programs.push(Program::start(owner, Command::new(shoal).args(args).arg(folder), &sender)?);
            }
            continue;
        }
        if let Some(line) = in_words(who, &event) {
            println!("{line}");
        }
        in_sync.extend((event["event"] == "in-sync").then_some(who));
        let may_be_over = matches!(event["event"].as_str(), Some("in-sync" | "fetched"));
        // A peer that was in sync early says no more when another's files have come, so the folders tell.
        if may_be_over && in_sync.len() == folders.len() && differences(&folders)?.is_empty() {
            break;
        }
    }
    // Files come into place in batches, so some that are there have not been told yet.
    while let Ok((who, Ok(event))) = news.recv_timeout(LAST_NEWS) {
        in_words(who, &event).iter().for_each(|line| println!("{line}"));
    }
    drop(programs);
    println!("\nThe programs are ended; names, bytes and times of both folders are compared.");
    let differences = differences(&folders)?;
    ensure!(differences.is_empty(), "the folders differ:\n{}", differences.join("\n"));
    println!("Ana's first draft of the plan is kept in {}.", find_old_plan(&folders[0].1)?);
    Ok(expected().len())
}

/// Puts somebody's files into a new folder; their names, for the story.
fn fill(folder: &Path, owner: &str) -> Result<String> {
    fs::create_dir(folder)?;
    let mut names = Vec::new();
    for sample in SAMPLES.iter().filter(|sample| sample.owner == owner) {
        let path = folder.join(sample.name);
        fs::write(&path, sample.text.repeat(sample.times))?;
        let mtime = UNIX_EPOCH + Duration::from_secs(sample.mtime);
        File::options().write(true).open(&path)?.set_modified(mtime)?;
        names.push(sample.name);
    }
    Ok(names.join(", "))
}

/// What both folders should contain in the end.
fn expected() -> Contents {
    let mut newest = Contents::new();
    for sample in &SAMPLES {
        let known = newest.get(sample.name).map(|(mtime, _)| *mtime);
        if known.is_none_or(|known| known < sample.mtime) {
            let bytes = sample.text.repeat(sample.times).into_bytes();
            newest.insert(sample.name.to_owned(), (sample.mtime, bytes));
        }
    }
    newest
}

/// What a folder contains.
fn contents(folder: &Path) -> Result<Contents> {
    let mut found = Contents::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let mtime = entry.metadata()?.modified()?.duration_since(UNIX_EPOCH)?.as_secs();
            let name = entry.file_name().to_string_lossy().into_owned();
            found.insert(name, (mtime, fs::read(entry.path())?));
        }
    }
    Ok(found)
}

/// How the folders differ from what they should contain, and so from each other; a line for each name.
fn differences(folders: &[(&str, PathBuf)]) -> Result<Vec<String>> {
    let expected = expected();
    let mut found = Vec::new();
    for (owner, folder) in folders {
        let contents = contents(folder)?;
        for (name, (mtime, bytes)) in &expected {
            match contents.get(name) {
                None => found.push(format!("  {owner} lacks {name}")),
                Some((_, other)) if other != bytes => {
                    found.push(format!("  {owner} has other bytes in {name}"));
                }
                Some((other, _)) if other != mtime => {
                    found.push(format!("  {owner} has {name} with mtime {other} instead of {mtime}"));
                }
                Some(_) => {}
            }
        }
        let strangers = contents.keys().filter(|name| !expected.contains_key(*name));
        found.extend(strangers.map(|name| format!("  {owner} has {name}, which nobody had")));
    }
    Ok(found)
}

/// Where the version is kept that a newer one replaced.
fn find_old_plan(folder: &Path) -> Result<String> {
    for entry in fs::read_dir(folder.join(".shoal/history"))? {
        let path = entry?.path();
        if fs::read(&path)? == OLD_PLAN.as_bytes() {
            return Ok(path.strip_prefix(folder)?.display().to_string());
        }
    }
    bail!("Ana's first draft of the plan is lost: it is not in .shoal/history")
}

/// What a peer reports, as a line of the story.
fn in_words(who: &str, event: &Value) -> Option<String> {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    Some(match event["event"].as_str()? {
        "fetched" if event["replaced"] == true => {
            format!("  {who} fetched {}, a newer version.", text("name"))
        }
        "fetched" => format!("  {who} fetched {}.", text("name")),
        "in-sync" => format!("  {who} is in sync with the {} files that are listed.", event["files"]),
        "problem" => format!("  {who} cannot have {}: {}", text("name"), text("why")),
        "tracker-lost" => format!("  {who} lost the tracker: {}", text("why")),
        "warning" => format!("  {who} is warned: {}", text("text")),
        _ => return None,
    })
}

/// A program that reports in JSON, an object a line; ended when this is dropped.
struct Program(Child);

impl Program {
    /// Starts it. What it reports is passed on under `name`, and an error at its end.
    fn start(
        name: &'static str,
        command: &mut Command,
        news: &Sender<(&'static str, Result<Value>)>,
    ) -> Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child =
            Self(child.with_context(|| format!("cannot start {}", command.get_program().display()))?);
        let stdout = child.0.stdout.take().context("no stdout")?;
        let news = news.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let event = line.map_err(Into::into).and_then(|line| Ok(serde_json::from_str(&line)?));
                if news.send((name, event)).is_err() {
                    return;
                }
            }
            // Nobody listens any more when the end was wanted.
            let _ = news.send((name, Err(anyhow::anyhow!("it closed its output"))));
        });
        Ok(child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Not asked but killed: what is in the folders is safe at any moment. An error means that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
