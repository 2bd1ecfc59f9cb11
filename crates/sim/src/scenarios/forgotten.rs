//! Stories of devices that lose their index after somebody was removed, and are called by the removed one first.

use core::time::Duration;
use std::collections::BTreeSet;

use shoal_engine::status::{Halt, Phase};
use shoal_proto::message::Refusal;
use shoal_proto::roster::Role;

use super::roster::ana_is_described;
use crate::world::World;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// Ana, who has founded the share, ben and cleo have met; then cleo is away, is removed, and something new comes that is not
/// for it. Nobody reaches anybody in the end. The invites of all are good for two days.
fn removed(seed: u64) -> World {
    let mut w = World::seeded(seed).peers(["ana", "ben", "cleo"]).invites_last(HOUR * 48).share("notes");
    w.right_clocks();
    ana_is_described(&mut w);
    w.on("ana").write("a", "1");
    w.settle().on("cleo").crash();
    w.removes("ana", "cleo").pass(MINUTE);
    w.on("ana").write("b", "not for cleo");
    w.linger().part(&[]);
    w
}

/// Whether a device knows that it is no member.
fn is_out(w: &mut World, name: &str) -> bool {
    let phase = w.on(name).phase();
    matches!(phase, Some(Phase::Halted(Halt::Removed { .. } | Halt::Refused(Refusal::Removed))))
}

/// What a device is at another one.
fn role(w: &World, at: &str, of: &str) -> Option<Role> {
    let device = |name: &str| w.devices.iter().find(|device| device.name == name).unwrap();
    device(at).index.roster().role(&device(of).id())
}

/// The one that is removed is the first that it meets; then the others, who are in sync with it as ever.
fn refuses_cleo(mut w: World, name: &str) {
    w.part(&[&[name, "cleo"]]).on("cleo").restart();
    w.pass(MINUTE * 10).on("cleo").assert_reads("a", "1").assert_nothing_at("b");
    assert_eq!(role(&w, name, "cleo"), None, "it was let in");
    assert_eq!(is_out(&mut w, "cleo"), name == "ana", "a member that did not invite it cannot know");
    w.on(name).assert_reads("b", "not for cleo");
    w.on("cleo").write("of cleo", "late");
    w.on("cleo").retire();
    w.on("ben").write("c", "by ben");
    w.heal().settle().assert_all_read("b", "not for cleo").assert_all_read("c", "by ben");
    w.assert_all_lack("of cleo").assert_all();
    assert_eq!(role(&w, name, "cleo"), None);
}

/// T9: its invite is still good.
#[test]
fn i26_a_founder_that_lost_its_index_knows_who_was_removed() {
    let mut w = removed(601);
    w.on("ana").lose_index();
    refuses_cleo(w, "ana");
}

/// T9: and so when all invites are over: the founder needs no clock to know its members again.
#[test]
fn i26_a_founder_that_lost_its_index_knows_its_members_by_more_than_their_invites() {
    let mut w = removed(602);
    w.pass(HOUR * 50).on("ana").lose_index();
    refuses_cleo(w, "ana");
}

#[test]
fn i26_a_member_that_lost_its_index_knows_who_was_removed() {
    for hours in [0, 50] {
        let mut w = removed(603);
        w.pass(HOUR * hours).on("ben").lose_index();
        refuses_cleo(w, "ben");
    }
}

/// What was said since is known from what was kept outside of it.
#[test]
fn i26_an_index_that_is_put_back_to_before_a_removal_knows_of_it() {
    let mut w = World::seeded(604).peers(["ana", "ben", "cleo"]).share("notes");
    w.right_clocks().settle().on("ana").back_up().write("a", "1");
    w.settle().on("cleo").crash();
    w.removes("ana", "cleo").pass(MINUTE).on("ana").write("b", "not for cleo");
    w.linger().part(&[]).on("ana").put_back(crate::faults::Part::Index);
    refuses_cleo(w, "ana");
}

/// What it signs next follows what it signed last, though it has met nobody since: a chain that forks is a chain of which less
/// counts.
#[test]
fn i18_who_lost_its_index_signs_on_where_it_was() {
    let mut w = removed(607);
    w.on("cleo").retire();
    w.on("ana").lose_index();
    w.pass(MINUTE).rotates("ana").pass(MINUTE).heal().settle().assert_all();
    let ana = w.devices[0].id();
    for device in &w.devices[..2] {
        assert_eq!(device.index.roster().last_entries(&ana).map(BTreeSet::len), Some(1), "{}", device.name);
        assert_eq!(device.index.roster().secrets().len(), 2, "{}", device.name);
    }
}

/// Who was there when it was removed needs nobody to tell it again.
#[test]
fn i26_who_was_removed_and_lost_its_index_knows_that_it_was_removed() {
    let mut w = World::seeded(605).peers(["ana", "ben", "cleo"]).share("notes");
    w.right_clocks().settle().on("ana").write("a", "1");
    w.settle().removes("ana", "cleo").pass(MINUTE);
    w.part(&[]).on("ana").write("b", "not for cleo");
    w.on("cleo").lose_index();
    w.pass(MINUTE);
    assert!(is_out(&mut w, "cleo"), "it has met nobody");
    // Where that is lost, too, it is told again.
    w.on("cleo").lose_index_and_roster();
    w.pass(MINUTE);
    assert!(!is_out(&mut w, "cleo"));
    w.heal().pass(MINUTE * 10);
    assert!(is_out(&mut w, "cleo"));
    w.on("cleo").assert_nothing_at("b").assert_reads("a", "1");
}

/// Where all that was known of the roster is lost, too, a device that was removed is not let in by an invite that has
/// expired. Members whose invites have expired as well are let in once another one tells of them.
#[test]
fn i26_a_founder_that_knows_nobody_is_told_of_its_members_by_each_other() {
    let names = ["ana", "ben", "cleo", "dan"];
    let mut w = World::seeded(606).peers(names).invites_last(HOUR * 48).share("notes");
    w.right_clocks().settle().on("ana").write("a", "1");
    w.settle().on("cleo").crash();
    w.removes("ana", "cleo").pass(MINUTE).on("ana").write("b", "not for cleo");
    w.linger().part(&[]).pass(HOUR * 50).on("ana").lose_index_and_roster();
    w.part(&[&["ana", "cleo"]]).on("cleo").restart();
    w.pass(MINUTE * 10).on("cleo").assert_nothing_at("b");
    assert_eq!(role(&w, "ana", "cleo"), None);
    w.part(&[&["ana", "ben"]]).pass(MINUTE * 10);
    assert_eq!(role(&w, "ana", "ben"), Some(Role::Writer), "cleo has told of it");
    w.on("cleo").retire();
    w.heal().settle().assert_all_read("b", "not for cleo").assert_all();
    assert_eq!(role(&w, "ana", "cleo"), None);
}
