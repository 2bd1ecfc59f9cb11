//! Files that are to come to stand somewhere: moved there, or fetched.
//!
//! Promise: what others moved is moved here, too, if the one end of it is heard of with the other, or soon after: in a
//! first comparison of records they may come in any order, and nobody copies a file that is about to be moved. That is
//! waited for some seconds and no longer.

use shoal_proto::here::Triple;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Kind, Record};

use super::Placing;
use crate::disk::{BytesAt, ChangeDeed, Seen};
use crate::fetch::Older;
use crate::index;
use crate::limits::MOVES_WAIT_MAX;
use crate::planner::{Deed, decide};
use crate::share::commit::Planned;
use crate::share::goals::Wish;
use crate::share::{Share, Waiting, Wake};
use crate::time::Time;

impl Share {
    /// Where the contents that are to come are on this disk: a file that is to go may only have to be moved.
    pub(in crate::share) fn planned_places(&mut self, places: Vec<Vec<BytesAt>>) {
        let Some(pass) = &mut self.planner.pass else { return };
        let in_folder = |at: &BytesAt| match at {
            BytesAt::Folder { path, seen, offset: 0 } => Some((path.clone(), seen.clone())),
            _ => None,
        };
        pass.movers = places.iter().map(|places| places.iter().filter_map(in_folder).collect()).collect();
        for (placing, places) in pass.placing.iter_mut().zip(places) {
            placing.places = places;
        }
        let paths: Vec<RelPath> = pass.movers.iter().flatten().map(|(path, _)| path.clone()).collect();
        self.index(Waiting::Movers, index::Job::Triples(paths));
    }

    pub(in crate::share) fn planned_moves(&mut self, rows: Vec<Option<Triple>>) {
        let Some(pass) = &mut self.planner.pass else { return };
        pass.is_asked = false;
        let (placing, movers) = (core::mem::take(&mut pass.placing), core::mem::take(&mut pass.movers));
        let mut rows = rows.into_iter();
        for (placing, movers) in placing.into_iter().zip(movers) {
            let rows: Vec<Triple> = rows.by_ref().take(movers.len()).flatten().collect();
            // Where a move has failed, the bytes are copied or fetched.
            let is_free = placing.row.here.is_none()
                && !self.busy.contains(&placing.row.path)
                && !self.planner.deferred.contains_key(&placing.row.path);
            let goes = |row: &&Triple| {
                !self.busy.contains(&row.path)
                    && matches!(decide(row, self.rights_at(row)).disk, Deed::Remove(_))
            };
            let may_wait = is_free && !movers.is_empty() && self.may_await_moves(&placing.row.path);
            match rows.iter().find(goes).filter(|_| is_free) {
                Some(from) => self.start_move(from, placing),
                None if may_wait => {
                    if let Some(pass) = &mut self.planner.pass {
                        pass.awaits_moves = true;
                    }
                }
                None => self.start_fetch(placing),
            }
        }
    }

    fn start_move(&mut self, from: &Triple, to: Placing) {
        let rights = self.rights_at(from);
        let (Some(here), Deed::Remove(gone)) = (&from.here, decide(from, rights).disk) else { return };
        let deed = ChangeDeed::Move { to: to.row.path.clone(), present: Seen::from(here) };
        let mut planned = Planned::new(from.path.clone(), deed, to.row.here.clone(), Some(to.head));
        planned.from = Some((from.here.clone(), gone.cloned()));
        self.start(planned);
    }

    /// The bytes of a file are to come into a staged file first.
    fn start_fetch(&mut self, Placing { row, head, places }: Placing) {
        let Kind::File { size, content } = head.version.kind else { return };
        if self.busy.contains(&row.path) || self.goals.at(&row.path).is_some() {
            return;
        }
        let older = row.here.as_ref().and_then(|here| match here.version.kind {
            Kind::File { content, .. } => {
                Some(Older { content, seen: Seen::from(here), path: row.path.clone() })
            }
            _ => None,
        });
        let over = row.here.as_ref().map(Seen::from);
        let names = |head: &&Record| head.version.kind.content() == content;
        let records = row.heads.iter().filter(names).map(Record::hash).collect();
        let wish = Wish { content, size, records, older, places: Some(places) };
        if self.leaves_out(&wish) {
            return self.is_left_out(row.path);
        }
        let planned = |stage| {
            let deed = ChangeDeed::Place { version: head.version.clone(), stage: Some(stage), over };
            Planned::new(row.path, deed, row.here, Some(head))
        };
        let Some(stage) = self.want(wish, planned) else {
            // The next pass waits until there is room.
            self.planner.is_dirty = true;
            return;
        };
        if let Some(pass) = &mut self.planner.pass {
            pass.wanted.insert(stage);
        }
    }

    // ── waiting for the other end of a move ──

    /// Whether a file whose bytes stand at another path is to wait. Who waits already for its bytes does not.
    fn may_await_moves(&self, path: &RelPath) -> bool {
        let is_early = self.planner.awaits_moves.is_none_or(|until| self.now.time < until);
        is_early && self.is_being_told() && self.goals.at(path).is_none()
    }

    /// Whether somebody who came a moment ago has not said yet what has happened meanwhile.
    pub(super) fn is_being_told(&self) -> bool {
        let is_new = |since: Time| self.now.time < since.after(MOVES_WAIT_MAX);
        self.peers.values().any(|peer| !peer.has_agreed && is_new(peer.since))
    }

    /// All was gone through; `are_any`: something waits.
    pub(super) fn await_moves(&mut self, are_any: bool) {
        let until = self.planner.awaits_moves.unwrap_or(self.now.time.after(MOVES_WAIT_MAX));
        self.planner.awaits_moves = are_any.then_some(until);
        if are_any {
            self.planner.awaits_word = true;
            self.timers.set_no_later(Wake::Plan, until);
        }
    }

    /// When all has been said, what has waited is planned.
    pub(super) fn heed_awaited_word(&mut self) {
        if self.planner.awaits_word && !self.is_being_told() {
            self.planner.awaits_word = false;
            self.planner.is_dirty = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::dot::{Dot, Seen as SeenDots};
    use shoal_proto::hash::ContentId;
    use shoal_proto::heads::{Base, Below};
    use shoal_proto::here::Standing;
    use shoal_proto::id::{DeviceId, ShareId, Writer};
    use shoal_proto::message::Channel;
    use shoal_proto::secret::Side;

    use super::*;
    use crate::io::{Conn, Now, Opened};
    use crate::share::plan::Pass;
    use crate::testing::{path, seen};

    const CONN: Conn = Conn(1);

    fn at(name: &str) -> Triple {
        let (dot, seen, displaced) =
            (Dot::new(Writer::from_bytes([1; 8]), 1), SeenDots::default(), Box::default());
        let here = crate::testing::seen(9).with_content(ContentId::from_bytes([7; 32]));
        let version = here.version.clone();
        let record = Record { path: path(name), version, dot, seen, origin: dot, displaced, copy_of: None };
        Triple {
            path: path(name),
            base: Some(Base::from(&record)),
            here: Some(here),
            standing: Standing::Agrees,
            heads: [record].into_iter().collect(),
            below: Below::Nothing,
        }
    }

    /// A file is to come to `new` whose bytes stand at `old`. Whether they are copied.
    fn copies(share: &mut Share) -> bool {
        let (old, new) = (at("old"), Triple { here: None, base: None, ..at("new") });
        let place = BytesAt::Folder { path: path("old"), seen: seen(9), offset: 0 };
        let head = new.heads.winner().unwrap().clone();
        let placing = vec![Placing { row: new, head, places: vec![place] }];
        share.planner.pass =
            Some(Pass { placing, movers: vec![vec![(path("old"), seen(9))]], ..Pass::default() });
        share.planned_moves(vec![Some(old)]);
        let is_waiting = share.planner.pass.take().unwrap().awaits_moves;
        share.await_moves(is_waiting);
        assert_eq!(share.goals.at(&path("new")).is_none(), is_waiting);
        !is_waiting
    }

    fn share() -> Share {
        let (device, opened) =
            (DeviceId::from_bytes([1; 32]), Opened::new(ShareId::from_bytes([3; 32]), Vec::new()));
        Share::new(device, opened, [2; 32], 0, Now { time: Time(1), wall: 0 })
    }

    /// The other end of a move may come with what somebody has yet to say: so that is waited for, for a while.
    #[test]
    fn what_may_have_been_moved_is_not_copied_before_all_has_been_said() {
        assert!(copies(&mut share()), "there is nobody to wait for");
        for (has_agreed, later) in [(true, Time(2)), (false, Time(1).after(MOVES_WAIT_MAX))] {
            let mut share = share();
            let (other, now) = (DeviceId::from_bytes([2; 32]), share.now);
            share.connected(CONN, other, Channel(0), Side::Listener, [5; 32], now);
            assert!(!copies(&mut share));
            assert_eq!(share.next_wake(), Some(Time(1).after(MOVES_WAIT_MAX)));
            share.planner.is_dirty = false;
            share.heed_awaited_word();
            assert!(!share.planner.is_dirty);
            share.now.time = later;
            share.peers.get_mut(&CONN).unwrap().has_agreed = has_agreed;
            share.heed_awaited_word();
            assert!(share.planner.is_dirty && copies(&mut share));
        }
    }

    /// Who comes again and again, and never says all, keeps nothing waiting for ever.
    #[test]
    fn i2_what_waits_is_copied_though_others_keep_coming() {
        let mut share = share();
        for step in 0..3 {
            share.now.time = Time(1).after(MOVES_WAIT_MAX / 2 * step);
            let (other, now) = (DeviceId::from_bytes([2; 32]), share.now);
            share.connected(CONN, other, Channel(0), Side::Listener, [5; 32], now);
            assert_eq!(copies(&mut share), step == 2);
        }
    }
}
