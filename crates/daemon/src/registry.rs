//! Which shares this device has: a small file for each.
//!
//! Promise: what is put here is durable when the call returns, and whole after a crash; a file that cannot be read is told of
//! and left as it is, and the other shares are there all the same. The files hold secrets, so nobody else may read them;
//! nothing of them is ever printed. This is state, not configuration: people have commands for it. Beside each lies what its
//! index knows of who belongs to the share ([`RosterFile`]).

mod roster;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use shoal_proto::id::{DeviceId, ShareId};
use shoal_proto::invite::Address;
use shoal_proto::key::InviteKey;
use shoal_proto::roster::{FOUNDING_BYTES, Founding};
use shoal_proto::secret::ShareSecret;
use zeroize::Zeroizing;

pub use self::roster::{Kept, RosterFile, RosterFileError, RosterKeeper};
use crate::control::report::Role;
use crate::control::text::{Directory, Escaped, Id};
use crate::control::types::{Choice, Code, Failure};
use crate::home::{Held, Home};
use crate::private::{self, PrivateError, shown};

/// The longest file of a share.
pub const SHARE_BYTES_MAX: u64 = 1 << 20;

/// So many places where members were met are remembered of a share; the last ones.
pub const KNOWN_MAX: usize = 64;

/// So many invites are remembered of a share; the last ones.
pub const INVITES_MAX: usize = 256;

/// The version of the form of the files.
const FORM: u16 = 1;

/// All shares of this device, in memory and on disk.
#[derive(Debug)]
pub struct Registry {
    folder: PathBuf,
    shares: BTreeMap<ShareId, Registered>,
}

/// What is remembered of a share apart from its index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Registered {
    /// Which.
    pub share: ShareId,
    /// How it began: an index that is lost is made anew with it.
    pub founding: Founding,
    /// What it is called here; names need not differ, but see [`Registry::free_name`].
    pub name: String,
    /// Where its files are; absolute.
    pub directory: PathBuf,
    /// Whether a person has paused it.
    pub is_paused: bool,
    /// By which its members find each other, as the founder drew it or an invite told it; the newest first. Later ones
    /// are in the index.
    pub secrets: Vec<ShareSecret>,
    /// Trackers of this share, beside those of the configuration.
    pub trackers: Vec<Address>,
    /// Where members were met; the last one last, at most [`KNOWN_MAX`].
    pub known: Vec<Known>,
    /// By whom this device was invited, and where that was.
    pub invited_by: Option<InvitedBy>,
    /// What is to be done at first contact, if that was said.
    pub choice: Option<Choice>,
    /// Invites that this device has given; at most [`INVITES_MAX`].
    pub given: Vec<Given>,
}

/// Where a member was met.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// Which.
    pub device: Id<DeviceId>,
    /// Where.
    pub address: String,
    /// When last, in seconds since 1970.
    pub seen: u64,
}

/// By whom this device was invited.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct InvitedBy {
    /// Which device.
    pub device: Id<DeviceId>,
    /// Where it could be called then: hosts and ports.
    pub addresses: Vec<String>,
}

/// An invite that this device has given. What lets others in is not kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// Its public key.
    pub key: Id<InviteKey>,
    /// What who comes in may do.
    pub role: Role,
    /// How many may come in.
    pub uses: u16,
    /// Until when, in seconds since 1970.
    pub not_after: u64,
}

/// Why a share cannot be noted, or one that was noted not be read.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Its file cannot be read or written.
    #[error(transparent)]
    File(#[from] PrivateError),
    /// Not what was written there.
    #[error("{path} is damaged ({what}); put it back from a backup, or move it away and join the share anew")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong; never a part of the file.
        what: String,
    },
    /// The folder of the shares cannot be read.
    #[error("cannot look into {path}")]
    Folder {
        /// Which.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Registered {
    /// A share of which nothing is known but this.
    #[must_use]
    pub fn new(founding: Founding, name: String, directory: PathBuf, secret: ShareSecret) -> Self {
        Self {
            share: founding.share(),
            founding,
            name,
            directory,
            is_paused: false,
            secrets: vec![secret],
            trackers: Vec::new(),
            known: Vec::new(),
            invited_by: None,
            choice: None,
            given: Vec::new(),
        }
    }

    /// Notes where a member was met; `seen` in seconds since 1970.
    pub fn met(&mut self, device: DeviceId, address: String, seen: u64) {
        self.known.retain(|known| known.device.0 != device || known.address != address);
        self.known.push(Known { device: Id(device), address, seen });
        let surplus = self.known.len().saturating_sub(KNOWN_MAX);
        self.known.drain(..surplus);
    }

    /// Notes an invite that was given.
    pub fn gave(&mut self, given: Given) {
        self.given.push(given);
        let surplus = self.given.len().saturating_sub(INVITES_MAX);
        self.given.drain(..surplus);
    }
}

impl Registry {
    /// The shares of a home, and why some could not be read, if there are such: those are left as they are.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn load(held: &Held) -> Result<(Self, Vec<RegistryError>), RegistryError> {
        let folder = held.home().shares();
        let error = |source| RegistryError::Folder { path: shown(&folder), source };
        let (mut shares, mut unread) = (BTreeMap::new(), Vec::new());
        for entry in std::fs::read_dir(&folder).map_err(error)? {
            let path = entry.map_err(error)?.path();
            // Others are what a crash left of a file that was being written, or a roster: the next to join its share replaces it.
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read(&path) {
                Ok(registered) => drop(shares.insert(registered.share, registered)),
                Err(error) => unread.push(error),
            }
        }
        Ok((Self { folder, shares }, unread))
    }

    /// All shares, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Registered> {
        self.shares.values()
    }

    /// What is remembered of a share.
    #[must_use]
    pub fn get(&self, share: &ShareId) -> Option<&Registered> {
        self.shares.get(share)
    }

    /// Remembers a share, durably.
    ///
    /// # Errors
    /// When its file cannot be written; then what was there before still is.
    pub fn put(&mut self, registered: Registered) -> Result<(), RegistryError> {
        let text = Zeroizing::new(serde_json::to_vec_pretty(&Wire::from(&registered)).unwrap_or_default());
        private::write(&self.file(&registered.share), &text)?;
        self.shares.insert(registered.share, registered);
        Ok(())
    }

    /// Changes what is remembered of a share, durably; whether there is such a share. That nothing was changed costs
    /// nothing.
    ///
    /// # Errors
    /// When its file cannot be written; then what was there before still is.
    pub fn change(
        &mut self,
        share: &ShareId,
        change: impl FnOnce(&mut Registered),
    ) -> Result<bool, RegistryError> {
        let Some(old) = self.shares.get(share) else { return Ok(false) };
        let mut new = old.clone();
        change(&mut new);
        if new != *old {
            self.put(new)?;
        }
        Ok(true)
    }

    /// Forgets a share, durably, and whatever lies beside its file: that names its members, or has its secret. Answers what of
    /// the latter cannot be removed.
    ///
    /// # Errors
    /// When its own file cannot be removed: then the share is there still.
    pub fn remove(&mut self, share: &ShareId) -> Result<Vec<PrivateError>, RegistryError> {
        let file = self.file(share);
        let error = |source| RegistryError::Folder { path: shown(&self.folder), source };
        let begin = format!("{share}.");
        let mut left = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(error)? {
            let entry = entry.map_err(error)?;
            if entry.file_name().as_encoded_bytes().starts_with(begin.as_bytes()) && entry.path() != file {
                left.extend(private::remove(&entry.path()).err());
            }
        }
        private::remove(&file)?;
        self.shares.remove(share);
        Ok(left)
    }

    /// Calls a share this, durably, or the like if another one is called so.
    ///
    /// # Errors
    /// When its file cannot be written; then it is called what it was.
    pub fn rename(&mut self, share: &ShareId, wanted: &str) -> Result<bool, RegistryError> {
        let name = self.name_beside(wanted, Some(share));
        self.change(share, |registered| registered.name = name)
    }

    /// This name, or one like it that no share has yet.
    #[must_use]
    pub fn free_name(&self, wanted: &str) -> String {
        self.name_beside(wanted, None)
    }

    /// This name, or one like it that no other share has than this one.
    fn name_beside(&self, wanted: &str, share: Option<&ShareId>) -> String {
        let is_free =
            |name: &str| self.shares.values().all(|other| other.name != name || Some(&other.share) == share);
        let numbered = (2_u32..).map(|number| format!("{wanted}-{number}"));
        std::iter::once(wanted.to_owned()).chain(numbered).find(|name| is_free(name)).unwrap_or_default()
    }

    /// How a folder stands to that of a share, if it is one, or one inside or around one.
    fn overlapping(&self, directory: &Path) -> Option<(&'static str, &Registered)> {
        let stands = |share: &Registered| standing(directory, &share.directory);
        self.shares.values().find_map(|share| stands(share).map(|how| (how, share)))
    }

    /// The real path of a folder that is to become a share, or why it cannot (A5, A6). `broad` allows the root of the file
    /// system and the user's home.
    ///
    /// # Errors
    /// When it is no folder, too much for a share, overlaps one, or has the state of this daemon in it.
    pub fn check_directory(&self, home: &Home, asked: &Path, broad: bool) -> Result<PathBuf, Failure> {
        let refused = |text: String| Failure::new(Code::Directory, text);
        let real =
            asked.canonicalize().map_err(|error| refused(format!("cannot use {}: {error}", shown(asked))))?;
        if !real.is_dir() {
            return Err(refused(format!("{} is no folder", shown(asked))));
        }
        let is_home = home.user_home().and_then(|home| home.canonicalize().ok()).as_ref() == Some(&real);
        if !broad && (real.parent().is_none() || is_home) {
            let what = if is_home { "your home" } else { "the root of the file system" };
            return Err(
                refused(format!("{} is {what}", shown(asked))).with_hint("if that is meant, say `--whole`")
            );
        }
        if let Some((how, other)) = self.overlapping(&real) {
            let text = format!("{} {how} the share '{}'", shown(asked), Escaped(other.name.as_bytes()));
            return Err(refused(text).with_hint("`shoal shares` lists the shares of this device"));
        }
        let state = home.state().canonicalize().unwrap_or_else(|_| home.state().to_path_buf());
        if let Some(how) = standing(&real, &state) {
            let text = format!("{} {how} {}, where this device's keys are", shown(asked), shown(&state));
            return Err(
                refused(text).with_hint("nobody else may get them: share a folder that is apart from it")
            );
        }
        Ok(real)
    }

    fn file(&self, share: &ShareId) -> PathBuf {
        self.folder.join(format!("{share}.json"))
    }
}

/// How a folder stands to another one; `None`: apart from it.
fn standing(folder: &Path, other: &Path) -> Option<&'static str> {
    match (folder.starts_with(other), other.starts_with(folder)) {
        (true, true) => Some("is"),
        (true, false) => Some("is inside"),
        (false, true) => Some("contains"),
        (false, false) => None,
    }
}

/// The form of a share's file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    form: u16,
    share: Id<ShareId>,
    founding: Hex<FOUNDING_BYTES>,
    name: String,
    directory: Directory,
    paused: bool,
    secrets: Vec<Hex<32>>,
    trackers: Vec<String>,
    known: Vec<Known>,
    invited_by: Option<InvitedBy>,
    choice: Option<Choice>,
    given: Vec<Given>,
}

/// Bytes in hexadecimal digits; they may be a secret.
struct Hex<const N: usize>(Zeroizing<[u8; N]>);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Zeroizing::new(HEXLOWER.encode(&self.0[..])))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let digits = Zeroizing::new(String::deserialize(from)?);
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map(Zeroizing::new);
        let bytes = bytes.ok().and_then(|bytes| <[u8; N]>::try_from(&bytes[..]).ok());
        let wrong = || serde::de::Error::custom(format_args!("not {N} bytes in hexadecimal digits"));
        bytes.map(|bytes| Self(Zeroizing::new(bytes))).ok_or_else(wrong)
    }
}

impl From<&Registered> for Wire {
    fn from(registered: &Registered) -> Self {
        Self {
            form: FORM,
            share: Id(registered.share),
            founding: Hex(Zeroizing::new(registered.founding.encode())),
            name: registered.name.clone(),
            directory: Directory(registered.directory.clone()),
            paused: registered.is_paused,
            secrets: registered.secrets.iter().map(|secret| Hex(Zeroizing::new(*secret.expose()))).collect(),
            trackers: registered.trackers.iter().map(ToString::to_string).collect(),
            known: registered.known.clone(),
            invited_by: registered.invited_by.clone(),
            choice: registered.choice,
            given: registered.given.clone(),
        }
    }
}

fn read(path: &Path) -> Result<Registered, RegistryError> {
    // Serde's texts may quote what stands in the file, and that may be a secret.
    let damaged = |what: String| RegistryError::Damaged { path: shown(path), what };
    let bytes = private::read(path, SHARE_BYTES_MAX)?.ok_or_else(|| damaged("it has just gone".into()))?;
    let wire: Wire = serde_json::from_slice(&bytes)
        .map_err(|error| damaged(format!("line {}, column {}", error.line(), error.column())))?;
    if wire.form != FORM {
        return Err(damaged(format!("of form {}; this Shoal reads form {FORM}", wire.form)));
    }
    let named = path.file_stem().and_then(|stem| stem.to_str()).and_then(ShareId::parse);
    if named != Some(wire.share.0) {
        return Err(damaged("of another share than its name says".into()));
    }
    let founding = Founding::decode(&wire.founding.0[..]).map_err(|error| damaged(error.to_string()))?;
    if founding.share() != wire.share.0 {
        return Err(damaged("of a share that began otherwise".into()));
    }
    if wire.secrets.is_empty() {
        return Err(damaged("without a secret".into()));
    }
    let trackers = wire.trackers.iter().map(|tracker| Address::parse(tracker)).collect::<Result<_, _>>();
    Ok(Registered {
        share: wire.share.0,
        founding,
        name: wire.name,
        directory: wire.directory.0,
        is_paused: wire.paused,
        secrets: wire.secrets.iter().map(|secret| ShareSecret::from_bytes(*secret.0)).collect(),
        trackers: trackers.map_err(|error| damaged(error.to_string()))?,
        known: wire.known,
        invited_by: wire.invited_by,
        choice: wire.choice,
        given: wire.given,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use shoal_proto::key::DeviceKey;

    use crate::home::{Environment, Home};

    fn held(folder: &tempfile::TempDir) -> Held {
        Home::find(Some(folder.path()), &Environment::default()).unwrap().hold().unwrap()
    }

    fn registered(number: u8) -> Registered {
        let secret = ShareSecret::from_bytes([number | 0xa0; 32]);
        let creator = DeviceKey::from_seed(&[1; 32]).device();
        let mut registered = Registered::new(
            Founding { creator, random: [number; 32], cut: 1 },
            format!("share {number}"),
            format!("/data/{number}").into(),
            secret,
        );
        registered.trackers.push(Address::parse("tracker.example:9000").unwrap());
        registered.met(DeviceId::from_bytes([9; 32]), "192.0.2.1:4242".into(), 5);
        let addresses = vec!["host.example:9000".to_owned()];
        registered.invited_by = Some(InvitedBy { device: Id(DeviceId::from_bytes([9; 32])), addresses });
        registered.choice = Some(Choice::Both);
        registered.gave(Given {
            key: Id(InviteKey::from_bytes([3; 32])),
            role: Role::Reader,
            uses: 2,
            not_after: 77,
        });
        registered
    }

    #[test]
    fn what_is_put_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        {
            let held = held(&folder);
            let (mut registry, unread) = Registry::load(&held).unwrap();
            assert!(unread.is_empty());
            for number in 1..=3 {
                registry.put(registered(number)).unwrap();
            }
            registry.remove(&registered(2).share).unwrap();
            assert!(registry.change(&registered(3).share, |share| share.is_paused = true).unwrap());
            assert!(!registry.change(&registered(2).share, |_| ()).unwrap());
        }
        let held = held(&folder);
        let (registry, unread) = Registry::load(&held).unwrap();
        assert!(unread.is_empty());
        let third = Registered { is_paused: true, ..registered(3) };
        let mut all: Vec<Registered> = registry.iter().cloned().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        assert_eq!(all, [registered(1), third]);
    }

    #[test]
    fn i28_secrets_are_in_private_files_and_in_no_message() {
        let folder = tempfile::tempdir().unwrap();
        let held = held(&folder);
        let (mut registry, _) = Registry::load(&held).unwrap();
        registry.put(registered(1)).unwrap();
        assert!(!format!("{registry:?}").contains("a1a1") && !format!("{registry:?}").contains("shoal1x"));
        let path = registry.file(&registered(1).share);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);

        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("a1a1a1"));
        // A string where none may be: serde would quote it.
        fs::write(&path, text.replace("\"form\": 1", &format!("\"form\": \"{}\"", "a1".repeat(32)))).unwrap();
        let (registry, unread) = Registry::load(&held).unwrap();
        assert_eq!((registry.iter().count(), unread.len()), (0, 1));
        assert!(!unread[0].to_string().contains("a1a1"), "{}", unread[0]);
    }

    #[test]
    fn a_damaged_file_costs_its_own_share_only_and_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let held = held(&folder);
        let (mut registry, _) = Registry::load(&held).unwrap();
        registry.put(registered(1)).unwrap();
        registry.put(registered(2)).unwrap();
        let path = registry.file(&registered(1).share);
        let whole = fs::read_to_string(&path).unwrap();
        let other = whole.replace(&registered(1).share.to_string(), &registered(2).share.to_string());
        for text in [
            &whole[..whole.len() / 2],
            "",
            "{}",
            &whole.replace("\"form\": 1", "\"form\": 2"),
            &other,
            "\0\0\0",
        ] {
            fs::write(&path, text).unwrap();
            let (registry, unread) = Registry::load(&held).unwrap();
            assert_eq!(registry.iter().count(), 1, "{text}");
            assert!(unread.len() == 1 && unread[0].to_string().contains("is damaged"), "{unread:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = held(&folder);
        let (mut registry, _) = Registry::load(&held).unwrap();
        registry.put(registered(1)).unwrap();
        registry.put(registered(2)).unwrap();
        let file = held.home().roster_file(&registered(1).share);
        for suffix in ["", ".new", ".broken-1", ".broken-12"] {
            fs::write(format!("{}{suffix}", file.to_str().unwrap()), "who belongs to it").unwrap();
        }
        let other = held.home().roster_file(&registered(2).share);
        fs::write(&other, "of another").unwrap();
        assert!(registry.remove(&registered(1).share).unwrap().is_empty());
        assert_eq!(fs::read_dir(&registry.folder).unwrap().count(), 2);
        let (mut registry, unread) = Registry::load(&held).unwrap();
        assert_eq!((registry.iter().count(), unread.len()), (1, 0));

        // What cannot be removed keeps no share here.
        fs::remove_file(&other).unwrap();
        fs::create_dir(&other).unwrap();
        let left = registry.remove(&registered(2).share).unwrap();
        let [left] = &left[..] else { panic!("{left:?}") };
        assert_eq!(left.to_string(), format!("cannot remove {}", other.display()));
        assert!(registry.iter().next().is_none() && other.is_dir());
        assert_eq!(Registry::load(&held).unwrap().0.iter().count(), 0);
    }

    #[test]
    fn a6_names_and_directories_do_not_collide() {
        let folder = tempfile::tempdir().unwrap();
        let held = held(&folder);
        let (mut registry, _) = Registry::load(&held).unwrap();
        registry.put(registered(1)).unwrap();
        assert_eq!(registry.free_name("share 1"), "share 1-2");
        assert_eq!(registry.free_name("notes"), "notes");
        registry.put(registered(2)).unwrap();
        // To say it again changes nothing.
        for _ in 0..2 {
            registry.rename(&registered(2).share, "share 1").unwrap();
            assert_eq!(registry.get(&registered(2).share).unwrap().name, "share 1-2");
        }
        registry.remove(&registered(2).share).unwrap();
        for (directory, is_taken) in
            [("/data/1", true), ("/data/1/x", true), ("/data", true), ("/data/10", false), ("/data/2", false)]
        {
            assert_eq!(registry.overlapping(directory.as_ref()).is_some(), is_taken, "{directory}");
        }
    }

    #[test]
    fn a5_a6_not_every_directory_can_be_a_share() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["state", "user", "data/inner/deep", "user/data"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("file"), "").unwrap();
        std::os::unix::fs::symlink(root.join("data"), root.join("link")).unwrap();
        let environment = Environment { home: Some(root.join("user").into()), ..Environment::default() };
        let home = Home::find(Some(&root.join("state")), &environment).unwrap();
        let held = home.hold().unwrap();
        let (mut registry, _) = Registry::load(&held).unwrap();
        let check =
            |registry: &Registry, path: &str, broad| registry.check_directory(&home, &root.join(path), broad);
        assert_eq!(check(&registry, "link", false).unwrap(), root.join("data"));
        for (path, what) in [
            ("missing", "No such file or directory"),
            ("file", "is no folder"),
            ("/", "is the root of the file system"),
            ("user", "is your home"),
            ("state", "state is /"),
            ("state/shares", "is inside /"),
            ("", "contains /"),
        ] {
            let failure = check(&registry, path, false).unwrap_err();
            assert!(failure.code == Code::Directory && failure.message.contains(what), "{path}: {failure}");
        }
        assert_eq!(check(&registry, "user", true).unwrap(), root.join("user"));
        registry.put(Registered { directory: root.join("data/inner"), ..registered(1) }).unwrap();
        for (path, what) in [
            ("link/inner", "/link/inner is the share 'share 1'"),
            ("data/inner/deep", "/deep is inside the share 'share 1'"),
            ("link", "/link contains the share 'share 1'"),
        ] {
            let failure = check(&registry, path, false).unwrap_err();
            assert!(failure.message.ends_with(what), "{path}: {failure}");
        }
    }

    #[test]
    fn what_is_remembered_stays_bounded() {
        let mut share = registered(1);
        for number in 0..200 {
            share.met(DeviceId::from_bytes([1; 32]), format!("192.0.2.1:{number}"), number);
            share.met(DeviceId::from_bytes([1; 32]), format!("192.0.2.1:{number}"), number);
        }
        assert_eq!(share.known.len(), KNOWN_MAX);
        assert_eq!(share.known.last().unwrap().seen, 199);
    }
}
