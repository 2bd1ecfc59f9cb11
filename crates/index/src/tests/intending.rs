//! What the disk was asked for, and what is found of it when the process that asked is gone.

use shoal_engine::index::Intent;

use super::*;

/// Ben knows of ana's first version at "a", has asked his disk for it, and starts anew once he knows of her second.
fn ben_started_anew() -> Index {
    let (mut ana, mut ben) = (index(1), index(2));
    tell(&mut ben, &see(&mut ana, "a", Some(file(1, 10))).1);
    let first = ben.triple(&path("a")).unwrap().unwrap().heads.winner().cloned().unwrap();
    let known = ben.intend(vec![(path("a"), Intent::Head(first)), (path("b"), Intent::Other)]).unwrap();
    assert_eq!(known, [ben.triple(&path("a")).unwrap(), None]);
    let second = see(&mut ana, "a", Some(file(2, 20))).1;
    tell(&mut ben, &second);
    let ben = ben.fork().unwrap();
    check(&ben);
    ben
}

fn heads(index: &Index) -> usize {
    index.triple(&path("a")).unwrap().unwrap().heads.iter().len()
}

/// I4, I6: a version that came to stand there before the process ended is no edit of its user's.
#[test]
fn i4_what_was_intended_and_is_found_is_taken_for_placed() {
    let mut ben = ben_started_anew();
    let (outcome, batches) = see(&mut ben, "a", Some(file(1, 10)));
    assert_eq!((outcome, batches.len(), heads(&ben)), (Outcome::Adopted, 0, 1));
    assert!(ben.triple(&path("a")).unwrap().unwrap().is_diverging(), "the second is still to come");
    assert_eq!(show(&mut ben, "a"), PlacedOutcome::Agreed);
    check(&ben);
}

#[test]
fn what_its_user_wrote_over_it_is_an_edit() {
    let mut ben = ben_started_anew();
    let (outcome, batches) = see(&mut ben, "a", Some(file(3, 10)));
    assert_eq!((outcome, batches.len(), heads(&ben)), (Outcome::Published, 1, 2));
    let mut ben = ben_started_anew();
    let mut touched = file(1, 10);
    touched.version.mtime = Timestamp::new(10, 6).unwrap();
    assert_eq!((see(&mut ben, "a", Some(touched)).0, heads(&ben)), (Outcome::Published, 2));
    let mut ben = ben_started_anew();
    let mut opened = file(1, 10);
    opened.version.mode = Mode::from_bits(0o666);
    assert_eq!((see(&mut ben, "a", Some(opened)).0, heads(&ben)), (Outcome::Published, 2));
}

#[test]
fn a_time_that_the_disk_has_rounded_is_the_intended_one() {
    let mut ben = ben_started_anew();
    let mut rounded = file(1, 10);
    rounded.version.mtime = Timestamp::new(8, 0).unwrap();
    assert_eq!((see(&mut ben, "a", Some(rounded)).0, heads(&ben)), (Outcome::Adopted, 1));
}

#[test]
fn an_intent_is_used_once() {
    let mut ben = ben_started_anew();
    assert_eq!(see(&mut ben, "a", None).0, Outcome::Unchanged);
    assert_eq!(see(&mut ben, "a", Some(file(1, 10))).0, Outcome::Published, "its user brought it back");
}

#[test]
fn what_is_noted_as_placed_is_intended_no_more() {
    let mut ben = ben_started_anew();
    let row = ben.triple(&path("a")).unwrap().unwrap();
    ben.intend(vec![(path("a"), Intent::Head(row.heads.winner().cloned().unwrap()))]).unwrap();
    assert_eq!(show(&mut ben, "a"), PlacedOutcome::Agreed);
    let ben = ben.fork().unwrap();
    assert_eq!(ben.memory.intents, intents::Intents::new());
}

/// Ben has a file at "a", and is told of ana's "a/b".
fn file_in_the_way() -> Index {
    let (mut ana, mut ben) = (index(1), index(2));
    tell(&mut ben, &see(&mut ana, "a/b", Some(file(1, 10))).1);
    see(&mut ben, "a", Some(file(2, 20)));
    ben
}

/// Found by a simulated world (I3): a folder that took a file's place for what others have put below it is not its user's.
#[test]
fn i3_a_folder_that_was_made_for_what_lies_below_is_no_edit() {
    let mut ben = file_in_the_way();
    ben.intend(vec![(path("a"), Intent::ImpliedFolder)]).unwrap();
    let mut ben = ben.fork().unwrap();
    let (outcome, batches) = see(&mut ben, "a", Some(folder()));
    assert_eq!((outcome, batches.len(), heads(&ben)), (Outcome::Adopted, 0, 1));
    assert_eq!(ben.triple(&path("a")).unwrap().unwrap().heads.conflict(Below::Live).len(), 1);
    check(&ben);
}

/// Found by a scenario (I3): the file had gone to history for the folder, and the folder was not there yet. That is not its
/// user's deletion.
#[test]
fn i3_a_file_that_made_room_for_a_folder_was_not_deleted() {
    let mut ben = file_in_the_way();
    ben.intend(vec![(path("a"), Intent::ImpliedFolder)]).unwrap();
    let mut ben = ben.fork().unwrap();
    let (outcome, batches) = see(&mut ben, "a", None);
    assert_eq!((outcome, batches.len(), heads(&ben)), (Outcome::Adopted, 0, 1));
    check(&ben);
    assert!(ben.triple(&path("a")).unwrap().unwrap().is_diverging(), "the folder is still to come");
}

/// A mode that others gave to a folder was intended, and its user was faster with a deletion.
#[test]
fn i6_a_folder_that_its_user_deleted_did_not_make_room() {
    let (mut ana, mut ben) = (index(1), index(2));
    tell(&mut ben, &see(&mut ana, "a", Some(folder())).1);
    show(&mut ben, "a");
    let head = ben.triple(&path("a")).unwrap().unwrap().heads.winner().cloned().unwrap();
    ben.intend(vec![(path("a"), Intent::Head(head))]).unwrap();
    assert_eq!(see(&mut ben, "a", None).0, Outcome::Published);
}

#[test]
fn i6_where_nothing_was_done_nothing_is_intended() {
    let mut ben = file_in_the_way();
    ben.intend(vec![(path("a"), Intent::ImpliedFolder)]).unwrap();
    ben.forget_intents(&[path("a")]).unwrap();
    let mut ben = ben.fork().unwrap();
    assert_eq!(see(&mut ben, "a", None).0, Outcome::Published, "its user deleted it");
}

/// A folder stands at "a" for ana's "a/b", in the place of ben's file.
fn folder_over_a_file() -> Index {
    let mut ben = file_in_the_way();
    let planned = ben.triple(&path("a")).unwrap().unwrap().here;
    let now = Some(folder_with(Mode::IMPLIED_DIRECTORY.bits().into()));
    let placed = Placed { path: path("a"), planned, now, head: None, is_moved: false };
    assert_eq!(ben.placed(vec![placed], &[]).unwrap(), [PlacedOutcome::Agreed]);
    ben
}

/// Found by a simulated world (I3): who deletes a folder that was made in a file's place does not delete the file.
#[test]
fn i3_what_is_done_to_a_folder_is_not_done_to_the_file_in_whose_place_it_is() {
    let mut ben = folder_over_a_file();
    let (outcome, batches) = see(&mut ben, "a", None);
    assert_eq!((outcome, batches.len(), heads(&ben)), (Outcome::Silent, 0, 1));
    assert!(ben.triple(&path("a")).unwrap().unwrap().is_diverging(), "the folder is made again");
    check(&ben);
    for found in [folder_with(0o700), file(3, 30)] {
        let mut ben = folder_over_a_file();
        let (outcome, batches) = see(&mut ben, "a", Some(found));
        let has_copy = batches[0].records.iter().any(|record| record.copy_of.is_some());
        assert!(outcome == Outcome::Published && (has_copy || heads(&ben) == 2), "{batches:?}");
        check(&ben);
    }
}

fn folder_with(mode: u32) -> Here {
    Here { version: Version::new(Kind::Directory, Timestamp::ZERO, Mode::from_bits(mode)), ..folder() }
}
