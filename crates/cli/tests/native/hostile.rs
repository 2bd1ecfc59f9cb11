//! Bytes that no daemon of ours would send, to one that is at work.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::link::Way;
use super::{meeting, noise, wait_agreed};
use crate::support::SOON;

/// How many connections say nothing; less than one network may have, so that a member finds a place.
const SILENT: usize = 50;

/// Says this, and waits until it is hung up on; at most so many bytes come back.
fn is_hung_up_on(address: SocketAddr, said: &[u8], answer_max: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // It may have hung up before all is said.
    let _ = stream.write_all(said);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let is_timeout = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    assert!(!read.as_ref().is_err_and(is_timeout), "not hung up on after {:?}", &said[..said.len().min(16)]);
    assert!(answer.len() <= answer_max, "{} bytes of answer to {} bytes", answer.len(), said.len());
}

#[test]
fn d1_d8_garbage_is_hung_up_on_while_others_are_silent_and_a_share_goes_on() {
    let (mut ana, ben, link) = meeting(&[("a", b"a")], &[]);
    wait_agreed(&ana, &ben, |tree| tree.contains_key("a"));
    let silent: Vec<TcpStream> = (0..SILENT).map(|_| TcpStream::connect(ana.address).unwrap()).collect();
    for stream in &silent[..SILENT / 2] {
        // The first byte of a handshake, and then nothing.
        let _ = (&*stream).write_all(&[0x16]);
    }
    ben.write("b", b"b");
    wait_agreed(&ana, &ben, |tree| tree.contains_key("b"));

    // A real handshake, cut at several places, and what followed it.
    let recorded = link.capture(Way::There);
    let hello = 5 + usize::from(u16::from_be_bytes([recorded[3], recorded[4]]));
    let records = [&[0x16, 3, 1, 0xff, 0xff][..], &[0; 70_000]].concat();
    let mut bent = recorded[..hello].to_vec();
    bent[hello / 2] ^= 0x40;
    let said: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(),
        b"{\"port\": 1, \"files\": []}\n".to_vec(),
        vec![0; 100_000],
        noise(1, 100_000),
        [&[0x16][..], &noise(2, 100_000)].concat(),
        records,
        bent,
        recorded[..1].to_vec(),
        recorded[..4].to_vec(),
        recorded[..hello / 2].to_vec(),
        recorded[..hello - 1].to_vec(),
        recorded[..hello].to_vec(),
        // The whole recording again (D5).
        recorded,
    ];
    for bytes in &said {
        // What it answers is a handshake's, and no more.
        is_hung_up_on(ana.address, bytes, 4096);
    }
    ana.write("d/c", &noise(3, 1 << 20));
    let tree = wait_agreed(&ana, &ben, |tree| tree.get("d/c").is_some_and(|bytes| bytes.len() == 1 << 20));
    assert_eq!(tree.len(), 4);
    assert_eq!(link.calls(), 1, "the member's connection stood all the time");

    drop(silent);
    assert!(ana.daemon().is_running());
    assert_eq!(ana.done(&["devices"]).len(), 2);
}
