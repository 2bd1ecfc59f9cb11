//! The files that wait to be fetched.
//!
//! Promise: sources take turns, and one that is stuck never has all places, so it holds up nobody else.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::plan::Wanted;

/// Files by their sources; each source's in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Queue {
    sources: BTreeMap<SocketAddr, VecDeque<Wanted>>,
    /// The sources that have files here, in the order in which they are next.
    turns: VecDeque<SocketAddr>,
    files: usize,
}

/// How many of so many places one source may have: a quarter is left to the others.
pub(super) const fn share(places: usize) -> usize {
    let share = places - places.div_ceil(4);
    if share == 0 { 1 } else { share }
}

impl Queue {
    pub(super) fn push(&mut self, wanted: Wanted) {
        let source = wanted.listed.source;
        let files = self.sources.entry(source).or_default();
        if files.is_empty() {
            self.turns.push_back(source);
        }
        files.push_back(wanted);
        self.files += 1;
    }

    /// The next file of a source that `may_give` one.
    pub(super) fn pop(&mut self, may_give: impl Fn(SocketAddr) -> bool) -> Option<Wanted> {
        let turn = self.turns.iter().position(|source| may_give(*source))?;
        let source = self.turns.remove(turn)?;
        let files = self.sources.get_mut(&source)?;
        let wanted = files.pop_front()?;
        if files.is_empty() {
            self.sources.remove(&source);
        } else {
            self.turns.push_back(source);
        }
        self.files -= 1;
        Some(wanted)
    }

    pub(super) const fn len(&self) -> usize {
        self.files
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.files == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Wanted> {
        self.sources.values().flatten()
    }
}

impl FromIterator<Wanted> for Queue {
    fn from_iter<I: IntoIterator<Item = Wanted>>(files: I) -> Self {
        let mut queue = Self::default();
        files.into_iter().for_each(|wanted| queue.push(wanted));
        queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Listed;
    use crate::name::FileName;

    fn wanted(name: &str, port: u16) -> Wanted {
        let source = SocketAddr::from(([10, 0, 0, 1], port));
        Wanted { name: FileName::parse(name).unwrap(), listed: Listed { source, mtime: 1, dialect: None } }
    }

    #[test]
    fn sources_take_turns_and_those_that_may_not_are_passed_over() {
        let files = [("a", 1), ("b", 1), ("c", 1), ("d", 2), ("e", 3), ("f", 3)];
        let mut queue: Queue = files.iter().map(|(name, port)| wanted(name, *port)).collect();
        assert_eq!((queue.len(), queue.iter().count()), (6, 6));
        let mut next = |may_give: &dyn Fn(u16) -> bool| {
            queue.pop(|source| may_give(source.port())).map(|wanted| wanted.name.to_string())
        };
        assert_eq!(next(&|_| true).as_deref(), Some("a"));
        assert_eq!(next(&|port| port != 2).as_deref(), Some("e"));
        let rest: Vec<String> = std::iter::from_fn(|| next(&|_| true)).collect();
        assert_eq!(rest, ["d", "b", "f", "c"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_share_is_some_of_the_places_and_never_all_of_several() {
        for places in 1..=300 {
            assert!(share(places) >= 1 && (share(places) < places || places == 1), "{places}");
        }
    }
}
