//! A link between two daemons that a test holds in its hand: a TCP proxy whose wire can be cut, held still, slowed and bent.
//!
//! Promise: what is passed on is what came, in its order, but for the one bit that [`Link::flip_a_bit`] turns; all that was passed on
//! is kept. Who calls while the link is cut is hung up on at once, so that a call never hangs for the wrong reason.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::SOON;

/// Most bytes that are passed on at a time.
const PIECE_BYTES: usize = 16 << 10;

/// Most pieces of one direction that are on their way.
const PIECES_MAX: usize = 64;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// From who called.
    There,
    /// To who called.
    Back,
}

/// The proxy. Dropped, it hangs up on all.
pub(super) struct Link {
    address: SocketAddr,
    wire: Arc<Wire>,
}

#[derive(Default)]
struct Wire {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Where calls go; `None`: nowhere yet.
    target: Option<SocketAddr>,
    is_cut: bool,
    is_still: bool,
    is_over: bool,
    delay: Duration,
    /// Bytes go one by one.
    one_by_one: bool,
    /// The next byte this way is bent.
    to_bend: Option<Way>,
    /// Which way bytes were bent, a time for each such connection that has ended since.
    bent_ended: Vec<Way>,
    /// Both ends of all connections that stand or have stood.
    ends: Vec<TcpStream>,
    /// How many calls came, …
    came: usize,
    /// … and how many of them were put through.
    calls: usize,
    passed: [Vec<u8>; 2],
}

impl Link {
    /// A link that leads nowhere yet, at a port of loopback.
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let wire = Arc::new(Wire::default());
        let accepting = Arc::clone(&wire);
        thread::spawn(move || accept(&accepting, &listener));
        Self { address, wire }
    }

    /// Where it is called.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls go there from now on.
    pub(super) fn lead_to(&self, target: SocketAddr) {
        self.wire.state().target = Some(target);
    }

    /// Hangs up on all, and on whoever calls, until [`Self::heal`].
    pub(super) fn cut(&self) {
        let mut state = self.wire.state();
        state.is_cut = true;
        state.hang_up();
        self.wire.changed.notify_all();
    }

    /// Nothing moves, and nobody is told, until [`Self::heal`].
    pub(super) fn hold_still(&self) {
        self.wire.state().is_still = true;
    }

    /// Calls are put through again, and bytes move.
    pub(super) fn heal(&self) {
        let mut state = self.wire.state();
        (state.is_cut, state.is_still) = (false, false);
        self.wire.changed.notify_all();
    }

    /// Every byte arrives so much later.
    pub(super) fn slow_down(&self, delay: Duration) {
        self.wire.state().delay = delay;
    }

    /// Bytes are passed on one by one, or not.
    pub(super) fn pass_one_by_one(&self, one_by_one: bool) {
        self.wire.state().one_by_one = one_by_one;
    }

    /// The next byte that goes this way arrives with one bit turned.
    pub(super) fn flip_a_bit(&self, way: Way) {
        self.wire.state().to_bend = Some(way);
    }

    /// Waits until a connection on which a byte that went this way was bent is over; says so once for each.
    pub(super) fn wait_bent_ended(&self, way: Way) {
        let is_open = |state: &mut State| !state.bent_ended.contains(&way);
        let (mut state, waited) =
            self.wire.changed.wait_timeout_while(self.wire.state(), SOON, is_open).unwrap();
        assert!(!waited.timed_out(), "{way:?}: no bent connection ended within {SOON:?}");
        state.bent_ended.retain(|ended| *ended != way);
    }

    /// Waits until so many calls in all have come, put through or not.
    pub(super) fn wait_came(&self, calls: usize) {
        let is_less = |state: &mut State| state.came < calls;
        let (_state, waited) =
            self.wire.changed.wait_timeout_while(self.wire.state(), SOON, is_less).unwrap();
        assert!(!waited.timed_out(), "{calls} calls did not come within {SOON:?}");
    }

    /// How many calls came so far, put through or not.
    pub(super) fn came(&self) -> usize {
        self.wire.state().came
    }

    /// How many calls were put through so far.
    pub(super) fn calls(&self) -> usize {
        self.wire.state().calls
    }

    /// Waits until so many bytes in all have passed both ways.
    pub(super) fn wait_passed(&self, bytes: usize) {
        let state = self.wire.state();
        let is_less = |state: &mut State| state.passed.iter().map(Vec::len).sum::<usize>() < bytes;
        let (_state, waited) = self.wire.changed.wait_timeout_while(state, SOON, is_less).unwrap();
        assert!(!waited.timed_out(), "{bytes} bytes did not pass within {SOON:?}");
    }

    /// How many bytes have passed both ways.
    pub(super) fn passed(&self) -> usize {
        self.wire.state().passed.iter().map(Vec::len).sum()
    }

    /// All that has passed this way, over all connections.
    pub(super) fn capture(&self, way: Way) -> Vec<u8> {
        self.wire.state().passed[way as usize].clone()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut state = self.wire.state();
        state.is_over = true;
        state.hang_up();
        self.wire.changed.notify_all();
        drop(state);
        // Whoever accepts finds that it is over.
        drop(TcpStream::connect(self.address));
    }
}

impl State {
    fn hang_up(&mut self) {
        for end in self.ends.drain(..) {
            // It may be closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Connects who called; where nobody answers it is hung up on.
    fn put_through(self: &Arc<Self>, caller: TcpStream) {
        let target = self.state().target;
        let Some(Ok(called)) = target.map(TcpStream::connect) else { return };
        let mut state = self.state();
        if state.is_cut || state.is_over {
            return;
        }
        for end in [&caller, &called] {
            end.set_nodelay(true).unwrap();
            state.ends.push(end.try_clone().unwrap());
        }
        state.calls += 1;
        drop(state);
        let (from_caller, from_called) = (caller.try_clone().unwrap(), called.try_clone().unwrap());
        self.carry(Way::There, from_caller, called);
        self.carry(Way::Back, from_called, caller);
    }

    fn carry(self: &Arc<Self>, way: Way, from: TcpStream, to: TcpStream) {
        let (sender, pieces) = sync_channel(PIECES_MAX);
        let (taking, passing) = (Arc::clone(self), Arc::clone(self));
        thread::spawn(move || taking.take(from, &sender));
        thread::spawn(move || passing.pass_on(way, &pieces, to));
    }

    fn take(&self, mut from: TcpStream, sender: &SyncSender<(Instant, Vec<u8>)>) {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let due = Instant::now() + self.state().delay;
            if sender.send((due, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    }

    fn pass_on(&self, way: Way, pieces: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
        let mut is_bent = false;
        for (due, mut piece) in pieces {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let state = self.state();
            let is_held = |state: &mut State| state.is_still && !state.is_cut && !state.is_over;
            let mut state = self.changed.wait_while(state, is_held).unwrap();
            if state.to_bend == Some(way) {
                state.to_bend = None;
                is_bent = true;
                // Somewhere inside, where it is neither a length nor a type.
                let at = piece.len() / 2;
                piece[at] ^= 1;
            }
            state.passed[way as usize].extend_from_slice(&piece);
            let at_a_time = if state.one_by_one { 1 } else { piece.len() };
            drop(state);
            self.changed.notify_all();
            if piece.chunks(at_a_time).any(|part| to.write_all(part).is_err()) {
                break;
            }
        }
        // The one end is over, or does not listen: so is the other, which may not have heard of it.
        let _ = to.shutdown(Shutdown::Both);
        if is_bent {
            self.state().bent_ended.push(way);
            self.changed.notify_all();
        }
    }
}

fn accept(wire: &Arc<Wire>, listener: &TcpListener) {
    for caller in listener.incoming() {
        let mut state = wire.state();
        if state.is_over {
            return;
        }
        state.came += 1;
        drop(state);
        wire.changed.notify_all();
        wire.put_through(caller.unwrap());
    }
}
