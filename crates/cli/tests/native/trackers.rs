//! Devices that know of each other by a tracker alone.

use shoal_proto::invite::Invite;

use super::{LONELY, Machine, wait_agreed};
use crate::support::{SOON, eventually, lasting_port, tracker_at};

/// It asks this tracker, and listens at a port where it never was before: nobody finds it there by memory.
fn configure(machine: &Machine, tracker: u16) {
    let listen = format!("lan = false\nlisten = [\"127.0.0.1:{}\"]\n", lasting_port());
    machine.configure(&format!("{listen}trackers = [\"127.0.0.1:{tracker}\"]\n"));
}

/// Whether it is connected with its tracker.
fn asks(machine: &Machine) -> bool {
    machine.status()["trackers"][0]["is_connected"] == true
}

#[test]
fn i24_who_is_connected_goes_on_without_the_tracker_and_who_is_not_waits_for_it() {
    let port = lasting_port();
    let (tracker, _) = tracker_at(port, &[]);
    let [mut ana, mut ben] = ["ana", "ben"].map(|name| Machine::new(name, LONELY));
    for machine in [&mut ana, &mut ben] {
        configure(machine, port);
        machine.up();
    }
    ana.write("a", b"a");
    let mut invite = Invite::parse(&ana.share(&[])).unwrap();
    assert_eq!(invite.trackers.len(), 1);
    invite.addresses.clear();
    ben.join(&invite.to_text().unwrap(), &[]);
    wait_agreed(&ana, &ben, |tree| tree.contains_key("a"));

    tracker.kill();
    eventually("both have lost it", SOON, || !asks(&ana) && !asks(&ben));
    ben.write("b", b"without it");
    wait_agreed(&ana, &ben, |tree| tree.contains_key("b"));

    for machine in [&mut ana, &mut ben] {
        machine.kill();
        configure(machine, port);
    }
    ana.write("c", b"c");
    for machine in [&mut ana, &mut ben] {
        machine.up();
    }
    let is_tried = |machine: &Machine| machine.status()["trackers"][0]["why"].is_string();
    eventually("both have tried to reach it", SOON, || is_tried(&ana) && is_tried(&ben));
    for machine in [&ana, &ben] {
        assert_eq!(machine.share_status()["peers"], serde_json::json!([]), "{}", machine.name);
        assert_eq!(machine.run(&["status"]).0, 3, "{} is alone, and says so", machine.name);
    }
    assert!(!ben.tree().contains_key("c"));

    let (_tracker, _) = tracker_at(port, &[]);
    wait_agreed(&ana, &ben, |tree| tree.contains_key("c"));
    assert!(asks(&ana) && asks(&ben));
}
