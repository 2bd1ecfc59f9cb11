//! Bad input against the running program, row by row of `docs/bad-input.md`.
//!
//! What comes in over a connection stands in the case files in `cases/`, a case a line: its row, the bytes, and the
//! answer expected. What a session does with every cutting of a message is proved beside its code; here real
//! processes meet it, and live on. To add a case, add a line.

mod answers;
mod arguments;
mod directory;
mod folder;
mod requests;
mod tracker;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::net::{AddressFamily, SocketType};
use serde_json::{Value, json};

use crate::support::{Folder, Line, PlayedTracker, Program, sync};

/// One line of a case file: `row | what comes in | answer`; `%XX` in what comes in is a byte, a line that begins with
/// `#` is for people.
#[derive(Debug)]
struct Case {
    row: &'static str,
    text: &'static str,
    answer: &'static str,
}

fn cases(file: &'static str) -> Vec<Case> {
    let lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let case = |line: &'static str| {
        let mut parts = line.split(" | ");
        let mut part = || parts.next().unwrap_or_else(|| panic!("not a case: {line}")).trim();
        Case { row: part(), text: part(), answer: part() }
    };
    lines.map(case).collect()
}

/// What a text of a case file stands for.
fn bytes(text: &str) -> Vec<u8> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    bytes
}

/// Whether nothing in a text could act on a terminal.
fn is_harmless(text: &str) -> bool {
    let hides = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}');
    text.chars().all(|c| c == '\n' || !(c.is_control() || hides(c)))
}

/// Everything below a folder but our own state: for each path its kind and its bytes, or where it leads.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let metadata = entry.metadata().unwrap();
            let bytes = if metadata.is_file() {
                fs::read(&path).unwrap()
            } else if metadata.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else {
                Vec::new()
            };
            if metadata.is_dir() && entry.file_name() != ".shoal" {
                folders.push(path.clone());
            }
            found.insert(path, (metadata.mode(), bytes));
        }
    }
    found
}

/// The most memory that a process ever had, in bytes.
fn peak_memory(program: &Program) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// A connection that comes from another address of this machine.
fn dial_from(ip: [u8; 4], port: u16) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrV4::new(ip.into(), 0)).unwrap();
    rustix::net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.into()
}

/// A peer of ours under a tracker that the test plays, connected and announced.
struct Meeting {
    tracker: PlayedTracker,
    /// The tracker's end of their connection.
    line: Line,
    peer: Program,
    /// Where the peer serves.
    port: u16,
    /// What it has announced, with mtimes.
    announced: BTreeMap<String, i64>,
}

impl Meeting {
    fn of(folder: &Folder, args: &[&str]) -> Self {
        let tracker = PlayedTracker::new();
        let peer = sync("the peer", tracker.port(), folder, args);
        Self::between(tracker, peer)
    }

    fn between(tracker: PlayedTracker, mut peer: Program) -> Self {
        let port = peer.wait_serving();
        let mut line = tracker.accept();
        peer.wait_event("connected");
        let initial: Value = serde_json::from_str(&line.read_line()).unwrap();
        let items = initial["files"].as_array().unwrap().iter();
        let announced =
            items.map(|item| (item["name"].as_str().unwrap().to_owned(), item["mtime"].as_i64().unwrap()));
        Self { tracker, line, peer, port, announced: announced.collect() }
    }

    /// Answers with a directory of these entries; what is not read soon is overtaken by the next.
    fn say(&mut self, entries: &[String]) {
        self.line.write(format!("{{{}}}\n", entries.join(", ")).as_bytes());
    }
}

/// Puts a pipe there.
fn make_pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// What a source does with a request.
#[derive(Clone)]
struct Answer {
    bytes: Vec<u8>,
    then: Then,
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy)]
enum Then {
    Close,
    Reset,
    /// It stays open until the other side has had enough.
    Hang,
}

impl From<Vec<u8>> for Answer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, then: Then::Close }
    }
}

/// A source of files: it answers each request as the test says, and notes what it was asked.
struct Source {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Source {
    /// `answer` gets the name that is asked for.
    fn start<A: Into<Answer>>(ip: [u8; 4], answer: impl Fn(&str) -> A + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::from(ip), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (notes, answer) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (notes, answer) = (notes.clone(), answer.clone());
                std::thread::spawn(move || serve(Line::over(stream), &notes, |name| answer(name).into()));
            }
        });
        Self { port, asked }
    }

    /// One that gives these bytes for every name, in the framed dialect.
    fn of(content: &'static [u8]) -> Self {
        Self::start([127, 0, 0, 1], |_| framed(content))
    }

    /// The names it was asked for so far.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// How a directory lists it: a framed source with this name.
    fn entry(&self, name: &str, mtime: i64) -> String {
        let entry = json!({"ip": "127.0.0.1", "port": self.port, "mtime": mtime, "dialect": 1});
        format!("{}: {entry}", json!(name))
    }
}

fn serve(mut line: Line, notes: &Mutex<Vec<String>>, answer: impl Fn(&str) -> Answer) {
    let Ok(request) = line.try_read_some() else { return };
    let request = String::from_utf8_lossy(&request);
    let name = request.split('\n').next().unwrap_or_default();
    notes.lock().unwrap().push(name.to_owned());
    let Answer { bytes, then } = answer(name);
    // Whoever has had enough hangs up.
    let _ = line.try_write(&bytes);
    match then {
        Then::Close => line.half_close(),
        Then::Reset => return line.reset(),
        Then::Hang => {}
    }
    let _ = line.read_to_end();
}

/// A whole answer of the framed dialect.
fn framed(content: &[u8]) -> Vec<u8> {
    [format!("Content-Length: {}\n", content.len()).as_bytes(), content].concat()
}
