//! Transfers on loopback: Shoal beside rsync and cp, safe on disk or not, as each row says.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Running, Values, start_tracker};

/// A way to bring a folder's files into an empty one.
struct Tool {
    name: &'static str,
    /// Whether a power cut right after it loses nothing.
    is_durable: bool,
    run: fn(&Bench, &Path) -> Result<()>,
}

const TOOLS: [Tool; 4] = [
    Tool { name: "shoal sync", is_durable: true, run: Bench::shoal },
    Tool { name: "rsync --fsync, daemon", is_durable: true, run: Bench::rsync_fsync },
    Tool { name: "rsync, daemon", is_durable: false, run: Bench::rsync_plain },
    Tool { name: "cp -r", is_durable: false, run: Bench::cp },
];

/// The source and those who serve it.
struct Bench {
    shoal: PathBuf,
    source: PathBuf,
    tracker: u16,
    rsync: Option<u16>,
    _servers: Vec<Running>,
}

/// One file of 2 GiB.
pub(super) fn large(shoal: &Path, runs: usize) -> Result<()> {
    const BYTES: u64 = 2 << 30;
    measure(shoal, runs, "one file of 2 GiB", true, |source| {
        let mut random = File::open("/dev/urandom")?.take(BYTES);
        std::io::copy(&mut random, &mut File::create(source.join("large.bin"))?)?;
        Ok(())
    })
}

/// 10,000 files of 4 KiB.
pub(super) fn small(shoal: &Path, runs: usize) -> Result<()> {
    measure(shoal, runs, "10,000 files of 4 KiB", false, |source| {
        let mut random = File::open("/dev/urandom")?;
        let mut bytes = [0; 4_096];
        for number in 0..10_000 {
            random.read_exact(&mut bytes)?;
            fs::write(source.join(format!("{number:05}.bin")), bytes)?;
        }
        Ok(())
    })
}

fn measure(
    shoal: &Path,
    runs: usize,
    what: &str,
    few_files: bool,
    fill: impl Fn(&Path) -> Result<()>,
) -> Result<()> {
    // Beside the build, because /tmp may be memory, and the disk is what counts here.
    let root = tempfile::Builder::new().prefix("bench-").tempdir_in("target")?;
    let source = root.path().join("source");
    fs::create_dir(&source)?;
    fill(&source)?;
    let bench = Bench::start(shoal, root.path(), source)?;
    let mut times: Vec<Values> = TOOLS.iter().map(|_| Values::default()).collect();
    // One round more, which counts for nothing: it warms caches and touches memory.
    for round in 0..=runs {
        for (tool, values) in TOOLS.iter().zip(&mut times) {
            if tool.name.starts_with("rsync") && bench.rsync.is_none() {
                continue;
            }
            // Each its own, and removed at the end: on ext4 a new file is slow to make for some seconds after
            // many were deleted, whoever makes it.
            let target = root.path().join(format!("target-{round}-{}", tool.name.replace(' ', "-")));
            fs::create_dir(&target)?;
            rustix::fs::sync();
            let began = Instant::now();
            (tool.run)(&bench, &target).with_context(|| tool.name)?;
            let took = began.elapsed();
            check_equal(&bench.source, &target).with_context(|| tool.name)?;
            if few_files {
                fs::remove_dir_all(&target)?;
            }
            if round > 0 {
                values.0.push(took.as_secs_f64());
            }
        }
    }
    println!("## Transfer on loopback: {what}, seconds\n");
    println!("| tool | safe on disk | median [range] | against shoal |\n|---|---|--:|--:|");
    let ours = times[0].median();
    for (tool, values) in TOOLS.iter().zip(&times) {
        if values.0.is_empty() {
            println!("| {} | | not installed | |", tool.name);
            continue;
        }
        let durable = if tool.is_durable { "yes" } else { "no" };
        println!("| {} | {durable} | {} | {:.2} |", tool.name, values.shown(2), values.median() / ours);
    }
    println!();
    Ok(())
}

impl Bench {
    fn start(shoal: &Path, root: &Path, source: PathBuf) -> Result<Self> {
        let (tracker, port) = start_tracker(shoal, &[])?;
        let mut command = Command::new(shoal);
        command.args(["sync", "127.0.0.1", &port.to_string(), "--bind", "127.0.0.1", "--json", "--dir"]);
        let peer = Running::start(command.arg(&source).stdout(File::create(root.join("peer.log"))?))?;
        let mut servers = vec![tracker, peer];
        wait_until("the source has announced its files", || {
            Ok(fs::read_to_string(root.join("peer.log"))?.contains("\"in-sync\""))
        })?;
        let rsync = start_rsync(root, &source)?.map(|(daemon, port)| {
            servers.push(daemon);
            port
        });
        Ok(Self { shoal: shoal.to_owned(), source, tracker: port, rsync, _servers: servers })
    }

    fn shoal(&self, target: &Path) -> Result<()> {
        let mut command = Command::new(&self.shoal);
        command.args([
            "sync",
            "127.0.0.1",
            &self.tracker.to_string(),
            "--bind",
            "127.0.0.1",
            "--once",
            "--json",
        ]);
        finish(command.arg("--dir").arg(target))
    }

    fn rsync_fsync(&self, target: &Path) -> Result<()> {
        self.rsync(target, &["--fsync"])
    }

    fn rsync_plain(&self, target: &Path) -> Result<()> {
        self.rsync(target, &[])
    }

    fn rsync(&self, target: &Path, args: &[&str]) -> Result<()> {
        let port = self.rsync.context("no rsync daemon")?;
        let source = format!("rsync://127.0.0.1:{port}/source/");
        finish(Command::new("rsync").args(["-rt", "--exclude", ".shoal"]).args(args).arg(source).arg(target))
    }

    fn cp(&self, target: &Path) -> Result<()> {
        let files = fs::read_dir(&self.source)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let files = files.iter().filter(|path| path.is_file());
        finish(Command::new("cp").arg("-p").args(files).arg(target))
    }
}

/// Starts an rsync daemon on a free port; none if rsync cannot be had.
fn start_rsync(root: &Path, source: &Path) -> Result<Option<(Running, u16)>> {
    if !crate::is_installed("rsync") && !crate::install_package("rsync") {
        return Ok(None);
    }
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = root.join("rsyncd.conf");
    let source = source.canonicalize()?;
    write!(
        File::create(&config)?,
        "use chroot = no\nreverse lookup = no\n[source]\npath = {}\nread only = yes\n",
        source.display()
    )?;
    let mut command = Command::new("rsync");
    command.args(["--daemon", "--no-detach", "--address=127.0.0.1", &format!("--port={port}")]);
    let daemon = Running::start(command.arg(format!("--config={}", config.display())))?;
    wait_until("the rsync daemon listens", || Ok(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()))?;
    Ok(Some((daemon, port)))
}

fn finish(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so()? {
        if Instant::now() > deadline {
            bail!("waited in vain until {what}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Every file of the source is in the target with its bytes and its mtime in seconds.
fn check_equal(source: &Path, target: &Path) -> Result<()> {
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if !metadata.is_file() {
            continue;
        }
        let copy = target.join(entry.file_name());
        let seconds = |metadata: &fs::Metadata| -> Result<u64> {
            Ok(metadata.modified()?.duration_since(std::time::UNIX_EPOCH)?.as_secs())
        };
        ensure!(seconds(&metadata)? == seconds(&copy.metadata()?)?, "{} has another mtime", copy.display());
        let (mut one, mut other) = (File::open(entry.path())?, File::open(&copy)?);
        let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        loop {
            let count = one.read(&mut left)?;
            if count == 0 {
                ensure!(other.read(&mut right)? == 0, "{} is longer", copy.display());
                break;
            }
            other
                .read_exact(&mut right[..count])
                .with_context(|| format!("{} is shorter", copy.display()))?;
            ensure!(left[..count] == right[..count], "{} differs", copy.display());
        }
    }
    Ok(())
}
