//! What an idle connection costs in memory, and a handshake in time: both ends in one process, each end counted by
//! itself. `cargo bench -p shoal-net --bench idle`; `SHOAL_CONNECTIONS` says how many (default 2000; each takes two of
//! the process's open files).

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints; its figures are no larger than what a float holds"
)]

use std::time::Instant;

use shoal_net::{Acceptor, Expected, Identity, Incoming, Outgoing, Purpose, dial};
use shoal_proto::frame::{RequestId, write_frame};
use shoal_proto::key::DeviceKey;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Handshakes at the same time.
const AT_ONCE: usize = 16;

fn main() {
    let count = std::env::var("SHOAL_CONNECTIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(2000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(measure(count));
}

async fn measure(count: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let [one, two] = [1, 2].map(|number| Identity::of(&DeviceKey::from_seed(&[number; 32])));
    let expected = Expected::Device(two.device());
    // What is there once: the runtime, tables of the library.
    let acceptor = Acceptor::new(&two);
    let mut kept = connect(&listener, &acceptor, &one, &expected, address, AT_ONCE).await;
    let (before, began) = (resident(), Instant::now());
    for _ in 0..count / AT_ONCE {
        kept.extend(connect(&listener, &acceptor, &one, &expected, address, AT_ONCE).await);
    }
    let took = began.elapsed().as_secs_f64();
    let made = kept.len() - AT_ONCE;
    // Each has carried something, and its readers wait for more.
    let mut readers = Vec::new();
    let mut writers = Vec::new();
    for (there, here) in kept {
        for (incoming, outgoing) in [there, here] {
            let mut frame = Vec::new();
            write_frame(&mut frame, 1, RequestId::NONE, &[&[0; 200]]).expect("a frame");
            outgoing.push(frame);
            readers.push(reader(incoming));
            writers.push(outgoing);
        }
    }
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let bytes = resident().saturating_sub(before);
    println!(
        "{made} connections: {:.0} handshakes a second with both ends on these cores",
        made as f64 / took
    );
    println!(
        "{:.1} KB for each end of an idle connection, with the tasks that read and write",
        bytes as f64 / 1e3 / (2 * made) as f64
    );
    drop(writers);
    for reader in readers {
        reader.await.expect("it has read");
    }
}

type End = (Incoming, Outgoing);

async fn connect(
    listener: &TcpListener,
    acceptor: &Acceptor,
    identity: &Identity,
    expected: &Expected,
    address: std::net::SocketAddr,
    count: usize,
) -> Vec<(End, End)> {
    let mut dialling = Vec::new();
    let mut accepting = Vec::new();
    for _ in 0..count {
        let (identity, expected) = (identity.clone(), expected.clone());
        dialling.push(tokio::spawn(async move { dial(address, &identity, expected, Purpose::Peer).await }));
    }
    for _ in 0..count {
        let (stream, _) = listener.accept().await.expect("it calls");
        let acceptor = acceptor.clone();
        accepting.push(tokio::spawn(async move { acceptor.accept(stream).await }));
    }
    let mut ends = Vec::new();
    for (one, two) in dialling.into_iter().zip(accepting) {
        let (one, two) = (one.await.expect("a task"), two.await.expect("a task"));
        ends.push((one.expect("it is answered").split(), two.expect("it proves its key").split()));
    }
    ends
}

fn reader(mut incoming: Incoming) -> JoinHandle<()> {
    tokio::spawn(async move { while let Ok(Some(_)) = incoming.next().await {} })
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or(0) * 1024
}
