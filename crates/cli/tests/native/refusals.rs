//! Who may not come in does not, and hears why.

use std::process::Stdio;

use serde_json::Value;
use shoal_daemon::control::Client;
use shoal_daemon::control::text::{Id, InviteText};
use shoal_daemon::control::types::{Invite, InviteTerms};
use shoal_daemon::home::{Environment, Home};
use shoal_proto::id::ShareId;
use tokio::runtime::Runtime;

use super::{Link, Machine, by_way_of, invite_of, meeting, wait_agreed};
use crate::support::{Folder, SOON, eventually};

/// Waits until a machine knows that it is no member of its share, and says so.
fn wait_out(machine: &Machine) {
    eventually("it knows that it is no member", SOON, || machine.share_status()["phase"] == "removed");
    let status = machine.share_status();
    assert!(status["why"].as_str().unwrap().starts_with("ana ("), "{status}");
    assert_eq!(
        (&status["is_busy"], &status["removed_by"]["name"]),
        (&Value::from(false), &Value::from("ana"))
    );
    // There is nothing to be waited for.
    assert_eq!(machine.run(&["wait", machine.folder.path().to_str().unwrap()]).0, 3);
}

/// An invite of this machine's share that is over already, as a person cannot ask for it.
fn expired_invite(machine: &Machine) -> InviteText {
    let share: Id<ShareId> = serde_json::from_value(machine.share_status()["share"].take()).unwrap();
    let home = Home::find(Some(machine.home.path()), &Environment::default()).unwrap();
    Runtime::new().unwrap().block_on(async {
        let terms = InviteTerms { seconds: 0, ..InviteTerms::default() };
        Client::connect(&home).await.unwrap().ask(Invite { share, terms }).await.unwrap().invite
    })
}

#[test]
fn f8_an_invite_that_is_damaged_expired_or_ones_own_is_refused_at_once_and_nothing_is_made() {
    let (ana, cleo) = (Machine::start("ana"), Machine::start("cleo"));
    let invite = ana.share(&[]);
    let mut mistyped = invite.clone();
    let last = if mistyped.pop() == Some('a') { 'e' } else { 'a' };
    mistyped.push(last);
    let (other, expired) = (invite.replacen('1', "2", 1), expired_invite(&ana));
    let place = cleo.home.join("not there yet");
    for (machine, invite, what) in [
        (&cleo, "hello", "invites begin with 'shoal1'"),
        (&cleo, &*mistyped, "a letter of the invite is wrong; copy it again"),
        (&cleo, &invite[..invite.len() - 9], "the invite is cut short"),
        (&cleo, &other, "this invite has version 2; this Shoal reads version 1"),
        (&cleo, expired.expose(), "expired"),
        (&ana, &invite, "this invite is by this device itself"),
    ] {
        let mut command = machine.command(&["join", invite]);
        let output = command.arg(&place).stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && stderr.contains(what), "{what}: {stderr}");
        assert!(!place.exists(), "{what}");
    }
    assert_eq!(cleo.done(&["shares"]), <[Value; 0]>::default());
}

/// Joins by an invite that does not let it in; what the command said.
fn refused(machine: &Machine, invite: &str) -> String {
    let (code, _, stderr) = machine.run(&["join", invite, machine.folder.path().to_str().unwrap()]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.ends_with("hint: ask who invited you for a new invite\n"), "{stderr}");
    assert_eq!(machine.done(&["shares"]), <[Value; 0]>::default(), "nothing is left of it");
    stderr
}

#[test]
fn an_invite_that_is_used_up_or_taken_back_lets_nobody_in_and_says_so_at_once() {
    let (ana, ben, cleo, dan) =
        (Machine::start("ana"), Machine::start("ben"), Machine::start("cleo"), Machine::start("dan"));
    ana.write("a", b"a");
    let (used, revoked) = (ana.share(&[]), ana.done(&["invite"]));
    ana.done(&["revoke", revoked[0]["key"].as_str().unwrap(), "--yes"]);
    dan.join(&used, &[]);
    wait_agreed(&ana, &dan, |tree| tree.contains_key("a"));
    // Which of the two entries has the lower hash is chance; what is said is not.
    for _ in 0..4 {
        assert!(
            refused(&ben, &used).contains("this device was not let in: the invite was used up by others")
        );
    }
    assert!(refused(&cleo, &invite_of(&revoked)).contains("the invite was taken back"));
    assert!(ben.tree().is_empty() && cleo.tree().is_empty());
    let devices = ana.done(&["devices"]);
    assert_eq!(devices.iter().filter(|object| object.get("device").is_some()).count(), 2);
    // Whoever came in goes on; and a new invite lets in who was refused.
    dan.write("b", b"b");
    wait_agreed(&ana, &dan, |tree| tree.contains_key("b"));
    ben.join(&invite_of(&ana.done(&["invite"])), &[]);
    wait_agreed(&ana, &ben, |tree| tree.contains_key("b"));
}

#[test]
fn who_joins_while_nobody_is_there_is_told_so_and_later_whether_it_was_let_in() {
    let (mut ana, ben, cleo) = (Machine::start("ana"), Machine::start("ben"), Machine::start("cleo"));
    let invite = ana.share(&[]);
    ben.join(&invite, &[]);
    ana.kill();
    let (code, objects, stderr) = cleo.run(&["join", &invite, cleo.folder.path().to_str().unwrap()]);
    assert_eq!((code, objects.len()), (0, 1), "{stderr}");
    ana.up();
    eventually("it knows that it was refused", SOON, || cleo.share_status()["phase"] == "refused");
    let said = cleo.command(&["status"]).output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.status.code(), Some(3));
    assert!(text.contains("the invite was used up by others") && text.contains("a new invite"), "{text}");
    // Another invite is used in the same place, without leaving first.
    cleo.join(&invite_of(&ana.done(&["invite"])), &[]);
    cleo.wait_in_sync();
}

#[test]
fn who_was_removed_comes_in_again_by_a_new_invite_and_by_no_other() {
    let (ana, ben) = (Machine::start("ana"), Machine::start("ben"));
    ana.write("a", b"a");
    let old = ana.done(&["share", ana.folder.path().to_str().unwrap(), "--uses", "9"]);
    ben.join(&invite_of(&old), &[]);
    wait_agreed(&ana, &ben, |tree| tree.contains_key("a"));
    ana.done(&["revoke", "ben", "--yes"]);
    wait_out(&ben);
    let text = String::from_utf8(ben.command(&["status"]).output().unwrap().stdout).unwrap();
    assert!(text.contains("has removed this device") && text.contains("`shoal leave"), "{text}");
    ana.write("b", b"after that");
    ben.write("of ben", b"meanwhile");
    // The invite it came by has uses left, and was given before the removal.
    assert!(refused(&ben, &invite_of(&old)).contains("this device was removed"));
    assert!(!ben.tree().contains_key("b"));
    ben.join(&invite_of(&ana.done(&["invite"])), &["--both"]);
    let tree = wait_agreed(&ana, &ben, |tree| tree.contains_key("b") && tree.contains_key("of ben"));
    assert_eq!(tree.len(), 3);
}

#[test]
fn a_device_that_is_removed_is_refused_and_calls_no_more() {
    let (mut ana, mut ben, link) = meeting(&[("a", b"a")], &[]);
    wait_agreed(&ana, &ben, |tree| tree.contains_key("a"));
    // Another share of ben's, with somebody who is called in vain from then on.
    let (dan, lost, beside) = (Machine::start("dan"), Link::new(), Folder::new());
    lost.lead_to(dan.address);
    let invite = by_way_of(&dan.share(&[]), &lost);
    ben.done(&["join", &invite, beside.path().to_str().unwrap()]);
    ben.done(&["wait", beside.path().to_str().unwrap(), "--timeout", "30"]);
    lost.cut();
    // A new share has all greet anew; who is away while it is removed would not be told.
    wait_agreed(&ana, &ben, |tree| tree.contains_key("a"));
    ana.done(&["revoke", "ben", "--yes"]);
    wait_out(&ben);
    ana.write("secret", b"not for ben");
    ana.done(&["rescan"]);
    ben.write("of ben", b"not for ana");
    ben.kill();
    ben.up();
    wait_out(&ben);
    // While it calls dan again and again, who is wanted, it calls ana no more.
    let calls = link.came();
    lost.wait_came(lost.came() + 2);
    assert_eq!(link.came(), calls);
    assert!(!ben.tree().contains_key("secret") && !ana.tree().contains_key("of ben"));
    assert_eq!(ben.tree()["a"], b"a");
    assert!(ana.daemon().is_running());
}
