//! Two ends in one thread, a pipe each way: what is promised, what breaks the rules, the bytes, and the figures.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::limits::{RECONCILE_MESSAGE_BYTES_MAX, RECONCILE_PAGE_MAX};

// ── a world of two ends ──

/// Records in memory. The first two bytes of a hash are its leaf. What is listed in `counts_as` adds another
/// fingerprint than its own to the sums, as if somebody had forged it.
#[derive(Clone, Default)]
struct Set {
    digests: Digests,
    leaves: BTreeMap<Leaf, Vec<RecordHash>>,
    counts_as: BTreeMap<RecordHash, RecordHash>,
}

fn leaf_of(record: &RecordHash) -> Leaf {
    let bytes = record.as_bytes();
    Leaf(u16::from_be_bytes([bytes[0], bytes[1]]))
}

impl Set {
    fn of(records: impl IntoIterator<Item = RecordHash>) -> Self {
        let mut set = Self::default();
        records.into_iter().for_each(|record| set.add(record));
        set
    }

    /// An empty set in which records 1 and 2 of leaf 9 cancel each other.
    fn with_forged_zero() -> Self {
        let mut minus = Digests::default();
        minus.remove(Leaf(9), &record(1, |_| 9));
        let minus = RecordHash::from_bytes(minus.root().to_bytes());
        Self { counts_as: BTreeMap::from([(record(2, |_| 9), minus)]), ..Self::default() }
    }

    fn counted_as(&self, record: RecordHash) -> RecordHash {
        *self.counts_as.get(&record).unwrap_or(&record)
    }

    fn add(&mut self, record: RecordHash) {
        let leaf = leaf_of(&record);
        let records = self.leaves.entry(leaf).or_default();
        if let Err(at) = records.binary_search(&record) {
            records.insert(at, record);
            let counted = self.counted_as(record);
            self.digests.add(leaf, &counted);
        }
    }

    fn remove(&mut self, record: RecordHash) {
        let leaf = leaf_of(&record);
        let counted = self.counted_as(record);
        if let Some(records) = self.leaves.get_mut(&leaf)
            && let Ok(at) = records.binary_search(&record)
        {
            records.remove(at);
            self.digests.remove(leaf, &counted);
        }
    }

    fn has(&self, record: &RecordHash) -> bool {
        self.leaves.get(&leaf_of(record)).is_some_and(|records| records.binary_search(record).is_ok())
    }

    fn all(&self) -> impl Iterator<Item = RecordHash> {
        self.leaves.values().flatten().copied()
    }
}

impl Records for Set {
    fn digests(&self) -> &Digests {
        &self.digests
    }

    fn fingerprints(&self, leaf: Leaf) -> Cow<'_, [RecordHash]> {
        Cow::Borrowed(self.leaves.get(&leaf).map_or(&[], Vec::as_slice))
    }

    fn visit(&self, visitor: &mut dyn FnMut(Leaf, &[RecordHash])) {
        self.leaves.iter().for_each(|(leaf, records)| visitor(*leaf, records));
    }
}

enum Item {
    Message(Vec<u8>),
    Records(Vec<RecordHash>),
}

struct End {
    reconcile: Reconcile,
    set: Set,
    pipe: VecDeque<Item>,
    said: Option<Output>,
    streams: usize,
    bytes: usize,
    longest: usize,
    /// Records that this end refuses to take in, as if their signatures were wrong.
    refused: BTreeSet<RecordHash>,
    /// Handles all that arrives before it says anything.
    is_slow: bool,
}

impl End {
    fn new(role: Role, set: Set) -> Self {
        let reconcile = Reconcile::new(role, nonce(), true);
        Self {
            reconcile,
            set,
            pipe: VecDeque::new(),
            said: None,
            streams: 0,
            bytes: 0,
            longest: 0,
            refused: BTreeSet::new(),
            is_slow: false,
        }
    }

    fn begin(&mut self) {
        self.reconcile.begin(&self.set);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.reconcile.poll(&self.set) {
            match output {
                Output::Send(message) => {
                    let body = message.encode();
                    self.bytes += body.len();
                    self.longest = self.longest.max(body.len());
                    self.said = None;
                    self.pipe.push_back(Item::Message(body));
                }
                Output::Push(records) => {
                    assert!(records.len() <= RECONCILE_PUSH_MAX);
                    let held = records.into_iter().filter(|record| self.set.has(record));
                    self.pipe.push_back(Item::Records(held.collect()));
                }
                Output::StreamAll => {
                    self.streams += 1;
                    self.pipe.push_back(Item::Records(self.set.all().collect()));
                }
                Output::InSync | Output::Wait => self.said = Some(output),
            }
        }
    }

    fn take(&mut self, item: Item) -> Result<(), ReconcileError> {
        match item {
            Item::Message(body) => {
                let message = ReconcileMessage::decode(&body).unwrap();
                self.reconcile.handle(message, &self.set)?;
                if !self.is_slow {
                    self.drain();
                }
            }
            Item::Records(records) => records
                .into_iter()
                .filter(|record| !self.refused.contains(record))
                .for_each(|record| self.set.add(record)),
        }
        Ok(())
    }

    fn is_in_sync(&self) -> bool {
        self.said == Some(Output::InSync) && self.reconcile.is_agreed(&self.set.digests)
    }
}

struct World {
    leader: End,
    follower: End,
    /// How often everything under way arrived: two are a round trip.
    trips: usize,
}

impl World {
    fn new(leader: Set, follower: Set) -> Self {
        let (leader, follower) = (End::new(Role::Leader, leader), End::new(Role::Follower, follower));
        Self { leader, follower, trips: 0 }
    }

    /// Has both ends talk until they are silent; `meanwhile` is called before each arrival.
    fn run(&mut self, mut meanwhile: impl FnMut(&mut Self)) {
        loop {
            meanwhile(self);
            let to_follower = core::mem::take(&mut self.leader.pipe);
            let to_leader = core::mem::take(&mut self.follower.pipe);
            if to_follower.is_empty() && to_leader.is_empty() {
                return;
            }
            self.trips += 1;
            assert!(self.trips < 1000, "the ends talk without end");
            to_follower.into_iter().for_each(|item| self.follower.take(item).unwrap());
            to_leader.into_iter().for_each(|item| self.leader.take(item).unwrap());
            self.leader.drain();
            self.follower.drain();
        }
    }

    fn settle(&mut self) {
        self.run(|_| {});
    }

    fn round_trips(&self) -> usize {
        self.trips.div_ceil(2)
    }

    fn bytes(&self) -> usize {
        self.leader.bytes + self.follower.bytes
    }

    #[track_caller]
    fn assert_converged(&self) {
        assert!(self.leader.is_in_sync() && self.follower.is_in_sync());
        assert!(self.leader.set.all().eq(self.follower.set.all()), "in sync, and different");
    }
}

/// The hash of a record in some leaf, the same for the same number.
fn record(number: u64, leaf: impl Fn(u16) -> u16) -> RecordHash {
    let mut bytes = *blake3::hash(&number.to_le_bytes()).as_bytes();
    let place = leaf(u16::from_be_bytes([bytes[0], bytes[1]]));
    bytes[..2].copy_from_slice(&place.to_be_bytes());
    RecordHash::from_bytes(bytes)
}

fn anywhere(numbers: core::ops::Range<u64>) -> impl Iterator<Item = RecordHash> {
    numbers.map(|number| record(number, |leaf| leaf))
}

fn crowded(numbers: core::ops::Range<u64>) -> impl Iterator<Item = RecordHash> {
    numbers.map(|number| record(number, |_| 7))
}

/// Two sets of which some is common.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    both: u64,
    leader: u64,
    follower: u64,
    mask: u16,
}

impl Sizes {
    fn world(self) -> World {
        let records =
            |from, count| (from..from + count).map(move |number| record(number, |leaf| leaf & self.mask));
        let set = |from, count| Set::of(records(0, self.both).chain(records(from, count)));
        World::new(set(1_000, self.leader), set(2_000, self.follower))
    }
}

/// Spread, near each other, in few branches, or in one leaf.
fn sizes() -> impl Strategy<Value = Sizes> {
    let count = || prop_oneof![Just(0_u64), Just(1), 2..20_u64, 20..400_u64];
    let mask = prop_oneof![Just(0xffff_u16), Just(0x003f), Just(0xf000), Just(0)];
    let sizes = |(both, leader, follower, mask)| Sizes { both, leader, follower, mask };
    (count(), count(), count(), mask).prop_map(sizes)
}

// ── what is promised ──

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_ends_come_to_hold_the_same(sizes in sizes(), start in 0..3, is_slow in any::<bool>()) {
        let mut world = sizes.world();
        (world.leader.is_slow, world.follower.is_slow) = (is_slow, is_slow);
        if start != 1 {
            world.leader.begin();
        }
        if start != 0 {
            world.follower.begin();
        }
        world.settle();
        world.assert_converged();
        prop_assert!(world.round_trips() <= 6, "{} round trips", world.round_trips());
    }

    #[test]
    fn i2_both_ends_come_to_hold_the_same_once_changes_stop(
        sizes in sizes(),
        changes in proptest::collection::vec((any::<bool>(), any::<bool>(), 3_000..3_100_u64), 0..12),
    ) {
        let mut world = sizes.world();
        let mut changes = changes.into_iter();
        world.leader.begin();
        world.run(|world| {
            for (at_leader, is_new, number) in changes.by_ref().take(1) {
                let end = if at_leader { &mut world.leader } else { &mut world.follower };
                let changed = record(number, |leaf| leaf & 0x00ff);
                if is_new {
                    end.set.add(changed);
                } else {
                    end.set.remove(changed);
                }
            }
        });
        for end in [&mut world.leader, &mut world.follower] {
            end.begin();
        }
        world.trips = 0;
        world.settle();
        world.assert_converged();
        prop_assert!(world.round_trips() <= 12, "{} round trips", world.round_trips());
    }

    #[test]
    fn d6_a_changed_message_is_an_error_or_harmless(
        sizes in sizes(), at in 0..12_usize, bit in any::<prop::sample::Index>(), is_cut in any::<bool>(),
    ) {
        let mut world = sizes.world();
        world.leader.begin();
        let mut messages = 0;
        // Whoever talks on regardless falls silent: in agreement, waiting, or because the other end said too
        // little.
        for trip in 0..200 {
            let mut ends = [&mut world.leader, &mut world.follower];
            ends.rotate_left(trip % 2);
            let [from, to] = ends;
            for mut item in core::mem::take(&mut from.pipe) {
                if let Item::Message(body) = &mut item {
                    messages += 1;
                    if messages == at + 1 {
                        let bit = bit.index(body.len() * 8);
                        if is_cut {
                            body.truncate(bit / 8);
                        } else {
                            body[bit / 8] ^= 1 << (bit % 8);
                        }
                        let decoded = ReconcileMessage::decode(body);
                        prop_assert!(!is_cut || decoded.is_err());
                        if decoded.is_err() {
                            return Ok(());
                        }
                    }
                }
                if to.take(item).is_err() {
                    return Ok(());
                }
            }
        }
        prop_assert!(world.leader.pipe.is_empty() && world.follower.pipe.is_empty());
    }
}

#[test]
fn i13_equal_ends_say_little_and_then_nothing() {
    let set = Set::of(anywhere(0..5_000));
    for (one, other) in [(Set::default(), Set::default()), (set.clone(), set)] {
        let mut world = World::new(one, other);
        world.leader.begin();
        world.settle();
        world.assert_converged();
        assert!(world.bytes() <= 100 && world.trips == 3, "{} bytes, {} trips", world.bytes(), world.trips);
        for end in [&mut world.leader, &mut world.follower] {
            end.reconcile.begin(&end.set);
            assert_eq!(end.reconcile.poll(&end.set), None);
        }
    }
}

#[test]
fn an_empty_end_gets_one_stream() {
    let set = Set::of(anywhere(0..5_000));
    for (one, other) in [(Set::default(), set.clone()), (set, Set::default())] {
        let mut world = World::new(one, other);
        world.leader.begin();
        world.settle();
        world.assert_converged();
        assert_eq!(world.leader.streams + world.follower.streams, 1);
        assert!(world.bytes() <= 1_000 && world.round_trips() <= 3, "{} bytes", world.bytes());
    }
}

/// F21 (e): else that would be everything, again and again.
#[test]
fn i25_an_end_that_is_empty_again_and_again_gets_one_stream_until_it_is_forgiven() {
    let set = Set::of(anywhere(0..100));
    for swap in [false, true] {
        let (one, other) = if swap { (Set::default(), set.clone()) } else { (set.clone(), Set::default()) };
        let mut world = World::new(one, other);
        world.leader.begin();
        world.settle();
        let empty = if swap { &mut world.leader } else { &mut world.follower };
        empty.set = Set::default();
        empty.begin();
        world.settle();
        let (full, empty) = if swap {
            (&mut world.follower, &mut world.leader)
        } else {
            (&mut world.leader, &mut world.follower)
        };
        assert_eq!((full.streams, &full.said, &empty.said), (1, &Some(Output::Wait), &Some(Output::Wait)));
        assert!(empty.set.leaves.is_empty());
        // Nothing more is said until the caller's clock says so.
        full.begin();
        empty.begin();
        assert!(full.pipe.is_empty() && empty.pipe.is_empty());
        full.reconcile.forgive(true);
        full.begin();
        world.settle();
        world.assert_converged();
    }
}

#[test]
fn an_almost_empty_end_gets_the_rest_without_a_list_of_it() {
    let all: Vec<_> = anywhere(0..20_000).collect();
    for (one, other) in [(&all[..1], &all[..]), (&all[..], &all[..1])] {
        let mut world = World::new(Set::of(one.iter().copied()), Set::of(other.iter().copied()));
        world.leader.begin();
        world.settle();
        world.assert_converged();
        // The fingerprints alone would take 120,000.
        assert!(world.bytes() <= 5_000, "{} bytes", world.bytes());
    }
}

/// F21 (d), F47: paths can be aimed at one leaf.
#[test]
fn i30_a_crowded_leaf_is_listed_in_pages() {
    // More than a page on each side and in common, and more than what may be under way.
    for is_slow in [false, true] {
        let both = || crowded(0..10_000);
        let mut world = World::new(
            Set::of(both().chain(crowded(100_000..140_000))),
            Set::of(both().chain(crowded(200_000..205_000))),
        );
        (world.leader.is_slow, world.follower.is_slow) = (is_slow, is_slow);
        world.follower.begin();
        world.settle();
        world.assert_converged();
        assert_eq!(world.leader.set.all().count(), 55_000);
        assert!(world.leader.longest.max(world.follower.longest) < 50_000);
        assert!(world.round_trips() <= 8, "{} round trips", world.round_trips());
    }
}

#[test]
fn everything_differs_everywhere() {
    let mut world = World::new(Set::of(anywhere(0..70_000)), Set::of(anywhere(100_000..170_000)));
    world.leader.begin();
    world.settle();
    world.assert_converged();
    assert!(world.leader.longest.max(world.follower.longest) <= RECONCILE_MESSAGE_BYTES_MAX);
}

/// F21 (a): sums of any width can be forged by who may write enough.
#[test]
fn i1_forged_sums_are_found_and_mended() {
    // Each end holds a record that the other lacks, and all sums are equal.
    let (one, other) = (record(1, |_| 9), record(2, |_| 9));
    let forged = |held| {
        let mut set = Set { counts_as: BTreeMap::from([(other, one)]), ..Set::default() };
        anywhere(1_000..2_000).chain([held]).for_each(|record| set.add(record));
        set
    };
    for follower_begins in [false, true] {
        let mut world = World::new(forged(one), forged(other));
        assert_eq!(world.leader.set.digests, world.follower.set.digests);
        if follower_begins {
            world.follower.begin();
        } else {
            world.leader.begin();
        }
        world.settle();
        world.assert_converged();
        assert_eq!(world.leader.set.all().count(), 1_002);
        assert!(world.round_trips() <= 7, "{} round trips", world.round_trips());
    }
}

#[test]
fn i1_records_whose_sum_is_forged_to_be_nothing_are_found() {
    // Both cancel each other, so that the sums are those of an empty end.
    let mut set = Set::with_forged_zero();
    set.add(record(1, |_| 9));
    set.add(record(2, |_| 9));
    assert_eq!(set.digests.root(), Sum::ZERO);
    let empty = Set { counts_as: set.counts_as.clone(), ..Set::default() };
    let other = Set { counts_as: set.counts_as.clone(), ..Set::of(anywhere(10..20)) };
    for (one, other) in
        [(set.clone(), empty.clone()), (empty, set.clone()), (set.clone(), other.clone()), (other, set)]
    {
        let mut world = World::new(one, other);
        world.leader.begin();
        world.settle();
        world.assert_converged();
    }
}

#[test]
fn i31_records_that_leave_the_sums_as_they_were_end_the_agreement() {
    let mut set = Set::with_forged_zero();
    anywhere(100..200).for_each(|record| set.add(record));
    let mut world = World::new(set.clone(), set);
    world.leader.begin();
    world.settle();
    world.assert_converged();
    let root = world.leader.set.digests.root();
    world.leader.set.add(record(1, |_| 9));
    world.leader.set.add(record(2, |_| 9));
    assert_eq!(world.leader.set.digests.root(), root);
    assert!(!world.leader.reconcile.is_agreed(&world.leader.set.digests));
    world.leader.begin();
    world.settle();
    world.assert_converged();
}

#[test]
fn i25_records_that_the_other_end_refuses_do_not_keep_both_busy() {
    let mut world = World::new(Set::of(anywhere(0..100)), Set::of(anywhere(0..99)));
    world.follower.refused = anywhere(99..100).collect();
    world.leader.begin();
    world.settle();
    assert_eq!((&world.leader.said, &world.follower.said), (&Some(Output::Wait), &Some(Output::Wait)));
    assert!(!world.leader.reconcile.is_agreed(&world.leader.set.digests));
    assert!(world.bytes() < 10_000 && world.round_trips() < 20, "{} {}", world.bytes(), world.trips);
    // Both are silent until something changes; then what can be agreed is tried anew.
    for end in [&mut world.leader, &mut world.follower] {
        end.begin();
        assert!(end.pipe.is_empty());
    }
    world.leader.set.remove(record(99, |leaf| leaf));
    world.leader.begin();
    world.settle();
    world.assert_converged();
}

#[test]
fn i25_an_end_that_differs_again_and_again_is_told_to_wait() {
    let set = Set::of(anywhere(0..1_000));
    let mut end = End::new(Role::Follower, set.clone());
    let mut say = |message| {
        end.reconcile.handle(message, &set).unwrap();
        end.drain();
        let ReconcileMessage::Root { round, .. } = last_message(&mut end)? else { return Some(0) };
        Some(round)
    };
    let root = |round| ReconcileMessage::Root { round, by: By::Hashes, root: ShortDigest([9; 8]) };
    let nothing = |masks: usize| ReconcileMessage::Children { masks: vec![0; masks], digests: vec![] };
    let walk = || ReconcileMessage::Children { masks: vec![], digests: vec![ShortDigest([1; 8]); 16] };
    // Each round the liar has another set, of which it then tells nothing more.
    assert_eq!(say(root(1)), Some(0));
    assert_eq!(say(nothing(1)), Some(2));
    assert_eq!(say(walk()), Some(0));
    assert_eq!(say(nothing(16)), Some(3));
    assert_eq!(say(walk()), Some(0));
    assert_eq!(say(nothing(16)), Some(4));
    assert_eq!(say(walk()), None);
    assert_eq!(say(root(5)), None);
    assert_eq!(end.said, Some(Output::Wait));
}

/// The last message that an end sent; `None` if it is to wait.
fn last_message(end: &mut End) -> Option<ReconcileMessage> {
    let Some(Item::Message(body)) = end.pipe.pop_back() else { panic!("nothing was sent") };
    Some(ReconcileMessage::decode(&body).unwrap()).filter(|message| *message != ReconcileMessage::Wait)
}

#[test]
fn i25_an_end_that_asks_again_and_again_is_told_to_wait() {
    let set = Set::of(anywhere(0..100));
    let mut world = World::new(set.clone(), set);
    for asked in 1.. {
        // An end without a memory.
        (world.leader.reconcile.agreed, world.leader.reconcile.is_waiting) = (None, false);
        world.leader.reconcile.rounds = 0;
        world.leader.begin();
        world.settle();
        if world.follower.said == Some(Output::Wait) {
            assert_eq!(asked, RECONCILE_ROUNDS_MAX + 1);
            break;
        }
        world.assert_converged();
    }
}

/// A round by hashes costs a pass over all records, and its beginning takes twenty bytes.
#[test]
fn i25_who_asks_for_hashes_again_and_again_gets_no_more_than_so_many_passes() {
    struct Passes(Set, Cell<u32>);
    impl Records for Passes {
        fn digests(&self) -> &Digests {
            self.0.digests()
        }
        fn fingerprints(&self, leaf: Leaf) -> Cow<'_, [RecordHash]> {
            self.0.fingerprints(leaf)
        }
        fn visit(&self, visitor: &mut dyn FnMut(Leaf, &[RecordHash])) {
            self.1.set(self.1.get() + 1);
            self.0.visit(visitor);
        }
    }
    let set = Passes(Set::of(anywhere(0..100)), Cell::new(0));
    let mut end = Reconcile::new(Role::Follower, nonce(), true);
    for round in 1..=10 * RECONCILE_ROUNDS_MAX {
        let root = ReconcileMessage::Root { round, by: By::Hashes, root: ShortDigest([9; 8]) };
        end.handle(root, &set).unwrap();
        while end.poll(&set).is_some() {}
        if !matches!(end.state, State::Idle) {
            end.handle(ReconcileMessage::Wait, &set).unwrap();
            while end.poll(&set).is_some() {}
        }
    }
    assert_eq!(set.1.get(), RECONCILE_ROUNDS_MAX);
}

#[test]
fn both_begin_at_once_and_the_leader_leads() {
    let mut world = World::new(Set::of(anywhere(0..50)), Set::of(anywhere(25..75)));
    world.leader.begin();
    world.follower.begin();
    world.settle();
    world.assert_converged();
    assert_eq!(world.leader.reconcile.round, 2);
    assert_eq!(world.trips, 10);
}

#[test]
fn each_round_of_each_connection_has_keys_of_its_own() {
    // So what is equal by chance, or by somebody's aim, in one of them is not so in another.
    let (record, node) = (record(1, |_| 3), Node::ROOT);
    let mut digests = Digests::default();
    digests.add(Leaf(3), &record);
    let cuts = |nonce, round| {
        let keys = Keys::new(&nonce, round);
        (keys.fingerprint(&record), keys.node(node, digests.root()))
    };
    let swapped = Nonce::new([2; 16], [1; 16]);
    let all = [cuts(nonce(), 1), cuts(nonce(), 2), cuts(swapped, 1)];
    for (at, (fingerprint, digest)) in all.iter().enumerate() {
        assert!(!all[..at].iter().any(|(other, another)| other == fingerprint || another == digest));
    }
}

#[test]
fn the_default_visit_is_that_of_all_leaves() {
    struct Plain(Set);
    impl Records for Plain {
        fn digests(&self) -> &Digests {
            self.0.digests()
        }
        fn fingerprints(&self, leaf: Leaf) -> Cow<'_, [RecordHash]> {
            self.0.fingerprints(leaf)
        }
    }
    let set = Set::of(anywhere(0..100));
    let keys = Keys::new(&nonce(), 1);
    let plain = Plain(set.clone());
    let proofs = keys.proofs(|visitor| set.visit(visitor));
    assert_eq!(proofs, keys.proofs(|visitor| plain.visit(visitor)));
    assert_ne!(proofs.of_who_began, proofs.of_who_answered, "a proof that could be echoed");
}

// ── what breaks the rules ──

fn nonce() -> Nonce {
    Nonce::new([1; 16], [2; 16])
}

fn root(round: u32) -> ReconcileMessage {
    ReconcileMessage::Root { round, by: By::Sums, root: ShortDigest([9; 8]) }
}

/// Digests that are those of no set here.
fn children(masks: Vec<u16>, digests: usize) -> ReconcileMessage {
    ReconcileMessage::Children { masks, digests: vec![ShortDigest([1; 8]); digests] }
}

fn page(leaves: &[(u16, u16)], fingerprints: &[u8], is_last: bool) -> ReconcileMessage {
    let leaves = leaves.iter().map(|&(leaf, count)| (Leaf(leaf), count)).collect();
    let fingerprints = fingerprints.iter().map(|&byte| ShortFingerprint([byte; 6])).collect();
    ReconcileMessage::Page(Page { leaves, fingerprints, is_last })
}

/// What the last of these messages gets from an end that began first, or did not.
fn told(set: &Set, begins: bool, messages: &[ReconcileMessage]) -> Result<Reconcile, ReconcileError> {
    let mut reconcile = Reconcile::new(Role::Leader, nonce(), true);
    if begins {
        reconcile.begin(set);
    }
    for (at, message) in messages.iter().enumerate() {
        while reconcile.poll(set).is_some() {}
        let result = reconcile.handle(message.clone(), set);
        assert!(result.is_ok() || at + 1 == messages.len(), "{message:?}: {result:?}");
        if result.is_err() {
            assert_eq!(reconcile.handle(message.clone(), set), Err(ReconcileError::Broken));
        }
        result?;
    }
    Ok(reconcile)
}

#[test]
fn i25_what_was_not_asked_ends_the_conversation() {
    let set = Set::of(anywhere(0..1_000));
    let (wait, proof) = (ReconcileMessage::Wait, ReconcileMessage::Proof([0; 32]));
    let equal = {
        let root = Keys::new(&nonce(), 1).node(Node::ROOT, set.digests.root());
        ReconcileMessage::Root { round: 1, by: By::Sums, root }
    };
    // After `down` leaves 0 to 255 were told, and pages are due.
    let one_of_sixteen = || [vec![1], vec![0; 15]].concat();
    let down = [children(vec![], 16), children(one_of_sixteen(), 16)];
    let with_down = |pages: &[ReconcileMessage]| [&down[..], pages].concat();
    // After `to_pages` all leaves were told to differ, and are being listed.
    let to_pages = [root(1), children(vec![0xffff], 256), children(vec![0xffff; 256], 65_536)];
    let unexpected = |got, during| ReconcileError::Unexpected { got, during };

    let table: Vec<(bool, Vec<ReconcileMessage>, ReconcileError)> = vec![
        (false, vec![root(2)], ReconcileError::Round { got: 2, expected: 1 }),
        (false, vec![root(0)], ReconcileError::Round { got: 0, expected: 1 }),
        (false, vec![children(vec![], 16)], unexpected("children", "no round was under way")),
        (false, vec![wait], unexpected("wait", "no round was under way")),
        (true, vec![children(vec![0], 0)], ReconcileError::Masks { got: 1, expected: 0 }),
        (true, vec![children(vec![], 15)], ReconcileError::Digests { got: 15, expected: 16 }),
        (true, vec![root(1), root(1)], ReconcileError::Round { got: 1, expected: 2 }),
        (true, vec![root(3)], ReconcileError::Round { got: 3, expected: 2 }),
        (false, vec![root(1), root(2)], unexpected("root", "the answer to digests was due")),
        (false, vec![root(1), children(vec![], 16)], ReconcileError::Masks { got: 0, expected: 1 }),
        (false, vec![root(1), children(vec![1, 1], 32)], ReconcileError::Masks { got: 2, expected: 1 }),
        (false, vec![root(1), children(vec![3], 16)], ReconcileError::Digests { got: 16, expected: 32 }),
        (false, vec![root(1), proof.clone()], unexpected("proof", "the answer to digests was due")),
        (false, vec![equal.clone(), proof], ReconcileError::FalseProof),
        (false, vec![equal, root(3)], ReconcileError::Round { got: 3, expected: 2 }),
        (true, with_down(&[page(&[(256, 0)], &[], true)]), ReconcileError::UnaskedLeaf(256)),
        (
            true,
            with_down(&[page(&[(7, 0)], &[], false), page(&[(6, 0)], &[], true)]),
            ReconcileError::LeavesGoBack(6),
        ),
        (
            true,
            with_down(&[page(&[(7, 1)], &[5], false), page(&[(7, 1)], &[5], true)]),
            ReconcileError::FingerprintsGoBack(7),
        ),
        (
            true,
            with_down(&[page(&[], &[], true), page(&[], &[], true)]),
            unexpected("page", "the next round was due"),
        ),
        (
            false,
            [&to_pages[..], &[ReconcileMessage::Wanted(vec![0])]].concat(),
            ReconcileError::Answer { got: 1, expected: 9 },
        ),
        (false, [&to_pages[..], &[root(2)]].concat(), unexpected("root", "answers to pages were due")),
    ];
    for (begins, messages, error) in table {
        assert_eq!(told(&set, begins, &messages).map(|_| ()), Err(error), "{:?}", messages.last());
    }
    let fine = with_down(&[page(&[(0, 1), (255, 0)], &[1], true)]);
    assert!(told(&set, true, &fine).is_ok());
}

#[test]
fn i30_pages_wait_for_their_answers() {
    // Who lists stops after eight; who sends more is refused.
    let set = Set::of(crowded(0..40_000));
    let mut leaves = LeafSet::empty();
    leaves.insert(Leaf(7).into());
    let (keys, mut listing) = (Keys::new(&nonce(), 1), Listing::new(leaves));
    let pages = core::iter::from_fn(|| listing.next_page(&keys, &set)).count();
    assert_eq!(pages, RECONCILE_PAGES_IN_FLIGHT_MAX);
    assert_eq!(listing.wanted(&vec![0; RECONCILE_PAGE_MAX / 8]), Ok(vec![]));
    assert!(listing.next_page(&keys, &set).is_some() && listing.next_page(&keys, &set).is_none());

    let few = Set::of(crowded(0..2));
    let mut end =
        told(&few, true, &[children(vec![], 16), children([vec![1], vec![0; 15]].concat(), 16)]).unwrap();
    while end.poll(&few).is_some() {}
    for byte in 0..8 {
        assert_eq!(end.handle(page(&[(7, 1)], &[byte], false), &few), Ok(()));
    }
    assert_eq!(end.handle(page(&[(7, 1)], &[8], false), &few), Err(ReconcileError::TooManyPages));
}

/// A page that lists leaves without a fingerprint says that the other end lacks all that we have there.
#[test]
fn i30_what_a_page_does_not_list_is_not_kept_in_memory() {
    const EACH: u64 = 16;
    let leaves: Vec<(u16, u16)> = (0..4096).map(|leaf| (leaf, 0)).collect();
    let set =
        Set::of((0..4096 * EACH).map(|number| record(number, |_| u16::try_from(number / EACH).unwrap())));
    // All that is below the first child of the root, where these leaves are.
    let first = children([vec![0xffff], vec![0; 15]].concat(), 256);
    let mut end = told(&set, true, &[children(vec![], 16), first]).unwrap();
    while end.poll(&set).is_some() {}
    assert_eq!(end.handle(page(&leaves, &[], true), &set), Ok(()));
    let (mut pushed, mut answers) = (BTreeSet::new(), 0);
    loop {
        let kept: usize =
            end.tasks.iter().map(|task| if let Task::Push(hashes) = task { hashes.len() } else { 0 }).sum();
        assert!(kept <= RECONCILE_PUSH_MAX + usize::try_from(EACH).unwrap(), "{kept} hashes are kept");
        match end.poll(&set) {
            Some(Output::Push(hashes)) => {
                assert_eq!(answers, 0, "records after the answer that tells their end");
                hashes.into_iter().for_each(|hash| assert!(pushed.insert(hash), "twice"));
            }
            Some(Output::Send(ReconcileMessage::Wanted(_))) => answers += 1,
            Some(other) => panic!("{other:?}"),
            None => break,
        }
    }
    assert_eq!((pushed.len(), answers), (set.all().count(), 1));
}

#[test]
fn an_answer_has_a_bit_for_each_record_of_its_page() {
    let keys = Keys::new(&nonce(), 1);
    let set = Set::of(crowded(0..9));
    let mut leaves = LeafSet::empty();
    leaves.insert(Leaf(7).into());
    let listing = || {
        let mut listing = Listing::new(leaves.clone());
        assert_eq!(listing.next_page(&keys, &set).unwrap().fingerprints.len(), 9);
        listing
    };
    assert_eq!(listing().wanted(&[0]), Err(ReconcileError::Answer { got: 1, expected: 2 }));
    assert_eq!(listing().wanted(&[0, 2]), Err(ReconcileError::AnswerBeyondPage(9)));
    assert_eq!(listing().wanted(&[1, 1]).map(|records| records.len()), Ok(2));
    let mut answered = listing();
    assert!(!answered.is_over());
    answered.wanted(&[0, 0]).unwrap();
    assert!(answered.is_over());
    assert_eq!(answered.wanted(&[]), Err(ReconcileError::NothingToAnswer));
}

// ── bytes ──

fn hex(message: &ReconcileMessage) -> String {
    data_encoding::HEXLOWER.encode(&message.encode())
}

fn some_messages() -> Vec<(ReconcileMessage, &'static str)> {
    let digest = |byte| ShortDigest([byte; 8]);
    let short = |byte| ShortFingerprint([byte; 6]);
    let page = Page {
        leaves: vec![(Leaf(3), 2), (Leaf(5), 0), (Leaf(300), 1)],
        fingerprints: vec![short(1), short(2), short(1)],
        is_last: true,
    };
    vec![
        (
            ReconcileMessage::Root { round: 300, by: By::Hashes, root: digest(0xab) },
            "00ac0201abababababababab",
        ),
        (
            ReconcileMessage::Proof([0xcd; 32]),
            concat!("01", "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"),
        ),
        (
            ReconcileMessage::Children { masks: vec![0x8001], digests: vec![digest(1), digest(2)] },
            "0202018010 0101010101010101 0202020202020202",
        ),
        (ReconcileMessage::Page(page), "030303020200a7020112010101010101020202020202 01010101010101"),
        (ReconcileMessage::Wanted(vec![1, 0x80]), "04020180"),
        (ReconcileMessage::Wait, "05"),
    ]
}

#[test]
fn messages_keep_their_bytes() {
    for (message, bytes) in some_messages() {
        assert_eq!(hex(&message), bytes.replace(' ', ""));
        assert_eq!(ReconcileMessage::decode(&message.encode()), Ok(message));
    }
}

#[test]
fn cuts_and_proofs_keep_their_bytes() {
    let keys = Keys::new(&nonce(), 3);
    let record = RecordHash::from_bytes([5; 32]);
    let mut digests = Digests::default();
    digests.add(Leaf(0x1234), &record);
    let node = Node::from(Leaf(0x1234));
    let proofs = keys.proofs(|visitor| visitor(Leaf(0x1234), &[record]));
    let shown = [
        data_encoding::HEXLOWER.encode(&keys.fingerprint(&record).0),
        data_encoding::HEXLOWER.encode(&keys.node(node, digests.sum(node)).0),
        data_encoding::HEXLOWER.encode(&keys.leaf(&[record]).as_bytes()[..6]),
        data_encoding::HEXLOWER.encode(&proofs.of_who_began[..6]),
        data_encoding::HEXLOWER.encode(&proofs.of_who_answered[..6]),
    ];
    assert_eq!(shown, ["eab9f3aca121", "ed1c9bdc54dac963", "e82b301afc94", "167bc7b8c8bc", "700512648194"]);
    assert_eq!(keys.node(node, Sum::ZERO), ShortDigest::EMPTY);
}

#[test]
fn d1_d2_bodies_that_are_no_message_are_refused() {
    for (message, _) in some_messages() {
        let body = message.encode();
        for length in 0..body.len() {
            assert!(matches!(
                ReconcileMessage::decode(&body[..length]),
                Err(ReconcileDecodeError::Malformed(_))
            ));
        }
        for bit in 0..body.len() * 8 {
            let mut flipped = body.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // An error or another message, never a panic.
            let _ = ReconcileMessage::decode(&flipped);
        }
    }
    let long = vec![0; RECONCILE_MESSAGE_BYTES_MAX + 1];
    assert_eq!(ReconcileMessage::decode(&long), Err(ReconcileDecodeError::TooLong(long.len())));
    assert_eq!(ReconcileMessage::decode(&[5, 0]), Err(ReconcileDecodeError::Trailing(1)));
    assert!(matches!(ReconcileMessage::decode(&[6]), Err(ReconcileDecodeError::Malformed(_))));
    // Lengths of 2^63 and of 2^32 - 1, with nothing behind them.
    for length in
        [&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]]
    {
        for sort in [2, 3, 4] {
            let body = [&[sort], length].concat();
            assert!(matches!(ReconcileMessage::decode(&body), Err(ReconcileDecodeError::Malformed(_))));
        }
    }
    let table: &[(&[u8], ReconcileDecodeError)] = &[
        (&[2, 1, 0, 0], ReconcileDecodeError::Uneven { bytes: 1, each: 2 }),
        (&[2, 0, 5, 0, 0, 0, 0, 0], ReconcileDecodeError::Uneven { bytes: 5, each: 8 }),
        (&[3, 0, 0, 0], ReconcileDecodeError::EmptyPage),
        (&[3, 1, 0, 1, 0, 1], ReconcileDecodeError::Count { got: 0, announced: 1 }),
        (&[3, 2, 4, 0, 0, 0, 0, 1], ReconcileDecodeError::UnorderedLeaves),
        (&[3, 2, 4, 0, 0xff, 0xff, 3, 0, 0, 1], ReconcileDecodeError::UnorderedLeaves),
        (
            &[3, 1, 4, 2, 12, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1],
            ReconcileDecodeError::UnorderedFingerprints(4),
        ),
    ];
    for (body, error) in table {
        assert_eq!(ReconcileMessage::decode(body).as_ref(), Err(error), "{body:?}");
    }
    let too_many = |message: ReconcileMessage| match ReconcileMessage::decode(&message.encode()) {
        Err(ReconcileDecodeError::TooMany(_, what, _)) => what,
        other => panic!("{other:?}"),
    };
    let masks = ReconcileMessage::Children { masks: vec![0; 257], digests: vec![] };
    let digests = ReconcileMessage::Children { masks: vec![], digests: vec![ShortDigest::EMPTY; 65_537] };
    let count = RECONCILE_PAGE_MAX + 1;
    let fingerprints = ReconcileMessage::Page(Page {
        fingerprints: vec![ShortFingerprint([0; 6]); count],
        ..Page::default()
    });
    let leaves: Vec<_> = Leaf::all().take(count).map(|leaf| (leaf, 0)).collect();
    let leaves = ReconcileMessage::Page(Page { leaves, ..Page::default() });
    let answers = ReconcileMessage::Wanted(vec![0; count.div_ceil(8)]);
    let sorts = [masks, digests, fingerprints, leaves, answers].map(too_many);
    assert_eq!(sorts, ["masks", "digests", "fingerprints", "leaves", "answers"]);
}

// ── figures ──

/// A million records, or fewer; of a thousand paths each end has another version.
fn thousand_differences(count: u64) -> World {
    let both = || anywhere(0..count - 1_000);
    // The same leaves on both sides, as of other versions of the same paths.
    let version = |of: u64| {
        (0..1_000).map(move |number| {
            let place = record(10_000_000 + number, |leaf| leaf);
            record(of + number, |_| leaf_of(&place).0)
        })
    };
    let mut world =
        World::new(Set::of(both().chain(version(20_000_000))), Set::of(both().chain(version(30_000_000))));
    world.leader.begin();
    world.settle();
    world.assert_converged();
    world
}

#[test]
fn a_thousand_differences_among_a_hundred_thousand() {
    let world = thousand_differences(100_000);
    println!("{} bytes, {} round trips", world.bytes(), world.round_trips());
    assert!(world.bytes() <= 170_000 && world.round_trips() <= 6);
}

#[test]
#[ignore = "takes half a minute without optimisation; run with --release"]
fn a_thousand_differences_among_a_million() {
    let world = thousand_differences(1_000_000);
    println!("1,000 of 1,000,000 differ: {} bytes, {} round trips", world.bytes(), world.round_trips());
    assert!(world.bytes() <= 250_000 && world.round_trips() <= 6);
    let mut world = World::new(world.leader.set, world.follower.set);
    world.follower.begin();
    world.settle();
    world.assert_converged();
    println!("1,000,000 are equal: {} bytes, {} trips", world.bytes(), world.trips);
    assert!(world.bytes() <= 1_000);
}
