//! What a person, or a program for one, asks of a node, and what is answered.
//!
//! Promise: every request is answered once it is done, or durably begun, as [`types`](crate::control::types) says; what
//! cannot be done is refused with a reason. Nothing here decides what files become: that is for the engine alone.
//!
//! | the question | look into |
//! |---|---|
//! | how shares are made, joined and left, and who is invited | `sharing.rs` |
//! | who belongs to a share, and how somebody ceases to | `devices.rs` |
//! | how everything stands | `status.rs` |
//! | what is known of one path; conflicts; what is ignored | `paths.rs` |
//! | what was displaced, and how it comes back | `history.rs` |
//! | what a reader takes back | `reverting.rs` |
//! | what the first meeting of a share has found | `contact.rs` |
//! | what is told without being asked | `news.rs` |

mod contact;
mod devices;
mod history;
pub(super) mod news;
mod paths;
mod reverting;
mod sharing;
mod status;
mod work;

pub(super) use self::contact::asks_first;

use std::sync::Arc;
use std::time::Duration;

use shoal_engine::status::Status;
use shoal_index::{Index, IndexError};
use shoal_proto::id::ShareId;
use shoal_proto::roster::Role;
use tokio::time::{Instant, sleep};

use super::opening::refused;
use super::{Core, Node, Opened};
use crate::control::types::{Code, Done, Failure, Request, Response};
use crate::control::{Answering, Diary, Service};

/// So often it is seen whether anything has happened, by who waits for a share to stand otherwise.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

impl Service for Node {
    fn handle(&self, request: Request) -> Answering<'_> {
        Box::pin(self.core.answer(request))
    }

    fn diary(&self) -> &Diary {
        &self.core.diary
    }
}

impl Core {
    async fn answer(self: &Arc<Self>, request: Request) -> Result<Response, Failure> {
        Ok(match request {
            Request::GetStatus(asked) => {
                Response::Status(self.waiting(move |core| core.status(&asked)).await?)
            }
            Request::ListShares(_) => Response::Shares(self.waiting(|core| Ok(core.listed())).await?),
            Request::Share(wish) => Response::Shared(self.waiting(move |core| core.share(&wish)).await?),
            Request::Join(wish) => Response::Shared(self.waiting(move |core| core.join_by(&wish)).await?),
            Request::Leave(leave) => Response::Left(self.leave(leave.share.0).await?),
            Request::Invite(wish) => {
                Response::Invited(self.waiting(move |core| core.invite(wish.share.0, &wish.terms)).await?)
            }
            Request::ListDevices(asked) => {
                Response::Devices(self.waiting(move |core| core.devices(asked.share.0)).await?)
            }
            Request::Revoke(wish) => self.does(move |core| core.revoke(&wish)).await?,
            Request::Decide(wish) => self.decide(wish.share.0, wish.choice).await?,
            Request::Explain(asked) => {
                Response::Explained(self.waiting(move |core| core.explain(asked.share.0, asked.path)).await?)
            }
            Request::ListHistory(asked) => {
                Response::History(self.waiting(move |core| core.history(&asked)).await?)
            }
            Request::Restore(wish) => Response::Restored(self.restore(wish).await?),
            Request::Undo(wish) => Response::Undone(self.undo(wish).await?),
            Request::Revert(wish) => Response::Reverted(self.revert(wish).await?),
            Request::ListConflicts(asked) => {
                Response::Conflicts(self.waiting(move |core| core.conflicts(asked.share.0)).await?)
            }
            Request::Resolve(wish) => self.does(move |core| core.resolve(&wish)).await?,
            Request::GetIgnore(asked) => {
                Response::Ignore(self.waiting(move |core| core.ignored(asked.share.0)).await?)
            }
            Request::AcceptIgnore(wish) => self.does(move |core| core.accept_ignore(wish.share.0)).await?,
            Request::Pause(wish) => self.does(move |core| core.pause(wish.share.0)).await?,
            Request::Resume(wish) => self.does(move |core| core.resume(wish.share.0)).await?,
            Request::Rescan(wish) => Response::Rescanned(self.rescan(wish).await?),
            Request::Wait(asked) => Response::Waited(self.wait(asked).await?),
            Request::Reload(_) => Response::Reloaded(self.waiting(|core| core.reload()).await?),
            Request::Stop(_) => Response::Done(Done {}),
            Request::Watch(watch) => Response::Events(self.diary.follow(watch.after).0),
        })
    }

    /// Does something of which there is nothing to be said but that it is done.
    async fn does(
        self: &Arc<Self>,
        deed: impl FnOnce(&Arc<Self>) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Response, Failure> {
        self.waiting(deed).await?;
        Ok(Response::Done(Done {}))
    }

    /// Looks at how a share stands, again whenever something has happened, until `look` finds what it looks for; `None`: it was
    /// not found in this time.
    async fn until<T>(
        self: &Arc<Self>,
        share: ShareId,
        at_most: Duration,
        mut look: impl FnMut(&Status) -> Result<Option<T>, Failure>,
    ) -> Result<Option<T>, Failure> {
        let began = Instant::now();
        let mut turns = None;
        loop {
            let (now, is_over) = (self.shell.turns(), began.elapsed() > at_most);
            if turns.replace(now) != Some(now) || is_over {
                let status = self.waiting(move |core| Ok(core.shell.status(share))).await?;
                let (status, _) = status.ok_or_else(|| Failure::no_share(&share))?;
                let found = look(&status)?;
                if found.is_some() || is_over {
                    return Ok(found);
                }
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    /// Whether this device only reads in a share that is at work.
    fn is_reader(&self, share: ShareId) -> Result<bool, Failure> {
        let device = self.device();
        self.look(share, move |index| index.roster().role(&device) == Some(Role::Reader))
    }

    /// Whether a share is at work; if it is not, why.
    fn is_open(&self, share: ShareId) -> Result<(), Failure> {
        match self.shares().get(&share) {
            Some(Opened::Open { .. }) => Ok(()),
            Some(Opened::Failed(why)) => {
                Err(Failure::new(Code::NotNow, format!("the share could not be opened: {why}")))
            }
            None if self.registry().get(&share).is_some() => {
                Err(Failure::new(Code::NotNow, "the share is being opened, or closed"))
            }
            None => Err(Failure::no_share(&share)),
        }
    }

    /// Looks into the index of a share that is at work.
    fn look<T: Send + 'static>(
        &self,
        share: ShareId,
        look: impl FnOnce(&mut Index) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        self.is_open(share)?;
        self.shell.with_index(share, look).ok_or_else(|| Failure::no_share(&share))
    }

    /// The same for what may fail.
    fn read<T: Send + 'static>(
        &self,
        share: ShareId,
        look: impl FnOnce(&mut Index) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, Failure> {
        self.look(share, look)?.map_err(|error| refused(&error))
    }
}
