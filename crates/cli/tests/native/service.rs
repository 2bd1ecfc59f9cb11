//! A daemon as a service: what the manager that started it is told, as `Type=notify` of systemd wants it.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::Machine;
use crate::support::{Folder, Program, SOON, shoal, skip};

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dist/systemd/shoal.service");

/// A manager that listens.
struct Manager {
    socket: UnixDatagram,
    folder: Folder,
}

impl Manager {
    fn new() -> Self {
        let folder = Folder::new();
        let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket, folder }
    }

    /// The next thing that it is told: a name and what it is, a line each.
    fn told(&self) -> Vec<String> {
        let mut text = [0; 4096];
        let length = self.socket.recv(&mut text).expect("the manager is told something");
        String::from_utf8(text[..length].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    /// Waits until it is told this.
    fn until_told(&self, line: &str) {
        while self.told() != [line] {}
    }

    fn starts(&self, machine: &Machine) -> Program {
        let mut command = machine.command(&["up", "--json"]);
        Program::start("the service", command.env("NOTIFY_SOCKET", self.folder.join("notify")))
    }
}

#[test]
fn a_manager_is_told_when_the_daemon_serves_and_when_it_ends() {
    let mut machine = Machine::start("ana");
    machine.kill();
    let manager = Manager::new();
    let daemon = manager.starts(&machine);
    let pid = daemon.pid().as_raw_nonzero();
    assert_eq!(manager.told(), ["READY=1", &format!("MAINPID={pid}"), "STATUS=no shares yet"]);
    // Ready is who answers.
    assert_eq!(machine.done(&["status"])[0]["pid"], pid.get());
    // ExecReload: whoever asks for it is told whether it was done.
    fs::write(machine.home.join("config.toml"), "name = \"anna\"\nlan = false\n").unwrap();
    assert_eq!(machine.done(&["reload"])[0]["changed"], serde_json::json!(["name"]));
    fs::write(machine.home.join("config.toml"), "name = 1\n").unwrap();
    assert_eq!(machine.run(&["reload"]).0, 1);
    // What `systemctl status` shows.
    let path = machine.folder.path().to_str().unwrap();
    machine.done(&["share", path, "--name", "notes"]);
    manager.until_told("STATUS=notes: nobody else has come in yet");
    let (status, stderr) = daemon.stop(Signal::TERM);
    assert!(status.success(), "{stderr}");
    manager.until_told("STOPPING=1");
}

#[test]
fn a_daemon_that_cannot_start_never_says_that_it_is_ready() {
    let machine = Machine::start("ana");
    let manager = Manager::new();
    let outcome = manager.starts(&machine).outcome();
    assert!(outcome.code == Some(1) && outcome.stderr.contains("a daemon runs already"), "{outcome:?}");
    manager.socket.set_nonblocking(true).unwrap();
    assert!(manager.socket.recv(&mut [0; 64]).is_err(), "nothing is told");
}

#[test]
fn the_unit_starts_what_there_is() {
    let unit = fs::read_to_string(UNIT).unwrap();
    let commands: Vec<&str> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("Exec")?.split_once("=%h/.cargo/bin/shoal "))
        .map(|(_, command)| command)
        .collect();
    assert_eq!(commands, ["up", "reload"]);
    for command in commands {
        let output = shoal().args([command, "--help"]).output().unwrap();
        assert!(output.status.success(), "{command}");
    }
}

#[test]
fn systemd_understands_all_of_the_unit() {
    let home = Folder::new();
    fs::create_dir_all(home.join(".cargo/bin")).unwrap();
    symlink(shoal().get_program(), home.join(".cargo/bin/shoal")).unwrap();
    let verified = |unit: &Path| {
        let mut verify = Command::new("systemd-analyze");
        verify.args(["--user", "verify"]).arg(unit).env("HOME", home.path());
        let output = verify.env("XDG_RUNTIME_DIR", home.path()).output()?;
        std::io::Result::Ok(String::from_utf8(output.stderr).unwrap())
    };
    let said = match verified(Path::new(UNIT)) {
        Ok(said) => said,
        Err(error) => return skip("a unit as systemd reads it", &error.to_string()),
    };
    // Other units of this machine are told of, too.
    assert!(!said.contains("shoal"), "{said}");
    // And it does read them.
    let broken = home.join("shoal.service");
    fs::write(&broken, fs::read_to_string(UNIT).unwrap().replace("\nType=", "\nTyype=")).unwrap();
    let said = verified(&broken).unwrap();
    assert!(said.contains("shoal.service") && said.contains("'Tyype'"), "{said}");
}
