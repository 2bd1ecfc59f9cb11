//! The native tracker: what a lease and a watcher cost in memory, and announcements in time.
//!
//! `cargo bench -p shoal-tracker --bench swarm`. Each part runs in a process of its own, so that memory is counted from
//! nothing, as the system sees it; callers are in another process still. `SHOAL_WATCHERS` and `SHOAL_LEASES` say how many;
//! each watcher takes an open file in either process.
#![allow(clippy::print_stdout, reason = "a benchmark tells its figures")]

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use shoal_classic::Time;
use shoal_net::{Acceptor, Expected, Identity, Incoming, Outgoing, Purpose, dial};
use shoal_proto::announce::{FromTracker, ToTracker};
use shoal_proto::frame::RequestId;
use shoal_proto::limits::TRACKER_BODY_BYTES_MAX;
use shoal_proto::secret::{Pseudonym, Topic};
use shoal_tracker::limits::SwarmLimits;
use shoal_tracker::swarm::CallerId;
use shoal_tracker::{Rendezvous, Swarm};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

/// Handshakes that callers have under way at the same time.
const AT_ONCE: usize = 32;

/// Callers that announce as fast as they can, each with so many announcements under way.
const ANNOUNCERS: usize = 64;
const UNDER_WAY: usize = 64;

/// Announcements of each of them.
const ANNOUNCED: usize = 8_192;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["leases", kind] => leases(kind),
        ["watchers"] => serve("watch"),
        ["announces"] => serve("announce"),
        ["watch", address] => call(address, watch),
        ["announce", address] => call(address, announce),
        _ => {
            let parts: [&[&str]; 5] = [
                &["leases", "alone"],
                &["leases", "usual"],
                &["leases", "longest"],
                &["watchers"],
                &["announces"],
            ];
            for part in parts {
                let status = own().args(part).status().expect("this program");
                assert!(status.success(), "{part:?} failed");
            }
        }
    }
}

fn own() -> Command {
    Command::new(std::env::current_exe().expect("this program"))
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(otherwise)
}

// ── leases ──

/// Fills a swarm with leases of a kind, and renews all of them.
fn leases(kind: &str) {
    let count = number("SHOAL_LEASES", 1_000_000);
    let limits = SwarmLimits { leases_max: count, callers_max: usize::MAX, ..unhurried() };
    let before = resident();
    let mut swarm = Swarm::new(limits, 1);
    let (mut now, began) = (Time::START, Instant::now());
    let each = |swarm: &mut Swarm, now: Time| {
        for index in 0..count {
            let (from, message) = lease(kind, index);
            let caller: CallerId = swarm.connected(from, now).expect("there is room");
            let reply = swarm.handle(caller, message, now).message;
            assert!(matches!(reply, Some(FromTracker::Leased { .. })), "{reply:?}");
            swarm.closed(caller);
        }
    };
    each(&mut swarm, now);
    let (filled, bytes) = (began.elapsed(), resident().saturating_sub(before));
    now = now + Duration::from_secs(600);
    let began = Instant::now();
    each(&mut swarm, now);
    let renewed = began.elapsed();
    let tally = swarm.tally();
    assert_eq!((tally.leases, tally.displaced), (count, 0));
    println!(
        "{count} leases, {kind}: {} topics, {:.0} bytes each; {:.0} new ones a second, {:.0} renewals",
        tally.topics,
        bytes as f64 / count as f64,
        count as f64 / filled.as_secs_f64(),
        count as f64 / renewed.as_secs_f64(),
    );
}

/// From where, and what.
fn lease(kind: &str, index: usize) -> (SocketAddr, ToTracker) {
    let (of_topic, of_home) = match kind {
        "alone" | "longest" => (1, 1),
        _ => (3, 2),
    };
    let home = u128::try_from(index / of_home).unwrap_or(0);
    let seen: IpAddr = match kind {
        "longest" => Ipv6Addr::from_bits((0x2001_0db8 << 96) | (home << 64) | 1).into(),
        _ => std::net::Ipv4Addr::from_bits(0x2000_0000 + u32::try_from(home).unwrap_or(0)).into(),
    };
    let port = 1024 + u16::try_from(index % 60_000).unwrap_or(0);
    let mut addresses = vec![SocketAddr::new(seen, port)];
    let near: &[&str] = match kind {
        "longest" => &["fd00::1", "fd00::2", "fd00::3", "fd00::4"],
        _ => &["192.168.1.20"],
    };
    addresses.extend(near.iter().map(|ip| SocketAddr::new(ip.parse().expect("an address"), port)));
    if kind == "longest" {
        addresses.extend((1..4).map(|more| SocketAddr::new(seen, port + more)));
    }
    let (topic, pseudonym) = (topic(index / of_topic), name(index));
    (SocketAddr::new(seen, 40_000), ToTracker::Announce { topic, pseudonym, addresses, lease_seconds: 7_200 })
}

fn topic(number: usize) -> Topic {
    Topic::from_bytes(mixed(number as u64))
}

fn name(number: usize) -> Pseudonym {
    Pseudonym::from_bytes(mixed(!(number as u64)))
}

/// 32 bytes that look random, as hashes do.
fn mixed(number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut state = number;
    for part in bytes.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes
}

/// Bounds that nobody here reaches: all callers come from this machine.
fn unhurried() -> SwarmLimits {
    let (rate, room) = (u32::MAX / 2, usize::MAX);
    SwarmLimits {
        leases_per_address_max: room,
        watches_per_address_max: room,
        callers_per_address_max: room,
        caller_burst: rate,
        caller_per_second: rate,
        address_burst: rate,
        address_per_second: rate,
        ..SwarmLimits::default()
    }
}

// ── connections ──

/// Serves callers in one thread; they are another process, which says how far it is.
fn serve(what: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let rendezvous = Rendezvous::open(SwarmLimits { callers_max: usize::MAX, ..unhurried() });
        let (acceptor, hall) = (Acceptor::new(&Identity::nameless()), rendezvous.clone());
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (acceptor, hall) = (acceptor.clone(), hall.clone());
                tokio::spawn(async move {
                    if let Ok(secured) = acceptor.accept(stream).await {
                        hall.take(secured);
                    }
                });
            }
        });
        let mut callers = own()
            .args([what, &address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program");
        let mut said = lines(callers.stdout.take().expect("its output"));
        let mut told = callers.stdin.take().expect("its input");
        // The callers are connected, and do their work when told.
        let warm = said.recv().await.expect("it works");
        let (memory, cpu, began) = (resident(), cpu(), Instant::now());
        let before = rendezvous.tally();
        told.write_all(b"go\n").expect("it listens");
        let done = said.recv().await.expect("it works");
        let (took, used, tally) = (began.elapsed(), self::cpu() - cpu, rendezvous.tally());
        println!("{what}: {warm}; {done}");
        let announced = (tally.announced - before.announced) as f64;
        if announced > 0.0 {
            println!(
                "  {:.0} announcements a second; {:.0} per second of the tracker's CPU",
                announced / took.as_secs_f64(),
                announced / used.as_secs_f64(),
            );
        } else {
            println!(
                "  {} callers, {} leases, {} watches; {} KB resident, {:.1} KB a caller",
                tally.callers,
                tally.leases,
                tally.watches,
                memory / 1000,
                memory as f64 / 1e3 / tally.callers.max(1) as f64,
            );
        }
        drop(told);
        let _ = callers.wait();
    });
}

/// The lines of a pipe, read by a thread.
fn lines(pipe: impl std::io::Read + Send + 'static) -> UnboundedReceiver<String> {
    let (sender, lines) = unbounded_channel();
    std::thread::spawn(move || {
        let all = BufReader::new(pipe).lines().map_while(Result::ok);
        all.for_each(|line| drop(sender.send(line)));
    });
    lines
}

/// The callers' process.
fn call(address: &str, work: impl AsyncFnOnce(SocketAddr, UnboundedReceiver<String>)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work(address.parse().expect("an address"), lines(std::io::stdin())));
}

fn tell(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).expect("somebody listens");
}

async fn connect(tracker: SocketAddr) -> (Incoming, Outgoing) {
    let secured = dial(tracker, &Identity::nameless(), Expected::Anyone, Purpose::Tracker).await;
    let (mut incoming, outgoing) = secured.expect("it answers").split();
    incoming.allow(TRACKER_BODY_BYTES_MAX);
    (incoming, outgoing)
}

fn said(messages: &[ToTracker]) -> Vec<u8> {
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| message.write(&mut bytes, RequestId(1)).expect("it fits"));
    bytes
}

/// Connects, announces itself, watches, and then sits there. Three are under each topic.
async fn watch(tracker: SocketAddr, mut told: UnboundedReceiver<String>) {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(20_000);
    let count = number("SHOAL_WATCHERS", usize::try_from(files).unwrap_or(20_000) - 100);
    let (mut kept, mut joining, began) = (Vec::new(), JoinSet::new(), Instant::now());
    for index in 0..count {
        if joining.len() >= AT_ONCE {
            kept.extend(joining.join_next().await.map(|joined| joined.expect("it joined")));
        }
        joining.spawn(async move {
            let (mut incoming, outgoing) = connect(tracker).await;
            let (topic, pseudonym) = (topic(index / 3), name(index));
            let addresses = vec![SocketAddr::new(tracker.ip(), 5000)];
            let announce = ToTracker::Announce { topic, pseudonym, addresses, lease_seconds: 1_200 };
            outgoing.push(said(&[announce, ToTracker::Watch { topic }]));
            for _ in 0..2 {
                incoming.next().await.expect("it answers").expect("it stays");
            }
            (incoming, outgoing)
        });
    }
    while let Some(joined) = joining.join_next().await {
        kept.push(joined.expect("it joined"));
    }
    // What is pushed to the first ones about the later ones has been told by then.
    tokio::time::sleep(Duration::from_secs(2)).await;
    tell(&format!("{count} connected, {:.0} a second", count as f64 / began.elapsed().as_secs_f64()));
    told.recv().await;
    tell(&format!("{} KB resident at the callers", resident() / 1000));
    told.recv().await;
}

/// Announces as fast as answers come.
async fn announce(tracker: SocketAddr, mut told: UnboundedReceiver<String>) {
    let mut callers = Vec::new();
    for _ in 0..ANNOUNCERS {
        callers.push(connect(tracker).await);
    }
    tell(&format!("{ANNOUNCERS} connected"));
    told.recv().await;
    let mut announcing = JoinSet::new();
    for (caller, (mut incoming, outgoing)) in callers.into_iter().enumerate() {
        announcing.spawn(async move {
            let of_caller = |index: usize| {
                // Half of them are renewals.
                let number = caller * ANNOUNCED + index / 2;
                let addresses = vec![SocketAddr::new(tracker.ip(), 5000)];
                let (topic, pseudonym) = (topic(number / 3), name(number));
                said(&[ToTracker::Announce { topic, pseudonym, addresses, lease_seconds: 1_200 }])
            };
            for index in 0..ANNOUNCED + UNDER_WAY {
                if index < ANNOUNCED {
                    outgoing.push(of_caller(index));
                }
                if index >= UNDER_WAY {
                    incoming.next().await.expect("it answers").expect("it stays");
                }
            }
            (incoming, outgoing)
        });
    }
    let kept = announcing.join_all().await;
    tell(&format!("{UNDER_WAY} under way on each"));
    told.recv().await;
    drop(kept);
}

// ── what the system says ──

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or(0) * 1024
}

/// The CPU time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
