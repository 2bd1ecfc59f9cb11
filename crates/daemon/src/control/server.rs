//! The control socket.
//!
//! Promise: only this user and root are heard; every call is answered once, unless its connection breaks; a client
//! that sends too much, too slowly, or takes nothing loses its connection, and nobody else notices. At the end the calls
//! that are being answered still are, for [`END_WAIT`].

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use shoal_disk::Escaped;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::lines::{CALL_BYTES_MAX, LineError, Lines};
use super::report::Happening;
use super::service::Service;
use super::types::{Call, Code, Done, Failure, Reply, Request, Response, Said, VERSION, Watch};
use crate::home::Held;
use crate::private::shown;

/// Most clients at once.
pub const CLIENTS_MAX: usize = 64;

/// Most calls of one client that are being answered at once, those that tell events among them.
pub const CALLS_MAX: usize = 16;

/// So long a client may take for its first call, and for any line that it has begun.
const LINE_WAIT: Duration = Duration::from_secs(10);

/// So long a client may take nothing of what it is told.
const WRITE_WAIT: Duration = Duration::from_secs(30);

/// So long a client that says nothing more is still answered.
const CLOSED_WAIT: Duration = Duration::from_secs(10);

/// So long calls may go on after the end was asked for.
pub const END_WAIT: Duration = Duration::from_secs(2);

/// So long nobody new is heard after the system could not accept a connection: it has no file handles left, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// So many replies may wait for a client to take them.
const REPLIES_WAITING: usize = 4;

/// The longest quotation of what a client sent.
const QUOTED_MAX: usize = 200;

/// The control socket of a home, listening.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Somebody answers there: the daemon of another home.
    #[error(
        "another daemon answers at {path}; it has another state folder, and the same XDG_RUNTIME_DIR. Run one of \
         them with `--home DIR`"
    )]
    Taken {
        /// The socket.
        path: String,
    },
    /// Something that is no socket is in its place.
    #[error("{path} is no socket; move it away")]
    InTheWay {
        /// What is in the way.
        path: String,
    },
    /// The system refuses.
    #[error("cannot listen at {path}")]
    Io {
        /// The socket.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

impl Server {
    /// Listens at the control socket of a home that this process holds; to be called inside the runtime. What an earlier daemon
    /// left there is removed.
    ///
    /// # Errors
    /// When something else is there, or the system refuses.
    pub fn bind(held: &Held) -> Result<Self, ServerError> {
        let home = held.home();
        let path = home.socket().to_path_buf();
        let error = |source| ServerError::Io { path: shown(&path), source };
        match fs::symlink_metadata(&path) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
            Err(failed) => return Err(error(failed)),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ServerError::InTheWay { path: shown(&path) });
            }
            Ok(_) => {
                if home.with_socket(|path| std::os::unix::net::UnixStream::connect(path)).is_ok() {
                    return Err(ServerError::Taken { path: shown(&path) });
                }
                fs::remove_file(&path).map_err(error)?;
            }
        }
        let listener = home.with_socket(|path| UnixListener::bind(path)).map_err(error)?;
        // Its folder is closed to others already, and who connects is looked at.
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(error)?;
        Ok(Self { listener, path })
    }

    /// Answers clients until the end is asked for: by one of them ([`Request::Stop`]), or as `end` comes.
    pub async fn serve(self, service: Arc<dyn Service>, end: impl Future<Output = ()>) {
        let (ending, is_ending) = watch::channel(false);
        let seats = Arc::new(Semaphore::new(CLIENTS_MAX));
        let stop = Arc::new(Notify::new());
        let mut clients = JoinSet::new();
        let mut end = std::pin::pin!(end);
        loop {
            let accepted = tokio::select! {
                () = &mut end => break,
                () = stop.notified() => break,
                accepted = self.listener.accept() => accepted,
            };
            while clients.try_join_next().is_some() {}
            let Ok((stream, _)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            if !is_heard(&stream) {
                tracing::warn!("a client of another user was turned away from the control socket");
                continue;
            }
            match Arc::clone(&seats).try_acquire_owned() {
                Ok(seat) => {
                    let asked = Asked { service: Arc::clone(&service), stop: Arc::clone(&stop) };
                    let is_ending = is_ending.clone();
                    clients.spawn(async move {
                        converse(stream, asked, is_ending).await;
                        drop(seat);
                    });
                }
                Err(_) => turn_away(&stream),
            }
        }
        service.diary().note(None, Happening::Stopping);
        // Nobody finds the daemon any more from here on.
        drop(self);
        let _ = ending.send(true);
        let _ = timeout(END_WAIT, async { while clients.join_next().await.is_some() {} }).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn is_heard(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| may_ask(peer.uid(), own))
}

/// Whether this user may ask a daemon of that one.
pub(super) fn may_ask(user: u32, own: u32) -> bool {
    user == own || user == 0
}

fn turn_away(stream: &UnixStream) {
    let failure = Failure::new(Code::Busy, format!("{CLIENTS_MAX} clients are connected already"))
        .with_hint("end one of them, a `shoal status --watch` say");
    // It has a socket's buffer to itself; who is not told sees the connection close.
    let _ = stream.try_write(&encode(&Reply { id: None, said: Said::Failure(failure) }));
}

/// Who is asked.
#[derive(Clone)]
struct Asked {
    service: Arc<dyn Service>,
    /// Ends all of it.
    stop: Arc<Notify>,
}

/// Hears one client.
async fn converse(stream: UnixStream, asked: Asked, mut ending: watch::Receiver<bool>) {
    let (from, to) = stream.into_split();
    let (replies, waiting) = mpsc::channel(REPLIES_WAITING);
    let mut writer = tokio::spawn(write(to, waiting));
    let mut lines = Lines::new(from, CALL_BYTES_MAX);
    let mut calls = JoinSet::new();
    let mut is_first = true;
    loop {
        while calls.try_join_next().is_some() {}
        if calls.len() >= CALLS_MAX {
            tokio::select! {
                _ = calls.join_next() => continue,
                // It takes nothing: no call will ever be over.
                _ = &mut writer => return,
                _ = ending.wait_for(|is_ending| *is_ending) => break,
            }
        }
        let line = tokio::select! {
            line = next(&mut lines, is_first) => line,
            _ = &mut writer => return,
            _ = ending.wait_for(|is_ending| *is_ending) => break,
        };
        is_first = false;
        match line {
            Ok(Some(line)) if line.is_empty() => {}
            Ok(Some(line)) => match read(&line) {
                Ok(call) => drop(calls.spawn(answer(call, asked.clone(), replies.clone()))),
                Err(reply) => drop(replies.send(encode(&reply)).await),
            },
            Ok(None) => break,
            Err(failure) => {
                let _ = replies.send(encode(&Reply { id: None, said: Said::Failure(failure) })).await;
                break;
            }
        }
    }
    // What was asked is still answered, but not for ever: events have no end, and a client that has closed its sending
    // side looks like one that has gone.
    drop(replies);
    tokio::select! {
        () = async { while calls.join_next().await.is_some() {} } => {}
        _ = &mut writer => return,
        () = sleep(CLOSED_WAIT) => calls.abort_all(),
        () = async { let _ = ending.wait_for(|is_ending| *is_ending).await; sleep(END_WAIT / 2).await; } => {
            calls.abort_all();
        }
    }
    while calls.join_next().await.is_some() {}
    let _ = writer.await;
}

/// The next line, if it comes in time; a client that has said something before may be silent as long as it likes.
async fn next(lines: &mut Lines<OwnedReadHalf>, is_first: bool) -> Result<Option<Vec<u8>>, Failure> {
    let late = |_| Failure::new(Code::BadCall, "no whole line came within 10 seconds");
    if !is_first && !lines.has_begun() && lines.begin().await.is_err() {
        return Ok(None);
    }
    match timeout(LINE_WAIT, lines.next()).await.map_err(late)? {
        Ok(line) => Ok(line),
        Err(LineError::Io(_)) => Ok(None),
        Err(error) => Err(Failure::new(Code::BadCall, error.to_string())),
    }
}

/// A line as a call, or what is wrong with it.
fn read(line: &[u8]) -> Result<Call, Box<Reply>> {
    /// What is looked at first, so that the answer can be told apart and the version named.
    #[derive(Deserialize)]
    struct Envelope {
        version: Option<u16>,
        id: Option<u64>,
    }
    let bad = |id, error: serde_json::Error| {
        let what: String = error.to_string().chars().take(QUOTED_MAX).collect();
        let what = Escaped(what.as_bytes());
        let failure = Failure::new(Code::BadCall, format!("this is no call: {what}"));
        Box::new(Reply { id, said: Said::Failure(failure) })
    };
    let envelope: Envelope = serde_json::from_slice(line).map_err(|error| bad(None, error))?;
    let id = envelope.id;
    match envelope.version {
        Some(VERSION) | None => serde_json::from_slice(line).map_err(|error| bad(id, error)),
        Some(other) => {
            let text = format!("this daemon speaks version {VERSION} of the control API, not {other}");
            let failure = Failure::new(Code::Version, text)
                .with_hint("restart the daemon, so that it is the same program as the command");
            Err(Box::new(Reply { id, said: Said::Failure(failure) }))
        }
    }
}

async fn answer(call: Call, asked: Asked, replies: mpsc::Sender<Vec<u8>>) {
    let id = Some(call.id);
    let is_stop = matches!(call.request, Request::Stop(_));
    let said = match call.request {
        Request::Watch(watch) => return tell(call.id, watch, &*asked.service, &replies).await,
        Request::Stop(_) => Said::Response(Response::Done(Done {})),
        request => match asked.service.handle(request).await {
            Ok(response) => Said::Response(response),
            Err(failure) => Said::Failure(failure),
        },
    };
    let _ = replies.send(encode(&Reply { id, said })).await;
    if is_stop {
        asked.stop.notify_one();
    }
}

/// Tells events until the client has gone.
async fn tell(id: u64, watch: Watch, service: &dyn Service, replies: &mpsc::Sender<Vec<u8>>) {
    let diary = service.diary();
    let (watching, mut cursor) = diary.follow(watch.after);
    let mut said = vec![Said::Response(Response::Events(watching))];
    loop {
        for said in said {
            if replies.send(encode(&Reply { id: Some(id), said })).await.is_err() {
                return;
            }
        }
        said = diary.next(&mut cursor).await.into_iter().map(Said::Event).collect();
    }
}

/// Writes replies until there are no more, or the client takes nothing.
async fn write(mut to: OwnedWriteHalf, mut replies: mpsc::Receiver<Vec<u8>>) {
    while let Some(reply) = replies.recv().await {
        match timeout(WRITE_WAIT, to.write_all(&reply)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

fn encode(reply: &Reply) -> Vec<u8> {
    let broken = |error: serde_json::Error| {
        let failure = Failure::new(Code::System, format!("the answer cannot be written: {error}"));
        serde_json::to_vec(&Reply { id: reply.id, said: Said::Failure(failure) }).unwrap_or_default()
    };
    let mut line = serde_json::to_vec(reply).unwrap_or_else(broken);
    line.push(b'\n');
    line
}
