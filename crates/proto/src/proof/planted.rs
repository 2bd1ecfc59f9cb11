//! Wrong rules in the same worlds: each must be caught, else the worlds prove nothing.
//!
//! Promise: each bug is one that a draft of the rules had, or that a hurried change could bring back. The reference is
//! bent, not the code that runs: what catches the one catches the other, since both live in the same worlds. (An own
//! dot in *seen* is no record at all: `Record::check` refuses it.)

use std::collections::BTreeSet;
use std::rc::Rc;

use super::checks::Violation;
use super::random::{live, quarrel, story};
use super::reference::{Base, Heads, Path, Record, Reference, copy, join};
use super::{Content, Copy, Dot, Minted, Rules, Version, View};

/// What is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Bug {
    /// A record is taken for old if a head has seen as much.
    EqualSeenIsOld,
    /// Base is the winner's alone, not all heads' with that content.
    BaseFromWinnerOnly,
    /// A resolution goes under the winner's dot.
    ResolutionWithoutOwnDot,
    /// Nothing is stale.
    NothingStale,
    /// Any *seen* makes an origin stale, also one that was only displaced.
    DisplacedIsReplaced,
    /// An edit leaves its writer's earlier heads to themselves.
    EditResolvesNothing,
    /// An edit covers what it never saw, without copies.
    EditCoversUnseen,
    /// A resolution makes no copies.
    NoCopies,
    /// The copy's dot is the resolver's.
    CopyUnderResolversDot,
    /// The resolver has not got the bytes.
    ResolverWithoutBytes,
    /// A deletion forgets what it deleted.
    GoneForgets,
    /// A lost index goes on under its old writer.
    LostIndexKeepsWriter,
}

const ALL: [Bug; 12] = [
    Bug::EqualSeenIsOld,
    Bug::BaseFromWinnerOnly,
    Bug::ResolutionWithoutOwnDot,
    Bug::NothingStale,
    Bug::DisplacedIsReplaced,
    Bug::EditResolvesNothing,
    Bug::EditCoversUnseen,
    Bug::NoCopies,
    Bug::CopyUnderResolversDot,
    Bug::ResolverWithoutBytes,
    Bug::GoneForgets,
    Bug::LostIndexKeepsWriter,
];

/// The reference with a bug.
#[derive(Clone, Copy, Debug)]
struct Planted(Bug);

impl Planted {
    /// The heads as this bug sees them. The reference judges staleness by itself: without displaced origins it takes
    /// for replaced what was only displaced, and with all of them nothing.
    fn looked_at(self, heads: &Heads) -> Heads {
        let displaced: BTreeSet<Dot> = match self.0 {
            Bug::DisplacedIsReplaced => BTreeSet::new(),
            Bug::NothingStale => heads.iter().map(|head| head.origin).collect(),
            _ => return heads.clone(),
        };
        heads
            .iter()
            .map(|head| Rc::new(Record { displaced: displaced.clone(), ..(**head).clone() }))
            .collect()
    }

    fn bend_new(
        self,
        heads: &Heads,
        base: Option<&Base>,
        mut minted: Minted<Reference>,
    ) -> Minted<Reference> {
        let mut record = (*minted.record).clone();
        match self.0 {
            Bug::GoneForgets if record.version.content.is_gone() => {
                record.version.content = Content::Gone(u32::MAX);
            }
            Bug::EditResolvesNothing => {
                record.seen = base.map(|base| base.seen.clone()).unwrap_or_default();
                minted.copies.clear();
            }
            Bug::EditCoversUnseen => {
                heads.iter().for_each(|head| join(&mut record.seen, &head.seen, Some(head.dot)));
                minted.copies.clear();
            }
            _ => {}
        }
        minted.record = Rc::new(record);
        minted
    }

    #[expect(clippy::map_identity, reason = "the same parts, of another type")]
    fn ours(minted: Minted<Reference>) -> Minted<Self> {
        let copies = minted.copies.into_iter();
        let copies = copies.map(|Copy { loser, path, record }| Copy { loser, path, record }).collect();
        Minted { record: minted.record, copies }
    }
}

impl Rules for Planted {
    type Path = Path;
    type Record = Rc<Record>;
    type Heads = Heads;
    type Base = Base;

    fn path(&self, name: &'static str) -> Path {
        Reference.path(name)
    }

    fn is_below(&self, path: &Path, above: &Path) -> bool {
        Reference.is_below(path, above)
    }

    fn add(&self, heads: &mut Heads, record: &Rc<Record>) -> bool {
        if self.0 == Bug::EqualSeenIsOld
            && heads.iter().any(|head| !head.seen.is_empty() && head.seen == record.seen)
        {
            return false;
        }
        Reference.add(heads, record)
    }

    fn records(&self, heads: &Heads) -> Vec<Rc<Record>> {
        Reference.records(heads)
    }

    fn view(&self, record: &Rc<Record>) -> View {
        Reference.view(record)
    }

    fn dot(&self, record: &Rc<Record>) -> Dot {
        record.dot
    }

    fn version(&self, record: &Rc<Record>) -> Version {
        record.version
    }

    fn base_version(&self, base: &Base) -> Version {
        base.version
    }

    fn winner(&self, heads: &Heads) -> Option<Rc<Record>> {
        Reference.winner(&self.looked_at(heads))
    }

    fn conflict(&self, heads: &Heads, live_below: bool) -> bool {
        Reference.conflict(&self.looked_at(heads), live_below)
    }

    fn base(&self, heads: &Heads, shown: &Rc<Record>) -> Base {
        if self.0 == Bug::BaseFromWinnerOnly {
            return Reference.base(&[shown.clone()].into(), shown);
        }
        Reference.base(heads, shown)
    }

    fn base_view(&self, base: &Base) -> View {
        Reference.base_view(base)
    }

    fn edit(
        &self,
        path: &Path,
        heads: &Heads,
        base: Option<&Base>,
        new: Version,
        dot: Dot,
    ) -> Option<Minted<Self>> {
        let mut looked_at = self.looked_at(heads);
        if let (Bug::BaseFromWinnerOnly, Some(base), Some(winner)) = (self.0, base, Reference.winner(heads)) {
            looked_at.retain(|head| *head == winner || !head.version.content.same(base.version.content));
        }
        let minted = Reference.edit(path, &looked_at, base, new, dot)?;
        let minted = self.bend_new(heads, base, minted);
        Some(Self::ours(minted))
    }

    fn resolve(&self, path: &Path, heads: &Heads, live_below: bool, dot: Dot) -> Option<Minted<Self>> {
        let looked_at = self.looked_at(heads);
        let mut minted = Reference.resolve(path, &looked_at, live_below, dot)?;
        match self.0 {
            Bug::NoCopies => minted.copies.clear(),
            Bug::CopyUnderResolversDot => {
                for made in &mut minted.copies {
                    let dot = Dot { writer: dot.writer | 1 << 62, counter: dot.counter };
                    let record = copy(path, &made.loser).record;
                    made.record = Rc::new(Record { dot, origin: dot, ..(*record).clone() });
                }
            }
            Bug::ResolutionWithoutOwnDot => {
                let winner = Reference.winner(&looked_at)?;
                let mut record = (*minted.record).clone();
                record.dot = winner.dot;
                record.seen.remove(&winner.dot.writer);
                minted.record = Rc::new(record);
            }
            _ => {}
        }
        Some(Self::ours(minted))
    }

    fn needed(&self, heads: &Heads, live_below: bool) -> Vec<Content> {
        if self.0 == Bug::ResolverWithoutBytes {
            return Vec::new();
        }
        Reference.needed(heads, live_below)
    }

    fn adopts(&self, heads: &Heads, content: Content) -> Option<Rc<Record>> {
        Reference.adopts(heads, content)
    }

    fn minted_again(&self, record: &Rc<Record>, agreed: u64, dot: Dot) -> Rc<Record> {
        Reference.minted_again(record, agreed, dot)
    }

    fn base_up_to(&self, base: &Base, agreed: Dot) -> Option<Base> {
        Reference.base_up_to(base, agreed)
    }

    fn writer_after_loss(&self, drawn: u64, old: u64) -> u64 {
        if self.0 == Bug::LostIndexKeepsWriter { old } else { drawn }
    }
}

/// The first world in which the bug shows. What needs three resolvers shows in quarrels, losses in large worlds.
fn caught(bug: Bug) -> Option<(u64, Violation)> {
    (0..WORLDS).find_map(|seed| {
        let stories = [quarrel(seed), story(seed)];
        let broken = stories.iter().find_map(|story| live(&Planted(bug), story).err());
        broken.map(|violation| (seed, violation))
    })
}

/// Enough for the rarest of them.
const WORLDS: u64 = 6_000;

#[test]
fn every_planted_bug_is_caught() {
    let mut missed = Vec::new();
    for bug in ALL {
        match caught(bug) {
            Some((seed, violation)) => println!("{bug:?}: {} in world {seed}", violation.invariant),
            None => missed.push(bug),
        }
    }
    assert_eq!(missed, []);
}
