//! Rows A: what is typed, the folder it names, and where the output goes.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::tree;
use crate::support::{Folder, Line, PlayedTracker, Program, shoal, sync, tracker};

/// A row, arguments that are refused, and a part of what is said of them.
type Refused = (&'static str, &'static [&'static str], &'static str);

const NO_ADDRESS: &str = "not an IPv4 address";
const NO_PORT: &str = "not a port";

const REFUSED: [Refused; 48] = [
    ("A1", &[], "Usage:"),
    ("A1", &["sync"], "<TRACKER_IP>"),
    ("A1", &["sync", "127.0.0.1"], "<TRACKER_PORT>"),
    ("A1", &["tracker", "127.0.0.1", "9000", "9001"], "unexpected argument"),
    ("A2", &["sync", "256.1.1.1", "80"], NO_ADDRESS),
    ("A2", &["sync", "1.2.3", "80"], NO_ADDRESS),
    ("A2", &["sync", "01.2.3.4", "80"], NO_ADDRESS),
    ("A2", &["sync", "::1", "80"], NO_ADDRESS),
    ("A2", &["sync", "localhost", "80"], NO_ADDRESS),
    ("A2", &["sync", "", "80"], NO_ADDRESS),
    ("A2", &["sync", "127.0.0.1:80", "80"], NO_ADDRESS),
    ("A2", &["tracker", "localhost"], "not an IP address"),
    ("A2", &["tracker", "[::"], "not an IP address"),
    ("A2", &["tracker", "--metrics", "localhost:80"], "--metrics"),
    ("A3", &["sync", "127.0.0.1", "-1"], "-1"),
    ("A3", &["sync", "127.0.0.1", "--", "-1"], NO_PORT),
    ("A3", &["sync", "127.0.0.1", "0"], NO_PORT),
    ("A3", &["sync", "127.0.0.1", "65536"], NO_PORT),
    ("A3", &["sync", "127.0.0.1", "99999999999999999999999999999"], NO_PORT),
    ("A3", &["sync", "127.0.0.1", "80a"], NO_PORT),
    ("A3", &["sync", "127.0.0.1", ""], NO_PORT),
    ("A3", &["sync", "127.0.0.1", "+80"], NO_PORT),
    ("A3", &["sync", "127.0.0.1", " 80"], NO_PORT),
    ("A3", &["sync", "127.0.0.1", "0x50"], NO_PORT),
    ("A3", &["sync", "127.0.0.1", "80", "--port", "65536"], NO_PORT),
    ("A3", &["sync", "127.0.0.1", "80", "--port", ""], NO_PORT),
    ("A3", &["tracker", "127.0.0.1", "65536"], NO_PORT),
    ("A3", &["tracker", "127.0.0.1", "+0"], NO_PORT),
    ("A4", &["sync", "127.0.0.1", "²"], NO_PORT),
    ("A4", &["sync", "127.0.0.1", "٨٠"], NO_PORT),
    ("A4", &["sync", "127.0.0.1", "80", "--port", "８０"], NO_PORT),
    ("A4", &["tracker", "127.0.0.1", "²"], NO_PORT),
    ("A5", &["sync", "127.0.0.1", "80", "--dir", "missing"], "does not exist"),
    ("A5", &["sync", "127.0.0.1", "80", "--dir", ""], "a value is required"),
    ("A5", &["sync", "127.0.0.1", "80", "--dir", "file"], "is not a folder"),
    ("A5", &["sync", "127.0.0.1", "80", "--dir", "file/below"], "is not a folder"),
    ("A5", &["sync", "127.0.0.1", "80", "--dir", "loop"], "cannot open"),
    ("A5", &["sync", "127.0.0.1", "80", "--dir", "/"], "the root of the whole file system"),
    ("A5", &["sync", "127.0.0.1", "80", "--dir", "."], "the home folder"),
    ("A5", &["sync", "127.0.0.1", "80", "--dir", "home"], "the home folder"),
    ("A10", &["frobnicate"], "unrecognized subcommand"),
    ("A10", &["sync", "127.0.0.1", "80", "--frobnicate"], "unexpected argument"),
    ("A10", &["sync", "127.0.0.1", "80", "--once", "--live"], "cannot be used with"),
    ("A10", &["sync", "127.0.0.1", "80", "--dir", "-x"], "-x"),
    ("A10", &["sync", "127.0.0.1", "80", "--timeout", "-1"], "-1"),
    ("A11", &["sync", "127.0.0.1", "80", "--password", "x"], "unexpected argument"),
    ("A12", &["sync", "127.0.0.1", "80", "--jobs", "99999999999999999999999"], "from 1 to 256"),
    ("A12", &["sync", "127.0.0.1", "80", "--jobs", "257"], "from 1 to 256"),
];

/// Runs Shoal in a folder which is the home folder as well; its exit code and what it said.
fn run_in(folder: &Folder, args: &[impl AsRef<std::ffi::OsStr>]) -> (Option<i32>, String) {
    let mut command = shoal();
    command.args(args).current_dir(folder.path()).env("HOME", folder.path());
    let outcome = Program::start("shoal", &mut command).outcome();
    assert!(outcome.events.is_empty(), "on stdout: {outcome:?}");
    (outcome.code, outcome.stderr)
}

/// Refused: exit code 2, one reason that says this, and no panic.
fn assert_refused(row: &str, said: &(Option<i32>, String), reason: &str) {
    let (code, text) = said;
    assert_eq!(*code, Some(2), "{row}: {text}");
    assert!(text.contains(reason) && !text.contains("panicked"), "{row}: {text}");
    let errors = text.lines().filter(|line| line.starts_with("error:")).count();
    assert!(errors == 1 || text.contains("Usage: shoal"), "{row}: {text}");
}

#[test]
fn a1_to_a12_wrong_arguments_are_refused_with_one_reason_and_nothing_is_changed() {
    let folder = Folder::with(&[("file", 1_000, "a file")]);
    symlink(".", folder.join("home")).unwrap();
    symlink("loop", folder.join("loop")).unwrap();
    let before = tree(folder.path());
    for (row, args, reason) in REFUSED {
        assert_refused(row, &run_in(&folder, args), reason);
        assert_eq!(tree(folder.path()), before, "{row}: {args:?}");
    }
    assert!(!Path::new("/.shoal").exists());
}

#[test]
fn a12_very_long_and_very_many_arguments_are_refused_in_linear_time() {
    let folder = Folder::new();
    let began = Instant::now();
    // The longest that the system passes on.
    let long = "9".repeat((128 << 10) - 1);
    let flag = format!("--{}", &long[2..]);
    for args in [
        ["sync", &long, "80"].as_slice(),
        &["sync", "127.0.0.1", &long],
        &["sync", "127.0.0.1", "80", "--dir", &long],
        &["sync", "127.0.0.1", "80", &flag],
        &["tracker", "127.0.0.1", "80", "--max-message", &long],
        &[&long],
    ] {
        assert_refused("A12", &run_in(&folder, args), "error:");
    }
    for (many, reason) in [("80", "unexpected argument"), ("--frobnicate", "unexpected argument")] {
        let mut args = vec!["sync", "127.0.0.1", "80"];
        args.extend(std::iter::repeat_n(many, 10_000));
        assert_refused("A12", &run_in(&folder, &args), reason);
    }
    let mut args = vec!["sync"; 1];
    args.extend(std::iter::repeat_n("--once", 10_000));
    assert_refused("A12", &run_in(&folder, &args), "<TRACKER_IP>");
    assert!(began.elapsed() < Duration::from_secs(20), "took {:?}", began.elapsed());
    assert!(tree(folder.path()).is_empty());
}

#[test]
fn a6_a_folder_that_is_served_is_refused_and_so_are_the_folders_in_it() {
    let played = PlayedTracker::new();
    let folder = Folder::with(&[("a", 1_000, "a")]);
    let mut first = sync("the first", played.port(), &folder, &[]);
    first.wait_event("connected");
    let port = played.port().to_string();
    let second = |dir: &Path| {
        let args = [OsString::from("sync"), "127.0.0.1".into(), (&port).into(), "--dir".into(), dir.into()];
        run_in(&Folder::new(), &args)
    };
    let before = tree(folder.path());
    let said = second(folder.path());
    assert_refused("A6", &said, "is being synced already");
    assert!(said.1.contains(&first.pid().as_raw_nonzero().to_string()), "names the process: {said:?}");
    assert_eq!(tree(folder.path()), before);
    std::fs::create_dir(folder.join("inside")).unwrap();
    assert_refused("A6", &second(&folder.join("inside")), "is a synced folder itself");
    assert!(tree(&folder.join("inside")).is_empty());
    assert!(first.is_running());
}

#[test]
fn e23_state_that_is_a_link_or_a_file_is_refused_and_left_alone() {
    let elsewhere = Folder::with(&[("precious", 1_000, "precious")]);
    for inside in ["", "/staging", "/history"] {
        for is_link in [true, false] {
            let folder = Folder::new();
            let state = folder.join(&format!(".shoal{inside}"));
            std::fs::create_dir_all(state.parent().unwrap()).unwrap();
            if is_link {
                symlink(elsewhere.path(), &state).unwrap();
            } else {
                std::fs::write(&state, "not a folder").unwrap();
            }
            let said = run_in(
                &elsewhere,
                &["sync", "127.0.0.1", "1", "--whole", "--dir", folder.path().to_str().unwrap()],
            );
            assert_refused("E23", &said, "remove it, then start again");
            assert_eq!(elsewhere.contents().len(), 1);
            assert_eq!(tree(elsewhere.path()).len(), 1, "nothing was made behind the link");
        }
    }
}

#[test]
fn a5_a7_links_and_odd_paths_are_folders_like_any_other() {
    let (_tracker, port) = tracker(&[]);
    let port = port.to_string();
    let outer = Folder::new();
    std::fs::create_dir(outer.join("real")).unwrap();
    symlink("real", outer.join("link")).unwrap();
    let not_utf8 = OsString::from_vec(b"caf\xe9 \x1b[2J".to_vec());
    for dir in [OsString::from("link"), not_utf8, "-x".into(), " ".into()] {
        let path = outer.path().join(&dir);
        if !path.exists() {
            std::fs::create_dir(&path).unwrap();
        }
        let mut flag = OsString::from("--dir=");
        flag.push(&dir);
        let args: [OsString; 5] = ["sync".into(), "--once".into(), flag, "127.0.0.1".into(), (&port).into()];
        let (code, said) = run_in(&outer, &args);
        assert_eq!(code, Some(0), "{dir:?}: {said}");
        assert!(path.join(".shoal").is_dir());
        assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{said:?}");
    }
    assert!(outer.join("real/.shoal").is_dir());
}

#[test]
fn a8_a_port_that_is_taken_is_told_and_a_free_one_is_found() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = Folder::new();
    let synced = Folder::new();
    let dir = synced.path().to_str().unwrap();
    let here = ["--bind", "127.0.0.1", "--dir", dir];
    let (code, said) =
        run_in(&folder, &[["sync", "127.0.0.1", "1", "--port", &port].as_slice(), &here].concat());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot listen at") && said.contains("choose another --port"), "{said}");
    let (code, said) = run_in(&folder, &["tracker", "127.0.0.1", &port]);
    assert!(code == Some(1) && said.contains("cannot listen for peers on"), "{said}");
    let (code, said) =
        run_in(&folder, &["tracker", "127.0.0.1", "0", "--metrics", &format!("127.0.0.1:{port}")]);
    assert!(code == Some(1) && said.contains("cannot serve metrics on"), "{said}");
    // Not asked for: there is always one.
    let (_tracker, port) = tracker(&[]);
    let (code, said) =
        run_in(&folder, &[["sync", "127.0.0.1", &port.to_string(), "--once"].as_slice(), &here].concat());
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a10_of_a_flag_that_comes_twice_the_last_one_counts() {
    let (_tracker, port) = tracker(&[]);
    let port = port.to_string();
    let folder = Folder::new();
    let twice =
        ["--timeout", "1", "--timeout", "2", "--dir", "missing", "--dir", "there", "--once", "--once"];
    std::fs::create_dir(folder.join("there")).unwrap();
    let args = [["sync"].as_slice(), &twice, &["127.0.0.1", &port]].concat();
    let (code, said) = run_in(&folder, &args);
    assert_eq!(code, Some(0), "{said}");
    assert!(!folder.join("missing").exists() && folder.join("there/.shoal").is_dir());
}

/// Shoal with some of its standard streams changed by a shell.
fn redirected(redirection: &str, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("exec \"$0\" \"$@\" {redirection}"), env!("CARGO_BIN_EXE_shoal")])
        .args(args);
    command
}

#[test]
fn a9_without_anybody_who_reads_stdout_it_ends_with_code_1() {
    let (_tracker, port) = tracker(&[]);
    let port = port.to_string();
    let folder = Folder::new();
    let once = ["sync", "127.0.0.1", &port, "--once", "--json", "--dir", folder.path().to_str().unwrap()];
    for args in
        [["--help"].as_slice(), &["--version"], &["sync", "--help"], &["tracker", "127.0.0.1", "0"], &once]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        for (what, stdout) in [
            ("a full device", File::options().write(true).open("/dev/full").unwrap().into()),
            ("a broken pipe", writer.into()),
        ] {
            let stdout: std::process::Stdio = stdout;
            let output = shoal().args(args).stdout(stdout).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{args:?} into {what}: {said}");
            assert!(!said.contains("panicked"), "{said}");
        }
    }
}

#[test]
fn a9_without_stdin_or_stderr_it_runs_on() {
    for redirection in ["<&-", "2>&-", "2>/dev/full"] {
        let mut command =
            redirected(redirection, &["tracker", "127.0.0.1", "0", "--json", "--max-connections", "2"]);
        let mut tracker = Program::start(redirection, &mut command);
        let port = tracker.wait_serving();
        let mut honest = Line::dial(port);
        // What is refused is logged, here in vain.
        for refused in ["nonsense\n", "{\"port\": 0}\n"] {
            let mut line = Line::dial(port);
            line.write(refused.as_bytes());
            assert_eq!(line.read_to_end().unwrap_or_default(), b"", "{redirection}");
        }
        let _second = Line::dial(port);
        let mut one_too_many = Line::dial(port);
        assert_eq!(one_too_many.read_to_end().unwrap_or_default(), b"", "{redirection}");
        honest.write(b"{\"port\": 1}\n");
        assert_eq!(honest.read_line(), "{}\n", "{redirection}");
        let folder = Folder::new();
        let args =
            ["sync", "127.0.0.1", &port.to_string(), "--json", "--dir", folder.path().to_str().unwrap()];
        let mut peer = Program::start("a peer", &mut redirected(redirection, &args));
        peer.wait_event("listening");
        assert!(peer.is_running() && tracker.is_running(), "{redirection}");
        let (status, _) = tracker.stop(Signal::TERM);
        assert_eq!(status.code(), Some(0), "{redirection}");
    }
}
