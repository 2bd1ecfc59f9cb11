//! How fast frames of 256 KiB go over connections of this machine, both ends in one process: one connection, two, and
//! plain TCP in the same run. `cargo bench -p shoal-net --bench throughput`; `SHOAL_MIB` says how much (default 2048).

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints; its figures are no larger than what a float holds"
)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use shoal_net::{Acceptor, Expected, Identity, Incoming, Outgoing, Purpose, dial};
use shoal_proto::frame::{RequestId, write_frame};
use shoal_proto::key::DeviceKey;
use shoal_proto::limits::{FRAME_BODY_BYTES_MAX, FRAME_CONTENT_BYTES_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const ROUNDS: usize = 5;

fn main() {
    let mib = std::env::var("SHOAL_MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(2048);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut rows: Vec<(&str, Vec<(f64, f64)>)> =
            ["plain TCP", "one connection", "two connections", "both ways on one"]
                .map(|name| (name, vec![]))
                .into();
        for _ in 0..ROUNDS {
            rows[0].1.push(measured(mib, plain(mib)).await);
            rows[1].1.push(measured(mib, frames(mib, 1, false)).await);
            rows[2].1.push(measured(mib, frames(mib, 2, false)).await);
            rows[3].1.push(measured(mib, frames(mib, 1, true)).await);
        }
        println!("{mib} MiB, medians of {ROUNDS} [least..most]; both ends on these cores");
        for (name, mut figures) in rows {
            figures.sort_by(|one, other| one.0.total_cmp(&other.0));
            let (median, least, most) = (figures[ROUNDS / 2], figures[0].0, figures[ROUNDS - 1].0);
            println!(
                "{name:<18} {:.2} GB/s [{least:.2}..{most:.2}], {:.2} CPU s/GiB, both ends",
                median.0, median.1
            );
        }
    });
}

/// GB a second, and seconds of CPU for a GiB.
async fn measured(mib: usize, work: impl Future<Output = Duration>) -> (f64, f64) {
    let before = cpu();
    let took = work.await;
    let bytes = (mib << 20) as f64;
    (bytes / took.as_secs_f64() / 1e9, (cpu() - before) / (mib as f64 / 1024.0))
}

/// What this process has used of the processors, in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

async fn plain(mib: usize) -> Duration {
    let (mut one, mut two) = tcp().await;
    let began = Instant::now();
    let writes = tokio::spawn(async move {
        let bytes = vec![7; 256 << 10];
        for _ in 0..mib * 4 {
            one.write_all(&bytes).await.expect("it is read");
        }
    });
    let mut room = vec![0; 256 << 10];
    while two.read(&mut room).await.expect("it is written") > 0 {}
    writes.await.expect("it wrote");
    began.elapsed()
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (one, two) = tokio::join!(TcpStream::connect(address), listener.accept());
    (one.expect("it is answered"), two.expect("it calls").0)
}

/// That much over so many connections, or in both directions over each.
async fn frames(mib: usize, connections: usize, is_both_ways: bool) -> Duration {
    let mut ends = Vec::new();
    for _ in 0..connections {
        ends.push(connect().await);
    }
    let ways = if is_both_ways { 2 } else { connections };
    let count = mib * 4 / ways;
    let began = Instant::now();
    let mut tasks = Vec::new();
    for ((there, one), (here, two)) in ends {
        tasks.push(tokio::spawn(receive(here, count)));
        tasks.push(tokio::spawn(send(one.clone(), count)));
        if is_both_ways {
            tasks.push(tokio::spawn(receive(there, count)));
            tasks.push(tokio::spawn(send(two.clone(), count)));
        } else {
            tasks.push(tokio::spawn(hold(there)));
        }
        tasks.push(tokio::spawn(async move { drop((one, two)) }));
    }
    for task in tasks {
        task.await.expect("it is done");
    }
    began.elapsed()
}

async fn connect() -> ((Incoming, Outgoing), (Incoming, Outgoing)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let [one, two] = [1, 2].map(|number| Identity::of(&DeviceKey::from_seed(&[number; 32])));
    let acceptor = Acceptor::new(&two);
    let accepting = async { acceptor.accept(listener.accept().await.expect("it calls").0).await };
    let expected = Expected::Device(two.device());
    let (one, two) = tokio::join!(dial(address, &one, expected, Purpose::Peer), accepting);
    (one.expect("it is answered").split(), two.expect("it proves its key").split())
}

/// As the engine does: some frames ahead, and more when they are drained.
async fn send(outgoing: Outgoing, count: usize) {
    let (drained, mut wait) = mpsc::unbounded_channel();
    outgoing.when_drained(move || {
        let _ = drained.send(());
    });
    let body = vec![7; FRAME_CONTENT_BYTES_MAX - 9];
    for _ in 0..count {
        // A frame of its own each time, as messages are written.
        let mut frame = Vec::new();
        write_frame(&mut frame, 1, RequestId::NONE, &[&body]).expect("a frame");
        outgoing.push(Bytes::from(frame));
        while outgoing.waiting() > 1 << 20 {
            let _ = wait.recv().await;
        }
    }
}

async fn receive(mut incoming: Incoming, count: usize) {
    incoming.allow(FRAME_BODY_BYTES_MAX);
    for _ in 0..count {
        let frame = incoming.next().await.expect("it holds").expect("more comes");
        assert_eq!(frame.body.len(), FRAME_CONTENT_BYTES_MAX - 9);
    }
}

/// Reads until the other end closes.
async fn hold(mut incoming: Incoming) {
    while let Ok(Some(_)) = incoming.next().await {}
}
