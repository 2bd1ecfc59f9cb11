//! What is to be done about one path: three observations in, a decision out.
//!
//! Promise: a function of what it is given, so a crash needs no repair: we look again and decide again. It never plans
//! over a user's change that nobody has published: a disk is changed only where it shows what it agreed with, or where a
//! reader's own difference has been overtaken by a newer version, or given up, and then the difference is filed in history.
//!
//! Whether the bytes are here, the folder above stands and the way is free is for who carries it out.

use shoal_proto::heads::{Base, Shown};
use shoal_proto::here::{Standing, Triple, has_own_mode};
use shoal_proto::record::{Kind, Record, Version};

/// What this device may do in the share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rights {
    /// Publish what its user does, and resolve conflicts.
    Writer,
    /// The same, but what the disk held before this device knew anything of the share gives way to what the share has.
    Yielding,
    /// Show what others publish.
    Reader,
    /// The same, where the user has given up what was changed here.
    Reverting,
}

/// What is to be done about a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Decision<'a> {
    /// What about the disk.
    pub disk: Deed<'a>,
    /// Whether the heads contradict each other, and this device may settle it once it holds the bytes of all.
    pub resolves: bool,
}

/// What is to be done about a disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Deed<'a> {
    /// Nothing: it shows what it is to show.
    Nothing,
    /// Nothing to the disk; the index is to note that it shows this record, or that nothing is there as this one says.
    Agree(&'a Record),
    /// The user has changed it: look again, and publish what is found.
    Publish,
    /// The reader's user has changed it: it is listed, and stays until something newer comes.
    LocalDifference,
    /// Put this file or link into place; what stands there goes to history.
    Place(&'a Record),
    /// Give what stands there this record's time and mode.
    Retouch(&'a Record),
    /// Make a folder, for this record, or because something in it lives; what stands there goes to history.
    MakeFolder(Option<&'a Record>),
    /// Take away what stands there, because of this record, or because all that the path had was replaced: a file or
    /// link to history, a folder once it is empty.
    Remove(Option<&'a Record>),
}

impl Decision<'_> {
    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.disk == Deed::Nothing && !self.resolves
    }
}

/// Decides about a path of a share that has made its first contact and is not halted.
#[must_use]
pub fn decide(at: &Triple, rights: Rights) -> Decision<'_> {
    let may_resolve = matches!(rights, Rights::Writer | Rights::Yielding);
    let resolves = may_resolve && !at.heads.conflict(at.below).is_empty();
    Decision { disk: deed(at, rights), resolves }
}

fn deed(at: &Triple, rights: Rights) -> Deed<'_> {
    if at.standing == Standing::Agrees {
        return change(at, true);
    }
    if is_as_shown(at) {
        return at.heads.winner().map_or(Deed::Nothing, |winner| note(at, winner));
    }
    if is_deleted_elsewhere(at) {
        return change(at, false);
    }
    let is_untouched = at.here.is_none() && at.base.is_none();
    match (at.standing, rights) {
        (Standing::Differs, Rights::Writer) if !is_untouched => Deed::Publish,
        (Standing::Differs, Rights::Yielding) if !is_untouched && !gives_way(at) => Deed::Publish,
        (Standing::Differs, Rights::Reader) if !is_untouched && !is_overtaken(at) => Deed::LocalDifference,
        _ => change(at, false),
    }
}

/// Whether the disk shows what it is to show, whoever made it so: two users did the same, or a folder was there anyway.
fn is_as_shown(at: &Triple) -> bool {
    match (at.heads.shown(at.below), &at.here) {
        (Shown::Nothing, here) => here.is_none(),
        (Shown::Version(head), Some(here)) => here.version == head.version,
        (Shown::ImpliedDirectory, Some(here)) => {
            here.version.kind == Kind::Directory
                && !has_own_mode(at.here.as_ref(), at.base.as_ref(), at.standing, &at.heads)
        }
        (_, None) => false,
    }
}

/// Whether an index that knew of no base holds just what a head deleted: the deletion is adopted, so that what is gone does
/// not come back (I6).
fn is_deleted_elsewhere(at: &Triple) -> bool {
    let adopted =
        at.here.as_ref().filter(|_| at.base.is_none()).and_then(|here| at.heads.adopt(&here.version.kind));
    let is_shown = matches!(at.heads.shown(at.below), Shown::Version(_));
    adopted.is_some_and(|base| base.version.kind.is_gone()) && !is_shown
}

/// Whether the share has something at a path of which this disk's index knew nothing.
fn gives_way(at: &Triple) -> bool {
    at.base.is_none() && at.heads.winner().is_some_and(|winner| !winner.version.kind.is_gone())
}

/// Whether a newer version came than the one that a reader's difference was made on. What has no base at all was found
/// by an index that knew nothing: it gives way to whatever the path has.
fn is_overtaken(at: &Triple) -> bool {
    match &at.base {
        Some(_) => at.base != at.heads.base(),
        None => !at.heads.is_empty(),
    }
}

/// From what is here to what is to be shown. `has_base`: what is here is base's version, as finely as the disk keeps it.
fn change(at: &Triple, has_base: bool) -> Deed<'_> {
    match at.heads.shown(at.below) {
        Shown::Version(head)
            if at.here.as_ref().is_some_and(|here| here.version.kind == head.version.kind) =>
        {
            let Version { mtime, mode, .. } = head.version;
            let is_as_fine = |base: &Base| (base.version.mtime, base.version.mode) == (mtime, mode);
            if has_base && at.base.as_ref().is_some_and(is_as_fine) {
                note(at, head)
            } else {
                Deed::Retouch(head)
            }
        }
        Shown::Version(head) if head.version.kind == Kind::Directory => Deed::MakeFolder(Some(head)),
        Shown::Version(head) => Deed::Place(head),
        Shown::ImpliedDirectory if is_as_shown(at) => {
            at.heads.winner().map_or(Deed::Nothing, |winner| note(at, winner))
        }
        Shown::ImpliedDirectory => Deed::MakeFolder(None),
        Shown::Nothing => match (&at.here, at.heads.winner()) {
            (Some(_), winner) => Deed::Remove(winner),
            (None, Some(gone)) => note(at, gone),
            (None, None) => Deed::Nothing,
        },
    }
}

/// The disk is as it is to be: does the index know? How a folder that nobody published stands to base is all the same.
fn note<'a>(at: &Triple, shown: &'a Record) -> Deed<'a> {
    if at.heads.shown(at.below) == Shown::ImpliedDirectory && !shown.version.kind.is_gone() {
        // A file or link that something below keeps from its path: its user has not seen it, and resolving comes first.
        return Deed::Nothing;
    }
    let is_known = at.standing == Standing::Agrees || at.heads.shown(at.below) == Shown::ImpliedDirectory;
    if is_known && at.base == at.heads.base() { Deed::Nothing } else { Deed::Agree(shown) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_proto::arb;
    use shoal_proto::heads::{Below, Heads};
    use shoal_proto::here::Here;
    use shoal_proto::path::RelPath;
    use shoal_proto::record::{Mode, Timestamp};

    use super::*;

    fn here(version: Version) -> Option<Here> {
        let stamp = Timestamp::ZERO;
        (!version.kind.is_gone()).then_some(Here { version, inode: 1, ctime: stamp })
    }

    /// What an index can hold of a path: a disk that agrees shows base's version.
    fn triple() -> impl Strategy<Value = Triple> {
        let records = proptest::collection::vec(arb::record(), 0..4);
        let standing = prop_oneof![Just(Standing::Agrees), Just(Standing::Differs), Just(Standing::Behind)];
        (records, arb::record(), arb::version(), standing, any::<(u8, u8, bool)>()).prop_map(
            |(records, other, version, standing, (base, shown, is_live))| {
                let path = RelPath::parse(b"p").unwrap();
                let heads: Heads =
                    records.into_iter().map(|record| Record { path: path.clone(), ..record }).collect();
                let head = heads.iter().nth(usize::from(base % 4)).cloned();
                let base = match base % 3 {
                    0 => None,
                    1 => head.as_ref().map(|head| heads.base_of(head)),
                    _ => Some(Base::from(&other)),
                };
                let of_base = base.as_ref().and_then(|base| here(base.version.clone()));
                let here = match (standing, shown % 3) {
                    (Standing::Agrees, _) | (_, 0) => of_base,
                    (_, 1) => head.and_then(|head| here(head.version)),
                    _ => here(version),
                };
                let kind = |version: &Version| Some(version.kind.clone()).filter(|kind| !kind.is_gone());
                let kinds = (
                    here.as_ref().and_then(|here| kind(&here.version)),
                    base.as_ref().and_then(|base| kind(&base.version)),
                );
                let standing = match (standing, kinds) {
                    (_, (None, None)) => Standing::Agrees,
                    (Standing::Behind, (here, base)) if here != base => Standing::Differs,
                    _ => standing,
                };
                let below = if is_live { Below::Live } else { Below::Nothing };
                Triple { path, here, base, standing, heads, below }
            },
        )
    }

    /// What the index holds once the deed is done.
    fn done(at: &Triple, deed: Deed<'_>) -> Triple {
        let (heads, below) = (at.heads.clone(), at.below);
        let (path, base, standing) = (at.path.clone(), heads.base(), Standing::Agrees);
        let here = match deed {
            Deed::Nothing | Deed::Publish | Deed::LocalDifference => return at.clone(),
            Deed::Agree(_) => at.here.clone(),
            Deed::Place(record) | Deed::Retouch(record) | Deed::MakeFolder(Some(record)) => {
                here(record.version.clone())
            }
            Deed::MakeFolder(None) => {
                here(Version::new(Kind::Directory, Timestamp::ZERO, Mode::IMPLIED_DIRECTORY))
            }
            Deed::Remove(_) => None,
        };
        Triple { path, here, base, standing, heads, below }
    }

    /// Found by a simulated world (I1): a mode that a user gave to a folder which nobody had published.
    #[test]
    fn i1_a_mode_that_a_user_gave_to_an_implied_folder_is_published_or_listed() {
        let folder = |mode| here(Version::new(Kind::Directory, Timestamp::ZERO, mode));
        let at = |mode| Triple {
            path: RelPath::parse(b"d").unwrap(),
            here: folder(mode),
            base: None,
            standing: Standing::Differs,
            heads: Heads::default(),
            below: Below::Live,
        };
        let (own, implied) = (at(Mode::from_bits(0o700)), at(Mode::IMPLIED_DIRECTORY));
        assert_eq!(deed(&own, Rights::Reader), Deed::LocalDifference);
        assert_eq!(deed(&own, Rights::Writer), Deed::Publish);
        assert_eq!(deed(&implied, Rights::Writer), Deed::Nothing);
        // A disk that keeps no modes shows another one of a folder that was made for what lies below.
        let kept = Triple { standing: Standing::Agrees, ..own };
        assert_eq!((deed(&kept, Rights::Writer), kept.is_diverging()), (Deed::Nothing, false));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// What the index keeps on its list of work is what there is to decide.
        #[test]
        fn what_diverges_asks_for_something(at in triple()) {
            let decision = decide(&at, Rights::Writer);
            prop_assert_eq!(at.is_diverging(), !decision.is_settled(), "{:?}", decision);
        }

        /// I2: a deed that is done leaves nothing to do.
        #[test]
        fn i2_a_deed_that_is_done_is_the_last(at in triple()) {
            for rights in [Rights::Writer, Rights::Yielding, Rights::Reader, Rights::Reverting] {
                let after = done(&at, deed(&at, rights));
                let again = deed(&after, rights);
                if !matches!(again, Deed::Publish | Deed::LocalDifference) {
                    prop_assert_eq!(again, Deed::Nothing, "after {:?}", deed(&at, rights));
                }
            }
        }

        /// I3: nothing is put over what a writer's user did before it is published.
        #[test]
        fn i3_what_the_user_did_is_published_first(at in triple()) {
            let is_change = at.standing == Standing::Differs && (at.here.is_some() || at.base.is_some());
            if is_change {
                let deed = deed(&at, Rights::Writer);
                let is_adopted = is_deleted_elsewhere(&at) && matches!(deed, Deed::Remove(_) | Deed::MakeFolder(None));
                let is_kept = matches!(deed, Deed::Publish | Deed::Agree(_) | Deed::Nothing);
                prop_assert!(is_kept || is_adopted, "{:?}", deed);
            }
        }

        /// I3: who takes the share's versions loses to history what the share has otherwise, and publishes the rest.
        #[test]
        fn i3_only_what_no_base_is_known_of_gives_way(at in triple()) {
            let (yielding, writer) = (deed(&at, Rights::Yielding), deed(&at, Rights::Writer));
            let is_live = at.heads.winner().is_some_and(|winner| !winner.version.kind.is_gone());
            if at.base.is_some() || !is_live {
                prop_assert_eq!(yielding, writer);
            } else {
                prop_assert!(yielding != Deed::Publish || at.heads.is_empty(), "{:?}", yielding);
            }
            prop_assert_eq!(decide(&at, Rights::Yielding).resolves, decide(&at, Rights::Writer).resolves);
        }

        /// I26: a reader publishes and settles nothing.
        #[test]
        fn i26_a_reader_publishes_nothing(at in triple()) {
            for rights in [Rights::Reader, Rights::Reverting] {
                let decision = decide(&at, rights);
                prop_assert!(!decision.resolves && decision.disk != Deed::Publish);
            }
        }

        /// I1: what a reader's user has given up, differs no more; all else is as if nothing had been given up.
        #[test]
        fn i1_a_difference_that_is_given_up_ends(at in triple()) {
            let (reader, reverting) = (deed(&at, Rights::Reader), deed(&at, Rights::Reverting));
            prop_assert!(reverting != Deed::LocalDifference && reverting != Deed::Publish);
            prop_assert!(reader == Deed::LocalDifference || reader == reverting, "{:?}", reader);
        }
    }
}
