//! The names of one folder, in the order in which a sweep takes them.
//!
//! Promise: however many names a folder has, some twice [`NAMES_AT_A_TIME`] are in memory, and what is given are the first
//! of those that come after the one asked for (E15).

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use crate::fs::FsDir;
use crate::stat::Kind;

/// Names in order. A folder's name stands twice: once to be told, and once with a slash, to be gone into.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The path of the folder with a slash after it; nothing for the root.
    prefix: Vec<u8>,
    turns: Turns,
}

/// Turns of names, as places in one run of bytes.
#[derive(Debug, Default)]
struct Turns {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    length: u16,
    kind: Kind,
}

/// A name at its turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn<'a> {
    /// The name; with a slash after it, if the folder is to be gone into.
    pub(super) key: &'a [u8],
    /// What it is, as far as the listing says.
    pub(super) kind: Kind,
}

impl Names {
    /// The first names of a folder after one of them, and whether there are more. `shallow`: nothing is to be gone into.
    pub(super) fn read<D: FsDir>(
        dir: &D,
        prefix: Vec<u8>,
        after: &[u8],
        shallow: bool,
    ) -> io::Result<(Self, bool)> {
        let mut first = First { turns: Turns::default(), after, bound: None };
        dir.for_each(|name, kind| {
            let kind = match kind {
                Kind::Unknown => dir.look(name).ok().flatten().map_or(Kind::Unknown, |seen| seen.kind),
                known => known,
            };
            first.add(name.as_bytes(), kind, kind == Kind::Folder && !shallow);
        })?;
        let is_cut = first.finish();
        Ok((Self { prefix, turns: first.turns }, is_cut))
    }

    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// How many turns there are.
    pub(super) fn len(&self) -> usize {
        self.turns.places.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<Turn<'_>> {
        let place = self.turns.places.get(at)?;
        Some(Turn { key: self.turns.key(place), kind: place.kind })
    }
}

impl<'a> Turn<'a> {
    /// The name of the folder, if it is to be gone into.
    pub(super) fn folder(&self) -> Option<&'a OsStr> {
        self.key.strip_suffix(b"/").map(OsStr::from_bytes)
    }
}

impl Turns {
    fn key(&self, place: &Place) -> &[u8] {
        &self.bytes[place.start as usize..][..usize::from(place.length)]
    }

    fn order(&self, one: &Place, other: &Place) -> Ordering {
        self.key(one).cmp(self.key(other))
    }

    /// The same turns, without the bytes of others.
    fn of(all: &Self, places: &[Place]) -> Self {
        let mut turns = Self { bytes: Vec::new(), places: Vec::with_capacity(places.len()) };
        for place in places {
            turns.push(all.key(place), place.kind);
        }
        turns
    }

    fn push(&mut self, key: &[u8], kind: Kind) {
        // No name is longer than a path, and so many of them that a place did not fit are never held.
        let (Ok(start), Ok(length)) = (u32::try_from(self.bytes.len()), u16::try_from(key.len())) else {
            return;
        };
        self.bytes.extend_from_slice(key);
        self.places.push(Place { start, length, kind });
    }
}

/// The first turns after some name, of those that come in any order.
struct First<'a> {
    turns: Turns,
    after: &'a [u8],
    /// What comes after this is not among the first.
    bound: Option<Vec<u8>>,
}

impl First<'_> {
    fn add(&mut self, name: &[u8], kind: Kind, is_gone_into: bool) {
        self.add_turn(name, kind);
        if is_gone_into {
            self.add_turn(&[name, b"/"].concat(), kind);
        }
    }

    fn add_turn(&mut self, key: &[u8], kind: Kind) {
        // A folder's second turn comes even if it was passed already, should we have ended in it.
        let ended_in_it =
            || key.last() == Some(&b'/') && self.after.len() > key.len() && self.after.starts_with(key);
        let is_to_come = key > self.after || ended_in_it();
        if !is_to_come || self.bound.as_deref().is_some_and(|bound| key > bound) {
            return;
        }
        self.turns.push(key, kind);
        if self.turns.places.len() == 2 * NAMES_AT_A_TIME {
            self.cut();
        }
    }

    /// Keeps [`NAMES_AT_A_TIME`].
    fn cut(&mut self) {
        let mut places = std::mem::take(&mut self.turns.places);
        let (_, last, _) = places.select_nth_unstable_by(NAMES_AT_A_TIME - 1, |a, b| self.turns.order(a, b));
        self.bound = Some(self.turns.key(last).to_vec());
        self.turns = Turns::of(&self.turns, &places[..NAMES_AT_A_TIME]);
    }

    /// Puts them in order; tells whether there are more.
    fn finish(&mut self) -> bool {
        if self.turns.places.len() > NAMES_AT_A_TIME {
            self.cut();
        }
        let mut places = std::mem::take(&mut self.turns.places);
        places.sort_unstable_by(|a, b| self.turns.order(a, b));
        self.turns.places = places;
        self.bound.is_some()
    }
}

/// Of one folder so many turns of names are kept at a time, some 50 bytes each; twice as many while it is read.
pub(super) const NAMES_AT_A_TIME: usize = if cfg!(test) { 16 } else { 1 << 16 };
