//! Jobs and what they answer, against the plain rules of `proto`.

mod damage;
mod given;
mod intending;
mod losing;
mod removing;
mod resolving;
mod serving;
mod shared;
mod worlds;

use std::sync::Arc;

use shoal_engine::disk::Seen;
use shoal_engine::history::{Listing, Why};
use shoal_proto::batch::{Batch, Part};
use shoal_proto::digest::Leaf;
use shoal_proto::hash::{ContentId, RecordHash, prefix};
use shoal_proto::heads::{Below, Heads};
use shoal_proto::id::{ShareId, WriterSalt};
use shoal_proto::key::DeviceKey;
use shoal_proto::path::RelPath;
use shoal_proto::publication::{Place, Publication};
use shoal_proto::reconcile::Records;
use shoal_proto::record::{Kind, Mode, Record, Timestamp, Version};
use shoal_proto::roster::{
    Delegation, Described, DeviceName, Entry, Founding, Joined, Offer, Role, Statement,
};
use shoal_proto::segment::{ListHasher, Segment, SegmentList};

use crate::*;

pub(crate) fn key(number: u8) -> Arc<DeviceKey> {
    Arc::new(DeviceKey::from_seed(&[number; 32]))
}

pub(crate) fn founding() -> Founding {
    Founding { creator: key(1).device(), random: [2; 32], cut: 1 }
}

pub(crate) fn share() -> ShareId {
    founding().share()
}

pub(crate) fn index(salt: u8) -> Index {
    Index::create(At::Memory, founding(), key(1), WriterSalt([salt; 16])).unwrap()
}

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

pub(crate) fn file(content: u8, mtime: i64) -> Here {
    let kind = Kind::File { size: u64::from(content), content: ContentId::from_bytes([content; 32]) };
    let mtime = Timestamp::new(mtime, 5).unwrap();
    Here { version: Version::new(kind, mtime, Mode::from_bits(0o644)), inode: 3, ctime: Timestamp::ZERO }
}

pub(crate) fn folder() -> Here {
    let version = Version::new(Kind::Directory, Timestamp::ZERO, Mode::IMPLIED_DIRECTORY);
    Here { version, inode: 4, ctime: Timestamp::ZERO }
}

/// A scan finds this, compared with what the index holds.
pub(crate) fn see(index: &mut Index, at: &str, found: Option<Here>) -> (Outcome, Vec<Batch>) {
    let compared = index.triple(&path(at)).unwrap().and_then(|triple| triple.here);
    let answer = index.observe(vec![Observed { path: path(at), compared, found }], &[]).unwrap();
    (answer.outcomes[0], answer.batches)
}

pub(crate) fn verified(batches: &[Batch]) -> Vec<Verified> {
    batches.iter().map(|batch| Verified::check(batch.clone(), &share()).unwrap()).collect()
}

/// The other index takes the batches in.
pub(crate) fn tell(index: &mut Index, batches: &[Batch]) -> Merged {
    index.merge(verified(batches)).unwrap()
}

pub(crate) fn done(merged: Merged) -> MergeAnswer {
    match merged {
        Merged::Done(answer) => answer,
        Merged::RolledBack => panic!("rolled back"),
    }
}

/// All that the one has.
pub(crate) fn all(index: &Index) -> Vec<Batch> {
    index.everything(None, usize::MAX).unwrap().batches
}

/// The disk shows the winner, or nothing.
pub(crate) fn show(index: &mut Index, at: &str) -> PlacedOutcome {
    let triple = index.triple(&path(at)).unwrap().unwrap();
    let winner = triple.heads.winner().unwrap();
    let now = (!winner.version.kind.is_gone()).then(|| Here {
        version: winner.version.clone(),
        inode: 9,
        ctime: Timestamp::ZERO,
    });
    let (planned, head) = (triple.here, Some(winner.clone()));
    index.placed(vec![Placed { path: path(at), planned, now, head, is_moved: false }], &[]).unwrap()[0]
}

/// The versions that contradict each other at a path.
pub(crate) fn versions(index: &Index, at: &str) -> Vec<RecordHash> {
    let triple = index.triple(&path(at)).unwrap().unwrap();
    triple.heads.conflict(triple.below).into_iter().map(Record::hash).collect()
}

/// What the tables hold follows from the database, sums and flags included.
pub(crate) fn check(index: &Index) {
    let memory = memory::Memory::load(&index.conn, index.life.founding).unwrap();
    assert_eq!(memory.digests, index.memory.digests);
    assert_eq!(memory.counts, index.memory.counts);
    check_contents(index, &memory);
    assert_eq!(memory.heads, index.memory.heads);
    assert_eq!(memory.writers, index.memory.writers);
    let mut diverging = Vec::new();
    for triple in index.paths_below(None, None, usize::MAX).unwrap() {
        let below = index.paths_below(Some(&triple.path), None, usize::MAX).unwrap();
        let is_live =
            |triple: &Triple| triple.heads.winner().is_some_and(|head| !head.version.kind.is_gone());
        let expected = if below.iter().any(is_live) { Below::Live } else { Below::Nothing };
        assert_eq!(triple.below, expected, "{:?}", triple.path);
        assert_eq!(memory.folders.below(&share(), &triple.path), expected);
        let leaf = Leaf::of(&share(), &triple.path);
        for head in triple.heads.iter() {
            assert!(index.fingerprints(leaf).contains(&head.hash()));
            assert_eq!(index.record(&head.hash()).unwrap().as_ref(), Some(head));
            assert!(index.records_of(leaf).unwrap().contains(head));
        }
        if triple.is_diverging() {
            diverging.push(triple);
        }
    }
    assert_eq!(index.diverging(None, usize::MAX).unwrap(), diverging);
    for batch in all(index) {
        batch.verify(&share()).unwrap();
    }
}

/// How many files have each content is what a look at all paths gives, at once and after loading.
fn check_contents(index: &Index, loaded: &memory::Memory) {
    let mut counts = std::collections::BTreeMap::<ContentId, u32>::new();
    for triple in index.paths_below(None, None, usize::MAX).unwrap() {
        let kind = triple.here.map(|here| here.version.kind);
        for content in kind.iter().filter_map(row::file_content) {
            *counts.entry(content).or_default() += 1;
        }
    }
    for memory in [&index.memory, loaded] {
        assert_eq!(memory.on_disk.contents(), counts.len() as u64);
        for (content, count) in &counts {
            assert_eq!(memory.on_disk.count(prefix(content.as_bytes())), *count);
        }
    }
}

#[test]
fn what_a_scan_finds_is_published_once() {
    let mut ana = index(1);
    let (outcome, batches) = see(&mut ana, "a", Some(file(7, 10)));
    assert_eq!((outcome, batches.len()), (Outcome::Published, 1));
    assert_eq!(batches[0].verify(&share()).unwrap().1.len(), 1);
    assert_eq!(see(&mut ana, "a", Some(file(7, 10))), (Outcome::Unchanged, vec![]));
    assert_eq!(see(&mut ana, "a", Some(Here { inode: 99, ..file(7, 10) })).0, Outcome::Unchanged);
    assert_eq!(ana.triple(&path("a")).unwrap().unwrap().here.unwrap().inode, 99);
    assert_eq!(ana.counts(), Counts { files: 1, bytes: 7, ..Counts::default() });

    assert_eq!(see(&mut ana, "a", Some(file(7, 11))).0, Outcome::Published, "a touch");
    let (outcome, batches) = see(&mut ana, "a", None);
    assert_eq!((outcome, ana.life().counter), (Outcome::Published, 3));
    assert_eq!(batches[0].records[0].version.kind, Kind::Gone { of: ContentId::from_bytes([7; 32]) });
    assert_eq!((ana.counts(), ana.diverging(None, 9).unwrap()), (Counts::default(), vec![]));
    check(&ana);
}

#[test]
fn what_is_to_come_is_counted_until_it_is_there() {
    let (mut ana, mut ben) = (index(1), index(2));
    let batches = ["a", "d/b"].map(|at| see(&mut ana, at, Some(file(7, 10))).1).concat();
    tell(&mut ben, &batches);
    let to_come = |index: &Index| (index.counts().to_come, index.counts().bytes_to_come);
    assert_eq!(to_come(&ben), (2, 14));
    check(&ben);
    show(&mut ben, "a");
    assert_eq!(to_come(&ben), (1, 7));
    // What is to go is nothing that is to come.
    tell(&mut ben, &see(&mut ana, "a", None).1);
    assert_eq!((to_come(&ben), ben.counts().diverging), ((1, 7), 3));
    check(&ben);
}

/// I22 and section 10: an observation of something that changed meanwhile is not noted.
#[test]
fn an_observation_compared_with_another_here_is_left() {
    let mut ana = index(1);
    see(&mut ana, "a", Some(file(7, 10)));
    let before = ana.triple(&path("a")).unwrap();
    let late = Observed { path: path("a"), compared: None, found: Some(file(8, 20)) };
    assert_eq!(
        ana.observe(vec![late], &[]).unwrap(),
        ObserveAnswer { outcomes: vec![Outcome::Changed], batches: vec![] }
    );
    let placed =
        Placed { path: path("a"), planned: None, now: Some(file(8, 20)), head: None, is_moved: false };
    assert_eq!(ana.placed(vec![placed], &[]).unwrap(), [PlacedOutcome::Changed]);
    assert_eq!(ana.triple(&path("a")).unwrap(), before);
}

#[test]
fn what_is_merged_diverges_until_the_disk_shows_it() {
    let (mut ana, mut ben) = (index(1), index(2));
    let (_, batches) = see(&mut ana, "d/a", Some(file(7, 10)));
    let answer = done(tell(&mut ben, &batches));
    assert_eq!((answer.new.len(), answer.leaves.len()), (1, 1));
    let work = ben.diverging(None, 9).unwrap();
    let [implied, file] = &*work else { panic!("{work:?}") };
    assert_eq!((&implied.path, implied.heads.is_empty()), (&path("d"), true), "nobody has published it");
    assert_eq!(implied.heads.shown(implied.below), shoal_proto::heads::Shown::ImpliedDirectory);
    assert_eq!((file.here.clone(), file.base.clone()), (None, None));
    let made = Placed { path: path("d"), planned: None, now: Some(folder()), head: None, is_moved: false };
    ben.placed(vec![made], &[]).unwrap();
    assert_eq!(show(&mut ben, "d/a"), PlacedOutcome::Agreed);
    assert_eq!(ben.diverging(None, 9).unwrap(), []);
    assert_eq!(ben.triple(&path("d/a")).unwrap().unwrap().base, file.heads.base());
    assert_eq!(ben.memory.digests, ana.memory.digests);

    // A deletion diverges too, until the disk is known to show nothing.
    let (_, batches) = see(&mut ana, "d/a", None);
    tell(&mut ben, &batches);
    assert_eq!(ben.counts().diverging, 2, "the folder is there for nothing now");
    assert_eq!((show(&mut ben, "d/a"), ben.counts().diverging), (PlacedOutcome::Agreed, 1));
    let removed = Placed { path: path("d"), planned: Some(folder()), now: None, head: None, is_moved: false };
    ben.placed(vec![removed], &[]).unwrap();
    assert_eq!(ben.counts().diverging, 0);
    check(&ben);
}

/// I14.
#[test]
fn i14_the_same_batches_again_change_nothing() {
    let (mut ana, mut ben) = (index(1), index(2));
    let mut batches = see(&mut ana, "a", Some(file(1, 10))).1;
    batches.extend(see(&mut ana, "a", Some(file(2, 11))).1);
    batches.extend(see(&mut ana, "b", Some(file(3, 11))).1);
    assert_eq!(done(tell(&mut ben, &batches)).new.len(), 2, "what was replaced in the same call is no news");
    let changes = ben.memory.digests.changes();
    assert_eq!(done(tell(&mut ben, &batches)), MergeAnswer::default());
    assert_eq!(done(tell(&mut ana, &batches)), MergeAnswer::default(), "own ones that come back");
    assert_eq!(ben.memory.digests.changes(), changes);
    check(&ben);
}

#[test]
fn a_conflict_is_resolved_and_the_loser_is_copied() {
    let (mut ana, mut ben) = (index(1), index(2));
    let one = see(&mut ana, "a", Some(file(1, 10))).1;
    let other = see(&mut ben, "a", Some(file(2, 20))).1;
    tell(&mut ana, &other);
    assert_eq!(ana.triple(&path("a")).unwrap().unwrap().heads.conflict(Below::Nothing).len(), 2);
    let Resolved::Published(batches) = ana.resolve(&path("a"), &versions(&ana, "a"), vec![]).unwrap() else {
        panic!("no resolution")
    };
    assert_eq!((batches.len(), batches[0].records.len()), (1, 2));
    assert_eq!(ana.resolve(&path("a"), &versions(&ana, "a"), vec![]).unwrap(), Resolved::NoConflict);
    tell(&mut ben, &one);
    tell(&mut ben, &batches);
    assert_eq!(ben.memory.digests, ana.memory.digests);
    check(&ana);
    check(&ben);
}

/// An edit of what won covers what lost, in the same publication.
#[test]
fn an_edit_of_the_winner_brings_the_copies_along() {
    let (mut ana, mut ben) = (index(1), index(2));
    see(&mut ana, "a", Some(file(1, 20)));
    let other = see(&mut ben, "a", Some(file(2, 10))).1;
    tell(&mut ana, &other);
    let (outcome, batches) = see(&mut ana, "a", Some(file(3, 30)));
    assert_eq!((outcome, batches[0].records.len()), (Outcome::Published, 2));
    assert!(batches[0].records[0].copy_of.is_some(), "what was displaced goes before what displaces it");
    check(&ana);
}

/// agreement.md, 14: an index that was put back used its numbers again. What its deletion had seen as its record 1 is not
/// what others know by that name, and comes back to it.
#[test]
fn i18_what_a_rolled_back_life_had_seen_of_itself_covers_nothing() {
    let (mut before, mut ben) = (index(1), index(2));
    tell(&mut ben, &see(&mut before, "a", Some(file(1, 10))).1);
    let mut restored = index(1);
    see(&mut restored, "a", Some(file(2, 20)));
    see(&mut restored, "a", None);
    assert_eq!(restored.merge(verified(&all(&before))).unwrap(), Merged::RolledBack);
    let again = restored.new_writer(WriterSalt([9; 16]), None).unwrap();
    tell(&mut ben, &again);
    let heads = ben.triple(&path("a")).unwrap().unwrap().heads;
    assert_eq!((heads.iter().len(), heads.winner().unwrap().version == file(1, 10).version), (2, true));
    tell(&mut restored, &all(&ben));
    assert_eq!(restored.memory.digests, ben.memory.digests);
    check(&restored);
}

/// Found by a simulated world (I2): a new mode of bytes that others have deleted makes no record. It must not be taken for
/// a change that is still to be said, for ever.
#[test]
fn i2_a_touch_of_what_was_replaced_gives_way() {
    let (mut ana, mut ben) = (index(1), index(2));
    let made = see(&mut ana, "a", Some(file(1, 10))).1;
    tell(&mut ben, &made);
    show(&mut ben, "a");
    let gone = see(&mut ana, "a", None).1;
    tell(&mut ben, &gone);
    assert_eq!(see(&mut ben, "a", Some(file(1, 20))), (Outcome::Silent, vec![]));
    let triple = ben.triple(&path("a")).unwrap().unwrap();
    let decision = shoal_engine::planner::decide(&triple, shoal_engine::planner::Rights::Writer);
    assert_eq!(decision.disk, shoal_engine::planner::Deed::Remove(triple.heads.winner()));
    check(&ben);
}

/// Found by a simulated world (I1): what is deleted before anything may be published is said later.
#[test]
fn i1_a_deletion_that_could_not_be_said_is_said_later() {
    let mut ana = index(1);
    see(&mut ana, "a", Some(file(1, 10)));
    ana.set_halted(true).unwrap();
    assert_eq!(see(&mut ana, "a", None).0, Outcome::LocalDifference);
    assert_eq!(see(&mut ana, "a", None).0, Outcome::Unchanged);
    ana.set_halted(false).unwrap();
    let (outcome, batches) = see(&mut ana, "a", None);
    assert_eq!((outcome, batches.len()), (Outcome::Published, 1));
    check(&ana);
}

/// I26.
#[test]
fn i26_a_reader_publishes_nothing_and_its_records_are_not_merged() {
    let mut ana = index(1);
    let batches = see(&mut ana, "a", Some(file(1, 10))).1;
    let entries = joined(2, Role::Reader);
    let mut reader = Index::create(At::Memory, founding(), key(2), WriterSalt([2; 16])).unwrap();
    assert_eq!(see(&mut reader, "b", Some(file(9, 10))), (Outcome::LocalDifference, vec![]));
    assert_eq!(reader.add_entries(entries.clone()).unwrap().new, 1);
    reader.set_first_contact().unwrap();
    tell(&mut reader, &batches);
    show(&mut reader, "a");
    assert_eq!(see(&mut reader, "a", Some(file(5, 50))), (Outcome::LocalDifference, vec![]));
    assert_eq!(see(&mut reader, "b", Some(file(8, 10))), (Outcome::LocalDifference, vec![]));
    assert!(matches!(
        reader.resolve(&path("a"), &versions(&reader, "a"), vec![]),
        Err(IndexError::MayNotPublish)
    ));
    assert_eq!((reader.life().counter, reader.counts().diverging), (0, 2));
    let differences = |at: Option<&str>| {
        let (found, more) = reader.local_differences(at.map(path).as_ref(), 2).unwrap();
        assert_eq!(more, 0);
        found.into_iter().map(|row| row.path.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(differences(None), ["a", "b"]);
    assert_eq!((differences(Some("b")), differences(Some("c")).len()), (vec!["b".to_owned()], 0));
    // A file where the share may have a folder.
    assert_eq!(differences(Some("a/x")), ["a"]);
    for at_most in 0..2 {
        let (found, more) = reader.local_differences(None, at_most).unwrap();
        let found: Vec<RelPath> = found.into_iter().map(|row| row.path).collect();
        assert_eq!(
            (found, more),
            ([path("a")][..at_most].to_vec(), 2 - at_most as u64),
            "the first ones (I30)"
        );
    }
    check(&reader);

    // What it signs all the same, nobody takes.
    let record = Record { path: path("c"), ..batches[0].records[0].clone() };
    let writer = shoal_proto::id::Writer::drawn(&key(2).device(), &share(), &WriterSalt([2; 16]));
    let dot = shoal_proto::dot::Dot::new(writer, 1);
    let forged = publish(2, 2, None, vec![Record { dot, origin: dot, ..record }]);
    ana.add_entries(entries).unwrap();
    let answer = done(tell(&mut ana, std::slice::from_ref(&forged)));
    assert_eq!((answer.new.len(), answer.refused[0].1), (0, shoal_proto::roster::Standing::Reader));
    assert!(ana.triple(&path("c")).unwrap().is_none());
}

/// First contact: nothing is minted before; what was seen until then is published when it is looked at again.
#[test]
fn a_joiner_adopts_what_is_equal_and_publishes_the_rest_after_first_contact() {
    let mut ana = index(1);
    let mut batches = see(&mut ana, "equal", Some(file(1, 10))).1;
    batches.extend(see(&mut ana, "gone", Some(file(2, 10))).1);
    batches.extend(see(&mut ana, "gone", None).1);
    let entries = joined(2, Role::Writer);
    ana.add_entries(entries.clone()).unwrap();
    let mut ben = Index::create(At::Memory, founding(), key(2), WriterSalt([2; 16])).unwrap();
    ben.add_entries(entries).unwrap();
    for (at, here) in [("equal", file(1, 99)), ("gone", file(2, 10)), ("own", file(3, 10))] {
        assert_eq!(see(&mut ben, at, Some(here)), (Outcome::LocalDifference, vec![]));
    }
    tell(&mut ben, &batches);
    ben.set_first_contact().unwrap();
    assert_eq!(see(&mut ben, "equal", Some(file(1, 99))), (Outcome::Adopted, vec![]));
    assert_eq!(ben.triple(&path("equal")).unwrap().unwrap().standing, Standing::Behind);
    assert_eq!(see(&mut ben, "equal", Some(file(1, 99))), (Outcome::Unchanged, vec![]), "no touch");
    for _ in 0..2 {
        assert_eq!(see(&mut ben, "gone", Some(file(2, 10))), (Outcome::AdoptedDeletion, vec![]));
    }
    assert_eq!(see(&mut ben, "own", Some(file(3, 10))).0, Outcome::Published);
    assert_eq!(
        (show(&mut ben, "equal"), show(&mut ben, "gone")),
        (PlacedOutcome::Agreed, PlacedOutcome::Agreed)
    );
    assert_eq!(ben.diverging(None, 9).unwrap(), []);
    check(&ben);
}

#[test]
fn a_halted_share_publishes_nothing() {
    let mut ana = index(1);
    ana.set_halted(true).unwrap();
    assert_eq!(see(&mut ana, "a", Some(file(1, 10))), (Outcome::LocalDifference, vec![]));
    ana.set_halted(false).unwrap();
    assert_eq!(see(&mut ana, "a", Some(file(1, 10))).0, Outcome::Published);
}

/// A disk that keeps whole seconds makes no touch of it.
#[test]
fn i13_a_coarser_time_than_the_heads_is_no_touch() {
    let (mut ana, mut ben) = (index(1), index(2));
    let batches = see(&mut ana, "a", Some(file(1, 10))).1;
    tell(&mut ben, &batches);
    let triple = ben.triple(&path("a")).unwrap().unwrap();
    let mut coarse = file(1, 10);
    coarse.version.mtime = Timestamp::new(10, 0).unwrap();
    let head = triple.heads.winner().cloned();
    let placed = Placed { path: path("a"), planned: None, now: Some(coarse.clone()), head, is_moved: false };
    assert_eq!(ben.placed(vec![placed], &[]).unwrap(), [PlacedOutcome::Agreed]);
    assert_eq!(see(&mut ben, "a", Some(coarse.clone())), (Outcome::Unchanged, vec![]));
    coarse.version.mode = Mode::from_bits(0o600);
    let (_, batches) = see(&mut ben, "a", Some(coarse));
    assert_eq!(batches[0].records[0].version.mtime, Timestamp::new(10, 5).unwrap(), "the mode alone is new");
}

/// I13: what others had seen and replaced by the time it was put in place is no edit of this device's user.
#[test]
fn i13_a_placed_head_that_was_seen_meanwhile_is_agreed_with() {
    let (mut ana, mut ben) = (index(1), index(2));
    let first = see(&mut ana, "a", Some(file(1, 10))).1;
    let head = Some(first[0].records[0].clone());
    tell(&mut ben, &first);
    let second = see(&mut ana, "a", Some(file(2, 10))).1;
    tell(&mut ben, &second);
    let placed = Placed { path: path("a"), planned: None, now: Some(file(1, 10)), head, is_moved: false };
    assert_eq!(ben.placed(vec![placed], &[]).unwrap(), [PlacedOutcome::Agreed]);
    let triple = ben.diverging(None, 9).unwrap().remove(0);
    assert_eq!((triple.here, triple.standing), (Some(file(1, 10)), Standing::Agrees));
    assert_eq!(triple.base.unwrap().version, first[0].records[0].version);
    // What the user makes of it has seen what was placed, and not what replaced it.
    let edit = see(&mut ben, "a", Some(file(3, 10))).1;
    assert!(edit[0].records[0].seen.includes(first[0].records[0].dot));
    assert!(!edit[0].records[0].seen.includes(second[0].records[0].dot));
}

/// A head that does not count any more, and that nobody has seen, is agreed with by nobody.
#[test]
fn a_placed_record_that_no_head_knows_of_is_only_here() {
    let (mut ana, mut ben) = (index(1), index(2));
    let first = see(&mut ana, "a", Some(file(1, 10))).1;
    let head = Some(first[0].records[0].clone());
    let placed = Placed { path: path("a"), planned: None, now: Some(file(1, 10)), head, is_moved: false };
    assert_eq!(ben.placed(vec![placed], &[]).unwrap(), [PlacedOutcome::OnlyHere]);
}

#[test]
fn a_folder_is_implied_while_something_live_lies_below() {
    let (mut ana, mut ben) = (index(1), index(2));
    for (at, here) in [("d", folder()), ("d/x", file(1, 10))] {
        let batches = see(&mut ana, at, Some(here)).1;
        tell(&mut ben, &batches);
        show(&mut ben, at);
    }
    // Ben deletes the folder's record; beside it Ana has a file in it.
    let gone = [see(&mut ben, "d/x", None).1, see(&mut ben, "d", None).1].concat();
    let edit = see(&mut ana, "d/y", Some(file(2, 10))).1;
    tell(&mut ana, &gone);
    let triple = ana.triple(&path("d")).unwrap().unwrap();
    assert_eq!((triple.below, triple.is_diverging()), (Below::Live, true));
    tell(&mut ben, &edit);
    assert_eq!(see(&mut ben, "d", Some(folder())), (Outcome::Silent, vec![]), "nobody publishes it");
    let children: Vec<_> =
        ben.children(None, None, 9).unwrap().into_iter().map(|triple| triple.path).collect();
    assert_eq!(children, [path("d")]);
    check(&ana);
    check(&ben);
}

#[test]
fn children_are_listed_without_what_lies_deeper() {
    let mut ana = index(1);
    for at in ["a", "a.txt", "a0", "b/c/d", "b/x", "b/x/y", "b/x0", "b0"] {
        see(&mut ana, at, Some(file(1, 10)));
    }
    let names = |found: Vec<Triple>| found.iter().map(|triple| triple.path.to_string()).collect::<Vec<_>>();
    assert_eq!(names(ana.children(None, None, 9).unwrap()), ["a", "a.txt", "a0", "b", "b0"]);
    assert_eq!(names(ana.children(Some(&path("b/c")), None, 9).unwrap()), ["b/c/d"]);
    assert_eq!(names(ana.children(Some(&path("b")), None, 9).unwrap()), ["b/c", "b/x", "b/x0"]);
    assert_eq!(names(ana.children(None, Some(&path("a")), 2).unwrap()), ["a.txt", "a0"]);
    assert_eq!(names(ana.paths_below(Some(&path("b")), Some(&path("b/x")), 9).unwrap()), ["b/x/y", "b/x0"]);
}

#[test]
fn a_move_stays_in_one_publication_and_none_is_too_large() {
    let mut ana = index(1);
    let name = |number: u32, to: &str| path(&format!("{to}/{number:04}"));
    let here = |number: u32| {
        let mut bytes = [1; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let kind = Kind::File { size: 5, content: ContentId::from_bytes(bytes) };
        Here { version: Version::new(kind, Timestamp::ZERO, Mode::ZERO), ..folder() }
    };
    let new = |number| Observed { path: name(number, "a"), compared: None, found: Some(here(number)) };
    let first = ana.observe((0..1500).map(new).collect(), &[]).unwrap().batches;
    assert_eq!(first.iter().map(|batch| batch.records.len()).collect::<Vec<_>>(), [1024, 476]);
    let gone = |number| Observed { path: name(number, "a"), compared: Some(here(number)), found: None };
    let come = |number| Observed { path: name(number, "b"), compared: None, found: Some(here(number)) };
    let moved = ana.observe((0..1500).map(gone).chain((0..1500).map(come)).collect(), &[]).unwrap().batches;
    assert_eq!(moved.len(), 3);
    let moves: usize = moved.iter().map(|batch| shoal_proto::moves::moves(&batch.records).len()).sum();
    assert_eq!(moves, 1500);
    for (batch, next) in moved.iter().zip(&moved[1..]) {
        assert_eq!(next.publication.previous, batch.publication.hash(&share()));
    }
    check(&ana);
}

/// Records are proved one by one where not all of a publication are heads, and passed on so.
#[test]
fn lone_records_are_proved_and_passed_on() {
    let (mut ana, mut ben, mut cem) = (index(1), index(2), index(3));
    let seen =
        ["a", "b", "c"].map(|at| Observed { path: path(at), compared: None, found: Some(file(1, 10)) });
    let first = ana.observe(seen.into(), &[]).unwrap().batches;
    let hashes: Vec<RecordHash> = first[0].records.iter().map(Record::hash).collect();
    assert_eq!(ana.batches(&hashes).unwrap(), first);
    let some = ana.batches(&hashes[1..2]).unwrap();
    assert!(matches!(&some[0].part, Part::Some(proofs) if proofs.len() == 1));
    tell(&mut ben, &some);
    let batches = all(&ben);
    tell(&mut cem, &batches);
    assert_eq!(
        (cem.record(&hashes[1]).unwrap().is_some(), cem.memory.digests == ben.memory.digests),
        (true, true)
    );
    assert!(cem.batches(&hashes[..1]).unwrap().is_empty(), "it has never heard of it");

    // Where two of three are left, two are given.
    see(&mut ana, "a", Some(file(2, 20)));
    assert_eq!(all(&ana).iter().map(|batch| batch.records.len()).collect::<Vec<_>>(), [2, 1]);
    // When the last one goes, so do the proofs; the header stays.
    see(&mut ana, "b", None);
    see(&mut ana, "c", None);
    let count = |table: &str| {
        ana.conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    let (hashes, publications): (i64, i64) = (count("record_hashes"), count("publications"));
    assert_eq!((hashes, publications), (3, 4));
    check(&ana);
    check(&cem);
}

#[test]
fn everything_comes_in_pages() {
    let (mut ana, mut ben) = (index(1), index(2));
    for number in 0..5 {
        see(&mut ana, &format!("f{number}"), Some(file(1, 10)));
    }
    let (mut after, mut pages) = (None, 0);
    loop {
        let page = ana.everything(after, 2).unwrap();
        tell(&mut ben, &page.batches);
        pages += 1;
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    assert_eq!((pages, ben.memory.digests == ana.memory.digests), (3, true));
}

/// I18: a copy of an index that went on is told so by its own records.
#[test]
fn i18_a_rolled_back_index_merges_nothing_and_says_its_own_anew() {
    let (mut ana, mut ben) = (index(1), index(2));
    let first = see(&mut ana, "a", Some(file(1, 10))).1;
    // As it was after its first record, and went on in another way than others know.
    let mut restored = index(1);
    see(&mut restored, "a", Some(file(1, 10)));
    let agreed = restored.life().last;
    let unknown = see(&mut ana, "b", Some(file(2, 10))).1;
    see(&mut restored, "c", Some(file(3, 10)));
    tell(&mut ben, &[first, unknown].concat());

    let before = restored.memory.digests.clone();
    let batches = all(&ben);
    assert_eq!(tell(&mut restored, &batches), Merged::RolledBack);
    assert_eq!(restored.memory.digests, before);
    let old = restored.life().writer;
    let again = restored.new_writer(WriterSalt([77; 16]), agreed).unwrap();
    assert_eq!((again.len(), again[0].records[0].path.clone()), (1, path("c")));
    assert_ne!(restored.life().writer, old);
    assert!(!restored.triple(&path("c")).unwrap().unwrap().is_diverging());
    done(tell(&mut restored, &batches));
    tell(&mut ben, &again);
    assert_eq!(ben.memory.digests, restored.memory.digests);
    check(&restored);
}

/// Found by a simulated world (I1): two touched the same bytes, and the disk shows what the other one said. What this one
/// says anew is not what it shows.
#[test]
fn i1_what_a_new_writer_says_anew_is_not_taken_for_what_is_shown() {
    let (mut ana, mut ben) = (index(1), index(2));
    see(&mut ana, "a", Some(file(1, 10)));
    tell(&mut ana, &see(&mut ben, "a", Some(file(1, 30))).1);
    show(&mut ana, "a");
    let version = |index: &Index| index.triple(&path("a")).unwrap().unwrap().base.unwrap().version;
    assert_eq!(version(&ana), file(1, 30).version);
    let again = ana.new_writer(WriterSalt([77; 16]), None).unwrap();
    assert_eq!((again.len(), version(&ana)), (1, file(1, 30).version));
    tell(&mut ben, &again);
    assert_eq!(ben.memory.digests, ana.memory.digests);
    check(&ana);
}

/// A record that has seen more of this writer than there is: the record it saw would be overwritten by its number.
#[test]
fn i18_a_record_that_has_seen_the_future_is_a_sign_of_a_roll_back() {
    let (mut ana, mut ben, mut restored) = (index(1), index(2), index(1));
    let first = see(&mut ana, "a", Some(file(1, 10))).1;
    tell(&mut ben, &first);
    show(&mut ben, "a");
    let edit = see(&mut ben, "a", Some(file(2, 20))).1;
    assert_eq!(tell(&mut restored, &edit), Merged::RolledBack);
}

#[test]
fn a_record_that_claims_an_absurd_counter_is_parked() {
    let mut ana = index(1);
    let mut record = see(&mut index(4), "a", Some(file(1, 10))).1[0].records[0].clone();
    let far = shoal_proto::dot::Dot::new(shoal_proto::id::Writer::from_bytes([9; 8]), (1 << 20) + 1);
    record.seen = shoal_proto::dot::Seen::new(vec![far]).unwrap();
    let hash = record.hash();
    let batch = publish(1, 4, None, vec![record]);
    assert_eq!(done(tell(&mut ana, &[batch])).parked, [hash]);
    assert!(ana.triple(&path("a")).unwrap().is_none());
}

#[test]
fn lists_of_segments_live_as_long_as_something_names_them() {
    let mut ana = index(1);
    let segment =
        |byte: u8, length| Segment { id: shoal_proto::hash::SegmentId::from_bytes([byte; 32]), length };
    let segments = [segment(1, 300_000), segment(2, 400_000), segment(3, 7)];
    let mut hasher = ListHasher::new();
    segments.iter().for_each(|segment| hasher.push(*segment).unwrap());
    let listed = hasher.finish();
    let list = ListPart::Segments(SegmentList::new(segments.to_vec()).unwrap());
    assert!(matches!(ana.put_list(ContentId::from_bytes([5; 32]), None, &list), Err(IndexError::List(_))));
    ana.put_list(listed.content, None, &list).unwrap();
    ana.put_list(listed.content, None, &list).unwrap();
    let mut here = file(1, 10);
    here.version.kind = Kind::File { size: listed.size, content: listed.content };
    see(&mut ana, "a", Some(here.clone()));
    assert_eq!(ana.list(&listed.content, None).unwrap(), Some(list.clone()));
    let seen = Seen::from(&here);
    let at = |offset| vec![BytesAt::Folder { path: path("a"), seen: seen.clone(), offset }];
    assert_eq!(ana.places(&listed.content).unwrap(), at(0));
    assert_eq!(ana.places_of_segment(&segments[2].id).unwrap(), at(700_000));

    let row = Kept { content: Some(listed.content), size: listed.size, ..kept(4, "a") };
    ana.add_history(std::slice::from_ref(&row)).unwrap();
    see(&mut ana, "a", Some(file(9, 20)));
    assert_eq!(ana.history(&listing(Some("a"), None, 9)).unwrap(), std::slice::from_ref(&row));
    assert_eq!(ana.history(&listing(None, Some(4), 9)).unwrap(), []);
    let within = vec![BytesAt::History { number: 4, size: listed.size, mtime: row.mtime, offset: 300_000 }];
    assert_eq!(ana.places_of_segment(&segments[1].id).unwrap(), within);
    assert_eq!((ana.remove_history(&[4, 5]).unwrap(), ana.list(&listed.content, None).unwrap()), (1, None));
    assert_eq!(ana.places_of_segment(&segments[1].id).unwrap(), []);
    ana.put_list(listed.content, None, &list).unwrap();
    assert_eq!(ana.forget_unnamed_lists().unwrap(), 1);
    check(&ana);
}

/// I17: a job that fails half-way leaves nothing behind, in the database and in memory.
#[test]
fn i17_a_job_that_fails_leaves_nothing() {
    let mut ana = index(1);
    see(&mut ana, "a", Some(file(1, 10)));
    let (digests, life) = (ana.memory.digests.clone(), *ana.life());
    let failed = ana.job(|work| {
        let record = work.row(&path("a"))?.heads().iter().next().unwrap().clone();
        let dot = work.next_dot()?;
        let record = Record { path: path("b"), dot, origin: dot, ..record };
        work.mint(shoal_proto::heads::Transaction { record, copies: vec![] })?;
        *work.is_dirty = true;
        work.memory.counts.files = 99;
        work.conn.execute("DELETE FROM publications", []).unwrap();
        Err::<(), _>(IndexError::damaged("for the test"))
    });
    assert!(failed.is_err());
    assert_eq!((&ana.memory.digests, *ana.life()), (&digests, life));
    check(&ana);
    assert_eq!(see(&mut ana, "b", Some(file(2, 10))).0, Outcome::Published);
}

/// A version that was filed, of which nobody knows the content.
pub(crate) fn kept(number: u64, at: &str) -> Kept {
    Kept {
        number,
        path: Some(path(at)),
        content: None,
        size: 7,
        mtime: Timestamp::new(70, 2).unwrap(),
        when: Timestamp::new(99, 1).unwrap(),
        by: Some(key(2).device()),
        why: Why::Replaced,
        is_late: false,
    }
}

pub(crate) fn listing(at: Option<&str>, before: Option<u64>, at_most: usize) -> Listing {
    Listing { at: at.map(path), before, at_most }
}

/// The publication of these records by device and salt of these numbers.
fn publish(device: u8, salt: u8, after: Option<Place>, records: Vec<Record>) -> Batch {
    let hashes: Vec<_> = records.iter().map(Record::hash).collect();
    let publication =
        Publication::sign(&key(device), &share(), WriterSalt([salt; 16]), after, &hashes).unwrap();
    Batch { publication, part: Part::Whole, records }
}

/// A device came in by the creator's invite.
fn joined(device: u8, role: Role) -> Vec<Entry> {
    let invite = shoal_proto::key::InviteSecret::from_seed(&[50 + device; 32]);
    let offer = Offer { role, uses: 1, not_after: u64::MAX };
    let after = None;
    let delegation = Delegation::sign(&key(1), &share(), invite.key(), offer, after).unwrap();
    let described = Described { name: DeviceName::parse("ben").unwrap(), box_key: key(device).box_key() };
    let joins = Joined::by(&invite, delegation, &share(), &key(device).device(), described);
    let joins = vec![Entry::sign(&key(device), &share(), None, Statement::Joined(Box::new(joins))).unwrap()];
    assert_eq!(
        shoal_proto::roster::Roster::of(&founding(), &joins).role(&key(device).device()),
        Some(role),
        "the entries let it in"
    );
    joins
}
