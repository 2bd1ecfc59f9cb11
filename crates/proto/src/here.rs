//! What was seen on a disk, and how it stands to what the disk agreed with.
//!
//! Promise: what to do about a path follows from three observations, every time anew: what is *here*, on which *base*
//! the disk and the others last agreed, and the *heads* that others and this device published. So no work is stored,
//! and after a crash we look again and decide again.

use crate::heads::{Base, Below, Heads, Shown};
use crate::path::RelPath;
use crate::record::{Kind, Mode, Record, Timestamp, Version};

/// What stood on a disk at a path, durably, when it was last looked at. Where nothing stood there is none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Here {
    /// What a user sees. Never gone; time and mode as the disk keeps them.
    pub version: Version,
    /// The inode number: with the change time it tells that nothing changed.
    pub inode: u64,
    /// When the inode last changed, as the disk says. Only ever compared for equality.
    pub ctime: Timestamp,
}

/// How *here* stands to *base*.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// The disk shows what it showed when they agreed, as finely as it keeps times and modes.
    Agrees,
    /// It shows something else, or something where they never agreed.
    Differs,
    /// It has base's content, whose time and mode are still to be set: it joined with data.
    Behind,
}

/// All that a decision about a path rests on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Triple {
    /// Where.
    pub path: RelPath,
    /// What was last seen on this disk; `None`: nothing.
    pub here: Option<Here>,
    /// What the disk last agreed with.
    pub base: Option<Base>,
    /// How the two stand to each other.
    pub standing: Standing,
    /// What others and this device published.
    pub heads: Heads,
    /// Whether something live lies below the path.
    pub below: Below,
}

impl Triple {
    /// Whether the three ask for something: to change the disk, to publish, to resolve, to note an agreement, or to list
    /// a difference that stays.
    #[must_use]
    pub fn is_diverging(&self) -> bool {
        is_diverging(self.here.as_ref(), self.base.as_ref(), self.standing, &self.heads, self.below)
    }
}

/// As [`Triple::is_diverging`], for who holds the parts.
#[must_use]
pub fn is_diverging(
    here: Option<&Here>,
    base: Option<&Base>,
    standing: Standing,
    heads: &Heads,
    below: Below,
) -> bool {
    let is_agreed = || standing == Standing::Agrees && base == heads.base().as_ref();
    let is_settled = match heads.shown(below) {
        Shown::Nothing => here.is_none() && (heads.winner().is_none() || is_agreed()),
        // A folder that was only implied may stand where a file is to stand again.
        Shown::Version(head) => {
            here.is_some_and(|here| here.version.kind.is_same(&head.version.kind)) && is_agreed()
        }
        Shown::ImpliedDirectory => {
            let is_folder = here.is_some_and(|here| here.version.kind == Kind::Directory);
            let is_gone = |winner: &Record| winner.version.kind.is_gone();
            let is_known = !heads.winner().is_some_and(is_gone) || base == heads.base().as_ref();
            is_folder && is_known && !has_own_mode(here, base, standing, heads)
        }
    };
    !is_settled || !heads.conflict(below).is_empty()
}

/// Whether a folder has a mode that its user gave it, or that it had as long as somebody had published it, or, where no
/// base is known, may have of then. One that is only implied has the same everywhere ([`Mode::IMPLIED_DIRECTORY`]), as far
/// as its disk keeps modes.
#[must_use]
pub fn has_own_mode(here: Option<&Here>, base: Option<&Base>, standing: Standing, heads: &Heads) -> bool {
    let is_not_ours = match (base, heads.winner()) {
        (Some(base), _) => base.version.kind == Kind::Directory,
        (None, Some(winner)) => winner.version.kind.is_gone(),
        (None, None) => standing == Standing::Differs,
    };
    is_not_ours && here.is_some_and(|here| here.version.mode != Mode::IMPLIED_DIRECTORY)
}
