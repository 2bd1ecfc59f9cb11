//! What people read of a status.

use shoal_daemon::control::report::Status;

use super::*;

/// A status with one share, changed by the test.
fn status(change: &serde_json::Value) -> Status {
    let id = "a".repeat(52);
    let mut share = serde_json::json!({
        "share": id, "name": "notes", "directory": "/home/ana/notes", "role": "admin", "is_paused": false,
        "phase": "live", "is_in_sync": true, "is_busy": false, "holds": {"files": 1204, "bytes": 5_242_880},
        "to_go": {"files": 0, "bytes": 0}, "bytes_in_per_second": 0, "bytes_out_per_second": 0, "members": 2,
        "peers": [{"device": id, "name": "ben", "address": "192.0.2.7:4242", "state": "in-sync"}],
        "problems": [], "more_problems": 0, "history": {"files": 0, "bytes": 0}, "late_edits": [], "restores": [],
        "watch": {"is_ready": true, "watched": 3, "polled": 0},
    });
    for (key, value) in change.as_object().unwrap() {
        share[key] = value.clone();
    }
    let is_in_sync = share["is_in_sync"].clone();
    let status = serde_json::json!({
        "agent": "shoal 0.1.0", "device": id, "name": "ana", "pid": 1, "listening": ["[::]:4242"], "trackers": [],
        "shares": [share], "is_in_sync": is_in_sync, "events": {"run": 1, "sequence": 0},
    });
    serde_json::from_value(status).unwrap()
}

#[test]
fn in_sync_says_with_whom() {
    assert_eq!(
        report(&status(&serde_json::json!({})), false),
        "notes  in sync  /home/ana/notes\n       \
         1,204 files, 5.00 MiB; 2 devices, 1 connected\n       \
         ben: holds all of it\n"
    );
}

#[test]
fn i31_what_is_missing_is_listed_with_its_cause_and_nothing_moves_a_cursor() {
    let change = serde_json::json!({
        "name": "n\u{1b}]0;x", "is_in_sync": false, "is_busy": true, "to_go": {"files": 2, "bytes": 2048},
        "bytes_in_per_second": 1024,
        "peers": [{"device": "a".repeat(52), "name": "b\u{202e}n", "address": null, "state": {"lacking": 3}}],
        "problems": [
            {"path": "a.txt", "cause": "fetching", "is_settled": false},
            {"path": {"hex": "62ff1b"}, "cause": "blocked", "detail": "the name is too long", "is_settled": false},
        ],
        "more_problems": 7,
    });
    let text = report(&status(&change), false);
    assert_eq!(
        text,
        "n\\x1b]0;x  fetching  /home/ana/notes\n           \
         1,204 files, 5.00 MiB; 2 devices, 1 connected\n           \
         b\\xe2\\x80\\xaen: lacks 3 versions\n           \
         2 files, 2.00 KiB to go, 1.00 KiB/s\n           \
         a.txt: is being fetched\n           \
         b\\xff\\u{1b}: cannot be put onto this disk: the name is too long\n           \
         and 7 paths more\n"
    );
}

#[test]
fn who_is_out_is_told_by_whom_and_what_to_do_and_nothing_else() {
    let why = "ben (k7qfz2a) has removed this device from the share";
    let change = serde_json::json!({"is_in_sync": false, "phase": "removed", "why": why, "peers": []});
    assert_eq!(
        report(&status(&change), false),
        "notes  this device was removed  /home/ana/notes\n       \
         ben (k7qfz2a) has removed this device from the share\n       \
         The files stay where they are. `shoal leave notes` ends it; a new invite lets this device in again: \
         `shoal join DIR`\n"
    );
}

#[test]
fn only_so_many_problems_are_shown_unless_all_are_asked_for() {
    let problem = |number: u32| serde_json::json!({"path": format!("f{number}"), "cause": "no-source", "is_settled": false});
    let problems: Vec<_> = (0..30).map(problem).collect();
    let status = status(&serde_json::json!({"is_in_sync": false, "problems": problems, "more_problems": 5}));
    let short = report(&status, false);
    assert!(
        short.contains("f19: ") && !short.contains("f20: ") && short.ends_with("and 15 paths more\n"),
        "{short}"
    );
    let long = report(&status, true);
    assert!(long.contains("f29: ") && long.ends_with("and 5 paths more\n"), "{long}");
}

#[test]
fn i31_in_sync_is_said_only_where_the_daemon_says_so() {
    let states = [
        (serde_json::json!({"peers": []}), "nobody is connected"),
        (serde_json::json!({"is_busy": true}), "working"),
        (serde_json::json!({}), "not in sync"),
        (serde_json::json!({"phase": "paused"}), "paused"),
        (serde_json::json!({"phase": "first-contact"}), "looking for a member of the share"),
        (serde_json::json!({"phase": "removed"}), "this device was removed"),
        (serde_json::json!({"phase": "refused"}), "this device was not let in"),
        (
            serde_json::json!({"phase": "halted", "question": {"emptied": {"had": 9, "lost": 9}}}),
            "waits for your answer",
        ),
    ];
    for (mut change, expected) in states {
        change["is_in_sync"] = false.into();
        let status = status(&change);
        assert_eq!(state(&status.shares[0]), expected);
    }
    let halted = status(&serde_json::json!({
        "is_in_sync": false, "phase": "halted", "question": {"mass-deletion": {"had": 30, "lost": 29}},
    }));
    let text = report(&halted, false);
    assert!(text.contains("others have deleted 29 of 30 contents. Nothing of it was done here."), "{text}");
}

#[test]
fn a_line_for_all_names_what_is_not_in_sync() {
    let mut all = status(&serde_json::json!({"is_in_sync": true}));
    assert_eq!(summary(&all), "1 share in sync");
    let paused = status(&serde_json::json!({"is_in_sync": false, "phase": "paused", "name": "p\nq"}));
    for _ in 0..4 {
        all.shares.extend(paused.shares.clone());
    }
    let named = "p\\x0aq: paused; ".repeat(3);
    assert_eq!(summary(&all), format!("1 share in sync; {named}1 more"));
    // What passes and what no event tells of would stand there for days.
    let line = |change| summary(&status(&change));
    for passing in [
        serde_json::json!({"is_in_sync": false, "is_busy": true, "to_go": {"files": 1, "bytes": 3}}),
        serde_json::json!({"is_in_sync": false, "is_busy": true}),
        serde_json::json!({"is_in_sync": false, "peers": []}),
    ] {
        assert_eq!(line(passing), "notes: not in sync");
    }
    let alone = serde_json::json!({"is_in_sync": false, "is_busy": true, "members": 1, "peers": []});
    assert_eq!(line(alone), "notes: nobody else has come in yet");
    all.shares.clear();
    assert_eq!(summary(&all), "no shares yet");
}

#[test]
fn i31_who_waits_for_others_is_not_said_to_fetch() {
    let change = serde_json::json!({
        "role": "reader", "is_in_sync": false, "to_go": {"files": 1, "bytes": 3}, "bytes_in_per_second": 700,
        "problems": [{"path": "f1", "cause": "local-difference", "is_settled": false}],
    });
    assert_eq!(
        report(&status(&change), false),
        "notes  not in sync  /home/ana/notes\n       \
         1,204 files, 5.00 MiB; 2 devices, 1 connected\n       \
         ben: holds all of it\n       \
         1 file, 3 B to go\n       \
         f1: changed here, where this device only reads, so nobody else gets it; `shoal revert` takes it back\n"
    );
    let state = |change| state(&status(&change).shares[0]);
    assert_eq!(
        [
            state(serde_json::json!({"is_in_sync": false, "members": 1, "peers": []})),
            state(serde_json::json!({"is_in_sync": false, "peers": []})),
            state(serde_json::json!({"is_in_sync": false, "is_busy": true, "peers": []})),
        ],
        ["nobody else has come in yet", "nobody is connected", "working"]
    );
}
