//! Frames on a connection whose ends are known.
//!
//! Promise: frames come out as the other end sent them, in their order, or an error does; whoever pushes frames never
//! waits. What waits to be sent is counted and bounded (I30): who takes nothing for [`STALLED`] is hung up on, and so is
//! who lets more than [`WAITING_BYTES_MAX`] pile up. An idle connection keeps no buffers.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::{Buf, Bytes};
use shoal_proto::frame::{Frame, FrameError, FrameReader};
use shoal_proto::limits::FRAME_BODY_BYTES_HELLO_MAX;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_rustls::TlsStream;

use crate::limits::{
    DRAINED_BYTES, LINGER, READ_BYTES_MAX, READ_BYTES_MIN, STALLED, WAITING_BYTES_MAX, WRITE_BYTES,
    WRITE_FRAMES_MAX,
};
use crate::tls::Secured;

/// What the other end says. Dropping it does not end the connection; dropping all of [`Outgoing`] does.
#[derive(Debug)]
pub struct Incoming {
    stream: ReadHalf<TlsStream<TcpStream>>,
    frames: FrameReader,
    /// How much is read at a time; more while much comes.
    read_bytes: usize,
    shared: Arc<Shared>,
}

/// What is said to the other end: a handle that can be cloned. When the last one goes, the connection is closed as by
/// [`Outgoing::close`].
#[derive(Clone, Debug)]
pub struct Outgoing(Arc<Handle>);

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It was cut, or what came was not what the other end sent.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// It ended within a frame, or without the word that ends it.
    #[error("the connection was cut off")]
    CutOff,
    /// This side ended it.
    #[error("{0}")]
    Over(Over),
}

/// Why this side ended a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Over {
    /// As it was asked to.
    #[error("the connection was ended here")]
    Ended,
    /// All was sent, and the other end did not hang up.
    #[error("the connection was closed here")]
    Closed,
    /// The other end took nothing.
    #[error("the other end took nothing for {} s", STALLED.as_secs())]
    Stalled,
    /// More waited than may.
    #[error("the other end takes too little: more than {} MiB wait for it", WAITING_BYTES_MAX >> 20)]
    Overfull,
    /// Nothing can be sent any more.
    #[error("the connection broke while something was sent")]
    Broken,
}

impl Secured {
    /// The two directions of the connection. Frames that come may be small at first, until [`Incoming::allow`] says more.
    ///
    /// # Panics
    /// Outside of a runtime: a task of its own writes.
    #[must_use]
    pub fn split(self) -> (Incoming, Outgoing) {
        let mut stream = self.stream;
        let limit = Some(WRITE_BYTES);
        match &mut stream {
            TlsStream::Client(stream) => stream.get_mut().1.set_buffer_limit(limit),
            TlsStream::Server(stream) => stream.get_mut().1.set_buffer_limit(limit),
        }
        let (reads, writes) = split(stream);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Notify::new(),
            over: watch::Sender::new(None),
            unread: Notify::new(),
        });
        tokio::spawn(write(Arc::clone(&shared), writes));
        let frames = FrameReader::new(FRAME_BODY_BYTES_HELLO_MAX);
        let incoming =
            Incoming { stream: reads, frames, read_bytes: READ_BYTES_MIN, shared: Arc::clone(&shared) };
        (incoming, Outgoing(Arc::new(Handle(shared))))
    }
}

impl Incoming {
    /// Frames may be so large from the next one on.
    pub fn allow(&mut self, body_bytes_max: usize) {
        self.frames.allow(body_bytes_max);
    }

    /// The next frame; `None` once the other end has said that nothing more comes. May be given up at any moment, and asked
    /// again: nothing is lost.
    ///
    /// # Errors
    /// When the connection is of no use any more.
    pub async fn next(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        while !self.frames.has_frame()? {
            let mut over = self.shared.over.subscribe();
            let bytes = tokio::select! {
                biased;
                ended = over.wait_for(Option::is_some) => {
                    return Err(WireError::Over(ended.ok().and_then(|over| *over).unwrap_or(Over::Ended)));
                }
                read = self.read() => read,
            };
            match bytes {
                Ok(0) if self.frames.is_empty() => return Ok(None),
                Ok(0) => return Err(WireError::CutOff),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(WireError::CutOff),
                Err(error) => return Err(WireError::Broken(error)),
            }
        }
        Ok(self.frames.next_frame()?)
    }

    async fn read(&mut self) -> io::Result<usize> {
        let Self { stream, frames, read_bytes, .. } = self;
        poll_fn(|cx| {
            let mut room = ReadBuf::new(frames.room(*read_bytes));
            match Pin::new(&mut *stream).poll_read(cx, &mut room) {
                Poll::Ready(read) => {
                    let bytes = room.filled().len();
                    frames.took(bytes);
                    if bytes == *read_bytes {
                        *read_bytes = (*read_bytes * 2).min(READ_BYTES_MAX);
                    }
                    Poll::Ready(read.map(|()| bytes))
                }
                Poll::Pending => {
                    frames.release();
                    *read_bytes = READ_BYTES_MIN;
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.shared.unread.notify_one();
    }
}

impl Outgoing {
    /// Sends these bytes, whole frames, after those before. Never waits; once the connection is over or closing, nothing
    /// is sent any more.
    pub fn push(&self, frames: impl Into<Bytes>) {
        self.shared().push(frames.into());
    }

    /// How many bytes wait to be sent; those that were encrypted already, and wait in the system or before it, do not count.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared().queue().waiting
    }

    /// Calls this whenever nothing waits any more, and whenever less than [`DRAINED_BYTES`] wait again. It is called by
    /// who writes, and must not wait for anything.
    pub fn when_drained(&self, call: impl Fn() + Send + Sync + 'static) {
        self.shared().queue().drained = Some(Arc::new(call));
    }

    /// Sends what waits, says that nothing more comes, and hangs up once the other end does, or after [`LINGER`].
    pub fn close(&self) {
        self.shared().close();
    }

    /// Hangs up at once.
    pub fn end(&self) {
        self.shared().end(Over::Ended);
    }
}

/// Closes the connection when the last handle goes.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Outgoing {
    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

/// What those who push and the one who writes have in common.
struct Shared {
    queue: Mutex<Queue>,
    /// Wakes who writes.
    wake: Notify,
    over: watch::Sender<Option<Over>>,
    /// Nobody reads any more.
    unread: Notify,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    waiting: usize,
    is_closing: bool,
    drained: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, frames: Bytes) {
        let mut queue = self.queue();
        if queue.is_closing || frames.is_empty() {
            return;
        }
        queue.waiting += frames.len();
        let is_overfull = queue.waiting > WAITING_BYTES_MAX;
        if !is_overfull {
            queue.frames.push_back(frames);
        }
        drop(queue);
        if is_overfull {
            self.end(Over::Overfull);
        } else {
            self.wake.notify_one();
        }
    }

    fn close(&self) {
        self.queue().is_closing = true;
        self.wake.notify_one();
    }

    fn end(&self, why: Over) {
        self.forget();
        self.over.send_if_modified(|over| over.replace(why).is_none());
    }

    /// Nothing is sent any more.
    fn forget(&self) {
        let mut queue = self.queue();
        queue.is_closing = true;
        queue.frames = VecDeque::new();
        queue.waiting = 0;
        queue.drained = None;
    }

    /// So many bytes are on their way.
    fn sent(&self, mut bytes: usize) {
        let mut queue = self.queue();
        let before = queue.waiting;
        queue.waiting = queue.waiting.saturating_sub(bytes);
        while let Some(frame) = queue.frames.front_mut().filter(|_| bytes > 0) {
            let part = bytes.min(frame.len());
            frame.advance(part);
            bytes -= part;
            if frame.is_empty() {
                queue.frames.pop_front();
            }
        }
        let is_drained = queue.waiting == 0 || (queue.waiting < DRAINED_BYTES && before >= DRAINED_BYTES);
        let call = queue.drained.clone().filter(|_| is_drained && before > 0);
        drop(queue);
        if let Some(call) = call {
            call();
        }
    }

    /// What is to be written next, without a copy; whether it is the last.
    fn next(&self) -> (Vec<Bytes>, bool) {
        let queue = self.queue();
        let mut bytes = 0;
        let fits = |frame: &&Bytes| {
            let fits = bytes < WRITE_BYTES;
            bytes += frame.len();
            fits
        };
        let next = queue.frames.iter().take_while(fits).take(WRITE_FRAMES_MAX).cloned().collect();
        (next, queue.is_closing)
    }
}

impl core::fmt::Debug for Shared {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.debug_struct("Shared").field("waiting", &self.queue().waiting).finish_non_exhaustive()
    }
}

/// Writes what is pushed until the connection is over.
async fn write(shared: Arc<Shared>, mut stream: WriteHalf<TlsStream<TcpStream>>) {
    let mut over = shared.over.subscribe();
    let writing = async {
        let why = write_all(&shared, &mut stream).await;
        shared.forget();
        // What the other end has said before is still read: why it left, for one.
        if matches!(why, Over::Closed | Over::Broken) {
            let _ = timeout(LINGER, shared.unread.notified()).await;
        }
        shared.end(why);
    };
    tokio::select! {
        biased;
        _ = over.wait_for(Option::is_some) => {}
        () = writing => {}
    }
}

async fn write_all(shared: &Shared, stream: &mut WriteHalf<TlsStream<TcpStream>>) -> Over {
    loop {
        let (frames, is_closing) = shared.next();
        if frames.is_empty() {
            if is_closing {
                return close(stream).await;
            }
            match timeout(STALLED, stream.flush()).await {
                Ok(Ok(())) => shared.wake.notified().await,
                Ok(Err(_)) => return Over::Broken,
                Err(_) => return Over::Stalled,
            }
            continue;
        }
        let slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
        match timeout(STALLED, stream.write_vectored(&slices)).await {
            Ok(Ok(bytes)) if bytes > 0 => shared.sent(bytes),
            Ok(_) => return Over::Broken,
            Err(_) => return Over::Stalled,
        }
    }
}

/// Says that nothing more comes.
async fn close(stream: &mut WriteHalf<TlsStream<TcpStream>>) -> Over {
    match timeout(STALLED, stream.shutdown()).await {
        Ok(Ok(())) => Over::Closed,
        Ok(Err(_)) => Over::Broken,
        Err(_) => Over::Stalled,
    }
}

#[cfg(test)]
mod tests;
