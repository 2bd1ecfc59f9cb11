//! Connections to sources: made, kept for the next file where the source is Shoal, and ended from outside.
//!
//! Promise: a kept connection is only an optimisation: whoever gets one must be ready to find it closed.
//! Cancelling ends every connection at once, also those that are made later.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shoal_classic::Time;

use super::limits::{KEPT_CONNECTIONS_MAX, PATIENCE_SLACK};

/// All connections to sources.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    is_cancelled: bool,
    next: u64,
    /// A second handle on each connection in use, to end it by.
    in_use: BTreeMap<u64, TcpStream>,
    /// Connections that wait for the next file of their source.
    kept: BTreeMap<SocketAddr, Vec<Connection>>,
}

/// A connection in use, or kept.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    /// Its other handle.
    twin: Option<TcpStream>,
    source: SocketAddr,
    /// Whether it was used for another file before.
    pub(super) was_kept: bool,
    /// When it was made.
    began: Instant,
    /// How long a read waits.
    patience: Duration,
}

/// Ends the use of a connection.
#[derive(Debug)]
pub(super) struct InUse {
    connections: Connections,
    number: u64,
}

impl Connections {
    /// A kept connection to the source, if `may_be_kept` and there is one, else a new one.
    pub(super) fn open(
        &self,
        source: SocketAddr,
        timeout: Duration,
        may_be_kept: bool,
    ) -> io::Result<Connection> {
        if may_be_kept && let Some(connection) = self.lock().kept.get_mut(&source).and_then(Vec::pop) {
            return Ok(Connection { was_kept: true, ..connection });
        }
        let socket = TcpStream::connect_timeout(&source, timeout)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(timeout))?;
        let twin = Some(socket.try_clone()?);
        Ok(Connection {
            socket,
            twin,
            source,
            was_kept: false,
            began: Instant::now(),
            patience: Duration::ZERO,
        })
    }

    /// Notes a connection as in use, so that it can be ended from outside, for as long as the answer lives.
    pub(super) fn note(&self, connection: &mut Connection) -> io::Result<InUse> {
        let mut state = self.lock();
        if state.is_cancelled {
            return Err(io::Error::other("cancelled"));
        }
        let number = state.next;
        state.next += 1;
        state.in_use.extend(connection.twin.take().map(|twin| (number, twin)));
        Ok(InUse { connections: self.clone(), number })
    }

    /// Keeps a connection for the next file of its source.
    pub(super) fn keep(&self, mut connection: Connection, in_use: &InUse) {
        let mut state = self.lock();
        connection.twin = state.in_use.remove(&in_use.number);
        let kept: usize = state.kept.values().map(Vec::len).sum();
        if !state.is_cancelled && connection.twin.is_some() && kept < KEPT_CONNECTIONS_MAX {
            state.kept.entry(connection.source).or_default().push(connection);
        }
    }

    /// Closes the connections that wait: no further file is coming for now.
    pub(super) fn close_kept(&self) {
        let kept = std::mem::take(&mut self.lock().kept);
        drop(kept);
    }

    /// Ends all connections, and all that will be made.
    pub(super) fn cancel(&self) {
        let mut state = self.lock();
        state.is_cancelled = true;
        state.kept.clear();
        for twin in std::mem::take(&mut state.in_use).into_values() {
            // An error means that it is closed already.
            let _ = twin.shutdown(Shutdown::Both);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// The time since it was made.
    pub(super) fn now(&self) -> Time {
        Time::after_start(self.began.elapsed())
    }

    /// Lets reads end at that time.
    pub(super) fn set_patience(&mut self, until: Option<Time>) -> io::Result<()> {
        let Some(until) = until else { return Ok(()) };
        let wanted = until.since(self.now()).max(Duration::from_millis(1));
        if wanted.abs_diff(self.patience) > PATIENCE_SLACK || wanted < PATIENCE_SLACK {
            self.socket.set_read_timeout(Some(wanted))?;
            self.patience = wanted;
        }
        Ok(())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.connections.lock().in_use.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn i30_only_so_many_connections_are_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let source = listener.local_addr().unwrap();
        let connections = Connections::default();
        let mut opened = Vec::new();
        for _ in 0..KEPT_CONNECTIONS_MAX + 10 {
            let mut connection = connections.open(source, SOON, false).unwrap();
            let in_use = connections.note(&mut connection).unwrap();
            opened.push((connection, in_use, listener.accept().unwrap()));
        }
        for (connection, in_use, _) in opened {
            connections.keep(connection, &in_use);
        }
        let kept = || connections.lock().kept.values().map(Vec::len).sum::<usize>();
        assert_eq!(kept(), KEPT_CONNECTIONS_MAX);
        assert!(connections.open(source, SOON, true).unwrap().was_kept);
        connections.cancel();
        assert_eq!(kept(), 0);
        let mut late = connections.open(source, SOON, true).unwrap();
        assert!(connections.note(&mut late).is_err(), "after the end nothing begins");
    }
}
