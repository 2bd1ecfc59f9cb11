//! What stands in a share that is no file, may not be touched, or comes in each other's place.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode as Permissions, mknodat};
use shoal_engine::disk::{ChangeDeed, Committed, Look, SeenKind, Taken, Unknown};
use shoal_proto::record::{Mode, Timestamp};

use super::{Share, as_nobody, content, file, is_done};
use crate::skip::skip;
use crate::workload::path;

#[test]
fn e1_what_is_never_opened_is_told_and_stays() {
    let share = Share::new();
    mknodat(CWD, share.path("pipe"), FileType::Fifo, Permissions::from_raw_mode(0o666), 0).unwrap();
    let _socket = UnixListener::bind(share.path("socket")).unwrap();
    let mut names = vec!["pipe", "socket"];
    let null = rustix::fs::makedev(1, 3);
    match mknodat(
        CWD,
        share.path("device"),
        FileType::CharacterDevice,
        Permissions::from_raw_mode(0o666),
        null,
    ) {
        Ok(()) => names.push("device"),
        Err(error) => skip("E1: a device in a share", &error.to_string()),
    }
    for name in &names {
        assert_eq!(share.look(name), Look::Unknown(Unknown::Special), "{name}");
        assert_eq!(share.take_as(name, None), Taken::Unknown(Unknown::Special), "{name}");
        let answer = share.place(name, "from others", None);
        assert!(!is_done(&answer), "{name}: {answer:?}");
        let below = share.place(&format!("{name}/below"), "from others", None);
        assert!(matches!(below, Committed::Barred(_)), "{name}: {below:?}");
        assert!(!fs::symlink_metadata(share.path(name)).unwrap().is_file(), "{name} is what it was");
    }
    assert_eq!(share.sweep(10).len(), names.len());
    assert_eq!(share.staged(), 0);
}

#[test]
fn e2_links_are_text_whatever_they_lead_to() {
    let share = Share::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let root = share.place.path().to_owned();
    let targets = [
        ("dangling", Path::new("nowhere")),
        ("loop", Path::new("loop")),
        ("outside", outside.path()),
        ("root", &root),
        ("all", Path::new("/")),
        ("state", Path::new(".shoal")),
    ];
    for (name, target) in targets {
        symlink(target, share.path(name)).unwrap();
        let SeenKind::Symlink { target: told } = share.seen(name).unwrap().kind else { panic!("{name}") };
        assert_eq!(*told, *target.as_os_str().as_bytes());
        assert!(matches!(share.take(name), Taken::Here { .. }));
        for below in ["secret", "lock", "x"] {
            let below = format!("{name}/{below}");
            assert_eq!(share.look(&below), Look::Nothing, "{below}");
            let answer = share.place(&below, "from others", None);
            assert!(matches!(answer, Committed::Barred(_)), "{below}: {answer:?}");
        }
    }
    assert_eq!(share.sweep(3).len(), targets.len());
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn e3_what_may_not_be_read_or_written_is_told_and_the_others_go_on() {
    if rustix::process::geteuid().is_root() {
        let test = "states::things::e3_what_may_not_be_read_or_written_is_told_and_the_others_go_on";
        return as_nobody("E3: what may not be read or written", test);
    }
    let share = Share::new();
    for folder in ["shut", "fixed", "listed"] {
        fs::create_dir(share.path(folder)).unwrap();
        share.write(&format!("{folder}/inside"), "the user's");
    }
    share.write("secret", "secret");
    share.write("open", "open");
    let mode =
        |name: &str, mode| fs::set_permissions(share.path(name), fs::Permissions::from_mode(mode)).unwrap();
    // Not even listed; not written to; listed and not entered.
    for (name, bits) in [("shut", 0o000), ("fixed", 0o500), ("listed", 0o600), ("secret", 0o000)] {
        mode(name, bits);
    }
    let unreadable = Taken::Unknown(Unknown::Unreadable);
    assert_eq!(share.take("secret"), unreadable);
    for inside in ["shut/inside", "listed/inside"] {
        assert!(matches!(share.look(inside), Look::Unknown(_)), "{inside}: {:?}", share.look(inside));
        assert!(!is_done(&share.place(inside, "from others", None)), "{inside}");
    }
    let present = share.seen("fixed/inside").unwrap();
    for answer in [
        share.place("fixed/inside", "from others", Some(present.clone())),
        share.place("fixed/new", "from others", None),
        share.commit("fixed/inside", ChangeDeed::Remove(present)),
    ] {
        assert!(matches!(answer, Committed::Failed(_)), "{answer:?}");
    }
    let told = share.sweep(2);
    for name in ["shut", "listed", "secret"] {
        let is_told = told
            .iter()
            .any(|(at, look)| at.as_bytes().starts_with(name.as_bytes()) && matches!(look, Look::Unknown(_)));
        assert!(is_told, "{name} is told: {told:?}");
    }
    assert_eq!(content(&share.take("open")), Some(file("open")));
    assert!(is_done(&share.place("new", "from others", None)));
    assert_eq!(share.staged(), 0);
    for folder in ["shut", "fixed", "listed"] {
        mode(folder, 0o700);
        assert_eq!(share.read(&format!("{folder}/inside")), "the user's");
    }
}

#[test]
fn e3_what_nobody_may_change_stays_as_it_is() {
    let what = "E3: an immutable file";
    let share = Share::new();
    share.write("fixed", "the user's");
    share.write("other", "the user's");
    let set = |flag: &str| Command::new("chattr").arg(flag).arg(share.path("fixed")).output();
    match set("+i") {
        Ok(output) if output.status.success() => {}
        Ok(output) => return skip(what, &String::from_utf8_lossy(&output.stderr)),
        Err(error) => return skip(what, &format!("cannot start chattr: {error}")),
    }
    let present = share.seen("fixed").unwrap();
    let mtime = Timestamp::new(5, 0);
    let answers = [
        share.place("fixed", "from others", Some(present.clone())),
        share.commit("fixed", ChangeDeed::Remove(present.clone())),
        share.commit("fixed", ChangeDeed::Move { to: path("moved"), present: present.clone() }),
        share.commit(
            "fixed",
            ChangeDeed::Retouch { present: present.clone(), mtime, mode: Mode::from_bits(0o600) },
        ),
    ];
    let (seen, taken) = (share.seen("fixed"), share.take("fixed"));
    let other = share.place("other", "from others", share.seen("other"));
    assert!(set("-i").unwrap().status.success());
    assert!(answers.iter().all(|answer| matches!(answer, Committed::Failed(_))), "{answers:?}");
    assert_eq!(seen, Some(present));
    assert_eq!(content(&taken), Some(file("the user's")));
    assert!(is_done(&other), "{other:?}");
    assert_eq!(share.staged(), 0);
}

#[test]
fn e7_a_folder_and_a_file_take_each_others_place_only_when_nothing_is_lost() {
    let share = Share::new();
    fs::create_dir(share.path("folder")).unwrap();
    share.write("folder/inside", "the user's");
    let answer = share.place("folder", "from others", share.seen("folder"));
    assert!(matches!(&answer, Committed::NotEmpty { inside } if inside == &["inside"]), "{answer:?}");
    let answer = share.commit("folder", ChangeDeed::Remove(share.seen("folder").unwrap()));
    assert!(matches!(answer, Committed::NotEmpty { .. }), "{answer:?}");
    let answer = share.commit("folder/inside", ChangeDeed::Remove(share.seen("folder/inside").unwrap()));
    assert!(is_done(&answer));
    assert!(is_done(&share.place("folder", "from others", share.seen("folder"))));
    let deed = ChangeDeed::MakeFolder { mode: Mode::from_bits(0o755), over: share.seen("folder") };
    assert!(is_done(&share.commit("folder", deed)));
    assert!(share.path("folder").is_dir());
    assert_eq!(share.kept(), ["the user's", "from others"]);
}

#[test]
fn e8_a_folder_that_was_moved_between_look_and_deed_is_not_written_into() {
    let share = Share::new();
    fs::create_dir(share.path("folder")).unwrap();
    share.write("folder/a", "the user's");
    let seen = share.seen("folder/a");
    fs::rename(share.path("folder"), share.path("moved")).unwrap();
    let answer = share.place("folder/a", "from others", seen.clone());
    assert!(matches!(answer, Committed::Barred(_)), "{answer:?}");
    symlink("moved", share.path("folder")).unwrap();
    let answer = share.place("folder/a", "from others", seen);
    assert!(matches!(answer, Committed::Barred(_)), "{answer:?}");
    assert_eq!(share.read("moved/a"), "the user's");
}

#[test]
fn e29_special_permissions_are_neither_told_nor_set() {
    let share = Share::new();
    share.write("tool", "the user's");
    fs::set_permissions(share.path("tool"), fs::Permissions::from_mode(0o6755)).unwrap();
    let Taken::Here { here, .. } = share.take("tool") else { panic!() };
    assert_eq!(here.version.mode.bits(), 0o755);
    let mode = Mode::from_bits(0o7777);
    let present = share.seen("tool").unwrap();
    assert!(is_done(&share.commit("tool", ChangeDeed::Retouch { present, mtime: None, mode })));
    let special = |name: &str| fs::metadata(share.path(name)).unwrap().mode() & 0o7000;
    assert_eq!(special("tool"), 0);
    assert!(is_done(&share.place("tool", "from others", share.seen("tool"))));
    assert!(is_done(&share.commit("folder", ChangeDeed::MakeFolder { mode, over: None })));
    assert_eq!((special("tool"), special("folder")), (0, 0));
}
