//! Worlds whose devices do something that can be seen through.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use shoal_engine::disk;
use shoal_engine::history::Held;
use shoal_engine::index;
use shoal_engine::io::Now;
use shoal_engine::status::{PeerStatus, Phase, Status};
use shoal_proto::frame::RequestId;
use shoal_proto::id::DeviceId;
use shoal_proto::message::Message;
use shoal_proto::roster::Entry;

use super::*;
use crate::act;
use crate::brain::Brain;
use crate::faults::Fault;

/// Asks for jobs, sends numbered bytes to whom it is connected to, and looks whether everything is answered once and in
/// order. What is wrong it panics with.
#[derive(Debug)]
struct Watchful {
    actions: VecDeque<Action>,
    /// For each connection how many messages it sent, and how many came.
    conns: BTreeMap<Conn, (u32, u32)>,
    jobs: u64,
    out: BTreeMap<JobId, bool>,
    index_out: VecDeque<JobId>,
    tick: Option<Time>,
    last: Time,
    is_deaf: bool,
}

/// Most messages on one connection.
const MESSAGES: u32 = 12;

/// Bytes in a message, of the first connections and of later ones: several portions, and less than one.
const BYTES: [usize; 2] = [100_000, 50];

fn bytes_on(conn: Conn) -> usize {
    BYTES[usize::from(conn.0 / 2 > 8)]
}

thread_local! {
    static SEEN: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
}

fn count(what: &'static str) {
    SEEN.with_borrow_mut(|seen| *seen.entry(what).or_default() += 1);
}

fn watchful(_: DeviceId, _: [u8; 32]) -> Box<dyn Brain> {
    Box::new(Watchful {
        actions: VecDeque::new(),
        conns: BTreeMap::new(),
        jobs: 0,
        out: BTreeMap::new(),
        index_out: VecDeque::new(),
        tick: None,
        last: Time::ZERO,
        is_deaf: false,
    })
}

impl Watchful {
    fn say(&mut self, conn: Conn) {
        let Some((sent, _)) = self.conns.get_mut(&conn) else { return };
        if *sent < MESSAGES {
            let bytes = vec![u8::try_from(*sent).unwrap(); bytes_on(conn)];
            let message = Message::Content { number: *sent, from: 0, is_last: true, bytes };
            self.actions.push_back(Action::Send(conn, RequestId(1), message));
            *sent += 1;
        } else {
            self.actions.push_back(Action::HangUp(conn));
        }
    }

    fn job(&mut self, share: ShareId) {
        self.jobs += 2;
        let (one, other) = (JobId(self.jobs), JobId(self.jobs + 1));
        self.actions.push_back(Action::Index(share, one, index::Job::Life));
        self.actions.push_back(Action::Disk(share, other, disk::Job::Commit(Vec::new())));
        self.index_out.push_back(one);
        self.out.insert(other, true);
    }
}

impl Brain for Watchful {
    fn handle(&mut self, input: Input, now: Now) {
        assert!(now.time >= self.last, "time runs forwards");
        self.last = now.time;
        match input {
            Input::Opened(opened) => {
                self.job(opened.share);
                self.tick = Some(now.time.after(Duration::from_secs(7)));
            }
            Input::Connected { conn, .. } => {
                assert_eq!(self.conns.insert(conn, (0, 0)), None, "a name is used once");
                (0..4).for_each(|_| self.say(conn));
                count("connected");
            }
            Input::Received(conn, request, message) => {
                let Message::Content { number, bytes, .. } = message else { panic!("{message:?}") };
                let (_, came) = self.conns.get_mut(&conn).expect("a connection that stands");
                assert_eq!((number, request, bytes.len()), (*came, RequestId(1), bytes_on(conn)), "in order");
                *came += 1;
                count("received");
                self.is_deaf = number == 4;
                self.tick = Some(now.time.after(Duration::from_millis(50)));
                self.say(conn);
            }
            Input::Drained(conn) => {
                assert!(self.conns.contains_key(&conn));
                count("drained");
            }
            Input::Disconnected(conn) => {
                assert!(self.conns.remove(&conn).is_some(), "the end is told once");
                count("disconnected");
            }
            Input::Indexed(share, job, _) => {
                assert_eq!(self.index_out.pop_front(), Some(job), "jobs of the index come in order");
                if self.jobs < 40 {
                    self.job(share);
                }
                count("indexed");
            }
            Input::DiskDone(_, job, _) => {
                assert_eq!(self.out.pop_first(), Some((job, true)), "commits come in order");
                count("disk");
            }
            Input::Hint(..) => count("hint"),
            Input::Command(..) | Input::Closed(_) => {}
            Input::Tick => {
                assert!(self.tick.is_some_and(|due| due <= now.time), "not before its time");
                (self.tick, self.is_deaf) = (None, false);
                count("tick");
            }
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.tick
    }

    fn is_reading(&self, _: Conn) -> bool {
        !self.is_deaf
    }

    fn status(&self, _: &ShareId) -> Option<Status> {
        None
    }
}

/// Lives through the acts of a world, to some time after them.
fn live(seed: u64, with_faults: bool) -> World {
    let options = Options { with_faults, acts: 30, ..Options::default() };
    let acts = act::draw(seed, &options);
    let end = acts.iter().map(|act| act.at).max().unwrap().after(Duration::from_secs(200));
    let mut world = World::with(seed, &options, acts, watchful).unwrap();
    let mut lived = || {
        world.run_to(end)?;
        world.mend()?;
        world.run_to(end.after(Duration::from_secs(300)))
    };
    if let Err(broken) = lived() {
        panic!("world {seed}: {broken}");
    }
    world
}

/// Each input is what the engine's outside promises: in order, once, not too early; whatever breaks.
#[test]
fn a_world_keeps_what_the_outside_of_an_engine_promises() {
    SEEN.take();
    let mut tally = Tally::default();
    for seed in 0..6 {
        tally.add(&live(seed, seed % 4 != 0).tally);
    }
    let seen = SEEN.take();
    for what in ["connected", "received", "drained", "disconnected", "indexed", "disk", "hint", "tick"] {
        assert!(seen.get(what).is_some_and(|times| *times > 20), "{what}: {seen:?}");
    }
    assert!(tally.crashes > 10 && tally.power_cuts > 0 && tally.edits > 50, "{tally:?}");
}

#[test]
fn a_seed_is_a_world() {
    let trace = |seed| live(seed, true).trace.hash();
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

/// Without an act of a user, or with nobody who carries anything, nothing is lost, made or changed anywhere.
#[test]
fn worlds_of_devices_that_do_not_sync_pass_all_checks_of_single_disks() {
    for seed in 20..23 {
        let world = live(seed, true);
        check::nothing_lost::check(&world).unwrap_or_else(|broken| panic!("world {seed}: {broken}"));
        check::no_resurrection::check(&world).unwrap_or_else(|broken| panic!("world {seed}: {broken}"));
        for device in 0..world.devices.len() {
            check::atomic::check_disk(&world, device).unwrap();
            check::confined::check(&world, device).unwrap();
        }
        assert!(check::converged::check(&world).is_err(), "nobody syncs");
    }
}

/// Does nothing, and says that all is well.
#[derive(Debug, Default)]
struct Placid {
    peers: BTreeMap<Conn, DeviceId>,
    actions: VecDeque<Action>,
    due: Time,
    is_chatty: bool,
}

fn placid(_: DeviceId, _: [u8; 32]) -> Box<dyn Brain> {
    Box::new(Placid { due: Time(u64::MAX), ..Placid::default() })
}

/// The same, but that it has news every twenty minutes.
fn chatty(_: DeviceId, _: [u8; 32]) -> Box<dyn Brain> {
    Box::new(Placid { is_chatty: true, ..Placid::default() })
}

impl Brain for Placid {
    fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Connected { conn, device, .. } => {
                self.peers.insert(conn, device);
                self.actions.push_back(Action::Send(conn, RequestId::NONE, Message::Ping));
            }
            Input::Disconnected(conn) => drop(self.peers.remove(&conn)),
            Input::Tick => {
                self.due = now.time.after(Duration::from_secs(1200));
                let say = |conn: &Conn| Action::Send(*conn, RequestId::NONE, Message::Shares(Vec::new()));
                self.actions.extend(self.peers.keys().map(say));
            }
            _ => {}
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.is_chatty.then_some(self.due)
    }

    fn is_reading(&self, _: Conn) -> bool {
        true
    }

    fn status(&self, _: &ShareId) -> Option<Status> {
        let peers = self.peers.values().map(|device| (*device, PeerStatus::InSync)).collect();
        let problems = BTreeMap::new();
        Some(Status {
            phase: Phase::Live,
            peers,
            problems,
            more_problems: 0,
            trouble: None,
            is_busy: false,
            history: Held::default(),
            late_edits: BTreeMap::new(),
            restores: Vec::new(),
            reverts: 0,
            rescans: shoal_engine::status::Rescans::default(),
            is_asking: false,
        })
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_world_in_which_nothing_happens_comes_to_rest_and_stays_there() {
    let options = Options { devices: 3, ..Options::default() };
    let mut quiet = World::with(1, &options, Vec::new(), placid).unwrap();
    // They tell each other nothing, so they know from the start who belongs to the share.
    let known = quiet.devices.iter().flat_map(|device| device.index.entries().iter().cloned());
    let entries: Vec<Entry> = known.collect();
    for device in &mut quiet.devices {
        device.index.add_entries(entries.clone()).unwrap();
    }
    quiet.come_to_rest(HOUR).unwrap();
    assert!(quiet.now() < Time::ZERO.after(HOUR));
    check::at_rest(&quiet).unwrap();
    check::no_echo::check(&mut quiet).unwrap();

    let mut loud = World::with(1, &options, Vec::new(), chatty).unwrap();
    loud.come_to_rest(HOUR).unwrap();
    assert_eq!(check::no_echo::check(&mut loud).unwrap_err().invariant, "I13");
}

#[test]
fn who_says_to_be_in_sync_and_shows_something_else_lies() {
    let options = Options { devices: 3, ..Options::default() };
    let mut world = World::with(1, &options, Vec::new(), placid).unwrap();
    world.run_to(Time::ZERO.after(HOUR)).unwrap();
    check::honest::check(&world).unwrap();
    world.user_acts(1, &Step::MakeFolder("d".to_owned()));
    assert_eq!(check::honest::check(&world).unwrap_err().invariant, "I31");
    assert_eq!(world.come_to_rest(HOUR).unwrap_err().invariant, "I1");
}

/// I17: a process that cannot start because its disk fails at that moment is started again.
#[test]
fn a_device_whose_disk_fails_at_the_start_is_started_again() {
    let options = Options { devices: 2, ..Options::default() };
    let mut world = World::with(1, &options, Vec::new(), placid).unwrap();
    world.fault(&Fault::Failing(1, 3)).unwrap();
    world.run_to(Time::ZERO.after(Duration::from_secs(9))).unwrap();
    assert!(world.devices[1].running.is_none());
    world.run_to(Time::ZERO.after(Duration::from_secs(30))).unwrap();
    assert!(world.devices[1].running.is_some());
}
