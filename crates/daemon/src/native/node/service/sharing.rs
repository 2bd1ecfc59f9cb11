//! How shares are made, joined and left, and how others are invited.
//!
//! Promise: an invite is remembered before it is shown, so that it can be taken back; who leaves says so to whoever is
//! connected, and keeps its files as they are.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shoal_engine::io::Command;
use shoal_proto::id::ShareId;
use shoal_proto::invite::Invite;
use shoal_proto::key::InviteSecret;
use shoal_proto::roster::{Delegation, Entry, Offer, Role, Statement};
use tokio::time::{Instant, sleep};

use super::super::opening::{random, refused};
use super::super::{Core, lock, unix_seconds};
use super::status::known_as;
use crate::control::preview;
use crate::control::report::{self, Happening, InviteGiven, Left, Shared};
use crate::control::text::{Directory, Id, InviteText, Moment};
use crate::control::types::{Code, Failure, InviteTerms, Join, Share};
use crate::registry::Given;

/// The longest name that a share can be given.
const NAME_BYTES_MAX: usize = 255;

/// So long somebody who leaves waits for others to hear of it.
const FAREWELL: Duration = Duration::from_secs(3);

/// So often it is looked whether they have.
const FAREWELL_LOOK: Duration = Duration::from_millis(20);

impl Core {
    pub(super) fn share(&self, wish: &Share) -> Result<Shared, Failure> {
        check_name(wish.name.as_deref())?;
        let (registered, is_new) = match self.at_directory(&wish.directory) {
            Some(known) => (known, false),
            None => {
                let found = || self.found(&wish.directory.0, wish.name.as_deref(), wish.broad);
                (or_unmade(&wish.directory.0, found)?, true)
            }
        };
        let share = registered.share;
        if wish.alone && !is_new {
            self.is_open(share)?;
            self.shell.command(share, Command::Alone);
        }
        let invite = wish.invite.map(|terms| self.invite(share, &terms)).transpose()?;
        if let (Some(name), false) = (&wish.name, is_new) {
            self.registry().rename(&share, name).map_err(|error| refused(&error))?;
        }
        let listed = known_as(&self.registered(&share)?, self.role(share));
        Ok(Shared { listed, is_new, invite })
    }

    pub(super) fn join_by(&self, wish: &Join) -> Result<Shared, Failure> {
        preview(&wish.invite)?;
        let invite = Invite::parse(wish.invite.expose())
            .map_err(|error| Failure::new(Code::Invite, error.to_string()))?;
        if invite.delegation.signer == self.device() {
            return Err(Failure::new(Code::Invite, "this invite is by this device itself")
                .with_hint("use it on another device"));
        }
        check_name(wish.name.as_deref())?;
        let registered = or_unmade(&wish.directory.0, || self.join(&invite, wish))?;
        let listed = known_as(&registered, self.role(registered.share));
        Ok(Shared { listed, is_new: true, invite: None })
    }

    /// The share that this very folder is.
    fn at_directory(&self, directory: &Directory) -> Option<crate::registry::Registered> {
        let real = directory.0.canonicalize().ok()?;
        self.registry().iter().find(|registered| registered.directory == real).cloned()
    }

    /// What this device may do in a share; `None`: nothing, or the share is not open.
    pub(super) fn role(&self, share: ShareId) -> Option<report::Role> {
        let device = self.device();
        self.look(share, move |index| index.roster().role(&device)).ok().flatten().map(Into::into)
    }

    pub(super) fn invite(&self, share: ShareId, terms: &InviteTerms) -> Result<InviteGiven, Failure> {
        let registered = self.registered(&share)?;
        let device = self.device();
        let (role, after) = self.look(share, move |index| {
            let roster = index.roster();
            (roster.role(&device), roster.last_entry(&device))
        })?;
        if role != Some(Role::Admin) {
            let text = "only an admin of a share can invite to it, and this device is none";
            return Err(Failure::new(Code::NotAllowed, text));
        }
        let key = InviteSecret::from_seed(&random()?);
        let not_after = unix_seconds().saturating_add(terms.seconds);
        let offer = Offer { role: terms.role.into(), uses: terms.uses, not_after };
        let delegation = Delegation::sign(&self.key, &share, key.key(), offer, after)
            .map_err(|error| Failure::new(Code::BadCall, error.to_string()))?;
        let newest = self.shell.with_engine(move |engine| engine.secrets(&share).next().cloned()).flatten();
        let secret = newest.or_else(|| registered.secrets.first().cloned());
        let secret = secret.ok_or_else(|| Failure::new(Code::NotNow, "the share has no secret yet"))?;
        let (addresses, trackers) = self.told_places(&registered);
        let given =
            Given { key: Id(key.key()), role: terms.role, uses: terms.uses, not_after: delegation.not_after };
        let texts =
            |addresses: &[shoal_proto::invite::Address]| addresses.iter().map(ToString::to_string).collect();
        let (addresses_told, trackers_told) = (texts(&addresses), texts(&trackers));
        let invite = Invite { founding: registered.founding, secret, key, delegation, addresses, trackers };
        let text = InviteText::new(invite.to_text().map_err(|error| refused(&error))?);
        self.registry().change(&share, |share| share.gave(given)).map_err(|error| refused(&error))?;
        Ok(InviteGiven {
            invite: text,
            key: given.key,
            role: given.role,
            uses: given.uses,
            not_after: second(given.not_after),
            addresses: addresses_told,
            trackers: trackers_told,
        })
    }

    /// Says goodbye to who is connected, and forgets the share.
    pub(super) async fn leave(self: &Arc<Self>, share: ShareId) -> Result<Left, Failure> {
        self.registered(&share)?;
        if self.is_open(share).is_ok() && self.waiting(move |core| core.says_that_it_leaves(share)).await? {
            self.until_heard(share).await?;
        }
        let remains = self.waiting(move |core| core.forget(share)).await?;
        lock(&self.questions).remove(&share);
        self.diary.note(Some(share), Happening::Left);
        Ok(Left { remains })
    }

    /// Signs that this device leaves; whether there was reason to.
    fn says_that_it_leaves(&self, share: ShareId) -> Result<bool, Failure> {
        if self.is_out(share) {
            return Ok(false);
        }
        let device = self.device();
        let (role, after, kept) = self.read(share, move |index| {
            let publications = index.last_publications_of(&device)?;
            let roster = index.roster();
            let kept = roster.kept(&device, &publications);
            Ok((roster.role(&device), roster.last_entry(&device), kept))
        })?;
        if role.is_none() {
            return Ok(false);
        }
        let left = Entry::sign(&self.key, &share, after, Statement::Left { kept });
        self.enter(share, vec![left.map_err(|error| refused(&error))?])?;
        Ok(true)
    }

    /// Waits until all who are connected were told, which ends what is said with them of the share; not for ever.
    async fn until_heard(self: &Arc<Self>, share: ShareId) -> Result<(), Failure> {
        let began = Instant::now();
        while began.elapsed() < FAREWELL {
            let status = self.waiting(move |core| Ok(core.shell.status(share))).await?;
            if status.is_none_or(|(status, _)| status.peers.is_empty()) {
                break;
            }
            sleep(FAREWELL_LOOK).await;
        }
        Ok(())
    }

    /// Has entries that this device has signed taken up; they are in the index when this returns.
    pub(super) fn enter(&self, share: ShareId, entries: Vec<Entry>) -> Result<(), Failure> {
        self.is_open(share)?;
        self.shell.command(share, Command::Enter(entries.clone()));
        let is_held =
            self.look(share, move |index| entries.iter().all(|entry| index.entries().holds(entry)))?;
        if is_held {
            self.to_meet.notify_one();
            return Ok(());
        }
        Err(Failure::new(Code::System, "the roster of the share is full, or cannot be written"))
    }
}

/// Whether a share can be called this: it stands in lines of text, and in commands.
fn check_name(name: Option<&str>) -> Result<(), Failure> {
    let is_one = |name: &str| {
        !name.trim().is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control)
    };
    if name.is_none_or(is_one) {
        return Ok(());
    }
    let text = format!("a share cannot be called that; give a line of 1 to {NAME_BYTES_MAX} bytes");
    Err(Failure::new(Code::BadCall, text))
}

/// Does what makes a folder and may fail: then no folder is left of it.
fn or_unmade<T>(directory: &Path, deed: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|above| !above.exists()).collect();
    let done = deed();
    if done.is_err() {
        // Not all of them need have been made; and whatever has come into one meanwhile keeps it.
        missing.into_iter().map(std::fs::remove_dir).for_each(drop);
    }
    done
}

/// A second since 1970, as it is told.
pub(super) fn second(second: u64) -> Moment {
    Moment::at_second(i64::try_from(second).unwrap_or(i64::MAX))
}
