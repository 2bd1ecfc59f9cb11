//! Random worlds of links and indexes.

use shoal_proto::holding::HoldingMessage;
use shoal_proto::roster::{Delegation, Described, DeviceName, Joined, Offer, Role, Statement};

use super::*;

fn key(device: u8) -> Arc<DeviceKey> {
    Arc::new(DeviceKey::from_seed(&[device + 1; 32]))
}

/// A world of writers: the first has founded the share, the others come in by an invite each.
fn world(seed: u64, devices: u8) -> World {
    let founding = Founding { creator: key(0).device(), random: [2; 32], cut: 1 };
    let joins: Vec<Entry> = (1..devices).map(|device| joined(&founding, device)).collect();
    let keys: Vec<_> = (0..devices).map(key).collect();
    World::new(seed, founding, &keys, &joins).unwrap()
}

fn joined(founding: &Founding, device: u8) -> Entry {
    let (share, key_of) = (founding.share(), key(device));
    let invite = shoal_proto::key::InviteSecret::from_seed(&[50 + device; 32]);
    let offer = Offer { role: Role::Writer, uses: 1, not_after: u64::MAX };
    let delegation = Delegation::sign(&key(0), &share, invite.key(), offer, None).unwrap();
    let described = Described { name: DeviceName::parse("some").unwrap(), box_key: key_of.box_key() };
    let joined = Joined::by(&invite, delegation, &share, &key_of.device(), described);
    Entry::sign(&key_of, &share, None, Statement::Joined(Box::new(joined))).unwrap()
}

impl World {
    /// Lets two devices talk until nothing is on its way.
    fn exchange(&mut self) {
        while self.is_waiting(0) || self.is_waiting(1) {
            for device in 0..2 {
                self.deliver(device).unwrap();
                self.answer(device).unwrap();
            }
        }
    }

    /// Both know so many records, and never were more than so many bytes of them on their way.
    fn check_known_by_both(&self, records: u64, queued: usize) {
        assert_eq!(self.index_of(1).digests().records(), records);
        assert!(self.tally.queued_max < queued, "{:?}", self.tally);
        assert!(self.tally.bytes > 2 * queued as u64, "{:?}", self.tally);
    }

    /// A user puts so many new files into a folder of their own.
    fn publish_many(&mut self, device: usize, files: u64) {
        let made = self.contents;
        self.contents += files;
        let mut observed = (made..made + files).map(|number| {
            let content = ContentId::from_bytes(*blake3::hash(&number.to_be_bytes()).as_bytes());
            let path = path(&format!("many/{number:08}")).unwrap();
            let found = Some(self.here(Kind::File { size: 1, content }));
            Observed { path, compared: None, found }
        });
        let observed: Vec<_> = observed.by_ref().collect();
        for part in observed.chunks(1000) {
            let answer = self.devices[device].index.observe(part.to_vec(), &[]).unwrap();
            self.publish(device, &answer.batches);
        }
    }
}

/// Lives through a world and lets it settle.
fn live(seed: u64, devices: u8, steps: usize) -> Result<World, Broken> {
    let mut world = world(seed, devices);
    for _ in 0..steps {
        world.step()?;
    }
    world.settle()?;
    Ok(world)
}

/// How many worlds every run of the tests lives through.
const WORLDS: u64 = 60;

#[test]
fn i1_all_come_to_know_and_show_the_same() {
    let mut tally = Tally::default();
    for seed in 0..WORLDS {
        let devices = 2 + u8::try_from(seed % 4).unwrap();
        let world = live(seed, devices, 600).unwrap_or_else(|broken| panic!("world {seed}: {}", broken.0));
        tally.edits += world.tally.edits;
        tally.cuts += world.tally.cuts;
        tally.resolutions += world.tally.resolutions;
        tally.connections += world.tally.connections;
    }
    println!("{tally:?}");
    assert!(tally.edits > 20 * WORLDS && tally.cuts > WORLDS && tally.resolutions > WORLDS, "{tally:?}");
}

#[test]
fn a_seed_is_a_world() {
    let one = live(7, 4, 600).unwrap();
    assert_eq!(one.trace(), live(7, 4, 600).unwrap().trace());
    assert_ne!(one.trace(), live(8, 4, 600).unwrap().trace());
}

/// Two devices; the first has so many records before they meet, and more when they have met.
fn many(records: [u64; 2]) -> World {
    let mut world = world(1, 2);
    world.room = LINK_SENT_BYTES_MAX;
    world.publish_many(0, records[0]);
    world.connect(0, 1);
    world.exchange();
    world.publish_many(0, records[1]);
    world
}

/// I30: who is slow to take everything has little of it queued.
#[test]
fn i30_of_everything_little_is_on_its_way_at_once() {
    let world = many([60_000, 0]);
    world.check_known_by_both(60_000, 1 << 20);
}

/// I30: who takes nothing of what is new has little of it queued, and is told of it later.
#[test]
fn i30_of_what_is_new_little_is_on_its_way_at_once() {
    let mut world = many([10, 60_000]);
    while world.is_waiting(0) || world.begin_rounds() {
        world.exchange();
    }
    world.check_known_by_both(60_010, 4 << 20);
}

/// Who knows already that both are members may ask and tell at once, though this end's index is slow to say so.
#[test]
fn what_is_said_to_who_is_not_live_yet_waits_for_its_turn() {
    let mut world = world(1, 2);
    world.publish_many(0, 10);
    world.connect(0, 1);
    let is_comparing = |world: &World| matches!(world.devices[0].ends[&1].job, Some(Job::Compare(_)));
    while !world.devices[1].ends[&0].link.is_live() {
        for device in 0..2 {
            world.deliver(device).unwrap();
            if device == 1 || !is_comparing(&world) {
                world.answer(device).unwrap();
            }
        }
    }
    assert!(is_comparing(&world));
    let number = world.devices[1].ends[&0].number;
    let contents = vec![ContentId::from_bytes([1; 32])];
    world.send(1, 0, number, &Message::WantContents { channel: CHANNEL, contents });
    world.send(1, 0, number, &Message::Holding { channel: CHANNEL, message: HoldingMessage::LackingMany });
    world.exchange();
    for (device, other) in [(0, 1), (1, 0)] {
        assert_eq!(world.devices[device].ends[&other].closed, None);
    }
    assert_eq!((world.tally.asked, world.tally.told), (1, 1));
}

/// I26: whom no entry lets in is told nothing but that.
#[test]
fn i26_a_stranger_who_knows_the_secret_is_told_no_records() {
    let founding = Founding { creator: key(0).device(), random: [2; 32], cut: 1 };
    let mut world = World::new(1, founding, &[key(0), key(1)], &[]).unwrap();
    for _ in 0..20 {
        world.edit(0).unwrap();
    }
    world.connect(1, 0);
    world.exchange();
    assert_eq!(world.devices[0].ends[&1].closed, Some(Closed::NoMember));
    assert_eq!(world.index_of(1).digests().records(), 0);
}
