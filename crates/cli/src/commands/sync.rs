//! `shoal sync`

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use shoal_daemon::classic::{self, Finish, JOBS, Options, SyncOptions};

use crate::exit::Exit;
use crate::ui::{Style, Ui};
use crate::{signals, values};

/// Keep a folder the same as the peers of a tracker have it (the course protocol)
///
/// Announces the plain files of the folder, serves them, and fetches what others have newer. Nothing is ever
/// deleted; what a newer version replaces is kept in .shoal/history. The course protocol has no encryption and
/// no passwords: use it among people you trust. End it with ctrl-C.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct SyncArgs {
    /// IP address of the tracker
    #[arg(value_parser = values::ipv4)]
    tracker_ip: Ipv4Addr,
    /// Port of the tracker (Port A)
    #[arg(value_parser = values::port)]
    tracker_port: u16,
    /// The folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Port to serve files at (Port B); without it a free one is taken
    #[arg(long, value_name = "PORT", value_parser = values::listen_port, default_value = "0")]
    port: u16,
    /// Address to serve files at
    #[arg(long, value_name = "IP", value_parser = values::ip, default_value = "0.0.0.0")]
    bind: IpAddr,
    /// How many files to fetch at once
    #[arg(long, value_name = "N", value_parser = values::jobs, default_value_t = JOBS)]
    jobs: usize,
    /// Watch the folder, and announce what changes
    #[arg(long, conflicts_with_all = ["once", "strict"])]
    live: bool,
    /// Fetch what is newer, then end: with 0 when in sync, with 3 when something is missing
    #[arg(long)]
    once: bool,
    /// Announce also *.py, *.so and *.dll
    #[arg(long)]
    all: bool,
    /// Announce once, as the assignment has it: not again what was fetched
    #[arg(long)]
    strict: bool,
    /// Fetch files with an mtime in the far future, too
    #[arg(long)]
    trust_future: bool,
    /// Give up a source that is silent for this long
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds, default_value = "10")]
    timeout: Duration,
    /// Allow the folder to be / or your home folder
    #[arg(long)]
    whole: bool,
    /// Print what happens as JSON, an object a line
    #[arg(long)]
    json: bool,
}

/// How long workers may take to notice that the program ends.
const END_WAIT: Duration = Duration::from_secs(1);

pub(crate) fn sync(args: SyncArgs) -> anyhow::Result<Exit> {
    let style = if args.json { Style::Json } else { Style::Human };
    let jobs = args.jobs;
    let options = Options::from(args);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(jobs + 16)
        .enable_all()
        .build()
        .context("cannot start")?;
    let ui = Ui::start(style, &options).context("cannot start the display")?;
    let teller = ui.teller();
    let finish = runtime.block_on(async {
        let end = signals::end_requested()?;
        anyhow::Ok(classic::run(options, teller, end).await?)
    });
    runtime.shutdown_timeout(END_WAIT);
    ui.end()?;
    match finish? {
        Finish::InSync => Ok(Exit::Well),
        Finish::OutOfSync(_) => Ok(Exit::NotInSync),
        Finish::Failed(why) => bail!("{why}; check the address, and that the tracker runs"),
    }
}

impl From<SyncArgs> for Options {
    fn from(args: SyncArgs) -> Self {
        let tracker = SocketAddr::from((args.tracker_ip, args.tracker_port));
        let mut options = Self::new(tracker, args.dir);
        options.folder.broad = args.whole;
        options.folder.home = std::env::home_dir();
        options.bind = args.bind;
        options.port = args.port;
        options.live = args.live;
        options.timeout = args.timeout;
        options.sync = SyncOptions {
            jobs: args.jobs,
            once: args.once,
            strict: args.strict,
            trust_future: args.trust_future,
            all: args.all,
        };
        options
    }
}
