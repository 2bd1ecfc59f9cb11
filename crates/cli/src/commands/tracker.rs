//! `shoal tracker`

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use shoal_tracker::{Options, Tracker, limits};

use crate::exit::Exit;
use crate::{signals, values};

/// Run the tracker: it tells peers who has the newest version of each file, and devices where others are
///
/// Works for every program of the course protocol, in both dialects, and on the same port for native Shoal; of that it
/// learns addresses, and neither names nor who shares what. It keeps nothing on disk and never sees a file. End it
/// with ctrl-C.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct TrackerArgs {
    /// Address to listen at; `[::]` listens at all addresses of both kinds
    #[arg(default_value = "0.0.0.0", value_parser = values::ip)]
    ip: IpAddr,
    /// Port to listen at (Port A); 0 takes a free one
    #[arg(default_value = "9000", value_parser = values::listen_port)]
    port: u16,
    /// Print where it listens as one JSON line
    #[arg(long)]
    json: bool,
    /// Serve numbers for Prometheus, and a page for people, over HTTP at this address
    #[arg(long, value_name = "IP:PORT")]
    metrics: Option<SocketAddr>,
    /// Forget a peer that was silent for this long
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds, default_value = "180")]
    expiry: Duration,
    /// Close a connection that sends no first message for this long
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds, default_value = "10")]
    first_message_wait: Duration,
    /// Close a connection that does not take its answer for this long
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds, default_value = "30")]
    write_stall: Duration,
    /// Most connections in all
    #[arg(long, value_name = "N", value_parser = values::count, default_value_t = limits::CONNECTIONS_MAX)]
    max_connections: usize,
    /// Most connections of one address
    #[arg(long, value_name = "N", value_parser = values::count, default_value_t = limits::CONNECTIONS_PER_ADDRESS_MAX)]
    max_per_address: usize,
    /// Largest message, in bytes
    #[arg(long, value_name = "BYTES", value_parser = values::count, default_value_t = Options::default().message_bytes_max)]
    max_message: usize,
    /// Most files that one peer may list
    #[arg(long, value_name = "N", value_parser = values::count, default_value_t = Options::default().entries_per_peer_max)]
    max_entries: usize,
    /// Most listed files in all, each counted once for each peer that lists it
    #[arg(long, value_name = "N", value_parser = values::count, default_value_t = Options::default().announcements_max)]
    max_announcements: usize,
    /// Most listed files of one address
    #[arg(long, value_name = "N", value_parser = values::count, default_value_t = Options::default().announcements_per_address_max)]
    max_announcements_per_address: usize,
    /// Most bytes of unfinished messages in all
    #[arg(long, value_name = "BYTES", value_parser = values::count, default_value_t = Options::default().buffered_bytes_max)]
    max_buffered: usize,
    /// Most announcements of native peers in all
    #[arg(long, value_name = "N", value_parser = values::count, default_value_t = limits::LEASES_MAX)]
    max_leases: usize,
}

pub(crate) fn tracker(args: TrackerArgs) -> anyhow::Result<Exit> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let json = args.json;
    let address = SocketAddr::new(args.ip, args.port);
    let options = Options::from(args);
    runtime.block_on(async {
        let end = signals::end_requested()?;
        let tracker = Tracker::bind(address, options)?;
        announce(json, tracker.local_addr(), tracker.metrics_addr())?;
        tracker.run(end).await?;
        Ok(Exit::Well)
    })
}

fn announce(json: bool, address: SocketAddr, metrics: Option<SocketAddr>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = if json {
        let line = serde_json::json!({"event": "listening", "address": address, "metrics": metrics});
        writeln!(out, "{line}")
    } else {
        let page = metrics.map(|metrics| format!(" Numbers are at http://{metrics}/."));
        let port = address.port();
        let ip = if address.ip().is_unspecified() { "THIS-MACHINE".into() } else { address.ip().to_string() };
        writeln!(
            out,
            "Tracking at {address}.{} Peers join with: shoal sync {ip} {port}",
            page.unwrap_or_default()
        )
    };
    written.and_then(|()| out.flush()).context("cannot write to stdout")
}

impl From<TrackerArgs> for Options {
    fn from(args: TrackerArgs) -> Self {
        Self {
            connections_max: args.max_connections,
            connections_per_address_max: args.max_per_address,
            message_bytes_max: args.max_message,
            entries_per_peer_max: args.max_entries,
            announcements_max: args.max_announcements,
            announcements_per_address_max: args.max_announcements_per_address,
            buffered_bytes_max: args.max_buffered,
            first_message_wait: args.first_message_wait,
            expiry: args.expiry,
            write_stall: args.write_stall,
            leases_max: args.max_leases,
            metrics: args.metrics,
        }
    }
}
