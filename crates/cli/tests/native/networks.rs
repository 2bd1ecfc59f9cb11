//! Two machines with a network of their own between them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Machine, wait_agreed};
use crate::support::{eventually, skip};

/// The longest until two find each other again of whom one has moved: a minute of silence, in which each believes the other
/// to be where it was, and then a call or two.
const FOUND_AGAIN: Duration = Duration::from_secs(150);

/// A network namespace, which is there as long as somebody is in it: a program that ends when the test does.
struct Namespace(Child);

impl Namespace {
    /// The reason, if there can be none.
    fn new() -> Result<Self, String> {
        let mut unshared = Command::new("unshare");
        unshared.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut inside = Self(unshared.spawn().map_err(|error| format!("cannot start unshare: {error}"))?);
        // It answers once it is inside.
        let _ = inside.0.stdin.as_mut().unwrap().write_all(b"inside\n");
        let mut answer = String::new();
        let _ = BufReader::new(inside.0.stdout.as_mut().unwrap()).read_line(&mut answer);
        if answer == "inside\n" {
            return Ok(inside);
        }
        let _ = BufReader::new(inside.0.stderr.as_mut().unwrap()).read_line(&mut answer);
        Err(answer)
    }

    /// Begins a command in there.
    fn enter(&self) -> Vec<String> {
        vec!["nsenter".into(), format!("--net=/proc/{}/ns/net", self.0.id())]
    }

    fn ip(&self, arguments: &str) {
        let enter = self.enter();
        let mut command = Command::new(&enter[0]);
        let output = command.args(&enter[1..]).arg("ip").args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two namespaces with a wire between them.
fn wired() -> Result<[Namespace; 2], String> {
    let [one, other] = [Namespace::new()?, Namespace::new()?];
    let (here, there) = (one.0.id(), other.0.id());
    let mut link = Command::new("ip");
    let words = format!("link add wire netns {here} type veth peer name wire netns {there}");
    let output = link.args(words.split(' ')).output().map_err(|error| format!("cannot start ip: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    for (namespace, host) in [(&one, 1), (&other, 2)] {
        namespace.ip("link set lo up");
        namespace.ip("link set wire up");
        namespace.ip(&format!("address add 10.78.0.{host}/24 dev wire"));
        namespace.ip(&format!("address add fd78::{host}/64 dev wire nodad"));
    }
    Ok([one, other])
}

/// Where a machine's only peer is seen.
fn seen(machine: &Machine) -> String {
    let status = machine.share_status();
    status["peers"][0]["address"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn two_networks_apart_meet_over_both_families_and_again_when_an_address_is_another_one() {
    let namespaces = match wired() {
        Ok(namespaces) => namespaces,
        Err(why) => return skip("networks of their own", &why),
    };
    let [ana, mut ben] = [("ana", &namespaces[0]), ("ben", &namespaces[1])].map(|(name, namespace)| {
        let mut machine = Machine::new(name, "lan = true\n");
        machine.within = namespace.enter();
        machine.up();
        machine
    });
    let of_ana = &namespaces[0];
    ana.write("a", b"a");
    ben.join(&ana.share(&[]), &[]);
    wait_agreed(&ana, &ben, |tree| tree.contains_key("a"));

    // Only the other family is left.
    ben.kill();
    of_ana.ip("address del 10.78.0.1/24 dev wire");
    ben.up();
    ben.write("b", b"b");
    wait_agreed(&ana, &ben, |tree| tree.contains_key("b"));
    // By the address of this network, or by that of the wire alone.
    assert!(["[fd78::", "[fe80::"].iter().any(|begin| seen(&ana).starts_with(begin)), "{}", seen(&ana));

    // Where ben knew ana to be nobody is any more, and ana's daemon is not told.
    of_ana.ip("address del fd78::1/64 dev wire");
    of_ana.ip("address add 10.78.0.9/24 dev wire");
    of_ana.ip("address add fd78::9/64 dev wire nodad");
    ana.write("c", b"c");
    eventually("they find each other again", FOUND_AGAIN, || ben.tree().contains_key("c"));
    wait_agreed(&ana, &ben, |tree| tree.contains_key("c"));
}
