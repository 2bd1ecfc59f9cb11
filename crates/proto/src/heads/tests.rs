//! The merge rules by name: each trace that once broke them, as a story of devices.

use std::collections::BTreeMap;

use super::*;
use crate::hash::ContentId;
use crate::id::Writer;

/// Devices with one path each, a writer and a disk: just enough to tell a trace.
pub(crate) struct World {
    minted: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { minted: 0 }
    }

    /// A record out of nowhere.
    pub(crate) fn record(&mut self, path: &str, kind: Kind) -> Record {
        self.minted += 1;
        let dot = Dot::new(Writer::from_bytes([0; 8]), self.minted);
        let version = Version::new(kind, Timestamp::ZERO, Mode::from_bits(0o644));
        Record {
            path: path_of(path),
            version,
            dot,
            seen: Seen::default(),
            origin: dot,
            displaced: Box::default(),
            copy_of: None,
        }
    }
}

pub(crate) fn content(number: u8) -> ContentId {
    ContentId::from_bytes([number; 32])
}

pub(crate) fn path_of(path: &str) -> RelPath {
    RelPath::parse(path.as_bytes()).unwrap()
}

/// A device: what it knows of each path, and what its disk shows.
#[derive(Clone)]
struct Device {
    writer: Writer,
    counter: u64,
    paths: BTreeMap<RelPath, (Heads, Option<Base>)>,
}

impl Device {
    fn new(name: u8) -> Self {
        Self { writer: Writer::from_bytes([name; 8]), counter: 0, paths: BTreeMap::new() }
    }

    fn mint(&mut self) -> Dot {
        self.counter += 1;
        Dot::new(self.writer, self.counter)
    }

    fn heads(&self, path: &str) -> Heads {
        self.paths.get(&path_of(path)).map(|at| at.0.clone()).unwrap_or_default()
    }

    fn take(&mut self, record: Record) -> Added {
        self.paths.entry(record.path.clone()).or_default().0.add(record)
    }

    /// The disk shows the winner.
    fn show(&mut self, path: &str) {
        let at = self.paths.entry(path_of(path)).or_default();
        at.1 = at.0.base();
    }

    fn edit(&mut self, path: &str, version: Version) -> Record {
        let dot = self.mint();
        let (heads, base) = self.paths.entry(path_of(path)).or_default();
        let transaction = heads.edit(&path_of(path), base.as_ref(), version, dot).unwrap();
        *base = Some(Base::from(&transaction.record));
        let record = transaction.record.clone();
        self.publish(transaction);
        record
    }

    fn write(&mut self, path: &str, bytes: u8, time: i64) -> Record {
        self.edit(path, file(bytes, time, 0o644))
    }

    fn delete(&mut self, path: &str) -> Record {
        let gone = self.paths[&path_of(path)].1.as_ref().unwrap().version.deleted();
        self.edit(path, gone)
    }

    fn resolve(&mut self, path: &str) -> Option<Transaction> {
        let dot = Dot::new(self.writer, self.counter + 1);
        let transaction = self.heads(path).resolve(Below::Nothing, dot)?;
        self.counter += 1;
        self.publish(transaction.clone());
        self.show(path);
        Some(transaction)
    }

    fn publish(&mut self, transaction: Transaction) {
        for record in transaction.copies.into_iter().chain([transaction.record]) {
            self.take(record.check().unwrap());
        }
    }

    /// Hears of all that the other knows.
    fn hear(&mut self, other: &Self) {
        for record in other.paths.values().flat_map(|at| at.0.iter()) {
            self.take(record.clone());
        }
    }

    fn shows(&self, path: &str) -> Option<Kind> {
        self.heads(path).winner().map(|winner| winner.version.kind.clone())
    }

    fn copies(&self) -> Vec<ContentId> {
        let heads = self.paths.values().flat_map(|at| at.0.iter());
        heads.filter(|head| head.copy_of.is_some()).map(|head| head.version.kind.content()).collect()
    }
}

fn exchange(one: &mut Device, other: &mut Device) {
    one.hear(other);
    other.hear(one);
}

fn file(bytes: u8, time: i64, mode: u32) -> Version {
    let kind = Kind::File { size: 5, content: content(bytes) };
    Version::new(kind, Timestamp::new(time, 0).unwrap(), Mode::from_bits(mode))
}

fn kind(bytes: u8) -> Option<Kind> {
    Some(file(bytes, 0, 0).kind)
}

fn three() -> [Device; 3] {
    [Device::new(1), Device::new(2), Device::new(3)]
}

/// F1: an edit of what won must not swallow the editor's own version that lost, which nobody ever saw.
#[test]
fn an_edit_of_the_winner_keeps_the_own_version_that_lost() {
    let [mut ana, mut ben, _] = three();
    ana.write("p", 1, 415);
    ben.write("p", 2, 309);
    ben.hear(&ana);
    assert_eq!(ben.shows("p"), kind(1));
    ben.show("p");
    ben.write("p", 3, 500);
    assert_eq!(ben.copies(), [content(2)], "the edit resolved what it stood on");
    ana.hear(&ben);
    assert_eq!((ana.shows("p"), ana.copies()), (kind(3), vec![content(2)]));
}

/// F1, where the disk has not caught up: the third version wins but is not shown yet when the user edits.
#[test]
fn an_edit_beside_an_unseen_winner_still_keeps_the_own_version_that_lost() {
    let [mut ana, mut ben, mut cyd] = three();
    ana.write("p", 1, 415);
    ben.write("p", 2, 309);
    ben.hear(&ana);
    ben.show("p");
    cyd.write("p", 4, 900);
    ben.hear(&cyd);
    let edit = ben.write("p", 3, 500);
    assert_eq!(ben.copies(), [content(2)]);
    assert_eq!(ben.heads("p").iter().count(), 2, "the unseen winner stays beside the edit");
    let mut dan = Device::new(4);
    dan.take(edit);
    dan.show("p");
    dan.write("p", 5, 1000);
    dan.hear(&ben);
    dan.hear(&ana);
    assert_eq!(dan.copies(), [content(2)]);
    assert_eq!(dan.heads("p").live().len(), 2, "5 and 4 contradict each other, and 1 and 2 are settled");
}

/// F2: two resolutions that have seen the same but hold different contents are two records, and both are kept.
#[test]
fn resolutions_that_have_seen_the_same_do_not_part_the_devices_for_ever() {
    let [mut ana, mut ben, mut w1] = three();
    let mut w2 = Device::new(4);
    ana.write("p", 1, 30);
    ben.write("p", 2, 20);
    for other in [&ana, &ben] {
        w1.hear(other);
    }
    w1.resolve("p").unwrap();
    ana.show("p");
    ana.write("p", 3, 10); // an older file, by `cp -p`
    for other in [&ana, &ben] {
        w2.hear(other);
    }
    w2.resolve("p").unwrap();
    w1.hear(&ana);
    w1.resolve("p");
    let mut all = [ana, ben, w1, w2];
    for _ in 0..4 {
        for at in 0..4 {
            let (one, rest) = all.split_at_mut(at);
            for other in one {
                exchange(other, &mut rest[0]);
            }
        }
        all[2].resolve("p");
    }
    for other in &all[1..] {
        assert_eq!(other.heads("p"), all[0].heads("p"));
        assert_eq!(other.copies(), all[0].copies());
    }
    let shown = all[0].shows("p").unwrap().content();
    let mut kept = all[0].copies();
    kept.push(shown);
    assert!(kept.contains(&content(2)) && kept.contains(&content(3)), "{kept:?}");
}

/// F3 (a): a resolution that keeps old bytes is not newer than the edit of those bytes.
#[test]
fn bytes_kept_by_a_resolution_do_not_beat_what_replaced_them() {
    let [mut ana, mut ben, mut cyd] = three();
    ana.write("p", 1, 900);
    ben.write("p", 2, 100);
    cyd.hear(&ana);
    cyd.show("p");
    cyd.write("p", 3, 50); // has seen 1; its clock is behind
    ana.hear(&ben);
    ana.resolve("p").unwrap();
    ana.hear(&cyd);
    assert_eq!(ana.shows("p"), kind(3));
    assert_eq!(ana.copies(), [content(2)], "1 was seen by the author of 3");
    assert!(ana.resolve("p").is_none(), "what is stale contradicts nothing");
}

/// F3 (b), (c): a touch or a new mode beside an edit gives neither the path nor a copy to the old bytes.
#[test]
fn a_touch_or_mode_beside_an_edit_loses_silently() {
    for touch in [file(1, 9999, 0o644), file(1, 100, 0o755)] {
        let [mut ana, mut ben, _] = three();
        ana.write("p", 1, 100);
        exchange(&mut ana, &mut ben);
        ben.show("p");
        ana.edit("p", touch);
        ben.write("p", 2, 200);
        exchange(&mut ana, &mut ben);
        assert_eq!((ana.shows("p"), ana.heads("p").conflict(Below::Nothing).len()), (kind(2), 0));
    }
}

/// Found by the worlds: a touch of bytes that the own index already knows to be replaced, but the disk still shows, must
/// not cover what replaced them.
#[test]
fn a_touch_of_what_is_replaced_makes_no_record() {
    let [mut ana, mut ben, _] = three();
    ana.write("p", 1, 100);
    ben.hear(&ana);
    ben.show("p");
    ana.write("p", 2, 50);
    ben.hear(&ana);
    let (heads, base) = &ben.paths[&path_of("p")];
    let dot = Dot::new(ben.writer, 1);
    assert_eq!(heads.edit(&path_of("p"), base.as_ref(), file(1, 999, 0o600), dot), None);
    assert!(heads.edit(&path_of("p"), base.as_ref(), file(3, 999, 0o600), dot).is_some());
}

/// F3 (d): a touch beside a deletion does not bring the file back (I6).
#[test]
fn a_touch_beside_a_deletion_does_not_undo_it() {
    let [mut ana, mut ben, _] = three();
    ana.write("p", 1, 100);
    exchange(&mut ana, &mut ben);
    ben.show("p");
    ana.edit("p", file(1, 9999, 0o644));
    ben.delete("p");
    exchange(&mut ana, &mut ben);
    assert!(ana.shows("p").unwrap().is_gone());
    assert_eq!(ana.heads("p").shown(Below::Nothing), Shown::Nothing);
    assert!(ana.resolve("p").is_none());
}

/// I6: two resolutions each set aside the deletion of what the other one kept.
#[test]
fn what_everybody_deleted_stays_gone() {
    let mut devices = [1, 2, 3, 4].map(Device::new);
    let [a, b, c, d] = &mut devices;
    a.write("p", 1, 5);
    b.write("p", 2, 5);
    c.hear(b);
    d.hear(a);
    a.delete("p");
    b.delete("p");
    c.hear(a);
    d.hear(b);
    assert!(c.resolve("p").is_some() && d.resolve("p").is_some());
    assert_eq!(
        (c.shows("p"), d.shows("p")),
        (kind(2), kind(1)),
        "each deleted without having seen the other"
    );
    exchange(c, d);
    assert_eq!(c.shows("p"), None);
    assert_eq!(c.copies(), d.copies());
    c.show("p");
    c.write("p", 3, 1);
    assert_eq!(c.shows("p"), kind(3), "the path is free");
}

/// Found by the worlds (I6): two resolutions each displaced what the other one keeps, and one of these was deleted by a
/// user who saw it. Were it enough to have seen an origin, both would be stale, and what nobody replaced would vanish.
#[test]
fn what_was_displaced_was_not_replaced() {
    let [mut ana, mut ben, mut cyd] = three();
    ana.write("p", 1, 100);
    ben.write("p", 2, 200);
    cyd.hear(&ana);
    cyd.hear(&ben);
    ana.hear(&ben);
    let keeps_2 = ana.resolve("p").unwrap().record;
    assert_eq!(
        (keeps_2.version.kind.content(), &*keeps_2.displaced),
        (content(2), &[Dot::new(ana.writer, 1)][..])
    );
    ben.show("p");
    ben.delete("p");
    ben.hear(&cyd);
    let keeps_1 = ben.resolve("p").unwrap().record;
    assert!(!keeps_1.displaced.contains(&Dot::new(ben.writer, 1)), "a user replaced it");
    exchange(&mut ana, &mut ben);
    assert_eq!(ana.shows("p"), kind(1));
    assert!(ana.resolve("p").is_none());
}

/// What the user had replaced stays replaced, though a head that shows the same bytes had only displaced it.
#[test]
fn a_touch_of_what_replaced_something_replaces_it_too() {
    let [x, lost, edit, kept, touch] = [1, 2, 3, 4, 5].map(|name| Dot::new(Writer::from_bytes([name; 8]), 1));
    let head = Record {
        path: path_of("p"),
        version: file(1, 100, 0o644),
        dot: kept,
        seen: Seen::new(vec![x, lost]).unwrap(),
        origin: x,
        displaced: [lost].into(),
        copy_of: None,
    };
    let heads: Heads = [head.check().unwrap()].into_iter().collect();
    // The disk shows the same bytes as an edit of what the head displaced.
    let seen = Seen::new(vec![lost, edit]).unwrap();
    let base = Base { version: file(1, 100, 0o644), origin: edit, seen, displaced: Box::default() };
    let touched = heads.edit(&path_of("p"), Some(&base), file(1, 200, 0o644), touch).unwrap().record;
    assert_eq!((touched.origin, &*touched.displaced), (edit, [x].as_slice()));
    assert!(touched.check().unwrap().replaces(lost));
}

/// F4 (a): a lost index counts for nothing that its former life had seen.
#[test]
fn a_new_life_of_an_index_does_not_cover_what_the_old_one_made() {
    let [mut ana, mut ben, _] = three();
    ana.write("p", 1, 100);
    ana.write("p", 2, 200);
    exchange(&mut ana, &mut ben);
    // The disk was restored from an older backup, without an index.
    let mut again = Device::new(9);
    again.hear(&ben);
    again.write("p", 1, 100);
    exchange(&mut again, &mut ben);
    assert_eq!(ben.shows("p"), kind(2));
    assert_eq!(ben.resolve("p").unwrap().copies.len(), 1);
}

/// F4 (b): index and disk were put back to an earlier day, and the user edits what was there then. The new life does not
/// cover what the old one made meanwhile.
#[test]
fn an_edit_after_a_restore_does_not_cover_what_was_lost_by_it() {
    let [mut ana, mut ben, _] = three();
    ana.write("p", 1, 100);
    let monday = ana.clone();
    ana.show("p");
    ana.write("p", 2, 200);
    exchange(&mut ana, &mut ben);
    let mut restored = Device { writer: Writer::from_bytes([9; 8]), counter: 0, ..monday };
    restored.write("p", 3, 300);
    exchange(&mut restored, &mut ben);
    assert_eq!((ben.shows("p"), ben.heads("p").iter().len()), (kind(3), 2));
    let copies = ben.resolve("p").unwrap().copies;
    assert_eq!(copies.iter().map(|copy| copy.version.kind.content()).collect::<Vec<_>>(), [content(2)]);
}

/// Found by the worlds (I3): a device was put back, did not notice, and used its numbers again. What its deletion had seen
/// as its record 1 was not what others know by that name.
#[test]
fn what_a_rolled_back_life_had_seen_of_itself_covers_nothing() {
    let [mut ana, mut ben, _] = three();
    let mut restored = ana.clone();
    ana.write("p", 1, 100);
    ben.hear(&ana);
    restored.write("p", 2, 200);
    let gone = restored.delete("p");
    assert!(gone.seen.includes(Dot::new(ana.writer, 1)));
    let agreed = Dot::new(ana.writer, 0);
    let again = gone.reissued_after(agreed, Dot::new(Writer::from_bytes([9; 8]), 1)).check().unwrap();
    assert_eq!(ben.take(again), Added::Head { dropped: vec![] });
    assert_eq!(ben.shows("p"), kind(1));
    // The disk of the restored device had agreed with its own record 2, which nobody else knows: it has no base now.
    let base = restored.heads("p").base().unwrap();
    assert_eq!(base.up_to(agreed), None);
    let known = Base { origin: Dot::new(ben.writer, 1), ..base };
    assert!(known.up_to(agreed).unwrap().seen.is_empty());
}

/// F5 (a), (d): however many resolve, and whatever they call each other, they make one copy.
#[test]
fn many_resolvers_make_one_copy() {
    let [mut ana, mut ben, mut cyd] = three();
    ana.write("p", 1, 100);
    ben.write("p", 2, 200);
    exchange(&mut ana, &mut ben);
    cyd.hear(&ana);
    let made: Vec<_> = [&mut ana, &mut ben, &mut cyd].map(|one| one.resolve("p").unwrap().copies).into();
    assert!(made.iter().all(|copies| *copies == made[0] && copies.len() == 1));
    ana.hear(&ben);
    ana.hear(&cyd);
    assert_eq!(ana.copies(), [content(1)]);
    assert!(ana.resolve("p").is_none(), "three heads with equal content are no conflict");
}

/// Two resolutions kept the same bytes; both lose to what came meanwhile: that is one version, and one copy.
#[test]
fn what_several_heads_carry_is_copied_once() {
    let [mut ana, mut ben, mut cem] = three();
    ana.write("p", 1, 300);
    ben.write("p", 2, 200);
    exchange(&mut ana, &mut ben);
    assert!(ana.resolve("p").is_some() && ben.resolve("p").is_some());
    cem.write("p", 3, 400);
    cem.hear(&ana);
    cem.hear(&ben);
    assert_eq!(cem.heads("p").iter().len(), 3);
    let copies = cem.resolve("p").unwrap().copies;
    assert_eq!(copies.iter().map(|copy| copy.version.kind.content()).collect::<Vec<_>>(), [content(1)]);
}

/// F5 (b): two versions that lose within a minute have two names.
#[test]
fn copies_of_one_minute_have_names_of_their_own() {
    let [mut ana, mut ben, mut cyd] = three();
    ana.write("p", 1, 60);
    ben.write("p", 2, 61);
    cyd.write("p", 3, 200);
    cyd.hear(&ana);
    cyd.hear(&ben);
    let copies = cyd.resolve("p").unwrap().copies;
    assert_eq!(copies.len(), 2);
    assert_ne!(copies[0].path, copies[1].path);
}

/// F5 (c): a deleted copy stays deleted, though another device makes it again.
#[test]
fn a_deleted_copy_does_not_return() {
    let [mut ana, mut ben, mut cyd] = three();
    ana.write("p", 1, 100);
    ben.write("p", 2, 200);
    cyd.hear(&ana);
    cyd.hear(&ben);
    ana.hear(&ben);
    let copy = ana.resolve("p").unwrap().copies.remove(0);
    let name = copy.path.to_string();
    ana.show(&name);
    ana.delete(&name);
    cyd.resolve("p").unwrap();
    exchange(&mut ana, &mut cyd);
    assert!(ana.shows(&name).unwrap().is_gone() && cyd.shows(&name).unwrap().is_gone());
}

/// F9 (a): a tombstone knows what it deleted, so a device that lost its index adopts it instead of undoing it.
#[test]
fn a_tombstone_knows_the_content_that_it_deleted() {
    let [mut ana, _, _] = three();
    ana.write("p", 1, 100);
    let gone = ana.delete("p");
    assert_eq!(gone.version.kind, Kind::Gone { of: content(1) });
    let link = Version::new(Kind::Symlink { target: b"t".as_slice().into() }, Timestamp::ZERO, Mode::ZERO);
    ana.edit("l", link.clone());
    assert_eq!(ana.delete("l").version.kind, Kind::Gone { of: link.kind.content() });

    let heads = ana.heads("p");
    let adopted = heads.adopt(&kind(1).unwrap()).unwrap();
    assert!(adopted.version.kind.is_gone() && adopted.seen.includes(gone.dot));
    assert_eq!(heads.adopt(&kind(2).unwrap()), None, "other content is a version of its own");
}

/// I18: a lost index agrees again with what its disk holds, also where that lost; later edits have seen just that.
#[test]
fn a_disk_without_an_index_adopts_what_it_holds() {
    let [mut ana, mut ben, _] = three();
    ana.write("p", 1, 100);
    ben.write("p", 2, 200);
    exchange(&mut ana, &mut ben);
    let heads = ana.heads("p");
    assert_eq!(heads.adopt(&kind(2).unwrap()), heads.base());
    let loser = heads.adopt(&kind(1).unwrap()).unwrap();
    assert!(loser.version.mtime.seconds == 100 && loser.seen.entries().eq([Dot::new(ana.writer, 1)]));
    assert_eq!(Heads::default().adopt(&kind(1).unwrap()), None);
}

/// Of several with the same bytes it takes on the time and mode of the one that the others show.
#[test]
fn a_disk_without_an_index_adopts_the_winner_of_what_is_alike() {
    let [mut ana, mut ben, mut cem] = three();
    ana.write("p", 1, 100);
    ben.write("p", 1, 300);
    cem.write("p", 1, 200);
    ana.hear(&ben);
    ana.hear(&cem);
    let base = ana.heads("p").adopt(&file(1, 0, 0).kind).unwrap();
    assert_eq!(base.version.mtime, Timestamp::new(300, 0).unwrap());
}

/// F10 (a): a folder takes the path from a file, whatever their times; the file becomes a copy.
#[test]
fn a_folder_beats_a_file() {
    let [mut ana, mut ben, _] = three();
    ana.write("d", 1, 9999);
    ben.edit("d", Version::new(Kind::Directory, Timestamp::ZERO, Mode::from_bits(0o755)));
    ben.hear(&ana);
    let resolved = ben.resolve("d").unwrap();
    assert_eq!(resolved.record.version.kind, Kind::Directory);
    assert_eq!(resolved.copies.len(), 1);
}

/// F10 (b): a folder deleted beside a new child is shown as long as the child lives, and nobody publishes it.
#[test]
fn a_gone_folder_is_implied_while_something_below_it_lives() {
    let [mut ana, _, _] = three();
    ana.edit("d", Version::new(Kind::Directory, Timestamp::ZERO, Mode::from_bits(0o700)));
    ana.delete("d");
    let heads = ana.heads("d");
    assert_eq!(heads.shown(Below::Live), Shown::ImpliedDirectory);
    assert_eq!(heads.shown(Below::Nothing), Shown::Nothing);
    assert!(heads.resolve(Below::Live, Dot::new(ana.writer, 9)).is_none());
}

/// A file that replaced a folder while somebody else made a child in it: the child keeps its folder, the file a copy.
#[test]
fn a_file_gives_way_to_what_lives_below_it() {
    let [mut ana, _, _] = three();
    ana.write("d", 1, 100);
    let heads = ana.heads("d");
    assert_eq!(heads.shown(Below::Live), Shown::ImpliedDirectory);
    assert_eq!(heads.conflict(Below::Live).len(), 1);
    let resolved = heads.resolve(Below::Live, Dot::new(ana.writer, 9)).unwrap();
    assert_eq!(resolved.record.version.kind, Kind::Directory);
    assert_eq!(resolved.record.check().unwrap().origin.counter, 9);
    assert_eq!(resolved.copies[0].version.kind.content(), content(1));
}

/// I7: an edit beside a deletion survives it, at its path and without a copy.
#[test]
fn an_edit_beside_a_deletion_survives() {
    let [mut ana, mut ben, _] = three();
    ana.write("p", 1, 100);
    exchange(&mut ana, &mut ben);
    ben.show("p");
    ana.write("p", 2, 50);
    ben.delete("p");
    exchange(&mut ana, &mut ben);
    assert_eq!(ana.shows("p"), kind(2));
    assert_eq!(ben.resolve("p").unwrap().copies, []);
    exchange(&mut ana, &mut ben);
    assert_eq!((ana.shows("p"), ana.copies()), (kind(2), vec![]));
}

/// A deletion of what is shown takes with it only what the user saw.
#[test]
fn deleting_the_winner_leaves_a_copy_of_what_lost() {
    let [mut ana, mut ben, _] = three();
    ana.write("p", 1, 415);
    ben.write("p", 2, 309);
    ben.hear(&ana);
    ben.show("p");
    ben.delete("p");
    assert!(ben.shows("p").unwrap().is_gone());
    assert_eq!(ben.copies(), [content(2)]);
}

/// Who brings back by hand what lost has settled the conflict: nothing is left to keep.
#[test]
fn making_anew_what_lost_leaves_no_copy() {
    let [mut ana, mut ben, _] = three();
    ana.write("p", 1, 415);
    ben.write("p", 2, 309);
    ben.hear(&ana);
    ben.show("p");
    ben.write("p", 2, 500);
    assert_eq!((ben.shows("p"), ben.copies()), (kind(2), vec![]));
    ana.hear(&ben);
    assert_eq!((ana.heads("p").iter().len(), ana.shows("p")), (1, kind(2)));
}

/// What two users made alike is one version: no copy, and an edit has seen both.
#[test]
fn equal_contents_merge_silently() {
    let [mut ana, mut ben, mut cyd] = three();
    ana.write("p", 1, 100);
    ben.write("p", 1, 200);
    exchange(&mut ana, &mut ben);
    cyd.hear(&ana);
    assert!(cyd.resolve("p").is_none());
    cyd.show("p");
    cyd.write("p", 2, 50);
    exchange(&mut cyd, &mut ana);
    assert_eq!((ana.shows("p"), ana.heads("p").iter().count()), (kind(2), 1));
}

/// D11, D19: two records under one dot, as a cloned device makes them, are both kept.
#[test]
fn d11_two_records_with_one_dot_are_both_kept() {
    let [mut ana, mut ben, _] = three();
    ben.writer = ana.writer;
    ana.write("p", 1, 100);
    ben.write("p", 2, 200);
    exchange(&mut ana, &mut ben);
    assert_eq!(ana.heads("p").iter().count(), 2);
    assert_eq!(ana.heads("p"), ben.heads("p"));
    assert_eq!(ana.resolve("p").unwrap().copies.len(), 1);
}

/// I26: what a removal made void leaves; whose disk shows it publishes it as an own version, which covers what the
/// void one had covered.
#[test]
fn void_records_leave_and_are_published_anew() {
    let [mut ana, mut mal, _] = three();
    ana.write("p", 1, 100);
    mal.hear(&ana);
    mal.show("p");
    let void = mal.write("p", 2, 200);
    ana.hear(&mal);
    ana.show("p");
    let mut heads = ana.heads("p");
    assert_eq!(heads.remove_void(|record| record.dot.writer == mal.writer), core::slice::from_ref(&void));
    assert!(heads.is_empty());
    let own = void.reissued(ana.mint()).check().unwrap();
    assert_eq!((own.origin, &own.seen), (own.dot, &void.seen));

    // The copies of a void resolution are void too: what it displaced comes back, where it still is.
    ana.write("r", 1, 200);
    let mut ben = Device::new(2);
    ben.write("r", 2, 100);
    mal.hear(&ana);
    mal.hear(&ben);
    let own = mal.resolve("r").unwrap().record.reissued(ana.mint()).check().unwrap();
    assert!(matches!(ben.take(own), Added::Head { dropped } if dropped.is_empty()));
    assert_eq!(ben.resolve("r").unwrap().copies[0].version.kind.content(), content(2));
    let mut other: Heads = [ana.write("q", 9, 9)].into_iter().collect();
    assert_eq!(other.remove_void(|_| false), []);
    assert_eq!(other.iter().count(), 1);
}

#[test]
fn the_winner_is_decided_by_kind_then_time_then_content_then_dot() {
    let dot = |writer: u8| Dot::new(Writer::from_bytes([writer; 8]), 1);
    let record = |version: Version, writer: u8| Record {
        path: path_of("p"),
        version,
        dot: dot(writer),
        seen: Seen::default(),
        origin: dot(writer),
        displaced: Box::default(),
        copy_of: None,
    };
    let link =
        Version::new(Kind::Symlink { target: b"t".as_slice().into() }, file(1, 500, 0).mtime, Mode::ZERO);
    let folder = Version::new(Kind::Directory, Timestamp::ZERO, Mode::ZERO);
    // Each beats all before it; the dots would say the reverse.
    let ladder = [
        record(file(1, 0, 0).deleted(), 9),
        record(link, 8),
        record(file(3, 10, 0), 7),
        record(file(1, 11, 0o777), 6),
        record(file(2, 11, 0), 1),
        record(file(2, 11, 0), 5),
        record(folder, 4),
    ];
    for (at, better) in ladder.iter().enumerate() {
        for worse in &ladder[..at] {
            let heads: Heads = [better.clone(), worse.clone()].into_iter().collect();
            assert_eq!(heads.winner(), Some(better));
        }
    }
}
