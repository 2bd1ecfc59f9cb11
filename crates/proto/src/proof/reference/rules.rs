//! The reference, for a world.
//!
//! Promise: nothing is decided here.

use std::rc::Rc;

use std::collections::BTreeSet;

use super::{
    Base, Heads, Path, Record, add, adopts, base, base_up_to, conflict, edit, live, resolve, up_to, winner,
};
use crate::proof::{Content, Dot, Minted, Rules, Version, View};

/// The rules above, for a world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference;

impl Rules for Reference {
    type Path = Path;
    type Record = Rc<Record>;
    type Heads = Heads;
    type Base = Base;

    fn path(&self, name: &'static str) -> Path {
        Path::Own(name)
    }

    fn is_below(&self, path: &Path, above: &Path) -> bool {
        let mut own = path;
        while let Path::Copy(name) = own {
            own = &name.of;
        }
        match (own, above) {
            (Path::Own(own), Path::Own(above)) => {
                own.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
            }
            _ => false,
        }
    }

    fn add(&self, heads: &mut Heads, record: &Rc<Record>) -> bool {
        add(heads, record)
    }

    fn records(&self, heads: &Heads) -> Vec<Rc<Record>> {
        heads.iter().cloned().collect()
    }

    fn view(&self, record: &Rc<Record>) -> View {
        let Record { version, dot, seen, origin, displaced, .. } = (**record).clone();
        View { version, dot, seen, origin, displaced }
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
        winner(heads).cloned()
    }

    fn conflict(&self, heads: &Heads, live_below: bool) -> bool {
        conflict(heads, live_below)
    }

    fn base(&self, heads: &Heads, shown: &Rc<Record>) -> Base {
        base(heads, shown)
    }

    fn base_view(&self, base: &Base) -> View {
        let Base { version, origin, seen, displaced } = base.clone();
        View { version, dot: Dot::default(), seen, origin, displaced }
    }

    fn edit(
        &self,
        path: &Path,
        heads: &Heads,
        at: Option<&Base>,
        new: Version,
        dot: Dot,
    ) -> Option<Minted<Self>> {
        edit(path, heads, at, new, dot)
    }

    fn resolve(&self, path: &Path, heads: &Heads, live_below: bool, dot: Dot) -> Option<Minted<Self>> {
        resolve(path, heads, live_below, dot)
    }

    fn needed(&self, heads: &Heads, live_below: bool) -> Vec<Content> {
        if !conflict(heads, live_below) {
            return Vec::new();
        }
        live(heads).into_iter().map(|head| head.version.content).collect()
    }

    fn adopts(&self, heads: &Heads, content: Content) -> Option<Rc<Record>> {
        adopts(heads, content).cloned()
    }

    fn minted_again(&self, record: &Rc<Record>, agreed: u64, dot: Dot) -> Rc<Record> {
        let seen = up_to(&record.seen, Dot { counter: agreed, ..record.dot });
        let displaced = BTreeSet::new();
        Rc::new(Record { dot, origin: dot, seen, displaced, copy_of: None, ..(**record).clone() })
    }

    fn base_up_to(&self, base: &Base, agreed: Dot) -> Option<Base> {
        base_up_to(base, agreed)
    }
}
