//! What a share asks of its index beside content: who belongs to it, what is known, what the history holds.

use shoal_engine::index::{Answer, Index as Port, Job, perform};
use shoal_engine::time::Time;
use shoal_proto::roster::Entries;
use shoal_proto::secret::ShareSecret;

use super::*;

/// The same in every run.
struct Draw(u8);

impl crypto_box::aead::rand_core::RngCore for Draw {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_be_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(5).wrapping_add(113);
            *byte = self.0;
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), crypto_box::aead::rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl crypto_box::aead::rand_core::CryptoRng for Draw {}

/// Gives the share a secret, and returns what says so.
fn announce(entries: &mut Entries, secret: &ShareSecret) -> Vec<Entry> {
    let new = entries.new_secret(&key(1), secret, &mut Draw(secret.expose()[0])).unwrap();
    for entry in &new {
        entries.insert(entry.clone()).unwrap();
    }
    new
}

#[test]
fn a_device_opens_the_secrets_that_are_for_it() {
    let mut ben = Index::create(At::Memory, founding(), key(2), WriterSalt([2; 16])).unwrap();
    let mut entries = Entries::new(founding());
    let life = |index: &Index| Port::life(index).unwrap();
    assert_eq!((life(&ben).role, life(&ben).members), (None, vec![(key(1).device(), Role::Admin)]));
    let secrets = [1, 2, 3].map(|byte| ShareSecret::from_bytes([byte; 32]));
    // The first was announced before the device came in.
    let described = Described { name: DeviceName::parse("ana").unwrap(), box_key: key(1).box_key() };
    let mut said = vec![Entry::sign(&key(1), &share(), None, Statement::Device(described)).unwrap()];
    entries.insert(said[0].clone()).unwrap();
    said.extend(announce(&mut entries, &secrets[0]));
    for entry in joined(2, Role::Reader) {
        entries.insert(entry.clone()).unwrap();
        said.push(entry);
    }
    said.extend(announce(&mut entries, &secrets[1]));
    said.extend(announce(&mut entries, &secrets[2]));
    ben.add_entries(said).unwrap();
    let found = life(&ben);
    assert_eq!(found.secrets, [secrets[2].clone(), secrets[1].clone()], "the newest first");
    assert_eq!(found.role, Some(Role::Reader));
    let mut members = vec![(key(1).device(), Role::Admin), (key(2).device(), Role::Reader)];
    members.sort_unstable();
    assert_eq!(found.members, members);
    assert_eq!(
        (found.me, found.first_contact, found.is_halted),
        (shoal_engine::store::Store::me(&ben), false, false)
    );
    ben.set_first_contact().unwrap();
    ben.set_halted(true).unwrap();
    assert_eq!((life(&ben).first_contact, life(&ben).is_halted), (true, true));

    // One that was sealed to somebody else under this device's name is left out, and the others stay.
    let false_one = ShareSecret::from_bytes([4; 32]);
    let sealed = false_one.seal_to(&key(3).box_key(), &mut Draw(9));
    let statement =
        Statement::Secret { epoch: 3, id: false_one.id(), sealed: [(key(2).device(), sealed)].into() };
    let last = ben.roster().last_entry(&key(1).device());
    let entry = Entry::sign(&key(1), &share(), last, statement).unwrap();
    ben.add_entries(vec![entry]).unwrap();
    assert_eq!(ben.roster().secrets().len(), 4);
    assert_eq!(life(&ben).secrets, [secrets[2].clone(), secrets[1].clone()]);

    let last = ben.roster().last_entry(&key(1).device());
    let statement = Statement::Removed { about: key(2).device(), kept: shoal_proto::roster::Kept::default() };
    ben.add_entries(vec![Entry::sign(&key(1), &share(), last, statement).unwrap()]).unwrap();
    let found = life(&ben);
    assert_eq!((found.role, found.removed), (None, [key(2).device()].into()));
    assert_eq!(found.members, [(key(1).device(), Role::Admin)]);
}

#[test]
fn what_was_seen_is_listed_below_a_folder_and_page_by_page() {
    let mut ana = index(1);
    for at in ["a", "b/c/d", "b/x", "b/x/y", "e"] {
        see(&mut ana, at, Some(file(1, 10)));
    }
    let shown = |below: Option<&str>, after: Option<&str>, at_most, index: &mut Index| {
        let (below, after) = (below.map(path), after.map(path));
        let answer = perform(Job::Shown { below, after, at_most }, index);
        let Answer::Shown(page) = answer else { panic!("{answer:?}") };
        page.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(shown(None, None, 9, &mut ana), ["a", "b/c/d", "b/x", "b/x/y", "e"]);
    assert_eq!(shown(None, Some("b/x"), 1, &mut ana), ["b/x/y"]);
    assert_eq!(shown(Some("b"), None, 9, &mut ana), ["b/c/d", "b/x", "b/x/y"]);
    assert_eq!(shown(Some("b"), Some("b/c/d"), 1, &mut ana), ["b/x"]);
    assert_eq!(shown(Some("a"), None, 9, &mut ana), [""; 0]);
}

fn displaced(number: u64, content: Option<u8>) -> Kept {
    Kept { content: content.map(|byte| ContentId::from_bytes([byte; 32])), ..kept(number, "a") }
}

/// I17: what was displaced and what stands in its place are noted together, or not at all.
#[test]
fn i17_what_is_placed_and_what_it_displaced_are_one_job() {
    let (mut ana, mut ben) = (index(1), index(2));
    tell(&mut ben, &see(&mut ana, "a", Some(file(1, 10))).1);
    let placed = |index: &Index| {
        let triple = index.triple(&path("a")).unwrap().unwrap();
        let head = triple.heads.winner().cloned();
        vec![Placed { path: path("a"), planned: None, now: Some(file(1, 10)), head, is_moved: false }]
    };
    let failing = "CREATE TEMP TRIGGER failing BEFORE UPDATE ON paths BEGIN SELECT RAISE(ABORT, 'no'); END";
    ben.conn.execute_batch(failing).unwrap();
    assert!(ben.placed(placed(&ben), &[displaced(3, Some(7))]).is_err());
    assert_eq!(ben.history(&listing(None, None, 9)).unwrap(), []);
    check(&ben);
    ben.conn.execute_batch("DROP TRIGGER failing").unwrap();
    let job = Job::Placed(placed(&ben), vec![displaced(3, Some(7))], Time::ZERO);
    assert!(
        matches!(perform(job, &mut ben), Answer::Placed(outcomes) if outcomes == [PlacedOutcome::Agreed])
    );
    assert_eq!(ben.history(&listing(None, None, 9)).unwrap(), [displaced(3, Some(7))]);
    check(&ben);
}

/// I18: a new writer says all of its own again, since nobody knows what of it others hold.
#[test]
fn i18_a_new_writer_says_all_again() {
    let (mut ana, mut ben) = (index(1), index(2));
    let first = [see(&mut ana, "a", Some(file(1, 10))).1, see(&mut ana, "b", Some(file(2, 10))).1].concat();
    tell(&mut ben, &first);
    let answer = perform(Job::NewWriter(WriterSalt([9; 16]), None), &mut ana);
    let Answer::Published(again) = answer else { panic!("{answer:?}") };
    let paths: Vec<_> = again.iter().flat_map(|batch| &batch.records).map(|record| &record.path).collect();
    assert_eq!(paths, [&path("a"), &path("b")]);
    assert_eq!(ana.counts().diverging, 0);
    tell(&mut ben, &again);
    tell(&mut ana, &all(&ben));
    assert_eq!(ana.memory.digests, ben.memory.digests);
    check(&ana);
}

/// I30: what this index has no room for, or cannot keep for another reason, is not passed on: it would come back.
#[test]
fn only_entries_that_are_kept_are_passed_on() {
    let mut ana = index(1);
    let [good] = &joined(2, Role::Writer)[..] else { panic!() };
    let described = Described { name: DeviceName::parse("cem").unwrap(), box_key: key(3).box_key() };
    let elsewhere = ShareId::from_bytes([77; 32]);
    let bad = Entry::sign(&key(3), &elsewhere, None, Statement::Device(described)).unwrap();
    let entries = vec![bad, good.clone()];
    for expected in [vec![good.encode()], vec![]] {
        let answer = perform(Job::Enter(entries.clone()), &mut ana);
        let Answer::Entered { fresh, published, life } = answer else { panic!("{answer:?}") };
        assert_eq!((fresh, published, life.members.len()), (expected, vec![], 2));
    }
}
