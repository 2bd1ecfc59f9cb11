//! The entries that a device keeps of one share, and the acts that take more than one entry.
//!
//! Promise: two devices that have told each other all they hold are equal, and what is kept is bounded.
//! Nothing is ever pushed out by what comes later: else a removed admin could sign forks of its own chain
//! until the entries that its removal names were gone, and with them all whom it had let in. Who floods the
//! set reaches its own bound first; once it is removed, [`Entries::make_room_for`] lets go of what does not
//! count.

use std::collections::{BTreeMap, BTreeSet};

use crypto_box::aead::rand_core::CryptoRngCore;

use super::delegation::Role;
use super::entry::{Entry, EntryError, EntryHash, EntryPlace, Statement};
use super::founding::Founding;
use super::{Roster, Void};
use crate::hash::Domain;
use crate::id::{DeviceId, ShareId, Writer};
use crate::key::DeviceKey;
use crate::limits::{ROSTER_BYTES_MAX, ROSTER_ENTRIES_MAX, SEALED_MAX, SIGNER_BYTES_MAX, SIGNER_ENTRIES_MAX};
use crate::publication::Place;
use crate::secret::ShareSecret;

/// The entries that a device keeps of one share.
#[derive(Clone, Debug)]
pub struct Entries {
    founding: Founding,
    share: ShareId,
    held: BTreeMap<(DeviceId, EntryPlace), Entry>,
    sizes: BTreeMap<DeviceId, Size>,
    whole: Size,
}

/// How much is kept, or may be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Size {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// Why an entry is not kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EntriesError {
    /// It says nothing about this one.
    #[error("an entry of another share")]
    OtherShare,
    /// Its signer has signed more than anybody has reason to.
    #[error("{signer} has filled its part of the roster", signer = .0.short())]
    SignerFull(DeviceId),
    /// There are too many, or too large ones.
    #[error("the roster is full: {entries} entries, {bytes} bytes")]
    Full {
        /// How many are kept.
        entries: usize,
        /// How many bytes they have.
        bytes: usize,
    },
}

/// Why a member lets a device not in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JoinRefusal {
    /// Not an entry of who comes in.
    #[error("no invite was shown")]
    NoInvite,
    /// It has this role, or a higher one.
    #[error("this device is a member already")]
    Member,
    /// The invite is by none, or by one that was removed.
    #[error("the invite was signed by {device}, which is no admin of this share", device = .0.short())]
    NoAdmin(DeviceId),
    /// By the clock of the member that was asked.
    #[error("the invite has expired")]
    Expired,
    /// By its admin, or by one above.
    #[error("the invite was revoked")]
    Revoked,
    /// Others came first.
    #[error("the invite was used up by others")]
    UsedUp,
    /// Who removed it, or one nearer to the creator, has to invite it.
    #[error("this device was removed by {by}; that one can let it in again, or one above", by = .0.short())]
    Removed(DeviceId),
    /// The entry would not count.
    #[error("the entry {0}")]
    Void(Void),
}

/// Why a secret cannot be changed, or a device not be removed, by this device.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SecretError {
    /// It is no admin.
    #[error("only an admin can do this")]
    NoAdmin,
    /// It does not stand above the one to be removed, or one nearer to the creator wants it in.
    #[error("{device} can be removed only by an admin above it", device = .0.short())]
    NotAbove(DeviceId),
    /// The secret has been the share's before, so removed devices know it.
    #[error("a new secret is needed, not one that was used before")]
    OldSecret,
    /// It names too much, or the chain is full.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl Entries {
    /// No entries yet, of the share that was founded so.
    #[must_use]
    pub fn new(founding: Founding) -> Self {
        let (held, sizes, whole) = (BTreeMap::new(), BTreeMap::new(), Size::default());
        Self { founding, share: founding.share(), held, sizes, whole }
    }

    /// Keeps an entry. Returns whether it is new: whether the roster may have changed.
    ///
    /// # Errors
    /// When it is of another share, or there is no room. That it does not count is no error.
    pub fn insert(&mut self, entry: Entry) -> Result<bool, EntriesError> {
        self.insert_within(entry, SIGNER_MAX, ROSTER_MAX)
    }

    pub(super) fn insert_within(
        &mut self,
        entry: Entry,
        signer_max: Size,
        whole_max: Size,
    ) -> Result<bool, EntriesError> {
        if *entry.share() != self.share {
            return Err(EntriesError::OtherShare);
        }
        let key = (*entry.signer(), entry.place());
        if self.held.contains_key(&key) {
            return Ok(false);
        }
        let of_signer = self.sizes.get(entry.signer()).copied().unwrap_or_default().with(&entry);
        if !of_signer.fits(signer_max) {
            return Err(EntriesError::SignerFull(*entry.signer()));
        }
        let whole = self.whole.with(&entry);
        if !whole.fits(whole_max) {
            return Err(EntriesError::Full { entries: self.whole.entries, bytes: self.whole.bytes });
        }
        self.sizes.insert(*entry.signer(), of_signer);
        self.whole = whole;
        self.held.insert(key, entry);
        Ok(true)
    }

    /// Lets go of entries of signers that were never let in, as far as is known here; returns how many these
    /// were. To be done after each batch that came from another device: keys cost nothing, so anybody could
    /// fill the set with entries of made-up devices. If the entry that lets in a signer comes later,
    /// comparing sets brings its others again.
    pub fn drop_strangers(&mut self) -> usize {
        let roster = self.roster();
        self.keep(|entry| roster.seats.contains_key(entry.signer()))
    }

    /// Makes room for an entry that there was none for: lets go of strangers, and, once this entry counts, of
    /// what devices that are out have signed beyond what their removals name. Returns how many entries these
    /// were. It costs a look at all of them, so it is done once for a batch.
    pub fn make_room_for(&mut self, entry: &Entry) -> usize {
        let roster = Roster::of(&self.founding, self.iter().chain([entry]));
        let by_hash: BTreeMap<EntryHash, &Entry> = self.iter().map(|entry| (entry.hash(), entry)).collect();
        let is_out = |device: &DeviceId| roster.removed(device).is_some();
        // What decides about a device that is out: how it first came in by each admin, and all that is named.
        let mut ends: Vec<EntryHash> = Vec::new();
        for (_, seat) in roster.seats.iter().filter(|(device, _)| is_out(device)) {
            ends.extend(&seat.outcome.kept.entries);
            ends.extend(seat.outcome.removal.map(|removal| removal.entry));
        }
        let mut came: BTreeSet<(DeviceId, DeviceId)> = BTreeSet::new();
        for entry in self.iter().filter(|entry| is_out(entry.signer())) {
            if let Statement::Joined(joined) = entry.statement()
                && came.insert((*entry.signer(), joined.delegation.signer))
            {
                ends.push(entry.hash());
            }
        }
        let mut decide: BTreeSet<EntryHash> = BTreeSet::new();
        for end in ends {
            let mut at = by_hash.get(&end);
            while let Some(entry) = at.filter(|entry| decide.insert(entry.hash())) {
                at = entry.previous().and_then(|before| by_hash.get(&before.hash));
            }
        }
        self.keep(|entry| match roster.seats.get(entry.signer()) {
            Some(seat) => seat.outcome.removal.is_none() || decide.contains(&entry.hash()),
            None => false,
        })
    }

    fn keep(&mut self, stays: impl Fn(&Entry) -> bool) -> usize {
        let before = self.whole.entries;
        self.held.retain(|_, entry| stays(entry));
        (self.sizes, self.whole) = (BTreeMap::new(), Size::default());
        for entry in self.held.values() {
            let size = self.sizes.entry(*entry.signer()).or_default();
            *size = size.with(entry);
            self.whole = self.whole.with(entry);
        }
        before - self.whole.entries
    }

    /// All of them, those of one signer in the order of their numbers, so that who takes them up in this
    /// order never has a gap.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.held.values()
    }

    /// The hash of all of them; of the same set it is the same.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hashes: Vec<_> = self.iter().map(Entry::hash).collect();
        hashes.sort_unstable();
        Domain::ROSTER.hash(&hashes.iter().map(|hash| hash.as_bytes().as_slice()).collect::<Vec<_>>())
    }

    /// Whether this entry is kept.
    #[must_use]
    pub fn holds(&self, entry: &Entry) -> bool {
        self.held.contains_key(&(*entry.signer(), entry.place()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.whole.entries
    }

    /// How many bytes they have, encoded.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.whole.bytes
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// What they come to.
    #[must_use]
    pub fn roster(&self) -> Roster {
        Roster::of(&self.founding, self.iter())
    }

    /// Whether to let in a device that shows this entry, at this time (seconds since 1970), and in which
    /// role. This is asked by the member that a joiner comes to; entries that other members pass on are kept
    /// without asking.
    ///
    /// # Errors
    /// When the invite does not let it in, or not any more.
    pub fn may_join(&self, entry: &Entry, now: u64) -> Result<Role, JoinRefusal> {
        if *entry.share() != self.share {
            return Err(JoinRefusal::Void(Void::OtherShare));
        }
        self.roster().may_join(entry, now)?;
        let after = Roster::of(&self.founding, self.iter().chain([entry]));
        match (after.role(entry.signer()), after.removed(entry.signer()), after.void().get(&entry.hash())) {
            (_, _, Some(void)) => Err(JoinRefusal::Void(*void)),
            (Some(role), _, None) => Ok(role),
            (None, Some(removal), None) => Err(JoinRefusal::Removed(removal.by)),
            (None, None, None) => Err(JoinRefusal::NoInvite),
        }
    }

    /// Removes a device and gives the share a new secret, which the device is not told: to be signed and sent
    /// together, in this order. `publications` are the last ones of each of its writers that still count.
    ///
    /// # Errors
    /// When this device may not remove that one, or the secret is not new.
    pub fn removal(
        &self,
        key: &DeviceKey,
        about: DeviceId,
        publications: &BTreeMap<Writer, BTreeSet<Place>>,
        secret: &ShareSecret,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Vec<Entry>, SecretError> {
        let roster = self.roster();
        if roster.role(&key.device()) != Some(Role::Admin) {
            return Err(SecretError::NoAdmin);
        }
        let kept = roster.kept(&about, publications);
        let statement = Statement::Removed { about, kept };
        let removal = Entry::sign(key, &self.share, roster.last_entry(&key.device()), statement)?;
        let after = Roster::of(&self.founding, self.iter().chain([&removal]));
        if after.removed(&about).is_none_or(|done| done.entry != removal.hash()) {
            return Err(SecretError::NotAbove(about));
        }
        let mut entries = self.sealed(&after, key, Some(removal.place()), secret, rng)?;
        entries.insert(0, removal);
        Ok(entries)
    }

    /// Gives the share a new secret (its first one too), sealed to every member: one entry, or more if there
    /// are many.
    ///
    /// # Errors
    /// When this device is no admin, or the secret is not new.
    pub fn new_secret(
        &self,
        key: &DeviceKey,
        secret: &ShareSecret,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Vec<Entry>, SecretError> {
        let roster = self.roster();
        self.sealed(&roster, key, roster.last_entry(&key.device()), secret, rng)
    }

    fn sealed(
        &self,
        roster: &Roster,
        key: &DeviceKey,
        mut after: Option<EntryPlace>,
        secret: &ShareSecret,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Vec<Entry>, SecretError> {
        if roster.role(&key.device()) != Some(Role::Admin) {
            return Err(SecretError::NoAdmin);
        }
        let id = secret.id();
        if roster.secrets().iter().any(|old| old.id == id) {
            return Err(SecretError::OldSecret);
        }
        // Each epoch has an entry of its own, so the last number is never reached.
        let last = roster.secrets().iter().map(|secret| secret.epoch).max();
        let epoch = last.map_or(0, |last| last.saturating_add(1));
        let seal = |member: super::Member<'_>| Some((member.device, secret.seal_to(&member.box_key?, rng)));
        let sealed: Vec<_> = roster.members().filter_map(seal).collect();
        let mut entries = Vec::new();
        for part in sealed.chunks(SEALED_MAX) {
            let statement = Statement::Secret { epoch, id, sealed: part.iter().copied().collect() };
            let entry = Entry::sign(key, &self.share, after, statement)?;
            after = Some(entry.place());
            entries.push(entry);
        }
        Ok(entries)
    }
}

const SIGNER_MAX: Size = Size { entries: SIGNER_ENTRIES_MAX, bytes: SIGNER_BYTES_MAX };
const ROSTER_MAX: Size = Size { entries: ROSTER_ENTRIES_MAX, bytes: ROSTER_BYTES_MAX };

impl Size {
    fn with(self, entry: &Entry) -> Self {
        Self { entries: self.entries + 1, bytes: self.bytes + entry.encoded_bytes() }
    }

    fn fits(self, max: Self) -> bool {
        self.entries <= max.entries && self.bytes <= max.bytes
    }
}
