//! Calling other devices: at one address, or at whichever of several answers first.
//!
//! Promise: who is called is the one that is wanted, or nobody; there is no falling back to anything else (T2). What
//! [`Budget`] holds back is not called (T4). A call that is given up leaves nothing behind.

use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shoal_proto::invite::Address;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::budget::{Budget, Ended, Held};
use crate::error::NetError;
use crate::limits::{CALLED_TOGETHER_MAX, CONNECT, RESOLVE, STAGGER};
use crate::reach::{NamedBy, canonical, may_call};
use crate::tls::{self, Expected, Identity, Purpose, Secured};

/// Calls one address, and has both ends prove their keys. How often it may be called is the caller's concern: see
/// [`Caller`].
///
/// # Errors
/// When the address is no single machine's, when nobody answers there, or somebody else does.
pub async fn dial(
    address: SocketAddr,
    identity: &Identity,
    expected: Expected,
    purpose: Purpose,
) -> Result<Secured, NetError> {
    may_call(address, NamedBy::User).map_err(|why| NetError::Unreachable { address, why })?;
    let stream = match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(NetError::Connect { address, source }),
        Err(_) => return Err(NetError::NoAnswer { address, within: CONNECT }),
    };
    tls::secure(stream, address, identity, expected, purpose).await
}

/// An address where a device may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Candidate {
    /// Who says so.
    pub named_by: NamedBy,
    /// Where.
    pub address: SocketAddr,
}

impl Candidate {
    /// The addresses that a host has, if it has any, at most [`CALLED_TOGETHER_MAX`]. A name is looked up as the system
    /// does it, for at most [`RESOLVE`].
    pub async fn of(address: &Address, named_by: NamedBy) -> Vec<Self> {
        if let Ok(address) = address.as_str().parse() {
            return vec![Self { named_by, address }];
        }
        match timeout(RESOLVE, lookup_host(address.as_str())).await {
            Ok(Ok(found)) => {
                found.take(CALLED_TOGETHER_MAX).map(|address| Self { named_by, address }).collect()
            }
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }
}

/// Calls devices, within one [`Budget`] for all of them. A handle that can be cloned.
#[derive(Clone, Debug)]
pub struct Caller {
    budget: Arc<Mutex<Budget>>,
    began: Instant,
}

/// A device was not reached.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.told())]
pub struct CallError {
    /// What became of the addresses that were called.
    pub failed: Vec<NetError>,
    /// When one of the addresses may be called again; `None`: none of them ever is.
    pub again_in: Option<Duration>,
}

impl CallError {
    fn told(&self) -> String {
        match (self.failed.first(), self.again_in) {
            (Some(error), _) => error.to_string(),
            (None, Some(wait)) => format!("it was called a while ago, and is again in {} s", wait.as_secs()),
            (None, None) => "no address is known that may be called".to_owned(),
        }
    }
}

impl Caller {
    /// Calls within this budget, whose time begins now.
    #[must_use]
    pub fn new(budget: Budget) -> Self {
        Self { budget: Arc::new(Mutex::new(budget)), began: Instant::now() }
    }

    /// Where we are called ourselves, so that we do not call it.
    pub fn own(&self, addresses: &[SocketAddr]) {
        self.budget().own(addresses);
    }

    /// Somebody was reached there in an earlier life of this program.
    pub fn trusted(&self, address: SocketAddr) {
        let now = self.began.elapsed();
        self.budget().trusted(address, now);
    }

    /// Something has changed, so that waiting longer is of no use.
    pub fn hurry(&self, address: SocketAddr) {
        let now = self.began.elapsed();
        self.budget().hurry(address, now);
    }

    /// Calls a device at those of its addresses that may be called now, each a little after the one before it. The first
    /// that proves the key is taken; calls to the others are given up. May be given up at any moment.
    ///
    /// # Errors
    /// When nobody is reached: why, and when to try again.
    pub async fn call(
        &self,
        candidates: &[Candidate],
        identity: &Identity,
        expected: &Expected,
        purpose: Purpose,
    ) -> Result<Secured, CallError> {
        let mut waiting = self.in_order(candidates);
        let (mut calls, mut failed) = (JoinSet::new(), Vec::new());
        loop {
            if let Some(candidate) = waiting.pop_front() {
                let Some(call) = self.begin(candidate) else { continue };
                let (identity, expected) = (identity.clone(), expected.clone());
                calls.spawn(async move { call.perform(&identity, expected, purpose).await });
            }
            let ended = if waiting.is_empty() {
                calls.join_next().await
            } else {
                tokio::select! {
                    ended = calls.join_next(), if !calls.is_empty() => ended,
                    () = sleep(STAGGER) => continue,
                }
            };
            match ended {
                Some(Ok(Ok(secured))) => return Ok(secured),
                Some(Ok(Err(error))) => failed.push(error),
                // A task that ended by itself told nothing.
                Some(Err(_)) => {}
                None if waiting.is_empty() => {
                    return Err(CallError { failed, again_in: self.again_in(candidates) });
                }
                None => {}
            }
        }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that may be called now: first what is surest, and of what is as sure one of each family in turn.
    fn in_order(&self, candidates: &[Candidate]) -> VecDeque<Candidate> {
        let (now, budget) = (self.began.elapsed(), self.budget());
        let may_begin = |at: &Candidate| budget.may_begin(at.address, at.named_by, now).is_ok();
        let mut sorted: Vec<Candidate> =
            candidates.iter().map(|at| Candidate { address: canonical(at.address), ..*at }).collect();
        sorted.sort_unstable();
        let mut seen = std::collections::BTreeSet::new();
        sorted.retain(|at| seen.insert(at.address) && may_begin(at));
        let mut ordered = VecDeque::new();
        for sure in sorted.chunk_by(|one, other| one.named_by == other.named_by) {
            let (mut six, mut four): (VecDeque<_>, VecDeque<_>) =
                sure.iter().copied().partition(|at| at.address.is_ipv6());
            while !(six.is_empty() && four.is_empty()) {
                ordered.extend([six.pop_front(), four.pop_front()].into_iter().flatten());
            }
        }
        ordered.truncate(CALLED_TOGETHER_MAX);
        ordered
    }

    fn begin(&self, candidate: Candidate) -> Option<Call> {
        let now = self.began.elapsed();
        self.budget().begin(candidate.address, candidate.named_by, now).ok()?;
        Some(Call { caller: self.clone(), address: candidate.address, ended: Ended::GivenUp })
    }

    fn again_in(&self, candidates: &[Candidate]) -> Option<Duration> {
        let (now, budget) = (self.began.elapsed(), self.budget());
        let wait = |at: &Candidate| match budget.may_begin(at.address, at.named_by, now) {
            Ok(()) => Some(Duration::ZERO),
            Err(Held::Wait(wait)) => Some(wait),
            Err(Held::Busy) => Some(STAGGER),
            Err(Held::Unreachable(_) | Held::Own) => None,
        };
        candidates.iter().filter_map(wait).min()
    }
}

/// A call that the budget knows of, until it is dropped.
struct Call {
    caller: Caller,
    address: SocketAddr,
    ended: Ended,
}

impl Call {
    async fn perform(
        mut self,
        identity: &Identity,
        expected: Expected,
        purpose: Purpose,
    ) -> Result<Secured, NetError> {
        let secured = dial(self.address, identity, expected, purpose).await;
        self.ended = if secured.is_ok() { Ended::Reached } else { Ended::Failed };
        secured
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let now = self.caller.began.elapsed();
        self.caller.budget().ended(self.address, self.ended, now);
    }
}

#[cfg(test)]
mod tests;
