//! Stories of a roster that changes while all run: who is removed, who leaves, and secrets that are new.

use core::time::Duration;
use std::collections::BTreeSet;

use shoal_engine::io::Command;
use shoal_engine::status::{Halt, Phase};
use shoal_proto::roster::{Described, DeviceName, Entry, Kept, NewSecret, Role, Statement};

use crate::users::Step;
use crate::world::World;

const MINUTE: Duration = Duration::from_secs(60);

/// A moment in which a message goes from one device to another and is heard, and no dialling is over.
const MOMENT: Duration = Duration::from_secs(2);

/// Whether it knows that it is no member.
fn is_out(w: &mut World, name: &str) -> bool {
    matches!(w.on(name).phase(), Some(Phase::Halted(Halt::Removed { .. })))
}

/// Who is connected with whom at a device, by their names.
fn connected(w: &mut World, name: &str) -> BTreeSet<String> {
    let ids: Vec<_> =
        w.on(name).status().map(|status| status.peers.into_keys().collect()).unwrap_or_default();
    let name_of = |id| w.devices.iter().find(|device| device.id() == id).map(|device| device.name.clone());
    ids.into_iter().filter_map(name_of).collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

/// How many secrets a device knows that the roster has told it.
fn secrets(w: &mut World, name: &str) -> usize {
    let device = w.devices.iter().find(|device| device.name == name).unwrap();
    let open = |secret: &NewSecret| secret.sealed.contains_key(&device.id());
    device.index.roster().secrets().iter().filter(|secret| open(secret)).count()
}

/// A world in which all have met, and all have said what secrets for them are sealed to: who founded the share, too.
fn met<const N: usize>(seed: u64, names: [&str; N]) -> World {
    let mut w = World::seeded(seed).peers(names).share("notes");
    w.right_clocks();
    ana_is_described(&mut w);
    w.on("ana").write("a", "1");
    w.settle();
    w
}

/// All have met; then ana, who founded the share, says what secrets for it are sealed to.
pub(super) fn ana_is_described(w: &mut World) {
    w.settle();
    let share = w.share();
    w.signs("ana", |key, _, _| {
        let described = Described { name: DeviceName::parse("ana").unwrap(), box_key: key.box_key() };
        Ok(vec![Entry::sign(key, &share, None, Statement::Device(described)).unwrap()])
    });
}

#[test]
fn i26_a_removal_by_a_running_admin_is_heeded_by_all_at_once() {
    let mut w = met(501, ["ana", "ben", "cleo"]);
    w.on("cleo").write("of cleo", "stays");
    w.settle().removes("ana", "cleo").pass(MOMENT);
    assert!(is_out(&mut w, "cleo"), "it was told");
    for name in ["ana", "ben"] {
        let other = if name == "ana" { "ben" } else { "ana" };
        assert_eq!(connected(&mut w, name), names([other]), "at {name}");
        assert_eq!(secrets(&mut w, name), 1, "at {name}");
    }
    assert_eq!(secrets(&mut w, "cleo"), 0);
    // What is new goes to members alone, and nothing new comes from it.
    w.on("ana").write("b", "not for cleo").write("of cleo", "edited");
    w.on("cleo").write("late", "by cleo");
    w.pass(MINUTE * 10);
    w.on("cleo").assert_nothing_at("b").assert_reads("of cleo", "stays");
    for name in ["ana", "ben"] {
        w.on(name)
            .assert_reads("b", "not for cleo")
            .assert_reads("of cleo", "edited")
            .assert_nothing_at("late");
        assert!(w.on(name).is_in_sync(), "{name}");
    }
    assert!(connected(&mut w, "cleo").is_empty());
    w.on("cleo").crash().restart();
    w.pass(MINUTE * 10).on("cleo").assert_nothing_at("b");
    assert!(is_out(&mut w, "cleo"), "also after a restart");
}

/// Whatever it was doing at that moment: that it is out is the last that it is told, and it may hear that the connection is
/// over while its index still works on something else.
#[test]
fn i26_who_is_removed_while_connected_learns_of_it() {
    for seed in 520..540 {
        let mut w = met(seed, ["ana", "ben", "cleo"]);
        w.on("ana").unpack("d", 30);
        w.pass(Duration::from_millis(50 * (seed - 519)));
        w.removes("ana", "cleo").pass(MINUTE);
        assert!(is_out(&mut w, "cleo"), "seed {seed}");
        assert_eq!((connected(&mut w, "ana"), connected(&mut w, "ben")), (names(["ben"]), names(["ana"])));
    }
}

/// The others heard of it while it was away: it is refused and told so, and serves nobody.
#[test]
fn i26_who_was_removed_while_it_was_away_gets_nothing_more() {
    let mut w = met(502, ["ana", "ben", "cleo"]);
    w.on("cleo").crash();
    w.removes("ana", "cleo").pass(MOMENT);
    w.on("ben").write("b", "not for cleo");
    w.pass(MINUTE).on("cleo").restart();
    w.pass(MINUTE * 10).on("cleo").assert_nothing_at("b");
    assert!(connected(&mut w, "cleo").is_empty() && is_out(&mut w, "cleo"));
    w.on("ana").assert_reads("b", "not for cleo");
}

#[test]
fn i26_a_new_secret_keeps_members_together_and_reaches_who_was_away() {
    let mut w = met(503, ["ana", "ben", "cleo"]);
    w.on("cleo").crash();
    w.pass(MINUTE);
    let lives: Vec<u64> = w.devices.iter().map(|device| device.index.life().counter).collect();
    w.rotates("ana").pass(MOMENT);
    assert_eq!((secrets(&mut w, "ana"), secrets(&mut w, "ben")), (1, 1));
    assert_eq!(connected(&mut w, "ben"), names(["ana"]), "nobody had to hang up");
    w.on("ben").write("b", "2");
    w.look().on("ana").assert_reads("b", "2");
    // Who only knows the secret of its invite is still let in, and told the new one.
    w.on("cleo").restart();
    w.settle().on("cleo").assert_reads("b", "2");
    assert_eq!(secrets(&mut w, "cleo"), 1);
    w.settle().assert_all();
    assert_eq!(w.devices[0].index.life().counter, lives[0], "what had been said stood");
}

#[test]
fn who_leaves_says_so_and_speaks_no_more() {
    let mut w = met(504, ["ana", "ben", "cleo"]);
    w.on("cleo").write("of cleo", "stays");
    w.settle().leaves("cleo").pass(MOMENT);
    assert!(is_out(&mut w, "cleo"));
    for name in ["ana", "ben"] {
        assert!(!connected(&mut w, name).contains("cleo"), "at {name}");
        w.on(name).assert_reads("of cleo", "stays");
    }
    w.on("cleo").write("late", "by cleo");
    w.on("ana").write("b", "not for cleo");
    w.pass(MINUTE * 10).on("cleo").assert_nothing_at("b");
    w.on("ben").assert_nothing_at("late").assert_reads("of cleo", "stays");
}

/// Nobody could be told when it left; whoever meets it next is.
#[test]
fn who_left_alone_tells_whom_it_meets() {
    let mut w = met(505, ["ana", "ben", "cleo"]);
    w.part(&[&["ana", "ben"]]).leaves("cleo").pass(MINUTE);
    assert!(is_out(&mut w, "cleo"));
    w.on("ana").write("b", "not for cleo");
    w.heal().pass(MINUTE * 5);
    let cleo = w.devices[2].id();
    for device in &w.devices {
        assert!(device.index.roster().removed(&cleo).is_some(), "{} knows", device.name);
    }
    w.on("cleo").assert_nothing_at("b");
}

/// That a person is asked something else does not hide it, and their yes does not end it.
#[test]
fn i26_who_is_removed_while_a_guard_asks_is_removed() {
    let mut w = met(506, ["ana", "ben", "cleo"]);
    w.on("ana").unpack("d", 24);
    w.settle();
    w.on("cleo").unwatched(&Step::RemoveAll("d".to_owned()));
    w.look();
    assert!(matches!(w.on("cleo").phase(), Some(Phase::Halted(Halt::Emptied { .. }))));
    w.removes("ana", "cleo").pass(MINUTE);
    assert!(is_out(&mut w, "cleo"));
    w.on("cleo").command(Command::Resume);
    w.pass(MINUTE).on("ana").assert_reads("a", "1");
    assert!(is_out(&mut w, "cleo"));
    assert_eq!(w.on("ben").paths().len(), 26);
}

/// Who is let in again by who removed it goes on as if it had been away.
#[test]
fn who_is_let_in_again_goes_on() {
    let mut w = met(507, ["ana", "ben", "cleo"]);
    w.removes("ana", "cleo").pass(MINUTE);
    assert!(is_out(&mut w, "cleo"));
    w.on("ben").write("b", "2");
    let (share, cleo) = (w.share(), w.devices[2].id());
    w.signs("ana", |key, index, _| {
        let after = index.roster().last_entry(&key.device());
        let statement = Statement::Role { about: cleo, role: Role::Writer, kept: Kept::default() };
        Ok(vec![Entry::sign(key, &share, after, statement).unwrap()])
    });
    w.rotates("ana").pass(MINUTE * 5);
    w.on("cleo").assert_reads("b", "2").write("c", "of cleo again");
    w.settle().assert_all_read("c", "of cleo again").assert_all();
}
