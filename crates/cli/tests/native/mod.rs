//! Native Shoal as it is used: daemons that are processes, each with its home, and a [`link`] between two of them.
//!
//! What a single node does is proved in `shoal-daemon`, and every order of events in the simulator. Here it is proved that the program
//! as a whole does it, over real sockets and disks, killed and stopped by a real system.

mod clocks;
mod forgotten;
mod hostile;
mod kills;
mod link;
mod networks;
mod readers;
mod refusals;
mod service;
mod several;
mod silent;
mod together;
mod trackers;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use shoal_proto::invite::{Address, Invite};

use crate::support::{Folder, Program, SOON, eventually, shoal};
use link::Link;

/// The longest that daemons may take to agree, with the longest pause between two calls.
const AGREED: Duration = Duration::from_secs(60);

/// The configuration of a device that listens on loopback and looks for nobody.
const LONELY: &str = "lan = false\nlisten = [\"127.0.0.1:0\"]\n";

/// A device: its home, its folder, and its daemon, if it runs.
struct Machine {
    name: &'static str,
    home: Folder,
    folder: Folder,
    daemon: Option<Program>,
    /// The program, with its arguments, that starts the daemon; empty: nothing does but the test.
    within: Vec<String>,
    /// Where its daemon listens.
    address: SocketAddr,
    device: String,
}

impl Machine {
    /// A device whose daemon runs; it listens on loopback and looks for nobody.
    fn start(name: &'static str) -> Self {
        let mut machine = Self::new(name, LONELY);
        machine.up();
        machine
    }

    /// A device with this configuration, beside its name, whose daemon does not run yet.
    fn new(name: &'static str, config: &str) -> Self {
        let home = Folder::new();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let (folder, daemon, within, device) = (Folder::new(), None, Vec::new(), String::new());
        let machine = Self { name, home, folder, daemon, within, address, device };
        machine.configure(config);
        machine
    }

    /// What its daemon reads when it starts.
    fn configure(&self, config: &str) {
        fs::write(self.home.join("config.toml"), format!("name = \"{}\"\n{config}", self.name)).unwrap();
    }

    /// Starts its daemon, and waits until it serves.
    fn up(&mut self) {
        let mut command = self.command(&["up", "--json"]);
        if let Some((program, arguments)) = self.within.split_first() {
            let inner = std::mem::replace(&mut command, Command::new(program));
            command.args(arguments).arg(inner.get_program()).args(inner.get_args());
            command.env("SHOAL_HOME", self.home.path()).env_remove("SHOAL_LOG");
        }
        let mut daemon = Program::start(self.name, &mut command);
        let ready = daemon.wait_event("ready");
        self.address = ready["listening"][0].as_str().unwrap().parse().unwrap();
        self.device = ready["device"].as_str().unwrap().to_owned();
        self.daemon = Some(daemon);
    }

    /// `kill -9`.
    fn kill(&mut self) {
        self.daemon.take().unwrap().kill();
    }

    fn daemon(&mut self) -> &mut Program {
        self.daemon.as_mut().unwrap()
    }

    fn signal(&self, signal: Signal) {
        self.daemon.as_ref().unwrap().signal(signal);
    }

    /// Waits until the system has stopped its daemon.
    fn wait_stopped(&self) {
        let stat = format!("/proc/{}/stat", self.daemon.as_ref().unwrap().pid().as_raw_nonzero());
        // After the name, which stands in brackets, comes the state.
        let is_stopped = || fs::read_to_string(&stat).unwrap().rsplit(") ").next().unwrap().starts_with('T');
        eventually("it is stopped", SOON, is_stopped);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = shoal();
        command.args(args).env("SHOAL_HOME", self.home.path()).stdin(Stdio::null());
        command
    }

    /// What a command answers: its exit code, its objects, and what it said.
    fn run(&self, args: &[&str]) -> (i32, Vec<Value>, String) {
        let output = self.command(args).arg("--json").output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let objects = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (output.status.code().unwrap(), objects, String::from_utf8(output.stderr).unwrap())
    }

    /// What a command answers that succeeds.
    fn done(&self, args: &[&str]) -> Vec<Value> {
        let (code, objects, stderr) = self.run(args);
        assert_eq!(code, 0, "{} {args:?}: {stderr}", self.name);
        objects
    }

    /// Shares its folder; the invite.
    fn share(&self, args: &[&str]) -> String {
        let path = self.folder.path().to_str().unwrap();
        invite_of(&self.done(&[&["share", path], args].concat()))
    }

    /// Comes into a share with its folder.
    fn join(&self, invite: &str, args: &[&str]) {
        self.done(&[&["join", invite, self.folder.path().to_str().unwrap()], args].concat());
    }

    /// How everything stands there.
    fn status(&self) -> Value {
        let (_, mut objects, stderr) = self.run(&["status"]);
        assert_eq!(objects.len(), 1, "{stderr}");
        objects.remove(0)
    }

    /// How its share stands, the one of its folder.
    fn share_status(&self) -> Value {
        let mut status = self.status();
        let mut shares = status["shares"].as_array_mut().into_iter().flatten();
        let directory = self.folder.path().to_str().unwrap();
        shares.find(|share| share["directory"] == directory).map(Value::take).unwrap_or_default()
    }

    /// What it says of a path that is not in sync, if it is one.
    fn cause(&self, path: &str) -> Option<String> {
        let status = self.share_status();
        let mut problems = status["problems"].as_array().into_iter().flatten();
        let problem = problems.find(|problem| problem["path"] == path)?;
        Some(problem["cause"].as_str().unwrap().to_owned())
    }

    /// Waits until it is in sync, as it says itself.
    fn wait_in_sync(&self) {
        let path = self.folder.path().to_str().unwrap();
        let (code, objects, stderr) = self.run(&["wait", path, "--timeout", "60"]);
        assert_eq!(code, 0, "{}: {objects:#?} {stderr} {:#}", self.name, self.share_status());
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn tree(&self) -> Tree {
        tree(self.folder.path())
    }
}

/// Each file below a folder, without our state, with its bytes; directories have none and end with `/`.
type Tree = BTreeMap<String, Vec<u8>>;

fn tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut to_read = vec![(root.to_path_buf(), String::new())];
    while let Some((directory, above)) = to_read.pop() {
        // What moves while it is looked at is looked at again.
        for entry in fs::read_dir(directory).into_iter().flatten().map_while(Result::ok) {
            let path: PathBuf = entry.path();
            let name = format!("{above}{}", entry.file_name().to_string_lossy());
            if name == ".shoal" {
                continue;
            }
            if path.is_dir() {
                tree.insert(format!("{name}/"), Vec::new());
                to_read.push((path, format!("{name}/")));
            } else if let Ok(bytes) = fs::read(path) {
                tree.insert(name, bytes);
            }
        }
    }
    tree
}

fn invite_of(objects: &[Value]) -> String {
    objects.iter().find_map(|object| object["invite"].as_str()).unwrap().to_owned()
}

/// The same invite, but for where it says that the others are.
fn by_way_of(invite: &str, link: &Link) -> String {
    let mut invite = Invite::parse(invite).unwrap();
    invite.addresses = vec![Address::parse(&link.address().to_string()).unwrap()];
    invite.to_text().unwrap()
}

/// Two devices with these files each that share a folder by a link, before they have agreed on anything.
fn meeting(of_ana: &[(&str, &[u8])], of_ben: &[(&str, &[u8])]) -> (Machine, Machine, Link) {
    let (ana, ben, link) = (Machine::start("ana"), Machine::start("ben"), Link::new());
    link.lead_to(ana.address);
    for (machine, files) in [(&ana, of_ana), (&ben, of_ben)] {
        files.iter().for_each(|(path, bytes)| machine.write(path, bytes));
    }
    let invite = ana.share(&[]);
    ben.join(&by_way_of(&invite, &link), &["--both"]);
    (ana, ben, link)
}

/// Waits until the disks of both are equal and hold what they should, and both say that they are in sync.
fn wait_agreed(ana: &Machine, ben: &Machine, is_it: impl Fn(&Tree) -> bool) -> Tree {
    wait_all_agreed(&[ana, ben], is_it)
}

/// The same for all of these.
fn wait_all_agreed(machines: &[&Machine], is_it: impl Fn(&Tree) -> bool) -> Tree {
    let began = Instant::now();
    let tree = loop {
        let mut trees: Vec<Tree> = machines.iter().map(|machine| machine.tree()).collect();
        if trees.windows(2).all(|two| two[0] == two[1]) && is_it(&trees[0]) {
            break trees.remove(0);
        }
        if began.elapsed() > AGREED {
            let lengths = |tree: &Tree| {
                tree.iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect::<Vec<_>>()
            };
            for (machine, tree) in machines.iter().zip(&trees) {
                println!("{}: {:#?}\n{:#}", machine.name, lengths(tree), machine.share_status());
            }
            panic!("not agreed within {AGREED:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    machines.iter().for_each(|machine| machine.wait_in_sync());
    let is_as_it_was = machines.iter().all(|machine| machine.tree() == tree);
    assert!(is_as_it_was, "nothing changes once all are in sync");
    tree
}

/// Bytes that no test would write otherwise, and no packer makes smaller.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
