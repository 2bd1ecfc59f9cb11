//! The seam between the control API and whoever does the work.

use std::future::Future;
use std::pin::Pin;

use super::diary::Diary;
use super::types::{Failure, Request, Response};

/// An answer that is being worked out. Whoever does not wait for it any more drops it: then nothing further may come of it
/// but what had begun.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Response, Failure>> + Send + 'a>>;

/// Whoever answers requests: the node, or one that a test plays.
pub trait Service: Send + Sync + 'static {
    /// Answers a request. Of [`Request::Watch`] and [`Request::Stop`] it hears nothing over a socket: the [`Diary`] answers
    /// the one, and [`Server::serve`](super::Server::serve) returns for the other.
    fn handle(&self, request: Request) -> Answering<'_>;

    /// What has happened.
    fn diary(&self) -> &Diary;
}

/// A service that is brought to its end.
pub trait Daemon: Service {
    /// Ends in order: what was begun is durable when it is over. Nothing is asked any more by then.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
