//! One connection with a peer: bytes to its session, and the session's actions to the directory.
//!
//! Promise: an answer is one write of shared bytes; while it has not been taken nothing more is read from that
//! peer; however the task ends, the directory learns that the peer has gone. A quiet connection owns no buffer
//! and moves no timer: reads land in one scratch buffer that all share, and a timer that fires too early asks
//! the session again.

use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use shoal_classic::limits::DIALECT_WAIT;
use shoal_classic::message::{Announcement, Refusals};
use shoal_classic::tracker_session::{Action, CloseReason, TrackerSession};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;
use tokio::time::{sleep_until, timeout};

use crate::budget::Part;
use crate::directory::{Answer, PeerId};
use crate::limits::CONNECTION_BYTES_FREE;
use crate::metrics::Refusal;
use crate::seats::Seat;
use crate::server::Shared;

/// One connection with a peer.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Rc<Shared>,
    stream: TcpStream,
    session: TrackerSession,
    /// Which peer it stands for, by now.
    peer: PeerId,
    from: IpAddr,
    /// Its part of what all may hold of unfinished messages, once that is more than a little.
    part: Option<Rc<Part>>,
    _seat: Seat,
}

/// How a connection ended, if not by a failure of the network.
#[derive(Debug, thiserror::Error)]
enum End {
    /// The peer hung up, or the network did it for both.
    #[error("the connection is gone")]
    Gone,
    /// The session closed it.
    #[error(transparent)]
    Closed(CloseReason),
    /// It did not take its answer.
    #[error("did not take its answer for {0:?}")]
    WriteStall(std::time::Duration),
    /// It held too much, for longer than others.
    #[error("held too much unfinished while others needed room")]
    Evicted,
}

impl Connection {
    /// A connection that was just accepted; none if it is already gone.
    pub(crate) fn open(shared: Rc<Shared>, stream: TcpStream, from: IpAddr, seat: Seat) -> Option<Self> {
        let reached_at = stream.local_addr().ok()?.ip();
        // An answer is one write, so there is nothing to gain from waiting for more.
        stream.set_nodelay(true).ok()?;
        let now = shared.now();
        let peer = shared.directory.borrow_mut().connected(from, reached_at, now);
        let session = TrackerSession::new(shared.options.session(), now);
        Some(Self { shared, stream, session, peer, from, part: None, _seat: seat })
    }

    /// Serves the peer until the connection ends.
    pub(crate) async fn serve(mut self) {
        let Err(end) = self.converse().await;
        tracing::debug!(from = %self.from, %end, "connection ended");
        let refusal = match &end {
            End::Gone => return,
            End::Closed(CloseReason::Silent(_)) => Refusal::Silent,
            End::Closed(CloseReason::Stalled) => Refusal::Stalled,
            End::Closed(_) => Refusal::Malformed,
            End::WriteStall(_) => Refusal::WriteStall,
            End::Evicted => Refusal::Buffers,
        };
        self.shared.refuse(self.from, refusal, 1, &end);
    }

    async fn converse(&mut self) -> Result<std::convert::Infallible, End> {
        let mut alarm = pin!(sleep_until(self.shared.instant(self.next_timeout())));
        loop {
            let next = self.shared.instant(self.next_timeout());
            if next < alarm.deadline() {
                alarm.as_mut().reset(next);
            }
            tokio::select! {
                biased;
                () = evicted(self.part.as_deref()) => return Err(End::Evicted),
                () = &mut alarm => {
                    self.session.tick(self.shared.now());
                    alarm.as_mut().reset(self.shared.instant(self.next_timeout()));
                }
                received = receive(&mut self.stream, &mut self.session, &self.shared) => match received {
                    Ok(0) | Err(_) => return Err(self.hung_up().await),
                    Ok(_) => {}
                },
            }
            // What came counts while the answers to it are being taken.
            self.account();
            self.act().await?;
            self.account();
        }
    }

    /// Does what the session asks for.
    async fn act(&mut self) -> Result<(), End> {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Dialect(dialect) => self.shared.directory.borrow_mut().dialect(self.peer, dialect),
                Action::Announce { port, announcement } => self.announce(port, announcement),
                Action::KeepAlive { port } => {
                    self.shared.metrics.keep_alive();
                    let now = self.shared.now();
                    self.peer = self.shared.directory.borrow_mut().keep_alive(self.peer, port, now);
                }
                Action::Answer => self.answer().await?,
                Action::Close(reason) => return Err(End::Closed(reason)),
            }
        }
        Ok(())
    }

    fn announce(&mut self, port: u16, mut announcement: Announcement) {
        let shared = &self.shared;
        shared.metrics.initial();
        let refusals = std::mem::take(&mut announcement.refusals);
        let taken = shared.directory.borrow_mut().announce(self.peer, port, announcement, shared.now());
        shared.tell_visit(|left_out| {
            tracing::info!(from = %self.from, port, files = taken.files, left_out, "peer announced");
        });
        self.refuse_entries(&refusals);
        for (count, refusal, reason) in [
            (taken.beyond_peer, Refusal::PeerEntries, "more files than one peer may announce"),
            (taken.beyond_total, Refusal::Announcements, "more files than all peers may announce"),
        ] {
            if count > 0 {
                shared.refuse(self.from, refusal, count, &reason);
            }
        }
    }

    /// Tells how many entries were refused and why the first of them was; their names at debug only.
    fn refuse_entries(&self, refusals: &Refusals) {
        let Some((_, reason)) = refusals.told.first() else { return };
        self.shared.refuse(self.from, Refusal::Entry, refusals.count, reason);
        for (name, reason) in &refusals.told {
            tracing::debug!(from = %self.from, %name, %reason, "entry refused");
        }
    }

    /// Sends the directory.
    async fn answer(&mut self) -> Result<(), End> {
        // Somebody with a thousand messages in one segment does not keep others waiting.
        consume_budget().await;
        let answer = self.shared.directory.borrow_mut().answer(self.peer, self.shared.now());
        let sent = match self.stream.try_write(&answer.bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Err(End::Gone),
        };
        if sent < answer.bytes.len() {
            // Rare, so it costs the others no room in their tasks.
            Box::pin(self.send_rest(&answer, sent)).await?;
        }
        self.shared.metrics.answered(answer.bytes.len());
        Ok(())
    }

    async fn send_rest(&mut self, answer: &Answer, mut sent: usize) -> Result<(), End> {
        let part = self.shared.outgoing.hold(answer.serial, answer.bytes.len());
        let stall = self.shared.options.write_stall;
        while sent < answer.bytes.len() {
            tokio::select! {
                () = part.evicted() => return Err(End::Evicted),
                writable = timeout(stall, self.stream.writable()) => match writable {
                    Ok(writable) => writable.map_err(|_| End::Gone)?,
                    Err(_) => return Err(End::WriteStall(stall)),
                },
            }
            match self.stream.try_write(&answer.bytes[sent..]) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(End::Gone),
            }
        }
        Ok(())
    }

    /// The peer will say no more. If its last message still waits for a newline it gets its answer: it may
    /// have closed one direction only.
    async fn hung_up(&mut self) -> End {
        self.session.tick(self.shared.now() + DIALECT_WAIT);
        self.act().await.err().unwrap_or(End::Gone)
    }

    /// Keeps its part of the budget in step with what its session holds.
    fn account(&mut self) {
        let held = self.session.buffered_bytes();
        match &self.part {
            _ if held <= CONNECTION_BYTES_FREE => self.part = None,
            Some(part) => part.resize(held),
            None => self.part = Some(self.shared.incoming.hold(self.shared.next_arrival(), held)),
        }
    }

    fn next_timeout(&self) -> shoal_classic::Time {
        self.session.poll_timeout().unwrap_or_else(|| self.shared.now())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let now = self.shared.now();
        self.shared.directory.borrow_mut().closed(self.peer, now);
    }
}

async fn evicted(part: Option<&Part>) {
    match part {
        Some(part) => part.evicted().await,
        None => std::future::pending().await,
    }
}

/// Hands what has come to the session; how many bytes it was.
async fn receive(stream: &mut TcpStream, session: &mut TrackerSession, shared: &Shared) -> io::Result<usize> {
    // The scratch buffer is filled and emptied within one poll, so no other task can come between.
    std::future::poll_fn(|cx: &mut Context<'_>| {
        let mut scratch = shared.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        session.received(buffer.filled(), shared.now());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}
