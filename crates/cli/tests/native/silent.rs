//! Who connects and then says nothing, or next to nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use shoal_net::{Expected, Identity, Purpose, dial, limits};
use tokio::runtime::Runtime;

use super::link::Way;
use super::{meeting, wait_agreed};
use crate::support::tracker;

/// Each goes on for so long at least before it is hung up on, and no longer than twice that.
const LIMIT: Duration = limits::HANDSHAKE;

const _: () = assert!(limits::FIRST_BYTE.as_nanos() == LIMIT.as_nanos());

/// Says these bytes, one in a second, and then nothing; how long it took until it was hung up on.
fn drip(address: SocketAddr, said: Vec<u8>) -> Duration {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut said = said.into_iter();
    loop {
        if let Some(byte) = said.next() {
            // That it was hung up on is found below.
            let _ = stream.write_all(&[byte]);
        }
        match stream.read(&mut [0; 1]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return began.elapsed(),
            Ok(_) => panic!("there is nothing to answer"),
        }
        assert!(began.elapsed() < 6 * LIMIT, "not hung up on");
    }
}

/// Proves a key that nobody knows, and says nothing more; how long it took until it was hung up on.
fn proves_a_key(address: SocketAddr) -> Duration {
    let began = Instant::now();
    Runtime::new().unwrap().block_on(async {
        let secured = dial(address, &Identity::nameless(), Expected::Anyone, Purpose::Peer).await.unwrap();
        let (mut incoming, _outgoing) = secured.split();
        // It may greet.
        let heard = async { while let Ok(Some(_)) = incoming.next().await {} };
        tokio::time::timeout(6 * LIMIT, heard).await.expect("not hung up on");
    });
    began.elapsed()
}

#[test]
fn t5_t6_who_says_nothing_or_a_byte_a_second_is_hung_up_on_in_time_while_others_go_on() {
    let (ana, ben, link) = meeting(&[("a", b"a")], &[]);
    wait_agreed(&ana, &ben, |tree| tree.contains_key("a"));
    let hello = link.capture(Way::There);
    let (_tracker, port) = tracker(&[]);
    let mut silent: Vec<(String, JoinHandle<Duration>)> = Vec::new();
    for (to, address) in [("a device", ana.address), ("a tracker", SocketAddr::from(([127, 0, 0, 1], port)))]
    {
        for (what, said) in [("nothing", &[][..]), ("a first byte", &hello[..1]), ("a byte a second", &hello)]
        {
            let said = said.to_vec();
            silent.push((format!("{what} to {to}"), thread::spawn(move || drip(address, said))));
        }
    }
    let address = ana.address;
    silent.push(("its key alone".into(), thread::spawn(move || proves_a_key(address))));
    let mut round = 0;
    while silent.iter().any(|(_, said)| !said.is_finished()) {
        round += 1;
        ana.write("round", format!("{round}").as_bytes());
        wait_agreed(&ana, &ben, |tree| {
            tree.get("round").is_some_and(|bytes| *bytes == format!("{round}").as_bytes())
        });
    }
    assert!(round > 1 && link.calls() == 1, "the member's connection stood all the time");
    for (what, said) in silent {
        let took = said.join().unwrap();
        let margin = Duration::from_secs(1);
        assert!(took > LIMIT - margin && took < 2 * LIMIT, "who says {what} is hung up on after {took:?}");
    }
}
