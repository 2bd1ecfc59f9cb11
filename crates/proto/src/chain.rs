//! What one writer published, as a chain: which publications lead to a named last one, and whether a device's
//! own index is younger than what others hold of it.
//!
//! Promise: a removal that names a writer's last publication settles for everybody alike which ones count:
//! those on the way back from the named one, by hash. A removed device that signs another publication with an
//! old number gains nothing. What cannot be told yet is said to be so, with the hash to ask for; nothing is
//! guessed.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{DeviceId, ShareId, Writer};
use crate::publication::{Place, Publication, PublicationHash};

/// The publications that are held of one writer, in any order and with gaps.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    links: BTreeMap<PublicationHash, Link>,
    places: BTreeSet<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    sequence: u64,
    previous: PublicationHash,
}

/// Two publications of one writer with one number. Its index was copied or restored; or it is dishonest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fork {
    /// The number that both have.
    pub sequence: u64,
    /// The one that was held.
    pub held: PublicationHash,
    /// The one that came.
    pub came: PublicationHash,
}

/// The publications from a named last one back, as far as they are held.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Line {
    held: BTreeSet<PublicationHash>,
    missing: Option<Place>,
}

/// Whether a publication is on a [`Line`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnLine {
    /// It leads to the named last one.
    Yes,
    /// It does not, whatever else may come.
    No,
    /// It cannot be told before the publication with this hash is here.
    Unknown(PublicationHash),
}

impl Chain {
    /// Takes up a publication of the writer that has verified. Another one with its number is told; both are
    /// kept, because both may be on some removal's line, and their records are two versions like any others.
    pub fn insert(&mut self, hash: PublicationHash, publication: &Publication) -> Option<Fork> {
        let sequence = publication.sequence;
        let held = self.at(sequence).find(|&held| held != hash);
        self.links.insert(hash, Link { sequence, previous: publication.previous });
        self.places.insert(Place { sequence, hash });
        held.map(|held| Fork { sequence, held, came: hash })
    }

    /// The publications held with this number; more than one if the writer has forked.
    pub fn at(&self, sequence: u64) -> impl Iterator<Item = PublicationHash> + '_ {
        let (from, to) = ([0; 32], [0xff; 32]);
        let place = |hash| Place { sequence, hash: PublicationHash::from_bytes(hash) };
        self.places.range(place(from)..=place(to)).map(|place| place.hash)
    }

    /// Whether this publication is held.
    #[must_use]
    pub fn holds(&self, hash: &PublicationHash) -> bool {
        self.links.contains_key(hash)
    }

    /// The highest publication held; of several with its number the one with the lowest hash.
    #[must_use]
    pub fn last(&self) -> Option<Place> {
        let sequence = self.places.last()?.sequence;
        Some(Place { sequence, hash: self.at(sequence).next()? })
    }

    /// The way back from `last`. Where a publication names one before it that has not the number before, the
    /// line ends: its signer has signed nonsense, and what came before does not count.
    #[must_use]
    pub fn line(&self, last: Place) -> Line {
        let mut line = Line::default();
        let mut at = last;
        loop {
            match self.links.get(&at.hash) {
                None => {
                    line.missing = Some(at);
                    return line;
                }
                Some(link) if link.sequence != at.sequence => return line,
                Some(link) => {
                    line.held.insert(at.hash);
                    let Some(sequence) = at.sequence.checked_sub(1) else { return line };
                    at = Place { sequence, hash: link.previous };
                }
            }
        }
    }
}

impl Line {
    /// Whether the publication at this place leads to the named last one.
    #[must_use]
    pub fn shows(&self, publication: Place) -> OnLine {
        match self.missing {
            _ if self.held.contains(&publication.hash) => OnLine::Yes,
            Some(missing) if publication == missing => OnLine::Yes,
            Some(missing) if publication.sequence < missing.sequence => OnLine::Unknown(missing.hash),
            _ => OnLine::No,
        }
    }

    /// Those that lead to the named last one and are held.
    #[must_use]
    pub fn held(&self) -> &BTreeSet<PublicationHash> {
        &self.held
    }

    /// The first one backwards that is not held; to be asked for.
    #[must_use]
    pub fn missing(&self) -> Option<Place> {
        self.missing
    }
}

/// What a device learns from being shown the last publication that another knows of its writer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told {
    /// Nothing that this device ever signed under this writer: the other one knows nothing of it, or is wrong. No
    /// reason to do anything.
    Nothing,
    /// A publication that this index knows: what else is missing there is for reconciling to find.
    Known,
    /// Others know what this index does not: it was rolled back or copied. Draw a new writer before saying
    /// anything.
    RolledBack,
}

/// Compares what a device's own index says of its writer with what it was shown of it
/// ([`Message::Known`](crate::message::Message::Known)). `own_at` gives the own publication with a number.
///
/// Only what this device has signed under this writer counts, so nobody else can make it draw new writers, and each
/// publication that it lost makes it draw one at most.
///
/// Numbers alone are not enough: an index restored from a backup that has published more than others ever saw is
/// above all they know, and still uses numbers that stand for other records elsewhere. So the publication with the
/// shown number must be the very one.
///
/// There is another sign of a roll-back, which is for the index to notice: a record that is to be merged has seen, of
/// the own writer, a counter above the own one. It may come before any peer that knows the publication itself does.
pub fn told(
    share: &ShareId,
    device: &DeviceId,
    writer: Writer,
    own_at: impl FnOnce(u64) -> Option<PublicationHash>,
    known: Option<&Publication>,
) -> Told {
    let is_own = |known: &&Publication| known.device == *device && known.writer(share) == writer;
    let Some(known) = known.filter(is_own) else { return Told::Nothing };
    match known.verify(share) {
        Err(_) => Told::Nothing,
        Ok(hash) if own_at(known.sequence) == Some(hash) => Told::Known,
        Ok(_) => Told::RolledBack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::RecordHash;
    use crate::id::WriterSalt;
    use crate::key::testing::device_key;

    const SHARE: ShareId = ShareId::from_bytes([9; 32]);
    const SALT: WriterSalt = WriterSalt([8; 16]);

    /// A publication after `after`, of a record that a number stands for.
    fn published(after: Option<Place>, record: u8) -> (Place, Publication) {
        let records = [RecordHash::from_bytes([record; 32])];
        let publication = Publication::sign(&device_key(1), &SHARE, SALT, after, &records).unwrap();
        (Place { sequence: publication.sequence, hash: publication.hash(&SHARE) }, publication)
    }

    fn row(after: Option<Place>, records: core::ops::Range<u8>) -> Vec<(Place, Publication)> {
        let mut last = after;
        let next = |record| {
            let one = published(last, record);
            last = Some(one.0);
            one
        };
        records.map(next).collect()
    }

    fn chain<'a>(publications: impl IntoIterator<Item = &'a (Place, Publication)>) -> Chain {
        let mut chain = Chain::default();
        for (place, publication) in publications {
            chain.insert(place.hash, publication);
        }
        chain
    }

    #[test]
    fn what_leads_to_the_last_one_counts_and_what_was_signed_later_does_not() {
        let row = row(None, 0..6);
        let line = chain(&row).line(row[3].0);
        for (at, (place, _)) in row.iter().enumerate() {
            assert_eq!(line.shows(*place), if at <= 3 { OnLine::Yes } else { OnLine::No }, "{at}");
        }
        assert_eq!((line.held().len(), line.missing()), (4, None));
    }

    #[test]
    fn i26_a_second_publication_with_an_old_number_is_not_on_the_line() {
        let row = row(None, 0..4);
        let backdated = published(Some(row[0].0), 99);
        let mut chain = chain(&row);
        let fork = Fork { sequence: 1, held: row[1].0.hash, came: backdated.0.hash };
        assert_eq!(chain.insert(backdated.0.hash, &backdated.1), Some(fork));
        assert_eq!(chain.insert(row[2].0.hash, &row[2].1), None, "known already");
        let line = chain.line(row[3].0);
        assert_eq!(line.shows(backdated.0), OnLine::No);
        assert_eq!(line.shows(row[1].0), OnLine::Yes);
        assert_eq!(chain.at(1).count(), 2);
    }

    #[test]
    fn what_cannot_be_told_yet_names_what_to_ask_for() {
        let row = row(None, 0..6);
        let backdated = published(Some(row[0].0), 99);
        let gap = chain(row.iter().filter(|(place, _)| place.sequence != 2));
        let line = gap.line(row[4].0);
        let asked = row[2].0.hash;
        assert_eq!(line.missing(), Some(row[2].0));
        assert_eq!(line.shows(row[0].0), OnLine::Unknown(asked));
        assert_eq!(line.shows(backdated.0), OnLine::Unknown(asked));
        assert_eq!(line.shows(row[2].0), OnLine::Yes, "it is the one that is named");
        let other = published(Some(row[1].0), 98);
        assert_eq!(line.shows(other.0), OnLine::No, "another one has this number");
        assert_eq!((line.shows(row[3].0), line.shows(row[5].0)), (OnLine::Yes, OnLine::No));
        assert_eq!(Chain::default().line(row[4].0).shows(row[4].0), OnLine::Yes);
        assert_eq!(gap.last(), Some(row[5].0));
    }

    #[test]
    fn a_link_to_a_wrong_number_ends_the_line() {
        let row = row(None, 0..3);
        let wrong = published(Some(Place { sequence: 4, ..row[1].0 }), 50);
        let chain = chain(row.iter().chain([&wrong]));
        let line = chain.line(wrong.0);
        assert_eq!(line.shows(wrong.0), OnLine::Yes);
        assert_eq!((line.shows(row[1].0), line.missing()), (OnLine::No, None));
    }

    /// What an index that holds `own` is told by one that knows `known`.
    fn told_of(own: &[(Place, Publication)], known: Option<&Publication>) -> Told {
        let (device, chain) = (device_key(1).device(), chain(own));
        let writer = Writer::drawn(&device, &SHARE, &SALT);
        told(&SHARE, &device, writer, |sequence| chain.at(sequence).next(), known)
    }

    #[test]
    fn d19_an_index_that_was_rolled_back_notices() {
        let row = row(None, 0..6);
        assert_eq!(told_of(&[], None), Told::Nothing);
        assert_eq!(told_of(&row, None), Told::Nothing);
        for (_, known) in &row {
            assert_eq!(told_of(&row, Some(known)), Told::Known);
        }
        assert_eq!(told_of(&row[..3], Some(&row[5].1)), Told::RolledBack);
        assert_eq!(told_of(&[], Some(&row[0].1)), Told::RolledBack);
    }

    /// The restored index went on and published more than others ever saw: its numbers are above all that it is
    /// told.
    #[test]
    fn d19_a_restored_index_that_has_published_more_than_others_know_notices_too() {
        let shared = row(None, 0..4);
        let restored = [row(None, 0..3), row(Some(shared[2].0), 50..59)].concat();
        assert_eq!(told_of(&restored, Some(&shared[3].1)), Told::RolledBack);
    }

    /// Else anybody on a channel could make a device draw new writers without end.
    #[test]
    fn d19_nobody_else_makes_a_device_draw_a_new_writer() {
        let (own, far) = (row(None, 0..3), Some(Place { sequence: 99, ..published(None, 7).0 }));
        let records = [RecordHash::from_bytes([1; 32])];
        let sign = |key: u64, share: &ShareId, salt: WriterSalt| {
            Publication::sign(&device_key(key), share, salt, far, &records).unwrap()
        };
        let genuine = sign(1, &SHARE, SALT);
        assert_eq!(told_of(&own, Some(&genuine)), Told::RolledBack, "this one the device has signed");
        let made_up = [
            Publication { sequence: 5000, ..genuine },
            Publication { count: 2, ..genuine },
            Publication { device: device_key(1).device(), ..sign(2, &SHARE, SALT) },
            sign(2, &SHARE, SALT),
            sign(1, &ShareId::from_bytes([1; 32]), SALT),
            sign(1, &SHARE, WriterSalt([7; 16])), // of an earlier writer of its own
        ];
        for (at, known) in made_up.iter().enumerate() {
            assert_eq!(told_of(&own, Some(known)), Told::Nothing, "{at}");
        }
    }
}
