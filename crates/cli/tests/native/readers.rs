//! A device that only reads.

use std::fs;

use super::{Machine, invite_of, wait_agreed, wait_all_agreed};
use crate::support::{SOON, eventually};

#[test]
fn i26_what_a_reader_does_stays_with_it_and_is_told_until_a_newer_version_comes() {
    let (ana, ben, mut cleo) = (Machine::start("ana"), Machine::start("ben"), Machine::start("cleo"));
    for path in ["edited", "deleted", "kept"] {
        ana.write(path, b"by ana");
    }
    ben.join(&ana.share(&[]), &[]);
    cleo.join(&invite_of(&ana.done(&["invite", "--role", "reader"])), &[]);
    let all_have = |machines: &[&Machine], path: &str| {
        eventually(path, SOON, || machines.iter().all(|machine| machine.tree().contains_key(path)));
    };
    wait_all_agreed(&[&ana, &ben, &cleo], |tree| tree.len() == 3);
    assert_eq!(cleo.share_status()["role"], "reader");

    cleo.write("edited", b"by cleo");
    cleo.write("own", b"by cleo");
    fs::remove_file(cleo.folder.join("deleted")).unwrap();
    let differences = ["edited", "own", "deleted"];
    let is_told = |cleo: &Machine| {
        differences.iter().all(|path| cleo.cause(path).as_deref() == Some("local-difference"))
    };
    eventually("all three are told", SOON, || is_told(&cleo));
    let (code, _, stderr) = cleo.run(&["why", "edited", "--share", cleo.folder.path().to_str().unwrap()]);
    assert_eq!(code, 3, "{stderr}");
    // Over a restart too: an index that was read anew publishes no more.
    cleo.kill();
    cleo.up();
    eventually("all three are told again", SOON, || is_told(&cleo));

    // What was done later has come through; so had the reader's been, by the same ways.
    ana.write("later", b"by ana");
    all_have(&[&ana, &ben, &cleo], "later");
    let tree = wait_agreed(&ana, &ben, |tree| tree.contains_key("later"));
    let names: Vec<&str> = tree.keys().map(String::as_str).collect();
    assert_eq!(names, ["deleted", "edited", "kept", "later"]);
    assert_eq!(tree["edited"], b"by ana");
    let own = cleo.tree();
    assert!(own["edited"] == b"by cleo" && own["own"] == b"by cleo" && !own.contains_key("deleted"));

    // The ways out: a newer version, before which its own goes to history; to undo it oneself.
    ben.write("edited", b"by ben");
    ben.write("deleted", b"by ben");
    fs::remove_file(cleo.folder.join("own")).unwrap();
    let tree = wait_all_agreed(&[&ana, &ben, &cleo], |tree| {
        tree["edited"] == b"by ben" && tree.contains_key("later")
    });
    assert_eq!((tree.len(), &*tree["deleted"]), (4, &b"by ben"[..]));
    assert_eq!(cleo.share_status()["problems"], serde_json::json!([]));
    let history = cleo.done(&["history", "edited", "--share", cleo.folder.path().to_str().unwrap()]);
    assert!(history.iter().any(|version| version["size"] == 7), "{history:#?}");
    assert_eq!(ana.done(&["conflicts"]).len() + ben.done(&["conflicts"]).len(), 0);
}

#[test]
fn i1_what_a_reader_takes_back_is_as_the_others_have_it_and_can_be_had_again() {
    let (ana, cleo) = (Machine::start("ana"), Machine::start("cleo"));
    for path in ["edited", "deleted", "folder/in it", "renamed"] {
        ana.write(path, b"by ana");
    }
    cleo.join(&ana.share(&["--role", "reader"]), &[]);
    let before = wait_agreed(&ana, &cleo, |tree| tree.len() == 5);
    cleo.write("edited", b"by cleo");
    cleo.write("own/deep/file", b"by cleo");
    fs::remove_file(cleo.folder.join("deleted")).unwrap();
    fs::remove_dir_all(cleo.folder.join("folder")).unwrap();
    fs::rename(cleo.folder.join("renamed"), cleo.folder.join("other name")).unwrap();

    // At once: what the daemon has not heard of is found.
    let folder = cleo.folder.path().to_str().unwrap();
    let found = cleo.done(&["revert", "--dry-run", "--share", folder]);
    assert_eq!(found[0]["changes"].as_array().unwrap().len(), 9, "{found:#?}");
    let status = cleo.command(&["status"]).output().unwrap();
    let said = String::from_utf8(status.stdout).unwrap();
    assert!(status.status.code() == Some(3) && said.contains("`shoal revert` takes it back"), "{said}");
    let done = cleo.done(&["revert", "folder/in it", "--yes", "--share", folder]);
    assert_eq!(done[0]["left"], serde_json::json!([]));
    assert_eq!((&*cleo.tree()["folder/in it"], &*cleo.tree()["edited"]), (&b"by ana"[..], &b"by cleo"[..]));
    cleo.done(&["revert", "--yes", "--share", folder]);
    assert_eq!(wait_agreed(&ana, &cleo, |_| true), before);

    let history = cleo.done(&["history", "own", "--share", folder]);
    let number = history[0]["number"].to_string();
    let restored = cleo.command(&["restore", &number, "--share", folder]).output().unwrap();
    let said = String::from_utf8(restored.stderr).unwrap();
    assert_eq!(said, "own/deep/file is back, on this device alone: it only reads.\n");
    assert_eq!(cleo.tree()["own/deep/file"], b"by cleo");
    let (code, _, stderr) = ana.run(&["revert"]);
    assert!(code == 1 && stderr.contains("what this device changes, the others get"), "{stderr}");
}
