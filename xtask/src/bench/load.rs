//! One thread that plays a thousand peers: each sends a keep-alive as soon as it has its answer.
//!
//! It does as little as possible beside, so that what is measured is the other end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{Timespec, epoll};

/// Peers that talk to a tracker in a closed loop.
pub(super) struct Load {
    peers: Vec<Peer>,
    epoll: rustix::fd::OwnedFd,
    answer_bytes: usize,
    buffer: Vec<u8>,
}

struct Peer {
    stream: TcpStream,
    /// Bytes of the answer that are still to come.
    missing: usize,
}

const KEEP_ALIVE: &[u8] = b"{\"port\": 8001}\n";

impl Load {
    /// Connects so many peers; the first of them lists so many files.
    pub(super) fn connect(port: u16, peers: usize, files: usize) -> Result<Self> {
        let items: Vec<String> = (0..files)
            .map(|number| format!("{{\"mtime\": 1548878750, \"name\": \"file{number:06}.txt\"}}"))
            .collect();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut load =
            Self { peers: Vec::with_capacity(peers), epoll, answer_bytes: 0, buffer: vec![0; 256 << 10] };
        for number in 0..peers {
            let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            let listed = if number == 0 { items.join(", ") } else { String::new() };
            stream.write_all(format!("{{\"port\": 8001, \"files\": [{listed}]}}\n").as_bytes())?;
            load.answer_bytes = load.read_line(&mut stream)?;
            load.peers.push(Peer { stream, missing: 0 });
        }
        // The first answers came before all was listed; this one is as long as all that follow.
        for number in [0, peers - 1] {
            let mut stream = load.peers[number].stream.try_clone()?;
            stream.write_all(KEEP_ALIVE)?;
            load.answer_bytes = load.read_line(&mut stream)?;
        }
        for (number, peer) in load.peers.iter().enumerate() {
            peer.stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&load.epoll, &peer.stream, data, epoll::EventFlags::IN)?;
        }
        Ok(load)
    }

    /// How long each answer is.
    pub(super) const fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// Runs for so long; answers a second.
    pub(super) fn run(&mut self, length: Duration) -> Result<f64> {
        for peer in &mut self.peers {
            peer.stream.write_all(KEEP_ALIVE)?;
            peer.missing = self.answer_bytes;
        }
        let began = Instant::now();
        let mut answers = 0_u64;
        let mut waiting = self.peers.len();
        let mut events = Vec::with_capacity(1_024);
        while waiting > 0 {
            events.clear();
            let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&limit))?;
            if events.is_empty() {
                bail!("{waiting} peers wait for an answer that does not come");
            }
            let goes_on = began.elapsed() < length;
            for event in &events {
                let peer = &mut self.peers[usize::try_from(event.data.u64())?];
                match peer.stream.read(&mut self.buffer) {
                    Ok(0) => bail!("the tracker closed a connection"),
                    Ok(count) => {
                        peer.missing = peer.missing.checked_sub(count).context("an answer was too long")?;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
                if peer.missing == 0 {
                    answers += 1;
                    if goes_on {
                        peer.stream.write_all(KEEP_ALIVE)?;
                        peer.missing = self.answer_bytes;
                    } else {
                        waiting -= 1;
                    }
                }
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        Ok(answers as f64 / began.elapsed().as_secs_f64())
    }

    fn read_line(&mut self, stream: &mut TcpStream) -> Result<usize> {
        let mut length = 0;
        loop {
            let count = stream.read(&mut self.buffer)?;
            length += count;
            match self.buffer[..count].last() {
                Some(b'\n') => return Ok(length),
                Some(_) => {}
                None => bail!("the tracker closed a connection"),
            }
        }
    }
}

/// The limit: a bare loop that answers whatever comes with the same bytes, until its thread's owner ends.
///
/// Its first answer to each connection is the same, too.
pub(super) fn bare_loop(answer: Vec<u8>) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || serve_bare(&listener, &answer));
    Ok(port)
}

fn serve_bare(listener: &TcpListener, answer: &[u8]) -> Result<()> {
    const LISTENER: u64 = u64::MAX;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    // Each connection with what it has not taken yet of its answer.
    let mut connections: Vec<(TcpStream, usize)> = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut events = Vec::with_capacity(1_024);
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let number = event.data.u64();
            if number == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                let data = epoll::EventData::new_u64(connections.len() as u64);
                epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
                connections.push((stream, 0));
                continue;
            }
            let (stream, left) = &mut connections[usize::try_from(number)?];
            if *left == 0 {
                match stream.read(&mut buffer) {
                    Ok(count) if buffer[..count].last() == Some(&b'\n') => *left = answer.len(),
                    Ok(0) => epoll::delete(&epoll, &*stream)?,
                    _ => {}
                }
            }
            let had = *left;
            while *left > 0 {
                match stream.write(&answer[answer.len() - *left..]) {
                    Ok(count) => *left -= count,
                    Err(_) => break,
                }
            }
            // As long as a peer has not taken its answer, its readiness to take more is what counts.
            let wanted = if *left > 0 { epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            if had != answer.len() || *left > 0 {
                epoll::modify(&epoll, &*stream, epoll::EventData::new_u64(number), wanted)?;
            }
        }
    }
}
