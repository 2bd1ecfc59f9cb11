//! How a share comes to be on this device, is opened, and is left.
//!
//! Promise: the index comes first and is durable, then the share is remembered; whatever a crash leaves between the two is put
//! aside at the next try, never used. Of a folder nothing is changed by opening it. An index that is lost or damaged is
//! made anew, knows from its [`RosterFile`] who belongs to the share, and publishes nothing before it has met a member (I18).

use std::path::Path;
use std::sync::Arc;

use shoal_disk::{Folder, FolderOptions, Worker};
use shoal_engine::io::{Command, Differing};
use shoal_index::{At, Index};
use shoal_proto::cut::CUT;
use shoal_proto::id::{ShareId, WriterSalt};
use shoal_proto::invite::{Address, Invite};
use shoal_proto::key::rand_core::OsRng;
use shoal_proto::roster::{Described, Entries, Entry, EntryPlace, Founding, Statement};
use shoal_proto::secret::ShareSecret;

use super::meeting::MetBy;
use super::{Core, Opened};
use crate::control::report::Happening;
use crate::control::text::Id;
use crate::control::types::{Choice, Code, Failure, Join};
use crate::native::shell::NewShare;
use crate::private::shown;
use crate::registry::{InvitedBy, Kept, Registered, RosterFile, RosterFileError, RosterKeeper};

/// Worker threads for one folder: both cores of a small machine.
const FOLDER_THREADS: usize = 2;

/// The system, the disk or the index refuses.
pub(super) fn refused(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Code::System, whole(error))
}

/// What an error says, and what lies under it.
fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl Core {
    /// Opens all shares that are remembered.
    pub(super) async fn open_all(self: &Arc<Self>) {
        let all: Vec<Registered> = self.registry().iter().cloned().collect();
        for registered in all {
            let share = registered.share;
            if let Err(failure) = self.waiting(move |core| core.open(&registered)).await {
                let why = failure.message;
                self.diary.note(Some(share), Happening::Warning { message: why.clone() });
                self.shares().insert(share, Opened::Failed(why));
            }
        }
    }

    /// Closes all shares; returns once nothing is at work any more.
    pub(super) async fn close_all(self: &Arc<Self>) {
        let all: Vec<ShareId> = self.shares().keys().copied().collect();
        for share in all {
            let shut = move |core: &Arc<Self>| {
                core.shut(share);
                Ok(())
            };
            let _ = self.waiting(shut).await;
        }
    }

    /// Opens a share that is remembered.
    fn open(&self, registered: &Registered) -> Result<(), Failure> {
        let share = registered.share;
        let mut index = self.open_index(registered)?;
        let (roster, was_told) = self.keeps_roster(registered, &mut index)?;
        self.begin(registered, index, roster, was_told)?;
        if registered.is_paused {
            self.shell.command(share, Command::Pause);
        }
        self.says_its_name(share);
        Ok(())
    }

    fn open_index(&self, registered: &Registered) -> Result<Index, Failure> {
        let path = self.held.home().index_file(&registered.share);
        if path.exists() {
            match Index::open(&path, &registered.share, Arc::clone(&self.key)) {
                Ok(index) => return Ok(index),
                Err(error) if error.is_damage() => {
                    let aside = shoal_index::put_aside(&path).map_err(|error| refused(&error))?;
                    self.warn(
                        registered.share,
                        format!(
                            "the index was damaged ({error}), is kept as {}, and is made anew",
                            shown(&aside)
                        ),
                    );
                }
                Err(error) => return Err(refused(&error)),
            }
        }
        let salt = WriterSalt(random()?);
        let made = Index::create_again(At::File(&path), registered.founding, Arc::clone(&self.key), salt);
        made.map_err(|error| refused(&error))
    }

    /// Makes an index and what is kept of its roster outside of it the same, whichever was lost, put back to an earlier day or
    /// not written before a crash: what one of them holds was said. A file that is there and cannot be read just now may know
    /// what the index does not, so the share stays closed until somebody has put that right.
    /// Beside what keeps them: whether the file told something to the index.
    fn keeps_roster(
        &self,
        registered: &Registered,
        index: &mut Index,
    ) -> Result<(RosterKeeper, bool), Failure> {
        let file = RosterFile::of(self.held.home(), registered.founding);
        let mut was_told = false;
        match file.read(index.entries()) {
            Ok(Kept::Same) => return Ok((self.keeper(file, Some(index.entries())), false)),
            Ok(Kept::Nothing) => {}
            Ok(Kept::Other(entries)) => {
                let entries: Vec<Entry> =
                    entries.iter().filter(|entry| !index.entries().holds(entry)).cloned().collect();
                was_told = !entries.is_empty();
                index.add_entries(entries).map_err(|error| refused(&error))?;
            }
            Err(error @ (RosterFileError::File(_) | RosterFileError::Later { .. })) => {
                let why = whole(&error);
                let text = format!(
                    "who belongs to this share cannot be read: {why}; it is opened once that is put right and `shoal up` \
                     starts again"
                );
                return Err(Failure::new(Code::System, text));
            }
            Err(error @ RosterFileError::Damaged { .. }) => {
                let why = whole(&error);
                let what = match shoal_index::put_aside(file.path()) {
                    Ok(aside) => format!("it is kept as {}, and made anew", shown(&aside)),
                    Err(error) => whole(&error),
                };
                self.warn(
                    registered.share,
                    format!("what is kept of the roster cannot be used: {why}; {what}"),
                );
            }
        }
        let mut keeper = self.keeper(file, None);
        keeper.keep(index.entries());
        Ok((keeper, was_told))
    }

    fn keeper(&self, file: RosterFile, holds: Option<&Entries>) -> RosterKeeper {
        RosterKeeper::new(file, Arc::clone(&self.diary), holds)
    }

    /// Sets a share to work.
    fn begin(
        &self,
        registered: &Registered,
        index: Index,
        roster: RosterKeeper,
        was_told: bool,
    ) -> Result<(), Failure> {
        let options =
            FolderOptions { broad: true, home: self.held.home().user_home().map(Path::to_path_buf) };
        let (folder, recovered) =
            Folder::open(&registered.directory, &options).map_err(|error| refused(&error))?;
        for problem in recovered.problems {
            self.warn(registered.share, problem);
        }
        let worker =
            Arc::new(Worker::new(&folder).with_threads(FOLDER_THREADS).with_buffers(self.shell.buffers()));
        worker.was_unclean(index.was_unclean());
        let new = NewShare {
            index,
            roster: Some(roster),
            worker: Arc::clone(&worker),
            secrets: registered.secrets.clone(),
            retention: self.config().history,
            asks_first: super::service::asks_first(registered),
        };
        self.shell.open(new).map_err(|error| refused(&error))?;
        if registered.choice == Some(Choice::Theirs) {
            self.shell.command(registered.share, Command::Meet(Differing::Theirs));
        }
        self.shares().insert(registered.share, Opened::Open { worker, met_by: MetBy::default(), was_told });
        self.to_meet.notify_one();
        Ok(())
    }

    /// Ends the work of a share.
    fn shut(&self, share: ShareId) {
        // What keeps its folder goes first: who waits for the rest to be over may open it again.
        drop(self.shares().remove(&share));
        self.shell.close(share);
        self.to_meet.notify_one();
    }

    /// Makes a folder a share, and the folder if it is not there; it is at work when this returns.
    pub(super) fn found(
        &self,
        directory: &Path,
        name: Option<&str>,
        broad: bool,
    ) -> Result<Registered, Failure> {
        make(directory)?;
        let directory = self.registry().check_directory(self.held.home(), directory, broad)?;
        let founding = Founding { creator: self.device(), random: random()?, cut: CUT };
        let secret = ShareSecret::from_bytes(random()?);
        let mut index = self.make_index(founding)?;
        let described = Statement::Device(self.described());
        let describes =
            Entry::sign(&self.key, &founding.share(), None, described).map_err(|error| refused(&error))?;
        index.add_entries(vec![describes]).map_err(|error| refused(&error))?;
        let told =
            index.entries().new_secret(&self.key, &secret, &mut OsRng).map_err(|error| refused(&error))?;
        index.add_entries(told).map_err(|error| refused(&error))?;
        let name = self.name_for(name, &directory);
        let registered = Registered::new(founding, name, directory, secret);
        self.remember(registered, index)
    }

    /// Comes into a share by an invite; it is at work when this returns, and has met nobody yet.
    pub(super) fn join(&self, invite: &Invite, wish: &Join) -> Result<Registered, Failure> {
        let directory = &wish.directory.0;
        let share = invite.share();
        let mut was_told = false;
        if self.registry().get(&share).is_some() {
            if !self.is_out(share) {
                let text = format!("this device is in the share {} already", share.short());
                return Err(Failure::new(Code::Invite, text).with_hint("`shoal shares` says where it is"));
            }
            // What it was in before is over, and another invite is a new beginning.
            was_told = matches!(self.shares().get(&share), Some(Opened::Open { was_told: true, .. }));
            self.forget(share)?;
        }
        make(directory)?;
        let directory = self.registry().check_directory(self.held.home(), directory, wish.broad)?;
        let (after, mut entries) = self.signed_before(&share, was_told);
        let mut index = self.make_index(invite.founding)?;
        let entry = invite.join(&self.key, after, self.described()).map_err(|error| refused(&error))?;
        entries.push(entry);
        index.add_entries(entries).map_err(|error| refused(&error))?;
        let name = self.name_for(wish.name.as_deref(), &directory);
        let mut registered = Registered::new(invite.founding, name, directory, invite.secret.clone());
        registered.trackers.clone_from(&invite.trackers);
        registered.choice = wish.choice;
        registered.invited_by = Some(InvitedBy {
            device: Id(invite.delegation.signer),
            addresses: invite.addresses.iter().map(Address::to_string).collect(),
        });
        self.remember(registered, index)
    }

    /// Forgets a share; its files stay, and its index is put aside. Answers what else stays, since it cannot be removed.
    pub(super) fn forget(&self, share: ShareId) -> Result<Vec<String>, Failure> {
        self.shut(share);
        let remains = self.registry().remove(&share).map_err(|error| refused(&error))?;
        let remains: Vec<String> = remains.iter().map(|error| whole(error)).collect();
        for what in &remains {
            self.warn(share, format!("{what}; it tells of the share that was left"));
        }
        Ok(remains)
    }

    fn remember(&self, registered: Registered, index: Index) -> Result<Registered, Failure> {
        // In the place of what was kept of a life in the share that is over.
        let file = RosterFile::of(self.held.home(), registered.founding);
        file.write(index.entries()).map_err(|error| refused(&error))?;
        let roster = self.keeper(file, Some(index.entries()));
        let put = self.registry().put(registered.clone()).map_err(|error| refused(&error));
        if let Err(failure) = put.and_then(|()| self.begin(&registered, index, roster, false)) {
            // It was never at work: nobody knows of it.
            let _ = self.registry().remove(&registered.share);
            return Err(failure);
        }
        self.diary.note(Some(registered.share), Happening::Added);
        Ok(registered)
    }

    /// A new index; one that is there belongs to a share that was left, or to a try that a crash has ended.
    fn make_index(&self, founding: Founding) -> Result<Index, Failure> {
        let path = self.held.home().index_file(&founding.share());
        if path.exists() {
            shoal_index::put_aside(&path).map_err(|error| refused(&error))?;
        }
        let made = Index::create(At::File(&path), founding, Arc::clone(&self.key), WriterSalt(random()?));
        made.map_err(|error| refused(&error))
    }

    /// What this device has signed last in a share that it was in before, and what of that the others may not have heard. That
    /// it wanted to come in, and never did, nobody has taken up. But that was heard of a wish with something signed after it,
    /// of one by which a removed device was in, and of one that an index which was lost had to be told again.
    fn signed_before(&self, share: &ShareId, was_told: bool) -> (Option<EntryPlace>, Vec<Entry>) {
        let path = self.held.home().index_file(share);
        let Ok(index) = Index::open(&path, share, Arc::clone(&self.key)) else { return Default::default() };
        let device = self.device();
        let own: Vec<Entry> =
            index.entries().iter().filter(|entry| *entry.signer() == device).cloned().collect();
        let is_wish = |entry: &Entry| matches!(entry.statement(), Statement::Joined(_));
        let was_in = was_told || index.life().first_contact || index.roster().removed(&device).is_some();
        let (last, own) = match own.split_last() {
            Some((wish, before)) if is_wish(wish) && !was_in => (wish.previous(), before.to_vec()),
            _ => (index.roster().last_entry(&device), own),
        };
        if let Err(error) = index.close() {
            tracing::warn!("an index that is not used any more could not be closed: {error}");
        }
        (last, own)
    }

    pub(super) fn described(&self) -> Described {
        Described { name: self.config().name, box_key: self.key.box_key() }
    }

    fn name_for(&self, asked: Option<&str>, directory: &Path) -> String {
        let of_directory = || directory.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = asked.map(str::to_owned).or_else(of_directory).unwrap_or_else(|| "share".to_owned());
        self.registry().free_name(&name)
    }

    pub(super) fn warn(&self, share: ShareId, message: String) {
        tracing::warn!("{message}");
        self.diary.note(Some(share), Happening::Warning { message });
    }
}

/// Makes a folder that is not there.
fn make(directory: &Path) -> Result<(), Failure> {
    if directory.exists() {
        return Ok(());
    }
    let cannot = |error| Failure::new(Code::Directory, format!("cannot make {}: {error}", shown(directory)));
    std::fs::create_dir_all(directory).map_err(cannot)
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    crate::random().map_err(|error| refused(&error))
}
