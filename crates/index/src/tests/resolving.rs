//! Conflicts that this device ends: when it may, and what it knows of the copies then.

use super::*;

/// Two devices made a file at one path; the first one knows both versions. Theirs wins.
fn conflict(ours: Here, theirs: Here) -> (Index, Index) {
    let (mut ana, mut ben) = (index(1), index(2));
    see(&mut ana, "a", Some(ours));
    let other = see(&mut ben, "a", Some(theirs)).1;
    tell(&mut ana, &other);
    (ana, ben)
}

/// Where the version goes that loses.
fn copy_path(index: &Index) -> RelPath {
    let triple = index.triple(&path("a")).unwrap().unwrap();
    shoal_proto::conflict::copy_of(triple.heads.conflict(triple.below)[1]).path
}

fn link(target: &[u8]) -> Here {
    let kind = Kind::Symlink { target: target.into() };
    Here { version: Version::new(kind, Timestamp::ZERO, Mode::ZERO), ..folder() }
}

/// I3: nobody resolves without the bytes of all that would be lost.
#[test]
fn i3_only_who_has_all_versions_resolves() {
    for (one, other) in [(file(1, 10), file(2, 20)), (link(b"x"), file(2, 20)), (link(b"x"), link(b"y"))] {
        let (mut ana, _) = conflict(one, other);
        let all = versions(&ana, "a");
        assert_eq!(all.len(), 2);
        for some in [&all[..0], &all[..1], &all[1..]] {
            assert_eq!(ana.resolve(&path("a"), some, vec![]).unwrap(), Resolved::NoConflict);
        }
        assert_eq!(ana.life().counter, 1);
        // One more that was here and is in it no longer does no harm.
        let more = [&all[..], &[RecordHash::from_bytes([7; 32])]].concat();
        assert!(matches!(ana.resolve(&path("a"), &more, vec![]).unwrap(), Resolved::Published(_)));
        check(&ana);
    }
}

/// A version that came after the bytes were looked for stops the resolution.
#[test]
fn i3_a_version_that_comes_meanwhile_is_not_resolved_unseen() {
    let (mut ana, _) = conflict(file(1, 10), file(2, 20));
    let before = versions(&ana, "a");
    let late = see(&mut index(3), "a", Some(file(3, 5))).1;
    tell(&mut ana, &late);
    assert_eq!(ana.resolve(&path("a"), &before, vec![]).unwrap(), Resolved::NoConflict);
    let now = versions(&ana, "a");
    let Resolved::Published(batches) = ana.resolve(&path("a"), &now, vec![]).unwrap() else { panic!() };
    assert_eq!(batches[0].records.len(), 3);
}

/// What is gone, or a folder, has no bytes that one must hold.
#[test]
fn what_holds_no_data_need_not_be_here() {
    let (mut ana, mut ben) = (index(1), index(2));
    let made = see(&mut ana, "a", Some(file(1, 10))).1;
    tell(&mut ben, &made);
    show(&mut ben, "a");
    let edit = see(&mut ana, "a", Some(file(2, 20))).1;
    let gone = see(&mut ben, "a", None).1;
    tell(&mut ana, &gone);
    assert_eq!(versions(&ana, "a").len(), 2);
    let only = [edit[0].records[0].hash()];
    assert!(matches!(ana.resolve(&path("a"), &only, vec![]).unwrap(), Resolved::Published(_)));
}

#[test]
fn a_copy_that_stands_already_is_agreed_with_at_once() {
    let (mut ana, mut ben) = conflict(file(1, 10), file(2, 20));
    let (all, at) = (versions(&ana, "a"), copy_path(&ana));
    let stands = Here { inode: 77, ..file(1, 10) };
    let copies = vec![(at.clone(), stands.clone()), (path("elsewhere"), file(9, 9))];
    let Resolved::Published(batches) = ana.resolve(&path("a"), &all, copies).unwrap() else { panic!() };
    let copy = ana.triple(&at).unwrap().unwrap();
    assert_eq!((copy.here.as_ref(), copy.standing), (Some(&stands), Standing::Agrees));
    assert_eq!((copy.base.clone(), copy.is_diverging()), (copy.heads.base(), false));
    assert!(ana.triple(&path("elsewhere")).unwrap().is_none(), "no copy goes there");
    assert_eq!(see(&mut ana, &at.to_string(), Some(stands)), (Outcome::Unchanged, vec![]));
    assert_eq!(ana.places(&ContentId::from_bytes([1; 32])).unwrap().len(), 2, "at its path and as a copy");
    check(&ana);
    tell(&mut ben, &batches);
    assert!(ben.triple(&at).unwrap().unwrap().is_diverging(), "there it is still to be placed");
}

/// I3: what the index knows of the path, or what is no copy, is left for a look.
#[test]
fn what_is_not_the_copy_is_not_taken_for_it() {
    for (known, stands) in [(Some(file(5, 5)), file(1, 10)), (None, file(6, 6))] {
        let (mut ana, _) = conflict(file(1, 10), file(2, 20));
        let (all, at) = (versions(&ana, "a"), copy_path(&ana));
        if known.is_some() {
            ana.set_halted(true).unwrap();
            see(&mut ana, &at.to_string(), known.clone());
            ana.set_halted(false).unwrap();
        }
        let copies = vec![(at.clone(), stands)];
        assert!(matches!(ana.resolve(&path("a"), &all, copies).unwrap(), Resolved::Published(_)));
        let copy = ana.triple(&at).unwrap().unwrap();
        assert_eq!((copy.here.clone(), copy.base.clone(), copy.is_diverging()), (known, None, true));
        check(&ana);
    }
}

/// I6: a copy that somebody made and deleted before stays deleted.
#[test]
fn i6_a_deleted_copy_is_not_taken_for_a_new_one() {
    let (mut ana, mut ben) = conflict(file(1, 10), file(2, 20));
    let at = copy_path(&ana);
    let Resolved::Published(made) = ana.resolve(&path("a"), &versions(&ana, "a"), vec![]).unwrap() else {
        panic!()
    };
    done(tell(&mut ben, &made));
    show(&mut ben, &at.to_string());
    let gone = see(&mut ben, &at.to_string(), None).1;

    // Another device saw the conflict and the deletion, and not that it was resolved.
    let (mut cem, _) = conflict(file(1, 10), file(2, 20));
    tell(&mut cem, &gone);
    let (all, copies) = (versions(&cem, "a"), vec![(at.clone(), file(1, 10))]);
    assert!(matches!(cem.resolve(&path("a"), &all, copies).unwrap(), Resolved::Published(_)));
    let copy = cem.triple(&at).unwrap().unwrap();
    assert!(copy.here.is_none() && copy.heads.winner().unwrap().version.kind.is_gone());
    check(&cem);
}
