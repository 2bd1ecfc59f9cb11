//! `shoal-sim`: lives through worlds from seeds, and says which of them break a promise.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to the person who runs it")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use shoal_sim::options::Options;
use shoal_sim::run::{self, Failure, Report};
use shoal_sim::world::Tally;

/// Most failures that are told of.
const FAILURES_MAX: usize = 5;

/// Live through whole worlds of devices, each from a seed
#[derive(Parser)]
struct Args {
    /// How many worlds
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Stop after so many minutes, whatever is left
    #[arg(long)]
    minutes: Option<u64>,
    /// Devices in each world
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=16))]
    devices: u8,
    /// One world, and what happens in it
    #[arg(long)]
    seed: Option<u64>,
    /// Threads, each with a world of its own; as many as there are cores, if nothing is said
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.seed {
        Some(seed) => tell_one(seed, args.devices),
        None => live_all(&args),
    }
}

/// Lives through one world, and tells its story.
fn tell_one(seed: u64, devices: u8) -> ExitCode {
    let options = Options { is_traced: true, ..Options::varied(seed, usize::from(devices)) };
    let acts = shoal_sim::act::draw(seed, &options);
    let lived = run::live(seed, &options, &acts);
    for line in &lived.story {
        println!("{line}");
    }
    println!("{options:?}\n{:?}\ntrace: {}", lived.tally, lived.trace);
    match lived.broken {
        None => ExitCode::SUCCESS,
        Some(broken) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs it wants to know how long it took; no world does"
)]
fn live_all(args: &Args) -> ExitCode {
    let began = Instant::now();
    let limit = args.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into));
    let next = AtomicU64::new(args.from);
    let end = args.from.saturating_add(args.seeds);
    let found: Mutex<(u64, Tally, u64)> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads.unwrap_or(1).max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || limit.is_some_and(|limit| began.elapsed() >= limit) {
                        break;
                    }
                    let report = run::run(seed, &Options::varied(seed, usize::from(args.devices)));
                    // A thread that panicked has only counted.
                    let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    found.0 += 1;
                    found.1.add(&report.tally);
                    if let Some(failure) = &report.failure {
                        found.2 += 1;
                        if found.2 <= FAILURES_MAX as u64 {
                            tell(&report, failure, args.devices);
                        }
                    }
                }
            });
        }
    });
    let (seeds, tally, failures) = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!(
        "seeds: {seeds}, steps: {}, edits: {}, crashes: {}, power cuts: {}, conflicts: {}, failures: {failures}",
        tally.steps, tally.edits, tally.crashes, tally.power_cuts, tally.conflicts
    );
    println!(
        "connections: {}, messages: {}, bytes: {}, seconds: {:.1}",
        tally.connections,
        tally.messages,
        tally.bytes,
        began.elapsed().as_secs_f64()
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A world that failed: how to see it again, and the shortest story of it that was found.
fn tell(report: &Report, failure: &Failure, devices: u8) {
    println!("── seed {} breaks {}", report.seed, failure.broken);
    println!("   again: cargo xtask sim --seed {} --devices {devices}", report.seed);
    println!("   enough of it ({} acts):", failure.acts.len());
    for act in &failure.acts {
        println!("   {:>9.3} s  {:?}", Duration::from_nanos(act.at.0).as_secs_f64(), act.deed);
    }
    println!("   what happens then:");
    for line in &failure.story {
        println!("   {line}");
    }
}
