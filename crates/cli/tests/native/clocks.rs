//! Devices whose clocks are a year apart.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use super::{LONELY, Link, Machine, by_way_of, invite_of, wait_all_agreed};
use crate::support::skip;

/// Longer than any year, so that the years of two clocks differ.
const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

/// What turns the clock of a program, and leaves the time that only passes as it is: where Debian has it.
pub(super) fn turner() -> Option<String> {
    let libraries = fs::read_dir("/usr/lib").into_iter().flatten().map_while(Result::ok);
    let found = libraries.map(|of_machine| of_machine.path().join("faketime/libfaketimeMT.so.1"));
    found.into_iter().find(|path| path.is_file()).map(|path| path.to_str().unwrap().to_owned())
}

/// What a daemon is started within whose clock is turned by `+366d`, for instance.
pub(super) fn turned(turner: &str, clock: &str) -> Vec<String> {
    let set = [
        format!("LD_PRELOAD={turner}"),
        format!("FAKETIME={clock}"),
        // Neither waits nor what a file system says of its files.
        "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
        "NO_FAKE_STAT=1".into(),
    ];
    [vec!["env".into()], set.to_vec()].concat()
}

/// A device whose daemon has this clock, or the right one.
fn start(name: &'static str, turner: &str, clock: Option<&str>) -> Machine {
    let mut machine = Machine::new(name, LONELY);
    machine.within = clock.map(|clock| turned(turner, clock)).unwrap_or_default();
    machine.up();
    machine
}

/// Its user saves a file, with the time of the machine's clock.
fn save(machine: &Machine, path: &str, text: &str, clock: SystemTime) {
    machine.write(path, text.as_bytes());
    fs::File::open(machine.folder.join(path)).unwrap().set_modified(clock).unwrap();
}

/// When the next thing happened that its daemon tells, by its own clock.
pub(super) fn clock_of(machine: &mut Machine) -> String {
    let event = machine.daemon().wait_for("anything", |event| event["when"].is_string());
    event["when"].as_str().unwrap().to_owned()
}

#[test]
fn i29_clocks_a_year_apart_lose_nothing_and_who_has_seen_more_wins() {
    let Some(turner) = turner() else { return skip("I29: clocks apart", "there is no libfaketime") };
    let now = SystemTime::now();
    let (ahead, behind) = (now + YEAR, now - YEAR);
    let mut ana = start("ana", &turner, None);
    let mut ben = start("ben", &turner, Some("+366d"));
    let mut cleo = start("cleo", &turner, Some("-366d"));
    ana.write("a", b"by ana");
    ana.write("plan", b"by ana");

    // An invite is judged by the clock of whoever looks at it: for ben this one is over since a year.
    let short = ana.share(&[]);
    let mut refused = ben.command(&["join", &short]);
    let refused = refused.arg(ben.folder.path()).stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && stderr.contains("expired"), "{stderr}");
    let links = [Link::new(), Link::new()];
    links.iter().for_each(|link| link.lead_to(ana.address));
    let long = invite_of(&ana.done(&["invite", "--days", "400"]));
    ben.join(&by_way_of(&long, &links[0]), &[]);
    cleo.join(&by_way_of(&short, &links[1]), &[]);
    // Since all this is only so where their clocks are what they should be:
    let (at_ana, at_ben, at_cleo) = (clock_of(&mut ana), clock_of(&mut ben), clock_of(&mut cleo));
    assert!(at_cleo[..4] < at_ana[..4] && at_ana[..4] < at_ben[..4], "{at_cleo} {at_ana} {at_ben}");
    let all = |is_it: &dyn Fn(&super::Tree) -> bool| wait_all_agreed(&[&ana, &ben, &cleo], is_it);
    let shows = |path: &'static str, text: &'static str| {
        move |tree: &super::Tree| tree.get(path).is_some_and(|bytes| bytes == text.as_bytes())
    };
    all(&shows("plan", "by ana"));

    // One after the other: the one who has seen more wins, and not the one whose time is later.
    save(&ben, "plan", "by ben", ahead);
    all(&shows("plan", "by ben"));
    save(&cleo, "plan", "by cleo, who saw ben's", behind);
    all(&shows("plan", "by cleo, who saw ben's"));
    save(&ana, "plan", "by ana, who saw cleo's", now);
    let tree = all(&shows("plan", "by ana, who saw cleo's"));
    assert_eq!(tree.len(), 2, "no conflict: {:?}", tree.keys());
    fs::remove_file(cleo.folder.join("a")).unwrap();
    all(&|tree| !tree.contains_key("a"));

    // All at once: a conflict, in which nothing is lost.
    links.iter().for_each(Link::cut);
    save(&ana, "plan", "at once, by ana", now);
    save(&ben, "plan", "at once, by ben", ahead);
    save(&cleo, "plan", "at once, by cleo", behind);
    links.iter().for_each(Link::heal);
    let tree = all(&|tree| tree.len() == 3);
    let texts: BTreeSet<&[u8]> = tree.values().map(|bytes| &**bytes).collect();
    assert_eq!(texts, BTreeSet::from([&b"at once, by ana"[..], b"at once, by ben", b"at once, by cleo"]));

    // The clock is put right: what ben keeps of what others replaced is there still, and all goes on.
    let kept = ben.done(&["history"]).len();
    assert!(kept >= 2, "{kept}");
    ben.kill();
    ben.within.clear();
    ben.up();
    ben.write("b", b"by ben, in time");
    wait_all_agreed(&[&ana, &ben, &cleo], |tree| tree.contains_key("b"));
    assert_eq!(ben.done(&["history"]).len(), kept);
}
