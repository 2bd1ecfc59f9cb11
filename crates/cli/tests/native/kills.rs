//! Daemons that are killed or stopped at any moment, under load.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;

use super::{Machine, Tree, meeting, noise, wait_agreed};
use crate::support::{SOON, eventually};

/// How often a daemon is killed in one story.
const KILLS: u64 = 10;

/// What a story draws its moments and sizes from.
struct Dice(Vec<u8>);

impl Dice {
    fn seeded(seed: u64) -> Self {
        Self(noise(seed, 4096))
    }

    /// Below 256.
    fn roll(&mut self) -> u64 {
        self.0.pop().unwrap().into()
    }
}

/// One device writes, and overwrites; the daemon of one of the two is killed again and again.
fn killed_again_and_again(seed: u64, is_writer: bool) {
    let (mut ana, mut ben, link) = meeting(&[("first", b"1")], &[]);
    wait_agreed(&ana, &ben, |tree| tree.contains_key("first"));
    let mut dice = Dice::seeded(seed);
    let mut written: BTreeMap<String, Vec<u8>> = BTreeMap::from([("first".into(), b"1".to_vec())]);
    for kill in 0..KILLS {
        for file in 0..8 {
            let length = usize::try_from(dice.roll() * dice.roll() * 16).unwrap();
            // Each round writes new ones, and one again that the round before wrote.
            let path = if file == 0 { "again".into() } else { format!("d{}/f{kill}-{file}", file % 3) };
            let bytes = noise(seed * 1000 + kill * 10 + file, length);
            ana.write(&path, &bytes);
            written.insert(path, bytes);
        }
        let passed = link.passed();
        if kill % 2 == 0 {
            // In the middle of it.
            let more = usize::try_from(dice.roll() * 1024).unwrap();
            eventually("something passes", SOON, || {
                link.passed() > passed + more || ana.tree() == ben.tree()
            });
        } else {
            std::thread::sleep(Duration::from_millis(dice.roll() / 2));
        }
        let killed = if is_writer { &mut ana } else { &mut ben };
        killed.kill();
        killed.up();
        link.lead_to(ana.address);
    }
    let written: Tree = written;
    let is_all = |tree: &Tree| tree.iter().filter(|(path, _)| !path.ends_with('/')).eq(&written);
    wait_agreed(&ana, &ben, is_all);
    assert_eq!(ana.done(&["conflicts"]), <[serde_json::Value; 0]>::default(), "only one has written");
}

#[test]
fn i1_who_is_killed_again_and_again_while_it_receives_ends_with_all_of_it() {
    killed_again_and_again(7, false);
}

#[test]
fn i1_who_is_killed_again_and_again_while_it_sends_loses_nothing() {
    killed_again_and_again(11, true);
}

/// Stops a machine's daemon while it is at work, and has both go on after a while.
fn stopped(is_writer: bool) {
    let (ana, ben, link) = meeting(&[("first", b"1")], &[]);
    wait_agreed(&ana, &ben, |tree| tree.contains_key("first"));
    let big = noise(12, 8 << 20);
    let passed = link.passed();
    ana.write("big", &big);
    link.wait_passed(passed + 100_000);
    let stopped: &Machine = if is_writer { &ana } else { &ben };
    stopped.signal(Signal::STOP);
    stopped.wait_stopped();
    // What happens meanwhile is found afterwards.
    ana.write("meanwhile", b"by ana");
    ben.write("too", b"by ben");
    // Time itself is what is tested: whatever either end does within a second has come due by then, and not within 20, after
    // which it would ask whether the other is there.
    std::thread::sleep(Duration::from_secs(1));
    assert!(!ben.tree().contains_key("big"));
    stopped.signal(Signal::CONT);
    let tree = wait_agreed(&ana, &ben, |tree| tree.get("big") == Some(&big) && tree.len() == 4);
    assert_eq!((&*tree["meanwhile"], &*tree["too"]), (&b"by ana"[..], &b"by ben"[..]));
}

#[test]
fn who_is_stopped_for_a_while_while_it_receives_goes_on() {
    stopped(false);
}

#[test]
fn who_is_stopped_for_a_while_while_it_sends_goes_on() {
    stopped(true);
}
