//! `shoal-sim`: lives through worlds from seeds, and says which of them break a promise.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to the person who runs it")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use shoal_sim::check::Broken;
use shoal_sim::options::Options;
use shoal_sim::run::{self, Failure, Report};
use shoal_sim::world::Tally;

/// Most failures whose story is told.
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
    /// End at the first world that fails, and say only which promise it breaks
    #[arg(long)]
    until_failure: bool,
    /// Threads, each with a world of its own; as many as there are cores, if nothing is said
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.seed {
        Some(seed) => tell_one(seed, args.devices),
        None if args.until_failure => live_until_failure(&args),
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

/// Lives through worlds until one of them breaks a promise, and says which: without its shortest story, which takes many
/// worlds more.
fn live_until_failure(args: &Args) -> ExitCode {
    let is_over = AtomicBool::new(false);
    let found: Mutex<Option<(u64, Broken)>> = Mutex::default();
    let limit = Limit::new(args);
    for_each_seed(
        args,
        || is_over.load(Ordering::Relaxed) || limit.is_reached(),
        |seed| {
            let options = Options::varied(seed, usize::from(args.devices));
            let lived = run::live(seed, &options, &shoal_sim::act::draw(seed, &options));
            if let Some(broken) = lived.broken {
                is_over.store(true, Ordering::Relaxed);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                // The first by its number, of those that other threads were in.
                if found.as_ref().is_none_or(|(other, _)| seed < *other) {
                    *found = Some((seed, broken));
                }
            }
        },
    );
    match found.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => ExitCode::SUCCESS,
        Some((seed, broken)) => {
            println!("seed {seed} breaks {broken}");
            ExitCode::FAILURE
        }
    }
}

/// Hands out the seeds to threads, each of which lives through one world after the other.
fn for_each_seed(args: &Args, is_over: impl Fn() -> bool + Sync, live: impl Fn(u64) + Sync) {
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into));
    let next = AtomicU64::new(args.from);
    let end = args.from.saturating_add(args.seeds);
    std::thread::scope(|scope| {
        for _ in 0..threads.unwrap_or(1).max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || is_over() {
                        break;
                    }
                    live(seed);
                }
            });
        }
    });
}

/// How long it has taken, and may take.
struct Limit {
    began: Instant,
    longest: Option<Duration>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs it wants to know how long it took; no world does"
)]
impl Limit {
    fn new(args: &Args) -> Self {
        let longest = args.minutes.map(|minutes| Duration::from_secs(60 * minutes));
        Self { began: Instant::now(), longest }
    }

    fn took(&self) -> Duration {
        self.began.elapsed()
    }

    fn is_reached(&self) -> bool {
        self.longest.is_some_and(|longest| self.took() >= longest)
    }
}

fn live_all(args: &Args) -> ExitCode {
    let limit = Limit::new(args);
    let found: Mutex<(u64, Tally, u64)> = Mutex::default();
    for_each_seed(
        args,
        || limit.is_reached(),
        |seed| {
            let report = run::run(seed, &Options::varied(seed, usize::from(args.devices)));
            // A thread that panicked has only counted.
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.0 += 1;
            found.1.add(&report.tally);
            if let Some(failure) = &report.failure {
                found.2 += 1;
                tell(&report, failure, args.devices, found.2 <= FAILURES_MAX as u64);
            }
        },
    );
    let (seeds, tally, failures) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "seeds: {seeds}, steps: {}, edits: {}, crashes: {}, power cuts: {}, conflicts: {}, failures: {failures}",
        tally.steps, tally.edits, tally.crashes, tally.power_cuts, tally.conflicts
    );
    println!(
        "connections: {}, messages: {}, bytes: {}, seconds: {:.1}",
        tally.connections,
        tally.messages,
        tally.bytes,
        limit.took().as_secs_f64()
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A world that failed: how to see it again and, if that is asked for, the shortest story of it that was found.
fn tell(report: &Report, failure: &Failure, devices: u8, with_story: bool) {
    println!("── seed {} breaks {}", report.seed, failure.broken);
    println!("   again: cargo xtask sim --seed {} --devices {devices}", report.seed);
    if !with_story {
        return;
    }
    println!("   enough of it ({} acts):", failure.acts.len());
    for act in &failure.acts {
        println!("   {:>9.3} s  {:?}", Duration::from_nanos(act.at.0).as_secs_f64(), act.deed);
    }
    println!("   what happens then:");
    for line in &failure.story {
        println!("   {line}");
    }
}
