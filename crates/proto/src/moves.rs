//! Moves: what disappears at one path and appears at another in the same run of records.
//!
//! Promise: each record belongs to one move at most, the same everywhere. A move is one rename on disk, without bytes
//! and without hashing; who applies records matches moves first, then creates, then deletes, so that no content is
//! filed away that the next record needs.

use std::collections::BTreeMap;

use crate::hash::ContentId;
use crate::record::{Kind, Record};

/// A deletion and the creation that took its content along, as places in the run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Move {
    /// Where the `gone` stands in the run.
    pub gone: usize,
    /// Where the new record stands.
    pub new: usize,
}

/// The moves in a run of records that were published together, in the order of the new records.
///
/// Of several with one content the first `gone` goes with the first new file. Empty files are made, not moved: their
/// content says nothing about where they came from.
#[must_use]
pub fn moves(run: &[Record]) -> Vec<Move> {
    let mut gone: BTreeMap<ContentId, Vec<usize>> = BTreeMap::new();
    for (at, record) in run.iter().enumerate().rev() {
        if let Kind::Gone { of } = record.version.kind {
            gone.entry(of).or_default().push(at);
        }
    }
    let mut moves = Vec::new();
    for (new, record) in run.iter().enumerate() {
        if let Kind::File { size: 1.., content } = record.version.kind
            && let Some(gone) = gone.get_mut(&content).and_then(Vec::pop)
        {
            moves.push(Move { gone, new });
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::tests::{World, content};

    #[test]
    fn a_renamed_folder_is_a_move_for_each_file_whatever_the_order() {
        let mut world = World::new();
        let mut run = Vec::new();
        for name in [1, 2, 3] {
            run.push(world.record(&format!("a/{name}"), Kind::Gone { of: content(name) }));
            run.push(world.record(&format!("b/{name}"), Kind::File { size: 5, content: content(name) }));
        }
        run.push(world.record("a", Kind::Gone { of: ContentId::NONE }));
        run.insert(0, world.record("b", Kind::Directory));
        let found = moves(&run);
        assert_eq!(found, [Move { gone: 1, new: 2 }, Move { gone: 3, new: 4 }, Move { gone: 5, new: 6 }]);
        run.reverse();
        assert_eq!(moves(&run).len(), 3);
    }

    #[test]
    fn a_content_that_appears_more_often_than_it_went_is_moved_once() {
        let mut world = World::new();
        let gone = |world: &mut World, at: &str| world.record(at, Kind::Gone { of: content(1) });
        let new = |world: &mut World, at: &str| world.record(at, Kind::File { size: 5, content: content(1) });
        let run = [new(&mut world, "b"), gone(&mut world, "a"), new(&mut world, "c")];
        assert_eq!(moves(&run), [Move { gone: 1, new: 0 }]);
        let run = [gone(&mut world, "a"), gone(&mut world, "b"), new(&mut world, "c")];
        assert_eq!(moves(&run), [Move { gone: 0, new: 2 }]);
    }

    #[test]
    fn empty_files_and_folders_are_not_moved() {
        let mut world = World::new();
        let empty = ContentId::of_nothing();
        let run = [
            world.record("a", Kind::Gone { of: empty }),
            world.record("b", Kind::File { size: 0, content: empty }),
            world.record("c", Kind::Gone { of: ContentId::NONE }),
            world.record("d", Kind::Directory),
        ];
        assert_eq!(moves(&run), []);
    }
}
