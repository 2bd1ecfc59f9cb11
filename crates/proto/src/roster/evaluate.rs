//! From a set of entries to who belongs: one pass down the tree, from the creator.
//!
//! A device's *level* is how many steps it stands below the creator. Whoever may speak about a device stands
//! on a lower level, so level by level everything that a decision needs has been decided before: who of those
//! above may act, and what of theirs was cut. Each entry is looked at once as a statement and once as an act
//! of its signer, and asking who stands above takes at most [`ROSTER_DEPTH_MAX`] steps; so thousands of
//! entries take milliseconds, however they were made.

use std::collections::{BTreeMap, BTreeSet};

use super::delegation::{DelegationHash, Role};
use super::entry::{Described, Entry, EntryHash, EntryPlace, Joined, Kept, Statement};
use super::founding::Founding;
use super::spans::{Span, spans};
use super::{NewSecret, Removal, Roster, Void};
use crate::id::{DeviceId, ShareId};
use crate::key::InviteKey;
use crate::limits::ROSTER_DEPTH_MAX;
use crate::secret::SecretId;

/// What was decided about a device that ever came in.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) level: usize,
    /// Who let it in; nobody the creator.
    pub(super) parent: Option<DeviceId>,
    pub(super) outcome: Outcome,
    pub(super) described: Option<Described>,
    /// What it may sign next.
    pub(super) last: Option<EntryPlace>,
    /// The ends of its chain: several if it was forked.
    pub(super) ends: BTreeSet<EntryPlace>,
    /// Which of its entries count as those of an admin.
    acts: Acts,
    /// Who came in by its invites.
    pub(super) admitted: BTreeSet<EntryHash>,
}

/// A device's role, or how it ended; and what is left of a higher role that it had.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) role: Option<Role>,
    pub(super) removal: Option<Removal>,
    /// What counts beyond the role; empty where nothing was ever more.
    pub(super) kept: Kept,
}

#[derive(Clone, Debug)]
enum Acts {
    All,
    These(BTreeSet<EntryHash>),
}

/// What one signer says of a device, once its own entries are weighed against each other.
struct Word<'a> {
    level: usize,
    /// What is said openly beats an invite's offer, and taking beats giving: see [`Word::weight`].
    said: Said<'a>,
    entry: &'a Entry,
}

#[derive(Clone, Copy)]
enum Said<'a> {
    Removed(&'a Kept),
    Role(Role, &'a Kept),
    Invited(Role),
}

#[derive(Clone, Copy)]
struct Join<'a> {
    entry: &'a Entry,
    joined: &'a Joined,
}

/// Entries in the orders in which they are asked for, and what was decided so far.
struct Evaluation<'a> {
    share: ShareId,
    linked: BTreeMap<EntryHash, &'a Entry>,
    spans: BTreeMap<EntryHash, Span>,
    by_signer: BTreeMap<DeviceId, Vec<&'a Entry>>,
    about: BTreeMap<DeviceId, Vec<&'a Entry>>,
    by_inviter: BTreeMap<DeviceId, Vec<Join<'a>>>,
    seats: BTreeMap<DeviceId, Seat>,
    revoked: BTreeMap<(DeviceId, InviteKey), BTreeSet<EntryHash>>,
    used: BTreeMap<DelegationHash, BTreeSet<DeviceId>>,
    void: BTreeMap<EntryHash, Void>,
}

/// The roster of the share that was founded so, from these entries.
pub(super) fn evaluate<'a>(founding: &Founding, entries: impl IntoIterator<Item = &'a Entry>) -> Roster {
    let mut evaluation = Evaluation::new(founding.share(), entries);
    evaluation.seat_creator(&founding.creator);
    let mut level = vec![founding.creator];
    for depth in 1..=ROSTER_DEPTH_MAX {
        let mut comers: BTreeMap<DeviceId, Vec<Join<'a>>> = BTreeMap::new();
        for inviter in &level {
            for join in evaluation.admissions(inviter) {
                if !evaluation.seats.contains_key(join.entry.signer()) {
                    comers.entry(*join.entry.signer()).or_default().push(join);
                }
            }
        }
        for (device, joins) in &comers {
            evaluation.seat(device, depth, joins);
        }
        level = comers.into_keys().collect();
    }
    for inviter in &level {
        for join in evaluation.by_inviter.get(inviter).into_iter().flatten() {
            evaluation.void.insert(join.entry.hash(), Void::TooDeep);
        }
    }
    evaluation.finish(founding)
}

impl<'a> Evaluation<'a> {
    /// Sorts the entries; sets aside those of other shares, and those whose chain has a gap.
    fn new(share: ShareId, entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut void = BTreeMap::new();
        let mut given: Vec<&'a Entry> = entries.into_iter().collect();
        given.sort_unstable_by_key(|entry| (entry.place().sequence, entry.hash()));
        given.dedup_by_key(|entry| entry.hash());
        let mut linked: BTreeMap<EntryHash, &'a Entry> = BTreeMap::new();
        let mut by_signer: BTreeMap<DeviceId, Vec<&'a Entry>> = BTreeMap::new();
        let mut about: BTreeMap<DeviceId, Vec<&'a Entry>> = BTreeMap::new();
        let mut by_inviter: BTreeMap<DeviceId, Vec<Join<'a>>> = BTreeMap::new();
        for entry in given {
            if *entry.share() != share {
                void.insert(entry.hash(), Void::OtherShare);
                continue;
            }
            if let Some(before) = entry.previous() {
                let fits = |held: &&Entry| held.signer() == entry.signer() && held.place() == before;
                if linked.get(&before.hash).copied().filter(fits).is_none() {
                    void.insert(entry.hash(), Void::Gap(before.hash));
                    continue;
                }
            }
            linked.insert(entry.hash(), entry);
            by_signer.entry(*entry.signer()).or_default().push(entry);
            match entry.statement() {
                Statement::Role { about: device, .. } | Statement::Removed { about: device, .. } => {
                    about.entry(*device).or_default().push(entry);
                }
                Statement::Joined(joined) => {
                    by_inviter.entry(joined.delegation.signer).or_default().push(Join { entry, joined });
                }
                _ => {}
            }
        }
        let spans = spans(&by_signer);
        for joins in by_inviter.values_mut() {
            joins.sort_unstable_by_key(|join| join.entry.hash());
        }
        let (seats, revoked, used) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { share, linked, spans, by_signer, about, by_inviter, seats, revoked, used, void }
    }

    /// The creator is an admin whatever anybody says, until it leaves; that is for good.
    fn seat_creator(&mut self, creator: &DeviceId) {
        let founder = Outcome { role: Some(Role::Admin), removal: None, kept: Kept::default() };
        let left = self.left(creator, &[]);
        let outcome = left.map_or(founder.clone(), |(entry, kept)| after_leaving(founder, entry, kept));
        let nobody_above = BTreeMap::new();
        self.take_seat(creator, (0, None), outcome, &nobody_above);
    }

    /// Decides about a device that these admissions bring in.
    fn seat(&mut self, device: &DeviceId, level: usize, joins: &[Join<'a>]) {
        let mut above: BTreeMap<DeviceId, usize> = BTreeMap::new();
        for join in joins {
            let mut at = Some(join.joined.delegation.signer);
            while let Some((admin, seat)) = at.and_then(|admin| Some((admin, self.seats.get(&admin)?))) {
                // Who stands above this admin is there already, if it is.
                if above.insert(admin, seat.level).is_some() {
                    break;
                }
                at = seat.parent;
            }
        }
        let Some(word) = self.words(device, joins, &above).min_by_key(Word::weight) else { return };
        let mut outcome = match word.said {
            Said::Removed(kept) => {
                let (by, entry) = (*word.entry.signer(), word.entry.hash());
                let removal = Some(Removal { by, entry });
                Outcome { role: None, removal, kept: kept.clone() }
            }
            Said::Role(role, kept) => Outcome { role: Some(role), removal: None, kept: kept.clone() },
            Said::Invited(role) => Outcome { role: Some(role), removal: None, kept: Kept::default() },
        };
        if let Some((entry, kept)) = self.left(device, joins)
            && outcome.role.is_some()
        {
            outcome = after_leaving(outcome, entry, kept);
        }
        // Of several admins on one level, the first by whose invite it came is the one it stands below; its
        // own later entries cannot take what it let in to another branch, once those are cut.
        let cut = (outcome.role != Some(Role::Admin)).then(|| self.leading_to(device, &outcome.kept.entries));
        let first = |joins: &mut dyn Iterator<Item = &Join<'a>>| {
            joins.min_by_key(|join| join.entry.place()).map(|join| join.joined.delegation.signer)
        };
        let kept = |join: &&Join<'a>| cut.as_ref().is_none_or(|cut| cut.contains(&join.entry.hash()));
        let parent = first(&mut joins.iter().filter(kept)).or_else(|| first(&mut joins.iter()));
        self.take_seat(device, (level, parent), outcome, &above);
    }

    /// What each of those above says of the device, who lets it in included.
    fn words(
        &self,
        device: &DeviceId,
        joins: &[Join<'a>],
        above: &BTreeMap<DeviceId, usize>,
    ) -> impl Iterator<Item = Word<'a>> {
        let mut said: BTreeMap<DeviceId, Vec<&'a Entry>> = BTreeMap::new();
        for &entry in self.about.get(device).into_iter().flatten() {
            let may = above.contains_key(entry.signer())
                && self.seats.get(entry.signer()).is_some_and(|seat| seat.acts.include(&entry.hash()));
            if may {
                said.entry(*entry.signer()).or_default().push(entry);
            }
        }
        let mut offered: BTreeMap<DeviceId, Vec<Join<'a>>> = BTreeMap::new();
        for &join in joins {
            offered.entry(join.joined.delegation.signer).or_default().push(join);
        }
        above.iter().filter_map(move |(signer, &level)| {
            let said = said.get(signer).and_then(|said| self.latest(said, level));
            // An invite counts if its admin made it after what it said last.
            let is_later = |join: &&Join<'a>| match &said {
                None => true,
                Some(word) => self.leads(&word.entry.hash(), &join.joined.delegation.after),
            };
            let offers = offered.get(signer).into_iter().flatten().filter(is_later);
            let offers = offers.map(|join| Word {
                level,
                said: Said::Invited(join.joined.delegation.role),
                entry: join.entry,
            });
            let offer = offers.min_by_key(Word::weight);
            match (said, offer) {
                // An invite gives and never takes: what does not go beyond the role said is nothing.
                (Some(word), Some(offer)) if word.role() < offer.role() => Some(offer),
                (said, offer) => said.or(offer),
            }
        })
    }

    /// What one signer said last of a device. On several branches of a chain that it forked it said several
    /// things; then a removal counts, and the lower role: what a restored admin takes must not wait for it to
    /// remember what it once gave.
    fn latest(&self, said: &[&'a Entry], level: usize) -> Option<Word<'a>> {
        let mut said: Vec<_> =
            said.iter().filter_map(|&entry| Some((*self.spans.get(&entry.hash())?, entry))).collect();
        said.sort_unstable_by_key(|(span, _)| span.first);
        // In this order the next one follows from this one, if any does.
        let next = said.iter().skip(1).map(|(span, _)| Some(span.first)).chain([None]);
        let last = said.iter().zip(next).filter(|((span, _), next)| next.is_none_or(|next| next > span.last));
        let words = last.filter_map(|((_, entry), _)| match entry.statement() {
            Statement::Removed { kept, .. } => Some(Word { level, said: Said::Removed(kept), entry }),
            Statement::Role { role, kept, .. } => Some(Word { level, said: Said::Role(*role, kept), entry }),
            _ => None,
        });
        words.min_by_key(Word::weight)
    }

    /// The device's word that it leaves, unless it came in again after that. By its own chain: who forks it
    /// to be in and out at once is out.
    fn left(&self, device: &DeviceId, joins: &[Join<'a>]) -> Option<(&'a Entry, &'a Kept)> {
        let came: BTreeSet<u32> =
            joins.iter().filter_map(|join| Some(self.spans.get(&join.entry.hash())?.first)).collect();
        let leave = |entry: &&'a Entry| match entry.statement() {
            Statement::Left { kept } => Some((*entry, kept)),
            _ => None,
        };
        let stands = |(entry, _): &(&'a Entry, &'a Kept)| {
            self.spans
                .get(&entry.hash())
                .is_some_and(|span| came.range(span.first..=span.last).next().is_none())
        };
        let leaves = self.by_signer.get(device)?.iter().filter_map(leave).filter(stands);
        leaves.max_by_key(|(entry, _)| entry.place())
    }

    /// Whether the second entry is the first, or follows it in its signer's chain.
    fn leads(&self, first: &EntryHash, second: &EntryHash) -> bool {
        let spans = self.spans.get(first).zip(self.spans.get(second));
        spans.is_some_and(|(first, second)| (first.first..=first.last).contains(&second.first))
    }

    /// Files what was decided, and marks what is void about the device and by it.
    fn take_seat(
        &mut self,
        device: &DeviceId,
        (level, parent): (usize, Option<DeviceId>),
        outcome: Outcome,
        above: &BTreeMap<DeviceId, usize>,
    ) {
        for entry in self.about.get(device).into_iter().flatten() {
            if !above.contains_key(entry.signer()) {
                self.void.insert(entry.hash(), Void::NotAbove(*device));
            }
        }
        let acts = match outcome.role {
            Some(Role::Admin) => Acts::All,
            _ => Acts::These(self.leading_to(device, &outcome.kept.entries)),
        };
        let own = self.by_signer.get(device).map_or(&[][..], Vec::as_slice);
        let mut seat = Seat {
            level,
            parent,
            outcome,
            described: None,
            last: None,
            ends: own.iter().map(|entry| entry.place()).collect(),
            acts,
            admitted: BTreeSet::new(),
        };
        for entry in own {
            if let Some(before) = entry.previous() {
                seat.ends.remove(&before);
            }
            // In order of sequence, then hash: the first of the highest sequence is the one to go on from.
            let newer = seat.last.is_none_or(|last| last.sequence < entry.place().sequence);
            if newer {
                seat.last = Some(entry.place());
            }
            let described = match entry.statement() {
                Statement::Device(described) => Some(described),
                Statement::Joined(joined) => Some(&joined.described),
                _ => None,
            };
            if let Some(described) = described.filter(|_| newer || seat.described.is_none()) {
                seat.described = Some(described.clone());
            }
            match entry.statement() {
                Statement::Device(_) | Statement::Joined(_) | Statement::Left { .. } => {}
                _ if !seat.acts.include(&entry.hash()) => {
                    let void = if seat.acts.is_none() { Void::NoAdmin } else { Void::Cut };
                    self.void.insert(entry.hash(), void);
                }
                Statement::Revoked { invite, admitted } => {
                    // Who is to stay must be named by every revocation: the safe side of two admins'
                    // differing.
                    let stay = self.revoked.entry((*device, *invite)).or_insert_with(|| admitted.clone());
                    stay.retain(|entry| admitted.contains(entry));
                }
                _ => {}
            }
        }
        self.seats.insert(*device, seat);
    }

    /// Who comes in by an inviter's invites: as many as each allows, the lowest hashes first.
    fn admissions(&mut self, inviter: &DeviceId) -> Vec<Join<'a>> {
        let (Some(joins), Some(seat)) = (self.by_inviter.get(inviter), self.seats.get(inviter)) else {
            return Vec::new();
        };
        let mut come = Vec::new();
        for &join in joins {
            let (hash, delegation) = (join.entry.hash(), &join.joined.delegation);
            let void = if seat.outcome.role == Some(Role::Admin) || seat.outcome.kept.admitted.contains(&hash)
            {
                if self.is_revoked(inviter, delegation.invite, Some(&hash)) {
                    Some(Void::Revoked)
                } else {
                    let used = self.used.entry(delegation.hash(&self.share)).or_default();
                    let room =
                        used.contains(join.entry.signer()) || used.len() < usize::from(delegation.uses);
                    if room {
                        used.insert(*join.entry.signer());
                    }
                    (!room).then_some(Void::UsedUp)
                }
            } else {
                Some(if seat.acts.is_none() { Void::NoAdmin } else { Void::Cut })
            };
            match void {
                None => come.push(join),
                Some(void) => {
                    self.void.insert(hash, void);
                }
            }
        }
        if let Some(seat) = self.seats.get_mut(inviter) {
            seat.admitted = come.iter().map(|join| join.entry.hash()).collect();
        }
        come
    }

    fn is_revoked(&self, inviter: &DeviceId, invite: InviteKey, entry: Option<&EntryHash>) -> bool {
        is_revoked(&self.seats, &self.revoked, inviter, invite, entry)
    }

    /// These entries of a device, and all before them in its chain.
    fn leading_to(&self, device: &DeviceId, ends: &BTreeSet<EntryHash>) -> BTreeSet<EntryHash> {
        let mut leading = BTreeSet::new();
        for end in ends {
            let mut at = Some(*end);
            while let Some(entry) =
                at.and_then(|at| self.linked.get(&at)).filter(|entry| entry.signer() == device)
            {
                if !leading.insert(entry.hash()) {
                    break;
                }
                at = entry.previous().map(|before| before.hash);
            }
        }
        leading
    }

    /// How many epochs have a secret, one after the other from the first: what is announced with the next one's
    /// number or a lower one counts. So each epoch costs somebody an entry, and nobody uses them up.
    fn epochs(&self) -> u32 {
        let announced: BTreeSet<u32> = self
            .linked
            .values()
            .filter_map(|entry| match entry.statement() {
                Statement::Secret { epoch, .. } => {
                    let seat = self.seats.get(entry.signer())?;
                    seat.acts.include(&entry.hash()).then_some(*epoch)
                }
                _ => None,
            })
            .collect();
        (0..).zip(announced).take_while(|(next, epoch)| next == epoch).fold(0, |_, (next, _)| next + 1)
    }

    /// For each device that is out, the first epoch that was announced in knowledge of that.
    fn later_epochs(&self) -> BTreeMap<DeviceId, u32> {
        let announced: BTreeMap<u32, u32> = self
            .linked
            .iter()
            .filter_map(|(hash, entry)| match entry.statement() {
                Statement::Secret { epoch, .. } => Some((self.spans.get(hash)?.first, *epoch)),
                _ => None,
            })
            .collect();
        let first = |seat: &Seat| {
            let span = self.spans.get(&seat.outcome.removal?.entry)?;
            announced.range(span.first..=span.last).map(|(_, epoch)| *epoch).min()
        };
        self.seats.iter().filter_map(|(device, seat)| Some((*device, first(seat)?))).collect()
    }

    fn finish(mut self, founding: &Founding) -> Roster {
        let epochs = self.epochs();
        let mut secrets: BTreeMap<(u32, SecretId), NewSecret> = BTreeMap::new();
        for (hash, entry) in &self.linked {
            let seat = self.seats.get(entry.signer());
            match entry.statement() {
                Statement::Role { about, .. } | Statement::Removed { about, .. }
                    if seat.is_some() && !self.seats.contains_key(about) =>
                {
                    self.void.entry(*hash).or_insert(Void::NoMember(*about));
                }
                Statement::Secret { epoch, id, sealed } => {
                    let Some(seat) = seat.filter(|seat| seat.acts.include(hash)) else { continue };
                    if *epoch >= epochs {
                        self.void.insert(*hash, Void::Epoch(*epoch));
                        continue;
                    }
                    let told = secrets.entry((*epoch, *id)).or_insert_with(|| NewSecret {
                        epoch: *epoch,
                        id: *id,
                        level: seat.level,
                        is_disowned: true,
                        sealed: BTreeMap::new(),
                    });
                    let removed = seat.outcome.removal.filter(|removal| removal.by != *entry.signer());
                    told.is_disowned &= removed.is_some();
                    told.level = told.level.min(seat.level);
                    // Entries come in the order of their hashes, so the first sealed one is the same
                    // everywhere.
                    for (device, sealed) in sealed {
                        told.sealed.entry(*device).or_insert(*sealed);
                    }
                }
                _ => {}
            }
            if let Statement::Joined(joined) = entry.statement()
                && !self.seats.contains_key(&joined.delegation.signer)
            {
                self.void.entry(*hash).or_insert(Void::NoAdmin);
            }
            if seat.is_none() {
                self.void.entry(*hash).or_insert(Void::Stranger);
            }
        }
        let mut secrets: Vec<NewSecret> = secrets.into_values().collect();
        let later = self.later_epochs();
        secrets.sort_by_key(|secret| {
            (secret.is_disowned, core::cmp::Reverse(secret.epoch), secret.level, secret.id)
        });
        Roster {
            founding: *founding,
            share: self.share,
            seats: self.seats,
            revoked: self.revoked,
            used: self.used,
            secrets,
            later,
            void: self.void,
        }
    }
}

/// Whether an invite was closed, by its admin or by one above, to all or to all but others than this entry.
pub(super) fn is_revoked(
    seats: &BTreeMap<DeviceId, Seat>,
    revoked: &BTreeMap<(DeviceId, InviteKey), BTreeSet<EntryHash>>,
    inviter: &DeviceId,
    invite: InviteKey,
    entry: Option<&EntryHash>,
) -> bool {
    let mut at = Some(*inviter);
    while let Some(admin) = at {
        if revoked.get(&(admin, invite)).is_some_and(|stay| !entry.is_some_and(|entry| stay.contains(entry)))
        {
            return true;
        }
        at = seats.get(&admin).and_then(|seat| seat.parent);
    }
    false
}

impl Word<'_> {
    fn role(&self) -> Option<Role> {
        match self.said {
            Said::Removed(_) => None,
            Said::Role(role, _) | Said::Invited(role) => Some(role),
        }
    }

    /// The lightest counts: who is nearer to the creator; on one level a removal, then the lower of roles
    /// said openly, then the higher of roles offered; then the lower hash.
    fn weight(&self) -> (usize, u8, EntryHash) {
        let rank = match self.said {
            Said::Removed(_) => 0,
            Said::Role(Role::Reader, _) => 1,
            Said::Role(Role::Writer, _) => 2,
            Said::Role(Role::Admin, _) => 3,
            Said::Invited(Role::Reader) => 5,
            Said::Invited(_) => 4,
        };
        (self.level, rank, self.entry.hash())
    }
}

impl Acts {
    fn include(&self, entry: &EntryHash) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.contains(entry),
        }
    }

    fn is_none(&self) -> bool {
        matches!(self, Self::These(these) if these.is_empty())
    }
}

/// What is left of a device that goes by itself. It names what counts of a role that it had; it cannot give
/// itself more than that.
fn after_leaving(before: Outcome, entry: &Entry, named: &Kept) -> Outcome {
    let mut kept = before.kept;
    if before.role == Some(Role::Admin) {
        kept.entries = BTreeSet::from([entry.hash()]);
        kept.admitted = named.admitted.clone();
    }
    if before.role >= Some(Role::Writer) {
        kept.publications = named.publications.clone();
    }
    let removal = Some(Removal { by: *entry.signer(), entry: entry.hash() });
    Outcome { role: None, removal, kept }
}
