//! What people and programs see of a synchronizer.
//!
//! On a terminal: a bar for each running fetch, and one for all of them. Elsewhere: a line for each file. With
//! `--json`: an object a line. Data goes to stdout, talk to stderr. A thread of its own prints, so that a
//! stuck terminal never holds up the work; what it has no time for is dropped, not piled up.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use shoal_daemon::classic::{Event, JobId, Notice, Options, Teller};

/// How to print.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Style {
    /// For people.
    Human,
    /// For programs.
    Json,
}

/// The printing thread.
pub(crate) struct Ui {
    notices: SyncSender<Notice>,
    failed: Receiver<io::Error>,
    thread: JoinHandle<()>,
}

/// Most notices that wait to be printed.
const WAITING_MAX: usize = 100_000;

/// How long the end may wait for a terminal that takes nothing.
const END_WAIT: Duration = Duration::from_secs(2);

impl Ui {
    pub(crate) fn start(style: Style, options: &Options) -> io::Result<Self> {
        let (notices, inbox) = sync_channel::<Notice>(WAITING_MAX);
        let (failure, failed) = channel();
        let printer = Printer::new(style, options);
        let thread =
            std::thread::Builder::new().name("ui".into()).spawn(move || printer.run(&inbox, &failure))?;
        Ok(Self { notices, failed, thread })
    }

    /// Takes notices from the loop, without ever waiting.
    pub(crate) fn teller(&self) -> Teller {
        let notices = self.notices.clone();
        Box::new(move |notice| match notices.try_send(notice) {
            // Full: the terminal is stuck. Disconnected: it is gone, and the end will say so.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        })
    }

    /// Prints what is waiting, as long as somebody takes it; an error if anything could not be printed.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        drop(self.notices);
        match self.failed.recv_timeout(END_WAIT) {
            Ok(error) => Err(error).context("cannot write to stdout"),
            Err(RecvTimeoutError::Timeout) => {
                Err(anyhow!("stdout takes no more; what was left is not printed"))
            }
            // The thread has ended.
            Err(RecvTimeoutError::Disconnected) => {
                self.thread.join().map_err(|_| anyhow!("the display broke"))
            }
        }
    }
}

struct Printer {
    style: Style,
    tracker: String,
    folder: String,
    bars: Option<Bars>,
    running: BTreeMap<JobId, Running>,
    /// Whether what is missing at the end of the first round stays so.
    is_last_word: bool,
    out: io::Stdout,
}

/// A fetch that has begun and not ended.
struct Running {
    name: String,
    source: String,
}

struct Bars {
    all: MultiProgress,
    /// Counts files, while there is something to fetch.
    total: Option<ProgressBar>,
    jobs: BTreeMap<JobId, ProgressBar>,
    fetched: u64,
}

impl Printer {
    fn new(style: Style, options: &Options) -> Self {
        let with_bars = style == Style::Human && io::stderr().is_terminal();
        Self {
            style,
            tracker: options.tracker.to_string(),
            folder: options.dir.display().to_string().escape_debug().to_string(),
            bars: with_bars.then(Bars::new),
            running: BTreeMap::new(),
            is_last_word: options.sync.once,
            out: io::stdout(),
        }
    }

    fn run(mut self, inbox: &Receiver<Notice>, failure: &Sender<io::Error>) {
        for notice in inbox {
            let printed = match self.style {
                Style::Json => as_json(&notice).map_or(Ok(()), |object| self.line(&object.to_string())),
                Style::Human => self.human(notice),
            };
            if let Err(error) = printed {
                // Nobody reads any more: the rest is dropped, and the exit code tells.
                let _ = failure.send(error);
                return;
            }
        }
        self.rest();
    }

    fn human(&mut self, notice: Notice) -> io::Result<()> {
        match notice {
            Notice::Listening(address) => self.talk(&format!(
                "Serving {} at {address}. Whoever reaches this port can read the announced files: the course \
                 protocol has no passwords and no encryption.",
                self.folder
            )),
            Notice::Unlisted { name, why } => self.talk(&format!("not announced: {name}: {why}")),
            Notice::Recovered(text) => self.talk(&format!("Recovered: {text}.")),
            Notice::Progress { job, got, length } => {
                if let (Some(bars), Some(running)) = (&mut self.bars, self.running.get(&job)) {
                    bars.progress(job, &running.name, got, length);
                }
            }
            Notice::Event(event) => self.event(event)?,
        }
        Ok(())
    }

    fn event(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Connected { announced } => self.talk(&format!(
                "Connected to the tracker at {}; {} announced.",
                self.tracker,
                files(announced)
            )),
            Event::TrackerLost { why, retry_in } => self.talk(&format!(
                "{why}; trying again in {} s. Files are served meanwhile.",
                retry_in.as_secs()
            )),
            Event::Planned { files } => {
                if let Some(bars) = &mut self.bars {
                    bars.planned(files as u64);
                }
            }
            Event::Started { job, name, source } => {
                self.running.insert(job, Running { name: name.to_string(), source: source.to_string() });
            }
            Event::Fetched { job, name, bytes, replaced, .. } => {
                let source = self.ended(job, 1).map_or_else(String::new, |running| running.source);
                let kept = if replaced { "; the older version is in .shoal/history" } else { "" };
                self.line(&format!("fetched {name} ({}) from {source}{kept}", HumanBytes(bytes)))?;
            }
            Event::Dropped { job } => drop(self.ended(job, 0)),
            Event::Problem { name, why } => self.line(&format!("not in sync: {name}: {why}"))?,
            Event::Warning(text) => self.talk(&format!("Warning: {text}.")),
            Event::InSync { files: count } => {
                self.rest();
                self.talk(&format!("In sync: {} listed.", files(count)));
            }
            Event::OutOfSync { missing } => {
                self.rest();
                let outlook = if self.is_last_word { "" } else { "; trying again with each directory" };
                self.talk(&format!("Not in sync: {} missing, see above{outlook}.", files(missing)));
            }
        }
        Ok(())
    }

    /// A fetch ended, with so many files.
    fn ended(&mut self, job: JobId, files: u64) -> Option<Running> {
        if let Some(bars) = &mut self.bars {
            bars.ended(job, files);
        }
        self.running.remove(&job)
    }

    /// Nothing is being fetched.
    fn rest(&mut self) {
        if let Some(bars) = &mut self.bars {
            bars.rest();
        }
    }

    /// A line of data.
    fn line(&mut self, text: &str) -> io::Result<()> {
        let out = &mut self.out;
        let mut write = || writeln!(out, "{text}").and_then(|()| out.flush());
        match &self.bars {
            Some(bars) => bars.all.suspend(write),
            None => write(),
        }
    }

    /// A line of talk. Where nobody listens to it, data is printed all the same.
    fn talk(&self, text: &str) {
        let write = || {
            let _ = writeln!(io::stderr(), "{text}");
        };
        match &self.bars {
            Some(bars) => bars.all.suspend(write),
            None => write(),
        }
    }
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self { all, total: None, jobs: BTreeMap::new(), fetched: 0 }
    }

    /// A directory asks for so many files, beside those that came since there was nothing to fetch.
    fn planned(&mut self, files: u64) {
        let total = self.total.get_or_insert_with(|| {
            let form = style("{msg:24!} {bar:30} {pos}/{len} files");
            let total = self.all.add(ProgressBar::no_length().with_style(form));
            total.set_message("all");
            total
        });
        total.set_length(self.fetched + files);
        total.set_position(self.fetched);
    }

    /// There is nothing to fetch for now.
    fn rest(&mut self) {
        self.fetched = 0;
        if let Some(total) = self.total.take() {
            total.finish_and_clear();
            self.all.remove(&total);
        }
    }

    /// Bytes came of a file that takes longer than a moment; only such a file has a bar of its own.
    fn progress(&mut self, job: JobId, name: &str, got: u64, length: Option<u64>) {
        let (all, total) = (&self.all, &self.total);
        let bar = self.jobs.entry(job).or_insert_with(|| {
            let form = match length {
                Some(_) => style("{msg:24!} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec}"),
                None => style("{msg:24!} {bytes} {binary_bytes_per_sec}"),
            };
            let bar = ProgressBar::no_length().with_style(form);
            let bar = match total {
                Some(total) => all.insert_before(total, bar),
                None => all.add(bar),
            };
            bar.set_message(name.to_owned());
            bar
        });
        if let Some(length) = length {
            bar.set_length(length);
        }
        bar.set_position(got);
    }

    fn ended(&mut self, job: JobId, files: u64) {
        self.fetched += files;
        if let Some(total) = &self.total {
            total.set_position(self.fetched);
        }
        if let Some(bar) = self.jobs.remove(&job) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn files(count: usize) -> String {
    if count == 1 { "1 file".into() } else { format!("{count} files") }
}

/// The words of `--json`, one object for each event; a promise to programs.
fn as_json(notice: &Notice) -> Option<Value> {
    Some(match notice {
        Notice::Listening(address) => json!({"event": "listening", "address": address}),
        Notice::Unlisted { name, why } => json!({"event": "unlisted", "name": name, "why": why}),
        Notice::Recovered(text) => json!({"event": "recovered", "text": text}),
        Notice::Progress { job, got, length } => {
            json!({"event": "progress", "job": job, "bytes": got, "length": length})
        }
        Notice::Event(event) => match event {
            Event::Connected { announced } => json!({"event": "connected", "announced": announced}),
            Event::TrackerLost { why, retry_in } => {
                json!({"event": "tracker-lost", "why": why, "retry_seconds": retry_in.as_secs()})
            }
            Event::Planned { files } => json!({"event": "planned", "files": files}),
            Event::Started { job, name, source } => {
                json!({"event": "started", "job": job, "name": name.as_str(), "source": source})
            }
            Event::Fetched { job, name, bytes, mtime, replaced } => json!({
                "event": "fetched", "job": job, "name": name.as_str(), "bytes": bytes, "mtime": mtime,
                "replaced": replaced
            }),
            Event::Dropped { job } => json!({"event": "dropped", "job": job}),
            Event::Problem { name, why } => json!({"event": "problem", "name": name, "why": why}),
            Event::Warning(text) => json!({"event": "warning", "text": text}),
            Event::InSync { files } => json!({"event": "in-sync", "files": files}),
            Event::OutOfSync { missing } => json!({"event": "out-of-sync", "missing": missing}),
        },
    })
}
