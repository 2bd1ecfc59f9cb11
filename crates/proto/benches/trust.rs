//! What checking costs: signatures, publications with their records, rosters of thousands of entries.
//!
//! `cargo bench -p shoal-proto --bench trust`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot build its input should stop")]

use std::collections::BTreeMap;

use divan::{Bencher, black_box};
use shoal_proto::hash::{Domain, RecordHash};
use shoal_proto::id::{ShareId, WriterSalt};
use shoal_proto::key::{DeviceKey, InviteSecret};
use shoal_proto::publication::Publication;
use shoal_proto::roster::{
    Delegation, Described, DeviceName, Entry, EntryPlace, Founding, Joined, Offer, Role, Roster, Statement,
};

fn main() {
    divan::main();
}

const RECORDS: usize = 1024;

fn key(number: u64) -> DeviceKey {
    let mut seed = [1; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    DeviceKey::from_seed(&seed)
}

/// A share, some 100 bytes for each record, and their publication.
fn published(count: usize) -> (ShareId, Vec<Vec<u8>>, Publication) {
    let share = ShareId::from_bytes([9; 32]);
    let encoded: Vec<_> = (0..count).map(|at| format!("{at:>100}").into_bytes()).collect();
    let publication =
        Publication::sign(&key(1), &share, WriterSalt([2; 16]), None, &hashes(&encoded)).unwrap();
    (share, encoded, publication)
}

fn hashes(encoded: &[Vec<u8>]) -> Vec<RecordHash> {
    encoded.iter().map(|bytes| RecordHash::from_bytes(Domain::RECORD.hash_one(bytes))).collect()
}

/// The signature alone.
#[divan::bench]
fn signature(bencher: Bencher<'_, '_>) {
    let (share, _, publication) = published(1);
    bencher.bench(|| black_box(&publication).verify(&share).unwrap());
}

/// A publication with all of its records, from their bytes. To reach: 1 ms.
#[divan::bench(args = [1, 64, RECORDS])]
fn publication_with_its_records(bencher: Bencher<'_, '_>, count: usize) {
    let (share, encoded, publication) = published(count);
    bencher.bench(|| {
        black_box(&publication).verify(&share).unwrap();
        publication.verify_all(&hashes(black_box(&encoded))).unwrap();
    });
}

/// One record of a full publication that was verified before, from its bytes and its proof.
#[divan::bench]
fn lone_record_with_its_proof(bencher: Bencher<'_, '_>) {
    let (_, encoded, publication) = published(RECORDS);
    let proof = Publication::proof_of(&hashes(&encoded), 700).unwrap();
    bencher.bench(|| {
        let record = RecordHash::from_bytes(Domain::RECORD.hash_one(black_box(&encoded[700])));
        publication.verify_one(&record, &proof).unwrap();
    });
}

/// Signs what a benchmark needs.
struct Writing {
    founding: Founding,
    last: BTreeMap<u64, EntryPlace>,
    entries: Vec<Entry>,
}

impl Writing {
    fn founded() -> Self {
        let founding = Founding { creator: key(0).device(), random: [0; 32], cut: shoal_proto::cut::CUT };
        Self { founding, last: BTreeMap::new(), entries: Vec::new() }
    }

    fn says(&mut self, device: u64, statement: Statement) {
        let after = self.last.get(&device).copied();
        let entry = Entry::sign(&key(device), &self.founding.share(), after, statement).unwrap();
        self.last.insert(device, entry.place());
        self.entries.push(entry);
    }

    fn lets_in(&mut self, by: u64, device: u64, invite: &InviteSecret) {
        let share = self.founding.share();
        let offer = Offer { role: Role::Writer, uses: 1024, not_after: 0 };
        let delegation = Delegation::sign(&key(by), &share, invite.key(), offer, None).unwrap();
        let name = DeviceName::parse("device").unwrap();
        let described = Described { name, box_key: key(device).box_key() };
        let joined = Joined::by(invite, delegation, &share, &key(device).device(), described);
        self.says(device, Statement::Joined(Box::new(joined)));
    }

    fn makes_admin(&mut self, by: u64, device: u64) {
        let (about, kept) = (key(device).device(), Default::default());
        self.says(by, Statement::Role { about, role: Role::Admin, kept });
    }
}

/// One entry as it comes from the wire: of who comes in, with three signatures.
#[divan::bench]
fn entry_of_who_comes_in(bencher: Bencher<'_, '_>) {
    let mut writing = Writing::founded();
    writing.lets_in(0, 1, &InviteSecret::from_seed(&[1; 32]));
    let (bytes, share) = (writing.entries[0].encode(), writing.founding.share());
    bencher.bench(|| Entry::decode(black_box(&bytes), &share).unwrap());
}

/// A roster of 10,000 entries: 5,000 devices came in by ten admins, and each changed its role once.
#[divan::bench(sample_count = 20)]
fn roster_of_10_000_entries(bencher: Bencher<'_, '_>) {
    let mut writing = Writing::founded();
    let invites: Vec<_> = (0..11).map(|invite| InviteSecret::from_seed(&[invite; 32])).collect();
    for admin in 1..=10 {
        writing.lets_in(0, admin, &invites[0]);
        writing.makes_admin(0, admin);
    }
    for device in 11..5001 {
        let admin = device % 10 + 1;
        writing.lets_in(admin, device, &invites[usize::try_from(admin).unwrap()]);
        writing.makes_admin(admin, device);
    }
    evaluate(bencher, &writing);
}

/// 10,000 entries made to be slow: ten branches as deep as they get, and everybody comes in at the end of
/// each.
#[divan::bench(sample_count = 20)]
fn roster_of_10_000_hostile_entries(bencher: Bencher<'_, '_>) {
    let mut writing = Writing::founded();
    let invite = InviteSecret::from_seed(&[1; 32]);
    for branch in 0..10 {
        for level in 0..31 {
            let device = 1 + branch * 31 + level;
            let above = if level == 0 { 0 } else { device - 1 };
            writing.lets_in(above, device, &invite);
            writing.makes_admin(above, device);
        }
    }
    for device in 1000..1938 {
        for branch in 0..10 {
            writing.lets_in(31 + branch * 31, device, &invite);
        }
    }
    evaluate(bencher, &writing);
}

fn evaluate(bencher: Bencher<'_, '_>, writing: &Writing) {
    assert_eq!(writing.entries.len(), 10_000);
    let members = Roster::of(&writing.founding, &writing.entries).members().count();
    assert!(members > 1000, "{members} members");
    bencher.bench(|| Roster::of(&writing.founding, black_box(&writing.entries)));
}
