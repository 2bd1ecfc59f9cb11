//! The connections between devices: slow, cut anywhere, sometimes dead without anybody's knowing.
//!
//! Promise: what arrives at an end is a beginning of what was sent to it, in order, in portions cut anywhere; a connection
//! that is over is told to each end once. What was dialled, and when again, stands in for the daemon. Nothing here knows
//! what messages mean.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shoal_engine::io::Conn;
use shoal_engine::limits::DRAINED_BYTES;
use shoal_engine::time::Time;
use shoal_proto::frame::FrameReader;
use shoal_proto::secret::Side;

use crate::draw::Draw;

/// Bytes that arrived and that the program has not read; then the system takes no more.
const UNREAD_BYTES_MAX: usize = 256 << 10;

/// Most bytes that are on their way as one event.
const PORTION_BYTES_MAX: usize = 64 << 10;

/// How soon a device dials again, at first and at most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A connection that lived so long was a good one.
const GOOD: Duration = Duration::from_secs(30);

/// A connection.
pub type WireId = u64;

/// All connections, and who cannot reach whom.
#[derive(Debug, Default)]
pub struct Network {
    wires: BTreeMap<WireId, Wire>,
    made: WireId,
    barred: BTreeSet<(usize, usize)>,
    pauses: BTreeMap<(usize, usize), Duration>,
}

/// A connection between two devices; end 0 dialled.
#[derive(Debug)]
pub struct Wire {
    /// Both ends.
    pub ends: [End; 2],
    since: Time,
    delay: Duration,
    bytes_per_second: u64,
    stalled_until: Time,
    /// Nothing gets through any more, whoever knows it.
    pub is_dead: bool,
}

/// One end of a connection.
#[derive(Debug)]
pub struct End {
    /// Whose.
    pub device: usize,
    /// In which life of the device.
    pub life: u32,
    /// Whether the device was not yet told that it is over.
    pub is_open: bool,
    /// Whether the device hung up: after what is queued the connection ends.
    pub hangs_up: bool,
    /// What was sent and has not left.
    pub queued: VecDeque<u8>,
    /// Whether an event is due at which more leaves.
    pub is_leaving: bool,
    is_above: bool,
    last_arrival: Time,
    /// Bytes under way to this end.
    pub under_way: usize,
    /// What arrived and was not read.
    pub arrived: VecDeque<u8>,
    /// Frames of what was read.
    pub reader: FrameReader,
}

/// What becomes of a portion of a send queue.
#[derive(Debug, Eq, PartialEq)]
pub enum Left {
    /// It arrives then; more can leave at the second moment. The send queue has room again, if it is said so.
    Under {
        /// What left.
        bytes: Vec<u8>,
        /// When it arrives.
        arrives: Time,
        /// When more can leave.
        more: Time,
        /// The send queue has just become short.
        is_drained: bool,
    },
    /// It has to wait until then.
    Stalled(Time),
    /// It has to wait until the other end reads.
    Full,
    /// There is nothing to send (any more).
    Nothing,
}

/// The name of an end, as its device knows it.
#[must_use]
pub fn conn(wire: WireId, end: usize) -> Conn {
    Conn(wire * 2 + end as u64)
}

/// Which wire and end a name means.
#[must_use]
pub fn end_of(conn: Conn) -> (WireId, usize) {
    (conn.0 / 2, usize::from(conn.0 % 2 == 1))
}

/// The side that an end is on.
#[must_use]
pub fn side(end: usize) -> Side {
    if end == 0 { Side::Dialler } else { Side::Listener }
}

impl Network {
    /// Connects two devices, each in its life of now; says by what name.
    pub fn connect(&mut self, draw: &mut Draw, now: Time, devices: [(usize, u32); 2]) -> WireId {
        self.made += 1;
        let delay = match draw.below(6) {
            0 => Duration::from_micros(50),
            1..=3 => Duration::from_millis(1 + draw.below(40) as u64),
            4 => Duration::from_millis(100 + draw.below(300) as u64),
            _ => Duration::from_secs(1),
        };
        let bytes_per_second = [20_000, 300_000, 5_000_000, 100_000_000, 1_000_000_000][draw.below(5)];
        let end = |(device, life)| End {
            device,
            life,
            is_open: true,
            hangs_up: false,
            queued: VecDeque::new(),
            is_leaving: false,
            is_above: false,
            last_arrival: now,
            under_way: 0,
            arrived: VecDeque::new(),
            reader: FrameReader::default(),
        };
        let ends = devices.map(end);
        let wire =
            Wire { ends, since: now, delay, bytes_per_second, stalled_until: Time::ZERO, is_dead: false };
        self.wires.insert(self.made, wire);
        self.made
    }

    /// A connection that somebody still knows of.
    pub fn wire(&mut self, wire: WireId) -> Option<&mut Wire> {
        self.wires.get_mut(&wire)
    }

    /// All connections that somebody still knows of.
    pub fn wires(&self) -> impl Iterator<Item = (WireId, &Wire)> {
        self.wires.iter().map(|(id, wire)| (*id, wire))
    }

    /// Forgets a connection of which nobody knows any more.
    pub fn forget_closed(&mut self, wire: WireId) {
        if self.wires.get(&wire).is_some_and(|wire| wire.ends.iter().all(|end| !end.is_open)) {
            self.wires.remove(&wire);
        }
    }

    /// Whether a device believes to be connected to another one.
    #[must_use]
    pub fn believes(&self, device: usize, peer: usize) -> bool {
        self.wires.values().any(|wire| {
            let [one, other] = &wire.ends;
            let is = |own: &End, far: &End| own.device == device && far.device == peer && own.is_open;
            is(one, other) || is(other, one)
        })
    }

    /// The connections between two devices through which something gets.
    #[must_use]
    pub fn between(&self, one: usize, other: usize) -> Vec<WireId> {
        let is = |wire: &Wire| {
            let ends = [wire.ends[0].device, wire.ends[1].device];
            !wire.is_dead && (ends == [one, other] || ends == [other, one])
        };
        self.wires.iter().filter(|(_, wire)| is(wire)).map(|(id, _)| *id).collect()
    }

    /// Lets two devices not reach each other, or again.
    pub fn bar(&mut self, one: usize, other: usize, is_barred: bool) {
        let pair = (one.min(other), one.max(other));
        if is_barred {
            self.barred.insert(pair);
        } else {
            self.barred.remove(&pair);
        }
    }

    /// Whether two devices can reach each other.
    #[must_use]
    pub fn is_barred(&self, one: usize, other: usize) -> bool {
        self.barred.contains(&(one.min(other), one.max(other)))
    }

    /// All can reach all, and who waits to dial waits no longer than at first.
    pub fn mend(&mut self) {
        self.barred.clear();
        self.pauses.clear();
        self.wires.values_mut().for_each(|wire| wire.stalled_until = Time::ZERO);
    }

    /// How long a device waits before it dials another one again, after it failed or a connection ended that began then.
    pub fn pause(&mut self, from: usize, to: usize, began: Option<Time>, now: Time) -> Duration {
        let pause = self.pauses.entry((from, to)).or_insert(PAUSE);
        if began.is_some_and(|began| now.since(began) >= GOOD) {
            *pause = PAUSE;
        }
        let wait = *pause;
        *pause = (wait * 2).min(PAUSE_MAX);
        wait
    }
}

impl Wire {
    /// When it was made.
    #[must_use]
    pub fn since(&self) -> Time {
        self.since
    }

    /// How long the way is.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Lets nothing through until then.
    pub fn stall(&mut self, until: Time) {
        self.stalled_until = until;
    }

    /// Adds bytes to the send queue of an end. Nothing, if it has hung up or was told that it is over.
    pub fn send(&mut self, end: usize, bytes: &[u8]) {
        let end = &mut self.ends[end];
        if end.is_open && !end.hangs_up {
            end.queued.extend(bytes);
            end.is_above |= end.queued.len() >= DRAINED_BYTES;
        }
    }

    /// A portion of the send queue of an end leaves.
    pub fn leave(&mut self, end: usize, now: Time, draw: &mut Draw) -> Left {
        if now < self.stalled_until {
            return Left::Stalled(self.stalled_until);
        }
        let far = &self.ends[1 - end];
        let unread = far.arrived.len() + far.under_way;
        if unread >= UNREAD_BYTES_MAX {
            return Left::Full;
        }
        let (delay, rate, is_dead) = (self.delay, self.bytes_per_second, self.is_dead);
        let near = &mut self.ends[end];
        if near.queued.is_empty() {
            return Left::Nothing;
        }
        let portion = if draw.one_in(4) { 1 + draw.below(100) } else { PORTION_BYTES_MAX };
        let portion = portion.min(near.queued.len());
        let bytes: Vec<u8> = near.queued.drain(..portion).collect();
        let is_drained = near.queued.is_empty() || near.is_above && near.queued.len() < DRAINED_BYTES;
        near.is_above &= !is_drained;
        let more = now.after(Duration::from_nanos(portion as u64 * 1_000_000_000 / rate));
        let far = &mut self.ends[1 - end];
        let arrives = more.after(delay).max(Time(far.last_arrival.0 + 1));
        far.last_arrival = arrives;
        if !is_dead {
            far.under_way += portion;
        }
        Left::Under { bytes, arrives, more, is_drained }
    }

    /// When an end that learns it after all that was sent learns that the connection is over.
    pub fn end_time(&mut self, end: usize, now: Time) -> Time {
        let when = now.after(self.delay).max(Time(self.ends[end].last_arrival.0 + 1));
        self.ends[end].last_arrival = when;
        when
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> (Network, WireId, Draw) {
        let (mut network, mut draw) = (Network::default(), Draw::new(1));
        let wire = network.connect(&mut draw, Time::ZERO, [(0, 1), (1, 1)]);
        (network, wire, draw)
    }

    #[test]
    fn bytes_arrive_in_order_and_the_queue_says_when_there_is_room() {
        let (mut network, wire, mut draw) = network();
        let wire = network.wire(wire).unwrap();
        let sent: Vec<u8> = (0..DRAINED_BYTES + 1000).map(|at| u8::try_from(at % 251).unwrap()).collect();
        wire.send(0, &sent);
        let (mut now, mut came, mut last, mut drained) = (Time::ZERO, Vec::new(), Time::ZERO, 0);
        loop {
            match wire.leave(0, now, &mut draw) {
                Left::Under { bytes, arrives, more, is_drained } => {
                    assert!(arrives > last && more >= now);
                    (now, last) = (more, arrives);
                    drained += u32::from(is_drained);
                    wire.ends[1].under_way -= bytes.len();
                    came.extend(bytes);
                }
                left => {
                    assert_eq!(left, Left::Nothing);
                    break;
                }
            }
        }
        assert_eq!((came == sent, drained), (true, 2), "below the mark, and then empty");
    }

    #[test]
    fn nothing_leaves_for_who_does_not_read() {
        let (mut network, wire, mut draw) = network();
        let wire = network.wire(wire).unwrap();
        wire.send(1, &vec![0; 3 * UNREAD_BYTES_MAX]);
        let mut bytes_left = 0;
        while let Left::Under { bytes, .. } = wire.leave(1, Time::ZERO, &mut draw) {
            bytes_left += bytes.len();
        }
        assert!((UNREAD_BYTES_MAX..UNREAD_BYTES_MAX + PORTION_BYTES_MAX).contains(&bytes_left));
        wire.ends[0].under_way = 0;
        assert!(matches!(wire.leave(1, Time::ZERO, &mut draw), Left::Under { .. }));
        wire.stall(Time(7));
        assert_eq!(wire.leave(1, Time(6), &mut draw), Left::Stalled(Time(7)));
    }

    #[test]
    fn who_dials_in_vain_waits_longer_each_time() {
        let (mut network, ..) = network();
        let waits: Vec<u64> = (0..8).map(|_| network.pause(0, 1, None, Time::ZERO).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        let later = Time::ZERO.after(GOOD);
        assert_eq!(network.pause(0, 1, Some(Time::ZERO), later), PAUSE);
        network.bar(1, 0, true);
        assert!(network.is_barred(0, 1));
    }
}
