//! Which segments of an older version may have most bytes of one of a newer version.
//!
//! Promise: at most [`NEAR_MAX`] of them, and none that the newer version has as it is: that one is copied. An edit
//! leaves the segments around it as they were, so what it changed stood between the same neighbours before.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::hash::SegmentId;
use shoal_proto::segment::Segment;

use crate::limits::NEAR_MAX;

/// A segment, and at which byte of its file it begins.
pub(super) type Placed = (u64, Segment);

/// The segments that are near those of a list.
#[derive(Debug, Default)]
pub(super) struct Near {
    older: Vec<Placed>,
    /// For each segment of the list a part of them.
    windows: Vec<Range<usize>>,
}

impl Near {
    /// For each segment of `new` (in order) those of `old` that are near it.
    pub(super) fn of(new: &[Placed], old: &[Placed]) -> Self {
        let at_of: BTreeMap<SegmentId, usize> =
            old.iter().enumerate().rev().map(|(at, (_, segment))| (segment.id, at)).collect();
        let kept: BTreeSet<SegmentId> = new.iter().map(|(_, segment)| segment.id).collect();
        let matched: Vec<Option<usize>> =
            new.iter().map(|(_, segment)| at_of.get(&segment.id).copied()).collect();
        let mut near = Self::default();
        let mut before = None;
        while let Some(place) = matched.get(near.windows.len()) {
            let at = near.windows.len();
            if place.is_some() {
                before = *place;
                near.windows.push(0..0);
                continue;
            }
            let run = matched[at..].iter().take_while(|place| place.is_none()).count();
            let after = matched.get(at + run).copied().flatten();
            let begins = near.older.len();
            let gap = gap(old.len(), before, after).filter_map(|place| old.get(place));
            let is_of_use =
                |(_, segment): &&Placed| !kept.contains(&segment.id) && *segment != Segment::ZEROS;
            near.older.extend(gap.filter(is_of_use));
            let gap = begins..near.older.len();
            near.windows.extend((0..run).map(|number| window(&gap, number, run)));
        }
        near
    }

    /// Those near this one of the list.
    pub(super) fn to(&self, at: usize) -> &[Placed] {
        self.windows.get(at).and_then(|window| self.older.get(window.clone())).unwrap_or_default()
    }
}

/// The places between two neighbours; if they do not stand in this order any more, those after the first.
fn gap(length: usize, before: Option<usize>, after: Option<usize>) -> Range<usize> {
    let begins = before.map_or(0, |before| before + 1);
    match after {
        Some(after) if begins <= after => begins..after,
        Some(_) => begins..(begins + NEAR_MAX).min(length),
        None => begins..length,
    }
}

/// The part of a gap that stands as far into it as the wanted one does into its run.
fn window(gap: &Range<usize>, number: usize, run: usize) -> Range<usize> {
    let middle = gap.start + number * gap.len() / run.max(1);
    let latest = gap.end.saturating_sub(NEAR_MAX).max(gap.start);
    let begins = middle.saturating_sub(NEAR_MAX / 2).clamp(gap.start, latest);
    begins..(begins + NEAR_MAX).min(gap.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(ids: &[u8]) -> Vec<Placed> {
        let segment = |id: &u8| Segment { id: SegmentId::from_bytes([*id; 32]), length: 10 };
        ids.iter().zip(0..).map(|(id, at)| (at * 10, segment(id))).collect()
    }

    fn ids(new: &[u8], old: &[u8]) -> Vec<Vec<u8>> {
        let near = Near::of(&file(new), &file(old));
        let ids = |at| near.to(at).iter().map(|(_, segment)| segment.id.as_bytes()[0]).collect();
        (0..new.len()).map(ids).collect()
    }

    #[test]
    fn what_changed_stood_between_the_same_neighbours() {
        assert_eq!(ids(&[1, 9, 3], &[1, 2, 3]), [vec![], vec![2], vec![]]);
        assert_eq!(ids(&[9, 2], &[1, 2]), [vec![1], vec![]]);
        assert_eq!(ids(&[1, 8, 9], &[1, 2]), [vec![], vec![2], vec![2]]);
        assert_eq!(ids(&[1, 9, 2], &[1, 2]), [vec![], vec![], vec![]], "inserted");
        assert_eq!(ids(&[9, 8], &[1, 2]), [vec![1, 2], vec![1, 2]]);
    }

    #[test]
    fn of_a_long_gap_the_part_as_far_in_is_near() {
        let old: Vec<u8> = (0..100).collect();
        let new: Vec<u8> = (100..200).collect();
        let near = ids(&new, &old);
        assert!(near.iter().all(|near| near.len() == NEAR_MAX));
        assert!((0..100).all(|at| near[usize::from(at)].contains(&at)));
    }

    #[test]
    fn neighbours_that_changed_places_do_no_harm() {
        assert_eq!(ids(&[3, 9, 1], &[1, 2, 3, 4]), [vec![], vec![4], vec![]]);
        assert_eq!(ids(&[], &[1]), Vec::<Vec<u8>>::new());
        assert_eq!(ids(&[1], &[]), [vec![]]);
    }
}
