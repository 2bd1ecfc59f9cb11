//! The tracker: keep-alives a second, and memory of idle connections.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::load::{Load, bare_loop};
use super::{Running, Values, start_tracker};

const PEERS: usize = 1_000;
const IDLE: usize = 10_000;
const LENGTH: Duration = Duration::from_secs(3);

pub(super) fn run(shoal: &Path, runs: usize) -> Result<()> {
    println!("## Tracker: keep-alives a second, {PEERS} connections, one thread each for tracker and load\n");
    println!(
        "| files listed | bytes an answer | bare loop | shoal tracker | ratio | tracker, per second of its CPU |"
    );
    println!("|--:|--:|--:|--:|--:|--:|");
    for files in [10, 1_000] {
        let (mut ours, mut bare, mut per_core) = (Values::default(), Values::default(), Values::default());
        let mut bytes = 0;
        for _ in 0..runs {
            let (tracker, port) = start_tracker(shoal, &["--max-per-address", "20000"])?;
            let mut load = Load::connect(port, PEERS, files)?;
            bytes = load.answer_bytes();
            let cpu_before = cpu_seconds(&tracker)?;
            let rate = load.run(LENGTH)?;
            let cpu = cpu_seconds(&tracker)? - cpu_before;
            ours.0.push(rate);
            per_core.0.push(rate * LENGTH.as_secs_f64() / cpu);
            drop(load);
            let mut answer = vec![b'x'; bytes];
            answer[bytes - 1] = b'\n';
            bare.0.push(Load::connect(bare_loop(answer)?, PEERS, 0)?.run(LENGTH)?);
        }
        let ratio = ours.median() / bare.median();
        let shown = [bare.shown(0), ours.shown(0), format!("{ratio:.2}"), per_core.shown(0)].join(" | ");
        println!("| {files} | {bytes} | {shown} |");
    }
    println!("\n{IDLE} idle connections, each with 3 files listed: {} MiB\n", idle_memory(shoal)? >> 20);
    Ok(())
}

/// What a process has used of the CPU so far. The kernel counts in hundredths.
fn cpu_seconds(running: &Running) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.0.id()))?;
    let fields = stat.rsplit_once(')').context("no stat")?.1.split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}

/// Resident memory of a tracker with many quiet peers, in bytes.
fn idle_memory(shoal: &Path) -> Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let (tracker, port) = start_tracker(shoal, &["--max-per-address", "20000"])?;
    let mut peers = Vec::with_capacity(IDLE);
    for number in 0..IDLE {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("connection {number}; is the limit of open files too low?"))?;
        let names =
            ["a", "b", "c"].map(|part| format!("{{\"mtime\": 1, \"name\": \"{part}{}\"}}", number % 100));
        writeln!(stream, "{{\"port\": 8001, \"files\": [{}]}}", names.join(", "))?;
        peers.push(stream);
    }
    // Once the last one has its answer, all have been served.
    let mut last = peers.last().context("no peers")?;
    let mut byte = [0];
    last.read_exact(&mut byte)?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", tracker.0.id()))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next());
    Ok(kib.and_then(|kib| kib.parse::<u64>().ok()).context("no VmRSS")? << 10)
}
