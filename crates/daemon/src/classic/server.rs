//! Serves files to peers that ask for them.
//!
//! Promise: only announced, plain files of the folder are read, through their handle (`I11`, `I23`); a file that
//! shrinks or grows meanwhile is never padded (`C10`); a requester that stops reading, or reads too slowly, is
//! given up, and so is the oldest duty of a server: a close is always an orderly one, after what is pending was
//! read, because a reset kills most classic clients.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustix::process::{Resource, getrlimit};
use shoal_classic::limits::{HEADER_PAUSE, SERVE_RATE_MIN, SERVE_STALL};
use shoal_classic::serve::{Decision, Serve, Shelf, Style, header};
use shoal_classic::{FileName, Time};
use shoal_disk::Folder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout, timeout_at};

use super::limits::{
    LINGER, LINGER_BYTES, NO_HANDLE_PAUSE, REFUSED_MAX, REQUESTS_MAX, REQUESTS_PER_ADDRESS_MAX, SEND_BYTES,
};
use super::view::disk_name;

/// Serves what is offered until it is aborted or nothing is offered any more.
pub(super) async fn serve(listener: TcpListener, folder: Folder, offered: watch::Receiver<Arc<Shelf>>) {
    let places = Arc::new(Semaphore::new(places()));
    let refused = Arc::new(Semaphore::new(REFUSED_MAX));
    let crowd = Crowd::default();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of handles, or the connection is gone again: the next one may do.
                tracing::debug!(%error, "request not accepted");
                sleep(NO_HANDLE_PAUSE).await;
                continue;
            }
        };
        let requester = Requester { stream, peer, folder: folder.clone() };
        let Some(seat) = crowd.enter(peer.ip()) else {
            tracing::debug!(%peer, "request refused: too many of this address");
            drop(place);
            if let Ok(place) = refused.clone().try_acquire_owned() {
                tokio::spawn(async move {
                    requester.close().await;
                    drop(place);
                });
            }
            continue;
        };
        let offered = offered.clone();
        tokio::spawn(async move {
            requester.serve(&offered).await;
            drop((place, seat));
        });
    }
}

/// How many requests may be served at once: each needs a handle for its connection and one for its file, and a third
/// of all handles is left to the rest of us.
fn places() -> usize {
    let handles = getrlimit(Resource::Nofile).current.and_then(|handles| usize::try_from(handles).ok());
    handles.map_or(REQUESTS_MAX, |handles| (handles / 3).clamp(1, REQUESTS_MAX))
}

/// How many requests of each address are being served.
#[derive(Clone, Debug, Default)]
struct Crowd(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

struct Seat {
    crowd: Crowd,
    ip: IpAddr,
}

impl Crowd {
    fn enter(&self, ip: IpAddr) -> Option<Seat> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(ip).or_default();
        if *count >= REQUESTS_PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Seat { crowd: self.clone(), ip })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.ip);
            }
        }
    }
}

/// One connection of one requester.
struct Requester {
    stream: TcpStream,
    peer: SocketAddr,
    folder: Folder,
}

impl Requester {
    async fn serve(mut self, offered: &watch::Receiver<Arc<Shelf>>) {
        let _ = self.stream.set_nodelay(true);
        loop {
            let sent = match self.decide(offered).await {
                Err(error) => return tracing::debug!(peer = %self.peer, %error, "requester lost"),
                Ok(Decision::Refuse(reason)) => {
                    tracing::debug!(peer = %self.peer, %reason, "request refused");
                    break;
                }
                Ok(Decision::Answer { name, style }) => self.answer(&name, style).await.map(|()| style),
            };
            match sent {
                // Shoal asks for its next file on the same connection.
                Ok(Style::Framed) => {}
                Ok(Style::FramedWithPause | Style::Classic) => break,
                Err(error) => {
                    tracing::debug!(peer = %self.peer, %error, "answer not taken");
                    break;
                }
            }
        }
        self.close().await;
    }

    /// Reads the request until it is decided.
    async fn decide(&mut self, offered: &watch::Receiver<Arc<Shelf>>) -> io::Result<Decision> {
        let began = Instant::now();
        let now = || Time::after_start(began.elapsed());
        let mut serve = Serve::new(now());
        let mut buffer = [0; 1_024];
        loop {
            if let Some(decision) = serve.decision() {
                return Ok(decision.clone());
            }
            let wake = serve.poll_timeout(now()).unwrap_or_else(now);
            let read = timeout_at((began + wake.since_start()).into(), self.stream.read(&mut buffer)).await;
            let shelf = offered.borrow().clone();
            match read {
                Err(_) => serve.tick(&shelf, now()),
                Ok(Ok(0)) => serve.ended(&shelf),
                Ok(Ok(count)) => serve.received(&buffer[..count], &shelf, now()),
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    async fn answer(&mut self, name: &FileName, style: Style) -> io::Result<()> {
        let disk_name = disk_name(name).map_err(io::Error::other)?;
        let opened = tokio::task::block_in_place(|| self.folder.open_regular(&disk_name));
        let (file, stat) = opened.map_err(io::Error::other)?;
        let mut first = if style == Style::Classic { Vec::new() } else { header(stat.size) };
        if style == Style::FramedWithPause {
            self.write(&first, &mut Pace::new()).await?;
            first.clear();
            sleep(HEADER_PAUSE).await;
        }
        self.send_file(first, &file, stat.size).await
    }

    /// Sends what is `first`, then exactly `length` bytes of the file, or less if it has shrunk. A small file goes
    /// out in one write with what is first.
    async fn send_file(&mut self, first: Vec<u8>, file: &File, length: u64) -> io::Result<()> {
        let mut pace = Pace::new();
        let mut buffer = first;
        let mut offset = 0;
        loop {
            let wanted = usize::try_from(length - offset).map_or(SEND_BYTES, |left| left.min(SEND_BYTES));
            // A file that is not in memory is read from the disk in this call.
            let read = tokio::task::block_in_place(|| append(&mut buffer, file, offset, wanted))?;
            self.write(&buffer, &mut pace).await?;
            offset += read as u64;
            if offset == length {
                return Ok(());
            }
            if read < wanted {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has shrunk"));
            }
            buffer.clear();
        }
    }

    /// Writes all of it; the requester must keep taking it, and not too slowly.
    async fn write(&mut self, mut bytes: &[u8], pace: &mut Pace) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = timeout(SERVE_STALL, self.stream.write(bytes)).await??;
            bytes = &bytes[taken..];
            pace.took(taken)?;
        }
        Ok(())
    }

    /// Closes in an orderly way: our end first, then what is still to come is read and thrown away.
    async fn close(mut self) {
        let linger = async {
            let mut buffer = [0; 4_096];
            // What came before the close would turn it into a reset.
            let mut read = 0;
            while let Ok(count) = self.stream.try_read(&mut buffer) {
                read += count;
                if count == 0 || read > LINGER_BYTES {
                    break;
                }
            }
            self.stream.shutdown().await?;
            while read <= LINGER_BYTES {
                match self.stream.read(&mut buffer).await? {
                    0 => break,
                    count => read += count,
                }
            }
            io::Result::Ok(())
        };
        // Whoever does not close in time, or keeps talking, gets a reset after all.
        let _ = timeout(LINGER, linger).await;
    }
}

/// How fast a requester takes its answer.
struct Pace {
    began: Instant,
    taken: u64,
}

impl Pace {
    fn new() -> Self {
        Self { began: Instant::now(), taken: 0 }
    }

    /// Counts bytes; an error when there were too few of them for too long.
    fn took(&mut self, bytes: usize) -> io::Result<()> {
        self.taken += bytes as u64;
        let elapsed = self.began.elapsed();
        if elapsed > SERVE_STALL && self.taken / elapsed.as_secs().max(1) < SERVE_RATE_MIN {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the requester is too slow"));
        }
        Ok(())
    }
}

/// Appends up to `length` bytes of a file, from `offset` on; how many there were.
fn append(buffer: &mut Vec<u8>, file: &File, offset: u64, length: usize) -> io::Result<usize> {
    let before = buffer.len();
    buffer.resize(before + length, 0);
    let mut read = 0;
    while read < length {
        match file.read_at(&mut buffer[before + read..], offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(before + read);
    Ok(read)
}
