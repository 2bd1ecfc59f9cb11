//! The code and the reference, side by side.
//!
//! Promise: whatever a world asks, both are asked, and must answer the same. Only the names of conflict copies are each
//! one's own; which stands for which is noted when they are made.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::rc::Rc;

use super::random::{Story, live, quarrel, story};
use super::real::Real;
use super::reference::Reference;
use super::{Content, Copy, Dot, Minted, Rules, Version, View};

type RealMinted = Option<Minted<Real>>;
type ReferenceMinted = Option<Minted<Reference>>;

/// Both rules.
#[derive(Clone, Debug, Default)]
struct Lockstep(Rc<RefCell<Told>>);

#[derive(Debug, Default)]
struct Told {
    /// For each dot of a copy that the reference made, the code's.
    copies: BTreeMap<Dot, Dot>,
    /// How often both were asked, and where they first disagreed.
    asked: u64,
    disagreed: Option<String>,
}

impl Lockstep {
    /// The code's answer, held against the reference's.
    fn same<T: PartialEq + Debug>(&self, question: &str, code: T, reference: &T) -> T {
        let mut told = self.0.borrow_mut();
        told.asked += 1;
        if code != *reference && told.disagreed.is_none() {
            told.disagreed = Some(format!("{question}: the code {code:?}, the reference {reference:?}"));
        }
        code
    }

    /// The reference's view, with the code's dots.
    fn translated(&self, view: View) -> View {
        let told = self.0.borrow();
        let dot = |dot: Dot| told.copies.get(&dot).copied().unwrap_or(dot);
        let entry = |(writer, counter)| dot(Dot { writer, counter });
        View {
            version: view.version,
            dot: dot(view.dot),
            seen: view.seen.into_iter().map(entry).map(|dot| (dot.writer, dot.counter)).collect(),
            origin: dot(view.origin),
            displaced: view.displaced.into_iter().map(dot).collect(),
        }
    }

    fn both(
        &self,
        question: &str,
        code: Option<<Real as Rules>::Record>,
        reference: Option<<Reference as Rules>::Record>,
    ) -> Option<<Self as Rules>::Record> {
        let views = reference.as_ref().map(|record| self.translated(Reference.view(record)));
        self.same(question, code.as_ref().map(|record| Real.view(record)), &views);
        code.zip(reference)
    }

    fn both_minted(
        &self,
        question: &str,
        heads: &<Real as Rules>::Heads,
        code: RealMinted,
        reference: ReferenceMinted,
    ) -> Option<Minted<Self>> {
        self.same(question, code.is_some(), &reference.is_some());
        let (mut code, mut reference) = code.zip(reference)?;
        // Of losers that make one copy, either may be named.
        code.copies.sort_by_key(|copy| (Real.view(&copy.loser).origin, Real.version(&copy.record)));
        reference.copies.sort_by_key(|copy| {
            let view = self.translated(Reference.view(&copy.loser));
            (view.origin, Reference.version(&copy.record))
        });
        reference.copies.dedup_by(|one, other| one.record == other.record && one.path == other.path);
        let copied = |record: View| (record.version, record.origin);
        let ours = code.copies.iter().map(|copy| Real.version(&copy.record)).collect::<Vec<_>>();
        let theirs = reference.copies.iter().map(|copy| Reference.version(&copy.record)).collect();
        self.same(question, ours, &theirs);
        let mut copies = Vec::new();
        for (ours, theirs) in code.copies.into_iter().zip(reference.copies) {
            let (dot, known) = (Real.dot(&ours.record), Reference.dot(&theirs.record));
            let noted = *self.0.borrow_mut().copies.entry(known).or_insert(dot);
            self.same("the copy's dot", dot, &noted);
            let loser = copied(self.translated(Reference.view(&theirs.loser)));
            self.same("the loser", copied(Real.view(&ours.loser)), &loser);
            // Several heads can make one copy; the world is told of the same one on both sides.
            let named = self.translated(Reference.view(&theirs.loser));
            let loser =
                Real.records(heads).into_iter().find(|head| Real.view(head) == named).unwrap_or(ours.loser);
            let record = self.both("the copy", Some(ours.record), Some(theirs.record))?;
            copies.push(Copy { loser: (loser, theirs.loser), path: (ours.path, theirs.path), record });
        }
        let record = self.both(question, Some(code.record), Some(reference.record))?;
        Some(Minted { record, copies })
    }
}

impl Rules for Lockstep {
    type Path = (<Real as Rules>::Path, <Reference as Rules>::Path);
    type Record = (<Real as Rules>::Record, <Reference as Rules>::Record);
    type Heads = (<Real as Rules>::Heads, <Reference as Rules>::Heads);
    type Base = (<Real as Rules>::Base, <Reference as Rules>::Base);

    fn path(&self, name: &'static str) -> Self::Path {
        (Real.path(name), Reference.path(name))
    }

    fn is_below(&self, path: &Self::Path, above: &Self::Path) -> bool {
        let reference = Reference.is_below(&path.1, &above.1);
        self.same("below", Real.is_below(&path.0, &above.0), &reference)
    }

    fn add(&self, heads: &mut Self::Heads, record: &Self::Record) -> bool {
        let reference = Reference.add(&mut heads.1, &record.1);
        self.same("add", Real.add(&mut heads.0, &record.0), &reference)
    }

    fn records(&self, heads: &Self::Heads) -> Vec<Self::Record> {
        let mut code = Real.records(&heads.0);
        let mut reference = Reference.records(&heads.1);
        code.sort_by_cached_key(|record| Real.view(record));
        reference.sort_by_cached_key(|record| self.translated(Reference.view(record)));
        self.same("heads", code.len(), &reference.len());
        let both = code.into_iter().zip(reference);
        both.filter_map(|(code, reference)| self.both("a head", Some(code), Some(reference))).collect()
    }

    fn view(&self, record: &Self::Record) -> View {
        self.same("a record", Real.view(&record.0), &self.translated(Reference.view(&record.1)))
    }

    fn dot(&self, record: &Self::Record) -> Dot {
        Real.dot(&record.0)
    }

    fn version(&self, record: &Self::Record) -> Version {
        self.same("a version", Real.version(&record.0), &Reference.version(&record.1))
    }

    fn winner(&self, heads: &Self::Heads) -> Option<Self::Record> {
        self.both("winner", Real.winner(&heads.0), Reference.winner(&heads.1))
    }

    fn conflict(&self, heads: &Self::Heads, live_below: bool) -> bool {
        let reference = Reference.conflict(&heads.1, live_below);
        self.same("conflict", Real.conflict(&heads.0, live_below), &reference)
    }

    fn base(&self, heads: &Self::Heads, shown: &Self::Record) -> Self::Base {
        let base = (Real.base(&heads.0, &shown.0), Reference.base(&heads.1, &shown.1));
        self.base_view(&base);
        base
    }

    fn base_view(&self, base: &Self::Base) -> View {
        self.same("base", Real.base_view(&base.0), &self.translated(Reference.base_view(&base.1)))
    }

    fn base_version(&self, base: &Self::Base) -> Version {
        self.same("base", Real.base_version(&base.0), &Reference.base_version(&base.1))
    }

    fn edit(
        &self,
        path: &Self::Path,
        heads: &Self::Heads,
        base: Option<&Self::Base>,
        new: Version,
        dot: Dot,
    ) -> Option<Minted<Self>> {
        let (code, reference) = base.map(|base| (&base.0, &base.1)).unzip();
        let code = Real.edit(&path.0, &heads.0, code, new, dot);
        self.both_minted("edit", &heads.0, code, Reference.edit(&path.1, &heads.1, reference, new, dot))
    }

    fn resolve(
        &self,
        path: &Self::Path,
        heads: &Self::Heads,
        live_below: bool,
        dot: Dot,
    ) -> Option<Minted<Self>> {
        let code = Real.resolve(&path.0, &heads.0, live_below, dot);
        self.both_minted("resolve", &heads.0, code, Reference.resolve(&path.1, &heads.1, live_below, dot))
    }

    fn needed(&self, heads: &Self::Heads, live_below: bool) -> Vec<Content> {
        let mut code = Real.needed(&heads.0, live_below);
        let mut reference = Reference.needed(&heads.1, live_below);
        code.sort();
        reference.sort();
        self.same("needed", code, &reference)
    }

    fn adopts(&self, heads: &Self::Heads, content: Content) -> Option<Self::Record> {
        self.both("adopt", Real.adopts(&heads.0, content), Reference.adopts(&heads.1, content))
    }

    fn minted_again(&self, record: &Self::Record, agreed: u64, dot: Dot) -> Self::Record {
        let code = Real.minted_again(&record.0, agreed, dot);
        let both = (code, Reference.minted_again(&record.1, agreed, dot));
        self.view(&both);
        both
    }

    fn base_up_to(&self, base: &Self::Base, agreed: Dot) -> Option<Self::Base> {
        let base = Real.base_up_to(&base.0, agreed).zip(Reference.base_up_to(&base.1, agreed))?;
        self.base_view(&base);
        Some(base)
    }
}

#[test]
fn the_code_and_the_reference_agree() {
    agree(0..200);
}

#[test]
#[ignore = "minutes; run with --release"]
fn the_code_and_the_reference_agree_in_many_worlds() {
    agree(0..50_000);
}

fn agree(seeds: std::ops::Range<u64>) {
    let mut asked = 0;
    for seed in seeds {
        for story in [story(seed), quarrel(seed)] {
            asked += agree_in(seed, &story);
        }
    }
    assert!(asked > 100_000, "only {asked} questions");
}

fn agree_in(seed: u64, story: &Story) -> u64 {
    let both = Lockstep::default();
    let lived = live(&both, story);
    let told = both.0.borrow();
    assert!(told.disagreed.is_none(), "world {seed}: {:?}\n{story:#?}", told.disagreed);
    lived.unwrap_or_else(|violation| panic!("world {seed}: {violation:?}"));
    told.asked
}
