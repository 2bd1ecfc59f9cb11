//! Proof that the rules of heads lose nothing, as far as a machine can look.
//!
//! Promise: [`reference`] says the rules as plainly as can be; [`world`] lets several devices live by them, step by
//! step, beside a log of what the users really did and saw; [`checks`] compares the two after each step.
//! [`exhaustive`] goes through every order of the steps of small worlds, [`random`] through large ones, and
//! [`planted`] shows that wrong rules are caught. Whatever implements [`Rules`] lives in the same worlds, so the
//! rules that run on people's disks are proved by them too; in [`lockstep`] they and the reference must say the same.

mod canonical;
mod checks;
mod exhaustive;
mod lockstep;
mod planted;
mod random;
mod real;
pub(crate) mod reference;
mod world;

use std::collections::BTreeMap;
use std::fmt::Debug;

/// The name of a record. Devices' writers are small numbers; those of conflict copies are above 2^63.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct Dot {
    pub(crate) writer: u64,
    pub(crate) counter: u64,
}

/// What a path holds; bytes and targets of links are small numbers from 1. The order is that of winning.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Content {
    /// Deleted; the number of what it was, 0 for a directory.
    Gone(u32),
    Link(u32),
    File(u32),
    Dir,
}

impl Content {
    pub(crate) fn is_gone(self) -> bool {
        matches!(self, Self::Gone(_))
    }

    /// Whether somebody who looks at the disk could not tell them apart: all gones are one content.
    pub(crate) fn same(self, other: Self) -> bool {
        self == other || (self.is_gone() && other.is_gone())
    }

    /// What a delete of this says that it deleted.
    pub(crate) fn deleted(self) -> Self {
        match self {
            Self::Gone(number) | Self::Link(number) | Self::File(number) => Self::Gone(number),
            Self::Dir => Self::Gone(0),
        }
    }
}

/// What a disk shows at a path. Directories have no mtime, a gone path neither mtime nor mode: they are 0 there.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct Version {
    pub(crate) content: Content,
    pub(crate) mtime: i64,
    pub(crate) mode: u32,
}

/// What one more of an mtime is, so that some conflict copies are named after one minute, and some are not.
pub(crate) const MTIME_SECONDS: i64 = 20;

/// For each writer the highest counter seen.
pub(crate) type Seen = BTreeMap<u64, u64>;

/// A record, or a base (which has no dot), as anybody's rules can show it.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct View {
    pub(crate) version: Version,
    pub(crate) dot: Dot,
    pub(crate) seen: Seen,
    pub(crate) origin: Dot,
    pub(crate) displaced: std::collections::BTreeSet<Dot>,
}

/// What a transaction at a path publishes: the path's new record, and conflict copies at other paths.
pub(crate) struct Minted<R: Rules> {
    pub(crate) record: R::Record,
    pub(crate) copies: Vec<Copy<R>>,
}

/// A conflict copy, and the head that it keeps.
pub(crate) struct Copy<R: Rules> {
    pub(crate) loser: R::Record,
    pub(crate) path: R::Path,
    pub(crate) record: R::Record,
}

/// The rules that a world lives by. All are functions of their arguments.
pub(crate) trait Rules: Clone {
    type Path: Clone + Ord + Debug;
    type Record: Clone + Debug;
    type Heads: Clone + Default + Debug;
    type Base: Clone + PartialEq + Debug;

    /// The path with this name, parts between slashes.
    fn path(&self, name: &'static str) -> Self::Path;
    /// Whether the first lies below the second; a conflict copy lies beside what it is a copy of.
    fn is_below(&self, path: &Self::Path, above: &Self::Path) -> bool;

    /// Takes a record in; whether the heads changed.
    fn add(&self, heads: &mut Self::Heads, record: &Self::Record) -> bool;
    /// The heads, in an order that depends on them alone.
    fn records(&self, heads: &Self::Heads) -> Vec<Self::Record>;
    fn view(&self, record: &Self::Record) -> View;
    /// The parts of the view that are asked for most.
    fn dot(&self, record: &Self::Record) -> Dot;
    fn version(&self, record: &Self::Record) -> Version;
    /// What the disk shows; the same for the same heads.
    fn winner(&self, heads: &Self::Heads) -> Option<Self::Record>;
    /// Whether a resolution is due; `live_below` when something that is not gone lies below the path.
    fn conflict(&self, heads: &Self::Heads, live_below: bool) -> bool;

    /// What a disk that shows this head agrees with.
    fn base(&self, heads: &Self::Heads, shown: &Self::Record) -> Self::Base;
    /// A base with no dot (all zero).
    fn base_view(&self, base: &Self::Base) -> View;
    fn base_version(&self, base: &Self::Base) -> Version;
    /// The user changed the path on a disk that agreed with `base`; `None` if that is lost silently.
    fn edit(
        &self,
        path: &Self::Path,
        heads: &Self::Heads,
        base: Option<&Self::Base>,
        new: Version,
        dot: Dot,
    ) -> Option<Minted<Self>>;
    /// Settles several heads; `None` where there is no conflict.
    fn resolve(
        &self,
        path: &Self::Path,
        heads: &Self::Heads,
        live_below: bool,
        dot: Dot,
    ) -> Option<Minted<Self>>;
    /// The contents whose bytes a device must hold before it resolves these heads.
    fn needed(&self, heads: &Self::Heads, live_below: bool) -> Vec<Content>;

    /// The head that a disk with this content agrees with, though its index knows of no base: one of equal content,
    /// else a delete of just this content, else none.
    fn adopts(&self, heads: &Self::Heads, content: Content) -> Option<Self::Record>;
    /// A head of a writer that turned out to be rolled back, minted again under this dot. `agreed` is the highest
    /// counter up to which the old writer's history is beyond doubt.
    fn minted_again(&self, record: &Self::Record, agreed: u64, dot: Dot) -> Self::Record;
    /// What is left of a base, with nothing of this dot's writer above it.
    fn base_up_to(&self, base: &Self::Base, agreed: Dot) -> Option<Self::Base>;
    /// The writer of a device whose index was lost or rolled back.
    fn writer_after_loss(&self, drawn: u64, _old: u64) -> u64 {
        drawn
    }
}
