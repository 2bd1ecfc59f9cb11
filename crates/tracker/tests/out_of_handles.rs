//! `B30`: the tracker lives on when the system gives it no more handles. A test program of its own, since the
//! bound on handles is the whole process's.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shoal_tracker::{Options, Tracker};
use socket2::{Domain, Socket, Type};
use tokio::sync::oneshot;

/// Handles for the whole process, clients included.
const HANDLES: u64 = 64;

#[test]
fn b30_without_handles_the_others_are_served_and_newcomers_wait() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(HANDLES), ..limit }).unwrap();
    let tracker = Tracker::bind(SocketAddr::from(([127, 0, 0, 1], 0)), Options::default()).unwrap();
    let address = tracker.local_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let running = std::thread::spawn(move || runtime.block_on(tracker.run(async { drop(stopped.await) })));

    let prepare = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let connect = |socket: Socket| {
        socket.connect(&address.into()).unwrap();
        TcpStream::from(socket)
    };
    // Speaks and hears the answer over one handle, as there may be no other.
    let ask = |mut stream: &TcpStream, patience: Duration| {
        let mut answer = String::new();
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(b"{\"port\": 8001}\n")?;
        BufReader::new(stream).read_line(&mut answer).map(|_| answer)
    };
    let (moment, patience) = (Duration::from_millis(250), Duration::from_secs(20));

    let honest = connect(prepare());
    assert_eq!(ask(&honest, patience).unwrap(), "{}\n");
    let prepared: Vec<Socket> = (0..5).map(|_| prepare()).collect();
    let fillers: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(fillers.len() > 10);
    // The system completes these connections, but the tracker cannot have them.
    let newcomers: Vec<TcpStream> = prepared.into_iter().map(connect).collect();
    assert!(ask(&newcomers[0], moment).is_err());
    assert_eq!(ask(&honest, patience).unwrap(), "{}\n", "who is connected is served");
    drop(fillers);
    for newcomer in newcomers {
        assert_eq!(ask(&newcomer, patience).unwrap(), "{}\n", "who waited is served");
    }
    drop(stop);
    running.join().unwrap().unwrap();
}
