//! Connections of a world: dialled, used, ended.
//!
//! Promise: messages are written and read as bytes in frames. Everybody who runs dials everybody, again after a pause
//! that grows; an engine is told of the end of each connection that it was told of, its own hanging up included, once.

use core::time::Duration;

use shoal_engine::io::{Conn, Input};
use shoal_engine::time::Time;
use shoal_proto::frame::RequestId;
use shoal_proto::message::Message;

use super::jobs::short;
use super::{Event, NAMES, World};
use crate::check::Broken;
use crate::network::{Left, WireId, conn, end_of, side};

/// A ping and a pong, as frames without a body.
const PINGS_BYTES: usize = 2 * 9;

impl World {
    pub(super) fn plan_dial(&mut self, from: usize, to: usize, wait: Duration) {
        if self.dialling.insert((from, to)) {
            let life = self.devices[from].life;
            self.queue.after(wait, Event::Dial { from, to, life });
        }
    }

    fn plan_dial_again(&mut self, from: usize, to: usize, began: Option<Time>) {
        let now = self.now();
        let pause = self.network.pause(from, to, began, now);
        let more = Duration::from_millis(self.draw.below(1_000) as u64);
        self.plan_dial(from, to, pause + more);
    }

    pub(super) fn dial(&mut self, from: usize, to: usize, life: u32) {
        if !self.lives(from, life) {
            return;
        }
        self.dialling.remove(&(from, to));
        if self.network.believes(from, to) || self.devices[to].is_retired {
            return;
        }
        if self.devices[to].running.is_none() || self.network.is_barred(from, to) {
            self.plan_dial_again(from, to, None);
            return;
        }
        let wait = Duration::from_millis(1 + self.draw.below(300) as u64);
        let lives = [life, self.devices[to].life];
        self.queue.after(wait, Event::Shaken { from, to, lives });
    }

    /// Both ends have proved their keys.
    pub(super) fn shaken(&mut self, from: usize, to: usize, lives: [u32; 2]) -> Result<(), Broken> {
        if !self.lives(from, lives[0]) {
            return Ok(());
        }
        if !self.lives(to, lives[1]) || self.network.is_barred(from, to) {
            self.plan_dial_again(from, to, None);
            return Ok(());
        }
        let now = self.now();
        let wire = self.network.connect(&mut self.draw, now, [(from, lives[0]), (to, lives[1])]);
        self.tally.connections += 1;
        self.trace.note(now, b'c', from, &[u8::try_from(to).unwrap_or(u8::MAX)]);
        self.trace.say(now, || format!("{} reaches {}", NAMES[from % 16], NAMES[to % 16]));
        let exporter = blake3::hash(&[self.seed.to_be_bytes(), wire.to_be_bytes()].concat());
        for (end, (device, peer)) in [(from, to), (to, from)].into_iter().enumerate() {
            let input = Input::Connected {
                conn: conn(wire, end),
                device: self.devices[peer].id(),
                side: side(end),
                exporter: *exporter.as_bytes(),
            };
            self.tell(device, input)?;
        }
        Ok(())
    }

    pub(super) fn send(
        &mut self,
        device: usize,
        conn: Conn,
        request: RequestId,
        message: Message,
    ) -> Result<(), Broken> {
        let says = match &mut self.devices[device].hostile {
            Some(hostile) => hostile.say(request, message),
            None => vec![(request, message)],
        };
        for (request, message) in says {
            let mut bytes = Vec::new();
            if let Err(error) = message.write(&mut bytes, request) {
                let what = format!("{} cannot say {}: {error}", self.devices[device].name, short(&message));
                return Err(Broken::new("I30", what));
            }
            if !matches!(message, Message::Ping | Message::Pong) {
                self.moved = self.now();
                self.tally.messages += 1;
            }
            self.tally.bytes += bytes.len() as u64;
            self.trace.note(self.queue.now(), b'm', device, &bytes);
            let (wire, end) = end_of(conn);
            let Some(wire) = self.network.wire(wire) else { continue };
            let peer = wire.ends[1 - end].device;
            if !matches!(message, Message::Ping | Message::Pong) {
                self.trace.say(self.queue.now(), || {
                    format!("{} → {} ({}): {}", NAMES[device % 16], NAMES[peer % 16], conn.0, short(&message))
                });
            }
            wire.send(end, &bytes);
            self.go_on_sending(conn);
        }
        Ok(())
    }

    pub(super) fn hang_up(&mut self, device: usize, conn: Conn) {
        self.trace.say(self.queue.now(), || format!("{} hangs up {}", NAMES[device % 16], conn.0));
        let (wire, end) = end_of(conn);
        if let Some(wire) = self.network.wire(wire) {
            wire.ends[end].hangs_up = true;
        }
        self.unread.remove(&(device, conn));
        self.go_on_sending(conn);
    }

    fn go_on_sending(&mut self, conn: Conn) {
        let (id, end) = end_of(conn);
        if let Some(wire) = self.network.wire(id)
            && !wire.ends[end].is_leaving
        {
            wire.ends[end].is_leaving = true;
            self.queue.after(Duration::ZERO, Event::Leave { wire: id, end });
        }
    }

    /// Some of what is queued at an end leaves.
    pub(super) fn leave(&mut self, id: WireId, end: usize) -> Result<(), Broken> {
        let now = self.now();
        let Some(wire) = self.network.wire(id) else { return Ok(()) };
        if !wire.ends[end].is_open {
            return Ok(());
        }
        match wire.leave(end, now, &mut self.draw) {
            Left::Under { bytes, arrives, more, is_drained } => {
                let device = wire.ends[end].device;
                if !wire.is_dead {
                    self.queue.at(arrives, Event::Arrive { wire: id, end: 1 - end, bytes });
                }
                self.queue.at(more, Event::Leave { wire: id, end });
                if is_drained {
                    self.tell(device, Input::Drained(conn(id, end)))?;
                }
            }
            Left::Stalled(until) => self.queue.at(until, Event::Leave { wire: id, end }),
            Left::Full => wire.ends[end].is_leaving = false,
            Left::Nothing => {
                wire.ends[end].is_leaving = false;
                if wire.ends[end].hangs_up {
                    let when = wire.end_time(1 - end, now);
                    let is_dead = wire.is_dead;
                    self.queue.at(now, Event::Over { wire: id, end });
                    if !is_dead {
                        self.queue.at(when, Event::Over { wire: id, end: 1 - end });
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn arrive(&mut self, id: WireId, end: usize, bytes: &[u8]) -> Result<(), Broken> {
        let Some(wire) = self.network.wire(id) else { return Ok(()) };
        let is_dead = wire.is_dead;
        let own = &mut wire.ends[end];
        own.under_way = own.under_way.saturating_sub(bytes.len());
        if !own.is_open || is_dead || own.hangs_up {
            return Ok(());
        }
        own.arrived.extend(bytes);
        let device = own.device;
        self.unread.insert((device, conn(id, end)));
        if let Some(input) = self.read(device)? {
            self.tell(device, input)?;
        }
        Ok(())
    }

    /// The next message that a device can read on any of its connections.
    pub(super) fn read(&mut self, device: usize) -> Result<Option<Input>, Broken> {
        let conns: Vec<Conn> =
            self.unread.range((device, Conn(0))..=(device, Conn(u64::MAX))).map(|(_, conn)| *conn).collect();
        for conn in conns {
            if let Some(input) = self.read_one(device, conn)? {
                return Ok(Some(input));
            }
        }
        Ok(None)
    }

    fn read_one(&mut self, device: usize, conn: Conn) -> Result<Option<Input>, Broken> {
        let Some(running) = &self.devices[device].running else { return Ok(None) };
        if !running.engine.is_reading(conn) {
            return Ok(None);
        }
        let (id, end) = end_of(conn);
        let Some(wire) = self.network.wire(id) else {
            self.unread.remove(&(device, conn));
            return Ok(None);
        };
        let sender = wire.ends[1 - end].device;
        let own = &mut wire.ends[end];
        let mut has_taken = false;
        let found = loop {
            match own.reader.next_frame() {
                Ok(Some(frame)) => match Message::read(&frame) {
                    Ok(Some(message)) => break Ok(Some((frame.request, message))),
                    // A message that may be passed over.
                    Ok(None) => {}
                    Err(error) => break Err(error.to_string()),
                },
                Ok(None) if own.arrived.is_empty() => break Ok(None),
                Ok(None) => {
                    let bytes: Vec<u8> = own.arrived.drain(..).collect();
                    own.reader.push(&bytes);
                    has_taken = true;
                }
                Err(error) => break Err(error.to_string()),
            }
        };
        if has_taken {
            self.go_on_sending(crate::network::conn(id, 1 - end));
        }
        match found {
            Ok(Some((request, message))) => Ok(Some(Input::Received(conn, request, message))),
            Ok(None) => {
                self.unread.remove(&(device, conn));
                Ok(None)
            }
            Err(error) if self.devices[sender].is_honest() => {
                let what = format!("{} sent what nobody can read: {error}", self.devices[sender].name);
                Err(Broken::new("I30", what))
            }
            Err(_) => {
                self.unread.remove(&(device, conn));
                self.cut_wire(id, [Duration::ZERO; 2]);
                Ok(None)
            }
        }
    }

    /// A connection breaks; each end learns it after a time.
    pub(super) fn cut_wire(&mut self, id: WireId, waits: [Duration; 2]) {
        let now = self.now();
        let Some(wire) = self.network.wire(id) else { return };
        wire.is_dead = true;
        for (end, wait) in waits.into_iter().enumerate() {
            self.queue.at(now.after(wait), Event::Over { wire: id, end });
        }
    }

    /// An end learns that its connection is over.
    pub(super) fn over(&mut self, id: WireId, end: usize) -> Result<(), Broken> {
        let Some(wire) = self.network.wire(id) else { return Ok(()) };
        if !wire.ends[end].is_open {
            return Ok(());
        }
        let since = wire.since();
        let (own, peer) = (&mut wire.ends[end], 1 - end);
        own.is_open = false;
        own.queued.clear();
        own.arrived.clear();
        let (device, life) = (own.device, own.life);
        let peer = wire.ends[peer].device;
        self.network.forget_closed(id);
        self.unread.remove(&(device, conn(id, end)));
        if !self.lives(device, life) {
            return Ok(());
        }
        self.trace.note(self.queue.now(), b'o', device, &[u8::try_from(peer).unwrap_or(u8::MAX)]);
        self.trace.say(self.queue.now(), || {
            format!("{} has lost {} ({})", NAMES[device % 16], NAMES[peer % 16], conn(id, end).0)
        });
        self.tell(device, Input::Disconnected(conn(id, end)))?;
        self.plan_dial_again(device, peer, Some(since));
        Ok(())
    }

    /// The process of a device has ended: its ends are gone; the others learn it now, if the system is left to tell
    /// them, or late.
    pub(super) fn drop_ends(&mut self, device: usize, is_told: bool) {
        let now = self.now();
        let ids: Vec<WireId> = self.network.wires().map(|(id, _)| id).collect();
        for id in ids {
            let late = Duration::from_secs(5 + self.draw.below(115) as u64);
            let Some(wire) = self.network.wire(id) else { continue };
            for end in 0..2 {
                if wire.ends[end].device != device || !wire.ends[end].is_open {
                    continue;
                }
                wire.ends[end].is_open = false;
                wire.ends[end].queued.clear();
                let when = if is_told { wire.end_time(1 - end, now) } else { now.after(late) };
                wire.is_dead |= !is_told;
                self.queue.at(when, Event::Over { wire: id, end: 1 - end });
            }
            self.network.forget_closed(id);
        }
        self.unread.retain(|(of, _)| *of != device);
        self.dialling.retain(|(from, _)| *from != device);
    }

    /// Whether no bytes are under way, but a ping and its answer, and on connections through which nothing gets.
    pub(super) fn wires_are_empty(&self) -> bool {
        let is_empty = |wire: &crate::network::Wire| {
            let mut ends = wire.ends.iter();
            wire.is_dead
                || ends.all(|end| end.queued.len() + end.under_way + end.arrived.len() <= PINGS_BYTES)
        };
        self.network.wires().all(|(_, wire)| is_empty(wire))
    }
}
