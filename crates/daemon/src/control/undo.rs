//! What comes back when a person undoes what others did.
//!
//! Promise: of each path one version at most comes back: the one that stood there before the first of what is undone. What
//! this device did is never undone by accident, nor is what stands in a conflict copy anyway.

use std::collections::BTreeMap;

use shoal_proto::id::DeviceId;
use shoal_proto::path::RelPath;

use super::report::{Displaced, Kept, Undone};
use super::text::Moment;
use super::types::Undo;

/// So many versions come back at once.
pub const UNDO_MAX: usize = 1000;

/// Chooses from a history, which may come in any order, page by page.
#[derive(Debug)]
pub struct Choosing<'a> {
    wish: &'a Undo,
    own: DeviceId,
    chosen: BTreeMap<RelPath, Kept>,
}

impl<'a> Choosing<'a> {
    /// Begins; `own` is this device.
    #[must_use]
    pub fn new(wish: &'a Undo, own: DeviceId) -> Self {
        Self { wish, own, chosen: BTreeMap::new() }
    }

    /// Looks at a page of the history. Whether pages with lower numbers, which were filed before, can matter: not once the
    /// clock at filing is before the time asked for by an hour, which clocks are set by.
    pub fn look(&mut self, page: Vec<Kept>) -> bool {
        let last = page.iter().min_by_key(|kept| kept.number).map(|kept| kept.when);
        for kept in page {
            if self.is_meant(&kept)
                && let Some(path) = kept.path.clone()
            {
                let before = self.chosen.get(&path.0).is_none_or(|chosen| kept.number < chosen.number);
                if before {
                    self.chosen.insert(path.0, kept);
                }
            }
        }
        last.is_some_and(|last| last.0.seconds >= self.wish.since.0.seconds.saturating_sub(CLOCK_STEP))
    }

    /// What comes back, in the order of paths.
    #[must_use]
    pub fn chosen(self) -> Undone {
        let more = self.chosen.len().saturating_sub(UNDO_MAX) as u64;
        let versions = self.chosen.into_values().take(UNDO_MAX).collect();
        Undone { versions, more, refused: Vec::new() }
    }

    fn is_meant(&self, kept: &Kept) -> bool {
        let Undo { path, since, by, deleted_only, .. } = self.wish;
        let is_at = match (path, &kept.path) {
            (None, _) => true,
            (Some(asked), Some(found)) => found == asked || found.0.is_below(&asked.0),
            (Some(_), None) => false,
        };
        let is_by = match (by, kept.by) {
            (_, None) => false,
            (None, Some(found)) => found.0 != self.own,
            (Some(asked), Some(found)) => found == *asked,
        };
        let is_kind = match kept.why {
            Displaced::Deleted => true,
            Displaced::Replaced | Displaced::Difference => !deleted_only,
            Displaced::Conflict | Displaced::Unknown => false,
        };
        is_at && is_by && is_kind && kept.when >= Moment(since.0)
    }
}

/// So far, in seconds, a clock is put back now and then.
const CLOCK_STEP: i64 = 60 * 60;

#[cfg(test)]
mod tests {
    use shoal_proto::id::ShareId;

    use super::super::text::{Id, Place};
    use super::*;

    const OWN: DeviceId = DeviceId::from_bytes([1; 32]);
    const ANA: DeviceId = DeviceId::from_bytes([2; 32]);
    const BEN: DeviceId = DeviceId::from_bytes([3; 32]);

    fn place(path: &str) -> Place {
        Place(RelPath::parse(path.as_bytes()).unwrap())
    }

    fn kept(number: u64, path: &str, seconds: i64, by: Option<DeviceId>, why: Displaced) -> Kept {
        let when = Moment::at_second(seconds);
        Kept {
            number,
            path: Some(place(path)),
            size: 1,
            mtime: when,
            when,
            by: by.map(Id),
            why,
            is_late: false,
        }
    }

    fn wish(since: i64) -> Undo {
        Undo {
            share: Id(ShareId::from_bytes([7; 32])),
            path: None,
            since: Moment::at_second(since),
            by: None,
            deleted_only: false,
            dry_run: false,
        }
    }

    fn chosen(wish: &Undo, pages: Vec<Vec<Kept>>) -> Vec<u64> {
        let mut choosing = Choosing::new(wish, OWN);
        for page in pages {
            choosing.look(page);
        }
        choosing.chosen().versions.iter().map(|kept| kept.number).collect()
    }

    fn history() -> Vec<Vec<Kept>> {
        use Displaced::{Conflict, Deleted, Difference, Replaced, Unknown};
        vec![
            vec![
                kept(9, "d/a", 90, Some(ANA), Deleted),
                kept(8, "d/b", 80, Some(OWN), Deleted),
                kept(7, "c", 70, Some(BEN), Conflict),
                kept(6, "d/a", 60, Some(BEN), Replaced),
            ],
            vec![
                kept(5, "d/a", 50, Some(ANA), Replaced),
                kept(4, "e", 40, None, Unknown),
                kept(3, "f", 30, Some(ANA), Difference),
                kept(2, "g", 20, Some(ANA), Deleted),
            ],
        ]
    }

    #[test]
    fn of_each_path_comes_back_what_stood_there_before_all_of_it() {
        assert_eq!(chosen(&wish(0), history()), [5, 3, 2]);
        assert_eq!(chosen(&wish(30), history()), [5, 3]);
        assert_eq!(chosen(&wish(55), history()), [6]);
        assert_eq!(chosen(&wish(91), history()), Vec::<u64>::new());
    }

    #[test]
    fn it_can_be_less_than_everything() {
        let deleted = Undo { deleted_only: true, ..wish(0) };
        assert_eq!(chosen(&deleted, history()), [9, 2]);
        let by_ben = Undo { by: Some(Id(BEN)), ..wish(0) };
        assert_eq!(chosen(&by_ben, history()), [6]);
        let by_own = Undo { by: Some(Id(OWN)), ..wish(0) };
        assert_eq!(chosen(&by_own, history()), [8]);
        for path in ["d", "d/a"] {
            let below = Undo { path: Some(place(path)), ..wish(0) };
            assert_eq!(chosen(&below, history()), [5]);
        }
    }

    #[test]
    fn older_pages_are_not_asked_for_once_they_cannot_matter() {
        let asked = wish(10_000);
        let mut choosing = Choosing::new(&asked, OWN);
        let page = |seconds| vec![kept(1, "a", seconds, Some(ANA), Displaced::Deleted)];
        assert!(choosing.look(page(10_000)));
        assert!(choosing.look(page(10_000 - CLOCK_STEP)));
        assert!(!choosing.look(page(9_999 - CLOCK_STEP)));
        assert!(!choosing.look(Vec::new()));
    }

    #[test]
    fn what_is_too_much_at_once_is_counted() {
        let many =
            (0..1500).map(|number| kept(number, &format!("f{number:04}"), 5, Some(ANA), Displaced::Deleted));
        let asked = wish(0);
        let mut choosing = Choosing::new(&asked, OWN);
        choosing.look(many.collect());
        let undone = choosing.chosen();
        assert_eq!((undone.versions.len(), undone.more), (UNDO_MAX, 500));
    }
}
