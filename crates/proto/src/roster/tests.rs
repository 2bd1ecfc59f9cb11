//! Stories about who belongs, and random ones.
//!
//! Devices have numbers; 0 is the creator.

use proptest::prelude::*;

use super::*;
use crate::cut::CUT;
use crate::hash::RecordHash;
use crate::id::WriterSalt;
use crate::key::testing::{TestRng, device_key};
use crate::key::{InviteSecret, KeyError};
use crate::limits::{CHAIN_ENTRIES_MAX, ENTRY_BYTES_MAX, KEPT_PUBLICATIONS_MAX, SEALED_MAX};
use crate::publication::Publication;
use crate::secret::ShareSecret;
use crate::signed::SignedError;

const NOW: u64 = 1_795_000_000;

fn id(device: u64) -> DeviceId {
    device_key(device).device()
}

fn described(device: u64) -> Described {
    let name = DeviceName::parse(&format!("device {device}")).unwrap();
    Described { name, box_key: device_key(device).box_key() }
}

/// An invite that was handed out: its key and the admin's word.
#[derive(Clone)]
struct Handed(InviteSecret, Delegation);

/// Bytes of each sort that a fuzzer can begin with.
pub(crate) fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let mut world = World::founded();
    let Handed(_, delegation) = world.invites(0, Role::Writer, 1);
    let entry = [&world.share().as_bytes()[..], &world.entries[0].encode()].concat();
    let founding = world.founding.encode().to_vec();
    vec![("entry", entry), ("delegation", delegation.encode()), ("founding", founding)]
}

/// A share whose devices see each other's entries at once, unless a test says otherwise.
#[derive(Clone)]
struct World {
    founding: Founding,
    entries: Vec<Entry>,
    last: BTreeMap<u64, EntryPlace>,
    invites: u8,
}

impl World {
    /// A share with its creator, which has said what it is called.
    fn founded() -> Self {
        let founding = Founding { creator: id(0), random: [5; 32], cut: CUT };
        let mut world = Self { founding, entries: vec![], last: BTreeMap::new(), invites: 0 };
        world.says(0, Statement::Device(described(0)));
        world
    }

    fn share(&self) -> ShareId {
        self.founding.share()
    }

    fn roster(&self) -> Roster {
        Roster::of(&self.founding, &self.entries)
    }

    fn role(&self, device: u64) -> Option<Role> {
        self.roster().role(&id(device))
    }

    /// Why this entry does not count.
    fn void(&self, entry: EntryHash) -> Option<Void> {
        self.roster().void().get(&entry).copied()
    }

    fn says(&mut self, device: u64, statement: Statement) -> EntryHash {
        let after = self.last.get(&device).copied();
        let entry = Entry::sign(&device_key(device), &self.share(), after, statement).unwrap();
        self.last.insert(device, entry.place());
        self.entries.push(entry.clone());
        entry.hash()
    }

    fn invites(&mut self, by: u64, role: Role, uses: u16) -> Handed {
        self.invites += 1;
        let secret = InviteSecret::from_seed(&[self.invites; 32]);
        let offer = Offer { role, uses, not_after: NOW + 86_400 };
        let after = self.last.get(&by).copied();
        let delegation =
            Delegation::sign(&device_key(by), &self.share(), secret.key(), offer, after).unwrap();
        Handed(secret, delegation)
    }

    fn joins(&mut self, device: u64, invite: &Handed) -> EntryHash {
        let Handed(secret, delegation) = invite;
        let joined = Joined::by(secret, *delegation, &self.share(), &id(device), described(device));
        self.says(device, Statement::Joined(Box::new(joined)))
    }

    /// Comes in by an own invite.
    fn lets_in(&mut self, by: u64, device: u64, role: Role) -> EntryHash {
        let invite = self.invites(by, role, 1);
        self.joins(device, &invite)
    }

    /// Comes in, and is made admin by who let it in.
    fn makes_admin(&mut self, by: u64, device: u64) {
        self.lets_in(by, device, Role::Writer);
        self.gives(by, device, Role::Admin);
    }

    fn gives(&mut self, by: u64, device: u64, role: Role) -> EntryHash {
        let kept = self.roster().kept(&id(device), &BTreeMap::new());
        self.says(by, Statement::Role { about: id(device), role, kept })
    }

    /// Removes, with all that counts by now named.
    fn removes(&mut self, by: u64, device: u64) -> EntryHash {
        let kept = self.roster().kept(&id(device), &BTreeMap::new());
        self.says(by, Statement::Removed { about: id(device), kept })
    }

    fn leaves(&mut self, device: u64) -> EntryHash {
        let kept = self.roster().kept(&id(device), &BTreeMap::new());
        self.says(device, Statement::Left { kept })
    }

    fn entries(&self) -> Entries {
        let mut entries = Entries::new(self.founding);
        for entry in &self.entries {
            entries.insert(entry.clone()).unwrap();
        }
        entries
    }
}

#[test]
fn the_creator_is_admin_and_others_come_in_by_its_invites() {
    let mut world = World::founded();
    assert_eq!(world.role(0), Some(Role::Admin));
    assert_eq!(world.role(1), None);
    world.lets_in(0, 1, Role::Writer);
    world.lets_in(0, 2, Role::Reader);
    assert_eq!((world.role(1), world.role(2)), (Some(Role::Writer), Some(Role::Reader)));
    let roster = world.roster();
    assert!(roster.void().is_empty());
    let members: Vec<_> = roster.members().collect();
    assert_eq!(members.len(), 3);
    let one = members.iter().find(|member| member.device == id(1)).unwrap();
    assert_eq!((one.added_by, one.box_key), (Some(id(0)), Some(device_key(1).box_key())));
    assert_eq!(one.name.unwrap().to_string(), "device 1");
    assert_eq!(roster.last_entry(&id(1)), world.last.get(&1).copied());
}

#[test]
fn a_device_is_called_what_it_said_last() {
    let mut world = World::founded();
    world.lets_in(0, 1, Role::Reader);
    let name = DeviceName::parse("thinkpad\u{1b}[2J\u{202e} 'é'").unwrap();
    world.says(1, Statement::Device(Described { name, ..described(1) }));
    assert_eq!(world.roster().name(&id(1)).unwrap().to_string(), "thinkpad\\u{1b}[2J\\u{202e} 'é'");
}

#[test]
fn only_admins_let_in_and_strangers_and_other_shares_change_nothing() {
    let mut world = World::founded();
    world.lets_in(0, 1, Role::Writer);
    let by_writer = world.lets_in(1, 2, Role::Reader);
    let by_stranger = world.lets_in(7, 8, Role::Writer);
    let about = id(1);
    let stranger = world.says(9, Statement::Removed { about, kept: Kept::default() });
    let nobody = world.says(0, Statement::Removed { about: id(66), kept: Kept::default() });
    for device in [2, 7, 8, 9] {
        assert_eq!(world.role(device), None, "{device}");
    }
    assert_eq!(world.role(1), Some(Role::Writer));
    assert_eq!(world.void(by_writer), Some(Void::NoAdmin));
    assert_eq!(world.void(by_stranger), Some(Void::NoAdmin));
    assert_eq!(world.void(stranger), Some(Void::NotAbove(id(1))));
    assert_eq!(world.void(nobody), Some(Void::NoMember(id(66))));

    let other = Founding { random: [6; 32], ..world.founding };
    let elsewhere = Roster::of(&other, &world.entries);
    assert_eq!(elsewhere.members().count(), 1);
    assert!(elsewhere.void().values().all(|void| *void == Void::OtherShare));
}

/// F13: half of the devices hear one first, half the other: they must not end up with two rosters.
#[test]
fn two_admins_cannot_remove_each_other() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.makes_admin(0, 2);
    let one = world.removes(1, 2);
    let other = world.removes(2, 1);
    assert_eq!((world.role(1), world.role(2)), (Some(Role::Admin), Some(Role::Admin)));
    assert_eq!(world.void(one), Some(Void::NotAbove(id(2))));
    assert_eq!(world.void(other), Some(Void::NotAbove(id(1))));
}

#[test]
fn nobody_removes_who_stands_above_or_beside_or_the_creator() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.makes_admin(1, 2);
    world.makes_admin(0, 3);
    world.lets_in(3, 4, Role::Reader);
    for (by, about) in [(2, 1), (2, 0), (1, 0), (1, 3), (1, 4), (2, 4), (2, 2)] {
        let before = world.role(about);
        let removal = world.removes(by, about);
        assert_eq!(world.role(about), before, "{by} removes {about}");
        assert_eq!(world.void(removal), Some(Void::NotAbove(id(about))));
    }
    world.removes(1, 2);
    assert_eq!(world.role(2), None);
    let removal = *world.roster().removed(&id(2)).unwrap();
    assert_eq!((removal.by, removal.entry), (id(1), world.last[&1].hash));
    world.removes(0, 4);
    assert_eq!(world.role(4), None, "from two steps above");
    assert_eq!(world.roster().removals().count(), 2);
}

#[test]
fn t9_a_removal_cuts_off_who_was_let_in_later_but_not_earlier() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.lets_in(1, 2, Role::Writer);
    world.makes_admin(1, 3);
    world.lets_in(3, 4, Role::Reader);
    world.removes(0, 1);
    let late = world.lets_in(1, 5, Role::Writer);
    let demotion = world.gives(1, 3, Role::Reader);
    assert_eq!(world.role(1), None);
    assert_eq!((world.role(2), world.role(3)), (Some(Role::Writer), Some(Role::Admin)));
    assert_eq!((world.role(4), world.role(5)), (Some(Role::Reader), None));
    assert_eq!((world.void(late), world.void(demotion)), (Some(Void::Cut), Some(Void::Cut)));
    world.removes(0, 2);
    assert_eq!(world.role(2), None, "who stood above the removed one still stands above its own");
}

/// F13: numbers and dates do not count, hashes do.
#[test]
fn t9_what_a_removed_admin_backdates_is_void() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.lets_in(1, 2, Role::Writer);
    let before = world.last[&1];
    world.gives(1, 2, Role::Reader);
    world.removes(0, 1);
    // It goes back to before its last entry, signs another one with the same number, and an invite.
    world.last.insert(1, before);
    let backdated = world.gives(1, 2, Role::Admin);
    let invited = world.lets_in(1, 3, Role::Writer);
    assert_eq!(world.role(2), Some(Role::Reader));
    assert_eq!(world.role(3), None);
    assert_eq!((world.void(backdated), world.void(invited)), (Some(Void::Cut), Some(Void::Cut)));
}

#[test]
fn t9_an_unused_invite_of_a_removed_admin_lets_nobody_in() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    let invite = world.invites(1, Role::Writer, 5);
    world.joins(2, &invite);
    world.removes(0, 1);
    let late = world.joins(3, &invite);
    assert_eq!((world.role(2), world.role(3)), (Some(Role::Writer), None));
    assert_eq!(world.void(late), Some(Void::Cut));
}

#[test]
fn a_removed_device_stays_out_until_who_removed_it_or_one_nearer_lets_it_in() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.makes_admin(0, 2);
    let old = world.invites(1, Role::Writer, 9);
    world.lets_in(1, 3, Role::Writer);
    world.removes(1, 3);
    assert_eq!(world.role(3), None);
    world.joins(3, &old);
    assert_eq!(world.role(3), None, "by an invite from before the removal");
    let mut nearer = world.clone();
    nearer.lets_in(2, 3, Role::Writer);
    assert_eq!(nearer.role(3), None, "by an admin on the level of who removed it");
    world.lets_in(1, 3, Role::Reader);
    assert_eq!(world.role(3), Some(Role::Reader), "by who removed it");
    world.removes(1, 3);
    world.gives(1, 3, Role::Writer);
    assert_eq!(world.role(3), Some(Role::Writer), "without an invite too");
    nearer.lets_in(0, 3, Role::Reader);
    assert_eq!(nearer.role(3), Some(Role::Reader), "by the creator");
    nearer.removes(1, 3);
    assert_eq!(nearer.role(3), Some(Role::Reader), "and now it stands below the creator");
}

/// Forking its own chain, a device could otherwise choose whom it stood below from the start.
#[test]
fn a_removed_device_does_not_come_back_by_forking_its_chain() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.makes_admin(0, 2);
    world.lets_in(1, 3, Role::Writer);
    world.removes(1, 3);
    world.last.remove(&3);
    world.lets_in(2, 3, Role::Writer);
    assert_eq!(world.role(3), None);
}

/// Nor does it take those whom it let in to another branch of the tree, where who removed it could not reach
/// them.
#[test]
fn a_removed_admin_does_not_take_its_own_to_another_branch() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.makes_admin(0, 2);
    let joined = world.lets_in(1, 3, Role::Writer);
    world.gives(1, 3, Role::Admin);
    world.lets_in(3, 4, Role::Writer);
    world.removes(1, 3);
    loop {
        world.last.remove(&3);
        if world.lets_in(2, 3, Role::Writer) < joined {
            break;
        }
    }
    assert_eq!((world.role(3), world.role(4)), (None, Some(Role::Writer)));
    world.removes(2, 4);
    assert_eq!(world.role(4), Some(Role::Writer));
    world.removes(1, 4);
    assert_eq!(world.role(4), None);
}

#[test]
fn the_word_nearest_to_the_creator_counts_then_the_later_one() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.lets_in(1, 2, Role::Reader);
    world.gives(1, 2, Role::Writer);
    assert_eq!(world.role(2), Some(Role::Writer));
    world.gives(1, 2, Role::Reader);
    assert_eq!(world.role(2), Some(Role::Reader));
    world.gives(0, 2, Role::Admin);
    world.removes(1, 2);
    assert_eq!(world.role(2), Some(Role::Admin));
    world.removes(0, 2);
    world.gives(1, 2, Role::Admin);
    assert_eq!(world.role(2), None);
}

#[test]
fn an_invite_gives_and_never_takes() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.lets_in(0, 2, Role::Writer);
    world.lets_in(0, 2, Role::Reader);
    assert_eq!(world.role(2), Some(Role::Writer));
    world.lets_in(0, 1, Role::Reader);
    assert_eq!(world.role(1), Some(Role::Admin));
    world.gives(0, 2, Role::Reader);
    assert_eq!(world.role(2), Some(Role::Reader), "but saying so takes");
    world.lets_in(0, 2, Role::Writer);
    assert_eq!(world.role(2), Some(Role::Writer), "and a later invite gives again");
}

/// F14 (b): two members who hear of each other later let in one each by an invite for one.
#[test]
fn an_invite_lets_in_as_many_as_it_says_the_lowest_hashes_first() {
    let mut world = World::founded();
    let invite = world.invites(0, Role::Writer, 2);
    for device in 1..6 {
        // What else they sign before gives no place in the row.
        for _ in 1..device {
            world.says(device, Statement::Device(described(device)));
        }
    }
    let mut came: Vec<_> = (1..6).map(|device| (world.joins(device, &invite), device)).collect();
    assert!(!came.is_sorted(), "else this tests nothing");
    came.sort_unstable();
    for (at, (entry, device)) in came.iter().enumerate() {
        assert_eq!(world.role(*device), (at < 2).then_some(Role::Writer));
        assert_eq!(world.void(*entry), (at >= 2).then_some(Void::UsedUp));
    }
    let again = world.joins(came[0].1, &invite);
    assert_eq!(world.void(again), None, "the same device again takes no more room");
    assert_eq!(world.role(came[1].1), Some(Role::Writer));
}

#[test]
fn revoking_an_invite_names_who_stays() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    let invite = world.invites(1, Role::Writer, 1);
    let key = invite.1.invite;
    let first = world.joins(2, &invite);
    // Used up: the admin closes it, and nobody can push the first one out with a lower hash.
    world.says(1, Statement::Revoked { invite: key, admitted: BTreeSet::from([first]) });
    let late: Vec<_> = (3..9).map(|device| world.joins(device, &invite)).collect();
    assert!(late.iter().any(|late| *late < first), "else this tests nothing");
    assert_eq!(world.role(2), Some(Role::Writer));
    for entry in &late {
        assert_eq!(world.void(*entry), Some(Void::Revoked));
    }
    // Who is to stay is named each time.
    let mut twice = world.clone();
    twice.says(1, Statement::Revoked { invite: key, admitted: BTreeSet::from([late[0]]) });
    assert_eq!((twice.role(2), twice.role(3)), (None, None));
    // By one who stands above, everybody.
    let mut above = world.clone();
    above.says(0, Statement::Revoked { invite: key, admitted: BTreeSet::new() });
    assert_eq!(above.role(2), None);
    // By others it cannot be revoked.
    world.makes_admin(0, 10);
    world.says(10, Statement::Revoked { invite: key, admitted: BTreeSet::new() });
    world.says(2, Statement::Revoked { invite: key, admitted: BTreeSet::new() });
    assert_eq!(world.role(2), Some(Role::Writer));
}

#[test]
fn who_leaves_is_out_until_it_comes_in_again() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.lets_in(1, 2, Role::Reader);
    let left = world.leaves(1);
    assert_eq!(world.role(1), None);
    let removal = *world.roster().removed(&id(1)).unwrap();
    assert_eq!((removal.by, removal.entry), (id(1), left));
    assert_eq!(world.role(2), Some(Role::Reader), "whom it let in before stays");
    world.lets_in(1, 3, Role::Writer);
    assert_eq!(world.role(3), None);
    world.gives(0, 1, Role::Writer);
    assert_eq!(world.role(1), None, "nobody is made to belong");
    world.lets_in(0, 1, Role::Reader);
    assert_eq!(world.role(1), Some(Role::Writer), "an invite gives, and what was given openly stays");
}

/// What a device names as still counting when it leaves is what it had a right to.
#[test]
fn i26_nobody_gains_by_leaving() {
    let mut world = World::founded();
    world.lets_in(0, 1, Role::Writer);
    world.lets_in(0, 2, Role::Reader);
    let secret = Statement::Secret { epoch: 99, id: SecretId::from_bytes([1; 32]), sealed: BTreeMap::new() };
    let bogus = world.says(1, secret);
    let invited = world.lets_in(1, 5, Role::Writer);
    let writer = Writer::from_bytes([1; 8]);
    let last = Place { sequence: 3, hash: PublicationHash::from_bytes([4; 32]) };
    let kept = Kept {
        entries: BTreeSet::from([bogus]),
        publications: BTreeMap::from([(writer, BTreeSet::from([last]))]),
        admitted: BTreeSet::from([invited]),
    };
    world.says(1, Statement::Left { kept: kept.clone() });
    world.says(2, Statement::Left { kept });
    let roster = world.roster();
    assert_eq!((roster.newest_secret(), roster.role(&id(5))), (None, None));
    assert_eq!(roster.allowed(&id(1), writer), Allowed::UpTo(&BTreeSet::from([last])), "it was a writer");
    assert_eq!(roster.allowed(&id(2), writer), Allowed::Void, "it was a reader");
    assert_eq!(roster.void().get(&bogus), Some(&Void::NoAdmin));
}

#[test]
fn an_entry_waits_for_the_one_before_it() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.lets_in(1, 2, Role::Writer);
    world.removes(1, 2);
    let promotion =
        world.entries.iter().position(|entry| entry.signer() == &id(0) && entry.place().sequence == 1);
    let promotion = world.entries.remove(promotion.unwrap());
    assert_eq!((world.role(1), world.role(2)), (Some(Role::Writer), None));
    world.entries.push(promotion);
    assert_eq!(world.role(1), Some(Role::Admin));

    let of_one = |entry: &Entry| entry.signer() == &id(1) && entry.place().sequence == 0;
    let first = world.entries.remove(world.entries.iter().position(of_one).unwrap());
    let roster = world.roster();
    assert_eq!((roster.role(&id(1)), roster.role(&id(2))), (None, None));
    assert_eq!(roster.missing().collect::<Vec<_>>(), [first.hash()]);
    assert_eq!(world.void(world.last[&1].hash), Some(Void::Gap(first.hash())));
    world.entries.push(first);
    assert!(world.roster().removed(&id(2)).is_some());
}

#[test]
fn an_entry_that_names_another_devices_as_the_one_before_it_never_counts() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.lets_in(1, 2, Role::Writer);
    world.last.insert(1, world.last[&2]);
    let wrong = world.removes(1, 2);
    assert_eq!(world.role(2), Some(Role::Writer));
    assert!(matches!(world.void(wrong), Some(Void::Gap(_))));
}

/// An admin whose disk was restored signs on from an older entry, without knowing. Neither branch is lost.
#[test]
fn both_branches_of_a_restored_chain_count_and_a_removal_keeps_both() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    let backup = world.last.get(&1).copied();
    let joined = world.lets_in(1, 2, Role::Reader);
    world.gives(1, 2, Role::Writer);
    world.last.insert(1, backup.unwrap());
    world.lets_in(1, 3, Role::Reader);
    let other = world.gives(1, 3, Role::Admin);
    assert_eq!((world.role(2), world.role(3)), (Some(Role::Writer), Some(Role::Admin)));
    let kept = world.roster().kept(&id(1), &BTreeMap::new());
    assert_eq!((kept.entries.len(), kept.entries.contains(&other)), (2, true));
    assert!(kept.admitted.contains(&joined));
    world.removes(0, 1);
    assert_eq!((world.role(2), world.role(3)), (Some(Role::Writer), Some(Role::Admin)));
}

/// A restored admin numbers from where its backup ends. What it takes must not lose against what it gave
/// before and does not remember, only because that has a higher number.
#[test]
fn what_a_restored_admin_takes_is_taken() {
    let mut world = World::founded();
    let backup = world.last[&0];
    world.lets_in(0, 1, Role::Writer);
    world.gives(0, 1, Role::Reader);
    let invite = world.invites(0, Role::Writer, 1);
    world.gives(0, 1, Role::Admin);
    let forgotten = world.last[&0];
    world.last.insert(0, backup);
    world.removes(0, 1);
    assert_eq!(world.role(1), None);
    world.joins(1, &invite);
    assert_eq!(world.role(1), None, "by an invite that the admin does not remember");
    assert_eq!(world.roster().last_entries(&id(0)).unwrap().len(), 2);
    let end = world.last[&0];
    world.last.insert(0, forgotten);
    world.gives(0, 1, Role::Writer);
    assert_eq!(world.role(1), None, "said on the branch without the removal");
    world.last.insert(0, end);
    world.lets_in(0, 1, Role::Reader);
    assert_eq!(world.role(1), Some(Role::Reader), "by an invite made after the removal");
}

#[test]
fn who_stands_too_deep_does_not_come_in() {
    let mut world = World::founded();
    for device in 1..=ROSTER_DEPTH_MAX as u64 {
        world.makes_admin(device - 1, device);
    }
    let deepest = ROSTER_DEPTH_MAX as u64;
    assert_eq!(world.role(deepest), Some(Role::Admin));
    let deeper = world.lets_in(deepest, deepest + 1, Role::Writer);
    assert_eq!((world.role(deepest + 1), world.void(deeper)), (None, Some(Void::TooDeep)));
    world.removes(0, deepest);
    assert_eq!(world.role(deepest), None);
}

#[test]
fn an_admin_who_becomes_a_writer_keeps_what_it_did_and_does_no_more() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.lets_in(1, 2, Role::Reader);
    world.gives(1, 2, Role::Writer);
    world.gives(0, 1, Role::Writer);
    let late = world.gives(1, 2, Role::Reader);
    let invited = world.lets_in(1, 3, Role::Reader);
    assert_eq!((world.role(1), world.role(2)), (Some(Role::Writer), Some(Role::Writer)));
    assert_eq!((world.void(late), world.void(invited)), (Some(Void::Cut), Some(Void::Cut)));
    assert_eq!(world.roster().allowed(&id(1), Writer::from_bytes([1; 8])), Allowed::All);
    world.gives(0, 1, Role::Admin);
    assert_eq!((world.role(2), world.role(3)), (Some(Role::Reader), Some(Role::Reader)));
}

/// What a device published, with its chain.
struct Published {
    writer: Writer,
    places: Vec<Place>,
    chain: Chain,
}

impl Published {
    fn by(device: u64, share: &ShareId, count: u8) -> Self {
        let salt = WriterSalt([1; 16]);
        let mut published = Self {
            writer: Writer::drawn(&id(device), share, &salt),
            places: vec![],
            chain: Chain::default(),
        };
        for record in 0..count {
            published.more(device, share, published.places.last().copied(), record);
        }
        published
    }

    fn more(&mut self, device: u64, share: &ShareId, after: Option<Place>, record: u8) -> Place {
        let records = [RecordHash::from_bytes([record; 32])];
        let salt = WriterSalt([1; 16]);
        let publication = Publication::sign(&device_key(device), share, salt, after, &records).unwrap();
        let hash = publication.verify(share).unwrap();
        assert_eq!(publication.writer(share), self.writer);
        self.chain.insert(hash, &publication);
        self.places.push(Place { sequence: publication.sequence, hash });
        Place { sequence: publication.sequence, hash }
    }

    fn up_to(&self, at: usize) -> BTreeMap<Writer, BTreeSet<Place>> {
        BTreeMap::from([(self.writer, BTreeSet::from([self.places[at]]))])
    }
}

/// F12 (d): the cut is at one place for everybody.
#[test]
fn i26_publications_count_by_role_and_by_what_a_removal_names() {
    let mut world = World::founded();
    let share = world.share();
    world.lets_in(0, 1, Role::Writer);
    world.lets_in(0, 2, Role::Reader);
    let mut one = Published::by(1, &share, 6);
    let two = Published::by(2, &share, 1);
    let nine = Published::by(9, &share, 1);
    let standing = |world: &World, device, of: &Published, at: Place| {
        world.roster().standing(&id(device), of.writer, at, &of.chain)
    };
    assert_eq!(standing(&world, 1, &one, one.places[5]), Standing::Counts);
    assert_eq!(standing(&world, 2, &two, two.places[0]), Standing::Reader);
    assert_eq!(standing(&world, 9, &nine, nine.places[0]), Standing::NotAMember);

    let kept = world.roster().kept(&id(1), &one.up_to(3));
    world.says(0, Statement::Removed { about: id(1), kept });
    let backdated = one.more(1, &share, Some(one.places[1]), 77);
    for (at, place) in one.places[..6].iter().enumerate() {
        let expected = if at <= 3 { Standing::Counts } else { Standing::Void };
        assert_eq!(standing(&world, 1, &one, *place), expected, "{at}");
    }
    assert_eq!(standing(&world, 1, &one, backdated), Standing::Void);
    let nothing = Chain::default();
    let roster = world.roster();
    let unknown = Standing::Unknown { ask_for: one.places[3].hash };
    assert_eq!(roster.standing(&id(1), one.writer, one.places[0], &nothing), unknown);
    assert_eq!(roster.standing(&id(1), one.writer, one.places[3], &nothing), Standing::Counts);
    assert_eq!(roster.standing(&id(1), one.writer, one.places[4], &nothing), Standing::Void);
    let other = Writer::from_bytes([3; 8]);
    assert_eq!(roster.standing(&id(1), other, one.places[0], &one.chain), Standing::Void);
}

#[test]
fn i26_a_writer_who_becomes_a_reader_keeps_what_it_published_and_a_reader_keeps_nothing() {
    let mut world = World::founded();
    let share = world.share();
    world.lets_in(0, 1, Role::Writer);
    world.lets_in(0, 2, Role::Reader);
    let one = Published::by(1, &share, 4);
    let two = Published::by(2, &share, 4);
    for (device, of) in [(1, &one), (2, &two)] {
        let kept = world.roster().kept(&id(device), &of.up_to(1));
        world.says(0, Statement::Role { about: id(device), role: Role::Reader, kept });
    }
    let roster = world.roster();
    let standings = |device, of: &Published| {
        of.places.iter().map(|at| roster.standing(&id(device), of.writer, *at, &of.chain)).collect::<Vec<_>>()
    };
    use Standing::{Counts, Reader, Void};
    assert_eq!(standings(1, &one), [Counts, Counts, Void, Void]);
    assert_eq!(standings(2, &two), [Reader; 4]);
    // Demoted once more, by one who names what it publishes as a reader: what counts is what counted.
    let kept = world.roster().kept(&id(1), &one.up_to(3));
    assert_eq!(kept.publications, one.up_to(1));
}

#[test]
fn the_newest_secret_is_of_the_highest_epoch_then_of_the_nearest_admin() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.lets_in(0, 2, Role::Writer);
    let mut rng = TestRng::seeded(1);
    let [first, second, third, fourth] = [1, 2, 3, 4].map(|byte| ShareSecret::from_bytes([byte; 32]));
    let announce = |world: &mut World, by: u64, secret: &ShareSecret, rng: &mut TestRng| {
        for entry in world.entries().new_secret(&device_key(by), secret, rng).unwrap() {
            world.last.insert(by, entry.place());
            world.entries.push(entry);
        }
    };
    announce(&mut world, 0, &first, &mut rng);
    assert_eq!(world.roster().newest_secret().unwrap().epoch, 0);
    let mut apart = world.clone();
    announce(&mut world, 1, &second, &mut rng);
    let newest = world.roster().newest_secret().unwrap().clone();
    assert_eq!((newest.epoch, newest.id), (1, second.id()));
    for device in [0, 1, 2] {
        let sealed = newest.sealed.get(&id(device)).unwrap();
        assert_eq!(ShareSecret::open(sealed, &device_key(device), &newest.id), Ok(second.clone()));
    }
    // The creator announced another one at the same time.
    announce(&mut apart, 0, &third, &mut rng);
    world.entries.extend(apart.entries);
    assert_eq!(world.roster().newest_secret().unwrap().id, third.id());
    let known: Vec<_> = world.roster().secrets().iter().map(|secret| secret.id).collect();
    assert_eq!(known, [third.id(), second.id(), first.id()]);

    let entries = world.entries();
    let refused = |by, secret: &ShareSecret| {
        entries.new_secret(&device_key(by), secret, &mut TestRng::seeded(1)).unwrap_err()
    };
    assert_eq!(refused(0, &first), SecretError::OldSecret);
    assert_eq!(refused(2, &fourth), SecretError::NoAdmin);
    let statement = Statement::Secret { epoch: u32::MAX, id: fourth.id(), sealed: BTreeMap::new() };
    let by_writer = world.says(2, statement);
    assert_eq!(world.void(by_writer), Some(Void::NoAdmin));
}

/// An admin that announced the last of all epochs could not be removed any more: its acts count on, and no secret
/// could follow.
#[test]
fn i30_nobody_uses_up_the_epochs() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    let mut secret = 0;
    let mut announces = |world: &mut World, epoch| {
        secret += 1;
        let id = ShareSecret::from_bytes([secret; 32]).id();
        (world.says(1, Statement::Secret { epoch, id, sealed: BTreeMap::new() }), id)
    };
    let (last, _) = announces(&mut world, u32::MAX);
    let (early, early_id) = announces(&mut world, 1);
    assert_eq!(world.void(last), Some(Void::Epoch(u32::MAX)));
    assert_eq!(world.void(early), Some(Void::Epoch(1)), "there is none of epoch 0");
    assert!(world.roster().newest_secret().is_none());

    let removed = |world: &World| {
        let (secret, mut rng) = (ShareSecret::from_bytes([99; 32]), TestRng::seeded(3));
        world.entries().removal(&device_key(0), id(1), &BTreeMap::new(), &secret, &mut rng).unwrap()
    };
    let epoch = |entries: &[Entry]| match entries[1].statement() {
        Statement::Secret { epoch, .. } => *epoch,
        other => panic!("{other:?}"),
    };
    assert_eq!(epoch(&removed(&world)), 0);
    // Once the gap is filled, what was early counts, and the entry that fills it may come last. Two of one epoch do.
    let (_, first) = announces(&mut world, 0);
    let (_, second) = announces(&mut world, 0);
    let ids: Vec<_> = world.roster().secrets().iter().map(|secret| secret.id).collect();
    let (lower, higher) = (first.min(second), first.max(second));
    assert_eq!(ids, [early_id, lower, higher]);
    assert_eq!((world.void(early), world.void(last)), (None, Some(Void::Epoch(u32::MAX))));
    // What it signed for the time after its removal then counts, and still does not hold.
    let (ahead, _) = announces(&mut world, 3);
    let signed = removed(&world);
    assert_eq!(epoch(&signed), 2);
    world.entries.extend(signed);
    assert_eq!((world.role(1), world.void(ahead)), (None, None));
    assert_eq!(world.roster().newest_secret().unwrap().id, ShareSecret::from_bytes([99; 32]).id());
    let (secret, mut rng) = (ShareSecret::from_bytes([98; 32]), TestRng::seeded(3));
    let next = world.entries().new_secret(&device_key(0), &secret, &mut rng).unwrap();
    assert!(matches!(next[0].statement(), Statement::Secret { epoch: 4, .. }));
    world.entries.extend(next);
    assert_eq!(world.roster().newest_secret().unwrap().id, secret.id());
}

#[test]
fn t9_a_removal_changes_the_secret_and_the_removed_device_is_not_told() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.lets_in(1, 2, Role::Writer);
    world.lets_in(0, 3, Role::Reader);
    let mut rng = TestRng::seeded(2);
    let secret = ShareSecret::from_bytes([8; 32]);
    let entries = world.entries();
    let remove = |by: u64, about: u64, rng: &mut TestRng| {
        entries.removal(&device_key(by), id(about), &BTreeMap::new(), &secret, rng)
    };
    assert_eq!(remove(1, 3, &mut rng).unwrap_err(), SecretError::NotAbove(id(3)));
    assert_eq!(remove(1, 1, &mut rng).unwrap_err(), SecretError::NotAbove(id(1)));
    assert_eq!(remove(2, 3, &mut rng).unwrap_err(), SecretError::NoAdmin);
    assert_eq!(remove(0, 9, &mut rng).unwrap_err(), SecretError::NotAbove(id(9)));
    let signed = remove(1, 2, &mut rng).unwrap();
    assert_eq!(signed.len(), 2);
    world.entries.extend(signed);
    let roster = world.roster();
    assert_eq!(roster.role(&id(2)), None);
    let newest = roster.newest_secret().unwrap();
    assert_eq!(newest.sealed.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([id(0), id(1), id(3)]));
}

/// By what it was not told a removed device is known to have been invited since.
#[test]
fn t9_a_removed_device_knows_what_it_was_told_and_nothing_later() {
    let mut world = World::founded();
    let mut rng = TestRng::seeded(3);
    let [first, second, third, fourth] = [1, 2, 3, 4].map(|byte| ShareSecret::from_bytes([byte; 32]));
    let mut announce = |world: &mut World, secret: &ShareSecret| {
        let signed = world.entries().new_secret(&device_key(0), secret, &mut rng).unwrap();
        world.last.insert(0, signed[0].place());
        world.entries.extend(signed);
    };
    // The first one it had with its invite, the second was told it.
    announce(&mut world, &first);
    world.lets_in(0, 1, Role::Writer);
    announce(&mut world, &second);
    let unknown = |world: &World| -> Vec<_> {
        world.roster().secrets_unknown_to(&id(1)).map(|secret| secret.id).collect()
    };
    assert_eq!(unknown(&world), []);
    world.removes(0, 1);
    assert_eq!(unknown(&world), [], "no other was announced");
    announce(&mut world, &third);
    announce(&mut world, &fourth);
    assert_eq!(unknown(&world), [fourth.id(), third.id()]);
    world.lets_in(0, 1, Role::Writer);
    assert_eq!(unknown(&world), [], "it is a member");
}

/// F14 (a): whoever is a member decides, no admin need be online.
#[test]
fn who_shows_an_invite_is_let_in_while_it_is_open() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    let invite = world.invites(1, Role::Writer, 1);
    let mut comers = world.clone();
    let entry = |world: &mut World, device, invite: &Handed| {
        world.joins(device, invite);
        world.entries.last().unwrap().clone()
    };
    let two = entry(&mut comers, 2, &invite);
    let three = entry(&mut comers, 3, &invite);
    let entries = world.entries();
    assert_eq!(entries.may_join(&two, NOW), Ok(Role::Writer));
    assert_eq!(entries.may_join(&two, NOW + 86_400), Err(JoinRefusal::Expired));
    assert_eq!(entries.may_join(&world.entries[0], NOW), Err(JoinRefusal::NoInvite));

    world.entries.push(two.clone());
    world.last.insert(2, two.place());
    assert_eq!(world.entries().may_join(&three, NOW), Err(JoinRefusal::UsedUp), "whichever hash is lower");
    assert_eq!(world.entries().may_join(&two, NOW), Err(JoinRefusal::Member));
    let by_writer = world.invites(2, Role::Reader, 1);
    let four = entry(&mut comers, 4, &by_writer);
    assert_eq!(world.entries().may_join(&four, NOW), Err(JoinRefusal::NoAdmin(id(2))));

    world.removes(1, 2);
    assert_eq!(world.entries().may_join(&two, NOW), Err(JoinRefusal::Removed(id(1))));
    let second = world.invites(1, Role::Reader, 1);
    let again = entry(&mut world.clone(), 2, &second);
    assert_eq!(world.entries().may_join(&again, NOW), Ok(Role::Reader));
    world.says(1, Statement::Revoked { invite: second.1.invite, admitted: BTreeSet::new() });
    assert_eq!(world.entries().may_join(&again, NOW), Err(JoinRefusal::Revoked));
    let other = Entries::new(Founding { random: [6; 32], ..world.founding });
    assert_eq!(other.may_join(&two, NOW), Err(JoinRefusal::Void(Void::OtherShare)));
}

/// F14 (c): what a joiner shows cannot be used by who sees it.
#[test]
fn nobody_is_enlisted_and_nobody_comes_in_by_an_invite_that_it_does_not_hold() {
    let mut world = World::founded();
    let share = world.share();
    let Handed(secret, delegation) = world.invites(0, Role::Writer, 1);
    let taken = Joined::by(&secret, delegation, &share, &id(1), described(1));
    let statement = Statement::Joined(Box::new(taken.clone()));
    let other = Entry::sign(&device_key(2), &share, None, statement.clone());
    assert_eq!(other.unwrap_err(), EntryError::NotInvited(id(2)), "what was signed for another device");

    let forged = InviteSecret::from_seed(&[99; 32]);
    let joined = Joined::by(&forged, delegation, &share, &id(1), described(1));
    let forged = Entry::sign(&device_key(1), &share, None, Statement::Joined(Box::new(joined)));
    assert_eq!(forged.unwrap_err(), EntryError::NotInvited(id(1)));

    // Somebody else signs that device 1 comes in: the device's signature is not its.
    let bytes = Entry::sign(&device_key(1), &share, None, statement).unwrap().encode();
    let mut enlisted = bytes;
    let signature = device_key(2).sign(&[0; 32]);
    let at = enlisted.len() - 64;
    enlisted[at..].copy_from_slice(signature.as_bytes());
    let error = EntryError::Key { signer: id(1), error: KeyError::Signature };
    assert_eq!(Entry::decode(&enlisted, &share).unwrap_err(), error);
}

/// One entry of each kind.
fn one_of_each() -> World {
    let mut world = World::founded();
    world.lets_in(0, 1, Role::Writer);
    let publications = BTreeMap::from([(
        Writer::from_bytes([2; 8]),
        BTreeSet::from([Place { sequence: 300, hash: PublicationHash::from_bytes([3; 32]) }]),
    )]);
    let kept = Kept { publications, ..world.roster().kept(&id(1), &BTreeMap::new()) };
    world.says(0, Statement::Role { about: id(1), role: Role::Admin, kept: kept.clone() });
    let sealed = BTreeMap::from([(id(1), Sealed::from_bytes([4; 80]))]);
    world.says(0, Statement::Secret { epoch: 1, id: SecretId::from_bytes([5; 32]), sealed });
    let admitted = BTreeSet::from([EntryHash::from_bytes([6; 32])]);
    world.says(0, Statement::Revoked { invite: InviteKey::from_bytes([7; 32]), admitted });
    world.says(0, Statement::Removed { about: id(1), kept: kept.clone() });
    world.says(1, Statement::Left { kept });
    world
}

#[test]
fn entries_come_back_as_they_went_and_their_form_stays_as_it_is() {
    let world = one_of_each();
    let mut hashes = Vec::new();
    for entry in &world.entries {
        let bytes = entry.encode();
        let back = Entry::decode(&bytes, &world.share()).unwrap();
        assert_eq!((back.hash(), back.statement()), (entry.hash(), entry.statement()));
        assert_eq!((back.encode(), back.encoded_bytes()), (bytes, entry.encoded_bytes()));
        hashes.push(entry.hash().short());
    }
    assert_eq!(hashes, ["szohjtg", "gmsese3", "difnp6p", "wuxzpid", "kspiyvl", "dx4nv5o", "nck6pvj"]);
}

#[test]
fn d1_d6_damaged_entries_are_refused() {
    let world = one_of_each();
    let share = world.share();
    for entry in &world.entries {
        let bytes = entry.encode();
        for end in 0..bytes.len() {
            assert!(Entry::decode(&bytes[..end], &share).is_err(), "{end} of {entry:?}");
        }
        for bit in (0..bytes.len() * 8).step_by(3) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Entry::decode(&flipped, &share).is_err(), "bit {bit} of {entry:?}");
        }
        let other = ShareId::from_bytes([1; 32]);
        assert!(Entry::decode(&bytes, &other).is_err(), "of another share");
    }
}

#[test]
fn d2_lengths_that_lie_are_refused_without_taking_memory() {
    let share = ShareId::from_bytes([1; 32]);
    let long = vec![0; ENTRY_BYTES_MAX + 1];
    let too_long = SignedError::TooLong { bytes: ENTRY_BYTES_MAX + 1, max: ENTRY_BYTES_MAX };
    assert_eq!(Entry::decode(&long, &share).unwrap_err(), FormatError::Form(too_long).into());
    // Kind 5, a secret sealed to 2^63 devices.
    let mut lying = [vec![1; 32], vec![0; 33], vec![5, 0], vec![2; 32]].concat();
    lying.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    lying.extend([0; 200]);
    assert!(matches!(Entry::decode(&lying, &share), Err(EntryError::Format(_))));
    // Kind 6, an invite revoked but for one device, which is named too often.
    let often =
        [vec![1; 32], vec![0; 33], vec![6], vec![2; 32], vec![0x81, 0x20], vec![3; 4097 * 32], vec![0; 64]];
    let error = Entry::decode(&often.concat(), &share).unwrap_err();
    assert_eq!(
        error.to_string(),
        "an entry of a roster that names 4097 admissions; at most 4096 are allowed"
    );
    // A kind from the future.
    let future = [vec![1; 32], vec![0; 33], vec![77], vec![0; 100]].concat();
    let error = Entry::decode(&future, &share).unwrap_err();
    assert!(error.to_string().starts_with("an entry of a roster that is malformed"), "{error}");
}

#[test]
fn d7_keys_and_names_that_cannot_be_are_refused() {
    let world = World::founded();
    let mut bytes = world.entries[0].encode();
    let name_at = 32 + 1 + 32 + 1 + 1;
    let weak = name_at + "device 0".len();
    bytes[weak..weak + 32].fill(0);
    let error = FormatError::BoxKey(KeyError::Weak);
    assert_eq!(Entry::decode(&bytes, &world.share()).unwrap_err(), error.into());
    assert_eq!(DeviceName::parse(""), Err(FormatError::Name(0)));
    assert_eq!(DeviceName::parse(&"é".repeat(33)), Err(FormatError::Name(66)));
    assert!(DeviceName::parse(&"é".repeat(32)).is_ok());
}

#[test]
fn what_names_too_much_and_what_has_an_impossible_number_is_refused() {
    let share = World::founded().share();
    let sign = |after, statement| Entry::sign(&device_key(1), &share, after, statement);
    let hash = EntryHash::from_bytes([1; 32]);
    let places = |count: usize| {
        let place = |at: usize| Place { sequence: at as u64, hash: PublicationHash::from_bytes([1; 32]) };
        BTreeMap::from([(Writer::default(), (0..count).map(place).collect())])
    };
    let left = |publications| Statement::Left { kept: Kept { publications, ..Kept::default() } };
    assert!(sign(None, left(places(KEPT_PUBLICATIONS_MAX))).is_ok());
    let error = EntryError::TooMany { what: "last publications", count: 1025, max: KEPT_PUBLICATIONS_MAX };
    assert_eq!(sign(None, left(places(1025))).unwrap_err(), error);
    let device = |at: u64| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&at.to_be_bytes());
        (DeviceId::from_bytes(bytes), Sealed::from_bytes([0; 80]))
    };
    let secret = |count: usize| Statement::Secret {
        epoch: 0,
        id: SecretId::from_bytes([0; 32]),
        sealed: (0..count as u64).map(device).collect(),
    };
    let largest = sign(None, secret(SEALED_MAX)).unwrap();
    assert!(largest.encoded_bytes() <= ENTRY_BYTES_MAX);
    assert!(Entry::decode(&largest.encode(), &share).is_ok());
    assert!(matches!(sign(None, secret(SEALED_MAX + 1)), Err(EntryError::TooMany { what: "devices", .. })));

    let last = EntryPlace { sequence: CHAIN_ENTRIES_MAX - 2, hash };
    assert!(sign(Some(last), left(BTreeMap::new())).is_ok());
    let full = EntryPlace { sequence: CHAIN_ENTRIES_MAX - 1, hash };
    assert_eq!(sign(Some(full), left(BTreeMap::new())).unwrap_err(), EntryError::Chain);
    let none = EntryPlace { sequence: 0, hash: EntryHash::NONE };
    assert_eq!(sign(Some(none), left(BTreeMap::new())).unwrap_err(), EntryError::Previous(1));
}

#[test]
fn a_removal_names_what_it_can_of_a_device_that_did_too_much() {
    let mut world = World::founded();
    world.lets_in(0, 1, Role::Writer);
    let place =
        |at: u64| BTreeSet::from([Place { sequence: at, hash: PublicationHash::from_bytes([1; 32]) }]);
    let many = (0..2000).map(|at: u64| (Writer::from_bytes(at.to_be_bytes()), place(at))).collect();
    let secret = ShareSecret::from_bytes([8; 32]);
    let removed = world.entries().removal(&device_key(0), id(1), &many, &secret, &mut TestRng::seeded(1));
    assert!(removed.is_ok());
}

#[test]
fn i30_no_more_is_kept_than_there_is_room_for_and_nothing_is_pushed_out() {
    use super::set::Size;
    let mut world = World::founded();
    world.lets_in(0, 1, Role::Reader);
    let [first, second] = [0, 1].map(|at: usize| world.entries[at].clone());
    let much = Size { entries: 9, bytes: 10_000 };
    let one = Size { entries: 1, ..much };
    let mut small = Entries::new(world.founding);
    assert_eq!(small.insert_within(first.clone(), one, one), Ok(true));
    assert_eq!(small.insert_within(first.clone(), one, one), Ok(false));
    let bytes = first.encoded_bytes();
    let full = EntriesError::Full { entries: 1, bytes };
    assert_eq!(small.insert_within(second.clone(), much, one), Err(full));
    assert_eq!(small.insert_within(second.clone(), much, Size { bytes: bytes + 1, ..much }), Err(full));
    let more = Entry::sign(&device_key(0), &world.share(), Some(first.place()), first.statement().clone());
    let more = more.unwrap();
    assert_eq!(small.insert_within(more.clone(), one, much), Err(EntriesError::SignerFull(id(0))));
    let half = Size { bytes: bytes + 1, ..much };
    assert_eq!(small.insert_within(more.clone(), half, much), Err(EntriesError::SignerFull(id(0))));
    assert_eq!(small.insert_within(second, one, much), Ok(true));
    assert_eq!((small.len(), small.bytes()), (2, world.entries().bytes()));
    let mut other = Entries::new(Founding { random: [6; 32], ..world.founding });
    assert_eq!(other.insert(first), Err(EntriesError::OtherShare));
    assert!(other.is_empty() && other.roster().members().count() == 1);
}

#[test]
fn i30_once_who_floods_is_removed_there_is_room_again() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.lets_in(1, 2, Role::Reader);
    world.gives(1, 2, Role::Writer);
    let kept = world.roster().kept(&id(1), &BTreeMap::new());
    let own = world.last[&1];
    for name in 0..50 {
        let name = DeviceName::parse(&format!("flood {name}")).unwrap();
        world.says(1, Statement::Device(Described { name, ..described(1) }));
        if name_is_round(&world) {
            world.last.insert(1, own);
        }
    }
    let mut entries = world.entries();
    world.says(0, Statement::Removed { about: id(1), kept });
    let removal = world.entries.last().unwrap().clone();
    let whole = world.roster();
    assert_eq!(entries.make_room_for(&removal), 50);
    entries.insert(removal).unwrap();
    assert_eq!(entries.len(), world.entries.len() - 50);
    let after = entries.roster();
    assert_eq!(outcomes(&after), outcomes(&whole));
    assert_eq!((after.role(&id(1)), after.role(&id(2))), (None, Some(Role::Writer)));
    // A writer, of whose entries none counts as an admin's: what it published before still does.
    let writer = Writer::from_bytes([1; 8]);
    let last = BTreeSet::from([Place { sequence: 3, hash: PublicationHash::from_bytes([4; 32]) }]);
    world.says(2, Statement::Device(described(2)));
    let mut entries = world.entries();
    let kept = world.roster().kept(&id(2), &BTreeMap::from([(writer, last.clone())]));
    world.says(0, Statement::Removed { about: id(2), kept });
    let removal = world.entries.last().unwrap().clone();
    assert_eq!(entries.make_room_for(&removal), 51);
    entries.insert(removal).unwrap();
    assert_eq!(entries.roster().allowed(&id(2), writer), Allowed::UpTo(&last));
}

/// Now and then, so that the flood forks.
fn name_is_round(world: &World) -> bool {
    world.entries.len().is_multiple_of(7)
}

/// All that was decided about devices, but for what they call themselves and where their chains end.
fn outcomes(roster: &Roster) -> Vec<String> {
    let outcome = |(device, seat): (&DeviceId, &Seat)| {
        format!("{device} {} {:?} {:?} {:?}", seat.level, seat.parent, seat.outcome, seat.admitted)
    };
    roster.seats.iter().map(outcome).collect()
}

#[test]
fn i30_entries_of_made_up_devices_are_let_go_of() {
    let mut world = World::founded();
    world.lets_in(0, 1, Role::Reader);
    let held = world.entries().bytes();
    for stranger in 100..110 {
        world.says(stranger, Statement::Device(described(stranger)));
        world.removes(stranger, 1);
    }
    let mut entries = world.entries();
    assert_eq!(entries.drop_strangers(), 20);
    assert_eq!((entries.len(), entries.iter().count(), entries.bytes()), (2, 2, held));
    assert_eq!(entries.drop_strangers(), 0);
}

#[test]
fn the_creator_can_leave_for_good_and_the_others_stay() {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.lets_in(1, 2, Role::Writer);
    world.leaves(0);
    assert_eq!(world.role(0), None);
    assert_eq!((world.role(1), world.role(2)), (Some(Role::Admin), Some(Role::Writer)));
    world.gives(0, 1, Role::Reader);
    world.lets_in(1, 0, Role::Writer);
    assert_eq!((world.role(0), world.role(1)), (None, Some(Role::Admin)));
}

#[test]
fn one_entry_twice_is_one() {
    let world = World::founded();
    let bytes = world.entries[0].encode();
    let entry = Entry::decode(&bytes, &world.share()).unwrap();
    assert_eq!(entry, world.entries[0]);
    let mut entries = world.entries();
    assert_eq!(entries.insert(entry), Ok(false));
}

/// What a random device does next; who and to whom are numbers of devices.
#[derive(Clone, Debug)]
enum Act {
    LetIn { by: u64, device: u64, role: Role },
    Reuse { device: u64, invite: usize },
    Give { by: u64, device: u64, role: Role },
    Remove { by: u64, device: u64 },
    RemoveBare { by: u64, device: u64 },
    Leave { device: u64 },
    Revoke { by: u64, invite: usize },
    GoBack { device: u64, to: usize },
}

/// Devices that are never offered more than reading, by anybody.
const READERS: core::ops::Range<u64> = 6..8;

fn act() -> impl Strategy<Value = Act> {
    let device = || 0..8u64;
    let role = || prop_oneof![Just(Role::Reader), Just(Role::Writer), Just(Role::Admin)];
    prop_oneof![
        4 => (device(), device(), role()).prop_map(|(by, device, role)| Act::LetIn { by, device, role }),
        2 => (device(), 0..20usize).prop_map(|(device, invite)| Act::Reuse { device, invite }),
        5 => (device(), device(), role()).prop_map(|(by, device, role)| Act::Give { by, device, role }),
        2 => (device(), device()).prop_map(|(by, device)| Act::Remove { by, device }),
        1 => (device(), device()).prop_map(|(by, device)| Act::RemoveBare { by, device }),
        1 => device().prop_map(|device| Act::Leave { device }),
        1 => (device(), 0..20usize).prop_map(|(by, invite)| Act::Revoke { by, invite }),
        1 => (device(), 0..4usize).prop_map(|(device, to)| Act::GoBack { device, to }),
    ]
}

/// Lives through the acts. Everybody signs whatever it likes, whether it may or not.
fn live(acts: &[Act]) -> World {
    let mut world = World::founded();
    world.makes_admin(0, 1);
    world.makes_admin(0, 2);
    world.makes_admin(1, 3);
    let mut invites: Vec<Handed> = Vec::new();
    for act in acts {
        match *act {
            Act::LetIn { by, device, role } => {
                let role = if READERS.contains(&device) { Role::Reader } else { role.min(Role::Writer) };
                let invite = world.invites(by, role, 1);
                world.joins(device, &invite);
                invites.push(invite);
            }
            Act::Reuse { device, invite } => {
                if let Some(invite) = invites.get(invite).cloned()
                    && (invite.1.role == Role::Reader || !READERS.contains(&device))
                {
                    world.joins(device, &invite);
                }
            }
            Act::Give { by, device, role } => {
                let role = if READERS.contains(&device) { Role::Reader } else { role };
                world.gives(by, device, role);
            }
            Act::Remove { by, device } => {
                world.removes(by, device);
            }
            Act::RemoveBare { by, device } => {
                world.says(by, Statement::Removed { about: id(device), kept: Kept::default() });
            }
            Act::Leave { device } if device != 0 => {
                world.leaves(device);
            }
            Act::Leave { .. } => {}
            Act::Revoke { by, invite } => {
                if let Some(Handed(_, delegation)) = invites.get(invite) {
                    let statement =
                        Statement::Revoked { invite: delegation.invite, admitted: BTreeSet::new() };
                    world.says(by, statement);
                }
            }
            Act::GoBack { device, to } => {
                let own = |entry: &&Entry| *entry.signer() == id(device);
                if let Some(entry) = world.entries.iter().filter(own).nth(to) {
                    world.last.insert(device, entry.place());
                }
            }
        }
    }
    world
}

/// Everything that a roster says.
fn all_of(roster: &Roster) -> String {
    format!("{roster:?}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_set_of_entries_alone_decides(
        acts in prop::collection::vec(act(), 0..25),
        order in prop::collection::vec(any::<u32>(), 80),
        twice in prop::collection::vec(any::<bool>(), 80),
    ) {
        let world = live(&acts);
        let whole = all_of(&world.roster());
        let mut other: Vec<_> = world.entries.iter().zip(order.iter().cycle()).collect();
        other.sort_by_key(|(_, place)| **place);
        let doubled = other.iter().zip(&twice).filter(|(_, twice)| **twice).map(|(entry, _)| entry.0);
        let entries: Vec<&Entry> = other.iter().map(|(entry, _)| *entry).chain(doubled).collect();
        prop_assert_eq!(&all_of(&Roster::of(&world.founding, entries.iter().copied())), &whole);

        // Two devices that kept what came to them, and then tell each other all, agree.
        let (mut one, mut two) = (Entries::new(world.founding), Entries::new(world.founding));
        for (at, entry) in entries.iter().enumerate() {
            let _ = if at % 3 == 0 { &mut one } else { &mut two }.insert((*entry).clone()).unwrap();
        }
        for entry in one.clone().iter() {
            let _ = two.insert(entry.clone()).unwrap();
        }
        for entry in two.iter() {
            let _ = one.insert(entry.clone()).unwrap();
        }
        prop_assert_eq!(all_of(&one.roster()), all_of(&two.roster()));
    }

    #[test]
    fn i26_nobody_takes_what_nobody_above_gave(acts in prop::collection::vec(act(), 0..40)) {
        let world = live(&acts);
        let roster = world.roster();
        prop_assert_eq!(roster.role(&id(0)), Some(Role::Admin));
        prop_assert_eq!(roster.removed(&id(0)), None);
        for device in READERS {
            prop_assert!(roster.role(&id(device)) <= Some(Role::Reader));
            let allowed = roster.allowed(&id(device), Writer::from_bytes([1; 8]));
            prop_assert!(matches!(allowed, Allowed::Reader | Allowed::NotAMember | Allowed::Void));
        }
        for member in roster.members() {
            let mut steps = 0;
            let mut at = member;
            while let Some(above) = at.added_by {
                steps += 1;
                prop_assert!(steps <= ROSTER_DEPTH_MAX, "a ring");
                prop_assert!(above != member.device);
                let Some(next) = roster.members().find(|one| one.device == above) else { break };
                at = next;
            }
        }
        for (device, removal) in roster.removals() {
            let level = |device: &DeviceId| roster.seats[device].level;
            prop_assert!(removal.by == device || level(&removal.by) < level(&device));
        }
    }

    #[test]
    fn the_forged_and_the_foreign_change_nothing(acts in prop::collection::vec(act(), 0..20)) {
        let mut world = live(&acts);
        let before = world.roster();
        let count = world.entries.len();
        // Strangers who invite and remove each other, members, and the creator.
        for device in 0..8 {
            world.removes(20, device);
            world.gives(21, device, Role::Admin);
        }
        world.makes_admin(20, 21);
        world.makes_admin(21, 20);
        let after = world.roster();
        prop_assert_eq!(format!("{:?}", before.seats), format!("{:?}", after.seats));
        for entry in &world.entries[count..] {
            prop_assert!(after.void().contains_key(&entry.hash()));
        }
    }

    /// Whatever a removed admin signs afterwards, from any point of its chain, nothing changes for anybody.
    #[test]
    fn t9_a_removed_admin_changes_nothing_any_more(
        acts in prop::collection::vec(act(), 0..20),
        after in prop::collection::vec((0..20usize, 0..9u64, 0..5u8), 1..15),
    ) {
        let mut world = live(&acts);
        world.removes(0, 1);
        // Its removal stands: nothing of it names more than it did before.
        let before = world.roster();
        let own: Vec<EntryPlace> =
            world.entries.iter().filter(|entry| *entry.signer() == id(1)).map(Entry::place).collect();
        for (from, device, deed) in after {
            world.last.insert(1, own[from % own.len()]);
            match deed {
                0 => { world.gives(1, device, Role::Admin); }
                1 => { world.removes(1, device); }
                2 => { world.lets_in(1, device, Role::Writer); }
                3 => { world.lets_in(1, 30 + device, Role::Writer); }
                _ => { world.leaves(1); }
            }
        }
        prop_assert_eq!(outcomes(&before), outcomes(&world.roster()));
    }
}
