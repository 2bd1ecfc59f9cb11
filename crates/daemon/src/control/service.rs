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
    /// Answers a request. Of [`Request::Watch`] it never hears: the [`Diary`] answers that.
    fn handle(&self, request: Request) -> Answering<'_>;

    /// What has happened.
    fn diary(&self) -> &Diary;
}
