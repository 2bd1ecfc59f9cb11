//! Who is told what on a connection, and when.

use shoal_proto::id::{ShareId, Writer};
use shoal_proto::message::Refusal;
use shoal_proto::roster::Role;
use shoal_proto::secret::ShareSecret;

use super::*;
use crate::io::{Command, Differing, JobId, Opened};
use crate::planner::Rights;
use crate::status::{Halt, Phase};
use crate::store::Me;
use crate::time::Time;

const NOW: Now = Now { time: Time(1), wall: 9 };
const CONN: Conn = Conn(1);
const CHANNEL: Channel = Channel(0);
const DEVICE: DeviceId = DeviceId::from_bytes([1; 32]);
const OTHER: DeviceId = DeviceId::from_bytes([2; 32]);

fn me() -> Me {
    let (share, salt) = (ShareId::from_bytes([3; 32]), WriterSalt([4; 16]));
    Me { share, device: DEVICE, salt, writer: Writer::drawn(&DEVICE, &share, &salt), published: None }
}

fn life() -> Life {
    Life {
        me: me(),
        role: Some(Role::Admin),
        first_contact: true,
        is_halted: true,
        secrets: Vec::new(),
        removed: BTreeSet::new(),
        left: BTreeSet::new(),
        members: Vec::new(),
        names: BTreeMap::new(),
        unknown: BTreeMap::new(),
        removed_by: None,
        void: None,
        hosts: BTreeSet::new(),
    }
}

/// The next job of the index that a link asks for.
fn link_job(share: &mut Share) -> Option<(JobId, store::Job)> {
    loop {
        if let Out::Index(job, index::Job::Link(link)) = share.poll()? {
            return Some((job, link));
        }
    }
}

/// A share on a connection whose link waits for the index, to which the other end has introduced itself.
fn meeting() -> Share {
    let mut share = Share::new(DEVICE, Opened::new(me().share, Vec::new()), [2; 32], 0, NOW);
    share.connected(CONN, OTHER, CHANNEL, Side::Listener, [5; 32], NOW);
    let Some((job, store::Job::Introduce)) = link_job(&mut share) else { panic!() };
    let introduced = store::Answer::Introduced { me: me(), records: 0, roster: [0; 32] };
    share.indexed(job, index::Answer::Link(introduced), NOW);
    let (channel, salt, published, nonce) = (CHANNEL, me().salt, None, [6; 16]);
    let opened = Message::Opened { channel, salt, published, nonce, records: 0, roster: [1; 32] };
    share.received(CONN, RequestId::NONE, opened, NOW);
    assert!(matches!(link_job(&mut share), Some((_, store::Job::Meet { .. }))));
    share
}

/// I26: that a member was removed is the last that it is told, and often why the connection ends.
#[test]
fn i26_what_was_said_of_the_roster_is_heard_after_the_end_of_the_connection() {
    let mut share = meeting();
    let (channel, entries) = (CHANNEL, vec![vec![7; 90]]);
    let said = Message::Roster { channel, entries: entries.clone() };
    share.received(CONN, RequestId::NONE, said, NOW);
    assert!(link_job(&mut share).is_none(), "the index is asked something else");
    share.disconnected(CONN, NOW);
    match link_job(&mut share) {
        Some((_, store::Job::Enter { device, entries: heard, now: 9 })) => {
            assert_eq!((device, heard), (OTHER, entries));
        }
        other => panic!("{other:?}"),
    }
}

/// I26: who is removed is told that, and nothing else, whatever its link waits for.
#[test]
fn i26_who_is_removed_is_told_and_then_spoken_to_no_more() {
    let mut share = meeting();
    share.command(&Command::Enter(Vec::new()), NOW);
    let Some(Out::Index(job, index::Job::Enter(_))) = share.poll() else { panic!() };
    let life = Life { removed: [OTHER].into(), ..life() };
    let (fresh, published) = (vec![vec![8; 90]], Vec::new());
    let entered = index::Answer::Entered { fresh: fresh.clone(), published, life: Box::new(life) };
    share.indexed(job, entered, NOW);
    match share.poll() {
        Some(Out::Send(CONN, RequestId::NONE, Message::Roster { entries, .. })) => {
            assert_eq!(entries, fresh);
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(share.poll(), Some(Out::Leave(CONN))));
    assert!(share.peers.is_empty() && share.refuses(&OTHER, &ShareSecret::from_bytes([1; 32])));
}

/// Others may not have heard of who let it in; and once it was let in, only that it was removed ends it.
#[test]
fn i26_who_is_not_let_in_believes_it_of_those_who_know() {
    let (by_host, by_another) = (BTreeSet::from([OTHER]), BTreeSet::new());
    let refused = |why| Some(Halt::Refused(why));
    let removed = Some(Halt::Removed { by: None });
    for (hosts, first_contact, is_admin, is_let_in, why, expected) in [
        (&by_host, false, false, false, Refusal::Expired, refused(Refusal::Expired)),
        (&by_another, false, true, false, Refusal::Expired, None),
        (&by_host, false, true, true, Refusal::Expired, None),
        (&by_host, true, true, false, Refusal::Expired, None),
        (&by_host, true, true, false, Refusal::Removed, removed),
        (&by_host, true, false, false, Refusal::Removed, None),
        (&by_host, true, true, true, Refusal::Removed, None),
        (&by_another, true, true, false, Refusal::Removed, None),
    ] {
        let mut share = meeting();
        let role = if is_admin { Role::Admin } else { Role::Writer };
        let members = vec![(OTHER, role)];
        share.life = Some(Life { hosts: hosts.clone(), first_contact, members, ..life() });
        if is_let_in {
            // By a third, who has not heard that it is refused, or knows better.
            share.connected(Conn(2), DeviceId::from_bytes([8; 32]), CHANNEL, Side::Listener, [5; 32], NOW);
            share.peers.get_mut(&Conn(2)).unwrap().has_agreed = true;
        }
        share.received(CONN, RequestId::NONE, Message::Refused { channel: CHANNEL, why }, NOW);
        let halted = match share.status().phase {
            Phase::Halted(halt) => Some(halt),
            _ => None,
        };
        assert_eq!((&halted, share.status().is_busy), (&expected, expected.is_none()));
        assert_eq!(share.is_out(), expected.is_some());
    }
}

/// I26: who has lost its index and all that it knew of the roster, its founder too, takes in nobody by an invite that has
/// expired: a device that was removed may be the first to call. Who is new believes whom it came by.
#[test]
fn i26_only_who_invited_it_is_believed_that_its_own_invite_was_good() {
    for (hosts, first_contact, at) in [
        (BTreeSet::from([OTHER]), false, 0),
        (BTreeSet::from([OTHER]), true, 9),
        (BTreeSet::from([DEVICE]), false, 9),
        (BTreeSet::new(), false, 9),
    ] {
        let mut share = meeting();
        share.life = Some(Life { hosts, first_contact, ..life() });
        let said = Message::Roster { channel: CHANNEL, entries: vec![vec![7; 90]] };
        share.received(CONN, RequestId::NONE, said, NOW);
        share.disconnected(CONN, NOW);
        let Some((_, store::Job::Enter { now, .. })) = link_job(&mut share) else { panic!() };
        assert_eq!(now, at, "first contact: {first_contact}");
    }
}

/// I3: what was taken at first contact is taken no more once all of it is in place.
#[test]
fn i3_what_differs_gives_way_at_first_contact_and_never_again() {
    let mut share = meeting();
    share.stage = Stage::Running;
    share.life = Some(Life { first_contact: false, ..life() });
    share.command(&Command::Meet(Differing::Theirs), NOW);
    share.tick(NOW);
    assert_eq!(share.rights(), Rights::Yielding, "before the first contact");
    share.is_told_life(Life { first_contact: true, ..life() });
    share.tick(NOW);
    assert_eq!(share.rights(), Rights::Yielding, "while it is planned");
    let mut jobs = core::iter::from_fn(|| share.poll());
    let page = jobs.find_map(|out| match out {
        Out::Index(job, index::Job::Diverging { .. }) => Some(job),
        _ => None,
    });
    share.indexed(page.unwrap(), index::Answer::Page(Vec::new()), NOW);
    assert_eq!(share.rights(), Rights::Writer);
}

/// I26: what was being asked of the own index when the refusal came is no word of who lets it in.
#[test]
fn i26_who_was_refused_stays_out_whatever_it_holds_itself() {
    let hosts = BTreeSet::from([OTHER]);
    for (first_contact, why) in [(false, Refusal::Expired), (true, Refusal::Removed)] {
        let mut share = meeting();
        let life =
            Life { hosts: hosts.clone(), first_contact, members: vec![(OTHER, Role::Admin)], ..life() };
        share.life = Some(life.clone());
        share.received(CONN, RequestId::NONE, Message::Refused { channel: CHANNEL, why }, NOW);
        assert!(share.is_out());
        share.is_told_life(life);
        assert!(share.is_out() && share.belonging().secrets.is_empty());
    }
}

/// Somebody who has not heard that it was let in again had refused it.
#[test]
fn i29_who_was_refused_and_is_let_in_by_another_goes_on() {
    for halt in [Halt::Refused(Refusal::Expired), Halt::Removed { by: None }] {
        let mut share = meeting();
        share.life = Some(life());
        share.goes_out(halt);
        share.connected(CONN, OTHER, CHANNEL, Side::Listener, [5; 32], NOW);
        assert!(share.is_out());
        while share.poll().is_some() {}
        share.agreed(CONN);
        let asked = core::iter::from_fn(|| share.poll()).find_map(|out| match out {
            Out::Index(job, index::Job::Life) => Some(job),
            _ => None,
        });
        share.indexed(asked.unwrap(), index::Answer::Life(Box::new(life())), NOW);
        assert!(!share.is_out());
    }
}

/// I31: what its user did while this device did not run is looked for first. Until then nobody is told that all is here.
#[test]
fn i31_who_still_looks_through_its_folder_does_not_say_what_it_has() {
    let mut share = meeting();
    let says = |share: &mut Share| {
        let outs = core::iter::from_fn(|| share.poll());
        outs.filter(|out| matches!(out, Out::Send(CONN, _, Message::Holding { .. }))).count()
    };
    let asks = |share: &mut Share| {
        let asks = |out: &Out| matches!(out, Out::Index(_, index::Job::Lacking(_)));
        core::iter::from_fn(|| share.poll()).any(|out| asks(&out))
    };
    share.peers.get_mut(&CONN).unwrap().has_agreed = true;
    share.stage = Stage::Scanning;
    share.state(&[CONN], &BTreeSet::new(), Sum::ZERO);
    assert_eq!(says(&mut share), 0, "before it has looked");
    share.scan_on();
    assert_eq!(share.stage, Stage::Running);
    assert!(asks(&mut share), "it forgets to say it once it has looked");
    share.state(&[CONN], &BTreeSet::new(), Sum::ZERO);
    assert_eq!(says(&mut share), 1);
}
