//! One TCP connection to the tracker: bytes in both directions, nothing understood.
//!
//! Promise: nobody waits for a tracker that does not read: what it does not take in time ends the connection.

use std::io;
use std::net::{IpAddr, SocketAddr};

use shoal_classic::limits::{TRACKER_CONNECT_TIMEOUT, TRACKER_SILENCE_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::driver::{Report, Reports};
use super::limits::{OUTBOX_MAX, READ_BYTES};

/// What happens on the connection.
#[derive(Debug)]
pub(super) enum TrackerEvent {
    /// It stands.
    Connected { tracker: IpAddr, local: IpAddr },
    /// Bytes came.
    Received(Vec<u8>),
    /// It could not be made, or ended.
    Lost(String),
}

/// A connection, from dialling to its end.
pub(super) struct TrackerConnection {
    number: u64,
    outbox: mpsc::Sender<Vec<u8>>,
    task: JoinHandle<()>,
    is_hung_up: bool,
}

impl TrackerConnection {
    /// Dials; all that follows is reported under `number`.
    pub(super) fn dial(number: u64, tracker: SocketAddr, reports: Reports) -> Self {
        let (outbox, outgoing) = mpsc::channel(OUTBOX_MAX);
        let task = tokio::spawn(async move {
            let why = match connect(tracker).await {
                Err(error) => format!("the tracker at {tracker} cannot be reached: {}", said(&error)),
                Ok(stream) => match converse(number, stream, &reports, outgoing).await {
                    Err(error) => format!("the connection to the tracker at {tracker} broke: {error}"),
                    Ok(()) => format!("the tracker at {tracker} closed the connection"),
                },
            };
            let _ = reports.send(Report::Tracker(number, TrackerEvent::Lost(why))).await;
        });
        Self { number, outbox, task, is_hung_up: false }
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Sends a message, in one write if the socket takes it; false if the tracker takes nothing any more.
    #[must_use]
    pub(super) fn send(&self, message: Vec<u8>) -> bool {
        // A connection that has ended reports that itself.
        !matches!(self.outbox.try_send(message), Err(TrySendError::Full(_)))
    }

    /// Closes the connection; nothing more that it reports counts.
    pub(super) fn hang_up(&mut self) {
        self.is_hung_up = true;
        self.task.abort();
    }

    /// Whether it was we who closed it. One that ended by itself still has that to report.
    pub(super) const fn is_hung_up(&self) -> bool {
        self.is_hung_up
    }
}

impl Drop for TrackerConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(tracker: SocketAddr) -> io::Result<TcpStream> {
    let stream = timeout(TRACKER_CONNECT_TIMEOUT, TcpStream::connect(tracker)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Carries bytes in both directions until either side ends it.
async fn converse(
    number: u64,
    stream: TcpStream,
    reports: &Reports,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let (local, peer) = (stream.local_addr()?.ip().to_canonical(), stream.peer_addr()?.ip().to_canonical());
    let report = |event| reports.send(Report::Tracker(number, event));
    let _ = report(TrackerEvent::Connected { tracker: peer, local }).await;

    let (mut reader, mut writer) = stream.into_split();
    let sending = async {
        while let Some(message) = outgoing.recv().await {
            timeout(TRACKER_SILENCE_MAX, writer.write_all(&message)).await??;
        }
        Ok(())
    };
    let receiving = async {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let count = reader.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            let _ = report(TrackerEvent::Received(buffer[..count].to_vec())).await;
        }
    };
    tokio::select! {
        sent = sending => sent,
        received = receiving => received,
    }
}

fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there (connection refused)".into(),
        io::ErrorKind::TimedOut => "it does not answer (timed out)".into(),
        _ => error.to_string(),
    }
}
