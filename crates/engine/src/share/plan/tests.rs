//! What a pass weighs, and what it leaves for later.

use shoal_proto::dot::Dot;
use shoal_proto::hash::ContentId;
use shoal_proto::heads::Below;
use shoal_proto::here::Standing;
use shoal_proto::id::{DeviceId, ShareId, Writer};
use shoal_proto::record::{Timestamp, Version};

use super::*;
use crate::io::{Now, Opened};
use crate::limits::LULL;
use crate::testing::path;

/// A file that others have deleted.
fn deleted_elsewhere() -> Triple {
    let kind = Kind::File { size: 5, content: ContentId::from_bytes([1; 32]) };
    let version = Version::new(kind, Timestamp::ZERO, Mode::ZERO);
    let (dot, gone) = (Dot::new(Writer::from_bytes([1; 8]), 1), Version::deleted(&version));
    let (seen, displaced) = (shoal_proto::dot::Seen::default(), Box::default());
    let gone = Record { path: path("a"), version: gone, dot, seen, origin: dot, displaced, copy_of: None };
    Triple {
        path: path("a"),
        here: Some(Here { version, inode: 1, ctime: Timestamp::ZERO }),
        base: None,
        standing: Standing::Agrees,
        heads: [gone].into_iter().collect(),
        below: Below::Nothing,
    }
}

/// I2, I30: of what cannot be done only so much is remembered, and the rest does not begin a pass of its own.
#[test]
fn i2_what_cannot_be_done_and_is_too_much_to_remember_waits() {
    let device = DeviceId::from_bytes([1; 32]);
    let opened = Opened::new(ShareId::from_bytes([3; 32]), Vec::new());
    let mut share = Share::new(device, opened, [2; 32], 0, Now { time: Time(1), wall: 0 });
    for number in 0..PROBLEMS_MAX {
        share.blocked(path(&format!("d/{number}")), Cause::NoWay(String::new()));
    }
    assert!(core::mem::take(&mut share.planner.is_dirty), "what is remembered is listed");
    share.blocked(path("e"), Cause::NoWay(String::new()));
    assert_eq!((share.planner.is_dirty, share.planner.deferred.len()), (false, PROBLEMS_MAX));
    assert_eq!((share.planner.more_problems, share.next_wake()), (1, Some(Time(1).after(REPLAN_MAX))));
    share.blocked(path("d/0"), Cause::NotEmpty);
    assert!(share.planner.is_dirty);
}

/// I2, I19: where only folders go nobody is asked, whatever was lost before; a loss that comes meanwhile is weighed by
/// another pass, once no more of them come.
#[test]
fn i19_what_comes_while_folders_are_removed_is_not_asked_about_early() {
    let device = DeviceId::from_bytes([1; 32]);
    let survey = Survey { had: 2, lost: 2 };
    for has_losses in [false, true] {
        let opened = Opened::new(ShareId::from_bytes([3; 32]), Vec::new());
        let mut share = Share::new(device, opened, [2; 32], 0, Now { time: Time(1), wall: 0 });
        share.planner.hears(Time(1));
        let begun = Pass { removes: true, has_removals: true, has_losses, ..Pass::default() };
        share.planner.pass = Some(begun);
        share.surveyed(survey, 3);
        assert_eq!(share.planner.pass.as_ref().map(|pass| pass.is_end), Some(has_losses));
        assert_eq!(share.planner.held_back, has_losses.then_some(survey));
        share.planner.is_dirty = false;
        if !has_losses {
            share.plan_removal(&deleted_elsewhere(), Rights::Writer);
            assert!(share.planner.pass.as_ref().is_some_and(|pass| pass.is_end && pass.removals.is_empty()));
        }
        share.run_ends();
        assert_eq!((share.planner.is_dirty, share.next_wake()), (!has_losses, None));
        assert_eq!(share.planner.lull.over_at(), (!has_losses).then_some(Time(1).after(LULL)));
    }
}
