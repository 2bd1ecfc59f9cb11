//! Peers and trackers that a test plays itself, byte by byte, where a whole program would say too little.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::SOON;

/// A peer of the framed dialect: it lists files, and answers requests as the test says.
pub(crate) struct PlayedPeer {
    tracker: Line,
    listener: TcpListener,
}

impl PlayedPeer {
    /// Announces these files, names and mtimes; they are listed when this returns.
    pub(crate) fn announce(tracker: u16, files: &[(&str, i64)]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut peer = Self { tracker: Line::dial(tracker), listener };
        peer.announce_more(files);
        peer
    }

    /// Announces further files, or newer versions.
    pub(crate) fn announce_more(&mut self, files: &[(&str, i64)]) {
        let items: Vec<_> =
            files.iter().map(|(name, mtime)| serde_json::json!({"mtime": mtime, "name": name})).collect();
        let message = serde_json::json!({"port": self.port(), "files": items});
        self.tracker.write(format!("{message}\n").as_bytes());
        self.tracker.read_line();
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// The next request: its connection, and the name asked for.
    pub(crate) fn request(&self) -> (Line, String) {
        let mut line = accept(&self.listener);
        let name = line.read_line();
        (line, name.trim_end().to_owned())
    }

    /// Answers the next request with these bytes.
    pub(crate) fn answer(&self, content: &[u8]) {
        let (mut line, _) = self.request();
        line.write(format!("Content-Length: {}\n", content.len()).as_bytes());
        line.write(content);
    }
}

/// A tracker: it hears what peers say, and answers what the test says.
pub(crate) struct PlayedTracker {
    listener: TcpListener,
}

impl PlayedTracker {
    pub(crate) fn new() -> Self {
        Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// The next peer that connects.
    pub(crate) fn accept(&self) -> Line {
        accept(&self.listener)
    }
}

/// One end of a connection; no call waits longer than [`SOON`].
pub(crate) struct Line {
    reader: BufReader<TcpStream>,
}

impl Line {
    pub(crate) fn dial(port: u16) -> Self {
        Self::over(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// In one write, as long as it is small.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    /// The same, towards somebody who may have hung up.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Says that nothing more will come, and listens on.
    pub(crate) fn half_close(&mut self) {
        // Whoever has gone needs no goodbye.
        let _ = self.reader.get_ref().shutdown(Shutdown::Write);
    }

    /// Breaks off: the other side sees a reset.
    pub(crate) fn reset(self) {
        set_socket_linger(self.reader.get_ref(), Some(Duration::ZERO)).unwrap();
    }

    /// Up to the next newline, which is part of it.
    pub(crate) fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line
    }

    /// The same, from somebody who may hang up.
    pub(crate) fn try_read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line).map(|_| line)
    }

    /// What has come, at least something: as a rule what the other side wrote at once.
    pub(crate) fn read_some(&mut self) -> String {
        let mut bytes = vec![0; 65_536];
        let length = self.reader.read(&mut bytes).unwrap();
        bytes.truncate(length);
        String::from_utf8(bytes).unwrap()
    }

    /// The same as bytes, from somebody who may hang up.
    pub(crate) fn try_read_some(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 4_096];
        let length = self.reader.read(&mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Everything until the other side closes.
    pub(crate) fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes).map(|_| bytes)
    }
}

/// Asks a peer with exactly these bytes, then closes the sending half; its whole answer.
pub(crate) fn ask(port: u16, request: &str) -> Vec<u8> {
    let mut line = Line::dial(port);
    line.write(request.as_bytes());
    line.reader.get_ref().shutdown(Shutdown::Write).unwrap();
    line.read_to_end().unwrap()
}

fn accept(listener: &TcpListener) -> Line {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + SOON;
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Line::over(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                assert!(Instant::now() < deadline, "nobody connected within {SOON:?}");
                // The standard library has no accept with a deadline.
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("cannot accept: {error}"),
        }
    }
}

/// A free port that the system gives to nobody by itself, for programs that come back at the same one.
pub(crate) fn lasting_port() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    // Linux takes ports from 32,768 on. Several runs of the tests at once begin at different places.
    let process = u16::try_from(std::process::id() % 200).unwrap();
    loop {
        let port = 10_000 + process * 100 + TRIED.fetch_add(1, Ordering::Relaxed) % 2_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
