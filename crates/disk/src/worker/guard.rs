//! Whose rules are in force.
//!
//! Promise: rules that came from another device count only once this device's user has accepted them (F5), also after a
//! crash at any moment; else any writer could hide everything from everybody, or have private files sent. Rules that the
//! user wrote count at the next look. Nothing but a plain file is read (F7), and at most [`IGNORE_BYTES_MAX`] of it.
//!
//! `.shoal/ignore` is a copy of the text in force. `.shoal/ignore.offered` knows by their marks the states that others
//! have given, or meant to give, to `.shoalignore` since then: it is durable before the first of a commit's deeds is done.
//! What is found at `.shoalignore` and is neither in force nor known there is the user's, and is made durable before it
//! counts, so that a power cut cannot bring an older state back that would then pass for the user's.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use shoal_proto::path::RelPath;

use super::rules::{IGNORE_BYTES_MAX, Rules};
use crate::durable::sync_names;
use crate::folder::Shared;
use crate::fs::{Fs, FsDir, FsFile};
use crate::stage::read_all_at;
use crate::stat::{Kind, Look};
use crate::watch::{Alarm, Ignores, KeepsRules};

/// Where a share's rules are.
pub const IGNORE_NAME: &str = ".shoalignore";

/// Why rules cannot be accepted.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreError {
    /// They are no rules.
    #[error("{IGNORE_NAME} cannot be used: {0}")]
    Unusable(String),
    /// The system refuses.
    #[error("cannot read or keep the rules of {IGNORE_NAME}")]
    Io(#[from] io::Error),
}

/// Rules as they were written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IgnoreTexts {
    /// Those in force; `None`: there are none.
    pub in_force: Option<Vec<u8>>,
    /// Those that came from another device and wait to be accepted, if there are such: `None` too where the other device has
    /// taken the rules away.
    pub offered: Option<Vec<u8>>,
}

/// Keeps the rules of one share up to date.
#[derive(Debug)]
pub(super) struct Guard<F: Fs> {
    folder: Arc<Shared<F>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What `.shoalignore` was when it was read last.
    known: Option<Known>,
    /// The text in force; `None`: there are no rules.
    accepted: Option<Vec<u8>>,
    /// The rules of that text, or of the user's newer one that the disk has no room for.
    rules: Arc<Rules>,
    /// That newer text: it is put in force once, and then only tried to be kept.
    unkept: Option<Option<Vec<u8>>>,
    /// What others have given to `.shoalignore`, oldest first; at most [`OFFERED_MAX`].
    offered: Vec<Mark>,
    /// Whether what is above was read from the disk.
    is_loaded: bool,
    /// Whom to tell when other rules come into force.
    watch: Option<Arc<Alarm>>,
}

#[derive(Clone, Debug)]
struct Known {
    look: Option<Look>,
    standing: Standing,
}

/// How what stands at `.shoalignore` stands to what is in force.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Standing {
    /// It is in force.
    InForce,
    /// It came from another device, and waits to be accepted.
    Offered,
    /// It is the user's and cannot be understood: until that is repaired nobody knows what to leave alone.
    Unusable(String),
}

/// By what a state of `.shoalignore` is known again.
pub(super) type Mark = [u8; 32];

/// A state of `.shoalignore`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Text {
    /// There is none.
    Gone,
    /// A file that begins with these bytes; more than [`IGNORE_BYTES_MAX`] of them are no rules.
    File(Vec<u8>),
    /// Something that is never read.
    Other(Kind),
}

impl Text {
    pub(super) fn mark(&self) -> Mark {
        match self {
            Self::Gone => [0; 32],
            Self::File(text) => *blake3::hash(text).as_bytes(),
            Self::Other(Kind::Folder) => [1; 32],
            Self::Other(_) => [2; 32],
        }
    }

    fn is_in_force(&self, accepted: Option<&[u8]>) -> bool {
        match self {
            Self::Gone => accepted.is_none(),
            Self::File(text) => accepted == Some(text),
            Self::Other(_) => false,
        }
    }

    /// What a power cut makes of a file that was saved a moment before.
    fn is_blank(&self) -> bool {
        match self {
            Self::Gone => true,
            Self::File(text) => text.iter().all(|byte| *byte == 0),
            Self::Other(_) => false,
        }
    }
}

impl<F: Fs> Guard<F> {
    pub(super) fn new(folder: Arc<Shared<F>>) -> Self {
        Self { folder, state: Mutex::default() }
    }

    /// The rules in force, after a look at `.shoalignore`; `afresh`: it is read even if it looks as it did. After an
    /// unclean stop a file that is empty or gone does not undo what is in force.
    ///
    /// The error is for a person: as long as there is one, nobody knows what the user keeps out of the share.
    pub(super) fn rules(&self, afresh: bool, was_unclean: bool) -> Result<Arc<Rules>, String> {
        let mut state = self.state();
        let standing = state
            .refresh(&self.folder, afresh, was_unclean)
            .map_err(|error| format!("cannot read {IGNORE_NAME}: {error}"))?;
        match standing {
            Standing::Unusable(why) => Err(format!("{IGNORE_NAME} cannot be used: {why}")),
            Standing::InForce | Standing::Offered => Ok(Arc::clone(&state.rules)),
        }
    }

    /// Whether what stands at `.shoalignore` came from another device and is not in force.
    pub(super) fn is_offered(&self) -> Result<bool, IgnoreError> {
        Ok(self.state().refresh(&self.folder, false, false)? == Standing::Offered)
    }

    /// Puts what stands at `.shoalignore` in force, whoever wrote it.
    pub(super) fn accept(&self) -> Result<(), IgnoreError> {
        let mut state = self.state();
        state.load(&self.folder)?;
        let text = read(&self.folder, self.folder.root.look(IGNORE_NAME.as_ref())?)?;
        state.known = None;
        match state.put_in_force(&self.folder, text)? {
            Ok(kept) => Ok(kept?),
            Err(why) => Err(IgnoreError::Unusable(why)),
        }
    }

    /// The text in force, and the one that waits to be accepted.
    pub(super) fn texts(&self) -> Result<IgnoreTexts, IgnoreError> {
        let mut state = self.state();
        let is_offered = state.refresh(&self.folder, false, false)? == Standing::Offered;
        let offered = match read(&self.folder, self.folder.root.look(IGNORE_NAME.as_ref())?)? {
            Text::File(text) if is_offered => Some(text),
            // That there are no rules any more is an offer without a text.
            _ => None,
        };
        Ok(IgnoreTexts { in_force: state.accepted.clone(), offered })
    }

    /// Notes that others are about to give `.shoalignore` these states. Durable when it returns.
    pub(super) fn offer(&self, marks: &[Mark], was_unclean: bool) -> io::Result<()> {
        let mut state = self.state();
        state.refresh(&self.folder, false, was_unclean)?;
        if state.unkept.is_some() {
            // After this commit nobody could tell what the user had written.
            return Err(Errno::NOSPC.into());
        }
        let mut offered = state.offered.clone();
        offered.retain(|known| !marks.contains(known));
        offered.extend(marks);
        offered.drain(..offered.len().saturating_sub(OFFERED_MAX));
        if offered != state.offered {
            keep(&self.folder, OFFERED, Some(offered.as_flattened()))?;
            state.offered = offered;
        }
        state.known = None;
        Ok(())
    }

    /// Nothing is left half changed by a panic that matters: it is read again.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Fs> KeepsRules for Guard<F> {
    fn in_force(&self) -> io::Result<Arc<dyn Ignores>> {
        let mut state = self.state();
        state.load(&self.folder)?;
        Ok(Arc::<Rules>::clone(&state.rules))
    }

    fn tell(&self, watch: Arc<Alarm>) {
        self.state().watch = Some(watch);
    }
}

impl State {
    fn refresh<F: Fs>(
        &mut self,
        folder: &Shared<F>,
        afresh: bool,
        was_unclean: bool,
    ) -> io::Result<Standing> {
        self.load(folder)?;
        let look = folder.root.look(IGNORE_NAME.as_ref())?;
        if let Some(known) = &self.known
            && !(afresh || self.unkept.is_some())
            && known.look == look
        {
            return Ok(known.standing.clone());
        }
        let text = read(folder, look)?;
        let standing = if text.is_in_force(self.accepted.as_deref()) && self.unkept.is_none() {
            Standing::InForce
        } else if self.offered.contains(&text.mark()) || was_unclean && text.is_blank() {
            Standing::Offered
        } else {
            match self.put_in_force(folder, text)? {
                Ok(_) => Standing::InForce,
                Err(why) => Standing::Unusable(why),
            }
        };
        self.known = Some(Known { look, standing: standing.clone() });
        Ok(standing)
    }

    /// The outer error comes from reading; then, why these are no rules; then, that they could not be kept.
    fn put_in_force<F: Fs>(&mut self, folder: &Shared<F>, text: Text) -> io::Result<Result<Kept, String>> {
        let accepted = match text {
            Text::Gone => None,
            Text::File(text) => Some(text),
            Text::Other(kind) => return Ok(Err(format!("it is {kind}, not a plain file"))),
        };
        // Rules that are parsed again are other rules to who goes by them, and all would be looked through anew.
        let in_force = self.unkept.as_ref().unwrap_or(&self.accepted);
        if *in_force != accepted {
            match accepted.as_deref().map_or(Ok(Rules::default()), Rules::parse) {
                Ok(rules) => self.rules = Arc::new(rules),
                Err(why) => return Ok(Err(why)),
            }
            if let Some(watch) = &self.watch {
                watch.rules_changed();
            }
        }
        let kept = match self.accepted == accepted {
            true => Ok(()),
            // The file first: a power cut must not bring back an older one, which would then pass for a newer edit.
            false => settle(folder).and_then(|()| keep(folder, ACCEPTED, accepted.as_deref())),
        };
        self.unkept = None;
        if kept.is_err() {
            self.unkept = Some(accepted);
        } else {
            self.accepted = accepted;
            // What stands there is durable: none of what others gave to it before can come back by itself. So whatever
            // looks like that from now on is meant by the user, or noted anew.
            if !self.offered.is_empty() && keep(folder, OFFERED, None).is_ok() {
                self.offered.clear();
            }
        }
        Ok(Ok(kept))
    }

    fn load<F: Fs>(&mut self, folder: &Shared<F>) -> io::Result<()> {
        if self.is_loaded {
            return Ok(());
        }
        let own = folder.open_own()?;
        let read = |name: &str| read_in(&own, name, own.look(name.as_ref())?);
        let accepted = match read(ACCEPTED)? {
            Text::File(text) => Some(text),
            _ => None,
        };
        // We wrote it after it was parsed; should it be spoilt, nothing may be sent on the strength of it.
        let rules = match accepted.as_deref().map_or(Ok(Rules::default()), Rules::parse) {
            Ok(rules) => rules,
            Err(why) => {
                let why = format!("the copy of the rules in force cannot be used: {why}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        };
        if let Text::File(marks) = read(OFFERED)? {
            self.offered = marks.as_chunks().0.to_vec();
        }
        (self.accepted, self.rules) = (accepted, Arc::new(rules));
        self.is_loaded = true;
        Ok(())
    }
}

type Kept = io::Result<()>;

/// Makes durable what stands at `.shoalignore`.
fn settle<F: Fs>(folder: &Shared<F>) -> io::Result<()> {
    match folder.root.open_file(IGNORE_NAME.as_ref()) {
        Ok(file) => file.sync()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    sync_names(&*folder.root)
}

/// Whether a path is that of the rules.
pub(super) fn is_of_rules(path: &RelPath) -> bool {
    path.as_bytes() == IGNORE_NAME.as_bytes()
}

fn read<F: Fs>(folder: &Shared<F>, look: Option<Look>) -> io::Result<Text> {
    read_in(&*folder.root, IGNORE_NAME, look)
}

/// What is under a name that was looked at, if that is a plain file. One that has become something else since is read as
/// that at the next look.
fn read_in<D: FsDir>(dir: &D, name: &str, look: Option<Look>) -> io::Result<Text> {
    match look {
        None => Ok(Text::Gone),
        Some(Look { kind: Kind::File, .. }) => {
            let file = dir.open_file(name.as_ref())?;
            let seen = file.look_through()?;
            if seen.kind != Kind::File {
                return Ok(Text::Other(seen.kind));
            }
            // One byte more than may be, so that what is too long is seen to be.
            let mut text = vec![0; IGNORE_BYTES_MAX + 1];
            let length = read_all_at(&file, &mut text, 0)?;
            text.truncate(length);
            Ok(Text::File(text))
        }
        Some(Look { kind, .. }) => Ok(Text::Other(kind)),
    }
}

/// Replaces one of our own files, or removes it. Durable when it returns.
fn keep<F: Fs>(folder: &Shared<F>, name: &str, bytes: Option<&[u8]>) -> io::Result<()> {
    let own = folder.open_own()?;
    match bytes {
        None => own.remove(name.as_ref())?,
        Some(bytes) => {
            own.remove(NEW.as_ref())?;
            let mut file = own.create_new(NEW.as_ref())?;
            file.write_all(bytes)?;
            file.sync()?;
            own.move_over(NEW.as_ref(), &own, name.as_ref())?;
        }
    }
    sync_names(&own)
}

/// The text in force.
const ACCEPTED: &str = "ignore";

/// The marks of what others have offered, 32 bytes each.
const OFFERED: &str = "ignore.offered";

/// Either of them while it is written.
const NEW: &str = "ignore.new";

/// So many states that others gave to `.shoalignore` are known again. An older one that comes back after a power cut
/// counts as the user's.
const OFFERED_MAX: usize = 256;
