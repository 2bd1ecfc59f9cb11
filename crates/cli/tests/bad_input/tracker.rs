//! Rows B towards the tracker: a bad message costs its connection, a bad entry itself, and nobody else anything.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Case, bytes, cases, dial_from, is_harmless, peak_memory};
use crate::support::{Line, Program, SOON, eventually, tracker};

/// Somebody who was there before, and is answered after every case.
struct Honest(Line);

impl Honest {
    /// A peer that is listed all sources.
    fn of(tracker: u16) -> Self {
        let mut line = Line::dial(tracker);
        line.write(b"{\"port\": 1, \"files\": []}\t\n");
        line.read_line();
        Self(line)
    }

    /// The directory now, as text.
    fn ask(&mut self) -> String {
        self.0.write(b"{\"port\": 1}\n");
        self.0.read_line()
    }

    fn directory(&mut self) -> BTreeMap<String, Value> {
        serde_json::from_str(&self.ask()).unwrap()
    }
}

/// What the tracker is sent in a case.
fn message(text: &str) -> Vec<u8> {
    match text.strip_prefix("files ") {
        Some(files) => bytes(&format!("{{\"port\": 8001, \"files\": {files}}}%0a")),
        None => bytes(text),
    }
}

#[test]
fn b_each_bad_message_costs_its_connection_and_each_bad_entry_itself() {
    for Case { row, text, answer } in cases(include_str!("cases/messages.txt")) {
        let (mut tracker, port) = tracker(&[]);
        let mut honest = Honest::of(port);
        let mut line = Line::dial(port);
        line.write(&message(text));
        let mut told = Vec::new();
        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        if let Some(reason) = answer.strip_prefix("dropped: ") {
            assert_eq!(line.read_to_end().unwrap_or_default(), b"", "{row}: {text}");
            told.push((1, reason));
        } else {
            assert!(line.read_line().ends_with("}\n"), "{row}: {text}");
            let (listed, refused) = answer.split_once(" refused ").unwrap_or((answer, ""));
            expected = serde_json::from_str(listed).unwrap();
            told.extend(refused.split_once(": ").map(|(count, reason)| (count.parse().unwrap(), reason)));
        }
        let listed: BTreeMap<String, Value> = honest.directory();
        for (name, entry) in &listed {
            let as_sent = json!({"ip": "127.0.0.1", "mtime": expected[name], "port": 8001, "dialect": entry["dialect"]});
            assert_eq!(*entry, as_sent, "{row}: {text}");
        }
        assert!(listed.keys().eq(expected.keys()), "{row}: {text}: {listed:?}");
        assert!(tracker.is_running(), "{row}: {text}");
        assert_told(tracker, &told);
    }
}

/// The log tells each refusal in one harmless line, with how many there were and why, and nothing else.
fn assert_told(tracker: Program, expected: &[(u64, &str)]) {
    let (status, log) = tracker.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0));
    assert!(is_harmless(&log), "{log:?}");
    let told: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(told.len(), expected.len(), "one line for each of {expected:?}: {log}");
    for (line, (count, reason)) in told.iter().zip(expected) {
        assert!(line.contains(reason) && line.contains(&format!("count={count} ")), "{reason}: {line}");
    }
}

#[test]
fn b4_messages_cut_into_single_bytes_or_sent_together_are_each_answered() {
    let (_tracker, port) = tracker(&[]);
    let mut line = Line::dial(port);
    for byte in "{\"port\": 80, \"files\": [{\"name\": \"é {\\\"}\", \"mtime\": 7}]}\n".bytes() {
        line.write(&[byte]);
    }
    let entry = "{\"é {\\\"}\": {\"ip\": \"127.0.0.1\", \"mtime\": 7, \"port\": 80, \"dialect\": 1}}\n";
    assert_eq!(
        serde_json::from_str::<Value>(&line.read_line()).unwrap(),
        serde_json::from_str::<Value>(entry).unwrap()
    );
    line.write(b"{\"port\": 80}\r\n\n{\"port\": 80}{\"port\": 80} {\"port\": 80}\n");
    for _ in 0..4 {
        assert!(line.read_line().contains("\"mtime\": 7"));
    }
}

#[test]
fn b6_b17_b21_what_is_too_deep_too_long_or_too_many_is_refused() {
    let (tracker, port) = tracker(&["--max-entries", "50"]);
    let mut honest = Honest::of(port);
    let mut told = Vec::new();
    for open in ["{\"port\": ", "{\"port\": 1, \"x\": [", "{\"port\": 1, \"files\": [{\"a\":"] {
        let mut line = Line::dial(port);
        let _ = line.try_write(open.as_bytes());
        let rest = open.rsplit(' ').next().unwrap();
        let _ = line.try_write(if rest.is_empty() { "{\"a\": " } else { rest }.repeat(100_000).as_bytes());
        assert_eq!(line.read_to_end().unwrap_or_default(), b"", "{open}");
        told.push((1, "nested deeper than 128 levels"));
        assert_eq!(honest.ask(), "{}\n");
    }
    let lengths = [255, 256, 4_096, 1 << 20];
    let items: Vec<Value> =
        lengths.iter().map(|length| json!({"name": "x".repeat(*length), "mtime": 1})).collect();
    let many: Vec<Value> = (0..60).map(|number| json!({"name": number.to_string(), "mtime": 1})).collect();
    let mut line = Line::dial(port);
    for (items, listed, refused) in
        [(items, 1, (3, "longer than 255 bytes")), (many, 50, (10, "more entries than are accepted"))]
    {
        line.write(format!("{}\n", json!({"port": 80, "files": items})).as_bytes());
        line.read_line();
        told.push(refused);
        assert_eq!(honest.directory().len(), listed, "{refused:?}");
    }
    drop((line, honest));
    // One of the second message's had no place beside the one of the first.
    told.push((1, "more files than one peer may announce"));
    assert_told(tracker, &told);
}

#[test]
fn b11_b12_a_keep_alive_and_a_second_initial_change_nobody_elses_files() {
    let (_tracker, port) = tracker(&[]);
    let mut honest = Honest::of(port);
    let (mut one, mut two) = (Line::dial(port), Line::dial(port));
    one.write(
        b"{\"port\": 8001, \"files\": [{\"name\": \"a\", \"mtime\": 5}, {\"name\": \"b\", \"mtime\": 5}]}\n",
    );
    one.read_line();
    two.write(b"{\"port\": 8002}\n");
    two.read_line();
    two.write(b"{\"port\": 8002, \"files\": [{\"name\": \"c\", \"mtime\": 5}]}\n");
    two.read_line();
    let ports = |honest: &mut Honest| -> Vec<(String, u64, i64)> {
        let directory = honest.directory().into_iter();
        directory
            .map(|(name, entry)| (name, entry["port"].as_u64().unwrap(), entry["mtime"].as_i64().unwrap()))
            .collect()
    };
    let before = ports(&mut honest);
    assert_eq!(before, [("a".into(), 8_001, 5), ("b".into(), 8_001, 5), ("c".into(), 8_002, 5)]);
    // Other ports in keep-alives, and the port of another peer in an Initial that lists nothing, or older files.
    for sent in [
        "{\"port\": 8001}\n",
        "{\"port\": 180}\n",
        "{\"port\": 8002, \"files\": [{\"name\": \"a\", \"mtime\": 4}]}\n",
    ] {
        two.write(sent.as_bytes());
        two.read_line();
        assert_eq!(ports(&mut honest), before, "{sent}");
    }
    let mut three = Line::dial(port);
    three.write(b"{\"port\": 8001, \"files\": []}\n");
    three.read_line();
    drop(three);
    assert_eq!(ports(&mut honest), before, "somebody with the same port came and went");
    one.write(
        b"{\"port\": 8001, \"files\": [{\"name\": \"b\", \"mtime\": 6}, {\"name\": \"d\", \"mtime\": 1}]}\n",
    );
    one.read_line();
    let after: Vec<_> = ports(&mut honest).into_iter().map(|(name, _, mtime)| (name, mtime)).collect();
    assert_eq!(
        after,
        [("a".into(), 5), ("b".into(), 6), ("c".into(), 5), ("d".into(), 1)],
        "added and updated, none removed"
    );
}

#[test]
fn b3_b30_silent_connections_are_closed_in_time() {
    let (tracker, port) = tracker(&["--first-message-wait", "0.3"]);
    let mut honest = Honest::of(port);
    let silent: Vec<Line> = (0..10).map(|_| Line::dial(port)).collect();
    for mut line in silent {
        assert_eq!(line.read_to_end().unwrap(), b"");
    }
    assert_eq!(honest.ask(), "{}\n", "who has spoken may be silent for longer");
    assert_told(tracker, &[(1, "said nothing for"); 10]);
}

#[test]
fn b5_b30_memory_stays_flat_under_endless_lines_and_many_large_messages() {
    let bounds = ["--max-message", "4194304", "--max-buffered", "16777216"];
    let (mut tracker, port) = tracker(&bounds);
    let mut honest = Honest::of(port);
    let before = peak_memory(&tracker);
    let piece = vec![b'x'; 1 << 20];
    let mut endless = Line::dial(port);
    endless.write(b"{\"port\": \"");
    let sent = (0..1_024).take_while(|_| endless.try_write(&piece).is_ok()).count();
    assert!(sent < 64, "it took {sent} MiB of a line");
    assert_eq!(honest.ask(), "{}\n");
    // None of them reaches the bound of one message; the oldest give way to the newer ones.
    let mut large = Vec::new();
    for _ in 0..64 {
        let mut line = Line::dial(port);
        line.write(b"{\"port\": \"");
        let _ = (0..3).try_for_each(|_| line.try_write(&piece));
        large.push(line);
        assert_eq!(honest.ask(), "{}\n");
    }
    assert!(tracker.is_running());
    let grown = peak_memory(&tracker).saturating_sub(before);
    assert!(grown < 64 << 20, "grew by {grown} bytes");
    drop(large);
    let (_, log) = tracker.stop(Signal::TERM);
    assert!(log.contains("longer than 4194304 bytes") && log.contains("held too much unfinished"), "{log}");
}

#[test]
fn b30_connections_are_bounded_for_each_address_and_in_all() {
    let (_tracker, port) = tracker(&["--max-per-address", "20", "--max-connections", "30"]);
    let mut honest = Honest::of(port);
    let mut kept: Vec<Line> = (0..19).map(|_| Honest::of(port).0).collect();
    let is_refused = |stream: TcpStream| Line::over(stream).read_to_end().unwrap_or_default().is_empty();
    assert!(is_refused(dial_from([127, 0, 0, 1], port)), "the 21st of an address");
    let others: Vec<TcpStream> = (0..10).map(|_| dial_from([127, 0, 0, 2], port)).collect();
    assert!(is_refused(dial_from([127, 0, 0, 3], port)), "the 31st in all");
    assert_eq!(honest.ask(), "{}\n");
    // A place that is free again is given away.
    kept.pop();
    drop(others);
    eventually("there are places again", SOON, || {
        let mut line = Line::over(dial_from([127, 0, 0, 1], port));
        line.try_write(b"{\"port\": 2}\n").is_ok()
            && line.try_read_line().is_ok_and(|answer| answer == "{}\n")
    });
}

#[test]
fn b30_a_flood_of_connections_is_bounded_and_honest_peers_are_answered_soon() {
    let (mut tracker, port) = tracker(&["--max-connections", "200", "--first-message-wait", "0.5"]);
    let mut honest = Honest::of(port);
    let before = peak_memory(&tracker);
    let mut held = Vec::new();
    for number in 0..2_000 {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        if number % 5 == 0 {
            held.push(stream);
        }
        if number % 100 == 0 {
            let asked = Instant::now();
            assert_eq!(honest.ask(), "{}\n");
            assert!(asked.elapsed() < Duration::from_secs(5), "{:?} for an answer", asked.elapsed());
        }
    }
    eventually("a newcomer is answered once the silent ones are closed", SOON, || {
        let mut line = Line::dial(port);
        line.try_write(b"{\"port\": 2}\n").is_ok()
            && line.try_read_line().is_ok_and(|answer| answer == "{}\n")
    });
    assert!(tracker.is_running());
    assert!(peak_memory(&tracker) - before < 32 << 20);
    let (_, log) = tracker.stop(Signal::TERM);
    assert!(log.lines().count() < 200, "a flood does not fill the log");
}

#[test]
fn b30_e28_without_handles_newcomers_wait_and_the_others_are_served() {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 64; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_shoal"),
        "tracker",
        "127.0.0.1",
        "0",
        "--json",
    ]);
    let mut tracker = Program::start("a tracker without handles", &mut command);
    let port = tracker.wait_serving();
    let mut honest = Honest::of(port);
    let mut crowd: Vec<Line> = (0..100).map(|_| Line::dial(port)).collect();
    for line in &mut crowd {
        line.write(b"{\"port\": 2}\n");
    }
    assert_eq!(honest.ask(), "{}\n");
    // Those that have a handle are answered; when they go, the others are.
    for mut line in crowd {
        assert_eq!(line.read_line(), "{}\n");
        assert_eq!(honest.ask(), "{}\n");
    }
    let (_, log) = tracker.stop(Signal::TERM);
    assert!(log.contains("cannot accept a connection"), "{log}");
}
