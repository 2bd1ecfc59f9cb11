//! Stories of a device that fetches: sources with what they have, and a clock that the test turns.

use core::time::Duration;

use super::*;
use crate::limits::{WINDOW_BYTES_MAX, WINDOW_BYTES_MIN};

const ANA: SourceId = SourceId(1);
const BEN: SourceId = SourceId(2);
const MIB: u64 = 1 << 20;

fn content(number: u8) -> ContentId {
    ContentId::from_bytes([number; 32])
}

fn small(number: u8) -> Piece {
    Piece::Content(content(number))
}

fn segment(number: u8, at: u32) -> Piece {
    Piece::Segment(content(number), at)
}

/// A transfer, and what each source says to have.
struct World {
    transfer: Transfer,
    has: BTreeMap<(SourceId, Piece), Has>,
    now: Time,
}

impl World {
    fn new(sources: &[SourceId]) -> Self {
        let mut transfer = Transfer::new(7);
        sources.iter().for_each(|source| transfer.connected(*source));
        Self { transfer, has: BTreeMap::new(), now: Time::ZERO }
    }

    fn want(&mut self, piece: Piece, bytes: u64, rank: u64) {
        self.transfer.want(Wanted { piece, bytes, rank });
    }

    fn says(&mut self, source: SourceId, piece: Piece, has: Has) {
        self.has.insert((source, piece), has);
        self.transfer.learned(source, Some(&piece));
    }

    fn next(&mut self) -> Option<Next> {
        let has = &self.has;
        let answer = |source, piece: &Piece| *has.get(&(source, *piece)).unwrap_or(&Has::Unknown);
        self.transfer.poll(self.now, answer)
    }

    fn all(&mut self) -> Vec<Next> {
        core::iter::from_fn(|| self.next()).collect()
    }

    /// The asks that are to be made now, and nothing else.
    fn asks(&mut self) -> Vec<Ask> {
        let ask = |next| match next {
            Next::Ask(ask) => ask,
            other => panic!("{other:?}"),
        };
        self.all().into_iter().map(ask).collect()
    }

    fn wait(&mut self, wait: Duration) {
        self.now = self.now.after(wait);
        self.transfer.tick(self.now);
    }

    fn arrive(&mut self, ask: &Ask, bytes: u64) {
        self.transfer.came(ask.id, bytes, self.now);
        for piece in &ask.pieces {
            assert!(self.transfer.piece_came(ask.id, piece));
            self.transfer.forget(piece);
        }
    }
}

#[test]
fn small_contents_are_asked_for_together_in_the_order_in_which_they_are_wanted() {
    let mut world = World::new(&[ANA]);
    for number in [3, 1, 2] {
        world.want(small(number), 1000, u64::from(number));
        world.says(ANA, small(number), Has::Yes);
    }
    let asks = world.asks();
    assert_eq!(asks.len(), 1);
    assert_eq!((asks[0].source, &*asks[0].pieces), (ANA, [small(1), small(2), small(3)].as_slice()));
    world.arrive(&asks[0], 3000);
    assert!(world.transfer.is_empty());
    assert_eq!(world.all(), []);
}

#[test]
fn an_ask_of_small_contents_has_bounds_and_a_larger_content_goes_alone() {
    let mut world = World::new(&[ANA]);
    for (rank, (number, bytes)) in [(1, 700), (2, 700), (3, 5000), (4, 1)].into_iter().enumerate() {
        world.want(small(number), bytes << 10, rank as u64);
    }
    let asks: Vec<_> = world.asks().into_iter().map(|ask| ask.pieces).collect();
    assert_eq!(asks, [vec![small(1)], vec![small(2)], vec![small(3)]], "then it owes enough");
}

#[test]
fn a_source_is_asked_only_for_what_it_has_and_the_unsure_one_only_if_nobody_has_it() {
    let mut world = World::new(&[ANA, BEN]);
    for number in 1..=3 {
        world.want(small(number), 10, number.into());
    }
    world.says(ANA, small(1), Has::No);
    world.says(BEN, small(1), Has::Yes);
    world.says(ANA, small(2), Has::Unknown);
    world.says(BEN, small(2), Has::Yes);
    world.says(BEN, small(3), Has::No);
    let asks = world.asks();
    assert_eq!((asks[0].source, &*asks[0].pieces), (ANA, [small(3)].as_slice()));
    assert_eq!((asks[1].source, &*asks[1].pieces), (BEN, [small(1), small(2)].as_slice()));
}

#[test]
fn the_rarest_segment_comes_first_and_each_is_asked_of_one() {
    let mut world = World::new(&[ANA, BEN]);
    for at in 0..6 {
        world.want(segment(1, at), MIB, 0);
        world.says(ANA, segment(1, at), Has::Yes);
        world.says(BEN, segment(1, at), if at == 4 { Has::No } else { Has::Yes });
    }
    let asks = world.asks();
    let first_of_ana = asks.iter().find(|ask| ask.source == ANA).unwrap();
    assert_eq!(first_of_ana.pieces, [segment(1, 4)]);
    let mut asked: Vec<_> = asks.iter().flat_map(|ask| ask.pieces.clone()).collect();
    assert_eq!(asked.len(), 2 * usize::try_from(WINDOW_BYTES_MIN / MIB).unwrap());
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), asks.len());
}

/// Else four receivers ask one origin for the same segments in the same order, and have nothing to give each other.
#[test]
fn devices_ask_for_equally_rare_segments_in_different_orders() {
    let order = |seed| {
        let mut transfer = Transfer::new(seed);
        transfer.connected(ANA);
        for at in 0..64 {
            transfer.want(Wanted { piece: segment(1, at), bytes: 1, rank: 0 });
        }
        let asks = core::iter::from_fn(|| transfer.poll(Time::ZERO, |_, _| Has::Yes));
        asks.take(8).collect::<Vec<_>>()
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn a_faster_source_may_owe_more_within_bounds() {
    let mut world = World::new(&[ANA]);
    for at in 0..200 {
        world.want(segment(1, at), MIB, 0);
        world.says(ANA, segment(1, at), Has::Yes);
    }
    let first = world.asks();
    assert_eq!(first.len() as u64, WINDOW_BYTES_MIN / MIB);
    let mut owed = first;
    for _ in 0..30 {
        world.wait(Duration::from_millis(10));
        let ask = owed.remove(0);
        world.arrive(&ask, MIB);
        owed.extend(world.asks());
    }
    assert_eq!(
        owed.len() as u64,
        WINDOW_BYTES_MAX / MIB,
        "100 MiB a second for half a second is more than the bound"
    );
}

/// I25, T10: a liar costs three pieces.
#[test]
fn i25_who_sends_false_bytes_is_given_up_and_the_pieces_come_from_elsewhere() {
    let mut world = World::new(&[ANA]);
    for number in 1..=5 {
        world.want(small(number), MIB, number.into());
    }
    let mut false_ones = 0;
    let given_up = loop {
        match world.next() {
            Some(Next::Ask(ask)) => {
                let piece = ask.pieces[0];
                world.transfer.came(ask.id, MIB, world.now);
                assert!(world.transfer.piece_came(ask.id, &piece));
                world.transfer.is_false(&piece, ANA);
                false_ones += 1;
            }
            other => break other,
        }
    };
    assert_eq!((false_ones, given_up), (STRIKES_MAX, Some(Next::GiveUp(ANA, Fault::FalseBytes))));
    world.transfer.disconnected(ANA);
    world.transfer.connected(BEN);
    let asked: Vec<_> = world.asks().into_iter().flat_map(|ask| ask.pieces).collect();
    assert_eq!(asked, [small(1), small(2)], "the first ones again");
}

#[test]
fn what_a_stalled_source_owes_is_asked_of_another_and_who_is_second_is_told_to_stop() {
    let mut world = World::new(&[ANA]);
    world.want(small(1), 10, 0);
    let slow = world.asks().remove(0);
    world.transfer.connected(BEN);
    assert_eq!(world.all(), []);
    assert_eq!(world.transfer.next_wake(world.now), Some(Time::ZERO.after(STALL)));
    world.wait(STALL);
    let again = world.asks().remove(0);
    assert_eq!((again.source, &*again.pieces), (BEN, [small(1)].as_slice()));
    assert!(world.transfer.piece_came(slow.id, &small(1)), "it came after all");
    assert!(!world.transfer.piece_came(again.id, &small(1)), "the second is of no use");
    world.transfer.forget(&small(1));
    assert_eq!(world.all(), []);
}

#[test]
fn an_ask_that_is_not_needed_any_more_is_cancelled() {
    let mut world = World::new(&[ANA]);
    world.want(small(1), 10, 0);
    let ask = world.asks().remove(0);
    world.transfer.forget(&small(1));
    assert_eq!(world.all(), [Next::Cancel(ANA, ask.id)]);
    world.transfer.ended(ask.id);
    assert_eq!(world.all(), []);
}

#[test]
fn who_is_silent_is_given_up() {
    let mut world = World::new(&[ANA, BEN]);
    world.want(small(1), 10, 0);
    world.says(BEN, small(1), Has::No);
    assert_eq!(world.asks().len(), 1);
    world.wait(STALL);
    assert_eq!(world.all(), [], "nobody else has it");
    assert_eq!(world.transfer.next_wake(world.now), Some(Time::ZERO.after(SILENCE_MAX)));
    world.wait(SILENCE_MAX);
    assert_eq!(world.all(), [Next::GiveUp(ANA, Fault::Silent)]);
    world.says(BEN, small(1), Has::Yes);
    assert_eq!(world.asks()[0].source, BEN);
}

#[test]
fn what_is_refused_is_asked_elsewhere_and_of_the_same_one_once_it_has_it() {
    let mut world = World::new(&[ANA]);
    world.want(small(1), 10, 1);
    world.want(small(2), 10, 2);
    let ask = world.asks().remove(0);
    world.transfer.refused(ask.id, &small(1), Unserved::Absent, world.now);
    world.transfer.refused(ask.id, &small(2), Unserved::Busy, world.now);
    assert_eq!(world.all(), []);
    assert_eq!(world.transfer.next_wake(world.now), Some(Time::ZERO.after(BUSY_PAUSE)));
    world.wait(BUSY_PAUSE);
    assert_eq!(world.asks()[0].pieces, [small(2)]);
    world.says(ANA, small(1), Has::Yes);
    assert_eq!(world.asks()[0].pieces, [small(1)]);
}

#[test]
fn what_somebody_owed_who_is_gone_is_asked_of_others() {
    let mut world = World::new(&[ANA]);
    world.want(segment(1, 0), MIB, 0);
    let ask = world.asks().remove(0);
    world.transfer.disconnected(ANA);
    assert_eq!(world.all(), []);
    world.transfer.connected(BEN);
    assert_eq!(world.asks()[0].source, BEN);
    assert!(!world.transfer.piece_came(ask.id, &segment(1, 0)), "too late");
}

#[test]
fn what_could_not_be_kept_is_asked_for_again_and_nobody_is_blamed() {
    let mut world = World::new(&[ANA]);
    world.want(small(1), 10, 0);
    for _ in 0..10 {
        let ask = world.asks().remove(0);
        assert!(world.transfer.piece_came(ask.id, &small(1)));
        world.transfer.is_lost(&small(1));
    }
    assert!(world.transfer.wants(&small(1)));
}

/// A slow source that goes on is not silent, however long all that it owes takes.
#[test]
fn who_is_slow_and_goes_on_is_not_given_up() {
    let mut world = World::new(&[ANA]);
    (0..2).for_each(|at| world.want(segment(1, at), MIB, 0));
    let asks = world.asks();
    assert_eq!(asks.len(), 2);
    for _ in 0..100 {
        world.transfer.came(asks[0].id, 10_000, world.now);
        world.wait(Duration::from_secs(2));
        assert_eq!(world.all(), []);
    }
}

/// I25: who trickles is not silent, but does not keep a piece from others for long.
#[test]
fn i25_what_trickles_is_asked_of_another_as_well() {
    let mut world = World::new(&[ANA]);
    world.want(segment(1, 0), MIB, 0);
    assert_eq!(world.asks().len(), 1);
    world.transfer.connected(BEN);
    while world.now < Time::ZERO.after(LATE) {
        assert_eq!(world.all(), []);
        world.wait(Duration::from_secs(1));
        world.transfer.came(AskId(0), 1, world.now);
    }
    assert_eq!(world.asks()[0].source, BEN);
}

/// Bytes of which there are none are no sign of life.
#[test]
fn i25_who_sends_nothing_again_and_again_is_given_up() {
    let mut world = World::new(&[ANA]);
    world.want(small(1), 10, 0);
    let ask = world.asks().remove(0);
    for _ in 0..30 {
        world.transfer.came(ask.id, 0, world.now);
        world.wait(Duration::from_secs(1));
    }
    assert_eq!(world.all(), [Next::GiveUp(ANA, Fault::Silent)]);
}

/// What is missing of a segment is asked of a certain source, which owes no more than that.
#[test]
fn a_piece_can_be_asked_of_a_certain_source_in_part() {
    let mut world = World::new(&[ANA, BEN]);
    let wanted = Wanted { piece: segment(1, 0), bytes: MIB, rank: 0 };
    let ask = world.transfer.ask_of(BEN, wanted, 100, world.now).unwrap();
    assert_eq!(world.transfer.owed(), 100);
    assert_eq!(world.transfer.ask_of(ANA, wanted, 100, world.now), None, "somebody is asked already");
    assert_eq!(world.all(), []);
    world.transfer.refused_all(ask, Unserved::Absent, world.now);
    assert_eq!(world.asks()[0].source, ANA);
    assert_eq!(world.transfer.owed(), MIB);
}
