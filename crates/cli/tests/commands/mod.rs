//! Native commands with a daemon that the tests play: what they ask for, what they print, how they end.
//!
//! The daemon is real as far as its socket; behind it is a [`Played`] that notes what it is asked and answers from a script.
//! What a real node answers is proved where it is.

mod played;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{python, shoal};
use played::{INVITE_TEXT, Played, World, share_id};

/// How a command ended: its exit code, what it printed, what it said.
fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn run(world: &World, args: &[&str]) -> (i32, String, String) {
    outcome(&world.command(args).output().unwrap())
}

fn fed(mut command: Command, input: &str) -> (i32, String, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    outcome(&child.wait_with_output().unwrap())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn without_a_daemon_commands_say_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = shoal().args(["status", "--home"]).arg(folder.path()).output().unwrap();
    let (code, stdout, stderr) = outcome(&output);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert_eq!(
        stderr,
        "error: no daemon is running; start one with `shoal up`, or share a folder with `shoal share DIR`\n"
    );
    // Asking makes nothing.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn share_prints_an_invite_that_can_be_piped_and_hands_the_folder_over() {
    let world = World::new(Played::default());
    let notes = world.folder("notes");
    let path = notes.to_str().unwrap();
    let (code, stdout, stderr) =
        run(&world, &["share", path, "--role", "reader", "--uses", "3", "--days", "2"]);
    assert_eq!((code, stdout.as_str()), (0, format!("{INVITE_TEXT}\n").as_str()), "{stderr}");
    assert_eq!(
        stderr,
        format!(
            "Sharing {path} as 'notes'.\nInvite for 3 devices as reader, until 2026-11-23 19:44:00Z. Whoever has it can \
             come in.\nOn the other device say `shoal join DIR`, and paste this:\n"
        )
    );
    let terms = json!({"role": "reader", "uses": 3, "seconds": 172_800});
    let asked =
        json!({"share": {"directory": path, "name": null, "broad": false, "alone": false, "invite": terms}});
    assert_eq!(world.asked(), [asked]);

    let (code, stdout, _) = run(&world, &["share", path, "--json"]);
    let objects = lines(&stdout);
    assert_eq!((code, objects.len()), (0, 2));
    assert_eq!(objects[0]["name"], "notes");
    assert!(objects[0].get("invite").is_none());
    assert_eq!(objects[1]["invite"], INVITE_TEXT);

    // The daemon makes it.
    let missing = world.folder("x").join("missing");
    let (code, _, stderr) = run(&world, &["share", missing.to_str().unwrap()]);
    assert!(code == 0 && stderr.starts_with("Made the folder /"), "{stderr}");
    assert_eq!(world.asked().pop().unwrap()["share"]["directory"], json!(missing));
}

#[test]
fn join_reads_the_invite_from_stdin_and_stops_rather_than_guess() {
    let world = World::new(Played::default());
    let notes = world.folder("notes").join("new");
    let path = notes.to_str().unwrap();
    let invite = played::real_invite();
    // As it comes out of a mail.
    let (left, right) = invite.split_at(40);
    let (code, _, stderr) = fed(world.command(&["join", path]), &format!("  {left}\r\n {right}\n"));
    assert_eq!(code, 0, "{stderr}");
    let head = format!("Joining share {} as writer, in {path}. The invite is by ", &share_id()[..7]);
    assert!(stderr.starts_with(&head), "{stderr}");
    let joined = || world.asked().into_iter().rev().find_map(|asked| asked.get("join").cloned()).unwrap();
    let join = joined();
    assert_eq!((&join["directory"], &join["choice"]), (&json!(path), &json!("stop")));

    for (flag, choice) in [("--theirs", "theirs"), ("--both", "both"), ("--stop", "stop")] {
        let (code, ..) = run(&world, &["join", &invite, path, flag]);
        assert_eq!(code, 0);
        assert_eq!(joined()["choice"], choice);
    }
    // The other way round, too.
    let (code, ..) = run(&world, &["join", path, &invite]);
    assert_eq!((code, &joined()["directory"]), (0, &json!(path)));
    for (input, what) in [
        ("", "no invite was given"),
        ("hello", "this is no invite: invites begin with 'shoal1'"),
        (&invite[..200], "the invite is cut short"),
        ("shoal1\u{1b}[2J", "'\\u{1b}' at place 7 does not belong into an invite"),
    ] {
        let (code, _, stderr) = fed(world.command(&["join", path]), input);
        assert!(code == 1 && stderr.contains(what), "{input:?}: {stderr}");
    }
    let (code, _, stderr) = run(&world, &["join", &invite, path, "--theirs", "--both"]);
    assert!(code == 2 && stderr.contains("cannot be used with"), "{stderr}");
}

#[test]
fn who_is_not_let_in_is_told_why_and_nothing_is_left_of_it() {
    let why = "the invite was used up by others";
    let world = World::new(Played::default().with_share(&json!({"phase": "refused", "why": why})));
    let folder = world.folder("notes").join("new");
    let (code, _, stderr) =
        run(&world, &["join", &played::real_invite(), folder.to_str().unwrap(), "--both"]);
    assert_eq!(code, 1);
    let said = "error: this device was not let in: the invite was used up by others\n\
                hint: ask who invited you for a new invite\n";
    assert!(stderr.ends_with(said), "{stderr}");
    assert_eq!(world.asked().pop().unwrap(), json!({"leave": {"share": share_id()}}));
    // Where it is a share still, another invite is asked for.
    let folder = world.folder("notes");
    let (code, _, stderr) = fed(world.command(&["join", folder.to_str().unwrap()]), "hello");
    assert!(code == 1 && stderr.contains("this is no invite"), "{stderr}");
}

#[test]
fn what_is_not_back_in_time_is_said_to_be_on_its_way() {
    let world = World::new(Played::default().with_share(&json!({"phase": "scanning", "is_in_sync": false})));
    let (code, _, stderr) = run(&world, &["restore", "5", "--timeout", "1"]);
    assert_eq!(code, 3);
    assert_eq!(
        stderr,
        "It is not there yet. 'notes': looking through the folder; `shoal status` says when it is back.\n"
    );
}

#[test]
fn a_question_of_first_contact_is_answered_by_joining_again() {
    let question = json!({"first-contact": {"equal": 5, "differ": 30, "only_here": 2}});
    let world = World::new(Played::default().with_share(&json!({"question": question, "is_in_sync": false})));
    let path = world.folder("notes");
    let path = path.to_str().unwrap();
    let (code, _, stderr) = run(&world, &["join", path]);
    assert!(code == 2 && stderr.contains("say what is to be done: --theirs, --both or --stop"), "{stderr}");
    let (code, _, stderr) = run(&world, &["join", path, "--both"]);
    assert_eq!((code, stderr.as_str()), (0, "Keeping both.\n"));
    assert_eq!(world.asked().pop().unwrap(), json!({"decide": {"share": share_id(), "choice": "both"}}));
}

#[test]
fn i31_exit_codes_say_whether_everything_is_in_sync() {
    let world = World::new(Played::default());
    let (code, stdout, _) = run(&world, &["status"]);
    assert_eq!(code, 0);
    assert!(stdout.starts_with("notes  in sync  /"), "{stdout}");
    let (code, stdout, _) = run(&world, &["status", "notes", "--json"]);
    assert_eq!((code, &lines(&stdout)[0]["shares"][0]["name"]), (0, &json!("notes")));
    assert_eq!(run(&world, &["wait", "--timeout", "5"]), (0, String::new(), "In sync.\n".into()));

    let behind = json!({"is_in_sync": false, "peers": []});
    let world = World::new(Played::default().with_share(&behind));
    let (code, stdout, _) = run(&world, &["status"]);
    assert!(code == 3 && stdout.contains("nobody is connected"), "{stdout}");
    let (code, stdout, _) = run(&world, &["wait", "--timeout", "5"]);
    assert!(code == 3 && stdout.contains("nobody is connected"), "{stdout}");
    assert_eq!(world.asked().pop().unwrap(), json!({"get-status": {"share": null}}));
}

#[test]
fn why_finds_the_share_of_a_path() {
    let world = World::new(Played::default());
    let notes = world.folder("notes");
    let mut command = world.command(&["why", "../notes/d/plan.txt"]);
    let (code, stdout, stderr) = outcome(&command.current_dir(&notes).output().unwrap());
    assert_eq!(code, 3, "{stderr}");
    assert_eq!(
        stdout,
        "d/plan.txt: nobody who is connected has its bytes\nhere   nothing\n\
         share  file     2.00 KiB  2026-11-23 19:44:00Z  ddddddd  by bbbbbbb\n"
    );
    assert_eq!(world.asked().pop().unwrap(), json!({"explain": {"share": share_id(), "path": "d/plan.txt"}}));
    let (code, _, stderr) = run(&world, &["why", "/etc/passwd"]);
    assert!(code == 1 && stderr.contains("/etc/passwd is in no share of this device"), "{stderr}");
}

#[test]
fn what_others_did_is_listed_and_undone_only_when_that_is_said() {
    let world = World::new(Played::default());
    let (code, stdout, _) = run(&world, &["history"]);
    assert_eq!(code, 0);
    assert_eq!(
        stdout,
        "8  2026-11-23 19:44:00Z  deleted   by ben  2.00 KiB  d/a\\u{202e}.txt\n\
         5  2026-11-23 19:44:00Z  replaced  by ben  2.00 KiB  b\n"
    );
    let (code, stdout, stderr) = run(&world, &["undo", "--since", "2h", "--by", "ben"]);
    assert!(
        code == 2 && stderr.contains("Bring back 2 files? Nobody can be asked here; say `--yes`"),
        "{stderr}"
    );
    assert!(stdout.starts_with("8  "), "{stdout}");
    assert!(world.asked().iter().all(|asked| asked["undo"]["dry_run"] != false));

    let (code, _, stderr) = run(&world, &["undo", "--yes", "--deleted"]);
    assert_eq!((code, stderr.as_str()), (0, "2 files come back.\n"));
    let undo = world.asked().pop().unwrap()["undo"].clone();
    assert_eq!(
        (&undo["dry_run"], &undo["deleted_only"], &undo["by"]),
        (&json!(false), &json!(true), &Value::Null)
    );
    let (code, _, stderr) = run(&world, &["restore", "newest"]);
    assert!(code == 2 && stderr.contains("give the number of a version"), "{stderr}");
    let (code, _, stderr) = run(&world, &["undo", "--since", "yesterday"]);
    assert!(code == 2 && stderr.contains("give a time like"), "{stderr}");
}

#[test]
fn what_was_changed_here_is_listed_and_taken_back_only_when_that_is_said() {
    let world = World::new(Played::default());
    let listed = "deleted  b\nadded    d/a\\u{202e}.txt\n";
    let (code, stdout, stderr) = run(&world, &["revert"]);
    assert_eq!((code, stdout.as_str()), (2, listed));
    assert!(stderr.contains("Take back 2 changes? Nobody can be asked here; say `--yes`"), "{stderr}");
    let (code, stdout, stderr) = run(&world, &["revert", "--dry-run"]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, listed, "2 changes would be taken back.\n"));
    assert!(world.asked().iter().all(|asked| asked["revert"]["dry_run"] != false));

    let (code, _, stderr) = run(&world, &["revert", "notes/d", "--yes"]);
    assert_eq!(
        (code, stderr.as_str()),
        (0, "2 changes are taken back; the files that were made here are in the history.\n")
    );
    let asked = world.asked().pop().unwrap()["revert"].clone();
    assert_eq!((&asked["path"], &asked["milliseconds"]), (&json!("d"), &json!(600_000)));
    let (code, _, stderr) = run(&world, &["revert", "--yes", "--timeout", "1"]);
    assert_eq!(
        (code, stderr.as_str()),
        (
            3,
            "b: nobody who is connected has its bytes\n\
             1 change is taken back; the files that were made here are in the history.\n\
             1 is left; what waits for its bytes comes by itself.\n"
        )
    );
    let (code, stdout, stderr) = run(&world, &["revert", "notes/halted", "--yes"]);
    assert_eq!(
        (code, stdout.as_str(), stderr.as_str()),
        (
            3,
            listed,
            "b: is as it was changed here\n\
             1 change is taken back; the files that were made here are in the history.\n\
             1 is left.\n\
             Nothing goes on in the share: others have deleted 20 of 26 contents; `shoal status` says what to do.\n\
             There is more: say it again to take back 12,000 more.\n"
        )
    );
    let (_, _, stderr) = run(&world, &["revert", "notes/halted", "--dry-run"]);
    assert_eq!(stderr, "2 of 12,002 changes would be taken back.\n");
    let (code, stdout, _) = run(&world, &["revert", "--yes", "--json"]);
    assert_eq!((code, stdout.lines().count()), (3, 1), "{stdout}");
}

#[test]
fn the_other_commands_ask_for_what_they_say() {
    let world = World::new(Played::default());
    let share = share_id();
    let of_share = json!({"share": share});
    for (args, asked) in [
        (&["pause"][..], json!({"pause": of_share})),
        (&["resume", "notes"], json!({"resume": of_share})),
        (&["rescan", &share[..8]], json!({"rescan": {"share": share, "wait": true}})),
        (&["rescan", "--no-wait"], json!({"rescan": {"share": share, "wait": false}})),
        (&["leave", "notes", "--yes"], json!({"leave": of_share})),
        (&["ignore"], json!({"get-ignore": of_share})),
        (&["ignore", "accept"], json!({"accept-ignore": of_share})),
        (&["conflicts"], json!({"list-conflicts": of_share})),
        (&["reload"], json!({"reload": {}})),
        (&["shares"], json!({"list-shares": {}})),
        (&["devices"], json!({"list-devices": of_share})),
        (
            &["restore", "8", "--to", "x", "--share", "notes"],
            json!({"restore": {"share": share, "number": 8, "to": "x", "milliseconds": 600_000}}),
        ),
        (
            &["revoke", "ben", "--yes"],
            json!({"revoke": {"share": share, "what": {"device": "b".repeat(51) + "a"}}}),
        ),
        (
            &["resolve", "a", "--keep", "a (conflict).txt", "--share", "notes"],
            json!({"resolve": {"share": share, "path": "a", "keep": {"copy": "a (conflict).txt"}}}),
        ),
    ] {
        let (code, _, stderr) = run(&world, args);
        assert_eq!(code, 0, "{args:?}: {stderr}");
        assert_eq!(world.asked().pop().unwrap(), asked, "{args:?}");
        // The same as JSON, which programs read line by line.
        let (code, stdout, _) = run(&world, &[args, &["--json"]].concat());
        assert_eq!(code, 0, "{args:?}");
        assert!(lines(&stdout).iter().all(Value::is_object), "{args:?}: {stdout}");
    }
    for (args, word, words) in [
        (&["pause"][..], "paused", "Paused 'notes'."),
        (&["resume"], "resumed", "Resumed 'notes'."),
        (&["revoke", "ben", "--yes"], "revoked", "Removed the device ben (bbbbbbb)."),
        (&["ignore", "accept"], "accepted", "Nobody has written other rules; nothing has changed."),
    ] {
        assert_eq!(run(&world, args).2, format!("{words}\n"));
        let (_, stdout, _) = run(&world, &[args, &["--json"]].concat());
        assert_eq!(lines(&stdout), [json!({"done": word, "share": share})]);
    }
    let (_, _, left) = run(&world, &["leave", "notes", "--yes"]);
    assert!(left.starts_with("Left 'notes'. Its files stay in /"), "{left}");
    let remains =
        "Remove this yourself, it tells of the share: cannot remove /home/x.roster: Is a directory\n";
    assert!(left.ends_with(remains), "{left}");
    let (code, _, stderr) = run(&world, &["pause", "photos"]);
    assert!(code == 1 && stderr.contains("there is no share 'photos' on this device"), "{stderr}");
    let (code, _, stderr) = run(&world, &["leave", "notes"]);
    assert!(code == 2 && stderr.contains("say `--yes`"), "{stderr}");
}

#[test]
fn t13_what_another_device_wrote_is_escaped_and_a_failure_shows_its_way_out() {
    let world = World::new(Played::default());
    let (_, stdout, _) = run(&world, &["devices"]);
    assert!(stdout.contains("ev\\x1b[2Jil") && !stdout.contains('\u{1b}'), "{stdout:?}");
    let (_, stdout, _) = run(&world, &["history", "--json"]);
    assert!(stdout.contains("d/a\\u202e.txt"), "{stdout:?}");
    assert_eq!(lines(&stdout)[0]["path"], "d/a\u{202e}.txt");

    let (code, _, stderr) = run(&world, &["invite"]);
    assert_eq!(code, 0, "{stderr}");
    let (code, stdout, stderr) = run(&world, &["restore", "404"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert_eq!(stderr, "error: there is no version 404\nhint: `shoal history` lists them\n");
}

#[test]
fn watching_tells_what_happens_until_the_daemon_ends() {
    let world = World::new(Played::default());
    let watch =
        world.command(&["status", "--watch"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    world.wait_until_followed();
    world.note("in-sync");
    let (code, _, stderr) = run(&world, &["stop"]);
    assert_eq!((code, stderr.as_str()), (0, "Stopped.\n"));
    let (code, stdout, stderr) = outcome(&watch.wait_with_output().unwrap());
    assert_eq!(code, 0);
    assert!(stdout.starts_with("notes  in sync"), "{stdout}");
    assert_eq!(stderr, "notes: in sync\nEnding.\n");
}

#[test]
fn stop_tells_programs_what_was_done() {
    let (code, stdout, _) = run(&World::new(Played::default()), &["stop", "--json"]);
    assert_eq!((code, lines(&stdout)), (0, vec![json!({"done": "stopped"})]));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, stdout, _) = outcome(&shoal().args(["completions", shell]).output().unwrap());
        assert!(code == 0 && stdout.contains("conflicts") && stdout.contains("theirs"), "{shell}");
    }
}

#[test]
fn a_second_daemon_is_told_of_the_first_and_a_bad_configuration_of_its_line() {
    let world = World::new(Played::default());
    let (code, _, stderr) = run(&world, &["up"]);
    let first =
        format!("error: a daemon runs already, as process {}; `shoal stop` ends it\n", std::process::id());
    assert_eq!((code, stderr), (1, first));

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), "lan = true\nlisten = [\"here\"]\n").unwrap();
    let up = || outcome(&shoal().args(["up", "--home"]).arg(folder.path()).output().unwrap());
    // The folder is not empty and open to others, so it is not silently made the home of a key.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (code, _, stderr) = up();
    assert!(code == 1 && stderr.contains("others may enter") && stderr.contains("chmod go="), "{stderr}");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let (code, _, stderr) = up();
    assert_eq!(code, 1);
    assert!(stderr.contains("config.toml, line 2, column 11: give an IP address"), "{stderr}");
    assert!(!folder.path().join("key").exists());
}

#[test]
fn a9_a10_a12_odd_arguments_and_a_stdout_that_is_full() {
    let world = World::new(Played::default());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, _, stderr) = outcome(&world.command(&["shares"]).stdout(full).output().unwrap());
    assert_eq!(code, 1);
    assert!(stderr.starts_with("error: cannot write to stdout: No space left on device"), "{stderr}");

    // Who has seen enough is told nothing.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (code, _, stderr) = outcome(&world.command(&["shares"]).stdout(writer).output().unwrap());
    assert_eq!((code, stderr.as_str()), (1, ""));

    let notes = world.folder("notes");
    let path = notes.to_str().unwrap();
    let twice = ["share", path, "--uses", "2", "--uses", "3", "--json", "--json"];
    assert_eq!(run(&world, &twice).0, 0);
    assert_eq!(world.asked().pop().unwrap()["share"]["invite"]["uses"], 3);

    for args in [
        &["share"][..],
        &["share", path, "--fly"],
        &["share", path, "--role", "admin"],
        &["share", path, "--uses", "0"],
        &["share", path, "--uses", "1025"],
        &["share", path, "--days", "-1"],
        &["share", path, "--no-invite", "--uses", "2"],
        &["join"],
        &["join", "a", "b", "c"],
        &["restore", "first"],
        &["why"],
        &["ignore", "everything"],
        &["wait", "--timeout", "0"],
        &["completions", "csh"],
    ] {
        assert_eq!(run(&world, args).0, 2, "{args:?}");
    }
    let long = "x".repeat(100_000);
    let (code, _, stderr) = run(&world, &["pause", &long]);
    assert_eq!(code, 1);
    assert!(stderr.starts_with("error: there is no share 'xxx"), "{stderr:.80}");
    let many: Vec<&str> = std::iter::once("join").chain(std::iter::repeat_n("x", 10_000)).collect();
    assert_eq!(run(&world, &many).0, 2);
}

/// A command on a terminal of so many columns, with answers to its questions.
fn on_terminal(world: &World, columns: usize, dialogue: &[&str], args: &[&str]) -> (i32, String, String) {
    let mut terminal = python("terminal.py");
    terminal.arg(columns.to_string()).args(dialogue).args(["--", env!("CARGO_BIN_EXE_shoal")]).args(args);
    terminal.env("SHOAL_HOME", world.home()).stdin(Stdio::null());
    outcome(&terminal.output().unwrap())
}

#[test]
fn on_a_terminal_join_asks_for_the_invite_and_what_is_to_be_done() {
    let question = json!({"first-contact": {"equal": 5, "differ": 30, "only_here": 2}});
    let world = World::new(Played::default().with_share(&json!({"question": question, "is_in_sync": false})));
    let directory = world.folder("other");
    let invite = played::real_invite();
    let what = "Take theirs, keep both, or stop?";
    let dialogue = ["Paste the invite: ", &invite, what, "perhaps", what, "both"];
    let (code, shown, stderr) = on_terminal(&world, 80, &dialogue, &["join", directory.to_str().unwrap()]);
    assert_eq!(code, 0, "{shown} {stderr}");
    assert!(shown.contains("5 equal, 30 differ, 2 only here.") && shown.contains("Keeping both."), "{shown}");
    let asked = world.asked();
    let joined = asked.iter().find_map(|asked| asked.get("join")).unwrap();
    assert_eq!((&joined["choice"], joined["invite"].as_str().unwrap().trim()), (&Value::Null, &*invite));
    assert_eq!(asked.last().unwrap(), &json!({"decide": {"share": share_id(), "choice": "both"}}));
}

#[test]
fn on_a_terminal_an_invite_is_a_picture_too_if_there_is_room() {
    let world = World::new(Played::default());
    let (code, shown, _) = on_terminal(&world, 80, &[], &["invite"]);
    assert!(code == 0 && shown.contains(INVITE_TEXT) && shown.contains("█▀▀▀▀▀█"), "{shown}");
    let (code, shown, _) = on_terminal(&world, 20, &[], &["invite"]);
    assert!(code == 0 && shown.contains(INVITE_TEXT) && !shown.contains('█'), "{shown}");
}

#[test]
fn what_was_listed_when_it_was_asked_is_what_is_taken_back() {
    let world = World::new(Played::default());
    let (code, shown, _) = on_terminal(&world, 80, &["Take back 2 changes? [y/N]", "y"], &["revert"]);
    assert_eq!(code, 3, "{shown}");
    let asked: Vec<Value> = world.asked().iter().filter_map(|asked| asked.get("revert").cloned()).collect();
    let of_each = |key: &str| asked.iter().map(|asked| asked[key].clone()).collect::<Vec<_>>();
    assert_eq!(
        (of_each("dry_run"), of_each("hash")),
        (vec![true.into(), false.into()], vec![Value::Null, "00ff".into()])
    );
}

#[test]
fn what_is_removed_is_asked_about_first() {
    let world = World::new(Played::default());
    for (answer, is_done) in [("n", false), ("", false), ("y", true)] {
        let (code, shown, _) = on_terminal(&world, 80, &["from 'notes'? [y/N]", answer], &["revoke", "ben"]);
        assert_eq!(code, 0, "{shown}");
        assert_eq!(world.asked().last().unwrap().get("revoke").is_some(), is_done, "{answer:?}: {shown}");
    }
}
