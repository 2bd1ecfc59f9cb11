//! Rows C1 to C6 and C10: whatever a requester says or does, it gets an announced file or an orderly close.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Case, Meeting, bytes, cases, dial_from, framed, make_pipe};
use crate::support::{Folder, Line, PlayedTracker, Program, SOON, ask, eventually, for_each_at_once};

/// A folder with something of every kind in it, and a file beside it.
fn crowded() -> (Folder, Folder) {
    let outer = Folder::with(&[("outside", 1_000, "outside")]);
    let ours = Folder::within(&outer);
    for name in ["mine", "\"quoted\"", "skipped.py"] {
        ours.write(name, 1_000, name.as_bytes());
    }
    fs::write(ours.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "not UTF-8").unwrap();
    fs::create_dir(ours.join("below")).unwrap();
    fs::write(ours.join("below/inside"), "inside").unwrap();
    symlink("mine", ours.join("link to mine")).unwrap();
    symlink(outer.join("outside"), ours.join("link to outside")).unwrap();
    symlink("link to itself", ours.join("link to itself")).unwrap();
    symlink("nowhere", ours.join("link to nothing")).unwrap();
    make_pipe(&ours.join("pipe"));
    UnixListener::bind(ours.join("socket")).unwrap();
    (outer, ours)
}

/// Sends a request, and says with a newline, a half-close or silence that it is complete; the whole answer, which
/// must end orderly.
fn ask_by(port: u16, request: &[u8], end: &str) -> Vec<u8> {
    let mut line = Line::dial(port);
    line.write(request);
    match end {
        "newline" => line.write(b"\n"),
        "half-close" => line.half_close(),
        _ => {}
    }
    line.read_to_end().unwrap_or_else(|error| panic!("{} by {end}: {error}", request.escape_ascii()))
}

#[test]
fn c1_to_c5_whatever_is_asked_only_announced_files_are_given_and_every_close_is_orderly() {
    let (outer, ours) = crowded();
    let meeting = Meeting::of(&ours, &[]);
    let outside = outer.join("outside");
    // Silence takes its time, so all are asked at once.
    for_each_at_once(&cases(include_str!("cases/requests.txt")), |Case { text, answer, .. }| {
        let request = bytes(&text.replace("OUTSIDE", outside.to_str().unwrap()));
        for end in ["newline", "half-close", "silence"] {
            // Nothing at all is not yet a request.
            if request.is_empty() && end == "silence" {
                continue;
            }
            let expected = match (*answer, end) {
                ("nothing", _) => Vec::new(),
                (content, "newline") => framed(content.as_bytes()),
                (content, _) => content.as_bytes().to_vec(),
            };
            let got = ask_by(meeting.port, &request, end);
            assert_eq!(got, expected, "{text} by {end}: {}", got.escape_ascii());
        }
    });
    assert_eq!(ask(meeting.port, "mine"), b"mine");
}

#[test]
fn c5_what_comes_after_the_name_is_ignored() {
    let (_outer, ours) = crowded();
    let meeting = Meeting::of(&ours, &[]);
    for request in [
        "mine\r\n",
        "mine\nskipped.py\n",
        "mine\n\"quoted\"\nmine\n",
        "mine\n\n\n",
        "mine\nGET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(ask(meeting.port, request), framed(b"mine"), "{request:?}");
    }
    let long = format!("mine\n{}", "x".repeat(200 << 10));
    assert_eq!(ask(meeting.port, &long), framed(b"mine"));
    assert_eq!(ask(meeting.port, "\nmine\n"), b"", "an empty line is a request, too");
}

#[test]
fn c3_a_name_that_has_become_something_else_is_refused() {
    let outer = Folder::with(&[("outside", 1_000, "outside")]);
    let names = ["link", "pipe", "folder", "gone", "socket"];
    let ours = Folder::with(&names.map(|name| (name, 1_000, "content")));
    ours.write("mine", 1_000, b"mine");
    let meeting = Meeting::of(&ours, &[]);
    for name in names {
        assert_eq!(ask(meeting.port, name), b"content");
        fs::remove_file(ours.join(name)).unwrap();
    }
    symlink(outer.join("outside"), ours.join("link")).unwrap();
    make_pipe(&ours.join("pipe"));
    fs::create_dir(ours.join("folder")).unwrap();
    UnixListener::bind(ours.join("socket")).unwrap();
    for name in names {
        for end in ["newline", "half-close"] {
            assert_eq!(ask_by(meeting.port, name.as_bytes(), end), b"", "{name}");
        }
    }
    assert_eq!(ask(meeting.port, "mine"), b"mine", "and no pipe has blocked it");
}

#[test]
fn c4_endless_names_are_cut_off_and_nobody_notices() {
    let (_outer, ours) = crowded();
    let mut meeting = Meeting::of(&ours, &[]);
    // Up to this much is read to the end for the sake of an orderly close.
    for length in [4_095, 4_096, 4_097, 100 << 10] {
        assert_eq!(ask_by(meeting.port, &vec![b'm'; length], "silence"), b"", "{length}");
    }
    for _ in 0..8 {
        let mut line = Line::dial(meeting.port);
        let _ = line.try_write(&vec![b'x'; 1 << 20]);
        assert_eq!(line.read_to_end().unwrap_or_default(), b"");
        assert_eq!(ask(meeting.port, "mine"), b"mine");
    }
    assert!(meeting.peer.is_running());
}

/// A folder with a large file, which takes no room.
fn with_large_file() -> (Folder, u64) {
    let folder = Folder::with(&[("mine", 1_000, "mine")]);
    let length = 64 << 20;
    File::create(folder.join("large")).unwrap().set_len(length).unwrap();
    (folder, length)
}

/// How many file handles a process has open.
fn handles(program: &Program) -> usize {
    fs::read_dir(format!("/proc/{}/fd", program.pid().as_raw_nonzero())).unwrap().count()
}

#[test]
fn c6_requesters_that_take_nothing_hold_up_nobody_and_leave_nothing_behind() {
    let (ours, _) = with_large_file();
    let meeting = Meeting::of(&ours, &[]);
    let before = handles(&meeting.peer);
    // More than one address may have.
    let stalled: Vec<Line> = (0..300)
        .map(|number| {
            let mut line = Line::dial(meeting.port);
            let _ = line.try_write(if number % 2 == 0 { b"large\n" } else { b"large" });
            line
        })
        .collect();
    let asked = Instant::now();
    let mut other = Line::over(dial_from([127, 0, 0, 2], meeting.port));
    other.write(b"mine\nshoal\n");
    other.half_close();
    assert_eq!(other.read_to_end().unwrap(), framed(b"mine"));
    assert!(asked.elapsed() < Duration::from_secs(5), "took {:?}", asked.elapsed());
    // They go without having read anything: resets, all of them.
    drop(stalled);
    eventually("all of them are forgotten", SOON, || handles(&meeting.peer) <= before);
    assert_eq!(ask(meeting.port, "mine"), b"mine");
}

#[test]
fn c4_c6_requesters_that_never_finish_are_given_up() {
    let (ours, _) = with_large_file();
    ours.write(&"m".repeat(255), 1_000, b"");
    let meeting = Meeting::of(&ours, &[]);
    let before = handles(&meeting.peer);
    let stalled = ["large", "large\n", "large\nshoal\n"].map(|request| {
        let mut line = Line::dial(meeting.port);
        line.write(request.as_bytes());
        line
    });
    let mut silent = Line::dial(meeting.port);
    let mut dripping = Line::dial(meeting.port);
    let began = Instant::now();
    // One letter of a long name after the other.
    while dripping.try_write(b"m").is_ok() {
        assert!(began.elapsed() < SOON, "it may drip for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(silent.read_to_end().unwrap(), b"");
    eventually("those that take nothing are given up", 2 * SOON, || handles(&meeting.peer) <= before);
    drop(stalled);
    assert_eq!(ask(meeting.port, "mine"), b"mine");
}

#[test]
fn c10_a_file_that_shrinks_or_grows_while_it_is_served_is_never_padded() {
    for (now, is_short) in [(1_u64 << 20, true), (0, true), (80 << 20, false)] {
        for style in ["large\n", "large\nshoal\n", "large"] {
            let (ours, length) = with_large_file();
            let meeting = Meeting::of(&ours, &[]);
            let mut stream = TcpStream::connect(("127.0.0.1", meeting.port)).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream.write_all(style.as_bytes()).unwrap();
            let header = if style == "large" { String::new() } else { format!("Content-Length: {length}\n") };
            let mut begun = vec![0; header.len() + 1_000];
            stream.read_exact(&mut begun).unwrap();
            assert!(begun.starts_with(header.as_bytes()));
            File::options().write(true).open(ours.join("large")).unwrap().set_len(now).unwrap();
            if style == "large\nshoal\n" {
                // Who has said all that it wants gets no further file on this connection.
                stream.shutdown(std::net::Shutdown::Write).unwrap();
            }
            let rest = std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
            let got = 1_000 + rest;
            if is_short {
                assert!(got < length && got >= now, "{style:?}: {got} of {length} after a cut to {now}");
            } else {
                assert_eq!(got, length, "{style:?}: exactly what was announced");
            }
        }
    }
}

#[test]
fn e28_without_handles_requesters_wait_and_are_served_then() {
    let ours = Folder::with(&[("mine", 1_000, "mine")]);
    let tracker = PlayedTracker::new();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 64; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_shoal"),
        "sync",
        "127.0.0.1",
    ]);
    command.args([&tracker.port().to_string(), "--json", "--dir", ours.path().to_str().unwrap()]);
    let mut peer = Program::start("a peer without handles", &mut command);
    let port = peer.wait_serving();
    let mut line = tracker.accept();
    line.read_line();
    let crowd: Vec<Line> = (0..150).map(|_| Line::dial(port)).collect();
    for mut line in crowd {
        line.write(b"mine\nshoal\n");
        line.half_close();
        assert_eq!(line.read_to_end().unwrap(), framed(b"mine"));
    }
    assert!(peer.is_running());
}
