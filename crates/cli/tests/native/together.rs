//! Two devices that share a folder over a link, good or bad.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use shoal_daemon::control::text::Id;
use shoal_proto::id::DeviceId;
use shoal_proto::invite::Invite;

use super::link::Way;
use super::{Machine, meeting, noise, wait_agreed};
use crate::support::{SOON, eventually};

/// What the files of these paths hold, as far as they are there.
fn has(tree: &super::Tree, path: &str, bytes: &[u8]) -> bool {
    tree.get(path).is_some_and(|there| there == bytes)
}

#[test]
fn two_devices_share_a_folder_and_what_either_does_the_other_has() {
    let (ana, ben, link) = meeting(&[("of ana", b"a"), ("d/e/deep", b"deep")], &[]);
    wait_agreed(&ana, &ben, |tree| has(tree, "d/e/deep", b"deep") && has(tree, "of ana", b"a"));
    assert!(link.passed() > 0, "they meet by the link");

    let big = noise(1, 3 << 20);
    ben.write("of ben/big", &big);
    wait_agreed(&ana, &ben, |tree| has(tree, "of ben/big", &big));
    ana.write("of ben/big", b"small");
    fs::rename(ana.folder.join("d/e"), ana.folder.join("moved")).unwrap();
    fs::remove_file(ana.folder.join("of ana")).unwrap();
    let tree = wait_agreed(&ana, &ben, |tree| {
        has(tree, "of ben/big", b"small") && has(tree, "moved/deep", b"deep") && !tree.contains_key("of ana")
    });
    let names: Vec<&str> = tree.keys().map(String::as_str).collect();
    assert_eq!(names, ["d/", "moved/", "moved/deep", "of ben/", "of ben/big"]);
    // A tree that goes, goes whole, and comes back when that is wished.
    fs::remove_dir_all(ben.folder.join("moved")).unwrap();
    wait_agreed(&ana, &ben, |tree| !tree.contains_key("moved/"));
    ana.done(&["undo", "--since", "1h", "--deleted", "--yes"]);
    wait_agreed(&ana, &ben, |tree| has(tree, "moved/deep", b"deep"));
}

#[test]
fn who_comes_in_with_files_of_its_own_loses_none() {
    let of_ana: &[(&str, &[u8])] = &[("same", b"same"), ("differs", b"by ana"), ("a", b"a")];
    let of_ben: &[(&str, &[u8])] = &[("same", b"same"), ("differs", b"by ben, otherwise"), ("b/b", b"b")];
    let (ana, ben, _link) = meeting(of_ana, of_ben);
    let tree = wait_agreed(&ana, &ben, |tree| tree.len() == 6);
    for (path, bytes) in [("same", &b"same"[..]), ("a", b"a"), ("b/b", b"b")] {
        assert!(has(&tree, path, bytes), "{path}");
    }
    let versions: BTreeSet<&[u8]> =
        tree.iter().filter(|(path, _)| path.starts_with("differs")).map(|(_, bytes)| &**bytes).collect();
    assert_eq!(versions, BTreeSet::from([&b"by ana"[..], b"by ben, otherwise"]));
}

#[test]
fn i4_edits_on_both_sides_of_a_cut_keep_both_versions() {
    let (ana, mut ben, link) = meeting(&[("plan.txt", b"1"), ("x", b"x")], &[]);
    wait_agreed(&ana, &ben, |tree| has(tree, "plan.txt", b"1"));
    link.cut();
    ben.daemon().wait_event("disconnected");
    ana.write("plan.txt", b"from ana");
    ben.write("plan.txt", b"from ben, later");
    ana.write("of ana", b"a");
    fs::remove_file(ben.folder.join("x")).unwrap();
    assert_eq!(ben.run(&["status"]).0, 3, "who is alone does not know that it is in sync");
    link.heal();
    let tree = wait_agreed(&ana, &ben, |tree| tree.len() == 3 && has(tree, "of ana", b"a"));
    let versions: BTreeSet<&[u8]> = tree.values().map(|bytes| &**bytes).collect();
    assert_eq!(versions, BTreeSet::from([&b"a"[..], b"from ana", b"from ben, later"]));
    let conflicts = ana.done(&["conflicts"]);
    assert_eq!((conflicts.len(), conflicts[0]["path"].as_str()), (1, Some("plan.txt")));
}

#[test]
fn t1_the_wire_shows_no_name_no_content_and_no_device() {
    const NAME: &str = "a most telling name";
    let content = noise(2, 256 << 10);
    let text = b"plain words that nobody else should read".repeat(100);
    let (ana, ben, link) = meeting(&[(NAME, &content), ("telling directory/words", &text)], &[]);
    wait_agreed(&ana, &ben, |tree| has(tree, NAME, &content));
    ben.write("telling directory/back", &noise(3, 10_000));
    wait_agreed(&ana, &ben, |tree| tree.contains_key("telling directory/back"));

    let share = ana.share_status();
    let invite = Invite::parse(&ana.share(&[])).unwrap();
    let device = |machine: &Machine| -> Id<DeviceId> {
        serde_json::from_value(machine.device.clone().into()).unwrap()
    };
    let (id_of_ana, id_of_ben, share_id) = (device(&ana).0, device(&ben).0, invite.share());
    let folder = share["name"].as_str().unwrap();
    for way in [Way::There, Way::Back] {
        let wire = link.capture(way);
        // It is the wire: a handshake begins it, and as much has passed as there was to say.
        assert_eq!(wire[..2], [0x16, 3], "{way:?}");
        assert!(
            wire.len() > if way == Way::Back { content.len() } else { 10_000 },
            "{way:?}: {}",
            wire.len()
        );
        let runs: BTreeSet<&[u8]> = wire.windows(8).collect();
        let mut secrets: Vec<&[u8]> =
            vec![&content, &text, NAME.as_bytes(), b"telling directory", folder.as_bytes()];
        secrets.extend([&id_of_ana.as_bytes()[..], id_of_ben.as_bytes(), share_id.as_bytes()]);
        secrets.extend([ana.device.as_bytes(), ben.device.as_bytes()]);
        for secret in secrets {
            let shown = secret.windows(8).position(|run| runs.contains(run));
            assert_eq!(
                shown,
                None,
                "{way:?}: of {:?}",
                String::from_utf8_lossy(&secret[..secret.len().min(32)])
            );
        }
    }
}

#[test]
fn d6_a_bit_that_is_turned_ends_the_connection_and_nothing_else() {
    let (ana, ben, link) = meeting(&[("a", b"a")], &[]);
    wait_agreed(&ana, &ben, |tree| has(tree, "a", b"a"));
    for (number, way) in [(1, Way::There), (2, Way::Back)] {
        let calls = link.calls();
        link.flip_a_bit(way);
        let bytes = noise(number, 200_000);
        ana.write(&format!("file {number}"), &bytes);
        link.wait_bent_ended(way);
        wait_agreed(&ana, &ben, |tree| has(tree, &format!("file {number}"), &bytes));
        assert!(link.calls() > calls);
    }
    assert_eq!(ana.tree().len(), 3);
}

#[test]
fn a_link_that_passes_one_byte_at_a_time_is_slow_and_right() {
    let (ana, ben, link) = (Machine::start("ana"), Machine::start("ben"), super::Link::new());
    link.lead_to(ana.address);
    link.pass_one_by_one(true);
    ana.write("a", &noise(4, 50_000));
    ben.join(&super::by_way_of(&ana.share(&[]), &link), &["--both"]);
    wait_agreed(&ana, &ben, |tree| tree.contains_key("a"));
    ben.write("b", &noise(5, 50_000));
    wait_agreed(&ana, &ben, |tree| tree.contains_key("b"));
}

#[test]
fn a_link_that_is_slow_or_stands_still_for_a_while_is_waited_for() {
    let (ana, ben, link) = meeting(&[("a", b"a")], &[]);
    wait_agreed(&ana, &ben, |tree| has(tree, "a", b"a"));
    let calls = link.calls();
    link.hold_still();
    let bytes = noise(6, 2 << 20);
    ana.write("big", &bytes);
    ben.write("b", b"b");
    eventually("ben knows of its own file", SOON, || ben.run(&["status"]).0 == 3);
    let passed = link.passed();
    assert!(passed == link.passed() && !ben.tree().contains_key("big"));
    link.slow_down(Duration::from_millis(50));
    link.heal();
    wait_agreed(&ana, &ben, |tree| has(tree, "big", &bytes) && has(tree, "b", b"b"));
    assert_eq!(link.calls(), calls, "nobody had to call again");
}
