//! Who asks a daemon: over its control socket, or in the same process.
//!
//! Promise: nothing is said to a socket of another user; an answer is what was asked for, or an error that says what to do.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use zeroize::Zeroizing;

use super::diary::Cursor;
use super::lines::{LineError, Lines, REPLY_BYTES_MAX};
use super::report::Event;
use super::server::may_ask;
use super::service::Service;
use super::types::{Ask, Call, Failure, Reply, Request, Said, VERSION, Watch, Watching};
use crate::home::Home;
use crate::private::shown;

/// Whom to ask. Calls of one client follow each other; events have a connection of their own.
pub struct Client(Inner);

enum Inner {
    Remote { home: Home, line: Connection },
    Local(Arc<dyn Service>),
}

/// A connection with a daemon.
#[derive(Debug)]
struct Connection {
    from: Lines<OwnedReadHalf>,
    to: OwnedWriteHalf,
    last_id: u64,
}

/// What happens, as it happens.
pub struct Events(Stream);

enum Stream {
    Remote(Connection),
    Local(Arc<dyn Service>, Cursor, std::collections::VecDeque<Event>),
}

/// Why something was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no daemon is running; start one with `shoal up`, or share a folder with `shoal share DIR`")]
    NotRunning,
    /// The system refuses.
    #[error("cannot ask the daemon at {path}")]
    Io {
        /// The socket.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The socket is another user's.
    #[error("{path} is the socket of another user (uid {user}); nothing was said to it")]
    Foreign {
        /// The socket.
        path: String,
        /// Whose it is.
        user: u32,
    },
    /// The daemon has gone in the middle.
    #[error("the daemon has ended")]
    Ended,
    /// What it says is no answer.
    #[error(
        "the daemon's answer cannot be read ({0}); restart it, so that it is the same program as this one"
    )]
    Answer(String),
    /// It was not done.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Client {
    /// A client of the daemon of this home.
    ///
    /// # Errors
    /// When none is running, or its socket cannot be used.
    pub async fn connect(home: &Home) -> Result<Self, ClientError> {
        Ok(Self(Inner::Remote { home: home.clone(), line: Connection::open(home).await? }))
    }

    /// A client of a service in this process.
    #[must_use]
    pub fn local(service: Arc<dyn Service>) -> Self {
        Self(Inner::Local(service))
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// When it was not done, or the daemon has gone.
    pub async fn ask<A: Ask>(&mut self, ask: A) -> Result<A::Answer, ClientError> {
        let request = ask.into();
        let response = match &mut self.0 {
            Inner::Local(service) => service.handle(request).await?,
            Inner::Remote { line, .. } => {
                let id = line.call(request).await?;
                loop {
                    match line.reply(id).await?.ok_or(ClientError::Ended)? {
                        Said::Response(response) => break response,
                        Said::Failure(failure) => return Err(failure.into()),
                        Said::Event(_) => {}
                    }
                }
            }
        };
        A::answer(response).ok_or_else(|| ClientError::Answer("it answers something else".into()))
    }

    /// Begins to hear what happens.
    ///
    /// # Errors
    /// When the daemon has gone.
    pub async fn watch(&self, watch: Watch) -> Result<(Watching, Events), ClientError> {
        match &self.0 {
            Inner::Local(service) => {
                let (watching, cursor) = service.diary().follow(watch.after);
                let stream = Stream::Local(Arc::clone(service), cursor, std::collections::VecDeque::new());
                Ok((watching, Events(stream)))
            }
            Inner::Remote { home, .. } => {
                let mut line = Connection::open(home).await?;
                let id = line.call(watch.into()).await?;
                match line.reply(id).await?.ok_or(ClientError::Ended)? {
                    Said::Response(response) => {
                        let watching = Watch::answer(response);
                        let odd = || ClientError::Answer("it answers something else".into());
                        Ok((watching.ok_or_else(odd)?, Events(Stream::Remote(line))))
                    }
                    Said::Failure(failure) => Err(failure.into()),
                    Said::Event(_) => Err(ClientError::Answer("an event before its beginning".into())),
                }
            }
        }
    }
}

impl Events {
    /// The next event; `None`: the daemon has ended. Nothing is lost if it is not waited for to the end.
    ///
    /// # Errors
    /// When it says what cannot be read.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        match &mut self.0 {
            Stream::Local(service, cursor, waiting) => {
                if waiting.is_empty() {
                    waiting.extend(service.diary().next(cursor).await);
                }
                Ok(waiting.pop_front())
            }
            Stream::Remote(line) => loop {
                match line.reply(line.last_id).await? {
                    None => return Ok(None),
                    Some(Said::Event(event)) => return Ok(Some(event)),
                    Some(Said::Failure(failure)) => return Err(failure.into()),
                    Some(Said::Response(_)) => {}
                }
            },
        }
    }
}

impl Connection {
    async fn open(home: &Home) -> Result<Self, ClientError> {
        let path = || shown(home.socket());
        let error = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning,
            _ => ClientError::Io { path: path(), source },
        };
        // A Unix socket is connected at once, or not at all.
        let stream = home.with_socket(|path| std::os::unix::net::UnixStream::connect(path)).map_err(error)?;
        let stream =
            stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream)).map_err(error)?;
        let user = stream.peer_cred().map_err(error)?.uid();
        if !may_ask(user, rustix::process::geteuid().as_raw()) && !rustix::process::geteuid().is_root() {
            return Err(ClientError::Foreign { path: path(), user });
        }
        let (from, to) = stream.into_split();
        Ok(Self { from: Lines::new(from, REPLY_BYTES_MAX), to, last_id: 0 })
    }

    async fn call(&mut self, request: Request) -> Result<u64, ClientError> {
        self.last_id += 1;
        let call = Call { version: VERSION, id: self.last_id, request };
        // An invite may be in it.
        let text = serde_json::to_vec(&call).map_err(|error| ClientError::Answer(error.to_string()))?;
        let mut line = Zeroizing::new(text);
        line.push(b'\n');
        self.to.write_all(&line).await.map_err(|_| ClientError::Ended)?;
        Ok(call.id)
    }

    /// What is said next to this call; `None`: the daemon has gone.
    async fn reply(&mut self, id: u64) -> Result<Option<Said>, ClientError> {
        loop {
            let line = match self.from.next().await {
                Ok(Some(line)) => Zeroizing::new(line),
                Ok(None) | Err(LineError::Io(_) | LineError::CutShort) => return Ok(None),
                Err(error) => return Err(ClientError::Answer(error.to_string())),
            };
            let reply: Reply =
                serde_json::from_slice(&line).map_err(|error| ClientError::Answer(error.to_string()))?;
            // What is said to no call in particular is about this connection.
            if reply.id.is_none_or(|named| named == id) {
                return Ok(Some(reply.said));
            }
        }
    }
}
